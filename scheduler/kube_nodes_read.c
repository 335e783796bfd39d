/* What objects of a cluster say of its nodes, and of what pods have of them. Pure.
 * https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/ */
#include <stdio.h>
#include <string.h>

#include "scheduler/kube_job.h"
#include "scheduler/kube_nodes_inner.h"
#include "scheduler/kube_quantity.h"

/* ---- devices ---- */

/* Extended resources have a domain: vendor.com/kind. UINT32_MAX = it is none, or there are too many. */
static uint32_t resource_of(struct nodes *k, struct str name)
{
    size_t slash;
    if (!str_find(name, STR("/"), &slash) || str_starts(name, "attachable-volumes") || str_ends(name, "/pods"))
        return UINT32_MAX;
    for (uint32_t i = 0; i < k->n_resources; i++)
        if (str_eq(k->resources[i], name)) return i;
    if (k->n_resources == RESOURCES_MAX) return UINT32_MAX;
    k->resources[k->n_resources] = arena_str(&k->arena, name);
    return k->n_resources++;
}

static void add_device(struct amount *list, uint32_t *n, uint32_t room, uint32_t resource, int64_t many)
{
    if (resource == UINT32_MAX || many <= 0 || many > 1000000) return;
    for (uint32_t i = 0; i < *n; i++)
        if (list[i].resource == resource) {
            list[i].n += (uint32_t)many;
            return;
        }
    if (*n < room) list[(*n)++] = (struct amount){resource, (uint32_t)many};
}

/* ---- nodes ---- */

static void read_pairs(struct known_node *n, const struct value *labels)
{
    size_t many = labels != NULL && labels->type == VALUE_MAP ? labels->u.map.n : 0;
    struct place_pair *pairs = arena_array(&n->arena, struct place_pair, many + 1);
    for (size_t i = 0; i < many; i++) {
        const struct value_entry *e = &labels->u.map.entries[i];
        struct str value = e->value.type == VALUE_STRING ? e->value.u.s : STR("");
        pairs[i] = (struct place_pair){arena_str(&n->arena, e->key), arena_str(&n->arena, value)};
    }
    n->node.labels = pairs;
    n->node.n_labels = many;
}

/* Kubernetes' own taints say that a node is not well, or cordoned; others keep away who does not tolerate them. */
static void read_taints(struct known_node *n, const struct value *list)
{
    size_t many = list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0, kept = 0;
    struct place_pair *pairs = arena_array(&n->arena, struct place_pair, many + 1);
    for (size_t i = 0; i < many; i++) {
        const struct value *t = value_item(list, i);
        struct str key = value_get_text(t, "key");
        if (str_is(value_get_text(t, "effect"), "PreferNoSchedule")) continue;
        if (str_starts(key, "node.kubernetes.io/"))
            n->node.schedulable = false;
        else
            pairs[kept++] =
                (struct place_pair){arena_str(&n->arena, key), arena_str(&n->arena, value_get_text(t, "value"))};
    }
    n->node.taints = pairs;
    n->node.n_taints = kept;
}

static void read_allocatable(struct nodes *k, struct known_node *n, const struct value *map)
{
    int64_t milli;
    for (size_t i = 0; map != NULL && map->type == VALUE_MAP && i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        if (!kube_quantity(&e->value, &milli)) continue;
        if (str_is(e->key, "cpu"))
            n->node.cpu = milli;
        else if (str_is(e->key, "memory"))
            n->node.memory = milli / 1000;
        else
            add_device(n->devices, &n->n_devices, RESOURCES_MAX, resource_of(k, e->key), milli / 1000);
    }
}

static bool is_ready(const struct value *status)
{
    const struct value *list = value_get(status, "conditions"), *c;
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++)
        if (str_is(value_get_text(c, "type"), "Ready")) return str_is(value_get_text(c, "status"), "True");
    return false;
}

void kube_nodes_read_node(struct nodes *k, struct known_node *n, const struct value *object)
{
    const struct value *spec = value_get(object, "spec"), *status = value_get(object, "status");
    const struct value *cordoned = value_get(spec, "unschedulable");
    n->name = n->node.name = arena_str(&n->arena, kube_text(object, "metadata.name"));
    n->node.schedulable = is_ready(status) && !(cordoned != NULL && cordoned->type == VALUE_BOOL && cordoned->u.b);
    read_pairs(n, value_get(value_get(object, "metadata"), "labels"));
    read_taints(n, value_get(spec, "taints"));
    read_allocatable(k, n, value_get(status, "allocatable"));
}

bool kube_nodes_same(const struct known_node *a, const struct known_node *b)
{
    const struct queue_node *x = &a->node, *y = &b->node;
    bool same = x->cpu == y->cpu && x->memory == y->memory && x->schedulable == y->schedulable &&
                x->n_labels == y->n_labels && x->n_taints == y->n_taints && a->n_devices == b->n_devices &&
                memcmp(a->devices, b->devices, a->n_devices * sizeof *a->devices) == 0;
    for (size_t i = 0; same && i < x->n_labels; i++)
        same = str_eq(x->labels[i].key, y->labels[i].key) && str_eq(x->labels[i].value, y->labels[i].value);
    for (size_t i = 0; same && i < x->n_taints; i++)
        same = str_eq(x->taints[i].key, y->taints[i].key) && str_eq(x->taints[i].value, y->taints[i].value);
    return same;
}

/* ---- pods ---- */

static void read_requests(struct nodes *k, struct portion *into, const struct value *map)
{
    int64_t milli;
    for (size_t i = 0; map != NULL && map->type == VALUE_MAP && i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        if (!kube_quantity(&e->value, &milli)) continue;
        if (str_is(e->key, "cpu"))
            into->cpu = milli;
        else if (str_is(e->key, "memory"))
            into->memory = milli / 1000;
        else
            add_device(into->devices, &into->n_devices, POD_DEVICES_MAX, resource_of(k, e->key), milli / 1000);
    }
}

