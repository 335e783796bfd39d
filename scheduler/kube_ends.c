/* How attempts end: as their pods say; as somebody wanted; or, where no pod is left to say it, as far as it is known.
 * An end is told when the rest of the log is there, and the outputs of one that has succeeded. */
#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

#define TAKEN_BACK "gave way: Kueue has suspended its Job"

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
    kube_belongings_late(a);
    if (a->result.exit_code >= 0 || a->n_ranks > 0) /* its container ran, or others' did */
        kube_log_drain(a);
    else
        kube_drained(a);
}

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

void kube_end_by_loss(struct kube_attempt *a)
{
    if (a->kill_wanted)
        kube_end_stopped(a);
    else if (a->held_by_kueue)
        kube_end(a, FAILURE_INFRA, REASON_PREEMPTED, STR(TAKEN_BACK));
    else
        kube_end(a, FAILURE_INFRA, REASON_INFRA, STR("its pod was deleted by somebody else, or with its node"));
}

void kube_last_words(struct kube_attempt *a, const struct kube_pod *pod)
{
    a->said = arena_str(&a->arena, pod->message);
    a->said_max = pod->message_max;
    a->manifest_said = arena_str(&a->arena, pod->manifest);
    a->deaf = arena_str(&a->arena, pod->deaf);
}
