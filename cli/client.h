/* The REST client: one request at a time over one kept connection. Says what went wrong as `struct err` with the
 * server's own words, places and hints; retries what may be retried, when the server says so. One thread. */
#ifndef MILLRACE_CLI_CLIENT_H
#define MILLRACE_CLI_CLIENT_H

#include "cli/config.h"
#include "engine/base/buf.h"
#include "engine/base/value.h"

#define CLIENT_ANSWER_MAX (64u << 20)

struct client;

/* What is read once, such as the token, lives in the arena. */
MUST_CHECK bool client_open(struct arena *a, const struct settings *settings, struct client **out, struct err *err);
void client_close(struct client *c);
/* Told of what went wrong before each further try of a request; by client_retries also of a caller's own tries. */
void client_on_retry(struct client *c, void (*fn)(void *ctx, const struct err *why), void *ctx);
void client_retries(const struct client *c, const struct err *why);

/* Takes the bytes of a body as they come; false ends the transfer. */
typedef bool client_sink(void *ctx, const char *p, size_t n);

struct client_request {
    const char *method; /* NULL = GET */
    const char *path;   /* with its query, e.g. /api/v1/runs?page_size=1: see client_path() */
    struct str body;
    const char *type;       /* of the body; NULL = application/json */
    const char *accept;     /* NULL = application/json */
    const char *headers[4]; /* further ones, "Name: value" */
    int64_t range_from;     /* > 0: only from this byte on */
    int64_t timeout_ms;     /* of the whole exchange; 0 = no limit but a stalled transfer's */
    bool repeatable;        /* may be sent again although the first may have arrived; GET always is */
    bool once;              /* never again, whatever happens: the caller has a rhythm of its own */
    bool direct;            /* the answer may lead elsewhere: it is fetched from there, without our token */
    client_sink *sink;      /* of a successful answer's body; NULL = into reply.body */
    void *sink_ctx;
};

struct client_reply {
    int status;
    struct str body;                 /* in the arena, as it came, when there was no sink */
    struct value value;              /* of a JSON body; else null */
    struct str location, etag, type; /* empty when not sent */
    int64_t from;                    /* of X-Offset: where in the whole the body begins; 0 when not sent */
    int64_t total;                   /* of Content-Range, or Content-Length; -1 = unknown */
};

/* False: no answer, or one with a status ≥ 400. Then `errors` (may be NULL) has all the problems that the server named,
 * and *err the first. */
MUST_CHECK bool client_send(struct client *c, struct arena *a, const struct client_request *request,
                            struct client_reply *reply, struct err_list *errors, struct err *err);
/* The common cases. `body` may be empty. */
MUST_CHECK bool client_get(struct client *c, struct arena *a, const char *path, struct value *out, struct err *err);
MUST_CHECK bool client_post(struct client *c, struct arena *a, const char *path, struct str body, struct value *out,
                            struct err_list *errors, struct err *err);

/* Puts the file's bytes, from its start, where a link leads, with the one header line that it wants and without our
 * token. Once: what came of it is seen by asking the server. */
MUST_CHECK bool client_put_there(struct client *c, const char *url, const char *header, int fd, int64_t size,
                                 struct err *err);

/* A path by printf in which every %s is percent-encoded (so an id or a step may hold anything); %lld and the text
 * between are not. The project is added by client_project(). */
__attribute__((format(printf, 2, 3))) const char *client_path(struct arena *a, const char *fmt, ...);
/* `path` with one more part of a query, such as "page_size=1". */
const char *client_with(struct arena *a, const char *path, const char *part);
/* From now on what nobody said a project for is of this one; NULL = none. */
void client_file_project(struct client *c, const char *project);
/* `path` with project=… in its query, if a project is known. */
const char *client_project(struct client *c, struct arena *a, const char *path);

/* ---- event streams ---- */

struct client_event {
    struct str id, kind, data;
    struct value value; /* of JSON data */
};
/* True goes on. `event` is NULL on a tick, about ten times a second. */
typedef bool client_event_fn(void *ctx, const struct client_event *event);

struct client_stream {
    const char *path;
    struct str last_id; /* where to begin; updated */
    client_event_fn *fn;
    void *ctx;
    bool stopped; /* by fn; out */
};

/* Reads until fn stops it, reconnecting with Last-Event-ID whenever the stream ends or breaks, for as long as the
 * server is away (fn may stop it on a tick). False when the server refuses: then *err says why (503: too many streams:
 * poll instead). */
MUST_CHECK bool client_follow(struct client *c, struct client_stream *stream, struct err *err);

/* ---- parts that can be tested by themselves ---- */

/* problem+json → the first error and the list. `status` and `body` of an answer that may also be none of ours (a
 * proxy's page). */
void problem_read(struct arena *a, int status, struct str body, struct err_list *errors, struct err *err);

/* The event stream format (https://html.spec.whatwg.org/multipage/server-sent-events.html), fed in pieces. */
struct sse {
    struct arena arena; /* of one event */
    struct buf line, data, kind;
    struct buf id;      /* of the last whole event: where to go on */
    struct buf next_id; /* of the event that is being read */
    client_event_fn *fn;
    void *ctx;
    bool started, after_cr;
};
void sse_init(struct sse *s, client_event_fn *fn, void *ctx);
void sse_reset(struct sse *s); /* forgets the event that was cut off; the id stays */
void sse_free(struct sse *s);
bool sse_feed(struct sse *s, const char *p, size_t n); /* false when fn stopped it */

#endif
