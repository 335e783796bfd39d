/* The command line: what is understood, what is refused and with which words; and the table that all of it comes from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "engine/os/config.h"

#define WORDS 12

static int count(const char *const *words)
{
    int n = 0;
    while (n < WORDS && words[n])
        n++;
    return n;
}

static bool parse(struct arena *a, const char *const *words, struct args *out, struct err *err)
{
    char **argv = arena_array(a, char *, WORDS + 1);
    int n = count(words);
    for (int i = 0; i < n; i++)
        argv[i] = arena_cstr(a, str_of(words[i]));
    return args_parse(a, n, argv, out, err);
}

static void understands(void **state)
{
    static const struct {
        const char *name, *argv[WORDS], *command, *words, *option, *value;
        size_t times;
    } rows[] = {
        {"plain", {"run", "a.yaml"}, "run", "a.yaml ", NULL, NULL, 0},
        {"option behind", {"run", "a.yaml", "--name", "x"}, "run", "a.yaml ", "name", "x", 1},
        {"option in front of the word", {"run", "--name=x", "a.yaml"}, "run", "a.yaml ", "name", "x", 1},
        {"global option in front of the command",
         {"--server", "http://x", "run", "a"},
         "run",
         "a ",
         "server",
         "http://x",
         1},
        {"short with value", {"run", "a", "-p", "k=v"}, "run", "a ", "param", "k=v", 1},
        {"short with attached value", {"run", "a", "-pk=v"}, "run", "a ", "param", "k=v", 1},
        {"repeated: the last is got", {"run", "a", "-p", "k=1", "-p", "k=2"}, "run", "a ", "param", "k=2", 2},
        {"flags together", {"run", "a", "-wq"}, "run", "a ", "quiet", NULL, 1},
        {"flags and a value together", {"logs", "1", "-fn9"}, "logs", "1 ", "tail", "9", 1},
        {"two-word command", {"artifacts", "get", "4", "-O", "-"}, "artifacts get", "4 ", "to", "-", 1},
        {"words behind --", {"validate", "--", "-x.yaml"}, "validate", "-x.yaml ", NULL, NULL, 0},
        {"a dash is a word", {"validate", "-"}, "validate", "- ", NULL, NULL, 0},
        {"empty value", {"run", "a", "--name="}, "run", "a ", "name", "", 1},
        {"help stops the counting of words", {"run", "--help"}, "run", "", "help", NULL, 1},
        {"many words", {"cancel", "1", "2", "3"}, "cancel", "1 2 3 ", NULL, NULL, 0},
        {"value that looks like a command", {"--context", "run", "list"}, "list", "", "context", "run", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        struct args args;
        struct err err;
        BUF_AUTO words;
        arena_init(&a, 0);
        buf_init(&words, 0);
        bool ok = parse(&a, rows[i].argv, &args, &err);
        if (!ok) print_error("%s: %s\n", rows[i].name, err.message);
        assert_true(ok);
        assert_string_equal(args.command->name, rows[i].command);
        buf_c(&words, "");
        for (size_t k = 0; k < args.n_words; k++)
            buf_printf(&words, "%s ", args.words[k]);
        assert_string_equal(words.p ? words.p : "", rows[i].words);
        size_t times = 0, at = 0;
        if (rows[i].option) {
            const char *value = args_get(&args, rows[i].option);
            assert_true(args_has(&args, rows[i].option));
            assert_int_equal(value != NULL, rows[i].value != NULL);
            if (value) assert_string_equal(value, rows[i].value);
            while (value && args_next(&args, rows[i].option, &at))
                times++;
            assert_int_equal(times, rows[i].value ? rows[i].times : 0);
        }
        arena_free(&a);
    }
}

static void refuses(void **state)
{
    static const struct {
        const char *argv[WORDS], *message, *hint;
    } rows[] = {
        {{"rum", "a"}, "unknown command 'rum'", "did you mean 'run'?"},
        {{"artifacts", "gte", "4"}, "unknown command 'artifacts'", "did you mean 'artifacts get'?"},
        {{"artifacts"}, "unknown command 'artifacts'", "did you mean 'artifacts ls'?"},
        {{"zzzzzz"}, "unknown command 'zzzzzz'", "millrace help lists them"},
        {{"run", "a", "--wtch"}, "unknown option --wtch", "did you mean --watch?"},
        {{"run", "a", "-Z"}, "unknown option -Z", ""},
        {{"run"}, "run needs FILE|DIR|NAME", "millrace help run"},
        {{"run", "a", "b"}, "run does not take 'b'", "millrace help run"},
        {{"run", "a", "--name"}, "--name needs a value", "--name NAME"},
        {{"run", "a", "--watch=yes"}, "--watch takes no value", ""},
        {{"list", "--state", "done"},
         "--state cannot be 'done'",
         "one of: queued|running|paused|cancelling|succeeded|failed|cancelled"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        struct args args = {0};
        struct err err;
        arena_init(&a, 0);
        assert_false(parse(&a, rows[i].argv, &args, &err));
        assert_string_equal(err.message, rows[i].message);
        assert_string_equal(err.hint, rows[i].hint);
        assert_null(args.command); /* untouched */
        arena_free(&a);
    }
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } rows[] = {{"7", true, 7},  {"0", false, 0}, {"11", false, 0},
                {"x", false, 0}, {"", false, 0},  {"9999999999999999999", false, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        struct args args;
        struct err err;
        int64_t n = -1;
        const char *argv[WORDS] = {"list", "--limit", rows[i].text};
        arena_init(&a, 0);
        assert_true(parse(&a, argv, &args, &err));
        assert_int_equal(args_int(&args, "limit", 1, 10, 5, &n, &err), rows[i].ok);
        assert_int_equal(n, rows[i].ok ? rows[i].value : -1);
        arena_free(&a);
    }
}

