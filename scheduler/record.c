/* A turn's changes as rows of its transaction. See engine/store/batch.h for the columns. */
#include "engine/base/jsonw.h"
#include "engine/store/names.h"
#include "engine/text/json.h"
#include "scheduler/core.h"
#include "scheduler/launching.h"
#include "scheduler/placing.h"

#define WAITING_EXAMPLES 20
#define WAITING_FIRST_US 300000
#define WAITING_EVERY_US 1000000

static void record_frames(struct batch *b, const struct live *l)
{
    const enum batch_table t = BATCH_FRAMES;
    for (size_t i = 0; i < l->out.n_frames; i++) {
        const struct new_frame *f = &l->out.frames[i];
        batch_row(b, t);
        batch_int(b, t, l->id);
        batch_int(b, t, f->frame);
        batch_int(b, t, l->project_id);
        batch_text(b, t, l->created_by);
        batch_int(b, t, f->parent_task);
        batch_int(b, t, f->kind);
        batch_int(b, t, f->graph);
        batch_int(b, t, f->first_task);
        batch_int(b, t, f->n);
        batch_text_or_null(b, t, f->items);
        batch_text_or_null(b, t, f->inputs);
        batch_time(b, t, f->opened_us);
    }
}

static void record_events(struct batch *b, const struct live *l)
{
    const enum batch_table t = BATCH_EVENTS;
    for (size_t i = 0; i < l->out.n_events; i++) {
        const struct run_event *e = &l->out.events[i];
        batch_row(b, t);
        batch_int(b, t, l->id);
        batch_int(b, t, e->seq);
        batch_int(b, t, l->project_id);
        batch_text(b, t, l->created_by);
        batch_time(b, t, e->at_us);
        batch_int(b, t, e->kind);
        if (e->task < 0) {
            batch_null(b, t);
            batch_null(b, t);
        } else {
            batch_int(b, t, e->task);
            batch_int(b, t, e->attempt);
        }
        batch_text_or_null(b, t, e->detail);
    }
}

static void batch_bytes(struct batch *b, enum batch_table t, int64_t bytes)
{
    if (bytes > 0)
        batch_int(b, t, bytes);
    else
        batch_null(b, t);
}

static void record_attempts(struct batch *b, const struct live *l)
{
    const enum batch_table t = BATCH_ATTEMPTS;
    for (size_t i = 0; i < l->out.n_attempts; i++) {
        const struct old_attempt *o = &l->out.attempts[i];
        batch_row(b, t);
        batch_int(b, t, l->id);
        batch_int(b, t, o->task);
        batch_int(b, t, o->attempt);
        batch_int(b, t, l->project_id);
        batch_text(b, t, l->created_by);
        batch_int(b, t, o->state);
        batch_int(b, t, o->reason);
        batch_text_or_null(b, t, o->message);
        batch_int(b, t, o->exit_code);
        batch_text_or_null(b, t, o->bundle_digest);
        batch_time(b, t, o->started_us);
        batch_time(b, t, o->ended_us);
        batch_int(b, t, o->log_bytes);
        batch_bytes(b, t, o->memory_bytes);
    }
}

/* The columns that insert and update share, in the same order. */
static void record_task_state(struct batch *b, enum batch_table t, const struct task_row *row)
{
    batch_int(b, t, row->state);
    batch_int(b, t, row->attempt);
    batch_int(b, t, row->failures);
    batch_int(b, t, row->free_failures);
    batch_int(b, t, row->reason);
    batch_text_or_null(b, t, row->message);
    if (row->exit_code < 0)
        batch_null(b, t);
    else
        batch_int(b, t, row->exit_code);
    batch_time(b, t, row->due_us);
    batch_text_or_null(b, t, row->executor);
    batch_text_or_null(b, t, row->outputs);
    batch_time(b, t, row->started_us);
    batch_time(b, t, row->ended_us);
    batch_int(b, t, row->log_bytes);
    batch_bytes(b, t, row->memory_bytes);
}

