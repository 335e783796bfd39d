/* Loops, sub-pipelines, conditions and expressions in runs. */
#include "tests/engine/flow/rig.h"

struct fixture {
    struct arena a;
    struct build b;
    struct rig g;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    arena_init(&f->a, 0);
    build_init(&f->b, &f->a, 3, 32);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->g.run) rig_free(&f->g);
    arena_free(&f->a);
    free(f);
    return 0;
}

static void start_with(struct fixture *f, const char *params)
{
    struct value v = value_null();
    struct err err = {0};
    if (params && !json_decode(&f->a, str_of(params), &v, &err)) fail_msg("%s", err.message);
    rig_init(&f->g, build_end(&f->b), v);
    rig_begin(&f->g);
    rig_settle(&f->g);
}

static struct node *expr_node(struct fixture *f, uint32_t graph, const char *name, const char *value, const char *needs)
{
    struct node *n = build_node(&f->b, graph, name, VERB_EXPR, needs);
    n->value = build_template(&f->b, value);
    return n;
}

static void expect_outputs(struct fixture *f, const char *path, const char *want)
{
    struct str got = f->g.rows[rig_task(&f->g, path)].row.outputs;
    if (!str_eq(got, str_of(want))) fail_msg("%s: outputs are %.*s, not %s", path, STR_ARG(got), want);
}

static void values_flow(void **state)
{
    struct fixture *f = *state;
    expr_node(f, 0, "a", "${{ params.x + 1 }}", NULL);
    expr_node(f, 0, "b", "${{ steps.a.value * 2 }}", "a");
    build_node(&f->b, 0, "c", VERB_RUN, NULL);
    expr_node(f, 0, "d", "${{ steps.c.outputs.acc > 0.5 ? 'good' : 'bad' }}", "c");
    expr_node(f, 0, "text", "${{ run.name }} of ${{ run.pipeline }}", NULL);
    build_output(&f->b, 0, "twice", "${{ steps.b.value }}");
    start_with(f, "{\"x\":4}");
    expect_outputs(f, "b", "{\"value\":10}");
    expect_outputs(f, "text", "{\"value\":\"test-7 of test\"}");
    rig_ok(&f->g, "c", "{\"acc\":0.75}");
    rig_crash(&f->g);
    rig_commit(&f->g);
    rig_settle(&f->g);
    rig_expect(&f->g, "c", TASK_RUNNING); /* its end was lost with the turn */
    rig_ok(&f->g, "c", "{\"acc\":0.75}");
    rig_settle(&f->g);
    expect_outputs(f, "d", "{\"value\":\"good\"}");
    rig_expect_run(&f->g, RUN_SUCCEEDED);
    assert_string_equal(f->g.outputs, "{\"twice\":10}");
}

/* An optional output that was not written is absent, as the outputs of a step that was skipped are. */
static void unwritten_outputs(void **state)
{
    struct fixture *f = *state;
    struct input *given = arena_array(&f->a, struct input, 2);
    given[0] = (struct input){.name = STR("x"), .value = build_template(&f->b, "${{ steps.a.outputs.q }}")};
    given[1] = (struct input){.name = STR("y"), .value = build_template(&f->b, "${{ steps.a.outputs.p }}")};
    given[0].optional = given[1].optional = true;
    build_node(&f->b, 0, "a", VERB_RUN, NULL);
    expr_node(f, 0, "guarded", "${{ has(steps.a.outputs.q) }}", "a");
    expr_node(f, 0, "reads", "${{ steps.a.outputs.q }}", "a");
    struct node *sub = build_node(&f->b, 0, "sub", VERB_PIPELINE, "a");
    sub->graph = 1;
    sub->inputs = given;
    sub->n_inputs = 2;
    expr_node(f, 1, "seen", "${{ [params.x, params.y] }}", NULL);
    build_param(&f->b, 1, "x", value_int(9));
    build_param(&f->b, 1, "y", value_int(9));
    start_with(f, "{}");
    rig_ok(&f->g, "a", "{\"p\":3}");
    rig_settle(&f->g);
    expect_outputs(f, "guarded", "{\"value\":false}");
    rig_expect_reason(&f->g, "reads", TASK_FAILED, REASON_INVALID);
    rig_expect(&f->g, "sub", TASK_SUCCEEDED);
    expect_outputs(f, "sub.seen", "{\"value\":[9,3]}");
}

