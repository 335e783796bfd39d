/* The client and a watch against a real API server, named by the kubeconfig in MILLRACE_TEST_KUBECONFIG; without it
 * everything is skipped. MILLRACE_TEST_KUBE_RESTART, a command, restarts that server: then the watch must survive.
 * Works in the namespace "default", on objects of its own. */
#include "engine/base/buf.h"
#include "engine/kube/watch.h"
#include "tests/engine/kube/rig.h"

#define MAPS "/api/v1/namespaces/default/configmaps"
#define JOBS "/apis/batch/v1/namespaces/default/jobs"
#define MARK "millrace-test=kube"
#define COUNT 120 /* objects: several pages of 50 */

static struct kube_access cluster;
static struct kube_client *client;
static bool missing;

static int begin(void **state)
{
    const char *file = getenv("MILLRACE_TEST_KUBECONFIG");
    struct err err;
    setup(state);
    missing = file == NULL || !*file;
    if (missing) return 0;
    if (!kube_access_load(&arena, str_of(file), (struct str){"", 0}, &cluster, &err)) {
        fprintf(stderr, "%s (%s)\n", err.message, err.hint);
        return -1;
    }
    client = open_client(&(struct kube_client_config){.access = &cluster, .requests_per_s = 1000, .burst = 1000});
    return 0;
}

static int end(void **state)
{
    kube_client_close(client);
    (void)server_start, (void)server_stop, (void)access_of_server; /* the scripted one is not needed here */
    return teardown(state);
}

static struct kube_answer ask(const char *method, const char *path, const char *body)
{
    struct kube_answer a;
    struct err err;
    if (!kube_await(client, method, str_of(path), str_of(body), &arena, &a, &err)) fail_msg("%s", err.message);
    return a;
}

static void clean(void)
{
    ask("DELETE", MAPS "?labelSelector=millrace-test%3Dkube", "");
    ask("DELETE", JOBS "?labelSelector=millrace-test%3Dkube&propagationPolicy=Background", "");
}

static const char *map_named(const char *name)
{
    return arena_printf(&arena,
                        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\",\"labels\":"
                        "{\"millrace-test\":\"kube\"},\"annotations\":{\"a\":\"b\\u0000c\"}}}",
                        name)
        .p;
}

static void is(struct kube_answer a, enum kube_outcome outcome, long status, const char *reason)
{
    if (a.outcome != outcome || a.status != status || !str_is(a.reason, reason))
        fail_msg("outcome %d, status %ld, %.*s: %.*s", a.outcome, a.status, STR_ARG(a.reason), STR_ARG(a.message));
}

static void objects_are_made_read_and_removed(void **state)
{
    (void)state;
    if (missing) skip();
    clean();
    is(ask("POST", MAPS, map_named("kube-a")), KUBE_DONE, 201, "");
    is(ask("POST", MAPS, map_named("kube-a")), KUBE_REFUSED, 409, "AlreadyExists");
    struct kube_answer a = ask("GET", MAPS "/kube-a", "");
    is(a, KUBE_DONE, 200, "");
    struct value v;
    struct err err;
    if (!kube_json(&arena, a.body, &v, &err)) fail_msg("%s", err.message);
    assert_true(str_is(kube_text(&v, "metadata.annotations.a"), "b\xEF\xBF\xBD"
                                                                "c"));
    is(ask("PUT", MAPS "/kube-a",
           "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"kube-a\",\"resourceVersion\":\"1\"}"
           "}"),
       KUBE_REFUSED, 409, "Conflict");
    is(ask("GET", MAPS "/kube-none", ""), KUBE_REFUSED, 404, "NotFound");
    is(ask("POST", MAPS, "{"), KUBE_REFUSED, 400, "BadRequest");
    is(ask("DELETE", MAPS "/kube-a", ""), KUBE_DONE, 200, "");
    is(ask("DELETE", MAPS "/kube-a", ""), KUBE_REFUSED, 404, "NotFound");
}

