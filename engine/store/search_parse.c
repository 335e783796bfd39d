/* From the text of a filter to its terms. */
#include <string.h>

#include "engine/store/search_parse.h"

#define TERMS_MAX 20
#define VALUES_MAX 100
#define FILTER_MAX 4096

struct reader {
    struct str text;
    size_t i;
    struct arena *arena;
    struct err *err;
};

static struct pos pos_at(const struct reader *r, size_t i)
{
    return (struct pos){1, (uint32_t)utf8_count(str_sub(r->text, 0, i)) + 1};
}

__attribute__((format(printf, 3, 4))) static bool complain(struct reader *r, size_t at, const char *fmt, ...)
{
    if (!r->err) return false;
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(r->err, ERR_INVALID, "%s", text);
    err_path(r->err, "filter");
    return err_at(r->err, pos_at(r, at), 1);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("_-.:/+@*", c) != NULL || (unsigned char)c >= 0x80;
}

static void skip_space(struct reader *r)
{
    while (r->i < r->text.n && strchr(" \t\r\n", r->text.p[r->i]))
        r->i++;
}

static struct str word(struct reader *r)
{
    size_t from = r->i;
    while (r->i < r->text.n && r->text.p[r->i] != 0 && is_word(r->text.p[r->i]))
        r->i++;
    return str_sub(r->text, from, r->i - from);
}

static bool quoted(struct reader *r, struct str *out)
{
    char quote = r->text.p[r->i];
    size_t from = r->i++, n = 0;
    char *copy = arena_alloc(r->arena, r->text.n + 1);
    while (r->i < r->text.n && r->text.p[r->i] != quote) {
        if (r->text.p[r->i] == '\\' && r->i + 1 < r->text.n) r->i++;
        copy[n++] = r->text.p[r->i++];
    }
    if (r->i == r->text.n) return complain(r, from, "the quoted text does not end");
    r->i++;
    *out = (struct str){copy, n};
    return true;
}

static bool value(struct reader *r, struct str *out)
{
    skip_space(r);
    if (r->i < r->text.n && (r->text.p[r->i] == '"' || r->text.p[r->i] == '\'')) return quoted(r, out);
    size_t from = r->i;
    *out = word(r);
    if (out->n > 0) return true;
    complain(r, from, "a value is missing here");
    return err_hint(r->err, "write like: state = failed and created >= 2024-05-01");
}

static bool values(struct reader *r, struct search_term *t)
{
    skip_space(r);
    if (r->i == r->text.n || r->text.p[r->i] != '(') return complain(r, r->i, "'in' needs a list: in (a, b)");
    t->values = arena_array(r->arena, struct str, VALUES_MAX);
    do {
        r->i++;
        if (t->n_values == VALUES_MAX) return complain(r, r->i, "more than %d values", VALUES_MAX);
        if (!value(r, &t->values[t->n_values++])) return false;
        skip_space(r);
    } while (r->i < r->text.n && r->text.p[r->i] == ',');
    if (r->i == r->text.n || r->text.p[r->i] != ')') return complain(r, r->i, "the list lacks its ')'");
    r->i++;
    return true;
}

static const char *const ops[] = {"!=", "<=", ">=", "==", "=", "<", ">", "~"}; /* longest first */

static bool operator(struct reader *r, struct search_term *t)
{
    skip_space(r);
    struct str rest = str_sub(r->text, r->i, r->text.n);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (!str_starts(rest, ops[i])) continue;
        r->i += strlen(ops[i]);
        strcpy(t->op, strcmp(ops[i], "==") == 0 ? "=" : ops[i]);
        return true;
    }
    complain(r, r->i, "an operator is missing here");
    return err_hint(r->err, "=, !=, <, <=, >, >=, ~ (contains) or in (a, b)");
}

