/* What tests of runs stand on: plans from build.h, and a rig that keeps a run's rows as a database would, so that
 * a run can be thrown away and restored at any moment. The rig checks what the real store checks: fences, unique keys,
 * states that do not come back. */
#ifndef TESTS_FLOW_RIG_H
#define TESTS_FLOW_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/flow/run.h"
#include "engine/text/json.h"
#include "tests/engine/flow/build.h"

#define NONE UINT32_MAX

/* ---- the rig ---- */

struct rig_row { /* of the table tasks */
    bool stored;
    struct task_row row;    /* strings are malloc'd copies */
    uint32_t generation_ok; /* successes of this row since its last reset */
};

struct rig_frame {
    struct frame_row row;
};

struct rig_attempt {
    uint32_t task, attempt;
    bool killed;
};

struct rig {
    const struct plan *plan;
    struct run_header head;
    struct run *run;
    struct arena arena;
    struct run_out out;
    int64_t now_us;
    uint64_t seed;

    struct rig_row *rows;
    uint32_t room;
    struct rig_frame *frames;
    uint32_t n_frames, room_frames;
    int32_t last_event;
    uint64_t *attempt_keys; /* of the table attempts: task << 32 | attempt */
    size_t n_attempt_keys, room_attempt_keys;
    struct run_summary stored; /* run's own row; strings not kept */
    char message[512], outputs[2048];
    char bundle[80], old_bundle[80]; /* the run's, "" = as it was made; that of the old attempt stored last */
    enum reason old_reason;          /* of the old attempt stored last */
    int64_t old_memory;
    bool finished;
    uint64_t transitions;
    uint32_t events_of[64];

    struct rig_attempt *world; /* attempts that run on the executor */
    uint32_t n_world, room_world;
    struct rig_attempt *asked; /* the cache */
    uint32_t n_asked, room_asked;
    int64_t timer_us; /* earliest; 0 = none */
    bool grace_seen;
    int64_t grace_ms;
};

static inline double rig_random(struct rig *g)
{
    g->seed ^= g->seed << 13;
    g->seed ^= g->seed >> 7;
    g->seed ^= g->seed << 17;
    return (double)(g->seed >> 11) / 9007199254740992.0;
}

static inline uint32_t rig_below(struct rig *g, uint32_t n)
{
    return n == 0 ? 0 : (uint32_t)(rig_random(g) * n) % n;
}

static inline void *rig_room(void *p, uint32_t *room, uint32_t need, size_t size)
{
    if (need <= *room) return p;
    uint32_t more = *room ? *room : 16;
    while (more < need)
        more *= 2;
    p = realloc(p, more * size);
    assert_non_null(p);
    memset((char *)p + *room * size, 0, (more - *room) * size);
    *room = more;
    return p;
}

