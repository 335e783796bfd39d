/* Time and chance: the only places that ask the machine for either, so that everything else can be handed both. */
#ifndef MILLRACE_OS_CLOCK_H
#define MILLRACE_OS_CLOCK_H

#include "engine/base/str.h"

int64_t os_now_us(void); /* since 1970, UTC: for what people and the database see */
/* "2026-01-02T03:04:05Z", perhaps with a fraction, or an offset for the Z, to microseconds since 1970. */
bool os_time_parse(struct str text, int64_t *us);
int64_t os_mono_us(void); /* since some moment: for durations and timers; never jumps */

void os_random(void *out, size_t n); /* from the kernel; aborts when it has none */
uint64_t os_random_u64(void);

#endif
