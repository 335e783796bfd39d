/* What the files kube_nodes*.c share: what is known of a cluster's nodes and pods. Nobody else includes this,
 * but for their tests. */
#ifndef MILLRACE_SCHEDULER_KUBE_NODES_INNER_H
#define MILLRACE_SCHEDULER_KUBE_NODES_INNER_H

#include "engine/base/map.h"
#include "engine/kube/watch.h"
#include "scheduler/kube_devices.h"
#include "scheduler/kube_nodes.h"

#define RESOURCES_MAX 64  /* kinds of devices in a cluster */
#define POD_DEVICES_MAX 8 /* of them in a pod */

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

struct portion { /* of a node */
    int64_t cpu, memory;
    struct amount devices[POD_DEVICES_MAX];
    uint32_t n_devices;
};

struct known_pod {
    char uid[64];
    char node[254];
    struct attempt_id id; /* run 0 = not of this installation */
    uint32_t index;
    struct portion has;
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

/* ---- kube_nodes_read.c: what objects say ---- */
/* Into what is zero, but for the node's arena; kinds of devices that are seen for the first time are added to `k`. */
void kube_nodes_read_node(struct nodes *k, struct known_node *n, const struct value *object);
void kube_nodes_read_pod(struct nodes *k, struct known_pod *p, const struct value *object);
/* Nodes and pods tell of themselves all the time; only what the placer asks of counts. */
bool kube_nodes_same(const struct known_node *a, const struct known_node *b);
bool kube_nodes_same_pod(const struct known_pod *a, const struct known_pod *b);

/* ---- kube_nodes.c: what is heard ---- */
void kube_nodes_hear_pod(void *self, enum kube_change change, const struct value *object);
/* NULL = it is not known. */
struct known_node *kube_nodes_find(const struct nodes *k, struct str name);
bool kube_nodes_devices_known(const struct nodes *k);

/* ---- kube_nodes_count.c: what the placer asks, see placer_source.h ---- */
size_t kube_nodes_count(void *self, placer_counts_fn *counts, const void *ctx, struct arena *a,
                        struct queue_node **out);
size_t kube_nodes_pods(void *self, struct arena *a, struct placer_pod **out);

#endif
