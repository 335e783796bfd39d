/* The owner's side of the queue for GPUs: steps that need a GPU or name a queue are set aside, asked for in the table
 * queue_work, and started when the placer has admitted them. See placer.h for the other side.
 *
 * Everything is written within the turn's transaction, and heard by the inbox; what is in memory is a copy. */
#ifndef MILLRACE_SCHEDULER_PLACING_H
#define MILLRACE_SCHEDULER_PLACING_H

#include "scheduler/core.h"

struct placing { /* an attempt that was asked for */
    uint32_t task, attempt;
    uint8_t state; /* QUEUE_WAITS, _ADMITTED, _STOPS */
    bool vain;     /* nobody is asked here: it is withdrawn */
    bool kill;     /* it is to be told to stop once this turn is durable */
    bool requeue;  /* so it is, at any time, if it has not begun, which the executor knows */
    char *pin;     /* JSON, what it was admitted with; NULL = not yet */
    char *by;      /* for whom it stops */
};

/* May the ready task start? False: it was asked for, or waits already, and is set aside. */
bool placing_go(struct scheduler *s, struct live *l, uint32_t task);
/* COMMAND_PLACED and COMMAND_PREEMPT. */
void placing_hear(struct scheduler *s, struct live *l, enum command c, const struct value *payload);
bool placing_stops(const struct live *l, struct attempt_id id); /* it is to give way */
/* An attempt that ended because it was to give way: *res says so then. */
void placing_ended(struct scheduler *s, struct live *l, struct attempt_id id, struct task_result *res);
/* After all of the turn is decided: asks that are not wanted any more are withdrawn, and preempted ones made again. */
void placing_settle(struct scheduler *s, struct live *l);
/* Whether steps wait for the placer, in this turn. Where they do not any more, asks are withdrawn. */
void placing_mode(struct scheduler *s, enum exec_placing now);
void placing_effects(struct scheduler *s, struct live *l); /* after the commit */
/* Those of runs that were just loaded. */
MUST_CHECK bool placing_load(struct scheduler *s, const char *ids, struct err *err);
void placing_free(struct live *l);
bool placing_asked(const struct live *l, uint32_t task); /* whatever came of it */
/* What an attempt was admitted with; empty = it did not ask. */
struct str placing_pin(const struct live *l, uint32_t task, uint32_t attempt);
/* Why it waits, as far as its owner knows. False: it does not wait for the placer. */
bool placing_reason(const struct live *l, uint32_t task, struct buf *text);

#endif
