/* An attempt's pods: the only one, which is rank 0, or those of a step with several workers: an indexed Job, whose pods
 * have ranks from 0, and a Service by which they find each other (kube_belongings.c). All or nothing: the first rank
 * that fails is how the attempt ends. The others are stopped before that is told, while their Job is kept, which tells
 * whoever comes when this server is killed meanwhile. What rank 0 leaves is the step's.
 * https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/units.h"
#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"
#include "scheduler/kube_late.h"

#define TAKEN_US ((int64_t)2000000)           /* in which the one is told of that had failed before */
#define LOST_AFTER_US ((int64_t)30 * 1000000) /* beyond the grace of a pod that is deleted */

/* ---- the ranks ---- */

bool kube_has_pod(const struct kube_attempt *a)
{
    bool any = false;
    for (uint32_t i = 0; i < a->n_ranks; i++)
        any |= a->ranks[i].uid[0] != '\0';
    return any;
}

bool kube_lacks_pod(const struct kube_attempt *a)
{
    bool lacks = a->n_ranks == 0 || a->n_ranks < a->workers;
    for (uint32_t i = 0; i < a->n_ranks; i++)
        lacks |= a->ranks[i].uid[0] == '\0' && !a->ranks[i].ended;
    return lacks;
}

uint32_t kube_rank_of(const struct kube_attempt *a, struct str uid)
{
    for (uint32_t i = 0; i < a->n_ranks; i++)
        if (a->ranks[i].uid[0] != '\0' && str_is(uid, a->ranks[i].uid)) return i;
    return UINT32_MAX;
}

uint32_t kube_rank_to_hurry(const struct kube_attempt *a)
{
    bool in_vain = a->collects && !a->result.ok; /* outputs that nobody will want */
    for (uint32_t i = 0; i < a->n_ranks; i++) {
        const struct kube_rank *r = &a->ranks[i];
        if (r->uid[0] != '\0' && (!r->ended || (in_vain && r->keeping)) && !r->hurried) return i;
    }
    return UINT32_MAX;
}

const char *kube_log_pod(const struct kube_attempt *a)
{
    const char *known = a->log.rank < a->n_ranks ? a->ranks[a->log.rank].pod : "";
    const char *left = known[0] == '\0' && a->log.rank == 0 ? kube_left_name(a) : NULL;
    return left != NULL ? left : known;
}

static struct kube_rank *rank_of(struct kube_attempt *a, uint32_t rank)
{
    if (rank >= a->n_ranks) {
        a->ranks = realloc(a->ranks, (rank + 1) * sizeof *a->ranks);
        if (a->ranks == NULL) abort();
        memset(&a->ranks[a->n_ranks], 0, (rank + 1 - a->n_ranks) * sizeof *a->ranks);
        a->n_ranks = rank + 1;
    }
    return &a->ranks[rank];
}

void kube_ranks_drop(struct kube_attempt *a)
{
    for (uint32_t i = 0; i < a->n_ranks; i++) {
        free(a->ranks[i].waits);
        kube_silence_drop(&a->ranks[i].silence);
    }
    free(a->ranks);
    a->ranks = NULL;
    a->n_ranks = 0;
}

/* Before what is said of it. */
static struct str prefix(const struct kube_attempt *a, uint32_t rank, struct arena *m)
{
    return a->gang ? arena_printf(m, "rank %u: ", rank) : STR("");
}

/* ---- ends ---- */

static void finish(struct kube_attempt *a)
{
    a->stage = KUBE_STAGE_ENDED;
    a->ended = true;
    kube_begun(a);
    if (a->phase == KUBE_CREATED) kube_finish(a);
}

void kube_ranks_settle(struct kube_attempt *a)
{
    const struct kube_standing s = kube_standing(a);
    if (a->n_ranks == 0 || a->ended || kube_verdict_ended(&s, true) != KUBE_ENDS_WELL) return;
    a->result = a->first;
    finish(a);
}

