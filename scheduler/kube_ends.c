/* How attempts end: as their pods say; as somebody wanted; or, where no pod is left to say it, as far as it is known.
 * An end is told when the rest of the log is there, and the outputs of one that has succeeded; of one that has failed,
 * its other pods have stopped by then, or are waited for no longer. */
#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

struct kube_standing kube_standing(const struct kube_attempt *a)
{
    struct kube_standing s = {.workers = a->gang ? a->workers : 1,
                              .stopped = a->kill_wanted,
                              .expired = a->expired,
                              .late = a->late,
                              .taken_back = a->held_by_kueue || a->retaken || a->retaken_unseen,
                              .unseen = !a->held_by_kueue && !a->retaken,
                              .timeout_ms = a->timeout_ms};
    for (uint32_t i = 0; i < a->n_ranks; i++) {
        s.there += a->ranks[i].uid[0] != '\0' && !a->ranks[i].ended;
        s.well += a->ranks[i].well;
        s.over += a->ranks[i].ended;
    }
    return s;
}

void kube_cause(struct kube_attempt *a, struct task_result *r)
{
    const struct kube_standing s = kube_standing(a);
    kube_verdict_cause(&s, &a->arena, r);
}

void kube_end(struct kube_attempt *a, enum failure f, enum reason r, struct str message)
{
    if (a->phase >= KUBE_STOPPING) return;
    a->result = (struct task_result){.failure = f,
                                     .reason = r,
                                     .exit_code = -1,
                                     .message = arena_str(&a->arena, message),
                                     .log_bytes = a->log.bytes};
    kube_tell(a);
}

void kube_finish(struct kube_attempt *a)
{
    a->phase = KUBE_DRAINING;
    if (a->result.ok) kube_outputs(a);
    a->drain_us = a->drained_from_us = os_mono_us();
    if (!a->result.ok) {
        kube_cause(a, &a->result);
        kube_ranks_hurry(a);
    }
    kube_belongings_late(a);
    if (a->result.exit_code >= 0 || a->running_us != 0 || a->gang) /* its container ran, or others' did */
        kube_log_drain(a);
    else
        kube_drained(a);
}

void kube_end_by_job(struct kube_attempt *a)
{
    if (a->job_completed) {
        a->ended = true;
        a->result = (struct task_result){.ok = true, .exit_code = -1};
        kube_finish(a);
    } else if (a->timeout_ms > 0 && a->job_ran_us >= a->timeout_ms * 1000) {
        kube_end(a, FAILURE_TIMEOUT, REASON_TIMEOUT, kube_pod_expired(a->timeout_ms, &a->arena));
    } else {
        kube_end(a, FAILURE_INFRA, REASON_INFRA, STR("its pod is gone, and how it ended with it"));
    }
}

void kube_end_lost(struct kube_attempt *a, struct str how)
{
    struct task_result r = {.failure = FAILURE_INFRA, .reason = REASON_INFRA, .message = how};
    kube_cause(a, &r);
    kube_end(a, r.failure, r.reason, r.message);
}

/* What they told until now is there before they are stopped. */
void kube_end_left(struct kube_attempt *a, struct str how)
{
    a->result = (struct task_result){
        .failure = FAILURE_INFRA, .reason = REASON_INFRA, .exit_code = -1, .message = arena_str(&a->arena, how)};
    kube_cause(a, &a->result);
    a->phase = KUBE_DRAINING;
    a->drain_us = a->drained_from_us = os_mono_us();
    kube_ranks_hurry(a);
    kube_log_drain(a);
}

void kube_end_by_loss(struct kube_attempt *a, struct str of)
{
    kube_end_lost(a,
                  arena_printf(&a->arena, "%.*sits pod was deleted by somebody else, or with its node", STR_ARG(of)));
}

void kube_last_words(struct kube_attempt *a, const struct kube_pod *pod)
{
    a->said = arena_str(&a->arena, pod->message);
    a->said_max = pod->message_max;
    a->manifest_said = arena_str(&a->arena, pod->manifest);
    a->deaf = arena_str(&a->arena, pod->deaf);
    a->killed = kube_mover_end_text(&pod->collect_end, &a->arena);
    a->out_of_memory = kube_mover_end_by_memory(&pod->collect_end);
}
