/* What a step on a cluster has left by its termination message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/json.h"
#include "scheduler/kube_inner.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_the_output),
        cmocka_unit_test(a_message_that_is_gone_is_no_empty_one),
        cmocka_unit_test(who_was_killed_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