static void conditions(void **state)
{
    struct fixture *f = *state;
    struct node *off = expr_node(f, 0, "off", "1", NULL);
    off->when = build_expr(&f->b, "params.x > 100");
    expr_node(f, 0, "follows", "2", "off");
    expr_node(f, 0, "reads", "${{ steps.off.value }}", "off");
    expr_node(f, 0, "guarded", "${{ has(steps.off.value) ? 1 : 0 }}", "off");
    expr_node(f, 0, "after_reader", "3", "reads");
    struct node *odd = expr_node(f, 0, "odd", "1", NULL);
    odd->when = build_expr(&f->b, "params.x");
    build_output(&f->b, 0, "o", "${{ steps.off.value }}");
    start_with(f, "{\"x\":4}");
    rig_expect_reason(&f->g, "off", TASK_SKIPPED, REASON_CONDITION);
    rig_expect(&f->g, "follows", TASK_SUCCEEDED);
    rig_expect_reason(&f->g, "reads", TASK_SKIPPED, REASON_UPSTREAM_SKIPPED);
    rig_expect(&f->g, "after_reader", TASK_SUCCEEDED);
    expect_outputs(f, "guarded", "{\"value\":0}");
    rig_expect_reason(&f->g, "odd", TASK_FAILED, REASON_INVALID);
    rig_expect_run(&f->g, RUN_FAILED);
    assert_string_equal(f->g.message, "odd: when: must be true or false, not int");
}

static void loop_of_expressions(void **state)
{
    struct fixture *f = *state;
    struct node *loop = expr_node(f, 0, "sq", "${{ item * item + index }}", NULL);
    build_foreach(&f->b, loop, "${{ params.list }}", 0);
    expr_node(f, 0, "all", "${{ steps.sq.value }}", "sq");
    expr_node(f, 0, "best", "${{ steps.sq.outputs.maxBy(o, o.value).item }}", "sq");
    struct node *empty = expr_node(f, 0, "empty", "${{ item }}", NULL);
    build_foreach(&f->b, empty, "${{ [] }}", 0);
    expr_node(f, 0, "none", "${{ size(steps.empty.outputs) }}", "empty");
    struct node *some = expr_node(f, 0, "some", "${{ item }}", NULL);
    build_foreach(&f->b, some, "${{ params.list }}", 0);
    some->when = build_expr(&f->b, "item > 2");
    expr_node(f, 0, "statuses", "${{ steps.some.outputs.map(o, o.status) }}", "some");
    struct node *again = expr_node(f, 0, "again", "${{ item.value }}", "sq");
    build_foreach(&f->b, again, "${{ steps.sq.outputs }}", 0);
    start_with(f, "{\"list\":[1,2,3]}");
    expect_outputs(f, "sq[2]", "{\"value\":11}");
    expect_outputs(f, "all", "{\"value\":[1,5,11]}");
    expect_outputs(f, "best", "{\"value\":3}");
    expect_outputs(f, "none", "{\"value\":0}");
    expect_outputs(f, "statuses", "{\"value\":[\"skipped\",\"skipped\",\"succeeded\"]}");
    expect_outputs(f, "again[1]", "{\"value\":5}");
    rig_expect(&f->g, "sq", TASK_SUCCEEDED);
    rig_expect_run(&f->g, RUN_SUCCEEDED);
}

