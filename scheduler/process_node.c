/* See process_node.h. */
#include "scheduler/process_node.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"

#define ID_FILE "node-id"
#define ID_BYTES 8

struct hold {
    struct attempt_id id;
    const uint32_t *which;
    uint32_t n, milli; /* milli: of each */
};

struct process_node {
    struct arena arena; /* of what never changes */
    char domain[32];
    struct str name;
    int64_t cpu, memory;
    struct queue_group *groups; /* equal devices, by product */
    struct str *products;       /* of each */
    size_t n_groups;
    uint32_t *group; /* of each device */
    size_t n_devices;
    int event;                   /* eventfd: something was published */
    _Atomic int placing;         /* enum exec_placing */
    _Atomic uint64_t generation; /* of what follows; 0 = nothing is known yet */
    uint64_t published;          /* version of the executor's */
    pthread_mutex_t lock;        /* of what follows */
    struct arena board;
    struct hold *holds;
    size_t n_holds;
    bool *broken; /* devices */
};

/* ---- what the machine has, as a cluster's nodes have it in their labels: https://github.com/NVIDIA/k8s-device-plugin
 * (GPU feature discovery; of instances by MIG those of the strategy "mixed") ---- */

static void label(struct process_node *n, struct place_pair *pairs, size_t *k, struct str key, struct str value)
{
    pairs[(*k)++] = (struct place_pair){arena_str(&n->arena, key), arena_str(&n->arena, value)};
}

/* nvidia.com/gpu.memory, nvidia.com/mig-1g.5gb.memory */
static struct str key_of(struct process_node *n, struct str resource, const char *what)
{
    return arena_printf(&n->arena, "%.*s.%s", STR_ARG(resource), what);
}

static struct str resource_of(struct process_node *n, struct str profile)
{
    if (profile.n == 0) return STR("nvidia.com/gpu");
    struct str resource = arena_printf(&n->arena, "nvidia.com/mig-%.*s", STR_ARG(profile));
    char *text = arena_cstr(&n->arena, resource);
    for (size_t i = 0; i < resource.n; i++)
        if (text[i] == '+') text[i] = '.';
    return (struct str){text, resource.n};
}

static void describe(struct process_node *n, size_t i, int64_t memory)
{
    struct queue_group *g = &n->groups[i];
    struct str name, profile = gpu_profile(n->products[i], &name);
    struct place_pair *pairs = arena_array(&n->arena, struct place_pair, 8);
    g->resource = resource_of(n, profile);
    label(n, pairs, &g->n_labels, STR("kubernetes.io/hostname"), n->name);
    label(n, pairs, &g->n_labels, STR("nvidia.com/gpu.present"), STR("true"));
    label(n, pairs, &g->n_labels, STR("nvidia.com/gpu.product"), name);
    if (profile.n > 0) label(n, pairs, &g->n_labels, key_of(n, g->resource, "product"), n->products[i]);
    label(n, pairs, &g->n_labels, key_of(n, g->resource, "memory"),
          arena_printf(&n->arena, "%lld", (long long)(memory >> 20)));
    label(n, pairs, &g->n_labels, key_of(n, g->resource, "count"), arena_printf(&n->arena, "%u", g->n));
    g->labels = pairs;
}

static size_t group_of(struct process_node *n, struct str product)
{
    size_t i = 0;
    while (i < n->n_groups && !str_eq(n->products[i], product))
        i++;
    if (i == n->n_groups) n->products[n->n_groups++] = arena_str(&n->arena, product);
    return i;
}

static void group_devices(struct process_node *n, const struct gpus *g)
{
    int64_t *memory = arena_calloc(&n->arena, n->n_devices + 1, sizeof *memory);
    n->groups = arena_calloc(&n->arena, n->n_devices + 1, sizeof *n->groups);
    n->products = arena_array(&n->arena, struct str, n->n_devices + 1);
    n->group = arena_array(&n->arena, uint32_t, n->n_devices + 1);
    for (size_t i = 0; i < n->n_devices; i++) {
        const struct gpu *gpu = gpus_device(g, i);
        size_t at = group_of(n, gpu->product);
        n->group[i] = (uint32_t)at;
        n->groups[at].n++;
        if (memory[at] == 0 || gpu->memory_bytes < memory[at]) memory[at] = gpu->memory_bytes;
    }
    for (size_t i = 0; i < n->n_groups; i++)
        describe(n, i, memory[i]);
}

/* ---- the executor's thread ---- */

