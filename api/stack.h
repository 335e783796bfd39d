/* Room for the stacks of civetweb's threads; see stack.c for why. */
#ifndef MILLRACE_API_STACK_H
#define MILLRACE_API_STACK_H

#include <stdbool.h>

#define STACK_LEAST ((size_t)1 << 20)

/* Has the calling thread the stack it needs? Logs when not. */
bool stack_suffices(void);

#endif
