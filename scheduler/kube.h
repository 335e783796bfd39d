/* The Kubernetes executor: each attempt is a Job (kube_job.h). Job and pods are watched; what the watch says is a hint
 * to look, names and uids are the truth. Any server with the same database and cluster can take an attempt over. */
#ifndef MILLRACE_SCHEDULER_KUBE_H
#define MILLRACE_SCHEDULER_KUBE_H

#include "scheduler/executor.h"

struct store_config;

struct kube_config {
    struct str kubeconfig, context; /* see engine/kube/access.h */
    struct str namespace;           /* of the Jobs; empty = the context's */
    struct str instance;            /* a label's value: the installation, the same for all servers of a database */
    struct str store_dir;           /* of logs */
    struct str secrets_dir;         /* of the server's secrets, which steps may name */
    struct str image;               /* of steps that name none; empty: they are refused */
    struct str companion; /* Millrace's own image, for pods whose data is moved; empty: such a step is refused */
    int64_t companion_cpu_milli, companion_memory_bytes; /* what each of its containers may use */
    struct str node_cache; /* a folder of nodes, where their pods share what they fetched; empty = none */
    int64_t node_cache_bytes;
    const struct store_config *blobs; /* where blobs are; NULL = in store_dir */
    struct str pull_policy;           /* empty = Kubernetes' default */
    struct str gpu_resource;          /* empty = nvidia.com/gpu */
    int64_t step_log_bytes;           /* a step that writes more to its log is stopped; 0 = no limit */
    int64_t start_ms;   /* what cannot start (no such image, no such secret) fails after so long; 0 = 5 min */
    int64_t silence_ms; /* a connection on which nothing comes for so long counts as lost; 0 = 90 s */
    int64_t lying_most; /* Jobs that have ended and wait to be deleted while others begin; 0 = none */
    double requests_per_s;
};

/* `out` is valid until its stop(). Does not wait for the cluster: it may be away. */
MUST_CHECK bool kube_executor_open(const struct kube_config *cfg, struct executor *out, struct err *err);

#endif
