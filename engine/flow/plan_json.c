/* A plan as JSON: what is stored, and what names it by its digest. Compact: what has its default value is left out, and
 * positions are no part of it, so that a change of comments is no new version. The names are those of plan_load.c. */
#include "engine/base/jsonw.h"
#include "engine/flow/params.h"
#include "engine/flow/plan.h"

static void kv_text(struct jsonw *w, const char *key, struct str s)
{
    if (s.n) jsonw_kv_str(w, key, s);
}

static void kv_number(struct jsonw *w, const char *key, int64_t i)
{
    if (i) jsonw_kv_int(w, key, i);
}

static void kv_share(struct jsonw *w, const char *key, double d)
{
    if (d != 0) jsonw_kv_double(w, key, d);
}

static void kv_true(struct jsonw *w, const char *key, bool b)
{
    if (b) jsonw_kv_bool(w, key, true);
}

static void kv_template(struct jsonw *w, const char *key, const struct expr_template *t)
{
    kv_text(w, key, t->source);
}

static void kv_value(struct jsonw *w, const char *key, const struct value *v)
{
    if (!v || v->type == VALUE_NULL) return;
    jsonw_key(w, key);
    jsonw_value(w, v);
}

static void kv_templates(struct jsonw *w, const char *key, const struct expr_template *list, size_t n)
{
    if (n == 0) return;
    jsonw_key(w, key);
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        jsonw_str(w, list[i].source);
    jsonw_array_end(w);
}

static void kv_strs(struct jsonw *w, const char *key, const struct str *list, size_t n)
{
    if (n == 0) return;
    jsonw_key(w, key);
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        jsonw_str(w, list[i]);
    jsonw_array_end(w);
}

static void kv_numbers(struct jsonw *w, const char *key, const int32_t *list, size_t n)
{
    if (n == 0) return;
    jsonw_key(w, key);
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        jsonw_int(w, list[i]);
    jsonw_array_end(w);
}

static void write_param(struct jsonw *w, const struct param *p)
{
    jsonw_object(w);
    jsonw_kv_str(w, "name", p->name);
    jsonw_kv_cstr(w, "type", param_type_names[p->type]);
    if (p->type == PARAM_LIST && !p->any_items) jsonw_kv_cstr(w, "items", param_type_names[p->items]);
    kv_true(w, "optional", p->optional);
    if (p->has_default) kv_value(w, "default", &p->default_value);
    if (p->has_min) jsonw_kv_double(w, "min", p->min);
    if (p->has_max) jsonw_kv_double(w, "max", p->max);
    kv_text(w, "pattern", p->pattern);
    if (p->n_values) {
        jsonw_key(w, "values");
        jsonw_array(w);
        for (size_t i = 0; i < p->n_values; i++)
            jsonw_value(w, &p->values[i]);
        jsonw_array_end(w);
    }
    kv_text(w, "description", p->description);
    jsonw_object_end(w);
}

