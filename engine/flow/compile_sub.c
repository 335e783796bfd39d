/* Sub-pipelines: finding them, and taking their graphs into the plan. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/flow/compile_inner.h"

/* What the step says of its sub-pipeline, to point at; NULL when it cannot be told. */
static const struct value *ref_value(const struct compile *c, uint32_t node)
{
    const struct value *v = compile_field(c, node, "pipeline");
    const struct value *within = value_get(v, c->refs[node].file ? "file" : "name");
    return within ? within : v;
}

__attribute__((format(printf, 3, 4))) static void ref_error(struct compile *c, uint32_t node, const char *fmt, ...)
{
    struct spec_at up, node_at = compile_node_at(c, node, &up), at = {&node_at, STR("pipeline"), SIZE_MAX, {0, 0}};
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct err *e = spec_error(&c->spec, &at, ref_value(c, node), "%s", text);
    if (!e->at.line) err_at(e, c->nodes[node].at, 0);
}

/* A path that stands in the file `from`, as it is from where that one's own path begins. */
static struct str beside(struct arena *a, struct str from, struct str path)
{
    while (from.n && from.p[from.n - 1] != '/')
        from.n--;
    struct str rest = arena_printf(a, "%.*s%.*s", STR_ARG(from), STR_ARG(path)), part;
    char *out = arena_array(a, char, rest.n + 1);
    size_t n = 0;
    while (str_split(&rest, '/', &part)) {
        size_t last = n;
        if (part.n == 0 || str_is(part, ".")) continue;
        while (last && out[last - 1] != '/')
            last--;
        if (str_is(part, "..") && n && !str_is((struct str){out + last, n - last}, "..")) {
            n = last ? last - 1 : 0;
            continue;
        }
        if (n) out[n++] = '/';
        memcpy(out + n, part.p, part.n);
        n += part.n;
    }
    return (struct str){out, n};
}

/* What the step's sub-pipeline is called from here on. Where one that was found by name has its files is not known. */
static struct compile_chain chain_of(struct compile *c, uint32_t node)
{
    const struct compile_env *env = c->spec.env;
    const struct compile_ref *ref = &c->refs[node];
    struct compile_chain link = {env->chain, ref->text, ref->file, c->name, env->file, &c->looked_up};
    if (ref->file)
        link.text = beside(c->spec.arena, env->chain && env->chain->file ? env->chain->text : STR(""), ref->text);
    if (!env->chain) return link;
    link.top = env->chain->top;
    link.top_file = env->chain->top_file;
    if (env->chain->looked_up) link.looked_up = env->chain->looked_up;
    return link;
}

#define CIRCLE "the pipeline would contain itself: "

bool compile_is_circle(const struct err *e)
{
    return str_starts(str_of(e->message), CIRCLE);
}

static bool recursive(struct compile *c, uint32_t node, const struct compile_chain *to)
{
    struct str way[PLAN_MAX_DEPTH + 1] = {to->text}; /* from the inside out */
    struct str top = to->file ? to->top_file : to->top;
    unsigned n = 1;
    bool same = false, known = true; /* paths are from the same folder as `to` is */
    for (const struct compile_chain *link = to->above; link && !same && n < PLAN_MAX_DEPTH; link = link->above) {
        known = known && (!to->file || link->file);
        same = known && link->file == to->file && str_eq(link->text, to->text);
        way[n++] = link->text;
    }
    if (!same && known && top.n && str_eq(top, to->text)) {
        way[n++] = top;
        same = true;
    }
    if (!same && n < PLAN_MAX_DEPTH) return false;
    BUF_AUTO text;
    buf_init(&text, 350);
    for (unsigned i = n; i > 0; i--)
        buf_printf(&text, "%s%.*s", i < n ? " → " : "", STR_ARG(way[i - 1]));
    ref_error(c, node, same ? CIRCLE "%s" : "sub-pipelines are nested too deeply: %s", text.p);
    return true;
}

