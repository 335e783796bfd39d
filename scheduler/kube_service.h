/* How an attempt of several workers has ended that had no Service, by which they find each other. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_SERVICE_H
#define MILLRACE_SCHEDULER_KUBE_SERVICE_H

#include "engine/flow/run.h"

/* Its pods do not wait for it: they run, find nobody, and fail as if that were their own doing. `why` it is not there,
 * as an attempt that waits for it says; NULL = it is, or it needs none. A new message lives in the arena. */
void kube_without_service(struct task_result *r, const char *why, struct arena *a);

#endif
