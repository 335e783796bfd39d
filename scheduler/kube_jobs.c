/* Jobs of attempts: created until that is sure, and watched with their pods. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"
#include "scheduler/kube_refusal.h"

#define SECOND_US 1000000
#define RETRY_FIRST_US (SECOND_US / 2)
#define RETRY_MOST_US (15 * SECOND_US)
#define PODLESS_US (5 * SECOND_US)      /* a Job without a pod for so long is asked why */
#define JOB_SETTLES_US (3 * SECOND_US)  /* for the pod of a Job that has ended to be told of */
#define FOLLOW_AFTER_US (3 * SECOND_US) /* short steps' logs are fetched once, at their end */
#define TAKEN_BACK "gave way: Kueue has suspended its Job"
#define LOST_AFTER_US (30 * SECOND_US)   /* beyond the grace of a pod that is deleted */
#define KILLED_MOST_US (120 * SECOND_US) /* beyond the grace: a node that is away never says that it stopped */

void kube_end(struct kube_attempt *a, enum failure f, enum reason r, struct str message)
{
    if (a->phase == KUBE_TOLD || a->phase == KUBE_FORGOTTEN) return;
    a->result = (struct task_result){.failure = f,
                                     .reason = r,
                                     .exit_code = -1,
                                     .message = arena_str(&a->arena, message),
                                     .log_bytes = a->log_bytes};
    kube_tell(a);
}

void kube_end_stopped(struct kube_attempt *a)
{
    if (a->expired)
        kube_end(a, FAILURE_TIMEOUT, REASON_TIMEOUT, kube_pod_expired(a->timeout_ms, &a->arena));
    else
        kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR("was stopped"));
}

void kube_later(struct kube_attempt *a)
{
    int64_t pause = RETRY_FIRST_US << (a->tries < 5 ? a->tries : 5);
    a->tries++;
    a->retry_us = os_mono_us() + (pause < RETRY_MOST_US ? pause : RETRY_MOST_US);
}

void kube_news(struct kube_attempt *a)
{
    if (a->waits_changed) return;
    a->waits_changed = true;
    a->next_news = a->owner->news;
    a->owner->news = a;
}

void kube_waits(struct kube_attempt *a, struct str text)
{
    if (str_is(text, a->waits != NULL ? a->waits : "")) return;
    free(a->waits);
    a->waits = strndup(text.p, text.n);
    if (a->waits == NULL) abort();
    kube_news(a);
}

__attribute__((format(printf, 2, 3))) static void waits(struct kube_attempt *a, const char *fmt, ...)
{
    char text[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    kube_waits(a, str_of(text));
}

/* ---- creation ---- */

static void keep(char *room, size_t n, struct str text)
{
    snprintf(room, n, "%.*s", STR_ARG(text));
}

static void refused(struct kube_attempt *a, const struct kube_answer *answer)
{
    struct str text;
    struct arena turn;
    arena_init(&turn, 0);
    if (kube_refusal(KUBE_REFUSED_JOB, answer->status, answer->message, &turn, &text) == KUBE_BLAME_STEP) {
        kube_end(a, FAILURE_INVALID, REASON_INVALID, text);
    } else {
        kube_waits(a, text);
        kube_later(a);
    }
    arena_free(&turn);
}

static void there_is(struct kube_attempt *a)
{
    a->phase = KUBE_CREATED;
    a->created_us = os_mono_us();
    a->retry_us = 0; /* of its creation: from now on it would be its deletion */
    kube_waits(a, STR(""));
    a->tries = 0;
}

void kube_begun(struct kube_attempt *a)
{
    if (a->phase == KUBE_HELD || a->phase == KUBE_CREATING) there_is(a);
}

/* Its pod may be told of before it is. */
static void learn_uid(struct kube_attempt *a, struct str job)
{
    struct value v;
    struct err ignored;
    struct arena turn;
    arena_init(&turn, 0);
    if (kube_json(&turn, job, &v, &ignored)) keep(a->job_uid, sizeof a->job_uid, kube_text(&v, "metadata.uid"));
    arena_free(&turn);
}

static void created(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    a->call = NULL;
    bool creating = a->phase == KUBE_CREATING, there = answer->outcome == KUBE_DONE;
    there |= str_is(answer->reason, "AlreadyExists");
    there |= !creating && a->phase != KUBE_FORGOTTEN; /* a watch was quicker */
    if (answer->outcome == KUBE_UNKNOWN) a->unsure = true;
    if (!there && creating && a->kill_wanted && !a->unsure) {
        kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR(NEVER_BEGAN));
        return;
    }
    if (!there && creating && answer->outcome == KUBE_REFUSED) {
        refused(a, answer);
        return;
    }
    if (!there) { /* not carried out, or nobody knows: the name makes another try, or its deletion, harmless */
        waits(a, "waits for the API server: %.*s", STR_ARG(answer->message));
        kube_later(a);
        return;
    }
    a->job_there = true;
    a->deleted = false;
    if (answer->outcome == KUBE_DONE && a->job_uid[0] == '\0') learn_uid(a, answer->body);
    if (creating) there_is(a);
    if (a->kill_wanted || a->phase == KUBE_FORGOTTEN) kube_delete(a);
}