static void add(struct portion *to, const struct portion *more)
{
    to->cpu += more->cpu;
    to->memory += more->memory;
    for (uint32_t i = 0; i < more->n_devices; i++)
        add_device(to->devices, &to->n_devices, POD_DEVICES_MAX, more->devices[i].resource, more->devices[i].n);
}

static void at_least(struct portion *to, const struct portion *least)
{
    struct portion lack = {.n_devices = 0};
    if (least->cpu > to->cpu) lack.cpu = least->cpu - to->cpu;
    if (least->memory > to->memory) lack.memory = least->memory - to->memory;
    for (uint32_t i = 0; i < least->n_devices; i++) {
        int64_t many = least->devices[i].n;
        for (uint32_t d = 0; d < to->n_devices; d++)
            if (to->devices[d].resource == least->devices[i].resource) many -= to->devices[d].n;
        add_device(lack.devices, &lack.n_devices, POD_DEVICES_MAX, least->devices[i].resource, many);
    }
    add(to, &lack);
}

static const struct value *named(const struct value *list, struct str name)
{
    const struct value *one;
    for (size_t i = 0; (one = value_item(list, i)) != NULL; i++)
        if (str_eq(value_get_text(one, "name"), name)) return one;
    return NULL;
}

/* A container is resized where it runs: it has what it asks for, unless its node cannot give that, and what its node
 * says that it has until then. */
static struct portion container(struct nodes *k, const struct value *c, const struct value *statuses, bool infeasible)
{
    const struct value *status = named(statuses, value_get_text(c, "name"));
    struct portion has = {.cpu = 0}, actual = {.cpu = 0}, allocated = {.cpu = 0};
    read_requests(k, &has, value_get(value_get(c, "resources"), "requests"));
    if (infeasible) has.cpu = has.memory = 0;
    read_requests(k, &actual, value_get(value_get(status, "resources"), "requests"));
    read_requests(k, &allocated, value_get(status, "allocatedResources"));
    at_least(&has, &actual);
    at_least(&has, &allocated);
    return has;
}

static bool is_infeasible(const struct value *status)
{
    const struct value *list = value_get(status, "conditions"), *c;
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++)
        if (str_is(value_get_text(c, "type"), "PodResizePending"))
            return str_is(value_get_text(c, "reason"), "Infeasible");
    return false;
}

/* What a pod has: its containers and sidecars together, but no less than an init container with the sidecars before
 * it; of CPUs and memory what the pod asks for as a whole, if it does.
 * https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers */
static void read_portion(struct nodes *k, struct portion *p, const struct value *spec, const struct value *status)
{
    struct portion sidecars = {.cpu = 0}, start = {.cpu = 0}, overhead = {.cpu = 0};
    bool infeasible = is_infeasible(status);
    const struct value *c;
    for (size_t i = 0; (c = value_item(value_get(spec, "initContainers"), i)) != NULL; i++) {
        struct portion one = container(k, c, value_get(status, "initContainerStatuses"), infeasible);
        add(&one, &sidecars);
        if (str_is(value_get_text(c, "restartPolicy"), "Always"))
            sidecars = one;
        else
            at_least(&start, &one);
    }
    for (size_t i = 0; (c = value_item(value_get(spec, "containers"), i)) != NULL; i++) {
        struct portion one = container(k, c, value_get(status, "containerStatuses"), infeasible);
        add(p, &one);
    }
    add(p, &sidecars);
    at_least(p, &start);
    read_requests(k, p, value_get(value_get(spec, "resources"), "requests"));
    read_requests(k, &overhead, value_get(spec, "overhead"));
    add(p, &overhead);
}

static void read_attempt(const struct nodes *k, struct known_pod *p, const struct value *labels)
{
    int64_t run, task, attempt, index = 0;
    if (!str_eq(value_get_text(labels, KUBE_LABEL_INSTANCE), k->instance) ||
        !kube_label_number(labels, KUBE_LABEL_RUN, INT64_MAX, &run) ||
        !kube_label_number(labels, KUBE_LABEL_TASK, UINT32_MAX, &task) ||
        !kube_label_number(labels, KUBE_LABEL_ATTEMPT, UINT32_MAX, &attempt))
        return;
    p->id = (struct attempt_id){.run = run, .task = (uint32_t)task, .attempt = (uint32_t)attempt};
    if (kube_label_number(labels, "batch.kubernetes.io/job-completion-index", UINT32_MAX, &index))
        p->index = (uint32_t)index;
}

void kube_nodes_read_pod(struct nodes *k, struct known_pod *p, const struct value *object)
{
    snprintf(p->uid, sizeof p->uid, "%.*s", STR_ARG(kube_text(object, "metadata.uid")));
    snprintf(p->node, sizeof p->node, "%.*s", STR_ARG(kube_text(object, "spec.nodeName")));
    read_portion(k, &p->has, value_get(object, "spec"), value_get(object, "status"));
    read_attempt(k, p, value_get(value_get(object, "metadata"), "labels"));
}

bool kube_nodes_same_pod(const struct known_pod *a, const struct known_pod *b)
{
    return strcmp(a->node, b->node) == 0 && a->id.run == b->id.run && a->id.task == b->id.task &&
           a->id.attempt == b->id.attempt && a->index == b->index && a->has.cpu == b->has.cpu &&
           a->has.memory == b->has.memory && a->has.n_devices == b->has.n_devices &&
           memcmp(a->has.devices, b->has.devices, a->has.n_devices * sizeof *a->has.devices) == 0;
}
