/* A run as people watch it: a tree of its tasks with progress, elapsed times and reasons for waiting; or, where there
 * is no terminal, one line per change. Pure: from snapshots (the API's Run and Tasks) to text. */
#ifndef MILLRACE_CLI_TREE_H
#define MILLRACE_CLI_TREE_H

#include "cli/term.h"
#include "engine/base/value.h"

struct tree_task {
    int64_t task, parent; /* parent: the task that opened the frame; -1 = the run itself */
    struct str path, state, reason, message, waiting;
    bool inner; /* opened a frame: its children tell more than it does */
    bool wrote; /* its last attempt has a log */
    int64_t attempt;
    int64_t started_us, ended_us, due_us;
    const struct value *needs; /* numbers of tasks; may be NULL */
    /* links, as indices + 1; 0 = none */
    uint32_t first_child, last_child, next;
};

struct tree {
    int64_t run;
    struct str pipeline, name, state, message;
    int64_t created_us, started_us, ended_us;
    struct tree_task *tasks; /* by number */
    size_t n_tasks;
    uint32_t first, last; /* of the run itself */
};

struct tree_view {
    struct term term;
    int64_t now_us;
    unsigned frame; /* of the spinner */
};

/* `run` is a Run; `pages` are the answers that list its tasks, in order. Strings are shared with them. */
void tree_load(struct arena *a, const struct value *run, const struct value *pages, size_t n_pages, struct tree *out);
/* At most term.height - 1 lines (when it is not 0): what runs, waits or failed is kept, the rest is counted. */
void tree_render(struct buf *out, struct arena *a, const struct tree *t, const struct tree_view *view);
/* A line for each task whose state or attempt differs, in the order in which that happened, and for the run; and for
 * one that could begin, once, why it does not, and again when that is something else. `before` may be NULL. */
void tree_changes(struct buf *out, struct arena *a, const struct tree *before, const struct tree *after,
                  const struct tree_view *view);
bool tree_ended(const struct tree *t);
bool state_ended(struct str state); /* of a run or task */

#endif