/* One that is to be stopped is created only to be sure whether it was before: it must not begin. */
static struct str manifest_of(const struct kube_attempt *a, struct buf *room)
{
    size_t at;
    if (!a->kill_wanted || !str_find(a->manifest, STR(KUBE_JOB_SPEC), &at)) return a->manifest;
    at += sizeof KUBE_JOB_SPEC - 1;
    if (str_starts(str_sub(a->manifest, at, a->manifest.n), "\"suspend\"")) return a->manifest; /* Kueue's */
    buf_str(room, str_sub(a->manifest, 0, at));
    buf_c(room, "\"suspend\":true,");
    buf_str(room, str_sub(a->manifest, at, a->manifest.n));
    return buf_view(room);
}

void kube_create(struct kube_attempt *a)
{
    char path[512];
    BUF_AUTO room;
    buf_init(&room, 0);
    snprintf(path, sizeof path, "/apis/batch/v1/namespaces/%.*s/jobs?fieldValidation=Strict",
             STR_ARG(a->owner->cfg.namespace));
    a->retry_us = 0;
    if (a->call != NULL || (!a->unsure && !kube_template_ready(a))) return;
    const struct kube_request req = {.method = "POST",
                                     .path = str_of(path),
                                     .body = manifest_of(a, &room),
                                     .priority = KUBE_NORMAL,
                                     .tries = 1,
                                     .done = created,
                                     .ctx = a};
    a->call = kube_request(a->owner->client, &req);
}

/* ---- what the watches say ---- */

/* Until Kueue admits it, and when Kueue takes that back. */
static bool is_held_by_kueue(const struct value *job)
{
    const struct value *labels = value_get(value_get(job, "metadata"), "labels");
    const struct value *suspend = value_get(value_get(job, "spec"), "suspend");
    return suspend != NULL && suspend->type == VALUE_BOOL && suspend->u.b && labels != NULL &&
           value_get(labels, KUBE_LABEL_KUEUE) != NULL;
}

/* They come after the pod's end; of a pod that is gone they are all there is. */
static void read_conditions(struct kube_attempt *a, const struct value *job)
{
    const struct value *list = value_get(value_get(job, "status"), "conditions");
    for (size_t i = 0; list != NULL && list->type == VALUE_LIST && i < list->u.list.n; i++) {
        const struct value *c = &list->u.list.items[i];
        struct str type = kube_text(c, "type");
        if (!str_is(kube_text(c, "status"), "True")) continue;
        a->job_completed |= str_is(type, "Complete");
        a->job_ended |= a->job_completed || str_is(type, "Failed");
    }
}

