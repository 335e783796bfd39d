/* Templates, and what stands in a shell line: the quoted words are given to the real /bin/sh, which must see each value
 * as one argument. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/engine/expr/world.h"

static struct str describe(struct world *w, const struct err *err)
{
    return arena_printf(&w->arena, "error %u:%u+%u: %s", err->at.line, err->at.col, err->len, err->message);
}

static void filled_in(void **state)
{
    static const struct {
        const char *text, *want; /* the value as JSON, or the error */
    } rows[] = {
        {"", "\"\""},
        {"plain $x {{ }} $", "\"plain $x {{ }} $\""},
        {"${{ params.n }}", "3"},
        {"${{params.models}}", "[\"a\",\"b\",\"c\"]"},
        {"${{ params.n }}\n", "3"},
        {"${{ params.n }} ", "\"3 \""},
        {"n=${{ params.n }}, s=${{ params.share }}", "\"n=3, s=0.25\""},
        {"${{ 1 }}${{ 2.0 }}${{ true }}${{ null }}", "\"12.0true\""},
        {"l=${{ params.models }} m=${{ {'a': {'b': 1}} }}",
         "\"l=[\\\"a\\\",\\\"b\\\",\\\"c\\\"] m={\\\"a\\\":{\\\"b\\\":1}}\""},
        {"${{ {'a': {'b': 1}}.a }}", "{\"b\":1}"},
        {"${{ '}}' + \"}}\" + r'\\' }}", "\"}}}}\\\\\""},
        {"$${{ x }}", "\"${{ x }}\""},
        {"a$${{b$$${{ ${{ params.n }}", "\"a${{b$${{ 3\""},
        {"a ${{ params.n", "error 1:3+3: '${{' is not closed: '}}' is missing"},
        {"a ${{ 'x }}", "error 1:3+3: '${{' is not closed: '}}' is missing"},
        {"é\n  ${{  1 + }}", "error 2:11+1: expected a value, found the end"},
        {"${{ }}", "error 1:4+1: the expression is empty"},
        {"a\n${{ params.n }} ${{ params.nme }}", "error 2:28+3: there is no field 'nme', in ${{ params.nme }}"},
        {"a ${{\n  params.n /\n  0 }}", "error 2:3+10: division by zero, in ${{ params.n /   0 }}"},
        {"x${{ [1].map(a, 1/0) }}", "error 1:17+3: division by zero, in ${{ [1].map(a, 1/0) }}"},
    };
    struct world *w = *state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct expr_env env = world_env(w);
        struct expr_template t;
        struct value v;
        struct err err = {0};
        struct str got;
        BUF_AUTO json;
        buf_init(&json, 0);
        if (!expr_template_parse(&w->arena, str_of(rows[i].text), &t, &err) ||
            !expr_template_eval(&t, &env, &w->arena, &v, &err)) {
            got = describe(w, &err);
        } else {
            assert_true(str_is(t.source, rows[i].text));
            value_json(&json, &v, false);
            got = buf_view(&json);
        }
        if (str_is(got, rows[i].want)) continue;
        failed++;
        print_error("%s\n   gives  %.*s\n   not    %s\n", rows[i].text, STR_ARG(got), rows[i].want);
    }
    assert_int_equal(failed, 0);
}

static void kinds(void **state)
{
    struct world *w = *state;
    struct expr_template t;
    struct err err = {0};
    assert_true(expr_template_parse(&w->arena, STR("a $${{ b"), &t, &err));
    assert_true(t.literal && !t.single);
    assert_true(expr_template_parse(&w->arena, STR("${{ b }}"), &t, &err));
    assert_true(!t.literal && t.single);
    assert_true(expr_template_parse(&w->arena, STR("${{ b }}${{ c }}"), &t, &err));
    assert_true(!t.literal && !t.single && t.n == 2);
}

