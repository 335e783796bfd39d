/* A builder of small plans, for tests of runs. */
#ifndef TESTS_FLOW_BUILD_H
#define TESTS_FLOW_BUILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/flow/plan.h"

struct build {
    struct arena *a;
    struct graph *graphs;
    struct plan plan;
    uint32_t room;
};

static inline void build_init(struct build *b, struct arena *a, uint32_t n_graphs, uint32_t room)
{
    *b = (struct build){.a = a, .room = room};
    b->graphs = arena_array(a, struct graph, n_graphs);
    for (uint32_t i = 0; i < n_graphs; i++) {
        b->graphs[i].name = arena_printf(a, "g%u", i);
        b->graphs[i].nodes = arena_array(a, struct node, room);
    }
    b->plan = (struct plan){.name = STR("test"), .project = STR("default"), .graphs = b->graphs, .n_graphs = n_graphs};
}

static inline struct node *build_nodes(struct build *b, uint32_t graph)
{
    return (struct node *)(uintptr_t)b->graphs[graph].nodes;
}

/* `needs`: names of earlier nodes, by commas, or NULL. onExit nodes must come last and have `after` set by the caller.
 */
static inline struct node *build_node(struct build *b, uint32_t graph, const char *name, enum verb verb,
                                      const char *needs)
{
    struct graph *g = &b->graphs[graph];
    assert_true(g->n_nodes < b->room);
    struct node *n = &build_nodes(b, graph)[g->n_nodes++];
    *n = (struct node){.name = arena_str(b->a, str_of(name)), .verb = verb};
    struct str rest = needs && *needs ? str_of(needs) : (struct str){NULL, 0}, piece;
    uint32_t *deps = arena_array(b->a, uint32_t, needs ? strlen(needs) + 1 : 1);
    while (str_split(&rest, ',', &piece)) {
        uint32_t i = 0;
        while (i < g->n_nodes && !str_eq(g->nodes[i].name, piece))
            i++;
        assert_true(i < g->n_nodes - 1);
        deps[n->n_deps++] = i;
    }
    n->deps = deps;
    return n;
}

static inline struct expr_template build_template(struct build *b, const char *text)
{
    struct expr_template t;
    struct err err = {0};
    if (!expr_template_parse(b->a, str_of(text), &t, &err)) fail_msg("%s: %s", text, err.message);
    return t;
}

static inline const struct expr *build_expr(struct build *b, const char *text)
{
    const struct expr *e;
    struct err err = {0};
    if (!expr_parse(b->a, str_of(text), &e, &err)) fail_msg("%s: %s", text, err.message);
    return e;
}

static inline void build_foreach(struct build *b, struct node *n, const char *list, uint32_t parallelism)
{
    n->loop = true;
    n->foreach = build_template(b, list);
    n->parallelism = parallelism;
}

static inline void build_input(struct build *b, struct node *n, const char *name, const char *value)
{
    struct input *inputs = arena_array(b->a, struct input, n->n_inputs + 1);
    if (n->n_inputs > 0) memcpy(inputs, n->inputs, n->n_inputs * sizeof *inputs);
    inputs[n->n_inputs++] = (struct input){.name = arena_str(b->a, str_of(name)), .value = build_template(b, value)};
    n->inputs = inputs;
}

static inline void build_output(struct build *b, uint32_t graph, const char *name, const char *value)
{
    struct graph *g = &b->graphs[graph];
    struct graph_output *outputs = arena_array(b->a, struct graph_output, g->n_outputs + 1);
    if (g->n_outputs > 0) memcpy(outputs, g->outputs, g->n_outputs * sizeof *outputs);
    outputs[g->n_outputs++] =
        (struct graph_output){.name = arena_str(b->a, str_of(name)), .value = build_template(b, value)};
    g->outputs = outputs;
}

static inline void build_param(struct build *b, uint32_t graph, const char *name, struct value default_value)
{
    struct graph *g = &b->graphs[graph];
    struct param *params = arena_array(b->a, struct param, g->n_params + 1);
    if (g->n_params > 0) memcpy(params, g->params, g->n_params * sizeof *params);
    params[g->n_params++] = (struct param){.name = arena_str(b->a, str_of(name)),
                                           .type = PARAM_INT,
                                           .optional = true,
                                           .has_default = true,
                                           .default_value = default_value};
    g->params = params;
}

static inline const struct plan *build_end(struct build *b)
{
    for (uint32_t k = 0; k < b->plan.n_graphs; k++) {
        struct graph *g = &b->graphs[k];
        struct node *nodes = build_nodes(b, k);
        g->n_exit = 0;
        for (uint32_t i = 0; i < g->n_nodes; i++) {
            nodes[i].n_dependents = 0;
            if (nodes[i].after != AFTER_NONE) g->n_exit++;
        }
        for (uint32_t i = 0; i < g->n_nodes; i++)
            for (uint32_t d = 0; d < nodes[i].n_deps; d++)
                nodes[nodes[i].deps[d]].n_dependents++;
        for (uint32_t i = 0; i < g->n_nodes; i++) {
            nodes[i].dependents = arena_array(b->a, uint32_t, nodes[i].n_dependents + 1);
            nodes[i].n_dependents = 0;
        }
        for (uint32_t i = 0; i < g->n_nodes; i++)
            for (uint32_t d = 0; d < nodes[i].n_deps; d++) {
                struct node *up = &nodes[nodes[i].deps[d]];
                ((uint32_t *)(uintptr_t)up->dependents)[up->n_dependents++] = i;
            }
    }
    return &b->plan;
}

#endif