static void product(void **state)
{
    struct fixture *f = *state;
    struct node *n = expr_node(f, 0, "p", "${{ item.a }}${{ item.b }}", NULL);
    struct value_map_builder m;
    value_map_begin(&m, &f->a);
    value_map_put(&m, STR("a"), value_string(STR("${{ params.as }}")));
    value_map_put(&m, STR("b"), value_string(STR("${{ ['x', 'y'] }}")));
    struct value *product = arena_new(&f->a, struct value);
    *product = value_map_end(&m);
    struct expr_template *values = arena_array(&f->a, struct expr_template, 2);
    values[0] = build_template(&f->b, "${{ params.as }}");
    values[1] = build_template(&f->b, "${{ ['x', 'y'] }}");
    n->loop = true;
    n->product = product;
    n->product_values = values;
    start_with(f, "{\"as\":[1,2]}");
    expect_outputs(f, "p[0]", "{\"value\":\"1x\"}");
    expect_outputs(f, "p[1]", "{\"value\":\"1y\"}");
    expect_outputs(f, "p[3]", "{\"value\":\"2y\"}");
    rig_expect_run(&f->g, RUN_SUCCEEDED);
}

static void loop_again(struct fixture *f)
{
    rig_do(&f->g, COMMAND_RETRY, "{\"from\":\"train[3]\"}"); /* an item, and what reads it */
    rig_settle(&f->g);
    rig_expect(&f->g, "train[3]", TASK_RUNNING);
    rig_expect(&f->g, "train[1]", TASK_SUCCEEDED);
    rig_ok(&f->g, "train[3]", "{\"acc\":9}");
    rig_settle(&f->g);
    expect_outputs(f, "report", "{\"value\":[4,1,2,9]}");

    rig_do(&f->g, COMMAND_RETRY, "{\"from\":\"train\"}"); /* the loop as a whole: opened anew */
    rig_settle(&f->g);
    assert_int_equal(f->g.n_frames, 2);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_expect(&f->g, "train[0]", TASK_RUNNING);
    rig_expect(&f->g, "train[2]", TASK_READY);
    for (int i = 0; i < 4; i++) {
        char path[24];
        snprintf(path, sizeof path, "train[%d]", i);
        rig_ok(&f->g, path, "{\"acc\":7}");
        rig_settle(&f->g);
    }
    rig_expect_run(&f->g, RUN_SUCCEEDED);
    struct run_summary s;
    run_summary(f->g.run, &f->g.arena, &s);
    assert_int_equal(s.tasks_total, 3 + 4); /* what was superseded does not count */
}

static void loop_with_limit(void **state)
{
    struct fixture *f = *state;
    struct node *loop = build_node(&f->b, 0, "train", VERB_RUN, NULL);
    build_foreach(&f->b, loop, "${{ ['a', 'b', 'c', 'd'] }}", 2);
    expr_node(f, 0, "report", "${{ steps.train.outputs.map(o, has(o.acc) ? o.acc : 0) }}", "train");
    struct node *tell = expr_node(f, 0, "tell", "${{ steps.train.status }}: ${{ steps.train.error }}", "train");
    tell->rule = RULE_ANY_FAILED;
    start_with(f, NULL);
    rig_expect(&f->g, "train", TASK_RUNNING);
    rig_expect(&f->g, "train[0]", TASK_RUNNING);
    rig_expect(&f->g, "train[1]", TASK_RUNNING);
    rig_expect(&f->g, "train[2]", TASK_READY);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_expect(&f->g, "train[2]", TASK_READY);
    rig_ok(&f->g, "train[1]", "{\"acc\":1}");
    rig_settle(&f->g);
    rig_expect(&f->g, "train[2]", TASK_RUNNING);
    rig_expect(&f->g, "train[3]", TASK_READY);
    rig_fail(&f->g, "train[0]", FAILURE_ERROR, 1);
    rig_settle(&f->g);
    rig_expect(&f->g, "train[3]", TASK_RUNNING); /* the others go on */
    rig_ok(&f->g, "train[2]", "{\"acc\":2}");
    rig_ok(&f->g, "train[3]", "{\"acc\":3}");
    rig_settle(&f->g);
    rig_expect_reason(&f->g, "train", TASK_FAILED, REASON_CHILD_FAILED);
    rig_expect_reason(&f->g, "report", TASK_SKIPPED, REASON_UPSTREAM_FAILED);
    expect_outputs(f, "tell", "{\"value\":\"failed: 1 of 4 failed, first train[0]: it went wrong\"}");
    rig_expect_run(&f->g, RUN_FAILED);
    assert_string_equal(f->g.message, "train[0]: it went wrong");

    rig_do(&f->g, COMMAND_RETRY, NULL); /* the failed item alone */
    rig_settle(&f->g);
    rig_expect(&f->g, "train", TASK_RUNNING);
    rig_expect(&f->g, "train[0]", TASK_RUNNING);
    rig_expect(&f->g, "train[1]", TASK_SUCCEEDED);
    assert_int_equal(f->g.n_frames, 1);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_ok(&f->g, "train[0]", "{\"acc\":4}");
    rig_settle(&f->g);
    expect_outputs(f, "report", "{\"value\":[4,1,2,3]}");
    rig_expect_run(&f->g, RUN_SUCCEEDED);
    loop_again(f);
}

