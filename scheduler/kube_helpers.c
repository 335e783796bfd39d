/* Containers of the user's own in a step's pod, which the step, or the keeping of its outputs, waits for: who runs
 * before it, and who goes on after it, such as the proxy of a service mesh. Neither may do so for ever. The step's own
 * container decides how the attempt ends: the kubelet tells the sidecar that keeps outputs to do it when all others
 * have ended, so a pod in which somebody goes on is deleted, which tells everybody.
 * https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#differences-from-application-containers */
#include "engine/os/clock.h"
#include "scheduler/kube_inner.h"

#define SECOND_US 1000000
#define LINGERS_US (3 * SECOND_US)   /* for a proxy and the like to end by itself; times of pods are in whole seconds */
#define LOG_MOST_US (15 * SECOND_US) /* for the log of the step, which has ended */
#define STARTS 12                    /* a helper may run so many times as long as a start may take */

void kube_helper_hear(struct kube_attempt *a, struct kube_helped *h, const struct kube_pod *pod)
{
    bool after = pod->has_exit && pod->stage == KUBE_STAGE_RUNNING;
    int64_t now = os_mono_us();
    if (pod->helper.n == 0 || after || pod->stage != KUBE_STAGE_STARTING)
        h->before_us = 0;
    else
        h->before_us = kube_since(a, pod->helper_us);
    if (pod->helper.n == 0 || !after)
        h->after_us = 0;
    else if (h->after_us == 0)
        h->after_us = now;
    h->released |= pod->deleting;
    kube_mover_hear(h, pod);
}

struct str kube_helper_text(const struct kube_pod *pod, struct arena *a)
{
    if (pod->stage != KUBE_STAGE_RUNNING || !pod->has_exit) return STR("");
    if (pod->helper.n == 0 && pod->sidecar.n > 0)
        return arena_printf(a, "has ended; its outputs are being kept, and its container '%.*s' is told to stop",
                            STR_ARG(pod->sidecar));
    if (pod->helper.n == 0) return STR("has ended; its outputs are being kept");
    return arena_printf(a, "has ended; its container '%.*s' has not, and is told to stop before the outputs are kept",
                        STR_ARG(pod->helper));
}

/* Another try is made by the next tick. */
static void released(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    a->release = NULL;
    if (a->n_ranks > 0 && kube_deleted(answer)) a->ranks[0].helped.released = true;
}

/* With the grace that it was made with: what its outputs may take. */
static void release(struct kube_attempt *a, const struct kube_rank *r)
{
    const struct kube_deletion d = {
        .pod = r->pod, .uid = r->uid, .grace_ms = -1, .priority = KUBE_URGENT, .done = released, .ctx = a};
    a->release = kube_delete_pod(a->owner, &d);
}

/* Its log goes with its pod, so that is fetched before. */
static bool lingers(struct kube_attempt *a, const struct kube_rank *r, int64_t now)
{
    int64_t ago = r->helped.after_us != 0 ? now - r->helped.after_us : 0;
    if (ago <= LINGERS_US || r->helped.released || r->uid[0] == '\0') return false;
    if (a->log.followed || ago > LOG_MOST_US) return true;
    kube_log_follow(a);
    return false;
}

bool kube_helper_tick(struct kube_attempt *a, int64_t now)
{
    int64_t before_us = 0;
    for (uint32_t i = 0; i < a->n_ranks; i++) {
        const struct kube_rank *r = &a->ranks[i];
        if (!r->ended && r->helped.before_us != 0 && (before_us == 0 || r->helped.before_us < before_us))
            before_us = r->helped.before_us;
    }
    /* Of several workers rank 0's outputs are waited for. */
    if (a->n_ranks > 0 && a->release == NULL && !a->kill_wanted && lingers(a, &a->ranks[0], now))
        release(a, &a->ranks[0]);
    return before_us == 0 || now - before_us <= STARTS * a->owner->cfg.start_ms * 1000;
}
