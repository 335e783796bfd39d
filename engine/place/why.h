/* Why a workload waits: typed, with numbers. */
#ifndef MILLRACE_PLACE_WHY_H
#define MILLRACE_PLACE_WHY_H

#include "engine/base/str.h"

/* id, name. Names are stable. */
#define PLACE_REASONS(X)                                                                                               \
    X(PLACE_NO_REASON, "New")               /* no cycle has looked at it yet */                                        \
    X(PLACE_NO_SUCH_FLAVOR, "NoSuchFlavor") /* its queue offers none of its flavors */                                 \
    X(PLACE_EXCEEDS_QUOTA, "ExceedsQuota")  /* it asks for more than its queue could ever have, borrowing included */  \
    X(PLACE_UNSCHEDULABLE, "Unschedulable") /* no nodes could hold it, were they empty */                              \
    X(PLACE_WAITING_FOR_QUOTA, "WaitingForQuota")     /* others use, or an earlier one has reserved, the quota */      \
    X(PLACE_WAITING_FOR_NODES, "WaitingForNodes")     /* there is quota, and no node has room for one of its pods */   \
    X(PLACE_WAITING_FOR_GANG, "WaitingForGang")       /* there is room for some of its pods, and not for all */        \
    X(PLACE_WAITING_FOR_VICTIMS, "WaitingForVictims") /* those who were preempted for it have not stopped yet */       \
    X(PLACE_PREEMPTED, "Preempted")                   /* it gave way to another one, and will run again */

enum place_reason {
#define X(id, name) id,
    PLACE_REASONS(X)
#undef X
        PLACE_REASON_COUNT
};

/* Quota that others of the cohort use: */
enum place_cohort_use {
    PLACE_OF_NO_MATTER,
    PLACE_LENT,    /* it would be within its queue's own */
    PLACE_BORROWS, /* it would borrow, and so takes nothing back, though its queue does */
    PLACE_BEHIND   /* it would be within its queue's own, and is behind one that would borrow */
};

enum place_resource { PLACE_RESOURCE_CPU, PLACE_RESOURCE_MEMORY, PLACE_RESOURCE_GPU };

struct place_why {
    enum place_reason reason;
    enum place_resource resource; /* what the numbers are of, in its unit */
    uint32_t queue;
    uint32_t flavor;              /* PLACE_NONE = none */
    int64_t need;                 /* quota: of all pods. Nodes: of one pod */
    int64_t free;                 /* quota: what the queue could take now. Nodes: the most that one node has free */
    int64_t limit;                /* ExceedsQuota: the most it could ever have. Unschedulable: the most a node has */
    enum place_cohort_use cohort; /* WaitingForQuota */
    uint32_t gpu;                 /* of one pod, in thousandths */
    uint32_t pods, pods_fit;      /* there is room for so many of them */
    uint32_t selector;            /* of its nodes; 0 = none. Valid while it waits */
    uint32_t nodes;           /* of its flavor, or without one all: Unschedulable: that are there, else those that take
                               * pods at all, which cordoned ones do not */
    uint32_t closed;          /* WaitingForNodes, WaitingForGang: those that take none */
    uint64_t other;           /* who has reserved, is before it, or has preempted it; 0 = nobody */
    uint32_t position, of;    /* in its queue, from 1, of so many who wait; 0 = is not in it */
    uint32_t preempted_times; /* so far */
};

const char *place_reason_name(enum place_reason r);

#endif
