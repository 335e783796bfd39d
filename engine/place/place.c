/* What is configured: flavors, cohorts, queues. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

static void *zeroed(size_t n, size_t size)
{
    void *v = calloc(n > 0 ? n : 1, size);
    if (v == NULL) abort();
    return v;
}

struct place *place_new(const struct place_flavor *flavors, uint32_t n)
{
    struct place *p = zeroed(1, sizeof *p);
    arena_init(&p->names, (size_t)1 << 30);
    map_init(&p->queue_names, 0);
    map_init(&p->cohort_names, 0);
    map_init(&p->node_names, 0);
    p->n_flavors = n;
    p->n_res = RES_FLAVOR + n;
    p->flavors = zeroed(n, sizeof *p->flavors);
    for (uint32_t i = 0; i < n; i++) {
        p->flavors[i] = (struct place_flavor){.name = arena_str(&p->names, flavors[i].name),
                                              .shared = flavors[i].shared,
                                              .weight = flavors[i].weight > 0 ? flavors[i].weight : 1};
    }
    p->seats = zeroed(n + 1, sizeof *p->seats);
    p->adrift = zeroed(2 * (size_t)n, sizeof *p->adrift);
    p->node_held = zeroed(n + 1, sizeof *p->node_held);
    p->node_until = zeroed(n + 1, sizeof *p->node_until);
    p->node_for = zeroed(n + 1, sizeof *p->node_for);
    p->contests = zeroed(n + 1, sizeof *p->contests);
    for (uint32_t i = 0; i <= n; i++)
        p->contests[i].overdue = PLACE_NONE;
    p->free_node = p->free_work = p->free_shape = p->free_group = PLACE_NONE;
    p->epoch = p->version = 1;
    p->seats_stale = true;
    return p;
}

static void queue_free(struct queue *q)
{
    free(q->quota);
    free(q->offered);
    free(q->local);
    free(q->used[0]);
    free(q->groups);
    free(q->running);
    free(q->order.v);
}

void place_free(struct place *p)
{
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->n_queues; i++)
        queue_free(&p->queues[i]);
    for (uint32_t i = 0; i < p->n_cohorts; i++) {
        for (uint32_t f = 0; f <= p->n_flavors; f++)
            free(p->cohorts[i].curves[f].used);
        free(p->cohorts[i].curves);
        free(p->cohorts[i].ends);
        free(p->cohorts[i].queues);
        free(p->cohorts[i].quota);
    }
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        free(p->nodes[i].devices[0]);
        free(p->nodes[i].labels.v);
        free(p->nodes[i].taints.v);
        free((char *)p->nodes[i].name.p);
    }
    for (uint32_t i = 0; i < p->n_works; i++)
        if (p->works[i].state >= PLACE_PROMISED) free(p->works[i].pods);
    for (uint32_t i = 0; i < p->n_groups; i++)
        free(p->groups[i].members.v);
    for (uint32_t i = 0; i <= p->n_flavors; i++)
        free(p->seats[i].v);
    void *const all[] = {p->flavors, p->queues, p->cohorts,     p->nodes,          p->seats,          p->works,
                         p->shapes,  p->groups, p->by_id.slots, p->by_shape.slots, p->by_group.slots, p->promised,
                         p->turn.v,  p->holds,  p->node_held,   p->node_until,     p->node_for,       p->fit,
                         p->picked,  p->scores, p->contests,    p->started,        p->adrift};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    for (uint32_t i = 1; i < SELECTORS; i++) {
        free(p->selectors[i].labels.v);
        free(p->selectors[i].tolerates.v);
    }
    map_free(&p->queue_names);
    map_free(&p->cohort_names);
    map_free(&p->node_names);
    arena_free(&p->names);
    free(p);
}

size_t place_bytes(const struct place *p)
{
    size_t sum = sizeof *p + p->room_works * sizeof *p->works + p->room_groups * sizeof *p->groups +
                 p->room_shapes * sizeof *p->shapes + p->room_nodes * sizeof *p->nodes +
                 p->room_queues * sizeof *p->queues + p->room_cohorts * sizeof *p->cohorts;
    for (uint32_t i = 0; i < p->n_groups; i++)
        sum += p->groups[i].members.room * sizeof(uint32_t);
    for (uint32_t i = 0; i < p->n_queues; i++)
        sum += p->n_res * (sizeof(struct place_quota) + 3 * sizeof(int64_t)) + p->queues[i].room_running * 4;
    for (uint32_t i = 0; i < p->n_works; i++)
        if (p->works[i].state >= PLACE_PROMISED) sum += work_key(p, &p->works[i])->pods * sizeof(struct pod);
    return sum + (p->by_id.room + p->by_group.room + p->by_shape.room) * sizeof(struct table_slot);
}

static uint32_t cohort_new(struct place *p, struct str name)
{
    p->cohorts = vec_grow(p->cohorts, &p->room_cohorts, p->n_cohorts + 1, sizeof *p->cohorts);
    struct cohort *c = &p->cohorts[p->n_cohorts];
    *c = (struct cohort){.name = arena_str(&p->names, name),
                         .quota = zeroed(3 * p->n_res, sizeof(int64_t)),
                         .bookings = 1, /* no curve holds */
                         .curves = zeroed(p->n_flavors + 1, sizeof *c->curves)};
    c->used[LOGICAL] = c->quota + p->n_res;
    c->used[PHYSICAL] = c->quota + 2 * p->n_res;
    return p->n_cohorts++;
}

