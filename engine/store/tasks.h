/* Tasks, attempts and frames of a run, read. A task has a row only once it left "pending". */
#ifndef MILLRACE_STORE_TASKS_H
#define MILLRACE_STORE_TASKS_H

#include "engine/store/runs.h"

struct task_rec {
    int64_t run_id, due_us, started_us, ended_us, log_bytes; /* times 0 = none */
    int64_t memory_bytes;                                    /* that the attempt asked for; 0 = it did not say */
    int32_t task, frame, attempt, failures, free_failures;
    int32_t exit_code; /* -1 = none */
    enum task_state state;
    enum reason reason;
    struct str path, message, executor;
    struct str outputs; /* JSON object; empty = none */
};

struct attempt_rec {
    int32_t task, attempt;
    int32_t exit_code; /* -1 = none */
    enum task_state state;
    enum reason reason;
    int64_t started_us, ended_us, log_bytes, memory_bytes;
    struct str message, executor, bundle_digest; /* code it ran; empty = none */
};

struct frame_rec {
    int32_t frame, parent_task, kind, graph, first_task, n; /* kind 1 = graph, 2 = items of a loop */
    struct str items, inputs;                               /* JSON, may be empty */
    int64_t opened_us;
};

/* By number, those after `after` (-1 = from the first); states: a bit mask 1 << enum task_state, 0 = all. */
MUST_CHECK bool tasks_list(struct conn *c, int64_t run_id, int32_t after, uint32_t states, uint32_t limit,
                           struct arena *a, struct task_rec **out, size_t *n, struct err *err);
MUST_CHECK bool tasks_get(struct conn *c, int64_t run_id, int32_t task, struct arena *a, struct task_rec *out,
                          struct err *err);
MUST_CHECK bool tasks_find(struct conn *c, int64_t run_id, struct str path, struct arena *a, struct task_rec *out,
                           struct err *err);
/* All attempts, the current one last. */
MUST_CHECK bool tasks_attempts(struct conn *c, int64_t run_id, int32_t task, struct arena *a, struct attempt_rec **out,
                               size_t *n, struct err *err);
MUST_CHECK bool tasks_frames(struct conn *c, int64_t run_id, int32_t after, uint32_t limit, struct arena *a,
                             struct frame_rec **out, size_t *n, struct err *err);

#endif
