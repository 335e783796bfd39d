/* Pods read from what Kubernetes writes of them, for the tests of kube_pod.h. */
#ifndef MILLRACE_TESTS_SCHEDULER_KUBE_POD_RIG_H
#define MILLRACE_TESTS_SCHEDULER_KUBE_POD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/json.h"
#include "scheduler/kube_pod.h"

static struct arena arena;

static inline void read_told(const char *meta, const char *spec, const char *status, struct kube_pod *out)
{
    struct err err = {0};
    struct value v;
    struct str text =
        arena_printf(&arena,
                     "{\"metadata\":{%s\"name\":\"train-x\",\"uid\":\"u1\",\"labels\":{\"millrace.dev/run\":\"7\","
                     "\"millrace.dev/task\":\"2\",\"millrace.dev/attempt\":\"3\"},"
                     "\"ownerReferences\":[{\"kind\":\"Workload\",\"name\":\"w\",\"uid\":\"u2\"},{\"kind\":\"Job\","
                     "\"controller\":true,"
                     "\"name\":\"train\",\"uid\":\"u3\"}]},\"spec\":{%s},\"status\":{%s}}",
                     meta, spec, status);
    if (!json_parse(&arena, text, 0, &v, &err)) fail_msg("%s: %s", status, err.message);
    assert_true(kube_pod_read(&v, out));
}

static inline void read_pod(const char *spec, const char *status, struct kube_pod *out)
{
    read_told("", spec, status, out);
}

static inline int begin(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define NODE "\"nodeName\":\"n1\""
#define BEFORE(state)                                                                                                  \
    "\"initContainerStatuses\":[{\"name\":\"millrace-fetch\",\"state\":{\"terminated\":{\"exitCode\":0}}},"            \
    "{\"name\":\"warm\",\"state\":{" state "}}],"                                                                      \
    "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"waiting\":{\"reason\":\"PodInitializing\"}}}]"

#endif
