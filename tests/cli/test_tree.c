/* The tree of a run, as text, from fixed snapshots; and the lines that tell of changes. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/output.h"
#include "cli/tree.h"
#include "engine/text/json.h"

#define T0 "2026-01-02T03:04:00Z"
#define NOW 1767323070000000 /* 2026-01-02T03:04:30Z */

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    setlocale(LC_CTYPE, "C.UTF-8");
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct value json(const char *text)
{
    struct value v = value_null();
    struct err err = {0};
    if (!json_parse(&arena, str_of(text), 0, &v, &err)) print_error("%s at %u\n", err.message, err.at.col);
    return v;
}

static struct tree load(const char *run, const char *tasks)
{
    struct tree tree;
    struct value r = json(run), page = json(tasks);
    tree_load(&arena, &r, &page, 1, &tree);
    return tree;
}

static struct tree_view view(unsigned width, unsigned height, bool tty, bool utf8)
{
    return (struct tree_view){.term = {.tty = tty, .utf8 = utf8, .width = width, .height = height}, .now_us = NOW};
}

static const char *render(const struct tree *t, struct tree_view v)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    tree_render(&out, &arena, t, &v);
    return arena_cstr(&arena, buf_view(&out));
}

static const char run_json[] =
    "{\"id\":17,\"name\":\"digits\",\"pipeline\":\"digits\",\"state\":\"running\",\"createdAt\":\"" T0
    "\",\"startedAt\":\"" T0 "\"}";
static const char tasks_json[] =
    "{\"items\":["
    "{\"task\":0,\"path\":\"data\",\"state\":\"succeeded\",\"attempt\":1,\"startedAt\":\"" T0
    "\",\"endedAt\":\"2026-01-02T03:04:01.250Z\"},"
    "{\"task\":1,\"path\":\"train\",\"state\":\"running\",\"startedAt\":\"2026-01-02T03:04:01.3Z\"},"
    "{\"task\":2,\"path\":\"best\",\"state\":\"pending\",\"needs\":[1],\"waitingFor\":\"waits for train\"},"
    "{\"task\":3,\"parent\":1,\"path\":\"train[0]\",\"state\":\"succeeded\",\"attempt\":1,\"reason\":\"Cached\","
    "\"startedAt\":\"" T0 "\",\"endedAt\":\"" T0 "\"},"
    "{\"task\":4,\"parent\":1,\"path\":\"train[1]\",\"state\":\"running\",\"attempt\":2,\"startedAt\":\"2026-01-02T03:"
    "04:20Z\"},"
    "{\"task\":5,\"parent\":1,\"path\":\"train[2]\",\"state\":\"ready\",\"waitingFor\":\"needs 2 CPUs, 1 of 4 free\"},"
    "{\"task\":6,\"parent\":1,\"path\":\"train[3]\",\"state\":\"backoff\",\"attempt\":1,\"message\":\"exit code 1\","
    "\"startedAt\":\"" T0 "\",\"dueAt\":\"2026-01-02T03:04:35Z\"},"
    "{\"task\":7,\"parent\":1,\"path\":\"train[4]\",\"state\":\"failed\",\"attempt\":1,\"message\":\"exit code "
    "3\\u001b[2J\","
    "\"startedAt\":\"" T0 "\",\"endedAt\":\"2026-01-02T03:06:05Z\"}]}";

static void whole_tree(void **state)
{
    struct tree t = load(run_json, tasks_json);
    (void)state;
    assert_string_equal(render(&t, view(0, 0, false, true)),
                        "run 17 digits  running  30s  3 of 8 tasks\n"
                        "├─ ✓ data         1.2s\n"
                        "├─ ● train        2 of 5  1 failed, 1 running, 1 backoff, 1 succeeded, 1 ready  28s\n"
                        "│  ├─ ✓ train[0]  0.0s  cached\n"
                        "│  ├─ ● train[1]  attempt 2  10s\n"
                        "│  ├─ ○ train[2]  needs 2 CPUs, 1 of 4 free\n"
                        "│  ├─ ↻ train[3]  again in 5.0s  exit code 1\n"
                        "│  └─ ✗ train[4]  2m05s  exit code 3?[2J\n"
                        "└─ · best         waits for train\n");
}

