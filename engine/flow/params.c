/* Checking values against declared params. */
#include "engine/flow/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/map.h"
#include "engine/flow/launch.h"
#include "engine/flow/spec.h"

const char *const param_type_names[PARAM_TYPES] = {"string", "int", "float", "bool", "list", "map", "enum", "secret"};

static bool expected(struct err *err, const struct value *v, const char *what)
{
    static const char *const articles[] = {"nothing", "a bool", "an int", "a double", "a string", "a list", "a map"};
    err_set(err, ERR_INVALID, "expected %s, found %s", what, articles[v->type]);
    return err_at(err, v->at, 0);
}

static bool coerce_int(const struct value *v, struct value *out, struct err *err)
{
    int64_t i;
    *out = *v;
    if (v->type == VALUE_INT) return true;
    if (v->type == VALUE_STRING && str_int(v->u.s, &i)) {
        *out = value_int(i);
        return true;
    }
    if (v->type == VALUE_DOUBLE && v->u.d == floor(v->u.d) && fabs(v->u.d) < 9007199254740992.0) {
        *out = value_int((int64_t)v->u.d);
        return true;
    }
    return expected(err, v, "a whole number");
}

static bool coerce_float(const struct value *v, struct value *out, struct err *err)
{
    double d;
    *out = *v;
    if (v->type == VALUE_DOUBLE) return true;
    if (v->type == VALUE_INT)
        *out = value_double((double)v->u.i);
    else if (v->type == VALUE_STRING && str_double(v->u.s, &d))
        *out = value_double(d);
    else
        return expected(err, v, "a number");
    return true;
}

static bool coerce_bool(const struct value *v, struct value *out, struct err *err)
{
    *out = *v;
    if (v->type == VALUE_BOOL) return true;
    bool yes = v->type == VALUE_STRING && str_is(v->u.s, "true");
    if (!yes && !(v->type == VALUE_STRING && str_is(v->u.s, "false"))) return expected(err, v, "true or false");
    *out = value_bool(yes);
    return true;
}

static bool check_string(const struct value *v, struct value *out, struct err *err)
{
    *out = *v;
    if (v->type == VALUE_STRING) return true;
    expected(err, v, "a string");
    if (v->type == VALUE_INT || v->type == VALUE_DOUBLE || v->type == VALUE_BOOL) err_hint(err, "put it into quotes");
    return false;
}

static bool suggest_value(struct arena *a, const struct param *p, const struct value *v, struct err *err)
{
    struct str *names = arena_array(a, struct str, p->n_values);
    for (size_t i = 0; i < p->n_values; i++)
        if (!expr_text(a, &p->values[i], &names[i], err)) return false;
    struct str near = v->type == VALUE_STRING ? suggest(v->u.s, names, p->n_values) : STR("");
    if (near.n) return err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
    BUF_AUTO all;
    buf_init(&all, 0);
    for (size_t i = 0; i < p->n_values && all.n + names[i].n < 200; i++)
        buf_printf(&all, "%s%.*s", i ? ", " : "", STR_ARG(names[i]));
    return all.n ? err_hint(err, "one of: %s", all.p) : false;
}

static bool check_enum(struct arena *a, const struct param *p, const struct value *v, struct value *out,
                       struct err *err)
{
    for (size_t i = 0; i < p->n_values; i++) {
        if (!value_eq(v, &p->values[i])) continue;
        *out = p->values[i];
        return true;
    }
    for (size_t i = 0; v->type == VALUE_STRING && i < p->n_values; i++) { /* a command line gives 3 as "3" */
        int64_t whole;
        double d;
        struct value yes;
        struct err none;
        const struct value *one = &p->values[i];
        bool same = (one->type == VALUE_INT && str_int(v->u.s, &whole) && whole == one->u.i) ||
                    (one->type == VALUE_DOUBLE && str_double(v->u.s, &d) && d == one->u.d) ||
                    (one->type == VALUE_BOOL && coerce_bool(v, &yes, &none) && yes.u.b == one->u.b);
        if (!same) continue;
        *out = *one;
        return true;
    }
    if (v->type == VALUE_STRING)
        err_set(err, ERR_INVALID, "'%.*s' is none of its values", STR_ARG(str_sub(v->u.s, 0, 80)));
    else
        err_set(err, ERR_INVALID, "the value is none of its values");
    err_at(err, v->at, 0);
    return suggest_value(a, p, v, err);
}

