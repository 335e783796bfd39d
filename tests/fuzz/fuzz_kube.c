/* What Kubernetes' side may send, from any bytes: a kubeconfig, what an exec plugin prints, a page of a list, the bytes
 * of a watch in pieces. Every refusal must have a message, and what was told as present must be what is known. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/kube/collection.h"
#include "engine/kube/plugin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_changed(void *ctx, enum kube_change change, const struct value *object)
{
    struct kube_collection *k = ctx;
    if (kube_text(object, "metadata.name").n == 0) abort();
    if (change == KUBE_PRESENT && k->stats.known == 0) abort();
    k->stopped = k->stats.events > 1000;
}

/* As curl would bring them: cut anywhere. */
static void watch(struct kube_collection *k, struct str bytes)
{
    struct kube_fault fault = {0};
    size_t step = 1 + bytes.n % 61;
    kube_collection_watch(k);
    for (size_t at = 0; at < bytes.n; at += step)
        if (!kube_collection_bytes(k, str_sub(bytes, at, step), &fault)) break;
    if (fault.kind == KUBE_FAULT_BROKEN && fault.message[0] == '\0') abort();
}

static void collection(struct str text)
{
    struct kube_collection k;
    struct err err = {0};
    kube_collection_init(&k, 1);
    k.changed = on_changed;
    k.ctx = &k;
    watch(&k, text);
    kube_collection_begin(&k);
    if (!kube_collection_page(&k, text, &err) && err.code == ERR_NONE) abort();
    kube_collection_end(&k);
    watch(&k, text);
    k.stopped = false;
    kube_collection_begin(&k);
    kube_collection_end(&k);
    if (!k.stopped && k.stats.known != 0) abort();
    kube_collection_free(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str text = {(const char *)data, size};
    struct kube_access access;
    struct kube_exec_credential credential;
    struct err err = {0};
    static const struct kube_exec exec = {.api_version = STR_INIT("client.authentication.k8s.io/v1")};
    arena_init(&a, 0);
    if (!kube_access_parse(&a, text, STR("/nonexistent/config"), (struct str){"", 0}, &access, &err) &&
        err.code == ERR_NONE)
        abort();
    if (!kube_exec_credential_read(&a, text, &exec, 0, &credential, &err) && err.code == ERR_NONE) abort();
    collection(text);
    arena_free(&a);
    return 0;
}
