/* Which flavors a node offers, by its labels, taints and devices. */
#include "engine/place/place_inner.h"

static bool is_of(const struct place_flavor *f, const struct place_devices *d)
{
    if (!f->described) return d->n_of == 0 && d->name.n > 0 && str_eq(f->resource, d->name);
    for (size_t i = 0; i < d->n_of; i++)
        if (str_eq(d->of[i], f->name)) return true;
    return false;
}

size_t place_offers(const struct place_flavor *flavors, size_t n_flavors, const struct place_pair *labels,
                    size_t n_labels, const struct place_pair *taints, size_t n_taints,
                    const struct place_devices *devices, size_t n_devices, struct place_offer *out)
{
    size_t n = 0;
    for (size_t i = 0; i < n_flavors; i++) {
        const struct place_flavor *f = &flavors[i];
        if (!pairs_within(f->labels, f->n_labels, labels, n_labels) ||
            !pairs_tolerate(f->tolerates, f->n_tolerates, taints, n_taints))
            continue;
        bool any = f->resource.n > 0 || f->described;
        uint32_t gpus = 0, used = 0;
        for (size_t k = 0; k < n_devices; k++) {
            bool taken = false; /* by a flavor listed before */
            for (size_t j = 0; j < n && !taken; j++)
                taken = is_of(&flavors[out[j].flavor], &devices[k]);
            if (taken || !is_of(f, &devices[k])) continue;
            gpus += devices[k].n;
            used += devices[k].taken;
        }
        if (gpus > 0 || !any) out[n++] = (struct place_offer){(uint32_t)i, gpus, used < gpus ? used : gpus};
    }
    return n;
}
