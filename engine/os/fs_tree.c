/* Trees, see fs.h: every step is relative to a folder that is held open, so that a link swapped in by a running step
 * leads nowhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/os/fs.h"

#define TREE_DEPTH 256 /* of what is copied */
#define REMOVE_DEPTH 64

static int open_folder(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

struct removal {
    int top;          /* the tree's own folder */
    unsigned n_moved; /* folders that lay too deep, and lie in it now */
};

/* Into the tree's own folder, so that no tree is too deep to be removed. */
static bool move_up(struct removal *r, int parent, const char *name)
{
    char to[32];
    FD_AUTO fd = open_folder(parent, name);
    if (fd < 0 || fchmod(fd, 0700) != 0 || fchmod(parent, 0700) != 0 || fchmod(r->top, 0700) != 0)
        return errno == ENOENT; /* all three change by the move */
    do
        snprintf(to, sizeof to, ".deep-%u", r->n_moved++);
    while (renameat(parent, name, r->top, to) != 0 && (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR));
    struct stat st;
    return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT;
}

/* As unlinkat(), also where the folder's rights forbid it. */
static bool unlink_in(int fd, const char *name, int flags)
{
    if (unlinkat(fd, name, flags) == 0 || errno == ENOENT) return true;
    return errno == EACCES && fchmod(fd, 0700) == 0 && unlinkat(fd, name, flags) == 0;
}

static bool remove_below(struct removal *r, int fd, int depth);

static bool remove_entry(struct removal *r, int parent, const struct dirent *e, int depth)
{
    if (e->d_type != DT_DIR && unlink_in(parent, e->d_name, 0)) return true;
    if (e->d_type != DT_DIR && errno != EISDIR && errno != EPERM) return false;
    if (depth == 0) return move_up(r, parent, e->d_name);
    int fd = open_folder(parent, e->d_name);
    if (fd < 0) return errno == ENOENT;
    return remove_below(r, fd, depth - 1) && unlink_in(parent, e->d_name, AT_REMOVEDIR);
}

/* Takes the folder's descriptor over; one is held open a level. */
static bool remove_below(struct removal *r, int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        fs_close(&fd);
        return false;
    }
    int failed = 0;
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !remove_entry(r, fd, e, depth))
            failed = errno;
    closedir(dir);
    errno = failed;
    return failed == 0;
}

static bool remove_folder(const char *path)
{
    FD_AUTO top = open_folder(AT_FDCWD, path);
    if (top < 0) return errno == ENOENT;
    struct removal r = {.top = top};
    for (unsigned before = 0;; before = r.n_moved) {
        int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || !remove_below(&r, fd, REMOVE_DEPTH)) return false;
        if (r.n_moved == before) return rmdir(path) == 0 || errno == ENOENT;
    }
}

bool fs_remove_tree(const char *path, struct err *err)
{
    if (unlink(path) == 0 || errno == ENOENT) return true;
    if ((errno == EISDIR || errno == EPERM) && remove_folder(path)) return true;
    return err_set(err, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
}

/* For kernels and sandboxes without openat2: walks part by part and follows no link at all. */
static int walk_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    if (!fs_relative(str_of(path))) {
        errno = EXDEV;
        return -1;
    }
    FD_AUTO at = -1;
    for (;;) {
        const char *slash = strchr(path, '/');
        if (!slash) return openat(at < 0 ? dirfd : at, path, flags | O_NOFOLLOW | O_CLOEXEC, mode);
        char part[256];
        size_t n = (size_t)(slash - path);
        if (n >= sizeof part) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, path, n);
        part[n] = '\0';
        int next = openat(at < 0 ? dirfd : at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0) return -1;
        fs_close(&at);
        at = next;
        path = slash + 1;
    }
}

int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .mode = (flags & O_CREAT) ? mode : 0,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd;
    do
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) return walk_beneath(dirfd, path, flags, mode);
    return (int)fd;
}

