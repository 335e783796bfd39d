/* What goes with time, and what must not; a backup that comes back whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/blob/disk.h"
#include "engine/store/artifacts.h"
#include "engine/store/backup.h"
#include "engine/store/retention.h"
#include "tests/support/db.h"

static struct support_db t, other;
static struct err err;
static char dir[256];
static char log_text[2000];

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static int setup(void **state)
{
    (void)state;
    log_text[0] = 0;
    return support_db_open(&t) == 0 && support_dir_make(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return support_db_close(&t) == 0 && support_dir_remove(dir) == 0 ? 0 : -1;
}

static bool note_blob(void *ctx, struct str digest, struct err *e)
{
    (void)ctx;
    (void)e;
    snprintf(log_text + strlen(log_text), 200, "blob %.*s ", STR_ARG(digest));
    return true;
}

static bool note_upload(void *ctx, struct str id, struct err *e)
{
    (void)ctx;
    (void)e;
    snprintf(log_text + strlen(log_text), 200, "upload %.*s ", STR_ARG(id));
    return true;
}

static bool note_run(void *ctx, int64_t id, struct err *e)
{
    (void)ctx;
    (void)e;
    snprintf(log_text + strlen(log_text), 200, "run %lld ", (long long)id);
    return true;
}

static struct retention rules(void)
{
    return (struct retention){.runs_us = INT64_C(86400000000) * 30,
                              .batch = 1, /* every loop goes round */
                              .delete_blob = note_blob,
                              .delete_upload = note_upload,
                              .delete_run = note_run};
}

static void only_the_old_and_unused_goes(void **state)
{
    (void)state;
    assert_true(support_sql(
        &t,
        "INSERT INTO projects (name, created_by) VALUES ('two', 'x');"
        "INSERT INTO plans (project_id, digest, source, plan, created_by, created_at) VALUES (1, 'used', '', '', 'x', "
        "'2020-01-01'), (1, 'unused', '', '', 'x', '2020-01-01'), (1, 'young', '', '', 'x', now());"
        "INSERT INTO runs (project_id, pipeline, name, plan_id, state, created_by, ended_at, bundle_digest) VALUES"
        " (1, 'p', 'old', 1, 5, 'x', '2020-01-01', 'b-of-old'), (1, 'p', 'active', 1, 0, 'x', NULL, 'b-of-active'), "
        "(1, 'p', 'new', 1, 6, 'x', now(), NULL);"
        "INSERT INTO blobs (project_id, digest, size, created_by, created_at) SELECT 1, d, 10, 'x', '2020-01-01' FROM "
        "unnest('{orphan,of-artifact,of-use,of-upload,uploaded,b-of-old,b-of-active,shared,of-old-artifact}'::text[]) "
        "d;"
        "INSERT INTO blobs (project_id, digest, size, created_by) VALUES (1, 'young', 10, 'x'), (2, 'shared', 10, 'x');"
        "INSERT INTO bundles (project_id, digest, size, entries, created_by, created_at) VALUES (1, 'b-of-old', 10, 1, "
        "'x', '2020-01-01'), (1, 'b-of-active', 10, 1, 'x', '2020-01-01'), (1, 'b-of-task', 10, 1, 'x', '2020-01-01');"
        "INSERT INTO tasks (run_id, task, project_id, created_by, frame, path, state, attempt, bundle_digest) VALUES "
        "(3, 0, 1, 'x', 0, 'a', 7, 1, 'b-of-task');"
        "INSERT INTO artifacts (project_id, created_by, run_id, name, type, digest, size) VALUES (1, 'x', 3, 'a', 'm', "
        "'of-artifact', 10), (1, 'x', 1, 'a', 'm', 'of-old-artifact', 10), (1, 'x', NULL, 'a', 'm', 'uploaded', 10);"
        "INSERT INTO artifact_uses VALUES (3, 0, 1, 'i', 1, 'x', 'of-use');"
        "INSERT INTO uploads (id, project_id, created_by, digest, size) VALUES ('u-new', 1, 'x', 'of-upload', 10);"
        "INSERT INTO uploads (id, project_id, created_by, digest, size, touched_at) VALUES ('u-old', 1, 'x', 'z', 10, "
        "'2020-01-01');"
        "INSERT INTO cache (project_id, key, created_by, run_id, task, attempt, outputs, created_at, expires_at) "
        "VALUES (1, 'gone', 'x', 3, 0, 1, '{}', now(), '2020-01-01'), (1, 'kept', 'x', 3, 0, 1, '{}', now(), NULL);"
        "INSERT INTO idempotency_keys VALUES (1, 'old', 'x', 'h', 200, NULL, '', '2020-01-01'), (1, 'new', 'x', 'h', "
        "200, NULL, '', now())"));
    struct retention r = rules();
    struct retention_result done;
    ok(retention_round(t.db, &r, &done, &err));
    assert_string_equal(log_text, "run 1 upload u-old blob b-of-old blob of-old-artifact blob orphan ");
    assert_int_equal(done.runs, 1);
    assert_int_equal(done.blobs, 4); /* the row of "shared" in project 1 too, but not its file */
    assert_int_equal(done.blob_bytes, 30);
    assert_int_equal(done.answers, 1);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM plans"), 2);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM cache"), 1);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM runs"), 2);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM blobs WHERE project_id = 1"), 6);
    log_text[0] = 0;
    ok(retention_round(t.db, &r, &done, &err));
    assert_string_equal(log_text, "");

    CONN_AUTO c = NULL;
    struct str digests[] = {STR("young"), STR("nobody's"), STR("shared")}, *unknown = NULL;
    size_t n = 0;
    ok(db_lease(t.db, &c, &err) && retention_unknown(c, digests, 3, &t.arena, &unknown, &n, &err));
    assert_true(n == 1 && str_is(unknown[0], "nobody's"));
}

