/* What the watches say of Jobs and of their pods. Of a step with several workers kube_ranks.c goes on. */
#include <stdio.h>

#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

#define LOST_AFTER_US ((int64_t)30 * 1000000) /* beyond the grace of a pod that is deleted */

static void keep(char *room, size_t n, struct str text)
{
    snprintf(room, n, "%.*s", STR_ARG(text));
}

/* ---- Jobs ---- */

/* By Kueue until it admits it, and when it takes that back; or by anybody, who may resume it. */
static void read_suspension(struct kube_attempt *a, const struct value *job)
{
    bool was = a->suspended, on = value_get_bool(value_get(job, "spec"), "suspend");
    const struct value *labels = value_get(value_get(job, "metadata"), "labels");
    a->held_by_kueue = on && value_get(labels, KUBE_LABEL_KUEUE) != NULL;
    a->suspended = on && !a->held_by_kueue;
    if (was && !a->suspended && a->phase == KUBE_CREATED && kube_lacks_pod(a)) kube_waits(a, STR(""));
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

/* Of an attempt that has ended it is deleted by its uid, which is sure; so that need not be. */
static void job_gone(struct kube_attempt *a, const struct kube_pod *read)
{
    bool over = a->phase == KUBE_DRAINING || a->phase == KUBE_TOLD || a->phase == KUBE_FORGOTTEN;
    if ((over && !a->deleted) || kube_untold(a, true, read)) return;
    bool unwanted = !a->kill_wanted && a->phase == KUBE_CREATED && !kube_has_pod(a);
    kube_gone(a);
    if (unwanted) kube_end(a, FAILURE_INFRA, REASON_INFRA, STR("its Job was deleted by somebody else"));
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
        job_gone(a, &read);
        return;
    }
    keep(a->name, sizeof a->name, name);
    keep(a->job_uid, sizeof a->job_uid, uid);
    a->job_there = true;
    a->deleted = kube_text(object, "metadata.deletionTimestamp").n > 0;
    read_conditions(a, object);
    read_suspension(a, object);
    kube_template_hear(a, object);
    kube_begun(a);
    kube_belongings_create(a);
    if ((a->kill_wanted || a->phase == KUBE_FORGOTTEN) && !a->deleted) kube_delete(a);
}

/* ---- pods ---- */

/* The first end counts: a kubelet that was restarted may tell another one later. */
static void ended(struct kube_attempt *a, const struct kube_pod *pod)
{
    a->stage = KUBE_STAGE_ENDED;
    if (a->ended) return;
    a->ended = true;
    a->late |= kube_pod_late(pod);
    kube_pod_result(pod, &a->arena, &a->result);
    kube_waits_quote(a, pod, kube_waits_why(a), &a->result);
    a->result.message = arena_str(&a->arena, a->result.message);
    kube_last_words(a, pod);
    if (a->phase == KUBE_HELD || a->phase == KUBE_CREATING || a->phase == KUBE_CREATED) kube_finish(a);
}

static void pod_gone(struct kube_attempt *a)
{
    a->pod_uid[0] = '\0';
    kube_silence_drop(&a->silence);
    if (a->phase == KUBE_SEEN && !a->job_there)
        kube_drop(a->owner, a);
    else if (a->phase == KUBE_CREATED)
        kube_end_by_loss(a, STR(""));
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
        if (a->heard_us == 0) a->heard_us = os_mono_us();
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
    if (pod.job_uid.n > 0) keep(a->pods_job, sizeof a->pods_job, pod.job_uid);
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
        if (kube_untold(a, false, &pod)) return;
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
