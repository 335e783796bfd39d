/* Plans and manifests: what is written is what is read; what is not as it should be is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/json.h"
#include "scheduler/step_moves.h"

#define D "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct arena arena;

static struct value json(const char *text)
{
    struct err err = {0};
    struct value v;
    if (!json_parse(&arena, str_of(text), 0, &v, &err)) fail_msg("%s: %s", text, err.message);
    return v;
}

static const struct launch_input inputs[] = {
    {.name = STR_INIT("a"), .path = STR_INIT("inputs/a"), .artifact = true, .digest = STR_INIT(D), .size = 5},
    {.name = STR_INIT("f"), .path = STR_INIT("inputs/f"), .artifact = true, .folder = true, .digest = STR_INIT(D)},
    {.name = STR_INIT("t"), .path = STR_INIT("inputs/t"), .text = STR_INIT("a \"text\"\n")},
    {.name = STR_INIT("e"), .path = STR_INIT("inputs/e"), .text = STR_INIT("")},
};
static const struct step_output outputs[] = {
    {.name = STR_INIT("m"), .path = STR_INIT("out/m"), .kind = IO_ARTIFACT, .type = STR_INIT("model")},
    {.name = STR_INIT("n"), .path = STR_INIT("n"), .kind = IO_PARAM, .param = PARAM_INT},
    {.name = STR_INIT("o"), .path = STR_INIT("o"), .kind = IO_ARTIFACT, .type = STR_INIT("x"), .optional = true},
};

static void a_plan_comes_through(void **state)
{
    (void)state;
    const struct step_moves m = {
        .bundle = STR(D), .inputs = inputs, .n_inputs = 4, .outputs = outputs, .n_outputs = 3, .upload_ms = 5000};
    struct step_moves got;
    struct err err = {0};
    BUF_AUTO text;
    buf_init(&text, 0);
    step_moves_write(&m, &text);
    struct value v = json(arena_cstr(&arena, buf_view(&text)));
    assert_true(step_moves_read(&arena, &v, &got, &err));
    assert_true(str_is(got.bundle, D) && got.n_inputs == 4 && got.n_outputs == 3 && got.upload_ms == 5000);
    for (size_t i = 0; i < 4; i++) {
        assert_true(str_eq(got.inputs[i].name, inputs[i].name) && str_eq(got.inputs[i].path, inputs[i].path));
        assert_true(str_eq(got.inputs[i].digest, inputs[i].digest) && str_eq(got.inputs[i].text, inputs[i].text));
        assert_true(got.inputs[i].artifact == inputs[i].artifact && got.inputs[i].folder == inputs[i].folder);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_eq(got.outputs[i].name, outputs[i].name) && str_eq(got.outputs[i].path, outputs[i].path));
        assert_true(got.outputs[i].kind == outputs[i].kind && str_eq(got.outputs[i].type, outputs[i].type));
        assert_true(got.outputs[i].param == outputs[i].param && got.outputs[i].optional == outputs[i].optional);
    }
}

static void wrong_plans_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path;
    } rows[] = {
        {"{}", "version"},
        {"{\"version\":2}", "version"},
        {"{\"version\":1,\"inputs\":[{\"path\":\"a\"}]}", "inputs[0].digest"},
        {"{\"version\":1,\"inputs\":[{\"text\":\"a\"}]}", "inputs[0].path"},
        {"{\"version\":1,\"inputs\":[{\"path\":\"a\",\"text\":5}]}", "inputs[0].text"},
        {"{\"version\":1,\"outputs\":[{\"path\":\"a\",\"param\":\"int\"}]}", "outputs[0].name"},
        {"{\"version\":1,\"outputs\":[{\"name\":\"a\",\"path\":\"a\",\"param\":\"int64\"}]}", "outputs[0].param"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct step_moves got;
        struct err err = {0};
        struct value v = json(rows[i].text);
        assert_false(step_moves_read(&arena, &v, &got, &err));
        if (strcmp(err.path, rows[i].path) != 0) fail_msg("%s: %s", rows[i].text, err.path);
    }
}

#define VALUE "{\"artifact\":\"model\",\"digest\":\"" D "\",\"size\":5,\"name\":\"m\"}"
#define KEPT "{\"name\":\"m\",\"type\":\"model\",\"digest\":\"" D "\",\"size\":5,\"metadata\":{\"a\":1}}"

static void a_manifest_comes_through(void **state)
{
    (void)state;
    struct exec_output kept = {STR("m"), STR("model"), STR(D), STR("{\"a\":1}"), 5};
    struct step_left left = {
        .result = {.ok = true, .outputs = STR("{\"m\":" VALUE ",\"n\":3}")}, .artifacts = &kept, .n_artifacts = 1};
    struct step_left got;
    struct err err = {0};
    BUF_AUTO text;
    buf_init(&text, 0);
    step_left_write(&left, &text);
    struct value v = json(arena_cstr(&arena, buf_view(&text)));
    assert_true(step_left_parse(&arena, &v, outputs, 3, &got, &err));
    assert_true(got.result.ok && got.n_artifacts == 1 && got.artifacts[0].size == 5);
    assert_true(str_is(got.artifacts[0].digest, D) && str_is(got.artifacts[0].metadata, "{\"a\":1}"));
    v = json(arena_cstr(&arena, got.result.outputs));
    assert_int_equal(value_get(&v, "n")->u.i, 3);
}

static void a_failure_comes_through(void **state)
{
    (void)state;
    static const enum failure kinds[] = {FAILURE_INFRA, FAILURE_ERROR, FAILURE_TIMEOUT};
    for (size_t i = 0; i < 3; i++) {
        struct step_left left = {.result = {.failure = kinds[i], .message = STR("no \"room\"")}}, got;
        struct err err = {0};
        BUF_AUTO text;
        buf_init(&text, 0);
        step_left_write(&left, &text);
        struct value v = json(arena_cstr(&arena, buf_view(&text)));
        assert_true(step_left_parse(&arena, &v, outputs, 3, &got, &err));
        assert_true(!got.result.ok && got.result.failure == kinds[i] && str_is(got.result.message, "no \"room\""));
    }
}

static void manifests_are_held_against_the_plan(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{}",
        "{\"outputs\":{}}",
        "{\"outputs\":{\"m\":" VALUE "},\"artifacts\":[" KEPT "]}", /* n is missing */
        "{\"outputs\":{\"m\":5,\"n\":3},\"artifacts\":[" KEPT "]}",
        "{\"outputs\":{\"m\":{\"artifact\":\"model\",\"digest\":\"" D "\",\"size\":6},\"n\":3},\"artifacts\":[" KEPT
        "]}",
        "{\"outputs\":{\"m\":" VALUE ",\"n\":3}}",
        "{\"outputs\":{\"m\":" VALUE ",\"n\":3,\"z\":1},\"artifacts\":[" KEPT "]}",
        "{\"outputs\":{\"m\":" VALUE ",\"n\":3},\"artifacts\":[" KEPT "," KEPT "]}",
        "{\"outputs\":{\"m\":" VALUE ",\"n\":3},\"artifacts\":[{\"name\":\"m\",\"type\":\"dataset\",\"digest\":\"" D
        "\",\"size\":5,\"metadata\":{}}]}",
        "{\"outputs\":{\"m\":" VALUE ",\"n\":3},\"artifacts\":[{\"name\":\"m\",\"type\":\"model\",\"digest\":\"x\","
        "\"size\":5,\"metadata\":{}}]}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct step_left got;
        struct err err = {0};
        struct value v = json(rows[i]);
        if (step_left_parse(&arena, &v, outputs, 3, &got, &err)) fail_msg("taken: %s", rows[i]);
        assert_int_not_equal(err.message[0], 0);
    }
}

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {T(a_plan_comes_through), T(wrong_plans_are_refused), T(a_manifest_comes_through),
                                       T(a_failure_comes_through), T(manifests_are_held_against_the_plan)};
    return cmocka_run_group_tests_name("step moves", tests, NULL, NULL);
}
