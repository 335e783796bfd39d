/* One cluster for all test programs, one database for each test. */
#include "tests/support/db.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <embedded.h>

#include "engine/os/digest.h"
#include "engine/os/fs.h"
#include "engine/store/migrate.h"

static struct embedded_pg *cluster;
static char data_dir[256];

static bool failed(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s %s\n", what, err->message, err->hint);
    return false;
}

static void stop_cluster(void)
{
    embedded_stop(cluster);
    cluster = NULL;
}

struct embedded_pg *support_pg(void)
{
    if (cluster) return cluster;
    const char *wanted = getenv("MILLRACE_TEST_DATA");
    if (wanted && *wanted)
        snprintf(data_dir, sizeof data_dir, "%s", wanted);
    else
        snprintf(data_dir, sizeof data_dir, "/tmp/millrace-test-%u", (unsigned)getuid());
    struct err err;
    /* A crash of the machine may take test data along; a crash of PostgreSQL does not, without fsync either. */
    struct embedded_config config = {
        .data_dir = str_of(data_dir),
        .settings = STR("-c fsync=off -c autovacuum=off")}; /* its workers keep a database from being dropped */
    if (!fs_mkdirs(data_dir, 0711, &err) || !embedded_start(&config, &cluster, &err)) {
        failed("the tests' PostgreSQL", &err);
        return NULL;
    }
    atexit(stop_cluster);
    return cluster;
}

static bool on_main(const char *sql)
{
    struct db *db = NULL;
    struct err err;
    struct db_config config = {.dsn = embedded_dsn(cluster), .size = 1, .wait_ms = 20000};
    if (!db_open(&config, &db, &err)) return failed("db_open", &err);
    struct conn *c = NULL;
    bool ok = db_lease(db, &c, &err) && conn_do(c, sql, &err);
    if (!ok) failed(sql, &err);
    db_return(c);
    db_close(db);
    return ok;
}

/* What killed test programs left. */
static void sweep(struct arena *a)
{
    struct db *db = NULL;
    struct err err;
    struct db_config config = {.dsn = embedded_dsn(cluster), .size = 1, .wait_ms = 20000};
    if (!db_open(&config, &db, &err)) return;
    struct conn *c = NULL;
    RESULT_AUTO res = NULL;
    if (db_lease(db, &c, &err) &&
        conn_sql(c, "SELECT datname FROM pg_database WHERE datname LIKE 't\\_%'", NULL, &res, &err)) {
        for (int i = 0; i < PQntuples(res); i++) {
            char *name = arena_cstr(a, row_str(res, i, 0));
            int pid = atoi(name + 2);
            if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH) continue;
            struct str sql = arena_printf(a, "DROP DATABASE IF EXISTS \"%s\" WITH (FORCE)", name);
            if (!conn_do(c, sql.p, &err)) err_clear(&err);
        }
    }
    db_return(c);
    db_close(db);
}

static bool template_ready(struct arena *a, char name[64])
{
    struct digest_stream d;
    digest_begin(&d);
    for (const struct embedded *m = embedded_migrations; m->name; m++)
        digest_add(&d, m->bytes, m->n);
    char sum[DIGEST_TEXT];
    digest_end(&d, sum);
    snprintf(name, 64, "template_%.16s", sum + strlen("sha256:"));

    char mark[FS_PATH_MAX], lock[FS_PATH_MAX];
    struct err err;
    if (!fs_path(mark, &err, "%s/%s", data_dir, name) || !fs_path(lock, &err, "%s/template.lock", data_dir))
        return failed("template", &err);
    FD_AUTO fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) return false;
    if (access(mark, F_OK) == 0) return true;
    sweep(a);
    struct str drop = arena_printf(a, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name), dsn;
    if (!on_main(drop.p) || !embedded_database(cluster, str_of(name), a, &dsn, &err)) return false;
    struct db *db = NULL;
    struct db_config config = {.dsn = dsn, .size = 1, .wait_ms = 20000};
    bool ok = db_open(&config, &db, &err) && migrate_run(db, NULL, &err);
    if (!ok) failed("migrating the template", &err);
    db_close(db);
    return ok && fs_write(mark, STR("made\n"), 0600, false, &err);
}

static int open_as(struct support_db *t, bool migrated)
{
    static int count;
    char template[64] = "template0";
    memset(t, 0, sizeof *t);
    arena_init(&t->arena, 0);
    if (!support_pg() || (migrated && !template_ready(&t->arena, template))) return -1;
    snprintf(t->name, sizeof t->name, "t_%d_%d", (int)getpid(), count++);
    struct str sql = arena_printf(&t->arena, "CREATE DATABASE %s TEMPLATE %s", t->name, template);
    struct err err;
    if (!on_main(sql.p)) return -1;
    if (!embedded_database(cluster, str_of(t->name), &t->arena, &t->dsn, &err)) return failed("database", &err) - 1;
    struct db_config config = {.dsn = t->dsn, .size = 4, .wait_ms = 20000};
    if (!db_open(&config, &t->db, &err)) return failed("pool", &err) - 1;
    return 0;
}

int support_db_open(struct support_db *t)
{
    return open_as(t, true);
}

int support_db_empty(struct support_db *t)
{
    return open_as(t, false);
}

int support_db_close(struct support_db *t)
{
    db_close(t->db);
    t->db = NULL;
    if (cluster && t->name[0]) {
        struct str sql = arena_printf(&t->arena, "DROP DATABASE IF EXISTS %s WITH (FORCE)", t->name);
        if (!on_main(sql.p)) return -1;
    }
    arena_free(&t->arena);
    return 0;
}

int support_dir_make(char out[256])
{
    snprintf(out, 256, "/tmp/millrace-t-XXXXXX");
    return mkdtemp(out) && chmod(out, 0711) == 0 ? 0 : -1;
}

int support_dir_remove(const char *path)
{
    struct err err;
    return fs_remove_tree(path, &err) ? 0 : failed(path, &err) - 1;
}

bool support_sql(struct support_db *t, const char *sql)
{
    CONN_AUTO c = NULL;
    struct err err;
    if (db_lease(t->db, &c, &err) && conn_do(c, sql, &err)) return true;
    return failed(sql, &err);
}

int64_t support_number(struct support_db *t, const char *sql)
{
    CONN_AUTO c = NULL;
    RESULT_AUTO res = NULL;
    struct err err;
    if (!db_lease(t->db, &c, &err) || !conn_sql(c, sql, NULL, &res, &err)) {
        failed(sql, &err);
        return -1;
    }
    return PQntuples(res) > 0 ? row_int(res, 0, 0) : -1;
}
