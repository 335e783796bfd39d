/* Inside of engine/place: the state, and who may call whom.
 *
 * Everything is booked in two ledgers. The logical one holds what runs and what is promised; the physical one what runs
 * and the victims that have not stopped. What starts must fit in both, so neither a promise nor a dying pod is ever
 * overlooked. The third, of nodes only, is what a reservation leaves on the nodes it holds, at the time it waits for.
 */
#ifndef MILLRACE_PLACE_INNER_H
#define MILLRACE_PLACE_INNER_H

#include "engine/base/map.h"
#include "engine/place/place.h"

enum { LOGICAL, PHYSICAL, HELD, LEDGERS };
#define IN(ledger) (1U << (ledger))
#define IN_BOTH (IN(LOGICAL) | IN(PHYSICAL))

/* ---- small tables (table.c) ---- */

struct table_slot {
    uint32_t hash, item; /* item + 1; 0 = empty */
};
struct table { /* numbers of records, by a hash of their keys; open addressing */
    struct table_slot *slots;
    uint32_t n, room;
};
typedef bool (*table_eq)(const void *ctx, uint32_t item, const void *key);
uint32_t table_find(const struct table *t, uint32_t hash, table_eq eq, const void *ctx, const void *key);
void table_put(struct table *t, uint32_t hash, uint32_t item);
void table_del(struct table *t, uint32_t hash, uint32_t item);
uint32_t table_hash(const void *p, size_t n);

struct heap {
    uint32_t *v;
    uint32_t n, room;
};
struct heap_rule {
    bool (*before)(const struct place *p, uint32_t a, uint32_t b);
    void (*moved)(struct place *p, uint32_t item, uint32_t at); /* may be NULL */
};
void heap_push(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t item);
void heap_remove(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t at);
void heap_mend(struct place *p, const struct heap_rule *rule, struct heap *h, uint32_t at); /* its key has changed */

void *vec_grow(void *v, uint32_t *room, uint32_t need, size_t size); /* realloc, by doubling; aborts */

/* ---- records ---- */

#define RES_CPU 0U
#define RES_MEMORY 1U
#define RES_FLAVOR 2U /* + the flavor's number */

/* What all pods of a workload take of quota: CPU, memory, its flavor. */
struct demand {
    uint32_t res[3]; /* PLACE_NONE = no flavor */
    int64_t amount[3];
};

struct shape_key { /* zeroed, then filled: compared bytewise */
    int64_t cpu, memory, expect_us;
    uint32_t pods, gpu, n_flavors, flavors[PLACE_CHOICES];
    uint32_t selector; /* 0 = on any node */
};
struct pairs { /* of their own, in one block */
    struct place_pair *v;
    uint32_t n;
};
#define SELECTORS 1024
struct selector { /* and what goes with it */
    struct pairs labels, tolerates;
    uint32_t users; /* shapes; 0 = is free */
};
struct most { /* by resource: the most that a node has of it, among those that have enough of GPUs, of CPU, of memory,
               * as far as these come before it */
    int64_t of[3];
};
struct shape { /* what is asked, by however many */
    struct shape_key key;
    uint32_t hash, users, next_free;
    uint64_t full[PLACE_CHOICES]; /* the cycle in which the nodes of a flavor were found without room for it */
    uint32_t pods_fit[PLACE_CHOICES];
    struct most most[PLACE_CHOICES]; /* then */
    uint32_t open[PLACE_CHOICES];    /* nodes that take pods */
    uint32_t closed[PLACE_CHOICES];  /* and that do not */
};

struct group {                 /* those of a queue with equal shape and priority, by age */
    uint32_t queue, shape, at; /* at: in the queue's groups */
    int32_t priority;
    uint32_t hash, next_free;
    struct heap members;
    uint64_t version;  /* of the configuration for which `possible` holds */
    uint32_t possible; /* bits of the shape's flavors that could ever do */
    struct place_why why;
};