static bool check_item(struct arena *a, enum param_type type, const struct value *v, struct value *out, struct err *err)
{
    struct param item = {.type = type, .any_items = true};
    uint64_t spent = 0; /* it has no pattern */
    return param_check(a, &item, v, &spent, out, err);
}

/* "a,b,c" is a list where strings, numbers or bools are wanted. */
static struct value split_text(struct arena *a, struct str text)
{
    struct value_list_builder list;
    struct str piece;
    value_list_begin(&list, a);
    while (text.n && str_split(&text, ',', &piece))
        value_list_push(&list, value_string(str_trim(piece)));
    return value_list_end(&list);
}

static bool check_list(struct arena *a, const struct param *p, const struct value *v, struct value *out,
                       struct err *err)
{
    struct value split;
    if (v->type == VALUE_STRING && !p->any_items && !str_starts(str_trim(v->u.s), "[")) {
        split = split_text(a, v->u.s);
        v = &split;
    }
    if (v->type != VALUE_LIST) return expected(err, v, "a list");
    if (p->any_items) {
        *out = *v;
        return true;
    }
    struct value_list_builder list;
    value_list_begin(&list, a);
    for (size_t i = 0; i < v->u.list.n; i++) {
        struct value item;
        if (!check_item(a, p->items, &v->u.list.items[i], &item, err)) return err_path(err, "[%zu]", i);
        value_list_push(&list, item);
    }
    *out = value_list_end(&list);
    out->at = v->at;
    return true;
}

/* One with the key `artifact` is an artifact: taken as plain data, a mistyped one would reach the step as a text. */
static bool check_map(const struct value *v, struct value *out, struct err *err)
{
    if (v->type != VALUE_MAP) return expected(err, v, "a map");
    *out = *v;
    if (!value_get(v, "artifact")) return true;
    const struct value *folder = value_get(v, "folder");
    if (!value_is_artifact(v)) {
        err_set(err, ERR_INVALID, "the map has the key 'artifact', but is no artifact");
        err_at(err, v->at, 0);
        return err_hint(err, "write {artifact: TYPE, digest: \"sha256:<64 hex digits>\"}");
    }
    if (folder == NULL || folder->type == VALUE_BOOL) return true;
    expected(err, folder, "true or false as an artifact's 'folder'");
    return err_hint(err, "write folder: true for a packed folder, and leave it out for a file");
}

/* The name of a file below the project's folder of secrets. */
static bool is_entry(struct str name)
{
    struct str piece;
    while (str_split(&name, '/', &piece))
        if (piece.n == 0 || str_is(piece, ".") || str_is(piece, "..")) return false;
    return true;
}

bool secret_read(const struct value *v, struct secret_ref *out, struct err *err)
{
    static const char *const sources[] = {"", "env", "file", "kubernetes"};
    const struct value *inner = value_get(v, "secret");
    bool shape = inner && v->u.map.n == 1 && inner->type == VALUE_MAP && inner->u.map.n == 1 &&
                 inner->u.map.entries[0].value.type == VALUE_STRING && inner->u.map.entries[0].value.u.s.n;
    for (int i = SECRET_ENV; shape && i <= SECRET_KUBERNETES; i++) {
        if (!str_is(inner->u.map.entries[0].key, sources[i])) continue;
        struct str name = inner->u.map.entries[0].value.u.s;
        size_t slash;
        if (i != SECRET_KUBERNETES && !is_entry(name)) {
            err_set(err, ERR_INVALID, "'%.*s' cannot be the name of a secret", STR_ARG(str_sub(name, 0, 80)));
            return err_at(err, inner->u.map.entries[0].value.at, 0);
        }
        if (i == SECRET_KUBERNETES && (!str_find(name, STR("/"), &slash) || slash == 0 || slash + 1 == name.n)) break;
        *out = (struct secret_ref){(enum secret_source)i, name};
        return true;
    }
    err_set(err, ERR_INVALID, "expected a reference to a secret, never the secret itself");
    err_at(err, v->at, 0);
    return err_hint(err, "write {secret: {env: NAME}}, {secret: {file: NAME}} or {secret: {kubernetes: NAME/KEY}}");
}

