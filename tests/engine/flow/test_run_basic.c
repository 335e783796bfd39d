/* Runs without expressions: chains, failures, retries, cancel, pause, restore. */
#include "tests/engine/flow/rig.h"

struct fixture {
    struct arena a;
    struct build b;
    struct rig g;
};

static void begin(struct fixture *f, uint32_t graphs)
{
    arena_init(&f->a, 0);
    build_init(&f->b, &f->a, graphs, 32);
}

static void start(struct fixture *f)
{
    rig_init(&f->g, build_end(&f->b), value_null());
    rig_begin(&f->g);
    rig_settle(&f->g);
}

static void end(struct fixture *f)
{
    rig_free(&f->g);
    arena_free(&f->a);
}

static void noop_chain(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_NOOP, NULL);
    build_node(&f.b, 0, "b", VERB_NOOP, "a");
    build_node(&f.b, 0, "c", VERB_NOOP, "b");
    rig_init(&f.g, build_end(&f.b), value_null());
    rig_begin(&f.g);
    assert_true(rig_turn(&f.g)); /* one layer a turn */
    rig_expect(&f.g, "a", TASK_SUCCEEDED);
    rig_expect(&f.g, "b", TASK_READY);
    rig_crash(&f.g);
    rig_settle(&f.g);
    rig_expect(&f.g, "c", TASK_SUCCEEDED);
    rig_expect_run(&f.g, RUN_SUCCEEDED);
    assert_int_equal(f.g.events_of[EVENT_TASK_SUCCEEDED], 3);
    assert_int_equal(f.g.events_of[EVENT_TASK_STARTED], 0);
    assert_true(f.g.finished);
    end(&f);
}

static void diamond_with_failure(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_RUN, NULL);
    build_node(&f.b, 0, "bad", VERB_RUN, "a");
    build_node(&f.b, 0, "good", VERB_RUN, "a");
    build_node(&f.b, 0, "join", VERB_RUN, "bad,good");
    build_node(&f.b, 0, "after_join", VERB_NOOP, "join");
    build_node(&f.b, 0, "mend", VERB_NOOP, "bad")->rule = RULE_ANY_FAILED;
    build_node(&f.b, 0, "always", VERB_NOOP, "bad,good")->rule = RULE_ALL_DONE;
    build_node(&f.b, 0, "one", VERB_NOOP, "bad,good")->rule = RULE_ONE_SUCCEEDED;
    build_node(&f.b, 0, "none", VERB_NOOP, "good")->rule = RULE_ANY_FAILED;
    start(&f);
    rig_ok(&f.g, "a", "");
    rig_settle(&f.g);
    rig_fail(&f.g, "bad", FAILURE_ERROR, 3);
    rig_settle(&f.g);
    rig_expect(&f.g, "good", TASK_RUNNING); /* goes on */
    rig_ok(&f.g, "good", "");
    rig_settle(&f.g);
    rig_expect_reason(&f.g, "bad", TASK_FAILED, REASON_ERROR);
    rig_expect_reason(&f.g, "join", TASK_SKIPPED, REASON_UPSTREAM_FAILED);
    rig_expect_reason(&f.g, "after_join", TASK_SKIPPED, REASON_UPSTREAM_FAILED);
    rig_expect(&f.g, "mend", TASK_SUCCEEDED);
    rig_expect(&f.g, "always", TASK_SUCCEEDED);
    rig_expect(&f.g, "one", TASK_SUCCEEDED);
    rig_expect_reason(&f.g, "none", TASK_SKIPPED, REASON_RULE);
    rig_expect_run(&f.g, RUN_FAILED);
    assert_string_equal(f.g.message, "bad: it went wrong");

    /* plain retry: what failed and what hung on it; what succeeded is kept */
    rig_do(&f.g, COMMAND_RETRY, "{\"bundle\":\"sha256:new\"}");
    rig_settle(&f.g);
    rig_expect(&f.g, "good", TASK_SUCCEEDED);
    rig_expect(&f.g, "mend", TASK_SUCCEEDED);
    assert_true(str_is(run_bundle(f.g.run), "sha256:new"));
    assert_int_equal(run_task_attempt(f.g.run, rig_task(&f.g, "bad")), 2);
    assert_int_equal(f.g.n_attempt_keys, 1);
    rig_crash(&f.g);
    rig_settle(&f.g);
    rig_ok(&f.g, "bad", "");
    rig_settle(&f.g);
    rig_ok(&f.g, "join", "");
    rig_settle(&f.g);
    rig_expect(&f.g, "after_join", TASK_SUCCEEDED);
    rig_expect_run(&f.g, RUN_SUCCEEDED);

    /* from: that step and all downstream, whatever became of it */
    struct err err = {0};
    assert_false(rig_command(&f.g, COMMAND_RETRY, NULL, &err));
    assert_false(rig_command(&f.g, COMMAND_RETRY, "{\"from\":\"nobody\"}", &err));
    rig_do(&f.g, COMMAND_RETRY, "{\"from\":\"bad\"}");
    rig_settle(&f.g);
    rig_expect(&f.g, "a", TASK_SUCCEEDED);
    rig_expect(&f.g, "bad", TASK_RUNNING);
    rig_expect(&f.g, "join", TASK_PENDING);
    rig_expect(&f.g, "mend", TASK_PENDING);
    rig_expect(&f.g, "none", TASK_SKIPPED);
    end(&f);
}

