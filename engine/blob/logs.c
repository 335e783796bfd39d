/* Log files of attempts: where they are, read by range. */
#include "engine/blob/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/os/clock.h"

static const char *const run_folders[] = {"logs", "checkpoints"};
#define RUN_FOLDERS (sizeof run_folders / sizeof *run_folders)

#define COVER_PIECE ((size_t)256 << 10)

bool step_log_path(struct str store_dir, int64_t run, int32_t task, int32_t attempt, char out[FS_PATH_MAX],
                   struct err *err)
{
    return fs_path(out, err, "%.*s/logs/%lld/%d-%d.log", STR_ARG(store_dir), (long long)run, task, attempt);
}

/* An empty log may serve another attempt once its own has ended; one with text in it stays where it is. */
static bool still_there(const char *path, const struct stat *of)
{
    struct stat st;
    return lstat(path, &st) == 0 && st.st_ino == of->st_ino && st.st_dev == of->st_dev;
}

int step_log_open(struct str store_dir, int64_t run, int32_t task, int32_t attempt, int64_t *size, struct err *err)
{
    char path[FS_PATH_MAX];
    struct stat st;
    *size = 0;
    if (!step_log_path(store_dir, run, task, attempt, path, err)) return -2;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) return -1;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        fs_close(&fd);
        return -2;
    }
    if (still_there(path, &st))
        *size = st.st_size;
    else
        fs_close(&fd);
    return fd;
}

bool step_log_read(struct str store_dir, int64_t run, int32_t task, int32_t attempt, int64_t from, size_t n,
                   struct buf *out, int64_t *total, struct err *err)
{
    int64_t size = 0;
    FD_AUTO fd = step_log_open(store_dir, run, task, attempt, &size, err);
    if (fd == -2) return false;
    *total = size;
    if (fd < 0 || from < 0 || from >= size) return true;
    if ((int64_t)n > size - from) n = (size_t)(size - from);
    if (!buf_reserve(out, n)) return err_set(err, ERR_LIMIT, "a piece of %zu bytes of a log is too much at once", n);
    while (n > 0) {
        ssize_t got = pread(fd, out->p + out->n, n, from);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_set(err, ERR_IO, "log of run %lld: %s", (long long)run, strerror(errno));
        if (got == 0) break;
        out->n += (size_t)got;
        out->p[out->n] = 0;
        n -= (size_t)got;
        from += got;
    }
    return true;
}

bool step_log_tail(struct str store_dir, int64_t run, int32_t task, int32_t attempt, int64_t lines, int64_t *from,
                   struct err *err)
{
    int64_t size = 0;
    FD_AUTO fd = step_log_open(store_dir, run, task, attempt, &size, err);
    if (fd == -2) return false;
    *from = size;
    if (fd < 0 || lines <= 0) return true;
    char piece[16384];
    int64_t end = size;
    while (end > 0) {
        size_t n = end < (int64_t)sizeof piece ? (size_t)end : sizeof piece;
        ssize_t got = pread(fd, piece, n, end - (int64_t)n);
        if (got != (ssize_t)n) return err_set(err, ERR_IO, "log of run %lld: %s", (long long)run, strerror(errno));
        for (size_t i = n; i-- > 0;) {
            int64_t at = end - (int64_t)n + (int64_t)i;
            /* the line break at the very end closes the last line, it does not begin another */
            if (piece[i] != '\n' || at == size - 1 || --lines > 0) continue;
            *from = at + 1;
            return true;
        }
        end -= (int64_t)n;
    }
    *from = 0;
    return true;
}

static ssize_t read_at(int fd, char *p, size_t room, int64_t at)
{
    size_t n = 0;
    while (n < room) {
        ssize_t got = pread(fd, p + n, room - n, at + (int64_t)n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static bool write_at(int fd, const char *p, size_t n, int64_t at)
{
    while (n > 0) {
        ssize_t put = pwrite(fd, p, n, at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        p += put;
        n -= (size_t)put;
        at += put;
    }
    return true;
}

/* Pieces overlap by as much as a value may reach from one into the next. */
static bool cover(int fd, int64_t at, const struct mask *m, char *piece, size_t room)
{
    size_t overlap = mask_longest(m) - 1;
    for (;;) {
        ssize_t n = read_at(fd, piece, room, at);
        if (n < 0 || (mask_cover(m, piece, (size_t)n) && !write_at(fd, piece, (size_t)n, at))) return false;
        if ((size_t)n < room) return true;
        at += (int64_t)(room - overlap);
    }
}

bool step_log_cover(const char *path, int64_t from, const struct mask *m, struct err *err)
{
    if (m->n == 0) return true;
    FD_AUTO fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) return true;
    if (fd < 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    size_t longest = mask_longest(m), room = COVER_PIECE + 2 * longest;
    char *piece = malloc(room);
    if (piece == NULL) abort();
    int64_t at = from > (int64_t)longest ? from - (int64_t)longest : 0;
    bool ok = cover(fd, at, m, piece, room);
    if (!ok) err_set(err, ERR_IO, "%s: secrets in it cannot be covered: %s", path, strerror(errno));
    free(piece);
    return ok;
}

int64_t step_log_sure(int fd, int64_t size, const struct mask *m)
{
    int64_t n = (int64_t)mask_longest(m) - 1;
    if (n > size) n = size;
    if (n <= 0) return size;
    char *end = malloc((size_t)n);
    if (end == NULL) abort();
    size_t unsure = (size_t)n; /* of what cannot be read nothing is sure */
    if (read_at(fd, end, (size_t)n, size - n) == n) unsure = mask_unsure(m, (struct str){end, (size_t)n});
    free(end);
    return size - (int64_t)unsure;
}

bool run_files_delete(struct str store_dir, int64_t run, struct err *err)
{
    char path[FS_PATH_MAX];
    for (size_t i = 0; i < RUN_FOLDERS; i++)
        if (!fs_path(path, err, "%.*s/%s/%lld", STR_ARG(store_dir), run_folders[i], (long long)run) ||
            !fs_remove_tree(path, err))
            return false;
    return true;
}

static bool runs_in(const char *folder, int64_t older_us, run_files_fn *fn, void *ctx, struct err *err)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) return errno == ENOENT || err_set(err, ERR_IO, "%s: %s", folder, strerror(errno));
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir)) != NULL;) {
        struct stat st;
        int64_t run;
        if (!str_int(str_of(e->d_name), &run) || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (os_now_us() - (int64_t)st.st_mtim.tv_sec * 1000000 >= older_us) ok = fn(ctx, run, err);
    }
    closedir(dir);
    return ok;
}

bool run_files_each(struct str store_dir, int64_t older_us, run_files_fn *fn, void *ctx, struct err *err)
{
    char path[FS_PATH_MAX];
    for (size_t i = 0; i < RUN_FOLDERS; i++)
        if (!fs_path(path, err, "%.*s/%s", STR_ARG(store_dir), run_folders[i]) ||
            !runs_in(path, older_us, fn, ctx, err))
            return false;
    return true;
}