static void a_backup_holds_rounds_off(void **state)
{
    (void)state;
    struct conn *c = NULL;
    struct retention r = rules();
    struct retention_result done;
    assert_true(support_sql(&t, "INSERT INTO blobs (project_id, digest, size, created_by, created_at) VALUES (1, "
                                "'orphan', 1, 'x', '2020-01-01')"));
    ok(db_lease(t.db, &c, &err) && retention_hold(c, &err));
    ok(retention_round(t.db, &r, &done, &err));
    assert_int_equal(done.blobs, 0);
    retention_release(c);
    db_return(c);
    ok(retention_round(t.db, &r, &done, &err));
    assert_int_equal(done.blobs, 1);
}

/* ---- backup ---- */

static bool save(void *ctx, struct str digest, int64_t size, const char *path, struct err *e)
{
    FD_AUTO from = -1;
    FD_AUTO to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int64_t have;
    if (to < 0 || !disk_get(ctx, digest, &from, &have, e)) return false;
    return have == size && fs_copy_file(from, to);
}

static bool bring_back(void *ctx, struct str digest, int64_t size, const char *path, struct err *e)
{
    char got[DIGEST_TEXT];
    int64_t have;
    FD_AUTO from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) return err_set(e, ERR_INVALID, "%s is missing", path);
    return disk_put_fd(ctx, from, digest, got, &have, e) && have == size;
}

/* The logs of the test: those of task 0 have as many bytes as the attempt's number; task 1 wrote nothing. */
static bool save_log(void *ctx, struct backup_log *log, const char *path, struct err *e)
{
    char folder[300];
    (void)ctx;
    if (log->task > 0) return true;
    log->size = log->attempt;
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    return fs_mkdirs(folder, 0700, e) &&
           fs_write(path, str_sub(STR("123456789"), 0, (size_t)log->attempt), 0600, false, e);
}

static bool bring_log_back(void *ctx, struct backup_log *log, const char *path, struct err *e)
{
    BUF_AUTO text;
    (void)ctx;
    buf_init(&text, 100);
    if (!fs_read(path, 90, &text, e)) return false;
    log->size = (int64_t)text.n;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof log_text - used, "%lld/%d-%d=%s ", (long long)log->run, log->task, log->attempt,
             text.p);
    return true;
}

static bool save_nothing(void *ctx, struct str digest, int64_t size, const char *path, struct err *e)
{
    (void)ctx;
    (void)digest;
    (void)size;
    (void)path;
    return err_set(e, ERR_IO, "the disk is gone");
}

/* Whatever goes wrong, the folder is as it was. */
static void a_backup_that_fails(void **state)
{
    (void)state;
    char folder[300], digest[DIGEST_TEXT];
    struct backup_config config = {.blob = save_nothing, .log = save_log};
    const struct scope me = {1, STR("ann")};
    CONN_AUTO c = NULL;
    digest_of(STR("x"), digest);
    ok(db_lease(t.db, &c, &err) && blobs_put(c, &me, str_of(digest), 1, &err));
    assert_int_equal(support_db_empty(&other), 0);
    for (int there = 0; there < 2; there++) {
        struct backup_result made;
        snprintf(folder, sizeof folder, "%s/%s", dir, there ? "there" : "missing");
        if (there) ok(fs_mkdirs(folder, 0700, &err));
        config.folder = str_of(folder);
        config.dsn = other.dsn;
        assert_false(backup_make(&config, &made, &err)); /* of a database that no server has used */
        assert_int_equal(err.code, ERR_NOT_FOUND);
        config.dsn = t.dsn;
        assert_false(backup_make(&config, &made, &err));
        assert_string_equal(err.message, "the disk is gone");
        assert_int_equal(rmdir(folder), there ? 0 : -1); /* is empty, or not there */
    }
    assert_int_equal(support_db_close(&other), 0);
}

