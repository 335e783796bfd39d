/* How attempts end that had no Service, in rows, and when it is known that they had none. */
#include "scheduler/kube_service.h"
#include "tests/scheduler/kube_rig.h"

#define QUOTA "waits for quota; Kubernetes says: services \"x\" is forbidden: exceeded quota"

static const struct {
    const char *what, *why;
    bool ok;
    enum failure failure;
    enum reason reason;
    int32_t exit_code;
    bool ours; /* it becomes a failure of the infrastructure, which says why */
} cases[] = {
    {"failed without it", QUOTA, false, FAILURE_ERROR, REASON_ERROR, 7, true},
    {"left no output without it", QUOTA, false, FAILURE_ERROR, REASON_OUTPUT, 0, true},
    {"could not start without it", QUOTA, false, FAILURE_ERROR, REASON_ERROR, -1, true},
    {"looked for others until its time was over", QUOTA, false, FAILURE_TIMEOUT, REASON_TIMEOUT, 143, true},
    {"never began in its time", QUOTA, false, FAILURE_TIMEOUT, REASON_TIMEOUT, -1, false},
    {"failed, and had it", NULL, false, FAILURE_ERROR, REASON_ERROR, 7, false},
    {"did without it", QUOTA, true, FAILURE_NONE, REASON_NONE, 0, false},
    {"was cancelled", QUOTA, false, FAILURE_ERROR, REASON_CANCELLED, 143, false},
    {"took too much memory", QUOTA, false, FAILURE_OOM, REASON_OOM, 137, false},
    {"was refused", QUOTA, false, FAILURE_INVALID, REASON_INVALID, -1, false},
    {"gave way", QUOTA, false, FAILURE_INFRA, REASON_PREEMPTED, 143, false},
};

static void what_ends_without_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena m;
        arena_init(&m, 0);
        struct task_result r = {.ok = cases[i].ok,
                                .failure = cases[i].failure,
                                .reason = cases[i].reason,
                                .exit_code = cases[i].exit_code,
                                .message = STR("rank 1: x")};
        kube_without_service(&r, cases[i].why, &m);
        enum failure failure = cases[i].ours ? FAILURE_INFRA : cases[i].failure;
        enum reason reason = cases[i].ours ? REASON_INFRA : cases[i].reason;
        const char *message = cases[i].ours ? "had no Service by which its workers find each other (" QUOTA
                                              "), and ended so: rank 1: x"
                                            : "rank 1: x";
        if (r.ok != cases[i].ok || r.failure != failure || r.reason != reason || r.exit_code != cases[i].exit_code ||
            !str_is(r.message, message))
            fail_msg("%s: %d, %d, '%.*s'", cases[i].what, (int)r.failure, (int)r.reason, STR_ARG(r.message));
        arena_free(&m);
    }
}

/* What has no answer may be there. */
static void only_an_answer_denies_it(void **state)
{
    static const struct {
        const char *what;
        struct row answer;
        bool denied;
    } rows[] = {
        {"refused", {"/services", 403, .body = ""}, true},
        {"not made, by an error of the API server's", {"/services", 500, .body = ""}, true},
        {"asked to wait", {"/services", 429, .body = ""}, false},
        {"an API server that goes away", {"/services", .how = DROPPED}, false},
        {"made", {"/services", 201, .body = "{}"}, false},
        {"made before", {"/services", 409, .body = "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}"}, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        server_start((const struct row[]){rows[i].answer, {.match = "", .how = SILENT, .times = -1}, {.match = NULL}});
        assert_int_equal(begin(NULL), 0);
        job_told(KUBE_PRESENT, job_name, "j1", LABELS);
        struct kube_attempt *a = asked(2);
        kube_belongings_create(a);
        assert_non_null(a->belongings[KUBE_SERVICE].call);
        while (a->belongings[KUBE_SERVICE].call != NULL) {
            struct pollfd p = {.fd = kube_client_fd(k->client), .events = POLLIN};
            poll(&p, 1, 100);
            kube_client_turn(k->client);
        }
        if ((kube_belongings_denied(a) != NULL) != rows[i].denied) fail_msg("%s", rows[i].what);
        assert_int_equal(end_with_server(NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_ends_without_it),
                                       cmocka_unit_test(only_an_answer_denies_it)};
    return cmocka_run_group_tests_name("without a Service", tests, open_folder, drop_folder);
}
