/* Servers and launchers that are killed at bad moments: nothing is lost, nothing runs twice, nothing is left behind. */
#include "tests/engine/os/rig.h"

#include <spawn.h>
#include <sys/resource.h>

/* ---- the server is killed ---- */

/* A child that opens the launcher, lets `work` ask for things, and is killed without a word. */
static void killed_server(void (*work)(void))
{
    launcher_close(rig.l);
    rig.l = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        rig_open();
        work();
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    rig_open();
}

static void start_three(void)
{
    run_shell("ends-meanwhile", "exit 4");
    run_shell("ended", "exit 3");
    await_event(LAUNCHER_ENDED, "ended");
    struct shell_launch s;
    char line[FS_PATH_MAX];
    snprintf(line, sizeof line, "read x < %s/go; exit 5", rig.data);
    launch(shell(&s, "runs", line));
    await_event(LAUNCHER_STARTED, "runs");
}

static void a_killed_server_finds_everything_again(void **state)
{
    (void)state;
    char id[64];
    int64_t pid = launcher_pid(rig.l);
    snprintf(id, sizeof id, "%.*s", STR_ARG(launcher_id(rig.l)));
    make_fifo("go");
    killed_server(start_three);
    assert_int_equal(launcher_pid(rig.l), pid);
    assert_true(str_is(launcher_id(rig.l), id));
    int seen = 0;
    for (const struct launcher_event *e; (e = next_event())->kind != LAUNCHER_SYNCED;) {
        seen |= str_is(e->name, "ended") && e->kind == LAUNCHER_ENDED && e->code == 3 ? 1 : 0;
        seen |= str_is(e->name, "runs") && e->kind == LAUNCHER_STARTED ? 2 : 0;
        seen |= str_is(e->name, "ends-meanwhile") ? 4 : 0;
    }
    assert_int_equal(seen, 7);
    int fd = open(in_data("go"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "x\n", 2), 2);
    close(fd);
    assert_int_equal(await_event(LAUNCHER_ENDED, "runs")->code, 5);
}

#define NOTE_SIZE LAUNCHER_NOTE_MAX
static char note[NOTE_SIZE + 1];

static void start_noted(void)
{
    struct shell_launch s;
    char line[FS_PATH_MAX];
    snprintf(line, sizeof line, "read x < %s/go; exit 5", rig.data);
    shell(&s, "noted", line)->note = (struct str){note, NOTE_SIZE};
    launch(&s.req);
    assert_true(str_eq(await_event(LAUNCHER_STARTED, "noted")->note, s.req.note));
}

/* To each server that comes, however long it is. */
static void a_note_is_told_while_its_step_runs(void **state)
{
    (void)state;
    struct shell_launch s;
    struct err err = {0};
    memset(note, 'n', sizeof note);
    make_fifo("go");
    killed_server(start_noted);
    for (int round = 0; round < 2; round++) {
        assert_true(str_eq(await_event(LAUNCHER_STARTED, "noted")->note, (struct str){note, NOTE_SIZE}));
        launcher_close(rig.l);
        rig_open();
    }
    int fd = open(in_data("go"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "x\n", 2), 2);
    close(fd);
    assert_int_equal(await_event(LAUNCHER_ENDED, "noted")->note.n, 0);
    shell(&s, "bare", "true");
    launch(&s.req);
    assert_int_equal(await_event(LAUNCHER_STARTED, "bare")->note.n, 0);
    shell(&s, "too-long", "true")->note = (struct str){note, NOTE_SIZE + 1};
    assert_false(launcher_launch(rig.l, &s.req, &err));
    assert_int_equal(err.code, ERR_LIMIT);
}

static void acknowledged_ends_are_not_told_again(void **state)
{
    (void)state;
    run_shell("acked", "true");
    run_shell("kept", "true");
    await_event(LAUNCHER_ENDED, NULL);
    await_event(LAUNCHER_ENDED, NULL);
    launcher_ack(rig.l, STR("acked"));
    run_shell("last", "true"); /* the same connection is in order: this end comes after the acknowledgement was taken */
    await_event(LAUNCHER_ENDED, "last");
    for (int round = 0; round < 2; round++) {
        launcher_close(rig.l);
        rig_open();
        int kept = 0;
        for (const struct launcher_event *e; (e = next_event())->kind != LAUNCHER_SYNCED;) {
            assert_false(str_is(e->name, "acked"));
            kept += str_is(e->name, "kept");
        }
        assert_int_equal(kept, 1);
        if (round == 0) end_launcher(SIGTERM); /* nor by the next one, which has it from the journal */
    }
}