struct pod {
    uint32_t node;    /* PLACE_NONE = unknown */
    bool landed;      /* it has been on a node */
    bool adrift;      /* no node has room for it; it has none */
    uint64_t devices; /* of its node's shared ones */
};

struct work {
    uint64_t id, by, bumped;               /* by: its preemptor; bumped: the epoch in which it was preempted last */
    int64_t submit_us, started_us, end_us; /* end: expected; INT64_MAX = unknown */
    uint32_t queue, shape, group, flavor;
    int32_t priority;
    uint32_t at; /* in its group's heap, its queue's running, the promised */
    uint32_t preempted, next_free;
    enum place_state state;
    uint64_t told; /* the cycle after which it stopped as a victim; 0 = was none */
    double passed; /* how often, since it waits for nodes as the first of its queue */
    struct pod *pods;
};

struct hold {          /* a reservation of quota */
    bool made, search; /* made: the rest is known, reckoned when first asked for; search: also the time */
    uint32_t work, queue, flavor, next; /* next: of the same chain; PLACE_NONE = last */
    struct demand need;
    int64_t until;                         /* INT64_MAX = unknown */
    int64_t queue_used[3], cohort_used[3]; /* then, with it */
};

struct queue {
    struct str name;
    uint32_t cohort;
    double weight;
    enum place_preempt within, reclaim;
    struct place_quota *quota; /* by resource */
    bool *offered;             /* by flavor */
    int64_t *local;            /* what it does not lend */
    int64_t *used[2];
    uint32_t *groups, n_groups, room_groups;
    uint32_t *running, n_running, room_running; /* and promised, and stopping */
    uint32_t n_waiting;
    struct heap order; /* of groups, in a cycle */
    uint32_t at;       /* in the cycle's heap */
    double share, use; /* keys of the cycle's heap */
    uint32_t holds;
    uint64_t opened;    /* cycle */
    int64_t planned[3]; /* scratch of a curve */
};

struct contest {      /* for the nodes of a flavor */
    uint32_t overdue; /* who has been passed too often; PLACE_NONE */
    uint32_t queues;  /* that ask for them in this cycle */
    uint32_t last;    /* of these */
};

struct curve {         /* of what a cohort will use, for a flavor */
    uint64_t bookings; /* of the cohort, up to which it holds */
    uint32_t room;
    int64_t (*used)[3]; /* CPU, memory, GPUs, after the first so many of its ends */
};

struct cohort {
    struct str name;
    uint32_t *queues, n_queues, room_queues;
    int64_t *quota, *used[2];
    uint32_t *ends, n_ends, room_ends; /* works that run (or stop) with a known end, in this order */
    uint64_t bookings;                 /* so far */
    struct curve *curves;              /* by flavor + 1 */
    bool dirty, waits_for_nodes;
    uint32_t holds;
    uint64_t opened;
};

struct offer {
    uint32_t flavor, n, taken;
    uint32_t first;        /* shared: its first device */
    int32_t free[LEDGERS]; /* whole GPUs */
};
struct node {
    struct str name;
    bool alive, schedulable, any_labels;
    struct pairs labels, taints;
    uint64_t selected[SELECTORS / 64], tolerated[SELECTORS / 64]; /* bits of those that take it, and its taints */
    uint32_t pods;                                                /* booked, in any ledger */
    uint32_t n_offers, n_devices, next_free;
    int64_t total_cpu, total_memory, other_cpu, other_memory;
    int64_t cpu[LEDGERS], memory[LEDGERS];
    struct offer offers[PLACE_CHOICES];
    int16_t *devices[LEDGERS]; /* free thousandths of each GPU of its shared flavors; one block */
    uint64_t held;             /* the cycle in which HELD holds */
    int64_t held_until;        /* INT64_MIN = unknown */
    int32_t held_priority;     /* the highest of those it is held for */
    bool planned;              /* scratch: HELD is a plan */
};

struct seat {             /* a node in the list of a flavor */
    uint32_t node, offer; /* offer PLACE_NONE: of CPU only */
};
struct seats {
    struct seat *v;
    uint32_t n, room;
};

