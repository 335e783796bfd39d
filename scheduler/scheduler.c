/* The scheduler's loop: one thread, one turn after another. See scheduler.h and core.h. */
#include "scheduler/scheduler.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/chores.h"
#include "scheduler/placing.h"

#define ADVANCE_BUDGET 20000
#define TURN_BUDGET 40000 /* of all runs together */
#define BALANCE_EVERY_US 1000000
#define OPEN_DELAY_MIN_US 100000
#define OPEN_DELAY_MAX_US 2000000
#define SPLIT_TURNS 100
#define POISON_REFUSALS 3
#define MAX_FDS 8

struct attempt_id core_attempt(const struct live *l, uint32_t task, uint32_t attempt)
{
    return (struct attempt_id){l->id, task, attempt, run_head(l->run)->created_us};
}

struct live *core_run_of(const struct scheduler *s, struct attempt_id id)
{
    struct live *l = live_get(&s->live, id.run);
    if (l == NULL || l->finished) return NULL;
    return id.made_us == run_head(l->run)->created_us ? l : NULL;
}

struct str core_domain(struct scheduler *s)
{
    const struct executor *x = s->cfg.executor;
    return str_of(x != NULL && x->domain != NULL ? x->domain : core_instance(s));
}

double core_random(void)
{
    return (double)(os_random_u64() >> 11) * 0x1p-53;
}

struct run_out *core_touch(struct scheduler *s, struct live *l)
{
    if (!l->touched) {
        l->touched = true;
        run_out_init(&l->out, &s->arena);
        l->next_touched = s->touched;
        s->touched = l;
    }
    return &l->out;
}

struct batch *core_batch(struct scheduler *s, struct live *l)
{
    if (s->split_turns == 0) return &s->batch;
    if (l->batch == NULL) {
        l->batch = malloc(sizeof *l->batch);
        if (l->batch == NULL) abort();
        batch_init(l->batch);
    }
    return l->batch;
}

void core_refuse(struct scheduler *s, struct attempt_id id, const struct err *why)
{
    struct refused *r = arena_new(&s->refused_arena, struct refused);
    bool ours = why->code == ERR_IO || why->code == ERR_UNAVAILABLE || why->code == ERR_SPACE;
    const char *colon = why->path[0] != '\0' ? ": " : "", *cure = why->hint[0] != '\0' ? "; " : "";
    struct str message = arena_printf(&s->refused_arena, "%s%s%s%s%s", why->path, colon, why->message, cure, why->hint);
    *r = (struct refused){
        .id = id,
        .result = {.failure = ours ? FAILURE_INFRA : FAILURE_INVALID, .exit_code = -1, .message = message},
        .next = s->refused};
    s->refused = r;
    s->more = true;
}

const char *core_instance(struct scheduler *s)
{
    struct executor *x = s->cfg.executor;
    return x != NULL ? arena_cstr(&s->arena, x->instance(x->self)) : "";
}

void core_next_turn(struct scheduler *s, const struct live *l)
{
    struct busy *b = arena_new(&s->carry, struct busy);
    *b = (struct busy){l->id, s->busy};
    s->busy = b;
    s->more = true;
}

/* ---- connection and ownership ---- */

/* Everything in memory is a copy of the store, or was not committed: forget it. Attempts go on, their ends are kept by
 * the executor. */
static void forget_all(struct scheduler *s)
{
    hot_close(s->hot);
    live_clear(&s->live);
    admit_forget(s);
    batch_reset(&s->batch);
    s->touched = NULL;
    s->forgets = NULL;
    s->busy = NULL;
    arena_reset(&s->carry);
    s->refused = NULL;
    arena_reset(&s->refused_arena);
    s->stats.connected = false;
    s->stats.runs = s->stats.shards = 0;
    s->retry_open_us = os_mono_us() + s->open_delay_us;
    s->open_delay_us = s->open_delay_us * 2 < OPEN_DELAY_MAX_US ? s->open_delay_us * 2 : OPEN_DELAY_MAX_US;
}

/* Not while attempts of its runs are under way: only this server's executor knows them. */
static bool give_up_shard(struct scheduler *s, uint16_t shard, struct err *err)
{
    size_t cursor = 0;
    for (struct live *l; (l = live_next(&s->live, &cursor)) != NULL;)
        if (l->shard == shard && (l->touched || admit_under_way(l))) return true;
    cursor = 0;
    for (struct live *l; (l = live_next(&s->live, &cursor)) != NULL;)
        if (l->shard == shard) live_remove(&s->live, l);
    return hot_release(s->hot, shard, err);
}

