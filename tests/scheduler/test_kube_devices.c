/* Devices of slices and claims, counted; and the template by which a pod asks for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/json.h"
#include "scheduler/kube_claim.h"
#include "scheduler/kube_devices.h"

static struct arena arena;

static const struct queue_attribute is_big[] = {
    {STR_INIT("gpu.example.com"), STR_INIT("model"), QUEUE_ATTRIBUTE_STRING, STR_INIT("Big \"1\""), 0},
    {STR_INIT("other.org"), STR_INIT("rack"), QUEUE_ATTRIBUTE_INT, {"", 0}, -7},
    {STR_INIT("gpu.example.com"), STR_INIT("mig"), QUEUE_ATTRIBUTE_BOOL, {"", 0}, 0}};
static const struct queue_capacity has_40 = {STR_INIT("gpu.example.com"), STR_INIT("memory"), (int64_t)40 << 30};
static const struct flavor_doc flavors[] = {
    {.name = STR_INIT("big"),
     .device_class = STR_INIT("gpu.example.com"),
     .devices = {STR_INIT("gpu.example.com"), is_big, &has_40, 3, 1}},
    {.name = STR_INIT("plugin"), .resource = STR_INIT("nvidia.com/gpu")},
    {.name = STR_INIT("any"),
     .device_class = STR_INIT("gpu.example.com"),
     .devices = {.driver = STR_INIT("gpu.example.com")}},
};

static struct value parsed(const char *text)
{
    struct value v;
    struct err err = {0};
    if (!json_decode(&arena, str_of(text), &v, &err)) fail_msg("%s: %s", text, err.message);
    return v;
}

/* ---- what fits ---- */

#define BIG                                                                                                            \
    "\"attributes\":{\"model\":{\"string\":\"Big "                                                                     \
    "\\\"1\\\"\"},\"other.org/rack\":{\"int\":-7},\"mig\":{\"bool\":false}}"
#define MEMORY(x) "\"capacity\":{\"gpu.example.com/memory\":{\"value\":\"" x "\"}}"

static void test_fits(void **state)
{
    static const struct {
        const char *name, *device;
        bool fits;
    } rows[] = {
        {"as asked", BIG "," MEMORY("40Gi"), true},
        {"more", BIG "," MEMORY("80Gi"), true},
        {"bytes", BIG "," MEMORY("42949672960"), true},
        {"a byte less", BIG "," MEMORY("42949672959"), false},
        {"no capacity", BIG, false},
        {"another domain's", BIG ",\"capacity\":{\"other.org/memory\":{\"value\":\"80Gi\"}}", false},
        {"nothing", "\"attributes\":{}," MEMORY("80Gi"), false},
        {"another type",
         "\"attributes\":{\"model\":{\"string\":\"Big \\\"1\\\"\"},\"other.org/rack\":{\"string\":\"-7\"},"
         "\"mig\":{\"bool\":false}}," MEMORY("80Gi"),
         false},
        {"a version",
         "\"attributes\":{\"model\":{\"version\":\"1.0.0\"},\"other.org/rack\":{\"int\":-7},"
         "\"mig\":{\"bool\":false}}," MEMORY("80Gi"),
         false},
        {"another value",
         "\"attributes\":{\"model\":{\"string\":\"Big \\\"1\\\"\"},\"other.org/rack\":{\"int\":7},"
         "\"mig\":{\"bool\":false}}," MEMORY("80Gi"),
         false},
    };
    (void)state;
    arena_reset(&arena);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_slice s;
        struct value v = parsed(arena_printf(&arena,
                                             "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"driver\":\"gpu.example.com\","
                                             "\"nodeName\":\"n\",\"pool\":{\"name\":\"p\",\"generation\":1,"
                                             "\"resourceSliceCount\":1},\"devices\":[{\"name\":\"d\",%s}]}}",
                                             rows[i].device)
                                    .p);
        assert_true(kube_slice_read(&arena, &v, &s));
        assert_int_equal(s.n_devices, 1);
        if (kube_device_fits(&flavors[0].devices, s.driver, &s.devices[0]) != rows[i].fits)
            fail_msg("%s", rows[i].name);
        assert_true(kube_device_fits(&flavors[2].devices, s.driver, &s.devices[0]));
        assert_false(kube_device_fits(&flavors[2].devices, STR("gpu.example.org"), &s.devices[0]));
    }
}

/* ---- counting ---- */

#define SLICE(name, node, pool, generation, of, devices)                                                               \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"driver\":\"gpu.example.com\"," node                             \
    "\"pool\":{\"name\":\"" pool "\",\"generation\":" generation ",\"resourceSliceCount\":" of                         \
    "},\"devices\":[" devices "]}}"