static void ends_so(struct kube_attempt *a, uint32_t rank, struct task_result how)
{
    how.ok = false;
    how.message = arena_printf(&a->arena, "%.*s%.*s", STR_ARG(prefix(a, rank, &a->arena)), STR_ARG(how.message));
    a->failed_rank = rank;
    a->result = how;
    finish(a);
}

/* ---- the others, when one has failed ---- */

static bool any_there(const struct kube_attempt *a)
{
    return (a->gang && kube_standing(a).there > 0) || kube_left_going(a);
}

/* Kubernetes stops them, too, with the grace that they were made with, which is their outputs'. */
void kube_ranks_hurry(struct kube_attempt *a)
{
    if (!any_there(a) || a->hurry) return;
    a->hurry = a->keeps_job = true; /* the Job tells whoever comes when this server is killed meanwhile */
    a->grace_ms = a->soft_ms;
    kube_delete(a);
}

bool kube_ranks_stop(struct kube_attempt *a)
{
    if (a->result.ok || a->phase == KUBE_STOPPING || !any_there(a)) return false;
    a->phase = KUBE_STOPPING;
    if (!a->kill_wanted) a->killed_us = os_mono_us();
    kube_waits(a, !a->job_there && kube_left_going(a) ? STR("its Job was deleted, and its pods are being stopped")
                                                      : STR("has failed, and its other pods are being stopped"));
    kube_ranks_hurry(a);
    return true;
}

void kube_ranks_stopped(struct kube_attempt *a)
{
    if (a->phase == KUBE_STOPPING && !any_there(a)) kube_tell(a);
}

/* Of a pod that has ended or is gone nothing is waited for. */
static bool is_going(const struct kube_rank *r)
{
    return r->uid[0] != '\0' && !r->ended && r->lost_us != 0;
}

bool kube_ranks_going(const struct kube_attempt *a, int64_t now)
{
    for (uint32_t i = 0; i < a->n_ranks; i++)
        if (is_going(&a->ranks[i]) && now <= a->ranks[i].lost_us) return true;
    return false;
}

static void lose(struct kube_attempt *a, int64_t now)
{
    for (uint32_t i = 0; i < a->n_ranks && a->phase == KUBE_CREATED; i++) {
        const struct kube_rank *r = &a->ranks[i];
        if (!is_going(r) || now <= r->lost_us) continue;
        a->ranks[i].ended = true; /* as far as will ever be known */
        kube_end(a, r->lost.failure, r->lost.reason,
                 arena_printf(&a->arena, "%.*s%.*s", STR_ARG(prefix(a, i, &a->arena)), STR_ARG(r->lost.message)));
    }
}

void kube_ranks_tick(struct kube_attempt *a, int64_t now)
{
    if (a->phase == KUBE_CREATED && a->taken_us != 0 && !a->ended && now > a->taken_us)
        ends_so(a, a->taken_rank, a->taken);
    if (!a->kill_wanted) lose(a, now);
}

/* After a pause, ends are told in the order of names, and not of time. */
static void may_end_so(struct kube_attempt *a, uint32_t rank, struct task_result how, bool taken)
{
    const struct kube_standing s = kube_standing(a);
    if (taken && a->taken_us == 0) {
        a->taken_us = os_mono_us() + TAKEN_US;
        a->taken_rank = rank;
        a->taken = how;
    }
    if (kube_verdict_hopes(&s, taken)) return;
    if (taken)
        ends_so(a, a->taken_rank, a->taken);
    else
        ends_so(a, rank, how);
}

static void hear_how_late(const struct kube_attempt *a, const struct kube_pod *pod)
{
    int64_t *late = &a->owner->late_us;
    if (a->heard_us == 0 || pod->started_us == 0 || pod->ended_us == 0 || a->collects) return;
    *late = kube_late_heard(*late, os_mono_us() - a->heard_us, pod->ended_us - pod->started_us);
}

