/* The owner's side of the queue for GPUs, on a real database: the test plays the placer, by rows, and an executor whose
 * steps end when they are told to, and say what they are told to. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/flow/compile.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/log.h"
#include "engine/store/commands.h"
#include "engine/store/pipelines.h"
#include "engine/store/runs.h"
#include "engine/text/yaml.h"
#include "scheduler/scheduler.h"
#include "tests/support/db.h"

#define PATIENCE_US 20000000
#define ATTEMPTS 16

static struct support_db test;
static const struct scope scope = {1, {"test", 4}};

/* ---- an executor that does nothing by itself ---- */

struct step {
    struct attempt_id id;
    bool ended, ok, told;
};
static struct {
    pthread_mutex_t lock;
    struct step steps[ATTEMPTS];
    uint32_t n, launched, killed;
    bool well;                  /* what is told to stop has just ended well */
    char pin[200];              /* of the last launch */
    struct exec_output left[2]; /* of whatever ends well */
    size_t n_left;
} exec = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct step *step_of(struct attempt_id id)
{
    for (uint32_t i = 0; i < exec.n; i++)
        if (memcmp(&exec.steps[i].id, &id, sizeof id) == 0) return &exec.steps[i];
    return NULL;
}

static struct str instance(void *self)
{
    (void)self;
    return STR("test:1");
}

static bool launch(void *self, const struct exec_request *req, bool restored, struct str by, struct err *err)
{
    (void)self;
    (void)by;
    (void)err;
    pthread_mutex_lock(&exec.lock);
    struct step *s = step_of(req->id);
    if (s == NULL && exec.n < ATTEMPTS) {
        exec.steps[exec.n++] = (struct step){.id = req->id};
        exec.launched++;
        snprintf(exec.pin, sizeof exec.pin, "%.*s", STR_ARG(req->pin));
    } else if (s != NULL && restored) {
        s->told = false;
    }
    pthread_mutex_unlock(&exec.lock);
    return true;
}

static void end_of(struct attempt_id id, bool ok)
{
    struct step *s = step_of(id);
    if (s == NULL || s->ended) return;
    s->ended = true;
    s->ok = ok;
}

static void killed(void *self, struct attempt_id id, struct str project, int64_t grace_ms)
{
    (void)self;
    (void)project;
    (void)grace_ms;
    pthread_mutex_lock(&exec.lock);
    exec.killed++;
    end_of(id, exec.well);
    pthread_mutex_unlock(&exec.lock);
}

static void forget(void *self, struct attempt_id id)
{
    (void)self;
    (void)id;
}

static size_t known(void *self, struct arena *a, struct exec_known **out)
{
    (void)self;
    (void)a;
    *out = NULL;
    return 0;
}

static size_t fds(void *self, int *list, size_t max)
{
    (void)self;
    (void)list;
    (void)max;
    return 0;
}

static bool next(void *self, struct arena *a, struct exec_event *out)
{
    (void)self;
    (void)a;
    bool found = false;
    pthread_mutex_lock(&exec.lock);
    for (uint32_t i = 0; i < exec.n && !found; i++) {
        struct step *s = &exec.steps[i];
        if (!s->ended || s->told) continue;
        s->told = found = true;
        *out = (struct exec_event){.kind = EXEC_ENDED, .id = s->id};
        out->result = (struct task_result){.ok = s->ok, .exit_code = s->ok ? 0 : -1};
        if (!s->ok) out->result.failure = FAILURE_ERROR;
        out->artifacts = exec.left;
        out->n_artifacts = s->ok ? exec.n_left : 0;
    }
    pthread_mutex_unlock(&exec.lock);
    return found;
}

static void stop(void *self)
{
    (void)self;
}

static _Atomic int mode; /* enum exec_placing */

static enum exec_placing placing(void *self)
{
    (void)self;
    return (enum exec_placing)mode;
}

static struct executor executor = {.name = "test",
                                   .placed = true,
                                   .placing = placing,
                                   .images = true,
                                   .hearsay = true,
                                   .instance = instance,
                                   .launch = launch,
                                   .kill = killed,
                                   .forget = forget,
                                   .disown = killed,
                                   .known = known,
                                   .fds = fds,
                                   .next = next,
                                   .stop = stop};

