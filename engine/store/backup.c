/* A backup is made, and brought back. */
#include "engine/store/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/store/backup_int.h"
#include "engine/store/migrate.h"
#include "engine/store/retention.h"
#include "engine/text/json.h"

#define FORMAT 2
#define PAGE 1000

/* ---- making ---- */

/* *made: it was not there before. */
static bool empty_folder(const struct backup_config *config, bool *made, struct err *err)
{
    char path[FS_PATH_MAX], blobs[FS_PATH_MAX];
    if (!fs_path(path, err, "%.*s", STR_ARG(config->folder)) || !backup_path(config, "blobs", blobs, err)) return false;
    *made = access(path, F_OK) != 0;
    if (!fs_mkdirs(path, 0700, err)) return false;
    DIR *entries = opendir(path);
    if (!entries) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    int n = 0;
    while (readdir(entries))
        n++;
    closedir(entries);
    if (n <= 2) return fs_mkdirs(blobs, 0700, err);
    err_set(err, ERR_CONFLICT, "%s is not empty", path);
    return err_hint(err, "name a new folder");
}

/* The folder as it was found: what a backup that failed has written is no use to anybody. */
static void undo(const struct backup_config *config, bool made)
{
    static const char *const parts[] = {"database.dump", "manifest", "logs.manifest", "blobs", "logs"};
    char path[FS_PATH_MAX];
    struct err ignored;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!backup_path(config, parts[i], path, &ignored) || unlink(path) == 0 || errno == ENOENT) continue;
        if (!fs_remove_tree(path, &ignored)) return;
    }
    if (made && fs_path(path, &ignored, "%.*s", STR_ARG(config->folder))) rmdir(path);
}

bool backup_has_schema(struct conn *c, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_sql(c, "SELECT to_regclass('schema_migrations') IS NOT NULL", NULL, &res, err)) return false;
    if (row_bool(res, 0, 0)) return true;
    err_set(err, ERR_NOT_FOUND, "there is no Millrace data in the database");
    return err_hint(err, "name the database that the server uses");
}

static bool write_manifest(struct conn *c, const char *path, int64_t *blobs, struct err *err)
{
    FILE *f = fopen(path, "we");
    if (!f) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    struct arena a;
    arena_init(&a, 0);
    char last[DIGEST_TEXT] = "";
    bool ok = true, more = true;
    while (ok && more) {
        struct params p;
        arena_reset(&a);
        params_init(&p, &a);
        params_str(&p, str_of(last));
        params_int(&p, PAGE);
        RESULT_AUTO res = NULL;
        ok = conn_query(c, Q_BACKUP_BLOBS, &p, &res, err);
        for (int i = 0; ok && i < PQntuples(res); i++, ++*blobs)
            fprintf(f, "%.*s %" PRId64 "\n", STR_ARG(row_str(res, i, 0)), row_int(res, i, 1));
        more = ok && PQntuples(res) == PAGE;
        if (more) snprintf(last, sizeof last, "%.*s", STR_ARG(row_str(res, PAGE - 1, 0)));
    }
    arena_free(&a);
    if (fclose(f) != 0 && ok) ok = err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    return ok;
}

static bool dump(const struct backup_config *config, const char *snapshot, struct err *err)
{
    char path[FS_PATH_MAX], file[FS_PATH_MAX + 8], with[80];
    if (!backup_path(config, "database.dump", path, err)) return false;
    snprintf(file, sizeof file, "--file=%s", path);
    snprintf(with, sizeof with, "--snapshot=%s", snapshot);
    char program[] = "pg_dump", format[] = "--format=custom", owner[] = "--no-owner", privileges[] = "--no-privileges";
    char *argv[] = {program, format, owner, privileges, with, file, NULL};
    return backup_run_tool(config, argv, err);
}

/* The dump, the list of its blobs, and its logs, of one moment. */
static bool take_snapshot(const struct backup_config *config, struct conn *c, int64_t *blobs, struct backup_result *r,
                          struct err *err)
{
    char manifest[FS_PATH_MAX];
    RESULT_AUTO snapshot = NULL;
    RESULT_AUTO version = NULL;
    bool ok =
        backup_path(config, "manifest", manifest, err) &&
        conn_do(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0",
                err) &&
        conn_sql(c, "SELECT pg_export_snapshot()", NULL, &snapshot, err) &&
        conn_sql(c, "SELECT coalesce(max(version), 0) FROM schema_migrations", NULL, &version, err) &&
        write_manifest(c, manifest, blobs, err);
    char name[64];
    if (ok) {
        snprintf(name, sizeof name, "%.*s", STR_ARG(row_str(snapshot, 0, 0)));
        r->schema = (int32_t)row_int(version, 0, 0);
    }
    ok = ok && dump(config, name, err) && backup_save_logs(config, c, r, err);
    struct err ignored;
    return conn_do(c, "ROLLBACK", ok ? err : &ignored) && ok;
}