uint32_t place_cohort(struct place *p, struct str name)
{
    uint64_t at;
    if (map_get(&p->cohort_names, name, &at)) return (uint32_t)at;
    uint32_t c = cohort_new(p, name);
    map_put(&p->cohort_names, p->cohorts[c].name, c, NULL);
    return c;
}

/* ---- queues ---- */

static bool quota_valid(const struct place_quota *q)
{
    return q->nominal >= 0 && q->borrow >= 0 && q->lend >= 0;
}

static bool check(const struct place *p, const struct place_queue *in, struct err *err)
{
    bool named = p->n_cohorts > in->cohort && p->cohorts[in->cohort].name.n > 0;
    if (in->cohort != PLACE_NONE && !named)
        return err_set(err, ERR_NOT_FOUND, "queue %.*s is of no known cohort", STR_ARG(in->name));
    bool ok = quota_valid(&in->cpu) && quota_valid(&in->memory) && in->weight >= 0 && isnan(in->weight) == 0;
    for (size_t i = 0; ok && i < in->n_flavors; i++)
        ok = in->flavors[i].flavor < p->n_flavors && quota_valid(&in->flavors[i].gpus);
    return ok || err_set(err, ERR_INVALID, "queue %.*s has a quota that cannot be", STR_ARG(in->name));
}

static uint32_t queue_new(struct place *p, const struct place_queue *in)
{
    uint32_t cohort = in->cohort == PLACE_NONE ? cohort_new(p, STR("")) : in->cohort;
    p->queues = vec_grow(p->queues, &p->room_queues, p->n_queues + 1, sizeof *p->queues);
    struct queue *q = &p->queues[p->n_queues];
    *q = (struct queue){.name = arena_str(&p->names, in->name),
                        .cohort = cohort,
                        .quota = zeroed(p->n_res, sizeof *q->quota),
                        .offered = zeroed(p->n_flavors, sizeof *q->offered),
                        .local = zeroed(p->n_res, sizeof *q->local),
                        .holds = PLACE_NONE};
    q->used[LOGICAL] = zeroed(2 * p->n_res, sizeof(int64_t));
    q->used[PHYSICAL] = q->used[LOGICAL] + p->n_res;
    struct cohort *c = &p->cohorts[cohort];
    c->queues = vec_grow(c->queues, &c->room_queues, c->n_queues + 1, sizeof *c->queues);
    c->queues[c->n_queues++] = p->n_queues;
    map_put(&p->queue_names, q->name, p->n_queues, NULL);
    return p->n_queues++;
}

static struct place_quota alone(struct place_quota q, bool is)
{
    if (is) q.borrow = q.lend = 0;
    return q;
}

bool place_queue(struct place *p, const struct place_queue *in, uint32_t *number, struct err *err)
{
    uint64_t at;
    if (!check(p, in, err)) return false;
    bool known = map_get(&p->queue_names, in->name, &at);
    if (!known) at = queue_new(p, in);
    struct queue *q = &p->queues[at];
    struct cohort *c = &p->cohorts[q->cohort];
    bool single = c->name.n == 0;
    q->weight = in->weight > 0 ? in->weight : 1;
    q->within = in->within;
    q->reclaim = in->reclaim;
    memset(q->quota, 0, p->n_res * sizeof *q->quota);
    memset(q->offered, 0, p->n_flavors * sizeof *q->offered);
    q->quota[RES_CPU] = alone(in->cpu, single);
    q->quota[RES_MEMORY] = alone(in->memory, single);
    for (size_t i = 0; i < in->n_flavors; i++) {
        q->offered[in->flavors[i].flavor] = true;
        q->quota[RES_FLAVOR + in->flavors[i].flavor] = alone(in->flavors[i].gpus, single);
    }
    quota_changed(p, c);
    if (known) p->forced = true;
    p->version++;
    p->epoch++;
    place_touch(p, (uint32_t)at);
    *number = (uint32_t)at;
    return true;
}
