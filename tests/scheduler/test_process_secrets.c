/* Secrets of attempts that outlive their server, or the file their secret was in: they go on without it, and their logs
 * are covered whoever ends them. Real processes, a real launcher, a real blob store. */
#include "tests/scheduler/process_rig.h"

#define VALUE "sesame-4711"
#define COVERED "***********"

static const struct launch_env key = {.name = STR_INIT("KEY"),
                                      .secret = {.source = SECRET_FILE, .name = STR_INIT("KEY")}};

static void put_secret(const char *value)
{
    struct err err;
    char path[128];
    snprintf(path, sizeof path, "%s/default", secrets);
    assert_true(fs_mkdirs(path, 0700, &err));
    snprintf(path, sizeof path, "%s/default/KEY", secrets);
    assert_true(fs_write(path, str_of(value), 0600, false, &err));
}

static void lose_secret(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/default/KEY", secrets);
    assert_int_equal(unlink(path), 0);
}

static struct exec_request *secretive(struct step *s, uint32_t task, const char *line)
{
    step(s, task, line);
    s->req.spec.env = &key;
    s->req.spec.n_env = 1;
    return &s->req;
}

/* Hears what is said meanwhile, and has nothing to tell but that logs grow. */
static void hear_nothing(void)
{
    struct exec_event e;
    if (x.next(x.self, &arena, &e)) fail_msg("an event of task %u", e.id.task);
}

static void await_log(uint32_t task, const char *holds)
{
    for (int64_t until = os_mono_us() + PATIENCE_US; strstr(log_of(task), holds) == NULL; usleep(1000)) {
        if (os_mono_us() > until) fail_msg("no '%s' in the log of task %u: %s", holds, task, log_of(task));
        hear_nothing();
    }
}

/* Until so many are known, and so many of them have ended. */
static struct exec_known *await_known(size_t n, size_t n_ended)
{
    struct exec_known *known;
    for (int64_t until = os_mono_us() + PATIENCE_US;; usleep(1000)) {
        size_t ended = 0, all = x.known(x.self, &arena, &known);
        for (size_t i = 0; i < all; i++)
            ended += known[i].ended;
        if (all == n && ended == n_ended) return known;
        if (os_mono_us() > until) fail_msg("%zu known, %zu of them ended", all, ended);
        hear_nothing();
    }
}

static void write_log(uint32_t task)
{
    struct err err;
    char path[128];
    snprintf(path, sizeof path, "%s/logs/1", data);
    assert_true(fs_mkdirs(path, 0750, &err));
    snprintf(path, sizeof path, "%s/logs/1/%u-1.log", data, task);
    assert_true(fs_write(path, STR(VALUE "\n"), 0640, false, &err));
}

static void go(uint32_t task)
{
    struct err err;
    char path[128];
    snprintf(path, sizeof path, "%s/checkpoints/1/%u/go", data, task);
    assert_true(fs_write(path, STR(""), 0644, false, &err));
}

/* ---- what goes on ---- */

static void ends_well(uint32_t task)
{
    struct exec_event e = await_end(task);
    if (e.kind != EXEC_ENDED || !e.result.ok) fail_msg("task %u: %s", task, message(&e));
    assert_true(str_is(e.result.outputs, "{\"n\":7}"));
    assert_string_equal(log_of(task), COVERED "\n" COVERED "\n");
}

/* Asked for before the launcher has spoken, while it runs (without a spec, since that cannot be made any more), and
 * when it has ended. Only what was never launched is refused, when that is known. */
static void a_step_under_way_needs_no_secret(void **state)
{
    (void)state;
    static const char line[] =
        "echo $KEY; until test -e $MILLRACE_CHECKPOINT_DIR/go; do sleep 0.02; done; echo 7 > n; echo $KEY";
    const struct output o = {.name = STR("n"), .kind = IO_PARAM, .type = PARAM_INT, .path = STR("n")};
    const struct env_var var = {.name = STR("KEY"), .secret = key.secret};
    struct step s[5];
    struct err err = {0};
    char instance[128];
    snprintf(instance, sizeof instance, "%.*s", STR_ARG(x.instance(x.self)));
    put_secret(VALUE);
    for (uint32_t i = 1; i <= 4; i++) {
        secretive(&s[i], i, line);
        s[i].node.outputs = &o;
        s[i].node.n_outputs = 1;
        if (i < 4) launch(&s[i].req);
    }
    for (uint32_t i = 1; i <= 3; i++)
        await_log(i, VALUE "\n");
    x.stop(x.self);
    lose_secret();
    go(3);
    for (int64_t until = os_mono_us() + PATIENCE_US; strcmp(log_of(3), VALUE "\n" VALUE "\n") != 0; usleep(1000))
        if (os_mono_us() > until) fail_msg("task 3 does not end");
    open_executor();
    assert_true(x.launch(x.self, &s[1].req, true, str_of(instance), &err));
    await_known(3, 1);
    s[2].req.spec = (struct launch_spec){.node = &s[2].node};
    s[2].node.env = &var;
    s[2].node.n_env = 1;
    assert_true(x.launch(x.self, &s[2].req, true, str_of(instance), &err));
    assert_true(x.launch(x.self, &s[3].req, true, str_of(instance), &err));
    ends_well(3);
    for (uint32_t i = 1; i <= 2; i++) {
        go(i);
        ends_well(i);
    }
    assert_true(x.launch(x.self, &s[4].req, true, str_of(instance), &err));
    struct exec_event e = await_end(4);
    assert_true(e.kind == EXEC_UNKNOWN && e.never);
    assert_false(x.launch(x.self, &s[4].req, false, STR(""), &err));
    assert_non_null(strstr(err.message, "'KEY'"));
}

