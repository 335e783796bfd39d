/* Runs: lists, one run, and what is asked of its owner. Creating one is in submit.c. */
#include "api/runs.h"

#include <string.h>

#include "api/auth.h"
#include "api/handlers.h"
#include "api/source.h"
#include "engine/base/units.h"
#include "engine/blob/logs.h"
#include "engine/os/log.h"
#include "engine/store/commands.h"
#include "engine/store/tasks.h"

bool run_of(struct request *rq, struct conn **c, struct run_rec *out, struct err *err)
{
    int64_t id;
    return request_segment_id(rq, 0, "run", &id, err) && request_db(rq, c, err) &&
           runs_get(*c, rq->who.project, id, rq->arena, out, err);
}

bool run_project(struct request *rq, const struct run_rec *run, struct str *name, struct err *err)
{
    struct conn *c;
    struct project p;
    if (!request_db(rq, &c, err) || !projects_get_id(c, run->project_id, rq->arena, &p, err)) return false;
    *name = p.name;
    return true;
}

void run_write(const struct emit *e, const struct run_rec *run, struct str project)
{
    jsonw_object(e->w);
    emit_int(e, "id", run->id);
    emit_str(e, "project", project);
    emit_str(e, "pipeline", run->pipeline);
    emit_id(e, "pipelineVersion", run->version);
    emit_str(e, "name", run->name);
    emit_cstr(e, "state", run_state_name(run->state));
    if (run->stop != RUN_REFUSED) emit_cstr(e, "stopping", run_state_name(run->stop));
    emit_str(e, "message", run->message);
    emit_json(e, "params", run->params);
    emit_json(e, "labels", run->labels);
    emit_json(e, "options", run->options);
    emit_str(e, "bundle", run->bundle_digest);
    emit_id(e, "clonedFrom", run->cloned_from);
    emit_json(e, "outputs", run->outputs);
    if (run->tasks_total >= 0) emit_int(e, "tasksTotal", run->tasks_total);
    if (run->tasks_failed >= 0) emit_int(e, "tasksFailed", run->tasks_failed);
    emit_json(e, "waiting", run->waiting);
    emit_int(e, "generation", run->generation);
    emit_bool(e, "archived", run->archived);
    emit_time(e, "createdAt", run->created_us);
    emit_str(e, "createdBy", run->created_by);
    emit_time(e, "startedAt", run->started_us);
    emit_time(e, "endedAt", run->ended_us);
    jsonw_object_end(e->w);
}

bool run_answer(struct request *rq, int64_t id, int status, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    struct str project;
    if (!request_db(rq, &c, err) || !runs_get(c, rq->who.project, id, rq->arena, &run, err) ||
        !run_project(rq, &run, &project, err))
        return false;
    struct emit e = emit_of(rq, response_json(rq, status));
    run_write(&e, &run, project);
    return true;
}

bool runs_index(struct request *rq, struct err *err)
{
    struct scope scope;
    struct str project, next;
    struct page page;
    struct conn *c;
    struct run_rec *items;
    size_t n;
    if (!page_of(rq, &page, err) || !auth_project(rq, (struct str){NULL, 0}, &scope, &project, err)) return false;
    struct runs_search q = {.project_id = scope.project_id, .page_token = page.token, .page_size = page.size};
    request_arg(rq, "filter", &q.filter);
    request_arg(rq, "order_by", &q.order_by);
    if (!request_db(rq, &c, err) || !runs_list(c, &q, rq->arena, &items, &n, &next, err)) return false;
    struct emit e = emit_of(rq, page_begin(rq));
    for (size_t i = 0; i < n; i++)
        run_write(&e, &items[i], project);
    page_end(rq, next);
    return true;
}

bool runs_show(struct request *rq, struct err *err)
{
    int64_t id;
    return request_segment_id(rq, 0, "run", &id, err) && run_answer(rq, id, 200, err);
}

bool runs_remove(struct request *rq, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    if (!run_of(rq, &c, &run, err) || !runs_delete(c, run.project_id, run.id, err)) return false;
    struct err ignored;
    if (rq->api->cfg.store_dir && !run_files_delete(str_of(rq->api->cfg.store_dir), run.id, &ignored))
        log_err(LEVEL_WARN, "files of a deleted run are left", &ignored);
    response_begin(rq, 204, NULL);
    return true;
}

bool runs_plan(struct request *rq, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    struct plan_text text;
    const struct plan *plan;
    return run_of(rq, &c, &run, err) && plans_get(c, run.plan_id, rq->arena, &text, err) &&
           source_load_plan(rq->arena, text.plan, &plan, err) &&
           source_show_plan(rq, plan, text.plan, text.source, err);
}

/* ---- what is asked of the owner ---- */

