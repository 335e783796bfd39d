/* What a task's expressions can see: params, steps, item, index, run. Values are made when asked for; long outputs are
 * decoded once and kept until the memo is dropped between turns. */
#include "engine/base/jsonw.h"
#include "engine/flow/run_inner.h"

#define MEMO_FROM_BYTES 1024 /* shorter outputs are decoded each time */

typedef bool lookup_fn(const struct env_ctx *c, struct arena *a, const struct expr_ref *ref, struct value *out,
                       size_t *used, bool *absent, struct err *err);

/* ---- outputs ---- */

static bool decode_into(const struct run *r, uint32_t task, struct arena *a, struct value *out, struct err *err)
{
    struct str text = text_str(task_extra_get(r, task)->outputs);
    *out = (struct value){.type = VALUE_MAP};
    if (text.n == 0) return true;
    if (!r->head.json) return err_set(err, ERR_INTERNAL, "no decoder for stored outputs");
    return r->head.json(a, text, out, err);
}

static const struct value *memo_get(const struct run *r, uint32_t task)
{
    const struct extra *x = task_extra_get(r, task);
    return x->memo_gen == r->memo_gen ? x->decoded : NULL;
}

static const struct value *memo_put(const struct run *r, uint32_t task, struct value v)
{
    struct run *w = (struct run *)(uintptr_t)r; /* a cache, not the run's state */
    struct value *kept = arena_new(&w->memo, struct value);
    *kept = v;
    struct extra *x = &w->extras[r->tasks[task].extra];
    x->decoded = kept;
    x->memo_gen = r->memo_gen;
    return kept;
}

static struct arena *memo_arena(const struct run *r)
{
    return (struct arena *)(uintptr_t)&r->memo;
}

static bool plain_outputs(const struct run *r, uint32_t task, struct arena *a, struct value *out, struct err *err)
{
    const struct value *kept = memo_get(r, task);
    if (kept) {
        *out = *kept;
        return true;
    }
    bool keep = text_str(task_extra_get(r, task)->outputs).n >= MEMO_FROM_BYTES;
    if (!decode_into(r, task, keep ? memo_arena(r) : a, out, err)) return false;
    if (keep) memo_put(r, task, *out);
    return true;
}

static bool told_of_items(struct str name)
{
    return str_is(name, "item") || str_is(name, "index") || str_is(name, "status");
}

/* What an item gave goes beside what is told of it; what would hide behind that goes into `outputs`. */
static void put_own(struct value_map_builder *b, const struct value *own)
{
    struct value_map_builder hidden;
    value_map_begin(&hidden, b->arena);
    for (size_t k = 0; own->type == VALUE_MAP && k < own->u.map.n; k++) {
        const struct value_entry *e = &own->u.map.entries[k];
        value_map_put(told_of_items(e->key) ? &hidden : b, e->key, e->value);
    }
    if (hidden.n > 0 && !value_get(own, "outputs")) value_map_put(b, STR("outputs"), value_map_end(&hidden));
}

static bool item_result(const struct run *r, const struct frame *f, uint32_t i, struct arena *a, struct value *out,
                        struct err *err)
{
    uint32_t task = f->first + i;
    enum task_state state = (enum task_state)r->tasks[task].state;
    struct value_map_builder b;
    value_map_begin(&b, a);
    value_map_put(&b, STR("item"), f->items ? f->items->u.list.items[i] : value_null());
    value_map_put(&b, STR("index"), value_int(i));
    value_map_put(&b, STR("status"), value_string(str_of(task_state_name(state))));
    struct value own;
    if (state == TASK_SUCCEEDED) {
        if (!decode_into(r, task, a, &own, err)) return false;
        put_own(&b, &own);
    }
    *out = value_map_end(&b);
    return true;
}

