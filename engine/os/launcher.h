/* The launcher: one small process a data folder that starts the local steps, watches over them and outlives the server.
 *
 * It is this binary, executed again as `millrace __launcher` (launcher_main); one thread, no heap to speak of, so that
 * a fork is cheap. The server talks to it through a socket in <data>/launcher. What was launched and how it ended is in
 * the launcher's journal until the server acknowledges it, so a server that was killed finds everything again, and a
 * launcher that was killed is replaced by one which kills what the first left behind and reports it as lost.
 *
 * One thread at a time. Nothing here blocks but launcher_open(). Strings of an event are valid until the next call. */
#ifndef MILLRACE_OS_LAUNCHER_H
#define MILLRACE_OS_LAUNCHER_H

#include <sys/types.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define LAUNCHER_COMMAND "__launcher"
#define LAUNCHER_NAME_MAX 120
#define LAUNCHER_NOTE_MAX 8192
/* In each step's environment, so that what it leaves behind can be told from others' processes, marked or not. */
#define LAUNCHER_COOKIE "MILLRACE_LAUNCH"

/* Something to put into the working directory: a file or folder to copy, or a text. */
struct launcher_file {
    struct str to;   /* relative to the working directory; folders are made */
    struct str from; /* absolute; empty = text */
    struct str text;
    uint32_t mode; /* of a text; 0 = 0644 */
};

struct launcher_request {
    struct str name; /* unique; [A-Za-z0-9._-], at most LAUNCHER_NAME_MAX */
    const struct str *argv;
    size_t n_argv;
    const struct str *env; /* "NAME=value"; nothing else is in the environment but LAUNCHER_COOKIE */
    size_t n_env;
    int64_t uid, gid;   /* -1 = as the launcher */
    struct str workdir; /* absolute; made anew, unless... */
    bool workdir_made;  /* ...it is there, its user's */
    struct str tree;    /* absolute: a folder copied into workdir; empty = none */
    struct str cwd;     /* relative to workdir; empty = workdir */
    const struct launcher_file *files;
    size_t n_files;
    const struct str *folders; /* made (mkdir -p): absolute, or relative to workdir */
    size_t n_folders;
    struct str log;        /* absolute: stdout and stderr are appended */
    int64_t log_max_bytes; /* when the log is longer, the step is killed; 0 = no limit */
    int64_t memory_bytes;  /* of all its processes together; 0 = no limit */
    int64_t timeout_ms;    /* 0 = none */
    int64_t grace_ms;      /* from SIGTERM to SIGKILL at the timeout: see launcher_kill() */
    struct str note;       /* whatever is to be known of it while it runs; at most LAUNCHER_NOTE_MAX */
};

enum launcher_event_kind {
    LAUNCHER_STARTED,     /* pid, started_us, note */
    LAUNCHER_ENDED,       /* all fields; repeated on every connection until acknowledged */
    LAUNCHER_LOST,        /* it died with a former launcher, or what it left was killed; as LAUNCHER_ENDED otherwise */
    LAUNCHER_SYNCED,      /* after a connection: all it knows has been told */
    LAUNCHER_DISCONNECTED /* the launcher is gone; another is being started, and LAUNCHER_SYNCED will follow */
};

struct launcher_event {
    enum launcher_event_kind kind;
    struct str name;
    int64_t pid;
    int64_t started_us, ended_us;
    int32_t code;   /* of exit; -1 when it ended by a signal or never started */
    int32_t signal; /* 0 = none */
    bool oom, log_full, timed_out, killed, not_started;
    bool infra;       /* with not_started: for want of the machine's means, not by its own doing */
    struct str error; /* why it could not start */
    struct str note;  /* of the launch; empty if its launcher is of a version that keeps none */
    int64_t user_us, system_us, max_rss_bytes, memory_peak_bytes;
};

struct launcher;

/* Connects to the data folder's launcher, starting one when there is none: call it before threads or sockets exist, so
 * that the launcher inherits nothing. Waits some milliseconds for it. */
MUST_CHECK bool launcher_open(struct launcher **out, const char *data_dir, struct err *err);
/* Names the journal in which launches are recorded: changes when it was lost, e.g. by a crash of the machine. */
struct str launcher_id(const struct launcher *l);
int64_t launcher_pid(const struct launcher *l);
int launcher_fd(const struct launcher *l); /* readable when launcher_next() is to be called */

/* Queues a launch. A name that is known is not launched again: its state is told instead. False only for a bad request.
 */
MUST_CHECK bool launcher_launch(struct launcher *l, const struct launcher_request *req, struct err *err);
/* SIGTERM to it and all its descendants, after the grace SIGKILL; 0 = at once. It has ended when all of them have, and
 * as its own process did. Unknown names are ignored. */
void launcher_kill(struct launcher *l, struct str name, int64_t grace_ms);
/* The end of `name` is safely recorded elsewhere: forget it. */
void launcher_ack(struct launcher *l, struct str name);

/* Sends what is queued, receives, and gives the next event; false when there is none now. */
bool launcher_next(struct launcher *l, struct launcher_event *out);
/* Only closes the connection: the launcher and its steps go on. NULL is fine. */
void launcher_close(struct launcher *l);

/* Entry point of `millrace __launcher DATA-DIR READY-FD`. */
int launcher_main(int argc, char **argv);

#endif
