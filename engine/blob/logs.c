/* Log files of attempts: where they are, read by range. */
#include "engine/blob/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool step_log_path(struct str data_dir, int64_t run, int32_t task, int32_t attempt, char out[FS_PATH_MAX],
                   struct err *err)
{
    return fs_path(out, err, "%.*s/logs/%lld/%d-%d.log", STR_ARG(data_dir), (long long)run, task, attempt);
}

/* -1 when there is no file yet; -2 with an error. */
static int open_log(struct str data_dir, int64_t run, int32_t task, int32_t attempt, int64_t *size, struct err *err)
{
    char path[FS_PATH_MAX];
    struct stat st;
    if (!step_log_path(data_dir, run, task, attempt, path, err)) return -2;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) return -1;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        fs_close(&fd);
        return -2;
    }
    *size = st.st_size;
    return fd;
}

bool step_log_read(struct str data_dir, int64_t run, int32_t task, int32_t attempt, int64_t from, size_t n,
                   struct buf *out, int64_t *total, struct err *err)
{
    int64_t size = 0;
    FD_AUTO fd = open_log(data_dir, run, task, attempt, &size, err);
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

bool step_log_tail(struct str data_dir, int64_t run, int32_t task, int32_t attempt, int64_t lines, int64_t *from,
                   struct err *err)
{
    int64_t size = 0;
    FD_AUTO fd = open_log(data_dir, run, task, attempt, &size, err);
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

bool run_files_delete(struct str data_dir, int64_t run, struct err *err)
{
    static const char *const folders[] = {"logs", "checkpoints"};
    char path[FS_PATH_MAX];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (!fs_path(path, err, "%.*s/%s/%lld", STR_ARG(data_dir), folders[i], (long long)run) ||
            !fs_remove_tree(path, err))
            return false;
    return true;
}
