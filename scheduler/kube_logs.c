/* Logs of steps: followed while their container runs, into the file from which everybody reads them, and completed when
 * it has ended. An answer begins at the log's beginning: what the file has already is skipped, so that a log is whole
 * after a cut connection or a restart. But kubelets rotate logs, by default at 10 MiB of their own format, and tell
 * only the newest part: then it is searched where that goes on. (What was not followed at the time is lost.) What a
 * kubelet says of its own is none of it: see kube_log_words.h.
 * https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/units.h"
#include "engine/blob/logs.h"
#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/kube_inner.h"
#include "scheduler/kube_log_words.h"
#include "scheduler/kube_words.h"
#include "scheduler/log_overlap.h"

#define FOLLOW_IDLE_MS 0 /* a step may be silent for days: the watch tells of its end */
#define DRAIN_IDLE_MS 10000
#define ROTATES_FROM ((int64_t)256 << 10) /* bytes of a log, however short its lines */
#define TAIL_MOST ((int64_t)16 << 20)     /* of the file, in which a rotated log is searched */
#define NEEDLE 4096
#define LOST "millrace: what follows was told by the node after it had rotated its log; lines may be missing here\n"
#define FOLLOWER_ENDS_US ((int64_t)3000000)   /* after its container, or its connection is lost */
#define DRAIN_MOST_US ((int64_t)15000000)     /* for more of a log to come */
#define DRAIN_ALL_US ((int64_t)10 * 60000000) /* for the rest of all of it */
#define DRAIN_AWAY_US ((int64_t)5 * 60000000) /* while the API server is away: nothing else could go on, either */

/* A file is made for the first byte: many steps say nothing. But another server may have made it. */
static bool open_file(struct kube_attempt *a, bool make)
{
    char path[FS_PATH_MAX], folder[FS_PATH_MAX];
    struct err err = {0};
    struct stat st;
    if (a->log.fd >= 0) return true;
    if (!step_log_path(a->owner->cfg.store_dir, a->id.run, (int32_t)a->id.task, (int32_t)a->id.attempt, path, &err) ||
        !fs_path(folder, &err, "%.*s", (int)(strrchr(path, '/') - path), path) ||
        (make && !fs_mkdirs(folder, 0755, &err))) {
        log_err(LEVEL_ERROR, "a log cannot be kept", &err);
        return false;
    }
    a->log.fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0640);
    if (a->log.fd < 0 && errno == ENOENT && !make) return true;
    if (a->log.fd < 0 || fstat(a->log.fd, &st) != 0) {
        log_error("a log cannot be kept", LOG_CSTR("file", path), LOG_CSTR("error", strerror(errno)));
        return false;
    }
    if (!make) a->log.bytes = st.st_size; /* else nothing was there, and each byte has its place */
    return true;
}

bool kube_log_any(struct kube_attempt *a)
{
    return open_file(a, false) && a->log.fd >= 0;
}

/* Into room for n bytes; fewer at the end of the file. */
static struct str file_part(const struct kube_attempt *a, char *room, size_t n, int64_t at)
{
    size_t got = 0;
    while (got < n) {
        ssize_t more = pread(a->log.fd, room + got, n - got, at + (int64_t)got);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) break;
        got += (size_t)more;
    }
    return (struct str){room, got};
}

static bool is_there(const struct kube_attempt *a, struct str bytes, int64_t at)
{
    char room[NEEDLE];
    for (size_t i = 0; i < bytes.n; i += sizeof room) {
        struct str piece = str_sub(bytes, i, sizeof room);
        if (log_agrees(file_part(a, room, piece.n, at + (int64_t)i), piece) < piece.n) return false;
    }
    return true;
}

static bool write_out(struct kube_attempt *a, struct str bytes);

/* The log has been rotated since: these bytes are not those that were there. */
static bool find_again(struct kube_attempt *a, struct str bytes, int64_t at)
{
    char needle[NEEDLE];
    int64_t seen = at - a->log.from, tail_at = a->log.bytes > TAIL_MOST ? a->log.bytes - TAIL_MOST : 0;
    size_t before = seen < NEEDLE / 2 ? (size_t)seen : NEEDLE / 2;
    struct str again = file_part(a, needle, before, at - (int64_t)before);
    bytes = str_sub(bytes, 0, sizeof needle - again.n);
    memcpy(needle + again.n, bytes.p, bytes.n);
    again.n += bytes.n;
    char *tail = malloc((size_t)(a->log.bytes - tail_at));
    if (tail == NULL) abort();
    int64_t found = log_overlap(file_part(a, tail, (size_t)(a->log.bytes - tail_at), tail_at), again);
    int64_t begins = tail_at + found + (int64_t)before - seen;
    free(tail);
    bool moved = found >= 0 && begins > a->log.from; /* each time further on: it comes to an end */
    a->log.moved = moved || write_out(a, STR(LOST));
    a->log.from = moved ? begins : a->log.bytes;
    return false;
}

