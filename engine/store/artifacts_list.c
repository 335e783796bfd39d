/* Lists of artifacts: which fields they have. */
#include "engine/store/artifacts_read.h"
#include "engine/store/search.h"

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
};

static const struct search_list list = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .select = "SELECT r.id, r.project_id, r.run_id, r.task, r.attempt, r.name, r.type, r.digest, r.size, r.metadata, "
              "r.created_at, r.created_by FROM artifacts r",
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
    for (size_t i = 0; i < count; i++)
        artifacts_read(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}
