/* Pipelines and runs for the benchmarks of the engine. */
#ifndef MILLRACE_BENCH_INLINE_H
#define MILLRACE_BENCH_INLINE_H

#include "engine/base/buf.h"
#include "engine/flow/plan.h"
#include "tests/bench/bench.h"

void inline_chain_yaml(struct buf *out, const char *name, int steps);
void inline_layers_yaml(struct buf *out, const char *name, int steps);
const struct plan *inline_compile(struct arena *a, struct str yaml);
int64_t inline_plan(struct bench *b, struct str yaml); /* stored; its number */
void inline_submit(struct bench *b, int64_t plan, int n);
void inline_await(struct bench *b, uint64_t ended);       /* until the scheduler has ended so many since its start */
double inline_runs(struct bench *b, int64_t plan, int n); /* seconds until n runs of it have ended */
double inline_raw_commit(struct bench *b, int steps, int times, struct bench_row *samples); /* seconds, mean */
void inline_wait(struct bench *b); /* until the scheduler has committed something, 100 ms at most */

#endif
