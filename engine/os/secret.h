/* Secrets for steps: entries of an administrator's folder, one folder a project: <secrets-dir>/<project>/<name>. Opened
 * beneath that folder only, never taken from the server's own environment, and never logged. */
#ifndef MILLRACE_OS_SECRET_H
#define MILLRACE_OS_SECRET_H

#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/mask.h"

#define SECRET_MAX (64 << 10)

/* Makes the folder, 0700, when there is none; refuses one that others than its owner and group can enter: steps may run
 * as somebody else, and are given only what they declare. */
MUST_CHECK bool secret_folder(const char *secrets_dir, struct err *err);

/* The file's bytes without one line break (\n or \r\n) at their end. Errors name the entry, never its content:
 * ERR_NOT_FOUND, ERR_INVALID for a name that leaves the folder, for what is no file and for a value with a NUL,
 * ERR_TOO_LARGE, ERR_IO. */
MUST_CHECK bool secret_fetch(struct str secrets_dir, struct str project, struct str name, struct arena *a,
                             struct str *out, struct err *err);

/* Keeps a value that a step is about to be given, for 30 days from the last time, in <project>/.given: should its file
 * change while the step runs, secret_mask knows it still, whichever process asks. Harmless to repeat. */
MUST_CHECK bool secret_given(struct str secrets_dir, struct str project, struct str value, struct err *err);

/* For whoever goes from one folder to another: what was given from the old one stays known in the new one. */
MUST_CHECK bool secret_carry(struct str from, struct str to, struct err *err);

/* The values of all secrets of a project (empty = of all) and their forms, those that were given with them, to be
 * covered in what its steps wrote; in the arena. What cannot be read is no step's secret either. */
void secret_mask(struct str secrets_dir, struct str project, struct arena *a, struct mask *out);
/* Those of all projects, for somebody else than the server: steps may have what he cannot read, so that is an error.
 * ERR_NOT_FOUND: there is no such folder. */
MUST_CHECK bool secret_mask_all(struct str secrets_dir, struct arena *a, struct mask *out, struct err *err);

#endif
