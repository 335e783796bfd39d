/* What is done after the commit. Every effect may be done twice: a crash between commit and effect is mended by doing it again. */
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

/* What cannot be launched fails as the step's own fault; the result is heard in the next turn. */
static void refuse_launch(struct scheduler *s, struct live *l, const struct effect *e, const struct err *why)
{
    struct refused *r = arena_new(&s->refused_arena, struct refused);
    bool ours = why->code == ERR_IO || why->code == ERR_UNAVAILABLE || why->code == ERR_SPACE;
    struct str message = why->path[0] != '\0' ? arena_printf(&s->refused_arena, "%s: %s", why->path, why->message)
                                              : arena_printf(&s->refused_arena, "%s", why->message);
    *r = (struct refused){.id = {l->id, e->task, e->attempt},
                          .result = {.failure = ours ? FAILURE_INFRA : FAILURE_INVALID, .exit_code = -1, .message = message},
                          .next = s->refused};
    s->refused = r;
    s->more = true;
}

static void launch(struct scheduler *s, struct live *l, const struct effect *e)
{
    struct executor *x = s->cfg.executor;
    const struct restored *r = find_restored(l, e->task);
    struct exec_request req;
    struct err err = {0};
    if (x == NULL) {
        err_set(&err, ERR_INVALID, "this server has no executor for steps with a process");
        refuse_launch(s, l, e, &err);
        return;
    }
    if (!launching_request(s, l, e->task, e->attempt, &req, &err) ||
        !x->launch(x->self, &req, r != NULL, r != NULL ? r->by : STR(""), &err))
        refuse_launch(s, l, e, &err);
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
    for (size_t i = 0; i < l->out.n_effects; i++) perform(s, l, &l->out.effects[i]);
}
