/* Reading declarations: see spec_params.h. */
#include "engine/flow/spec_params.h"

#include <string.h>

#include "engine/flow/params.h"
#include "engine/flow/spec_kube.h"

/* ---- params ---- */

static void read_type(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    size_t i = spec_word(s, at, v, param_type_names, PARAM_TYPES);
    if (i != SIZE_MAX) *(enum param_type *)out = (enum param_type)i;
}

/* name: TEXT is meant as a default as often as it is a misspelled type. */
static void hint_default(struct spec *s, const struct value *v, size_t before)
{
    if (s->errors->n != before + 1) return;
    struct err *e = &s->errors->items[before];
    if (v->type == VALUE_STRING && strncmp(e->hint, "known", 5) == 0)
        err_hint(e, "a type: string, int, float, bool, list, map, enum, secret; a default is {default: %.*s}",
                 STR_ARG(str_sub(v->u.s, 0, 60)));
}

struct param_draft {
    struct param p;
    const struct value *type, *items, *default_value, *values;
    const struct value *min, *max;
};

static const struct spec_field param_fields[] = {
    {"type", spec_any, offsetof(struct param_draft, type), 0, false},
    {"default", spec_any, offsetof(struct param_draft, default_value), 0, false},
    {"optional", spec_bool, offsetof(struct param_draft, p.optional), 0, false},
    {"items", spec_any, offsetof(struct param_draft, items), 0, false},
    {"values", spec_any, offsetof(struct param_draft, values), 0, false},
    {"min", spec_any, offsetof(struct param_draft, min), 0, false},
    {"max", spec_any, offsetof(struct param_draft, max), 0, false},
    {"pattern", spec_str, offsetof(struct param_draft, p.pattern), 0, false},
    {"description", spec_str, offsetof(struct param_draft, p.description), 0, false},
};

static enum param_type type_of_value(const struct value *v)
{
    static const enum param_type types[] = {PARAM_STRING, PARAM_BOOL, PARAM_INT, PARAM_FLOAT,
                                            PARAM_STRING, PARAM_LIST, PARAM_MAP};
    return types[v->type];
}

static struct spec_at below(const struct spec_at *at, const char *key)
{
    return (struct spec_at){at, str_of(key), SIZE_MAX, {0, 0}};
}

static void finish_type(struct spec *s, const struct spec_at *at, const struct value *v, struct param_draft *d)
{
    struct spec_at type_at = below(at, "type"), items_at = below(at, "items"), values_at = below(at, "values");
    if (d->type)
        read_type(s, &type_at, d->type, &d->p.type);
    else if (d->values)
        d->p.type = PARAM_ENUM;
    else if (d->default_value && d->default_value->type != VALUE_NULL)
        d->p.type = type_of_value(d->default_value);
    else if (v->type == VALUE_MAP)
        spec_error(s, at, v, "the param has neither a type nor a default to take it from");
    d->p.any_items = true;
    if (d->items) {
        d->p.any_items = false;
        read_type(s, &items_at, d->items, &d->p.items);
        if (d->p.type != PARAM_LIST) spec_error(s, &items_at, d->items, "only a list has items");
        if (d->p.items == PARAM_SECRET || d->p.items == PARAM_ENUM)
            spec_error(s, &items_at, d->items, "items cannot be of this type");
    }
    if (d->p.type != PARAM_ENUM) {
        if (d->values) spec_error(s, &values_at, d->values, "only an enum has values");
    } else if (!d->values) {
        spec_error(s, at, v, "an enum needs its 'values'");
    } else if (d->values->type != VALUE_LIST || d->values->u.list.n == 0) {
        spec_expected(s, &values_at, d->values, "a list of values");
    } else {
        d->p.values = d->values->u.list.items;
        d->p.n_values = d->values->u.list.n;
    }
}

