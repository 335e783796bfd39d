/* Retrying a run that has ended: which tasks are as if they had never started, and which are kept.
 *
 * Without `from`: all that failed, was cancelled, or was skipped since its upstream failed; and what was skipped
 * downstream of these, since its condition may read what they will bring. With `from`: that task and everything
 * downstream of it as well, whatever became of it. A loop or sub-pipeline that failed because of tasks inside it goes
 * on with these and keeps the rest; one that is named by `from`, or lies downstream of something that is retried, is
 * opened anew. What is named by `from` runs, with all that is inside it, whatever the cache has. onExit steps of a
 * frame that is retried run again at its end. */
#include <stdlib.h>

#include "engine/base/jsonw.h"
#include "engine/flow/run_inner.h"

enum mark {
    KEEP,
    AGAIN, /* reset; what succeeded inside it is kept */
    ANEW,  /* reset with all that is inside it */
    INSIDE /* `from` is inside it */
};

struct retry_job {
    struct turn *t;
    uint32_t from;  /* or NONE */
    uint32_t count; /* tasks reset */
};

static bool contains(const struct run *r, uint32_t container, uint32_t task)
{
    while (task != NONE && task != container)
        task = r->frames[r->tasks[task].frame].parent_task;
    return task != NONE;
}

static unsigned char first_mark(const struct run *r, uint32_t task, uint32_t from)
{
    if (from != NONE && task == from) return ANEW;
    if (from != NONE && contains(r, task, from)) return INSIDE;
    const struct task *k = &r->tasks[task];
    if (k->state == TASK_FAILED || k->state == TASK_CANCELLED) return AGAIN;
    return k->state == TASK_SKIPPED && k->reason == REASON_UPSTREAM_FAILED ? AGAIN : KEEP;
}

/* Marks flow downstream: from what is done anew to everything, from the rest to what was skipped. */
static unsigned char flows(unsigned char mark, const struct task *to)
{
    if (mark == ANEW || mark == INSIDE) return ANEW;
    return mark == AGAIN && to->state == TASK_SKIPPED ? AGAIN : KEEP;
}

static void mark_downstream(const struct run *r, const struct frame *f, unsigned char *marks, uint32_t ordinary)
{
    struct u32_vec todo = {0};
    const struct graph *g = frame_graph(r, f);
    for (uint32_t i = 0; i < ordinary; i++)
        if (marks[i] != KEEP) u32_push(&todo, i);
    while (todo.n > 0) {
        uint32_t i = todo.p[--todo.n];
        for (uint32_t d = 0; d < g->nodes[i].n_dependents; d++) {
            uint32_t other = g->nodes[i].dependents[d];
            unsigned char mark = flows(marks[i], &r->tasks[f->first + other]);
            bool stronger = mark == ANEW ? marks[other] != ANEW : mark == AGAIN && marks[other] == KEEP;
            if (!stronger) continue;
            marks[other] = mark;
            u32_push(&todo, other);
        }
    }
    free(todo.p);
}

static bool upstream_marked(const struct graph *g, uint32_t i, const unsigned char *marks)
{
    for (uint32_t d = 0; d < g->nodes[i].n_deps; d++)
        if (marks[g->nodes[i].deps[d]] != KEEP) return true;
    return false;
}

static void retry_frame(struct retry_job *job, uint32_t frame);

static void reset_task(struct retry_job *job, uint32_t task, bool keep_inside)
{
    struct run *r = job->t->r;
    uint32_t child = task_child(r, task);
    if (!task_event_step(job->t, task, STEP_RESET, task == job->from ? REASON_FROM : REASON_NONE)) return;
    job->count++;
    if (child == NONE) return;
    if (keep_inside) {
        retry_frame(job, child);
        return;
    }
    frame_supersede(r, child);
    task_extra(r, task)->child = NONE;
}

static void count_waits(struct run *r, const struct frame *f)
{
    const struct graph *g = frame_graph(r, f);
    for (uint32_t i = 0; i < f->n; i++) {
        struct task *k = &r->tasks[f->first + i];
        if (k->state != TASK_PENDING) continue;
        k->waits = 0;
        for (uint32_t d = 0; d < g->nodes[i].n_deps; d++)
            if (!task_state_terminal((enum task_state)r->tasks[f->first + g->nodes[i].deps[d]].state)) k->waits++;
    }
}

static void retry_frame(struct retry_job *job, uint32_t frame)
{
    struct run *r = job->t->r;
    struct frame f = r->frames[frame];
    bool is_graph = f.kind == FRAME_GRAPH;
    const struct graph *g = frame_graph(r, &f);
    uint32_t ordinary = is_graph ? f.n - g->n_exit : f.n;
    unsigned char *marks = calloc(f.n + 1u, 1);
    if (!marks) abort();
    for (uint32_t i = 0; i < f.n; i++)
        marks[i] = first_mark(r, f.first + i, job->from);
    if (is_graph) mark_downstream(r, &f, marks, ordinary);
    r->frames[frame].exits_begun = r->frames[frame].exits_cancelled = false;
    r->frames[frame].active = false;
    for (uint32_t i = 0; i < ordinary; i++) {
        if (marks[i] == KEEP) continue;
        bool inside = marks[i] == INSIDE || (marks[i] == AGAIN && !(is_graph && upstream_marked(g, i, marks)));
        reset_task(job, f.first + i, inside);
    }
    for (uint32_t i = ordinary; i < f.n; i++)
        reset_task(job, f.first + i, false);
    if (is_graph) count_waits(r, &f);
    free(marks);
}

