/* All nodes: where a gang fits. Best fit: a pod goes where the least is left over, so that whole nodes stay free for
 * those who need them, and a gang's pods gather on few nodes. */
#include <stdlib.h>
#include <string.h>

#include "engine/place/place_inner.h"

const struct seats *seats_of(const struct place *p, uint32_t flavor)
{
    return &p->seats[flavor == PLACE_NONE ? p->n_flavors : flavor];
}

static void seat_add(struct seats *s, uint32_t node, uint32_t offer)
{
    s->v = vec_grow(s->v, &s->room, s->n + 1, sizeof *s->v);
    s->v[s->n++] = (struct seat){node, offer};
}

void seats_renew(struct place *p)
{
    if (!p->seats_stale) return;
    p->seats_stale = false;
    for (uint32_t f = 0; f <= p->n_flavors; f++)
        p->seats[f].n = 0;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const struct node *n = &p->nodes[i];
        if (!n->alive) continue;
        for (uint32_t k = 0; k < n->n_offers; k++)
            seat_add(&p->seats[n->offers[k].flavor], i, k);
        seat_add(&p->seats[p->n_flavors], i, PLACE_NONE);
    }
    p->fit = vec_grow(p->fit, &p->room_fit, p->n_nodes + 1, sizeof *p->fit);
    p->scores = vec_grow(p->scores, &p->room_scores, p->n_nodes + 1, sizeof *p->scores);
}

/* By which ledgers a node is to be judged; 0 = not at all. */
static unsigned judged_by(const struct place *p, const struct node *n, unsigned ledgers, int64_t end_us)
{
    if (!n->schedulable) return 0;
    if (n->held != p->cycle || n->held_priority < p->preemptor) return ledgers & ~IN(HELD);
    if (ledgers == IN(LOGICAL)) return 0;
    return end_us <= n->held_until ? ledgers & ~IN(HELD) : ledgers | IN(HELD);
}

bool nodes_room(struct place *p, const struct shape_key *key, uint32_t flavor, unsigned ledgers, int64_t end_us,
                uint32_t *fit)
{
    const struct seats *s = seats_of(p, flavor);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct node *n = &p->nodes[s->v[i].node];
        unsigned by = judged_by(p, n, ledgers, end_us);
        uint32_t k = by == 0 ? 0 : node_room(n, s->v[i].offer, key, by, &p->scores[i]);
        p->fit[i] = k;
        sum += k;
    }
    int64_t leaves = adrift_leaves(p, key, flavor, ledgers);
    if (leaves != INT64_MAX && sum > (uint64_t)(leaves / key->gpu)) sum = (uint64_t)(leaves / key->gpu);
    *fit = sum > key->pods ? key->pods : (uint32_t)sum;
    return sum >= key->pods;
}

/* Only the seat that is chosen changes, and it is used up: scores stay true. */
static uint32_t best_seat(const struct place *p, uint32_t n)
{
    int64_t best = INT64_MAX;
    uint32_t at = PLACE_NONE;
    for (uint32_t i = 0; i < n; i++)
        if (p->fit[i] > 0 && p->scores[i] < best) best = p->scores[i], at = i;
    return at;
}

bool nodes_find(struct place *p, const struct shape_key *key, uint32_t flavor, unsigned ledgers, int64_t end_us,
                struct pod **pods, uint32_t *fit)
{
    const struct seats *s = seats_of(p, flavor);
    if (!nodes_room(p, key, flavor, ledgers, end_us, fit)) return false;
    struct pod *all = calloc(key->pods, sizeof *all);
    if (all == NULL) abort();
    *pods = all;
    for (uint32_t done = 0; done < key->pods;) {
        uint32_t at = best_seat(p, s->n), node = s->v[at].node;
        struct node *n = &p->nodes[node];
        unsigned by = judged_by(p, n, ledgers, end_us);
        bool passes = n->held == p->cycle && end_us > n->held_until; /* a reservation too, it leaves less to others */
        for (; p->fit[at] > 0 && done < key->pods; p->fit[at]--, done++) {
            all[done].node = node;
            node_take(n, s->v[at].offer, key, by, &all[done]);
            if (passes) node_book(n, s->v[at].offer, key, IN(HELD) & ~by, 1, &all[done]);
            n->pods++;
        }
        p->fit[at] = 0;
    }
    return true;
}

