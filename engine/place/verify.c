/* Counts everything anew and compares: what the simulator holds after every cycle. And the figures of a queue. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

void place_usage(const struct place *p, uint32_t queue, uint32_t flavor, struct place_usage *out)
{
    struct queue *q = &p->queues[queue];
    const struct cohort *c = &p->cohorts[q->cohort];
    uint32_t r = flavor == PLACE_NONE ? RES_CPU : RES_FLAVOR + flavor;
    quota_shares(p, q);
    *out = (struct place_usage){.waiting = q->n_waiting,
                                .running = q->n_running,
                                .used = q->used[LOGICAL][r],
                                .nominal = q->quota[r].nominal,
                                .cohort_used = c->used[LOGICAL][r],
                                .cohort_quota = c->quota[r],
                                .share = q->share};
}

/* ---- counting anew ---- */

struct count { /* of a queue's quota: [ledger][queue · n_res + resource] */
    int64_t *used[2];
    uint32_t waiting, stopping, promised;
};

static unsigned ledgers_of(const struct work *w)
{
    switch (w->state) {
    case PLACE_RUNNING: return IN_BOTH;
    case PLACE_PROMISED: return IN(LOGICAL);
    case PLACE_STOPPING: return IN(PHYSICAL);
    case PLACE_WAITING:
    case PLACE_UNKNOWN: break;
    }
    return 0;
}

static bool count_work(const struct place *p, const struct work *w, struct node *nodes, struct count *c,
                       struct err *err)
{
    unsigned ledgers = ledgers_of(w);
    const struct shape_key *key = work_key(p, w);
    c->waiting += w->state == PLACE_WAITING;
    c->stopping += w->state == PLACE_STOPPING;
    c->promised += w->state == PLACE_PROMISED;
    if ((ledgers == 0) != (w->pods == NULL))
        return err_set(err, ERR_INTERNAL, "workload %llu has pods and waits, or has none", (unsigned long long)w->id);
    struct demand d = demand_of(key, w->flavor);
    for (unsigned l = LOGICAL; l <= PHYSICAL; l++)
        for (uint32_t i = 0; i < 3; i++)
            if ((ledgers & IN(l)) && d.res[i] != PLACE_NONE) c->used[l][w->queue * p->n_res + d.res[i]] += d.amount[i];
    for (uint32_t k = 0; ledgers != 0 && k < key->pods; k++) {
        if (w->pods[k].node == PLACE_NONE) continue;
        struct node *n = &nodes[w->pods[k].node];
        if (!p->forced && !selector_takes(key, n))
            return err_set(err, ERR_INTERNAL, "workload %llu is where its selector has no node",
                           (unsigned long long)w->id);
        if (!node_hosts(n, w->flavor, key))
            return err_set(err, ERR_INTERNAL, "workload %llu has GPUs that its node does not offer",
                           (unsigned long long)w->id);
        node_book(n, node_offer(n, w->flavor), key, ledgers, 1, &w->pods[k]);
        n->pods--;
    }
    return true;
}

static bool node_same(const struct place *p, const struct node *real, const struct node *n, struct err *err)
{
    if (!real->alive) return true;
    for (unsigned l = LOGICAL; l <= PHYSICAL; l++) {
        bool same = real->cpu[l] == n->cpu[l] && real->memory[l] == n->memory[l];
        bool over = n->cpu[l] < 0 || n->memory[l] < 0;
        for (uint32_t i = 0; i < n->n_offers; i++) {
            same &= real->offers[i].free[l] == n->offers[i].free[l];
            over |= n->offers[i].free[l] < 0;
        }
        for (uint32_t d = 0; d < n->n_devices; d++) {
            same &= real->devices[l][d] == n->devices[l][d];
            over |= n->devices[l][d] < 0;
        }
        if (!same) return err_set(err, ERR_INTERNAL, "node %.*s is booked wrongly", STR_ARG(real->name));
        if (over && !p->forced) return err_set(err, ERR_INTERNAL, "node %.*s is too full", STR_ARG(real->name));
    }
    return n->pods == 0 || err_set(err, ERR_INTERNAL, "node %.*s has other pods", STR_ARG(real->name));
}

