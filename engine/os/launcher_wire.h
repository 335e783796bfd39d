/* What server and launcher say to each other, field by field. Requests go to the launcher, events to the server; the
 * journal holds both. */
#ifndef MILLRACE_OS_LAUNCHER_WIRE_H
#define MILLRACE_OS_LAUNCHER_WIRE_H

#include "engine/os/launcher.h"
#include "engine/os/wire.h"

#define LAUNCHER_VERSION 1
#define LAUNCHER_ID_MAX 32

enum launcher_frame {
    FRAME_HELLO = 1, /* launcher, first: version, id, pid. In the journal: version, id, boot id */
    FRAME_LAUNCH,    /* server: a request */
    FRAME_KILL,      /* server: name, grace */
    FRAME_ACK,       /* server, journal: name */
    FRAME_INTENT,    /* journal: name; written before the fork */
    FRAME_STARTED,   /* launcher, journal: an event */
    FRAME_ENDED,
    FRAME_LOST,
    FRAME_SYNCED,  /* launcher */
    FRAME_REPLACED /* launcher: another server has connected */
};

void launcher_put_request(struct buf *out, const struct launcher_request *req);
/* Strings and arrays are copied into the arena, NUL-terminated. */
bool launcher_get_request(struct wire_reader *r, struct arena *a, struct launcher_request *out);

/* `ticks` is the process's start time in /proc: with the pid it names a process for ever. */
void launcher_put_event(struct buf *out, enum launcher_frame kind, const struct launcher_event *e, int64_t ticks);
bool launcher_get_event(struct wire_reader *r, struct launcher_event *out, int64_t *ticks); /* strings are slices */

void launcher_put_name(struct buf *out, enum launcher_frame kind, struct str name);
bool launcher_name_fine(struct str name);

#endif
