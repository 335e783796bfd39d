/* Reservations (EASY backfill): what the first that waits is going to have, and who may pass it nevertheless.
 *
 * A reservation has a time: when, by what is known of those who run, there will be room. Who ends before that time
 * takes nothing away. Who does not must fit beside what will be used then, the reservation included. Whoever runs with
 * an unknown end is taken to run then. If there will not be room by the known ends alone, the time is unknown, and
 * everything that is used now counts.
 *
 * Quota is reserved in the queue, and by the first of a cohort for a flavor also in the cohort; nodes by the first of
 * all for a flavor. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

/* The amount of the hold's i-th resource in another demand. */
static int64_t of_same(const struct hold *h, uint32_t i, const struct demand *d)
{
    return h->need.res[i] != PLACE_NONE && h->need.amount[i] > 0 && d->res[i] == h->need.res[i] ? d->amount[i] : 0;
}

/* How much more of the cohort's a queue takes. */
static int64_t of_cohort(const struct hold *h, const struct queue *q, bool own, uint32_t i, int64_t amount)
{
    uint32_t r = h->need.res[i];
    int64_t used = own ? h->queue_used[i] : q->used[LOGICAL][r];
    return quota_over(q->local[r], used + amount) - quota_over(q->local[r], used);
}

static bool allows(const struct place *p, const struct hold *h, const struct queue *q, const struct demand *d,
                   int64_t end_us, struct shortage *s)
{
    if (h->until != INT64_MAX && end_us <= h->until) return true;
    bool own = &p->queues[h->queue] == q;
    for (uint32_t i = 0; i < 3; i++) {
        int64_t amount = of_same(h, i, d);
        uint32_t r = h->need.res[i];
        if (amount == 0 || q->quota[r].nominal == PLACE_UNLIMITED) continue;
        int64_t limit = sum_capped(q->quota[r].nominal, q->quota[r].borrow);
        int64_t more = of_cohort(h, q, own, i, amount);
        bool queue_has = !own || limit == PLACE_UNLIMITED || h->queue_used[i] + amount <= limit;
        bool cohort_has = more == 0 || h->cohort_used[i] + more <= p->cohorts[q->cohort].quota[r];
        if (queue_has && cohort_has) continue;
        s->stage = queue_has ? STAGE_COHORT : STAGE_QUEUE;
        s->which = i;
        s->need = amount;
        s->held_by = h->work;
        s->until = h->until;
        return false;
    }
    return true;
}

static void book(struct place *p, uint32_t chain, const struct queue *q, const struct demand *d, int64_t end_us)
{
    for (; chain != PLACE_NONE; chain = p->holds[chain].next) {
        struct hold *h = &p->holds[chain];
        if (!h->made || (h->until != INT64_MAX && end_us <= h->until)) continue;
        bool own = &p->queues[h->queue] == q;
        for (uint32_t i = 0; i < 3; i++) {
            int64_t amount = of_same(h, i, d);
            if (amount == 0 || q->quota[h->need.res[i]].nominal == PLACE_UNLIMITED) continue;
            h->cohort_used[i] += of_cohort(h, q, own, i, amount);
            if (own) h->queue_used[i] += amount;
        }
    }
}

void holds_book(struct place *p, const struct queue *q, const struct demand *d, int64_t end_us)
{
    book(p, q->holds, q, d, end_us);
    book(p, p->cohorts[q->cohort].holds, q, d, end_us);
}

uint32_t holds_for(const struct place *p, uint32_t chain, uint32_t flavor)
{
    for (; chain != PLACE_NONE; chain = p->holds[chain].next)
        if (p->holds[chain].flavor == flavor) return p->holds[chain].work;
    return PLACE_NONE;
}

/* ---- when there will be room ---- */

