/* The order in which a request is judged: what is cheap and refuses most comes first. See dispatch.h. */
#include "api/dispatch.h"

#include <string.h>
#include <strings.h>

#include "api/auth.h"
#include "api/head.h"
#include "api/precondition.h"
#include "api/routes.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/log.h"
#include "engine/store/commands.h"
#include "engine/store/idempotency.h"

#define KEY_MAX 128

static void name_request(struct request *rq)
{
    const char *given = request_header(rq, "X-Request-Id");
    size_t n = given ? strlen(given) : 0;
    if (n > 0 && n < sizeof rq->id &&
        strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == n) {
        memcpy(rq->id, given, n + 1);
        return;
    }
    unsigned char bytes[12];
    os_random(bytes, sizeof bytes);
    digest_hex(bytes, sizeof bytes, rq->id);
}

/* Each word of the parameter's list must be one of `choices`; both are comma-separated. */
static bool check_words(struct request *rq, const char *name, struct str choices, struct err *err)
{
    struct str given, word, known[32], rest = choices;
    size_t n = 0;
    if (!request_arg(rq, name, &given) || given.n == 0) return true;
    while (n < 32 && str_split(&rest, ',', &known[n]))
        n++;
    while (str_split(&given, ',', &word)) {
        bool found = false;
        for (size_t i = 0; i < n && !found; i++)
            found = str_eq(known[i], str_trim(word));
        if (found) continue;
        err_set(err, ERR_INVALID, "%s: there is no '%.*s'; known are %.*s", name, STR_ARG(str_sub(word, 0, 60)),
                STR_ARG(choices));
        err_path(err, "query.%s", name);
        struct str near = suggest(str_trim(word), known, n);
        return near.n ? err_hint(err, "did you mean '%.*s'?", STR_ARG(near)) : false;
    }
    return true;
}

static bool check_query(struct request *rq, struct err *err)
{
    const char *names[16] = {NULL};
    struct str lists[16], rest = str_of(rq->route->query), name;
    size_t n = 0;
    while (str_split(&rest, ' ', &name) && n < 15) {
        lists[n] = name;
        if (str_split(&lists[n], '=', &name) && name.n) names[n++] = arena_cstr(rq->arena, name);
    }
    bool ok = request_args_known(rq, names, err);
    for (size_t i = 0; i < n && ok; i++)
        ok = lists[i].n == 0 || check_words(rq, names[i], lists[i], err);
    return ok;
}

static bool check_type(struct request *rq, struct err *err)
{
    static const char as_json[] = "send JSON with -H 'Content-Type: application/json', as curl has it";
    enum body_kind kind;
    const char *packed = request_header(rq, "Content-Encoding");
    if (packed && rq->content_length != 0 && strcasecmp(packed, "identity") != 0) {
        err_set(err, ERR_MEDIA_TYPE, "bodies packed with '%.40s' are not understood", packed);
        err_path(err, "Content-Encoding");
        return err_hint(err, "send it as it is");
    }
    bool known = request_body_kind(rq, &kind, err), fits = false;
    const char *hint = "this request takes no body";
    switch (rq->route->body) {
    case ROUTE_EMPTY: fits = rq->content_length == 0 || known; break;
    case ROUTE_JSON: fits = known && kind == BODY_JSON, hint = as_json; break;
    case ROUTE_OPTIONAL:
        fits = rq->content_length == 0 || (known && (kind == BODY_JSON || kind == BODY_NONE));
        hint = as_json;
        break;
    case ROUTE_SOURCE:
        fits = known && (kind == BODY_JSON || kind == BODY_YAML);
        hint = "send YAML with -H 'Content-Type: application/yaml', as curl has it, or application/json";
        break;
    case ROUTE_BYTES:
        fits = known && kind == BODY_BYTES;
        hint = "send bytes with -H 'Content-Type: application/octet-stream', as curl has it";
        break;
    }
    if (fits) return true;
    if (known)
        err_set(err, ERR_MEDIA_TYPE,
                kind == BODY_NONE ? "the Content-Type header is missing" : "the body is of the wrong type");
    err_path(err, "Content-Type");
    return err_hint(err, "%s", hint);
}

/* Bodies are read before a connection to the database is leased: a slow client must not hold one. */
static bool read_body(struct request *rq, struct err *err)
{
    if (rq->route->body == ROUTE_BYTES) return true;
    if (rq->route->body == ROUTE_EMPTY) {
        if (rq->content_length == 0) return true;
        if (rq->content_length < 0) return true; /* an empty chunked body is drained later */
        return err_set(err, ERR_INVALID, "this request takes no body");
    }
    request_release(rq);
    return request_text(rq, &rq->body, err);
}

/* ---- creates: one transaction, and the same answer for the same key ---- */

static bool key_of(const struct request *rq, struct str *key, struct err *err)
{
    *key = str_of(request_header(rq, "Idempotency-Key"));
    if (key->n <= KEY_MAX && utf8_valid(*key, NULL)) return true;
    err_set(err, ERR_INVALID, "the key must be at most %d bytes of UTF-8", KEY_MAX);
    return err_path(err, "Idempotency-Key");
}