void compile_in_file(struct err_list *errors, size_t from, const struct compile_ref *ref, struct str name,
                     struct str text, struct str in)
{
    struct arena *a = errors->arena;
    struct str used_by = arena_printf(a, "%.*s%s%.*s%s%u", STR_ARG(ref->path), in.n ? " of " : ", line ", STR_ARG(in),
                                      in.n ? ":" : "", ref->at.line);
    for (size_t i = from; i < errors->n; i++) {
        const struct err_file *inner = errors->items[i].file;
        struct err_file *file = arena_new(a, struct err_file);
        *file = (struct err_file){name, text, used_by};
        if (inner) *file = *inner;
        if (inner) file->used_by = arena_printf(a, "%.*s, and that by %.*s", STR_ARG(inner->used_by), STR_ARG(used_by));
        errors->items[i].file = file;
    }
}

/* The same file may be come to on several ways. */
static bool told(const struct err_list *errors, const struct err *e)
{
    for (size_t i = 0; i < errors->n; i++) {
        const struct err *x = &errors->items[i];
        if (x->file && str_eq(x->file->name, e->file->name) && x->at.line == e->at.line && x->at.col == e->at.col &&
            strcmp(x->message, e->message) == 0)
            return true;
    }
    return false;
}

static void take_errors(struct compile *c, uint32_t node)
{
    const struct err_list *found = &c->found;
    struct spec_at up, node_at = compile_node_at(c, node, &up), at = {&node_at, STR("pipeline"), SIZE_MAX, {0, 0}};
    for (size_t i = 0; i < found->n; i++) {
        struct err *e = &found->items[i];
        if (e->file) {
            if (!told(c->spec.errors, e)) *err_list_next(c->spec.errors) = *e;
            continue;
        }
        if (e->code == ERR_NOT_FOUND) e->code = ERR_INVALID; /* it is the file that is wrong */
        e->at = (struct pos){0, 0};
        e->len = 0;
        e->path[0] = '\0';
        const struct value *v = ref_value(c, node);
        if (!v) e->at = c->nodes[node].at;
        spec_adopt(&c->spec, &at, v, e);
    }
    if (found->n == 0) ref_error(c, node, "the sub-pipeline is not valid");
    c->unsound = true;
}

static const struct plan *resolve(struct compile *c, uint32_t node)
{
    const struct compile_env *env = c->spec.env;
    const struct plan *sub = NULL;
    struct compile_ref *ref = &c->refs[node];
    struct compile_chain chain = chain_of(c, node);
    if (recursive(c, node, &chain)) return NULL;
    if (!env->pipeline) {
        ref_error(c, node, "sub-pipelines cannot be found from here");
        return NULL;
    }
    if (++*chain.looked_up > COMPILE_MAX_SUBS) {
        ref_error(c, node, "more than %d sub-pipelines within each other", COMPILE_MAX_SUBS);
        return NULL;
    }
    struct spec_at up, node_at = compile_node_at(c, node, &up);
    const struct value *v = ref_value(c, node);
    ref->path = spec_path(c->spec.arena, &node_at);
    ref->at = v ? v->at : c->nodes[node].at;
    if (!c->found.arena) err_list_init(&c->found, c->spec.arena);
    c->found.n = c->found.total = 0;
    if (env->pipeline(env->ctx, c->spec.arena, ref, &chain, &sub, &c->found)) return sub;
    take_errors(c, node);
    return NULL;
}

/* The same one twice is looked up once. */
void compile_resolve(struct compile *c)
{
    MAP_AUTO seen;
    map_init(&seen, c->spec.env->seed);
    for (uint32_t i = 0; i < c->n_nodes && !err_list_full(c->spec.errors); i++) {
        const struct compile_ref *ref = &c->refs[i];
        uint64_t earlier = i;
        c->twins[i] = i;
        if (c->nodes[i].verb != VERB_PIPELINE || ref->text.n == 0) continue;
        c->refs[i].project = c->project;
        struct str key =
            arena_printf(c->spec.arena, "%d %lld %.*s", ref->file, (long long)ref->version, STR_ARG(ref->text));
        c->subs[i] = map_get(&seen, key, &earlier) ? c->subs[earlier] : resolve(c, i);
        c->twins[i] = (uint32_t)earlier;
        if (c->subs[i]) map_put(&seen, key, earlier, NULL);
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
        if (c->subs[i] && c->twins[i] == i) n += c->subs[i]->n_graphs;
    struct graph *graphs = arena_array(c->spec.arena, struct graph, n);
    n = 1;
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        const struct plan *sub = c->subs[i];
        if (!sub) continue;
        uint32_t earlier = c->twins[i];
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
