/* What happened since the last turn: commands of the API, ends of attempts, timers. Each becomes a call on its run. */
#include <stdlib.h>

#include "engine/os/log.h"
#include "engine/store/row.h"
#include "engine/text/json.h"
#include "scheduler/chores.h"
#include "scheduler/placing.h"

/* ---- commands ---- */

/* The API's rows of a run that is terminal already, or was deleted, are done by being removed. */
static void apply_command(struct scheduler *s, const PGresult *res, int i)
{
    enum command c = (enum command)row_int(res, i, 2);
    struct live *l = live_get(&s->live, row_int(res, i, 1));
    if (l == NULL || l->finished) return;
    struct run_out *out = core_touch(s, l);
    if (c == COMMAND_START) return; /* it is loaded: begin_new does the rest */
    struct value payload = value_null();
    struct err err = {0};
    struct str text = row_str(res, i, 3);
    bool ok = text.n == 0 || json_parse(&s->arena, text, 16, &payload, &err);
    if (ok && (c == COMMAND_PLACED || c == COMMAND_PREEMPT)) {
        placing_hear(s, l, c, &payload);
        return;
    }
    if (ok && !run_command(l->run, c, &payload, s->now_us, out, &err)) ok = false;
    if (ok && c == COMMAND_RETRY && l->plan->plan->max_runs > 0) run_hold(l->run); /* as any new run of it */
    if (ok) return;
    log_err(LEVEL_WARN, "a command was refused", &err);
    /* A retry takes a finished run up again; one that is refused leaves it as finished as it was. */
    if (c == COMMAND_RETRY && run_state_terminal(run_state_of(l->run))) l->refinish = true;
}

/* New runs begin, and retried ones of pipelines with a limit; other retried ones are begun by their command. */
static void begin_new(struct scheduler *s)
{
    for (struct live *l = s->touched; l != NULL; l = l->next_touched) {
        if (run_state_of(l->run) == RUN_QUEUED) admit_run(s, l);
    }
}

bool hear_inbox(struct scheduler *s, struct err *err)
{
    if (hot_owned(s->hot) == 0) return true;
    const char *const params[] = {hot_shards_text(s->hot)};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_INBOX, params, 1, &res, err)) return false;
    int n = PQntuples(res);
    if (n > 0) {
        int64_t *ids = arena_array(&s->arena, int64_t, (size_t)n);
        for (int i = 0; i < n; i++)
            ids[i] = row_int(res, i, 1);
        if (!load_runs(s, ids, (size_t)n, err)) return false;
    }
    for (int i = 0; i < n; i++) {
        apply_command(s, res, i);
        batch_row(&s->batch, BATCH_INBOX_DONE);
        batch_int(&s->batch, BATCH_INBOX_DONE, row_int(res, i, 0));
    }
    s->inbox_read_us = s->mono_us;
    s->inbox_hint = false;
    begin_new(s);
    return true;
}

/* ---- ends of attempts ---- */

static void forget_later(struct scheduler *s, struct attempt_id id)
{
    struct forget *f = arena_new(&s->arena, struct forget);
    *f = (struct forget){id, s->forgets};
    s->forgets = f;
}

bool hear_result(struct scheduler *s, struct attempt_id id, const struct task_result *told)
{
    struct task_result result = *told, *res = &result;
    struct live *l = core_run_of(s, id);
    if (l == NULL) return false;
    struct run_out *out = core_touch(s, l);
    if (run_task_attempt(l->run, id.task) != id.attempt) return false;
    placing_ended(s, l, id, res);
    bool held = !task_state_terminal(run_task_state(l->run, id.task));
    uint64_t before = out->cost + out->spent;
    if (!run_task_ended(l->run, id.task, id.attempt, res, s->now_us, core_random(), out)) return false;
    s->heard_cost += out->cost + out->spent - before;
    if (held) admit_release(s, l, id);
    (void)live_starting(l, id.task, id.attempt, STR(""));
    s->stats.tasks_ended++;
    return true;
}

static struct str how_lost(const struct live *l, const struct exec_event *e)
{
    if (run_task_state(l->run, e->id.task) == TASK_STOPPING)
        return STR("was stopped; how far it had come is not known");
    if (e->result.message.n > 0) return e->result.message;
    return STR("the attempt was lost: its launcher ended, or its server was away for too long");
}

/* Nobody knows the attempt: it is launched if it surely never was, else it counts as lost with its machine. */
static void hear_unknown(struct scheduler *s, const struct exec_event *e)
{
    struct live *l = core_run_of(s, e->id);
    if (l == NULL || run_task_attempt(l->run, e->id.task) != e->id.attempt) return;
    if (e->never && run_task_state(l->run, e->id.task) == TASK_RUNNING && !placing_stops(l, e->id)) {
        struct run_out *out = core_touch(s, l);
        run_relaunch(l->run, e->id.task, out);
        return;
    }
    struct task_result lost = {
        .failure = FAILURE_INFRA, .reason = REASON_INFRA, .exit_code = -1, .message = how_lost(l, e)};
    hear_result(s, e->id, &lost);
}

