/* The Job of an attempt. See kube_job.h. */
#include "scheduler/kube_job.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/os/digest.h"
#include "engine/text/json.h"
#include "scheduler/kube_podspec.h"

#define LABEL_MAX 63
#define NAME_STEP 30 /* characters of the step in a Job's name */
#define NAME_HASH 16

/* ---- names ---- */

/* With a '-' before it. */
static void hash_of(struct str instance, struct attempt_id id, char out[NAME_HASH + 2])
{
    char hex[DIGEST_TEXT], facts[160];
    int n = snprintf(facts, sizeof facts, "%.*s/%" PRId64 "/%u/%u", STR_ARG(str_sub(instance, 0, 64)), id.run, id.task,
                     id.attempt);
    /* Older servers did not say it: what they launched is known by its name, and is nobody's now. */
    if (id.made_us != 0) snprintf(facts + n, sizeof facts - (size_t)n, "/%" PRId64, id.made_us);
    digest_of(str_of(facts), hex);
    snprintf(out, NAME_HASH + 2, "-%.*s", NAME_HASH, hex + sizeof "sha256:" - 1);
}

bool kube_job_is(struct str instance, struct attempt_id id, struct str name)
{
    char hash[NAME_HASH + 2];
    hash_of(instance, id, hash);
    return name.n > NAME_HASH + 1 && str_is(str_sub(name, name.n - NAME_HASH - 1, name.n), hash);
}

/* RFC 1123: lower case, digits and '-', a letter first. */
void kube_job_name(struct str instance, struct str step, struct attempt_id id, char out[KUBE_JOB_NAME])
{
    size_t n = 0;
    for (size_t i = 0; i < step.n && n < NAME_STEP; i++) {
        char c = (char)tolower((unsigned char)step.p[i]);
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (n == 0 && !(c >= 'a' && c <= 'z')) out[n++] = 's';
        if (plain || out[n - 1] != '-') out[n++] = plain ? c : '-';
    }
    if (n == 0) out[n++] = 's';
    while (n > 1 && out[n - 1] == '-')
        n--;
    hash_of(instance, id, out + n);
}

struct str kube_label(struct arena *a, struct str text)
{
    char *p = arena_alloc(a, LABEL_MAX + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n && n < LABEL_MAX; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = c < 128 && isalnum(c);
        if (plain || n > 0) p[n++] = plain || strchr("-_.", c) ? (char)c : '-';
    }
    while (n > 0 && !isalnum((unsigned char)p[n - 1]))
        n--;
    return (struct str){p, n};
}

/* ---- metadata ---- */

static void kv_number_text(struct jsonw *w, const char *key, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    jsonw_kv_cstr(w, key, text);
}

static void id_labels(struct jsonw *w, struct attempt_id id)
{
    kv_number_text(w, KUBE_LABEL_RUN, id.run);
    kv_number_text(w, KUBE_LABEL_TASK, id.task);
    kv_number_text(w, KUBE_LABEL_ATTEMPT, id.attempt);
    kv_number_text(w, KUBE_LABEL_MADE, id.made_us);
}

static void own_labels(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    jsonw_kv_cstr(w, "app.kubernetes.io/name", "millrace-step");
    jsonw_kv_str(w, "app.kubernetes.io/component", kube_label(a, j->step));
    jsonw_kv_str(w, "app.kubernetes.io/part-of", kube_label(a, j->run_name));
    jsonw_kv_cstr(w, "app.kubernetes.io/managed-by", "millrace");
    jsonw_kv_str(w, "millrace.dev/project", kube_label(a, j->project));
    jsonw_kv_str(w, KUBE_LABEL_INSTANCE, j->instance);
    id_labels(w, j->id);
}

/* Ours, and what the Job controller tells pods apart by. */
static bool is_reserved(struct str key)
{
    size_t at;
    return str_find(key, STR("millrace.dev/"), &at) || str_starts(key, "app.kubernetes.io/") ||
           str_starts(key, "batch.kubernetes.io/") || str_is(key, "job-name") || str_is(key, "controller-uid");
}

#define DEFAULT_CONTAINER "kubectl.kubernetes.io/default-container"

/* The user's own, but for names that are not theirs: of a plan from when they were not refused. */
static void users(struct jsonw *w, const struct kube_job *j, const char *field)
{
    const struct value *map = value_get(j->cluster, field);
    for (size_t i = 0; map != NULL && map->type == VALUE_MAP && i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        if (is_reserved(e->key)) continue;
        jsonw_key_str(w, e->key);
        jsonw_str(w, e->value.u.s);
    }
}

