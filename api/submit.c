/* Starting runs: of an applied pipeline, of a source, or of an old run's plan. Everything is checked before anything is
 * stored. */
#include <string.h>

#include "api/auth.h"
#include "api/handlers.h"
#include "api/runs.h"
#include "api/source.h"
#include "engine/flow/params.h"
#include "engine/flow/plan_rules.h"
#include "engine/store/pipelines.h"
#include "engine/text/json.h"

#define MAX_NAME 200

struct submission {
    struct scope scope;
    struct str project;
    struct source source;
    struct str pipeline, name, bundle;
    int64_t version;
    const struct value *params, *labels, *ignore; /* NULL = none */
    uint32_t ignored;
    bool queued; /* `queue` means something where it is to run */
    const struct plan *plan;
    struct run_new run;
};

static const struct member members[] = {{"pipeline", MEMBER_STRING, false}, {"version", MEMBER_INT, false},
                                        {"source", MEMBER_STRING, false},   {"name", MEMBER_STRING, false},
                                        {"params", MEMBER_MAP, false},      {"labels", MEMBER_MAP, false},
                                        {"bundle", MEMBER_STRING, false},   {"ignoreResources", MEMBER_LIST, false}};

static const struct value *member_tree(const struct value *body, const char *name)
{
    const struct value *v = value_get(body, name);
    return v && v->type != VALUE_NULL ? v : NULL;
}

static bool read_json(struct request *rq, struct submission *s, struct err *err)
{
    struct value *body = arena_new(rq->arena, struct value);
    if (!request_json(rq, body, err) || !request_members(body, members, sizeof members / sizeof *members, err))
        return false;
    const struct value *version = member_tree(body, "version");
    s->pipeline = member_str(body, "pipeline");
    s->source.text = member_str(body, "source");
    s->name = member_str(body, "name");
    s->bundle = member_str(body, "bundle");
    s->version = version ? version->u.i : 0;
    s->params = member_tree(body, "params");
    s->labels = member_tree(body, "labels");
    s->ignore = member_tree(body, "ignoreResources");
    if (version && (s->version < 1 || s->version > INT32_MAX)) {
        err_set(err, ERR_INVALID, "version must be 1 or more");
        return err_path(err, "version");
    }
    if ((s->pipeline.n > 0) != (s->source.text.n > 0)) return true;
    err_set(err, ERR_INVALID, s->pipeline.n ? "pipeline and source exclude each other" : "pipeline is missing");
    err_path(err, "pipeline");
    return err_hint(err, "give the name of an applied pipeline, or a source");
}

/* A query parameter that is a JSON object. */
static bool query_object(struct request *rq, const char *name, const struct value **out, struct err *err)
{
    struct str text;
    if (!request_arg(rq, name, &text) || text.n == 0) return true;
    struct value *v = arena_new(rq->arena, struct value);
    if (!json_parse(rq->arena, text, 0, v, err)) return err_path(err, "query.%s", name);
    if (v->type != VALUE_MAP) {
        err_set(err, ERR_INVALID, "%s must be a JSON object", name);
        return err_path(err, "query.%s", name);
    }
    *out = v;
    return true;
}

static bool read_yaml(struct request *rq, struct submission *s, struct err *err)
{
    struct str list, piece;
    s->source.text = rq->body;
    request_arg(rq, "name", &s->name);
    request_arg(rq, "bundle", &s->bundle);
    if (!query_object(rq, "params", &s->params, err) || !query_object(rq, "labels", &s->labels, err)) return false;
    if (!request_arg(rq, "ignore_resources", &list) || list.n == 0) return true;
    struct value_list_builder b;
    value_list_begin(&b, rq->arena);
    while (str_split(&list, ',', &piece))
        value_list_push(&b, value_string(str_trim(piece)));
    struct value *v = arena_new(rq->arena, struct value);
    *v = value_list_end(&b);
    s->ignore = v;
    return true;
}

static bool check_labels(const struct value *labels, struct err *err)
{
    if (!labels) return true;
    if (labels->u.map.n > PLAN_MAX_LABELS) {
        err_set(err, ERR_INVALID, "a run has at most %d labels", PLAN_MAX_LABELS);
        return err_path(err, "labels");
    }
    for (size_t i = 0; i < labels->u.map.n; i++) {
        const struct value_entry *e = &labels->u.map.entries[i];
        if (e->key.n == 0 || e->key.n > PLAN_MAX_LABEL) {
            err_set(err, ERR_INVALID, "a label's name has 1 to %d bytes", PLAN_MAX_LABEL);
            return err_path(err, "labels");
        }
        if (e->value.type == VALUE_STRING && e->value.u.s.n <= PLAN_MAX_LABEL) continue;
        err_set(err, ERR_INVALID, "a label must be a string of at most %d bytes", PLAN_MAX_LABEL);
        return err_path(err, "labels.%.*s", STR_ARG(e->key));
    }
    return true;
}

