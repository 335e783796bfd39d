/* What the files of the Kubernetes executor share, each a room with its name above what it offers. Nobody else includes
 * this, but for their tests. Not among them are the pure rooms, which have headers of their own: what a Job says
 * (kube_job.h with kube_companion.c, kube_podspec.h, kube_pin.h, kube_claim.h), and what is heard of it (kube_pod.h,
 * kube_mover_end.h, kube_refusal.h, kube_words.h, kube_garbage.h, kube_late.h, kube_log_words.h, kube_room.h,
 * kube_service.h, kube_verdict.h); nor the placer's source (kube_nodes.h with kube_nodes_read.c and kube_nodes_count.c,
 * kube_devices.h with kube_devices_read.c) and what numbers of Kubernetes say (kube_quantity.h).
 *
 * An attempt goes: asked for → its Job is created → its pod starts, runs, ends → the rest of its log is drained → where
 * one of several has failed, the others stop → told → forgotten, which deletes its Job. It is known from the moment the
 * scheduler or a watch first speaks of it. */
#ifndef MILLRACE_SCHEDULER_KUBE_INNER_H
#define MILLRACE_SCHEDULER_KUBE_INNER_H

#include "engine/base/map.h"
#include "engine/kube/watch.h"
#include "engine/os/worker.h"
#include "scheduler/kube.h"
#include "scheduler/kube_garbage.h"
#include "scheduler/kube_job.h"
#include "scheduler/kube_pod.h"
#include "scheduler/kube_refusal.h"
#include "scheduler/kube_service.h"
#include "scheduler/kube_verdict.h"
#include "scheduler/step_left.h"

#define KUBE_UID 64
#define KUBE_POD_NAME 254

#define NEVER_BEGAN "was stopped before it began"
#define KUBE_JOB_LOST "its Job was deleted by somebody else"

enum kube_phase {
    KUBE_SEEN,     /* a watch spoke of it, nobody asked yet */
    KUBE_HELD,     /* asked for after a restart: not all there is was told yet, or its Job is asked for by its name */
    KUBE_CREATING, /* until it is sure that its Job is there */
    KUBE_CREATED,
    KUBE_DRAINING, /* its pod has ended, or is none of its any more */
    KUBE_STOPPING, /* how it ended is known; its other pods stop before that is told */
    KUBE_TOLD,     /* the scheduler has its end, or will with the next event */
    KUBE_FORGOTTEN /* nobody wants to know any more: its Job is being deleted */
};

struct kube_helped {             /* by containers of the user's own in a pod; monotonic, 0 = by none */
    int64_t before_us, after_us; /* since when one keeps the step from beginning, or its outputs from being kept */
    bool released;               /* its pod is being deleted */
    const char *mover;           /* a container of Millrace's own that is at work; NULL = none is */
    int64_t moves_us;            /* since when */
};

struct kube_said {          /* by the container that is at work */
    const char *mover;      /* which */
    int64_t since_us;       /* since when; 0 = none is */
    int64_t asked_us;       /* when its log was asked for last */
    struct kube_call *call; /* for it */
    char *text;             /* its last line; NULL or empty = it says nothing of any trouble */
};

struct kube_silence { /* of a pod that does not start, and does not say why */
    int64_t since_us; /* monotonic; 0 = it has started, or says why */
    bool placing;     /* it has no node */
    bool taken;       /* it has, whose kubelet knows of it */
    char uid[KUBE_UID], scheduler[64], node[KUBE_POD_NAME];
    char *claims; /* see kube_pod_claims; NULL = it has none */
    char *why;    /* as others tell; NULL = nobody has */
    bool hangs;   /* for want of something */
    bool told;    /* by an event */
};

struct kube_rank {                          /* the pod of a worker: the only one, or one of several */
    char uid[KUBE_UID], pod[KUBE_POD_NAME]; /* uid empty = there is none, or no longer */
    char *waits;
    enum kube_stage stage;
    bool hangs, ended, well, hurried;
    bool keeping;            /* the step itself has ended there, and what it left is being kept */
    int64_t running_us;      /* monotonic; 0 = not yet */
    int64_t lost_us;         /* monotonic; it is being deleted: when that ought to be over; 0 = it is not */
    struct task_result lost; /* how the attempt ends if it is not over then */
    struct kube_helped helped;
    struct kube_silence silence;
};

enum { KUBE_SERVICE, KUBE_SECRET, KUBE_BELONGINGS };

