/* The YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#103-core-schema. */
#include "engine/text/scalar.h"

static bool one_of(struct str s, const char *const *words)
{
    for (; *words; words++) {
        if (str_is(s, *words)) return true;
    }
    return false;
}

/* 0o17 and 0xff; the sign is no part of these. */
static bool based(struct str s, int64_t *out, bool *overflow)
{
    if (s.n < 3 || s.p[0] != '0' || (s.p[1] != 'o' && s.p[1] != 'x')) return false;
    int64_t base = s.p[1] == 'o' ? 8 : 16, v = 0;
    for (size_t i = 2; i < s.n; i++) {
        int digit = hex_digit(s.p[i]);
        if (digit < 0 || digit >= base) return false;
        *overflow |= __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, (int64_t)digit, &v);
    }
    *out = v;
    return true;
}

static bool all_digits(struct str s)
{
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    size_t from = i;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return i == s.n && i > from;
}

static bool number(struct str s, struct value *out, struct err *err)
{
    static const char *const odd[] = {".inf",  ".Inf",  ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
                                      "-.Inf", "-.INF", ".nan", ".NaN",  ".NAN",  NULL};
    int64_t i;
    double d;
    bool overflow = false;
    if (str_int(s, &i) || based(s, &i, &overflow))
        *out = value_int(i);
    else if (all_digits(s))
        overflow = true;
    else if (str_double(s, &d))
        *out = value_double(d);
    else if (one_of(s, odd)) {
        err_set(err, ERR_INVALID, "%.*s is no number that can be stored", STR_ARG(s));
        return err_hint(err, "for a string, put it into quotes");
    } else
        *out = value_string(s);
    if (!overflow) return true;
    err_set(err, ERR_INVALID, "%.*s does not fit into 64 bits", (int)(s.n > 60 ? 60 : s.n), s.p);
    return err_hint(err, "for a string of digits, put it into quotes");
}

bool scalar_resolve(struct str text, struct value *out, struct err *err)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    unsigned char c = text.n ? (unsigned char)text.p[0] : 0;
    if (c == 0 || c == '~' || c == 'n' || c == 'N' || c == 't' || c == 'T' || c == 'f' || c == 'F') {
        if (one_of(text, nulls))
            *out = value_null();
        else if (one_of(text, trues))
            *out = value_bool(true);
        else if (one_of(text, falses))
            *out = value_bool(false);
        else
            *out = value_string(text);
        return true;
    }
    if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.') return number(text, out, err);
    *out = value_string(text);
    return true;
}
