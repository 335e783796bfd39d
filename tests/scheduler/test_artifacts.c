/* What becomes of artifacts: results taken from the cache are the new run's own, and stay when the run that made them
 * is deleted and swept away; each item of a list is known to be read. A real scheduler, real steps, a real sweep. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/blob/disk.h"
#include "engine/flow/compile.h"
#include "engine/os/clock.h"
#include "engine/os/launcher.h"
#include "engine/os/log.h"
#include "engine/store/artifacts.h"
#include "engine/store/pipelines.h"
#include "engine/store/retention.h"
#include "engine/store/runs.h"
#include "engine/store/tasks.h"
#include "engine/text/yaml.h"
#include "scheduler/process.h"
#include "scheduler/scheduler.h"
#include "tests/support/db.h"

#define PATIENCE_US 60000000
#define ABSENT "0000000000000000000000000000000000000000000000000000000000000000"

static const struct scope scope = {1, {"test", 4}};
static struct support_db test;
static char data[64], secrets[80];
static struct executor x;
static struct scheduler *s;
static struct disk *disk;

static int setup(void **state)
{
    (void)state;
    struct err err = {0};
    log_set_level(LEVEL_NONE);
    if (support_db_open(&test) != 0) return -1;
    snprintf(data, sizeof data, "/tmp/millrace-artifacts-XXXXXX");
    if (!mkdtemp(data) || chmod(data, 0711) != 0) return -1;
    snprintf(secrets, sizeof secrets, "%s/secrets", data);
    const struct process_config steps = {.data_dir = str_of(data),
                                         .store_dir = str_of(data),
                                         .secrets_dir = str_of(secrets),
                                         .step_path = STR("/usr/local/bin:/usr/bin:/bin")};
    const struct scheduler_config cfg = {.conninfo = test.dsn.p,
                                         .owner = "test",
                                         .poll_ms = 20,
                                         .db = test.db,
                                         .executor = &x,
                                         .cpu_milli = 4000,
                                         .memory_bytes = (int64_t)4 << 30};
    bool ok = process_open(&steps, &x, &err) && process_start(&x, &err) && scheduler_start(&cfg, &s, &err) &&
              disk_open(str_of(data), &disk, &err);
    if (!ok) fprintf(stderr, "setup: %s\n", err.message);
    return ok ? 0 : -1;
}

/* The launcher would wait for another server. */
static int teardown(void **state)
{
    (void)state;
    struct err err;
    struct launcher *l;
    scheduler_stop(s); /* and its executor */
    disk_close(disk);
    if (!launcher_open(&l, data, &err)) return -1;
    kill((pid_t)launcher_pid(l), SIGTERM);
    struct pollfd p = {.fd = launcher_fd(l), .events = POLLIN};
    for (struct launcher_event e = {0}; e.kind != LAUNCHER_DISCONNECTED;)
        if (!launcher_next(l, &e)) poll(&p, 1, 1000);
    launcher_close(l);
    int rc = support_dir_remove(data);
    return support_db_close(&test) | rc;
}

static int64_t run_to_its_end(int64_t plan)
{
    struct err err = {0};
    int64_t id = 0, end = os_mono_us() + PATIENCE_US;
    CONN_AUTO c = NULL;
    const struct run_new run = {.pipeline = STR("p"), .plan_id = plan};
    if (!db_lease(test.db, &c, &err) || !runs_create(c, &scope, &run, &id, &err)) fail_msg("%s", err.message);
    scheduler_hint(s);
    while (support_number(&test, "SELECT count(*) FROM active_runs") > 0 && os_mono_us() < end)
        usleep(5000);
    return id;
}

static int64_t run_to_end(int64_t plan)
{
    int64_t id = run_to_its_end(plan);
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT state FROM runs WHERE id = %lld", (long long)id);
    assert_int_equal(support_number(&test, sql), RUN_SUCCEEDED);
    return id;
}

static int64_t store_plan(const char *yaml)
{
    struct err err = {0};
    struct err_list errors;
    struct value *docs = NULL;
    size_t n = 0;
    const struct plan *plan = NULL;
    int64_t id = 0;
    err_list_init(&errors, &test.arena);
    if (!yaml_parse(&test.arena, str_of(yaml), NULL, &docs, &n, &errors) ||
        !compile_pipeline(&test.arena, &docs[0], NULL, &plan, &errors))
        fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    BUF_AUTO json;
    buf_init(&json, 0);
    plan_json(&json, plan);
    const struct plan_text text = {.digest = STR("d"), .source = str_of(yaml), .plan = buf_view(&json)};
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err) && plans_put(c, &scope, &text, &id, &err));
    return id;
}

static bool delete_blob(void *ctx, struct str digest, struct err *err)
{
    bool deleted;
    (void)ctx;
    return disk_sweep(disk, digest, 0, &deleted, err);
}

static int64_t sweep(void)
{
    struct err err = {0};
    struct retention_result done = {0};
    const struct retention r = {.delete_blob = delete_blob};
    if (!retention_round(test.db, &r, &done, &err)) fail_msg("%s", err.message);
    return done.blobs;
}

static void delete_run(int64_t id)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    if (!db_lease(test.db, &c, &err) || !runs_delete(c, 1, id, &err)) fail_msg("%s", err.message);
}

