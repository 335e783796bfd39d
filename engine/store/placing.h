/* The placer's side of the table queue_work: who asks, what it answers. One placer a domain, by an advisory lock of its
 * session; an epoch fences all it writes, so that one that lost its lock changes nothing any more.
 *
 * What an owner wrote last has the mark `news`, until the placer that has seen it takes it away; an answer to what has
 * been withdrawn meanwhile changes nothing, and the news of the withdrawal follow. So neither a crash nor a delay on
 * either side loses or doubles anything. What an owner holds at that moment is not waited for: `won` says what of the
 * answers was written, and the others are to be looked at again, since an owner may let go of a row as it was. */
#ifndef MILLRACE_STORE_PLACING_H
#define MILLRACE_STORE_PLACING_H

#include "engine/store/db.h"

struct placing_row {
    int64_t id, run_id, cpu, memory, submitted_us, admitted_us, by;
    int32_t task, attempt, gpu, pods, priority, state; /* QUEUE_WAITS… of queues.h */
    struct str path, queue, flavor, got, nodes;        /* nodes: {a,b} */
    struct str on_nodes;                               /* JSON: its nodeSelector, tolerations; empty = neither */
    int64_t timeout_ms;                                /* of its attempt; 0 = none */
    struct str pin;                                    /* JSON: with what it was admitted */
};

struct placing_admit {
    int64_t id;
    int32_t attempt;
    struct str flavor, pin, nodes; /* pin: JSON; nodes: {a,b} */
    bool won;
};
struct placing_victim {
    int64_t id, by; /* by = id: only if it has not begun */
    int32_t attempt;
    struct str by_text;
    bool won;
};
struct placing_why {
    int64_t id;
    int32_t attempt;
    struct str reason, why, text; /* why: JSON */
    bool won;
};
struct placing_moved { /* what was admitted, and is on other nodes than it was to be */
    int64_t id;
    int32_t attempt;
    struct str nodes;
    bool won;
};
struct placing_heard {
    int64_t id;
    int32_t attempt, state;
};

struct placing_answers { /* of a cycle, in one transaction */
    struct placing_heard *heard;
    struct placing_admit *admits;
    struct placing_victim *victims;
    struct placing_why *whys;
    struct placing_moved *moved;
    size_t n_heard, n_admits, n_victims, n_whys, n_moved;
};

struct placing_lease {
    struct str domain;
    int64_t epoch; /* 0 = not held */
};

/* Takes the lock of the domain in this session if it is free. Another's session that has said nothing for stuck_us is
 * ended first. lease->epoch stays 0 when somebody else has it. */
MUST_CHECK bool placing_lease(struct conn *c, struct placing_lease *lease, struct str owner, int64_t stuck_us,
                              struct err *err);
/* Everything that waits or runs; or what has news. */
MUST_CHECK bool placing_read(struct conn *c, const struct placing_lease *lease, bool all, struct arena *a,
                             struct placing_row **out, size_t *n, struct err *err);
/* The ids of all rows of the domain. */
MUST_CHECK bool placing_ids(struct conn *c, const struct placing_lease *lease, struct arena *a, int64_t **out,
                            size_t *n, struct err *err);
/* Those of these ids that are still of the domain. */
MUST_CHECK bool placing_look(struct conn *c, const struct placing_lease *lease, const int64_t *ids, size_t n_ids,
                             struct arena *a, struct placing_row **out, size_t *n, struct err *err);
/* Fills in `won`. ERR_STALE: somebody else decides now. */
MUST_CHECK bool placing_write(struct conn *c, const struct placing_lease *lease, const struct placing_answers *answers,
                              struct arena *a, struct err *err);
/* What it sees, for people. nodes: JSON, empty = as before; trouble empty = none. */
MUST_CHECK bool placing_show(struct conn *c, const struct placing_lease *lease, struct str nodes, struct str trouble,
                             struct arena *a, struct err *err);
/* Rows of runs that are no more count as over. */
MUST_CHECK bool placing_sweep(struct conn *c, const struct placing_lease *lease, struct arena *a, struct err *err);

#endif
