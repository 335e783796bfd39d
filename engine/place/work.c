/* Workloads: how they come, wait, run, stop and go. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

/* ---- tables ---- */

static bool id_eq(const void *ctx, uint32_t item, const void *key)
{
    return ((const struct place *)ctx)->works[item].id == *(const uint64_t *)key;
}

static bool shape_eq(const void *ctx, uint32_t item, const void *key)
{
    return memcmp(&((const struct place *)ctx)->shapes[item].key, key, sizeof(struct shape_key)) == 0;
}

struct group_key {
    uint32_t queue, shape, priority;
};

static bool group_eq(const void *ctx, uint32_t item, const void *key)
{
    const struct group *g = &((const struct place *)ctx)->groups[item];
    const struct group_key *k = key;
    return g->queue == k->queue && g->shape == k->shape && (uint32_t)g->priority == k->priority;
}

uint32_t work_find(const struct place *p, uint64_t id)
{
    return table_find(&p->by_id, table_hash(&id, sizeof id), id_eq, p, &id);
}

/* A record's place in an array with a list of free ones. */
#define TAKE_SLOT(p, what)                                                                                             \
    (p)->free_##what != PLACE_NONE                                                                                     \
        ? (p)->free_##what                                                                                             \
        : ((p)->what##s = vec_grow((p)->what##s, &(p)->room_##what##s, (p)->n_##what##s + 1, sizeof *(p)->what##s),    \
           (p)->what##s[(p)->n_##what##s].next_free = PLACE_NONE, (p)->n_##what##s++)

static uint32_t shape_of(struct place *p, const struct place_ask *ask)
{
    struct shape_key key;
    ask_key(p, ask, &key);
    uint32_t hash = table_hash(&key, sizeof key), s = table_find(&p->by_shape, hash, shape_eq, p, &key);
    if (s != PLACE_NONE) {
        selector_leave(p, key.selector); /* the shape uses it already */
        p->shapes[s].users++;
        return s;
    }
    s = TAKE_SLOT(p, shape);
    p->free_shape = s == p->free_shape ? p->shapes[s].next_free : p->free_shape;
    p->shapes[s] = (struct shape){.key = key, .hash = hash, .users = 1};
    table_put(&p->by_shape, hash, s);
    return s;
}

static void shape_leave(struct place *p, uint32_t s)
{
    if (--p->shapes[s].users > 0) return;
    table_del(&p->by_shape, p->shapes[s].hash, s);
    selector_leave(p, p->shapes[s].key.selector);
    p->shapes[s].next_free = p->free_shape;
    p->free_shape = s;
}

static uint32_t group_of(struct place *p, const struct work *w)
{
    struct group_key key = {w->queue, w->shape, (uint32_t)w->priority};
    uint32_t hash = table_hash(&key, sizeof key), g = table_find(&p->by_group, hash, group_eq, p, &key);
    if (g != PLACE_NONE) return g;
    struct queue *q = &p->queues[w->queue];
    g = TAKE_SLOT(p, group);
    p->free_group = g == p->free_group ? p->groups[g].next_free : p->free_group;
    p->groups[g] =
        (struct group){.queue = w->queue, .shape = w->shape, .priority = w->priority, .hash = hash, .at = q->n_groups};
    p->shapes[w->shape].users++;
    table_put(&p->by_group, hash, g);
    q->groups = vec_grow(q->groups, &q->room_groups, q->n_groups + 1, sizeof *q->groups);
    q->groups[q->n_groups++] = g;
    return g;
}

void group_drop(struct place *p, uint32_t g)
{
    struct group *gr = &p->groups[g];
    struct queue *q = &p->queues[gr->queue];
    table_del(&p->by_group, gr->hash, g);
    q->groups[gr->at] = q->groups[--q->n_groups];
    p->groups[q->groups[gr->at]].at = gr->at;
    shape_leave(p, gr->shape);
    free(gr->members.v);
    gr->members = (struct heap){0};
    gr->next_free = p->free_group;
    p->free_group = g;
}

/* ---- waiting ---- */

bool work_before(const struct place *p, uint32_t a, uint32_t b)
{
    const struct work *x = &p->works[a], *y = &p->works[b];
    if (x->priority != y->priority) return x->priority > y->priority;
    return x->submit_us != y->submit_us ? x->submit_us < y->submit_us : x->id < y->id;
}

static void member_moved(struct place *p, uint32_t item, uint32_t at)
{
    p->works[item].at = at;
}

const struct heap_rule members_rule = {work_before, member_moved};

void place_touch(struct place *p, uint32_t queue)
{
    p->dirty = p->cohorts[p->queues[queue].cohort].dirty = true;
}

void work_queue_up(struct place *p, uint32_t w)
{
    struct work *k = &p->works[w];
    k->state = PLACE_WAITING;
    k->flavor = PLACE_NONE;
    k->group = group_of(p, k);
    heap_push(p, &members_rule, &p->groups[k->group].members, w);
    p->queues[k->queue].n_waiting++;
    place_touch(p, k->queue);
}

void work_unqueue(struct place *p, uint32_t w)
{
    struct work *k = &p->works[w];
    heap_remove(p, &members_rule, &p->groups[k->group].members, k->at);
    p->queues[k->queue].n_waiting--;
    contests_leave(p, w);
}

/* ---- running ---- */

void work_book(struct place *p, const struct work *w, unsigned ledgers, int sign)
{
    struct demand d = demand_of(work_key(p, w), w->flavor);
    quota_book(p, &p->queues[w->queue], ledgers, &d, sign);
    pods_book(p, w, ledgers, sign);
}

void pods_leave(struct place *p, struct work *w)
{
    for (uint32_t i = 0; i < work_key(p, w)->pods; i++)
        if (w->pods[i].node != PLACE_NONE) p->nodes[w->pods[i].node].pods--;
    free(w->pods);
    w->pods = NULL;
}

void work_runs(struct place *p, uint32_t w)
{
    struct queue *q = &p->queues[p->works[w].queue];
    q->running = vec_grow(q->running, &q->room_running, q->n_running + 1, sizeof *q->running);
    p->works[w].at = q->n_running;
    q->running[q->n_running++] = w;
    ends_add(p, w);
}

void work_runs_no_more(struct place *p, uint32_t w)
{
    struct queue *q = &p->queues[p->works[w].queue];
    uint32_t last = q->running[--q->n_running];
    q->running[p->works[w].at] = last;
    p->works[last].at = p->works[w].at;
    ends_remove(p, w);
}

static int64_t end_of(const struct place *p, const struct work *w)
{
    int64_t expect = work_key(p, w)->expect_us;
    return expect == 0 ? INT64_MAX : sum_capped(w->started_us, expect);
}

void work_start(struct place *p, uint32_t w, int64_t started_us)
{
    struct work *k = &p->works[w];
    k->state = PLACE_RUNNING;
    k->started_us = started_us;
    k->end_us = end_of(p, k);
    work_runs(p, w);
}

static void promise_remove(struct place *p, uint32_t w)
{
    uint32_t i = 0;
    while (p->promised[i] != w)
        i++;
    memmove(&p->promised[i], &p->promised[i + 1], (--p->n_promised - i) * sizeof *p->promised);
}

void promise_take_back(struct place *p, uint32_t w)
{
    struct work *k = &p->works[w];
    promise_remove(p, w);
    work_book(p, k, IN(LOGICAL), -1);
    pods_leave(p, k);
    work_queue_up(p, w);
}

/* ---- from outside ---- */

bool ask_check(const struct place *p, const struct place_ask *ask, struct err *err)
{
    int64_t most = INT64_MAX >> 8, sum;
    if (ask->queue >= p->n_queues) return err_set(err, ERR_NOT_FOUND, "there is no such queue");
    if (ask->pods == 0 || ask->pods > 1000000) return err_set(err, ERR_INVALID, "%u pods are asked for", ask->pods);
    if (ask->n_flavors > PLACE_CHOICES)
        return err_set(err, ERR_LIMIT, "more than %d flavors are acceptable", PLACE_CHOICES);
    if (ask->cpu < 0 || ask->memory < 0 || ask->expect_us < 0 ||
        __builtin_mul_overflow(ask->cpu, (int64_t)ask->pods, &sum) || sum > most ||
        __builtin_mul_overflow(ask->memory, (int64_t)ask->pods, &sum) || sum > most)
        return err_set(err, ERR_INVALID, "CPU, memory or time is no sensible amount");
    if (ask->gpu > 1000 * PLACE_GPU || (ask->gpu > PLACE_GPU && ask->gpu % PLACE_GPU != 0)) {
        err_set(err, ERR_INVALID, "%g GPUs a pod cannot be had", (double)ask->gpu / PLACE_GPU);
        return err_hint(err, "ask for whole ones, or for a part of one");
    }
    if (ask->gpu > 0 && ask->n_flavors == 0) return err_set(err, ERR_INVALID, "a GPU is asked for, of no flavor");
    for (size_t i = 0; i < ask->n_flavors; i++)
        if (ask->flavors[i] >= p->n_flavors) return err_set(err, ERR_NOT_FOUND, "there is no such flavor");
    return true;
}

void ask_key(struct place *p, const struct place_ask *ask, struct shape_key *key)
{
    memset(key, 0, sizeof *key);
    key->cpu = ask->cpu;
    key->memory = ask->memory;
    key->expect_us = ask->expect_us;
    key->pods = ask->pods;
    key->gpu = ask->gpu;
    key->n_flavors = (uint32_t)ask->n_flavors;
    key->selector = selector_take(p, ask);
    if (ask->n_flavors > 0) memcpy(key->flavors, ask->flavors, ask->n_flavors * sizeof *ask->flavors);
}

static bool work_new(struct place *p, const struct place_ask *ask, uint32_t *out, struct err *err)
{
    if (!ask_check(p, ask, err)) return false;
    if (work_find(p, ask->id) != PLACE_NONE)
        return err_set(err, ERR_CONFLICT, "workload %llu is known already", (unsigned long long)ask->id);
    uint32_t w = TAKE_SLOT(p, work);
    p->free_work = w == p->free_work ? p->works[w].next_free : p->free_work;
    p->works[w] = (struct work){.id = ask->id,
                                .submit_us = ask->submit_us,
                                .end_us = INT64_MAX,
                                .queue = ask->queue,
                                .flavor = PLACE_NONE,
                                .priority = ask->priority};
    uint32_t shape = shape_of(p, ask);
    p->works[w].shape = shape;
    table_put(&p->by_id, table_hash(&ask->id, sizeof ask->id), w);
    p->epoch++;
    *out = w;
    return true;
}

bool place_add(struct place *p, const struct place_ask *ask, struct err *err)
{
    uint32_t w;
    if (!work_new(p, ask, &w, err)) return false;
    work_queue_up(p, w);
    return true;
}

bool place_add_running(struct place *p, const struct place_ask *ask, uint32_t flavor, const uint32_t *nodes,
                       int64_t started_us, struct err *err)
{
    uint32_t w;
    if (flavor != PLACE_NONE ? flavor >= p->n_flavors : ask->gpu > 0)
        return err_set(err, ERR_NOT_FOUND, "there is no such flavor");
    if (!work_new(p, ask, &w, err)) return false;
    struct work *k = &p->works[w];
    const struct shape_key *key = work_key(p, k);
    k->flavor = flavor;
    k->pods = calloc(key->pods, sizeof *k->pods);
    if (k->pods == NULL) abort();
    work_start(p, w, started_us);
    for (uint32_t i = 0; i < key->pods; i++)
        k->pods[i].node = PLACE_NONE;
    struct demand d = demand_of(key, flavor);
    quota_book(p, &p->queues[k->queue], IN_BOTH, &d, 1);
    for (uint32_t i = 0; i < key->pods; i++) {
        place_moved(p, k->id, i, nodes[i]);
        k->pods[i].landed = false;
    }
    p->forced = true;
    return true;
}

bool place_stopping(struct place *p, uint64_t id, uint64_t by)
{
    uint32_t w = work_find(p, id);
    if (w == PLACE_NONE || p->works[w].state != PLACE_RUNNING) return false;
    struct work *k = &p->works[w];
    work_book(p, k, IN(LOGICAL), -1);
    k->state = PLACE_STOPPING;
    k->by = by;
    k->bumped = p->epoch;
    k->preempted++;
    p->n_stopping++;
    place_touch(p, k->queue);
    return true;
}

bool place_on(const struct place *p, uint64_t id, uint32_t node)
{
    uint32_t w = work_find(p, id);
    return w != PLACE_NONE && node < p->n_nodes && p->nodes[node].alive &&
           node_hosts(&p->nodes[node], p->works[w].flavor, work_key(p, &p->works[w]));
}

void pod_put(struct place *p, const struct work *w, struct pod *at, uint32_t node, bool adrift)
{
    const struct shape_key *key = work_key(p, w);
    unsigned ledgers = w->state == PLACE_STOPPING ? IN(PHYSICAL) : IN_BOTH;
    if (at->adrift) adrift_book(p, w, ledgers, -1);
    if (at->node != PLACE_NONE) {
        struct node *from = &p->nodes[at->node];
        node_book(from, node_offer(from, w->flavor), key, ledgers, -1, at);
        from->pods--;
    }
    *at = (struct pod){.node = node, .landed = at->landed, .adrift = adrift};
    if (adrift) adrift_book(p, w, ledgers, 1);
    if (node != PLACE_NONE) {
        struct node *to = &p->nodes[node];
        node_take(to, node_offer(to, w->flavor), key, ledgers, at);
        to->pods++;
    }
    p->forced = true;
    p->epoch++;
    place_touch(p, w->queue);
}

bool place_moved(struct place *p, uint64_t id, uint32_t pod, uint32_t node)
{
    uint32_t w = work_find(p, id);
    if (w == PLACE_NONE) return false;
    struct work *k = &p->works[w];
    const struct shape_key *key = work_key(p, k);
    if ((k->state != PLACE_RUNNING && k->state != PLACE_STOPPING) || pod >= key->pods) return false;
    struct pod *at = &k->pods[pod];
    if (node >= p->n_nodes || !p->nodes[node].alive || !node_hosts(&p->nodes[node], k->flavor, key)) node = PLACE_NONE;
    at->landed = true;
    if (at->node != node || at->adrift) pod_put(p, k, at, node, false);
    return true;
}

bool place_ended(struct place *p, uint64_t id)
{
    uint32_t w = work_find(p, id);
    if (w == PLACE_NONE) return false;
    struct work *k = &p->works[w];
    switch (k->state) {
    case PLACE_WAITING: work_unqueue(p, w); break;
    case PLACE_PROMISED:
        promise_remove(p, w);
        work_book(p, k, IN(LOGICAL), -1);
        break;
    case PLACE_RUNNING:
    case PLACE_STOPPING:
        p->n_stopping -= k->state == PLACE_STOPPING;
        work_runs_no_more(p, w);
        work_book(p, k, k->state == PLACE_RUNNING ? IN_BOTH : IN(PHYSICAL), -1);
        break;
    case PLACE_UNKNOWN: return false;
    }
    if (k->pods != NULL) pods_leave(p, k);
    table_del(&p->by_id, table_hash(&id, sizeof id), w);
    shape_leave(p, k->shape);
    place_touch(p, k->queue);
    p->epoch++;
    k->state = PLACE_UNKNOWN;
    k->next_free = p->free_work;
    p->free_work = w;
    return true;
}

bool place_stopped(struct place *p, uint64_t id)
{
    uint32_t w = work_find(p, id);
    if (w == PLACE_NONE || p->works[w].state != PLACE_STOPPING) return false;
    struct work *k = &p->works[w];
    p->n_stopping--;
    work_runs_no_more(p, w);
    work_book(p, k, IN(PHYSICAL), -1);
    pods_leave(p, k);
    k->end_us = INT64_MAX;
    k->told = p->cycle + 1;
    work_queue_up(p, w);
    return true;
}

enum place_state place_state(const struct place *p, uint64_t id)
{
    uint32_t w = work_find(p, id);
    return w == PLACE_NONE ? PLACE_UNKNOWN : p->works[w].state;
}
