/* Expressions against what there is: names, types, and the edges that references are. */
#include <stdlib.h>
#include <string.h>

#include "engine/flow/check_scope.h"
#include "engine/flow/params.h"

struct spec_at compile_node_at(const struct compile *c, uint32_t node, struct spec_at *up)
{
    *up = (struct spec_at){NULL, node < c->n_steps ? STR("steps") : STR("onExit"), SIZE_MAX, {0, 0}};
    return (struct spec_at){up, c->names[node], SIZE_MAX, c->nodes[node].at};
}

const struct value *compile_field(const struct compile *c, uint32_t node, const char *key)
{
    return value_get(c->written[node], key);
}

/* ---- edges ---- */

struct edges {
    struct compile *c;
    uint32_t *seen; /* node → the last node that got an edge to it, plus 1 */
    uint32_t *list, n, room;
    uint32_t node;
};

static void add_edge(struct edges *e, uint32_t to)
{
    struct compile *c = e->c;
    if (to == e->node || e->seen[to] == e->node + 1) return;
    if (e->node >= c->n_steps && to < c->n_steps) return; /* onExit comes after all steps anyway */
    if (e->node < c->n_steps && to >= c->n_steps) return; /* reported as a reference */
    e->seen[to] = e->node + 1;
    if (e->n == e->room) {
        uint32_t room = e->room ? e->room * 2 : 64;
        e->list = arena_grow(c->spec.arena, e->list, e->room * sizeof *e->list, room * sizeof *e->list);
        e->room = room;
    }
    e->list[e->n++] = to;
}

static bool edge_of_ref(void *ctx, const struct expr_ref *ref)
{
    struct edges *e = ctx;
    uint64_t to;
    if (str_is(ref->root, "steps") && ref->n && map_get(&e->c->by_name, ref->fields[0], &to)) add_edge(e, (uint32_t)to);
    return true;
}

static void one_need(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                     size_t i)
{
    struct edges *e = out;
    struct compile *c = e->c;
    struct str name = {"", 0};
    uint64_t to;
    (void)key;
    (void)i;
    spec_str(s, at, v, &name);
    if (v->type == VALUE_STRING && v->u.s.n == 0) spec_error(s, at, v, "the name of a step is missing");
    if (name.n == 0) return;
    if (!map_get(&c->by_name, name, &to)) {
        struct err *err = spec_error(s, at, v, "there is no step '%.*s'", STR_ARG(str_sub(name, 0, 80)));
        size_t comma;
        bool in_exit = e->node >= c->n_steps;
        if (str_find(name, STR(","), &comma))
            err_hint(err, "several steps are a list: [a, b]");
        else if (!err_list_full(s->errors))
            spec_suggest(err, name, in_exit ? c->names + c->n_steps : c->names,
                         in_exit ? c->n_nodes - c->n_steps : c->n_steps);
    } else if (to == e->node) {
        spec_error(s, at, v, "the step needs itself");
    } else if (e->node < c->n_steps && to >= c->n_steps) {
        spec_error(s, at, v, "'%.*s' is a step of onExit, which runs when everything else has ended", STR_ARG(name));
    } else if (e->node >= c->n_steps && to < c->n_steps) {
        err_hint(spec_error(s, at, v, "steps of onExit come after all steps"), "leave '%.*s' away", STR_ARG(name));
    } else {
        add_edge(e, (uint32_t)to);
    }
}

static void read_needs(struct edges *e)
{
    struct compile *c = e->c;
    const struct value *needs = c->needs[e->node];
    struct spec_at up, node_at = compile_node_at(c, e->node, &up), at = {&node_at, STR("needs"), SIZE_MAX, {0, 0}};
    if (!needs) return;
    if (needs->type == VALUE_STRING)
        one_need(&c->spec, &at, STR(""), needs, e, 0);
    else if (needs->type == VALUE_LIST)
        spec_each(&c->spec, &at, needs, one_need, e);
    else
        spec_expected(&c->spec, &at, needs, "a step or a list of steps");
}

static void keep_edges(struct edges *e, struct node *node)
{
    if (e->n == 0) return;
    uint32_t *deps = arena_array(e->c->spec.arena, uint32_t, e->n);
    memcpy(deps, e->list, e->n * sizeof *deps);
    node->deps = deps;
    node->n_deps = e->n;
}

/* ---- types ---- */

