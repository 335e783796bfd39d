/* The blob store on disk: reading, writing, deleting. Unfinished uploads are in disk_part.c. */
#include "engine/blob/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/blob/disk_int.h"
#include "engine/os/clock.h"

#define TMP_KEEP_S 86400         /* what a crashed writer left is cleared after a day */
#define PARTS_KEEP_S (7 * 86400) /* long after the record of an upload that nobody goes on with has gone */

/* ---- folders ---- */

static int open_dir(const char *path, struct err *err)
{
    if (!fs_mkdirs(path, 0700, err)) return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    return fd;
}

static void clear(int dir, time_t keep_s)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (!entries) {
        fs_close(&copy);
        return;
    }
    for (struct dirent *e; (e = readdir(entries)) != NULL;) {
        struct stat st;
        if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            time(NULL) - st.st_mtime > keep_s)
            unlinkat(dir, e->d_name, 0);
    }
    closedir(entries);
}

bool disk_open(struct str store_dir, struct disk **out, struct err *err)
{
    struct disk *d = calloc(1, sizeof *d);
    if (!d) abort();
    d->root = d->tmp = d->parts = d->lock = -1;
    char tmp[FS_PATH_MAX], parts[FS_PATH_MAX];
    bool ok = fs_path(d->path, err, "%.*s/blobs", STR_ARG(store_dir)) && fs_path(tmp, err, "%s/tmp", d->path) &&
              fs_path(parts, err, "%s/parts", d->path) && (d->root = open_dir(d->path, err)) >= 0 &&
              (d->tmp = open_dir(tmp, err)) >= 0 && (d->parts = open_dir(parts, err)) >= 0;
    if (ok) {
        d->lock = openat(d->root, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (d->lock < 0) ok = err_set(err, ERR_IO, "%s/lock: %s", d->path, strerror(errno));
    }
    if (!ok) {
        disk_close(d);
        return false;
    }
    *out = d;
    return true;
}

void disk_clear(struct disk *d)
{
    clear(d->tmp, TMP_KEEP_S);
    clear(d->parts, PARTS_KEEP_S);
}

void disk_close(struct disk *d)
{
    if (!d) return;
    fs_close(&d->root);
    fs_close(&d->tmp);
    fs_close(&d->parts);
    fs_close(&d->lock);
    free(d);
}

bool disk_io_failed(const struct disk *d, const char *what, struct err *err)
{
    enum err_code code = errno == ENOSPC || errno == EDQUOT ? ERR_SPACE : ERR_IO;
    err_set(err, code, "blob store %s: %s: %s", d->path, what, strerror(errno));
    return code == ERR_SPACE ? err_hint(err, "free some space on that disk") : false;
}

bool disk_name(struct str digest, char out[DISK_NAME], struct err *err)
{
    if (!digest_valid(digest)) {
        err_set(err, ERR_INVALID, "'%.*s' is no digest", digest.n > 100 ? 100 : (int)digest.n, digest.p);
        return err_hint(err, "it is sha256: and 64 hex digits in lower case");
    }
    const char *hex = digest.p + strlen("sha256:");
    snprintf(out, DISK_NAME, "%.2s/%.62s", hex, hex + 2);
    return true;
}

bool disk_path(const struct disk *d, struct str digest, char out[FS_PATH_MAX], struct err *err)
{
    char name[DISK_NAME];
    return disk_name(digest, name, err) && fs_path(out, err, "%s/%s", d->path, name);
}

/* ---- into place ---- */

static bool sync_dir(int fd)
{
    return fsync(fd) == 0 || errno == EINVAL;
}

/* A lock file rather than a mutex: several processes may share the store. flock() belongs to an open file, so each
 * taker opens its own. */
int disk_lock(struct disk *d, int how)
{
    int fd = openat(d->root, "lock", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && flock(fd, how) != 0)
        if (errno != EINTR) fs_close(&fd);
    return fd;
}

/* Renames the complete, durable file to its digest's name. One that is there already is replaced: its time then says
 * that somebody wants it, which keeps it from a sweep that is under way. */
bool disk_place(struct disk *d, int from_dir, const char *from, const char *digest, struct err *err)
{
    char name[DISK_NAME], folder[3];
    if (!disk_name(str_of(digest), name, err)) return false;
    snprintf(folder, sizeof folder, "%.2s", name);
    bool made = mkdirat(d->root, folder, 0700) == 0;
    if (!made && errno != EEXIST) return disk_io_failed(d, folder, err);
    FD_AUTO lock = disk_lock(d, LOCK_SH);
    FD_AUTO dir = openat(d->root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || dir < 0) return disk_io_failed(d, folder, err);
    if (renameat(from_dir, from, dir, name + 3) != 0) return disk_io_failed(d, name, err);
    if (!sync_dir(dir) || (made && !sync_dir(d->root))) return disk_io_failed(d, name, err);
    return true;
}

struct disk_put {
    struct disk *disk;
    struct digest_stream sum;
    int fd;
    char name[40];
};

bool disk_put_begin(struct disk *d, struct disk_put **out, struct err *err)
{
    struct disk_put *put = calloc(1, sizeof *put);
    if (!put) abort();
    put->disk = d;
    snprintf(put->name, sizeof put->name, "%016llx", (unsigned long long)os_random_u64());
    put->fd = openat(d->tmp, put->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (put->fd < 0) {
        disk_io_failed(d, "tmp", err);
        free(put);
        return false;
    }
    digest_begin(&put->sum);
    *out = put;
    return true;
}

bool disk_put_write(struct disk_put *put, const void *p, size_t n, struct err *err)
{
    digest_add(&put->sum, p, n);
    for (const char *from = p; n > 0;) {
        ssize_t done = write(put->fd, from, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return disk_io_failed(put->disk, "tmp", err);
        from += done;
        n -= (size_t)done;
    }
    return true;
}

void disk_put_abort(struct disk_put *put)
{
    if (!put) return;
    digest_abandon(&put->sum);
    fs_close(&put->fd);
    unlinkat(put->disk->tmp, put->name, 0);
    free(put);
}

bool disk_put_finish(struct disk_put *put, struct str expected, char digest[DIGEST_TEXT], int64_t *size,
                     struct err *err)
{
    struct disk *d = put->disk;
    char sum[DIGEST_TEXT];
    int64_t total = (int64_t)put->sum.size;
    digest_end(&put->sum, sum);
    bool ok = expected.n == 0 || str_is(expected, sum);
    if (!ok) {
        err_set(err, ERR_INVALID, "the bytes have digest %s, not %.*s", sum, STR_ARG(expected));
        err_hint(err, "they were changed on their way, or the digest is of something else");
    }
    if (ok && fdatasync(put->fd) != 0) ok = disk_io_failed(d, "tmp", err);
    fs_close(&put->fd);
    ok = ok && disk_place(d, d->tmp, put->name, sum, err);
    if (!ok) unlinkat(d->tmp, put->name, 0);
    free(put);
    if (!ok) return false;
    memcpy(digest, sum, DIGEST_TEXT);
    if (size) *size = total;
    return true;
}

bool disk_put_fd(struct disk *d, int fd, struct str expected, char digest[DIGEST_TEXT], int64_t *size, struct err *err)
{
    struct disk_put *put;
    if (!disk_put_begin(d, &put, err)) return false;
    enum { PIECE = 256 << 10 };
    char *piece = malloc(PIECE);
    if (!piece) abort();
    bool ok = true;
    for (ssize_t got = 1; ok && got > 0;) {
        got = read(fd, piece, PIECE);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got < 0)
            ok = disk_io_failed(d, "reading what is to be stored", err);
        else if (got > 0)
            ok = disk_put_write(put, piece, (size_t)got, err);
    }
    free(piece);
    if (ok) return disk_put_finish(put, expected, digest, size, err);
    disk_put_abort(put);
    return false;
}

bool disk_put_bytes(struct disk *d, struct str bytes, char digest[DIGEST_TEXT], struct err *err)
{
    struct disk_put *put;
    if (!disk_put_begin(d, &put, err)) return false;
    if (disk_put_write(put, bytes.p, bytes.n, err)) return disk_put_finish(put, str_of(""), digest, NULL, err);
    disk_put_abort(put);
    return false;
}

/* ---- reading and sweeping ---- */

bool disk_get(struct disk *d, struct str digest, int *fd, int64_t *size, struct err *err)
{
    char name[DISK_NAME];
    if (!disk_name(digest, name, err)) return false;
    struct stat st;
    int opened = openat(d->root, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0 && errno == ENOENT) return err_set(err, ERR_NOT_FOUND, "there is no blob %.*s", STR_ARG(digest));
    if (opened < 0 || fstat(opened, &st) != 0) {
        disk_io_failed(d, name, err);
        fs_close(&opened);
        return false;
    }
    *fd = opened;
    if (size) *size = st.st_size;
    return true;
}

bool disk_sweep(struct disk *d, struct str digest, int64_t older_us, bool *deleted, struct err *err)
{
    char name[DISK_NAME];
    struct stat st;
    *deleted = false;
    if (!disk_name(digest, name, err)) return false;
    FD_AUTO lock = disk_lock(d, LOCK_EX);
    if (lock < 0) return disk_io_failed(d, "lock", err);
    if (fstatat(d->root, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? true : disk_io_failed(d, name, err);
    int64_t changed_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    if (os_now_us() - changed_us < older_us) return true;
    if (unlinkat(d->root, name, 0) != 0) return disk_io_failed(d, name, err);
    *deleted = true;
    return true;
}

static bool each_in(struct disk *d, const char *folder, disk_each_fn *fn, void *ctx, bool *go_on, struct err *err)
{
    int fd = openat(d->root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? true : disk_io_failed(d, folder, err);
    DIR *entries = fdopendir(fd);
    if (!entries) {
        close(fd);
        return disk_io_failed(d, folder, err);
    }
    for (struct dirent *e; *go_on && (e = readdir(entries)) != NULL;) {
        char digest[DIGEST_TEXT];
        struct stat st;
        if (strlen(e->d_name) != 62) continue;
        snprintf(digest, sizeof digest, "sha256:%s%.62s", folder, e->d_name);
        if (!digest_valid(str_of(digest)) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        *go_on = fn(ctx, str_of(digest), st.st_size, err);
    }
    closedir(entries);
    return true;
}

bool disk_each(struct disk *d, disk_each_fn *fn, void *ctx, struct err *err)
{
    bool go_on = true;
    for (int i = 0; i < 256 && go_on; i++) {
        char folder[3];
        snprintf(folder, sizeof folder, "%02x", (unsigned)i & 0xff);
        if (!each_in(d, folder, fn, ctx, &go_on, err)) return false;
    }
    return true;
}
