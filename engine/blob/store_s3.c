/* Blobs in S3: PREFIX/blobs/<hex of the digest>. What several servers must not do at the same time is held apart by
 * locks in the store's folder, which they share:
 *
 * - `lock`, as on disk: shared while a blob appears, alone for a sweep; so a put comes before a sweep, which then sees
 *   how young it is, or after it, and brings it back.
 * - `uploading`: a byte for each digest that is going up in parts. Whoever clears the parts of dead uploads takes that
 *   byte first; it is free once the one who uploaded has died, however that happened. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/blob/store_int.h"
#include "engine/os/clock.h"

#define UNDER "blobs/"
#define ASIDE "aside/" /* by a link, until somebody says so */
#define ASIDE_US (6LL * 3600 * 1000000)
#define KEY 80
/* A blob that was put so recently is not sent again: to a sweep, which takes what is a day old, it is young still when
 * its record is committed. */
#define FRESH_US (12LL * 3600 * 1000000)

static bool key_of(struct str digest, char out[KEY], struct err *err)
{
    char name[DISK_NAME];
    if (!disk_name(digest, name, err)) return false;
    snprintf(out, KEY, UNDER "%.64s", digest.p + strlen("sha256:"));
    return true;
}

/* One byte of a file, by the digest's first 60 bits; the lock goes with the descriptor. -1 with errno. */
static int lock_upload(struct blob_store *s, const char *hex, bool wait)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%.15s", hex);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)strtoll(digits, NULL, 16), .l_len = 1};
    FD_AUTO fd = openat(s->disk->root, "uploading", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l) != 0)
        if (errno != EINTR) return -1;
    return fs_keep(&fd);
}

/* ---- writing ---- */

static bool is_fresh(struct blob_store *s, const char *key, int64_t size, bool soon, bool *fresh, struct err *err)
{
    struct err why = {0};
    int64_t there = -1, modified_us = 0;
    *fresh = false;
    if ((soon ? s3_head_soon : s3_head)(s->s3, str_of(key), &there, &modified_us, &why)) {
        *fresh = there == size && os_now_us() - modified_us < FRESH_US;
        return true;
    }
    if (why.code == ERR_NOT_FOUND) return true;
    if (err != NULL) *err = why;
    return false;
}

/* An answer that was lost may have said that it is done. */
static bool complete(struct blob_store *s, const struct s3_upload *u, int64_t size, struct err *err)
{
    struct err why = {0}, ignored = {0};
    int64_t there = -1;
    if (s3_upload_complete(s->s3, u, &why)) return true;
    if (why.code == ERR_NOT_FOUND && s3_head(s->s3, u->key, &there, NULL, &ignored) && there == size) return true;
    if (why.code == ERR_NOT_FOUND)
        return err_set(err, ERR_UNAVAILABLE, "somebody else removed an upload that was under way: %s", why.message);
    if (err != NULL) *err = why;
    return false;
}

static bool send_parts(struct blob_store *s, const char *key, int fd, const struct s3_parts *parts, struct arena *a,
                       struct err *err)
{
    struct s3_upload u;
    bool fresh;
    FD_AUTO held = lock_upload(s, key + strlen(UNDER), true);
    if (held < 0) return err_set(err, ERR_IO, "blob store %s: uploading: %s", s->disk->path, strerror(errno));
    if (!is_fresh(s, key, parts->size, false, &fresh, err)) return false;
    if (fresh) return true; /* by whoever had the lock before */
    if (!s3_upload_begin(s->s3, str_of(key), a, &u, err)) return false;
    bool ok = s3_upload_send(s->s3, &u, fd, parts, a, err);
    if (ok) {
        FD_AUTO lock = disk_lock(s->disk, LOCK_SH);
        ok = lock >= 0 ? complete(s, &u, parts->size, err)
                       : err_set(err, ERR_IO, "blob store %s: lock: %s", s->disk->path, strerror(errno));
    }
    if (ok) return true;
    struct err ignored = {0}; /* what cannot be aborted now is found by store_clear */
    if (!s3_upload_abort(s->s3, u.key, u.id, &ignored)) err_clear(&ignored);
    return false;
}

