/* The grace of a step that was told to stop: it is for all that the step started, whoever of them ends first. Real
 * processes throughout. */
#include "tests/engine/os/rig.h"

#include "engine/os/launcher_proc.h"

/* A child of the step's shell, as a training would be: tells its number, and when it is told to stop says so and takes
 * until somebody writes to `go`. Its shell has no trap and dies of the signal. */
static void line_of(char *out, size_t room, const char *how, const char *trap)
{
    snprintf(out, room, "%s sh -c 'cd %s; trap \"%s\" TERM; echo $$ > pid; while :; do sleep 0.05; done'; true", how,
             rig.data, trap);
}

#define SAVES "echo told > told; cat go; echo saved; exit 1"

static pid_t launch_child(const char *name, const char *how, const char *trap, pid_t *leader)
{
    char line[FS_PATH_MAX];
    struct shell_launch s;
    make_fifo("pid");
    make_fifo("told");
    make_fifo("go");
    line_of(line, sizeof line, how, trap);
    launch(shell(&s, name, line));
    pid_t child = read_pid("pid");
    *leader = (pid_t)rig.seen.pid;
    assert_int_not_equal(child, *leader);
    return child;
}

static void await_told(void)
{
    char text[8];
    struct launcher_event e;
    while (launcher_next(rig.l, &e)) /* sends the request */
        ;
    int fd = open(in_data("told"), O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a child that was killed never writes */
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(read(fd, text, sizeof text), 5);
    close(fd);
}

static void let_go(void)
{
    int fd = open(in_data("go"), O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
}

/* Has ended by now; whoever is to reap it may yet do so. */
static bool is_gone(pid_t pid)
{
    struct proc p;
    return !proc_read(pid, &p) || p.state == 'Z' || p.state == 'X';
}

static void forget_pipes(void)
{
    static const char *const names[] = {"pid", "told", "go"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_data(names[i]));
}

static void what_it_started_has_the_grace(void **state)
{
    (void)state;
    static const char *const ways[] = {"", "setsid -w", "env -i setsid -w", "set -m;"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char name[16];
        pid_t leader;
        snprintf(name, sizeof name, "saves-%zu", i);
        pid_t child = launch_child(name, ways[i], SAVES, &leader);
        print_message("  %s: %d\n", ways[i], child);
        launcher_kill(rig.l, str_of(name), PATIENCE_MS);
        await_told();
        assert_true(await_gone(leader));
        for (int k = 0; k < 4; k++) { /* those beside it end as ever, with what they left */
            char other[64];
            snprintf(other, sizeof other, "%s-other%d", name, k);
            run_shell(other, "(setsid sleep 1000 &); exit 4");
            assert_int_equal(await_event(LAUNCHER_ENDED, NULL)->code, 4);
            assert_true(str_is(rig.seen.name, other));
            launcher_ack(rig.l, str_of(other));
        }
        assert_int_equal(kill(child, 0), 0);
        let_go();
        const struct launcher_event *e = await_event(LAUNCHER_ENDED, name);
        assert_true(is_gone(child));
        assert_true(e->killed);
        assert_int_equal(e->signal, SIGTERM); /* of its own process */
        assert_non_null(strstr(log_of(name), "saved\n"));
        forget_pipes();
    }
}

static void the_timeout_gives_it_too(void **state)
{
    (void)state;
    struct shell_launch s;
    struct launcher_request *req =
        shell(&s, "late", "sh -c 'trap \"sleep 0.3; echo saved; exit 1\" TERM; while :; do sleep 0.05; done'; true");
    req->timeout_ms = 500;
    req->grace_ms = PATIENCE_MS;
    launch(req);
    const struct launcher_event *e = await_event(LAUNCHER_ENDED, "late");
    assert_true(e->timed_out && !e->killed);
    assert_int_equal(e->signal, SIGTERM);
    assert_non_null(strstr(log_of("late"), "saved\n"));
}

static void the_deaf_are_killed_after_it(void **state)
{
    (void)state;
    static const struct {
        const char *name, *how;
        int64_t first_ms, then_ms; /* -1 = not told again */
        int signal;
    } rows[] = {
        {"over", "", 300, -1, SIGTERM},           {"over-session", "setsid -w", 300, -1, SIGTERM},
        {"hurried", "", PATIENCE_MS, 0, SIGTERM}, {"shortened", "setsid -w", PATIENCE_MS, 200, SIGTERM},
        {"at-once", "setsid -w", 0, -1, SIGKILL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pid_t leader;
        struct launcher_event e;
        pid_t child = launch_child(rows[i].name, rows[i].how, "", &leader);
        print_message("  %s: %d\n", rows[i].name, child);
        launcher_kill(rig.l, str_of(rows[i].name), rows[i].first_ms);
        while (launcher_next(rig.l, &e) && e.kind != LAUNCHER_ENDED)
            ;
        assert_true(await_gone(leader));
        if (rows[i].then_ms >= 0) launcher_kill(rig.l, str_of(rows[i].name), rows[i].then_ms);
        const struct launcher_event *end = await_event(LAUNCHER_ENDED, rows[i].name);
        assert_true(end->killed);
        assert_int_equal(end->signal, rows[i].signal);
        assert_true(is_gone(child));
        forget_pipes();
    }
}

/* A server that comes while only what the step started is there finds it running, and hears one end. */
static void another_server_hears_of_it(void **state)
{
    (void)state;
    pid_t leader, child = launch_child("saves", "", SAVES, &leader);
    launcher_kill(rig.l, STR("saves"), PATIENCE_MS);
    await_told();
    assert_true(await_gone(leader));
    launcher_close(rig.l);
    rig_open();
    assert_int_equal(await_event(LAUNCHER_STARTED, "saves")->pid, leader);
    await_event(LAUNCHER_SYNCED, NULL);
    launcher_kill(rig.l, STR("saves"), PATIENCE_MS); /* as the new one would */
    assert_int_equal(kill(child, 0), 0);
    let_go();
    const struct launcher_event *e = await_event(LAUNCHER_ENDED, "saves");
    assert_int_equal(e->signal, SIGTERM);
    assert_true(is_gone(child));
    assert_non_null(strstr(log_of("saves"), "saved\n"));
    launcher_ack(rig.l, STR("saves"));
    run_shell("after", "exit 3");
    assert_int_equal(await_event(LAUNCHER_ENDED, NULL)->code, 3);
}

static void a_lost_launcher_leaves_nothing_of_it(void **state)
{
    (void)state;
    pid_t leader, child = launch_child("saves", "setsid -w", SAVES, &leader);
    launcher_kill(rig.l, STR("saves"), PATIENCE_MS);
    await_told();
    assert_true(await_gone(leader));
    end_launcher(SIGKILL);
    await_event(LAUNCHER_LOST, "saves");
    assert_true(await_gone(child));
    assert_null(strstr(log_of("saves"), "saved"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
static const struct CMUnitTest tests[] = {
    T(what_it_started_has_the_grace),        T(the_timeout_gives_it_too),
    T(the_deaf_are_killed_after_it),         T(another_server_hears_of_it),
    T(a_lost_launcher_leaves_nothing_of_it),
};

LAUNCHER_TEST_MAIN(tests)
