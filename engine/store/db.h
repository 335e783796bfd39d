/* Connections to PostgreSQL for the API's threads: a bounded pool of blocking connections, each of which prepares a
 * named query (engine/store/sql) when it first runs it. The scheduler has a connection of its own and shares only
 * db_conninfo, db_fail and row.h.
 *
 * A broken connection is dropped and made anew with back-off when it is next leased: a restart of PostgreSQL costs the
 * statements that were under way, nothing else. Threads: the pool may be used from any, a lease from one at a time. */
#ifndef MILLRACE_STORE_DB_H
#define MILLRACE_STORE_DB_H

#include "engine/store/row.h"
#include "queries.h"

struct db;   /* the pool */
struct conn; /* a lease */

struct db_config {
    struct str dsn;               /* URL or key=value text, as PostgreSQL's own tools take it */
    uint32_t size;                /* connections at most; 0 = 8 */
    int64_t wait_ms;              /* for a free connection, or for a database that is away; 0 = 2000 */
    int64_t statement_timeout_ms; /* 0 = 30 s */
};

/* Does not connect yet; fails only when the DSN cannot be read. */
MUST_CHECK bool db_open(const struct db_config *config, struct db **out, struct err *err);
void db_close(struct db *db); /* all leases must have been given back */
MUST_CHECK bool db_lease(struct db *db, struct conn **out, struct err *err);
void db_return(struct conn *c); /* rolls back what was not committed; NULL is fine */
void db_return_cleanup(struct conn **c);
#define CONN_AUTO __attribute__((cleanup(db_return_cleanup))) struct conn *
/* Counts for /readyz and metrics; any may be NULL. */
void db_stats(struct db *db, uint32_t *open, uint32_t *leased, uint64_t *connects);
MUST_CHECK bool db_ping(struct db *db, struct err *err);

/* Runs a named query; rows in *out, to be cleared by the caller (RESULT_AUTO). p may be NULL. */
MUST_CHECK bool conn_query(struct conn *c, enum query_id q, const struct params *p, PGresult **out, struct err *err);
/* Runs a named query for its effect; rows touched in *affected when it is not NULL. */
MUST_CHECK bool conn_exec(struct conn *c, enum query_id q, const struct params *p, int64_t *affected, struct err *err);
/* The same for text: for search.c, which builds it from fragments, and for start-up. One statement when p is given. */
MUST_CHECK bool conn_sql(struct conn *c, const char *sql, const struct params *p, PGresult **out, struct err *err);
MUST_CHECK bool conn_do(struct conn *c, const char *sql, struct err *err); /* several statements, no rows */
PGconn *conn_pg(struct conn *c);
void conn_drop(struct conn *c); /* its session is in an unknown state: closed when it is given back */

/* Transactions nest by counting: only the outermost begin and commit reach the database, a rollback at any depth ends
 * it all. */
MUST_CHECK bool conn_begin(struct conn *c, struct err *err);
MUST_CHECK bool conn_commit(struct conn *c, struct err *err);
void conn_rollback(struct conn *c);
/* fn within a transaction, committed when it returns true; again from the start after a deadlock or serialization
 * failure, up to 5 times. */
typedef bool conn_tx_fn(struct conn *c, void *ctx, struct err *err);
MUST_CHECK bool conn_tx(struct conn *c, conn_tx_fn *fn, void *ctx, struct err *err);

/* ---- shared with the scheduler's own connection ---- */

/* The DSN completed by what is needed to notice a dead peer (keepalives, TCP_USER_TIMEOUT), UTF-8, and sane session
 * settings. Text that PQconnectdb takes, in the arena. */
MUST_CHECK bool db_conninfo(struct str dsn, int64_t statement_timeout_ms, struct arena *a, struct str *out,
                            struct err *err);
/* Fills err from a failed result (or, when res is NULL, from the connection); returns false. */
bool db_fail(struct err *err, const PGconn *pg, const PGresult *res);
/* What libpq says of servers that let nobody in, a line or more for each: the one of them that tells what to do. */
bool db_away(struct err *err, const char *text);
/* Whether that failure would not happen again when the transaction is simply repeated. */
bool db_repeatable(const PGresult *res);

#endif
