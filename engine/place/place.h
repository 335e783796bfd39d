/* The queue for GPUs: which workloads may start now, on which flavor and nodes, which are preempted for them, and why
 * the others wait. Pure: no I/O, clock or randomness; time comes with the call. Single-threaded.
 *
 * Words, as Kueue's API reference has them (https://kueue.sigs.k8s.io/docs/concepts/): a *flavor* is a kind of GPU, a
 * *queue* has a nominal quota of each flavor, queues of a *cohort* lend each other what they do not use, a *workload*
 * is a gang of equal pods that start together or not at all.
 *
 * The rules, in the order in which they are applied:
 *   - Queues take turns; the next turn has who borrows the smallest part of what its cohort lends, by its weight. That
 *     part is the dominant one of CPU, memory and GPUs (Ghodsi et al., Dominant Resource Fairness, NSDI 2011), where
 *     GPUs count by their flavor's weight. Between those who do not borrow, who uses the smallest part of its quota.
 *   - Within a queue: priority, then age. The whole queue is looked at; equal shapes are decided once a cycle.
 *   - A workload starts on the first of its flavors for which there is quota and, now, a node for every pod.
 *   - If there is none: on those it may preempt. Within its queue lower priorities, when the queue says so; and others
 *     of its cohort who borrow, when the workload is within its own queue's nominal quota. What it is promised is
 *     booked at once, so nobody, least of all a victim, can take it; it starts when the victims have stopped. Between
 *     two changes from outside nobody is preempted twice.
 *   - Otherwise the first that waits for a flavor in a queue, in a cohort, and for the flavor's nodes reserves what it
 *     needs. Who comes later passes only if it ends before the reserved time, or takes nothing of what is reserved
 *     (EASY backfill: Lifka, The ANL/IBM SP Scheduling System, JSSPP 1995). Without expected durations there is no such
 *     time, and only the second holds.
 *   - Of a flavor's nodes one may reserve before the turns: a queue's first that lacks only them, and has been passed
 *     eight times on the average of the queues that ask for them, by younger ones of no higher priority (passed.c).
 *   - Nodes that are reserved are not reserved against higher priorities whose queue may preempt.
 *
 * Units: CPU in thousandths of a core, memory in bytes, GPUs in thousandths (PLACE_GPU is a whole one), time in
 * microseconds. Numbers of flavors, queues, cohorts and nodes are given by the calls that make them. Strings are
 * copied.
 */
#ifndef MILLRACE_PLACE_PLACE_H
#define MILLRACE_PLACE_PLACE_H

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/place/flavor.h"
#include "engine/place/why.h"

#define PLACE_UNLIMITED INT64_MAX
#define PLACE_CHOICES 16 /* flavors that a workload may accept */
#define PLACE_DEVICES 64 /* GPUs of the shared flavors of one node */

struct place;

struct place *place_new(const struct place_flavor *flavors, uint32_t n); /* numbered from 0, in this order */
void place_free(struct place *p);
size_t place_bytes(const struct place *p); /* of memory, roughly */

/* ---- cohorts and queues ---- */

uint32_t place_cohort(struct place *p, struct str name); /* makes it unless it is there */

/* Of one resource in one queue. */
struct place_quota {
    int64_t nominal; /* PLACE_UNLIMITED = is not counted */
    int64_t borrow;  /* at most so much more from the cohort; PLACE_UNLIMITED = whatever it has */
    int64_t lend;    /* at most so much of the nominal quota to the cohort; PLACE_UNLIMITED = all */
};
struct place_flavor_quota {
    uint32_t flavor;
    struct place_quota gpus;
};
enum place_preempt {
    PLACE_PREEMPT_NEVER,
    PLACE_PREEMPT_LOWER, /* only strictly lower priorities */
    PLACE_PREEMPT_ANY    /* of who borrows; within the queue the same as LOWER */
};
struct place_queue {
    struct str name;
    uint32_t cohort; /* PLACE_NONE = by itself: neither borrows nor lends */
    double weight;   /* of its fair share; 0 = 1 */
    enum place_preempt within, reclaim;
    struct place_quota cpu, memory;
    const struct place_flavor_quota *flavors; /* only these are offered */
    size_t n_flavors;
};
/* Makes the queue of that name, or changes it; what runs goes on even when it is now too much. A queue stays in its
 * cohort. Its number goes to *number. */
MUST_CHECK bool place_queue(struct place *p, const struct place_queue *q, uint32_t *number, struct err *err);

/* ---- nodes ---- */

struct place_node {
    struct str name;
    int64_t cpu, memory;             /* allocatable */
    int64_t other_cpu, other_memory; /* of it what pods ask for that are no workloads; they may go some day */
    bool schedulable;                /* ready and not cordoned */
    bool any_labels;                 /* a machine that is no node of a cluster: selectors say nothing of it */
    const struct place_pair *labels, *taints;
    size_t n_labels, n_taints;
    const struct place_offer *offers;
    size_t n_offers; /* at most PLACE_CHOICES */
};
/* Makes the node of that name, or changes it. Unchanged ones cost nothing. What runs on it with GPUs of a flavor that
 * it does not offer (any more) has its queue's quota still, and is no workload of the node: it counts among what is
 * `taken` and `other`, as the GPUs that it really has. place_on() says of whom that is so. */
MUST_CHECK bool place_node(struct place *p, const struct place_node *n, uint32_t *number, struct err *err);
/* It is no more. Workloads on it keep what they have of quota until they are said to have ended. */
void place_node_gone(struct place *p, uint32_t node);
/* Grows when what some node offers changes, and so may what place_on() says. */
uint64_t place_offered(const struct place *p);
struct str place_node_name(const struct place *p, uint32_t node);