void pods_book(struct place *p, const struct work *w, unsigned ledgers, int sign)
{
    const struct shape_key *key = work_key(p, w);
    for (uint32_t i = 0; i < key->pods; i++) {
        if (w->pods[i].adrift) adrift_book(p, w, ledgers, sign);
        if (w->pods[i].node == PLACE_NONE) continue;
        struct node *n = &p->nodes[w->pods[i].node];
        node_book(n, node_offer(n, w->flavor), key, ledgers, sign, &w->pods[i]);
    }
}

/* ---- from outside ---- */

static void node_free(struct place *p, uint32_t i)
{
    struct node *n = &p->nodes[i];
    free(n->devices[0]);
    free(n->labels.v);
    free(n->taints.v);
    free((char *)n->name.p);
    *n = (struct node){.next_free = p->free_node};
    p->free_node = i;
}

static bool same(const struct node *n, const struct place_node *in)
{
    if (n->total_cpu != in->cpu || n->total_memory != in->memory || n->other_cpu != in->other_cpu ||
        n->other_memory != in->other_memory || n->schedulable != in->schedulable || n->n_offers != in->n_offers ||
        n->any_labels != in->any_labels || !pairs_same(&n->labels, in->labels, in->n_labels) ||
        !pairs_same(&n->taints, in->taints, in->n_taints))
        return false;
    for (uint32_t i = 0; i < n->n_offers; i++)
        if (n->offers[i].flavor != in->offers[i].flavor || n->offers[i].n != in->offers[i].gpus ||
            n->offers[i].taken != in->offers[i].taken)
            return false;
    return true;
}

static bool check(const struct place *p, const struct place_node *in, uint32_t *devices, struct err *err)
{
    uint64_t shared = 0;
    if (in->cpu < 0 || in->memory < 0 || in->other_cpu < 0 || in->other_memory < 0 || in->n_offers > PLACE_CHOICES)
        return err_set(err, ERR_INVALID, "node %.*s offers what cannot be", STR_ARG(in->name));
    for (size_t i = 0; i < in->n_offers; i++) {
        const struct place_offer *o = &in->offers[i];
        if (o->flavor >= p->n_flavors || o->gpus > 1000000 || o->taken > o->gpus)
            return err_set(err, ERR_INVALID, "node %.*s offers what cannot be", STR_ARG(in->name));
        if (p->flavors[o->flavor].shared) shared += o->gpus;
    }
    if (shared > PLACE_DEVICES) {
        err_set(err, ERR_LIMIT, "node %.*s has %llu GPUs to share, more than %d", STR_ARG(in->name),
                (unsigned long long)shared, PLACE_DEVICES);
        return err_hint(err, "let the flavor not be shared");
    }
    *devices = (uint32_t)shared;
    return true;
}

static void fill(struct place *p, struct node *n, const struct place_node *in, uint32_t devices)
{
    free(n->devices[0]);
    n->devices[0] = calloc(LEDGERS * (devices + 1), sizeof(int16_t));
    if (n->devices[0] == NULL) abort();
    for (unsigned l = 1; l < LEDGERS; l++)
        n->devices[l] = n->devices[0] + l * devices;
    n->alive = true;
    n->schedulable = in->schedulable;
    n->total_cpu = in->cpu;
    n->total_memory = in->memory;
    n->other_cpu = in->other_cpu;
    n->other_memory = in->other_memory;
    n->n_offers = (uint32_t)in->n_offers;
    n->n_devices = devices;
    n->any_labels = in->any_labels;
    free(n->labels.v);
    free(n->taints.v);
    n->labels = pairs_copy(in->labels, in->n_labels);
    n->taints = pairs_copy(in->taints, in->n_taints);
    selectors_node(p, n);
    uint32_t first = 0;
    for (uint32_t i = 0; i < n->n_offers; i++) {
        const struct place_offer *o = &in->offers[i];
        bool shared = p->flavors[o->flavor].shared;
        n->offers[i] =
            (struct offer){.flavor = o->flavor, .n = o->gpus, .taken = o->taken, .first = shared ? first : PLACE_NONE};
        if (shared) first += o->gpus;
    }
}

