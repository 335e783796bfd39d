/* The rules of a run: a plan being carried out, in memory. Pure: no I/O, clock or randomness; time and random numbers
 * come with the call.
 *
 * The shell (scheduler/) owns a `struct run` for every active run of its shards. Its turn is:
 *     1. hand in what happened:  run_command, run_task_ended, run_timer, run_start_task …
 *     2. run_advance: starts the tasks that need no executor, one layer of the graph at a time
 *     3. write what changed in one transaction: new frames, dirty tasks, events, the run's own row
 *     4. only after the commit: run_committed, then perform the effects
 * When the transaction fails the shell frees the run and restores it from the store; nothing was lost, since no effect
 * was performed.
 *
 * An attempt's end is accepted once: run_task_ended refuses another attempt number than the current one. */
#ifndef MILLRACE_FLOW_RUN_H
#define MILLRACE_FLOW_RUN_H

#include "engine/base/buf.h"
#include "engine/flow/plan.h"

enum task_state {
#define TASK_STATE(id, number, name, terminal, text) id = (number),
#include "engine/flow/states.def"
    TASK_STATE_COUNT
};
enum run_state {
#define RUN_STATE(id, number, name, terminal, text) id = (number),
#include "engine/flow/states.def"
    RUN_STATE_COUNT
};
enum reason {
#define REASON(id, number, name, text) id = (number),
#include "engine/flow/states.def"
    REASON_COUNT
};
enum event_kind {
#define EVENT_KIND(id, number, name) id = (number),
#include "engine/flow/states.def"
};
enum command {
#define COMMAND(id, number, name) id = (number),
#include "engine/flow/states.def"
    COMMAND_COUNT
};

const char *task_state_name(enum task_state s);
bool task_state_terminal(enum task_state s);
bool task_state_writes(enum task_state s); /* may its attempt be writing: does one run, or is about to? */
const char *run_state_name(enum run_state s);
bool run_state_terminal(enum run_state s);
const char *reason_name(enum reason r);
const char *reason_text(enum reason r);
const char *event_kind_name(int kind); /* "none" for an unknown one */
const char *command_name(enum command c);

/* ---- one task: a pure table (step.c) ---- */

enum step_event {
    STEP_START,   /* it is admitted */
    STEP_WAIT,    /* a verb that waits begins */
    STEP_OK,      /* the attempt ended well, outputs at hand */
    STEP_FAIL,    /* the attempt failed: failure bits, exit code */
    STEP_LOST,    /* nobody knows its attempt any more */
    STEP_DUE,     /* the back-off is over */
    STEP_CANCEL,  /* it is to stop */
    STEP_STOPPED, /* the executor says: it is gone */
    STEP_SKIP,
    STEP_RESET, /* the user retries it */
    STEP_EVENT_COUNT
};
struct step_snapshot {
    enum task_state state;
    uint32_t attempt, failures, free_failures;
    bool has_executor; /* an attempt runs elsewhere and must be told to stop */
};
struct step_input {
    enum step_event event;
    enum failure failure;
    int32_t exit_code;
    enum reason reason; /* of a skip or failure, when the caller knows better */
    int64_t now_us;
    double random; /* 0 ≤ random < 1, for the jitter */
};
struct step_decision {
    enum task_state state; /* TASK_REFUSED: the event does not fit the state and must be dropped */
    enum reason reason;
    uint32_t attempt, failures, free_failures;
    int64_t due_us;    /* of TASK_BACKOFF */
    bool launch, kill; /* effects */
};
struct step_decision step_decide(const struct step_snapshot *s, const struct retry *retry, const struct step_input *in);
/* base · factor^(n-1), at most max, ± jitter; n = failures so far, from 1. */
int64_t retry_delay_ms(const struct retry *retry, uint32_t n, double random);
/* What the attempt after one that had not enough memory asks for, in bytes: never less; `most`: of the machine, 0 = any
 * number. */
