/* Whose the objects of the cluster are. Labels select what is watched, and say where to look; but anybody may edit
 * them, or copy an object with them. An attempt's Job is the one of its name, which is a hash of the attempt. Its pods
 * are those that this Job controls, by its uid; and once they are known, they are known by their own.
 *
 * A pod whose Job is not known is a stray: it counts for nothing until its Job is told of, and then the server is asked
 * for that Job's pods. Where a Job is gone already, its name in the pod has to do. A pod that nothing controls is
 * nobody's, unless it was known before: its Job was deleted without it, or somebody has made it. It is deleted
 * unless it is known as one of an attempt that goes on, for nobody else would. What its labels say is believed in one
 * thing: before that attempt's bad end is told it is to have stopped, for as long as a killed one is waited for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"

#define ORPHAN_US ((int64_t)15 * 1000000) /* for its attempt to be asked for, after a start; and between two tries */

/* ---- Jobs ---- */

static struct kube_stray **stray_at(struct kube *k, struct str uid)
{
    struct kube_stray **at = &k->strays;
    while (*at != NULL && !str_is(uid, (*at)->uid))
        at = &(*at)->next;
    return at;
}

static void drop(struct kube *k, struct kube_stray **at)
{
    struct kube_stray *s = *at;
    *at = s->next;
    kube_cancel(k->client, s->call);
    free(s);
    kube_timer(k);
}

static struct kube_stray *stray(struct kube *k, struct str uid, struct str name)
{
    struct kube_stray **at = stray_at(k, uid), *s = *at;
    if (s != NULL) return s;
    s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    s->owner = k;
    s->since_us = os_mono_us();
    snprintf(s->uid, sizeof s->uid, "%.*s", STR_ARG(uid));
    snprintf(s->name, sizeof s->name, "%.*s", STR_ARG(name));
    *at = s;
    kube_timer(k);
    return s;
}

static void no_stray(struct kube *k, struct str uid)
{
    struct kube_stray **at = stray_at(k, uid);
    if (*at != NULL) drop(k, at);
}

/* The first for which fn holds. */
static struct kube_attempt *any(const struct kube *k, bool (*fn)(const struct kube_attempt *, const void *),
                                const void *what)
{
    for (struct kube_attempt *a = k->first; a != NULL; a = a->next)
        if (fn(a, what)) return a;
    return NULL;
}

static bool has_name(const struct kube_attempt *a, const void *what)
{
    const struct str *name = what;
    return str_is(*name, a->name);
}

struct kube_attempt *kube_job_of(struct kube *k, enum kube_change change, bool labelled, struct attempt_id id,
                                 struct str name, struct str uid)
{
    bool own = labelled && kube_job_is(k->cfg.instance, id, name);
    struct kube_attempt *a = own ? kube_find(k, id) : any(k, has_name, &name);
    if (a != NULL && a->name[0] != '\0' && !str_is(name, a->name)) { /* a copy */
        a = NULL;
        own = false;
    }
    if (a == NULL && own && change == KUBE_PRESENT) a = kube_add(k, id);
    if (a == NULL && change == KUBE_PRESENT)
        stray(k, uid, name)->job = true;
    else
        no_stray(k, uid);
    return a;
}

void kube_name_job(struct kube_attempt *a, const char *name)
{
    bool other = a->name[0] != '\0' && strcmp(a->name, name) != 0;
    snprintf(a->name, sizeof a->name, "%s", name);
    if (!other) return;
    a->job_uid[0] = a->pods_job[0] = '\0';
    a->job_there = a->job_ended = a->job_completed = a->ended = a->late = a->keeping = false;
    a->result = (struct task_result){0};
    a->stage = KUBE_STAGE_PLACING;
    a->taken_us = a->running_us = a->heard_us = 0;
    kube_ranks_drop(a);
}

void kube_claim_job(struct kube_attempt *a)
{
    struct kube *k = a->owner;
    for (struct kube_stray **at = &k->strays, *s; !a->job_there && (s = *at) != NULL; at = &s->next) {
        if (!s->job || !kube_job_is(k->cfg.instance, a->id, str_of(s->name))) continue;
        if (a->name[0] != '\0' && !str_is(str_of(s->name), a->name)) continue;
        snprintf(a->name, sizeof a->name, "%.*s", KUBE_JOB_NAME - 1, s->name);
        snprintf(a->job_uid, sizeof a->job_uid, "%s", s->uid);
        a->job_there = true;
        drop(k, at);
        kube_untold_job(a);
        return;
    }
}

/* ---- pods ---- */

static bool has_it(const struct kube_attempt *a, const void *what)
{
    const struct kube_pod *pod = what;
    return kube_rank_of(a, pod->uid) != UINT32_MAX || (a->job_uid[0] != '\0' && str_is(pod->job_uid, a->job_uid));
}

/* By the name of its Job, which is gone: one that is there, or is being made, will be told of. */
static bool was_its(const struct kube_attempt *a)
{
    return a->job_uid[0] == '\0' && !a->job_there && a->phase != KUBE_CREATING;
}

static struct kube_attempt *find(struct kube *k, enum kube_change change, bool labelled, const struct kube_pod *pod)
{
    struct kube_attempt *a = labelled ? kube_find(k, pod->id) : NULL;
    bool named = labelled && pod->job_uid.n > 0 && kube_job_is(k->cfg.instance, pod->id, pod->job);
    if (a != NULL && has_it(a, pod)) return a;
    if (!named) return any(k, has_it, pod); /* its labels are not what they were made as */
    if (a == NULL) return change == KUBE_PRESENT ? kube_add(k, pod->id) : NULL;
    return was_its(a) ? a : NULL;
}

