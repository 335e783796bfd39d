/* The nodes as `millrace gpus` shows them. */
#include "engine/base/jsonw.h"
#include "scheduler/placer_inner.h"

static void show_pairs(struct jsonw *j, const char *key, const struct place_pair *pairs, size_t n)
{
    jsonw_key(j, key);
    jsonw_array(j);
    for (size_t i = 0; i < n; i++) {
        jsonw_array(j);
        jsonw_str(j, pairs[i].key);
        jsonw_str(j, pairs[i].value);
        jsonw_array_end(j);
    }
    jsonw_array_end(j);
}

static void show_holders(struct jsonw *j, const struct queue_group *g)
{
    jsonw_key(j, "holders");
    jsonw_array(j);
    for (size_t i = 0; i < g->n_holders; i++) {
        jsonw_object(j);
        jsonw_kv_int(j, "run", g->holders[i].run_id);
        jsonw_kv_int(j, "task", g->holders[i].task);
        jsonw_kv_int(j, "attempt", g->holders[i].attempt);
        jsonw_kv_int(j, "milli", g->holders[i].milli);
        jsonw_object_end(j);
    }
    jsonw_array_end(j);
}

static void show_groups(struct jsonw *j, const struct queue_node *n)
{
    jsonw_key(j, "groups");
    jsonw_array(j);
    for (size_t i = 0; i < n->n_groups; i++) {
        const struct queue_group *g = &n->groups[i];
        jsonw_object(j);
        jsonw_kv_str(j, "resource", g->resource);
        jsonw_kv_int(j, "n", g->n);
        jsonw_kv_int(j, "taken", g->taken);
        jsonw_kv_int(j, "own", g->own);
        show_holders(j, g);
        show_pairs(j, "labels", g->labels, g->n_labels);
        jsonw_object_end(j);
    }
    jsonw_array_end(j);
}

static void show_names(struct jsonw *j, const char *key, const struct str *names, size_t n)
{
    if (n == 0) return;
    jsonw_key(j, key);
    jsonw_array(j);
    for (size_t i = 0; i < n; i++)
        jsonw_str(j, names[i]);
    jsonw_array_end(j);
}

static void show_node(struct jsonw *j, const struct queue_node *n)
{
    jsonw_object(j);
    jsonw_kv_str(j, "name", n->name);
    jsonw_kv_bool(j, "schedulable", n->schedulable);
    jsonw_kv_int(j, "cpu", n->cpu);
    jsonw_kv_int(j, "memory", n->memory);
    jsonw_kv_int(j, "otherCpu", n->other_cpu);
    jsonw_kv_int(j, "otherMemory", n->other_memory);
    show_pairs(j, "labels", n->labels, n->n_labels);
    show_pairs(j, "taints", n->taints, n->n_taints);
    jsonw_key(j, "devices");
    jsonw_array(j);
    for (size_t i = 0; i < n->n_devices; i++) {
        jsonw_object(j);
        jsonw_kv_str(j, "name", n->devices[i].name);
        jsonw_kv_int(j, "n", n->devices[i].n);
        jsonw_kv_int(j, "taken", n->devices[i].taken);
        show_names(j, "of", n->devices[i].of, n->devices[i].n_of);
        jsonw_object_end(j);
    }
    jsonw_array_end(j);
    if (n->n_groups > 0) show_groups(j, n);
    jsonw_object_end(j);
}

void placer_shown(struct placer *p, struct buf *out)
{
    struct jsonw j;
    struct queue_node *list;
    size_t n = p->cfg.source.nodes(p->cfg.source.self, placer_counts, p, &p->turn, &list);
    jsonw_to_buf(&j, out);
    jsonw_array(&j);
    for (size_t i = 0; i < n; i++)
        show_node(&j, &list[i]);
    jsonw_array_end(&j);
    (void)jsonw_end(&j);
}