static bool loop_outputs(const struct run *r, uint32_t task, struct arena *a, struct value *out, struct err *err)
{
    const struct value *kept = memo_get(r, task);
    if (kept) {
        *out = *kept;
        return true;
    }
    bool keep = task_state_terminal((enum task_state)r->tasks[task].state) && r->tasks[task].extra != NONE;
    if (keep) a = memo_arena(r);
    struct value_list_builder b;
    value_list_begin(&b, a);
    uint32_t child = task_child(r, task);
    const struct frame *f = child == NONE ? NULL : &r->frames[child];
    for (uint32_t i = 0; f && i < f->n; i++) {
        struct value item;
        if (!item_result(r, f, i, a, &item, err)) return false;
        value_list_push(&b, item);
    }
    *out = value_list_end(&b);
    if (keep) memo_put(r, task, *out);
    return true;
}

static bool has_outputs(const struct run *r, uint32_t task)
{
    enum task_state state = (enum task_state)r->tasks[task].state;
    return state == TASK_SUCCEEDED ||
           (task_is_loop(r, task) && task_child(r, task) != NONE && task_state_terminal(state));
}

static bool step_outputs(const struct run *r, uint32_t task, struct arena *a, struct value *out, struct err *err)
{
    return task_is_loop(r, task) ? loop_outputs(r, task, a, out, err) : plain_outputs(r, task, a, out, err);
}

/* One output of a step. An optional one that was not written is absent, as all are of a step that was skipped. */
static bool step_output(const struct run *r, uint32_t task, struct str name, struct arena *a, struct value *out,
                        bool *absent, struct err *err)
{
    struct value all;
    if (!plain_outputs(r, task, a, &all, err)) return false;
    const struct value *found = value_find(&all, name);
    *absent = !found;
    if (found) *out = *found;
    return true;
}

static bool step_value(const struct run *r, uint32_t task, struct arena *a, struct value *out, struct err *err)
{
    struct value all;
    if (!step_outputs(r, task, a, &all, err)) return false;
    const struct value *found;
    if (all.type != VALUE_LIST) {
        found = value_get(&all, "value");
        *out = found ? *found : value_null();
        return true;
    }
    struct value_list_builder b;
    value_list_begin(&b, a);
    for (size_t i = 0; i < all.u.list.n; i++) {
        found = value_get(&all.u.list.items[i], "value");
        value_list_push(&b, found ? *found : value_null());
    }
    *out = value_list_end(&b);
    return true;
}

/* ---- roots ---- */

static struct value step_status(const struct run *r, uint32_t task)
{
    return value_string(str_of(task_state_name((enum task_state)r->tasks[task].state)));
}

static struct value step_error(const struct run *r, uint32_t task, struct arena *a)
{
    return value_string(arena_str(a, text_str(task_extra_get(r, task)->message)));
}

static bool whole_step(const struct run *r, uint32_t task, struct arena *a, struct value *out, struct err *err)
{
    struct value_map_builder b;
    value_map_begin(&b, a);
    value_map_put(&b, STR("status"), step_status(r, task));
    value_map_put(&b, STR("error"), step_error(r, task, a));
    struct value v;
    if (has_outputs(r, task)) {
        if (!step_outputs(r, task, a, &v, err)) return false;
        value_map_put(&b, STR("outputs"), v);
        if (!step_value(r, task, a, &v, err)) return false;
        value_map_put(&b, STR("value"), v);
    }
    *out = value_map_end(&b);
    return true;
}

static bool look_steps(const struct env_ctx *c, struct arena *a, const struct expr_ref *ref, struct value *out,
                       size_t *used, bool *absent, struct err *err)
{
    const struct run *r = c->r;
    const struct frame *f = &r->frames[c->frame];
    uint32_t i = ref->n > 0 ? node_index(r, f->graph, ref->fields[0]) : NONE;
    if (i == NONE) {
        *absent = true; /* `steps` as a whole is nothing a step may depend on */
        return true;
    }
    uint32_t task = f->first + i;
    if (ref->n == 1) {
        *used = 1;
        return whole_step(r, task, a, out, err);
    }
    *used = 2;
    struct str what = ref->fields[1];
    if (str_is(what, "status")) {
        *out = step_status(r, task);
        return true;
    }
    if (str_is(what, "error")) {
        *out = step_error(r, task, a);
        return true;
    }
    if (has_outputs(r, task)) {
        if (str_is(what, "outputs") && ref->n > 2 && !task_is_loop(r, task)) {
            *used = 3;
            return step_output(r, task, ref->fields[2], a, out, absent, err);
        }
        if (str_is(what, "outputs")) return step_outputs(r, task, a, out, err);
        if (str_is(what, "value")) return step_value(r, task, a, out, err);
    }
    *absent = true;
    return true;
}

