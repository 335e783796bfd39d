/* What the files about runs share. */
#ifndef MILLRACE_API_RUNS_H
#define MILLRACE_API_RUNS_H

#include "api/emit.h"
#include "engine/store/runs.h"

/* The run of the path, within the token's projects. */
MUST_CHECK bool run_of(struct request *rq, struct conn **c, struct run_rec *out, struct err *err);
void run_write(const struct emit *e, const struct run_rec *run, struct str project);
MUST_CHECK bool run_project(struct request *rq, const struct run_rec *run, struct str *name, struct err *err);
/* Answers with the run as it is now. */
MUST_CHECK bool run_answer(struct request *rq, int64_t id, int status, struct err *err);

#endif
