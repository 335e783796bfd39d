/* Artifacts: what runs produced and what was uploaded, their bytes, and who made and read them. */
#include "engine/store/artifacts.h"
#include "api/auth.h"
#include "api/files.h"
#include "api/handlers.h"
#include "api/runs.h"
#include "api/runtree.h"
#include "engine/blob/store.h"
#include "engine/text/json.h"

#define LINEAGE_MAX 200
#define NAME_MAX_BYTES 200
#define TYPE_MAX_BYTES 63

/* path: of the task; empty = there is none, or no more. */
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
        write_artifact(&e, &items[i], items[i].path);
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

/* ---- of uploads ---- */

static bool check_names(const struct artifact_new *a, struct err *err)
{
    bool name = a->name.n > 0 && a->name.n <= NAME_MAX_BYTES, type = a->type.n > 0 && a->type.n <= TYPE_MAX_BYTES;
    for (size_t i = 0; name && i < a->name.n; i++)
        name = (unsigned char)a->name.p[i] >= 32 && a->name.p[i] != 127;
    for (size_t i = 0; type && i < a->type.n; i++) {
        char c = a->type.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        type = letter || (i > 0 && ((c >= '0' && c <= '9') || c == '-' || c == '_'));
    }
    if (!name) {
        err_set(err, ERR_INVALID, "an artifact's name has 1 to %d bytes and no control characters", NAME_MAX_BYTES);
        return err_path(err, "name");
    }
    if (type) return true;
    err_set(err, ERR_INVALID, "'%.*s' cannot be the type of an artifact", STR_ARG(str_sub(a->type, 0, 80)));
    err_path(err, "type");
    return err_hint(err, "letters, digits, '_' and '-', beginning with a letter, at most %d", TYPE_MAX_BYTES);
}

/* As text, which is what its bounds are about; and whether it says that the bytes are a packed folder. */
static bool read_metadata(struct request *rq, const struct value *v, struct str *out, bool *folder, struct err *err)
{
    struct value again;
    *folder = false;
    if (!v || v->type == VALUE_NULL) return true;
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, v, false);
    *out = arena_str(rq->arena, buf_view(&text));
    if (out->n > ARTIFACT_METADATA_MAX) {
        err_set(err, ERR_INVALID, "metadata is longer than %d KiB", (int)(ARTIFACT_METADATA_MAX >> 10));
        return err_path(err, "metadata");
    }
    if (!json_parse(rq->arena, *out, ARTIFACT_METADATA_DEPTH, &again, err)) {
        err->code = ERR_INVALID;
        return err_path(err, "metadata");
    }
    const struct value *packed = value_get(v, "folder");
    *folder = packed && packed->type == VALUE_BOOL && packed->u.b;
    if (!packed || packed->type == VALUE_BOOL) return true;
    err_set(err, ERR_INVALID, "metadata.folder must be true or false: whether the bytes are a packed folder");
    return err_path(err, "metadata.folder");
}

struct first {
    unsigned char bytes[2];
    size_t n;
};

static bool take_first(void *ctx, const char *p, size_t n)
{
    struct first *f = ctx;
    for (size_t i = 0; i < n && f->n < sizeof f->bytes; i++)
        f->bytes[f->n++] = (unsigned char)p[i];
    return true;
}

/* Unpacking tells whether it really is one; this finds what was never packed. */
static bool looks_packed(struct request *rq, struct str digest, struct err *err)
{
    STORE_BLOB_AUTO blob = STORE_BLOB_NONE;
    struct first first = {.n = 0};
    if (!rq->api->blobs) return err_set(err, ERR_UNAVAILABLE, "this server has no store of artifacts");
    if (!store_get(rq->api->blobs, digest, &blob, err)) return false;
    if (blob.size >= (int64_t)sizeof first.bytes && !store_read(&blob, 0, sizeof first.bytes, take_first, &first, err))
        return false;
    if (first.n == sizeof first.bytes && first.bytes[0] == 0x1f && first.bytes[1] == 0x8b) return true;
    err_set(err, ERR_INVALID, "the bytes are not a packed folder");
    err_path(err, "metadata.folder");
    return err_hint(err, "send a tar.gz, or leave the member out");
}

/* The blob is kept from sweeps from here to the commit, and from then on by the artifact. */
static bool blob_of(struct conn *c, int64_t project, struct artifact_new *a, struct err *err)
{
    if (blobs_keep(c, project, a->digest, err) && blobs_get(c, project, a->digest, &a->size, err)) return true;
    if (err->code != ERR_NOT_FOUND) return false;
    err_set(err, ERR_INVALID, "the project has no upload %.*s", STR_ARG(a->digest));
    err_path(err, "digest");
    return err_hint(err, "upload the bytes first: POST /api/v1/uploads");
}

bool artifacts_post(struct request *rq, struct err *err)
{
    static const struct member members[] = {{"name", MEMBER_STRING, true},
                                            {"type", MEMBER_STRING, true},
                                            {"digest", MEMBER_STRING, true},
                                            {"metadata", MEMBER_MAP, false}};
    struct value body;
    struct scope scope;
    struct conn *c;
    struct artifact_rec made;
    bool folder;
    int64_t id;
    if (!request_json(rq, &body, err) || !request_members(&body, members, 4, err)) return false;
    struct artifact_new a = {
        .name = member_str(&body, "name"), .type = member_str(&body, "type"), .digest = member_str(&body, "digest")};
    if (!check_names(&a, err) || !files_digest(a.digest, err) ||
        !read_metadata(rq, value_get(&body, "metadata"), &a.metadata, &folder, err) ||
        !auth_project(rq, (struct str){NULL, 0}, &scope, NULL, err) || !request_db(rq, &c, err) ||
        !blob_of(c, scope.project_id, &a, err) || (folder && !looks_packed(rq, a.digest, err)) ||
        !artifacts_create(c, &scope, &a, &id, err) || !artifacts_get(c, scope.project_id, id, rq->arena, &made, err))
        return false;
    struct emit e = {.w = response_json(rq, 201)};
    write_artifact(&e, &made, (struct str){"", 0});
    rq->location = arena_printf(rq->arena, "/api/v1/artifacts/%lld", (long long)id);
    response_header(rq, "Location", "%.*s", STR_ARG(rq->location));
    return true;
}

bool artifacts_content(struct request *rq, struct err *err)
{
    struct conn *c;
    struct artifact_rec a;
    if (!artifact_of(rq, &c, &a, err)) return false;
    if (!rq->api->blobs) return err_set(err, ERR_UNAVAILABLE, "this server has no store of artifacts");
    STORE_BLOB_AUTO blob = STORE_BLOB_NONE;
    if (!store_get(rq->api->blobs, a.digest, &blob, err)) return false;
    struct file_answer f = {
        .blob = &blob, .size = blob.size, .type = "application/octet-stream", .etag = a.digest, .name = a.name};
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
    struct jsonw *w = response_json(rq, 200);
    struct emit e = {.w = w};
    jsonw_object(w);
    jsonw_kv_str(w, "digest", a.digest);
    jsonw_key(w, "producedBy");
    jsonw_array(w);
    for (size_t i = 0; i < n_makers; i++)
        if (makers[i].run_id)
            write_use(&e, makers[i].run_id, makers[i].task, makers[i].attempt, makers[i].path, (struct str){"", 0},
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
