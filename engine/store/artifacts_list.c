/* Lists of artifacts: which fields they have. */
#include "engine/store/artifacts_read.h"
#include "engine/store/search.h"

#include <string.h>

/* A number is held against numbers as one, anything else as text against texts; lists and maps are their JSON. */
static bool by_metadata(struct search *s, const struct search_term *t, struct err *err)
{
    if (s->params.n + (int)t->n_values + 4 > PARAMS_MAX)
        return err_set(err, ERR_LIMIT, "the filter has too many values");
    params_str(&s->params, t->key);
    int key = search_param(s);
    double number;
    struct str text = arena_printf(s->arena, "(r.metadata ->> $%d::text)", key);
    if (t->n_values != 1 || t->op[0] == '~' || !str_double(t->values[0], &number))
        return search_compare(s, text.p, SEARCH_TEXT, t, err);
    bool equal = t->op[0] == '=', differ = strcmp(t->op, "!=") == 0;
    buf_printf(&s->where, " AND CASE WHEN jsonb_typeof(r.metadata -> $%d::text) = 'number'", key);
    params_double(&s->params, number);
    buf_printf(&s->where, " THEN %s::float8 %s $%d::float8", text.p, differ ? "<>" : t->op, search_param(s));
    if (!equal && !differ) return buf_c(&s->where, " ELSE false END");
    params_str(&s->params, t->values[0]);
    return buf_printf(&s->where, " ELSE %s %s $%d::text END", text.p, equal ? "=" : "IS DISTINCT FROM",
                      search_param(s));
}

static const struct search_field fields[] = {
    {"run", NULL, SEARCH_INT, "r.run_id", false, true, NULL},
    {"task", NULL, SEARCH_INT, "r.task", false, false, NULL},
    {"digest", NULL, SEARCH_TEXT, "r.digest", false, true, NULL},
    {"name", NULL, SEARCH_TEXT, "r.name", true, false, NULL},
    {"type", NULL, SEARCH_TEXT, "r.type", false, false, NULL},
    {"size", NULL, SEARCH_INT, "r.size", true, false, NULL},
    {"created", "createdAt", SEARCH_TIME, "r.created_at", true, true, NULL},
    {"created_by", "createdBy", SEARCH_TEXT, "r.created_by", false, false, NULL},
    {"id", NULL, SEARCH_INT, "r.id", true, true, NULL},
    {"metadata.", NULL, SEARCH_CUSTOM, NULL, false, false, by_metadata},
};

static const struct search_list list = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .columns = "r.id, r.project_id, r.run_id, r.task, r.attempt, r.name, r.type, r.digest, r.size, r.metadata, "
               "r.created_at, r.created_by, "
               "coalesce((SELECT t.path FROM tasks t WHERE t.run_id = r.run_id AND t.task = r.task), '')",
    .from = "artifacts r",
    .id = "r.id",
    .default_order = "created desc",
    .id_order = "created",
};

bool artifacts_list(struct conn *c, const struct artifacts_search *q, struct arena *a, struct artifact_rec **out,
                    size_t *n, struct str *next, struct err *err)
{
    struct search s;
    struct search_request request = {q->filter, q->order_by, q->page_token, q->page_size};
    RESULT_AUTO res = NULL;
    size_t count = 0;
    bool ok = search_begin(&s, &list, &request, a, err);
    if (ok) {
        params_int(&s.params, q->project_id);
        buf_c(&s.where, " AND r.project_id = $1::bigint");
        ok = search_run(&s, c, &res, &count, next, err);
    }
    search_end(&s);
    if (!ok) return false;
    struct artifact_rec *rows = arena_array(a, struct artifact_rec, count + 1);
    for (size_t i = 0; i < count; i++) {
        artifacts_read(res, (int)i, a, &rows[i]);
        rows[i].path = row_copy(res, (int)i, 12, a);
    }
    *out = rows;
    *n = count;
    return true;
}