/* Others may import what a step's outputs name, at any time. */
static void record_names(struct batch *b, const struct live *l, struct str outputs)
{
    struct str name;
    while (names_next(&outputs, &name)) {
        batch_row(b, BATCH_NAMES);
        batch_int(b, BATCH_NAMES, l->id);
        batch_int(b, BATCH_NAMES, l->project_id);
        batch_text(b, BATCH_NAMES, name);
    }
}

static void record_tasks(struct scheduler *s, struct live *l)
{
    struct batch *b = core_batch(s, l);
    size_t n = run_dirty_count(l->run);
    for (size_t i = 0; i < n; i++) {
        struct task_row row;
        run_dirty_row(l->run, i, &s->arena, &row);
        enum batch_table t = row.stored ? BATCH_TASK_UPDATE : BATCH_TASK_INSERT;
        batch_row(b, t);
        batch_int(b, t, l->id);
        batch_int(b, t, row.task);
        if (row.stored) {
            batch_int(b, t, row.stored_attempt);
            batch_int(b, t, row.stored_state);
        } else {
            batch_int(b, t, l->project_id);
            batch_text(b, t, l->created_by);
            batch_int(b, t, row.frame);
            batch_text(b, t, row.path);
        }
        record_task_state(b, t, &row);
        record_names(b, l, row.outputs);
    }
}

static void record_finish(struct batch *b, const struct live *l, const struct run_summary *sum, int64_t now_us)
{
    const enum batch_table t = BATCH_RUN_FINISH;
    batch_row(b, t);
    batch_int(b, t, l->id);
    batch_int(b, t, sum->state);
    batch_text_or_null(b, t, sum->message);
    batch_text_or_null(b, t, sum->outputs);
    batch_int(b, t, sum->tasks_total);
    batch_int(b, t, sum->tasks_failed);
    batch_time(b, t, sum->started_us);
    batch_time(b, t, sum->ended_us != 0 ? sum->ended_us : now_us);
}

struct room {
    struct scheduler *s;
    const struct live *l;
};

static void room_reason(const void *ctx, uint32_t task, struct buf *text)
{
    const struct room *room = ctx;
    struct scheduler *s = room->s;
    if (s->cfg.executor == NULL)
        buf_c(text, "waits for a server that runs local steps: this one was started with --local-exec=false");
    else if (!placing_reason(room->l, task, text))
        admit_reason(s, room->l, task, text);
}

static bool next_starting(const void *ctx, const void **cursor, uint32_t *task, struct str *why)
{
    const struct room *room = ctx;
    const struct starting *before = *cursor, *s = before != NULL ? before->next : room->l->starting;
    if (s == NULL) return false;
    *cursor = s;
    *task = s->task;
    *why = str_of(s->why);
    return true;
}

/* Most runs never wait that long. Others' use of the machine changes reasons without a turn of the run. */
static void record_waiting(struct scheduler *s, struct live *l)
{
    if (l->finished || (l->waiting_told == 0 && l->starting == NULL && !run_waits(l->run))) return;
    if (l->waiting_due_us == 0) l->waiting_due_us = s->now_us + WAITING_FIRST_US;
    if (s->now_us < l->waiting_due_us) {
        live_timer(&s->live, l, l->waiting_due_us);
        return;
    }
    const struct room room = {s, l};
    BUF_AUTO text;
    buf_init(&text, 0);
    const struct run_waiting how = {.max = WAITING_EXAMPLES, .room = room_reason, .next = next_starting, .ctx = &room};
    run_waiting_json(l->run, &how, &text);
    l->waiting_due_us = s->now_us + WAITING_EVERY_US;
    if (run_ready_next(l->run, UINT32_MAX) != UINT32_MAX) live_timer(&s->live, l, s->now_us + 2 * WAITING_EVERY_US);
    uint64_t hash = str_hash(buf_view(&text)) | 1;
    if (hash == l->waiting_told) return;
    l->waiting_told = hash;
    struct batch *b = core_batch(s, l);
    batch_row(b, BATCH_WAITING);
    batch_int(b, BATCH_WAITING, l->id);
    batch_text(b, BATCH_WAITING, buf_view(&text));
}

