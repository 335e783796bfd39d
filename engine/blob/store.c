/* The store that was chosen, and the one on disk. See store.h. */
#include "engine/blob/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/blob/store_int.h"
#include "engine/os/config.h"

#define PIECE ((size_t)64 << 10)

struct store_config store_config_of(const struct config *cfg)
{
    return (struct store_config){.store_dir = cfg->store_dir,
                                 .place = cfg->artifact_store,
                                 .data_dir = cfg->data_dir,
                                 .endpoint = cfg->s3_endpoint,
                                 .region = cfg->s3_region,
                                 .credentials = cfg->s3_credentials,
                                 .path_style = cfg->s3_path_style,
                                 .cache_bytes = cfg->artifact_cache_bytes};
}

/* ---- on disk ---- */

static bool on_disk_put(struct blob_store *s, int fd, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                        struct err *err)
{
    return disk_put_fd(s->disk, fd, expected, digest, size, err);
}

static bool on_disk_part_finish(struct blob_store *s, struct str id, struct str digest, int64_t size, struct err *err)
{
    return disk_part_finish(s->disk, id, digest, size, err);
}

static bool on_disk_get(struct blob_store *s, struct str digest, struct store_blob *out, struct err *err)
{
    return disk_get(s->disk, digest, &out->fd, &out->size, err);
}

static bool on_disk_file(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err)
{
    return disk_get(s->disk, digest, fd, size, err);
}

static bool on_disk_sweep(struct blob_store *s, struct str digest, int64_t older_us, bool *deleted, struct err *err)
{
    return disk_sweep(s->disk, digest, older_us, deleted, err);
}

static bool on_disk_each(struct blob_store *s, store_each_fn *fn, void *ctx, struct err *err)
{
    return disk_each(s->disk, fn, ctx, err);
}

static bool on_disk_clear(struct blob_store *s, struct err *err)
{
    (void)err;
    disk_clear(s->disk);
    return true;
}

static const struct store_ops on_disk = {.put_fd = on_disk_put,
                                         .part_finish = on_disk_part_finish,
                                         .get = on_disk_get,
                                         .file = on_disk_file,
                                         .sweep = on_disk_sweep,
                                         .each = on_disk_each,
                                         .clear = on_disk_clear};

/* ---- whichever ---- */

bool store_open(const struct store_config *cfg, struct blob_store **out, struct err *err)
{
    struct blob_store *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    s->ops = &on_disk;
    bool ok = disk_open(cfg->store_dir, &s->disk, err);
    if (ok && cfg->place.n > 0 && !str_is(cfg->place, STORE_ON_DISK)) ok = store_s3_open(cfg, s, err);
    if (!ok) {
        store_close(s);
        return false;
    }
    *out = s;
    return true;
}

void store_close(struct blob_store *s)
{
    if (s == NULL) return;
    s3_close(s->s3);
    disk_close(s->cache);
    disk_close(s->disk);
    free(s);
}

void store_stop(struct blob_store *s)
{
    if (s != NULL && s->s3 != NULL) s3_stop(s->s3);
}

bool store_is_remote(const struct blob_store *s)
{
    return s->s3 != NULL;
}

bool store_is_away(const struct blob_store *s)
{
    return s->s3 != NULL && s3_is_away(s->s3);
}

bool store_clear(struct blob_store *s, struct err *err)
{
    return s->ops->clear(s, err);
}

bool store_put_fd(struct blob_store *s, int fd, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                  struct err *err)
{
    return s->ops->put_fd(s, fd, expected, digest, size, err);
}

bool store_put_bytes(struct blob_store *s, struct str bytes, char digest[DIGEST_TEXT], struct err *err)
{
    char path[] = "/tmp/millrace-XXXXXX";
    FD_AUTO fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return err_set(err, ERR_IO, "a temporary file: %s", strerror(errno));
    unlink(path);
    if (write(fd, bytes.p, bytes.n) != (ssize_t)bytes.n || lseek(fd, 0, SEEK_SET) != 0)
        return err_set(err, ERR_IO, "a temporary file: %s", strerror(errno));
    return store_put_fd(s, fd, STR(""), digest, NULL, err);
}

bool store_part_offset(struct blob_store *s, struct str id, int64_t *offset, struct err *err)
{
    return disk_part_offset(s->disk, id, offset, err);
}

bool store_part_append(struct blob_store *s, struct str id, int64_t offset, int64_t size, const void *p, size_t n,
                       struct err *err)
{
    return disk_part_append(s->disk, id, offset, size, p, n, err);
}

bool store_part_finish(struct blob_store *s, struct str id, struct str digest, int64_t size, struct err *err)
{
    return s->ops->part_finish(s, id, digest, size, err);
}

bool store_part_delete(struct blob_store *s, struct str id, struct err *err)
{
    return disk_part_delete(s->disk, id, err);
}

/* ---- reading ---- */

void store_blob_close(struct store_blob *b)
{
    fs_close(&b->fd);
}

bool store_get(struct blob_store *s, struct str digest, struct store_blob *out, struct err *err)
{
    struct store_blob b = {.store = s, .fd = -1};
    char name[DISK_NAME];
    if (!disk_name(digest, name, err) || !s->ops->get(s, digest, &b, err)) return false;
    memcpy(b.digest, digest.p, DIGEST_TEXT - 1);
    *out = b;
    return true;
}

bool store_size(struct blob_store *s, struct str digest, int64_t *size, struct err *err)
{
    STORE_BLOB_AUTO b = STORE_BLOB_NONE;
    if (!store_get(s, digest, &b, err)) return false;
    if (size != NULL) *size = b.size;
    return true;
}

static bool read_file(int fd, int64_t from, int64_t n, store_sink *fn, void *ctx, struct err *err)
{
    char *piece = malloc(PIECE);
    bool ok = true;
    if (piece == NULL) abort();
    while (ok && n > 0) {
        ssize_t got = pread(fd, piece, n < (int64_t)PIECE ? (size_t)n : PIECE, from);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            ok = err_set(err, ERR_IO, "a blob cannot be read: %s", got < 0 ? strerror(errno) : "it got shorter");
            break;
        }
        ok = fn(ctx, piece, (size_t)got);
        from += got;
        n -= got;
    }
    free(piece);
    return ok;
}

bool store_read(struct store_blob *b, int64_t from, int64_t n, store_sink *fn, void *ctx, struct err *err)
{
    if (b->fd >= 0) return read_file(b->fd, from, n, fn, ctx, err);
    return b->store->ops->read(b, from, n, fn, ctx, err);
}

bool store_file(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err)
{
    return s->ops->file(s, digest, fd, size, err);
}

bool store_path_later(const struct blob_store *s, struct str digest, char out[FS_PATH_MAX], struct err *err)
{
    return disk_path(s->cache != NULL ? s->cache : s->disk, digest, out, err);
}

bool store_path(struct blob_store *s, struct str digest, char out[FS_PATH_MAX], struct err *err)
{
    FD_AUTO fd = -1;
    return store_path_later(s, digest, out, err) && store_file(s, digest, &fd, NULL, err);
}

bool store_sweep(struct blob_store *s, struct str digest, int64_t older_us, bool *deleted, struct err *err)
{
    return s->ops->sweep(s, digest, older_us, deleted, err);
}

bool store_each(struct blob_store *s, store_each_fn *fn, void *ctx, struct err *err)
{
    return s->ops->each(s, fn, ctx, err);
}
