/* The servers of a store have one folder of secrets, which the store remembers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "cli/secrets.h"
#include "engine/os/fs.h"
#include "engine/os/secret.h"
#include "tests/support/db.h"

static struct err err;
static struct arena a;
static char dir[256], elsewhere[256], own[FS_PATH_MAX];

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static int setup(void **state)
{
    (void)state;
    arena_init(&a, 0);
    return support_dir_make(dir) | support_dir_make(elsewhere) | !fs_path(own, &err, "%s/" SECRETS_FOLDER, dir);
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&a);
    return support_dir_remove(dir) | support_dir_remove(elsewhere);
}

/* A server that starts; its descriptor, or -1. */
static int hold(const char *folder)
{
    int held = -1;
    err_clear(&err);
    return secrets_hold(str_of(dir), str_of(folder), &held, &err) ? held : -1;
}

static void remembers_at(const char *store, const char *folder, int line)
{
    struct str out = {0};
    err_clear(&err);
    ok_at(secrets_remembered(str_of(store), &a, &out, &err), line);
    if (!str_is(out, folder)) fail_msg("line %d: %.*s, not %s", line, STR_ARG(out), folder);
}
#define remembers(store, folder) remembers_at((store), (folder), __LINE__)

static void servers_that_run_share_it(void **state)
{
    (void)state;
    struct str out = {0};
    assert_false(secrets_remembered(str_of(dir), &a, &out, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    int one = hold(elsewhere), two = hold(elsewhere);
    ok(one >= 0 && two >= 0);
    remembers(dir, elsewhere);
    close(one);
    assert_int_equal(hold(own), -1); /* the other one is still there */
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.message, elsewhere));
    assert_non_null(strstr(err.message, own));
    assert_non_null(strstr(err.hint, "--secrets-dir"));
    remembers(dir, elsewhere);
    close(two);
    one = hold(own);
    ok(one >= 0);
    remembers(dir, own);
    close(one);
}

static void a_folder_may_have_two_names(void **state)
{
    (void)state;
    char name[FS_PATH_MAX];
    ok(fs_path(name, &err, "%s/link", dir));
    assert_int_equal(symlink(elsewhere, name), 0);
    int one = hold(elsewhere), two = hold(name);
    ok(one >= 0 && two >= 0);
    close(one);
    close(two);
}

static void what_is_in_the_store_moves_with_it(void **state)
{
    (void)state;
    char from[FS_PATH_MAX], to[FS_PATH_MAX];
    assert_true(secrets_in_store(str_of(dir), str_of(own)));
    assert_false(secrets_in_store(str_of(dir), str_of(elsewhere)));
    assert_false(secrets_in_store(str_of(elsewhere), str_of(own)));
    int one = hold(own);
    ok(one >= 0);
    close(one);
    ok(fs_path(from, &err, "%s/" SECRETS_FILE, dir) && fs_path(to, &err, "%s/" SECRETS_FILE, elsewhere));
    assert_int_equal(rename(from, to), 0);
    ok(fs_path(to, &err, "%s/" SECRETS_FOLDER, elsewhere));
    remembers(elsewhere, to);
}

static void nonsense_is_told(void **state)
{
    (void)state;
    char path[FS_PATH_MAX];
    struct str out = {0};
    ok(fs_path(path, &err, "%s/" SECRETS_FILE, dir) && fs_write(path, STR("x\n"), 0600, false, &err));
    assert_false(secrets_remembered(str_of(dir), &a, &out, &err));
    assert_int_equal(err.code, ERR_INVALID);
    int one = hold(own); /* who is alone mends it */
    ok(one >= 0);
    remembers(dir, own);
    close(one);
}

/* Steps that were given something from the folder before may run on. */
static void what_was_given_goes_along(void **state)
{
    (void)state;
    struct mask m;
    int one = hold(elsewhere);
    ok(one >= 0 && secret_given(str_of(elsewhere), STR("default"), STR("long ago"), &err));
    close(one);
    one = hold(own);
    ok(one >= 0);
    close(one);
    secret_mask(str_of(own), STR("default"), &a, &m);
    assert_true(mask_holds(&m, STR("it was long ago")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(servers_that_run_share_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_may_have_two_names, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_in_the_store_moves_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_given_goes_along, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
