/* What a node becomes for an executor, and the bytes behind its cache key. Nodes are built by hand: only what the row
 * needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/flow/launch.h"
#include "engine/text/json.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"

static const char world[] =
    "{\"params\": {\"n\": 3, \"words\": [\"a b\", \"c\"], \"none\": null, \"evil\": \"'; x\"}, \"item\": \"svm\","
    " \"data\": {\"artifact\": \"dataset\", \"digest\": \"" D1 "\", \"size\": 7, \"path\": \"/etc/passwd\"},"
    " \"parts\": [{\"artifact\": \"part\", \"digest\": \"" D1 "\"}, {\"artifact\": \"part\", \"digest\": \"" D2 "\"}],"
    " \"mixed\": [{\"artifact\": \"part\", \"digest\": \"" D1 "\"}, 1]}";

static struct arena arena;
static struct value root;

static int setup(void **state)
{
    (void)state;
    struct err err = {0};
    arena_init(&arena, 0);
    return json_decode(&arena, str_of(world), &root, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static bool lookup(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                   bool *absent, struct err *err)
{
    (void)ctx;
    (void)a;
    (void)err;
    const struct value *v = value_find(&root, ref->root);
    *used = 0;
    *absent = !v;
    if (v) *out = *v;
    return true;
}

static struct expr_template template(const char *text)
{
    struct expr_template t;
    struct err err = {0};
    if (!expr_template_parse(&arena, str_of(text), &t, &err)) fail_msg("%s: %s", text, err.message);
    return t;
}

/* A node of one input "in" and one variable "X" at most; argv are templates up to NULL. */
struct sketch {
    enum verb verb;
    const char *line, *argv[5];
    size_t n_command;
    const char *input;
    bool optional;
    const char *env;
    const char *script;
};

static const struct node *node_of(const struct sketch *s)
{
    struct node *n = arena_new(&arena, struct node);
    n->name = STR("step");
    n->verb = s->verb;
    if (s->line) n->line = template(s->line);
    struct expr_template *argv = arena_array(&arena, struct expr_template, 5);
    for (; n->n_argv < 5 && s->argv[n->n_argv]; n->n_argv++)
        argv[n->n_argv] = template(s->argv[n->n_argv]);
    n->argv = argv;
    n->n_command = s->n_command;
    if (s->input) {
        struct input *in = arena_new(&arena, struct input);
        *in = (struct input){.name = STR("in"), .value = template(s->input), .optional = s->optional};
        n->inputs = in;
        n->n_inputs = 1;
    }
    if (s->env) {
        struct env_var *var = arena_new(&arena, struct env_var);
        *var = (struct env_var){.name = STR("X"), .value = template(s->env)};
        n->env = var;
        n->n_env = 1;
    }
    if (s->script) {
        static const struct str interpreter[] = {{"python3", 7}, {"-u", 2}};
        n->script = str_of(s->script);
        n->interpreter = interpreter;
        n->n_interpreter = 2;
    }
    return n;
}

static bool render(const struct sketch *s, struct launch_spec *spec, struct err *err)
{
    const struct expr_env env = {.lookup = lookup};
    err_clear(err);
    return launch_render(node_of(s), &env, &arena, spec, err);
}

/* "argv|argv|… X=value name:path=text or digest#size …", or "path: message". */
static struct str describe(const struct sketch *s)
{
    struct launch_spec spec;
    struct err err;
    BUF_AUTO out;
    buf_init(&out, 0);
    if (!render(s, &spec, &err)) return arena_printf(&arena, "%s: %s", err.path, err.message);
    for (size_t i = 0; i < spec.n_argv; i++)
        buf_printf(&out, "%s%.*s", i ? "|" : "", STR_ARG(spec.argv[i]));
    if (spec.n_command) buf_printf(&out, " (%zu)", spec.n_command);
    for (size_t i = 0; i < spec.n_env; i++)
        buf_printf(&out, " %.*s=%.*s", STR_ARG(spec.env[i].name), STR_ARG(spec.env[i].value));
    for (size_t i = 0; i < spec.n_inputs; i++) {
        const struct launch_input *in = &spec.inputs[i];
        buf_printf(&out, " %.*s:%.*s=", STR_ARG(in->name), STR_ARG(in->path));
        if (in->artifact)
            buf_printf(&out, "%.*s#%lld", STR_ARG(str_sub(in->digest, 0, 8)), (long long)in->size);
        else
            buf_str(&out, in->text);
    }
    return arena_str(&arena, buf_view(&out));
}