static void retries(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_RUN, NULL)->retry =
        (struct retry){.limit = 2, .base_ms = 1000, .factor = 2, .on = FAILURE_ERROR | FAILURE_OOM};
    start(&f);
    uint32_t a = rig_task(&f.g, "a");
    rig_fail(&f.g, "a", FAILURE_INFRA, -1); /* free */
    rig_commit(&f.g);
    rig_expect_reason(&f.g, "a", TASK_BACKOFF, REASON_INFRA);
    rig_crash(&f.g);
    rig_commit(&f.g);
    rig_time(&f.g, 60000);
    rig_settle(&f.g);
    rig_expect(&f.g, "a", TASK_RUNNING);
    for (int i = 0; i < 2; i++) {
        rig_fail(&f.g, "a", FAILURE_ERROR, 1);
        rig_commit(&f.g);
        rig_expect(&f.g, "a", TASK_BACKOFF);
        rig_time(&f.g, 500);
        rig_settle(&f.g);
        rig_expect(&f.g, "a", TASK_BACKOFF);
        rig_time(&f.g, 60000);
        rig_settle(&f.g);
        rig_expect(&f.g, "a", TASK_RUNNING);
    }
    assert_int_equal(run_task_attempt(f.g.run, a), 4);
    assert_false(rig_end_with(&f.g, a, 3, (struct task_result){.ok = true})); /* an older attempt */
    rig_fail(&f.g, "a", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    rig_expect(&f.g, "a", TASK_FAILED);
    rig_expect_run(&f.g, RUN_FAILED);
    assert_int_equal(f.g.n_attempt_keys, 3);
    end(&f);
}

/* Whoever gave way has not failed. */
static void a_back_off_is_told(void **state)
{
    (void)state;
    static const struct {
        enum reason reason;
        const char *text;
    } rows[] = {{REASON_INFRA, "failed, and starts again after its back-off"},
                {REASON_PREEMPTED, "gave way to other work, and waits again"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        begin(&f, 1);
        build_node(&f.b, 0, "a", VERB_RUN, NULL);
        start(&f);
        uint32_t a = rig_task(&f.g, "a");
        assert_true(rig_end_with(&f.g, a, run_task_attempt(f.g.run, a),
                                 (struct task_result){.failure = FAILURE_INFRA, .reason = rows[i].reason}));
        BUF_AUTO why;
        buf_init(&why, 0);
        assert_true(run_task_waits(f.g.run, a, &why));
        assert_string_equal(why.p, rows[i].text);
        end(&f);
    }
}

/* A shell may keep one time a run: called early, for a reason of its own, it must be told the next time again. */
static void timer_called_early(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_RUN, NULL)->retry = (struct retry){.limit = 1, .base_ms = 5000, .on = FAILURE_ERROR};
    start(&f);
    rig_fail(&f.g, "a", FAILURE_ERROR, 1);
    rig_commit(&f.g);
    int64_t due_us = f.g.timer_us;
    assert_true(due_us > f.g.now_us);
    f.g.timer_us = f.g.now_us + 1000; /* the shell's own, in the same place */
    rig_time(&f.g, 2);
    rig_commit(&f.g);
    assert_int_equal(f.g.timer_us, due_us);
    rig_expect(&f.g, "a", TASK_BACKOFF);
    rig_time(&f.g, 6000);
    rig_settle(&f.g);
    rig_expect(&f.g, "a", TASK_RUNNING);
    end(&f);
}

