/* What nodes and pods of a cluster say, as the placer counts it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

#define NEEDS(cpu, more) "{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"" more "}}}"
#define SIDECAR(cpu, more) "{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"" more "}}}"
#define GPUS(n) ",\"example.com/gpu\":\"" n "\""
#define HAS(actual, allocated) /* after a pod's spec */                                                                \
    "},\"status\":{\"containerStatuses\":[{\"name\":\"other\",\"allocatedResources\":{\"cpu\":\"9\"}},{\"name\":"      \
    "\"c\",\"resources\":"                                                                                             \
    "{\"requests\":{\"cpu\":\"" actual "\"}},\"allocatedResources\":{\"cpu\":\"" allocated "\"}}]"
#define RESIZE(reason)                                                                                                 \
    ",\"conditions\":[{\"type\":\"Ready\"},{\"type\":\"PodResizePending\",\"status\":\"True\",\"reason\":\"" reason    \
    "\"}]"
#define OF(instance, run)                                                                                              \
    "\"millrace.dev/instance\":\"" instance "\",\"millrace.dev/run\":\"" run                                           \
    "\",\"millrace.dev/task\":\"2\",\"millrace.dev/attempt\":\"1\""
#define LABELS(run) OF("i1", run)
#define MEMORY(ki) ",\"memory\":\"" ki "Ki\""
#define AND(ki) "\",\"memory\":\"" ki "Ki" /* within the quotes of CPUs */

static void pods_say_what_they_need(void **state)
{
    static const struct {
        const char *what, *labels, *spec;
        int64_t cpu, run;
        uint32_t gpus;
        int64_t ki; /* of memory */
    } rows[] = {
        {"of another installation", OF("i2", "7"), "\"containers\":[" NEEDS("1", "") "]", 1000, 0, 0, 0},
        {"of two containers' memory", "", "\"containers\":[" NEEDS("1", MEMORY("2")) "," NEEDS("1", MEMORY("1")) "]",
         2000, 0, 0, 3},
        {"greedy of memory at its start", "",
         "\"containers\":[" NEEDS("1", MEMORY("2")) "],\"initContainers\":[" NEEDS("1", MEMORY("5")) "," NEEDS(
             "1", MEMORY("4")) "]",
         1000, 0, 0, 5},
        {"with memory that it costs itself", "",
         "\"containers\":[" NEEDS("1", MEMORY("2")) "],\"overhead\":{\"memory\":\"1Ki\"}", 1000, 0, 0, 3},
        {"of somebody else", "", "\"containers\":[" NEEDS("1", "") "]", 1000, 0, 0, 0},
        {"ours", LABELS("7"), "\"containers\":[" NEEDS("1", "") "]", 1000, 7, 0, 0},
        {"of a run that is no number", LABELS("x"), "\"containers\":[" NEEDS("1", "") "]", 1000, 0, 0, 0},
        {"of two containers", "", "\"containers\":[" NEEDS("1", ",\"example.com/gpu\":\"2\"") "," NEEDS("500m", "") "]",
         1500, 0, 2, 0},
        {"greedy at its start", "", "\"containers\":[" NEEDS("1", "") "],\"initContainers\":[" NEEDS("3", "") "]", 3000,
         0, 0, 0},
        {"modest at its start", "", "\"containers\":[" NEEDS("1", "") "],\"initContainers\":[" NEEDS("500m", "") "]",
         1000, 0, 0, 0},
        {"with a sidecar", "",
         "\"containers\":[" NEEDS(
             "1", "") "],\"initContainers\":[{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{"
                      "\"cpu\":\"250m\"}}}]",
         1250, 0, 0, 0},
        {"with what it costs itself", "", "\"containers\":[" NEEDS("1", "") "],\"overhead\":{\"cpu\":\"100m\"}", 1100,
         0, 0, 0},
        {"with GPUs at its start alone", "", "\"initContainers\":[" NEEDS("1", GPUS("8")) "]", 1000, 0, 8, 0},
        {"with more GPUs at its start", "",
         "\"containers\":[" NEEDS("1", GPUS("2")) "],\"initContainers\":[" NEEDS("1", GPUS("3")) "]", 1000, 0, 3, 0},
        {"with a sidecar before its start", "",
         "\"containers\":[" NEEDS("1", "") "],\"initContainers\":[" SIDECAR("2", "") "," NEEDS("3", "") "]", 5000, 0, 0,
         0},
        {"with a sidecar after its start", "",
         "\"containers\":[" NEEDS("1", "") "],\"initContainers\":[" NEEDS("3", "") "," SIDECAR("2", "") "]", 3000, 0, 0,
         0},
        {"with a GPU of a sidecar", "",
         "\"containers\":[" NEEDS("1", GPUS("2")) "],\"initContainers\":[" SIDECAR("1", GPUS("1")) "]", 2000, 0, 3, 0},
        {"that asks as a whole", "",
         "\"resources\":{\"requests\":{\"cpu\":\"4\",\"memory\":\"9Ki\"}},\"containers\":[{}]", 4000, 0, 0, 9},
        {"that asks for CPUs as a whole", "",
         "\"resources\":{\"requests\":{\"cpu\":\"4\"}},\"overhead\":{\"cpu\":\"1\"},\"containers\":[" NEEDS(
             "1", MEMORY("2") GPUS("2")) "," NEEDS("2", "") "]",
         5000, 0, 2, 2},
        {"that is to grow", "", "\"containers\":[" NEEDS("6", GPUS("1")) "]" HAS("1", "1"), 6000, 0, 1, 0},
        {"that is to shrink", "", "\"containers\":[" NEEDS("1", "") "]" HAS("6", "1"), 6000, 0, 0, 0},
        {"that may shrink", "", "\"containers\":[" NEEDS("1", "") "]" HAS("1", "6"), 6000, 0, 0, 0},
        {"that has shrunk", "", "\"containers\":[" NEEDS("1", "") "]" HAS("1", "1"), 1000, 0, 0, 0},
        {"that is to grow later", "", "\"containers\":[" NEEDS("6", "") "]" HAS("1", "1") RESIZE("Deferred"), 6000, 0,
         0, 0},
        {"that cannot grow", "", "\"containers\":[" NEEDS("6", GPUS("1")) "]" HAS("1", "1") RESIZE("Infeasible"), 1000,
         0, 1, 0},
        {"whose memory cannot grow", "",
         "\"containers\":[" NEEDS("1", MEMORY("6")) "]" HAS("1" AND("2"), "1") RESIZE("Infeasible"), 1000, 0, 0, 2},
        {"whose sidecar is to shrink", "",
         "\"containers\":[" NEEDS("1", "") "],\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\","
                                           "\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]},\"status\":{"
                                           "\"initContainerStatuses\":[{\"name\":\"s\",\"allocatedResources\":{"
                                           "\"cpu\":\"6\"}}]",
         7000, 0, 0, 0},
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
        bool same = str_is(STR("u1"), p.uid) && str_is(STR("n1"), p.node) && p.has.cpu == rows[r].cpu &&
                    p.has.memory == rows[r].ki * 1024 && p.id.run == rows[r].run &&
                    (p.has.n_devices > 0 ? p.has.devices[0].n : 0) == rows[r].gpus;
        if (!same) fail_msg("a pod %s reads otherwise", rows[r].what);
        arena_free(&k.arena);
    }
}

