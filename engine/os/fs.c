/* See fs.h. Copying and opening beneath are in fs_tree.c. */
#include "engine/os/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/os/clock.h"

void fs_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
        *fd = -1;
    }
}

bool fs_path(char out[FS_PATH_MAX], struct err *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out, FS_PATH_MAX, fmt, args);
    va_end(args);
    if (n < 0 || n >= FS_PATH_MAX)
        return err_set(err, ERR_INVALID, "the path %.60s… is longer than %d bytes", out, FS_PATH_MAX - 1);
    return true;
}

static bool io_err(struct err *err, const char *what, const char *path)
{
    int saved = errno;
    enum err_code code = saved == ENOENT                      ? ERR_NOT_FOUND
                         : saved == ENOSPC || saved == EDQUOT ? ERR_SPACE
                         : saved == EACCES || saved == EPERM  ? ERR_FORBIDDEN
                                                              : ERR_IO;
    return err_set(err, code, "cannot %s %s: %s", what, path, strerror(saved));
}

bool fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
    char part[FS_PATH_MAX];
    if (!fs_path(part, err, "%s", path)) return false;
    struct stat st;
    if (mkdir(part, mode) == 0 || (stat(part, &st) == 0 && S_ISDIR(st.st_mode))) return true; /* as a rule */
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        char end = *p;
        *p = '\0';
        if (mkdir(part, mode) != 0 && errno != EEXIST && !(errno == EROFS && access(part, F_OK) == 0))
            return io_err(err, "make the folder", part);
        if (end == '\0') break;
        *p = end;
    }
    if (stat(part, &st) != 0) return io_err(err, "make the folder", part);
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return io_err(err, "make the folder", part);
    }
    return true;
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0) {
            if (errno == EINTR) continue;
            return false;
        }
        bytes.p += n;
        bytes.n -= (size_t)n;
    }
    return true;
}

static bool sync_folder_of(const char *path)
{
    char folder[FS_PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
    FD_AUTO fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0;
}

bool fs_write(const char *path, struct str bytes, mode_t mode, bool durable, struct err *err)
{
    char temp[FS_PATH_MAX];
    if (!fs_path(temp, err, "%s.%llx.tmp", path, (unsigned long long)os_random_u64())) return false;
    FD_AUTO fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return io_err(err, "write", path);
    bool fine =
        fchmod(fd, mode) == 0 && write_all(fd, bytes) && (!durable || fdatasync(fd) == 0) && rename(temp, path) == 0;
    if (!fine) {
        io_err(err, "write", path);
        unlink(temp);
        return false;
    }
    if (durable && !sync_folder_of(path)) return io_err(err, "flush the folder of", path);
    return true;
}

static bool read_open(int fd, const char *path, size_t cap, struct buf *out, struct err *err)
{
    size_t start = out->n;
    for (;;) {
        char block[16384];
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            io_err(err, "read", path);
            out->n = start;
            return false;
        }
        if (n == 0) return true;
        if (out->n - start + (size_t)n > cap || !buf_add(out, block, (size_t)n)) {
            out->n = start;
            return err_set(err, ERR_TOO_LARGE, "%s holds more than %zu bytes", path, cap);
        }
    }
}

bool fs_read(const char *path, size_t cap, struct buf *out, struct err *err)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return io_err(err, "read", path);
    return read_open(fd, path, cap, out, err);
}

bool fs_read_tail(const char *path, size_t n, struct buf *out, struct err *err)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) return io_err(err, "read", path);
    bool cut = st.st_size > (off_t)n;
    if (cut && lseek(fd, st.st_size - (off_t)n, SEEK_SET) < 0) return io_err(err, "read", path);
    size_t start = out->n;
    if (!buf_reserve(out, n + 1)) return err_set(err, ERR_TOO_LARGE, "no room for %zu bytes of %s", n, path);
    ssize_t got;
    do
        got = read(fd, out->p + start, n);
    while (got < 0 && errno == EINTR);
    if (got < 0) return io_err(err, "read", path);
    size_t skip = 0;
    if (cut) {
        const char *line = memchr(out->p + start, '\n', (size_t)got);
        if (line) skip = (size_t)(line + 1 - (out->p + start));
    }
    memmove(out->p + start, out->p + start + skip, (size_t)got - skip);
    out->n = start + (size_t)got - skip;
    out->p[out->n] = '\0';
    return true;
}

bool fs_relative(struct str path)
{
    if (path.n == 0 || path.n >= FS_PATH_MAX || path.p[0] == '/' || memchr(path.p, '\0', path.n)) return false;
    struct str piece;
    while (str_split(&path, '/', &piece))
        if (piece.n == 0 || str_is(piece, ".") || str_is(piece, "..")) return false;
    return true;
}
