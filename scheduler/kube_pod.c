/* Reading pods. See kube_pod.h. */
#include "scheduler/kube_pod.h"

#include "engine/base/units.h"
#include "engine/os/clock.h"
#include "scheduler/kube_job.h"
#include "scheduler/kube_room.h"
#include "scheduler/step_moves.h"

/* ---- reading ---- */

int64_t kube_time(const struct value *map, const char *key)
{
    int64_t us;
    return os_time_parse(value_get_text(map, key), &us) ? us : 0;
}

static void told_to_stop(struct kube_pod *out, int64_t at_us)
{
    if (at_us > 0 && (out->stop_us == 0 || at_us < out->stop_us)) out->stop_us = at_us;
}

/* The time of a deletion is when its grace will be over. */
static void read_deletion(const struct value *meta, struct kube_pod *out)
{
    const struct value *grace = value_get(meta, "deletionGracePeriodSeconds");
    int64_t at_us = kube_time(meta, "deletionTimestamp");
    out->deleting = at_us > 0;
    /* Beyond what a user may ask for it is not believed. */
    if (grace != NULL && grace->type == VALUE_INT && grace->u.i > 0 && grace->u.i < INT32_MAX)
        out->grace_us = grace->u.i * 1000000;
    told_to_stop(out, at_us - out->grace_us);
}

static void read_conditions(const struct value *status, struct kube_pod *out)
{
    const struct value *list = value_get(status, "conditions"), *c;
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++) {
        struct str type = value_get_text(c, "type");
        bool on = str_is(value_get_text(c, "status"), "True");
        int64_t at_us = kube_time(c, "lastTransitionTime");
        if (str_is(type, "PodScheduled") && at_us > 0) out->since_us = at_us;
        if (str_is(type, "DisruptionTarget") && on) {
            out->disruption = value_get_text(c, "reason");
            out->disruption_message = value_get_text(c, "message");
            told_to_stop(out, at_us);
        } else if (str_is(type, "PodReadyToStartContainers") && on) {
            out->ready = true;
        } else if (str_is(type, "PodScheduled") && !on && out->stage == KUBE_STAGE_PLACING) {
            out->reason = value_get_text(c, "reason");
            out->message = value_get_text(c, "message");
        }
    }
}

static void read_terminated(const struct value *t, struct kube_pod *out)
{
    const struct value *code = value_get(t, "exitCode");
    out->stage = KUBE_STAGE_ENDED;
    out->has_exit = code != NULL && code->type == VALUE_INT && code->u.i >= INT32_MIN && code->u.i <= INT32_MAX;
    if (out->has_exit) out->exit_code = (int32_t)code->u.i;
    out->reason = value_get_text(t, "reason");
    out->message = value_get_text(t, "message");
    out->started_us = kube_time(t, "startedAt");
    out->ended_us = kube_time(t, "finishedAt");
}

static void read_waiting(const struct value *state, struct kube_pod *out)
{
    const struct value *w = value_get(state, "waiting");
    struct str reason = value_get_text(w, "reason");
    if (w == NULL || str_is(reason, "PodInitializing")) return; /* the init containers say why */
    out->reason = reason;
    out->message = value_get_text(w, "message");
}

static bool exit_code(const struct value *ended, int64_t *out)
{
    const struct value *code = value_get(ended, "exitCode");
    if (code == NULL || code->type != VALUE_INT) return false;
    *out = code->u.i;
    return true;
}

/* Is it one that runs for as long as the step, of the name that the status says? */
static bool is_sidecar(const struct value *spec, struct str name)
{
    const struct value *list = value_get(spec, "initContainers"), *c;
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++)
        if (str_eq(value_get_text(c, "name"), name)) return str_is(value_get_text(c, "restartPolicy"), "Always");
    return false;
}

