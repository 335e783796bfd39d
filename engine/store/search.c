/* From terms and an order to SQL, and from a page to its cursor. */
#include "engine/store/search.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/store/search_parse.h"

/* ---- fields ---- */

static bool names(const struct search_field *f, struct str name)
{
    if (f->name[strlen(f->name) - 1] == '.') return str_starts(name, f->name) && name.n > strlen(f->name);
    return str_is(name, f->name) || (f->alias && str_is(name, f->alias));
}

static const struct search_field *field_of(const struct search_list *list, struct str name)
{
    for (size_t i = 0; i < list->n_fields; i++)
        if (names(&list->fields[i], name)) return &list->fields[i];
    return NULL;
}

static bool no_field(const struct search_list *list, struct str name, bool order, struct err *err)
{
    struct str known[32];
    size_t n = 0;
    BUF_AUTO b;
    buf_init(&b, 0);
    for (size_t i = 0; i < list->n_fields && n < 32; i++) {
        if (order && !list->fields[i].order) continue;
        known[n++] = str_of(list->fields[i].name);
        bool dotted = str_ends(known[n - 1], ".");
        buf_printf(&b, "%s%s%s", b.n ? ", " : "", list->fields[i].name, dotted ? "KEY" : "");
    }
    struct str near = suggest(name, known, n);
    err_set(err, ERR_INVALID, order ? "cannot order by '%.*s'" : "there is no field '%.*s' to filter by",
            STR_ARG(name));
    return near.n ? err_hint(err, "did you mean '%.*s'?", STR_ARG(near))
                  : err_hint(err, "one of %.*s", STR_ARG(buf_view(&b)));
}

const struct search_term *search_term_of(const struct search *s, const char *field)
{
    for (size_t i = 0; i < s->n_terms; i++) {
        const struct search_field *f = field_of(s->list, s->terms[i].field);
        if (f && strcmp(f->name, field) == 0) return &s->terms[i];
    }
    return NULL;
}

/* ---- conditions ---- */

int search_param(struct search *s)
{
    return s->params.n;
}

static bool check_value(enum search_type type, struct str v, const char **cast, struct err *err)
{
    int64_t ignored;
    switch (type) {
    case SEARCH_INT:
        *cast = "bigint";
        if (str_int(v, &ignored)) return true;
        return err_set(err, ERR_INVALID, "'%.*s' is no whole number", STR_ARG(v));
    case SEARCH_TIME:
        *cast = "timestamptz";
        if (search_time(v, &ignored)) return true;
        err_set(err, ERR_INVALID, "'%.*s' is no time", STR_ARG(v));
        return err_hint(err, "write 2024-05-01 or 2024-05-01T12:00:00Z");
    case SEARCH_BOOL:
        *cast = "boolean";
        if (str_is(v, "true") || str_is(v, "false")) return true;
        return err_set(err, ERR_INVALID, "'%.*s' is neither true nor false", STR_ARG(v));
    case SEARCH_TEXT:
    case SEARCH_CUSTOM: *cast = "text"; return true;
    }
    return true;
}

static void push_value(struct search *s, enum search_type type, struct str v)
{
    int64_t us = 0;
    if (type == SEARCH_TIME && search_time(v, &us))
        params_time(&s->params, us ? us : 1);
    else
        params_str(&s->params, v);
}

bool search_compare(struct search *s, const char *column, enum search_type type, const struct search_term *t,
                    struct err *err)
{
    const char *cast = "text";
    for (size_t i = 0; i < t->n_values; i++) {
        if (check_value(type, t->values[i], &cast, err)) continue;
        err_path(err, "filter");
        return err_at(err, t->value_at, (uint32_t)utf8_count(t->values[i]));
    }
    if (s->params.n + (int)t->n_values + 4 > PARAMS_MAX)
        return err_set(err, ERR_LIMIT, "the filter has too many values");
    if (t->op[0] == '~') {
        if (type != SEARCH_TEXT) {
            err_set(err, ERR_INVALID, "'~' is for texts; %.*s is none", STR_ARG(t->field));
            err_path(err, "filter");
            return err_at(err, t->at, (uint32_t)t->field.n);
        }
        params_str(&s->params, t->values[0]);
        s->slow = true;
        return buf_printf(&s->where, " AND strpos(lower(%s), lower($%d::text)) > 0", column, search_param(s));
    }
    if (t->n_values == 1) {
        push_value(s, type, t->values[0]);
        return buf_printf(&s->where, " AND %s %s $%d::%s", column,
                          strcmp(t->op, "!=") == 0 ? "IS DISTINCT FROM" : t->op, search_param(s), cast);
    }
    buf_printf(&s->where, " AND %s IN (", column);
    for (size_t i = 0; i < t->n_values; i++) {
        push_value(s, type, t->values[i]);
        buf_printf(&s->where, "%s$%d::%s", i ? ", " : "", search_param(s), cast);
    }
    return buf_char(&s->where, ')');
}