static bool hold_fits(const struct place *p, const struct hold *h)
{
    const struct queue *q = &p->queues[h->queue];
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t r = h->need.res[i];
        if (r == PLACE_NONE || h->need.amount[i] == 0 || q->quota[r].nominal == PLACE_UNLIMITED) continue;
        int64_t limit = sum_capped(q->quota[r].nominal, q->quota[r].borrow);
        int64_t used = h->queue_used[i] + h->need.amount[i];
        int64_t more = quota_over(q->local[r], used) - quota_over(q->local[r], h->queue_used[i]);
        if (used > limit || (more > 0 && h->cohort_used[i] + more > p->cohorts[q->cohort].quota[r])) return false;
    }
    return true;
}

/* After so many of the known ends of its cohort. */
static void hold_after(const struct place *p, struct hold *h, const struct curve *curve, uint32_t n)
{
    const struct queue *q = &p->queues[h->queue];
    const struct cohort *c = &p->cohorts[q->cohort];
    for (uint32_t i = 0; i < 3; i++) {
        h->cohort_used[i] = curve->used[n][i];
        h->queue_used[i] = h->need.res[i] == PLACE_NONE ? 0 : q->used[LOGICAL][h->need.res[i]];
    }
    for (uint32_t k = 0; n > 0 && k < q->n_running; k++) {
        const struct work *w = &p->works[q->running[k]];
        if (w->state != PLACE_RUNNING || ends_before(p, c->ends[n - 1], q->running[k])) continue;
        struct demand d = demand_of(work_key(p, w), w->flavor);
        for (uint32_t i = 0; i < 3; i++)
            h->queue_used[i] -= of_same(h, i, &d);
    }
}

/* The first of the ends after which there is room; room once there is stays. */
static void hold_search(const struct place *p, struct hold *h, const struct curve *curve)
{
    const struct cohort *c = &p->cohorts[p->queues[h->queue].cohort];
    uint32_t from = 0, to = c->n_ends + 1;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        hold_after(p, h, curve, middle);
        if (hold_fits(p, h))
            to = middle;
        else
            from = middle + 1;
    }
    bool never = from > c->n_ends;
    if (from > 0) h->until = never ? INT64_MAX : end_after_now(p, c->ends[from - 1]);
    hold_after(p, h, curve, never ? 0 : from);
}

/* Most holds are never asked: what they amount to is reckoned when the first asks. */
static void hold_reckon(struct place *p, struct hold *h)
{
    const struct queue *q = &p->queues[h->queue];
    struct cohort *c = &p->cohorts[q->cohort];
    const struct curve *curve = curve_of(p, c, h->flavor == PLACE_NONE ? p->n_flavors : h->flavor);
    if (h->search)
        hold_search(p, h, curve);
    else
        hold_after(p, h, curve, ends_by(p, c, h->until));
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t r = h->need.res[i];
        if (r == PLACE_NONE) continue;
        int64_t used = h->queue_used[i];
        h->queue_used[i] += h->need.amount[i];
        h->cohort_used[i] += quota_over(q->local[r], h->queue_used[i]) - quota_over(q->local[r], used);
    }
    h->made = true;
}

/* What a queue has of its own is not kept for who would borrow it. */
static bool is_its_own(const struct place *p, const struct hold *h, const struct queue *q, const struct demand *d)
{
    const struct queue *other = &p->queues[h->queue];
    return other != q && quota_nominal(q, d) && !quota_nominal(other, &h->need);
}

bool holds_allow(struct place *p, const struct queue *q, const struct demand *d, int64_t end_us, struct shortage *s)
{
    for (int of = 0; of < 2; of++) {
        uint32_t h = of == 0 ? q->holds : p->cohorts[q->cohort].holds;
        for (; h != PLACE_NONE; h = p->holds[h].next) {
            if (of == 1 && is_its_own(p, &p->holds[h], q, d)) continue;
            if (!p->holds[h].made) hold_reckon(p, &p->holds[h]);
            if (!allows(p, &p->holds[h], q, d, end_us, s)) return false;
        }
    }
    return true;
}

/* ---- nodes ---- */

static void plan_on(struct place *p, struct node *n)
{
    if (n->held == p->cycle) return; /* for another flavor: what is left */
    node_copy(n, HELD, LOGICAL);
    n->planned = true;
}

