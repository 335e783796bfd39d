/* Room on the machine that runs local steps: the sum of what running steps asked for stays within what there is. Pure.
 */
#ifndef MILLRACE_SCHEDULER_CAPACITY_H
#define MILLRACE_SCHEDULER_CAPACITY_H

#include "engine/base/buf.h"
#include "engine/flow/plan.h"

/* What a step is counted with when it does not say: a short script, not a training job. */
#define CAPACITY_DEFAULT_CPU_MILLI 250
#define CAPACITY_DEFAULT_MEMORY ((int64_t)64 << 20)

struct capacity {
    int64_t cpu_total, memory_total; /* thousandths of a CPU, bytes */
    int64_t cpu_used, memory_used;
    uint32_t running, most; /* most: at once; 0 = any number */
};

/* What counts of a step: what it asks for, and of what it does not say the default. */
struct resources capacity_counted(const struct resources *r);
void capacity_init(struct capacity *c, int64_t cpu_milli, int64_t memory_bytes, uint32_t most);
bool capacity_fits(const struct capacity *c, const struct resources *r);
void capacity_take(struct capacity *c, const struct resources *r); /* also beyond the total: of what runs already */
void capacity_give(struct capacity *c, const struct resources *r);
/* Could it ever fit? */
bool capacity_possible(const struct capacity *c, const struct resources *r);
/* Why it does not fit now, with numbers: "needs 2 CPUs, 0.5 of 4 are free". */
void capacity_reason(const struct capacity *c, const struct resources *r, struct buf *out);

#endif