static bool out_of_range(const struct param *p, const struct value *v, const char *what, double d, struct err *err)
{
    if (p->has_min && d < p->min)
        err_set(err, ERR_INVALID, "%s %.15g is below the minimum %.15g", what, d, p->min);
    else if (p->has_max && d > p->max)
        err_set(err, ERR_INVALID, "%s %.15g is above the maximum %.15g", what, d, p->max);
    else
        return false;
    err_at(err, v->at, 0);
    return true;
}

static bool look_up_text(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                         bool *absent, struct err *err)
{
    (void)a;
    (void)ref;
    (void)err;
    *out = *(const struct value *)ctx;
    *used = 0;
    *absent = false;
    return true;
}

/* The expression language's own matching: one engine with one set of limits. */
static bool search(struct arena *a, struct str pattern, const struct value *v, uint64_t *spent, bool *found,
                   struct err *err)
{
    BUF_AUTO source;
    const struct expr *e;
    struct value result, text = *v, quoted = value_string(pattern);
    uint64_t most = *spent + EXPR_MAX_COST;
    struct expr_env env = {
        .ctx = &text, .lookup = look_up_text, .max_cost = most < PARAMS_MAX_COST ? most : PARAMS_MAX_COST};
    env.spent = spent;
    buf_init(&source, 0);
    buf_c(&source, "text.matches(");
    value_json(&source, &quoted, false);
    buf_c(&source, ")");
    if (!expr_parse(a, arena_str(a, buf_view(&source)), &e, err) || !expr_eval(e, &env, a, &result, err)) {
        err_hint(err, "%s", ""); /* it speaks of the expression language's quotes */
        return err_at(err, v->at, 0);
    }
    *found = result.type == VALUE_BOOL && result.u.b;
    return true;
}

static bool matches(struct arena *a, struct str pattern, const struct value *v, uint64_t *spent, struct err *err)
{
    bool found;
    if (!search(a, arena_printf(a, "\\A(?:%.*s)\\z", STR_ARG(pattern)), v, spent, &found, err)) return false;
    if (found) return true;
    err_set(err, ERR_INVALID, "'%.*s' does not match the pattern %.*s", STR_ARG(str_sub(v->u.s, 0, 80)),
            STR_ARG(str_sub(pattern, 0, 100)));
    return err_at(err, v->at, 0);
}

bool param_pattern_check(struct arena *a, struct str pattern, uint64_t *spent, struct err *err)
{
    struct value empty = value_string(STR(""));
    bool found;
    return search(a, pattern, &empty, spent, &found, err) &&
           search(a, arena_printf(a, "\\A(?:%.*s)\\z", STR_ARG(pattern)), &empty, spent, &found, err);
}

static bool check_limits(struct arena *a, const struct param *p, const struct value *v, uint64_t *spent,
                         struct err *err)
{
    switch (v->type) {
    case VALUE_INT: return !out_of_range(p, v, "the number", (double)v->u.i, err);
    case VALUE_DOUBLE: return !out_of_range(p, v, "the number", v->u.d, err);
    case VALUE_LIST: return !out_of_range(p, v, "the length", (double)v->u.list.n, err);
    case VALUE_STRING:
        if (p->type == PARAM_ENUM) return true;
        if (out_of_range(p, v, "the length", (double)utf8_count(v->u.s), err)) return false;
        return p->pattern.n == 0 || matches(a, p->pattern, v, spent, err);
    case VALUE_NULL:
    case VALUE_BOOL:
    case VALUE_MAP: break;
    }
    return true;
}

