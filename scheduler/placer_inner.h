/* What the files placer*.c share. Nobody else includes this. */
#ifndef MILLRACE_SCHEDULER_PLACER_INNER_H
#define MILLRACE_SCHEDULER_PLACER_INNER_H

#include <pthread.h>

#include "engine/base/map.h"
#include "engine/store/placing.h"
#include "engine/store/queues.h"
#include "scheduler/placer.h"

enum placer_phase {
    PLACER_HELD,     /* it cannot be told to the rules: no such queue, or no flavor of it fits */
    PLACER_WAITS,    /* by the rules: waiting, promised */
    PLACER_RUNS,     /* admitted */
    PLACER_STOPS,    /* a victim */
    PLACER_LEAVES,   /* a victim that has ended, whose pods may be there still */
    PLACER_ELSEWHERE /* handed over to Kueue, or runs on what is not declared any more */
};

struct placer_work { /* a row of queue_work */
    struct {
        int64_t run, task;
    } key; /* of the map by task */
    int64_t id;
    int32_t attempt;
    uint32_t gpu, pods, counted; /* gpu: as it asks; counted: by the rules */
    enum placer_phase phase;
    int32_t leaving;             /* attempt whose pods they are, of PLACER_LEAVES */
    bool over;                   /* then it is over; else it waits again */
    uint32_t seen;               /* round in which such a pod was seen last */
    char *nodes;                 /* {a,b}: where its pods are, or are to be, each empty = nowhere; NULL = all */
    bool moved;                  /* the database knows other nodes */
    bool strange;                /* it has devices that are not of its flavor any more */
    struct str *bound;           /* of the turn: the nodes that its pods have, where `nodes` is set */
    uint64_t told, told_numbers; /* hashes of the reason told last: of what lasts, and of all its numbers */
    char *name;                  /* "run 17 train[2]" */
    char *held;                  /* why, of PLACER_HELD */
    char *queue;
    int64_t by;  /* for whom it gives way, of PLACER_STOPS */
    bool kept;   /* scratch of placer_keep() */
    bool unsure; /* what was answered is not in the database: its row is to be looked at */
    struct placer_work *next, **link;
};

struct placer_node {
    struct str name;
    uint32_t number, seen;
    uint64_t told; /* hash of why it cannot be used, as it was logged */
    struct placer_node *next;
};

struct placer {
    struct placer_config cfg;
    char *dsn, *owner, *domain;
    struct db *db;
    struct conn *conn; /* held as long as it is good: it has the lease */
    struct placing_lease lease;
    pthread_t thread;
    int wake; /* eventfd: stop */
    _Atomic bool stopping;
    /* what is known as long as the lease is held */
    struct arena declared; /* of setup */
    struct queue_setup setup;
    int64_t generation; /* of the declarations; -1 = nothing is loaded */
    struct map by_id, by_task;
    struct placer_work *works;
    struct placer_node *nodes;
    struct map by_node;
    bool moves; /* some have `moved` */
    uint32_t round;
    uint64_t source_seen; /* generation of the source that the rules know; 0 = none */
    bool dirty;           /* the rules are to be asked */
    bool news;            /* somebody may have written */
    uint32_t numbers_at;  /* the queue whose numbers are told next */
    int64_t *unsure;      /* ids of works */
    size_t n_unsure, room_unsure;
    int64_t read_us, looked_us, whys_us, shown_us, swept_us, leased_us; /* monotonic */
    uint64_t uses;                      /* counts the changes of what the rules know to be on nodes */
    uint64_t shown_version, shown_uses; /* for which the nodes were looked at last */
    int64_t shown_bytes;
    uint64_t shown; /* hash of what was shown last */
    struct arena turn;
    struct placing_answers answers; /* of the turn */
    size_t room_heard, room_admits, room_victims, room_whys, room_moved;
};

/* ---- placer_work.c: rows and what the rules are told of them ---- */
char *placer_copied(struct str s); /* to be freed */
struct placer_work *placer_work_by_id(const struct placer *p, int64_t id);
void placer_forget(struct placer *p); /* all works and nodes */
bool placer_counts(const void *ctx, const struct attempt_id *id, struct str node);
void placer_hear(struct placer *p, const struct placing_row *row);            /* news of its owner */
void placer_look(struct placer *p, const struct placing_row *rows, size_t n); /* at those of which it is unsure */
void placer_keep(struct placer *p, const int64_t *ids, size_t n);             /* these alone are of the domain */
void placer_restore(struct placer *p, const struct placing_row *row);         /* after a start */
void placer_nodes(struct placer *p);                                          /* what the source knows */

/* ---- placer_pin.c: what an admitted step's Job is given, as JSON ---- */
struct placer_pin {
    uint32_t flavor; /* PLACE_NONE = any, or none */
    uint32_t gpu, counted;
    struct str kueue, nodes; /* nodes: {a,b}, where it has room */
};
struct str placer_pin(struct placer *p, struct placer_pin pin);                      /* in the turn's arena */
bool placer_pinned(struct placer *p, struct str pin, uint32_t flavor, uint32_t gpu); /* to devices of that flavor */

/* ---- placer_answer.c: what comes of a cycle ---- */
void placer_decide(struct placer *p, int64_t now_us);
void placer_moves(struct placer *p);
void placer_hand_over(struct placer *p, struct placer_work *w, const struct queue_doc *q);
void placer_why(struct placer *p, struct placing_why why);
void placer_written(struct placer *p); /* the answers, as far as they were won */
void placer_stop_again(struct placer *p, struct placer_work *w);
void placer_take_back(struct placer *p, const struct placer_work *w); /* from Kueue, unless it has begun */
void placer_heard(struct placer *p, const struct placing_row *row);

/* ---- placer_whys.c: why the others wait ---- */
void placer_whys(struct placer *p);

/* ---- placer_shown.c ---- */
void placer_shown(struct placer *p, struct buf *out); /* the nodes as JSON */

#endif