static bool add_term(struct search *s, const struct search_term *t, struct err *err)
{
    const struct search_field *f = field_of(s->list, t->field);
    if (!f) {
        no_field(s->list, t->field, false, err);
        err_path(err, "filter");
        return err_at(err, t->at, (uint32_t)utf8_count(t->field));
    }
    if (!f->fast || strcmp(t->op, "!=") == 0) s->slow = true;
    if (f->custom) {
        if (f->custom(s, t, err)) return true;
        err_path(err, "filter");
        return err_at(err, t->value_at, t->n_values ? (uint32_t)utf8_count(t->values[0]) : 1);
    }
    return search_compare(s, f->sql, f->type, t, err);
}

static bool parse_order(struct search *s, struct str text, struct err *err)
{
    struct str rest = str_trim(text.n > 0 ? text : str_of(s->list->default_order)), name, way = str_of("");
    if (str_split(&rest, ' ', &name)) way = str_trim(rest);
    s->order = field_of(s->list, name);
    if (!s->order || !s->order->order) {
        no_field(s->list, name, true, err);
        return err_path(err, "order_by");
    }
    s->descending = str_is(way, "desc");
    if (way.n > 0 && !s->descending && !str_is(way, "asc")) {
        err_set(err, ERR_INVALID, "'%.*s' is no direction", STR_ARG(way));
        err_path(err, "order_by");
        return err_hint(err, "asc or desc");
    }
    if (!s->order->fast) s->slow = true;
    return true;
}

bool search_begin(struct search *s, const struct search_list *list, const struct search_request *q, struct arena *a,
                  struct err *err)
{
    *s = (struct search){.list = list,
                         .id = list->id,
                         .arena = a,
                         .page_size = q->page_size ? q->page_size : 50,
                         .page_token = q->page_token};
    buf_init(&s->where, 0);
    buf_init(&s->join, 0);
    params_init(&s->params, a);
    s->hash = (str_hash(str_of(list->from)) * 31 + str_hash(q->filter)) * 31 + str_hash(q->order_by);
    if (s->page_size > 1000) {
        err_set(err, ERR_INVALID, "a page has at most 1000 rows");
        return err_path(err, "page_size");
    }
    return parse_order(s, q->order_by, err) && search_parse(q->filter, a, &s->terms, &s->n_terms, err);
}

void search_end(struct search *s)
{
    buf_free(&s->where);
    buf_free(&s->join);
}

/* ---- pages ---- */

static bool by_id(const struct search *s)
{
    return strcmp(s->order->sql, s->list->id) == 0 ||
           (s->list->id_order && strcmp(s->order->name, s->list->id_order) == 0);
}

static bool bad_token(struct err *err)
{
    err_set(err, ERR_INVALID, "the page token does not fit this list");
    err_path(err, "page_token");
    return err_hint(err, "use next_page_token with the filter and order it came from, or begin anew without it");
}

