/* What a pod's or Job's status says, from any JSON: an end has a class and a message, a wait that may never end has
 * one, too. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/kube/client.h"
#include "scheduler/kube_pod.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool so)
{
    if (!so) abort();
}

static void ends(const struct kube_pod *pod, struct arena *a)
{
    struct task_result got;
    kube_pod_result(pod, a, &got);
    if (got.ok) {
        must(pod->has_exit && pod->exit_code == 0 && got.exit_code == 0);
        return;
    }
    must(got.failure != FAILURE_NONE && got.reason != REASON_NONE && got.message.n > 0);
    /* Nobody pays for what a cluster did. */
    if (pod->disruption.n > 0 && got.failure != FAILURE_TIMEOUT) must(got.failure == FAILURE_INFRA);
    if (!pod->has_exit) must(got.exit_code == -1 && got.failure != FAILURE_ERROR && got.failure != FAILURE_OOM);
    kube_pod_lost(pod, a, &got);
    must(!got.ok && got.failure == FAILURE_INFRA && got.message.n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct value v;
    struct kube_pod pod;
    struct str text;
    arena_init(&a, 0);
    if (kube_json(&a, (struct str){(const char *)data, size}, &v, NULL) && kube_pod_read(&v, &pod)) {
        must(pod.id.run >= 0 && pod.grace_us >= 0);
        if (pod.stage == KUBE_STAGE_ENDED)
            ends(&pod, &a);
        else if (pod.stage != KUBE_STAGE_RUNNING && kube_pod_waits(&pod, &a, &text) == KUBE_PATIENCE)
            must(text.n > 0);
    }
    arena_free(&a);
    return 0;
}
