/* The client's loop: what waits is queued by priority and budget, what has come is told, each call once. See client.h.
 *
 * Curl's callbacks only fill buffers. Everything is told from kube_client_turn, outside curl, from a list of news whose
 * head is taken each time: a callback may cancel whatever it likes, and the list still holds. */
#include "engine/kube/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "engine/kube/client_inner.h"
#include "engine/os/clock.h"

#define TIMEOUT_MS 30000
#define TRIES 5
#define PAUSE_US 250000 /* before the second try; doubled for each further */
#define PAUSE_MOST_US 8000000
#define OBEYED_MS 120000 /* a longer Retry-After is for the caller to decide about */
#define ROUNDS 8         /* of a turn; what is left makes the descriptor readable at once */

/* ---- open and close ---- */

static void free_client(struct kube_client *c)
{
    kube_credential_close(c->credential);
    while (c->pools != NULL)
        kube_pool_close(c->pools);
    if (c->epoll >= 0) close(c->epoll);
    if (c->timer >= 0) close(c->timer);
    free(c->user_agent);
    free(c);
}

static void init_lists(struct kube_client *c)
{
    struct kube_link *const heads[] = {&c->paused, &c->running, &c->streaming, &c->news, &c->timers};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        kube_link_init(heads[i]);
    for (size_t i = 0; i < QUEUES; i++)
        kube_link_init(&c->queue[i]);
}

bool kube_client_open(const struct kube_client_config *config, struct kube_client **out, struct err *err)
{
    struct kube_client *c = calloc(1, sizeof *c);
    if (c == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) abort();
    init_lists(c);
    c->access = config->access;
    c->user_agent = strdup(config->user_agent != NULL ? config->user_agent : "millrace/" MILLRACE_VERSION);
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint32_t)c->timer};
    if (c->epoll < 0 || c->timer < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &e) != 0) {
        err_set(err, ERR_IO, "no descriptors for the Kubernetes client: %s", strerror(errno));
        free_client(c);
        return err_hint(err, "raise the limit of open files: ulimit -n");
    }
    c->in_flight = config->in_flight > 0 ? config->in_flight : 32;
    c->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_MS;
    kube_budget_init(&c->budget, config->requests_per_s > 0 ? config->requests_per_s : 50,
                     config->burst > 0 ? config->burst : 100, os_mono_us());
    c->credential = kube_credential_open(config->access, c->epoll);
    c->requests = kube_pool_open(c, false);
    c->streams = kube_pool_open(c, true);
    *out = c;
    return true;
}

static void free_call(struct kube_call *call)
{
    kube_transfer_stop(call);
    kube_link_leave(&call->home);
    kube_link_leave(&call->news);
    buf_free(&call->body);
    buf_free(&call->in);
    free(call->method);
    free(call->path);
    free(call->type);
    free(call);
}

static void drop_all(struct kube_link *head)
{
    for (struct kube_link *l = head->next, *next; l != head; l = next) {
        next = l->next;
        free_call(KUBE_OF(l, struct kube_call, home));
    }
}

void kube_client_close(struct kube_client *c)
{
    if (c == NULL) return;
    for (size_t i = 0; i < QUEUES; i++)
        drop_all(&c->queue[i]);
    drop_all(&c->paused);
    drop_all(&c->running);
    drop_all(&c->streaming);
    while (!kube_link_alone(&c->timers))
        kube_link_leave(c->timers.next);
    free_client(c);
}

/* ---- time ---- */

static void arm(struct kube_client *c, int64_t due_us)
{
    struct itimerspec at = {0};
    int64_t in = due_us == KUBE_NEVER ? 0 : due_us - os_mono_us();
    if (due_us != KUBE_NEVER && in <= 0) {
        at.it_value.tv_nsec = 1;
    } else {
        at.it_value.tv_sec = (time_t)(in / 1000000);
        at.it_value.tv_nsec = (long)(in % 1000000) * 1000;
    }
    timerfd_settime(c->timer, 0, &at, NULL);
}

void kube_timer_set(struct kube_client *c, struct kube_timer *t, int64_t due_us)
{
    t->due_us = due_us;
    kube_link_before(&t->link, &c->timers);
    arm(c, 0); /* the next turn sees when it is due */
}

