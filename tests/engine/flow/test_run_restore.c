/* Rows that do not fit are refused with their place, and what a run says of its waiting is true. */
#include "tests/engine/flow/rig.h"

struct fixture {
    struct arena a;
    struct build b;
    const struct plan *plan;
    struct run *run;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    arena_init(&f->a, 0);
    build_init(&f->b, &f->a, 2, 8);
    struct node *loop = build_node(&f->b, 0, "loop", VERB_RUN, NULL);
    build_foreach(&f->b, loop, "${{ [1, 2] }}", 0);
    build_node(&f->b, 0, "sub", VERB_PIPELINE, NULL)->graph = 1;
    build_node(&f->b, 0, "last", VERB_RUN, "loop,sub");
    build_node(&f->b, 1, "x", VERB_RUN, NULL);
    f->plan = build_end(&f->b);
    struct run_header h = {.state = RUN_RUNNING, .started_us = 5, .next_event = 3, .json = json_decode};
    f->run = run_new(f->plan, &h);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    run_free(f->run);
    arena_free(&f->a);
    free(f);
    return 0;
}

static const struct {
    const char *name;
    struct frame_row row;
    bool ok;
} frames[] = {
    {"not the next number", {.frame = 2, .kind = 1, .graph = 1, .first_task = 3, .n = 1, .parent_task = 1}, false},
    {"not the next task", {.frame = 1, .kind = 1, .graph = 1, .first_task = 4, .n = 1, .parent_task = 1}, false},
    {"no such parent", {.frame = 1, .kind = 1, .graph = 1, .first_task = 3, .n = 1, .parent_task = 9}, false},
    {"no such graph", {.frame = 1, .kind = 1, .graph = 7, .first_task = 3, .n = 1, .parent_task = 1}, false},
    {"no such kind", {.frame = 1, .kind = 3, .graph = 1, .first_task = 3, .n = 1, .parent_task = 1}, false},
    {"another size than its graph",
     {.frame = 1, .kind = 1, .graph = 1, .first_task = 3, .n = 2, .parent_task = 1},
     false},
    {"items that are none", {.frame = 1, .kind = 2, .first_task = 3, .n = 2, .items = {"{", 1}}, false},
    {"fewer items than it says", {.frame = 1, .kind = 2, .first_task = 3, .n = 2, .items = {"[1]", 3}}, false},
    {"far too many", {.frame = 1, .kind = 2, .first_task = 3, .n = UINT32_MAX, .items = {"[1]", 3}}, false},
    {"inputs that are none",
     {.frame = 1, .kind = 1, .graph = 1, .first_task = 3, .n = 1, .parent_task = 1, .inputs = {"?", 1}},
     false},
    {"a good loop", {.frame = 1, .kind = 2, .first_task = 3, .n = 2, .items = {"[1,2]", 5}}, true},
    {"a good graph",
     {.frame = 2, .kind = 1, .graph = 1, .first_task = 5, .n = 1, .parent_task = 1, .inputs = {"{}", 2}},
     true},
};

static void bad_frames(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        struct err err = {0};
        bool ok = run_restore_frame(f->run, &frames[i].row, &err);
        if (ok != frames[i].ok) fail_msg("%s: %s", frames[i].name, ok ? "accepted" : err.message);
        if (!ok && err.message[0] == '\0') fail_msg("%s: refused without a word", frames[i].name);
    }
}

static const struct {
    const char *name;
    struct task_row row;
    bool ok;
} rows[] = {
    {"no such task", {.task = 3, .state = TASK_RUNNING}, false},
    {"in another frame", {.task = 1, .frame = 1, .state = TASK_RUNNING}, false},
    {"no state", {.task = 1}, false},
    {"an unknown state", {.task = 1, .state = (enum task_state)77}, false},
    {"good", {.task = 1, .state = TASK_SKIPPED, .reason = REASON_CONDITION}, true},
    {"good, with all that belongs to it",
     {.task = 0,
      .state = TASK_FAILED,
      .attempt = 3,
      .failures = 2,
      .message = {"no", 2},
      .executor = {"p:1", 3},
      .exit_code = 4},
     true},
};

