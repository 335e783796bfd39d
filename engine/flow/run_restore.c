/* A run from its stored rows: what is derived is computed again, and the effects that may not have been performed are
 * emitted once more. */
#include <stdlib.h>

#include "engine/flow/run_inner.h"

static bool restore_items(struct run *r, const struct frame_row *row, struct frame *f, struct err *err)
{
    struct value *items = arena_new(&r->keep, struct value);
    if (!r->head.json) return err_set(err, ERR_INTERNAL, "no decoder for stored items");
    if (!r->head.json(&r->keep, row->items, items, err)) return false;
    if (items->type != VALUE_LIST || items->u.list.n != row->n)
        return err_set(err, ERR_INTERNAL, "frame %u has not the items it says", row->frame);
    f->items = items;
    return true;
}

bool run_restore_frame(struct run *r, const struct frame_row *row, struct err *err)
{
    if (row->frame != r->n_frames || row->first_task != r->n_tasks || row->parent_task >= r->n_tasks)
        return err_set(err, ERR_INTERNAL, "frame %u does not follow what was restored before it", row->frame);
    if (row->graph >= r->plan->n_graphs || (row->kind != FRAME_GRAPH && row->kind != FRAME_ITEMS) ||
        row->n > PLAN_MAX_NODES)
        return err_set(err, ERR_INTERNAL, "frame %u does not fit the plan", row->frame);
    struct frame f = {.parent_task = row->parent_task,
                      .kind = (uint8_t)row->kind,
                      .graph = row->graph,
                      .first = row->first_task,
                      .n = row->n,
                      .inputs = {.type = VALUE_MAP},
                      .opened_us = row->opened_us};
    if (f.kind == FRAME_GRAPH && f.n != r->plan->graphs[f.graph].n_nodes)
        return err_set(err, ERR_INTERNAL, "frame %u does not fit its graph", row->frame);
    if (f.kind == FRAME_ITEMS && !restore_items(r, row, &f, err)) return false;
    if (f.kind == FRAME_GRAPH && row->inputs.n > 0) {
        if (!r->head.json) return err_set(err, ERR_INTERNAL, "no decoder for stored inputs");
        if (!r->head.json(&r->keep, row->inputs, &f.inputs, err)) return false;
    }
    frame_add(r, &f);
    return true;
}

bool run_restore_task(struct run *r, const struct task_row *row, struct err *err)
{
    if (row->task >= r->n_tasks || r->tasks[row->task].frame != row->frame || row->state == TASK_REFUSED ||
        (unsigned)row->state >= TASK_STATE_COUNT)
        return err_set(err, ERR_INTERNAL, "task %u does not fit what was restored before it", row->task);
    struct task *k = &r->tasks[row->task];
    r->count[k->state]--;
    k->stored_state = (uint8_t)row->state;
    k->state = row->state == TASK_READY ? TASK_PENDING : (uint8_t)row->state; /* readiness is derived */
    k->reason = (uint8_t)row->reason;
    r->count[k->state]++;
    bool plain =
        row->attempt == 0 && row->failures == 0 && row->message.n == 0 && row->outputs.n == 0 && row->ended_us == 0;
    if (plain) return true;
    uint16_t executor = row->executor.n ? name_number(r, &r->executors, row->executor) : 0;
    uint16_t bundle = row->other_bundle ? name_number(r, &r->bundles, row->bundle) : 0;
    struct extra *x = task_extra(r, row->task);
    x->attempt = x->stored_attempt = row->attempt;
    x->failures = row->failures;
    x->free_failures = (uint8_t)row->free_failures;
    x->exit_code = row->exit_code;
    x->due_us = row->due_us;
    x->started_us = row->started_us;
    x->ended_us = row->ended_us;
    x->log_bytes = row->log_bytes;
    x->memory = row->memory_bytes;
    x->executor = executor;
    x->bundle = bundle;
    text_set(r, &x->message, row->message);
    text_set(r, &x->outputs, row->outputs);
    return true;
}

/* ---- what is derived ---- */

static bool in_use(uint8_t state)
{
    return state == TASK_RUNNING || state == TASK_STOPPING;
}

static void derive_frame(struct run *r, uint32_t number)
{
    struct frame *f = &r->frames[number];
    const struct graph *g = f->kind == FRAME_GRAPH ? frame_graph(r, f) : NULL;
    f->open = f->open_exit = f->bad = f->bad_exit = f->skipped = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct task *k = &r->tasks[f->first + i];
        bool exits = g && i >= f->n - g->n_exit;
        if (!task_state_terminal((enum task_state)k->state)) *(exits ? &f->open_exit : &f->open) += 1;
        if (k->state == TASK_FAILED || k->state == TASK_CANCELLED) *(exits ? &f->bad_exit : &f->bad) += 1;
        if (k->state == TASK_SKIPPED) f->skipped++;
        if (in_use(k->state) && task_is_container(r, f->first + i)) r->running_containers++;
        k->waits = 0;
        for (uint32_t d = 0; g && d < g->nodes[i].n_deps; d++)
            if (!task_state_terminal((enum task_state)r->tasks[f->first + g->nodes[i].deps[d]].state)) k->waits++;
    }
}

