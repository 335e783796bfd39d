/* Expressions in a document: parsed here, and kept in a list to be checked when all steps are known. */
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/flow/spec.h"

static struct pos locate(struct spec *s, const struct value *scalar, struct pos inner)
{
    if (s->env->locate && !err_list_full(s->errors)) return s->env->locate(s->env->ctx, scalar, inner);
    return scalar->at;
}

static void syntax_error(struct spec *s, const struct spec_at *at, const struct value *v, bool made_up,
                         const struct err *e)
{
    struct pos place = made_up ? v->at : locate(s, v, e->at);
    struct err *slot = err_list_next(s->errors);
    *slot = *e;
    err_path(slot, "%.*s", STR_ARG(spec_path(s->arena, at)));
    slot->at = place;
    if (made_up) slot->len = 0;
}

static void add_use(struct spec *s, const struct spec_at *at, const struct value *v, bool made_up,
                    enum spec_where where, const struct expr_template *t)
{
    if (s->n_uses == s->room_uses) {
        size_t room = s->room_uses ? s->room_uses * 2 : 64;
        s->uses = arena_grow(s->arena, s->uses, s->room_uses * sizeof *s->uses, room * sizeof *s->uses);
        s->room_uses = room;
    }
    s->uses[s->n_uses++] = (struct spec_use){.text = *t,
                                             .scalar = made_up ? NULL : v,
                                             .at = v->at,
                                             .where = s->defaults ? WHERE_DEFAULT : where,
                                             .node = s->node,
                                             .path = spec_path(s->arena, at)};
}

static bool parse(struct spec *s, const struct spec_at *at, const struct value *v, struct str text, bool made_up,
                  enum spec_where where, struct expr_template *out)
{
    struct expr_template t;
    if (!s->found.arena) err_list_init(&s->found, s->arena);
    s->found.n = s->found.total = 0;
    bool ok = expr_template_parse_all(s->arena, text, &t, &s->found);
    for (size_t i = 0; i < s->found.n; i++)
        syntax_error(s, at, v, made_up, &s->found.items[i]);
    if (!t.literal) add_use(s, at, v, made_up, where, &t);
    if (ok) *out = t;
    return ok;
}

bool spec_template(struct spec *s, const struct spec_at *at, const struct value *v, enum spec_where where,
                   struct expr_template *out)
{
    BUF_AUTO text;
    buf_init(&text, 0);
    switch (v->type) {
    case VALUE_STRING: return parse(s, at, v, v->u.s, false, where, out);
    case VALUE_BOOL:
    case VALUE_INT:
    case VALUE_DOUBLE:
        value_json(&text, v, false);
        return parse(s, at, v, arena_str(s->arena, buf_view(&text)), true, where, out);
    case VALUE_NULL:
    case VALUE_LIST:
    case VALUE_MAP: break;
    }
    spec_expected(s, at, v, "text");
    return false;
}

/* A literal of the expression language. Braces that close are escaped, lest two of them end the template. */
static void quote(struct buf *out, struct str s)
{
    BUF_AUTO json;
    buf_init(&json, 0);
    struct value v = value_string(s);
    value_json(&json, &v, false);
    for (size_t i = 0; i < json.n; i++) {
        if (json.p[i] == '}')
            buf_c(out, "\\u007d");
        else
            buf_char(out, json.p[i]);
    }
}

static bool write_expr(struct spec *s, struct buf *out, const struct value *v, struct err *err);

static bool write_text(struct spec *s, struct buf *out, struct str text, struct err *err)
{
    struct expr_template t;
    if (!expr_template_parse(s->arena, text, &t, err)) return false;
    if (t.single) {
        buf_printf(out, "(%.*s)", STR_ARG(t.parts[0].text));
        return true;
    }
    if (t.n == 0) buf_c(out, "\"\"");
    for (size_t i = 0; i < t.n; i++) {
        if (i) buf_c(out, " + ");
        if (t.parts[i].expr)
            buf_printf(out, "string(%.*s)", STR_ARG(t.parts[i].text));
        else
            quote(out, t.parts[i].text);
    }
    return true;
}

