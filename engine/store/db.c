/* The pool of blocking connections and the statements run on them. */
#include "engine/store/db.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/os/clock.h"

#define BACKOFF_FIRST_US 20000
#define BACKOFF_MAX_US 500000

struct conn {
    struct db *db;
    struct conn *next; /* in the free list */
    PGconn *pg;        /* NULL = not connected */
    int depth;         /* of transactions */
    bool failed;       /* the transaction was rolled back inside; the outermost commit must refuse */
    bool repeatable;   /* the last failure goes away when repeated */
    bool dropped;
    bool prepared[Q_COUNT];
};

struct db {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct arena arena; /* of the conninfo */
    struct str conninfo;
    int64_t wait_us;
    uint32_t size, leased;
    uint64_t connects;
    struct conn *free; /* last returned first, so that few stay warm */
    struct conn *all;
};

/* ---- the pool ---- */

bool db_open(const struct db_config *config, struct db **out, struct err *err)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db) abort();
    arena_init(&db->arena, 0);
    if (!db_conninfo(config->dsn, config->statement_timeout_ms, &db->arena, &db->conninfo, err)) {
        arena_free(&db->arena);
        free(db);
        return false;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&db->lock, NULL);
    pthread_cond_init(&db->freed, &attr);
    pthread_condattr_destroy(&attr);
    db->size = config->size ? config->size : 8;
    db->wait_us = (config->wait_ms ? config->wait_ms : 2000) * 1000;
    db->all = calloc(db->size, sizeof *db->all);
    if (!db->all) abort();
    for (uint32_t i = db->size; i-- > 0;) {
        db->all[i].db = db;
        db->all[i].next = db->free;
        db->free = &db->all[i];
    }
    *out = db;
    return true;
}

static void disconnect(struct conn *c)
{
    PQfinish(c->pg);
    c->pg = NULL;
    c->dropped = false;
    memset(c->prepared, 0, sizeof c->prepared);
}

void db_close(struct db *db)
{
    if (!db) return;
    for (uint32_t i = 0; i < db->size; i++)
        disconnect(&db->all[i]);
    pthread_cond_destroy(&db->freed);
    pthread_mutex_destroy(&db->lock);
    arena_free(&db->arena);
    free(db->all);
    free(db);
}

static struct conn *take(struct db *db, int64_t until_us)
{
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_mutex_lock(&db->lock);
    while (!db->free)
        if (pthread_cond_timedwait(&db->freed, &db->lock, &until) != 0) break;
    struct conn *c = db->free;
    if (c) {
        db->free = c->next;
        db->leased++;
    }
    pthread_mutex_unlock(&db->lock);
    return c;
}

static void put(struct conn *c)
{
    struct db *db = c->db;
    pthread_mutex_lock(&db->lock);
    c->next = db->free;
    db->free = c;
    db->leased--;
    pthread_cond_signal(&db->freed);
    pthread_mutex_unlock(&db->lock);
}

/* Nothing comes on an idle connection but the news that it is closed: seen without a round trip. */
static bool alive(struct conn *c)
{
    if (!c->pg || PQstatus(c->pg) != CONNECTION_OK) return false;
    struct pollfd fd = {.fd = PQsocket(c->pg), .events = POLLIN};
    return poll(&fd, 1, 0) == 0;
}

static void ignore_notice(void *ctx, const PGresult *res)
{
    (void)ctx;
    (void)res;
}

static bool connect_once(struct conn *c, struct err *err)
{
    disconnect(c);
    c->pg = PQconnectdb(c->db->conninfo.p);
    if (!c->pg || PQstatus(c->pg) != CONNECTION_OK) {
        db_fail(err, c->pg, NULL);
        disconnect(c);
        return false;
    }
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    pthread_mutex_lock(&c->db->lock);
    c->db->connects++;
    pthread_mutex_unlock(&c->db->lock);
    return true;
}

bool db_lease(struct db *db, struct conn **out, struct err *err)
{
    int64_t until = os_mono_us() + db->wait_us;
    struct conn *c = take(db, until);
    if (!c) {
        err_set(err, ERR_UNAVAILABLE, "all %u connections to the database are busy", db->size);
        return err_hint(err, "try again in a moment");
    }
    c->depth = 0;
    c->failed = false;
    if (!alive(c)) {
        for (int64_t wait = BACKOFF_FIRST_US; !connect_once(c, err);
             wait = wait * 2 < BACKOFF_MAX_US ? wait * 2 : BACKOFF_MAX_US) {
            if (os_mono_us() + wait > until) {
                put(c);
                return false;
            }
            nanosleep(&(struct timespec){.tv_nsec = wait * 1000}, NULL);
        }
        err_clear(err);
    }
    *out = c;
    return true;
}

void db_return(struct conn *c)
{
    if (!c) return;
    if (c->pg) {
        PGTransactionStatusType status = PQtransactionStatus(c->pg);
        if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR) PQclear(PQexec(c->pg, "ROLLBACK"));
        if (c->dropped || PQstatus(c->pg) != CONNECTION_OK || PQtransactionStatus(c->pg) != PQTRANS_IDLE) disconnect(c);
    }
    put(c);
}