/* What its pods have is booked anew. Those of flavors that it does not offer any more leave it. */
static void rebook(struct place *p, uint32_t node)
{
    struct node *n = &p->nodes[node];
    for (unsigned l = 0; l < LEDGERS; l++)
        node_reset(n, l);
    for (uint32_t i = 0; n->pods > 0 && i < p->n_works; i++) {
        struct work *w = &p->works[i];
        if (w->state < PLACE_PROMISED) continue;
        unsigned ledgers = w->state == PLACE_PROMISED   ? IN(LOGICAL)
                           : w->state == PLACE_STOPPING ? IN(PHYSICAL)
                                                        : IN_BOTH;
        const struct shape_key *key = work_key(p, w);
        bool stays = node_hosts(n, w->flavor, key);
        for (uint32_t k = 0; k < key->pods; k++) {
            if (w->pods[k].node != node) continue;
            if (stays)
                node_take(n, node_offer(n, w->flavor), key, ledgers, &w->pods[k]);
            else
                w->pods[k].node = PLACE_NONE;
            n->pods -= !stays;
        }
    }
}

/* Whose room is gone looks for other room. */
static void promises_check(struct place *p)
{
    for (uint32_t i = p->n_promised; i-- > 0;) {
        const struct work *w = &p->works[p->promised[i]];
        bool whole = true;
        for (uint32_t k = 0; k < work_key(p, w)->pods; k++)
            whole &= w->pods[k].node != PLACE_NONE;
        if (!whole) promise_take_back(p, p->promised[i]);
    }
}

static bool offers_same(const struct node *n, const struct place_node *in)
{
    bool same = n->n_offers == in->n_offers;
    for (uint32_t i = 0; same && i < n->n_offers; i++)
        same = n->offers[i].flavor == in->offers[i].flavor;
    return same;
}

static void nodes_changed(struct place *p)
{
    p->seats_stale = p->dirty = true;
    p->version++;
    p->epoch++;
    for (uint32_t c = 0; c < p->n_cohorts; c++)
        p->cohorts[c].dirty = true;
}

/* Nodes come and go: their names are not left in an arena. */
static struct str copied(struct str s)
{
    char *copy = malloc(s.n + 1);
    if (copy == NULL) abort();
    memcpy(copy, s.p, s.n);
    return (struct str){copy, s.n};
}

bool place_node(struct place *p, const struct place_node *in, uint32_t *number, struct err *err)
{
    uint64_t at = 0;
    uint32_t devices = 0;
    bool known = map_get(&p->node_names, in->name, &at);
    if (!check(p, in, &devices, err)) return false;
    if (known && same(&p->nodes[at], in)) {
        *number = (uint32_t)at;
        return true;
    }
    if (!known) {
        at = p->free_node;
        if (at != PLACE_NONE) {
            p->free_node = p->nodes[at].next_free;
        } else {
            p->nodes = vec_grow(p->nodes, &p->room_nodes, p->n_nodes + 1, sizeof *p->nodes);
            at = p->n_nodes++;
        }
        p->nodes[at] = (struct node){.name = copied(in->name)};
        map_put(&p->node_names, p->nodes[at].name, at, NULL);
    }
    if (known) p->forced = true;
    p->offered += !known || !offers_same(&p->nodes[at], in);
    fill(p, &p->nodes[at], in, devices);
    rebook(p, (uint32_t)at);
    promises_check(p);
    nodes_changed(p);
    *number = (uint32_t)at;
    return true;
}

void place_node_gone(struct place *p, uint32_t node)
{
    if (node >= p->n_nodes || !p->nodes[node].alive) return;
    struct node *n = &p->nodes[node];
    map_del(&p->node_names, n->name);
    for (uint32_t i = 0; n->pods > 0 && i < p->n_works; i++)
        for (uint32_t k = 0; p->works[i].state >= PLACE_PROMISED && k < work_key(p, &p->works[i])->pods; k++)
            if (p->works[i].pods[k].node == node) p->works[i].pods[k].node = PLACE_NONE;
    node_free(p, node);
    promises_check(p);
    nodes_changed(p);
}

uint64_t place_offered(const struct place *p)
{
    return p->offered;
}

struct str place_node_name(const struct place *p, uint32_t node)
{
    return node < p->n_nodes && p->nodes[node].alive ? p->nodes[node].name : STR("");
}
