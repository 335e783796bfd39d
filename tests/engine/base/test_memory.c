/* Arenas, buffers and maps: what they promise about room, caps and growth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/map.h"

static void arena_gives_zeroed_aligned_pieces(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    for (int round = 0; round < 3; round++) {
        for (size_t n = 0; n < 3000; n += 7) {
            unsigned char *p = arena_alloc(&a, n);
            assert_int_equal((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xAB, n);
        }
        assert_non_null(arena_alloc(&a, 5 << 20)); /* beyond every block */
        arena_reset(&a);
        assert_int_equal(a.used, 0);
    }
    arena_free(&a);
}

static void arena_cap_is_sticky(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100);
    arena_alloc(&a, 100);
    assert_false(a.over);
    assert_non_null(arena_alloc(&a, 1));
    assert_true(a.over);
    arena_reset(&a);
    assert_false(a.over);
    arena_free(&a);
}

static void arena_grows_vectors(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    uint32_t *v = NULL;
    size_t room = 0;
    for (uint32_t i = 0; i < 50000; i++) {
        if (i == room) {
            size_t bigger = room ? room * 2 : 1;
            v = arena_grow(&a, v, room * sizeof *v, bigger * sizeof *v);
            assert_int_equal(v[bigger - 1], 0);
            room = bigger;
        }
        v[i] = i;
        if (i % 1000 == 0) arena_alloc(&a, 3); /* something in between: the next growth has to move */
    }
    for (uint32_t i = 0; i < 50000; i++)
        assert_int_equal(v[i], i);
    arena_free(&a);
}

static void arena_formats_text(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    struct str s = arena_printf(&a, "%s-%d", "x", 7);
    assert_true(str_is(s, "x-7"));
    assert_int_equal(s.p[s.n], 0);
    assert_int_equal(arena_printf(&a, "%0900d", 1).n, 900);
    assert_string_equal(arena_cstr(&a, STR("abc")), "abc");
    assert_int_equal(arena_str(&a, (struct str){NULL, 0}).n, 0);
    arena_free(&a);
}

static void buf_keeps_what_fits(void **state)
{
    (void)state;
    BUF_AUTO b;
    buf_init(&b, 10);
    assert_int_equal(buf_view(&b).n, 0);
    assert_true(buf_c(&b, "12345"));
    assert_true(buf_printf(&b, "%d", 678));
    assert_false(buf_c(&b, "9ab"));
    assert_true(b.over);
    assert_false(buf_char(&b, '9')); /* no text with a hole in it */
    assert_string_equal(b.p, "12345678");
    buf_reset(&b);
    assert_true(buf_c(&b, "0123456789"));
    assert_false(b.over);
}

static void buf_formats_long_text(void **state)
{
    (void)state;
    BUF_AUTO b;
    buf_init(&b, 0);
    for (int i = 0; i < 100; i++)
        assert_true(buf_printf(&b, "%0999d,", i));
    assert_int_equal(b.n, 100000);
    assert_int_equal(strlen(b.p), b.n);
}

static void map_agrees_with_an_array(void **state)
{
    (void)state;
    enum { KEYS = 700 };
    static char names[KEYS][8];
    static int64_t truth[KEYS];
    MAP_AUTO m;
    map_init(&m, 42);
    unsigned seed = 7;
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "k%zu", i);
        truth[i] = -1;
    }
    assert_false(map_get(&m, STR("k1"), NULL));
    assert_false(map_del(&m, STR("k1")));
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1103515245 + 12345;
        size_t k = (seed >> 8) % KEYS;
        struct str key = str_of(names[k]);
        if (seed >> 30 == 0) {
            assert_int_equal(map_del(&m, key), truth[k] >= 0);
            truth[k] = -1;
        } else {
            uint64_t old = 0;
            assert_int_equal(map_put(&m, key, (uint64_t)round, &old), truth[k] >= 0);
            if (truth[k] >= 0) assert_int_equal(old, truth[k]);
            truth[k] = round;
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t got = 0;
        assert_int_equal(map_get(&m, str_of(names[i]), &got), truth[i] >= 0);
        if (truth[i] >= 0) assert_int_equal(got, truth[i]);
        n += truth[i] >= 0;
    }
    assert_int_equal(m.n, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_pieces),
        cmocka_unit_test(arena_cap_is_sticky),
        cmocka_unit_test(arena_grows_vectors),
        cmocka_unit_test(arena_formats_text),
        cmocka_unit_test(buf_keeps_what_fits),
        cmocka_unit_test(buf_formats_long_text),
        cmocka_unit_test(map_agrees_with_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
