/* How big a pipeline's runs get, as far as that is known beforehand: what could never end well is refused at once. */
#include "engine/flow/compile_inner.h"

struct size {
    uint64_t tasks; /* at least, of one instance */
    uint32_t depth; /* of the frames that open within it */
};

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX / 4 : r;
}

static bool any_ref(void *ctx, const struct expr_ref *ref)
{
    (void)ref;
    *(bool *)ctx = true;
    return false;
}

/* Of a list that reads nothing; 0 when it is known only in the run. */
static uint64_t list_length(struct compile *c, const struct expr_template *t)
{
    struct value v;
    struct err err;
    struct expr_env env = {.spent = &c->spec.spent, .max_cost = SPEC_MAX_COST};
    bool dynamic = false;
    expr_template_refs(t, any_ref, &dynamic);
    if (dynamic || !expr_template_eval(t, &env, c->spec.arena, &v, &err) || v.type != VALUE_LIST) return 0;
    return v.u.list.n;
}

static uint64_t items(struct compile *c, const struct node *n)
{
    if (!n->product) return list_length(c, &n->foreach);
    uint64_t all = 1;
    for (size_t i = 0; i < n->product->u.map.n && all > 0; i++)
        all = times(all, list_length(c, &n->product_values[i]));
    return all;
}

/* The step's own task, and what is sure to open in it: a condition may leave it away. */
static struct size node_size(struct compile *c, const struct node *n, const struct size *graphs)
{
    struct size inner = {0, 0}, own = {1, 0};
    bool sure = !n->when && n->after == AFTER_NONE;
    if (n->verb == VERB_PIPELINE) {
        inner = graphs[n->graph];
        own.depth = inner.depth + 1;
    }
    if (n->loop) own.depth++;
    if (sure) own.tasks += n->loop ? times(items(c, n), 1 + inner.tasks) : inner.tasks;
    return own;
}

static void too_big(struct compile *c, uint32_t i, struct size own, uint64_t before)
{
    struct spec_at up, at = compile_node_at(c, i, &up);
    const struct node *n = &c->nodes[i];
    if (before <= PLAN_MAX_TASKS && before + own.tasks > PLAN_MAX_TASKS) {
        struct err *e =
            spec_error(&c->spec, &at, NULL, "the step makes %llu tasks, and those before it %llu; a run may have %d",
                       (unsigned long long)own.tasks, (unsigned long long)before, PLAN_MAX_TASKS);
        err_at(e, n->at, 0);
        err_hint(e, "each step, each item of a loop and each step of a sub-pipeline is a task");
    }
    if (own.depth > PLAN_MAX_FRAMES) {
        struct err *e =
            spec_error(&c->spec, &at, NULL, "sub-pipelines and loops lie %u deep within each other; %d are the most",
                       own.depth, PLAN_MAX_FRAMES);
        err_at(e, n->at, 0);
    }
}

void compile_check_size(struct compile *c, const struct graph *graphs, uint32_t n)
{
    struct size *sizes = arena_array(c->spec.arena, struct size, n);
    for (uint32_t g = n; g-- > 0;) { /* a graph's sub-pipelines have higher numbers */
        for (uint32_t i = 0; i < graphs[g].n_nodes; i++) {
            struct size own = node_size(c, &graphs[g].nodes[i], sizes);
            if (g == 0) too_big(c, i, own, sizes[g].tasks);
            sizes[g].tasks = sizes[g].tasks + own.tasks > UINT64_MAX / 4 ? UINT64_MAX / 4 : sizes[g].tasks + own.tasks;
            if (own.depth > sizes[g].depth) sizes[g].depth = own.depth;
        }
    }
}
