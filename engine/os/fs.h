/* Files, safely: whole or not at all (by rename), trees removed and copied without ever following a link out of them,
 * and paths that others named opened only beneath a folder. Errors name the path and what the system said. */
#ifndef MILLRACE_OS_FS_H
#define MILLRACE_OS_FS_H

#include <sys/types.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

/* Closes the descriptor at the end of the scope; -1 is fine. */
void fs_close(int *fd);
#define FD_AUTO __attribute__((cleanup(fs_close))) int
/* It is the caller's from now on: the end of its scope leaves it open. */
static inline int fs_keep(int *fd)
{
    int kept = *fd;
    *fd = -1;
    return kept;
}

/* A path of the system's length limit, by printf; false when too long. */
#define FS_PATH_MAX 4096
__attribute__((format(printf, 3, 4))) MUST_CHECK bool fs_path(char out[FS_PATH_MAX], struct err *err, const char *fmt,
                                                              ...);

/* mkdir -p; existing folders are left as they are, links to folders are followed. */
MUST_CHECK bool fs_mkdirs(const char *path, mode_t mode, struct err *err);

/* The whole file appears at once: written beside it, then renamed. `durable` also flushes it and its folder to disk. */
MUST_CHECK bool fs_write(const char *path, struct str bytes, mode_t mode, bool durable, struct err *err);

/* Appends a file of at most `cap` bytes to *out; ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_IO. */
MUST_CHECK bool fs_read(const char *path, size_t cap, struct buf *out, struct err *err);
/* The last `n` bytes of a file, or all when it is shorter; beginning at a line's start where it was cut. */
MUST_CHECK bool fs_read_tail(const char *path, size_t n, struct buf *out, struct err *err);

/* rm -rf that follows no link and stays on what it opened, however deep; nothing there is fine. */
MUST_CHECK bool fs_remove_tree(const char *path, struct err *err);

/* Can this text name a file beneath a folder: relative, no empty, "." or ".." part, no NUL, ≤ 4095 bytes? */
bool fs_relative(struct str path);

/* openat() of a path that must stay beneath dirfd, links included (openat2's RESOLVE_BENEATH; where the kernel lacks
 * it, no link is followed at all). Returns the descriptor, or -1 with errno. */
int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* mkdir -p of a relative path beneath dirfd, no link followed; false with errno. `owner` ≠ -1 gets what was made. */
bool fs_mkdirs_beneath(int dirfd, const char *path, mode_t mode, uid_t owner, gid_t group);

/* Copies the tree below `from` into the existing folder `to`: files by reflink where the disk can, else
 * copy_file_range; links as links; modes kept but for set-id bits; given to `owner` unless that is -1. False with
 * errno. */
bool fs_copy_tree(int from, int to, uid_t owner, gid_t group);
/* One file's bytes; false with errno. */
bool fs_copy_file(int from, int to);

#endif
