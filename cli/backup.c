/* `millrace backup` and `restore`: on the server's machine, straight from its database, data folder and store. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/claim.h"
#include "cli/claim_blobs.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/secrets.h"
#include "engine/blob/logs.h"
#include "engine/blob/store.h"
#include "engine/os/config.h"
#include "engine/os/fs.h"
#include "engine/os/secret.h"
#include "engine/store/backup.h"
#include "engine/store/embedded.h"
#include "scheduler/kube_job.h"

#define COPY_BYTES ((size_t)1 << 20)

struct place { /* what both commands work on */
    struct cli *cli;
    struct config cfg;
    struct embedded_pg *pg;
    struct str dsn;
    struct db *db;
    struct store_config blobs_at;
    struct blob_store *blobs;
    struct mask secrets; /* steps are running, and what they show of them is covered at their end */
};

/* The server's own configuration counts, so that its environment and file need not be repeated. */
static bool find_config(struct place *p, const struct args *args, struct err *err)
{
    static const char *const names[] = {"data-dir", "store-dir", "secrets-dir", "database-url", "artifact-store"};
    struct arena *a = p->cli->arena;
    struct err_list errors;
    char *argv[sizeof names / sizeof *names];
    int argc = 0;
    err_list_init(&errors, a);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *given = args_get(args, names[i]);
        if (given != NULL) argv[argc++] = arena_cstr(a, arena_printf(a, "--%s=%s", names[i], given));
    }
    if (config_load(a, argc, argv, &p->cfg, &errors)) {
        p->blobs_at = store_config_of(&p->cfg);
        return true;
    }
    *err = errors.items[0];
    return false;
}

/* What is to be saved must be there: a wrong name must not make a new data folder. */
static bool has_data(const struct place *p, struct err *err)
{
    char path[FS_PATH_MAX];
    bool alone = p->cfg.database_url.n == 0;
    struct str folder = alone ? p->cfg.data_dir : p->cfg.store_dir;
    if (!fs_path(path, err, "%.*s/%s", STR_ARG(folder), alone ? "postgres/data" : "blobs")) return false;
    if (access(path, F_OK) == 0) return true;
    if (errno != ENOENT && errno != ENOTDIR)
        return err_set(err, ERR_IO, "cannot look into %.*s: %s", STR_ARG(folder), strerror(errno));
    err_set(err, ERR_NOT_FOUND, "there is no Millrace data in %.*s", STR_ARG(folder));
    return err_hint(err, "%s names the server's %s", alone ? "--data-dir" : "--store-dir",
                    alone ? "data folder" : "store");
}

/* Its launcher may still run steps, of runs whose numbers are given again. */
static bool data_is_new(struct str folder, struct err *err)
{
    char path[FS_PATH_MAX];
    if (!fs_path(path, err, "%.*s/launcher", STR_ARG(folder))) return false;
    if (access(path, F_OK) != 0) return true;
    err_set(err, ERR_CONFLICT, "%.*s is a server's data folder, with steps of another database", STR_ARG(folder));
    return err_hint(err, "restore into a new folder: --data-dir");
}

/* The other way round, what is restored must not be mixed with what is there. */
static bool make_place(const struct place *p, struct str folder, struct err *err)
{
    char path[FS_PATH_MAX], digest[DIGEST_TEXT];
    FD_AUTO fd = -1;
    if (!fs_path(path, err, "%.*s/backup.json", STR_ARG(folder))) return false;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    return digest_fd(fd, digest, NULL, err) && data_is_new(p->cfg.data_dir, err) &&
           fs_mkdirs(p->cfg.store_dir.p, 0711, err) && claim_restoring(p->cfg.store_dir, str_of(digest), err) &&
           fs_mkdirs(p->cfg.data_dir.p, 0711, err) && claim_blobs_restoring(&p->blobs_at, str_of(digest), err);
}

