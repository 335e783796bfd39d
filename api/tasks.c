/* Tasks of a run: rows of the store where there are any, the plan's nodes where not. */
#include <stdlib.h>
#include <string.h>

#include "api/auth.h"
#include "api/handlers.h"
#include "api/runs.h"
#include "api/runtree.h"
#include "engine/store/commands.h"
#include "engine/store/queues.h"
#include "engine/text/json.h"

#define QUEUED_MAX 10000

/* What a page of tasks is written with. */
struct listing {
    struct runtree tree;
    const struct run_rec *run;
    const struct value *examples; /* of active_runs.waiting: why tasks wait */
    struct queue_wait *queued;    /* why those wait that the placer is to admit, by task */
    size_t n_queued;
    uint8_t *states; /* of all tasks whose rows were read; 0 = not known */
    bool complete;   /* every row of the run was read: no row means pending */
    bool superseded; /* tasks that a retry replaced are shown as well */
};

static const struct value *waiting_examples(struct arena *a, struct str json)
{
    struct value *v = arena_new(a, struct value);
    struct err ignored;
    if (json.n == 0 || !json_parse(a, json, 0, v, &ignored)) return NULL;
    const struct value *examples = value_get(v, "examples");
    return examples && examples->type == VALUE_LIST ? examples : NULL;
}

static int by_task(const void *key, const void *item)
{
    int32_t task = *(const int32_t *)key, other = ((const struct queue_wait *)item)->task;
    return (task > other) - (task < other);
}

static bool goes_on(const struct task_rec *row)
{
    return row && (row->state == TASK_RUNNING || row->state == TASK_STOPPING);
}

/* An example is from when it was recorded: the task may have begun meanwhile. Of one that has not, a row may lag. */
static struct str told_reason(const struct listing *l, uint32_t task, const struct task_rec *row)
{
    int32_t key = (int32_t)task;
    bool runs = goes_on(row);
    const struct queue_wait *queued =
        l->n_queued == 0 ? NULL : bsearch(&key, l->queued, l->n_queued, sizeof *queued, by_task);
    if (queued) return queued->text;
    for (size_t i = 0; l->examples && i < l->examples->u.list.n; i++) {
        const struct value *e = &l->examples->u.list.items[i];
        const struct value *number = value_get(e, "task"), *reason = value_get(e, "reason");
        if (!number || number->type != VALUE_INT || number->u.i != task) continue;
        struct str state = value_get_text(e, "state");
        bool ran = str_is(state, task_state_name(TASK_RUNNING)) || str_is(state, task_state_name(TASK_STOPPING));
        if (state.n && ran != runs) continue;
        if (reason && reason->type == VALUE_STRING) return reason->u.s;
    }
    return (struct str){"", 0};
}

/* "waits for data, train": the upstream that has not ended, as far as this page knows. */
static struct str upstream_reason(const struct listing *l, const uint32_t *needs, uint32_t n)
{
    struct arena *a = l->tree.arena;
    struct str names = {"", 0};
    uint32_t shown = 0, open = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t state = l->states[needs[i]];
        if (state == 0 && !l->complete) continue;
        if (state != 0 && task_state_terminal((enum task_state)state)) continue;
        if (open++ >= 3) continue;
        const struct node *node = runtree_node(&l->tree, needs[i]);
        if (!node) continue;
        names = shown++ ? arena_printf(a, "%.*s, %.*s", STR_ARG(names), STR_ARG(node->name)) : node->name;
    }
    if (open == 0) return names;
    if (open > shown) return arena_printf(a, "waits for %.*s and %u more", STR_ARG(names), open - shown);
    return arena_printf(a, "waits for %.*s", STR_ARG(names));
}

