/* What a container of Millrace's own says in its log, as a note for whoever waits for it. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_WORDS_H
#define MILLRACE_SCHEDULER_KUBE_WORDS_H

#include "engine/base/arena.h"
#include "engine/base/str.h"

#define KUBE_WORDS_MAX 300 /* bytes of it that are quoted */

/* The last line of the log that says what is wrong, in valid UTF-8 without control characters, and without the promise
 * to try again; empty = it says nothing of the kind. */
struct str kube_words(struct str log, struct arena *a);

#endif
