/* An answer. Small ones are gathered, so that they carry a length and an ETag and can still turn into an error; long
 * ones go out in chunks as they are written. Compressed when the client takes gzip. */
#ifndef MILLRACE_API_RESPOND_H
#define MILLRACE_API_RESPOND_H

#include "api/transport.h"
#include "engine/base/err.h"
#include "engine/base/jsonw.h"

#define RESPONSE_SPOOL (1u << 20) /* bytes gathered before the answer goes out in chunks */

struct request;
struct gzip;

struct response {
    int status;
    struct buf headers; /* ready lines */
    struct buf body;
    const char *type;
    struct jsonw json;
    struct gzip *gzip; /* of an answer that goes out in chunks */
    bool begun;        /* the head is out */
    bool chunked;
    bool no_body;   /* HEAD, 204, 304 */
    bool gzip_ok;   /* the client takes it and the content is worth it */
    bool whole;     /* gathered to its end, however long: nothing may go out before the commit */
    bool etag;      /* of the gathered body, with If-None-Match */
    bool raw;       /* streamed as is: no gzip, length known or chunked */
    bool close;     /* the connection ends with this answer */
    bool json_open; /* a JSON answer was begun and not ended */
    bool failed;    /* the peer is gone, or the answer broke off */
};

void response_init(struct request *rq);
void response_free(struct request *rq);
__attribute__((format(printf, 3, 4))) void response_header(struct request *rq, const char *name, const char *fmt, ...);

/* Begins a JSON answer; the writer is good until the handler returns. */
struct jsonw *response_json(struct request *rq, int status);
/* Begins a gathered answer of another type; bytes by response_add. */
void response_begin(struct request *rq, int status, const char *type);
bool response_add(struct request *rq, const void *bytes, size_t n);
bool response_add_str(struct request *rq, struct str s);

/* Sends the head now; bytes follow by response_write, unchanged. length -1 = unknown: chunks. */
MUST_CHECK bool response_stream(struct request *rq, int status, const char *type, int64_t length);
MUST_CHECK bool response_write(struct request *rq, const void *bytes, size_t n);

/* Ends a gathered JSON answer, so that its text is whole in res.body. For the dispatcher. */
MUST_CHECK bool response_settle(struct request *rq, struct err *err);
/* The name of a gathered answer: weak, since compression changes its bytes. */
#define RESPONSE_TAG 32
void response_tag(const struct request *rq, char tag[RESPONSE_TAG]);
/* Called once by the dispatcher: sends what was gathered, ends the chunks. */
void response_finish(struct request *rq);
/* Throws away what was gathered and answers with a problem (RFC 9457); after the head went out it breaks the answer
 * off. */
void response_problem(struct request *rq, const struct err *err);
/* One entry of `errors`. */
void response_problem_item(struct jsonw *w, const struct err *e);

#endif
