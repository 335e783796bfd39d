/* GPUs as steps ask for them: so many, or a share of one, perhaps of a flavor. What a machine has is told from outside.
 */
#ifndef MILLRACE_FLOW_GPU_H
#define MILLRACE_FLOW_GPU_H

#include "engine/base/buf.h"
#include "engine/flow/plan.h"

#define GPU_WHOLE 1000 /* shares are counted in thousandths of a GPU */

struct gpu {
    struct str uuid;      /* GPU-… or MIG-… */
    struct str product;   /* see gpu_product() */
    bool part;            /* an instance of a GPU that is divided by MIG */
    uint32_t index;       /* of the GPU, as nvidia-smi counts; its instances have the same */
    int64_t memory_bytes; /* 0 = unknown */
};

struct gpu_want {
    uint32_t count;    /* 0 = none */
    uint32_t milli;    /* of each: GPU_WHOLE, or less of one */
    struct str flavor; /* empty = any */
    /* Of these alone, one a line: those that count for the flavor where flavors are declared. Empty = the flavor's
     * words say which serve. */
    struct str products;
};
struct gpu_want gpu_wanted(const struct resources *r);

/* The name by which nodes of a cluster have it in their label nvidia.com/gpu.product (NVIDIA's GPU feature discovery):
 * "NVIDIA-A100-SXM4-40GB", of an instance "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb". In the arena; profile empty = whole. */
struct str gpu_product(struct arena *a, struct str name, struct str profile);

/* Is it of the flavor? The flavor's words, cut at what is neither letter nor digit, must be among the product's, in
 * that order, whatever their case: a100 and a100-40gb are, a10 is not. An instance by MIG only when its profile is
 * named (1g-5gb, a100-mig-1g-5gb). */
bool gpu_is_of(const struct gpu *g, struct str flavor);

/* The MIG profile in the product's name ("1g.5gb"), and the name without it; empty and the whole name where it has
 * none. Both are parts of `product`. */
struct str gpu_profile(struct str product, struct str *name);

/* Which of a machine's GPUs serve: those of the products; else those of the flavor. Without either, whole GPUs;
 * instances by MIG only where there is nothing else. serves[n] may be NULL; returns how many do. */
uint32_t gpu_serving(const struct gpu *gpus, size_t n, const struct gpu_want *w, bool *serves);

/* "2 GPUs", "1 × a100", "50% of one GPU", "50% of one a100" */
void gpu_want_text(const struct gpu_want *w, struct buf *out);
/* Percents of a GPU: "12.5%". */
void gpu_share_text(uint32_t milli, struct buf *out);

#endif
