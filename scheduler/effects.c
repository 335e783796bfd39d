/* What is done after the commit. Every effect may be done twice: a crash between commit and effect is mended by doing
 * it again. */
#include <stdlib.h>

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
    const struct attempt_id id = core_attempt(l, e->task, e->attempt);
    struct err err = {0};
    if (x == NULL) {
        err_set(&err, ERR_INVALID, "this server has no executor for steps with a process");
        core_refuse(s, id, &err);
        return;
    }
    bool made = launching_request(s, l, id, r != NULL, &req, &err);
    if (!made || !x->launch(x->self, &req, r != NULL, r != NULL ? r->by : STR(""), &err)) core_refuse(s, id, &err);
}

static void perform(struct scheduler *s, struct live *l, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_LAUNCH: launch(s, l, e); break;
    case EFFECT_KILL:
        if (s->cfg.executor != NULL)
            s->cfg.executor->kill(s->cfg.executor->self, core_attempt(l, e->task, e->attempt),
                                  run_head(l->run)->project, e->grace_ms > 0 ? e->grace_ms : s->cfg.grace_ms);
        break;
    case EFFECT_HTTP: chores_http(s->chores, s, l, e); break;
    case EFFECT_IMPORT: chores_import(s->chores, s, l, e); break;
    case EFFECT_CACHE: chores_cache(s->chores, s, l, e); break;
    case EFFECT_TIMER: live_timer(&s->live, l, e->due_us); break;
    case EFFECT_FINISHED: l->finished = true; break;
    }
}

/* ---- what takes too long ---- */

static bool evaluates(enum effect_kind kind)
{
    return kind == EFFECT_LAUNCH || kind == EFFECT_HTTP || kind == EFFECT_IMPORT || kind == EFFECT_CACHE;
}

static void put_off(struct scheduler *s, struct live *l, const struct effect *e)
{
    if (l->n_put_off == l->room_put_off) {
        l->room_put_off = l->room_put_off ? l->room_put_off * 2 : 16;
        l->put_off = realloc(l->put_off, l->room_put_off * sizeof *l->put_off);
        if (l->put_off == NULL) abort();
    }
    if (l->n_put_off == 0) core_next_turn(s, l);
    l->put_off[l->n_put_off++] = *e;
}

/* One that was put off, if it is still wanted. What was to be stopped meanwhile was unknown to the executor. */
static void perform_late(struct scheduler *s, struct live *l, const struct effect *e)
{
    enum task_state state = run_task_state(l->run, e->task);
    if (run_task_attempt(l->run, e->task) != e->attempt) return;
    if (state == (e->kind == EFFECT_CACHE ? TASK_READY : TASK_RUNNING)) {
        perform(s, l, e);
    } else if (state == TASK_STOPPING) {
        struct err err = {0};
        err_set(&err, ERR_UNAVAILABLE, "it was stopped before it was launched");
        core_refuse(s, core_attempt(l, e->task, e->attempt), &err);
    }
}

/* Their expressions may be dear: a run gets on by one of them in a turn, by more as long as the turn has time. */
void effects_perform(struct scheduler *s, struct live *l)
{
    struct effect *late = l->put_off;
    uint32_t n_late = l->n_put_off;
    bool any = false;
    l->put_off = NULL;
    l->n_put_off = l->room_put_off = 0;
    for (size_t i = 0; i < n_late + l->out.n_effects; i++) {
        const struct effect *e = i < n_late ? &late[i] : &l->out.effects[i - n_late];
        bool dear = evaluates(e->kind) && find_restored(l, e->task) == NULL;
        if (dear && any && (s->effects_cost >= CORE_TURN_COST || s->arena.used >= CORE_TURN_BYTES)) {
            put_off(s, l, e);
            continue;
        }
        any |= dear;
        if (i < n_late)
            perform_late(s, l, e);
        else
            perform(s, l, e);
    }
    free(late);
}
