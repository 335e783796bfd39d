/* Which names an expression may read in its place, and of what type they are: the static picture of a run. */
#include "engine/flow/check_scope.h"

#include <string.h>

static const enum expr_type param_types[] = {EXPR_STRING, EXPR_INT, EXPR_DOUBLE, EXPR_BOOL,
                                             EXPR_LIST,   EXPR_MAP, EXPR_ANY,    EXPR_MAP};

static bool at_field(const struct expr_ref *ref, size_t i, struct err *err)
{
    return err_at(err, ref->spans[i + 1].at, ref->spans[i + 1].len);
}

/* The path ref goes on behind a scalar, which has no fields. */
static bool no_fields(const struct expr_ref *ref, size_t behind, const char *what, struct err *err)
{
    err_set(err, ERR_INVALID, "%s has no field '%.*s'", what, STR_ARG(str_sub(ref->fields[behind], 0, 80)));
    return at_field(ref, behind, err);
}

/* The error will only be counted: what could be meant, of many names, is not worth looking for. */
static bool unread(const struct check_scope *sc)
{
    return err_list_full(sc->c->spec.errors);
}

/* A field that names things is no map: that has been told, and nothing is said of the names. */
static bool unreadable(const struct compile *c, uint32_t node, const char *field)
{
    const struct value *v = compile_field(c, node, field);
    return v && v->type != VALUE_MAP;
}

/* ---- params ---- */

static bool type_of_param(struct check_scope *sc, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    struct compile *c = sc->c;
    *out = EXPR_MAP;
    if (ref->n == 0) return true;
    size_t place = compile_param(c, ref->fields[0]);
    if (place < c->n_params) {
        const struct param *p = &c->params[place];
        if (p->type == PARAM_SECRET && !sc->secrets) {
            err_set(err, ERR_INVALID,
                    "params.%.*s is a secret, which stands as the whole of a variable, header or param only",
                    STR_ARG(p->name));
            err_hint(err, "env: {NAME: \"${{ params.%.*s }}\"}", STR_ARG(p->name));
            return at_field(ref, 0, err);
        }
        *out = p->optional && !p->has_default ? EXPR_ANY : param_types[p->type];
        if (ref->n == 1) return true;
        if (*out == EXPR_MAP || *out == EXPR_ANY) {
            *out = EXPR_ANY;
            return true;
        }
        return false; /* the checker says what has no fields */
    }
    *out = EXPR_ANY;
    if (c->any_params) return true;
    err_set(err, ERR_INVALID, "there is no param '%.*s'", STR_ARG(str_sub(ref->fields[0], 0, 80)));
    if (unread(sc)) return false;
    struct str *names = arena_array(c->spec.arena, struct str, c->n_params);
    for (size_t i = 0; i < c->n_params; i++)
        names[i] = c->params[i].name;
    if (c->n_params)
        spec_suggest(err, ref->fields[0], names, c->n_params);
    else
        err_hint(err, "declare it: params: {%.*s: {default: …}}", STR_ARG(str_sub(ref->fields[0], 0, 80)));
    return at_field(ref, 0, err);
}

/* ---- steps ---- */

/* Which artifacts have a field: those of a step's outputs, imported ones, those that are inputs. */
enum { MADE = 1, IMPORTED = 2, PLACED = 4 };

static bool type_of_artifact(const struct expr_ref *ref, size_t behind, unsigned which, enum expr_type *out,
                             struct err *err)
{
    static const struct {
        struct str name;
        enum expr_type type;
        unsigned which;
    } fields[] = {{STR_INIT("artifact"), EXPR_STRING, MADE | IMPORTED},
                  {STR_INIT("digest"), EXPR_STRING, MADE | IMPORTED},
                  {STR_INIT("size"), EXPR_INT, MADE | IMPORTED},
                  {STR_INIT("name"), EXPR_STRING, MADE},
                  {STR_INIT("uri"), EXPR_STRING, IMPORTED},
                  {STR_INIT("path"), EXPR_STRING, PLACED}};
    struct str names[SPEC_COUNT(fields)];
    size_t n = 0;
    for (size_t i = 0; i < SPEC_COUNT(fields); i++) {
        if (!(fields[i].which & which)) continue;
        names[n++] = fields[i].name;
        if (!str_eq(fields[i].name, ref->fields[behind])) continue;
        *out = fields[i].type;
        return ref->n == behind + 1 || no_fields(ref, behind + 1, "this", err);
    }
    no_fields(ref, behind, which & IMPORTED ? "an imported artifact" : "an artifact", err);
    if (!(which & PLACED) && str_is(ref->fields[behind], "path"))
        return err_hint(err, "take it as an input, and use inputs.NAME.path");
    spec_suggest(err, ref->fields[behind], names, n);
    return false;
}

