/* Value trees and their JSON text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/jsonw.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void numbers_compare_exactly(void **state)
{
    const struct {
        const char *name;
        struct value a, b;
        int order; /* 9 = cannot be ordered */
    } rows[] = {
        {"int and double", value_int(1), value_double(1), 0},
        {"fraction", value_int(1), value_double(1.5), -1},
        {"negative fraction", value_int(-1), value_double(-1.5), 1},
        {"beyond 2^53", value_int(9007199254740993), value_double(9007199254740992.0), 1},
        {"biggest int", value_int(INT64_MAX), value_double(9223372036854775808.0), -1},
        {"smallest int", value_int(INT64_MIN), value_double(-9223372036854775808.0), 0},
        {"double first", value_double(2.5), value_int(2), 1},
        {"not a number", value_double(NAN), value_int(1), 9},
        {"strings", value_string(STR("b")), value_string(STR("a")), 1},
        {"bools", value_bool(false), value_bool(true), -1},
        {"apples and pears", value_string(STR("1")), value_int(1), 9},
        {"nulls", value_null(), value_null(), 9},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int order = 9;
        if (value_cmp(&rows[i].a, &rows[i].b, &order) != (rows[i].order != 9) || order != rows[i].order)
            fail_msg("%s: %d", rows[i].name, order);
        if (rows[i].order != 9 && value_eq(&rows[i].a, &rows[i].b) != (order == 0))
            fail_msg("%s: equality", rows[i].name);
    }
}

/* {k0: 0, k1: 1, …} in the given order of steps. */
static struct value numbered_map(size_t n, size_t first, size_t step)
{
    struct value_map_builder map;
    value_map_begin(&map, &arena);
    for (size_t i = 0, k = first; i < n; i++, k = (k + step) % n)
        value_map_put(&map, arena_printf(&arena, "k%zu", k), value_int((int64_t)k));
    return value_map_end(&map);
}

static void maps_find_their_entries(void **state)
{
    static const size_t sizes[] = {1, 16, 17, 10000};
    (void)state;
    for (size_t s = 0; s < 4; s++) {
        struct value map = numbered_map(sizes[s], 0, 1);
        for (size_t i = 0; i < sizes[s]; i++) {
            const struct value *v = value_find(&map, arena_printf(&arena, "k%zu", i));
            assert_non_null(v);
            assert_int_equal(v->u.i, i);
        }
        assert_null(value_get(&map, "k"));
        assert_null(value_get(&map, "zz"));
        struct value copy = value_copy(&arena, &map);
        assert_true(value_eq(&map, &copy));
        assert_ptr_not_equal(map.u.map.entries[0].key.p, copy.u.map.entries[0].key.p);
    }
    struct value number = value_int(1);
    assert_null(value_get(&number, "x"));
    assert_null(value_get(NULL, "x"));
}

static void maps_are_equal_in_any_order(void **state)
{
    (void)state;
    struct value a = numbered_map(101, 0, 1), b = numbered_map(101, 50, 7), c = numbered_map(102, 0, 1);
    assert_true(value_eq(&a, &b));
    assert_false(value_eq(&a, &c));
    BUF_AUTO x;
    BUF_AUTO y;
    buf_init(&x, 0);
    buf_init(&y, 0);
    value_json(&x, &a, true);
    value_json(&y, &b, true);
    assert_string_equal(x.p, y.p);
}

static void lists_compare_item_by_item(void **state)
{
    (void)state;
    struct value_list_builder list;
    value_list_begin(&list, &arena);
    for (int i = 0; i < 10; i++)
        value_list_push(&list, value_int(i));
    struct value a = value_list_end(&list), b = value_copy(&arena, &a);
    int order = 9;
    assert_true(value_eq(&a, &b));
    assert_true(value_cmp(&a, &b, &order) && order == 0);
    b.u.list.n--;
    assert_true(value_cmp(&a, &b, &order) && order == 1);
    b.u.list.items[0] = value_null();
    assert_false(value_cmp(&a, &b, &order));
}

static void json_is_escaped(void **state)
{
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c\n\t\x01", "\"a\\\"b\\\\c\\n\\t\\u0001\""},
        {"\xC3\xA4\xF0\x9F\x98\x80", "\"\xC3\xA4\xF0\x9F\x98\x80\""},
        {"x\xFFy\xC3", "\"x\xEF\xBF\xBDy\xEF\xBF\xBD\""},
        {"a\x7F\xC2\x85\xC2\x9F\xC2\xA0", "\"a\\u007f\\u0085\\u009f\xC2\xA0\""},
        {"\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAA", "\"\\u2028\\u2029\xE2\x80\xAA\""},
        {"\xEF\xBB\xBF\xEF\xBF\xBE\xEF\xBF\xBF\xEF\xBF\xBD", "\"\\ufeff\\ufffe\\uffff\xEF\xBF\xBD\""},
        {"\xE2\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"\xFF\xFE\"", "\"\xEF\xBF\xBD\xEF\xBF\xBD\\\"\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        BUF_AUTO out;
        buf_init(&out, 0);
        struct value v = value_string(str_of(rows[i].text));
        value_json(&out, &v, false);
        assert_string_equal(out.p, rows[i].json);
    }
}

struct pieces {
    struct buf all;
    size_t calls, fail_after;
};

static bool take(void *ctx, const char *p, size_t n)
{
    struct pieces *pieces = ctx;
    return pieces->calls++ < pieces->fail_after && buf_add(&pieces->all, p, n);
}