static bool check_ignored(struct submission *s, struct err *err)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } known[] = {{"gpu", SOURCE_IGNORE_GPU}, {"cpu", SOURCE_IGNORE_CPU}, {"memory", SOURCE_IGNORE_MEMORY}};
    for (size_t i = 0; s->ignore && i < s->ignore->u.list.n; i++) {
        const struct value *v = &s->ignore->u.list.items[i];
        uint32_t bit = 0;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (v->type == VALUE_STRING && str_is(v->u.s, known[k].name)) bit = known[k].bit;
        s->ignored |= bit;
        if (bit) continue;
        err_set(err, ERR_INVALID, "ignoreResources names a resource that is not known");
        err_path(err, "ignoreResources[%zu]", i);
        return err_hint(err, "gpu, cpu and memory can be ignored");
    }
    return true;
}

static bool check_name(struct str name, struct err *err)
{
    bool ok = name.n <= MAX_NAME;
    for (size_t i = 0; i < name.n && ok; i++)
        ok = (unsigned char)name.p[i] >= 32 && name.p[i] != 127;
    if (ok) return true;
    err_set(err, ERR_INVALID, "a run's name has at most %d bytes and no control characters", MAX_NAME);
    return err_path(err, "name");
}

/* ---- plans ---- */

static bool of_source(struct request *rq, struct submission *s, struct err *err)
{
    struct source_doc *docs;
    size_t n;
    struct conn *c;
    s->source.bundle = s->bundle;
    if (!auth_role(rq, ROLE_EDITOR, "Run a source", err) ||
        !source_compile(rq, &s->source, &s->scope, &s->project, &docs, &n, err) || !source_one(docs, n, err))
        return false;
    struct plan_text text = {.digest = str_of(docs[0].digest), .source = docs[0].text, .plan = docs[0].json};
    if (!request_db(rq, &c, err) || !plans_put(c, &s->scope, &text, &s->run.plan_id, err)) return false;
    s->plan = docs[0].plan;
    s->run.pipeline = docs[0].name;
    s->run.bundle_digest = s->bundle;
    return true;
}

static bool of_pipeline(struct request *rq, struct submission *s, struct err *err)
{
    struct conn *c;
    struct version_rec v;
    if (!auth_project(rq, (struct str){NULL, 0}, &s->scope, &s->project, err) || !request_db(rq, &c, err)) return false;
    if (!pipelines_version(c, s->scope.project_id, s->pipeline, (int32_t)s->version, rq->arena, &v, err))
        return err_path(err, "pipeline");
    if (s->bundle.n) { /* other code than the version's: as powerful as a source of one's own */
        if (!auth_role(rq, ROLE_EDITOR, "Run other code", err) || !source_check_bundle(rq, &s->scope, s->bundle, err))
            return false;
    }
    if (!source_load_plan(rq->arena, v.plan, &s->plan, err)) return false;
    s->run.pipeline = s->pipeline;
    s->run.version = v.version;
    s->run.plan_id = v.plan_id;
    s->run.bundle_digest = s->bundle.n ? s->bundle : v.bundle_digest;
    return true;
}

static struct str json_text(struct request *rq, const struct value *v)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, v, false);
    return arena_str(rq->arena, buf_view(&text));
}

static bool bind_params(struct request *rq, struct submission *s, struct err *err)
{
    struct value bound;
    const struct graph *g = &s->plan->graphs[0];
    if (params_bind(rq->arena, g->params, g->n_params, s->params, &bound, &rq->errors)) {
        s->run.params = json_text(rq, &bound);
        return true;
    }
    return source_problems(rq, err);
}

/* Code in a git repository is fetched by whoever submits: without it the steps would run on nothing. */
static bool check_code(const struct submission *s, struct err *err)
{
    if (s->plan->git.type == VALUE_NULL || s->run.bundle_digest.n > 0) return true;
    err_set(err, ERR_INVALID, "the server does not fetch the code that the pipeline names in git");
    err_path(err, "code.git");
    return err_hint(err, "millrace run, submit and apply fetch and send it; over REST, upload it and name its bundle");
}

/* The pipeline's labels, and over them the run's. */
static struct str merged_labels(struct request *rq, const struct value *ours, const struct value *given)
{
    struct value_map_builder b;
    value_map_begin(&b, rq->arena);
    for (size_t i = 0; ours && ours->type == VALUE_MAP && i < ours->u.map.n; i++)
        if (!given || !value_find(given, ours->u.map.entries[i].key))
            value_map_put(&b, ours->u.map.entries[i].key, ours->u.map.entries[i].value);
    for (size_t i = 0; given && i < given->u.map.n; i++)
        value_map_put(&b, given->u.map.entries[i].key, given->u.map.entries[i].value);
    struct value v = value_map_end(&b);
    return json_text(rq, &v);
}

/* What of the pipeline means nothing where its steps run. */
static size_t unused_here(const struct request *rq, const struct submission *s, struct str *words, size_t room)
{
    const struct api_config *cfg = &rq->api->cfg;
    size_t n = cfg->local_only ? plan_unused_here(s->plan, cfg->cluster, s->queued, words, room - 1) : 0;
    if (cfg->cluster && !cfg->moves && s->run.bundle_digest.n > 0) words[n++] = STR("the folder's files");
    return n;
}

