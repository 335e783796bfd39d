/* A cycle: the queues' turns, and what comes of them.
 *
 * Only cohorts in which something changed are opened, and those with somebody who waits for nodes, since nodes are
 * everybody's. A group whose first does not fit is done with for this cycle: the others ask for the same, and room only
 * shrinks. So a cycle costs what it admits, plus one look at each group of what it opens. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

/* ---- what it says ---- */

void place_out_init(struct place_out *out, struct arena *a)
{
    *out = (struct place_out){.arena = a};
}

static void *out_grow(struct arena *a, void *v, size_t n, size_t *room, size_t size)
{
    if (n < *room) return v;
    size_t more = *room == 0 ? 16 : *room * 2;
    v = arena_grow(a, v, *room * size, more * size);
    *room = more;
    return v;
}

void out_admit(struct place *p, struct place_out *out, uint32_t w)
{
    const struct work *k = &p->works[w];
    uint32_t pods = work_key(p, k)->pods, *nodes = arena_array(out->arena, uint32_t, pods);
    for (uint32_t i = 0; i < pods; i++)
        nodes[i] = k->pods[i].node;
    struct demand d = demand_of(work_key(p, k), k->flavor);
    out->admitted = out_grow(out->arena, out->admitted, out->n_admitted, &out->room_admitted, sizeof *out->admitted);
    out->admitted[out->n_admitted++] = (struct place_admitted){.id = k->id,
                                                               .flavor = k->flavor,
                                                               .pods = pods,
                                                               .nodes = nodes,
                                                               .borrows = quota_borrows(&p->queues[k->queue], &d) != 0};
}

void out_victim(struct place_out *out, uint64_t id, uint64_t by)
{
    out->victims = out_grow(out->arena, out->victims, out->n_victims, &out->room_victims, sizeof *out->victims);
    out->victims[out->n_victims++] = (struct place_victim){id, by};
}

/* ---- turns ---- */

static uint32_t first_of(const struct place *p, uint32_t group)
{
    return p->groups[group].members.v[0];
}

static bool group_before(const struct place *p, uint32_t a, uint32_t b)
{
    return work_before(p, first_of(p, a), first_of(p, b));
}

static const struct heap_rule groups_rule = {group_before, NULL};

static bool queue_before(const struct place *p, uint32_t a, uint32_t b)
{
    const struct queue *x = &p->queues[a], *y = &p->queues[b];
    if (x->share < y->share || x->share > y->share) return x->share < y->share;
    if (x->use < y->use || x->use > y->use) return x->use < y->use;
    return work_before(p, first_of(p, x->order.v[0]), first_of(p, y->order.v[0]));
}

static void queue_moved(struct place *p, uint32_t item, uint32_t at)
{
    p->queues[item].at = at;
}

static const struct heap_rule turns_rule = {queue_before, queue_moved};

void turn_changed(struct place *p, struct queue *q)
{
    bool waits = q->opened == p->cycle && q->at < p->turn.n && &p->queues[p->turn.v[q->at]] == q;
    if (!waits) return;
    quota_shares(p, q);
    heap_mend(p, &turns_rule, &p->turn, q->at);
}

static void open_queue(struct place *p, uint32_t i)
{
    struct queue *q = &p->queues[i];
    q->opened = p->cycle;
    q->holds = PLACE_NONE;
    q->order.n = 0;
    for (uint32_t k = q->n_groups; k-- > 0;) {
        if (p->groups[q->groups[k]].members.n == 0)
            group_drop(p, q->groups[k]);
        else
            heap_push(p, &groups_rule, &q->order, q->groups[k]);
    }
    for (uint32_t k = 0; k < q->order.n; k++)
        contests_join(p, &p->groups[q->order.v[k]]);
    if (q->order.n == 0) return;
    quota_shares(p, q);
    heap_push(p, &turns_rule, &p->turn, i);
}

static void open_all(struct place *p)
{
    p->turn.n = 0;
    p->n_holds = 0;
    p->held_least = INT32_MAX;
    contests_open(p);
    for (uint32_t i = 0; i < p->n_cohorts; i++) {
        struct cohort *c = &p->cohorts[i];
        if (!c->dirty && !c->waits_for_nodes) continue;
        c->dirty = c->waits_for_nodes = false;
        c->holds = PLACE_NONE;
        for (uint32_t k = 0; k < c->n_queues; k++)
            open_queue(p, c->queues[k]);
    }
    p->dirty = false;
}

/* ---- one workload ---- */

/* Where there is room for none of a shape there is none for its like, until the cycle is over. */
static bool no_room(struct place *p, struct shape *shape, struct shortage *s)
{
    s->stage = STAGE_NODES;
    if (shape->full[s->choice] == p->cycle) return false;
    shape->full[s->choice] = p->cycle;
    shape->most[s->choice] = (struct most){{0}};
    shape->open[s->choice] = shape->closed[s->choice] = 0;
    const struct seats *seats = seats_of(p, s->flavor);
    for (uint32_t i = 0; i < seats->n; i++) {
        const struct node *n = &p->nodes[seats->v[i].node];
        if (!selector_takes(&shape->key, n)) continue;
        if (n->schedulable) most_add(&shape->most[s->choice], n, seats->v[i].offer, &shape->key, false);
        shape->open[s->choice] += n->schedulable;
        shape->closed[s->choice] += !n->schedulable;
    }
    int64_t *gpus = &shape->most[s->choice].of[PLACE_RESOURCE_GPU];
    int64_t leaves = adrift_leaves(p, &shape->key, s->flavor, IN_BOTH);
    if (*gpus > leaves) *gpus = leaves;
    return false;
}

