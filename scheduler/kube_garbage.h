/* How long a Job that has ended lies before it is deleted. Pure. The Job controller and the API server have as much to
 * do with a Job that goes as with one that comes, and do both in turn: what has ended waits for those that are about to
 * run. But neither for ever, nor many, nor while there may be no room for a new one. */
#ifndef MILLRACE_SCHEDULER_KUBE_GARBAGE_H
#define MILLRACE_SCHEDULER_KUBE_GARBAGE_H

#include <stdbool.h>
#include <stdint.h>

#define KUBE_GARBAGE_LEAST_US ((int64_t)500000)      /* whatever its end lets begin is created first */
#define KUBE_GARBAGE_MOST_US ((int64_t)30 * 1000000) /* then it is due, though its DELETE may queue behind others */
#define KUBE_BEGINS_MOST_US ((int64_t)30 * 1000000)  /* what has not begun by then is not about to */

/* How it looks around a Job that has ended. */
struct kube_garbage {
    int64_t lying, most; /* Jobs that have ended and are there; that may be */
    bool starting;       /* others are about to run */
    bool refused;        /* others were not taken: a quota may count what lies */
};

bool kube_may_lie(const struct kube_garbage *g, int64_t lain_us);

#endif
