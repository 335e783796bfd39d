/* The scheduler's own connection: it holds the advisory locks of the shards it owns and carries all writes of a turn in
 * one pipelined transaction. Since lock and writes share a session, a scheduler that lost its locks cannot write. Used
 * by one thread; calls block for a round trip.
 *
 * After any error of kind ERR_UNAVAILABLE the connection is down and nothing is owned: everything in memory is to be
 * forgotten and, after hot_open, acquired and loaded anew. */
#ifndef MILLRACE_STORE_HOT_H
#define MILLRACE_STORE_HOT_H

#include <libpq-fe.h>

#include "engine/base/err.h"
#include "engine/store/batch.h"
#include "engine/store/runs.h"

struct hot;

struct hot *hot_new(const char *conninfo, const char *owner); /* owner: for people, e.g. host and pid */
void hot_free(struct hot *h);

MUST_CHECK bool hot_open(struct hot *h, struct err *err);
bool hot_up(const struct hot *h);
void hot_close(struct hot *h);
int hot_socket(const struct hot *h); /* readable while idle = the server said something, e.g. goodbye; -1 when down */
/* Looks at what the server said while nothing was asked; false when the connection is gone. */
bool hot_alive(struct hot *h);
/* Somebody left a command in the inbox since the last call: a hint, which another process sends by NOTIFY. */
bool hot_notified(struct hot *h);

/* Attempts are under way on executors, and only the server that an executor belongs to hears how they end. So a shard
 * in which some are belongs to that server first: it takes it back beyond its share, and others leave it alone until it
 * has been free for the grace. */
struct hot_claim {
    const char *executor; /* instance whose attempts this scheduler hears of; "" = none */
    int64_t grace_us;     /* 0: nobody else shares the database */
};

/* Takes shards that nobody holds, at most this scheduler's fair share of them all, and gives back what is beyond it
 * (those in *lost). Ends the sessions of other schedulers that have said nothing for the grace. Newly owned ones go to
 * gained[]. Both arrays have room for RUN_SHARDS. A shard in lost[] is still held: free its runs, then hot_release it.
 */
MUST_CHECK bool hot_balance(struct hot *h, const struct hot_claim *claim, uint16_t *gained, size_t *n_gained,
                            uint16_t *lost, size_t *n_lost, struct err *err);
MUST_CHECK bool hot_release(struct hot *h, uint16_t shard, struct err *err);
bool hot_owns(const struct hot *h, uint16_t shard);
size_t hot_owned(const struct hot *h);

/* Sends the batch as one transaction and waits for its commit; rows are fenced by the epochs of the given shards.
 * ERR_STALE: somebody else wrote; ERR_UNAVAILABLE: connection lost, outcome unknown; ERR_INVALID: the database refused
 * a value. Nothing was written in any case but the unknown one. */
MUST_CHECK bool hot_flush(struct hot *h, struct batch *b, struct err *err);

/* A read with text parameters ($1…); the result, to be read with row.h, is the caller's to PQclear. */
MUST_CHECK bool hot_query(struct hot *h, enum query_id q, const char *const *params, int n, PGresult **out,
                          struct err *err);
/* "{1,2,3}" of the owned shards, for $n::smallint[]; valid until ownership changes. */
const char *hot_shards_text(struct hot *h);

#endif
