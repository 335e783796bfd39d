/* JSON of API servers: what is left out of it before it is parsed, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/kube/client.h"

struct json_case {
    const char *text, *left; /* NULL: refused */
};

static const struct json_case CASES[] = {
    {"{\"managedFields\":[{\"f:a\":{\"[\":\"]\",\"k:{\\\"x\\\":1}\":[[]]}}],\"name\":\"n\"}",
     "{\"managedFields\":[],\"name\":\"n\"}"},
    {"[{\"managedFields\":[1],\"a\":1},{\"managedFields\":[{}],\"a\":2}]",
     "[{\"managedFields\":[],\"a\":1},{\"managedFields\":[],\"a\":2}]"},
    {"{\"opaque\":{\"driver\":\"d\",\"parameters\":{\"a\":18446744073709551615,\"a\":\"\\ud800}\"}}}",
     "{\"opaque\":{}}"},
    {"{\"devices\":[{\"data\":{\"a\":1e999},\"pool\":\"p\"}]}", "{\"devices\":[{\"data\":{},\"pool\":\"p\"}]}"},
    /* Text that looks like it: quotes are escaped there. */
    {"{\"a\":\"\\\"managedFields\\\":[1\",\"b\":1}", "{\"a\":\"\\\"managedFields\\\":[1\",\"b\":1}"},
    {"{\"managedFields\":[\"\\\\\"],\"a\":\"\\\\\"}", "{\"managedFields\":[],\"a\":\"\\\\\"}"},
    {"{\"managedFields\":{\"a\":1}}", "{\"managedFields\":{\"a\":1}}"},
    {"{\"managedFields\":[1", NULL},
    {"{\"managedFields\":[\"", NULL},
    {"{\"managedFields\":[\"\\", NULL},
    {"", NULL},
    /* A step may write U+0000, which values cannot hold. */
    {"{\"a\":\"x\\u0000y\\\\u0000\"}", "{\"a\":\"x\xEF\xBF\xBDy\\\\u0000\"}"},
};

static void what_nobody_asks_is_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct arena a;
        struct value v;
        struct err err = {0};
        arena_init(&a, 0);
        size_t n = strlen(CASES[i].text);
        char *text = malloc(n + 1); /* a sanitizer sees who reads on */
        assert_non_null(text);
        memcpy(text + 1, CASES[i].text, n);
        bool ok = kube_json(&a, (struct str){text + 1, n}, &v, &err);
        assert_int_equal(ok, CASES[i].left != NULL);
        if (ok) {
            BUF_AUTO out;
            buf_init(&out, 0);
            value_json(&out, &v, false);
            assert_true(str_eq(buf_view(&out), str_of(CASES[i].left)));
        } else {
            assert_int_not_equal(err.code, ERR_NONE);
        }
        free(text);
        arena_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_nobody_asks_is_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
