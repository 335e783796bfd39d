/* What owners of runs ask the placer for, and what they do of what it says. */
#include "tests/scheduler/placing_rig.h"

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

static void test_what_is_stopped_is_not_launched_anew(void **state)
{
    (void)state;
    exec.never = true;
    struct scheduler *s = start();
    int64_t run = submit("  a: {run: x, image: i}\n");
    await_launched(1);
    command(run, COMMAND_CANCEL);
    await(ENDED("7"), 1);
    scheduler_stop(s);
    assert_int_equal(exec.launched, 1);
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

static void await_requeued(void)
{
    for (int64_t end = os_mono_us() + PATIENCE_US; exec.requeued == 0 && os_mono_us() < end; usleep(10000))
        ;
    assert_true(exec.requeued > 0);
}

/* The cluster has taken its place away, and says so. Who fails is as young as its retry. */
static void test_giving_way_to_others(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit("  a: {run: x, image: i, queue: q, resources: {gpu: 1}, retry: {limit: 1, backoff: 1ms}}\n");
    await(WAITS, 1);
    for (uint32_t attempt = 1; attempt <= 2; attempt++) {
        bool gives_way = attempt == 2;
        tell(ADMIT);
        await_launched(attempt);
        tell(LONG_AGO);
        exec.gives_way = gives_way;
        ends(attempt, false);
        await(gives_way ? WAITS " AND attempt = 3 AND pin IS NULL" : WAITS " AND attempt = 2", 1);
        assert_int_equal(support_number(&test, WAITS AND_LONG_AGO), gives_way);
        assert_int_equal(support_number(&test, "SELECT failures + free_failures FROM tasks"), 1);
    }
    tell(ADMIT);
    await_launched(3);
    finish(3);
    await(ENDED("5"), 1);
    assert_int_equal(exec.killed, 0);
    assert_int_equal(support_number(&test, "SELECT count(*) FROM attempts WHERE message LIKE 'gave way to%'"), 0);
    scheduler_stop(s);
}

/* Only the executor knows whether it has begun: it is asked to, and again by the next owner. */
static void test_being_taken_back(void **state)
{
    (void)state;
    struct scheduler *s = start();
    submit(ONE);
    await(WAITS, 1);
    tell("BEGIN;" ADMIT TAKE_BACK "COMMIT");
    await("SELECT count(*) FROM queue_work WHERE state = 1 AND news AND attempt = 1", 1); /* it was not launched */
    assert_int_equal(exec.requeued, 0);
    tell(ADMIT);
    await_launched(1);
    tell(TAKE_BACK);
    await("SELECT count(*) FROM inbox", 0);
    scheduler_stop(s);
    assert_true(exec.requeued > 0);
    exec.requeued = 0;
    s = start();
    await_requeued();
    exec.never = true; /* its Job is not there: it is launched once more */
    exec.requeued = 0;
    finish(1);
    await_launched(2);
    exec.never = false;
    await_requeued();
    assert_int_equal(exec.killed, 0);
    finish(1);
    await(ENDED("5"), 1);
    await(OVER, 1);
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
                                       TEST(what_is_stopped_is_not_launched_anew),
                                       TEST(giving_way),
                                       TEST(giving_way_to_others),
                                       TEST(it_is_done_already),
                                       TEST(giving_way_before_it_begins),
                                       TEST(being_taken_back),
                                       TEST(owners_come_and_go),
                                       TEST(owners_of_another_cluster),
                                       TEST(owners_that_ask_nobody),
                                       TEST(only_where_there_is_a_queue),
                                       TEST(another_machine_asks_anew),
                                       TEST(what_runs_has_its_cores),
                                       TEST(what_pods_tell_is_looked_up)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
