/* What is quoted of logs: of a container of Millrace's own as a note for whoever waits for it, of a step's as the
 * reason of its failure. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_WORDS_H
#define MILLRACE_SCHEDULER_KUBE_WORDS_H

#include "engine/base/arena.h"
#include "engine/base/str.h"

#define KUBE_WORDS_MAX 300 /* bytes of it that are quoted */

/* The last line of the log that says what is wrong, in valid UTF-8 without control characters, and without the promise
 * to try again; empty = it says nothing of the kind. */
struct str kube_words(struct str log, struct arena *a);

#define KUBE_LAST_BYTES 2048 /* as many as a kubelet quotes */

/* "; its last lines:\n…", to stand behind how a step ended whose only output is its termination message. `log`: the end
 * of its log, of which something came before if `cut`. Empty = nothing. */
struct str kube_last_lines(struct str log, bool cut, struct str output, struct arena *a);

#endif