static void build_sub(struct fixture *f)
{
    build_param(&f->b, 1, "x", value_int(5));
    build_param(&f->b, 1, "y", value_int(6));
    build_node(&f->b, 1, "work", VERB_RUN, NULL);
    expr_node(f, 1, "sum", "${{ params.x + params.y }}", "work");
    struct node *n = expr_node(f, 1, "bye", "${{ run.status }}", NULL);
    n->after = AFTER_ALWAYS;
    build_output(&f->b, 1, "sum", "${{ steps.sum.value }}");
}

static struct node *call(struct fixture *f, const char *name, const char *x)
{
    struct node *n = build_node(&f->b, 0, name, VERB_PIPELINE, NULL);
    n->graph = 1;
    n->pipeline = STR("g1");
    build_input(&f->b, n, "x", x);
    return n;
}

static void sub_pipeline(void **state)
{
    struct fixture *f = *state;
    build_sub(f);
    call(f, "sub", "${{ params.p }}");
    expr_node(f, 0, "after", "${{ steps.sub.outputs.sum }}", "sub");
    start_with(f, "{\"p\":10}");
    rig_expect(&f->g, "sub", TASK_RUNNING);
    rig_expect(&f->g, "sub.work", TASK_RUNNING);
    rig_expect(&f->g, "sub.bye", TASK_PENDING);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_ok(&f->g, "sub.work", "");
    rig_settle(&f->g);
    expect_outputs(f, "sub", "{\"sum\":16}");
    expect_outputs(f, "sub.bye", "{\"value\":\"succeeded\"}");
    expect_outputs(f, "after", "{\"value\":16}");
    rig_expect_run(&f->g, RUN_SUCCEEDED);
    rig_do(&f->g, COMMAND_RETRY, "{\"from\":\"sub.sum\"}");
    rig_settle(&f->g);
    rig_expect_run(&f->g, RUN_SUCCEEDED);
    assert_int_equal(f->g.n_frames, 1);
    assert_int_equal(run_task_attempt(f->g.run, rig_task(&f->g, "sub.work")), 1);
    assert_int_equal(run_task_attempt(f->g.run, rig_task(&f->g, "after")), 2);
}

static void sub_pipeline_retries(void **state)
{
    struct fixture *f = *state;
    build_sub(f);
    call(f, "sub", "${{ 1 }}")->retry = (struct retry){.limit = 1, .on = FAILURE_ERROR};
    start_with(f, NULL);
    rig_fail(&f->g, "sub.work", FAILURE_ERROR, 1);
    rig_settle(&f->g);
    rig_expect_reason(&f->g, "sub", TASK_BACKOFF, REASON_CHILD_FAILED);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_time(&f->g, 100);
    rig_settle(&f->g);
    assert_int_equal(f->g.n_frames, 2); /* a new attempt of a pipeline begins at its start */
    rig_expect(&f->g, "sub.work", TASK_RUNNING);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_fail(&f->g, "sub.work", FAILURE_ERROR, 1);
    rig_settle(&f->g);
    rig_expect_reason(&f->g, "sub", TASK_FAILED, REASON_CHILD_FAILED);
    rig_expect_run(&f->g, RUN_FAILED);
    rig_do(&f->g, COMMAND_RETRY, NULL);
    rig_settle(&f->g);
    assert_int_equal(f->g.n_frames, 2);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_ok(&f->g, "sub.work", "");
    rig_settle(&f->g);
    rig_expect_run(&f->g, RUN_SUCCEEDED);
}

