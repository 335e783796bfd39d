/* What a step on a cluster has left by its termination message, or its sidecar's. */
#include "engine/blob/logs.h"
#include "engine/blob/store.h"
#include "tests/scheduler/kube_rig.h"

#define EMPTY "exited with code 0, but its output 'n' was not written, or is empty"

static void a_message_is_the_output(void **state)
{
    (void)state;
    static const struct {
        const char *name, *said;
        enum param_type type;
        bool optional;
        enum reason reason;
        const char *tells; /* its outputs, or part of why there are none */
    } rows[] = {
        {"a text", "ab\n", PARAM_STRING, false, REASON_NONE, "{\"n\":\"ab\"}"},
        {"a number", "5\n", PARAM_INT, false, REASON_NONE, "{\"n\":5}"},
        {"an empty text", "\n", PARAM_STRING, false, REASON_NONE, "{\"n\":\"\"}"},
        {"an empty text that is optional", "\n", PARAM_STRING, true, REASON_NONE, "{\"n\":\"\"}"},
        {"no text", "", PARAM_STRING, false, REASON_OUTPUT, EMPTY ": an empty value is written as a newline"},
        {"no number", "", PARAM_INT, false, REASON_OUTPUT, EMPTY},
        {"no optional text", "", PARAM_STRING, true, REASON_NONE, ""},
        {"another type", "x", PARAM_INT, false, REASON_OUTPUT, "does not hold a whole number"},
        {"all that it may be", "1234567", PARAM_INT, false, REASON_NONE, "{\"n\":1234567}"},
        {"more, maybe", "12345678", PARAM_INT, false, REASON_OUTPUT, "less than 8 bytes"},
        {"no text at all", "\xef\xbf\xbd", PARAM_STRING, false, REASON_OUTPUT, "is not UTF-8 text"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct step_output output = {.name = STR("n"), .param = rows[i].type, .optional = rows[i].optional};
        struct kube_attempt a = {
            .said = str_of(rows[i].said), .said_max = 8, .outputs = &output, .n_outputs = 1, .result = {.ok = true}};
        size_t at;
        arena_init(&a.arena, 0);
        kube_outputs(&a);
        bool well = rows[i].reason == REASON_NONE;
        bool as_told =
            well ? str_is(a.result.outputs, rows[i].tells) : str_find(a.result.message, str_of(rows[i].tells), &at);
        if (a.result.ok != well || a.result.reason != rows[i].reason || !as_told)
            fail_msg("%s: %d, '%.*s%.*s'", rows[i].name, (int)a.result.reason, STR_ARG(a.result.outputs),
                     STR_ARG(a.result.message));
        arena_free(&a.arena);
    }
}

/* Its Job says that it has succeeded; the message has gone with the pod. */
static void a_message_that_is_gone_is_no_empty_one(void **state)
{
    (void)state;
    for (int optional = 0; optional < 2; optional++) {
        const struct step_output output = {.name = STR("n"), .param = PARAM_STRING, .optional = optional};
        struct kube_attempt a = {.outputs = &output, .n_outputs = 1, .result = {.ok = true, .exit_code = -1}};
        arena_init(&a.arena, 0);
        kube_outputs(&a);
        assert_false(a.result.ok);
        assert_int_equal(a.result.failure, FAILURE_INFRA);
        assert_true(str_is(a.result.message, "its outputs could not be kept: its pod is gone"));
        arena_free(&a.arena);
    }
}

/* Who keeps them could not say why it did not. */
static void who_was_killed_is_told_so(void **state)
{
    (void)state;
    static const char *const spec = "{\"initContainers\":[{\"name\":\"millrace-fetch\",\"resources\":{}},{\"name\":"
                                    "\"millrace-collect\",\"resources\":{\"limits\":{\"memory\":\"33554432\"}}}]}";
    static const struct {
        const char *ended, *deaf;
        enum failure failure;
        const char *tells;
    } rows[] = {
        {"\"exitCode\":137,\"reason\":\"OOMKilled\"", "", FAILURE_OOM,
         "its outputs could not be kept: the container millrace-collect used more memory than it may (32Mi): raise the "
         "server's --kube-companion-memory; Kubernetes says: OOMKilled"},
        {"\"exitCode\":137,\"reason\":\"OOMKilled\"", "proxy", FAILURE_OOM, "used more memory than it may (32Mi)"},
        {"\"exitCode\":137,\"reason\":\"Error\"", "", FAILURE_INFRA,
         "its outputs could not be kept: the container millrace-collect was killed (exit code 137); Kubernetes says: "
         "Error"},
        {"\"exitCode\":137,\"reason\":\"Error\"", "proxy", FAILURE_ERROR, "its container 'proxy' went on"},
        {"\"exitCode\":0", "", FAILURE_INFRA, "ended without a word: it may have had too little time"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_attempt a = {.n_outputs = 1, .collects = true, .result = {.ok = true}};
        struct kube_pod pod = {.deaf = str_of(rows[i].deaf)};
        struct value specified, status;
        struct err err = {0};
        size_t at;
        arena_init(&a.arena, 0);
        struct str text =
            arena_printf(&a.arena, "{\"name\":\"millrace-collect\",\"state\":{\"terminated\":{%s}}}", rows[i].ended);
        assert_true(json_parse(&a.arena, str_of(spec), 0, &specified, &err));
        assert_true(json_parse(&a.arena, text, 0, &status, &err));
        kube_mover_end_read(&specified, &status, &pod.collect_end);
        kube_last_words(&a, &pod);
        kube_outputs(&a);
        if (a.result.ok || a.result.failure != rows[i].failure ||
            !str_find(a.result.message, str_of(rows[i].tells), &at))
            fail_msg("%s: %d, '%.*s'", rows[i].ended, (int)a.result.failure, STR_ARG(a.result.message));
        arena_free(&a.arena);
    }
}

#define MANIFEST "sha256:0000000000000000000000000000000000000000000000000000000000000000"

static void another_store(const struct store_config *cfg)
{
    struct err err = {0};
    store_close(k->blobs);
    k->blobs = NULL;
    if (!store_open(cfg, &k->blobs, &err)) fail_msg("%s", err.message);
}

static void is_read(const struct kube_attempt *a)
{
    for (; a->reading != NULL; usleep(1000))
        kube_outputs_hear(k);
}

static struct kube_attempt *with_manifest(void)
{
    static const struct step_output output = {.name = {"n", 1}, .param = PARAM_STRING};
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    struct kube_attempt *a = asked(1);
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
    a->outputs = &output;
    a->n_outputs = 1;
    a->collects = a->drained = a->result.ok = true;
    a->manifest_said = STR("{\"manifest\":\"" MANIFEST "\"}");
    a->phase = KUBE_DRAINING;
    kube_outputs(a);
    is_read(a);
    return a;
}

/* The step is not done again for a store that is away for a while. */
static void a_store_that_is_away_is_waited_for(void **state)
{
    (void)state;
    setenv("AWS_ACCESS_KEY_ID", "a", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "b", 1);
    another_store(&(struct store_config){.store_dir = str_of(folder),
                                         .data_dir = str_of(folder),
                                         .place = STR("s3://bucket/x"),
                                         .endpoint = STR("http://127.0.0.1:9"),
                                         .tries = 1});
    struct kube_attempt *a = with_manifest();
    assert_true(a->phase == KUBE_DRAINING && a->result.ok && a->reread_us > os_mono_us());
    kube_outputs_tick(a, a->reread_us - 1);
    assert_null(a->reading);
    a->read_since_us -= INT64_C(601) * 1000000;
    kube_outputs_tick(a, a->reread_us);
    assert_non_null(a->reading);
    is_read(a);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.failure, FAILURE_INFRA);
}

static void a_manifest_that_nobody_has_is_not_waited_for(void **state)
{
    (void)state;
    struct kube_attempt *a = with_manifest();
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_OUTPUT);
}

