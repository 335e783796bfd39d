/* What people ask of a run: start, cancel, pause, resume, approve. (Retry is in run_retry.c.) */
#include "engine/base/jsonw.h"
#include "engine/flow/run_inner.h"

typedef bool command_fn(struct turn *t, const struct value *payload, struct err *err);

/* {by, …} of a command, as the detail of its event. */
static struct str payload_detail(struct turn *t, const struct value *payload)
{
    const struct value *by = payload ? value_get(payload, "by") : NULL;
    if (!by || by->type != VALUE_STRING) return (struct str){0};
    BUF_AUTO text;
    buf_init(&text, 0);
    struct jsonw w;
    jsonw_to_buf(&w, &text);
    jsonw_object(&w);
    jsonw_kv_str(&w, "by", by->u.s);
    jsonw_object_end(&w);
    return jsonw_end(&w) ? arena_str(t->out->arena, buf_view(&text)) : (struct str){0};
}

static void set_run_state(struct run *r, enum run_state state)
{
    r->state = state;
    r->state_changed = true;
}

void run_begin(struct run *r, int64_t now_us, struct run_out *out)
{
    if (r->state != RUN_QUEUED) return;
    struct turn t = {.r = r, .now_us = now_us, .random = 0.5, .out = out};
    set_run_state(r, RUN_RUNNING);
    r->started_us = now_us > 0 ? now_us : 1;
    r->frames[0].opened_us = r->started_us;
    if (r->generation > 0) run_derive(r); /* held at its retry, and restored since */
    r->derived = true;
    run_event_add(&t, EVENT_RUN_STARTED, NONE, 0, (struct str){0});
    int64_t deadline_ms = r->plan->graphs[0].deadline_ms;
    if (deadline_ms > 0) due_set(&t, NONE, r->started_us + deadline_ms * 1000);
    frame_activate(&t, 0);
    turn_close(&t);
}

static bool start(struct turn *t, const struct value *payload, struct err *err)
{
    (void)payload;
    (void)err;
    run_begin(t->r, t->now_us, t->out); /* a repeat does nothing */
    return true;
}

static bool not_now(const struct run *r, const char *what, struct err *err)
{
    return err_set(err, ERR_CONFLICT, "the run is %s and cannot be %s", run_state_name(r->state), what);
}

/* A run that never started has nothing to stop. */
static void cancel_queued(struct turn *t, struct str detail)
{
    struct run *r = t->r;
    set_run_state(r, RUN_CANCELLED);
    r->ended_us = t->now_us;
    run_event_add(t, EVENT_RUN_CANCELLED, NONE, 0, detail);
    effect_add(t, (struct effect){.kind = EFFECT_FINISHED});
}

/* The onExit steps that run always still run; a second cancel stops these too. */
static bool cancel(struct turn *t, const struct value *payload, struct err *err)
{
    struct run *r = t->r;
    if (run_state_terminal(r->state)) return not_now(r, "cancelled", err);
    struct str detail = payload_detail(t, payload);
    if (r->state == RUN_QUEUED) {
        cancel_queued(t, detail);
        return true;
    }
    const struct value *grace = payload ? value_get(payload, "graceMs") : NULL;
    int64_t grace_ms = grace && grace->type == VALUE_INT && grace->u.i > 0 ? grace->u.i : 0;
    bool again = r->state == RUN_CANCELLING && r->stop == RUN_CANCELLED;
    set_run_state(r, RUN_CANCELLING);
    r->stop = RUN_CANCELLED;
    r->stop_reason = REASON_CANCELLED;
    r->stop_exits = r->stop_exits || again;
    r->grace_ms = grace_ms;
    run_event_add(t, EVENT_RUN_CANCELLING, NONE, 0, detail);
    frame_stop(t, 0, REASON_CANCELLED, grace_ms, again);
    return true;
}

static bool pause(struct turn *t, const struct value *payload, struct err *err)
{
    struct run *r = t->r;
    if (r->state == RUN_PAUSED) return true;
    if (r->state != RUN_RUNNING) return not_now(r, "paused", err);
    set_run_state(r, RUN_PAUSED);
    run_event_add(t, EVENT_RUN_PAUSED, NONE, 0, payload_detail(t, payload));
    return true;
}

static bool resume(struct turn *t, const struct value *payload, struct err *err)
{
    struct run *r = t->r;
    if (r->state == RUN_RUNNING) return true;
    if (r->state != RUN_PAUSED) return not_now(r, "resumed", err);
    set_run_state(r, RUN_RUNNING);
    run_event_add(t, EVENT_RUN_RESUMED, NONE, 0, payload_detail(t, payload));
    return true;
}

static bool retry(struct turn *t, const struct value *payload, struct err *err)
{
    return run_retry(t, payload, err);
}

