/* The evaluator: walks the tree once, left to right, and pays for every step from a budget, so that no expression runs
 * for long however big its data are. */
#include "engine/expr/eval.h"

#include <stdlib.h>
#include <string.h>

#include "engine/expr/functions.h"

static bool eval(struct eval *ev, const struct ast *n, struct value *out);

/* ---- the budget ---- */

bool eval_charge(struct eval *ev, const struct ast *at, uint64_t steps)
{
    if (ev->arena->over) return eval_fail(ev, at, ERR_LIMIT, "the expression takes too much memory");
    if (steps <= ev->max_cost - ev->cost) {
        ev->cost += steps;
        return true;
    }
    ev->cost = ev->max_cost;
    return eval_fail(ev, at, ERR_LIMIT,
                     ev->shared ? "this and the expressions beside it take more than %llu steps"
                                : "the expression takes more than %llu steps",
                     (unsigned long long)ev->max_cost);
}

struct weight {
    uint64_t nodes, bytes, doubles, max_nodes, max_bytes;
};

/* Values share memory, so that a short expression can make one whose tree is astronomically big: counted until the
 * limit only. */
static bool weigh(struct weight *w, const struct value *v, unsigned depth)
{
    if (++w->nodes > w->max_nodes || w->bytes > w->max_bytes || depth > EVAL_MAX_DEPTH) return false;
    if (v->type == VALUE_STRING) w->bytes += v->u.s.n;
    if (v->type == VALUE_DOUBLE) w->doubles++;
    if (v->type == VALUE_LIST) {
        for (size_t i = 0; i < v->u.list.n; i++) {
            if (!weigh(w, &v->u.list.items[i], depth + 1)) return false;
        }
    }
    if (v->type == VALUE_MAP) {
        for (size_t i = 0; i < v->u.map.n; i++) {
            w->bytes += v->u.map.entries[i].key.n;
            if (!weigh(w, &v->u.map.entries[i].value, depth + 1)) return false;
        }
    }
    return w->bytes <= w->max_bytes;
}

static bool charge_weight(struct eval *ev, const struct ast *at, const struct value *v, uint64_t bytes,
                          uint64_t doubles)
{
    uint64_t left = ev->max_cost - ev->cost;
    struct weight w = {.max_nodes = left, .max_bytes = left * bytes};
    if (!weigh(&w, v, 0)) return eval_charge(ev, at, UINT64_MAX);
    return eval_charge(ev, at, w.nodes + w.bytes / bytes + w.doubles * doubles);
}

bool eval_charge_value(struct eval *ev, const struct ast *at, const struct value *v)
{
    bool scalar = v->type != VALUE_STRING && v->type != VALUE_LIST && v->type != VALUE_MAP;
    return scalar || charge_weight(ev, at, v, 64, 0);
}

bool eval_charge_text(struct eval *ev, const struct ast *at, const struct value *v)
{
    return charge_weight(ev, at, v, v->type == VALUE_STRING ? 64 : 16, 8);
}

/* Small maps are searched from one end to the other, big ones by halves. */
bool eval_charge_find(struct eval *ev, const struct ast *at, const struct value *map, struct str key)
{
    return key.n < 64 || eval_charge(ev, at, key.n / 64 * (map->u.map.n < 16 ? map->u.map.n : 16));
}

bool eval_fits(const struct value *v, struct err *err)
{
    struct weight w = {.max_nodes = EVAL_MAX_NODES, .max_bytes = EVAL_MAX_BYTES};
    if (weigh(&w, v, 0)) return true;
    return err_set(err, ERR_LIMIT, "the result is too big: %u items, %u MiB and %d levels are the most", EVAL_MAX_NODES,
                   EVAL_MAX_BYTES >> 20, EVAL_MAX_DEPTH);
}

/* ---- names and fields ---- */

struct miss { /* a field that a map does not have */
    struct str name;
    struct value of;
};

static bool fail_field(struct eval *ev, const struct ast *at, const struct value *v, struct str name)
{
    if (v->type != VALUE_MAP) {
        eval_fail(ev, at, ERR_INVALID, "%s has no field '%.*s'", value_type_name(v->type), STR_ARG(name));
        return v->type == VALUE_LIST
                   ? err_hint(&ev->err, "of a list take an item, [0], or all: list.map(x, x.%.*s)", STR_ARG(name))
                   : false;
    }
    eval_fail(ev, at, ERR_INVALID, "there is no field '%.*s'", STR_ARG(str_sub(name, 0, 120)));
    struct miss *miss = arena_new(ev->arena, struct miss);
    *miss = (struct miss){name, *v};
    ev->miss = miss;
    return false;
}