int64_t retry_memory(const struct retry *retry, int64_t first, int64_t before, int64_t most);
/* What its author may raise when `memory` was not enough, by its place in the step. */
const char *retry_memory_bound(const struct retry *retry, int64_t memory);

/* ---- a run ---- */

struct run;

struct run_header { /* what the store knows of a run; strings are copied */
    int64_t id, project_id;
    struct str project, name, pipeline, created_by, bundle_digest;
    struct value params;            /* bound */
    int64_t created_us, started_us; /* started_us 0 = not yet */
    enum run_state state;
    enum run_state stop; /* a final state it is being brought to; RUN_REFUSED = none */
    bool stop_exits;     /* its onExit steps as well */
    int64_t grace_ms;    /* of its cancel; 0 = the server's own */
    int32_t next_event;  /* seq of the next event */
    uint32_t generation;
    int64_t memory_most; /* of the machine that its steps run on: retries grow up to it; 0 = nobody knows */
    bool (*json)(struct arena *a, struct str text, struct value *out,
                 struct err *err); /* decoder for json() and stored outputs */
};

struct run *run_new(const struct plan *plan, const struct run_header *h); /* the plan must outlive it */
void run_free(struct run *r);
size_t run_bytes(const struct run *r); /* of memory, for the benchmark */

/* What an executor or an answer brings; strings and values are copied as needed. */
struct task_result {
    bool ok;
    enum failure failure; /* when not ok */
    enum reason reason;   /* REASON_NONE = by the failure */
    int32_t exit_code;    /* -1 = none */
    struct str message;   /* of a failure: what a user can act on */
    struct str outputs;   /* JSON object name → value; empty = none. expr steps: {"value": …} */
    int64_t started_us, ended_us, log_bytes;
};

/* ---- what a turn produces, in the turn's arena ---- */

struct run_event {
    int32_t seq;
    int64_t at_us;
    enum event_kind kind;
    int32_t task; /* -1 = the run */
    int32_t attempt;
    struct str detail; /* JSON object, or empty */
};

enum effect_kind {
    EFFECT_LAUNCH,  /* start attempt of task on an executor */
    EFFECT_KILL,    /* tell the attempt to stop */
    EFFECT_HTTP,    /* VERB_HTTP: perform the call, then run_task_ended */
    EFFECT_IMPORT,  /* VERB_IMPORT: look the artifact up, then run_task_ended */
    EFFECT_CACHE,   /* a step with cache: look its key up before it is launched, then run_cache_answer */
    EFFECT_TIMER,   /* call run_timer at due_us (or later); repeated timers are harmless */
    EFFECT_FINISHED /* the run is terminal: drop it after the commit */
};
struct effect {
    enum effect_kind kind;
    uint32_t task, attempt;
    int64_t due_us, grace_ms;
};

struct new_frame {
    uint32_t frame, parent_task, kind, graph, first_task, n;
    struct str items, inputs; /* JSON, may be empty */
    int64_t opened_us;
};

struct old_attempt { /* superseded in this turn */
    uint32_t task, attempt;
    enum task_state state;
    enum reason reason;
    struct str message, bundle_digest;
    int32_t exit_code;
    int64_t started_us, ended_us, log_bytes, memory_bytes;
};

struct run_out {
    struct arena *arena;
    uint64_t cost, spent; /* steps of evaluation: of what is done, and of the task or frame at hand */
    struct run_event *events;
    size_t n_events, room_events;
    struct effect *effects;
    size_t n_effects, room_effects;
    struct new_frame *frames;
    size_t n_frames, room_frames;
    struct old_attempt *attempts;
    size_t n_attempts, room_attempts;
};
void run_out_init(struct run_out *out, struct arena *a);
/* How much the turn has cost so far beside its tasks, in tasks that need no expression. */
uint64_t run_out_work(const struct run_out *out);

