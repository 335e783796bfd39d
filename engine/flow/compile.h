/* From one document of the native format to a checked plan. Pure: what a document refers to comes through the caller's
 * functions. All problems of a document are reported at once, each with its path, place and cure. */
#ifndef MILLRACE_FLOW_COMPILE_H
#define MILLRACE_FLOW_COMPILE_H

#include "engine/flow/plan.h"

/* How a step names its sub-pipeline. */
struct compile_ref {
    struct str text; /* a name, or a file's path as written (relative to the referring file) */
    bool file;
    int64_t version;    /* pinned by the user; 0 = the newest */
    struct str project; /* of the referring pipeline */
    struct str path;    /* of the referring step, for messages */
    struct pos at;      /* where that is */
};

/* What to do about a sub-pipeline that nobody knows. */
#define COMPILE_HINT_APPLY "apply it first: millrace apply FILE; or name its file: pipeline: {file: NAME.yaml}"
#define COMPILE_MAX_SUBS 1000 /* look-ups of sub-pipelines in one compilation, at all depths */

/* The sub-pipelines being compiled around this one: how recursion is found, and how often one was looked up in all. */
struct compile_chain {
    const struct compile_chain *above;
    struct str text; /* a name, or a path from the folder of the outermost file */
    bool file;
    struct str top, top_file; /* the outermost pipeline's name and file */
    uint32_t *looked_up;
};

struct compile_env {
    void *ctx;
    /* The plan of a sub-pipeline; NULL = there are none. A resolver that compiles a file passes `chain` on in the env
     * of that compilation, and says of its errors whose they are: see compile_in_file(). All others are taken as being
     * of the reference. graphs[0].version of the result is what gets pinned. */
    bool (*pipeline)(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                     const struct plan **out, struct err_list *errors);
    /* Where a place within a scalar's text stands in the source: see yaml_locate(). NULL = the scalar's start. */
    struct pos (*locate)(void *ctx, const struct value *scalar, struct pos inner);
    const struct compile_chain *chain;
    struct str file; /* of the document, without its folder; empty = not known */
    uint64_t seed;   /* of hash maps over names */
};

/* env may be NULL. The plan lives in the arena and keeps pointers into the document. */
MUST_CHECK bool compile_pipeline(struct arena *a, const struct value *doc, const struct compile_env *env,
                                 const struct plan **out, struct err_list *errors);

/* It says that a pipeline would contain itself, and on which way. */
bool compile_is_circle(const struct err *e);

/* The errors from number `from` on are of the file that `ref` has led to. `in` names the text where the reference
 * stands; empty = the user knows. */
void compile_in_file(struct err_list *errors, size_t from, const struct compile_ref *ref, struct str name,
                     struct str text, struct str in);

#endif
