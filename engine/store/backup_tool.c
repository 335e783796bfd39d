/* PostgreSQL's own programs, run for a backup. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/os/digest.h"
#include "engine/store/backup_int.h"
#include "engine/store/embedded.h"

#define ENV_MAX 60

bool backup_path(const struct backup_config *config, const char *name, char out[FS_PATH_MAX], struct err *err)
{
    return fs_path(out, err, "%.*s/%s", STR_ARG(config->folder), name);
}

bool backup_blob_path(const struct backup_config *config, struct str digest, char out[FS_PATH_MAX], struct err *err)
{
    if (!digest_valid(digest))
        return err_set(err, ERR_INVALID, "the manifest names '%.*s', which is no digest", STR_ARG(digest));
    return fs_path(out, err, "%.*s/blobs/%.64s", STR_ARG(config->folder), digest.p + strlen("sha256:"));
}

/* libpq says which environment variable stands for which part of a DSN. */
static bool environment(struct str dsn, struct arena *a, char *env[ENV_MAX], struct err *err)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(arena_cstr(a, dsn), &message);
    if (!options) {
        PQfreemem(message);
        return err_set(err, ERR_INVALID, "the database URL cannot be read");
    }
    int n = 0;
    env[n++] = arena_cstr(a, STR("PATH=/usr/bin:/bin"));
    env[n++] = arena_cstr(a, STR("LC_ALL=C"));
    for (const PQconninfoOption *o = options; o->keyword && n < ENV_MAX - 1; o++)
        if (o->val && o->envvar) env[n++] = arena_cstr(a, arena_printf(a, "%s=%s", o->envvar, o->val));
    env[n] = NULL;
    PQconninfoFree(options);
    return true;
}

static bool ended_well(pid_t pid, int log, const char *program, struct err *err)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    char said[300];
    ssize_t n = pread(log, said, sizeof said, 0);
    struct str text = str_trim((struct str){said, n > 0 ? (size_t)n : 0});
    return err_set(err, ERR_UNAVAILABLE, "%s failed: %.*s", program, STR_ARG(text));
}

static bool find_tools(struct str bin_dir, struct arena *a, struct str *out, struct err *err)
{
    static const char *const tools[2] = {"pg_dump", "pg_restore"};
    if (embedded_find_bin(bin_dir, tools, a, out)) return true;
    err_set(err, ERR_UNAVAILABLE,
            "there are no pg_dump and pg_restore %s%.*s: a backup needs PostgreSQL's client programs",
            bin_dir.n > 0 ? "in " : "here", STR_ARG(bin_dir));
    return err_hint(err,
                    "install them (Debian: apt-get install postgresql-client-15), or do this on a machine that has "
                    "them, and reaches the same database and store by the server's options");
}

bool backup_has_tools(struct str bin_dir, struct err *err)
{
    struct arena a;
    struct str found;
    arena_init(&a, 0);
    bool ok = find_tools(bin_dir, &a, &found, err);
    arena_free(&a);
    return ok;
}

bool backup_run_tool(const struct backup_config *config, char *argv[], struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct str bin;
    char path[FS_PATH_MAX], *env[ENV_MAX];
    const char *program = argv[0];
    FD_AUTO log = memfd_create("log", MFD_CLOEXEC);
    bool ok = find_tools(config->bin_dir, &a, &bin, err) && fs_path(path, err, "%.*s/%s", STR_ARG(bin), program) &&
              environment(config->dsn, &a, env, err);
    if (ok) {
        pid_t pid;
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&files, log, 1);
        posix_spawn_file_actions_adddup2(&files, log, 2);
        argv[0] = path;
        int failed = posix_spawn(&pid, path, &files, NULL, argv, env);
        posix_spawn_file_actions_destroy(&files);
        ok = failed ? err_set(err, ERR_IO, "%s: %s", path, strerror(failed)) : ended_well(pid, log, program, err);
    }
    arena_free(&a);
    return ok;
}