static void loop_of_pipelines(void **state)
{
    struct fixture *f = *state;
    build_sub(f);
    build_foreach(&f->b, call(f, "subs", "${{ item }}"), "${{ [1, 2, 3] }}", 1);
    expr_node(f, 0, "all", "${{ steps.subs.outputs.map(o, o.sum) }}", "subs");
    start_with(f, NULL);
    rig_expect(&f->g, "subs[0].work", TASK_RUNNING);
    rig_expect(&f->g, "subs[1]", TASK_READY);
    for (int i = 0; i < 3; i++) {
        char path[32];
        snprintf(path, sizeof path, "subs[%d].work", i);
        rig_crash(&f->g);
        rig_settle(&f->g);
        if (i == 1)
            rig_fail(&f->g, path, FAILURE_ERROR, 1);
        else
            rig_ok(&f->g, path, "");
        rig_settle(&f->g);
    }
    rig_expect_run(&f->g, RUN_FAILED);
    rig_expect(&f->g, "subs[1].bye", TASK_SUCCEEDED);
    rig_do(&f->g, COMMAND_RETRY, NULL);
    rig_settle(&f->g);
    rig_expect(&f->g, "subs[0]", TASK_SUCCEEDED);
    rig_ok(&f->g, "subs[1].work", "");
    rig_settle(&f->g);
    expect_outputs(f, "all", "{\"value\":[7,8,9]}");
    rig_expect_run(&f->g, RUN_SUCCEEDED);
}

static void cancel_inside(void **state)
{
    struct fixture *f = *state;
    build_sub(f);
    build_foreach(&f->b, call(f, "subs", "${{ item }}"), "${{ [1, 2, 3] }}", 2);
    start_with(f, NULL);
    rig_do(&f->g, COMMAND_CANCEL, NULL);
    rig_settle(&f->g);
    rig_expect(&f->g, "subs", TASK_STOPPING);
    rig_expect(&f->g, "subs[0]", TASK_STOPPING);
    rig_expect(&f->g, "subs[2]", TASK_CANCELLED);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_fail(&f->g, "subs[0].work", FAILURE_ERROR, 143);
    rig_ok(&f->g, "subs[1].work", ""); /* ended before it was told */
    rig_settle(&f->g);
    rig_expect(&f->g, "subs[1].work", TASK_SUCCEEDED);
    expect_outputs(f, "subs[0].bye", "{\"value\":\"cancelled\"}");
    rig_expect_run(&f->g, RUN_CANCELLED);
    rig_do(&f->g, COMMAND_RETRY, NULL);
    rig_commit(&f->g);
    rig_do(&f->g, COMMAND_CANCEL, NULL); /* nothing of it has gone on yet */
    rig_settle(&f->g);
    rig_expect(&f->g, "subs[1].work", TASK_SUCCEEDED);
    rig_expect_run(&f->g, RUN_CANCELLED);
    rig_do(&f->g, COMMAND_RETRY, NULL);
    rig_settle(&f->g);
    rig_expect(&f->g, "subs[0].work", TASK_RUNNING);
    rig_do(&f->g, COMMAND_CANCEL, NULL);
    rig_settle(&f->g);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_fail(&f->g, "subs[0].work", FAILURE_ERROR, 143);
    rig_fail(&f->g, "subs[2].work", FAILURE_ERROR, 143);
    rig_settle(&f->g);
    rig_expect(&f->g, "subs[1]", TASK_SUCCEEDED);
    rig_expect_run(&f->g, RUN_CANCELLED);
}

/* Calls that a retry reset are cancelled before they go on: none has a place at the loop's gate, and a crash must not
 * make that matter. */
