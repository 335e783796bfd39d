/* The scheduler's connection: ownership and the one transaction of a turn. See hot.h. */
#include "engine/store/hot.h"

#include <stdlib.h>
#include <string.h>

#include "engine/os/clock.h"
#include "engine/store/commands.h"
#include "engine/store/row.h"

/* Advisory lock classes: one lock a shard, and one that every scheduler shares while it is present. */
#define LOCK_SHARD 0x4d696c6c
#define LOCK_PRESENT 0x4d696c6d

#define STUCK_US 10000000 /* at least: one that lives asks every second */

struct left {                /* a shard left to the server whose attempts are under way in it */
    int64_t epoch, since_us; /* since when nobody has owned it; 0 = not so */
};

struct hot {
    PGconn *conn;
    char *conninfo, *owner;
    int64_t opened_us;
    size_t owned;
    int64_t epoch[RUN_SHARDS]; /* 0 = not owned */
    struct left left[RUN_SHARDS];
    bool prepared[Q_COUNT];
    struct buf shards_text;
};

struct hot *hot_new(const char *conninfo, const char *owner)
{
    struct hot *h = calloc(1, sizeof *h);
    if (h == NULL) abort();
    h->conninfo = strdup(conninfo);
    h->owner = strdup(owner);
    if (h->conninfo == NULL || h->owner == NULL) abort();
    buf_init(&h->shards_text, 0);
    return h;
}

void hot_close(struct hot *h)
{
    if (h->conn != NULL) PQfinish(h->conn);
    h->conn = NULL;
    h->owned = 0;
    memset(h->epoch, 0, sizeof h->epoch);
    memset(h->left, 0, sizeof h->left); /* while the database was away nobody could come back */
    memset(h->prepared, 0, sizeof h->prepared);
    buf_reset(&h->shards_text);
}

void hot_free(struct hot *h)
{
    if (h == NULL) return;
    hot_close(h);
    free(h->conninfo);
    free(h->owner);
    buf_free(&h->shards_text);
    free(h);
}

bool hot_up(const struct hot *h)
{
    return h->conn != NULL;
}

int hot_socket(const struct hot *h)
{
    return h->conn != NULL ? PQsocket(h->conn) : -1;
}

bool hot_alive(struct hot *h)
{
    if (h->conn == NULL) return false;
    if (PQconsumeInput(h->conn) == 1 && PQstatus(h->conn) == CONNECTION_OK) return true;
    hot_close(h);
    return false;
}

bool hot_notified(struct hot *h)
{
    bool any = false;
    if (h->conn == NULL) return false;
    for (PGnotify *n; (n = PQnotifies(h->conn)) != NULL; PQfreemem(n))
        any = true;
    return any;
}

/* A failed answer as an error; a lost connection closes ours. */
static bool answer_error(struct hot *h, const PGresult *res, const char *what, struct err *err)
{
    if (PQstatus(h->conn) != CONNECTION_OK || res == NULL) {
        err_set(err, ERR_UNAVAILABLE, "the database connection was lost: %s", PQerrorMessage(h->conn));
        hot_close(h);
        return false;
    }
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (state == NULL) state = "?????";
    if (strcmp(state, "22012") == 0) return err_set(err, ERR_STALE, "%s: another scheduler wrote here", what);
    if (strncmp(state, "57P", 3) == 0 || strncmp(state, "08", 2) == 0 || strncmp(state, "53", 2) == 0 ||
        strncmp(state, "58", 2) == 0 || strncmp(state, "25006", 5) == 0) {
        err_set(err, ERR_UNAVAILABLE, "%s: the database is not available: %s", what, text != NULL ? text : state);
        hot_close(h);
        return false;
    }
    if (strcmp(state, "23505") == 0) return err_set(err, ERR_STALE, "%s: %s", what, text != NULL ? text : state);
    return err_set(err, ERR_INVALID, "%s: the database refused: %s (%s)", what, text != NULL ? text : "", state);
}

/* Plans must not depend on statistics of tables that were empty when a statement was prepared: index look-ups, always.
 */
static const char session_setup[] = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET "
                                    "enable_hashjoin = off; SET enable_mergejoin = off; "
                                    "SET synchronous_commit = on; SET jit = off; SET statement_timeout = '60s'; SET "
                                    "idle_in_transaction_session_timeout = '60s'; "
                                    "SET client_min_messages = warning; SET timezone = 'UTC'; "
                                    /* the locks of a machine that lost its power must not stay for hours */
                                    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; "
                                    "SET tcp_keepalives_count = 2; SET tcp_user_timeout = 15000; "
                                    "LISTEN " COMMANDS_CHANNEL;