static void labels(struct jsonw *w, const struct kube_job *j, struct arena *a, bool with_users)
{
    jsonw_key(w, "labels");
    jsonw_object(w);
    own_labels(w, j, a);
    if (with_users)
        users(w, j, "labels");
    else if (j->kueue.n > 0)
        jsonw_kv_str(w, KUBE_LABEL_KUEUE, j->kueue);
    jsonw_object_end(w);
}

/* The key of a file's annotation: by its place, since a path may be longer than a key. */
static struct str file_key(struct arena *a, size_t i)
{
    return arena_printf(a, "files.millrace.dev/%zu", i);
}

static void annotations(struct jsonw *w, const struct kube_job *j, struct arena *a, bool of_pod)
{
    jsonw_key(w, "annotations");
    jsonw_object(w);
    jsonw_kv_str(w, "millrace.dev/path", j->path);
    jsonw_kv_str(w, "millrace.dev/run-name", j->run_name);
    if (of_pod) {
        if (value_get(value_get(j->cluster, "annotations"), DEFAULT_CONTAINER) == NULL)
            jsonw_kv_cstr(w, DEFAULT_CONTAINER, KUBE_CONTAINER);
        users(w, j, "annotations");
        kube_companion_annotation(w, j);
        for (size_t i = 0; i < j->n_files; i++) {
            jsonw_key_str(w, file_key(a, i));
            jsonw_str(w, j->files[i].text);
        }
    }
    jsonw_object_end(w);
}

/* ---- volumes ---- */

/* Files of one folder are one volume, which is mounted there: the first file of each folder names it. A program is one
 * by itself, in a folder that has other files, too. */
static struct str folder_of(struct str path)
{
    while (path.n > 0 && path.p[path.n - 1] != '/')
        path.n--;
    return str_sub(path, 0, path.n > 1 ? path.n - 1 : path.n);
}

static bool are_one(const struct kube_file *a, const struct kube_file *b)
{
    return a == b || (!a->program && !b->program && str_eq(folder_of(a->path), folder_of(b->path)));
}

static bool first_of_volume(const struct kube_job *j, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (are_one(&j->files[k], &j->files[i])) return false;
    return true;
}

static void named(struct jsonw *w, struct arena *a, const char *prefix, size_t i)
{
    jsonw_kv_str(w, "name", arena_printf(a, "%s-%zu", prefix, i));
}

static void files_volume(struct jsonw *w, const struct kube_job *j, struct arena *a, size_t first)
{
    jsonw_object(w);
    named(w, a, "files", first);
    jsonw_key(w, "downwardAPI");
    jsonw_object(w);
    jsonw_key(w, "items");
    jsonw_array(w);
    for (size_t i = first; i < j->n_files; i++) {
        struct str folder = folder_of(j->files[i].path);
        if (!are_one(&j->files[i], &j->files[first])) continue;
        jsonw_object(w);
        jsonw_kv_str(w, "path", str_sub(j->files[i].path, folder.n + 1, j->files[i].path.n));
        jsonw_kv_int(w, "mode", j->files[i].program ? 0555 : 0444);
        jsonw_key(w, "fieldRef");
        jsonw_object(w);
        jsonw_kv_str(w, "fieldPath", arena_printf(a, "metadata.annotations['%.*s']", STR_ARG(file_key(a, i))));
        jsonw_object_end(w);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void volumes(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    jsonw_key(w, "volumes");
    jsonw_array(w);
    if (!j->own_workdir) {
        jsonw_object(w);
        jsonw_kv_cstr(w, "name", "work");
        jsonw_key(w, "emptyDir");
        jsonw_object(w);
        jsonw_object_end(w);
        jsonw_object_end(w);
    }
    if (j->moves.n > 0) kube_companion_volumes(w, j);
    for (size_t i = 0; i < j->n_files; i++)
        if (first_of_volume(j, i)) files_volume(w, j, a, i);
    kube_podspec_volumes(w, j, a);
    jsonw_array_end(w);
}

static void mounts(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    jsonw_key(w, "volumeMounts");
    jsonw_array(w);
    if (!j->own_workdir) {
        jsonw_object(w);
        jsonw_kv_cstr(w, "name", "work");
        jsonw_kv_cstr(w, "mountPath", KUBE_WORKDIR);
        jsonw_object_end(w);
    }
    for (size_t i = 0; i < j->n_files; i++) {
        if (!first_of_volume(j, i)) continue;
        jsonw_object(w);
        named(w, a, "files", i);
        struct str path = j->files[i].path, folder = folder_of(path);
        jsonw_kv_str(w, "mountPath", j->files[i].program ? path : folder);
        if (j->files[i].program) jsonw_kv_str(w, "subPath", str_sub(path, folder.n + 1, path.n));
        jsonw_object_end(w);
    }
    kube_podspec_mounts(w, j, a);
    jsonw_array_end(w);
}

/* ---- the pod ---- */

/* Kubernetes expands $(NAME) in arguments and values; $$ stands for one $. */
static void literal(struct jsonw *w, struct str text)
{
    BUF_AUTO escaped;
    buf_init(&escaped, 0);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '$') buf_char(&escaped, '$');
        buf_char(&escaped, text.p[i]);
    }
    jsonw_str(w, buf_view(&escaped));
}

