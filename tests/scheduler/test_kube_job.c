/* The Job of an attempt: read back as JSON, field by field. Its names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/json.h"
#include "scheduler/kube_job.h"

static struct arena arena;

/* "spec.template.spec.containers.0.image" */
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

static void is(const struct value *job, const char *path, const char *expected)
{
    const struct value *v = at(job, path);
    BUF_AUTO text;
    buf_init(&text, 0);
    if (v != NULL && v->type == VALUE_STRING)
        buf_str(&text, v->u.s);
    else if (v != NULL)
        value_json(&text, v, true);
    if (!str_is(buf_view(&text), expected))
        fail_msg("%s is '%.*s', not '%s'", path, STR_ARG(buf_view(&text)), expected);
}

static struct value made(const struct kube_job *job)
{
    struct err err = {0};
    struct value v;
    BUF_AUTO text;
    buf_init(&text, 0);
    kube_job_json(job, &text);
    if (!json_parse(&arena, buf_view(&text), 0, &v, &err)) fail_msg("%s", err.message);
    return v;
}

static struct kube_job plain(void)
{
    static const struct str argv[] = {STR_INIT("/bin/sh"), STR_INIT("-c"), STR_INIT("echo $HOME $(date) $$")};
    return (struct kube_job){.id = {7, 2, 3, 1000001},
                             .name = STR("train-abc"),
                             .namespace = STR("ml"),
                             .instance = STR("i1"),
                             .project = STR("default"),
                             .run_name = STR("digits-7"),
                             .step = STR("train"),
                             .path = STR("train[2]"),
                             .image = STR("python:3"),
                             .command = argv,
                             .n_command = 3,
                             .timeout_ms = 1500,
                             .grace_ms = 10000};
}

#define POD "spec.template.spec."
#define STEP POD "containers.0."

static void a_plain_step_is_one_container(void **state)
{
    (void)state;
    struct kube_job job = plain();
    struct value v = made(&job);
    is(&v, "apiVersion", "batch/v1");
    is(&v, "kind", "Job");
    is(&v, "metadata.name", "train-abc");
    is(&v, "metadata.namespace", "ml");
    is(&v, "metadata.labels",
       "{\"app.kubernetes.io/component\":\"train\",\"app.kubernetes.io/managed-by\":\"millrace\","
       "\"app.kubernetes.io/name\":\"millrace-step\",\"app.kubernetes.io/part-of\":\"digits-7\","
       "\"millrace.dev/attempt\":\"3\",\"millrace.dev/instance\":\"i1\","
       "\"millrace.dev/project\":\"default\",\"millrace.dev/run\":\"7\",\"millrace.dev/"
       "run-made\":\"1000001\",\"millrace.dev/task\":\"2\"}");
    is(&v, "spec.backoffLimit", "0");
    is(&v, "spec.podReplacementPolicy", "Failed");
    is(&v, POD "restartPolicy", "Never");
    is(&v, POD "activeDeadlineSeconds", "2"); /* rounded up: not less than was said */
    is(&v, POD "terminationGracePeriodSeconds", "10");
    is(&v, POD "automountServiceAccountToken", "false");
    is(&v, STEP "image", "python:3");
    is(&v, STEP "workingDir", KUBE_WORKDIR);
    assert_int_equal(at(&v, POD "containers")->u.list.n, 1);
    assert_null(at(&v, POD "initContainers"));
}

static void dollars_are_the_steps_own(void **state)
{
    (void)state;
    static const struct kube_variable env[] = {
        {.name = STR_INIT("A"), .value = STR_INIT("$(B) costs 5$")},
        {.name = STR_INIT("T"), .secret = STR_INIT("tokens"), .key = STR_INIT("hub")}};
    struct kube_job job = plain();
    job.env = env;
    job.n_env = 2;
    struct value v = made(&job);
    is(&v, STEP "command.2", "echo $$HOME $$(date) $$$$");
    is(&v, STEP "env.0.value", "$$(B) costs 5$$");
    is(&v, STEP "env.1", "{\"name\":\"T\",\"valueFrom\":{\"secretKeyRef\":{\"key\":\"hub\",\"name\":\"tokens\"}}}");
}