static void ascii_and_narrow(void **state)
{
    struct tree t = load(run_json, tasks_json);
    (void)state;
    assert_string_equal(render(&t, view(40, 0, true, false)), "run 17 digits  running  30s  3 of 8 ta…\n"
                                                              "|- + data         1.2s\n"
                                                              "|- * train        2 of 5  1 failed, 1 …\n"
                                                              "|  |- + train[0]  0.0s  cached\n"
                                                              "|  |- * train[1]  attempt 2  10s\n"
                                                              "|  |- o train[2]  needs 2 CPUs, 1 of 4…\n"
                                                              "|  |- r train[3]  again in 5.0s  exit …\n"
                                                              "|  `- x train[4]  2m05s  exit code 3?[…\n"
                                                              "`- . best         waits for train\n");
}

static void steps_below_a_step(void **state)
{
    struct tree t =
        load(run_json, "{\"items\":[{\"task\":0,\"path\":\"sub\",\"state\":\"running\"},"
                       "{\"task\":1,\"parent\":0,\"path\":\"sub[0]\",\"state\":\"running\"},"
                       "{\"task\":2,\"parent\":1,\"path\":\"sub[0].a-long-name\",\"state\":\"running\",\"attempt\":2},"
                       "{\"task\":3,\"parent\":1,\"path\":\"subway\",\"state\":\"ready\",\"waitingFor\":\"x\"}]}");
    (void)state;
    assert_string_equal(render(&t, view(0, 0, false, true)), "run 17 digits  running  30s  0 of 4 tasks\n"
                                                             "└─ ● sub                0 of 1  1 running\n"
                                                             "   └─ ● sub[0]          0 of 2  1 running, 1 ready\n"
                                                             "      ├─ ● a-long-name  attempt 2\n"
                                                             "      └─ ○ subway       x\n");
}

/* Too high for the terminal: what runs, waits or failed stays, the rest is counted. */
static void too_high(void **state)
{
    struct tree t = load(run_json, tasks_json);
    (void)state;
    assert_string_equal(render(&t, view(0, 9, true, true)),
                        "run 17 digits  running  30s  3 of 8 tasks\n"
                        "├─ ⠋ train        2 of 5  1 failed, 1 running, 1 backoff, 1 succeeded, 1 ready  28s\n"
                        "│  ├─ ⠋ train[1]  attempt 2  10s\n"
                        "│  ├─ ↻ train[3]  again in 5.0s  exit code 1\n"
                        "│  ├─ ✗ train[4]  2m05s  exit code 3?[2J\n"
                        "│  └─ … 2 more: 1 succeeded, 1 ready\n"
                        "└─ … 2 more: 1 succeeded, 1 pending\n");
}

/* However many tasks: never more lines than the terminal has. */
static void never_higher_than_the_terminal(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 400; n += 13) {
        BUF_AUTO text;
        buf_init(&text, 0);
        buf_c(&text, "{\"items\":[");
        for (unsigned i = 0; i < n; i++)
            buf_printf(&text, "%s{\"task\":%u,%s\"path\":\"s%u\",\"state\":\"%s\",\"attempt\":1}", i ? "," : "", i,
                       i % 3 ? "\"parent\":0," : "", i, i % 2 ? "running" : "failed");
        buf_c(&text, "]}");
        struct tree t = load(run_json, arena_cstr(&arena, buf_view(&text)));
        for (unsigned height = 6; height < 60; height += 7) {
            const char *out = render(&t, view(80, height, true, true));
            unsigned lines = 0;
            for (const char *p = out; *p; p++)
                lines += *p == '\n';
            if (lines >= height) print_error("%u tasks, height %u: %u lines\n%s", n, height, lines, out);
            assert_true(lines < height);
        }
    }
}

/* However narrow and deep: no line that a terminal would break in two. */
static void never_wider_than_the_terminal(void **state)
{
    static const char tasks[] =
        "{\"items\":[{\"task\":0,\"path\":\"a-name-that-is-rather-long-for-a-step-of-a-pipeline\",\"state\":"
        "\"running\"},"
        "{\"task\":1,\"parent\":0,\"path\":\"a-name-that-is-rather-long[1]\",\"state\":\"failed\",\"message\":\"and a "
        "message\"},"
        "{\"task\":2,\"parent\":1,\"path\":\"b\",\"state\":\"running\"},{\"task\":3,\"parent\":2,\"path\":\"c\","
        "\"state\":\"succeeded\"},{\"task\":4,\"path\":\"日本語の名前日本語の名前日本語の名前\",\"state\":\"ready\"}]}";
    (void)state;
    for (unsigned width = 24; width < 120; width++) {
        struct tree t = load(run_json, tasks);
        struct str rest = str_of(render(&t, view(width, 0, true, true))), line;
        while (str_split(&rest, '\n', &line)) {
            if (term_columns(line) >= width) print_error("width %u: %.*s\n", width, STR_ARG(line));
            assert_true(term_columns(line) < width);
        }
    }
}