bool fs_mkdirs_beneath(int dirfd, const char *path, mode_t mode, uid_t owner, gid_t group)
{
    if (!fs_relative(str_of(path))) {
        errno = EXDEV;
        return false;
    }
    FD_AUTO at = -1;
    for (const char *p = path;;) {
        const char *slash = strchr(p, '/');
        size_t n = slash ? (size_t)(slash - p) : strlen(p);
        char part[256];
        if (n >= sizeof part) {
            errno = ENAMETOOLONG;
            return false;
        }
        memcpy(part, p, n);
        part[n] = '\0';
        int in = at < 0 ? dirfd : at;
        bool made = mkdirat(in, part, mode) == 0;
        if (!made && errno != EEXIST) return false;
        int next = openat(in, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0) return false;
        fs_close(&at);
        at = next;
        if (made && owner != (uid_t)-1 && fchown(at, owner, group) != 0) return false;
        if (!slash) return true;
        p = slash + 1;
    }
}

bool fs_copy_file(int from, int to)
{
    if (ioctl(to, FICLONE, from) == 0) return true;
    bool in_kernel = true;
    for (;;) {
        ssize_t n;
        if (in_kernel) {
            n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
            if (n < 0 &&
                (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM)) {
                in_kernel = false;
                continue;
            }
        } else {
            char block[65536];
            n = read(from, block, sizeof block);
            for (ssize_t done = 0, w; n > 0 && done < n; done += w)
                if ((w = write(to, block + done, (size_t)(n - done))) < 0) {
                    if (errno != EINTR) return false;
                    w = 0;
                }
        }
        if (n == 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
}

struct owner {
    uid_t user; /* -1 = whoever copies */
    gid_t group;
};

static bool give(int fd, const struct owner *o)
{
    return o->user == (uid_t)-1 || fchown(fd, o->user, o->group) == 0;
}

static bool copy_below(int from, int to, const struct owner *o, int depth);

static bool copy_folder(int from, int to, const char *name, mode_t mode, const struct owner *o, int depth)
{
    if (depth == 0) {
        errno = ELOOP;
        return false;
    }
    if (mkdirat(to, name, 0700) != 0 && errno != EEXIST) return false;
    int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (source < 0) return false;
    FD_AUTO target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0) {
        fs_close(&source);
        return false;
    }
    return copy_below(source, target, o, depth - 1) && fchmod(target, mode | 0700) == 0 && give(target, o);
}

static bool copy_link(int from, int to, const char *name, const struct owner *o)
{
    char target[FS_PATH_MAX];
    ssize_t n = readlinkat(from, name, target, sizeof target - 1);
    if (n < 0) return false;
    target[n] = '\0';
    if (symlinkat(target, to, name) != 0) return false;
    return o->user == (uid_t)-1 || fchownat(to, name, o->user, o->group, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool copy_entry(int from, int to, const char *name, const struct owner *o, int depth)
{
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return false;
    mode_t mode = st.st_mode & 0777;
    if (S_ISDIR(st.st_mode)) return copy_folder(from, to, name, mode, o, depth);
    if (S_ISLNK(st.st_mode)) return copy_link(from, to, name, o);
    if (!S_ISREG(st.st_mode))
        return true; /* a bundle holds none; sockets and the like of a user's folder are of no use to a copy */
    FD_AUTO in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0) return false;
    FD_AUTO out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return out >= 0 && fs_copy_file(in, out) && fchmod(out, mode | 0600) == 0 && give(out, o);
}

/* Takes `from` over. */
static bool copy_below(int from, int to, const struct owner *o, int depth)
{
    DIR *dir = fdopendir(from);
    if (!dir) {
        fs_close(&from);
        return false;
    }
    bool fine = true;
    struct dirent *e;
    while (fine && (e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fine = copy_entry(from, to, e->d_name, o, depth);
    int saved = errno;
    closedir(dir);
    errno = saved;
    return fine;
}

bool fs_copy_tree(int from, int to, uid_t owner, gid_t group)
{
    const struct owner o = {owner, group};
    int own = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return own >= 0 && copy_below(own, to, &o, TREE_DEPTH);
}
