/* A pipeline file on its way in: text to checked plans, with sub-pipelines looked up in the same file, in the store, or
 * among the files of the code bundle. All problems end in rq->errors. */
#ifndef MILLRACE_API_SOURCE_H
#define MILLRACE_API_SOURCE_H

#include "api/request.h"
#include "engine/flow/plan.h"
#include "engine/store/projects.h"

#define SOURCE_MAX_DOCS 100

struct source { /* as it came */
    struct str text;
    struct str bundle;         /* digest; empty = none */
    const struct value *files; /* texts by path, where the bundle is not here; NULL = none */
    bool dry;                  /* nothing will be kept: the bundle need not be here */
};

struct source_doc { /* one pipeline of it */
    const struct plan *plan;
    struct str name;
    struct str text; /* its part of the file */
    struct str json; /* the plan's */
    char digest[80]; /* of text and plan */
    struct pos at;
    bool used; /* the first document refers to it, directly or not */
};

/* The body as YAML text, or as JSON {source, bundle, files}. */
MUST_CHECK bool source_read(struct request *rq, struct source *out, struct err *err);
/* Every document must be a pipeline; at least one. They are all of one project: what the headers name, else the
 * request's; *scope and *project say which. There the bundle must be, and sub-pipelines are looked up. */
MUST_CHECK bool source_compile(struct request *rq, const struct source *source, struct scope *scope,
                               struct str *project, struct source_doc **docs, size_t *n, struct err *err);
/* Where one pipeline is meant: the first, and beside it only its sub-pipelines. ERR_INVALID names two otherwise. */
MUST_CHECK bool source_one(const struct source_doc *docs, size_t n, struct err *err);
/* The stored JSON of a plan, loaded. */
MUST_CHECK bool source_load_plan(struct arena *a, struct str json, const struct plan **out, struct err *err);
/* The digest names a bundle of the project: else ERR_INVALID at `bundle`. Empty is fine. */
MUST_CHECK bool source_check_bundle(struct request *rq, const struct scope *scope, struct str bundle, struct err *err);
enum { SOURCE_IGNORE_GPU = 1, SOURCE_IGNORE_CPU = 2, SOURCE_IGNORE_MEMORY = 4 };
/* Can this server's executor run it? Problems in rq->errors. *queued: `queue` means something to it; may be NULL. */
MUST_CHECK bool source_check_runnable(struct request *rq, const struct plan *plan, uint32_t ignored, bool *queued,
                                      struct err *err);

/* Draws, prints or sends a plan by ?format=: json, dot, mermaid, yaml (the source). */
MUST_CHECK bool source_show_plan(struct request *rq, const struct plan *plan, struct str json, struct str text,
                                 struct err *err);

/* rq->errors in place of one error: fills err from the first; returns false. */
bool source_problems(struct request *rq, struct err *err);

#endif