static bool put(struct kube_attempt *a, struct str bytes)
{
    int64_t known = a->log.skip < (int64_t)bytes.n ? a->log.skip : (int64_t)bytes.n, at = a->log.bytes - a->log.skip;
    bool agrees = known == 0 || is_there(a, str_sub(bytes, 0, (size_t)known), at);
    if (!agrees) return find_again(a, bytes, at);
    a->log.seen += (int64_t)bytes.n;
    a->log.skip -= known;
    return write_out(a, str_sub(bytes, (size_t)known, bytes.n));
}

static bool append(struct kube_attempt *a, struct str bytes)
{
    int64_t from = a->log.bytes;
    a->log.broken = bytes.n > 0 && !open_file(a, true);
    if (a->log.broken) return false;
    while (bytes.n > 0) { /* each byte has its place: a server that was taken over writes the same ones there */
        ssize_t put = pwrite(a->log.fd, bytes.p, bytes.n, a->log.bytes);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            log_error("a log is cut short", LOG_INT("run", a->id.run), LOG_CSTR("error", strerror(errno)));
            a->log.broken = true;
            return false;
        }
        bytes = str_sub(bytes, (size_t)put, bytes.n);
        a->log.bytes += put;
        if (a->phase == KUBE_DRAINING) a->drain_us = os_mono_us();
    }
    if (a->log.bytes > from) kube_secret_cover_log(a, from);
    return true;
}

static bool write_out(struct kube_attempt *a, struct str bytes)
{
    int64_t most = a->owner->cfg.step_log_bytes;
    if (most > 0 && (int64_t)bytes.n > most - a->log.bytes) {
        a->log.full = true;
        bytes.n = most > a->log.bytes ? (size_t)(most - a->log.bytes) : 0;
    }
    return append(a, bytes) && !a->log.full;
}

/* Of several workers, rank 0's log comes first, as it is; behind it the others', each line with its rank. */
static bool data(void *ctx, struct str bytes)
{
    struct kube_attempt *a = ctx;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "[rank %u] ", a->log.rank);
    while (bytes.n > 0) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        size_t n = a->log.rank == 0 || end == NULL ? bytes.n : (size_t)(end - bytes.p) + 1;
        if (a->log.rank > 0 && !a->log.within && !put(a, str_of(prefix))) return false;
        if (!put(a, str_sub(bytes, 0, n))) return false;
        a->log.within = bytes.p[n - 1] != '\n';
        bytes = str_sub(bytes, n, bytes.n);
    }
    return true;
}

/* Behind the end of a step whose only output is its termination message: that of others says them itself. */
static void quote_last_lines(struct kube_attempt *a)
{
    char room[KUBE_LAST_BYTES];
    bool failed = !a->result.ok && a->result.reason == REASON_ERROR && a->result.exit_code > 0;
    if (!failed || a->collects || a->n_outputs != 1 || a->log.rank != a->failed_rank || !a->log.whole || a->log.full)
        return;
    int64_t end = a->gang ? a->log.from + a->log.seen : a->log.bytes, at = end - KUBE_LAST_BYTES;
    if (at < a->log.base) at = a->log.base;
    struct str log = file_part(a, room, (size_t)(end - at), at);
    struct str last = kube_last_lines(log, at > a->log.base, a->outputs[0].name, &a->arena);
    a->result.message = arena_printf(&a->arena, "%.*s%.*s", STR_ARG(a->result.message), STR_ARG(last));
}

/* The next rank's begins on a line of its own, where this one's ends. */
static bool next_rank(struct kube_attempt *a)
{
    if (a->log.rank + 1 >= a->n_ranks || a->log.full) return false;
    quote_last_lines(a);
    if (a->log.within && !put(a, STR("\n"))) return false;
    if (a->log.whole) a->drain_us = os_mono_us();
    a->log.base = a->log.from + a->log.seen;
    if (!a->log.whole && a->log.base < a->log.bytes) a->log.base = a->log.bytes; /* nobody will know the rest of it */
    a->log.from = a->log.base;
    a->log.seen = 0;
    a->log.within = false;
    a->log.whole = a->log.followed = false;
    a->log.tries = 0;
    a->log.rank++;
    return true;
}