struct place {
    struct place_flavor *flavors;
    uint32_t n_flavors, n_res;
    struct arena names;
    struct map queue_names, cohort_names, node_names;
    struct queue *queues;
    uint32_t n_queues, room_queues;
    struct cohort *cohorts;
    uint32_t n_cohorts, room_cohorts;
    struct node *nodes;
    uint32_t n_nodes, room_nodes, free_node;
    struct seats *seats; /* by flavor; the last: every node */
    bool seats_stale;
    struct work *works;
    uint32_t n_works, room_works, free_work;
    struct shape *shapes;
    uint32_t n_shapes, room_shapes, free_shape;
    struct selector selectors[SELECTORS]; /* by number; the first stands for none */
    struct group *groups;
    uint32_t n_groups, room_groups, free_group;
    struct table by_id, by_shape, by_group;
    int64_t *adrift; /* thousandths of GPUs: [ledger · n_flavors + flavor] */
    uint32_t *promised, n_promised, room_promised, n_stopping;
    uint64_t cycle, version, epoch; /* version: of queues and nodes; epoch: of changes from outside */
    uint64_t offered;               /* of what nodes offer */
    int64_t now;
    bool dirty;
    bool forced; /* something from outside may have gone beyond limits */
    /* of a cycle */
    struct heap turn; /* queues */
    struct hold *holds;
    uint32_t n_holds, room_holds;
    uint64_t *node_held;                        /* by flavor + 1: the cycle in which its nodes are reserved, */
    int64_t *node_until;                        /* until when, */
    uint32_t *node_for;                         /* and for whom */
    struct contest *contests;                   /* by flavor + 1 */
    uint32_t *started, n_started, room_started; /* works, in this cycle */
    int32_t preemptor;  /* scratch: nodes that are held for less are not held for who is looked at */
    int32_t held_least; /* the lowest priority that nodes are held for, in this cycle */
    uint32_t *fit;      /* scratch: pods by seat */
    uint32_t room_fit;
    int64_t *scores; /* scratch: by seat */
    uint32_t room_scores;
    uint32_t *picked; /* scratch: victims, running ones */
    uint32_t n_picked, room_picked;
};

static inline const struct shape_key *work_key(const struct place *p, const struct work *w)
{
    return &p->shapes[w->shape].key;
}

/* ---- quota.c ---- */

enum stage { STAGE_FLAVOR, STAGE_QUEUE, STAGE_COHORT, STAGE_NODES, STAGE_FITS };
struct shortage {
    enum stage stage;
    uint32_t flavor, choice; /* choice: its place in the shape's list */
    uint32_t which;          /* of the demand */
    int64_t need, free;
    uint32_t held_by; /* work; PLACE_NONE */
    int64_t until;    /* of who holds it */
};
int64_t sum_capped(int64_t a, int64_t b); /* PLACE_UNLIMITED stays */
struct demand demand_of(const struct shape_key *key, uint32_t flavor);
/* What the queue could take now, of its own and of its cohort's. */
int64_t quota_free(const struct place *p, const struct queue *q, unsigned ledger, uint32_t r);
/* Says in *s what is short; false then. */
bool quota_fits(const struct place *p, const struct queue *q, unsigned ledger, const struct demand *d,
                struct shortage *s);
bool quota_nominal(const struct queue *q, const struct demand *d); /* would it be within the queue's own quota? */
/* Of which of these it uses more than that, as bits. What it has no quota of counts as borrowed when anything is. */
unsigned quota_borrows(const struct queue *q, const struct demand *d);
void quota_book(struct place *p, struct queue *q, unsigned ledgers, const struct demand *d, int sign);
void quota_shares(const struct place *p, struct queue *q); /* share and use */
int64_t quota_ever(const struct place *p, const struct queue *q, uint32_t res);
void quota_changed(struct place *p, struct cohort *c); /* recomputes what follows from its queues' quota and usage */
static inline int64_t quota_over(int64_t local, int64_t used)
{
    return used > local ? used - local : 0;
}