static void rendered(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct sketch sketch;
        const char *want;
    } rows[] = {
        {"line",
         {.line = "train ${{ item }} ${{ params.words }} ${{ params.evil }}"},
         "/bin/sh|-c|train 'svm' 'a b' 'c' ''\\''; x'"},
        {"list",
         {.argv = {"a", "${{ params.n }}", "-${{ item }}", "${{ params.words }}", "${{ [] }}"}},
         "a|3|-svm|a b|c"},
        {"artifact",
         {.line = "x ${{ inputs.in.path }} ${{ inputs.in.artifact }}", .input = "${{ data }}"},
         "/bin/sh|-c|x 'inputs/in' 'dataset' in:inputs/in=sha256:1#7"},
        {"artifacts",
         {.argv = {"x", "${{ inputs.in.map(i, i.path) }}"}, .input = "${{ parts }}"},
         "x|inputs/in/0|inputs/in/1 in:inputs/in/0=sha256:1#0 in:inputs/in/1=sha256:2#0"},
        {"mixed list is a value",
         {.argv = {"x"}, .input = "${{ mixed }}"},
         "x in:inputs/in=[{\"artifact\":\"part\",\"digest\":\"" D1 "\"},1]"},
        {"param", {.argv = {"x", "${{ inputs.in + 1 }}"}, .input = "${{ params.n }}"}, "x|4 in:inputs/in=3"},
        {"text", {.argv = {"x"}, .input = "n=${{ params.n }}"}, "x in:inputs/in=n=3"},
        {"optional, absent",
         {.argv = {"x", "${{ has(inputs.in) }}"}, .input = "${{ gone.x }}", .optional = true},
         "x|false"},
        {"optional, null",
         {.argv = {"x", "${{ has(inputs.in) }}"}, .input = "${{ params.none }}", .optional = true},
         "x|false"},
        {"optional, there",
         {.argv = {"x", "${{ has(inputs.in) }}"}, .input = "${{ item }}", .optional = true},
         "x|true in:inputs/in=svm"},
        {"env",
         {.argv = {"x"}, .env = "${{ params.words }} ${{ inputs.in }}", .input = "${{ item }}"},
         "x X=[\"a b\",\"c\"] svm in:inputs/in=svm"},
        {"script", {.verb = VERB_SCRIPT, .script = "print(1)"}, "python3|-u|.millrace-script"},
        {"image", {.verb = VERB_IMAGE, .argv = {"${{ params.words }}", "c", "d"}, .n_command = 2}, "a b|c|c|d (3)"},
        {"image's own command", {.verb = VERB_IMAGE}, ""},
        {"bad input",
         {.argv = {"x"}, .input = "${{ params.nope }}"},
         "steps.step.inputs.in: there is no field 'nope', in ${{ params.nope }}"},
        {"absent input",
         {.argv = {"x"}, .input = "${{ gone.x }}"},
         "steps.step.inputs.in: gone.x is not there, in ${{ gone.x }}"},
        {"bad optional",
         {.argv = {"x"}, .input = "${{ 1 / 0 }}", .optional = true},
         "steps.step.inputs.in: division by zero, in ${{ 1 / 0 }}"},
        {"bad env",
         {.argv = {"x"}, .env = "${{ inputs.in }}"},
         "steps.step.env.X: inputs.in is not there, in ${{ inputs.in }}"},
        {"bad line", {.line = "x '${{ item }}'"}, "steps.step.run: an expression stands inside '…'"},
        {"bad item",
         {.argv = {"x", "${{ item / 2 }}"}},
         "steps.step.run: '/' does not take string and int, in ${{ item / 2 }}"},
        {"bad command",
         {.verb = VERB_IMAGE, .argv = {"${{ inputs }}", "${{ 1 / 0 }}"}, .n_command = 2},
         "steps.step.command: division by zero, in ${{ 1 / 0 }}"},
        {"bad args",
         {.verb = VERB_IMAGE, .argv = {"x", "${{ 1 / 0 }}"}, .n_command = 1},
         "steps.step.args: division by zero, in ${{ 1 / 0 }}"},
    };
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got = describe(&rows[i].sketch);
        if (str_is(got, rows[i].want)) continue;
        failed++;
        print_error("%s\n   gives  %.*s\n   not    %s\n", rows[i].name, STR_ARG(got), rows[i].want);
    }
    assert_int_equal(failed, 0);
}

