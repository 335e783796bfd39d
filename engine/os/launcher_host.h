/* The launcher's own state, shared by its loop (launcher_main.c), its watch over steps (launcher_watch.c) and the
 * search for what they started (launcher_family.c). One thread. */
#ifndef MILLRACE_OS_LAUNCHER_HOST_H
#define MILLRACE_OS_LAUNCHER_HOST_H

#include "engine/os/launcher_journal.h"
#include "engine/os/launcher_proc.h"

#define OWNER_UNKNOWN (-1) /* not looked at */
#define OWNER_FOREIGN (-2) /* none of our business */
#define OWNER_STRAY (-3)   /* a descendant of ours whose step is not running */
#define OWNER_UNCLEAR (-4) /* a descendant of ours that bears neither mark nor cookie */

struct host {
    struct journal journal;
    struct record **running;
    size_t n_running, room, n_lingering;
    struct arena arena; /* of one request */

    int epoll, listening, signals, conn;
    struct buf in, out;
    bool out_wanted; /* EPOLLOUT is set */
    bool leaving;
    bool telling;  /* some are untold */
    bool settling; /* some that linger have been killed */

    int64_t check_us;      /* next look at memory and logs; 0 = none */
    int64_t idle_since_us; /* without server and steps; 0 = not idle */
    int64_t oom_kills;
    uint64_t folder; /* names the data folder in the marks of its steps, whatever becomes of the journal */
};

/* launcher_watch.c */
void host_launch(struct host *h, const struct launcher_request *req);
void host_kill(struct host *h, struct record *r, int64_t grace_ms);
void host_reap(struct host *h);                /* after SIGCHLD */
void host_timers(struct host *h, int64_t now); /* deadlines, graces, memory, logs */
int64_t host_next_timer(const struct host *h); /* 0 = none */
void host_recover(struct host *h);             /* kills what a former launcher left, marks it lost */
void host_abandon(struct host *h);             /* kills everything: the launcher is told to end */

/* launcher_family.c */
/* SIGKILL to all of a step. */
void family_kill(struct host *h, const struct record *r);
/* SIGTERM to those of untold steps who are in process groups of their own: one look for all of them. */
void family_tell(struct host *h);
/* left[running_at]: whether anything lives of one that lingers. After the grace that is killed. */
void family_left(struct host *h, bool *left);
/* Descendants of steps that have ended; those of unclear origin once no step is left that could own them. */
void family_kill_strays(struct host *h);
/* Sums the memory of each running step into memory[running_at]. */
void family_memory(struct host *h, int64_t *memory);
/* All that a former launcher of the folder left: by mark, by cookie, or by pid and start time and session. */
void family_kill_lost(struct host *h);

/* launcher_main.c */
void host_tell(struct host *h, const struct record *r);

#endif
