/* Headers, path and query of a request. See request.h; bodies are in body.c. */
#include "api/request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/routes.h"
#include "engine/store/turns.h"

#define MAX_ARGS 64

const char *request_header(const struct request *rq, const char *name)
{
    for (size_t i = 0; i < rq->n_headers; i++)
        if (strcasecmp(rq->headers[i].name, name) == 0) return rq->headers[i].value;
    return NULL;
}

bool request_accepts(const struct request *rq, const char *type)
{
    const char *accept = request_header(rq, "Accept");
    return accept && strcasestr(accept, type) != NULL;
}

bool request_decode(struct arena *a, struct str s, bool plus, struct str *out)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+' && plus) c = ' ';
        if (c == '%') {
            int high = i + 1 < s.n ? hex_digit(s.p[i + 1]) : -1;
            int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') return false;
        p[n++] = c;
    }
    *out = (struct str){p, n};
    return utf8_valid(*out, NULL);
}

bool request_parse_query(struct request *rq, struct err *err)
{
    rq->args = arena_array(rq->arena, struct query_arg, MAX_ARGS);
    struct str rest = rq->query, piece;
    while (rest.n && str_split(&rest, '&', &piece)) {
        if (piece.n == 0) continue;
        if (rq->n_args == MAX_ARGS) return err_set(err, ERR_SYNTAX, "more than %d query parameters", MAX_ARGS);
        struct query_arg *arg = &rq->args[rq->n_args++];
        struct str name, value = piece;
        str_split(&value, '=', &name);
        if (name.n == piece.n) value = (struct str){"", 0};
        if (!request_decode(rq->arena, name, true, &arg->name) ||
            !request_decode(rq->arena, value, true, &arg->value)) {
            err_set(err, ERR_SYNTAX, "the query has a bad %%-escape or is not UTF-8");
            return err_path(err, "query.%.*s", STR_ARG(str_sub(name, 0, 60)));
        }
    }
    return true;
}

bool request_arg(struct request *rq, const char *name, struct str *out)
{
    for (size_t i = 0; i < rq->n_args; i++) {
        if (!str_is(rq->args[i].name, name)) continue;
        rq->args[i].used = true;
        *out = rq->args[i].value;
        return true;
    }
    return false;
}

bool request_arg_int(struct request *rq, const char *name, int64_t min, int64_t max, int64_t absent, int64_t *out,
                     struct err *err)
{
    struct str text;
    *out = absent;
    if (!request_arg(rq, name, &text)) return true;
    int64_t i;
    if (!str_int(text, &i) || i < min || i > max) {
        err_set(err, ERR_INVALID, "%s must be a whole number from %lld to %lld, not '%.*s'", name, (long long)min,
                (long long)max, STR_ARG(str_sub(text, 0, 60)));
        return err_path(err, "query.%s", name);
    }
    *out = i;
    return true;
}

bool request_arg_bool(struct request *rq, const char *name, bool *out, struct err *err)
{
    struct str text;
    *out = false;
    if (!request_arg(rq, name, &text)) return true;
    if (str_is(text, "true") || str_is(text, "1") || text.n == 0) {
        *out = true;
        return true;
    }
    if (str_is(text, "false") || str_is(text, "0")) return true;
    err_set(err, ERR_INVALID, "%s must be true or false, not '%.*s'", name, STR_ARG(str_sub(text, 0, 60)));
    return err_path(err, "query.%s", name);
}

bool request_args_known(struct request *rq, const char *const *names, struct err *err)
{
    struct str known[32];
    size_t n = 0;
    for (; n < 32 && names[n]; n++)
        known[n] = str_of(names[n]);
    for (size_t i = 0; i < rq->n_args; i++) {
        struct str name = rq->args[i].name;
        bool found = rq->args[i].used;
        for (size_t k = 0; k < n && !found; k++)
            found = str_eq(known[k], name);
        if (found) continue;
        err_set(err, ERR_INVALID, "unknown query parameter '%.*s'", STR_ARG(str_sub(name, 0, 60)));
        err_path(err, "query.%.*s", STR_ARG(str_sub(name, 0, 60)));
        struct str near = suggest(name, known, n);
        if (near.n) return err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
        return false;
    }
    return true;
}

bool request_segment_id(const struct request *rq, size_t i, const char *what, int64_t *out, struct err *err)
{
    if (str_int(rq->segments[i], out) && *out >= 1) return true;
    err_set(err, ERR_NOT_FOUND, "there is no %s '%.*s'", what, STR_ARG(str_sub(rq->segments[i], 0, 80)));
    return err_hint(err, "%s %s is named by its number", what[0] == 'a' ? "an" : "a", what);
}

bool request_db(struct request *rq, struct conn **out, struct err *err)
{
    if (!rq->api->cfg.db) return err_set(err, ERR_UNAVAILABLE, "this server has no database");
    if (!rq->lease && !db_lease(rq->api->cfg.db, &rq->lease, err)) return false;
    *out = rq->lease;
    return true;
}

void request_release(struct request *rq)
{
    if (rq->turn) turn_end(rq->lease);
    rq->turn = false;
    db_return(rq->lease);
    rq->lease = NULL;
}
