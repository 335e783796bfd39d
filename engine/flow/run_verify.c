/* Every invariant of a run, checked from scratch. For the simulator and tests: it looks at all tasks. */
#include <stdlib.h>

#include "engine/flow/run_inner.h"

static bool wrong(struct err *err, uint32_t task, const char *what)
{
    return err_set(err, ERR_INTERNAL, "task %u: %s", task, what);
}

static bool in_use(const struct task *k)
{
    return k->state == TASK_RUNNING || k->state == TASK_STOPPING;
}

static bool started(const struct task *k)
{
    return in_use(k) || k->state == TASK_READY || k->state == TASK_WAITING || k->state == TASK_BACKOFF;
}

static bool verify_upstream(const struct run *r, uint32_t task, struct err *err)
{
    const struct task *k = &r->tasks[task];
    const struct frame *f = &r->frames[k->frame];
    if (f->kind != FRAME_GRAPH) return true;
    const struct node *n = run_task_node(r, task);
    uint32_t open = 0;
    for (uint32_t i = 0; i < n->n_deps; i++)
        if (!task_state_terminal((enum task_state)r->tasks[f->first + n->deps[i]].state)) open++;
    if (started(k) && open > 0) return wrong(err, task, "at work before its upstream ended");
    if (k->state == TASK_PENDING && k->waits != open) return wrong(err, task, "counts its upstream wrongly");
    bool exits = task_is_exit(r, task);
    if (exits && started(k) && f->open > 0) return wrong(err, task, "an onExit step at work before all others ended");
    bool may = exits ? f->exits_begun && !f->exits_cancelled : f->active;
    if (k->state == TASK_PENDING && open == 0 && may && !frame_stopping(r, k->frame) && !run_state_terminal(r->state))
        return wrong(err, task, "could be ready and is not");
    return true;
}

static bool verify_inside(const struct run *r, uint32_t task, struct err *err)
{
    const struct task *k = &r->tasks[task];
    uint32_t child = task_child(r, task);
    if (child == NONE) {
        if (in_use(k) && task_is_container(r, task)) return wrong(err, task, "runs with nothing inside it");
        return true;
    }
    const struct frame *f = &r->frames[child];
    if (f->dead || f->parent_task != task) return wrong(err, task, "its frame is not its own");
    if (task_state_terminal((enum task_state)k->state) && f->open + f->open_exit > 0)
        return wrong(err, task, "ended before what is inside it");
    if (in_use(k) && f->open + f->open_exit == 0) return wrong(err, task, "goes on after all inside it ended");
    return true;
}

static bool verify_outside(const struct run *r, uint32_t task, struct err *err)
{
    const struct task *k = &r->tasks[task];
    uint32_t parent = r->frames[k->frame].parent_task;
    if (parent == NONE) return true;
    if (started(k) && !in_use(&r->tasks[parent])) return wrong(err, task, "at work inside something that is not");
    return true;
}

static bool verify_flags(const struct run *r, uint32_t task, struct err *err)
{
    const struct task *k = &r->tasks[task];
    unsigned places = k->flags & (TASK_LISTED | TASK_QUEUED | TASK_FRESH | TASK_ASKED | TASK_ASIDE);
    if (k->state != TASK_READY) return places == 0 || wrong(err, task, "listed, though not ready");
    if (places & (places - 1)) return wrong(err, task, "in two lists");
    bool stopping = frame_stopping(r, k->frame);
    if (places == 0 && !stopping) return wrong(err, task, "lost: ready, and in no list");
    return true;
}

static bool verify_attempts(const struct run *r, uint32_t task, struct err *err)
{
    const struct extra *x = task_extra_get(r, task);
    const struct retry *retry = &run_task_node(r, task)->retry;
    uint64_t per_generation = (uint64_t)retry->limit + 1 + RETRY_FREE_MAX;
    if (x->attempt > per_generation * ((uint64_t)r->generation + 1))
        return wrong(err, task, "more attempts than allowed");
    if (x->free_failures > RETRY_FREE_MAX) return wrong(err, task, "more free retries than allowed");
    if (in_use(&r->tasks[task]) && x->child == NONE && x->attempt == 0)
        return wrong(err, task, "runs without an attempt");
    return true;
}