static void cancelling(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_RUN, NULL);
    build_node(&f.b, 0, "b", VERB_RUN, "a");
    build_node(&f.b, 0, "ok", VERB_NOOP, NULL)->after = AFTER_SUCCESS;
    build_node(&f.b, 0, "bad", VERB_NOOP, NULL)->after = AFTER_FAILURE;
    build_node(&f.b, 0, "always", VERB_RUN, NULL)->after = AFTER_ALWAYS;
    start(&f);
    rig_do(&f.g, COMMAND_CANCEL, "{\"graceMs\":1500}");
    rig_settle(&f.g);
    assert_int_equal(f.g.grace_ms, 1500);
    rig_expect(&f.g, "a", TASK_STOPPING);
    rig_expect(&f.g, "b", TASK_CANCELLED);
    rig_expect_run(&f.g, RUN_CANCELLING);
    rig_crash(&f.g);
    rig_settle(&f.g);
    rig_fail(&f.g, "a", FAILURE_ERROR, 143);
    rig_settle(&f.g);
    rig_expect_reason(&f.g, "a", TASK_CANCELLED, REASON_CANCELLED);
    rig_expect(&f.g, "ok", TASK_SKIPPED);
    rig_expect(&f.g, "bad", TASK_SKIPPED);
    rig_expect(&f.g, "always", TASK_RUNNING);
    rig_ok(&f.g, "always", "");
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_CANCELLED);
    struct err err = {0};
    assert_false(rig_command(&f.g, COMMAND_CANCEL, NULL, &err));

    rig_do(&f.g, COMMAND_RETRY, NULL);
    rig_settle(&f.g);
    rig_expect(&f.g, "a", TASK_RUNNING);
    rig_expect(&f.g, "always", TASK_PENDING);
    rig_do(&f.g, COMMAND_CANCEL, NULL);
    rig_settle(&f.g);
    rig_fail(&f.g, "a", FAILURE_ERROR, 143);
    rig_settle(&f.g);
    rig_expect(&f.g, "always", TASK_RUNNING);
    rig_do(&f.g, COMMAND_CANCEL, NULL); /* again: the onExit step too */
    rig_settle(&f.g);
    rig_expect(&f.g, "always", TASK_STOPPING);
    rig_fail(&f.g, "always", FAILURE_ERROR, 143);
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_CANCELLED);
    end(&f);
}

/* What a second cancel adds, and the grace, are as durable as the cancel itself. */
static void cancelled_twice(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_RUN, NULL);
    build_node(&f.b, 0, "always", VERB_RUN, NULL)->after = AFTER_ALWAYS;
    start(&f);
    rig_do(&f.g, COMMAND_CANCEL, NULL);
    rig_settle(&f.g);
    rig_do(&f.g, COMMAND_CANCEL, "{\"graceMs\":700}");
    rig_commit(&f.g); /* what has not begun is cancelled in a later turn, which never comes */
    f.g.grace_ms = 0;
    rig_crash(&f.g);
    rig_settle(&f.g);
    assert_int_equal(f.g.grace_ms, 700); /* a is killed again, as before */
    rig_expect(&f.g, "always", TASK_CANCELLED);
    rig_fail(&f.g, "a", FAILURE_ERROR, 143);
    rig_settle(&f.g);
    rig_expect(&f.g, "always", TASK_CANCELLED);
    rig_expect_run(&f.g, RUN_CANCELLED);

    rig_do(&f.g, COMMAND_RETRY, NULL); /* and forgotten by a retry */
    rig_settle(&f.g);
    rig_crash(&f.g);
    rig_ok(&f.g, "a", "");
    rig_settle(&f.g);
    rig_expect(&f.g, "always", TASK_RUNNING);
    end(&f);
}

