/* What local steps are given of the machine's GPUs, and what a restarted server knows of it. Real processes and a real
 * launcher; the GPUs are played by tests/nvml. */
#include "tests/scheduler/process_rig.h"

#include "scheduler/gpu_host.h"
#include "scheduler/gpus.h"

#define SEES "echo \"[${CUDA_VISIBLE_DEVICES-unset}] [${NVIDIA_VISIBLE_DEVICES-unset}]\""
#define STAYS "; until test -e $MILLRACE_CHECKPOINT_DIR/go; do sleep 0.02; done"

static char file[] = "/tmp/millrace-gpus-XXXXXX";
static const struct gpu_want one = {1, GPU_WHOLE, {"", 0}, {"", 0}}, two = {2, GPU_WHOLE, {"", 0}, {"", 0}},
                             three = {3, GPU_WHOLE, {"", 0}, {"", 0}};

static void play(const char *text)
{
    struct err err = {0};
    if (!fs_write(file, str_of(text), 0600, false, &err)) fail_msg("%s", err.message);
}

#define THREE "gpu GPU-0 40960 NVIDIA A100\ngpu GPU-1 40960 NVIDIA A100\ngpu GPU-2 15360 Tesla T4\n"

/* Once the launcher has told all it knows. */
static void await_ready(void)
{
    int64_t until = os_mono_us() + PATIENCE_US;
    for (struct exec_event e; !gpus_fit(x.gpus, &one) && gpus_count(x.gpus) > 0;) {
        if (os_mono_us() > until) fail_msg("no GPU becomes free");
        assert_false(x.next(x.self, &arena, &e));
        sched_yield();
    }
}

