/* What a cluster's nodes have, and what pods have of them that the placer does not count itself. */
#include "scheduler/kube_nodes_inner.h"

static void take(struct queue_node *n, struct place_devices *devices, const struct known_node *on,
                 const struct known_pod *p)
{
    n->other_cpu += p->has.cpu;
    n->other_memory += p->has.memory;
    for (uint32_t i = 0; i < p->has.n_devices; i++)
        for (uint32_t d = 0; d < on->n_devices; d++)
            if (on->devices[d].resource == p->has.devices[i].resource) devices[d].taken += p->has.devices[i].n;
}

struct asking {
    const struct nodes *k;
    placer_counts_fn *counts;
    const void *ctx;
};

static bool counts_by_uid(const void *ctx, struct str uid)
{
    const struct asking *a = ctx;
    uint64_t found;
    if (!map_get(&a->k->by_uid, uid, &found)) return false;
    const struct known_pod *p = (const struct known_pod *)(uintptr_t)found;
    return p->id.run != 0 && a->counts(a->ctx, &p->id, str_of(p->node));
}

/* Described devices, and room for them on each node. */
static size_t find_groups(struct nodes *k, placer_counts_fn *counts, const void *ctx, struct arena *a,
                          struct kube_device_group **out)
{
    const struct asking asking = {k, counts, ctx};
    size_t n = kube_nodes_devices_known(k) ? kube_devices_count(k->devices, counts_by_uid, &asking, a, out) : 0;
    for (struct known_node *one = k->first_node; one != NULL; one = one->next)
        one->groups = 0;
    for (size_t i = 0; i < n; i++) {
        struct known_node *on = kube_nodes_find(k, (*out)[i].node);
        if (on != NULL) on->groups++;
    }
    return n;
}

size_t kube_nodes_count(void *self, placer_counts_fn *counts, const void *ctx, struct arena *a, struct queue_node **out)
{
    struct nodes *k = self;
    struct queue_node *list = arena_array(a, struct queue_node, k->by_name.n + 1);
    struct place_devices **devices = arena_array(a, struct place_devices *, k->by_name.n + 1);
    struct kube_device_group *groups;
    size_t n_groups = find_groups(k, counts, ctx, a, &groups);
    uint32_t n = 0;
    for (struct known_node *one = k->first_node; one != NULL; one = one->next) {
        one->at = n;
        devices[n] = arena_array(a, struct place_devices, one->n_devices + one->groups + 1);
        for (uint32_t i = 0; i < one->n_devices; i++)
            devices[n][i] =
                (struct place_devices){.name = k->resources[one->devices[i].resource], .n = one->devices[i].n};
        list[n] = one->node;
        list[n].devices = devices[n];
        list[n++].n_devices = one->n_devices;
    }
    for (size_t i = 0; i < n_groups; i++) {
        const struct known_node *on = kube_nodes_find(k, groups[i].node);
        if (on != NULL) devices[on->at][list[on->at].n_devices++] = groups[i].devices;
    }
    for (const struct known_pod *p = k->first_pod; p != NULL; p = p->next) {
        const struct known_node *on = kube_nodes_find(k, str_of(p->node));
        if (on != NULL && !(p->id.run != 0 && counts(ctx, &p->id, on->name)))
            take(&list[on->at], devices[on->at], on, p);
    }
    *out = list;
    return n;
}

size_t kube_nodes_pods(void *self, struct arena *a, struct placer_pod **out)
{
    struct nodes *k = self;
    struct placer_pod *list = arena_array(a, struct placer_pod, k->by_uid.n + 1);
    size_t n = 0;
    for (const struct known_pod *p = k->first_pod; p != NULL; p = p->next)
        if (p->id.run != 0) list[n++] = (struct placer_pod){p->id, p->index, str_of(p->node)};
    *out = list;
    return n;
}
