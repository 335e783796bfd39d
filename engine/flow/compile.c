/* The compiler: header, params, defaults, steps, references, graph, plan. */
#include "engine/flow/compile.h"

#include <stdlib.h>
#include <string.h>

#include "engine/flow/compile_inner.h"

static const struct compile_env no_env;

/* ---- header ---- */

static bool object_name(struct str s)
{
    if (s.n == 0 || s.n > 128) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool solid = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!solid && !(i && i + 1 < s.n && (c == '-' || c == '_' || c == '.'))) return false;
    }
    return true;
}

static void read_object_name(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str name = {"", 0};
    spec_str(s, at, v, &name);
    if (v->type != VALUE_STRING) return;
    if (object_name(name))
        *(struct str *)out = name;
    else
        err_hint(spec_error(s, at, v, "'%.*s' cannot be a name", STR_ARG(str_sub(v->u.s, 0, 80))),
                 "letters, digits, '-', '_' and '.' inside, at most 128");
}

static void read_version(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"millrace/v1"};
    (void)out;
    spec_word(s, at, v, words, 1);
}

static const char *const later[] = {"Sweep", "Service", "Flavor", "Queue", "Trigger", "Hook", "Monitor"};

static void read_kind(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"Pipeline"};
    (void)out;
    for (size_t i = 0; i < SPEC_COUNT(later); i++) {
        if (v->type != VALUE_STRING || !str_is(v->u.s, later[i])) continue;
        if (str_is(v->u.s, "Flavor") || str_is(v->u.s, "Queue"))
            err_hint(spec_error(s, at, v, "a %s is no part of a pipeline", later[i]),
                     "millrace queue apply declares it");
        else
            spec_error(s, at, v, "this server does not have the kind '%s'", later[i]);
        return;
    }
    spec_word(s, at, v, words, 1);
}

/* ---- the document ---- */

struct document {
    struct spec_param_list params;
    const struct value *defaults, *steps, *on_exit, *outputs, *code, *labels;
    struct str description;
    uint32_t parallelism, max_runs;
    int64_t deadline_ms;
};

static const struct spec_field document_fields[] = {
    {"apiVersion", NULL, 0, 0, false},
    {"kind", NULL, 0, 0, false},
    {"name", NULL, 0, 0, false},
    {"project", NULL, 0, 0, false},
    {"description", spec_str, offsetof(struct document, description), 0, false},
    {"labels", spec_any, offsetof(struct document, labels), 0, false},
    {"params", spec_params, offsetof(struct document, params), 0, false},
    {"defaults", spec_any, offsetof(struct document, defaults), 0, false},
    {"steps", spec_any, offsetof(struct document, steps), 0, true},
    {"onExit", spec_any, offsetof(struct document, on_exit), 0, false},
    {"outputs", spec_any, offsetof(struct document, outputs), 0, false},
    {"parallelism", spec_positive, offsetof(struct document, parallelism), 0, false},
    {"maxRuns", spec_positive, offsetof(struct document, max_runs), 0, false},
    {"deadline", spec_duration, offsetof(struct document, deadline_ms), 0, false},
    {"code", spec_any, offsetof(struct document, code), 0, false},
};

static bool is_pipeline(const struct value *doc)
{
    const struct value *kind = value_get(doc, "kind");
    if (!kind || (kind->type == VALUE_STRING && str_is(kind->u.s, "Pipeline"))) return true;
    for (size_t i = 0; kind->type == VALUE_STRING && i < SPEC_COUNT(later); i++)
        if (str_is(kind->u.s, later[i])) return false;
    return value_get(doc, "steps") || spec_misspelled(doc, document_fields, SPEC_COUNT(document_fields), "steps");
}

/* apiVersion, kind, name and project. Of another kind than a pipeline nothing more can be said than that it is one. */
static bool read_header(struct compile *c, const struct value *doc)
{
    static const struct {
        const char *key, *hint;
        spec_fn *read;
        bool required;
    } rows[] = {{"apiVersion", "apiVersion: millrace/v1", read_version, true},
                {"kind", "kind: Pipeline", read_kind, true},
                {"name", "", read_object_name, true},
                {"project", "", read_object_name, false}};
    void *targets[] = {NULL, NULL, &c->name, &c->project};
    if (doc->type != VALUE_MAP) {
        spec_expected(&c->spec, NULL, doc, "a document with apiVersion, kind and name");
        return false;
    }
    for (size_t i = 0; i < SPEC_COUNT(rows); i++) {
        const struct value *v = value_get(doc, rows[i].key);
        struct spec_at at = {NULL, str_of(rows[i].key), SIZE_MAX, {0, 0}};
        if (v)
            rows[i].read(&c->spec, &at, v, targets[i]);
        else if (rows[i].required && !spec_misspelled(doc, document_fields, SPEC_COUNT(document_fields), rows[i].key))
            err_hint(spec_error(&c->spec, NULL, doc, "'%s' is missing", rows[i].key), "%s", rows[i].hint);
    }
    return is_pipeline(doc);
}

struct git {
    struct str url, ref;
};

