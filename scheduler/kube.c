/* The Kubernetes executor: the attempts it knows, and what the scheduler asks of them. See kube.h and kube_inner.h. */
#include "scheduler/kube.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "engine/base/link.h"
#include "engine/blob/store.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"

#define START_MS 300000
#define WORKERS 2          /* manifests are few and small */
#define UNMADE_US 30000000 /* a Job is made by then, unless the API server is away or a quota is used up */
#define ANSWER_MS 30000    /* for one answer, at most */

/* ---- the table of attempts ---- */

/* Its key: the id, which has no padding. */
static struct str key_of(const struct attempt_id *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

struct kube_attempt *kube_find(const struct kube *k, struct attempt_id id)
{
    uint64_t found;
    return map_get(&k->by_id, key_of(&id), &found) ? (struct kube_attempt *)(uintptr_t)found : NULL;
}

void kube_timer(struct kube *k)
{
    bool on = k->first != NULL || k->templates != NULL || k->strays != NULL;
    if (on == k->ticking) return;
    struct itimerspec t = {0};
    if (on) t.it_interval.tv_sec = t.it_value.tv_sec = 1;
    timerfd_settime(k->timer, 0, &t, NULL);
    k->ticking = on;
}

struct kube_attempt *kube_add(struct kube *k, struct attempt_id id)
{
    struct kube_attempt *a = calloc(1, sizeof *a);
    if (a == NULL) abort();
    a->owner = k;
    a->id = id;
    a->log.fd = -1;
    arena_init(&a->arena, 0);
    map_put(&k->by_id, key_of(&a->id), (uint64_t)(uintptr_t)a, NULL);
    LINK(&k->first, a);
    kube_timer(k);
    return a;
}

/* Not while it is among the events. */
void kube_drop(struct kube *k, struct kube_attempt *a)
{
    map_del(&k->by_id, key_of(&a->id));
    UNLINK(a);
    kube_timer(k);
    kube_log_close(a);
    kube_cancel(k->client, a->call);
    kube_cancel(k->client, a->question);
    kube_cancel(k->client, a->release);
    kube_outputs_leave(a);
    kube_untold_drop(a);
    kube_ranks_drop(a);
    kube_belongings_drop(a);
    kube_mover_drop(a);
    kube_waits_drop(a);
    arena_free(&a->arena);
    free(a);
}

void kube_each(struct kube *k, void (*fn)(struct kube *k, struct kube_attempt *a))
{
    for (struct kube_attempt *a = k->first, *next; a != NULL; a = next) {
        next = a->next;
        fn(k, a);
    }
}

static void queue(struct kube_attempt *a)
{
    struct kube *k = a->owner;
    if (a->queued) return;
    a->queued = true;
    a->next_event = NULL;
    *k->events_end = a;
    k->events_end = &a->next_event;
}

void kube_tell(struct kube_attempt *a)
{
    if (kube_ranks_stop(a)) return;
    kube_log_close(a);
    kube_mover_quote(a);
    kube_without_service(&a->result, kube_belongings_denied(a), &a->arena);
    kube_secret_cover(a);
    a->phase = KUBE_TOLD;
    queue(a);
}

int64_t kube_since(const struct kube_attempt *a, int64_t wall_us)
{
    int64_t now = os_mono_us(), ago = wall_us > 0 ? os_now_us() - wall_us : 0;
    int64_t first = a->manifest.n > 0 ? a->created_us : 1; /* made by another server, it may be as old as it says */
    int64_t at = now - (ago > 0 && ago < now ? ago : 0);
    return at > first ? at : first;
}

/* ---- after a restart ---- */

/* All that is there was told: what was asked for and is not among it was never launched, or has vanished. But a watch
 * may be cut off, and not even know it: whoever has a name is asked for. */
static void answer_held(struct kube *k, struct kube_attempt *a)
{
    (void)k;
    if (a->phase != KUBE_HELD) return;
    if (a->name[0] == '\0')
        kube_nowhere(a);
    else if (a->call == NULL)
        kube_holder_ask(a);
}

/* Pods that it has left may go on for as long as they like. */
void kube_nowhere(struct kube_attempt *a)
{
    if (!kube_left_pod(a)) {
        queue(a);
        return;
    }
    kube_belongings_remove(a);
    a->deleted = true;
    kube_end_left(a, STR("its Job is not there: it was deleted while no server looked"));
}

bool kube_synced(const struct kube *k)
{
    return kube_watch_synced(k->jobs) && k->pods != NULL && kube_watch_synced(k->pods);
}

const char *kube_pods_trouble(const struct kube *k)
{
    return kube_watch_trouble(k->pods != NULL ? k->pods : k->jobs);
}

static bool open_watch(struct kube *k, const char *collection,
                       void (*changed)(void *, enum kube_change, const struct value *), struct kube_watch **out,
                       struct err *err);

/* Pods are their Jobs': those are told of first. */
static void synced(void *ctx)
{
    struct kube *k = ctx;
    struct err err = {0};
    if (k->pods == NULL && !open_watch(k, "/api/v1/namespaces/%.*s/pods", kube_hear_pod, &k->pods, &err))
        log_warn("pods cannot be watched", LOG_STR("message", str_of(err.message)));
    if (kube_synced(k)) kube_each(k, answer_held);
}

static void trouble(void *ctx, const struct kube_answer *answer)
{
    const struct kube *k = ctx;
    if (answer == NULL)
        log_info("the cluster answers again", LOG_STR("server", k->access.server));
    else
        log_warn("the cluster cannot be watched", LOG_STR("server", k->access.server),
                 LOG_INT("status", answer->status), LOG_STR("message", answer->message));
}

static bool open_watch(struct kube *k, const char *collection,
                       void (*changed)(void *, enum kube_change, const struct value *), struct kube_watch **out,
                       struct err *err)
{
    const struct kube_watch_config cfg = {
        .path = arena_printf(&k->arena, collection, (int)k->cfg.namespace.n, k->cfg.namespace.p),
        .selector = arena_printf(&k->arena, KUBE_LABEL_INSTANCE "=%.*s", STR_ARG(k->cfg.instance)),
        .changed = changed,
        .synced = synced,
        .trouble = trouble,
        .ctx = k,
        .idle_ms = k->cfg.silence_ms};
    return kube_watch_open(k->client, &cfg, out, err);
}

static void go_on(struct kube_attempt *a)
{
    kube_belongings_create(a); /* whoever was to make them may have been killed before */
    kube_ranks_asked(a);
}

/* started: when it was recorded as running; 0 = it is to end anyway. One that is not there was not made yet if that
 * was just now; after that others may have deleted it while nobody looked, and it may have run. */
static void take_up(struct kube *k, struct kube_attempt *a, struct str by, int64_t started_us)
{
    a->never = str_eq(by, str_of(k->instance)) && os_now_us() - started_us < UNMADE_US;
    kube_claim_job(a);
    a->phase = a->job_there || kube_has_pod(a) ? KUBE_CREATED : KUBE_HELD;
    a->created_us = os_mono_us();
    if (a->ended)
        kube_finish(a);
    else if (a->phase == KUBE_CREATED)
        go_on(a);
    else if (kube_synced(k))
        answer_held(k, a);
}

/* ---- what the scheduler asks ---- */

static struct str executor_instance(void *self)
{
    struct kube *k = self;
    return str_of(k->instance);
}

static bool executor_launch(void *self, const struct exec_request *req, bool restored, struct str by, struct err *err)
{
    struct kube *k = self;
    struct kube_attempt *a = kube_find(k, req->id);
    if (a != NULL && a->asked) { /* asked again, after the scheduler lost its memory: its end is told again */
        if (a->phase == KUBE_TOLD) queue(a);
        return true;
    }
    bool new = a == NULL;
    if (new) a = kube_add(k, req->id);
    if (restored || !new) { /* it may run: nothing that a creation would need can end it */
        kube_expect(k, a, req);
        a->asked = true;
        take_up(k, a, by, req->started_us);
        return true;
    }
    if (!kube_prepare(k, a, req, err)) {
        kube_drop(k, a);
        return false;
    }
    a->asked = true;
    a->phase = KUBE_CREATING;
    kube_create(a);
    return true;
}

static void executor_kill(void *self, struct attempt_id id, struct str project, int64_t grace_ms)
{
    struct kube *k = self;
    struct kube_attempt *a = kube_find(k, id);
    (void)project; /* of what nobody has asked for, no log is read */
    if (a == NULL) a = kube_add(k, id);
    a->hurry = true;
    a->grace_ms = grace_ms;
    if (!a->kill_wanted) a->killed_us = os_mono_us();
    if (!a->kill_wanted) a->tries = 0; /* of something else */
    a->kill_wanted = true;
    if (!a->asked) { /* it was being stopped when its server ended */
        a->asked = true;
        take_up(k, a, STR(""), 0);
    }
    switch (a->phase) {
    case KUBE_SEEN:
    case KUBE_CREATED:
        if (a->job_there || kube_has_pod(a)) kube_delete(a);
        break;
    case KUBE_CREATING: /* what its answer says first; then it is deleted */
        if (a->call == NULL && a->unsure) kube_create(a);
        if (a->call == NULL && a->phase == KUBE_CREATING)
            kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR(NEVER_BEGAN));
        break;
    case KUBE_TOLD: queue(a); break;
    case KUBE_DRAINING:
    case KUBE_STOPPING:
        if (!a->result.ok) kube_cause(a, &a->result); /* as whoever comes later would say */
        break;
    case KUBE_HELD:
    case KUBE_FORGOTTEN: break;
    }
}

