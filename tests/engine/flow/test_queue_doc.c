/* Flavor and Queue documents: what is read from good ones, and what is said of bad ones, with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/flow/queue_doc.h"
#include "engine/text/yaml.h"

#define HEAD "apiVersion: millrace/v1\n"

static struct arena arena;
static struct err_list errors;

static bool read_text(const char *text, struct queue_docs *out)
{
    struct value *docs;
    size_t n;
    arena_reset(&arena);
    err_list_init(&errors, &arena);
    return yaml_parse(&arena, str_of(text), NULL, &docs, &n, &errors) &&
           queue_docs_read(&arena, docs, n, out, &errors) && queue_docs_check(out, NULL, 0, &errors);
}

static void test_good(void **state)
{
    struct queue_docs d;
    (void)state;
    bool ok = read_text(HEAD "kind: Flavor\nname: a100\nresource: nvidia.com/gpu\nweight: 4\nshared: 4\n"
                             "nodes: {product: A100, zone: x}\n"
                             "tolerations: [{key: nvidia.com/gpu}, {key: team, value: ml, effect: NoSchedule}]\n"
                             "---\n" HEAD "kind: Flavor\nname: dra\nresource: amd.com/gpu\n"
                             "---\n" HEAD "kind: Queue\nname: research\ncohort: lab\nweight: 2\n"
                             "quota: {a100: 1.5, cpu: 500m, memory: 1Gi, dra: unlimited}\n"
                             "borrow: {a100: 2}\nlend: {a100: 0}\npreemption: {within: lower, reclaim: any}\n"
                             "---\n" HEAD "kind: Queue\nname: theirs\nkueue: team-a\n",
                        &d);
    if (!ok) fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    assert_int_equal(d.n_flavors, 2);
    assert_int_equal(d.n_queues, 2);
    const struct flavor_doc *f = &d.flavors[0];
    assert_int_equal(f->shared, 4);
    assert_true(f->weight > 3.9 && f->n_nodes == 2 && f->n_tolerations == 2);
    assert_true(str_is(f->tolerations[0].op, "Exists") && str_is(f->tolerations[1].op, "Equal"));
    assert_true(str_is(f->tolerations[1].value, "ml") && str_is(f->nodes[1].key, "zone"));
    const struct queue_doc *q = &d.queues[0];
    static const struct queue_amount want[] = {
        {STR_INIT("a100"), 1500, 2000, 0, {0, 0}},
        {STR_INIT("cpu"), 500, QUEUE_UNLIMITED, QUEUE_UNLIMITED, {0, 0}},
        {STR_INIT("memory"), 1 << 30, QUEUE_UNLIMITED, QUEUE_UNLIMITED, {0, 0}},
        {STR_INIT("dra"), QUEUE_UNLIMITED, QUEUE_UNLIMITED, QUEUE_UNLIMITED, {0, 0}}};
    assert_int_equal(q->n_amounts, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(str_eq(q->amounts[i].of, want[i].of));
        assert_int_equal(q->amounts[i].nominal, want[i].nominal);
        assert_int_equal(q->amounts[i].borrow, want[i].borrow);
        assert_int_equal(q->amounts[i].lend, want[i].lend);
    }
    assert_true(q->within == QUEUE_PREEMPT_LOWER && q->reclaim == QUEUE_PREEMPT_ANY && str_is(q->cohort, "lab"));
    assert_true(str_is(d.queues[1].kueue, "team-a"));
}

static void test_devices(void **state)
{
    struct queue_docs d;
    (void)state;
    bool ok = read_text(HEAD "kind: Flavor\nname: big\ndeviceClass: gpu.nvidia.com\n"
                             "devices: {attributes: {productName: NVIDIA H100, mig: false, x.y/index: 3},\n"
                             "          capacity: {memory: 40Gi, multiprocessors: 100}}\n"
                             "---\n" HEAD "kind: Flavor\nname: mig\ndeviceClass: mig.nvidia.com\n"
                             "devices: {driver: gpu.nvidia.com, attributes: {profile: 1g.10gb}}\n"
                             "---\n" HEAD "kind: Flavor\nname: any\ndeviceClass: gpu.amd.com\n",
                        &d);
    if (!ok) fail_msg("%s: %s", errors.items[0].path, errors.items[0].message);
    const struct flavor_doc *f = &d.flavors[0];
    const struct queue_attribute *a = f->devices.attributes;
    const struct queue_capacity *c = f->devices.capacity;
    assert_true(str_is(f->device_class, "gpu.nvidia.com") && str_is(f->devices.driver, "gpu.nvidia.com"));
    assert_int_equal(f->devices.n_attributes, 3);
    assert_true(str_is(a[0].domain, "gpu.nvidia.com") && str_is(a[0].id, "productName"));
    assert_true(a[0].type == QUEUE_ATTRIBUTE_STRING && str_is(a[0].text, "NVIDIA H100"));
    assert_true(a[1].type == QUEUE_ATTRIBUTE_BOOL && a[1].number == 0);
    assert_true(a[2].type == QUEUE_ATTRIBUTE_INT && a[2].number == 3 && str_is(a[2].domain, "x.y"));
    assert_true(f->devices.n_capacity == 2 && c[0].least == (int64_t)40 << 30 && c[1].least == 100);
    assert_true(str_is(c[0].id, "memory") && str_is(c[0].domain, "gpu.nvidia.com"));
    f = &d.flavors[1];
    assert_true(str_is(f->devices.driver, "gpu.nvidia.com") &&
                str_is(f->devices.attributes[0].domain, "gpu.nvidia.com"));
    f = &d.flavors[2];
    assert_true(str_is(f->devices.driver, "gpu.amd.com") && f->devices.n_attributes + f->devices.n_capacity == 0);
}

/* What was stored before it was checked is read: one bad flavor must not keep all queues from being read. */
static void test_stored(void **state)
{
    struct queue_docs d;
    struct value *docs;
    size_t n;
    (void)state;
    arena_reset(&arena);
    err_list_init(&errors, &arena);
    const char *text = HEAD "kind: Flavor\nname: x\nresource: a/b\nnodes: {'': ''}\n";
    assert_true(yaml_parse(&arena, str_of(text), NULL, &docs, &n, &errors));
    assert_true(queue_docs_read(&arena, docs, n, &d, &errors));
    assert_false(queue_docs_check(&d, NULL, 0, &errors));
}

