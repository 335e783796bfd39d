/* Since when a step is known to be unable to start, by which it is given up. */
#include <time.h>

#include "engine/os/clock.h"
#include "tests/scheduler/kube_rig.h"

#define SECOND_US INT64_C(1000000)
#define START_S 300 /* that a start may take, by default */

#define PLACED(at) "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\",\"lastTransitionTime\":\"" at "\"}],"
#define WAITS(reason)                                                                                                  \
    PLACED("2020-01-01T00:00:00Z")                                                                                     \
    "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"waiting\":{\"reason\":\"" reason "\"}}}]"

static void says(const char *status)
{
    pod_told(KUBE_PRESENT, "p0", LABELS, job_name, "j1", status);
}

/* As one that this server has made. */
static struct kube_attempt *made(void)
{
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    struct kube_attempt *a = asked(1);
    a->manifest = STR("{}");
    return a;
}

static void has_hung_for(const struct kube_attempt *a, int64_t seconds)
{
    int64_t us = os_mono_us() - a->hangs_us;
    if (a->hangs_us == 0 || us < seconds * SECOND_US || us > (seconds + 20) * SECOND_US)
        fail_msg("%lld us, and not %lld s", a->hangs_us != 0 ? (long long)us : -1, (long long)seconds);
}

static void a_moment_without_a_word_does_not_begin_it_anew(void **state)
{
    (void)state;
    struct kube_attempt *a = made();
    says(WAITS("ImagePullBackOff"));
    has_hung_for(a, 0);
    a->hangs_us -= 200 * SECOND_US;
    says(WAITS("ContainerCreating")); /* its kubelet was restarted */
    assert_int_equal(a->hangs_us, 0);
    says(WAITS("ErrImagePull"));
    has_hung_for(a, 200);
    says(WAITS("ContainerCreating"));
    a->eased_us -= 31 * SECOND_US;
    says(WAITS("ErrImagePull"));
    has_hung_for(a, 0);
}

static void another_server_was_told_of_it_before(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) { /* who is heard of first, the pod or the scheduler */
        job_told(KUBE_PRESENT, job_name, "j1", LABELS);
        if (first == 0) says(WAITS("ImagePullBackOff"));
        struct kube_attempt *a = asked(1);
        if (first == 1) says(WAITS("ImagePullBackOff"));
        has_hung_for(a, START_S - 30);
        assert_string_equal(a->waits, "ImagePullBackOff");
        kube_tick(k);
        assert_int_equal(a->phase, KUBE_CREATED);
        kube_drop(k, a);
    }
}

static void who_hangs_for_longer_than_a_start_may_take_is_given_up(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        enum kube_phase phase;
    } rows[] = {{START_S - 10, KUBE_CREATED}, {START_S + 1, KUBE_TOLD}};
    struct kube_attempt *a = made();
    says(WAITS("ErrImagePull"));
    EACH(i, rows)
    {
        a->hangs_us = os_mono_us() - rows[i].seconds * SECOND_US;
        kube_tick(k);
        assert_int_equal(a->phase, rows[i].phase);
    }
    assert_int_equal(a->result.reason, REASON_ERROR);
    assert_true(str_is(a->result.message, "could not start, and was given up: ErrImagePull"));
}

static void it_hangs_for_no_longer_than_its_pod_is_placed(void **state)
{
    (void)state;
    char at[32];
    time_t ago = time(NULL) - 100;
    struct tm tm;
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&ago, &tm));
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    struct kube_attempt *a = asked(1);
    says(arena_printf(
             &arena,
             "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\",\"lastTransitionTime\":\"%s\"}],"
             "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\"}}}]",
             at)
             .p);
    has_hung_for(a, 100);
}

/* Without a watch nobody knows whether it has begun since. */
static void it_does_not_hang_while_nobody_can_hear_of_it(void **state)
{
    (void)state;
    struct kube_attempt *a = made();
    says(WAITS("ImagePullBackOff"));
    for (int away = 0; away < 2; away++) {
        k->ticked_us = os_mono_us() - 200 * SECOND_US;
        a->hangs_us = k->ticked_us - 50 * SECOND_US;
        kube_tick(k);
        has_hung_for(a, away ? 50 : 250);
        while (kube_pods_trouble(k) == NULL) {
            struct pollfd p = {.fd = kube_client_fd(k->client), .events = POLLIN};
            poll(&p, 1, 100);
            kube_client_turn(k->client);
        }
    }
}

/* One of two holds what it has; who has nothing may wait for a quota for any time. */
static void who_has_some_of_its_pods_hangs_on_a_quota(void **state)
{
    (void)state;
    static const struct {
        uint32_t pods;
        bool hangs;
    } rows[] = {{0, false}, {1, true}};
    EACH(i, rows)
    {
        job_told(KUBE_PRESENT, job_name, "j1", LABELS);
        if (rows[i].pods > 0) pod_told(KUBE_PRESENT, "p0", LABELS RANK_0, job_name, "j1", RUNS);
        struct kube_attempt *a = asked(2);
        k->podless.answered_us = 0;
        kube_ask_why(k);
        while (k->podless.call != NULL) {
            kube_client_turn(k->client);
            usleep(1000);
        }
        assert_non_null(strstr(a->waits, "exceeded quota: q"));
        assert_int_equal(a->hangs_us != 0, rows[i].hangs);
        kube_drop(k, a);
    }
}

static int begin_with_quota(void **state)
{
    static const struct row script[] = {
        {"n/events?", 200,
         .body = "{\"items\":[{\"involvedObject\":{\"uid\":\"j1\"},\"reason\":\"FailedCreate\","
                 "\"message\":\"exceeded quota: q\"}]}",
         .times = -1},
        {.match = NULL}};
    server_start(script);
    return begin(state);
}

/* A cluster that does not let itself be watched. */
static int begin_unwatched(void **state)
{
    static const struct row script[] = {{"", 403, .body = "", .times = -1}, {.match = NULL}};
    server_start(script);
    return begin(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_moment_without_a_word_does_not_begin_it_anew),
        TEST(another_server_was_told_of_it_before),
        TEST(who_hangs_for_longer_than_a_start_may_take_is_given_up),
        TEST(it_hangs_for_no_longer_than_its_pod_is_placed),
        cmocka_unit_test_setup_teardown(who_has_some_of_its_pods_hangs_on_a_quota, begin_with_quota, end_with_server),
        cmocka_unit_test_setup_teardown(it_does_not_hang_while_nobody_can_hear_of_it, begin_unwatched, end_with_server),
    };
    return cmocka_run_group_tests_name("what hangs", tests, open_folder, drop_folder);
}
