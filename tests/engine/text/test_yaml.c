/* YAML: what scalars mean, where values stand, what is refused, and that what is written is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/jsonw.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"

#define EACH(row, rows) for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)

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

static bool parse(const char *text, struct value **docs, size_t *n)
{
    err_list_init(&errors, &arena);
    return yaml_parse(&arena, str_of(text), NULL, docs, n, &errors);
}

static void texts_mean_what_the_core_schema_says(void **state)
{
    static const struct {
        const char *yaml, *json;
    } rows[] = {
        {"~", NULL}, /* an empty document is left away */
        {"- ~\n- null\n- Null\n- NULL\n-\n", "[null,null,null,null,null]"},
        {"[true, True, TRUE, false, yes, no, on, off, y, n]",
         "[true,true,true,false,\"yes\",\"no\",\"on\",\"off\",\"y\",\"n\"]"},
        {"[0, -1, +2, 007, 0o17, 0xFF, 0b1, 1_000, 1:30]", "[0,-1,2,7,15,255,\"0b1\",\"1_000\",\"1:30\"]"},
        {"[1.5, .5, 5., 1e3, -1.5E-3, 1.e, e3, 1.2.3]", "[1.5,0.5,5.0,1000.0,-0.0015,\"1.e\",\"e3\",\"1.2.3\"]"},
        {"['1', \"true\", !!str 5, ! 5, !!int \"7\", !!float 2, !!null '', !!bool true]",
         "[\"1\",\"true\",\"5\",\"5\",7,2.0,null,true]"},
        {"a: 1\nb:\n  - x\n  - {c: d}\n", "{\"a\":1,\"b\":[\"x\",{\"c\":\"d\"}]}"},
        {"1: a\ntrue: b\n? c\n: d\n", "{\"1\":\"a\",\"true\":\"b\",\"c\":\"d\"}"},
        {"a: |\n  one\n    two\n\nb: >-\n  folded\n  text\n\n  here\n",
         "{\"a\":\"one\\n  two\\n\",\"b\":\"folded text\\nhere\"}"},
        {"\"\\u00e4\\x41\\t\\\"\\U0001F600\"", "\"\xC3\xA4"
                                               "A\\t\\\"\xF0\x9F\x98\x80\""},
        {"a: &x {b: 1}\nc: *x\nd: [*x, *x]", "{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1},{\"b\":1}]}"},
        {"\xEF\xBB\xBF"
         "a: 1",
         "{\"a\":1}"},
        {"%YAML 1.2\n---\na: 1\n...\n", "{\"a\":1}"},
        {"{\"a\": [1, 2.5, null, \"x\"]}", "{\"a\":[1,2.5,null,\"x\"]}"},
        {"[9223372036854775807, -9223372036854775808]", "[9223372036854775807,-9223372036854775808]"},
    };
    (void)state;
    EACH(r, rows)
    {
        struct value *docs;
        size_t n = 0;
        BUF_AUTO json;
        buf_init(&json, 0);
        if (!parse(rows[r].yaml, &docs, &n)) fail_msg("%s: %s", rows[r].yaml, errors.items[0].message);
        assert_int_equal(n, rows[r].json != NULL);
        if (n) value_json(&json, docs, false);
        if (n && strcmp(json.p, rows[r].json) != 0) fail_msg("%s:\n%s\n%s", rows[r].yaml, rows[r].json, json.p);
    }
}

static void several_documents_are_several(void **state)
{
    struct value *docs;
    size_t n;
    (void)state;
    assert_true(parse("a: &x 1\n---\n---\nb: 2\n---\n- c\n", &docs, &n));
    assert_int_equal(n, 3);
    assert_int_equal(docs[1].at.line, 4);
    assert_true(parse("# nothing\n", &docs, &n));
    assert_int_equal(n, 0);
    assert_false(parse("a: &x 1\n---\nb: *x\n", &docs, &n)); /* anchors end with their document */
}