void kube_timer_clear(struct kube_timer *t)
{
    kube_link_leave(&t->link);
}

static void least(int64_t *due, int64_t other)
{
    if (other < *due) *due = other;
}

static int64_t stream_due(const struct kube_call *call)
{
    int64_t due = KUBE_NEVER;
    if (call->over || call->state != CALL_RUNNING) return due;
    if (call->idle_ms > 0) least(&due, call->byte_us + call->idle_ms * 1000);
    if (call->total_ms > 0) least(&due, call->began_us + call->total_ms * 1000);
    return due;
}

static size_t slots(const struct kube_client *c, size_t queue)
{
    if (queue == QUEUE_URGENT) return c->in_flight + c->in_flight / 4 + 1;
    if (queue == QUEUE_IDLE) return c->in_flight - c->in_flight / 4;
    return queue == QUEUE_STREAM ? SIZE_MAX : c->in_flight;
}

/* When there is something to do again, sockets apart. */
static int64_t next_due(struct kube_client *c, int64_t now)
{
    int64_t due = kube_credential_due(c->credential);
    if (!kube_link_alone(&c->news)) return now;
    for (struct kube_pool *p = c->pools; p != NULL; p = p->next)
        least(&due, p->due_us);
    for (struct kube_link *l = c->timers.next; l != &c->timers; l = l->next)
        least(&due, KUBE_OF(l, struct kube_timer, link)->due_us);
    for (struct kube_link *l = c->paused.next; l != &c->paused; l = l->next)
        least(&due, KUBE_OF(l, struct kube_call, home)->paused_until_us);
    for (struct kube_link *l = c->streaming.next; l != &c->streaming; l = l->next)
        least(&due, stream_due(KUBE_OF(l, struct kube_call, home)));
    struct kube_pass pass;
    for (size_t i = 0; i < QUEUES; i++)
        if (!kube_link_alone(&c->queue[i]) && c->stats.running < slots(c, i) &&
            kube_credential_get(c->credential, now, &pass, NULL) != KUBE_PASS_WAIT)
            least(&due, kube_budget_due(&c->budget, now));
    return due;
}

/* ---- what comes in ---- */

