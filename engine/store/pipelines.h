/* Pipelines and their immutable versions: source, plan, code. */
#ifndef MILLRACE_STORE_PIPELINES_H
#define MILLRACE_STORE_PIPELINES_H

#include "engine/store/projects.h"

struct pipeline_rec {
    int64_t id, created_us, updated_us;
    int32_t latest_version;
    struct str name, description, created_by;
};

struct version_rec {
    int64_t pipeline_id, plan_id, created_us;
    int32_t version;
    struct str name;          /* of the pipeline */
    struct str digest;        /* of source and plan */
    struct str bundle_digest; /* empty = no code */
    struct str created_by;
    struct str source, plan; /* plan: JSON. Only where a function says so */
};

struct plan_text { /* what is stored of a compiled pipeline */
    struct str digest, source, plan;
};

/* Stores a plan once; the same digest gives the same id. */
MUST_CHECK bool plans_put(struct conn *c, const struct scope *scope, const struct plan_text *text, int64_t *id,
                          struct err *err);
MUST_CHECK bool plans_get(struct conn *c, int64_t id, struct arena *a, struct plan_text *out, struct err *err);

/* A new version, unless digest and bundle are those of the latest one: then *changed is false and *out that one. */
MUST_CHECK bool pipelines_apply(struct conn *c, const struct scope *scope, struct str name, struct str description,
                                const struct plan_text *text, struct str bundle_digest, struct arena *a,
                                struct version_rec *out, bool *changed, struct err *err);
/* ERR_NOT_FOUND with "did you mean". */
MUST_CHECK bool pipelines_get(struct conn *c, int64_t project_id, struct str name, struct arena *a,
                              struct pipeline_rec *out, struct err *err);
/* A page of a list, as in runs.h. Fields: name, description, version (the latest), created, created_by, updated;
 * ordered by name unless said otherwise. In pipelines_list.c. */
struct pipelines_search {
    int64_t project_id;
    struct str filter, order_by, page_token;
    uint32_t page_size;
};
MUST_CHECK bool pipelines_list(struct conn *c, const struct pipelines_search *q, struct arena *a,
                               struct pipeline_rec **out, size_t *n, struct str *next, struct err *err);
/* A row of the queries over pipelines: shared by pipelines.c and pipelines_list.c. */
void pipelines_read(const PGresult *res, int row, struct arena *a, struct pipeline_rec *out);
/* version 0 = the latest; with source and plan. */
MUST_CHECK bool pipelines_version(struct conn *c, int64_t project_id, struct str name, int32_t version, struct arena *a,
                                  struct version_rec *out, struct err *err);
/* Newest first, those older than `before` (0 = all); without source and plan. */
MUST_CHECK bool pipelines_versions(struct conn *c, int64_t project_id, struct str name, int32_t before, uint32_t limit,
                                   struct arena *a, struct version_rec **out, size_t *n, struct err *err);
/* With all its versions; its runs stay. */
/* Only while `version` is the newest, ERR_PRECONDITION otherwise; 0 = whichever is. */
MUST_CHECK bool pipelines_delete(struct conn *c, int64_t project_id, struct str name, int32_t version, struct err *err);

#endif