/* ---- runs ---- */

static int64_t cores; /* in thousandths */

static struct scheduler *start(void)
{
    struct scheduler *s = NULL;
    struct err err = {0};
    const struct scheduler_config cfg = {.conninfo = test.dsn.p,
                                         .owner = "test",
                                         .executor = &executor,
                                         .cpu_milli = cores,
                                         .memory_bytes = INT64_MAX / 2,
                                         .poll_ms = 20,
                                         .db = test.db};
    if (!scheduler_start(&cfg, &s, &err)) fail_msg("scheduler: %s", err.message);
    return s;
}

static int64_t submit(const char *steps)
{
    struct err err = {0};
    struct err_list errors;
    struct value *docs = NULL;
    size_t n = 0;
    const struct plan *plan = NULL;
    char digest[DIGEST_TEXT];
    int64_t plan_id = 0, run = 0;
    struct str yaml = arena_printf(&test.arena, "apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n%s", steps);
    err_list_init(&errors, &test.arena);
    if (!yaml_parse(&test.arena, yaml, NULL, &docs, &n, &errors) ||
        !compile_pipeline(&test.arena, &docs[0], NULL, &plan, &errors))
        fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    BUF_AUTO json;
    buf_init(&json, 0);
    plan_json(&json, plan);
    digest_of(buf_view(&json), digest);
    const struct plan_text text = {.digest = str_of(digest), .source = yaml, .plan = buf_view(&json)};
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err) && plans_put(c, &scope, &text, &plan_id, &err));
    const struct run_new new = {.pipeline = STR("p"), .plan_id = plan_id, .params = STR("{}")};
    if (!runs_create(c, &scope, &new, &run, &err)) fail_msg("run: %s", err.message);
    return run;
}

static void command(int64_t run, enum command what)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    assert_true(db_lease(test.db, &c, &err));
    if (!commands_send(c, &scope, run, what, STR(""), &err)) fail_msg("command: %s", err.message);
}

static void await(const char *sql, int64_t wanted)
{
    int64_t got = -1;
    for (int64_t end = os_mono_us() + PATIENCE_US; os_mono_us() < end; usleep(10000))
        if ((got = support_number(&test, sql)) == wanted) return;
    fail_msg("%s: %lld, not %lld", sql, (long long)got, (long long)wanted);
}

static void await_launched(uint32_t wanted)
{
    for (int64_t end = os_mono_us() + PATIENCE_US; os_mono_us() < end; usleep(10000)) {
        pthread_mutex_lock(&exec.lock);
        bool there = exec.launched == wanted;
        pthread_mutex_unlock(&exec.lock);
        if (there) return;
    }
    fail_msg("%u were launched, not %u", exec.launched, wanted);
}

static void finish(uint32_t attempt)
{
    pthread_mutex_lock(&exec.lock);
    for (uint32_t i = 0; i < exec.n; i++)
        if (exec.steps[i].id.attempt == attempt) end_of(exec.steps[i].id, true);
    pthread_mutex_unlock(&exec.lock);
}

/* ---- the placer ---- */

#define TELL(kind, state, what)                                                                                        \
    "UPDATE queue_work SET news = false, state = " state ", got = 'h100', pin = '{\"flavor\": \"h100\"}', "            \
    "by = 'run 9 other' WHERE state < 4; "                                                                             \
    "INSERT INTO inbox (project_id, created_by, shard, run_id, kind, payload) "                                        \
    "SELECT project_id, 'placer', shard, run_id, " kind ", jsonb_build_object('tasks', jsonb_build_array("             \
    "jsonb_build_object('task', task, 'attempt', attempt, " what "))) FROM queue_work WHERE state < 4;"
#define ADMIT TELL("7", "2", "'pin', pin")
#define PREEMPT TELL("8", "3", "'by', by")

static void tell(const char *sql)
{
    assert_true(support_sql(&test, sql));
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LEVEL_NONE);
    mode = EXEC_PLACES;
    executor.domain = NULL;
    exec.n = exec.launched = exec.killed = 0;
    exec.n_left = 0;
    exec.well = false;
    cores = INT64_MAX / 2;
    return support_db_open(&test);
}