static unsigned made_how(const struct node *node)
{
    return node->verb == VERB_IMPORT ? IMPORTED : MADE;
}

static bool unknown_output(struct check_scope *sc, const struct expr_ref *ref, const struct node *node, struct err *err)
{
    const struct plan *sub = sc->c->subs[node - sc->c->nodes];
    size_t n = sub ? sub->graphs[0].n_outputs : node->n_outputs;
    if (unread(sc)) return err_set(err, ERR_INVALID, "no such output");
    struct str *names = arena_array(sc->c->spec.arena, struct str, n);
    for (size_t i = 0; i < n; i++)
        names[i] = sub ? sub->graphs[0].outputs[i].name : node->outputs[i].name;
    err_set(err, ERR_INVALID, "step '%.*s' has no output '%.*s'", STR_ARG(node->name),
            STR_ARG(str_sub(ref->fields[2], 0, 80)));
    if (n)
        spec_suggest(err, ref->fields[2], names, n);
    else
        err_hint(err, "it declares no outputs");
    return at_field(ref, 2, err);
}

/* steps.X.outputs.Y… of a step that is no loop. */
static bool type_of_output(struct check_scope *sc, const struct expr_ref *ref, const struct node *node,
                           enum expr_type *out, struct err *err)
{
    const struct plan *sub = sc->c->subs[node - sc->c->nodes];
    *out = EXPR_ANY;
    size_t place = compile_output(sc->c, (uint32_t)(node - sc->c->nodes), ref->fields[2]);
    if (node->verb == VERB_PIPELINE) /* one that was not found has been reported */
        return !sub || place != SIZE_MAX || unknown_output(sc, ref, node, err);
    if (place < node->n_outputs) {
        const struct output *o = &node->outputs[place];
        *out = o->kind == IO_ARTIFACT ? EXPR_MAP : param_types[o->type];
        if (o->optional) *out = EXPR_ANY;
        if (ref->n == 3) return true;
        if (o->kind == IO_ARTIFACT) return type_of_artifact(ref, 3, made_how(node), out, err);
        if (*out == EXPR_MAP || *out == EXPR_ANY) {
            *out = EXPR_ANY;
            return true;
        }
        return false;
    }
    if (unreadable(sc->c, (uint32_t)(node - sc->c->nodes), "outputs")) return true;
    return unknown_output(sc, ref, node, err);
}

static bool wrong_step_field(const struct expr_ref *ref, const struct node *node, struct err *err)
{
    static const struct str names[] = {STR_INIT("outputs"), STR_INIT("value"), STR_INIT("status"), STR_INIT("error")};
    err_set(err, ERR_INVALID, "a step has no field '%.*s'", STR_ARG(str_sub(ref->fields[1], 0, 80)));
    for (size_t i = 0; i < node->n_outputs; i++) {
        if (!str_eq(node->outputs[i].name, ref->fields[1])) continue;
        err_hint(err, "did you mean 'outputs.%.*s'?", STR_ARG(ref->fields[1]));
        return at_field(ref, 1, err);
    }
    spec_suggest(err, ref->fields[1], names, SPEC_COUNT(names));
    return at_field(ref, 1, err);
}