static void colours_only_when_asked(void **state)
{
    struct tree t = load(run_json, tasks_json);
    struct tree_view v = view(0, 0, true, true);
    (void)state;
    assert_null(strchr(render(&t, v), '\033'));
    v.term.color = true;
    const char *out = render(&t, v);
    assert_non_null(strstr(out, "\033[31m✗\033[0m"));
    assert_non_null(strstr(out, "\033[32m✓\033[0m"));
}

static void changes_line_by_line(void **state)
{
    struct tree before = load(run_json, tasks_json), after;
    struct tree_view v = view(0, 0, false, true);
    BUF_AUTO out;
    (void)state;
    buf_init(&out, 0);
    tree_changes(&out, &arena, NULL, &before, &v);
    assert_string_equal(out.p, "run 17: running\n"
                               "✓ train[0]: succeeded  0.0s  cached\n"
                               "✓ data: succeeded  1.2s\n"
                               "● train: running  2 of 5  1 failed, 1 running, 1 backoff, 1 succeeded, 1 ready  28s\n"
                               "● train[1]: running  attempt 2  10s\n"
                               "✗ train[4]: failed  2m05s  exit code 3?[2J\n"
                               "○ train[2]: ready  needs 2 CPUs, 1 of 4 free\n"
                               "↻ train[3]: backoff  again in 5.0s  exit code 1\n");
    buf_reset(&out);
    after =
        load("{\"id\":17,\"state\":\"failed\",\"message\":\"step train failed\"}",
             "{\"items\":[{\"task\":1,\"path\":\"train\",\"state\":\"failed\",\"message\":\"a task inside it failed\"},"
             "{\"task\":4,\"parent\":1,\"path\":\"train[1]\",\"state\":\"running\",\"attempt\":3}]}");
    tree_changes(&out, &arena, &before, &after, &v);
    assert_string_equal(out.p, "✗ train: failed  0 of 1  a task inside it failed\n"
                               "● train[1]: running  attempt 3\n"
                               "run 17: failed  step train failed\n");
    buf_reset(&out);
    tree_changes(&out, &arena, &after, &after, &v);
    assert_int_equal(out.n, 0);
}

/* The lines that tell what came behind `*was`, which becomes that. */
static const char *told_next(struct tree *was, struct str tasks)
{
    struct tree_view v = view(0, 0, false, true);
    BUF_AUTO out;
    buf_init(&out, 0);
    struct tree now = load(run_json, arena_cstr(&arena, tasks));
    tree_changes(&out, &arena, was, &now, &v);
    *was = now;
    return arena_cstr(&arena, buf_view(&out));
}

static void why_it_waits_is_told_once(void **state)
{
    (void)state;
    static const char *const states[] = {"pending", "ready"}; /* what has not been tried yet has no record of its own */
    static const struct {
        const char *why;
        bool told;
    } rows[] = {{"waits in queue lab", true},
                {"needs 4 × h100, 0 free in queue lab; position 2 of 9", true},
                {"needs 4 × h100, 3 free in queue lab; position 1 of 9", false},
                {"each pod needs 4 × h100", true},
                {"", false}};
    for (size_t s = 0; s < sizeof states / sizeof *states; s++) {
        struct tree was = load(run_json, "{\"items\":[]}");
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const char *told = told_next(
                &was,
                arena_printf(&arena, "{\"items\":[{\"task\":0,\"path\":\"s\",\"state\":\"%s\",\"waitingFor\":\"%s\"}]}",
                             states[s], rows[i].why));
            if ((*told != '\0') != rows[i].told) fail_msg("%s: %s", rows[i].why, told);
        }
    }
}

