/* The scheduler's state, shared by the files of this folder and by nobody else.
 *
 * One thread, one turn after another: hear what happened → decide → admit → write one transaction → perform the
 * effects. See scheduler.h. */
#ifndef MILLRACE_SCHEDULER_CORE_H
#define MILLRACE_SCHEDULER_CORE_H

#include <pthread.h>

#include "engine/os/digest.h"
#include "engine/store/hot.h"
#include "scheduler/capacity.h"
#include "scheduler/live.h"
#include "scheduler/pace.h"
#include "scheduler/scheduler.h"

struct chores;

struct forget { /* an attempt whose end becomes durable with this turn */
    struct attempt_id id;
    struct forget *next;
};

struct refused { /* an attempt that could not even be launched: its end, for the next turn */
    struct attempt_id id;
    struct task_result result;
    struct refused *next;
};

struct busy { /* a run with work for the next turn that nothing else will wake */
    int64_t run;
    struct busy *next;
};

#define POISON_ROOM 16
struct poison { /* a run whose transaction the database refused */
    int64_t run;
    uint32_t refusals;
    char message[sizeof((struct err *)0)->message];
};

#define CODE_ROOM 32
struct code { /* what is known of a bundle */
    int64_t project_id;
    char digest[DIGEST_TEXT];
    bool any; /* its steps would read something of it */
};

#define CORE_TURN_COST (2 * EXPR_MAX_COST) /* steps of evaluation, for a part of a turn; the rest is the next one's */
#define CORE_TURN_BYTES ((size_t)64 << 20)

struct scheduler {
    struct scheduler_config cfg;
    struct hot *hot;
    struct live_set live;
    struct capacity capacity;
    struct chores *chores;
    struct arena arena; /* of the turn */
    struct batch batch; /* of the turn */
    struct live *touched;
    struct forget *forgets;
    struct refused *refused;
    struct arena refused_arena; /* outlives the turn */
    struct pace pace;
    int64_t now_us;  /* of the turn, by the pace: what is due and recorded */
    int64_t mono_us; /* of the turn: what is done every so often */
    int64_t inbox_read_us, balanced_us, swept_us, retry_open_us; /* monotonic */
    int64_t open_delay_us;
    bool inbox_hint, more; /* another turn without waiting */
    struct busy *busy;     /* runs of the next turn, the last one first */
    struct live **late;    /* those of the last turn, in order */
    size_t n_late;
    uint32_t asks;             /* of the placer, in this turn */
    enum exec_placing placing; /* of this turn: what was started without the placer it is told before the next */
    uint32_t left;             /* of what runs may do in this turn, all together */
    uint64_t heard_cost, effects_cost; /* steps of evaluation in this turn's first and last part */
    struct arena carry;                /* what the next turn needs of this one */
    uint32_t split_turns;              /* > 0: each run has a transaction of its own */
    struct poison poison[POISON_ROOM];
    struct code codes[CODE_ROOM]; /* those asked for last, in a ring */
    size_t n_codes;
    pthread_t thread;
    int wake; /* eventfd: hints and stop */
    _Atomic bool stopping;
    struct scheduler_stats stats;
};

/* The run takes part in this turn: its out is ready, its changes will be written. */
struct run_out *core_touch(struct scheduler *s, struct live *l);
/* Where the run's rows of this turn go. */
struct batch *core_batch(struct scheduler *s, struct live *l);
struct attempt_id core_attempt(const struct live *l, uint32_t task, uint32_t attempt);
/* Its run; NULL when that is not in memory, has finished, or only has the number of the one that is meant. */
struct live *core_run_of(const struct scheduler *s, struct attempt_id id);
/* What cannot be launched ends as the step's own fault, unless it is ours; heard in the next turn. */
void core_refuse(struct scheduler *s, struct attempt_id id, const struct err *why);
/* The run takes part in the next turn, which follows without waiting. */
void core_next_turn(struct scheduler *s, const struct live *l);
/* Of the executor, as it is recorded with attempts; "" without one. Lives as long as the turn. */
const char *core_instance(struct scheduler *s);
/* Of the placer that admits its steps. */
struct str core_domain(struct scheduler *s);
double core_random(void); /* 0 ≤ x < 1 */

/* ---- load.c ---- */
/* Loads the active runs of the given shards (or just the given runs) that are not in memory. */
MUST_CHECK bool load_shards(struct scheduler *s, const uint16_t *shards, size_t n, struct err *err);
MUST_CHECK bool load_runs(struct scheduler *s, const int64_t *ids, size_t n, struct err *err);

/* ---- hear.c: what happened ---- */
MUST_CHECK bool hear_inbox(struct scheduler *s, struct err *err);
MUST_CHECK bool hear_executor(struct scheduler *s, struct err *err);
bool hear_more(struct scheduler *s); /* false: what else there is waits for the next turn, which follows at once */
void hear_timers(struct scheduler *s);
/* A result from an executor or a chore, whichever run it belongs to. */
bool hear_result(struct scheduler *s, struct attempt_id id, const struct task_result *res);

/* ---- strays.c: attempts that are nobody's ---- */
MUST_CHECK bool strays_sweep(struct scheduler *s, struct err *err);

/* ---- admit.c: what starts ---- */
/* Begins a queued run, unless its pipeline's limit keeps it waiting; and others that may begin as well. */
void admit_run(struct scheduler *s, struct live *l);
void admit_ended(struct scheduler *s, const struct live *ended); /* a run ended: the next of its pipeline may begin */
bool admit_under_way(const struct live *l);                      /* an attempt of it is running */
struct resources admit_wanted(const struct live *l, uint32_t task); /* but for what its user waived */
void admit_reason(struct scheduler *s, const struct live *l, uint32_t task, struct buf *out); /* why it waits */
void admit_forget(struct scheduler *s); /* nothing runs, or nothing is known of it any more */
void admit_tasks(struct scheduler *s);
void admit_release(struct scheduler *s, const struct live *l,
                   struct attempt_id id);                 /* an attempt that held capacity is over */
void admit_restored(struct scheduler *s, struct live *l); /* counts what runs already */

/* ---- record.c: what is written ---- */
void record_turn(struct scheduler *s);
/* What follows a success: cache entry, artifacts. */
void record_result(struct scheduler *s, struct live *l, const struct exec_event *e);
void record_artifact(struct scheduler *s, struct live *l, struct attempt_id by, const struct exec_output *o);
/* Lineage: the attempt reads what the digest names. */
void record_use(struct scheduler *s, const struct live *l, struct attempt_id by, struct str input, struct str digest);

/* ---- effects.c: what is done after the commit ---- */
void effects_perform(struct scheduler *s, struct live *l);

#endif