static bool term(struct reader *r, struct search_term *t)
{
    skip_space(r);
    size_t from = r->i;
    t->at = pos_at(r, from);
    t->field = word(r);
    if (t->field.n == 0) return complain(r, from, "the name of a field is missing here");
    size_t dot;
    if (str_find(t->field, STR("."), &dot)) t->key = str_sub(t->field, dot + 1, t->field.n);
    skip_space(r);
    size_t before = r->i;
    struct str in = word(r);
    if (str_is(in, "in")) {
        strcpy(t->op, "=");
        t->value_at = pos_at(r, r->i);
        return values(r, t);
    }
    r->i = before;
    if (!operator(r, t)) return false;
    skip_space(r);
    t->value_at = pos_at(r, r->i);
    t->values = arena_array(r->arena, struct str, 1);
    t->n_values = 1;
    return value(r, &t->values[0]);
}

bool search_parse(struct str filter, struct arena *a, struct search_term **out, size_t *n, struct err *err)
{
    struct reader r = {.text = filter, .arena = a, .err = err};
    struct search_term *terms = arena_array(a, struct search_term, TERMS_MAX);
    size_t count = 0;
    if (filter.n > FILTER_MAX) return complain(&r, 0, "the filter is longer than %d bytes", FILTER_MAX);
    skip_space(&r);
    while (r.i < filter.n) {
        if (count == TERMS_MAX) return complain(&r, r.i, "more than %d terms", TERMS_MAX);
        if (!term(&r, &terms[count++])) return false;
        skip_space(&r);
        if (r.i == filter.n) break;
        size_t from = r.i;
        struct str and = word(&r);
        if (!str_is(and, "and") && !str_is(and, "AND")) {
            complain(&r, from, "'and' is missing between two terms");
            return err_hint(err, "texts with spaces need quotes; there is no 'or': use in (a, b)");
        }
        skip_space(&r);
        if (r.i == filter.n) return complain(&r, from, "a term is missing behind 'and'");
    }
    *out = terms;
    *n = count;
    return true;
}

/* ---- times ---- */

static bool digits(struct str s, size_t from, size_t n, int64_t *out)
{
    if (from + n > s.n) return false;
    int64_t v = 0;
    for (size_t i = from; i < from + n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        v = v * 10 + (s.p[i] - '0');
    }
    *out = v;
    return true;
}

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool zone_of(struct str s, size_t i, int64_t *offset_s)
{
    int64_t h, m;
    *offset_s = 0;
    if (i == s.n || (i + 1 == s.n && (s.p[i] == 'Z' || s.p[i] == 'z'))) return true;
    if ((s.p[i] != '+' && s.p[i] != '-') || i + 6 != s.n || s.p[i + 3] != ':') return false;
    if (!digits(s, i + 1, 2, &h) || !digits(s, i + 4, 2, &m) || h > 23 || m > 59) return false;
    *offset_s = (h * 3600 + m * 60) * (s.p[i] == '+' ? 1 : -1);
    return true;
}

bool search_time(struct str s, int64_t *us)
{
    int64_t y, mo, d, h = 0, mi = 0, sec = 0, fraction = 0, offset = 0;
    if (!digits(s, 0, 4, &y) || !digits(s, 5, 2, &mo) || !digits(s, 8, 2, &d) || s.p[4] != '-' || s.p[7] != '-')
        return false;
    if (mo < 1 || mo > 12 || d < 1 || d > 31) return false;
    if (s.n > 10) {
        if (strchr("Tt ", s.p[10]) == NULL || !digits(s, 11, 2, &h) || !digits(s, 14, 2, &mi) || s.p[13] != ':')
            return false;
        size_t i = 16;
        if (i < s.n && s.p[i] == ':') {
            if (!digits(s, 17, 2, &sec)) return false;
            i = 19;
        }
        if (i < s.n && s.p[i] == '.') {
            int64_t scale = 100000;
            for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, scale /= 10)
                fraction += (s.p[i] - '0') * scale;
        }
        if (h > 23 || mi > 59 || sec > 60 || !zone_of(s, i, &offset)) return false;
    }
    *us = (days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - offset) * 1000000 + fraction;
    return true;
}