static void test_bad(void **state)
{
    static const struct {
        const char *text, *path, *message;
        uint32_t line;
    } rows[] = {
        {HEAD "kind: Flavor\nname: x\n", "", "'resource' or 'deviceClass' is missing", 1},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\ndeviceClass: c\n", "",
         "a Flavor has a resource or a deviceClass, not both", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\ndevices: {driver: d}\n", "",
         "only a Flavor with a deviceClass has devices", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\nshared: 4\n", "",
         "devices of a DeviceClass are not offered in parts", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: GPU\n", "deviceClass", "a DeviceClass has a name of", 4},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {driver: 'a\"b'}\n", "devices.driver",
         "a driver is named by a domain", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {attributes: {'a\"b': 1}}\n", "devices.attributes.a\"b",
         "attributes and capacities are named as in ResourceSlices", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {attributes: {D/x: 1}}\n", "devices.attributes.D/x",
         "attributes and capacities are named as in ResourceSlices", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {attributes: {x: 1.5}}\n", "devices.attributes.x",
         "expected a text, a whole number, true or false", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {attributes: {x: \"a\\nb\"}}\n", "devices.attributes.x",
         "an attribute's text has from 1 to 64 characters", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {capacity: {memory: a lot}}\n",
         "devices.capacity.memory", "", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {capacity: {memory: 9Ti}}\n", "devices.capacity.memory",
         "a capacity lies between 0 and 8Ti", 5},
        {HEAD "kind: Flavor\nname: x\ndeviceClass: c\ndevices: {selector: 'true'}\n", "devices.selector",
         "unknown key 'selector'", 5},
        {HEAD "kind: Flavor\nname: cpu\nresource: a/b\n", "", "'cpu' is what every quota has", 3},
        {HEAD "kind: Flavor\nname: x\nresource: gpu\n", "resource", "an extended resource is written DOMAIN/NAME", 4},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nshared: 1\n", "shared", "", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nweight: 0\n", "weight", "a weight is above 0, and at most 1000000",
         5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nnode: {a: b}\n", "node", "unknown key 'node'", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\ntolerations: [{key: k, operator: Exists, value: v}]\n",
         "tolerations[0]", "a toleration of what Exists has no value", 5},
        {HEAD "kind: Queue\nname: q\nquota: {h100: 1}\n", "quota.h100", "there is no flavor 'h100'", 4},
        {HEAD "kind: Queue\nname: q\nquota: {cpu: 1}\nborrow: {cpu: 1}\n", "borrow",
         "a queue without a cohort neither borrows nor lends", 5},
        {HEAD "kind: Queue\nname: q\ncohort: c\nquota: {cpu: 1}\nlend: {memory: 1Gi}\n", "lend.memory",
         "the queue has no quota of 'memory'", 6},
        {HEAD "kind: Queue\nname: q\nquota: {memory: 1}\n", "quota.memory", "", 4},
        {HEAD "kind: Queue\nname: q\npreemption: {within: any}\n", "preemption",
         "within a queue only lower priorities give way", 4},
        {HEAD "kind: Queue\nname: q\nkueue: a\nquota: {cpu: 1}\n", "",
         "a queue that hands over to Kueue has no quota of its own", 4},
        {HEAD "kind: Queue\nname: q\nkueue: a\npreemption: {within: lower}\n", "preemption",
         "a queue that hands over to Kueue lets nobody give way", 5},
        {HEAD "kind: Queue\nname: q\npreemption: {reclaim: any}\n", "preemption.reclaim",
         "a queue without a cohort has lent nothing", 4},
        {HEAD "kind: Queue\nname: q\ncohort: c\nquota: {cpu: 1}\nlend: {cpu: 2}\n", "lend.cpu",
         "this is more than the queue's quota", 6},
        {HEAD "kind: Queue\nname: q\nquota: {cpu: 0.0000001}\n", "quota.cpu", "this is less than a thousandth", 4},
        {HEAD "kind: Queue\nname: q\n---\n" HEAD "kind: Queue\nname: q\n", "", "the queue is there twice", 7},
        {HEAD "kind: Pipeline\nname: q\n", "kind", "", 2},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\ntolerations: [{key: 'bad key!', value: 'é ü'}]\n",
         "tolerations[0].key", "'bad key!' cannot be a key of Kubernetes", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\ntolerations: [{key: ok, value: 'é ü'}]\n", "tolerations[0].value",
         "this cannot be the value of a label", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nnodes: {'': ''}\n", "nodes.", "'' cannot be a key", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nnodes: {a/b/c: x}\n", "nodes.a/b/c", "cannot be a key", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nnodes: {a: -x}\n", "nodes.a", "this cannot be the value", 5},
        {HEAD "kind: Flavor\nname: x\nresource: a/b c\n", "resource", "'a/b c' cannot be a key", 4},
        {HEAD "kind: Flavor\nname: x\nresource: /gpu\n", "resource", "'/gpu' cannot be a key", 4},
        {HEAD "kind: Flavor\nname: x\nresource: requests.nvidia.com/gpu\n", "resource",
         "'requests.nvidia.com/gpu' cannot be an extended resource", 4},
        {HEAD "kind: Flavor\nname: x\nresource: kubernetes.io/gpu\n", "resource", "cannot be an extended resource", 4},
        {HEAD "kind: Flavor\nname: x\nresource: gpu.kubernetes.io/a\n", "resource", "cannot be an extended", 4},
        {HEAD "kind: Queue\nname: q\nkueue: Team A\n", "kueue", "this cannot be the name of an object", 4},
        {HEAD "kind: Queue\nname: q\nkueue: a123456789b123456789c123456789d123456789e123456789f123456789g123\n",
         "kueue", "this cannot be the value of a label", 4},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct queue_docs d;
        if (read_text(rows[i].text, &d)) fail_msg("this was taken:\n%s", rows[i].text);
        const struct err *e = &errors.items[0];
        bool same =
            strcmp(e->path, rows[i].path) == 0 && strstr(e->message, rows[i].message) && e->at.line == rows[i].line;
        if (!same) fail_msg("%s\nline %u, %s: %s", rows[i].text, e->at.line, e->path, e->message);
    }
}