/* A text cannot grow without end: many references to one long value. */
static void too_long(void **state)
{
    struct world *w = *state;
    struct expr_env env = world_env(w);
    struct expr_template t;
    struct value v;
    struct err err = {0};
    char *text = malloc(200001);
    memset(text, 'x', 200000);
    struct value_map_builder root;
    value_map_begin(&root, &w->arena);
    value_map_put(&root, STR("x"), value_string((struct str){text, 200000}));
    struct world other = {.root = value_map_end(&root)};
    env.ctx = &other;
    assert_true(expr_template_parse(&w->arena,
                                    STR("x ${{ x }}${{ [x, x, x, x, x, x, x, x, x, x] }}${{ x }}"
                                        "${{ [x, x, x, x, x, x, x, x, x, x] }}"),
                                    &t, &err));
    assert_false(expr_template_eval(&t, &env, &w->arena, &v, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_true(
        expr_template_parse(&w->arena, STR("x ${{ x + x + x + x + x + x + x + x + x + x + x + x }}"), &t, &err));
    assert_true(expr_template_eval(&t, &env, &w->arena, &v, &err));
    free(text);
}

/* ---- shell lines ---- */

static void where_expressions_may_stand(void **state)
{
    static const struct {
        const char *line;
        const char *where; /* NULL = fine, else part of the message */
    } rows[] = {
        {"echo ${{ a }}", NULL},
        {"${{ a }}", NULL},
        {"echo x${{ a }}y", NULL},
        {"X=${{ a }} cmd --m=${{ b }} >${{ c }}", NULL},
        {"echo 'a' \"b\" ${{ a }} \"c\"${{ b }}'d'", NULL},
        {"echo \\\" ${{ a }}", NULL},
        {"echo \\\n  ${{ a }}", NULL},
        {"x=$(cmd ${{ a }}) y", NULL},
        {"echo \"$(cmd ${{ a }})\" ${{ b }}", NULL},
        {"echo \"$(cmd \"x\" ')' ${{ a }})\"", NULL},
        {"(cd x && cmd ${{ a }})", NULL},
        {"echo $((1 << 2)) ${{ a }}", NULL},
        {"echo ${X:-y} ${#X} $# ${{ a }}", NULL},
        {"echo \"${X}\" `date` ${{ a }}", NULL},
        {"# it's a comment\necho ${{ a }}", NULL},
        {"echo a#b ${{ a }}", NULL},
        {"case $X in a) echo ${{ a }};; esac", NULL},
        {"echo '${{ a }}'", "inside '…'"},
        {"echo \"${{ a }}\"", "inside \"…\""},
        {"echo \"a ${{ a }}", "inside \"…\""},
        {"echo 'it'\\''s '${{ a }}", NULL},
        {"echo 'it'\\'' ${{ a }}'", "inside '…'"},
        {"echo \"a\\\" ${{ a }}\"", "inside \"…\""},
        {"echo `cmd ${{ a }}`", "inside `…`"},
        {"echo \"`cmd ${{ a }}`\"", "inside `…`"},
        {"echo ${X:-${{ a }}}", "inside ${…}"},
        {"echo $((1 + ${{ a }}))", "inside ((…))"},
        {"((x = ${{ a }}))", "inside ((…))"},
        {"echo \"$(echo \"${{ a }}\")\"", "inside \"…\""},
        {"echo \"$(echo \")${{ a }}\")\"", "inside \"…\""},
        {"cmd # ${{ a }}", "in a comment"},
        {"cmd ;#${{ a }}", "in a comment"},
        {"case x in a)# ${{ a }}\n;; esac", "in a comment"},
        {"cmd \\\n# ${{ a }}", "in a comment"},
        {"echo \\${{ a }}", "behind a backslash"},
        {"cat <<EOF\n${{ a }}\nEOF", "not certain"},
        {"cat <\\\n<EOF\n${{ a }}\nEOF", "not certain"},
        {"echo \"$\\\n(echo \"${{ a }}\")\"", "not certain"},
        {"x=$(case a in a) echo;; esac); echo ${{ a }}", "not certain"},
        {"echo $'it\\'s ${{ a }}'", "not certain"},
        {"echo \"$$(${{ a }}\"", "inside \"…\""},
        {"echo ${X:-\"}\"} ${{ a }}", "not certain"},
        {"echo `echo \"` ${{ a }}\"", "not certain"},
        {"echo $((cmd) | cmd) ${{ a }}", "not certain"},
    };
    struct world *w = *state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct expr_template t;
        struct err err = {0};
        assert_true(expr_template_parse(&w->arena, str_of(rows[i].line), &t, &err));
        struct err_list errors;
        err_list_init(&errors, &w->arena);
        bool ok = expr_shell_check(&t, &errors);
        if (!ok) err = errors.items[0];
        if (rows[i].where ? !ok && strstr(err.message, rows[i].where) && err.at.line : ok) continue;
        failed++;
        print_error("%s\n   gives %s\n", rows[i].line, ok ? "no error" : err.message);
    }
    assert_int_equal(failed, 0);
}

/* Runs the line with /bin/sh, where `show` prints its arguments, each within brackets. */
static struct str run_shell(struct world *w, struct str line)
{
    struct str script =
        arena_printf(&w->arena, "show() { for x in \"$@\"; do printf '[%%s]' \"$x\"; done; }\n%.*s", STR_ARG(line));
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_ends[1], 1);
        close(pipe_ends[0]);
        execl("/bin/sh", "sh", "-c", script.p, (char *)NULL);
        _exit(127);
    }
    close(pipe_ends[1]);
    char *out = arena_alloc(&w->arena, 8192);
    size_t n = 0;
    ssize_t got;
    while ((got = read(pipe_ends[0], out + n, 8191 - n)) > 0)
        n += (size_t)got;
    close(pipe_ends[0]);
    waitpid(child, NULL, 0);
    return (struct str){out, n};
}