struct kube_belonging { /* see kube_belongings.c */
    struct kube_attempt *of;
    struct kube_call *call; /* its creation */
    bool there;
    uint32_t tries;   /* that were refused, one after the other */
    char *why;        /* it is not, though it was asked for; NULL = nobody has said no */
    bool denied;      /* by an answer, so that it surely is not */
    int64_t retry_us; /* when it is created again; 0 = it is not */
};

/* How far an attempt's log has come: kube_logs.c. */
struct kube_log {
    struct kube_call *call; /* stream or request under way */
    int fd;                 /* -1 = not open */
    bool asked;             /* for, and not in vain because its container had not begun */
    int64_t bytes;          /* of the file */
    int64_t skip;           /* bytes of the answer that are in the file already */
    uint32_t rank;          /* of the pod whose log is fetched */
    int64_t base, seen;     /* where its part of the file begins; how much of it this answer has brought */
    int64_t from;           /* where in the file an answer begins: base, until its node has rotated it */
    bool moved;             /* from has: it is asked for again */
    bool begun;             /* by this answer */
    struct buf held;        /* what of it may be its node's own words */
    bool words;             /* it was: its node has none any more, or cannot follow it */
    uint32_t unfollowed;    /* how often it could not */
    int64_t again_us;       /* monotonic: when it is asked for that again; 0 = at any time */
    bool within;            /* a line */
    bool whole;             /* all of it is in the file */
    bool follows;           /* this answer goes on while the step runs */
    bool full;              /* it is as long as it may be */
    bool broken;            /* it could not be written */
    bool followed;          /* to its end, by which the step has ended, too */
    int64_t ended_us;       /* wall clock: when a stream that follows ended by itself; 0 = none has */
    uint32_t tries;         /* that were answered */
    struct str refused;     /* what the server says that does not give it; empty = it may */
    bool away;              /* the last one was not: the API server is away */
};

struct kube_attempt {
    struct kube *owner;
    struct attempt_id id;
    struct arena arena;
    enum kube_phase phase;
    bool asked; /* the scheduler has */
    bool never; /* it was not launched, unless its Job or its pod turns up */
    struct kube_attempt *next, **link;

    /* what it may */
    int64_t timeout_ms, soft_ms; /* 0 = any time; its own grace */
    uint32_t workers;            /* how many the step has; 0 = nobody has asked yet */
    const char *memory_bound;    /* what its author may raise; NULL = nobody has asked yet */

    /* its Job */
    char name[KUBE_JOB_NAME], job_uid[KUBE_UID];
    struct str manifest;            /* while it is being created */
    struct kube_template *template; /* of its claim for devices; NULL = it has none */
    struct kube_call *call;         /* creation or deletion under way */
    int64_t retry_us;               /* the next try of what `call` would do; 0 = none */
    uint32_t tries;
    bool unsure;                   /* a creation may have been carried out, nobody knows */
    bool job_there;                /* by the watch, or by the answer to its creation */
    bool job_ended, job_completed; /* it says so; the pod tells more, if there is one */
    char job_version[KUBE_UID];    /* as it was told last */
    bool held_by_kueue;            /* it is suspended until Kueue admits it */
    bool requeue;                  /* then it is to end: its queue is another one's now */
    int64_t requeue_us;            /* not before that; it was refused */
    bool retaken;                  /* Kueue had admitted it, and has taken that back since */
    bool retaken_unseen;           /* so it seems: no server has looked */
    bool suspended;                /* by whoever else */
    bool deleted;                  /* its deletion was accepted, or it was gone */
    bool dismissed;                /* by us: what belongs to it goes with it */
    int64_t job_ran_us;            /* from its start to its failure, which says nothing of its pod; 0 = not known */
    struct kube_belonging belongings[KUBE_BELONGINGS];

