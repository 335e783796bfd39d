/* How Millrace talks to any PostgreSQL: connection settings that notice a dead peer, and failures put into our words.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/store/db.h"

/* Given only where the user's DSN says nothing. Together they bound a silent partition to about 15 s. */
static const struct {
    const char *key, *value;
} defaults[] = {
    {"connect_timeout", "5"},         {"keepalives", "1"},       {"keepalives_idle", "10"},
    {"keepalives_interval", "3"},     {"keepalives_count", "3"}, {"tcp_user_timeout", "15000"},
    {"application_name", "millrace"},
};

static void add_pair(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "%s%s='", b->n ? " " : "", key);
    for (const char *p = value; *p; p++) {
        if (*p == '\'' || *p == '\\') buf_char(b, '\\');
        buf_char(b, *p);
    }
    buf_char(b, '\'');
}

static void add_defaults(struct buf *b, const PQconninfoOption *options)
{
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        bool given = false;
        for (const PQconninfoOption *o = options; o->keyword; o++)
            given |= o->val && strcmp(o->keyword, defaults[i].key) == 0;
        if (!given) add_pair(b, defaults[i].key, defaults[i].value);
    }
}

bool db_conninfo(struct str dsn, int64_t statement_timeout_ms, struct arena *a, struct str *out, struct err *err)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(arena_cstr(a, dsn), &message);
    if (!options) {
        /* the message may quote the DSN, and with it a password */
        PQfreemem(message);
        err_set(err, ERR_INVALID, "the database URL cannot be read");
        return err_hint(err, "write it like postgresql://user:password@host:5432/name");
    }
    BUF_AUTO b, session;
    buf_init(&b, 0);
    buf_init(&session, 0);
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (!o->val) continue;
        if (strcmp(o->keyword, "options") == 0)
            buf_printf(&session, "%s ", o->val);
        else if (strcmp(o->keyword, "client_encoding") != 0)
            add_pair(&b, o->keyword, o->val);
    }
    add_defaults(&b, options);
    PQconninfoFree(options);
    add_pair(&b, "client_encoding", "UTF8");
    buf_printf(&session,
               "-c jit=off -c timezone=UTC -c statement_timeout=%lld -c lock_timeout=10000"
               " -c idle_in_transaction_session_timeout=60000 -c client_min_messages=warning",
               (long long)(statement_timeout_ms ? statement_timeout_ms : 30000));
    add_pair(&b, "options", session.p);
    *out = arena_str(a, buf_view(&b));
    return true;
}

/* SQLSTATE by prefix, longest first where they overlap. */
static const struct {
    const char *state;
    enum err_code code;
    const char *message; /* NULL = the server's own */
    const char *hint;
} states[] = {
    {"57014", ERR_LIMIT, "the query took too long and was stopped",
     "narrow it by project, state, pipeline, label or time, and order by a time"},
    {"57P", ERR_UNAVAILABLE, "the database is restarting", "try again in a moment"},
    {"08", ERR_UNAVAILABLE, "the connection to the database was lost", "try again in a moment"},
    {"25P03", ERR_UNAVAILABLE, "the connection to the database was idle for too long", "try again"},
    {"53100", ERR_SPACE, "the database's disk is full", "free some space on it"},
    {"53", ERR_UNAVAILABLE, "the database is out of resources", "try again in a moment"},
    {"55P03", ERR_UNAVAILABLE, "somebody else holds what this needs", "try again in a moment"},
    {"40", ERR_UNAVAILABLE, "somebody else changed the same thing at the same time", "try again"},
    {"23505", ERR_CONFLICT, "it exists already", NULL},
    {"23503", ERR_CONFLICT, "something else still refers to it, or it refers to what is gone", NULL},
    {"22P05", ERR_INVALID, "a text has a character that cannot be stored", "remove \\u0000"},
    {"22021", ERR_INVALID, "a text is not valid UTF-8", NULL},
    {"22", ERR_INVALID, NULL, NULL},
    {"28", ERR_UNAVAILABLE, "the database refused to let us in", "check the user and password of the database URL"},
    {"3D000", ERR_UNAVAILABLE, "the database does not exist", "create it, or check the name in the database URL"},
};

#define WHERE_URL "--database-url (DATABASE_URL; of deploy/millrace.yaml, in the Secret millrace)"

/* Before there is a connection libpq gives no SQLSTATE, only words; those of a server that speaks another language than
 * English are taken for one that is away. */
static const struct {
    const char *words, *hint;
} away[] = {
    {"authentication failed", "check user, password and database in " WHERE_URL},
    {"no password supplied", "check user, password and database in " WHERE_URL},
    {"root certificate file", "check sslmode and sslrootcert in " WHERE_URL},
    {"certificate verify failed", "check sslmode and sslrootcert in " WHERE_URL},
    {"does not match host name", "check sslmode and the host's name in " WHERE_URL},
    {"does not support SSL", "check sslmode in " WHERE_URL},
    {"\" does not exist", "check user, password and database in " WHERE_URL},
    {"no pg_hba.conf entry", "check user, database and sslmode in " WHERE_URL ", or let the user in by pg_hba.conf"},
    {"could not translate host name", "check the host's name in " WHERE_URL},
    {"", "check that PostgreSQL runs; Millrace goes on as soon as it is back"},
};

bool db_away(struct err *err, const char *text)
{
    size_t i = 0;
    while (strstr(text, away[i].words) == NULL)
        i++;
    const char *line = strstr(text, away[i].words);
    while (line > text && line[-1] != '\n')
        line--;
    err_set(err, ERR_UNAVAILABLE, "the database cannot be reached: %.*s", (int)strcspn(line, "\n"), line);
    return err_hint(err, "%s", away[i].hint);
}

bool db_fail(struct err *err, const PGconn *pg, const PGresult *res)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *said = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (!state) {
        if (!pg || PQstatus(pg) != CONNECTION_OK) return db_away(err, pg ? PQerrorMessage(pg) : "out of memory");
        const char *text = PQerrorMessage(pg);
        return err_set(err, ERR_INTERNAL, "the database answered in a way that makes no sense: %.*s",
                       (int)strcspn(text, "\n"), text);
    }
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (strncmp(state, states[i].state, strlen(states[i].state)) != 0) continue;
        err_set(err, states[i].code, "%s", states[i].message ? states[i].message : said ? said : "bad value");
        return states[i].hint ? err_hint(err, "%s", states[i].hint) : false;
    }
    return err_set(err, ERR_INTERNAL, "the database refused a statement: %s (%s)", said ? said : "no reason given",
                   state);
}

bool db_repeatable(const PGresult *res)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    return state && (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0);
}