static void write_sample(struct jsonw *w, int rows)
{
    jsonw_object(w);
    jsonw_kv_int(w, "n", rows);
    jsonw_kv_cstr(w, "left out", NULL);
    jsonw_kv_double(w, "share", 1.0);
    jsonw_kv_bool(w, "ok", true);
    jsonw_key(w, "rows");
    jsonw_array(w);
    for (int i = 0; i < rows; i++) {
        jsonw_array(w);
        jsonw_null(w);
        jsonw_raw(w, STR("{\"a\":1}"));
        jsonw_cstr(w, NULL);
        jsonw_array_end(w);
    }
    jsonw_array_end(w);
    jsonw_kv_str(w, "end", STR("x"));
    jsonw_object_end(w);
}

static void writer_streams_what_it_buffers(void **state)
{
    static const int sizes[] = {0, 1, 1000};
    struct jsonw w;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        BUF_AUTO whole;
        buf_init(&whole, 0);
        jsonw_to_buf(&w, &whole);
        write_sample(&w, sizes[i]);
        assert_true(jsonw_end(&w));
        struct pieces pieces = {.fail_after = 1000};
        jsonw_to_sink(&w, take, &pieces);
        write_sample(&w, sizes[i]);
        assert_true(jsonw_end(&w));
        assert_string_equal(pieces.all.p, whole.p);
        if (i == 1)
            assert_string_equal(whole.p,
                                "{\"n\":1,\"share\":1.0,\"ok\":true,\"rows\":[[null,{\"a\":1},null]],\"end\":\"x\"}");
        buf_free(&pieces.all);
        pieces = (struct pieces){.fail_after = 0};
        jsonw_to_sink(&w, take, &pieces);
        write_sample(&w, sizes[i]);
        assert_false(jsonw_end(&w));
        assert_true(pieces.calls <= 1);
        buf_free(&pieces.all);
    }
}

static bool take_some(void *ctx, const char *p, size_t n)
{
    size_t *left = ctx;
    if (!p || n > *left) return false;
    *left -= n;
    return true;
}

static void write_nested(struct jsonw *w, int depth)
{
    jsonw_array(w);
    for (int i = 0; depth > 0 && i < 3; i++) {
        jsonw_object(w);
        jsonw_kv_int(w, "depth", depth);
        jsonw_key(w, "items");
        write_nested(w, depth - 1);
        jsonw_kv_str(w, "end", STR("x"));
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

/* A client that hangs up half-way: wherever that is, the rest is swallowed. The padding moves the place at which the
 * writer's stage is full over all that is written. */
static void writer_swallows_the_rest_after_a_failure(void **state)
{
    struct jsonw w;
    static char padding[sizeof w.stage];
    (void)state;
    memset(padding, 'x', sizeof padding);
    for (size_t n = 0; n < sizeof padding; n++) {
        size_t left = n;
        jsonw_to_sink(&w, take_some, &left);
        jsonw_array(&w);
        jsonw_str(&w, (struct str){padding, n});
        for (int i = 0; i < 50; i++)
            write_nested(&w, 3);
        jsonw_array_end(&w);
        assert_false(jsonw_end(&w));
    }
}

static void writer_refuses_unfinished_and_too_deep(void **state)
{
    struct jsonw w;
    (void)state;
    BUF_AUTO out;
    buf_init(&out, 0);
    jsonw_to_buf(&w, &out);
    assert_false(jsonw_end(&w));
    jsonw_array(&w);
    assert_false(jsonw_end(&w));
    for (int i = 0; i < 1000; i++)
        jsonw_array(&w);
    for (int i = 0; i < 1001; i++)
        jsonw_array_end(&w);
    assert_false(jsonw_end(&w));
}

static void canonical_numbers_do_not_tell_their_type(void **state)
{
    (void)state;
    struct value v = value_double(3.0);
    BUF_AUTO out;
    buf_init(&out, 0);
    value_json(&out, &v, true);
    buf_char(&out, ' ');
    value_json(&out, &v, false);
    assert_string_equal(out.p, "3 3.0");
}

/* What stores JSON as numbers without exponents must not make whole numbers of them, which have 64 bits. */
static void whole_doubles_keep_their_point(void **state)
{
    static const struct {
        double d;
        const char *json;
    } rows[] = {
        {1e14, "100000000000000.0"},
        {1e15, "1000000000000000.0"},
        {-1e21, "-1000000000000000000000.0"},
        {123456789012345678900.0, "123456789012345683968.0"},
        {1e-7, "1e-07"},
        {1.5e-300, "1.5e-300"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        BUF_AUTO out;
        buf_init(&out, 0);
        struct value v = value_double(rows[i].d);
        value_json(&out, &v, false);
        assert_string_equal(out.p, rows[i].json);
    }
    BUF_AUTO longest;
    buf_init(&longest, 0);
    struct value most = value_double(-1.7976931348623157e308);
    value_json(&longest, &most, false);
    assert_int_equal(longest.n, 312);
    assert_true(strtod(longest.p, NULL) <= most.u.d && strtod(longest.p, NULL) >= most.u.d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_compare_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(maps_find_their_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(maps_are_equal_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_compare_item_by_item, setup, teardown),
        cmocka_unit_test(json_is_escaped),
        cmocka_unit_test(writer_streams_what_it_buffers),
        cmocka_unit_test(writer_swallows_the_rest_after_a_failure),
        cmocka_unit_test(writer_refuses_unfinished_and_too_deep),
        cmocka_unit_test(canonical_numbers_do_not_tell_their_type),
        cmocka_unit_test(whole_doubles_keep_their_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