static void cancel_before_going_on(void **state)
{
    struct fixture *f = *state;
    build_node(&f->b, 1, "work", VERB_RUN, NULL);
    build_node(&f->b, 1, "bye", VERB_RUN, NULL)->after = AFTER_ALWAYS;
    struct node *subs = build_node(&f->b, 0, "subs", VERB_PIPELINE, NULL);
    subs->graph = 1;
    build_foreach(&f->b, subs, "${{ [1, 2, 3] }}", 2);
    start_with(f, NULL);
    for (int round = 0; round < 3; round++) {
        while (f->g.n_world > 0) {
            struct rig_attempt at = f->g.world[0];
            (void)rig_end_with(&f->g, at.task, at.attempt,
                               (struct task_result){.failure = FAILURE_ERROR, .exit_code = 1});
            rig_settle(&f->g);
        }
        rig_expect_run(&f->g, round < 2 ? RUN_FAILED : RUN_CANCELLED);
        rig_do(&f->g, COMMAND_RETRY, NULL);
        rig_settle(&f->g);
        assert_int_equal(f->g.n_world, 2); /* the limit holds again */
        if (round == 0) continue;
        rig_do(&f->g, COMMAND_CANCEL, NULL);
        rig_settle(&f->g);
        rig_crash(&f->g);
        rig_settle(&f->g);
    }
}

static void pipeline_runs_too_long(void **state)
{
    struct fixture *f = *state;
    build_sub(f);
    call(f, "sub", "${{ 1 }}")->timeout_ms = 5000;
    start_with(f, NULL);
    rig_crash(&f->g);
    rig_settle(&f->g);
    rig_time(&f->g, 6000);
    rig_settle(&f->g);
    rig_expect(&f->g, "sub.work", TASK_STOPPING);
    rig_expect_run(&f->g, RUN_RUNNING);
    rig_fail(&f->g, "sub.work", FAILURE_ERROR, 143);
    rig_settle(&f->g);
    rig_expect_reason(&f->g, "sub", TASK_FAILED, REASON_TIMEOUT);
    rig_expect_run(&f->g, RUN_FAILED);
}

static void waits_and_approvals(void **state)
{
    struct fixture *f = *state;
    struct node *w = build_node(&f->b, 0, "w", VERB_WAIT, NULL);
    w->wait_for = build_template(&f->b, "10s");
    struct node *past = build_node(&f->b, 0, "past", VERB_WAIT, NULL);
    past->wait_until = build_template(&f->b, "1970-01-01T00:00:00.5+00:00");
    struct node *bad = build_node(&f->b, 0, "bad", VERB_WAIT, NULL);
    bad->wait_until = build_template(&f->b, "tomorrow");
    struct node *yes = build_node(&f->b, 0, "yes", VERB_APPROVAL, NULL);
    yes->message = build_template(&f->b, "Release ${{ params.v }}?");
    struct node *late = build_node(&f->b, 0, "late", VERB_APPROVAL, NULL);
    late->timeout_ms = 3000;
    struct node *no = build_node(&f->b, 0, "no", VERB_APPROVAL, NULL);
    no->retry = (struct retry){.limit = 5, .on = 0xff};
    expr_node(f, 0, "who", "${{ steps.yes.outputs.by }}", "yes");
    start_with(f, "{\"v\":3}");
    rig_expect(&f->g, "w", TASK_WAITING);
    rig_expect(&f->g, "past", TASK_SUCCEEDED);
    rig_expect_reason(&f->g, "bad", TASK_FAILED, REASON_INVALID);
    rig_expect_reason(&f->g, "yes", TASK_WAITING, REASON_AWAITS_APPROVAL);
    assert_true(str_is(f->g.rows[rig_task(&f->g, "yes")].row.message, "Release 3?"));
    rig_crash(&f->g);
    rig_settle(&f->g);
    struct err err = {0};
    assert_false(rig_command(&f->g, COMMAND_APPROVE, "{\"task\":\"w\",\"approved\":true,\"by\":\"me\"}", &err));
    assert_false(rig_command(&f->g, COMMAND_APPROVE, "{\"task\":\"zz\",\"approved\":true,\"by\":\"me\"}", &err));
    rig_do(&f->g, COMMAND_APPROVE, "{\"task\":\"yes\",\"approved\":true,\"by\":\"me\",\"comment\":\"fine\"}");
    rig_do(&f->g, COMMAND_APPROVE, "{\"task\":\"no\",\"approved\":false,\"by\":\"me\"}");
    rig_settle(&f->g);
    expect_outputs(f, "who", "{\"value\":\"me\"}");
    rig_expect_reason(&f->g, "yes", TASK_SUCCEEDED, REASON_APPROVED);
    rig_expect_reason(&f->g, "no", TASK_FAILED, REASON_REJECTED);
    assert_false(rig_command(&f->g, COMMAND_APPROVE, "{\"task\":\"yes\",\"approved\":true,\"by\":\"me\"}", &err));
    rig_time(&f->g, 4000);
    rig_settle(&f->g);
    rig_expect_reason(&f->g, "late", TASK_FAILED, REASON_EXPIRED);
    rig_expect(&f->g, "w", TASK_WAITING);
    rig_time(&f->g, 8000);
    rig_settle(&f->g);
    rig_expect(&f->g, "w", TASK_SUCCEEDED);
    rig_expect_run(&f->g, RUN_FAILED);
}