void db_return_cleanup(struct conn **c)
{
    db_return(*c);
    *c = NULL;
}

void db_stats(struct db *db, uint32_t *open, uint32_t *leased, uint64_t *connects)
{
    pthread_mutex_lock(&db->lock);
    uint32_t n = db->leased;
    for (struct conn *c = db->free; c; c = c->next)
        n += c->pg != NULL;
    if (open) *open = n;
    if (leased) *leased = db->leased;
    if (connects) *connects = db->connects;
    pthread_mutex_unlock(&db->lock);
}

bool db_ping(struct db *db, struct err *err)
{
    CONN_AUTO c = NULL;
    return db_lease(db, &c, err) && conn_do(c, "SELECT 1", err);
}

/* ---- statements ---- */

PGconn *conn_pg(struct conn *c)
{
    return c->pg;
}

void conn_drop(struct conn *c)
{
    c->dropped = true;
}

static bool check(struct conn *c, const PGresult *res, struct err *err)
{
    ExecStatusType status = res ? PQresultStatus(res) : PGRES_FATAL_ERROR;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) return true;
    c->repeatable = db_repeatable(res);
    return db_fail(err, c->pg, res);
}

static bool usable(struct conn *c, const struct params *p, struct err *err)
{
    c->repeatable = false;
    if (p && p->bad) {
        err_set(err, ERR_INVALID, "a text has a character that cannot be stored");
        return err_hint(err, "remove \\u0000");
    }
    if (c->failed) return err_set(err, ERR_INTERNAL, "the transaction was rolled back before");
    return true;
}

static bool prepare(struct conn *c, enum query_id q, struct err *err)
{
    if (c->prepared[q]) return true;
    RESULT_AUTO res = PQprepare(c->pg, queries[q].name, queries[q].text, 0, NULL);
    if (!check(c, res, err)) return false;
    c->prepared[q] = true;
    return true;
}

bool conn_query(struct conn *c, enum query_id q, const struct params *p, PGresult **out, struct err *err)
{
    if (!usable(c, p, err) || !prepare(c, q, err)) return false;
    PGresult *res = PQexecPrepared(c->pg, queries[q].name, p ? p->n : 0, p ? p->values : NULL, p ? p->lengths : NULL,
                                   p ? p->formats : NULL, 1);
    if (!check(c, res, err)) {
        PQclear(res);
        return false;
    }
    *out = res;
    return true;
}

bool conn_exec(struct conn *c, enum query_id q, const struct params *p, int64_t *affected, struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_query(c, q, p, &res, err)) return false;
    if (affected) *affected = strtoll(PQcmdTuples(res), NULL, 10);
    return true;
}

bool conn_sql(struct conn *c, const char *sql, const struct params *p, PGresult **out, struct err *err)
{
    if (!usable(c, p, err)) return false;
    PGresult *res = PQexecParams(c->pg, sql, p ? p->n : 0, NULL, p ? p->values : NULL, p ? p->lengths : NULL,
                                 p ? p->formats : NULL, 1);
    if (!check(c, res, err)) {
        PQclear(res);
        return false;
    }
    *out = res;
    return true;
}

bool conn_do(struct conn *c, const char *sql, struct err *err)
{
    if (!usable(c, NULL, err)) return false;
    RESULT_AUTO res = PQexec(c->pg, sql);
    return check(c, res, err);
}

/* ---- transactions ---- */

bool conn_begin(struct conn *c, struct err *err)
{
    if (c->depth == 0 && !conn_do(c, "BEGIN", err)) return false;
    c->depth++;
    return true;
}

bool conn_commit(struct conn *c, struct err *err)
{
    if (c->depth > 1) {
        c->depth--;
        return usable(c, NULL, err);
    }
    if (c->failed || PQtransactionStatus(c->pg) == PQTRANS_INERROR) {
        conn_rollback(c);
        return err_set(err, ERR_INTERNAL, "the transaction was rolled back before");
    }
    c->depth = 0;
    return conn_do(c, "COMMIT", err);
}

void conn_rollback(struct conn *c)
{
    if (c->depth > 0 && !c->failed && c->pg) PQclear(PQexec(c->pg, "ROLLBACK"));
    if (c->depth > 0) c->depth--;
    c->failed = c->depth > 0; /* the levels above must not go on as if nothing had happened */
}

bool conn_tx(struct conn *c, conn_tx_fn *fn, void *ctx, struct err *err)
{
    for (int attempt = 0;; attempt++) {
        if (!conn_begin(c, err)) return false;
        bool ok = fn(c, ctx, err);
        bool repeatable = c->repeatable;
        if (ok && conn_commit(c, err)) return true;
        if (ok)
            repeatable = c->repeatable;
        else
            conn_rollback(c);
        if (!repeatable || c->depth > 0 || attempt == 4) return false;
        err_clear(err);
    }
}
