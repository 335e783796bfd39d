/* A database has one store, and a store one database, whatever crashed on the way to that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "cli/claim.h"
#include "engine/os/fs.h"
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

static void a_restore_goes_into_any_store(void **state)
{
    (void)state;
    ok(claim(&t, elsewhere)); /* as the backup remembers it */
    ok(claim_restored(t.db, str_of(dir), &err));
    ok(claim(&t, dir));
    refused(claim(&t, elsewhere), "not the store of this database");
    ok(claim_restored(t.db, str_of(dir), &err)); /* into the one that it had */
    ok(claim(&t, dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(servers_of_a_database_share_its_store, setup, teardown),
        cmocka_unit_test_setup_teardown(a_claim_that_was_cut_off_is_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restore_goes_into_any_store, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