static void jobs_are_applied(void **state)
{
    static const char job[] =
        "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"kube-job\",\"labels\":"
        "{\"millrace-test\":\"kube\"}},\"spec\":{\"suspend\":true,\"template\":{\"spec\":{\"restartPolicy\":\"Never\","
        "\"containers\":[{\"name\":\"main\",\"image\":\"none\"}]}}}}";
    struct told t = {0};
    (void)state;
    if (missing) skip();
    for (int i = 0; i < 2; i++) { /* made, then found as it should be */
        t.done = false;
        kube_request(client, &(struct kube_request){.method = "PATCH",
                                                    .path = STR(JOBS "/kube-job?fieldManager=millrace&force=true"),
                                                    .body = str_of(job),
                                                    .content_type = "application/apply-patch+yaml",
                                                    .done = on_told,
                                                    .ctx = &t});
        turn_until(client, &t.done);
        if (t.outcome != KUBE_DONE || t.status != (i == 0 ? 201 : 200)) fail_msg("%ld %s", t.status, t.message);
    }
    is(ask("DELETE", JOBS "/kube-job",
           "{\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"00000000-0000-0000-0000-000000000000\"}"
           "}"),
       KUBE_REFUSED, 409, "Conflict");
    is(ask("DELETE", JOBS "/kube-job?propagationPolicy=Background", ""), KUBE_DONE, 200, "");
}

/* Many at once share connections by HTTP/2. */
static void requests_are_multiplexed(void **state)
{
    static struct told told[300];
    (void)state;
    if (missing) skip();
    memset(told, 0, sizeof told);
    uint64_t before = kube_client_statistics(client)->http2;
    int64_t began = os_mono_us();
    for (size_t i = 0; i < 300; i++)
        kube_request(client, &(struct kube_request){
                                 .method = "GET", .path = STR(MAPS "?limit=1"), .done = on_told, .ctx = &told[i]});
    for (size_t i = 0; i < 300; i++) {
        turn_until(client, &told[i].done);
        assert_int_equal(told[i].outcome, KUBE_DONE);
    }
    assert_int_equal(kube_client_statistics(client)->http2 - before, 300);
    print_message("300 lists in %lld ms\n", (long long)(os_mono_us() - began) / 1000);
}

/* A plugin that prints our certificate. */
static void use_plugin(struct kube_access *to)
{
    struct value_map_builder status, all;
    struct str *args = arena_array(&arena, struct str, 2);
    BUF_AUTO json;
    buf_init(&json, 0);
    value_map_begin(&status, &arena);
    value_map_put(&status, STR("clientCertificateData"), value_string(to->cert_pem));
    value_map_put(&status, STR("clientKeyData"), value_string(to->key_pem));
    value_map_begin(&all, &arena);
    value_map_put(&all, STR("kind"), value_string(STR("ExecCredential")));
    value_map_put(&all, STR("apiVersion"), value_string(STR("client.authentication.k8s.io/v1")));
    value_map_put(&all, STR("status"), value_map_end(&status));
    struct value v = value_map_end(&all);
    value_json(&json, &v, false);
    args[0] = STR("%s");
    args[1] = arena_str(&arena, buf_view(&json));
    to->has_exec = true;
    to->exec = (struct kube_exec){
        .api_version = STR("client.authentication.k8s.io/v1"), .command = STR("printf"), .args = args, .n_args = 2};
    to->cert_pem = to->key_pem = (struct str){"", 0};
}

/* Who the server is, and who we are: by another name, by a wrong one, without its authority, by a plugin's certificate.
 */
static void certificates_are_checked(void **state)
{
    static const struct {
        const char *server_name;
        bool no_ca, insecure, exec;
        long status; /* 0 = no answer */
    } rows[] = {{"kubernetes.default.svc", false, false, false, 200},
                {"example.com", false, false, false, 0},
                {"", true, false, false, 0},
                {"", true, true, false, 200},
                {"", false, false, true, 200}};
    (void)state;
    if (missing) skip();
    EACH(r, rows)
    {
        struct kube_access other = cluster;
        struct kube_answer a;
        struct err err;
        other.server_name = str_of(rows[r].server_name);
        other.insecure = rows[r].insecure;
        if (rows[r].no_ca) other.ca_pem = (struct str){"", 0};
        if (rows[r].exec) use_plugin(&other);
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &other});
        bool ok = kube_await(c, "GET", STR(MAPS), (struct str){"", 0}, &arena, &a, &err);
        if (!ok) print_message("%s\n", err.message);
        if (a.status != rows[r].status || a.tries != 1)
            fail_msg("row %zu: %ld after %u tries, %.*s", r, a.status, a.tries, STR_ARG(a.message));
        if (!ok) assert_int_equal(a.outcome, KUBE_AGAIN);
        if (ok) assert_int_equal(kube_client_statistics(c)->http2, 1);
        kube_client_close(c);
    }
}

/* ---- a watch ---- */

struct seen {
    struct kube_watch *watch;
    size_t present, deleted, synced, troubles;
    bool well;
};

static void on_changed(void *ctx, enum kube_change change, const struct value *object)
{
    struct seen *s = ctx;
    assert_true(kube_text(object, "metadata.uid").n > 0);
    *(change == KUBE_PRESENT ? &s->present : &s->deleted) += 1;
}

