/* HTTP calls, cache look-ups and imports in worker threads. See chores.h. */
#include "scheduler/chores.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/jsonw.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/egress.h"
#include "engine/os/secret.h"
#include "engine/os/worker.h"
#include "engine/store/artifacts.h"
#include "engine/text/json.h"
#include "scheduler/launching.h"

#define LOOKUP_THREADS 4
#define CALL_THREADS 24 /* a slow call holds one until its timeout: apart, so that no look-up waits for it */
#define QUOTE_BYTES 200 /* of an answer that was not expected, in the failure's message */
#define MADE_MAX 10000  /* artifacts of a task whose result is taken from the cache */
#define ANSWER_MAX ((size_t)256 << 10) /* of an HTTP step: it becomes an output */

enum pool { LOOKUPS, CALLS, POOLS };

struct chores {
    struct workers *pools[POOLS];
    _Atomic bool stopping;
    const struct scheduler_config *cfg;
};

struct chore {
    struct job job; /* first */
    struct chores *owner;
    struct arena arena;
    enum effect_kind kind;
    struct attempt_id id;
    int64_t project_id;
    struct egress_request http;
    const int32_t *expect; /* the plan's: it outlives the chore only while the run does, so copied */
    size_t n_expect;
    struct mask secrets;  /* among its headers */
    struct str uri, type; /* of an import... */
    struct str imported;  /* ...and the digest it found */
    struct str key;       /* of the cache */
    struct task_result result;
    struct str cached;             /* outputs of the hit, empty = miss */
    struct exec_output *artifacts; /* among these */
    size_t n_artifacts;
};

static void chore_free(struct job *job)
{
    struct chore *c = (struct chore *)(void *)job;
    arena_free(&c->arena);
    free(c);
}

/* ---- in the worker thread ---- */

static void fail(struct chore *c, enum failure failure, const struct err *err)
{
    struct str hint = err->hint[0] != '\0' ? arena_printf(&c->arena, " (%s)", err->hint) : STR("");
    c->result.ok = false;
    c->result.failure = failure;
    c->result.message = arena_printf(&c->arena, "%s%.*s", err->message, STR_ARG(hint));
}

static bool expected(const struct chore *c, long status)
{
    if (c->n_expect == 0) return status >= 200 && status < 300;
    for (size_t i = 0; i < c->n_expect; i++)
        if (c->expect[i] == status) return true;
    return false;
}

static struct str printable(struct str body)
{
    body = utf8_sub(body, body.n);
    const void *nul = memchr(body.p, '\0', body.n);
    if (nul != NULL) body.n = (size_t)((const char *)nul - body.p);
    return body;
}

static void do_http(struct chore *c)
{
    struct egress_response answer = {0};
    struct err err = {0};
    if (!egress_call(&c->http, &c->arena, &answer, &err)) {
        enum failure f = err.code == ERR_TIMEOUT                                ? FAILURE_TIMEOUT
                         : err.code == ERR_FORBIDDEN || err.code == ERR_INVALID ? FAILURE_INVALID
                                                                                : FAILURE_ERROR;
        fail(c, f, &err);
        return;
    }
    char *bytes = arena_cstr(&c->arena, answer.body);
    mask_forms(&c->secrets, &c->arena);
    mask_sort(&c->secrets);
    /* Some answer with what they were sent, in JSON, which expressions read. */
    mask_cover_escaped(&c->secrets, bytes, answer.body.n);
    struct str body = printable((struct str){bytes, answer.body.n});
    if (!expected(c, answer.status)) {
        struct str begin = printable(str_sub(body, 0, QUOTE_BYTES));
        c->result.failure = FAILURE_ERROR;
        c->result.message =
            arena_printf(&c->arena, "%.*s answered %ld: %.*s", STR_ARG(c->http.url), answer.status, STR_ARG(begin));
        return;
    }
    BUF_AUTO text;
    struct jsonw w;
    buf_init(&text, 0);
    jsonw_to_buf(&w, &text);
    jsonw_object(&w);
    jsonw_kv_int(&w, "status", answer.status);
    jsonw_kv_str(&w, "body", body);
    jsonw_object_end(&w);
    c->result.ok = jsonw_end(&w);
    c->result.outputs = arena_str(&c->arena, buf_view(&text));
}

static void import_output(struct chore *c, struct str digest, int64_t size, bool folder)
{
    BUF_AUTO text;
    struct jsonw w;
    buf_init(&text, 0);
    jsonw_to_buf(&w, &text);
    jsonw_object(&w);
    jsonw_key(&w, "artifact");
    jsonw_object(&w);
    jsonw_kv_str(&w, "artifact", c->type);
    jsonw_kv_str(&w, "digest", digest);
    jsonw_kv_int(&w, "size", size);
    jsonw_kv_str(&w, "uri", c->uri);
    if (folder) jsonw_kv_bool(&w, "folder", true);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    c->result.ok = jsonw_end(&w);
    c->result.outputs = arena_str(&c->arena, buf_view(&text));
    c->imported = digest;
}

