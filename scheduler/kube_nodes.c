/* Nodes and pods of a cluster for the placer. See kube_nodes.h. */
#include "scheduler/kube_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/link.h"
#include "engine/base/map.h"
#include "engine/kube/watch.h"
#include "engine/os/log.h"
#include "scheduler/kube_devices.h"
#include "scheduler/kube_job.h"

#define REQUESTS_PER_S 20 /* lists and watches: apart from the executor's, so that neither waits for the other's */
#define ANSWER_MS 30000
#define RESOURCES_MAX 64 /* kinds of devices in a cluster */
#define SLICES_PATH "/apis/resource.k8s.io/v1/resourceslices"
#define CLAIMS_PATH "/apis/resource.k8s.io/v1/resourceclaims"
#define PODS_PATH "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"

struct amount { /* of a kind of device */
    uint32_t resource;
    uint32_t n;
};

struct known_node {
    struct arena arena; /* of what follows */
    struct str name;
    struct queue_node node;
    struct amount devices[RESOURCES_MAX];
    uint32_t n_devices;
    uint32_t at, groups; /* scratch: its place in the list under way, how many kinds of described devices it has */
    struct known_node *next, **link;
};

struct known_pod {
    char uid[64];
    char node[254];
    struct attempt_id id; /* run 0 = not of this installation */
    uint32_t index;
    int64_t cpu, memory;
    struct amount devices[8];
    uint32_t n_devices;
    struct known_pod *next, **link;
};

struct nodes {
    struct arena arena;
    struct kube_access access;
    struct kube_client *client;
    struct kube_watch *nodes, *pods;
    struct kube_watch *slices, *claims; /* NULL = no flavor has asked for devices yet */
    struct kube_devices *devices;
    struct str instance;
    char *domain;
    int64_t silence_ms;         /* of kube_config */
    struct map by_name, by_uid; /* values: pointers */
    struct known_node *first_node;
    struct known_pod *first_pod;
    struct str resources[RESOURCES_MAX];
    uint32_t n_resources;
    uint64_t generation;
    char trouble[600], devices_trouble[600];
};

/* ---- reading ---- */

