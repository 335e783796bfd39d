/* What moves the data of a step in a pod, from containers beside the step's own: `fetch` runs before it, brings code
 * and inputs, and makes the folders of its outputs; `collect` waits until it has ended, which the kubelet tells by
 * SIGTERM, and keeps its outputs; `ready`, a hook that holds up the step's own, waits until `collect` would hear of
 * that. The first two work by the plan that came with the pod, ask the API as the step itself would,
 * and say how it went in the container's termination message. Who kills them loses nothing: outputs are kept by digest,
 * and a pod without the message has not succeeded.
 * https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/ */
#include "cli/companion.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/companion_cache.h"
#include "cli/files.h"
#include "engine/blob/bundle.h"
#include "engine/text/json.h"
#include "scheduler/step_moves.h"

#define PLAN_MAX ((size_t)1 << 20)
#define MESSAGE_MAX 1000 /* bytes of a termination message: all containers of a pod share 12 KiB */
#define PAUSE_FIRST_MS 250
#define PAUSE_MOST_MS 10000
#define HOUR_MS 3600000
#define FETCH_TRIES 40  /* some five minutes */
#define DAMAGED_TRIES 3 /* on its way, most likely; then where it is kept */
#define READY_TRIES 3000
#define READY_PAUSE_US 10000

struct companion {
    struct cli cli;
    struct arena *arena;
    const char *workdir, *message;
    const char *cache; /* of the node; NULL = there is none */
    int64_t cache_bytes;
    struct step_moves moves;
    pthread_mutex_t lock; /* of what follows, which the clock reads */
    bool told;
    char last[sizeof((struct err *)0)->message]; /* what did not go well so far */
    char to[200];                                /* where bytes go now: a host */
};

/* ---- what both do ---- */

static bool write_all(int fd, struct str bytes)
{
    return blob_to_file(&fd, bytes.p, bytes.n);
}

/* The first word is the last. The file is mounted: another cannot take its place. */
static void say(struct companion *c, struct str text)
{
    pthread_mutex_lock(&c->lock);
    if (!c->told) {
        FD_AUTO fd = open(c->message, O_WRONLY | O_TRUNC | O_CLOEXEC);
        fprintf(stderr, "%.*s\n", STR_ARG(text));
        if (fd < 0 || !write_all(fd, text)) fprintf(stderr, "cannot write %s: %s\n", c->message, strerror(errno));
    }
    c->told = true;
    pthread_mutex_unlock(&c->lock);
}

/* The scheduler quotes the last such line of the log: see scheduler/kube_movers.c. */
static void will_try_again(void *ctx, const struct err *err)
{
    struct companion *c = ctx;
    bool hint = err->hint[0] != '\0';
    fprintf(stderr, "%s%s%s%s" STEP_MOVES_AGAIN "\n", err->message, hint ? " (" : "", err->hint, hint ? ")" : "");
    pthread_mutex_lock(&c->lock);
    snprintf(c->last, sizeof c->last, "%s", err->message);
    pthread_mutex_unlock(&c->lock);
}

/* A link is signed: no more of it is told than its host. */
static void goes_to(void *ctx, const char *url)
{
    struct companion *c = ctx;
    const char *host = strstr(url, "://");
    size_t n = host != NULL ? (size_t)(host - url) + 3 + strcspn(host + 3, "/?") : 0;
    pthread_mutex_lock(&c->lock);
    snprintf(c->to, sizeof c->to, "%.*s", (int)n, url);
    pthread_mutex_unlock(&c->lock);
}

static bool open_api(struct companion *c, struct err *err)
{
    struct settings *s = &c->cli.settings;
    s->server = getenv("MILLRACE_API_URL");
    s->token = getenv("MILLRACE_TOKEN");
    s->token_place = "MILLRACE_TOKEN";
    const char *bytes = getenv(STEP_MOVES_CACHE_BYTES);
    c->cache = getenv(STEP_MOVES_CACHE);
    if (bytes == NULL || !str_int(str_of(bytes), &c->cache_bytes)) c->cache = NULL;
    if (s->server == NULL || s->token == NULL)
        return err_set(err, ERR_INVALID, "MILLRACE_API_URL and MILLRACE_TOKEN must say where the data is");
    if (!client_open(c->arena, s, &c->cli.client, err)) return false;
    client_on_retry(c->cli.client, will_try_again, c);
    return true;
}

static bool read_plan(struct companion *c, const char *path, struct err *err)
{
    BUF_AUTO text;
    struct value v;
    buf_init(&text, PLAN_MAX);
    return fs_read(path, PLAN_MAX, &text, err) && json_parse(c->arena, buf_view(&text), 0, &v, err) &&
           step_moves_read(c->arena, &v, &c->moves, err);
}

