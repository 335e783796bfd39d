/* The table of functions, and the plain ones: conversions, sizes, parts of strings, least and greatest. */
#include "engine/expr/functions.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/expr/eval.h"

#define TEXT TYPE_BIT(EXPR_STRING)
#define SIZED (TEXT | TYPE_BIT(EXPR_LIST) | TYPE_BIT(EXPR_MAP))
#define WALKED (TYPE_BIT(EXPR_LIST) | TYPE_BIT(EXPR_MAP))

static bool call_size(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    const struct value *v = args;
    if (v->type == VALUE_STRING && !eval_charge(ev, at, v->u.s.n / 64)) return false;
    size_t n = v->type == VALUE_STRING ? utf8_count(v->u.s) : v->type == VALUE_LIST ? v->u.list.n : v->u.map.n;
    *out = value_int((int64_t)n);
    return true;
}

static bool call_starts(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    struct str s = args[0].u.s, part = args[1].u.s;
    *out = value_bool(str_eq(str_sub(s, 0, part.n), part));
    return eval_charge(ev, at, part.n / 64);
}

static bool call_ends(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    struct str s = args[0].u.s, part = args[1].u.s;
    *out = value_bool(s.n >= part.n && str_eq(str_sub(s, s.n - part.n, part.n), part));
    return eval_charge(ev, at, part.n / 64);
}

static bool call_contains(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    struct str s = args[0].u.s, part = args[1].u.s;
    if (!eval_charge(ev, at, (s.n + part.n) / 16)) return false;
    *out = value_bool(part.n == 0 || memmem(s.p, s.n, part.p, part.n) != NULL);
    return true;
}

/* Blanks and zeros may go on for ever. */
static bool charge_number(struct eval *ev, const struct ast *at, const struct value *v)
{
    return v->type != VALUE_STRING || eval_charge(ev, at, 2 + v->u.s.n / 16);
}

static bool call_int(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    int64_t i = 0;
    if (!charge_number(ev, at, args)) return false;
    if (args->type == VALUE_DOUBLE) {
        double d = args->u.d;
        if (!(d > -9223372036854775809.0 && d < 9223372036854775808.0))
            return eval_fail(ev, at, ERR_INVALID, "%g does not fit into an int", d);
        i = (int64_t)d;
    } else if (args->type == VALUE_INT) {
        i = args->u.i;
    } else if (!str_int(str_trim(args->u.s), &i)) {
        return eval_fail(ev, at, ERR_INVALID, "\"%.*s\" is not a whole number", STR_ARG(str_sub(args->u.s, 0, 40)));
    }
    *out = value_int(i);
    return true;
}

static bool call_double(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    double d = 0;
    if (!charge_number(ev, at, args)) return false;
    if (args->type == VALUE_INT)
        d = (double)args->u.i;
    else if (args->type == VALUE_DOUBLE)
        d = args->u.d;
    else if (!str_double(str_trim(args->u.s), &d))
        return eval_fail(ev, at, ERR_INVALID, "\"%.*s\" is not a number", STR_ARG(str_sub(args->u.s, 0, 40)));
    *out = value_double(d);
    return true;
}

static bool call_string(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    struct str s = STR("null");
    if (!eval_charge_text(ev, at, args)) return false;
    ev->miss = NULL;
    err_clear(&ev->err);
    if (args->type != VALUE_NULL && !expr_text(ev->arena, args, &s, &ev->err))
        return text_mark(&ev->err, ev->expr->text, at->from, at->to);
    *out = value_string(s);
    return true;
}

static bool call_bool(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    bool yes = args->type == VALUE_BOOL ? args->u.b : str_is(args->u.s, "true");
    if (args->type == VALUE_STRING && !yes && !str_is(args->u.s, "false"))
        return eval_fail(ev, at, ERR_INVALID, "\"%.*s\" is neither true nor false", STR_ARG(str_sub(args->u.s, 0, 40)));
    *out = value_bool(yes);
    return true;
}

static bool call_json(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    if (!ev->env->json) return eval_fail(ev, at, ERR_INVALID, "json() is not available here");
    if (!eval_charge(ev, at, 8 + args->u.s.n / 16)) return false;
    struct err why = {0};
    if (ev->env->json(ev->arena, args->u.s, out, &why)) return true;
    return eval_fail(ev, at, why.code == ERR_LIMIT ? ERR_LIMIT : ERR_INVALID, "not JSON: %s", why.message);
}

