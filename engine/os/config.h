/* Configuration of the server: one const table of options (config.c) from which parsing, help and documentation come.
 *
 * What counts, first wins: a flag (--listen), the environment (MILLRACE_LISTEN), the file <data-dir>/millrace.conf
 * (listen = …), the default. Strings live in the arena given to config_load(). */
#ifndef MILLRACE_OS_CONFIG_H
#define MILLRACE_OS_CONFIG_H

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/os/log.h"

enum config_role { ROLE_ALL, ROLE_API, ROLE_SCHEDULER };
enum config_executor { EXECUTOR_PROCESS, EXECUTOR_KUBERNETES };

struct config {
    struct str data_dir;       /* absolute */
    struct str store_dir;      /* absolute; <data-dir> when not given */
    struct str artifact_store; /* disk, or s3://BUCKET/PREFIX */
    struct str s3_endpoint, s3_region;
    struct str s3_credentials; /* absolute; empty = the environment */
    bool s3_path_style;
    int64_t artifact_cache_bytes;
    struct str listen_host; /* of `listen` */
    int64_t listen_port;
    struct str listen;           /* as given */
    struct str health_listen;    /* HOST:PORT for /healthz and /readyz alone; empty = none */
    struct str hosts;            /* further names of the server, comma-separated; empty = none */
    struct str database_url;     /* empty = the embedded PostgreSQL */
    struct str postgres_bin_dir; /* empty = found by itself */
    struct str secrets_dir;      /* absolute; <store-dir>/secrets when not given */
    struct str step_user; /* empty = the server's own, or "nobody"-like when the server is root: see process executor */
    struct str step_path; /* PATH of local steps */
    struct str api_url;   /* what steps are told; empty = from listen */
    int64_t role;         /* enum config_role */
    int64_t log_level;    /* enum log_level */
    int64_t cpu_milli;    /* capacity for local steps */
    int64_t memory_bytes;
    struct str gpus;         /* that local steps may have: all, none, or numbers and UUIDs, comma-separated */
    struct str nvml_library; /* empty = as it is usually found */
    int64_t threads;
    int64_t connections; /* of the database pool */
    int64_t max_body_bytes;
    int64_t retention_ms;      /* of finished runs' artifacts and logs; 0 = for ever */
    int64_t grace_ms;          /* between SIGTERM and SIGKILL of a step */
    int64_t takeover_ms;       /* how long another server leaves running steps to the one that is gone */
    int64_t step_memory_bytes; /* of a step that does not say; 0 = not limited */
    int64_t step_log_bytes;    /* a step that writes more is stopped; 0 = not limited */
    bool allow_local_exec;
    bool allow_private_egress;
    bool local_exec;                                     /* run process steps at all */
    int64_t executor;                                    /* enum config_executor */
    struct str kubeconfig, kube_context, kube_namespace; /* empty = as kubectl has it */
    struct str kube_image;                               /* of steps that name none; empty = they are refused */
    struct str kube_companion; /* Millrace's own; empty = steps whose data is to be moved are refused */
    int64_t kube_companion_cpu, kube_companion_memory; /* milli-CPUs, bytes */
    struct str kube_cache;                             /* of nodes; empty = none */
    int64_t kube_cache_bytes;
    int64_t kube_jobs;       /* unfinished ones at once */
    int64_t kube_requests_s; /* to the API server, watches apart */
    int64_t kube_silence_ms; /* then a connection to the API server counts as lost */
    int64_t kube_start_ms;   /* what cannot start fails after so long */
};

/* argv without the program's and the command's name. False when anything was wrong; all problems are in *errs. */
MUST_CHECK bool config_load(struct arena *a, int argc, char *const *argv, struct config *out, struct err_list *errs);

/* A variable of the environment that is no option but looks like one; false when there is no more. Others may be there
 * that begin so: the command line's, and what Kubernetes sets. *cursor: 0 at first. */
bool config_misspelt(struct arena *a, size_t *cursor, struct str *name, struct str *near);

/* The options for people, as in --help. */
void config_help(struct buf *out);
/* The same as a Markdown table, for the documentation. */
void config_markdown(struct buf *out);

#endif
