/* See watch.h. One call or one timer is under way at a time: a page of a list, a watch, or the rest before the next
 * try.
 */
#include "engine/kube/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kube/client_inner.h"
#include "engine/kube/collection.h"
#include "engine/os/clock.h"

#define PAGE 500
#define DELAY_MS 800
#define DELAY_MAX_MS 30000
#define IDLE_MS 90000
#define GOOD_US 120000000 /* without a failure: the delays begin anew */
#define SHORT_US                                                                                                       \
    1000000        /* a watch that ended by itself within this, and told nothing, is as good as one that failed        \
                    */
#define GRACE_S 10 /* after the time that the server was given */

struct kube_watch {
    struct kube_client *client;
    struct kube_watch_config config;
    char *path; /* with the selector, ending in '?' or '&' */
    struct kube_collection all;
    struct kube_call *call;
    struct kube_timer timer;
    struct kube_fault fault;
    bool must_list; /* before it may be watched */
    bool whole;     /* list without pages: they expired while they were read */
    bool listing;   /* pages of a list are being read */
    bool synced, closed;
    int busy;
    uint32_t failures, in_a_row; /* for the delay; without a success between them */
    int64_t failed_us, opened_us;
    uint64_t heard; /* events and bookmarks when the watch began */
    long trouble;   /* the kind that was told; 0 = none */
    bool trouble_of_watch;
    char said[440];
};

static void go_on(struct kube_watch *w);

/* ---- callbacks may close it ---- */

static void free_watch(struct kube_watch *w)
{
    kube_collection_free(&w->all);
    free(w->path);
    free(w);
}

static void enter(struct kube_watch *w)
{
    w->busy++;
}

/* False when it is gone. */
static bool leave(struct kube_watch *w)
{
    if (--w->busy > 0 || !w->closed) return true;
    free_watch(w);
    return false;
}

void kube_watch_close(struct kube_watch *w)
{
    if (w == NULL || w->closed) return;
    w->closed = w->all.stopped = true;
    kube_cancel(w->client, w->call);
    kube_timer_clear(&w->timer);
    if (w->busy == 0) free_watch(w);
}

/* ---- trouble, and the rest after it ---- */

static void well(struct kube_watch *w, bool watching)
{
    w->in_a_row = 0;
    if (w->trouble == 0 || w->trouble_of_watch != watching) return;
    w->trouble = 0;
    if (w->config.trouble != NULL) w->config.trouble(w->config.ctx, NULL);
}

static void tell_trouble(struct kube_watch *w, const struct kube_answer *answer, bool watching)
{
    long kind = answer->status > 0 ? answer->status : -1;
    bool passing = answer->outcome == KUBE_AGAIN || answer->outcome == KUBE_UNKNOWN || answer->status == 410;
    if (kind == w->trouble || (passing && w->in_a_row < 2)) return;
    w->trouble = kind;
    w->trouble_of_watch = watching;
    snprintf(w->said, sizeof w->said, "%.*s", STR_ARG(utf8_sub(answer->message, sizeof w->said - 1)));
    if (w->config.trouble != NULL) w->config.trouble(w->config.ctx, answer);
}

/* After a failure: again later, by a list or by a watch from where it was. */
static void rest(struct kube_watch *w, bool list, int64_t retry_after_ms)
{
    int64_t now = os_mono_us(), least = w->config.delay_ms * 1000, most = w->config.delay_max_ms * 1000;
    if (w->closed) return;
    if (now - w->failed_us > GOOD_US) w->failures = 0;
    w->failed_us = now;
    int64_t pause = kube_pause_us(++w->failures, least, most, os_random_u64());
    if (retry_after_ms * 1000 > most) retry_after_ms = w->config.delay_max_ms; /* a day, says some proxy */
    if (pause < retry_after_ms * 1000) pause = retry_after_ms * 1000;
    w->must_list |= list;
    w->listing = false;
    kube_timer_set(w->client, &w->timer, now + pause);
}

