/* Leaves: strings, numbers, units, words, paths. */
#include <string.h>

#include "engine/base/units.h"
#include "engine/flow/spec.h"

#define LONGEST_NAME 63

bool spec_yaml11_bool(struct str s)
{
    static const char *const words[] = {"yes", "no", "on", "off", "Yes", "No", "On", "Off", "y", "n"};
    for (size_t i = 0; i < SPEC_COUNT(words); i++) {
        if (str_is(s, words[i])) return true;
    }
    return false;
}

/* An expression where the value must be known when the pipeline is applied: reported, and true. */
static bool has_expression(struct spec *s, const struct spec_at *at, const struct value *v)
{
    size_t place;
    if (v->type != VALUE_STRING || !str_find(v->u.s, STR("${{"), &place)) return false;
    spec_error(s, at, v, "an expression cannot stand here: this is fixed when the pipeline is applied");
    return true;
}

void spec_str(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    if (v->type != VALUE_STRING) {
        struct err *e = spec_expected(s, at, v, "a string");
        if (v->type == VALUE_INT || v->type == VALUE_DOUBLE || v->type == VALUE_BOOL) err_hint(e, "put it into quotes");
    } else if (!has_expression(s, at, v)) {
        *(struct str *)out = v->u.s;
    }
}

static bool name_shape(struct str s)
{
    if (s.n == 0 || s.n > LONGEST_NAME) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool rest = (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!letter && !(i && rest)) return false;
    }
    return true;
}

bool spec_check_name(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, const char *what)
{
    if (name_shape(key)) return true;
    struct err *e =
        spec_error(s, at, v, "'%.*s' cannot be the name of %s", (int)(key.n > 80 ? 80 : key.n), key.p, what);
    err_hint(e, "letters, digits, '_' and '-', beginning with a letter, at most %d", LONGEST_NAME);
    return false;
}

void spec_name(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str name = {"", 0};
    spec_str(s, at, v, &name);
    if (name.p[0] == '\0' && v->type == VALUE_STRING && v->u.s.n == 0)
        spec_error(s, at, v, "the name is empty");
    else if (name.n && spec_check_name(s, at, name, v, "anything"))
        *(struct str *)out = name;
}

void spec_bool(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    if (v->type == VALUE_BOOL) {
        *(bool *)out = v->u.b;
        return;
    }
    if (has_expression(s, at, v)) return;
    struct err *e = spec_expected(s, at, v, "true or false");
    if (v->type == VALUE_STRING && spec_yaml11_bool(v->u.s)) err_hint(e, "YAML 1.2 knows only true and false");
}

bool spec_whole(struct spec *s, const struct spec_at *at, const struct value *v, int64_t min, int64_t max, int64_t *out)
{
    int64_t i;
    if (has_expression(s, at, v)) return false;
    if (v->type == VALUE_INT)
        i = v->u.i;
    else if (v->type != VALUE_STRING || !str_int(v->u.s, &i)) {
        spec_expected(s, at, v, "a whole number");
        return false;
    }
    if (i < min || i > max) {
        spec_error(s, at, v, "%lld is not between %lld and %lld", (long long)i, (long long)min, (long long)max);
        return false;
    }
    *out = i;
    return true;
}

void spec_count(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t i;
    if (spec_whole(s, at, v, 0, 1000000, &i)) *(uint32_t *)out = (uint32_t)i;
}

void spec_positive(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t i;
    if (spec_whole(s, at, v, 1, 1000000, &i)) *(uint32_t *)out = (uint32_t)i;
}

void spec_workers(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t i;
    if (spec_whole(s, at, v, 1, NODE_WORKERS_MOST, &i)) *(uint32_t *)out = (uint32_t)i;
}

void spec_int32(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    int64_t i;
    if (spec_whole(s, at, v, INT32_MIN, INT32_MAX, &i)) *(int32_t *)out = (int32_t)i;
}

