/* See kube_verdict.h. */
#include "scheduler/kube_verdict.h"

#include "scheduler/kube_pod.h"

/* Who is told to stop has stopped when all of it has. */
enum kube_verdict kube_verdict_lost(const struct kube_standing *s)
{
    return s->stopped && s->there > 0 ? KUBE_GOES_ON : KUBE_ENDS_SO;
}

enum kube_verdict kube_verdict_ended(const struct kube_standing *s, bool well)
{
    if (s->workers > 0 && s->well >= s->workers) return KUBE_ENDS_WELL;
    return well && !s->stopped ? KUBE_GOES_ON : kube_verdict_lost(s);
}

bool kube_verdict_hopes(const struct kube_standing *s, bool taken)
{
    return taken && !s->stopped && s->workers != 1 && (s->workers == 0 || s->over < s->workers);
}

static void say(struct task_result *r, enum failure failure, enum reason reason, struct str message)
{
    r->failure = failure;
    r->reason = reason;
    r->message = message;
}

void kube_verdict_cause(const struct kube_standing *s, struct arena *a, struct task_result *r)
{
    if (s->expired || (s->late && !s->stopped))
        say(r, FAILURE_TIMEOUT, REASON_TIMEOUT, kube_pod_expired(s->timeout_ms, a));
    else if (s->stopped)
        say(r, FAILURE_ERROR, REASON_CANCELLED, STR("was stopped"));
    else if (s->taken_back)
        say(r, FAILURE_INFRA, REASON_PREEMPTED,
            s->unseen
                ? STR("gave way: its Job was changed more than once while no server looked, as Kueue does when it "
                      "takes one back and runs it again")
                : STR("gave way: Kueue has suspended its Job"));
}