/* ---- approval ---- */

static uint32_t task_of(const struct run *r, const struct value *v)
{
    if (!v) return NONE;
    if (v->type == VALUE_STRING) return run_task_find(r, v->u.s);
    if (v->type == VALUE_INT && v->u.i >= 0 && v->u.i < r->n_tasks) return (uint32_t)v->u.i;
    return NONE;
}

static void approved(struct turn *t, uint32_t task, struct str by, struct str comment)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    struct jsonw w;
    jsonw_to_buf(&w, &text);
    jsonw_object(&w);
    jsonw_kv_bool(&w, "approved", true);
    jsonw_kv_str(&w, "by", by);
    jsonw_kv_str(&w, "comment", comment);
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return;
    struct step_input in = {.event = STEP_OK, .reason = REASON_APPROVED, .exit_code = -1, .now_us = t->now_us};
    struct str said = comment.n > 0 ? arena_printf(t->out->arena, "%.*s: %.*s", STR_ARG(by), STR_ARG(comment)) : by;
    task_step(t, task, &in,
              &(struct task_result){.ok = true, .message = said, .outputs = buf_view(&text), .exit_code = -1});
}

static bool approve(struct turn *t, const struct value *payload, struct err *err)
{
    struct run *r = t->r;
    if (!payload || payload->type != VALUE_MAP) return err_set(err, ERR_INVALID, "the approval names no task");
    uint32_t task = task_of(r, value_get(payload, "task"));
    if (task == NONE) return err_set(err, ERR_NOT_FOUND, "the run has no such task");
    if (task_is_loop(r, task) || run_task_node(r, task)->verb != VERB_APPROVAL)
        return err_set(err, ERR_CONFLICT, "the task is no approval");
    if (r->tasks[task].state != TASK_WAITING)
        return err_set(err, ERR_CONFLICT, "the task is %s and does not wait for an approval",
                       task_state_name((enum task_state)r->tasks[task].state));
    const struct value *yes = value_get(payload, "approved");
    if (!yes || yes->type != VALUE_BOOL) return err_set(err, ERR_INVALID, "approved must be true or false");
    struct str by = value_get_text(payload, "by"), comment = value_get_text(payload, "comment");
    if (yes->u.b) {
        approved(t, task, by, comment);
        return true;
    }
    struct str said =
        arena_printf(t->out->arena, "refused by %.*s%s%.*s", STR_ARG(by), comment.n > 0 ? ": " : "", STR_ARG(comment));
    task_fail(t, task, FAILURE_INVALID, REASON_REJECTED, said);
    return true;
}

static command_fn *const commands[COMMAND_COUNT] = {
    [COMMAND_START] = start,   [COMMAND_CANCEL] = cancel, [COMMAND_PAUSE] = pause,
    [COMMAND_RESUME] = resume, [COMMAND_RETRY] = retry,   [COMMAND_APPROVE] = approve,
};

bool run_command(struct run *r, enum command c, const struct value *payload, int64_t now_us, struct run_out *out,
                 struct err *err)
{
    struct turn t = {.r = r, .now_us = now_us, .random = 0.5, .out = out};
    if ((unsigned)c >= COMMAND_COUNT || !commands[c]) return err_set(err, ERR_INVALID, "no such command");
    if (!commands[c](&t, payload, err)) return false;
    turn_close(&t);
    return true;
}

/* The tasks stay as they are stored: whatever it was that the store refused is not written again. */
void run_abort(struct run *r, struct str message, int64_t now_us, struct run_out *out)
{
    struct turn t = {.r = r, .now_us = now_us, .out = out};
    if (run_state_terminal(r->state)) return;
    for (uint32_t task = 0; task < r->n_tasks; task++) {
        enum task_state s = (enum task_state)r->tasks[task].state;
        bool runs = (s == TASK_RUNNING || s == TASK_STOPPING) && !task_is_container(r, task);
        if (!runs || !verb_external(run_task_node(r, task)->verb)) continue;
        effect_add(&t, (struct effect){.kind = EFFECT_KILL, .task = task, .attempt = task_extra_get(r, task)->attempt});
    }
    for (uint32_t i = 0; i < r->dirty.n; i++)
        r->tasks[r->dirty.p[i]].flags &= (uint8_t)~TASK_DIRTY;
    r->dirty.n = r->closing.n = 0;
    set_run_state(r, RUN_FAILED);
    r->stop = RUN_REFUSED;
    r->ended_us = now_us;
    text_set(r, &r->message, message);
    run_event_add(&t, EVENT_RUN_FAILED, NONE, 0, (struct str){0});
    effect_add(&t, (struct effect){.kind = EFFECT_FINISHED});
}