/* Every line of the manifest to the callback. */
static bool each_blob(const struct backup_config *config, int64_t of, struct backup_result *out, struct err *err)
{
    char path[FS_PATH_MAX], line[200];
    if (!backup_path(config, "manifest", path, err)) return false;
    FILE *f = fopen(path, "re");
    if (!f) return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    bool ok = true;
    while (ok && fgets(line, sizeof line, f)) {
        struct str rest = str_trim(str_of(line)), digest;
        int64_t size;
        ok = str_split(&rest, ' ', &digest) && str_int(rest, &size)
                 ? backup_blob_path(config, digest, path, err)
                 : err_set(err, ERR_INVALID, "the manifest is damaged");
        ok = ok && config->blob(config->ctx, digest, size, path, err);
        if (!ok) break;
        out->blobs++;
        out->blob_bytes += size;
        if (config->progress) config->progress(config->ctx, out->blobs, of, out->blob_bytes);
    }
    fclose(f);
    return ok;
}

static bool dump_size(const struct backup_config *config, int64_t *size, struct err *err)
{
    char path[FS_PATH_MAX];
    struct stat st;
    if (!backup_path(config, "database.dump", path, err)) return false;
    if (stat(path, &st) != 0) return err_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    *size = st.st_size;
    return true;
}

static bool write_marker(const struct backup_config *config, const struct backup_result *r, struct err *err)
{
    char path[FS_PATH_MAX], dumped[FS_PATH_MAX], digest[DIGEST_TEXT];
    FD_AUTO fd = -1;
    if (!backup_path(config, "backup.json", path, err) || !backup_path(config, "database.dump", dumped, err))
        return false;
    fd = open(dumped, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(err, ERR_IO, "%s: %s", dumped, strerror(errno));
    if (!digest_fd(fd, digest, NULL, err)) return false;
    BUF_AUTO b;
    buf_init(&b, 0);
    struct jsonw w;
    jsonw_to_buf(&w, &b);
    jsonw_object(&w);
    jsonw_kv_int(&w, "format", FORMAT);
    jsonw_kv_int(&w, "schema", r->schema);
    jsonw_kv_int(&w, "createdAtUs", os_now_us());
    jsonw_kv_cstr(&w, "version", MILLRACE_VERSION);
    jsonw_kv_int(&w, "blobs", r->blobs);
    jsonw_kv_int(&w, "blobBytes", r->blob_bytes);
    jsonw_kv_int(&w, "logs", r->logs);
    jsonw_kv_cstr(&w, "dumpDigest", digest);
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) return err_set(err, ERR_INTERNAL, "backup.json cannot be written");
    if (fsync(fd) != 0 || syncfs(fd) != 0) return err_set(err, ERR_IO, "%s: %s", dumped, strerror(errno));
    return fs_write(path, buf_view(&b), 0600, true, err);
}

bool backup_make(const struct backup_config *config, struct backup_result *out, struct err *err)
{
    struct db *db = NULL;
    struct db_config pool = {.dsn = config->dsn, .size = 1, .wait_ms = 10000, .statement_timeout_ms = INT32_MAX};
    struct backup_result r = {0};
    int64_t blobs = 0;
    bool made = false;
    if (!db_open(&pool, &db, err)) return false;
    struct conn *c = NULL;
    bool ok = db_lease(db, &c, err) && backup_has_schema(c, err) && empty_folder(config, &made, err);
    bool begun = ok;
    ok = ok && retention_hold(c, err);
    if (ok) {
        ok = take_snapshot(config, c, &blobs, &r, err) && each_blob(config, blobs, &r, err) &&
             dump_size(config, &r.dump_bytes, err) && write_marker(config, &r, err);
        retention_release(c);
    }
    if (begun && !ok) undo(config, made);
    db_return(c);
    db_close(db);
    if (ok) *out = r;
    return ok;
}

/* ---- restoring ---- */

