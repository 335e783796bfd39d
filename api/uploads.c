/* Bytes on their way in and out by digest: resumable uploads, blobs, and bundles made of uploaded archives. */
#include <string.h>

#include "api/auth.h"
#include "api/emit.h"
#include "api/files.h"
#include "api/handlers.h"
#include "engine/base/units.h"
#include "engine/blob/bundle.h"
#include "engine/store/artifacts.h"
#include "engine/store/bundles.h"
#include "engine/store/uploads.h"

#define PIECE ((size_t)256 << 10)
#define LINK_SECONDS 3600
#define LINK_MOST ((int64_t)5 << 30) /* S3 takes no more in one go */

static bool need_blobs(const struct request *rq, struct err *err)
{
    return rq->api->blobs != NULL || err_set(err, ERR_UNAVAILABLE, "this server has no store of artifacts");
}

/* ---- uploads ---- */

struct upload_link { /* where the bytes may be put at once; url empty = nowhere */
    struct str url, header;
};

static void write_upload(struct request *rq, int status, const struct upload_rec *u, int64_t offset, bool complete,
                         const struct upload_link *link)
{
    struct emit e = {.w = response_json(rq, status)};
    jsonw_object(e.w);
    emit_str(&e, "id", u->id);
    emit_str(&e, "digest", u->digest);
    emit_int(&e, "size", u->size);
    emit_int(&e, "offset", offset);
    emit_bool(&e, "complete", complete);
    if (link != NULL && link->url.n > 0) {
        jsonw_key(e.w, "link");
        jsonw_object(e.w);
        emit_str(&e, "url", link->url);
        emit_str(&e, "header", link->header);
        jsonw_object_end(e.w);
    }
    jsonw_object_end(e.w);
    if (!complete) response_header(rq, "Upload-Offset", "%lld", (long long)offset);
}

/* Does the project have these bytes? What is gone from the store, whoever took it, is taken again. */
static bool has(struct request *rq, int64_t project, struct str digest, int64_t *size, struct err *err)
{
    struct conn *c;
    struct err why = {0};
    if (!request_db(rq, &c, err) || !blobs_get(c, project, digest, size, err)) return false;
    request_release(rq); /* a slow store must not hold a connection */
    if (store_size(rq->api->blobs, digest, NULL, &why) || why.code != ERR_NOT_FOUND) return true;
    if (err != NULL) *err = why;
    return false;
}

bool uploads_post(struct request *rq, struct err *err)
{
    static const struct member members[] = {
        {"digest", MEMBER_STRING, true}, {"size", MEMBER_INT, true}, {"direct", MEMBER_BOOL, false}};
    struct value body;
    struct scope scope;
    struct conn *c;
    struct upload_rec u = {.id = {"", 0}};
    if (!need_blobs(rq, err) || !request_json(rq, &body, err) || !request_members(&body, members, 3, err)) return false;
    u.digest = member_str(&body, "digest");
    u.size = value_get(&body, "size")->u.i;
    if (!files_digest(u.digest, err)) return false;
    if (u.size < 0 || u.size > rq->api->cfg.max_upload) {
        char most[32];
        err_set(err, ERR_INVALID, "size must be from 0 to %s", units_bytes_text(rq->api->cfg.max_upload, most));
        return err_path(err, "size");
    }
    if (!auth_project(rq, (struct str){NULL, 0}, &scope, NULL, err)) return false;
    int64_t size, offset;
    if (has(rq, scope.project_id, u.digest, &size, err)) {
        u.size = size;
        write_upload(rq, 200, &u, size, true, NULL);
        return true;
    }
    if (err->code != ERR_NOT_FOUND || !request_db(rq, &c, err) ||
        !uploads_create(c, &scope, u.digest, u.size, rq->arena, &u, err))
        return false;
    struct upload_link link = {.url = {"", 0}};
    const struct value *direct = value_get(&body, "direct");
    bool wanted = direct && direct->type == VALUE_BOOL && direct->u.b && u.size <= LINK_MOST;
    if (!store_part_offset(rq->api->blobs, u.id, &offset, err) ||
        (wanted && store_is_remote(rq->api->blobs) &&
         !store_link_put(rq->api->blobs, u.id, u.digest, LINK_SECONDS, rq->arena, &link.url, &link.header, err)))
        return false;
    write_upload(rq, 201, &u, offset, false, &link);
    response_header(rq, "Location", "/api/v1/uploads/%.*s", STR_ARG(u.id));
    return true;
}

static bool upload_of(struct request *rq, struct conn **c, struct upload_rec *out, struct err *err)
{
    return need_blobs(rq, err) && request_db(rq, c, err) &&
           uploads_get(*c, rq->who.project, rq->segments[0], rq->arena, out, err);
}

/* Uploads of the same bytes are one: somebody else may have finished it. False + ERR_NOT_FOUND = nobody has. */
static bool complete(struct request *rq, const struct upload_rec *u, int status, struct err *err)
{
    int64_t size;
    if (!has(rq, u->project_id, u->digest, &size, err)) return false;
    write_upload(rq, status, u, size, true, NULL);
    return true;
}

