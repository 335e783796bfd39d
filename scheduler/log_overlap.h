/* Where a log goes on that is told again from somewhere within: kubelets tell only the newest file of those that they
 * have rotated. Pure. */
#ifndef MILLRACE_SCHEDULER_LOG_OVERLAP_H
#define MILLRACE_SCHEDULER_LOG_OVERLAP_H

#include "engine/base/str.h"

/* Bytes at their beginning in which both agree. A '*' of `have` may cover a secret, and agrees with all. */
size_t log_agrees(struct str have, struct str again);

/* The last place in `have` from where it agrees with `again`, as far as both go; -1 = nowhere, or in too little to
 * tell. Of lines that are repeated word for word, some may so be kept twice, but none is lost. */
int64_t log_overlap(struct str have, struct str again);

#endif
