/* Pipelines: checking, planning, applying, looking at versions. */
#include <stdio.h>
#include <string.h>

#include "api/auth.h"
#include "api/emit.h"
#include "api/handlers.h"
#include "api/source.h"
#include "api/textdiff.h"
#include "engine/store/pipelines.h"

static const struct str no_project = {NULL, 0};

static bool begin(struct request *rq, bool dry, struct source *source, struct scope *scope, struct str *project,
                  struct source_doc **docs, size_t *n, struct err *err)
{
    if (!source_read(rq, source, err)) return false;
    source->dry = dry;
    return source_compile(rq, source, scope, project, docs, n, err);
}

static void write_doc_summary(struct jsonw *w, const struct source_doc *doc, struct str project)
{
    const struct graph *g = &doc->plan->graphs[0];
    jsonw_object(w);
    jsonw_kv_str(w, "name", doc->name);
    jsonw_kv_str(w, "project", project);
    jsonw_kv_int(w, "steps", g->n_nodes);
    jsonw_kv_int(w, "graphs", doc->plan->n_graphs);
    jsonw_kv_cstr(w, "planDigest", doc->digest);
    jsonw_key(w, "params");
    jsonw_array(w);
    for (size_t i = 0; i < g->n_params; i++)
        jsonw_str(w, g->params[i].name);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

bool pipelines_validate(struct request *rq, struct err *err)
{
    struct source source;
    struct scope scope;
    struct str project;
    struct source_doc *docs;
    size_t n;
    if (!begin(rq, false, &source, &scope, &project, &docs, &n, err)) return false;
    struct err unfit;
    for (size_t i = 0; i < n; i++)
        if (!source_check_runnable(rq, docs[i].plan, 0, NULL, &unfit)) err_clear(&unfit);
    struct jsonw *w = response_json(rq, 200);
    jsonw_object(w);
    jsonw_kv_bool(w, "ok", true);
    jsonw_key(w, "pipelines");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        write_doc_summary(w, &docs[i], project);
    jsonw_array_end(w);
    jsonw_key(w, "warnings");
    jsonw_array(w);
    for (size_t i = 0; i < rq->errors.n; i++)
        response_problem_item(w, &rq->errors.items[i]);
    jsonw_array_end(w);
    jsonw_object_end(w);
    return true;
}

bool pipelines_plan(struct request *rq, struct err *err)
{
    struct source source;
    struct scope scope;
    struct str project;
    struct source_doc *docs;
    size_t n;
    if (!begin(rq, false, &source, &scope, &project, &docs, &n, err) || !source_one(docs, n, err)) return false;
    return source_show_plan(rq, docs[0].plan, docs[0].json, docs[0].text, err);
}

/* ---- apply ---- */

struct applied {
    struct version_rec version;
    const char *action;
    struct str diff;
};

/* What is there now; *found = false when nothing is. */
static bool current(struct request *rq, const struct scope *scope, struct str name, struct version_rec *out,
                    bool *found, struct err *err)
{
    struct conn *c;
    if (!request_db(rq, &c, err)) return false;
    *found = pipelines_version(c, scope->project_id, name, 0, rq->arena, out, err);
    if (!*found && err->code != ERR_NOT_FOUND) return false;
    err_clear(err);
    return true;
}

/* If-Match: the version the client believes to be the newest. "*" = there must be one. */
static bool check_match(const struct request *rq, bool found, int32_t version, struct err *err)
{
    const char *match = request_header(rq, "If-Match");
    char tag[24];
    if (!match) return true;
    snprintf(tag, sizeof tag, "\"v%d\"", version);
    if (found && (strcmp(match, "*") == 0 || strstr(match, tag))) return true;
    if (!found) return err_set(err, ERR_PRECONDITION, "the pipeline does not exist");
    err_set(err, ERR_PRECONDITION, "the pipeline's newest version is %d", version);
    return err_hint(err, "look at it, then send If-Match: %s", tag);
}

static bool names_version(const struct request *rq)
{
    const char *match = request_header(rq, "If-Match");
    return match != NULL && strcmp(match, "*") != 0;
}

static bool preview(struct request *rq, const struct source_doc *doc, const struct source *source,
                    const struct version_rec *old, bool found, struct applied *out)
{
    char before[96];
    bool same = found && str_is(old->digest, doc->digest) && str_eq(old->bundle_digest, source->bundle);
    out->action = same ? "unchanged" : found ? "updated" : "created";
    out->version = (struct version_rec){.name = doc->name,
                                        .version = same    ? old->version
                                                   : found ? old->version + 1
                                                           : 1,
                                        .digest = str_of(doc->digest),
                                        .bundle_digest = source->bundle};
    snprintf(before, sizeof before, "%.*s (version %d)", STR_ARG(doc->name), found ? old->version : 0);
    BUF_AUTO diff;
    buf_init(&diff, 0);
    textdiff(&diff, found ? old->source : (struct str){"", 0}, doc->text, found ? before : "(none)", "as given");
    if (found && !same && diff.n == 0 && !str_eq(old->bundle_digest, source->bundle))
        buf_printf(&diff, "code: %.*s -> %.*s\n", STR_ARG(old->bundle_digest), STR_ARG(source->bundle));
    out->diff = arena_str(rq->arena, buf_view(&diff));
    return true;
}

static bool apply_one(struct request *rq, const struct scope *scope, const struct source_doc *doc,
                      const struct source *source, bool dry, struct applied *out, struct err *err)
{
    struct version_rec old = {0};
    struct conn *c;
    bool found, changed;
    if (!current(rq, scope, doc->name, &old, &found, err) || !check_match(rq, found, old.version, err)) return false;
    if (dry) return preview(rq, doc, source, &old, found, out);
    struct plan_text text = {.digest = str_of(doc->digest), .source = doc->text, .plan = doc->json};
    if (!request_db(rq, &c, err) || !pipelines_apply(c, scope, doc->name, doc->plan->description, &text, source->bundle,
                                                     rq->arena, &out->version, &changed, err))
        return false;
    /* Somebody else may have come between our look and the lock: what was stored counts. */
    int32_t version = out->version.version, before = changed ? version - 1 : version;
    out->action = !changed ? "unchanged" : version > 1 ? "updated" : "created";
    return before == (found ? old.version : 0) || check_match(rq, before > 0, before, err);
}

static void write_applied(struct request *rq, int status, const struct applied *items, size_t n, bool dry)
{
    struct jsonw *w = response_json(rq, status);
    jsonw_object(w);
    jsonw_kv_bool(w, "dryRun", dry);
    jsonw_key(w, "items");
    jsonw_array(w);
    struct emit e = {.w = w};
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        emit_str(&e, "name", items[i].version.name);
        emit_int(&e, "version", items[i].version.version);
        emit_cstr(&e, "action", items[i].action);
        emit_str(&e, "planDigest", items[i].version.digest);
        emit_str(&e, "bundle", items[i].version.bundle_digest);
        emit_str(&e, "diff", items[i].diff);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
}

bool pipelines_post(struct request *rq, struct err *err)
{
    struct source source;
    struct scope scope;
    struct str project;
    struct source_doc *docs;
    size_t n;
    bool dry;
    if (!request_arg_bool(rq, "dry_run", &dry, err)) return false;
    if (!dry && !auth_role(rq, ROLE_EDITOR, rq->route->summary, err)) return false;
    if (!begin(rq, dry, &source, &scope, &project, &docs, &n, err)) return false;
    if (source.files && !dry) {
        err_set(err, ERR_INVALID, "files are for a dry run: steps would not have them");
        err_path(err, "files");
        return err_hint(err, "send the folder as a bundle");
    }
    struct applied *done = arena_array(rq->arena, struct applied, n);
    bool changed = false;
    for (size_t i = 0; i < n; i++) {
        if (!apply_one(rq, &scope, &docs[i], &source, dry, &done[i], err)) return false;
        done[i].version.name = docs[i].name;
        changed = changed || strcmp(done[i].action, "unchanged") != 0;
    }
    write_applied(rq, changed && !dry ? 201 : 200, done, n, dry);
    return true;
}

/* ---- looking ---- */

bool pipelines_index(struct request *rq, struct err *err)
{
    struct scope scope;
    struct str project, next;
    struct page page;
    struct conn *c;
    struct pipeline_rec *items;
    size_t n;
    if (!page_of(rq, &page, err) || !auth_project(rq, no_project, &scope, &project, err)) return false;
    struct pipelines_search q = {.project_id = scope.project_id, .page_token = page.token, .page_size = page.size};
    request_arg(rq, "filter", &q.filter);
    request_arg(rq, "order_by", &q.order_by);
    if (!request_db(rq, &c, err) || !pipelines_list(c, &q, rq->arena, &items, &n, &next, err)) return false;
    struct jsonw *w = page_begin(rq);
    struct emit e = emit_of(rq, w);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        emit_str(&e, "name", items[i].name);
        emit_str(&e, "project", project);
        emit_str(&e, "description", items[i].description);
        emit_int(&e, "version", items[i].latest_version);
        emit_time(&e, "createdAt", items[i].created_us);
        emit_str(&e, "createdBy", items[i].created_by);
        emit_time(&e, "updatedAt", items[i].updated_us);
        jsonw_object_end(w);
    }
    page_end(rq, next);
    return true;
}

