/* What a turn has changed, as rows for the store. */
#include <stdlib.h>

#include "engine/flow/run_inner.h"

#define MEMO_MAX ((size_t)8 << 20)

size_t run_dirty_count(const struct run *r)
{
    return r->dirty.n;
}

void run_dirty_row(const struct run *r, size_t i, struct arena *a, struct task_row *out)
{
    uint32_t task = r->dirty.p[i];
    const struct task *k = &r->tasks[task];
    const struct extra *x = task_extra_get(r, task);
    *out = (struct task_row){.task = task,
                             .frame = k->frame,
                             .stored = k->stored_state != TASK_REFUSED,
                             .stored_attempt = x->stored_attempt,
                             .stored_state = (enum task_state)k->stored_state,
                             .state = (enum task_state)k->state,
                             .reason = (enum reason)k->reason,
                             .attempt = x->attempt,
                             .failures = x->failures,
                             .free_failures = x->free_failures,
                             .message = text_str(x->message),
                             .executor = x->executor ? text_str(r->executors.p[x->executor]) : (struct str){"", 0},
                             .outputs = text_str(x->outputs),
                             .exit_code = x->exit_code,
                             .due_us = x->due_us,
                             .started_us = x->started_us,
                             .ended_us = x->ended_us,
                             .log_bytes = x->log_bytes,
                             .memory_bytes = x->memory};
    out->path = out->stored ? (struct str){"", 0} : run_task_path(r, task, a);
}

void run_summary(const struct run *r, struct arena *a, struct run_summary *out)
{
    uint32_t total = 0, done = 0;
    for (int s = 0; s < TASK_STATE_COUNT; s++) {
        total += r->count[s];
        if (task_state_terminal((enum task_state)s)) done += r->count[s];
    }
    *out =
        (struct run_summary){.state = r->state,
                             .stop = r->stop,
                             .state_changed = r->state_changed,
                             .stop_exits = r->stop_exits,
                             .grace_ms = r->grace_ms,
                             .bundle_changed = r->bundle_changed,
                             .bundle = text_str(r->bundle),
                             .message = arena_str(a, text_str(r->message)),
                             .started_us = r->started_us,
                             .ended_us = r->ended_us,
                             .outputs = text_str(r->outputs),
                             .tasks_total = total,
                             .tasks_done = done,
                             .tasks_failed = r->count[TASK_FAILED],
                             .tasks_running = r->count[TASK_RUNNING] + r->count[TASK_STOPPING] - r->running_containers,
                             .generation = r->generation};
}

void run_committed(struct run *r)
{
    for (uint32_t i = 0; i < r->dirty.n; i++) {
        struct task *k = &r->tasks[r->dirty.p[i]];
        k->flags &= (uint8_t)~TASK_DIRTY;
        k->stored_state = k->state;
        if (k->extra != NONE) r->extras[k->extra].stored_attempt = r->extras[k->extra].attempt;
    }
    r->dirty.n = 0;
    r->state_changed = r->bundle_changed = false;
    if (r->memo.used > MEMO_MAX) {
        arena_reset(&r->memo);
        r->memo_gen++;
    }
    if (r->dirty.room > 4096) {
        free(r->dirty.p);
        r->dirty = (struct u32_vec){0};
    }
}
