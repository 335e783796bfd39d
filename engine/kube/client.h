/* HTTP to an API server, without blocking: libcurl's multi interface behind one file descriptor. One thread at a time.
 *
 * Requests share HTTP/2 connections; streams (watches, logs) have connections of their own, so that none starves the
 * others. There is a budget of requests per second (token bucket); what exceeds it waits here, in order of priority.
 * 429 and 503 are obeyed: nothing at all goes out before Retry-After is over, since flow control counts by user, and
 * all that goes out here is one user's.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/ */
#ifndef MILLRACE_KUBE_CLIENT_H
#define MILLRACE_KUBE_CLIENT_H

#include "engine/base/value.h"
#include "engine/kube/access.h"

struct kube_client;

struct kube_client_config {
    const struct kube_access *access; /* outlives the client */
    double requests_per_s;            /* 0 = 50 */
    double burst;                     /* 0 = 100 */
    size_t in_flight;       /* requests at once, streams apart; 0 = 32. Urgent ones may be a quarter more, idle
                               ones only three quarters of it */
    int64_t timeout_ms;     /* of one try of a request that says none; 0 = 30 s */
    const char *user_agent; /* NULL = millrace/VERSION */
};

enum kube_outcome {
    KUBE_DONE,    /* an answer with status 2xx, complete */
    KUBE_REFUSED, /* an answer with another status that another try would not change */
    KUBE_AGAIN,  /* surely not carried out, and may be later: no connection, no credential, 429, 503 with Retry-After */
    KUBE_UNKNOWN /* may have been carried out: timed out or cut off after it was sent, 500, 502, 504, bare 503 */
};

struct kube_answer { /* valid during the call it is told by */
    enum kube_outcome outcome;
    long status;            /* 0 = none came */
    struct str body;        /* empty for streams */
    struct str reason;      /* of a Status: AlreadyExists, Conflict, NotFound, Expired, Forbidden, … */
    struct str message;     /* of a Status, or what went wrong on the way: quotes the server, for people; valid UTF-8 */
    int64_t retry_after_ms; /* 0 = it did not say */
    int64_t took_us;        /* of the last try */
    uint32_t tries;         /* how many there were; 0 = it was never sent */
};

enum kube_priority { KUBE_NORMAL, KUBE_URGENT, KUBE_IDLE }; /* creations; cancels, before all others; clean-up */

struct kube_request {
    const char *method;       /* GET, POST, PUT, PATCH, DELETE */
    struct str path;          /* /apis/batch/v1/namespaces/x/jobs?limit=500 */
    struct str body;          /* copied */
    const char *content_type; /* NULL = application/json */
    enum kube_priority priority;
    int64_t timeout_ms; /* of one try; 0 = the client's */
    /* How often it is sent at most, with growing pauses, while the outcome is KUBE_AGAIN; for GET, PUT, DELETE
     * KUBE_UNKNOWN, too: a DELETE that is sent again may find nothing any more (404), or by its preconditions another
     * object (409). 0 = 5. A 401 that a new credential mends costs none of them. Not even the connection's loss makes
     * curl send a POST or PATCH twice. */
    uint32_t tries;
    void (*done)(void *ctx, const struct kube_answer *answer); /* exactly once, unless it is cancelled */
    void *ctx;
};

struct kube_stream_request {
    struct str path;
    int64_t idle_timeout_ms;   /* without a byte for so long it counts as half-open and is cut; 0 = never */
    int64_t total_ms;          /* cut after so long, whatever came; 0 = never */
    void (*opened)(void *ctx); /* an answer with 2xx has begun; may be NULL */
    bool (*data)(void *ctx, struct str bytes); /* false: enough, cut it off: `done` is still told, KUBE_DONE */
    /* KUBE_DONE: it ended as it should. The client tries a stream once, but for a 401 that a new credential mends. */
    void (*done)(void *ctx, const struct kube_answer *answer);
    void *ctx;
};

struct kube_call; /* a request or a stream under way; gone once `done` has returned or it was cancelled */

struct kube_client_stats {
    uint64_t requests;                  /* HTTP requests sent, but streams */
    uint64_t streams;                   /* the same of streams */
    uint64_t retries;                   /* tries beyond a call's first */
    uint64_t throttled;                 /* answers that asked to wait: 429, 503 with Retry-After */
    uint64_t http2;                     /* answers that came by HTTP/2 */
    size_t waiting, running, streaming; /* now: in the queue or before another try; sent; streams */
};

MUST_CHECK bool kube_client_open(const struct kube_client_config *config, struct kube_client **out, struct err *err);
/* Nothing is told any more. NULL is fine. Not from within a callback. */
void kube_client_close(struct kube_client *c);

/* Neither blocks nor calls back: what there is to tell is told by kube_client_turn. Strings are copied. */
struct kube_call *kube_request(struct kube_client *c, const struct kube_request *req);
struct kube_call *kube_stream(struct kube_client *c, const struct kube_stream_request *req);
void kube_cancel(struct kube_client *c, struct kube_call *call); /* not told any more; NULL is fine */

/* Readable when kube_client_turn has something to do: sockets and timers are behind it. */
int kube_client_fd(const struct kube_client *c);
/* Does what is due and calls back. Callbacks may start and cancel calls, also their own. Not from within a callback. */
void kube_client_turn(struct kube_client *c);
const struct kube_client_stats *kube_client_statistics(const struct kube_client *c);

/* For programs that do one thing at a time, and for tests: turns until the answer is there, which then lives in the
 * arena. True when the server answered, whatever the status; else `err` says why not, and `out` is set, too. */
MUST_CHECK bool kube_await(struct kube_client *c, const char *method, struct str path, struct str body, struct arena *a,
                           struct kube_answer *out, struct err *err);

/* ---- json.c ---- */

/* JSON as API servers write it, to a value. What a step wrote may hold U+0000, which values cannot: it becomes U+FFFD.
 * Left out, wherever they stand: managedFields, and the maps `opaque` and `data`, which are people's own. */
MUST_CHECK bool kube_json(struct arena *a, struct str text, struct value *out, struct err *err);
/* The items of the list that an answer brought; NULL when it brought none. They live in the arena. */
const struct value *kube_items(struct arena *a, const struct kube_answer *answer);
/* Text within a value by a path of keys without dots, such as "metadata.name"; empty when it is not there or no text.
 */
struct str kube_text(const struct value *v, const char *path);

#endif