static void executor_requeue(void *self, struct attempt_id id)
{
    struct kube_attempt *a = kube_find(self, id);
    if (a != NULL) a->requeue = true;
}

static void executor_forget(void *self, struct attempt_id id)
{
    struct kube *k = self;
    struct kube_attempt *a = kube_find(k, id);
    if (a == NULL || a->queued) return;
    if (a->collects && !a->result.ok && !a->hurry) { /* its sidecar is still at what nobody will want */
        a->hurry = true;
        a->grace_ms = 1000;
    }
    a->phase = KUBE_FORGOTTEN;
    a->forgotten_us = os_mono_us();
    kube_log_close(a);
    if (a->deleted || a->name[0] == '\0') /* nothing was ever told of it */
        kube_gone(a);
    else
        kube_delete(a);
}

/* Its pod goes with its Job. */
static void executor_disown(void *self, struct attempt_id id, struct str project, int64_t grace_ms)
{
    struct kube_attempt *a = kube_find(self, id);
    (void)project;
    if (a == NULL) return;
    a->hurry = true;
    a->grace_ms = grace_ms;
    executor_forget(self, id);
}

static size_t executor_known(void *self, struct arena *m, struct exec_known **out)
{
    struct kube *k = self;
    size_t n = 0;
    *out = arena_array(m, struct exec_known, k->by_id.n + 1);
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        bool still = (a->ended && a->phase == KUBE_SEEN) || (a->phase == KUBE_TOLD && !a->queued);
        bool runs = !a->ended && !a->kill_wanted &&
                    (a->phase == KUBE_SEEN || a->phase == KUBE_CREATED || a->phase == KUBE_CREATING);
        if (still || runs) (*out)[n++] = (struct exec_known){a->id, still};
    }
    return n;
}

