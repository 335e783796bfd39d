/* Templates: literal text with `${{ … }}` in it. Where an expression ends is found by the same rules by which it is
 * read: a `}}` inside its strings or map braces does not end it. */
#include <string.h>

#include "engine/base/buf.h"
#include "engine/expr/eval.h"

#define OPEN "${{"

struct scanner {
    struct arena *arena;
    struct str text;
    struct err *err;
    struct err_list *all; /* errors of expressions go there, and the scan goes on; NULL = it ends with the first */
    struct expr_part *parts;
    size_t n, room;
    bool broken; /* some expression was left out */
    size_t seen; /* how far `pos` has come: looked for from the start each time, many places would take long */
    struct pos pos;
};

static struct pos pos_of(struct scanner *s, size_t at)
{
    if (at < s->seen) return text_pos(s->text, at);
    s->pos = text_pos_on(s->text, s->seen, s->pos, at);
    s->seen = at;
    return s->pos;
}

static void add_part(struct scanner *s, struct expr_part part)
{
    if (s->n == s->room) {
        size_t room = s->room ? s->room * 2 : 1;
        s->parts = arena_grow(s->arena, s->parts, s->n * sizeof part, room * sizeof part);
        s->room = room;
    }
    s->parts[s->n++] = part;
}

static void add_text(struct scanner *s, size_t from, size_t to)
{
    if (to > from) add_part(s, (struct expr_part){.text = str_sub(s->text, from, to - from)});
}

static char byte_at(struct str text, size_t i)
{
    return i < text.n ? text.p[i] : '\0';
}

/* Behind the closing quote of the string that begins at `at`, or the end of the text. */
static size_t skip_string(struct str text, size_t at)
{
    bool raw = at > 0 && (text.p[at - 1] == 'r' || text.p[at - 1] == 'R');
    char quote = text.p[at++];
    while (at < text.n && text.p[at] != quote && text.p[at] != '\n')
        at += text.p[at] == '\\' && !raw ? 2 : 1;
    return at < text.n ? at + 1 : text.n;
}

/* Where the `}}` stands that closes the expression beginning at `at`. */
static bool find_close(struct str text, size_t at, size_t *close)
{
    size_t braces = 0;
    while (at < text.n) {
        char c = text.p[at];
        if (c == '\'' || c == '"') {
            at = skip_string(text, at);
            continue;
        }
        if (c == '}' && braces == 0 && byte_at(text, at + 1) == '}') {
            *close = at;
            return true;
        }
        if (c == '{') braces++;
        if (c == '}' && braces > 0) braces--;
        at++;
    }
    return false;
}

/* The expression whose `${{` stands at `open`; *next is behind its `}}`. */
static bool add_expr(struct scanner *s, size_t open, size_t *next)
{
    size_t from = open + sizeof OPEN - 1, close;
    if (!find_close(s->text, from, &close)) {
        err_set(s->err, ERR_SYNTAX, "'${{' is not closed: '}}' is missing");
        err_hint(s->err, "a literal '${{' is written '$${{'");
        return text_mark(s->err, s->text, open, from);
    }
    struct str source = str_trim(str_sub(s->text, from, close - from));
    struct expr_part part = {.text = source};
    size_t at = source.n ? (size_t)(source.p - s->text.p) : from;
    part.at = pos_of(s, at);
    *next = close + 2;
    if (expr_parse(s->arena, source, &part.expr, s->err)) {
        add_part(s, part);
        return true;
    }
    if (s->err) s->err->at = expr_pos_shift(part.at, s->err->at);
    if (!s->all) return false;
    *err_list_next(s->all) = *s->err;
    add_part(s, (struct expr_part){.text = STR(" ")}); /* says nothing of those beside it */
    s->broken = true;
    return true;
}

static bool scan(struct scanner *s)
{
    size_t start = 0, at = 0;
    while (at < s->text.n) {
        const char *dollar = memchr(s->text.p + at, '$', s->text.n - at);
        if (!dollar) break;
        at = (size_t)(dollar - s->text.p);
        struct str rest = str_sub(s->text, at, s->text.n);
        if (str_starts(rest, "$" OPEN)) { /* the second $ begins literal text */
            add_text(s, start, at);
            start = at + 1;
            at += sizeof OPEN;
        } else if (str_starts(rest, OPEN)) {
            add_text(s, start, at);
            if (!add_expr(s, at, &at)) return false;
            start = at;
        } else {
            at++;
        }
    }
    add_text(s, start, s->text.n);
    return true;
}