/* Its manifest comes when its log is there already. */
static void a_log_that_is_cut_says_so_once(void **state)
{
    (void)state;
    BUF_AUTO log;
    struct err err = {0};
    int64_t size = 0;
    buf_init(&log, 0);
    k->cfg.step_log_bytes = 1024;
    struct kube_attempt *a = asked(1);
    a->phase = KUBE_DRAINING;
    a->result.ok = a->log.full = true;
    for (int reads = 1; reads >= 0; reads--) {
        a->reread_us = reads;
        kube_drained(a);
    }
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_true(
        step_log_read(k->cfg.store_dir, id.run, (int32_t)id.task, (int32_t)id.attempt, 0, 1024, &log, &size, &err));
    assert_true(str_is(buf_view(&log), "\nmillrace: the log is cut here: it is longer than 1Ki, the server's "
                                       "step-log-max\n"));
    assert_int_equal(a->result.log_bytes, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_the_output),
        cmocka_unit_test(a_message_that_is_gone_is_no_empty_one),
        cmocka_unit_test(who_was_killed_is_told_so),
        cmocka_unit_test_setup_teardown(a_store_that_is_away_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(a_manifest_that_nobody_has_is_not_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(a_log_that_is_cut_says_so_once, begin, end),
    };
    return cmocka_run_group_tests(tests, open_folder, drop_folder);
}
