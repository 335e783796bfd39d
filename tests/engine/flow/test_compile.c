/* What the corpus cannot show: sub-pipelines, edges, rules of a machine, and plans that somebody has touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/caret.h"
#include "engine/flow/compile.h"
#include "engine/flow/draw.h"
#include "engine/flow/gpu.h"
#include "engine/flow/plan_rules.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"

#define HEAD "apiVersion: millrace/v1\nkind: Pipeline\n"

static struct arena arena;
static struct err_list errors;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    err_list_init(&errors, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* Files that pipelines may refer to. */
static const struct {
    const char *name, *text;
} files[] = {
    {"./leaf.yaml", HEAD "name: leaf\nparams: {n: int, text: {default: a}}\nsteps:\n  x: {expr: \"${{ params.n }}\"}\n"
                         "outputs: {twice: \"${{ steps.x.value * 2 }}\"}\n"},
    {"./middle.yaml", HEAD "name: middle\nsteps:\n  a: {pipeline: ./leaf.yaml, params: {n: 1}}\n"
                           "  b: {pipeline: ./leaf.yaml, params: {n: \"${{ steps.a.outputs.twice }}\"}}\n"},
    {"./ping.yaml", HEAD "name: ping\nsteps: {a: {pipeline: ./pong.yaml}}\n"},
    {"./pong.yaml", HEAD "name: pong\nsteps: {a: {pipeline: ./ping.yaml}}\n"},
    {"./back.yaml", HEAD "name: back\nsteps: {a: {pipeline: top}}\n"},
    {"./over.yaml", HEAD "name: over\nsteps:\n  x: {pipeline: ./broken.yaml}\n  y: {pipeline: ./gone.yaml}\n"},
    {"./broken.yaml", HEAD "name: broken\nsteps:\n  a: {run: ''}\n  b: {needs: c, run: echo}\n"},
};

static bool compile_chain(const char *text, const struct compile_chain *chain, const struct plan **out,
                          struct err_list *to);

/* Each file "wide<N>.yaml" has ten steps that call ten files of level N+1. */
static const char *wide_file(struct arena *a, struct str name)
{
    unsigned level = (unsigned)(name.p[4] - '0');
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_printf(&text, HEAD "name: w%u\nsteps:\n  x: {expr: 1}\n", level);
    for (unsigned i = 0; i < 10 && level < 9; i++)
        buf_printf(&text, "  s%u: {pipeline: wide%u-%u.yaml}\n", i, level + 1, i);
    return arena_cstr(a, buf_view(&text));
}

/* "grow<N>.yaml" calls grow<N-1> a hundred times; "deep<N>.yaml" calls deep<N-1> in a loop. As applied ones they are
 * found without a chain. */
static const char *applied_file(struct arena *a, struct str name)
{
    unsigned level = (unsigned)strtoul(name.p + 4, NULL, 10);
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_printf(&text, HEAD "name: a%u\nsteps:\n", level);
    for (unsigned i = 0; i < (str_starts(name, "grow") ? 100u : 1u); i++) {
        if (level == 0)
            buf_printf(&text, "  s%u: {expr: 1}\n", i);
        else
            buf_printf(&text, "  s%u: {%spipeline: %.4s%u.yaml}\n", i,
                       str_starts(name, "deep") ? "foreach: {range: 2}, when: \"${{ run.id > 1 }}\", " : "", name.p,
                       level - 1);
    }
    return arena_cstr(a, buf_view(&text));
}

static bool resolve(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                    const struct plan **out, struct err_list *to)
{
    (void)ctx;
    if (str_starts(ref->text, "grow") || str_starts(ref->text, "deep")) {
        struct err_list inner;
        err_list_init(&inner, a);
        if (compile_chain(applied_file(a, ref->text), NULL, out, &inner)) return true;
        err_list_add(to, ERR_INVALID, (struct pos){0, 0}, "%s", inner.items[0].message);
        return false;
    }
    const char *text = str_starts(ref->text, "wide") ? wide_file(a, ref->text) : NULL;
    size_t before = to->n;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (str_is(ref->text, files[i].name + 2)) text = files[i].text; /* arrives without its "./" */
    if (!text) {
        err_list_add(to, ERR_NOT_FOUND, (struct pos){0, 0}, "there is no pipeline '%.*s'", STR_ARG(ref->text));
        return false;
    }
    if (compile_chain(text, chain, out, to)) return true;
    compile_in_file(to, before, ref, ref->text, str_of(text), chain->above ? chain->above->text : STR("top.yaml"));
    return false;
}