bool uploads_show(struct request *rq, struct err *err)
{
    struct conn *c;
    struct upload_rec u;
    int64_t offset;
    if (!upload_of(rq, &c, &u, err)) return false;
    if (complete(rq, &u, 200, err)) return true;
    if (err->code != ERR_NOT_FOUND || !store_part_offset(rq->api->blobs, u.id, &offset, err)) return false;
    write_upload(rq, 200, &u, offset, false, NULL);
    return true;
}

/* What was received before a break stays: the client goes on from there. */
static bool receive(struct request *rq, const struct upload_rec *u, int64_t *offset, struct err *err)
{
    char *piece = arena_alloc(rq->arena, PIECE);
    for (;;) {
        size_t n = 0, got;
        do { /* gather: an append flushes to disk */
            if (!request_read(rq, piece + n, PIECE - n, &got, err)) {
                struct err ignored;
                if (n && !store_part_append(rq->api->blobs, u->id, *offset, u->size, piece, n, &ignored)) return false;
                return false;
            }
            n += got;
        } while (got > 0 && n < PIECE);
        if (n == 0) return true;
        if (!store_part_append(rq->api->blobs, u->id, *offset, u->size, piece, n, err)) return false;
        *offset += (int64_t)n;
    }
}

static bool finish(struct request *rq, const struct upload_rec *u, struct err *err)
{
    struct conn *c;
    struct scope scope = {.project_id = u->project_id, .actor = rq->who.name};
    if (!store_part_finish(rq->api->blobs, u->id, u->digest, u->size, err)) {
        if (err->code != ERR_INVALID) return false;
        struct err ignored;
        err_path(err, "digest");
        if (request_db(rq, &c, &ignored) && !uploads_delete(c, u->project_id, u->id, &ignored))
            err_hint(err, "begin anew");
        return false;
    }
    if (!request_db(rq, &c, err) || !uploads_finish(c, &scope, u->id, u->digest, u->size, err)) return false;
    write_upload(rq, 201, u, u->size, true, NULL);
    return true;
}

static bool append(struct request *rq, const struct upload_rec *u, int64_t offset, struct err *err)
{
    int64_t there;
    if (!store_part_offset(rq->api->blobs, u->id, &there, err)) return false;
    if (there != offset) {
        err_set(err, ERR_CONFLICT, "the upload stands at %lld, not at %lld", (long long)there, (long long)offset);
        err_path(err, "Upload-Offset");
        response_header(rq, "Upload-Offset", "%lld", (long long)there);
        return err_hint(err, "go on from %lld", (long long)there);
    }
    if (!receive(rq, u, &offset, err)) return false;
    if (offset == u->size) return finish(rq, u, err);
    write_upload(rq, 200, u, offset, false, NULL);
    return true;
}

bool uploads_patch(struct request *rq, struct err *err)
{
    struct conn *c;
    struct upload_rec u;
    int64_t offset;
    const char *header = request_header(rq, "Upload-Offset");
    if (!header || !str_int(str_trim(str_of(header)), &offset) || offset < 0) {
        err_set(err, ERR_INVALID, "the header Upload-Offset must say where the bytes begin");
        err_path(err, "Upload-Offset");
        return err_hint(err, "GET the upload to learn its offset");
    }
    if (!upload_of(rq, &c, &u, err) || !uploads_touch(c, u.id, err)) return false;
    if (complete(rq, &u, 201, err)) return true;
    if (err->code != ERR_NOT_FOUND) return false;
    request_release(rq); /* a slow sender must not hold a connection */
    if (append(rq, &u, offset, err)) return true;
    struct err ignored;
    return err->code == ERR_CONFLICT && complete(rq, &u, 201, &ignored);
}

/* The store took them by the link, and only the right ones: they need only be there. */
bool uploads_taken(struct request *rq, struct err *err)
{
    struct conn *c;
    struct upload_rec u;
    if (!upload_of(rq, &c, &u, err)) return false;
    if (complete(rq, &u, 200, err)) return true;
    if (err->code != ERR_NOT_FOUND) return false;
    err_clear(err);
    request_release(rq);
    if (!store_is_remote(rq->api->blobs) || !store_link_take(rq->api->blobs, u.id, u.digest, u.size, err)) {
        if (err->code != ERR_NONE && err->code != ERR_NOT_FOUND) return false;
        err_set(err, ERR_CONFLICT, "nothing was put where the upload's link leads");
        return err_hint(err, "send the bytes with PATCH");
    }
    struct scope scope = {.project_id = u.project_id, .actor = rq->who.name};
    if (!request_db(rq, &c, err) || !uploads_finish(c, &scope, u.id, u.digest, u.size, err)) return false;
    write_upload(rq, 201, &u, u.size, true, NULL);
    return true;
}

