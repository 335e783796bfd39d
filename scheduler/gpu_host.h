/* This machine's GPUs: which there are, which of them steps may have, and how they are. */
#ifndef MILLRACE_SCHEDULER_GPU_HOST_H
#define MILLRACE_SCHEDULER_GPU_HOST_H

#include "engine/base/err.h"
#include "engine/flow/gpu.h"

struct gpu_host;

/* `library`: NVML's; empty = as it is usually found, and where it is not, there are no GPUs. `which`: "all", "none", or
 * numbers (as nvidia-smi counts) and UUIDs, comma-separated. A library and GPUs that are named must be there; otherwise
 * what cannot be listed is not there, and the log says why. May block for seconds. */
MUST_CHECK bool gpu_host_open(struct str library, struct str which, struct gpu_host **out, struct err *err);
void gpu_host_close(struct gpu_host *h); /* NULL is fine */

/* Those that steps may have, in the order of their numbers, as long as the host lives. Of each the same number from 0
 * is meant below. */
const struct gpu *gpu_host_list(const struct gpu_host *h, size_t *n);
/* It has some, whether or not steps may have them: then steps are told which they may see. */
bool gpu_host_any(const struct gpu_host *h);

/* Asks anew how they are; blocks. Any thread, one at a time, and none may ask gpu_host_fault() meanwhile. */
void gpu_host_look(struct gpu_host *h);
/* Why one is not to be used: "is lost", "has had XID 79"; empty = it is in order. In the caller's memory. */
struct str gpu_host_fault(const struct gpu_host *h, size_t i, char out[64]);

#endif