static void start_limited(void)
{
    struct shell_launch s;
    struct launcher_request *req = shell(&s, "limited", "trap '' TERM; while :; do sleep 1000; done");
    req->timeout_ms = 100;
    req->grace_ms = 50;
    launch(req);
    await_event(LAUNCHER_STARTED, "limited");
}

static void limits_hold_without_a_server(void **state)
{
    (void)state;
    killed_server(start_limited);
    const struct launcher_event *e = await_event(LAUNCHER_ENDED, "limited");
    assert_true(e->timed_out);
    assert_int_equal(e->signal, SIGKILL);
}

static void the_newest_server_wins(void **state)
{
    (void)state;
    struct launcher *old = rig.l;
    await_event(LAUNCHER_SYNCED, NULL);
    rig_open();
    await_event(LAUNCHER_SYNCED, NULL);
    struct launcher *new = rig.l;
    rig.l = old;
    await_event(LAUNCHER_DISCONNECTED, NULL);
    launcher_close(old);
    rig.l = new;
    run_shell("works", "exit 6");
    assert_int_equal(await_event(LAUNCHER_ENDED, "works")->code, 6);
}

/* ---- the launcher is killed ---- */

static void a_killed_launcher_is_replaced(void **state)
{
    (void)state;
    char line[3 * FS_PATH_MAX];
    pid_t pids[4];
    char id[64];
    snprintf(id, sizeof id, "%.*s", STR_ARG(launcher_id(rig.l)));
    static const char *const lines[] = {"echo $$ > %s/f; exec sleep 1000",
                                        "setsid sh -c 'echo $$ > %s/f; exec sleep 1000' & wait",
                                        "(setsid sh -c 'echo $$ > %s/f; exec sleep 1000' &); exec sleep 1000",
                                        "(env -i setsid sh -c 'echo $$ > %s/f; exec sleep 1000' &); exec sleep 1000"};
    make_fifo("f");
    for (int i = 0; i < 4; i++) {
        char name[8] = {(char)('a' + i)};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(line, sizeof line, lines[i], rig.data);
#pragma GCC diagnostic pop
        run_shell(name, line);
        pids[i] = read_pid("f");
    }
    run_shell("ended", "exit 9");
    await_event(LAUNCHER_ENDED, "ended");
    int64_t old = launcher_pid(rig.l);
    end_launcher(SIGKILL);
    run_shell("new", "exit 8"); /* asked for while there is none */
    await_event(LAUNCHER_DISCONNECTED, NULL);
    int lost = 0, ended = 0;
    for (const struct launcher_event *e; (e = next_event())->kind != LAUNCHER_SYNCED;) {
        lost += e->kind == LAUNCHER_LOST;
        ended += e->kind == LAUNCHER_ENDED && str_is(e->name, "ended") && e->code == 9;
    }
    assert_int_equal(lost, 4);
    assert_int_equal(ended, 1);
    for (int i = 0; i < 4; i++)
        assert_true(await_gone(pids[i]));
    assert_true(launcher_pid(rig.l) != old);
    assert_true(str_is(launcher_id(rig.l), id)); /* the journal is the same */
    assert_int_equal(await_event(LAUNCHER_ENDED, "new")->code, 8);
}

static void a_lost_journal_leaves_no_process(void **state)
{
    (void)state;
    make_fifo("f");
    char line[2 * FS_PATH_MAX], id[64];
    snprintf(id, sizeof id, "%.*s", STR_ARG(launcher_id(rig.l)));
    snprintf(line, sizeof line, "(env -i setsid sh -c 'echo $$ > %s/f; exec sleep 1000' &); exec sleep 1000", rig.data);
    run_shell("step", line);
    pid_t pid = read_pid("f");
    assert_int_equal(unlink(in_data("launcher/journal")), 0);
    end_launcher(SIGKILL);
    await_event(LAUNCHER_DISCONNECTED, NULL);
    assert_int_equal(next_event()->kind, LAUNCHER_SYNCED);
    assert_false(str_is(launcher_id(rig.l), id));
    assert_true(await_gone(pid));
}

static void a_terminated_launcher_takes_its_steps_along(void **state)
{
    (void)state;
    make_fifo("f");
    char line[FS_PATH_MAX];
    snprintf(line, sizeof line, "(setsid sh -c 'echo $$ > %s/f; exec sleep 1000' &); exec sleep 1000", rig.data);
    run_shell("step", line);
    pid_t pid = read_pid("f");
    end_launcher(SIGTERM);
    assert_true(await_gone(pid));
    assert_string_equal(await_event(LAUNCHER_LOST, "step") ? rig.seen_name : "", "step");
}

