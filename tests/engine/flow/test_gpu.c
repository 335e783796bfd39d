/* GPUs as steps ask for them: product names as nodes of a cluster have them, which of a machine's serve a flavor, and
 * the words for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/flow/gpu.h"

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

static void products_are_named_as_on_nodes(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"NVIDIA A100-SXM4-40GB", "", "NVIDIA-A100-SXM4-40GB"},
        {"NVIDIA H100 80GB HBM3", "", "NVIDIA-H100-80GB-HBM3"},
        {"Tesla T4", "", "Tesla-T4"},
        {"NVIDIA A100-SXM4-40GB", "1g.5gb", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str product = gpu_product(&arena, str_of(rows[i][0]), str_of(rows[i][1]));
        if (!str_is(product, rows[i][2])) fail_msg("%s: %.*s", rows[i][0], STR_ARG(product));
    }
}

static void flavors_are_words_of_the_product(void **state)
{
    (void)state;
    static const struct {
        const char *product, *flavor;
        bool part, is;
    } rows[] = {
        {"NVIDIA-A100-SXM4-40GB", "a100", false, true},
        {"NVIDIA-A100-SXM4-40GB", "A100", false, true},
        {"NVIDIA-A100-SXM4-40GB", "a100-40gb", false, true},
        {"NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-SXM4-40GB", false, true},
        {"NVIDIA-A100-SXM4-40GB", "nvidia_a100", false, true},
        {"NVIDIA-A100-SXM4-40GB", "a10", false, false},
        {"NVIDIA-A100-SXM4-40GB", "a1000", false, false},
        {"NVIDIA-A100-SXM4-40GB", "a100-80gb", false, false},
        {"NVIDIA-A100-SXM4-40GB", "40gb-a100", false, false}, /* in that order */
        {"NVIDIA-A100-SXM4-40GB", "a100-a100", false, false},
        {"NVIDIA-A10", "a100", false, false},
        {"NVIDIA-GeForce-RTX-4090", "rtx-4090", false, true},
        {"NVIDIA-GeForce-RTX-4090", "rtx4090", false, false},
        {"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "a100", true, false}, /* a part of one is none */
        {"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "a100-mig", true, false},
        {"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "1g-5gb", true, true},
        {"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "a100-1g-5gb", true, true},
        {"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "a100-mig-1g-5gb", true, true},
        {"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "1g-10gb", true, false},
        {"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "h100-1g-5gb", true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct gpu g = {.product = str_of(rows[i].product), .part = rows[i].part};
        if (gpu_is_of(&g, str_of(rows[i].flavor)) != rows[i].is) fail_msg("%s of %s", rows[i].product, rows[i].flavor);
    }
}

static void who_says_nothing_gets_whole_ones(void **state)
{
    (void)state;
    const struct gpu whole = {.product = STR("NVIDIA-A100")},
                     part = {.product = STR("NVIDIA-A100-MIG-1g.5gb"), .part = true};
    const struct {
        struct gpu gpus[3];
        size_t n;
        const char *flavor, *products;
        uint32_t serving;
    } rows[] = {
        {{whole, whole}, 0, "", "", 0},
        {{whole, whole}, 2, "", "", 2},
        {{whole, part, part}, 3, "", "", 1},
        {{part, part}, 2, "", "", 2},
        {{whole, part, part}, 3, "a100", "", 1},
        {{part, part}, 2, "a100", "", 0},
        {{whole, part, part}, 3, "1g-5gb", "", 2},
        {{whole, part, part}, 3, "big", "NVIDIA-A100", 1}, /* whatever the flavor is called */
        {{whole, part, part}, 3, "small", "NVIDIA-A100-MIG-1g.5gb", 2},
        {{whole, part, part}, 3, "any", "Tesla-T4\nNVIDIA-A100-MIG-1g.5gb\nNVIDIA-A100", 3},
        {{whole, part, part}, 3, "", "NVIDIA-A1", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool serves[3];
        const struct gpu_want w = {.flavor = str_of(rows[i].flavor), .products = str_of(rows[i].products)};
        uint32_t n = gpu_serving(rows[i].gpus, rows[i].n, &w, serves), counted = 0;
        for (size_t k = 0; k < rows[i].n; k++)
            counted += serves[k];
        if (n != rows[i].serving || n != counted) fail_msg("row %zu: %u, %u", i, n, counted);
    }
}

static void profiles_are_in_products(void **state)
{
    (void)state;
    struct str name;
    assert_true(str_is(gpu_profile(STR("NVIDIA-A100-MIG-1g.5gb"), &name), "1g.5gb") && str_is(name, "NVIDIA-A100"));
    assert_true(str_is(gpu_profile(STR("Tesla-T4"), &name), "") && str_is(name, "Tesla-T4"));
}

static void wants_are_said_in_words(void **state)
{
    (void)state;
    static const struct {
        struct resources asked;
        uint32_t count, milli;
        const char *text;
    } rows[] = {
        {{.gpu_count = 0}, 0, 1000, "0 GPUs"},
        {{.gpu_count = 1}, 1, 1000, "1 GPU"},
        {{.gpu_count = 8}, 8, 1000, "8 GPUs"},
        {{.gpu_count = 2, .gpu_flavor = STR_INIT("h100")}, 2, 1000, "2 × h100"},
        {{.gpu_count = 1, .gpu_share = 0.5}, 1, 500, "50% of one GPU"},
        {{.gpu_count = 1, .gpu_share = 0.125, .gpu_flavor = STR_INIT("a100")}, 1, 125, "12.5% of one a100"},
        {{.gpu_count = 1, .gpu_share = 0.3333, .gpu_flavor = STR_INIT("t4")}, 1, 333, "33.3% of one t4"},
        {{.gpu_count = 1, .gpu_share = 0.00001}, 1, 1, "0.1% of one GPU"},
        {{.gpu_count = 1, .gpu_share = 0.9999}, 1, 1000, "1 GPU"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gpu_want w = gpu_wanted(&rows[i].asked);
        BUF_AUTO text;
        buf_init(&text, 0);
        gpu_want_text(&w, &text);
        if (w.count != rows[i].count || w.milli != rows[i].milli || !str_is(buf_view(&text), rows[i].text))
            fail_msg("%s: %u of %u, %.*s", rows[i].text, w.count, w.milli, STR_ARG(buf_view(&text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_named_as_on_nodes),   cmocka_unit_test(flavors_are_words_of_the_product),
        cmocka_unit_test(who_says_nothing_gets_whole_ones), cmocka_unit_test(profiles_are_in_products),
        cmocka_unit_test(wants_are_said_in_words),
    };
    return cmocka_run_group_tests_name("engine/flow/gpu", tests, setup, teardown);
}
