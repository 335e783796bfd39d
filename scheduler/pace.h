/* The scheduler's time: the wall clock's, but it passes as the monotonic clock does. When somebody sets the wall clock,
 * it nears that by a tenth of what passes: so a back-off, a wait or a deadline that is under way lasts as long as was
 * said, within a tenth, whether the clock went back by an hour or forth. Due times are stored as wall-clock times: a
 * scheduler that loads its runs anew, after a restart or a lost connection, takes the wall clock as it finds it. */
#ifndef MILLRACE_SCHEDULER_PACE_H
#define MILLRACE_SCHEDULER_PACE_H

#include <stdint.h>

struct pace {
    int64_t now_us, mono_us;
};

/* As the wall clock says: fit only while nothing is under way. */
void pace_set(struct pace *p, int64_t wall_us, int64_t mono_us);
/* What time it is; never before what was said last. */
int64_t pace_now(struct pace *p, int64_t wall_us, int64_t mono_us);

#endif
