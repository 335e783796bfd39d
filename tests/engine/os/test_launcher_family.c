/* Which processes the launcher takes for a step's: those that keep its leader from ending, and none that only has the
 * number of one; and that a step has nothing of the server's rights. */
#include "tests/engine/os/rig.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "engine/os/launcher_proc.h"
#include "engine/os/launcher_wire.h"

#define HOLD_COMMAND "__hold"

/* ---- a leader that is held ---- */

/* A step that starts a debugger of itself, in a session of its own, which never waits for it: as long as that one
 * lives, the step's end is told to nobody else. */
__attribute__((noreturn)) static void hold(const char *fifo)
{
    pid_t step = getpid();
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    if (fork() == 0) {
        setsid();
        bool held = ptrace(PTRACE_SEIZE, step, NULL, NULL) == 0;
        int fd = open(fifo, O_WRONLY | O_CLOEXEC);
        dprintf(fd, "%d\n", held ? (int)getpid() : 0);
        close(fd);
    }
    for (;;)
        pause();
}

static void a_kill_reaches_those_who_hold_the_leader(void **state)
{
    (void)state;
    char fifo[FS_PATH_MAX];
    struct shell_launch s;
    struct launcher_request *req = shell(&s, "held", "");
    make_fifo("pid");
    snprintf(fifo, sizeof fifo, "%s", in_data("pid"));
    s.argv[0] = STR("/proc/self/exe");
    s.argv[1] = STR(HOLD_COMMAND);
    s.argv[2] = str_of(fifo);
    launch(req);
    pid_t debugger = read_pid("pid");
    if (debugger == 0) { /* not allowed here */
        launcher_kill(rig.l, STR("held"), 0);
        await_event(LAUNCHER_ENDED, "held");
        skip();
    }
    launcher_kill(rig.l, STR("held"), 0);
    const struct launcher_event *e = await_event(LAUNCHER_ENDED, "held");
    assert_true(e->killed);
    assert_int_equal(e->signal, SIGKILL);
    assert_true(await_gone(debugger));
}

/* ---- numbers that others have now ---- */

struct bystander { /* answers as long as it lives */
    pid_t pid;
    int to, from;
};

static struct bystander bystander_start(void)
{
    int to[2], from[2];
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    struct bystander b = {.pid = fork(), .to = to[1], .from = from[0]};
    if (b.pid == 0) {
        close(to[1]);
        close(from[0]);
        for (char c; read(to[0], &c, 1) == 1 && write(from[1], &c, 1) == 1;)
            ;
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    return b;
}

static bool bystander_answers(const struct bystander *b)
{
    char c = 'x';
    signal(SIGPIPE, SIG_IGN);
    return write(b->to, &c, 1) == 1 && read(b->from, &c, 1) == 1;
}

static void bystander_end(const struct bystander *b)
{
    close(b->to);
    close(b->from);
    waitpid(b->pid, NULL, 0);
}

/* As if a step of that process had been running when the launcher died. */
static void note_running(struct buf *journal, const char *name, pid_t pid, int64_t later)
{
    struct proc p;
    assert_true(proc_read(pid, &p));
    const struct launcher_event e = {.name = str_of(name), .pid = pid, .started_us = 1, .code = -1};
    launcher_put_event(journal, FRAME_STARTED, &e, p.ticks - later);
}

static void a_number_that_another_has_now_is_left_alone(void **state)
{
    (void)state;
    end_launcher(SIGKILL);
    launcher_close(rig.l);
    struct bystander ours = bystander_start(), others = bystander_start();
    BUF_AUTO frames;
    buf_init(&frames, 4096);
    note_running(&frames, "ours", ours.pid, 0);
    note_running(&frames, "recycled", others.pid, 1);
    int fd = open(in_data("launcher/journal"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, frames.p, frames.n), frames.n);
    close(fd);
    rig_open();
    int lost = 0;
    for (const struct launcher_event *e; (e = next_event())->kind != LAUNCHER_SYNCED;)
        lost += e->kind == LAUNCHER_LOST;
    assert_int_equal(lost, 2);
    assert_false(bystander_answers(&ours));
    assert_true(bystander_answers(&others));
    bystander_end(&ours);
    bystander_end(&others);
}

/* ---- rights ---- */

/* A server that is root and has a group besides: its steps have their user's alone. */
static int setup_with_group(void **state)
{
    static const gid_t extra = 4242;
    if (geteuid() == 0 && setgroups(1, &extra) != 0) return -1;
    return rig_setup(state);
}

static int teardown_with_group(void **state)
{
    if (geteuid() == 0 && setgroups(0, NULL) != 0) return -1;
    return rig_teardown(state);
}

static void a_step_has_no_group_of_the_server(void **state)
{
    (void)state;
    if (geteuid() != 0) skip();
    struct err err = {0};
    struct shell_launch s;
    assert_int_equal(chmod(rig.data, 0711), 0);
    assert_true(fs_mkdirs(in_data("work"), 0711, &err));
    run_shell("server", "id -G");
    assert_int_equal(await_event(LAUNCHER_ENDED, "server")->code, 0);
    assert_non_null(strstr(log_of("server"), "4242")); /* so there is something to lose */
    struct launcher_request *req = shell(&s, "step", "id -G; id -u; grep -E '^Cap(Prm|Eff|Amb):' /proc/self/status");
    req->uid = req->gid = 65534;
    launch(req);
    assert_int_equal(await_event(LAUNCHER_ENDED, "step")->code, 0);
    assert_string_equal(log_of("step"), "65534\n65534\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
                                        "CapAmb:\t0000000000000000\n");
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    if (argc > 2 && strcmp(argv[1], HOLD_COMMAND) == 0) hold(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_reaches_those_who_hold_the_leader, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_number_that_another_has_now_is_left_alone, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_step_has_no_group_of_the_server, setup_with_group, teardown_with_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