static bool ends_with(struct str s, const char *tail)
{
    size_t n = strlen(tail);
    return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

/* Extended resources have a domain: vendor.com/kind. UINT32_MAX = it is none, or there are too many. */
static uint32_t resource_of(struct nodes *k, struct str name)
{
    size_t slash;
    if (!str_find(name, STR("/"), &slash) || str_starts(name, "attachable-volumes") || ends_with(name, "/pods"))
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

static void drop_node(struct nodes *k, struct known_node *n)
{
    map_del(&k->by_name, n->name);
    UNLINK(n);
    arena_free(&n->arena);
    free(n);
}

static struct known_node *node_named(const struct nodes *k, struct str name)
{
    uint64_t found;
    return map_get(&k->by_name, name, &found) ? (struct known_node *)(uintptr_t)found : NULL;
}

/* A node tells of itself all the time; only what the placer asks of counts. */
static bool node_same(const struct known_node *a, const struct known_node *b)
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

static void hear_node(void *ctx, enum kube_change change, const struct value *object)
{
    struct nodes *k = ctx;
    struct str name = kube_text(object, "metadata.name");
    struct known_node *old = node_named(k, name), *n;
    if (change == KUBE_DELETED) {
        if (old != NULL) drop_node(k, old);
        k->generation++;
        return;
    }
    n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    arena_init(&n->arena, 0);
    const struct value *spec = value_get(object, "spec"), *status = value_get(object, "status");
    const struct value *cordoned = value_get(spec, "unschedulable");
    n->name = n->node.name = arena_str(&n->arena, name);
    n->node.schedulable = is_ready(status) && !(cordoned != NULL && cordoned->type == VALUE_BOOL && cordoned->u.b);
    read_pairs(n, value_get(value_get(object, "metadata"), "labels"));
    read_taints(n, value_get(spec, "taints"));
    read_allocatable(k, n, value_get(status, "allocatable"));
    if (old == NULL || !node_same(old, n)) k->generation++;
    if (old != NULL) drop_node(k, old);
    map_put(&k->by_name, n->name, (uint64_t)(uintptr_t)n, NULL);
    LINK(&k->first_node, n);
}

/* ---- pods ---- */

static void add_requests(struct nodes *k, struct known_pod *p, const struct value *container)
{
    const struct value *map = value_get(value_get(container, "resources"), "requests");
    int64_t milli;
    for (size_t i = 0; map != NULL && map->type == VALUE_MAP && i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        if (!kube_quantity(&e->value, &milli)) continue;
        if (str_is(e->key, "cpu"))
            p->cpu += milli;
        else if (str_is(e->key, "memory"))
            p->memory += milli / 1000;
        else
            add_device(p->devices, &p->n_devices, 8, resource_of(k, e->key), milli / 1000);
    }
}

/* What a pod has: its containers and sidecars together, or its greediest init container. */
static void read_requests(struct nodes *k, struct known_pod *p, const struct value *spec)
{
    const struct value *c, *overhead = value_get(spec, "overhead");
    int64_t milli;
    for (size_t i = 0; (c = value_item(value_get(spec, "containers"), i)) != NULL; i++)
        add_requests(k, p, c);
    for (size_t i = 0; (c = value_item(value_get(spec, "initContainers"), i)) != NULL; i++) {
        struct known_pod one = {0};
        if (str_is(value_get_text(c, "restartPolicy"), "Always")) {
            add_requests(k, p, c);
            continue;
        }
        add_requests(k, &one, c);
        if (one.cpu > p->cpu) p->cpu = one.cpu;
        if (one.memory > p->memory) p->memory = one.memory;
    }
    if (kube_quantity(value_get(overhead, "cpu"), &milli)) p->cpu += milli;
    if (kube_quantity(value_get(overhead, "memory"), &milli)) p->memory += milli / 1000;
}

static bool number_in(const struct value *labels, const char *key, int64_t most, int64_t *out)
{
    return str_int(value_get_text(labels, key), out) && *out >= 0 && *out <= most;
}

static void read_attempt(const struct nodes *k, struct known_pod *p, const struct value *labels)
{
    int64_t run, task, attempt, index = 0;
    if (!str_eq(value_get_text(labels, KUBE_LABEL_INSTANCE), k->instance) ||
        !number_in(labels, KUBE_LABEL_RUN, INT64_MAX, &run) || !number_in(labels, KUBE_LABEL_TASK, UINT32_MAX, &task) ||
        !number_in(labels, KUBE_LABEL_ATTEMPT, UINT32_MAX, &attempt))
        return;
    p->id = (struct attempt_id){run, (uint32_t)task, (uint32_t)attempt};
    if (number_in(labels, "batch.kubernetes.io/job-completion-index", UINT32_MAX, &index)) p->index = (uint32_t)index;
}

static void drop_pod(struct nodes *k, struct known_pod *p)
{
    map_del(&k->by_uid, str_of(p->uid));
    UNLINK(p);
    free(p);
}

/* Kubernetes allocates a claim before it binds its pod. */
static bool may_have_devices(const struct nodes *k, const struct value *object)
{
    const struct value *labels = value_get(value_get(object, "metadata"), "labels");
    return value_item(value_get(value_get(object, "spec"), "resourceClaims"), 0) != NULL &&
           str_eq(value_get_text(labels, KUBE_LABEL_INSTANCE), k->instance);
}

static void hear_pod(void *ctx, enum kube_change change, const struct value *object)
{
    struct nodes *k = ctx;
    struct str uid = kube_text(object, "metadata.uid"), phase = kube_text(object, "status.phase");
    uint64_t found = 0;
    struct known_pod *old = map_get(&k->by_uid, uid, &found) ? (struct known_pod *)(uintptr_t)found : NULL;
    bool over = change == KUBE_DELETED || str_is(phase, "Succeeded") || str_is(phase, "Failed");
    struct str node = kube_text(object, "spec.nodeName");
    if (old != NULL && !over && str_is(node, old->node)) return; /* what it asks for does not change */
    if (old != NULL) {
        drop_pod(k, old);
        k->generation++;
    }
    if (over || (node.n == 0 && !may_have_devices(k, object)) || uid.n >= sizeof old->uid) return;
    struct known_pod *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    snprintf(p->uid, sizeof p->uid, "%.*s", STR_ARG(uid));
    snprintf(p->node, sizeof p->node, "%.*s", STR_ARG(node));
    read_requests(k, p, value_get(object, "spec"));
    read_attempt(k, p, value_get(value_get(object, "metadata"), "labels"));
    map_put(&k->by_uid, str_of(p->uid), (uint64_t)(uintptr_t)p, NULL);
    LINK(&k->first_pod, p);
    k->generation++;
}

/* ---- devices ---- */

static void hear_slice(void *ctx, enum kube_change change, const struct value *object)
{
    struct nodes *k = ctx;
    k->generation += kube_devices_hear_slice(k->devices, change == KUBE_DELETED, object);
}

static void hear_claim(void *ctx, enum kube_change change, const struct value *object)
{
    struct nodes *k = ctx;
    k->generation += kube_devices_hear_claim(k->devices, change == KUBE_DELETED, object);
}

static bool devices_known(const struct nodes *k)
{
    return k->slices != NULL && k->claims != NULL && kube_watch_synced(k->slices) && kube_watch_synced(k->claims);
}

/* Those of all others are not held up by it. */
static void devices_trouble(void *ctx, const struct kube_answer *answer)
{
    struct nodes *k = ctx;
    bool other = k->claims != NULL && (kube_watch_trouble(k->slices) != NULL || kube_watch_trouble(k->claims) != NULL);
    k->generation++;
    if (answer == NULL && other) return;
    k->devices_trouble[0] = '\0';
    if (answer == NULL) return;
    const char *cure = answer->status == 404   ? "; Kubernetes has resource.k8s.io/v1 from 1.34 on"
                       : answer->status == 403 ? "; see deploy/components/gpu-queue"
                                               : "";
    snprintf(k->devices_trouble, sizeof k->devices_trouble,
             "the cluster's ResourceSlices and ResourceClaims cannot be watched: %.*s%s", STR_ARG(answer->message),
             cure);
    log_warn("devices cannot be watched", LOG_STR("server", k->access.server), LOG_INT("status", answer->status),
             LOG_STR("message", answer->message));
}

/* ---- what the placer asks ---- */

static bool synced(const struct nodes *k)
{
    return kube_watch_synced(k->nodes) && k->pods != NULL && kube_watch_synced(k->pods) &&
           (k->slices == NULL || devices_known(k) || k->devices_trouble[0] != '\0');
}

static bool source_known(void *self)
{
    const struct nodes *k = self;
    return kube_watch_synced(k->nodes);
}

static uint64_t source_generation(void *self)
{
    const struct nodes *k = self;
    return synced(k) ? k->generation + 1 : 0;
}

static uint64_t source_version(void *self)
{
    const struct nodes *k = self;
    return 2 * k->generation + kube_watch_synced(k->nodes);
}

static struct str source_trouble(void *self)
{
    const struct nodes *k = self;
    return str_of(k->trouble[0] != '\0' ? k->trouble : k->devices_trouble);
}

static int source_fd(void *self)
{
    const struct nodes *k = self;
    return kube_client_fd(k->client);
}

static void source_turn(void *self)
{
    struct nodes *k = self;
    kube_client_turn(k->client);
}

static void trouble(void *ctx, const struct kube_answer *answer)
{
    struct nodes *k = ctx;
    k->trouble[0] = '\0';
    k->generation++;
    if (answer == NULL) return;
    snprintf(k->trouble, sizeof k->trouble, "the cluster's nodes and pods cannot be watched: %.*s%s",
             STR_ARG(answer->message), answer->status == 403 ? "; see deploy/components/gpu-queue" : "");
    log_warn("nodes and pods cannot be watched", LOG_STR("server", k->access.server), LOG_INT("status", answer->status),
             LOG_STR("message", answer->message));
}

static bool open_watch(struct nodes *k, const char *path,
                       void (*changed)(void *, enum kube_change, const struct value *),
                       void (*told)(void *, const struct kube_answer *), struct kube_watch **out, struct err *err)
{
    const struct kube_watch_config cfg = {
        .path = str_of(path), .changed = changed, .trouble = told, .ctx = k, .idle_ms = k->silence_ms};
    return kube_watch_open(k->client, &cfg, out, err);
}

static void source_wanted(void *self)
{
    struct nodes *k = self;
    struct err err;
    if (k->pods != NULL || open_watch(k, PODS_PATH, hear_pod, trouble, &k->pods, &err)) return;
    snprintf(k->trouble, sizeof k->trouble, "%s", err.message);
    k->generation++;
}

/* Few clusters have devices that are described: nothing is asked of them before a flavor wants them. */
static void source_flavors(void *self, const struct flavor_doc *flavors, size_t n)
{
    struct nodes *k = self;
    struct err err;
    size_t wanted = kube_devices_flavors(k->devices, flavors, n);
    k->generation++;
    if (wanted == KUBE_DEVICES_FLAVORS_MAX)
        log_warn("devices are told apart for so many flavors only", LOG_INT("flavors", KUBE_DEVICES_FLAVORS_MAX));
    if (wanted == 0 || k->slices != NULL) return;
    if (!open_watch(k, SLICES_PATH, hear_slice, devices_trouble, &k->slices, &err) ||
        !open_watch(k, CLAIMS_PATH, hear_claim, devices_trouble, &k->claims, &err))
        snprintf(k->devices_trouble, sizeof k->devices_trouble, "%s", err.message);
}

static void take(struct queue_node *n, struct place_devices *devices, const struct known_node *on,
                 const struct known_pod *p)
{
    n->other_cpu += p->cpu;
    n->other_memory += p->memory;
    for (uint32_t i = 0; i < p->n_devices; i++)
        for (uint32_t d = 0; d < on->n_devices; d++)
            if (on->devices[d].resource == p->devices[i].resource) devices[d].taken += p->devices[i].n;
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
    return p->id.run != 0 && a->counts(a->ctx, &p->id);
}

/* Described devices, and room for them on each node. */
static size_t find_groups(struct nodes *k, placer_counts_fn *counts, const void *ctx, struct arena *a,
                          struct kube_device_group **out)
{
    const struct asking asking = {k, counts, ctx};
    size_t n = devices_known(k) ? kube_devices_count(k->devices, counts_by_uid, &asking, a, out) : 0;
    for (struct known_node *one = k->first_node; one != NULL; one = one->next)
        one->groups = 0;
    for (size_t i = 0; i < n; i++) {
        struct known_node *on = node_named(k, (*out)[i].node);
        if (on != NULL) on->groups++;
    }
    return n;
}

static size_t source_nodes(void *self, placer_counts_fn *counts, const void *ctx, struct arena *a,
                           struct queue_node **out)
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
        const struct known_node *on = node_named(k, groups[i].node);
        if (on != NULL) devices[on->at][list[on->at].n_devices++] = groups[i].devices;
    }
    for (const struct known_pod *p = k->first_pod; p != NULL; p = p->next) {
        const struct known_node *on = node_named(k, str_of(p->node));
        if (on != NULL && !(p->id.run != 0 && counts(ctx, &p->id))) take(&list[on->at], devices[on->at], on, p);
    }
    *out = list;
    return n;
}

