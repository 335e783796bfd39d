/* Units as people write them: 10m, 7d, 1Gi, 500m (milli-CPU), 50%. A bare number where a unit matters is an error that
 * shows both readings. Kubernetes quantities:
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
#ifndef MILLRACE_BASE_UNITS_H
#define MILLRACE_BASE_UNITS_H

#include "engine/base/err.h"
#include "engine/base/value.h"

/* "90s", "1h30m", "250ms", "2d", "1w" → milliseconds, ≥ 0, at most 10 years. The number 0 alone is fine. */
MUST_CHECK bool units_duration(const struct value *v, int64_t *ms, struct err *err);
/* "1Gi", "500M", "64Ki" → bytes. A bare integer is bytes only when written as "1024B"; else an error with both
 * readings. */
MUST_CHECK bool units_bytes(const struct value *v, int64_t *bytes, struct err *err);
/* 1, 0.5, "500m" → thousandths of a CPU. */
MUST_CHECK bool units_cpu(const struct value *v, int64_t *milli, struct err *err);
/* "50%" → 0.5. A bare number is an error that shows both readings. */
MUST_CHECK bool units_percent(const struct value *v, double *share, struct err *err);

/* "1.5Gi": for people. Written into out (at least 32 bytes), returned. */
const char *units_bytes_text(int64_t bytes, char *out);
/* Of milliseconds: "1h30m", "2s", "250ms", as units_duration takes it. Likewise. */
const char *units_duration_text(int64_t ms, char *out);

#endif
