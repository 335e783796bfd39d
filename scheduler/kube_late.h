/* How late nodes tell of what ends there, and so how long a step seems to run before its log is followed. Pure.
 *
 * The log of a short step is asked for once, at its end. One that is followed has to be asked for its end again, unless
 * the stream was over before. But a kubelet with much to do tells of a pod's end seconds later, and until then a short
 * step seems to run. No two clocks are compared: how long it seemed to run is this machine's, how long it did is its
 * node's, in whole seconds. */
#ifndef MILLRACE_SCHEDULER_KUBE_LATE_H
#define MILLRACE_SCHEDULER_KUBE_LATE_H

#include <stdint.h>

#define KUBE_FOLLOW_LEAST_US ((int64_t)2000000)
#define KUBE_LATE_MOST_US ((int64_t)4000000) /* what seems to run is followed after 8 s at the latest */

/* late: of those before, 0 at first; given how long this one seemed to run and did. */
int64_t kube_late_heard(int64_t late_us, int64_t seemed_us, int64_t ran_us);
/* How long a step seems to run before it is worth following. */
int64_t kube_follow_after_us(int64_t late_us);

#endif
