/* What an attempt left: its outputs, read from its working directory into the blob store and its result; and why it
 * failed, in words. The files are another's: everything is opened beneath the working directory, regular files and
 * folders only. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/base/units.h"
#include "engine/blob/bundle.h"
#include "engine/blob/logs.h"
#include "engine/os/log.h"
#include "engine/os/secret.h"
#include "engine/store/artifacts.h"
#include "scheduler/process_inner.h"
#include "scheduler/step_value.h"

#define PARAM_MAX ((size_t)64 << 10) /* read as ARTIFACT_METADATA_MAX, too */
#define METADATA ".metadata.json"    /* behind an artifact's path: where a step tells about it */
#define QUOTE_BYTES 1200             /* of the log's end, in a failure's message */

/* ---- failures in words ---- */

static void fail(struct attempt *a, enum failure f, enum reason r, struct str message)
{
    a->result.ok = false;
    a->result.failure = f;
    a->result.reason = r;
    a->result.message = message;
}

/* What it was given as secrets and wrote to its log is covered there, before anything is quoted from it. */
static bool conceal(struct attempt *a)
{
    struct err err = {0};
    if (!a->secretive) return true;
    mask_forms(&a->mask, &a->arena);
    struct mask now; /* a secret may have changed meanwhile, and others' may have come in with an input */
    secret_mask(a->owner->cfg.secrets_dir, a->secrets_of, &a->arena, &now);
    for (size_t i = 0; i < now.n; i++)
        mask_add(&a->mask, &a->arena, now.values[i]);
    mask_sort(&a->mask);
    bool ok = step_log_cover(a->log, 0, &a->mask, &err);
    if (!ok) log_err(LEVEL_ERROR, "a log may show secrets", &err);
    return ok;
}

/* The log's last lines: most failures say there what they are. */
static struct str quote_log(struct attempt *a)
{
    struct err err = {0};
    BUF_AUTO text;
    buf_init(&text, QUOTE_BYTES + 1);
    if (!a->quotable || !fs_read_tail(a->log, QUOTE_BYTES, &text, &err)) return STR("");
    struct str tail = str_trim(buf_view(&text));
    size_t bad;
    if (tail.n == 0 || !utf8_valid(tail, &bad) || memchr(tail.p, '\0', tail.n) != NULL) return STR("");
    return arena_printf(&a->arena, "; its last lines:\n%.*s", STR_ARG(tail));
}

static void failed_by_end(struct attempt *a)
{
    const struct launcher_event *e = &a->end;
    struct arena *m = &a->arena;
    char size[32];
    if (e->kind == LAUNCHER_LOST && !e->killed)
        fail(a, FAILURE_INFRA, REASON_INFRA, STR(LOST_MESSAGE));
    else if (e->not_started)
        fail(a, e->infra ? FAILURE_INFRA : FAILURE_ERROR, e->infra ? REASON_INFRA : REASON_ERROR,
             arena_printf(m, "could not be started: %.*s", STR_ARG(e->error)));
    else if (e->oom)
        fail(a, FAILURE_OOM, REASON_OOM,
             arena_printf(m, "used more memory than it may: %s at its peak; raise resources.memory%.*s",
                          units_bytes_text(e->memory_peak_bytes, size), STR_ARG(quote_log(a))));
    else if (e->log_full)
        fail(a, FAILURE_ERROR, REASON_ERROR,
             arena_printf(m,
                          "wrote more than %s to its log, and was stopped; write less, or to files, or raise the "
                          "server's step-log-max",
                          units_bytes_text(a->owner->cfg.step_log_bytes, size)));
    else if (e->timed_out)
        fail(a, FAILURE_TIMEOUT, REASON_TIMEOUT,
             arena_printf(m, "ran longer than its timeout%.*s", STR_ARG(quote_log(a))));
    else if (e->killed)
        fail(a, FAILURE_ERROR, REASON_CANCELLED, STR("was stopped"));
    else if (e->signal != 0)
        fail(a, FAILURE_ERROR, REASON_ERROR,
             arena_printf(m, "ended by signal %d (%s)%.*s", e->signal, strsignal(e->signal), STR_ARG(quote_log(a))));
    else
        fail(a, FAILURE_ERROR, REASON_ERROR,
             arena_printf(m, "exited with code %d%.*s", e->code, STR_ARG(quote_log(a))));
}

/* ---- outputs ---- */

#define SECRETIVE "holds a secret, and outputs are recorded"