/* Every attempt names the code it ran, also one that later retries with other code kept. */
static void code_of_attempts(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "kept", VERB_RUN, NULL);
    build_node(&f.b, 0, "bad", VERB_RUN, NULL);
    start(&f);
    rig_ok(&f.g, "kept", "");
    rig_fail(&f.g, "bad", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    rig_do(&f.g, COMMAND_RETRY, "{\"bundle\":\"sha256:new\"}");
    rig_settle(&f.g);
    assert_string_equal(f.g.old_bundle, "sha256:old");
    rig_crash(&f.g);
    rig_settle(&f.g);
    assert_true(str_is(run_bundle(f.g.run), "sha256:new")); /* what bad runs, also after a crash */
    rig_fail(&f.g, "bad", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    rig_do(&f.g, COMMAND_RETRY, "{\"bundle\":\"sha256:newer\"}");
    rig_settle(&f.g);
    assert_string_equal(f.g.old_bundle, "sha256:new");
    rig_crash(&f.g);
    rig_fail(&f.g, "bad", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    rig_do(&f.g, COMMAND_RETRY, "{\"from\":\"kept\"}");
    rig_commit(&f.g);
    uint32_t kept = rig_task(&f.g, "kept");
    assert_true(f.g.rows[kept].row.other_bundle);
    assert_true(str_is(f.g.rows[kept].row.bundle, "sha256:old"));
    assert_int_equal(f.g.n_attempt_keys, 4);
    rig_settle(&f.g);
    assert_false(f.g.rows[kept].row.other_bundle); /* its new attempt runs the run's */
    end(&f);
}

/* A retried run that waits for others of its pipeline, and is restored meanwhile. */
static void held(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_NOOP, NULL);
    build_node(&f.b, 0, "bad", VERB_RUN, "a");
    build_node(&f.b, 0, "last", VERB_NOOP, "bad");
    f.b.graphs[0].deadline_ms = 5000;
    start(&f);
    rig_fail(&f.g, "bad", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    run_hold(f.g.run);
    rig_expect_run(&f.g, RUN_FAILED); /* only a retry is held */
    for (int crash = 0; crash < 2; crash++) {
        rig_do(&f.g, COMMAND_RETRY, NULL);
        run_hold(f.g.run);
        rig_settle(&f.g);
        if (crash) rig_crash(&f.g);
        rig_time(&f.g, 20000); /* the deadline is of its work, not of its wait */
        rig_settle(&f.g);
        rig_expect_run(&f.g, RUN_QUEUED);
        rig_expect(&f.g, "a", TASK_SUCCEEDED);
        rig_begin(&f.g);
        rig_settle(&f.g);
        rig_expect_run(&f.g, RUN_RUNNING);
        rig_fail(&f.g, "bad", FAILURE_ERROR, 1);
        rig_settle(&f.g);
        rig_expect_run(&f.g, RUN_FAILED);
        assert_int_equal(run_task_attempt(f.g.run, rig_task(&f.g, "bad")), 2 + crash);
    }
    rig_do(&f.g, COMMAND_RETRY, NULL);
    run_hold(f.g.run);
    rig_settle(&f.g);
    rig_do(&f.g, COMMAND_CANCEL, NULL);
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_CANCELLED);
    rig_do(&f.g, COMMAND_RETRY, NULL);
    rig_settle(&f.g);
    rig_ok(&f.g, "bad", "");
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_SUCCEEDED);
    end(&f);
}

static void exits(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_NOOP, NULL);
    build_node(&f.b, 0, "ok", VERB_NOOP, NULL)->after = AFTER_SUCCESS;
    build_node(&f.b, 0, "bad", VERB_NOOP, NULL)->after = AFTER_FAILURE;
    build_node(&f.b, 0, "tell", VERB_RUN, "ok")->after = AFTER_ALWAYS;
    start(&f);
    rig_expect(&f.g, "ok", TASK_SUCCEEDED);
    rig_expect_reason(&f.g, "bad", TASK_SKIPPED, REASON_AFTER);
    rig_expect_run(&f.g, RUN_RUNNING);
    rig_fail(&f.g, "tell", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_FAILED);
    rig_do(&f.g, COMMAND_RETRY, NULL);
    rig_settle(&f.g);
    rig_expect(&f.g, "tell", TASK_RUNNING);
    rig_ok(&f.g, "tell", "");
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_SUCCEEDED);
    end(&f);
}

