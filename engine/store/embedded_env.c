/* Where the private PostgreSQL's programs, folders and socket are, and as which user it runs. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/os/digest.h"
#include "engine/store/embedded_int.h"

/* ---- programs ---- */

static bool has_programs(const char *dir, const char *const programs[2])
{
    char path[FS_PATH_MAX];
    for (size_t i = 0; i < 2; i++)
        if (!fs_path(path, NULL, "%s/%s", dir, programs[i]) || access(path, X_OK) != 0) return false;
    return true;
}

static const char *const bin_patterns[] = {"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"};

static double version_of(const char *dir)
{
    const char *digit = strpbrk(dir, "0123456789");
    return digit ? strtod(digit, NULL) : 0;
}

/* The newest, or the one of `version` when it is not 0. */
static bool find_installed(const char *const programs[2], double version, char out[FS_PATH_MAX])
{
    double best = -1;
    for (size_t i = 0; i < sizeof bin_patterns / sizeof *bin_patterns; i++) {
        glob_t found;
        if (glob(bin_patterns[i], 0, NULL, &found) != 0) continue;
        for (size_t j = 0; j < found.gl_pathc; j++) {
            double v = version_of(found.gl_pathv[j]);
            bool fits = version > 0 ? v >= version && v < version + 1 : v > best;
            if (fits && has_programs(found.gl_pathv[j], programs) && fs_path(out, NULL, "%s", found.gl_pathv[j]))
                best = v;
        }
        globfree(&found);
    }
    return best >= 0;
}

static bool find_in_path(const char *const programs[2], char out[FS_PATH_MAX])
{
    struct str rest = str_of(getenv("PATH")), dir;
    while (rest.n > 0 && str_split(&rest, ':', &dir))
        if (dir.n > 0 && fs_path(out, NULL, "%.*s", STR_ARG(dir)) && has_programs(out, programs)) return true;
    return false;
}

static bool find_bin(struct str wanted, const char *const programs[2], double version, char out[FS_PATH_MAX])
{
    if (wanted.n > 0) return fs_path(out, NULL, "%.*s", STR_ARG(wanted)) && has_programs(out, programs);
    return find_installed(programs, version, out) || find_in_path(programs, out);
}

bool embedded_find_bin(struct str wanted, const char *const programs[2], struct arena *a, struct str *out)
{
    char path[FS_PATH_MAX];
    if (!find_bin(wanted, programs, 0, path)) return false;
    *out = arena_str(a, str_of(path));
    return true;
}

static bool find_server(struct str wanted, double version, char out[FS_PATH_MAX], struct err *err)
{
    static const char *const programs[2] = {"postgres", "initdb"};
    if (find_bin(wanted, programs, version, out)) return true;
    if (wanted.n > 0) {
        err_set(err, ERR_INVALID, "there are no postgres and initdb in %.*s", STR_ARG(wanted));
        return err_hint(err, "name the folder of PostgreSQL's programs, for example /usr/lib/postgresql/15/bin");
    }
    if (version > 0) {
        err_set(err, ERR_UNAVAILABLE, "the data folder was made by PostgreSQL %g, which is not installed", version);
        return err_hint(err, "install postgresql-%g", version);
    }
    err_set(err, ERR_UNAVAILABLE, "PostgreSQL is not installed");
    return err_hint(err, "install it (Debian: apt-get install postgresql-15), or give the URL of a database");
}

/* ---- folders ---- */

static double cluster_version(const char *cluster)
{
    char path[FS_PATH_MAX];
    BUF_AUTO b;
    buf_init(&b, 64);
    if (!fs_path(path, NULL, "%s/PG_VERSION", cluster) || !fs_read(path, 32, &b, NULL)) return 0;
    return strtod(b.p, NULL);
}

/* A socket's path has at most 107 bytes, of which PostgreSQL needs 14 for the name. */
#define SOCKET_DIR_MAX 92

bool pg_paths_resolve(const struct embedded_config *config, struct pg_paths *out, struct err *err)
{
    char given[FS_PATH_MAX], resolved[PATH_MAX];
    if (!fs_path(given, err, "%.*s", STR_ARG(config->data_dir))) return false;
    if (!realpath(given, resolved)) return err_set(err, ERR_IO, "data folder %s: %s", given, strerror(errno));
    if (!fs_path(out->data, err, "%s", resolved) || !fs_path(out->root, err, "%s/postgres", resolved) ||
        !fs_path(out->cluster, err, "%s/postgres/data", resolved) ||
        !fs_path(out->socket, err, "%s/postgres/run", resolved) || !fs_path(out->log, err, "%s/postgres/log", resolved))
        return false;
    if (strlen(out->socket) > SOCKET_DIR_MAX) {
        char digest[DIGEST_TEXT];
        digest_of(str_of(resolved), digest);
        if (!fs_path(out->socket, err, "/tmp/millrace-pg-%.16s", digest + strlen("sha256:"))) return false;
    }
    return find_server(config->bin_dir, cluster_version(out->cluster), out->bin, err);
}

