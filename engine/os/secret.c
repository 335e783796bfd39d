/* Reading secrets. See secret.h. */
#include "engine/os/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"

#define DEPTH_MAX 64 /* of folders among the secrets */
#define GIVEN ".given"
#define GIVEN_US ((int64_t)30 * 24 * 3600 * 1000000)

bool secret_folder(const char *secrets_dir, struct err *err)
{
    struct stat st;
    if (!fs_mkdirs(secrets_dir, 0700, err)) return false;
    if (stat(secrets_dir, &st) != 0) return err_set(err, ERR_IO, "%s: %s", secrets_dir, strerror(errno));
    if ((st.st_mode & S_IXOTH) == 0) return true;
    err_set(err, ERR_INVALID, "everybody on this machine can enter the folder of secrets %s, steps too", secrets_dir);
    return err_hint(err, "chmod o-rwx %s", secrets_dir);
}

static bool fail_open(int error, struct str project, struct str name, struct err *err)
{
    if (error == EACCES || error == EPERM) {
        err_set(err, ERR_INVALID, "the server may not read the secret '%.*s' of project '%.*s'", STR_ARG(name),
                STR_ARG(project));
        return err_hint(err, "give the file %.*s/%.*s of the secrets folder to the user it runs as (%u)",
                        STR_ARG(project), STR_ARG(name), (unsigned)geteuid());
    }
    err_set(err, ERR_NOT_FOUND, "there is no secret '%.*s' for project '%.*s'", STR_ARG(name), STR_ARG(project));
    return err_hint(err, "an administrator puts it into the file %.*s/%.*s of the secrets folder", STR_ARG(project),
                    STR_ARG(name));
}

static bool fail_kind(struct str name, struct err *err)
{
    err_set(err, ERR_INVALID, "the secret '%.*s' is a folder, or something else that is no file", STR_ARG(name));
    return err_hint(err, "name a file, such as %.*s/password in a folder", STR_ARG(name));
}

static bool is_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool read_all(int fd, struct str name, struct arena *a, struct str *out, struct err *err)
{
    char *p = arena_alloc(a, SECRET_MAX + 1);
    size_t n = 0;
    for (ssize_t got; n <= SECRET_MAX; n += (size_t)got) {
        got = read(fd, p + n, SECRET_MAX + 1 - n);
        if (got < 0 && errno == EINTR)
            got = 0;
        else if (got < 0)
            return err_set(err, ERR_IO, "the secret '%.*s' cannot be read: %s", STR_ARG(name), strerror(errno));
        else if (got == 0)
            break;
    }
    if (n > SECRET_MAX) return err_set(err, ERR_TOO_LARGE, "the secret '%.*s' is larger than 64 KiB", STR_ARG(name));
    if (memchr(p, '\0', n) != NULL)
        return err_set(err, ERR_INVALID, "the secret '%.*s' has a NUL byte in it", STR_ARG(name));
    if (n > 0 && p[n - 1] == '\n') n--;
    if (n > 0 && p[n - 1] == '\r') n--;
    p[n] = '\0';
    *out = (struct str){p, n};
    return true;
}

static int open_project(struct str secrets_dir, struct str project, struct arena *a, int flags)
{
    errno = ENOENT;
    if (!fs_relative(project)) return -1;
    return open(arena_printf(a, "%.*s/%.*s", STR_ARG(secrets_dir), STR_ARG(project)).p,
                flags | O_DIRECTORY | O_CLOEXEC);
}

static bool is_given(struct str name)
{
    return str_is(name, GIVEN) || str_starts(name, GIVEN "/");
}

bool secret_fetch(struct str secrets_dir, struct str project, struct str name, struct arena *a, struct str *out,
                  struct err *err)
{
    size_t depth = 0;
    for (size_t i = 0; i < name.n; i++)
        depth += name.p[i] == '/';
    if (!fs_relative(project) || !fs_relative(name) || depth > DEPTH_MAX || is_given(name))
        return err_set(err, ERR_INVALID, "'%.*s' is not the name of a secret", STR_ARG(name));
    int dir = open_project(secrets_dir, project, a, O_PATH);
    int fd = dir >= 0 ? fs_open_beneath(dir, arena_cstr(a, name), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) : -1;
    int error = errno;
    if (dir >= 0) close(dir);
    if (fd < 0) return fail_open(error, project, name, err);
    bool ok = is_file(fd) ? read_all(fd, name, a, out, err) : fail_kind(name, err);
    close(fd);
    return ok;
}

/* ---- values that were given ---- */

static void drop_old(const char *folder)
{
    DIR *d = opendir(folder);
    struct stat st;
    int64_t now = os_now_us();
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            now - (int64_t)st.st_mtim.tv_sec * 1000000 > GIVEN_US)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d != NULL) closedir(d);
}

