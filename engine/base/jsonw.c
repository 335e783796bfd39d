/* The streaming JSON writer, and the JSON text of values, which is the same thing over a buffer. */
#include "engine/base/jsonw.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a level of nesting has seen so far. */
enum { IN_OBJECT = 1, HAS_ITEM = 2, HAS_KEY = 4 };

void jsonw_to_buf(struct jsonw *w, struct buf *out)
{
    w->sink = NULL;
    w->ctx = NULL;
    w->buf = out;
    w->failed = false;
    w->depth = 0;
    w->state[0] = 0;
    w->staged = 0;
}

void jsonw_to_sink(struct jsonw *w, jsonw_sink *sink, void *ctx)
{
    jsonw_to_buf(w, NULL);
    w->sink = sink;
    w->ctx = ctx;
}

static void flush(struct jsonw *w)
{
    if (w->staged && !w->failed && !w->sink(w->ctx, w->stage, w->staged)) w->failed = true;
    w->staged = 0;
}

static void put(struct jsonw *w, const char *p, size_t n)
{
    if (w->failed) return;
    if (!w->sink) {
        if (!buf_add(w->buf, p, n)) w->failed = true;
        return;
    }
    if (n > sizeof w->stage - w->staged) flush(w);
    if (n > sizeof w->stage) {
        if (!w->failed && !w->sink(w->ctx, p, n)) w->failed = true;
        return;
    }
    if (n) memcpy(w->stage + w->staged, p, n);
    w->staged += n;
}

static void misuse(struct jsonw *w)
{
    assert(w == NULL && "JSON written out of order");
    w->failed = true;
}

bool jsonw_end(struct jsonw *w)
{
    if (w->sink) flush(w);
    return !w->failed && w->depth == 0 && (w->state[0] & HAS_ITEM);
}

/* Before any value: the comma, and whether one may stand here. */
static void before_value(struct jsonw *w)
{
    uint8_t *level = &w->state[w->depth];
    if (*level & IN_OBJECT) {
        if (!(*level & HAS_KEY)) misuse(w);
        *level &= (uint8_t)~HAS_KEY;
        return;
    }
    if (*level & HAS_ITEM) {
        if (w->depth == 0) misuse(w);
        put(w, ",", 1);
    }
    *level |= HAS_ITEM;
}

static void open_level(struct jsonw *w, const char *bracket, uint8_t state)
{
    if (w->failed) return; /* levels are no longer kept: see close_level */
    before_value(w);
    if (w->depth + 1 >= JSONW_DEPTH) {
        w->failed = true; /* too deep is the data's fault, not the caller's */
        return;
    }
    put(w, bracket, 1);
    w->state[++w->depth] = state;
}

static void close_level(struct jsonw *w, const char *bracket, uint8_t state)
{
    if (w->failed) return; /* a level that was refused is not there to be closed */
    if (w->depth == 0 || (w->state[w->depth] & (IN_OBJECT | HAS_KEY)) != state) {
        misuse(w);
        return;
    }
    w->depth--;
    put(w, bracket, 1);
}

void jsonw_object(struct jsonw *w)
{
    open_level(w, "{", IN_OBJECT);
}

void jsonw_object_end(struct jsonw *w)
{
    close_level(w, "}", IN_OBJECT);
}

void jsonw_array(struct jsonw *w)
{
    open_level(w, "[", 0);
}

void jsonw_array_end(struct jsonw *w)
{
    close_level(w, "]", 0);
}

/* The bytes of the character at i that is written as an escape, 0 if it may stand as it is. Beside those that JSON asks
 * for, these are what YAML does not take (YAML 1.2.2, 5.1 and 5.4) and what a terminal or an editor would obey or hide:
 * controls, the other line separators, byte order marks. */
static size_t special(struct str s, size_t i, unsigned *code)
{
    const unsigned char *p = (const unsigned char *)s.p + i;
    size_t left = s.n - i;
    *code = *p;
    if (*p < 0x80) return *p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7F;
    if (*p == 0xC2 && left > 1) {
        *code = p[1];
        return p[1] < 0xA0 ? 2 : 0;
    }
    if ((*p != 0xE2 && *p != 0xEF) || left < 3) return 0;
    *code = (p[0] & 0xFu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    return *code == 0x2028 || *code == 0x2029 || *code == 0xFEFF || *code >= 0xFFFE ? 3 : 0;
}

static void escaped(struct jsonw *w, unsigned code)
{
    static const char shorts[32] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char out[16];
    if (code == '"' || code == '\\')
        put(w, (char[]){'\\', (char)code}, 2);
    else if (code < sizeof shorts && shorts[code])
        put(w, (char[]){'\\', shorts[code]}, 2);
    else
        put(w, out, (size_t)snprintf(out, sizeof out, "\\u%04x", code));
}

/* Strings from outside (log lines) may be no UTF-8: each bad byte becomes U+FFFD, so that the text stays JSON. */
static void quoted(struct jsonw *w, struct str s)
{
    size_t bad = s.n, from = 0;
    if (utf8_valid(s, &bad)) bad = s.n;
    put(w, "\"", 1);
    for (size_t i = 0, n; i < s.n; i += n) {
        unsigned code = 0;
        n = i == bad ? 1 : special(s, i, &code);
        if (n == 0) {
            n = 1;
            continue;
        }
        if (i > from) put(w, s.p + from, i - from);
        from = i + n;
        if (i != bad) {
            escaped(w, code);
            continue;
        }
        put(w, "\xEF\xBF\xBD", 3);
        size_t next;
        bad = utf8_valid(str_sub(s, i + 1, s.n), &next) ? s.n : i + 1 + next;
    }
    if (s.n > from) put(w, s.p + from, s.n - from);
    put(w, "\"", 1);
}

void jsonw_key_str(struct jsonw *w, struct str key)
{
    if (w->failed) return;
    uint8_t *level = &w->state[w->depth];
    if (!(*level & IN_OBJECT) || (*level & HAS_KEY)) misuse(w);
    if (*level & HAS_ITEM) put(w, ",", 1);
    *level |= HAS_ITEM | HAS_KEY;
    quoted(w, key);
    put(w, ":", 1);
}

void jsonw_key(struct jsonw *w, const char *key)
{
    jsonw_key_str(w, str_of(key));
}

static void literal(struct jsonw *w, const char *text, size_t n)
{
    if (w->failed) return;
    before_value(w);
    put(w, text, n);
}

void jsonw_null(struct jsonw *w)
{
    literal(w, "null", 4);
}

void jsonw_bool(struct jsonw *w, bool b)
{
    if (b)
        literal(w, "true", 4);
    else
        literal(w, "false", 5);
}

void jsonw_int(struct jsonw *w, int64_t i)
{
    char text[32];
    literal(w, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)i));
}