bool uploads_remove(struct request *rq, struct err *err)
{
    struct conn *c;
    struct upload_rec u;
    if (!upload_of(rq, &c, &u, err) || !uploads_delete(c, u.project_id, u.id, err) ||
        !store_part_delete(rq->api->blobs, u.id, err))
        return false;
    response_begin(rq, 204, NULL);
    return true;
}

/* ---- blobs ---- */

/* Elsewhere: whoever follows the link needs no token there, and the bytes do not pass through here. */
static bool send_there(struct request *rq, struct str digest, struct err *err)
{
    struct str url;
    if (!store_link(rq->api->blobs, digest, LINK_SECONDS, rq->arena, &url, err)) return false;
    response_header(rq, "Location", "%.*s", STR_ARG(url));
    rq->res.no_body = true;
    response_begin(rq, 307, NULL);
    return true;
}

bool blobs_show(struct request *rq, struct err *err)
{
    struct scope scope;
    struct conn *c;
    struct str digest = rq->segments[0];
    bool direct = false;
    STORE_BLOB_AUTO blob = STORE_BLOB_NONE;
    if (!need_blobs(rq, err) || !files_digest(digest, err) ||
        !auth_project(rq, (struct str){NULL, 0}, &scope, NULL, err) || !request_db(rq, &c, err) ||
        !blobs_get(c, scope.project_id, digest, NULL, err))
        return false;
    if (!request_arg_bool(rq, "direct", &direct, err)) return false;
    if (direct && store_is_remote(rq->api->blobs)) return send_there(rq, digest, err);
    if (!store_get(rq->api->blobs, digest, &blob, err)) return false;
    struct file_answer f = {.blob = &blob,
                            .size = blob.size,
                            .type = "application/octet-stream",
                            .etag = digest,
                            .name = str_sub(digest, 7, 12)};
    return files_send(rq, &f, err);
}

/* ---- bundles ---- */

static void write_bundle(struct request *rq, int status, const struct bundle_rec *b)
{
    struct emit e = {.w = response_json(rq, status)};
    jsonw_object(e.w);
    emit_str(&e, "digest", b->digest);
    emit_int(&e, "size", b->size);
    emit_int(&e, "entries", b->entries);
    emit_time(&e, "createdAt", b->created_us);
    emit_str(&e, "createdBy", b->created_by);
    jsonw_object_end(e.w);
}

/* Looks the archive through, then unpacks it. Nothing of it is visible before all of it is. */
static bool install(struct request *rq, struct str digest, struct bundle_stats *stats, struct err *err)
{
    FD_AUTO fd = -1;
    if (!store_file(rq->api->blobs, digest, &fd, NULL, err)) return false;
    if (!bundle_check(fd, NULL, stats, err) ||
        !bundle_install(rq->api->blobs, str_of(rq->api->cfg.store_dir), digest, NULL, err)) {
        if (!err->path[0]) err_path(err, "digest");
        return false;
    }
    return true;
}

bool bundles_post(struct request *rq, struct err *err)
{
    static const struct member members[] = {{"digest", MEMBER_STRING, true}};
    struct value body;
    struct scope scope;
    struct conn *c;
    struct bundle_rec b;
    struct bundle_stats stats = {0};
    int64_t size;
    if (!need_blobs(rq, err) || !request_json(rq, &body, err) || !request_members(&body, members, 1, err)) return false;
    struct str digest = member_str(&body, "digest");
    if (!files_digest(digest, err) || !auth_project(rq, (struct str){NULL, 0}, &scope, NULL, err) ||
        !request_db(rq, &c, err))
        return false;
    if (bundles_get(c, scope.project_id, digest, rq->arena, &b, err)) {
        write_bundle(rq, 200, &b);
        return true;
    }
    if (err->code != ERR_NOT_FOUND) return false;
    if (!blobs_get(c, scope.project_id, digest, &size, err)) {
        if (err->code != ERR_NOT_FOUND) return false;
        err_set(err, ERR_INVALID, "the project has no upload %.*s", STR_ARG(digest));
        err_path(err, "digest");
        return err_hint(err, "upload the archive first: POST /api/v1/uploads");
    }
    request_release(rq);
    if (!install(rq, digest, &stats, err) || !request_db(rq, &c, err)) return false;
    const struct bundle_made made = {digest, str_of(stats.code), size, (int32_t)stats.entries};
    if (!bundles_put(c, &scope, &made, err) || !bundles_get(c, scope.project_id, digest, rq->arena, &b, err))
        return false;
    write_bundle(rq, 201, &b);
    return true;
}

bool bundles_show(struct request *rq, struct err *err)
{
    struct scope scope;
    struct conn *c;
    struct bundle_rec b;
    if (!files_digest(rq->segments[0], err) || !auth_project(rq, (struct str){NULL, 0}, &scope, NULL, err) ||
        !request_db(rq, &c, err) || !bundles_get(c, scope.project_id, rq->segments[0], rq->arena, &b, err))
        return false;
    write_bundle(rq, 200, &b);
    return true;
}