static int setup_with(const char *text, const char *which)
{
    struct err err = {0};
    play(text);
    if (!gpu_host_open(STR(FAKE_NVML), str_of(which), &gpus, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return setup(NULL);
}

static int setup_three(void **state)
{
    (void)state;
    return setup_with(THREE, "all");
}

static int setup_none(void **state)
{
    (void)state;
    return setup_with(THREE, "none");
}

static int teardown_gpus(void **state)
{
    int rc = teardown(state);
    gpu_host_close(gpus);
    gpus = NULL;
    return rc;
}

static void start(struct step *s, uint32_t task, struct resources asked, const char *line)
{
    step(s, task, line)->resources = asked;
    struct gpu_want w = gpu_wanted(&asked);
    assert_true(gpus_fit(x.gpus, &w));
    gpus_take(x.gpus, s->req.id, &w);
    launch(&s->req);
}

static void run(uint32_t task, struct resources asked, const char *line, const char *says)
{
    struct step s;
    start(&s, task, asked, line);
    struct exec_event e = await_end(task);
    if (!e.result.ok || strcmp(log_of(task), says) != 0) fail_msg("%s%s", message(&e), log_of(task));
    x.forget(x.self, e.id);
}

static void each_sees_its_own_and_no_other(void **state)
{
    (void)state;
    await_ready();
    run(1, (struct resources){.gpu_count = 1}, SEES, "[GPU-0] [GPU-0]\n");
    run(2, (struct resources){.gpu_count = 2}, SEES, "[GPU-0,GPU-1] [GPU-0,GPU-1]\n");
    run(3, (struct resources){.gpu_count = 1, .gpu_flavor = STR("t4")}, SEES, "[GPU-2] [GPU-2]\n");
    run(4, (struct resources){.gpu_count = 1, .gpu_share = 0.5}, SEES, "[GPU-0] [GPU-0]\n");
    run(5, (struct resources){.gpu_count = 0}, SEES, "[] [void]\n");
    struct step s;
    const struct launch_env env[] = {{.name = STR("CUDA_VISIBLE_DEVICES"), .value = STR("0,1,2")}};
    step(&s, 6, SEES);
    s.req.spec.env = env;
    s.req.spec.n_env = 1;
    launch(&s.req); /* whatever it says itself */
    await_end(6);
    assert_string_equal(log_of(6), "[] [void]\n");
    assert_true(gpus_fit(x.gpus, &three));
}

static void steps_may_have_none(void **state)
{
    (void)state;
    struct step s;
    struct err err = {0};
    assert_int_equal(gpus_count(x.gpus), 0);
    assert_string_equal(once(1, SEES), "[] [void]\n");
    step(&s, 2, SEES)->resources = (struct resources){.gpu_count = 1};
    assert_false(x.launch(x.self, &s.req, false, STR(""), &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

static void without_a_driver_nothing_is_said(void **state)
{
    (void)state;
    assert_int_equal(gpus_count(x.gpus), 0);
    assert_string_equal(once(1, SEES), "[unset] [unset]\n");
}

static void what_is_not_launched_is_free_again(void **state)
{
    (void)state;
    struct step s;
    struct err err = {0};
    const struct launch_env missing[] = {{.name = STR("KEY"), .secret = {.source = SECRET_FILE, .name = STR("NONE")}}};
    await_ready();
    step(&s, 1, "true")->resources = (struct resources){.gpu_count = 3};
    gpus_take(x.gpus, s.req.id, &three);
    s.req.spec.env = missing;
    s.req.spec.n_env = 1;
    assert_false(x.launch(x.self, &s.req, false, STR(""), &err));
    gpus_release(x.gpus, s.req.id); /* as the scheduler does with whatever is over */
    assert_true(gpus_fit(x.gpus, &three));
    start(&s, 2, (struct resources){.gpu_count = 3}, "exec sleep 600");
    x.kill(x.self, s.req.id, STR("default"), 0);
    await_end(2);
    assert_true(gpus_fit(x.gpus, &three));
}

/* ---- restarts ---- */

static void let_go(uint32_t task)
{
    struct err err = {0};
    char go[128];
    snprintf(go, sizeof go, "%s/checkpoints/1/%u/go", data, task);
    int64_t until = os_mono_us() + PATIENCE_US;
    while (!fs_write(go, STR(""), 0644, false, &err)) /* its folder is made as it begins */
        if (os_mono_us() > until) fail_msg("%s", err.message);
}

static void a_restart_keeps_them_apart(void **state)
{
    (void)state;
    struct step s;
    struct err err = {0};
    char instance[128];
    await_ready();
    snprintf(instance, sizeof instance, "%.*s", STR_ARG(x.instance(x.self)));
    start(&s, 1, (struct resources){.gpu_count = 1}, SEES STAYS);
    start(&s, 2, (struct resources){.gpu_count = 1, .gpu_share = 0.5}, SEES STAYS);
    start(&s, 3, (struct resources){.gpu_count = 0}, "true");
    await_end(3); /* the others have been launched before it */
    x.stop(x.self);
    open_executor();
    assert_false(gpus_fit(x.gpus, &one)); /* until it knows */
    const struct gpu_want half = {1, 500, {"", 0}, {"", 0}};
    step(&s, 1, "exit 99")->resources = (struct resources){.gpu_count = 1};
    gpus_expect(x.gpus, s.req.id, &one);
    assert_true(x.launch(x.self, &s.req, true, str_of(instance), &err));
    await_ready(); /* the second is nobody's, and holds its half all the same */
    assert_false(gpus_fit(x.gpus, &two));
    run(4, (struct resources){.gpu_count = 1}, SEES, "[GPU-2] [GPU-2]\n");
    assert_true(gpus_fit(x.gpus, &half));
    run(5, (struct resources){.gpu_count = 1, .gpu_share = 0.5}, SEES, "[GPU-1] [GPU-1]\n");
    let_go(1);
    struct exec_event e = await_end(1);
    assert_true(e.result.ok);
    assert_string_equal(log_of(1), "[GPU-0] [GPU-0]\n");
    run(6, (struct resources){.gpu_count = 2}, SEES, "[GPU-0,GPU-2] [GPU-0,GPU-2]\n");
    assert_false(gpus_fit(x.gpus, &three));
    x.disown(x.self, (struct attempt_id){1, 2, 1, 0}, STR(""), 0);
    int64_t until = os_mono_us() + PATIENCE_US;
    for (struct exec_event none; !gpus_fit(x.gpus, &three);) {
        if (os_mono_us() > until) fail_msg("what was disowned keeps its GPU");
        (void)x.next(x.self, &arena, &none);
    }
}

/* ---- which, and how they are ---- */

static void the_list_is_what_was_named(void **state)
{
    (void)state;
    static const struct {
        const char *library, *which, *list, *complaint;
    } rows[] = {
        {FAKE_NVML, "all", "GPU-0 MIG-a MIG-b GPU-2 ", NULL},
        {FAKE_NVML, "none", "", NULL},
        {FAKE_NVML, "2", "GPU-2 ", NULL},
        {FAKE_NVML, "1", "MIG-a MIG-b ", NULL}, /* with all its instances */
        {FAKE_NVML, "MIG-b, 0", "GPU-0 MIG-b ", NULL},
        {FAKE_NVML, "0,7", NULL, "this machine has no GPU '7'"},
        {FAKE_NVML, "GPU-9", NULL, "this machine has no GPU 'GPU-9'"},
        {"/nonexistent.so", "all", NULL, "/nonexistent.so cannot be loaded"},
        {"libc.so.6", "none", NULL, "libc.so.6 has no nvmlInit_v2"},
    };
    play("gpu GPU-0 40960 NVIDIA A100\ngpu GPU-1 40960 NVIDIA A100\nmig MIG-a 4864 1g.5gb\nmig MIG-b 4864 1g.5gb\n"
         "gpu GPU-2 15360 Tesla T4\ngpu GPU-3 15360 Tesla T4\nlost GPU-3\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gpu_host *h = NULL;
        struct err err = {0};
        size_t n = 0;
        bool opened = gpu_host_open(str_of(rows[i].library), str_of(rows[i].which), &h, &err);
        if (opened != (rows[i].list != NULL)) fail_msg("%s: %s", rows[i].which, err.message);
        if (!opened && strstr(err.message, rows[i].complaint) == NULL) fail_msg("%s: %s", rows[i].which, err.message);
        const struct gpu *list = opened ? gpu_host_list(h, &n) : NULL;
        BUF_AUTO text;
        buf_init(&text, 0);
        for (size_t k = 0; k < n; k++)
            buf_printf(&text, "%.*s ", STR_ARG(list[k].uuid));
        if (opened && !str_is(buf_view(&text), rows[i].list)) fail_msg("%s: %s", rows[i].which, text.p);
        assert_true(!opened || gpu_host_any(h));
        gpu_host_close(h);
    }
}

static void what_breaks_is_given_to_nobody(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    await_ready();
    play(THREE "lost GPU-0\nxid GPU-1 79\n");
    int64_t until = os_mono_us() + PATIENCE_US;
    for (struct exec_event e; gpus_fit(x.gpus, &two);) { /* a worker looks at them every few seconds */
        int fds[8];
        struct pollfd p[8];
        size_t n = x.fds(x.self, fds, 8);
        for (size_t i = 0; i < n; i++)
            p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        if (os_mono_us() > until) fail_msg("nobody looked");
        poll(p, (nfds_t)n, 1000);
        assert_false(x.next(x.self, &arena, &e));
    }
    gpus_reason(x.gpus, &two, &text);
    assert_string_equal(text.p, "needs 2 GPUs, this machine has 3; 2 of them are not in order: GPU 1 has had XID 79");
    run(1, (struct resources){.gpu_count = 1}, SEES, "[GPU-2] [GPU-2]\n");
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    int fd = mkstemp(file);
    if (fd < 0) return 1;
    close(fd);
    setenv("FAKE_NVML", file, 1);
#define G(f) cmocka_unit_test_setup_teardown(f, setup_three, teardown_gpus)
    const struct CMUnitTest tests[] = {
        G(each_sees_its_own_and_no_other),
        G(what_is_not_launched_is_free_again),
        G(a_restart_keeps_them_apart),
        G(what_breaks_is_given_to_nobody),
        cmocka_unit_test_setup_teardown(steps_may_have_none, setup_none, teardown_gpus),
        T(without_a_driver_nothing_is_said),
        cmocka_unit_test(the_list_is_what_was_named),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    return rc;
}
