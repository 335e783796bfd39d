/* Reading a step: which verb it is, its fields, its policies. */
#ifndef MILLRACE_FLOW_SPEC_STEP_H
#define MILLRACE_FLOW_SPEC_STEP_H

#include "engine/flow/spec_params.h"

/* What only a cluster understands: see spec_cluster.c. */
enum {
    CLUSTER_NODE_SELECTOR,
    CLUSTER_TOLERATIONS,
    CLUSTER_LABELS,
    CLUSTER_ANNOTATIONS,
    CLUSTER_VOLUMES,
    CLUSTER_SERVICE_ACCOUNT,
    CLUSTER_AFFINITY,
    CLUSTER_SECURITY,
    CLUSTER_PULL_SECRETS,
    CLUSTER_PULL_POLICY,
    CLUSTER_ENV_FROM,
    CLUSTER_HOST_IPC,
    CLUSTER_HOST_NETWORK,
    CLUSTER_RUNTIME_CLASS,
    CLUSTER_PRIORITY_CLASS,
    CLUSTER_POD,
    CLUSTER_FIELDS
};

/* A step while it is read: a node, and what becomes part of it at the end. `defaults:` are one, too. */
struct spec_step {
    struct node node; /* first: offsets into it are offsets into the step */
    const struct value *needs;
    struct spec_input_list inputs;
    struct spec_output_list outputs;
    struct spec_env_list env;
    struct spec_strs interpreter;
    const struct value *command, *args;
    const struct value *cluster[CLUSTER_FIELDS];
    struct compile_ref pipeline; /* of VERB_PIPELINE */
    bool in_exit;
};

/* `defaults:` into *out, which holds the built-in ones first. */
void spec_defaults(struct spec *s, const struct spec_at *at, const struct value *v, struct spec_step *out);
void spec_builtin_defaults(struct spec_step *out);

/* One step on top of the defaults. False when not even its verb is known; errors are reported either way. */
bool spec_step(struct spec *s, const struct spec_at *at, const struct value *v, const struct spec_step *defaults,
               bool in_exit, struct spec_step *out);

/* The parts: policies (spec_policy.c) … */
void spec_retry(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* struct retry */
/* May its memory grow, when all of the step is known? */
void spec_check_memory(struct spec *s, const struct spec_at *at, const struct value *v, const struct node *node,
                       bool process);
void spec_cache(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* struct cache_policy */
void spec_resources(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* struct resources */
/* int64_t, milliseconds */
void spec_upload(struct spec *s, const struct spec_at *at, const struct value *v, void *out);
void spec_rule(struct spec *s, const struct spec_at *at, const struct value *v, void *out);    /* enum rule */
void spec_after(struct spec *s, const struct spec_at *at, const struct value *v, void *out);   /* enum after */
void spec_foreach(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* struct node */
void spec_when(struct spec *s, const struct spec_at *at, const struct value *v, void *out);    /* struct node */

/* … what only a cluster understands (spec_cluster.c): its fields are checked and become one value; NULL when there are
 * none … */
const struct value *spec_cluster(struct spec *s, const struct spec_at *at, const struct spec_step *step,
                                 const struct value *inherited);
uint64_t spec_cluster_parts(const struct value *cluster); /* how many values it is made of */
/* A part of a PodSpec, which is merged into the one made of all the rest (spec_pod.c). */
void spec_pod(struct spec *s, const struct spec_at *at, const struct value *v, void *out);
/* What it cannot be for a step with these outputs; `cluster`: what spec_cluster made, or NULL. */
void spec_pod_collected(struct spec *s, const struct spec_at *at, const struct value *cluster,
                        const struct output *outputs, size_t n);
void spec_as_written(struct spec *s, const struct spec_at *at, const struct value *v, void *out);

/* … and verbs (spec_verb.c); out is the struct spec_step. */
spec_fn spec_run, spec_script, spec_image, spec_pipeline, spec_value, spec_http, spec_wait, spec_approval, spec_import;
/* "#!/usr/bin/env python3" names the interpreter of a script that is given none of its own. */
void spec_shebang(struct spec *s, struct spec_step *step);
spec_fn spec_later; /* words that are known, and do not work yet */

/* The outputs a verb has without declaring them, e.g. of http: status and body. */
const struct output *spec_verb_outputs(enum verb verb, size_t *n);

#endif