/* To find the nearest name takes long: only for the error that stands at the end. */
static void suggest_field(struct eval *ev)
{
    struct str names[64];
    size_t n = 0;
    if (!ev->miss || ev->err.hint[0]) return;
    for (; n < ev->miss->of.u.map.n && n < sizeof names / sizeof *names; n++)
        names[n] = ev->miss->of.u.map.entries[n].key;
    struct str near = suggest(ev->miss->name, names, n);
    if (near.n) err_hint(&ev->err, "did you mean '%.*s'?", STR_ARG(near));
}

/* Replaces *v by its field. With `absent` a missing one is no error but noted. */
static bool take_field(struct eval *ev, const struct ast *at, struct str name, struct value *v, bool *absent)
{
    if (v->type == VALUE_MAP && !eval_charge_find(ev, at, v, name)) return false;
    const struct value *found = value_find(v, name);
    if (found) {
        *v = *found;
        return true;
    }
    if (absent && (v->type == VALUE_MAP || v->type == VALUE_NULL)) {
        *absent = true;
        return true;
    }
    return fail_field(ev, at, v, name);
}

static bool fail_absent(struct eval *ev, const struct ast *at)
{
    struct str path = str_sub(ev->expr->text, at->from, at->to - at->from);
    eval_fail(ev, at, ERR_NOT_FOUND, "%.*s is not there", STR_ARG(str_sub(path, 0, 120)));
    return err_hint(&ev->err, "has(x) ? x : … asks first");
}

static bool eval_path(struct eval *ev, const struct ast *n, struct value *out, bool *absent)
{
    struct expr_ref ref = *n->u.path;
    ref.guarded = absent != NULL;
    size_t used = 0;
    bool missing = false;
    struct value v = value_null();
    if (!eval_charge(ev, n, 1 + ref.n)) return false;
    if (!ev->env || !ev->env->lookup)
        return eval_fail(ev, n, ERR_INVALID, "there are no names here, so no '%.*s'", STR_ARG(ref.root));
    err_clear(&ev->err);
    ev->miss = NULL;
    size_t before = ev->arena->used;
    bool ok = ev->env->lookup(ev->env->ctx, ev->arena, &ref, &v, &used, &missing, &ev->err);
    if (ok && !eval_charge(ev, n, (ev->arena->used - before) / 64)) return false; /* what it had to make */
    if (!ok) {
        if (ev->err.code == ERR_NONE) err_set(&ev->err, ERR_INVALID, "there is no '%.*s' here", STR_ARG(ref.root));
        return text_mark(&ev->err, ev->expr->text, n->from, n->to);
    }
    for (size_t i = used; i < ref.n && !missing; i++) {
        if (take_field(ev, n, ref.fields[i], &v, absent ? &missing : NULL)) continue;
        return err_at(&ev->err, ref.spans[i + 1].at, ref.spans[i + 1].len);
    }
    if (missing && !absent) return fail_absent(ev, n);
    if (missing)
        *absent = true;
    else
        *out = v;
    return true;
}

static bool take_index(struct eval *ev, const struct ast *n, const struct value *key, struct value *v, bool *absent)
{
    if (v->type == VALUE_NULL && absent) {
        *absent = true;
        return true;
    }
    if (v->type == VALUE_MAP && key->type == VALUE_STRING) return take_field(ev, n, key->u.s, v, absent);
    if (v->type != VALUE_LIST || key->type != VALUE_INT)
        return eval_fail(ev, n, ERR_INVALID, "%s has no index of type %s", value_type_name(v->type),
                         value_type_name(key->type));
    if (key->u.i >= 0 && (uint64_t)key->u.i < v->u.list.n) {
        *v = v->u.list.items[key->u.i];
        return true;
    }
    if (!absent)
        return eval_fail(ev, n, ERR_INVALID, "the index %lld is outside of the list, which has %zu items",
                         (long long)key->u.i, v->u.list.n);
    *absent = true;
    return true;
}

/* A path, field or index. With `absent` what is missing on the way is noted there instead of failing; *out is then
 * unset. */
static bool eval_select(struct eval *ev, const struct ast *n, struct value *out, bool *absent)
{
    if (n->kind == AST_PATH) return eval_path(ev, n, out, absent);
    if (n->kind != AST_FIELD && n->kind != AST_INDEX) return eval(ev, n, out);
    struct value v = value_null(), key = value_null();
    if (!eval_charge(ev, n, 1) || !eval_select(ev, n->kids[0], &v, absent)) return false;
    if (absent && *absent) return true;
    if (n->kind == AST_INDEX) {
        if (!eval(ev, n->kids[1], &key) || !take_index(ev, n, &key, &v, absent)) return false;
    } else if (!take_field(ev, n, n->u.name, &v, absent)) {
        return false;
    }
    if (!absent || !*absent) *out = v;
    return true;
}

