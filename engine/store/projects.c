/* Projects by name and id. */
#include "engine/store/projects.h"

static void read_project(const PGresult *res, int row, struct arena *a, struct project *out)
{
    *out = (struct project){.id = row_int(res, row, 0),
                            .name = row_copy(res, row, 1, a),
                            .created_us = row_time(res, row, 2),
                            .created_by = row_copy(res, row, 3, a)};
}

static bool did_you_mean(struct conn *c, struct str name, struct arena *a, struct err *err)
{
    struct project *all;
    size_t n;
    struct err ignored;
    err_set(err, ERR_NOT_FOUND, "there is no project '%.*s'", STR_ARG(name));
    if (!projects_list(c, str_of(""), 500, a, &all, &n, &ignored)) return false;
    struct str *names = arena_array(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        names[i] = all[i].name;
    struct str near = suggest(name, names, n);
    return near.n ? err_hint(err, "did you mean '%.*s'?", STR_ARG(near)) : false;
}

bool projects_get(struct conn *c, struct str name, struct arena *a, struct project *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_str(&p, name);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PROJECT_GET, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return did_you_mean(c, name, a, err);
    read_project(res, 0, a, out);
    return true;
}

bool projects_get_id(struct conn *c, int64_t id, struct arena *a, struct project *out, struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_int(&p, id);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PROJECT_GET_ID, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return err_set(err, ERR_NOT_FOUND, "there is no project %lld", (long long)id);
    read_project(res, 0, a, out);
    return true;
}

bool projects_create(struct conn *c, struct str name, struct str actor, struct arena *a, struct project *out,
                     struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_str(&p, name);
    params_str(&p, actor);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PROJECT_CREATE, &p, &res, err)) return false;
    if (PQntuples(res) == 0) return err_set(err, ERR_CONFLICT, "there is a project '%.*s' already", STR_ARG(name));
    read_project(res, 0, a, out);
    return true;
}

bool projects_list(struct conn *c, struct str after, uint32_t limit, struct arena *a, struct project **out, size_t *n,
                   struct err *err)
{
    struct params p;
    params_init(&p, a);
    params_str(&p, after);
    params_int(&p, limit);
    RESULT_AUTO res = NULL;
    if (!conn_query(c, Q_PROJECT_LIST, &p, &res, err)) return false;
    size_t count = (size_t)PQntuples(res);
    struct project *rows = arena_array(a, struct project, count + 1);
    for (size_t i = 0; i < count; i++)
        read_project(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}
