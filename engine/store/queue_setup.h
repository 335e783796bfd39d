/* From what is declared to the rules of engine/place, and from a step's wish to what they are asked. Used by the
 * placer, and by the API to refuse at submission what could never run. */
#ifndef MILLRACE_STORE_QUEUE_SETUP_H
#define MILLRACE_STORE_QUEUE_SETUP_H

#include "engine/flow/plan.h"
#include "engine/flow/queue_doc.h"
#include "engine/place/place.h"

struct queue_setup {
    struct arena *arena;              /* of all that follows */
    const struct flavor_doc *flavors; /* numbered as in `place`; special ones before general ones */
    uint32_t n_flavors;
    const struct queue_doc *queues;
    uint32_t *numbers; /* of queues in `place` */
    uint32_t n_queues;
    struct place_flavor *offered; /* as place_offers() takes them */
    struct place *place;
};
extern const struct flavor_doc queue_any_flavor;
/* With a queue QUEUE_DEFAULT, and where no flavor is declared with queue_any_flavor. To be closed. */
MUST_CHECK bool queue_setup_open(struct queue_setup *s, struct arena *a, const struct queue_docs *docs,
                                 struct err *err);
void queue_setup_close(struct queue_setup *s);

struct queue_ask {            /* a step's wish */
    struct str queue, flavor; /* flavor empty = any that the queue offers */
    uint32_t gpu, pods;       /* of each pod, in thousandths */
    int64_t cpu, memory;      /* of each pod */
    int32_t priority;
    bool whole_parts; /* of a shared GPU the whole parts are counted that a pod asks Kubernetes for */
    const struct value *selector, *tolerations; /* as the step says them; NULL = nothing */
};
struct queue_ask queue_ask_of(const struct node *n, bool ignore_gpu);
/* Does it need to wait for the placer? */
static inline bool queue_ask_needed(const struct node *n, bool ignore_gpu)
{
    return n->queue.n > 0 || (n->resources.gpu_count > 0 && !ignore_gpu);
}

/* Its queue, SIZE_MAX = not declared. */
size_t queue_setup_find(const struct queue_setup *s, struct str queue);
/* As the rules take it, valid as long as `scratch`; id and times are the caller's to fill in. ERR_NOT_FOUND names the
 * queue or flavor that is not there. */
MUST_CHECK bool queue_setup_ask(const struct queue_setup *s, const struct queue_ask *ask, struct arena *scratch,
                                struct place_ask *out, struct err *err);

/* Equal GPUs of a machine that is no node of a cluster: a machine may have several kinds, and its labels be those of
 * each. They count for the first flavor that fits; for shared ones as they are, each one whole. */
struct queue_holder {      /* an attempt that went through no queue */
    int64_t run_id, milli; /* milli: of a GPU, of all that it has */
    uint32_t task, attempt;
};
struct queue_group {
    struct str resource;    /* as a node of a cluster would have it */
    uint32_t n, taken, own; /* own: of those that are taken, who has them is among the holders */
    const struct queue_holder *holders;
    size_t n_holders;
    const struct place_pair *labels; /* those of the node among them */
    size_t n_labels;
};
/* A node as its source describes it: JSON, and what the placer shows of it. */
struct queue_node {
    struct str name;
    bool schedulable;
    int64_t cpu, memory, other_cpu, other_memory;
    const struct place_pair *labels, *taints;
    size_t n_labels, n_taints;
    const struct place_devices *devices;
    size_t n_devices;
    const struct queue_group *groups; /* instead of devices */
    size_t n_groups;
};
/* From that JSON; the value must outlive it. */
MUST_CHECK bool queue_node_read(struct arena *a, const struct value *v, struct queue_node *out);
/* The flavor for which the group counts; PLACE_NONE = none. */
uint32_t queue_setup_group(const struct queue_setup *s, const struct queue_group *g);
/* What it offers, in whole GPUs; out has room for n_flavors. */
size_t queue_setup_offers(const struct queue_setup *s, const struct queue_node *n, struct place_offer *out);
/* Tells the rules of it. ERR_LIMIT when it has more than they can hold. */
MUST_CHECK bool queue_setup_node(const struct queue_setup *s, const struct queue_node *n, struct arena *scratch,
                                 uint32_t *number, struct err *err);

#endif