static bool quota_same(const struct place *p, const struct count *c, struct err *err)
{
    for (uint32_t k = 0; k < p->n_cohorts; k++) {
        const struct cohort *co = &p->cohorts[k];
        for (unsigned at = 0; at < 2 * p->n_res; at++) {
            unsigned l = at / p->n_res, r = at % p->n_res;
            int64_t sum = 0;
            for (uint32_t i = 0; i < co->n_queues; i++) {
                const struct queue *q = &p->queues[co->queues[i]];
                int64_t used = c->used[l][co->queues[i] * p->n_res + r];
                int64_t limit = sum_capped(q->quota[r].nominal, q->quota[r].borrow);
                if (used != q->used[l][r])
                    return err_set(err, ERR_INTERNAL, "queue %.*s is booked wrongly", STR_ARG(q->name));
                if (used > limit && !p->forced)
                    return err_set(err, ERR_INTERNAL, "queue %.*s is over its limit", STR_ARG(q->name));
                if (q->quota[r].nominal != PLACE_UNLIMITED) sum += quota_over(q->local[r], used);
            }
            if (sum != co->used[l][r])
                return err_set(err, ERR_INTERNAL, "cohort %.*s is booked wrongly", STR_ARG(co->name));
            if (sum > co->quota[r] && !p->forced)
                return err_set(err, ERR_INTERNAL, "cohort %.*s is over its quota", STR_ARG(co->name));
        }
    }
    return true;
}

static bool lists_same(const struct place *p, const struct count *c, struct err *err)
{
    uint32_t waiting = 0, members = 0;
    for (uint32_t i = 0; i < p->n_queues; i++) {
        const struct queue *q = &p->queues[i];
        waiting += q->n_waiting;
        for (uint32_t k = 0; k < q->n_groups; k++)
            members += p->groups[q->groups[k]].members.n;
        for (uint32_t k = 0; k < q->n_running; k++) {
            const struct work *w = &p->works[q->running[k]];
            if (w->at != k || w->queue != i || (w->state != PLACE_RUNNING && w->state != PLACE_STOPPING))
                return err_set(err, ERR_INTERNAL, "queue %.*s lists who does not run", STR_ARG(q->name));
        }
    }
    if (waiting != c->waiting || members != c->waiting || c->stopping != p->n_stopping || c->promised != p->n_promised)
        return err_set(err, ERR_INTERNAL, "%u wait, %u are queued, %u are in groups", c->waiting, waiting, members);
    return true;
}

static bool adrift_same(const struct place *p, int64_t *counted, struct err *err)
{
    bool same = true;
    for (uint32_t i = 0; i < p->n_works; i++) {
        const struct work *w = &p->works[i];
        unsigned ledgers = ledgers_of(w);
        for (uint32_t k = 0; ledgers != 0 && k < work_key(p, w)->pods; k++)
            for (unsigned l = LOGICAL; w->pods[k].adrift && l <= PHYSICAL; l++)
                if (ledgers & IN(l)) counted[l * p->n_flavors + w->flavor] -= work_key(p, w)->gpu;
    }
    for (uint32_t i = 0; i < 2 * p->n_flavors; i++)
        same &= counted[i] == 0;
    return same || err_set(err, ERR_INTERNAL, "what is adrift is booked wrongly");
}

static void *copied(const void *from, size_t bytes)
{
    void *to = calloc(1, bytes > 0 ? bytes : 1);
    if (to == NULL) abort();
    if (bytes > 0) memcpy(to, from, bytes);
    return to;
}

bool place_verify(const struct place *p, struct err *err)
{
    size_t cells = (size_t)p->n_queues * p->n_res;
    struct count c = {.used = {calloc(cells + 1, sizeof(int64_t)), calloc(cells + 1, sizeof(int64_t))}};
    int64_t *adrift = copied(p->adrift, 2 * (size_t)p->n_flavors * sizeof *adrift);
    struct node *nodes = copied(p->nodes, p->n_nodes * sizeof *nodes);
    if (c.used[0] == NULL || c.used[1] == NULL) abort();
    bool ok = true;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        struct node *n = &nodes[i];
        if (!n->alive) continue;
        n->devices[0] = copied(n->devices[0], LEDGERS * (n->n_devices + 1) * sizeof(int16_t));
        for (unsigned l = 1; l < LEDGERS; l++)
            n->devices[l] = n->devices[0] + l * n->n_devices;
        for (unsigned l = 0; l < LEDGERS; l++)
            node_reset(n, l);
    }
    for (uint32_t i = 0; ok && i < p->n_works; i++)
        if (p->works[i].state != PLACE_UNKNOWN) ok = count_work(p, &p->works[i], nodes, &c, err);
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        if (ok) ok = node_same(p, &p->nodes[i], &nodes[i], err);
        if (nodes[i].alive) free(nodes[i].devices[0]);
    }
    ok = ok && quota_same(p, &c, err) && lists_same(p, &c, err) && adrift_same(p, adrift, err);
    free(adrift);
    free(c.used[0]);
    free(c.used[1]);
    free(nodes);
    return ok;
}
