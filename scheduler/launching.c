/* Requests for executors. See launching.h. */
#include "scheduler/launching.h"

#include <string.h>

#include "engine/os/digest.h"
#include "engine/os/step_token.h"
#include "engine/store/row.h"
#include "scheduler/placing.h"

static struct str code_of(const struct live *l)
{
    return run_bundle(l->run);
}

#define LONGEST_NAME 200 /* a file's name has at most 255 bytes */

/* By its path, without the brackets that a shell would take for a pattern; and by what it works on, since another list
 * may have another item in the same place. */
static struct str checkpoint_of(struct scheduler *s, const struct live *l, uint32_t task, struct str path)
{
    BUF_AUTO name, items;
    buf_init(&name, 0);
    buf_init(&items, 0);
    for (size_t i = 0; i < path.n && name.n < LONGEST_NAME; i++)
        if (path.p[i] != ']') buf_char(&name, path.p[i] == '[' ? '.' : path.p[i]);
    run_task_items(l->run, task, &items);
    if (items.n > 0 || path.n >= LONGEST_NAME) {
        char hex[DIGEST_TEXT];
        buf_str(&items, path);
        digest_of(buf_view(&items), hex);
        buf_printf(&name, "-%.12s", hex + sizeof "sha256:" - 1);
    }
    return arena_str(&s->arena, buf_view(&name));
}

/* What the attempt reads is recorded by where it lies, since a list puts many artifacts under one name: model,
 * models/0, models/1. */
static struct str use_name(const struct launch_input *in)
{
    static const char folder[] = "inputs/";
    return str_starts(in->path, folder) ? str_sub(in->path, sizeof folder - 1, in->path.n) : in->name;
}

/* Digests may have come in as parameters: they must be ones that the run's project may see, and their bytes must be
 * there. The loop waits for the answer, so all are asked about at once. */
static bool check_inputs(struct scheduler *s, struct live *l, struct attempt_id id, const struct launch_spec *spec,
                         struct err *err)
{
    BUF_AUTO digests;
    const struct launch_input **artifacts = arena_array(&s->arena, const struct launch_input *, spec->n_inputs + 1);
    size_t n = 0;
    buf_init(&digests, 0);
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct launch_input *in = &spec->inputs[i];
        if (!in->artifact) continue;
        buf_printf(&digests, "%c%.*s", n > 0 ? ',' : '{', STR_ARG(in->digest)); /* nothing in a digest needs quotes */
        artifacts[n++] = in;
    }
    if (n == 0) return true;
    buf_char(&digests, '}');
    const char *const params[] = {arena_printf(&s->arena, "%lld", (long long)l->project_id).p, digests.p};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_BLOBS_MISSING, params, 2, &res, err)) return false;
    if (PQntuples(res) > 0) {
        const struct launch_input *in = artifacts[row_int(res, 0, 0)];
        err_set(err, ERR_INVALID, "the artifact %.*s is not in this project", STR_ARG(in->digest));
        return err_path(err, "inputs.%.*s", STR_ARG(in->name));
    }
    for (size_t i = 0; i < n; i++)
        record_use(s, l, id, use_name(artifacts[i]), artifacts[i]->digest);
    return true;
}

/* A folder with nothing but the pipeline in it is no code, and where code costs a container it is not brought. A bundle
 * never changes, so each is asked about once. */
static bool has_code(struct scheduler *s, const struct live *l, struct str digest, bool *any, struct err *err)
{
    char empty[DIGEST_TEXT];
    for (size_t i = 0; i < s->n_codes && i < CODE_ROOM; i++)
        if (s->codes[i].project_id == l->project_id && str_is(digest, s->codes[i].digest)) {
            *any = s->codes[i].any;
            return true;
        }
    digest_of(STR(""), empty);
    const char *const params[] = {arena_printf(&s->arena, "%lld", (long long)l->project_id).p,
                                  arena_cstr(&s->arena, digest), empty};
    RESULT_AUTO res = NULL;
    if (!hot_query(s->hot, Q_HOT_BUNDLE_CODE, params, 3, &res, err)) return false;
    struct code *known = &s->codes[s->n_codes++ % CODE_ROOM];
    *known = (struct code){.project_id = l->project_id, .any = PQntuples(res) == 0};
    memcpy(known->digest, digest.p, digest.n);
    *any = known->any;
    return true;
}

bool launching_request(struct scheduler *s, struct live *l, struct attempt_id id, bool restored,
                       struct exec_request *out, struct err *err)
{
    const struct run_header *h = run_head(l->run);
    const struct node *n = run_task_node(l->run, id.task);
    struct expr_env env;
    struct exec_request req = {
        .id = id,
        .project_id = l->project_id,
        .project = h->project,
        .run_name = h->name,
        .step = n->name,
        .path = run_task_path(l->run, id.task, &s->arena),
        .bundle_digest = code_of(l),
        .spec = {.node = n, .workdir = n->workdir},
        .resources = admit_wanted(l, id.task),
        .timeout_ms = n->timeout_ms,
        .grace_ms = s->cfg.grace_ms,
        .started_us = run_task_started(l->run, id.task),
        .api_url = s->cfg.api_url,
    };
    req.pin = placing_pin(l, id.task, id.attempt);
    req.checkpoint = checkpoint_of(s, l, id.task, req.path);
    run_task_env(l->run, id.task, &env, &s->arena);
    bool ok = launch_render(n, &env, &s->arena, &req.spec, err);
    s->effects_cost += *env.spent;
    bool any = true, images = s->cfg.executor->images && digest_valid(req.bundle_digest);
    ok = ok && check_inputs(s, l, id, &req.spec, err) && (!images || has_code(s, l, req.bundle_digest, &any, err));
    if (!ok && !restored) return false;
    if (!any) req.bundle_digest = STR("");
    if (s->cfg.step_key.n > 0 && s->cfg.api_url.n > 0)
        req.token =
            step_token_make(&s->arena, s->cfg.step_key, (struct step_claim){id.run, id.task, id.attempt, id.made_us});
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
    bool ok = launch_render(n, &env, &s->arena, &spec, err);
    if (ok && n->cache.key.source.n > 0) ok = expr_template_eval(&n->cache.key, &env, &s->arena, &extra, err);
    s->effects_cost += *env.spent;
    if (!ok) return false;
    BUF_AUTO extra_text, text;
    buf_init(&extra_text, 0);
    buf_init(&text, 0);
    value_json(&extra_text, &extra, true);
    const struct executor *x = s->cfg.executor;
    struct cache_facts facts = {.executor = str_of(x->name), .extra = buf_view(&extra_text)};
    if (x->images) facts.image = spec.image.n > 0 ? spec.image : x->image;
    launch_cache_text(&text, &spec, &facts);
    char hex[DIGEST_TEXT];
    digest_of(buf_view(&text), hex);
    struct str code = code_of(l);
    *out = arena_printf(&s->arena, "%s/%.*s", hex, STR_ARG(code));
    return true;
}