/* The first end counts: a kubelet that was restarted may tell another one later. */
static void rank_ended(struct kube_attempt *a, uint32_t rank, const struct kube_pod *pod)
{
    struct kube_rank *r = &a->ranks[rank];
    struct task_result how;
    r->stage = KUBE_STAGE_ENDED;
    r->keeping = rank == 0 && pod->collecting;
    kube_silence_drop(&r->silence);
    if (r->ended) return;
    r->ended = true;
    a->late |= kube_pod_late(pod);
    kube_pod_result(pod, &a->arena, &how);
    how.message = arena_str(&a->arena, how.message);
    kube_waits_quote(a, pod, kube_belongings_lack(a) != NULL ? kube_belongings_lack(a) : r->waits, &how);
    if (rank == 0) {
        a->first = how;
        kube_last_words(a, pod);
        hear_how_late(a, pod);
    }
    if (a->ended || a->phase >= KUBE_DRAINING) {
        kube_ranks_stopped(a);
        return;
    }
    r->well = how.ok;
    const struct kube_standing s = kube_standing(a);
    enum kube_verdict verdict = kube_verdict_ended(&s, how.ok);
    if (verdict == KUBE_ENDS_SO) may_end_so(a, rank, how, pod->deleting && how.reason == REASON_INFRA);
    if (verdict != KUBE_ENDS_WELL) return;
    a->result = a->first;
    finish(a);
}

static void rank_gone(struct kube_attempt *a, uint32_t rank)
{
    struct kube_rank *r = &a->ranks[rank];
    r->uid[0] = '\0';
    kube_silence_drop(&r->silence);
    kube_ranks_stopped(a);
    if (a->phase == KUBE_SEEN && !a->job_there && !kube_has_pod(a)) {
        kube_drop(a->owner, a);
        return;
    }
    if (r->ended || a->ended || a->phase != KUBE_CREATED) return;
    const struct kube_standing s = kube_standing(a);
    if (kube_verdict_lost(&s) != KUBE_GOES_ON) kube_end_by_loss(a, prefix(a, rank, &a->arena));
}

/* ---- on the way ---- */

bool kube_ranks_late(const struct kube_attempt *a, int64_t now)
{
    for (uint32_t i = 0; i < a->n_ranks; i++) {
        const struct kube_rank *r = &a->ranks[i];
        bool runs = r->stage == KUBE_STAGE_RUNNING && r->running_us != 0;
        if (r->uid[0] == '\0' || r->ended || r->keeping) continue;
        if (a->late || (runs && now - r->running_us > a->timeout_ms * 1000)) return true;
    }
    return false;
}

/* The first that does not run yet says why. */
static void tell_waits(struct kube_attempt *a)
{
    bool hangs = false;
    const char *why = "";
    uint32_t who = 0;
    for (uint32_t i = a->n_ranks; i-- > 0;) {
        hangs |= a->ranks[i].hangs;
        if (a->ranks[i].waits == NULL || a->ranks[i].waits[0] == '\0') continue;
        why = a->ranks[i].waits;
        who = i;
    }
    struct arena turn;
    arena_init(&turn, 0);
    kube_hangs(a, hangs);
    kube_waits(a, why[0] != '\0' ? arena_printf(&turn, "%.*s%s", STR_ARG(prefix(a, who, &turn)), why) : STR(""));
    arena_free(&turn);
}

static void say(struct kube_rank *r, struct str text)
{
    free(r->waits);
    r->waits = strndup(text.p, text.n);
    if (r->waits == NULL) abort();
}

void kube_ranks_asked(struct kube_attempt *a)
{
    tell_waits(a);
}

void kube_silence_told(struct kube_attempt *a, struct kube_rank *r)
{
    say(r, str_of(r->silence.why));
    r->hangs = r->silence.hangs;
    tell_waits(a);
}