static const struct spec_field git_fields[] = {
    {"url", spec_str, offsetof(struct git, url), 0, true},
    {"ref", spec_str, offsetof(struct git, ref), 0, false},
};

static void read_git(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct git git = {0};
    *(const struct value **)out = v;
    if (!spec_fields(s, at, v, git_fields, SPEC_COUNT(git_fields), 0, "git", &git)) return;
    if (git.url.n && !str_starts(git.url, "https://") && !str_starts(git.url, "http://"))
        spec_error(s, at, v, "the URL of the code begins with https://");
}

static void one_label(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                      size_t i)
{
    (void)out;
    (void)i;
    struct str text = STR("");
    spec_str(s, at, v, &text);
    if (key.n == 0 || key.n > PLAN_MAX_LABEL)
        spec_error(s, at, NULL, "a label's name has 1 to %d bytes", PLAN_MAX_LABEL);
    if (text.n > PLAN_MAX_LABEL) spec_error(s, at, v, "a label has at most %d bytes", PLAN_MAX_LABEL);
}

static void one_graph_output(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                             size_t i)
{
    struct graph_output *o = &((struct graph_output *)out)[i];
    o->name = key;
    spec_check_name(s, at, key, NULL, "an output");
    spec_typed(s, at, v, WHERE_OUTPUT, &o->value);
}

/* ---- steps ---- */

static bool steps_are_map(struct compile *c, const struct spec_at *at, const struct value *v)
{
    if (!v) return false;
    if (v->type == VALUE_MAP) return true;
    struct err *e = spec_expected(&c->spec, at, v, "a map from names to steps");
    if (v->type == VALUE_LIST) err_hint(e, "write 'NAME:' in place of '- name: NAME'");
    return false;
}

static void name_steps(struct compile *c, const struct spec_at *at, const struct value *v, uint32_t from)
{
    for (uint32_t i = 0; i < v->u.map.n; i++) {
        const struct value_entry *entry = &v->u.map.entries[i];
        struct spec_at here = {at, entry->key, SIZE_MAX, entry->key_at};
        uint64_t earlier;
        c->names[from + i] = c->nodes[from + i].name = entry->key;
        spec_check_name(&c->spec, &here, entry->key, NULL, "a step");
        if (map_get(&c->by_name, entry->key, &earlier))
            spec_error(&c->spec, &here, NULL, "a step of this name stands among the steps, too");
        else
            map_put(&c->by_name, entry->key, from + i, NULL);
    }
}

static void read_steps(struct compile *c, const struct spec_at *at, const struct value *v, uint32_t from,
                       const struct spec_step *defaults)
{
    bool in_exit = str_is(at->key, "onExit");
    for (uint32_t i = 0; i < v->u.map.n && !err_list_full(c->spec.errors); i++) {
        const struct value_entry *entry = &v->u.map.entries[i];
        struct spec_at here = {at, entry->key, SIZE_MAX, entry->key_at};
        struct spec_step step = {.in_exit = false};
        uint32_t node = from + i;
        c->spec.node = node;
        c->broken[node] = !spec_step(&c->spec, &here, &entry->value, defaults, in_exit, &step);
        c->nodes[node] = step.node;
        if (c->broken[node]) c->nodes[node].verb = VERB_NOOP;
        c->nodes[node].name = entry->key;
        c->nodes[node].at = entry->key_at;
        c->written[node] = &entry->value;
        c->needs[node] = step.needs;
        c->refs[node] = step.pipeline;
    }
}

static void read_all_steps(struct compile *c, const struct document *d, const struct spec_step *defaults)
{
    struct spec_at steps_at = {NULL, STR("steps"), SIZE_MAX, {0, 0}}, exit_at = {NULL, STR("onExit"), SIZE_MAX, {0, 0}};
    bool steps = steps_are_map(c, &steps_at, d->steps), on_exit = steps_are_map(c, &exit_at, d->on_exit);
    size_t n_steps = steps ? d->steps->u.map.n : 0, n = n_steps + (on_exit ? d->on_exit->u.map.n : 0);
    if (steps && n_steps == 0) spec_error(&c->spec, &steps_at, d->steps, "the pipeline has no steps");
    if (n > PLAN_MAX_NODES) {
        spec_error(&c->spec, &steps_at, d->steps, "%zu steps are more than %d", n, PLAN_MAX_NODES);
        return;
    }
    struct arena *a = c->spec.arena;
    c->n_steps = (uint32_t)n_steps;
    c->n_nodes = (uint32_t)n;
    c->nodes = arena_array(a, struct node, n);
    c->names = arena_array(a, struct str, n);
    c->written = arena_array(a, const struct value *, n);
    c->needs = arena_array(a, const struct value *, n);
    c->refs = arena_array(a, struct compile_ref, n);
    c->subs = arena_array(a, const struct plan *, n);
    c->broken = arena_array(a, bool, n);
    c->index = arena_array(a, struct compile_index *, n);
    c->twins = arena_array(a, uint32_t, n);
    if (steps) name_steps(c, &steps_at, d->steps, 0);
    if (on_exit) name_steps(c, &exit_at, d->on_exit, c->n_steps);
    if (steps) read_steps(c, &steps_at, d->steps, 0, defaults);
    if (on_exit) read_steps(c, &exit_at, d->on_exit, c->n_steps, defaults);
    c->spec.node = UINT32_MAX;
}