static int teardown(void **state)
{
    (void)state;
    return support_db_close(&test);
}

#define ONE                                                                                                            \
    "  a: {run: x, image: i, queue: q, priority: 3, resources: {gpu: {count: 2, flavor: h100}, cpu: 2},\n"             \
    "      nodeSelector: {disk: ssd}, tolerations: [{key: t}], timeout: 90s}\n"
#define WAITS "SELECT count(*) FROM queue_work WHERE state = 1 AND news"
#define OVER "SELECT count(*) FROM queue_work WHERE state = 4 AND news"
#define LONG_AGO "UPDATE queue_work SET submitted_at = '2020-01-01'"
#define AND_LONG_AGO " AND submitted_at = '2020-01-01'"
#define ENDED(state) "SELECT count(*) FROM runs WHERE state = " state

/* ---- tests ---- */

static void test_asked_admitted_over(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE "  b: {run: x, image: i}\n"); /* which needs no GPU, and starts at once */
    await_launched(1);
    assert_string_equal(exec.pin, "");
    await(WAITS, 1);
    assert_int_equal(
        support_number(
            &test, "SELECT count(*) FROM queue_work WHERE queue = 'q' AND flavor = 'h100' AND"
                   " gpu = 2000 AND pods = 1 AND cpu = 2000 AND priority = 3 AND attempt = 1 AND"
                   " domain = 'test:1' AND path = 'a' AND timeout_ms = 90000 AND"
                   " on_nodes::jsonb = '{\"nodeSelector\": {\"disk\": \"ssd\"}, \"tolerations\": [{\"key\": \"t\"}]}'"),
        1);
    tell(ADMIT);
    await_launched(2);
    assert_string_equal(exec.pin, "{\"flavor\":\"h100\"}");
    finish(1);
    await(OVER, 1);
    await(ENDED("5"), 1);
    scheduler_stop(s);
}

static void test_pause_and_cancel(void **state)
{
    (void)state;
    struct scheduler *s = start();
    int64_t run = submit(ONE);
    await(WAITS, 1);
    command(run, COMMAND_PAUSE);
    await(OVER, 1);
    tell(LONG_AGO);
    command(run, COMMAND_RESUME);
    await(WAITS, 1);
    assert_int_equal(support_number(&test, WAITS AND_LONG_AGO), 0);
    tell("UPDATE queue_work SET news = false");
    command(run, COMMAND_CANCEL);
    await(OVER, 1);
    await(ENDED("7"), 1);
    assert_int_equal(exec.launched, 0);
    scheduler_stop(s);
}

static void test_giving_way(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE);
    await(WAITS, 1);
    tell(ADMIT);
    await_launched(1);
    tell("UPDATE queue_work SET timeout_ms = 0;" LONG_AGO); /* as asked for before an update that tells it */
    tell(PREEMPT);
    await(WAITS " AND attempt = 2 AND pin IS NULL AND timeout_ms = 90000" AND_LONG_AGO, 1); /* as old as it was */
    assert_int_equal(exec.killed, 1);
    assert_int_equal(support_number(&test, "SELECT failures + free_failures FROM tasks"), 0);
    tell("INSERT INTO inbox (project_id, created_by, shard, run_id, kind, payload) SELECT project_id, 'placer', shard,"
         " run_id, 7, '{\"tasks\": [{\"task\": 0, \"attempt\": 1, \"pin\": {}}]}' FROM queue_work");
    await("SELECT count(*) FROM inbox", 0); /* what is said of the first attempt starts no second */
    assert_int_equal(support_number(&test, "SELECT attempt FROM tasks"), 1);
    tell(ADMIT);
    await_launched(2);
    finish(2);
    await(ENDED("5"), 1);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM attempts WHERE message = 'gave way to run 9 other'"),
                     1);
    scheduler_stop(s);
}