static size_t executor_fds(void *self, int *fds, size_t max)
{
    const struct kube *k = self;
    const int all[] = {kube_client_fd(k->client), k->timer, workers_fd(k->workers)};
    size_t n = 0;
    for (; n < max && n < sizeof all / sizeof *all; n++)
        fds[n] = all[n];
    return n;
}

/* ---- what the scheduler hears ---- */

static void hear(struct kube *k)
{
    uint64_t ticks;
    kube_client_turn(k->client);
    kube_outputs_hear(k);
    if (read(k->timer, &ticks, sizeof ticks) == sizeof ticks) kube_tick(k);
}

static bool news(struct kube *k, struct arena *m, struct exec_event *out)
{
    struct kube_attempt *a = k->news;
    if (a == NULL) return false;
    k->news = a->next_news;
    a->waits_changed = false;
    *out = (struct exec_event){.kind = EXEC_WAITS, .id = a->id};
    out->result.message = kube_waits_text(a, m);
    return true;
}

static bool executor_next(void *self, struct arena *m, struct exec_event *out)
{
    struct kube *k = self;
    if (k->events == NULL) hear(k);
    struct kube_attempt *a = k->events;
    if (a == NULL) return news(k, m, out);
    k->events = a->next_event;
    if (k->events == NULL) k->events_end = &k->events;
    a->queued = false;
    *out = (struct exec_event){.kind = EXEC_ENDED, .id = a->id};
    if (a->phase == KUBE_TOLD) {
        out->result = a->result;
        out->result.message = arena_str(m, a->result.message);
        out->result.outputs = arena_str(m, a->result.outputs);
        out->artifacts = step_artifacts_copy(m, a->artifacts, a->n_artifacts);
        out->n_artifacts = a->n_artifacts;
        return true;
    }
    if (a->phase != KUBE_HELD) return executor_next(self, m, out); /* it turned up meanwhile */
    out->kind = EXEC_UNKNOWN;
    out->never = a->never && !kube_launched(a) && !kube_log_any(a);
    out->result.message = STR("its Job is not there: it was deleted while no server looked, or had not been made yet");
    if (!out->never) kube_belongings_remove(a); /* what is launched again has the same names */
    kube_drop(k, a);
    return true;
}

