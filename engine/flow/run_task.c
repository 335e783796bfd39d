/* A task within its run: the one place that moves it from state to state, and what goes with each move. */
#include <stdlib.h>

#include "engine/base/jsonw.h"
#include "engine/flow/run_inner.h"

/* ---- what a task is ---- */

static const struct extra no_extra = {.child = NONE, .exit_code = -1};
static const struct retry no_retry = {0};

const struct extra *task_extra_get(const struct run *r, uint32_t task)
{
    uint32_t i = r->tasks[task].extra;
    return i == NONE ? &no_extra : &r->extras[i];
}

struct extra *task_extra(struct run *r, uint32_t task)
{
    if (r->tasks[task].extra == NONE) {
        r->extras = run_grow(r->extras, &r->room_extras, r->n_extras + 1, sizeof *r->extras);
        r->extras[r->n_extras] = no_extra;
        r->tasks[task].extra = r->n_extras++;
    }
    return &r->extras[r->tasks[task].extra];
}

uint32_t task_child(const struct run *r, uint32_t task)
{
    return task_extra_get(r, task)->child;
}

bool task_is_loop(const struct run *r, uint32_t task)
{
    return r->frames[r->tasks[task].frame].kind == FRAME_GRAPH && run_task_node(r, task)->loop;
}

bool task_is_container(const struct run *r, uint32_t task)
{
    return task_is_loop(r, task) || run_task_node(r, task)->verb == VERB_PIPELINE;
}

bool task_is_exit(const struct run *r, uint32_t task)
{
    const struct frame *f = &r->frames[r->tasks[task].frame];
    return f->kind == FRAME_GRAPH && task - f->first >= f->n - frame_graph(r, f)->n_exit;
}

bool verb_external(enum verb v)
{
    return v == VERB_RUN || v == VERB_SCRIPT || v == VERB_IMAGE;
}

/* ---- lists ---- */

void task_dirty(struct run *r, uint32_t task)
{
    if (r->tasks[task].flags & TASK_DIRTY) return;
    r->tasks[task].flags |= TASK_DIRTY;
    u32_push(&r->dirty, task);
}

void task_fresh(struct run *r, uint32_t task)
{
    if (r->tasks[task].flags & TASK_FRESH) return;
    r->tasks[task].flags |= TASK_FRESH;
    u32_push(&r->fresh, task);
}

uint16_t name_number(struct run *r, struct names *names, struct str name)
{
    for (uint16_t i = 1; i < names->n; i++)
        if (str_eq(text_str(names->p[i]), name)) return i;
    if (names->n == UINT16_MAX) return 0;
    uint16_t n = names->n ? names->n : 1;
    names->p = realloc(names->p, ((size_t)n + 1) * sizeof *names->p);
    if (!names->p) abort();
    names->p[0] = NULL;
    names->p[n] = text_new(r, name);
    names->n = (uint16_t)(n + 1);
    return n;
}

/* ---- what a turn produces ---- */

void run_out_init(struct run_out *out, struct arena *a)
{
    *out = (struct run_out){.arena = a};
}

uint64_t run_out_work(const struct run_out *out)
{
    return (out->cost + out->spent) / COST_PER_TASK + out->arena->used / BYTES_PER_TASK;
}

static void *out_slot(struct run_out *out, void **items, size_t *n, size_t *room, size_t size)
{
    if (*n == *room) {
        size_t more = *room ? *room * 2 : 8;
        *items = arena_grow(out->arena, *items, *n * size, more * size);
        *room = more;
    }
    return (char *)*items + (*n)++ * size;
}