static void texts_come_as_files(void **state)
{
    (void)state;
    static const struct kube_file files[] = {
        {.path = STR_INIT(KUBE_WORKDIR "/inputs/n"), .text = STR_INIT("5")},
        {.path = STR_INIT(KUBE_WORKDIR "/.millrace-script"), .text = STR_INIT("print(1)\n"), .program = true},
        {.path = STR_INIT(KUBE_WORKDIR "/inputs/m"), .text = STR_INIT("6")}};
    struct kube_job job = plain();
    job.files = files;
    job.n_files = 3;
    struct value v = made(&job);
    const struct value *notes = at(&v, "spec.template.metadata.annotations");
    assert_true(str_is(value_get(notes, "files.millrace.dev/1")->u.s, "print(1)\n"));
    is(&v, POD "volumes.0", "{\"emptyDir\":{},\"name\":\"work\"}");
    is(&v, POD "volumes.1",
       "{\"downwardAPI\":{\"items\":[{\"fieldRef\":{\"fieldPath\":\"metadata.annotations['files.millrace.dev/0']\"},"
       "\"mode\":292,\"path\":\"n\"},{\"fieldRef\":{\"fieldPath\":\"metadata.annotations['files.millrace.dev/2']\"},"
       "\"mode\":292,\"path\":\"m\"}]},\"name\":\"files-0\"}");
    is(&v, STEP "volumeMounts",
       "[{\"mountPath\":\"/millrace/work\",\"name\":\"work\"},{\"mountPath\":\"/millrace/work/"
       "inputs\",\"name\":\"files-0\"},"
       "{\"mountPath\":\"/millrace/work/.millrace-script\",\"name\":\"files-1\",\"subPath\":\".millrace-script\"}]");
}

static void what_a_cluster_understands_reaches_it(void **state)
{
    (void)state;
    struct err err = {0};
    struct value cluster;
    assert_true(json_parse(&arena,
                           STR("{\"nodeSelector\":{\"disk\":\"ssd\"},\"tolerations\":[{\"key\":\"gpu\",\"operator\":"
                               "\"Exists\"}],\"labels\":{\"team\":\"vision\",\"millrace.dev/run\":\"99\"},\"volumes\":["
                               "{\"path\":\"/data\",\"claim\":\"data\",\"readOnly\":true},{\"path\":\"/s\",\"scratch\":"
                               "\"9Gi\"},{\"path\":\"/k\",\"secret\":\"keys\"}]}"),
                           0, &cluster, &err));
    struct kube_job job = plain();
    job.cluster = &cluster;
    job.resources = (struct resources){.cpu_milli = 1500, .memory_bytes = 1 << 20, .gpu_count = 2};
    job.gpu_resource = STR("nvidia.com/gpu");
    struct value v = made(&job);
    is(&v, POD "nodeSelector", "{\"disk\":\"ssd\"}");
    is(&v, POD "tolerations", "[{\"key\":\"gpu\",\"operator\":\"Exists\"}]");
    is(&v, "spec.template.metadata.labels.team", "vision");
    const struct value *labels = at(&v, "spec.template.metadata.labels");
    assert_true(str_is(value_get(labels, "millrace.dev/run")->u.s, "7")); /* nobody takes another's name */
    is(&v, STEP "resources",
       "{\"limits\":{\"memory\":\"1048576\",\"nvidia.com/gpu\":\"2\"},\"requests\":{\"cpu\":"
       "\"1500m\",\"memory\":\"1048576\",\"nvidia.com/gpu\":\"2\"}}");
    is(&v, POD "volumes.1", "{\"name\":\"volume-0\",\"persistentVolumeClaim\":{\"claimName\":\"data\"}}");
    is(&v, POD "volumes.2", "{\"emptyDir\":{\"sizeLimit\":\"9663676416\"},\"name\":\"volume-1\"}");
    is(&v, STEP "volumeMounts.1", "{\"mountPath\":\"/data\",\"name\":\"volume-0\",\"readOnly\":true}");
}

/* Once: an object with a key twice is refused. */
static void an_annotation_of_ours_may_be_said_otherwise(void **state)
{
    (void)state;
    struct err err = {0};
    struct value cluster;
    assert_true(json_parse(&arena,
                           STR("{\"annotations\":{\"note\":\"x\",\"kubectl.kubernetes.io/default-container\":\"log\","
                               "\"millrace.dev/path\":\"x\"}}"),
                           0, &cluster, &err));
    struct kube_job job = plain();
    for (int said = 0; said < 2; said++) {
        job.cluster = said ? &cluster : NULL;
        struct value v = made(&job); /* by a parser that takes no key twice */
        const struct value *all = at(&v, "spec.template.metadata.annotations");
        const struct value *container = value_get(all, "kubectl.kubernetes.io/default-container");
        assert_true(container != NULL && str_is(container->u.s, said ? "log" : "step"));
        assert_true((value_get(all, "note") != NULL) == said && !str_is(value_get(all, "millrace.dev/path")->u.s, "x"));
    }
}