/* min(a, b, …), or of the items of one list; `sign` 1 looks for the greatest. The first of equals is taken. */
static bool extreme(struct eval *ev, const struct ast *at, const struct value *args, int sign, struct value *out)
{
    const struct value *items = args;
    size_t n = at->n;
    if (n == 1) {
        if (args->type != VALUE_LIST)
            return eval_fail(ev, at, ERR_INVALID, "%s of one %s: it takes a list, or several values", at->u.fn->name,
                             value_type_name(args->type));
        items = args->u.list.items;
        n = args->u.list.n;
    }
    if (n == 0) return eval_fail(ev, at, ERR_INVALID, "%s of an empty list", at->u.fn->name);
    if (!eval_charge(ev, at, n)) return false;
    const struct value *best = &items[0];
    for (size_t i = 0; i < n; i++) {
        int order;
        if (!eval_charge_value(ev, at, &items[i])) return false;
        if (!value_cmp(&items[i], best, &order))
            return eval_fail(ev, at, ERR_INVALID, "%s cannot order %s and %s", at->u.fn->name,
                             value_type_name(best->type), value_type_name(items[i].type));
        if (order * sign > 0) best = &items[i];
    }
    *out = *best;
    return true;
}

static bool call_min(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    return extreme(ev, at, args, -1, out);
}

static bool call_max(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    return extreme(ev, at, args, 1, out);
}

#define LONGEST_RANGE 20000

