/* What a pod's status says about the attempt that it carries. Pure.
 * https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ */
#ifndef MILLRACE_SCHEDULER_KUBE_POD_H
#define MILLRACE_SCHEDULER_KUBE_POD_H

#include "scheduler/executor.h"
#include "scheduler/kube_mover_end.h"

enum kube_stage {
    KUBE_STAGE_PLACING,  /* has no node yet */
    KUBE_STAGE_STARTING, /* has one; volumes, images */
    KUBE_STAGE_RUNNING,  /* or its outputs are being kept */
    KUBE_STAGE_ENDED
};

/* Texts are slices of the pod's own. */
struct kube_pod {
    struct attempt_id id;
    struct str name, uid, node;
    bool owned;              /* something controls it */
    struct str job, job_uid; /* a Job that does; empty = none */
    int32_t rank;            /* among the pods of a Job with several; -1 = it has one */
    enum kube_stage stage;
    int64_t since_us; /* since when it has had its node, or been known to find none; else since it is there */
    bool deleting;
    int64_t grace_us; /* of its deletion */
    int64_t stop_us;  /* since when it has been told to stop, by a deletion or a disruption; 0 = it was not */
    bool has_exit;
    int32_t exit_code;
    int64_t started_us, ended_us;       /* of the step's container; 0 = not said */
    struct str reason, message;         /* why it ended, or waits: of the container */
    struct str pod_reason, pod_message; /* of the pod as a whole */
    struct str disruption, disruption_message;
    size_t message_max;       /* bytes of a termination message that its kubelet leaves */
    bool message_is_output;   /* of the step's container: so its log's last lines are not in it */
    struct str manifest;      /* what the collecting sidecar said as it ended */
    bool collecting;          /* it has not ended yet */
    bool fetching;            /* the step's code and inputs are on their way */
    bool unfetched;           /* they did not come */
    bool unfetchable;         /* and never will */
    struct str fetch_message; /* why */
    struct kube_mover_end fetch_end, collect_end;
    /* A container of the user's own that keeps others waiting: the step while `stage` is before KUBE_STAGE_RUNNING, its
     * outputs after it has ended. Empty = there is none. */
    struct str helper;
    int64_t helper_us;  /* since when it runs */
    bool helper_beside; /* a sidecar, which has not started yet */
    struct str sidecar; /* one that runs beside the step, for as long as it does; empty = there is none */
    struct str broken;  /* one that failed, before the step could begin; empty = none */
    int32_t broken_code;
    struct str broken_reason, broken_message;
    struct str deaf;            /* one that was told to stop, and took all of the pod's grace; empty = none */
    bool collected;             /* there is one */
    int64_t timeout_us;         /* of the step whose outputs are collected; 0 = none */
    int64_t deadline_us;        /* of the pod; of a step whose outputs nobody collects its timeout. 0 = none */
    bool in_time;               /* the step's container is known to have ended before the pod's deadline */
    bool failed;                /* the pod's phase */
    struct str memory_limit;    /* of the step's container, as it stands there; empty = none */
    const char *memory_bound;   /* what its author may raise, as its attempt knows; NULL = nobody does */
    bool probed;                /* it is ended when a probe fails */
    struct str scheduler;       /* by which it is placed */
    const struct value *claims; /* for devices, as they stand there; NULL = none */
    bool taken;                 /* its node's kubelet has said anything of it */
    bool ready;                 /* its volumes and its network are there: containers can start */
};

/* A time that Kubernetes says there, in µs since 1970; 0 = it says none. */
int64_t kube_time(const struct value *map, const char *key);
/* False when its labels, which anybody may edit, do not say whose it is: then `id` is none; the rest is read all the
 * same. */
bool kube_pod_read(const struct value *object, struct kube_pod *out);

/* How an attempt ended whose pod has (stage KUBE_STAGE_ENDED), but for its outputs: ok, failure, reason, exit code,
 * times, and a message that quotes Kubernetes. */
void kube_pod_result(const struct kube_pod *pod, struct arena *a, struct task_result *out);

/* The same of one that has been deleted and is still there long after its grace: with its node, or cut off from it. */
void kube_pod_lost(const struct kube_pod *pod, struct arena *a, struct task_result *out);

/* Has it been told to stop, by whoever that was, as a step that has run longer than it may? */
bool kube_pod_late(const struct kube_pod *pod);
/* Did the step's container end after it had been told to stop? Then it has not done all of its work, whatever it says.
 */
bool kube_pod_stopped(const struct kube_pod *pod);
/* Has the step's container begun? Of one that has, and was lost, a node may know as little as of one that never did. */
bool kube_pod_began(const struct kube_pod *pod);
/* What is said of one that took too long; 0 = of how long is not known. */
struct str kube_pod_expired(int64_t timeout_ms, struct arena *a);

enum kube_hope {
    KUBE_HOPE,    /* on its way */
    KUBE_SILENCE, /* so it seems: what it waits for, its status does not say */
    KUBE_HELPER,  /* a container of the user's own is at work: that may take long, but not for ever */
    KUBE_PATIENCE /* it hangs on something that may or may not be mended: an image, a secret, a volume */
};
/* Names of the claims, or of their templates, before which no scheduler places the pod; empty = it has none. */
struct str kube_pod_claims(const struct kube_pod *pod, struct arena *a);
/* Why an attempt has not begun yet (a stage before KUBE_STAGE_RUNNING), as text; empty = nothing to say. */
enum kube_hope kube_pod_waits(const struct kube_pod *pod, struct arena *a, struct str *text);

#endif
