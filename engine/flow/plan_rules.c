/* What a plan asks of a machine: see plan_rules.h. */
#include "engine/flow/plan_rules.h"

#include "engine/base/units.h"
#include "engine/flow/gpu.h"

struct rules {
    const struct graph *graph;
    const struct node *node;
    struct err_list *errors;
};

static void refuse(const struct rules *r, const char *field, struct pos at, const char *hint, struct str message)
{
    const struct graph *g = r->graph;
    const char *part = r->node >= g->nodes + (g->n_nodes - g->n_exit) ? "onExit" : "steps";
    struct err *e = err_list_add(r->errors, ERR_INVALID, at.line ? at : r->node->at, "%.*s", STR_ARG(message));
    err_path(e, "%s.%.*s%s%s", part, STR_ARG(r->node->name), field[0] ? "." : "", field);
    err_hint(e, "%s", hint);
}

/* "it has NVIDIA-A100-SXM4-40GB, Tesla-T4", each once */
static void name_products(const struct plan_offer *o, struct buf *out)
{
    const char *before = "; it has ";
    for (size_t i = 0; i < o->n_gpus; i++) {
        size_t k = 0;
        while (k < i && !str_eq(o->gpus[k].product, o->gpus[i].product))
            k++;
        if (k < i) continue;
        buf_printf(out, "%s%.*s", before, STR_ARG(o->gpus[i].product));
        before = ", ";
    }
}

static void check_gpus(const struct rules *r, const struct plan_offer *o)
{
    const struct resources *asked = &r->node->resources;
    const struct gpu_want want = gpu_wanted(asked);
    if (want.count == 0 || o->ignore_gpu || o->gpus_unknown) return;
    uint32_t there = gpu_serving(o->gpus, o->n_gpus, &want, NULL);
    if (there >= want.count) return;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_c(&text, "the step asks for ");
    gpu_want_text(&want, &text);
    if (o->n_gpus == 0)
        buf_c(&text, ", and this machine has none that steps may have");
    else
        buf_printf(&text, ", this machine has %u", there);
    if (there == 0) name_products(o, &text);
    refuse(r, "resources.gpu", asked->gpu_at, "--ignore-resources gpu runs it all the same, with no GPU of its own",
           buf_view(&text));
}

static void check_resources(const struct rules *r, const struct plan_offer *o)
{
    const struct resources *want = &r->node->resources;
    struct arena *a = r->errors->arena;
    char asked[32], there[32];
    check_gpus(r, o);
    if (o->cpu_milli && want->cpu_milli > o->cpu_milli && !o->ignore_cpu)
        refuse(r, "resources.cpu", want->cpu_at, "--ignore-resources cpu lets it share what is there",
               arena_printf(a, "the step asks for %g CPUs, this machine has %g", (double)want->cpu_milli / 1000,
                            (double)o->cpu_milli / 1000));
    if (o->memory_bytes && want->memory_bytes > o->memory_bytes && !o->ignore_memory)
        refuse(r, "resources.memory", want->memory_at, "--ignore-resources memory lifts the limit",
               arena_printf(a, "the step asks for %s of memory, this machine has %s",
                            units_bytes_text(want->memory_bytes, asked), units_bytes_text(o->memory_bytes, there)));
}

static bool works_in_container(const struct node *n)
{
    return n->verb == VERB_RUN || n->verb == VERB_SCRIPT || n->verb == VERB_IMAGE;
}

/* What does not reach a pod. */
static void check_data(const struct rules *r, const struct plan_offer *o)
{
    const struct node *n = r->node;
    static const char cure[] = "start the server with --kube-companion and --api-url";
    bool artifact = false;
    for (size_t i = 0; i < n->n_outputs; i++)
        artifact |= n->outputs[i].kind == IO_ARTIFACT;
    if (!o->moves && (artifact || n->n_outputs > 1))
        refuse(r, "outputs", n->at, cure,
               STR("this server cannot move data for steps on its cluster: they can have one output, a param"));
    for (size_t i = 0; !o->tokens && i < n->n_env; i++)
        if (n->env[i].secret.source == SECRET_FILE || n->env[i].secret.source == SECRET_ENV)
            refuse(r, "env", n->at,
                   "start the server with --api-url, or name a Secret of the cluster: {secret: {kubernetes: NAME/KEY}}",
                   arena_printf(r->errors->arena, "%.*s: this server cannot give its secrets to steps on its cluster",
                                STR_ARG(n->env[i].name)));
}

/* In a cluster, how much it has is the cluster's to say, and it may change. */
static void check_job(const struct rules *r, const struct plan_offer *o)
{
    const struct node *n = r->node;
    if (!works_in_container(n)) return;
    if (n->image.n == 0 && !o->image)
        refuse(r, "image", n->at, "name one in the step or in the pipeline's defaults",
               STR("a step in a cluster needs an image, and the server has none for those that name none"));
    if (n->workers > NODE_WORKERS_MOST)
        refuse(r, "workers", n->workers_at, "take fewer, with more of the machine each",
               arena_printf(r->errors->arena, "a step has at most %d workers", NODE_WORKERS_MOST));
    check_data(r, o);
}

static void check_node(const struct rules *r, const struct plan_offer *o)
{
    if (o->cluster) {
        check_job(r, o);
        return;
    }
    if (r->node->verb == VERB_IMAGE)
        refuse(r, "image", r->node->at, "give it a run: or a script:, or run it on a cluster",
               STR("a step that is only an image needs a cluster: here steps run as processes"));
    if (r->node->workers > 1)
        refuse(r, "workers", r->node->workers_at, "leave workers away, or run it on a cluster",
               STR("a step with several workers needs a cluster"));
    check_resources(r, o);
}

bool plan_fits_machine(const struct plan *p, const struct plan_offer *offer, struct err_list *errors)
{
    size_t before = errors->total;
    for (uint32_t g = 0; g < p->n_graphs; g++) {
        for (uint32_t i = 0; i < p->graphs[g].n_nodes; i++) {
            struct rules r = {&p->graphs[g], &p->graphs[g].nodes[i], errors};
            check_node(&r, offer);
        }
    }
    return errors->total == before;
}

static void note(struct str word, struct str *out, size_t *n, size_t room)
{
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(out[i], word)) return;
    }
    if (*n < room) out[(*n)++] = word;
}

size_t plan_unused_here(const struct plan *p, bool cluster, bool queued, struct str *out, size_t room)
{
    size_t n = 0;
    for (uint32_t g = 0; g < p->n_graphs; g++) {
        for (uint32_t i = 0; i < p->graphs[g].n_nodes; i++) {
            const struct node *node = &p->graphs[g].nodes[i];
            if (cluster) continue;
            if (node->queue.n && !queued) note(STR("queue"), out, &n, room);
            if (node->image.n && node->verb != VERB_IMAGE) note(STR("image"), out, &n, room);
            if (node->resources.ephemeral_bytes) note(STR("resources.storage"), out, &n, room);
            if (node->resources.shm_bytes) note(STR("resources.shm"), out, &n, room);
            for (size_t k = 0; node->cluster && k < node->cluster->u.map.n; k++)
                note(node->cluster->u.map.entries[k].key, out, &n, room);
        }
    }
    return n;
}
