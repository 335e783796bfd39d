/* Quota: what a queue may use of its own and of its cohort's, and whose turn is next.
 *
 * A queue lends its nominal quota up to its lending limit; the rest is `local`, and nobody else's. The cohort has the
 * sum of what its queues lend, and what a queue uses beyond its local part comes out of that sum. (The same arithmetic
 * as Kueue's, https://kueue.sigs.k8s.io/docs/concepts/cluster_queue/#cohort.) */
#include "engine/place/place_inner.h"

int64_t sum_capped(int64_t a, int64_t b)
{
    int64_t sum;
    return a == PLACE_UNLIMITED || b == PLACE_UNLIMITED || __builtin_add_overflow(a, b, &sum) ? PLACE_UNLIMITED : sum;
}

struct demand demand_of(const struct shape_key *key, uint32_t flavor)
{
    return (struct demand){
        .res = {RES_CPU, RES_MEMORY, key->gpu == 0 || flavor == PLACE_NONE ? PLACE_NONE : RES_FLAVOR + flavor},
        .amount = {key->pods * key->cpu, key->pods * key->memory, (int64_t)key->pods * key->gpu}};
}

static int64_t own_left(const struct queue *q, unsigned ledger, uint32_t r)
{
    int64_t limit = sum_capped(q->quota[r].nominal, q->quota[r].borrow);
    return limit == PLACE_UNLIMITED ? PLACE_UNLIMITED : limit - q->used[ledger][r];
}

int64_t quota_free(const struct place *p, const struct queue *q, unsigned ledger, uint32_t r)
{
    const struct cohort *c = &p->cohorts[q->cohort];
    int64_t used = q->used[ledger][r], mine = own_left(q, ledger, r);
    int64_t shared = c->quota[r] - c->used[ledger][r] + quota_over(q->local[r], used);
    int64_t ours = sum_capped(q->local[r], shared > 0 ? shared : 0) - used, free = mine < ours ? mine : ours;
    return free > 0 ? free : 0;
}

bool quota_fits(const struct place *p, const struct queue *q, unsigned ledger, const struct demand *d,
                struct shortage *s)
{
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t r = d->res[i];
        if (r == PLACE_NONE || d->amount[i] == 0 || q->quota[r].nominal == PLACE_UNLIMITED) continue;
        int64_t free = quota_free(p, q, ledger, r);
        if (d->amount[i] <= free) continue;
        s->stage = own_left(q, ledger, r) < d->amount[i] ? STAGE_QUEUE : STAGE_COHORT;
        s->which = i;
        s->need = d->amount[i];
        s->free = free;
        return false;
    }
    return true;
}

bool quota_nominal(const struct queue *q, const struct demand *d)
{
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t r = d->res[i];
        if (r == PLACE_NONE || d->amount[i] == 0 || q->quota[r].nominal == PLACE_UNLIMITED) continue;
        if (q->used[LOGICAL][r] + d->amount[i] > q->quota[r].nominal) return false;
    }
    return true;
}

unsigned quota_borrows(const struct queue *q, const struct demand *d)
{
    unsigned over = 0, open = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t r = d->res[i];
        if (r == PLACE_NONE || d->amount[i] == 0) continue;
        if (q->quota[r].nominal == PLACE_UNLIMITED)
            open |= 1U << i;
        else if (q->used[LOGICAL][r] > q->quota[r].nominal)
            over |= 1U << i;
    }
    return over == 0 ? 0 : over | open;
}

void quota_book(struct place *p, struct queue *q, unsigned ledgers, const struct demand *d, int sign)
{
    struct cohort *c = &p->cohorts[q->cohort];
    c->bookings++;
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t r = d->res[i];
        if (r == PLACE_NONE) continue;
        for (unsigned l = LOGICAL; l <= PHYSICAL; l++) {
            if (!(ledgers & IN(l))) continue;
            int64_t before = quota_over(q->local[r], q->used[l][r]);
            q->used[l][r] += sign * d->amount[i];
            if (q->quota[r].nominal == PLACE_UNLIMITED) continue;
            c->used[l][r] += quota_over(q->local[r], q->used[l][r]) - before;
        }
    }
}

/* ---- whose turn ---- */

struct part {
    double borrowed, lent, used, nominal;
};

static double ratio(double a, double b)
{
    return b > 0 ? a / b : a > 0 ? 1e9 : 0;
}

static void part_add(const struct queue *q, const struct cohort *c, uint32_t r, double weight, struct part *sum)
{
    if (q->quota[r].nominal == PLACE_UNLIMITED) return;
    sum->borrowed += weight * (double)quota_over(q->quota[r].nominal, q->used[LOGICAL][r]);
    sum->lent += weight * (double)c->quota[r];
    sum->used += weight * (double)q->used[LOGICAL][r];
    sum->nominal += weight * (double)q->quota[r].nominal;
}

void quota_shares(const struct place *p, struct queue *q)
{
    const struct cohort *c = &p->cohorts[q->cohort];
    struct part parts[3] = {0};
    part_add(q, c, RES_CPU, 1, &parts[0]);
    part_add(q, c, RES_MEMORY, 1, &parts[1]);
    for (uint32_t f = 0; f < p->n_flavors; f++)
        if (q->offered[f]) part_add(q, c, RES_FLAVOR + f, p->flavors[f].weight, &parts[2]);
    q->share = q->use = 0;
    for (int i = 0; i < 3; i++) {
        double share = ratio(parts[i].borrowed, parts[i].lent), use = ratio(parts[i].used, parts[i].nominal);
        if (share > q->share) q->share = share;
        if (use > q->use) q->use = use;
    }
    q->share /= q->weight;
    q->use /= q->weight;
}

/* ---- what follows from the configuration ---- */

int64_t quota_ever(const struct place *p, const struct queue *q, uint32_t res)
{
    const struct place_quota *own = &q->quota[res];
    if (own->nominal == PLACE_UNLIMITED) return PLACE_UNLIMITED;
    int64_t limit = sum_capped(own->nominal, own->borrow);
    int64_t all = sum_capped(q->local[res], p->cohorts[q->cohort].quota[res]);
    return limit < all ? limit : all;
}

void quota_changed(struct place *p, struct cohort *c)
{
    c->bookings++;
    for (uint32_t r = 0; r < p->n_res; r++) {
        c->quota[r] = c->used[LOGICAL][r] = c->used[PHYSICAL][r] = 0;
        for (uint32_t i = 0; i < c->n_queues; i++) {
            struct queue *q = &p->queues[c->queues[i]];
            const struct place_quota *own = &q->quota[r];
            if (own->nominal == PLACE_UNLIMITED) continue;
            int64_t lent = own->lend < own->nominal ? own->lend : own->nominal;
            q->local[r] = own->nominal - lent;
            c->quota[r] = sum_capped(c->quota[r], lent);
            for (unsigned l = LOGICAL; l <= PHYSICAL; l++)
                c->used[l][r] += quota_over(q->local[r], q->used[l][r]);
        }
    }
}
