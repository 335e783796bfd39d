/* Projects and tokens: what an administrator sets up. */
#include <string.h>

#include "api/auth.h"
#include "api/emit.h"
#include "api/handlers.h"
#include "engine/base/units.h"
#include "engine/os/clock.h"
#include "engine/store/tokens.h"

#define LIST_MAX 1000

/* Names as pipelines have them too: a-z, 0-9, and . _ - inside. */
static bool check_name(struct str name, const char *path, struct err *err)
{
    bool ok = name.n > 0 && name.n <= 63;
    for (size_t i = 0; ok && i < name.n; i++) {
        char c = name.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        ok = plain || (i > 0 && i + 1 < name.n && (c == '-' || c == '_' || c == '.'));
    }
    if (ok) return true;
    err_set(err, ERR_INVALID, "'%.*s' is not a name", STR_ARG(str_sub(name, 0, 80)));
    err_path(err, "%s", path);
    return err_hint(err, "names have 1 to 63 of a-z, 0-9 and, inside, '.', '_', '-'");
}

/* ---- projects ---- */

static void write_project(struct jsonw *w, const struct project *p)
{
    struct emit e = {.w = w};
    jsonw_object(w);
    emit_str(&e, "name", p->name);
    emit_time(&e, "createdAt", p->created_us);
    emit_str(&e, "createdBy", p->created_by);
    jsonw_object_end(w);
}

bool projects_index(struct request *rq, struct err *err)
{
    struct conn *c;
    struct project *items, one;
    size_t n = 1;
    if (!request_db(rq, &c, err)) return false;
    if (rq->who.project) {
        if (!projects_get_id(c, rq->who.project, rq->arena, &one, err)) return false;
        items = &one;
    } else if (!projects_list(c, (struct str){"", 0}, LIST_MAX, rq->arena, &items, &n, err)) {
        return false;
    }
    struct jsonw *w = page_begin(rq);
    for (size_t i = 0; i < n; i++)
        write_project(w, &items[i]);
    page_end(rq, (struct str){NULL, 0});
    return true;
}

bool projects_post(struct request *rq, struct err *err)
{
    static const struct member members[] = {{"name", MEMBER_STRING, true}};
    struct value body;
    struct conn *c;
    struct project p;
    if (!request_json(rq, &body, err) || !request_members(&body, members, 1, err)) return false;
    struct str name = member_str(&body, "name");
    if (rq->who.project) return err_set(err, ERR_FORBIDDEN, "the token is for one project only");
    if (!check_name(name, "name", err)) return false;
    if (!request_db(rq, &c, err) || !projects_create(c, name, rq->who.name, rq->arena, &p, err)) return false;
    struct jsonw *w = response_json(rq, 201);
    write_project(w, &p);
    return true;
}

/* ---- tokens ---- */

static void write_token(struct jsonw *w, const struct token_rec *t, const char *secret)
{
    struct emit e = {.w = w};
    jsonw_object(w);
    emit_int(&e, "id", t->id);
    emit_str(&e, "name", t->name);
    emit_str(&e, "role", t->role);
    emit_str(&e, "project", t->project);
    emit_cstr(&e, "token", secret);
    emit_time(&e, "createdAt", t->created_us);
    emit_str(&e, "createdBy", t->created_by);
    emit_time(&e, "expiresAt", t->expires_us);
    jsonw_object_end(w);
}

/* An administrator of one project does not see, make or revoke what reaches beyond it. */
static bool all_projects(const struct request *rq, struct err *err)
{
    if (!rq->who.project) return true;
    return err_set(err, ERR_FORBIDDEN, "tokens are managed with a token of all projects");
}

bool tokens_index(struct request *rq, struct err *err)
{
    struct conn *c;
    struct token_rec *items;
    size_t n;
    if (!all_projects(rq, err) || !request_db(rq, &c, err)) return false;
    if (!tokens_list(c, 0, LIST_MAX, rq->arena, &items, &n, err)) return false;
    struct jsonw *w = page_begin(rq);
    for (size_t i = 0; i < n; i++)
        write_token(w, &items[i], NULL);
    page_end(rq, (struct str){NULL, 0});
    return true;
}

static bool read_token(struct request *rq, struct conn *c, const struct value *body, struct token_rec *t,
                       struct err *err)
{
    *t = (struct token_rec){.name = member_str(body, "name"),
                            .role = member_str(body, "role"),
                            .project = member_str(body, "project"),
                            .created_by = rq->who.name,
                            .created_us = os_now_us()};
    enum role role;
    if (!check_name(t->name, "name", err)) return false;
    if (!role_parse(t->role, &role)) {
        err_set(err, ERR_INVALID, "there is no role '%.*s'", STR_ARG(str_sub(t->role, 0, 60)));
        err_path(err, "role");
        return err_hint(err, "roles are viewer, operator, editor, admin");
    }
    struct project project;
    if (t->project.n) {
        if (!projects_get(c, t->project, rq->arena, &project, err)) return err_path(err, "project");
        t->project_id = project.id;
    }
    const struct value *ttl = value_get(body, "ttl");
    int64_t ms;
    if (!ttl || ttl->type == VALUE_NULL) return true;
    if (!units_duration(ttl, &ms, err)) return err_path(err, "ttl");
    t->expires_us = t->created_us + ms * 1000;
    return true;
}

bool tokens_post(struct request *rq, struct err *err)
{
    static const struct member members[] = {{"name", MEMBER_STRING, true},
                                            {"role", MEMBER_STRING, true},
                                            {"project", MEMBER_STRING, false},
                                            {"ttl", MEMBER_STRING, false}};
    struct value body;
    struct conn *c;
    struct token_rec t;
    if (!all_projects(rq, err) || !request_json(rq, &body, err) ||
        !request_members(&body, members, sizeof members / sizeof *members, err))
        return false;
    if (!request_db(rq, &c, err) || !read_token(rq, c, &body, &t, err)) return false;
    char secret[AUTH_TOKEN_TEXT];
    unsigned char hash[DIGEST_BYTES];
    auth_token_make(secret);
    digest_raw(str_of(secret), hash);
    if (!tokens_create(c, hash, &t, &t.id, err)) return false;
    write_token(response_json(rq, 201), &t, secret);
    return true;
}

bool tokens_remove(struct request *rq, struct err *err)
{
    struct conn *c;
    int64_t id;
    if (!all_projects(rq, err) || !request_segment_id(rq, 0, "token", &id, err)) return false;
    if (!request_db(rq, &c, err) || !tokens_delete(c, id, err)) return false;
    response_begin(rq, 204, NULL);
    return true;
}