    /* its pod */
    struct kube_rank *ranks; /* those that are known, by their ranks: of the only worker it is 0 */
    uint32_t n_ranks;
    bool gang;                  /* its pods say their ranks */
    char pods_job[KUBE_UID];    /* what controls it, or them */
    enum kube_stage stage;      /* of rank 0, as `keeping`, `running_us` and `heard_us` */
    bool ended;                 /* `result` and `said` say how */
    bool keeping;               /* the step itself has ended well */
    bool late;                  /* a server that may have been killed since has stopped it for its time */
    struct task_result first;   /* how rank 0 ended */
    int64_t taken_us;           /* one was taken away: when it is given up to hear why; 0 = none was */
    uint32_t taken_rank;        /* the first that was */
    struct task_result taken;   /* how it ended */
    struct kube_untold *untold; /* see kube_untold.c */
    uint32_t failed_rank;       /* whose end is the attempt's; 0 = none has, or it was rank 0 */
    struct kube_call *question; /* whether there is a pod */
    int64_t looked_us;          /* when that was asked last */
    struct kube_call *release;  /* the deletion of a pod in which somebody goes on */

    /* when; monotonic, 0 = not yet */
    int64_t created_us, running_us, killed_us, forgotten_us;
    int64_t heard_us;                  /* that it runs, as its pod says with running_us in whole seconds */
    int64_t drain_us, drained_from_us; /* when its log went on last, and began to be drained */
    int64_t hangs_us;                  /* since when it has been unable to start; 0 = it is not */
    int64_t hung_us, eased_us;         /* since when it was, and when that was heard last; 0 = it never was */

    /* why it does not run yet */
    char *waits;     /* as it was told last */
    char *unwatched; /* what the server says, which lets nobody hear of its pod; NULL or empty = it does */
    struct kube_said words;
    bool waits_changed; /* any of these */
    struct kube_attempt *next_news;

    /* how it is stopped */
    bool kill_wanted;
    bool expired;      /* for it has run longer than it may */
    bool keeps_job;    /* until its end is told; its pods are deleted alone */
    bool hurry;        /* its pod has grace_ms to end, and not what it was made with */
    uint32_t hurrying; /* the rank that is being told */
    int64_t grace_ms;

    /* its secrets */
    struct str secrets_of;     /* the project whose secrets it may show; empty = it was given none */
    const struct str *secrets; /* values, in its arena */
    size_t n_secrets;
    struct str secret_name;
    struct mask mask; /* what is covered of all it shows */
    bool mask_made;

    struct kube_log log;
    bool drained; /* it is there */

    /* what it left */
    struct str said;          /* the step's termination message */
    size_t said_max;          /* one of that length was cut */
    struct str manifest_said; /* the collecting sidecar's */
    struct str killed;        /* by whom it was; empty = it was not */
    bool out_of_memory;       /* it was for that */
    struct str deaf;          /* see kube_pod.h */
    const struct step_output *outputs;
    size_t n_outputs;
    bool collects;                /* they come by a sidecar's manifest; else there is one at most, as `said` */
    struct kube_reading *reading; /* a manifest that is fetched */
    char manifest_digest[DIGEST_TEXT];
    int64_t reread_us, read_since_us; /* when it is asked for again, 0 = it is not; since when it is asked for */
    struct exec_output *artifacts;
    size_t n_artifacts;

    /* its end */
    struct task_result result;
    bool queued; /* among the events to be told */
    struct kube_attempt *next_event;
};

/* An object with our label that is no attempt's, or a pod without a Job: see kube_identity.c. */
struct kube_stray {
    struct kube *owner;
    char uid[KUBE_UID], name[KUBE_POD_NAME], job_uid[KUBE_UID]; /* job_uid empty: a pod that nothing controls */
    bool job, ended, stopped; /* as a pod: it has ended; it was told to, as its attempt has */
    bool first;               /* it says that it is the only one, or rank 0 */
    struct attempt_id id;     /* whose it was, or as its labels say; none: run 0 */
    int64_t since_us;         /* monotonic: since when, or when its deletion was tried last */
    struct kube_call *call;
    struct kube_stray *next;
};

struct kube_question { /* see kube_question.c */
    struct kube *owner;
    void (*told)(struct kube *k, const struct kube_answer *answer, struct arena *turn);
    struct kube_call *call; /* NULL = it is not asked now */
    int64_t answered_us;    /* the last time */
};

