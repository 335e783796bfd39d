/* What /proc says about processes: who belongs to which step, how much memory they take. Linux only. */
#ifndef MILLRACE_OS_LAUNCHER_PROC_H
#define MILLRACE_OS_LAUNCHER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/str.h"

struct proc {
    pid_t pid, parent, session;
    char state;    /* R, S, D, Z, … */
    bool settled;  /* owner is final */
    int32_t owner; /* for the caller: see launcher_family.c */
    int64_t ticks; /* start time: with the pid it names a process for ever */
};

/* Whose a process is, written into a limit that no kernel heeds any more (of file locks): all that a step starts
 * inherits it, whatever becomes of environment, session and parents, and everybody may read it. step < folder always.
 */
struct proc_mark {
    uint64_t step, folder;
};

struct proc_mark proc_mark_make(uint64_t folder, struct str step);
/* On the calling process; false where a mark of another launcher, around this one, cannot be replaced. */
bool proc_mark_set(struct proc_mark m);
/* False when it has none or may not be read. */
bool proc_mark_read(pid_t pid, struct proc_mark *out);

bool proc_read(pid_t pid, struct proc *out);
/* All processes by ascending pid, in memory that is kept and reused by the next call. */
size_t proc_all(struct proc **out);
/* Direct children of this process; SIZE_MAX when the kernel does not tell. */
size_t proc_children(pid_t *out, size_t max);
/* The value of the cookie in a process's environment, cut to n - 1; false when it has none or may not be read. */
bool proc_cookie(pid_t pid, char *out, size_t n);
/* Bytes of memory that it has mapped, not of files: private ones, and those of shared memory. What several processes
 * have in common is counted in full for each, pages of before a fork, too. */
struct proc_memory {
    int64_t anon, shared;
};
struct proc_memory proc_memory(pid_t pid);
/* The same together, each page divided by the number of its users. Walks the page tables. -1 when it may not be read.
 */
int64_t proc_memory_share(pid_t pid);
/* How often the kernel has killed for lack of memory; -1 when it does not tell. */
int64_t proc_oom_kills(void);

#endif
