/* What an attempt finds, and what a restarted server hears of it, without a scheduler. Real processes, a real launcher,
 * a real blob store. */
#include "tests/scheduler/process_rig.h"

/* ---- what a step finds ---- */

static void the_environment_is_its_own(void **state)
{
    (void)state;
    struct err err;
    char path[128];
    snprintf(path, sizeof path, "%s/default", secrets);
    assert_true(fs_mkdirs(path, 0700, &err));
    snprintf(path, sizeof path, "%s/default/KEY", secrets);
    assert_true(fs_write(path, STR("hush\n"), 0600, false, &err));
    setenv("SERVER_SECRET", "hush", 1);
    const struct launch_env env[] = {{.name = STR("MINE"), .value = STR("a b")},
                                     {.name = STR("KEY"), .secret = {.source = SECRET_FILE, .name = STR("KEY")}}};
    struct step s;
    step(&s, 1,
         "env; test -w $MILLRACE_CHECKPOINT_DIR && test -w $TMPDIR && test -w . && test $(pwd) = $MILLRACE_WORKDIR && "
         "echo usable;"
         " test $KEY = $(echo hs | sed s/h/hu/)h && echo $MILLRACE_RUN.$MILLRACE_TASK.$MILLRACE_ATTEMPT; echo kept > "
         "$MILLRACE_CHECKPOINT_DIR/x");
    s.req.spec.env = env;
    s.req.spec.n_env = 2;
    s.req.token = STR("the-token");
    launch(&s.req);
    struct exec_event e = await_end(1);
    if (!e.result.ok) fail_msg("%s", message(&e));
    static const char *const holds[] = {"\nMINE=a b\n", "KEY=****\n", "usable\n1.1.1\n", "MILLRACE_TOKEN=the-token\n",
                                        "MILLRACE_PATH=train[2]\n"};
    for (size_t i = 0; i < sizeof holds / sizeof *holds; i++)
        if (!strstr(log_of(1), holds[i])) fail_msg("no '%s' in %s", holds[i], log_of(1));
    assert_null(strstr(log_of(1), "SERVER_SECRET"));

    step(
        &s, 1,
        "cat $MILLRACE_CHECKPOINT_DIR/x; ls"); /* the checkpoint survives the attempt, the working directory does not */
    s.req.id.attempt = 2;
    x.forget(x.self, e.id);
    launch(&s.req);
    e = await_end(1);
    assert_true(e.result.ok);
    snprintf(path, sizeof path, "%s/logs/1/1-2.log", data);
    BUF_AUTO text;
    buf_init(&text, 0);
    assert_true(fs_read(path, 100, &text, &err));
    assert_string_equal(text.p, "kept\n");

    const struct launch_env missing[] = {{.name = STR("KEY"), .secret = {.source = SECRET_FILE, .name = STR("NONE")}}};
    step(&s, 3, "true");
    s.req.spec.env = missing;
    s.req.spec.n_env = 1;
    assert_false(x.launch(x.self, &s.req, false, STR(""), &err));
    assert_non_null(strstr(err.message, "NONE"));
}

/* ---- restarts ---- */

static void await_there(const char *path)
{
    int64_t end = os_mono_us() + PATIENCE_US;
    while (access(path, F_OK) != 0) {
        if (os_mono_us() > end) fail_msg("%s does not appear", path);
        usleep(1000);
    }
}

static void a_restarted_server_hears_the_end(void **state)
{
    (void)state;
    struct step s;
    struct err err;
    char instance[128];
    snprintf(instance, sizeof instance, "%.*s", STR_ARG(x.instance(x.self)));
    launch(step(&s, 1, "until test -e $MILLRACE_CHECKPOINT_DIR/go; do sleep 0.02; done; echo 7 > n"));
    launch(step(&s, 2, "exit 5"));
    await_end(2); /* the other has been launched before it, and may still be on its way */
    x.stop(x.self);
    open_executor();
    assert_true(str_is(x.instance(x.self), instance));
    const struct output o = {.name = STR("n"), .kind = IO_PARAM, .type = PARAM_INT, .path = STR("n")};
    step(&s, 1, "exit 99");
    s.node.outputs = &o;
    s.node.n_outputs = 1;
    assert_true(x.launch(x.self, &s.req, true, str_of(instance), &err));
    assert_true(x.launch(x.self, step(&s, 2, "exit 99"), true, str_of(instance), &err));
    assert_true(x.launch(x.self, step(&s, 3, "exit 99"), true, str_of(instance), &err));
    assert_true(x.launch(x.self, step(&s, 4, "exit 99"), true, STR("process:another"), &err));
    char go[128];
    int heard = 0;
    snprintf(go, sizeof go, "%s/checkpoints/1/1", data);
    await_there(go);
    snprintf(go, sizeof go, "%s/checkpoints/1/1/go", data);
    assert_true(fs_write(go, STR(""), 0644, false, &err));
    while (heard != 15) {
        struct exec_event e = next_event();
        heard |= 1 << (e.id.task - 1);
        switch (e.id.task) {
        case 1:
            assert_true(e.result.ok);
            assert_true(str_is(e.result.outputs, "{\"n\":7}"));
            break;
        case 2: assert_int_equal(e.result.exit_code, 5); break;
        case 3: assert_true(e.kind == EXEC_UNKNOWN && e.never); break; /* this memory would know it */
        default: assert_true(e.kind == EXEC_UNKNOWN && !e.never); break;
        }
    }
}