/* ---- step 1: what happened ---- */

void run_begin(struct run *r, int64_t now_us, struct run_out *out); /* first start, or admitted out of "queued" */
MUST_CHECK bool run_command(struct run *r, enum command c, const struct value *payload, int64_t now_us,
                            struct run_out *out, struct err *err);
/* A run that was just retried does not go on before run_begin: its pipeline lets only so many run at once. */
void run_hold(struct run *r);
/* false = stale (another attempt, or it ended already): the caller drops the result. */
bool run_task_ended(struct run *r, uint32_t task, uint32_t attempt, const struct task_result *res, int64_t now_us,
                    double random, struct run_out *out);
/* The cache's answer: outputs of the earlier success, or empty for a miss (the task becomes startable). True when the
 * task succeeded by it; false also for an answer nobody waits for any more. */
bool run_cache_answer(struct run *r, uint32_t task, struct str outputs, int64_t now_us, struct run_out *out);
void run_timer(struct run *r, int64_t now_us, double random, struct run_out *out); /* everything that is due */

/* The store refuses what this run would write: it fails with that message, its attempts are told to stop, nothing else
 * changes. */
void run_abort(struct run *r, struct str message, int64_t now_us, struct run_out *out);

/* ---- step 2: what starts ---- */

/* Evaluates conditions, loops, expressions, waits, … of the tasks that became ready before this call, at most `budget`
 * of them, and fewer when their expressions take long or make much: see run_out_work. *budget is what is left of it;
 * one task is looked at however little that is, so that the run gets on. What becomes ready by it is left for the next
 * turn, so that each layer is durable before the next begins. True when there is more to do. */
bool run_advance(struct run *r, uint32_t *budget, int64_t now_us, struct run_out *out);

/* Tasks that want an executor, in order (priority, then age). Limits of the run, its graphs and loops are already
 * applied: only those that may start by them are listed. run_ready_next(r, UINT32_MAX) gives the first, UINT32_MAX
 * means no more. */
uint32_t run_ready_next(const struct run *r, uint32_t after);
/* Takes a listed task off the list, as long as somebody else decides when it may start; its places at the gates stay
 * its own. Back it comes last. False: it was not where it is taken from. */
bool run_set_aside(struct run *r, uint32_t task);
bool run_put_back(struct run *r, uint32_t task);
/* Admitted by the executor's capacity: attempt + 1, state running, EFFECT_LAUNCH. `executor` is remembered in the row.
 */
void run_start_task(struct run *r, uint32_t task, struct str executor, int64_t now_us, struct run_out *out);

/* The attempt was recorded but surely never launched: emits its EFFECT_LAUNCH once more. Nothing of the record changes.
 */
void run_relaunch(struct run *r, uint32_t task, struct run_out *out);

/* ---- step 3: what is to be written ---- */

struct task_row { /* the row image; strings valid until the next call on the run */
    uint32_t task, frame;
    bool stored;             /* a row exists: update, else insert */
    uint32_t stored_attempt; /* fence: what the row holds now */
    enum task_state stored_state;
    enum task_state state;
    enum reason reason;
    uint32_t attempt, failures, free_failures;
    struct str path, message, executor, outputs;
    struct str bundle; /* restored: code of the attempt when it is not the run's, see other_bundle */
    bool other_bundle;
    int32_t exit_code;
    int64_t due_us, started_us, ended_us, log_bytes; /* 0 = NULL */
    int64_t memory_bytes;                            /* that the attempt asks for; 0 = it does not say */
};
size_t run_dirty_count(const struct run *r);
void run_dirty_row(const struct run *r, size_t i, struct arena *a, struct task_row *out); /* i < run_dirty_count */

