/* What + - * / % == < in and their like do with two values. Numbers mix: an int beside a double becomes one. What has
 * no answer that people would agree on (overflow, division by zero, order of different types) is an error that says so.
 */
#include <math.h>
#include <string.h>

#include "engine/expr/eval.h"
#include "engine/expr/functions.h"

static bool is_number(const struct value *v)
{
    return v->type == VALUE_INT || v->type == VALUE_DOUBLE;
}

static double as_double(const struct value *v)
{
    return v->type == VALUE_INT ? (double)v->u.i : v->u.d;
}

static bool fail_types(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b)
{
    eval_fail(ev, at, ERR_INVALID, "'%s' does not take %s and %s", ast_op_name(at->op), value_type_name(a->type),
              value_type_name(b->type));
    if (at->op == OP_ADD && (a->type == VALUE_STRING || b->type == VALUE_STRING))
        err_hint(&ev->err, "string(x) makes a string of a value");
    return false;
}

static bool apply_ints(struct eval *ev, const struct ast *at, int64_t a, int64_t b, struct value *out)
{
    int64_t r = 0;
    bool over = false;
    if ((at->op == OP_DIV || at->op == OP_MOD) && b == 0) return eval_fail(ev, at, ERR_INVALID, "division by zero");
    switch ((int)at->op) {
    case OP_ADD: over = __builtin_add_overflow(a, b, &r); break;
    case OP_SUB: over = __builtin_sub_overflow(a, b, &r); break;
    case OP_MUL: over = __builtin_mul_overflow(a, b, &r); break;
    case OP_DIV:
        over = a == INT64_MIN && b == -1;
        r = over ? 0 : a / b;
        break;
    default: r = b == -1 ? 0 : a % b; break;
    }
    if (over) return eval_fail(ev, at, ERR_INVALID, "the result does not fit into 64 bits");
    *out = value_int(r);
    return true;
}

static bool apply_doubles(struct eval *ev, const struct ast *at, double a, double b, struct value *out)
{
    double r = 0;
    if (at->op == OP_DIV && b == 0.0) return eval_fail(ev, at, ERR_INVALID, "division by zero");
    switch ((int)at->op) {
    case OP_ADD: r = a + b; break;
    case OP_SUB: r = a - b; break;
    case OP_MUL: r = a * b; break;
    case OP_DIV: r = a / b; break;
    default:
        eval_fail(ev, at, ERR_INVALID, "'%%' takes whole numbers");
        return err_hint(&ev->err, "int(x) cuts the fraction off");
    }
    if (!isfinite(r)) return eval_fail(ev, at, ERR_INVALID, "the result is not a finite number");
    *out = value_double(r);
    return true;
}

static bool join_strings(struct eval *ev, const struct ast *at, struct str a, struct str b, struct value *out)
{
    if (a.n + b.n > EVAL_MAX_TEXT)
        return eval_fail(ev, at, ERR_LIMIT, "the string is longer than %u bytes", EVAL_MAX_TEXT);
    if (!eval_charge(ev, at, (a.n + b.n) / 64)) return false;
    char *p = arena_alloc(ev->arena, a.n + b.n + 1);
    if (a.n) memcpy(p, a.p, a.n);
    if (b.n) memcpy(p + a.n, b.p, b.n);
    *out = value_string((struct str){p, a.n + b.n});
    return true;
}

static bool join_lists(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b,
                       struct value *out)
{
    if (!eval_charge(ev, at, a->u.list.n + b->u.list.n)) return false;
    struct value_list_builder list;
    value_list_begin(&list, ev->arena);
    for (size_t i = 0; i < a->u.list.n; i++)
        value_list_push(&list, a->u.list.items[i]);
    for (size_t i = 0; i < b->u.list.n; i++)
        value_list_push(&list, b->u.list.items[i]);
    *out = value_list_end(&list);
    return true;
}

static bool apply_arithmetic(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b,
                             struct value *out)
{
    if (a->type == VALUE_INT && b->type == VALUE_INT) return apply_ints(ev, at, a->u.i, b->u.i, out);
    if (is_number(a) && is_number(b)) return apply_doubles(ev, at, as_double(a), as_double(b), out);
    if (at->op == OP_ADD && a->type == VALUE_STRING && b->type == VALUE_STRING)
        return join_strings(ev, at, a->u.s, b->u.s, out);
    if (at->op == OP_ADD && a->type == VALUE_LIST && b->type == VALUE_LIST) return join_lists(ev, at, a, b, out);
    return fail_types(ev, at, a, b);
}

static bool apply_order(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b,
                        struct value *out)
{
    int order;
    if (!eval_charge_value(ev, at, a) || !eval_charge_value(ev, at, b)) return false;
    if (!value_cmp(a, b, &order)) {
        if (a->type == b->type || (is_number(a) && is_number(b)))
            return eval_fail(ev, at, ERR_INVALID, "these two of type %s have no order", value_type_name(a->type));
        return fail_types(ev, at, a, b);
    }
    bool yes = at->op == OP_LT ? order < 0 : at->op == OP_LE ? order <= 0 : at->op == OP_GT ? order > 0 : order >= 0;
    *out = value_bool(yes);
    return true;
}

static bool apply_equal(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b,
                        bool *equal)
{
    if (!eval_charge_value(ev, at, a) || !eval_charge_value(ev, at, b)) return false;
    *equal = value_eq(a, b);
    return true;
}

static bool apply_in(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b,
                     struct value *out)
{
    if (b->type == VALUE_MAP && a->type == VALUE_STRING) {
        if (!eval_charge_find(ev, at, b, a->u.s)) return false;
        *out = value_bool(value_find(b, a->u.s) != NULL);
        return true;
    }
    if (b->type != VALUE_LIST) {
        fail_types(ev, at, a, b);
        return b->type == VALUE_STRING ? err_hint(&ev->err, "text.contains(part) looks into a string") : false;
    }
    bool found = false;
    for (size_t i = 0; i < b->u.list.n && !found; i++) {
        if (!apply_equal(ev, at, a, &b->u.list.items[i], &found)) return false;
    }
    *out = value_bool(found);
    return true;
}

bool operator_apply(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b,
                    struct value *out)
{
    bool equal;
    switch (at->op) {
    case OP_EQ:
    case OP_NE:
        if (!apply_equal(ev, at, a, b, &equal)) return false;
        *out = value_bool(equal == (at->op == OP_EQ));
        return true;
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE: return apply_order(ev, at, a, b, out);
    case OP_IN: return apply_in(ev, at, a, b, out);
    case OP_ADD:
    case OP_SUB:
    case OP_MUL:
    case OP_DIV:
    case OP_MOD: return apply_arithmetic(ev, at, a, b, out);
    case OP_OR:
    case OP_AND: break; /* eval.c's own: they need not evaluate both sides */
    }
    return eval_fail(ev, at, ERR_INTERNAL, "no such operator");
}

bool operator_negate(struct eval *ev, const struct ast *at, const struct value *a, struct value *out)
{
    if (a->type == VALUE_DOUBLE) {
        *out = value_double(-a->u.d);
        return true;
    }
    if (a->type != VALUE_INT) return eval_fail(ev, at, ERR_INVALID, "'-' does not take %s", value_type_name(a->type));
    if (a->u.i == INT64_MIN) return eval_fail(ev, at, ERR_INVALID, "the result does not fit into 64 bits");
    *out = value_int(-a->u.i);
    return true;
}
