/* A plan from its JSON form. What is stored was checked before it was stored; here only its shape is, so that a row
 * that somebody has touched is refused instead of crashing a run. The names are those of plan_json.c. */
#include <string.h>

#include "engine/flow/compile_inner.h"
#include "engine/flow/params.h"

static void load_u32(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    if (v->type == VALUE_INT && v->u.i >= 0 && v->u.i <= UINT32_MAX)
        *(uint32_t *)out = (uint32_t)v->u.i;
    else
        spec_expected(s, at, v, "a small number");
}

static void load_i64(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    if (v->type == VALUE_INT)
        *(int64_t *)out = v->u.i;
    else
        spec_expected(s, at, v, "a number");
}

static void load_text(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    if (v->type == VALUE_STRING)
        *(struct str *)out = v->u.s;
    else
        spec_expected(s, at, v, "a string");
}

static void load_template(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct err err;
    if (v->type != VALUE_STRING)
        spec_expected(s, at, v, "a string");
    else if (!expr_template_parse(s->arena, v->u.s, out, &err))
        spec_adopt(s, at, v, &err);
}

/* A list whose items are loaded by `one` into an array of elements of `size`. */
static void *load_list(struct spec *s, const struct spec_at *at, const struct value *v, size_t size, size_t *n,
                       spec_fn *one)
{
    *n = 0;
    if (v->type != VALUE_LIST) {
        spec_expected(s, at, v, "a list");
        return NULL;
    }
    char *items = arena_calloc(s->arena, v->u.list.n, size);
    for (size_t i = 0; i < v->u.list.n; i++) {
        struct spec_at here = {at, {"", 0}, i, {0, 0}};
        one(s, &here, &v->u.list.items[i], items + i * size);
    }
    *n = v->u.list.n;
    return items;
}

/* ---- params ---- */

static void load_type(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    size_t i = spec_word(s, at, v, param_type_names, PARAM_TYPES);
    if (i != SIZE_MAX) *(enum param_type *)out = (enum param_type)i;
}

static void load_items(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct param *p = out;
    load_type(s, at, v, &p->items);
    p->any_items = false;
}

static void load_default(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct param *p = out;
    (void)s;
    (void)at;
    p->default_value = *v;
    p->has_default = true;
}

static void load_min(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct param *p = out;
    spec_double(s, at, v, &p->min);
    p->has_min = true;
}

static void load_max(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct param *p = out;
    spec_double(s, at, v, &p->max);
    p->has_max = true;
}

static void load_values(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct param *p = out;
    if (v->type != VALUE_LIST) {
        spec_expected(s, at, v, "a list");
        return;
    }
    p->values = v->u.list.items;
    p->n_values = v->u.list.n;
}

static const struct spec_field param_fields[] = {
    {"name", load_text, offsetof(struct param, name), 0, true},
    {"type", load_type, offsetof(struct param, type), 0, true},
    {"items", load_items, 0, 0, false},
    {"optional", spec_bool, offsetof(struct param, optional), 0, false},
    {"default", load_default, 0, 0, false},
    {"min", load_min, 0, 0, false},
    {"max", load_max, 0, 0, false},
    {"pattern", load_text, offsetof(struct param, pattern), 0, false},
    {"values", load_values, 0, 0, false},
    {"description", load_text, offsetof(struct param, description), 0, false},
};

static void load_param(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    *(struct param *)out = (struct param){.any_items = true};
    spec_fields(s, at, v, param_fields, SPEC_COUNT(param_fields), 0, "a param", out);
}

/* ---- parts of a node ---- */

static void load_secret(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct value_entry entry = {.key = STR("secret"), .value = *v};
    struct value whole = {.type = VALUE_MAP, .u.map = {.entries = &entry, .n = 1}};
    struct err err;
    if (!secret_read(&whole, out, &err)) spec_adopt(s, at, v, &err);
}

static const struct spec_field env_fields[] = {
    {"name", load_text, offsetof(struct env_var, name), 0, true},
    {"value", load_template, offsetof(struct env_var, value), 0, false},
    {"secret", load_secret, offsetof(struct env_var, secret), 0, false},
    {"secretParam", spec_bool, offsetof(struct env_var, secret_param), 0, false},
};

static void load_env_var(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_fields(s, at, v, env_fields, SPEC_COUNT(env_fields), 0, "env", out);
}

static void load_status(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_int32(s, at, v, out);
}

static void load_retry_codes(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct retry *r = out;
    r->exit_codes = load_list(s, at, v, sizeof *r->exit_codes, &r->n_exit_codes, load_status);
}