static void write_shape(const struct emit *e, const struct listing *l, uint32_t task, const struct node *node)
{
    uint32_t parent = runtree_parent(&l->tree, task), n;
    const uint32_t *needs = runtree_needs(&l->tree, task, &n);
    emit_int(e, "task", task);
    emit_str(e, "path", runtree_path(&l->tree, task));
    emit_str(e, "step", node->name);
    emit_cstr(e, "verb", verb_name(node->verb));
    if (parent != RUNTREE_NONE) emit_int(e, "parent", parent);
    if (runtree_is_exit(&l->tree, task)) emit_bool(e, "exit", true);
    if (n == 0 || !emit_wants(e, "needs")) return;
    jsonw_key(e->w, "needs");
    jsonw_array(e->w);
    for (uint32_t i = 0; i < n; i++)
        jsonw_int(e->w, needs[i]);
    jsonw_array_end(e->w);
}

static void write_row(const struct emit *e, const struct task_rec *row)
{
    emit_cstr(e, "state", task_state_name(row->state));
    if (row->reason != REASON_NONE) {
        emit_cstr(e, "reason", reason_name(row->reason));
        emit_cstr(e, "reasonText", reason_text(row->reason));
    }
    emit_str(e, "message", row->message);
    emit_int(e, "attempt", row->attempt);
    emit_id(e, "failures", row->failures);
    emit_id(e, "infrastructureFailures", row->free_failures);
    if (row->exit_code >= 0) emit_int(e, "exitCode", row->exit_code);
    emit_str(e, "executor", row->executor);
    emit_json(e, "outputs", row->outputs);
    emit_id(e, "logBytes", row->log_bytes);
    if (row->memory_bytes > 0) emit_int(e, "memoryBytes", row->memory_bytes);
    emit_time(e, "dueAt", row->due_us);
    emit_time(e, "startedAt", row->started_us);
    emit_time(e, "endedAt", row->ended_us);
}

/* row NULL: it has none. */
static void write_task(const struct emit *e, const struct listing *l, uint32_t task, const struct task_rec *row)
{
    const struct node *node = runtree_node(&l->tree, task);
    static const struct node unknown;
    jsonw_object(e->w);
    write_shape(e, l, task, node ? node : &unknown);
    if (row) {
        write_row(e, row);
    } else {
        emit_cstr(e, "state", task_state_name(TASK_PENDING));
        emit_int(e, "attempt", 0);
    }
    bool begun = row && row->state != TASK_READY && row->state != TASK_PENDING && row->state != TASK_BACKOFF;
    if ((!begun || goes_on(row)) && !run_state_terminal(l->run->state)) {
        struct str why = told_reason(l, task, row);
        uint32_t n;
        const uint32_t *needs = runtree_needs(&l->tree, task, &n);
        if (why.n == 0 && !begun) why = upstream_reason(l, needs, n);
        emit_str(e, "waitingFor", why); /* of one that goes on: why it does not run yet, or is not heard of */
    }
    jsonw_object_end(e->w);
}

static bool begin(struct request *rq, struct conn **c, struct run_rec *run, struct listing *l, struct err *err)
{
    if (!run_of(rq, c, run, err) || !runtree_load(*c, run, rq->arena, &l->tree, err)) return false;
    l->run = run;
    l->examples = waiting_examples(rq->arena, run->waiting);
    l->states = arena_array(rq->arena, uint8_t, l->tree.total + 1);
    return run_state_terminal(run->state) ||
           queues_waiting_of_run(*c, run->id, QUEUED_MAX, rq->arena, &l->queued, &l->n_queued, err);
}

static bool read_states(struct request *rq, uint32_t *mask, struct err *err)
{
    struct str list, piece;
    *mask = 0;
    if (!request_arg(rq, "state", &list) || list.n == 0) return true;
    while (str_split(&list, ',', &piece)) {
        uint32_t bit = 0;
        for (int s = TASK_PENDING; s < TASK_STATE_COUNT; s++)
            if (str_is(str_trim(piece), task_state_name((enum task_state)s))) bit = 1u << s;
        *mask |= bit;
        if (bit) continue;
        err_set(err, ERR_INVALID, "there is no task state '%.*s'", STR_ARG(str_sub(piece, 0, 40)));
        err_path(err, "query.state");
        return err_hint(
            err,
            "states are pending, ready, waiting, backoff, running, stopping, succeeded, failed, skipped, cancelled");
    }
    return true;
}