static void failed(struct kube_watch *w, const struct kube_answer *answer, bool watching, bool list)
{
    w->in_a_row++;
    tell_trouble(w, answer, watching);
    rest(w, list, answer->retry_after_ms);
}

/* ---- asking ---- */

static void on_page(void *ctx, const struct kube_answer *answer);
static void on_opened(void *ctx);
static bool on_data(void *ctx, struct str bytes);
static void on_watched(void *ctx, const struct kube_answer *answer);

static void list(struct kube_watch *w)
{
    BUF_AUTO path;
    buf_init(&path, 0);
    if (!w->listing) kube_collection_begin(&w->all);
    w->listing = true;
    buf_c(&path, w->path);
    buf_printf(&path, "limit=%zu", w->whole ? 0 : w->config.page); /* 0: all at once */
    if (w->all.next != NULL) {
        buf_c(&path, "&continue=");
        buf_url(&path, str_of(w->all.next));
    }
    struct kube_request req = {.method = "GET", .path = buf_view(&path), .tries = 1, .done = on_page, .ctx = w};
    w->call = kube_request(w->client, &req);
}

static void watch(struct kube_watch *w)
{
    int64_t seconds = w->config.timeout_s > 0 ? w->config.timeout_s : 300 + (int64_t)(os_random_u64() % 301);
    BUF_AUTO path;
    buf_init(&path, 0);
    buf_printf(&path, "%swatch=1&allowWatchBookmarks=true&timeoutSeconds=%lld&resourceVersion=", w->path,
               (long long)seconds);
    buf_url(&path, str_of(w->all.version));
    kube_collection_watch(&w->all);
    w->fault = (struct kube_fault){0};
    w->heard = w->all.stats.events + w->all.stats.bookmarks;
    w->opened_us = os_mono_us();
    struct kube_stream_request req = {.path = buf_view(&path),
                                      .idle_timeout_ms = w->config.idle_ms,
                                      .total_ms = (seconds + GRACE_S) * 1000,
                                      .opened = on_opened,
                                      .data = on_data,
                                      .done = on_watched,
                                      .ctx = w};
    w->call = kube_stream(w->client, &req);
}

/* A watch without a version would begin anywhere: then a list is due. */
static void go_on(struct kube_watch *w)
{
    if (w->closed) return;
    if (w->must_list || w->all.version == NULL)
        list(w);
    else
        watch(w);
}

static void on_timer(void *ctx)
{
    go_on(ctx);
}

/* ---- lists ---- */

static void listed(struct kube_watch *w)
{
    w->listing = w->must_list = w->whole = false;
    kube_collection_end(&w->all);
    if (w->closed) return;
    w->synced = true;
    if (w->config.synced != NULL) w->config.synced(w->config.ctx);
    go_on(w);
}

static void take_page(struct kube_watch *w, const struct kube_answer *answer)
{
    struct err why = {0};
    if (!kube_collection_page(&w->all, answer->body, &why)) {
        struct kube_answer bad = *answer;
        bad.outcome = KUBE_REFUSED;
        bad.message = str_of(why.message);
        failed(w, &bad, false, true);
        return;
    }
    if (!w->closed) well(w, false);
    if (w->closed) return;
    if (w->all.next != NULL)
        list(w);
    else
        listed(w);
}

static void on_page(void *ctx, const struct kube_answer *answer)
{
    struct kube_watch *w = ctx;
    w->call = NULL;
    enter(w);
    if (answer->outcome == KUBE_DONE) {
        take_page(w, answer);
    } else {
        bool expired = answer->status == 410;
        w->all.stats.expired += expired;
        w->whole |= expired;
        failed(w, answer, false, true);
    }
    (void)leave(w);
}

/* ---- watches ---- */

static void on_opened(void *ctx)
{
    struct kube_watch *w = ctx;
    enter(w);
    well(w, true);
    (void)leave(w);
}