static void calls_elsewhere(void **state)
{
    struct fixture *f = *state;
    static const struct http_call call_it = {0};
    build_node(&f->b, 0, "h", VERB_HTTP, NULL)->http = &call_it;
    build_node(&f->b, 0, "i", VERB_IMPORT, NULL);
    start_with(f, NULL);
    rig_expect(&f->g, "h", TASK_RUNNING);
    rig_expect(&f->g, "i", TASK_RUNNING);
    rig_crash(&f->g);
    assert_int_equal(f->g.out.n_effects, 2); /* asked for again */
    rig_settle(&f->g);
    rig_ok(&f->g, "h", "{\"status\":200}");
    rig_do(&f->g, COMMAND_CANCEL, NULL);
    rig_settle(&f->g);
    rig_expect(&f->g, "i", TASK_CANCELLED);
    rig_expect_run(&f->g, RUN_CANCELLED);
}

/* The status of an HTTP answer is not hidden by that of the item. */
static void loop_of_calls(void **state)
{
    struct fixture *f = *state;
    static const struct http_call call_it = {0};
    struct node *calls = build_node(&f->b, 0, "h", VERB_HTTP, NULL);
    calls->http = &call_it;
    build_foreach(&f->b, calls, "${{ [1] }}", 1);
    expr_node(f, 0, "all", "${{ steps.h.outputs.map(o, [o.status, o.outputs.status, o.body]) }}", "h");
    start_with(f, NULL);
    rig_ok(&f->g, "h[0]", "{\"status\":204,\"body\":\"b\"}");
    rig_settle(&f->g);
    expect_outputs(f, "all", "{\"value\":[[\"succeeded\",204,\"b\"]]}");
}

static void wide_loop(void **state)
{
    struct fixture *f = *state;
    struct node *loop = build_node(&f->b, 0, "many", VERB_RUN, NULL);
    build_foreach(&f->b, loop, "${{ params.list }}", 3);
    struct node *too = expr_node(f, 0, "too", "1", NULL);
    build_foreach(&f->b, too, "${{ params.x }}", 0);
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, "{\"x\":1,\"list\":[0");
    for (int i = 1; i < 5000; i++)
        buf_printf(&text, ",%d", i);
    buf_c(&text, "]}");
    start_with(f, text.p);
    rig_expect_reason(&f->g, "too", TASK_FAILED, REASON_INVALID);
    for (int i = 0; i < 5000; i++) {
        assert_true(f->g.n_world >= 1);
        struct rig_attempt at = f->g.world[0];
        assert_true(rig_end_with(&f->g, at.task, at.attempt, (struct task_result){.ok = true}));
        rig_turn(&f->g);
        assert_true(f->g.n_world <= 3);
    }
    rig_verify(&f->g);
    rig_expect(&f->g, "many", TASK_SUCCEEDED);
    rig_expect_run(&f->g, RUN_FAILED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(values_flow),
        T(unwritten_outputs),
        T(conditions),
        T(loop_of_expressions),
        T(product),
        T(loop_with_limit),
        T(sub_pipeline),
        T(sub_pipeline_retries),
        T(loop_of_pipelines),
        T(cancel_inside),
        T(cancel_before_going_on),
        T(pipeline_runs_too_long),
        T(waits_and_approvals),
        T(calls_elsewhere),
        T(loop_of_calls),
        T(wide_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
