/* See secrets.h. The folder in the store is remembered as `secrets`, so that it goes with the store when that is moved
 * or copied; any other by its whole path. Beside the file lies a lock that each server shares while it runs: whoever
 * gets it for himself is alone, and may say another folder. */
#include "cli/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/os/fs.h"
#include "engine/os/log.h"
#include "engine/os/secret.h"

bool secrets_in_store(struct str store_dir, struct str secrets_dir)
{
    return secrets_dir.n == store_dir.n + sizeof "/" SECRETS_FOLDER - 1 &&
           str_eq(str_sub(secrets_dir, 0, store_dir.n), store_dir) && str_ends(secrets_dir, "/" SECRETS_FOLDER);
}

bool secrets_remembered(struct str store_dir, struct arena *a, struct str *out, struct err *err)
{
    char path[FS_PATH_MAX];
    BUF_AUTO text;
    buf_init(&text, 0);
    if (!fs_path(path, err, "%.*s/" SECRETS_FILE, STR_ARG(store_dir)) || !fs_read(path, FS_PATH_MAX + 1, &text, err))
        return false;
    struct str said = buf_view(&text);
    if (str_ends(said, "\n")) said.n--;
    bool whole = str_starts(said, "/");
    if (!whole && !str_is(said, SECRETS_FOLDER)) {
        err_set(err, ERR_INVALID, "%s names no folder of secrets", path);
        return err_hint(err, "remove it: the next server that starts alone writes it anew");
    }
    *out = whole ? arena_str(a, said) : arena_printf(a, "%.*s/" SECRETS_FOLDER, STR_ARG(store_dir));
    return true;
}

/* By another name, too. */
static bool same_folder(struct str x, struct str y, struct arena *a)
{
    struct stat one, two;
    return str_eq(x, y) || (stat(arena_cstr(a, x), &one) == 0 && stat(arena_cstr(a, y), &two) == 0 &&
                            one.st_dev == two.st_dev && one.st_ino == two.st_ino);
}

/* Steps may run on that were given something from the folder before. */
static bool remember(struct str store_dir, struct str secrets_dir, struct arena *a, struct err *err)
{
    char path[FS_PATH_MAX];
    struct str before = {0};
    struct err why = {0};
    if (!fs_path(path, err, "%.*s/" SECRETS_FILE, STR_ARG(store_dir))) return false;
    bool known = secrets_remembered(store_dir, a, &before, &why);
    if (known && !same_folder(before, secrets_dir, a) && !secret_carry(before, secrets_dir, &why))
        log_err(LEVEL_WARN, "logs may show secrets that running steps have from another folder", &why);
    struct str said = secrets_in_store(store_dir, secrets_dir) ? STR(SECRETS_FOLDER) : secrets_dir;
    return fs_write(path, arena_printf(a, "%.*s\n", STR_ARG(said)), 0600, true, err);
}

static bool fail_other(struct str theirs, struct str ours, struct err *err)
{
    err_set(err, ERR_CONFLICT, "other servers of this store have their secrets in %.*s, and this one in %.*s",
            STR_ARG(theirs), STR_ARG(ours));
    return err_hint(err, "give all of them the same --secrets-dir; to go to another folder, stop all of them first");
}

static bool lock(int fd, int how)
{
    int failed;
    while ((failed = flock(fd, how)) != 0 && errno == EINTR) {
    }
    return failed == 0;
}

/* Between one's own lock and the shared one another server may come with another folder: so it is looked at again. */
static bool hold(int fd, struct str store_dir, struct str secrets_dir, struct arena *a, struct err *err)
{
    struct str theirs;
    if (lock(fd, LOCK_EX | LOCK_NB)) {
        if (!remember(store_dir, secrets_dir, a, err)) return false;
    } else if (errno != EWOULDBLOCK) {
        return err_set(err, ERR_IO, "cannot lock the store's folder of secrets: %s", strerror(errno));
    }
    if (!lock(fd, LOCK_SH))
        return err_set(err, ERR_IO, "cannot lock the store's folder of secrets: %s", strerror(errno));
    if (!secrets_remembered(store_dir, a, &theirs, err)) return false;
    return same_folder(theirs, secrets_dir, a) || fail_other(theirs, secrets_dir, err);
}

bool secrets_hold(struct str store_dir, struct str secrets_dir, int *held, struct err *err)
{
    char path[FS_PATH_MAX];
    struct arena a;
    if (!fs_path(path, err, "%.*s/" SECRETS_FILE ".lock", STR_ARG(store_dir))) return false;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return err_set(err, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    arena_init(&a, 0);
    bool ok = hold(fd, store_dir, secrets_dir, &a, err);
    arena_free(&a);
    if (ok)
        *held = fd;
    else
        close(fd);
    return ok;
}