static bool same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* What the table promises: it can be found, it can be run, and nothing in it contradicts anything else. */
static void the_table_is_sound(void **state)
{
    static const char *const roles[] = {"viewer", "operator", "editor", "admin"};
    (void)state;
    for (size_t i = 0; i < n_commands; i++) {
        const struct cli_command *c = &commands[i];
        struct arena a;
        char *argv[2];
        int used = 0, n = 0;
        struct str rest = str_of(c->name), word;
        arena_init(&a, 0);
        while (n < 2 && str_split(&rest, ' ', &word))
            argv[n++] = arena_cstr(&a, word);
        assert_ptr_equal(command_find(n, argv, &used), c);
        assert_int_equal(used, n);
        assert_true((c->exec != NULL) != (c->exec_raw != NULL));
        assert_true(c->min_words <= c->max_words);
        assert_true(c->summary[0] >= 'a' && c->summary[0] <= 'z' && !str_ends(str_of(c->summary), "."));
        bool role_known = !c->role;
        for (size_t r = 0; r < 4; r++)
            role_known = role_known || same_text(c->role, roles[r]);
        assert_true(role_known);
        for (const struct option *o = c->options; o && o->name; o++) {
            assert_ptr_equal(option_find(c, str_of(o->name), 0), o); /* no name twice, none that hides a global one */
            if (o->letter) assert_ptr_equal(option_find(c, STR(""), o->letter), o);
            for (const struct option *g = global_options; g->name; g++) {
                assert_string_not_equal(g->name, o->name);
                if (g->letter) assert_int_not_equal(g->letter, o->letter);
            }
            assert_true((o->kind == WORD_CHOICE) == (o->choices != NULL));
        }
        arena_free(&a);
    }
}

static bool has(const struct buf *text, const char *what)
{
    return strstr(text->p, what) != NULL;
}

static void help_comes_from_the_table(void **state)
{
    BUF_AUTO overview, markdown;
    (void)state;
    buf_init(&overview, 0);
    buf_init(&markdown, 0);
    help_overview(&overview);
    help_markdown(&markdown);
    for (size_t i = 0; i < n_commands; i++) {
        const struct cli_command *c = &commands[i];
        BUF_AUTO one;
        char heading[80];
        buf_init(&one, 0);
        help_command(&one, c);
        snprintf(heading, sizeof heading, "\n### millrace %s\n", c->name);
        assert_int_equal(has(&overview, c->summary), c->group != NULL);
        assert_int_equal(has(&markdown, heading), c->group != NULL);
        for (const struct option *o = c->options; o && o->name; o++) {
            assert_true(has(&one, o->name));
            assert_true(has(&one, o->summary));
        }
    }
    assert_true(has(&overview, "130 interrupted"));
    assert_true(has(&markdown, "| 7 | the thing is in another state than the command needs |"));
}

static void help_of_a_command(void **state)
{
    BUF_AUTO out;
    char *argv[] = {(char *)(uintptr_t) "cancel"};
    int used;
    (void)state;
    buf_init(&out, 0);
    help_command(&out, command_find(1, argv, &used));
    assert_string_equal(
        out.p, "Usage: millrace cancel [OPTIONS] RUN…\n"
               "\n"
               "Stop runs.\n"
               "\n"
               "Options:\n"
               "      --grace DURATION            time between SIGTERM and SIGKILL, e.g. 10s\n"
               "\n"
               "Common options:\n"
               "      --server URL                the server, e.g. http://127.0.0.1:7070 (MILLRACE_URL)\n"
               "      --token-file FILE           a file with the bearer token (MILLRACE_TOKEN holds a token itself)\n"
               "      --project NAME              the project (MILLRACE_PROJECT; default: default)\n"
               "      --context NAME              a context of the configuration file\n"
               "      --no-color                  no colours, even on a terminal (NO_COLOR)\n"
               "  -q, --quiet                     only results, no notes\n"
               "  -h, --help                      help for the command\n"
               "\n"
               "The token's role must be at least: operator\n");
}

/* The server's options are those of its configuration, in `help serve` as in `serve --help`. */
static void help_of_the_server(void **state)
{
    BUF_AUTO out, options, markdown, table;
    char *argv[] = {(char *)(uintptr_t) "serve"};
    int used;
    (void)state;
    buf_init(&out, 0);
    buf_init(&options, 0);
    buf_init(&markdown, 0);
    buf_init(&table, 0);
    help_command(&out, command_find(1, argv, &used));
    config_help(&options);
    help_markdown(&markdown);
    config_markdown(&table);
    assert_true(has(&options, "--data-dir") && has(&out, options.p) && has(&markdown, table.p));
    assert_false(has(&out, "--quiet"));
}

static void exit_codes(void **state)
{
    static const struct {
        enum err_code code;
        int exit;
    } rows[] = {
        {ERR_NONE, 0},      {ERR_INVALID, 3},     {ERR_SYNTAX, 3},   {ERR_UNAUTHENTICATED, 5},
        {ERR_FORBIDDEN, 5}, {ERR_NOT_FOUND, 4},   {ERR_GONE, 4},     {ERR_CONFLICT, 7},
        {ERR_STALE, 7},     {ERR_UNAVAILABLE, 6}, {ERR_TOO_MANY, 6}, {ERR_INTERNAL, 1},
        {ERR_TOO_LARGE, 3}, {ERR_IO, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(cli_exit_of(rows[i].code), rows[i].exit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(understands),
        cmocka_unit_test(refuses),
        cmocka_unit_test(numbers),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(help_comes_from_the_table),
        cmocka_unit_test(help_of_a_command),
        cmocka_unit_test(help_of_the_server),
        cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
