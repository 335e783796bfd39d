/* Lists of pipelines: which fields they have. */
#include "engine/store/pipelines.h"
#include "engine/store/search.h"

static const struct search_field fields[] = {
    {"name", NULL, SEARCH_TEXT, "r.name", true, true, NULL},
    {"description", NULL, SEARCH_TEXT, "r.description", false, false, NULL},
    {"version", NULL, SEARCH_INT, "r.latest_version", true, false, NULL},
    {"created", "createdAt", SEARCH_TIME, "r.created_at", true, false, NULL},
    {"created_by", "createdBy", SEARCH_TEXT, "r.created_by", false, false, NULL},
    {"updated", "updatedAt", SEARCH_TIME, "r.updated_at", true, false, NULL},
};

static const struct search_list list = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .columns = "r.id, r.name, r.description, r.latest_version, r.created_at, r.updated_at, r.created_by",
    .from = "pipelines r",
    .id = "r.id",
    .default_order = "name asc",
};

bool pipelines_list(struct conn *c, const struct pipelines_search *q, struct arena *a, struct pipeline_rec **out,
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
    struct pipeline_rec *rows = arena_array(a, struct pipeline_rec, count + 1);
    for (size_t i = 0; i < count; i++)
        pipelines_read(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}
