/* Frames: when their tasks may start, how they are stopped, how they end, and what follows from that for the task that
 * opened them. */
#include <stdlib.h>

#include "engine/flow/run_inner.h"

/* ---- starting ---- */

void frame_activate(struct turn *t, uint32_t frame)
{
    struct run *r = t->r;
    struct frame *f = &r->frames[frame];
    f->active = true;
    for (uint32_t i = 0; i < f->n; i++)
        if (r->tasks[f->first + i].waits == 0) task_ready(r, f->first + i);
    frame_note_end(r, frame);
}

/* ---- stopping ---- */

bool frame_stopping(const struct run *r, uint32_t frame)
{
    const struct frame *f = &r->frames[frame];
    if (f->parent_task == NONE) return r->stop != RUN_REFUSED;
    return r->tasks[f->parent_task].state == TASK_STOPPING;
}

static enum reason stop_reason(const struct run *r, uint32_t frame)
{
    const struct frame *f = &r->frames[frame];
    if (f->parent_task == NONE) return r->stop_reason;
    enum reason why = (enum reason)r->tasks[f->parent_task].reason;
    return why == REASON_DEADLINE ? why : REASON_CANCELLED;
}

void sweep_add(struct run *r, uint32_t frame)
{
    r->sweeps = run_grow(r->sweeps, &r->room_sweeps, r->n_sweeps + 1, sizeof *r->sweeps);
    r->sweeps[r->n_sweeps++] = (struct sweep){frame, 0};
}

void task_cancel(struct turn *t, uint32_t task, enum reason why, int64_t grace_ms)
{
    struct run *r = t->r;
    if (!task_event_step(t, task, STEP_CANCEL, why) || r->tasks[task].state != TASK_STOPPING) return;
    uint32_t child = task_child(r, task);
    if (child == NONE)
        effect_add(t, (struct effect){.kind = EFFECT_KILL,
                                      .task = task,
                                      .attempt = task_extra_get(r, task)->attempt,
                                      .grace_ms = grace_ms});
}

/* What runs is told to stop at once, in this frame and in those inside it; what has not started is cancelled by the
 * sweep, since it may be much. */
void frame_stop(struct turn *t, uint32_t frame, enum reason why, int64_t grace_ms, bool exits_too)
{
    struct run *r = t->r;
    struct u32_vec todo = {0};
    u32_push(&todo, frame);
    while (todo.n > 0) {
        uint32_t number = todo.p[--todo.n];
        struct frame f = r->frames[number];
        r->frames[number].active = false;
        if (exits_too) r->frames[number].exits_cancelled = true;
        for (uint32_t task = f.first; task < f.first + f.n; task++) {
            if (task_is_exit(r, task) && !exits_too) continue;
            enum task_state state = (enum task_state)r->tasks[task].state;
            if (state == TASK_READY) gates_withdraw(r, task);
            if (state == TASK_RUNNING || state == TASK_STOPPING) task_cancel(t, task, why, grace_ms);
            uint32_t child = task_child(r, task);
            if (child != NONE && r->tasks[task].state == TASK_STOPPING) u32_push(&todo, child);
        }
        sweep_add(r, number);
        frame_note_end(r, number);
    }
    free(todo.p);
}

/* What has not begun is cancelled; so is, before it, what is inside a container that a retry has reset and that did not
 * go on yet. What succeeded in there stays for the next retry. */
static void cancel_unstarted(struct turn *t, uint32_t task, enum reason why)
{
    struct run *r = t->r;
    enum task_state state = (enum task_state)r->tasks[task].state;
    if (task_state_terminal(state) || state == TASK_RUNNING || state == TASK_STOPPING) return;
    uint32_t child = task_child(r, task);
    if (child != NONE) {
        const struct frame f = r->frames[child];
        r->frames[child].exits_cancelled = true;
        for (uint32_t inner = f.first; inner < f.first + f.n; inner++)
            cancel_unstarted(t, inner, why); /* as deep as pipelines may lie within each other */
    }
    task_event_step(t, task, STEP_CANCEL, why);
}

bool sweep_some(struct turn *t, uint32_t *budget)
{
    struct run *r = t->r;
    while (r->n_sweeps > 0 && *budget > 0) {
        uint32_t at = r->n_sweeps - 1;
        struct sweep s = r->sweeps[at];
        const struct frame f = r->frames[s.frame];
        if (s.cursor >= f.n || f.dead || !frame_stopping(r, s.frame)) {
            r->sweeps[at] = r->sweeps[--r->n_sweeps];
            continue;
        }
        r->sweeps[at].cursor++;
        uint32_t task = f.first + s.cursor;
        if (task_is_exit(r, task) && !f.exits_cancelled) continue;
        if (task_state_terminal((enum task_state)r->tasks[task].state)) continue;
        cancel_unstarted(t, task, stop_reason(r, s.frame));
        --*budget;
    }
    return r->n_sweeps > 0;
}

