/* What the placer admitted a local step with, as far as it says which GPUs it may have: see kube_pin.h for the rest. */
#ifndef MILLRACE_SCHEDULER_GPU_PIN_H
#define MILLRACE_SCHEDULER_GPU_PIN_H

#include "engine/flow/gpu.h"

/* What the attempt wants, of the products that count for the flavor it was admitted on. pin: JSON; empty, or without
 * products: as the step says it. What it is made of lives in the arena. */
struct gpu_want gpu_pinned(struct arena *a, const struct resources *r, struct str pin);

#endif
