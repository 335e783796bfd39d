/* ResourceSlices and ResourceClaims as API servers write them, and what fits a flavor. See kube_devices.h. */
#include "scheduler/kube_devices.h"
#include "scheduler/kube_quantity.h"

static size_t items_of(const struct value *list)
{
    return list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0;
}

static size_t entries_of(const struct value *map)
{
    return map != NULL && map->type == VALUE_MAP ? map->u.map.n : 0;
}

/* ---- slices ---- */

/* One without a domain is the driver's. */
static void split_key(struct str key, struct str driver, struct str *domain, struct str *id)
{
    size_t slash;
    bool has_domain = str_find(key, STR("/"), &slash);
    *domain = has_domain ? str_sub(key, 0, slash) : driver;
    *id = has_domain ? str_sub(key, slash + 1, key.n) : key;
}

/* {string: …}, {int: …}, {bool: …}; versions and whatever is to come are of no type that a flavor can ask for. */
static void read_attribute(struct kube_attribute *a, const struct value *v)
{
    const struct value *s = value_get(v, "string"), *n = value_get(v, "int"), *b = value_get(v, "bool");
    if (s != NULL && s->type == VALUE_STRING) {
        a->type = KUBE_ATTRIBUTE_STRING;
        a->text = s->u.s;
    } else if (n != NULL && n->type == VALUE_INT) {
        a->type = KUBE_ATTRIBUTE_INT;
        a->number = n->u.i;
    } else if (b != NULL && b->type == VALUE_BOOL) {
        a->type = KUBE_ATTRIBUTE_BOOL;
        a->number = b->u.b;
    }
}

static bool keeps_away(const struct value *taints)
{
    for (size_t i = 0; i < items_of(taints); i++) {
        struct str effect = value_get_text(value_item(taints, i), "effect");
        if (str_is(effect, "NoSchedule") || str_is(effect, "NoExecute")) return true;
    }
    return false;
}

static void read_device(struct arena *a, const struct value *v, struct str driver, struct str node, bool own_node,
                        struct kube_device *out)
{
    const struct value *attributes = value_get(v, "attributes"), *capacity = value_get(v, "capacity");
    size_t n = entries_of(attributes), m = entries_of(capacity);
    struct kube_attribute *list = arena_array(a, struct kube_attribute, n + 1);
    struct kube_capacity *sizes = arena_array(a, struct kube_capacity, m + 1);
    *out = (struct kube_device){.name = value_get_text(v, "name"),
                                .node = own_node ? value_get_text(v, "nodeName") : node,
                                .attributes = list,
                                .capacity = sizes,
                                .n_attributes = n,
                                .tainted = keeps_away(value_get(v, "taints")),
                                .partition = items_of(value_get(v, "consumesCounters")) > 0};
    for (size_t i = 0; i < n; i++) {
        split_key(attributes->u.map.entries[i].key, driver, &list[i].domain, &list[i].id);
        read_attribute(&list[i], &attributes->u.map.entries[i].value);
    }
    for (size_t i = 0; i < m; i++) {
        struct kube_capacity *c = &sizes[out->n_capacity];
        if (!kube_quantity(value_get(&capacity->u.map.entries[i].value, "value"), &c->milli)) continue;
        split_key(capacity->u.map.entries[i].key, driver, &c->domain, &c->id);
        out->n_capacity++;
    }
}

bool kube_slice_read(struct arena *a, const struct value *object, struct kube_slice *out)
{
    const struct value *spec = value_get(object, "spec"), *pool = value_get(spec, "pool");
    const struct value *devices = value_get(spec, "devices");
    struct kube_slice s = {.name = value_get_text(value_get(object, "metadata"), "name"),
                           .driver = value_get_text(spec, "driver"),
                           .pool = value_get_text(pool, "name"),
                           .generation = value_get_int(pool, "generation"),
                           .slices = value_get_int(pool, "resourceSliceCount"),
                           .n_devices = items_of(devices)};
    if (s.name.n == 0 || s.driver.n == 0 || s.pool.n == 0 || s.generation < 0 || s.slices < 1) return false;
    struct kube_device *list = arena_array(a, struct kube_device, s.n_devices + 1);
    bool own_nodes = value_get_bool(spec, "perDeviceNodeSelection");
    for (size_t i = 0; i < s.n_devices; i++)
        read_device(a, value_item(devices, i), s.driver, value_get_text(spec, "nodeName"), own_nodes, &list[i]);
    s.devices = list;
    *out = s;
    return true;
}

/* ---- what fits ---- */

static bool has_attribute(const struct queue_attribute *want, const struct kube_device *d)
{
    for (size_t i = 0; i < d->n_attributes; i++) {
        const struct kube_attribute *a = &d->attributes[i];
        if (!str_eq(a->id, want->id) || !str_eq(a->domain, want->domain)) continue;
        switch (want->type) {
        case QUEUE_ATTRIBUTE_STRING: return a->type == KUBE_ATTRIBUTE_STRING && str_eq(a->text, want->text);
        case QUEUE_ATTRIBUTE_INT: return a->type == KUBE_ATTRIBUTE_INT && a->number == want->number;
        case QUEUE_ATTRIBUTE_BOOL: return a->type == KUBE_ATTRIBUTE_BOOL && a->number == want->number;
        }
    }
    return false;
}

static bool has_capacity(const struct queue_capacity *want, const struct kube_device *d)
{
    for (size_t i = 0; i < d->n_capacity; i++)
        if (str_eq(d->capacity[i].id, want->id) && str_eq(d->capacity[i].domain, want->domain))
            return d->capacity[i].milli >= want->least * 1000;
    return false;
}

bool kube_device_fits(const struct queue_devices *want, struct str driver, const struct kube_device *d)
{
    bool fits = str_eq(driver, want->driver);
    for (size_t i = 0; fits && i < want->n_attributes; i++)
        fits = has_attribute(&want->attributes[i], d);
    for (size_t i = 0; fits && i < want->n_capacity; i++)
        fits = has_capacity(&want->capacity[i], d);
    return fits;
}

/* ---- claims ---- */

/* Of the pod whose template it comes from; one that people made, and pods share, is nobody's. */
static struct str pod_of(const struct value *owners)
{
    for (size_t i = 0; i < items_of(owners); i++)
        if (str_is(value_get_text(value_item(owners, i), "kind"), "Pod"))
            return value_get_text(value_item(owners, i), "uid");
    return STR("");
}

bool kube_claim_read(struct arena *a, const struct value *object, struct kube_claim_state *out)
{
    const struct value *metadata = value_get(object, "metadata");
    const struct value *allocation = value_get(value_get(object, "status"), "allocation");
    const struct value *results = value_get(value_get(allocation, "devices"), "results");
    struct kube_claim_state c = {.uid = value_get_text(metadata, "uid"),
                                 .pod = pod_of(value_get(metadata, "ownerReferences"))};
    if (c.uid.n == 0) return false;
    struct kube_claim_device *list = arena_array(a, struct kube_claim_device, items_of(results) + 1);
    for (size_t i = 0; i < items_of(results); i++) {
        const struct value *r = value_item(results, i);
        if (value_get_bool(r, "adminAccess")) continue; /* looks on, and takes nothing */
        list[c.n_devices++] = (struct kube_claim_device){value_get_text(r, "driver"), value_get_text(r, "pool"),
                                                         value_get_text(r, "device")};
    }
    c.devices = list;
    *out = c;
    return true;
}