static bool balance(struct scheduler *s, struct err *err)
{
    uint16_t gained[RUN_SHARDS], lost[RUN_SHARDS];
    size_t n_gained = 0, n_lost = 0;
    s->balanced_us = s->mono_us;
    const struct hot_claim claim = {.executor = core_instance(s), .grace_us = s->cfg.takeover_ms * 1000};
    if (!hot_balance(s->hot, &claim, gained, &n_gained, lost, &n_lost, err)) return false;
    if (n_gained > 0) {
        log_info("shards acquired", LOG_INT("gained", n_gained), LOG_INT("owned", hot_owned(s->hot)));
        if (!load_shards(s, gained, n_gained, err)) return false;
        s->inbox_hint = true;
        if (s->stats.working_since_us == 0) s->stats.working_since_us = os_now_us();
    }
    for (size_t i = 0; i < n_lost; i++)
        if (!give_up_shard(s, lost[i], err)) return false;
    s->stats.shards = (uint32_t)hot_owned(s->hot);
    return true;
}

static bool open_connection(struct scheduler *s)
{
    struct err err = {0};
    if (s->stats.connected) forget_all(s); /* it was lost outside of a turn's transaction */
    if (os_mono_us() < s->retry_open_us) return false;
    if (!hot_open(s->hot, &err) || !balance(s, &err)) {
        log_err(LEVEL_WARN, "the database is away", &err);
        forget_all(s);
        return false;
    }
    s->swept_us = s->mono_us;
    s->stats.connected = true;
    return true;
}

/* ---- one turn ---- */

static void advance(struct scheduler *s, struct live *l)
{
    if (l->finished) return;
    uint32_t most = s->cfg.advance_budget > 0 ? s->cfg.advance_budget : ADVANCE_BUDGET;
    uint32_t budget = most < s->left ? most : s->left, given = budget;
    l->more = budget == 0 || run_advance(l->run, &budget, s->now_us, core_touch(s, l));
    l->advanced = budget < given;
    s->left -= given - budget;
    if (run_ready_next(l->run, UINT32_MAX) != UINT32_MAX) live_ring_add(&s->live, l);
}

/* Those that had more to do than their share of a turn come last, and among them those that got nothing yet come
 * first: so whoever has little to do does not wait for them, and they take turns. */
static void advance_all(struct scheduler *s)
{
    s->left = TURN_BUDGET;
    for (struct live *l = s->touched; l != NULL; l = l->next_touched)
        if (!l->late) advance(s, l);
    for (size_t i = 0; i < s->n_late; i++)
        advance(s, s->late[i]);
    for (int advanced = 0; advanced < 2; advanced++)
        for (size_t i = 0; i < s->n_late; i++)
            if (s->late[i]->more && s->late[i]->advanced == advanced) core_next_turn(s, s->late[i]);
    for (struct live *l = s->touched; l != NULL; l = l->next_touched)
        if (l->more && !l->late) core_next_turn(s, l);
}

/* A transaction was refused for its values: from now on each run has its own, until all is well again. */
static void turn_refused(struct scheduler *s, const struct err *err)
{
    log_err(LEVEL_ERROR, "a turn was refused; runs are written one by one", err);
    forget_all(s);
    s->retry_open_us = 0;
    s->split_turns = SPLIT_TURNS;
}

static void flush_failed(struct scheduler *s, const struct err *err)
{
    if (err->code == ERR_UNAVAILABLE) {
        log_err(LEVEL_WARN, "the database is away", err);
        forget_all(s);
    } else {
        turn_refused(s, err);
    }
}

/* The run whose own transaction was refused leaves memory and comes back as it is stored; after some tries it is
 * failed. */
static bool split_refused(struct scheduler *s, struct live *l, const struct err *err)
{
    struct poison *p = &s->poison[(size_t)l->id % POISON_ROOM];
    if (p->run != l->id) *p = (struct poison){.run = l->id};
    p->refusals++;
    snprintf(p->message, sizeof p->message, "%s", err->message);
    log_err(LEVEL_ERROR, "a run was refused", err);
    forget_all(s); /* the others were written or will be loaded as they are stored */
    s->retry_open_us = 0;
    s->split_turns = SPLIT_TURNS;
    return false;
}

/* Only a write says that all is well: a database whose disk is full lets everybody in. */
static bool write_batch(struct scheduler *s, struct batch *b, struct err *err)
{
    if (!hot_flush(s->hot, b, err)) return false;
    s->open_delay_us = OPEN_DELAY_MIN_US;
    return true;
}

