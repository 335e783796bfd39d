/* What belonged to a Job that others have deleted: it may be left, and goes by its name when the attempt is over. What
 * Millrace has deleted takes it along, and nothing more is asked for. */
#include "tests/scheduler/kube_ends_rig.h"

#define SECRET "DELETE /api/v1/namespaces/n/secrets/its-secret"
#define SERVICE "DELETE /api/v1/namespaces/n/services/"
#define JOB "DELETE /apis/batch/v1/namespaces/n/jobs/"

static bool refuses; /* what is to be deleted beside the Job */

static void starts(long job_status)
{
    const struct row script[] = {
        {.match = JOB, .status = (int)job_status, .body = "{}", .times = -1},
        {.match = "DELETE ", .status = refuses ? 403 : 200, .body = "{}", .times = -1},
        {.match = "/last", .status = 200, .body = "{}", .delay_ms = 100},
        {.match = "/log", .status = 200, .body = "", .times = -1},
        {.match = "fieldSelector=", .status = 200, .body = "{\"items\":[]}", .times = -1},
        {.match = "watch=1", .how = SILENT, .times = -1},
        {.match = "limit=500", .status = 200, .body = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}", 0, -1},
        {.match = NULL}};
    server_start(script);
    if (begin(NULL) != 0) fail();
}

/* With two workers and a secret; or one that has neither. */
static struct kube_attempt *runs(bool with)
{
    struct kube_attempt *a = with_pods(with ? 2 : 1, RUNS);
    a->secret_name = with ? STR("its-secret") : STR("");
    return a;
}

static void answered_last(void *ctx, const struct kube_answer *answer)
{
    *(bool *)ctx = answer->status == 200;
}

/* Whatever is asked for has come. */
static void all_come(void)
{
    bool last = false;
    const struct kube_request marker = {
        .method = "GET", .path = STR("/last"), .priority = KUBE_IDLE, .done = answered_last, .ctx = &last};
    kube_request(k->client, &marker);
    turn_until(k->client, &last);
}

/* Its pods end, it is told, and forgotten. */
static void ends(struct kube_attempt *a)
{
    struct exec_event told;
    uint32_t workers = a->workers;
    for (uint32_t i = 0; i < workers; i++)
        says(KUBE_PRESENT, workers, i, DONE);
    turn_until(k->client, &a->queued);
    assert_true(executor.next(executor.self, &arena, &told));
    executor.forget(executor.self, id);
    while ((a = kube_find(k, id)) != NULL) {
        a->forgotten_us -= INT64_C(3600) * 1000000; /* it may lie for a while */
        if (a->retry_us != 0) a->retry_us = 1;
        if (a->retry_us != 0) kube_tick(k);
        kube_client_turn(k->client);
        usleep(1000);
    }
    all_come();
}

static void job_goes(const char *metadata)
{
    told(kube_hear_job, metadata[0] != '\0' ? KUBE_PRESENT : KUBE_DELETED,
         arena_printf(&arena, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"labels\":{" LABELS "}%s},\"spec\":{}}",
                      job_name, metadata));
    if (metadata[0] == '\0') answered(kube_find(k, id), "j1", NULL);
}

#define LEAVING ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":[\"orphan\"]"

static void what_others_may_have_left_goes_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *told[2]; /* NULL = nothing; empty = that it is gone */
        bool with;
        long status; /* of our deletion */
        size_t by_us, removed;
    } rows[] = {
        {"by us", {NULL}, true, 200, 1, 0},      {"gone", {""}, true, 200, 0, 1},
        {"leaving", {LEAVING}, true, 200, 0, 1}, {"leaving, and gone", {LEAVING, ""}, true, 200, 0, 1},
        {"found gone", {NULL}, true, 404, 1, 1}, {"gone, with nothing", {""}, false, 200, 0, 0},
    };
    EACH(i, rows)
    {
        starts(rows[i].status);
        struct kube_attempt *a = runs(rows[i].with);
        for (size_t t = 0; t < 2 && rows[i].told[t] != NULL; t++)
            job_goes(rows[i].told[t]);
        ends(a);
        if (received_of(JOB) != rows[i].by_us || received_of(SECRET) != rows[i].removed ||
            received_of(SERVICE) != rows[i].removed)
            fail_msg("%s: %zu, %zu, %zu", rows[i].name, received_of(JOB), received_of(SECRET), received_of(SERVICE));
        (void)end_with_server(NULL);
    }
}

/* A step that is stopped meanwhile, whose Job Millrace has deleted. */
static void what_is_stopped_takes_all_along(void **state)
{
    (void)state;
    starts(200);
    struct kube_attempt *a = runs(true);
    stop(1000);
    turn_until(k->client, &a->deleted);
    job_goes("");
    ends(a);
    assert_int_equal(received_of(JOB), 1);
    assert_int_equal(received_of(SECRET) + received_of(SERVICE), 0);
    (void)end_with_server(NULL);
}

/* While no server looked. What was never made is launched again by the same names. */
static void what_is_not_there_any_more_may_have_left_it(void **state)
{
    (void)state;
    for (int never = 0; never <= 1; never++) {
        struct exec_event told;
        starts(200);
        struct kube_attempt *a = asked(2);
        a->secret_name = STR("its-secret");
        a->never = never;
        assert_int_equal(a->phase, KUBE_HELD);
        turn_until(k->client, &a->queued);
        assert_true(executor.next(executor.self, &arena, &told));
        assert_int_equal(told.kind, EXEC_UNKNOWN);
        assert_int_equal(told.never, never);
        all_come();
        assert_int_equal(received_of(SECRET) + received_of(SERVICE), never ? 0 : 2);
        (void)end_with_server(NULL);
    }
}

static void it_stays_where_it_may_not_be_deleted(void **state)
{
    (void)state;
    refuses = true;
    starts(200);
    struct kube_attempt *a = runs(true);
    job_goes("");
    ends(a);
    assert_int_equal(received_of(SECRET), 1);
    (void)end_with_server(NULL);
    refuses = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_may_have_left_goes_by_name),
        cmocka_unit_test(what_is_stopped_takes_all_along),
        cmocka_unit_test(what_is_not_there_any_more_may_have_left_it),
        cmocka_unit_test(it_stays_where_it_may_not_be_deleted),
    };
    return cmocka_run_group_tests_name("orphans on a cluster", tests, open_folder, drop_folder);
}
