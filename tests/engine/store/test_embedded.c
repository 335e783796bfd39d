/* The private PostgreSQL: made, adopted, started again after a kill, shared, stopped; as root and not; under a long
 * path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/os/fs.h"
#include "tests/support/db.h"

static char dir[256];
static struct err err;
static int came_back = -1; /* counts "PostgreSQL is back" */

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static void report(void *ctx, const char *what, const struct err *e)
{
    (void)ctx;
    uint64_t one = 1;
    if (e) fprintf(stderr, "%s: %s\n", what, e->message);
    if (strcmp(what, "PostgreSQL is back") == 0 && write(came_back, &one, sizeof one) < 0) abort();
}

static int setup(void **state)
{
    (void)state;
    came_back = eventfd(0, EFD_CLOEXEC);
    return support_dir_make(dir);
}

static int teardown(void **state)
{
    (void)state;
    close(came_back);
    return support_dir_remove(dir);
}

static struct embedded_config config(void)
{
    return (struct embedded_config){.data_dir = str_of(dir), .report = report};
}

static bool says(struct str dsn, const char *sql, const char *want)
{
    struct db *db = NULL;
    struct db_config pool = {.dsn = dsn, .size = 1, .wait_ms = 20000};
    ok(db_open(&pool, &db, &err));
    struct conn *c = NULL;
    PGresult *res = NULL;
    ok(db_lease(db, &c, &err) && conn_sql(c, sql, NULL, &res, &err));
    bool same = PQntuples(res) == 0 || str_is(row_str(res, 0, 0), want);
    if (!same) print_message("%s: '%.*s'\n", sql, STR_ARG(row_str(res, 0, 0)));
    PQclear(res);
    db_return(c);
    db_close(db);
    return same;
}

static bool gone(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return true;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool ended = poll(&p, 1, 30000) == 1;
    close(fd);
    return ended;
}

