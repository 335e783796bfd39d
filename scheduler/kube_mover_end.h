/* How a container of Millrace's own ended that was given no time to say so itself. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_MOVER_END_H
#define MILLRACE_SCHEDULER_KUBE_MOVER_END_H

#include "engine/base/arena.h"
#include "engine/base/value.h"

/* Texts are slices of the pod's own. */
struct kube_mover_end {
    struct str name, reason;
    struct str memory; /* the most that it might use, as it stands there; empty = any */
    int64_t code;      /* 0 = it has ended well, or not at all */
};

/* Of one of a pod's init containers: its spec has its limits, and `status` is the container's. */
void kube_mover_end_read(const struct value *spec, const struct value *status, struct kube_mover_end *out);

bool kube_mover_end_by_memory(const struct kube_mover_end *e);
/* That it was killed, and by whom; empty = it was not. */
struct str kube_mover_end_text(const struct kube_mover_end *e, struct arena *a);

/* As Kubernetes writes a size; where it wrote but a number, with a unit. */
struct str kube_size_text(struct str size, struct arena *a);

#endif