struct kube {
    struct kube_config cfg;
    struct arena arena; /* strings of the configuration */
    struct kube_access access;
    struct kube_client *client;
    struct kube_watch *jobs, *pods; /* pods: once all Jobs were told; NULL = not yet */
    char instance[512];
    struct blob_store *blobs; /* both for manifests only */
    struct workers *workers;
    int timer; /* once a second while there is anything to look after */
    bool ticking;
    struct map by_id;           /* values: pointers */
    struct kube_attempt *first; /* of all attempts */
    struct kube_stray *strays;
    struct kube_attempt *events, **events_end;
    struct kube_attempt *news;    /* whose `waits` has changed since it was told */
    struct kube_question podless; /* why there are no pods */
    struct kube_question held;    /* why Kueue holds Jobs */
    struct kube_question silent;  /* why pods do not start */
    uint32_t asked_movers;        /* logs of theirs that are being asked for */
    uint32_t kueue_version;       /* of its API that is tried next */
    struct kube_garbage garbage;  /* at the last tick */
    int64_t late_us;              /* that nodes are in telling of ends: kube_late.h */
    bool forgetful;               /* the folder of secrets may not be written: said once */
    struct kube_template *templates;
    struct kube_call *seeking; /* for templates that were left behind */
    bool sought;
    int64_t sought_us;
    int64_t ticked_us, watched_us; /* the last tick, and the last one without trouble of the pods' watch */
};

/* ---- kube.c: the attempts, and what the scheduler asks and hears of them ---- */
struct kube_attempt *kube_find(const struct kube *k, struct attempt_id id);
struct kube_attempt *kube_add(struct kube *k, struct attempt_id id);
void kube_drop(struct kube *k, struct kube_attempt *a);
void kube_timer(struct kube *k);           /* ticks as long as there is anything to look after */
void kube_tell(struct kube_attempt *a);    /* its end; a->result is set */
void kube_nowhere(struct kube_attempt *a); /* of one that was asked for after a restart: it is not there */
bool kube_synced(const struct kube *k);    /* all there is was told */
/* Why nothing is heard of pods; NULL = it is. */
const char *kube_pods_trouble(const struct kube *k);
/* On the monotonic clock, of a time that a node tells, which may have another wall clock: not after now, and not before
 * there was anything to run. */
int64_t kube_since(const struct kube_attempt *a, int64_t wall_us);
/* Visits all, from k->first on, also when fn drops the one it is given. */
void kube_each(struct kube *k, void (*fn)(struct kube *k, struct kube_attempt *a));

/* ---- kube_request.c: what the scheduler asks for, made a Job ---- */
/* Fills a->name, a->manifest and what its end needs. */
MUST_CHECK bool kube_prepare(struct kube *k, struct kube_attempt *a, const struct exec_request *req, struct err *err);
/* The same for one that may be under way already: only what its end needs. */
void kube_expect(struct kube *k, struct kube_attempt *a, const struct exec_request *req);

/* ---- kube_templates.c: the templates of claims for devices ---- */
struct kube_template;
/* What the attempt claims; nothing without a class. */
void kube_template_want(struct kube_attempt *a, const struct kube_claim *claim);
/* May its Job be created? If not, it is when its template is there, or it ends. */
bool kube_template_ready(struct kube_attempt *a, int64_t now_us);
void kube_template_hear(struct kube_attempt *a, const struct value *job); /* what a Job names */
void kube_templates_seek(struct kube *k);
void kube_templates_tick(struct kube *k, int64_t now_us);
void kube_templates_drop(struct kube *k); /* with its attempts gone */

/* ---- kube_question.c: one question for all attempts ---- */
#define KUBE_ASK_US 5000000
#define KUBE_ASKED_MOST "500" /* of the objects that the server has, any: attempts of the rest say nothing yet */
/* Nothing when it is being asked, or was answered a moment ago. `turn` goes when `told` has returned. */
void kube_ask(struct kube *k, struct kube_question *q,
              void (*told)(struct kube *k, const struct kube_answer *answer, struct arena *turn), const char *path, ...)
    __attribute__((format(printf, 4, 5)));
/* Of a list of events the newest about an object, for a reason that `tells` takes; NULL = any reason, or no event. */
const struct value *kube_newest_event(const struct value *events, const char *uid, bool (*tells)(struct str reason));

/* ---- kube_podless.c: why a Job has no pod ---- */
bool kube_is_podless(const struct kube_attempt *a);
void kube_ask_why(struct kube *k);           /* there are such */
void kube_suspended(struct kube_attempt *a); /* by whoever else: is said */
/* Its Job has ended, is gone, or was taken back, and no pod was told of: if there is one it is told of now, and the
 * attempt ends if not. To be said again until then. */
void kube_ask_pod(struct kube_attempt *a);
void kube_ask_pod_hear(struct kube_attempt *a, const struct value *items); /* the answer */