static bool try_flavor(struct place *p, uint32_t w, int64_t end_us, struct shortage *s)
{
    struct work *k = &p->works[w];
    struct shape *shape = &p->shapes[k->shape];
    struct queue *q = &p->queues[k->queue];
    struct demand d = demand_of(&shape->key, s->flavor);
    s->held_by = PLACE_NONE;
    if (!quota_fits(p, q, LOGICAL, &d, s) || !quota_fits(p, q, PHYSICAL, &d, s)) return false;
    if (shape->full[s->choice] == p->cycle && p->preemptor <= p->held_least) return no_room(p, shape, s);
    if (!holds_allow(p, q, &d, end_us, s)) return false;
    if (!nodes_find(p, &shape->key, s->flavor, IN_BOTH, end_us, &k->pods, &shape->pods_fit[s->choice]))
        return no_room(p, shape, s);
    k->flavor = s->flavor;
    quota_book(p, q, IN_BOTH, &d, 1);
    holds_book(p, q, &d, end_us);
    return true;
}

/* The first flavor that does; else *worst says what the one that came furthest lacks. */
static bool try_all(struct place *p, uint32_t w, uint32_t possible, struct shortage *worst)
{
    const struct shape_key *key = work_key(p, &p->works[w]);
    int64_t end_us = key->expect_us > 0 ? sum_capped(p->now, key->expect_us) : INT64_MAX;
    uint32_t choices = key->n_flavors > 0 ? key->n_flavors : 1;
    for (uint32_t i = 0; i < choices; i++) {
        if (!(possible >> i & 1)) continue;
        struct shortage s = {.choice = i, .flavor = key->n_flavors > 0 ? key->flavors[i] : PLACE_NONE};
        if (try_flavor(p, w, end_us, &s)) return true;
        if (s.stage > worst->stage) *worst = s;
    }
    return false;
}

static void possible_now(struct place *p, struct group *g)
{
    if (g->version == p->version) return;
    g->version = p->version;
    why_possible(p, &p->queues[g->queue], &p->shapes[g->shape].key, &g->possible, &g->why);
}

/* Reservations of nodes do not keep from starting, or from preempting, who may preempt and is of higher priority. */
static int32_t preemptor(const struct place *p, const struct queue *q, uint32_t w)
{
    bool may = q->within != PLACE_PREEMPT_NEVER || q->reclaim != PLACE_PREEMPT_NEVER;
    return may ? p->works[w].priority : INT32_MIN;
}

/* Admits or promises the first of the group; false: neither, and no other of it. Before the turns, early, nodes are
 * reserved for it, and nothing of what its cohort has. */
static bool decide(struct place *p, uint32_t group, bool early, struct place_out *out)
{
    struct group *g = &p->groups[group];
    struct queue *q = &p->queues[g->queue];
    struct shortage s = {.stage = STAGE_FLAVOR, .flavor = PLACE_NONE};
    uint32_t w = first_of(p, group);
    possible_now(p, g);
    if (g->possible == 0) return false;
    p->preemptor = preemptor(p, q, w);
    if (try_all(p, w, g->possible, &s)) {
        work_unqueue(p, w);
        work_start(p, w, p->now);
        contests_started(p, w);
        out_admit(p, out, w);
        return true;
    }
    uint32_t before = holds_for(p, q->holds, s.flavor);
    bool first = before == PLACE_NONE;
    if (first && preempt_try(p, w, g->possible, out)) return true;
    g->why = why_short(p, q, &p->shapes[g->shape], &s, before);
    if (s.stage == STAGE_NODES) p->cohorts[q->cohort].waits_for_nodes = true;
    if (first && hold_make(p, w, &s, !early) && s.stage == STAGE_NODES) passed_count(p, w, s.flavor, g->why.resource);
    return false;
}

static bool decide_at(struct place *p, struct queue *q, uint32_t at, bool early, struct place_out *out)
{
    uint32_t group = q->order.v[at];
    bool done = decide(p, group, early, out);
    if (done && p->groups[group].members.n > 0)
        heap_mend(p, &groups_rule, &q->order, at);
    else
        heap_remove(p, &groups_rule, &q->order, at);
    return done;
}

static void turn_over(struct place *p, struct queue *q)
{
    if (q->order.n == 0) {
        heap_remove(p, &turns_rule, &p->turn, q->at);
        return;
    }
    quota_shares(p, q);
    heap_mend(p, &turns_rule, &p->turn, q->at);
}

/* Who has the turn keeps it until something of its starts. */
static void turn(struct place *p, struct place_out *out)
{
    struct queue *q = &p->queues[p->turn.v[0]];
    bool done = false;
    while (!done && q->order.n > 0)
        done = decide_at(p, q, 0, false, out);
    turn_over(p, q);
}

/* Before the turns: of each flavor's nodes, who has been passed too often. */
static void overdue(struct place *p, size_t most, struct place_out *out)
{
    for (uint32_t slot = 0; slot <= p->n_flavors && out->n_admitted < most; slot++) {
        uint32_t w, at;
        if (!passed_next(p, slot, &w, &at)) continue;
        struct queue *q = &p->queues[p->works[w].queue];
        decide_at(p, q, at, true, out);
        turn_over(p, q);
    }
}

bool place_cycle(struct place *p, int64_t now_us, uint32_t limit, struct place_out *out)
{
    p->cycle++;
    p->now = now_us;
    seats_renew(p);
    promises_redeem(p, out);
    if (!p->dirty) return false;
    size_t most = limit == 0 ? SIZE_MAX : out->n_admitted + limit;
    open_all(p);
    overdue(p, most, out);
    while (p->turn.n > 0 && out->n_admitted < most)
        turn(p, out);
    for (uint32_t i = 0; i < p->turn.n; i++)
        place_touch(p, p->turn.v[i]);
    return p->turn.n > 0;
}
