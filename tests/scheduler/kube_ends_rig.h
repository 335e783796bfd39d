/* Attempts with pods as watches tell of them, and what is told of these next. Behind kube_rig.h. */
#ifndef MILLRACE_TESTS_KUBE_ENDS_RIG_H
#define MILLRACE_TESTS_KUBE_ENDS_RIG_H

#include "tests/scheduler/kube_rig.h"

#define FAILED                                                                                                         \
    "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"terminated\":{\"exitCode\":1}}}]"

#define DELETING "},\"deletionTimestamp\":\"2026-01-01T00:00:10Z\",\"annotations\":{" /* behind the labels */

static int generation = 1; /* of the Job: how often its spec was written */

static void job_says(const char *spec, const char *status)
{
    told(kube_hear_job, KUBE_PRESENT,
         arena_printf(&arena,
                      "{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"generation\":%d,\"labels\":{" LABELS
                      ",\"" KUBE_LABEL_KUEUE "\":\"q\"}},\"spec\":{%s},\"status\":{%s}}",
                      job_name, generation, spec, status));
}

/* The only one, or one of two. */
static void says(enum kube_change change, uint32_t workers, uint32_t rank, const char *status)
{
    const char *labels = workers == 1 ? LABELS : rank == 0 ? LABELS RANK_0 : LABELS RANK_1;
    const char *uid = rank == 0 ? "p0" : "p1";
    pod_told(change, uid, labels, job_name, "j1", status);
    if (change == KUBE_DELETED) answered(kube_find(k, id), uid, NULL);
}

static struct kube_attempt __attribute__((unused)) * with_pods(uint32_t workers, const char *status)
{
    job_says("", "");
    for (uint32_t i = 0; i < workers; i++)
        says(KUBE_PRESENT, workers, i, status);
    return asked(workers);
}

/* The others of a failed one, which are told to stop before its end is told. */
static void __attribute__((unused)) others_go(struct kube_attempt *a, uint32_t workers, uint32_t failed)
{
    if (workers == 1) return;
    assert_int_equal(a->phase, KUBE_STOPPING);
    assert_true(a->hurry && a->keeps_job && !a->queued);
    says(KUBE_DELETED, workers, 1 - failed, RUNS);
}

/* So that another may come. */
static void __attribute__((unused)) forget(struct kube_attempt *a)
{
    struct exec_event told;
    while (a->queued)
        assert_true(executor.next(executor.self, &arena, &told));
    kube_drop(k, a);
}

static void __attribute__((unused)) stop(uint32_t grace_ms)
{
    executor.kill(executor.self, id, STR("p"), grace_ms);
}

#endif