static bool has(const char *digest)
{
    char path[FS_PATH_MAX];
    struct err err = {0};
    assert_true(disk_path(disk, str_of(digest), path, &err));
    return access(path, F_OK) == 0;
}

static void what_was_taken_outlives_its_maker(void **state)
{
    (void)state;
    static const char digest[] = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"; /* hello */
    static const char age[] = "UPDATE blobs SET created_at = now() - interval '10 days'";
    int64_t plan = store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n"
                              "  make: {run: 'echo hello > o; echo \"{\\\"n\\\": 3}\" > o.metadata.json', cache: true,"
                              " outputs: {o: {artifact: text, path: o}}}\n"
                              "  use: {run: 'grep -q hello $FILE', inputs: {i: '${{ steps.make.outputs.o }}'}, "
                              "env: {FILE: '${{ inputs.i.path }}'}}\n");
    int64_t maker = run_to_end(plan);
    assert_true(support_sql(&test, age));
    int64_t taker = run_to_end(plan);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE run_id = 2 AND task = 0 AND reason = 1 "
                                           "AND attempt = 0"),
                     1);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM blobs WHERE created_at > now() - interval '1 day'"),
                     1); /* the hit has made it young: a sweep in between would have left it */
    assert_int_equal(support_number(&test, "SELECT count(*) FROM artifacts WHERE task = 0 AND name = 'o'"), 2);
    assert_int_equal(support_number(&test, "SELECT count(DISTINCT run_id) FROM artifact_uses WHERE task = 1"), 2);
    delete_run(maker);
    assert_true(support_sql(&test, age));
    assert_int_equal(sweep(), 0);
    assert_true(has(digest));
    struct err err = {0};
    struct artifact_rec *found;
    size_t n;
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err));
    assert_true(artifacts_of_run(c, taker, 0, 0, 10, &test.arena, &found, &n, &err));
    assert_true(n == 1 && str_is(found[0].digest, digest) && found[0].size == 6 &&
                str_is(found[0].metadata, "{\"n\": 3}"));
    delete_run(taker);
    assert_int_equal(sweep(), 1);
    assert_false(has(digest));
}

/* One input may be a list: whoever asks for an artifact's readers, or sweeps, must find each of its items. */
static void each_item_of_a_list_is_used(void **state)
{
    (void)state;
    static const char used[] = "SELECT count(*) FROM artifact_uses u JOIN artifacts a USING (digest) "
                               "WHERE u.task = 1 AND a.name = 'o' AND u.input = 'all/' || (a.task - 2)";
    int64_t maker = run_to_end(store_plan(
        "apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n"
        "  make: {foreach: {range: 3}, run: 'echo ${{ item }} > o', outputs: {o: {artifact: text, path: o}}}\n"
        "  use: {run: 'cat inputs/all/*', inputs: {all: '${{ steps.make.outputs.map(o, o.o) }}',"
        " one: '${{ steps.make.outputs[0].o }}', text: x}}\n"));
    assert_int_equal(support_number(&test, used), 3);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM artifact_uses"), 4);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM artifact_uses WHERE input = 'one'"), 1);
    /* The items outlive the rows of their making: they are read by a run that is still there. */
    assert_true(support_sql(&test, "DELETE FROM artifacts; UPDATE blobs SET created_at = now() - interval '10 days'"));
    assert_int_equal(sweep(), 0);
    delete_run(maker);
    assert_int_equal(sweep(), 3);
}

/* One that is missing among many that are there is told by its input. */
static void a_missing_artifact_is_named(void **state)
{
    (void)state;
    struct err err = {0};
    char sql[100];
    int64_t plan = store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n"
                              "  make: {run: echo x > o, outputs: {o: {artifact: text, path: o}}}\n"
                              "  use: {run: 'true', inputs: {here: '${{ steps.make.outputs.o }}', gone: "
                              "[{artifact: text, digest: 'sha256:" ABSENT "'}]}}\n");
    int64_t id = run_to_its_end(plan);
    snprintf(sql, sizeof sql, "SELECT state FROM runs WHERE id = %lld", (long long)id);
    assert_int_equal(support_number(&test, sql), RUN_FAILED);
    struct task_rec task;
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err) && tasks_get(c, id, 1, &test.arena, &task, &err));
    if (!strstr(arena_cstr(&test.arena, task.message), "sha256:" ABSENT " is not in this project"))
        fail_msg("%.*s", STR_ARG(task.message));
    assert_int_equal(support_number(&test, "SELECT count(*) FROM artifact_uses"), 0);
}

static void a_folder_is_imported_by_digest(void **state)
{
    (void)state;
    run_to_end(
        store_plan("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n"
                   "  make: {run: mkdir d && echo hello > d/x, outputs: {d: {artifact: data, path: d}}}\n"
                   "  get: {import: '${{ steps.make.outputs.d.digest }}'}\n"
                   "  use: {run: grep -q hello inputs/d/x, inputs: {d: '${{ steps.get.outputs.artifact }}'}}\n"));
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_taken_outlives_its_maker, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_is_imported_by_digest, setup, teardown),
        cmocka_unit_test_setup_teardown(each_item_of_a_list_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_artifact_is_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