/* ---- kube_kueue.c: what a Job waits for that is suspended for Kueue ---- */
void kube_ask_kueue(struct kube *k); /* there are such */
/* Its queue hands over to another LocalQueue now: its Job is deleted if it is held. Once a second. */
void kube_requeue(struct kube_attempt *a, int64_t now);
void kube_requeued(struct kube_attempt *a); /* that is done */

/* ---- kube_identity.c: whose an object is ---- */
/* NULL = nobody's that is known. One that is told of for the first time is added. */
struct kube_attempt *kube_job_of(struct kube *k, enum kube_change change, bool labelled, struct attempt_id id,
                                 struct str name, struct str uid);
struct kube_attempt *kube_pod_of(struct kube *k, enum kube_change change, bool labelled, const struct kube_pod *pod);
/* Now that its Job's name is known: what was told of another of its hash, a copy, is taken back. */
void kube_name_job(struct kube_attempt *a, const char *name);
/* Its Job may have been told of when it was not known by its labels. */
void kube_claim_job(struct kube_attempt *a);
bool kube_launched(const struct kube_attempt *a); /* a stray pod says that it is its */
/* Does a pod say so that nothing controls, and that is not known as its? It does not count. */
bool kube_left_pod(const struct kube_attempt *a);
/* Does one of these go on? It is not to meet the next attempt's. */
bool kube_left_going(const struct kube_attempt *a);
/* The one of these whose log is its: the only one, or rank 0's. NULL = none. */
const char *kube_left_name(const struct kube_attempt *a);
void kube_strays_tick(struct kube *k);
void kube_strays_drop(struct kube *k);

/* ---- kube_belongings.c: what goes with a Job ---- */
void kube_belongings_create(struct kube_attempt *a); /* when its Job is there; harmless if they are, too */
void kube_belongings_tick(struct kube_attempt *a, int64_t now);
void kube_belongings_drop(struct kube_attempt *a);
void kube_belongings_remove(const struct kube_attempt *a); /* by name: it is over, and others have deleted its Job */
/* Its workers have failed: whether they had their Service is asked once more, by making it. It may have been refused
 * for the last time since, or made by a request whose answer was lost, or nobody has asked: the server is a new one. */
void kube_belongings_late(struct kube_attempt *a);
bool kube_belongings_asked(const struct kube_attempt *a); /* that is under way */
/* Why they had none; NULL = they had, or that is not sure, since the API server was away. */
const char *kube_belongings_denied(const struct kube_attempt *a);
/* Why one of them is not there: what the attempt waits for, or lacks as it runs. NULL = none is known to lack. */
const char *kube_belongings_lack(const struct kube_attempt *a);

/* ---- kube_delete.c: Jobs and pods are deleted ---- */
void kube_delete(struct kube_attempt *a); /* what is known to be its, by uids */
/* version: of no other than that; empty = of any. */
void kube_delete_job(struct kube_attempt *a, const char *version, enum kube_priority priority,
                     void (*done)(void *ctx, const struct kube_answer *answer));
/* One pod by itself; it leaves the Job as it is. */
struct kube_deletion {
    const char *pod, *uid; /* the pod of that name is let be if it is another */
    int64_t grace_ms;      /* for it to end; -1 = what it was made with */
    enum kube_priority priority;
    void (*done)(void *ctx, const struct kube_answer *answer);
    void *ctx;
};
struct kube_call *kube_delete_pod(struct kube *k, const struct kube_deletion *d);
/* Whether what was to be deleted will go, is gone, or was not ours: 409 says that another has its name. */
bool kube_deleted(const struct kube_answer *answer);
/* It may have been refused: that is said where somebody waits for it. */
void kube_not_deleted(struct kube_attempt *a, const char *what, const struct kube_answer *answer);
void kube_gone(struct kube_attempt *a); /* its Job is not there any more */

/* ---- kube_create.c: Jobs are created ---- */
void kube_create(struct kube_attempt *a);
void kube_begun(struct kube_attempt *a); /* somebody told of its Job, or its pod: it need not be created any more */

/* ---- kube_holder.c: who has the name of a Job ---- */
enum kube_holder { KUBE_NOBODY, KUBE_OURS, KUBE_STRANGER };
/* Of the Jobs of that name, one at most. Ours is one that is watched, by its label, and the one that controls a pod of
 * ours (`uid`, empty = none is known). Pure. */
