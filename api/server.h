/* The REST service: civetweb's threads in front of the table of routes. It meets the scheduler only in the database;
 * the hint merely saves the scheduler's next poll.
 *
 * api_start copies nothing of the configuration: what it points to must outlive api_stop. */
#ifndef MILLRACE_API_SERVER_H
#define MILLRACE_API_SERVER_H

#include "engine/base/err.h"

struct api;
struct db;
struct store_config;

#define API_STEP_KEY_SETTING "step_token_key" /* of the installation, see engine/store/settings.h */

struct api_config {
    struct db *db;                    /* the pool; NULL only in fuzzers: routes that need it answer 503 */
    const char *listen;               /* host:port, port 0 = any free one */
    const char *health_listen;        /* another host:port for /healthz and /readyz without a token; NULL = none */
    struct str secrets_dir;           /* whose values are covered in logs */
    const char *data_dir;             /* the first token is written to <data_dir>/token */
    const char *store_dir;            /* blobs, bundles, logs */
    const struct store_config *blobs; /* where blobs are; NULL = in store_dir */
    uint32_t threads;                 /* 0 = 50 */
    int64_t max_body;                 /* of JSON and YAML bodies; 0 = 16 MiB. Uploads are bounded by max_upload */
    int64_t max_upload;               /* 0 = 1 TiB */
    int64_t body_timeout_ms; /* to receive one whole body but an upload; 0 = 30 s. Uploads: no byte for that long */
    const char *hosts;       /* further names under which the server is known, comma-separated; NULL = none */
    struct str step_key; /* verifies step tokens, as the scheduler signs them; empty: the setting API_STEP_KEY_SETTING,
                            made if need be */
    bool notify;         /* the scheduler is another process: wake it by NOTIFY */
    bool local_only;     /* steps run as local processes: plans that need a cluster are refused */
    int64_t cpu_milli, memory_bytes; /* what one step can have at most here; 0 = unknown */
    const struct gpu *gpus;          /* the same; they outlive the API */
    size_t n_gpus;
    bool gpus_unknown;        /* steps run on other machines */
    bool cluster, image;      /* steps are Jobs; those without an image have one to fall back on */
    bool moves;               /* in a cluster: artifacts reach steps */
    bool tokens;              /* in a cluster: steps have tokens */
    bool (*alive)(void *ctx); /* does the process do its work? false: /healthz says 503. May be NULL */
    void *alive_ctx;
    void (*hint)(void *ctx); /* called after a commit that the scheduler should see; may be NULL */
    void *hint_ctx;
};

MUST_CHECK bool api_start(const struct api_config *cfg, struct api **out, struct err *err);
/* Ends streams, lets requests that are under way finish, frees. */
void api_stop(struct api *api);
int api_port(const struct api *api);
int api_health_port(const struct api *api); /* 0 = none */
/* Something about runs changed: event streams look at once instead of at their next poll. From any thread, cheap. */
void api_wake(struct api *api);

#endif
