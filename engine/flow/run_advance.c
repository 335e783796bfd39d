/* What becomes of a task that has nothing left to wait for: it is skipped, opened, evaluated, asked for in the cache,
 * made to wait, or listed for an executor. */
#include <string.h>

#include "engine/flow/run_inner.h"

/* ---- may it run? ---- */

struct upstream {
    uint32_t n, failed, succeeded;
};

static struct upstream look_upstream(const struct run *r, uint32_t task)
{
    const struct frame *f = &r->frames[r->tasks[task].frame];
    const struct node *n = run_task_node(r, task);
    struct upstream u = {.n = n->n_deps};
    for (uint32_t i = 0; i < n->n_deps; i++) {
        const struct task *k = &r->tasks[f->first + n->deps[i]];
        bool upstream_failed = k->state == TASK_SKIPPED && k->reason == REASON_UPSTREAM_FAILED;
        if (k->state == TASK_FAILED || k->state == TASK_CANCELLED || upstream_failed) u.failed++;
        if (k->state == TASK_SUCCEEDED) u.succeeded++;
    }
    return u;
}

/* REASON_NONE = it may run. */
static enum reason judge_rule(enum rule rule, struct upstream u)
{
    switch (rule) {
    case RULE_ALL_SUCCEEDED: return u.failed > 0 ? REASON_UPSTREAM_FAILED : REASON_NONE;
    case RULE_ALL_DONE: return REASON_NONE;
    case RULE_ANY_FAILED: return u.failed > 0 ? REASON_NONE : REASON_RULE;
    case RULE_ONE_SUCCEEDED:
        if (u.succeeded > 0) return REASON_NONE;
        return u.failed > 0 ? REASON_UPSTREAM_FAILED : REASON_RULE;
    }
    return REASON_NONE;
}

static void fail_invalid(struct turn *t, uint32_t task, const char *field, const struct err *err)
{
    struct str m = field ? arena_printf(t->out->arena, "%s: %s", field, err->message)
                         : arena_str(t->out->arena, str_of(err->message));
    task_fail(t, task, FAILURE_INVALID, REASON_INVALID, m);
}

static bool when_holds(struct turn *t, uint32_t task, const struct node *n)
{
    struct env_ctx ctx;
    struct expr_env env;
    turn_env(t, task, &ctx, &env);
    struct value v;
    struct err err = {0};
    if (!expr_eval(n->when, &env, t->out->arena, &v, &err)) {
        fail_invalid(t, task, "when", &err);
        return false;
    }
    if (v.type != VALUE_BOOL) {
        err_set(&err, ERR_INVALID, "must be true or false, not %s", value_type_name(v.type));
        fail_invalid(t, task, "when", &err);
        return false;
    }
    if (!v.u.b) task_event_step(t, task, STEP_SKIP, REASON_CONDITION);
    return v.u.b;
}

/* A condition of a loop is the loop's own, unless it reads `item`: then it is each item's. */
static bool conditions_hold(struct turn *t, uint32_t task)
{
    struct run *r = t->r;
    const struct node *n = run_task_node(r, task);
    bool is_item = r->frames[r->tasks[task].frame].kind == FRAME_ITEMS;
    if (!is_item) {
        enum reason why = judge_rule(n->rule, look_upstream(r, task));
        struct str name;
        if (why == REASON_NONE && env_reads_skipped(r, task, &name)) why = REASON_UPSTREAM_SKIPPED;
        if (why != REASON_NONE) {
            task_event_step(t, task, STEP_SKIP, why);
            return false;
        }
    }
    if (!n->when || (n->loop && node_reads_item(n->when) != is_item)) return true;
    return when_holds(t, task, n);
}

/* ---- verbs that the run does itself ---- */

static void do_expr(struct turn *t, uint32_t task, const struct node *n)
{
    struct env_ctx ctx;
    struct expr_env env;
    turn_env(t, task, &ctx, &env);
    struct err err = {0};
    struct value_entry entry = {.key = STR("value")};
    const struct value outputs = {.type = VALUE_MAP, .u.map = {.entries = &entry, .n = 1}};
    struct str json;
    bool ok =
        expr_template_eval(&n->value, &env, t->out->arena, &entry.value, &err) && value_kept(t, &outputs, &json, &err);
    task_event_step(t, task, STEP_START, REASON_NONE);
    if (!ok) {
        fail_invalid(t, task, "expr", &err);
        return;
    }
    struct step_input in = {.event = STEP_OK, .exit_code = -1, .now_us = t->now_us};
    task_step(t, task, &in, &(struct task_result){.ok = true, .outputs = json, .exit_code = -1});
}

