/* Limits within a run, and the list of tasks that want an executor.
 *
 * A loop's parallelism counts its items that are at work; a graph's parallelism counts the attempts anywhere inside it.
 * Each is a gate with so many places. A ready task passes its gates from the inside out and keeps its place at each
 * until it stops working; only a task that has passed them all is listed. It can thus never wait for a place while it
 * holds back one that others need to get on: who holds an outer place holds all inner ones. */
#include <stdlib.h>

#include "engine/flow/run_inner.h"

/* The frame of the k-th gate on the task's way, from the inside; NONE when it has passed all. */
static uint32_t gate_frame(const struct run *r, uint32_t task, uint32_t k)
{
    enum verb verb = task_is_loop(r, task) ? VERB_NOOP : run_task_node(r, task)->verb;
    if (verb == VERB_NOOP || verb == VERB_EXPR) return NONE; /* take no time */
    bool attempt = verb_external(verb) || verb == VERB_HTTP || verb == VERB_IMPORT;
    uint32_t f = r->tasks[task].frame;
    for (bool first = true; first || attempt; first = false) {
        const struct frame *frame = &r->frames[f];
        bool counts = frame->kind == FRAME_ITEMS ? first : attempt;
        if (counts && frame->gate.limit > 0 && k-- == 0) return f;
        if (frame->parent_task == NONE) break;
        f = r->tasks[frame->parent_task].frame;
    }
    return NONE;
}

/* ---- those who wait at a gate ---- */

static bool before(const struct waiter *a, const struct waiter *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->ticket < b->ticket;
}

static void waiter_push(struct gate *g, struct waiter w)
{
    g->heap = run_grow(g->heap, &g->room, g->n + 1, sizeof *g->heap);
    uint32_t i = g->n++;
    for (uint32_t up; i > 0 && before(&w, &g->heap[up = (i - 1) / 2]); i = up)
        g->heap[i] = g->heap[up];
    g->heap[i] = w;
}

static struct waiter waiter_pop(struct gate *g)
{
    struct waiter top = g->heap[0], last = g->heap[--g->n];
    uint32_t i = 0;
    for (uint32_t down; (down = 2 * i + 1) < g->n; i = down) {
        if (down + 1 < g->n && before(&g->heap[down + 1], &g->heap[down])) down++;
        if (!before(&g->heap[down], &last)) break;
        g->heap[i] = g->heap[down];
    }
    if (g->n > 0) g->heap[i] = last;
    return top;
}

bool gates_pass(struct run *r, uint32_t task)
{
    struct task *k = &r->tasks[task];
    for (uint32_t f; (f = gate_frame(r, task, k->held)) != NONE; k->held++) {
        struct gate *g = &r->frames[f].gate;
        if (g->active >= g->limit) {
            k->flags |= TASK_QUEUED;
            k->prev = r->tickets++;
            waiter_push(g, (struct waiter){run_task_node(r, task)->priority, k->prev, task});
            return false;
        }
        g->active++;
    }
    return true;
}

void gates_force(struct run *r, uint32_t task)
{
    struct task *k = &r->tasks[task];
    for (uint32_t f; (f = gate_frame(r, task, k->held)) != NONE; k->held++)
        r->frames[f].gate.active++;
}

static void wake_one(struct run *r, struct gate *g)
{
    while (g->n > 0 && g->active < g->limit) {
        struct waiter w = waiter_pop(g);
        struct task *k = &r->tasks[w.task];
        if (!(k->flags & TASK_QUEUED) || k->prev != w.ticket) continue; /* gone, or queued anew */
        k->flags &= (uint8_t)~TASK_QUEUED;
        g->active++;
        k->held++;
        if (!gates_pass(r, w.task)) return;
        if (verb_external(run_task_node(r, w.task)->verb))
            ready_add(r, w.task);
        else
            task_fresh(r, w.task);
        return;
    }
}

void gates_leave(struct run *r, uint32_t task)
{
    struct task *k = &r->tasks[task];
    for (uint32_t held = k->held; k->held > 0;) {
        struct gate *g = &r->frames[gate_frame(r, task, held - k->held)].gate;
        k->held--;
        g->active--;
        wake_one(r, g);
    }
}

void gates_withdraw(struct run *r, uint32_t task)
{
    struct task *k = &r->tasks[task];
    if (k->flags & TASK_LISTED) ready_remove(r, task);
    k->flags &= (uint8_t) ~(TASK_QUEUED | TASK_FRESH | TASK_ASKED | TASK_ASIDE);
    gates_leave(r, task);
}

uint32_t gate_waiting_at(const struct run *r, uint32_t task)
{
    return r->tasks[task].flags & TASK_QUEUED ? gate_frame(r, task, r->tasks[task].held) : NONE;
}

/* ---- the ready list: a chain a priority ---- */

static struct ready_level *level_of(struct run *r, int32_t priority)
{
    uint32_t i = 0;
    while (i < r->n_levels && r->levels[i].priority > priority)
        i++;
    if (i < r->n_levels && r->levels[i].priority == priority) return &r->levels[i];
    r->levels = realloc(r->levels, (r->n_levels + 1) * sizeof *r->levels);
    if (!r->levels) abort();
    for (uint32_t j = r->n_levels++; j > i; j--)
        r->levels[j] = r->levels[j - 1];
    r->levels[i] = (struct ready_level){priority, NONE, NONE};
    return &r->levels[i];
}

void ready_add(struct run *r, uint32_t task)
{
    struct task *k = &r->tasks[task];
    if (k->flags & TASK_LISTED) return;
    struct ready_level *level = level_of(r, run_task_node(r, task)->priority);
    k->flags |= TASK_LISTED;
    k->next = NONE;
    k->prev = level->tail;
    if (level->tail == NONE)
        level->head = task;
    else
        r->tasks[level->tail].next = task;
    level->tail = task;
}

/* `next` stays, so that who walks the list may start the task it stands on. */
void ready_remove(struct run *r, uint32_t task)
{
    struct task *k = &r->tasks[task];
    if (!(k->flags & TASK_LISTED)) return;
    struct ready_level *level = level_of(r, run_task_node(r, task)->priority);
    k->flags &= (uint8_t)~TASK_LISTED;
    if (k->prev == NONE)
        level->head = k->next;
    else
        r->tasks[k->prev].next = k->next;
    if (k->next == NONE)
        level->tail = k->prev;
    else
        r->tasks[k->next].prev = k->prev;
}

bool run_set_aside(struct run *r, uint32_t task)
{
    if (task >= r->n_tasks || !(r->tasks[task].flags & TASK_LISTED)) return false;
    ready_remove(r, task);
    r->tasks[task].flags |= TASK_ASIDE;
    return true;
}

bool run_put_back(struct run *r, uint32_t task)
{
    if (task >= r->n_tasks || !(r->tasks[task].flags & TASK_ASIDE)) return false;
    r->tasks[task].flags &= (uint8_t)~TASK_ASIDE;
    ready_add(r, task);
    return true;
}

uint32_t run_ready_next(const struct run *r, uint32_t after)
{
    if (r->state == RUN_PAUSED || run_state_terminal(r->state) || r->state == RUN_QUEUED) return NONE;
    uint32_t i = 0, next = NONE;
    if (after != NONE) {
        next = r->tasks[after].next;
        if (next != NONE && !(r->tasks[next].flags & TASK_LISTED)) next = NONE;
        int32_t priority = run_task_node(r, after)->priority;
        while (i < r->n_levels && r->levels[i].priority >= priority)
            i++;
    }
    for (; next == NONE && i < r->n_levels; i++)
        next = r->levels[i].head;
    return next;
}
