/* Containers beside a step's own: what waits for them does not do so for ever, and others not for what they say. */
#include "tests/scheduler/kube_rig.h"

#define SECOND_US INT64_C(1000000)
#define START_S 300 /* that a start may take, by default */

#define BEFORE(name)                                                                                                   \
    "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"" name "\",\"state\":{\"running\":{}}}],"            \
    "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"waiting\":{\"reason\":\"PodInitializing\"}}}]"

static struct kube_attempt *with(const char *status)
{
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p0", LABELS, job_name, "j1", status);
    return asked(1);
}

static void who_is_kept_from_beginning_for_too_long_is_given_up(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        enum kube_phase phase;
    } rows[] = {{12 * START_S - 10, KUBE_CREATED}, {12 * START_S + 1, KUBE_TOLD}};
    struct kube_attempt *a = with(BEFORE("warm"));
    EACH(i, rows)
    {
        assert_int_not_equal(a->ranks[0].helped.before_us, 0);
        a->ranks[0].helped.before_us = os_mono_us() - rows[i].seconds * SECOND_US;
        kube_tick(k);
        assert_int_equal(a->phase, rows[i].phase);
    }
    assert_int_equal(a->result.reason, REASON_ERROR);
    assert_true(str_starts(a->result.message, "could not start, and was given up: "));
}

/* Few are asked at once. */
static void who_goes_while_it_is_asked_makes_room_for_others(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct kube_attempt *a = with(BEFORE("millrace-fetch"));
        a->ranks[0].helped.moves_us -= 9 * SECOND_US;
        kube_tick(k);
        assert_non_null(a->words.call);
        kube_drop(k, a);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_is_kept_from_beginning_for_too_long_is_given_up),
        TEST(who_goes_while_it_is_asked_makes_room_for_others),
    };
    return cmocka_run_group_tests_name("containers beside a step's", tests, open_folder, drop_folder);
}
