/* From what an attempt is to do to the Job that does it. Pure.
 *
 * One batch/v1 Job an attempt, with one pod, or one a worker, that is never restarted: retries are the engine's. Texts
 * (scripts, inputs that are params) come as files through annotations of the pod, so that a step without artifacts is
 * the user's container alone and costs the API server one object.
 * https://kubernetes.io/docs/concepts/workloads/controllers/job/ */
#ifndef MILLRACE_SCHEDULER_KUBE_JOB_H
#define MILLRACE_SCHEDULER_KUBE_JOB_H

#include "engine/base/buf.h"
#include "scheduler/executor.h"
#include "scheduler/kube_claim.h"

#define KUBE_JOB_NAME 53 /* 52 characters: a pod's name adds some, and has 63 at most */
#define KUBE_WORKDIR "/millrace/work"
#define KUBE_CONTAINER "step"
#define KUBE_FETCH "millrace-fetch"        /* the init container that brings code and inputs */
#define KUBE_COLLECT "millrace-collect"    /* the sidecar that keeps outputs */
#define KUBE_JOB_SPEC "\"spec\":{"         /* how a Job's own begins: the first in what kube_job_json writes */
#define KUBE_FILES_MAX ((size_t)250 << 10) /* bytes of all annotations together: Kubernetes takes 256 KiB */

#define KUBE_LABEL_INSTANCE "millrace.dev/instance"
#define KUBE_LABEL_KUEUE "kueue.x-k8s.io/queue-name"
#define KUBE_LABEL_RUN "millrace.dev/run"
#define KUBE_LABEL_TASK "millrace.dev/task"
#define KUBE_LABEL_ATTEMPT "millrace.dev/attempt"
#define KUBE_LABEL_MADE "millrace.dev/run-made"
#define KUBE_LABEL_RANK "batch.kubernetes.io/job-completion-index" /* Kubernetes' own, also an annotation */

struct kube_variable {
    struct str name, value;
    struct str secret, key; /* set: the value is this key of a Secret */
    struct str field;       /* set: the value is this field of the pod */
};

struct kube_file {
    struct str path; /* absolute */
    struct str text;
    bool program;
};

struct kube_job {
    struct attempt_id id;
    struct str name, namespace;
    struct str instance; /* the installation: two of them may share a namespace */
    struct str project, run_name, step, path;
    struct str image, pull_policy; /* pull_policy empty = Kubernetes' default */
    const struct str *command, *args;
    size_t n_command, n_args;
    bool own_workdir; /* the image's own working directory stays */
    struct str cwd;   /* beneath KUBE_WORKDIR; empty = itself */
    const struct kube_variable *env;
    size_t n_env;
    const struct kube_file *files;
    size_t n_files;
    uint32_t workers; /* pods, each with a rank; 0 or 1 = one pod without */
    struct resources resources;
    struct str gpu_resource; /* nvidia.com/gpu; empty = none is asked for */
    struct kube_claim claim; /* instead of gpu_resource; without a class: none */
    struct str kueue;        /* LocalQueue that lets it start: it is made suspended; empty = none */
    int64_t timeout_ms, grace_ms;
    int64_t upload_ms;         /* in which outputs must be kept */
    struct str message_path;   /* absolute: the file that comes back as the termination message; empty = none */
    struct str companion;      /* image of the containers that move data; empty = nothing is moved */
    struct str moves;          /* their plan: see step_moves.h */
    struct str api_url, token; /* for them */
    int64_t companion_cpu_milli, companion_memory_bytes; /* the most that each of them may use */
    bool fetches, collects;
    struct str node_cache; /* a folder of the node for blobs that pods there have fetched; empty = none */
    int64_t node_cache_bytes;
    const struct value *cluster; /* nodeSelector, tolerations, … as the plan has them; NULL = none */
};

/* How long the outputs of a step may take to be kept, once it has ended, where it does not say so itself. Its pod's
 * grace is that, its own, and a little: whoever keeps them ends in time, and says why it could not. */
#define KUBE_UPLOAD_MS 600000
#define KUBE_UPLOAD_OVER_MS 10000
/* A step with such a grace is stopped by the server; its pod's deadline comes so much later, for when none is there. */
#define KUBE_DEADLINE_MS 300000

/* Of the attempt, always the same: readable by its step, unique by a hash of the rest. */
void kube_job_name(struct str instance, struct str step, struct attempt_id id, char out[KUBE_JOB_NAME]);
/* Is a Job of that name the attempt's, whatever its step? */
bool kube_job_is(struct str instance, struct attempt_id id, struct str name);
void kube_job_json(const struct kube_job *job, struct buf *out);
/* By it the pods of a step with several workers find each other: a headless Service of the Job's name, which goes with
 * the Job. */
void kube_service_json(struct str job, struct str uid, struct str instance, struct attempt_id id, struct buf *out);
struct jsonw;
/* The member `metadata` of whatever goes with the Job. */
void kube_owned_metadata(struct jsonw *w, struct str name, struct str job, struct str uid, struct str instance,
                         struct attempt_id id);
/* A text as the value of a label: what may not be in one becomes '-'. */
struct str kube_label(struct arena *a, struct str text);

/* ---- kube_companion.c: what moves data, beside the step's own container ---- */
void kube_companion_annotation(struct jsonw *w, const struct kube_job *job);
void kube_companion_containers(struct jsonw *w, const struct kube_job *job);
void kube_companion_volumes(struct jsonw *w, const struct kube_job *job);

/* The number from 0 to `most` that a label or annotation says. False = it is not there, or says no such number. */
bool kube_label_number(const struct value *labels, const char *key, int64_t most, int64_t *out);

#endif