void kube_hear_job(void *ctx, enum kube_change change, const struct value *object)
{
    struct kube *k = ctx;
    struct kube_pod read; /* a Job has the same labels as its pod */
    bool labelled = kube_pod_read(object, &read);
    struct str name = read.name, uid = read.uid;
    struct kube_attempt *a = kube_job_of(k, change, labelled, read.id, name, uid);
    if (a == NULL || (a->job_uid[0] != '\0' && !str_is(uid, a->job_uid) && change == KUBE_DELETED)) return;
    if (change == KUBE_DELETED) {
        bool unwanted = !a->kill_wanted && a->phase == KUBE_CREATED && !kube_has_pod(a);
        kube_gone(a);
        if (unwanted) kube_end(a, FAILURE_INFRA, REASON_INFRA, STR("its Job was deleted by somebody else"));
        return;
    }
    keep(a->name, sizeof a->name, name);
    keep(a->job_uid, sizeof a->job_uid, uid);
    a->job_there = true;
    a->deleted = kube_text(object, "metadata.deletionTimestamp").n > 0;
    read_conditions(a, object);
    a->held_by_kueue = is_held_by_kueue(object);
    kube_template_hear(a, object);
    kube_begun(a);
    kube_belongings_create(a);
    if ((a->kill_wanted || a->phase == KUBE_FORGOTTEN) && !a->deleted) kube_delete(a);
}

void kube_finish(struct kube_attempt *a)
{
    a->phase = KUBE_DRAINING;
    if (a->result.ok) kube_outputs(a);
    a->drain_us = a->drained_from_us = os_mono_us();
    if ((a->kill_wanted || a->late) && !a->result.ok) {
        bool late = a->expired || !a->kill_wanted;
        a->result.failure = late ? FAILURE_TIMEOUT : FAILURE_ERROR;
        a->result.reason = late ? REASON_TIMEOUT : REASON_CANCELLED;
        a->result.message = late ? kube_pod_expired(a->timeout_ms, &a->arena) : STR("was stopped");
    } else if (a->held_by_kueue && !a->result.ok) {
        a->result.failure = FAILURE_INFRA;
        a->result.reason = REASON_PREEMPTED;
        a->result.message = STR(TAKEN_BACK);
    }
    if (a->result.exit_code >= 0 || a->n_ranks > 0) /* its container ran, or others' did */
        kube_log_drain(a);
    else
        kube_drained(a);
}

/* The first end counts: a kubelet that was restarted may tell another one later. */
static void ended(struct kube_attempt *a, const struct kube_pod *pod)
{
    a->stage = KUBE_STAGE_ENDED;
    if (a->ended) return;
    a->ended = true;
    a->late |= kube_pod_late(pod);
    kube_pod_result(pod, &a->arena, &a->result);
    bool began = pod->has_exit || pod->started_us > 0 || a->waits == NULL || a->waits[0] == '\0';
    if (a->result.reason == REASON_TIMEOUT && !began)
        a->result.message = arena_printf(&a->arena, "%.*s: %s", STR_ARG(a->result.message), a->waits);
    a->result.message = arena_str(&a->arena, a->result.message);
    a->said = arena_str(&a->arena, pod->message);
    a->said_max = pod->message_max;
    a->manifest_said = arena_str(&a->arena, pod->manifest);
    a->deaf = arena_str(&a->arena, pod->deaf);
    if (a->phase == KUBE_HELD || a->phase == KUBE_CREATING || a->phase == KUBE_CREATED) kube_finish(a);
}

static void pod_gone(struct kube_attempt *a)
{
    a->pod_uid[0] = '\0';
    kube_silence_drop(&a->silence);
    if (a->phase == KUBE_SEEN && !a->job_there) {
        kube_drop(a->owner, a);
    } else if (a->phase == KUBE_CREATED) {
        if (a->kill_wanted)
            kube_end_stopped(a);
        else if (a->held_by_kueue)
            kube_end(a, FAILURE_INFRA, REASON_PREEMPTED, STR(TAKEN_BACK));
        else
            kube_end(a, FAILURE_INFRA, REASON_INFRA, STR("its pod was deleted by somebody else, or with its node"));
    }
}

void kube_losing(struct kube_attempt *a, const struct kube_pod *pod)
{
    a->late |= kube_pod_late(pod);
    if (!pod->deleting || a->lost_us != 0) return;
    a->lost_us = os_mono_us() + pod->grace_us + LOST_AFTER_US;
    kube_pod_lost(pod, &a->arena, &a->lost);
}