#define ON(node) "\"nodeName\":\"" node "\","
#define BIG_ONE(name) "{\"name\":\"" name "\"," BIG "," MEMORY("80Gi") "}"
#define PLAIN(name) "{\"name\":\"" name "\"}"
#define CLAIM(uid, pod, device)                                                                                        \
    "{\"metadata\":{\"uid\":\"" uid "\",\"ownerReferences\":[{\"kind\":\"Pod\",\"uid\":\"" pod "\"}]},"                \
    "\"status\":{\"allocation\":{\"devices\":{\"results\":[" device "]}}}}"
#define GOT(pool, device, more)                                                                                        \
    "{\"driver\":\"gpu.example.com\",\"pool\":\"" pool "\",\"device\":\"" device "\"" more "}"

static bool of_ours(const void *ctx, struct str pod)
{
    (void)ctx;
    return str_starts(pod, "ours");
}

/* "n1 big+any 2/1" of each group: node, flavors, how many, how many taken. */
static void expect(const struct kube_devices *d, const char *name, const char *want)
{
    struct kube_device_group *groups;
    size_t n = kube_devices_count(d, of_ours, NULL, &arena, &groups);
    BUF_AUTO text;
    buf_init(&text, 0);
    for (size_t pass = 0; pass < 2; pass++) /* by node */
        for (size_t i = 0; i < n; i++) {
            const struct kube_device_group *g = &groups[i];
            if (str_is(g->node, "n1") != (pass == 0)) continue;
            buf_printf(&text, "%s%.*s ", text.n > 0 ? ", " : "", STR_ARG(g->node));
            for (size_t f = 0; f < g->devices.n_of; f++)
                buf_printf(&text, "%s%.*s", f > 0 ? "+" : "", STR_ARG(g->devices.of[f]));
            buf_printf(&text, " %u/%u", g->devices.n, g->devices.taken);
        }
    buf_char(&text, '\0');
    if (strcmp(text.p, want) != 0) fail_msg("%s: %s, not %s", name, text.p, want);
}

static void hear(struct kube_devices *d, bool deleted, const char *object)
{
    const struct value v = parsed(object);
    if (value_get(&v, "spec") != NULL || value_get(value_get(&v, "metadata"), "name") != NULL)
        (void)kube_devices_hear_slice(d, deleted, &v);
    else
        (void)kube_devices_hear_claim(d, deleted, &v);
}

static void test_count(void **state)
{
    static const struct {
        const char *name;
        bool deleted;
        const char *object, *want;
    } rows[] = {
        {"two devices", false, SLICE("a", ON("n1"), "p", "1", "1", PLAIN("d0") "," PLAIN("d1")), "n1 any 2/0"},
        {"one of them by a step", false, CLAIM("c0", "ours-1", GOT("p", "d0", "")), "n1 any 2/0"},
        {"the other by somebody", false, CLAIM("c1", "theirs", GOT("p", "d1", "")), "n1 any 2/1"},
        {"the first by both", false, CLAIM("c2", "theirs", GOT("p", "d0", "")), "n1 any 2/2"},
        {"only watched", false, CLAIM("c2", "theirs", GOT("p", "d0", ",\"adminAccess\":true")), "n1 any 2/1"},
        {"of another pool", false, CLAIM("c1", "theirs", GOT("q", "d1", "")), "n1 any 2/0"},
        {"a newer generation, half of it", false, SLICE("b", ON("n1"), "p", "2", "2", BIG_ONE("d0") "," BIG_ONE("d7")),
         "n1 big+any 2/1"},
        {"all of it", false, SLICE("c", ON("n1"), "p", "2", "2", PLAIN("d1")), "n1 any 1/0, n1 big+any 2/0"},
        {"an older one is told again", false, SLICE("a", ON("n1"), "p", "1", "1", PLAIN("d0")),
         "n1 any 1/0, n1 big+any 2/0"},
        {"it is gone", true, "{\"metadata\":{\"name\":\"a\"}}", "n1 any 1/0, n1 big+any 2/0"},
        {"a slice is missing", true, "{\"metadata\":{\"name\":\"c\"}}", "n1 big+any 2/1"},
        {"the step is over", true, "{\"metadata\":{\"uid\":\"c0\"}}", "n1 big+any 2/2"},
        {"nobody's node", false, SLICE("d", "\"allNodes\":true,", "net", "1", "1", PLAIN("x")), "n1 big+any 2/2"},
        {"a node each", false,
         SLICE("d", "\"perDeviceNodeSelection\":true,", "net", "1", "1",
               "{\"name\":\"x\",\"nodeName\":\"n2\"},{\"name\":\"y\",\"allNodes\":true}"),
         "n1 big+any 2/2, n2 any 1/0"},
        {"a part of one", false,
         SLICE("d", ON("n2"), "net", "1", "1", PLAIN("x") ",{\"name\":\"y\",\"consumesCounters\":[{}]}"),
         "n1 big+any 2/2, n2 any 1/0"},
        {"a tainted one", false,
         SLICE("d", ON("n2"), "net", "1", "1",
               PLAIN("x") ",{\"name\":\"y\",\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]},"
                          "{\"name\":\"z\",\"taints\":[{\"key\":\"k\",\"effect\":\"None\"}]}"),
         "n1 big+any 2/2, n2 any 3/1"},
        {"no driver of ours", false,
         "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"driver\":\"nic\",\"nodeName\":\"n2\",\"pool\":{\"name\":\"net\","
         "\"generation\":1,\"resourceSliceCount\":1},\"devices\":[{\"name\":\"x\"}]}}",
         "n1 big+any 2/2"},
        {"no slice any more", false, "{\"metadata\":{\"name\":\"b\"},\"spec\":{}}", ""},
    };
    struct kube_devices *d = kube_devices_new();
    (void)state;
    arena_reset(&arena);
    assert_int_equal(kube_devices_flavors(d, flavors, 3), 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hear(d, rows[i].deleted, rows[i].object);
        expect(d, rows[i].name, rows[i].want);
    }
    hear(d, false, SLICE("a", ON("n1"), "p", "1", "1", BIG_ONE("d0")));
    assert_int_equal(kube_devices_flavors(d, flavors, 1), 1); /* what is there is matched anew */
    expect(d, "one flavor", "n1 big 1/0");
    assert_int_equal(kube_devices_flavors(d, NULL, 0), 0);
    expect(d, "no flavor", "");
    kube_devices_free(d);
}