static void finish_limits(struct spec *s, const struct spec_at *at, const struct value *v, struct param_draft *d)
{
    struct spec_at min_at = below(at, "min"), max_at = below(at, "max");
    bool limited =
        d->p.type == PARAM_INT || d->p.type == PARAM_FLOAT || d->p.type == PARAM_STRING || d->p.type == PARAM_LIST;
    if (d->min) spec_double(s, &min_at, d->min, &d->p.min);
    if (d->max) spec_double(s, &max_at, d->max, &d->p.max);
    d->p.has_min = d->min != NULL;
    d->p.has_max = d->max != NULL;
    if (!limited && d->min) spec_error(s, &min_at, d->min, "a %s has no minimum", param_type_names[d->p.type]);
    if (!limited && d->max) spec_error(s, &max_at, d->max, "a %s has no maximum", param_type_names[d->p.type]);
    if (d->min && d->max && d->p.min > d->p.max) spec_error(s, &max_at, d->max, "the maximum is below the minimum");
    if (d->p.pattern.n == 0) return;
    struct err err;
    struct spec_at pattern_at = below(at, "pattern");
    if (d->p.type != PARAM_STRING)
        spec_error(s, &pattern_at, value_get(v, "pattern"), "only a string has a pattern");
    else if (!param_pattern_check(s->arena, d->p.pattern, &s->spent, &err)) {
        spec_adopt(s, &pattern_at, value_get(v, "pattern"), &err);
        d->p.pattern.n = 0;
    }
}

static void finish_default(struct spec *s, const struct spec_at *at, struct param_draft *d)
{
    struct err err;
    struct spec_at default_at = below(at, "default");
    const struct value *v = d->default_value;
    if (!v) return;
    if (v->type == VALUE_NULL) {
        d->p.optional = true;
        return;
    }
    d->p.optional = d->p.has_default = true;
    if (param_check(s->arena, &d->p, v, &s->spent, &d->p.default_value, &err)) {
        struct secret_ref ref;
        if (d->p.type == PARAM_SECRET && secret_read(v, &ref, &err) && ref.source == SECRET_KUBERNETES)
            spec_kube_secret(s, &default_at, v, ref.name);
        return;
    }
    spec_adopt(s, &default_at, v, &err);
    d->p.default_value = *v;
}

/* What depends on something that is wrong is not looked at. */
static void finish(struct spec *s, const struct spec_at *at, const struct value *v, struct param_draft *d)
{
    size_t before = s->errors->total;
    finish_type(s, at, v, d);
    if (s->errors->total != before) return;
    finish_limits(s, at, v, d);
    if (s->errors->total != before) {
        d->p.has_min = d->p.has_max = false;
        d->p.pattern.n = 0;
    }
    finish_default(s, at, d);
}

static void one_param(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                      size_t i)
{
    struct param_draft d = {.p = {.name = key}};
    struct spec_param_list *list = out;
    size_t before = s->errors->total;
    spec_check_name(s, at, key, NULL, "a param");
    if (v->type == VALUE_STRING) {
        d.type = v; /* name: TYPE */
    } else if (v->type != VALUE_MAP) {
        err_hint(spec_expected(s, at, v, "a declaration"), "a type, or a map: {default: %s}, {type: int, min: 1}",
                 v->type == VALUE_LIST ? "[…]" : "3");
    } else {
        spec_fields(s, at, v, param_fields, SPEC_COUNT(param_fields), 0, "a param", &d);
    }
    size_t untyped = s->errors->n;
    if (d.type || v->type == VALUE_MAP) finish(s, at, v, &d);
    if (d.type == v) hint_default(s, v, untyped);
    if (s->errors->total != before) { /* then it may be anything */
        d.p.optional = true;
        d.p.has_default = false;
    }
    list->items[i] = d.p;
}

/* A map, each entry of which becomes one item; reports what is no map. */
static bool counted(struct spec *s, const struct spec_at *at, const struct value *v, size_t *n)
{
    if (v->type != VALUE_MAP) {
        spec_expected(s, at, v, "a map");
        return false;
    }
    *n = v->u.map.n;
    return true;
}