static bool look_params(const struct env_ctx *c, struct arena *a, const struct expr_ref *ref, struct value *out,
                        size_t *used, bool *absent, struct err *err)
{
    (void)a;
    (void)err;
    const struct value *params = &c->r->frames[c->frame].inputs;
    *used = ref->n > 0 ? 1 : 0;
    const struct value *found = ref->n > 0 ? value_find(params, ref->fields[0]) : params;
    if (found)
        *out = *found;
    else
        *absent = true;
    return true;
}

static const struct frame *items_of(const struct env_ctx *c)
{
    if (c->task == NONE) return NULL;
    const struct frame *f = &c->r->frames[c->r->tasks[c->task].frame];
    return f->kind == FRAME_ITEMS ? f : NULL;
}

static bool look_item(const struct env_ctx *c, struct arena *a, const struct expr_ref *ref, struct value *out,
                      size_t *used, bool *absent, struct err *err)
{
    (void)a;
    (void)ref;
    (void)err;
    const struct frame *f = items_of(c);
    *used = 0;
    if (f && f->items)
        *out = f->items->u.list.items[c->task - f->first];
    else
        *absent = true;
    return true;
}

static bool look_index(const struct env_ctx *c, struct arena *a, const struct expr_ref *ref, struct value *out,
                       size_t *used, bool *absent, struct err *err)
{
    (void)a;
    (void)ref;
    (void)err;
    const struct frame *f = items_of(c);
    *used = 0;
    if (f)
        *out = value_int(c->task - f->first);
    else
        *absent = true;
    return true;
}

static bool look_run(const struct env_ctx *c, struct arena *a, const struct expr_ref *ref, struct value *out,
                     size_t *used, bool *absent, struct err *err)
{
    (void)err;
    const struct run *r = c->r;
    const struct run_header *h = &r->head;
    struct value_map_builder b;
    value_map_begin(&b, a);
    value_map_put(&b, STR("id"), value_int(h->id));
    value_map_put(&b, STR("name"), value_string(h->name));
    value_map_put(&b, STR("pipeline"), value_string(h->pipeline));
    value_map_put(&b, STR("project"), value_string(h->project));
    value_map_put(&b, STR("createdBy"), value_string(h->created_by));
    value_map_put(&b, STR("status"), value_string(str_of(run_state_name(frame_status(r, c->frame)))));
    *out = value_map_end(&b);
    *used = 0;
    if (ref->n == 0) return true;
    const struct value *found = value_find(out, ref->fields[0]);
    *used = 1;
    if (found)
        *out = *found;
    else
        *absent = true;
    return true;
}

static const struct {
    const char *name;
    lookup_fn *look;
} roots[] = {
    {"steps", look_steps}, {"params", look_params}, {"item", look_item}, {"index", look_index}, {"run", look_run},
};

static bool lookup(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                   bool *absent, struct err *err)
{
    *used = 0;
    *absent = false;
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        if (str_is(ref->root, roots[i].name)) return roots[i].look(ctx, a, ref, out, used, absent, err);
    *absent = true;
    return true;
}

static void env_of_frame(const struct run *r, uint32_t frame, struct env_ctx *ctx, struct expr_env *env)
{
    *ctx = (struct env_ctx){r, NONE, frame, 0};
    *env = (struct expr_env){.ctx = ctx, .lookup = lookup, .json = r->head.json, .spent = &ctx->spent};
}

static void env_of_task(const struct run *r, uint32_t task, struct env_ctx *ctx, struct expr_env *env)
{
    uint32_t frame = r->tasks[task].frame;
    if (r->frames[frame].kind == FRAME_ITEMS) frame = r->tasks[r->frames[frame].parent_task].frame;
    env_of_frame(r, frame, ctx, env);
    ctx->task = task;
}