static bool superseded(const struct run *r, const struct frame *f)
{
    if (r->frames[r->tasks[f->parent_task].frame].dead) return true;
    return f->n > 0 && r->tasks[f->first].reason == REASON_SUPERSEDED;
}

/* From the outside in: a dead frame's tasks count no more, and open nothing. */
void run_derive(struct run *r)
{
    if (r->derived) return;
    r->derived = true;
    r->running_containers = 0;
    for (uint32_t i = 0; i < r->n_frames; i++) {
        struct frame *f = &r->frames[i];
        if (i > 0 && superseded(r, f)) {
            f->dead = true;
            for (uint32_t k = 0; k < f->n; k++)
                r->count[r->tasks[f->first + k].state]--;
            continue;
        }
        if (i > 0) task_extra(r, f->parent_task)->child = i;
        derive_frame(r, i);
    }
}

static bool holds_gates(const struct run *r, uint32_t task)
{
    enum task_state s = (enum task_state)r->tasks[task].state;
    return s == TASK_RUNNING || s == TASK_STOPPING || s == TASK_WAITING;
}

static void again(struct turn *t, uint32_t task)
{
    static const enum effect_kind by_verb[] = {
        [VERB_HTTP] = EFFECT_HTTP, [VERB_IMPORT] = EFFECT_IMPORT, [VERB_NOOP] = EFFECT_LAUNCH};
    const struct run *r = t->r;
    enum verb verb = run_task_node(r, task)->verb;
    enum effect_kind kind = r->tasks[task].state == TASK_STOPPING ? EFFECT_KILL : by_verb[verb];
    effect_add(t, (struct effect){.kind = kind,
                                  .task = task,
                                  .attempt = task_extra_get(r, task)->attempt,
                                  .grace_ms = kind == EFFECT_KILL && r->stop == RUN_CANCELLED ? r->grace_ms : 0});
}

static void restore_task(struct turn *t, uint32_t task)
{
    struct run *r = t->r;
    struct task *k = &r->tasks[task];
    if (holds_gates(r, task)) gates_force(r, task);
    if (k->state == TASK_BACKOFF) k->flags |= TASK_CHECKED | TASK_NO_CACHE;
    int64_t due_us = task_extra_get(r, task)->due_us;
    if (due_us != 0 && !task_state_terminal((enum task_state)k->state)) due_push(r, task, due_us);
    if (in_use(k->state) && !task_is_container(r, task)) again(t, task);
}

/* A frame whose task runs goes on; one whose task stops is swept; one whose task was reset waits for it. */
static void restore_frame(struct turn *t, uint32_t frame)
{
    struct run *r = t->r;
    uint32_t parent = r->frames[frame].parent_task;
    if (frame_stopping(r, frame)) {
        r->frames[frame].exits_cancelled = r->stop_exits;
        sweep_add(r, frame);
        frame_note_end(r, frame);
    } else if (parent == NONE || r->tasks[parent].state == TASK_RUNNING) {
        frame_activate(t, frame);
    }
}

bool run_restored(struct run *r, int64_t now_us, struct run_out *out, struct err *err)
{
    struct turn t = {.r = r, .now_us = now_us, .random = 0.5, .out = out};
    run_derive(r);
    if (run_state_terminal(r->state) || r->state == RUN_QUEUED) return true;
    if (r->started_us == 0)
        return err_set(err, ERR_INTERNAL, "the run has not started, yet is %s", run_state_name(r->state));
    r->stop_reason = r->stop == RUN_FAILED ? REASON_DEADLINE : REASON_CANCELLED;
    for (uint32_t task = 0; task < r->n_tasks; task++)
        if (!r->frames[r->tasks[task].frame].dead) restore_task(&t, task);
    for (uint32_t i = 0; i < r->n_frames; i++)
        if (!r->frames[i].dead) restore_frame(&t, i);
    int64_t deadline_ms = r->plan->graphs[0].deadline_ms;
    if (deadline_ms > 0 && r->stop == RUN_REFUSED) due_push(r, NONE, r->started_us + deadline_ms * 1000);
    turn_close(&t);
    due_arm(&t);
    return true;
}
