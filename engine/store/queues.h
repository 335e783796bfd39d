/* The queue for GPUs in the database: what is declared, and what people are shown of it. The placer's own side is in
 * placing.h. */
#ifndef MILLRACE_STORE_QUEUES_H
#define MILLRACE_STORE_QUEUES_H

#include "engine/flow/queue_doc.h"
#include "engine/store/db.h"

#define QUEUE_CHANNEL "millrace_queue"

struct queue_decl {        /* of a flavor or a queue */
    struct str name, spec; /* the document as JSON */
    struct str created_by;
    int64_t created_us, updated_us;
};
enum queue_kind { QUEUE_KIND_FLAVOR, QUEUE_KIND_QUEUE };

MUST_CHECK bool queues_list(struct conn *c, enum queue_kind kind, struct arena *a, struct queue_decl **out, size_t *n,
                            struct err *err);

enum queue_change { QUEUE_UNCHANGED, QUEUE_CREATED, QUEUE_UPDATED };
struct queue_applied {
    enum queue_kind kind;
    struct str name;
    enum queue_change change;
};
/* All of them or none, flavors first; what they name must be there or among them. `applied` has room for all. With
 * `dry` nothing is kept. */
MUST_CHECK bool queues_apply(struct conn *c, const struct queue_docs *docs, struct str actor, bool dry,
                             struct queue_applied *applied, struct err_list *errors, struct err *err);
/* ERR_CONFLICT while somebody uses it. */
MUST_CHECK bool queues_delete(struct conn *c, enum queue_kind kind, struct str name, struct err *err);

/* All declarations, read. What cannot be read is left away: it was checked when it came. */
MUST_CHECK bool queues_docs(struct conn *c, struct arena *a, struct queue_docs *out, struct err *err);
MUST_CHECK bool queues_generation(struct conn *c, struct arena *a, int64_t *out, struct err *err);

struct queue_use { /* of a queue, on one flavor; flavor empty: of those who wait, or have no GPU */
    struct str queue, flavor;
    int64_t waiting, running, gpu, cpu, memory; /* thousandths, thousandths, bytes */
    int64_t handed;                             /* over to Kueue: not among the running */
};
MUST_CHECK bool queues_usage(struct conn *c, struct arena *a, struct queue_use **out, size_t *n, struct err *err);

struct queue_work { /* who waits, or has something */
    int64_t run_id;
    int32_t task, attempt, gpu, pods, priority, state;                                 /* state: see the table */
    struct str path, queue, flavor, reason, why, waiting, got, nodes, project, domain; /* nodes: {a,b} */
    int64_t cpu, memory, submitted_us, admitted_us, position, of, project_id;
    bool handed; /* over to Kueue, which decides when it runs */
};
enum { QUEUE_WAITS = 1, QUEUE_ADMITTED = 2, QUEUE_STOPS = 3, QUEUE_OVER = 4 };
/* queue empty = all; project 0 = all. In order of their queues and places, in which all projects count. */
MUST_CHECK bool queues_works(struct conn *c, struct str queue, int64_t project, uint32_t limit, struct arena *a,
                             struct queue_work **out, size_t *n, struct err *err);

/* All who have something, without places. */
MUST_CHECK bool queues_holders(struct conn *c, struct arena *a, struct queue_work **out, size_t *n, struct err *err);

/* Those that went through no queue: fills in path and project, by run and task. Who is not there any more has no path.
 */
MUST_CHECK bool queues_outside(struct conn *c, struct arena *a, struct queue_work *works, size_t n, struct err *err);

struct queue_wait {
    int32_t task;
    struct str text; /* "needs 1 × gpu, 0 free in queue default; position 3 of 12" */
};
MUST_CHECK bool queues_waiting_of_run(struct conn *c, int64_t run_id, uint32_t limit, struct arena *a,
                                      struct queue_wait **out, size_t *n, struct err *err);

struct placer_seen {
    struct str domain, trouble, nodes, owner; /* nodes: JSON, see scheduler/placer_nodes.c */
    int64_t nodes_us;
};
MUST_CHECK bool queues_placers(struct conn *c, struct arena *a, struct placer_seen **out, size_t *n, struct err *err);

#endif
