/* See kube_garbage.h. */
#include "scheduler/kube_garbage.h"

bool kube_may_lie(const struct kube_garbage *g, int64_t lain_us)
{
    bool patient = g->starting && !g->refused && g->lying <= g->most;
    return lain_us < (patient ? KUBE_GARBAGE_MOST_US : KUBE_GARBAGE_LEAST_US);
}