/* ---- the command ---- */

static bool find_from(const struct run *r, const struct value *payload, uint32_t *from, struct err *err)
{
    *from = NONE;
    const struct value *v = payload ? value_get(payload, "from") : NULL;
    if (!v || v->type == VALUE_NULL) return true;
    if (v->type != VALUE_STRING) return err_set(err, ERR_INVALID, "from must be the name of a step");
    *from = run_task_find(r, v->u.s);
    if (*from == NONE) return err_set(err, ERR_NOT_FOUND, "the run has no step '%.*s'", STR_ARG(v->u.s));
    return true;
}

static struct str detail_of(struct turn *t, const struct value *payload, struct str bundle, uint32_t count)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    struct jsonw w;
    jsonw_to_buf(&w, &text);
    jsonw_object(&w);
    static const char *const told[] = {"from", "by"};
    for (size_t i = 0; i < 2; i++) {
        const struct value *v = payload ? value_get(payload, told[i]) : NULL;
        if (v && v->type == VALUE_STRING) jsonw_kv_str(&w, told[i], v->u.s);
    }
    if (bundle.n > 0) jsonw_kv_str(&w, "bundle", bundle);
    jsonw_kv_int(&w, "tasks", count);
    jsonw_object_end(&w);
    return jsonw_end(&w) ? arena_str(t->out->arena, buf_view(&text)) : (struct str){0};
}

static void begin_again(struct turn *t)
{
    struct run *r = t->r;
    r->state = RUN_RUNNING;
    r->stop = RUN_REFUSED;
    r->stop_exits = false;
    r->grace_ms = 0;
    r->state_changed = true;
    r->generation++;
    r->started_us = t->now_us > 0 ? t->now_us : 1; /* of this generation: the deadline starts anew */
    r->ended_us = 0;
    text_set(r, &r->message, STR(""));
    text_set(r, &r->outputs, STR(""));
    r->n_sweeps = 0;
    int64_t deadline_ms = r->plan->graphs[0].deadline_ms;
    if (deadline_ms > 0) due_set(t, NONE, r->started_us + deadline_ms * 1000);
}

/* What is kept ran the code of before, and says so: the store is told by bundle_changed alone, not row by row. */
static void take_bundle(struct run *r, struct str digest)
{
    if (str_eq(run_bundle(r), digest)) return;
    uint16_t before = name_number(r, &r->bundles, run_bundle(r));
    for (uint32_t task = 0; task < r->n_tasks; task++) {
        if (task_extra_get(r, task)->attempt == 0) continue;
        struct extra *x = task_extra(r, task);
        if (x->bundle == 0) x->bundle = before;
    }
    text_set(r, &r->bundle, digest);
    r->bundle_changed = true;
}

/* A finished run is restored for its retry; whoever recorded the wish may have queued it, so what counts is that
 * nothing of it is at work. */
static bool has_ended(const struct run *r)
{
    if (run_state_terminal(r->state)) return true;
    return r->state == RUN_QUEUED && r->n_tasks > 0 && (r->count[TASK_PENDING] < r->n_tasks);
}

/* An aborted run has tasks that were at work; whatever they did was never recorded, and their attempts were told to
 * stop. From the last to the first: what is inside a container comes after it. */
static void settle_aborted(struct turn *t)
{
    struct run *r = t->r;
    for (uint32_t task = r->n_tasks; task-- > 0;) {
        enum task_state s = (enum task_state)r->tasks[task].state;
        if (s == TASK_PENDING || task_state_terminal(s) || r->frames[r->tasks[task].frame].dead) continue;
        task_event_step(t, task, STEP_CANCEL, REASON_CANCELLED);
        task_event_step(t, task, STEP_STOPPED, REASON_CANCELLED);
    }
    r->closing.n = 0;
}

void run_hold(struct run *r)
{
    if (r->state != RUN_RUNNING || r->generation == 0) return;
    r->state = RUN_QUEUED;
    r->state_changed = true;
}

bool run_retry(struct turn *t, const struct value *payload, struct err *err)
{
    struct run *r = t->r;
    run_derive(r);
    if (!has_ended(r))
        return err_set(err, ERR_CONFLICT, "the run is %s; only one that has ended is retried",
                       run_state_name(r->state));
    struct retry_job job = {.t = t};
    if (!find_from(r, payload, &job.from, err)) return false;
    if (job.from == NONE && r->state == RUN_SUCCEEDED) {
        err_set(err, ERR_CONFLICT, "the run succeeded: nothing of it is to be retried");
        return err_hint(err, "name the step to begin with: retry --from STEP");
    }
    settle_aborted(t);
    retry_frame(&job, 0);
    const struct value *bundle = payload ? value_get(payload, "bundle") : NULL;
    struct str digest = bundle && bundle->type == VALUE_STRING ? bundle->u.s : (struct str){0};
    if (digest.n > 0) take_bundle(r, digest);
    begin_again(t);
    run_event_add(t, EVENT_RUN_RETRIED, NONE, 0, detail_of(t, payload, digest, job.count));
    frame_activate(t, 0);
    return true;
}
