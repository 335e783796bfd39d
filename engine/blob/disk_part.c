/* Unfinished uploads: a file that grows, and whose size is the truth about how far it got. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/blob/disk_int.h"

#define ID_MAX 64

static bool part_name(struct str id, char out[ID_MAX + 1], struct err *err)
{
    bool good = id.n > 0 && id.n <= ID_MAX;
    for (size_t i = 0; good && i < id.n; i++)
        good = (id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'z') ||
               (id.p[i] >= 'A' && id.p[i] <= 'Z') || id.p[i] == '-' || id.p[i] == '_';
    if (!good) return err_set(err, ERR_NOT_FOUND, "there is no such upload");
    memcpy(out, id.p, id.n);
    out[id.n] = 0;
    return true;
}

bool disk_part_offset(struct disk *d, struct str id, int64_t *offset, struct err *err)
{
    char name[ID_MAX + 1];
    struct stat st;
    if (!part_name(id, name, err)) return false;
    if (fstatat(d->parts, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) return disk_io_failed(d, "parts", err);
        st.st_size = 0;
    }
    *offset = st.st_size;
    return true;
}

static bool append(struct disk *d, int fd, const char *p, size_t n, struct err *err)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return disk_io_failed(d, "parts", err);
        p += done;
        n -= (size_t)done;
    }
    return true;
}

bool disk_part_append(struct disk *d, struct str id, int64_t offset, int64_t size, const void *p, size_t n,
                      struct err *err)
{
    char name[ID_MAX + 1];
    struct stat st;
    if (!part_name(id, name, err)) return false;
    FD_AUTO fd = openat(d->parts, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return disk_io_failed(d, "parts", err);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) { /* two writers of one upload: the second one is wrong about the offset */
        err_set(err, ERR_CONFLICT, "somebody else is writing this upload");
        return err_hint(err, "ask for its offset again");
    }
    if (fstat(fd, &st) != 0) return disk_io_failed(d, "parts", err);
    if (st.st_size != offset) {
        err_set(err, ERR_CONFLICT, "the upload stands at offset %lld, not %lld", (long long)st.st_size,
                (long long)offset);
        return err_hint(err, "go on from %lld", (long long)st.st_size);
    }
    if ((int64_t)n > size - offset) {
        err_set(err, ERR_TOO_LARGE, "the upload was announced with %lld bytes", (long long)size);
        return err_hint(err, "begin a new upload with the right size");
    }
    return append(d, fd, p, n, err);
}

bool disk_part_claim(struct disk *d, struct str id, struct str digest, int64_t size, int *out, struct err *err)
{
    char name[ID_MAX + 1], sum[DIGEST_TEXT];
    int64_t have = 0;
    if (!part_name(id, name, err)) return false;
    FD_AUTO fd =
        openat(d->parts, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); /* an empty blob has no part yet */
    if (fd < 0) return disk_io_failed(d, "parts", err);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) return err_set(err, ERR_CONFLICT, "somebody else is writing this upload");
    if (!digest_fd(fd, sum, &have, err)) return false;
    if (have < size) {
        err_set(err, ERR_CONFLICT, "only %lld of %lld bytes are here", (long long)have, (long long)size);
        return err_hint(err, "go on from %lld", (long long)have);
    }
    if (have != size || !str_is(digest, sum)) {
        unlinkat(d->parts, name, 0);
        err_set(err, ERR_INVALID, "the bytes have digest %s, not %.*s", sum, STR_ARG(digest));
        return err_hint(err, "they were changed on their way; upload them again");
    }
    *out = fs_keep(&fd);
    return true;
}

bool disk_part_finish(struct disk *d, struct str id, struct str digest, int64_t size, struct err *err)
{
    char name[ID_MAX + 1], sum[DIGEST_TEXT];
    FD_AUTO fd = -1;
    if (!part_name(id, name, err) || !disk_part_claim(d, id, digest, size, &fd, err)) return false;
    if (fdatasync(fd) != 0) return disk_io_failed(d, "parts", err);
    snprintf(sum, sizeof sum, "%.*s", STR_ARG(digest));
    return disk_place(d, d->parts, name, sum, err);
}

bool disk_part_delete(struct disk *d, struct str id, struct err *err)
{
    char name[ID_MAX + 1];
    if (!part_name(id, name, err)) return false;
    if (unlinkat(d->parts, name, 0) == 0 || errno == ENOENT) return true;
    return disk_io_failed(d, "parts", err);
}