/* What the user waived, and what is unused: said here, once. */
static struct str options_text(struct request *rq, const struct submission *s)
{
    struct str words[32];
    size_t n = unused_here(rq, s, words, 32);
    bool waived = s->ignore && s->ignore->u.list.n > 0;
    struct value_list_builder unused;
    struct value_map_builder b;
    if (n == 0 && !waived) return (struct str){"", 0};
    value_list_begin(&unused, rq->arena);
    for (size_t i = 0; i < n; i++)
        value_list_push(&unused, value_string(words[i]));
    value_map_begin(&b, rq->arena);
    if (waived) value_map_put(&b, STR("ignoreResources"), *s->ignore);
    if (n > 0) value_map_put(&b, STR("unused"), value_list_end(&unused));
    struct value v = value_map_end(&b);
    return json_text(rq, &v);
}

static bool store(struct request *rq, struct submission *s, struct err *err)
{
    struct conn *c;
    int64_t id;
    s->run.name = s->name;
    s->run.together = s->plan->max_runs > 0;
    if (!request_db(rq, &c, err) || !runs_create(c, &s->scope, &s->run, &id, err)) return false;
    rq->hint = true;
    if (!run_answer(rq, id, 201, err)) return false;
    rq->location = arena_printf(rq->arena, "/api/v1/runs/%lld", (long long)id);
    response_header(rq, "Location", "%.*s", STR_ARG(rq->location));
    return true;
}

bool runs_post(struct request *rq, struct err *err)
{
    struct submission s = {.pipeline = {"", 0}, .name = {"", 0}, .bundle = {"", 0}};
    enum body_kind kind;
    if (!request_body_kind(rq, &kind, err)) return false;
    if (!(kind == BODY_YAML ? read_yaml(rq, &s, err) : read_json(rq, &s, err))) return false;
    if (!check_name(s.name, err) || !check_labels(s.labels, err) || !check_ignored(&s, err)) return false;
    if (!(s.pipeline.n ? of_pipeline(rq, &s, err) : of_source(rq, &s, err))) return false;
    if (!bind_params(rq, &s, err) || !source_check_runnable(rq, s.plan, s.ignored, &s.queued, err) ||
        !check_code(&s, err))
        return false;
    s.run.labels = merged_labels(rq, s.plan->labels, s.labels);
    s.run.options = options_text(rq, &s);
    return store(rq, &s, err);
}

/* ---- clone ---- */

/* The old run's params with the given ones over them. */
static bool merge_params(struct request *rq, struct str old, const struct value *given, const struct value **out,
                         struct err *err)
{
    struct value before;
    struct value_map_builder b;
    if (!json_reload(rq->arena, old.n ? old : STR("{}"), &before, err)) return false;
    value_map_begin(&b, rq->arena);
    for (size_t i = 0; before.type == VALUE_MAP && i < before.u.map.n; i++) {
        const struct value_entry *e = &before.u.map.entries[i];
        if (!given || !value_find(given, e->key)) value_map_put(&b, e->key, e->value);
    }
    for (size_t i = 0; given && i < given->u.map.n; i++)
        value_map_put(&b, given->u.map.entries[i].key, given->u.map.entries[i].value);
    struct value *v = arena_new(rq->arena, struct value);
    *v = value_map_end(&b);
    *out = v;
    return true;
}

bool runs_clone(struct request *rq, struct err *err)
{
    static const struct member clone_members[] = {
        {"params", MEMBER_MAP, false}, {"labels", MEMBER_MAP, false}, {"name", MEMBER_STRING, false}};
    struct submission s = {.pipeline = {"", 0}, .bundle = {"", 0}};
    struct value body, *labels = arena_new(rq->arena, struct value);
    struct conn *c;
    struct run_rec old;
    struct plan_text text;
    if (!request_json(rq, &body, err) || !request_members(&body, clone_members, 3, err)) return false;
    s.name = member_str(&body, "name");
    s.labels = member_tree(&body, "labels");
    if (!check_name(s.name, err) || !check_labels(s.labels, err) || !run_of(rq, &c, &old, err)) return false;
    s.scope = (struct scope){.project_id = old.project_id, .actor = rq->who.name};
    if (!merge_params(rq, old.params, member_tree(&body, "params"), &s.params, err) ||
        !json_parse(rq->arena, old.labels.n ? old.labels : STR("{}"), 0, labels, err) ||
        !plans_get(c, old.plan_id, rq->arena, &text, err) || !source_load_plan(rq->arena, text.plan, &s.plan, err) ||
        !bind_params(rq, &s, err))
        return false;
    s.run.pipeline = old.pipeline;
    s.run.version = old.version;
    s.run.plan_id = old.plan_id;
    s.run.bundle_digest = old.bundle_digest;
    s.run.options = old.options;
    s.run.cloned_from = old.id;
    s.run.labels = merged_labels(rq, labels, s.labels);
    return store(rq, &s, err);
}