static void texts(struct jsonw *w, const char *key, const struct str *items, size_t n)
{
    if (n == 0) return;
    jsonw_key(w, key);
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        literal(w, items[i]);
    jsonw_array_end(w);
}

static void environment(struct jsonw *w, const struct kube_job *j)
{
    jsonw_key(w, "env");
    jsonw_array(w);
    for (size_t i = 0; i < j->n_env; i++) {
        const struct kube_variable *v = &j->env[i];
        jsonw_object(w);
        jsonw_kv_str(w, "name", v->name);
        if (v->secret.n > 0) {
            jsonw_key(w, "valueFrom");
            jsonw_object(w);
            jsonw_key(w, "secretKeyRef");
            jsonw_object(w);
            jsonw_kv_str(w, "name", v->secret);
            jsonw_kv_str(w, "key", v->key);
            jsonw_object_end(w);
            jsonw_object_end(w);
        } else if (v->field.n > 0) {
            jsonw_key(w, "valueFrom");
            jsonw_object(w);
            jsonw_key(w, "fieldRef");
            jsonw_object(w);
            jsonw_kv_str(w, "fieldPath", v->field);
            jsonw_object_end(w);
            jsonw_object_end(w);
        } else {
            jsonw_key(w, "value");
            literal(w, v->value);
        }
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

/* Requests and limits: memory and GPUs are had for oneself, CPUs are shared when there are more. */
static void resources(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    const struct resources *r = &j->resources;
    jsonw_key(w, "resources");
    jsonw_object(w);
    for (int limits = 0; limits < 2; limits++) {
        jsonw_key(w, limits ? "limits" : "requests");
        jsonw_object(w);
        if (r->cpu_milli > 0 && !limits) jsonw_kv_str(w, "cpu", arena_printf(a, "%" PRId64 "m", r->cpu_milli));
        if (r->memory_bytes > 0) jsonw_kv_str(w, "memory", arena_printf(a, "%" PRId64, r->memory_bytes));
        if (r->ephemeral_bytes > 0)
            jsonw_kv_str(w, "ephemeral-storage", arena_printf(a, "%" PRId64, r->ephemeral_bytes));
        if (r->gpu_count > 0 && j->gpu_resource.n > 0 && j->claim.device_class.n == 0) {
            jsonw_key_str(w, j->gpu_resource);
            jsonw_str(w, arena_printf(a, "%u", r->gpu_count));
        }
        jsonw_object_end(w);
    }
    kube_podspec_claimed(w, j);
    jsonw_object_end(w);
}

static void container(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", KUBE_CONTAINER);
    jsonw_kv_str(w, "image", j->image);
    texts(w, "command", j->command, j->n_command);
    texts(w, "args", j->args, j->n_args);
    if (!j->own_workdir)
        jsonw_kv_str(w, "workingDir",
                     j->cwd.n > 0 ? arena_printf(a, KUBE_WORKDIR "/%.*s", STR_ARG(j->cwd)) : STR(KUBE_WORKDIR));
    environment(w, j);
    resources(w, j, a);
    mounts(w, j, a);
    kube_podspec_container(w, j);
    if (j->message_path.n > 0) jsonw_kv_str(w, "terminationMessagePath", j->message_path);
    jsonw_kv_cstr(w, "terminationMessagePolicy", "FallbackToLogsOnError");
    jsonw_object_end(w);
}

static void own_spec(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "restartPolicy", "Never");
    jsonw_kv_bool(w, "enableServiceLinks", false);
    int64_t upload_ms = j->collects ? j->upload_ms + KUBE_UPLOAD_OVER_MS : 0;
    jsonw_kv_int(w, "terminationGracePeriodSeconds", (j->grace_ms + upload_ms + 999) / 1000);
    /* The pod's own deadline counts from when it has a node: what waits is not timed out. Its end says so by itself. */
    if (j->timeout_ms > 0)
        jsonw_kv_int(w, "activeDeadlineSeconds", (j->timeout_ms + (j->collects ? KUBE_DEADLINE_MS : 0) + 999) / 1000);
    if (j->workers > 1) jsonw_kv_str(w, "subdomain", j->name);
    kube_podspec_fields(w, j);
    if (j->moves.n > 0) kube_companion_containers(w, j);
    jsonw_key(w, "containers");
    jsonw_array(w);
    container(w, j, a);
    jsonw_array_end(w);
    volumes(w, j, a);
    jsonw_object_end(w);
}

/* With what the step says of it besides. */
static void spec(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    const struct value *more = value_get(j->cluster, "pod");
    struct value own;
    struct err ignored;
    struct jsonw inner;
    if (more == NULL) {
        own_spec(w, j, a);
        return;
    }
    BUF_AUTO text;
    buf_init(&text, 0);
    jsonw_to_buf(&inner, &text);
    own_spec(&inner, j, a);
    if (!jsonw_end(&inner) || !json_parse(a, buf_view(&text), JSONW_DEPTH, &own, &ignored)) {
        w->failed = true;
        return;
    }
    own = kube_podspec_merge(a, &own, more);
    kube_podspec_last_lines(a, &own);
    kube_podspec_collect_last(&own);
    jsonw_value(w, &own);
}

static void pod(struct jsonw *w, const struct kube_job *j, struct arena *a)
{
    jsonw_key(w, "template");
    jsonw_object(w);
    jsonw_key(w, "metadata");
    jsonw_object(w);
    labels(w, j, a, true);
    annotations(w, j, a, true);
    jsonw_object_end(w);
    jsonw_key(w, "spec");
    spec(w, j, a);
    jsonw_object_end(w);
}

void kube_job_json(const struct kube_job *j, struct buf *out)
{
    struct jsonw w;
    struct arena a;
    arena_init(&a, 0);
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "apiVersion", "batch/v1");
    jsonw_kv_cstr(&w, "kind", "Job");
    jsonw_key(&w, "metadata");
    jsonw_object(&w);
    jsonw_kv_str(&w, "name", j->name);
    jsonw_kv_str(&w, "namespace", j->namespace);
    labels(&w, j, &a, false);
    annotations(&w, j, &a, false);
    jsonw_object_end(&w);
    jsonw_key(&w, "spec");
    jsonw_object(&w);
    jsonw_kv_int(&w, "backoffLimit", 0);
    jsonw_kv_cstr(&w, "podReplacementPolicy", "Failed"); /* never two pods of a rank, whoever suspends and resumes */
    jsonw_kv_int(&w, "completions", j->workers > 1 ? j->workers : 1);
    jsonw_kv_int(&w, "parallelism", j->workers > 1 ? j->workers : 1);
    if (j->workers > 1) jsonw_kv_cstr(&w, "completionMode", "Indexed");
    if (j->kueue.n > 0) jsonw_kv_bool(&w, "suspend", true);
    pod(&w, j, &a);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    (void)jsonw_end(&w);
    arena_free(&a);
}