static void hear_event(struct scheduler *s, const struct exec_event *e)
{
    struct live *l;
    switch (e->kind) {
    case EXEC_ENDED:
        if (hear_result(s, e->id, &e->result)) {
            l = live_get(&s->live, e->id.run);
            record_result(s, l, e);
        }
        /* A stale one too: nobody will ask for it again, unless it belongs to another scheduler. */
        if (live_get(&s->live, e->id.run) != NULL || hot_owned(s->hot) == RUN_SHARDS) forget_later(s, e->id);
        break;
    case EXEC_UNKNOWN: hear_unknown(s, e); break;
    case EXEC_WAITS:
        l = core_run_of(s, e->id);
        if (l == NULL || run_task_attempt(l->run, e->id.task) != e->id.attempt) break;
        if (live_starting(l, e->id.task, e->id.attempt, e->result.message)) (void)core_touch(s, l);
        break;
    }
}

/* What ends may cost much, by what pipelines compute from it. */
bool hear_more(struct scheduler *s)
{
    bool more = s->heard_cost < CORE_TURN_COST && s->arena.used < CORE_TURN_BYTES;
    if (!more) s->more = true;
    return more;
}

/* ---- what attempts say that they left ---- */

struct claim { /* an end that counts as told only if the project has all that it names */
    struct exec_event e;
    struct claim *next;
};

/* A pod that is not what it should be could name any digest, and its project would have what is another's. */
static void untrue(struct scheduler *s, struct exec_event *e, const struct exec_output *o)
{
    if (!e->result.ok) return; /* the first one is said */
    e->result.ok = false;
    e->result.failure = FAILURE_ERROR;
    e->result.reason = REASON_OUTPUT;
    e->result.message = arena_printf(&s->arena,
                                     "exited with code 0, but its output '%.*s' is not there: the project has no %.*s "
                                     "of %lld bytes, which its pod says it has kept",
                                     STR_ARG(o->name), STR_ARG(o->digest), (long long)o->size);
}

/* The loop waits for the answer, so all are asked about at once. */
static bool look_up(struct scheduler *s, struct claim *all, struct err *err)
{
    struct buf columns[3];
    size_t n = 0;
    for (size_t k = 0; k < 3; k++)
        buf_init(&columns[k], 0);
    for (struct claim *c = all; c != NULL; c = c->next) {
        const struct live *l = live_get(&s->live, c->e.id.run);
        for (size_t i = 0; i < c->e.n_artifacts; i++, n++) {
            const char *comma = n > 0 ? "," : "{";
            buf_printf(&columns[0], "%s%lld", comma, l != NULL ? (long long)l->project_id : 0);
            buf_printf(&columns[1], "%s%.*s", comma, STR_ARG(c->e.artifacts[i].digest)); /* needs no quotes */
            buf_printf(&columns[2], "%s%lld", comma, (long long)c->e.artifacts[i].size);
        }
    }
    for (size_t k = 0; k < 3; k++)
        buf_char(&columns[k], '}');
    const char *const params[] = {columns[0].p, columns[1].p, columns[2].p};
    RESULT_AUTO res = NULL;
    bool ok = hot_query(s->hot, Q_HOT_BLOBS_UNTRUE, params, 3, &res, err);
    for (size_t k = 0; k < 3; k++)
        buf_free(&columns[k]);
    if (!ok) return false;
    int64_t first = 0;
    int row = 0;
    for (struct claim *c = all; c != NULL; first += (int64_t)c->e.n_artifacts, c = c->next)
        for (; row < PQntuples(res) && row_int(res, row, 0) < first + (int64_t)c->e.n_artifacts; row++)
            untrue(s, &c->e, &c->e.artifacts[row_int(res, row, 0) - first]);
    return true;
}

bool hear_executor(struct scheduler *s, struct err *err)
{
    struct executor *x = s->cfg.executor;
    struct claim *claims = NULL, **end = &claims;
    struct exec_event e;
    for (int i = 0; x != NULL && i < 10000 && hear_more(s); i++) {
        e = (struct exec_event){0};
        if (!x->next(x->self, &s->arena, &e)) break;
        if (!x->hearsay || e.kind != EXEC_ENDED || !e.result.ok || e.n_artifacts == 0) {
            hear_event(s, &e);
            continue;
        }
        *end = arena_new(&s->arena, struct claim);
        **end = (struct claim){.e = e};
        end = &(*end)->next;
    }
    if (claims != NULL && !look_up(s, claims, err)) return false;
    for (struct claim *c = claims; c != NULL; c = c->next)
        hear_event(s, &c->e);
    for (struct refused *r = s->refused; r != NULL; r = r->next)
        hear_result(s, r->id, &r->result);
    s->refused = NULL;
    arena_reset(&s->refused_arena);
    chores_hear(s->chores, s);
    return true;
}

void hear_timers(struct scheduler *s)
{
    struct live *l;
    while (hear_more(s) && (l = live_timer_pop(&s->live, s->now_us)) != NULL) {
        if (l->finished) continue;
        struct run_out *out = core_touch(s, l);
        uint64_t before = out->cost + out->spent;
        run_timer(l->run, s->now_us, core_random(), out);
        s->heard_cost += out->cost + out->spent - before;
    }
}
