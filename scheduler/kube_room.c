/* See kube_room.h. */
#include "scheduler/kube_room.h"

static const char *const rows[][2] = {
    {"Insufficient cpu", "resources.cpu"},
    {"Insufficient memory", "resources.memory"},
    {"Insufficient ephemeral-storage", "resources.storage"},
};

struct str kube_room_keys(struct str said, struct arena *a)
{
    struct str keys = STR("");
    size_t at;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_find(said, str_of(rows[i][0]), &at))
            keys = arena_printf(a, "%.*s%s%s", STR_ARG(keys), keys.n > 0 ? ", " : "", rows[i][1]);
    return keys.n > 0 ? arena_printf(a, " (see the step's %.*s)", STR_ARG(keys)) : keys;
}
