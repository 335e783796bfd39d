/* Sub-pipelines: finding them, and taking their graphs into the plan. */
#include <string.h>

#include "engine/base/buf.h"
#include "engine/flow/compile_inner.h"

static bool recursive(struct compile *c, const struct spec_at *at, uint32_t node)
{
    const struct compile_ref *ref = &c->refs[node];
    unsigned depth = 1;
    BUF_AUTO way;
    buf_init(&way, 250);
    buf_str(&way, ref->text);
    bool same = str_eq(ref->text, c->name) && !ref->file && !c->spec.env->chain;
    for (const struct compile_chain *link = c->spec.env->chain; link && !same; link = link->above) {
        buf_printf(&way, " ← %.*s", STR_ARG(link->text));
        same = str_eq(link->text, ref->text);
        depth++;
    }
    if (!same && depth < PLAN_MAX_DEPTH) return false;
    struct err *e = spec_error(
        &c->spec, at, NULL, same ? "the pipeline would contain itself: %s" : "sub-pipelines are nested too deeply: %s",
        buf_view(&way).p);
    err_at(e, c->nodes[node].at, 0);
    return true;
}

static const struct plan *resolve(struct compile *c, uint32_t node)
{
    const struct compile_env *env = c->spec.env;
    const struct plan *sub = NULL;
    struct err err;
    struct spec_at up, node_at = compile_node_at(c, node, &up), at = {&node_at, STR("pipeline"), SIZE_MAX, {0, 0}};
    if (recursive(c, &at, node)) return NULL;
    if (!env->pipeline) {
        err_at(spec_error(&c->spec, &at, NULL, "sub-pipelines cannot be found from here"), c->nodes[node].at, 0);
        return NULL;
    }
    struct compile_chain chain = {env->chain, c->refs[node].text, &c->looked_up};
    if (env->chain && env->chain->looked_up) chain.looked_up = env->chain->looked_up;
    if (++*chain.looked_up > COMPILE_MAX_SUBS) {
        struct err *e =
            spec_error(&c->spec, &at, NULL, "more than %d sub-pipelines within each other", COMPILE_MAX_SUBS);
        err_at(e, c->nodes[node].at, 0);
        return NULL;
    }
    err_clear(&err);
    if (env->pipeline(env->ctx, c->spec.arena, &c->refs[node], &chain, &sub, &err)) return sub;
    struct pos inner = err.at;
    err.at = c->nodes[node].at;
    err.len = 0;
    if (c->refs[node].file && inner.line && !err.hint[0])
        err_hint(&err, "it stands in line %u of that file", inner.line);
    err.path[0] = '\0';
    spec_adopt(&c->spec, &at, NULL, &err);
    return NULL;
}

static bool same_ref(const struct compile_ref *a, const struct compile_ref *b)
{
    return str_eq(a->text, b->text) && a->file == b->file && a->version == b->version;
}

void compile_resolve(struct compile *c)
{
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        if (c->nodes[i].verb != VERB_PIPELINE || c->refs[i].text.n == 0) continue;
        c->refs[i].project = c->project;
        uint32_t earlier = 0; /* the same one twice is looked up once */
        while (earlier < i && !(c->subs[earlier] && same_ref(&c->refs[earlier], &c->refs[i])))
            earlier++;
        c->subs[i] = earlier < i ? c->subs[earlier] : resolve(c, i);
    }
}

/* A copy of a sub-plan's graph in which the numbers of graphs are those of the new plan. */
static struct graph moved(struct arena *a, const struct graph *g, uint32_t by)
{
    struct graph copy = *g;
    bool calls = false;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        calls |= g->nodes[i].verb == VERB_PIPELINE;
    if (!calls) return copy;
    struct node *nodes = arena_array(a, struct node, g->n_nodes);
    memcpy(nodes, g->nodes, g->n_nodes * sizeof *nodes);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (nodes[i].verb == VERB_PIPELINE) nodes[i].graph += by;
    copy.nodes = nodes;
    return copy;
}

const struct graph *compile_merge(struct compile *c, const struct graph *own, uint32_t *n_graphs)
{
    uint32_t n = 1, total = own->n_nodes;
    for (uint32_t i = 0; i < c->n_nodes; i++)
        if (c->subs[i]) n += c->subs[i]->n_graphs;
    struct graph *graphs = arena_array(c->spec.arena, struct graph, n);
    n = 1;
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        const struct plan *sub = c->subs[i];
        if (!sub) continue;
        uint32_t earlier = 0;
        while (earlier < i && c->subs[earlier] != sub)
            earlier++;
        c->nodes[i].graph = earlier < i ? c->nodes[earlier].graph : n;
        for (uint32_t k = 0; earlier == i && k < sub->n_graphs; k++) {
            graphs[n + k] = moved(c->spec.arena, &sub->graphs[k], n);
            total += sub->graphs[k].n_nodes;
        }
        if (earlier == i) n += sub->n_graphs;
    }
    graphs[0] = *own;
    *n_graphs = n;
    if (total > PLAN_MAX_NODES)
        spec_error(&c->spec, NULL, NULL, "the pipeline and its sub-pipelines have %u steps, more than %d", total,
                   PLAN_MAX_NODES);
    return graphs;
}
