/* Nodes and pods of a cluster for the placer: the watches of them, and of devices once a flavor asks for some. See
 * kube_nodes.h. */
#include "scheduler/kube_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/link.h"
#include "engine/os/log.h"
#include "scheduler/kube_job.h"
#include "scheduler/kube_nodes_inner.h"

#define REQUESTS_PER_S 20 /* lists and watches: apart from the executor's, so that neither waits for the other's */
#define ANSWER_MS 30000
#define SLICES_PATH "/apis/resource.k8s.io/v1/resourceslices"
#define CLAIMS_PATH "/apis/resource.k8s.io/v1/resourceclaims"
#define PODS_PATH "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"

/* ---- nodes ---- */

static void drop_node(struct nodes *k, struct known_node *n)
{
    map_del(&k->by_name, n->name);
    UNLINK(n);
    arena_free(&n->arena);
    free(n);
}

struct known_node *kube_nodes_find(const struct nodes *k, struct str name)
{
    uint64_t found;
    return map_get(&k->by_name, name, &found) ? (struct known_node *)(uintptr_t)found : NULL;
}

static void hear_node(void *ctx, enum kube_change change, const struct value *object)
{
    struct nodes *k = ctx;
    struct str name = kube_text(object, "metadata.name");
    struct known_node *old = kube_nodes_find(k, name), *n;
    if (change == KUBE_DELETED) {
        if (old != NULL) drop_node(k, old);
        k->generation++;
        return;
    }
    n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    arena_init(&n->arena, 0);
    kube_nodes_read_node(k, n, object);
    if (old == NULL || !kube_nodes_same(old, n)) k->generation++;
    if (old != NULL) drop_node(k, old);
    map_put(&k->by_name, n->name, (uint64_t)(uintptr_t)n, NULL);
    LINK(&k->first_node, n);
}

/* ---- pods ---- */

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

void kube_nodes_hear_pod(void *self, enum kube_change change, const struct value *object)
{
    struct nodes *k = self;
    struct str uid = kube_text(object, "metadata.uid"), phase = kube_text(object, "status.phase");
    uint64_t found = 0;
    struct known_pod *old = map_get(&k->by_uid, uid, &found) ? (struct known_pod *)(uintptr_t)found : NULL, *p = NULL;
    bool over = change == KUBE_DELETED || str_is(phase, "Succeeded") || str_is(phase, "Failed");
    bool nowhere = kube_text(object, "spec.nodeName").n == 0 && !may_have_devices(k, object);
    if (!over && !nowhere && uid.n < sizeof p->uid) {
        p = calloc(1, sizeof *p);
        if (p == NULL) abort();
        kube_nodes_read_pod(k, p, object);
    }
    if (old == NULL ? p == NULL : p != NULL && kube_nodes_same_pod(old, p)) {
        free(p);
        return;
    }
    k->generation++;
    if (old != NULL) drop_pod(k, old);
    if (p == NULL) return;
    map_put(&k->by_uid, str_of(p->uid), (uint64_t)(uintptr_t)p, NULL);
    LINK(&k->first_pod, p);
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

bool kube_nodes_devices_known(const struct nodes *k)
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
           (k->slices == NULL || kube_nodes_devices_known(k) || k->devices_trouble[0] != '\0');
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
    if (k->pods != NULL || open_watch(k, PODS_PATH, kube_nodes_hear_pod, trouble, &k->pods, &err)) return;
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
                                  .whole_parts = true,
                                  .flavors = source_flavors,
                                  .wanted = source_wanted,
                                  .fd = source_fd,
                                  .turn = source_turn,
                                  .known = source_known,
                                  .generation = source_generation,
                                  .version = source_version,
                                  .trouble = source_trouble,
                                  .nodes = kube_nodes_count,
                                  .pods = kube_nodes_pods,
                                  .close = source_close};
    return true;
}