static bool type_of_step_field(struct check_scope *sc, const struct expr_ref *ref, const struct node *node,
                               enum expr_type *out, struct err *err)
{
    struct str field = ref->fields[1];
    bool computed = node->verb == VERB_EXPR || node->verb == VERB_NOOP;
    *out = EXPR_STRING;
    if (str_is(field, "status") || str_is(field, "error")) return ref->n == 2 || no_fields(ref, 2, "a string", err);
    if (!str_is(field, "outputs") && !str_is(field, "value")) return wrong_step_field(ref, node, err);
    if (str_is(field, "value") != computed) {
        err_set(err, ERR_INVALID,
                computed ? "step '%.*s' has a value, no outputs" : "step '%.*s' has outputs, no value",
                STR_ARG(node->name));
        err_hint(err, "write steps.%.*s.%s", STR_ARG(node->name), computed ? "value" : "outputs");
        return at_field(ref, 1, err);
    }
    if (node->loop) {
        *out = EXPR_LIST;
        if (ref->n == 2) return true;
        err_set(err, ERR_INVALID, "step '%.*s' is a loop: its %.*s are a list, one for each item", STR_ARG(node->name),
                STR_ARG(field));
        if (computed)
            err_hint(err, "take one by index, or .map(x, …) over them");
        else
            err_hint(err, "steps.%.*s.outputs.map(o, o.%.*s)", STR_ARG(node->name), STR_ARG(ref->fields[2]));
        return at_field(ref, 2, err);
    }
    *out = computed ? EXPR_ANY : EXPR_MAP;
    return computed || ref->n == 2 || type_of_output(sc, ref, node, out, err);
}

static bool unknown_step(struct check_scope *sc, const struct expr_ref *ref, struct err *err)
{
    const struct compile *c = sc->c;
    bool deep = ref->n > 1;
    err_set(err, ERR_INVALID, "%.*s refers to steps.%.*s, which does not exist", STR_ARG(sc->use->path),
            STR_ARG(str_sub(ref->fields[0], 0, 80)));
    if (unread(sc)) return false;
    spec_suggest(err, ref->fields[0], c->names, c->n_steps);
    for (uint32_t i = 0; i < c->n_nodes && !deep; i++) { /* steps.my-step: the dash was read as a minus */
        struct str name = c->names[i];
        if (name.n > ref->fields[0].n + 1 && str_eq(str_sub(name, 0, ref->fields[0].n), ref->fields[0]) &&
            name.p[ref->fields[0].n] == '-')
            err_hint(err, "'-' subtracts here: write steps['%.*s']", STR_ARG(name));
    }
    return at_field(ref, 0, err);
}

static bool type_of_step(struct check_scope *sc, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    const struct compile *c = sc->c;
    uint64_t i;
    *out = EXPR_MAP;
    if (ref->n == 0) {
        err_set(err, ERR_INVALID, "'steps' alone is no value: name the step");
        return err_hint(err, "steps.NAME.outputs.OUTPUT");
    }
    if (!map_get(&c->by_name, ref->fields[0], &i)) return unknown_step(sc, ref, err);
    const struct node *node = &c->nodes[i];
    if (i == sc->use->node) {
        err_set(err, ERR_INVALID, "the step refers to itself");
        return at_field(ref, 0, err);
    }
    if (i >= c->n_steps && (sc->use->node < c->n_steps || sc->use->node == UINT32_MAX)) {
        err_set(err, ERR_INVALID, "'%.*s' is a step of onExit, which runs when everything else has ended",
                STR_ARG(node->name));
        return at_field(ref, 0, err);
    }
    if (ref->n == 1 || c->broken[i]) {
        *out = ref->n == 1 ? EXPR_MAP : EXPR_ANY;
        return true;
    }
    return type_of_step_field(sc, ref, node, out, err);
}

/* ---- inputs, item, index, run ---- */

/* Does the input hold an artifact, and which? Told by the reference it consists of. */
struct artifact_probe {
    struct compile *c;
    unsigned which; /* 0 = none */
};

static bool probe_artifact(void *ctx, const struct expr_ref *ref)
{
    struct artifact_probe *p = ctx;
    uint64_t i;
    if (!str_is(ref->root, "steps") || ref->n != 3 || !map_get(&p->c->by_name, ref->fields[0], &i)) return true;
    const struct node *node = &p->c->nodes[i];
    size_t k = compile_output(p->c, (uint32_t)i, ref->fields[2]);
    if (node->loop || node->verb == VERB_PIPELINE || k >= node->n_outputs) return true;
    if (node->outputs[k].kind == IO_ARTIFACT) p->which = made_how(node);
    return true;
}

/* 0 when it holds none for sure. */
static unsigned probe_input(struct compile *c, const struct input *input)
{
    struct artifact_probe probe = {.c = c};
    if (!input->value.single) return 0;
    struct str text = str_trim(input->value.parts[0].text);
    if (!str_starts(text, "steps.") && !str_starts(text, "steps[")) return 0;
    expr_template_refs(&input->value, probe_artifact, &probe);
    size_t at;
    return str_find(text, STR(" "), &at) || str_find(text, STR("("), &at) ? 0 : probe.which;
}

