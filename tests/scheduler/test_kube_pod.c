/* How pods end and who they are, in rows: a status as Kubernetes writes it, and what becomes of the attempt. */
#include "tests/scheduler/kube_pod_rig.h"

#define LIMITED NODE ",\"containers\":[{\"name\":\"step\",\"resources\":{\"limits\":{\"memory\":\"64Mi\"}}}]"
#define PROBED(probe)                                                                                                  \
    NODE ",\"containers\":[{\"name\":\"step\",\"" probe "\":{},\"resources\":{\"limits\":{\"memory\":\"64Mi\"}}}]"
#define ENDED(inside)                                                                                                  \
    "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"terminated\":{" inside "}}}]"

#define EVICTED(message) "\"reason\":\"Evicted\",\"message\":\"" message "\""

static const struct {
    const char *name, *spec, *status;
    enum failure failure; /* FAILURE_NONE = it ended well */
    int code;
    const char *says; /* part of its message */
} ends[] = {
    {"success", NODE, ENDED("\"exitCode\":0,\"reason\":\"Completed\""), FAILURE_NONE, 0, ""},
    {"success, a child was killed for memory", NODE, ENDED("\"exitCode\":0,\"reason\":\"OOMKilled\""), FAILURE_NONE, 0,
     ""},
    {"exit code", NODE, ENDED("\"exitCode\":3,\"reason\":\"Error\""), FAILURE_ERROR, 3, "exited with code 3"},
    {"its last lines", NODE, ENDED("\"exitCode\":1,\"reason\":\"Error\",\"message\":\"no such file\\n\""),
     FAILURE_ERROR, 1, "its last lines:\nno such file"},
    {"memory", LIMITED, ENDED("\"exitCode\":137,\"reason\":\"OOMKilled\""), FAILURE_OOM, 137,
     "used more memory than it may (64Mi): raise resources.memory; Kubernetes says: OOMKilled"},
    {"memory, unsaid", LIMITED, ENDED("\"exitCode\":137,\"reason\":\"Error\""), FAILURE_OOM, 137,
     "exited with code 137, which with a memory limit is taken for having used more than it may (64Mi): raise"},
    {"a probe", PROBED("livenessProbe"), ENDED("\"exitCode\":137,\"reason\":\"Error\""), FAILURE_ERROR, 137,
     "exited with code 137, as a container does whose livenessProbe or startupProbe fails, or that uses more memory"},
    {"a probe, and it heard", PROBED("startupProbe"),
     ENDED("\"exitCode\":143,\"reason\":\"Error\",\"message\":\"bye\\n\""), FAILURE_ERROR, 143,
     "exited with code 143, as a container does whose livenessProbe or startupProbe fails; its last lines:\nbye"},
    {"a probe, and memory", PROBED("livenessProbe"), ENDED("\"exitCode\":137,\"reason\":\"OOMKilled\""), FAILURE_OOM,
     137, "raise resources.memory; Kubernetes says: OOMKilled"},
    {"a probe, and its own code", PROBED("livenessProbe"), ENDED("\"exitCode\":3,\"reason\":\"Error\""), FAILURE_ERROR,
     3, "exited with code 3"},
    {"a readiness probe", PROBED("readinessProbe"), ENDED("\"exitCode\":137,\"reason\":\"Error\""), FAILURE_OOM, 137,
     "is taken for"},
    {"killed, without a limit", NODE, ENDED("\"exitCode\":137,\"reason\":\"Error\""), FAILURE_ERROR, 137, "code 137"},
    {"bad command", NODE, ENDED("\"exitCode\":128,\"reason\":\"StartError\",\"message\":\"no such file: nope\""),
     FAILURE_ERROR, 128, "could not be started; Kubernetes says: StartError: no such file: nope"},
    {"deadline", NODE, "\"reason\":\"DeadlineExceeded\"," ENDED("\"exitCode\":143,\"reason\":\"Error\""),
     FAILURE_TIMEOUT, 143, "longer than its timeout"},
    {"how long that is", NODE ",\"activeDeadlineSeconds\":90",
     "\"reason\":\"DeadlineExceeded\"," ENDED("\"exitCode\":143,\"reason\":\"Error\""), FAILURE_TIMEOUT, 143,
     "ran longer than its timeout (1m30s)"},
    {"deadline before memory", LIMITED,
     "\"reason\":\"DeadlineExceeded\"," ENDED("\"exitCode\":137,\"reason\":\"Error\""), FAILURE_TIMEOUT, 137,
     "timeout"},
    {"eviction", NODE,
     "\"reason\":\"Evicted\",\"message\":\"The node was low on resource: memory\",\"phase\":\"Failed\"", FAILURE_INFRA,
     -1, "was evicted by its node; Kubernetes says: Evicted: The node was low"},
    {"eviction for its own storage", NODE,
     "\"phase\":\"Failed\"," EVICTED("Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "),
     FAILURE_ERROR, -1, "raise resources.storage; Kubernetes says: Evicted: Pod ephemeral local storage usage exceeds"},
    {"eviction for a container's storage", NODE,
     EVICTED("Container step exceeded its local ephemeral storage limit \\\"1Mi\\\". ") "," ENDED(
         "\"exitCode\":137,\"reason\":\"Error\""),
     FAILURE_ERROR, 137, "used more storage than it may"},
    {"eviction for a folder's size", NODE,
     "\"phase\":\"Failed\"," EVICTED("Usage of EmptyDir volume \\\"volume-0\\\" exceeds the limit \\\"1Mi\\\". "),
     FAILURE_ERROR, -1, "raise that of its volume; Kubernetes says: Evicted: Usage of EmptyDir volume \"volume-0\""},
    {"another system's", NODE, "\"phase\":\"Failed\",\"reason\":\"PodOSNotSupported\",\"message\":\"OS\"",
     FAILURE_INVALID, -1, "asks for what its node does not do; Kubernetes says: PodOSNotSupported: OS"},
    {"disruption", NODE,
     "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"EvictionByEvictionAPI\","
     "\"message\":"
     "\"drained\"}]," ENDED("\"exitCode\":143,\"reason\":\"Error\""),
     FAILURE_INFRA, 143, "was disrupted; Kubernetes says: EvictionByEvictionAPI: drained"},
    {"preemption", NODE,
     "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"PreemptionByScheduler\","
     "\"message\":\"x\"}]," ENDED("\"exitCode\":143,\"reason\":\"Error\""),
     FAILURE_INFRA, 143, "gave way to a pod of higher priority; Kubernetes says: PreemptionByScheduler: x"},
    {"a disruption that came too late", NODE,
     "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"PreemptionByScheduler\"}]," ENDED(
         "\"exitCode\":0"),
     FAILURE_NONE, 0, ""},
    {"admission by the kubelet", NODE,
     "\"phase\":\"Failed\",\"reason\":\"UnexpectedAdmissionError\",\"message\":\"Allocate failed\"", FAILURE_INFRA, -1,
     "was refused by its node"},
    {"no room", NODE, "\"phase\":\"Failed\",\"reason\":\"OutOfcpu\"", FAILURE_INFRA, -1, "OutOfcpu"},

    {"node lost", NODE, ENDED("\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\",\"message\":\"gone\""),
     FAILURE_INFRA, -1, "its node does not know"}, /* or it never began */
    {"its helper failed", NODE, "\"phase\":\"Failed\"," BEFORE("\"terminated\":{\"exitCode\":3,\"reason\":\"Error\"}"),
     FAILURE_ERROR, -1, "'warm', which runs before it, exited with code 3; Kubernetes says: Error"},
    {"its helper's last lines", NODE,
     "\"phase\":\"Failed\"," BEFORE("\"terminated\":{\"exitCode\":7,\"reason\":\"Error\",\"message\":\"no way\\n\"}"),
     FAILURE_ERROR, -1, "'warm', which runs before it, exited with code 7; its last lines:\nno way"},
    {"its helper was lost with its node", NODE,
     "\"phase\":\"Failed\"," BEFORE("\"terminated\":{\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\"}"),
     FAILURE_INFRA, -1, "its node does not know"},
    {"its helper took all its time", NODE,
     "\"phase\":\"Failed\",\"reason\":\"DeadlineExceeded\"," BEFORE("\"terminated\":{\"exitCode\":137}"),
     FAILURE_TIMEOUT, -1, "did not begin within its timeout: its container 'warm'"},
    {"it took all its time to begin", NODE, "\"phase\":\"Failed\",\"reason\":\"DeadlineExceeded\"", FAILURE_TIMEOUT, -1,
     "did not begin within its timeout"},
    {"the same, as its node says at last", NODE,
     "\"reason\":\"DeadlineExceeded\"," ENDED("\"exitCode\":137,\"reason\":\"ContainerStatusUnknown\""),
     FAILURE_TIMEOUT, -1, "did not begin within its timeout"},
    {"a reason nobody knows", NODE, "\"phase\":\"Failed\",\"reason\":\"Weird\"", FAILURE_INFRA, -1, "Weird"},
};

