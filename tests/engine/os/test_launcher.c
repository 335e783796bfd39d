/* One step in the launcher: how it starts, what it finds, how it ends, and that nothing of it stays behind. Real
 * processes throughout. */
#include "tests/engine/os/rig.h"

#include <sys/resource.h>

/* ---- ends ---- */

#define PYTHON "/usr/bin/python3 -c \"import mmap, os, time\n"

static const struct end_row {
    const char *name, *line;
    int64_t timeout_ms, memory, log_max;
    int32_t code, signal;
    bool timed_out, oom, log_full, not_started;
    const char *log; /* the log holds it */
} end_rows[] = {
    {.name = "well", .line = "echo out; echo err >&2", .log = "out\nerr\n"},
    {.name = "code", .line = "exit 3", .code = 3},
    {.name = "signal", .line = "kill -SEGV $$", .code = -1, .signal = SIGSEGV},
    {.name = "clean-env", .line = "env | cut -d= -f1 | sort | tr '\\n' ' '", .log = "MILLRACE_LAUNCH PATH PWD"},
    {.name = "no-input", .line = "cat", .log = ""},
    {.name = "own-session", .line = "test $(ps -o sid= -p $$) = $$ && echo leader", .log = "leader"},
    {.name = "no-core", .line = "ulimit -c", .log = "0"},
    {.name = "no-descriptors", .line = "ls /proc/self/fd | tr '\\n' ' '", .log = "0 1 2 3"},
    {.name = "workdir", .line = "pwd", .log = "/work/workdir"},
    {.name = "umask", .line = "umask", .log = "0022"},
    {.name = "no-signals-blocked", .line = "grep SigBlk /proc/self/status", .log = "0000000000000000"},
    {.name = "timeout", .line = "sleep 1000", .timeout_ms = 50, .code = -1, .signal = SIGTERM, .timed_out = true},
    {.name = "timeout-polite",
     .line = "trap 'echo bye; exit 7' TERM; sleep 1000 & wait",
     .timeout_ms = 300,
     .code = 7,
     .timed_out = true,
     .log = "bye"},
    {.name = "timeout-deaf",
     .line = "trap '' TERM; while :; do sleep 1000; done",
     .timeout_ms = 100,
     .code = -1,
     .signal = SIGKILL,
     .timed_out = true},
    {.name = "memory",
     .line = "head -c 300000000 /dev/zero | tail | sleep 1000",
     .memory = 50 << 20,
     .code = -1,
     .signal = SIGKILL,
     .oom = true},
    {.name = "memory-shared",
     .line = PYTHON "m = mmap.mmap(-1, 300 << 20); m.write(b'x' * (300 << 20)); time.sleep(1000)\"",
     .memory = 100 << 20,
     .code = -1,
     .signal = SIGKILL,
     .oom = true},
    {.name = "memory-common", /* by five processes: 80 MiB, not 400 */
     .line = PYTHON "m = mmap.mmap(-1, 40 << 20); m.write(b'x' * (40 << 20)); p = b'y' * (40 << 20)\n"
                    "for i in range(4):\n if os.fork() == 0: sum(m[::4096]); time.sleep(1); os._exit(0)\n"
                    "for i in range(4): os.wait()\"",
     .memory = 200 << 20},
    {.name = "log-full",
     .line = "trap '' TERM; while :; do yes | head -c 100000; done",
     .log_max = 1 << 20,
     .code = -1,
     .signal = SIGKILL,
     .log_full = true},
    {.name = "log-fine", .line = "yes | head -c 100000; sleep 0.3", .log_max = 100000},
    {.name = "memory-fine", .line = "head -c 1000000 /dev/zero | tail >/dev/null; sleep 0.3", .memory = 500 << 20},
};

