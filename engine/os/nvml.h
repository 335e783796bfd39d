/* The machine's GPUs as NVIDIA's driver tells of them: by its library NVML (libnvidia-ml.so.1), which is loaded at run
 * time, since most machines have none. What is used of it is declared in nvml.c; names, numbers and layouts are those
 * of the NVML API reference, https://docs.nvidia.com/deploy/nvml-api/.
 *
 * Calls may block for seconds while a GPU wakes up or dies. One thread at a time. */
#ifndef MILLRACE_OS_NVML_H
#define MILLRACE_OS_NVML_H

#include "engine/base/arena.h"
#include "engine/base/err.h"

#define NVML_LIBRARY "libnvidia-ml.so.1"
#define NVML_TEXT 96

/* A GPU, or an instance of one that is divided by MIG: then the GPU itself is not listed. */
struct nvml_device {
    char uuid[NVML_TEXT]; /* GPU-… or MIG-…, as CUDA_VISIBLE_DEVICES takes it; empty = it did not even say that */
    char name[NVML_TEXT]; /* NVIDIA A100-SXM4-40GB: of the GPU */
    char profile[NVML_TEXT]; /* of a MIG instance: 1g.5gb; empty = a whole GPU */
    uint32_t index;          /* of the GPU, as nvidia-smi counts */
    int64_t memory_bytes;
    bool lost;    /* it does not answer, or wants a reset */
    uint64_t xid; /* its critical error, since the library was opened; 0 = none. Those of programs do not count */
};

struct nvml;

/* `library` is a path, or a name that is looked for as the loader does. ERR_NOT_FOUND where there is no such library:
 * then no such GPUs are here. Any other error: there is one, and it cannot be used. */
MUST_CHECK bool nvml_open(struct nvml **out, const char *library, struct err *err);
void nvml_close(struct nvml *n); /* NULL is fine */

/* All devices, in the order of their index, in the arena. Older drivers know no MIG; devices that this user may not see
 * are left out. */
MUST_CHECK bool nvml_list(struct nvml *n, struct arena *a, struct nvml_device **out, size_t *count, struct err *err);

/* Looks again how those of a list are: `lost` and `xid` of each. */
void nvml_look(struct nvml *n, struct nvml_device *devices, size_t count);

#endif
