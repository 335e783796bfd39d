/* Asking the placer. See placing.h. */
#include "scheduler/placing.h"

#include <stdlib.h>
#include <string.h>

#include "engine/store/queue_setup.h"
#include "engine/store/queues.h"
#include "engine/store/row.h"

#define ASKS_MAX 2000 /* in one turn */

/* ---- the list of a run, by task ---- */

static uint32_t place_of(const struct live *l, uint32_t task)
{
    uint32_t low = 0, high = l->n_placings;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (l->placings[mid].task < task)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct placing *find(const struct live *l, uint32_t task)
{
    uint32_t i = place_of(l, task);
    return i < l->n_placings && l->placings[i].task == task ? &l->placings[i] : NULL;
}

static struct placing *add(struct live *l, uint32_t task)
{
    uint32_t i = place_of(l, task);
    if (l->n_placings == l->room_placings) {
        l->room_placings = l->room_placings > 0 ? 2 * l->room_placings : 8;
        l->placings = realloc(l->placings, l->room_placings * sizeof *l->placings);
        if (l->placings == NULL) abort();
    }
    memmove(&l->placings[i + 1], &l->placings[i], (l->n_placings++ - i) * sizeof *l->placings);
    l->placings[i] = (struct placing){.task = task};
    return &l->placings[i];
}

static void clear(struct placing *e)
{
    free(e->pin);
    free(e->by);
    e->pin = e->by = NULL;
}

void placing_free(struct live *l)
{
    for (uint32_t i = 0; i < l->n_placings; i++)
        clear(&l->placings[i]);
    free(l->placings);
    l->placings = NULL;
    l->n_placings = l->room_placings = 0;
}

static void set(char **slot, struct str text)
{
    free(*slot);
    *slot = strndup(text.p, text.n);
    if (*slot == NULL) abort();
}

/* ---- what is written ---- */

static struct str on_nodes(struct scheduler *s, const struct queue_ask *ask)
{
    BUF_AUTO text;
    struct value_map_builder b;
    buf_init(&text, 0);
    if (ask->selector == NULL && ask->tolerations == NULL) return STR("");
    value_map_begin(&b, &s->arena);
    if (ask->selector != NULL) value_map_put(&b, STR("nodeSelector"), *ask->selector);
    if (ask->tolerations != NULL) value_map_put(&b, STR("tolerations"), *ask->tolerations);
    const struct value both = value_map_end(&b);
    value_json(&text, &both, false);
    return arena_str(&s->arena, buf_view(&text));
}

static void write_ask(struct scheduler *s, struct live *l, const struct placing *e)
{
    const enum batch_table t = BATCH_QUEUE_ASK;
    const struct queue_ask ask = queue_ask_of(run_task_node(l->run, e->task), l->ignore_gpu);
    struct resources wanted = admit_wanted(l, e->task);
    if (s->cfg.executor->gpus != NULL) wanted = capacity_counted(&wanted); /* the place counts so, too */
    struct batch *b = core_batch(s, l);
    batch_row(b, t);
    batch_int(b, t, l->id);
    batch_int(b, t, e->task);
    batch_int(b, t, e->attempt);
    batch_int(b, t, l->project_id);
    batch_text(b, t, l->created_by);
    batch_int(b, t, l->shard);
    batch_text(b, t, core_domain(s));
    batch_text(b, t, run_task_path(l->run, e->task, &s->arena));
    batch_text(b, t, ask.queue);
    batch_text(b, t, ask.flavor);
    batch_int(b, t, ask.gpu);
    batch_int(b, t, ask.pods);
    batch_int(b, t, wanted.cpu_milli);
    batch_int(b, t, wanted.memory_bytes);
    batch_int(b, t, ask.priority);
    batch_time(b, t, s->now_us);
    batch_text(b, t, on_nodes(s, &ask));
    batch_int(b, t, run_task_node(l->run, e->task)->timeout_ms);
}

static void write_over(struct scheduler *s, struct live *l, const struct placing *e)
{
    struct batch *b = core_batch(s, l);
    batch_row(b, BATCH_QUEUE_OVER);
    batch_int(b, BATCH_QUEUE_OVER, l->id);
    batch_int(b, BATCH_QUEUE_OVER, e->task);
    batch_int(b, BATCH_QUEUE_OVER, e->attempt);
}

/* ---- asking ---- */

bool placing_go(struct scheduler *s, struct live *l, uint32_t task)
{
    struct placing *e = find(l, task);
    uint32_t attempt = run_task_attempt(l->run, task) + 1;
    if (e != NULL && e->attempt == attempt && e->state == QUEUE_ADMITTED) return true;
    if (e == NULL && s->asks >= ASKS_MAX) { /* the others' turn comes */
        s->more = true;
        return false;
    }
    (void)core_touch(s, l);
    (void)run_set_aside(l->run, task);
    if (e != NULL && e->attempt == attempt) return false;
    if (e == NULL) e = add(l, task);
    clear(e);
    *e = (struct placing){.task = task, .attempt = attempt, .state = QUEUE_WAITS};
    write_ask(s, l, e);
    s->asks++;
    return false;
}

/* ---- hearing ---- */

static void admitted(struct live *l, struct placing *e, const struct value *pin)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    if (e->state != QUEUE_WAITS) return;
    if (pin != NULL) value_json(&text, pin, false);
    set(&e->pin, buf_view(&text));
    e->state = QUEUE_ADMITTED;
    (void)run_put_back(l->run, e->task);
}

