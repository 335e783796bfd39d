/* The documents of the queue for GPUs: kinds Flavor and Queue. Read from YAML, and back from the JSON that is stored;
 * pipelines/QUEUES.md describes them. Strings live in the document's arena. */
#ifndef MILLRACE_FLOW_QUEUE_DOC_H
#define MILLRACE_FLOW_QUEUE_DOC_H

#include "engine/base/err.h"
#include "engine/base/value.h"

#define QUEUE_UNLIMITED INT64_MAX
#define QUEUE_DEFAULT "default" /* of steps that name none; it is there without being declared */
#define QUEUE_ANY_FLAVOR "gpu"  /* where none is declared: every node's nvidia.com/gpu */
#define QUEUE_FLAVORS_MAX 16    /* that a queue offers */
#define QUEUE_GPU 1000          /* a whole one */
#define QUEUE_MAX_SHARES 1000   /* as which one GPU is offered */

struct queue_pair {
    struct str key, value;
};
struct queue_toleration {
    struct str key, op, value, effect; /* op: Exists or Equal; effect empty = any */
};

/* Devices of Dynamic Resource Allocation, by what their driver says of them. Both who counts them and the claim that
 * asks for them go by it (scheduler/kube_devices.h, scheduler/kube_claim.h). */
struct queue_attribute {
    struct str domain, id; /* domain: of the driver unless it is written out */
    enum { QUEUE_ATTRIBUTE_STRING, QUEUE_ATTRIBUTE_INT, QUEUE_ATTRIBUTE_BOOL } type;
    struct str text;
    int64_t number; /* of a BOOL: 0 or 1 */
};
struct queue_capacity { /* that it has at least */
    struct str domain, id;
    int64_t least;
};
struct queue_devices {
    struct str driver;
    const struct queue_attribute *attributes;
    const struct queue_capacity *capacity;
    size_t n_attributes, n_capacity;
};

struct flavor_doc {
    struct str name, description;
    struct str resource;     /* of Kubernetes: nvidia.com/gpu; empty = it has a device_class */
    struct str device_class; /* DeviceClass of Kubernetes: gpu.nvidia.com */
    struct queue_devices devices;
    const struct queue_pair *nodes;
    size_t n_nodes;
    const struct queue_toleration *tolerations;
    size_t n_tolerations;
    uint32_t shared; /* each GPU is offered as so many of the resource; 0 = as one, to one pod */
    double weight;   /* 0 = 1 */
};

struct queue_amount { /* thousandths of a core, bytes, thousandths of a GPU */
    struct str of;    /* cpu, memory, or a flavor */
    int64_t nominal, borrow, lend;
    struct pos at;
};
enum queue_preempt { QUEUE_PREEMPT_NEVER, QUEUE_PREEMPT_LOWER, QUEUE_PREEMPT_ANY }; /* as place_preempt */
struct queue_doc {
    struct str name, description, cohort, kueue;
    double weight;
    enum queue_preempt within, reclaim;
    const struct queue_amount *amounts; /* none: every flavor, as much as there is */
    size_t n_amounts;
};

struct queue_docs {
    struct flavor_doc *flavors;
    const struct value **flavor_values; /* as they came */
    size_t n_flavors;
    struct queue_doc *queues;
    const struct value **queue_values;
    size_t n_queues;
};

/* The field `devices` of a flavor. */
struct spec;
struct spec_at;
void queue_read_devices(struct spec *s, const struct spec_at *at, const struct value *v, void *out);
/* What follows once the whole flavor is read: whose attributes those without a domain are. */
void queue_devices_settle(struct arena *a, struct str device_class, struct queue_devices *d);

/* Whether a document is of these kinds, so far as its `kind` says. */
bool queue_doc_is(const struct value *doc);
/* All that is wrong goes to `errors`, with its place. Names are not looked up: see queue_docs_check. */
MUST_CHECK bool queue_docs_read(struct arena *a, const struct value *docs, size_t n, struct queue_docs *out,
                                struct err_list *errors);
/* What is to be applied: flavors that queues name must be there, in `docs` or among the known ones, or be
 * QUEUE_ANY_FLAVOR where neither has any; no name twice; nothing may be said that has no effect; and
 * what Jobs get of it must be to Kubernetes' taste. Older documents that are not are still read. */
MUST_CHECK bool queue_docs_check(const struct queue_docs *docs, const struct str *known, size_t n_known,
                                 struct err_list *errors);

#endif