/* It has ended well before it hears that it is to stop: it did not give way. */
static void test_it_is_done_already(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE);
    await(WAITS, 1);
    tell(ADMIT);
    await_launched(1);
    exec.well = true;
    tell(PREEMPT);
    await(ENDED("5"), 1);
    await(OVER, 1);
    assert_int_equal(exec.launched, 1);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE reason > 0"), 0);
    scheduler_stop(s);
}

/* Both are heard in one turn: it never begins, and waits as the same attempt. */
static void test_giving_way_before_it_begins(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE);
    await(WAITS, 1);
    tell("BEGIN;" ADMIT PREEMPT "COMMIT");
    await("SELECT count(*) FROM queue_work WHERE state = 1 AND news AND attempt = 1", 1);
    assert_int_equal(exec.launched, 0);
    tell(ADMIT);
    await_launched(1);
    finish(1);
    await(ENDED("5"), 1);
    scheduler_stop(s);
}

/* What the placer says while no owner lives is heard by the next; what it said before is known by the row. */
static void test_owners_come_and_go(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE);
    await(WAITS, 1);
    scheduler_stop(s);
    tell(ADMIT);
    s = start();
    await_launched(1);
    assert_non_null(strstr(exec.pin, "h100"));
    scheduler_stop(s);
    tell(PREEMPT "DELETE FROM inbox"); /* it was heard, and its owner died before it could kill */
    s = start();
    await("SELECT count(*) FROM queue_work WHERE state = 1 AND news AND attempt = 2", 1);
    assert_true(exec.killed >= 1);
    scheduler_stop(s);
    s = start(); /* it waits, and is not asked for twice */
    tell(ADMIT);
    await_launched(2);
    finish(2);
    await(ENDED("5"), 1);
    await(OVER, 1);
    scheduler_stop(s);
}

/* What another cluster has room for does not begin here, even if its word comes late. */
static void test_owners_of_another_cluster(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE);
    await(WAITS, 1);
    scheduler_stop(s);
    tell("UPDATE queue_work SET domain = 'other'; " ADMIT);
    tell("UPDATE inbox SET payload = payload || '{\"domain\": \"other\"}'");
    s = start();
    await("SELECT count(*) FROM queue_work WHERE state = 1 AND news AND domain = 'test:1' AND pin IS NULL", 1);
    await("SELECT count(*) FROM inbox", 0);
    usleep(100000);
    assert_int_equal(exec.launched, 0);
    tell(ADMIT);
    await_launched(1);
    scheduler_stop(s);
    tell("UPDATE queue_work SET domain = 'other'"); /* what runs already is not asked for again */
    s = start();
    finish(1);
    await(OVER, 1);
    await(ENDED("5"), 1);
    assert_int_equal(exec.launched, 1);
    scheduler_stop(s);
}

/* Who asks nobody gives back what others have asked for. */
static void test_owners_that_ask_nobody(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE "  b: {run: x, image: i, queue: q}\n");
    await(WAITS, 2);
    tell("UPDATE queue_work SET news = false, state = 2, got = 'h100', pin = '{}'");
    scheduler_stop(s);
    executor.placed = false;
    s = start();
    await_launched(2);
    await(OVER, 2);
    finish(1);
    await(ENDED("5"), 1);
    scheduler_stop(s);
    executor.placed = true;
}

/* A machine's steps wait until it is known whether there is a queue; where there is none they start as they come. */
static void test_only_where_there_is_a_queue(void **state)
{
    (void)state;
    mode = EXEC_UNSURE;
    struct scheduler *s = start();
    submit(ONE);
    submit("  b: {run: x, image: i}\n");
    await_launched(1); /* which needs none of this */
    await("SELECT count(*) FROM active_runs WHERE waiting::text LIKE '%waits to hear which queues there are%'", 1);
    mode = EXEC_COUNTS;
    await_launched(2);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM queue_work"), 0);
    mode = EXEC_PLACES;
    submit(ONE);
    await(WAITS, 1);
    tell(ADMIT);
    await_launched(3);
    submit(ONE);
    await(WAITS, 1);
    mode = EXEC_COUNTS; /* who has asked need not wait for an answer */
    await_launched(4);
    assert_string_equal(exec.pin, "");
    await(OVER, 1);
    finish(1);
    await(ENDED("5"), 4);
    scheduler_stop(s);
}