/* An expression alone in a block scalar ends in the block's line break, which says nothing. */
static bool is_single(const struct scanner *s)
{
    if (s->n == 0 || !s->parts[0].expr) return false;
    return s->n == 1 ||
           (s->n == 2 && !s->parts[1].expr && str_trim(s->parts[1].text).n == 0 && s->parts[1].text.p[0] == '\n');
}

static struct expr_template made_of(const struct scanner *s)
{
    struct expr_template t = {.parts = s->parts, .n = s->n, .source = s->text, .literal = true};
    for (size_t i = 0; i < t.n; i++)
        t.literal = t.literal && !t.parts[i].expr;
    t.single = !s->broken && is_single(s);
    if (t.single) t.n = 1;
    return t;
}

bool expr_template_parse(struct arena *a, struct str text, struct expr_template *out, struct err *err)
{
    struct scanner s = {.arena = a, .text = arena_str(a, text), .err = err, .pos = {1, 1}};
    if (!scan(&s)) return false;
    *out = made_of(&s);
    return true;
}

bool expr_template_parse_all(struct arena *a, struct str text, struct expr_template *out, struct err_list *errors)
{
    struct err err;
    struct scanner s = {.arena = a, .text = arena_str(a, text), .err = &err, .all = errors, .pos = {1, 1}};
    if (!scan(&s)) {
        *err_list_next(errors) = err;
        s.broken = true;
    }
    *out = made_of(&s);
    return !s.broken;
}

bool expr_text(struct arena *a, const struct value *v, struct str *out, struct err *err)
{
    char number[32];
    switch (v->type) {
    case VALUE_NULL: *out = STR(""); return true;
    case VALUE_STRING: *out = v->u.s; return true;
    case VALUE_BOOL: *out = v->u.b ? STR("true") : STR("false"); return true;
    case VALUE_INT: *out = arena_printf(a, "%lld", (long long)v->u.i); return true;
    case VALUE_DOUBLE: *out = arena_str(a, (struct str){number, double_text(v->u.d, number)}); return true;
    case VALUE_LIST:
    case VALUE_MAP: break;
    }
    if (!eval_fits(v, err)) return false;
    BUF_AUTO json;
    buf_init(&json, EVAL_MAX_TEXT);
    value_json(&json, v, false);
    if (json.over) return err_set(err, ERR_LIMIT, "the text of the %s is too long", value_type_name(v->type));
    *out = arena_str(a, buf_view(&json));
    return true;
}

#define QUOTED_MAX 120

/* A run has no file to point into: its message shows the expression. */
static void quote_expression(const struct expr_part *part, struct err *err)
{
    struct str text = str_trim(part->text);
    size_t n = text.n < QUOTED_MAX ? text.n : QUOTED_MAX;
    char quoted[QUOTED_MAX];
    struct err full;
    while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        quoted[i] = (char)((unsigned char)text.p[i] < ' ' ? ' ' : text.p[i]); /* one line */
    err_set(&full, err->code, "%s, in ${{ %.*s%s }}", err->message, (int)n, quoted, n < text.n ? "…" : "");
    memcpy(err->message, full.message, sizeof err->message);
}

bool eval_part(const struct expr_part *part, const struct expr_env *env, struct arena *a, struct value *out,
               struct err *err)
{
    if (expr_eval(part->expr, env, a, out, err)) return true;
    if (!err) return false;
    err->at = expr_pos_shift(part->at, err->at);
    quote_expression(part, err);
    return false;
}

bool expr_template_eval(const struct expr_template *t, const struct expr_env *env, struct arena *a, struct value *out,
                        struct err *err)
{
    if (t->single) return eval_part(&t->parts[0], env, a, out, err);
    if (t->n <= 1) {
        *out = value_string(t->n ? t->parts[0].text : STR(""));
        return true;
    }
    BUF_AUTO text;
    buf_init(&text, EVAL_MAX_TEXT);
    for (size_t i = 0; i < t->n; i++) {
        struct str piece = t->parts[i].text;
        if (t->parts[i].expr) {
            struct value v;
            if (!eval_part(&t->parts[i], env, a, &v, err)) return false;
            if (!expr_text(a, &v, &piece, err)) return err_at(err, t->parts[i].at, 0);
        }
        buf_str(&text, piece);
    }
    if (text.over) return err_set(err, ERR_LIMIT, "the text is longer than %u bytes", EVAL_MAX_TEXT);
    *out = value_string(arena_str(a, buf_view(&text)));
    return true;
}

void expr_template_refs(const struct expr_template *t, expr_ref_fn *fn, void *ctx)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->parts[i].expr) expr_refs(t->parts[i].expr, fn, ctx);
    }
}
