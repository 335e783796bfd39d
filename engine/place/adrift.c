/* Pods that were admitted and are on no node yet. Where they are booked there was room, which others may really have
 * taken since: then they are booked where there is some. If there is none they are adrift: booked on no node, and as
 * much as they ask for of their flavor is nobody else's of what is free, since sooner or later they have it. */
#include "engine/place/place_inner.h"

void adrift_book(struct place *p, const struct work *w, unsigned ledgers, int sign)
{
    for (unsigned l = LOGICAL; l <= PHYSICAL; l++)
        if (ledgers & IN(l)) p->adrift[l * p->n_flavors + w->flavor] += sign * (int64_t)work_key(p, w)->gpu;
}

int64_t adrift_leaves(const struct place *p, const struct shape_key *key, uint32_t flavor, unsigned ledgers)
{
    int64_t adrift = 0, free = 0;
    for (unsigned l = LOGICAL; key->gpu > 0 && l <= PHYSICAL; l++)
        if ((ledgers & IN(l)) && p->adrift[l * p->n_flavors + flavor] > adrift)
            adrift = p->adrift[l * p->n_flavors + flavor];
    if (adrift == 0) return INT64_MAX;
    const struct seats *s = seats_of(p, flavor);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct node *n = &p->nodes[s->v[i].node];
        if (n->schedulable) free += node_gpus_free(n, s->v[i].offer, ledgers);
    }
    return free > adrift ? free - adrift : 0;
}

/* By what is really there. Its devices may be others then. */
static bool stays(struct place *p, const struct work *w, struct pod *at)
{
    struct node *n = &p->nodes[at->node];
    const struct shape_key *key = work_key(p, w);
    uint32_t offer = node_offer(n, w->flavor);
    node_book(n, offer, key, IN_BOTH, -1, at);
    bool room = n->schedulable && node_room(n, offer, key, IN(PHYSICAL), NULL) > 0;
    if (room && !node_takes(n, offer, key, PHYSICAL, at))
        node_take(n, offer, key, IN_BOTH, at);
    else
        node_book(n, offer, key, IN_BOTH, 1, at);
    return room;
}

/* Reservations do not count: it goes wherever there is room. */
static uint32_t room_for(struct place *p, const struct work *w, uint32_t rather)
{
    const struct seats *s = seats_of(p, w->flavor);
    uint32_t found = PLACE_NONE;
    int64_t best = INT64_MAX, score;
    seats_renew(p);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct node *n = &p->nodes[s->v[i].node];
        if (!n->schedulable || node_room(n, s->v[i].offer, work_key(p, w), IN_BOTH, &score) == 0) continue;
        if (s->v[i].node == rather) return rather;
        if (score < best) best = score, found = s->v[i].node;
    }
    return found;
}

uint32_t place_unbound(struct place *p, uint64_t id, uint32_t pod, uint32_t rather)
{
    uint32_t w = work_find(p, id);
    if (w == PLACE_NONE || p->works[w].state != PLACE_RUNNING || pod >= work_key(p, &p->works[w])->pods)
        return PLACE_NONE;
    struct work *k = &p->works[w];
    struct pod *at = &k->pods[pod];
    if (at->landed || (at->node != PLACE_NONE && stays(p, k, at))) return at->node;
    uint32_t to = room_for(p, k, rather);
    bool adrift = to == PLACE_NONE && work_key(p, k)->gpu > 0;
    if (to != PLACE_NONE || (adrift && !at->adrift)) pod_put(p, k, at, to, adrift);
    return at->node;
}
