/* When a step may run, by its rule and what became of its upstream; and times that no longer count: of an earlier
 * generation, of a wait that was begun anew. */
#include "tests/engine/flow/rig.h"

struct fixture {
    struct arena a;
    struct build b;
    struct rig g;
};

static void begin(struct fixture *f)
{
    arena_init(&f->a, 0);
    build_init(&f->b, &f->a, 1, 32);
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

/* ---- rules ---- */

/* How a step upstream ends, by a letter: s = succeeded, f = failed, k = skipped by its condition, u = skipped since its
 * own upstream failed, r = skipped by its own rule. */
static void build_upstream(struct fixture *f, const char *name, char how)
{
    struct node *n = build_node(&f->b, 0, name, how == 'f' ? VERB_RUN : VERB_NOOP,
                                how == 'u'   ? "broken"
                                : how == 'r' ? "fine"
                                             : NULL);
    if (how == 'k') n->when = build_expr(&f->b, "false");
    if (how == 'r') n->rule = RULE_ANY_FAILED;
}

static void expect_rule(enum rule rule, const char *upstream, enum reason want)
{
    struct fixture f;
    char names[2][2] = {"x", "y"};
    begin(&f);
    build_node(&f.b, 0, "broken", VERB_RUN, NULL);
    build_node(&f.b, 0, "fine", VERB_NOOP, NULL);
    for (size_t i = 0; upstream[i]; i++)
        build_upstream(&f, names[i], upstream[i]);
    build_node(&f.b, 0, "step", VERB_NOOP, upstream[1] ? "x,y" : "x")->rule = rule;
    start(&f);
    rig_fail(&f.g, "broken", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    for (size_t i = 0; upstream[i]; i++)
        if (upstream[i] == 'f') rig_fail(&f.g, names[i], FAILURE_ERROR, 1);
    rig_settle(&f.g);
    print_message("rule %d, upstream %s\n", rule, upstream);
    rig_expect_reason(&f.g, "step", want == REASON_NONE ? TASK_SUCCEEDED : TASK_SKIPPED, want);
    end(&f);
}

static void rules(void **state)
{
    (void)state;
    static const struct {
        const char *upstream;
        enum reason all_succeeded, all_done, any_failed, one_succeeded;
    } rows[] = {
        {"s", REASON_NONE, REASON_NONE, REASON_RULE, REASON_NONE},
        {"f", REASON_UPSTREAM_FAILED, REASON_NONE, REASON_NONE, REASON_UPSTREAM_FAILED},
        {"k", REASON_NONE, REASON_NONE, REASON_RULE, REASON_RULE},
        {"u", REASON_UPSTREAM_FAILED, REASON_NONE, REASON_NONE, REASON_UPSTREAM_FAILED},
        {"r", REASON_NONE, REASON_NONE, REASON_RULE, REASON_RULE},
        {"ss", REASON_NONE, REASON_NONE, REASON_RULE, REASON_NONE},
        {"sf", REASON_UPSTREAM_FAILED, REASON_NONE, REASON_NONE, REASON_NONE},
        {"sk", REASON_NONE, REASON_NONE, REASON_RULE, REASON_NONE},
        {"su", REASON_UPSTREAM_FAILED, REASON_NONE, REASON_NONE, REASON_NONE},
        {"ff", REASON_UPSTREAM_FAILED, REASON_NONE, REASON_NONE, REASON_UPSTREAM_FAILED},
        {"fk", REASON_UPSTREAM_FAILED, REASON_NONE, REASON_NONE, REASON_UPSTREAM_FAILED},
        {"kk", REASON_NONE, REASON_NONE, REASON_RULE, REASON_RULE},
        {"uk", REASON_UPSTREAM_FAILED, REASON_NONE, REASON_NONE, REASON_UPSTREAM_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_rule(RULE_ALL_SUCCEEDED, rows[i].upstream, rows[i].all_succeeded);
        expect_rule(RULE_ALL_DONE, rows[i].upstream, rows[i].all_done);
        expect_rule(RULE_ANY_FAILED, rows[i].upstream, rows[i].any_failed);
        expect_rule(RULE_ONE_SUCCEEDED, rows[i].upstream, rows[i].one_succeeded);
    }
}

/* ---- times ---- */

/* A retry's deadline begins with it, whether the run stayed in memory or came back. */
static void a_deadline_is_of_its_generation(void **state)
{
    (void)state;
    for (int restored = 0; restored < 2; restored++) {
        struct fixture f;
        begin(&f);
        f.b.graphs[0].deadline_ms = 5000;
        build_node(&f.b, 0, "a", VERB_RUN, NULL);
        start(&f);
        rig_time(&f.g, 3000);
        rig_fail(&f.g, "a", FAILURE_ERROR, 1);
        rig_settle(&f.g);
        rig_expect_run(&f.g, RUN_FAILED);
        rig_do(&f.g, COMMAND_RETRY, NULL);
        rig_settle(&f.g);
        if (restored) rig_crash(&f.g);
        rig_settle(&f.g);
        rig_time(&f.g, 3000); /* behind the first deadline, before the second */
        rig_settle(&f.g);
        rig_expect_run(&f.g, RUN_RUNNING);
        rig_expect(&f.g, "a", TASK_RUNNING);
        rig_time(&f.g, 3000);
        rig_settle(&f.g);
        rig_expect_run(&f.g, RUN_CANCELLING);
        rig_expect_reason(&f.g, "a", TASK_STOPPING, REASON_DEADLINE);
        end(&f);
    }
}

/* The time of a wait that was given up and begun anew is void. */
static void a_void_time_moves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    build_node(&f.b, 0, "w", VERB_WAIT, NULL)->wait_for = build_template(&f.b, "5s");
    build_node(&f.b, 0, "ask", VERB_APPROVAL, NULL)->timeout_ms = 5000;
    build_node(&f.b, 0, "again", VERB_RUN, NULL)->retry =
        (struct retry){.limit = 3, .base_ms = 5000, .factor = 1, .on = FAILURE_ERROR};
    start(&f);
    rig_fail(&f.g, "again", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    rig_time(&f.g, 3000);
    rig_do(&f.g, COMMAND_CANCEL, NULL);
    rig_settle(&f.g);
    rig_expect_run(&f.g, RUN_CANCELLED);
    rig_do(&f.g, COMMAND_RETRY, NULL);
    rig_settle(&f.g);
    rig_fail(&f.g, "again", FAILURE_ERROR, 1);
    rig_settle(&f.g);
    rig_time(&f.g, 3000); /* behind the first times, before the second */
    rig_settle(&f.g);
    rig_expect_reason(&f.g, "w", TASK_WAITING, REASON_AWAITS_TIME);
    rig_expect_reason(&f.g, "ask", TASK_WAITING, REASON_AWAITS_APPROVAL);
    rig_expect(&f.g, "again", TASK_BACKOFF);
    rig_time(&f.g, 7000);
    rig_settle(&f.g);
    rig_expect(&f.g, "w", TASK_SUCCEEDED);
    rig_expect_reason(&f.g, "ask", TASK_FAILED, REASON_EXPIRED);
    rig_expect(&f.g, "again", TASK_RUNNING);
    end(&f);
}

#define MI ((int64_t)1 << 20)

/* Fails as said, and is brought to its next attempt; crashes on the way change nothing. */
static int64_t memory_after(struct fixture *f, enum failure failure)
{
    rig_fail(&f->g, "a", failure, 1);
    rig_settle(&f->g);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_expect(&f->g, "a", TASK_BACKOFF);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_time(&f->g, 60000);
    rig_settle(&f->g);
    rig_expect(&f->g, "a", TASK_RUNNING);
    rig_crash(&f->g);
    rig_settle(&f->g);
    return run_task_memory(f->g.run, rig_task(&f->g, "a"));
}

static void memory_grows_after_an_oom_only(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct node *n = build_node(&f.b, 0, "a", VERB_RUN, NULL);
    n->resources.memory_bytes = 64 * MI;
    n->retry = (struct retry){.limit = 9,
                              .base_ms = 10,
                              .factor = 1,
                              .on = FAILURE_ERROR | FAILURE_OOM | FAILURE_TIMEOUT,
                              .memory_factor = 2,
                              .memory_most = 200 * MI};
    start(&f);
    assert_int_equal(run_task_memory(f.g.run, rig_task(&f.g, "a")), 64 * MI);
    assert_int_equal(memory_after(&f, FAILURE_ERROR), 64 * MI);
    assert_int_equal(f.g.old_reason, REASON_ERROR); /* the record keeps why */
    assert_int_equal(f.g.old_memory, 64 * MI);
    assert_int_equal(memory_after(&f, FAILURE_OOM), 128 * MI);
    assert_int_equal(f.g.old_reason, REASON_OOM);
    assert_int_equal(f.g.old_memory, 64 * MI);
    assert_int_equal(memory_after(&f, FAILURE_INFRA), 128 * MI);
    assert_int_equal(f.g.old_reason, REASON_INFRA);
    assert_int_equal(memory_after(&f, FAILURE_TIMEOUT), 128 * MI);
    assert_int_equal(memory_after(&f, FAILURE_OOM), 200 * MI);
    assert_int_equal(f.g.old_memory, 128 * MI);
    assert_int_equal(memory_after(&f, FAILURE_OOM), 200 * MI);
    assert_int_equal(f.g.rows[0].row.memory_bytes, 200 * MI);
    rig_fail(&f.g, "a", FAILURE_INVALID, 1);
    rig_settle(&f.g);
    rig_do(&f.g, COMMAND_RETRY, NULL); /* a user's retry begins anew */
    rig_settle(&f.g);
    assert_int_equal(run_task_memory(f.g.run, rig_task(&f.g, "a")), 64 * MI);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),
        cmocka_unit_test(a_deadline_is_of_its_generation),
        cmocka_unit_test(a_void_time_moves_nothing),
        cmocka_unit_test(memory_grows_after_an_oom_only),
    };
    return cmocka_run_group_tests_name("flow/rules", tests, NULL, NULL);
}