static bool run_simple(struct hot *h, const char *sql, struct err *err)
{
    PGresult *res = PQexec(h->conn, sql);
    ExecStatusType status = PQresultStatus(res);
    bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!ok) answer_error(h, res, "session", err);
    PQclear(res);
    return ok;
}

bool hot_open(struct hot *h, struct err *err)
{
    hot_close(h);
    const char *const keys[] = {"dbname",           "connect_timeout",  "keepalives_idle",  "keepalives_interval",
                                "keepalives_count", "tcp_user_timeout", "application_name", NULL};
    const char *const values[] = {h->conninfo, "5", "5", "5", "2", "15000", "millrace-scheduler", NULL};
    h->conn = PQconnectdbParams(keys, values, 1);
    if (PQstatus(h->conn) != CONNECTION_OK) {
        err_set(err, ERR_UNAVAILABLE, "cannot reach the database: %s", PQerrorMessage(h->conn));
        hot_close(h);
        return false;
    }
    char count[16], class[16];
    snprintf(count, sizeof count, "%d", RUN_SHARDS);
    snprintf(class, sizeof class, "%d", LOCK_PRESENT);
    const char *const p_count[] = {count}, *const p_class[] = {class};
    PGresult *res = NULL;
    bool ok = run_simple(h, session_setup, err) && hot_query(h, Q_HOT_SHARDS_MAKE, p_count, 1, &res, err);
    PQclear(res);
    res = NULL;
    ok = ok && hot_query(h, Q_HOT_PRESENT, p_class, 1, &res, err);
    PQclear(res);
    h->opened_us = os_mono_us();
    if (!ok) hot_close(h);
    return ok;
}

/* ---- statements ---- */

static bool prepare(struct hot *h, enum query_id q, struct err *err)
{
    if (h->prepared[q]) return true;
    PGresult *res = PQprepare(h->conn, queries[q].name, queries[q].text, 0, NULL);
    bool ok = PQresultStatus(res) == PGRES_COMMAND_OK;
    if (!ok) answer_error(h, res, queries[q].name, err);
    PQclear(res);
    h->prepared[q] = ok;
    return ok;
}

bool hot_query(struct hot *h, enum query_id q, const char *const *params, int n, PGresult **out, struct err *err)
{
    if (h->conn == NULL) return err_set(err, ERR_UNAVAILABLE, "not connected to the database");
    if (!prepare(h, q, err)) return false;
    PGresult *res = PQexecPrepared(h->conn, queries[q].name, n, params, NULL, NULL, 1);
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        *out = res;
        return true;
    }
    answer_error(h, res, queries[q].name, err);
    PQclear(res);
    return false;
}

/* ---- ownership ---- */

bool hot_owns(const struct hot *h, uint16_t shard)
{
    return shard < RUN_SHARDS && h->epoch[shard] != 0;
}

size_t hot_owned(const struct hot *h)
{
    return h->owned;
}

const char *hot_shards_text(struct hot *h)
{
    if (h->shards_text.n == 0) {
        buf_char(&h->shards_text, '{');
        for (uint32_t s = 0; s < RUN_SHARDS; s++)
            if (h->epoch[s] != 0) buf_printf(&h->shards_text, "%s%u", h->shards_text.n > 1 ? "," : "", s);
        buf_char(&h->shards_text, '}');
    }
    return h->shards_text.p;
}

static bool fair_share(struct hot *h, size_t *out, struct err *err)
{
    char class[16];
    snprintf(class, sizeof class, "%d", LOCK_PRESENT);
    const char *const params[] = {class};
    PGresult *res = NULL;
    if (!hot_query(h, Q_HOT_SCHEDULERS, params, 1, &res, err)) return false;
    size_t present = (size_t)row_int(res, 0, 0);
    PQclear(res);
    if (present == 0) present = 1;
    *out = (RUN_SHARDS + present - 1) / present;
    return true;
}

struct taken { /* shards locked just now, not owned yet */
    uint16_t shards[RUN_SHARDS];
    size_t n;
};

static void taken_text(const struct taken *t, struct buf *out)
{
    buf_char(out, '{');
    for (size_t i = 0; i < t->n; i++)
        buf_printf(out, "%s%u", i > 0 ? "," : "", t->shards[i]);
    buf_char(out, '}');
}

static bool lock_shards(struct hot *h, enum query_id q, const char *const *params, int n, struct taken *out,
                        struct err *err)
{
    PGresult *res = NULL;
    if (!hot_query(h, q, params, n, &res, err)) return false;
    for (int i = 0; i < PQntuples(res) && out->n < RUN_SHARDS; i++)
        out->shards[out->n++] = (uint16_t)row_int(res, i, 0);
    PQclear(res);
    return true;
}