/* Many may refer to one input: it is looked at once. */
static unsigned input_artifact(struct compile *c, uint32_t node, size_t i)
{
    unsigned char **kinds = &compile_index(c, node)->kinds;
    if (!*kinds) *kinds = arena_array(c->spec.arena, unsigned char, c->nodes[node].n_inputs);
    if (!(*kinds)[i]) (*kinds)[i] = (unsigned char)(1 + probe_input(c, &c->nodes[node].inputs[i]));
    return (*kinds)[i] - 1u;
}

static bool type_of_input(struct check_scope *sc, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    struct compile *c = sc->c;
    const struct node *node = &c->nodes[sc->use->node];
    *out = EXPR_MAP;
    if (ref->n == 0) return true;
    size_t place = compile_input(c, sc->use->node, ref->fields[0]);
    if (place < node->n_inputs) {
        unsigned which = node->inputs[place].optional ? 0 : input_artifact(c, sc->use->node, place);
        *out = which ? EXPR_MAP : EXPR_ANY;
        if (ref->n == 1 || !which) return true;
        return type_of_artifact(ref, 1, which | PLACED, out, err);
    }
    *out = EXPR_ANY;
    if (unreadable(c, sc->use->node, "inputs")) return true;
    err_set(err, ERR_INVALID, "the step has no input '%.*s'", STR_ARG(str_sub(ref->fields[0], 0, 80)));
    if (unread(sc)) return false;
    struct str *names = arena_array(c->spec.arena, struct str, node->n_inputs);
    for (size_t i = 0; i < node->n_inputs; i++)
        names[i] = node->inputs[i].name;
    if (node->n_inputs)
        spec_suggest(err, ref->fields[0], names, node->n_inputs);
    else
        err_hint(err, "declare it: inputs: {%.*s: …}", STR_ARG(str_sub(ref->fields[0], 0, 80)));
    return at_field(ref, 0, err);
}

static bool type_of_item(struct check_scope *sc, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    const struct value *product = sc->c->nodes[sc->use->node].product;
    *out = product ? EXPR_MAP : EXPR_ANY;
    if (ref->n == 0 || !product) return true;
    *out = EXPR_ANY;
    if (value_find(product, ref->fields[0])) return true;
    struct str names[16];
    size_t n = 0;
    for (; n < product->u.map.n && n < SPEC_COUNT(names); n++)
        names[n] = product->u.map.entries[n].key;
    err_set(err, ERR_INVALID, "the loop has no '%.*s'", STR_ARG(str_sub(ref->fields[0], 0, 80)));
    spec_suggest(err, ref->fields[0], names, n);
    return at_field(ref, 0, err);
}

static bool type_of_index(struct check_scope *sc, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    (void)sc;
    *out = EXPR_INT;
    return ref->n == 0 || no_fields(ref, 0, "a number", err);
}

static bool type_of_run(struct check_scope *sc, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    static const struct str names[] = {STR_INIT("id"),      STR_INIT("name"),      STR_INIT("pipeline"),
                                       STR_INIT("project"), STR_INIT("createdBy"), STR_INIT("status")};
    (void)sc;
    *out = EXPR_MAP;
    if (ref->n == 0) return true;
    *out = str_is(ref->fields[0], "id") ? EXPR_INT : EXPR_STRING;
    for (size_t i = 0; i < SPEC_COUNT(names); i++) {
        if (str_eq(names[i], ref->fields[0])) return ref->n == 1 || no_fields(ref, 1, "this", err);
    }
    err_set(err, ERR_INVALID, "a run has no field '%.*s'", STR_ARG(str_sub(ref->fields[0], 0, 80)));
    spec_suggest(err, ref->fields[0], names, SPEC_COUNT(names));
    return at_field(ref, 0, err);
}

/* ---- words ---- */

