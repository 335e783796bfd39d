/* `millrace serve`: puts the parts together – database, scheduler with its executor, API – and takes them apart again
 * on SIGTERM, within seconds, whatever the database does. The launcher of local steps comes first, since it must be
 * started before there is any thread; what a step runs outlives this process. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include "api/server.h"
#include "cli/claim.h"
#include "cli/claim_blobs.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/secrets.h"
#include "cli/upkeep.h"
#include "engine/os/clock.h"
#include "engine/os/config.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"
#include "engine/os/launcher.h"
#include "engine/os/secret.h"
#include "engine/store/embedded.h"
#include "engine/store/migrate.h"
#include "engine/store/settings.h"
#include "scheduler/gpu_host.h"
#include "scheduler/kube.h"
#include "scheduler/kube_nodes.h"
#include "scheduler/placer.h"
#include "scheduler/process.h"
#include "scheduler/scheduler.h"

#define START_PATIENCE_US 60000000 /* for a database that is still on its way up */
#define POLL_WITH_HINTS_MS 1000
#define NO_BOUND (INT64_MAX / 2)
#define START_POLL_MS 500
#define STANDBY_POLL_MS 100
#define LOOK_AGAIN_US 5000000
#define HANGS_US 300000000     /* a turn that takes longer will not end */
#define STOP_PATIENCE_MS 10000 /* for what hangs in the database */
#define POLL_WITHOUT_HINTS_MS 50

struct server {
    struct arena arena;
    struct config cfg;
    struct store_config blobs;
    struct executor executor;
    bool has_executor;
    struct gpu_host *gpus;       /* NULL = no steps run on this machine */
    struct placer_source source; /* of GPUs: the placer's, once it is started */
    bool has_source;
    struct placer *placer;
    struct embedded_pg *pg;
    struct str dsn;
    struct db *db;
    struct str step_key;
    struct scheduler *scheduler;
    pthread_mutex_t api_lock; /* the scheduler's thread wakes the API, which comes after it and goes before it */
    struct api *api;
    struct upkeep *upkeep;
    int lock, executor_lock, secrets_lock;
    bool standing_by;
    bool unseen;     /* the artifact store has not answered yet */
    int64_t look_us; /* when it is asked again, monotonic */
};

/* Signals have a thread of their own, which hears them at any time, and outlives the wait for whatever hangs. */
struct stopping {
    sigset_t signals;
    int asked; /* eventfd: readable once a signal has come */
    atomic_bool orderly;
    _Atomic(const char *) leaving; /* what is said when what is under way hangs */
};
static struct stopping stopping;
#define WITHOUT_DATABASE "the database does not answer: leaving without it"
#define WITHOUT_STORE "the artifact store does not answer: leaving without it"

static bool stop_asked(int wait_ms)
{
    struct pollfd fd = {.fd = stopping.asked, .events = POLLIN};
    return poll(&fd, 1, wait_ms) > 0;
}

static bool runs_api(const struct server *s)
{
    return s->cfg.role != ROLE_SCHEDULER;
}

static bool runs_scheduler(const struct server *s)
{
    return s->cfg.role != ROLE_API;
}

/* ---- what the parts tell each other ---- */

static void on_hint(void *ctx)
{
    struct server *s = ctx;
    if (s->scheduler != NULL) scheduler_hint(s->scheduler);
}

/* A turn waits for the database, but each statement is given up in time. */
static bool is_alive(void *ctx)
{
    struct server *s = ctx;
    int64_t turned_us = s->scheduler != NULL ? scheduler_statistics(s->scheduler)->turned_us : 0;
    return turned_us == 0 || os_mono_us() - turned_us < HANGS_US;
}

static void on_committed(void *ctx)
{
    struct server *s = ctx;
    pthread_mutex_lock(&s->api_lock);
    if (s->api != NULL) api_wake(s->api);
    pthread_mutex_unlock(&s->api_lock);
}

static void on_database(void *ctx, const char *what, const struct err *err)
{
    (void)ctx;
    if (err != NULL && err->code != ERR_NONE)
        log_err(LEVEL_WARN, what, err);
    else
        log_info(what);
}

/* ---- start ---- */

static bool is_loopback(struct str host)
{
    return str_starts(host, "127.") || str_is(host, "::1") || str_is(host, "localhost");
}

static bool is_local(const struct config *c)
{
    return c->local_exec && c->executor == EXECUTOR_PROCESS;
}