static void stop_for(struct scheduler *s, struct live *l, struct placing *e, struct str by)
{
    e->state = QUEUE_STOPS;
    set(&e->by, by);
    e->kill = run_task_attempt(l->run, e->task) == e->attempt; /* else it has not started, and need not stop */
    if (!e->kill) return;
    struct str why = arena_printf(&s->arena, "gives way to %.*s: it was told to stop", STR_ARG(by));
    (void)live_starting(l, e->task, e->attempt, why);
}

/* unbegun: only if it is not under way. */
static void preempted(struct scheduler *s, struct live *l, struct placing *e, struct str by, bool unbegun)
{
    if (e->state != QUEUE_ADMITTED) return;
    e->requeue = unbegun && run_task_attempt(l->run, e->task) == e->attempt;
    if (!e->requeue) stop_for(s, l, e, by);
}

void placing_hear(struct scheduler *s, struct live *l, enum command c, const struct value *payload)
{
    const struct value *list = value_get(payload, "tasks"), *domain = value_get(payload, "domain");
    bool other = domain != NULL && domain->type == VALUE_STRING && !str_eq(domain->u.s, core_domain(s));
    if (c == COMMAND_PLACED && other) return; /* there is room in a cluster that it has left */
    (void)core_touch(s, l);
    for (size_t i = 0; list != NULL && list->type == VALUE_LIST && i < list->u.list.n; i++) {
        const struct value *one = &list->u.list.items[i], *task = value_get(one, "task"),
                           *attempt = value_get(one, "attempt");
        if (task == NULL || task->type != VALUE_INT || attempt == NULL || attempt->type != VALUE_INT) continue;
        struct placing *e = find(l, (uint32_t)task->u.i);
        if (e == NULL || e->attempt != attempt->u.i) continue; /* withdrawn meanwhile: the placer will hear that */
        if (c == COMMAND_PLACED)
            admitted(l, e, value_get(one, "pin"));
        else
            preempted(s, l, e, value_get_text(one, "by"), value_get_bool(one, "unbegun"));
    }
}

bool placing_stops(const struct live *l, struct attempt_id id)
{
    const struct placing *e = find(l, id.task);
    return e != NULL && e->attempt == id.attempt && e->state == QUEUE_STOPS;
}

/* Whoever gives way to others than the queue's waits again as old as it was, too. */
void placing_ended(struct scheduler *s, struct live *l, struct attempt_id id, struct task_result *res)
{
    struct placing *e = find(l, id.task);
    if (res->ok || e == NULL || e->attempt != id.attempt) return;
    if (res->reason == REASON_PREEMPTED && e->state == QUEUE_ADMITTED) {
        e->state = QUEUE_STOPS;
        return;
    }
    if (e->state != QUEUE_STOPS) return;
    res->failure = FAILURE_INFRA;
    res->reason = REASON_PREEMPTED;
    res->message = arena_printf(&s->arena, "gave way to %s", e->by);
}

/* ---- settling ---- */

enum fate { STAYS, AGAIN, OVER };

static enum fate fate_of(const struct scheduler *s, const struct live *l, const struct placing *e)
{
    enum task_state state = run_task_state(l->run, e->task);
    uint32_t attempt = run_task_attempt(l->run, e->task);
    bool paused = run_state_of(l->run) == RUN_PAUSED, ready = state == TASK_READY || state == TASK_BACKOFF;
    if (e->vain || l->finished || run_state_terminal(run_state_of(l->run))) return OVER;
    if (attempt == e->attempt && (state == TASK_RUNNING || state == TASK_STOPPING)) return STAYS;
    if (paused || !ready) return OVER;
    if (s->placing == EXEC_COUNTS && e->state != QUEUE_ADMITTED) return OVER; /* there is no queue any more */
    if (e->state == QUEUE_STOPS) return AGAIN;                                /* it has stopped, or never began */
    return attempt + 1 == e->attempt ? STAYS : OVER;
}

