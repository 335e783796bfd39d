/* Applies embedded migrations in order, each once. */
#include "engine/store/migrate.h"

#include <embedded.h>
#include <stdlib.h>
#include <string.h>

#include "engine/os/digest.h"

#define MIGRATE_LOCK "4011972011" /* any number, always the same */

static int64_t number_of(const struct embedded *m)
{
    return strtoll(m->name, NULL, 10); /* 0001_core.sql */
}

uint32_t migrate_latest(void)
{
    uint32_t n = 0;
    for (const struct embedded *m = embedded_migrations; m->name; m++)
        n = (uint32_t)number_of(m);
    return n;
}

static bool read_applied(struct conn *c, const struct embedded *list, size_t *applied, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_sql(c, "SELECT version, name, checksum FROM schema_migrations ORDER BY version", NULL, &res, err))
        return false;
    size_t n = (size_t)PQntuples(res), ours = 0;
    while (list[ours].name)
        ours++;
    for (size_t i = 0; i < n; i++) {
        int row = (int)i;
        struct str name = row_str(res, row, 1);
        if (i >= ours) {
            err_set(err, ERR_CONFLICT, "the database's schema is newer than this program: it has migration %.*s",
                    STR_ARG(name));
            return err_hint(err, "start a Millrace at least as new as the one that last used this database");
        }
        char sum[DIGEST_TEXT];
        digest_of((struct str){(const char *)list[i].bytes, list[i].n}, sum);
        if (row_int(res, row, 0) != number_of(&list[i]) || !str_is(row_str(res, row, 2), sum)) {
            err_set(err, ERR_CONFLICT, "migration %.*s was applied in another form than this program has it",
                    STR_ARG(name));
            return err_hint(err, "use the release that made this database, or a fresh database");
        }
    }
    *applied = n;
    return true;
}

static bool apply(struct conn *c, const struct embedded *m, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    char sum[DIGEST_TEXT];
    struct str text = {(const char *)m->bytes, m->n};
    digest_of(text, sum);
    struct params p;
    params_init(&p, &a);
    params_int(&p, number_of(m));
    params_str(&p, str_of(m->name));
    params_str(&p, str_of(sum));
    RESULT_AUTO res = NULL;
    bool ok = conn_begin(c, err) && conn_do(c, arena_cstr(&a, text), err) &&
              conn_sql(c, "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)", &p, &res, err);
    if (ok)
        ok = conn_commit(c, err);
    else
        conn_rollback(c);
    if (!ok) err_path(err, "migrations/%s", m->name);
    arena_free(&a);
    return ok;
}

bool migrate_list(struct db *db, const struct embedded *list, uint32_t *applied, struct err *err)
{
    CONN_AUTO c = NULL;
    if (!db_lease(db, &c, err)) return false;
    /* Another server may need its time: no timeout while waiting or working. The lock goes with the session at the
     * latest. */
    bool ok = conn_do(c,
                      "SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock(" MIGRATE_LOCK ");"
                      "CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text NOT NULL,"
                      " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
                      err);
    size_t done = 0;
    ok = ok && read_applied(c, list, &done, err);
    uint32_t count = 0;
    for (const struct embedded *m = ok ? list + done : NULL; ok && m->name; m++, count++)
        ok = apply(c, m, err);
    struct err ignored;
    bool unlocked = conn_do(
        c, "SELECT pg_advisory_unlock(" MIGRATE_LOCK "); RESET statement_timeout; RESET lock_timeout", &ignored);
    if (!unlocked) conn_drop(c);
    if (ok && applied) *applied = count;
    return ok;
}

bool migrate_run(struct db *db, uint32_t *applied, struct err *err)
{
    return migrate_list(db, embedded_migrations, applied, err);
}