/* The user's own that run before the step, or begin to. */
static void read_before(const struct value *spec, const struct value *status, struct kube_pod *out)
{
    const struct value *state = value_get(status, "state"), *running = value_get(state, "running");
    const struct value *ended = value_get(state, "terminated"), *started = value_get(status, "started");
    struct str name = value_get_text(status, "name");
    bool beside = is_sidecar(spec, name), up = started != NULL && started->type == VALUE_BOOL && started->u.b;
    int64_t code;
    if (beside && running != NULL) out->sidecar = name;
    if (running != NULL && (!beside || !up) && out->helper.n == 0) {
        out->helper = name;
        out->helper_beside = beside;
        out->helper_us = kube_time(running, "startedAt");
    }
    if (beside || !exit_code(ended, &code) || code == 0 || out->broken.n > 0) return;
    out->broken = name;
    out->broken_code = code >= INT32_MIN && code <= INT32_MAX ? (int32_t)code : -1;
    out->broken_reason = value_get_text(ended, "reason");
    out->broken_message = value_get_text(ended, "message");
}

#define CLOCK_US 2000000 /* times are in whole seconds */

/* Those beside the step's that are no sidecars: the pod has not ended before they have. */
static void read_beside(const struct value *status, struct kube_pod *out)
{
    const struct value *state = value_get(status, "state"), *ended = value_get(state, "terminated");
    int64_t code, at_us = kube_time(ended, "finishedAt");
    if (ended == NULL && out->helper.n == 0) {
        out->helper = value_get_text(status, "name");
        out->helper_us = kube_time(value_get(state, "running"), "startedAt");
    }
    if (exit_code(ended, &code) && code == 137 && out->deleting && at_us >= out->stop_us + out->grace_us - CLOCK_US)
        out->deaf = value_get_text(status, "name");
}

/* Of Millrace's own. */
static void read_companion(const struct value *spec, const struct value *status, struct kube_pod *out)
{
    const struct value *state = value_get(status, "state"), *ended = value_get(state, "terminated");
    int64_t code;
    if (str_is(value_get_text(status, "name"), KUBE_COLLECT)) {
        out->collected = true;
        out->collecting = ended == NULL;
        out->manifest = value_get_text(ended, "message");
        kube_mover_end_read(spec, status, &out->collect_end);
    } else if (str_is(value_get_text(status, "name"), KUBE_FETCH)) {
        out->fetching = value_get(state, "running") != NULL;
        out->unfetched = exit_code(ended, &code) && code != 0;
        out->unfetchable = out->unfetched && code == STEP_MOVES_WRONG;
        out->fetch_message = value_get_text(ended, "message");
        kube_mover_end_read(spec, status, &out->fetch_end);
    }
}

static void read_step(const struct value *status, struct kube_pod *out)
{
    const struct value *state = value_get(status, "state"), *running = value_get(state, "running");
    if (value_get(state, "terminated") != NULL) {
        read_terminated(value_get(state, "terminated"), out);
    } else if (running != NULL) {
        out->stage = KUBE_STAGE_RUNNING;
        out->started_us = kube_time(running, "startedAt");
    } else if (out->stage == KUBE_STAGE_STARTING) {
        read_waiting(state, out);
    }
}

static void read_init(const struct value *spec, const struct value *status, struct kube_pod *out)
{
    const struct value *list = value_get(status, "initContainerStatuses"), *c;
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++) {
        struct str name = value_get_text(c, "name");
        const struct value *state = value_get(c, "state");
        out->ready |= value_get(state, "running") != NULL || value_get(state, "terminated") != NULL;
        if (str_is(name, KUBE_COLLECT) || str_is(name, KUBE_FETCH))
            read_companion(spec, c, out);
        else
            read_before(spec, c, out);
        if (out->stage == KUBE_STAGE_STARTING) read_waiting(state, out);
    }
}

static void read_containers(const struct value *spec, const struct value *status, struct kube_pod *out)
{
    const struct value *list = value_get(status, "containerStatuses"), *c;
    read_init(spec, status, out);
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++)
        if (str_is(value_get_text(c, "name"), KUBE_CONTAINER)) read_step(c, out);
    if (out->stage == KUBE_STAGE_ENDED || out->stage == KUBE_STAGE_RUNNING) out->helper = STR("");
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++) {
        if (str_is(value_get_text(c, "name"), KUBE_CONTAINER)) continue;
        if (out->stage == KUBE_STAGE_ENDED) read_beside(c, out);
        if (out->stage == KUBE_STAGE_STARTING) read_waiting(value_get(c, "state"), out);
    }
}

