/* Artifacts and the blobs behind them, with lineage: produced by, used by. A digest is visible only in projects that
 * have it. */
#ifndef MILLRACE_STORE_ARTIFACTS_H
#define MILLRACE_STORE_ARTIFACTS_H

#include "engine/store/projects.h"

struct artifact_rec {
    int64_t id, project_id, run_id, size, created_us;    /* run_id 0 = uploaded: it goes with no run */
    int32_t task, attempt;                               /* -1, 0 when there is no run */
    struct str name, type, digest, metadata, created_by; /* metadata: JSON object */
    struct str path;                                     /* of the task; only in lists */
};

/* Metadata is one object with at most so many bytes, and so many lists and maps in each other: it goes into every list
 * of artifacts. `folder` in it says that the bytes are a packed folder. */
#define ARTIFACT_METADATA_MAX ((size_t)64 << 10)
#define ARTIFACT_METADATA_DEPTH 16

struct artifact_new {
    int64_t run_id; /* 0 = none; then task and attempt mean nothing */
    int32_t task, attempt;
    struct str name, type, digest, metadata; /* metadata empty = {} */
    int64_t size;
};

struct artifact_use {
    int64_t run_id;
    int32_t task, attempt;
    struct str input, digest;
    struct str run_name, path; /* of the task */
};

MUST_CHECK bool artifacts_create(struct conn *c, const struct scope *scope, const struct artifact_new *artifact,
                                 int64_t *id, struct err *err);
MUST_CHECK bool artifacts_get(struct conn *c, int64_t project_id, int64_t id, struct arena *a, struct artifact_rec *out,
                              struct err *err);
/* Is there an artifact of these bytes that is a packed folder? */
MUST_CHECK bool artifacts_folder(struct conn *c, int64_t project_id, struct str digest, bool *folder, struct err *err);
/* A page, newest first: filter over run, task, name, type, digest, size, created, created_by, metadata.KEY as in
 * runs.h. */
struct artifacts_search {
    int64_t project_id;
    struct str filter, order_by, page_token;
    uint32_t page_size;
};
MUST_CHECK bool artifacts_list(struct conn *c, const struct artifacts_search *q, struct arena *a,
                               struct artifact_rec **out, size_t *n, struct str *next, struct err *err);
/* Of one run, in order of task and name. task -1 = all. */
MUST_CHECK bool artifacts_of_run(struct conn *c, int64_t run_id, int32_t task, int64_t after_id, uint32_t limit,
                                 struct arena *a, struct artifact_rec **out, size_t *n, struct err *err);
/* Lineage of a digest: which attempts read it. Who made it: artifacts_list with `digest = …`. */
MUST_CHECK bool artifacts_used_by(struct conn *c, int64_t project_id, struct str digest, uint32_t limit,
                                  struct arena *a, struct artifact_use **out, size_t *n, struct err *err);

/* ---- blobs ---- */

/* The project has it (again): call after the bytes are durable. */
MUST_CHECK bool blobs_put(struct conn *c, const struct scope *scope, struct str digest, int64_t size, struct err *err);
/* Safe from sweeps for as long as a new one is; ERR_NOT_FOUND. */
MUST_CHECK bool blobs_keep(struct conn *c, int64_t project_id, struct str digest, struct err *err);
/* ERR_NOT_FOUND when the project does not have it. size may be NULL. */
MUST_CHECK bool blobs_get(struct conn *c, int64_t project_id, struct str digest, int64_t *size, struct err *err);
/* Of all projects. Reads the whole table. */
MUST_CHECK bool blobs_newest(struct conn *c, uint32_t limit, struct arena *a, struct str **out, size_t *n,
                             struct err *err);

#endif
