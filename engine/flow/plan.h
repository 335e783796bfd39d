/* The plan: what a pipeline compiles to, whatever language it was written in. Immutable, named by the digest of its
 * JSON form.
 *
 * A plan holds graphs: the pipeline's own (number 0), one per pinned sub-pipeline. A graph is a list of nodes in
 * document order and the edges between them. Loops expand at run time: a node with `foreach` becomes as many tasks as
 * there are items. Everything lives in the arena the plan was made in; a loaded plan is read by many threads at once.
 */
#ifndef MILLRACE_FLOW_PLAN_H
#define MILLRACE_FLOW_PLAN_H

#include "engine/base/err.h"
#include "engine/base/value.h"
#include "engine/expr/expr.h"

#define PLAN_MAX_NODES 20000                     /* of all graphs together */
#define PLAN_MAX_ITEMS 20000                     /* of one foreach */
#define PLAN_MAX_TASKS 200000                    /* of one run, after expansion */
#define PLAN_MAX_DEPTH 16                        /* of sub-pipelines within each other */
#define PLAN_MAX_FRAMES (2 * PLAN_MAX_DEPTH + 2) /* within each other: each sub-pipeline may be inside a loop */
#define PLAN_MAX_LABELS 64                       /* of a pipeline, and of a run */
#define PLAN_MAX_LABEL 256                       /* bytes of its name, and of its text */
#define PLAN_MAX_SOURCE (8u << 20)               /* bytes of one document */
#define PLAN_MAX_BYTES (64u << 20)               /* of its JSON form */
#define PLAN_MAX_VALUE (4u << 20)                /* bytes as JSON of one value, a loop's items, a pipeline's outputs */
#define PLAN_MAX_KEPT (256u << 20)               /* bytes of all values that a run keeps */

enum param_type { PARAM_STRING, PARAM_INT, PARAM_FLOAT, PARAM_BOOL, PARAM_LIST, PARAM_MAP, PARAM_ENUM, PARAM_SECRET };

struct param {
    struct str name;
    enum param_type type;
    enum param_type items; /* of a list whose items are typed; PARAM_MAP with any_items otherwise */
    bool any_items;
    bool optional; /* has a default, or may be left out (value null) */
    bool has_default;
    struct value default_value;
    bool has_min, has_max;
    double min, max;            /* of numbers; of the length for strings and lists */
    struct str pattern;         /* PCRE2, whole match; empty = none */
    const struct value *values; /* of an enum */
    size_t n_values;
    struct str description;
};

/* Where a secret's value comes from; the value itself is never in a plan. */
enum secret_source { SECRET_NONE, SECRET_ENV, SECRET_FILE, SECRET_KUBERNETES };
struct secret_ref {
    enum secret_source source;
    struct str name; /* entry name; NAME/KEY for Kubernetes */
};

struct env_var {
    struct str name;
    struct expr_template value; /* unless secret.source is set */
    struct secret_ref secret;
    bool secret_param; /* value reads a param that refers to a secret: what it gives is known at launch */
};

enum verb {
    VERB_RUN,      /* shell line, or an argument list */
    VERB_SCRIPT,   /* text for an interpreter */
    VERB_IMAGE,    /* the image's own command, or command/args */
    VERB_PIPELINE, /* a sub-graph */
    VERB_EXPR,     /* evaluates an expression: no process */
    VERB_HTTP,
    VERB_WAIT,
    VERB_APPROVAL,
    VERB_IMPORT, /* an artifact that exists already */
    VERB_NOOP,   /* nothing: `expr: null`, joins, benchmarks */
};

enum rule { RULE_ALL_SUCCEEDED, RULE_ALL_DONE, RULE_ANY_FAILED, RULE_ONE_SUCCEEDED };
enum after { AFTER_NONE, AFTER_SUCCESS, AFTER_FAILURE, AFTER_ALWAYS }; /* of onExit steps */

/* What an attempt can fail of. Bits, for retry.for. */
enum failure {
    FAILURE_NONE = 0,
    FAILURE_ERROR = 1, /* any failure of the step's own: exit code ≠ 0, missing output, bad output */
    FAILURE_OOM = 2,
    FAILURE_TIMEOUT = 4,
    FAILURE_INFRA = 8,    /* not the step's fault: retried free, RETRY_FREE_MAX times */
    FAILURE_INVALID = 16, /* cannot ever work: expression error, missing input; never retried */
};
#define RETRY_FREE_MAX 10
#define RETRY_MEMORY_MOST 8

struct retry {
    uint32_t limit; /* further attempts after the first */
    int64_t base_ms, max_ms;
    double factor, jitter;     /* jitter 0…1: share of the delay that is random */
    uint32_t on;               /* failure bits */
    const int32_t *exit_codes; /* only these exit codes count as retryable errors; none = all */
    size_t n_exit_codes;
    double memory_factor; /* by which the memory grows after each failure for want of it; 0 = it does not */
    int64_t memory_most;  /* up to that many bytes; 0 = RETRY_MEMORY_MOST times the first */
};

struct resources {
    int64_t cpu_milli, memory_bytes, ephemeral_bytes; /* 0 = not said */
    int64_t shm_bytes;                                /* of a pod's /dev/shm, part of its memory; 0 = not said */
    uint32_t gpu_count;
    struct str gpu_flavor;
    double gpu_share;                     /* 0 = whole GPUs */
    struct pos cpu_at, memory_at, gpu_at; /* in the source, when compiled from it */
};

