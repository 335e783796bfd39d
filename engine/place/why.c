/* What could never be, and why the others wait. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

static const char *const reasons[] = {
#define X(id, name) [id] = (name),
    PLACE_REASONS(X)
#undef X
};

const char *place_reason_name(enum place_reason r)
{
    return r < PLACE_REASON_COUNT ? reasons[r] : "unknown";
}

/* ---- ever ---- */

static const enum place_resource resource_of[3] = {PLACE_RESOURCE_CPU, PLACE_RESOURCE_MEMORY, PLACE_RESOURCE_GPU};

static bool quota_possible(const struct place *p, const struct queue *q, const struct demand *d, struct place_why *why)
{
    for (uint32_t i = 0; i < 3; i++) {
        if (d->res[i] == PLACE_NONE || d->amount[i] == 0) continue;
        int64_t most = quota_ever(p, q, d->res[i]);
        if (d->amount[i] <= most) continue;
        why->reason = PLACE_EXCEEDS_QUOTA;
        why->resource = resource_of[i];
        why->need = d->amount[i];
        why->limit = most;
        return false;
    }
    return true;
}

static bool nodes_possible(const struct place *p, const struct shape_key *key, uint32_t flavor, struct place_why *why)
{
    uint64_t pods = 0;
    struct most most = {{0}};
    for (uint32_t i = 0; i < p->n_nodes && pods < key->pods; i++) {
        const struct node *n = &p->nodes[i];
        if (!n->alive) continue;
        uint32_t offer = flavor == PLACE_NONE ? PLACE_NONE : node_offer(n, flavor);
        if ((flavor != PLACE_NONE && offer == PLACE_NONE) || !selector_takes(key, n)) continue;
        why->nodes++;
        pods += node_ever(n, offer, key);
        most_add(&most, n, offer, key, true);
    }
    why->pods_fit = pods > key->pods ? key->pods : (uint32_t)pods;
    if (pods >= key->pods) return true;
    why->reason = PLACE_UNSCHEDULABLE;
    why->resource = most_lacks(&most, key, &why->need, &why->limit);
    return false;
}

/* Of the flavors that will not do, that one is told which comes nearest to it. */
static bool comes_further(const struct place_why *a, const struct place_why *b)
{
    if (a->reason != b->reason) return a->reason > b->reason;
    unsigned x = (a->resource + 1U) % 3, y = (b->resource + 1U) % 3; /* GPUs, CPU, memory: as they are looked at */
    return x != y ? x > y : a->limit > b->limit;
}

void why_possible(const struct place *p, const struct queue *q, const struct shape_key *key, uint32_t *possible,
                  struct place_why *why)
{
    uint32_t choices = key->n_flavors > 0 ? key->n_flavors : 1, bits = 0;
    struct place_why best = {.reason = PLACE_NO_SUCH_FLAVOR, .flavor = PLACE_NONE};
    for (uint32_t i = 0; i < choices; i++) {
        uint32_t flavor = key->n_flavors > 0 ? key->flavors[i] : PLACE_NONE;
        struct place_why one = {.reason = PLACE_NO_SUCH_FLAVOR, .flavor = flavor};
        struct demand d = demand_of(key, flavor);
        if ((flavor == PLACE_NONE || q->offered[flavor]) && quota_possible(p, q, &d, &one) &&
            nodes_possible(p, key, flavor, &one))
            bits |= 1U << i;
        else if (i == 0 || comes_further(&one, &best))
            best = one;
    }
    best.queue = (uint32_t)(q - p->queues);
    best.selector = key->selector;
    best.gpu = key->gpu;
    best.pods = key->pods;
    *possible = bits;
    if (bits == 0) *why = best;
}

bool place_feasible(struct place *p, const struct place_ask *ask, struct place_why *why, struct err *err)
{
    struct shape_key key;
    struct place_why found = {0};
    uint32_t possible;
    memset(why, 0, sizeof *why);
    if (!ask_check(p, ask, err)) return false;
    ask_key(p, ask, &key);
    why_possible(p, &p->queues[ask->queue], &key, &possible, &found);
    BUF_AUTO text;
    buf_init(&text, 0);
    if (possible == 0) place_why_text(p, &found, NULL, NULL, &text);
    selector_leave(p, key.selector);
    if (possible != 0) return true;
    *why = found;
    err_set(err, ERR_INVALID, "it can never run: %.*s", STR_ARG(buf_view(&text)));
    return err_hint(err, "ask for less, for other flavors, or in another queue");
}

/* ---- now ---- */

/* Only the first of a queue preempts, and not to borrow. */
static void why_cohort(const struct place *p, const struct queue *q, const struct demand *d, const struct shortage *s,
                       uint32_t first, struct place_why *why)
{
    uint32_t r = d->res[s->which];
    const struct cohort *c = &p->cohorts[q->cohort];
    bool others = c->used[LOGICAL][r] > quota_over(q->local[r], q->used[LOGICAL][r]);
    bool reclaims = q->reclaim != PLACE_PREEMPT_NEVER;
    why->cohort = PLACE_LENT;
    if (!quota_nominal(q, d)) {
        why->cohort = reclaims && others ? PLACE_BORROWS : PLACE_OF_NO_MATTER;
    } else if (reclaims && first != PLACE_NONE) {
        struct demand ahead = demand_of(work_key(p, &p->works[first]), s->flavor);
        if (quota_nominal(q, &ahead)) return;
        why->cohort = PLACE_BEHIND;
        why->other = p->works[first].id;
    }
}

