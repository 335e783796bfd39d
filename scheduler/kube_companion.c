/* The containers that move a step's data, from Millrace's own image: one before the step's own, one beside it. What
 * they are to do is an annotation of the pod, which they see as a file; what they may do, the step's token says.
 *
 * The sidecar (an init container that is restarted always) is told to stop when the step's container has ended, has the
 * rest of the pod's grace, and its failure fails no pod: only its message makes a success.
 * https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/ */
#include <stdio.h>

#include "engine/base/jsonw.h"
#include "scheduler/kube_podspec.h"
#include "scheduler/step_moves.h"

#define PLAN_ANNOTATION "millrace.dev/moves"
#define PLAN_FOLDER "/millrace/moves"
#define PLAN_FILE "plan"
#define PLAN "/millrace/moves/plan"
#define CACHE "/millrace/cache"
#define MESSAGE "/dev/termination-log"
#define NOBODY 65534

void kube_companion_annotation(struct jsonw *w, const struct kube_job *j)
{
    if (j->moves.n > 0) jsonw_kv_str(w, PLAN_ANNOTATION, j->moves);
}

static void cache_volume(struct jsonw *w, struct str folder)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", "millrace-cache");
    jsonw_key(w, "hostPath");
    jsonw_object(w);
    jsonw_kv_str(w, "path", folder);
    jsonw_kv_cstr(w, "type", "DirectoryOrCreate");
    jsonw_object_end(w);
    jsonw_object_end(w);
}

void kube_companion_volumes(struct jsonw *w, const struct kube_job *j)
{
    if (j->fetches && j->node_cache.n > 0) cache_volume(w, j->node_cache);
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", "moves");
    jsonw_key(w, "downwardAPI");
    jsonw_object(w);
    jsonw_key(w, "items");
    jsonw_array(w);
    jsonw_object(w);
    jsonw_kv_cstr(w, "path", PLAN_FILE);
    jsonw_key(w, "fieldRef");
    jsonw_object(w);
    jsonw_kv_cstr(w, "fieldPath", "metadata.annotations['" PLAN_ANNOTATION "']");
    jsonw_object_end(w);
    jsonw_object_end(w);
    jsonw_array_end(w);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void mount(struct jsonw *w, const char *name, const char *path, bool read_only)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", name);
    jsonw_kv_cstr(w, "mountPath", path);
    if (read_only) jsonw_kv_bool(w, "readOnly", true);
    jsonw_object_end(w);
}

/* A step runs as whoever its image says, and what it leaves may be for nobody else to read: so its companions are root,
 * with the one capability that this takes, unless the pod says who its containers are. */
static void security(struct jsonw *w, const struct kube_job *j)
{
    enum kube_user user = kube_podspec_user(j);
    jsonw_key(w, "securityContext");
    jsonw_object(w);
    if (user != KUBE_USER_GIVEN) jsonw_kv_int(w, "runAsUser", user == KUBE_USER_ANY ? 0 : NOBODY);
    jsonw_kv_bool(w, "allowPrivilegeEscalation", false);
    jsonw_kv_bool(w, "readOnlyRootFilesystem", true);
    jsonw_key(w, "capabilities");
    jsonw_object(w);
    jsonw_key(w, "drop");
    jsonw_array(w);
    jsonw_cstr(w, "ALL");
    jsonw_array_end(w);
    if (user == KUBE_USER_ANY) {
        jsonw_key(w, "add");
        jsonw_array(w);
        jsonw_cstr(w, "DAC_OVERRIDE");
        jsonw_array_end(w);
    }
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void variable(struct jsonw *w, const char *name, struct str value)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", name);
    jsonw_kv_str(w, "value", value);
    jsonw_object_end(w);
}

/* Not as the step has them, which may have been given others. */
static void environment(struct jsonw *w, const struct kube_job *j, bool caches)
{
    char bytes[24];
    jsonw_key(w, "env");
    jsonw_array(w);
    variable(w, "MILLRACE_API_URL", j->api_url);
    variable(w, "MILLRACE_TOKEN", j->token);
    snprintf(bytes, sizeof bytes, "%lld", (long long)j->node_cache_bytes);
    if (caches) variable(w, STEP_MOVES_CACHE, STR(CACHE));
    if (caches) variable(w, STEP_MOVES_CACHE_BYTES, str_of(bytes));
    jsonw_array_end(w);
}

/* Where a namespace limits what its pods ask for, each container must say it. They ask for nothing: they work when the
 * step's own container does not, so what that asks for is theirs; and a node on which the step fits can hold them. */
static void resources(struct jsonw *w, const struct kube_job *j)
{
    char cpu[24], memory[24];
    snprintf(cpu, sizeof cpu, "%lldm", (long long)j->companion_cpu_milli);
    snprintf(memory, sizeof memory, "%lld", (long long)j->companion_memory_bytes);
    jsonw_key(w, "resources");
    jsonw_object(w);
    for (int limits = 0; limits < 2; limits++) {
        jsonw_key(w, limits ? "limits" : "requests");
        jsonw_object(w);
        jsonw_kv_cstr(w, "cpu", limits ? cpu : "0");
        jsonw_kv_cstr(w, "memory", limits ? memory : "0");
        jsonw_object_end(w);
    }
    jsonw_object_end(w);
}

static void arguments(struct jsonw *w, const char *verb)
{
    const char *const all[] = {STEP_MOVES_COMMAND, verb, PLAN, KUBE_WORKDIR, MESSAGE};
    jsonw_key(w, "args");
    jsonw_array(w);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        jsonw_cstr(w, all[i]);
    jsonw_array_end(w);
}

/* The kubelet starts no other container before this has ended. */
static void ready_first(struct jsonw *w)
{
    static const char *const command[] = {"millrace", STEP_MOVES_COMMAND, "ready", "1"};
    jsonw_key(w, "lifecycle");
    jsonw_object(w);
    jsonw_key(w, "postStart");
    jsonw_object(w);
    jsonw_key(w, "exec");
    jsonw_object(w);
    jsonw_key(w, "command");
    jsonw_array(w);
    for (size_t i = 0; i < sizeof command / sizeof *command; i++)
        jsonw_cstr(w, command[i]);
    jsonw_array_end(w);
    jsonw_object_end(w);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void companion(struct jsonw *w, const struct kube_job *j, const char *name, const char *verb, bool sidecar)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", name);
    jsonw_kv_str(w, "image", j->companion);
    if (j->pull_policy.n > 0) jsonw_kv_str(w, "imagePullPolicy", j->pull_policy);
    if (sidecar) jsonw_kv_cstr(w, "restartPolicy", "Always");
    arguments(w, verb);
    if (sidecar) ready_first(w);
    bool caches = !sidecar && j->node_cache.n > 0;
    environment(w, j, caches);
    jsonw_key(w, "volumeMounts");
    jsonw_array(w);
    mount(w, "work", KUBE_WORKDIR, false);
    mount(w, "moves", PLAN_FOLDER, true);
    if (caches) mount(w, "millrace-cache", CACHE, false);
    jsonw_array_end(w);
    resources(w, j);
    security(w, j);
    jsonw_object_end(w);
}

void kube_companion_containers(struct jsonw *w, const struct kube_job *j)
{
    jsonw_key(w, "initContainers");
    jsonw_array(w);
    if (j->fetches) companion(w, j, KUBE_FETCH, "fetch", false);
    if (j->collects) companion(w, j, KUBE_COLLECT, "collect", true);
    jsonw_array_end(w);
}
