/* Objects in S3: asking, reading, small writing, deleting, listing. */
#include <stdlib.h>
#include <string.h>

#include "engine/os/s3_inner.h"

static bool head(struct s3 *s, struct str key, bool soon, int64_t *size, int64_t *modified_us, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct s3_call call = {.method = "HEAD", .key = key, .soon = soon};
    if (!s3_do(s, &call, &got, err)) return false;
    if (size != NULL) *size = got.size;
    if (modified_us != NULL) *modified_us = got.modified_us;
    return true;
}

bool s3_head(struct s3 *s, struct str key, int64_t *size, int64_t *modified_us, struct err *err)
{
    return head(s, key, false, size, modified_us, err);
}

bool s3_head_soon(struct s3 *s, struct str key, int64_t *size, int64_t *modified_us, struct err *err)
{
    return head(s, key, true, size, modified_us, err);
}

bool s3_read(struct s3 *s, struct str key, int64_t from, int64_t n, s3_sink *sink, void *ctx, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct s3_call call = {
        .method = "GET", .key = key, .from = from, .size = n, .ranged = true, .sink = sink, .ctx = ctx};
    return n == 0 || s3_do(s, &call, &got, err);
}

bool s3_put_text(struct s3 *s, struct str key, struct str text, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct s3_call call = {.method = "PUT", .key = key, .text = text};
    return s3_do(s, &call, &got, err);
}

bool s3_get_text(struct s3 *s, struct str key, struct arena *a, struct str *out, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct s3_call call = {.method = "GET", .key = key};
    if (!s3_do(s, &call, &got, err)) return false;
    *out = arena_str(a, buf_view(&got.body));
    return true;
}

bool s3_copy(struct s3 *s, struct str from, struct str to, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    const struct s3_call call = {.method = "PUT", .key = to, .copied = from};
    return s3_do(s, &call, &got, err);
}

bool s3_delete(struct s3 *s, struct str key, struct err *err)
{
    S3_ANSWER_AUTO got = {0};
    struct err why = {0};
    const struct s3_call call = {.method = "DELETE", .key = key};
    if (s3_do(s, &call, &got, &why) || why.code == ERR_NOT_FOUND) return true;
    if (err != NULL) *err = why;
    return false;
}

/* ---- lists ---- */

/* The key below the prefix; false when it is not. */
static bool below(const struct s3 *s, struct str full, struct str *key)
{
    size_t n = s->cfg.prefix.n;
    if (n == 0) {
        *key = full;
        return true;
    }
    if (full.n <= n + 1 || memcmp(full.p, s->cfg.prefix.p, n) != 0 || full.p[n] != '/') return false;
    *key = str_sub(full, n + 1, full.n);
    return true;
}

static bool each_of(struct s3 *s, struct arena *a, struct str page, s3_each_fn *fn, void *ctx, bool *go_on,
                    struct err *err)
{
    struct str one, key;
    while (*go_on && s3_element(page, "Contents", &one, &page)) {
        int64_t size = 0;
        if (!str_int(s3_text(a, one, "Size"), &size) || !below(s, s3_text(a, one, "Key"), &key)) continue;
        *go_on = fn(ctx, key, size, err);
    }
    return true;
}

bool s3_each(struct s3 *s, struct str under, s3_each_fn *fn, void *ctx, struct err *err)
{
    struct arena a;
    struct str more = {"", 0};
    bool ok = true, go_on = true;
    arena_init(&a, 0);
    do {
        S3_ANSWER_AUTO got = {0};
        const struct sigv4_pair query[] = {{STR("list-type"), STR("2")},
                                           {STR("prefix"), s3_full_key(s, &a, under)},
                                           {STR("continuation-token"), more}};
        const struct s3_call call = {.method = "GET", .query = query, .n_query = more.n > 0 ? 3 : 2};
        ok = s3_do(s, &call, &got, err) && each_of(s, &a, buf_view(&got.body), fn, ctx, &go_on, err);
        if (!ok || !go_on) break;
        struct arena next;
        arena_init(&next, 0);
        more = s3_text(&next, buf_view(&got.body), "NextContinuationToken");
        arena_free(&a); /* of this page */
        a = next;
    } while (more.n > 0);
    arena_free(&a);
    return ok;
}

static bool uploads_of(struct s3 *s, struct arena *a, struct str page, s3_uploads_fn *fn, void *ctx, bool *go_on,
                       struct err *err)
{
    struct str one, key;
    while (*go_on && s3_element(page, "Upload", &one, &page)) {
        struct str id = s3_text(a, one, "UploadId");
        if (id.n > 0 && below(s, s3_text(a, one, "Key"), &key)) *go_on = fn(ctx, key, id, err);
    }
    return true;
}

bool s3_uploads_each(struct s3 *s, struct str under, s3_uploads_fn *fn, void *ctx, struct err *err)
{
    struct arena a;
    struct str key = {"", 0}, id = {"", 0};
    bool ok = true, go_on = true, more = true;
    arena_init(&a, 0);
    while (ok && go_on && more) {
        S3_ANSWER_AUTO got = {0};
        const struct sigv4_pair query[] = {{STR("uploads"), STR("")},
                                           {STR("prefix"), s3_full_key(s, &a, under)},
                                           {STR("key-marker"), key},
                                           {STR("upload-id-marker"), id}};
        const struct s3_call call = {.method = "GET", .query = query, .n_query = key.n > 0 ? 4 : 2};
        ok = s3_do(s, &call, &got, err) && uploads_of(s, &a, buf_view(&got.body), fn, ctx, &go_on, err);
        if (!ok) break;
        key = s3_text(&a, buf_view(&got.body), "NextKeyMarker");
        id = s3_text(&a, buf_view(&got.body), "NextUploadIdMarker");
        more = key.n > 0 && str_is(s3_text(&a, buf_view(&got.body), "IsTruncated"), "true");
    }
    arena_free(&a);
    return ok;
}
