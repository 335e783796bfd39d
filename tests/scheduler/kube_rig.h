/* An executor of the cluster without one: it is told what watches would tell it. What it asks for goes to the scripted
 * server of tests/engine/kube/rig.h where that was started before, and to nobody otherwise. */
#ifndef MILLRACE_TESTS_KUBE_EXECUTOR_RIG_H
#define MILLRACE_TESTS_KUBE_EXECUTOR_RIG_H

#include "engine/os/fs.h"
#include "engine/text/json.h"
#include "scheduler/kube_inner.h"
#include "tests/engine/kube/rig.h"

static char folder[] = "/tmp/kube-executor-XXXXXX";
static struct executor executor;
static struct kube *k;
static const struct attempt_id id = {7, 2, 1, 0};
static char job_name[KUBE_JOB_NAME];

#define LABELS                                                                                                         \
    "\"millrace.dev/instance\":\"i1\",\"millrace.dev/run\":\"7\",\"millrace.dev/task\":\"2\","                         \
    "\"millrace.dev/attempt\":\"1\""
#define OTHERS                                                                                                         \
    "\"millrace.dev/instance\":\"i1\",\"millrace.dev/run\":\"99999\",\"millrace.dev/task\":\"2\","                     \
    "\"millrace.dev/attempt\":\"1\""
#define RUNS                                                                                                           \
    "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"running\":{\"startedAt\":\"2026-01-01T00:00:00Z\"}}}]"
#define DONE                                                                                                           \
    "\"phase\":\"Succeeded\",\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"terminated\":{\"exitCode\":0}}}]"
#define RANK_1 ",\"batch.kubernetes.io/job-completion-index\":\"1\""
#define RANK_0 ",\"batch.kubernetes.io/job-completion-index\":\"0\""

static void told(void (*hear)(void *, enum kube_change, const struct value *), enum kube_change change, struct str text)
{
    struct value v;
    struct err err = {0};
    if (!json_parse(&arena, text, 0, &v, &err)) fail_msg("%.*s: %s", STR_ARG(text), err.message);
    hear(k, change, &v);
}

static void __attribute__((unused))
job_told(enum kube_change change, const char *name, const char *uid, const char *labels)
{
    told(kube_hear_job, change,
         arena_printf(&arena, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"labels\":{%s}},\"spec\":{}}", name, uid,
                      labels));
}

/* `job` NULL: nothing controls it. */
static void __attribute__((unused)) pod_told(enum kube_change change, const char *uid, const char *labels,
                                             const char *job, const char *job_uid, const char *status)
{
    struct str owner = STR("");
    if (job != NULL)
        owner =
            arena_printf(&arena, "{\"kind\":\"Job\",\"controller\":true,\"name\":\"%s\",\"uid\":\"%s\"}", job, job_uid);
    told(kube_hear_pod, change,
         arena_printf(&arena,
                      "{\"metadata\":{\"name\":\"pod-%s\",\"uid\":\"%s\",\"labels\":{%s},\"ownerReferences\":[%.*s]},"
                      "\"spec\":{\"nodeName\":\"n1\"},\"status\":{%s}}",
                      uid, uid, labels, STR_ARG(owner), status));
}

static struct kube_attempt *asked(uint32_t workers)
{
    struct node node = {.workers = workers};
    struct err err = {0};
    const struct exec_request req = {.id = id, .step = STR("train"), .spec = {.node = &node}};
    assert_true(executor.launch(executor.self, &req, true, STR("another"), &err));
    struct kube_attempt *a = kube_find(k, id);
    assert_non_null(a);
    return a;
}

/* What the server says that is asked for an object by its name; `items` NULL = it is not there. */
static void __attribute__((unused)) answered(struct kube_attempt *a, const char *uid, const char *items)
{
    struct value v;
    struct err err = {0};
    if (!json_parse(&arena, str_of(items != NULL ? items : "[]"), 0, &v, &err)) fail_msg("%s", err.message);
    kube_untold_hear(a, uid, &v);
}

/* Nor for a pod. */
#define NO_PODS                                                                                                        \
    {                                                                                                                  \
        .match = "pods?labelSelector=batch", .status = 200, .body = "{\"items\":[]}", .times = -1                      \
    }
static void __attribute__((unused)) no_pods(struct kube_attempt *a)
{
    const struct value none = {.type = VALUE_LIST};
    assert_non_null(a->question);
    assert_int_equal(a->phase, KUBE_CREATED);
    kube_cancel(k->client, a->question);
    a->question = NULL;
    kube_ask_pod_hear(a, &none);
}

static int begin(void **state)
{
    char path[FS_PATH_MAX];
    struct err err = {0};
    int port = server.port != 0 ? server.port : 9;
    if (setup(state) != 0) return -1;
    snprintf(path, sizeof path, "%s/kubeconfig", folder);
    FILE *f = fopen(path, "w");
    if (f == NULL) return -1;
    fprintf(f,
            "kind: Config\napiVersion: v1\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {server: "
            "'http://127.0.0.1:%d'}\nusers:\n- name: u\n  user: {}\ncontexts:\n- name: c\n  context: {cluster: c, "
            "user: u, namespace: n}\n",
            port);
    fclose(f);
    const struct kube_config cfg = {
        .kubeconfig = str_of(path), .instance = STR("i1"), .store_dir = str_of(folder), .requests_per_s = 10};
    if (!kube_executor_open(&cfg, &executor, &err)) fail_msg("%s", err.message);
    k = executor.self;
    kube_job_name(STR("i1"), STR("train"), id, job_name);
    return 0;
}

static int end(void **state)
{
    executor.stop(executor.self);
    return teardown(state);
}

static int __attribute__((unused)) end_with_server(void **state)
{
    int failed = end(state);
    server_stop();
    server.port = 0;
    return failed;
}

/* A cluster in which there is nothing, and that has not been heard yet. */
static int __attribute__((unused)) begin_with_nothing(void **state)
{
    static const struct row script[] = {
        {.match = "watch=1", .how = SILENT, .times = -1},
        {.match = "limit=500",
         .status = 200,
         .body = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}",
         .times = -1},
        {.match = "jobs?fieldSelector=metadata.name", .status = 200, .body = "{\"items\":[]}", .times = -1},
        {.match = NULL}};
    server_start(script);
    return begin(state);
}

static int open_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int drop_folder(void **state)
{
    struct err ignored;
    (void)state;
    return fs_remove_tree(folder, &ignored) ? 0 : -1;
}

#endif
