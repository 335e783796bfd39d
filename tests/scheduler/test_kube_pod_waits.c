/* What pods say that wait, or that nobody hears of any more, in rows: a status as Kubernetes writes it, and the reason
 * that is told. */
#include "tests/scheduler/kube_pod_rig.h"

#define WAITING(inside) "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"waiting\":{" inside "}}}]"

#define UNPLACED(message)                                                                                              \
    "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":"        \
    "\"" message "\"}]"
#define READY(on) "\"conditions\":[{\"type\":\"PodReadyToStartContainers\",\"status\":\"" on "\"}],"

static void claims_are_named(void **state)
{
    struct kube_pod pod;
    (void)state;
    read_pod("\"resourceClaims\":[{\"name\":\"g\",\"resourceClaimName\":\"mine\"},"
             "{\"name\":\"h\",\"resourceClaimTemplateName\":\"made\"}]",
             "", &pod);
    assert_true(str_is(kube_pod_claims(&pod, &arena), "ResourceClaim 'mine', ResourceClaimTemplate 'made'"));
    read_pod(NODE, "", &pod);
    assert_int_equal(kube_pod_claims(&pod, &arena).n, 0);
}

static const struct {
    const char *name, *spec, *status;
    enum kube_stage stage;
    enum kube_hope hope;
    const char *text;
} waits[] = {
    {"not looked at", "\"schedulerName\":\"ghost\"", "", KUBE_STAGE_PLACING, KUBE_SILENCE, ""},
    {"no such claim", "",
     UNPLACED("0/1 nodes are available: persistentvolumeclaim \\\"nope\\\" not found. no new claims to deallocate"),
     KUBE_STAGE_PLACING, KUBE_PATIENCE,
     "Unschedulable: 0/1 nodes are available: persistentvolumeclaim \"nope\" not found. no new claims to deallocate"},
    {"no such volume", "",
     UNPLACED(
         "0/1 nodes are available: persistentvolumeclaim \\\"c\\\" bound to non-existent persistentvolume \\\"v\\\""),
     KUBE_STAGE_PLACING, KUBE_PATIENCE,
     "Unschedulable: 0/1 nodes are available: persistentvolumeclaim \"c\" bound to non-existent persistentvolume "
     "\"v\""},
    {"no such class", "", UNPLACED("storageclass.storage.k8s.io \\\"fast\\\" not found"), KUBE_STAGE_PLACING,
     KUBE_PATIENCE, "Unschedulable: storageclass.storage.k8s.io \"fast\" not found"},
    {"no devices' claim", "", UNPLACED("waiting for resourceclaim: resourceclaim.resource.k8s.io \\\"g\\\" not found"),
     KUBE_STAGE_PLACING, KUBE_PATIENCE,
     "Unschedulable: waiting for resourceclaim: resourceclaim.resource.k8s.io \"g\" not found"},
    {"a claim that waits", "", UNPLACED("pod has unbound immediate persistentvolumeclaim \\\"c\\\""),
     KUBE_STAGE_PLACING, KUBE_HOPE, "Unschedulable: pod has unbound immediate persistentvolumeclaim \"c\""},
    {"no victims", "", UNPLACED("0/1 nodes are available: 1 Insufficient cpu. preemption: No victims found"),
     KUBE_STAGE_PLACING, KUBE_HOPE,
     "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. preemption: No victims found "
     "(see the step's resources.cpu)"},
    {"too little of all", "",
     UNPLACED("0/3 nodes are available: 1 Insufficient ephemeral-storage, 2 Insufficient memory, 3 Insufficient cpu."),
     KUBE_STAGE_PLACING, KUBE_HOPE,
     "Unschedulable: 0/3 nodes are available: 1 Insufficient ephemeral-storage, 2 Insufficient memory, 3 Insufficient "
     "cpu. (see the step's resources.cpu, resources.memory, resources.storage)"},
    {"no node", "",
     "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":\"0/1 "
     "nodes are "
     "available: 1 Insufficient nvidia.com/gpu.\"}]",
     KUBE_STAGE_PLACING, KUBE_HOPE, "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."},
    {"on its way", NODE, WAITING("\"reason\":\"ContainerCreating\""), KUBE_STAGE_STARTING, KUBE_SILENCE,
     "starts on node n1"},
    {"without its sandbox", NODE, READY("False") WAITING("\"reason\":\"ContainerCreating\""), KUBE_STAGE_STARTING,
     KUBE_SILENCE, "starts on node n1"},
    {"its image comes", NODE, READY("True") WAITING("\"reason\":\"ContainerCreating\""), KUBE_STAGE_STARTING, KUBE_HOPE,
     "starts on node n1"},
    {"no image", NODE, WAITING("\"reason\":\"ErrImagePull\",\"message\":\"not found\""), KUBE_STAGE_STARTING,
     KUBE_PATIENCE, "ErrImagePull: not found"},
    {"no Secret", NODE, WAITING("\"reason\":\"CreateContainerConfigError\",\"message\":\"secret x not found\""),
     KUBE_STAGE_STARTING, KUBE_PATIENCE, "CreateContainerConfigError: secret x not found"},
    {"its helper has no image", NODE,
     "\"initContainerStatuses\":[{\"name\":\"fetch\",\"state\":{\"waiting\":{\"reason\":\"ImagePullBackOff\"}}}]"
     "," WAITING("\"reason\":\"PodInitializing\""),
     KUBE_STAGE_STARTING, KUBE_PATIENCE, "ImagePullBackOff"},
    {"its inputs come", NODE,
     "\"initContainerStatuses\":[{\"name\":\"millrace-fetch\",\"state\":{\"running\":{}}}]"
     "," WAITING("\"reason\":\"PodInitializing\""),
     KUBE_STAGE_STARTING, KUBE_HOPE, "its code and inputs are fetched on node n1"},
    {"its helper runs", NODE, BEFORE("\"running\":{}"), KUBE_STAGE_STARTING, KUBE_HELPER,
     "its container 'warm' runs before it on node n1"},
    {"a sidecar starts", NODE ",\"initContainers\":[{\"name\":\"warm\",\"restartPolicy\":\"Always\"}]",
     BEFORE("\"running\":{}"), KUBE_STAGE_STARTING, KUBE_HELPER,
     "its container 'warm', which runs beside it, starts on node n1"},
    {"a sidecar has started", NODE ",\"initContainers\":[{\"name\":\"warm\",\"restartPolicy\":\"Always\"}]",
     BEFORE("\"running\":{}},\"started\":true,\"x\":{"), KUBE_STAGE_STARTING, KUBE_HOPE, "starts on node n1"},
    {"it runs", NODE,
     "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"running\":{\"startedAt\":\"2026-01-02T03:04:05Z\"}}}]",
     KUBE_STAGE_RUNNING, KUBE_HOPE, NULL},
};