static bool send_whole(struct blob_store *s, const char *key, int fd, const struct s3_parts *parts, struct err *err)
{
    FD_AUTO lock = disk_lock(s->disk, LOCK_SH);
    if (lock < 0) return err_set(err, ERR_IO, "blob store %s: lock: %s", s->disk->path, strerror(errno));
    return s3_put_file(s->s3, str_of(key), fd, parts, err);
}

/* Of a file that is not written to any more; if it is, S3 refuses what is not what was hashed. `soon`: somebody waits
 * who would come again. */
static bool send_file(struct blob_store *s, int fd, struct str expected, bool soon, char digest[DIGEST_TEXT],
                      int64_t *size, struct err *err)
{
    struct arena a;
    struct s3_parts parts;
    char sum[DIGEST_TEXT], key[KEY];
    bool fresh = false;
    arena_init(&a, 0);
    bool ok = s3_parts_of(fd, s->part_size, &a, &parts, sum, err);
    if (ok && expected.n > 0 && !str_is(expected, sum)) {
        ok = err_set(err, ERR_INVALID, "the bytes have digest %s, not %.*s", sum, STR_ARG(expected));
        err_hint(err, "they were changed on their way, or the digest is of something else");
    }
    ok = ok && key_of(str_of(sum), key, err) && is_fresh(s, key, parts.size, soon, &fresh, err);
    if (ok && !fresh) ok = parts.n > 1 ? send_parts(s, key, fd, &parts, &a, err) : send_whole(s, key, fd, &parts, err);
    arena_free(&a);
    if (!ok) return false;
    store_cache_keep(s, fd, str_of(sum), parts.size);
    memcpy(digest, sum, DIGEST_TEXT);
    if (size != NULL) *size = parts.size;
    return true;
}

/* What cannot be read twice, or is to be read from its midst, is written down first. */
static int spool(struct blob_store *s, int fd, struct err *err)
{
    enum { PIECE = 256 << 10 };
    FD_AUTO to = openat(s->disk->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    char *piece = malloc(PIECE);
    if (piece == NULL) abort();
    ssize_t n = to < 0 ? -1 : 1;
    while (n > 0) {
        n = read(fd, piece, PIECE);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0 && write(to, piece, (size_t)n) != n)
            n = -1;
    }
    free(piece);
    if (n < 0) {
        disk_io_failed(s->disk, "reading what is to be stored", err);
        return -1;
    }
    return fs_keep(&to);
}

static bool s3_put_fd(struct blob_store *s, int fd, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                      struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0)
        return send_file(s, fd, expected, false, digest, size, err);
    FD_AUTO copy = spool(s, fd, err);
    return copy >= 0 && send_file(s, copy, expected, false, digest, size, err);
}

static bool s3_part_finish(struct blob_store *s, struct str id, struct str digest, int64_t size, struct err *err)
{
    char sum[DIGEST_TEXT];
    FD_AUTO fd = -1;
    return disk_part_claim(s->disk, id, digest, size, &fd, err) && send_file(s, fd, digest, true, sum, NULL, err) &&
           disk_part_delete(s->disk, id, err);
}

/* ---- reading ---- */

static bool s3_get(struct blob_store *s, struct str digest, struct store_blob *out, struct err *err)
{
    char key[KEY];
    struct err ignored = {0};
    if (store_cache_get(s, digest, &out->fd, &out->size, &ignored)) return true;
    return key_of(digest, key, err) && s3_head(s->s3, str_of(key), &out->size, NULL, err);
}

struct reading {
    struct store_blob *blob;
    store_sink *fn;
    void *ctx;
    struct err *err;
    bool whole;
    int64_t left;
    struct digest_stream sum;
};

static bool pass_on(void *ctx, const char *p, size_t n)
{
    struct reading *r = ctx;
    char sum[DIGEST_TEXT];
    r->left -= (int64_t)n;
    if (r->whole) digest_add(&r->sum, p, n);
    if (!r->whole || r->left > 0) return r->fn(r->ctx, p, n);
    digest_end(&r->sum, sum); /* the last bytes go only to whom the others were right */
    if (strcmp(sum, r->blob->digest) == 0) return r->fn(r->ctx, p, n);
    return err_set(r->err, ERR_IO, "blob %s is damaged in S3: its bytes have digest %s", r->blob->digest, sum);
}