static inline struct str rig_str(struct str s)
{
    if (s.n == 0) return (struct str){NULL, 0};
    char *p = malloc(s.n);
    assert_non_null(p);
    memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

static inline void rig_str_free(struct str s)
{
    free((void *)(uintptr_t)s.p);
}

static inline void rig_init(struct rig *g, const struct plan *plan, struct value params)
{
    *g = (struct rig){.plan = plan, .now_us = 1000000, .seed = 88172645463325252u, .last_event = 0};
    g->head = (struct run_header){.id = 7,
                                  .project_id = 1,
                                  .project = STR("default"),
                                  .name = STR("test-7"),
                                  .pipeline = STR("test"),
                                  .created_by = STR("me"),
                                  .bundle_digest = STR("sha256:old"),
                                  .params = params,
                                  .state = RUN_QUEUED,
                                  .next_event = 1,
                                  .json = json_decode};
    g->run = run_new(plan, &g->head);
    g->stored.state = RUN_QUEUED;
    arena_init(&g->arena, 0);
    run_out_init(&g->out, &g->arena);
}

static inline void rig_free(struct rig *g)
{
    run_free(g->run);
    for (uint32_t i = 0; i < g->room; i++) {
        rig_str_free(g->rows[i].row.message);
        rig_str_free(g->rows[i].row.executor);
        rig_str_free(g->rows[i].row.outputs);
    }
    for (uint32_t i = 0; i < g->n_frames; i++) {
        rig_str_free(g->frames[i].row.items);
        rig_str_free(g->frames[i].row.inputs);
    }
    free(g->rows);
    free(g->frames);
    free(g->attempt_keys);
    free(g->world);
    free(g->asked);
    arena_free(&g->arena);
}

/* ---- committing: what the store would check ---- */

static inline void rig_store_frame(struct rig *g, const struct new_frame *f)
{
    assert_int_equal(f->frame, g->n_frames + 1);
    g->frames = rig_room(g->frames, &g->room_frames, g->n_frames + 1, sizeof *g->frames);
    g->frames[g->n_frames++].row = (struct frame_row){.frame = f->frame,
                                                      .parent_task = f->parent_task,
                                                      .kind = f->kind,
                                                      .graph = f->graph,
                                                      .first_task = f->first_task,
                                                      .n = f->n,
                                                      .items = rig_str(f->items),
                                                      .inputs = rig_str(f->inputs),
                                                      .opened_us = f->opened_us};
}

/* A terminal state is left only by a reset; a success happens once. */
static inline void rig_check_move(struct rig *g, struct rig_row *old, const struct task_row *row)
{
    g->transitions++;
    if (row->attempt < old->row.attempt) fail_msg("task %u: attempt went back", row->task);
    bool superseded = row->reason == REASON_SUPERSEDED;
    if (old->stored && task_state_terminal(old->row.state) && row->state != old->row.state && !superseded) {
        if (row->attempt == old->row.attempt && row->state != TASK_PENDING && row->state != TASK_READY &&
            row->state != TASK_SKIPPED && row->state != TASK_CANCELLED && row->state != TASK_FAILED)
            fail_msg("task %u: %s became %s", row->task, task_state_name(old->row.state), task_state_name(row->state));
        old->generation_ok = 0;
    }
    if (row->state == TASK_SUCCEEDED && old->row.state != TASK_SUCCEEDED && ++old->generation_ok > 1)
        fail_msg("task %u succeeded twice", row->task);
}

static inline void rig_store_task(struct rig *g, size_t i)
{
    struct task_row row;
    run_dirty_row(g->run, i, &g->arena, &row);
    g->rows = rig_room(g->rows, &g->room, row.task + 1, sizeof *g->rows);
    struct rig_row *old = &g->rows[row.task];
    if (row.stored != old->stored) fail_msg("task %u: stored is told wrongly", row.task);
    if (row.stored && (row.stored_attempt != old->row.attempt || row.stored_state != old->row.state))
        fail_msg("task %u: fence says %s %u, row has %s %u", row.task, task_state_name(row.stored_state),
                 row.stored_attempt, task_state_name(old->row.state), old->row.attempt);
    rig_check_move(g, old, &row);
    bool begins = row.state == TASK_RUNNING && row.attempt > old->row.attempt;
    if (begins && g->stored.stop != RUN_REFUSED && row.frame == 0 &&
        run_task_node(g->run, row.task)->after == AFTER_NONE)
        fail_msg("task %u begins in a run that is being stopped", row.task);
    struct task_row gone = old->row;
    if (old->stored && row.attempt == gone.attempt) {
        row.bundle = gone.bundle;
        row.other_bundle = gone.other_bundle;
    }
    old->row = row;
    old->row.path = (struct str){0};
    old->row.message = rig_str(row.message);
    old->row.executor = rig_str(row.executor);
    old->row.outputs = rig_str(row.outputs);
    old->stored = true;
    rig_str_free(gone.message);
    rig_str_free(gone.executor);
    rig_str_free(gone.outputs);
}

/* What has begun or ended well has only ended tasks upstream, by the rows alone; frames of loops have no upstream
 * inside. */
static inline void rig_check_upstream(struct rig *g, uint32_t task)
{
    const struct task_row *row = &g->rows[task].row;
    const struct frame_row *f = row->frame == 0 ? NULL : &g->frames[row->frame - 1].row;
    if (row->state == TASK_PENDING || task_state_terminal(row->state) || (f && f->kind != 1)) return;
    uint32_t first = f ? f->first_task : 0;
    const struct node *n = run_task_node(g->run, task);
    for (uint32_t i = 0; i < n->n_deps; i++) {
        uint32_t up = first + n->deps[i];
        if (up >= g->room || !g->rows[up].stored || !task_state_terminal(g->rows[up].row.state))
            fail_msg("task %u is stored as %s before task %u has ended", task, task_state_name(row->state), up);
    }
}

static inline void rig_store_attempt(struct rig *g, const struct old_attempt *o)
{
    uint64_t key = (uint64_t)o->task << 32 | o->attempt;
    for (size_t i = 0; i < g->n_attempt_keys; i++)
        if (g->attempt_keys[i] == key) fail_msg("attempt %u of task %u is recorded twice", o->attempt, o->task);
    uint32_t room = (uint32_t)g->room_attempt_keys;
    g->attempt_keys = rig_room(g->attempt_keys, &room, (uint32_t)g->n_attempt_keys + 1, sizeof *g->attempt_keys);
    g->room_attempt_keys = room;
    g->attempt_keys[g->n_attempt_keys++] = key;
    assert_true(task_state_terminal(o->state));
    assert_true(o->started_us > 0);
    g->old_reason = o->reason;
    g->old_memory = o->memory_bytes;
    snprintf(g->old_bundle, sizeof g->old_bundle, "%.*s", STR_ARG(o->bundle_digest));
}

/* Rows that had an attempt keep the code of before. */
static inline void rig_store_bundle(struct rig *g)
{
    struct run_summary s;
    run_summary(g->run, &g->arena, &s);
    if (!s.bundle_changed) return;
    static char before[16][80]; /* rows point into it */
    static unsigned n;
    char *old = before[n++ % 16];
    snprintf(old, sizeof before[0], "%.*s", STR_ARG(g->bundle[0] ? str_of(g->bundle) : g->head.bundle_digest));
    for (uint32_t i = 0; i < g->room; i++) {
        struct task_row *row = &g->rows[i].row;
        if (!g->rows[i].stored || row->attempt == 0 || row->other_bundle) continue;
        row->other_bundle = true;
        row->bundle = str_of(old);
    }
    snprintf(g->bundle, sizeof g->bundle, "%.*s", STR_ARG(s.bundle));
}

/* Every attempt before a row's own is on record. */
static inline void rig_check_attempts(struct rig *g)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < g->room; i++)
        if (g->rows[i].stored && g->rows[i].row.attempt > 0) before += g->rows[i].row.attempt - 1;
    uint64_t own = 0; /* of rows that were reset: their attempt is old as well */
    for (size_t i = 0; i < g->n_attempt_keys; i++) {
        uint32_t task = (uint32_t)(g->attempt_keys[i] >> 32), attempt = (uint32_t)g->attempt_keys[i];
        if (attempt > g->rows[task].row.attempt) fail_msg("task %u never had attempt %u", task, attempt);
        if (attempt == g->rows[task].row.attempt) own++;
    }
    if (before + own != g->n_attempt_keys) fail_msg("%zu old attempts are on record, not all", g->n_attempt_keys);
}

