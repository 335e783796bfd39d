/* A machine's GPUs as a play: a shared object with the functions of NVML that Millrace loads. What there is stands in
 * the file that FAKE_NVML names, a line each:
 *
 *     gpu UUID MIB NAME…         one more GPU
 *     mig UUID MIB PROFILE       an instance of the last one, which is then divided
 *     hidden UUID                this user may not see it
 *     lost UUID                  it has fallen off the bus
 *     xid UUID NUMBER            its driver has reported that error
 *     init NUMBER                the library does not start
 *
 * GPUs are read once, the other lines at each call: a test may break a GPU while its server runs. FAKE_NVML_OLD leaves
 * out what drivers before MIG do not have. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES 64
#define TEXT 96

struct device {
    char uuid[TEXT], name[TEXT];
    unsigned long long mib;
    int parent; /* of an instance; -1 = it is a GPU */
};

struct memory {
    unsigned long long total, free, used;
};
struct event {
    void *device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

enum { OK = 0, INVALID = 2, NO_PERMISSION = 4, NOT_FOUND = 6, TIMEOUT = 10, LOST = 15 };

static struct device devices[DEVICES];
static int n_devices, told;

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int rc);
int nvmlDeviceGetCount_v2(unsigned *n);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle);
int nvmlDeviceGetUUID(void *handle, char *out, unsigned size);
int nvmlDeviceGetName(void *handle, char *out, unsigned size);
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *out);

/* Calls one(word, uuid, rest) for each line, until it says false. */
static void each_line(bool (*one)(void *ctx, const char *word, const char *uuid, char *rest), void *ctx)
{
    char line[512], word[16], uuid[TEXT];
    const char *path = getenv("FAKE_NVML");
    FILE *f = path != NULL ? fopen(path, "re") : NULL;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%15s %95s %n", word, uuid, &at) < 2) continue;
        if (!one(ctx, word, uuid, line + at)) break;
    }
    if (f != NULL) fclose(f);
}

static bool learn(void *ctx, const char *word, const char *uuid, char *rest)
{
    static int last;
    int *rc = ctx;
    if (strcmp(word, "init") == 0) *rc = atoi(uuid);
    bool is_gpu = strcmp(word, "gpu") == 0;
    if (n_devices == DEVICES || (!is_gpu && strcmp(word, "mig") != 0)) return true;
    struct device d = {.parent = is_gpu ? -1 : last};
    char *name;
    d.mib = strtoull(rest, &name, 10);
    name += strspn(name, " ");
    snprintf(d.uuid, TEXT, "%s", uuid);
    if (is_gpu)
        snprintf(d.name, TEXT, "%s", name);
    else
        snprintf(d.name, TEXT, "%.60s MIG %.20s", devices[last].name, name);
    if (is_gpu) last = n_devices;
    devices[n_devices++] = d;
    return true;
}

struct question {
    const char *word, *uuid;
    bool yes;
};

static bool answer(void *ctx, const char *word, const char *uuid, char *rest)
{
    struct question *q = ctx;
    (void)rest;
    q->yes = strcmp(word, q->word) == 0 && strcmp(uuid, q->uuid) == 0;
    return !q->yes;
}

static bool is(const struct device *d, const char *word)
{
    struct question q = {word, d->parent >= 0 ? devices[d->parent].uuid : d->uuid, false};
    each_line(answer, &q);
    return q.yes;
}

int nvmlInit_v2(void)
{
    int rc = OK;
    n_devices = told = 0;
    each_line(learn, &rc);
    return rc;
}

int nvmlShutdown(void)
{
    return OK;
}

const char *nvmlErrorString(int rc)
{
    return rc == 9 ? "Driver Not Loaded" : rc == LOST ? "GPU is lost" : "Some Error";
}

int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = 0;
    for (int i = 0; i < n_devices; i++)
        *n += devices[i].parent < 0;
    return OK;
}

static struct device *nth(int parent, unsigned index)
{
    for (int i = 0; i < n_devices; i++)
        if (devices[i].parent == parent && index-- == 0) return &devices[i];
    return NULL;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    struct device *d = nth(-1, index);
    if (d == NULL) return INVALID;
    if (is(d, "hidden")) return NO_PERMISSION;
    if (is(d, "lost")) return LOST;
    *handle = d;
    return OK;
}

static int say(const char *text, char *out, unsigned size)
{
    snprintf(out, size, "%s", text);
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *out, unsigned size)
{
    return say(((struct device *)handle)->uuid, out, size);
}

int nvmlDeviceGetName(void *handle, char *out, unsigned size)
{
    return say(((struct device *)handle)->name, out, size);
}

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *out)
{
    const struct device *d = handle;
    if (is(d, "lost")) return LOST;
    *out = (struct memory){d->mib << 20, d->mib << 20, 0};
    return OK;
}

#ifndef FAKE_NVML_OLD
int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending);
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *n);
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **out);
int nvmlEventSetCreate(void **set);
int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, void *set);
int nvmlEventSetWait_v2(void *set, struct event *out, unsigned ms);
int nvmlEventSetFree(void *set);

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
    *current = *pending = nth((int)((struct device *)handle - devices), 0) != NULL;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *n)
{
    (void)handle;
    *n = 7;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **out)
{
    struct device *d = nth((int)((struct device *)handle - devices), index);
    if (d == NULL) return NOT_FOUND;
    *out = d;
    return OK;
}

int nvmlEventSetCreate(void **set)
{
    *set = &told;
    return OK;
}

int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, void *set)
{
    (void)handle;
    return types == 8 && set == &told ? OK : INVALID;
}

struct search {
    int skip;
    struct event *out;
    bool found;
};

static bool take_event(void *ctx, const char *word, const char *uuid, char *rest)
{
    struct search *s = ctx;
    if (strcmp(word, "xid") != 0 || s->skip-- > 0) return true;
    for (int i = 0; i < n_devices; i++)
        if (strcmp(devices[i].uuid, uuid) == 0) s->out->device = &devices[i];
    s->out->type = 8;
    s->out->data = strtoull(rest, NULL, 10);
    s->found = s->out->device != NULL;
    return false;
}

int nvmlEventSetWait_v2(void *set, struct event *out, unsigned ms)
{
    struct search s = {.skip = told, .out = out};
    if (set != &told || ms != 0) return INVALID;
    each_line(take_event, &s);
    if (!s.found) return TIMEOUT;
    told++;
    return OK;
}

int nvmlEventSetFree(void *set)
{
    return set == &told ? OK : INVALID;
}
#endif