/* What was to start on another machine, and did not, is asked for here; its first placer's answer is nobody's then. */
static void test_another_machine_asks_anew(void **state)
{
    (void)state;
    struct scheduler *s = start();
    executor.domain = "left";
    submit(ONE);
    await("SELECT count(*) FROM queue_work WHERE state = 1 AND domain = 'left'", 1);
    scheduler_stop(s);
    tell(ADMIT);
    executor.domain = "right";
    s = start();
    await("SELECT count(*) FROM queue_work WHERE state = 1 AND news AND domain = 'right' AND attempt = 1", 1);
    assert_int_equal(exec.launched, 0);
    tell(ADMIT);
    await_launched(1);
    finish(1);
    await(ENDED("5"), 1);
    scheduler_stop(s);
}

/* Who is there already has its room after a restart, too. */
static void test_what_runs_has_its_cores(void **state)
{
    (void)state;
    cores = 3000;
    struct scheduler *s = start();
    submit("  a: {run: x, image: i, resources: {cpu: 2}}\n");
    await_launched(1);
    submit("  b: {run: x, image: i, resources: {cpu: 2}}\n");
    scheduler_stop(s);
    s = start();
    submit("  c: {run: x, image: i, resources: {cpu: 1}}\n");
    await_launched(2);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE path = 'b' AND attempt > 0"), 0);
    scheduler_stop(s);
}

#define D(digit) "sha256:" digit "111111111111111111111111111111111111111111111111111111111111111"
#define UPLOADED(project, digit)                                                                                       \
    "INSERT INTO blobs (project_id, digest, size, created_by) VALUES (" project ", '" D(digit) "', 5, 'x');"
#define ARTIFACTS "SELECT count(*) FROM artifacts"

/* A pod may say anything of what it has kept: only what its project has, as long as said, makes a success. */
static void test_what_pods_tell_is_looked_up(void **state)
{
    (void)state;
    static const struct {
        const char *name, *digest;
        int64_t size;
        bool taken;
    } rows[] = {{"its own", D("a"), 5, true},
                {"of another length", D("a"), 6, false},
                {"another project's", D("b"), 5, false},
                {"nobody's", D("c"), 5, false}};
    tell("INSERT INTO projects (name, created_by) VALUES ('other', 'x');" UPLOADED("1", "a")
             UPLOADED("(SELECT max(id) FROM projects)", "b") UPLOADED("1", "d"));
    struct scheduler *s = start();
    int64_t artifacts = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        exec.left[0] = (struct exec_output){STR("first"), STR("model"), STR(D("d")), STR("{}"), 5};
        exec.left[1] = (struct exec_output){STR("m"), STR("model"), str_of(rows[i].digest), STR("{}"), rows[i].size};
        exec.n_left = 2;
        int64_t run = submit("  a: {run: x, image: i}\n");
        await_launched((uint32_t)i + 1);
        finish(1);
        await(arena_printf(&test.arena, "SELECT count(*) FROM runs WHERE id = %lld AND state = %d", (long long)run,
                           rows[i].taken ? RUN_SUCCEEDED : RUN_FAILED)
                  .p,
              1);
        artifacts += rows[i].taken ? 2 : 0;
        assert_int_equal(support_number(&test, ARTIFACTS), artifacts);
    }
    assert_int_equal(support_number(&test, "SELECT count(*) FROM blobs"), 3);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM tasks WHERE reason = 20 AND free_failures = 0 AND "
                                           "message LIKE '%output ''m'' is not there: the project has no sha256:%'"),
                     3);
    scheduler_stop(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(asked_admitted_over),
                                       TEST(pause_and_cancel),
                                       TEST(giving_way),
                                       TEST(it_is_done_already),
                                       TEST(giving_way_before_it_begins),
                                       TEST(owners_come_and_go),
                                       TEST(owners_of_another_cluster),
                                       TEST(owners_that_ask_nobody),
                                       TEST(only_where_there_is_a_queue),
                                       TEST(another_machine_asks_anew),
                                       TEST(what_runs_has_its_cores),
                                       TEST(what_pods_tell_is_looked_up)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
