/* Blobs of a store elsewhere that are wanted as files here: a disk store of their own below the data folder, from
 * which goes what was not used for longest once there is too much. What was used within the last hour stays in any
 * case: a step may be about to read it. So the bound is one of what is kept, not of what is in use. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/blob/store_int.h"
#include "engine/os/clock.h"

#define IN_USE_US (3600LL * 1000000)
#define CACHE_BYTES (INT64_C(10) << 30)
#define KEEP_SHARE 8 /* of the cache, which one blob may take without being asked for */

bool store_cache_open(const struct store_config *cfg, struct blob_store *s, struct err *err)
{
    char path[FS_PATH_MAX];
    s->cache_bytes = cfg->cache_bytes > 0 ? cfg->cache_bytes : CACHE_BYTES;
    atomic_store(&s->cached, -1);
    atomic_flag_clear(&s->making_room);
    struct str under = cfg->data_dir.n > 0 ? cfg->data_dir : cfg->store_dir;
    return fs_path(path, err, "%.*s/cache", STR_ARG(under)) && fs_mkdirs(path, 0700, err) &&
           disk_open(str_of(path), &s->cache, err);
}

/* ---- making room ---- */

struct cached {
    char digest[DIGEST_TEXT];
    int64_t size, used_us;
};

struct inventory {
    struct disk *cache;
    struct cached *items;
    size_t n, room;
    int64_t bytes;
};

static bool take_stock(void *ctx, struct str digest, int64_t size, struct err *err)
{
    struct inventory *v = ctx;
    char name[DISK_NAME];
    struct stat st;
    if (!disk_name(digest, name, err) || fstatat(v->cache->root, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return true;
    if (v->n == v->room) {
        v->room = v->room > 0 ? 2 * v->room : 256;
        v->items = realloc(v->items, v->room * sizeof *v->items);
        if (v->items == NULL) abort();
    }
    struct cached *c = &v->items[v->n++];
    snprintf(c->digest, sizeof c->digest, "%.*s", STR_ARG(digest));
    c->size = size;
    c->used_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    v->bytes += size;
    return true;
}

static int by_use(const void *a, const void *b)
{
    const struct cached *x = a, *y = b;
    return (x->used_us > y->used_us) - (x->used_us < y->used_us);
}

/* Other servers of the data folder may be at it, too: what is gone already is fine. */
static void make_room(struct blob_store *s)
{
    struct inventory v = {.cache = s->cache};
    struct err ignored = {0};
    if (!disk_each(s->cache, take_stock, &v, &ignored)) err_clear(&ignored);
    qsort(v.items, v.n, sizeof *v.items, by_use);
    for (size_t i = 0; i < v.n && v.bytes > s->cache_bytes; i++) {
        bool deleted = false;
        if (disk_sweep(s->cache, str_of(v.items[i].digest), IN_USE_US, &deleted, &ignored) && deleted)
            v.bytes -= v.items[i].size;
    }
    disk_clear(s->cache);
    atomic_store(&s->cached, v.bytes);
    free(v.items);
}

static void added(struct blob_store *s, int64_t size)
{
    int64_t before = atomic_load(&s->cached);
    if (before >= 0 && atomic_fetch_add(&s->cached, size) + size <= s->cache_bytes) return;
    if (atomic_flag_test_and_set(&s->making_room)) return;
    make_room(s);
    atomic_flag_clear(&s->making_room);
}

/* ---- using ---- */

bool store_cache_get(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err)
{
    if (!disk_get(s->cache, digest, fd, size, err)) return false;
    (void)futimens(*fd, NULL); /* it is wanted: the time says so */
    return true;
}

struct fetching {
    struct disk_put *put;
    struct err *err;
};

static bool take(void *ctx, const char *p, size_t n)
{
    struct fetching *f = ctx;
    return disk_put_write(f->put, p, n, f->err);
}

bool store_cache_fetch(struct blob_store *s, struct str digest, int *fd, int64_t *size, struct err *err)
{
    char got[DIGEST_TEXT];
    struct store_blob b = {.store = s, .fd = -1};
    struct err why = {0}, unused = {0};
    struct fetching f = {.err = err != NULL ? err : &unused};
    if (store_cache_get(s, digest, fd, size, &why)) return true;
    if (!s->ops->get(s, digest, &b, err)) return false;
    if (b.fd >= 0) { /* somebody else was faster */
        *fd = b.fd;
        if (size != NULL) *size = b.size;
        return true;
    }
    if (!disk_put_begin(s->cache, &f.put, err)) return false;
    snprintf(b.digest, sizeof b.digest, "%.*s", STR_ARG(digest));
    if (!s->ops->read(&b, 0, b.size, take, &f, f.err)) {
        disk_put_abort(f.put);
        return false;
    }
    if (!disk_put_finish(f.put, digest, got, NULL, err)) return false;
    if (!store_cache_get(s, digest, fd, size, err)) return false;
    added(s, b.size);
    return true;
}

void store_cache_keep(struct blob_store *s, int fd, struct str digest, int64_t size)
{
    char got[DIGEST_TEXT];
    struct err ignored = {0};
    FD_AUTO have = -1;
    if (size > s->cache_bytes / KEEP_SHARE || store_cache_get(s, digest, &have, NULL, &ignored)) return;
    if (lseek(fd, 0, SEEK_SET) == 0 && disk_put_fd(s->cache, fd, digest, got, NULL, &ignored)) added(s, size);
}

void store_cache_drop(struct blob_store *s, struct str digest)
{
    struct err ignored = {0};
    bool deleted;
    if (!disk_sweep(s->cache, digest, 0, &deleted, &ignored)) err_clear(&ignored);
}
