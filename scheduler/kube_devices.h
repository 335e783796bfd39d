/* Devices of Dynamic Resource Allocation: what ResourceSlices say there is and ResourceClaims say is in use, as GPUs of
 * nodes. Pure: objects come as the API server sends them.
 *
 * Kubernetes chooses devices by expressions (CEL). Here they are matched by equality of attributes and by least
 * capacities (queue_devices), of which kube_claim.h makes the expression of the claim: so whoever counts and whoever
 * allocates cannot disagree. What a DeviceClass itself selects by is not looked at; its driver's devices are counted.
 *   - Of a pool only the newest generation counts. As long as not all of its slices are there nothing of it is free.
 *   - A device that a claim has is taken, and one with a taint that keeps pods away.
 *   - Devices that are no single node's, and those that share counters with others (partitions of one that is not cut
 *     up yet), are left out.
 * https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/resource-slice-v1/ */
#ifndef MILLRACE_SCHEDULER_KUBE_DEVICES_H
#define MILLRACE_SCHEDULER_KUBE_DEVICES_H

#include "engine/base/arena.h"
#include "engine/base/value.h"
#include "engine/flow/queue_doc.h"
#include "engine/place/flavor.h"

/* ---- objects; texts are slices of the object's own ---- */

struct kube_attribute {
    struct str domain, id;
    enum { KUBE_ATTRIBUTE_OTHER, KUBE_ATTRIBUTE_STRING, KUBE_ATTRIBUTE_INT, KUBE_ATTRIBUTE_BOOL } type;
    struct str text;
    int64_t number;
};
struct kube_capacity {
    struct str domain, id;
    int64_t milli;
};
struct kube_device {
    struct str name;
    struct str node; /* empty = no single one's */
    const struct kube_attribute *attributes;
    const struct kube_capacity *capacity;
    size_t n_attributes, n_capacity;
    bool tainted, partition;
};
struct kube_slice {
    struct str name, driver, pool;
    int64_t generation, slices; /* slices: of the pool, in that generation */
    const struct kube_device *devices;
    size_t n_devices;
};
/* False when it is none. */
MUST_CHECK bool kube_slice_read(struct arena *a, const struct value *object, struct kube_slice *out);
/* Does the device fit what a flavor asks? */
bool kube_device_fits(const struct queue_devices *want, struct str driver, const struct kube_device *d);

struct kube_claim_device {
    struct str driver, pool, device;
};
struct kube_claim_state {
    struct str uid, pod; /* pod: the uid of who it was made for; empty = of nobody in particular */
    const struct kube_claim_device *devices;
    size_t n_devices; /* 0 = it is not allocated */
};
MUST_CHECK bool kube_claim_read(struct arena *a, const struct value *object, struct kube_claim_state *out);

/* ---- all of them ---- */

struct kube_devices;
struct kube_devices *kube_devices_new(void);
void kube_devices_free(struct kube_devices *d); /* NULL is fine */

#define KUBE_DEVICES_FLAVORS_MAX 64
/* Those that have a deviceClass are counted from now on, up to that many; copied. Returns how many. */
size_t kube_devices_flavors(struct kube_devices *d, const struct flavor_doc *flavors, size_t n);
/* True when something that counts has changed. */
bool kube_devices_hear_slice(struct kube_devices *d, bool deleted, const struct value *object);
bool kube_devices_hear_claim(struct kube_devices *d, bool deleted, const struct value *object);

struct kube_device_group {
    struct str node;
    struct place_devices devices; /* alike in the flavors that they fit */
};
/* Is a pod a workload, whose devices the rules know? */
typedef bool kube_devices_counts_fn(const void *ctx, struct str pod_uid);
/* What there is of devices that fit a flavor. Valid until something is heard, or the arena is reset. */
size_t kube_devices_count(const struct kube_devices *d, kube_devices_counts_fn *counts, const void *ctx,
                          struct arena *a, struct kube_device_group **out);

#endif