/* What the expressions of one task or frame spend together is bounded; what all of a turn do is added up. */
static void spend_in(struct run_out *out, struct expr_env *env)
{
    out->cost += out->spent;
    out->spent = 0;
    env->spent = &out->spent;
}

void turn_env(struct turn *t, uint32_t task, struct env_ctx *ctx, struct expr_env *env)
{
    env_of_task(t->r, task, ctx, env);
    spend_in(t->out, env);
}

void turn_env_of_frame(struct turn *t, uint32_t frame, struct env_ctx *ctx, struct expr_env *env)
{
    env_of_frame(t->r, frame, ctx, env);
    spend_in(t->out, env);
}

void run_task_env(const struct run *r, uint32_t task, struct expr_env *out, struct arena *a)
{
    env_of_task(r, task, arena_new(a, struct env_ctx), out);
}

/* ---- references to skipped steps ---- */

struct skipped_search {
    const struct run *r;
    const struct frame *f;
    struct str name;
    bool found;
};

static bool reads_skipped(void *ctx, const struct expr_ref *ref)
{
    struct skipped_search *s = ctx;
    if (!str_is(ref->root, "steps") || ref->n < 2 || ref->guarded) return true;
    if (!str_is(ref->fields[1], "outputs") && !str_is(ref->fields[1], "value")) return true;
    uint32_t i = node_index(s->r, s->f->graph, ref->fields[0]);
    if (i == NONE || s->r->tasks[s->f->first + i].state != TASK_SKIPPED) return true;
    s->name = frame_graph(s->r, s->f)->nodes[i].name;
    s->found = true;
    return false;
}

static void search_env(struct skipped_search *s, const struct env_var *vars, size_t n)
{
    for (size_t i = 0; i < n && !s->found; i++)
        if (vars[i].secret.source == SECRET_NONE) expr_template_refs(&vars[i].value, reads_skipped, s);
}

static void search_node(struct skipped_search *s, const struct node *n)
{
    if (n->when) expr_refs(n->when, reads_skipped, s);
    const struct expr_template *const single[] = {&n->foreach,    &n->line,    &n->value,      &n->wait_for,
                                                  &n->wait_until, &n->message, &n->import_uri, &n->cache.key};
    for (size_t i = 0; i < sizeof single / sizeof single[0] && !s->found; i++)
        expr_template_refs(single[i], reads_skipped, s);
    for (size_t i = 0; n->product && i < n->product->u.map.n && !s->found; i++)
        expr_template_refs(&n->product_values[i], reads_skipped, s);
    for (size_t i = 0; i < n->n_argv && !s->found; i++)
        expr_template_refs(&n->argv[i], reads_skipped, s);
    for (size_t i = 0; i < n->n_inputs && !s->found; i++)
        if (!n->inputs[i].optional) expr_template_refs(&n->inputs[i].value, reads_skipped, s);
    search_env(s, n->env, n->n_env);
    if (!n->http || s->found) return;
    const struct expr_template *const call[] = {&n->http->method, &n->http->url, &n->http->body};
    for (size_t i = 0; i < sizeof call / sizeof call[0] && !s->found; i++)
        expr_template_refs(call[i], reads_skipped, s);
    search_env(s, n->http->headers, n->http->n_headers);
}

bool env_reads_skipped(const struct run *r, uint32_t task, struct str *name)
{
    const struct frame *f = &r->frames[r->tasks[task].frame];
    if (f->kind != FRAME_GRAPH || f->skipped == 0) return false;
    struct skipped_search s = {.r = r, .f = f};
    search_node(&s, run_task_node(r, task));
    *name = s.name;
    return s.found;
}

bool env_template_reads_skipped(const struct run *r, uint32_t frame, const struct expr_template *template)
{
    struct skipped_search s = {.r = r, .f = &r->frames[frame]};
    if (s.f->skipped > 0) expr_template_refs(template, reads_skipped, &s);
    return s.found;
}

static bool is_item(void *ctx, const struct expr_ref *ref)
{
    bool *found = ctx;
    *found = str_is(ref->root, "item") || str_is(ref->root, "index");
    return !*found;
}

bool node_reads_item(const struct expr *when)
{
    bool found = false;
    if (when) expr_refs(when, is_item, &found);
    return found;
}