/* ---- superseded ---- */

/* Its rows stay for the record, marked, and count no more. */
void frame_supersede(struct run *r, uint32_t frame)
{
    struct frame *f = &r->frames[frame];
    if (f->dead) return;
    f->dead = true;
    f->active = false;
    for (uint32_t task = f->first; task < f->first + f->n; task++) {
        struct task *k = &r->tasks[task];
        uint32_t child = task_child(r, task);
        if (child != NONE) frame_supersede(r, child); /* as deep as pipelines may lie within each other */
        r->count[k->state]--;
        k->reason = REASON_SUPERSEDED;
        if (k->state != TASK_PENDING || k->stored_state != TASK_REFUSED) task_dirty(r, task);
    }
}

/* ---- ending ---- */

enum run_state frame_status(const struct run *r, uint32_t frame)
{
    const struct frame *f = &r->frames[frame];
    if (f->parent_task == NONE) {
        if (r->stop != RUN_REFUSED) return r->stop;
    } else if (frame_stopping(r, frame)) {
        enum reason why = (enum reason)r->tasks[f->parent_task].reason;
        return why == REASON_TIMEOUT || why == REASON_DEADLINE ? RUN_FAILED : RUN_CANCELLED;
    }
    if (f->bad > 0) return RUN_FAILED;
    return f->open > 0 ? RUN_RUNNING : RUN_SUCCEEDED;
}

void frame_note_end(struct run *r, uint32_t frame)
{
    const struct frame *f = &r->frames[frame];
    if (f->open == 0 && (f->open_exit == 0 || !f->exits_begun)) u32_push(&r->closing, frame);
}

static bool exit_wanted(enum after after, enum run_state status)
{
    switch (after) {
    case AFTER_NONE:
    case AFTER_ALWAYS: return true;
    case AFTER_SUCCESS: return status == RUN_SUCCEEDED;
    case AFTER_FAILURE: return status == RUN_FAILED;
    }
    return true;
}

/* All ordinary tasks have ended: the onExit steps that this end asks for may start, the others are skipped. */
static void begin_exits(struct turn *t, uint32_t frame)
{
    struct run *r = t->r;
    const struct frame f = r->frames[frame];
    const struct graph *g = frame_graph(r, &f);
    enum run_state status = frame_status(r, frame);
    r->frames[frame].exits_begun = true;
    for (uint32_t i = f.n - g->n_exit; i < f.n; i++) {
        uint32_t task = f.first + i;
        if (r->tasks[task].state != TASK_PENDING || f.exits_cancelled) continue;
        if (!exit_wanted(g->nodes[i].after, status))
            task_event_step(t, task, STEP_SKIP, REASON_AFTER);
        else if (r->tasks[task].waits == 0)
            task_ready(r, task);
    }
}

static struct str how_many_failed(const struct run *r, const struct frame *f, struct arena *a)
{
    uint32_t failed = 0, first = NONE;
    for (uint32_t task = f->first; task < f->first + f->n; task++) {
        if (r->tasks[task].state != TASK_FAILED) continue;
        if (failed++ == 0) first = task;
    }
    if (first == NONE) return arena_str(a, STR("a task inside it was cancelled"));
    struct str path = run_task_path(r, first, a);
    struct str why = text_str(task_extra_get(r, first)->message);
    if (why.n > 200) why.n = 200;
    while (why.n > 0 && !utf8_valid(why, NULL))
        why.n--;
    return arena_printf(a, "%u of %u failed, first %.*s%s%.*s", failed, f->n, STR_ARG(path), why.n > 0 ? ": " : "",
                        STR_ARG(why));
}

static void container_failed(struct turn *t, uint32_t task, const struct step_input *in, struct str message)
{
    struct run *r = t->r;
    task_step(t, task, in, &(struct task_result){.message = message, .exit_code = -1});
    if (r->tasks[task].state != TASK_BACKOFF) return;
    frame_supersede(r, task_child(r, task)); /* the next attempt is a new one, from its start */
    task_extra(r, task)->child = NONE;
}

/* What stopped because its time was over fails as if it still ran, so that its retry applies; what was cancelled is
 * cancelled. */
static void container_stopped(struct turn *t, uint32_t task)
{
    struct run *r = t->r;
    enum reason why = (enum reason)r->tasks[task].reason;
    bool late = (why == REASON_TIMEOUT || why == REASON_DEADLINE) && !frame_stopping(r, r->tasks[task].frame);
    if (!late) {
        task_event_step(t, task, STEP_STOPPED, why);
        return;
    }
    r->count[TASK_STOPPING]--;
    r->count[TASK_RUNNING]++;
    r->tasks[task].state = TASK_RUNNING;
    struct step_input in = {.event = STEP_FAIL,
                            .failure = FAILURE_TIMEOUT,
                            .reason = why,
                            .exit_code = -1,
                            .now_us = t->now_us,
                            .random = t->random};
    container_failed(t, task, &in, STR("it ran longer than it may"));
}