/* A pod's deadline also counts while outputs are kept; the step's own time is over by then. */
static void read_deadline(const struct value *spec, const struct value *status, struct kube_pod *out)
{
    const struct value *seconds = value_get(spec, "activeDeadlineSeconds");
    int64_t from_us = kube_time(status, "startTime");
    if (seconds != NULL && seconds->type == VALUE_INT && seconds->u.i > KUBE_DEADLINE_MS / 1000 &&
        seconds->u.i < INT32_MAX)
        out->timeout_us = (seconds->u.i - KUBE_DEADLINE_MS / 1000) * 1000000;
    if (seconds != NULL && seconds->type == VALUE_INT && seconds->u.i > 0 && seconds->u.i < INT32_MAX)
        out->deadline_us = seconds->u.i * 1000000;
    out->in_time = seconds != NULL && seconds->type == VALUE_INT && from_us > 0 && out->ended_us > 0 &&
                   out->ended_us < from_us + seconds->u.i * 1000000;
}

static void read_owner(const struct value *meta, struct kube_pod *out)
{
    const struct value *list = value_get(meta, "ownerReferences"), *o;
    for (size_t i = 0; (o = value_item(list, i)) != NULL; i++) {
        const struct value *controls = value_get(o, "controller");
        if (controls == NULL || controls->type != VALUE_BOOL || !controls->u.b) continue;
        out->owned = true;
        if (!str_is(value_get_text(o, "kind"), "Job")) continue;
        out->job = value_get_text(o, "name");
        out->job_uid = value_get_text(o, "uid");
    }
}

/* Of its annotation rather than its label, which is edited sooner. */
static int32_t rank_of(const struct value *meta)
{
    int64_t rank;
    bool any = kube_label_number(value_get(meta, "annotations"), KUBE_LABEL_RANK, INT32_MAX, &rank) ||
               kube_label_number(value_get(meta, "labels"), KUBE_LABEL_RANK, INT32_MAX, &rank);
    return any ? (int32_t)rank : -1;
}

static bool read_id(const struct value *meta, struct attempt_id *out)
{
    const struct value *labels = value_get(meta, "labels");
    int64_t run, task, attempt, made;
    if (!kube_label_number(labels, KUBE_LABEL_RUN, INT64_MAX, &run) ||
        !kube_label_number(labels, KUBE_LABEL_TASK, UINT32_MAX, &task) ||
        !kube_label_number(labels, KUBE_LABEL_ATTEMPT, UINT32_MAX, &attempt))
        return false;
    if (!kube_label_number(labels, KUBE_LABEL_MADE, INT64_MAX, &made)) made = 0;
    *out = (struct attempt_id){run, (uint32_t)task, (uint32_t)attempt, made};
    return true;
}

/* The kubelet lets all containers of a pod have 12 KiB of messages together, and each 4 KiB at most. */
static size_t message_max(const struct value *spec)
{
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    size_t n = 0;
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        const struct value *list = value_get(spec, lists[k]);
        n += list != NULL && list->type == VALUE_LIST ? list->u.list.n : 0;
    }
    return n > 3 ? 12288 / n : 4096;
}

#define MESSAGE_PATH "/dev/termination-log" /* Kubernetes' default */

static void read_own(const struct value *spec, struct kube_pod *out)
{
    const struct value *list = value_get(spec, "containers"), *c;
    for (size_t i = 0; (c = value_item(list, i)) != NULL; i++) {
        struct str path = value_get_text(c, "terminationMessagePath");
        if (!str_is(value_get_text(c, "name"), KUBE_CONTAINER)) continue;
        out->memory_limit = value_get_text(value_get(value_get(c, "resources"), "limits"), "memory");
        out->probed = value_get(c, "livenessProbe") != NULL || value_get(c, "startupProbe") != NULL;
        out->message_is_output = path.n > 0 && !str_is(path, MESSAGE_PATH);
    }
}