static void test_cures(void **state)
{
    static const struct {
        const char *text, *message, *hint;
    } rows[] = {
        {HEAD "kind: Queue\nname: q\nquota: {h100: unlimted}\n", "'unlimted' is no quota", "did you mean 'unlimited'?"},
        {HEAD "kind: Queue\nname: q\nquota: {cpu: unlimted}\n", "'unlimted' is no quota", "did you mean 'unlimited'?"},
        {HEAD "kind: Queue\nname: q\nquota: {h100: many}\n",
         "a quota is a number of GPUs, from 0 to 1000000, or unlimited", ""},
        {HEAD "kind: Queue\nname: q\nquota: {h100: [1]}\n",
         "a quota is a number of GPUs, from 0 to 1000000, or unlimited", ""},
        {HEAD "kind: Queue\nname: q\nquota: 4\n", "expected a map of flavors, cpu and memory, found an int",
         "for example quota: {h100: 4, cpu: 64}"},
        {HEAD "kind: Queue\nname: q\npreemption: lower\n", "expected a map, found a string",
         "for example preemption: {within: lower, reclaim: any}"},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nnodes: [gpu-1]\n",
         "expected a map of a node's labels, found a list", "for example nodes: {kubernetes.io/hostname: gpu-1}"},
        {HEAD "kind: Flavor\nname: x\nresource: a/b\nshared: true\n", "expected a whole number, found a bool",
         "for example shared: 4, into how many parts each GPU is divided"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct queue_docs d;
        if (read_text(rows[i].text, &d)) fail_msg("this was taken:\n%s", rows[i].text);
        assert_string_equal(errors.items[0].message, rows[i].message);
        assert_string_equal(errors.items[0].hint, rows[i].hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_devices),
                                       cmocka_unit_test(test_bad), cmocka_unit_test(test_stored),
                                       cmocka_unit_test(test_cures)};
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&arena);
    return failed;
}