/* ---- conditions ---- */

static bool eval_bool(struct eval *ev, const struct ast *n, bool *out)
{
    struct value v;
    if (!eval(ev, n, &v)) return false;
    if (v.type != VALUE_BOOL)
        return eval_fail(ev, n, ERR_INVALID, "a condition is true or false, this is %s", value_type_name(v.type));
    *out = v.u.b;
    return true;
}

/* Of the expression's own making, so that the other side of && or || may outweigh it; a spent budget or a lost database
 * may not be. To fail takes longer than to go on. */
static bool may_forgive(struct eval *ev, const struct ast *n)
{
    if (ev->err.code != ERR_INVALID && ev->err.code != ERR_NOT_FOUND) return false;
    struct err why = ev->err;
    const struct miss *miss = ev->miss;
    if (!eval_charge(ev, n, 4 + ev->expr->text.n / 256)) return false;
    ev->err = why;
    ev->miss = miss;
    return true;
}

/* a && b is false when either is, a || b true when either is, even if the other one fails. */
static bool eval_logic(struct eval *ev, const struct ast *n, struct value *out)
{
    bool decisive = n->op == OP_OR, left = false, right = false;
    bool ok = eval_bool(ev, n->kids[0], &left);
    if (ok && left == decisive) {
        *out = value_bool(decisive);
        return true;
    }
    if (!ok && !may_forgive(ev, n->kids[0])) return false;
    struct err first = ev->err;
    const struct miss *miss = ev->miss;
    if (!eval_bool(ev, n->kids[1], &right)) {
        if (ok || !may_forgive(ev, n->kids[1])) return false;
    } else if (ok || right == decisive) {
        *out = value_bool(right);
        return true;
    }
    ev->err = first;
    ev->miss = miss;
    return false;
}

static bool eval_ternary(struct eval *ev, const struct ast *n, struct value *out)
{
    bool yes = false;
    return eval_bool(ev, n->kids[0], &yes) && eval(ev, n->kids[yes ? 1 : 2], out);
}

static bool eval_has(struct eval *ev, const struct ast *n, struct value *out)
{
    bool absent = false;
    struct value v = value_null();
    if (!eval_select(ev, n->kids[0], &v, &absent)) return false;
    *out = value_bool(!absent && v.type != VALUE_NULL);
    return true;
}

/* ---- comprehensions ---- */

struct loop {
    const struct ast *node;
    struct value over;
    size_t n;
};

static bool loop_begin(struct eval *ev, const struct ast *n, struct loop *l)
{
    l->node = n;
    if (!eval(ev, n->kids[0], &l->over)) return false;
    if (l->over.type != VALUE_LIST && l->over.type != VALUE_MAP)
        return eval_fail(ev, n->kids[0], ERR_INVALID, "%s goes over a list, this is %s", n->u.fn->name,
                         value_type_name(l->over.type));
    l->n = l->over.type == VALUE_LIST ? l->over.u.list.n : l->over.u.map.n;
    return true;
}

/* Binds the i-th item (of a map: its key) and pays for it. */
static bool loop_bind(struct eval *ev, const struct loop *l, size_t i)
{
    struct value *var = &ev->vars[l->node->slot];
    if (l->over.type == VALUE_LIST)
        *var = l->over.u.list.items[i];
    else
        *var = value_string(l->over.u.map.entries[i].key);
    return eval_charge(ev, l->node, 1);
}

/* Which item it was, for errors that do not say more. */
static bool loop_blame(struct eval *ev, size_t i)
{
    return ev->err.hint[0] || ev->err.code == ERR_LIMIT ? false : err_hint(&ev->err, "it fails for item %zu", i);
}

static bool loop_collect(struct eval *ev, const struct loop *l, struct value *out)
{
    const struct ast *n = l->node;
    bool filter = n->u.fn->kind == KIND_FILTER;
    const struct ast *condition = filter ? n->kids[1] : n->n == 3 ? n->kids[2] : NULL;
    struct value_list_builder list;
    value_list_begin(&list, ev->arena);
    for (size_t i = 0; i < l->n; i++) {
        bool keep = true;
        if (!loop_bind(ev, l, i)) return false;
        if (condition && !eval_bool(ev, condition, &keep)) return loop_blame(ev, i);
        if (!keep) continue;
        struct value v = ev->vars[n->slot];
        if (!filter && !eval(ev, n->kids[1], &v)) return loop_blame(ev, i);
        value_list_push(&list, v);
    }
    *out = value_list_end(&list);
    return true;
}