/* ---- counting ---- */

#define MACHINE(labels, taints, gpus)                                                                                  \
    "{\"metadata\":{\"name\":\"n1\",\"labels\":{" labels "}},\"spec\":{\"taints\":[" taints "]},\"status\":{" READY    \
    ",\"allocatable\":{\"cpu\":\"8\",\"memory\":\"1Gi\",\"example.com/gpu\":\"" gpus "\"}}}"
#define TAINT(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\",\"effect\":\"NoSchedule\"}"

static void what_changes_is_told_apart(void **state)
{
    static const struct {
        const char *what, *now;
        bool same;
    } rows[] = {
        {"as before", MACHINE("\"zone\":\"a\"", TAINT("t", "v"), "8"), true},
        {"another label", MACHINE("\"zone\":\"b\"", TAINT("t", "v"), "8"), false},
        {"one label more", MACHINE("\"zone\":\"a\",\"disk\":\"ssd\"", TAINT("t", "v"), "8"), false},
        {"another taint", MACHINE("\"zone\":\"a\"", TAINT("t", "w"), "8"), false},
        {"cordoned", MACHINE("\"zone\":\"a\"", TAINT("t", "v") "," TAINT("node.kubernetes.io/unschedulable", ""), "8"),
         false},
        {"no taint", MACHINE("\"zone\":\"a\"", "", "8"), false},
        {"fewer devices", MACHINE("\"zone\":\"a\"", TAINT("t", "v"), "7"), false},
    };
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct nodes k = {0};
        struct known_node before = {0}, now = {0};
        arena_init(&k.arena, 0);
        arena_init(&before.arena, 0);
        arena_init(&now.arena, 0);
        kube_nodes_read_node(&k, &before, parsed(MACHINE("\"zone\":\"a\"", TAINT("t", "v"), "8")));
        kube_nodes_read_node(&k, &now, parsed(rows[r].now));
        if (kube_nodes_same(&before, &now) != rows[r].same) fail_msg("%s", rows[r].what);
        arena_free(&before.arena);
        arena_free(&now.arena);
        arena_free(&k.arena);
    }
}

/* The placer knows of run 1, and of what run 3 has on other nodes. */
static bool counts(const void *ctx, const struct attempt_id *id, struct str node)
{
    (void)ctx;
    return id->run == 1 || (id->run == 3 && !str_is(node, "n1"));
}

