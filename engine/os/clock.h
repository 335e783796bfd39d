/* Time and chance: the only places that ask the machine for either, so that everything else can be handed both. */
#ifndef MILLRACE_OS_CLOCK_H
#define MILLRACE_OS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t os_now_us(void);  /* since 1970, UTC: for what people and the database see */
int64_t os_mono_us(void); /* since some moment: for durations and timers; never jumps */

void os_random(void *out, size_t n); /* from the kernel; aborts when it has none */
uint64_t os_random_u64(void);

#endif