/* all() is a long &&, exists() a long ||: one decisive item outweighs others that fail. */
static bool loop_quantify(struct eval *ev, const struct loop *l, struct value *out)
{
    bool decisive = l->node->u.fn->kind == KIND_EXISTS, failed = false;
    struct err *first = NULL;
    const struct miss *miss = NULL;
    for (size_t i = 0; i < l->n; i++) {
        bool holds = false;
        if (!loop_bind(ev, l, i)) return false;
        if (!eval_bool(ev, l->node->kids[1], &holds)) {
            if (!may_forgive(ev, l->node->kids[1])) return false;
            if (failed) continue;
            loop_blame(ev, i);
            first = arena_new(ev->arena, struct err);
            *first = ev->err;
            miss = ev->miss;
            failed = true;
        } else if (holds == decisive) {
            *out = value_bool(decisive);
            return true;
        }
    }
    if (failed) {
        ev->err = *first;
        ev->miss = miss;
        return false;
    }
    *out = value_bool(!decisive);
    return true;
}

static bool loop_best(struct eval *ev, const struct loop *l, struct value *out)
{
    const struct ast *n = l->node;
    int sign = n->u.fn->kind == KIND_MAX_BY ? 1 : -1;
    struct value best = value_null(), best_key = value_null(), key;
    if (l->n == 0) return eval_fail(ev, n, ERR_INVALID, "%s of an empty list", n->u.fn->name);
    for (size_t i = 0; i < l->n; i++) {
        int order;
        if (!loop_bind(ev, l, i)) return false;
        struct value item = ev->vars[n->slot];
        if (!eval(ev, n->kids[1], &key)) return loop_blame(ev, i);
        if (!eval_charge_value(ev, n, &key)) return false;
        const struct value *other = i ? &best_key : &key;
        if (!value_cmp(&key, other, &order)) {
            eval_fail(ev, n->kids[1], ERR_INVALID, "%s cannot order %s and %s", n->u.fn->name,
                      value_type_name(other->type), value_type_name(key.type));
            return loop_blame(ev, i);
        }
        if (i && order * sign <= 0) continue;
        best = item;
        best_key = key;
    }
    *out = best;
    return true;
}

static bool eval_loop(struct eval *ev, const struct ast *n, struct value *out)
{
    struct loop l;
    if (!loop_begin(ev, n, &l)) return false;
    switch ((int)n->u.fn->kind) {
    case KIND_ALL:
    case KIND_EXISTS: return loop_quantify(ev, &l, out);
    case KIND_MAX_BY:
    case KIND_MIN_BY: return loop_best(ev, &l, out);
    default: return loop_collect(ev, &l, out);
    }
}

/* ---- calls, lists, maps ---- */

static bool eval_call(struct eval *ev, const struct ast *n, struct value *out)
{
    struct value few[3], *args = n->n <= 3 ? few : arena_array(ev->arena, struct value, n->n);
    for (uint32_t i = 0; i < n->n; i++) {
        char wanted[64];
        if (!eval(ev, n->kids[i], &args[i])) return false;
        if (!(function_types(n->u.fn, i) & TYPE_BIT(type_of_value(&args[i]))))
            return eval_fail(ev, n->kids[i], ERR_INVALID, "%s takes %s here, this is %s", n->u.fn->name,
                             types_text(function_types(n->u.fn, i), wanted), value_type_name(args[i].type));
    }
    return n->u.fn->call(ev, n, args, out);
}

static bool eval_list(struct eval *ev, const struct ast *n, struct value *out)
{
    struct value_list_builder list;
    value_list_begin(&list, ev->arena);
    for (uint32_t i = 0; i < n->n; i++) {
        struct value v;
        if (!eval(ev, n->kids[i], &v)) return false;
        value_list_push(&list, v);
    }
    *out = value_list_end(&list);
    return eval_charge(ev, n, n->n);
}

static bool eval_map(struct eval *ev, const struct ast *n, struct value *out)
{
    struct value_map_builder map;
    value_map_begin(&map, ev->arena);
    for (uint32_t i = 0; i < n->n; i += 2) {
        struct value key, v;
        if (!eval(ev, n->kids[i], &key)) return false;
        if (key.type != VALUE_STRING) {
            eval_fail(ev, n->kids[i], ERR_INVALID, "the key of a map is a string, this is %s",
                      value_type_name(key.type));
            return false;
        }
        for (size_t k = 0; k < map.n; k++) {
            if (str_eq(map.entries[k].key, key.u.s))
                return eval_fail(ev, n->kids[i], ERR_INVALID, "the key '%.*s' stands here twice",
                                 STR_ARG(str_sub(key.u.s, 0, 60)));
        }
        if (!eval(ev, n->kids[i + 1], &v) || !eval_charge(ev, n, 1 + map.n / 8 + key.u.s.n / 64)) return false;
        value_map_put(&map, key.u.s, v);
    }
    *out = value_map_end(&map);
    return true;
}

