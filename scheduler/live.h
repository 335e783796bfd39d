/* The runs that this scheduler carries: by number, with their plans shared, their timers in a heap. Used by the
 * scheduler's thread alone. */
#ifndef MILLRACE_SCHEDULER_LIVE_H
#define MILLRACE_SCHEDULER_LIVE_H

#include "engine/flow/run.h"
#include "engine/store/batch.h"

struct plan_ref { /* a plan in memory, shared by its runs */
    int64_t id;
    const struct plan *plan;
    struct arena arena;
    uint32_t users;
    bool ranked; /* some step of it has a priority */
    struct plan_ref *next;
};

struct restored { /* an attempt that was recorded as running when the run was loaded */
    uint32_t task;
    struct str by; /* the executor's instance then */
    struct restored *next;
};

struct starting { /* an attempt that was launched and cannot run yet, or go on */
    uint32_t task, attempt;
    char *why;
    struct starting *next;
};

struct placing; /* placing.h */

struct live {
    int64_t id, project_id;
    uint16_t shard;
    struct run *run;
    struct plan_ref *plan;
    struct str created_by;     /* within the run's header */
    struct run_out out;        /* of this turn, when touched */
    struct restored *restored; /* of this turn, when it was loaded in it */
    struct live *next_touched;
    struct live *ready_prev, *ready_next; /* ring of runs with tasks that want an executor */
    int64_t due_us;                       /* earliest timer, 0 = none */
    int64_t waiting_due_us;               /* not before then the summary of its waiting tasks is written; 0 = not set */
    uint64_t waiting_told;                /* hash of the last one; 0 = none yet */
    struct batch *batch;                  /* its own transaction, while runs are written one by one */
    struct starting *starting;            /* why they wait, as the executor says */
    struct effect *put_off;               /* effects that wait for a turn with time for them */
    uint32_t n_put_off, room_put_off;
    struct placing *placings; /* attempts that the placer was asked for, by task */
    uint32_t n_placings, room_placings;
    bool touched;
    bool late, advanced, more; /* of this turn: it came over from the last one; it got on; it has more to do */
    bool in_ring;
    bool finished;
    bool ignore_cpu, ignore_memory, ignore_gpu; /* waived at submission: its steps share what there is */
    bool refinish;                              /* it is terminal, and must be written so again */
};

struct timer {
    int64_t due_us, run;
};

struct live_set {
    struct live **slots; /* open addressing by run number */
    size_t n, room, graves;
    struct plan_ref *plans;
    struct timer *timers; /* min-heap; entries of runs that are gone or were moved are dropped when they come up */
    size_t n_timers, room_timers;
    struct live *ring; /* any member, NULL = empty */
    size_t n_ranked;   /* runs with priorities: without any, all take turns */
};

void live_init(struct live_set *set);
void live_clear(struct live_set *set); /* forgets all runs and plans */
void live_free(struct live_set *set);

struct live *live_get(const struct live_set *set, int64_t id);
struct live *live_add(struct live_set *set, int64_t id); /* must be absent */
void live_remove(struct live_set *set, struct live *l);  /* frees the run too */
struct live *live_next(const struct live_set *set,
                       size_t *cursor); /* all of them; cursor starts at 0; NULL at the end */

struct plan_ref *live_plan_find(struct live_set *set, int64_t id);
struct plan_ref *live_plan_add(struct live_set *set, int64_t id); /* its arena is ready to load into */
void live_plan_drop(struct live_set *set, struct plan_ref *p);    /* unused ones beyond a few are freed */

/* Why an attempt that was launched does not run yet; an empty text: it does, or is over. True when that is news. */
bool live_starting(struct live *l, uint32_t task, uint32_t attempt, struct str why);

void live_timer(struct live_set *set, struct live *l, int64_t due_us); /* keeps the earliest of a run */
int64_t live_timer_first(const struct live_set *set);                  /* INT64_MAX when none */
struct live *live_timer_pop(struct live_set *set, int64_t now_us);     /* a run whose timer is due, NULL when none */

void live_ring_add(struct live_set *set, struct live *l);
void live_ring_remove(struct live_set *set, struct live *l);

#endif