static inline void rig_world_add(struct rig *g, const struct effect *e)
{
    for (uint32_t i = 0; i < g->n_world; i++)
        if (g->world[i].task == e->task && g->world[i].attempt == e->attempt)
            return; /* a known name is not launched again */
    g->world = rig_room(g->world, &g->room_world, g->n_world + 1, sizeof *g->world);
    g->world[g->n_world++] = (struct rig_attempt){e->task, e->attempt, false};
}

static inline void rig_effect(struct rig *g, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_LAUNCH:
    case EFFECT_HTTP:
    case EFFECT_IMPORT: rig_world_add(g, e); break;
    case EFFECT_KILL:
        g->grace_seen = true;
        g->grace_ms = e->grace_ms;
        rig_world_add(g, e); /* one that is not known any more ends as lost */
        for (uint32_t i = 0; i < g->n_world; i++)
            if (g->world[i].task == e->task && g->world[i].attempt == e->attempt) g->world[i].killed = true;
        break;
    case EFFECT_CACHE:
        g->asked = rig_room(g->asked, &g->room_asked, g->n_asked + 1, sizeof *g->asked);
        g->asked[g->n_asked++] = (struct rig_attempt){e->task, e->attempt, false};
        break;
    case EFFECT_TIMER:
        if (g->timer_us == 0 || e->due_us < g->timer_us) g->timer_us = e->due_us;
        break;
    case EFFECT_FINISHED: g->finished = true; break;
    }
}

