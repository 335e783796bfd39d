/* A database has one store, and a store one database, whatever crashed on the way to that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/server.h"
#include "cli/claim.h"
#include "engine/blob/disk.h"
#include "engine/os/fs.h"
#include "engine/store/settings.h"
#include "tests/support/db.h"

static struct support_db t, other;
static struct err err;
static char dir[256], elsewhere[256];

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static int setup(void **state)
{
    (void)state;
    return support_db_open(&t) | support_db_open(&other) | support_dir_make(dir) | support_dir_make(elsewhere);
}

static int teardown(void **state)
{
    (void)state;
    return support_db_close(&t) | support_db_close(&other) | support_dir_remove(dir) | support_dir_remove(elsewhere);
}

static bool claim(struct support_db *db, const char *folder)
{
    err_clear(&err);
    return claim_store(db->db, str_of(folder), &err);
}

static void refused_at(bool claimed, const char *message, int line)
{
    if (claimed || err.code != ERR_CONFLICT || !strstr(err.message, message) || !strstr(err.hint, "--store-dir"))
        fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define refused(claimed, message) refused_at((claimed), (message), __LINE__)

static bool exists(const char *folder)
{
    char path[FS_PATH_MAX];
    ok(fs_path(path, &err, "%s/" CLAIM_FILE, folder));
    return access(path, F_OK) == 0;
}

static bool is_restoring(const char *folder)
{
    char path[FS_PATH_MAX];
    ok(fs_path(path, &err, "%s/" CLAIM_RESTORING, folder));
    return access(path, F_OK) == 0;
}

static bool restoring(const char *folder, const char *backup)
{
    err_clear(&err);
    return claim_restoring(str_of(folder), str_of(backup), &err);
}

static char former[32];

static bool restored(struct support_db *db, const char *folder)
{
    struct arena a;
    struct str name = {0};
    err_clear(&err);
    arena_init(&a, 0);
    bool done = claim_restored(db->db, str_of(folder), &a, &name, &err);
    snprintf(former, sizeof former, "%.*s", STR_ARG(name));
    arena_free(&a);
    return done;
}

static void make_folder(const char *folder, const char *name)
{
    char path[FS_PATH_MAX];
    ok(fs_path(path, &err, "%s/%s", folder, name) && fs_mkdirs(path, 0700, &err));
}

static void not_restored_at(bool begun, const char *message, int line)
{
    if (begun || err.code != ERR_CONFLICT || !strstr(err.message, message) || !strstr(err.hint, "a new folder"))
        fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define not_restored(begun, message) not_restored_at((begun), (message), __LINE__)

static void write_id(const char *folder, const char *text)
{
    char path[FS_PATH_MAX];
    ok(fs_path(path, &err, "%s/" CLAIM_FILE, folder) && fs_write(path, str_of(text), 0600, false, &err));
}

static void servers_of_a_database_share_its_store(void **state)
{
    (void)state;
    ok(claim(&t, dir));
    ok(claim(&t, dir));
    refused(claim(&t, elsewhere), "not the store of this database");
    assert_false(exists(elsewhere)); /* and it is free for others */
    ok(claim(&t, dir));
    refused(claim(&other, dir), "the store of another database");
    ok(claim(&other, elsewhere));
    refused(claim(&t, elsewhere), "not the store of this database");
    assert_true(exists(elsewhere));
}

static void a_claim_that_was_cut_off_is_finished(void **state)
{
    (void)state;
    write_id(dir, "0123456789abcdef0123456789abcdef new\n"); /* no database has heard of it */
    ok(claim(&t, dir));
    write_id(dir, "0123456789abcdef0123456789abcdef new\n"); /* the database has, and the file does not know yet */
    ok(claim(&t, dir));
    refused(claim(&other, dir), "the store of another database");
    write_id(dir, "0123456789abcdef");
    assert_false(claim(&t, dir));
    assert_int_equal(err.code, ERR_INVALID);
}

static void a_restore_goes_into_a_new_store(void **state)
{
    (void)state;
    ok(claim(&t, elsewhere)); /* as the backup remembers it */
    ok(restoring(dir, "one"));
    ok(restored(&t, dir));
    assert_false(is_restoring(dir));
    ok(claim(&t, dir));
    refused(claim(&t, elsewhere), "not the store of this database");
}

static void a_restore_leaves_the_stores_of_others_alone(void **state)
{
    (void)state;
    ok(claim(&t, dir));
    not_restored(restoring(dir, "one"), "is in use by another database");
    assert_false(is_restoring(dir));
    ok(claim(&t, dir));
    static const char *const parts[] = {"blobs", "logs"}; /* of a server that made no identity yet */
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char path[FS_PATH_MAX];
        make_folder(elsewhere, parts[i]);
        not_restored(restoring(elsewhere, "one"), "is in use by another database");
        ok(fs_path(path, &err, "%s/%s", elsewhere, parts[i]));
        assert_int_equal(rmdir(path), 0);
    }
    ok(restoring(elsewhere, "one"));
}

