/* See kube_service.h. */
#include "scheduler/kube_service.h"

/* Who has used up its memory did that by itself, and who was stopped, or never could work, would have been all the
 * same. */
static const enum failure of_the_lack[] = {FAILURE_ERROR, FAILURE_TIMEOUT};

static bool may_be_why(const struct task_result *r)
{
    bool began = r->exit_code >= 0 || r->started_us > 0;
    if (r->ok || r->reason == REASON_CANCELLED || (r->failure == FAILURE_TIMEOUT && !began)) return false;
    for (size_t i = 0; i < sizeof of_the_lack / sizeof *of_the_lack; i++)
        if (r->failure == of_the_lack[i]) return true;
    return false;
}

void kube_without_service(struct task_result *r, const char *why, struct arena *a)
{
    if (why == NULL || !may_be_why(r)) return;
    r->failure = FAILURE_INFRA;
    r->reason = REASON_INFRA;
    r->message = arena_printf(a, "had no Service by which its workers find each other (%s), and ended so: %.*s", why,
                              STR_ARG(r->message));
}
