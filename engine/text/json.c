/* A recursive-descent reader of JSON: see json.h. */
#include "engine/text/json.h"

#include <math.h>
#include <string.h>

struct json {
    struct arena *arena;
    const char *p, *end, *start;
    const char *line_start; /* of the current line; strings cannot hold raw newlines, so only white space moves it */
    uint32_t line;
    size_t depth, max_depth;
    const char *counted; /* columns are counted from here on: one long line is not walked again for every value */
    uint32_t counted_col;
    struct err *err;
};

static struct pos here(struct json *j)
{
    if (j->counted < j->line_start || j->counted > j->p) {
        j->counted = j->line_start;
        j->counted_col = 1;
    }
    j->counted_col += (uint32_t)utf8_count((struct str){j->counted, (size_t)(j->p - j->counted)});
    j->counted = j->p;
    return (struct pos){j->line, j->counted_col};
}

static bool fail(struct json *j, enum err_code code, const char *message)
{
    err_set(j->err, code, "%s", message);
    return err_at(j->err, here(j), 0);
}

static bool unexpected(struct json *j, const char *wanted)
{
    if (j->p == j->end)
        err_set(j->err, ERR_SYNTAX, "the JSON text ends where %s should stand", wanted);
    else if ((unsigned char)*j->p < 0x20)
        err_set(j->err, ERR_SYNTAX, "a control character stands where %s should", wanted);
    else {
        size_t n = 1;
        while (j->p + n < j->end && ((unsigned char)j->p[n] & 0xC0) == 0x80)
            n++;
        err_set(j->err, ERR_SYNTAX, "'%.*s' stands where %s should", (int)n, j->p, wanted);
    }
    return err_at(j->err, here(j), 0);
}

static void skip_space(struct json *j)
{
    for (; j->p < j->end; j->p++) {
        if (*j->p == '\n') {
            j->line++;
            j->line_start = j->p + 1;
        } else if (*j->p != ' ' && *j->p != '\t' && *j->p != '\r') {
            return;
        }
    }
}

static bool hex4(struct json *j, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++, j->p++) {
        char c = j->p < j->end ? *j->p : '\0';
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit > 15) return unexpected(j, "a hexadecimal digit");
        v = v * 16 + digit;
    }
    *out = v;
    return true;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned lead[] = {0, 0xC0, 0xE0, 0xF0};
    *out++ = (char)(unsigned char)(lead[more] | c >> (6 * more));
    while (more--)
        *out++ = (char)(unsigned char)(0x80 | ((c >> (6 * more)) & 0x3F));
    return out;
}

static bool unicode_escape(struct json *j, char **out)
{
    uint32_t c, low;
    if (!hex4(j, &c)) return false;
    if (c == 0) return fail(j, ERR_INVALID, "a string may not contain the character U+0000");
    if (c >= 0xDC00 && c <= 0xDFFF) return fail(j, ERR_SYNTAX, "the second half of a surrogate pair stands alone");
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
            return fail(j, ERR_SYNTAX, "the first half of a surrogate pair stands alone");
        j->p += 2;
        if (!hex4(j, &low)) return false;
        if (low < 0xDC00 || low > 0xDFFF) return fail(j, ERR_SYNTAX, "the first half of a surrogate pair stands alone");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    *out = put_utf8(*out, c);
    return true;
}

static bool escape(struct json *j, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = j->p < j->end ? *j->p : '\0';
    if (c == 'u') {
        j->p++;
        return unicode_escape(j, out);
    }
    const char *hit = c ? strchr(from, c) : NULL;
    if (!hit) return unexpected(j, "an escape (one of \"\\/bfnrtu)");
    *(*out)++ = to[hit - from];
    j->p++;
    return true;
}

