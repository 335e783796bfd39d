/* Opening frames: a loop's items, a sub-pipeline's instance; and what a graph's instance gives back at its end. */
#include "engine/base/jsonw.h"
#include "engine/flow/params.h"
#include "engine/flow/run_inner.h"

bool value_kept(struct turn *t, const struct value *v, struct str *json, struct err *err)
{
    BUF_AUTO text;
    buf_init(&text, PLAN_MAX_VALUE);
    value_json(&text, v, false);
    if (text.over)
        return err_set(err, ERR_LIMIT, "this takes more than %u MiB: make it an artifact", PLAN_MAX_VALUE >> 20);
    if (t->r->text_bytes + t->r->keep.used + text.n > PLAN_MAX_KEPT)
        return err_set(err, ERR_LIMIT, "what the run's steps have computed takes more than %u MiB: make it artifacts",
                       PLAN_MAX_KEPT >> 20);
    t->out->cost += text.n / 16; /* to write it takes time as well */
    *json = arena_str(t->out->arena, buf_view(&text));
    return true;
}

static bool room_for(const struct run *r, uint32_t task, size_t n, struct err *err)
{
    size_t live = 0, depth = 0;
    for (int s = 0; s < TASK_STATE_COUNT; s++)
        live += r->count[s];
    if (live + n > PLAN_MAX_TASKS || r->n_tasks > INT32_MAX / 2)
        return err_set(err, ERR_LIMIT, "a run may have %d tasks, and %zu more would be too many", PLAN_MAX_TASKS, n);
    for (uint32_t up = task; up != NONE; up = r->frames[r->tasks[up].frame].parent_task)
        depth++;
    if (depth > PLAN_MAX_FRAMES) return err_set(err, ERR_LIMIT, "sub-pipelines lie too deep within each other");
    return true;
}

/* The container starts: its attempt counts, and its frame is on record in the same turn. */
static void open_frame(struct turn *t, uint32_t task, struct frame f, struct str items, struct str inputs)
{
    struct run *r = t->r;
    enum reason why = r->tasks[task].reason == REASON_FROM ? REASON_FROM : REASON_NONE; /* what is inside asks it */
    task_event_step(t, task, STEP_START, why);
    f.parent_task = task;
    f.first = r->n_tasks;
    f.opened_us = t->now_us;
    uint32_t number = frame_add(r, &f);
    uint32_t attempt = task_extra_get(r, task)->attempt;
    task_extra(r, task)->child = number;
    *new_frame_add(t) = (struct new_frame){.frame = number,
                                           .parent_task = task,
                                           .kind = f.kind,
                                           .graph = f.graph,
                                           .first_task = f.first,
                                           .n = f.n,
                                           .items = items,
                                           .inputs = inputs,
                                           .opened_us = t->now_us};
    struct str detail = f.kind == FRAME_ITEMS ? arena_printf(t->out->arena, "{\"frame\":%u,\"items\":%u}", number, f.n)
                                              : arena_printf(t->out->arena, "{\"frame\":%u,\"tasks\":%u}", number, f.n);
    run_event_add(t, EVENT_TASK_EXPANDED, task, attempt, detail);
    frame_activate(t, number);
}

/* ---- loops ---- */

/* All combinations of the lists, the last name running fastest; each is a map of one value a name. */
static bool product_items(const struct node *n, const struct expr_env *env, struct arena *a, struct value *out,
                          struct err *err)
{
    size_t names = n->product->u.map.n, total = 1;
    struct value *lists = arena_array(a, struct value, names + 1);
    for (size_t i = 0; i < names; i++) {
        struct str name = n->product->u.map.entries[i].key;
        if (!expr_template_eval(&n->product_values[i], env, a, &lists[i], err)) return false;
        if (lists[i].type != VALUE_LIST)
            return err_set(err, ERR_INVALID, "foreach.%.*s must be a list, not %s", STR_ARG(name),
                           value_type_name(lists[i].type));
        if (lists[i].u.list.n > 0 && total > PLAN_MAX_ITEMS / lists[i].u.list.n)
            return err_set(err, ERR_LIMIT, "foreach makes more than %d items", PLAN_MAX_ITEMS);
        total *= lists[i].u.list.n;
    }
    struct value_list_builder b;
    value_list_begin(&b, a);
    for (size_t k = 0; k < total; k++) {
        struct value_entry *entries = arena_array(a, struct value_entry, names + 1);
        size_t rest = k;
        for (size_t i = names; i-- > 0; rest /= lists[i].u.list.n)
            entries[i] = (struct value_entry){.key = n->product->u.map.entries[i].key,
                                              .value = lists[i].u.list.items[rest % lists[i].u.list.n]};
        struct value_map_builder item;
        value_map_begin(&item, a);
        for (size_t i = 0; i < names; i++)
            value_map_put(&item, entries[i].key, entries[i].value);
        value_list_push(&b, value_map_end(&item));
    }
    *out = value_list_end(&b);
    return true;
}