static void ends_are_classified(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct kube_pod pod;
        struct task_result got;
        read_pod(ends[i].spec, ends[i].status, &pod);
        assert_int_equal(pod.stage, KUBE_STAGE_ENDED);
        kube_pod_result(&pod, &arena, &got);
        struct str message = arena_str(&arena, got.message);
        if (got.ok != (ends[i].failure == FAILURE_NONE) || got.failure != ends[i].failure ||
            got.exit_code != ends[i].code || strstr(message.n > 0 ? message.p : "", ends[i].says) == NULL)
            fail_msg("%s: failure %d, code %d, '%.*s'", ends[i].name, (int)got.failure, got.exit_code,
                     STR_ARG(message));
        bool preempted = str_is(pod.disruption, "PreemptionByScheduler") && !got.ok;
        assert_int_equal(got.reason == REASON_PREEMPTED, preempted);
    }
}

/* Each by its reason alone, of the pod or of its container. */
static void an_output_is_not_quoted(void **state)
{
    (void)state;
#define WRITES(path) NODE ",\"containers\":[{\"name\":\"step\",\"terminationMessagePath\":\"" path "\"}]"
    static const struct {
        const char *spec, *reason, *says;
    } rows[] = {
        {NODE, "Error", "exited with code 3; its last lines:\n5"},
        {WRITES("/dev/termination-log"), "Error", "exited with code 3; its last lines:\n5"},
        {WRITES("/millrace/work/n"), "Error", "exited with code 3"},
        {WRITES("/millrace/work/n"), "StartError", "could not be started; Kubernetes says: StartError: 5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_pod pod;
        struct task_result got;
        read_pod(rows[i].spec,
                 arena_printf(&arena, ENDED("\"exitCode\":3,\"reason\":\"%s\",\"message\":\"5\\n\""), rows[i].reason).p,
                 &pod);
        kube_pod_result(&pod, &arena, &got);
        if (!str_is(got.message, rows[i].says)) fail_msg("row %zu: '%.*s'", i, STR_ARG(got.message));
    }
}

static void reasons_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *reason;
        enum failure failure;
        const char *says;
    } rows[] = {
        {"Evicted", FAILURE_INFRA, "was evicted by its node"},
        {"UnexpectedAdmissionError", FAILURE_INFRA, "was refused by its node"},
        {"OutOfcpu", FAILURE_INFRA, "was refused by its node"},
        {"OutOfmemory", FAILURE_INFRA, "was refused by its node"},
        {"OutOfpods", FAILURE_INFRA, "was refused by its node"},
        {"OutOfephemeral-storage", FAILURE_INFRA, "was refused by its node"},
        {"NodeAffinity", FAILURE_INFRA, "was refused by its node"},
        {"Preempting", FAILURE_INFRA, "gave way to another pod"},
        {"NodeLost", FAILURE_INFRA, "was lost with its node"},
        {"NodeShutdown", FAILURE_INFRA, "ended as its node was shut down"},
        {"Shutdown", FAILURE_INFRA, "ended as its node was shut down"},
        {"Terminated", FAILURE_INFRA, "ended as its node was shut down"},
        {"ContainerStatusUnknown", FAILURE_INFRA, "was lost: its node does not know any more how it ended"},
        {"PodOSNotSupported", FAILURE_INVALID, "asks for what its node does not do"},
        {"PodOSSelectorNodeLabelDoesNotMatch", FAILURE_INVALID, "asks for what its node does not do"},
        {"SysctlForbidden", FAILURE_INVALID, "asks for what its node does not do"},
        {"InitContainersRestartPolicyForbidden", FAILURE_INVALID, "asks for what its node does not do"},
        {"InitContainerRestartPolicyForbidden", FAILURE_INVALID, "asks for what its node does not do"},
        {"AppArmor", FAILURE_INVALID, "asks for what its node does not do"},
        {"PodFeatureUnsupported", FAILURE_INVALID, "asks for what its node does not do"},
        {"PodLevelResourcesNotSupported", FAILURE_INVALID, "asks for what its node does not do"},
        {"SupplementalGroupsPolicyNotSupported", FAILURE_INVALID, "asks for what its node does not do"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_pod pod;
        struct task_result got;
        const char *status = arena_printf(&arena, "\"reason\":\"%s\"," ENDED("\"exitCode\":143"), rows[i].reason).p;
        read_pod(NODE, status, &pod);
        kube_pod_result(&pod, &arena, &got);
        struct str says = arena_printf(&arena, "%s; Kubernetes says: %s", rows[i].says, rows[i].reason);
        if (got.ok || got.failure != rows[i].failure || !str_eq(got.message, says))
            fail_msg("%s: failure %d, '%.*s'", rows[i].reason, (int)got.failure, STR_ARG(got.message));
    }
}

