/* Who may start: runs within their pipeline's limit, tasks within the machine's capacity, in turn between runs. */
#include "scheduler/core.h"

#define MISFITS_MAX 64 /* tasks looked at in vain before the turn gives up; the rest wait for room anyway */

/* ---- runs ---- */

static bool same_pipeline(const struct live *a, const struct live *b)
{
    return a->project_id == b->project_id && str_eq(run_head(a->run)->pipeline, run_head(b->run)->pipeline);
}

/* All runs of a pipeline with a limit share one shard, so that this scheduler sees them all. */
void admit_run(struct scheduler *s, struct live *l)
{
    uint32_t limit = l->plan->plan->max_runs;
    if (limit > 0) {
        uint32_t running = 0;
        size_t cursor = 0;
        for (struct live *other; (other = live_next(&s->live, &cursor)) != NULL;)
            if (other != l && !other->finished && same_pipeline(l, other) && run_state_of(other->run) != RUN_QUEUED)
                running++;
        if (running >= limit) return;
    }
    run_begin(l->run, s->now_us, core_touch(s, l));
}

void admit_ended(struct scheduler *s, const struct live *ended)
{
    if (ended->plan->plan->max_runs == 0) return;
    struct live *oldest = NULL;
    size_t cursor = 0;
    for (struct live *other; (other = live_next(&s->live, &cursor)) != NULL;)
        if (other != ended && !other->finished && same_pipeline(ended, other) &&
            run_state_of(other->run) == RUN_QUEUED && (oldest == NULL || other->id < oldest->id))
            oldest = other;
    if (oldest != NULL) core_next_turn(s, oldest);
}

/* ---- tasks ---- */

static bool needs_room(const struct node *n)
{
    return n->verb == VERB_RUN || n->verb == VERB_SCRIPT || n->verb == VERB_IMAGE;
}

void admit_release(struct scheduler *s, const struct run *r, uint32_t task)
{
    const struct node *n = run_task_node(r, task);
    if (needs_room(n)) capacity_give(&s->capacity, &n->resources);
}

void admit_restored(struct scheduler *s, struct live *l)
{
    for (struct restored *r = l->restored; r != NULL; r = r->next) {
        const struct node *n = run_task_node(l->run, r->task);
        if (needs_room(n)) capacity_take(&s->capacity, &n->resources);
    }
}

/* Starts the first task of the run that fits; false when it has none that does. */
static bool start_one(struct scheduler *s, struct live *l, uint32_t *misfits)
{
    uint32_t task = run_ready_next(l->run, UINT32_MAX);
    if (task == UINT32_MAX) {
        live_ring_remove(&s->live, l);
        return false;
    }
    for (; task != UINT32_MAX && *misfits < MISFITS_MAX; task = run_ready_next(l->run, task)) {
        const struct node *n = run_task_node(l->run, task);
        if (!capacity_fits(&s->capacity, &n->resources)) {
            ++*misfits;
            continue;
        }
        struct executor *x = s->cfg.executor;
        capacity_take(&s->capacity, &n->resources);
        run_start_task(l->run, task, x->instance(x->self), s->now_us, core_touch(s, l));
        s->stats.tasks_started++;
        return true;
    }
    return false;
}

void admit_tasks(struct scheduler *s)
{
    if (s->cfg.executor == NULL) return;
    uint32_t misfits = 0;
    struct live *fruitless = NULL; /* the first run of a round without a start: once around, and it is over */
    while (s->live.ring != NULL && misfits < MISFITS_MAX) {
        struct live *l = s->live.ring;
        if (l == fruitless) break;
        bool started = start_one(s, l, &misfits);
        if (!l->in_ring) continue;
        s->live.ring = l->ready_next; /* the next run's turn */
        if (started)
            fruitless = NULL;
        else if (fruitless == NULL)
            fruitless = l;
    }
}

bool admit_under_way(const struct live *l)
{
    for (uint32_t task = 0, n = run_task_count(l->run); task < n; task++) {
        enum task_state state = run_task_state(l->run, task);
        if ((state == TASK_RUNNING || state == TASK_STOPPING) && needs_room(run_task_node(l->run, task))) return true;
    }
    return false;
}