bool kube_pod_read(const struct value *object, struct kube_pod *out)
{
    const struct value *meta = value_get(object, "metadata"), *status = value_get(object, "status");
    struct str phase = value_get_text(status, "phase");
    *out = (struct kube_pod){
        .name = value_get_text(meta, "name"),
        .uid = value_get_text(meta, "uid"),
        .node = value_get_text(value_get(object, "spec"), "nodeName"),
        .scheduler = value_get_text(value_get(object, "spec"), "schedulerName"),
        .claims = value_get(value_get(object, "spec"), "resourceClaims"),
        .pod_reason = value_get_text(status, "reason"),
        .pod_message = value_get_text(status, "message"),
        .failed = str_is(phase, "Failed"),
        .taken = value_get(status, "startTime") != NULL,
        .since_us = kube_time(meta, "creationTimestamp"),
    };
    out->rank = rank_of(meta);
    read_owner(meta, out);
    out->stage = out->node.n > 0 ? KUBE_STAGE_STARTING : KUBE_STAGE_PLACING;
    read_deletion(meta, out);
    read_own(value_get(object, "spec"), out);
    out->message_max = message_max(value_get(object, "spec"));
    read_containers(value_get(object, "spec"), status, out);
    read_conditions(status, out);
    read_deadline(value_get(object, "spec"), status, out);
    if (out->failed || str_is(phase, "Succeeded")) out->stage = KUBE_STAGE_ENDED;
    /* It has succeeded when its outputs are there, and not before. */
    bool over = out->failed || str_is(phase, "Succeeded");
    if (out->collecting && out->has_exit && out->exit_code == 0 && !over) out->stage = KUBE_STAGE_RUNNING;
    return read_id(meta, &out->id);
}

/* ---- ends ---- */

/* Reasons of a pod, or of its container, that are not the step's own doing. */
static const struct {
    const char *reason, *words;
} infra[] = {
    {"Evicted", "was evicted by its node"},
    {"UnexpectedAdmissionError", "was refused by its node"},
    {"OutOfcpu", "was refused by its node"},
    {"OutOfmemory", "was refused by its node"},
    {"OutOfpods", "was refused by its node"},
    {"OutOfephemeral-storage", "was refused by its node"},
    {"NodeAffinity", "was refused by its node"},
    {"Preempting", "gave way to another pod"},
    {"NodeLost", "was lost with its node"},
    {"NodeShutdown", "ended as its node was shut down"},
    {"Shutdown", "ended as its node was shut down"},
    {"Terminated", "ended as its node was shut down"},
    {"ContainerStatusUnknown", "was lost: its node does not know any more how it ended"},
};

static struct str quote(struct arena *a, struct str reason, struct str message)
{
    struct str m = str_trim(message);
    if (m.n > 0) return arena_printf(a, "; Kubernetes says: %.*s: %.*s", STR_ARG(reason), STR_ARG(m));
    return reason.n > 0 ? arena_printf(a, "; Kubernetes says: %.*s", STR_ARG(reason)) : STR("");
}

static void fail(struct task_result *out, enum failure f, enum reason r, struct str message)
{
    out->ok = false;
    out->failure = f;
    out->reason = r;
    out->message = message;
}

/* Of an eviction's message: what it was that went over its own limit, and not its node. */
static const struct {
    const char *says, *words;
} evictions[] = {
    {"ephemeral local storage usage exceeds", "used more storage than it may: raise resources.storage"},
    {"exceeded its local ephemeral storage limit", "used more storage than it may: raise resources.storage"},
    {"Usage of EmptyDir volume", "wrote more into a folder than its size allows: raise that of its volume"},
};