static void alive(struct kube_attempt *a, const struct kube_pod *pod)
{
    struct arena turn;
    struct str text;
    enum kube_hope hope = KUBE_HOPE;
    kube_losing(a, pod);
    kube_begun(a);
    a->keeping = pod->collecting && pod->has_exit;
    a->stage = pod->stage;
    kube_helper_hear(a, &a->helped, pod);
    if (a->phase != KUBE_CREATED) return;
    arena_init(&turn, 0);
    if (pod->stage == KUBE_STAGE_RUNNING) {
        if (a->running_us == 0) a->running_us = kube_since(a, pod->started_us);
        text = kube_helper_text(pod, &turn);
    } else {
        hope = kube_pod_waits(pod, &turn, &text);
    }
    kube_silence_hear(&a->silence, pod, hope);
    kube_hangs(a, hope == KUBE_PATIENCE || a->silence.hangs);
    kube_waits(a, a->silence.why != NULL ? str_of(a->silence.why) : text);
    arena_free(&turn);
}

void kube_hear_pod(void *ctx, enum kube_change change, const struct value *object)
{
    struct kube *k = ctx;
    struct kube_pod pod;
    bool labelled = kube_pod_read(object, &pod);
    struct kube_attempt *a = kube_pod_of(k, change, labelled, &pod);
    if (a == NULL || a->phase == KUBE_FORGOTTEN) return;
    if (a->name[0] == '\0') keep(a->name, sizeof a->name, pod.job);
    uint32_t rank = kube_rank_of(a, pod.uid);
    if (rank == UINT32_MAX && pod.rank >= 0 && !str_is(pod.uid, a->pod_uid)) rank = (uint32_t)pod.rank;
    if (rank != UINT32_MAX) {
        kube_rank_hear(a, change, rank, &pod);
        return;
    }
    if (a->workers > 1) return; /* one of several that does not say which */
    /* A Job may come to have two pods: the first one is the attempt's. */
    if (a->pod_uid[0] != '\0' && !str_is(pod.uid, a->pod_uid)) return;
    if (change == KUBE_DELETED) {
        if (pod.stage == KUBE_STAGE_ENDED) ended(a, &pod);
        pod_gone(a);
        return;
    }
    keep(a->pod_uid, sizeof a->pod_uid, pod.uid);
    keep(a->pod, sizeof a->pod, pod.name);
    if (pod.stage == KUBE_STAGE_ENDED)
        ended(a, &pod);
    else
        alive(a, &pod);
}

/* ---- what time brings ---- */

static void give_up(struct kube_attempt *a)
{
    struct str why = arena_printf(&a->arena, "could not start, and was given up: %.*s", STR_ARG(str_of(a->waits)));
    kube_delete(a); /* forgetting it will delete it, too; this is sooner */
    kube_end(a, FAILURE_ERROR, REASON_ERROR, why);
}

/* Its Job has ended, and no pod says how: it was deleted while nobody looked. */
void kube_end_by_job(struct kube_attempt *a)
{
    if (!a->job_completed) {
        kube_end(a, FAILURE_INFRA, REASON_INFRA, STR("its pod is gone, and how it ended with it"));
        return;
    }
    a->ended = true;
    a->result = (struct task_result){.ok = true, .exit_code = -1};
    kube_finish(a);
}

static void without_pod(struct kube_attempt *a, int64_t now)
{
    int64_t since = now - a->created_us;
    if (a->job_ended && since > JOB_SETTLES_US && now - a->looked_us > SECOND_US)
        kube_ask_pod(a);
    else if (!a->job_ended && a->held_by_kueue)
        kube_ask_kueue(a->owner);
    else if (!a->job_ended && since > PODLESS_US)
        kube_ask_why(a->owner);
}

static bool begins(const struct kube_attempt *a, int64_t now)
{
    if (a->phase == KUBE_CREATING) return true;
    if (a->phase != KUBE_CREATED || a->job_ended || now - a->created_us >= KUBE_BEGINS_MOST_US) return false;
    return kube_lacks_pod(a) || a->stage < KUBE_STAGE_RUNNING;
}