static void pin_up(void *ctx, const struct gpus_held *h)
{
    struct process_node *n = ctx;
    uint32_t *which = arena_array(&n->board, uint32_t, (size_t)h->n + 1);
    memcpy(which, h->which, h->n * sizeof *which);
    n->holds[n->n_holds++] = (struct hold){h->id, which, h->n, h->milli};
}

static void count_one(void *ctx, const struct gpus_held *h)
{
    size_t *n = ctx;
    (void)h;
    ++*n;
}

void process_node_publish(struct process_node *n, const struct gpus *g)
{
    const uint64_t one = 1;
    size_t many = 0;
    /* Before all is known nothing is told; what is expected later is among the rest. */
    if (gpus_version(g) == n->published || (n->generation == 0 && !gpus_settled(g))) return;
    n->published = gpus_version(g);
    gpus_each(g, count_one, &many);
    pthread_mutex_lock(&n->lock);
    arena_reset(&n->board);
    n->holds = arena_array(&n->board, struct hold, many + 1);
    n->n_holds = 0;
    gpus_each(g, pin_up, n);
    n->broken = arena_array(&n->board, bool, n->n_devices + 1);
    for (size_t i = 0; i < n->n_devices; i++)
        n->broken[i] = gpus_broken(g, i);
    n->generation++;
    pthread_mutex_unlock(&n->lock);
    (void)!write(n->event, &one, sizeof one);
}

enum exec_placing process_node_placing(const struct process_node *n)
{
    return (enum exec_placing)n->placing;
}

const char *process_node_domain(const struct process_node *n)
{
    return n->domain;
}

/* ---- the placer's thread ---- */

static void source_wanted(void *self)
{
    (void)self; /* it is all known anyway */
}

static int source_fd(void *self)
{
    return ((struct process_node *)self)->event;
}

static void source_turn(void *self)
{
    uint64_t ticks;
    (void)!read(((struct process_node *)self)->event, &ticks, sizeof ticks);
}

static bool source_known(void *self)
{
    (void)self; /* only who has them may not be */
    return true;
}

static uint64_t source_generation(void *self)
{
    return ((struct process_node *)self)->generation;
}

static struct str source_trouble(void *self)
{
    (void)self;
    return STR("");
}

enum use { FREE, COUNTED, OTHERS };

/* Who holds one that the rules count has it for them, even when it is broken; what else is held is taken. */
static void take(const struct process_node *n, struct queue_group *groups, const enum use *use)
{
    for (size_t i = 0; i < n->n_devices; i++) {
        groups[n->group[i]].own += use[i] == OTHERS;
        groups[n->group[i]].taken += use[i] == OTHERS || (n->broken[i] && use[i] == FREE);
    }
}

/* Of equal devices, who has them though the rules do not count it. */
static void list_holders(struct queue_group *group, const struct process_node *n, uint32_t which, const bool *counted,
                         struct arena *a)
{
    struct queue_holder *list = arena_array(a, struct queue_holder, n->n_holds + 1);
    group->n_holders = 0;
    for (size_t i = 0; i < n->n_holds; i++) {
        const struct hold *h = &n->holds[i];
        int64_t milli = 0;
        for (uint32_t k = 0; k < h->n; k++)
            milli += n->group[h->which[k]] == which ? h->milli : 0;
        if (milli > 0 && !counted[i])
            list[group->n_holders++] = (struct queue_holder){h->id.run, milli, h->id.task, h->id.attempt};
    }
    group->holders = list;
}

static size_t source_nodes(void *self, placer_counts_fn *counts, const void *ctx, struct arena *a,
                           struct queue_node **out)
{
    struct process_node *n = self;
    enum use *use = arena_calloc(a, n->n_devices + 1, sizeof *use);
    struct queue_group *groups = arena_array(a, struct queue_group, n->n_groups + 1);
    memcpy(groups, n->groups, n->n_groups * sizeof *groups);
    pthread_mutex_lock(&n->lock);
    bool *counted = arena_array(a, bool, n->n_holds + 1);
    for (size_t i = 0; i < n->n_holds; i++) {
        counted[i] = counts(ctx, &n->holds[i].id, n->name);
        enum use by = counted[i] ? COUNTED : OTHERS;
        for (uint32_t k = 0; k < n->holds[i].n; k++)
            if (use[n->holds[i].which[k]] < by) use[n->holds[i].which[k]] = by;
    }
    if (n->generation > 0) take(n, groups, use);
    for (size_t i = 0; i < n->n_groups; i++)
        list_holders(&groups[i], n, (uint32_t)i, counted, a);
    pthread_mutex_unlock(&n->lock);
    *out = arena_new(a, struct queue_node);
    **out = (struct queue_node){.name = n->name,
                                .schedulable = true,
                                .cpu = n->cpu,
                                .memory = n->memory,
                                .labels = n->groups[0].labels, /* its name */
                                .n_labels = 1,
                                .groups = groups,
                                .n_groups = n->n_groups};
    return 1;
}

