/* The tasks of a run as the plan and the frames lay them out: which node a number stands for, its path, its upstream.
 * What has not begun has no row in the store; here it has a shape all the same. */
#ifndef MILLRACE_API_RUNTREE_H
#define MILLRACE_API_RUNTREE_H

#include "engine/flow/plan.h"
#include "engine/store/tasks.h"

#define RUNTREE_NONE UINT32_MAX

struct runtree {
    struct arena *arena;
    const struct plan *plan;
    struct frame_rec *frames; /* by first task; the pipeline itself is the first */
    size_t n;
    uint32_t total; /* task numbers given out so far */
};

MUST_CHECK bool runtree_load(struct conn *c, const struct run_rec *run, struct arena *a, struct runtree *out,
                             struct err *err);
const struct frame_rec *runtree_frame(const struct runtree *t, uint32_t task); /* NULL: no such task */
const struct node *runtree_node(const struct runtree *t, uint32_t task);       /* NULL: no such task */
struct str runtree_path(const struct runtree *t, uint32_t task);
uint32_t runtree_find(const struct runtree *t, struct str path); /* RUNTREE_NONE when absent */
uint32_t runtree_parent(const struct runtree *t, uint32_t task); /* RUNTREE_NONE for the outermost */
bool runtree_is_exit(const struct runtree *t, uint32_t task);
/* Of items of a loop: none. Numbers of the tasks this one waits for; *n of them. */
const uint32_t *runtree_needs(const struct runtree *t, uint32_t task, uint32_t *n);
/* A frame that a later one of the same parent replaced: its tasks are history. */
bool runtree_superseded(const struct runtree *t, uint32_t task);

#endif