/* From task `next` on: rows and, between them, what has none. Returns the number after the last one shown. */
static uint32_t write_page(const struct emit *e, struct listing *l, const struct task_rec *rows, size_t n_rows,
                           uint32_t next, uint32_t size, uint32_t mask)
{
    size_t i = 0;
    uint32_t shown = 0;
    for (; next < l->tree.total && shown < size; next++) {
        while (i < n_rows && rows[i].task < (int32_t)next)
            i++;
        const struct task_rec *row = i < n_rows && rows[i].task == (int32_t)next ? &rows[i] : NULL;
        if (mask && !(mask & 1u << (row ? row->state : TASK_PENDING))) continue;
        if (row ? row->reason == REASON_SUPERSEDED && !l->superseded : runtree_superseded(&l->tree, next)) continue;
        write_task(e, l, next, row);
        shown++;
    }
    return next;
}

bool tasks_index(struct request *rq, struct err *err)
{
    struct listing l = {0};
    struct run_rec run;
    struct conn *c;
    struct page page;
    struct task_rec *rows;
    size_t n;
    int64_t next;
    uint32_t mask;
    if (!page_of(rq, &page, err) || !page_number(&page, 0, &next, err) || !read_states(rq, &mask, err) ||
        !request_arg_bool(rq, "superseded", &l.superseded, err) || !begin(rq, &c, &run, &l, err))
        return false;
    /* Pending tasks have no row, so a filter that wants them needs the others' rows too. */
    uint32_t of_rows = mask & 1u << TASK_PENDING ? 0 : mask;
    if (!tasks_list(c, run.id, (int32_t)next - 1, of_rows, page.size + 1, rq->arena, &rows, &n, err)) return false;
    for (size_t i = 0; i < n; i++)
        if ((uint32_t)rows[i].task < l.tree.total) l.states[rows[i].task] = (uint8_t)rows[i].state;
    l.complete = next == 0 && of_rows == 0 && n <= page.size;
    /* Beyond the last row read there may be more rows: what has none is known only up to there. */
    uint32_t all = l.tree.total;
    if (n > page.size) l.tree.total = (uint32_t)rows[n - 1].task;
    struct emit e = emit_of(rq, page_begin(rq));
    uint32_t behind = write_page(&e, &l, rows, n, (uint32_t)next, page.size, mask);
    page_end_number(rq, behind < all, behind);
    return true;
}

/* The task of the path, by number or by path; *row has task -1 when there is no row yet. */
static bool task_of(struct request *rq, struct conn *c, const struct runtree *t, int64_t run_id, uint32_t *task,
                    struct task_rec *row, struct err *err)
{
    struct str name = rq->segments[1];
    int64_t number;
    uint32_t found = str_int(name, &number) && number >= 0 && number < t->total ? (uint32_t)number : RUNTREE_NONE;
    if (found == RUNTREE_NONE) found = runtree_find(t, name);
    if (found == RUNTREE_NONE || !runtree_node(t, found)) {
        err_set(err, ERR_NOT_FOUND, "the run has no task '%.*s'", STR_ARG(str_sub(name, 0, 80)));
        return err_hint(err, "tasks are named by number or by path, such as train[2]");
    }
    *task = found;
    if (tasks_get(c, run_id, (int32_t)found, rq->arena, row, err)) return true;
    row->task = -1;
    return err->code == ERR_NOT_FOUND;
}

bool tasks_show(struct request *rq, struct err *err)
{
    struct listing l = {0};
    struct run_rec run;
    struct conn *c;
    struct task_rec row, upstream;
    uint32_t task, n;
    if (!begin(rq, &c, &run, &l, err) || !task_of(rq, c, &l.tree, run.id, &task, &row, err)) return false;
    const uint32_t *needs = runtree_needs(&l.tree, task, &n);
    for (uint32_t i = 0; i < n && i < 50; i++) {
        if (tasks_get(c, run.id, (int32_t)needs[i], rq->arena, &upstream, err))
            l.states[needs[i]] = (uint8_t)upstream.state;
        else if (err->code == ERR_NOT_FOUND)
            l.states[needs[i]] = TASK_PENDING;
        else
            return false;
    }
    struct emit e = emit_of(rq, response_json(rq, 200));
    write_task(&e, &l, task, row.task >= 0 ? &row : NULL);
    return true;
}