static void bad_rows(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {0};
        bool ok = run_restore_task(f->run, &rows[i].row, &err);
        if (ok != rows[i].ok) fail_msg("%s: %s", rows[i].name, ok ? "accepted" : err.message);
    }
    struct run_out out;
    run_out_init(&out, &f->a);
    struct err err = {0};
    assert_true(run_restored(f->run, 10, &out, &err));
    assert_int_equal(run_task_attempt(f->run, 0), 3);
    (void)run_advance(f->run, &(uint32_t){10}, 11, &out);
    assert_int_equal(run_task_state(f->run, 2), TASK_SKIPPED); /* its upstream had failed */
    assert_int_equal(run_state_of(f->run), RUN_FAILED);
    assert_int_equal(out.events[0].seq, 3);
}

static void expect_why(const struct run *r, uint32_t task, const char *want)
{
    BUF_AUTO why;
    buf_init(&why, 0);
    bool by_run = run_task_waits(r, task, &why);
    const char *got = by_run ? why.p : "";
    if (strcmp(got, want) != 0) fail_msg("task %u: \"%s\", not \"%s\"", task, got, want);
}

static void no_room(const void *ctx, uint32_t task, struct buf *text)
{
    (void)task;
    buf_c(text, ctx);
}

static void waiting(void **state)
{
    struct fixture *f = *state;
    struct run_out out;
    run_out_init(&out, &f->a);
    struct err err = {0};
    assert_true(run_restored(f->run, 10, &out, &err));
    (void)run_advance(f->run, &(uint32_t){10}, 11, &out);
    (void)run_advance(f->run, &(uint32_t){10}, 12, &out);
    expect_why(f->run, 2, "waits for loop, sub");
    expect_why(f->run, 0, ""); /* runs */
    uint32_t item = run_task_find(f->run, STR("loop[1]"));
    expect_why(f->run, item, ""); /* may start: then it is the executor's room */
    BUF_AUTO json;
    buf_init(&json, 0);
    assert_true(run_waits(f->run));
    run_waiting_json(f->run, &(struct run_waiting){.max = 2, .room = no_room, .ctx = "no room"}, &json);
    assert_string_equal(json.p, "{\"ready\":3,\"pending\":1,\"examples\":[{\"task\":3,\"path\":\"loop[0]\",\"state\":"
                                "\"ready\",\"reason\":\"no room\"},"
                                "{\"task\":4,\"path\":\"loop[1]\",\"state\":\"ready\",\"reason\":\"no room\"}]}");
}

static const struct {
    const char *path;
    uint32_t task; /* NONE = not found */
} paths[] = {
    {"loop", 0},         {"sub", 1},         {"last", 2},
    {"loop[0]", 3},      {"loop[1]", 4},     {"sub.x", 5},
    {"loop[2]", NONE},   {"loop[-1]", NONE}, {"loop[", NONE},
    {"loop]", NONE},     {"", NONE},         {".", NONE},
    {"sub.", NONE},      {"sub.y", NONE},    {"sub[0]", NONE},
    {"last.x", NONE},    {"loop.x", NONE},   {"sub.x.y", NONE},
    {"loop[0].x", NONE}, {"loop[0]x", NONE}, {"loop[99999999999999999999]", NONE},
};

static void path_round_trip(void **state)
{
    struct fixture *f = *state;
    struct run_out out;
    run_out_init(&out, &f->a);
    struct err err = {0};
    assert_true(run_restored(f->run, 10, &out, &err));
    (void)run_advance(f->run, &(uint32_t){10}, 11, &out);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        uint32_t got = run_task_find(f->run, str_of(paths[i].path));
        if (got != paths[i].task) fail_msg("\"%s\" is task %u, not %u", paths[i].path, got, paths[i].task);
        if (got == NONE) continue;
        struct str path = run_task_path(f->run, got, &f->a);
        if (!str_is(path, paths[i].path))
            fail_msg("task %u is \"%.*s\", not \"%s\"", got, STR_ARG(path), paths[i].path);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(bad_frames), T(bad_rows), T(waiting), T(path_round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
