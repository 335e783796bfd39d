/* The first start of the private PostgreSQL: initdb, passwords, a role that is not a superuser, its database; and the
 * proof, at every start, that who answers on the socket is that cluster. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/store/db.h"
#include "engine/store/embedded_int.h"

#define ROLE "millrace"
#define FRESH "data.new"

/* ---- passwords: two lines in a file that only the server's user can read ---- */

static bool secret_parse(struct str text, struct pg_secret *out)
{
    if (text.n < 2 * (PG_PASSWORD - 1) + 1) return false;
    snprintf(out->super, sizeof out->super, "%.*s", PG_PASSWORD - 1, text.p);
    snprintf(out->role, sizeof out->role, "%.*s", PG_PASSWORD - 1, text.p + PG_PASSWORD);
    return strspn(out->super, "0123456789abcdef") == PG_PASSWORD - 1 &&
           strspn(out->role, "0123456789abcdef") == PG_PASSWORD - 1;
}

bool pg_secret_load(const struct pg_paths *paths, bool cluster_exists, struct pg_secret *out, struct err *err)
{
    char path[FS_PATH_MAX];
    if (!fs_path(path, err, "%s/postgres.secret", paths->data)) return false;
    BUF_AUTO b;
    buf_init(&b, 4096);
    struct err why;
    if (fs_read(path, 1024, &b, &why)) {
        if (secret_parse(buf_view(&b), out)) return true;
        err_set(&why, ERR_INVALID, "it is damaged");
    } else if (why.code == ERR_NOT_FOUND && !cluster_exists) {
        unsigned char bytes[2][(PG_PASSWORD - 1) / 2];
        os_random(bytes, sizeof bytes);
        digest_hex(bytes[0], sizeof bytes[0], out->super);
        digest_hex(bytes[1], sizeof bytes[1], out->role);
        buf_reset(&b);
        buf_printf(&b, "%s\n%s\n", out->super, out->role);
        return fs_write(path, buf_view(&b), 0600, true, err);
    }
    err_set(err, ERR_UNAVAILABLE, "the passwords of the private database in %s cannot be read: %s", path, why.message);
    return err_hint(err, "bring the file back from a backup of the data folder");
}

/* ---- initdb ---- */

/* What a killed initdb left. Its own children may write there for another moment: then the next start clears it. */
static void clear_unfinished(const struct pg_paths *paths)
{
    char path[FS_PATH_MAX];
    struct err ignored;
    DIR *dir = opendir(paths->root);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (str_starts(str_of(e->d_name), FRESH) && fs_path(path, &ignored, "%s/%s", paths->root, e->d_name) &&
            !fs_remove_tree(path, &ignored))
            err_clear(&ignored);
    if (dir != NULL) closedir(dir);
}

bool pg_cluster_exists(const struct pg_paths *paths)
{
    clear_unfinished(paths);
    return access(paths->cluster, F_OK) == 0;
}

static bool run_and_wait(const struct pg_user *user, char *const argv[], const char *log, struct err *err)
{
    FD_AUTO out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) return err_set(err, ERR_IO, "%s: %s", log, strerror(errno));
    pid_t pid;
    if (!pg_spawn(user, argv, out, true, &pid, err)) return false;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    BUF_AUTO tail;
    buf_init(&tail, 4096);
    if (!fs_read_tail(log, 250, &tail, NULL)) buf_reset(&tail);
    struct str said = str_trim(buf_view(&tail));
    return err_set(err, ERR_UNAVAILABLE, "%s failed: %.*s", argv[0], STR_ARG(said));
}

/* Into a folder of a name that nobody had before. */
bool pg_cluster_init(const struct pg_paths *paths, const struct pg_user *user, const struct pg_secret *secret,
                     struct err *err)
{
    char fresh[FS_PATH_MAX], pw[FS_PATH_MAX], pw_option[FS_PATH_MAX], initdb[FS_PATH_MAX], log[FS_PATH_MAX];
    if (!fs_path(fresh, err, "%s/" FRESH "%016llx", paths->root, (unsigned long long)os_random_u64()) ||
        !fs_path(pw, err, "%s/password", paths->root) || !fs_path(pw_option, err, "--pwfile=%s", pw) ||
        !fs_path(initdb, err, "%s/initdb", paths->bin) || !fs_path(log, err, "%s/initdb.log", paths->root) ||
        !fs_write(pw, str_of(secret->super), 0600, false, err))
        return false;
    char *const argv[] = {initdb,
                          "--username=postgres",
                          "--auth=scram-sha-256",
                          "--encoding=UTF8",
                          "--locale=C",
                          "--data-checksums",
                          pw_option,
                          "--no-instructions",
                          "-D",
                          fresh,
                          NULL};
    bool ok = (!user->drop || chown(pw, user->uid, user->gid) == 0) && run_and_wait(user, argv, log, err);
    unlink(pw);
    if (!ok) return false;
    if (rename(fresh, paths->cluster) != 0) return err_set(err, ERR_IO, "%s: %s", paths->cluster, strerror(errno));
    FD_AUTO dir = open(paths->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir) != 0) return err_set(err, ERR_IO, "%s: %s", paths->root, strerror(errno));
    return true;
}

