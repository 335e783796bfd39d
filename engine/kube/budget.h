/* How fast requests may go out: a token bucket, and the holds that servers ask for. Pure: time comes with the call. */
#ifndef MILLRACE_KUBE_BUDGET_H
#define MILLRACE_KUBE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct kube_budget {
    double rate, burst, tokens; /* rate: per second */
    int64_t at_us, held_until_us;
};

void kube_budget_init(struct kube_budget *b, double rate, double burst, int64_t now_us);
bool kube_budget_take(struct kube_budget *b, int64_t now_us);         /* one request; false: not yet */
int64_t kube_budget_due(const struct kube_budget *b, int64_t now_us); /* when take would succeed */
void kube_budget_hold(struct kube_budget *b, int64_t until_us);       /* nothing before; the longest hold counts */

/* How long before try `n` (from 1): growing from `first` to `most`, by `random` between half and one and a half times
 * that, so that many who failed together do not come back together. */
int64_t kube_pause_us(uint32_t n, int64_t first_us, int64_t most_us, uint64_t random);

#endif
