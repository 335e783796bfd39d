/* Plans on their way out: as JSON, pictures or source; and whether this server could run one. */
#include <string.h>

#include "api/queue_check.h"
#include "api/source.h"
#include "engine/flow/draw.h"
#include "engine/flow/plan_rules.h"

static bool show_json(struct request *rq, const struct plan *plan, struct str json, struct str text)
{
    (void)plan;
    (void)text;
    response_begin(rq, 200, "application/json");
    rq->res.etag = true;
    return response_add_str(rq, json);
}

static bool show_drawing(struct request *rq, const struct plan *plan, const char *type,
                         void (*draw)(struct buf *, const struct plan *))
{
    BUF_AUTO out;
    buf_init(&out, 0);
    draw(&out, plan);
    response_begin(rq, 200, type);
    rq->res.etag = true;
    return response_add_str(rq, buf_view(&out));
}

static bool show_dot(struct request *rq, const struct plan *plan, struct str json, struct str text)
{
    (void)json;
    (void)text;
    return show_drawing(rq, plan, "text/vnd.graphviz; charset=utf-8", draw_dot);
}

static bool show_mermaid(struct request *rq, const struct plan *plan, struct str json, struct str text)
{
    (void)json;
    (void)text;
    return show_drawing(rq, plan, "text/vnd.mermaid; charset=utf-8", draw_mermaid);
}

static bool show_source(struct request *rq, const struct plan *plan, struct str json, struct str text)
{
    (void)plan;
    (void)json;
    response_begin(rq, 200, "application/yaml");
    rq->res.etag = true;
    return response_add_str(rq, text);
}

bool source_show_plan(struct request *rq, const struct plan *plan, struct str json, struct str text, struct err *err)
{
    static const struct {
        const char *name;
        bool (*show)(struct request *rq, const struct plan *plan, struct str json, struct str text);
    } formats[] = {{"json", show_json}, {"dot", show_dot}, {"mermaid", show_mermaid}, {"yaml", show_source}};
    struct str wanted = STR("json");
    request_arg(rq, "format", &wanted);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (str_is(wanted, formats[i].name))
            return formats[i].show(rq, plan, json, text) || err_set(err, ERR_INTERNAL, "the plan could not be written");
    err_set(err, ERR_INVALID, "there is no format '%.*s'", STR_ARG(str_sub(wanted, 0, 40)));
    err_path(err, "query.format");
    return err_hint(err, "formats are json, dot, mermaid, yaml");
}

bool source_check_runnable(struct request *rq, const struct plan *plan, uint32_t ignored, bool *queued, struct err *err)
{
    const struct api_config *cfg = &rq->api->cfg;
    if (!cfg->local_only) return true;
    struct plan_offer offer = {.cpu_milli = cfg->cpu_milli,
                               .memory_bytes = cfg->memory_bytes,
                               .gpus = cfg->gpus,
                               .n_gpus = cfg->n_gpus,
                               .gpus_unknown = cfg->gpus_unknown,
                               .cluster = cfg->cluster,
                               .image = cfg->image,
                               .moves = cfg->moves,
                               .tokens = cfg->tokens,
                               .ignore_gpu = (ignored & SOURCE_IGNORE_GPU) != 0,
                               .ignore_cpu = (ignored & SOURCE_IGNORE_CPU) != 0,
                               .ignore_memory = (ignored & SOURCE_IGNORE_MEMORY) != 0};
    struct queue_view queues;
    if (!queue_view_read(rq, plan, &offer, &queues, err)) return false;
    if (queued != NULL) *queued = queues.decides;
    offer.gpus_unknown |= queues.decides; /* flavors are what is declared as such, not words of products */
    bool fits = plan_fits_machine(plan, &offer, &rq->errors);
    if (queues.decides && !queue_check(rq, plan, &offer, &queues, &fits, err)) return false;
    return fits || source_problems(rq, err);
}