static bool s3_read_blob(struct store_blob *b, int64_t from, int64_t n, store_sink *fn, void *ctx, struct err *err)
{
    char key[KEY];
    struct err why = {0};
    struct reading r = {.blob = b, .fn = fn, .ctx = ctx, .err = &why, .whole = from == 0 && n == b->size, .left = n};
    if (n == 0) return true;
    if (!key_of(str_of(b->digest), key, err)) return false;
    if (r.whole) digest_begin(&r.sum);
    bool ok = s3_read(b->store->s3, str_of(key), from, n, pass_on, &r, &why);
    if (r.whole && r.sum.ctx != NULL) digest_abandon(&r.sum);
    if (!ok && err != NULL) *err = why;
    return ok;
}

static bool s3_file(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err)
{
    return store_cache_fetch(s, digest, fd, size, err);
}

/* ---- sweeping ---- */

static bool s3_sweep(struct blob_store *s, struct str digest, int64_t older_us, bool *deleted, struct err *err)
{
    char key[KEY];
    int64_t modified_us = 0;
    struct err why = {0};
    *deleted = false;
    if (!key_of(digest, key, err)) return false;
    FD_AUTO lock = disk_lock(s->disk, LOCK_EX);
    if (lock < 0) return err_set(err, ERR_IO, "blob store %s: lock: %s", s->disk->path, strerror(errno));
    if (!s3_head(s->s3, str_of(key), NULL, &modified_us, &why)) {
        if (why.code == ERR_NOT_FOUND) return true;
        if (err != NULL) *err = why;
        return false;
    }
    if (os_now_us() - modified_us < older_us) return true;
    if (!s3_delete(s->s3, str_of(key), err)) return false;
    store_cache_drop(s, digest);
    *deleted = true;
    return true;
}

struct listing {
    store_each_fn *fn;
    void *ctx;
};

static bool list_one(void *ctx, struct str key, int64_t size, struct err *err)
{
    const struct listing *l = ctx;
    char digest[DIGEST_TEXT];
    struct str hex = str_sub(key, strlen(UNDER), key.n);
    if (!str_starts(key, UNDER) || hex.n != 64) return true;
    snprintf(digest, sizeof digest, "sha256:%.64s", hex.p);
    return !digest_valid(str_of(digest)) || l->fn(l->ctx, str_of(digest), size, err);
}

static bool s3_each_blob(struct blob_store *s, store_each_fn *fn, void *ctx, struct err *err)
{
    struct listing l = {fn, ctx};
    return s3_each(s->s3, STR(UNDER), list_one, &l, err);
}

struct clearing {
    struct blob_store *store;
    struct err err;
};

static bool clear_one(void *ctx, struct str key, struct str id, struct err *err)
{
    struct clearing *c = ctx;
    char hex[65];
    (void)err;
    if (!str_starts(key, UNDER) || key.n != strlen(UNDER) + 64) return true;
    snprintf(hex, sizeof hex, "%.64s", key.p + strlen(UNDER));
    FD_AUTO held = lock_upload(c->store, hex, false);
    return held < 0 || s3_upload_abort(c->store->s3, key, id, &c->err); /* held: somebody is at it */
}

/* Put aside by a link, and never taken. */
static bool clear_aside(void *ctx, struct str key, int64_t size, struct err *err)
{
    struct clearing *c = ctx;
    struct s3 *s3 = c->store->s3;
    int64_t modified_us;
    (void)size, (void)err;
    if (!s3_head(s3, key, NULL, &modified_us, &c->err)) return c->err.code == ERR_NOT_FOUND;
    return os_now_us() - modified_us < ASIDE_US || s3_delete(s3, key, &c->err);
}

static bool s3_clear(struct blob_store *s, struct err *err)
{
    struct clearing c = {.store = s};
    disk_clear(s->disk);
    if (!s3_uploads_each(s->s3, STR(UNDER), clear_one, &c, err) || !s3_each(s->s3, STR(ASIDE), clear_aside, &c, err))
        return false;
    if (c.err.code == ERR_NOT_FOUND) err_clear(&c.err);
    if (c.err.code != ERR_NONE && err != NULL) *err = c.err;
    return c.err.code == ERR_NONE;
}