static const struct spec_field retry_fields[] = {
    {"limit", load_u32, offsetof(struct retry, limit), 0, true},
    {"baseMs", load_i64, offsetof(struct retry, base_ms), 0, false},
    {"maxMs", load_i64, offsetof(struct retry, max_ms), 0, false},
    {"factor", spec_double, offsetof(struct retry, factor), 0, false},
    {"jitter", spec_double, offsetof(struct retry, jitter), 0, false},
    {"on", load_u32, offsetof(struct retry, on), 0, false},
    {"exitCodes", load_retry_codes, 0, 0, false},
    {"memoryFactor", spec_double, offsetof(struct retry, memory_factor), 0, false},
    {"memoryMost", load_i64, offsetof(struct retry, memory_most), 0, false},
};

static void load_retry(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_fields(s, at, v, retry_fields, SPEC_COUNT(retry_fields), 0, "retry", out);
}

static const struct spec_field resource_fields[] = {
    {"cpuMilli", load_i64, offsetof(struct resources, cpu_milli), 0, false},
    {"memoryBytes", load_i64, offsetof(struct resources, memory_bytes), 0, false},
    {"storageBytes", load_i64, offsetof(struct resources, ephemeral_bytes), 0, false},
    {"shmBytes", load_i64, offsetof(struct resources, shm_bytes), 0, false},
    {"gpuCount", load_u32, offsetof(struct resources, gpu_count), 0, false},
    {"gpuFlavor", load_text, offsetof(struct resources, gpu_flavor), 0, false},
    {"gpuShare", spec_double, offsetof(struct resources, gpu_share), 0, false},
};

static void load_resources(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_fields(s, at, v, resource_fields, SPEC_COUNT(resource_fields), 0, "resources", out);
}

static const struct spec_field cache_fields[] = {
    {"ttlMs", load_i64, offsetof(struct cache_policy, ttl_ms), 0, false},
    {"key", load_template, offsetof(struct cache_policy, key), 0, false},
};

static void load_cache(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    ((struct cache_policy *)out)->on = true;
    spec_fields(s, at, v, cache_fields, SPEC_COUNT(cache_fields), 0, "cache", out);
}

static void load_headers(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct http_call *h = out;
    h->headers = load_list(s, at, v, sizeof *h->headers, &h->n_headers, load_env_var);
}

static void load_expect(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct http_call *h = out;
    h->expect = load_list(s, at, v, sizeof *h->expect, &h->n_expect, load_status);
}

static const struct spec_field http_fields[] = {
    {"method", load_template, offsetof(struct http_call, method), 0, false},
    {"url", load_template, offsetof(struct http_call, url), 0, true},
    {"body", load_template, offsetof(struct http_call, body), 0, false},
    {"headers", load_headers, 0, 0, false},
    {"expect", load_expect, 0, 0, false},
    {"timeoutMs", load_i64, offsetof(struct http_call, timeout_ms), 0, false},
};

static void load_http(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct http_call *call = arena_new(s->arena, struct http_call);
    spec_fields(s, at, v, http_fields, SPEC_COUNT(http_fields), 0, "http", call);
    *(const struct http_call **)out = call;
}

static const struct spec_field input_fields[] = {
    {"name", load_text, offsetof(struct input, name), 0, true},
    {"value", load_template, offsetof(struct input, value), 0, true},
    {"optional", spec_bool, offsetof(struct input, optional), 0, false},
};

static void load_input(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_fields(s, at, v, input_fields, SPEC_COUNT(input_fields), 0, "an input", out);
}

static void load_artifact(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct output *o = out;
    o->kind = IO_ARTIFACT;
    load_text(s, at, v, &o->artifact_type);
}

static const struct spec_field output_fields[] = {
    {"name", load_text, offsetof(struct output, name), 0, true},
    {"type", load_type, offsetof(struct output, type), 0, false},
    {"artifact", load_artifact, 0, 0, false},
    {"path", load_text, offsetof(struct output, path), 0, false},
    {"optional", spec_bool, offsetof(struct output, optional), 0, false},
};

static void load_output(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_fields(s, at, v, output_fields, SPEC_COUNT(output_fields), 0, "an output", out);
}

/* ---- nodes ---- */

static void load_verb(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    const char *words[VERB_NOOP + 1];
    for (unsigned i = 0; i <= VERB_NOOP; i++)
        words[i] = verb_name((enum verb)i);
    size_t i = spec_word(s, at, v, words, SPEC_COUNT(words));
    if (i != SIZE_MAX) *(enum verb *)out = (enum verb)i;
}

static void load_deps(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *node = out;
    size_t n;
    node->deps = load_list(s, at, v, sizeof *node->deps, &n, load_u32);
    node->n_deps = (uint32_t)n;
}

static void load_when(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *node = out;
    struct err err;
    load_text(s, at, v, &node->when_source);
    if (v->type == VALUE_STRING && !expr_parse(s->arena, v->u.s, &node->when, &err)) spec_adopt(s, at, v, &err);
}