static void what_others_have_is_taken_off(void **state)
{
    static const struct {
        const char *what;
        int64_t run;
        const char *node;
        uint32_t taken;
        int64_t cpu;
    } rows[] = {
        {"of an attempt that the placer counts", 1, "n1", 0, 0},  {"of one that it does not", 2, "n1", 3, 500},
        {"of one that it does not count there", 3, "n1", 3, 500}, {"of somebody else", 0, "n1", 3, 500},
        {"on a node that is not known", 0, "n9", 0, 0},           {"without a node", 0, "", 0, 0},
    };
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct nodes k = {0};
        struct known_node n = {0};
        struct known_pod pod = {.id = {rows[r].run, 0, 1, 0},
                                .has = {.cpu = 500, .memory = 7, .devices = {{0, 3}}, .n_devices = 1}};
        struct queue_node *list;
        arena_init(&k.arena, 0);
        arena_init(&n.arena, 0);
        map_init(&k.by_name, 0);
        map_init(&k.by_uid, 0);
        kube_nodes_read_node(&k, &n, parsed(MACHINE("\"zone\":\"a\"", "", "8")));
        map_put(&k.by_name, n.name, (uint64_t)(uintptr_t)&n, NULL);
        k.first_node = &n;
        k.first_pod = &pod;
        snprintf(pod.node, sizeof pod.node, "%s", rows[r].node);
        assert_int_equal(kube_nodes_count(&k, counts, NULL, &arena, &list), 1);
        bool as = list->n_devices == 1 && list->devices->n == 8 && list->devices->taken == rows[r].taken &&
                  list->other_cpu == rows[r].cpu && list->other_memory == (rows[r].cpu > 0 ? 7 : 0);
        if (!as) fail_msg("%s: %u taken", rows[r].what, list->devices->taken);
        map_free(&k.by_name);
        map_free(&k.by_uid);
        arena_free(&n.arena);
        arena_free(&k.arena);
    }
}

static void what_pods_have_is_kept_up(void **state)
{
#define POD(meta, node, cpu)                                                                                           \
    "{\"metadata\":{\"uid\":\"u1\",\"labels\":{" meta "}},\"spec\":{\"nodeName\":\"" node                              \
    "\",\"containers\":[" NEEDS(cpu, GPUS("2")) "]},\"status\":{\"phase\":"
    static const struct { /* one after the other */
        const char *what, *pod;
        bool news;
        int64_t cpu; /* -1 = it is not known */
        enum kube_change change;
    } rows[] = {
        {"without a node", POD("", "", "6") "\"Pending\"}}", false, -1, KUBE_PRESENT},
        {"on its node", POD("", "n1", "6") "\"Pending\"}}", true, 6000, KUBE_PRESENT},
        {"tells of itself", POD("\"a\":\"b\"", "n1", "6") "\"Running\"}}", false, 6000, KUBE_PRESENT},
        {"resized", POD("", "n1", "1") "\"Running\"}}", true, 1000, KUBE_PRESENT},
        {"found to be a step's", POD(LABELS("7"), "n1", "1") "\"Running\"}}", true, 1000, KUBE_PRESENT},
        {"over", POD(LABELS("7"), "n1", "1") "\"Succeeded\"}}", true, -1, KUBE_PRESENT},
        {"over still", POD(LABELS("7"), "n1", "1") "\"Succeeded\"}}", false, -1, KUBE_PRESENT},
        {"there again", POD("", "n1", "2") "\"Running\"}}", true, 2000, KUBE_PRESENT},
        {"resized in memory", POD("", "n1", "2" AND("3")) "\"Running\"}}", true, 2000, KUBE_PRESENT},
        {"gone", POD("", "n1", "2") "\"Running\"}}", true, -1, KUBE_DELETED},
    };
    (void)state;
    struct nodes k = {.instance = STR("i1")};
    arena_init(&k.arena, 0);
    map_init(&k.by_uid, 0);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        uint64_t before = k.generation;
        kube_nodes_hear_pod(&k, rows[r].change, parsed(rows[r].pod));
        int64_t cpu = k.first_pod != NULL ? k.first_pod->has.cpu : -1;
        if (cpu != rows[r].cpu || (k.generation != before) != rows[r].news)
            fail_msg("%s: it has %lld", rows[r].what, (long long)cpu);
        assert_int_equal(k.by_uid.n, rows[r].cpu >= 0);
    }
    map_free(&k.by_uid);
    arena_free(&k.arena);
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
        cmocka_unit_test(nodes_say_what_they_have),   cmocka_unit_test(pods_say_what_they_need),
        cmocka_unit_test(what_changes_is_told_apart), cmocka_unit_test(what_others_have_is_taken_off),
        cmocka_unit_test(what_pods_have_is_kept_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
