/* Units as people write them: reading with errors that show both readings of a bare number, and writing for people. */
#include "engine/base/units.h"

#include <math.h>
#include <stdio.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define LONGEST (3650 * DAY)

struct unit {
    const char *name;
    double factor;
};

static const struct unit durations[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}, {"w", 6.048e8}};
static const struct unit sizes[] = {
    {"B", 1},
    {"k", 1e3},
    {"K", 1e3},
    {"M", 1e6},
    {"G", 1e9},
    {"T", 1e12},
    {"P", 1e15},
    {"E", 1e18},
    {"Ki", 1024},
    {"Mi", 1048576},
    {"Gi", 1073741824},
    {"Ti", 1099511627776.0},
    {"Pi", 1125899906842624.0},
    {"Ei", 1152921504606846976.0},
};
#define COUNT(table) (sizeof(table) / sizeof *(table))

static const struct unit *unit_named(const struct unit *table, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_is(name, table[i].name)) return &table[i];
    }
    return NULL;
}

/* Takes a number without sign or exponent off the front. */
static bool take_number(struct str *rest, double *number)
{
    size_t n = 0;
    while (n < rest->n && ((rest->p[n] >= '0' && rest->p[n] <= '9') || rest->p[n] == '.'))
        n++;
    if (!str_double(str_sub(*rest, 0, n), number)) return false;
    *rest = str_sub(*rest, n, rest->n);
    return true;
}

static struct str take_letters(struct str *rest)
{
    size_t n = 0;
    while (n < rest->n && ((rest->p[n] | 0x20) >= 'a' && (rest->p[n] | 0x20) <= 'z'))
        n++;
    struct str letters = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return letters;
}

/* A number as it is shown in messages, "" for anything else: 600, "600" and 0.5 are bare numbers, "10m" is none. */
static bool bare_number(const struct value *v, char text[32])
{
    double number;
    if (v->type == VALUE_INT)
        snprintf(text, 32, "%lld", (long long)v->u.i);
    else if (v->type == VALUE_DOUBLE)
        snprintf(text, 32, "%.6g", v->u.d);
    else if (v->type == VALUE_STRING && v->u.s.n < 24 && str_double(v->u.s, &number))
        snprintf(text, 32, "%.*s", STR_ARG(v->u.s));
    else
        return false;
    return true;
}

static bool bad(const struct value *v, struct err *err, const char *what, const char *examples)
{
    static const char *const articles[] = {"nothing", "a bool", "an int", "a double", "a string", "a list", "a map"};
    char number[32];
    if (v->type == VALUE_STRING)
        err_set(err, ERR_INVALID, "'%.*s' is not %s", (int)(v->u.s.n > 60 ? 60 : v->u.s.n), v->u.s.p, what);
    else if (bare_number(v, number))
        err_set(err, ERR_INVALID, "%s is not %s", number, what);
    else
        err_set(err, ERR_INVALID, "expected %s, found %s", what, articles[v->type]);
    err_at(err, v->at, 0);
    return err_hint(err, "write it like %s", examples);
}

static bool bare(const struct value *v, struct err *err, const char *number, const char *one, const char *one_means,
                 const char *other, const char *other_means)
{
    err_set(err, ERR_INVALID, "%s has no unit: %s%s is %s, %s%s is %s", number, number, one, one_means, number, other,
            other_means);
    err_at(err, v->at, 0);
    return err_hint(err, "write %s%s or %s%s", number, one, number, other);
}

bool units_duration(const struct value *v, int64_t *ms, struct err *err)
{
    static const char what[] = "a duration", examples[] = "90s, 10m, 1h30m or 7d";
    char number[32];
    if (v->type == VALUE_INT && v->u.i == 0) {
        *ms = 0;
        return true;
    }
    if (bare_number(v, number)) {
        if (number[0] == '-') return bad(v, err, what, examples);
        return bare(v, err, number, "s", "seconds", "m", "minutes");
    }
    if (v->type != VALUE_STRING) return bad(v, err, what, examples);
    struct str rest = v->u.s;
    double total = 0, above = INFINITY;
    do {
        double n;
        if (!take_number(&rest, &n)) return bad(v, err, what, examples);
        const struct unit *unit = unit_named(durations, COUNT(durations), take_letters(&rest));
        if (!unit || unit->factor >= above) return bad(v, err, what, examples); /* each unit once, from big to small */
        above = unit->factor;
        total += n * unit->factor;
    } while (rest.n);
    if (total > (double)LONGEST) {
        err_set(err, ERR_INVALID, "'%.*s' is longer than ten years", STR_ARG(v->u.s));
        return err_at(err, v->at, 0);
    }
    *ms = (int64_t)llround(total);
    return true;
}