static int64_t number_of(const struct value *json, const char *key)
{
    const struct value *v = value_get(json, key);
    return v && v->type == VALUE_INT ? v->u.i : -1;
}

static bool check_dump(const struct backup_config *config, const struct value *marker, struct err *err)
{
    char path[FS_PATH_MAX], digest[DIGEST_TEXT];
    const struct value *want = value_get(marker, "dumpDigest");
    if (!backup_path(config, "database.dump", path, err)) return false;
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    if (!digest_fd(fd, digest, NULL, err)) return false;
    if (want && want->type == VALUE_STRING && str_is(want->u.s, digest)) return true;
    return err_set(err, ERR_INVALID, "the backup is damaged: database.dump is not what was written");
}

bool backup_look(const struct backup_config *config, struct backup_result *expected, struct err *err)
{
    char path[FS_PATH_MAX];
    struct arena a;
    struct value json;
    BUF_AUTO b;
    arena_init(&a, 0);
    buf_init(&b, 0);
    bool ok = backup_path(config, "backup.json", path, err);
    if (ok && !fs_read(path, 65536, &b, err)) {
        err_set(err, ERR_INVALID, "%.*s holds no complete backup", STR_ARG(config->folder));
        ok = err_hint(err, "there is no backup.json in it, which is written last");
    }
    ok = ok && json_parse(&a, buf_view(&b), 8, &json, err);
    if (ok && number_of(&json, "format") != FORMAT)
        ok = err_set(err, ERR_INVALID, "the backup is of an unknown format");
    if (ok && number_of(&json, "schema") > (int64_t)migrate_latest()) {
        err_set(err, ERR_CONFLICT, "the backup was made by a newer Millrace");
        ok = err_hint(err, "restore it with a Millrace at least as new");
    }
    ok = ok && check_dump(config, &json, err);
    if (ok)
        *expected = (struct backup_result){.blobs = number_of(&json, "blobs"),
                                           .blob_bytes = number_of(&json, "blobBytes"),
                                           .logs = number_of(&json, "logs"),
                                           .schema = (int32_t)number_of(&json, "schema")};
    arena_free(&a);
    return ok;
}

static bool database_empty(const struct backup_config *config, struct err *err)
{
    struct db *db = NULL;
    struct db_config pool = {.dsn = config->dsn, .size = 1, .wait_ms = 10000};
    if (!db_open(&pool, &db, err)) return false;
    struct conn *c = NULL;
    PGresult *res = NULL;
    bool ok = db_lease(db, &c, err) &&
              conn_sql(c, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
                       NULL, &res, err);
    if (ok && row_int(res, 0, 0) > 0) {
        err_set(err, ERR_CONFLICT, "the database is not empty");
        ok = err_hint(err, "restore into a new data folder, or an empty database");
    }
    PQclear(res);
    db_return(c);
    db_close(db);
    return ok;
}

static bool undump(const struct backup_config *config, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    char path[FS_PATH_MAX];
    char *message = NULL, *database = NULL;
    PQconninfoOption *options = PQconninfoParse(arena_cstr(&a, config->dsn), &message);
    PQfreemem(message);
    for (PQconninfoOption *o = options; o && o->keyword; o++)
        if (o->val && strcmp(o->keyword, "dbname") == 0)
            database = arena_cstr(&a, arena_printf(&a, "--dbname=%s", o->val));
    PQconninfoFree(options);
    char program[] = "pg_restore", owner[] = "--no-owner", privileges[] = "--no-privileges",
         one[] = "--single-transaction", exit[] = "--exit-on-error";
    char none[] = "--dbname=";
    char *argv[] = {program, owner, privileges, one, exit, database ? database : none, path, NULL};
    bool ok = backup_path(config, "database.dump", path, err) && backup_run_tool(config, argv, err);
    arena_free(&a);
    return ok;
}

bool backup_restore(const struct backup_config *config, struct backup_result *out, struct err *err)
{
    struct backup_result expected, r = {0};
    if (!backup_look(config, &expected, err) || !database_empty(config, err) ||
        !each_blob(config, expected.blobs, &r, err) || !backup_load_logs(config, &r, err) ||
        !dump_size(config, &r.dump_bytes, err))
        return false;
    if (r.blobs != expected.blobs || r.logs != expected.logs)
        return err_set(err, ERR_INVALID, "the backup is damaged: its manifest is not complete");
    r.schema = expected.schema;
    if (!undump(config, err)) return false;
    *out = r;
    return true;
}