static void it_is_made_and_safe(void **state)
{
    (void)state;
    struct embedded_pg *pg = NULL;
    struct embedded_config cfg = config();
    ok(embedded_start(&cfg, &pg, &err));
    struct str dsn = embedded_dsn(pg);
    static const char *const settings[][2] = {
        {"SELECT current_setting('fsync')", "on"},
        {"SELECT current_setting('full_page_writes')", "on"},
        {"SELECT current_setting('synchronous_commit')", "on"},
        {"SELECT current_setting('data_checksums')", "on"},
        {"SELECT current_setting('listen_addresses')", ""},
        {"SELECT current_setting('unix_socket_permissions')", "0700"},
        {"SELECT current_user::text || (SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user)",
         "millracefalse"},
        {"SELECT datcollate::text || pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()",
         "CUTF8"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (!says(dsn, settings[i][0], settings[i][1])) fail_msg("%s", settings[i][0]);
    struct stat st;
    char path[300];
    snprintf(path, sizeof path, "%s/postgres", dir);
    assert_true(stat(path, &st) == 0 && (st.st_mode & 077) == 0 && st.st_uid != 0);
    snprintf(path, sizeof path, "%s/postgres.secret", dir);
    assert_true(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    pid_t pid = embedded_pid(pg);
    embedded_stop(pg);
    assert_true(gone(pid));
}

static void a_killed_one_is_started_again(void **state)
{
    (void)state;
    struct embedded_pg *pg = NULL;
    struct embedded_config cfg = config();
    ok(embedded_start(&cfg, &pg, &err));
    assert_true(says(embedded_dsn(pg), "CREATE TABLE kept AS SELECT 'yes'::text AS v", ""));
    for (int i = 0; i < 2; i++) {
        pid_t pid = embedded_pid(pg);
        uint64_t n;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(read(came_back, &n, sizeof n), sizeof n);
        assert_int_not_equal(embedded_pid(pg), pid);
        assert_true(says(embedded_dsn(pg), "SELECT v FROM kept", "yes"));
    }
    embedded_stop(pg);
}

/* Another server on the same data folder: starts, tells its postmaster's pid, and is killed. */
static pid_t server_that_dies(void)
{
    int to[2], from[2];
    pid_t postmaster = 0;
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid_t child = fork();
    if (child == 0) {
        struct embedded_pg *pg = NULL;
        struct embedded_config cfg = config();
        char c;
        pid_t pid = embedded_start(&cfg, &pg, &err) ? embedded_pid(pg) : 0;
        if (write(from[1], &pid, sizeof pid) != sizeof pid) _exit(1);
        if (read(to[0], &c, 1) >= 0) pause();
        _exit(1);
    }
    assert_int_equal(read(from[0], &postmaster, sizeof postmaster), sizeof postmaster);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(to[0]);
    close(to[1]);
    close(from[0]);
    close(from[1]);
    assert_true(postmaster > 0);
    return postmaster;
}

static void it_outlives_its_server_and_is_adopted(void **state)
{
    (void)state;
    pid_t left = server_that_dies();
    assert_int_equal(kill(left, 0), 0);
    struct embedded_pg *one = NULL, *two = NULL;
    struct embedded_config cfg = config();
    ok(embedded_start(&cfg, &one, &err));
    assert_int_equal(embedded_pid(one), left);
    ok(embedded_start(&cfg, &two, &err)); /* shared */
    assert_int_equal(embedded_pid(two), left);
    embedded_stop(one);
    assert_int_equal(kill(left, 0), 0);
    assert_true(says(embedded_dsn(two), "SELECT 'here'::text", "here"));
    embedded_stop(two); /* the last one */
    assert_true(gone(left));
}

static void a_stale_pid_is_no_postmaster(void **state)
{
    (void)state;
    struct embedded_pg *pg = NULL;
    struct embedded_config cfg = config();
    ok(embedded_start(&cfg, &pg, &err));
    embedded_stop(pg);
    char path[300], text[800];
    snprintf(path, sizeof path, "%s/postgres/data/postmaster.pid", dir);
    snprintf(text, sizeof text, "%d\n%s/postgres/data\n1\n5432\n%s/postgres/run\n\n 1 1\nready   \n", (int)getpid(),
             dir, dir);
    ok(fs_write(path, str_of(text), 0644, false, &err)); /* a pid that something else has now: us */
    ok(embedded_start(&cfg, &pg, &err));
    assert_int_not_equal(embedded_pid(pg), getpid());
    embedded_stop(pg);
}

/* What stands between the quotes behind `key` in a connection string. */
static void dsn_part(struct str dsn, const char *key, char end, char out[FS_PATH_MAX])
{
    size_t from, n;
    assert_true(str_find(dsn, str_of(key), &from));
    struct str rest = str_sub(dsn, from + strlen(key), dsn.n);
    for (n = 0; n < rest.n && rest.p[n] != end; n++)
        ;
    ok(fs_path(out, &err, "%.*s", (int)n, rest.p));
}

/* Somebody else's PostgreSQL on the socket is not taken for ours, not even when it takes our password. */
static void another_cluster_is_not_adopted(void **state)
{
    (void)state;
    struct embedded_pg *pg = NULL, *second = NULL;
    struct embedded_config cfg = config();
    char path[FS_PATH_MAX], socket[FS_PATH_MAX], password[FS_PATH_MAX];
    ok(embedded_start(&cfg, &pg, &err));
    struct str others = embedded_dsn(support_pg());
    dsn_part(others, "host='", '\'', socket);
    dsn_part(others, "password=", ' ', password);
    struct arena a;
    arena_init(&a, 0);
    struct str secret = arena_printf(&a, "%s\n%s\n", password, password);
    struct str note =
        arena_printf(&a, "%d\n%s/postgres/data\n1\n5432\n%s\n\n 1 1\nready   \n", (int)embedded_pid(pg), dir, socket);
    ok(fs_path(path, &err, "%s/postgres.secret", dir) && fs_write(path, secret, 0600, false, &err));
    ok(fs_path(path, &err, "%s/postgres/data/postmaster.pid", dir) && fs_write(path, note, 0600, false, &err));
    arena_free(&a);
    bool adopted = embedded_start(&cfg, &second, &err);
    if (adopted) embedded_stop(second);
    embedded_stop(pg);
    assert_false(adopted);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.message, "another PostgreSQL answers"));
}

/* A postmaster that was killed, and is not gone yet: it lives in its folder, and answers no more. */
static void a_dying_one_is_not_adopted(void **state)
{
    (void)state;
    struct embedded_pg *pg = NULL;
    struct embedded_config cfg = config();
    ok(embedded_start(&cfg, &pg, &err));
    embedded_stop(pg);
    char path[400], cluster[300], text[1000];
    snprintf(cluster, sizeof cluster, "%s/postgres/data", dir);
    pid_t dying = fork();
    if (dying == 0) _exit(chdir(cluster) == 0 ? (int)sleep(2) : 1);
    snprintf(path, sizeof path, "%s/postmaster.pid", cluster);
    snprintf(text, sizeof text, "%d\n%s\n1\n5432\n%s/postgres/run\n\n 1 1\nready   \n", (int)dying, cluster, dir);
    usleep(200000);
    ok(fs_write(path, str_of(text), 0644, false, &err));
    ok(embedded_start(&cfg, &pg, &err));
    assert_int_not_equal(embedded_pid(pg), dying);
    embedded_stop(pg);
    waitpid(dying, NULL, 0);
}

/* The server was killed, its folder moved: the postmaster moved with it, but its socket did not. */
static void a_moved_folder_is_taken_up(void **state)
{
    (void)state;
    pid_t left = server_that_dies();
    struct embedded_pg *pg = NULL;
    char to[sizeof dir + 10];
    snprintf(to, sizeof to, "%s-moved", dir);
    assert_int_equal(rename(dir, to), 0);
    strcat(dir, "-moved");
    struct embedded_config cfg = config();
    ok(embedded_start(&cfg, &pg, &err));
    assert_int_not_equal(embedded_pid(pg), left);
    assert_true(gone(left));
    assert_true(says(embedded_dsn(pg), "SELECT 'here'::text", "here"));
    embedded_stop(pg);
}

static void long_paths_and_odd_names_work(void **state)
{
    (void)state;
    char deep[600];
    struct embedded_pg *pg = NULL;
    struct embedded_config cfg = config();
    snprintf(deep, sizeof deep,
             "%s/it's a folder/with a long name that no socket can have within its own path of a hundred bytes", dir);
    ok(fs_mkdirs(deep, 0711, &err));
    cfg.data_dir = str_of(deep);
    ok(embedded_start(&cfg, &pg, &err));
    assert_true(says(embedded_dsn(pg), "SELECT 'here'::text", "here"));
    embedded_stop(pg);
}

static void what_cannot_work_says_why(void **state)
{
    (void)state;
    struct embedded_pg *pg = NULL;
    struct embedded_config cfg = config();
    cfg.bin_dir = STR("/nowhere");
    assert_false(embedded_start(&cfg, &pg, &err));
    assert_int_equal(err.code, ERR_INVALID);
    cfg = config();
    cfg.data_dir = STR("/nowhere/at/all");
    assert_false(embedded_start(&cfg, &pg, &err));
    cfg = config();
    cfg.settings = STR("-c no_such_setting=1");
    assert_false(embedded_start(&cfg, &pg, &err));
    assert_non_null(strstr(err.message, "no_such_setting"));
    if (geteuid() != 0) return;
    cfg = config();
    cfg.user = STR("nobody-of-that-name");
    assert_false(embedded_start(&cfg, &pg, &err));
    char closed[300];
    snprintf(closed, sizeof closed, "%s/closed", dir);
    ok(fs_mkdirs(closed, 0700, &err));
    cfg = config();
    cfg.data_dir = str_of(closed);
    assert_false(embedded_start(&cfg, &pg, &err));
    assert_int_equal(err.code, ERR_FORBIDDEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_made_and_safe, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_one_is_started_again, setup, teardown),
        cmocka_unit_test_setup_teardown(it_outlives_its_server_and_is_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stale_pid_is_no_postmaster, setup, teardown),
        cmocka_unit_test_setup_teardown(another_cluster_is_not_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dying_one_is_not_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_moved_folder_is_taken_up, setup, teardown),
        cmocka_unit_test_setup_teardown(long_paths_and_odd_names_work, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_work_says_why, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
