/* What the scheduler asks of an executor, and what it hears back. An attempt's name is made of its id, so that asking
 * twice is harmless. All calls are made from the scheduler's thread and never block; blocking work goes to the launcher
 * or a worker thread. */
#ifndef MILLRACE_SCHEDULER_EXECUTOR_H
#define MILLRACE_SCHEDULER_EXECUTOR_H

#include "engine/flow/launch.h"
#include "engine/flow/run.h"

struct gpus; /* scheduler/gpus.h */

struct attempt_id {
    int64_t run;
    uint32_t task, attempt;
    int64_t made_us; /* when its run was: a database that is set back gives numbers again */
};

struct exec_request {
    struct attempt_id id;
    int64_t project_id;
    struct str project, run_name, step, path; /* path: train[2] */
    struct str checkpoint;    /* name of the folder that all attempts of the step share, whatever a retry opens anew */
    struct str bundle_digest; /* code to work in; empty = none */
    struct launch_spec spec;  /* valid during the call only */
    struct resources resources;
    int64_t timeout_ms, grace_ms; /* 0 = none; grace 0 = the default */
    int64_t started_us;           /* when it was recorded as running */
    struct str token;             /* for the API, scoped to this attempt; empty = none */
    struct str pin;               /* what the placer admitted it with: JSON, see kube_pin.h; empty = it was not asked */
    struct str api_url;
};

struct exec_output { /* an artifact that the attempt left, already in the blob store */
    struct str name, type, digest, metadata;
    int64_t size;
};

enum exec_event_kind {
    EXEC_ENDED,   /* result and artifacts are filled in */
    EXEC_UNKNOWN, /* a restored attempt is not known: it was never launched (`never` true), or its trace is lost */
    EXEC_WAITS    /* it does not run yet: result.message says why; empty = it does now */
};
struct exec_event {
    enum exec_event_kind kind;
    struct attempt_id id;
    bool never;
    struct task_result result; /* strings live in the caller's arena */
    const struct exec_output *artifacts;
    size_t n_artifacts;
};

struct exec_known { /* an attempt in the executor's memory */
    struct attempt_id id;
    bool ended; /* its end was told, or nobody asked for it: disown it, or leave it */
};

enum exec_placing {
    EXEC_PLACES, /* they wait for the placer */
    EXEC_COUNTS, /* they start as there is room: nothing is declared of queues */
    EXEC_UNSURE  /* that is not known yet: they wait for it to be */
};

/* One row an executor; `self` is its own state. */
struct executor {
    const char *name; /* "process" */
    void *self;
    bool placed; /* steps that need a GPU or name a queue wait for the placer: see placing.h */
    /* Whether they do now. NULL = always, where they are placed. */
    enum exec_placing (*placing)(void *self);
    /* The placer's domain to which they are admitted; lives as long as the executor. NULL = the instance. */
    const char *domain;
    bool images;      /* steps run in images: which one is part of what they do */
    bool hearsay;     /* what attempts left is told by their own pods, and looked up before it counts */
    struct str image; /* of those that name none */
    /* What attempts are given of the place's GPUs; the executor's, as long as it lives. NULL = the place sees to it. */
    struct gpus *gpus;
    /* The instance whose memory the attempts are in, e.g. "process:<launcher id>"; stored with each attempt. */
    struct str (*instance)(void *self);
    /* Launches; a name it knows already is not launched again, its end (past or future) is reported. `restored` says
     * that the attempt was recorded as running by an earlier process under instance `by`: then it must not be launched
     * anew unless surely never launched (same instance, unknown name, and no trace where others may take it away). It
     * may run, so it is not refused for what a launch would need: what there is of the spec serves to take its end. */
    bool (*launch)(void *self, const struct exec_request *req, bool restored, struct str by, struct err *err);
    /* `project`: whose secrets its log may show, where nobody has asked for the attempt; empty = of any. */
    void (*kill)(void *self, struct attempt_id id, struct str project, int64_t grace_ms);
    /* What it was admitted to is declared otherwise now: an attempt that still waits for that there ends as
     * preempted, one that has begun goes on. NULL = none waits so. */
    void (*requeue)(void *self, struct attempt_id id);
    /* The result is durable: forget the attempt and clean up behind it. */
    void (*forget)(void *self, struct attempt_id id);
    /* It counts no more: it is killed if it runs, its log covered as `kill` says, and then it is forgotten. Nothing is
     * told of it. */
    void (*disown)(void *self, struct attempt_id id, struct str project, int64_t grace_ms);
    /* What it knows, but for what is on its way: being prepared, collected, told, or killed. In the arena; returns how
     * many. */
    size_t (*known)(void *self, struct arena *a, struct exec_known **out);
    /* File descriptors to poll for reading; returns how many (at most max). */
    size_t (*fds)(void *self, int *fds, size_t max);
    /* The next event, false when none. */
    bool (*next)(void *self, struct arena *a, struct exec_event *out);
    void (*stop)(void *self); /* of the server: attempts go on */
};

#endif