static const struct str *words_of_param(const struct compile *c, struct str name, size_t *n)
{
    const struct param *p = c->params;
    while (p < c->params + c->n_params && !str_eq(p->name, name))
        p++;
    if (p == c->params + c->n_params || p->type != PARAM_ENUM) return NULL;
    struct str *words = arena_array(c->spec.arena, struct str, p->n_values);
    for (size_t i = 0; i < p->n_values; i++) {
        if (p->values[i].type != VALUE_STRING) return NULL;
        words[i] = p->values[i].u.s;
    }
    *n = p->n_values;
    return words;
}

/* A step is read when it is over, a run while it runs or by its onExit steps. */
const struct str *check_words_of(void *ctx, const struct expr_ref *ref, size_t *n)
{
    static const struct str step[] = {STR_INIT("succeeded"), STR_INIT("failed"), STR_INIT("skipped"),
                                      STR_INIT("cancelled")},
                            run[] = {STR_INIT("running"), STR_INIT("succeeded"), STR_INIT("failed"),
                                     STR_INIT("cancelled")};
    const struct check_scope *sc = ctx;
    if (str_is(ref->root, "params") && ref->n == 1) return words_of_param(sc->c, ref->fields[0], n);
    bool of_step = str_is(ref->root, "steps") && ref->n == 2 && str_is(ref->fields[1], "status");
    bool of_run = str_is(ref->root, "run") && ref->n == 1 && str_is(ref->fields[0], "status");
    *n = of_step ? SPEC_COUNT(step) : SPEC_COUNT(run);
    return of_step ? step : of_run ? run : NULL;
}

/* ---- which of them may stand here ---- */

#define AT(where) (1u << WHERE_##where)
#define IN_COMMAND (AT(LINE) | AT(COMMAND) | AT(ENV))
#define IN_STEP (AT(INPUT) | IN_COMMAND | AT(HEADER) | AT(FIELD) | AT(TEXT) | AT(DURATION))

static const struct {
    struct str name;
    bool (*type_of)(struct check_scope *, const struct expr_ref *, enum expr_type *, struct err *);
    unsigned places;
    bool loop_only;
    const char *else_hint;
} roots[] = {
    {STR_INIT("params"), type_of_param, ~0u, false, NULL},
    {STR_INIT("steps"), type_of_step, ~AT(DEFAULT), false, "defaults hold for all steps: use params"},
    {STR_INIT("inputs"), type_of_input, IN_COMMAND, false, "inputs can be read in run, command, args and env"},
    {STR_INIT("item"), type_of_item, IN_STEP, true, "`item` is known inside a step that has foreach"},
    {STR_INIT("index"), type_of_index, IN_STEP, true, "`index` is known inside a step that has foreach"},
    {STR_INIT("run"), type_of_run, ~0u, false, NULL},
};

static bool may_stand(const struct check_scope *sc, size_t root)
{
    bool loop = sc->use->node != UINT32_MAX && sc->c->nodes[sc->use->node].loop;
    return (roots[root].places & (1u << sc->use->where)) && (loop || !roots[root].loop_only);
}

bool check_type_of(void *ctx, const struct expr_ref *ref, enum expr_type *out, struct err *err)
{
    struct check_scope *sc = ctx;
    struct str names[SPEC_COUNT(roots)];
    size_t n = 0;
    for (size_t i = 0; i < SPEC_COUNT(roots); i++) {
        bool here = may_stand(sc, i);
        if (here) names[n++] = roots[i].name;
        if (!str_eq(ref->root, roots[i].name)) continue;
        if (here) return roots[i].type_of(sc, ref, out, err);
        err_set(err, ERR_INVALID, "'%.*s' cannot be read here", STR_ARG(ref->root));
        err_hint(err, "%s", roots[i].else_hint ? roots[i].else_hint : "");
        if (roots[i].loop_only && sc->use->node != UINT32_MAX && sc->c->nodes[sc->use->node].loop)
            err_hint(err, "this is decided before the loop begins: choose among its items by list.filter(x, …)");
        return err_at(err, ref->spans[0].at, ref->spans[0].len);
    }
    err_set(err, ERR_INVALID, "there is no '%.*s' here", STR_ARG(str_sub(ref->root, 0, 80)));
    spec_suggest(err, ref->root, names, n);
    uint64_t step;
    if (map_get(&sc->c->by_name, ref->root, &step)) err_hint(err, "did you mean steps.%.*s?", STR_ARG(ref->root));
    return err_at(err, ref->spans[0].at, ref->spans[0].len);
}
