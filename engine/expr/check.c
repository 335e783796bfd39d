/* The static check: what can be said of an expression's types before any value is known. It finds all mistakes, and
 * stays silent where a type is known only at run time. */
#include <string.h>

#include "engine/base/buf.h"

#include "engine/expr/eval.h"
#include "engine/expr/functions.h"

#define BIT(t) TYPE_BIT(EXPR_##t)
#define ORDERED (TYPES_NUMBER | BIT(STRING) | BIT(BOOL) | BIT(LIST))

struct check {
    const struct expr *expr;
    const struct expr_scope *scope;
    struct err_list *errors;
    enum expr_type vars[AST_MAX_VARS];
    bool within_constant;
};

static enum expr_type check(struct check *c, const struct ast *n);

static enum expr_type mark(struct check *c, const struct ast *n, struct err *e)
{
    text_mark(e, c->expr->text, n->from, n->to);
    return EXPR_ANY;
}

/* Adds an error at the node and gives ANY, so that it raises no others. */
#define check_fail(c, n, ...) mark((c), (n), err_list_add((c)->errors, ERR_INVALID, (struct pos){0, 0}, __VA_ARGS__))

static bool fits(enum expr_type t, unsigned types)
{
    return t == EXPR_ANY || (types & TYPE_BIT(t));
}

static bool both(enum expr_type a, enum expr_type b, unsigned types)
{
    return fits(a, types) && fits(b, types);
}

/* ---- names ---- */

static enum expr_type field_type(struct check *c, const struct ast *n, enum expr_type of, struct str name)
{
    if (fits(of, BIT(MAP))) return EXPR_ANY;
    struct err *e = err_list_add(c->errors, ERR_INVALID, (struct pos){0, 0}, "%s has no field '%.*s'", type_name(of),
                                 STR_ARG(str_sub(name, 0, 80)));
    if (of == EXPR_STRING) err_hint(e, "json(text).%.*s reads it from JSON text", STR_ARG(str_sub(name, 0, 80)));
    if (of == EXPR_LIST) err_hint(e, "of a list take an item, [0], or all: list.map(x, x.%.*s)", STR_ARG(name));
    text_mark(e, c->expr->text, n->from, n->to);
    return EXPR_ANY;
}

static enum expr_type check_path(struct check *c, const struct ast *n)
{
    struct expr_ref ref = *n->u.path;
    enum expr_type type = EXPR_ANY;
    if (!c->scope || !c->scope->type_of) return EXPR_ANY;
    for (;; ref.n--) {
        struct err why;
        err_clear(&why);
        if (c->scope->type_of(c->scope->ctx, &ref, &type, &why)) break;
        if (why.code != ERR_NONE) {
            text_mark(&why, c->expr->text, n->from, n->to);
            *err_list_next(c->errors) = why;
            return EXPR_ANY;
        }
        if (ref.n > 0) continue;
        struct err *e = err_list_add(c->errors, ERR_INVALID, ref.spans[0].at, "there is no '%.*s' here",
                                     STR_ARG(str_sub(ref.root, 0, 80)));
        e->len = ref.spans[0].len;
        return EXPR_ANY;
    }
    for (size_t i = ref.n; i < n->u.path->n; i++) {
        size_t before = c->errors->n;
        type = field_type(c, n, type, ref.fields[i]);
        if (c->errors->n > before) err_at(&c->errors->items[before], ref.spans[i + 1].at, ref.spans[i + 1].len);
    }
    return type;
}

static enum expr_type check_index(struct check *c, const struct ast *n)
{
    enum expr_type of = check(c, n->kids[0]), key = check(c, n->kids[1]);
    bool fine = of == EXPR_ANY ? fits(key, BIT(INT) | BIT(STRING))
                               : (of == EXPR_LIST && fits(key, BIT(INT))) || (of == EXPR_MAP && fits(key, BIT(STRING)));
    return fine ? EXPR_ANY : check_fail(c, n, "%s has no index of type %s", type_name(of), type_name(key));
}

/* ---- operators ---- */

/* steps.train-model reads as a subtraction: says so when one side of a '-' without blanks went wrong. */
static void hint_dash(struct check *c, const struct ast *n, size_t before)
{
    const struct ast *a = n->kids[0], *b = n->kids[1];
    if (n->op != OP_SUB || c->errors->n <= before || b->from != a->to + 1) return;
    err_hint(&c->errors->items[before], "'-' subtracts; a name with a dash in it is written [\"a-b\"]");
    c->errors->total -= c->errors->n - before - 1; /* the other half is wrong for the same reason */
    c->errors->n = before + 1;
}

