/* What a step on a cluster left: one small param as its termination message; everything else was kept by its sidecar,
 * whose message is the manifest, or names the blob that is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/blob/store.h"
#include "engine/os/clock.h"
#include "engine/os/worker.h"
#include "engine/text/json.h"
#include "scheduler/kube_inner.h"
#include "scheduler/step_moves.h"
#include "scheduler/step_value.h"

#define MANIFEST_MAX ((size_t)16 << 20)
#define REREAD_US ((int64_t)5 * 1000000)
#define REREAD_MOST_US ((int64_t)10 * 60 * 1000000)

struct kube_reading { /* a manifest that is a blob */
    struct job job;   /* first */
    struct blob_store *blobs;
    struct kube_attempt *attempt; /* NULL = nobody waits any more */
    char digest[DIGEST_TEXT];
    struct buf text;
    struct err err;
    bool ok;
};

static void fail(struct kube_attempt *a, enum failure f, enum reason r, struct str message)
{
    a->result.ok = false;
    a->result.failure = f;
    a->result.reason = r;
    a->result.message = message;
}

#define NOT_KEPT "its outputs could not be kept: "

static void unreadable(struct kube_attempt *a, const char *why)
{
    fail(a, FAILURE_INFRA, REASON_INFRA, arena_printf(&a->arena, NOT_KEPT "%s", why));
}

/* ---- one param ---- */

/* What is no text, or has a NUL in it, comes from Kubernetes with this in its place, and is not what was written. */
#define REPLACED "\xef\xbf\xbd"

/* The kubelet makes the file: whether an empty one was written, nobody sees. */
#define EMPTY "was not written, or is empty"

static void read_message(struct kube_attempt *a)
{
    size_t at;
    struct value v;
    struct arena *m = &a->arena;
    const struct step_output *o = &a->outputs[0];
    if (a->result.exit_code < 0) { /* its Job says that it ended well, and nobody what it left */
        unreadable(a, "its pod is gone");
        return;
    }
    if (a->said.n == 0 && o->optional) return;
    const char *why = o->param == PARAM_STRING ? EMPTY ": an empty value is written as a newline" : EMPTY;
    bool absent = a->said.n == 0, cut = a->said.n >= a->said_max;
    if (cut)
        why = arena_printf(m, "is too long: what comes back from a pod without artifacts is less than %zu bytes",
                           a->said_max)
                  .p;
    bool replaced = !cut && str_find(a->said, STR(REPLACED), &at);
    if (replaced) why = "is not UTF-8 text: make it an artifact";
    if (absent || cut || replaced || !step_value(m, o->param, step_text(a->said), 0, &v, &why)) {
        fail(a, FAILURE_ERROR, REASON_OUTPUT,
             arena_printf(m, "exited with code 0, but its output '%.*s' %s", STR_ARG(o->name), why));
        return;
    }
    BUF_AUTO text;
    struct jsonw w;
    buf_init(&text, 0);
    jsonw_to_buf(&w, &text);
    jsonw_object(&w);
    jsonw_key_str(&w, o->name);
    jsonw_value(&w, &v);
    jsonw_object_end(&w);
    (void)jsonw_end(&w);
    a->result.outputs = arena_str(m, buf_view(&text));
}

/* ---- a manifest ---- */

/* Another try would end as one that took too much memory. */
static void without_a_word(struct kube_attempt *a)
{
    if (a->out_of_memory)
        fail(a, FAILURE_OOM, REASON_OOM, arena_printf(&a->arena, NOT_KEPT "%.*s", STR_ARG(a->killed)));
    else if (a->deaf.n > 0)
        fail(a, FAILURE_ERROR, REASON_OUTPUT,
             arena_printf(&a->arena,
                          "exited with code 0, but its outputs were not kept: its container '%.*s' went on when it was "
                          "told to stop, until there was no time left",
                          STR_ARG(a->deaf)));
    else if (a->killed.n > 0)
        unreadable(a, arena_cstr(&a->arena, a->killed));
    else
        unreadable(a, arena_printf(&a->arena,
                                   "the container " KUBE_COLLECT
                                   " ended without a word: it may have had too little time%.*s",
                                   STR_ARG(kube_mover_note(a, &a->arena)))
                          .p);
}

/* The sidecar says so only when the server has taken each of them. */
static void take_manifest(struct kube_attempt *a, const struct value *v)
{
    struct step_left left;
    struct err err = {0};
    if (!step_left_parse(&a->arena, v, a->outputs, a->n_outputs, &left, &err)) {
        unreadable(a, arena_printf(&a->arena, "the manifest's %s %s", err.path, err.message).p);
        return;
    }
    if (!left.result.ok) {
        fail(a, left.result.failure, left.result.reason, left.result.message);
        return;
    }
    a->result.outputs = left.result.outputs;
    a->artifacts = left.artifacts;
    a->n_artifacts = left.n_artifacts;
}