/* All containers of a pod count, whatever they are for. */
static void messages_share_their_room(void **state)
{
    (void)state;
#define C "{\"name\":\"c\"}"
    static const struct {
        const char *name, *spec;
        size_t max;
    } rows[] = {
        {"none", "", 4096},
        {"one", "\"containers\":[" C "]", 4096},
        {"three", "\"containers\":[" C "," C "],\"initContainers\":[" C "]", 4096},
        {"four", "\"containers\":[" C "," C "," C "," C "]", 3072},
        {"before it", "\"containers\":[" C "],\"initContainers\":[" C "," C "," C "]", 3072},
        {"looking at it", "\"containers\":[" C "],\"ephemeralContainers\":[" C "," C "," C "]", 3072},
        {"of all kinds",
         "\"containers\":[" C "," C "],\"initContainers\":[" C "," C "],\"ephemeralContainers\":[" C "]", 2457},
    };
#undef C
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_pod pod;
        read_pod(rows[i].spec, "", &pod);
        if (pod.message_max != rows[i].max) fail_msg("%s: %zu", rows[i].name, pod.message_max);
    }
}

/* Who was told to stop before he ended has not done all of his work, whatever he says. */
static void what_was_stopped_has_not_ended_well(void **state)
{
    (void)state;
    static const struct {
        const char *name, *meta, *status;
        enum failure failure;
    } rows[] = {
#define AT(code, second)                                                                                               \
    "\"containerStatuses\":[{\"name\":\"step\",\"state\":{\"terminated\":{\"exitCode\":" code                          \
    ",\"finishedAt\":\"2026-01-01T00:00:" second "Z\"}}}]"
#define DELETED "\"deletionTimestamp\":\"2026-01-01T00:00:40Z\",\"deletionGracePeriodSeconds\":10,"
#define DISRUPTED                                                                                                      \
    "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"x\",\"lastTransitionTime\":"      \
    "\"2026-01-01T00:00:30Z\"}],"
        {"deleted, then ended well", DELETED, AT("0", "31"), FAILURE_INFRA},
        {"ended well, then deleted", DELETED, AT("0", "29"), FAILURE_NONE},
        {"deleted, then killed", DELETED, AT("137", "40"), FAILURE_INFRA},
        {"disrupted, then ended well", "", DISRUPTED AT("0", "30"), FAILURE_INFRA},
        {"ended well, then disrupted", "", DISRUPTED AT("0", "20"), FAILURE_NONE},
        {"evicted, then ended well", "", "\"reason\":\"Evicted\"," AT("0", "31"), FAILURE_INFRA},
        {"late, then ended well", "", "\"reason\":\"DeadlineExceeded\"," AT("0", "31"), FAILURE_TIMEOUT},
        {"deleted before it began", DELETED, "\"phase\":\"Failed\"," BEFORE("\"terminated\":{\"exitCode\":143}"),
         FAILURE_INFRA},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_pod pod;
        struct task_result got;
        read_told(rows[i].meta, NODE, rows[i].status, &pod);
        kube_pod_result(&pod, &arena, &got);
        if (got.ok != (rows[i].failure == FAILURE_NONE) || got.failure != rows[i].failure)
            fail_msg("%s: failure %d, '%.*s'", rows[i].name, (int)got.failure, STR_ARG(got.message));
    }
}