static void everything_is_killed_over_and_over(void **state)
{
    (void)state;
    enum { ROUNDS = 20, EACH = 10 };
    int told[ROUNDS * EACH] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < EACH; i++) {
            char name[32], line[FS_PATH_MAX];
            snprintf(name, sizeof name, "s-%d", round * EACH + i);
            snprintf(line, sizeof line, "echo x >> %s/ran-%d; exit %d", rig.data, round * EACH + i, i);
            run_shell(name, line);
        }
        for (int i = 0; i < round % 7; i++) {
            next_event();
            if ((rig.seen.kind == LAUNCHER_ENDED || rig.seen.kind == LAUNCHER_LOST) && rig.seen.name.n > 2)
                told[atoi(rig.seen_name + 2)]++;
        }
        kill((pid_t)launcher_pid(rig.l), SIGKILL);
    }
    for (int open = 0; open < ROUNDS * EACH;) {
        open = 0;
        for (int i = 0; i < ROUNDS * EACH; i++)
            open += told[i] > 0;
        if (open == ROUNDS * EACH) break;
        next_event();
        if (rig.seen.kind == LAUNCHER_ENDED || rig.seen.kind == LAUNCHER_LOST) told[atoi(rig.seen_name + 2)]++;
    }
    for (int i = 0; i < ROUNDS * EACH; i++) {
        char name[32];
        snprintf(name, sizeof name, "ran-%d", i);
        if (strlen(text_of(in_data(name))) > 2) fail_msg("step %d ran twice", i);
    }
}

/* ---- the journal ---- */

static void a_torn_journal_is_read_as_far_as_it_goes(void **state)
{
    (void)state;
    run_shell("kept", "exit 2");
    await_event(LAUNCHER_ENDED, "kept");
    char id[64];
    snprintf(id, sizeof id, "%.*s", STR_ARG(launcher_id(rig.l)));
    end_launcher(SIGKILL);
    launcher_close(rig.l);
    int fd = open(in_data("launcher/journal"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "\x40\0\0\0\x08torn", 9), 9);
    close(fd);
    rig_open();
    assert_int_equal(await_event(LAUNCHER_ENDED, "kept")->code, 2);
    assert_true(str_is(launcher_id(rig.l), id));

    end_launcher(SIGKILL);
    launcher_close(rig.l);
    struct err err;
    assert_true(
        fs_write(in_data("launcher/journal"), STR("nonsense that is long enough to be looked at"), 0600, false, &err));
    rig_open();
    assert_int_equal(next_event()->kind, LAUNCHER_SYNCED);
    assert_false(str_is(launcher_id(rig.l), id)); /* another memory, another name */
}

static void limit_journal(rlim_t more)
{
    struct stat st;
    assert_int_equal(stat(in_data("launcher/journal"), &st), 0);
    const struct rlimit limit = {more == RLIM_INFINITY ? more : (rlim_t)st.st_size + more, RLIM_INFINITY};
    assert_int_equal(prlimit((pid_t)launcher_pid(rig.l), RLIMIT_FSIZE, &limit, NULL), 0);
}

static void a_full_disk_leaves_no_gap_in_the_journal(void **state)
{
    (void)state;
    char id[64];
    snprintf(id, sizeof id, "%.*s", STR_ARG(launcher_id(rig.l)));
    run_shell("before", "exit 2");
    await_event(LAUNCHER_ENDED, "before");
    limit_journal(10); /* half a frame */
    run_shell("during", "exit 99");
    const struct launcher_event *during = await_event(LAUNCHER_ENDED, "during");
    assert_true(during->not_started && during->infra);
    assert_non_null(strstr(rig.seen_error, "journal"));
    limit_journal(RLIM_INFINITY);
    run_shell("after", "exit 3");
    assert_int_equal(await_event(LAUNCHER_ENDED, "after")->code, 3);
    end_launcher(SIGKILL);
    int seen = 0;
    await_event(LAUNCHER_DISCONNECTED, NULL);
    for (const struct launcher_event *e; (e = next_event())->kind != LAUNCHER_SYNCED;) {
        seen |= str_is(e->name, "before") && e->code == 2 ? 1 : 0;
        seen |= str_is(e->name, "during") && e->not_started ? 2 : 0;
        seen |= str_is(e->name, "after") && e->code == 3 ? 4 : 0;
    }
    assert_int_equal(seen, 7);
    assert_true(str_is(launcher_id(rig.l), id));
}

