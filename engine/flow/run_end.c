/* What happened outside: an attempt's end, the cache's answer, a time that came. */
#include "engine/flow/run_inner.h"

static bool at_work(const struct run *r, uint32_t task)
{
    enum task_state s = (enum task_state)r->tasks[task].state;
    return (s == TASK_RUNNING || s == TASK_STOPPING) && !task_is_container(r, task);
}

static enum step_event event_of(const struct run *r, uint32_t task, const struct task_result *res)
{
    if (res->ok) return STEP_OK;
    if (r->tasks[task].state == TASK_STOPPING) return STEP_STOPPED;
    return res->failure & FAILURE_INFRA ? STEP_LOST : STEP_FAIL;
}

bool run_task_ended(struct run *r, uint32_t task, uint32_t attempt, const struct task_result *res, int64_t now_us,
                    double random, struct run_out *out)
{
    if (task >= r->n_tasks || run_task_attempt(r, task) != attempt || !at_work(r, task)) return false;
    struct turn t = {.r = r, .now_us = now_us, .random = random, .out = out};
    struct step_input in = {.event = event_of(r, task, res),
                            .failure = res->failure,
                            .exit_code = res->exit_code,
                            .reason = res->reason,
                            .now_us = now_us,
                            .random = random};
    if (in.event == STEP_STOPPED)
        in.reason = (enum reason)r->tasks[task].reason; /* why it was stopped, not how it took it */
    bool done = task_step(&t, task, &in, res);
    turn_close(&t);
    return done;
}

bool run_cache_answer(struct run *r, uint32_t task, struct str outputs, int64_t now_us, struct run_out *out)
{
    if (task >= r->n_tasks || !(r->tasks[task].flags & TASK_ASKED)) return false;
    struct turn t = {.r = r, .now_us = now_us, .random = 0.5, .out = out};
    r->tasks[task].flags &= (uint8_t)~TASK_ASKED;
    r->tasks[task].flags |= TASK_NO_CACHE;
    if (outputs.n == 0) {
        task_fresh(r, task);
        return false;
    }
    struct step_input in = {.event = STEP_OK, .reason = REASON_CACHED, .exit_code = -1, .now_us = now_us};
    task_step(&t, task, &in, &(struct task_result){.ok = true, .outputs = outputs, .exit_code = -1});
    turn_close(&t);
    return true;
}

/* ---- times ---- */

static void deadline_passed(struct turn *t)
{
    struct run *r = t->r;
    if (run_state_terminal(r->state) || r->state == RUN_QUEUED || r->stop != RUN_REFUSED) return;
    if (t->now_us < r->started_us + r->plan->graphs[0].deadline_ms * 1000) return; /* of an earlier generation */
    r->state = RUN_CANCELLING;
    r->stop = RUN_FAILED;
    r->stop_reason = REASON_DEADLINE;
    r->state_changed = true;
    run_event_add(t, EVENT_RUN_CANCELLING, NONE, 0, STR("{\"reason\":\"Deadline\"}"));
    frame_stop(t, 0, REASON_DEADLINE, 0, false);
}

static void container_late(struct turn *t, uint32_t task)
{
    struct run *r = t->r;
    if (!task_is_container(r, task)) return;
    const struct node *n = run_task_node(r, task);
    int64_t deadline_ms = r->plan->graphs[n->graph].deadline_ms;
    bool own = n->timeout_ms > 0 && (deadline_ms == 0 || n->timeout_ms <= deadline_ms);
    uint32_t child = task_child(r, task);
    task_cancel(t, task, own ? REASON_TIMEOUT : REASON_DEADLINE, 0);
    if (r->tasks[task].state == TASK_STOPPING) frame_stop(t, child, REASON_CANCELLED, 0, false);
}

static void task_due(struct turn *t, uint32_t task)
{
    struct run *r = t->r;
    const struct task *k = &r->tasks[task];
    if (k->state == TASK_RUNNING) {
        container_late(t, task);
        return;
    }
    if (frame_stopping(r, k->frame) && !task_is_exit(r, task)) return; /* the sweep has it */
    if (k->state == TASK_BACKOFF) {
        if (task_event_step(t, task, STEP_DUE, (enum reason)k->reason)) task_fresh(r, task);
        task_extra(r, task)->due_us = 0;
        return;
    }
    if (k->state != TASK_WAITING) return;
    if (run_task_node(r, task)->verb == VERB_APPROVAL)
        task_fail(t, task, FAILURE_INVALID, REASON_EXPIRED, STR("nobody approved in time"));
    else
        task_event_step(t, task, STEP_OK, REASON_NONE);
}

void run_timer(struct run *r, int64_t now_us, double random, struct run_out *out)
{
    struct turn t = {.r = r, .now_us = now_us, .random = random, .out = out};
    for (struct due d; due_pop(r, now_us, &d);) {
        if (d.task == NONE)
            deadline_passed(&t);
        else if (task_extra_get(r, d.task)->due_us == d.at_us)
            task_due(&t, d.task);
    }
    turn_close(&t);
    r->armed_us = 0; /* whoever calls may have forgotten later timers for this one: the next is always told again */
    due_arm(&t);
}