struct kube_attempt *kube_pod_of(struct kube *k, enum kube_change change, bool labelled, const struct kube_pod *pod)
{
    struct kube_attempt *a = find(k, change, labelled, pod);
    bool orphan = !pod->owned && (labelled || a != NULL), held = pod->job_uid.n > 0 && a == NULL;
    if (change == KUBE_DELETED || (!orphan && !held)) {
        no_stray(k, pod->uid);
        return a;
    }
    struct kube_stray *s = stray(k, pod->uid, pod->name);
    if (s->id.run == 0) s->id = a != NULL ? a->id : pod->id;
    s->ended = pod->stage == KUBE_STAGE_ENDED;
    s->first = pod->rank <= 0;
    snprintf(s->job_uid, sizeof s->job_uid, "%.*s", STR_ARG(pod->job_uid));
    return a;
}

/* ---- what becomes of strays ---- */

static bool has_job(const struct kube_attempt *a, const void *what)
{
    return a->job_uid[0] != '\0' && str_is(str_of(a->job_uid), what);
}

/* The pod that was told of before its Job. */
static void look_for_job(struct kube *k, const struct kube_stray *s)
{
    struct kube_attempt *a = kube_find(k, s->id);
    if (a == NULL || !has_job(a, s->job_uid)) a = any(k, has_job, s->job_uid);
    if (a != NULL && a->phase == KUBE_CREATED) kube_ask_pod(a);
}

static void told(void *ctx, const struct kube_answer *answer)
{
    struct kube_stray *s = ctx;
    struct kube_attempt *a = kube_find(s->owner, s->id);
    s->call = NULL; /* the watch says when it is gone */
    s->since_us = os_mono_us();
    if (kube_deleted(answer)) return;
    log_warn("a pod that no Job owns cannot be deleted", LOG_STR("pod", str_of(s->name)),
             LOG_STR("message", answer->message));
    if (a != NULL && a->phase == KUBE_STOPPING && answer->outcome == KUBE_REFUSED)
        kube_waits_for(a, "its Job was deleted, and its pod %s cannot be deleted; Kubernetes says: %.*s", s->name,
                       STR_ARG(answer->message));
}

/* With the step's own grace, where its end waits for that. */
static void delete_orphan(struct kube *k, struct kube_stray *s, const struct kube_attempt *stops)
{
    const struct kube_deletion d = {.pod = s->name,
                                    .uid = s->uid,
                                    .grace_ms = stops != NULL ? stops->grace_ms : -1,
                                    .priority = stops != NULL ? KUBE_URGENT : KUBE_IDLE,
                                    .done = told,
                                    .ctx = s};
    s->call = kube_delete_pod(k, &d);
    s->stopped = stops != NULL;
    log_info("a pod that no Job owns is deleted", LOG_STR("pod", str_of(s->name)), LOG_INT("run", s->id.run));
}

static bool is_wanted(const struct kube *k, const struct kube_stray *s)
{
    const struct kube_attempt *a = kube_find(k, s->id);
    return a != NULL && a->phase != KUBE_FORGOTTEN && kube_rank_of(a, str_of(s->uid)) != UINT32_MAX;
}

bool kube_launched(const struct kube_attempt *a)
{
    const struct kube_stray *s = a->owner->strays;
    while (s != NULL && (s->job || kube_find(a->owner, s->id) != a))
        s = s->next;
    return s != NULL;
}

static bool is_left(const struct kube_attempt *a, const struct kube_stray *s)
{
    bool alone = !s->job && s->job_uid[0] == '\0' && kube_find(a->owner, s->id) == a;
    return alone && kube_rank_of(a, str_of(s->uid)) == UINT32_MAX;
}

bool kube_left_pod(const struct kube_attempt *a)
{
    const struct kube_stray *s = a->owner->strays;
    while (s != NULL && !is_left(a, s))
        s = s->next;
    return s != NULL;
}

static bool goes_on(const struct kube_attempt *a, const struct kube_stray *s)
{
    return is_left(a, s) && !s->ended;
}

bool kube_left_going(const struct kube_attempt *a)
{
    const struct kube_stray *s = a->owner->strays;
    while (s != NULL && !goes_on(a, s))
        s = s->next;
    return s != NULL;
}

const char *kube_left_name(const struct kube_attempt *a)
{
    const struct kube_stray *s = a->owner->strays;
    while (s != NULL && !(is_left(a, s) && s->first))
        s = s->next;
    return s != NULL ? s->name : NULL;
}

/* The attempt whose end is told when that has ended. */
static const struct kube_attempt *whose_end(const struct kube *k, const struct kube_stray *s)
{
    const struct kube_attempt *a = kube_find(k, s->id);
    return a != NULL && a->phase == KUBE_STOPPING && goes_on(a, s) ? a : NULL;
}

void kube_strays_tick(struct kube *k)
{
    int64_t now = os_mono_us();
    for (struct kube_stray *s = k->strays; s != NULL; s = s->next) {
        if (s->job || s->call != NULL) continue;
        const struct kube_attempt *a = whose_end(k, s);
        if (s->job_uid[0] != '\0')
            look_for_job(k, s);
        else if ((a != NULL && !s->stopped) || (now - s->since_us > ORPHAN_US && kube_synced(k) && !is_wanted(k, s)))
            delete_orphan(k, s, a);
    }
}

void kube_strays_drop(struct kube *k)
{
    while (k->strays != NULL)
        drop(k, &k->strays);
}
