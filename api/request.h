/* A request as handlers see it: path parts, query, headers, who asks, and the body, read within limits. All of it lives
 * in the request's arena; one thread at a time. */
#ifndef MILLRACE_API_REQUEST_H
#define MILLRACE_API_REQUEST_H

#include "api/api.h"
#include "api/respond.h"
#include "engine/base/value.h"
#include "engine/store/db.h"

struct route;

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_EDITOR, ROLE_ADMIN };

struct identity {
    struct str name;
    enum role role;
    int64_t project; /* 0 = all projects */
    /* A step's own token: it sees its run only. 0 = a person's or machine's. */
    int64_t run;
    uint32_t task, attempt;
};

struct header {
    const char *name, *value;
};
struct query_arg {
    struct str name, value;
    bool used; /* by a handler: what nobody used is an unknown parameter */
};

#define REQUEST_SEGMENTS 4

struct request {
    struct api *api;
    struct arena *arena;
    struct transport wire;
    struct str method, path, query; /* raw */
    struct str target;              /* as it came: path and query, or a whole address; may be empty */
    const struct header *headers;
    size_t n_headers;
    int64_t content_length; /* -1 = chunked */
    bool http11;
    size_t head_bytes;
    bool head_cut;    /* there is more in the head than its headers */
    bool health_only; /* came by the health port */
    bool vouched;     /* the caller says who asks, in `who`: fuzzers, which have no database */

    char id[40];
    const struct route *route;
    struct str segments[REQUEST_SEGMENTS]; /* what the route's {…} stand for, decoded */
    struct query_arg *args;
    size_t n_args;
    struct identity who;
    struct conn *lease;
    bool turn;              /* taken on the lease (engine/store/turns.h) */
    struct str body;        /* read before the handler, for routes that take text */
    struct str location;    /* of what a create made; kept with its answer */
    struct err_list errors; /* what a validator found; goes into the answer beside the error */
    int64_t body_deadline_us;
    int64_t body_read;
    bool body_begun, body_done;
    bool hint; /* tell the scheduler once the answer is ready */

    struct response res;
};

const char *request_header(const struct request *rq, const char *name); /* NULL when absent */
bool request_accepts(const struct request *rq, const char *type);       /* the Accept header names it */

/* Splits and decodes the query. */
MUST_CHECK bool request_parse_query(struct request *rq, struct err *err);
/* %XX decoding; `plus` reads + as a space. False on a bad escape, NUL or invalid UTF-8. */
bool request_decode(struct arena *a, struct str s, bool plus, struct str *out);

/* Query parameters; false + ERR_INVALID with path "query.<name>" when the value does not fit. Absent: the default. */
bool request_arg(struct request *rq, const char *name, struct str *out); /* false = absent */
MUST_CHECK bool request_arg_int(struct request *rq, const char *name, int64_t min, int64_t max, int64_t absent,
                                int64_t *out, struct err *err);
MUST_CHECK bool request_arg_bool(struct request *rq, const char *name, bool *out, struct err *err);
/* After a handler took what it knows: any other parameter is refused with "did you mean". */
MUST_CHECK bool request_args_known(struct request *rq, const char *const *names, struct err *err);
/* Path part as a number ≥ 1: run, version, … */
MUST_CHECK bool request_segment_id(const struct request *rq, size_t i, const char *what, int64_t *out, struct err *err);

/* A piece of the body; *n = 0 at its end. Limits are the route's. */
MUST_CHECK bool request_read(struct request *rq, void *buf, size_t room, size_t *n, struct err *err);
/* The whole body as UTF-8 text. */
MUST_CHECK bool request_text(struct request *rq, struct str *out, struct err *err);
/* rq->body as a JSON object; an empty one gives null where the route's body is optional. */
MUST_CHECK bool request_json(struct request *rq, struct value *out, struct err *err);
enum body_kind { BODY_NONE, BODY_JSON, BODY_YAML, BODY_BYTES };
MUST_CHECK bool request_body_kind(const struct request *rq, enum body_kind *out, struct err *err);
/* Reads what the client still sends, within reason; false = give the connection up. */
bool request_drain(struct request *rq);

/* Members of a JSON body, table-driven: unknown ones are refused with "did you mean", types are checked. */
enum member_type { MEMBER_STRING, MEMBER_INT, MEMBER_BOOL, MEMBER_MAP, MEMBER_LIST, MEMBER_ANY };
struct member {
    const char *name;
    enum member_type type;
    bool required;
};
MUST_CHECK bool request_members(const struct value *body, const struct member *members, size_t n, struct err *err);
struct str member_str(const struct value *body, const char *name); /* empty when absent or null */

/* A connection to the database, leased on first use and kept until request_release. */
MUST_CHECK bool request_db(struct request *rq, struct conn **out, struct err *err);
void request_release(struct request *rq);

#endif