#define OUT_SLOT(out, list)                                                                                            \
    out_slot((out), (void **)&(out)->list, &(out)->n_##list, &(out)->room_##list, sizeof *(out)->list)

void run_event_add(struct turn *t, enum event_kind kind, uint32_t task, uint32_t attempt, struct str detail)
{
    struct run_event *e = OUT_SLOT(t->out, events);
    *e = (struct run_event){.seq = t->r->next_event++,
                            .at_us = t->now_us,
                            .kind = kind,
                            .task = task == NONE ? -1 : (int32_t)task,
                            .attempt = (int32_t)attempt,
                            .detail = detail};
}

void effect_add(struct turn *t, struct effect e)
{
    struct effect *slot = OUT_SLOT(t->out, effects);
    *slot = e;
}

struct new_frame *new_frame_add(struct turn *t)
{
    return OUT_SLOT(t->out, frames);
}

void task_event(struct turn *t, enum event_kind kind, uint32_t task)
{
    const struct task *k = &t->r->tasks[task];
    const struct extra *x = task_extra_get(t->r, task);
    struct str detail = {0};
    if (k->reason != REASON_NONE || x->message || x->exit_code >= 0) {
        BUF_AUTO text;
        buf_init(&text, 0);
        struct jsonw w;
        jsonw_to_buf(&w, &text);
        jsonw_object(&w);
        if (k->reason != REASON_NONE) jsonw_kv_cstr(&w, "reason", reason_name((enum reason)k->reason));
        if (x->message) jsonw_kv_str(&w, "message", text_str(x->message));
        if (x->exit_code >= 0) jsonw_kv_int(&w, "exitCode", x->exit_code);
        if (kind == EVENT_TASK_RETRYING) jsonw_kv_int(&w, "dueInMs", (x->due_us - t->now_us) / 1000);
        jsonw_object_end(&w);
        if (jsonw_end(&w)) detail = arena_str(t->out->arena, buf_view(&text));
    }
    run_event_add(t, kind, task, x->attempt, detail);
}

/* The attempt's record is about to be overwritten: it goes to the old ones, once. */
static void archive(struct turn *t, uint32_t task)
{
    const struct extra *x = task_extra_get(t->r, task);
    if (x->attempt == 0 || x->started_us == 0) return;
    const struct task *k = &t->r->tasks[task];
    struct arena *a = t->out->arena;
    struct str bundle = x->bundle ? text_str(t->r->bundles.p[x->bundle]) : run_bundle(t->r);
    struct old_attempt *o = OUT_SLOT(t->out, attempts);
    *o = (struct old_attempt){.task = task,
                              .attempt = x->attempt,
                              .state = task_state_terminal((enum task_state)k->state) ? (enum task_state)k->state
                                                                                      : TASK_FAILED,
                              .reason = (enum reason)k->reason,
                              .message = arena_str(a, text_str(x->message)),
                              .bundle_digest = arena_str(a, bundle),
                              .exit_code = x->exit_code,
                              .started_us = x->started_us,
                              .ended_us = x->ended_us,
                              .log_bytes = x->log_bytes,
                              .memory_bytes = x->memory};
}

/* ---- times: a heap, with entries that are void once the task has another time or none ---- */

void due_push(struct run *r, uint32_t task, int64_t at_us)
{
    r->due = run_grow(r->due, &r->room_due, r->n_due + 1, sizeof *r->due);
    uint32_t i = r->n_due++;
    for (uint32_t up; i > 0 && r->due[up = (i - 1) / 2].at_us > at_us; i = up)
        r->due[i] = r->due[up];
    r->due[i] = (struct due){at_us, task};
}

bool due_pop(struct run *r, int64_t now_us, struct due *out)
{
    if (r->n_due == 0 || r->due[0].at_us > now_us) return false;
    *out = r->due[0];
    struct due last = r->due[--r->n_due];
    uint32_t i = 0;
    for (uint32_t down; (down = 2 * i + 1) < r->n_due; i = down) {
        if (down + 1 < r->n_due && r->due[down + 1].at_us < r->due[down].at_us) down++;
        if (r->due[down].at_us >= last.at_us) break;
        r->due[i] = r->due[down];
    }
    if (r->n_due > 0) r->due[i] = last;
    return true;
}

/* One timer at a time, for the earliest: a hundred thousand waits are not a hundred thousand effects. */
void due_arm(struct turn *t)
{
    struct run *r = t->r;
    if (r->n_due == 0 || run_state_terminal(r->state)) return;
    int64_t first = r->due[0].at_us;
    if (r->armed_us != 0 && r->armed_us <= first) return;
    r->armed_us = first;
    effect_add(t, (struct effect){.kind = EFFECT_TIMER, .due_us = first});
}

void due_set(struct turn *t, uint32_t task, int64_t at_us)
{
    if (task != NONE) task_extra(t->r, task)->due_us = at_us;
    due_push(t->r, task, at_us);
    due_arm(t);
}

/* ---- the one place that moves a task ---- */

static void note_upstream_ended(struct run *r, uint32_t task)
{
    const struct frame *f = &r->frames[r->tasks[task].frame];
    if (f->kind != FRAME_GRAPH) return;
    const struct node *n = run_task_node(r, task);
    for (uint32_t i = 0; i < n->n_dependents; i++) {
        uint32_t other = f->first + n->dependents[i];
        struct task *k = &r->tasks[other];
        if (k->state != TASK_PENDING || k->waits == 0) continue; /* one that a retry left as it was */
        if (--k->waits == 0 && (f->active || task_is_exit(r, other))) task_ready(r, other);
    }
}

/* Ended (by 1), or as if it had not (by -1). */
static void count_ended(struct run *r, uint32_t task, enum task_state state, int by)
{
    struct frame *f = &r->frames[r->tasks[task].frame];
    bool exits = task_is_exit(r, task);
    uint32_t *open = exits ? &f->open_exit : &f->open, *bad = exits ? &f->bad_exit : &f->bad;
    uint32_t d = (uint32_t)by; /* unsigned wraps: adding -1 takes one away */
    *open -= d;
    if (state == TASK_FAILED || state == TASK_CANCELLED) *bad += d;
    if (state == TASK_SKIPPED) f->skipped += d;
}

static bool in_use(enum task_state s)
{
    return s == TASK_RUNNING || s == TASK_STOPPING;
}

static void set_state(struct run *r, uint32_t task, enum task_state state, enum reason reason)
{
    struct task *k = &r->tasks[task];
    enum task_state old = (enum task_state)k->state;
    if (old == TASK_READY && state != TASK_READY) {
        if (k->flags & TASK_LISTED) ready_remove(r, task);
        k->flags &= (uint8_t) ~(TASK_QUEUED | TASK_FRESH | TASK_ASKED | TASK_ASIDE);
    }
    r->count[old]--;
    r->count[state]++;
    if (in_use(old) != in_use(state) && task_is_container(r, task)) r->running_containers += in_use(state) ? 1u : -1u;
    k->state = (uint8_t)state;
    /* Why the attempt before failed is in its record only once the next one begins. */
    if (old != TASK_BACKOFF || state != TASK_READY) k->reason = (uint8_t)reason;
    bool holds = state == TASK_READY || state == TASK_RUNNING || state == TASK_STOPPING || state == TASK_WAITING;
    if (!holds) gates_leave(r, task);
    if (task_state_terminal(old)) count_ended(r, task, old, -1);
    if (task_state_terminal(state)) count_ended(r, task, state, 1);
    if (state != TASK_READY) task_dirty(r, task);
}

void task_ready(struct run *r, uint32_t task)
{
    if (r->tasks[task].state != TASK_PENDING) return;
    if (task_is_exit(r, task) && !r->frames[r->tasks[task].frame].exits_begun) return;
    r->tasks[task].flags &= (uint8_t) ~(TASK_CHECKED | TASK_NO_CACHE);
    enum reason was = (enum reason)r->tasks[task].reason;
    bool kept = was == REASON_FROM || task_extra_get(r, task)->started_us != 0; /* why its last attempt ended */
    enum reason why = kept ? was : REASON_NONE;
    set_state(r, task, TASK_READY, why);
    task_fresh(r, task);
}

int64_t run_task_started(const struct run *r, uint32_t task)
{
    return task_extra_get(r, task)->started_us;
}

int64_t run_task_memory(const struct run *r, uint32_t task)
{
    const struct task *k = &r->tasks[task];
    const struct node *n = run_task_node(r, task);
    const struct extra *x = task_extra_get(r, task);
    int64_t first = n->resources.memory_bytes, had = x->memory > 0 ? x->memory : first;
    if (!verb_external(n->verb) || task_is_loop(r, task)) return 0;
    bool grows = k->state == TASK_READY && k->reason == REASON_OOM;
    return grows ? retry_memory(&n->retry, first, had, r->head.memory_most) : had;
}

static void new_attempt(struct turn *t, uint32_t task, const struct step_decision *d)
{
    archive(t, task);
    int64_t memory = run_task_memory(t->r, task);
    struct extra *x = task_extra(t->r, task);
    text_set(t->r, &x->message, STR(""));
    text_set(t->r, &x->outputs, STR(""));
    x->decoded = NULL;
    x->memory = memory;
    x->attempt = d->attempt;
    x->bundle = 0;
    x->started_us = t->now_us > 0 ? t->now_us : 1;
    x->ended_us = x->due_us = x->log_bytes = 0;
    x->exit_code = -1;
}

static void forget_attempt(struct turn *t, uint32_t task)
{
    archive(t, task);
    if (t->r->tasks[task].extra == NONE) return;
    struct extra *x = task_extra(t->r, task);
    text_set(t->r, &x->message, STR(""));
    text_set(t->r, &x->outputs, STR(""));
    x->decoded = NULL;
    x->started_us = x->ended_us = x->due_us = x->log_bytes = x->memory = 0;
    x->failures = x->free_failures = 0;
    x->exit_code = -1;
    x->executor = 0;
}

static void take_result(struct turn *t, uint32_t task, const struct task_result *res)
{
    struct extra *x = task_extra(t->r, task);
    if (res->message.n > 0 || x->message) text_set(t->r, &x->message, res->message);
    if (res->outputs.n > 0) text_set(t->r, &x->outputs, res->outputs);
    x->decoded = NULL;
    if (res->exit_code >= 0) x->exit_code = res->exit_code;
    if (res->log_bytes > 0) x->log_bytes = res->log_bytes;
    if (res->started_us > 0) x->started_us = res->started_us;
    if (res->ended_us > 0) x->ended_us = res->ended_us;
}

static void keep_counts(struct turn *t, uint32_t task, const struct step_decision *d)
{
    const struct extra *has = task_extra_get(t->r, task);
    bool ended = task_state_terminal(d->state) || d->state == TASK_BACKOFF;
    if (has == &no_extra && d->failures == 0 && d->free_failures == 0) return;
    struct extra *x = task_extra(t->r, task);
    x->failures = d->failures;
    x->free_failures = (uint8_t)d->free_failures;
    if (ended && x->ended_us == 0 && x->started_us != 0) x->ended_us = t->now_us;
    if (d->state == TASK_BACKOFF)
        x->executor = 0;
    else if (task_state_terminal(d->state))
        x->due_us = 0;
}

static struct step_snapshot snapshot(const struct run *r, uint32_t task)
{
    const struct extra *x = task_extra_get(r, task);
    enum task_state state = (enum task_state)r->tasks[task].state;
    bool runs = in_use(state) && !task_is_container(r, task) && verb_external(run_task_node(r, task)->verb);
    return (struct step_snapshot){.state = state,
                                  .attempt = x->attempt,
                                  .failures = x->failures,
                                  .free_failures = x->free_failures,
                                  .has_executor = runs || (in_use(state) && x->child != NONE)};
}

/* The event that a new state writes; a start is written by who starts it, since some starts are also ends. */
static const enum event_kind entry_event[TASK_STATE_COUNT] = {
    [TASK_PENDING] = EVENT_TASK_RESET,       [TASK_WAITING] = EVENT_TASK_WAITING,
    [TASK_BACKOFF] = EVENT_TASK_RETRYING,    [TASK_STOPPING] = EVENT_TASK_STOPPING,
    [TASK_SUCCEEDED] = EVENT_TASK_SUCCEEDED, [TASK_FAILED] = EVENT_TASK_FAILED,
    [TASK_SKIPPED] = EVENT_TASK_SKIPPED,     [TASK_CANCELLED] = EVENT_TASK_CANCELLED,
};

bool task_step(struct turn *t, uint32_t task, const struct step_input *in, const struct task_result *res)
{
    struct run *r = t->r;
    struct step_snapshot s = snapshot(r, task);
    const struct retry *retry = task_is_loop(r, task) ? &no_retry : &run_task_node(r, task)->retry;
    struct step_decision d = step_decide(&s, retry, in);
    if (d.state == TASK_REFUSED) return false;
    bool again = s.state == TASK_STOPPING && d.state == TASK_STOPPING;
    if (in->event == STEP_START || in->event == STEP_WAIT) new_attempt(t, task, &d);
    if (in->event == STEP_RESET) forget_attempt(t, task);
    if (res) take_result(t, task, res);
    keep_counts(t, task, &d);
    set_state(r, task, d.state, d.reason);
    if (d.state == TASK_BACKOFF) due_set(t, task, d.due_us);
    if (entry_event[d.state] != EVENT_NONE && !again) task_event(t, entry_event[d.state], task);
    if (task_state_terminal(d.state)) {
        note_upstream_ended(r, task);
        frame_note_end(r, r->tasks[task].frame);
    }
    return true;
}

bool task_event_step(struct turn *t, uint32_t task, enum step_event event, enum reason why)
{
    return task_step(t, task, &(struct step_input){.event = event, .reason = why, .exit_code = -1, .now_us = t->now_us},
                     NULL);
}

void task_fail(struct turn *t, uint32_t task, enum failure f, enum reason why, struct str message)
{
    struct step_input in = {
        .event = STEP_FAIL, .failure = f, .reason = why, .exit_code = -1, .now_us = t->now_us, .random = t->random};
    task_step(t, task, &in, &(struct task_result){.message = message, .exit_code = -1});
}