static bool unlock(struct hot *h, struct taken *t, uint16_t shard, struct err *err)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->shards[i] == shard) t->shards[i] = t->shards[--t->n];
    return hot_release(h, shard, err);
}

/* From now on what was locked is ours: its epoch rises, and no earlier owner can write. */
static bool own(struct hot *h, const struct taken *t, uint16_t *gained, size_t *n_gained, struct err *err)
{
    if (t->n == 0) return true;
    BUF_AUTO list;
    buf_init(&list, 0);
    taken_text(t, &list);
    const char *const params[] = {list.p, h->owner};
    PGresult *res = NULL;
    if (!hot_query(h, Q_HOT_SHARDS_OWN, params, 2, &res, err)) return false;
    for (int i = 0; i < PQntuples(res); i++) {
        uint16_t shard = (uint16_t)row_int(res, i, 0);
        h->epoch[shard] = row_int(res, i, 1);
        h->owned++;
        gained[(*n_gained)++] = shard;
    }
    PQclear(res);
    buf_reset(&h->shards_text);
    return true;
}

/* Gives the lock back where attempts are under way on another server's executor, until the grace is over. The epoch
 * tells whether anybody owned the shard since it was seen free. */
static bool leave_to_others(struct hot *h, const struct hot_claim *claim, struct taken *t, struct err *err)
{
    bool still[RUN_SHARDS] = {false}, ok = true;
    if (claim->grace_us <= 0) return true;
    BUF_AUTO list;
    buf_init(&list, 0);
    taken_text(t, &list);
    const char *const params[] = {list.p, claim->executor};
    PGresult *res = NULL;
    if (!hot_query(h, Q_HOT_SHARDS_FOREIGN, params, 2, &res, err)) return false;
    int64_t now_us = os_mono_us();
    for (int i = 0; ok && i < PQntuples(res); i++) {
        uint16_t shard = (uint16_t)row_int(res, i, 0);
        struct left *l = &h->left[shard];
        if (l->since_us == 0 || l->epoch != row_int(res, i, 1)) *l = (struct left){row_int(res, i, 1), now_us};
        still[shard] = true;
        if (now_us - l->since_us < claim->grace_us) ok = unlock(h, t, shard, err);
    }
    PQclear(res);
    for (uint32_t s = 0; s < RUN_SHARDS; s++)
        if (!still[s]) h->left[s].since_us = 0;
    return ok;
}

/* After a start or a lost connection: shards with attempts of ours under way, whatever our share. Tried for the whole
 * grace, since another may hold the lock for the moment in which it looks. */
static bool acquire_mine(struct hot *h, const struct hot_claim *claim, uint16_t *gained, size_t *n_gained,
                         struct err *err)
{
    char class[16];
    struct taken t = {.n = 0};
    if (claim->grace_us <= 0 || claim->executor[0] == '\0' || h->owned == RUN_SHARDS) return true;
    if (os_mono_us() - h->opened_us > claim->grace_us) return true;
    snprintf(class, sizeof class, "%d", LOCK_SHARD);
    const char *const params[] = {class, hot_shards_text(h), claim->executor};
    return lock_shards(h, Q_HOT_SHARDS_MINE, params, 3, &t, err) && own(h, &t, gained, n_gained, err);
}

/* Up to `room` free shards. */
static bool acquire(struct hot *h, const struct hot_claim *claim, size_t room, uint16_t *gained, size_t *n_gained,
                    struct err *err)
{
    char class[16], shards[16];
    struct taken t = {.n = 0};
    snprintf(class, sizeof class, "%d", LOCK_SHARD);
    snprintf(shards, sizeof shards, "%d", RUN_SHARDS);
    const char *const params[] = {class, shards, hot_shards_text(h), shards};
    if (!lock_shards(h, Q_HOT_SHARDS_LOCK, params, 4, &t, err) || !leave_to_others(h, claim, &t, err)) return false;
    while (t.n > room)
        if (!unlock(h, &t, t.shards[t.n - 1], err)) return false;
    return own(h, &t, gained, n_gained, err);
}

/* One that was stopped, or hangs, holds its shards as long as its session lives: so that ends. Should it come to again,
 * it has lost its connection, as at any other time. */
static bool end_stuck(struct hot *h, const struct hot_claim *claim, struct err *err)
{
    char class[16], age[24];
    if (claim->grace_us <= 0) return true;
    snprintf(class, sizeof class, "%d", LOCK_PRESENT);
    snprintf(age, sizeof age, "%lld", (long long)(claim->grace_us > STUCK_US ? claim->grace_us : STUCK_US));
    const char *const params[] = {class, age};
    PGresult *res = NULL;
    if (!hot_query(h, Q_HOT_STUCK, params, 2, &res, err)) return false;
    PQclear(res);
    return true;
}

