/* The scheduler: carries the runs of the shards it owns, in a thread of its own. It meets the API only in PostgreSQL; a
 * hint saves the wait for the next poll and is never the guarantee. */
#ifndef MILLRACE_SCHEDULER_SCHEDULER_H
#define MILLRACE_SCHEDULER_SCHEDULER_H

#include "engine/base/err.h"
#include "scheduler/executor.h"

struct db;
struct scheduler;

struct scheduler_config {
    const char *conninfo;            /* of the scheduler's own connection */
    const char *owner;               /* for people: host and pid */
    struct executor *executor;       /* NULL: inline steps only */
    int64_t cpu_milli, memory_bytes; /* what steps may use together */
    uint32_t most;                   /* how many at once; 0 = any number */
    int64_t grace_ms;                /* between the polite and the final signal */
    int64_t poll_ms;                 /* how long an unhinted change may go unseen */
    int64_t takeover_ms; /* how long a server that is gone may come back to its running steps; 0: no other would take
                            them */
    struct db *db;       /* for the chores' threads; NULL: no cache, no imports */
    struct str api_url;  /* told to steps */
    struct str step_key; /* signs their tokens; empty: none */
    bool allow_private_egress;
    int64_t (*wall_us)(void); /* NULL: os_now_us */
    struct str secrets_dir;   /* for headers of HTTP steps */
    uint32_t advance_budget;  /* inline tasks of one run in one turn; 0 = 20000 */
    void (*committed)(
        void *ctx); /* after each transaction, from the scheduler's thread: somebody may look; may be NULL */
    void *committed_ctx;
};

struct scheduler_stats { /* read from other threads: approximate */
    _Atomic uint64_t turns, commits, tasks_started, tasks_ended, runs_ended;
    _Atomic uint32_t runs, shards;
    _Atomic bool connected;
    _Atomic int64_t working_since_us; /* when it first had all it owns in memory */
    _Atomic int64_t turned_us;        /* when the last turn began, by the monotonic clock; 0 = none did yet */
};

MUST_CHECK bool scheduler_start(const struct scheduler_config *cfg, struct scheduler **out, struct err *err);
void scheduler_hint(struct scheduler *s); /* from any thread: look at the inbox now */
void scheduler_stop(struct scheduler *s); /* finishes the turn, gives up the shards; attempts go on in the launcher */
const struct scheduler_stats *scheduler_statistics(const struct scheduler *s);

#endif
