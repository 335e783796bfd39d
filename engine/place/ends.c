/* The known ends of those who run, by cohort and in order, and what its queues will use of quota after each.
 *
 * The reservations of a cohort, one or more of each queue, all ask this: so it is reckoned once, and anew only when
 * something was booked since. */
#include <string.h>

#include "engine/place/place_inner.h"

bool ends_before(const struct place *p, uint32_t a, uint32_t b)
{
    const struct work *x = &p->works[a], *y = &p->works[b];
    return x->end_us != y->end_us ? x->end_us < y->end_us : x->id < y->id;
}

int64_t end_after_now(const struct place *p, uint32_t w)
{
    return p->works[w].end_us > p->now ? p->works[w].end_us : p->now + 1; /* late: any moment */
}

static uint32_t place_in(const struct place *p, const struct cohort *c, uint32_t w)
{
    uint32_t from = 0, to = c->n_ends;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (ends_before(p, c->ends[middle], w))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

void ends_add(struct place *p, uint32_t w)
{
    struct cohort *c = &p->cohorts[p->queues[p->works[w].queue].cohort];
    if (p->works[w].end_us == INT64_MAX) return;
    uint32_t at = place_in(p, c, w);
    c->ends = vec_grow(c->ends, &c->room_ends, c->n_ends + 1, sizeof *c->ends);
    memmove(&c->ends[at + 1], &c->ends[at], (c->n_ends++ - at) * sizeof *c->ends);
    c->ends[at] = w;
    c->bookings++;
}

void ends_remove(struct place *p, uint32_t w)
{
    struct cohort *c = &p->cohorts[p->queues[p->works[w].queue].cohort];
    if (p->works[w].end_us == INT64_MAX) return;
    uint32_t at = place_in(p, c, w);
    memmove(&c->ends[at], &c->ends[at + 1], (--c->n_ends - at) * sizeof *c->ends);
    c->bookings++;
}

uint32_t ends_by(const struct place *p, const struct cohort *c, int64_t until)
{
    uint32_t from = 0, to = c->n_ends;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (end_after_now(p, c->ends[middle]) <= until)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static void release(struct place *p, const struct work *w, uint32_t flavor, int64_t *used)
{
    struct queue *q = &p->queues[w->queue];
    struct demand d = demand_of(work_key(p, w), w->flavor);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t r = d.res[i];
        if (r == PLACE_NONE || (i == 2 && w->flavor != flavor)) continue;
        int64_t before = q->planned[i];
        q->planned[i] -= d.amount[i];
        if (q->quota[r].nominal != PLACE_UNLIMITED)
            used[i] -= quota_over(q->local[r], before) - quota_over(q->local[r], q->planned[i]);
    }
}

const struct curve *curve_of(struct place *p, struct cohort *c, uint32_t flavor)
{
    struct curve *curve = &c->curves[flavor];
    const uint32_t res[3] = {RES_CPU, RES_MEMORY, RES_FLAVOR + flavor};
    if (curve->bookings == c->bookings) return curve;
    curve->bookings = c->bookings;
    curve->used = vec_grow(curve->used, &curve->room, c->n_ends + 1, sizeof *curve->used);
    for (uint32_t i = 0; i < 3; i++) {
        curve->used[0][i] = res[i] < p->n_res ? c->used[LOGICAL][res[i]] : 0;
        for (uint32_t k = 0; k < c->n_queues; k++)
            p->queues[c->queues[k]].planned[i] = res[i] < p->n_res ? p->queues[c->queues[k]].used[LOGICAL][res[i]] : 0;
    }
    for (uint32_t k = 0; k < c->n_ends; k++) {
        const struct work *w = &p->works[c->ends[k]];
        memcpy(curve->used[k + 1], curve->used[k], sizeof *curve->used);
        if (w->state == PLACE_RUNNING) release(p, w, flavor, curve->used[k + 1]);
    }
    return curve;
}
