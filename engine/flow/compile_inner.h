/* What the parts of the compiler share: a pipeline on its way to being a graph. Private to compile*.c and check*.c. */
#ifndef MILLRACE_FLOW_COMPILE_INNER_H
#define MILLRACE_FLOW_COMPILE_INNER_H

#include "engine/base/map.h"
#include "engine/flow/spec_step.h"

struct compile_names { /* name → place in its list; made when first asked */
    struct map map;
    bool made;
};

/* What is known of a node that has very many of something; made when first asked. */
struct compile_index {
    struct compile_names inputs, outputs, params; /* the last two: of its sub-pipeline, when it has one */
    unsigned char *kinds;                         /* of its inputs, see check_scope.c */
    size_t *required; /* places of the params that its sub-pipeline insists on, their number first */
};

struct compile {
    struct spec spec;
    struct str name, project, description;
    const struct param *params;
    size_t n_params;
    bool any_params;    /* what they are could not be read */
    struct node *nodes; /* the steps, then those of onExit; a step whose verb is in doubt is there, as a no-op */
    uint32_t n_nodes, n_steps;
    const struct value **written; /* beside nodes: the steps as they stand in the document */
    const struct value **needs;   /* beside nodes; NULL = none */
    struct compile_ref *refs;     /* beside nodes: of VERB_PIPELINE */
    uint32_t looked_up;           /* sub-pipelines, when this is the outermost one */
    const struct plan **subs;     /* beside nodes: what they were resolved to */
    struct err_list found;        /* of what was looked at last: a sub-pipeline, an expression */
    bool unsound;                 /* a sub-pipeline could not be had; its errors may have been told before */
    bool *broken;                 /* beside nodes: could not be read, so nothing is said about references to it */
    struct str *names;            /* beside nodes */
    struct map by_name;
    struct compile_names param_names;
    struct compile_index **index; /* beside nodes; NULL = not made */
    uint32_t *twins;              /* beside nodes: the first one with the same sub-pipeline */
    struct graph_output *outputs;
    size_t n_outputs;
};

/* ---- compile_names.c: SIZE_MAX when absent ---- */
size_t compile_param(struct compile *c, struct str name);
size_t compile_input(struct compile *c, uint32_t node, struct str name);
size_t compile_output(struct compile *c, uint32_t node, struct str name); /* of a sub-pipeline: its outputs */
size_t compile_sub_param(struct compile *c, uint32_t node, struct str name);
void compile_names_free(struct compile *c);
struct compile_index *compile_index(struct compile *c, uint32_t node);

/* The path to a node: steps.NAME or onExit.NAME. */
struct spec_at compile_node_at(const struct compile *c, uint32_t node, struct spec_at *up);
/* What stands in a step under a key, to point at; NULL when it cannot be told, then errors point at the step. */
const struct value *compile_field(const struct compile *c, uint32_t node, const char *key);

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

/* ---- compile_size.c ---- */

/* Refuses what has more tasks, or lies deeper, than a run can. */
void compile_check_size(struct compile *c, const struct graph *graphs, uint32_t n);

#endif