static void record_run(struct scheduler *s, struct live *l)
{
    struct batch *b = core_batch(s, l);
    struct run_summary sum;
    run_summary(l->run, &s->arena, &sum);
    if (sum.bundle_changed) {
        batch_row(b, BATCH_RUN_BUNDLE);
        batch_int(b, BATCH_RUN_BUNDLE, l->id);
        batch_text(b, BATCH_RUN_BUNDLE, sum.bundle);
    }
    if (!sum.state_changed && !l->refinish) return;
    if (run_state_terminal(sum.state)) {
        l->finished = true;
        record_finish(b, l, &sum, s->now_us);
        return;
    }
    const enum batch_table t = BATCH_RUN_STATE;
    batch_row(b, t);
    batch_int(b, t, l->id);
    batch_int(b, t, sum.state);
    batch_int(b, t, sum.stop);
    batch_int(b, t, sum.stop_exits);
    batch_int(b, t, sum.grace_ms);
    batch_int(b, t, sum.generation);
    batch_time(b, t, sum.started_us);
}

void record_turn(struct scheduler *s)
{
    for (struct live *l = s->touched; l != NULL; l = l->next_touched) {
        record_run(s, l);
        if (l->n_placings > 0) placing_settle(s, l);
        record_frames(core_batch(s, l), l);
        record_tasks(s, l);
        record_attempts(core_batch(s, l), l);
        record_events(core_batch(s, l), l);
        record_waiting(s, l);
    }
}

/* ---- what an attempt left ---- */

void record_artifact(struct scheduler *s, struct live *l, struct attempt_id by, const struct exec_output *o)
{
    struct batch *b = core_batch(s, l);
    batch_row(b, BATCH_BLOBS);
    batch_int(b, BATCH_BLOBS, l->project_id);
    batch_text(b, BATCH_BLOBS, o->digest);
    batch_int(b, BATCH_BLOBS, o->size);
    batch_text(b, BATCH_BLOBS, l->created_by);

    const enum batch_table t = BATCH_ARTIFACTS;
    batch_row(b, t);
    batch_int(b, t, l->project_id);
    batch_text(b, t, l->created_by);
    batch_int(b, t, l->id);
    batch_int(b, t, by.task);
    batch_int(b, t, by.attempt);
    batch_text(b, t, o->name);
    batch_text(b, t, o->type);
    batch_text(b, t, o->digest);
    batch_int(b, t, o->size);
    batch_text_or_null(b, t, o->metadata);
}

void record_use(struct scheduler *s, const struct live *l, struct attempt_id by, struct str input, struct str digest)
{
    const enum batch_table t = BATCH_USES;
    struct batch *b = &s->batch; /* at a launch the turn's own rows are written: these go with the next one's */
    batch_row(b, t);
    batch_int(b, t, l->id);
    batch_int(b, t, by.task);
    batch_int(b, t, by.attempt);
    batch_text(b, t, input);
    batch_int(b, t, l->project_id);
    batch_text(b, t, l->created_by);
    batch_text(b, t, digest);
    s->more = true;
}

static void record_cache(struct scheduler *s, struct live *l, const struct exec_event *e)
{
    const struct node *n = run_task_node(l->run, e->id.task);
    if (!n->cache.on) return;
    struct str key;
    struct err err = {0};
    if (!launching_cache_key(s, l, e->id.task, &key, &err)) return; /* was fine at its start: its inputs are durable */
    const enum batch_table t = BATCH_CACHE;
    struct batch *b = core_batch(s, l);
    batch_row(b, t);
    batch_int(b, t, l->project_id);
    batch_text(b, t, key);
    batch_text(b, t, l->created_by);
    batch_int(b, t, l->id);
    batch_int(b, t, e->id.task);
    batch_int(b, t, e->id.attempt);
    batch_text(b, t, e->result.outputs.n > 0 ? e->result.outputs : STR("{}"));
    batch_time(b, t, s->now_us);
    batch_time(b, t, n->cache.ttl_ms > 0 ? s->now_us + n->cache.ttl_ms * 1000 : 0);
}

void record_result(struct scheduler *s, struct live *l, const struct exec_event *e)
{
    if (!e->result.ok) return;
    for (size_t i = 0; i < e->n_artifacts; i++)
        record_artifact(s, l, e->id, &e->artifacts[i]);
    record_cache(s, l, e);
}
