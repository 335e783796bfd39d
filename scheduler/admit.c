/* Who may start: runs within their pipeline's limit, tasks within the machine's capacity, in turn between runs. */
#include "engine/store/queue_setup.h"
#include "scheduler/gpu_pin.h"
#include "scheduler/gpus.h"
#include "scheduler/placing.h"

#define MISFITS_MAX 64        /* tasks looked at in vain before the turn gives up; the rest wait for room anyway */
#define GPU_MISFITS_MAX 16384 /* the same of those that wait for a GPU, which are passed over in no time */

/* ---- runs ---- */

/* Versions of a pipeline may differ in their limit. Those without one may be in any shard, so nobody could count them
 * for sure: a limit counts the runs that have one themselves. They share a shard, hence this scheduler sees them all.
 */
static bool counted_together(const struct live *a, const struct live *b)
{
    return a->plan->plan->max_runs > 0 && b->plan->plan->max_runs > 0 && a->project_id == b->project_id &&
           str_eq(run_head(a->run)->pipeline, run_head(b->run)->pipeline);
}

/* How many of them run, and the one that has waited longest. */
static struct live *look_around(const struct scheduler *s, const struct live *of, uint32_t *running)
{
    struct live *oldest = NULL;
    size_t cursor = 0;
    *running = 0;
    for (struct live *l; (l = live_next(&s->live, &cursor)) != NULL;) {
        enum run_state state = run_state_of(l->run);
        /* One in a final state has a retry that was not heard yet, or was refused. */
        if (l->finished || run_state_terminal(state) || !counted_together(of, l)) continue;
        if (state != RUN_QUEUED)
            ++*running;
        else if (oldest == NULL || l->id < oldest->id)
            oldest = l;
    }
    return oldest;
}

/* The oldest first, and nobody overtakes: for this one all are looked at that wait with it. */
void admit_run(struct scheduler *s, struct live *l)
{
    uint32_t running;
    if (l->plan->plan->max_runs == 0) {
        run_begin(l->run, s->now_us, core_touch(s, l));
        return;
    }
    for (;;) {
        struct live *next = look_around(s, l, &running);
        if (next == NULL || running >= next->plan->plan->max_runs) return;
        run_begin(next->run, s->now_us, core_touch(s, next));
    }
}

void admit_ended(struct scheduler *s, const struct live *ended)
{
    uint32_t running;
    struct live *next = ended->plan->plan->max_runs > 0 ? look_around(s, ended, &running) : NULL;
    if (next != NULL && running < next->plan->plan->max_runs) core_next_turn(s, next);
}

/* ---- tasks ---- */

static bool needs_room(const struct node *n)
{
    return n->verb == VERB_RUN || n->verb == VERB_SCRIPT || n->verb == VERB_IMAGE;
}

struct resources admit_wanted(const struct live *l, uint32_t task)
{
    struct resources r = run_task_node(l->run, task)->resources;
    r.memory_bytes = run_task_memory(l->run, task);
    if (l->ignore_cpu) r.cpu_milli = 0;
    if (l->ignore_memory) r.memory_bytes = 0;
    if (l->ignore_gpu) r.gpu_count = 0;
    return r;
}

static struct gpus *gpus_of(const struct scheduler *s)
{
    return s->cfg.executor != NULL ? s->cfg.executor->gpus : NULL;
}

static bool gpus_there(const struct scheduler *s, const struct gpu_want *w)
{
    return gpus_of(s) == NULL || gpus_fit(gpus_of(s), w);
}

/* Of the attempt, as the placer admitted it if it was asked. */
static struct gpu_want gpus_wanted(struct scheduler *s, const struct live *l, struct attempt_id id,
                                   const struct resources *wanted)
{
    return gpu_pinned(&s->arena, wanted, placing_pin(l, id.task, id.attempt));
}

static struct attempt_id next_attempt(const struct live *l, uint32_t task)
{
    return core_attempt(l, task, run_task_attempt(l->run, task) + 1);
}

static enum exec_placing placing_of(const struct executor *x)
{
    if (!x->placed) return EXEC_COUNTS;
    return x->placing != NULL ? x->placing(x->self) : EXEC_PLACES;
}

static bool unsure(const struct scheduler *s, const struct live *l, uint32_t task)
{
    return queue_ask_needed(run_task_node(l->run, task), l->ignore_gpu) && s->placing == EXEC_UNSURE;
}

void admit_reason(struct scheduler *s, const struct live *l, uint32_t task, struct buf *out)
{
    struct resources wanted = admit_wanted(l, task);
    struct gpu_want gpus = gpus_wanted(s, l, next_attempt(l, task), &wanted);
    bool room = capacity_fits(&s->capacity, &wanted);
    if (unsure(s, l, task)) {
        buf_c(out, "waits to hear which queues there are");
        return;
    }
    if (room && gpus_there(s, &gpus)) {
        buf_c(out, "is about to start");
        return;
    }
    buf_c(out, "waits for room: ");
    if (room)
        gpus_reason(gpus_of(s), &gpus, out);
    else
        capacity_reason(&s->capacity, &wanted, out);
}

void admit_forget(struct scheduler *s)
{
    capacity_init(&s->capacity, s->cfg.cpu_milli, s->cfg.memory_bytes, s->cfg.most);
    if (gpus_of(s) != NULL) gpus_release_all(gpus_of(s));
}

void admit_release(struct scheduler *s, const struct live *l, struct attempt_id id)
{
    const struct node *n = run_task_node(l->run, id.task);
    struct resources r = admit_wanted(l, id.task);
    if (!needs_room(n)) return;
    capacity_give(&s->capacity, &r);
    if (gpus_of(s) != NULL) gpus_release(gpus_of(s), id);
}

