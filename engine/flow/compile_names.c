/* Finding params, inputs and outputs by name: a document may have very many of each, and as many references to them. */
#include "engine/flow/compile_inner.h"

#define FEW 8 /* up to here a search from one end to the other is as good */

/* The name of the i-th of a list whose items begin with theirs. */
static struct str name_at(const void *items, size_t size, size_t i)
{
    return *(const struct str *)(const void *)((const char *)items + i * size);
}

struct compile_index *compile_index(struct compile *c, uint32_t node)
{
    if (!c->index[node]) c->index[node] = arena_new(c->spec.arena, struct compile_index);
    return c->index[node];
}

static size_t few(const void *items, size_t size, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(name_at(items, size, i), name)) return i;
    return SIZE_MAX;
}

static size_t many(struct compile *c, struct compile_names *names, const void *items, size_t size, size_t n,
                   struct str name)
{
    uint64_t found;
    if (!names->made) {
        map_init(&names->map, c->spec.env->seed);
        for (size_t i = n; i-- > 0;)
            map_put(&names->map, name_at(items, size, i), i, NULL);
        names->made = true;
    }
    return map_get(&names->map, name, &found) ? (size_t)found : SIZE_MAX;
}

_Static_assert(offsetof(struct param, name) == 0 && offsetof(struct input, name) == 0 &&
                   offsetof(struct output, name) == 0 && offsetof(struct graph_output, name) == 0,
               "names come first");

size_t compile_param(struct compile *c, struct str name)
{
    if (c->n_params <= FEW) return few(c->params, sizeof *c->params, c->n_params, name);
    return many(c, &c->param_names, c->params, sizeof *c->params, c->n_params, name);
}

size_t compile_input(struct compile *c, uint32_t node, struct str name)
{
    const struct node *n = &c->nodes[node];
    if (n->n_inputs <= FEW) return few(n->inputs, sizeof *n->inputs, n->n_inputs, name);
    return many(c, &compile_index(c, node)->inputs, n->inputs, sizeof *n->inputs, n->n_inputs, name);
}

size_t compile_output(struct compile *c, uint32_t node, struct str name)
{
    const struct node *n = &c->nodes[node];
    if (n->verb != VERB_PIPELINE) {
        if (n->n_outputs <= FEW) return few(n->outputs, sizeof *n->outputs, n->n_outputs, name);
        return many(c, &compile_index(c, node)->outputs, n->outputs, sizeof *n->outputs, n->n_outputs, name);
    }
    const struct graph *g = c->subs[node] ? &c->subs[node]->graphs[0] : NULL;
    if (!g || g->n_outputs <= FEW) return g ? few(g->outputs, sizeof *g->outputs, g->n_outputs, name) : SIZE_MAX;
    struct compile_index *index = compile_index(c, c->twins[node]);
    return many(c, &index->outputs, g->outputs, sizeof *g->outputs, g->n_outputs, name);
}

size_t compile_sub_param(struct compile *c, uint32_t node, struct str name)
{
    const struct graph *g = &c->subs[node]->graphs[0];
    if (g->n_params <= FEW) return few(g->params, sizeof *g->params, g->n_params, name);
    struct compile_index *index = compile_index(c, c->twins[node]);
    return many(c, &index->params, g->params, sizeof *g->params, g->n_params, name);
}

static void names_free(struct compile_names *names)
{
    if (names->made) map_free(&names->map);
}

void compile_names_free(struct compile *c)
{
    names_free(&c->param_names);
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        if (!c->index[i]) continue;
        names_free(&c->index[i]->inputs);
        names_free(&c->index[i]->outputs);
        names_free(&c->index[i]->params);
    }
}