static bool on_data(void *ctx, struct str bytes)
{
    struct kube_watch *w = ctx;
    enter(w);
    bool more = kube_collection_bytes(&w->all, bytes, &w->fault);
    return leave(w) && more;
}

static void faulty(struct kube_watch *w, const struct kube_answer *answer)
{
    struct kube_answer bad = *answer;
    bool again = w->fault.kind == KUBE_FAULT_SERVER && w->in_a_row == 0; /* from the same version, once */
    bad.outcome = again ? KUBE_UNKNOWN : KUBE_REFUSED;
    bad.status = w->fault.code > 0 ? w->fault.code : answer->status;
    bad.reason = str_of(w->fault.reason);
    bad.message = str_of(w->fault.message);
    failed(w, &bad, true, !again);
}

static void on_watched(void *ctx, const struct kube_answer *answer)
{
    struct kube_watch *w = ctx;
    w->call = NULL;
    enter(w);
    bool told = w->all.stats.events + w->all.stats.bookmarks > w->heard;
    int64_t lasted = os_mono_us() - w->opened_us;
    if (w->fault.kind != KUBE_FAULT_NONE) {
        faulty(w, answer);
    } else if (answer->outcome == KUBE_DONE || (answer->status == 200 && lasted >= w->config.idle_ms * 1000)) {
        if (told || lasted >= SHORT_US)
            go_on(w);
        else
            rest(w, false, 0);
    } else {
        /* What a server refuses with a version it may grant without one: after its data was restored from a backup,
         * say, the version is of the future. */
        w->all.stats.expired += answer->status == 410;
        failed(w, answer, true, answer->status >= 300 && answer->outcome != KUBE_AGAIN);
    }
    (void)leave(w);
}

/* ---- open ---- */

bool kube_watch_open(struct kube_client *c, const struct kube_watch_config *config, struct kube_watch **out,
                     struct err *err)
{
    bool query = false;
    for (size_t i = 0; i < config->path.n; i++) {
        query |= config->path.p[i] == '?';
        if ((unsigned char)config->path.p[i] <= ' ' || config->path.p[0] != '/') {
            err_set(err, ERR_INVALID, "'%.*s' is no path to watch", STR_ARG(config->path));
            return err_hint(err, "such as /api/v1/namespaces/x/pods, escaped");
        }
    }
    if (config->path.n == 0) return err_set(err, ERR_INVALID, "a watch needs a path");
    struct kube_watch *w = calloc(1, sizeof *w);
    BUF_AUTO path;
    buf_init(&path, 0);
    buf_printf(&path, "%.*s%c", STR_ARG(config->path), query ? '&' : '?');
    if (config->selector.n > 0) {
        buf_c(&path, "labelSelector=");
        buf_url(&path, config->selector);
        buf_char(&path, '&');
    }
    if (w == NULL || (w->path = strdup(path.p)) == NULL) abort();
    w->client = c;
    w->config = *config;
    if (w->config.page == 0) w->config.page = PAGE;
    if (w->config.idle_ms <= 0) w->config.idle_ms = IDLE_MS;
    if (w->config.delay_ms <= 0) w->config.delay_ms = DELAY_MS;
    if (w->config.delay_max_ms <= 0) w->config.delay_max_ms = DELAY_MAX_MS;
    kube_collection_init(&w->all, os_random_u64());
    w->all.changed = config->changed;
    w->all.ctx = config->ctx;
    kube_link_init(&w->timer.link);
    w->timer.fire = on_timer;
    w->timer.ctx = w;
    w->failed_us = os_mono_us();
    w->must_list = true;
    go_on(w);
    *out = w;
    return true;
}

bool kube_watch_synced(const struct kube_watch *w)
{
    return w->synced;
}

const char *kube_watch_trouble(const struct kube_watch *w)
{
    return w->trouble != 0 ? w->said : NULL;
}

const struct kube_watch_stats *kube_watch_statistics(const struct kube_watch *w)
{
    return &w->all.stats;
}