void spec_params(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_param_list *list = out;
    if (!counted(s, at, v, &list->n)) return;
    list->items = arena_array(s->arena, struct param, list->n);
    for (size_t i = 0; i < list->n; i++)
        list->items[i].name = v->u.map.entries[i].key;
    spec_each(s, at, v, one_param, list);
}

/* ---- inputs ---- */

struct input_draft {
    const struct value *from;
    bool optional;
};

static const struct spec_field input_fields[] = {
    {"from", spec_any, offsetof(struct input_draft, from), 0, true},
    {"optional", spec_bool, offsetof(struct input_draft, optional), 0, false},
};

/* A map is {from, optional} when it says `from`, else a value of its own. */
static void one_input(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                      size_t i)
{
    struct spec_input_list *list = out;
    struct input_draft d = {.from = v};
    list->items[i].name = key;
    spec_check_name(s, at, key, NULL, "an input");
    if (value_get(v, "from")) spec_fields(s, at, v, input_fields, SPEC_COUNT(input_fields), 0, "an input", &d);
    list->items[i].optional = d.optional;
    spec_typed(s, at, d.from, WHERE_INPUT, &list->items[i].value);
}

void spec_inputs(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_input_list *list = out;
    if (!counted(s, at, v, &list->n)) return;
    list->items = arena_array(s->arena, struct input, list->n);
    spec_each(s, at, v, one_input, list);
}

/* ---- outputs ---- */

struct output_draft {
    const struct value *type, *artifact;
    struct str path;
    bool optional;
};

static const struct spec_field output_fields[] = {
    {"artifact", spec_any, offsetof(struct output_draft, artifact), 0, false},
    {"type", spec_any, offsetof(struct output_draft, type), 0, false},
    {"path", spec_path_in, offsetof(struct output_draft, path), 0, false},
    {"optional", spec_bool, offsetof(struct output_draft, optional), 0, false},
};

/* Files are what most outputs are, and their word is not among the types. */
static void read_value_type(struct spec *s, const struct spec_at *at, const struct value *v, enum param_type *out)
{
    size_t before = s->errors->n;
    read_type(s, at, v, out);
    if (s->errors->n == before) {
        if (*out == PARAM_SECRET || *out == PARAM_ENUM) spec_error(s, at, v, "an output cannot be of this type");
        return;
    }
    struct err *e = &s->errors->items[before];
    if (strncmp(e->hint, "did you", 7) != 0)
        err_hint(e, "string, int, float, bool, list or map; a file or folder is {artifact: dataset, path: …}");
}

static void read_output_type(struct spec *s, const struct spec_at *at, const struct output_draft *d, struct output *o)
{
    struct spec_at type_at = below(at, "type"), artifact_at = below(at, "artifact");
    if (d->artifact) {
        o->kind = IO_ARTIFACT;
        spec_name(s, &artifact_at, d->artifact, &o->artifact_type);
        if (d->type) spec_error(s, &type_at, d->type, "an output is an artifact or has a type, not both");
        return;
    }
    if (d->type) read_value_type(s, &type_at, d->type, &o->type);
}

static void one_output(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                       size_t i)
{
    struct spec_output_list *list = out;
    struct output *o = &list->items[i];
    struct output_draft d = {0};
    size_t before = s->errors->total;
    *o = (struct output){.name = key, .type = PARAM_STRING, .optional = true};
    spec_check_name(s, at, key, NULL, "an output");
    if (v->type == VALUE_STRING)
        read_value_type(s, at, v, &o->type); /* name: TYPE */
    else if (!spec_fields(s, at, v, output_fields, SPEC_COUNT(output_fields), 0, "an output", &d))
        return;
    if (v->type == VALUE_MAP && !d.type && !d.artifact)
        err_hint(spec_error(s, at, v, "an output says what it is"),
                 "{artifact: dataset, path: …} or {type: float, path: …}");
    read_output_type(s, at, &d, o);
    if (o->kind == IO_PARAM && str_is(d.path, ".")) {
        struct spec_at path_at = below(at, "path");
        spec_error(s, &path_at, value_get(v, "path"), "a value is read from a file, and this is the working directory");
    }
    o->optional = d.optional || s->errors->total != before; /* what is wrong may be anything */
    o->path = d.path.n ? d.path : arena_printf(s->arena, "outputs/%.*s", STR_ARG(key));
}