/* From behind the opening quote; plain strings are slices of the text, others are decoded into the arena. */
static bool read_string(struct json *j, struct str *out)
{
    const char *from = j->p;
    bool escaped = false;
    while (j->p < j->end && *j->p != '"' && (unsigned char)*j->p >= 0x20) {
        if (*j->p == '\\') {
            escaped = true;
            j->p++;
            if (j->p == j->end) break;
        }
        j->p++;
    }
    if (j->p == j->end || *j->p != '"') return unexpected(j, "the end of a string");
    struct str raw = {from, (size_t)(j->p - from)};
    const char *close = j->p;
    if (!escaped) {
        *out = raw;
        j->p = close + 1;
        return true;
    }
    char *text = arena_alloc(j->arena, raw.n + 1), *end = text; /* decoding never lengthens */
    for (j->p = from; j->p < close;) {
        if (*j->p != '\\')
            *end++ = *j->p++;
        else if (j->p++, !escape(j, &end))
            return false;
    }
    *out = (struct str){text, (size_t)(end - text)};
    j->p = close + 1;
    return true;
}

static size_t count_digits(const struct json *j)
{
    size_t n = 0;
    while (j->p + n < j->end && j->p[n] >= '0' && j->p[n] <= '9')
        n++;
    return n;
}

static bool read_number(struct json *j, struct value *out)
{
    const char *from = j->p;
    bool whole = true;
    if (*j->p == '-') j->p++;
    size_t n = count_digits(j);
    if (n == 0) return unexpected(j, "a digit");
    if (n > 1 && *j->p == '0') return fail(j, ERR_SYNTAX, "a number may not begin with 0");
    j->p += n;
    if (j->p < j->end && *j->p == '.') {
        whole = false;
        j->p++;
        n = count_digits(j);
        if (n == 0) return unexpected(j, "a digit");
        j->p += n;
    }
    if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
        whole = false;
        j->p++;
        if (j->p < j->end && (*j->p == '+' || *j->p == '-')) j->p++;
        n = count_digits(j);
        if (n == 0) return unexpected(j, "a digit");
        j->p += n;
    }
    struct str text = {from, (size_t)(j->p - from)};
    const char *after = j->p;
    if (whole ? str_int(text, &out->u.i) : str_double(text, &out->u.d)) {
        out->type = whole ? VALUE_INT : VALUE_DOUBLE;
        return true;
    }
    j->p = from;
    fail(j, ERR_INVALID, whole ? "the integer does not fit into 64 bits" : "the number is too large");
    j->p = after;
    return false;
}

static bool read_value(struct json *j, struct value *out);

static bool enter(struct json *j)
{
    if (++j->depth > j->max_depth) return fail(j, ERR_LIMIT, "the text is nested too deeply");
    j->p++;
    skip_space(j);
    return true;
}

/* After an item: a comma and on, or the closing bracket. */
static bool more(struct json *j, char close, bool *done)
{
    skip_space(j);
    if (j->p < j->end && *j->p == close) {
        *done = true;
        j->p++;
        return true;
    }
    if (j->p == j->end || *j->p != ',') return unexpected(j, close == ']' ? "',' or ']'" : "',' or '}'");
    j->p++;
    skip_space(j);
    return true;
}

static bool read_list(struct json *j, struct value *out)
{
    struct value_list_builder list;
    value_list_begin(&list, j->arena);
    if (!enter(j)) return false;
    bool done = j->p < j->end && *j->p == ']';
    if (done) j->p++;
    while (!done) {
        struct value item;
        if (!read_value(j, &item)) return false;
        value_list_push(&list, item);
        if (!more(j, ']', &done)) return false;
    }
    j->depth--;
    *out = value_list_end(&list);
    return true;
}