/* What may be the node's own words is held back until more of the answer tells. */
static bool come(void *ctx, struct str bytes)
{
    struct kube_attempt *a = ctx;
    char rest[KUBE_LOG_WORDS_MOST];
    struct buf *held = &a->log.held;
    if (held->n > 0) buf_str(held, bytes);
    struct str text = held->n > 0 ? buf_view(held) : bytes;
    size_t sure = a->log.begun && !a->log.follows ? text.n : kube_log_sure(text, a->log.follows);
    size_t n = text.n - sure;
    bool more = sure == 0 || data(a, str_sub(text, 0, sure));
    a->log.begun |= sure > 0;
    memcpy(rest, text.p + sure, n);
    buf_reset(held);
    if (more && n > 0) buf_add(held, rest, n);
    return more;
}

/* The rest of an answer that has ended as it should. */
static void let_go(struct kube_attempt *a)
{
    struct str left = buf_view(&a->log.held);
    a->log.words = kube_log_words(left, a->log.follows);
    if (left.n > 0 && !a->log.words) (void)data(a, left);
    if (a->log.words && a->log.follows) a->log.again_us = kube_again_us(++a->log.unfollowed);
}

static void full(struct kube_attempt *a)
{
    char size[32];
    kube_end(a, FAILURE_ERROR, REASON_ERROR,
             arena_printf(&a->arena,
                          "wrote more than %s to its log, and was stopped; write less, or to files, or raise the "
                          "server's step-log-max",
                          units_bytes_text(a->owner->cfg.step_log_bytes, size)));
}

static void done(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *a = ctx;
    a->log.call = NULL;
    if (answer->outcome == KUBE_DONE) let_go(a);
    if (a->log.moved) {
        a->log.moved = false;
        if (a->phase == KUBE_DRAINING) kube_log_drain(a);
        return; /* else the next tick follows it */
    }
    /* A container that has just begun has no log yet (400); a cut connection is taken up again by the next tick. */
    bool well = answer->outcome == KUBE_DONE && !a->log.broken && !a->log.words;
    a->log.whole = well && (!a->log.follows || a->log.full || a->phase == KUBE_DRAINING);
    if (a->phase == KUBE_CREATED && a->log.follows && well) a->log.ended_us = os_now_us();
    /* Its pod may be deleted before it has ended, and nobody else knows it then. */
    if (a->phase == KUBE_CREATED && a->keeping && answer->outcome == KUBE_DONE) a->log.followed = !a->log.words;
    if (a->phase == KUBE_DRAINING && a->log.followed && answer->status == 404) a->log.whole = true;
    if (answer->status == 400 && a->log.bytes == 0) a->log.asked = false; /* there is none: it has not begun */
    if (answer->status == 403) a->log.refused = arena_str(&a->arena, answer->message);
    bool passing = answer->outcome == KUBE_AGAIN || answer->outcome == KUBE_UNKNOWN;
    a->log.away = passing && answer->status != 500; /* that is what an API server says whose kubelet is away */
    if (a->phase == KUBE_DRAINING && passing && !a->log.whole) return; /* the next tick tries again */
    a->log.tries += a->phase == KUBE_DRAINING && !(a->log.words && a->log.follows);
    if (a->phase == KUBE_DRAINING) kube_log_drain(a);
    if (a->phase == KUBE_CREATED && a->log.full) full(a);
}

static void ask(struct kube_attempt *a, bool follow)
{
    char path[1024];
    if (a->log.call != NULL) return;
    a->log.asked = true;
    a->log.moved = a->log.words = a->log.begun = false;
    buf_reset(&a->log.held);
    if (!open_file(a, false)) return;
    if (kube_log_pod(a)[0] == '\0') return;
    a->log.skip = a->log.bytes - a->log.from;
    a->log.seen = 0;
    a->log.within = false;
    snprintf(path, sizeof path, "/api/v1/namespaces/%.*s/pods/%s/log?container=" KUBE_CONTAINER "%s",
             STR_ARG(a->owner->cfg.namespace), kube_log_pod(a), follow ? "&follow=true" : "");
    const struct kube_stream_request req = {.path = str_of(path),
                                            .idle_timeout_ms = follow ? FOLLOW_IDLE_MS : DRAIN_IDLE_MS,
                                            .data = come,
                                            .done = done,
                                            .ctx = a};
    a->log.call = kube_stream(a->owner->client, &req);
    a->log.follows = follow;
}

