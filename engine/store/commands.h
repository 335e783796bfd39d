/* What the API asks of the owner of a run, by way of the inbox. The owner decides; only what cannot possibly be is
 * refused here. */
#ifndef MILLRACE_STORE_COMMANDS_H
#define MILLRACE_STORE_COMMANDS_H

#include "engine/store/runs.h"

/* payload: JSON object or empty; see states.def. ERR_NOT_FOUND for no such run; ERR_CONFLICT with its state when the
 * command does not fit: cancel, pause, resume and approve need an active run, retry a finished one. */
MUST_CHECK bool commands_send(struct conn *c, const struct scope *scope, int64_t run_id, enum command command,
                              struct str payload, struct err *err);
/* The answer to an approval that waits. ERR_CONFLICT when it does not wait, or another answer is on its way to the
 * owner; the same answer by the same actor is fine, and sent once. payload: as COMMAND_APPROVE has it. */
MUST_CHECK bool commands_approve(struct conn *c, const struct scope *scope, int64_t run_id, int32_t task, bool approved,
                                 struct str payload, struct err *err);
/* Wakes schedulers in other processes: a hint, outside of any transaction. */
#define COMMANDS_CHANNEL "millrace_inbox"
MUST_CHECK bool commands_notify(struct conn *c, struct err *err);

#endif
