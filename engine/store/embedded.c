/* The life of the private PostgreSQL: adopted or started, watched, started again when it dies, stopped by the last who
 * uses it. */
#include "engine/store/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/store/embedded_int.h"

#define START_TRIES_US (20 * 1000000)   /* for leftovers of a killed postmaster to go away */
#define READY_WAIT_US (600 * 1000000LL) /* recovery after a crash may take its time */
#define STOP_WAIT_MS 60000
#define STOP_BEGIN_US (5 * 1000000LL) /* to say that it is about to stop, after which it may need its time */
#define LOG_MAX (16 << 20)

/* Durability is left at PostgreSQL's defaults: fsync, full_page_writes and synchronous_commit on. */
static const char *const settings[] = {
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "port=5432",
    "max_connections=120",
    "shared_buffers=128MB",
    "effective_cache_size=1GB",
    "work_mem=16MB",
    "maintenance_work_mem=128MB",
    "max_parallel_workers_per_gather=0",
    "wal_compression=lz4",
    "default_toast_compression=lz4",
    "wal_buffers=16MB",
    "min_wal_size=256MB",
    "max_wal_size=2GB",
    "checkpoint_timeout=15min",
    "random_page_cost=1.1",
    "jit=off",
    "autovacuum_naptime=10s",
    "autovacuum_vacuum_cost_limit=2000",
    "logging_collector=off",
    "log_min_messages=warning",
    "log_checkpoints=off",
};
#define N_SETTINGS (sizeof settings / sizeof *settings)
#define EXTRA_MAX 32

struct embedded_pg {
    struct pg_paths paths;
    struct pg_user user;
    struct pg_secret secret;
    char extra[1024];
    void (*report)(void *ctx, const char *what, const struct err *err);
    void *ctx;
    int use_lock, start_lock; /* held shared while we use it; held while somebody starts or stops it */
    int stop_event;
    pthread_t thread;
    pthread_mutex_t lock; /* of pid */
    pid_t pid;
    bool child; /* ours to reap */
    struct buf dsn;
};

/* ---- is there a postmaster? ---- */

struct postmaster {
    pid_t pid;
    bool ready, stopping;
    char socket[FS_PATH_MAX];
};

static bool runs_here(pid_t pid, const char *cluster)
{
    char link[64], cwd[FS_PATH_MAX];
    snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
    ssize_t n = readlink(link, cwd, sizeof cwd - 1);
    if (n < 0) return false;
    cwd[n] = 0;
    return strcmp(cwd, cluster) == 0; /* a postmaster lives in its data folder; a recycled pid does not */
}

/* Reads postmaster.pid: pid, folder, start, port, socket folder, address, shared memory, status. A stale file is
 * removed. */
static bool postmaster_find(const struct pg_paths *paths, struct postmaster *out)
{
    char path[FS_PATH_MAX];
    BUF_AUTO b;
    buf_init(&b, 8192);
    if (!fs_path(path, NULL, "%s/postmaster.pid", paths->cluster) || !fs_read(path, 4096, &b, NULL)) return false;
    struct str rest = buf_view(&b), line;
    *out = (struct postmaster){0};
    for (int i = 0; str_split(&rest, '\n', &line); i++) {
        int64_t pid;
        if (i == 0 && str_int(str_trim(line), &pid)) out->pid = (pid_t)pid;
        if (i == 4 && !fs_path(out->socket, NULL, "%.*s", STR_ARG(line))) return false;
        if (i == 7) {
            out->ready = str_is(str_trim(line), "ready");
            out->stopping = str_is(str_trim(line), "stopping");
        }
    }
    if (out->pid > 0 && runs_here(out->pid, paths->cluster)) return true;
    if (out->pid > 0) unlink(path);
    return false;
}

static void reap(struct embedded_pg *pg, pid_t pid)
{
    if (pg->child) waitpid(pid, NULL, WNOHANG);
}