static uint32_t seat_planned(const struct place *p, const struct shape_key *key, const struct seat *seat)
{
    const struct node *n = &p->nodes[seat->node];
    return n->schedulable ? node_room(n, seat->offer, key, IN(HELD), NULL) : 0;
}

/* By how much more room there is, since something has changed on the node. Seats are in the order of their nodes. */
static uint64_t seats_renewed(struct place *p, const struct shape_key *key, const struct seats *s, uint32_t node)
{
    uint32_t from = 0, to = s->n;
    uint64_t more = 0;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (s->v[middle].node < node)
            from = middle + 1;
        else
            to = middle;
    }
    for (; from < s->n && s->v[from].node == node; from++) {
        uint32_t room = seat_planned(p, key, &s->v[from]);
        more += room - p->fit[from];
        p->fit[from] = room;
    }
    return more;
}

static const struct heap_rule ends_rule = {ends_before, NULL};

/* Few of many are looked at: a heap is enough. */
static struct heap ends_of_all(struct place *p)
{
    struct heap all = {p->picked, 0, p->room_picked};
    for (uint32_t i = 0; i < p->n_cohorts; i++)
        for (uint32_t k = 0; k < p->cohorts[i].n_ends; k++)
            if (p->works[p->cohorts[i].ends[k]].state == PLACE_RUNNING)
                heap_push(p, &ends_rule, &all, p->cohorts[i].ends[k]);
    p->picked = all.v;
    p->room_picked = all.room;
    return all;
}

/* Ends of those who run are played through on HELD until there is room; the time, or INT64_MAX. */
static int64_t nodes_when(struct place *p, const struct shape_key *key, const struct seats *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->n; i++)
        sum += p->fit[i] = seat_planned(p, key, &s->v[i]);
    struct heap ends = ends_of_all(p);
    int64_t end = p->now + 1;
    for (; ends.n > 0 && sum < key->pods; heap_remove(p, &ends_rule, &ends, 0)) {
        const struct work *w = &p->works[ends.v[0]];
        end = end_after_now(p, ends.v[0]);
        for (uint32_t k = 0; k < work_key(p, w)->pods; k++) {
            struct node *n = w->pods[k].node == PLACE_NONE ? NULL : &p->nodes[w->pods[k].node];
            if (n == NULL || !n->planned) continue;
            node_book(n, node_offer(n, w->flavor), work_key(p, w), IN(HELD), -1, &w->pods[k]);
            sum += seats_renewed(p, key, s, w->pods[k].node);
        }
    }
    return sum < key->pods ? INT64_MAX : end;
}

static void node_hold(struct place *p, struct node *n, int64_t until, int32_t priority)
{
    if (n->held != p->cycle || n->held_until > until) n->held_until = until;
    if (n->held != p->cycle || n->held_priority < priority) n->held_priority = priority;
    if (p->held_least > priority) p->held_least = priority;
    n->held = p->cycle;
}

/* At a known time: best fit, on what is free then. */
static void hold_then(struct place *p, const struct shape_key *key, const struct seats *s, int64_t until,
                      int32_t priority)
{
    for (uint32_t left = key->pods; left > 0;) {
        uint32_t at = PLACE_NONE;
        int64_t best = INT64_MAX, score;
        for (uint32_t i = 0; i < s->n; i++) {
            if (p->fit[i] == 0) continue;
            node_room(&p->nodes[s->v[i].node], s->v[i].offer, key, IN(HELD), &score);
            if (score < best) best = score, at = i;
        }
        struct node *n = &p->nodes[s->v[at].node];
        struct pod pod;
        for (; left > 0 && p->fit[at] > 0; left--, p->fit[at]--)
            node_take(n, s->v[at].offer, key, IN(HELD), &pod);
        p->fit[at] = 0;
        node_hold(p, n, until, priority);
    }
}