static void write_version(const struct emit *e, const struct version_rec *v, struct str project)
{
    jsonw_object(e->w);
    emit_str(e, "name", v->name);
    emit_str(e, "project", project);
    emit_int(e, "version", v->version);
    emit_str(e, "planDigest", v->digest);
    emit_str(e, "bundle", v->bundle_digest);
    emit_time(e, "createdAt", v->created_us);
    emit_str(e, "createdBy", v->created_by);
    emit_str(e, "source", v->source);
}

static bool show(struct request *rq, int32_t number, struct err *err)
{
    struct scope scope;
    struct str project;
    struct conn *c;
    struct version_rec v;
    struct pipeline_rec p;
    if (!auth_project(rq, no_project, &scope, &project, err) || !request_db(rq, &c, err)) return false;
    if (!pipelines_get(c, scope.project_id, rq->segments[0], rq->arena, &p, err) ||
        !pipelines_version(c, scope.project_id, rq->segments[0], number, rq->arena, &v, err))
        return false;
    struct str format;
    if (request_arg(rq, "format", &format) && !str_is(format, "json")) {
        const struct plan *plan;
        return source_load_plan(rq->arena, v.plan, &plan, err) && source_show_plan(rq, plan, v.plan, v.source, err);
    }
    if (v.name.n == 0) v.name = p.name;
    struct jsonw *w = response_json(rq, 200);
    struct emit e = emit_of(rq, w);
    write_version(&e, &v, project);
    emit_str(&e, "description", p.description);
    emit_int(&e, "latestVersion", p.latest_version);
    emit_json(&e, "plan", v.plan);
    jsonw_object_end(w);
    rq->res.etag = false;
    response_header(rq, "ETag", "\"v%d\"", v.version);
    return true;
}