struct place_why why_short(const struct place *p, const struct queue *q, const struct shape *shape,
                           const struct shortage *s, uint32_t first)
{
    const struct shape_key *key = &shape->key;
    struct place_why why = {.queue = (uint32_t)(q - p->queues),
                            .flavor = s->flavor,
                            .selector = key->selector,
                            .pods = key->pods,
                            .gpu = key->gpu};
    if (s->stage == STAGE_NODES) {
        uint32_t slot = s->flavor == PLACE_NONE ? p->n_flavors : s->flavor;
        why.pods_fit = shape->pods_fit[s->choice];
        why.reason = key->pods > 1 && why.pods_fit > 0 ? PLACE_WAITING_FOR_GANG : PLACE_WAITING_FOR_NODES;
        why.resource = most_lacks(&shape->most[s->choice], key, &why.need, &why.free);
        why.nodes = shape->open[s->choice];
        why.closed = shape->closed[s->choice];
        const struct work *holder = &p->works[p->node_for[slot]];
        if (p->node_held[slot] == p->cycle && holder->priority >= p->preemptor) why.other = holder->id;
        return why;
    }
    why.reason = PLACE_WAITING_FOR_QUOTA;
    why.resource = resource_of[s->which];
    why.need = s->need;
    why.free = s->free;
    struct demand all_pods = demand_of(key, s->flavor);
    if (s->stage == STAGE_COHORT && s->held_by == PLACE_NONE) why_cohort(p, q, &all_pods, s, first, &why);
    if (s->held_by != PLACE_NONE) {
        why.other = p->works[s->held_by].id;
        why.free = quota_free(p, q, LOGICAL, all_pods.res[s->which]);
    }
    return why;
}

bool place_reason(const struct place *p, uint64_t id, struct place_why *out)
{
    uint32_t w = work_find(p, id);
    if (w == PLACE_NONE || p->works[w].state == PLACE_RUNNING) return false;
    const struct work *k = &p->works[w];
    struct place_why why = {.reason = PLACE_WAITING_FOR_VICTIMS, .flavor = k->flavor};
    if (k->state == PLACE_WAITING) why = p->groups[k->group].why;
    bool news = k->told > 0 && p->queues[k->queue].opened < k->told; /* no cycle has looked at it since */
    if (k->state == PLACE_STOPPING || news) why.reason = PLACE_PREEMPTED;
    why.queue = k->queue;
    why.pods = work_key(p, k)->pods;
    why.preempted_times = k->preempted;
    if (why.reason == PLACE_PREEMPTED) why.other = k->by;
    *out = why;
    return true;
}

bool place_explain(const struct place *p, uint64_t id, struct place_why *out)
{
    if (!place_reason(p, id, out)) return false;
    uint32_t w = work_find(p, id);
    const struct work *k = &p->works[w];
    if (k->state != PLACE_WAITING) return true;
    const struct queue *q = &p->queues[k->queue];
    out->of = q->n_waiting;
    out->position = 1;
    for (uint32_t i = 0; i < q->n_groups; i++) {
        const struct heap *h = &p->groups[q->groups[i]].members;
        for (uint32_t j = 0; j < h->n; j++)
            out->position += work_before(p, h->v[j], w);
    }
    return true;
}

struct first { /* the first found so far, in order */
    const struct place *p;
    uint32_t *v, n, most;
};

/* What is below it in the heap comes later. */
static void first_below(struct first *f, const struct heap *h, uint32_t at)
{
    if (at >= h->n) return;
    uint32_t w = h->v[at], i = f->n;
    if (f->n == f->most && !work_before(f->p, w, f->v[f->n - 1])) return;
    if (f->n < f->most)
        f->n++;
    else
        i--;
    for (; i > 0 && work_before(f->p, w, f->v[i - 1]); i--)
        f->v[i] = f->v[i - 1];
    f->v[i] = w;
    first_below(f, h, 2 * at + 1);
    first_below(f, h, 2 * at + 2);
}

size_t place_first(const struct place *p, uint32_t queue, uint32_t most, struct arena *a, const uint64_t **ids)
{
    const struct queue *q = &p->queues[queue];
    struct first f = {.p = p, .most = most, .v = arena_array(a, uint32_t, most + 1)};
    uint64_t *out = arena_array(a, uint64_t, most + 1);
    for (uint32_t i = 0; most > 0 && i < q->n_groups; i++)
        first_below(&f, &p->groups[q->groups[i]].members, 0);
    for (uint32_t i = 0; i < f.n; i++)
        out[i] = p->works[f.v[i]].id;
    *ids = out;
    return f.n;
}