static bool check_rules(const struct server *s, struct err *err)
{
    const struct config *c = &s->cfg;
    if (c->role != ROLE_ALL && c->database_url.n == 0) {
        err_set(err, ERR_INVALID, "--role %s needs a database that other servers can reach",
                c->role == ROLE_API ? "api" : "scheduler");
        return err_hint(err, "give --database-url or DATABASE_URL; the embedded database is for one server only");
    }
    if (is_local(c) && !c->allow_local_exec && runs_api(s) && !is_loopback(c->listen_host)) {
        err_set(err, ERR_INVALID,
                "whoever may submit a pipeline can run commands on this machine, and --listen %.*s lets others in",
                STR_ARG(c->listen));
        return err_hint(err, "--allow-local-exec if that is meant, --local-exec=false to run no local steps");
    }
    return true;
}

/* A data folder with its own database has one server; with a database elsewhere it may be shared. The lock goes with
 * the process. */
static bool lock_data_dir(struct server *s, struct err *err)
{
    char path[FS_PATH_MAX];
    bool alone = s->cfg.database_url.n == 0;
    if (!fs_path(path, err, "%.*s/server.lock", STR_ARG(s->cfg.data_dir))) return false;
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock < 0) return err_set(err, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(s->lock, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return true;
    err_set(err, ERR_CONFLICT, "another server uses the data folder %.*s", STR_ARG(s->cfg.data_dir));
    return err_hint(err, "give this one a folder of its own with --data-dir, or both the same --database-url");
}

/* Of servers that share a data folder one at a time runs its local steps; the others stand by and take over when it is
 * gone. */
static bool take_executor_lock(struct server *s, bool *taken, struct err *err)
{
    char path[FS_PATH_MAX];
    *taken = !is_local(&s->cfg);
    if (*taken) return true;
    if (!fs_path(path, err, "%.*s/executor.lock", STR_ARG(s->cfg.data_dir))) return false;
    if (s->executor_lock <= 0) s->executor_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->executor_lock < 0) return err_set(err, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    *taken = flock(s->executor_lock, LOCK_EX | LOCK_NB) == 0;
    return true;
}

/* All servers of a database speak of the same Jobs. */
static bool open_cluster(struct server *s, struct err *err)
{
    unsigned char bytes[6];
    char made[2 * sizeof bytes + 1];
    struct str instance;
    os_random(bytes, sizeof bytes);
    digest_hex(bytes, sizeof bytes, made);
    CONN_AUTO c = NULL;
    if (!db_lease(s->db, &c, err) ||
        !settings_get_or_make(c, STR(CLAIM_INSTANCE_SETTING), str_of(made), &s->arena, &instance, err))
        return false;
    const struct kube_config cfg = {.kubeconfig = s->cfg.kubeconfig,
                                    .context = s->cfg.kube_context,
                                    .namespace = s->cfg.kube_namespace,
                                    .instance = instance,
                                    .store_dir = s->cfg.store_dir,
                                    .secrets_dir = s->cfg.secrets_dir,
                                    .image = s->cfg.kube_image,
                                    .companion = s->cfg.kube_companion,
                                    .companion_cpu_milli = s->cfg.kube_companion_cpu,
                                    .companion_memory_bytes = s->cfg.kube_companion_memory,
                                    .node_cache = s->cfg.kube_cache,
                                    .node_cache_bytes = s->cfg.kube_cache_bytes,
                                    .blobs = &s->blobs,
                                    .step_log_bytes = s->cfg.step_log_bytes,
                                    .start_ms = s->cfg.kube_start_ms,
                                    .lying_most = s->cfg.kube_jobs,
                                    .silence_ms = s->cfg.kube_silence_ms,
                                    .requests_per_s = (double)s->cfg.kube_requests_s};
    s->has_executor = kube_executor_open(&cfg, &s->executor, err);
    s->has_source = s->has_executor && kube_nodes_open(&cfg, s->executor.instance(s->executor.self), &s->source, err);
    return s->has_source;
}

static bool open_executor(struct server *s, struct err *err)
{
    if (s->cfg.executor == EXECUTOR_KUBERNETES) return open_cluster(s, err);
    if (!s->cfg.local_exec) return true;
    const struct process_config cfg = {
        .data_dir = s->cfg.data_dir,
        .store_dir = s->cfg.store_dir,
        .blobs = &s->blobs,
        .secrets_dir = s->cfg.secrets_dir,
        .step_user = s->cfg.step_user,
        .step_path = s->cfg.step_path,
        .step_memory_bytes = s->cfg.step_memory_bytes,
        .gpus = s->gpus,
        .step_log_bytes = s->cfg.step_log_bytes,
        .cpu_milli = s->cfg.cpu_milli,
        .memory_bytes = s->cfg.memory_bytes,
    };
    s->has_executor = process_open(&cfg, &s->executor, err);
    s->has_source = s->has_executor && process_source(&s->executor, &s->source);
    return s->has_executor;
}

static bool open_database(struct server *s, struct err *err)
{
    s->dsn = s->cfg.database_url;
    if (s->dsn.n == 0) {
        const struct embedded_config cfg = {
            .data_dir = s->cfg.data_dir, .bin_dir = s->cfg.postgres_bin_dir, .report = on_database};
        if (!embedded_start(&cfg, &s->pg, err)) return false;
        s->dsn = embedded_dsn(s->pg);
    }
    const struct db_config pool = {.dsn = s->dsn, .size = (uint32_t)s->cfg.connections};
    if (!db_open(&pool, &s->db, err)) return false;
    int64_t give_up = os_mono_us() + START_PATIENCE_US;
    while (!migrate_run(s->db, NULL, err)) {
        if (err->code != ERR_UNAVAILABLE || os_mono_us() > give_up) return false;
        log_err(LEVEL_WARN, "waiting for the database", err);
        if (stop_asked(START_POLL_MS)) return false;
        err_clear(err);
    }
    return true;
}

/* The key is made once and shared by all servers of the installation. */
static bool read_step_key(struct server *s, struct err *err)
{
    unsigned char bytes[32];
    char hex[2 * sizeof bytes + 1];
    os_random(bytes, sizeof bytes);
    digest_hex(bytes, sizeof bytes, hex);
    CONN_AUTO c = NULL;
    return db_lease(s->db, &c, err) &&
           settings_get_or_make(c, STR(API_STEP_KEY_SETTING), str_of(hex), &s->arena, &s->step_key, err);
}

static bool open_placer(struct server *s, const char *owner, struct err *err)
{
    const struct placer_config cfg = {.dsn = s->dsn, .owner = owner, .source = s->source};
    s->has_source = false;
    return placer_start(&cfg, &s->placer, err);
}

static bool open_scheduler(struct server *s, struct err *err)
{
    struct str conninfo;
    char host[128] = "?";
    gethostname(host, sizeof host - 1);
    if (!db_conninfo(s->dsn, 60000, &s->arena, &conninfo, err)) return false;
    struct str url = s->cfg.api_url;
    if (url.n == 0 && is_local(&s->cfg)) url = arena_printf(&s->arena, "http://%.*s", STR_ARG(s->cfg.listen));
    const struct scheduler_config cfg = {
        .conninfo = conninfo.p,
        .owner = arena_printf(&s->arena, "%s:%d", host, (int)getpid()).p,
        .executor = s->has_executor ? &s->executor : NULL,
        .cpu_milli = is_local(&s->cfg) ? s->cfg.cpu_milli : NO_BOUND,
        .memory_bytes = is_local(&s->cfg) ? s->cfg.memory_bytes : NO_BOUND,
        .most = is_local(&s->cfg) ? 0 : (uint32_t)s->cfg.kube_jobs,
        .grace_ms = s->cfg.grace_ms,
        .poll_ms = s->pg != NULL ? POLL_WITH_HINTS_MS : POLL_WITHOUT_HINTS_MS, /* others may write, too */
        .takeover_ms = s->pg != NULL ? 0 : s->cfg.takeover_ms,
        .db = s->db,
        .api_url = url,
        .step_key = s->step_key,
        .allow_private_egress = s->cfg.allow_private_egress,
        .secrets_dir = s->cfg.secrets_dir,
        .committed = on_committed,
        .committed_ctx = s,
    };
    if (s->has_executor && is_local(&s->cfg) && !process_start(&s->executor, err)) return false;
    return scheduler_start(&cfg, &s->scheduler, err) && (!s->has_source || open_placer(s, cfg.owner, err));
}

static bool try_scheduling(struct server *s, struct err *err)
{
    bool taken = false;
    if (s->scheduler != NULL || !runs_scheduler(s)) return true;
    if (!take_executor_lock(s, &taken, err)) return false;
    if (!taken && !s->standing_by) log_info("another server runs the steps of this data folder: standing by");
    s->standing_by = !taken;
    return !taken || (open_executor(s, err) && open_scheduler(s, err));
}

static bool open_api(struct server *s, struct err *err)
{
    size_t n_gpus = 0;
    const struct gpu *gpus = s->gpus != NULL ? gpu_host_list(s->gpus, &n_gpus) : NULL;
    if (!runs_api(s)) return true;
    const struct api_config cfg = {
        .db = s->db,
        .listen = s->cfg.listen.p,
        .health_listen = s->cfg.health_listen.p,
        .hosts = s->cfg.hosts.p,
        .data_dir = s->cfg.data_dir.p,
        .store_dir = s->cfg.store_dir.p,
        .blobs = &s->blobs,
        .secrets_dir = s->cfg.secrets_dir,
        .threads = (uint32_t)s->cfg.threads,
        .notify = !runs_scheduler(s),
        .max_body = s->cfg.max_body_bytes,
        .local_only = true,
        .cluster = !is_local(&s->cfg) && s->cfg.executor == EXECUTOR_KUBERNETES,
        .image = s->cfg.kube_image.n > 0,
        .moves = s->cfg.kube_companion.n > 0 && s->cfg.api_url.n > 0,
        .tokens = s->cfg.api_url.n > 0,
        .cpu_milli = s->cfg.cpu_milli,
        .memory_bytes = s->cfg.memory_bytes,
        .gpus = gpus,
        .n_gpus = n_gpus,
        .gpus_unknown = s->gpus == NULL,
        .alive = is_alive,
        .alive_ctx = s,
        .hint = on_hint,
        .hint_ctx = s,
    };
    struct api *api = NULL;
    bool ok = api_start(&cfg, &api, err);
    pthread_mutex_lock(&s->api_lock);
    s->api = ok ? api : NULL;
    pthread_mutex_unlock(&s->api_lock);
    return ok;
}

static bool claim_artifacts(struct server *s, enum claim_lack *lack, struct err *err)
{
    atomic_store(&stopping.leaving, WITHOUT_STORE);
    bool ok = claim_blobs(s->db, &s->blobs, lack, err);
    atomic_store(&stopping.leaving, WITHOUT_DATABASE);
    return ok;
}

/* An artifact store that the database has had is not waited for: steps without artifacts need none, and the others
 * wait for it by themselves. */
static bool claim_places(struct server *s, struct err *err)
{
    enum claim_lack lack;
    int64_t give_up = os_mono_us() + START_PATIENCE_US;
    if (!claim_store(s->db, s->cfg.store_dir, err)) return false;
    while (!claim_artifacts(s, &lack, err)) {
        s->unseen = lack == CLAIM_KNOWN_AWAY;
        s->look_us = os_mono_us() + LOOK_AGAIN_US;
        if (lack == CLAIM_REFUSED || (!s->unseen && os_mono_us() > give_up)) return false;
        log_err(LEVEL_WARN,
                s->unseen ? "the artifact store does not answer: going on without it"
                          : "waiting for the artifact store",
                err);
        if (stop_asked(s->unseen ? 0 : START_POLL_MS)) return false;
        err_clear(err);
        if (s->unseen) return true;
    }
    return true;
}

/* Whose it is, it says when it answers; nothing is swept in it before. */
static bool look_again(struct server *s, struct err *err)
{
    enum claim_lack lack;
    if (!s->unseen || os_mono_us() < s->look_us) return true;
    s->unseen = !claim_artifacts(s, &lack, err);
    s->look_us = os_mono_us() + LOOK_AGAIN_US;
    if (!s->unseen) log_info("the artifact store is this database's, as it was");
    if (!s->unseen) return upkeep_start(s->db, &s->cfg, &s->upkeep, err);
    if (err->code == ERR_CONFLICT) return false;
    if (lack == CLAIM_REFUSED) log_err(LEVEL_WARN, "whose the artifact store is cannot be seen yet", err);
    err_clear(err);
    return true;
}

static bool start(struct server *s, struct err *err)
{
    if (!check_rules(s, err)) return false;
    s->blobs = store_config_of(&s->cfg);
    if (is_local(&s->cfg) && runs_scheduler(s) && !gpu_host_open(s->cfg.nvml_library, s->cfg.gpus, &s->gpus, err))
        return false;
    if (!fs_mkdirs(s->cfg.data_dir.p, 0711, err) || !fs_mkdirs(s->cfg.store_dir.p, 0711, err)) return false;
    if (is_local(&s->cfg) && runs_scheduler(s) && !secret_folder(s->cfg.secrets_dir.p, err)) return false;
    if (!lock_data_dir(s, err) || !open_database(s, err) || !claim_places(s, err) ||
        !secrets_hold(s->cfg.store_dir, s->cfg.secrets_dir, &s->secrets_lock, err) || !read_step_key(s, err) ||
        !try_scheduling(s, err) || !open_api(s, err))
        return false;
    return s->unseen || upkeep_start(s->db, &s->cfg, &s->upkeep, err);
}

static void stop(struct server *s)
{
    upkeep_stop(s->upkeep);
    pthread_mutex_lock(&s->api_lock);
    struct api *api = s->api;
    s->api = NULL;
    pthread_mutex_unlock(&s->api_lock);
    if (api != NULL) api_stop(api);
    placer_stop(s->placer);
    if (s->has_source) s->source.close(s->source.self);
    scheduler_stop(s->scheduler);
    gpu_host_close(s->gpus);
    if (s->db != NULL) db_close(s->db);
    atomic_store(&stopping.orderly, true); /* PostgreSQL may need its time to write all */
    if (s->pg != NULL) embedded_stop(s->pg);
}

/* ---- the command ---- */

/* All that counts is recorded, or will be done again: a server that cannot stop in order may leave at any moment. */
static void *hear_signals(void *unused)
{
    const uint64_t one = 1;
    (void)unused;
    int number;
    do
        number = sigwaitinfo(&stopping.signals, NULL);
    while (number < 0);
    log_info("stopping", LOG_CSTR("signal", strsignal(number)));
    if (write(stopping.asked, &one, sizeof one) == sizeof one) poll(NULL, 0, STOP_PATIENCE_MS);
    if (atomic_load(&stopping.orderly)) return NULL;
    log_warn(atomic_load(&stopping.leaving));
    _exit(CLI_OK);
}

/* All threads have them blocked but the one that waits for them. */
static bool watch_signals(struct err *err)
{
    pthread_t thread;
    sigset_t *set = &stopping.signals;
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
    stopping.asked = eventfd(0, EFD_CLOEXEC);
    if (stopping.asked < 0 || pthread_create(&thread, NULL, hear_signals, NULL) != 0)
        return err_set(err, ERR_IO, "cannot watch for signals: %s", strerror(errno));
    pthread_detach(thread);
    return true;
}

/* Fifty threads with an arena each, and large blocks kept for later, would make 85 MB under load of what needs 50. */
static void keep_memory_small(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

static int print_problems(const struct err_list *errors, struct arena *a)
{
    for (size_t i = 0; i < errors->n; i++) {
        const struct err *e = &errors->items[i];
        fprintf(stderr, "millrace serve: %s%s%s\n", e->path, e->path[0] != '\0' ? ": " : "", e->message);
        if (e->hint[0] != '\0') fprintf(stderr, "  %s\n", e->hint);
    }
    fprintf(stderr, "millrace serve --help lists the options\n");
    arena_free(a);
    return CLI_USAGE;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

static int print_help(char **argv)
{
    BUF_AUTO text;
    int used;
    buf_init(&text, 0);
    help_command(&text, command_find(1, argv, &used));
    fwrite(text.p, 1, text.n, stdout);
    return CLI_OK;
}

static bool serve_until_signal(struct server *s, struct err *err)
{
    while (!stop_asked(s->standing_by ? STANDBY_POLL_MS : s->unseen ? START_POLL_MS : -1))
        if (!try_scheduling(s, err) || !look_again(s, err)) return false;
    return true;
}

/* The launcher is this program, started again by the server: see engine/os/launcher.h. */
int cmd_launcher(int argc, char **argv)
{
    return launcher_main(argc - 1, argv + 1);
}

static void warn_of_misspelt(struct arena *a)
{
    struct str name, near;
    for (size_t cursor = 0; config_misspelt(a, &cursor, &name, &near);)
        log_warn("a variable of the environment is no option", LOG_STR("name", name), LOG_STR("didYouMean", near));
}

int cmd_serve(int argc, char **argv)
{
    struct server s = {.api_lock = PTHREAD_MUTEX_INITIALIZER};
    struct err err = {0};
    struct err_list errors;
    if (wants_help(argc, argv)) return print_help(argv);
    arena_init(&s.arena, 0);
    err_list_init(&errors, &s.arena);
    if (!config_load(&s.arena, argc - 1, argv + 1, &s.cfg, &errors)) return print_problems(&errors, &s.arena);
    log_set_level((enum log_level)s.cfg.log_level);
    warn_of_misspelt(&s.arena);
    keep_memory_small();
    atomic_store(&stopping.leaving, WITHOUT_DATABASE);
    bool ok = watch_signals(&err) && start(&s, &err);
    if (ok) {
        if (s.api != NULL) log_info("listening", LOG_STR("host", s.cfg.listen_host), LOG_INT("port", api_port(s.api)));
        ok = serve_until_signal(&s, &err);
    }
    if (!ok && stop_asked(0)) ok = true; /* while it was on its way up */
    if (!ok) log_err(LEVEL_ERROR, "the server cannot go on", &err);
    stop(&s);
    arena_free(&s.arena);
    return ok ? CLI_OK : CLI_RUN_FAILED;
}
