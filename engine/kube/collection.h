/* What a watch knows of a collection, and the reading of what a server says about it: pages of a list, lines of a
 * watch. No I/O: bytes come in, changes go out. */
#ifndef MILLRACE_KUBE_COLLECTION_H
#define MILLRACE_KUBE_COLLECTION_H

#include "engine/base/buf.h"
#include "engine/base/map.h"
#include "engine/kube/watch.h"

#define KUBE_LINE_MAX ((size_t)8 << 20) /* of one event; an object of etcd's has 1.5 MiB at most */

struct kube_known;

struct kube_fault { /* why a watch cannot go on */
    enum { KUBE_FAULT_NONE, KUBE_FAULT_EXPIRED, KUBE_FAULT_SERVER, KUBE_FAULT_BROKEN } kind;
    long code; /* of the Status within the stream */
    char reason[64], message[440];
};

struct kube_collection {
    void (*changed)(void *ctx, enum kube_change change, const struct value *object);
    void *ctx;
    bool stopped;  /* set by a callback: nothing more is told */
    char *version; /* resourceVersion to go on from; NULL = none */
    char *next;    /* of the list under way: where its next page begins; NULL = it is complete */
    struct kube_watch_stats stats;
    /* its own */
    struct map by_name;
    struct kube_known **known;
    size_t room;
    uint32_t round;
    struct buf line;
};

void kube_collection_init(struct kube_collection *k, uint64_t seed);
void kube_collection_free(struct kube_collection *k);

/* A new list: begin, its pages, end, which tells as deleted what was on no page. */
void kube_collection_begin(struct kube_collection *k);
MUST_CHECK bool kube_collection_page(struct kube_collection *k, struct str body, struct err *err);
void kube_collection_end(struct kube_collection *k);

/* A new watch: begin, then bytes as they come. False when it cannot go on, or was stopped (no fault). */
void kube_collection_watch(struct kube_collection *k);
bool kube_collection_bytes(struct kube_collection *k, struct str bytes, struct kube_fault *fault);

#endif
