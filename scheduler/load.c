/* From the store into memory: active runs, their frames and tasks. Used at start, after a lost connection, and for new
 * runs. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/os/log.h"
#include "engine/store/row.h"
#include "engine/text/json.h"
#include "scheduler/placing.h"

#define RUNS_AT_ONCE 200 /* bounds the memory of one answer */

static bool has_priorities(const struct plan *p)
{
    for (uint32_t g = 0; g < p->n_graphs; g++)
        for (uint32_t i = 0; i < p->graphs[g].n_nodes; i++)
            if (p->graphs[g].nodes[i].priority != 0) return true;
    return false;
}

static bool load_plan(struct scheduler *s, int64_t id, struct plan_ref **out, struct err *err)
{
    struct plan_ref *ref = live_plan_find(&s->live, id);
    if (ref == NULL) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)id);
        const char *const params[] = {number};
        RESULT_AUTO res = NULL;
        if (!hot_query(s->hot, Q_HOT_PLAN, params, 1, &res, err)) return false;
        if (PQntuples(res) == 0) return err_set(err, ERR_INTERNAL, "plan %lld is gone", (long long)id);
        ref = live_plan_add(&s->live, id);
        struct value json;
        if (!json_reload(&ref->arena, row_str(res, 0, 0), &json, err) ||
            !plan_load(&ref->arena, &json, &ref->plan, err)) {
            ref->plan = NULL;
            live_plan_drop(&s->live, ref);
            return false;
        }
        ref->ranked = has_priorities(ref->plan);
    }
    ref->users++;
    *out = ref;
    return true;
}

/* Columns of hot_runs. */
enum {
    RUN_ID,
    RUN_PROJECT,
    RUN_PROJECT_NAME,
    RUN_NAME,
    RUN_PIPELINE,
    RUN_CREATED_BY,
    RUN_BUNDLE,
    RUN_PARAMS,
    RUN_CREATED_AT,
    RUN_STARTED_AT,
    RUN_STATE,
    RUN_STOP,
    RUN_STOP_EXITS,
    RUN_GRACE,
    RUN_GENERATION,
    RUN_PLAN,
    RUN_SHARD,
    RUN_LAST_EVENT,
    RUN_IGNORE_CPU,
    RUN_IGNORE_MEMORY,
    RUN_IGNORE_GPU
};

static bool load_run(struct scheduler *s, const PGresult *res, int i, struct err *err)
{
    int64_t id = row_int(res, i, RUN_ID);
    struct plan_ref *plan = NULL;
    if (!load_plan(s, row_int(res, i, RUN_PLAN), &plan, err)) return false;
    struct run_header h = {
        .id = id,
        .project_id = row_int(res, i, RUN_PROJECT),
        .project = row_str(res, i, RUN_PROJECT_NAME),
        .name = row_str(res, i, RUN_NAME),
        .pipeline = row_str(res, i, RUN_PIPELINE),
        .created_by = row_str(res, i, RUN_CREATED_BY),
        .bundle_digest = row_str(res, i, RUN_BUNDLE),
        .created_us = row_time(res, i, RUN_CREATED_AT),
        .started_us = row_time(res, i, RUN_STARTED_AT),
        .state = (enum run_state)row_int(res, i, RUN_STATE),
        .stop = (enum run_state)row_int(res, i, RUN_STOP),
        .stop_exits = row_int(res, i, RUN_STOP_EXITS) != 0,
        .grace_ms = row_int(res, i, RUN_GRACE),
        .next_event = (int32_t)row_int(res, i, RUN_LAST_EVENT) + 1,
        .generation = (uint32_t)row_int(res, i, RUN_GENERATION),
        .memory_most = s->capacity.memory_total,
        .json = json_reload,
    };
    if (!json_reload(&s->arena, row_str(res, i, RUN_PARAMS), &h.params, err)) {
        live_plan_drop(&s->live, plan);
        return false;
    }
    struct live *l = live_add(&s->live, id);
    l->project_id = h.project_id;
    l->shard = (uint16_t)row_int(res, i, RUN_SHARD);
    l->ignore_cpu = row_int(res, i, RUN_IGNORE_CPU) != 0;
    l->ignore_memory = row_int(res, i, RUN_IGNORE_MEMORY) != 0;
    l->ignore_gpu = row_int(res, i, RUN_IGNORE_GPU) != 0;
    l->plan = plan;
    s->live.n_ranked += plan->ranked;
    l->run = run_new(plan->plan, &h);
    l->created_by = run_head(l->run)->created_by;
    return true;
}

static bool load_frames(struct scheduler *s, const char *ids, struct err *err)
{
    const char *const params[] = {ids};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_FRAMES, params, 1, &res, err)) return false;
    for (int i = 0; i < PQntuples(res); i++) {
        struct live *l = live_get(&s->live, row_int(res, i, 0));
        if (l == NULL) continue;
        struct frame_row f = {.frame = (uint32_t)row_int(res, i, 1),
                              .parent_task = (uint32_t)row_int(res, i, 2),
                              .kind = (uint32_t)row_int(res, i, 3),
                              .graph = (uint32_t)row_int(res, i, 4),
                              .first_task = (uint32_t)row_int(res, i, 5),
                              .n = (uint32_t)row_int(res, i, 6),
                              .items = row_str(res, i, 7),
                              .inputs = row_str(res, i, 8),
                              .opened_us = row_time(res, i, 9)};
        if (!run_restore_frame(l->run, &f, err)) return false;
    }
    return true;
}

