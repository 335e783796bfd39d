/* Requests for executors. See launching.h. */
#include "scheduler/launching.h"

#include "engine/os/digest.h"
#include "engine/os/step_token.h"
#include "engine/store/row.h"

static struct str code_of(const struct live *l)
{
    return run_bundle(l->run);
}

/* A digest may have come in as a parameter: it must be one that the run's project may see, and its bytes must be there.
 */
static bool check_inputs(struct scheduler *s, struct live *l, uint32_t task, uint32_t attempt,
                         const struct launch_spec *spec, struct err *err)
{
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct launch_input *in = &spec->inputs[i];
        if (!in->artifact) continue;
        struct str project = arena_printf(&s->arena, "%lld", (long long)l->project_id);
        const char *const params[] = {project.p, arena_cstr(&s->arena, in->digest)};
        RESULT_AUTO res = NULL;
        if (!hot_query(s->hot, Q_HOT_BLOB, params, 2, &res, err)) return false;
        if (PQntuples(res) == 0) {
            err_set(err, ERR_INVALID, "the artifact %.*s is not in this project", STR_ARG(in->digest));
            return err_path(err, "inputs.%.*s", STR_ARG(in->name));
        }
        record_use(s, l, (struct attempt_id){l->id, task, attempt}, in->name, in->digest);
    }
    return true;
}

bool launching_request(struct scheduler *s, struct live *l, uint32_t task, uint32_t attempt, struct exec_request *out,
                       struct err *err)
{
    const struct run_header *h = run_head(l->run);
    const struct node *n = run_task_node(l->run, task);
    struct expr_env env;
    struct exec_request req = {
        .id = {l->id, task, attempt},
        .project_id = l->project_id,
        .project = h->project,
        .run_name = h->name,
        .step = n->name,
        .path = run_task_path(l->run, task, &s->arena),
        .bundle_digest = code_of(l),
        .resources = admit_wanted(l, n),
        .timeout_ms = n->timeout_ms,
        .grace_ms = s->cfg.grace_ms,
        .api_url = s->cfg.api_url,
    };
    run_task_env(l->run, task, &env, &s->arena);
    if (!launch_render(n, &env, &s->arena, &req.spec, err)) return false;
    if (!check_inputs(s, l, task, attempt, &req.spec, err)) return false;
    if (s->cfg.step_key.n > 0)
        req.token = step_token_make(&s->arena, s->cfg.step_key, (struct step_claim){l->id, task, attempt});
    *out = req;
    return true;
}

bool launching_cache_key(struct scheduler *s, struct live *l, uint32_t task, struct str *out, struct err *err)
{
    const struct node *n = run_task_node(l->run, task);
    struct expr_env env;
    struct launch_spec spec;
    struct value extra = value_string(STR(""));
    run_task_env(l->run, task, &env, &s->arena);
    if (!launch_render(n, &env, &s->arena, &spec, err)) return false;
    if (n->cache.key.source.n > 0 && !expr_template_eval(&n->cache.key, &env, &s->arena, &extra, err)) return false;
    BUF_AUTO extra_text, text;
    buf_init(&extra_text, 0);
    buf_init(&text, 0);
    value_json(&extra_text, &extra, true);
    const struct cache_facts facts = {
        .executor = str_of(s->cfg.executor->name), .code_digest = code_of(l), .extra = buf_view(&extra_text)};
    launch_cache_text(&text, &spec, &facts);
    char hex[DIGEST_TEXT];
    digest_of(buf_view(&text), hex);
    *out = arena_str(&s->arena, str_of(hex));
    return true;
}
