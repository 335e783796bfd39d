/* Lists of runs: which fields they have, and how an index serves each. */
#include "engine/store/runs_read.h"
#include "engine/store/search.h"

#include <string.h>

#define RETRY_PENDING "5" /* an active run in a final state: RUN_SUCCEEDED, RUN_FAILED or RUN_CANCELLED */

/* The first `labels.KEY = value` is a walk along an index of run_labels, whose run_id then stands for the run's id in
 * bounds and order. It has the run's state, too, and whether it is archived. */
static const struct search_term *walked_label(const struct search *s)
{
    for (size_t i = 0; i < s->n_terms; i++) {
        const struct search_term *t = &s->terms[i];
        if (t->key.n > 0 && str_starts(t->field, "labels.") && t->n_values == 1 && strcmp(t->op, "=") == 0) return t;
    }
    return NULL;
}

/* The state of an active run is in the narrow table, that of a finished one in runs: each word knows where to look. */
static bool by_state(struct search *s, const struct search_term *t, struct err *err)
{
    struct str known[RUN_STATE_COUNT];
    size_t n = 0;
    for (int i = RUN_QUEUED; i < RUN_STATE_COUNT; i++)
        known[n++] = str_of(run_state_name((enum run_state)i));
    known[n++] = STR("active");
    char of = walked_label(s) ? 'l' : 'r';
    bool negate = strcmp(t->op, "!=") == 0;
    if (!negate && strcmp(t->op, "=") != 0)
        return err_set(err, ERR_INVALID, "a state can only be = or != or in a list");
    buf_printf(&s->where, " AND %s(", negate ? "NOT " : "");
    for (size_t i = 0; i < t->n_values; i++) {
        size_t k = 0;
        while (k < n && !str_eq(known[k], t->values[i]))
            k++;
        if (k == n) {
            struct str near = suggest(t->values[i], known, n);
            err_set(err, ERR_INVALID, "there is no state '%.*s'", STR_ARG(t->values[i]));
            if (near.n) return err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
            return err_hint(err, "active, queued, running, paused, cancelling, succeeded, failed or cancelled");
        }
        if (i) buf_c(&s->where, " OR ");
        int state = (int)k + RUN_QUEUED;
        if (k == n - 1)
            buf_printf(&s->where, "%c.state = 0", of);
        else if (run_state_terminal((enum run_state)state))
            buf_printf(&s->where, "%c.state = %d", of, state);
        else
            buf_printf(&s->where, "(%c.state = 0 AND (a.state = %d%s))", of, state,
                       state == RUN_QUEUED ? " OR a.state >= " RETRY_PENDING : "");
    }
    return buf_char(&s->where, ')');
}

/* Any other label is looked up in the JSON. */
static bool by_label(struct search *s, const struct search_term *t, struct err *err)
{
    if (s->params.n + (int)t->n_values + 4 > PARAMS_MAX)
        return err_set(err, ERR_LIMIT, "the filter has too many values");
    params_str(&s->params, t->key);
    int key = search_param(s);
    if (t == walked_label(s)) {
        params_str(&s->params, t->values[0]);
        buf_c(&s->join, " JOIN run_labels l ON l.run_id = r.id");
        return buf_printf(&s->where, " AND l.project_id = $1::bigint AND l.key = $%d::text AND l.value = $%d::text",
                          key, search_param(s));
    }
    s->slow = true;
    struct str column = arena_printf(s->arena, "(r.labels ->> $%d::text)", key);
    return search_compare(s, column.p, SEARCH_TEXT, t, err);
}

/* Each index has archived runs apart: a search through both kinds has none that gives it in order. */
static bool by_archived(struct search *s, const struct search_term *t, struct err *err)
{
    if (t->n_values != 1 || strcmp(t->op, "=") != 0) s->slow = true;
    return search_compare(s, "r.archived", SEARCH_BOOL, t, err) &&
           (!walked_label(s) || search_compare(s, "l.archived", SEARCH_BOOL, t, err));
}

/* Ids rise with the time of creation, to within the slack: the last run that is older than a time by more has a lower
 * id than any from that time on. So a bound of the time bounds the ids, and any index by id. */
#define SLACK "interval '1 minute'"

