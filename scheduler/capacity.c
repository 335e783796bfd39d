/* Admission of local steps by CPU and memory. See capacity.h. */
#include "scheduler/capacity.h"

#include "engine/base/units.h"

static int64_t cpu_of(const struct resources *r)
{
    return r->cpu_milli > 0 ? r->cpu_milli : CAPACITY_DEFAULT_CPU_MILLI;
}

static int64_t memory_of(const struct resources *r)
{
    return r->memory_bytes > 0 ? r->memory_bytes : CAPACITY_DEFAULT_MEMORY;
}

struct resources capacity_counted(const struct resources *r)
{
    struct resources counted = *r;
    counted.cpu_milli = cpu_of(r);
    counted.memory_bytes = memory_of(r);
    return counted;
}

void capacity_init(struct capacity *c, int64_t cpu_milli, int64_t memory_bytes, uint32_t most)
{
    *c = (struct capacity){.cpu_total = cpu_milli, .memory_total = memory_bytes, .most = most};
}

static bool crowded(const struct capacity *c)
{
    return c->most > 0 && c->running >= c->most;
}

bool capacity_fits(const struct capacity *c, const struct resources *r)
{
    return !crowded(c) && c->cpu_used + cpu_of(r) <= c->cpu_total && c->memory_used + memory_of(r) <= c->memory_total;
}

void capacity_take(struct capacity *c, const struct resources *r)
{
    c->cpu_used += cpu_of(r);
    c->memory_used += memory_of(r);
    c->running++;
}

void capacity_give(struct capacity *c, const struct resources *r)
{
    c->cpu_used -= cpu_of(r);
    c->memory_used -= memory_of(r);
    c->running--;
}

bool capacity_possible(const struct capacity *c, const struct resources *r)
{
    return cpu_of(r) <= c->cpu_total && memory_of(r) <= c->memory_total;
}

void capacity_reason(const struct capacity *c, const struct resources *r, struct buf *out)
{
    bool possible = capacity_possible(c, r);
    char need[32], have[32];
    if (possible && crowded(c)) {
        buf_printf(out, "%u of %u steps run at once", c->running, c->most);
        return;
    }
    if (cpu_of(r) > (possible ? c->cpu_total - c->cpu_used : c->cpu_total)) {
        if (possible)
            buf_printf(out, "needs %g CPUs, %g of %g are free", (double)cpu_of(r) / 1000,
                       (double)(c->cpu_total - c->cpu_used) / 1000, (double)c->cpu_total / 1000);
        else
            buf_printf(out, "needs %g CPUs, this machine has %g", (double)cpu_of(r) / 1000,
                       (double)c->cpu_total / 1000);
        return;
    }
    units_bytes_text(memory_of(r), need);
    units_bytes_text(possible ? c->memory_total - c->memory_used : c->memory_total, have);
    buf_printf(out, possible ? "needs %s of memory, %s are free" : "needs %s of memory, this machine has %s", need,
               have);
}