static bool to_type(struct arena *a, const struct param *p, const struct value *v, struct value *out, struct err *err)
{
    struct secret_ref ref;
    switch (p->type) {
    case PARAM_STRING: return check_string(v, out, err);
    case PARAM_INT: return coerce_int(v, out, err);
    case PARAM_FLOAT: return coerce_float(v, out, err);
    case PARAM_BOOL: return coerce_bool(v, out, err);
    case PARAM_LIST: return check_list(a, p, v, out, err);
    case PARAM_ENUM: return check_enum(a, p, v, out, err);
    case PARAM_MAP: return check_map(v, out, err);
    case PARAM_SECRET: *out = *v; return secret_read(v, &ref, err);
    }
    return err_set(err, ERR_INTERNAL, "a param of no type");
}

bool param_check(struct arena *a, const struct param *p, const struct value *v, uint64_t *spent, struct value *out,
                 struct err *err)
{
    struct value typed = value_null();
    if (!to_type(a, p, v, &typed, err) || !check_limits(a, p, &typed, spent, err)) return false;
    *out = typed;
    return true;
}

static void unknown(const struct param *params, size_t n, const struct value_entry *entry, struct arena *a,
                    struct err_list *errors)
{
    bool full = err_list_full(errors);
    struct str *names = arena_array(a, struct str, full ? 0 : n);
    for (size_t i = 0; i < n && !full; i++)
        names[i] = params[i].name;
    struct err *e = err_list_add(errors, ERR_INVALID, entry->key_at, "there is no param '%.*s'",
                                 STR_ARG(str_sub(entry->key, 0, 80)));
    err_path(e, "params.%.*s", STR_ARG(str_sub(entry->key, 0, 80)));
    if (n && !full)
        spec_suggest(e, entry->key, names, n);
    else if (n == 0)
        err_hint(e, "the pipeline has no params");
}

static void all_known(const struct param *params, size_t n, const struct value *given, struct arena *a,
                      struct err_list *errors)
{
    MAP_AUTO names;
    map_init(&names, (uint64_t)(uintptr_t)given); /* hostile names would have to know the address */
    for (size_t i = 0; i < n; i++)
        map_put(&names, params[i].name, i, NULL);
    for (size_t i = 0; i < given->u.map.n && !err_list_full(errors); i++)
        if (!map_get(&names, given->u.map.entries[i].key, &(uint64_t){0}))
            unknown(params, n, &given->u.map.entries[i], a, errors);
}

static void bind_one(struct arena *a, const struct param *p, const struct value *given, uint64_t *spent,
                     struct value *out, struct err_list *errors)
{
    struct err err;
    *out = value_null();
    if (given && !(given->type == VALUE_NULL && p->optional)) {
        if (param_check(a, p, given, spent, out, &err)) return;
        char within[sizeof err.path];
        snprintf(within, sizeof within, "%s", err.path);
        err_path(&err, "params.%.*s%.100s", STR_ARG(p->name), within);
        *err_list_next(errors) = err;
        return;
    }
    if (p->has_default) {
        *out = p->default_value;
        return;
    }
    if (p->optional) return;
    struct err *e = err_list_add(errors, ERR_INVALID, (struct pos){0, 0}, "the param is missing, and has no default");
    err_path(e, "params.%.*s", STR_ARG(p->name));
    err_hint(e, "give %s %s", strchr("aeiou", param_type_names[p->type][0]) ? "an" : "a", param_type_names[p->type]);
}

bool params_bind(struct arena *a, const struct param *params, size_t n, const struct value *given,
                 struct value *out_map, struct err_list *errors)
{
    size_t before = errors->total;
    struct value_map_builder map;
    if (given && given->type == VALUE_NULL) given = NULL;
    if (given && given->type != VALUE_MAP) {
        err_path(err_list_add(errors, ERR_INVALID, given->at, "expected a map of params"), "params");
        return false;
    }
    uint64_t spent = 0;
    if (given && given->u.map.n > 0) all_known(params, n, given, a, errors);
    value_map_begin(&map, a);
    for (size_t i = 0; i < n && !err_list_full(errors); i++) {
        struct value v;
        bind_one(a, &params[i], value_find(given, params[i].name), &spent, &v, errors);
        value_map_put(&map, params[i].name, v);
    }
    if (errors->total != before) return false;
    *out_map = value_map_end(&map);
    return true;
}
