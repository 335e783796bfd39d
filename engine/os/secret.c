/* Reading secrets. See secret.h. */
#include "engine/os/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "engine/os/fs.h"

static bool fail_missing(struct str project, struct str name, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "there is no secret '%.*s' for project '%.*s'", STR_ARG(name), STR_ARG(project));
    return err_hint(err, "an administrator puts it into the file %.*s/%.*s of the secrets folder", STR_ARG(project),
                    STR_ARG(name));
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
    p[n] = '\0';
    *out = (struct str){p, n};
    return true;
}

bool secret_fetch(struct str secrets_dir, struct str project, struct str name, struct arena *a, struct str *out,
                  struct err *err)
{
    if (!fs_relative(project) || !fs_relative(name))
        return err_set(err, ERR_INVALID, "'%.*s' is not the name of a secret", STR_ARG(name));
    int dir =
        open(arena_printf(a, "%.*s/%.*s", STR_ARG(secrets_dir), STR_ARG(project)).p, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir >= 0 ? fs_open_beneath(dir, arena_cstr(a, name), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) : -1;
    if (dir >= 0) close(dir);
    if (fd < 0) return fail_missing(project, name, err);
    bool ok = read_all(fd, name, a, out, err);
    close(fd);
    return ok;
}
