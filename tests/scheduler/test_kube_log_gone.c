/* What kubelets say where they have no log any more, in rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/kube_log_gone.h"

static const struct {
    const char *answer;
    bool gone;
} cases[] = {
    {"unable to retrieve container logs for containerd://0a1b2c", true},
    {"unable to retrieve container logs for cri-o://0a1b2c", true},
    {"unable to retrieve container logs", false},
    {"a step that was unable to retrieve container logs for x", false},
    {"\nunable to retrieve container logs for containerd://0a1b2c", false},
    {"", false},
};

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (kube_log_gone(str_of(cases[i].answer)) != cases[i].gone) fail_msg("'%s'", cases[i].answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers)};
    return cmocka_run_group_tests_name("logs that are gone", tests, NULL, NULL);
}
