/* The table of routes, and finding one in it. */
#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "engine/flow/plan.h"

#define V "/api/v1"
#define PAGE "page_size page_token "
/* The members that answers may have, in their order; the description and the answers are held against these. */
#define OF_PIPELINE "fields=name,project,description,version,createdAt,createdBy,updatedAt "
#define OF_VERSION                                                                                                     \
    "fields=name,project,version,planDigest,bundle,createdAt,createdBy,source,description,latestVersion,plan "
#define OF_RUN                                                                                                         \
    "fields=id,project,pipeline,pipelineVersion,name,state,stopping,message,params,labels,options,bundle,clonedFrom,"  \
    "outputs,tasksTotal,tasksFailed,waiting,generation,archived,createdAt,createdBy,startedAt,endedAt "
#define OF_TASK                                                                                                        \
    "fields=task,path,step,verb,parent,exit,needs,state,reason,reasonText,message,attempt,failures,"                   \
    "infrastructureFailures,exitCode,executor,outputs,logBytes,memoryBytes,dueAt,startedAt,endedAt,waitingFor "
#define OF_ARTIFACT "fields=id,run,task,path,attempt,name,type,digest,size,metadata,createdAt,createdBy "

const struct route routes[] = {
    /* method, pattern, role, step, idempotent, body, query, handler, summary */
    {"GET", "/healthz", ROLE_NONE, false, false, ROUTE_EMPTY, "", meta_live, "The server is alive"},
    {"GET", "/readyz", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", meta_ready, "The server can work"},
    {"GET", V "/version", ROLE_VIEWER, true, false, ROUTE_EMPTY, "", meta_version, "Version of the server"},
    {"GET", V "/schema/pipeline", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", meta_schema,
     "JSON Schema of the pipeline format"},
    {"GET", V "/schema/queue", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", meta_queue_schema,
     "JSON Schema of flavors and queues"},
    {"GET", V "/openapi.yaml", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", meta_openapi, "Description of this API"},

    {"GET", V "/projects", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", projects_index, "Projects"},
    {"POST", V "/projects", ROLE_ADMIN, false, true, ROUTE_JSON, "", projects_post, "Make a project"},
    {"GET", V "/tokens", ROLE_ADMIN, false, false, ROUTE_EMPTY, "", tokens_index, "Tokens, without their secret"},
    {"POST", V "/tokens", ROLE_ADMIN, false, false, ROUTE_JSON, "", tokens_post, "Make a token"},
    {"DELETE", V "/tokens/{token}", ROLE_ADMIN, false, false, ROUTE_EMPTY, "", tokens_remove, "Revoke a token"},

    {"GET", V "/queues", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", queues_index, "Queues, and how they are used"},
    {"POST", V "/queues", ROLE_ADMIN, false, false, ROUTE_SOURCE, "dry_run ", queues_post,
     "Declare flavors and queues"},
    {"GET", V "/queues/{queue}", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", queues_show,
     "A queue, who is in it, and why"},
    {"DELETE", V "/queues/{queue}", ROLE_ADMIN, false, false, ROUTE_EMPTY, "", queues_remove, "Delete a queue"},
    {"GET", V "/flavors", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", flavors_index, "Kinds of GPUs"},
    {"DELETE", V "/flavors/{flavor}", ROLE_ADMIN, false, false, ROUTE_EMPTY, "", flavors_remove, "Delete a flavor"},
    {"GET", V "/gpus", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", gpus_index, "Nodes, their GPUs, and who has them"},

    {"POST", V "/pipelines:validate", ROLE_VIEWER, false, false, ROUTE_SOURCE, "project ", pipelines_validate,
     "Check a pipeline file"},
    {"POST", V "/pipelines:plan", ROLE_VIEWER, false, false, ROUTE_SOURCE, "project format ", pipelines_plan,
     "Compile a pipeline file and show its plan"},
    {"GET", V "/pipelines", ROLE_VIEWER, false, false, ROUTE_EMPTY, "project filter order_by " PAGE OF_PIPELINE,
     pipelines_index, "Pipelines by name"},
    {"POST", V "/pipelines", ROLE_VIEWER, false, true, ROUTE_SOURCE, "project bundle dry_run ", pipelines_post,
     "Create or update pipelines"},
    {"GET", V "/pipelines/{pipeline}", ROLE_VIEWER, false, false, ROUTE_EMPTY, "project " OF_VERSION, pipelines_show,
     "A pipeline"},
    {"DELETE", V "/pipelines/{pipeline}", ROLE_EDITOR, false, false, ROUTE_EMPTY, "project ", pipelines_remove,
     "Delete a pipeline"},
    {"GET", V "/pipelines/{pipeline}/versions", ROLE_VIEWER, false, false, ROUTE_EMPTY, "project " PAGE OF_VERSION,
     pipelines_history, "Versions of a pipeline"},
    {"GET", V "/pipelines/{pipeline}/versions/{version}", ROLE_VIEWER, false, false, ROUTE_EMPTY,
     "project format " OF_VERSION, pipelines_show_version, "One version"},

    {"GET", V "/runs", ROLE_VIEWER, false, false, ROUTE_EMPTY, "project filter order_by " PAGE OF_RUN, runs_index,
     "Runs"},
    {"POST", V "/runs", ROLE_OPERATOR, false, true, ROUTE_SOURCE, "project name params labels bundle ignore_resources ",
     runs_post, "Start a run"},
    {"GET", V "/runs/{run}", ROLE_VIEWER, true, false, ROUTE_EMPTY, OF_RUN, runs_show, "A run"},
    {"DELETE", V "/runs/{run}", ROLE_EDITOR, false, false, ROUTE_EMPTY, "", runs_remove, "Delete a finished run"},
    {"POST", V "/runs/{run}:cancel", ROLE_OPERATOR, false, false, ROUTE_OPTIONAL, "", runs_cancel, "Stop a run"},
    {"POST", V "/runs/{run}:pause", ROLE_OPERATOR, false, false, ROUTE_OPTIONAL, "", runs_pause, "Start nothing new"},
    {"POST", V "/runs/{run}:resume", ROLE_OPERATOR, false, false, ROUTE_OPTIONAL, "", runs_resume,
     "Go on after a pause"},
    {"POST", V "/runs/{run}:retry", ROLE_OPERATOR, false, false, ROUTE_OPTIONAL, "", runs_retry,
     "Run a finished run again from its failed steps"},
    {"POST", V "/runs/{run}:clone", ROLE_OPERATOR, false, true, ROUTE_OPTIONAL, "", runs_clone,
     "A new run of the same plan"},
    {"POST", V "/runs/{run}:archive", ROLE_OPERATOR, false, false, ROUTE_OPTIONAL, "", runs_set_archived,
     "Hide a finished run from lists"},
    {"POST", V "/runs/{run}:unarchive", ROLE_OPERATOR, false, false, ROUTE_OPTIONAL, "", runs_unset_archived,
     "Show it again"},
    {"GET", V "/runs/{run}/plan", ROLE_VIEWER, false, false, ROUTE_EMPTY, "format ", runs_plan, "The plan of a run"},
    {"GET", V "/runs/{run}/tasks", ROLE_VIEWER, true, false, ROUTE_EMPTY, "state superseded " PAGE OF_TASK, tasks_index,
     "Tasks of a run"},
    {"GET", V "/runs/{run}/tasks/{task}", ROLE_VIEWER, true, false, ROUTE_EMPTY, OF_TASK, tasks_show, "One task"},
    {"GET", V "/runs/{run}/tasks/{task}/attempts", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", tasks_history,
     "Attempts of a task"},
    {"POST", V "/runs/{run}/tasks/{task}:approve", ROLE_OPERATOR, false, false, ROUTE_JSON, "", tasks_approve,
     "Answer an approval"},
    {"GET", V "/runs/{run}/tasks/{task}/logs", ROLE_VIEWER, true, false, ROUTE_EMPTY, "attempt follow tail ", logs_show,
     "What an attempt wrote"},
    {"GET", V "/runs/{run}/events", ROLE_VIEWER, true, false, ROUTE_EMPTY, "after wait page_size ", events_index,
     "History of a run"},
    {"GET", V "/runs/{run}/artifacts", ROLE_VIEWER, true, false, ROUTE_EMPTY, PAGE OF_ARTIFACT, artifacts_in_run,
     "Artifacts of a run"},

    {"GET", V "/artifacts", ROLE_VIEWER, false, false, ROUTE_EMPTY, "project filter order_by " PAGE OF_ARTIFACT,
     artifacts_index, "Artifacts"},
    {"POST", V "/artifacts", ROLE_EDITOR, false, true, ROUTE_JSON, "project ", artifacts_post,
     "Make an artifact of an upload"},
    {"GET", V "/artifacts/{artifact}", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", artifacts_show, "An artifact"},
    {"GET", V "/artifacts/{artifact}/content", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", artifacts_content,
     "Bytes of an artifact"},
    {"GET", V "/artifacts/{artifact}/lineage", ROLE_VIEWER, false, false, ROUTE_EMPTY, "", artifacts_lineage,
     "Who made it, who read it"},

    {"GET", V "/blobs/{digest}", ROLE_VIEWER, true, false, ROUTE_EMPTY, "project direct ", blobs_show,
     "Bytes by digest"},
    {"POST", V "/uploads", ROLE_EDITOR, true, false, ROUTE_JSON, "project ", uploads_post, "Begin an upload"},
    {"GET", V "/uploads/{upload}", ROLE_EDITOR, true, false, ROUTE_EMPTY, "", uploads_show, "Where an upload stands"},
    {"PATCH", V "/uploads/{upload}", ROLE_EDITOR, true, false, ROUTE_BYTES, "", uploads_patch, "Append to an upload"},
    {"POST", V "/uploads/{upload}:taken", ROLE_EDITOR, true, false, ROUTE_EMPTY, "", uploads_taken,
     "Say that the store has them"},
    {"DELETE", V "/uploads/{upload}", ROLE_EDITOR, false, false, ROUTE_EMPTY, "", uploads_remove, "Give an upload up"},
    {"POST", V "/bundles", ROLE_EDITOR, false, false, ROUTE_JSON, "project ", bundles_post,
     "Unpack an upload as a code bundle"},
    {"GET", V "/bundles/{digest}", ROLE_VIEWER, false, false, ROUTE_EMPTY, "project ", bundles_show, "A bundle"},
};
const size_t n_routes = sizeof routes / sizeof *routes;

const char *role_name(enum role r)
{
    return r == ROLE_NONE ? "none" : plan_roles[r - 1];
}

bool role_parse(struct str name, enum role *out)
{
    for (size_t i = 0; i < PLAN_ROLES; i++)
        if (str_is(name, plan_roles[i])) {
            *out = (enum role)(i + 1);
            return true;
        }
    return false;
}

/* One part of a path against one of a pattern: literal, {name} or {name}:action. */
static bool part_matches(struct str part, struct str pattern, struct str *captured, bool *captures)
{
    *captures = false;
    if (pattern.n == 0 || pattern.p[0] != '{') return str_eq(part, pattern);
    size_t end;
    if (!str_find(pattern, STR("}"), &end)) return false;
    struct str action = str_sub(pattern, end + 1, pattern.n);
    if (part.n <= action.n) return false;
    if (action.n && !str_eq(str_sub(part, part.n - action.n, action.n), action)) return false;
    *captured = str_sub(part, 0, part.n - action.n);
    *captures = true;
    return true;
}

static bool matches(const struct route *route, struct str path, struct str segments[REQUEST_SEGMENTS])
{
    struct str pattern = str_of(route->pattern), part, want;
    size_t n = 0;
    for (;;) {
        bool more = str_split(&path, '/', &part);
        if (more != str_split(&pattern, '/', &want)) return false;
        if (!more) return true;
        struct str captured;
        bool captures;
        if (!part_matches(part, want, &captured, &captures)) return false;
        if (captures) segments[n++] = captured;
    }
}

static bool decode_segments(struct request *rq, const struct str raw[REQUEST_SEGMENTS], struct err *err)
{
    for (size_t i = 0; i < REQUEST_SEGMENTS; i++)
        if (!request_decode(rq->arena, raw[i], false, &rq->segments[i]))
            return err_set(err, ERR_SYNTAX, "the path has a bad %%-escape or is not UTF-8");
    return true;
}

/* "12:cancle" wants to be an action. */
static bool no_such_action(struct str path, struct err *err)
{
    struct str last, rest = path, known[16];
    while (str_split(&rest, '/', &last))
        ;
    size_t colon, n = 0;
    if (!str_find(last, STR(":"), &colon)) return false;
    for (size_t i = 0; i < n_routes && n < 16; i++) {
        const char *action = strstr(routes[i].pattern, "}:");
        if (!action) action = strstr(routes[i].pattern, "s:");
        if (action) known[n++] = str_of(action + 2);
    }
    struct str action = str_sub(last, colon + 1, 40), near = suggest(action, known, n);
    err_set(err, ERR_NOT_FOUND, "there is no action '%.*s' here", STR_ARG(action));
    if (near.n) err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
    return true;
}

static bool is_action(const struct route *route)
{
    return strchr(strrchr(route->pattern, '/'), ':') != NULL;
}

/* "7:archive" is an action of run 7, whatever the method, and not a run of that name. */
static bool names_action(struct str path)
{
    struct str ignored[REQUEST_SEGMENTS];
    for (size_t i = 0; i < n_routes; i++)
        if (is_action(&routes[i]) && matches(&routes[i], path, ignored)) return true;
    return false;
}

bool route_find(struct request *rq, struct err *err)
{
    char allow[80] = "";
    bool head = str_is(rq->method, "HEAD"), action = names_action(rq->path);
    for (size_t i = 0; i < n_routes; i++) {
        struct str raw[REQUEST_SEGMENTS] = {{NULL, 0}};
        if ((action && !is_action(&routes[i])) || !matches(&routes[i], rq->path, raw)) continue;
        if (str_is(rq->method, routes[i].method) || (head && strcmp(routes[i].method, "GET") == 0)) {
            if (!decode_segments(rq, raw, err)) return false;
            rq->route = &routes[i];
            return true;
        }
        size_t n = strlen(allow);
        snprintf(allow + n, sizeof allow - n, "%s%s%s", n ? ", " : "", routes[i].method,
                 strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allow[0]) {
        if (!action && no_such_action(rq->path, err)) return false;
        response_header(rq, "Allow", "%s", allow);
        err_set(err, ERR_METHOD, "%.*s is not possible on this path", STR_ARG(str_sub(rq->method, 0, 20)));
        return err_hint(err, "possible: %s", allow);
    }
    err_set(err, ERR_NOT_FOUND, "there is no path %.*s", STR_ARG(str_sub(rq->path, 0, 200)));
    return err_hint(err, "see /api/v1/openapi.yaml");
}
