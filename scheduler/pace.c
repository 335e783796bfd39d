/* See pace.h. */
#include "scheduler/pace.h"

#define NEARING 10

void pace_set(struct pace *p, int64_t wall_us, int64_t mono_us)
{
    *p = (struct pace){wall_us, mono_us};
}

int64_t pace_now(struct pace *p, int64_t wall_us, int64_t mono_us)
{
    int64_t passed = mono_us - p->mono_us, most = passed / NEARING;
    int64_t off = wall_us - (p->now_us + passed);
    if (off > most) off = most;
    if (off < -most) off = -most;
    p->now_us += passed + off;
    p->mono_us = mono_us;
    return p->now_us;
}