/* ---- selector.c ---- */

bool pairs_within(const struct place_pair *few, size_t n_few, const struct place_pair *labels, size_t n_labels);
bool pairs_same(const struct pairs *own, const struct place_pair *v, size_t n);
bool pairs_tolerate(const struct place_pair *tolerates, size_t n, const struct place_pair *taints, size_t n_taints);
struct pairs pairs_copy(const struct place_pair *from, size_t n);
/* Its number, with one user more. 0 = any node without taints: nothing is wished, or too many others are in use. */
uint32_t selector_take(struct place *p, const struct place_ask *ask);
void selector_leave(struct place *p, uint32_t number);
void selectors_node(const struct place *p, struct node *n); /* its labels or taints have changed */
/* Taints keep away who wants no flavor; flavors are offered by what they tolerate. */
static inline bool selector_takes(const struct shape_key *key, const struct node *n)
{
    uint32_t word = key->selector / 64;
    uint64_t takes = key->n_flavors > 0 ? n->selected[word] : n->selected[word] & n->tolerated[word];
    return takes >> key->selector % 64 & 1;
}
void selector_text(const struct place *p, uint32_t number, struct buf *out); /* disk=ssd, zone=b; or nothing */

/* ---- node.c, nodes.c ---- */

/* How many such pods it has room for, in all these ledgers; a smaller score is a better fit. */
uint32_t node_room(const struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledgers, int64_t *score);
/* Picks its devices and takes them; reality may take more than there is. */
void node_take(struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledgers, struct pod *pod);
/* Takes, or with sign -1 gives back, what the pod has, with these devices. */
void node_book(struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledgers, int sign,
               const struct pod *pod);
/* Does this very pod, with its devices, fit? */
bool node_takes(const struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledger,
                const struct pod *pod);
uint32_t node_ever(const struct node *n, uint32_t offer, const struct shape_key *key); /* pods, were it empty */
uint32_t node_offer(const struct node *n, uint32_t flavor);                            /* PLACE_NONE when it has none */
bool node_hosts(const struct node *n, uint32_t flavor, const struct shape_key *key);   /* can such pods be its own? */
void node_reset(struct node *n, unsigned ledger);                                      /* no workloads */
void node_copy(struct node *n, unsigned to, unsigned from);                            /* of ledgers */
int64_t node_gpus_free(const struct node *n, uint32_t offer, unsigned ledgers);        /* thousandths of GPUs */
int64_t node_most(const struct node *n, uint32_t offer, const struct shape_key *key, bool empty); /* for reasons */
void most_add(struct most *m, const struct node *n, uint32_t offer, const struct shape_key *key, bool empty);
/* Which resource no node has enough of, and how much is needed and had; if each is had somewhere, the first. */
enum place_resource most_lacks(const struct most *m, const struct shape_key *key, int64_t *need, int64_t *had);

const struct seats *seats_of(const struct place *p, uint32_t flavor);
void seats_renew(struct place *p);
/* Is there room for all pods, by the given ledgers and the reservations? *fit: for how many. In LOGICAL alone it leaves
 * reserved nodes alone. */
bool nodes_room(struct place *p, const struct shape_key *key, uint32_t flavor, unsigned ledgers, int64_t end_us,
                uint32_t *fit);
/* Places and books all of them, or none: *pods is malloc'd. */
bool nodes_find(struct place *p, const struct shape_key *key, uint32_t flavor, unsigned ledgers, int64_t end_us,
                struct pod **pods, uint32_t *fit);
void pods_book(struct place *p, const struct work *w, unsigned ledgers, int sign);
void pods_leave(struct place *p, struct work *w); /* what is booked no more is forgotten */
void work_book(struct place *p, const struct work *w, unsigned ledgers, int sign); /* quota and nodes */

/* ---- adrift.c ---- */