static enum expr_type sum_type(enum expr_type a, enum expr_type b)
{
    if (a == EXPR_ANY || b == EXPR_ANY) return EXPR_ANY;
    return a == b ? a : EXPR_DOUBLE;
}

static enum expr_type fail_operands(struct check *c, const struct ast *n, enum expr_type a, enum expr_type b)
{
    struct err *e = err_list_add(c->errors, ERR_INVALID, (struct pos){0, 0}, "'%s' does not take %s and %s",
                                 ast_op_name(n->op), type_name(a), type_name(b));
    text_mark(e, c->expr->text, n->from, n->to);
    if (n->op == OP_ADD && (a == EXPR_STRING || b == EXPR_STRING)) err_hint(e, "string(x) makes a string of a value");
    if (n->op == OP_IN && b == EXPR_STRING) err_hint(e, "text.contains(part) looks into a string");
    return EXPR_ANY;
}

static bool comparable(enum expr_type a, enum expr_type b)
{
    if (a == EXPR_NULL || b == EXPR_NULL || a == EXPR_ANY || b == EXPR_ANY) return true;
    return a == b || both(a, b, TYPES_NUMBER);
}

/* What a constant part divides by is seen when it is evaluated. */
static bool by_zero(const struct check *c, const struct ast *n)
{
    const struct ast *by = n->kids[1];
    if (by->kind != AST_LITERAL || c->within_constant) return false;
    const struct value *v = &by->u.literal;
    return (v->type == VALUE_INT && v->u.i == 0) || (v->type == VALUE_DOUBLE && v->u.d == 0.0);
}

/* A path that is one of some words, compared with a literal that is none of them. */
static void check_words(struct check *c, const struct ast *path, const struct ast *literal)
{
    size_t n = 0;
    if (path->kind != AST_PATH || literal->kind != AST_LITERAL || literal->u.literal.type != VALUE_STRING) return;
    const struct str *words = c->scope && c->scope->words ? c->scope->words(c->scope->ctx, path->u.path, &n) : NULL;
    struct str text = literal->u.literal.u.s;
    if (!words || n == 0) return;
    for (size_t i = 0; i < n; i++)
        if (str_eq(words[i], text)) return;
    struct err *e =
        err_list_add(c->errors, ERR_INVALID, (struct pos){0, 0}, "it is never '%.*s'", STR_ARG(str_sub(text, 0, 80)));
    text_mark(e, c->expr->text, literal->from, literal->to);
    struct str near = suggest(text, words, n);
    BUF_AUTO all;
    buf_init(&all, 0);
    for (size_t i = 0; i < n && all.n + words[i].n < 200; i++)
        buf_printf(&all, "%s%.*s", i ? ", " : "", STR_ARG(words[i]));
    err_hint(e, near.n ? "did you mean '%.*s'?" : "one of: %.*s", STR_ARG(near.n ? near : buf_view(&all)));
}

static enum expr_type result_of(enum ast_op op)
{
    return op == OP_ADD || op == OP_SUB || op == OP_MUL || op == OP_DIV || op == OP_MOD ? EXPR_ANY : EXPR_BOOL;
}