static void look_around(struct kube *k)
{
    struct kube_garbage g = {.most = k->cfg.lying_most};
    int64_t now = os_mono_us();
    for (const struct kube_attempt *a = k->first; a != NULL; a = a->next) {
        g.refused |= (a->phase == KUBE_CREATING && a->tries > 0) || (a->phase == KUBE_CREATED && a->lacks);
        g.lying += a->phase == KUBE_FORGOTTEN;
        g.starting |= begins(a, now);
    }
    k->garbage = g;
}

/* Without a watch nothing would be told of it: it may have begun, whatever it hung on when it was heard of last. */
static void unwatched(struct kube *k, struct kube_attempt *a, int64_t now)
{
    const char *of_jobs = kube_watch_trouble(k->jobs), *of_pods = kube_pods_trouble(k);
    const char *trouble = of_pods != NULL ? of_pods : of_jobs;
    if (of_pods != NULL && a->hangs_us != 0) a->hangs_us += now - k->ticked_us;
    if (a->hangs_us > now) a->hangs_us = now;
    if (trouble == NULL || kube_has_pod(a)) trouble = "";
    if (str_is(str_of(trouble), a->unwatched != NULL ? a->unwatched : "")) return;
    free(a->unwatched);
    a->unwatched = strdup(trouble);
    if (a->unwatched == NULL) abort();
    kube_news(a);
}

/* A pod has one grace, which is the outputs': at its deadline a step that does not listen would have all of that more.
 * So it is stopped by us, with its own grace; the pod's deadline is for when no server is there. */
static void expire(struct kube_attempt *a)
{
    a->expired = a->kill_wanted = a->hurry = true;
    a->killed_us = os_mono_us();
    a->grace_ms = a->soft_ms;
    kube_delete(a);
}

static bool is_late(const struct kube_attempt *a, int64_t now)
{
    bool over = a->running_us != 0 && a->stage == KUBE_STAGE_RUNNING && now - a->running_us > a->timeout_ms * 1000;
    if (!a->collects || a->timeout_ms <= 0 || a->kill_wanted) return false;
    return a->n_ranks > 0 ? kube_ranks_late(a, now) : !a->keeping && (over || a->late);
}

static void tick_attempt(struct kube *k, struct kube_attempt *a)
{
    int64_t now = os_mono_us();
    if (a->retry_us != 0 && now >= a->retry_us && a->call == NULL) {
        if (a->phase == KUBE_CREATING)
            kube_create(a);
        else
            kube_delete(a);
    }
    kube_belongings_tick(a, now);
    if (a->phase == KUBE_CREATED && a->stage == KUBE_STAGE_RUNNING && now - a->running_us > FOLLOW_AFTER_US)
        kube_log_follow(a);
    if (a->phase == KUBE_CREATED && a->job_there && kube_lacks_pod(a)) without_pod(a, now);
    kube_silence_tick(a);
    if (a->phase == KUBE_CREATED) unwatched(k, a, now);
    if (a->phase == KUBE_CREATED) kube_mover_tick(a, now);
    if (a->phase == KUBE_DRAINING) kube_outputs_tick(a, now);
    if (a->phase == KUBE_DRAINING && !a->drained) kube_log_tick(a);
    if (a->phase == KUBE_CREATED && a->hangs_us != 0 && now - a->hangs_us > k->cfg.start_ms * 1000) give_up(a);
    if (a->phase == KUBE_CREATED && !kube_helper_tick(a, now)) give_up(a);
    if (a->phase == KUBE_CREATED && is_late(a, now)) expire(a);
    if (a->phase == KUBE_CREATED && a->lost_us != 0 && !a->kill_wanted && now > a->lost_us)
        kube_end(a, a->lost.failure, a->lost.reason, a->lost.message);
    if (a->phase == KUBE_CREATED && a->kill_wanted && now - a->killed_us > KILLED_MOST_US + a->grace_ms * 1000)
        kube_end(a, FAILURE_ERROR, REASON_CANCELLED, STR("was stopped; its node has not confirmed it"));
}

void kube_tick(struct kube *k)
{
    look_around(k);
    kube_each(k, tick_attempt);
    kube_templates_tick(k);
    kube_strays_tick(k);
    k->ticked_us = os_mono_us();
}