/* "sha256:…" names bytes of the project, "artifact:ID" a record of it. */
static bool import_find(struct chore *c, struct conn *conn, struct str *digest, int64_t *size, bool *folder,
                        struct err *err)
{
    int64_t number;
    if (str_starts(c->uri, "artifact:")) {
        struct artifact_rec rec;
        if (!str_int(str_sub(c->uri, 9, c->uri.n), &number))
            return err_set(err, ERR_INVALID, "'%.*s' is not artifact:NUMBER", STR_ARG(c->uri));
        if (!artifacts_get(conn, c->project_id, number, &c->arena, &rec, err)) return false;
        struct value metadata;
        const struct value *packed =
            json_parse(&c->arena, rec.metadata, 0, &metadata, err) ? value_get(&metadata, "folder") : NULL;
        *digest = rec.digest;
        *size = rec.size;
        *folder = packed && packed->type == VALUE_BOOL && packed->u.b;
        if (str_is(c->type, "artifact")) c->type = rec.type; /* none was asked for */
        return true;
    }
    *digest = c->uri;
    if (digest_valid(c->uri))
        return blobs_get(conn, c->project_id, c->uri, size, err) &&
               artifacts_folder(conn, c->project_id, c->uri, folder, err);
    err_set(err, ERR_INVALID, "'%.*s' cannot be imported", STR_ARG(c->uri));
    return err_hint(err, "sha256:… of something uploaded to this project, or artifact:NUMBER");
}

static void do_import(struct chore *c, struct conn *conn)
{
    struct err err = {0};
    struct str digest;
    int64_t size = 0;
    bool folder = false;
    if (import_find(c, conn, &digest, &size, &folder, &err))
        import_output(c, digest, size, folder);
    else
        fail(c, err.code == ERR_UNAVAILABLE ? FAILURE_INFRA : FAILURE_INVALID, &err);
}

/* What was said of the artifact when it was made, at last. */
static struct str told_of(const struct exec_output *o, const struct artifact_rec *made, size_t n, bool folder)
{
    for (size_t i = n; i-- > 0;)
        if (str_eq(made[i].name, o->name) && str_eq(made[i].digest, o->digest)) return made[i].metadata;
    return folder ? STR("{\"folder\": true}") : STR("{}");
}

/* The artifacts among a step's outputs: they are this run's as well, and live as long as it does. */
static void note_artifacts(struct chore *c, const struct value *outputs, const struct artifact_rec *made, size_t n)
{
    c->artifacts = arena_array(&c->arena, struct exec_output, outputs->u.map.n + 1);
    for (size_t i = 0; i < outputs->u.map.n; i++) {
        const struct value_entry *e = &outputs->u.map.entries[i];
        if (!value_is_artifact(&e->value)) continue;
        const struct value *size = value_get(&e->value, "size"), *folder = value_get(&e->value, "folder");
        struct exec_output *o = &c->artifacts[c->n_artifacts++];
        *o = (struct exec_output){
            .name = e->key,
            .type = value_get(&e->value, "artifact")->u.s,
            .digest = value_get(&e->value, "digest")->u.s,
            .size = size && size->type == VALUE_INT ? size->u.i : 0,
        };
        o->metadata = told_of(o, made, n, folder != NULL);
    }
}

/* A hit counts only while everything it names is still there, and will be when it is recorded. */
static bool all_there(struct chore *c, struct conn *conn, const struct value *v)
{
    struct err err = {0};
    const struct value *digest = value_is_artifact(v) ? value_get(v, "digest") : NULL;
    if (digest != NULL && digest->type == VALUE_STRING) return blobs_keep(conn, c->project_id, digest->u.s, &err);
    for (size_t i = 0; v->type == VALUE_LIST && i < v->u.list.n; i++)
        if (!all_there(c, conn, &v->u.list.items[i])) return false;
    for (size_t i = 0; v->type == VALUE_MAP && i < v->u.map.n; i++)
        if (!all_there(c, conn, &v->u.map.entries[i].value)) return false;
    return true;
}

/* Anything wrong with the cache is a miss: the step runs. */
static void do_cache(struct chore *c, struct conn *conn)
{
    struct err err = {0};
    struct params p;
    struct value outputs;
    RESULT_AUTO res = NULL;
    params_init(&p, &c->arena);
    params_int(&p, c->project_id);
    params_str(&p, c->key);
    if (!conn_query(conn, Q_HOT_CACHE_GET, &p, &res, &err) || PQntuples(res) == 0) return;
    struct str text = row_copy(res, 0, 0, &c->arena);
    if (!json_reload(&c->arena, text, &outputs, &err) || outputs.type != VALUE_MAP || !all_there(c, conn, &outputs))
        return;
    struct artifact_rec *made;
    size_t n;
    if (!artifacts_of_run(conn, row_int(res, 0, 1), (int32_t)row_int(res, 0, 2), 0, MADE_MAX, &c->arena, &made, &n,
                          &err))
        return;
    c->cached = text;
    note_artifacts(c, &outputs, made, n);
}

