/* See claim.h. The file holds the identity, and while no database has confirmed it yet, the word `new` behind it: a
 * crash between the two leaves nothing that the next start cannot finish. */
#include "cli/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/store/settings.h"

#define ID_DIGITS 32

struct claim {
    char path[FS_PATH_MAX];
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

/* Reads the identity, or makes one that is still to be confirmed. */
static bool open_claim(struct claim *c, struct str store_dir, struct err *err)
{
    char lock[FS_PATH_MAX];
    if (!fs_path(c->path, err, "%.*s/" CLAIM_FILE, STR_ARG(store_dir)) || !fs_path(lock, err, "%s.lock", c->path))
        return false;
    c->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int got = c->lock;
    while (got >= 0 && (got = flock(c->lock, LOCK_EX)) != 0 && errno == EINTR)
        got = 0;
    if (got < 0) return err_set(err, ERR_IO, "cannot lock %s: %s", lock, strerror(errno));
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

bool claim_store(struct db *db, struct str store_dir, struct err *err)
{
    CLAIM_AUTO c = {.lock = -1};
    CONN_AUTO conn = NULL;
    struct arena a;
    struct str known = {0};
    if (!open_claim(&c, store_dir, err) || !db_lease(db, &conn, err)) return false;
    arena_init(&a, 0);
    bool ok = c.confirmed ? settings_get(conn, STR(CLAIM_SETTING), &a, &known, err)
                          : settings_get_or_make(conn, STR(CLAIM_SETTING), str_of(c.id), &a, &known, err);
    if (ok && known.n == 0)
        ok = foreign_database(&c, store_dir, err);
    else if (ok && !str_is(known, c.id))
        ok = foreign_store(&c, store_dir, known, err);
    else if (ok && !c.confirmed)
        ok = write_claim(&c, true, err);
    arena_free(&a);
    return ok;
}

bool claim_restored(struct db *db, struct str store_dir, struct err *err)
{
    CLAIM_AUTO c = {.lock = -1};
    CONN_AUTO conn = NULL;
    return open_claim(&c, store_dir, err) && db_lease(db, &conn, err) &&
           settings_put(conn, STR(CLAIM_SETTING), str_of(c.id), err) && (c.confirmed || write_claim(&c, true, err));
}
