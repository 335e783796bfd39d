/* The GPUs of local steps: what each is given, what it may see of the others', and which are in order. */
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "engine/os/log.h"
#include "scheduler/gpu_pin.h"
#include "scheduler/process_inner.h"

#define LOOK_EVERY_S 5

/* ---- what an attempt gets ---- */

bool process_gpus(struct process *p, struct attempt *a, const struct exec_request *req, struct step_vars *env,
                  struct str *note, struct err *err)
{
    const struct gpu_want w = gpu_pinned(&a->arena, &req->resources, req->pin);
    BUF_AUTO text;
    buf_init(&text, 0);
    if (!gpus_own(p->gpus, a->id, &w, err)) return false;
    if (p->cfg.gpus == NULL || !gpu_host_any(p->cfg.gpus)) return true;
    gpus_note(p->gpus, a->id, &text);
    *note = arena_str(&a->arena, buf_view(&text));
    struct str visible = gpus_visible(&a->arena, *note);
    /* Who has none sees none; so no step takes another's by chance. The second is for containers that it starts. */
    step_vars_put(env, STR("CUDA_VISIBLE_DEVICES"), visible);
    step_vars_put(env, STR("NVIDIA_VISIBLE_DEVICES"), visible.n > 0 ? visible : STR("void"));
    return true;
}

/* ---- how they are ---- */

static void take_faults(struct process *p)
{
    for (size_t i = 0; i < gpus_count(p->gpus); i++) {
        char text[64];
        struct str why = gpu_host_fault(p->cfg.gpus, i, text);
        const struct gpu *gpu = gpus_device(p->gpus, i);
        if (!gpus_fault(p->gpus, i, why)) continue;
        if (why.n > 0)
            log_warn("a GPU is given to no step any more", LOG_INT("gpu", gpu->index), LOG_STR("uuid", gpu->uuid),
                     LOG_STR("it", why));
        else
            log_info("a GPU is in order again", LOG_INT("gpu", gpu->index), LOG_STR("uuid", gpu->uuid));
    }
}

static void look(struct job *job)
{
    gpu_host_look(((struct gpu_job *)(void *)job)->host);
}

/* Drivers that are asked about a dying GPU may take their time: a worker waits for them, and nobody asks twice. */
void process_gpus_look(struct process *p)
{
    uint64_t ticks;
    if (p->node != NULL) process_node_publish(p->node, p->gpus);
    if (p->gpu_timer < 0 || read(p->gpu_timer, &ticks, sizeof ticks) < 0 || p->gpu_job.out) return;
    p->gpu_job.out = true;
    workers_add(p->workers, &p->gpu_job.job);
}

bool process_gpus_looked(struct process *p, const struct job *job)
{
    if (job != &p->gpu_job.job) return false;
    p->gpu_job.out = false;
    take_faults(p);
    return true;
}

/* ---- start and stop ---- */

bool process_gpus_open(struct process *p, struct err *err)
{
    size_t n = 0;
    const struct gpu *list = p->cfg.gpus != NULL ? gpu_host_list(p->cfg.gpus, &n) : NULL;
    p->gpus = gpus_new(list, n);
    p->gpu_timer = -1;
    if (n == 0) return true;
    const struct itimerspec every = {.it_interval.tv_sec = LOOK_EVERY_S, .it_value.tv_sec = LOOK_EVERY_S};
    p->gpu_job = (struct gpu_job){.job.run = look, .host = p->cfg.gpus};
    p->gpu_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    timerfd_settime(p->gpu_timer, 0, &every, NULL);
    take_faults(p);
    return process_node_open(p->cfg.data_dir, p->cfg.cpu_milli, p->cfg.memory_bytes, p->gpus, &p->node, err);
}

static enum exec_placing placing(void *self)
{
    return process_node_placing(((const struct process *)self)->node);
}

bool process_source(struct executor *x, struct placer_source *out)
{
    const struct process *p = x->self;
    if (p->node == NULL) return false;
    *out = process_node_source(p->node);
    x->placed = true;
    x->placing = placing;
    x->domain = process_node_domain(p->node);
    return true;
}

void process_gpus_close(struct process *p)
{
    if (p->gpu_timer >= 0) close(p->gpu_timer);
    process_node_close(p->node);
    gpus_free(p->gpus);
}
