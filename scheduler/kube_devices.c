/* What slices and claims say, counted. See kube_devices.h. */
#include "scheduler/kube_devices.h"

#include <stdlib.h>

#include "engine/base/link.h"
#include "engine/base/map.h"

struct slice {
    struct arena arena;
    struct kube_slice is;
    uint64_t *masks; /* of each device: the flavors that it fits */
    struct slice *next, **link;
};
struct claim {
    struct arena arena;
    struct kube_claim_state is;
    struct claim *next, **link;
};

struct kube_devices {
    struct arena declared; /* of flavors */
    struct flavor_doc *flavors;
    size_t n_flavors;
    struct map by_name, by_uid; /* values: pointers */
    struct slice *slices;
    struct claim *claims;
};

static void *found(const struct map *m, struct str key)
{
    uint64_t at;
    return map_get(m, key, &at) ? (void *)(uintptr_t)at : NULL;
}

static struct str text_at(const struct value *object, const char *part, const char *key)
{
    return value_get_text(value_get(object, part), key);
}

/* ---- flavors ---- */

static struct str kept(struct kube_devices *d, struct str s)
{
    return arena_str(&d->declared, s);
}

static struct queue_devices kept_devices(struct kube_devices *d, const struct queue_devices *from)
{
    struct queue_attribute *attributes = arena_array(&d->declared, struct queue_attribute, from->n_attributes + 1);
    struct queue_capacity *capacity = arena_array(&d->declared, struct queue_capacity, from->n_capacity + 1);
    for (size_t i = 0; i < from->n_attributes; i++) {
        attributes[i] = from->attributes[i];
        attributes[i].domain = kept(d, attributes[i].domain);
        attributes[i].id = kept(d, attributes[i].id);
        attributes[i].text = kept(d, attributes[i].text);
    }
    for (size_t i = 0; i < from->n_capacity; i++) {
        capacity[i] = from->capacity[i];
        capacity[i].domain = kept(d, capacity[i].domain);
        capacity[i].id = kept(d, capacity[i].id);
    }
    return (struct queue_devices){kept(d, from->driver), attributes, capacity, from->n_attributes, from->n_capacity};
}

static void match(const struct kube_devices *d, struct slice *s)
{
    for (size_t i = 0; i < s->is.n_devices; i++) {
        s->masks[i] = 0;
        for (size_t f = 0; f < d->n_flavors; f++)
            if (kube_device_fits(&d->flavors[f].devices, s->is.driver, &s->is.devices[i]))
                s->masks[i] |= (uint64_t)1 << f;
    }
}

size_t kube_devices_flavors(struct kube_devices *d, const struct flavor_doc *flavors, size_t n)
{
    arena_reset(&d->declared);
    d->flavors = arena_array(&d->declared, struct flavor_doc, KUBE_DEVICES_FLAVORS_MAX);
    d->n_flavors = 0;
    for (size_t i = 0; i < n && d->n_flavors < KUBE_DEVICES_FLAVORS_MAX; i++) {
        if (flavors[i].device_class.n == 0) continue;
        d->flavors[d->n_flavors++] =
            (struct flavor_doc){.name = kept(d, flavors[i].name), .devices = kept_devices(d, &flavors[i].devices)};
    }
    for (struct slice *s = d->slices; s != NULL; s = s->next)
        match(d, s);
    return d->n_flavors;
}

/* ---- what is heard ---- */

static void drop_slice(struct kube_devices *d, struct slice *s)
{
    map_del(&d->by_name, s->is.name);
    UNLINK(s);
    arena_free(&s->arena);
    free(s);
}

static void drop_claim(struct kube_devices *d, struct claim *c)
{
    map_del(&d->by_uid, c->is.uid);
    UNLINK(c);
    arena_free(&c->arena);
    free(c);
}

bool kube_devices_hear_slice(struct kube_devices *d, bool deleted, const struct value *object)
{
    struct slice *old = found(&d->by_name, text_at(object, "metadata", "name"));
    if (old != NULL) drop_slice(d, old);
    if (deleted) return old != NULL;
    struct slice *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    arena_init(&s->arena, 0);
    const struct value copy = value_copy(&s->arena, object);
    if (!kube_slice_read(&s->arena, &copy, &s->is)) {
        arena_free(&s->arena);
        free(s);
        return old != NULL;
    }
    s->masks = arena_array(&s->arena, uint64_t, s->is.n_devices + 1);
    match(d, s);
    map_put(&d->by_name, s->is.name, (uint64_t)(uintptr_t)s, NULL);
    LINK(&d->slices, s);
    return true;
}

static bool same_claim(const struct kube_claim_state *a, const struct kube_claim_state *b)
{
    bool same = str_eq(a->pod, b->pod) && a->n_devices == b->n_devices;
    for (size_t i = 0; same && i < a->n_devices; i++)
        same = str_eq(a->devices[i].driver, b->devices[i].driver) && str_eq(a->devices[i].pool, b->devices[i].pool) &&
               str_eq(a->devices[i].device, b->devices[i].device);
    return same;
}

/* One that has no devices is not kept. */
bool kube_devices_hear_claim(struct kube_devices *d, bool deleted, const struct value *object)
{
    struct claim *old = found(&d->by_uid, text_at(object, "metadata", "uid"));
    struct claim *c = calloc(1, sizeof *c);
    if (c == NULL) abort();
    arena_init(&c->arena, 0);
    const struct value copy = value_copy(&c->arena, object);
    bool has = !deleted && kube_claim_read(&c->arena, &copy, &c->is) && c->is.n_devices > 0;
    bool changed = has ? old == NULL || !same_claim(&old->is, &c->is) : old != NULL;
    if (changed && old != NULL) drop_claim(d, old);
    if (changed && has) {
        map_put(&d->by_uid, c->is.uid, (uint64_t)(uintptr_t)c, NULL);
        LINK(&d->claims, c);
    } else {
        arena_free(&c->arena);
        free(c);
    }
    return changed;
}

