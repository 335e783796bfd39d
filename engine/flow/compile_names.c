/* Finding params, inputs and outputs by name: a document may have very many of each, and as many references to them. */
#include "engine/flow/compile_inner.h"

#define FEW 8 /* up to here a search from one end to the other is as good */

/* The name of the i-th of a list whose items begin with theirs. */
static struct str name_at(const void *items, size_t size, size_t i)
{
    return *(const struct str *)(const void *)((const char *)items + i * size);
}

static size_t find(struct compile *c, struct compile_names *names, const void *items, size_t size, size_t n,
                   struct str name)
{
    uint64_t found = SIZE_MAX;
    for (size_t i = 0; n <= FEW && i < n; i++)
        if (str_eq(name_at(items, size, i), name)) return i;
    if (n <= FEW) return SIZE_MAX;
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
    return find(c, &c->param_names, c->params, sizeof *c->params, c->n_params, name);
}

size_t compile_input(struct compile *c, uint32_t node, struct str name)
{
    const struct node *n = &c->nodes[node];
    return find(c, &c->input_names[node], n->inputs, sizeof *n->inputs, n->n_inputs, name);
}

size_t compile_output(struct compile *c, uint32_t node, struct str name)
{
    const struct node *n = &c->nodes[node];
    if (n->verb != VERB_PIPELINE)
        return find(c, &c->output_names[node], n->outputs, sizeof *n->outputs, n->n_outputs, name);
    const struct graph *g = c->subs[node] ? &c->subs[node]->graphs[0] : NULL;
    if (!g) return SIZE_MAX;
    return find(c, &c->output_names[c->twins[node]], g->outputs, sizeof *g->outputs, g->n_outputs, name);
}

size_t compile_sub_param(struct compile *c, uint32_t node, struct str name)
{
    const struct graph *g = &c->subs[node]->graphs[0];
    return find(c, &c->param_names_of[c->twins[node]], g->params, sizeof *g->params, g->n_params, name);
}

static void names_free(struct compile_names *names)
{
    if (names->made) map_free(&names->map);
}

void compile_names_free(struct compile *c)
{
    names_free(&c->param_names);
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        names_free(&c->input_names[i]);
        names_free(&c->output_names[i]);
        names_free(&c->param_names_of[i]);
    }
}
