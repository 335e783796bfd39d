/* What a step says of its pod, in the Job that is made of it; and how `pod` is merged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/json.h"
#include "scheduler/kube_podspec.h"

static struct arena arena;

static struct value parsed(const char *json)
{
    struct err err = {0};
    struct value v;
    if (!json_parse(&arena, str_of(json), 0, &v, &err)) fail_msg("%s: %s", json, err.message);
    return v;
}

/* "containers.0.image" */
static const struct value *at(const struct value *v, const char *path)
{
    struct str rest = str_of(path), piece;
    while (v != NULL && str_split(&rest, '.', &piece)) {
        int64_t i;
        if (v->type == VALUE_LIST && str_int(piece, &i))
            v = (size_t)i < v->u.list.n ? &v->u.list.items[i] : NULL;
        else
            v = value_find(v, piece);
        if (rest.n == 0) break;
    }
    return v;
}

static struct kube_claim claim; /* of the pod */

static struct value pod_of(const char *cluster, struct resources resources)
{
    static const struct str argv[] = {STR_INIT("/bin/true")};
    struct value given = parsed(cluster);
    BUF_AUTO text;
    buf_init(&text, 0);
    const struct kube_job job = {.id = {7, 2, 3, 0},
                                 .name = STR("train-abc"),
                                 .namespace = STR("ml"),
                                 .instance = STR("i1"),
                                 .step = STR("train"),
                                 .image = STR("python:3"),
                                 .pull_policy = STR("Never"),
                                 .command = argv,
                                 .n_command = 1,
                                 .grace_ms = 10000,
                                 .resources = resources,
                                 .gpu_resource = STR("nvidia.com/gpu"),
                                 .claim = claim,
                                 .cluster = &given};
    kube_job_json(&job, &text);
    struct value all = parsed(arena_cstr(&arena, buf_view(&text)));
    const struct value *spec = at(&all, "spec.template.spec");
    assert_non_null(spec);
    return *spec;
}

static void is(const char *name, const struct value *v, const char *expected)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    if (v != NULL) value_json(&text, v, true);
    if (!str_is(buf_view(&text), expected)) fail_msg("%s: '%.*s', not '%s'", name, STR_ARG(buf_view(&text)), expected);
}

#define STEP "containers.0."

static void each_key_has_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *cluster, *path, *expected; /* "" = it is not there */
    } rows[] = {
        {"{}", "automountServiceAccountToken", "false"},
        {"{}", "serviceAccountName", ""},
        {"{}", STEP "imagePullPolicy", "\"Never\""},
        {"{}", STEP "securityContext", ""},
        {"{}", "securityContext", ""},
        {"{}", STEP "envFrom", ""},
        {"{\"serviceAccountName\":\"reader\"}", "serviceAccountName", "\"reader\""},
        {"{\"serviceAccountName\":\"reader\"}", "automountServiceAccountToken", "true"},
        {"{\"pod\":{\"serviceAccountName\":\"reader\"}}", "automountServiceAccountToken", "true"},
        {"{\"serviceAccountName\":\"reader\",\"pod\":{\"automountServiceAccountToken\":false}}",
         "automountServiceAccountToken", "false"},
        {"{\"affinity\":{\"nodeAffinity\":{\"x\":[1]}}}", "affinity", "{\"nodeAffinity\":{\"x\":[1]}}"},
        {"{\"imagePullSecrets\":[\"a\",\"b\"]}", "imagePullSecrets", "[{\"name\":\"a\"},{\"name\":\"b\"}]"},
        {"{\"imagePullPolicy\":\"Always\"}", STEP "imagePullPolicy", "\"Always\""},
        {"{\"hostIPC\":true}", "hostIPC", "true"},
        {"{\"hostNetwork\":true}", "hostNetwork", "true"},
        {"{\"hostNetwork\":true}", "dnsPolicy", "\"ClusterFirstWithHostNet\""},
        {"{\"hostNetwork\":false}", "dnsPolicy", ""},
        {"{\"runtimeClassName\":\"gvisor\"}", "runtimeClassName", "\"gvisor\""},
        {"{\"priorityClassName\":\"low\"}", "priorityClassName", "\"low\""},
        {"{\"securityContext\":{\"runAsUser\":5,\"privileged\":true,\"fsGroup\":6}}", "securityContext",
         "{\"fsGroup\":6,\"runAsUser\":5}"},
        {"{\"securityContext\":{\"runAsUser\":5,\"privileged\":true,\"fsGroup\":6}}", STEP "securityContext",
         "{\"privileged\":true}"},
        {"{\"envFrom\":[{\"secret\":\"s\",\"prefix\":\"P_\"},{\"configMap\":\"c\",\"optional\":true}]}", STEP "envFrom",
         "[{\"prefix\":\"P_\",\"secretRef\":{\"name\":\"s\"}},{\"configMapRef\":{\"name\":\"c\",\"optional\":true}}]"},
        {"{\"volumes\":[{\"path\":\"/d\",\"claim\":\"c\",\"subPath\":\"a/b\",\"readOnly\":false}]}",
         STEP "volumeMounts.1", "{\"mountPath\":\"/d\",\"name\":\"volume-0\",\"subPath\":\"a/b\"}"},
        {"{\"volumes\":[{\"path\":\"/d\",\"configMap\":\"c\"}]}", "volumes.1",
         "{\"configMap\":{\"name\":\"c\"},\"name\":\"volume-0\"}"},
        {"{\"volumes\":[{\"path\":\"/d\",\"scratch\":\"1024B\"}]}", "volumes.1",
         "{\"emptyDir\":{\"sizeLimit\":\"1024\"},\"name\":\"volume-0\"}"},
        {"{\"volumes\":[{\"path\":\"/d\",\"scratch\":\"1.5Gi\"}]}", "volumes.1.emptyDir",
         "{\"sizeLimit\":\"1610612736\"}"},
        {"{\"pod\":{\"schedulerName\":\"mine\"}}", "schedulerName", "\"mine\""},
        {"{\"pod\":{\"schedulerName\":\"mine\"}}", "restartPolicy", "\"Never\""},
        {"{\"pod\":{\"containers\":[{\"name\":\"step\",\"tty\":true}]}}", STEP "tty", "true"},
        {"{\"pod\":{\"containers\":[{\"name\":\"step\",\"tty\":true}]}}", STEP "command", "[\"/bin/true\"]"},
        {"{\"pod\":{\"containers\":[{\"name\":\"log\",\"image\":\"l\"}]}}", STEP "name", "\"step\""},
        {"{\"pod\":{\"containers\":[{\"name\":\"log\",\"image\":\"l\"}]}}", "containers.1",
         "{\"image\":\"l\",\"name\":\"log\"}"},
        {"{\"pod\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}", "volumes",
         "[{\"emptyDir\":{},\"name\":\"work\"},{\"emptyDir\":{},\"name\":\"v\"}]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value pod = pod_of(rows[i].cluster, (struct resources){0});
        is(rows[i].cluster, at(&pod, rows[i].path), rows[i].expected);
    }
}

