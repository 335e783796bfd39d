/* Who has been passed for too long.
 *
 * A turn goes to the queue that uses least, and what has just become free to who has the turn: a wide workload never
 * sees enough of it as long as a queue with a smaller part has small ones. So it is counted what younger ones, of no
 * higher priority, take of what the first of a queue lacks before it has its reservation. Once that is PASSES times
 * what it needs itself, on the average of the queues that ask for these nodes, it is looked at before the turns until
 * it starts: one for the nodes of a flavor at a time. Age alone is no right: as long as each queue has its turn, none
 * is passed that often. */
#include "engine/place/place_inner.h"

/* Shares of up to eight to one, be it by weight or by quota, are what the turns alone make of them. */
#define PASSES 8.0

static uint32_t slot_of(const struct place *p, uint32_t flavor)
{
    return flavor == PLACE_NONE ? p->n_flavors : flavor;
}

void contests_open(struct place *p)
{
    p->n_started = 0;
    for (uint32_t i = 0; i <= p->n_flavors; i++) {
        p->contests[i].queues = 0;
        p->contests[i].last = PLACE_NONE;
    }
}

void contests_join(struct place *p, const struct group *g)
{
    const struct shape_key *key = &p->shapes[g->shape].key;
    for (uint32_t i = 0; i < (key->n_flavors > 0 ? key->n_flavors : 1); i++) {
        struct contest *c = &p->contests[key->n_flavors > 0 ? key->flavors[i] : p->n_flavors];
        c->queues += c->last != g->queue;
        c->last = g->queue;
    }
}

void contests_leave(struct place *p, uint32_t w)
{
    p->works[w].passed = 0;
    for (uint32_t i = 0; i <= p->n_flavors; i++)
        if (p->contests[i].overdue == w) p->contests[i].overdue = PLACE_NONE;
}

void contests_started(struct place *p, uint32_t w)
{
    p->started = vec_grow(p->started, &p->room_started, p->n_started + 1, sizeof *p->started);
    p->started[p->n_started++] = w;
}

static double amount(const struct shape_key *key, enum place_resource of)
{
    return of == PLACE_RESOURCE_GPU ? (double)key->gpu : (double)(of == PLACE_RESOURCE_CPU ? key->cpu : key->memory);
}

/* The part of what is lacking that v has on the other's nodes. A start is no more than one pass. */
static double taken(const struct place *p, const struct work *k, uint32_t flavor, enum place_resource lacks,
                    const struct work *v)
{
    const struct shape_key *key = work_key(p, k), *by = work_key(p, v);
    double need = key->pods * amount(key, lacks), sum = 0;
    if (lacks == PLACE_RESOURCE_GPU && v->flavor != flavor) return 0;
    for (uint32_t i = 0; i < by->pods; i++) {
        const struct node *n = &p->nodes[v->pods[i].node];
        bool its = flavor == PLACE_NONE || node_offer(n, flavor) != PLACE_NONE;
        if (its && selector_takes(key, n)) sum += amount(by, lacks);
    }
    return sum < need ? sum / need : sum > 0;
}

/* Priority is of a queue alone: who is older than one of another queue has not passed it. Of its own queue who is
 * younger and no more important comes after it, but for one that is looked at before the turns, for other nodes. */
static bool passes(const struct work *v, const struct work *k)
{
    bool younger = v->submit_us != k->submit_us ? v->submit_us > k->submit_us : v->id > k->id;
    return younger && v->priority <= k->priority;
}

void passed_count(struct place *p, uint32_t w, uint32_t flavor, enum place_resource lacks)
{
    struct work *k = &p->works[w];
    uint32_t slot = slot_of(p, flavor);
    struct contest *c = &p->contests[slot];
    double others = c->queues > 2 ? c->queues - 1 : 1;
    for (uint32_t i = 0; i < p->n_started && k->passed < PASSES; i++) {
        const struct work *v = &p->works[p->started[i]];
        if (passes(v, k)) k->passed += taken(p, k, flavor, lacks, v) / others;
    }
    if (k->passed < PASSES) return;
    bool holds = p->node_held[slot] == p->cycle && p->node_for[slot] == c->overdue;
    if (c->overdue == PLACE_NONE || (!holds && work_before(p, w, c->overdue))) c->overdue = w;
}

/* Is it still the first of its queue that waits for the flavor, and for nodes alone? Then where its group is. */
static bool waits(struct place *p, uint32_t w, uint32_t flavor, uint32_t *at)
{
    const struct work *k = &p->works[w];
    const struct queue *q = &p->queues[k->queue];
    struct demand d = demand_of(work_key(p, k), flavor);
    struct shortage s;
    *at = PLACE_NONE;
    if (q->opened != p->cycle || p->groups[k->group].members.v[0] != w) return false;
    for (uint32_t i = 0; i < q->order.n; i++) {
        const struct group *g = &p->groups[q->order.v[i]];
        if (q->order.v[i] == k->group) *at = i;
        bool lacks_it = g->why.reason == PLACE_NO_REASON || (g->possible != 0 && g->why.flavor == flavor);
        if (lacks_it && work_before(p, g->members.v[0], w)) return false;
    }
    return *at != PLACE_NONE && quota_fits(p, q, LOGICAL, &d, &s) && quota_fits(p, q, PHYSICAL, &d, &s);
}

bool passed_next(struct place *p, uint32_t slot, uint32_t *w, uint32_t *at)
{
    *w = p->contests[slot].overdue;
    p->contests[slot].overdue = PLACE_NONE; /* until it is seen to wait again */
    return *w != PLACE_NONE && waits(p, *w, slot < p->n_flavors ? slot : PLACE_NONE, at);
}
