/* What a crash left without a record, or half done, is swept once it is old; all else stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/upkeep.h"
#include "engine/store/artifacts.h"
#include "tests/support/db.h"

#define HOUR_US INT64_C(3600000000)
#define MANY 403 /* several batches, the last of them not full */

static struct support_db t;
static struct err err;
static char dir[256];
static struct blob_store *disk;

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static int setup(void **state)
{
    (void)state;
    return support_db_open(&t) == 0 && support_dir_make(dir) == 0 &&
                   store_open(&(const struct store_config){.store_dir = str_of(dir)}, &disk, &err)
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    store_close(disk);
    return support_db_close(&t) == 0 && support_dir_remove(dir) == 0 ? 0 : -1;
}

static void put(int number, bool known, bool old, char digest[DIGEST_TEXT])
{
    char path[FS_PATH_MAX];
    const struct scope me = {1, STR("ann")};
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    CONN_AUTO c = NULL;
    ok(store_put_bytes(disk, arena_printf(&t.arena, "blob %d", number), digest, &err));
    ok(store_path_later(disk, str_of(digest), path, &err));
    if (old) assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    if (known) ok(db_lease(t.db, &c, &err) && blobs_put(c, &me, str_of(digest), 6, &err));
}

static bool has(const char *digest)
{
    char path[FS_PATH_MAX];
    ok(store_path_later(disk, str_of(digest), path, &err));
    return access(path, F_OK) == 0;
}

static void old_files_without_a_row_go(void **state)
{
    char known[DIGEST_TEXT], stray[DIGEST_TEXT], young[DIGEST_TEXT], digest[DIGEST_TEXT];
    struct upkeep_swept swept;
    (void)state;
    put(1, true, true, known);
    put(2, false, true, stray);
    put(3, false, false, young); /* its row is on its way */
    ok(upkeep_sweep_strays(t.db, disk, str_of(dir), HOUR_US, &swept, &err));
    assert_int_equal(swept.blobs, 1);
    assert_true(has(known) && has(young));
    assert_false(has(stray));
    for (int i = 10; i < 10 + MANY; i++)
        put(i, i % 100 == 0, true, digest);
    ok(upkeep_sweep_strays(t.db, disk, str_of(dir), HOUR_US, &swept, &err));
    assert_int_equal(swept.blobs, MANY - 4);
    ok(upkeep_sweep_strays(t.db, disk, str_of(dir), HOUR_US, &swept, &err));
    assert_int_equal(swept.blobs, 0);
}

/* A folder with a file in it, below the store's. */
static const char *make(const char *name, bool old)
{
    char file[FS_PATH_MAX];
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    const char *path = arena_printf(&t.arena, "%s/%s", dir, name).p;
    ok(fs_mkdirs(path, 0755, &err) && fs_path(file, &err, "%s/file", path) &&
       fs_write(file, STR("x"), 0600, false, &err));
    if (old) assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    return path;
}

static const char *unpack(int number, bool old)
{
    char digest[DIGEST_TEXT];
    put(number, false, old, digest);
    return make(arena_printf(&t.arena, "bundles/%s", digest + strlen("sha256:")).p, old);
}

static void what_died_half_way_goes(void **state)
{
    struct upkeep_swept swept;
    (void)state;
    assert_true(support_sql(&t, "INSERT INTO plans (project_id, digest, source, plan, created_by) VALUES (1, 'd', '', "
                                "'', 'x'); INSERT INTO runs (project_id, pipeline, name, plan_id, created_by) VALUES "
                                "(1, 'p', 'n', 1, 'x')"));
    const char *kept[] = {make("logs/1", true), make("checkpoints/1", true), make("logs/7", false),
                          make("bundles/tmp-1", false), unpack(1, false)};
    const char *gone[] = {make("logs/9", true), make("checkpoints/9", true), make("checkpoints/12", true),
                          make("bundles/tmp-2", true), unpack(2, true)};
    ok(upkeep_sweep_strays(t.db, disk, str_of(dir), HOUR_US, &swept, &err));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (access(kept[i], F_OK) != 0) fail_msg("%s is gone", kept[i]);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (access(gone[i], F_OK) == 0) fail_msg("%s is left", gone[i]);
    assert_true(swept.blobs == 1 && swept.runs == 3); /* one for its logs and for its checkpoints */
}

static void without_a_database_nothing_goes(void **state)
{
    char stray[DIGEST_TEXT];
    struct upkeep_swept swept;
    struct db *away = NULL;
    const struct db_config nowhere = {.dsn = STR("host=/nonexistent dbname=x"), .size = 1, .wait_ms = 100};
    (void)state;
    put(1, false, true, stray);
    ok(db_open(&nowhere, &away, &err));
    assert_false(upkeep_sweep_strays(away, disk, str_of(dir), HOUR_US, &swept, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_true(has(stray));
    db_close(away);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(old_files_without_a_row_go, setup, teardown),
        cmocka_unit_test_setup_teardown(what_died_half_way_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_database_nothing_goes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