bool tasks_history(struct request *rq, struct err *err)
{
    struct listing l = {0};
    struct run_rec run;
    struct conn *c;
    struct task_rec row;
    struct attempt_rec *items;
    uint32_t task;
    size_t n;
    if (!begin(rq, &c, &run, &l, err) || !task_of(rq, c, &l.tree, run.id, &task, &row, err) ||
        !tasks_attempts(c, run.id, (int32_t)task, rq->arena, &items, &n, err))
        return false;
    struct jsonw *w = page_begin(rq);
    struct emit e = {.w = w};
    for (size_t i = 0; i < n; i++) {
        const struct attempt_rec *a = &items[i];
        jsonw_object(w);
        emit_int(&e, "attempt", a->attempt);
        emit_cstr(&e, "state", task_state_name(a->state));
        if (a->reason != REASON_NONE) emit_cstr(&e, "reason", reason_name(a->reason));
        emit_str(&e, "message", a->message);
        if (a->exit_code >= 0) emit_int(&e, "exitCode", a->exit_code);
        emit_str(&e, "executor", a->executor);
        emit_str(&e, "bundle", a->bundle_digest);
        emit_id(&e, "logBytes", a->log_bytes);
        if (a->memory_bytes > 0) emit_int(&e, "memoryBytes", a->memory_bytes);
        emit_time(&e, "startedAt", a->started_us);
        emit_time(&e, "endedAt", a->ended_us);
        jsonw_object_end(w);
    }
    page_end(rq, (struct str){NULL, 0});
    return true;
}

/* ---- approvals ---- */

static bool may_answer(const struct request *rq, const struct node *node, struct err *err)
{
    if (node->n_roles == 0) return true;
    for (size_t i = 0; i < node->n_roles; i++) {
        enum role least;
        if (role_parse(node->roles[i], &least) && rq->who.role >= least) return true;
    }
    err_set(err, ERR_FORBIDDEN, "the step wants this answered by another role than %s", role_name(rq->who.role));
    return err_hint(err, "the first of its roles is %.*s", STR_ARG(node->roles[0]));
}

bool tasks_approve(struct request *rq, struct err *err)
{
    static const struct member members[] = {{"approved", MEMBER_BOOL, true}, {"comment", MEMBER_STRING, false}};
    struct listing l = {0};
    struct run_rec run;
    struct conn *c;
    struct task_rec row;
    struct value body;
    uint32_t task;
    if (!request_json(rq, &body, err) || !request_members(&body, members, 2, err) || !begin(rq, &c, &run, &l, err) ||
        !task_of(rq, c, &l.tree, run.id, &task, &row, err))
        return false;
    const struct node *node = runtree_node(&l.tree, task);
    if (node->verb != VERB_APPROVAL) return err_set(err, ERR_CONFLICT, "the task is not an approval");
    if (!may_answer(rq, node, err)) return false;
    bool approved = value_get(&body, "approved")->u.b;
    struct value_map_builder b;
    value_map_begin(&b, rq->arena);
    value_map_put(&b, STR("task"), value_int(task));
    value_map_put(&b, STR("approved"), value_bool(approved));
    if (member_str(&body, "comment").n) value_map_put(&b, STR("comment"), value_string(member_str(&body, "comment")));
    value_map_put(&b, STR("by"), value_string(rq->who.name));
    struct value payload = value_map_end(&b);
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, &payload, false);
    struct scope scope = {.project_id = run.project_id, .actor = rq->who.name};
    if (!commands_approve(c, &scope, run.id, (int32_t)task, approved, buf_view(&text), err)) return false;
    rq->hint = true;
    return run_answer(rq, run.id, 202, err);
}
