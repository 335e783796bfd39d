/* Attempts that the executor knows and no record counts any more: their run was over before the server came back, or
 * another server took it over when this one had been away for too long, and runs the step anew. What still runs is
 * killed, what it wrote is covered of its secrets, and it is forgotten; nothing else would ever do that. */
#include "engine/os/log.h"
#include "engine/store/row.h"
#include "scheduler/core.h"

#define SWEEP_EVERY_US 30000000

/* Recorded as under way in a run of ours: most are. */
static bool current(const struct scheduler *s, struct attempt_id id)
{
    const struct live *l = core_run_of(s, id);
    if (l == NULL || run_task_attempt(l->run, id.task) != id.attempt) return false;
    return !task_state_terminal(run_task_state(l->run, id.task));
}

static void drop(struct scheduler *s, const struct exec_known *k, struct str project)
{
    struct executor *x = s->cfg.executor;
    log_info(k->ended ? "an attempt that counts no more is forgotten" : "an attempt that counts no more is killed",
             LOG_INT("run", k->id.run), LOG_INT("task", k->id.task), LOG_INT("attempt", k->id.attempt));
    x->disown(x->self, k->id, project, s->cfg.grace_ms);
}

static bool ask(struct scheduler *s, const struct exec_known *known, size_t n, struct err *err)
{
    BUF_AUTO runs, tasks, attempts, made;
    buf_init(&runs, 0);
    buf_init(&tasks, 0);
    buf_init(&attempts, 0);
    buf_init(&made, 0);
    for (size_t i = 0; i < n; i++) {
        const char *before = i > 0 ? "," : "{";
        buf_printf(&runs, "%s%lld", before, (long long)known[i].id.run);
        buf_printf(&tasks, "%s%u", before, known[i].id.task);
        buf_printf(&attempts, "%s%u", before, known[i].id.attempt);
        buf_printf(&made, "%s%lld", before, (long long)known[i].id.made_us);
    }
    buf_char(&runs, '}');
    buf_char(&tasks, '}');
    buf_char(&attempts, '}');
    buf_char(&made, '}');
    const char *const params[] = {runs.p, tasks.p, attempts.p, core_instance(s), made.p};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_STRAYS, params, 5, &res, err)) return false;
    for (int i = 0; i < PQntuples(res); i++)
        drop(s, &known[row_int(res, i, 0) - 1], row_str(res, i, 1));
    return true;
}

bool strays_sweep(struct scheduler *s, struct err *err)
{
    struct executor *x = s->cfg.executor;
    int64_t every = s->cfg.takeover_ms > 0 && s->cfg.takeover_ms * 1000 < SWEEP_EVERY_US ? s->cfg.takeover_ms * 1000
                                                                                         : SWEEP_EVERY_US;
    if (x == NULL || s->mono_us - s->swept_us < every) return true;
    s->swept_us = s->mono_us;
    struct exec_known *known = NULL;
    size_t n = x->known(x->self, &s->arena, &known), left = 0;
    for (size_t i = 0; i < n; i++)
        if (!current(s, known[i].id)) known[left++] = known[i];
    return left == 0 || ask(s, known, left, err);
}