static size_t source_pods(void *self, struct arena *a, struct placer_pod **out)
{
    struct nodes *k = self;
    struct placer_pod *list = arena_array(a, struct placer_pod, k->by_uid.n + 1);
    size_t n = 0;
    for (const struct known_pod *p = k->first_pod; p != NULL; p = p->next)
        if (p->id.run != 0) list[n++] = (struct placer_pod){p->id, p->index, str_of(p->node)};
    *out = list;
    return n;
}

static void source_close(void *self)
{
    struct nodes *k = self;
    kube_watch_close(k->nodes);
    kube_watch_close(k->pods);
    kube_watch_close(k->slices);
    kube_watch_close(k->claims);
    kube_client_close(k->client);
    while (k->first_node != NULL)
        drop_node(k, k->first_node);
    while (k->first_pod != NULL)
        drop_pod(k, k->first_pod);
    map_free(&k->by_name);
    map_free(&k->by_uid);
    kube_devices_free(k->devices);
    free(k->domain);
    arena_free(&k->arena);
    free(k);
}

bool kube_nodes_open(const struct kube_config *cfg, struct str domain, struct placer_source *out, struct err *err)
{
    struct nodes *k = calloc(1, sizeof *k);
    if (k == NULL) abort();
    arena_init(&k->arena, 0);
    map_init(&k->by_name, 0);
    map_init(&k->by_uid, 0);
    k->instance = arena_str(&k->arena, cfg->instance);
    k->domain = strndup(domain.p, domain.n);
    k->devices = kube_devices_new();
    k->silence_ms = cfg->silence_ms;
    const struct kube_client_config client = {
        .access = &k->access,
        .requests_per_s = REQUESTS_PER_S,
        .timeout_ms = k->silence_ms > 0 && k->silence_ms < ANSWER_MS ? k->silence_ms : ANSWER_MS,
        .user_agent = "millrace-placer/" MILLRACE_VERSION};
    if (!kube_access_load(&k->arena, arena_str(&k->arena, cfg->kubeconfig), arena_str(&k->arena, cfg->context),
                          &k->access, err) ||
        !kube_client_open(&client, &k->client, err) ||
        !open_watch(k, "/api/v1/nodes", hear_node, trouble, &k->nodes, err)) {
        source_close(k);
        return false;
    }
    *out = (struct placer_source){.self = k,
                                  .domain = k->domain,
                                  .flavors = source_flavors,
                                  .wanted = source_wanted,
                                  .fd = source_fd,
                                  .turn = source_turn,
                                  .known = source_known,
                                  .generation = source_generation,
                                  .version = source_version,
                                  .trouble = source_trouble,
                                  .nodes = source_nodes,
                                  .pods = source_pods,
                                  .close = source_close};
    return true;
}