static bool load_tasks(struct scheduler *s, const char *ids, struct err *err)
{
    const char *const params[] = {ids};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_TASKS, params, 1, &res, err)) return false;
    for (int i = 0; i < PQntuples(res); i++) {
        struct live *l = live_get(&s->live, row_int(res, i, 0));
        if (l == NULL) continue;
        struct task_row t = {.task = (uint32_t)row_int(res, i, 1),
                             .frame = (uint32_t)row_int(res, i, 2),
                             .stored = true,
                             .state = (enum task_state)row_int(res, i, 3),
                             .reason = (enum reason)row_int(res, i, 4),
                             .attempt = (uint32_t)row_int(res, i, 5),
                             .failures = (uint32_t)row_int(res, i, 6),
                             .free_failures = (uint32_t)row_int(res, i, 7),
                             .message = row_str(res, i, 8),
                             .executor = row_str(res, i, 9),
                             .outputs = row_str(res, i, 10),
                             .exit_code = (int32_t)row_int(res, i, 11),
                             .due_us = row_time(res, i, 12),
                             .started_us = row_time(res, i, 13),
                             .ended_us = row_time(res, i, 14),
                             .log_bytes = row_int(res, i, 15),
                             .memory_bytes = row_int(res, i, 17),
                             .bundle = row_str(res, i, 16),
                             .other_bundle = !row_null(res, i, 16)};
        t.stored_attempt = t.attempt;
        t.stored_state = t.state;
        if (!run_restore_task(l->run, &t, err)) return false;
        if (t.executor.n > 0 && !task_state_terminal(t.state)) {
            struct restored *r = arena_new(&s->arena, struct restored);
            *r = (struct restored){t.task, arena_str(&s->arena, t.executor), l->restored};
            l->restored = r;
        }
    }
    return true;
}

/* One bounded portion: the runs of `ids` that are active, ours and not in memory yet. */
static bool load_portion(struct scheduler *s, const int64_t *ids, size_t n, struct err *err)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    size_t wanted = 0;
    buf_char(&text, '{');
    for (size_t i = 0; i < n; i++)
        if (live_get(&s->live, ids[i]) == NULL) buf_printf(&text, "%s%lld", wanted++ > 0 ? "," : "", (long long)ids[i]);
    buf_char(&text, '}');
    if (wanted == 0) return true;
    const char *const params[] = {text.p};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_RUNS, params, 1, &res, err)) return false;
    int64_t *fresh = arena_array(&s->arena, int64_t, (size_t)PQntuples(res) + 1);
    bool *started = arena_array(&s->arena, bool, (size_t)PQntuples(res) + 1);
    size_t n_fresh = 0;
    bool any_started = false;
    for (int i = 0; i < PQntuples(res); i++) {
        if (!hot_owns(s->hot, (uint16_t)row_int(res, i, RUN_SHARD))) continue;
        struct err bad = {0};
        if (!load_run(s, res, i, &bad)) {
            if (bad.code == ERR_UNAVAILABLE) {
                if (err != NULL) *err = bad;
                return false;
            }
            log_err(LEVEL_ERROR, "a run cannot be loaded", &bad);
            continue;
        }
        started[n_fresh] = row_time(res, i, RUN_STARTED_AT) != 0;
        any_started = any_started || started[n_fresh];
        fresh[n_fresh++] = row_int(res, i, RUN_ID);
    }
    if (any_started && (!load_frames(s, text.p, err) || !load_tasks(s, text.p, err) || !placing_load(s, text.p, err)))
        return false;
    for (size_t i = 0; i < n_fresh; i++) {
        struct live *l = live_get(&s->live, fresh[i]);
        struct run_out *out = core_touch(s, l);
        if (!started[i]) continue; /* hear.c begins it */
        struct err bad = {0};
        if (!run_restored(l->run, s->now_us, out, &bad)) {
            log_err(LEVEL_ERROR, "a run cannot be restored", &bad);
            continue;
        }
        admit_restored(s, l);
    }
    s->stats.runs = (uint32_t)s->live.n;
    return true;
}

bool load_runs(struct scheduler *s, const int64_t *ids, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i += RUNS_AT_ONCE)
        if (!load_portion(s, ids + i, n - i < RUNS_AT_ONCE ? n - i : RUNS_AT_ONCE, err)) return false;
    return true;
}

bool load_shards(struct scheduler *s, const uint16_t *shards, size_t n, struct err *err)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_char(&text, '{');
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s%u", i > 0 ? "," : "", shards[i]);
    buf_char(&text, '}');
    const char *const params[] = {text.p};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_ACTIVE_RUNS, params, 1, &res, err)) return false;
    int count = PQntuples(res);
    int64_t *ids = arena_array(&s->arena, int64_t, (size_t)count + 1);
    for (int i = 0; i < count; i++)
        ids[i] = row_int(res, i, 0);
    return load_runs(s, ids, (size_t)count, err);
}
