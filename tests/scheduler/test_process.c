/* The process executor from end to end, without a scheduler: what an attempt finds, what is taken from it, how its
 * failure is put into words, and what a restarted server hears. Real processes, a real launcher, a real blob store. */
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/blob/bundle.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/launcher.h"
#include "scheduler/process.h"

#define PATIENCE_US INT64_C(60000000)

static char data[64], secrets[80];
static struct executor x;
static struct arena arena;

static void open_executor(void)
{
    struct err err = {0};
    const struct process_config cfg = {.data_dir = str_of(data),
                                       .store_dir = str_of(data),
                                       .secrets_dir = str_of(secrets),
                                       .step_path = STR("/usr/local/bin:/usr/bin:/bin"),
                                       .step_log_bytes = 1 << 20};
    if (!process_open(&cfg, &x, &err) || !process_start(&x, &err)) fail_msg("%s", err.message);
}

static int setup(void **state)
{
    (void)state;
    snprintf(data, sizeof data, "/tmp/millrace-process-XXXXXX");
    if (!mkdtemp(data) || chmod(data, 0711) != 0) return -1;
    snprintf(secrets, sizeof secrets, "%s/secrets", data);
    arena_init(&arena, 0);
    open_executor();
    return 0;
}

/* The launcher would wait for another server; it is told to end by the number it has in its lock's folder. */
static int teardown(void **state)
{
    (void)state;
    struct err err;
    struct launcher *l;
    x.stop(x.self);
    if (!launcher_open(&l, data, &err)) return -1;
    kill((pid_t)launcher_pid(l), SIGTERM);
    struct pollfd p = {.fd = launcher_fd(l), .events = POLLIN};
    for (struct launcher_event e = {0}; e.kind != LAUNCHER_DISCONNECTED;)
        if (!launcher_next(l, &e)) poll(&p, 1, 1000);
    launcher_close(l);
    arena_free(&arena);
    return fs_remove_tree(data, &err) ? 0 : -1;
}

/* ---- asking and hearing ---- */

struct step {
    struct exec_request req;
    struct node node;
    struct str argv[3];
    char checkpoint[16];
};

static struct exec_request *step(struct step *s, uint32_t task, const char *line)
{
    memset(s, 0, sizeof *s);
    s->argv[0] = STR("/bin/sh");
    s->argv[1] = STR("-c");
    s->argv[2] = str_of(line);
    snprintf(s->checkpoint, sizeof s->checkpoint, "%u", task);
    s->req = (struct exec_request){.id = {.run = 1, .task = task, .attempt = 1},
                                   .project = STR("default"),
                                   .run_name = STR("r-1"),
                                   .step = STR("train"),
                                   .path = STR("train[2]"),
                                   .checkpoint = str_of(s->checkpoint),
                                   .grace_ms = 200,
                                   .spec = {.node = &s->node, .argv = s->argv, .n_argv = 3}};
    return &s->req;
}

static void launch(const struct exec_request *req)
{
    struct err err = {0};
    if (!x.launch(x.self, req, false, STR(""), &err)) fail_msg("%s", err.message);
}

static struct exec_event next_event(void)
{
    struct exec_event e = {0};
    int64_t until = os_mono_us() + PATIENCE_US;
    while (!x.next(x.self, &arena, &e)) {
        int fds[8];
        struct pollfd p[8];
        size_t n = x.fds(x.self, fds, 8);
        for (size_t i = 0; i < n; i++)
            p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        if (os_mono_us() > until) fail_msg("no event came");
        poll(p, (nfds_t)n, 1000);
    }
    return e;
}

static struct exec_event await_end(uint32_t task)
{
    for (;;) {
        struct exec_event e = next_event();
        if (e.kind != EXEC_LOG && e.id.task == task) return e;
    }
}

static const char *message(const struct exec_event *e)
{
    return arena_cstr(&arena, e->result.message);
}

static const char *log_of(uint32_t task)
{
    static char text[8192];
    char path[FS_PATH_MAX];
    snprintf(path, sizeof path, "%s/logs/1/%u-1.log", data, task);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = '\0';
    return text;
}

