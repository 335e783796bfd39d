/* Event streams (https://html.spec.whatwg.org/multipage/server-sent-events.html): a handler that stays. Each holds a
 * thread, so at most half of them may; the rest are told to poll, and a poll waits only if it gets such a place too. No
 * connection to the database is held between looks. */
#ifndef MILLRACE_API_SSE_H
#define MILLRACE_API_SSE_H

#include "api/request.h"

struct sse_stream {
    struct request *rq;
    struct arena arena; /* of one look: while the stream is open it is the request's */
    struct arena *outer;
    struct buf out;   /* what is to be sent */
    uint64_t tick;    /* of news */
    int64_t pause_ms; /* until the next look; grows while nothing happens */
    int64_t sent_us;  /* when something was last sent */
};

/* A place among the followers, of whom there may be so many: streams, and polls that wait for news. False = all are
 * taken; after true sse_leave must follow. */
MUST_CHECK bool sse_enter(struct api *api);
void sse_leave(struct api *api);

/* Enters; ERR_UNAVAILABLE when all places are taken. After true the head is sent, and sse_close must follow. */
MUST_CHECK bool sse_open(struct sse_stream *s, struct request *rq, struct err *err);
void sse_close(struct sse_stream *s);

/* One event; id may be empty. data is JSON on one line. */
void sse_event(struct sse_stream *s, const char *kind, struct str id, struct str data);
/* Sends what there is, or a heartbeat when it is time, then waits for news. False = the peer is gone, or the server
 * stops. */
MUST_CHECK bool sse_turn(struct sse_stream *s);

/* The id a client resumes from: the header, or the given query parameter; empty when there is none. */
struct str sse_last_id(struct request *rq);

#endif