static void load_foreach(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *node = out;
    node->loop = true;
    load_template(s, at, v, &node->foreach);
}

static void load_product(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *node = out;
    node->loop = true;
    if (v->type != VALUE_MAP) {
        spec_expected(s, at, v, "a map");
        return;
    }
    struct expr_template *values = arena_array(s->arena, struct expr_template, v->u.map.n);
    for (size_t i = 0; i < v->u.map.n; i++)
        load_template(s, at, &v->u.map.entries[i].value, &values[i]);
    node->product = v;
    node->product_values = values;
}

#define LIST_LOADER(name, member, one)                                                                                 \
    static void name(struct spec *s, const struct spec_at *at, const struct value *v, void *out)                       \
    {                                                                                                                  \
        struct node *node = out;                                                                                       \
        node->member = load_list(s, at, v, sizeof *node->member, &node->n_##member, one);                              \
    }
LIST_LOADER(load_argv, argv, load_template)
LIST_LOADER(load_interpreter, interpreter, load_text)
LIST_LOADER(load_env, env, load_env_var)
LIST_LOADER(load_inputs, inputs, load_input)
LIST_LOADER(load_outputs, outputs, load_output)
LIST_LOADER(load_roles, roles, load_text)

#define IN(member) offsetof(struct node, member)
/* `command` counts as present when it differs from the length of argv: it is read after it. */
static const struct spec_field node_fields[] = {
    {"name", load_text, IN(name), 0, true},
    {"verb", load_verb, IN(verb), 0, true},
    {"deps", load_deps, 0, 0, false},
    {"rule", spec_rule, IN(rule), 0, false},
    {"after", spec_after, IN(after), 0, false},
    {"when", load_when, 0, 0, false},
    {"foreach", load_foreach, 0, 0, false},
    {"product", load_product, 0, 0, false},
    {"parallelism", load_u32, IN(parallelism), 0, false},
    {"retry", load_retry, IN(retry), 0, false},
    {"timeoutMs", load_i64, IN(timeout_ms), 0, false},
    {"uploadMs", load_i64, IN(upload_ms), 0, false},
    {"cache", load_cache, IN(cache), 0, false},
    {"image", load_text, IN(image), 0, false},
    {"line", load_template, IN(line), 0, false},
    {"argv", load_argv, 0, 0, false},
    {"command", NULL, 0, 0, false},
    {"script", load_text, IN(script), 0, false},
    {"interpreter", load_interpreter, 0, 0, false},
    {"env", load_env, 0, 0, false},
    {"workdir", load_text, IN(workdir), 0, false},
    {"inputs", load_inputs, 0, 0, false},
    {"outputs", load_outputs, 0, 0, false},
    {"resources", load_resources, IN(resources), 0, false},
    {"graph", load_u32, IN(graph), 0, false},
    {"pipeline", load_text, IN(pipeline), 0, false},
    {"value", load_template, IN(value), 0, false},
    {"http", load_http, IN(http), 0, false},
    {"waitFor", load_template, IN(wait_for), 0, false},
    {"waitUntil", load_template, IN(wait_until), 0, false},
    {"message", load_template, IN(message), 0, false},
    {"roles", load_roles, 0, 0, false},
    {"importUri", load_template, IN(import_uri), 0, false},
    {"importType", load_text, IN(import_type), 0, false},
    {"queue", load_text, IN(queue), 0, false},
    {"priority", spec_int32, IN(priority), 0, false},
    {"workers", load_u32, IN(workers), 0, false},
    {"cluster", spec_any, IN(cluster), 0, false},
};

/* Verbs whose work is described by a pointer or text that must be there. */
static bool complete(const struct node *n)
{
    switch (n->verb) {
    case VERB_RUN: return n->line.source.n || n->n_argv;
    case VERB_SCRIPT: return n->script.n && n->n_interpreter;
    case VERB_IMAGE: return n->image.n > 0;
    case VERB_EXPR: return n->value.source.n > 0 || n->value.literal;
    case VERB_HTTP: return n->http != NULL;
    case VERB_WAIT: return n->wait_for.source.n || n->wait_until.source.n;
    case VERB_IMPORT: return n->import_uri.source.n > 0;
    case VERB_PIPELINE:
    case VERB_APPROVAL:
    case VERB_NOOP: break;
    }
    return true;
}

static void load_node(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct node *node = out;
    const struct value *command = value_get(v, "command");
    struct spec_step defaults;
    spec_builtin_defaults(&defaults);
    node->retry = defaults.node.retry;
    if (!spec_fields(s, at, v, node_fields, SPEC_COUNT(node_fields), 0, "a step", node)) return;
    node->n_command = node->n_argv;
    if (command && command->type == VALUE_INT && command->u.i >= 0 && (uint64_t)command->u.i <= node->n_argv)
        node->n_command = (size_t)command->u.i;
    if (!complete(node)) spec_error(s, at, v, "the step lacks what its verb needs");
}

/* ---- graphs ---- */

static void load_graph_output(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const struct spec_field fields[] = {
        {"name", load_text, offsetof(struct graph_output, name), 0, true},
        {"value", load_template, offsetof(struct graph_output, value), 0, true},
    };
    spec_fields(s, at, v, fields, SPEC_COUNT(fields), 0, "an output", out);
}

static void load_params(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct graph *g = out;
    g->params = load_list(s, at, v, sizeof *g->params, &g->n_params, load_param);
}

static void load_graph_outputs(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct graph *g = out;
    g->outputs = load_list(s, at, v, sizeof *g->outputs, &g->n_outputs, load_graph_output);
}

/* Edges lead to nodes that are there, and never from a step into onExit or back. */
static bool edges_fit(const struct graph *g)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        uint32_t steps = g->n_nodes - g->n_exit;
        for (uint32_t k = 0; k < g->nodes[i].n_deps; k++) {
            uint32_t to = g->nodes[i].deps[k];
            if (to >= g->n_nodes || to == i || (to < steps) != (i < steps)) return false;
        }
    }
    return true;
}

