/* What a step was admitted with by the placer, and what follows for its Job. The placer writes it as JSON:
 *     {"flavor": "a100", "resource": "nvidia.com/gpu", "count": 1, "nodeSelector": {…}, "tolerations": […],
 *      "nodes": ["n1", …]}
 * with "claim": {"deviceClass": …, "selector": …} instead of "resource" where devices are described (kube_claim.h),
 * or for a queue that hands over {"kueue": "LOCALQUEUE"}. */
#ifndef MILLRACE_SCHEDULER_KUBE_PIN_H
#define MILLRACE_SCHEDULER_KUBE_PIN_H

#include "scheduler/kube_job.h"

/* Fills in what the Job gets by it, over what the step itself says. Empty text = nothing. Lives in the arena. */
MUST_CHECK bool kube_pin_apply(struct arena *a, struct str pin, struct kube_job *job, struct err *err);

#endif