static void on_synced(void *ctx)
{
    ((struct seen *)ctx)->synced++;
}

static void on_trouble(void *ctx, const struct kube_answer *a)
{
    struct seen *s = ctx;
    if (a != NULL)
        print_message("trouble: %ld %.*s\n", a->status, STR_ARG(a->message));
    else
        print_message("well again\n");
    s->troubles += a != NULL;
    s->well = a == NULL;
}

static void until_count(const size_t *n, size_t wanted, const char *what)
{
    int64_t last = os_mono_us() + 60000000;
    while (*n < wanted) {
        struct pollfd p = {.fd = kube_client_fd(client), .events = POLLIN};
        poll(&p, 1, 1000);
        kube_client_turn(client);
        if (os_mono_us() > last) fail_msg("%s: %zu of %zu", what, *n, wanted);
    }
}

static void open_watch(struct seen *s, int64_t timeout_s)
{
    struct kube_watch_config config = {.path = STR(MAPS),
                                       .selector = STR(MARK),
                                       .changed = on_changed,
                                       .synced = on_synced,
                                       .trouble = on_trouble,
                                       .ctx = s,
                                       .page = 50,
                                       .timeout_s = timeout_s};
    struct err err;
    if (!kube_watch_open(client, &config, &s->watch, &err)) fail_msg("%s", err.message);
}

static void a_collection_is_followed(void **state)
{
    static struct told told[COUNT];
    struct seen s = {0};
    (void)state;
    if (missing) skip();
    clean();
    memset(told, 0, sizeof told);
    for (size_t i = 0; i < COUNT; i++)
        kube_request(client, &(struct kube_request){.method = "POST",
                                                    .path = STR(MAPS),
                                                    .body = str_of(map_named(arena_printf(&arena, "kube-%zu", i).p)),
                                                    .done = on_told,
                                                    .ctx = &told[i]});
    for (size_t i = 0; i < COUNT; i++) {
        turn_until(client, &told[i].done);
        assert_int_equal(told[i].outcome, KUBE_DONE);
    }
    open_watch(&s, 2); /* ended by the server every two seconds, and gone on with */
    until_count(&s.synced, 1, "synced");
    assert_int_equal(s.present, COUNT);
    assert_int_equal(kube_watch_statistics(s.watch)->pages, 3);
    until_count(&kube_watch_statistics(s.watch)->watches, 3, "watches");
    int64_t began = os_mono_us();
    is(ask("POST", MAPS, map_named("kube-new")), KUBE_DONE, 201, "");
    until_count(&s.present, COUNT + 1, "present");
    print_message("created and told within %lld us\n", (long long)(os_mono_us() - began));
    clean();
    until_count(&s.deleted, COUNT + 1, "deleted");
    assert_int_equal(s.synced, 1); /* by one list */
    assert_int_equal(kube_watch_statistics(s.watch)->known, 0);
    kube_watch_close(s.watch);
}

static void a_restart_is_survived(void **state)
{
    const char *command = getenv("MILLRACE_TEST_KUBE_RESTART");
    struct seen s = {0};
    (void)state;
    if (missing || command == NULL) skip();
    clean();
    open_watch(&s, 0);
    until_count(&s.synced, 1, "synced");
    for (int round = 1; round <= 3; round++) {
        is(ask("POST", MAPS, map_named(arena_printf(&arena, "kube-%d", round).p)), KUBE_DONE, 201, "");
        until_count(&s.present, (size_t)round, "present");
        int64_t began = os_mono_us();
        assert_int_equal(system(command), 0);
        print_message("restarted within %lld ms\n", (long long)(os_mono_us() - began) / 1000);
        uint64_t watches = kube_watch_statistics(s.watch)->watches;
        until_count(&kube_watch_statistics(s.watch)->watches, watches + 1, "watches");
    }
    struct kube_answer a;
    struct err err;
    int64_t last = os_mono_us() + 60000000;
    while (!kube_await(client, "DELETE", STR(MAPS "/kube-1"), (struct str){"", 0}, &arena, &a, &err))
        if (os_mono_us() > last) fail_msg("%s", err.message);
    until_count(&s.deleted, 1, "deleted");
    clean();
    until_count(&s.deleted, 3, "deleted");
    kube_watch_close(s.watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_made_read_and_removed), cmocka_unit_test(jobs_are_applied),
        cmocka_unit_test(requests_are_multiplexed),          cmocka_unit_test(certificates_are_checked),
        cmocka_unit_test(a_collection_is_followed),          cmocka_unit_test(a_restart_is_survived),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