void admit_restored(struct scheduler *s, struct live *l)
{
    for (struct restored *r = l->restored; r != NULL; r = r->next) {
        const struct node *n = run_task_node(l->run, r->task);
        struct resources wanted = admit_wanted(l, r->task);
        struct gpu_want gpus = gpu_wanted(&wanted);
        if (!needs_room(n)) continue;
        capacity_take(&s->capacity, &wanted);
        if (gpus_of(s) == NULL) continue;
        gpus_expect(gpus_of(s), core_attempt(l, r->task, run_task_attempt(l->run, r->task)), &gpus);
    }
}

/* What a turn has looked at in vain. A GPU may be wanted for hours by thousands of tasks, which must not keep those
 * from starting that want none: they are passed over cheaply, since what did not fit once in a turn does not later in
 * it. */
struct vain {
    uint32_t misfits, gpu_misfits;
    struct gpu_want gpus; /* the last that did not fit */
    bool started;         /* and something was not in vain */
};

static bool tired(const struct vain *v)
{
    return v->misfits >= MISFITS_MAX || v->gpu_misfits >= GPU_MISFITS_MAX;
}

static bool fits(const struct scheduler *s, const struct resources *wanted, const struct gpu_want *gpus, struct vain *v)
{
    bool again = v->gpu_misfits > 0 && gpus->count == v->gpus.count && gpus->milli == v->gpus.milli &&
                 str_eq(gpus->flavor, v->gpus.flavor) && str_eq(gpus->products, v->gpus.products);
    if (again || !gpus_there(s, gpus)) {
        v->gpu_misfits++;
        v->gpus = *gpus;
        return false;
    }
    bool room = capacity_fits(&s->capacity, wanted);
    v->misfits += !room;
    return room;
}

/* As far as the placer is concerned. */
static bool may_start(struct scheduler *s, struct live *l, uint32_t task, struct vain *v)
{
    if (!queue_ask_needed(run_task_node(l->run, task), l->ignore_gpu)) return true;
    switch (s->placing) {
    case EXEC_COUNTS:
        if (!placing_asked(l, task)) return true;
        break; /* when there was a queue, and the placer has not forgotten it */
    case EXEC_UNSURE: v->gpu_misfits++; return false;
    case EXEC_PLACES: break;
    }
    if (placing_go(s, l, task)) return true;
    v->misfits += s->more; /* so many were asked for that the turn must end */
    return false;
}

/* Starts the first task of the run that fits; false when it has none that does. */
static bool start_one(struct scheduler *s, struct live *l, struct vain *v)
{
    uint32_t task = run_ready_next(l->run, UINT32_MAX);
    if (task == UINT32_MAX) {
        live_ring_remove(&s->live, l);
        return false;
    }
    for (; task != UINT32_MAX && !tired(v); task = run_ready_next(l->run, task)) {
        if (!may_start(s, l, task, v)) continue;
        struct resources wanted = admit_wanted(l, task);
        struct gpu_want gpus = gpus_wanted(s, l, next_attempt(l, task), &wanted);
        if (!fits(s, &wanted, &gpus, v)) continue;
        struct executor *x = s->cfg.executor;
        capacity_take(&s->capacity, &wanted);
        run_start_task(l->run, task, x->instance(x->self), s->now_us, core_touch(s, l));
        if (x->gpus != NULL) gpus_take(x->gpus, core_attempt(l, task, run_task_attempt(l->run, task)), &gpus);
        s->stats.tasks_started++;
        v->started = true;
        return true;
    }
    return false;
}

static int64_t first_priority(const struct live *l)
{
    uint32_t task = run_ready_next(l->run, UINT32_MAX);
    return task == UINT32_MAX ? INT64_MIN : run_task_node(l->run, task)->priority;
}

/* Runs take turns, those whose first task is at least of that priority. */
static void admit_level(struct scheduler *s, int64_t level, struct vain *v)
{
    struct live *fruitless = NULL; /* the first run of a round without a start: once around, and it is over */
    while (s->live.ring != NULL && !tired(v)) {
        struct live *l = s->live.ring;
        if (l == fruitless) break;
        bool started = (level == INT64_MIN || first_priority(l) >= level) && start_one(s, l, v);
        if (!l->in_ring) continue;
        s->live.ring = l->ready_next; /* the next run's turn */
        if (started)
            fruitless = NULL;
        else if (fruitless == NULL)
            fruitless = l;
    }
}

/* The highest priority below the last level. */
static bool next_level(const struct scheduler *s, int64_t *level)
{
    int64_t best = INT64_MIN;
    const struct live *l = s->live.ring;
    do {
        int64_t priority = l != NULL ? first_priority(l) : INT64_MIN;
        if (priority < *level && priority > best) best = priority;
        l = l != NULL ? l->ready_next : NULL;
    } while (l != s->live.ring);
    *level = best;
    return best != INT64_MIN;
}

void admit_tasks(struct scheduler *s)
{
    if (s->cfg.executor == NULL) return;
    struct vain v = {0};
    placing_mode(s, placing_of(s->cfg.executor));
    for (int64_t level = INT64_MAX; s->live.n_ranked > 0 && !tired(&v) && next_level(s, &level);)
        admit_level(s, level, &v);
    admit_level(s, INT64_MIN, &v); /* all, and runs without a ready task leave the ring */
    if (v.started && v.gpu_misfits >= GPU_MISFITS_MAX) s->more = true; /* there may be more behind them */
}

bool admit_under_way(const struct live *l)
{
    for (uint32_t task = 0, n = run_task_count(l->run); task < n; task++) {
        enum task_state state = run_task_state(l->run, task);
        if ((state == TASK_RUNNING || state == TASK_STOPPING) && needs_room(run_task_node(l->run, task))) return true;
    }
    return false;
}
