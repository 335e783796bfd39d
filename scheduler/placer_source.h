/* Where GPUs are: what the placer asks of a cluster's nodes, or of a machine. Used by the placer's thread alone. */
#ifndef MILLRACE_SCHEDULER_PLACER_SOURCE_H
#define MILLRACE_SCHEDULER_PLACER_SOURCE_H

#include "engine/base/jsonw.h"
#include "engine/store/queue_setup.h"
#include "scheduler/executor.h"

struct placer_pod { /* of an attempt of this installation */
    struct attempt_id id;
    uint32_t index;  /* among the pods of a gang, from 0 */
    struct str node; /* empty = none yet */
};

/* Do the rules know what that attempt has of that node (empty = of none yet)? What other pods have is taken off the
 * nodes. */
typedef bool placer_counts_fn(const void *ctx, const struct attempt_id *id, struct str node);

struct placer_source {
    void *self;
    const char *domain; /* instance of the executor that runs what is admitted */
    bool whole_parts;   /* a shared GPU is had in parts that are counted: queue_ask */
    /* What is declared, which devices are told apart by; before nodes are asked for, and again when it has changed.
     * Valid during the call. NULL = the source tells of resources only. */
    void (*flavors)(void *self, const struct flavor_doc *flavors, size_t n);
    /* From now on somebody waits: what is dear to know is wanted, too. */
    void (*wanted)(void *self);
    int (*fd)(void *self);     /* readable when turn() has something to do; -1 = never */
    void (*turn)(void *self);  /* hears what there is */
    bool (*known)(void *self); /* the nodes are, if not what pods have of them */
    /* Grows with what changes; 0 = not all is known yet. */
    uint64_t (*generation)(void *self);
    /* Grows with what nodes() would tell, pods or no pods; NULL = nobody counts it. */
    uint64_t (*version)(void *self);
    /* Why not all is known, for people; empty = nothing is wrong. Valid until the next turn. */
    struct str (*trouble)(void *self);
    size_t (*nodes)(void *self, placer_counts_fn *counts, const void *ctx, struct arena *a, struct queue_node **out);
    size_t (*pods)(void *self, struct arena *a, struct placer_pod **out);
    /* Whether any flavor or queue is declared. NULL = it does not matter. */
    void (*declared)(void *self, bool any);
    /* What else who is admitted on the flavor is told, as members of the pin's object. NULL = nothing. */
    void (*pin)(void *self, const struct queue_setup *s, uint32_t flavor, struct jsonw *j);
    /* How many GPUs of the flavor are not in order: people are told when somebody waits. NULL = that is not known. */
    uint32_t (*broken)(void *self, const struct queue_setup *s, uint32_t flavor);
    void (*close)(void *self);
};

#endif
