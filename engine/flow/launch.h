/* From a node and what is known at its start to what an executor is to do: templates filled in, inputs named, the cache
 * key's text. Pure. The same spec serves all executors. */
#ifndef MILLRACE_FLOW_LAUNCH_H
#define MILLRACE_FLOW_LAUNCH_H

#include "engine/base/buf.h"
#include "engine/flow/plan.h"

/* An artifact as a value: a map {artifact: TYPE, digest: "sha256:…", size: N, name: …, uri: …}. In expressions it is
 * opaque but for these fields; `inputs.NAME.path` gives the path within the step's working directory where the executor
 * has put it. */
bool value_is_artifact(const struct value *v);
/* sha256:<64 hex digits>. It names a file, so that nothing but the exact form passes. */
bool launch_is_digest(struct str text);

#define LAUNCH_SCRIPT ".millrace-script"
#define LAUNCH_MAX_ARG 131071 /* bytes of one argument or variable; Linux takes no more (MAX_ARG_STRLEN) */

/* Whoever fetches an artifact input checks that the run's project may see its digest: the value may have come in as a
 * parameter. */
struct launch_input {
    struct str name;
    bool artifact;
    bool folder;       /* the artifact is a packed folder: it is unpacked at `path` */
    struct str digest; /* of an artifact: "sha256:<hex>" */
    int64_t size;
    struct str
        path; /* where it is put, relative to the working directory: inputs/<name>, or inputs/<name>/<i> for lists */
    struct str text; /* of a param: its text (strings bare, others JSON), put into the file `path` */
};

/* Of a variable or header that reads a secret param: the secret that its value refers to, if it does. */
bool launch_secret(const struct env_var *var, const struct value *v, struct secret_ref *out);

/* Whether a machine without a cluster can have it. */
MUST_CHECK bool launch_secret_here(const struct secret_ref *secret, struct err *err);

struct launch_env {
    struct str name, value;
    struct secret_ref secret; /* set: the shell resolves it and value is empty */
};

struct launch_spec {
    const struct node *node;
    const struct str *argv; /* complete: ["/bin/sh","-c",line], [interpreter…, LAUNCH_SCRIPT], or the list; none = the
                               image's own command */
    size_t n_argv;
    size_t n_command;  /* VERB_IMAGE: how many of argv replace the image's entry point; the rest are its arguments */
    struct str script; /* to be written to LAUNCH_SCRIPT in the directory the step starts in; empty = none */
    const struct launch_env *env;
    size_t n_env;
    const struct launch_input *inputs;
    size_t n_inputs;
    struct str workdir; /* relative to the code's root; empty = the root */
    struct str image;
};

/* A list in a list form or run line becomes one argument per item. An optional input that is absent or null is left
 * out, and absent in `inputs`. The env must resolve params, steps, item, index, run and – for the run line, argv and
 * env – inputs (which launch_render adds itself on top of `env`). Errors name the field: steps.NAME.env.X. */
MUST_CHECK bool launch_render(const struct node *node, const struct expr_env *env, struct arena *a,
                              struct launch_spec *out, struct err *err);

/* Canonical bytes whose SHA-256 is the cache key: executor kind, resolved image digest, command, params, input digests,
 * declared outputs, the user's extra key. Secrets enter by reference, never by value. (The code is the other part of a
 * key: see the function cache_key of the database.) */
struct cache_facts {
    struct str executor; /* "process", … */
    struct str image;    /* as it is named, since only the node resolves it; empty where images mean nothing */
    struct str extra;    /* the evaluated cache.key */
};
void launch_cache_text(struct buf *out, const struct launch_spec *spec, const struct cache_facts *facts);

#endif
