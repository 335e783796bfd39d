/* The process executor: each attempt is a local process, started and watched by the launcher (engine/os/launcher.h),
 * which outlives this server. What an attempt needs is laid into a working directory of its own; what it leaves is read
 * from there once it has ended well. */
#ifndef MILLRACE_SCHEDULER_PROCESS_H
#define MILLRACE_SCHEDULER_PROCESS_H

#include "scheduler/executor.h"

struct store_config;
struct gpu_host;
struct placer_source; /* scheduler/placer_source.h */

struct process_config {
    struct str data_dir;              /* of the launcher and of working directories: this server's own */
    struct str store_dir;             /* of blobs, bundles, logs and checkpoints: other servers may share it */
    const struct store_config *blobs; /* where blobs are; NULL = in store_dir */
    struct str secrets_dir;
    struct str step_user;            /* whom steps run as when the server is root; empty = nobody. Ignored otherwise */
    struct str step_path;            /* their PATH */
    int64_t step_memory_bytes;       /* of a step that does not say; 0 = no limit */
    struct gpu_host *gpus;           /* of this machine; outlives the executor. NULL = none */
    int64_t step_log_bytes;          /* a step that writes more to its log is stopped; 0 = no limit */
    int64_t cpu_milli, memory_bytes; /* that steps may have, as the placer counts them */
};

/* Starts or finds the launcher: to be called before there are threads. `out` is valid until its stop(). */
MUST_CHECK bool process_open(const struct process_config *cfg, struct executor *out, struct err *err);
/* The threads that hash and unpack: to be called once all forking is done. */
MUST_CHECK bool process_start(struct executor *x, struct err *err);

/* For a placer: this machine as a node. From now on steps that need a GPU or name a queue wait for it where any flavor
 * or queue is declared, and until it has said whether there is one. False = the machine has no GPU for steps. */
MUST_CHECK bool process_source(struct executor *x, struct placer_source *out);

#endif