static void run_chore(struct job *job)
{
    struct chore *c = (struct chore *)(void *)job;
    struct err err = {0};
    c->result.started_us = os_now_us();
    if (c->kind == EFFECT_HTTP) {
        do_http(c);
    } else {
        CONN_AUTO conn = NULL;
        if (c->owner->cfg->db == NULL || !db_lease(c->owner->cfg->db, &conn, &err))
            fail(c, FAILURE_INFRA, &err);
        else if (c->kind == EFFECT_IMPORT)
            do_import(c, conn);
        else
            do_cache(c, conn);
    }
    c->result.ended_us = os_now_us();
}

/* ---- in the scheduler's thread ---- */

bool chores_new(const struct scheduler_config *cfg, struct chores **out, struct err *err)
{
    struct chores *c = calloc(1, sizeof *c);
    if (c == NULL) abort();
    c->cfg = cfg;
    if (!workers_new(LOOKUP_THREADS, &c->pools[LOOKUPS], err) || !workers_new(CALL_THREADS, &c->pools[CALLS], err)) {
        chores_free(c);
        return false;
    }
    *out = c;
    return true;
}

void chores_free(struct chores *c)
{
    if (c == NULL) return;
    c->stopping = true;
    for (int i = 0; i < POOLS; i++)
        workers_free(c->pools[i], chore_free);
    free(c);
}

void chores_fds(const struct chores *c, int fds[CHORES_FDS])
{
    _Static_assert(POOLS == CHORES_FDS, "a descriptor a pool");
    for (int i = 0; i < POOLS; i++)
        fds[i] = workers_fd(c->pools[i]);
}

static struct chore *chore_new(struct chores *owner, const struct live *l, const struct effect *e)
{
    struct chore *c = calloc(1, sizeof *c);
    if (c == NULL) abort();
    arena_init(&c->arena, 0);
    c->job.run = run_chore;
    c->owner = owner;
    c->kind = e->kind;
    c->id = core_attempt(l, e->task, e->attempt);
    c->project_id = l->project_id;
    c->result.exit_code = -1;
    return c;
}

/* A template that does not evaluate: the step's own fault, told as a result like any other. */
static void chore_refused(struct chore *c, struct scheduler *s, const struct err *err)
{
    core_refuse(s, c->id, err);
    chore_free(&c->job);
}

static struct str plain_text(struct chore *c, const struct value *v)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    if (v->type == VALUE_STRING)
        buf_str(&text, v->u.s);
    else if (v->type != VALUE_NULL)
        value_json(&text, v, false);
    return arena_str(&c->arena, buf_view(&text));
}

static bool text_of(struct chore *c, const struct expr_env *env, const struct expr_template *t, const char *field,
                    struct str *out, struct err *err)
{
    struct value v = value_null();
    if (t->source.n > 0 && !expr_template_eval(t, env, &c->arena, &v, err)) return err_path(err, "%s", field);
    *out = plain_text(c, &v);
    return true;
}

/* With what it is to be announced as; empty when there is none. */
static bool fill_body(struct chore *c, const struct expr_env *env, const struct expr_template *t, struct str *type,
                      struct err *err)
{
    struct value v = value_null();
    if (t->source.n > 0 && !expr_template_eval(t, env, &c->arena, &v, err)) return err_path(err, "http.body");
    c->http.body = plain_text(c, &v);
    *type = v.type == VALUE_MAP || v.type == VALUE_LIST ? STR("application/json")
            : v.type == VALUE_NULL                      ? STR("")
                                                        : STR("text/plain; charset=utf-8");
    return true;
}