/* Moves an error from an expression's text to the document. */
static void report(struct compile *c, const struct spec_use *use, const struct expr_part *part, struct err *e)
{
    const struct compile_env *env = c->spec.env;
    if (err_list_full(c->spec.errors)) {
        err_list_next(c->spec.errors);
        return;
    }
    err_path(e, "%.*s", STR_ARG(use->path));
    if (!use->scalar) {
        e->at = use->at;
        e->len = 0;
    } else if (env->locate) {
        e->at = env->locate(env->ctx, use->scalar, expr_pos_shift(part->at, e->at));
    } else {
        e->at = use->scalar->at;
        e->len = 0;
    }
    *err_list_next(c->spec.errors) = *e;
}

static void complain(struct compile *c, const struct spec_use *use, const struct expr_part *part, const char *message,
                     const char *hint)
{
    struct err e;
    err_set(&e, ERR_INVALID, "%s", message);
    if (hint) err_hint(&e, "%s", hint);
    err_at(&e, (struct pos){1, 1}, (uint32_t)utf8_count(part->text));
    report(c, use, part, &e);
}

static const char *const type_names[] = {"any", "null", "a bool", "an int", "a double", "a string", "a list", "a map"};

/* An expression alone, which has to give a text. */
static void check_text(struct compile *c, const struct spec_use *use, const struct expr_part *part, enum expr_type type)
{
    char text[80] = "";
    if (!use->text.single || !use->scalar || type == EXPR_STRING || type == EXPR_ANY) return;
    if (use->where == WHERE_DURATION) {
        strcat(strcpy(text, "a duration is text with a unit, this is "), type_names[type]);
        complain(c, use, part, text, type == EXPR_INT || type == EXPR_DOUBLE ? "for seconds write ${{ … }}s" : NULL);
    } else {
        strcat(strcpy(text, "text is wanted here, this is "), type_names[type]);
        complain(c, use, part, text, type == EXPR_MAP ? "take a field of it: of an artifact .digest" : NULL);
    }
}

/* What the place of a template's part wants of its type. */
static void check_place(struct compile *c, const struct spec_use *use, size_t i, enum expr_type type)
{
    const struct expr_part *part = &use->text.parts[i];
    const char *const *names = type_names;
    char text[80] = "";
    if (use->where == WHERE_TEXT || use->where == WHERE_DURATION) check_text(c, use, part, type);
    if (use->where == WHERE_WHEN && type != EXPR_BOOL && type != EXPR_ANY) {
        strcat(strcpy(text, "a condition is true or false, this is "), names[type]);
        complain(c, use, part, text, NULL);
    }
    if (use->where == WHERE_FOREACH && use->text.single && type != EXPR_LIST && type != EXPR_ANY) {
        strcat(strcpy(text, "a loop runs over a list, this is "), names[type]);
        complain(c, use, part, text, type == EXPR_INT ? "range(n) is the list 0 … n-1" : NULL);
    }
    if (use->where == WHERE_FOREACH && !use->text.single)
        complain(c, use, part, "a loop runs over a list, and text around the expression makes it a string", NULL);
    if (use->where == WHERE_LINE && type == EXPR_LIST && !expr_shell_alone(&use->text, i))
        complain(c, use, part, "a list becomes one word per item, but text stands beside it",
                 "put blanks around it, or make one word of it: string(…)");
    if ((use->where == WHERE_LINE || use->where == WHERE_COMMAND) && type == EXPR_MAP)
        complain(c, use, part, "a map cannot be an argument",
                 "of an artifact take inputs.NAME.path; of another map string(…) makes JSON");
}

/* A list for the errors of one expression, made once. */
static struct err_list *scratch_list(struct compile *c)
{
    if (!c->found.arena) err_list_init(&c->found, c->spec.arena);
    c->found.n = c->found.total = 0;
    return &c->found;
}

static void check_use(struct compile *c, const struct spec_use *use)
{
    struct check_scope scope = {.c = c, .use = use};
    struct expr_scope names = {.ctx = &scope,
                               .type_of = check_type_of,
                               .words = check_words_of,
                               .spent = &c->spec.spent,
                               .max_cost = SPEC_MAX_COST};
    bool sub_param = use->where == WHERE_INPUT && use->node != UINT32_MAX && c->nodes[use->node].verb == VERB_PIPELINE;
    scope.secrets = use->text.single &&
                    (use->where == WHERE_ENV || use->where == WHERE_HEADER || use->where == WHERE_DEFAULT || sub_param);
    for (size_t i = 0; i < use->text.n && !err_list_full(c->spec.errors); i++) {
        const struct expr_part *part = &use->text.parts[i];
        struct err_list *found = scratch_list(c);
        enum expr_type type = EXPR_ANY;
        if (!part->expr) continue;
        if (expr_check(part->expr, &names, &type, found)) check_place(c, use, i, type);
        for (size_t k = 0; k < found->n; k++)
            report(c, use, part, &found->items[k]);
    }
}

