/* See kube_mover_end.h. */
#include "scheduler/kube_mover_end.h"

#include "engine/base/units.h"

#define KILLED 137 /* 128 and SIGKILL */

static const struct value *named(const struct value *list, struct str name)
{
    const struct value *c;
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++)
        if (str_eq(value_get_text(c, "name"), name)) return c;
    return NULL;
}

void kube_mover_end_read(const struct value *spec, const struct value *status, struct kube_mover_end *out)
{
    struct str name = value_get_text(status, "name");
    const struct value *ended = value_get(value_get(status, "state"), "terminated");
    const struct value *code = value_get(ended, "exitCode"), *of = named(value_get(spec, "initContainers"), name);
    *out = (struct kube_mover_end){.name = name,
                                   .reason = value_get_text(ended, "reason"),
                                   .memory = value_get_text(value_get(value_get(of, "resources"), "limits"), "memory"),
                                   .code = code != NULL && code->type == VALUE_INT ? code->u.i : 0};
}

bool kube_mover_end_by_memory(const struct kube_mover_end *e)
{
    return str_is(e->reason, "OOMKilled");
}

struct str kube_mover_end_text(const struct kube_mover_end *e, struct arena *a)
{
    struct str may = kube_size_text(e->memory, a);
    if (kube_mover_end_by_memory(e))
        return arena_printf(a,
                            "the container %.*s used more memory than it may%s%.*s%s: raise the server's "
                            "--kube-companion-memory; Kubernetes says: OOMKilled",
                            STR_ARG(e->name), may.n > 0 ? " (" : "", STR_ARG(may), may.n > 0 ? ")" : "");
    if (e->code != KILLED) return STR("");
    return arena_printf(a, "the container %.*s was killed (exit code %d); Kubernetes says: %.*s", STR_ARG(e->name),
                        KILLED, STR_ARG(e->reason.n > 0 ? e->reason : STR("nothing more")));
}

struct str kube_size_text(struct str size, struct arena *a)
{
    char text[32];
    int64_t bytes;
    return str_int(size, &bytes) ? arena_printf(a, "%s", units_bytes_text(bytes, text)) : size;
}