/* ---- opening, and what only a store elsewhere has ---- */

const struct store_ops store_s3_ops = {.put_fd = s3_put_fd,
                                       .part_finish = s3_part_finish,
                                       .get = s3_get,
                                       .read = s3_read_blob,
                                       .file = s3_file,
                                       .sweep = s3_sweep,
                                       .each = s3_each_blob,
                                       .clear = s3_clear};

bool store_s3_open(const struct store_config *cfg, struct blob_store *s, struct err *err)
{
    struct s3_config c = {.endpoint = cfg->endpoint,
                          .region = cfg->region,
                          .credentials = cfg->credentials,
                          .path_style = cfg->path_style,
                          .tries = cfg->tries,
                          .wait_ms = cfg->wait_ms};
    if (!s3_location(cfg->place, &c.bucket, &c.prefix, err)) {
        err_path(err, "artifact-store");
        return false;
    }
    s->ops = &store_s3_ops;
    s->part_size = cfg->part_size;
    return store_cache_open(cfg, s, err) && s3_open(&c, &s->s3, err);
}

bool store_note(struct blob_store *s, const char *name, struct arena *a, struct str *out, struct err *err)
{
    return s3_get_text(s->s3, str_of(name), a, out, err);
}

bool store_note_put(struct blob_store *s, const char *name, struct str text, struct err *err)
{
    return s3_put_text(s->s3, str_of(name), text, err);
}

bool store_note_delete(struct blob_store *s, const char *name, struct err *err)
{
    return s3_delete(s->s3, str_of(name), err);
}

/* ---- links ---- */

bool store_link(struct blob_store *s, struct str digest, int64_t seconds, struct arena *a, struct str *url,
                struct err *err)
{
    char key[KEY];
    struct str header;
    if (s->s3 == NULL) return err_set(err, ERR_INVALID, "a store on disk has no links");
    return key_of(digest, key, err) && s3_link(s->s3, "GET", str_of(key), NULL, seconds, a, url, &header, err);
}

static bool aside_of(const struct blob_store *s, struct str id, char out[KEY], struct err *err)
{
    if (s->s3 == NULL) return err_set(err, ERR_INVALID, "a store on disk has no links");
    for (size_t i = 0; i < id.n; i++)
        if (!isalnum((unsigned char)id.p[i])) return err_set(err, ERR_INVALID, "that is no upload's id");
    return snprintf(out, KEY, ASIDE "%.*s", STR_ARG(id)) < KEY || err_set(err, ERR_INVALID, "an id that is too long");
}

bool store_link_put(struct blob_store *s, struct str id, struct str digest, int64_t seconds, struct arena *a,
                    struct str *url, struct str *header, struct err *err)
{
    char key[KEY], aside[KEY];
    unsigned char sum[DIGEST_BYTES];
    if (!aside_of(s, id, aside, err) || !key_of(digest, key, err)) return false;
    for (size_t i = 0; i < sizeof sum; i++) {
        const char pair[3] = {key[strlen(UNDER) + 2 * i], key[strlen(UNDER) + 2 * i + 1]};
        sum[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return s3_link(s->s3, "PUT", str_of(aside), sum, seconds, a, url, header, err);
}

bool store_link_take(struct blob_store *s, struct str id, struct str digest, int64_t size, struct err *err)
{
    char key[KEY], aside[KEY];
    int64_t there;
    struct err ignored;
    if (!aside_of(s, id, aside, err) || !key_of(digest, key, err) ||
        !s3_head_soon(s->s3, str_of(aside), &there, NULL, err))
        return false;
    if (there != size)
        return err_set(err, ERR_CONFLICT, "%lld bytes were put, not %lld", (long long)there, (long long)size);
    FD_AUTO lock = disk_lock(s->disk, LOCK_SH);
    if (lock < 0) return err_set(err, ERR_IO, "blob store %s: lock: %s", s->disk->path, strerror(errno));
    if (!s3_copy(s->s3, str_of(aside), str_of(key), err)) return false;
    if (!s3_delete(s->s3, str_of(aside), &ignored)) err_clear(&ignored); /* what stays is cleared */
    return true;
}