bool pipelines_show(struct request *rq, struct err *err)
{
    return show(rq, 0, err);
}

bool pipelines_show_version(struct request *rq, struct err *err)
{
    int64_t number;
    if (!request_segment_id(rq, 1, "version", &number, err)) return false;
    if (number > INT32_MAX) return err_set(err, ERR_NOT_FOUND, "there is no version %lld", (long long)number);
    return show(rq, (int32_t)number, err);
}

bool pipelines_history(struct request *rq, struct err *err)
{
    struct scope scope;
    struct str project;
    struct page page;
    struct conn *c;
    struct version_rec *items;
    size_t n;
    int64_t before;
    if (!page_of(rq, &page, err) || !page_number(&page, 0, &before, err) ||
        !auth_project(rq, no_project, &scope, &project, err) || !request_db(rq, &c, err))
        return false;
    struct pipeline_rec p;
    if (!pipelines_get(c, scope.project_id, rq->segments[0], rq->arena, &p, err) ||
        !pipelines_versions(c, scope.project_id, rq->segments[0], (int32_t)before, page.size + 1, rq->arena, &items, &n,
                            err))
        return false;
    bool more = n > page.size;
    if (more) n = page.size;
    struct jsonw *w = page_begin(rq);
    struct emit e = emit_of(rq, w);
    for (size_t i = 0; i < n; i++) {
        items[i].name = p.name;
        write_version(&e, &items[i], project);
        jsonw_object_end(w);
    }
    page_end_number(rq, more, n ? items[n - 1].version : 0);
    return true;
}

bool pipelines_remove(struct request *rq, struct err *err)
{
    struct scope scope;
    struct conn *c;
    struct pipeline_rec p;
    if (!auth_project(rq, no_project, &scope, NULL, err) || !request_db(rq, &c, err)) return false;
    if (!pipelines_get(c, scope.project_id, rq->segments[0], rq->arena, &p, err) ||
        !check_match(rq, true, p.latest_version, err) ||
        !pipelines_delete(c, scope.project_id, p.name, names_version(rq) ? p.latest_version : 0, err))
        return false;
    response_begin(rq, 204, NULL);
    return true;
}
