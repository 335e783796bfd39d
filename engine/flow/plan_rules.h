/* What a plan asks of the place where it is to run. Said at submission, not after an hour in a queue. */
#ifndef MILLRACE_FLOW_PLAN_RULES_H
#define MILLRACE_FLOW_PLAN_RULES_H

#include "engine/flow/plan.h"

struct gpu;

/* What a place offers; 0 = unknown, nothing is refused for it. */
struct plan_offer {
    int64_t cpu_milli, memory_bytes;
    const struct gpu *gpus; /* of this machine */
    size_t n_gpus;
    bool gpus_unknown;                          /* they are another machine's: nothing is refused for them */
    bool ignore_cpu, ignore_memory, ignore_gpu; /* waived by the user */
    bool cluster;                               /* steps are Jobs in a cluster, in images of their own */
    bool image;                                 /* of a cluster: there is one for steps that name none */
    bool moves;                                 /* of a cluster: artifacts reach its steps */
    bool tokens;                                /* of a cluster: its steps have tokens, and secrets by them */
};

/* Everything in the plan that cannot be done where this is offered. True when there is nothing. */
MUST_CHECK bool plan_fits_machine(const struct plan *p, const struct plan_offer *offer, struct err_list *errors);

/* Things that are kept but mean nothing on one machine, or in a cluster, as texts for a notice ("image",
 * "nodeSelector"); at most `room`. queued: the machine has queues. */
size_t plan_unused_here(const struct plan *p, bool cluster, bool queued, struct str *out, size_t room);

#endif