static void names_and_times_are_read(void **state)
{
    (void)state;
    struct kube_pod pod;
    read_pod(NODE,
             ENDED("\"exitCode\":0,\"startedAt\":\"1970-01-01T00:00:01Z\",\"finishedAt\":\"1970-01-02T00:00:00Z\""),
             &pod);
    assert_true(pod.id.run == 7 && pod.id.task == 2 && pod.id.attempt == 3);
    assert_true(str_is(pod.name, "train-x") && str_is(pod.uid, "u1") && str_is(pod.job, "train"));
    assert_true(pod.owned && str_is(pod.job_uid, "u3"));
    assert_int_equal(pod.started_us, 1000000);
    assert_int_equal(pod.ended_us, 86400 * INT64_C(1000000));
}

static void what_is_no_step_is_left(void **state)
{
    (void)state;
    static const char *const others[] = {"{}",
                                         "[]",
                                         "null",
                                         "{\"metadata\":{\"labels\":{\"millrace.dev/run\":\"x\"}}}",
                                         "{\"metadata\":{\"labels\":{\"millrace.dev/run\":\"1\",\"millrace.dev/"
                                         "task\":\"-1\",\"millrace.dev/attempt\":\"1\"}}}",
                                         "{\"metadata\":{\"labels\":{\"millrace.dev/run\":1,\"millrace.dev/"
                                         "task\":\"1\",\"millrace.dev/attempt\":\"1\"}}}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct err err = {0};
        struct value v;
        struct kube_pod pod;
        assert_true(json_parse(&arena, str_of(others[i]), 0, &v, &err));
        assert_false(kube_pod_read(&v, &pod));
        assert_true(pod.id.run == 0 && pod.stage == KUBE_STAGE_PLACING && str_trim(pod.message).n == 0 && !pod.owned);
    }
}