/* Reasons of nodes that refuse a pod for what it is, whatever room they have. */
static const char *const refusals[] = {"PodOSNotSupported",
                                       "PodOSSelectorNodeLabelDoesNotMatch",
                                       "SysctlForbidden",
                                       "AppArmor",
                                       "InitContainersRestartPolicyForbidden",
                                       "InitContainerRestartPolicyForbidden",
                                       "PodFeatureUnsupported",
                                       "PodLevelResourcesNotSupported",
                                       "SupplementalGroupsPolicyNotSupported"};

static bool failed_by_itself(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    size_t at;
    struct str said = quote(a, p->pod_reason, p->pod_message);
    for (size_t i = 0; str_is(p->pod_reason, "Evicted") && i < sizeof evictions / sizeof *evictions; i++) {
        if (!str_find(p->pod_message, str_of(evictions[i].says), &at)) continue;
        fail(out, FAILURE_ERROR, REASON_ERROR, arena_printf(a, "%s%.*s", evictions[i].words, STR_ARG(said)));
        return true;
    }
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (!str_is(p->pod_reason, refusals[i])) continue;
        fail(out, FAILURE_INVALID, REASON_INVALID,
             arena_printf(a, "asks for what its node does not do%.*s", STR_ARG(said)));
        return true;
    }
    return false;
}

static bool failed_by_infra(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    if (str_is(p->disruption, "PreemptionByScheduler")) {
        fail(out, FAILURE_INFRA, REASON_PREEMPTED,
             arena_printf(a, "gave way to a pod of higher priority%.*s",
                          STR_ARG(quote(a, p->disruption, p->disruption_message))));
        return true;
    }
    if (p->disruption.n > 0) {
        fail(out, FAILURE_INFRA, REASON_INFRA,
             arena_printf(a, "was disrupted%.*s", STR_ARG(quote(a, p->disruption, p->disruption_message))));
        return true;
    }
    for (size_t i = 0; i < sizeof infra / sizeof *infra; i++) {
        bool pod = str_is(p->pod_reason, infra[i].reason);
        bool before = !p->has_exit && str_is(p->broken_reason, infra[i].reason);
        if (!pod && !before && !str_is(p->reason, infra[i].reason)) continue;
        struct str said = pod      ? quote(a, p->pod_reason, p->pod_message)
                          : before ? quote(a, p->broken_reason, p->broken_message)
                                   : quote(a, p->reason, p->message);
        fail(out, FAILURE_INFRA, REASON_INFRA, arena_printf(a, "%s%.*s", infra[i].words, STR_ARG(said)));
        return true;
    }
    return false;
}

/* Of a child that was killed for memory, and whose code the step passes on, nobody says so. */
static bool failed_by_memory(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    bool said = str_is(p->reason, "OOMKilled");
    struct str may = kube_size_text(p->memory_limit, a);
    if (!said && (p->exit_code != 137 || may.n == 0 || p->probed)) return false;
    if (may.n > 0) may = arena_printf(a, " (%.*s)", STR_ARG(may));
    fail(out, FAILURE_OOM, REASON_OOM,
         arena_printf(a,
                      said ? "used more memory than it may%.*s: raise %s; Kubernetes says: OOMKilled"
                           : "exited with code 137, which with a memory limit is taken for having used more than it "
                             "may%.*s: raise %s",
                      STR_ARG(may), p->memory_bound != NULL ? p->memory_bound : "resources.memory"));
    return true;
}

/* Its code and inputs. */
static void failed_to_come(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    struct str killed = kube_mover_end_text(&p->fetch_end, a);
    bool memory = kube_mover_end_by_memory(&p->fetch_end);
    fail(out,
         memory           ? FAILURE_OOM
         : p->unfetchable ? FAILURE_INVALID
                          : FAILURE_INFRA,
         memory           ? REASON_OOM
         : p->unfetchable ? REASON_INVALID
                          : REASON_INFRA,
         arena_printf(a, "its code and inputs did not come: %.*s",
                      STR_ARG(killed.n > 0 ? killed : str_trim(p->fetch_message))));
}

