/* What the watches say of Jobs, and whose the pods are of which they speak; kube_ranks.c goes on with those. */
#include <stdio.h>

#include "scheduler/kube_inner.h"

static void keep(char *room, size_t n, struct str text)
{
    snprintf(room, n, "%.*s", STR_ARG(text));
}

/* ---- Jobs ---- */

/* How often its spec was written tells what Kueue did: once to make it, once or twice to admit it, and once more to
 * take that back. A watch that lags behind the one of pods may tell of a Job that is still to be admitted. */
static bool is_retaken(const struct kube_attempt *a, int64_t generation)
{
    return a->held_by_kueue && kube_has_pod(a) && generation > 2;
}

/* While no server looked: what pods there are, or are to come, are not the first ones. Others who change it have it
 * taken for that, which costs an attempt; not to notice would let one run twice. */
static bool was_retaken(const struct kube_attempt *a, const struct value *labels, int64_t generation)
{
    bool kueues = value_get(labels, KUBE_LABEL_KUEUE) != NULL;
    return kueues && a->manifest.n == 0 && generation > (a->held_by_kueue ? 2 : 3);
}

/* By Kueue until it admits it, and when it takes that back; or by anybody, who may resume it. */
static void read_suspension(struct kube_attempt *a, const struct value *job)
{
    bool was = a->suspended, on = value_get_bool(value_get(job, "spec"), "suspend");
    const struct value *labels = value_get(value_get(job, "metadata"), "labels");
    int64_t generation = value_get_int(value_get(job, "metadata"), "generation");
    a->held_by_kueue = on && value_get(labels, KUBE_LABEL_KUEUE) != NULL;
    a->suspended = on && !a->held_by_kueue;
    a->retaken |= is_retaken(a, generation);
    a->retaken_unseen = was_retaken(a, labels, generation);
    if (was && !a->suspended && a->phase == KUBE_CREATED && kube_lacks_pod(a)) kube_waits(a, STR(""));
}

/* They come after the pod's end; of a pod that is gone they are all there is. */
static void read_conditions(struct kube_attempt *a, const struct value *job)
{
    int64_t from_us = kube_time(value_get(job, "status"), "startTime");
    const struct value *list = value_get(value_get(job, "status"), "conditions");
    for (size_t i = 0; list != NULL && list->type == VALUE_LIST && i < list->u.list.n; i++) {
        const struct value *c = &list->u.list.items[i];
        struct str type = kube_text(c, "type");
        if (!str_is(kube_text(c, "status"), "True")) continue;
        a->job_completed |= str_is(type, "Complete");
        a->job_ended |= a->job_completed || str_is(type, "Failed");
        int64_t to_us = str_is(type, "Failed") ? kube_time(c, "lastTransitionTime") : 0;
        if (from_us > 0 && to_us > from_us) a->job_ran_us = to_us - from_us;
    }
}

/* Of an attempt that has ended it is deleted by its uid, which is sure; so that need not be. */
static void job_gone(struct kube_attempt *a, const struct kube_pod *read)
{
    bool over = a->phase >= KUBE_DRAINING;
    if ((over && !a->deleted) || kube_untold(a, true, read)) return;
    kube_gone(a);
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
    keep(a->job_version, sizeof a->job_version, kube_text(object, "metadata.resourceVersion"));
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

void kube_hear_pod(void *ctx, enum kube_change change, const struct value *object)
{
    struct kube *k = ctx;
    struct kube_pod pod;
    bool labelled = kube_pod_read(object, &pod);
    struct kube_attempt *a = kube_pod_of(k, change, labelled, &pod);
    if (a == NULL || a->phase == KUBE_FORGOTTEN) return;
    if (a->name[0] == '\0') keep(a->name, sizeof a->name, pod.job);
    if (pod.job_uid.n > 0) keep(a->pods_job, sizeof a->pods_job, pod.job_uid);
    pod.memory_bound = a->memory_bound;
    uint32_t rank = kube_rank_of(a, pod.uid);
    bool new = rank == UINT32_MAX;
    if (new) {
        if (a->workers > 1 && pod.rank < 0) return; /* one of several that does not say which */
        a->gang |= a->workers != 1 && pod.rank >= 0;
        rank = pod.rank < 0 ? 0 : (uint32_t)pod.rank;
    }
    kube_rank_hear(a, change, rank, &pod);
    if (new && a->kill_wanted && a->phase == KUBE_CREATED) kube_delete(a); /* it was not told to hurry */
}