bool hot_balance(struct hot *h, const struct hot_claim *claim, uint16_t *gained, size_t *n_gained, uint16_t *lost,
                 size_t *n_lost, struct err *err)
{
    *n_gained = *n_lost = 0;
    if (h->conn == NULL) return err_set(err, ERR_UNAVAILABLE, "not connected to the database");
    size_t share = 0;
    if (!acquire_mine(h, claim, gained, n_gained, err) || !end_stuck(h, claim, err) || !fair_share(h, &share, err))
        return false;
    if (h->owned < share) return acquire(h, claim, share - h->owned, gained, n_gained, err);
    size_t surplus = h->owned - share;
    for (uint32_t s = RUN_SHARDS; s-- > 0 && surplus > 0;) {
        if (h->epoch[s] == 0) continue;
        lost[(*n_lost)++] = (uint16_t)s;
        surplus--;
    }
    return true;
}

bool hot_release(struct hot *h, uint16_t shard, struct err *err)
{
    char class[16], number[16];
    snprintf(class, sizeof class, "%d", LOCK_SHARD);
    snprintf(number, sizeof number, "%d", shard);
    const char *const params[] = {class, number};
    PGresult *res = NULL;
    if (!hot_query(h, Q_HOT_SHARD_UNLOCK, params, 2, &res, err)) return false;
    PQclear(res);
    if (h->epoch[shard] != 0) h->owned--;
    h->epoch[shard] = 0;
    buf_reset(&h->shards_text);
    return true;
}

/* ---- the turn's transaction ---- */

static void fill_fence(struct hot *h, struct batch *b)
{
    for (uint32_t s = 0; s < RUN_SHARDS; s++) {
        if (h->epoch[s] == 0) continue;
        batch_row(b, BATCH_FENCE);
        batch_int(b, BATCH_FENCE, s);
        batch_int(b, BATCH_FENCE, h->epoch[s]);
    }
}

static bool send_table(struct hot *h, struct batch *b, enum batch_table t)
{
    const char *values[BATCH_MAX_COLUMNS];
    int lengths[BATCH_MAX_COLUMNS], formats[BATCH_MAX_COLUMNS];
    int n = (int)strlen(batch_tables[t].types);
    for (int c = 0; c < n; c++) {
        struct str array = batch_array(b, t, (uint32_t)c);
        values[c] = array.p;
        lengths[c] = (int)array.n;
        formats[c] = 1;
    }
    return PQsendQueryPrepared(h->conn, queries[batch_tables[t].query].name, n, values, lengths, formats, 0) == 1;
}

/* Reads answers up to the Sync; the first failure wins. */
static bool drain(struct hot *h, struct err *err)
{
    bool ok = true;
    for (;;) {
        PGresult *res = PQgetResult(h->conn);
        if (res == NULL) { /* end of one statement's answer, or of the connection */
            if (PQstatus(h->conn) == CONNECTION_OK) continue;
            if (ok) answer_error(h, NULL, "flush", err);
            return false;
        }
        ExecStatusType status = PQresultStatus(res);
        bool sync = status == PGRES_PIPELINE_SYNC;
        bool good = sync || status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
        if (!good && ok) {
            ok = false;
            if (status != PGRES_PIPELINE_ABORTED) answer_error(h, res, "flush", err);
        }
        PQclear(res);
        if (h->conn == NULL || sync) return ok;
    }
}

bool hot_flush(struct hot *h, struct batch *b, struct err *err)
{
    if (h->conn == NULL) return err_set(err, ERR_UNAVAILABLE, "not connected to the database");
    fill_fence(h, b);
    for (int t = 0; t < BATCH_TABLES; t++)
        if (b->tables[t].n > 0 && !prepare(h, batch_tables[t].query, err)) return false;
    bool sent = PQenterPipelineMode(h->conn) == 1;
    for (int t = 0; sent && t < BATCH_TABLES; t++)
        if (b->tables[t].n > 0) sent = send_table(h, b, (enum batch_table)t);
    if (!sent || PQpipelineSync(h->conn) != 1) {
        err_set(err, ERR_UNAVAILABLE, "cannot write to the database: %s", PQerrorMessage(h->conn));
        hot_close(h);
        return false;
    }
    bool ok = drain(h, err);
    if (h->conn != NULL && PQexitPipelineMode(h->conn) != 1) {
        if (ok) err_set(err, ERR_UNAVAILABLE, "the database connection is out of step: %s", PQerrorMessage(h->conn));
        hot_close(h);
        return false;
    }
    return ok;
}
