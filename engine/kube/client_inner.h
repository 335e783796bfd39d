/* What the parts of the client share. client.c queues, turns and tells; transfer.c hands a call to curl and takes what
 * comes; outcome.c judges it; timers serve watch.c, too. */
#ifndef MILLRACE_KUBE_CLIENT_INNER_H
#define MILLRACE_KUBE_CLIENT_INNER_H

#include <curl/curl.h>

#include "engine/base/buf.h"
#include "engine/kube/budget.h"
#include "engine/kube/client.h"
#include "engine/kube/credential.h"

#define KUBE_NEVER INT64_MAX
#define KUBE_BODY_MAX ((size_t)64 << 20)
#define KUBE_STATUS_MAX ((size_t)256 << 10) /* of a stream's refusal */

/* ---- lists: a node knows its neighbours and can leave from wherever it is ---- */

struct kube_link {
    struct kube_link *prev, *next;
};

static inline void kube_link_init(struct kube_link *l)
{
    l->prev = l->next = l;
}

static inline bool kube_link_alone(const struct kube_link *l)
{
    return l->next == l;
}

static inline void kube_link_leave(struct kube_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    kube_link_init(l);
}

static inline void kube_link_before(struct kube_link *l, struct kube_link *at) /* at a list's head: to its end */
{
    kube_link_leave(l);
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}

#define KUBE_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* ---- calls ---- */

struct kube_pool { /* one of curl's multi handles with its connections */
    struct kube_pool *next;
    struct kube_client *client;
    CURLM *multi;
    uint32_t id;
    int64_t due_us;  /* of curl's timer */
    int64_t byte_us; /* when something came last, on any connection */
    size_t running;
    bool retired; /* closed once nothing runs */
};

enum call_state { CALL_QUEUED, CALL_PAUSED, CALL_RUNNING, CALL_OVER };

struct kube_call {
    struct kube_link home; /* in the queue, among the paused or the running */
    struct kube_link news; /* in the client's news while there is something to tell */
    struct kube_client *client;
    enum call_state state;
    bool stream;
    bool busy, cancelled; /* it is being told something; and it was cancelled meanwhile */
    /* what is asked */
    char *method, *path, *type;
    struct buf body;
    size_t queue;
    int64_t timeout_ms, idle_ms, total_ms;
    uint32_t tries;
    void (*opened)(void *ctx);
    bool (*data)(void *ctx, struct str bytes);
    void (*done)(void *ctx, const struct kube_answer *answer);
    void *ctx;
    uint32_t tried;
    bool renewed;        /* a 401 has been answered by a new credential */
    uint64_t credential; /* the one it was sent with */
    int64_t paused_until_us;
    /* this try */
    CURL *curl;
    struct kube_pool *pool;
    struct curl_slist *headers, *connect_to;
    struct buf in; /* the body, or what of a stream is not told yet */
    long status;
    int64_t retry_after_ms, began_us, byte_us, ended_us;
    bool sent;                                                  /* a byte of the request may have left */
    bool doubled;                                               /* curl wanted to send it again by itself */
    bool begun, told_begun, too_long, enough, idle, late, over; /* over: the try has ended */
    CURLcode code;
    char error[700]; /* curl writes up to CURL_ERROR_SIZE, 256 */
};

struct kube_timer {
    struct kube_link link;
    int64_t due_us;
    void (*fire)(void *ctx);
    void *ctx;
};

enum { QUEUE_URGENT, QUEUE_STREAM, QUEUE_NORMAL, QUEUE_IDLE, QUEUES };

struct kube_client {
    const struct kube_access *access;
    char *user_agent;
    int epoll, timer;
    struct kube_credential *credential;
    struct kube_budget budget;
    size_t in_flight;
    int64_t timeout_ms;
    struct kube_pool *pools, *requests, *streams; /* all; those that new calls go to */
    uint32_t last_pool;
    struct kube_link queue[QUEUES], paused, running, streaming, news, timers;
    struct kube_client_stats stats;
};

/* client.c */
void kube_call_news(struct kube_call *call); /* there is something to tell */
/* Fires once, in a turn; setting it again moves it. Initialised by a link that stands alone. */
void kube_timer_set(struct kube_client *c, struct kube_timer *t, int64_t due_us);
void kube_timer_clear(struct kube_timer *t);

/* pool.c */
struct kube_pool *kube_pool_open(struct kube_client *c, bool streams); /* NULL: no memory */
void kube_pool_close(struct kube_pool *p);
/* Takes the tries that have ended off curl, as news. */
void kube_pool_ends(struct kube_pool *p);

/* transfer.c */
/* Hands one try to curl; false with call->error when it could not. */
MUST_CHECK bool kube_transfer_start(struct kube_call *call, const struct kube_pass *pass, int64_t now_us);
void kube_transfer_stop(struct kube_call *call); /* and everything else of this try but its body */
bool kube_transfer_idempotent(const struct kube_call *call);

/* outcome.c */
/* Strings are the call's or in the arena. */
void kube_outcome(const struct kube_call *call, struct arena *a, struct kube_answer *out);
/* Whether another try could not mend it: a wrong certificate, no such scheme. */
bool kube_outcome_hopeless(const struct kube_call *call);
int64_t kube_retry_after_ms(struct str text, int64_t now_s); /* seconds or an HTTP date; 0 = neither */

#endif
