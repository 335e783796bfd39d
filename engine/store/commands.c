/* Commands to the owners of runs. */
#include "engine/store/commands.h"

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

bool commands_notify(struct conn *c, struct err *err)
{
    return conn_do(c, "NOTIFY " COMMANDS_CHANNEL, err);
}