static void script_and_secret_pass_through(void **state)
{
    (void)state;
    struct launch_spec spec;
    struct err err;
    const struct expr_env env = {.lookup = lookup};
    assert_true(render(&(struct sketch){.verb = VERB_SCRIPT, .script = "echo ${{ x }}"}, &spec, &err));
    assert_true(str_is(spec.script, "echo ${{ x }}"));
    struct node n = *node_of(&(struct sketch){.argv = {"x"}, .env = "x"});
    struct env_var var = {.name = STR("KEY"), .secret = {SECRET_FILE, STR("api-key")}};
    n.env = &var;
    assert_true(launch_render(&n, &env, &arena, &spec, &err));
    assert_int_equal(spec.env[0].secret.source, SECRET_FILE);
    assert_int_equal(spec.env[0].value.n, 0);
}

static void too_long_for_a_process(void **state)
{
    (void)state;
    struct launch_spec spec;
    struct err err;
    char *text = arena_alloc(&arena, LAUNCH_MAX_ARG + 2);
    memset(text, 'x', LAUNCH_MAX_ARG + 1);
    assert_false(render(&(struct sketch){.argv = {"x"}, .env = text}, &spec, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(err.path, "steps.step.env.X");
    assert_false(render(&(struct sketch){.argv = {text}}, &spec, &err));
    text[LAUNCH_MAX_ARG] = '\0';
    assert_true(render(&(struct sketch){.argv = {text}}, &spec, &err));
    assert_false(render(&(struct sketch){.argv = {"x"}, .env = text}, &spec, &err)); /* with its name, "X=" */
    assert_true(render(&(struct sketch){.argv = {"x"}, .env = text + 2}, &spec, &err));
    assert_true(render(&(struct sketch){.argv = {"x"}, .input = text}, &spec, &err));
}

static void artifacts(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool want;
    } rows[] = {
        {"{\"artifact\": \"model\", \"digest\": \"" D1 "\"}", true},
        {"{\"artifact\": 1, \"digest\": \"" D1 "\"}", false},
        {"{\"digest\": \"" D1 "\"}", false},
        {"{\"artifact\": \"model\"}", false},
        {"{\"artifact\": \"model\", \"digest\": \"sha256:../../x\"}", false},
        {"{\"artifact\": \"model\", \"digest\": \"" D1 "0\"}", false},
        {"{\"artifact\": \"model\", \"digest\": "
         "\"sha256:AAAA111111111111111111111111111111111111111111111111111111111111\"}",
         false},
        {"[]", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value v;
        struct err err = {0};
        assert_true(json_decode(&arena, str_of(rows[i].json), &v, &err));
        if (value_is_artifact(&v) != rows[i].want) fail_msg("%s", rows[i].json);
    }
}

/* ---- cache key ---- */

static struct str key_of(const struct launch_spec *spec, const struct cache_facts *facts)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    launch_cache_text(&out, spec, facts);
    assert_false(out.over);
    return arena_str(&arena, buf_view(&out));
}

/* A spec with two of everything, each of whose parts the rows below change. */
struct whole {
    struct node node;
    struct output outputs[2];
    struct launch_env env[2];
    struct launch_input inputs[2];
    struct str argv[2];
    struct launch_spec spec;
    struct cache_facts facts;
};

static void fill(struct whole *w)
{
    *w = (struct whole){
        .outputs = {{.name = STR("a"), .kind = IO_ARTIFACT, .artifact_type = STR("model"), .path = STR("m")},
                    {.name = STR("b"), .kind = IO_PARAM, .type = PARAM_INT, .path = STR("n")}},
        .env = {{.name = STR("A"), .value = STR("1")}, {.name = STR("K"), .secret = {SECRET_ENV, STR("KEY")}}},
        .inputs = {{.name = STR("x"), .artifact = true, .digest = STR(D1), .path = STR("inputs/x")},
                   {.name = STR("y"), .path = STR("inputs/y"), .text = STR("3")}},
        .argv = {STR("train"), STR("--fast")},
        .facts = {STR("process"), STR(D2), STR("\"k\"")},
    };
    w->node = (struct node){.name = STR("step"), .outputs = w->outputs, .n_outputs = 2};
    w->spec = (struct launch_spec){.node = &w->node,
                                   .argv = w->argv,
                                   .n_argv = 2,
                                   .env = w->env,
                                   .n_env = 2,
                                   .inputs = w->inputs,
                                   .n_inputs = 2,
                                   .image = STR("python:3")};
}

static const struct value *given(const char *json)
{
    struct value *v = arena_new(&arena, struct value);
    struct err err = {0};
    assert_true(json_decode(&arena, str_of(json), v, &err));
    return v;
}

typedef void change(struct whole *w);
#define CHANGE(name, statement)                                                                                        \
    static void name(struct whole *w)                                                                                  \
    {                                                                                                                  \
        statement;                                                                                                     \
    }
CHANGE(nothing, (void)w)
CHANGE(name_of_step, w->node.name = STR("other"))
CHANGE(tag_of_image, w->spec.image = STR("python:latest"))
CHANGE(timeout, w->node.timeout_ms = 5)
CHANGE(size_of_input, w->inputs[0].size = 99)
CHANGE(order_of_env, struct launch_env e = w->env[0]; w->env[0] = w->env[1]; w->env[1] = e)
CHANGE(order_of_inputs, struct launch_input e = w->inputs[0]; w->inputs[0] = w->inputs[1]; w->inputs[1] = e)
CHANGE(order_of_outputs, struct output e = w->outputs[0]; w->outputs[0] = w->outputs[1]; w->outputs[1] = e)
CHANGE(executor, w->facts.executor = STR("kubernetes"))
CHANGE(image, w->facts.image = STR("python:3"))
CHANGE(extra, w->facts.extra = STR("\"l\""))
CHANGE(argument, w->argv[1] = STR("--slow"))
CHANGE(split_of_arguments, w->argv[0] = STR("train --fast"); w->spec.n_argv = 1)
CHANGE(command, w->spec.n_command = 1)
CHANGE(script, w->spec.script = STR("x"))
CHANGE(workdir, w->spec.workdir = STR("sub"))
CHANGE(workers, w->node.workers = 2)
CHANGE(value_of_env, w->env[0].value = STR("2"))
CHANGE(name_of_env, w->env[0].name = STR("B"))
CHANGE(name_of_secret, w->env[1].secret.name = STR("OTHER"))
CHANGE(source_of_secret, w->env[1].secret.source = SECRET_FILE)
CHANGE(less_env, w->spec.n_env = 1)
CHANGE(env_of_an_object, w->node.cluster = given("{\"envFrom\": [{\"secret\": \"a\"}]}"))
CHANGE(env_of_another_object, w->node.cluster = given("{\"envFrom\": [{\"secret\": \"b\"}]}"))
CHANGE(labels_of_the_pod, w->node.cluster = given("{\"labels\": {\"a\": \"b\"}}"))
CHANGE(digest_of_input, w->inputs[0].digest = STR(D2))
CHANGE(input_is_a_folder, w->inputs[0].folder = true)
CHANGE(text_of_input, w->inputs[1].text = STR("4"))
CHANGE(path_of_input, w->inputs[1].path = STR("inputs/z"))
CHANGE(type_of_output, w->outputs[0].artifact_type = STR("data"))
CHANGE(kind_of_param, w->outputs[1].type = PARAM_FLOAT)
CHANGE(path_of_output, w->outputs[1].path = STR("o"))
CHANGE(output_may_be_absent, w->outputs[1].optional = true)
CHANGE(less_outputs, w->node.n_outputs = 1)

static void keys(void **state)
{
    (void)state;
#define ROW(change, same)                                                                                              \
    {                                                                                                                  \
#change, change, same                                                                                          \
    }
    static const struct {
        const char *name;
        change *apply;
        bool same;
    } rows[] = {
        ROW(nothing, true),
        ROW(name_of_step, true),
        ROW(tag_of_image, true),
        ROW(timeout, true),
        ROW(size_of_input, true),
        ROW(order_of_env, true),
        ROW(order_of_inputs, true),
        ROW(order_of_outputs, true),
        ROW(executor, false),
        ROW(image, false),
        ROW(extra, false),
        ROW(argument, false),
        ROW(split_of_arguments, false),
        ROW(command, false),
        ROW(script, false),
        ROW(workdir, false),
        ROW(workers, false),
        ROW(value_of_env, false),
        ROW(name_of_env, false),
        ROW(name_of_secret, false),
        ROW(source_of_secret, false),
        ROW(less_env, false),
        ROW(env_of_an_object, false),
        ROW(env_of_another_object, false),
        ROW(labels_of_the_pod, true),
        ROW(digest_of_input, false),
        ROW(input_is_a_folder, false),
        ROW(text_of_input, false),
        ROW(path_of_input, false),
        ROW(type_of_output, false),
        ROW(kind_of_param, false),
        ROW(path_of_output, false),
        ROW(output_may_be_absent, false),
        ROW(less_outputs, false),
    };
    struct whole w;
    fill(&w);
    struct str base = key_of(&w.spec, &w.facts);
    struct str seen[sizeof rows / sizeof *rows];
    size_t n_seen = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fill(&w);
        rows[i].apply(&w);
        struct str key = key_of(&w.spec, &w.facts);
        if (str_eq(key, base) != rows[i].same) fail_msg("%s: %.*s", rows[i].name, STR_ARG(key));
        for (size_t k = 0; !rows[i].same && k < n_seen; k++)
            assert_false(str_eq(seen[k], key));
        if (!rows[i].same) seen[n_seen++] = key;
    }
}

