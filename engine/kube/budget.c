/* See budget.h. */
#include "engine/kube/budget.h"

void kube_budget_init(struct kube_budget *b, double rate, double burst, int64_t now_us)
{
    if (burst < 1) burst = 1;
    *b = (struct kube_budget){.rate = rate, .burst = burst, .tokens = burst, .at_us = now_us, .held_until_us = now_us};
}

static double tokens_at(const struct kube_budget *b, int64_t now_us)
{
    double tokens = b->tokens + (double)(now_us > b->at_us ? now_us - b->at_us : 0) * b->rate / 1e6;
    return tokens < b->burst ? tokens : b->burst;
}

bool kube_budget_take(struct kube_budget *b, int64_t now_us)
{
    if (now_us < b->held_until_us) return false;
    b->tokens = tokens_at(b, now_us);
    if (now_us > b->at_us) b->at_us = now_us;
    if (b->tokens < 1) return false;
    b->tokens -= 1;
    return true;
}

int64_t kube_budget_due(const struct kube_budget *b, int64_t now_us)
{
    double lacks = 1 - tokens_at(b, now_us);
    /* A microsecond more than computed: rounding must not make it too early, and the loop turn in vain. */
    int64_t due = lacks > 0 ? now_us + (int64_t)(lacks * 1e6 / b->rate) + 1 : now_us;
    return due > b->held_until_us ? due : b->held_until_us;
}

void kube_budget_hold(struct kube_budget *b, int64_t until_us)
{
    if (until_us > b->held_until_us) b->held_until_us = until_us;
}

int64_t kube_pause_us(uint32_t n, int64_t first_us, int64_t most_us, uint64_t random)
{
    int64_t pause = first_us;
    for (uint32_t i = 1; i < n && pause < most_us; i++)
        pause *= 2;
    if (pause > most_us) pause = most_us;
    return pause / 2 + (int64_t)(random % (uint64_t)(pause + 1));
}