static bool by_created(struct search *s, const struct search_term *t, struct err *err)
{
    if (!search_compare(s, "(r.created_at + interval '0')", SEARCH_TIME, t, err)) return false;
    if (t->n_values != 1) return true;
    int at = search_param(s);
    if (t->op[0] == '>' || t->op[0] == '=')
        buf_printf(&s->where,
                   " AND %s > coalesce((SELECT x.id FROM runs x WHERE x.project_id = $1::bigint AND x.created_at < "
                   "$%d::timestamptz - " SLACK " ORDER BY x.created_at DESC, x.id DESC LIMIT 1), 0)",
                   s->id, at);
    if (t->op[0] == '<' || t->op[0] == '=')
        buf_printf(&s->where,
                   " AND %s < coalesce((SELECT x.id FROM runs x WHERE x.project_id = $1::bigint AND x.created_at > "
                   "$%d::timestamptz + " SLACK " ORDER BY x.created_at, x.id LIMIT 1), 9223372036854775807)",
                   s->id, at);
    return true;
}

#define STARTED "coalesce(r.started_at, a.started_at)"

static const struct search_field fields[] = {
    {"state", NULL, SEARCH_CUSTOM, "r.state", false, true, by_state},
    {"pipeline", NULL, SEARCH_TEXT, "r.pipeline", true, true, NULL},
    {"created", "createdAt", SEARCH_TIME, "r.created_at", true, true, by_created},
    {"ended", "endedAt", SEARCH_TIME, "r.ended_at", true, true, NULL},
    {"started", "startedAt", SEARCH_TIME, STARTED, true, false, NULL},
    {"name", NULL, SEARCH_TEXT, "r.name", true, false, NULL},
    {"created_by", "createdBy", SEARCH_TEXT, "r.created_by", true, false, NULL},
    {"version", "pipelineVersion", SEARCH_INT, "r.pipeline_version", true, false, NULL},
    {"archived", NULL, SEARCH_BOOL, "r.archived", false, true, by_archived},
    {"id", NULL, SEARCH_INT, "r.id", true, true, NULL},
    {"labels.", NULL, SEARCH_CUSTOM, "r.labels", false, true, by_label},
};

static const struct search_list list = {
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .columns = "r.id, r.project_id, r.plan_id, coalesce(r.cloned_from, 0), r.created_at, coalesce(r.started_at, "
               "a.started_at), "
               "r.ended_at, coalesce(r.pipeline_version, 0), r.pipeline, r.name, r.bundle_digest, r.created_by, "
               "r.params, r.labels, "
               "r.options, coalesce(a.state, r.state), coalesce(a.stop, 0::smallint), r.message, r.outputs, a.waiting, "
               "r.tasks_total, "
               "r.tasks_failed, a.generation, r.archived",
    .from = "runs r LEFT JOIN active_runs a ON a.run_id = r.id",
    .id = "r.id",
    .default_order = "created desc",
    .id_order = "created",
};

/* An index has a label, or a label and one state, in the order of ids. */
static bool label_is_slow(const struct search *s)
{
    const struct search_term *state = search_term_of(s, "state");
    bool in_order = strcmp(s->order->name, "created") == 0 || strcmp(s->order->name, "id") == 0;
    return search_term_of(s, "pipeline") || (state && (state->n_values != 1 || !in_order));
}

static bool ask(struct search *s, struct conn *c, const struct runs_search *q, PGresult **res, size_t *n,
                struct str *next, struct err *err)
{
    params_int(&s->params, q->project_id); /* $1: the conditions above rely on it */
    buf_c(&s->where, " AND r.project_id = $1::bigint");
    if (walked_label(s)) s->id = "l.run_id";
    if (walked_label(s) && label_is_slow(s)) s->slow = true;
    if (!search_term_of(s, "archived"))
        buf_c(&s->where, walked_label(s) ? " AND NOT l.archived AND NOT r.archived" : " AND NOT r.archived");
    return search_run(s, c, res, n, next, err);
}

bool runs_list(struct conn *c, const struct runs_search *q, struct arena *a, struct run_rec **out, size_t *n,
               struct str *next, struct err *err)
{
    struct search s;
    struct search_request request = {q->filter, q->order_by, q->page_token, q->page_size};
    RESULT_AUTO res = NULL;
    size_t count = 0;
    bool ok = search_begin(&s, &list, &request, a, err) && ask(&s, c, q, &res, &count, next, err);
    search_end(&s);
    if (!ok) return false;
    struct run_rec *rows = arena_array(a, struct run_rec, count + 1);
    for (size_t i = 0; i < count; i++)
        runs_read(res, (int)i, a, &rows[i]);
    *out = rows;
    *n = count;
    return true;
}