static inline void rig_verify(struct rig *g)
{
    struct err err = {0};
    if (!run_verify(g->run, &err)) fail_msg("%s", err.message);
}

static inline void rig_store_run(struct rig *g)
{
    struct run_summary s;
    run_summary(g->run, &g->arena, &s);
    if (!s.state_changed) return;
    g->stored = s;
    snprintf(g->message, sizeof g->message, "%.*s", STR_ARG(s.message));
    snprintf(g->outputs, sizeof g->outputs, "%.*s", STR_ARG(s.outputs));
}

static inline void rig_commit(struct rig *g)
{
    for (size_t i = 0; i < g->out.n_frames; i++)
        rig_store_frame(g, &g->out.frames[i]);
    rig_store_bundle(g);
    size_t n = run_dirty_count(g->run);
    for (size_t i = 0; i < n; i++)
        rig_store_task(g, i);
    for (size_t i = 0; i < n; i++) {
        struct task_row row;
        run_dirty_row(g->run, i, &g->arena, &row);
        rig_check_upstream(g, row.task);
    }
    for (size_t i = 0; i < g->out.n_attempts; i++)
        rig_store_attempt(g, &g->out.attempts[i]);
    for (size_t i = 0; i < g->out.n_events; i++) {
        assert_int_equal(g->out.events[i].seq, ++g->last_event);
        g->events_of[g->out.events[i].kind]++;
    }
    rig_store_run(g);
    run_committed(g->run);
    for (size_t i = 0; i < g->out.n_effects; i++)
        rig_effect(g, &g->out.effects[i]);
    arena_reset(&g->arena);
    run_out_init(&g->out, &g->arena);
}

/* The process dies: what was not committed is lost, the run comes back from its rows. */
static inline void rig_crash(struct rig *g)
{
    run_free(g->run);
    arena_reset(&g->arena);
    run_out_init(&g->out, &g->arena);
    g->n_asked = 0;
    g->timer_us = 0;
    struct run_header h = g->head;
    h.state = g->stored.state;
    h.stop = g->stored.stop;
    h.stop_exits = g->stored.stop_exits;
    h.grace_ms = g->stored.grace_ms;
    if (g->bundle[0]) h.bundle_digest = str_of(g->bundle);
    h.started_us = g->stored.started_us;
    h.generation = g->stored.generation;
    h.next_event = g->last_event + 1;
    g->run = run_new(g->plan, &h);
    struct err err = {0};
    for (uint32_t i = 0; i < g->n_frames; i++)
        if (!run_restore_frame(g->run, &g->frames[i].row, &err)) fail_msg("%s", err.message);
    for (uint32_t i = 0; i < g->room; i++) {
        if (!g->rows[i].stored) continue;
        struct task_row row = g->rows[i].row;
        row.stored_attempt = row.attempt;
        row.stored_state = row.state;
        if (!run_restore_task(g->run, &row, &err)) fail_msg("%s", err.message);
    }
    if ((h.state != RUN_QUEUED || h.generation > 0) && !run_restored(g->run, g->now_us, &g->out, &err))
        fail_msg("%s", err.message);
}