/* Runs the line, forgets the attempt, and gives what it wrote. */
static const char *once(uint32_t task, const char *line)
{
    struct step s;
    launch(step(&s, task, line));
    x.forget(x.self, await_end(task).id);
    return log_of(task);
}

/* ---- failures in words ---- */

static void failures_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int64_t timeout_ms, memory;
        bool ok;
        enum failure failure;
        int32_t code;
        const char *says;
    } rows[] = {
        {.line = "exit 0", .ok = true},
        {.line = "echo first; echo the reason >&2; exit 3", .failure = FAILURE_ERROR, .code = 3, .says = "the reason"},
        {.line = "kill -SEGV $$", .failure = FAILURE_ERROR, .code = 139, .says = "signal 11"},
        {.line = "sleep 1000", .timeout_ms = 50, .failure = FAILURE_TIMEOUT, .code = -1, .says = "timeout"},
        {.line = "head -c 300000000 /dev/zero | tail | sleep 1000",
         .memory = 50 << 20,
         .failure = FAILURE_OOM,
         .code = -1,
         .says = "resources.memory"},
        {.line = "yes", .failure = FAILURE_ERROR, .code = -1, .says = "wrote more than 1Mi to its log"},
        {.line = "no-such-command", .failure = FAILURE_ERROR, .code = 127, .says = "not found"},
    };
    uint32_t n = sizeof rows / sizeof *rows;
    for (uint32_t i = 0; i < n; i++) {
        struct step s;
        step(&s, i, rows[i].line);
        s.req.timeout_ms = rows[i].timeout_ms;
        s.req.resources.memory_bytes = rows[i].memory;
        launch(&s.req);
        struct exec_event e = await_end(i);
        assert_int_equal(e.kind, EXEC_ENDED);
        if (e.result.ok != rows[i].ok || e.result.failure != rows[i].failure || e.result.exit_code != rows[i].code ||
            (rows[i].says && !strstr(message(&e), rows[i].says)))
            fail_msg("%s: ok %d failure %d code %d: %s", rows[i].line, e.result.ok, (int)e.result.failure,
                     e.result.exit_code, message(&e));
        assert_true(e.result.ended_us >= e.result.started_us && e.result.started_us > 0);
        x.forget(x.self, e.id);
    }
    struct step s;
    step(&s, 100, "");
    s.argv[0] = STR("no-such-interpreter");
    launch(&s.req);
    struct exec_event e = await_end(100);
    assert_false(e.result.ok);
    assert_non_null(strstr(message(&e), "no-such-interpreter"));
    assert_int_equal(e.result.failure, FAILURE_ERROR);

    struct err err; /* where its log should be is something else: the machine's fault */
    char path[128];
    snprintf(path, sizeof path, "%s/logs/2", data);
    assert_true(fs_write(path, STR(""), 0644, false, &err));
    step(&s, 101, "true");
    s.req.id.run = 2;
    launch(&s.req);
    e = await_end(101);
    assert_int_equal(e.result.failure, FAILURE_INFRA);
    assert_int_equal(e.result.reason, REASON_INFRA);
    assert_non_null(strstr(message(&e), "could not be started: cannot open the log"));
}

/* ---- outputs ---- */

