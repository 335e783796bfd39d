/* How attempts end: a failure put into words, and what is taken from the working directory. Real processes, a real
 * launcher, a real blob store. */
#include "engine/blob/disk.h"
#include "tests/scheduler/process_rig.h"

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
        {.line = "sleep 1000", .timeout_ms = 50, .failure = FAILURE_TIMEOUT, .code = -1, .says = "timeout (50ms)"},
        {.line = "head -c 300000000 /dev/zero | tail | sleep 1000",
         .memory = 50 << 20,
         .failure = FAILURE_OOM,
         .code = -1,
         .says = "it may (50Mi): "},
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

/* An input that is no packed folder, though it was said to be one, is named. */
static void folders_that_are_none_are_named(void **state)
{
    (void)state;
    struct err err;
    struct disk *d;
    struct step s;
    char digest[DIGEST_TEXT];
    assert_true(disk_open(str_of(data), &d, &err) && disk_put_bytes(d, STR("no archive"), digest, &err));
    disk_close(d);
    const struct launch_input in = {
        .name = STR("model"), .artifact = true, .folder = true, .digest = str_of(digest), .path = STR("inputs/model")};
    step(&s, 1, "true");
    s.req.spec.inputs = &in;
    s.req.spec.n_inputs = 1;
    launch(&s.req);
    struct exec_event e = await_end(1);
    assert_false(e.result.ok);
    assert_int_equal(e.result.reason, REASON_INVALID);
    if (!strstr(message(&e), "inputs.model: the packed folder is damaged or no tar.gz")) fail_msg("%s", message(&e));
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
        {"echo x > o; echo '{\"a\": \"cXVvdGVkICJzZWNyZXQ=\"}' > o.metadata.json", NULL, "holds a secret"},
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

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], LAUNCHER_COMMAND) == 0) return launcher_main(argc - 2, argv + 2);
    const struct CMUnitTest tests[] = {
        T(failures_say_what_to_do),         T(outputs_are_collected), T(bad_outputs_are_failures),
        T(folders_that_are_none_are_named), T(metadata_is_collected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
