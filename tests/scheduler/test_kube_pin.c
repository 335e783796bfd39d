/* What a step was admitted with, over what it says itself; and quantities as clusters write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/text/json.h"
#include "scheduler/kube_pin.h"
#include "scheduler/kube_quantity.h"

#define ON_NODE(name)                                                                                                  \
    "{\"weight\":100,\"preference\":{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\","                 \
    "\"values\":[\"" name "\"]}]}}"

static void test_pins(void **state)
{
    static const struct {
        const char *own, *pin, *want, *resource, *kueue;
        uint32_t count;
    } rows[] = {
        {"{\"nodeSelector\":{\"a\":\"1\",\"b\":\"2\"},\"labels\":{\"x\":\"y\"},\"tolerations\":[{\"key\":\"own\"}]}",
         "{\"flavor\":\"f\",\"resource\":\"nvidia.com/"
         "mig-1g.5gb\",\"count\":3,\"nodeSelector\":{\"b\":\"9\",\"c\":\"3\"},"
         "\"tolerations\":[{\"key\":\"gpu\",\"operator\":\"Exists\"}]}",
         "{\"labels\":{\"x\":\"y\"},\"nodeSelector\":{\"a\":\"1\",\"b\":\"9\",\"c\":\"3\"},"
         "\"tolerations\":[{\"key\":\"own\"},{\"key\":\"gpu\",\"operator\":\"Exists\"}]}",
         "nvidia.com/mig-1g.5gb", "", 3},
        {"{\"affinity\":{\"podAffinity\":{},\"nodeAffinity\":{"
         "\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":1}]}}}",
         "{\"flavor\":\"f\",\"resource\":\"r/gpu\",\"count\":2,\"nodes\":[\"n1\",\"n2\"]}",
         "{\"affinity\":{\"podAffinity\":{},\"nodeAffinity\":{"
         "\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":1}," ON_NODE("n1") "," ON_NODE("n2") "]}}}",
         "r/gpu", "", 2},
        {"{}", "{\"flavor\":\"f\",\"nodes\":[\"n1\"]}",
         "{\"affinity\":{\"nodeAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[" ON_NODE("n1") "]}}}",
         "default/gpu", "", 1},
        {"{\"nodeSelector\":{\"a\":\"1\"}}", "{\"kueue\":\"team-a\"}", "{\"nodeSelector\":{\"a\":\"1\"}}",
         "default/gpu", "team-a", 1},
        {"{\"nodeSelector\":{\"a\":\"1\"}}", "", "{\"nodeSelector\":{\"a\":\"1\"}}", "default/gpu", "", 1},
    };
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value own;
        struct err err = {0};
        BUF_AUTO text;
        buf_init(&text, 0);
        assert_true(json_decode(&a, str_of(rows[i].own), &own, &err));
        struct kube_job job = {.cluster = &own, .gpu_resource = STR("default/gpu"), .resources = {.gpu_count = 1}};
        if (!kube_pin_apply(&a, str_of(rows[i].pin), &job, &err)) fail_msg("%s", err.message);
        value_json(&text, job.cluster, false);
        assert_string_equal(text.p, rows[i].want);
        assert_true(str_is(job.gpu_resource, rows[i].resource) && str_is(job.kueue, rows[i].kueue));
        assert_int_equal(job.resources.gpu_count, rows[i].count);
        assert_true(job.claim.device_class.n == 0);
    }
    struct kube_job job = {.resources = {.gpu_count = 1}};
    struct err err = {0};
    const char *claims =
        "{\"flavor\":\"f\",\"claim\":{\"deviceClass\":\"gpu.nvidia.com\",\"selector\":\"x == \\\"y\\\"\"},"
        "\"count\":3}";
    assert_true(kube_pin_apply(&a, str_of(claims), &job, &err));
    assert_true(str_is(job.claim.device_class, "gpu.nvidia.com") && str_is(job.claim.selector, "x == \"y\""));
    assert_int_equal(job.claim.count, 3);
    arena_free(&a);
}

static void test_quantities(void **state)
{
    static const struct {
        const char *text;
        int64_t milli; /* -1 = it is none */
    } rows[] = {{"2", 2000},
                {"3920m", 3920},
                {"0.5", 500},
                {"16Gi", ((int64_t)16 << 30) * 1000},
                {"1k", 1000000},
                {"1e3", 1000000},
                {"", -1},
                {"x", -1},
                {"-1", -1},
                {"1Zi", -1},
                {"nan", -1},
                {"100n", 0},
                {"99999999999Ei", (int64_t)1 << 62}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct value v = value_string(str_of(rows[i].text));
        int64_t got = -1;
        if (!kube_quantity(&v, &got)) got = -1;
        if (got != rows[i].milli) fail_msg("'%s' gives %lld", rows[i].text, (long long)got);
    }
    int64_t got;
    const struct value n = value_int(4), list = {.type = VALUE_LIST};
    assert_true(kube_quantity(&n, &got) && got == 4000);
    assert_false(kube_quantity(&list, &got));
    assert_false(kube_quantity(NULL, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pins), cmocka_unit_test(test_quantities)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
