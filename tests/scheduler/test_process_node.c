/* This machine as the placer sees it: what it has, in the words of a cluster's labels, and who has it. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/os/fs.h"
#include "scheduler/process_node.h"

static const struct gpu machine[] = {
    {.uuid = STR_INIT("GPU-0"), .product = STR_INIT("NVIDIA-A100"), .memory_bytes = (int64_t)40960 << 20},
    {.uuid = STR_INIT("GPU-1"), .product = STR_INIT("Tesla-T4"), .memory_bytes = (int64_t)15360 << 20},
    {.uuid = STR_INIT("GPU-2"), .product = STR_INIT("NVIDIA-A100"), .memory_bytes = (int64_t)40960 << 20},
    {.uuid = STR_INIT("MIG-a"),
     .product = STR_INIT("NVIDIA-A100-MIG-1g.5gb+me"),
     .part = true,
     .memory_bytes = (int64_t)4864 << 20},
};
static const struct gpu_want one = {.count = 1, .milli = GPU_WHOLE}, half = {.count = 1, .milli = 500};

static char folder[] = "/tmp/millrace-node-XXXXXX";
static struct arena arena;
static struct gpus *gpus;
static struct process_node *node;
static struct placer_source source;

static void open_node(void)
{
    struct err err = {0};
    gpus = gpus_new(machine, sizeof machine / sizeof *machine);
    if (!process_node_open(str_of(folder), 8000, 1 << 30, gpus, &node, &err)) fail_msg("%s", err.message);
    source = process_node_source(node);
}

static void close_node(void)
{
    process_node_close(node);
    gpus_free(gpus);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    if (mkdtemp(folder) == NULL) return -1;
    open_node();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char path[64];
    close_node();
    arena_free(&arena);
    snprintf(path, sizeof path, "%s/node-id", folder);
    return unlink(path) != 0 || rmdir(folder) != 0 ? -1 : 0;
}

static struct attempt_id id_of(int64_t run)
{
    return (struct attempt_id){run, 3, 1, 0};
}

/* Whose runs are below ten. */
static bool counts(const void *ctx, const struct attempt_id *id, struct str on)
{
    (void)ctx;
    return id->run < 10 && on.n > 0;
}

/* "2-1 1-1=11*1000 1-0": GPUs of each group, those taken, and who has them that the rules do not count. */
static void has(const char *want)
{
    struct queue_node *n;
    BUF_AUTO got;
    buf_init(&got, 0);
    assert_int_equal(source.nodes(source.self, counts, NULL, &arena, &n), 1);
    for (size_t i = 0; i < n->n_groups; i++) {
        const struct queue_group *g = &n->groups[i];
        uint32_t own = 0;
        buf_printf(&got, "%s%u-%u", i > 0 ? " " : "", g->n, g->taken);
        for (size_t k = 0; k < g->n_holders; k++, own = 1)
            buf_printf(&got, "=%d*%d", (int)g->holders[k].run_id, (int)g->holders[k].milli);
        assert_int_equal(g->own, own); /* no two here are on different ones */
    }
    if (!str_is(buf_view(&got), want)) fail_msg("%.*s, not %s", STR_ARG(buf_view(&got)), want);
}

static const char *value_of(const struct queue_group *g, const char *key)
{
    for (size_t i = 0; i < g->n_labels; i++)
        if (str_is(g->labels[i].key, key)) return arena_cstr(&arena, g->labels[i].value);
    return "";
}

