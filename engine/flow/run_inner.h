/* What the files run*.c share: how a run lies in memory. Nobody else includes this.
 *
 * A waiting task costs one `struct task`; what only some tasks have (attempts, times, texts) is a `struct extra` beside
 * it. Nothing scans all tasks on an event: ready tasks are linked, tasks to look at are queued (`fresh`), changed tasks
 * are listed (`dirty`), ends of frames are queued
 * (`closing`), times are in a heap (`due`). Tasks and frames are named by number, since their vectors move when they
 * grow. */
#ifndef MILLRACE_FLOW_RUN_INNER_H
#define MILLRACE_FLOW_RUN_INNER_H

#include "engine/base/map.h"
#include "engine/flow/run.h"

#define NONE UINT32_MAX
#define TURN_MAX_COST (2 * EXPR_MAX_COST) /* of expressions; what else would end is left for the next turn */
#define COST_PER_TASK 20                  /* steps of evaluation that take about as long as a task without any */
#define BYTES_PER_TASK 4096

enum task_flag {
    TASK_DIRTY = 1,     /* in r->dirty */
    TASK_LISTED = 2,    /* in the ready list: has passed all gates, wants an executor */
    TASK_QUEUED = 4,    /* waits at a gate */
    TASK_FRESH = 8,     /* in r->fresh: run_advance will look at it */
    TASK_CHECKED = 16,  /* its conditions have been evaluated */
    TASK_ASKED = 32,    /* the cache was asked and has not answered */
    TASK_NO_CACHE = 64, /* the cache has answered, or must not be asked */
    TASK_ASIDE = 128    /* has passed all gates, and waits for the placer: see run_set_aside */
};

struct task {
    uint32_t frame;
    uint32_t waits;      /* upstream tasks that have not ended */
    uint32_t next, prev; /* in the ready list; at a gate `prev` is its ticket */
    uint32_t extra;      /* NONE = never started */
    uint8_t state, reason, stored_state, flags;
    uint8_t held; /* gates it has passed, from the inside; see run_gate.c */
};

struct text; /* a counted string of its own */

struct extra {
    int64_t due_us, started_us, ended_us, log_bytes;
    int64_t memory; /* that its attempt asks for; 0 = it does not say */
    struct text *message, *outputs;
    const struct value *decoded; /* outputs, or a loop's results; in r->memo of number memo_gen */
    uint32_t memo_gen;
    uint32_t attempt, failures, stored_attempt;
    uint32_t child; /* frame it has opened, or NONE */
    int32_t exit_code;
    uint16_t executor; /* index into r->executors; 0 = none */
    uint16_t bundle;   /* likewise; 0 = the run's */
    uint8_t free_failures;
};

/* Texts that many tasks share, by number; [0] unused. */
struct names {
    struct text **p;
    uint16_t n;
};

enum frame_kind { FRAME_GRAPH = 1, FRAME_ITEMS = 2 };

struct waiter { /* at a gate: highest priority first, then the oldest */
    int32_t priority;
    uint32_t ticket, task;
};
struct gate {
    uint32_t limit, active; /* limit 0 = no gate */
    struct waiter *heap;
    uint32_t n, room;
};

struct frame {
    uint32_t parent_task, graph, first, n;
    uint8_t kind;
    bool dead;   /* its task was reset, and opens another one */
    bool active; /* its tasks may start */
    bool exits_begun;
    bool exits_cancelled;
    uint32_t open, open_exit; /* tasks that have not ended: ordinary ones, onExit ones */
    uint32_t bad, bad_exit;   /* failed or cancelled */
    uint32_t skipped;
    struct value inputs;       /* of a graph */
    const struct value *items; /* of a loop */
    int64_t opened_us;
    struct gate gate;
};

struct due {
    int64_t at_us;
    uint32_t task; /* NONE = the run's deadline */
};

struct ready_level {
    int32_t priority;
    uint32_t head, tail;
};

struct sweep { /* tasks of a stopping frame that have not been cancelled yet, from `cursor` */
    uint32_t frame, cursor;
};

struct u32_vec {
    uint32_t *p;
    uint32_t n, room;
};

struct run {
    const struct plan *plan;
    struct run_header head;
    char *head_text; /* of the header's strings */
    struct arena keep;
    struct arena memo;
    uint32_t memo_gen;

    enum run_state state, stop;
    enum reason stop_reason;
    bool state_changed, derived;
    bool stop_exits, bundle_changed;
    int64_t grace_ms; /* of its cancel */
    uint32_t generation;
    int32_t next_event;
    int64_t started_us, ended_us;
    struct text *message, *outputs, *bundle;

    struct task *tasks;
    uint32_t n_tasks, room_tasks;
    struct extra *extras;
    uint32_t n_extras, room_extras;
    struct frame *frames;
    uint32_t n_frames, room_frames;

    uint32_t count[TASK_STATE_COUNT]; /* of live tasks */
    uint32_t running_containers;
    struct u32_vec dirty, fresh, closing;
    uint32_t fresh_head; /* where the next one to look at is */
    struct sweep *sweeps;
    uint32_t n_sweeps, room_sweeps;
    struct due *due;
    uint32_t n_due, room_due;
    int64_t armed_us;           /* when the shell was told to call run_timer; 0 = not */
    struct ready_level *levels; /* highest priority first */
    uint32_t n_levels;
    uint32_t tickets;
    struct names executors, bundles; /* bundles: those of earlier generations */
    struct map *names;               /* one a graph, made when first asked */
    bool *named;
    size_t text_bytes;
};