/* ---- workloads ---- */

struct place_ask {
    uint64_t id;
    uint32_t queue;
    int32_t priority; /* higher goes first */
    uint32_t pods;    /* all or none */
    /* of each pod */
    int64_t cpu, memory;
    uint32_t gpu; /* whole ones, or less than one; 0 = none */
    const uint32_t
        *flavors;     /* acceptable, the dearest wish first. Without a GPU: none, or those whose nodes it wants */
    size_t n_flavors; /* at most PLACE_CHOICES */
    /* On nodes that have all these labels, and, without a flavor, no taints but these, as place_flavor.tolerates says
     * them. Of more than 1023 different such wishes that are in use at once the later ones do not
     * count.
     */
    const struct place_pair *selector, *tolerates;
    size_t n_selector, n_tolerates;
    int64_t submit_us;
    int64_t expect_us; /* how long it will run; 0 = unknown */
};
/* Can it ever run, with everything else away? False = *why says what is asked too much, and err in words. Nothing is
 * changed. Cordoned nodes count: they may come back. */
MUST_CHECK bool place_feasible(struct place *p, const struct place_ask *ask, struct place_why *why, struct err *err);

/* It waits from now on. What is not feasible is taken as well, waits, and holds nobody up. */
MUST_CHECK bool place_add(struct place *p, const struct place_ask *ask, struct err *err);
/* It runs already, e.g. after a restart: nodes[pods], PLACE_NONE for one that nobody knows any more. Limits are not
 * asked. flavor may be PLACE_NONE only if it has no GPU. */
MUST_CHECK bool place_add_running(struct place *p, const struct place_ask *ask, uint32_t flavor, const uint32_t *nodes,
                                  int64_t started_us, struct err *err);
/* It runs, and was told to stop for `by` before: a victim, as after a restart. False = it is not running. */
bool place_stopping(struct place *p, uint64_t id, uint64_t by);
/* Does it, as far as it is on that node, have what the node offers of its flavor? */
bool place_on(const struct place *p, uint64_t id, uint32_t node);
/* The nodes in place_out are where there was room; if a pod turned up elsewhere, say so. False = it is not running. */
bool place_moved(struct place *p, uint64_t id, uint32_t pod, uint32_t node);
/* That pod is on no node yet. Where others really are in its place it is booked on another node with room for it, on
 * `rather` if there is some; if none has any, what it asks for of its flavor's GPUs is not free for others. Its node;
 * PLACE_NONE = none. A pod that has turned up before stays. */
uint32_t place_unbound(struct place *p, uint64_t id, uint32_t pod, uint32_t rather);
/* It is over, for whatever reason, or not wanted any more; in any state. False = unknown. */
bool place_ended(struct place *p, uint64_t id);
/* A victim's pods are gone: it waits again, as old as it was. False = it was no victim. */
bool place_stopped(struct place *p, uint64_t id);

enum place_state {
    PLACE_UNKNOWN,
    PLACE_WAITING,
    PLACE_PROMISED, /* waits for its victims to stop */
    PLACE_RUNNING,
    PLACE_STOPPING /* a victim */
};
enum place_state place_state(const struct place *p, uint64_t id);

/* ---- a cycle ---- */

struct place_admitted {
    uint64_t id;
    uint32_t flavor;       /* PLACE_NONE = any */
    uint32_t pods;         /* as many nodes */
    const uint32_t *nodes; /* a hint; only the flavor is to be pinned */
    bool borrows;          /* its queue now uses more than its nominal quota of what it asks for */
};
struct place_victim {
    uint64_t id, by;
};
struct place_out { /* in the caller's arena */
    struct arena *arena;
    struct place_admitted *admitted;
    size_t n_admitted, room_admitted;
    struct place_victim *victims; /* stop them, then place_stopped or place_ended */
    size_t n_victims, room_victims;
};
void place_out_init(struct place_out *out, struct arena *a);
/* Looks at what may have changed since the last cycle; at most `limit` workloads are admitted (0 = any number), the
 * others with the next call. True when that limit was met. A cycle in which nothing happens stays so until something
 * comes from outside. */
bool place_cycle(struct place *p, int64_t now_us, uint32_t limit, struct place_out *out);

/* ---- questions ---- */

/* Why it waits, as of the last cycle, and its position. False = it does not wait. Cost: the queue's length. */
bool place_explain(const struct place *p, uint64_t id, struct place_why *out);
/* The same without the position, for who asks about all: constant cost. */
bool place_reason(const struct place *p, uint64_t id, struct place_why *out);
/* In words. `name` says what people know a workload by; NULL = by its id. */
typedef void place_name_fn(const void *ctx, uint64_t id, struct buf *out);
void place_why_text(const struct place *p, const struct place_why *why, place_name_fn *name, const void *ctx,
                    struct buf *out);
/* The ids of the first who wait in a queue, in order, at most so many; returns how many. Does not cost the queue's
 * length. */
size_t place_first(const struct place *p, uint32_t queue, uint32_t most, struct arena *a, const uint64_t **ids);

struct place_usage {
    uint32_t waiting, running;
    int64_t used, nominal, cohort_used, cohort_quota; /* of the resource asked for; used: with promised, less victims */
    double share;                                     /* what it borrows, of what the cohort lends, by weight */
};
/* flavor: PLACE_NONE = CPU */
void place_usage(const struct place *p, uint32_t queue, uint32_t flavor, struct place_usage *out);

/* Debug: everything is counted anew and compared, limits and capacities included; for the simulator. */
MUST_CHECK bool place_verify(const struct place *p, struct err *err);

#endif