/* That something comes before it says its place in the pipeline; and what all items wait for, the first of them. */
static void who_only_comes_later_or_waits_as_others_do_is_silent(void **state)
{
    (void)state;
    struct tree was = load(run_json, "{\"items\":[]}");
    static const char items[] =
        "{\"items\":[{\"task\":0,\"path\":\"a\",\"state\":\"pending\"},"
        "{\"task\":1,\"path\":\"b\",\"state\":\"pending\",\"needs\":[0],\"waitingFor\":\"waits for a\"},"
        "{\"task\":2,\"parent\":9,\"path\":\"f[0]\",\"state\":\"pending\",\"waitingFor\":\"needs 1 CPU\"},"
        "{\"task\":3,\"parent\":9,\"path\":\"f[1]\",\"state\":\"pending\",\"waitingFor\":\"needs 1 CPU\"}%s]}";
    static const char one_more[] =
        ",{\"task\":4,\"parent\":9,\"path\":\"f[2]\",\"state\":\"pending\",\"waitingFor\":\"needs 1 CPU\"}";
    assert_string_equal(told_next(&was, arena_printf(&arena, items, "")), "· f[0]: pending  needs 1 CPU\n");
    assert_string_equal(told_next(&was, arena_printf(&arena, items, one_more)), "");
}

/* What comes in one look is told as it happened: a loop ends behind its items, and what needs it begins then. */
static void changes_in_their_order(void **state)
{
    struct tree before = load(run_json, "{\"items\":[]}"), after;
    struct tree_view v = view(0, 0, false, true);
    BUF_AUTO out;
    (void)state;
    buf_init(&out, 0);
    after = load(run_json,
                 "{\"items\":["
                 "{\"task\":0,\"path\":\"next\",\"state\":\"running\",\"attempt\":1,\"startedAt\":\""
                 "2026-01-02T03:04:20Z\"},"
                 "{\"task\":1,\"path\":\"each\",\"state\":\"succeeded\",\"endedAt\":\"2026-01-02T03:04:15Z\"},"
                 "{\"task\":2,\"path\":\"not\",\"state\":\"skipped\"},"
                 "{\"task\":3,\"parent\":1,\"path\":\"each[0]\",\"state\":\"succeeded\",\"attempt\":1,\"endedAt\":"
                 "\"2026-01-02T03:04:15Z\"},"
                 "{\"task\":4,\"parent\":1,\"path\":\"each[1]\",\"state\":\"succeeded\",\"endedAt\":"
                 "\"2026-01-02T03:04:15Z\"},"
                 "{\"task\":5,\"parent\":4,\"path\":\"each[1].x\",\"state\":\"succeeded\",\"attempt\":1,\"endedAt\":"
                 "\"2026-01-02T03:04:14Z\"}]}");
    tree_changes(&out, &arena, &before, &after, &v);
    assert_string_equal(out.p, "✓ each[1].x: succeeded\n"
                               "✓ each[0]: succeeded\n"
                               "✓ each[1]: succeeded  1 of 1\n"
                               "✓ each: succeeded  2 of 2\n"
                               "● next: running  10s\n"
                               "- not: skipped\n");
}

/* A server's answer is not trusted to be a tree. */
static void odd_answers(void **state)
{
    static const char *const rows[] = {
        "{}",
        "{\"items\":[]}",
        "{\"items\":3}",
        "{\"items\":[1,null,[]]}",
        "{\"items\":[{\"task\":1,\"parent\":1,\"path\":\"self\"}]}",
        "{\"items\":[{\"task\":1,\"parent\":2,\"path\":\"a\"},{\"task\":2,\"parent\":1,\"path\":\"b\"}]}",
        "{\"items\":[{\"task\":1,\"parent\":99,\"path\":\"orphan\",\"state\":\"running\"}]}",
        "{\"items\":[{\"task\":1,\"path\":\"same\"},{\"task\":1,\"path\":\"same\"}]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tree t = load("{}", rows[i]);
        assert_non_null(render(&t, view(80, 24, true, true)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_tree),
        cmocka_unit_test(ascii_and_narrow),
        cmocka_unit_test(steps_below_a_step),
        cmocka_unit_test(too_high),
        cmocka_unit_test(never_higher_than_the_terminal),
        cmocka_unit_test(never_wider_than_the_terminal),
        cmocka_unit_test(colours_only_when_asked),
        cmocka_unit_test(why_it_waits_is_told_once),
        cmocka_unit_test(who_only_comes_later_or_waits_as_others_do_is_silent),
        cmocka_unit_test(changes_line_by_line),
        cmocka_unit_test(changes_in_their_order),
        cmocka_unit_test(odd_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