void placing_settle(struct scheduler *s, struct live *l)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->n_placings; i++) {
        struct placing e = l->placings[i];
        enum fate fate = fate_of(s, l, &e);
        if (fate == AGAIN) {
            clear(&e);
            e = (struct placing){.task = e.task, .attempt = run_task_attempt(l->run, e.task) + 1, .state = QUEUE_WAITS};
            write_ask(s, l, &e);
            (void)run_set_aside(l->run, e.task);
        } else if (fate == OVER) {
            write_over(s, l, &e);
            (void)run_put_back(l->run, e.task);
            clear(&e);
            continue;
        }
        l->placings[kept++] = e;
    }
    l->n_placings = kept;
}

void placing_mode(struct scheduler *s, enum exec_placing now)
{
    size_t cursor = 0;
    bool ends = now == EXEC_COUNTS && s->placing != EXEC_COUNTS;
    s->placing = now;
    for (struct live *l; ends && (l = live_next(&s->live, &cursor)) != NULL;) {
        if (l->n_placings == 0) continue;
        (void)core_touch(s, l);
        s->more = true; /* they may start in the next turn */
    }
}

void placing_effects(struct scheduler *s, struct live *l)
{
    struct executor *x = s->cfg.executor;
    for (uint32_t i = 0; x != NULL && i < l->n_placings; i++) {
        struct placing *e = &l->placings[i];
        bool kill = e->kill, requeue = e->requeue && x->requeue != NULL;
        e->kill = false; /* the other is said again: of what is launched once more the executor knows nothing */
        if ((!kill && !requeue) || run_task_state(l->run, e->task) != TASK_RUNNING) continue;
        struct attempt_id id = core_attempt(l, e->task, e->attempt);
        if (kill)
            x->kill(x->self, id, run_head(l->run)->project, s->cfg.grace_ms);
        else
            x->requeue(x->self, id);
    }
}

/* ---- loading ---- */

/* What has not begun and waits for another cluster, or has room there, does not begin here: it is asked for anew, or
 * withdrawn where nobody is asked. */
static void restore(struct scheduler *s, struct live *l, const PGresult *res, int i)
{
    bool placed = s->cfg.executor != NULL && s->cfg.executor->placed;
    bool here = placed && str_eq(row_str(res, i, 4), core_domain(s));
    uint32_t task = (uint32_t)row_int(res, i, 1);
    struct placing *e = add(l, task);
    e->attempt = (uint32_t)row_int(res, i, 2);
    e->state = (uint8_t)row_int(res, i, 3);
    if (!here && run_task_attempt(l->run, task) != e->attempt) {
        e->state = QUEUE_STOPS;
        e->vain = !placed;
        set(&e->by, STR("another cluster"));
        return;
    }
    if (e->state != QUEUE_WAITS) set(&e->pin, row_str(res, i, 5));
    if (e->state == QUEUE_STOPS) stop_for(s, l, e, row_str(res, i, 6));
    if (row_bool(res, i, 7)) preempted(s, l, e, row_str(res, i, 6), true);
}

bool placing_load(struct scheduler *s, const char *ids, struct err *err)
{
    const char *const params[] = {ids};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_QUEUE_LOAD, params, 1, &res, err)) return false;
    for (int i = 0; i < PQntuples(res); i++) {
        struct live *l = live_get(&s->live, row_int(res, i, 0));
        if (l != NULL) restore(s, l, res, i);
    }
    return true;
}

/* ---- questions ---- */

bool placing_asked(const struct live *l, uint32_t task)
{
    return find(l, task) != NULL;
}

struct str placing_pin(const struct live *l, uint32_t task, uint32_t attempt)
{
    const struct placing *e = find(l, task);
    return e != NULL && e->attempt == attempt && e->pin != NULL ? str_of(e->pin) : STR("");
}

bool placing_reason(const struct live *l, uint32_t task, struct buf *text)
{
    const struct placing *e = find(l, task);
    if (e == NULL || e->state != QUEUE_WAITS) return false;
    struct str queue = run_task_node(l->run, task)->queue;
    buf_printf(text, "waits in queue %.*s", STR_ARG(queue.n > 0 ? queue : STR(QUEUE_DEFAULT)));
    return true;
}