static size_t source_pods(void *self, struct arena *a, struct placer_pod **out)
{
    struct process_node *n = self;
    pthread_mutex_lock(&n->lock);
    size_t many = n->n_holds;
    *out = arena_array(a, struct placer_pod, many + 1);
    for (size_t i = 0; i < many; i++)
        (*out)[i] = (struct placer_pod){n->holds[i].id, 0, n->name};
    pthread_mutex_unlock(&n->lock);
    return many;
}

static void source_declared(void *self, bool any)
{
    ((struct process_node *)self)->placing = any ? EXEC_PLACES : EXEC_COUNTS;
}

/* Which of its GPUs is the executor's to say, among those that count for the flavor. */
static void source_pin(void *self, const struct queue_setup *s, uint32_t flavor, struct jsonw *j)
{
    const struct process_node *n = self;
    jsonw_key(j, "products");
    jsonw_array(j);
    for (size_t i = 0; i < n->n_groups; i++)
        if (queue_setup_group(s, &n->groups[i]) == flavor) jsonw_str(j, n->products[i]);
    jsonw_array_end(j);
}

static uint32_t source_broken(void *self, const struct queue_setup *s, uint32_t flavor)
{
    struct process_node *n = self;
    uint32_t broken = 0;
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; n->generation > 0 && i < n->n_devices; i++)
        broken += n->broken[i] && queue_setup_group(s, &n->groups[n->group[i]]) == flavor;
    pthread_mutex_unlock(&n->lock);
    return broken;
}

static void source_close(void *self)
{
    (void)self; /* the executor's */
}

struct placer_source process_node_source(struct process_node *n)
{
    n->placing = EXEC_UNSURE;
    return (struct placer_source){.self = n,
                                  .domain = n->domain,
                                  .wanted = source_wanted,
                                  .fd = source_fd,
                                  .turn = source_turn,
                                  .known = source_known,
                                  .generation = source_generation,
                                  .trouble = source_trouble,
                                  .nodes = source_nodes,
                                  .pods = source_pods,
                                  .declared = source_declared,
                                  .pin = source_pin,
                                  .broken = source_broken,
                                  .close = source_close};
}

/* ---- open and close ---- */

/* A data folder keeps its name, whatever the machine is called: what was admitted to it is still its own. */
static bool read_id(struct process_node *n, struct str data_dir, struct err *err)
{
    BUF_AUTO text;
    char path[FS_PATH_MAX], made[2 * ID_BYTES + 1];
    unsigned char bytes[ID_BYTES];
    struct err missing = {0};
    buf_init(&text, 0);
    if (!fs_path(path, err, "%.*s/" ID_FILE, STR_ARG(data_dir))) return false;
    if (!fs_read(path, 64, &text, &missing) && missing.code != ERR_NOT_FOUND) {
        *err = missing;
        return false;
    }
    bool there = str_trim(buf_view(&text)).n == 2 * ID_BYTES;
    if (!there) {
        os_random(bytes, sizeof bytes);
        digest_hex(bytes, sizeof bytes, made);
        if (!fs_write(path, str_of(made), 0600, true, err)) return false;
    }
    struct str id = there ? str_trim(buf_view(&text)) : str_of(made);
    snprintf(n->domain, sizeof n->domain, "process:%.*s", STR_ARG(id));
    return true;
}

bool process_node_open(struct str data_dir, int64_t cpu, int64_t memory, const struct gpus *g,
                       struct process_node **out, struct err *err)
{
    char host[128] = "";
    struct process_node *n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    arena_init(&n->arena, 0);
    arena_init(&n->board, 0);
    pthread_mutex_init(&n->lock, NULL);
    n->cpu = cpu;
    n->memory = memory;
    n->placing = EXEC_COUNTS;
    n->published = UINT64_MAX;
    n->n_devices = gpus_count(g);
    n->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    gethostname(host, sizeof host - 1);
    n->name = arena_str(&n->arena, host[0] != '\0' ? str_of(host) : STR("localhost"));
    group_devices(n, g);
    if (!read_id(n, data_dir, err)) {
        process_node_close(n);
        return false;
    }
    *out = n;
    return true;
}

void process_node_close(struct process_node *n)
{
    if (n == NULL) return;
    if (n->event >= 0) close(n->event);
    pthread_mutex_destroy(&n->lock);
    arena_free(&n->board);
    arena_free(&n->arena);
    free(n);
}