/* Stored keys must outlive a release: these bytes change only together with the format's number. */
static void the_bytes_stay(void **state)
{
    (void)state;
    struct whole w;
    fill(&w);
    static const char want[] =
        "{\"format\":3,\"executor\":\"process\",\"image\":\"" D2 "\",\"extra\":\"\\\"k\\\"\","
        "\"workdir\":\"\",\"workers\":1,\"argv\":[\"train\",\"--fast\"],\"command\":0,\"script\":\"\","
        "\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"K\",\"secret\":\"env\",\"entry\":\"KEY\"}],"
        "\"inputs\":[{\"path\":\"inputs/x\",\"digest\":\"" D1
        "\",\"folder\":false},{\"path\":\"inputs/y\",\"text\":\"3\"}],"
        "\"outputs\":[{\"name\":\"a\",\"path\":\"m\",\"artifact\":\"model\",\"optional\":false},"
        "{\"name\":\"b\",\"path\":\"n\",\"type\":\"int\",\"optional\":false}]}";
    assert_string_equal(key_of(&w.spec, &w.facts).p, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rendered),
        cmocka_unit_test(script_and_secret_pass_through),
        cmocka_unit_test(too_long_for_a_process),
        cmocka_unit_test(artifacts),
        cmocka_unit_test(keys),
        cmocka_unit_test(the_bytes_stay),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