void adrift_book(struct place *p, const struct work *w, unsigned ledgers, int sign); /* a pod that is adrift */
/* What they leave others of the flavor's free GPUs, in thousandths; INT64_MAX when none is adrift. */
int64_t adrift_leaves(const struct place *p, const struct shape_key *key, uint32_t flavor, unsigned ledgers);

/* ---- work.c ---- */

/* Books a pod anew, of who runs or stops. */
void pod_put(struct place *p, const struct work *w, struct pod *at, uint32_t node, bool adrift);

uint32_t work_find(const struct place *p, uint64_t id);
void work_queue_up(struct place *p, uint32_t w); /* into its group */
void work_unqueue(struct place *p, uint32_t w);
void work_runs(struct place *p, uint32_t w); /* into its queue's running */
void work_runs_no_more(struct place *p, uint32_t w);
void work_start(struct place *p, uint32_t w, int64_t started_us);
bool work_before(const struct place *p, uint32_t a, uint32_t b);
void promise_take_back(struct place *p, uint32_t w);
void place_touch(struct place *p, uint32_t queue); /* something changed for its cohort */
void group_drop(struct place *p, uint32_t g);      /* when it is empty */
extern const struct heap_rule members_rule;
MUST_CHECK bool ask_check(const struct place *p, const struct place_ask *ask, struct err *err);
/* It uses its selector: to be left. */
void ask_key(struct place *p, const struct place_ask *ask, struct shape_key *key);

/* ---- ends.c ---- */

bool ends_before(const struct place *p, uint32_t a, uint32_t b);
int64_t end_after_now(const struct place *p, uint32_t w);
void ends_add(struct place *p, uint32_t w);
void ends_remove(struct place *p, uint32_t w);
uint32_t ends_by(const struct place *p, const struct cohort *c, int64_t until); /* how many */
/* flavor: n_flavors = none. Holds until something is booked. */
const struct curve *curve_of(struct place *p, struct cohort *c, uint32_t flavor);

/* ---- hold.c ---- */

bool holds_allow(struct place *p, const struct queue *q, const struct demand *d, int64_t end_us, struct shortage *s);
void holds_book(struct place *p, const struct queue *q, const struct demand *d, int64_t end_us);
uint32_t holds_for(const struct place *p, uint32_t chain, uint32_t flavor); /* whom; PLACE_NONE = nobody */
bool hold_make(struct place *p, uint32_t w, const struct shortage *s,
               bool in_cohort); /* false: no nodes could ever hold it */

/* ---- passed.c ---- */

void contests_open(struct place *p);
void contests_join(struct place *p, const struct group *g);
void contests_leave(struct place *p, uint32_t w); /* it does not wait any more */
void contests_started(struct place *p, uint32_t w);
/* Of the first of a queue that lacks nodes. */
void passed_count(struct place *p, uint32_t w, uint32_t flavor, enum place_resource lacks);
/* Who is to be looked at before the turns, and where its group is in its queue's order. False: nobody. */
bool passed_next(struct place *p, uint32_t slot, uint32_t *w, uint32_t *at);

/* ---- cycle.c ---- */

void turn_changed(struct place *p, struct queue *q); /* its usage has */
void out_admit(struct place *p, struct place_out *out, uint32_t w);
void out_victim(struct place_out *out, uint64_t id, uint64_t by);

/* ---- preempt.c ---- */

/* Promises it room that others give up. False: there are none, or not enough. */
bool preempt_try(struct place *p, uint32_t w, uint32_t possible, struct place_out *out);
void promises_redeem(struct place *p, struct place_out *out);

/* ---- why.c ---- */

void why_possible(const struct place *p, const struct queue *q, const struct shape_key *key, uint32_t *possible,
                  struct place_why *why); /* possible 0: why not */
/* first: of its queue, for that flavor; PLACE_NONE = it is that itself */
struct place_why why_short(const struct place *p, const struct queue *q, const struct shape *shape,
                           const struct shortage *s, uint32_t first);

#endif