static bool compile_chain(const char *text, const struct compile_chain *chain, const struct plan **out,
                          struct err_list *to)
{
    struct value *docs;
    size_t n;
    struct compile_env env = {.pipeline = resolve, .chain = chain};
    return yaml_parse(&arena, str_of(text), NULL, &docs, &n, to) && compile_pipeline(&arena, docs, &env, out, to);
}

static const struct plan *compile_text(const char *text)
{
    const struct plan *plan = NULL;
    err_list_init(&errors, &arena);
    if (!compile_chain(text, NULL, &plan, &errors)) fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    return plan;
}

static void sub_pipelines_become_graphs(void **state)
{
    (void)state;
    const struct plan *p = compile_text(HEAD "name: top\nsteps:\n  m: {pipeline: ./middle.yaml}\n"
                                             "  l: {pipeline: ./leaf.yaml, params: {n: 5}, foreach: [1, 2]}\n"
                                             "  m2: {pipeline: ./middle.yaml, needs: m}\n"
                                             "  use: {expr: \"${{ steps.l.outputs.map(o, o.twice) }}\"}\n");
    assert_int_equal(p->n_graphs, 4); /* top, middle with its leaf, and the leaf of top; middle once for both */
    assert_int_equal(p->graphs[0].nodes[0].graph, 1);
    assert_int_equal(p->graphs[0].nodes[2].graph, 1);
    assert_int_equal(p->graphs[0].nodes[1].graph, 3);
    assert_int_equal(p->graphs[1].nodes[0].graph, 2);
    assert_int_equal(p->graphs[1].nodes[1].graph, 2);
    assert_true(str_is(p->graphs[2].name, "leaf") && str_is(p->graphs[3].name, "leaf"));
    assert_int_equal(p->graphs[2].n_params, 2);
    assert_int_equal(p->graphs[0].nodes[3].n_deps, 1);
    BUF_AUTO picture;
    buf_init(&picture, 0);
    draw_mermaid(&picture, p);
    assert_non_null(strstr(picture.p, "n0_0 -.-> g1"));
    assert_non_null(strstr(picture.p, "n1_0 --> n1_1"));
}

