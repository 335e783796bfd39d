/* This machine as the placer sees it: a node with its GPUs by product, and which attempts have them. Two threads meet
 * here: the scheduler's publishes what its executor knows, the placer's asks, and says whether there is a queue. */
#ifndef MILLRACE_SCHEDULER_PROCESS_NODE_H
#define MILLRACE_SCHEDULER_PROCESS_NODE_H

#include "scheduler/gpus.h"
#include "scheduler/placer_source.h"

struct process_node;

/* cpu in thousandths of a core. The domain is of the data folder, in which its name is kept. */
MUST_CHECK bool process_node_open(struct str data_dir, int64_t cpu, int64_t memory, const struct gpus *g,
                                  struct process_node **out, struct err *err);
void process_node_close(struct process_node *n); /* once the placer has stopped; NULL is fine */
const char *process_node_domain(const struct process_node *n);

/* ---- the scheduler's thread ---- */
void process_node_publish(struct process_node *n, const struct gpus *g); /* costs nothing when nothing has changed */
enum exec_placing process_node_placing(const struct process_node *n);

/* ---- the placer's ---- */
/* From now on it is asked whether anything is declared; until it says so that is not known. */
struct placer_source process_node_source(struct process_node *n);

#endif