/* When it is being deleted, it is lost if it does not end in time. */
static void losing(struct kube_attempt *a, struct kube_rank *r, const struct kube_pod *pod)
{
    a->late |= kube_pod_late(pod);
    if (!pod->deleting || r->lost_us != 0) return;
    r->lost_us = os_mono_us() + pod->grace_us + LOST_AFTER_US;
    kube_pod_lost(pod, &a->arena, &r->lost);
}

/* That cannot be cut short: a kubelet that has begun to stop a pod takes no shorter grace any more. */
static struct str how_it_runs(const struct kube_attempt *a, const struct kube_pod *pod, struct arena *m)
{
    char most[32];
    bool by_others = pod->deleting && !a->kill_wanted && !a->hurry;
    if (!by_others || (pod->has_exit && !kube_pod_stopped(pod))) return kube_helper_text(pod, m);
    return arena_printf(m,
                        "its pod is being deleted by others, as when its node is drained: it was told to stop, and is "
                        "killed if it has not after %s",
                        units_duration_text(pod->grace_us / 1000, most));
}

static void alive(struct kube_attempt *a, uint32_t rank, const struct kube_pod *pod)
{
    struct kube_rank *r = &a->ranks[rank];
    struct arena turn;
    struct str text = STR("");
    enum kube_hope hope = KUBE_HOPE;
    losing(a, r, pod);
    kube_begun(a);
    r->stage = pod->stage;
    r->hangs = false;
    kube_helper_hear(a, &r->helped, pod);
    r->keeping = pod->collecting && pod->has_exit;
    if (a->hung_us == 0 && a->manifest.n == 0) kube_hung(a, pod->since_us);
    if (pod->stage == KUBE_STAGE_RUNNING && r->running_us == 0) r->running_us = kube_since(a, pod->started_us);
    if (rank == 0) {
        a->stage = pod->stage;
        a->keeping = r->keeping;
        a->running_us = r->running_us;
        if (pod->stage == KUBE_STAGE_RUNNING && a->heard_us == 0) a->heard_us = os_mono_us();
    }
    if (a->phase != KUBE_CREATED && a->phase != KUBE_SEEN) return;
    arena_init(&turn, 0);
    if (pod->stage < KUBE_STAGE_RUNNING)
        hope = kube_pod_waits(pod, &turn, &text);
    else
        text = how_it_runs(a, pod, &turn);
    kube_silence_hear(&r->silence, pod, hope);
    r->hangs = hope == KUBE_PATIENCE || r->silence.hangs;
    say(r, r->silence.why != NULL ? str_of(r->silence.why) : text);
    arena_free(&turn);
    if (a->phase == KUBE_CREATED) tell_waits(a);
}

void kube_rank_hear(struct kube_attempt *a, enum kube_change change, uint32_t rank, const struct kube_pod *pod)
{
    if (rank >= KUBE_RANKS_MAX || (a->workers > 0 && rank >= a->workers)) return;
    struct kube_rank *r = rank_of(a, rank);
    /* A rank may come to have two pods: the first one is the attempt's. */
    if (r->uid[0] != '\0' && !str_is(pod->uid, r->uid)) return;
    if (change == KUBE_DELETED) {
        if (!r->ended && kube_untold(a, false, pod)) return;
        if (pod->stage == KUBE_STAGE_ENDED) rank_ended(a, rank, pod);
        rank_gone(a, rank);
        return;
    }
    if ((r->ended && r->uid[0] == '\0') || pod->name.n == 0) return;
    snprintf(r->uid, sizeof r->uid, "%.*s", STR_ARG(pod->uid));
    snprintf(r->pod, sizeof r->pod, "%.*s", STR_ARG(pod->name));
    bool over = rank > 0 && pod->has_exit; /* what rank 0 leaves is the step's: others' outputs are not waited for */
    if (pod->stage == KUBE_STAGE_ENDED || over)
        rank_ended(a, rank, pod);
    else
        alive(a, rank, pod);
}