static bool verify_task(const struct run *r, uint32_t task, struct err *err)
{
    if (r->tasks[task].state == TASK_REFUSED) return wrong(err, task, "in the state refused");
    if (run_state_terminal(r->state)) return true;
    return verify_upstream(r, task, err) && verify_inside(r, task, err) && verify_outside(r, task, err) &&
           verify_flags(r, task, err) && verify_attempts(r, task, err);
}

static bool verify_frame(const struct run *r, uint32_t number, struct err *err)
{
    const struct frame *f = &r->frames[number];
    uint32_t open = 0, bad = 0, skipped = 0;
    for (uint32_t task = f->first; task < f->first + f->n; task++) {
        const struct task *k = &r->tasks[task];
        open += !task_state_terminal((enum task_state)k->state);
        bad += k->state == TASK_FAILED || k->state == TASK_CANCELLED;
        skipped += k->state == TASK_SKIPPED;
    }
    if (open != f->open + f->open_exit || bad != f->bad + f->bad_exit || skipped != f->skipped)
        return err_set(err, ERR_INTERNAL, "frame %u counts %u/%u/%u, has %u/%u/%u", number, f->open + f->open_exit,
                       f->bad + f->bad_exit, f->skipped, open, bad, skipped);
    if (f->gate.limit > 0 && f->gate.active > f->gate.limit)
        return err_set(err, ERR_INTERNAL, "frame %u: %u at work, at most %u may be", number, f->gate.active,
                       f->gate.limit);
    return true;
}

/* Tasks that hold a place, counted at every gate they passed. */
static bool verify_gates(const struct run *r, struct err *err)
{
    uint64_t held = 0, active = 0;
    for (uint32_t task = 0; task < r->n_tasks; task++)
        held += r->tasks[task].held;
    for (uint32_t i = 0; i < r->n_frames; i++)
        active += r->frames[i].gate.active;
    return held == active ||
           err_set(err, ERR_INTERNAL, "tasks hold %u places, gates gave %u", (unsigned)held, (unsigned)active);
}

static bool verify_counts(const struct run *r, struct err *err)
{
    uint32_t count[TASK_STATE_COUNT] = {0}, containers = 0;
    for (uint32_t task = 0; task < r->n_tasks; task++) {
        const struct task *k = &r->tasks[task];
        if (r->frames[k->frame].dead) continue;
        count[k->state]++;
        containers += in_use(k) && task_is_container(r, task);
    }
    for (int s = 0; s < TASK_STATE_COUNT; s++)
        if (count[s] != r->count[s])
            return err_set(err, ERR_INTERNAL, "%u tasks are %s, counted %u", count[s],
                           task_state_name((enum task_state)s), r->count[s]);
    return containers == r->running_containers || err_set(err, ERR_INTERNAL, "running containers are counted wrongly");
}

static bool verify_list(const struct run *r, struct err *err)
{
    uint32_t listed = 0, walked = 0;
    for (uint32_t task = 0; task < r->n_tasks; task++)
        listed += (r->tasks[task].flags & TASK_LISTED) != 0;
    for (uint32_t i = 0; i < r->n_levels; i++)
        for (uint32_t task = r->levels[i].head; task != NONE; task = r->tasks[task].next) {
            if (!(r->tasks[task].flags & TASK_LISTED) || ++walked > listed)
                return wrong(err, task, "the ready list is broken");
        }
    return walked == listed || err_set(err, ERR_INTERNAL, "%u tasks are listed, the list has %u", listed, walked);
}

bool run_verify(const struct run *r, struct err *err)
{
    for (uint32_t task = 0; task < r->n_tasks; task++)
        if (!r->frames[r->tasks[task].frame].dead && !verify_task(r, task, err)) return false;
    for (uint32_t i = 0; i < r->n_frames; i++)
        if (!r->frames[i].dead && !verify_frame(r, i, err)) return false;
    const struct frame *top = &r->frames[0];
    if (r->derived && !run_state_terminal(r->state) && r->state != RUN_QUEUED && top->open + top->open_exit == 0)
        return err_set(err, ERR_INTERNAL, "all tasks have ended and the run goes on");
    return verify_gates(r, err) && verify_counts(r, err) && verify_list(r, err);
}
