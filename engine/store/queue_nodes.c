/* Nodes as placers show them in the database (scheduler/placer_shown.c writes them). See queue_setup.h. */
#include "engine/store/queue_setup.h"

static struct str text_of(const struct value *v)
{
    return v->type == VALUE_STRING ? v->u.s : STR("");
}

static const struct place_pair *pairs_of(struct arena *a, const struct value *list, size_t *n)
{
    *n = list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0;
    struct place_pair *pairs = arena_array(a, struct place_pair, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        const struct value *one = &list->u.list.items[i];
        bool pair = one->type == VALUE_LIST && one->u.list.n == 2;
        pairs[i] = (struct place_pair){pair ? text_of(&one->u.list.items[0]) : STR(""),
                                       pair ? text_of(&one->u.list.items[1]) : STR("")};
    }
    return pairs;
}

static void read_holders(struct arena *a, const struct value *list, struct queue_group *out)
{
    out->n_holders = list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0;
    struct queue_holder *holders = arena_array(a, struct queue_holder, out->n_holders + 1);
    for (size_t i = 0; i < out->n_holders; i++) {
        const struct value *h = &list->u.list.items[i];
        holders[i] = (struct queue_holder){.run_id = value_get_int(h, "run"),
                                           .milli = value_get_int(h, "milli"),
                                           .task = (uint32_t)value_get_int(h, "task"),
                                           .attempt = (uint32_t)value_get_int(h, "attempt")};
    }
    out->holders = holders;
}

static void read_groups(struct arena *a, const struct value *list, struct queue_node *out)
{
    out->n_groups = list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0;
    struct queue_group *groups = arena_array(a, struct queue_group, out->n_groups + 1);
    for (size_t i = 0; i < out->n_groups; i++) {
        const struct value *g = &list->u.list.items[i];
        groups[i] = (struct queue_group){.resource = value_get_text(g, "resource"),
                                         .n = (uint32_t)value_get_int(g, "n"),
                                         .taken = (uint32_t)value_get_int(g, "taken"),
                                         .own = (uint32_t)value_get_int(g, "own")};
        read_holders(a, value_get(g, "holders"), &groups[i]);
        groups[i].labels = pairs_of(a, value_get(g, "labels"), &groups[i].n_labels);
    }
    out->groups = groups;
}

static const struct str *names_of(struct arena *a, const struct value *list, size_t *n)
{
    *n = list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0;
    struct str *names = arena_array(a, struct str, *n + 1);
    for (size_t i = 0; i < *n; i++)
        names[i] = text_of(&list->u.list.items[i]);
    return names;
}

bool queue_node_read(struct arena *a, const struct value *v, struct queue_node *out)
{
    const struct value *devices = value_get(v, "devices");
    *out = (struct queue_node){.name = value_get_text(v, "name"),
                               .schedulable = value_get_bool(v, "schedulable"),
                               .cpu = value_get_int(v, "cpu"),
                               .memory = value_get_int(v, "memory"),
                               .other_cpu = value_get_int(v, "otherCpu"),
                               .other_memory = value_get_int(v, "otherMemory")};
    if (out->name.n == 0) return false;
    out->labels = pairs_of(a, value_get(v, "labels"), &out->n_labels);
    out->taints = pairs_of(a, value_get(v, "taints"), &out->n_taints);
    out->n_devices = devices != NULL && devices->type == VALUE_LIST ? devices->u.list.n : 0;
    struct place_devices *list = arena_array(a, struct place_devices, out->n_devices + 1);
    for (size_t i = 0; i < out->n_devices; i++) {
        const struct value *d = &devices->u.list.items[i];
        list[i] = (struct place_devices){.name = value_get_text(d, "name"),
                                         .n = (uint32_t)value_get_int(d, "n"),
                                         .taken = (uint32_t)value_get_int(d, "taken")};
        list[i].of = names_of(a, value_get(d, "of"), &list[i].n_of);
    }
    out->devices = list;
    read_groups(a, value_get(v, "groups"), out);
    return true;
}
