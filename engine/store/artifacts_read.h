/* How a row of the queries over artifacts becomes a struct: shared by artifacts.c and artifacts_list.c. */
#ifndef MILLRACE_STORE_ARTIFACTS_READ_H
#define MILLRACE_STORE_ARTIFACTS_READ_H

#include "engine/store/artifacts.h"

void artifacts_read(const PGresult *res, int row, struct arena *a, struct artifact_rec *out);

#endif