static void wrong_calls_are_told(void **state)
{
    static const struct {
        const char *steps, *path, *says;
    } rows[] = {
        {"a: {pipeline: nowhere}", "steps.a.pipeline", "there is no pipeline 'nowhere'"},
        {"a: {pipeline: ./leaf.yaml}", "steps.a.params", "param 'n' of pipeline 'leaf' is missing"},
        {"a: {pipeline: ./leaf.yaml, params: {n: 1, m: 2}}", "steps.a.params.m", "has no param 'm'"},
        {"a: {pipeline: ./leaf.yaml, params: {n: many}}", "steps.a.params.n", "expected a whole number"},
        {"a: {pipeline: ./leaf.yaml, params: {n: \"${{ [1] + [2] }}\"}}", "steps.a.params.n", "found a list"},
        {"a: {pipeline: ./leaf.yaml, params: {n: \"${{ run.id }}\", text: \"${{ run.id }}\"}}", "steps.a.params.text",
         "expected a string, found an int"},
        {"a: {pipeline: ./leaf.yaml, params: {n: 1}}\n  b: {expr: \"${{ steps.a.outputs.once }}\"}", "steps.b.expr",
         "no output 'once'"},
        {"a: {pipeline: ./ping.yaml}", "steps.a.pipeline",
         "the pipeline would contain itself: ping.yaml → pong.yaml → ping.yaml"},
        {"a: {pipeline: top}", "steps.a.pipeline", "the pipeline would contain itself: top → top"},
        {"a: {pipeline: ./back.yaml}", "steps.a.pipeline", "the pipeline would contain itself: top → back.yaml → top"},
        {"a: {pipeline: ./broken.yaml}", "steps.a.run", "the command is empty"},
        {"a: {pipeline: wide0.yaml}", "steps.s1.pipeline", "more than 1000 sub-pipelines"},
        {"a: {pipeline: ../leaf.yaml}", "steps.a.pipeline", "no pipeline '../leaf.yaml'"},
        {"a: {pipeline: /leaf.yaml}", "steps.a.pipeline", "relative to this one"},
        {"a: {pipeline: {name: x, file: ./leaf.yaml}}", "steps.a.pipeline", "by its name or by its file"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct plan *plan;
        struct str text = arena_printf(&arena, HEAD "name: top\nsteps:\n  %s\n", rows[i].steps);
        err_list_init(&errors, &arena);
        if (compile_chain(text.p, NULL, &plan, &errors)) fail_msg("%s compiles", rows[i].steps);
        const struct err *e = &errors.items[0];
        if (!strstr(e->message, rows[i].says) || strcmp(e->path, rows[i].path) != 0)
            fail_msg("%s: %s: %s", rows[i].steps, e->path, e->message);
        assert_true(e->at.line >= 4);
    }
}

static void problems_of_a_file_name_it(void **state)
{
    static const char wanted[] =
        "top.yaml:4:29: error: steps.b.needs: there is no step 'd'\n"
        "    4 | steps: {b: {expr: 1, needs: d}, a: {pipeline: ./over.yaml}, c: {pipeline: ./broken.yaml}}\n"
        "      |                             ^ known here: b, a, c\n"
        "broken.yaml:5:12: error: steps.a.run: the command is empty\n"
        "    5 |   a: {run: ''}\n"
        "      |            ^\n"
        "      = used by steps.x of over.yaml:5, and that by steps.a of top.yaml:4\n"
        "broken.yaml:6:14: error: steps.b.needs: there is no step 'c'\n"
        "    6 |   b: {needs: c, run: echo}\n"
        "      |              ^ known here: a, b\n"
        "      = used by steps.x of over.yaml:5, and that by steps.a of top.yaml:4\n"
        "over.yaml:6:17: error: steps.y.pipeline: there is no pipeline 'gone.yaml'\n"
        "    6 |   y: {pipeline: ./gone.yaml}\n"
        "      |                 ^~~~~~~~~~~\n"
        "      = used by steps.a of top.yaml:4\n";
    static const char text[] =
        HEAD "name: top\n"
             "steps: {b: {expr: 1, needs: d}, a: {pipeline: ./over.yaml}, c: {pipeline: ./broken.yaml}}\n";
    const struct plan *plan;
    (void)state;
    assert_false(compile_chain(text, NULL, &plan, &errors));
    BUF_AUTO told;
    buf_init(&told, 0);
    for (size_t i = 0; i < errors.n; i++)
        caret_render(&told, &errors.items[i], "top.yaml", str_of(text));
    assert_string_equal(told.p, wanted);
    size_t before = errors.total; /* the same files once more: nothing new to tell, and no plan */
    assert_false(compile_chain(HEAD "name: other\nsteps: {a: {pipeline: ./over.yaml}}\n", NULL, &plan, &errors));
    assert_int_equal(errors.total, before);
}

/* What no run could have is refused beforehand, where it is sure. */
static void sizes_are_counted(void **state)
{
    static const struct {
        const char *steps, *path, *message; /* NULL = fine */
    } rows[] = {
        {"{a: {pipeline: grow1.yaml}}", NULL, NULL},
        {"{a: {pipeline: grow1.yaml}, b: {foreach: {range: 18}, pipeline: grow1.yaml}}", NULL, NULL},
        {"{a: {pipeline: grow1.yaml}, b: {foreach: {range: 19}, pipeline: grow1.yaml}}", "steps.b",
         "the step makes 191920 tasks, and those before it 10101; a run may have 200000"},
        {"{a: {pipeline: grow2.yaml}}", "steps.a.pipeline", "the step makes 10101 tasks"}, /* told where it is */
        {"{a: {when: \"${{ run.id > 1 }}\", foreach: {range: 19}, pipeline: grow1.yaml}, b: {pipeline: grow1.yaml}}",
         NULL, NULL},
        {"{a: {foreach: \"${{ range(20000) }}\", expr: 1}, b: {foreach: {x: [1, 2, 3, 4], y: \"${{ range(5000) }}\"}, "
         "expr: 1}}",
         NULL, NULL},
        {"{a: {pipeline: deep15.yaml}}", NULL, NULL},
        {"{a: {pipeline: deep17.yaml}}", "steps.a",
         "sub-pipelines and loops lie 35 deep within each other; 34 are the most"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct plan *plan;
        char text[400];
        snprintf(text, sizeof text, HEAD "name: sizes\nsteps: %s\n", rows[i].steps);
        err_list_init(&errors, &arena);
        bool ok = compile_chain(text, NULL, &plan, &errors);
        if (ok != !rows[i].path) fail_msg("%s: %s", rows[i].steps, ok ? "passes" : errors.items[0].message);
        if (ok) continue;
        assert_string_equal(errors.items[0].path, rows[i].path);
        if (!strstr(errors.items[0].message, rows[i].message)) fail_msg("%s", errors.items[0].message);
    }
}

static void references_are_edges(void **state)
{
    (void)state;
    const struct plan *p =
        compile_text(HEAD "name: x\nsteps:\n"
                          "  last: {needs: [a, b], expr: \"${{ [steps.a.value, steps.c.value] }}\"}\n"
                          "  a: {expr: 1}\n"
                          "  b: {when: \"${{ steps.a.value > 0 }}\", expr: 2}\n"
                          "  c: {expr: \"${{ has(steps.b.value) ? 1 : 0 }}\"}\n"
                          "onExit:\n  e: {expr: \"${{ steps.a.status }}\"}\n  f: {needs: e, expr: null}\n");
    const struct node *n = p->graphs[0].nodes;
    assert_int_equal(n[0].n_deps, 3);
    assert_int_equal(n[1].n_deps, 0);
    assert_int_equal(n[1].n_dependents, 2);
    assert_int_equal(n[2].deps[0], 1);
    assert_int_equal(n[3].deps[0], 2);
    assert_int_equal(p->graphs[0].n_exit, 2);
    assert_int_equal(n[4].n_deps, 0); /* everything is before onExit anyway */
    assert_int_equal(n[4].after, AFTER_ALWAYS);
    assert_int_equal(n[5].deps[0], 4);
}

static void defaults_go_where_they_mean_something(void **state)
{
    (void)state;
    const struct plan *p =
        compile_text(HEAD "name: x\n"
                          "defaults: {image: i, env: {A: a, B: b}, retry: 2, timeout: 1h, resources: {cpu: 2, memory: "
                          "1Gi}, labels: {x: y}}\n"
                          "steps:\n  a: {run: echo, env: {B: own}, resources: {cpu: 1}, labels: {z: w}}\n"
                          "  b: {expr: 1}\n  c: {wait: 5s}\n  d: {run: echo, retry: 0}\n");
    const struct node *n = p->graphs[0].nodes;
    assert_int_equal(n[0].n_env, 2);
    assert_true(str_is(n[0].env[1].value.source, "own"));
    assert_true(str_is(n[3].env[1].value.source, "b")); /* the step's own did not touch the defaults */
    assert_int_equal(n[0].resources.cpu_milli, 1000);
    assert_int_equal(n[0].resources.memory_bytes, 1 << 30);
    assert_int_equal(value_get(n[0].cluster, "labels")->u.map.n, 2);
    assert_int_equal(n[0].retry.limit, 2);
    assert_int_equal(n[3].retry.limit, 0);
    assert_int_equal(n[1].image.n + n[1].n_env + (size_t)n[1].timeout_ms, 0);
    assert_int_equal(n[2].timeout_ms, 0);
}

/* A script's own word, wherever it stands, beats its first line, and that the defaults. */
static void scripts_find_their_interpreter(void **state)
{
    (void)state;
    const struct plan *p = compile_text(HEAD "name: x\ndefaults: {interpreter: [perl]}\nsteps:\n"
                                             "  before: {interpreter: sh, script: \"#!/usr/bin/env python3\"}\n"
                                             "  after: {script: \"#!/usr/bin/env python3\", interpreter: sh}\n"
                                             "  line: {script: \"#!/usr/bin/env python3\"}\n"
                                             "  none: {script: echo}\n");
    static const char *const first[] = {"sh", "sh", "/usr/bin/env", "perl"};
    for (size_t i = 0; i < 4; i++)
        assert_true(str_is(p->graphs[0].nodes[i].interpreter[0], first[i]));
    assert_int_equal(p->graphs[0].nodes[2].n_interpreter, 2);
}

static void a_machine_says_what_it_lacks(void **state)
{
    (void)state;
    const struct plan *p =
        compile_text(HEAD "name: x\nsteps:\n  a: {image: tool}\n  b:\n    run: echo\n    workers: 3\n"
                          "  c: {run: echo, resources: {gpu: 1, cpu: 8, memory: 64Gi, storage: 1Gi}, image: x,\n"
                          "      nodeSelector: {a: b}}\n");
    struct plan_offer offer = {.cpu_milli = 4000, .memory_bytes = (int64_t)8 << 30};
    struct str unused[8];
    assert_false(plan_fits_machine(p, &offer, &errors));
    assert_int_equal(errors.total, 5);
    assert_string_equal(errors.items[0].path, "steps.a.image");
    assert_true(errors.items[1].at.line == 8 && errors.items[1].at.col == 14);
    assert_int_equal(errors.items[3].at.line, 9);
    assert_int_equal(errors.items[3].at.col, 43); /* of the 8 */
    assert_string_equal(errors.items[4].message, "the step asks for 64Gi of memory, this machine has 8Gi");
    err_list_init(&errors, &arena);
    offer.ignore_cpu = offer.ignore_memory = offer.ignore_gpu = true;
    assert_false(plan_fits_machine(p, &offer, &errors));
    assert_int_equal(errors.total, 2);
    assert_int_equal(plan_unused_here(p, false, false, unused, 8), 3);
    assert_true(str_is(unused[1], "resources.storage"));
}

static void a_machine_says_what_gpus_it_has(void **state)
{
    (void)state;
    const struct gpu gpus[] = {{.product = STR("NVIDIA-A100-SXM4-40GB")},
                               {.product = STR("NVIDIA-A100-SXM4-40GB")},
                               {.product = STR("Tesla-T4")}};
    static const struct {
        const char *asks;
        size_t n;
        const char *says; /* NULL = it fits */
    } rows[] = {
        {"3", 3, NULL},
        {"{share: 20%, flavor: t4}", 3, NULL},
        {"{count: 2, flavor: a100}", 3, NULL},
        {"1", 0, "the step asks for 1 GPU, and this machine has none that steps may have"},
        {"4", 3, "the step asks for 4 GPUs, this machine has 3"},
        {"{count: 2, flavor: t4}", 3, "the step asks for 2 × t4, this machine has 1"},
        {"{share: 5%, flavor: l4}", 3,
         "the step asks for 5% of one l4, this machine has 0; it has NVIDIA-A100-SXM4-40GB, Tesla-T4"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct plan *p = compile_text(
            arena_printf(&arena, HEAD "name: x\nsteps:\n  a: {run: echo, resources: {gpu: %s}}\n", rows[i].asks).p);
        struct plan_offer offer = {.gpus = gpus, .n_gpus = rows[i].n};
        err_list_init(&errors, &arena);
        bool fits = plan_fits_machine(p, &offer, &errors);
        if (fits != (rows[i].says == NULL) || (!fits && strcmp(errors.items[0].message, rows[i].says) != 0))
            fail_msg("%s: %s", rows[i].asks, fits ? "fits" : errors.items[0].message);
        if (!fits) assert_string_equal(errors.items[0].path, "steps.a.resources.gpu");
        err_list_init(&errors, &arena);
        offer.gpus_unknown = true; /* another machine's: whether they suffice is seen there */
        assert_true(plan_fits_machine(p, &offer, &errors));
        offer.gpus_unknown = false;
        offer.ignore_gpu = true;
        assert_true(plan_fits_machine(p, &offer, &errors));
    }
}

static void a_cluster_says_what_it_lacks(void **state)
{
    (void)state;
    const struct plan *p =
        compile_text(HEAD "name: x\nsteps:\n  a: {image: tool, queue: q}\n  b: {run: echo, image: i, workers: 1024}\n"
                          "  c: {run: echo, resources: {gpu: {count: 1, flavor: h100}, cpu: 800}}\n"
                          "  d: {run: echo, image: i, outputs: {m: {artifact: model, path: m}}}\n"
                          "  e: {run: echo, image: i, env: {A: {secret: {file: k}}, B: {secret: {kubernetes: s/k}}}}\n"
                          "  f: {run: echo, image: i, outputs: {n: {type: int, path: n}}, nodeSelector: {a: b}}\n"
                          "  g: {run: echo, image: i, workers: 8}\n");
    static const char *const paths[] = {"steps.b.workers", "steps.c.image", "steps.d.outputs", "steps.e.env"};
    struct plan_offer offer = {.cpu_milli = 4000, .cluster = true};
    struct str unused[8];
    ((struct node *)p->graphs[0].nodes)[1].workers++; /* as no file may say, but what is stored may be older */
    assert_false(plan_fits_machine(p, &offer, &errors));
    assert_int_equal(errors.total, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(errors.items[i].path, paths[i]);
    err_list_init(&errors, &arena);
    offer.image = offer.ignore_gpu = true;
    assert_false(plan_fits_machine(p, &offer, &errors));
    assert_int_equal(errors.total, 3);
    err_list_init(&errors, &arena);
    offer.tokens = true;
    assert_false(plan_fits_machine(p, &offer, &errors));
    assert_int_equal(errors.total, 2);
    assert_int_equal(plan_unused_here(p, true, false, unused, 8), 0);
    assert_int_equal(plan_unused_here(p, false, false, unused, 8), 3);
    assert_true(str_is(unused[0], "queue"));
}

static void touched_plans_are_refused(void **state)
{
    static const char *const rows[] = {
        "{}",
        "[]",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[{"
        "\"name\":\"a\",\"verb\":\"noop\",\"deps\":[0]}]}]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[{"
        "\"name\":\"a\",\"verb\":\"noop\",\"deps\":[7]}]}]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[{"
        "\"name\":\"a\",\"verb\":\"pipeline\",\"graph\":0}]}]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[{"
        "\"name\":\"a\",\"verb\":\"run\"}]}]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[{"
        "\"name\":\"a\",\"verb\":\"http\"}]}]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[{"
        "\"name\":\"a\",\"verb\":\"noop\",\"when\":\"1 +\"}]}]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[{"
        "\"name\":\"a\",\"verb\":\"noop\",\"new\":1}]}]}",
        "{\"name\":\"x\",\"project\":\"p\",\"graphs\":[{\"name\":\"x\",\"project\":\"p\",\"params\":[],\"nodes\":[],"
        "\"exit\":1}]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value v;
        struct err err;
        const struct plan *p;
        assert_true(json_parse(&arena, str_of(rows[i]), 0, &v, &err));
        err_clear(&err);
        if (plan_load(&arena, &v, &p, &err)) fail_msg("loaded: %s", rows[i]);
        assert_true(err.code != ERR_NONE && err.message[0]);
    }
}

static void many_steps_are_ordinary(void **state)
{
    (void)state;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, HEAD "name: big\nsteps:\n");
    for (int i = 0; i < 10000; i++)
        buf_printf(&text, "  s%d: {expr: null, needs: [s%d]}\n", i, i + 1);
    buf_c(&text, "  s10000: {expr: null}\n");
    const struct plan *p = compile_text(text.p);
    assert_int_equal(p->graphs[0].n_nodes, 10001);
    buf_c(&text, "  s10001: {expr: null, needs: [");
    for (int i = 0; i < 10000; i++)
        buf_printf(&text, "%ss%d", i ? "," : "", i);
    buf_c(&text, "]}\n");
    p = compile_text(text.p);
    assert_int_equal(p->graphs[0].nodes[10001].n_deps, 10000);
    for (int i = 10002; i <= 20000; i++)
        buf_printf(&text, "  s%d: {expr: null}\n", i);
    const struct plan *none;
    err_list_init(&errors, &arena);
    assert_false(compile_chain(text.p, NULL, &none, &errors));
    assert_string_equal(errors.items[0].message, "20001 steps are more than 20000");
}

static void error_floods_end_the_check(void **state)
{
    (void)state;
    BUF_AUTO text;
    const struct plan *none;
    buf_init(&text, 0);
    buf_c(&text, HEAD "name: big\nsteps:\n");
    for (int i = 0; i < 2000; i++)
        buf_printf(&text, "  s%d: {expr: \"${{ params.x }}\", needs: [z%d], rum: x}\n", i, i);
    err_list_init(&errors, &arena);
    assert_false(compile_chain(text.p, NULL, &none, &errors));
    assert_int_equal(errors.n, ERR_LIST_MAX);
    assert_in_range(errors.total, ERR_LIST_MAX + 1, 6000 - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sub_pipelines_become_graphs, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_calls_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(problems_of_a_file_name_it, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(references_are_edges, setup, teardown),
        cmocka_unit_test_setup_teardown(defaults_go_where_they_mean_something, setup, teardown),
        cmocka_unit_test_setup_teardown(scripts_find_their_interpreter, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_says_what_it_lacks, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_says_what_gpus_it_has, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cluster_says_what_it_lacks, setup, teardown),
        cmocka_unit_test_setup_teardown(touched_plans_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(many_steps_are_ordinary, setup, teardown),
        cmocka_unit_test_setup_teardown(error_floods_end_the_check, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
