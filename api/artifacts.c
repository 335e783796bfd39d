/* Artifacts: what runs produced, their bytes, and who made and read them. */
#include <unistd.h>

#include "api/auth.h"
#include "api/files.h"
#include "api/handlers.h"
#include "api/runs.h"
#include "api/runtree.h"
#include "engine/blob/disk.h"
#include "engine/store/artifacts.h"

#define LINEAGE_MAX 200

/* path: of the task; empty = not looked up. */
static void write_artifact(const struct emit *e, const struct artifact_rec *a, struct str path)
{
    jsonw_object(e->w);
    emit_int(e, "id", a->id);
    emit_id(e, "run", a->run_id);
    if (a->run_id && a->task >= 0) emit_int(e, "task", a->task);
    emit_str(e, "path", path);
    emit_id(e, "attempt", a->attempt);
    emit_str(e, "name", a->name);
    emit_str(e, "type", a->type);
    emit_str(e, "digest", a->digest);
    emit_int(e, "size", a->size);
    emit_json(e, "metadata", a->metadata);
    emit_time(e, "createdAt", a->created_us);
    emit_str(e, "createdBy", a->created_by);
    jsonw_object_end(e->w);
}

bool artifacts_index(struct request *rq, struct err *err)
{
    struct scope scope;
    struct page page;
    struct conn *c;
    struct artifact_rec *items;
    struct str next;
    size_t n;
    if (!page_of(rq, &page, err) || !auth_project(rq, (struct str){NULL, 0}, &scope, NULL, err)) return false;
    struct artifacts_search q = {.project_id = scope.project_id, .page_token = page.token, .page_size = page.size};
    request_arg(rq, "filter", &q.filter);
    request_arg(rq, "order_by", &q.order_by);
    if (!request_db(rq, &c, err) || !artifacts_list(c, &q, rq->arena, &items, &n, &next, err)) return false;
    struct emit e = emit_of(rq, page_begin(rq));
    for (size_t i = 0; i < n; i++)
        write_artifact(&e, &items[i], (struct str){"", 0});
    page_end(rq, next);
    return true;
}

bool artifacts_in_run(struct request *rq, struct err *err)
{
    struct page page;
    struct conn *c;
    struct run_rec run;
    struct artifact_rec *items;
    size_t n;
    int64_t after;
    if (!page_of(rq, &page, err) || !page_number(&page, 0, &after, err) || !run_of(rq, &c, &run, err) ||
        !artifacts_of_run(c, run.id, -1, after, page.size + 1, rq->arena, &items, &n, err))
        return false;
    bool more = n > page.size;
    if (more) n = page.size;
    struct runtree tree;
    if (n > 0 && !runtree_load(c, &run, rq->arena, &tree, err)) return false;
    struct emit e = emit_of(rq, page_begin(rq));
    for (size_t i = 0; i < n; i++)
        write_artifact(&e, &items[i], runtree_path(&tree, (uint32_t)items[i].task));
    page_end_number(rq, more, n ? items[n - 1].id : 0);
    return true;
}

/* A token of all projects may look into each: the artifact tells its project. */
static bool artifact_of(struct request *rq, struct conn **c, struct artifact_rec *out, struct err *err)
{
    int64_t id;
    return request_segment_id(rq, 0, "artifact", &id, err) && request_db(rq, c, err) &&
           artifacts_get(*c, rq->who.project, id, rq->arena, out, err);
}

/* Empty when there is no task, or no more. */
static bool path_of(struct request *rq, struct conn *c, const struct artifact_rec *a, struct str *out, struct err *err)
{
    struct task_rec task;
    *out = (struct str){"", 0};
    if (!a->run_id || a->task < 0) return true;
    if (!tasks_get(c, a->run_id, a->task, rq->arena, &task, err)) return err->code == ERR_NOT_FOUND;
    *out = task.path;
    return true;
}

bool artifacts_show(struct request *rq, struct err *err)
{
    struct conn *c;
    struct artifact_rec a;
    struct str path;
    if (!artifact_of(rq, &c, &a, err) || !path_of(rq, c, &a, &path, err)) return false;
    struct emit e = {.w = response_json(rq, 200)};
    write_artifact(&e, &a, path);
    return true;
}

bool artifacts_content(struct request *rq, struct err *err)
{
    struct conn *c;
    struct artifact_rec a;
    if (!artifact_of(rq, &c, &a, err)) return false;
    if (!rq->api->disk) return err_set(err, ERR_UNAVAILABLE, "this server has no store of artifacts");
    FD_AUTO fd = -1;
    int64_t size;
    if (!disk_get(rq->api->disk, a.digest, &fd, &size, err)) return false;
    struct file_answer f = {
        .fd = fd, .size = size, .type = "application/octet-stream", .etag = a.digest, .name = a.name};
    return files_send(rq, &f, err);
}

/* ---- lineage ---- */

static void write_use(const struct emit *e, int64_t run, int32_t task, int32_t attempt, struct str path,
                      struct str run_name, struct str name)
{
    jsonw_object(e->w);
    emit_int(e, "run", run);
    emit_int(e, "task", task);
    emit_id(e, "attempt", attempt);
    emit_str(e, "path", path);
    emit_str(e, "runName", run_name);
    emit_str(e, "name", name);
    jsonw_object_end(e->w);
}

bool artifacts_lineage(struct request *rq, struct err *err)
{
    struct conn *c;
    struct artifact_rec a, *makers;
    struct artifact_use *users;
    struct str next;
    size_t n_makers, n_users;
    if (!artifact_of(rq, &c, &a, err)) return false;
    struct artifacts_search q = {.project_id = a.project_id,
                                 .filter = arena_printf(rq->arena, "digest = \"%.*s\"", STR_ARG(a.digest)),
                                 .page_size = LINEAGE_MAX};
    if (!artifacts_list(c, &q, rq->arena, &makers, &n_makers, &next, err) ||
        !artifacts_used_by(c, a.project_id, a.digest, LINEAGE_MAX, rq->arena, &users, &n_users, err))
        return false;
    struct str *paths = arena_array(rq->arena, struct str, n_makers + 1);
    for (size_t i = 0; i < n_makers; i++)
        if (!path_of(rq, c, &makers[i], &paths[i], err)) return false;
    struct jsonw *w = response_json(rq, 200);
    struct emit e = {.w = w};
    jsonw_object(w);
    jsonw_kv_str(w, "digest", a.digest);
    jsonw_key(w, "producedBy");
    jsonw_array(w);
    for (size_t i = 0; i < n_makers; i++)
        if (makers[i].run_id)
            write_use(&e, makers[i].run_id, makers[i].task, makers[i].attempt, paths[i], (struct str){"", 0},
                      makers[i].name);
    jsonw_array_end(w);
    jsonw_key(w, "usedBy");
    jsonw_array(w);
    for (size_t i = 0; i < n_users; i++)
        write_use(&e, users[i].run_id, users[i].task, users[i].attempt, users[i].path, users[i].run_name,
                  users[i].input);
    jsonw_array_end(w);
    jsonw_object_end(w);
    return true;
}