static bool check_unique(struct json *j, const struct value *map)
{
    const struct value_entry *entries = map->u.map.entries;
    const uint32_t *order = map->u.map.index;
    for (size_t i = 1; i < map->u.map.n; i++) {
        const struct value_entry *twice = NULL;
        if (order && str_eq(entries[order[i - 1]].key, entries[order[i]].key)) twice = &entries[order[i]];
        for (size_t k = 0; !order && k < i && !twice; k++)
            twice = str_eq(entries[k].key, entries[i].key) ? &entries[i] : NULL;
        if (!twice) continue;
        err_set(j->err, ERR_INVALID, "the key '%.*s' stands twice", (int)(twice->key.n > 100 ? 100 : twice->key.n),
                twice->key.p);
        return err_at(j->err, twice->key_at, (uint32_t)utf8_count(twice->key) + 2);
    }
    return true;
}

static bool read_map(struct json *j, struct value *out)
{
    struct value_map_builder map;
    value_map_begin(&map, j->arena);
    if (!enter(j)) return false;
    bool done = j->p < j->end && *j->p == '}';
    if (done) j->p++;
    while (!done) {
        struct str key;
        struct value value;
        if (j->p == j->end || *j->p != '"') return unexpected(j, "a key in quotes");
        struct pos at = here(j);
        j->p++;
        if (!read_string(j, &key)) return false;
        skip_space(j);
        if (j->p == j->end || *j->p != ':') return unexpected(j, "':'");
        j->p++;
        skip_space(j);
        if (!read_value(j, &value)) return false;
        value_map_put(&map, key, value);
        map.entries[map.n - 1].key_at = at;
        if (!more(j, '}', &done)) return false;
    }
    j->depth--;
    *out = value_map_end(&map);
    return check_unique(j, out);
}

static bool read_word(struct json *j, const char *word, struct value v, struct value *out)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0) return unexpected(j, "a value");
    j->p += n;
    *out = v;
    return true;
}

static bool read_value(struct json *j, struct value *out)
{
    struct pos at = here(j);
    char c = j->p < j->end ? *j->p : '\0';
    bool ok;
    *out = value_null();
    if (c == '"') {
        j->p++;
        out->type = VALUE_STRING;
        ok = read_string(j, &out->u.s);
    } else if (c == '{')
        ok = read_map(j, out);
    else if (c == '[')
        ok = read_list(j, out);
    else if (c == '-' || (c >= '0' && c <= '9'))
        ok = read_number(j, out);
    else if (c == 't')
        ok = read_word(j, "true", value_bool(true), out);
    else if (c == 'f')
        ok = read_word(j, "false", value_bool(false), out);
    else if (c == 'n')
        ok = read_word(j, "null", value_null(), out);
    else
        ok = unexpected(j, "a value");
    out->at = at;
    if (out->type == VALUE_STRING) out->style = STYLE_DOUBLE;
    return ok;
}

bool json_parse(struct arena *a, struct str text, size_t max_depth, struct value *out, struct err *err)
{
    size_t bad = 0;
    struct value value;
    if (!text.p) text = STR("");
    struct json j = {.arena = a,
                     .p = text.p,
                     .start = text.p,
                     .end = text.p + text.n,
                     .line_start = text.p,
                     .line = 1,
                     .counted = text.p,
                     .counted_col = 1,
                     .max_depth = max_depth ? max_depth : JSON_MAX_DEPTH,
                     .err = err};
    if (!utf8_valid(text, &bad)) {
        for (size_t i = 0; i < bad; i++) {
            if (text.p[i] != '\n') continue;
            j.line++;
            j.line_start = text.p + i + 1;
        }
        j.p = text.p + bad;
        return fail(&j, ERR_SYNTAX, "the text is not UTF-8 here");
    }
    if (str_starts(text, "\xEF\xBB\xBF")) j.p += 3;
    j.line_start = j.counted = j.p;
    skip_space(&j);
    if (!read_value(&j, &value)) return false;
    skip_space(&j);
    if (j.p != j.end) return unexpected(&j, "the end of the text");
    *out = value;
    return true;
}

bool json_decode(struct arena *a, struct str text, struct value *out, struct err *err)
{
    return json_parse(a, arena_str(a, text), 0, out, err);
}
