/* What the launcher knows of each name, and the journal that keeps it: an append-only file of frames (see
 * launcher_wire.h). Written with write(2) and never flushed to disk: it has to survive the launcher, not the machine,
 * whose crash ends all steps anyway and is noticed by the kernel's boot id. A torn frame at the end is one that never
 * happened; damage anywhere else means a memory with gaps, which goes by a new id. */
#ifndef MILLRACE_OS_LAUNCHER_JOURNAL_H
#define MILLRACE_OS_LAUNCHER_JOURNAL_H

#include "engine/base/map.h"
#include "engine/os/launcher_proc.h"
#include "engine/os/launcher_wire.h"

enum record_state { RECORD_INTENT, RECORD_RUNNING, RECORD_ENDED, RECORD_LOST };

struct record {
    char name[LAUNCHER_NAME_MAX + 1];
    enum record_state state;
    struct launcher_event event; /* its strings point into the record */
    char error[400];
    char *note; /* while it runs */
    int64_t ticks;
    size_t at; /* in the journal's list */
    /* While it runs: */
    struct proc_mark mark;
    size_t running_at;
    int error_fd;
    bool terminated; /* told to stop, or killed */
    bool untold;     /* of what it started, those outside its process group do not know yet */
    bool lingers;    /* its own process has ended, and is not reaped as long as anything that it started is there */
    int64_t deadline_us, kill_us; /* monotonic; 0 = none */
    int64_t grace_ms, memory_bytes, log_max_bytes;
    char *log; /* its path, where it has a limit */
};

struct journal {
    char id[LAUNCHER_ID_MAX + 1];
    int fd;
    size_t bytes;
    struct buf pending; /* not written yet */
    struct record **records;
    size_t n, room;
    struct map by_name;
};

/* In the current directory. A journal of another boot is begun anew under another id. */
MUST_CHECK bool journal_open(struct journal *j, struct err *err);
struct record *journal_find(const struct journal *j, struct str name);
struct record *journal_add(struct journal *j, struct str name);
void journal_forget(struct journal *j, struct record *r); /* frees it */

/* Notes the record's state; journal_flush() writes. What it could not write, e.g. to a full disk, it keeps. */
void journal_note(struct journal *j, const struct record *r);
MUST_CHECK bool journal_flush(struct journal *j);
/* The frame of a record's state: also what the server is told. */
void journal_put(struct buf *out, const struct record *r);
void record_set_error(struct record *r, const char *text);
void record_set_note(struct record *r, struct str note);

#endif
