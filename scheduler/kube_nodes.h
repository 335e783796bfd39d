/* A cluster's nodes and what pods have of them, as the placer asks for it: watches of nodes and, once somebody waits
 * for a GPU, of all pods that have not ended. Needs list and watch of both in the whole cluster. */
#ifndef MILLRACE_SCHEDULER_KUBE_NODES_H
#define MILLRACE_SCHEDULER_KUBE_NODES_H

#include "engine/kube/access.h"
#include "scheduler/kube.h"
#include "scheduler/placer_source.h"

/* Does not wait for the cluster: it may be away. `domain` is the executor's instance. */
MUST_CHECK bool kube_nodes_open(const struct kube_config *cfg, struct str domain, struct placer_source *out,
                                struct err *err);

#endif