static void write_env(struct jsonw *w, const char *key, const struct env_var *list, size_t n)
{
    static const char *const sources[] = {NULL, "env", "file", "kubernetes"};
    if (n == 0) return;
    jsonw_key(w, key);
    jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        jsonw_kv_str(w, "name", list[i].name);
        if (list[i].secret.source == SECRET_NONE) {
            jsonw_kv_str(w, "value", list[i].value.source);
            if (list[i].secret_param) jsonw_kv_bool(w, "secretParam", true);
        } else {
            jsonw_key(w, "secret");
            jsonw_object(w);
            jsonw_kv_str(w, sources[list[i].secret.source], list[i].secret.name);
            jsonw_object_end(w);
        }
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

static void write_retry(struct jsonw *w, const struct retry *r)
{
    if (r->limit == 0) return; /* then the rest means nothing */
    jsonw_key(w, "retry");
    jsonw_object(w);
    jsonw_kv_int(w, "limit", r->limit);
    jsonw_kv_int(w, "baseMs", r->base_ms);
    jsonw_kv_int(w, "maxMs", r->max_ms);
    jsonw_kv_double(w, "factor", r->factor);
    jsonw_kv_double(w, "jitter", r->jitter);
    jsonw_kv_int(w, "on", r->on);
    kv_numbers(w, "exitCodes", r->exit_codes, r->n_exit_codes);
    if (r->memory_factor > 0) jsonw_kv_double(w, "memoryFactor", r->memory_factor);
    kv_number(w, "memoryMost", r->memory_most);
    jsonw_object_end(w);
}

static void write_resources(struct jsonw *w, const struct resources *r)
{
    if (!r->cpu_milli && !r->memory_bytes && !r->ephemeral_bytes && !r->shm_bytes && !r->gpu_count) return;
    jsonw_key(w, "resources");
    jsonw_object(w);
    kv_number(w, "cpuMilli", r->cpu_milli);
    kv_number(w, "memoryBytes", r->memory_bytes);
    kv_number(w, "storageBytes", r->ephemeral_bytes);
    kv_number(w, "shmBytes", r->shm_bytes);
    kv_number(w, "gpuCount", r->gpu_count);
    kv_text(w, "gpuFlavor", r->gpu_flavor);
    kv_share(w, "gpuShare", r->gpu_share);
    jsonw_object_end(w);
}

static void write_http(struct jsonw *w, const struct http_call *h)
{
    if (!h) return;
    jsonw_key(w, "http");
    jsonw_object(w);
    kv_template(w, "method", &h->method);
    kv_template(w, "url", &h->url);
    kv_template(w, "body", &h->body);
    write_env(w, "headers", h->headers, h->n_headers);
    kv_numbers(w, "expect", h->expect, h->n_expect);
    kv_number(w, "timeoutMs", h->timeout_ms);
    jsonw_object_end(w);
}

static void write_io(struct jsonw *w, const struct node *n)
{
    if (n->n_inputs) {
        jsonw_key(w, "inputs");
        jsonw_array(w);
        for (size_t i = 0; i < n->n_inputs; i++) {
            jsonw_object(w);
            jsonw_kv_str(w, "name", n->inputs[i].name);
            jsonw_kv_str(w, "value", n->inputs[i].value.source);
            kv_true(w, "optional", n->inputs[i].optional);
            jsonw_object_end(w);
        }
        jsonw_array_end(w);
    }
    if (n->n_outputs == 0) return;
    jsonw_key(w, "outputs");
    jsonw_array(w);
    for (size_t i = 0; i < n->n_outputs; i++) {
        const struct output *o = &n->outputs[i];
        jsonw_object(w);
        jsonw_kv_str(w, "name", o->name);
        if (o->kind == IO_ARTIFACT)
            jsonw_kv_str(w, "artifact", o->artifact_type);
        else
            jsonw_kv_cstr(w, "type", param_type_names[o->type]);
        kv_text(w, "path", o->path);
        kv_true(w, "optional", o->optional);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

static void write_flow(struct jsonw *w, const struct node *n)
{
    static const char *const afters[] = {NULL, "success", "failure", "always"};
    if (n->n_deps) {
        jsonw_key(w, "deps");
        jsonw_array(w);
        for (uint32_t i = 0; i < n->n_deps; i++)
            jsonw_int(w, n->deps[i]);
        jsonw_array_end(w);
    }
    if (n->rule != RULE_ALL_SUCCEEDED) jsonw_kv_cstr(w, "rule", rule_name(n->rule));
    jsonw_kv_cstr(w, "after", afters[n->after]);
    if (n->when) jsonw_kv_str(w, "when", n->when_source);
    if (n->loop && !n->product) jsonw_kv_str(w, "foreach", n->foreach.source);
    kv_value(w, "product", n->product);
    kv_number(w, "parallelism", n->parallelism);
    write_retry(w, &n->retry);
    kv_number(w, "timeoutMs", n->timeout_ms);
    kv_number(w, "uploadMs", n->upload_ms);
    if (!n->cache.on) return;
    jsonw_key(w, "cache");
    jsonw_object(w);
    kv_number(w, "ttlMs", n->cache.ttl_ms);
    kv_template(w, "key", &n->cache.key);
    jsonw_object_end(w);
}

static void write_work(struct jsonw *w, const struct node *n)
{
    kv_text(w, "image", n->image);
    kv_template(w, "line", &n->line);
    kv_templates(w, "argv", n->argv, n->n_argv);
    if (n->n_argv != n->n_command) jsonw_kv_int(w, "command", (int64_t)n->n_command);
    kv_text(w, "script", n->script);
    kv_strs(w, "interpreter", n->interpreter, n->n_interpreter);
    write_env(w, "env", n->env, n->n_env);
    kv_text(w, "workdir", n->workdir);
    write_io(w, n);
    write_resources(w, &n->resources);
    if (n->verb == VERB_PIPELINE) jsonw_kv_int(w, "graph", n->graph);
    kv_text(w, "pipeline", n->pipeline);
    kv_template(w, "value", &n->value);
    write_http(w, n->http);
    kv_template(w, "waitFor", &n->wait_for);
    kv_template(w, "waitUntil", &n->wait_until);
    kv_template(w, "message", &n->message);
    kv_strs(w, "roles", n->roles, n->n_roles);
    kv_template(w, "importUri", &n->import_uri);
    kv_text(w, "importType", n->import_type);
    kv_text(w, "queue", n->queue);
    kv_number(w, "priority", n->priority);
    kv_number(w, "workers", n->workers);
    kv_value(w, "cluster", n->cluster);
}

static void write_graph(struct jsonw *w, const struct graph *g)
{
    jsonw_object(w);
    jsonw_kv_str(w, "name", g->name);
    jsonw_kv_str(w, "project", g->project);
    kv_number(w, "version", g->version);
    jsonw_key(w, "params");
    jsonw_array(w);
    for (size_t i = 0; i < g->n_params; i++)
        write_param(w, &g->params[i]);
    jsonw_array_end(w);
    jsonw_key(w, "nodes");
    jsonw_array(w);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        jsonw_object(w);
        jsonw_kv_str(w, "name", g->nodes[i].name);
        jsonw_kv_cstr(w, "verb", verb_name(g->nodes[i].verb));
        write_flow(w, &g->nodes[i]);
        write_work(w, &g->nodes[i]);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    kv_number(w, "exit", g->n_exit);
    if (g->n_outputs) {
        jsonw_key(w, "outputs");
        jsonw_array(w);
        for (size_t i = 0; i < g->n_outputs; i++) {
            jsonw_object(w);
            jsonw_kv_str(w, "name", g->outputs[i].name);
            jsonw_kv_str(w, "value", g->outputs[i].value.source);
            jsonw_object_end(w);
        }
        jsonw_array_end(w);
    }
    kv_number(w, "parallelism", g->parallelism);
    kv_number(w, "deadlineMs", g->deadline_ms);
    jsonw_object_end(w);
}

void plan_json(struct buf *out, const struct plan *p)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_kv_str(&w, "name", p->name);
    jsonw_kv_str(&w, "project", p->project);
    kv_text(&w, "description", p->description);
    kv_number(&w, "maxRuns", p->max_runs);
    kv_value(&w, "labels", p->labels);
    kv_value(&w, "git", &p->git);
    jsonw_key(&w, "graphs");
    jsonw_array(&w);
    for (uint32_t i = 0; i < p->n_graphs; i++)
        write_graph(&w, &p->graphs[i]);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) out->over = true;
}