static bool command(struct request *rq, enum command what, struct str payload, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    if (!run_of(rq, &c, &run, err)) return false;
    struct scope scope = {.project_id = run.project_id, .actor = rq->who.name};
    if (!commands_send(c, &scope, run.id, what, payload, err)) return false;
    rq->hint = true;
    return run_answer(rq, run.id, 202, err);
}

static bool no_members(struct request *rq, struct err *err)
{
    struct value body;
    return request_json(rq, &body, err) && request_members(&body, NULL, 0, err);
}

static struct str text_of(struct request *rq, const struct value *payload)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, payload, false);
    return arena_str(rq->arena, buf_view(&text));
}

bool runs_cancel(struct request *rq, struct err *err)
{
    static const struct member members[] = {{"grace", MEMBER_STRING, false}};
    struct value body;
    struct value_map_builder payload;
    if (!request_json(rq, &body, err) || !request_members(&body, members, 1, err)) return false;
    value_map_begin(&payload, rq->arena);
    const struct value *grace = value_get(&body, "grace");
    int64_t ms;
    if (grace && grace->type != VALUE_NULL) {
        if (!units_duration(grace, &ms, err)) return err_path(err, "grace");
        value_map_put(&payload, STR("graceMs"), value_int(ms > 0 ? ms : 1)); /* 0 there: the server's own */
    }
    struct value v = value_map_end(&payload);
    return command(rq, COMMAND_CANCEL, text_of(rq, &v), err);
}

bool runs_pause(struct request *rq, struct err *err)
{
    return no_members(rq, err) && command(rq, COMMAND_PAUSE, (struct str){"", 0}, err);
}

bool runs_resume(struct request *rq, struct err *err)
{
    return no_members(rq, err) && command(rq, COMMAND_RESUME, (struct str){"", 0}, err);
}

/* The step to start again from must be one of the plan, or a task of the run. */
static bool check_step(struct request *rq, struct str from, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    struct task_rec task;
    struct plan_text text;
    const struct plan *plan;
    if (!run_of(rq, &c, &run, err)) return false;
    if (tasks_find(c, run.id, from, rq->arena, &task, err)) {
        if (task.reason != REASON_SUPERSEDED) return true;
    } else if (err->code != ERR_NOT_FOUND) {
        return false;
    }
    if (!plans_get(c, run.plan_id, rq->arena, &text, err) || !source_load_plan(rq->arena, text.plan, &plan, err))
        return false;
    const struct graph *g = &plan->graphs[0];
    if (graph_find(g, from) != UINT32_MAX) return true;
    struct str *names = arena_array(rq->arena, struct str, g->n_nodes);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        names[i] = g->nodes[i].name;
    struct str near = suggest(from, names, g->n_nodes);
    err_set(err, ERR_INVALID, "the run has no step '%.*s'", STR_ARG(str_sub(from, 0, 80)));
    err_path(err, "from");
    if (near.n) return err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
    return false;
}

bool runs_retry(struct request *rq, struct err *err)
{
    static const struct member members[] = {{"from", MEMBER_STRING, false}, {"bundle", MEMBER_STRING, false}};
    struct value body;
    struct conn *c;
    struct run_rec run;
    if (!request_json(rq, &body, err) || !request_members(&body, members, 2, err) || !run_of(rq, &c, &run, err))
        return false;
    struct str from = member_str(&body, "from"), bundle = member_str(&body, "bundle");
    struct scope scope = {.project_id = run.project_id, .actor = rq->who.name};
    struct value_map_builder payload;
    if (!from.n &&
        run.state == RUN_SUCCEEDED) { /* its owner would refuse too, but only after the run was taken up again */
        err_set(err, ERR_CONFLICT, "the run succeeded: nothing of it is to be retried");
        return err_hint(err, "name the step to begin with in `from`, or clone the run");
    }
    value_map_begin(&payload, rq->arena);
    if (from.n) {
        if (!check_step(rq, from, err)) return false;
        value_map_put(&payload, STR("from"), value_string(from));
    }
    if (bundle.n) {
        if (!auth_role(rq, ROLE_EDITOR, "Retry with other code", err) || !source_check_bundle(rq, &scope, bundle, err))
            return false;
        value_map_put(&payload, STR("bundle"), value_string(bundle));
    }
    struct value v = value_map_end(&payload);
    return command(rq, COMMAND_RETRY, text_of(rq, &v), err);
}

static bool set_archived(struct request *rq, bool archived, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    return no_members(rq, err) && run_of(rq, &c, &run, err) && runs_archive(c, run.project_id, run.id, archived, err) &&
           run_answer(rq, run.id, 200, err);
}

bool runs_set_archived(struct request *rq, struct err *err)
{
    return set_archived(rq, true, err);
}

bool runs_unset_archived(struct request *rq, struct err *err)
{
    return set_archived(rq, false, err);
}