static bool flush_split(struct scheduler *s)
{
    struct err err = {0};
    for (struct live *l = s->touched; l != NULL; l = l->next_touched) {
        if (l->batch == NULL || batch_empty(l->batch)) continue;
        if (write_batch(s, l->batch, &err)) continue;
        if (err.code != ERR_UNAVAILABLE) return split_refused(s, l, &err);
        flush_failed(s, &err);
        return false;
    }
    if (--s->split_turns == 0) log_info("runs are written together again", LOG_INT("runs", s->live.n));
    return true;
}

static bool flush(struct scheduler *s)
{
    struct err err = {0};
    if (s->split_turns > 0 && !flush_split(s)) return false;
    if (batch_empty(&s->batch)) return true;
    if (!write_batch(s, &s->batch, &err)) {
        flush_failed(s, &err);
        return false;
    }
    s->stats.commits++;
    return true;
}

static void after_commit(struct scheduler *s)
{
    struct live *touched = s->touched;
    s->touched = NULL;
    batch_reset(&s->batch);
    for (struct live *l = touched; l != NULL; l = l->next_touched) {
        run_committed(l->run);
        if (l->batch != NULL) batch_reset(l->batch);
        effects_perform(s, l);
        if (l->n_placings > 0) placing_effects(s, l);
    }
    for (struct forget *f = s->forgets; f != NULL; f = f->next)
        s->cfg.executor->forget(s->cfg.executor->self, f->id);
    s->forgets = NULL;
    for (struct live *l = touched, *next; l != NULL; l = next) {
        next = l->next_touched;
        l->touched = l->late = l->more = l->advanced = false;
        l->restored = NULL;
        l->next_touched = NULL;
        if (!l->finished) continue;
        admit_ended(s, l);
        live_remove(&s->live, l);
        s->stats.runs_ended++;
    }
    s->stats.runs = (uint32_t)s->live.n;
    if (s->cfg.committed != NULL) s->cfg.committed(s->cfg.committed_ctx);
}

/* Runs that had more to do than one turn's budget, or began to as another ended. */
static void take_busy(struct scheduler *s)
{
    size_t n = 0;
    for (const struct busy *b = s->busy; b != NULL; b = b->next)
        n++;
    s->late = arena_array(&s->arena, struct live *, n);
    s->n_late = n;
    for (const struct busy *b = s->busy; b != NULL; b = b->next)
        s->late[--n] = live_get(&s->live, b->run); /* the list has the last one first */
    for (size_t i = 0; i < s->n_late; i++) {
        struct live *l = s->late[i];
        if (l == NULL || l->finished || l->late) continue;
        core_touch(s, l);
        l->late = true;
        s->late[n++] = l;
        if (run_state_of(l->run) == RUN_QUEUED) admit_run(s, l);
    }
    s->n_late = n;
    s->busy = NULL;
    arena_reset(&s->carry);
}

static void fail_poisoned(struct scheduler *s)
{
    for (size_t i = 0; s->split_turns > 0 && i < POISON_ROOM; i++) {
        struct poison *p = &s->poison[i];
        struct live *l = p->refusals >= POISON_REFUSALS ? live_get(&s->live, p->run) : NULL;
        if (l == NULL || l->finished) continue;
        log_error("a run cannot be recorded and is failed", LOG_INT("run", l->id));
        run_abort(l->run, str_of(p->message), s->now_us, core_touch(s, l));
        p->refusals = 0;
    }
}

static bool hear(struct scheduler *s, struct err *err)
{
    if (s->mono_us - s->balanced_us > BALANCE_EVERY_US && !balance(s, err)) return false;
    if (hot_notified(s->hot)) s->inbox_hint = true;
    if ((s->inbox_hint || s->mono_us - s->inbox_read_us >= s->cfg.poll_ms * 1000) && !hear_inbox(s, err)) return false;
    if (!hear_executor(s, err)) return false;
    hear_timers(s);
    return strays_sweep(s, err);
}

static void read_time(struct scheduler *s)
{
    int64_t wall_us = s->cfg.wall_us();
    s->mono_us = os_mono_us();
    if (s->live.n == 0) pace_set(&s->pace, wall_us, s->mono_us);
    s->now_us = pace_now(&s->pace, wall_us, s->mono_us);
}

static void turn(struct scheduler *s)
{
    struct err err = {0};
    read_time(s);
    s->stats.turns++;
    s->stats.turned_us = s->mono_us;
    s->more = false;
    arena_reset(&s->arena);
    s->heard_cost = s->effects_cost = 0;
    s->asks = 0;
    if (!hot_up(s->hot) && !open_connection(s)) return;
    if (!hear(s, &err)) {
        flush_failed(s, &err);
        return;
    }
    take_busy(s);
    fail_poisoned(s);
    advance_all(s);
    admit_tasks(s);
    record_turn(s);
    if (flush(s)) after_commit(s);
}