static void values_know_where_they_stand(void **state)
{
    struct value *docs;
    size_t n;
    (void)state;
    assert_true(parse("a: 1\n\xC3\xA4\xC3\xB6: [x,  {deep: \xE6\xBC\xA2, next: y}]\n", &docs, &n));
    const struct value_entry *second = &docs[0].u.map.entries[1];
    assert_int_equal(second->key_at.line, 2);
    assert_int_equal(second->key_at.col, 1);
    const struct value *map = &second->value.u.list.items[1];
    assert_int_equal(map->at.col, 10);
    assert_int_equal(value_get(map, "next")->at.col, 26); /* code points, not bytes or columns of a terminal */
    assert_int_equal(docs[0].u.map.entries[0].value.style, STYLE_PLAIN);
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
    static const struct {
        const char *yaml;
        uint32_t line, col;
        const char *says;
    } rows[] = {
        {"a: [1", 2, 1, "flow sequence"},
        {"a: b: c", 1, 5, "mapping values"},
        {"a: 1\na: 2\nb: 3\nb: 4", 2, 1, "'a' stands twice, first in line 1"},
        {"a: \"\\0\"", 1, 4, "U+0000"},
        {"a: \x01", 1, 4, "control characters"},
        {"a: 1\nb: x\xFFy", 2, 5, "not UTF-8"},
        {"\xFF\xFE"
         "a",
         1, 1, "UTF-16"},
        {"[a]: b", 1, 1, "key must be plain"},
        {"<<: {a: b}", 1, 1, "merge keys"},
        {"a: *b", 1, 4, "no anchor"},
        {"a: &b [*b]", 1, 8, "inside what it stands for"},
        {"a: !foo b", 1, 4, "tag '!foo'"},
        {"a: !!seq {}", 1, 4, "tag"},
        {"a: !!int x", 1, 4, "no !!int"},
        {"99999999999999999999", 1, 1, "64 bits"},
        {".inf", 1, 1, "no number"},
        {"a: 'x", 1, 6, "end of stream"},
        {"\tb: 1", 1, 1, "cannot start any token"},
        {"{a: ${{ x }}}", 1, 6, "expected ',' or '}'"},
        {"? \n: 1", 1, 2, "key is empty"},
    };
    (void)state;
    EACH(r, rows)
    {
        struct value *docs;
        size_t n;
        if (parse(rows[r].yaml, &docs, &n)) fail_msg("%s was read", rows[r].yaml);
        const struct err *e = &errors.items[0];
        if (!strstr(e->message, rows[r].says) || e->at.line != rows[r].line || e->at.col != rows[r].col)
            fail_msg("%s: %u:%u %s", rows[r].yaml, e->at.line, e->at.col, e->message);
    }
    struct value *docs;
    size_t n;
    assert_false(parse("a: 1\na: 2\nb: !x 3\nb: 4", &docs, &n));
    assert_int_equal(errors.total, 3); /* all of them at once */
}