static bool missing(struct attempt *a, const struct wanted *w, const char *what)
{
    fail(a, FAILURE_ERROR, REASON_OUTPUT,
         arena_printf(&a->arena, "exited with code 0, but its output '%.*s' (%.*s) %s", STR_ARG(w->name),
                      STR_ARG(w->path), what));
    return false;
}

static bool read_text(struct attempt *a, int fd, const struct wanted *w, struct str *out)
{
    char *p = arena_alloc(&a->arena, PARAM_MAX + 2);
    size_t n = 0, bad;
    for (ssize_t got; n <= PARAM_MAX && (got = read(fd, p + n, PARAM_MAX + 1 - n)) != 0; n += (size_t)got)
        if (got < 0) return missing(a, w, strerror(errno));
    if (n > PARAM_MAX)
        return missing(a, w,
                       w->kind == IO_PARAM ? "is longer than 64 KiB: make it an artifact" : "is longer than 64 KiB");
    *out = step_text((struct str){p, n});
    if (!utf8_valid(*out, &bad) || memchr(p, '\0', out->n) != NULL)
        return missing(a, w, w->kind == IO_PARAM ? "is not UTF-8 text: make it an artifact" : "is not UTF-8 text");
    return !mask_holds(&a->mask, *out) || missing(a, w, SECRETIVE);
}

static bool typed(struct attempt *a, const struct wanted *w, struct str text, struct value *out)
{
    const char *why;
    size_t depth = w->kind == IO_ARTIFACT ? ARTIFACT_METADATA_DEPTH : 0;
    return step_value(&a->arena, w->param, text, depth, out, &why) || missing(a, w, why);
}

static int open_output(struct attempt *a, int dir, const struct wanted *w)
{
    return fs_open_beneath(dir, arena_cstr(&a->arena, w->path), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
}

/* By errno. */
static bool cannot_open(struct attempt *a, const struct wanted *w)
{
    return missing(a, w,
                   errno == ENOENT  ? "was not written"
                   : errno == EXDEV ? "is a link that leads out of the working directory"
                                    : strerror(errno));
}

static bool collect_value(struct attempt *a, int fd, const struct wanted *w, struct value *out)
{
    struct str text;
    return read_text(a, fd, w, &text) && typed(a, w, text, out);
}

static bool collect_param(struct attempt *a, int fd, const struct wanted *w, struct jsonw *out)
{
    struct value v;
    if (!collect_value(a, fd, w, &v)) return false;
    jsonw_key_str(out, w->name);
    jsonw_value(out, &v);
    return true;
}

/* A folder becomes a packed one. */
static bool store_folder(struct attempt *a, int fd, char digest[DIGEST_TEXT], int64_t *size, struct err *err)
{
    char path[64];
    int packed = open(a->workdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct bundle_stats stats;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (packed < 0) return err_set(err, ERR_IO, "cannot pack a folder: %s", strerror(errno));
    bool ok = bundle_pack(path, packed, &bundle_of_artifact, &stats, err) && lseek(packed, 0, SEEK_SET) == 0 &&
              store_put_fd(a->owner->blobs, packed, STR(""), digest, size, err);
    close(packed);
    return ok;
}

/* The object that the step wrote about the artifact, if it did, and whether it is a packed folder. */
static bool collect_metadata(struct attempt *a, int dir, bool folder, const struct wanted *of, struct str *out)
{
    const struct wanted w = {.name = of->name,
                             .path = arena_printf(&a->arena, "%.*s" METADATA, STR_ARG(of->path)),
                             .kind = IO_ARTIFACT,
                             .param = PARAM_MAP};
    struct value v = {.type = VALUE_MAP};
    struct value_map_builder map;
    struct stat st;
    FD_AUTO fd = open_output(a, dir, &w);
    if (fd < 0 && errno != ENOENT && errno != ENAMETOOLONG) return cannot_open(a, &w);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) return missing(a, &w, "is not a file");
    if (fd >= 0 && !collect_value(a, fd, &w, &v)) return false;
    if (value_get(&v, "folder")) return missing(a, &w, "may not have a member 'folder': that is said for it");
    value_map_begin(&map, &a->arena);
    for (size_t i = 0; i < v.u.map.n; i++)
        value_map_put(&map, v.u.map.entries[i].key, v.u.map.entries[i].value);
    if (folder) value_map_put(&map, STR("folder"), value_bool(true));
    v = value_map_end(&map);
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, &v, false);
    *out = arena_str(&a->arena, buf_view(&text));
    return true;
}