static void pausing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_RUN, NULL);
    build_node(&f.b, 0, "b", VERB_RUN, "a");
    start(&f);
    rig_do(&f.g, COMMAND_PAUSE, "{\"by\":\"me\"}");
    rig_ok(&f.g, "a", "{\"x\":1}");
    rig_settle(&f.g);
    rig_expect(&f.g, "b", TASK_READY);
    rig_expect_run(&f.g, RUN_PAUSED);
    rig_crash(&f.g);
    rig_settle(&f.g);
    rig_expect(&f.g, "b", TASK_READY);
    BUF_AUTO why;
    buf_init(&why, 0);
    assert_true(run_task_waits(f.g.run, rig_task(&f.g, "b"), &why));
    assert_string_equal(why.p, "the run is paused");
    rig_do(&f.g, COMMAND_RESUME, NULL);
    rig_settle(&f.g);
    rig_expect(&f.g, "b", TASK_RUNNING);
    end(&f);
}

static void deadline(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    f.b.graphs[0].deadline_ms = 5000;
    build_node(&f.b, 0, "a", VERB_RUN, NULL);
    build_node(&f.b, 0, "tell", VERB_NOOP, NULL)->after = AFTER_FAILURE;
    start(&f);
    rig_crash(&f.g);
    rig_settle(&f.g);
    rig_time(&f.g, 6000);
    rig_settle(&f.g);
    rig_expect(&f.g, "a", TASK_STOPPING);
    rig_fail(&f.g, "a", FAILURE_ERROR, 143);
    rig_settle(&f.g);
    rig_expect_reason(&f.g, "a", TASK_CANCELLED, REASON_DEADLINE);
    rig_expect(&f.g, "tell", TASK_SUCCEEDED);
    rig_expect_run(&f.g, RUN_FAILED);
    end(&f);
}

static void parallelism_of_graph(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    f.b.graphs[0].parallelism = 2;
    build_node(&f.b, 0, "a", VERB_RUN, NULL);
    build_node(&f.b, 0, "b", VERB_RUN, NULL);
    build_node(&f.b, 0, "c", VERB_RUN, NULL);
    build_node(&f.b, 0, "d", VERB_RUN, NULL)->priority = 5;
    start(&f);
    rig_expect(&f.g, "a", TASK_RUNNING);
    rig_expect(&f.g, "b", TASK_RUNNING);
    rig_expect(&f.g, "c", TASK_READY);
    BUF_AUTO why;
    buf_init(&why, 0);
    assert_true(run_task_waits(f.g.run, rig_task(&f.g, "c"), &why));
    assert_string_equal(why.p, "parallelism of its pipeline: 2 of 2 run");
    rig_ok(&f.g, "a", "");
    rig_settle(&f.g);
    rig_expect(&f.g, "d", TASK_RUNNING); /* by priority */
    rig_expect(&f.g, "c", TASK_READY);
    rig_ok(&f.g, "b", "");
    rig_settle(&f.g);
    rig_expect(&f.g, "c", TASK_RUNNING);
    end(&f);
}

static void cache(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "hit", VERB_RUN, NULL)->cache.on = true;
    build_node(&f.b, 0, "miss", VERB_RUN, NULL)->cache.on = true;
    start(&f);
    assert_int_equal(f.g.n_asked, 2);
    rig_expect(&f.g, "hit", TASK_READY);
    rig_crash(&f.g);
    rig_settle(&f.g);
    assert_int_equal(f.g.n_asked, 2); /* asked again */
    assert_true(run_cache_answer(f.g.run, rig_task(&f.g, "hit"), STR("{\"x\":1}"), f.g.now_us, &f.g.out));
    assert_false(run_cache_answer(f.g.run, rig_task(&f.g, "hit"), STR("{\"x\":1}"), f.g.now_us, &f.g.out));
    assert_false(run_cache_answer(f.g.run, rig_task(&f.g, "miss"), STR(""), f.g.now_us, &f.g.out));
    rig_settle(&f.g);
    rig_expect_reason(&f.g, "hit", TASK_SUCCEEDED, REASON_CACHED);
    rig_expect(&f.g, "miss", TASK_RUNNING);
    end(&f);
}