static void companions_are_whom_the_pod_lets_them_be(void **state)
{
    (void)state;
    static const struct {
        const char *cluster;
        enum kube_user user;
    } rows[] = {
        {"{}", KUBE_USER_ANY},
        {"{\"securityContext\":{\"fsGroup\":5}}", KUBE_USER_ANY},
        {"{\"securityContext\":{\"runAsUser\":5,\"runAsNonRoot\":true}}", KUBE_USER_GIVEN},
        {"{\"securityContext\":{\"runAsNonRoot\":true}}", KUBE_USER_NOT_ROOT},
        {"{\"securityContext\":{\"runAsNonRoot\":false}}", KUBE_USER_ANY},
        {"{\"pod\":{\"securityContext\":{\"runAsUser\":5}}}", KUBE_USER_GIVEN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value given = parsed(rows[i].cluster);
        const struct kube_job job = {.cluster = &given};
        if (kube_podspec_user(&job) != rows[i].user) fail_msg("%s", rows[i].cluster);
    }
}

static void shared_memory_is_a_volume(void **state)
{
    (void)state;
    struct value pod = pod_of("{}", (struct resources){.shm_bytes = 1 << 20, .memory_bytes = 1 << 21});
    is("volume", at(&pod, "volumes.1"),
       "{\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"1048576\"},\"name\":\"shm\"}");
    is("mount", at(&pod, STEP "volumeMounts.1"), "{\"mountPath\":\"/dev/shm\",\"name\":\"shm\"}");
    is("memory", at(&pod, STEP "resources.limits"), "{\"memory\":\"2097152\"}"); /* its own is part of that */
}

static void a_merge_takes_nothing_away(void **state)
{
    (void)state;
    static const struct {
        const char *name, *under, *over, *expected;
    } rows[] = {
        {"nothing", "{\"a\":1}", "{}", "{\"a\":1}"},
        {"a new key", "{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}"},
        {"a value", "{\"a\":1}", "{\"a\":2}", "{\"a\":2}"},
        {"deep", "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"c\":3}}", "{\"a\":{\"b\":1,\"c\":3}}"},
        {"a named item", "{\"l\":[{\"name\":\"x\",\"v\":1},{\"name\":\"y\"}]}", "{\"l\":[{\"name\":\"x\",\"w\":2}]}",
         "{\"l\":[{\"name\":\"x\",\"v\":1,\"w\":2},{\"name\":\"y\"}]}"},
        {"another name", "{\"l\":[{\"name\":\"x\"}]}", "{\"l\":[{\"name\":\"y\"}]}",
         "{\"l\":[{\"name\":\"x\"},{\"name\":\"y\"}]}"},
        {"the same name twice", "{\"l\":[]}", "{\"l\":[{\"name\":\"y\",\"a\":1},{\"name\":\"y\",\"b\":2}]}",
         "{\"l\":[{\"a\":1,\"b\":2,\"name\":\"y\"}]}"},
        {"no names", "{\"tolerations\":[{\"key\":\"a\"}]}", "{\"tolerations\":[{\"key\":\"a\"}]}",
         "{\"tolerations\":[{\"key\":\"a\"},{\"key\":\"a\"}]}"},
        {"scalars", "{\"l\":[1]}", "{\"l\":[2,1]}", "{\"l\":[1,2,1]}"},
        {"mounts of one volume", "{\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/a\"}]}",
         "{\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/b\"}]}",
         "{\"volumeMounts\":[{\"mountPath\":\"/a\",\"name\":\"v\"},{\"mountPath\":\"/b\",\"name\":\"v\"}]}"},
        {"mounts at one path", "{\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/a\"}]}",
         "{\"volumeMounts\":[{\"mountPath\":\"/a\",\"readOnly\":true}]}",
         "{\"volumeMounts\":[{\"mountPath\":\"/a\",\"name\":\"v\",\"readOnly\":true}]}"},
        {"a variable", "{\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"2\"}]}",
         "{\"env\":[{\"name\":\"A\",\"valueFrom\":{}}]}",
         "{\"env\":[{\"name\":\"A\",\"valueFrom\":{}},{\"name\":\"B\",\"value\":\"2\"}]}"},
        {"items that are no maps", "{\"l\":[[1],null]}", "{\"l\":[{\"name\":5}]}", "{\"l\":[[1],null,{\"name\":5}]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value under = parsed(rows[i].under), over = parsed(rows[i].over);
        struct value got = kube_podspec_merge(&arena, &under, &over);
        is(rows[i].name, &got, rows[i].expected);
    }
}

static void devices_are_claimed(void **state)
{
    (void)state;
    char name[KUBE_TEMPLATE_NAME];
    const struct resources two = {.gpu_count = 2};
    struct value pod = pod_of("{}", two);
    is("without a claim", at(&pod, STEP "resources.limits"), "{\"nvidia.com/gpu\":\"2\"}");
    is("without a claim", at(&pod, "resourceClaims"), "");
    is("without a claim", at(&pod, STEP "resources.claims"), "");
    claim = (struct kube_claim){STR("gpu.nvidia.com"), STR("true"), 2};
    kube_claim_template_name(&claim, STR("i1"), name);
    pod = pod_of("{\"pod\":{\"resourceClaims\":[{\"name\":\"nic\",\"resourceClaimName\":\"n\"}]}}", two);
    is("the resource", at(&pod, STEP "resources.limits"), "{}");
    is("the container", at(&pod, STEP "resources.claims"), "[{\"name\":\"millrace-gpu\"}]");
    is("the pod", at(&pod, "resourceClaims.0"),
       arena_printf(&arena, "{\"name\":\"millrace-gpu\",\"resourceClaimTemplateName\":\"%s\"}", name).p);
    is("its own", at(&pod, "resourceClaims.1"), "{\"name\":\"nic\",\"resourceClaimName\":\"n\"}");
    claim = (struct kube_claim){0};
}

static void last_lines_are_wanted(void **state)
{
    (void)state;
    static const struct {
        const char *name, *spec, *expected;
    } rows[] = {
        {"nobody", "{\"a\":1}", "{\"a\":1}"},
        {"Millrace's own, and one that says it",
         "{\"initContainers\":[{\"name\":\"millrace-fetch\"},{\"name\":\"x\","
         "\"terminationMessagePolicy\":\"File\"}]}",
         "{\"initContainers\":[{\"name\":\"millrace-fetch\"},{\"name\":\"x\",\"terminationMessagePolicy\":\"File\"}]}"},
        {"a user's", "{\"initContainers\":[{\"name\":\"millrace-fetch\"},{\"name\":\"prep\"}]}",
         "{\"initContainers\":[{\"name\":\"millrace-fetch\"},{\"name\":\"prep\",\"terminationMessagePolicy\":"
         "\"FallbackToLogsOnError\"}]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value spec = parsed(rows[i].spec);
        kube_podspec_last_lines(&arena, &spec);
        is(rows[i].name, &spec, rows[i].expected);
    }
}

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {T(each_key_has_its_place),    T(companions_are_whom_the_pod_lets_them_be),
                                       T(shared_memory_is_a_volume), T(a_merge_takes_nothing_away),
                                       T(devices_are_claimed),       T(last_lines_are_wanted)};
    return cmocka_run_group_tests_name("pods", tests, NULL, NULL);
}