/* ---- params of sub-pipelines ---- */

static bool constant_lookup(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                            bool *absent, struct err *err)
{
    (void)ctx;
    (void)a;
    (void)ref;
    (void)out;
    *used = 0;
    *absent = true;
    return err_set(err, ERR_INVALID, "not a constant");
}

static bool any_ref(void *ctx, const struct expr_ref *ref)
{
    (void)ref;
    *(bool *)ctx = true;
    return false;
}

/* What an input's template gives, as far as that is known before the run. */
static enum expr_type static_type(struct compile *c, uint32_t node, const struct expr_template *t)
{
    struct spec_use use = {.text = *t, .where = WHERE_INPUT, .node = node};
    struct check_scope scope = {.c = c, .use = &use, .secrets = true};
    struct expr_scope names = {.ctx = &scope,
                               .type_of = check_type_of,
                               .words = check_words_of,
                               .spent = &c->spec.spent,
                               .max_cost = SPEC_MAX_COST};
    enum expr_type type = EXPR_ANY;
    if (!t->single) return EXPR_STRING;
    return expr_check(t->parts[0].expr, &names, &type, scratch_list(c)) ? type : EXPR_ANY; /* errors are told already */
}

/* Types by whose values a param can be bound: numbers and the like are also read from text. */
static bool may_bind(const struct param *p, enum expr_type type)
{
    if (type == EXPR_ANY || (type == EXPR_NULL && p->optional)) return true;
    switch (p->type) {
    case PARAM_STRING: return type == EXPR_STRING;
    case PARAM_INT:
    case PARAM_FLOAT: return type == EXPR_INT || type == EXPR_DOUBLE || type == EXPR_STRING;
    case PARAM_BOOL: return type == EXPR_BOOL || type == EXPR_STRING;
    case PARAM_LIST: return type == EXPR_LIST || (type == EXPR_STRING && !p->any_items);
    case PARAM_MAP:
    case PARAM_SECRET: return type == EXPR_MAP;
    case PARAM_ENUM: return true;
    }
    return true;
}

static void check_param(struct compile *c, const struct spec_at *at, const struct input *input, const struct param *p)
{
    static const char *const wanted[] = {"a string", "a whole number", "a number",       "true or false",
                                         "a list",   "a map",          "one of a param", "a secret"};
    const struct value *at_value = value_find(compile_field(c, c->spec.node, "params"), input->name);
    struct value v, typed;
    struct err err;
    struct expr_env env = {.lookup = constant_lookup, .spent = &c->spec.spent, .max_cost = SPEC_MAX_COST};
    bool dynamic = false;
    expr_template_refs(&input->value, any_ref, &dynamic);
    if (dynamic) {
        enum expr_type type = static_type(c, c->spec.node, &input->value);
        if (may_bind(p, type)) return;
        struct err *e = spec_error(&c->spec, at, at_value, "expected %s, found %s", wanted[p->type], type_names[type]);
        if (p->type == PARAM_STRING) err_hint(e, "string(x) makes a string of a value");
        return;
    }
    if (!expr_template_eval(&input->value, &env, c->spec.arena, &v, &err)) return;
    if (v.type == VALUE_NULL && p->optional) return;
    if (param_check(c->spec.arena, p, &v, &c->spec.spent, &typed, &err)) return;
    err.at = at_value ? at_value->at : c->nodes[c->spec.node].at;
    err.len = 0;
    spec_adopt(&c->spec, at, at_value, &err);
}

static struct pos key_place(const struct value *map, struct str key)
{
    for (size_t i = 0; map && map->type == VALUE_MAP && i < map->u.map.n; i++)
        if (str_eq(map->u.map.entries[i].key, key)) return map->u.map.entries[i].key_at;
    return (struct pos){0, 0};
}

/* The places of the params that must be given, their number first: few, or few steps can give them. */
static const size_t *required_params(struct compile *c, uint32_t i)
{
    const struct graph *sub = &c->subs[i]->graphs[0];
    size_t **list = &compile_index(c, c->twins[i])->required, n = 0;
    for (size_t p = 0; p < sub->n_params && !*list; p++)
        n += !sub->params[p].optional;
    if (*list) return *list;
    *list = arena_array(c->spec.arena, size_t, n + 1);
    for (size_t p = 0; p < sub->n_params; p++)
        if (!sub->params[p].optional) (*list)[++(*list)[0]] = p;
    return *list;
}

