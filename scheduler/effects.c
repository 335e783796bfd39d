/* What is done after the commit. Every effect may be done twice: a crash between commit and effect is mended by doing
 * it again. */
#include "engine/os/log.h"
#include "scheduler/chores.h"
#include "scheduler/core.h"
#include "scheduler/launching.h"

static const struct restored *find_restored(const struct live *l, uint32_t task)
{
    for (const struct restored *r = l->restored; r != NULL; r = r->next)
        if (r->task == task) return r;
    return NULL;
}

static void launch(struct scheduler *s, struct live *l, const struct effect *e)
{
    struct executor *x = s->cfg.executor;
    const struct restored *r = find_restored(l, e->task);
    struct exec_request req;
    const struct attempt_id id = {l->id, e->task, e->attempt};
    struct err err = {0};
    if (x == NULL) {
        err_set(&err, ERR_INVALID, "this server has no executor for steps with a process");
        core_refuse(s, id, &err);
        return;
    }
    if (!launching_request(s, l, e->task, e->attempt, &req, &err) ||
        !x->launch(x->self, &req, r != NULL, r != NULL ? r->by : STR(""), &err))
        core_refuse(s, id, &err);
}

static void perform(struct scheduler *s, struct live *l, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_LAUNCH: launch(s, l, e); break;
    case EFFECT_KILL:
        if (s->cfg.executor != NULL)
            s->cfg.executor->kill(s->cfg.executor->self, (struct attempt_id){l->id, e->task, e->attempt},
                                  e->grace_ms > 0 ? e->grace_ms : s->cfg.grace_ms);
        break;
    case EFFECT_HTTP: chores_http(s->chores, s, l, e); break;
    case EFFECT_IMPORT: chores_import(s->chores, s, l, e); break;
    case EFFECT_CACHE: chores_cache(s->chores, s, l, e); break;
    case EFFECT_TIMER: live_timer(&s->live, l, e->due_us); break;
    case EFFECT_FINISHED: l->finished = true; break;
    }
}

void effects_perform(struct scheduler *s, struct live *l)
{
    for (size_t i = 0; i < l->out.n_effects; i++)
        perform(s, l, &l->out.effects[i]);
}
