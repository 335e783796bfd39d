/* Columns of a turn's writes. See batch.h. */
#include "engine/store/batch.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES (256u << 10) /* memory a column keeps between turns */
#define HEADER_BYTES 20
#define PG_EPOCH_US 946684800000000LL /* 2000-01-01 in Unix time */

/* Type numbers of PostgreSQL's catalog, fixed since its beginning (pg_type.dat). */
enum { OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25, OID_TIMESTAMPTZ = 1184 };

const struct batch_table_def batch_tables[BATCH_TABLES] = {
    [BATCH_FENCE] = {Q_HOT_FENCE, "sl"},
    [BATCH_INBOX_DONE] = {Q_HOT_INBOX_DONE, "l"},
    [BATCH_FRAMES] = {Q_HOT_FRAME_INSERT, "liltisiiittz"},
    [BATCH_RUN_BUNDLE] = {Q_HOT_RUN_BUNDLE, "lt"},
    [BATCH_TASK_INSERT] = {Q_HOT_TASK_INSERT, "liltitsiiistizttzzll"},
    [BATCH_TASK_UPDATE] = {Q_HOT_TASK_UPDATE, "liissiiistizttzzll"},
    [BATCH_ATTEMPTS] = {Q_HOT_ATTEMPT_INSERT, "liiltsstitzzll"},
    [BATCH_EVENTS] = {Q_HOT_EVENT_INSERT, "liltzsiit"},
    [BATCH_BLOBS] = {Q_HOT_BLOB_INSERT, "ltlt"},
    [BATCH_ARTIFACTS] = {Q_HOT_ARTIFACT_INSERT, "ltliitttlt"},
    [BATCH_USES] = {Q_HOT_USE_INSERT, "liitltt"},
    [BATCH_NAMES] = {Q_HOT_NAME_INSERT, "llt"},
    [BATCH_CACHE] = {Q_HOT_CACHE_PUT, "lttliitzz"},
    [BATCH_RUN_STATE] = {Q_HOT_RUN_STATE, "lsssliz"},
    [BATCH_RUN_FINISH] = {Q_HOT_RUN_FINISH, "lsttiizz"},
    [BATCH_WAITING] = {Q_HOT_WAITING, "lt"},
    [BATCH_QUEUE_OVER] = {Q_HOT_QUEUE_OVER, "lii"},
    [BATCH_QUEUE_ASK] = {Q_HOT_QUEUE_ASK, "liiltsttttiilliztl"},
};

void batch_init(struct batch *b)
{
    memset(b, 0, sizeof *b);
    for (int t = 0; t < BATCH_TABLES; t++)
        for (int c = 0; c < BATCH_MAX_COLUMNS; c++)
            buf_init(&b->tables[t].columns[c].bytes, (size_t)1 << 30);
}

void batch_reset(struct batch *b)
{
    for (int t = 0; t < BATCH_TABLES; t++) {
        struct batch_rows *rows = &b->tables[t];
        if (rows->n == 0) continue;
        for (int c = 0; c < BATCH_MAX_COLUMNS; c++) {
            struct batch_column *column = &rows->columns[c];
            if (column->bytes.room > KEEP_BYTES) {
                buf_free(&column->bytes);
                buf_init(&column->bytes, (size_t)1 << 30);
            } else {
                buf_reset(&column->bytes);
            }
            column->n = 0;
            column->nulls = false;
        }
        rows->n = rows->column = 0;
    }
}

void batch_free(struct batch *b)
{
    for (int t = 0; t < BATCH_TABLES; t++)
        for (int c = 0; c < BATCH_MAX_COLUMNS; c++)
            buf_free(&b->tables[t].columns[c].bytes);
}

bool batch_empty(const struct batch *b)
{
    for (int t = 0; t < BATCH_TABLES; t++)
        if (t != BATCH_FENCE && b->tables[t].n > 0) return false;
    return true;
}

void batch_row(struct batch *b, enum batch_table t)
{
    struct batch_rows *rows = &b->tables[t];
    if (rows->n > 0 && batch_tables[t].types[rows->column] != '\0') abort(); /* the last row is not whole */
    rows->n++;
    rows->column = 0;
}

/* The next column, which must be of one of `types`; its type letter goes to *type. */
static struct batch_column *next_column(struct batch *b, enum batch_table t, const char *types, char *type)
{
    struct batch_rows *rows = &b->tables[t];
    *type = batch_tables[t].types[rows->column];
    if (*type == '\0' || strchr(types, *type) == NULL) abort();
    struct batch_column *column = &rows->columns[rows->column++];
    if (column->n++ == 0) {
        static const char header[HEADER_BYTES];
        buf_add(&column->bytes, header, HEADER_BYTES); /* filled in by batch_array */
    }
    return column;
}

static void put_sized(struct batch_column *column, const void *p, uint32_t n)
{
    uint32_t size = htonl(n);
    buf_add(&column->bytes, &size, 4);
    buf_add(&column->bytes, p, n);
}

void batch_int(struct batch *b, enum batch_table t, int64_t v)
{
    char type;
    struct batch_column *column = next_column(b, t, "sil", &type);
    if (type == 's') {
        uint16_t be = htons((uint16_t)v);
        put_sized(column, &be, sizeof be);
    } else if (type == 'i') {
        uint32_t be = htonl((uint32_t)v);
        put_sized(column, &be, sizeof be);
    } else {
        uint64_t be = htobe64((uint64_t)v);
        put_sized(column, &be, sizeof be);
    }
}

void batch_text(struct batch *b, enum batch_table t, struct str s)
{
    char type;
    put_sized(next_column(b, t, "t", &type), s.p, (uint32_t)s.n);
}

void batch_null(struct batch *b, enum batch_table t)
{
    char type;
    struct batch_column *column = next_column(b, t, "siltz", &type);
    uint32_t minus_one = UINT32_MAX;
    buf_add(&column->bytes, &minus_one, 4);
    column->nulls = true;
}

void batch_text_or_null(struct batch *b, enum batch_table t, struct str s)
{
    if (s.n == 0)
        batch_null(b, t);
    else
        batch_text(b, t, s);
}

void batch_time(struct batch *b, enum batch_table t, int64_t unix_us)
{
    if (unix_us == 0) {
        batch_null(b, t);
        return;
    }
    char type;
    uint64_t be = htobe64((uint64_t)(unix_us - PG_EPOCH_US));
    put_sized(next_column(b, t, "z", &type), &be, sizeof be);
}

struct str batch_array(struct batch *b, enum batch_table t, uint32_t c)
{
    static const struct {
        char type;
        uint32_t oid;
    } oids[] = {{'s', OID_INT2}, {'i', OID_INT4}, {'l', OID_INT8}, {'t', OID_TEXT}, {'z', OID_TIMESTAMPTZ}};
    struct batch_column *column = &b->tables[t].columns[c];
    uint32_t oid = 0;
    for (size_t i = 0; i < sizeof oids / sizeof *oids; i++)
        if (oids[i].type == batch_tables[t].types[c]) oid = oids[i].oid;
    const uint32_t header[5] = {htonl(1), htonl(column->nulls ? 1 : 0), htonl(oid), htonl(column->n), htonl(1)};
    memcpy(column->bytes.p, header, sizeof header);
    return buf_view(&column->bytes);
}