static bool eval_unary(struct eval *ev, const struct ast *n, struct value *out)
{
    struct value v;
    bool b;
    if (n->kind == AST_NEG) return eval(ev, n->kids[0], &v) && operator_negate(ev, n, &v, out);
    if (!eval_bool(ev, n->kids[0], &b)) return false;
    *out = value_bool(!b);
    return true;
}

static bool eval_binary(struct eval *ev, const struct ast *n, struct value *out)
{
    struct value a, b;
    if (n->op == OP_AND || n->op == OP_OR) return eval_logic(ev, n, out);
    return eval(ev, n->kids[0], &a) && eval(ev, n->kids[1], &b) && operator_apply(ev, n, &a, &b, out);
}

static bool eval(struct eval *ev, const struct ast *n, struct value *out)
{
    *out = value_null();
    switch (n->kind) {
    case AST_LITERAL: *out = n->u.literal; return true;
    case AST_VAR: *out = ev->vars[n->slot]; return true;
    case AST_PATH:
    case AST_FIELD:
    case AST_INDEX: return eval_select(ev, n, out, NULL);
    case AST_LIST:
    case AST_MAP:
    case AST_NOT:
    case AST_NEG:
    case AST_BINARY:
    case AST_TERNARY:
    case AST_CALL:
    case AST_LOOP:
    case AST_HAS: break;
    }
    if (!eval_charge(ev, n, 1)) return false;
    switch ((int)n->kind) {
    case AST_LIST: return eval_list(ev, n, out);
    case AST_MAP: return eval_map(ev, n, out);
    case AST_NOT:
    case AST_NEG: return eval_unary(ev, n, out);
    case AST_BINARY: return eval_binary(ev, n, out);
    case AST_TERNARY: return eval_ternary(ev, n, out);
    case AST_CALL: return eval_call(ev, n, out);
    case AST_LOOP: return eval_loop(ev, n, out);
    default: return eval_has(ev, n, out);
    }
}

/* A plain path hands on what the environment has anyway. */
static bool check_result(struct eval *ev, const struct value *v)
{
    const struct ast *root = ev->expr->root;
    if (root->kind == AST_PATH || eval_fits(v, &ev->err)) return true;
    return text_mark(&ev->err, ev->expr->text, root->from, root->to);
}

bool expr_eval(const struct expr *e, const struct expr_env *env, struct arena *a, struct value *out, struct err *err)
{
    static const struct expr_env nothing = {0};
    struct eval ev;
    struct arena scratch;
    arena_init(&scratch, EVAL_MAX_MEMORY);
    ev.expr = e;
    ev.env = env ? env : &nothing;
    ev.arena = &scratch;
    ev.cost = ev.env->spent ? *ev.env->spent : 0;
    ev.max_cost = ev.env->max_cost ? ev.env->max_cost : EXPR_MAX_COST;
    ev.shared = ev.cost > 0;
    ev.patterns = NULL;
    ev.miss = NULL;
    err_clear(&ev.err);
    struct value v;
    bool ok = eval(&ev, e->root, &v) && eval_charge(&ev, e->root, 0) && check_result(&ev, &v);
    if (ok) *out = scratch.used > 0 ? value_copy(a, &v) : v;
    if (!ok) suggest_field(&ev);
    if (!ok && err) *err = ev.err;
    if (ev.env->spent) *ev.env->spent = ev.cost;
    match_end(&ev);
    arena_free(&scratch);
    return ok;
}

#define CONSTANT_COST 1000 /* a document may hold many of them */

bool eval_constant(const struct expr *e, const struct ast *part, bool *known, struct err *err)
{
    static const struct expr_env nothing = {0};
    struct arena scratch;
    struct value v;
    struct eval *ev = calloc(1, sizeof *ev);
    if (!ev) abort();
    arena_init(&scratch, 0);
    *ev = (struct eval){.expr = e, .env = &nothing, .arena = &scratch, .max_cost = CONSTANT_COST};
    bool ok = eval(ev, part, &v);
    *known = ok || ev->cost < ev->max_cost;
    if (!ok && err) *err = ev->err;
    arena_free(&scratch);
    free(ev);
    return ok;
}