enum kube_holder kube_holder_of(const struct value *items, struct str instance, const char *uid);
/* As a->call: then its Job is known by its uid, or it is created again after a pause, or it counts as gone. */
void kube_holder_ask(struct kube_attempt *a);
void kube_holder_hear(struct kube_attempt *a, const struct value *items); /* the answer */

/* ---- kube_hear.c: what the watches say ---- */
void kube_hear_job(void *ctx, enum kube_change change, const struct value *object);
void kube_hear_pod(void *ctx, enum kube_change change, const struct value *object);

/* ---- kube_untold.c: what watches do not tell ---- */
/* A watch says that it is gone: `object`, a pod or a Job, of which a pod's reader has read what both have. False: it
 * is. Else it is told of again, by whom it is asked. */
bool kube_untold(struct kube_attempt *a, bool job, const struct kube_pod *object);
void kube_untold_job(struct kube_attempt *a); /* its Job: what that says, nobody has heard */
void kube_untold_hear(struct kube_attempt *a, const char *uid, const struct value *items); /* the answer */
void kube_untold_tick(struct kube_attempt *a, int64_t now);                                /* once a second */
void kube_untold_drop(struct kube_attempt *a);

/* ---- kube_waits.c: why attempts do not run yet ---- */
/* Empty = it does. */
void kube_waits(struct kube_attempt *a, struct str text);
__attribute__((format(printf, 2, 3))) void kube_waits_for(struct kube_attempt *a, const char *fmt, ...);
/* It cannot start: since when is remembered, over a moment in which it seems that it can. */
void kube_hangs(struct kube_attempt *a, bool hangs);
/* If it turns out in a moment that it cannot, it could not since then, when another server was told so. */
void kube_hung(struct kube_attempt *a, int64_t wall_us);
void kube_waits_tick(struct kube_attempt *a, int64_t now); /* once a second, until its pod has ended */
void kube_news(struct kube_attempt *a);                    /* kube_waits_text reads otherwise */
struct str kube_waits_text(const struct kube_attempt *a, struct arena *m);
const char *kube_waits_why(const struct kube_attempt *a); /* the cause alone; empty = there is none */
/* Puts it behind the end of one that had no time to begin. */
void kube_waits_quote(struct kube_attempt *a, const struct kube_pod *pod, const char *why, struct task_result *r);
void kube_waits_drop(struct kube_attempt *a);

/* ---- kube_ends.c: how attempts end ---- */
/* Here and now, for a reason of ours. */
void kube_end(struct kube_attempt *a, enum failure f, enum reason r, struct str message);
struct kube_standing kube_standing(const struct kube_attempt *a);
void kube_end_by_job(struct kube_attempt *a);                 /* which has; no pod is left to say how */
void kube_end_by_loss(struct kube_attempt *a, struct str of); /* of its pod, or one `of` several */
void kube_end_left(struct kube_attempt *a, struct str how);   /* in that way; some of its pods it has left */
void kube_end_lost(struct kube_attempt *a, struct str how);   /* in that way, unless somebody has stopped it */
/* Of one that was not left to itself, that is how it ended. */
void kube_cause(struct kube_attempt *a, struct task_result *r);
void kube_finish(struct kube_attempt *a); /* its pod has ended, and somebody has asked */
void kube_last_words(struct kube_attempt *a, const struct kube_pod *pod); /* what that left by its messages */

/* ---- kube_tick.c: what time brings ---- */
void kube_tick(struct kube *k);          /* once a second */
void kube_later(struct kube_attempt *a); /* its Job is created, or deleted, again after a pause */
int64_t kube_again_us(uint32_t tries);   /* when what was refused so often is tried again */

/* ---- kube_ranks.c: an attempt's pods ---- */
#define KUBE_RANKS_MAX 1024
/* Somebody has said why one of them is silent. */
void kube_silence_told(struct kube_attempt *a, struct kube_rank *r);
/* Is one of its pods there? */
bool kube_has_pod(const struct kube_attempt *a);
/* Is one missing that has not ended? */
bool kube_lacks_pod(const struct kube_attempt *a);
void kube_rank_hear(struct kube_attempt *a, enum kube_change change, uint32_t rank, const struct kube_pod *pod);
/* One by the uid of its pod; UINT32_MAX = none has it. */
uint32_t kube_rank_of(const struct kube_attempt *a, struct str uid);
/* One that goes on and was not told to hurry; UINT32_MAX = none. */
uint32_t kube_rank_to_hurry(const struct kube_attempt *a);
void kube_ranks_tick(struct kube_attempt *a, int64_t now);
/* Of several, some may go on when one has failed, and so may what its Job left: until they have stopped the next
 * attempt must not begin, nor may what they hold be given away. False: there is nothing to wait for. */