static void read_outputs(struct compile *c, const struct value *v)
{
    struct spec_at at = {NULL, STR("outputs"), SIZE_MAX, {0, 0}};
    if (!v) return;
    if (v->type != VALUE_MAP) {
        spec_expected(&c->spec, &at, v, "a map from names to values");
        return;
    }
    c->n_outputs = v->u.map.n;
    c->outputs = arena_array(c->spec.arena, struct graph_output, c->n_outputs);
    spec_each(&c->spec, &at, v, one_graph_output, c->outputs);
}

static void read_code(struct compile *c, const struct value *v, struct value *git)
{
    static const struct spec_field fields[] = {{"git", read_git, 0, 0, true}};
    struct spec_at at = {NULL, STR("code"), SIZE_MAX, {0, 0}};
    const struct value *found = NULL;
    *git = value_null();
    if (v) spec_fields(&c->spec, &at, v, fields, 1, 0, "code", &found);
    if (found) *git = *found;
}

static void read_labels(struct compile *c, const struct value *v)
{
    struct spec_at at = {NULL, STR("labels"), SIZE_MAX, {0, 0}};
    if (!v) return;
    if (v->type != VALUE_MAP)
        spec_expected(&c->spec, &at, v, "a map from names to texts");
    else if (v->u.map.n > PLAN_MAX_LABELS)
        spec_error(&c->spec, &at, v, "%zu labels are more than %d", v->u.map.n, PLAN_MAX_LABELS);
    else
        spec_each(&c->spec, &at, v, one_label, NULL);
}

static const struct plan *make_plan(struct compile *c, const struct document *d, const struct value *git)
{
    struct graph own = {.name = c->name,
                        .project = c->project,
                        .params = c->params,
                        .n_params = c->n_params,
                        .nodes = c->nodes,
                        .n_nodes = c->n_nodes,
                        .n_exit = c->n_nodes - c->n_steps,
                        .outputs = c->outputs,
                        .n_outputs = c->n_outputs,
                        .parallelism = d->parallelism,
                        .deadline_ms = d->deadline_ms};
    struct plan *plan = arena_new(c->spec.arena, struct plan);
    *plan = (struct plan){.name = c->name,
                          .project = c->project,
                          .description = d->description,
                          .max_runs = d->max_runs,
                          .labels = d->labels,
                          .git = *git};
    plan->graphs = compile_merge(c, &own, &plan->n_graphs);
    compile_check_size(c, plan->graphs, plan->n_graphs);
    return plan;
}

static void compile_document(struct compile *c, const struct value *doc, struct document *d, struct value *git)
{
    struct spec_step defaults;
    struct spec_at defaults_at = {NULL, STR("defaults"), SIZE_MAX, {0, 0}};
    c->spec.node = UINT32_MAX;
    spec_fields(&c->spec, NULL, doc, document_fields, SPEC_COUNT(document_fields), 0, "a pipeline", d);
    c->params = c->spec.params = d->params.items;
    c->n_params = c->spec.n_params = d->params.n;
    const struct value *params = value_get(doc, "params");
    c->any_params = params && params->type != VALUE_MAP;
    for (size_t i = 0; i < c->n_params; i++)
        if (c->params[i].type == PARAM_SECRET) map_put(&c->spec.secrets, c->params[i].name, i, NULL);
    read_labels(c, d->labels);
    read_code(c, d->code, git);
    spec_builtin_defaults(&defaults);
    if (d->defaults && !err_list_full(c->spec.errors)) spec_defaults(&c->spec, &defaults_at, d->defaults, &defaults);
    read_all_steps(c, d, &defaults);
    read_outputs(c, d->outputs);
    if (err_list_full(c->spec.errors)) return;
    compile_resolve(c);
    check_references(c);
    if (!err_list_full(c->spec.errors)) check_cycles(c);
}

bool compile_pipeline(struct arena *a, const struct value *doc, const struct compile_env *env, const struct plan **out,
                      struct err_list *errors)
{
    struct compile c = {
        .spec = {.arena = a, .env = env ? env : &no_env, .errors = errors}, .name = STR(""), .project = STR("default")};
    struct document d = {.description = {"", 0}};
    struct value git;
    size_t before = errors->total;
    const struct plan *plan = NULL;
    if (!read_header(&c, doc)) return false;
    map_init(&c.by_name, c.spec.env->seed);
    map_init(&c.spec.secrets, c.spec.env->seed);
    map_init(&c.spec.default_env, c.spec.env->seed);
    compile_document(&c, doc, &d, &git);
    if (errors->total == before && !c.unsound) plan = make_plan(&c, &d, &git);
    map_free(&c.by_name);
    map_free(&c.spec.secrets);
    map_free(&c.spec.default_env);
    compile_names_free(&c);
    err_list_sort(errors);
    if (errors->total != before || !plan) return false;
    *out = plan;
    return true;
}