static void a_backup_comes_back(void **state)
{
    (void)state;
    char first[300], second[300], folder[300], path[FS_PATH_MAX], digest[DIGEST_TEXT];
    snprintf(first, sizeof first, "%s/first", dir);
    snprintf(second, sizeof second, "%s/second", dir);
    snprintf(folder, sizeof folder, "%s/backup", dir);
    struct disk *from = NULL, *to = NULL;
    ok(disk_open(str_of(first), &from, &err) && disk_open(str_of(second), &to, &err));
    const struct scope me = {1, STR("ann")};
    CONN_AUTO c = NULL;
    ok(db_lease(t.db, &c, &err));
    for (int i = 0; i < 3; i++) {
        ok(disk_put_bytes(from, arena_printf(&t.arena, "blob %d", i), digest, &err));
        ok(blobs_put(c, &me, str_of(digest), 6, &err));
    }
    assert_true(support_sql(&t, "INSERT INTO settings VALUES ('k', 'it''s kept')"));
    assert_true(support_sql(
        &t, "INSERT INTO tasks (run_id, task, attempt, project_id, created_by, frame, path, state) "
            "SELECT r, k, a, 1, 'x', 0, 'p', 2 FROM (VALUES (1, 0, 3), (1, 1, 1), (2, 0, 0), (7, 0, 2)) AS v(r, k, a);"
            "INSERT INTO attempts (run_id, task, attempt, project_id, created_by, state, reason) VALUES "
            "(1, 0, 1, 1, 'x', 2, 0), (1, 0, 2, 1, 'x', 2, 0), (7, 0, 1, 1, 'x', 2, 0)"));
    struct backup_config config = {.dsn = t.dsn, .folder = str_of(folder), .blob = save, .log = save_log, .ctx = from};
    struct backup_result made, back;
    ok(backup_make(&config, &made, &err));
    assert_true(made.blobs == 3 && made.blob_bytes == 18 && made.dump_bytes > 0 && made.schema >= 1);
    assert_true(made.logs == 5 && made.log_bytes == 1 + 2 + 3 + 1 + 2);
    assert_false(backup_make(&config, &made, &err)); /* not empty */
    assert_int_equal(err.code, ERR_CONFLICT);

    config.blob = bring_back;
    config.log = bring_log_back;
    config.ctx = to;
    assert_false(backup_restore(&config, &back, &err)); /* into the database it came from */
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(support_db_empty(&other), 0);
    config.dsn = other.dsn;
    ok(fs_path(path, &err, "%s/blobs/%s", folder, digest + 7));
    ok(fs_write(path, STR("damage"), 0600, false, &err));
    assert_false(backup_restore(&config, &back, &err));
    assert_int_equal(support_number(&other, "SELECT count(*) FROM pg_class WHERE relname = 'runs'"), 0);
    ok(fs_write(path, STR("blob 2"), 0600, false, &err));
    char log[FS_PATH_MAX];
    ok(fs_path(log, &err, "%s/logs/7/0-2.log", folder));
    ok(fs_write(log, STR("1"), 0600, false, &err));
    assert_false(backup_restore(&config, &back, &err)); /* a log is cut off */
    assert_int_equal(support_number(&other, "SELECT count(*) FROM pg_class WHERE relname = 'runs'"), 0);
    ok(fs_write(log, STR("12"), 0600, false, &err));
    log_text[0] = 0;
    ok(backup_restore(&config, &back, &err));
    assert_int_equal(back.blobs, 3);
    assert_int_equal(back.logs, 5);
    assert_string_equal(log_text, "1/0-1=1 1/0-2=12 1/0-3=123 7/0-1=1 7/0-2=12 ");
    assert_int_equal(support_number(&other, "SELECT count(*) FROM blobs"), 3);
    assert_int_equal(support_number(&other, "SELECT count(*) FROM settings WHERE value = 'it''s kept'"), 1);
    char sum[DIGEST_TEXT];
    FD_AUTO blob = -1;
    ok(disk_get(to, str_of(digest), &blob, NULL, &err) && digest_fd(blob, sum, NULL, &err));
    assert_string_equal(sum, digest);
    ok(fs_path(path, &err, "%s/backup.json", folder));
    assert_int_equal(unlink(path), 0);
    assert_false(backup_restore(&config, &back, &err)); /* never finished */
    assert_int_equal(err.code, ERR_INVALID);
    support_db_close(&other);
    disk_close(from);
    disk_close(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_old_and_unused_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup_holds_rounds_off, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup_that_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup_comes_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