static void load_nodes(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct graph *g = out;
    size_t n;
    if (v->type == VALUE_LIST && v->u.list.n > PLAN_MAX_NODES) {
        spec_error(s, at, v, "too many steps");
        return;
    }
    g->nodes = load_list(s, at, v, sizeof *g->nodes, &n, load_node);
    g->n_nodes = (uint32_t)n;
}

static const struct spec_field graph_fields[] = {
    {"name", load_text, offsetof(struct graph, name), 0, true},
    {"project", load_text, offsetof(struct graph, project), 0, true},
    {"version", load_i64, offsetof(struct graph, version), 0, false},
    {"params", load_params, 0, 0, true},
    {"nodes", load_nodes, 0, 0, true},
    {"exit", load_u32, offsetof(struct graph, n_exit), 0, false},
    {"outputs", load_graph_outputs, 0, 0, false},
    {"parallelism", load_u32, offsetof(struct graph, parallelism), 0, false},
    {"deadlineMs", load_i64, offsetof(struct graph, deadline_ms), 0, false},
};

static void load_graph(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct graph *g = out;
    if (!spec_fields(s, at, v, graph_fields, SPEC_COUNT(graph_fields), 0, "a graph", g)) return;
    if (g->n_exit > g->n_nodes || !edges_fit(g))
        spec_error(s, at, v, "the edges do not fit the steps");
    else
        graph_link(s->arena, (struct node *)(uintptr_t)g->nodes, g->n_nodes);
}

/* ---- the plan ---- */

static void load_graphs(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct plan *p = out;
    size_t n;
    p->graphs = load_list(s, at, v, sizeof *p->graphs, &n, load_graph);
    p->n_graphs = (uint32_t)n;
}

static void load_git(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    (void)s;
    (void)at;
    *(struct value *)out = *v;
}

static const struct spec_field plan_fields[] = {
    {"name", load_text, offsetof(struct plan, name), 0, true},
    {"project", load_text, offsetof(struct plan, project), 0, true},
    {"description", load_text, offsetof(struct plan, description), 0, false},
    {"maxRuns", load_u32, offsetof(struct plan, max_runs), 0, false},
    {"labels", spec_any, offsetof(struct plan, labels), 0, false},
    {"git", load_git, offsetof(struct plan, git), 0, false},
    {"graphs", load_graphs, 0, 0, true},
};

/* A graph is entered from earlier ones only: no graph can contain itself. */
static bool calls_fit(const struct plan *p)
{
    for (uint32_t g = 0; g < p->n_graphs; g++) {
        for (uint32_t i = 0; i < p->graphs[g].n_nodes; i++) {
            const struct node *node = &p->graphs[g].nodes[i];
            if (node->verb == VERB_PIPELINE && (node->graph <= g || node->graph >= p->n_graphs)) return false;
        }
    }
    return p->n_graphs > 0;
}

bool plan_load(struct arena *a, const struct value *json, const struct plan **out, struct err *err)
{
    static const struct compile_env env;
    struct err_list errors;
    struct plan *p = arena_new(a, struct plan);
    err_list_init(&errors, a);
    struct spec s = {.arena = a, .env = &env, .errors = &errors};
    if (spec_fields(&s, NULL, json, plan_fields, SPEC_COUNT(plan_fields), 0, "a plan", p) && errors.total == 0 &&
        !calls_fit(p))
        spec_error(&s, NULL, json, "its sub-pipelines do not fit");
    if (errors.total) {
        if (err) *err = errors.items[0];
        return false;
    }
    *out = p;
    return true;
}