static void outputs_are_collected(void **state)
{
    (void)state;
    struct step s;
    step(&s, 1,
         "echo 42 > n; echo ' x ' > s; echo '[1,2]' > l; echo true > b; echo 1e-3 > f; echo artifact > file; mkdir -p "
         "folder/sub;"
         " echo deep > folder/sub/x");
    const struct output outputs[] = {
        {.name = STR("n"), .kind = IO_PARAM, .type = PARAM_INT, .path = STR("n")},
        {.name = STR("s"), .kind = IO_PARAM, .type = PARAM_STRING, .path = STR("s")},
        {.name = STR("l"), .kind = IO_PARAM, .type = PARAM_LIST, .path = STR("l")},
        {.name = STR("b"), .kind = IO_PARAM, .type = PARAM_BOOL, .path = STR("b")},
        {.name = STR("f"), .kind = IO_PARAM, .type = PARAM_FLOAT, .path = STR("f")},
        {.name = STR("file"), .kind = IO_ARTIFACT, .artifact_type = STR("dataset"), .path = STR("file")},
        {.name = STR("folder"), .kind = IO_ARTIFACT, .artifact_type = STR("model"), .path = STR("folder")},
        {.name = STR("none"),
         .kind = IO_ARTIFACT,
         .artifact_type = STR("model"),
         .path = STR("none"),
         .optional = true},
    };
    s.node.outputs = outputs;
    s.node.n_outputs = sizeof outputs / sizeof *outputs;
    launch(&s.req);
    struct exec_event e = await_end(1);
    if (!e.result.ok) fail_msg("%s", message(&e));
    const char *json = arena_cstr(&arena, e.result.outputs);
    static const char start[] =
        "{\"n\":42,\"s\":\" x "
        "\",\"l\":[1,2],\"b\":true,\"f\":0.001,\"file\":{\"artifact\":\"dataset\",\"digest\":\"sha256:";
    if (strncmp(json, start, sizeof start - 1) != 0) fail_msg("%s", json);
    assert_null(strstr(json, "none"));
    assert_int_equal(e.n_artifacts, 2);
    assert_true(str_is(e.artifacts[0].type, "dataset"));
    assert_int_equal(e.artifacts[0].size, 9);

    /* The next step gets both: the file as a file, the folder as a folder. */
    struct str file = e.artifacts[0].digest, folder = e.artifacts[1].digest;
    const struct launch_input inputs[] = {
        {.name = STR("data"), .artifact = true, .digest = file, .path = STR("inputs/data")},
        {.name = STR("model"), .artifact = true, .folder = true, .digest = folder, .path = STR("inputs/model")},
        {.name = STR("text"), .path = STR("inputs/text"), .text = STR("hello")},
    };
    step(&s, 2,
         "cat inputs/data inputs/model/sub/x inputs/text; echo; test $MILLRACE_INPUT_MODEL = $PWD/inputs/model && echo "
         "full");
    s.req.spec.inputs = inputs;
    s.req.spec.n_inputs = 3;
    launch(&s.req);
    e = await_end(2);
    if (!e.result.ok) fail_msg("%s", message(&e));
    assert_string_equal(log_of(2), "artifact\ndeep\nhello\nfull\n");
}