static void container_end(struct turn *t, uint32_t frame)
{
    struct run *r = t->r;
    const struct frame *f = &r->frames[frame];
    uint32_t task = f->parent_task;
    if (r->tasks[task].state == TASK_STOPPING) {
        container_stopped(t, task);
        return;
    }
    if (r->tasks[task].state != TASK_RUNNING) return;
    struct step_input in = {.event = STEP_FAIL,
                            .failure = FAILURE_ERROR,
                            .reason = REASON_CHILD_FAILED,
                            .exit_code = -1,
                            .now_us = t->now_us,
                            .random = t->random};
    if (f->bad + f->bad_exit > 0) {
        container_failed(t, task, &in, how_many_failed(r, f, t->out->arena));
        return;
    }
    struct str outputs = {0};
    struct err err = {0};
    if (f->kind == FRAME_GRAPH && !frame_outputs(t, frame, &outputs, &err)) {
        in.failure = FAILURE_INVALID;
        in.reason = REASON_INVALID;
        container_failed(t, task, &in, str_of(err.message));
        return;
    }
    in.event = STEP_OK;
    in.reason = REASON_NONE;
    task_step(t, task, &in, &(struct task_result){.ok = true, .outputs = outputs, .exit_code = -1});
}

/* The first task that failed of itself, for the run's message. */
static struct str first_failure(const struct run *r, struct arena *a)
{
    uint32_t first = NONE;
    int64_t first_us = INT64_MAX;
    for (uint32_t task = 0; task < r->n_tasks; task++) {
        const struct task *k = &r->tasks[task];
        if (k->state != TASK_FAILED || k->reason == REASON_CHILD_FAILED || k->reason == REASON_SUPERSEDED) continue;
        int64_t at = task_extra_get(r, task)->ended_us;
        if (first != NONE && at >= first_us) continue;
        first = task;
        first_us = at;
    }
    if (first == NONE) return (struct str){0};
    struct str path = run_task_path(r, first, a);
    struct str why = text_str(task_extra_get(r, first)->message);
    if (why.n == 0) why = str_of(reason_text((enum reason)r->tasks[first].reason));
    return arena_printf(a, "%.*s: %.*s", STR_ARG(path), STR_ARG(why));
}

static enum event_kind end_event(enum run_state s)
{
    return s == RUN_SUCCEEDED ? EVENT_RUN_SUCCEEDED : s == RUN_CANCELLED ? EVENT_RUN_CANCELLED : EVENT_RUN_FAILED;
}

static void run_end(struct turn *t)
{
    struct run *r = t->r;
    if (run_state_terminal(r->state)) return;
    struct arena *a = t->out->arena;
    enum run_state state = r->stop != RUN_REFUSED                         ? r->stop
                           : r->frames[0].bad + r->frames[0].bad_exit > 0 ? RUN_FAILED
                                                                          : RUN_SUCCEEDED;
    struct str message = r->stop == RUN_FAILED ? str_of(reason_text(REASON_DEADLINE)) : (struct str){0};
    struct str outputs = {0};
    struct err err = {0};
    if (state == RUN_SUCCEEDED && !frame_outputs(t, 0, &outputs, &err)) {
        state = RUN_FAILED;
        message = arena_str(a, str_of(err.message));
    }
    if (state == RUN_FAILED && message.n == 0) message = first_failure(r, a);
    r->state = state;
    r->stop = RUN_REFUSED;
    r->state_changed = true;
    r->ended_us = t->now_us;
    text_set(r, &r->message, message);
    text_set(r, &r->outputs, outputs);
    run_event_add(t, end_event(state), NONE, 0, (struct str){0});
    effect_add(t, (struct effect){.kind = EFFECT_FINISHED});
}

/* Ends go from the inside out; each may be the last that an outer frame waited for. */
void turn_close(struct turn *t)
{
    struct run *r = t->r;
    bool ended = run_state_terminal(r->state);
    while (r->closing.n > 0 && (ended || t->out->cost + t->out->spent < TURN_MAX_COST)) {
        uint32_t frame = r->closing.p[--r->closing.n];
        struct frame *f = &r->frames[frame];
        if (f->dead || f->open > 0 || run_state_terminal(r->state)) continue;
        if (f->open_exit > 0 && !f->exits_begun) begin_exits(t, frame);
        if (r->frames[frame].open_exit > 0) continue;
        if (frame == 0)
            run_end(t);
        else
            container_end(t, frame);
    }
}