static bool write_map(struct spec *s, struct buf *out, const struct value *v, struct err *err)
{
    buf_char(out, '{');
    for (size_t i = 0; i < v->u.map.n; i++) {
        if (i) buf_c(out, ", ");
        quote(out, v->u.map.entries[i].key);
        buf_c(out, ": ");
        if (!write_expr(s, out, &v->u.map.entries[i].value, err)) return false;
    }
    return buf_c(out, "} ");
}

static bool write_expr(struct spec *s, struct buf *out, const struct value *v, struct err *err)
{
    if (v->type == VALUE_STRING) return write_text(s, out, v->u.s, err);
    if (v->type == VALUE_MAP) return write_map(s, out, v, err);
    if (v->type != VALUE_LIST) {
        value_json(out, v, false);
        return true;
    }
    buf_char(out, '[');
    for (size_t i = 0; i < v->u.list.n; i++) {
        if (i) buf_c(out, ", ");
        if (!write_expr(s, out, &v->u.list.items[i], err)) return false;
    }
    return buf_char(out, ']');
}

/* The name of something that can be read, without the braces: nobody means that text. */
static bool forgotten(const struct spec *s, struct str text)
{
    size_t at;
    for (size_t i = 0; i < text.n; i++)
        if (strchr(" \t\n/:,\"'(){}[]", text.p[i])) return false;
    if (str_starts(text, "steps."))
        return str_find(text, STR(".outputs."), &at) || str_ends(text, ".value") || str_ends(text, ".status");
    for (size_t i = 0; i < s->n_params && str_starts(text, "params."); i++)
        if (str_eq(str_sub(text, 7, text.n), s->params[i].name)) return true;
    return false;
}

bool spec_typed(struct spec *s, const struct spec_at *at, const struct value *v, enum spec_where where,
                struct expr_template *out)
{
    struct err err;
    BUF_AUTO text;
    buf_init(&text, 0);
    if (v->type == VALUE_STRING) {
        if (forgotten(s, v->u.s))
            err_hint(spec_error(s, at, v, "this is text, and reads like an expression"), "write \"${{ %.*s }}\"",
                     STR_ARG(str_sub(v->u.s, 0, 100)));
        return parse(s, at, v, v->u.s, false, where, out);
    }
    buf_c(&text, "${{ ");
    if (!write_expr(s, &text, v, &err)) {
        syntax_error(s, at, v, true, &err);
        return false;
    }
    buf_c(&text, " }}");
    if (text.n > EXPR_MAX_BYTES) {
        struct err *e = spec_error(s, at, v, "this is too long to stand here");
        err_hint(e, "make it the default of a param, and refer to that");
        return false;
    }
    return parse(s, at, v, arena_str(s->arena, buf_view(&text)), true, where, out);
}

bool spec_condition(struct spec *s, const struct spec_at *at, const struct value *v, const struct expr **out,
                    struct str *source)
{
    struct err err;
    struct expr_template t;
    if (v->type == VALUE_BOOL) {
        *source = v->u.b ? STR("true") : STR("false");
        if (expr_parse(s->arena, *source, out, &err)) return true;
        syntax_error(s, at, v, true, &err);
        return false;
    }
    if (v->type != VALUE_STRING) {
        spec_expected(s, at, v, "a condition");
        return false;
    }
    if (!expr_template_parse(s->arena, v->u.s, &t, &err)) {
        syntax_error(s, at, v, false, &err);
        return false;
    }
    if (t.literal) {
        struct str meant = spec_yaml11_bool(v->u.s)
                               ? STR("true or false")
                               : arena_printf(s->arena, "${{ %.*s }}", STR_ARG(str_sub(v->u.s, 0, 100)));
        err_hint(spec_error(s, at, v, "a condition is an expression"), "write %.*s", STR_ARG(meant));
        return false;
    }
    if (!t.single) {
        err_hint(spec_error(s, at, v, "text around the expression makes it a string, which is no condition"),
                 "write one ${{ … }} and nothing else");
        return false;
    }
    *out = t.parts[0].expr;
    *source = t.parts[0].text;
    add_use(s, at, v, false, WHERE_WHEN, &t);
    return true;
}
