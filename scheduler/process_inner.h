/* What the files process*.c share. Nobody else includes this.
 *
 * An attempt goes: prepared (its code is being unpacked) → launched → ended → collected (what it left is being stored)
 * → told → forgotten. It is known by name from the moment either the scheduler or the launcher first speaks of it. */
#ifndef MILLRACE_SCHEDULER_PROCESS_INNER_H
#define MILLRACE_SCHEDULER_PROCESS_INNER_H

#include "engine/base/map.h"
#include "engine/base/mask.h"
#include "engine/blob/store.h"
#include "engine/os/launcher.h"
#include "engine/os/worker.h"
#include "scheduler/gpu_host.h"
#include "scheduler/gpus.h"
#include "scheduler/process.h"
#include "scheduler/process_node.h"
#include "scheduler/step_env.h"
#include "scheduler/step_left.h"

#define ATTEMPT_NAME 64
#define SPARE_MAX 64
#define LOST_MESSAGE "the attempt was lost with the machine or the launcher it ran under"

enum attempt_phase {
    PHASE_SEEN,      /* the launcher spoke of it, nobody asked yet */
    PHASE_HELD,      /* asked for after a restart; the launcher has not told all it knows */
    PHASE_PREPARING, /* code and folders are being unpacked by a worker */
    PHASE_RUNNING,
    PHASE_COLLECTING, /* or of one that is unknown, the log is being covered */
    PHASE_TOLD        /* the scheduler has its end, or will with the next event */
};

struct attempt {
    struct job job; /* first: it is handed to the workers whole */
    struct process *owner;
    char name[ATTEMPT_NAME];
    struct attempt_id id;
    struct arena arena;
    enum attempt_phase phase;
    bool asked;     /* by the scheduler */
    bool known;     /* to the launcher */
    uint32_t heard; /* the connection on which it was last said to run */
    bool ended;     /* `end` or `result` holds how */
    bool queued;    /* among the events to be told */
    bool never;     /* unknown to the launcher that would know: it was never launched */
    bool disowned;  /* nothing is told of it: it is forgotten as soon as it has ended */
    bool kill_wanted;
    int64_t kill_grace_ms;
    struct launcher_request *request;   /* of one that is to be launched */
    struct str bundle;                  /* code to unpack; empty = none */
    const struct launch_input *fetched; /* inputs that need work first: packed folders are unpacked into scratch,
                                         * files of a store elsewhere are brought here */
    size_t n_fetched;
    const struct step_output *wanted; /* outputs */
    size_t n_wanted;
    bool secretive;        /* it was given secrets, or may have been: its log is covered before it is forgotten */
    struct str secrets_of; /* project whose secrets; empty = of any */
    struct mask mask;      /* their values: those it was given, and once it has ended what is there now */
    bool quotable;         /* its log shows none of them */
    char workdir[FS_PATH_MAX], log[FS_PATH_MAX];
    const char *checkpoint;           /* folder that the step's attempts share; NULL until it is requested here */
    int64_t memory_bytes, timeout_ms; /* what it may; 0 = any, or nobody has asked for it here */
    const char *memory_bound;         /* what its author may raise; NULL = nobody has asked */
    struct launcher_event end;        /* its strings copied */
    struct err prepare_error;
    struct task_result result;
    struct exec_output *artifacts;
    size_t n_artifacts;
    struct attempt *next_event, *next, **link;
};

struct gpu_job { /* asks how the GPUs are */
    struct job job;
    struct gpu_host *host;
    bool out; /* a worker has it */
};

enum spare { SPARE_WORKDIR, SPARE_CHECKPOINT, SPARE_LOG, SPARES };

struct process {
    struct process_config cfg;
    struct arena arena; /* strings of the configuration */
    struct launcher *launcher;
    struct blob_store *blobs;
    struct workers *workers;
    int gpu_timer; /* looks at GPUs; -1 = steps have none */
    struct gpus *gpus;
    struct process_node *node; /* NULL = steps have none */
    struct gpu_job gpu_job;
    int64_t uid, gid; /* of steps; -1 = ours */
    char instance[96];
    bool synced;
    uint32_t link; /* counts the connections to a launcher */
    int64_t synced_us;
    struct map by_name;    /* values: pointers */
    struct attempt *first; /* of all attempts */
    struct attempt *events, **events_end;
    bool forgetful;         /* the folder of secrets may not be written: said once */
    size_t n_spare[SPARES]; /* folders and logs to be used again */
};

/* process_request.c: fills a->request and a->wanted from the scheduler's request. */
MUST_CHECK bool process_request(struct process *p, struct attempt *a, const struct exec_request *req, struct err *err);
/* Of an attempt that is under way, or may be: only what it takes to collect it. What it was launched with may be gone
 * by now, which is no reason to end it. */
void process_expect(struct process *p, struct attempt *a, const struct exec_request *req);
/* In a worker: code and packed folders are unpacked. */
void process_prepare(struct job *job);
/* process_collect.c, in a worker: what the ended attempt left, and its result. */
void process_collect(struct job *job);
/* In a worker, for one whose end nobody will know: its log is covered, if there is one. */
void process_cover(struct job *job);
/* The result of an end that needs no worker: no outputs, or no log to quote. */
void process_result(struct attempt *a);
/* process.c: whether an attempt of that name is at hand. */
bool process_knows(const struct process *p, const char *name);

/* process_gpus.c: gives an attempt that is being launched the GPUs it asks for, and tells it which it may see. *note
 * goes with the launch, so that they are known to be held by whoever comes after this server. */
MUST_CHECK bool process_gpus(struct process *p, struct attempt *a, const struct exec_request *req,
                             struct step_vars *env, struct str *note, struct err *err);
MUST_CHECK bool process_gpus_open(struct process *p, struct err *err);
void process_gpus_close(struct process *p);
void process_gpus_look(struct process *p); /* when it is time; and tells the placer what has changed */
/* For a job that came back from the workers: true when it was that look. */
bool process_gpus_looked(struct process *p, const struct job *job);

/* process_work.c: the folders for all this. */
MUST_CHECK bool work_make_folders(const struct process *p, struct err *err);
/* Puts folders and the log in place as the launcher would make them, where there are spare ones. */
void work_take(struct process *p, struct attempt *a);
/* Of a forgotten attempt: kept to be used again; else a working directory is removed, checkpoint and log stay. */
void work_give_back(struct process *p, const struct attempt *a);
/* Removes what attempts nobody knows of have left. */
void work_sweep(struct process *p);
/* For a job that came back from the workers: frees it when it was one of these. */
bool work_drop_job(struct job *job);

#endif