static enum expr_type check_binary(struct check *c, const struct ast *n)
{
    size_t before = c->errors->n;
    enum expr_type a = check(c, n->kids[0]), b = check(c, n->kids[1]);
    hint_dash(c, n, before);
    bool logic = n->op == OP_OR || n->op == OP_AND;
    if (c->errors->n > before && !logic) return result_of(n->op); /* what is wrong may be of any type */
    switch (n->op) {
    case OP_OR:
    case OP_AND:
        if (!fits(a, BIT(BOOL))) check_fail(c, n->kids[0], "a condition is true or false, this is %s", type_name(a));
        if (!fits(b, BIT(BOOL))) check_fail(c, n->kids[1], "a condition is true or false, this is %s", type_name(b));
        return EXPR_BOOL;
    case OP_EQ:
    case OP_NE:
        check_words(c, n->kids[0], n->kids[1]);
        check_words(c, n->kids[1], n->kids[0]);
        if (!comparable(a, b)) check_fail(c, n, "%s and %s are never equal", type_name(a), type_name(b));
        return EXPR_BOOL;
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
        if (!both(a, b, ORDERED) || !comparable(a, b)) fail_operands(c, n, a, b);
        return EXPR_BOOL;
    case OP_IN:
        for (uint32_t i = 0; n->kids[1]->kind == AST_LIST && i < n->kids[1]->n; i++)
            check_words(c, n->kids[0], n->kids[1]->kids[i]);
        if (!fits(b, BIT(LIST) | BIT(MAP)) || (b == EXPR_MAP && !fits(a, BIT(STRING)))) fail_operands(c, n, a, b);
        return EXPR_BOOL;
    case OP_ADD:
        if (both(a, b, TYPES_NUMBER) || both(a, b, BIT(STRING)) || both(a, b, BIT(LIST))) return sum_type(a, b);
        return fail_operands(c, n, a, b);
    case OP_SUB:
    case OP_MUL: return both(a, b, TYPES_NUMBER) ? sum_type(a, b) : fail_operands(c, n, a, b);
    case OP_DIV:
        if (!both(a, b, TYPES_NUMBER)) return fail_operands(c, n, a, b);
        return by_zero(c, n) ? check_fail(c, n, "division by zero") : sum_type(a, b);
    case OP_MOD:
        if (!both(a, b, BIT(INT))) return fail_operands(c, n, a, b);
        return by_zero(c, n) ? check_fail(c, n, "division by zero") : EXPR_INT;
    }
    return EXPR_ANY;
}

static enum expr_type check_ternary(struct check *c, const struct ast *n)
{
    enum expr_type cond = check(c, n->kids[0]), a = check(c, n->kids[1]), b = check(c, n->kids[2]);
    if (!fits(cond, BIT(BOOL))) check_fail(c, n->kids[0], "a condition is true or false, this is %s", type_name(cond));
    return a == b ? a : EXPR_ANY;
}

/* ---- calls ---- */

static void check_pattern(struct check *c, const struct ast *n)
{
    struct err why;
    uint64_t own = 0, *spent = c->scope && c->scope->spent ? c->scope->spent : &own;
    err_clear(&why);
    if (spent != &own && *spent >= c->scope->max_cost)
        err_set(&why, ERR_LIMIT, "the patterns of the document take too long to check");
    else if (match_check(n->u.literal.u.s, spent, &why))
        return;
    text_mark(&why, c->expr->text, n->from, n->to);
    *err_list_next(c->errors) = why;
}

static enum expr_type check_call(struct check *c, const struct ast *n)
{
    const struct function *fn = n->u.fn;
    enum expr_type only = EXPR_ANY;
    for (uint32_t i = 0; i < n->n; i++) {
        char wanted[64];
        only = check(c, n->kids[i]);
        if (!fits(only, function_types(fn, i)))
            check_fail(c, n->kids[i], "%s takes %s here, this is %s", fn->name,
                       types_text(function_types(fn, i), wanted), type_name(only));
    }
    bool extreme = fn->max == 255;
    if (extreme && n->n == 1 && !fits(only, BIT(LIST)))
        check_fail(c, n, "%s of one %s: it takes a list, or several values", fn->name, type_name(only));
    if (fn->call == match_call && n->kids[1]->kind == AST_LITERAL && n->kids[1]->u.literal.type == VALUE_STRING)
        check_pattern(c, n->kids[1]);
    return fn->result;
}

static enum expr_type check_loop(struct check *c, const struct ast *n)
{
    enum function_kind kind = n->u.fn->kind;
    enum expr_type over = check(c, n->kids[0]);
    if (!fits(over, function_types(n->u.fn, 0)))
        check_fail(c, n->kids[0], "%s goes over a list, this is %s", n->u.fn->name, type_name(over));
    c->vars[n->slot] = over == EXPR_MAP ? EXPR_STRING : EXPR_ANY;
    if (n->n == 3) {
        enum expr_type cond = check(c, n->kids[2]);
        if (!fits(cond, BIT(BOOL)))
            check_fail(c, n->kids[2], "a condition is true or false, this is %s", type_name(cond));
    }
    enum expr_type body = check(c, n->kids[1]);
    bool condition = kind == KIND_FILTER || kind == KIND_ALL || kind == KIND_EXISTS;
    if (condition && !fits(body, BIT(BOOL)))
        check_fail(c, n->kids[1], "a condition is true or false, this is %s", type_name(body));
    if ((kind == KIND_MAX_BY || kind == KIND_MIN_BY) && !fits(body, ORDERED))
        check_fail(c, n->kids[1], "%s does not order values of type %s", n->u.fn->name, type_name(body));
    return n->u.fn->result;
}