/* What a retry names runs, whatever the cache has, also when the server dies in between; what comes after it may be
 * taken from the cache. */
static void a_retry_from_a_step_runs_it(void **state)
{
    (void)state;
    for (int restored = 0; restored < 2; restored++) {
        struct fixture f;
        begin(&f, 1);
        struct node *named = build_node(&f.b, 0, "named", VERB_RUN, NULL);
        named->cache.on = true;
        named->retry = (struct retry){.limit = 1, .on = FAILURE_ERROR};
        build_node(&f.b, 0, "after", VERB_RUN, "named")->cache.on = true;
        start(&f);
        assert_true(run_cache_answer(f.g.run, rig_task(&f.g, "named"), STR("{}"), f.g.now_us, &f.g.out));
        rig_settle(&f.g);
        assert_true(run_cache_answer(f.g.run, rig_task(&f.g, "after"), STR("{}"), f.g.now_us, &f.g.out));
        rig_settle(&f.g);
        rig_expect_run(&f.g, RUN_SUCCEEDED);
        f.g.n_asked = 0;
        rig_do(&f.g, COMMAND_RETRY, "{\"from\":\"named\"}");
        rig_commit(&f.g);
        if (restored) rig_crash(&f.g);
        rig_settle(&f.g);
        rig_expect(&f.g, "named", TASK_RUNNING);
        rig_fail(&f.g, "named", FAILURE_ERROR, 1);
        rig_settle(&f.g);
        rig_time(&f.g, 1000);
        rig_settle(&f.g);
        rig_expect(&f.g, "named", TASK_RUNNING); /* again, not from the cache either */
        assert_int_equal(f.g.n_asked, 0);
        rig_ok(&f.g, "named", "");
        rig_settle(&f.g);
        assert_int_equal(f.g.n_asked, 1);
        rig_expect(&f.g, "after", TASK_READY);
        end(&f);
    }
}

static void nothing_at_all(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    start(&f);
    rig_expect_run(&f.g, RUN_SUCCEEDED);
    end(&f);
}

static void cancelled_before_start(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_NOOP, NULL);
    rig_init(&f.g, build_end(&f.b), value_null());
    rig_do(&f.g, COMMAND_CANCEL, NULL);
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_CANCELLED);
    rig_crash(&f.g);
    rig_do(&f.g, COMMAND_RETRY, NULL);
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_SUCCEEDED);
    end(&f);
}

static void aborted(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    build_node(&f.b, 0, "a", VERB_RUN, NULL);
    build_node(&f.b, 0, "b", VERB_RUN, "a");
    start(&f);
    run_abort(f.g.run, STR("no"), f.g.now_us, &f.g.out);
    rig_commit(&f.g);
    rig_expect_run(&f.g, RUN_FAILED);
    assert_true(f.g.grace_seen);
    rig_crash(&f.g);
    rig_do(&f.g, COMMAND_RETRY, NULL);
    rig_settle(&f.g);
    rig_expect(&f.g, "a", TASK_RUNNING);
    rig_ok(&f.g, "a", "");
    rig_settle(&f.g);
    rig_expect(&f.g, "b", TASK_RUNNING);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noop_chain),
        cmocka_unit_test(diamond_with_failure),
        cmocka_unit_test(retries),
        cmocka_unit_test(a_back_off_is_told),
        cmocka_unit_test(timer_called_early),
        cmocka_unit_test(cancelling),
        cmocka_unit_test(cancelled_twice),
        cmocka_unit_test(code_of_attempts),
        cmocka_unit_test(held),
        cmocka_unit_test(exits),
        cmocka_unit_test(pausing),
        cmocka_unit_test(deadline),
        cmocka_unit_test(parallelism_of_graph),
        cmocka_unit_test(cache),
        cmocka_unit_test(a_retry_from_a_step_runs_it),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(cancelled_before_start),
        cmocka_unit_test(aborted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