static void hear(struct kube_client *c)
{
    struct epoll_event events[64];
    int n = epoll_wait(c->epoll, events, 64, 0), still;
    bool credential = false;
    for (int i = 0; i < n; i++) {
        uint32_t id = (uint32_t)(events[i].data.u64 >> 32), got = events[i].events;
        int fd = (int)(uint32_t)events[i].data.u64;
        struct kube_pool *p = c->pools;
        while (p != NULL && p->id != id)
            p = p->next;
        if (p != NULL) {
            int mask = (got & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (got & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                       (got & EPOLLERR ? CURL_CSELECT_ERR : 0);
            curl_multi_socket_action(p->multi, fd, mask, &still);
        } else if (fd == c->timer) {
            uint64_t times;
            if (read(fd, &times, sizeof times) < 0) continue; /* set anew meanwhile */
        } else {
            credential = true;
        }
    }
    if (credential || kube_credential_due(c->credential) <= os_mono_us())
        kube_credential_turn(c->credential, os_mono_us());
}

static void cut_streams(struct kube_client *c, int64_t now)
{
    for (struct kube_link *l = c->streaming.next; l != &c->streaming; l = l->next) {
        struct kube_call *call = KUBE_OF(l, struct kube_call, home);
        if (stream_due(call) > now) continue;
        call->idle = call->idle_ms > 0 && call->byte_us + call->idle_ms * 1000 <= now;
        call->late = !call->idle;
        call->over = true;
        call->ended_us = now;
        call->code = CURLE_OPERATION_TIMEDOUT;
        kube_call_news(call);
    }
}

static void run_due(struct kube_client *c)
{
    int64_t now = os_mono_us();
    int still;
    for (struct kube_pool *p = c->pools; p != NULL; p = p->next) {
        if (p->due_us <= now) {
            p->due_us = KUBE_NEVER;
            curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &still);
        }
        kube_pool_ends(p);
    }
    cut_streams(c, now);
}

static void fire_timers(struct kube_client *c)
{
    int64_t now = os_mono_us();
    struct kube_link due; /* those that a timer sets now are the next round's */
    kube_link_init(&due);
    for (struct kube_link *l = c->timers.next, *next; l != &c->timers; l = next) {
        next = l->next;
        if (KUBE_OF(l, struct kube_timer, link)->due_us <= now) kube_link_before(l, &due);
    }
    while (!kube_link_alone(&due)) {
        struct kube_timer *t = KUBE_OF(due.next, struct kube_timer, link);
        kube_link_leave(&t->link);
        t->fire(t->ctx);
    }
}

/* ---- what goes out ---- */

void kube_call_news(struct kube_call *call)
{
    if (kube_link_alone(&call->news)) kube_link_before(&call->news, &call->client->news);
}

static void enqueue(struct kube_call *call, bool front)
{
    struct kube_link *head = &call->client->queue[call->queue];
    call->state = CALL_QUEUED;
    kube_link_before(&call->home, front ? head->next : head);
}

/* Ends a try that never began. */
static void fail_early(struct kube_call *call, int64_t now)
{
    call->over = true;
    call->sent = call->begun = false;
    call->status = 0;
    call->began_us = call->ended_us = now;
    if (call->code == CURLE_OK) call->code = CURLE_FAILED_INIT;
    kube_call_news(call);
}

static void begin(struct kube_client *c, struct kube_call *call, const struct kube_pass *pass, int64_t now)
{
    call->state = CALL_RUNNING;
    kube_link_before(&call->home, call->stream ? &c->streaming : &c->running);
    *(call->stream ? &c->stats.streaming : &c->stats.running) += 1;
    if (!kube_transfer_start(call, pass, now)) {
        call->code = CURLE_URL_MALFORMAT;
        fail_early(call, now);
        return;
    }
    *(call->stream ? &c->stats.streams : &c->stats.requests) += 1;
    if (call->tried++ > 0) c->stats.retries++;
}

/* False: nothing more can go out now. */
static bool pump_one(struct kube_client *c, struct kube_call *call, int64_t now)
{
    struct kube_pass pass;
    struct err why;
    enum kube_pass_state state = kube_credential_get(c->credential, now, &pass, &why);
    if (state == KUBE_PASS_WAIT) return false;
    if (state == KUBE_PASS_MISSING) {
        call->state = CALL_RUNNING;
        kube_link_before(&call->home, call->stream ? &c->streaming : &c->running);
        *(call->stream ? &c->stats.streaming : &c->stats.running) += 1;
        snprintf(call->error, sizeof call->error, "%s%s%s", why.message, why.hint[0] ? "; " : "", why.hint);
        call->code = CURLE_OK;
        fail_early(call, now);
        call->tried++;
        return true;
    }
    if (!kube_budget_take(&c->budget, now)) return false;
    begin(c, call, &pass, now);
    return true;
}

static void pump(struct kube_client *c)
{
    int64_t now = os_mono_us();
    for (struct kube_link *l = c->paused.next; l != &c->paused;) {
        struct kube_call *call = KUBE_OF(l, struct kube_call, home);
        l = l->next;
        if (call->paused_until_us <= now) enqueue(call, true);
    }
    for (size_t i = 0; i < QUEUES; i++)
        while (!kube_link_alone(&c->queue[i]) && c->stats.running < slots(c, i))
            if (!pump_one(c, KUBE_OF(c->queue[i].next, struct kube_call, home), now)) return;
}

/* ---- what is told ---- */

static void leave_running(struct kube_call *call)
{
    if (call->state != CALL_RUNNING) return;
    *(call->stream ? &call->client->stats.streaming : &call->client->stats.running) -= 1;
    call->state = CALL_OVER;
}

/* Timed out without a byte on any connection since: they may be dead without their knowing, so new calls get new ones.
 */
static void suspect(struct kube_client *c, const struct kube_call *call)
{
    struct kube_pool *p = call->pool;
    if (call->stream || call->code != CURLE_OPERATION_TIMEDOUT || !call->sent || p != c->requests) return;
    if (p->byte_us >= call->began_us) return;
    p->retired = true;
    c->requests = kube_pool_open(c, false);
}

static bool wants_another_try(struct kube_call *call, const struct kube_answer *a)
{
    if (call->stream || call->tried >= call->tries || kube_outcome_hopeless(call)) return false;
    if (a->retry_after_ms > OBEYED_MS) return false;
    return a->outcome == KUBE_AGAIN || (a->outcome == KUBE_UNKNOWN && kube_transfer_idempotent(call));
}

static void pause_call(struct kube_client *c, struct kube_call *call, int64_t retry_after_ms)
{
    int64_t now = os_mono_us(), pause = kube_pause_us(call->tried, PAUSE_US, PAUSE_MOST_US, os_random_u64());
    int64_t asked = retry_after_ms * 1000; /* and up to a quarter more, lest all come at once */
    if (asked > 0) asked += (int64_t)(os_random_u64() % (uint64_t)(asked / 4 + 1));
    call->paused_until_us = now + (asked > pause ? asked : pause);
    call->state = CALL_PAUSED;
    kube_link_before(&call->home, &c->paused);
}

static void obey(struct kube_client *c, const struct kube_answer *a)
{
    if (a->outcome != KUBE_AGAIN || a->status == 0) return;
    c->stats.throttled++;
    int64_t wait = a->retry_after_ms < OBEYED_MS ? a->retry_after_ms : OBEYED_MS;
    kube_budget_hold(&c->budget, os_mono_us() + wait * 1000);
}

static void conclude(struct kube_client *c, struct kube_call *call)
{
    struct arena a;
    struct kube_answer answer;
    long version = 0;
    arena_init(&a, 0);
    kube_outcome(call, &a, &answer);
    if (call->curl != NULL) {
        curl_easy_getinfo(call->curl, CURLINFO_HTTP_VERSION, &version);
        suspect(c, call);
    }
    c->stats.http2 += call->status > 0 && version == CURL_HTTP_VERSION_2_0;
    kube_transfer_stop(call);
    leave_running(call);
    obey(c, &answer);
    if (call->status == 401 && !call->renewed &&
        kube_credential_rejected(c->credential, call->credential, os_mono_us())) {
        call->renewed = true;
        call->tried--; /* it costs no try */
        enqueue(call, true);
    } else if (wants_another_try(call, &answer)) {
        pause_call(c, call, answer.retry_after_ms);
    } else {
        kube_link_leave(&call->home);
        call->busy = true; /* to cancel itself means nothing any more */
        call->done(call->ctx, &answer);
        free_call(call);
    }
    arena_free(&a);
}

/* What came of a stream. False when the call is gone. */
static bool tell_stream(struct kube_call *call)
{
    call->busy = true;
    if (!call->told_begun && call->opened != NULL) call->opened(call->ctx);
    call->told_begun = true;
    if (!call->cancelled && call->in.n > 0) {
        struct buf bytes = call->in;
        buf_init(&call->in, KUBE_BODY_MAX);
        if (!call->data(call->ctx, buf_view(&bytes))) {
            call->enough = call->over = true;
            call->ended_us = os_mono_us();
        }
        buf_reset(&bytes);
        buf_free(&call->in); /* nothing came meanwhile; the room is used again */
        call->in = bytes;
    }
    call->busy = false;
    if (!call->cancelled) return true;
    leave_running(call);
    free_call(call);
    return false;
}

static void tell(struct kube_client *c)
{
    while (!kube_link_alone(&c->news)) {
        struct kube_call *call = KUBE_OF(c->news.next, struct kube_call, news);
        kube_link_leave(&call->news);
        if (call->stream && call->begun && !tell_stream(call)) continue;
        if (call->over) conclude(c, call);
    }
}

/* ---- turning ---- */

static void close_retired(struct kube_client *c)
{
    for (struct kube_pool *p = c->pools, *next; p != NULL; p = next) {
        next = p->next;
        if (p->retired && p->running == 0) kube_pool_close(p);
    }
}

void kube_client_turn(struct kube_client *c)
{
    int64_t due = 0;
    for (int round = 0; round < ROUNDS && due <= os_mono_us(); round++) {
        hear(c);
        run_due(c);
        tell(c);
        fire_timers(c);
        pump(c);
        close_retired(c);
        due = next_due(c, os_mono_us());
    }
    arm(c, due);
}

int kube_client_fd(const struct kube_client *c)
{
    return c->epoll;
}

const struct kube_client_stats *kube_client_statistics(const struct kube_client *c)
{
    struct kube_client *known = (struct kube_client *)(uintptr_t)c;
    known->stats.waiting = 0;
    for (size_t i = 0; i <= QUEUES; i++) {
        const struct kube_link *head = i < QUEUES ? &c->queue[i] : &c->paused;
        for (const struct kube_link *l = head->next; l != head; l = l->next)
            known->stats.waiting++;
    }
    return &known->stats;
}

/* ---- calls ---- */

static char *copy(struct str s)
{
    char *p = strndup(s.n > 0 ? s.p : "", s.n);
    if (p == NULL) abort();
    return p;
}

static struct kube_call *new_call(struct kube_client *c, const char *method, struct str path)
{
    struct kube_call *call = calloc(1, sizeof *call);
    if (call == NULL) abort();
    kube_link_init(&call->home);
    kube_link_init(&call->news);
    buf_init(&call->in, KUBE_BODY_MAX);
    buf_init(&call->body, KUBE_BODY_MAX);
    call->client = c;
    call->method = copy(str_of(method));
    call->path = copy(path);
    return call;
}

struct kube_call *kube_request(struct kube_client *c, const struct kube_request *req)
{
    static const size_t queues[] = {
        [KUBE_NORMAL] = QUEUE_NORMAL, [KUBE_URGENT] = QUEUE_URGENT, [KUBE_IDLE] = QUEUE_IDLE};
    struct kube_call *call = new_call(c, req->method, req->path);
    call->type = copy(str_of(req->content_type != NULL ? req->content_type : "application/json"));
    if (req->body.n > 0) buf_str(&call->body, req->body);
    call->queue = queues[req->priority];
    call->timeout_ms = req->timeout_ms > 0 ? req->timeout_ms : c->timeout_ms;
    call->tries = req->tries > 0 ? req->tries : TRIES;
    call->done = req->done;
    call->ctx = req->ctx;
    enqueue(call, false);
    arm(c, 0);
    return call;
}

struct kube_call *kube_stream(struct kube_client *c, const struct kube_stream_request *req)
{
    struct kube_call *call = new_call(c, "GET", req->path);
    call->stream = true;
    call->queue = QUEUE_STREAM;
    call->idle_ms = req->idle_timeout_ms;
    call->total_ms = req->total_ms;
    call->tries = 1;
    call->opened = req->opened;
    call->data = req->data;
    call->done = req->done;
    call->ctx = req->ctx;
    enqueue(call, false);
    arm(c, 0);
    return call;
}

void kube_cancel(struct kube_client *c, struct kube_call *call)
{
    if (call == NULL) return;
    if (call->busy) { /* by its own callback: whoever calls it frees it */
        call->cancelled = true;
        return;
    }
    leave_running(call);
    free_call(call);
    arm(c, 0); /* its place is free */
}

/* ---- one at a time ---- */

struct await {
    struct arena *a;
    struct kube_answer *out;
    bool done;
};

static void on_awaited(void *ctx, const struct kube_answer *answer)
{
    struct await *w = ctx;
    *w->out = *answer;
    w->out->body = arena_str(w->a, answer->body);
    w->out->reason = arena_str(w->a, answer->reason);
    w->out->message = arena_str(w->a, answer->message);
    w->done = true;
}

bool kube_await(struct kube_client *c, const char *method, struct str path, struct str body, struct arena *a,
                struct kube_answer *out, struct err *err)
{
    struct await w = {.a = a, .out = out};
    struct kube_request req = {.method = method, .path = path, .body = body, .done = on_awaited, .ctx = &w};
    kube_request(c, &req);
    while (!w.done) {
        struct pollfd p = {.fd = kube_client_fd(c), .events = POLLIN};
        poll(&p, 1, -1);
        kube_client_turn(c);
    }
    if (out->status > 0) return true;
    return err_set(err, out->outcome == KUBE_UNKNOWN ? ERR_TIMEOUT : ERR_UNAVAILABLE, "%.*s", STR_ARG(out->message));
}
