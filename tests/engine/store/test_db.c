/* The pool against a real PostgreSQL: values there and back, failures in our words, transactions, lost connections;
 * every named query fits the schema; migrations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <embedded.h>
#include <stdio.h>
#include <string.h>

#include "engine/store/migrate.h"
#include "engine/store/turns.h"
#include "tests/support/db.h"

static struct support_db t;

static int setup(void **state)
{
    (void)state;
    return support_db_open(&t);
}

static int setup_empty(void **state)
{
    (void)state;
    return support_db_empty(&t);
}

static int teardown(void **state)
{
    (void)state;
    return support_db_close(&t);
}

static void ok(bool good, const struct err *err)
{
    if (!good) fail_msg("%s (%s) %s", err->message, err_name(err->code), err->hint);
}

static void values_travel(void **state)
{
    (void)state;
    struct conn *c = NULL;
    struct err err;
    ok(db_lease(t.db, &c, &err), &err);
    struct params p;
    params_init(&p, &t.arena);
    params_int(&p, INT64_MIN);
    params_str(&p, STR("it's \"quoted\" ü"));
    params_time(&p, INT64_C(1714566896123456));
    params_bytes(&p, "a\0b", 3);
    params_bool(&p, true);
    params_double(&p, 0.1);
    params_str(&p, STR("{1,-2,3}"));
    params_strs(&p, (struct str[]){STR("a\"b\\"), {NULL, 0}, STR("")}, 3);
    params_str(&p, STR("{\"k\":[1,2]}"));
    params_null(&p);
    params_id(&p, 0);
    PGresult *res = NULL;
    ok(conn_sql(
           c,
           "SELECT $1::bigint, $2::text, $3::timestamptz, $4::bytea, $5::bool, $6::float8 = 0.1, ($7::int[])[2], "
           "($8::text[])[1], ($8::text[])[2], length(($8::text[])[3]), $9::jsonb, $10::text, $11::bigint, 7::smallint",
           &p, &res, &err),
       &err);
    assert_true(row_int(res, 0, 0) == INT64_MIN);
    assert_true(str_is(row_str(res, 0, 1), "it's \"quoted\" ü"));
    assert_true(row_time(res, 0, 2) == INT64_C(1714566896123456));
    assert_int_equal(row_str(res, 0, 3).n, 3);
    assert_true(row_bool(res, 0, 4));
    assert_true(row_bool(res, 0, 5));
    assert_int_equal(row_int(res, 0, 6), -2);
    assert_true(str_is(row_str(res, 0, 7), "a\"b\\"));
    assert_true(row_null(res, 0, 8));
    assert_int_equal(row_int(res, 0, 9), 0);
    assert_true(str_is(row_str(res, 0, 10), "{\"k\": [1, 2]}"));
    assert_true(row_null(res, 0, 11) && row_null(res, 0, 12));
    assert_int_equal(row_int_or(res, 0, 12, -5), -5);
    assert_int_equal(row_int(res, 0, 13), 7);
    PQclear(res);
    db_return(c);
}

static void failures_speak(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sql;
        enum err_code code;
    } rows[] = {
        {"duplicate", "INSERT INTO projects (name, created_by) VALUES ('default', 'x')", ERR_CONFLICT},
        {"foreign key", "INSERT INTO blobs (project_id, digest, size, created_by) VALUES (99, 'd', 1, 'x')",
         ERR_CONFLICT},
        {"timeout", "SET LOCAL statement_timeout = 10; SELECT pg_sleep(5)", ERR_LIMIT},
        {"bad number", "SELECT 'x'::int", ERR_INVALID},
        {"bad JSON", "SELECT '\"\\u0000\"'::jsonb", ERR_INVALID},
        {"deadlock", "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", ERR_UNAVAILABLE},
        {"disk full", "DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", ERR_SPACE},
        {"no table", "SELECT * FROM nothing", ERR_INTERNAL},
        {"killed", "SELECT pg_terminate_backend(pg_backend_pid())", ERR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conn *c = NULL;
        struct err err;
        ok(db_lease(t.db, &c, &err), &err); /* after "killed" a new connection is made */
        bool done = conn_do(c, rows[i].sql, &err);
        db_return(c);
        if (done || err.code != rows[i].code)
            fail_msg("%s: got %s: %s", rows[i].name, done ? "success" : err_name(err.code), err.message);
    }
    struct params p;
    params_init(&p, &t.arena);
    params_str(&p, (struct str){"a\0b", 3});
    CONN_AUTO c = NULL;
    PGresult *res = NULL;
    struct err err;
    ok(db_lease(t.db, &c, &err), &err);
    assert_false(conn_sql(c, "SELECT $1::text", &p, &res, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static void transactions_nest(void **state)
{
    (void)state;
    struct conn *c = NULL;
    struct err err;
    ok(db_lease(t.db, &c, &err), &err);
    const char *insert = "INSERT INTO settings VALUES ('k', 'v')";
    ok(conn_begin(c, &err) && conn_begin(c, &err) && conn_do(c, insert, &err) && conn_commit(c, &err), &err);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM settings"), 0);
    conn_rollback(c);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM settings"), 0);
    ok(conn_begin(c, &err) && conn_begin(c, &err), &err);
    conn_rollback(c);
    assert_false(conn_do(c, insert, &err)); /* must not slip out of the dead transaction */
    assert_false(conn_commit(c, &err));
    ok(conn_begin(c, &err) && conn_do(c, insert, &err) && conn_commit(c, &err), &err);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM settings"), 1);
    ok(conn_begin(c, &err) && conn_do(c, "DELETE FROM settings", &err), &err);
    db_return(c); /* not committed */
    assert_int_equal(support_number(&t, "SELECT count(*) FROM settings"), 1);
}

/* Even from within a transaction that has failed: else whoever is next would wait for nobody. */
static void turns_end_with_the_lease(void **state)
{
    (void)state;
    struct conn *first = NULL, *second = NULL;
    struct err err;
    const char *taken = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1298754670 AND "
                        "database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    ok(db_lease(t.db, &first, &err) && db_lease(t.db, &second, &err), &err);
    ok(turn_take(first, STR("k"), &err) && conn_do(second, "SET lock_timeout = '50ms'", &err), &err);
    assert_false(turn_take(second, STR("k"), &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    ok(turn_take(second, STR("other"), &err), &err);
    assert_int_equal(support_number(&t, taken), 2);
    turn_end(second);
    conn_drop(second); /* for its lock_timeout */
    db_return(second);
    ok(conn_begin(first, &err), &err);
    assert_false(conn_do(first, "SELECT 1/0", &err));
    turn_end(first);
    db_return(first);
    while (support_number(&t, taken) > 0) { /* the session ends a moment later */
    }
}

static bool twice(struct conn *c, void *ctx, struct err *err)
{
    int *calls = ctx;
    if ((*calls)++ == 0) return conn_do(c, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", err);
    return conn_do(c, "INSERT INTO settings VALUES ('once', 'v')", err);
}

static void conflicts_are_repeated(void **state)
{
    (void)state;
    struct conn *c = NULL;
    struct err err;
    int calls = 0;
    ok(db_lease(t.db, &c, &err), &err);
    ok(conn_tx(c, twice, &calls, &err), &err);
    assert_int_equal(calls, 2);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM settings"), 1);
    db_return(c);
}

static void the_pool_is_bounded(void **state)
{
    (void)state;
    struct db *db = NULL;
    struct err err;
    struct db_config config = {.dsn = t.dsn, .size = 2, .wait_ms = 50};
    ok(db_open(&config, &db, &err), &err);
    struct conn *a = NULL, *b = NULL, *c = NULL;
    ok(db_lease(db, &a, &err) && db_lease(db, &b, &err), &err);
    assert_false(db_lease(db, &c, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    db_return(a);
    ok(db_lease(db, &c, &err), &err);
    uint32_t open, leased;
    db_stats(db, &open, &leased, NULL);
    assert_int_equal(open, 2);
    assert_int_equal(leased, 2);
    db_return(b);
    db_return(c);
    db_close(db);
}

static void lost_connections_are_replaced(void **state)
{
    (void)state;
    struct conn *c = NULL;
    struct err err;
    ok(db_lease(t.db, &c, &err), &err);
    db_return(c);
    struct support_db other = t;
    struct db_config config = {.dsn = t.dsn, .size = 1};
    ok(db_open(&config, &other.db, &err), &err);
    assert_true(support_sql(
        &other, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"));
    db_close(other.db);
    ok(db_ping(t.db, &err), &err); /* the dead one is noticed before it is used */
}

static void a_database_that_is_away_says_so(void **state)
{
    (void)state;
    struct db *db = NULL;
    struct err err;
    struct db_config config = {.dsn = STR("host=/nowhere dbname=x password=secret-word"), .wait_ms = 100};
    ok(db_open(&config, &db, &err), &err);
    assert_false(db_ping(db, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    db_close(db);
    config.dsn = STR("postgresql://u:secret-word@[h/");
    assert_false(db_open(&config, &db, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(strstr(err.message, "secret-word"));
}

/* What it takes to be back is said by what is wrong. */
static void a_wrong_url_is_told_from_one_that_is_away(void **state)
{
    (void)state;
    static const struct {
        const char *other, *hint;
    } rows[] = {
        {"password=wrong", "check user, password and database in --database-url"},
        {"user=stranger", "check user, password and database in --database-url"},
        {"dbname=nowhere", "check user, password and database in --database-url"},
        {"host=no-such-host.invalid", "check the host's name in --database-url"},
        {"host=127.0.0.1 port=1", "check that PostgreSQL runs"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct db *db = NULL;
        struct err err;
        char dsn[1000];
        snprintf(dsn, sizeof dsn, "%.*s %s", STR_ARG(t.dsn), rows[i].other);
        const struct db_config config = {.dsn = str_of(dsn), .wait_ms = 100};
        ok(db_open(&config, &db, &err), &err);
        assert_false(db_ping(db, &err));
        if (strstr(err.hint, rows[i].hint) == NULL) fail_msg("%s: %s; %s", rows[i].other, err.message, err.hint);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        db_close(db);
    }
}

/* A host's name may be several addresses, each with a line of its own: the one that the hint is of is shown. */
static void of_several_lines_the_one_is_said_that_tells_what_to_do(void **state)
{
    (void)state;
#define AT(number) "connection to server at \"127.0.0." number "\", port 5432 failed: "
#define REFUSED(number) AT(number) "Connection refused\n\tIs the server running on that host and accepting TCP/IP?\n"
    static const struct {
        const char *text, *says, *hint;
    } rows[] = {
        {REFUSED("2") REFUSED("1"), AT("2") "Connection refused", "check that PostgreSQL runs"},
        {REFUSED("2") AT("1") "FATAL:  password authentication failed for user \"x\"\n",
         AT("1") "FATAL:  password authentication failed for user \"x\"", "check user, password and database in"},
        {AT("2") "FATAL:  database \"x\" does not exist\n" REFUSED("1"),
         AT("2") "FATAL:  database \"x\" does not exist", "check user, password and database in"},
        {AT("1") "server does not support SSL, but SSL was required\n",
         AT("1") "server does not support SSL, but SSL was required", "check sslmode in"},
        {AT("1") "SSL error: certificate verify failed\n", AT("1") "SSL error: certificate verify failed",
         "check sslmode and sslrootcert in"},
        {AT("1") "root certificate file \"/x\" does not exist\nEither provide the file or change sslmode.\n",
         AT("1") "root certificate file \"/x\" does not exist", "check sslmode and sslrootcert in"},
        {AT("1") "server certificate for \"a\" does not match host name \"b\"\n",
         AT("1") "server certificate for \"a\" does not match host name \"b\"", "check sslmode and the host's name in"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err;
        assert_false(db_away(&err, rows[i].text));
        const char *line = strstr(err.message, "reached: ");
        if (line == NULL || strcmp(line + strlen("reached: "), rows[i].says) != 0 ||
            strncmp(err.hint, rows[i].hint, strlen(rows[i].hint)) != 0)
            fail_msg("row %zu: %s; %s", i, err.message, err.hint);
    }
}

static void every_query_fits_the_schema(void **state)
{
    (void)state;
    struct conn *c = NULL;
    struct err err;
    ok(db_lease(t.db, &c, &err), &err);
    int bad = 0;
    for (int q = 0; q < Q_COUNT; q++) {
        PGresult *res = PQprepare(conn_pg(c), queries[q].name, queries[q].text, 0, NULL);
        if (PQresultStatus(res) != PGRES_COMMAND_OK) {
            print_message("%s: %s", queries[q].name, PQresultErrorMessage(res));
            bad++;
        }
        PQclear(res);
    }
    db_return(c);
    assert_int_equal(bad, 0);
}

static const struct embedded first[] = {{"0001_a.sql", (const unsigned char *)"CREATE TABLE a (i int); SELECT 1;", 33},
                                        {NULL, NULL, 0}};
static const struct embedded changed[] = {{"0001_a.sql", (const unsigned char *)"CREATE TABLE a (i text);", 24},
                                          {NULL, NULL, 0}};
static const struct embedded second[] = {{"0001_a.sql", (const unsigned char *)"CREATE TABLE a (i int); SELECT 1;", 33},
                                         {"0002_b.sql", (const unsigned char *)"CREATE TABLE b (i int);", 23},
                                         {NULL, NULL, 0}};
static const struct embedded broken[] = {{"0001_a.sql", (const unsigned char *)"CREATE TABLE a (i int); SELECT 1;", 33},
                                         {"0002_b.sql", (const unsigned char *)"CREATE TABLE c (i int); nonsense;", 33},
                                         {NULL, NULL, 0}};

static void migrations_apply_once(void **state)
{
    (void)state;
    struct err err;
    uint32_t n = 9;
    ok(migrate_list(t.db, first, &n, &err), &err);
    assert_int_equal(n, 1);
    assert_false(migrate_list(t.db, broken, &n, &err));
    assert_string_equal(err.path, "migrations/0002_b.sql");
    assert_int_equal(support_number(&t, "SELECT count(*) FROM pg_class WHERE relname = 'c'"), 0); /* all or nothing */
    ok(migrate_list(t.db, second, &n, &err), &err);
    assert_int_equal(n, 1);
    ok(migrate_list(t.db, second, &n, &err), &err);
    assert_int_equal(n, 0);
    assert_false(migrate_list(t.db, first, &n, &err)); /* the database is newer */
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.message, "newer"));
    assert_true(support_sql(&t, "DELETE FROM schema_migrations WHERE version = 2"));
    assert_false(migrate_list(t.db, changed, &n, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
}

static void our_migrations_apply(void **state)
{
    (void)state;
    struct err err;
    uint32_t n = 0;
    ok(migrate_run(t.db, &n, &err), &err);
    assert_int_equal(n, migrate_latest());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_travel, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_speak, setup, teardown),
        cmocka_unit_test_setup_teardown(transactions_nest, setup, teardown),
        cmocka_unit_test_setup_teardown(turns_end_with_the_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(conflicts_are_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(the_pool_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_connections_are_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_database_that_is_away_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_url_is_told_from_one_that_is_away, setup, teardown),
        cmocka_unit_test(of_several_lines_the_one_is_said_that_tells_what_to_do),
        cmocka_unit_test_setup_teardown(every_query_fits_the_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(migrations_apply_once, setup_empty, teardown),
        cmocka_unit_test_setup_teardown(our_migrations_apply, setup_empty, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
