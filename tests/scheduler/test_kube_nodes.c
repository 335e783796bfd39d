/* What nodes and pods of a cluster say, as the placer counts it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/text/json.h"
#include "scheduler/kube_nodes_inner.h"

static struct arena arena;

static struct value *parsed(const char *text)
{
    struct value *v = arena_new(&arena, struct value);
    struct err err = {0};
    if (!json_parse(&arena, str_of(text), 0, v, &err)) fail_msg("%s: %s", text, err.message);
    return v;
}

#define READY "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"

static void nodes_say_what_they_have(void **state)
{
    static const struct {
        const char *what, *spec, *status;
        bool schedulable;
        size_t taints; /* that a step may tolerate */
        int64_t cpu, memory;
        uint32_t devices, gpus; /* kinds of devices; of the first */
    } rows[] = {
        {"ready", "", READY ",\"allocatable\":{\"cpu\":\"3920m\",\"memory\":\"2Ki\",\"example.com/gpu\":\"8\"}", true,
         0, 3920, 2048, 1, 8},
        {"not ready", "", "\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]", false, 0, 0, 0, 0, 0},
        {"says nothing", "", "", false, 0, 0, 0, 0, 0},
        {"cordoned", "\"unschedulable\":true", READY, false, 0, 0, 0, 0, 0},
        {"not well", "\"taints\":[{\"key\":\"node.kubernetes.io/unreachable\",\"effect\":\"NoExecute\"}]", READY, false,
         0, 0, 0, 0, 0},
        {"for GPUs alone", "\"taints\":[{\"key\":\"example.com/gpu\",\"value\":\"yes\",\"effect\":\"NoSchedule\"}]",
         READY, true, 1, 0, 0, 0, 0},
        {"rather not", "\"taints\":[{\"key\":\"example.com/old\",\"effect\":\"PreferNoSchedule\"}]", READY, true, 0, 0,
         0, 0, 0},
        {"what is no device", "",
         READY ",\"allocatable\":{\"pods\":\"110\",\"ephemeral-storage\":\"1Gi\",\"attachable-volumes-x/y\":\"5\"}",
         true, 0, 0, 0, 0, 0},
    };
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct nodes k = {0};
        struct known_node n = {0};
        arena_init(&k.arena, 0);
        arena_init(&n.arena, 0);
        kube_nodes_read_node(
            &k, &n,
            parsed(arena_printf(&arena,
                                "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"zone\":\"a\"}},\"spec\":{%s},"
                                "\"status\":{%s}}",
                                rows[r].spec, rows[r].status)
                       .p));
        bool same = str_is(n.name, "n1") && n.node.n_labels == 1 && n.node.schedulable == rows[r].schedulable &&
                    n.node.n_taints == rows[r].taints && n.node.cpu == rows[r].cpu && n.node.memory == rows[r].memory &&
                    n.n_devices == rows[r].devices && (n.n_devices == 0 || n.devices[0].n == rows[r].gpus);
        if (!same) fail_msg("a node that is %s reads otherwise", rows[r].what);
        if (!kube_nodes_same(&n, &n)) fail_msg("a node that is %s is not itself", rows[r].what);
        arena_free(&n.arena);
        arena_free(&k.arena);
    }
}

#define NEEDS(cpu, more) "{\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"" more "}}}"
#define LABELS(run)                                                                                                    \
    "\"millrace.dev/instance\":\"i1\",\"millrace.dev/run\":\"" run                                                     \
    "\",\"millrace.dev/task\":\"2\",\"millrace.dev/attempt\":\"1\""

static void pods_say_what_they_need(void **state)
{
    static const struct {
        const char *what, *labels, *spec;
        int64_t cpu, run;
        uint32_t gpus;
    } rows[] = {
        {"of somebody else", "", "\"containers\":[" NEEDS("1", "") "]", 1000, 0, 0},
        {"ours", LABELS("7"), "\"containers\":[" NEEDS("1", "") "]", 1000, 7, 0},
        {"of a run that is no number", LABELS("x"), "\"containers\":[" NEEDS("1", "") "]", 1000, 0, 0},
        {"of two containers", "", "\"containers\":[" NEEDS("1", ",\"example.com/gpu\":\"2\"") "," NEEDS("500m", "") "]",
         1500, 0, 2},
        {"greedy at its start", "", "\"containers\":[" NEEDS("1", "") "],\"initContainers\":[" NEEDS("3", "") "]", 3000,
         0, 0},
        {"modest at its start", "", "\"containers\":[" NEEDS("1", "") "],\"initContainers\":[" NEEDS("500m", "") "]",
         1000, 0, 0},
        {"with a sidecar", "",
         "\"containers\":[" NEEDS(
             "1", "") "],\"initContainers\":[{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{"
                      "\"cpu\":\"250m\"}}}]",
         1250, 0, 0},
        {"with what it costs itself", "", "\"containers\":[" NEEDS("1", "") "],\"overhead\":{\"cpu\":\"100m\"}", 1100,
         0, 0},
    };
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct nodes k = {.instance = STR("i1")};
        struct known_pod p = {0};
        arena_init(&k.arena, 0);
        kube_nodes_read_pod(
            &k, &p,
            parsed(arena_printf(&arena,
                                "{\"metadata\":{\"uid\":\"u1\",\"labels\":{%s}},\"spec\":{\"nodeName\":\"n1\","
                                "%s}}",
                                rows[r].labels, rows[r].spec)
                       .p));
        bool same = str_is(STR("u1"), p.uid) && str_is(STR("n1"), p.node) && p.cpu == rows[r].cpu &&
                    p.id.run == rows[r].run && (p.n_devices > 0 ? p.devices[0].n : 0) == rows[r].gpus;
        if (!same) fail_msg("a pod %s reads otherwise", rows[r].what);
        arena_free(&k.arena);
    }
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_say_what_they_have),
        cmocka_unit_test(pods_say_what_they_need),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