bool units_bytes(const struct value *v, int64_t *bytes, struct err *err)
{
    static const char what[] = "a size in bytes", examples[] = "512Mi, 1.5Gi, 500M or 1024B";
    char number[32];
    if (v->type == VALUE_INT && v->u.i == 0) {
        *bytes = 0;
        return true;
    }
    if (bare_number(v, number)) {
        if (number[0] == '-') return bad(v, err, what, examples);
        return bare(v, err, number, "Mi", "mebibytes", "B", "bytes");
    }
    if (v->type != VALUE_STRING) return bad(v, err, what, examples);
    struct str rest = v->u.s;
    double n;
    if (!take_number(&rest, &n)) return bad(v, err, what, examples);
    const struct unit *unit = unit_named(sizes, COUNT(sizes), rest);
    if (!unit && rest.n > 1 && str_ends(rest, "B")) { /* 1GB, 1GiB: the usual slip */
        bad(v, err, what, examples);
        return err_hint(err, "leave the B away: %.*s", (int)(v->u.s.n - 1), v->u.s.p);
    }
    if (!unit) return bad(v, err, what, examples);
    double total = ceil(n * unit->factor);
    if (total >= 9223372036854775808.0) {
        err_set(err, ERR_INVALID, "'%.*s' is more than 8Ei", STR_ARG(v->u.s));
        return err_at(err, v->at, 0);
    }
    *bytes = (int64_t)total;
    return true;
}

bool units_cpu(const struct value *v, int64_t *milli, struct err *err)
{
    static const char what[] = "a number of CPUs", examples[] = "1, 0.5 or 500m";
    double n, factor = 1000;
    if (v->type == VALUE_INT)
        n = (double)v->u.i;
    else if (v->type == VALUE_DOUBLE)
        n = v->u.d;
    else if (v->type == VALUE_STRING) {
        struct str rest = v->u.s;
        if (!take_number(&rest, &n)) return bad(v, err, what, examples);
        if (str_is(rest, "m"))
            factor = 1;
        else if (rest.n)
            return bad(v, err, what, examples);
    } else
        return bad(v, err, what, examples);
    if (!(n >= 0 && n <= 1e9)) return bad(v, err, what, examples);
    *milli = (int64_t)ceil(n * factor - 1e-6); /* finer than a thousandth is rounded up, as Kubernetes does */
    return true;
}

bool units_percent(const struct value *v, double *share, struct err *err)
{
    static const char what[] = "a share in percent", examples[] = "50% or 0.5%";
    char number[32], percent[32];
    double n;
    if (bare_number(v, number) && str_double(str_of(number), &n)) {
        if (n > 1) { /* nobody means more than all */
            err_set(err, ERR_INVALID, "%s has no unit: as a percentage it is %s%%", number, number);
            err_at(err, v->at, 0);
            return err_hint(err, "write %s%%", number);
        }
        snprintf(percent, sizeof percent, "%g", n * 100);
        err_set(err, ERR_INVALID, "%s has no unit: as a share it is %s%%, as a percentage it is %s%%", number, percent,
                number);
        err_at(err, v->at, 0);
        return err_hint(err, "write %s%% or %s%%", percent, number);
    }
    if (v->type != VALUE_STRING || !str_ends(v->u.s, "%")) return bad(v, err, what, examples);
    if (!str_double(str_sub(v->u.s, 0, v->u.s.n - 1), &n)) return bad(v, err, what, examples);
    *share = n / 100;
    return true;
}

const char *units_bytes_text(int64_t bytes, char *out)
{
    static const char *const names[] = {"B", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    double n = fabs((double)bytes);
    size_t unit = 0;
    while (n >= 1024 && unit + 1 < COUNT(names)) {
        n /= 1024;
        unit++;
    }
    bool whole = n == floor(n) || n >= 100;
    snprintf(out, 32, "%s%.*f%s", bytes < 0 ? "-" : "", whole ? 0 : 1, n, names[unit]);
    return out;
}

const char *units_duration_text(int64_t ms, char *out)
{
    static const struct {
        const char *name;
        int64_t ms;
    } parts[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    int n = 0;
    for (size_t i = 0; i < COUNT(parts); i++) {
        int64_t of = ms / parts[i].ms;
        ms %= parts[i].ms;
        if (of > 0) n += snprintf(out + n, 32 - (size_t)n, "%lld%s", (long long)of, parts[i].name);
    }
    if (n == 0) snprintf(out, 32, "0");
    return out;
}