static bool collect_artifact(struct attempt *a, int fd, bool folder, struct str metadata, const struct wanted *w,
                             struct jsonw *out)
{
    struct err err = {0};
    char digest[DIGEST_TEXT];
    int64_t size = 0;
    bool ok = folder ? store_folder(a, fd, digest, &size, &err)
                     : store_put_fd(a->owner->blobs, fd, STR(""), digest, &size, &err);
    if (!ok && (err.code == ERR_INVALID || err.code == ERR_TOO_LARGE || err.code == ERR_CONFLICT))
        return missing(a, w, arena_printf(&a->arena, "cannot be kept: %s", err.message).p);
    if (!ok) {
        fail(a, FAILURE_INFRA, REASON_INFRA,
             arena_printf(&a->arena, "its output '%.*s' could not be stored: %s", STR_ARG(w->name), err.message));
        return false;
    }
    struct exec_output *o = &a->artifacts[a->n_artifacts++];
    *o = (struct exec_output){.name = w->name,
                              .type = w->type,
                              .digest = arena_str(&a->arena, str_of(digest)),
                              .metadata = metadata,
                              .size = size};
    jsonw_key_str(out, w->name);
    jsonw_object(out);
    jsonw_kv_str(out, "artifact", o->type);
    jsonw_kv_str(out, "digest", o->digest);
    jsonw_kv_int(out, "size", size);
    jsonw_kv_str(out, "name", w->name);
    if (folder) jsonw_kv_bool(out, "folder", true);
    jsonw_object_end(out);
    return true;
}

static bool collect_one(struct attempt *a, int dir, const struct wanted *w, struct jsonw *out)
{
    struct stat st;
    struct str metadata;
    FD_AUTO fd = open_output(a, dir, w);
    if (fd < 0) return (errno == ENOENT && w->optional) || cannot_open(a, w);
    if (fstat(fd, &st) != 0) return missing(a, w, strerror(errno));
    bool file = S_ISREG(st.st_mode), folder = S_ISDIR(st.st_mode);
    if (w->kind == IO_PARAM) return file ? collect_param(a, fd, w, out) : missing(a, w, "is not a file");
    if (!file && !folder) return missing(a, w, "is neither a file nor a folder");
    return collect_metadata(a, dir, folder, w, &metadata) && collect_artifact(a, fd, folder, metadata, w, out);
}

static void collect_outputs(struct attempt *a)
{
    BUF_AUTO text;
    struct jsonw w;
    buf_init(&text, 0);
    jsonw_to_buf(&w, &text);
    int dir = open(a->workdir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        fail(a, FAILURE_INFRA, REASON_INFRA,
             arena_printf(&a->arena, "its working directory is gone: %s", strerror(errno)));
        return;
    }
    a->artifacts = arena_array(&a->arena, struct exec_output, a->n_wanted + 1);
    jsonw_object(&w);
    bool ok = true;
    for (size_t i = 0; i < a->n_wanted && ok; i++)
        ok = collect_one(a, dir, &a->wanted[i], &w);
    close(dir);
    jsonw_object_end(&w);
    if (!ok) return;
    a->result.ok = jsonw_end(&w);
    a->result.outputs = arena_str(&a->arena, buf_view(&text));
}

void process_result(struct attempt *a)
{
    struct stat st;
    const struct launcher_event *e = &a->end;
    bool good = e->kind == LAUNCHER_ENDED && e->code == 0 && e->signal == 0 && !e->killed && !e->timed_out && !e->oom &&
                !e->log_full && !e->not_started;
    bool own = e->signal != 0 && !e->killed && !e->timed_out && !e->oom && !e->log_full; /* told as a shell does */
    a->result = (struct task_result){
        .exit_code = own ? 128 + e->signal : e->code, .started_us = e->started_us, .ended_us = e->ended_us};
    if (stat(a->log, &st) == 0) a->result.log_bytes = st.st_size;
    a->quotable = conceal(a);
    if (!good)
        failed_by_end(a);
    else if (a->n_wanted == 0)
        a->result.ok = true;
    else
        collect_outputs(a);
}

void process_collect(struct job *job)
{
    process_result((struct attempt *)(void *)job);
}

void process_cover(struct job *job)
{
    struct attempt *a = (struct attempt *)(void *)job;
    if (access(a->log, F_OK) == 0) (void)conceal(a);
}