/* A call's circumstances. */
struct turn {
    struct run *r;
    int64_t now_us;
    double random;
    struct run_out *out;
};

/* ---- run.c ---- */
void *run_grow(void *p, uint32_t *room, uint32_t need, size_t size);
void u32_push(struct u32_vec *v, uint32_t x);
struct text *text_new(struct run *r, struct str s); /* NULL for an empty one */
void text_free(struct run *r, struct text *t);
struct str text_str(const struct text *t);
void text_set(struct run *r, struct text **slot, struct str s);
uint32_t frame_add(struct run *r, const struct frame *f); /* with its tasks, pending */
const struct graph *frame_graph(const struct run *r, const struct frame *f);
uint32_t node_index(const struct run *r, uint32_t graph, struct str name); /* NONE when absent */

/* ---- run_task.c ---- */
struct extra *task_extra(struct run *r, uint32_t task); /* made when missing; valid until another one is made */
const struct extra *task_extra_get(const struct run *r, uint32_t task); /* of zeros when missing */
bool task_is_container(const struct run *r, uint32_t task);
bool task_is_loop(const struct run *r, uint32_t task);
bool task_is_exit(const struct run *r, uint32_t task);
uint32_t task_child(const struct run *r, uint32_t task);
bool verb_external(enum verb v); /* needs an executor */
/* The one place that moves a task: asks step_decide, keeps the counters, the gates, the frame and the row true, and
 * writes the event of what it came to (a start's is the caller's). `res` brings message, outputs, exit code; may be
 * NULL. False = refused, nothing changed. */
bool task_step(struct turn *t, uint32_t task, const struct step_input *in, const struct task_result *res);
bool task_event_step(struct turn *t, uint32_t task, enum step_event event, enum reason why);
void task_dirty(struct run *r, uint32_t task);
void task_fresh(struct run *r, uint32_t task);
void task_ready(struct run *r, uint32_t task); /* pending, nothing left to wait for */
void task_fail(struct turn *t, uint32_t task, enum failure f, enum reason why, struct str message);
void task_event(struct turn *t, enum event_kind kind, uint32_t task); /* with what is known of it as detail */
struct new_frame *new_frame_add(struct turn *t);
uint16_t name_number(struct run *r, struct names *names, struct str name); /* 0 when there are too many */
void run_event_add(struct turn *t, enum event_kind kind, uint32_t task, uint32_t attempt, struct str detail);
void effect_add(struct turn *t, struct effect e);
void due_set(struct turn *t, uint32_t task, int64_t at_us);
void due_push(struct run *r, uint32_t task, int64_t at_us);
void due_arm(struct turn *t);
bool due_pop(struct run *r, int64_t now_us, struct due *out);

/* ---- run_gate.c ---- */
bool gates_pass(struct run *r, uint32_t task);  /* false: it waits at one, and becomes fresh or listed later */
void gates_force(struct run *r, uint32_t task); /* restored: it runs already */
void gates_leave(struct run *r, uint32_t task);
void gates_withdraw(struct run *r, uint32_t task); /* a ready task is not to start any more */
void ready_add(struct run *r, uint32_t task);
void ready_remove(struct run *r, uint32_t task);
uint32_t gate_waiting_at(const struct run *r, uint32_t task); /* frame whose gate it waits at, or NONE */

/* ---- run_frame.c ---- */
void frame_activate(struct turn *t, uint32_t frame);
bool frame_stopping(const struct run *r, uint32_t frame);
void frame_stop(struct turn *t, uint32_t frame, enum reason why, int64_t grace_ms, bool exits_too);
void task_cancel(struct turn *t, uint32_t task, enum reason why, int64_t grace_ms);
void frame_supersede(struct run *r, uint32_t frame);
void frame_note_end(struct run *r, uint32_t frame);
bool sweep_some(struct turn *t, uint32_t *budget);
void sweep_add(struct run *r, uint32_t frame);
/* Frames that have ended, and what follows from it; those that the turn is too short for are left to run_advance. */
void turn_close(struct turn *t);
enum run_state frame_status(const struct run *r,
                            uint32_t frame); /* of what ended so far; RUN_RUNNING while nothing is decided */

/* ---- run_env.c ---- */
struct env_ctx {
    const struct run *r;
    uint32_t task;  /* or NONE, for the outputs of `frame` */
    uint32_t frame; /* the graph's instance */
    uint64_t spent; /* by the expressions evaluated with it */
};
/* What is spent with it counts as the turn's. */
void turn_env(struct turn *t, uint32_t task, struct env_ctx *ctx, struct expr_env *env);
void turn_env_of_frame(struct turn *t, uint32_t frame, struct env_ctx *ctx, struct expr_env *env);
bool env_reads_skipped(const struct run *r, uint32_t task, struct str *name);
bool env_template_reads_skipped(const struct run *r, uint32_t frame, const struct expr_template *template);
bool node_reads_item(const struct expr *when);

/* ---- run_open.c ---- */
bool open_loop(struct turn *t, uint32_t task, struct err *err);
bool open_graph(struct turn *t, uint32_t task, struct err *err);
bool frame_outputs(struct turn *t, uint32_t frame, struct str *json, struct err *err);
/* The value as the run will keep it; in the turn's arena. Fails when it is too big, or the run keeps too much. */
bool value_kept(struct turn *t, const struct value *v, struct str *json, struct err *err);

/* ---- run_retry.c ---- */
MUST_CHECK bool run_retry(struct turn *t, const struct value *payload, struct err *err);

/* ---- run_restore.c ---- */
void run_derive(struct run *r);

#endif