static void owner(struct jsonw *w, struct str job, struct str uid)
{
    jsonw_key(w, "ownerReferences");
    jsonw_array(w);
    jsonw_object(w);
    jsonw_kv_cstr(w, "apiVersion", "batch/v1");
    jsonw_kv_cstr(w, "kind", "Job");
    jsonw_kv_str(w, "name", job);
    jsonw_kv_str(w, "uid", uid);
    jsonw_object_end(w);
    jsonw_array_end(w);
}

void kube_owned_metadata(struct jsonw *w, struct str name, struct str job, struct str uid, struct str instance,
                         struct attempt_id id)
{
    jsonw_key(w, "metadata");
    jsonw_object(w);
    jsonw_kv_str(w, "name", name);
    jsonw_key(w, "labels");
    jsonw_object(w);
    jsonw_kv_cstr(w, "app.kubernetes.io/managed-by", "millrace");
    jsonw_kv_str(w, KUBE_LABEL_INSTANCE, instance);
    id_labels(w, id);
    jsonw_object_end(w);
    owner(w, job, uid);
    jsonw_object_end(w);
}

void kube_service_json(struct str job, struct str uid, struct str instance, struct attempt_id id, struct buf *out)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "apiVersion", "v1");
    jsonw_kv_cstr(&w, "kind", "Service");
    kube_owned_metadata(&w, job, job, uid, instance, id);
    jsonw_key(&w, "spec");
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "clusterIP", "None");
    /* They look for each other before they are ready: that is what they wait for. */
    jsonw_kv_bool(&w, "publishNotReadyAddresses", true);
    jsonw_key(&w, "selector");
    jsonw_object(&w);
    jsonw_kv_str(&w, "batch.kubernetes.io/job-name", job);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    (void)jsonw_end(&w);
}

bool kube_label_number(const struct value *labels, const char *key, int64_t most, int64_t *out)
{
    return str_int(value_get_text(labels, key), out) && *out >= 0 && *out <= most;
}