static void a_restore_that_failed_is_repeated(void **state)
{
    (void)state;
    ok(restoring(dir, "one"));
    make_folder(dir, "blobs");
    make_folder(dir, "logs");
    ok(restoring(dir, "one"));
    not_restored(restoring(dir, "two"), "another backup is half restored");
    refused(claim(&other, dir), "has not ended");
    assert_false(exists(dir));
    write_id(dir, "0123456789abcdef0123456789abcdef new\n"); /* it came as far as that */
    ok(restoring(dir, "one"));
    ok(restored(&t, dir));
    not_restored(restored(&other, dir), "is in use by another database"); /* two at the same time */
    assert_false(is_restoring(dir));
    ok(claim(&t, dir));
    ok(restoring(elsewhere, "one"));
    write_id(elsewhere, "fedcba9876543210fedcba9876543210\n"); /* it was all done but for the removal of the mark */
    not_restored(restoring(elsewhere, "one"), "is in use by another database");
    ok(support_sql(&t, "UPDATE settings SET value = 'fedcba9876543210fedcba9876543210' WHERE key = 'store_id'"));
    ok(claim(&t, elsewhere));
    assert_false(is_restoring(elsewhere));
}

/* Else it would take for its own what another has on the cluster, and its steps' tokens. */
static void what_is_restored_is_another_installation(void **state)
{
    (void)state;
    ok(support_sql(&t, "INSERT INTO settings VALUES ('" CLAIM_INSTANCE_SETTING "', 'abc'),"
                       "('" API_STEP_KEY_SETTING "', 'key'), ('first_token:x', 'y');"
                       "INSERT INTO placers (domain) VALUES ('kubernetes:steps@abc')"));
    ok(restoring(dir, "one"));
    ok(restored(&t, dir));
    assert_string_equal(former, "abc");
    CONN_AUTO c = NULL;
    RESULT_AUTO res = NULL;
    ok(db_lease(t.db, &c, &err) &&
       conn_sql(c, "SELECT string_agg(key, ' ' ORDER BY key), (SELECT count(*) FROM placers) FROM settings", NULL, &res,
                &err));
    assert_true(str_is(row_str(res, 0, 0), "first_token:x " CLAIM_SETTING));
    assert_int_equal(row_int(res, 0, 1), 0);
    ok(restoring(elsewhere, "one"));
    ok(support_sql(&other, "DROP TABLE placers")); /* of an older schema; and no server has used a cluster */
    ok(restored(&other, elsewhere));
    assert_string_equal(former, "");
}

static void a_database_with_blobs_wants_them(void **state)
{
    (void)state;
    char digest[DIGEST_TEXT], sql[512];
    struct disk *disk = NULL;
    ok(disk_open(str_of(dir), &disk, &err) && disk_put_bytes(disk, STR("precious"), digest, &err));
    disk_close(disk);
    snprintf(sql, sizeof sql,
             "INSERT INTO projects (id, name, created_by) OVERRIDING SYSTEM VALUE VALUES (77, 'with-blobs', 'x');"
             "INSERT INTO blobs (project_id, digest, size, created_by, created_at) VALUES (77, '%s', 8, 'x', now()),"
             "(77, 'sha256:%064d', 8, 'x', now() + interval '1 hour')",
             digest, 0);
    ok(support_sql(&t, sql));
    refused(claim(&t, elsewhere), "has artifacts which are not in");
    make_folder(elsewhere, "blobs");
    refused(claim(&t, elsewhere), "has artifacts which are not in");
    assert_false(exists(elsewhere)); /* and it is free for others */
    ok(claim(&t, dir));
    refused(claim(&t, elsewhere), "not the store of this database");
    ok(claim(&other, elsewhere));
}

/* As when a restore was root's, and the server is not. */
static void a_store_of_another_user_says_whose_it_must_be(void **state)
{
    (void)state;
    char path[FS_PATH_MAX], cure[320];
    uid_t self = geteuid();
    ok(claim(&t, dir) && fs_path(path, &err, "%s/" CLAIM_FILE ".lock", dir));
    assert_int_equal(chmod(path, 0), 0);
    if (self == 0) assert_int_equal(seteuid(65534), 0);
    bool claimed = claim(&t, dir);
    snprintf(cure, sizeof cure, "chown -R %u:%u %s", (unsigned)geteuid(), (unsigned)getegid(), dir);
    assert_int_equal(seteuid(self), 0);
    if (claimed || strstr(err.message, "Permission denied") == NULL || strstr(err.hint, cure) == NULL)
        fail_msg("%s (%s) %s", err.message, err_name(err.code), err.hint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(servers_of_a_database_share_its_store, setup, teardown),
        cmocka_unit_test_setup_teardown(a_claim_that_was_cut_off_is_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restore_goes_into_a_new_store, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restore_leaves_the_stores_of_others_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restore_that_failed_is_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_restored_is_another_installation, setup, teardown),
        cmocka_unit_test_setup_teardown(a_database_with_blobs_wants_them, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_of_another_user_says_whose_it_must_be, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