static void failed_before(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    struct str last = str_trim(p->broken_message);
    fail(out, FAILURE_ERROR, REASON_ERROR,
         arena_printf(a, "its container '%.*s', which runs before it, exited with code %d%s%.*s", STR_ARG(p->broken),
                      p->broken_code, last.n > 0 ? "; its last lines:\n" : "",
                      STR_ARG(last.n > 0 ? last : quote(a, p->broken_reason, last))));
}

/* Of a container whose probe has failed only events tell. */
static void failed_by_code(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    struct str last = p->message_is_output ? STR("") : str_trim(p->message);
    bool killed = p->exit_code == 137, by_probe = p->probed && (killed || p->exit_code == 143);
    fail(out, FAILURE_ERROR, REASON_ERROR,
         arena_printf(a, "exited with code %d%s%s%s%.*s", p->exit_code,
                      by_probe ? ", as a container does whose livenessProbe or startupProbe fails" : "",
                      by_probe && killed && p->memory_limit.n > 0 ? ", or that uses more memory than it may" : "",
                      last.n > 0 ? "; its last lines:\n" : "", STR_ARG(last)));
}

/* By a server that may have been killed since: see KUBE_DEADLINE_MS. Times are in whole seconds. What had ended before
 * was not late, whoever deletes its pod while its outputs are being kept. */
bool kube_pod_late(const struct kube_pod *p)
{
    return p->deleting && p->collected && p->timeout_us > 0 && p->started_us > 0 &&
           p->stop_us - p->started_us >= p->timeout_us && (p->ended_us == 0 || kube_pod_stopped(p));
}

struct str kube_pod_expired(int64_t timeout_ms, struct arena *a)
{
    char text[32];
    if (timeout_ms <= 0) return STR("ran longer than its timeout");
    return arena_printf(a, "ran longer than its timeout (%s)", units_duration_text(timeout_ms, text));
}

bool kube_pod_stopped(const struct kube_pod *p)
{
    return p->stop_us > 0 && p->ended_us >= p->stop_us;
}

/* Of a container that has not been made when its pod is stopped, a kubelet says at last that it cannot locate it. */
bool kube_pod_began(const struct kube_pod *p)
{
    return p->started_us > 0 || (p->has_exit && !str_is(p->reason, "ContainerStatusUnknown"));
}

static struct str too_late(const struct kube_pod *p, struct arena *a)
{
    int64_t us = p->collected ? p->timeout_us : p->deadline_us;
    if (!kube_pod_began(p) && p->broken.n > 0)
        return arena_printf(a,
                            "did not begin within its timeout: its container '%.*s', which runs before it, had not "
                            "ended",
                            STR_ARG(p->broken));
    return kube_pod_began(p) ? kube_pod_expired(us / 1000, a) : STR("did not begin within its timeout");
}

void kube_pod_result(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    *out = (struct task_result){.exit_code = p->has_exit && kube_pod_began(p) ? p->exit_code : -1,
                                .started_us = p->started_us,
                                .ended_us = p->ended_us};
    /* The first that fits decides: what happened to the pod comes before what that did to the step. */
    bool late = (str_is(p->pod_reason, "DeadlineExceeded") && !p->in_time) || kube_pod_late(p);
    if (late)
        fail(out, FAILURE_TIMEOUT, REASON_TIMEOUT, too_late(p, a));
    else if (p->has_exit && p->exit_code == 0 && !kube_pod_stopped(p) && !str_is(p->pod_reason, "Evicted"))
        out->ok = true;
    else if (failed_by_itself(p, a, out) || failed_by_infra(p, a, out))
        return;
    else if (!p->has_exit && p->unfetched)
        failed_to_come(p, a, out);
    else if (!p->has_exit && p->broken.n > 0 && !p->deleting)
        failed_before(p, a, out);
    else if (!p->has_exit)
        fail(out, FAILURE_INFRA, REASON_INFRA,
             arena_printf(a, "its pod ended before it began%.*s", STR_ARG(quote(a, p->pod_reason, p->pod_message))));
    else if (p->deleting)
        fail(out, FAILURE_INFRA, REASON_INFRA, STR("was stopped as its pod was deleted by somebody else"));
    else if (failed_by_memory(p, a, out))
        return;
    else if (str_is(p->reason, "StartError") || str_is(p->reason, "ContainerCannotRun"))
        fail(out, FAILURE_ERROR, REASON_ERROR,
             arena_printf(a, "could not be started%.*s", STR_ARG(quote(a, p->reason, p->message))));
    else
        failed_by_code(p, a, out);
}