/* Some day: the nodes with the most room now, so that what has become free stays so. Takes more than there is. */
static bool hold_some_day(struct place *p, const struct shape_key *key, const struct seats *s, int32_t priority)
{
    uint64_t ever = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        struct node *n = &p->nodes[s->v[i].node];
        p->fit[i] = n->schedulable ? node_ever(n, s->v[i].offer, key) : 0;
        ever += p->fit[i];
        if (n->held != p->cycle) node_copy(n, HELD, LOGICAL);
    }
    if (ever < key->pods) return false;
    for (uint32_t left = key->pods; left > 0;) {
        uint32_t at = PLACE_NONE;
        uint64_t best = 0;
        for (uint32_t i = 0; i < s->n; i++) {
            const struct node *n = &p->nodes[s->v[i].node];
            if (p->fit[i] == 0) continue;
            uint64_t now = node_room(n, s->v[i].offer, key, IN(HELD), NULL);
            uint64_t free = (uint64_t)node_most(n, s->v[i].offer, key, false);
            uint64_t rank = (now << 40) + (free >> 40 > 0 ? ((uint64_t)1 << 40) - 1 : free) + 1;
            if (rank > best) best = rank, at = i;
        }
        struct node *n = &p->nodes[s->v[at].node];
        struct pod pod;
        for (; left > 0 && p->fit[at] > 0; left--, p->fit[at]--)
            node_take(n, s->v[at].offer, key, IN(HELD), &pod);
        p->fit[at] = 0;
        node_hold(p, n, INT64_MIN, priority); /* nobody ends before a time that is not known */
    }
    return true;
}

/* False: no nodes that are there could ever hold it. */
static bool hold_nodes(struct place *p, uint32_t w, uint32_t flavor, int64_t *until)
{
    uint32_t slot = flavor == PLACE_NONE ? p->n_flavors : flavor;
    const struct shape_key *key = work_key(p, &p->works[w]);
    int32_t priority = p->works[w].priority;
    const struct seats *s = seats_of(p, flavor);
    *until = p->node_until[slot];
    if (p->node_held[slot] == p->cycle) return true;
    for (uint32_t i = 0; i < s->n; i++)
        plan_on(p, &p->nodes[s->v[i].node]);
    *until = nodes_when(p, key, s);
    for (uint32_t i = 0; i < s->n; i++)
        p->nodes[s->v[i].node].planned = false;
    if (*until != INT64_MAX)
        hold_then(p, key, s, *until, priority);
    else if (!hold_some_day(p, key, s, priority))
        return false;
    p->node_held[slot] = p->cycle;
    p->node_until[slot] = *until;
    p->node_for[slot] = w;
    return true;
}

/* ---- making one ---- */

static void chain(struct place *p, uint32_t *first, const struct hold *h)
{
    p->holds = vec_grow(p->holds, &p->room_holds, p->n_holds + 1, sizeof *p->holds);
    p->holds[p->n_holds] = *h;
    p->holds[p->n_holds].next = *first;
    *first = p->n_holds++;
}

bool hold_make(struct place *p, uint32_t w, const struct shortage *s, bool in_cohort)
{
    const struct work *k = &p->works[w];
    struct queue *q = &p->queues[k->queue];
    struct cohort *c = &p->cohorts[q->cohort];
    struct hold h = {.work = w, .queue = k->queue, .flavor = s->flavor, .need = demand_of(work_key(p, k), s->flavor)};
    bool others = s->held_by != PLACE_NONE; /* it waits for another reservation, and not before that one's time */
    if (s->stage == STAGE_NODES && !hold_nodes(p, w, s->flavor, &h.until)) return false;
    if (others && s->stage != STAGE_NODES) h.until = s->until;
    h.search = s->stage != STAGE_NODES && !others;
    chain(p, &q->holds, &h);
    bool of_queue = s->stage == STAGE_QUEUE || others;
    if (in_cohort && !of_queue && holds_for(p, c->holds, s->flavor) == PLACE_NONE) chain(p, &c->holds, &h);
    return true;
}
