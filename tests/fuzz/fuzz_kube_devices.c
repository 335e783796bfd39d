/* Slices and claims from any JSON: lines of the input are objects, which are heard one after the other. No more is
 * taken than there is, and what all flavors together have is what the slices tell of. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/kube/client.h"
#include "scheduler/kube_devices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool so)
{
    if (!so) abort();
}

static bool of_ours(const void *ctx, struct str pod)
{
    (void)ctx;
    return pod.n > 0 && pod.p[0] == 'o';
}

static void check(const struct kube_devices *d, uint64_t most, struct arena *a)
{
    struct kube_device_group *groups;
    size_t n = kube_devices_count(d, of_ours, NULL, a, &groups);
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++) {
        const struct place_devices *g = &groups[i].devices;
        must(g->n > 0 && g->taken <= g->n && g->n_of > 0 && groups[i].node.n > 0);
        all += g->n;
    }
    must(all <= most);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct queue_attribute model = {STR_INIT("d"), STR_INIT("m"), QUEUE_ATTRIBUTE_STRING, STR_INIT("x"),
                                                 0};
    static const struct queue_capacity memory = {STR_INIT("d"), STR_INIT("c"), 4};
    static const struct flavor_doc flavors[] = {
        {.name = STR_INIT("one"), .device_class = STR_INIT("d"), .devices = {STR_INIT("d"), &model, &memory, 1, 1}},
        {.name = STR_INIT("any"), .device_class = STR_INIT("d"), .devices = {.driver = STR_INIT("d")}}};
    struct str rest = {(const char *)data, size}, line;
    struct kube_devices *d = kube_devices_new();
    struct arena a;
    uint64_t most = 0;
    arena_init(&a, 0);
    must(kube_devices_flavors(d, flavors, 2) == 2);
    for (int lines = 0; lines < 32 && str_split(&rest, '\n', &line); lines++) {
        struct value v;
        struct kube_slice s;
        struct kube_claim_state c;
        bool deleted = line.n > 0 && line.p[0] == '-';
        if (!kube_json(&a, str_sub(line, deleted, line.n), &v, NULL)) continue;
        if (kube_slice_read(&a, &v, &s)) most += s.n_devices;
        if (kube_claim_read(&a, &v, &c)) must(c.uid.n > 0);
        (void)kube_devices_hear_slice(d, deleted, &v);
        (void)kube_devices_hear_claim(d, deleted, &v);
        check(d, most, &a);
    }
    kube_devices_free(d);
    arena_free(&a);
    return 0;
}
