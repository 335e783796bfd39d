/* See claim.h. The file holds the identity, and while no database has confirmed it yet, the word `new` behind it: a
 * crash between the two leaves nothing that the next start cannot finish. While a restore writes into the store, a
 * second file says of which backup, so that the same restore may be repeated there, and nothing else happens to it. */
#include "cli/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "api/server.h"
#include "engine/blob/disk.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/store/artifacts.h"
#include "engine/store/settings.h"

#define ID_DIGITS 32
#define LOOKED_UP 16 /* blobs of the database, of which the store must have one */

struct claim {
    char path[FS_PATH_MAX], restoring[FS_PATH_MAX];
    int lock; /* held for the whole affair: servers of two databases may begin on one folder */
    char id[ID_DIGITS + 1];
    bool confirmed;
};

static void close_claim(struct claim *c)
{
    fs_close(&c->lock);
}

#define CLAIM_AUTO __attribute__((cleanup(close_claim))) struct claim

static bool write_claim(const struct claim *c, bool confirmed, struct err *err)
{
    char line[ID_DIGITS + 8];
    snprintf(line, sizeof line, "%s%s\n", c->id, confirmed ? "" : " new");
    return fs_write(c->path, str_of(line), 0600, true, err);
}

static bool read_claim(struct claim *c, struct err *err)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    if (!fs_read(c->path, 256, &text, err)) return false;
    struct str rest = str_trim(buf_view(&text)), id = {0};
    bool good = str_split(&rest, ' ', &id) && id.n == ID_DIGITS && (rest.n == 0 || str_is(rest, "new"));
    for (size_t i = 0; good && i < id.n; i++)
        good = strchr("0123456789abcdef", id.p[i]) != NULL;
    if (!good) {
        err_set(err, ERR_INVALID, "%s holds no identity", c->path);
        return err_hint(err, "bring the file back from where the folder came from");
    }
    snprintf(c->id, sizeof c->id, "%.*s", STR_ARG(id));
    c->confirmed = rest.n == 0;
    return true;
}

static bool cannot_lock(const char *lock, struct str store_dir, int why, struct err *err)
{
    err_set(err, ERR_IO, "cannot lock %s: %s", lock, strerror(why));
    if (why != EACCES) return false;
    return err_hint(err, "give the store to the user that the server runs as: chown -R %u:%u %.*s", (unsigned)geteuid(),
                    (unsigned)getegid(), STR_ARG(store_dir));
}

static bool lock_claim(struct claim *c, struct str store_dir, struct err *err)
{
    char lock[FS_PATH_MAX];
    if (!fs_path(c->path, err, "%.*s/" CLAIM_FILE, STR_ARG(store_dir)) ||
        !fs_path(c->restoring, err, "%.*s/" CLAIM_RESTORING, STR_ARG(store_dir)) ||
        !fs_path(lock, err, "%s.lock", c->path))
        return false;
    c->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int got = c->lock;
    while (got >= 0 && (got = flock(c->lock, LOCK_EX)) != 0 && errno == EINTR)
        got = 0;
    return got >= 0 || cannot_lock(lock, store_dir, errno, err);
}

/* Reads the identity, or makes one that is still to be confirmed. */
static bool open_claim(struct claim *c, struct str store_dir, struct err *err)
{
    if (!lock_claim(c, store_dir, err)) return false;
    if (access(c->path, F_OK) == 0) return read_claim(c, err);
    snprintf(c->id, sizeof c->id, "%016llx%016llx", (unsigned long long)os_random_u64(),
             (unsigned long long)os_random_u64());
    return write_claim(c, false, err);
}

static bool foreign_store(struct claim *c, struct str store_dir, struct str known, struct err *err)
{
    if (!c->confirmed) unlink(c->path); /* the folder stays nobody's */
    err_set(err, ERR_CONFLICT, "%.*s is not the store of this database: its code, logs and artifacts are elsewhere",
            STR_ARG(store_dir));
    return err_hint(err,
                    "give --store-dir the folder that the database's other servers use; if this is a copy of it, put "
                    "%.*s into %s",
                    STR_ARG(known), c->path);
}

static bool foreign_database(const struct claim *c, struct str store_dir, struct err *err)
{
    err_set(err, ERR_CONFLICT, "%.*s is the store of another database", STR_ARG(store_dir));
    return err_hint(err,
                    "give --store-dir a folder of its own; if that database is gone for good, remove %s: what nothing "
                    "refers to is swept",
                    c->path);
}

/* Has the store one of the youngest blobs of the database? One without blobs is content with any store. */
static bool has_blobs(struct conn *conn, struct str store_dir, struct arena *a, bool *has, struct err *err)
{
    struct str *digests;
    size_t n;
    char path[FS_PATH_MAX];
    struct disk *disk = NULL;
    if (!blobs_newest(conn, LOOKED_UP, a, &digests, &n, err) || !fs_path(path, err, "%.*s/blobs", STR_ARG(store_dir)))
        return false;
    *has = n == 0;
    if (n == 0 || access(path, F_OK) != 0) return true;
    bool ok = disk_open(store_dir, &disk, err);
    for (size_t i = 0; ok && !*has && i < n; i++) {
        struct err missing = {0};
        FD_AUTO fd = -1;
        *has = disk_get(disk, digests[i], &fd, NULL, &missing);
        if (*has || missing.code == ERR_NOT_FOUND) continue;
        *err = missing;
        ok = false;
    }
    disk_close(disk);
    return ok;
}