/* Ends and processes that nobody asks for after a restart: they are listed, and can be disowned. */
static void what_nobody_asks_for_is_known(void **state)
{
    (void)state;
    struct step s;
    struct exec_known *known;
    launch(step(&s, 1, "exec sleep 600"));
    launch(step(&s, 2, "exit 0"));
    assert_int_equal(x.known(x.self, &arena, &known), 2);
    await_end(2);
    x.stop(x.self);
    open_executor();
    int64_t until = os_mono_us() + PATIENCE_US;
    for (struct exec_event e; x.known(x.self, &arena, &known) < 2;) {
        assert_true(os_mono_us() < until);
        assert_false(x.next(x.self, &arena, &e)); /* hears what the launcher says, and has nothing to tell */
    }
    for (size_t i = 0; i < 2; i++) {
        assert_true(known[i].ended == (known[i].id.task == 2));
        x.disown(x.self, known[i].id, STR("default"), 100);
    }
    await_gone("work/1-1-1"); /* and nothing is told of them */
    await_gone("work/1-2-1");
    assert_int_equal(x.known(x.self, &arena, &known), 0);
}

/* A database was set back: what ended under that number is not its end, and is known as another's. */
static void a_run_of_that_number_was_another(void **state)
{
    (void)state;
    struct step s;
    struct exec_known *known;
    step(&s, 1, "exit 0");
    s.req.id.made_us = 1000001;
    launch(&s.req);
    await_end(1);
    x.stop(x.self);
    open_executor();
    step(&s, 1, "exit 7");
    s.req.id.made_us = 1000002;
    launch(&s.req);
    struct exec_event e = await_end(1);
    assert_true(e.result.exit_code == 7 && e.id.made_us == 1000002);
    assert_int_equal(x.known(x.self, &arena, &known), 2);
    for (size_t i = 0; i < 2; i++)
        x.disown(x.self, known[i].id, STR("default"), 100);
    await_gone("work/1-1-1-1000001");
    await_gone("work/1-1-1-1000002");
}

/* The launcher is a step's parent. */
static void kill_launcher(uint32_t task)
{
    struct step s;
    launch(step(&s, task, "echo $PPID"));
    x.forget(x.self, await_end(task).id);
    assert_int_equal(kill(atoi(log_of(task)), SIGKILL), 0);
}

/* The ends of this task and the next, in whichever order they come. */
static void await_two(uint32_t task, struct exec_event ends[2])
{
    for (int open = 3; open != 0;) {
        struct exec_event e = next_event();
        if (e.id.task - task > 1) continue;
        ends[e.id.task - task] = e;
        open &= ~(1 << (e.id.task - task));
    }
}

static void what_the_next_launcher_does_not_know_is_lost(void **state)
{
    (void)state;
    struct step s;
    char journal[128];
    snprintf(journal, sizeof journal, "%s/launcher/journal", data);
    launch(step(&s, 1, "exec sleep 600"));
    launch(step(&s, 2, "exec sleep 600"));
    kill_launcher(3);
    struct exec_event ends[2];
    await_two(1, ends); /* by its journal */
    assert_int_equal(ends[0].result.failure, FAILURE_INFRA);
    assert_int_equal(ends[1].result.failure, FAILURE_INFRA);
    launch(step(&s, 4, "exec sleep 600"));
    struct step deaf;
    char trapped[128];
    launch(step(&deaf, 5, "trap '' TERM; : > $MILLRACE_CHECKPOINT_DIR/trapped; while :; do sleep 600; done"));
    once(6, "true");
    snprintf(trapped, sizeof trapped, "%s/checkpoints/1/5/trapped", data);
    await_there(trapped);
    x.kill(x.self, deaf.req.id, STR("default"), 600000);
    assert_int_equal(unlink(journal), 0);
    kill_launcher(7);
    await_two(4, ends);
    assert_int_equal(ends[0].kind, EXEC_ENDED);
    assert_int_equal(ends[0].result.failure, FAILURE_INFRA);
    assert_non_null(strstr(message(&ends[0]), "lost"));
    assert_int_equal(ends[1].result.reason, REASON_CANCELLED);
    launch(step(&s, 8, "exit 0"));
    assert_true(await_end(8).result.ok);
}