/* What a step tells about its artifacts, in files beside them. */
static void metadata_is_collected(void **state)
{
    (void)state;
    static const struct {
        const char *line, *metadata; /* NULL = fails… */
        const char *says;            /* …and says so */
    } rows[] = {
        {"echo x > o", "{}", NULL},
        {"mkdir o", "{\"folder\":true}", NULL},
        {"echo x > o; echo '{\"n\": 3, \"a\": [1.5, null]}' > o.metadata.json", "{\"n\":3,\"a\":[1.5,null]}", NULL},
        {"mkdir o; echo '{\"n\": 3}' > o.metadata.json", "{\"n\":3,\"folder\":true}", NULL},
        {"echo x > o; echo '{}' > m; ln -s m o.metadata.json", "{}", NULL},
        {"echo x > o; echo '{\"folder\": true}' > o.metadata.json", NULL, "'folder'"},
        {"echo x > o; echo '[3]' > o.metadata.json", NULL, "'out' (o.metadata.json) does not hold a JSON object"},
        {"echo x > o; : > o.metadata.json", NULL, "JSON object"},
        {"echo x > o; echo '{\"a\": 1, \"a\": 2}' > o.metadata.json", NULL, "JSON object"},
        {"echo x > o; echo '{\"a\": \"\\u0000\"}' > o.metadata.json", NULL, "JSON object"},
        {"echo x > o; printf '{\"a\": \"\\377\"}' > o.metadata.json", NULL, "not UTF-8"},
        {"echo x > o; { printf '{\"a\":'; printf '[%.0s' $(seq 20); printf ']%.0s' $(seq 20); echo '}'; } > "
         "o.metadata.json",
         NULL, "nested too deeply"},
        {"echo x > o; { printf '{\"a\":\"'; head -c 66000 /dev/zero | tr '\\0' x; echo '\"}'; } > o.metadata.json",
         NULL, "longer than 64 KiB"},
        {"echo x > o; mkdir o.metadata.json", NULL, "is not a file"},
        {"echo x > o; mkfifo o.metadata.json", NULL, "is not a file"},
        {"echo x > o; ln -s /etc/hostname o.metadata.json", NULL, "link that leads out"},
        {"echo x > o; echo \"{\\\"a\\\": \\\"$KEY\\\"}\" > o.metadata.json", NULL, "holds a secret"},
        {"echo x > o; echo '{\"a\": [{\"quoted\\u0020\\\"secret\": 1}]}' > o.metadata.json", NULL, "holds a secret"},
    };
    struct err err;
    char path[128];
    snprintf(path, sizeof path, "%s/default", secrets);
    assert_true(fs_mkdirs(path, 0700, &err));
    snprintf(path, sizeof path, "%s/default/KEY", secrets);
    assert_true(fs_write(path, STR("quoted \"secret"), 0600, false, &err));
    const struct output o = {.name = STR("out"), .kind = IO_ARTIFACT, .artifact_type = STR("x"), .path = STR("o")};
    const struct launch_env key = {.name = STR("KEY"), .secret = {.source = SECRET_FILE, .name = STR("KEY")}};
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct step s;
        step(&s, i, rows[i].line);
        s.node.outputs = &o;
        s.node.n_outputs = 1;
        s.req.spec.env = &key;
        s.req.spec.n_env = 1;
        launch(&s.req);
        struct exec_event e = await_end(i);
        if (!rows[i].metadata && (e.result.ok || !strstr(message(&e), rows[i].says)))
            fail_msg("%s: %s", rows[i].line, message(&e));
        if (rows[i].metadata && (!e.result.ok || !str_is(e.artifacts[0].metadata, rows[i].metadata)))
            fail_msg("%s: %s %.*s", rows[i].line, message(&e), STR_ARG(e.artifacts[0].metadata));
        assert_int_equal(e.n_artifacts, rows[i].metadata != NULL);
    }
}

static void bad_outputs_are_failures(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum param_type type;
        enum io_kind kind;
        const char *says;
    } rows[] = {
        {"true", PARAM_INT, IO_PARAM, "was not written"},
        {"echo x > o", PARAM_INT, IO_PARAM, "whole number"},
        {"echo maybe > o", PARAM_BOOL, IO_PARAM, "true or false"},
        {"echo '{' > o", PARAM_MAP, IO_PARAM, "JSON object"},
        {"printf '\\377' > o", PARAM_STRING, IO_PARAM, "UTF-8"},
        {"head -c 70000 /dev/zero | tr '\\0' x > o", PARAM_STRING, IO_PARAM, "64 KiB"},
        {"mkdir o", PARAM_STRING, IO_PARAM, "not a file"},
        {"mkfifo o", PARAM_STRING, IO_ARTIFACT, "neither a file nor a folder"},
        {"ln -s /etc/passwd o", PARAM_STRING, IO_ARTIFACT, "'out' (o)"},
        {"ln -s /etc/passwd o", PARAM_STRING, IO_PARAM, "'out' (o)"},
    };
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct step s;
        step(&s, i, rows[i].line);
        const struct output o = {.name = STR("out"),
                                 .kind = rows[i].kind,
                                 .type = rows[i].type,
                                 .artifact_type = STR("x"),
                                 .path = STR("o")};
        s.node.outputs = &o;
        s.node.n_outputs = 1;
        launch(&s.req);
        struct exec_event e = await_end(i);
        if (e.result.ok || e.result.failure != FAILURE_ERROR || !strstr(message(&e), rows[i].says))
            fail_msg("%s: %s", rows[i].line, message(&e));
        assert_int_equal(e.result.outputs.n, 0);
    }
}

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