/* ---- whose end nobody takes ---- */

static void what_nobody_collects_is_covered(void **state)
{
    (void)state;
    struct step s;
    put_secret(VALUE);
    launch(secretive(&s, 1, "echo $KEY; exec sleep 600"));
    launch(secretive(&s, 2, "echo $KEY; exec sleep 600"));
    launch(secretive(&s, 3, "echo $KEY; until test -e $MILLRACE_CHECKPOINT_DIR/go; do sleep 0.02; done"));
    for (uint32_t i = 1; i <= 3; i++)
        await_log(i, VALUE "\n");
    x.stop(x.self);
    go(3);
    put_secret("another");
    open_executor();
    struct exec_known *known = await_known(3, 1);
    for (size_t i = 0; i < 3; i++)
        if (known[i].id.task != 1) x.disown(x.self, known[i].id, STR("default"), 100);
    await_gone("work/1-2-1");
    await_gone("work/1-3-1");
    x.kill(x.self, (struct attempt_id){1, 1, 1, 0}, STR("default"), 100);
    struct exec_event e = await_end(1);
    assert_int_equal(e.result.reason, REASON_CANCELLED);
    for (uint32_t i = 1; i <= 3; i++)
        assert_string_equal(log_of(i), COVERED "\n");
}

/* It ran under another launcher, whose server is away. */
static void what_cannot_be_known_is_covered(void **state)
{
    (void)state;
    struct step s;
    struct err err;
    put_secret(VALUE);
    for (uint32_t i = 1; i <= 3; i++)
        write_log(i);
    assert_true(x.launch(x.self, secretive(&s, 1, "exit 99"), true, STR("process:another"), &err));
    struct exec_event e = await_end(1);
    assert_true(e.kind == EXEC_UNKNOWN && !e.never);
    x.kill(x.self, (struct attempt_id){1, 2, 1, 0}, STR("default"), 100); /* the launcher has told all it knows */
    assert_int_equal(await_end(2).result.reason, REASON_CANCELLED);
    x.stop(x.self);
    open_executor();
    x.kill(x.self, (struct attempt_id){1, 3, 1, 0}, STR("default"), 100); /* now it has not */
    assert_int_equal(await_end(3).result.reason, REASON_CANCELLED);
    for (uint32_t i = 1; i <= 3; i++)
        assert_string_equal(log_of(i), COVERED "\n");
}

/* With the launcher and its journal, before anybody asked for the one and while the other is under way. */
static void what_is_lost_is_covered(void **state)
{
    (void)state;
    struct step s[3];
    struct err err;
    char journal[128];
    static const char line[] = "echo $PPID > $MILLRACE_CHECKPOINT_DIR/x; echo $KEY; exec sleep 600";
    put_secret(VALUE);
    for (uint32_t i = 1; i <= 2; i++) {
        launch(secretive(&s[i], i, line));
        await_log(i, VALUE "\n");
    }
    x.stop(x.self);
    open_executor();
    await_known(2, 0);
    assert_true(x.launch(x.self, &s[2].req, true, x.instance(x.self), &err));
    BUF_AUTO pid;
    buf_init(&pid, 0);
    snprintf(journal, sizeof journal, "%s/checkpoints/1/1/x", data);
    assert_true(fs_read(journal, 100, &pid, &err));
    snprintf(journal, sizeof journal, "%s/launcher/journal", data);
    assert_int_equal(unlink(journal), 0);
    assert_int_equal(kill(atoi(pid.p), SIGKILL), 0);
    struct exec_event e = await_end(2);
    assert_int_equal(e.result.failure, FAILURE_INFRA);
    assert_string_equal(log_of(2), COVERED "\n");
    x.forget(x.self, e.id);
    x.disown(x.self, await_known(1, 1)[0].id, STR(""), 100); /* its run is gone: nobody knows whose secrets */
    await_gone("work/1-1-1");
    assert_string_equal(log_of(1), COVERED "\n");
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    const struct CMUnitTest tests[] = {
        T(a_step_under_way_needs_no_secret),
        T(what_nobody_collects_is_covered),
        T(what_cannot_be_known_is_covered),
        T(what_is_lost_is_covered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
