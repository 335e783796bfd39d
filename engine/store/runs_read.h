/* How a row of the queries over runs becomes a struct: shared by runs.c and runs_list.c, whose columns are the same. */
#ifndef MILLRACE_STORE_RUNS_READ_H
#define MILLRACE_STORE_RUNS_READ_H

#include "engine/store/runs.h"

void runs_read(const PGresult *res, int row, struct arena *a, struct run_rec *out);

#endif