static void test_what_counts(void **state)
{
    struct kube_devices *d = kube_devices_new();
    (void)state;
    arena_reset(&arena);
    const struct value claim = parsed(CLAIM("c", "x", GOT("p", "d", ""))), idle = parsed(CLAIM("c", "x", "")),
                       other = parsed(CLAIM("c", "x", GOT("p", "e", "")));
    assert_false(kube_devices_hear_claim(d, false, &idle));
    assert_true(kube_devices_hear_claim(d, false, &claim));
    assert_false(kube_devices_hear_claim(d, false, &claim)); /* its reservation, its conditions */
    assert_true(kube_devices_hear_claim(d, false, &other));
    assert_true(kube_devices_hear_claim(d, false, &idle));
    assert_false(kube_devices_hear_claim(d, true, &idle));
    kube_devices_free(d);
}

/* ---- the claim ---- */

static void test_claim(void **state)
{
    char name[KUBE_TEMPLATE_NAME], other[KUBE_TEMPLATE_NAME];
    (void)state;
    arena_reset(&arena);
    BUF_AUTO selector, text;
    buf_init(&selector, 0);
    buf_init(&text, 0);
    kube_claim_selector(&flavors[0].devices, &selector);
    buf_char(&selector, '\0');
    assert_string_equal(
        selector.p,
        "device.driver == \"gpu.example.com\""
        " && \"model\" in device.attributes[\"gpu.example.com\"] && device.attributes[\"gpu.example.com\"][\"model\"]"
        " == \"Big \\\"1\\\"\""
        " && \"rack\" in device.attributes[\"other.org\"] && device.attributes[\"other.org\"][\"rack\"] == -7"
        " && \"mig\" in device.attributes[\"gpu.example.com\"] && device.attributes[\"gpu.example.com\"][\"mig\"] =="
        " false"
        " && \"memory\" in device.capacity[\"gpu.example.com\"] && device.capacity[\"gpu.example.com\"][\"memory\"]"
        ".compareTo(quantity(\"42949672960\")) >= 0");
    struct kube_claim c = {STR("gpu.example.com"), STR("true"), 2};
    kube_claim_template_name(&c, STR("i"), name);
    assert_true(strlen(name) < KUBE_TEMPLATE_NAME && strncmp(name, "millrace-gpu-", 13) == 0);
    kube_claim_template_json(&c, STR("i"), &text);
    buf_char(&text, '\0');
    const struct value v = parsed(text.p);
    const struct value *spec = value_get(value_get(&v, "spec"), "spec");
    const struct value *requests = value_get(value_get(spec, "devices"), "requests");
    assert_true(requests != NULL && requests->u.list.n == 1);
    const struct value *exactly = value_get(&requests->u.list.items[0], "exactly");
    assert_true(value_get(exactly, "count")->u.i == 2);
    assert_true(str_is(value_get(exactly, "deviceClassName")->u.s, "gpu.example.com"));
    assert_true(str_is(value_get(value_get(&v, "metadata"), "name")->u.s, name));
    const struct {
        const char *class, *selector, *instance;
        uint32_t count;
    } others[] = {{"gpu", "true", "i", 2},
                  {"gpu.example.com", "false", "i", 2},
                  {"gpu.example.com", "true", "j", 2},
                  {"gpu.example.com", "true", "i", 1}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        c = (struct kube_claim){str_of(others[i].class), str_of(others[i].selector), others[i].count};
        kube_claim_template_name(&c, str_of(others[i].instance), other);
        assert_string_not_equal(name, other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fits), cmocka_unit_test(test_count),
                                       cmocka_unit_test(test_what_counts), cmocka_unit_test(test_claim)};
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&arena);
    return failed;
}