static void test_labels_are_those_of_a_cluster(void **state)
{
    (void)state;
    static const struct {
        size_t group;
        const char *key, *value;
    } rows[] = {
        {0, "nvidia.com/gpu.product", "NVIDIA-A100"},
        {0, "nvidia.com/gpu.memory", "40960"},
        {0, "nvidia.com/gpu.count", "2"},
        {1, "nvidia.com/gpu.product", "Tesla-T4"},
        {1, "nvidia.com/gpu.count", "1"},
        {2, "nvidia.com/gpu.product", "NVIDIA-A100"},
        {2, "nvidia.com/gpu.memory", ""},
        {2, "nvidia.com/mig-1g.5gb.me.product", "NVIDIA-A100-MIG-1g.5gb+me"},
        {2, "nvidia.com/mig-1g.5gb.me.memory", "4864"},
        {2, "nvidia.com/mig-1g.5gb.me.count", "1"},
    };
    char host[128] = "";
    struct queue_node *n;
    gethostname(host, sizeof host - 1);
    assert_int_equal(source.nodes(source.self, counts, NULL, &arena, &n), 1);
    assert_true(str_is(n->name, host) && n->schedulable && n->cpu == 8000 && n->memory == 1 << 30);
    assert_int_equal(n->n_groups, 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(value_of(&n->groups[rows[i].group], rows[i].key), rows[i].value);
    assert_string_equal(value_of(&n->groups[1], "kubernetes.io/hostname"), host);
    assert_true(str_is(n->groups[0].resource, "nvidia.com/gpu"));
    assert_true(str_is(n->groups[2].resource, "nvidia.com/mig-1g.5gb.me"));
}

static void test_who_has_them(void **state)
{
    (void)state;
    struct err err = {0};
    struct placer_pod *pods;
    process_node_publish(node, gpus);
    assert_int_equal(source.generation(source.self), 0); /* what runs is not known */
    has("2-0 1-0 1-0");
    gpus_ready(gpus);
    process_node_publish(node, gpus);
    uint64_t before = source.generation(source.self);
    assert_true(before > 0);
    process_node_publish(node, gpus);
    assert_int_equal(source.generation(source.self), before);
    source.turn(source.self);
    struct pollfd fd = {.fd = source.fd(source.self), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    gpus_take(gpus, id_of(1), &one);  /* GPU-0, which the rules count */
    gpus_take(gpus, id_of(11), &one); /* GPU-1, which they do not */
    has("2-0 1-0 1-0");               /* it is not published yet */
    process_node_publish(node, gpus);
    assert_int_equal(poll(&fd, 1, 0), 1);
    assert_true(source.generation(source.self) > before);
    has("2-0 1-1=11*1000 1-0");
    assert_int_equal(source.pods(source.self, &arena, &pods), 2);
    assert_true(pods[0].id.run + pods[1].id.run == 12 && pods[0].node.n > 0);
    assert_true(gpus_fault(gpus, 0, STR("is lost")) && gpus_fault(gpus, 2, STR("is lost")));
    process_node_publish(node, gpus);
    has("2-1 1-1=11*1000 1-0"); /* one of the two is its holder's still */
    assert_true(gpus_own(gpus, id_of(1), &one, &err));
    gpus_give(gpus, id_of(1));
    process_node_publish(node, gpus);
    has("2-2 1-1=11*1000 1-0");
    assert_true(gpus_fault(gpus, 0, STR("")) && gpus_fault(gpus, 2, STR("")));
    gpus_take(gpus, id_of(12), &half);
    gpus_take(gpus, id_of(2), &half); /* beside a stranger: it is taken */
    process_node_publish(node, gpus);
    has("2-1=12*500 1-1=11*1000 1-0");
}

static void test_the_pin_names_products(void **state)
{
    (void)state;
    static const struct {
        struct queue_pair label;
        const char *pins[2]; /* of the flavor, and of the one for the rest */
        uint32_t broken[2];
    } rows[] = {
        {{STR_INIT("nvidia.com/gpu.product"), STR_INIT("Tesla-T4")},
         {"{\"products\":[\"Tesla-T4\"]}", "{\"products\":[\"NVIDIA-A100\"]}"},
         {0, 1}},
        {{STR_INIT("nvidia.com/gpu.present"), STR_INIT("true")},
         {"{\"products\":[\"NVIDIA-A100\",\"Tesla-T4\"]}", "{\"products\":[]}"},
         {1, 0}},
    };
    gpus_ready(gpus);
    assert_true(gpus_fault(gpus, 0, STR("is lost")));
    process_node_publish(node, gpus);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct flavor_doc flavors[] = {
            {.name = STR("rest"), .resource = STR("nvidia.com/gpu")},
            {.name = STR("some"), .resource = STR("nvidia.com/gpu"), .nodes = &rows[i].label, .n_nodes = 1}};
        const struct queue_docs docs = {.flavors = flavors, .n_flavors = 2};
        struct queue_setup s;
        struct err err = {0};
        assert_true(queue_setup_open(&s, &arena, &docs, &err));
        for (uint32_t f = 0; f < 2; f++) { /* the special one is the first */
            BUF_AUTO out;
            struct jsonw j;
            buf_init(&out, 0);
            jsonw_to_buf(&j, &out);
            jsonw_object(&j);
            source.pin(source.self, &s, f, &j);
            jsonw_object_end(&j);
            assert_true(jsonw_end(&j));
            assert_string_equal(out.p, rows[i].pins[f]);
            assert_int_equal(source.broken(source.self, &s, f), rows[i].broken[f]);
        }
        queue_setup_close(&s);
    }
}

static void test_a_folder_keeps_its_name(void **state)
{
    (void)state;
    struct err err = {0};
    char first[64], path[64];
    snprintf(first, sizeof first, "%s", source.domain);
    assert_int_equal(strlen(first), strlen("process:") + 16);
    assert_int_equal(process_node_placing(node), EXEC_UNSURE);
    source.declared(source.self, true);
    assert_int_equal(process_node_placing(node), EXEC_PLACES);
    source.declared(source.self, false);
    assert_int_equal(process_node_placing(node), EXEC_COUNTS);
    close_node();
    open_node();
    assert_string_equal(source.domain, first);
    close_node();
    snprintf(path, sizeof path, "%s/node-id", folder);
    assert_true(fs_write(path, STR("cut"), 0600, false, &err)); /* what is no name is none */
    open_node();
    assert_int_equal(strlen(source.domain), strlen(first));
    assert_string_not_equal(source.domain, first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(labels_are_those_of_a_cluster), TEST(who_has_them),
                                       TEST(the_pin_names_products), TEST(a_folder_keeps_its_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