/* "<hash>.<id>.<key in hex>" */
static bool add_cursor(struct search *s, struct err *err)
{
    if (s->page_token.n == 0) return true;
    struct str rest = s->page_token, hash, id, key;
    int64_t number;
    if (!str_split(&rest, '.', &hash) || !str_split(&rest, '.', &id)) return bad_token(err);
    key = rest;
    struct str wanted = arena_printf(s->arena, "%08" PRIx64, s->hash & 0xffffffff);
    if (!str_eq(hash, wanted) || !str_int(id, &number) || key.n % 2 != 0) return bad_token(err);
    char op = s->descending ? '<' : '>';
    params_int(&s->params, number);
    int id_param = search_param(s);
    if (by_id(s)) {
        buf_printf(&s->where, " AND %s %c $%d::bigint", s->id, op, id_param);
        return true;
    }
    char *text = arena_alloc(s->arena, key.n / 2 + 1);
    for (size_t i = 0; i < key.n / 2; i++) {
        char two[3] = {key.p[2 * i], key.p[2 * i + 1], 0}, *end;
        text[i] = (char)strtoul(two, &end, 16);
        if (*end) return bad_token(err);
    }
    params_str(&s->params, (struct str){text, key.n / 2});
    static const char *const casts[] = {[SEARCH_TEXT] = "text",
                                        [SEARCH_INT] = "bigint",
                                        [SEARCH_TIME] = "timestamptz",
                                        [SEARCH_BOOL] = "boolean",
                                        [SEARCH_CUSTOM] = "text"};
    buf_printf(&s->where, " AND (%s, %s) %c ($%d::%s, $%d::bigint)", s->order->sql, s->list->id, op, search_param(s),
               casts[s->order->type], id_param);
    return true;
}

static struct str cursor_of(struct search *s, const PGresult *res, int row)
{
    struct str key = by_id(s) ? str_of("") : row_str(res, row, PQnfields(res) - 1);
    BUF_AUTO b;
    buf_init(&b, 0);
    buf_printf(&b, "%08" PRIx64 ".%" PRId64 ".", s->hash & 0xffffffff, row_int(res, row, 0));
    for (size_t i = 0; i < key.n; i++)
        buf_printf(&b, "%02x", (unsigned char)key.p[i]);
    return arena_str(s->arena, buf_view(&b));
}

static void write_sql(struct search *s, struct buf *sql)
{
    const char *way = s->descending ? "DESC" : "ASC";
    /* The key travels as text, so that the cursor can hold any type. */
    buf_printf(sql, "SELECT %s, %s::text FROM %s%s WHERE true%.*s", s->list->columns, s->order->sql, s->list->from,
               s->join.n ? s->join.p : "", STR_ARG(buf_view(&s->where)));
    if (by_id(s)) {
        buf_printf(sql, " ORDER BY %s %s", s->id, way);
    } else {
        buf_printf(sql, " AND %s IS NOT NULL ORDER BY %s %s, %s %s", s->order->sql, s->order->sql, way, s->list->id,
                   way);
    }
    buf_printf(sql, " LIMIT %u", s->page_size + 1);
}

static bool explain_slow(const struct search *s, struct err *err)
{
    if (err->code != ERR_LIMIT) return false;
    err_set(err, ERR_LIMIT, "the search took longer than 2 s and was stopped");
    return err_hint(err, s->slow
                             ? "order by created or ended, and filter by state, pipeline, a label or a range of time"
                             : "narrow it by a range of time");
}

bool search_run(struct search *s, struct conn *c, PGresult **out, size_t *n, struct str *next, struct err *err)
{
    for (size_t i = 0; i < s->n_terms; i++)
        if (!add_term(s, &s->terms[i], err)) return false;
    if (!add_cursor(s, err)) return false;
    BUF_AUTO sql;
    buf_init(&sql, 0);
    write_sql(s, &sql);
    PGresult *res = NULL;
    if (!conn_begin(c, err)) return false;
    /* Served by an index, rows come in order and the limit ends it early; a plan that gathers and sorts looks cheap
     * only because the planner cannot see the bounds, and so guesses that next to nothing lies between them. */
    const char *limits = s->slow ? "SET LOCAL statement_timeout = 2000"
                                 : "SET LOCAL statement_timeout = 2000; SET LOCAL enable_bitmapscan = off;"
                                   "SET LOCAL enable_sort = off; SET LOCAL enable_hashjoin = off";
    if (!conn_do(c, limits, err) || !conn_sql(c, sql.p, &s->params, &res, err)) {
        conn_rollback(c);
        return explain_slow(s, err);
    }
    if (!conn_commit(c, err)) {
        PQclear(res);
        return false;
    }
    size_t rows = (size_t)PQntuples(res);
    *next = str_of("");
    if (rows > s->page_size) {
        rows = s->page_size;
        *next = cursor_of(s, res, (int)rows - 1);
    }
    *n = rows;
    *out = res;
    return true;
}
