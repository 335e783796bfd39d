/* Tokens, roles, projects, and the guard against foreign web pages. See auth.h. */
#include "api/auth.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/routes.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/log.h"
#include "engine/os/step_token.h"
#include "engine/store/settings.h"
#include "engine/store/tasks.h"
#include "engine/store/tokens.h"

#define TOKEN_MAX 200

/* ---- Host and Origin ---- */

/* The host of "host:port", "[::1]:port" or "host"; false when it is not one. */
static bool host_of(struct str authority, struct str *host)
{
    size_t at, end = 0;
    if (authority.n && authority.p[0] == '[') {
        if (!str_find(authority, STR("]"), &at)) return false;
        *host = str_sub(authority, 1, at - 1);
        end = at + 1;
    } else {
        while (end < authority.n && authority.p[end] != ':')
            end++;
        *host = str_sub(authority, 0, end);
    }
    if (host->n == 0 || end == authority.n) return host->n > 0;
    if (authority.p[end] != ':') return false;
    for (size_t i = end + 1; i < authority.n; i++)
        if (authority.p[i] < '0' || authority.p[i] > '9') return false;
    return true;
}

static bool is_address(struct str host)
{
    char text[64];
    if (host.n >= sizeof text) return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    unsigned char bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static bool same_name(struct str a, struct str b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

/* An address cannot be rebound, "localhost" is this machine; other names only when an administrator gave them. */
static bool host_known(const struct api *api, struct str host)
{
    if (is_address(host) || same_name(host, STR("localhost"))) return true;
    if (!api->cfg.hosts || !*api->cfg.hosts) return !api->loopback;
    struct str rest = str_of(api->cfg.hosts), name;
    while (str_split(&rest, ',', &name))
        if (same_name(str_trim(name), host)) return true;
    return false;
}

bool auth_guard(const struct request *rq, struct err *err)
{
    const char *host_header = request_header(rq, "Host");
    struct str host;
    if (!host_header) {
        if (!rq->http11) return true;
        return err_set(err, ERR_SYNTAX, "the Host header is missing");
    }
    if (!host_of(str_of(host_header), &host) || !host_known(rq->api, host)) {
        err_set(err, ERR_FORBIDDEN, "this server is not known as '%.*s'", STR_ARG(str_sub(str_of(host_header), 0, 80)));
        err_path(err, "Host");
        return err_hint(err, "use its address, or start it with that name in --hosts");
    }
    const char *origin = request_header(rq, "Origin");
    if (!origin) return true;
    struct str from = str_of(origin);
    size_t at;
    if (str_find(from, STR("://"), &at) && same_name(str_sub(from, at + 3, from.n), str_of(host_header))) return true;
    err_set(err, ERR_FORBIDDEN, "requests from the page '%.*s' are refused", STR_ARG(str_sub(from, 0, 80)));
    return err_path(err, "Origin");
}

/* ---- tokens ---- */

static bool no_token(struct err *err, const char *message)
{
    err_set(err, ERR_UNAUTHENTICATED, "%s", message);
    err_path(err, "Authorization");
    return err_hint(err,
                    "send 'Authorization: Bearer TOKEN'; the first token is in the file 'token' of the data folder");
}

/* A step's token is good for its run, as long as its attempt is the current one. */
static bool check_step(struct request *rq, struct str text, struct err *err)
{
    struct step_claim t;
    if (!rq->api->step_key.n || !step_token_read(text, rq->api->step_key, &t))
        return no_token(err, "the token is not known");
    struct conn *c;
    struct task_rec task;
    struct run_rec run;
    if (!request_db(rq, &c, err)) return false;
    if (!runs_get(c, 0, t.run, rq->arena, &run, err) || !tasks_get(c, t.run, (int32_t)t.task, rq->arena, &task, err)) {
        if (err->code == ERR_NOT_FOUND) return no_token(err, "the token's run is gone");
        return false;
    }
    if (run.created_us != t.made_us) return no_token(err, "the token's run is gone");
    if (task.attempt != (int32_t)t.attempt || (task.state != TASK_RUNNING && task.state != TASK_STOPPING))
        return no_token(err, "the token's attempt has ended");
    rq->who = (struct identity){.name = arena_printf(rq->arena, "step:%lld/%u/%u", (long long)t.run, t.task, t.attempt),
                                .role = ROLE_VIEWER,
                                .project = run.project_id,
                                .run = t.run,
                                .task = t.task,
                                .attempt = t.attempt};
    int64_t asked;
    bool names_run = strstr(rq->route->pattern, "{run}") != NULL;
    if (rq->route->step && (!names_run || (str_int(rq->segments[0], &asked) && asked == t.run))) return true;
    err_set(err, ERR_FORBIDDEN, "a step's token is for its own run only");
    return err_hint(err, "give the step a token of its own as a secret");
}

static bool check_stored(struct request *rq, struct str text, struct err *err)
{
    unsigned char hash[DIGEST_BYTES];
    digest_raw(text, hash);
    struct conn *c;
    struct token_rec token;
    if (!request_db(rq, &c, err)) return false;
    if (!tokens_find(c, hash, rq->arena, &token, err)) {
        if (err->code == ERR_UNAUTHENTICATED || err->code == ERR_NOT_FOUND)
            return no_token(err, "the token is not known or has expired");
        return false;
    }
    rq->who = (struct identity){.name = token.name, .project = token.project_id};
    if (!role_parse(token.role, &rq->who.role)) return err_set(err, ERR_INTERNAL, "the token has an unknown role");
    return auth_role(rq, rq->route->role, rq->route->summary, err);
}

bool auth_role(const struct request *rq, enum role least, const char *what, struct err *err)
{
    if (rq->who.role >= least) return true;
    err_set(err, ERR_FORBIDDEN, "the token's role %s is not enough", role_name(rq->who.role));
    return err_hint(err, "'%s' needs the role %s", what, role_name(least));
}

bool auth_check(struct request *rq, struct err *err)
{
    if (rq->route->role == ROLE_NONE || rq->health_only) return true;
    if (rq->vouched) return auth_role(rq, rq->route->role, rq->route->summary, err);
    const char *header = request_header(rq, "Authorization");
    if (!header) return no_token(err, "a token is needed");
    if (strncasecmp(header, "Bearer ", 7) != 0) return no_token(err, "only bearer tokens are understood");
    struct str text = str_trim(str_of(header + 7));
    if (text.n == 0 || text.n > TOKEN_MAX) return no_token(err, "the token is not known or has expired");
    return str_starts(text, STEP_TOKEN_PREFIX) ? check_step(rq, text, err) : check_stored(rq, text, err);
}

bool auth_project(struct request *rq, struct str named, struct scope *out, struct str *name, struct err *err)
{
    struct conn *c;
    struct str wanted;
    struct project project;
    if (!request_db(rq, &c, err)) return false;
    bool asked = request_arg(rq, "project", &wanted);
    if (asked && named.n && !str_eq(wanted, named)) {
        err_set(err, ERR_INVALID, "the document is for the project '%.*s', the request for '%.*s'", STR_ARG(named),
                STR_ARG(str_sub(wanted, 0, 80)));
        return err_path(err, "project");
    }
    if (!asked) wanted = named;
    if (wanted.n == 0 && rq->who.project) {
        if (!projects_get_id(c, rq->who.project, rq->arena, &project, err)) return false;
    } else {
        if (wanted.n == 0) wanted = STR("default");
        if (!projects_get(c, wanted, rq->arena, &project, err)) {
            if (err->code != ERR_NOT_FOUND) return false;
            err_path(err, asked && !named.n ? "query.project" : "project");
            return err->hint[0] ? false : err_hint(err, "GET /api/v1/projects lists them");
        }
        if (rq->who.project && project.id != rq->who.project) {
            err_set(err, ERR_FORBIDDEN, "the token is not for the project '%.*s'", STR_ARG(project.name));
            return err_path(err, named.n ? "project" : "query.project");
        }
    }
    *out = (struct scope){.project_id = project.id, .actor = rq->who.name};
    if (name) *name = project.name;
    return true;
}

/* ---- at start ---- */

void auth_token_make(char out[AUTH_TOKEN_TEXT])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[43];
    os_random(bytes, sizeof bytes);
    memcpy(out, "mr_", 3);
    for (size_t i = 0; i < sizeof bytes; i++)
        out[3 + i] = digits[bytes[i] & 63];
    out[3 + sizeof bytes] = '\0';
}

static bool load_step_key(struct api *api, struct conn *c, struct arena *a, struct err *err)
{
    unsigned char fresh[32];
    char hex[2 * sizeof fresh + 1];
    struct str stored = api->cfg.step_key;
    os_random(fresh, sizeof fresh);
    digest_hex(fresh, sizeof fresh, hex);
    if (stored.n == 0 && !settings_get_or_make(c, STR(API_STEP_KEY_SETTING), str_of(hex), a, &stored, err))
        return false;
    if (stored.n > sizeof api->step_key_bytes) return err_set(err, ERR_INVALID, "the key of step tokens is too long");
    memcpy(api->step_key_bytes, stored.p, stored.n);
    api->step_key = (struct str){api->step_key_bytes, stored.n};
    return true;
}

/* ---- the first token ---- */

struct first {
    struct arena *a;
    struct str text;
    bool known;   /* it is good */
    bool revoked; /* it was known once */
};

/* The database remembers every token that a file ever made known, so that one who was revoked stays so. */
static bool know_tx(struct conn *c, void *ctx, struct err *err)
{
    struct first *f = ctx;
    struct token_rec token;
    unsigned char hash[DIGEST_BYTES], fresh[16];
    char hex[2 * DIGEST_BYTES + 1], mark[2 * sizeof fresh + 1];
    struct str was;
    digest_raw(f->text, hash);
    digest_hex(hash, sizeof hash, hex);
    os_random(fresh, sizeof fresh);
    digest_hex(fresh, sizeof fresh, mark);
    if (!settings_get_or_make(c, arena_printf(f->a, "first_token:%s", hex), str_of(mark), f->a, &was, err))
        return false;
    f->known = tokens_find(c, hash, f->a, &token, err);
    f->revoked = false;
    if (f->known) return true;
    if (err->code != ERR_UNAUTHENTICATED && err->code != ERR_NOT_FOUND) return false;
    err_clear(err);
    f->revoked = !str_is(was, mark);
    if (f->revoked) return true;
    token = (struct token_rec){.name = STR("admin"), .role = STR("admin"), .created_by = STR("millrace")};
    int64_t id;
    f->known = tokens_create(c, hash, &token, &id, err);
    return f->known;
}

static bool make_file(struct first *f, const char *path, struct err *err)
{
    char made[AUTH_TOKEN_TEXT], line[AUTH_TOKEN_TEXT + 1];
    auth_token_make(made);
    f->text = arena_str(f->a, str_of(made));
    snprintf(line, sizeof line, "%s\n", made);
    if (!fs_write(path, str_of(line), 0600, true, err)) return false;
    log_info("wrote an administrator's token", LOG_CSTR("file", path));
    return true;
}

/* The file's token works: it is made when there is no file, and made known when the database is new. One that was
 * revoked is left so, unless nobody could manage tokens any more. */
static bool first_token(struct api *api, struct conn *c, struct arena *a, struct err *err)
{
    char path[FS_PATH_MAX];
    int64_t admins;
    struct first f = {.a = a};
    if (!fs_path(path, err, "%s/token", api->cfg.data_dir)) return false;
    BUF_AUTO file;
    buf_init(&file, 0);
    if (fs_read(path, 4096, &file, err)) {
        f.text = str_trim(buf_view(&file));
    } else if (err->code != ERR_NOT_FOUND || !make_file(&f, path, err)) {
        return false;
    }
    if (f.text.n < 20 || f.text.n > TOKEN_MAX) {
        err_set(err, ERR_INVALID, "%s holds no token of 20 to %d characters", path, TOKEN_MAX);
        return err_hint(err, "remove the file, and a new token is made; of a cluster's Secret it is: "
                             "mr_$(openssl rand -hex 24)");
    }
    if (!conn_tx(c, know_tx, &f, err)) return false;
    if (!f.revoked) return true;
    if (!tokens_admins(c, &admins, err)) return false;
    if (admins > 0) {
        log_warn("the token in the file was revoked", LOG_CSTR("file", path));
        return true;
    }
    log_warn("no administrator's token is left: a new one is made", LOG_CSTR("file", path));
    return make_file(&f, path, err) && conn_tx(c, know_tx, &f, err);
}

bool auth_start(struct api *api, struct err *err)
{
    if (!api->cfg.db) return true;
    CONN_AUTO c = NULL;
    struct arena a;
    arena_init(&a, 0);
    bool ok = db_lease(api->cfg.db, &c, err) && load_step_key(api, c, &a, err) &&
              (!api->cfg.data_dir || first_token(api, c, &a, err));
    arena_free(&a);
    return ok;
}