/* ---- the thread ---- */

static int64_t wait_ms(const struct scheduler *s)
{
    if (s->more) return 0;
    if (!hot_up(s->hot)) {
        int64_t left = (s->retry_open_us - os_mono_us()) / 1000 + 1;
        return left > 0 ? left : 0;
    }
    int64_t ms = s->cfg.poll_ms, first = live_timer_first(&s->live);
    if (first != INT64_MAX) {
        int64_t left = (first - s->now_us - (os_mono_us() - s->mono_us) + 999) / 1000;
        if (left < ms) ms = left > 0 ? left : 0;
    }
    return ms;
}

static void wait_for_news(struct scheduler *s)
{
    struct pollfd fds[MAX_FDS + CHORES_FDS + 2];
    int raw[MAX_FDS], chores[CHORES_FDS];
    nfds_t n = 0;
    fds[n++] = (struct pollfd){.fd = s->wake, .events = POLLIN};
    if (hot_up(s->hot)) {
        struct executor *x = s->cfg.executor;
        fds[n++] = (struct pollfd){.fd = hot_socket(s->hot), .events = POLLIN};
        chores_fds(s->chores, chores);
        for (size_t i = 0; i < CHORES_FDS; i++)
            fds[n++] = (struct pollfd){.fd = chores[i], .events = POLLIN};
        size_t more = x != NULL ? x->fds(x->self, raw, MAX_FDS) : 0;
        for (size_t i = 0; i < more; i++)
            fds[n++] = (struct pollfd){.fd = raw[i], .events = POLLIN};
    }
    if (poll(fds, n, (int)wait_ms(s)) <= 0) return;
    uint64_t hints;
    if (fds[0].revents != 0 && read(s->wake, &hints, sizeof hints) == sizeof hints) s->inbox_hint = true;
    if (n > 1 && fds[1].revents != 0 && !hot_alive(s->hot)) {
        log_warn("the database closed the connection");
        s->open_delay_us = OPEN_DELAY_MIN_US;
        forget_all(s);
    }
}

static void *thread_main(void *arg)
{
    struct scheduler *s = arg;
    while (!s->stopping) {
        turn(s);
        if (!s->stopping) wait_for_news(s);
    }
    return NULL;
}

static void destroy(struct scheduler *s)
{
    live_free(&s->live);
    hot_free(s->hot);
    chores_free(s->chores);
    arena_free(&s->arena);
    arena_free(&s->carry);
    arena_free(&s->refused_arena);
    batch_free(&s->batch);
    if (s->wake >= 0) close(s->wake);
    free(s);
}

bool scheduler_start(const struct scheduler_config *cfg, struct scheduler **out, struct err *err)
{
    struct scheduler *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    s->cfg = *cfg;
    if (s->cfg.wall_us == NULL) s->cfg.wall_us = os_now_us;
    s->open_delay_us = OPEN_DELAY_MIN_US;
    s->hot = hot_new(cfg->conninfo, cfg->owner);
    live_init(&s->live);
    admit_forget(s);
    arena_init(&s->arena, (size_t)1 << 30);
    arena_init(&s->carry, 0);
    arena_init(&s->refused_arena, 0);
    batch_init(&s->batch);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake < 0) {
        err_set(err, ERR_IO, "cannot make an event descriptor: %s", strerror(errno));
        destroy(s);
        return false;
    }
    if (!chores_new(&s->cfg, &s->chores, err)) {
        destroy(s);
        return false;
    }
    int failed = pthread_create(&s->thread, NULL, thread_main, s);
    if (failed != 0) {
        err_set(err, ERR_IO, "cannot start the scheduler's thread: %s", strerror(failed));
        destroy(s);
        return false;
    }
    *out = s;
    return true;
}

void scheduler_hint(struct scheduler *s)
{
    uint64_t one = 1;
    if (write(s->wake, &one, sizeof one) < 0) return; /* full: it is awake already */
}

void scheduler_stop(struct scheduler *s)
{
    if (s == NULL) return;
    s->stopping = true;
    scheduler_hint(s);
    pthread_join(s->thread, NULL);
    if (s->cfg.executor != NULL) s->cfg.executor->stop(s->cfg.executor->self);
    destroy(s);
}

const struct scheduler_stats *scheduler_statistics(const struct scheduler *s)
{
    return &s->stats;
}