static void ends_are_told(void **state)
{
    (void)state;
    size_t n = sizeof end_rows / sizeof *end_rows;
    for (size_t i = 0; i < n; i++) {
        struct shell_launch s;
        struct launcher_request *req = shell(&s, end_rows[i].name, end_rows[i].line);
        req->timeout_ms = end_rows[i].timeout_ms;
        req->memory_bytes = end_rows[i].memory;
        req->log_max_bytes = end_rows[i].log_max;
        req->grace_ms = 200;
        launch(req);
    }
    for (size_t ended = 0; ended < n;) {
        const struct launcher_event *e = next_event();
        if (e->kind != LAUNCHER_ENDED) continue;
        ended++;
        for (size_t i = 0; i < n; i++) {
            const struct end_row *row = &end_rows[i];
            if (!str_is(e->name, row->name)) continue;
            print_message("  %s: code %d signal %d\n", row->name, e->code, e->signal);
            assert_int_equal(e->code, row->code);
            assert_int_equal(e->signal, row->signal);
            assert_int_equal(e->timed_out, row->timed_out);
            assert_int_equal(e->oom, row->oom);
            assert_int_equal(e->log_full, row->log_full);
            assert_int_equal(e->not_started, row->not_started);
            assert_true(e->started_us > 0 && e->ended_us >= e->started_us);
            if (row->log && !strstr(log_of(row->name), row->log))
                fail_msg("%s wrote '%s'", row->name, log_of(row->name));
        }
    }
}

/* ---- what cannot start ---- */

static void what_cannot_start_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *name, *command, *cwd, *tree, *file, *says;
        bool infra;
    } rows[] = {
        {"no-command", "no-such-command", NULL, NULL, NULL, "cannot start 'no-such-command'", false},
        {"no-file", "/no/such/file", NULL, NULL, NULL, "cannot start '/no/such/file': No such file", false},
        {"not-executable", "/etc/passwd", NULL, NULL, NULL, "cannot start '/etc/passwd': Permission denied", false},
        {"no-cwd", "true", "sub", NULL, NULL, "working directory 'sub'", false},
        {"cwd-out", "true", "../..", NULL, NULL, "working directory '../..'", false},
        {"no-tree", "true", NULL, "/no/such/tree", NULL, "cannot open the code at /no/such/tree", true},
        {"file-out", "true", NULL, NULL, "../x", "'../x' is not a path beneath", false},
        {"file-absolute", "true", NULL, NULL, "/tmp/x", "'/tmp/x' is not a path beneath", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct shell_launch s;
        struct launcher_request *req = shell(&s, rows[i].name, "");
        struct launcher_file file = {.to = str_of(rows[i].file), .text = STR("x")};
        s.argv[0] = str_of(rows[i].command);
        req->n_argv = 1;
        req->cwd = str_of(rows[i].cwd);
        req->tree = str_of(rows[i].tree);
        req->files = &file;
        req->n_files = rows[i].file ? 1 : 0;
        launch(req);
        const struct launcher_event *e = await_event(LAUNCHER_ENDED, rows[i].name);
        assert_true(e->not_started);
        assert_int_equal(e->code, -1);
        if (!strstr(rig.seen_error, rows[i].says) || e->infra != rows[i].infra)
            fail_msg("%s: infra %d, %s", rows[i].name, e->infra, rig.seen_error);
    }
}