/* ---- start and stop ---- */

static void executor_stop(void *self)
{
    struct kube *k = self;
    kube_each(k, kube_drop);
    kube_templates_drop(k);
    kube_strays_drop(k);
    kube_cancel(k->client, k->podless.call);
    kube_cancel(k->client, k->held.call);
    kube_cancel(k->client, k->silent.call);
    if (k->blobs != NULL) store_stop(k->blobs);
    if (k->workers != NULL) workers_free(k->workers, kube_outputs_drop);
    store_close(k->blobs);
    kube_watch_close(k->jobs);
    kube_watch_close(k->pods);
    kube_client_close(k->client);
    if (k->timer >= 0) close(k->timer);
    map_free(&k->by_id);
    arena_free(&k->arena);
    free(k);
}

static void copy_config(struct kube *k, const struct kube_config *cfg)
{
    struct arena *m = &k->arena;
    k->cfg = *cfg;
    k->cfg.kubeconfig = arena_str(m, cfg->kubeconfig);
    k->cfg.context = arena_str(m, cfg->context);
    k->cfg.instance = arena_str(m, cfg->instance);
    k->cfg.store_dir = arena_str(m, cfg->store_dir);
    k->cfg.secrets_dir = arena_str(m, cfg->secrets_dir);
    k->cfg.image = arena_str(m, cfg->image);
    k->cfg.companion = arena_str(m, cfg->companion);
    k->cfg.node_cache = arena_str(m, cfg->node_cache);
    k->cfg.pull_policy = arena_str(m, cfg->pull_policy);
    k->cfg.gpu_resource = cfg->gpu_resource.n > 0 ? arena_str(m, cfg->gpu_resource) : STR("nvidia.com/gpu");
    if (k->cfg.start_ms == 0) k->cfg.start_ms = START_MS;
}

static bool open_all(struct kube *k, const struct kube_config *cfg, struct err *err)
{
    char path[FS_PATH_MAX];
    if (!fs_path(path, err, "%.*s/logs", STR_ARG(k->cfg.store_dir)) || !fs_mkdirs(path, 0700, err) ||
        !kube_access_load(&k->arena, k->cfg.kubeconfig, k->cfg.context, &k->access, err))
        return false;
    k->cfg.namespace = cfg->namespace.n > 0 ? arena_str(&k->arena, cfg->namespace) : k->access.namespace;
    snprintf(k->instance, sizeof k->instance, "kubernetes:%.*s@%.*s", STR_ARG(k->cfg.namespace),
             STR_ARG(k->access.server)); /* another cluster may have a namespace of that name */
    int64_t silence = cfg->silence_ms;
    const struct kube_client_config client = {.access = &k->access,
                                              .requests_per_s = cfg->requests_per_s,
                                              .burst = 2 * cfg->requests_per_s,
                                              .timeout_ms = silence > 0 && silence < ANSWER_MS ? silence : ANSWER_MS,
                                              .user_agent = "millrace/" MILLRACE_VERSION};
    const struct store_config alone = {.store_dir = k->cfg.store_dir};
    return store_open(cfg->blobs != NULL ? cfg->blobs : &alone, &k->blobs, err) &&
           workers_new(WORKERS, &k->workers, err) && kube_client_open(&client, &k->client, err) &&
           open_watch(k, "/apis/batch/v1/namespaces/%.*s/jobs", kube_hear_job, &k->jobs, err);
}

bool kube_executor_open(const struct kube_config *cfg, struct executor *out, struct err *err)
{
    struct kube *k = calloc(1, sizeof *k);
    if (k == NULL) abort();
    arena_init(&k->arena, 0);
    copy_config(k, cfg);
    k->events_end = &k->events;
    k->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    map_init(&k->by_id, 0);
    if (!open_all(k, cfg, err)) {
        executor_stop(k);
        return false;
    }
    kube_templates_seek(k);
    *out = (struct executor){.name = "kubernetes",
                             .self = k,
                             .placed = true,
                             .images = true,
                             .hearsay = true,
                             .image = k->cfg.image,
                             .instance = executor_instance,
                             .launch = executor_launch,
                             .kill = executor_kill,
                             .requeue = executor_requeue,
                             .forget = executor_forget,
                             .disown = executor_disown,
                             .known = executor_known,
                             .fds = executor_fds,
                             .next = executor_next,
                             .stop = executor_stop};
    return true;
}
