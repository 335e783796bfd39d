/* Preemption: who gives way, and what is promised to those they give way to.
 *
 * Two kinds of victims: lower priorities of the same queue, and those of other queues of the cohort that borrow, for a
 * workload that stays within its own queue's nominal quota. As few as may be: those who turn out not to be needed are
 * let off. The room is booked for the preemptor at once, and a victim is not preempted again before something has come
 * from outside; so each cycle of preemptions ends. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

struct attempt {
    struct place *p;
    uint32_t work, flavor;
    const struct shape_key *key;
    struct queue *q;
    struct demand need;
};

/* Does it lack room on nodes, were nothing but that resource asked for? */
static bool nodes_lack(const struct attempt *a, unsigned resource)
{
    struct shape_key one = *a->key;
    uint32_t fit;
    if (resource != 0) one.cpu = 0;
    if (resource != 1) one.memory = 0;
    if (resource != 2) one.gpu = 0;
    return !nodes_room(a->p, &one, a->flavor, IN(LOGICAL), INT64_MAX, &fit);
}

static bool fits(const struct attempt *a, struct shortage *s)
{
    uint32_t fit;
    s->stage = STAGE_NODES;
    return quota_fits(a->p, a->q, LOGICAL, &a->need, s) &&
           nodes_room(a->p, a->key, a->flavor, IN(LOGICAL), INT64_MAX, &fit);
}

/* Which of the demand is short, as bits; 0: it fits. */
static unsigned lacks(const struct attempt *a)
{
    struct shortage s;
    unsigned bits = 0;
    if (fits(a, &s)) return 0;
    if (s.stage != STAGE_NODES) return 1U << s.which;
    for (unsigned i = 0; i < 3; i++)
        if (nodes_lack(a, i)) bits |= 1U << i;
    return bits != 0 ? bits : 7; /* each is somewhere, but not together */
}

/* What it has of the demand, as bits. */
static unsigned uses(const struct attempt *a, const struct work *v)
{
    struct demand has = demand_of(work_key(a->p, v), v->flavor);
    unsigned bits = 0;
    for (unsigned i = 0; i < 3; i++)
        if (has.res[i] == a->need.res[i] && has.amount[i] > 0 && a->need.amount[i] > 0) bits |= 1U << i;
    return bits;
}

static bool of_use(const struct attempt *a, const struct work *v)
{
    return v->state == PLACE_RUNNING && v->bumped != a->p->epoch && uses(a, v) != 0;
}

static void pick(struct place *p, uint32_t w)
{
    p->picked = vec_grow(p->picked, &p->room_picked, p->n_picked + 1, sizeof *p->picked);
    p->picked[p->n_picked++] = w;
}

static void pick_of(const struct attempt *a, const struct queue *from, bool any)
{
    const struct work *w = &a->p->works[a->work];
    for (uint32_t i = 0; i < from->n_running; i++) {
        const struct work *v = &a->p->works[from->running[i]];
        if (of_use(a, v) && (any || v->priority < w->priority)) pick(a->p, from->running[i]);
    }
}

static void pick_all(const struct attempt *a)
{
    const struct cohort *c = &a->p->cohorts[a->q->cohort];
    a->p->n_picked = 0;
    if (a->q->within != PLACE_PREEMPT_NEVER) pick_of(a, a->q, false);
    if (a->q->reclaim == PLACE_PREEMPT_NEVER || !quota_nominal(a->q, &a->need)) return;
    for (uint32_t i = 0; i < c->n_queues; i++) {
        const struct queue *from = &a->p->queues[c->queues[i]];
        if (from != a->q && quota_borrows(from, &a->need)) pick_of(a, from, a->q->reclaim == PLACE_PREEMPT_ANY);
    }
}

/* Does another queue lose of its own, too? */
static bool loses_own(const struct attempt *a, const struct work *v)
{
    const struct queue *from = &a->p->queues[v->queue];
    return from != a->q && (uses(a, v) & ~quota_borrows(from, &a->need)) != 0;
}

/* Who borrows goes first, then the less important, those who have nothing but what is borrowed, and who has done the
 * least. */
static int by_worth(const void *x, const void *y, void *ctx)
{
    const struct attempt *a = ctx;
    const struct work *v = &a->p->works[*(const uint32_t *)x], *w = &a->p->works[*(const uint32_t *)y];
    bool mine = &a->p->queues[v->queue] == a->q, his = &a->p->queues[w->queue] == a->q;
    if (mine != his) return mine ? 1 : -1;
    if (v->priority != w->priority) return v->priority < w->priority ? -1 : 1;
    bool own = loses_own(a, v), theirs = loses_own(a, w);
    if (own != theirs) return own ? 1 : -1;
    bool cpu = work_key(a->p, v)->gpu == 0, other = work_key(a->p, w)->gpu == 0;
    if (cpu != other && a->key->gpu > 0) return cpu ? 1 : -1;
    if (v->started_us != w->started_us) return v->started_us > w->started_us ? -1 : 1;
    return (v->id < w->id) - (v->id > w->id);
}

/* Would it be given back some of what is short? From another queue, nothing but what that borrows. */
static bool gives(const struct attempt *a, const struct work *v, unsigned shortage)
{
    const struct queue *from = &a->p->queues[v->queue];
    return (uses(a, v) & shortage & (from == a->q ? 7 : quota_borrows(from, &a->need))) != 0;
}

static void to_front(uint32_t *picked, uint32_t n, uint32_t i)
{
    uint32_t v = picked[i];
    memmove(&picked[n + 1], &picked[n], (i - n) * sizeof *picked);
    picked[n] = v;
}

