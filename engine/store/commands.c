/* Commands to the owners of runs. */
#include "engine/store/commands.h"

#include "engine/store/tasks.h"

static const bool needs_finished[COMMAND_COUNT] = {[COMMAND_RETRY] = true};

struct send {
    const struct scope *scope;
    int64_t run_id;
    enum command command;
    struct str payload;
    struct arena *a;
};

/* Why the command found nothing to work on. */
static bool refuse(struct conn *c, const struct send *s, struct err *err)
{
    struct run_rec run;
    if (!runs_get(c, s->scope->project_id, s->run_id, s->a, &run, err)) return false;
    err_set(err, ERR_CONFLICT, "run %lld is %s: it cannot %s", (long long)s->run_id, run_state_name(run.state),
            command_name(s->command));
    return err_hint(err,
                    needs_finished[s->command] ? "wait for its end, or cancel it" : "only an active run can do that");
}

static bool reopen(struct conn *c, const struct send *s, struct err *err)
{
    struct params p;
    params_init(&p, s->a);
    params_int(&p, s->run_id);
    params_str(&p, s->scope->actor);
    params_int(&p, EVENT_RUN_RETRIED);
    params_int(&p, RUN_SHARDS);
    int64_t n = 0;
    if (!conn_exec(c, Q_COMMAND_REOPEN, &p, &n, err)) return false;
    return n == 1 || refuse(c, s, err);
}

static bool send_tx(struct conn *c, void *ctx, struct err *err)
{
    const struct send *s = ctx;
    struct run_rec run;
    if (!runs_get(c, s->scope->project_id, s->run_id, s->a, &run, err)) return false; /* is it in the project? */
    if (needs_finished[s->command] && !reopen(c, s, err)) return false;
    struct params p;
    params_init(&p, s->a);
    params_int(&p, run.project_id);
    params_str(&p, s->scope->actor);
    params_int(&p, s->run_id);
    params_int(&p, s->command);
    params_str_or_null(&p, s->payload);
    int64_t n = 0;
    if (!conn_exec(c, Q_COMMAND_SEND, &p, &n, err)) return false;
    return n == 1 || refuse(c, s, err);
}

bool commands_send(struct conn *c, const struct scope *scope, int64_t run_id, enum command command, struct str payload,
                   struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct send s = {scope, run_id, command, payload, &a};
    bool ok = conn_tx(c, send_tx, &s, err);
    arena_free(&a);
    return ok;
}

/* ---- approvals ---- */

struct approval {
    struct send send;
    int32_t task;
    bool approved;
};

/* What is on its way already: *same when it says the same. */
static bool answered(struct conn *c, const struct approval *q, bool *same, struct err *err)
{
    struct params p;
    params_init(&p, q->send.a);
    params_int(&p, q->send.run_id);
    params_int(&p, q->send.command);
    params_int(&p, q->task);
    RESULT_AUTO res = NULL;
    *same = false;
    if (!conn_query(c, Q_APPROVAL_WAITING, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return true;
    bool before = row_bool(res, 0, 0);
    struct str by = row_copy(res, 0, 1, q->send.a);
    *same = before == q->approved && str_eq(by, q->send.scope->actor);
    if (*same) return true;
    err_set(err, ERR_CONFLICT, "%.*s has %s it already", STR_ARG(by), before ? "approved" : "rejected");
    return err_hint(err, "see the run's tasks for what became of it");
}

static bool approve_tx(struct conn *c, void *ctx, struct err *err)
{
    struct approval *q = ctx;
    struct params p;
    struct task_rec task;
    bool same;
    params_init(&p, q->send.a);
    params_int(&p, q->send.run_id);
    params_int(&p, q->task);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_APPROVAL_LOCK, &p, &res, err) || !answered(c, q, &same, err)) return false;
    if (same) return true;
    /* Its owner takes an answer out of the inbox and writes the task down in one transaction: looked at in this order,
     * one of the two tells. */
    bool known = tasks_get(c, q->send.run_id, q->task, q->send.a, &task, err);
    if (!known && err->code != ERR_NOT_FOUND) return false;
    if (known && task.state == TASK_WAITING) return send_tx(c, &q->send, err);
    return err_set(err, ERR_CONFLICT, "the task does not wait for an answer: it is %s",
                   task_state_name(known ? task.state : TASK_PENDING));
}

bool commands_approve(struct conn *c, const struct scope *scope, int64_t run_id, int32_t task, bool approved,
                      struct str payload, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct approval q = {{scope, run_id, COMMAND_APPROVE, payload, &a}, task, approved};
    bool ok = conn_tx(c, approve_tx, &q, err);
    arena_free(&a);
    return ok;
}

bool commands_notify(struct conn *c, struct err *err)
{
    return conn_do(c, "NOTIFY " COMMANDS_CHANNEL, err);
}