/* Ours and closed to others, or made so; never a link that somebody else put there. */
static bool private_folder(const char *path, const struct pg_user *user, struct err *err)
{
    if (mkdir(path, 0700) == 0) {
        if (user->drop && chown(path, user->uid, user->gid) != 0)
            return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        return true;
    }
    struct stat st;
    if (errno != EEXIST || lstat(path, &st) != 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != user->uid || (st.st_mode & 077) != 0) {
        err_set(err, ERR_FORBIDDEN, "%s must be a folder of user %s that others cannot enter", path, user->name);
        return err_hint(err, "remove it, or mend its owner and mode (0700)");
    }
    return true;
}

static bool become(const struct pg_user *user)
{
    if (!user->drop) return true;
    return setgroups((size_t)user->n_groups, user->groups) == 0 && setgid(user->gid) == 0 && setuid(user->uid) == 0;
}

static bool reachable(const struct pg_paths *paths, const struct pg_user *user, struct err *err)
{
    if (!user->drop) return true;
    pid_t pid = fork();
    if (pid == 0) _exit(become(user) && access(paths->root, R_OK | W_OK | X_OK) == 0 ? 0 : 1);
    int status = 1;
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    if (status == 0) return true;
    err_set(err, ERR_FORBIDDEN, "PostgreSQL runs as user %s, who cannot reach %s", user->name, paths->root);
    return err_hint(err, "choose a data folder that this user can reach, for example /var/lib/millrace");
}

bool pg_folders_make(const struct pg_paths *paths, const struct pg_user *user, struct err *err)
{
    return private_folder(paths->root, user, err) && private_folder(paths->socket, user, err) &&
           reachable(paths, user, err);
}

/* ---- the user ---- */

static bool lookup(const struct passwd *pw, struct pg_user *out)
{
    if (!pw || pw->pw_uid == 0) return false;
    *out = (struct pg_user){.drop = true, .uid = pw->pw_uid, .gid = pw->pw_gid, .n_groups = PG_GROUPS_MAX};
    strncpy(out->name, pw->pw_name, sizeof out->name - 1);
    if (getgrouplist(pw->pw_name, pw->pw_gid, out->groups, &out->n_groups) < 0) out->n_groups = 0;
    return true;
}

bool pg_user_choose(struct str wanted, const struct pg_paths *paths, struct pg_user *out, struct err *err)
{
    if (geteuid() != 0) {
        *out = (struct pg_user){.uid = geteuid(), .gid = getegid(), .name = "itself"};
        return true;
    }
    struct stat st; /* what was made by one user stays with it */
    if (wanted.n == 0 && stat(paths->root, &st) == 0 && lookup(getpwuid(st.st_uid), out)) return true;
    char name[64] = "";
    if (wanted.n > 0 && wanted.n < sizeof name) {
        memcpy(name, wanted.p, wanted.n);
        name[wanted.n] = 0;
        if (lookup(getpwnam(name), out)) return true;
        err_set(err, ERR_INVALID, "PostgreSQL cannot run as user %s", name);
        return err_hint(err, "name an existing user other than root");
    }
    static const char *const candidates[] = {"millrace", "postgres", "nobody"};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (lookup(getpwnam(candidates[i]), out)) return true;
    err_set(err, ERR_UNAVAILABLE, "PostgreSQL refuses to run as root, and there is no user to run it as");
    return err_hint(err, "make a system user named millrace");
}

/* ---- programs run as that user ---- */

bool pg_spawn(const struct pg_user *user, char *const argv[], int out_fd, bool bound, pid_t *pid, struct err *err)
{
    char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=/", NULL};
    FD_AUTO null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t parent = getpid(), child = fork();
    if (child < 0) return err_set(err, ERR_IO, "fork: %s", strerror(errno));
    if (child == 0) { /* only calls that are safe after fork in a threaded program */
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        for (int s = 1; s < NSIG; s++)
            signal(s, SIG_DFL);
        setsid();
        if (dup2(null, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0) _exit(126);
        syscall(SYS_close_range, 3u, ~0u, 0u);
        umask(077);
        if (chdir("/") != 0 || !become(user)) _exit(126);
        if (bound && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)) _exit(126);
        execve(argv[0], argv, env);
        _exit(127);
    }
    *pid = child;
    return true;
}