static bool fill_headers(struct chore *c, const struct scheduler *s, const struct live *l, const struct expr_env *env,
                         const struct http_call *call, struct str type, struct err *err)
{
    struct egress_header *headers = arena_array(&c->arena, struct egress_header, call->n_headers + 2);
    for (size_t i = 0; i < call->n_headers; i++) {
        const struct env_var *h = &call->headers[i];
        headers[i].name = arena_str(&c->arena, h->name);
        struct secret_ref secret = h->secret;
        struct value v;
        if (h->secret_param && expr_template_eval(&h->value, env, &c->arena, &v, err)) launch_secret(h, &v, &secret);
        bool ok = secret.source == SECRET_NONE ? text_of(c, env, &h->value, "http.headers", &headers[i].value, err)
                                               : launch_secret_here(&secret, err) &&
                                                     secret_fetch(s->cfg.secrets_dir, run_head(l->run)->project,
                                                                  secret.name, &c->arena, &headers[i].value, err);
        if (!ok) return err_path(err, "http.headers.%.*s", STR_ARG(h->name));
        if (secret.source != SECRET_NONE) mask_add(&c->secrets, &c->arena, headers[i].value);
        if (strcasecmp(headers[i].name.p, "Content-Type") == 0) type.n = 0;
    }
    /* So that the other side can tell a repeated call from a new one. */
    headers[call->n_headers] = (struct egress_header){
        STR("Idempotency-Key"), arena_printf(&c->arena, "millrace-%lld-%u-%u-%lld", (long long)c->id.run, c->id.task,
                                             c->id.attempt, (long long)c->id.made_us)};
    c->http.headers = headers;
    c->http.n_headers = call->n_headers + 1;
    if (type.n > 0) headers[c->http.n_headers++] = (struct egress_header){STR("Content-Type"), type};
    return true;
}

/* Of two limits, of which 0 is none. */
static int64_t shorter(int64_t a, int64_t b)
{
    return a > 0 && (b <= 0 || a < b) ? a : b;
}

void chores_http(struct chores *owner, struct scheduler *s, struct live *l, const struct effect *e)
{
    struct chore *c = chore_new(owner, l, e);
    const struct node *n = run_task_node(l->run, e->task);
    const struct http_call *call = n->http;
    struct err err = {0};
    struct expr_env env;
    struct str type = STR("");
    run_task_env(l->run, e->task, &env, &s->arena);
    int32_t *expect = arena_array(&c->arena, int32_t, call->n_expect + 1);
    if (call->n_expect > 0) memcpy(expect, call->expect, call->n_expect * sizeof *expect);
    c->expect = expect;
    c->n_expect = call->n_expect;
    c->http.timeout_ms = shorter(call->timeout_ms, n->timeout_ms);
    c->http.max_bytes = ANSWER_MAX;
    c->http.stop = &owner->stopping;
    c->http.allow_private = s->cfg.allow_private_egress;
    bool ok = text_of(c, &env, &call->method, "http.method", &c->http.method, &err) &&
              text_of(c, &env, &call->url, "http.url", &c->http.url, &err) &&
              fill_body(c, &env, &call->body, &type, &err) && fill_headers(c, s, l, &env, call, type, &err);
    s->effects_cost += *env.spent;
    if (!ok) {
        chore_refused(c, s, &err);
        return;
    }
    if (c->http.method.n == 0) c->http.method = c->http.body.n > 0 ? STR("POST") : STR("GET");
    workers_add(owner->pools[CALLS], &c->job);
}

void chores_import(struct chores *owner, struct scheduler *s, struct live *l, const struct effect *e)
{
    struct chore *c = chore_new(owner, l, e);
    const struct node *n = run_task_node(l->run, e->task);
    struct err err = {0};
    struct expr_env env;
    run_task_env(l->run, e->task, &env, &s->arena);
    c->type = arena_str(&c->arena, n->import_type);
    bool ok = text_of(c, &env, &n->import_uri, "import.uri", &c->uri, &err);
    s->effects_cost += *env.spent;
    if (!ok) {
        chore_refused(c, s, &err);
        return;
    }
    workers_add(owner->pools[LOOKUPS], &c->job);
}

void chores_cache(struct chores *owner, struct scheduler *s, struct live *l, const struct effect *e)
{
    struct chore *c = chore_new(owner, l, e);
    struct err err = {0};
    struct str key;
    /* Without a key there is no hit; the start of the step will say what is wrong. */
    if (s->cfg.executor != NULL && launching_cache_key(s, l, e->task, &key, &err)) c->key = arena_str(&c->arena, key);
    workers_add(owner->pools[LOOKUPS], &c->job);
}

static void hear_pool(struct workers *pool, struct scheduler *s)
{
    for (struct job *job; hear_more(s) && (job = workers_take(pool)) != NULL; chore_free(job)) {
        struct chore *c = (struct chore *)(void *)job;
        struct live *l = core_run_of(s, c->id);
        if (l == NULL) continue;
        if (c->kind != EFFECT_CACHE) {
            if (hear_result(s, c->id, &c->result) && c->imported.n > 0)
                record_use(s, l, c->id, STR("import"), c->imported);
        } else if (run_cache_answer(l->run, c->id.task, c->cached, s->now_us, core_touch(s, l))) {
            for (size_t i = 0; i < c->n_artifacts; i++)
                record_artifact(s, l, c->id, &c->artifacts[i]);
        }
    }
}

void chores_hear(struct chores *owner, struct scheduler *s)
{
    for (int i = 0; i < POOLS; i++)
        hear_pool(owner->pools[i], s);
}