static void do_noop(struct turn *t, uint32_t task, const struct node *n)
{
    (void)n;
    task_event_step(t, task, STEP_START, REASON_NONE);
    task_event_step(t, task, STEP_OK, REASON_NONE);
}

static void do_wait(struct turn *t, uint32_t task, const struct node *n)
{
    struct env_ctx ctx;
    struct expr_env env;
    turn_env(t, task, &ctx, &env);
    bool until = n->wait_until.source.n > 0;
    struct value v;
    struct err err = {0};
    int64_t due_us = 0;
    if (!expr_template_eval(until ? &n->wait_until : &n->wait_for, &env, t->out->arena, &v, &err) ||
        !wait_due(&v, until, t->now_us, &due_us, &err)) {
        fail_invalid(t, task, until ? "wait.until" : "wait", &err);
        return;
    }
    if (due_us <= t->now_us) {
        do_noop(t, task, n);
        return;
    }
    task_event_step(t, task, STEP_WAIT, REASON_AWAITS_TIME);
    due_set(t, task, due_us);
}

static void do_approval(struct turn *t, uint32_t task, const struct node *n)
{
    struct env_ctx ctx;
    struct expr_env env;
    turn_env(t, task, &ctx, &env);
    struct value v = value_null();
    struct err err = {0};
    if (n->message.n > 0 && !expr_template_eval(&n->message, &env, t->out->arena, &v, &err)) {
        fail_invalid(t, task, "approval.message", &err);
        return;
    }
    BUF_AUTO text;
    buf_init(&text, 0);
    if (v.type == VALUE_STRING)
        buf_str(&text, v.u.s);
    else if (v.type != VALUE_NULL)
        value_json(&text, &v, false);
    struct step_input in = {.event = STEP_WAIT, .reason = REASON_AWAITS_APPROVAL, .exit_code = -1, .now_us = t->now_us};
    task_step(t, task, &in, &(struct task_result){.message = buf_view(&text), .exit_code = -1});
    if (n->timeout_ms > 0) due_set(t, task, t->now_us + n->timeout_ms * 1000);
}

static void do_elsewhere(struct turn *t, uint32_t task, enum effect_kind kind)
{
    task_event_step(t, task, STEP_START, REASON_NONE);
    task_event(t, EVENT_TASK_STARTED, task);
    effect_add(t, (struct effect){.kind = kind, .task = task, .attempt = task_extra_get(t->r, task)->attempt});
}

static void do_http(struct turn *t, uint32_t task, const struct node *n)
{
    (void)n;
    do_elsewhere(t, task, EFFECT_HTTP);
}

static void do_import(struct turn *t, uint32_t task, const struct node *n)
{
    (void)n;
    do_elsewhere(t, task, EFFECT_IMPORT);
}

static void do_pipeline(struct turn *t, uint32_t task, const struct node *n)
{
    struct err err = {0};
    if (!open_graph(t, task, &err)) fail_invalid(t, task, n->pipeline.n > 0 ? "pipeline" : NULL, &err);
}

static void do_list(struct turn *t, uint32_t task, const struct node *n)
{
    (void)n;
    ready_add(t->r, task);
}

static void (*const verbs[])(struct turn *t, uint32_t task, const struct node *n) = {
    [VERB_RUN] = do_list,      [VERB_SCRIPT] = do_list, [VERB_IMAGE] = do_list, [VERB_PIPELINE] = do_pipeline,
    [VERB_EXPR] = do_expr,     [VERB_HTTP] = do_http,   [VERB_WAIT] = do_wait,  [VERB_APPROVAL] = do_approval,
    [VERB_IMPORT] = do_import, [VERB_NOOP] = do_noop,
};

/* ---- one task ---- */

/* A retry kept what succeeded inside it: it goes on where it was. */
static void resume(struct turn *t, uint32_t task)
{
    uint32_t child = task_child(t->r, task);
    task_event_step(t, task, STEP_START, REASON_NONE);
    task_event(t, EVENT_TASK_STARTED, task);
    const struct frame *f = &t->r->frames[child];
    const struct node *n = run_task_node(t->r, task);
    if (f->kind == FRAME_GRAPH) {
        const struct graph *g = frame_graph(t->r, f);
        int64_t ms = n->timeout_ms;
        if (g->deadline_ms > 0 && (ms == 0 || g->deadline_ms < ms)) ms = g->deadline_ms;
        if (ms > 0) due_set(t, task, t->now_us + ms * 1000);
    }
    frame_activate(t, child);
}