/* ---- role and database ---- */

bool pg_dsn(const struct pg_paths *paths, const char *user, const char *password, struct str database, struct buf *out)
{
    buf_c(out, "host='");
    for (const char *p = paths->socket; *p; p++) {
        if (*p == '\'' || *p == '\\') buf_char(out, '\\');
        buf_char(out, *p);
    }
    return buf_printf(
        out, "' port=5432 user=%s password=%s dbname=%.*s sslmode=disable gssencmode=disable connect_timeout=10", user,
        password, STR_ARG(database));
}

static void finish(PGconn **pg)
{
    PQfinish(*pg);
    *pg = NULL;
}
#define PG_AUTO __attribute__((cleanup(finish))) PGconn *

static PGconn *connect_as(const struct pg_paths *paths, const char *user, const char *password, struct str database)
{
    BUF_AUTO dsn;
    buf_init(&dsn, 0);
    return pg_dsn(paths, user, password, database, &dsn) ? PQconnectdb(dsn.p) : NULL;
}

static bool run(PGconn *pg, struct err *err, const char *sql)
{
    RESULT_AUTO res = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return true;
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    if (state && (strcmp(state, "42710") == 0 || strcmp(state, "42P04") == 0)) return true; /* it exists */
    return db_fail(err, pg, res);
}

static bool make_database(PGconn *pg, struct str name, struct err *err)
{
    BUF_AUTO create;
    buf_init(&create, 0);
    buf_printf(&create, "CREATE DATABASE \"%.*s\" OWNER " ROLE, STR_ARG(name));
    return run(pg, err, create.p);
}

static bool make_role(const struct pg_paths *paths, const struct pg_secret *secret, struct err *err)
{
    PG_AUTO pg = connect_as(paths, "postgres", secret->super, STR("postgres"));
    if (PQstatus(pg) != CONNECTION_OK) return db_fail(err, pg, NULL);
    BUF_AUTO alter;
    buf_init(&alter, 0);
    buf_printf(&alter, "ALTER ROLE " ROLE " LOGIN NOSUPERUSER CREATEDB PASSWORD '%s'", secret->role);
    return run(pg, err, "CREATE ROLE " ROLE) && run(pg, err, alter.p) && make_database(pg, STR(ROLE), err);
}

/* The first eight bytes of pg_control. */
static bool cluster_identity(const struct pg_paths *paths, uint64_t *out, struct err *err)
{
    char path[FS_PATH_MAX];
    if (!fs_path(path, err, "%s/global/pg_control", paths->cluster)) return false;
    BUF_AUTO b;
    buf_init(&b, 0);
    if (!fs_read(path, 65536, &b, err)) return false;
    if (b.n < sizeof *out) return err_set(err, ERR_IO, "%s is damaged", path);
    memcpy(out, b.p, sizeof *out);
    return true;
}

static bool same_cluster(PGconn *pg, const struct pg_paths *paths, struct err *err)
{
    uint64_t ours;
    if (!cluster_identity(paths, &ours, err)) return false;
    RESULT_AUTO res = PQexec(pg, "SELECT system_identifier FROM pg_control_system()");
    if (PQresultStatus(res) != PGRES_TUPLES_OK) return db_fail(err, pg, res);
    if (strtoull(PQgetvalue(res, 0, 0), NULL, 10) == ours) return true;
    err_set(err, ERR_CONFLICT, "another PostgreSQL answers on %s", paths->socket);
    return err_hint(err, "stop it, and start again");
}

bool pg_cluster_ready(const struct pg_paths *paths, const struct pg_secret *secret, struct err *err)
{
    PG_AUTO pg = connect_as(paths, ROLE, secret->role, STR(ROLE));
    if (PQstatus(pg) == CONNECTION_OK) return same_cluster(pg, paths, err);
    if (!make_role(paths, secret, err)) return false;
    PG_AUTO again = connect_as(paths, ROLE, secret->role, STR(ROLE));
    if (PQstatus(again) != CONNECTION_OK) return db_fail(err, again, NULL);
    return same_cluster(again, paths, err);
}

bool pg_database_make(const struct pg_paths *paths, const struct pg_secret *secret, struct str name, struct err *err)
{
    if (name.n == 0 || name.n > 63 || strspn(name.p, "abcdefghijklmnopqrstuvwxyz0123456789_") < name.n)
        return err_set(err, ERR_INVALID, "'%.*s' is no name of a database", STR_ARG(name));
    PG_AUTO pg = connect_as(paths, ROLE, secret->role, STR(ROLE));
    if (PQstatus(pg) != CONNECTION_OK) return db_fail(err, pg, NULL);
    return make_database(pg, name, err);
}