void spec_outputs(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_output_list *list = out;
    if (!counted(s, at, v, &list->n)) return;
    list->items = arena_array(s->arena, struct output, list->n);
    for (size_t i = 0; i < list->n; i++)
        list->items[i].name = v->u.map.entries[i].key;
    spec_each(s, at, v, one_output, list);
}

/* ---- env and headers ---- */

static bool env_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i && c >= '0' && c <= '9')) return false;
    }
    return s.n > 0 && s.n <= 255;
}

static void check_env_name(struct spec *s, const struct spec_at *at, struct str key)
{
    if (!env_name(key))
        err_hint(spec_error(s, at, NULL, "this cannot be the name of an environment variable"),
                 "letters, digits and '_', beginning with no digit");
    else if (str_starts(key, "MILLRACE_"))
        spec_error(s, at, NULL, "names that begin with MILLRACE_ are set by the engine");
}

struct secret_probe {
    struct spec *spec;
    bool found;
};

static bool probe_secret(void *ctx, const struct expr_ref *ref)
{
    struct secret_probe *p = ctx;
    if (!str_is(ref->root, "params") || ref->n != 1) return true;
    p->found |= map_get(&p->spec->secrets, ref->fields[0], &(uint64_t){0});
    return true;
}

static bool reads_secret(struct spec *s, const struct expr_template *t)
{
    struct secret_probe probe = {.spec = s};
    if (t->single) expr_template_refs(t, probe_secret, &probe);
    return probe.found;
}

static void put_var(struct spec *s, const struct spec_at *at, struct str key, const struct value *v,
                    struct spec_env_list *list, enum spec_where where)
{
    struct err err;
    uint64_t place;
    bool again = list->inherited > 0 && map_get(&s->default_env, key, &place); /* the step's own beats the default */
    struct env_var *var = &list->items[again ? place : list->n++];
    *var = (struct env_var){.name = key};
    if (v->type == VALUE_MAP) {
        if (!secret_read(v, &var->secret, &err))
            spec_adopt(s, at, v, &err);
        else if (var->secret.source == SECRET_KUBERNETES)
            spec_kube_secret(s, at, v, var->secret.name);
    } else {
        var->secret_param = spec_template(s, at, v, where, &var->value) && reads_secret(s, &var->value);
    }
}

static void one_env(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                    size_t i)
{
    (void)i;
    check_env_name(s, at, key);
    put_var(s, at, key, v, out, WHERE_ENV);
}

static void one_header(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                       size_t i)
{
    (void)i;
    bool good = key.n > 0 && key.n < 100;
    for (size_t k = 0; k < key.n; k++) {
        char c = key.p[k];
        good &= c > 0x20 && c < 0x7F && !strchr("()<>@,;:\\\"/[]?={}", c);
    }
    if (!good) spec_error(s, at, NULL, "this cannot be the name of a header");
    put_var(s, at, key, v, out, WHERE_HEADER);
}

static void vars(struct spec *s, const struct spec_at *at, const struct value *v, struct spec_env_list *list,
                 spec_each_fn *one)
{
    size_t n;
    if (!counted(s, at, v, &n)) return;
    struct env_var *items = arena_array(s->arena, struct env_var, list->n + n); /* the defaults' own stay as they are */
    if (list->n) memcpy(items, list->items, list->n * sizeof *items);
    list->items = items;
    list->inherited = list->n;
    spec_each(s, at, v, one, list);
    for (size_t i = 0; s->defaults && i < list->n; i++)
        map_put(&s->default_env, list->items[i].name, i, NULL);
}

void spec_env(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    vars(s, at, v, out, one_env);
}

void spec_headers(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    vars(s, at, v, out, one_header);
}
