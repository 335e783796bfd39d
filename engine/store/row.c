/* Encoding of parameters and decoding of columns. Parameters go as text but for times and bytes, whose binary form is
 * exact and cheap. */
#include "engine/store/row.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"

/* Of pg_type; they never change. */
enum {
    TYPE_BOOL = 16,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_OID = 26,
    TYPE_TIMESTAMPTZ = 1184,
    TYPE_JSONB = 3802
};

#define EPOCH_2000_US INT64_C(946684800000000)

void params_init(struct params *p, struct arena *a)
{
    p->arena = a;
    p->n = 0;
    p->bad = false;
}

static void add(struct params *p, const char *value, size_t n, int format)
{
    if (p->n == PARAMS_MAX || n > INT32_MAX) {
        p->bad = true;
        return;
    }
    p->values[p->n] = value;
    p->lengths[p->n] = (int)n;
    p->formats[p->n] = format;
    p->n++;
}

void params_null(struct params *p)
{
    add(p, NULL, 0, 0);
}

void params_int(struct params *p, int64_t i)
{
    struct str s = arena_printf(p->arena, "%" PRId64, i);
    add(p, s.p, s.n, 0);
}

void params_id(struct params *p, int64_t i)
{
    if (i == 0)
        params_null(p);
    else
        params_int(p, i);
}

void params_bool(struct params *p, bool b)
{
    add(p, b ? "t" : "f", 1, 0);
}

void params_double(struct params *p, double d)
{
    struct str s = arena_printf(p->arena, "%.17g", d);
    add(p, s.p, s.n, 0);
}

void params_str(struct params *p, struct str s)
{
    if (s.n > 0 && memchr(s.p, 0, s.n)) {
        p->bad = true; /* would be cut silently */
        s.n = 0;
    }
    add(p, arena_cstr(p->arena, s), s.n, 0);
}

void params_str_or_null(struct params *p, struct str s)
{
    if (s.n == 0)
        params_null(p);
    else
        params_str(p, s);
}

void params_time(struct params *p, int64_t us)
{
    if (us == 0) {
        params_null(p);
        return;
    }
    uint64_t wire = htobe64((uint64_t)(us - EPOCH_2000_US));
    char *copy = arena_alloc(p->arena, sizeof wire);
    memcpy(copy, &wire, sizeof wire);
    add(p, copy, sizeof wire, 1);
}

void params_bytes(struct params *p, const void *bytes, size_t n)
{
    char *copy = arena_alloc(p->arena, n + 1);
    if (n > 0) memcpy(copy, bytes, n);
    add(p, copy, n, 1);
}

void params_ints(struct params *p, const int64_t *items, size_t n)
{
    BUF_AUTO b;
    buf_init(&b, 0);
    buf_char(&b, '{');
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%lld", i > 0 ? "," : "", (long long)items[i]);
    buf_char(&b, '}');
    params_str(p, buf_view(&b));
}

void params_strs(struct params *p, const struct str *items, size_t n)
{
    BUF_AUTO b;
    buf_init(&b, 0);
    buf_char(&b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_char(&b, ',');
        if (!items[i].p) {
            buf_c(&b, "NULL");
            continue;
        }
        buf_char(&b, '"');
        for (size_t j = 0; j < items[i].n; j++) {
            char c = items[i].p[j];
            if (c == '"' || c == '\\') buf_char(&b, '\\');
            buf_char(&b, c);
        }
        buf_char(&b, '"');
    }
    buf_char(&b, '}');
    if (b.over) p->bad = true;
    params_str(p, buf_view(&b));
}

void result_cleanup(PGresult **res)
{
    PQclear(*res);
    *res = NULL;
}

bool row_null(const PGresult *res, int row, int col)
{
    return PQgetisnull(res, row, col) != 0;
}

struct str row_str(const PGresult *res, int row, int col)
{
    struct str s = {PQgetvalue(res, row, col), (size_t)PQgetlength(res, row, col)};
    if (PQftype(res, col) == TYPE_JSONB && PQfformat(res, col) == 1 && s.n > 0) { /* a version byte goes first */
        s.p++;
        s.n--;
    }
    return s;
}

struct str row_copy(const PGresult *res, int row, int col, struct arena *a)
{
    if (row_null(res, row, col)) return (struct str){NULL, 0};
    return arena_str(a, row_str(res, row, col));
}

int64_t row_int(const PGresult *res, int row, int col)
{
    if (row_null(res, row, col)) return 0;
    const char *p = PQgetvalue(res, row, col);
    if (PQfformat(res, col) == 0) return strtoll(p, NULL, 10);
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;
    switch (PQgetlength(res, row, col)) {
    case 8: memcpy(&u64, p, 8); return (int64_t)be64toh(u64);
    case 4:
        memcpy(&u32, p, 4);
        if (PQftype(res, col) == TYPE_OID) return (int64_t)be32toh(u32);
        return (int32_t)be32toh(u32);
    case 2: memcpy(&u16, p, 2); return (int16_t)be16toh(u16);
    case 1: return *p;
    default: abort(); /* the query gives another type than its reader expects: found by the first test that runs it */
    }
}

int64_t row_int_or(const PGresult *res, int row, int col, int64_t null)
{
    return row_null(res, row, col) ? null : row_int(res, row, col);
}

int64_t row_time(const PGresult *res, int row, int col)
{
    if (row_null(res, row, col)) return 0;
    if (PQftype(res, col) != TYPE_TIMESTAMPTZ || PQfformat(res, col) != 1) abort();
    return row_int(res, row, col) + EPOCH_2000_US;
}

bool row_bool(const PGresult *res, int row, int col)
{
    if (row_null(res, row, col)) return false;
    const char *p = PQgetvalue(res, row, col);
    return PQfformat(res, col) == 0 ? *p == 't' : *p != 0;
}