/* However many descriptors are left when it begins: what then fails is not the step's doing. */
static void want_of_descriptors_is_no_fault_of_the_step(void **state)
{
    (void)state;
    int failed = 0;
    await_event(LAUNCHER_SYNCED, NULL);
    for (rlim_t most = 6; most < 24; most++) {
        const struct rlimit limit = {most, 1024};
        char name[32];
        struct shell_launch s;
        const struct launcher_file file = {.to = STR("sub/text"), .text = STR("x")};
        snprintf(name, sizeof name, "few-%d", (int)most);
        struct launcher_request *req = shell(&s, name, "exit 7");
        req->files = &file;
        req->n_files = most % 2;
        assert_int_equal(prlimit((pid_t)launcher_pid(rig.l), RLIMIT_NOFILE, &limit, NULL), 0);
        launch(req);
        const struct launcher_event *e = await_event(LAUNCHER_ENDED, name);
        if (e->not_started ? !e->infra : e->code != 7) fail_msg("%s: code %d, %s", name, e->code, rig.seen_error);
        failed += e->not_started;
    }
    assert_in_range(failed, 3, 15);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct shell_launch s;
    static const char *const names[] = {"", ".", "a/b", "a b", "../x", "ü"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_false(launcher_launch(rig.l, shell(&s, names[i], "true"), &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    struct launcher_request *req = shell(&s, "fine", "true");
    req->n_argv = 0;
    assert_false(launcher_launch(rig.l, req, &err));
    req = shell(&s, "fine", "true");
    req->workdir = STR("relative");
    assert_false(launcher_launch(rig.l, req, &err));
    char *huge = calloc(1, 17 << 20);
    memset(huge, 'x', (17 << 20) - 1);
    req = shell(&s, "fine", huge);
    assert_false(launcher_launch(rig.l, req, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(huge);
}

/* ---- the working directory ---- */

static void write_in(const char *name, const char *text, mode_t mode)
{
    struct err err = {0};
    if (!fs_write(in_data(name), str_of(text), mode, false, &err)) fail_msg("%s", err.message);
}

static void code_and_inputs_are_laid_out(void **state)
{
    (void)state;
    struct err err = {0};
    assert_true(fs_mkdirs(in_data("tree/lib/deep"), 0755, &err));
    write_in("tree/main.sh", "echo ran in $(basename $PWD)\n", 0755); /* no interpreter line */
    write_in("tree/lib/deep/text", "deep\n", 0644);
    assert_int_equal(symlink("deep/text", in_data("tree/lib/link")), 0);
    write_in("blob", "blob\n", 0400);
    char tree[FS_PATH_MAX], blob[FS_PATH_MAX], kept[FS_PATH_MAX];
    snprintf(tree, sizeof tree, "%s", in_data("tree"));
    snprintf(blob, sizeof blob, "%s", in_data("blob"));
    snprintf(kept, sizeof kept, "%s", in_data("kept/1/2"));
    const struct launcher_file files[] = {
        {.to = STR("inputs/data"), .from = str_of(blob)},
        {.to = STR("inputs/folder"), .from = str_of(tree)},
        {.to = STR("inputs/text"), .text = STR("hello")},
        {.to = STR("run.me"), .text = STR("#!/bin/sh\ncat"), .mode = 0755},
    };
    const struct str folders[] = {STR("out/a"), str_of(kept)};
    struct shell_launch s;
    struct launcher_request *req = shell(
        &s, "layout",
        "./main.sh && readlink lib/link && cat lib/link inputs/data inputs/text && cat inputs/folder/lib/link &&"
        " test -d out/a && test -x run.me && ./run.me </dev/null && echo more >> inputs/data && echo mended > main.sh");
    req->tree = str_of(tree);
    req->files = files;
    req->n_files = sizeof files / sizeof *files;
    req->folders = folders;
    req->n_folders = 2;
    launch(req);
    const struct launcher_event *e = await_event(LAUNCHER_ENDED, "layout");
    if (e->code != 0) fail_msg("code %d: %s %s", e->code, rig.seen_error, log_of("layout"));
    assert_string_equal(log_of("layout"), "ran in layout\ndeep/text\ndeep\nblob\nhellodeep\n");
    struct stat st;
    assert_int_equal(stat(kept, &st), 0);
    assert_string_equal(text_of(blob), "blob\n"); /* what a step does to its copy is its own business */
    assert_string_equal(text_of(in_data("tree/main.sh")), "echo ran in $(basename $PWD)\n");
}

static void another_user_owns_its_files(void **state)
{
    (void)state;
    if (geteuid() != 0) skip();
    struct err err = {0};
    assert_int_equal(chmod(rig.data, 0711), 0);
    assert_true(fs_mkdirs(in_data("work"), 0711, &err));
    assert_true(fs_mkdirs(in_data("closed/sub"), 0700, &err));
    write_in("closed/sub/code", "code\n", 0600);
    char tree[FS_PATH_MAX];
    snprintf(tree, sizeof tree, "%s", in_data("closed"));
    const struct launcher_file files[] = {{.to = STR("inputs/text"), .text = STR("hello\n")}};
    struct shell_launch s;
    struct launcher_request *req =
        shell(&s, "user",
              "id -u; id -G; cat sub/code inputs/text; echo x >> sub/code && echo x >> inputs/text && mkdir inputs/y &&"
              " touch z && echo wrote; grep NoNewPrivs /proc/self/status; cat /etc/shadow");
    req->uid = 65534;
    req->gid = 65534;
    req->tree = str_of(tree);
    req->files = files;
    req->n_files = 1;
    launch(req);
    assert_int_equal(await_event(LAUNCHER_ENDED, "user")->code, 1); /* of the last cat */
    const char *log = log_of("user");
    if (strncmp(log, "65534\n65534\ncode\nhello\nwrote\nNoNewPrivs:\t1\n", 43) != 0) fail_msg("%s", log);
}

/* ---- nothing stays behind ---- */

static void descendants_end_with_their_step(void **state)
{
    (void)state;
    static const struct {
        const char *name, *line;
    } rows[] = {
        {"background", "sleep 1000 & echo $! > %s"},
        {"new-session",
         "setsid sh -c 'echo $$ > %s; touch said; exec sleep 1000' & until test -e said; do sleep 0.02; done"},
        {"daemon", "(setsid sh -c 'sh -c \"echo \\$\\$ > %s; touch said; exec sleep 1000\" &' &) ; until test -e said; "
                   "do sleep 0.02; done"},
        {"cleared",
         "(env -i setsid sh -c 'echo $$ > %s; touch said; exec sleep 1000' &) ; until test -e said; do sleep "
         "0.02; done"},
        {"deaf", "sh -c 'trap \"\" TERM HUP; echo $$ > %s; touch said; sleep 1000; sleep 1000' & until test -e said; "
                 "do sleep 0.02; done"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char fifo[FS_PATH_MAX], line[FS_PATH_MAX];
        make_fifo(rows[i].name);
        snprintf(fifo, sizeof fifo, "%s", in_data(rows[i].name));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(line, sizeof line, rows[i].line, fifo);
#pragma GCC diagnostic pop
        run_shell(rows[i].name, line);
        pid_t pid = read_pid(rows[i].name);
        print_message("  %s: %d\n", rows[i].name, pid);
        assert_int_equal(await_event(LAUNCHER_ENDED, rows[i].name)->code, 0);
        assert_true(await_gone(pid));
    }
}

/* A grandchild in another session, orphaned, goes on while steps beside its own end. */
static void goes_on(const char *name, const char *how)
{
    char line[4 * FS_PATH_MAX], go[32], said[32];
    snprintf(go, sizeof go, "go-%s", name);
    snprintf(said, sizeof said, "pid-%s", name);
    make_fifo(said);
    make_fifo(go);
    snprintf(line, sizeof line,
             "cp /bin/cat cat; chmod 111 cat; (%s sh -c 'echo $$ > %s/%s; %s < %s/%s > said' &); while ! test -s said; "
             "do sleep 0.05; done; cat said",
             how, rig.data, said, strcmp(name, "unreadable") == 0 ? "exec ./cat" : "cat", rig.data, go);
    run_shell(name, line);
    pid_t pid = read_pid(said);
    for (int i = 0; i < 5; i++) {
        char other[64];
        snprintf(other, sizeof other, "%s-other%d", name, i);
        run_shell(other, "sleep 1000 & exit 0");
        await_event(LAUNCHER_ENDED, other);
        assert_int_equal(kill(pid, 0), 0);
    }
    int fd = open(in_data(go), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "went on\n", 8), 8);
    close(fd);
    assert_int_equal(await_event(LAUNCHER_ENDED, name)->code, 0);
    assert_string_equal(log_of(name), "went on\n");
    assert_true(await_gone(pid));
}

static void others_go_on_when_one_ends(void **state)
{
    (void)state;
    goes_on("plain", "setsid");
    goes_on("cleared", "env -i setsid");
    goes_on("unreadable", "setsid"); /* as a program that may not be traced */
}

/* ---- kill ---- */

static void kill_is_polite_first(void **state)
{
    (void)state;
    make_fifo("ready");
    char line[2 * FS_PATH_MAX];
    snprintf(line, sizeof line, "trap 'echo asked; exit 5' TERM; echo $$ > %s/ready; while :; do sleep 0.1; done",
             rig.data);
    run_shell("polite", line);
    read_pid("ready");
    launcher_kill(rig.l, STR("polite"), 60000);
    const struct launcher_event *e = await_event(LAUNCHER_ENDED, "polite");
    assert_int_equal(e->code, 5);
    assert_true(e->killed);
    assert_non_null(strstr(log_of("polite"), "asked\n"));
}

static void kill_comes_to_an_end(void **state)
{
    (void)state;
    static const struct {
        const char *name, *line;
        int64_t grace_ms;
        int signal;
    } rows[] = {
        {"at-once", "trap '' TERM; sleep 1000; sleep 1000", 0, SIGKILL},
        {"deaf", "trap '' TERM; while :; do sleep 1000; done", 100, SIGKILL},
        {"plain", "sleep 1000", 60000, SIGTERM},
        {"stopped", "kill -STOP $$", 60000, SIGTERM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        run_shell(rows[i].name, rows[i].line);
        if (strcmp(rows[i].name, "deaf") == 0) { /* until it has its trap */
            int64_t pid = await_event(LAUNCHER_STARTED, rows[i].name)->pid;
            char status[64];
            snprintf(status, sizeof status, "/proc/%d/status", (int)pid);
            while (!strstr(text_of(status), "4000\nSigCgt"))
                sched_yield();
        }
        launcher_kill(rig.l, str_of(rows[i].name), rows[i].grace_ms); /* perhaps before it has begun */
        const struct launcher_event *e = await_event(LAUNCHER_ENDED, rows[i].name);
        print_message("  %s: signal %d\n", rows[i].name, e->signal);
        assert_true(e->killed);
        assert_int_equal(e->signal, rows[i].signal);
    }
}

static void a_known_name_is_not_launched_again(void **state)
{
    (void)state;
    run_shell("once", "echo ran; read x < /dev/null; sleep 0.2");
    int64_t pid = await_event(LAUNCHER_STARTED, "once")->pid;
    run_shell("once", "echo ran");
    assert_int_equal(await_event(LAUNCHER_STARTED, "once")->pid, pid);
    assert_int_equal(await_event(LAUNCHER_ENDED, "once")->pid, pid);
    run_shell("once", "echo ran");
    assert_int_equal(await_event(LAUNCHER_ENDED, "once")->pid, pid);
    assert_string_equal(log_of("once"), "ran\n");
    launcher_ack(rig.l, STR("once"));
    run_shell("once", "echo again"); /* forgotten: a new one */
    assert_true(await_event(LAUNCHER_ENDED, "once")->pid != pid);
    assert_string_equal(log_of("once"), "ran\nagain\n");
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
static const struct CMUnitTest tests[] = {
    T(ends_are_told),
    T(what_cannot_start_says_why),
    T(want_of_descriptors_is_no_fault_of_the_step),
    T(bad_requests_are_refused),
    T(code_and_inputs_are_laid_out),
    T(another_user_owns_its_files),
    T(descendants_end_with_their_step),
    T(others_go_on_when_one_ends),
    T(kill_is_polite_first),
    T(kill_comes_to_an_end),
    T(a_known_name_is_not_launched_again),
};

LAUNCHER_TEST_MAIN(tests)