static void data_is_moved_beside_the_step(void **state)
{
    (void)state;
    struct kube_job job = plain();
    job.companion = STR("millrace:9");
    job.moves = STR("{\"version\":1}");
    job.api_url = STR("http://m:7070");
    job.token = STR("t");
    job.fetches = job.collects = true;
    job.upload_ms = 60000;
    job.companion_cpu_milli = 500;
    job.companion_memory_bytes = 64 << 20;
    struct value v = made(&job);
    assert_int_equal(at(&v, POD "containers")->u.list.n, 1);
    assert_int_equal(at(&v, POD "initContainers")->u.list.n, 2);
    is(&v, POD "initContainers.0.name", KUBE_FETCH);
    assert_null(at(&v, POD "initContainers.0.restartPolicy")); /* before the step */
    is(&v, POD "initContainers.1.name", KUBE_COLLECT);
    is(&v, POD "initContainers.1.restartPolicy", "Always"); /* beside it */
    is(&v, POD "initContainers.1.image", "millrace:9");
    is(&v, POD "initContainers.1.env",
       "[{\"name\":\"MILLRACE_API_URL\",\"value\":\"http://m:7070\"},{\"name\":\"MILLRACE_TOKEN\",\"value\":\"t\"}]");
    is(&v, POD "initContainers.1.securityContext.readOnlyRootFilesystem", "true");
    is(&v, POD "terminationGracePeriodSeconds", "80"); /* the step's own, the outputs', and some for a last word */
    is(&v, POD "initContainers.0.resources",
       "{\"limits\":{\"cpu\":\"500m\",\"memory\":\"67108864\"},\"requests\":{\"cpu\":\"0\",\"memory\":\"0\"}}");
    is(&v, POD "activeDeadlineSeconds", "302"); /* the server is to be first */
    const struct value *notes = at(&v, "spec.template.metadata.annotations");
    assert_true(str_is(value_get(notes, "millrace.dev/moves")->u.s, "{\"version\":1}"));
    job.node_cache = STR("/var/cache/millrace");
    job.node_cache_bytes = 5;
    v = made(&job);
    is(&v, POD "volumes.1",
       "{\"hostPath\":{\"path\":\"/var/cache/millrace\",\"type\":\"DirectoryOrCreate\"},\"name\":\"millrace-cache\"}");
    is(&v, POD "initContainers.0.volumeMounts.2", "{\"mountPath\":\"/millrace/cache\",\"name\":\"millrace-cache\"}");
    assert_int_equal(at(&v, POD "initContainers.1.volumeMounts")->u.list.n, 2); /* for what is fetched only */
    job.fetches = false;
    v = made(&job);
    assert_int_equal(at(&v, POD "initContainers")->u.list.n, 1);
    struct err err = {0};
    struct value pod;
    const char *more = "{\"pod\":{\"initContainers\":[{\"name\":\"proxy\",\"restartPolicy\":\"Always\"}]}}";
    assert_true(json_parse(&arena, str_of(more), 0, &pod, &err));
    job.cluster = &pod;
    v = made(&job); /* told to stop first */
    is(&v, POD "initContainers.0.name", "proxy");
    is(&v, POD "initContainers.1.name", KUBE_COLLECT);
}

static void several_workers_are_an_indexed_job(void **state)
{
    (void)state;
    static const struct kube_variable env[] = {
        {.name = STR_INIT("RANK"), .field = STR_INIT("metadata.annotations['" KUBE_LABEL_RANK "']")}};
    struct kube_job job = plain();
    struct value v = made(&job);
    is(&v, "spec.completions", "1");
    assert_null(at(&v, "spec.completionMode"));
    assert_null(at(&v, POD "subdomain"));
    job.workers = 4;
    job.env = env;
    job.n_env = 1;
    v = made(&job);
    is(&v, "spec.completions", "4");
    is(&v, "spec.parallelism", "4");
    is(&v, "spec.completionMode", "Indexed");
    is(&v, "spec.backoffLimit", "0"); /* all or nothing */
    is(&v, POD "subdomain", "train-abc");
    is(&v, STEP "env.0.valueFrom.fieldRef.fieldPath",
       "metadata.annotations['batch.kubernetes.io/job-completion-index']");
}