static void a_restarted_server_hears_the_end(void **state)
{
    (void)state;
    struct step s;
    struct err err;
    char instance[128];
    snprintf(instance, sizeof instance, "%.*s", STR_ARG(x.instance(x.self)));
    launch(step(&s, 1, "until test -e $MILLRACE_CHECKPOINT_DIR/go; do sleep 0.02; done; echo 7 > n"));
    launch(step(&s, 2, "exit 5"));
    await_end(2); /* the other has been launched before it */
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
    snprintf(go, sizeof go, "%s/checkpoints/1/1/go", data);
    assert_true(fs_write(go, STR(""), 0644, false, &err));
    while (heard != 15) {
        struct exec_event e = next_event();
        if (e.kind == EXEC_LOG) continue;
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

/* Ends and processes that nobody asks for after a restart: they are listed, and can be killed and forgotten. */
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
        if (known[i].ended)
            x.forget(x.self, known[i].id);
        else
            x.kill(x.self, known[i].id, 100);
    }
    struct exec_event e = await_end(1);
    assert_false(e.result.ok);
    assert_int_equal(x.known(x.self, &arena, &known), 1);
    assert_true(known[0].ended);
    x.forget(x.self, known[0].id);
    assert_int_equal(x.known(x.self, &arena, &known), 0);
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
        if (e.kind == EXEC_LOG || e.id.task - task > 1) continue;
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
    launch(step(&s, 5, "trap '' TERM; while :; do sleep 600; done"));
    once(6, "true");
    x.kill(x.self, s.req.id, 600000);
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

static void await_gone(const char *path)
{
    for (int64_t until = os_mono_us() + PATIENCE_US; access(path, F_OK) == 0;) { /* a worker removes it */
        struct exec_event e;
        if (os_mono_us() > until) fail_msg("%s stays", path);
        while (x.next(x.self, &arena, &e))
            continue;
        sched_yield();
    }
}

static void a_clean_working_directory_serves_again(void **state)
{
    (void)state;
    static const char look[] = "stat -c '%i %w' .; ls -A . .tmp; stat -c '%a %u' . .tmp";
    static const char *const dirty[] = {"touch x",     "touch .tmp/x",   "rmdir .tmp",
                                        "chmod 777 .", "chmod 700 .tmp", "rmdir .tmp; ln -s / .tmp"};
    char first[512];
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

static void what_nobody_knows_is_swept(void **state)
{
    (void)state;
    struct step s;
    struct err err;
    char orphan[128], spare[128], go[128];
    once(1, "true"); /* leaves a spare one */
    launch(step(&s, 2, "until test -e $MILLRACE_CHECKPOINT_DIR/go; do sleep 0.02; done; pwd"));
    once(3, "exit 3"); /* the second has been launched before it */
    snprintf(orphan, sizeof orphan, "%s/work/9-9-9", data);
    snprintf(spare, sizeof spare, "%s/work/.spare-0", data);
    snprintf(go, sizeof go, "%s/checkpoints/1/2/go", data);
    assert_true(fs_mkdirs(orphan, 0755, &err));
    x.stop(x.self);
    open_executor();
    await_gone(orphan);
    await_gone(spare);
    assert_true(fs_write(go, STR(""), 0644, false, &err));
    assert_true(x.launch(x.self, &s.req, true, STR(""), &err));
    assert_true(await_end(2).result.ok); /* its own was left in peace */
    assert_non_null(strstr(log_of(2), "/work/1-2-1"));
}

static void killing_and_forgetting(void **state)
{
    (void)state;
    struct step s;
    char path[128];
    launch(step(&s, 1, "touch x; sleep 1000"));
    x.kill(x.self, s.req.id, 50); /* perhaps before it has begun */
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
    snprintf(path, sizeof path, "%s/work/1-2-1", data);
    await_gone(path);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    const struct CMUnitTest tests[] = {
        T(failures_say_what_to_do),
        T(outputs_are_collected),
        T(bad_outputs_are_failures),
        T(metadata_is_collected),
        T(the_environment_is_its_own),
        T(a_restarted_server_hears_the_end),
        T(what_nobody_asks_for_is_known),
        T(what_the_next_launcher_does_not_know_is_lost),
        T(a_clean_working_directory_serves_again),
        T(what_nobody_knows_is_swept),
        T(killing_and_forgetting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