/* A retry named it, or the loop or sub-pipeline it is in. */
static bool retried_from(const struct run *r, uint32_t task)
{
    while (task != NONE && r->tasks[task].reason != REASON_FROM)
        task = r->frames[r->tasks[task].frame].parent_task;
    return task != NONE;
}

static bool may_be_cached(struct run *r, uint32_t task)
{
    const struct node *n = run_task_node(r, task);
    if (!n->cache.on || !verb_external(n->verb) || task_is_loop(r, task)) return false;
    if (retried_from(r, task)) r->tasks[task].flags |= TASK_NO_CACHE; /* nor when it fails and starts again */
    return !(r->tasks[task].flags & TASK_NO_CACHE);
}

static void look_at(struct turn *t, uint32_t task)
{
    struct run *r = t->r;
    const struct node *n = run_task_node(r, task);
    bool resumed = task_child(r, task) != NONE;
    if (!(r->tasks[task].flags & TASK_CHECKED)) {
        if (!resumed && !conditions_hold(t, task)) return;
        r->tasks[task].flags |= TASK_CHECKED;
    }
    if (may_be_cached(r, task)) {
        r->tasks[task].flags |= TASK_ASKED;
        effect_add(t, (struct effect){.kind = EFFECT_CACHE, .task = task, .attempt = task_extra_get(r, task)->attempt});
        return;
    }
    if (!gates_pass(r, task)) return;
    struct err err = {0};
    if (resumed)
        resume(t, task);
    else if (!task_is_loop(r, task))
        verbs[n->verb](t, task, n);
    else if (!open_loop(t, task, &err))
        fail_invalid(t, task, "foreach", &err);
}

bool run_advance(struct run *r, uint32_t *budget, int64_t now_us, struct run_out *out)
{
    struct turn t = {.r = r, .now_us = now_us, .random = 0.5, .out = out};
    if (run_state_terminal(r->state) || r->state == RUN_QUEUED) return false;
    sweep_some(&t, budget);
    if (r->state == RUN_PAUSED) {
        turn_close(&t);
        return r->n_sweeps > 0 || r->closing.n > 0;
    }
    struct u32_vec *fresh = &r->fresh;
    uint32_t end = fresh->n; /* what comes later is the next turn's */
    uint64_t before = run_out_work(out), tasks = 0, work = 0;
    while (r->fresh_head < end && work < *budget) {
        uint32_t task = fresh->p[r->fresh_head++];
        if (!(r->tasks[task].flags & TASK_FRESH)) continue;
        r->tasks[task].flags &= (uint8_t)~TASK_FRESH;
        look_at(&t, task);
        work = ++tasks + run_out_work(out) - before;
    }
    turn_close(&t);
    work = tasks + run_out_work(out) - before;
    *budget -= work < *budget ? (uint32_t)work : *budget;
    if (r->fresh_head > 0 && r->fresh_head >= fresh->n / 2) {
        fresh->n -= r->fresh_head;
        if (fresh->n > 0) memmove(fresh->p, fresh->p + r->fresh_head, fresh->n * sizeof *fresh->p);
        r->fresh_head = 0;
    }
    return !run_state_terminal(r->state) && (fresh->n > r->fresh_head || r->n_sweeps > 0 || r->closing.n > 0);
}

void run_start_task(struct run *r, uint32_t task, struct str executor, int64_t now_us, struct run_out *out)
{
    struct turn t = {.r = r, .now_us = now_us, .random = 0.5, .out = out};
    if (task >= r->n_tasks || !(r->tasks[task].flags & TASK_LISTED)) return;
    if (!task_event_step(&t, task, STEP_START, REASON_NONE)) return;
    uint16_t number = executor.n ? name_number(r, &r->executors, executor) : 0;
    task_extra(r, task)->executor = number;
    task_event(&t, EVENT_TASK_STARTED, task);
    run_relaunch(r, task, out);
}

void run_relaunch(struct run *r, uint32_t task, struct run_out *out)
{
    struct turn t = {.r = r, .out = out};
    effect_add(&t, (struct effect){.kind = EFFECT_LAUNCH, .task = task, .attempt = task_extra_get(r, task)->attempt});
}