static void bombs_are_refused(void **state)
{
    struct value *docs;
    size_t n;
    BUF_AUTO text;
    (void)state;
    buf_init(&text, 0);
    buf_c(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 30; i++) {
        buf_printf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_printf(&text, "%s*a%d", k ? ", " : "", i - 1);
        buf_c(&text, "]\n");
    }
    assert_false(parse(text.p, &docs, &n));
    assert_int_equal(errors.items[0].code, ERR_LIMIT);
    assert_true(arena.used < 1 << 20);
    buf_reset(&text);
    for (int i = 0; i < 200000; i++)
        buf_char(&text, '[');
    assert_false(parse(text.p, &docs, &n));
    assert_string_equal(errors.items[0].message, "the document is nested too deeply");
    buf_reset(&text);
    buf_c(&text, "a0: &a0 [x]\n"); /* depth through aliases */
    for (int i = 1; i < 70; i++)
        buf_printf(&text, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    assert_false(parse(text.p, &docs, &n));
    assert_string_equal(errors.items[0].message, "the document is nested too deeply");
    struct yaml_limits small = {.max_bytes = 10};
    err_list_init(&errors, &arena);
    assert_false(yaml_parse(&arena, STR("a: 12345678901"), &small, &docs, &n, &errors));
    assert_int_equal(errors.items[0].code, ERR_TOO_LARGE);
}

/* The marker ^ of each row is taken out of the YAML; the decoded text's character after the mark @ must be found there.
 */
static void places_in_scalars_are_found_again(void **state)
{
    static const struct {
        const char *yaml;
        uint32_t inner_line, inner_col, line, col;
    } rows[] = {
        {"a: plain text", 1, 7, 1, 10},
        {"a: 'it''s here'", 1, 6, 1, 11},
        {"a: \"x\\t\\u00e4y\"", 1, 4, 1, 14},
        {"a: |\n  one\n  two three\n", 2, 5, 3, 7},
        {"a:\n  b: |-\n      one\n\n        two\n", 3, 3, 5, 9},
        {"a: >\n  one\n  two three\n", 1, 9, 3, 7},
        {"a: >\n  one\n\n  two three\n", 2, 5, 4, 7},
        {"a: plain\n  over two", 1, 7, 2, 3},
        {"a: 'one\n\n  two'", 2, 1, 3, 3},
        {"a: \"one \\\n  two\"", 1, 5, 2, 3},
        {"\xC3\xA4: \xC3\xB6\xC3\xBC x", 1, 4, 1, 7},
    };
    (void)state;
    EACH(r, rows)
    {
        struct value *docs;
        size_t n;
        if (!parse(rows[r].yaml, &docs, &n)) fail_msg("%s: %s", rows[r].yaml, errors.items[0].message);
        const struct value *v = &docs[0].u.map.entries[0].value;
        if (v->type == VALUE_MAP) v = &v->u.map.entries[0].value;
        struct pos at = yaml_locate(str_of(rows[r].yaml), v, (struct pos){rows[r].inner_line, rows[r].inner_col});
        if (at.line != rows[r].line || at.col != rows[r].col) fail_msg("%s: %u:%u", rows[r].yaml, at.line, at.col);
    }
}

static void what_is_written_is_read_back(void **state)
{
    static const char *const rows[] = {
        "null",
        "1",
        "-2.5",
        "true",
        "\"\"",
        "\"text\"",
        "\"yes\"",
        "\"1\"",
        "\"a: b\"",
        "\"- x\"",
        "\" lead\"",
        "\"trail \"",
        "\"two\\nlines\\n\"",
        "\"two\\nlines\"",
        "\"  lead\\nx\\n\"",
        "\"a\\n\\nb\\n\"",
        "\"tab\\tx\\n\"",
        "\"\\u0001\"",
        "\"#x\"",
        "\"${{ a }}\"",
        "[]",
        "{}",
        "[[]]",
        "[[1,[2,3]],{}]",
        "{\"a\":{\"b\":[{\"c\":1,\"d\":[]},[\"x\"]]},\"\":2,\"yes\":3,\"a b\":4,\"x: y\":5}",
        "{\"run\":\"set -e\\necho hello\\n\",\"list\":[{\"text\":\"a\\nb\\n\"}]}",
        "{\"a\":null,\"b\":[null,{\"c\":null}]}",
        "\"\xC3\xA4\"",
        "[\"~\",\"null\",\"NULL\",\"0x1\",\"1e3\",\".5\",\"=\",\"<<\"]",
        "[\"!x\",\"&x\",\"*x\",\"%x\",\"@x\",\"`x\",\"|\",\">\"]",
        "[\"a\\u0085b\",\"a\\u2028b\",\"\\ufeffa\",\"\\u007f\\u0080\\u009f\",\"\\uffff\"]",
        "1e300",
        "{\"-\":1,\"?\":2,\"a:\":3,\"/x\":4}",
    };
    (void)state;
    EACH(r, rows)
    {
        struct value v, *docs;
        size_t n = 0;
        struct err err;
        BUF_AUTO yaml;
        buf_init(&yaml, 0);
        if (!json_parse(&arena, str_of(rows[r]), 0, &v, &err)) fail_msg("%s: %s", rows[r], err.message);
        yaml_emit(&yaml, &v);
        if (!parse(yaml.p, &docs, &n)) fail_msg("%s:\n%s%s", rows[r], yaml.p, errors.items[0].message);
        if (v.type == VALUE_NULL) continue;
        if (n != 1 || !value_eq(docs, &v) || docs->type != v.type) fail_msg("%s:\n%s", rows[r], yaml.p);
    }
}

static void long_documents_are_read(void **state)
{
    struct value *docs;
    size_t n;
    BUF_AUTO text;
    (void)state;
    buf_init(&text, 0);
    for (int i = 0; i < 10000; i++)
        buf_printf(&text, "step%d: {run: echo, needs: [step%d]}\n", i, i / 2);
    assert_true(parse(text.p, &docs, &n));
    assert_int_equal(docs[0].u.map.n, 10000);
    assert_non_null(value_get(docs, "step9999"));
    buf_c(&text, "step5000: again\n");
    assert_false(parse(text.p, &docs, &n));
    assert_string_equal(errors.items[0].message, "the key 'step5000' stands twice, first in line 5001");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_mean_what_the_core_schema_says, setup, teardown),
        cmocka_unit_test_setup_teardown(several_documents_are_several, setup, teardown),
        cmocka_unit_test_setup_teardown(values_know_where_they_stand, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said_with_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(bombs_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(places_in_scalars_are_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_written_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(long_documents_are_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