/* Twice the same word as a key; that of a constant map is seen when it is evaluated. */
static bool is_repeated(const struct check *c, const struct ast *n, uint32_t key)
{
    if (c->within_constant || n->kids[key]->kind != AST_LITERAL) return false;
    for (uint32_t i = 0; i < key; i += 2)
        if (n->kids[i]->kind == AST_LITERAL && value_eq(&n->kids[i]->u.literal, &n->kids[key]->u.literal)) return true;
    return false;
}

static enum expr_type check_map(struct check *c, const struct ast *n)
{
    for (uint32_t i = 0; i < n->n; i += 2) {
        enum expr_type key = check(c, n->kids[i]);
        if (is_repeated(c, n, i)) check_fail(c, n->kids[i], "the same key stands here twice");
        if (!fits(key, BIT(STRING)))
            check_fail(c, n->kids[i], "the key of a map is a string, this is %s", type_name(key));
        check(c, n->kids[i + 1]);
    }
    return EXPR_MAP;
}

static enum expr_type check_unary(struct check *c, const struct ast *n)
{
    enum expr_type t = check(c, n->kids[0]);
    if (n->kind == AST_NOT) {
        if (!fits(t, BIT(BOOL))) check_fail(c, n->kids[0], "a condition is true or false, this is %s", type_name(t));
        return EXPR_BOOL;
    }
    return fits(t, TYPES_NUMBER) ? t : check_fail(c, n, "'-' does not take %s", type_name(t));
}

static enum expr_type check_node(struct check *c, const struct ast *n)
{
    switch (n->kind) {
    case AST_LITERAL: return type_of_value(&n->u.literal);
    case AST_VAR: return c->vars[n->slot];
    case AST_PATH: return check_path(c, n);
    case AST_FIELD: return field_type(c, n, check(c, n->kids[0]), n->u.name);
    case AST_INDEX: return check_index(c, n);
    case AST_LIST:
        for (uint32_t i = 0; i < n->n; i++)
            check(c, n->kids[i]);
        return EXPR_LIST;
    case AST_MAP: return check_map(c, n);
    case AST_NOT:
    case AST_NEG: return check_unary(c, n);
    case AST_BINARY: return check_binary(c, n);
    case AST_TERNARY: return check_ternary(c, n);
    case AST_CALL: return check_call(c, n);
    case AST_LOOP: return check_loop(c, n);
    case AST_HAS: check(c, n->kids[0]); return EXPR_BOOL;
    }
    return EXPR_ANY;
}

/* Reads no names, so that its value is certain; `bound` are the variables of the loops around it. What costs more than
 * its length tells, or needs what is not here, is left for the run. */
static bool is_constant(const struct ast *n, uint64_t bound)
{
    if (n->kind == AST_PATH || n->kind == AST_HAS) return false;
    if (n->kind == AST_VAR) return bound & (UINT64_C(1) << n->slot);
    if (n->kind == AST_CALL && (n->u.fn->call == match_call || str_is(str_of(n->u.fn->name), "json"))) return false;
    for (uint32_t i = 0; i < n->n; i++) {
        bool body = n->kind == AST_LOOP && i > 0;
        if (!is_constant(n->kids[i], body ? bound | UINT64_C(1) << n->slot : bound)) return false;
    }
    return true;
}

/* Of constant parts that lie within each other the outermost is evaluated: `true || 1 / 0 > 0` is fine. */
static enum expr_type check(struct check *c, const struct ast *n)
{
    bool outermost = !c->within_constant && n->kind != AST_LITERAL && is_constant(n, 0), known;
    size_t before = c->errors->total;
    struct err why;
    if (!outermost) return check_node(c, n);
    c->within_constant = true;
    enum expr_type type = check_node(c, n);
    c->within_constant = false;
    if (c->errors->total > before || eval_constant(c->expr, n, &known, &why) || !known) return type;
    *err_list_next(c->errors) = why;
    return EXPR_ANY;
}

bool expr_check(const struct expr *e, const struct expr_scope *scope, enum expr_type *out, struct err_list *errors)
{
    struct check c = {.expr = e, .scope = scope, .errors = errors};
    size_t before = errors->total;
    enum expr_type t = check(&c, e->root);
    if (errors->total > before) return false;
    *out = t;
    return true;
}