void spec_double(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    double d;
    if (has_expression(s, at, v)) return;
    if (v->type == VALUE_INT)
        *(double *)out = (double)v->u.i;
    else if (v->type == VALUE_DOUBLE)
        *(double *)out = v->u.d;
    else if (v->type == VALUE_STRING && str_double(v->u.s, &d))
        *(double *)out = d;
    else
        spec_expected(s, at, v, "a number");
}

void spec_duration(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct err err;
    if (!has_expression(s, at, v) && !units_duration(v, out, &err)) spec_adopt(s, at, v, &err);
}

void spec_bytes(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct err err;
    if (!has_expression(s, at, v) && !units_bytes(v, out, &err)) spec_adopt(s, at, v, &err);
}

void spec_cpu(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct err err;
    if (!has_expression(s, at, v) && !units_cpu(v, out, &err)) spec_adopt(s, at, v, &err);
}

void spec_percent(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct err err;
    if (!has_expression(s, at, v) && !units_percent(v, out, &err)) spec_adopt(s, at, v, &err);
}

void spec_any(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    (void)s;
    (void)at;
    *(const struct value **)out = v;
}

struct str spec_plain_path(struct arena *a, struct str path)
{
    char *text = arena_alloc(a, path.n + 1);
    size_t n = 0;
    struct str piece;
    while (str_split(&path, '/', &piece)) {
        if (piece.n == 0 || str_is(piece, ".")) continue;
        if (n) text[n++] = '/';
        memcpy(text + n, piece.p, piece.n);
        n += piece.n;
    }
    if (n == 0) return STR(".");
    return (struct str){text, n};
}

/* Relative, and staying beneath where it starts. */
static void path_within(struct spec *s, const struct spec_at *at, const struct value *v, const char *what, void *out)
{
    struct str path = {"", 0}, piece;
    spec_str(s, at, v, &path);
    if (path.n == 0) {
        if (v->type == VALUE_STRING && v->u.s.n == 0) spec_error(s, at, v, "the path is empty");
        return;
    }
    bool bad = path.p[0] == '/' || path.n > 1024;
    for (struct str rest = path; str_split(&rest, '/', &piece);)
        bad |= str_is(piece, "..");
    for (size_t i = 0; i < path.n; i++)
        bad |= (unsigned char)path.p[i] < 0x20;
    if (bad)
        err_hint(spec_error(s, at, v, "the path leads out of the %s", what), "write it relative, without '..'");
    else
        *(struct str *)out = spec_plain_path(s->arena, path);
}

void spec_path_in(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    path_within(s, at, v, "working directory", out);
}

void spec_path_in_volume(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    path_within(s, at, v, "volume", out);
}

size_t spec_word(struct spec *s, const struct spec_at *at, const struct value *v, const char *const *words, size_t n)
{
    struct str names[32];
    if (v->type != VALUE_STRING) {
        spec_expected(s, at, v, "a word");
        return SIZE_MAX;
    }
    if (has_expression(s, at, v)) return SIZE_MAX;
    for (size_t i = 0; i < n && i < SPEC_COUNT(names); i++) {
        if (str_is(v->u.s, words[i])) return i;
        names[i] = str_of(words[i]);
    }
    struct err *e = spec_error(s, at, v, "'%.*s' is not known here", (int)(v->u.s.n > 80 ? 80 : v->u.s.n), v->u.s.p);
    spec_suggest(e, v->u.s, names, n < SPEC_COUNT(names) ? n : SPEC_COUNT(names));
    return SIZE_MAX;
}

static void add_str(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                    size_t i)
{
    (void)key;
    struct spec_strs *strs = out;
    strs->items[i] = STR("");
    spec_str(s, at, v, &strs->items[i]);
}

void spec_strs(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_strs *strs = out;
    if (v->type != VALUE_STRING && v->type != VALUE_LIST) {
        spec_expected(s, at, v, "a string or a list of strings");
        return;
    }
    if (v->type == VALUE_STRING) {
        strs->items = arena_new(s->arena, struct str);
        strs->n = 1;
        spec_str(s, at, v, strs->items);
        return;
    }
    strs->n = v->u.list.n;
    strs->items = arena_array(s->arena, struct str, strs->n);
    spec_each(s, at, v, add_str, strs);
}
