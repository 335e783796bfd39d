/* A turn's writes as columns: rows go in one by one, out go arrays in PostgreSQL's binary form, one statement a table.
 * Binary arrays: https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/arrayfuncs.c
 * (array_recv). */
#ifndef MILLRACE_STORE_BATCH_H
#define MILLRACE_STORE_BATCH_H

#include "engine/base/buf.h"
#include "queries.h"

/* In the order in which they are sent: the fence first. */
enum batch_table {
    BATCH_FENCE,
    BATCH_INBOX_DONE,
    BATCH_FRAMES,
    BATCH_RUN_BUNDLE, /* before the tasks: see its query */
    BATCH_TASK_INSERT,
    BATCH_TASK_UPDATE,
    BATCH_ATTEMPTS,
    BATCH_EVENTS,
    BATCH_BLOBS,
    BATCH_ARTIFACTS,
    BATCH_USES,
    BATCH_NAMES,
    BATCH_CACHE,
    BATCH_RUN_STATE,
    BATCH_RUN_FINISH,
    BATCH_WAITING,
    BATCH_QUEUE_OVER, /* before the asks: one may end and be asked anew */
    BATCH_QUEUE_ASK,
    BATCH_TABLES
};

#define BATCH_MAX_COLUMNS 20

struct batch_column {
    struct buf bytes;
    uint32_t n;
    bool nulls;
};
struct batch_rows {
    struct batch_column columns[BATCH_MAX_COLUMNS];
    uint32_t n;      /* rows */
    uint32_t column; /* next to be filled in the row begun last */
};
struct batch {
    struct batch_rows tables[BATCH_TABLES];
};

/* Statement and column types of a table: s = smallint, i = int, l = bigint, t = text, z = timestamptz. */
struct batch_table_def {
    enum query_id query;
    const char *types;
};
extern const struct batch_table_def batch_tables[BATCH_TABLES];

void batch_init(struct batch *b);
void batch_reset(struct batch *b); /* empty, memory kept up to a bound */
void batch_free(struct batch *b);
bool batch_empty(const struct batch *b); /* nothing but a fence */

/* One row: batch_row, then every column in order. A wrong type aborts: a programming error. */
void batch_row(struct batch *b, enum batch_table t);
void batch_int(struct batch *b, enum batch_table t, int64_t v);             /* s, i, l */
void batch_text(struct batch *b, enum batch_table t, struct str s);         /* t */
void batch_text_or_null(struct batch *b, enum batch_table t, struct str s); /* empty = NULL */
void batch_time(struct batch *b, enum batch_table t, int64_t unix_us);      /* z; 0 = NULL */
void batch_null(struct batch *b, enum batch_table t);

/* The binary array of a column, header included; valid until the next change. */
struct str batch_array(struct batch *b, enum batch_table t, uint32_t column);

#endif