static void hash_request(const struct request *rq, char out[DIGEST_TEXT])
{
    struct digest_stream d;
    digest_begin(&d);
    const struct str parts[] = {rq->who.name, rq->method, rq->path, rq->query, rq->body};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        digest_add(&d, parts[i].p ? parts[i].p : "", parts[i].n);
        digest_add(&d, "", 1);
    }
    digest_end(&d, out);
}

static void replay(struct request *rq, const struct stored_answer *answer)
{
    response_begin(rq, answer->status, "application/json");
    if (answer->location.n) response_header(rq, "Location", "%.*s", STR_ARG(answer->location));
    response_header(rq, "Idempotent-Replayed", "true");
    response_add_str(rq, answer->body);
}

struct create {
    struct request *rq;
    struct scope scope;
    struct str key;
    char hash[DIGEST_TEXT];
    bool replayed;
};

static bool create_tx(struct conn *c, void *ctx, struct err *err)
{
    struct create *cr = ctx;
    struct request *rq = cr->rq;
    struct stored_answer answer;
    struct str hash = str_of(cr->hash);
    /* A transaction that is repeated builds its answer anew. */
    response_free(rq);
    response_init(rq);
    rq->res.whole = true;
    rq->hint = false;
    rq->errors.n = rq->errors.total = 0;
    if (cr->key.n) {
        if (!idempotency_begin(c, &cr->scope, cr->key, hash, rq->arena, &cr->replayed, &answer, err)) return false;
        if (cr->replayed) {
            replay(rq, &answer);
            return true;
        }
    }
    if (!rq->route->handler(rq, err)) return false;
    if (!response_settle(rq, err)) return false;
    if (!cr->key.n) return true;
    answer =
        (struct stored_answer){.status = rq->res.status, .location = rq->location, .body = buf_view(&rq->res.body)};
    return idempotency_store(c, &cr->scope, cr->key, hash, &answer, err);
}

static bool run_create(struct request *rq, struct err *err)
{
    struct create cr = {.rq = rq};
    struct conn *c;
    if (!key_of(rq, &cr.key, err) || !request_db(rq, &c, err)) return false;
    if (cr.key.n) {
        /* Keys are of a project; those of creates that name none are of the default one. */
        cr.scope = (struct scope){.project_id = rq->who.project, .actor = rq->who.name};
        if (!cr.scope.project_id && !auth_project(rq, (struct str){NULL, 0}, &cr.scope, NULL, err)) return false;
        hash_request(rq, cr.hash);
    }
    return conn_tx(c, create_tx, &cr, err);
}

static bool answer(struct request *rq, struct err *err)
{
    name_request(rq);
    if (!head_check(rq, err)) {
        rq->res.close = true; /* where the next request begins is anybody's guess */
        return false;
    }
    if (!rq->health_only && !auth_guard(rq, err)) return false;
    if (!route_find(rq, err)) return false;
    if (rq->health_only && strncmp(rq->route->pattern, "/api/", 5) == 0)
        return err_set(err, ERR_NOT_FOUND, "this port answers /healthz and /readyz only");
    if (!auth_check(rq, err)) return false;
    if (!request_parse_query(rq, err) || !check_query(rq, err)) return false;
    if (!check_type(rq, err) || !read_body(rq, err) || !precondition_check(rq, err)) return false;
    if (rq->route->idempotent) return run_create(rq, err);
    return rq->route->handler(rq, err);
}

static void log_answer(const struct request *rq, const struct err *err, int64_t took_us)
{
    enum log_level level = rq->res.status >= 500 ? LEVEL_WARN : LEVEL_DEBUG;
    if (level == LEVEL_DEBUG && !log_enabled(LEVEL_DEBUG)) return;
    log_write(level, "request", LOG_CSTR("request", rq->id), LOG_STR("method", rq->method), LOG_STR("path", rq->path),
              LOG_INT("status", rq->res.status), LOG_STR("by", rq->who.name), LOG_INT("us", took_us),
              LOG_CSTR("error", err->code ? err->message : ""), LOG_END);
}

/* After the commit. A lost wake-up only costs the scheduler's poll interval. */
static void wake_scheduler(struct request *rq)
{
    struct conn *c;
    struct err err;
    api_hint(rq->api);
    if (rq->api->cfg.notify && (!request_db(rq, &c, &err) || !commands_notify(c, &err)))
        log_err(LEVEL_DEBUG, "no notification", &err);
}

int dispatch(struct request *rq)
{
    int64_t began = os_mono_us();
    struct err err;
    err_clear(&err);
    response_init(rq);
    err_list_init(&rq->errors, rq->arena);
    bool ok = answer(rq, &err);
    if (ok) err_clear(&err);
    if (ok && rq->hint) wake_scheduler(rq);
    request_release(rq);
    if (ok && rq->arena->over) ok = err_set(&err, ERR_LIMIT, "the request needs too much memory");
    /* Whoever still sends is heard out for a moment, so that it gets to read the answer. */
    if (!ok && !rq->res.begun && !rq->res.close && !request_drain(rq)) rq->res.close = true;
    if (ok)
        response_finish(rq);
    else
        response_problem(rq, &err);
    if (rq->res.failed || (!rq->res.close && !request_drain(rq))) rq->res.close = true;
    int status = rq->res.status;
    log_answer(rq, &err, os_mono_us() - began);
    response_free(rq);
    return status;
}