static bool call_range(struct eval *ev, const struct ast *at, const struct value *args, struct value *out)
{
    int64_t from = at->n > 1 ? args[0].u.i : 0, to = args[at->n > 1].u.i;
    int64_t step = at->n > 2 ? args[2].u.i : 1, span;
    if (step == 0 || step == INT64_MIN)
        return eval_fail(ev, at, ERR_INVALID, "range cannot go on by %lld", (long long)step);
    bool wide = __builtin_sub_overflow(step > 0 ? to : from, step > 0 ? from : to, &span);
    int64_t by = step > 0 ? step : -step, n = span > 0 ? (span - 1) / by + 1 : 0;
    if (wide || n > LONGEST_RANGE) return eval_fail(ev, at, ERR_LIMIT, "range makes at most %d numbers", LONGEST_RANGE);
    if (!eval_charge(ev, at, (uint64_t)n)) return false;
    struct value *items = arena_array(ev->arena, struct value, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        items[i] = value_int(from + i * step);
    *out = (struct value){.type = VALUE_LIST, .u.list = {.items = items, .n = (size_t)n}};
    return true;
}

/* clang-format off */
const struct function functions[] = {
    {"size", "size(x) or x.size()", "characters of a string, items of a list, entries of a map",
     call_size, KIND_CALL, FORM_GLOBAL | FORM_METHOD, 1, 1, {SIZED, 0}, EXPR_INT},
    {"has", "has(a.b)", "is the field there, and not null?",
     NULL, KIND_HAS, FORM_GLOBAL, 1, 1, {TYPES_ALL, 0}, EXPR_BOOL},
    {"startsWith", "text.startsWith(part)", "does the string begin with that?",
     call_starts, KIND_CALL, FORM_METHOD, 2, 2, {TEXT, TEXT}, EXPR_BOOL},
    {"endsWith", "text.endsWith(part)", "does the string end in that?",
     call_ends, KIND_CALL, FORM_METHOD, 2, 2, {TEXT, TEXT}, EXPR_BOOL},
    {"contains", "text.contains(part)", "is that somewhere in the string?",
     call_contains, KIND_CALL, FORM_METHOD, 2, 2, {TEXT, TEXT}, EXPR_BOOL},
    {"matches", "text.matches(pattern)", "does the regular expression match somewhere in the string?",
     match_call, KIND_CALL, FORM_METHOD, 2, 2, {TEXT, TEXT}, EXPR_BOOL},
    {"int", "int(x)", "a whole number from a number (the fraction is cut off) or its text",
     call_int, KIND_CALL, FORM_GLOBAL, 1, 1, {TYPES_NUMBER | TEXT, 0}, EXPR_INT},
    {"double", "double(x)", "a number from a number or its text",
     call_double, KIND_CALL, FORM_GLOBAL, 1, 1, {TYPES_NUMBER | TEXT, 0}, EXPR_DOUBLE},
    {"string", "string(x)", "any value as text; lists and maps as JSON",
     call_string, KIND_CALL, FORM_GLOBAL, 1, 1, {TYPES_ALL, 0}, EXPR_STRING},
    {"bool", "bool(x)", "true or false from its text",
     call_bool, KIND_CALL, FORM_GLOBAL, 1, 1, {TEXT | TYPE_BIT(EXPR_BOOL), 0}, EXPR_BOOL},
    {"json", "json(text)", "the value that JSON text stands for",
     call_json, KIND_CALL, FORM_GLOBAL, 1, 1, {TEXT, 0}, EXPR_ANY},
    {"min", "min(a, b, …) or min(list)", "the least of numbers or strings",
     call_min, KIND_CALL, FORM_GLOBAL, 1, 255, {TYPES_ALL, TYPES_ALL}, EXPR_ANY},
    {"max", "max(a, b, …) or max(list)", "the greatest of numbers or strings",
     call_max, KIND_CALL, FORM_GLOBAL, 1, 255, {TYPES_ALL, TYPES_ALL}, EXPR_ANY},
    {"range", "range(n), range(from, to) or range(from, to, step)",
     "the whole numbers from 0 or `from` up to, not including, the end",
     call_range, KIND_CALL, FORM_GLOBAL, 1, 3, {TYPE_BIT(EXPR_INT), TYPE_BIT(EXPR_INT)}, EXPR_LIST},
    {"filter", "list.filter(x, condition)", "the items for which the condition holds",
     NULL, KIND_FILTER, FORM_METHOD, 3, 3, {WALKED, 0}, EXPR_LIST},
    {"map", "list.map(x, value) or list.map(x, condition, value)", "what the value is for each item",
     NULL, KIND_MAP, FORM_METHOD, 3, 4, {WALKED, 0}, EXPR_LIST},
    {"all", "list.all(x, condition)", "does the condition hold for all items?",
     NULL, KIND_ALL, FORM_METHOD, 3, 3, {WALKED, 0}, EXPR_BOOL},
    {"exists", "list.exists(x, condition)", "does the condition hold for any item?",
     NULL, KIND_EXISTS, FORM_METHOD, 3, 3, {WALKED, 0}, EXPR_BOOL},
    {"maxBy", "list.maxBy(x, key)", "the item with the greatest key, the first of equals",
     NULL, KIND_MAX_BY, FORM_METHOD, 3, 3, {WALKED, 0}, EXPR_ANY},
    {"minBy", "list.minBy(x, key)", "the item with the least key, the first of equals",
     NULL, KIND_MIN_BY, FORM_METHOD, 3, 3, {WALKED, 0}, EXPR_ANY},
};
/* clang-format on */
const size_t n_functions = sizeof functions / sizeof *functions;

const struct function *function_find(struct str name)
{
    for (size_t i = 0; i < n_functions; i++) {
        if (str_is(name, functions[i].name)) return &functions[i];
    }
    return NULL;
}

struct str function_suggest(struct str name)
{
    struct str names[sizeof functions / sizeof *functions];
    for (size_t i = 0; i < n_functions; i++)
        names[i] = str_of(functions[i].name);
    return suggest(name, names, n_functions);
}

enum expr_type type_of_value(const struct value *v)
{
    static const enum expr_type types[] = {
        [VALUE_NULL] = EXPR_NULL,     [VALUE_BOOL] = EXPR_BOOL, [VALUE_INT] = EXPR_INT, [VALUE_DOUBLE] = EXPR_DOUBLE,
        [VALUE_STRING] = EXPR_STRING, [VALUE_LIST] = EXPR_LIST, [VALUE_MAP] = EXPR_MAP,
    };
    return types[v->type];
}

const char *type_name(enum expr_type t)
{
    static const char *const names[] = {
        [EXPR_ANY] = "any",       [EXPR_NULL] = "null",     [EXPR_BOOL] = "bool", [EXPR_INT] = "int",
        [EXPR_DOUBLE] = "double", [EXPR_STRING] = "string", [EXPR_LIST] = "list", [EXPR_MAP] = "map",
    };
    return names[t];
}

const char *types_text(unsigned types, char *out)
{
    size_t n = 0;
    out[0] = '\0';
    for (enum expr_type t = EXPR_NULL; t <= EXPR_MAP; t++) {
        if (types & TYPE_BIT(t)) n += (size_t)snprintf(out + n, 64 - n, "%s%s", n ? " or " : "", type_name(t));
    }
    return out;
}