static void a_journal_with_a_gap_goes_by_a_new_id(void **state)
{
    (void)state;
    static const char *const gaps[] = {"\x05\0\0\0\x63gaps", "\0\0\0\0", "\x03\0\0\0\x06xx"};
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        char id[64];
        snprintf(id, sizeof id, "%.*s", STR_ARG(launcher_id(rig.l)));
        run_shell("kept", "exit 2");
        await_event(LAUNCHER_ENDED, "kept");
        end_launcher(SIGKILL);
        launcher_close(rig.l);
        int fd = open(in_data("launcher/journal"), O_WRONLY | O_APPEND | O_CLOEXEC);
        size_t n = i == 0 ? 9 : i == 1 ? 4 : 7;
        assert_int_equal(write(fd, gaps[i], n), n);
        close(fd);
        rig_open();
        assert_int_equal(await_event(LAUNCHER_ENDED, "kept")->code, 2);
        assert_false(str_is(launcher_id(rig.l), id));
    }
}

static void no_room_to_compact_is_no_failure(void **state)
{
    (void)state;
    enum { N = 1600 };
    char command[400], name[LAUNCHER_NAME_MAX + 1];
    memset(command, 'x', sizeof command);
    assert_int_equal(mkdir(in_data("launcher/journal.new"), 0700), 0);
    for (int i = 0; i < N; i++) {
        struct shell_launch s;
        snprintf(name, sizeof name, "%0100d", i);
        struct launcher_request *req = shell(&s, name, "");
        s.argv[0] = (struct str){command, sizeof command};
        req->n_argv = 1;
        req->workdir = str_of(rig.data);
        req->workdir_made = true;
        launch(req);
        await_event(LAUNCHER_ENDED, name);
        if (strstr(rig.seen_error, "journal")) fail_msg("%d: %s", i, rig.seen_error);
        launcher_ack(rig.l, str_of(name));
    }
    struct stat st;
    assert_int_equal(stat(in_data("launcher/journal"), &st), 0);
    assert_true(st.st_size > 1 << 20); /* else nothing was tried */
}

/* ---- many ---- */

static double per_second(int n, int64_t since)
{
    return n * 1e6 / (double)(os_mono_us() - since);
}

static void thousands_of_steps_end(void **state)
{
    (void)state;
    enum { N = 2000 };
    extern char **environ;
    char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    int64_t start = os_mono_us();
    for (int i = 0; i < N; i++) {
        pid_t pid;
        assert_int_equal(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), 0);
        waitpid(pid, NULL, 0);
    }
    double floor = per_second(N, start);
    int ended = 0, asked = 0;
    start = os_mono_us();
    while (ended < N) {
        for (; asked < N && asked - ended < 8; asked++) {
            char name[32];
            struct shell_launch s;
            snprintf(name, sizeof name, "n-%d", asked);
            struct launcher_request *req = shell(&s, name, "");
            s.argv[0] = STR("/bin/true");
            req->n_argv = 1;
            launch(req);
        }
        const struct launcher_event *e = next_event();
        if (e->kind != LAUNCHER_ENDED) continue;
        assert_int_equal(e->code, 0);
        ended++;
        launcher_ack(rig.l, e->name);
    }
    double ours = per_second(N, start);
    print_message("  %.0f steps/s, raw posix_spawn %.0f/s (%.2f)\n", ours, floor, ours / floor);
    struct stat st;
    assert_int_equal(stat(in_data("launcher/journal"), &st), 0);
    assert_true(st.st_size < 4 << 20); /* what is acknowledged does not pile up */
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
static const struct CMUnitTest tests[] = {
    T(a_killed_server_finds_everything_again),
    T(a_note_is_told_while_its_step_runs),
    T(acknowledged_ends_are_not_told_again),
    T(limits_hold_without_a_server),
    T(the_newest_server_wins),
    T(a_killed_launcher_is_replaced),
    T(a_lost_journal_leaves_no_process),
    T(a_terminated_launcher_takes_its_steps_along),
    T(everything_is_killed_over_and_over),
    T(a_torn_journal_is_read_as_far_as_it_goes),
    T(a_full_disk_leaves_no_gap_in_the_journal),
    T(a_journal_with_a_gap_goes_by_a_new_id),
    T(no_room_to_compact_is_no_failure),
    T(thousands_of_steps_end),
};

LAUNCHER_TEST_MAIN(tests)