/* ---- driving ---- */

static inline void rig_begin(struct rig *g)
{
    run_begin(g->run, g->now_us, &g->out);
}

/* One turn as the scheduler does it. True when there is more to do. */
static inline bool rig_turn(struct rig *g)
{
    g->now_us += 1000;
    uint32_t budget = 1000;
    bool more = run_advance(g->run, &budget, g->now_us, &g->out);
    for (uint32_t task; (task = run_ready_next(g->run, NONE)) != NONE;)
        run_start_task(g->run, task, STR("process:1"), g->now_us, &g->out);
    rig_commit(g);
    return more;
}

static inline void rig_settle(struct rig *g)
{
    for (int i = 0; i < 10000 && rig_turn(g); i++)
        ;
    rig_verify(g);
}

static inline uint32_t rig_task(struct rig *g, const char *path)
{
    uint32_t task = run_task_find(g->run, str_of(path));
    if (task == NONE) fail_msg("no task %s", path);
    return task;
}

static inline enum task_state rig_state(struct rig *g, const char *path)
{
    return run_task_state(g->run, rig_task(g, path));
}

static inline void rig_expect(struct rig *g, const char *path, enum task_state want)
{
    enum task_state got = rig_state(g, path);
    if (got != want) fail_msg("%s is %s, not %s", path, task_state_name(got), task_state_name(want));
}

static inline void rig_expect_reason(struct rig *g, const char *path, enum task_state want, enum reason why)
{
    rig_expect(g, path, want);
    enum reason got = g->rows[rig_task(g, path)].row.reason;
    if (got != why) fail_msg("%s: reason %s, not %s", path, reason_name(got), reason_name(why));
}

static inline void rig_expect_run(struct rig *g, enum run_state want)
{
    if (run_state_of(g->run) != want)
        fail_msg("the run is %s (%s), not %s", run_state_name(run_state_of(g->run)), g->message, run_state_name(want));
}

static inline bool rig_end_with(struct rig *g, uint32_t task, uint32_t attempt, struct task_result res)
{
    for (uint32_t i = 0; i < g->n_world; i++) {
        if (g->world[i].task != task || g->world[i].attempt != attempt) continue;
        g->world[i] = g->world[--g->n_world];
        break;
    }
    g->now_us += 1000;
    return run_task_ended(g->run, task, attempt, &res, g->now_us, rig_random(g), &g->out);
}

static inline void rig_ok(struct rig *g, const char *path, const char *outputs)
{
    uint32_t task = rig_task(g, path);
    if (!rig_end_with(g, task, run_task_attempt(g->run, task),
                      (struct task_result){.ok = true, .outputs = str_of(outputs)}))
        fail_msg("%s does not run", path);
}

static inline void rig_fail(struct rig *g, const char *path, enum failure f, int32_t exit_code)
{
    uint32_t task = rig_task(g, path);
    struct task_result res = {.failure = f, .exit_code = exit_code, .message = STR("it went wrong")};
    if (!rig_end_with(g, task, run_task_attempt(g->run, task), res)) fail_msg("%s does not run", path);
}

static inline bool rig_command(struct rig *g, enum command c, const char *json, struct err *err)
{
    struct value payload = value_null();
    if (json && !json_decode(&g->arena, str_of(json), &payload, err)) return false;
    g->now_us += 1000;
    return run_command(g->run, c, &payload, g->now_us, &g->out, err);
}

static inline void rig_do(struct rig *g, enum command c, const char *json)
{
    struct err err = {0};
    if (!rig_command(g, c, json, &err)) fail_msg("%s", err.message);
}

static inline void rig_time(struct rig *g, int64_t ms)
{
    g->now_us += ms * 1000;
    if (g->timer_us == 0 || g->timer_us > g->now_us) return;
    g->timer_us = 0;
    run_timer(g->run, g->now_us, rig_random(g), &g->out);
}

#endif