enum io_kind { IO_PARAM, IO_ARTIFACT };

struct input {
    struct str name;
    struct expr_template value; /* a reference to an artifact output gives an artifact value (see launch.h) */
    bool optional;
};

struct output {
    struct str name;
    enum io_kind kind;
    enum param_type type;     /* of a param */
    struct str artifact_type; /* of an artifact: dataset, model, image, … */
    struct str path;          /* within the working directory */
    bool optional;
};

struct cache_policy {
    bool on;
    int64_t ttl_ms;           /* 0 = for ever */
    struct expr_template key; /* extra key; source empty = none */
};

struct http_call {
    struct expr_template method, url, body;
    const struct env_var *headers;
    size_t n_headers;
    const int32_t *expect; /* statuses that succeed; none = 2xx */
    size_t n_expect;
    int64_t timeout_ms;
};

#define NODE_WORKERS_MOST 1024 /* pods of one step */

struct node {
    struct str name;
    struct pos at;
    enum verb verb;

    /* Edges, as indices into the graph's nodes; onExit nodes have edges among each other only. */
    const uint32_t *deps, *dependents;
    uint32_t n_deps, n_dependents;
    enum rule rule;
    enum after after; /* ≠ AFTER_NONE: an onExit step */

    const struct expr *when; /* NULL = always */
    struct str when_source;
    bool loop;                    /* has foreach */
    struct expr_template foreach; /* a list (or, after product/range, an expression that makes one) */
    const struct value *product;  /* foreach map: name → template; each item is a map of one value each */
    const struct expr_template *product_values; /* beside product's entries */
    uint32_t parallelism;                       /* of the loop; 0 = no limit */

    struct retry retry;
    int64_t timeout_ms; /* of one attempt; 0 = none */
    int64_t upload_ms;  /* in which its outputs must be kept, once it has ended; 0 = what the executor says */
    struct cache_policy cache;

    /* VERB_RUN, VERB_SCRIPT, VERB_IMAGE */
    struct str image;
    struct expr_template line;        /* run: as a string; a shell line */
    const struct expr_template *argv; /* run: as a list; image's command + args */
    size_t n_argv;
    size_t n_command;  /* of argv: how many are `command` (the rest are `args`) */
    struct str script; /* never substituted */
    const struct str *interpreter;
    size_t n_interpreter;
    const struct env_var *env;
    size_t n_env;
    struct str workdir;
    const struct input *inputs;
    size_t n_inputs;
    const struct output *outputs;
    size_t n_outputs;
    struct resources resources;

    /* VERB_PIPELINE: inputs above are its params */
    uint32_t graph;
    struct str pipeline; /* as named by the user */

    struct expr_template value;      /* VERB_EXPR */
    const struct http_call *http;    /* VERB_HTTP */
    struct expr_template wait_for;   /* VERB_WAIT: duration text … */
    struct expr_template wait_until; /* … or RFC 3339 time */
    struct expr_template message;    /* VERB_APPROVAL */
    const struct str *roles;
    size_t n_roles;
    struct expr_template import_uri; /* VERB_IMPORT */
    struct str import_type;

    struct str queue;
    int32_t priority;
    uint32_t workers;                /* 0 or 1 = one; at most NODE_WORKERS_MOST */
    struct pos queue_at, workers_at; /* in the source, when compiled from it */
    /* What only a cluster understands: nodeSelector, volumes, pod, … kept as checked (spec_cluster.c). NULL = none. */
    const struct value *cluster;
};

struct graph_output {
    struct str name;
    struct expr_template value;
};

struct graph {
    struct str name; /* the pipeline's */
    struct str project;
    int64_t version; /* pinned version; 0 for an unapplied source */
    const struct param *params;
    size_t n_params;
    const struct node *nodes;
    uint32_t n_nodes;
    uint32_t n_exit; /* how many of them, the last ones, are onExit steps */
    const struct graph_output *outputs;
    size_t n_outputs;
    uint32_t parallelism; /* tasks of one instance at once; 0 = no limit */
    int64_t deadline_ms;  /* 0 = none */
};

struct plan {
    struct str name, project, description;
    const struct graph *graphs; /* [0] is the pipeline itself */
    uint32_t n_graphs;
    uint32_t max_runs; /* parallelism of the pipeline: runs at once; 0 = no limit */
    const struct value *labels;
    struct value git; /* code: {git: {url, ref}}; null when none */
};

/* The JSON form, and back. plan_load trusts its input to come from plan_json, but still refuses what does not fit. */
struct buf;
void plan_json(struct buf *out, const struct plan *p);
MUST_CHECK bool plan_load(struct arena *a, const struct value *json, const struct plan **out, struct err *err);

/* What a token may do, from less to more; an approval names the least of them that may answer it. */
#define PLAN_ROLES 4
extern const char *const plan_roles[PLAN_ROLES];

const char *verb_name(enum verb v);
const char *rule_name(enum rule r);

/* Node of a graph by name; UINT32_MAX when absent. Linear; callers with many look-ups keep a map. */
/* An input's or output's name as it stands in MILLRACE_INPUT_NAME: upper case, anything odd as '_'. */
struct str plan_variable(struct arena *a, struct str name);
uint32_t graph_find(const struct graph *g, struct str name);

#endif