static void a_service_goes_with_its_job(void **state)
{
    (void)state;
    struct err err = {0};
    struct value v;
    BUF_AUTO text;
    buf_init(&text, 0);
    kube_service_json(STR("train-abc"), STR("u-1"), STR("i1"), (struct attempt_id){7, 2, 3, 0}, &text);
    assert_true(json_parse(&arena, buf_view(&text), 0, &v, &err));
    is(&v, "metadata.name", "train-abc");
    is(&v, "metadata.ownerReferences",
       "[{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"name\":\"train-abc\",\"uid\":\"u-1\"}]");
    is(&v, "spec",
       "{\"clusterIP\":\"None\",\"publishNotReadyAddresses\":true,"
       "\"selector\":{\"batch.kubernetes.io/job-name\":\"train-abc\"}}");
}

/* Whatever users write, something can be put into the Job's own. */
static void its_spec_is_found(void **state)
{
    (void)state;
    struct kube_job job = plain();
    struct err err = {0};
    struct value v;
    size_t at;
    BUF_AUTO text, more;
    buf_init(&text, 0);
    buf_init(&more, 0);
    job.path = job.run_name = STR("{" KUBE_JOB_SPEC "}");
    kube_job_json(&job, &text);
    assert_true(str_find(buf_view(&text), STR(KUBE_JOB_SPEC), &at));
    at += sizeof KUBE_JOB_SPEC - 1;
    buf_str(&more, str_sub(buf_view(&text), 0, at));
    buf_c(&more, "\"suspend\":true,");
    buf_str(&more, str_sub(buf_view(&text), at, text.n));
    assert_true(json_parse(&arena, buf_view(&more), 0, &v, &err));
    is(&v, "spec.suspend", "true");
}

static void names_are_names(void **state)
{
    (void)state;
    static const struct {
        const char *step, *begins;
    } rows[] = {{"train", "train-"},
                {"Train_Model 2!", "train-model-2-"},
                {"9lives", "s9lives-"},
                {"___", "s-"},
                {"a-very-long-name-of-a-step-that-goes-on-and-on", "a-very-long-name-of-a-step-tha-"}};
    char name[KUBE_JOB_NAME], again[KUBE_JOB_NAME];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kube_job_name(STR("i1"), str_of(rows[i].step), (struct attempt_id){1, 2, 3, 0}, name);
        if (!str_starts(str_of(name), rows[i].begins)) fail_msg("%s became %s", rows[i].step, name);
        assert_int_equal(strlen(name), strlen(rows[i].begins) + 16);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(name));
        kube_job_name(STR("i1"), str_of(rows[i].step), (struct attempt_id){1, 2, 3, 0}, again);
        assert_string_equal(name, again);
        kube_job_name(STR("i1"), str_of(rows[i].step), (struct attempt_id){1, 2, 4, 0}, again);
        assert_string_not_equal(name, again);
        kube_job_name(STR("i2"), str_of(rows[i].step), (struct attempt_id){1, 2, 3, 0}, again);
        assert_string_not_equal(name, again);
        kube_job_name(STR("i1"), str_of(rows[i].step), (struct attempt_id){1, 2, 3, 1000001}, again);
        assert_string_not_equal(name, again);
        kube_job_name(STR("i1"), str_of(rows[i].step), (struct attempt_id){1, 2, 3, 1000002}, name);
        assert_string_not_equal(name, again);
    }
}

static void labels_are_values(void **state)
{
    (void)state;
    static const struct {
        const char *text, *label;
    } rows[] = {{"train[2].x", "train-2-.x"}, {"-a-", "a"}, {"", ""}, {"\xc3\xa9t\xc3\xa9", "t"}, {"a b", "a-b"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got = kube_label(&arena, str_of(rows[i].text));
        if (!str_is(got, rows[i].label)) fail_msg("'%s' became '%.*s'", rows[i].text, STR_ARG(got));
    }
    char longest[200];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(kube_label(&arena, (struct str){longest, sizeof longest}).n, 63);
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
    const struct CMUnitTest tests[] = {T(a_plain_step_is_one_container),
                                       T(dollars_are_the_steps_own),
                                       T(texts_come_as_files),
                                       T(what_a_cluster_understands_reaches_it),
                                       T(several_workers_are_an_indexed_job),
                                       T(a_service_goes_with_its_job),
                                       T(its_spec_is_found),
                                       T(names_are_names),
                                       T(an_annotation_of_ours_may_be_said_otherwise),
                                       T(data_is_moved_beside_the_step),
                                       T(labels_are_values)};
    return cmocka_run_group_tests_name("kube jobs", tests, NULL, NULL);
}