/* ---- working directories ---- */

static void a_clean_working_directory_serves_again(void **state)
{
    (void)state;
    static const char look[] = "stat -c '%i %w' .; ls -A . .tmp; stat -c '%a %u' . .tmp";
    static const char *const dirty[] = {"touch x",     "touch .tmp/x",   "rmdir .tmp",
                                        "chmod 777 .", "chmod 700 .tmp", "rmdir .tmp; ln -s / .tmp"};
    char first[8192];
    uint32_t task = 1;
    snprintf(first, sizeof first, "%s", once(task++, look));
    assert_string_equal(once(task++, look), first); /* the same folder */
    const char *rest = strchr(first, '\n');
    for (size_t i = 0; i < sizeof dirty / sizeof *dirty; i++) {
        once(task++, dirty[i]);
        const char *now = once(task++, look);
        assert_string_not_equal(now, first);
        assert_string_equal(strchr(now, '\n'), rest); /* another, as it should be */
        snprintf(first, sizeof first, "%s", now);
        rest = strchr(first, '\n');
    }
}

/* But not where it may be another's by now, or the attempt has a successor. */
static void an_empty_checkpoint_serves_another(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* steps begin before their folders are made */
#endif
    once(1, "true");
    assert_true(has("work/.spare-c0") && !has("checkpoints/1/1"));
    once(2, "echo x > $MILLRACE_CHECKPOINT_DIR/x");
    assert_true(!has("work/.spare-c0") && has("checkpoints/1/2/x"));
    once(3, "exit 3");
    once(4, "sleep 0.05; chmod 755 $MILLRACE_CHECKPOINT_DIR"); /* as it was, but touched; clocks of files are coarse */
    assert_true(!has("work/.spare-c0") && has("checkpoints/1/3") && has("checkpoints/1/4"));
}

/* The next one finds it empty, and whoever asks for the first one's finds none. */
static void an_empty_log_serves_another(void **state)
{
    (void)state;
    once(1, "true");
    assert_true(has("work/.spare-l0") && !has("logs/1/1-1.log"));
    once(2, "true"); /* makes no other */
    assert_true(has("work/.spare-l0") && !has("work/.spare-l1") && !has("logs/1/2-1.log"));
    once(3, "echo words");
    assert_true(!has("work/.spare-l0"));
    assert_string_equal(log_of(3), "words\n");
    assert_string_equal(log_of(1), "");
    once(4, "exit 3");
    assert_true(has("work/.spare-l0"));
}

static void what_nobody_knows_is_swept(void **state)
{
    (void)state;
    struct step s;
    struct err err;
    char orphan[128], go[128];
    once(1, "true"); /* leaves a spare one */
    launch(step(&s, 2, "until test -e $MILLRACE_CHECKPOINT_DIR/go; do sleep 0.02; done; pwd"));
    once(3, "exit 3"); /* the second has been launched before it */
    snprintf(orphan, sizeof orphan, "%s/work/9-9-9", data);
    snprintf(go, sizeof go, "%s/checkpoints/1/2/go", data);
    assert_true(fs_mkdirs(orphan, 0755, &err));
    assert_true(has("work/.spare-w0"));
    x.stop(x.self);
    open_executor();
    await_gone("work/9-9-9");
    await_gone("work/.spare-w0");
    assert_true(fs_write(go, STR(""), 0644, false, &err));
    assert_true(x.launch(x.self, &s.req, true, STR(""), &err));
    assert_true(await_end(2).result.ok); /* its own was left in peace */
    assert_non_null(strstr(log_of(2), "/work/1-2-1"));
}

static void killing_and_forgetting(void **state)
{
    (void)state;
    struct step s;
    launch(step(&s, 1, "touch x; sleep 1000"));
    x.kill(x.self, s.req.id, STR("default"), 50); /* perhaps before it has begun */
    struct exec_event e = await_end(1);
    assert_false(e.result.ok);
    assert_int_equal(e.result.reason, REASON_CANCELLED);
    x.forget(x.self, e.id);
    x.forget(x.self, e.id); /* twice is harmless */
    launch(step(&s, 2, "touch y"));
    e = await_end(2);
    x.forget(x.self, e.id);
    launch(step(&s, 3, "true"));
    await_end(3);
    await_gone("work/1-2-1");
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    const struct CMUnitTest tests[] = {
        T(the_environment_is_its_own),
        T(a_restarted_server_hears_the_end),
        T(what_nobody_asks_for_is_known),
        T(a_run_of_that_number_was_another),
        T(what_the_next_launcher_does_not_know_is_lost),
        T(a_clean_working_directory_serves_again),
        T(an_empty_checkpoint_serves_another),
        T(an_empty_log_serves_another),
        T(what_nobody_knows_is_swept),
        T(killing_and_forgetting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