static void take_text(struct kube_attempt *a, struct str text)
{
    struct value v;
    struct err err = {0};
    if (json_parse(&a->arena, text, 0, &v, &err) && v.type == VALUE_MAP)
        take_manifest(a, &v);
    else if (text.n > 0)
        unreadable(a, "the manifest cannot be read");
    else
        without_a_word(a);
}

static void read_blob(struct job *job)
{
    struct kube_reading *r = (struct kube_reading *)(void *)job;
    FD_AUTO fd = -1;
    int64_t size = 0;
    if (!store_file(r->blobs, str_of(r->digest), &fd, &size, &r->err)) return;
    char piece[65536];
    for (off_t at = 0; at < size;) {
        ssize_t n = pread(fd, piece, sizeof piece, at);
        if (n <= 0 || !buf_add(&r->text, piece, (size_t)n)) {
            err_set(&r->err, ERR_TOO_LARGE, "the manifest cannot be read as a whole");
            return;
        }
        at += n;
    }
    r->ok = true;
}

static void drop_reading(struct kube_reading *r)
{
    buf_free(&r->text);
    free(r);
}

static void begin_reading(struct kube_attempt *a)
{
    struct kube_reading *r = calloc(1, sizeof *r);
    if (r == NULL) abort();
    r->job.run = read_blob;
    r->blobs = a->owner->blobs;
    r->attempt = a;
    memcpy(r->digest, a->manifest_digest, sizeof r->digest);
    buf_init(&r->text, MANIFEST_MAX);
    a->reading = r;
    workers_add(a->owner->workers, &r->job);
}

/* A store that is away for a while, and not a step that has to be done again. */
static bool read_later(struct kube_attempt *a, const struct err *why)
{
    int64_t now = os_mono_us();
    if (!err_retryable(why->code) || now - a->read_since_us > REREAD_MOST_US) return false;
    a->reread_us = now + REREAD_US;
    return true;
}

void kube_outputs_tick(struct kube_attempt *a, int64_t now)
{
    if (a->reread_us == 0 || now < a->reread_us) return;
    a->reread_us = 0;
    begin_reading(a);
}

/* One that nobody has is nobody's fault but its pod's: see hear.c. */
static void not_read(struct kube_attempt *a, const struct err *why)
{
    if (why->code == ERR_NOT_FOUND)
        fail(a, FAILURE_ERROR, REASON_OUTPUT,
             arena_printf(&a->arena, "exited with code 0, but the list of its outputs is not there: %s", why->message));
    else
        unreadable(a, why->message);
}

void kube_outputs_hear(struct kube *k)
{
    for (struct job *job; (job = workers_take(k->workers)) != NULL;) {
        struct kube_reading *r = (struct kube_reading *)(void *)job;
        struct kube_attempt *a = r->attempt;
        if (a != NULL) {
            a->reading = NULL;
            bool later = !r->ok && read_later(a, &r->err);
            if (r->ok)
                take_text(a, buf_view(&r->text));
            else if (!later)
                not_read(a, &r->err);
            if (a->drained && !later) kube_drained(a);
        }
        drop_reading(r);
    }
}

void kube_outputs_leave(struct kube_attempt *a)
{
    if (a->reading != NULL) a->reading->attempt = NULL;
    a->reading = NULL;
}

void kube_outputs_drop(struct job *job)
{
    drop_reading((struct kube_reading *)(void *)job);
}

static void read_from(struct kube_attempt *a, struct str digest)
{
    snprintf(a->manifest_digest, sizeof a->manifest_digest, "%.*s", STR_ARG(digest));
    a->read_since_us = os_mono_us();
    begin_reading(a);
}

void kube_outputs(struct kube_attempt *a)
{
    struct value v;
    struct err ignored;
    if (a->n_outputs == 0) return;
    if (!a->collects) {
        read_message(a);
        return;
    }
    bool map = json_parse(&a->arena, a->manifest_said, 0, &v, &ignored) && v.type == VALUE_MAP;
    const struct value *elsewhere = map ? value_get(&v, "manifest") : NULL;
    if (elsewhere != NULL && elsewhere->type == VALUE_STRING && launch_is_digest(elsewhere->u.s))
        read_from(a, elsewhere->u.s);
    else
        take_text(a, a->manifest_said);
}