static void check_sub_params(struct compile *c, uint32_t i)
{
    const struct graph *sub = &c->subs[i]->graphs[0];
    const struct node *node = &c->nodes[i];
    const struct value *given_at = compile_field(c, i, "params");
    struct spec_at up, node_at = compile_node_at(c, i, &up), at = {&node_at, STR("params"), SIZE_MAX, {0, 0}};
    struct str *meant = arena_array(c->spec.arena, struct str, node->n_inputs); /* by those that do not exist */
    size_t n_meant = 0;
    c->spec.node = i;
    for (size_t k = 0; k < node->n_inputs && !err_list_full(c->spec.errors); k++) {
        struct spec_at here = {&at, node->inputs[k].name, SIZE_MAX, {0, 0}};
        size_t p = compile_sub_param(c, i, node->inputs[k].name);
        if (p < sub->n_params) {
            check_param(c, &here, &node->inputs[k], &sub->params[p]);
            continue;
        }
        here.key_at = key_place(given_at, here.key);
        struct err *e = spec_error(&c->spec, &here, NULL, "pipeline '%.*s' has no param '%.*s'", STR_ARG(sub->name),
                                   STR_ARG(node->inputs[k].name));
        if (!e->at.line) err_at(e, node->at, 0);
        if (err_list_full(c->spec.errors)) break;
        struct str *names = arena_array(c->spec.arena, struct str, sub->n_params);
        for (p = 0; p < sub->n_params; p++)
            names[p] = sub->params[p].name;
        spec_suggest(e, node->inputs[k].name, names, sub->n_params);
        meant[n_meant++] = suggest(node->inputs[k].name, names, sub->n_params);
    }
    const size_t *required = required_params(c, i);
    for (size_t k = 1; k <= required[0] && !err_list_full(c->spec.errors); k++) {
        struct str name = sub->params[required[k]].name;
        bool given = compile_input(c, i, name) != SIZE_MAX;
        for (size_t m = 0; m < n_meant && !given; m++)
            given = str_eq(meant[m], name);
        if (given) continue;
        struct err *e = spec_error(&c->spec, &at, given_at ? given_at : compile_field(c, i, "pipeline"),
                                   "the param '%.*s' of pipeline '%.*s' is missing", STR_ARG(name), STR_ARG(sub->name));
        if (!e->at.line) err_at(e, node->at, 0);
    }
}

/* ---- rules ---- */

/* Nothing upstream can ever meet it. */
static void check_rule(struct compile *c, uint32_t i)
{
    const struct node *node = &c->nodes[i];
    const struct value *rule = compile_field(c, i, "rule"), *needs = c->needs[i];
    bool wants = node->rule == RULE_ANY_FAILED || node->rule == RULE_ONE_SUCCEEDED;
    if (!wants || node->n_deps > 0 || needs) return; /* what it needs may be what is wrong */
    struct spec_at up, node_at = compile_node_at(c, i, &up), at = {&node_at, STR("rule"), SIZE_MAX, {0, 0}};
    err_hint(spec_error(&c->spec, &at, rule, "the step comes after no other, so that it would never run"),
             "needs: says which steps are meant");
}

/* ---- all of it ---- */

void check_references(struct compile *c)
{
    struct edges e = {.c = c, .seen = arena_array(c->spec.arena, uint32_t, c->n_nodes)};
    size_t use = 0;
    while (use < c->spec.n_uses && c->spec.uses[use].node == UINT32_MAX) /* defaults come first */
        check_use(c, &c->spec.uses[use++]);
    for (uint32_t i = 0; i < c->n_nodes && !err_list_full(c->spec.errors); i++) {
        e.node = i;
        e.n = 0;
        read_needs(&e);
        for (; use < c->spec.n_uses && c->spec.uses[use].node == i; use++) {
            check_use(c, &c->spec.uses[use]);
            expr_template_refs(&c->spec.uses[use].text, edge_of_ref, &e);
        }
        keep_edges(&e, &c->nodes[i]);
        check_rule(c, i);
        if (c->nodes[i].verb == VERB_PIPELINE && c->subs[i]) check_sub_params(c, i);
    }
    for (; use < c->spec.n_uses; use++) /* outputs of the pipeline */
        check_use(c, &c->spec.uses[use]);
}
