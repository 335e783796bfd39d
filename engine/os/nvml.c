/* See nvml.h. */
#include "engine/os/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- of the reference ---- */

typedef int nvml_return;
typedef void *nvml_handle; /* nvmlDevice_t, nvmlEventSet_t */

enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_NO_PERMISSION = 4,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_RESET_REQUIRED = 16
};

#define NVML_DEVICE_MIG_ENABLE 1
#define NVML_EVENT_XID_CRITICAL 0x8ULL /* nvmlEventTypeXidCriticalError */

struct nvml_memory {
    unsigned long long total, free, used;
};

struct nvml_event { /* nvmlEventData_t; the first version ends before the instances */
    nvml_handle device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

#define EVENTS_AT_ONCE 256

struct gpu { /* one that can be asked: what nvml_look() goes by */
    nvml_handle handle;
    char uuid[NVML_TEXT];
    uint32_t index;
    uint64_t xid;
};

struct nvml {
    void *library;
    bool initialised;
    struct gpu *gpus;
    size_t n_gpus;
    nvml_handle events; /* NULL = none: it is an old driver */

    nvml_return (*init)(void);
    nvml_return (*shutdown)(void);
    const char *(*error_string)(nvml_return);
    nvml_return (*count)(unsigned *);
    nvml_return (*by_index)(unsigned, nvml_handle *);
    nvml_return (*uuid)(nvml_handle, char *, unsigned);
    nvml_return (*name)(nvml_handle, char *, unsigned);
    nvml_return (*memory)(nvml_handle, struct nvml_memory *);
    nvml_return (*mig_mode)(nvml_handle, unsigned *, unsigned *);
    nvml_return (*mig_count)(nvml_handle, unsigned *);
    nvml_return (*mig_by_index)(nvml_handle, unsigned, nvml_handle *);
    nvml_return (*events_new)(nvml_handle *);
    nvml_return (*events_register)(nvml_handle, unsigned long long, nvml_handle);
    nvml_return (*events_wait)(nvml_handle, struct nvml_event *, unsigned);
    nvml_return (*events_free)(nvml_handle);
};

/* Newer names first: with an older one the library plays an older driver. */
static const struct symbol {
    const char *name, *older;
    size_t offset;
    bool needed;
} symbols[] = {
    {"nvmlInit_v2", "nvmlInit", offsetof(struct nvml, init), true},
    {"nvmlShutdown", NULL, offsetof(struct nvml, shutdown), true},
    {"nvmlErrorString", NULL, offsetof(struct nvml, error_string), true},
    {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount", offsetof(struct nvml, count), true},
    {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex", offsetof(struct nvml, by_index), true},
    {"nvmlDeviceGetUUID", NULL, offsetof(struct nvml, uuid), true},
    {"nvmlDeviceGetName", NULL, offsetof(struct nvml, name), true},
    {"nvmlDeviceGetMemoryInfo", NULL, offsetof(struct nvml, memory), true},
    {"nvmlDeviceGetMigMode", NULL, offsetof(struct nvml, mig_mode), false},
    {"nvmlDeviceGetMaxMigDeviceCount", NULL, offsetof(struct nvml, mig_count), false},
    {"nvmlDeviceGetMigDeviceHandleByIndex", NULL, offsetof(struct nvml, mig_by_index), false},
    {"nvmlEventSetCreate", NULL, offsetof(struct nvml, events_new), false},
    {"nvmlDeviceRegisterEvents", NULL, offsetof(struct nvml, events_register), false},
    {"nvmlEventSetWait_v2", "nvmlEventSetWait", offsetof(struct nvml, events_wait), false},
    {"nvmlEventSetFree", NULL, offsetof(struct nvml, events_free), false},
};

/* ---- open and close ---- */

static bool find_symbols(struct nvml *n, const char *library, struct err *err)
{
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *at = dlsym(n->library, symbols[i].name);
        if (at == NULL && symbols[i].older != NULL) at = dlsym(n->library, symbols[i].older);
        if (at == NULL && symbols[i].needed)
            return err_set(err, ERR_INVALID, "%s has no %s: it is no NVML", library, symbols[i].name);
        memcpy((char *)n + symbols[i].offset, &at, sizeof at);
    }
    return true;
}

static bool load(struct nvml *n, const char *library, struct err *err)
{
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (n->library == NULL) {
        const char *why = dlerror();
        return err_set(err, ERR_NOT_FOUND, "%s cannot be loaded: %s", library,
                       why != NULL ? why : "no reason is given");
    }
    if (!find_symbols(n, library, err)) return false;
    nvml_return rc = n->init();
    if (rc != NVML_SUCCESS)
        return err_set(err, ERR_UNAVAILABLE, "%s does not start: %s (%d)", library, n->error_string(rc), rc);
    n->initialised = true;
    return true;
}

bool nvml_open(struct nvml **out, const char *library, struct err *err)
{
    struct nvml *n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    if (!load(n, library, err)) {
        nvml_close(n);
        return false;
    }
    if (n->events_new != NULL && n->events_register != NULL && n->events_wait != NULL && n->events_free != NULL &&
        n->events_new(&n->events) != NVML_SUCCESS)
        n->events = NULL;
    *out = n;
    return true;
}

void nvml_close(struct nvml *n)
{
    if (n == NULL) return;
    if (n->events != NULL) n->events_free(n->events);
    if (n->initialised) n->shutdown();
    if (n->library != NULL) dlclose(n->library);
    free(n->gpus);
    free(n);
}

/* ---- the list ---- */

struct listing {
    struct nvml *nvml;
    struct arena *arena;
    struct nvml_device *items;
    size_t n, room;
};

static struct nvml_device *add(struct listing *l)
{
    if (l->n == l->room) {
        size_t room = l->room > 0 ? l->room * 2 : 16;
        l->items = arena_grow(l->arena, l->items, l->n * sizeof *l->items, room * sizeof *l->items);
        l->room = room;
    }
    l->items[l->n] = (struct nvml_device){0};
    return &l->items[l->n++];
}

static bool gone(nvml_return rc)
{
    return rc == NVML_ERROR_GPU_IS_LOST || rc == NVML_ERROR_RESET_REQUIRED;
}

/* False = it cannot be used. */
static bool describe(const struct nvml *n, nvml_handle handle, struct nvml_device *d)
{
    struct nvml_memory memory = {0};
    if (n->uuid(handle, d->uuid, sizeof d->uuid) != NVML_SUCCESS) d->uuid[0] = '\0';
    if (n->name(handle, d->name, sizeof d->name) != NVML_SUCCESS) d->name[0] = '\0';
    d->uuid[sizeof d->uuid - 1] = d->name[sizeof d->name - 1] = '\0';
    if (n->memory(handle, &memory) == NVML_SUCCESS) d->memory_bytes = (int64_t)memory.total;
    return d->uuid[0] != '\0' && d->name[0] != '\0';
}

static bool divided(const struct nvml *n, nvml_handle handle)
{
    unsigned current = 0, pending = 0;
    return n->mig_mode != NULL && n->mig_count != NULL && n->mig_by_index != NULL &&
           n->mig_mode(handle, &current, &pending) == NVML_SUCCESS && current == NVML_DEVICE_MIG_ENABLE;
}

/* An instance's name is its GPU's with its profile behind: "NVIDIA A100-SXM4-40GB MIG 1g.5gb". */
static void add_instances(struct listing *l, const struct nvml_device *gpu, nvml_handle handle)
{
    static const char mark[] = "MIG ";
    unsigned most = 0;
    if (l->nvml->mig_count(handle, &most) != NVML_SUCCESS) return;
    for (unsigned i = 0; i < most; i++) {
        nvml_handle instance;
        struct nvml_device found = {.index = gpu->index};
        if (l->nvml->mig_by_index(handle, i, &instance) != NVML_SUCCESS) continue; /* no instance of that number */
        if (!describe(l->nvml, instance, &found)) continue;
        const char *at = strstr(found.name, mark);
        snprintf(found.profile, sizeof found.profile, "%s", at != NULL ? at + sizeof mark - 1 : "unknown");
        memcpy(found.name, gpu->name, sizeof found.name);
        *add(l) = found;
    }
}

static void watch(struct nvml *n, nvml_handle handle, const struct nvml_device *d)
{
    struct gpu *g = &n->gpus[n->n_gpus++];
    *g = (struct gpu){.handle = handle, .index = d->index};
    memcpy(g->uuid, d->uuid, sizeof g->uuid);
    /* One that knows no such events is known by what it answers. */
    if (n->events != NULL) (void)n->events_register(handle, NVML_EVENT_XID_CRITICAL, n->events);
}

static void add_gpu(struct listing *l, unsigned index)
{
    nvml_handle handle;
    struct nvml_device found = {.index = index};
    nvml_return rc = l->nvml->by_index(index, &handle);
    if (rc == NVML_ERROR_NO_PERMISSION || rc == NVML_ERROR_NOT_FOUND) return;
    if (rc != NVML_SUCCESS || !describe(l->nvml, handle, &found)) {
        found.lost = true;
        *add(l) = found;
        return;
    }
    watch(l->nvml, handle, &found);
    if (divided(l->nvml, handle))
        add_instances(l, &found, handle);
    else
        *add(l) = found;
}

bool nvml_list(struct nvml *n, struct arena *a, struct nvml_device **out, size_t *count, struct err *err)
{
    unsigned gpus = 0;
    nvml_return rc = n->count(&gpus);
    if (rc != NVML_SUCCESS) return err_set(err, ERR_UNAVAILABLE, "GPUs cannot be counted: %s", n->error_string(rc));
    struct listing l = {.nvml = n, .arena = a};
    free(n->gpus);
    n->gpus = calloc(gpus + 1, sizeof *n->gpus);
    n->n_gpus = 0;
    if (n->gpus == NULL) abort();
    for (unsigned i = 0; i < gpus; i++)
        add_gpu(&l, i);
    nvml_look(n, l.items, l.n);
    *out = l.items;
    *count = l.n;
    return true;
}

/* ---- health ---- */

/* What a program does wrong ends that program, and leaves the GPU in order. See the XID catalogue,
 * https://docs.nvidia.com/deploy/xid-errors/. */
static bool of_a_program(uint64_t xid)
{
    static const uint64_t codes[] = {13, 31, 43, 45, 68, 109};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i] == xid) return true;
    return false;
}

static void hear_events(struct nvml *n)
{
    for (int i = 0; n->events != NULL && i < EVENTS_AT_ONCE; i++) {
        struct nvml_event e = {0};
        char uuid[NVML_TEXT] = "";
        if (n->events_wait(n->events, &e, 0) != NVML_SUCCESS) return; /* there is none, or nobody answers any more */
        if (e.type != NVML_EVENT_XID_CRITICAL || of_a_program(e.data)) continue;
        bool named = n->uuid(e.device, uuid, sizeof uuid) == NVML_SUCCESS;
        for (size_t k = 0; k < n->n_gpus; k++)
            if (n->gpus[k].handle == e.device || (named && strcmp(n->gpus[k].uuid, uuid) == 0)) n->gpus[k].xid = e.data;
    }
}

void nvml_look(struct nvml *n, struct nvml_device *devices, size_t count)
{
    hear_events(n);
    for (size_t k = 0; k < n->n_gpus; k++) {
        struct nvml_memory memory;
        bool lost = gone(n->memory(n->gpus[k].handle, &memory));
        for (size_t i = 0; i < count; i++) {
            if (devices[i].index != n->gpus[k].index) continue;
            devices[i].lost = lost;
            devices[i].xid = n->gpus[k].xid;
        }
    }
}