static void nap(int64_t us)
{
    nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

/* ---- starting ---- */

static int open_log(const struct pg_paths *paths)
{
    struct stat st;
    char old[FS_PATH_MAX];
    if (stat(paths->log, &st) == 0 && st.st_size > LOG_MAX && fs_path(old, NULL, "%s.old", paths->log))
        rename(paths->log, old);
    return open(paths->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static bool spawn_postmaster(struct embedded_pg *pg, pid_t *pid, struct err *err)
{
    char program[FS_PATH_MAX];
    char *argv[6 + 2 * (N_SETTINGS + EXTRA_MAX)];
    int n = 0;
    if (!fs_path(program, err, "%s/postgres", pg->paths.bin)) return false;
    argv[n++] = program;
    argv[n++] = "-D";
    argv[n++] = pg->paths.cluster;
    argv[n++] = "-k";
    argv[n++] = pg->paths.socket;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        argv[n++] = "-c";
        argv[n++] = (char *)(uintptr_t)settings[i];
    }
    char words[sizeof pg->extra], *save = NULL;
    memcpy(words, pg->extra, sizeof words);
    for (char *word = strtok_r(words, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save))
        if (n < 4 + 2 * (int)(N_SETTINGS + EXTRA_MAX)) argv[n++] = word;
    argv[n] = NULL;
    FD_AUTO log = open_log(&pg->paths);
    if (log < 0) return err_set(err, ERR_IO, "%s: %s", pg->paths.log, strerror(errno));
    return pg_spawn(&pg->user, argv, log, false, pid, err);
}

/* Why it did not start, from its log; whether what an earlier postmaster left is in the way, and will go. */
static void failed_start(const struct embedded_pg *pg, bool *leftovers, struct err *err)
{
    BUF_AUTO tail;
    buf_init(&tail, 8192);
    if (!fs_read_tail(pg->paths.log, 600, &tail, NULL)) buf_reset(&tail);
    struct str said = str_trim(buf_view(&tail)), what = said;
    size_t at;
    if (str_find(said, STR("FATAL:"), &at)) what = str_sub(said, at, said.n);
    *leftovers = str_find(said, STR("still in use"), &at) || str_find(said, STR("lock file"), &at);
    err_set(err, ERR_UNAVAILABLE, "the private PostgreSQL did not start: %.*s", STR_ARG(what));
    err_hint(err, "its log is %s", pg->paths.log);
}

/* Waits until the postmaster says that it is ready; false when it ended first. */
static bool await_ready(struct embedded_pg *pg, pid_t child, struct postmaster *out)
{
    for (int64_t until = os_mono_us() + READY_WAIT_US; os_mono_us() < until; nap(5000)) {
        if (postmaster_find(&pg->paths, out) && out->ready) return true;
        int status;
        if (child > 0 && waitpid(child, &status, WNOHANG) == child) return false;
        if (child == 0 && !postmaster_find(&pg->paths, out)) return false;
    }
    return false;
}

static void set_pid(struct embedded_pg *pg, pid_t pid, bool child)
{
    pthread_mutex_lock(&pg->lock);
    pg->pid = pid;
    pg->child = child;
    pthread_mutex_unlock(&pg->lock);
}

/* The folder was moved under it: nobody can reach its socket any more. */
static bool out_of_reach(const struct embedded_pg *pg, const struct postmaster *found)
{
    return strcmp(found->socket, pg->paths.socket) != 0 && access(found->socket, F_OK) != 0;
}

static void end_postmaster(pid_t pid)
{
    FD_AUTO pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    if (pidfd < 0) return;
    kill(pid, SIGINT);
    if (poll(&fd, 1, STOP_WAIT_MS) != 0) return;
    kill(pid, SIGQUIT); /* recovery will do what it did not */
    poll(&fd, 1, STOP_WAIT_MS);
}

static bool adopt(struct embedded_pg *pg, const struct postmaster *found, struct err *err)
{
    set_pid(pg, found->pid, false);
    memcpy(pg->paths.socket, found->socket, sizeof found->socket);
    return pg_cluster_ready(&pg->paths, &pg->secret, err);
}

/* *again: what was in the way is about to go. */
static bool try_to_bring_up(struct embedded_pg *pg, bool *again, struct err *err)
{
    struct postmaster found;
    pid_t child;
    *again = false;
    bool runs = postmaster_find(&pg->paths, &found) && await_ready(pg, 0, &found);
    if (runs && out_of_reach(pg, &found)) {
        end_postmaster(found.pid);
    } else if (runs) {
        if (adopt(pg, &found, err)) return true;
        *again = err->code == ERR_UNAVAILABLE; /* it was killed, and is not gone yet */
        return false;
    }
    if (!spawn_postmaster(pg, &child, err)) return false;
    if (await_ready(pg, child, &found)) {
        set_pid(pg, found.pid, true);
        return pg_cluster_ready(&pg->paths, &pg->secret, err);
    }
    failed_start(pg, again, err);
    return false;
}

/* Adopts the postmaster that runs, or starts one. Called with the start lock held. */
static bool bring_up(struct embedded_pg *pg, struct err *err)
{
    bool again;
    for (int64_t until = os_mono_us() + START_TRIES_US; !try_to_bring_up(pg, &again, err); nap(200000))
        if (!again || os_mono_us() > until) return false;
    return true;
}

static bool locked_bring_up(struct embedded_pg *pg, struct err *err)
{
    while (flock(pg->start_lock, LOCK_EX) != 0)
        if (errno != EINTR) return err_set(err, ERR_IO, "flock: %s", strerror(errno));
    bool ok = pg_folders_make(&pg->paths, &pg->user, err);
    bool exists = pg_cluster_exists(&pg->paths);
    ok = ok && pg_secret_load(&pg->paths, exists, &pg->secret, err);
    ok = ok && (exists || pg_cluster_init(&pg->paths, &pg->user, &pg->secret, err));
    ok = ok && bring_up(pg, err);
    flock(pg->start_lock, LOCK_UN);
    return ok;
}

/* ---- supervision ---- */

/* Until the process ends: true; or until the stop event: false. */
static bool await_end(struct embedded_pg *pg, pid_t pid)
{
    FD_AUTO pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd fds[2] = {{.fd = pg->stop_event, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    for (;;) {
        poll(fds, 2, pidfd < 0 ? 500 : -1);
        if (fds[0].revents) return false;
        if (pidfd >= 0 ? fds[1].revents != 0 : !runs_here(pid, pg->paths.cluster)) return true;
    }
}

static void *supervise(void *arg)
{
    struct embedded_pg *pg = arg;
    while (await_end(pg, embedded_pid(pg))) {
        reap(pg, embedded_pid(pg));
        if (pg->report) pg->report(pg->ctx, "PostgreSQL ended; starting it again", NULL);
        struct err err;
        for (int wait_ms = 100; !locked_bring_up(pg, &err); wait_ms = wait_ms < 5000 ? wait_ms * 2 : 5000) {
            if (pg->report) pg->report(pg->ctx, "PostgreSQL cannot be started", &err);
            struct pollfd fd = {.fd = pg->stop_event, .events = POLLIN};
            if (poll(&fd, 1, wait_ms) > 0) return NULL;
        }
        if (pg->report) pg->report(pg->ctx, "PostgreSQL is back", NULL);
    }
    return NULL;
}

/* Fast shutdown: sessions are ended, all is written. One that does not even begin to is stuck: it is left alone, and
 * the next server will find it. */
static void stop_postmaster(const struct embedded_pg *pg)
{
    struct postmaster found = {0};
    FD_AUTO pidfd = (int)syscall(SYS_pidfd_open, pg->pid, 0);
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    kill(pg->pid, SIGINT);
    for (int64_t until = os_mono_us() + STOP_BEGIN_US; poll(&fd, 1, 50) == 0;) {
        if (postmaster_find(&pg->paths, &found) && found.stopping) break;
        if (os_mono_us() < until) continue;
        if (pg->report) pg->report(pg->ctx, "PostgreSQL does not stop: leaving it", NULL);
        return;
    }
    if (pidfd >= 0) poll(&fd, 1, STOP_WAIT_MS);
}

/* ---- the outside ---- */

static int open_lock(const char *data, const char *name)
{
    char path[FS_PATH_MAX];
    return fs_path(path, NULL, "%s/%s", data, name) ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
}

static void release(struct embedded_pg *pg)
{
    fs_close(&pg->use_lock);
    fs_close(&pg->start_lock);
    fs_close(&pg->stop_event);
    pthread_mutex_destroy(&pg->lock);
    buf_free(&pg->dsn);
    free(pg);
}

bool embedded_start(const struct embedded_config *config, struct embedded_pg **out, struct err *err)
{
    struct embedded_pg *pg = calloc(1, sizeof *pg);
    if (!pg) abort();
    pthread_mutex_init(&pg->lock, NULL);
    buf_init(&pg->dsn, 0);
    pg->report = config->report;
    pg->ctx = config->ctx;
    pg->use_lock = pg->start_lock = -1;
    pg->stop_event = eventfd(0, EFD_CLOEXEC);
    snprintf(pg->extra, sizeof pg->extra, "%.*s", STR_ARG(config->settings));
    bool ok = pg_paths_resolve(config, &pg->paths, err) && pg_user_choose(config->user, &pg->paths, &pg->user, err);
    if (ok) {
        pg->use_lock = open_lock(pg->paths.data, "postgres.use");
        pg->start_lock = open_lock(pg->paths.data, "postgres.lock");
        ok = pg->use_lock >= 0 && pg->start_lock >= 0 && flock(pg->use_lock, LOCK_SH) == 0;
        if (!ok) err_set(err, ERR_IO, "data folder %s: %s", pg->paths.data, strerror(errno));
    }
    ok = ok && locked_bring_up(pg, err);
    if (ok && (!pg_dsn(&pg->paths, "millrace", pg->secret.role, STR("millrace"), &pg->dsn) ||
               pthread_create(&pg->thread, NULL, supervise, pg) != 0))
        ok = err_set(err, ERR_INTERNAL, "cannot supervise PostgreSQL");
    if (!ok) {
        release(pg);
        return false;
    }
    *out = pg;
    return true;
}

struct str embedded_dsn(const struct embedded_pg *pg)
{
    return buf_view(&pg->dsn);
}

pid_t embedded_pid(struct embedded_pg *pg)
{
    pthread_mutex_lock(&pg->lock);
    pid_t pid = pg->pid;
    pthread_mutex_unlock(&pg->lock);
    return pid;
}

bool embedded_database(struct embedded_pg *pg, struct str name, struct arena *a, struct str *dsn, struct err *err)
{
    BUF_AUTO b;
    buf_init(&b, 0);
    if (!pg_database_make(&pg->paths, &pg->secret, name, err) ||
        !pg_dsn(&pg->paths, "millrace", pg->secret.role, name, &b))
        return false;
    *dsn = arena_str(a, buf_view(&b));
    return true;
}

void embedded_stop(struct embedded_pg *pg)
{
    if (!pg) return;
    uint64_t one = 1;
    while (write(pg->stop_event, &one, sizeof one) < 0 && errno == EINTR) {
    }
    pthread_join(pg->thread, NULL);
    while (flock(pg->start_lock, LOCK_EX) != 0 && errno == EINTR) {
    }
    if (flock(pg->use_lock, LOCK_EX | LOCK_NB) == 0 && runs_here(pg->pid, pg->paths.cluster)) {
        stop_postmaster(pg);
        reap(pg, pg->pid);
        if (strncmp(pg->paths.socket, pg->paths.root, strlen(pg->paths.root)) != 0) rmdir(pg->paths.socket);
    }
    flock(pg->start_lock, LOCK_UN);
    release(pg);
}