/* Without an exponent where no digit stands behind the point: PostgreSQL keeps 1e+21 as a 1 and 21 zeros, which would
 * come back as a whole number, and as none that fits. */
void jsonw_double(struct jsonw *w, double d)
{
    char text[320];
    size_t n = isfinite(d) ? double_text(d, text) : 0;
    if (n > 0 && d == floor(d) && memchr(text, 'e', n)) n = (size_t)snprintf(text, sizeof text, "%.1f", d);
    if (n > 0)
        literal(w, text, n);
    else
        jsonw_null(w);
}

void jsonw_str(struct jsonw *w, struct str s)
{
    if (w->failed) return;
    before_value(w);
    quoted(w, s);
}

void jsonw_cstr(struct jsonw *w, const char *c)
{
    if (c)
        jsonw_str(w, str_of(c));
    else
        jsonw_null(w);
}

void jsonw_raw(struct jsonw *w, struct str json)
{
    literal(w, json.p, json.n);
}

/* Equal values give equal canonical bytes, and 1 == 1.0. */
static void canonical_double(struct jsonw *w, double d)
{
    if (d == floor(d) && fabs(d) < 9223372036854775808.0)
        jsonw_int(w, (int64_t)d);
    else
        jsonw_double(w, d);
}

static void write_value(struct jsonw *w, const struct value *v, struct arena *canonical)
{
    switch (v->type) {
    case VALUE_NULL: jsonw_null(w); break;
    case VALUE_BOOL: jsonw_bool(w, v->u.b); break;
    case VALUE_INT: jsonw_int(w, v->u.i); break;
    case VALUE_STRING: jsonw_str(w, v->u.s); break;
    case VALUE_DOUBLE:
        if (canonical)
            canonical_double(w, v->u.d);
        else
            jsonw_double(w, v->u.d);
        break;
    case VALUE_LIST:
        jsonw_array(w);
        for (size_t i = 0; i < v->u.list.n && !w->failed; i++)
            write_value(w, &v->u.list.items[i], canonical);
        jsonw_array_end(w);
        break;
    case VALUE_MAP: {
        const uint32_t *order = canonical ? value_order(canonical, v) : NULL;
        jsonw_object(w);
        for (size_t i = 0; i < v->u.map.n && !w->failed; i++) {
            const struct value_entry *entry = &v->u.map.entries[order ? order[i] : i];
            jsonw_key_str(w, entry->key);
            write_value(w, &entry->value, canonical);
        }
        jsonw_object_end(w);
        break;
    }
    }
}

void jsonw_value(struct jsonw *w, const struct value *v)
{
    write_value(w, v, NULL);
}

void value_json(struct buf *out, const struct value *v, bool canonical)
{
    struct jsonw w;
    struct arena scratch;
    arena_init(&scratch, 0);
    jsonw_to_buf(&w, out);
    write_value(&w, v, canonical ? &scratch : NULL);
    if (!jsonw_end(&w)) out->over = true;
    arena_free(&scratch);
}

void jsonw_kv_str(struct jsonw *w, const char *key, struct str s)
{
    jsonw_key(w, key);
    jsonw_str(w, s);
}

void jsonw_kv_cstr(struct jsonw *w, const char *key, const char *c)
{
    if (!c) return;
    jsonw_key(w, key);
    jsonw_cstr(w, c);
}

void jsonw_kv_int(struct jsonw *w, const char *key, int64_t i)
{
    jsonw_key(w, key);
    jsonw_int(w, i);
}

void jsonw_kv_bool(struct jsonw *w, const char *key, bool b)
{
    jsonw_key(w, key);
    jsonw_bool(w, b);
}

void jsonw_kv_double(struct jsonw *w, const char *key, double d)
{
    jsonw_key(w, key);
    jsonw_double(w, d);
}