/* The database remembers no store, and the store no database: do they go together? */
static bool may_begin(const struct claim *c, struct conn *conn, struct str store_dir, struct arena *a, struct err *err)
{
    bool has = false;
    if (access(c->restoring, F_OK) == 0) {
        err_set(err, ERR_CONFLICT, "a restore into the store %.*s has not ended", STR_ARG(store_dir));
        return err_hint(err, "repeat it, or give --store-dir another folder");
    }
    if (!has_blobs(conn, store_dir, a, &has, err)) return false;
    if (has) return true;
    err_set(err, ERR_CONFLICT, "this database has artifacts which are not in %.*s", STR_ARG(store_dir));
    return err_hint(err, "give --store-dir the folder that has them; if it is lost, restore a backup");
}

bool claim_store(struct db *db, struct str store_dir, struct err *err)
{
    CLAIM_AUTO c = {.lock = -1};
    CONN_AUTO conn = NULL;
    struct arena a;
    struct str known = {0};
    if (!open_claim(&c, store_dir, err) || !db_lease(db, &conn, err)) return false;
    arena_init(&a, 0);
    bool ok = settings_get(conn, STR(CLAIM_SETTING), &a, &known, err);
    if (ok && known.n == 0 && !c.confirmed) {
        ok = may_begin(&c, conn, store_dir, &a, err);
        if (!ok) unlink(c.path);
        ok = ok && settings_get_or_make(conn, STR(CLAIM_SETTING), str_of(c.id), &a, &known, err);
    }
    if (ok && known.n == 0)
        ok = foreign_database(&c, store_dir, err);
    else if (ok && !str_is(known, c.id))
        ok = foreign_store(&c, store_dir, known, err);
    else if (ok && !c.confirmed)
        ok = write_claim(&c, true, err);
    if (ok) unlink(c.restoring); /* by a restore that was killed on its last step */
    arena_free(&a);
    return ok;
}

/* ---- restoring ---- */

static bool in_use(struct str store_dir, struct err *err)
{
    err_set(err, ERR_CONFLICT, "the store %.*s is in use by another database", STR_ARG(store_dir));
    return err_hint(err, "restore into a new folder: --store-dir, or --data-dir where the store is in it");
}

/* What a server or another restore has left, if only folders. */
static bool is_used(struct str store_dir, bool *used, struct err *err)
{
    static const char *const parts[] = {CLAIM_FILE, "blobs", "logs"};
    char path[FS_PATH_MAX];
    *used = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!fs_path(path, err, "%.*s/%s", STR_ARG(store_dir), parts[i])) return false;
        *used = *used || access(path, F_OK) == 0;
    }
    return true;
}

bool claim_restoring(struct str store_dir, struct str backup, struct err *err)
{
    CLAIM_AUTO c = {.lock = -1};
    BUF_AUTO of;
    bool used = false;
    buf_init(&of, 0);
    if (!lock_claim(&c, store_dir, err)) return false;
    if (access(c.restoring, F_OK) != 0) {
        if (!is_used(store_dir, &used, err)) return false;
        return used ? in_use(store_dir, err) : fs_write(c.restoring, backup, 0600, true, err);
    }
    if (access(c.path, F_OK) == 0 && !read_claim(&c, err)) return false;
    if (c.confirmed) return in_use(store_dir, err);
    if (!fs_read(c.restoring, 256, &of, err)) return false;
    if (str_eq(buf_view(&of), backup)) return true;
    err_set(err, ERR_CONFLICT, "another backup is half restored in the store %.*s", STR_ARG(store_dir));
    return err_hint(err, "restore into a new folder");
}

struct renewal {
    const struct claim *claim;
    struct arena *arena;
    struct str former;
};

/* Placers are those of the former executors, with nodes that nobody looks at any more; a backup may be older than they
 * are. */
static bool renew_tx(struct conn *c, void *ctx, struct err *err)
{
    struct renewal *r = ctx;
    struct str key;
    return settings_take(c, STR(CLAIM_INSTANCE_SETTING), r->arena, &r->former, err) &&
           settings_take(c, STR(API_STEP_KEY_SETTING), r->arena, &key, err) &&
           conn_do(c,
                   "DO $$BEGIN IF to_regclass('placers') IS NOT NULL THEN EXECUTE 'DELETE FROM placers'; END IF; END$$",
                   err) &&
           settings_put(c, STR(CLAIM_SETTING), str_of(r->claim->id), err);
}

bool claim_restored(struct db *db, struct str store_dir, struct arena *a, struct str *former, struct err *err)
{
    CLAIM_AUTO c = {.lock = -1};
    CONN_AUTO conn = NULL;
    struct renewal r = {.claim = &c, .arena = a};
    if (!open_claim(&c, store_dir, err)) return false;
    if (c.confirmed) return in_use(store_dir, err); /* somebody came meanwhile */
    if (!db_lease(db, &conn, err) || !conn_tx(conn, renew_tx, &r, err) || !write_claim(&c, true, err)) return false;
    *former = r.former;
    unlink(c.restoring);
    return true;
}