static void waits_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        struct kube_pod pod;
        struct str text;
        read_pod(waits[i].spec, waits[i].status, &pod);
        if (pod.stage != waits[i].stage) fail_msg("%s: stage %d", waits[i].name, (int)pod.stage);
        assert_true(str_is(pod.scheduler, strstr(waits[i].spec, "ghost") != NULL ? "ghost" : ""));
        if (waits[i].text == NULL) continue;
        enum kube_hope hope = kube_pod_waits(&pod, &arena, &text);
        if (hope != waits[i].hope || !str_is(text, waits[i].text))
            fail_msg("%s: hope %d, '%.*s'", waits[i].name, (int)hope, STR_ARG(text));
    }
}

static void a_lost_one_is_told(void **state)
{
    (void)state;
    struct task_result got;
    struct kube_pod pod;
    struct value v;
    struct err err = {0};
    static const char text[] =
        "{\"metadata\":{\"name\":\"p\",\"labels\":{\"millrace.dev/run\":\"1\",\"millrace.dev/task\":\"0\","
        "\"millrace.dev/attempt\":\"1\"},\"deletionTimestamp\":\"1970-01-01T00:01:00Z\","
        "\"deletionGracePeriodSeconds\":20},\"spec\":{\"nodeName\":\"n7\"},\"status\":{\"phase\":\"Running\","
        "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\","
        "\"reason\":\"DeletionByTaintManager\",\"message\":\"a taint\"}]}}";
    assert_true(json_parse(&arena, str_of(text), 0, &v, &err));
    assert_true(kube_pod_read(&v, &pod));
    assert_true(pod.deleting && pod.grace_us == 20000000 && pod.stop_us == 40000000);
    kube_pod_lost(&pod, &arena, &got);
    assert_true(!got.ok && got.failure == FAILURE_INFRA && got.reason == REASON_INFRA && got.exit_code == -1);
    assert_true(str_is(got.message, "was lost: node n7 does not confirm that its pod, which was deleted, has ended; "
                                    "Kubernetes says: DeletionByTaintManager: a taint"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(claims_are_named, begin, end),
        cmocka_unit_test_setup_teardown(waits_are_told, begin, end),
        cmocka_unit_test_setup_teardown(a_lost_one_is_told, begin, end),
    };
    return cmocka_run_group_tests_name("kube pods that wait", tests, NULL, NULL);
}
