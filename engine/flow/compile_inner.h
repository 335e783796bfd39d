/* What the parts of the compiler share: a pipeline on its way to being a graph. Private to compile*.c and check*.c. */
#ifndef MILLRACE_FLOW_COMPILE_INNER_H
#define MILLRACE_FLOW_COMPILE_INNER_H

#include "engine/base/map.h"
#include "engine/flow/spec_step.h"

struct compile {
    struct spec spec;
    struct str name, project, description;
    const struct param *params;
    size_t n_params;
    struct node *nodes; /* the steps, then those of onExit; a step that could not be read is there, as a no-op */
    uint32_t n_nodes, n_steps;
    const struct value **needs; /* beside nodes; NULL = none */
    struct compile_ref *refs;   /* beside nodes: of VERB_PIPELINE */
    uint32_t looked_up;         /* sub-pipelines, when this is the outermost one */
    const struct plan **subs;   /* beside nodes: what they were resolved to */
    bool *broken;               /* beside nodes: could not be read, so nothing is said about references to it */
    struct str *names;          /* beside nodes */
    struct map by_name;
    struct graph_output *outputs;
    size_t n_outputs;
};

/* The path to a node: steps.NAME or onExit.NAME. */
struct spec_at compile_node_at(const struct compile *c, uint32_t node, struct spec_at *up);

/* ---- check.c: expressions against what there is ---- */

/* Checks all uses, types and names, and gathers the edges into the nodes' deps. */
void check_references(struct compile *c);

/* ---- check_graph.c: the shape of the graph ---- */

/* Reports a cycle by its path. Needs deps. */
void check_cycles(struct compile *c);
/* Fills in dependents from deps. */
void graph_link(struct arena *a, struct node *nodes, uint32_t n);

/* ---- compile_sub.c: sub-pipelines ---- */

void compile_resolve(struct compile *c);
/* The graphs of the plan: the pipeline's own first, then those of its sub-pipelines, each once. */
const struct graph *compile_merge(struct compile *c, const struct graph *own, uint32_t *n_graphs);

#endif
