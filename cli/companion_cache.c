/* See companion_cache.h. */
#include "cli/companion_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"

#define HEX (2 * DIGEST_BYTES)
#define DEAD_S 3600 /* a file that is still being made after so long was left by somebody who died */

static bool path_of(const char *folder, struct str digest, char out[FS_PATH_MAX])
{
    struct err ignored;
    return digest_valid(digest) && fs_path(out, &ignored, "%s/%.*s", folder, HEX, digest.p + digest.n - HEX);
}

bool companion_cache_take(const char *folder, struct str digest, int to)
{
    char path[FS_PATH_MAX];
    struct err ignored;
    if (!path_of(folder, digest, path)) return false;
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false;
    futimens(fd, NULL); /* it was used now */
    if (fs_copy_file(fd, to) && blob_verify(to, digest, &ignored)) return true;
    unlink(path);
    return ftruncate(to, 0) == 0 && lseek(to, 0, SEEK_SET) == 0 && false;
}

/* ---- the bound ---- */

struct kept {
    char name[HEX + 1];
    int64_t size;
    time_t used;
};

static int by_use(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;
    return (x->used > y->used) - (x->used < y->used);
}

static bool is_blob(const char *name)
{
    return strlen(name) == HEX && strspn(name, "0123456789abcdef") == HEX;
}

/* Returns how many there are; *all is to be freed. */
static size_t list(DIR *dir, struct kept **all, int64_t *bytes)
{
    size_t n = 0, room = 0;
    struct stat st;
    *all = NULL;
    *bytes = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
        if (!is_blob(e->d_name)) {
            if (os_now_us() / 1000000 - st.st_mtime > DEAD_S) unlinkat(dirfd(dir), e->d_name, 0);
            continue;
        }
        if (n == room) {
            room = room > 0 ? room * 2 : 64;
            *all = realloc(*all, room * sizeof **all);
            if (*all == NULL) abort();
        }
        struct kept *k = &(*all)[n++];
        memcpy(k->name, e->d_name, HEX + 1);
        k->size = st.st_size;
        k->used = st.st_mtime;
        *bytes += st.st_size;
    }
    return n;
}

static void make_room(const char *folder, int64_t most)
{
    struct kept *all;
    int64_t bytes;
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    size_t n = list(dir, &all, &bytes);
    if (all != NULL && bytes > most) qsort(all, n, sizeof *all, by_use);
    for (size_t i = 0; all != NULL && i < n && bytes > most; i++)
        if (unlinkat(dirfd(dir), all[i].name, 0) == 0) bytes -= all[i].size;
    free(all);
    closedir(dir);
}

void companion_cache_keep(const char *folder, struct str digest, int from, int64_t bytes)
{
    char path[FS_PATH_MAX], made[FS_PATH_MAX];
    struct err ignored;
    struct stat st;
    if (!path_of(folder, digest, path) || !fs_path(made, &ignored, "%s/new.XXXXXX", folder)) return;
    if (fstat(from, &st) != 0 || st.st_size > bytes || access(path, F_OK) == 0) return;
    int fd = mkostemp(made, O_CLOEXEC);
    if (fd < 0) return;
    bool ok = lseek(from, 0, SEEK_SET) == 0 && fs_copy_file(from, fd) && rename(made, path) == 0;
    if (!ok) unlink(made);
    close(fd);
    if (ok) make_room(folder, bytes);
}