bool secret_given(struct str secrets_dir, struct str project, struct str value, struct err *err)
{
    char folder[FS_PATH_MAX], path[FS_PATH_MAX], digest[DIGEST_TEXT];
    if (value.n < MASK_SHORTEST) return true;
    digest_of(value, digest);
    if (!fs_path(folder, err, "%.*s/%.*s/" GIVEN, STR_ARG(secrets_dir), STR_ARG(project)) ||
        !fs_path(path, err, "%s/%s", folder, strchr(digest, ':') + 1))
        return false;
    if (utimensat(AT_FDCWD, path, NULL, 0) == 0) return true;
    if (!fs_mkdirs(folder, 0700, err) || !fs_write(path, value, 0600, false, err)) return false;
    drop_old(folder);
    return true;
}

/* Those of one project into another folder; what cannot be read was not ours. */
static bool carry_project(int from, struct str to, struct str project, struct err *err)
{
    struct str value;
    struct arena a;
    char path[FS_PATH_MAX];
    if (!fs_path(path, err, "%.*s/" GIVEN, STR_ARG(project))) return false;
    int fd = fs_open_beneath(from, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        if (fd >= 0) close(fd);
        return true;
    }
    arena_init(&a, 0);
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d)) != NULL;) {
        struct err unreadable;
        FD_AUTO file = fs_open_beneath(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
        arena_reset(&a);
        if (file >= 0 && is_file(file) && read_all(file, str_of(e->d_name), &a, &value, &unreadable))
            ok = secret_given(to, project, value, err);
    }
    closedir(d);
    arena_free(&a);
    return ok;
}

bool secret_carry(struct str from, struct str to, struct err *err)
{
    char path[FS_PATH_MAX];
    if (!fs_path(path, err, "%.*s", STR_ARG(from))) return false;
    DIR *d = opendir(path);
    if (d == NULL) return errno == ENOENT || err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d)) != NULL;)
        if (fs_relative(str_of(e->d_name))) ok = carry_project(dirfd(d), to, str_of(e->d_name), err);
    closedir(d);
    return ok;
}

/* ---- what is to be covered ---- */

/* Is what could not be opened no secret for anybody: gone, or a link that leads out, or a socket? */
static bool is_none(int error)
{
    return error == ENOENT || error == EXDEV || error == ELOOP || error == ENXIO;
}

static bool fail_read(const char *name, struct err *err)
{
    return err_set(err, ERR_IO, "%s in the folder of secrets cannot be read: %s", name, strerror(errno));
}

/* Each file below `dir`, which is closed; false when one was left out. A value of 64 KiB fits into `scratch`. */
static bool collect(int dir, int depth, struct arena *scratch, struct arena *a, struct mask *out, struct err *err)
{
    struct str value;
    bool whole = true;
    DIR *d = fdopendir(dir);
    if (d == NULL) {
        close(dir);
        return fail_read("a folder", err);
    }
    for (;;) {
        struct stat st;
        struct err why = {0};
        errno = 0; /* the end of a folder is no error */
        const struct dirent *e = readdir(d);
        if (e == NULL) break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        int fd = fs_open_beneath(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
        if (fd < 0) {
            if (!is_none(errno)) whole = fail_read(e->d_name, err);
            continue;
        }
        bool known = fstat(fd, &st) == 0;
        if (known && S_ISDIR(st.st_mode) && depth > 0) {
            if (!collect(fd, depth - 1, scratch, a, out, err)) whole = false;
            continue;
        }
        arena_reset(scratch);
        if (known && S_ISREG(st.st_mode) && read_all(fd, str_of(e->d_name), scratch, &value, &why))
            mask_add(out, a, arena_str(a, value));
        else if (why.code == ERR_IO)
            whole = fail_read(e->d_name, err);
        close(fd);
    }
    if (errno != 0) whole = fail_read("a folder", err);
    closedir(d);
    return whole;
}

static bool collect_all(int dir, int depth, struct arena *a, struct mask *out, struct err *err)
{
    struct arena scratch;
    arena_init(&scratch, 0);
    bool whole = collect(dir, depth, &scratch, a, out, err);
    arena_free(&scratch);
    mask_forms(out, a);
    mask_sort(out);
    return whole;
}

void secret_mask(struct str secrets_dir, struct str project, struct arena *a, struct mask *out)
{
    struct err ignored;
    *out = (struct mask){0};
    int dir = project.n > 0 ? open_project(secrets_dir, project, a, O_RDONLY)
                            : open(arena_cstr(a, secrets_dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0 && !collect_all(dir, DEPTH_MAX + (project.n == 0), a, out, &ignored)) return; /* what there is */
}

bool secret_mask_all(struct str secrets_dir, struct arena *a, struct mask *out, struct err *err)
{
    struct mask found = {0};
    int dir = open(arena_cstr(a, secrets_dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "the folder of secrets %.*s cannot be read: %s",
                       STR_ARG(secrets_dir), strerror(errno));
    if (!collect_all(dir, DEPTH_MAX + 1, a, &found, err)) return false;
    *out = found;
    return true;
}