/* A stream that has ended by itself did so with its container: the watch is about to tell of that. Or its node is not
 * able to follow it: then each try tells what is there by then, and one without following the rest. */
void kube_log_follow(struct kube_attempt *a)
{
    int64_t ago = os_now_us() - a->log.ended_us;
    bool ended = ago >= 0 && ago < FOLLOWER_ENDS_US, paused = os_mono_us() < a->log.again_us;
    if (!a->log.followed && (a->keeping || (!ended && !paused))) ask(a, !a->keeping || !a->log.words);
}

/* A node may also end a stream for troubles of its own, but hardly in the second in which the container ends. */
static bool was_followed(const struct kube_attempt *a)
{
    int64_t ended_us = a->result.ended_us;
    return a->log.call == NULL && !a->gang && a->log.ended_us != 0 && ended_us > 0 && ended_us <= a->log.ended_us;
}

static bool is_long(const struct kube_attempt *a)
{
    return a->log.bytes - a->log.base > ROTATES_FROM;
}

/* A stream that follows ends by itself, but up to a second after its container: the rest is asked for at once. Not of
 * one that was stopped: its pod may be gone before the answer, and nobody waits for it; nor of a long one, since who
 * follows has all of it, and who asks only what is not rotated yet. */
void kube_log_drain(struct kube_attempt *a)
{
    a->log.whole |= was_followed(a);
    if (a->log.call != NULL && a->log.follows && !is_long(a) && (a->result.ok || a->gang)) {
        kube_cancel(a->owner->client, a->log.call);
        a->log.call = NULL;
    }
    if (a->log.call != NULL) return;
    do {
        if (!a->log.whole && !a->log.full && a->log.tries < 2) ask(a, false);
    } while (a->log.call == NULL && next_rank(a));
    if (a->log.call == NULL) kube_drained(a);
}

void kube_log_tick(struct kube_attempt *a)
{
    int64_t now = os_mono_us(), since = now - a->drain_us;
    if (a->log.call != NULL && a->log.follows && since > FOLLOWER_ENDS_US) {
        kube_cancel(a->owner->client, a->log.call);
        a->log.call = NULL;
    }
    if (since > (a->log.away ? DRAIN_AWAY_US : DRAIN_MOST_US) || now - a->drained_from_us > DRAIN_ALL_US)
        kube_drained(a);
    else
        kube_log_drain(a);
}

void kube_log_close(struct kube_attempt *a)
{
    kube_cancel(a->owner->client, a->log.call);
    a->log.call = NULL;
    buf_free(&a->log.held);
    fs_close(&a->log.fd);
}

/* Where nothing of it is known, the log says so itself: whoever looks for it looks there. */
static void say_refused(struct kube_attempt *a)
{
    if (a->log.refused.n == 0 || a->log.whole || a->log.bytes > 0) return;
    a->log.skip = 0;
    (void)put(a, arena_printf(&a->arena,
                              "millrace: the log cannot be read: let the server's account get pods/log there; "
                              "Kubernetes says: %.*s\n",
                              STR_ARG(a->log.refused)));
}

/* Of one that ended before it could be stopped for that. */
static void say_full(struct kube_attempt *a)
{
    char size[32];
    if (!a->log.full || !a->result.ok) return;
    (void)append(a, arena_printf(&a->arena,
                                 "\nmillrace: the log is cut here: it is longer than %s, the server's "
                                 "step-log-max\n",
                                 units_bytes_text(a->owner->cfg.step_log_bytes, size)));
}

/* Of what never began there is no log that could be missing. */
static bool ran(const struct kube_attempt *a)
{
    bool any = a->result.exit_code >= 0 || a->log.bytes > 0;
    for (uint32_t i = 0; i < a->n_ranks; i++)
        any |= a->ranks[i].running_us != 0;
    return any;
}

static void complete(struct kube_attempt *a)
{
    quote_last_lines(a);
    say_refused(a);
    say_full(a);
    if (a->log.asked && !a->log.whole && !a->log.full && ran(a))
        log_warn("the end of a log may be missing", LOG_INT("run", a->id.run), LOG_INT("task", a->id.task),
                 LOG_INT("attempt", a->id.attempt));
    kube_log_close(a);
}

/* Once more for each that comes later than the log. */
void kube_drained(struct kube_attempt *a)
{
    if (!a->drained) complete(a);
    a->drained = true;
    a->result.log_bytes = a->log.bytes;
    if (a->reading == NULL && a->reread_us == 0 && !kube_belongings_asked(a)) kube_tell(a);
}
