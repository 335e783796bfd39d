/* How an attempt ended: its outputs go into the blob store; and why it failed, in words. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/units.h"
#include "engine/blob/logs.h"
#include "engine/os/log.h"
#include "engine/os/secret.h"
#include "scheduler/process_inner.h"

#define QUOTE_BYTES 1200 /* of the log's end, in a failure's message */

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

/* " (64Mi)": what it may, where that is known. */
static struct str limit(struct arena *a, int64_t n, const char *(*text)(int64_t n, char *out))
{
    char out[32];
    return n > 0 ? arena_printf(a, " (%s)", text(n, out)) : STR("");
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
             arena_printf(m, "used more memory than it may%.*s: %s at its peak; raise %s%.*s",
                          STR_ARG(limit(m, a->memory_bytes, units_bytes_text)),
                          units_bytes_text(e->memory_peak_bytes, size),
                          a->memory_bound != NULL ? a->memory_bound : "resources.memory", STR_ARG(quote_log(a))));
    else if (e->log_full)
        fail(a, FAILURE_ERROR, REASON_ERROR,
             arena_printf(m,
                          "wrote more than %s to its log, and was stopped; write less, or to files, or raise the "
                          "server's step-log-max",
                          units_bytes_text(a->owner->cfg.step_log_bytes, size)));
    else if (e->timed_out)
        fail(a, FAILURE_TIMEOUT, REASON_TIMEOUT,
             arena_printf(m, "ran longer than its timeout%.*s%.*s",
                          STR_ARG(limit(m, a->timeout_ms, units_duration_text)), STR_ARG(quote_log(a))));
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

static bool keep(void *ctx, int fd, char digest[DIGEST_TEXT], int64_t *size, struct err *err)
{
    return store_put_fd(ctx, fd, STR(""), digest, size, err);
}

static void collect_outputs(struct attempt *a)
{
    const struct step_reader reader = {.arena = &a->arena,
                                       .workdir = a->workdir,
                                       .outputs = a->wanted,
                                       .n_outputs = a->n_wanted,
                                       .mask = &a->mask,
                                       .keep = keep,
                                       .ctx = a->owner->blobs};
    struct step_left left;
    step_left_read(&reader, &left);
    a->artifacts = left.artifacts;
    a->n_artifacts = left.n_artifacts;
    a->result.ok = left.result.ok;
    a->result.failure = left.result.failure;
    a->result.reason = left.result.reason;
    a->result.message = left.result.message;
    a->result.outputs = left.result.outputs;
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