/* ---- waits ---- */

static const char *const on_its_way[] = {"", "ContainerCreating", "PodInitializing", "SchedulingGated"};

void kube_pod_lost(const struct kube_pod *p, struct arena *a, struct task_result *out)
{
    *out = (struct task_result){.exit_code = -1, .started_us = p->started_us};
    fail(out, FAILURE_INFRA, REASON_INFRA,
         arena_printf(a, "was lost: node %.*s does not confirm that its pod, which was deleted, has ended%.*s",
                      STR_ARG(p->node), STR_ARG(quote(a, p->disruption, p->disruption_message))));
}

/* What kube-scheduler says of something that is not there, other than room. */
static const char *const missing[][2] = {
    {"persistentvolumeclaim \"", "\" not found"},
    {"persistentvolumeclaim \"", "\" bound to non-existent persistentvolume"},
    {"storageclass", "not found"},
    {"resourceclaim", "not found"},
};

static bool lacks_an_object(struct str said)
{
    size_t at;
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        if (str_find(said, str_of(missing[i][0]), &at) &&
            str_find(str_sub(said, at, said.n), str_of(missing[i][1]), &at))
            return true;
    return false;
}

static enum kube_hope waits_for_a_node(const struct kube_pod *p, struct str said, struct arena *a, struct str *text)
{
    if (p->reason.n == 0) return KUBE_SILENCE;
    *text = arena_printf(a, "%.*s: %.*s%.*s", STR_ARG(p->reason), STR_ARG(said.n > 0 ? said : STR("no node yet")),
                         STR_ARG(kube_room_keys(said, a)));
    return lacks_an_object(said) ? KUBE_PATIENCE : KUBE_HOPE;
}

struct str kube_pod_claims(const struct kube_pod *p, struct arena *a)
{
    const struct value *c;
    struct str text = STR("");
    for (size_t i = 0; (c = value_item(p->claims, i)) != NULL; i++) {
        struct str name = value_get_text(c, "resourceClaimName"), of = value_get_text(c, "resourceClaimTemplateName");
        text = arena_printf(a, "%.*s%sResourceClaim%s '%.*s'", STR_ARG(text), i > 0 ? ", " : "",
                            name.n > 0 ? "" : "Template", STR_ARG(name.n > 0 ? name : of));
    }
    return text;
}

enum kube_hope kube_pod_waits(const struct kube_pod *p, struct arena *a, struct str *text)
{
    struct str said = str_trim(p->message);
    *text = STR("");
    if (p->stage == KUBE_STAGE_PLACING) return waits_for_a_node(p, said, a, text);
    if (p->fetching) {
        *text = arena_printf(a, "its code and inputs are fetched on node %.*s", STR_ARG(p->node));
        return KUBE_HOPE;
    }
    if (p->helper.n > 0 && p->reason.n == 0) {
        *text = arena_printf(a,
                             p->helper_beside ? "its container '%.*s', which runs beside it, starts on node %.*s"
                                              : "its container '%.*s' runs before it on node %.*s",
                             STR_ARG(p->helper), STR_ARG(p->node));
        return KUBE_HELPER;
    }
    for (size_t i = 0; i < sizeof on_its_way / sizeof *on_its_way; i++) {
        if (!str_is(p->reason, on_its_way[i])) continue;
        *text = arena_printf(a, "starts on node %.*s", STR_ARG(p->node));
        return p->ready ? KUBE_HOPE : KUBE_SILENCE;
    }
    *text = arena_printf(a, "%.*s%s%.*s", STR_ARG(p->reason), said.n > 0 ? ": " : "", STR_ARG(said));
    return KUBE_PATIENCE;
}
