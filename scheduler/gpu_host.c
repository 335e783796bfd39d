/* See gpu_host.h. */
#include "scheduler/gpu_host.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/os/log.h"
#include "engine/os/nvml.h"

struct gpu_host {
    struct arena arena;
    struct nvml *nvml; /* NULL = there is none */
    struct nvml_device *devices;
    size_t n_devices;
    struct gpu *list; /* those that steps may have */
    size_t *device;   /* of each: which of the devices it is */
    size_t n;
};

/* ---- which ---- */

/* By number a GPU is meant with all its instances, by UUID one device. */
static bool is_named(const struct nvml_device *d, struct str name)
{
    int64_t index;
    return str_is(name, d->uuid) || (str_int(name, &index) && index == d->index);
}

static bool is_among(const struct nvml_device *d, struct str which)
{
    struct str name;
    while (str_split(&which, ',', &name))
        if (is_named(d, str_trim(name))) return true;
    return false;
}

static bool all_are_here(const struct gpu_host *h, struct str which, struct err *err)
{
    struct str name;
    while (str_split(&which, ',', &name)) {
        size_t i = 0;
        while (i < h->n_devices && !is_named(&h->devices[i], str_trim(name)))
            i++;
        if (i < h->n_devices) continue;
        err_set(err, ERR_INVALID, "gpus: this machine has no GPU '%.*s'", STR_ARG(str_trim(name)));
        return err_hint(err, "all, none, or what nvidia-smi -L lists: numbers and UUIDs");
    }
    return true;
}

static void choose(struct gpu_host *h, struct str which)
{
    h->list = arena_array(&h->arena, struct gpu, h->n_devices + 1);
    h->device = arena_array(&h->arena, size_t, h->n_devices + 1);
    for (size_t i = 0; i < h->n_devices && !str_is(which, "none"); i++) {
        const struct nvml_device *d = &h->devices[i];
        if (d->uuid[0] == '\0' || !(str_is(which, "all") || is_among(d, which))) continue;
        h->list[h->n] = (struct gpu){.uuid = str_of(d->uuid),
                                     .product = gpu_product(&h->arena, str_of(d->name), str_of(d->profile)),
                                     .part = d->profile[0] != '\0',
                                     .index = d->index,
                                     .memory_bytes = d->memory_bytes};
        h->device[h->n++] = i;
    }
}

/* ---- open and close ---- */

static void say(const struct gpu_host *h)
{
    for (size_t i = 0; i < h->n_devices; i++)
        if (h->devices[i].uuid[0] == '\0') log_warn("a GPU does not answer", LOG_INT("gpu", h->devices[i].index));
    for (size_t i = 0; i < h->n; i++)
        log_info("steps may have a GPU", LOG_INT("gpu", h->list[i].index), LOG_STR("uuid", h->list[i].uuid),
                 LOG_STR("product", h->list[i].product), LOG_INT("mib", h->list[i].memory_bytes >> 20));
}

static bool open_library(struct gpu_host *h, struct str library, struct err *err)
{
    const char *name = library.n > 0 ? arena_cstr(&h->arena, library) : NVML_LIBRARY;
    if (!nvml_open(&h->nvml, name, err)) return false;
    return nvml_list(h->nvml, &h->arena, &h->devices, &h->n_devices, err);
}

bool gpu_host_open(struct str library, struct str which, struct gpu_host **out, struct err *err)
{
    bool named = !str_is(which, "all") && !str_is(which, "none");
    struct err why = {0};
    struct gpu_host *h = calloc(1, sizeof *h);
    if (h == NULL) abort();
    arena_init(&h->arena, 0);
    bool fine = open_library(h, library, &why) || (why.code == ERR_NOT_FOUND && library.n == 0);
    if (!fine && library.n == 0 && !named) {
        log_err(LEVEL_WARN, "this machine's GPUs cannot be used", &why);
        fine = true;
    }
    if (!fine && err != NULL) *err = why;
    if (!fine || (named && !all_are_here(h, which, err))) {
        gpu_host_close(h);
        return false;
    }
    choose(h, which);
    say(h);
    *out = h;
    return true;
}

void gpu_host_close(struct gpu_host *h)
{
    if (h == NULL) return;
    nvml_close(h->nvml);
    arena_free(&h->arena);
    free(h);
}

const struct gpu *gpu_host_list(const struct gpu_host *h, size_t *n)
{
    *n = h->n;
    return h->list;
}

bool gpu_host_any(const struct gpu_host *h)
{
    return h->n_devices > 0;
}

/* ---- health ---- */

void gpu_host_look(struct gpu_host *h)
{
    if (h->nvml != NULL) nvml_look(h->nvml, h->devices, h->n_devices);
}

struct str gpu_host_fault(const struct gpu_host *h, size_t i, char out[64])
{
    const struct nvml_device *d = &h->devices[h->device[i]];
    out[0] = '\0';
    if (d->lost)
        snprintf(out, 64, "is lost");
    else if (d->xid != 0)
        snprintf(out, 64, "has had XID %llu", (unsigned long long)d->xid);
    return str_of(out);
}