static bool loop_items(const struct node *n, const struct expr_env *env, struct arena *a, struct value *out,
                       struct err *err)
{
    if (n->product) return product_items(n, env, a, out, err);
    if (!expr_template_eval(&n->foreach, env, a, out, err)) return false;
    if (out->type != VALUE_LIST)
        return err_set(err, ERR_INVALID, "a loop runs over a list, this is of type %s", value_type_name(out->type));
    if (out->u.list.n > PLAN_MAX_ITEMS)
        return err_set(err, ERR_LIMIT, "foreach has %zu items; at most %d are possible", out->u.list.n, PLAN_MAX_ITEMS);
    return true;
}

bool open_loop(struct turn *t, uint32_t task, struct err *err)
{
    struct run *r = t->r;
    struct env_ctx ctx;
    struct expr_env env;
    turn_env(t, task, &ctx, &env);
    struct value items;
    if (!loop_items(run_task_node(r, task), &env, t->out->arena, &items, err)) return false;
    uint32_t n = (uint32_t)items.u.list.n;
    struct str json;
    if (!room_for(r, task, n, err) || !value_kept(t, &items, &json, err)) return false;
    if (n == 0) {
        task_event_step(t, task, STEP_START, REASON_NONE);
        task_event_step(t, task, STEP_OK, REASON_NONE);
        return true;
    }
    struct value *kept = arena_new(&r->keep, struct value);
    *kept = value_copy(&r->keep, &items);
    struct frame f = {.kind = FRAME_ITEMS, .graph = r->frames[r->tasks[task].frame].graph, .n = n, .items = kept};
    open_frame(t, task, f, json, (struct str){0});
    return true;
}

/* ---- sub-pipelines ---- */

static bool graph_inputs(struct turn *t, uint32_t task, const struct graph *g, struct value *out, struct err *err)
{
    const struct node *n = run_task_node(t->r, task);
    struct arena *a = t->out->arena;
    struct env_ctx ctx;
    struct expr_env env;
    turn_env(t, task, &ctx, &env);
    struct value_map_builder b;
    value_map_begin(&b, a);
    for (size_t i = 0; i < n->n_inputs; i++) {
        struct value v;
        struct err why = {0};
        bool ok = expr_template_eval(&n->inputs[i].value, &env, a, &v, &why);
        if (n->inputs[i].optional && (ok ? v.type == VALUE_NULL : why.code == ERR_NOT_FOUND)) continue;
        if (!ok) {
            *err = why;
            return false;
        }
        value_map_put(&b, n->inputs[i].name, v);
    }
    struct value given = value_map_end(&b);
    struct err_list errors;
    err_list_init(&errors, a);
    if (params_bind(a, g->params, g->n_params, &given, out, &errors)) return true;
    if (errors.n > 0)
        *err = errors.items[0];
    else
        err_set(err, ERR_INVALID, "the params do not fit");
    return false;
}

/* When the instance's time is over: its own limit or the sub-pipeline's deadline, whichever is first; 0 = never. */
static int64_t graph_due(const struct node *n, const struct graph *g, int64_t now_us)
{
    int64_t ms = n->timeout_ms;
    if (g->deadline_ms > 0 && (ms == 0 || g->deadline_ms < ms)) ms = g->deadline_ms;
    return ms > 0 ? now_us + ms * 1000 : 0;
}

bool open_graph(struct turn *t, uint32_t task, struct err *err)
{
    struct run *r = t->r;
    const struct node *n = run_task_node(r, task);
    if (n->graph >= r->plan->n_graphs) return err_set(err, ERR_INTERNAL, "the plan has no graph %u", n->graph);
    const struct graph *g = &r->plan->graphs[n->graph];
    struct value inputs;
    struct str json;
    if (!room_for(r, task, g->n_nodes, err) || !graph_inputs(t, task, g, &inputs, err) ||
        !value_kept(t, &inputs, &json, err))
        return false;
    struct frame f = {.kind = FRAME_GRAPH, .graph = n->graph, .n = g->n_nodes, .inputs = value_copy(&r->keep, &inputs)};
    open_frame(t, task, f, (struct str){0}, json);
    int64_t due_us = graph_due(n, g, t->now_us);
    if (due_us > 0 && r->tasks[task].state == TASK_RUNNING) due_set(t, task, due_us);
    return true;
}

/* An output that reads a skipped step is null: a pipeline's branches are seldom all taken. */
bool frame_outputs(struct turn *t, uint32_t frame, struct str *json, struct err *err)
{
    const struct graph *g = frame_graph(t->r, &t->r->frames[frame]);
    *json = (struct str){0};
    if (g->n_outputs == 0) return true;
    struct env_ctx ctx;
    struct expr_env env;
    turn_env_of_frame(t, frame, &ctx, &env);
    struct value_map_builder b;
    value_map_begin(&b, t->out->arena);
    for (size_t i = 0; i < g->n_outputs; i++) {
        const struct graph_output *o = &g->outputs[i];
        struct value v = value_null();
        struct err why = {0};
        if (!env_template_reads_skipped(t->r, frame, &o->value) &&
            !expr_template_eval(&o->value, &env, t->out->arena, &v, &why))
            return err_set(err, why.code, "outputs.%.*s: %s", STR_ARG(o->name), why.message);
        value_map_put(&b, o->name, v);
    }
    struct value all = value_map_end(&b);
    return value_kept(t, &all, json, err) || err_set(err, err->code, "outputs: %s", err->message);
}