static bool open_place(struct place *p, const struct args *args, bool restore, struct err *err)
{
    if (!find_config(p, args, err)) return false;
    /* One of its own brings them. */
    if (p->cfg.database_url.n > 0 && !backup_has_tools(p->cfg.postgres_bin_dir, err)) return false;
    if (restore ? !make_place(p, str_of(args_word(args, 0)), err) : !has_data(p, err)) return false;
    p->dsn = p->cfg.database_url;
    if (p->dsn.n == 0) {
        const struct embedded_config cfg = {.data_dir = p->cfg.data_dir, .bin_dir = p->cfg.postgres_bin_dir};
        if (!embedded_start(&cfg, &p->pg, err)) return false;
        p->dsn = embedded_dsn(p->pg);
    }
    const struct db_config pool = {.dsn = p->dsn, .size = 1, .wait_ms = 10000};
    return db_open(&pool, &p->db, err) && store_open(&p->blobs_at, &p->blobs, err);
}

static void close_place(struct place *p)
{
    store_close(p->blobs);
    if (p->db != NULL) db_close(p->db);
    if (p->pg != NULL) embedded_stop(p->pg);
}

/* Into a file that is not there yet, durably; *size may be NULL. */
static bool copy_to(int from, const char *path, mode_t mode, int64_t *size, struct err *err)
{
    FD_AUTO to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    ssize_t n = to < 0 ? -1 : 1;
    int64_t done = 0;
    while (n > 0 || (n < 0 && to >= 0 && errno == EINTR)) {
        n = copy_file_range(from, NULL, to, NULL, COPY_BYTES, 0);
        if (n > 0) done += n;
    }
    if (n < 0 || fsync(to) != 0) return err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (size != NULL) *size = done;
    return true;
}

struct copying {
    int to;
    const char *path;
    struct err *err;
};

static bool write_piece(void *ctx, const char *p, size_t n)
{
    const struct copying *c = ctx;
    while (n > 0) {
        ssize_t put = write(c->to, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return err_set(c->err, ERR_IO, "cannot write %s: %s", c->path, strerror(errno));
        p += put;
        n -= (size_t)put;
    }
    return true;
}

/* A backup holds the bytes wherever they are: it is whole by itself, and can be restored into any kind of store. */
static bool save_blob(void *ctx, struct str digest, int64_t size, const char *path, struct err *err)
{
    struct place *p = ctx;
    STORE_BLOB_AUTO from = STORE_BLOB_NONE;
    (void)size;
    if (!store_get(p->blobs, digest, &from, err)) return false;
    if (from.fd >= 0) return copy_to(from.fd, path, 0600, NULL, err);
    FD_AUTO to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct copying c = {to, path, err};
    if (to < 0) return err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    return store_read(&from, 0, from.size, write_piece, &c, err) &&
           (fsync(to) == 0 || err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno)));
}

static bool load_blob(void *ctx, struct str digest, int64_t size, const char *path, struct err *err)
{
    struct place *p = ctx;
    char got[DIGEST_TEXT];
    (void)size;
    FD_AUTO from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    return store_put_fd(p->blobs, from, digest, got, NULL, err);
}

/* In the server's own folder of secrets, or the one that is named instead. Where it is that of the store, there may be
 * none: a server that runs no local steps does not make it. */
static bool know_secrets(struct place *p, const struct args *args, struct err *err)
{
    struct arena *a = p->cli->arena;
    struct config *cfg = &p->cfg;
    bool named = args_get(args, "secrets-dir") != NULL;
    if (!named && !secrets_remembered(cfg->store_dir, a, &cfg->secrets_dir, err) && err->code != ERR_NOT_FOUND)
        return false;
    err_clear(err);
    if (secret_mask_all(cfg->secrets_dir, a, &p->secrets, err)) return true;
    if (!named && err->code == ERR_NOT_FOUND && secrets_in_store(cfg->store_dir, cfg->secrets_dir)) return true;
    return err_hint(err, "logs that running steps write are covered by what is in it: name it with --secrets-dir, as a "
                         "user who may read all of it; if it is gone for good, name an empty folder");
}

/* A step may be about to write the rest of a secret that the copy ends in the midst of. */
static bool conceal(const struct place *p, struct backup_log *log, const char *path, struct err *err)
{
    FD_AUTO copy = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (copy < 0) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (log->grows) log->size = step_log_sure(copy, log->size, &p->secrets);
    return step_log_cover(path, 0, &p->secrets, err) &&
           (ftruncate(copy, log->size) == 0 || err_set(err, ERR_IO, "%s: %s", path, strerror(errno)));
}