#define COLLECT(state) "\"initContainerStatuses\":[{\"name\":\"millrace-collect\",\"state\":{" state "}}]"
#define STEP(state) "\"containerStatuses\":[{\"name\":\"step\",\"state\":{" state "}}]"
#define DONE_AT(second) "\"terminated\":{\"exitCode\":0,\"finishedAt\":\"2026-01-01T00:00:" second "Z\"}"
#define KEPT "\"terminated\":{\"exitCode\":0,\"message\":\"{}\"}"
#define LATE "\"phase\":\"Failed\",\"reason\":\"DeadlineExceeded\",\"startTime\":\"2026-01-01T00:00:10Z\","

/* A step has succeeded when its outputs have been kept, not before; nothing else waits for them. */
static void outputs_are_waited_for(void **state)
{
    (void)state;
    static const struct {
        const char *name, *status;
        enum kube_stage stage;
        enum failure failure; /* of one that has ended */
        const char *manifest, *says;
    } rows[] = {
        {"it runs", COLLECT("\"running\":{}") "," STEP("\"running\":{}"), KUBE_STAGE_RUNNING, FAILURE_NONE, "", ""},
        {"they are being kept", COLLECT("\"running\":{}") "," STEP(DONE_AT("12")), KUBE_STAGE_RUNNING, FAILURE_NONE, "",
         ""},
        {"they were kept", COLLECT(KEPT) "," STEP(DONE_AT("12")), KUBE_STAGE_ENDED, FAILURE_NONE, "{}", ""},
        {"of a step that failed", COLLECT("\"running\":{}") "," STEP("\"terminated\":{\"exitCode\":3}"),
         KUBE_STAGE_ENDED, FAILURE_ERROR, "", "code 3"},
        {"ended for good, and nobody knows of them", LATE COLLECT("\"running\":{}") "," STEP(DONE_AT("12")),
         KUBE_STAGE_ENDED, FAILURE_NONE, "", ""},
        {"kept beyond its deadline", LATE COLLECT(KEPT) "," STEP(DONE_AT("12")), KUBE_STAGE_ENDED, FAILURE_NONE, "{}",
         ""},
        {"a step beyond its deadline", LATE COLLECT(KEPT) "," STEP(DONE_AT("15")), KUBE_STAGE_ENDED, FAILURE_TIMEOUT,
         "{}", "longer than its timeout"},
        {"its inputs did not come",
         "\"phase\":\"Failed\",\"initContainerStatuses\":[{\"name\":\"millrace-fetch\",\"state\":{\"terminated\":{"
         "\"exitCode\":1,\"message\":\"inputs.a: cannot reach it\"}}}]," STEP("\"waiting\":{}"),
         KUBE_STAGE_ENDED, FAILURE_INFRA, "", "did not come: inputs.a: cannot reach it"},
        {"its inputs are not there",
         "\"phase\":\"Failed\",\"initContainerStatuses\":[{\"name\":\"millrace-fetch\",\"state\":{\"terminated\":{"
         "\"exitCode\":3,\"message\":\"inputs.a: not found\"}}}]," STEP("\"waiting\":{}"),
         KUBE_STAGE_ENDED, FAILURE_INVALID, "", "did not come: inputs.a: not found"},
        {"its inputs take more memory than may be",
         "\"phase\":\"Failed\",\"initContainerStatuses\":[{\"name\":\"millrace-fetch\",\"state\":{\"terminated\":{"
         "\"exitCode\":137,\"reason\":\"OOMKilled\"}}}]," STEP("\"waiting\":{}"),
         KUBE_STAGE_ENDED, FAILURE_OOM, "",
         "did not come: the container millrace-fetch used more memory than it may: raise the server's "
         "--kube-companion"},
        {"who fetched its inputs was killed",
         "\"phase\":\"Failed\",\"initContainerStatuses\":[{\"name\":\"millrace-fetch\",\"state\":{\"terminated\":{"
         "\"exitCode\":137,\"reason\":\"Error\"}}}]," STEP("\"waiting\":{}"),
         KUBE_STAGE_ENDED, FAILURE_INFRA, "", "did not come: the container millrace-fetch was killed (exit code 137)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_pod pod;
        struct task_result got;
        read_pod(NODE ",\"activeDeadlineSeconds\":5", rows[i].status, &pod);
        if (pod.stage != rows[i].stage) fail_msg("%s: stage %d", rows[i].name, (int)pod.stage);
        if (!str_is(pod.manifest, rows[i].manifest)) fail_msg("%s: '%.*s'", rows[i].name, STR_ARG(pod.manifest));
        if (pod.stage != KUBE_STAGE_ENDED) continue;
        kube_pod_result(&pod, &arena, &got);
        struct str message = arena_str(&arena, got.message);
        if (got.failure != rows[i].failure || strstr(message.n > 0 ? message.p : "", rows[i].says) == NULL)
            fail_msg("%s: failure %d, '%.*s'", rows[i].name, (int)got.failure, STR_ARG(message));
    }
}

#define BESIDE(state) "\"containerStatuses\":[{\"name\":\"proxy\",\"state\":{" state "}},{\"name\":\"step\",\"state\":{"
#define GOES_ON BESIDE("\"running\":{}")

/* The step's own container says how it went; its outputs are kept when the others have ended, too. */
static void others_may_go_on(void **state)
{
    (void)state;
    static const struct {
        const char *name, *meta, *status;
        enum kube_stage stage;
        const char *helper, *deaf;
    } rows[] = {
        {"the step runs", "", COLLECT("\"running\":{}") "," GOES_ON "\"running\":{}}}]", KUBE_STAGE_RUNNING, "", ""},
        {"it has ended", "", COLLECT("\"running\":{}") "," GOES_ON DONE_AT("12") "}}]", KUBE_STAGE_RUNNING, "proxy",
         ""},
        {"it has failed", "", COLLECT("\"running\":{}") "," GOES_ON "\"terminated\":{\"exitCode\":3}}}]",
         KUBE_STAGE_ENDED, "proxy", ""},
        {"nothing is kept", "", GOES_ON DONE_AT("12") "}}]", KUBE_STAGE_ENDED, "proxy", ""},
        {"all have ended", "", COLLECT(KEPT) "," BESIDE(DONE_AT("15")) DONE_AT("12") "}}]", KUBE_STAGE_ENDED, "", ""},
        {"one did not listen", DELETED,
         COLLECT("\"terminated\":{\"exitCode\":137}") "," BESIDE("\"terminated\":{\"exitCode\":137,\"finishedAt\":"
                                                                 "\"2026-01-01T00:00:40Z\"}") DONE_AT("12") "}}]",
         KUBE_STAGE_ENDED, "", "proxy"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_pod pod;
        read_told(rows[i].meta, NODE, rows[i].status, &pod);
        if (pod.stage != rows[i].stage || !str_is(pod.helper, rows[i].helper) || !str_is(pod.deaf, rows[i].deaf))
            fail_msg("%s: stage %d, '%.*s', '%.*s'", rows[i].name, (int)pod.stage, STR_ARG(pod.helper),
                     STR_ARG(pod.deaf));
    }
}

/* Of its annotation, if it has both. */
static void a_rank_is_a_label(void **state)
{
    (void)state;
    static const struct {
        const char *labels, *annotations;
        int32_t rank;
    } rows[] = {
#define INDEX(n) "\"batch.kubernetes.io/job-completion-index\":\"" n "\""
        {"", "", -1},
        {"," INDEX("0"), "", 0},
        {"," INDEX("17"), "", 17},
        {"," INDEX("-1"), "", -1},
        {"," INDEX("99999999999"), "", -1},
        {"", INDEX("3"), 3},
        {"," INDEX("17"), INDEX("3"), 3},
        {"," INDEX("17"), INDEX("x"), 17},
    };
#undef INDEX
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct value v;
        struct kube_pod pod;
        struct str text =
            arena_printf(&arena,
                         "{\"metadata\":{\"name\":\"x\",\"labels\":{\"millrace.dev/run\":\"7\",\"millrace.dev/task\":"
                         "\"2\",\"millrace.dev/attempt\":\"3\"%s},\"annotations\":{%s}},\"spec\":{},\"status\":{}}",
                         rows[i].labels, rows[i].annotations);
        assert_true(json_parse(&arena, text, 0, &v, &err));
        assert_true(kube_pod_read(&v, &pod));
        assert_int_equal(pod.rank, rows[i].rank);
    }
}

static void only_a_controller_counts(void **state)
{
    (void)state;
#define OWNER(kind, more) "{\"kind\":\"" kind "\",\"name\":\"a\",\"uid\":\"u3\"" more "}"
#define CONTROLS ",\"controller\":true"
    static const struct {
        const char *name, *owners;
        bool owned, by_job;
    } rows[] = {
        {"none", "", false, false},
        {"a Job", OWNER("Job", CONTROLS), true, true},
        {"another kind", OWNER("ReplicaSet", CONTROLS), true, false},
        {"a Job that only owns it", OWNER("Job", ""), false, false},
        {"one that says so", OWNER("Job", ",\"controller\":false"), false, false},
        {"one that says nothing that counts", OWNER("Job", ",\"controller\":\"true\""), false, false},
        {"another than the first", OWNER("Workload", "") "," OWNER("Job", CONTROLS), true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct value v;
        struct kube_pod pod;
        struct str text = arena_printf(&arena, "{\"metadata\":{\"ownerReferences\":[%s]}}", rows[i].owners);
        assert_true(json_parse(&arena, text, 0, &v, &err));
        assert_false(kube_pod_read(&v, &pod));
        if (pod.owned != rows[i].owned || str_is(pod.job, "a") != rows[i].by_job ||
            str_is(pod.job_uid, "u3") != rows[i].by_job)
            fail_msg("%s: '%.*s'", rows[i].name, STR_ARG(pod.job));
    }
}

/* Whoever told it to stop may have been killed since. */
static void a_late_step_is_late_for_every_server(void **state)
{
    (void)state;
    static const struct {
        const char *name, *meta, *spec, *ended;
        int code;
        enum failure failure;
    } rows[] = {
#define TOLD_AT(second) "\"deletionTimestamp\":\"2026-01-01T00:00:" second "Z\",\"deletionGracePeriodSeconds\":10,"
        {"in time, by somebody else", TOLD_AT("32"), ",\"activeDeadlineSeconds\":305", "40", 143, FAILURE_INFRA},
        {"late", TOLD_AT("36"), ",\"activeDeadlineSeconds\":305", "40", 143, FAILURE_TIMEOUT},
        {"had ended well before", TOLD_AT("36"), ",\"activeDeadlineSeconds\":305", "25", 0, FAILURE_NONE},
        {"without a timeout", TOLD_AT("36"), "", "40", 143, FAILURE_INFRA},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_pod pod;
        struct task_result got;
        read_told(rows[i].meta, arena_printf(&arena, NODE "%s", rows[i].spec).p,
                  arena_printf(&arena,
                               COLLECT("\"running\":{}") "," STEP(
                                   "\"terminated\":{\"exitCode\":%d,\"startedAt\":\"2026-01-01T00:00:20Z\","
                                   "\"finishedAt\":\"2026-01-01T00:00:%sZ\"}"),
                               rows[i].code, rows[i].ended)
                      .p,
                  &pod);
        kube_pod_result(&pod, &arena, &got);
        if (got.failure != rows[i].failure) fail_msg("%s: failure %d", rows[i].name, (int)got.failure);
        assert_true(kube_pod_late(&pod) == (rows[i].failure == FAILURE_TIMEOUT));
        if (kube_pod_late(&pod)) assert_true(str_is(got.message, "ran longer than its timeout (5s)"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rank_is_a_label, begin, end),
        cmocka_unit_test_setup_teardown(only_a_controller_counts, begin, end),
        cmocka_unit_test_setup_teardown(ends_are_classified, begin, end),
        cmocka_unit_test_setup_teardown(an_output_is_not_quoted, begin, end),
        cmocka_unit_test_setup_teardown(reasons_are_known, begin, end),
        cmocka_unit_test_setup_teardown(messages_share_their_room, begin, end),
        cmocka_unit_test_setup_teardown(what_was_stopped_has_not_ended_well, begin, end),
        cmocka_unit_test_setup_teardown(outputs_are_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(others_may_go_on, begin, end),
        cmocka_unit_test_setup_teardown(a_late_step_is_late_for_every_server, begin, end),
        cmocka_unit_test_setup_teardown(names_and_times_are_read, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_step_is_left, begin, end),
    };
    return cmocka_run_group_tests_name("kube pods", tests, NULL, NULL);
}