/* Takes victims until it fits; how many of the picked, moved to the front; 0 when all together do not do. */
static uint32_t choose(const struct attempt *a)
{
    struct place *p = a->p;
    uint32_t n = 0;
    unsigned shortage = lacks(a);
    for (uint32_t i = 0; i < p->n_picked && shortage != 0;) {
        uint32_t v = p->picked[i];
        if (!gives(a, &p->works[v], shortage)) {
            i++;
            continue;
        }
        work_book(p, &p->works[v], IN(LOGICAL), -1);
        to_front(p->picked, n++, i);
        unsigned now = lacks(a);
        i = now == shortage ? i + 1 : n; /* something else is short now: those that were left have it, maybe */
        shortage = now;
    }
    bool enough = shortage == 0;
    struct shortage s;
    for (uint32_t i = n; i-- > 0;) { /* those who are not needed; all of them when it was in vain */
        uint32_t v = p->picked[i];
        work_book(p, &p->works[v], IN(LOGICAL), 1);
        if (enough && !fits(a, &s)) {
            work_book(p, &p->works[v], IN(LOGICAL), -1);
            continue;
        }
        p->picked[i] = p->picked[--n];
        p->picked[n] = v;
    }
    return n;
}

static void promise(const struct attempt *a, uint32_t n, struct place_out *out)
{
    struct place *p = a->p;
    struct work *w = &p->works[a->work];
    for (uint32_t i = 0; i < n; i++) {
        struct work *v = &p->works[p->picked[i]];
        v->state = PLACE_STOPPING;
        v->by = w->id;
        v->bumped = p->epoch;
        v->preempted++;
        p->n_stopping++;
        out_victim(out, v->id, w->id);
        turn_changed(p, &p->queues[v->queue]);
    }
    uint32_t fit;
    work_unqueue(p, a->work);
    w->flavor = a->flavor;
    w->state = PLACE_PROMISED;
    if (!nodes_find(p, a->key, a->flavor, IN(LOGICAL), INT64_MAX, &w->pods, &fit)) abort(); /* choose() saw room */
    quota_book(p, a->q, IN(LOGICAL), &a->need, 1);
    holds_book(p, a->q, &a->need, INT64_MAX);
    p->promised = vec_grow(p->promised, &p->room_promised, p->n_promised + 1, sizeof *p->promised);
    p->promised[p->n_promised++] = a->work;
}

bool preempt_try(struct place *p, uint32_t w, uint32_t possible, struct place_out *out)
{
    const struct work *k = &p->works[w];
    struct attempt a = {.p = p, .work = w, .key = work_key(p, k), .q = &p->queues[k->queue]};
    if (a.q->within == PLACE_PREEMPT_NEVER && a.q->reclaim == PLACE_PREEMPT_NEVER) return false;
    uint32_t choices = a.key->n_flavors > 0 ? a.key->n_flavors : 1;
    for (uint32_t i = 0; i < choices; i++) {
        if (!(possible >> i & 1)) continue;
        a.flavor = a.key->n_flavors > 0 ? a.key->flavors[i] : PLACE_NONE;
        a.need = demand_of(a.key, a.flavor);
        pick_all(&a);
        struct shortage s;
        if (p->n_picked == 0 || fits(&a, &s)) continue; /* fits: it waits for those who stop, or for a reservation */
        qsort_r(p->picked, p->n_picked, sizeof *p->picked, by_worth, &a);
        uint32_t n = choose(&a);
        if (n == 0) continue;
        promise(&a, n, out);
        return true;
    }
    return false;
}

/* ---- when they have stopped ---- */

static bool pods_take(struct place *p, const struct work *w)
{
    const struct shape_key *key = work_key(p, w);
    uint32_t i = 0;
    for (; i < key->pods; i++) {
        struct node *n = &p->nodes[w->pods[i].node];
        uint32_t offer = node_offer(n, w->flavor);
        if (!node_takes(n, offer, key, PHYSICAL, &w->pods[i])) break;
        node_book(n, offer, key, IN(PHYSICAL), 1, &w->pods[i]);
    }
    if (i == key->pods) return true;
    while (i-- > 0) {
        struct node *n = &p->nodes[w->pods[i].node];
        node_book(n, node_offer(n, w->flavor), key, IN(PHYSICAL), -1, &w->pods[i]);
    }
    return false;
}

/* It cannot start there any more, or not for long: whoever was promised room looks for other room. */
static bool closed(const struct place *p, const struct work *w)
{
    const struct shape_key *key = work_key(p, w);
    for (uint32_t i = 0; i < key->pods; i++) {
        const struct node *n = &p->nodes[w->pods[i].node];
        if (!n->schedulable || !selector_takes(key, n)) return true;
    }
    return false;
}

void promises_redeem(struct place *p, struct place_out *out)
{
    for (uint32_t i = 0; i < p->n_promised;) {
        uint32_t w = p->promised[i];
        struct work *k = &p->works[w];
        struct queue *q = &p->queues[k->queue];
        struct demand d = demand_of(work_key(p, k), k->flavor);
        struct shortage s;
        if (closed(p, k)) {
            promise_take_back(p, w);
        } else if (quota_fits(p, q, PHYSICAL, &d, &s) && pods_take(p, k)) {
            quota_book(p, q, IN(PHYSICAL), &d, 1);
            memmove(&p->promised[i], &p->promised[i + 1], (--p->n_promised - i) * sizeof *p->promised);
            work_start(p, w, p->now);
            out_admit(p, out, w);
        } else if (p->n_stopping == 0) {
            promise_take_back(p, w); /* something else is in its place */
        } else {
            i++;
        }
    }
}