struct run_summary { /* the run's own rows */
    enum run_state state, stop;
    bool state_changed; /* since the last run_committed */
    bool stop_exits;
    int64_t grace_ms;
    bool bundle_changed; /* likewise: attempts kept until now ran the one before */
    struct str bundle;
    struct str message;
    int64_t started_us, ended_us;
    struct str outputs; /* JSON, when terminal */
    uint32_t tasks_total, tasks_done, tasks_failed, tasks_running;
    uint32_t generation;
};
void run_summary(const struct run *r, struct arena *a, struct run_summary *out);
void run_committed(struct run *r); /* clears the dirty list and state_changed, marks rows as stored */

/* ---- restore ---- */

struct frame_row {
    uint32_t frame, parent_task, kind, graph, first_task, n;
    struct str items, inputs;
    int64_t opened_us;
};
MUST_CHECK bool run_restore_frame(struct run *r, const struct frame_row *f, struct err *err); /* in order of number */
MUST_CHECK bool run_restore_task(struct run *r, const struct task_row *t, struct err *err);   /* any order */
/* Recomputes what is derived (ready set, counters), and emits again the effects that may not have been performed: a
 * LAUNCH for each running attempt (executors treat a known name as a question), KILL for stopping ones, timers, HTTP, …
 */
MUST_CHECK bool run_restored(struct run *r, int64_t now_us, struct run_out *out, struct err *err);

/* ---- questions ---- */

const struct run_header *run_head(const struct run *r);
struct str
run_bundle(const struct run *r); /* digest of the code its attempts run now: a retry may have brought mended code */
enum run_state run_state_of(const struct run *r); /* as of now; the header holds what it was made with */
uint32_t run_task_count(const struct run *r);
enum task_state run_task_state(const struct run *r, uint32_t task);
uint32_t run_task_attempt(const struct run *r, uint32_t task);
const struct node *run_task_node(const struct run *r, uint32_t task);
int64_t run_task_started(const struct run *r, uint32_t task); /* its attempt, or the last one; 0 = none */
/* What it asks for, in bytes: its attempt, or the next one when it is ready to start. 0 = it does not say. */
int64_t run_task_memory(const struct run *r, uint32_t task);
struct str run_task_path(const struct run *r, uint32_t task, struct arena *a);
/* The items of the loops around the task, as JSON: with the path, what its work is known by in every frame that a retry
 * opens anew. Nothing outside of loops. */
void run_task_items(const struct run *r, uint32_t task, struct buf *out);
uint32_t run_task_find(const struct run *r, struct str path); /* UINT32_MAX when absent */
/* Environment for the task's templates: params, steps, item, index, run. Valid for this turn. */
void run_task_env(const struct run *r, uint32_t task, struct expr_env *out, struct arena *a);
/* Why a task that could start does not: pending names of upstream, paused, parallelism "2 of 2 run". False when nothing
 * of the run holds it back (then it is the executor's capacity). */
bool run_task_waits(const struct run *r, uint32_t task, struct buf *text);
bool run_waits(const struct run *r); /* some task of it does */
/* {"ready": n, "pending": n, …} with up to `max` examples {task, path, reason}: what active_runs.waiting holds. What
 * keeps a task that wants an executor is known to who admits it: told by `room`. `next` gives those that were launched
 * and cannot run yet, one a call, beginning with *cursor NULL; false at their end; it may be NULL. */
struct run_waiting {
    size_t max;
    void (*room)(const void *ctx, uint32_t task, struct buf *text);
    bool (*next)(const void *ctx, const void **cursor, uint32_t *task, struct str *why);
    const void *ctx;
};
void run_waiting_json(const struct run *r, const struct run_waiting *how, struct buf *out);
/* When a `wait` ends: after a duration, or at an RFC 3339 time. */
MUST_CHECK bool wait_due(const struct value *v, bool until, int64_t now_us, int64_t *due_us, struct err *err);
/* Debug: checks every invariant (dependencies first, terminal states absorb, counters true); for the simulator. */
MUST_CHECK bool run_verify(const struct run *r, struct err *err);

#endif
