/* Which attempt has which of this machine's GPUs. Pure, of the scheduler's thread.
 *
 * An attempt's hold on devices passes through two hands. The scheduler *takes* them at admission, before the start is
 * committed; it lets go of what it took when the start came to nothing. The executor *owns* them from the launch on,
 * until the process is gone: whatever becomes of the record, nobody else has them before. After a restart of the server
 * the executor hears from the launcher which devices each running process was given (the *note*, kept there with the
 * launch), and *finds* them held.
 *
 * An attempt that the record says is running, and of which the executor has not spoken yet, is *expected*: until it is
 * found, launched again or over, nothing else gets a GPU, for it may be any of them. */
#ifndef MILLRACE_SCHEDULER_GPUS_H
#define MILLRACE_SCHEDULER_GPUS_H

#include "engine/flow/gpu.h"
#include "scheduler/executor.h"

struct gpus;

/* Copies the devices. Nothing is given out before gpus_ready(). */
struct gpus *gpus_new(const struct gpu *devices, size_t n);
void gpus_free(struct gpus *g);          /* NULL is fine */
void gpus_ready(struct gpus *g);         /* all that runs has been found */
size_t gpus_count(const struct gpus *g); /* of devices */
const struct gpu *gpus_device(const struct gpus *g, size_t i);
/* Why the device is not to be used any more, e.g. "is lost"; empty = it is in order again. Who has it keeps it. True
 * when that is news. */
bool gpus_fault(struct gpus *g, size_t i, struct str why);

/* ---- for who counts them, too ---- */

struct gpus_held { /* by an attempt */
    struct attempt_id id;
    const uint32_t *which; /* devices; none where that is not known yet */
    uint32_t n, milli;     /* milli: of each */
};
/* Calls for each attempt that holds any, or may. */
void gpus_each(const struct gpus *g, void (*one)(void *ctx, const struct gpus_held *h), void *ctx);
uint64_t gpus_version(const struct gpus *g);      /* grows whenever one is taken, given or found, or breaks */
bool gpus_settled(const struct gpus *g);          /* which ones running steps have is known */
bool gpus_broken(const struct gpus *g, size_t i); /* not to be used any more */

/* ---- the scheduler's ---- */

bool gpus_fit(const struct gpus *g, const struct gpu_want *w); /* now; always for who wants none */
/* They must fit. Whole ones by their order, shares where the least is left that suffices. */
void gpus_take(struct gpus *g, struct attempt_id id, const struct gpu_want *w);
void gpus_expect(struct gpus *g, struct attempt_id id, const struct gpu_want *w); /* unless it holds any */
void gpus_release(struct gpus *g, struct attempt_id id);                          /* unless the executor owns them */
void gpus_release_all(struct gpus *g);
/* Why they do not fit now, with numbers: "needs 2 GPUs, 1 of 4 is free". */
void gpus_reason(const struct gpus *g, const struct gpu_want *w, struct buf *out);

/* ---- the executor's ---- */

/* It is being launched: what was taken for it becomes the executor's. Of one that was expected, or is unknown, they are
 * taken now: ERR_UNAVAILABLE when others have them meanwhile. */
MUST_CHECK bool gpus_own(struct gpus *g, struct attempt_id id, const struct gpu_want *w, struct err *err);
/* It runs with what the note says; an empty note says nothing. Devices that are not here any more do not count. */
void gpus_found(struct gpus *g, struct attempt_id id, struct str note);
void gpus_give(struct gpus *g, struct attempt_id id); /* its process is gone, or never was */

/* What an attempt has, for a note: "GPU-1,GPU-2", "GPU-1@500" of a share. Empty = nothing. */
void gpus_note(const struct gpus *g, struct attempt_id id, struct buf *out);
/* For CUDA_VISIBLE_DEVICES: the devices of a note, without shares. */
struct str gpus_visible(struct arena *a, struct str note);

/* For tests: what is held, counted anew, is what is booked, and no whole device has two holders. */
MUST_CHECK bool gpus_verify(const struct gpus *g, struct err *err);

#endif