/* Whether another try may help: the server is away, or has not yet heard of what was asked for. */
static bool pause_before(struct companion *c, const struct err *err, unsigned tries)
{
    int64_t ms = PAUSE_FIRST_MS << (tries < 6 ? tries : 6);
    if (err->code == ERR_INVALID || err->code == ERR_TOO_LARGE || err->code == ERR_NOT_FOUND ||
        err->code == ERR_UNAUTHENTICATED) /* the attempt is over: nobody waits for it */
        return false;
    will_try_again(c, err);
    poll(NULL, 0, ms < PAUSE_MOST_MS ? (int)ms : PAUSE_MOST_MS);
    return true;
}

/* ---- fetch ---- */

static bool temporary(const struct companion *c, int *fd, struct err *err)
{
    *fd = open(c->workdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return *fd >= 0 || err_set(err, ERR_IO, "cannot write to %s: %s", c->workdir, strerror(errno));
}

/* Damaged on its way, it is asked for anew. */
static bool check(struct str digest, int fd, unsigned *damaged, struct err *err)
{
    char found[DIGEST_TEXT];
    if (lseek(fd, 0, SEEK_SET) != 0) return err_set(err, ERR_IO, "cannot read it again: %s", strerror(errno));
    if (!digest_fd(fd, found, NULL, err)) return false;
    if (str_is(digest, found)) return true;
    if (ftruncate(fd, 0) != 0) return err_set(err, ERR_IO, "cannot begin again: %s", strerror(errno));
    if (++*damaged < DAMAGED_TRIES)
        return err_set(err, ERR_IO, "%.*s came damaged: its digest is %s", STR_ARG(digest), found);
    return err_set(err, ERR_INVALID, "%.*s is damaged where it is kept: what comes has the digest %s", STR_ARG(digest),
                   found);
}

/* An answer to HEAD says nothing of why: the first byte is asked for, only to hear that. */
static void ask_why(struct companion *c, const char *path, struct err *err)
{
    struct client_reply reply;
    struct err why;
    const struct client_request get = {.path = path, .accept = "*/*", .headers = {"Range: bytes=0-0"}, .once = true};
    bool gone = err->code == ERR_NOT_FOUND;
    if (!gone && err->code != ERR_UNAVAILABLE && err->code != ERR_INTERNAL) return;
    if (!gone) will_try_again(c, err); /* the other answer may take as long */
    if (!client_send(c->cli.client, c->arena, &get, &reply, NULL, &why)) *err = why;
}

static bool fetch_once(struct companion *c, struct str digest, int fd, unsigned *damaged, struct err *err)
{
    const char *path = client_path(c->arena, "/api/v1/blobs/%s", arena_cstr(c->arena, digest));
    const char *there = client_with(c->arena, path, "direct=true");
    struct client_reply reply;
    const struct client_request head = {.method = "HEAD", .path = path, .once = true};
    if (!client_send(c->cli.client, c->arena, &head, &reply, NULL, err)) return ask_why(c, path, err), false;
    int64_t size = reply.total; /* what a run was told of it may be a user's word */
    if (size < 0) return err_set(err, ERR_UNAVAILABLE, "the server does not say how long it is");
    bool came = c->cli.direct && blob_fetch(c->cli.client, c->arena, there, true, fd, size, err);
    if (!came && c->cli.direct) fprintf(stderr, "%s; asking the server for it\n", err->message);
    c->cli.direct = came; /* a store that cannot be reached once will not be */
    if (!came && !blob_fetch(c->cli.client, c->arena, path, false, fd, size, err)) return false;
    return check(digest, fd, damaged, err);
}

static bool fetch_bytes(struct companion *c, struct str digest, int fd, struct err *err)
{
    bool here = c->cache != NULL && companion_cache_take(c->cache, digest, fd);
    unsigned damaged = 0;
    for (unsigned tries = 0; !here; tries++) {
        if (fetch_once(c, digest, fd, &damaged, err)) break;
        if (tries == FETCH_TRIES || !pause_before(c, err, tries)) return false;
    }
    if (c->cache != NULL && !here) companion_cache_keep(c->cache, digest, fd, c->cache_bytes);
    return lseek(fd, 0, SEEK_SET) == 0;
}

static bool unpack(struct companion *c, struct str digest, const char *folder, const struct bundle_limits *limits,
                   struct err *err)
{
    struct bundle_stats stats;
    FD_AUTO fd = -1;
    return temporary(c, &fd, err) && fetch_bytes(c, digest, fd, err) && fs_mkdirs(folder, 0777, err) &&
           bundle_unpack(fd, folder, limits, &stats, err);
}

static struct str folder_of(struct str path)
{
    while (path.n > 0 && path.p[path.n - 1] != '/')
        path.n--;
    return str_sub(path, 0, path.n > 0 ? path.n - 1 : 0);
}

/* Before a file of that path, relative to the working directory. */
static bool make_folder(const struct companion *c, int dir, struct str path, struct err *err)
{
    struct str folder = folder_of(path);
    return folder.n == 0 || fs_mkdirs_beneath(dir, arena_cstr(c->arena, folder), 0777, (uid_t)-1, (gid_t)-1) ||
           err_set(err, ERR_IO, "cannot make the folder %.*s: %s", STR_ARG(folder), strerror(errno));
}

static bool fetch_input(struct companion *c, int dir, const struct launch_input *in, struct err *err)
{
    const char *path = arena_cstr(c->arena, in->path);
    if (!make_folder(c, dir, in->path, err)) return false;
    if (in->folder)
        return unpack(c, in->digest, arena_printf(c->arena, "%s/%s", c->workdir, path).p, &bundle_of_artifact, err);
    FD_AUTO fd = fs_open_beneath(dir, path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (in->artifact) return fetch_bytes(c, in->digest, fd, err);
    return write_all(fd, in->text) || err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

/* The step may run as any user, and may write wherever it could on its own machine. */
static int open_to_all(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)at;
    mode_t mode = kind == FTW_D ? 0777 : st->st_mode | 0666 | (st->st_mode & 0100 ? 0111 : 0);
    if (kind == FTW_F || kind == FTW_D) (void)!chmod(path, mode); /* the folder itself may be the pod's */
    return 0;
}

static bool fetch(struct companion *c, struct err *err)
{
    const struct step_moves *m = &c->moves;
    umask(0);
    if (m->bundle.n > 0 && !unpack(c, m->bundle, c->workdir, NULL, err)) return err_path(err, "code"), false;
    FD_AUTO dir = open(c->workdir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return err_set(err, ERR_IO, "cannot open %s: %s", c->workdir, strerror(errno));
    for (size_t i = 0; i < m->n_inputs; i++)
        if (!fetch_input(c, dir, &m->inputs[i], err)) {
            if (err->code == ERR_NOT_FOUND)
                err_hint(err, "what made it must run again: millrace retry RUN --from STEP");
            if (err->path[0] == '\0') err_path(err, "inputs.%.*s", STR_ARG(m->inputs[i].name));
            return false;
        }
    for (size_t i = 0; i < m->n_outputs; i++)
        if (!make_folder(c, dir, m->outputs[i].path, err)) return false;
    (void)nftw(c->workdir, open_to_all, 32, FTW_PHYS); /* what cannot be opened was not ours */
    return true;
}

/* ---- collect ---- */

/* Until the kubelet puts an end to it. */
static bool keep(void *ctx, int fd, char digest[DIGEST_TEXT], int64_t *size, struct err *err)
{
    struct companion *c = ctx;
    if (lseek(fd, 0, SEEK_SET) != 0 || !digest_fd(fd, digest, size, err)) return false;
    c->cli.sends = goes_to;
    c->cli.sends_ctx = c;
    goes_to(c, c->cli.settings.server);
    for (unsigned tries = 0;; tries++) {
        if (blob_send(&c->cli, fd, digest, *size, "an output", err)) return true;
        if (!pause_before(c, err, tries)) return false;
    }
}

static bool keep_text(struct companion *c, struct str text, char digest[DIGEST_TEXT], struct err *err)
{
    FD_AUTO fd = -1;
    int64_t size;
    if (!temporary(c, &fd, err)) return false;
    if (!write_all(fd, text)) return err_set(err, ERR_IO, "cannot write the manifest: %s", strerror(errno));
    return keep(c, fd, digest, &size, err);
}

static void tell_failed(struct companion *c, enum failure failure, const char *message)
{
    const struct step_left left = {.result = {.failure = failure, .message = str_of(message)}};
    BUF_AUTO text;
    buf_init(&text, 0);
    step_left_write(&left, &text);
    say(c, buf_view(&text));
}

static void collect(struct companion *c)
{
    const struct mask none = {0};
    const struct step_reader reader = {.arena = c->arena,
                                       .workdir = c->workdir,
                                       .outputs = c->moves.outputs,
                                       .n_outputs = c->moves.n_outputs,
                                       .mask = &none,
                                       .keep = keep,
                                       .ctx = c};
    struct step_left left;
    struct err err;
    char digest[DIGEST_TEXT];
    BUF_AUTO text;
    buf_init(&text, 0);
    step_left_read(&reader, &left);
    step_left_write(&left, &text);
    if (text.n <= MESSAGE_MAX)
        say(c, buf_view(&text));
    else if (keep_text(c, buf_view(&text), digest, &err))
        say(c, arena_printf(c->arena, "{\"manifest\":\"%s\"}", digest));
    else
        tell_failed(c, FAILURE_INFRA, err.message);
}

/* Ends the process when the outputs have had their time: a transfer that hangs is not asked. */
static void *be_late(void *ctx)
{
    struct companion *c = ctx;
    char why[sizeof c->last + 160];
    const char *what = "";
    for (int64_t left = c->moves.upload_ms; left > 0; left -= HOUR_MS)
        poll(NULL, 0, (int)(left < HOUR_MS ? left : HOUR_MS));
    pthread_mutex_lock(&c->lock);
    if (c->last[0] != '\0')
        what = "; last: ";
    else if (c->to[0] != '\0')
        what = "; they were on their way to ";
    snprintf(why, sizeof why, "its outputs were not kept within its uploadTimeout, %llds%s%s",
             (long long)(c->moves.upload_ms / 1000), what, c->last[0] != '\0' ? c->last : c->to);
    pthread_mutex_unlock(&c->lock);
    tell_failed(c, FAILURE_TIMEOUT, why);
    _exit(CLI_OK);
}

static void set_clock(struct companion *c)
{
    pthread_t thread;
    if (c->moves.upload_ms > 0 && pthread_create(&thread, NULL, be_late, c) == 0) pthread_detach(thread);
}

static void await_end(const sigset_t *signals)
{
    int which;
    while (sigwait(signals, &which) != 0) {
    }
}

/* ---- the command ---- */

static int run_fetch(struct companion *c, const char *plan)
{
    struct err err = {0};
    bool ok = read_plan(c, plan, &err) && open_api(c, &err) && fetch(c, &err);
    if (ok) return CLI_OK;
    bool hint = err.hint[0] != '\0';
    say(c, arena_printf(c->arena, "%s%s%s%s%s%s", err.path, err.path[0] != '\0' ? ": " : "", err.message,
                        hint ? " (" : "", err.hint, hint ? ")" : ""));
    /* An attempt that is over has no token any more. */
    bool passing =
        err_retryable(err.code) || err.code == ERR_SPACE || err.code == ERR_INTERNAL || err.code == ERR_UNAUTHENTICATED;
    return passing ? CLI_RUN_FAILED : STEP_MOVES_WRONG;
}

static void nothing(int signal)
{
    (void)signal;
}

/* An end before SIGTERM would be taken for a crash, and it would be started again. */
static int run_collect(struct companion *c, const char *plan)
{
    struct err err = {0};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* at once: to a first process that does not ask, it would not be told */
    signal(SIGTERM, nothing);               /* it is waited for; but `ready` sees this, and not what is waited for */
    bool ok = read_plan(c, plan, &err) && open_api(c, &err);
    fprintf(stderr, STEP_MOVES_WAITS "\n");
    await_end(&signals);
    const char *rank = getenv("JOB_COMPLETION_INDEX");         /* Kubernetes says it where a step has several workers */
    if (rank != NULL && strcmp(rank, "0") != 0) return CLI_OK; /* what rank 0 leaves is the step's */
    set_clock(c);
    if (ok)
        collect(c);
    else
        tell_failed(c, FAILURE_INFRA, err.message);
    return CLI_OK;
}

/* Whether a process handles SIGTERM, by the mask that the kernel tells in hexadecimal: proc_pid_status(5). */
static bool hears_the_end(const char *pid)
{
    char path[64], line[128];
    unsigned long long mask = 0;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "SigCgt:", 7) == 0) mask = strtoull(line + 7, NULL, 16);
    fclose(f);
    return (mask >> (SIGTERM - 1) & 1) != 0;
}

/* A step may end before `collect` has come as far as that, and a first process without it is told nothing. */
static int run_ready(const char *pid)
{
    for (int i = 0; i < READY_TRIES; i++) {
        if (hears_the_end(pid)) return CLI_OK;
        usleep(READY_PAUSE_US);
    }
    return CLI_RUN_FAILED;
}

int cmd_companion(int argc, char **argv)
{
    struct arena a;
    if (argc == 3 && strcmp(argv[1], "ready") == 0) return run_ready(argv[2]);
    bool fetches = argc == 5 && strcmp(argv[1], "fetch") == 0;
    if (argc != 5 || (!fetches && strcmp(argv[1], "collect") != 0)) {
        fprintf(stderr, "millrace: " COMPANION_COMMAND " fetch|collect PLAN WORKDIR MESSAGE, or ready PID\n");
        return CLI_USAGE;
    }
    arena_init(&a, 0);
    struct companion c = {.arena = &a,
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .cli = {.arena = &a, .quiet = true, .direct = true},
                          .workdir = argv[3],
                          .message = argv[4]};
    int code = fetches ? run_fetch(&c, argv[2]) : run_collect(&c, argv[2]);
    client_close(c.cli.client);
    arena_free(&a);
    return code;
}