static void words_reach_the_shell_whole(void **state)
{
#define EVIL "it's; $(touch /tmp/x) `id` \"q\" \\ \n#end"
    static const struct {
        const char *line, *want; /* what show prints, or the error */
    } rows[] = {
        {"show a ${{ params.n }}", "[a][3]"},
        {"show ${{ params.evil }}", "[" EVIL "]"},
        {"show x${{ params.evil }}y ${{ params.evil }}", "[x" EVIL "y][" EVIL "]"},
        {"X=${{ params.evil }}; show \"$X\"", "[" EVIL "]"},
        {"show \"$(printf %s ${{ params.evil }})\"", "[" EVIL "]"},
        {"(show ${{ params.evil }})", "[" EVIL "]"},
        {"show ${{ params.models }} end", "[a][b][c][end]"},
        {"show ${{ [] }} end", "[end]"},
        {"show ${{ '' }} ${{ null }} end", "[][][end]"},
        {"show ${{ \"'\" }} ${{ \"''\" }}", "['][\'\']"},
        {"show ${{ {'a': \"'\"} }} ${{ [[1, 2], 'x y'] }}", "[{\"a\":\"'\"}][[1,2]][x y]"},
        {"show ${{ params.n }}${{ params.share }}", "[30.25]"},
        {"show --m=${{ params.models }}", "error 1:14+13: a list becomes one word per item, but text stands beside it"},
        {"show ${{ params.nope }}", "error 1:17+4: there is no field 'nope', in ${{ params.nope }}"},
        {"show \"${{ params.n }}\"", "error 1:11+8: an expression stands inside \"…\""},
    };
    struct world *w = *state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct expr_env env = world_env(w);
        struct expr_template t;
        struct err err = {0};
        struct str line, got;
        assert_true(expr_template_parse(&w->arena, str_of(rows[i].line), &t, &err));
        got = expr_shell_eval(&t, &env, &w->arena, &line, &err) ? run_shell(w, line) : describe(w, &err);
        if (str_is(got, rows[i].want)) continue;
        failed++;
        print_error("%s\n   gives  %.*s\n   not    %s\n", rows[i].line, STR_ARG(got), rows[i].want);
    }
    assert_int_equal(failed, 0);
#undef EVIL
}

/* Whatever the author wrote around it: where the check lets an expression stand, sh takes a hostile value for one word.
 * The lines are random strings of the pieces that make quoting hard; a value that got out would create the witness
 * variable's output. */
static void no_line_lets_a_value_out(void **state)
{
    static const char *const pieces[] = {
        "'",    "\"", "\\", "$(", ")", "`",    "${", "}",     "$((",   "))",    "#", " ",     "\n", "x", "<<",
        "case", "$'", "((", "(",  ";", "\\\n", "$",  "a in ", "esac ", "echo ", "<", "EOF\n", "|",  "&", "${x:-"};
    static const char value[] = "'\n\"\nEOF\nprintf ESCAPED\n`printf ESCAPED`$(printf ESCAPED);printf ESCAPED\n)\n}\n'";
    struct world *w = *state;
    struct value_map_builder root;
    value_map_begin(&root, &w->arena);
    value_map_put(&root, STR("v"), value_string(str_of(value)));
    struct world hostile = {.root = value_map_end(&root)};
    struct expr_env env = world_env(&hostile);
    uint64_t random = 2463534242u;
    int allowed = 0;
    for (int round = 0; round < 20000 && allowed < 300; round++) {
        char text[256] = "";
        for (int i = 0; i < 7; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            strcat(text, i == 4 ? " ${{ v }} " : pieces[random % (sizeof pieces / sizeof *pieces)]);
        }
        struct expr_template t;
        struct err err = {0};
        struct str line;
        if (!expr_template_parse(&w->arena, str_of(text), &t, &err) || t.literal) continue;
        if (!expr_shell_eval(&t, &env, &w->arena, &line, &err)) continue;
        allowed++;
        line =
            arena_printf(&w->arena, "exec 2>/dev/null </dev/null\nprintf() { command printf 'GOT<%%s>' \"$1\"; }\n%.*s",
                         STR_ARG(line));
        struct str got = run_shell(w, line);
        size_t at;
        if (str_find(got, STR("GOT<ESCAPED>"), &at)) print_error("let out by: %s\n", text);
        assert_false(str_find(got, STR("GOT<ESCAPED>"), &at));
    }
    assert_true(allowed >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filled_in),
        cmocka_unit_test(kinds),
        cmocka_unit_test(too_long),
        cmocka_unit_test(where_expressions_may_stand),
        cmocka_unit_test(words_reach_the_shell_whole),
        cmocka_unit_test(no_line_lets_a_value_out),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