/* ---- counting ---- */

enum { BY_WORKLOADS, BY_OTHERS }; /* a device may be had by several: others count */

struct pool {
    int64_t generation, slices, seen;
};

struct counting {
    const struct kube_devices *d;
    struct arena *arena;
    struct map pools, taken, groups; /* values: pointers; BY_…; places in `list` */
    struct kube_device_group *list;
    size_t n, room;
};

static struct str pool_key(struct arena *a, struct str driver, struct str pool)
{
    return arena_printf(a, "%.*s/%.*s", STR_ARG(driver), STR_ARG(pool));
}

static struct str device_key(struct arena *a, struct str driver, struct str pool, struct str device)
{
    return arena_printf(a, "%.*s/%.*s/%.*s", STR_ARG(driver), STR_ARG(pool), STR_ARG(device));
}

static void find_pools(struct counting *c)
{
    for (const struct slice *s = c->d->slices; s != NULL; s = s->next) {
        struct str key = pool_key(c->arena, s->is.driver, s->is.pool);
        struct pool *p = found(&c->pools, key);
        if (p == NULL) {
            p = arena_new(c->arena, struct pool);
            p->generation = -1;
            map_put(&c->pools, key, (uint64_t)(uintptr_t)p, NULL);
        }
        if (s->is.generation > p->generation) *p = (struct pool){s->is.generation, s->is.slices, 0};
        if (s->is.generation == p->generation) p->seen++;
    }
}

static void find_taken(struct counting *c, kube_devices_counts_fn *counts, const void *ctx)
{
    for (const struct claim *one = c->d->claims; one != NULL; one = one->next) {
        uint64_t by = one->is.pod.n > 0 && counts(ctx, one->is.pod) ? BY_WORKLOADS : BY_OTHERS, before;
        for (size_t i = 0; i < one->is.n_devices; i++) {
            const struct kube_claim_device *x = &one->is.devices[i];
            struct str key = device_key(c->arena, x->driver, x->pool, x->device);
            if (!map_get(&c->taken, key, &before) || before < by) map_put(&c->taken, key, by, NULL);
        }
    }
}

static struct kube_device_group *group_of(struct counting *c, const struct slice *s, size_t i)
{
    struct str node = s->is.devices[i].node;
    struct str key =
        arena_printf(c->arena, "%.*s/%.*s/%llx", STR_ARG(node), STR_ARG(s->is.driver), (unsigned long long)s->masks[i]);
    uint64_t at;
    if (map_get(&c->groups, key, &at)) return &c->list[at];
    if (c->n == c->room) {
        size_t more = c->room == 0 ? 64 : c->room * 2;
        c->list = arena_grow(c->arena, c->list, c->room * sizeof *c->list, more * sizeof *c->list);
        c->room = more;
    }
    struct kube_device_group *g = &c->list[c->n];
    struct str *of = arena_array(c->arena, struct str, c->d->n_flavors);
    *g = (struct kube_device_group){.node = node, .devices = {.name = s->is.driver, .of = of}};
    for (size_t f = 0; f < c->d->n_flavors; f++)
        if (s->masks[i] >> f & 1) of[g->devices.n_of++] = c->d->flavors[f].name;
    map_put(&c->groups, key, c->n++, NULL);
    return g;
}

static void count_slice(struct counting *c, const struct slice *s)
{
    const struct pool *p = found(&c->pools, pool_key(c->arena, s->is.driver, s->is.pool));
    if (s->is.generation != p->generation) return;
    for (size_t i = 0; i < s->is.n_devices; i++) {
        const struct kube_device *one = &s->is.devices[i];
        if (s->masks[i] == 0 || one->node.n == 0 || one->partition) continue;
        struct kube_device_group *g = group_of(c, s, i);
        uint64_t by;
        g->devices.n++;
        if (map_get(&c->taken, device_key(c->arena, s->is.driver, s->is.pool, one->name), &by))
            g->devices.taken += by == BY_OTHERS;
        else
            g->devices.taken += one->tainted || p->seen != p->slices;
    }
}

size_t kube_devices_count(const struct kube_devices *d, kube_devices_counts_fn *counts, const void *ctx,
                          struct arena *a, struct kube_device_group **out)
{
    struct counting c = {.d = d, .arena = a};
    map_init(&c.pools, 0);
    map_init(&c.taken, 0);
    map_init(&c.groups, 0);
    if (d->n_flavors > 0) {
        find_pools(&c);
        find_taken(&c, counts, ctx);
    }
    for (const struct slice *s = d->slices; s != NULL && d->n_flavors > 0; s = s->next)
        count_slice(&c, s);
    map_free(&c.pools);
    map_free(&c.taken);
    map_free(&c.groups);
    *out = c.list;
    return c.n;
}

/* ---- begin and end ---- */

struct kube_devices *kube_devices_new(void)
{
    struct kube_devices *d = calloc(1, sizeof *d);
    if (d == NULL) abort();
    arena_init(&d->declared, 0);
    map_init(&d->by_name, 0);
    map_init(&d->by_uid, 0);
    return d;
}

void kube_devices_free(struct kube_devices *d)
{
    if (d == NULL) return;
    while (d->slices != NULL)
        drop_slice(d, d->slices);
    while (d->claims != NULL)
        drop_claim(d, d->claims);
    map_free(&d->by_name);
    map_free(&d->by_uid);
    arena_free(&d->declared);
    free(d);
}
