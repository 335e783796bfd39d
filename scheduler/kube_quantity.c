/* Quantities as API servers write them. See kube_quantity.h. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube_quantity.h"

bool kube_quantity(const struct value *v, int64_t *milli)
{
    static const struct {
        const char *suffix;
        double factor;
    } rows[] = {{"", 1},        {"n", 1e-9},    {"u", 1e-6},    {"m", 1e-3},   {"k", 1e3},     {"M", 1e6},
                {"G", 1e9},     {"T", 1e12},    {"P", 1e15},    {"E", 1e18},   {"Ki", 0x1p10}, {"Mi", 0x1p20},
                {"Gi", 0x1p30}, {"Ti", 0x1p40}, {"Pi", 0x1p50}, {"Ei", 0x1p60}};
    char text[64], *end;
    if (v != NULL && v->type == VALUE_INT && v->u.i >= 0 && v->u.i <= INT64_MAX / 1000) {
        *milli = v->u.i * 1000;
        return true;
    }
    if (v == NULL || v->type != VALUE_STRING || v->u.s.n == 0 || v->u.s.n >= sizeof text) return false;
    memcpy(text, v->u.s.p, v->u.s.n);
    text[v->u.s.n] = '\0';
    double d = strtod(text, &end);
    if (end == text || !(d >= 0)) return false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(end, rows[i].suffix) != 0) continue;
        d = d * rows[i].factor * 1000;
        *milli = d >= 0x1p62 ? (int64_t)1 << 62 : (int64_t)(d + 0.5);
        return true;
    }
    return false;
}