bool kube_ranks_stop(struct kube_attempt *a);
void kube_ranks_stopped(struct kube_attempt *a); /* then it is told */
void kube_ranks_hurry(struct kube_attempt *a);   /* tells them, while what has ended is still looked at */
bool kube_ranks_going(const struct kube_attempt *a, int64_t now); /* is one being deleted whose node may yet say so? */
/* Does one of them still work that has had its time? */
bool kube_ranks_late(const struct kube_attempt *a, int64_t now);
/* What was told of them was told before anybody had asked. */
void kube_ranks_asked(struct kube_attempt *a);
/* How many are known was not known when they ended. */
void kube_ranks_settle(struct kube_attempt *a);
void kube_ranks_drop(struct kube_attempt *a);
/* The pod whose log is fetched. */
const char *kube_log_pod(const struct kube_attempt *a);

/* ---- kube_helpers.c: containers of the user's own ---- */
/* One that has not ended. */
void kube_helper_hear(struct kube_attempt *a, struct kube_helped *h, const struct kube_pod *pod);
/* What a step that has ended still waits for; empty = it has not ended. */
struct str kube_helper_text(const struct kube_pod *pod, struct arena *a);
/* Once a second; false: it has been kept from beginning for too long. */
bool kube_helper_tick(struct kube_attempt *a, int64_t now);

/* ---- kube_movers.c: containers of Millrace's own ---- */
void kube_mover_hear(struct kube_helped *h, const struct kube_pod *pod);
void kube_mover_tick(struct kube_attempt *a, int64_t now); /* once a second, before its pod has ended */
void kube_mover_drop(struct kube_attempt *a);
/* What the one at work says, to stand behind something else; empty = nothing. */
struct str kube_mover_note(const struct kube_attempt *a, struct arena *m);
/* Puts it behind the end of one that had no time to begin. */
void kube_mover_quote(struct kube_attempt *a);

/* ---- kube_secrets.c: secrets of the server ---- */
/* The value of a variable, from the attempt's own Secret. */
MUST_CHECK bool kube_secret_take(struct kube_attempt *a, const struct exec_request *req, const struct launch_env *e,
                                 struct kube_variable *out, struct err *err);
void kube_secret_json(const struct kube_attempt *a, struct buf *out); /* that Secret */
/* What stands in its log from there on. */
void kube_secret_cover_log(struct kube_attempt *a, int64_t from);
/* What its end says; outputs that hold one are none. */
void kube_secret_cover(struct kube_attempt *a);

/* ---- kube_silence.c: pods that do not say why they do not start ---- */
#define KUBE_UNREADABLE                                                                                                \
    "why cannot be read: let the server's account list events there; Kubernetes says: %.*s" /* with what it says */
/* What a pod that has not begun waits for by itself. */
void kube_silence_hear(struct kube_silence *s, const struct kube_pod *pod, enum kube_hope hope);
void kube_silence_drop(struct kube_silence *s);
void kube_silence_tick(struct kube_attempt *a); /* once a second */

/* ---- kube_outputs.c: what the step left ---- */
/* Of one that has succeeded so far: outputs and artifacts, or another result. What takes time is a->reading; then
 * kube_drained is called again. */
void kube_outputs(struct kube_attempt *a);
void kube_outputs_hear(struct kube *k); /* the workers have something */
void kube_outputs_tick(struct kube_attempt *a, int64_t now);
void kube_outputs_leave(struct kube_attempt *a); /* nobody wants them any more */
void kube_outputs_drop(struct job *job);

/* ---- kube_logs.c: the log is kept as it is told ---- */
void kube_log_follow(struct kube_attempt *a); /* its container has been running for a while */
void kube_log_drain(struct kube_attempt *a);  /* it has ended: what is missing is fetched; then kube_drained */
bool kube_log_any(struct kube_attempt *a);    /* something is there of it, by whomever */
void kube_log_close(struct kube_attempt *a);
void kube_log_tick(struct kube_attempt *a); /* while it is drained, once a second */
void kube_drained(struct kube_attempt *a);  /* then it is told, unless it is being read */

#endif
