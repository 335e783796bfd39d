/* Backup and restore of database, blobs and logs, consistent with each other, into and from one folder:
 *
 *     database.dump   pg_dump, custom format
 *     manifest        "sha256:… size", a line for each blob the dump knows
 *     blobs/…         the blobs, by name of their digest
 *     logs.manifest   "run task attempt size", a line for each attempt the dump knows that has written something
 *     logs/…          what they wrote: <run>/<task>-<attempt>.log
 *     backup.json     written last: without it, it is no backup
 *
 * The dump and what the manifests name come from one snapshot; retention is held off until all is copied, so each blob
 * is there. Works while servers run. Where blobs and logs come from and go to is the caller's (engine/blob), since the
 * store knows only the database. */
#ifndef MILLRACE_STORE_BACKUP_H
#define MILLRACE_STORE_BACKUP_H

#include "engine/store/db.h"

struct backup_log {
    int64_t run;
    int32_t task, attempt;
    int64_t size; /* set by the callback to what it copied; -1 = there is none */
    bool grows;   /* backup: the attempt was under way */
};

struct backup_config {
    struct str dsn;
    struct str bin_dir; /* of pg_dump and pg_restore; empty = found as embedded_start does */
    struct str folder;
    /* backup: writes the blob to the file `path`; restore: takes it from there, verifying the digest. size: as the
     * manifest says. */
    bool (*blob)(void *ctx, struct str digest, int64_t size, const char *path, struct err *err);
    /* The same for a log, making the folder of `path`; its size on a restore is checked against what was saved. */
    bool (*log)(void *ctx, struct backup_log *log, const char *path, struct err *err);
    /* After each blob; may be NULL. */
    void (*progress)(void *ctx, int64_t done, int64_t of, int64_t bytes);
    void *ctx;
};

struct backup_result {
    int64_t blobs, blob_bytes, logs, log_bytes, dump_bytes;
    int32_t schema; /* number of the last migration in it */
};

/* Are pg_dump and pg_restore there? Both commands need one; whoever lacks them hears of it before anything is done. */
MUST_CHECK bool backup_has_tools(struct str bin_dir, struct err *err);
/* Has a server used the database? ERR_NOT_FOUND when none has. */
MUST_CHECK bool backup_has_schema(struct conn *c, struct err *err);
/* The folder must be missing or empty, and is so again when it fails. ERR_NOT_FOUND: no server has used the database.
 */
MUST_CHECK bool backup_make(const struct backup_config *config, struct backup_result *out, struct err *err);
/* Is the folder a whole backup that this program can restore, and of what? Needs no database. */
MUST_CHECK bool backup_look(const struct backup_config *config, struct backup_result *expected, struct err *err);
/* The database must be empty (ERR_CONFLICT otherwise). Blobs and logs go first, then the database in one transaction:
 * all or nothing is visible. A backup of a newer schema is refused; an older one is migrated by the next server that
 * starts.
 */
MUST_CHECK bool backup_restore(const struct backup_config *config, struct backup_result *out, struct err *err);

#endif