/* A running step may still be writing: what is there now is enough. */
static bool save_log(void *ctx, struct backup_log *log, const char *path, struct err *err)
{
    const struct place *p = ctx;
    char folder[FS_PATH_MAX];
    int64_t size;
    FD_AUTO from = step_log_open(p->cfg.store_dir, log->run, log->task, log->attempt, &size, err);
    if (from == -2) return false;
    if (size == 0) return true;
    return fs_path(folder, err, "%.*s", (int)(strrchr(path, '/') - path), path) && fs_mkdirs(folder, 0700, err) &&
           copy_to(from, path, 0600, &log->size, err) && conceal(p, log, path, err);
}

/* A restore that failed half-way may be repeated. */
static bool fresh(const char *path, struct err *err)
{
    return unlink(path) == 0 || errno == ENOENT || err_set(err, ERR_IO, "cannot replace %s: %s", path, strerror(errno));
}

static bool load_log(void *ctx, struct backup_log *log, const char *path, struct err *err)
{
    const struct place *p = ctx;
    char name[FS_PATH_MAX], folder[FS_PATH_MAX];
    FD_AUTO from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    return fs_path(folder, err, "%.*s/logs/%lld", STR_ARG(p->cfg.store_dir), (long long)log->run) &&
           step_log_path(p->cfg.store_dir, log->run, log->task, log->attempt, name, err) &&
           fs_mkdirs(folder, 0755, err) && fresh(name, err) && copy_to(from, name, 0640, &log->size, err);
}

/* Before anything is asked of its tables. */
static bool was_used(const struct place *p, struct err *err)
{
    CONN_AUTO c = NULL;
    return db_lease(p->db, &c, err) && backup_has_schema(c, err);
}

static void tell_of_former(const struct place *p, struct str former)
{
    struct str namespace = p->cfg.kube_namespace.n > 0 ? p->cfg.kube_namespace : STR("NAMESPACE");
    cli_note(p->cli, "what ran at the backup is run again: this is an installation of its own now%s",
             former.n > 0 ? ". What the former one left on a cluster, unless it still runs there, is deleted by" : "");
    if (former.n == 0) return;
    cli_note(p->cli, "  kubectl -n %.*s delete jobs,pods,services,secrets -l " KUBE_LABEL_INSTANCE "=%.*s",
             STR_ARG(namespace), STR_ARG(former));
    cli_note(p->cli, "and, where steps asked for device classes, by the same of resourceclaimtemplates");
}

static int work(struct cli *cli, const struct args *args, bool restore)
{
    struct place p = {.cli = cli};
    struct err err = {0};
    struct str former = {0};
    struct backup_result done = {0};
    struct backup_config cfg = {.folder = str_of(args_word(args, 0)),
                                .blob = restore ? load_blob : save_blob,
                                .log = restore ? load_log : save_log,
                                .ctx = &p};
    bool ok = (!restore || backup_look(&cfg, &done, &err)) && open_place(&p, args, restore, &err);
    if (ok) {
        cfg.dsn = p.dsn;
        cfg.bin_dir = p.cfg.postgres_bin_dir;
        ok = restore ? backup_restore(&cfg, &done, &err) &&
                           claim_restored(p.db, p.cfg.store_dir, cli->arena, &former, &err) &&
                           claim_blobs_restored(p.db, &p.blobs_at, &err)
                     : was_used(&p, &err) && claim_store(p.db, p.cfg.store_dir, &err) &&
                           claim_blobs(p.db, &p.blobs_at, NULL, &err) && know_secrets(&p, args, &err) &&
                           backup_make(&cfg, &done, &err);
    }
    close_place(&p);
    if (!ok) return cli_fail(cli, &err);
    cli_note(cli, "%s: the database (schema %d), %lld blobs of %lld bytes and %lld logs of %lld bytes",
             restore ? "restored" : "saved", done.schema, (long long)done.blobs, (long long)done.blob_bytes,
             (long long)done.logs, (long long)done.log_bytes);
    if (restore) tell_of_former(&p, former);
    return CLI_OK;
}

int cmd_backup(struct cli *cli, const struct args *args)
{
    return work(cli, args, false);
}

int cmd_restore(struct cli *cli, const struct args *args)
{
    return work(cli, args, true);
}
