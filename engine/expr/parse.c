/* The parser: tokens to a tree, by recursive descent with one precedence table. Names that a comprehension binds are
 * resolved here, so that the walkers see slots; constant paths become one node, so that an environment can answer them
 * whole. */
#include <string.h>

#include "engine/expr/functions.h"
#include "engine/expr/lex.h"

#define PATH_ROOM 4 /* steps.train.outputs.model fits */

struct parser {
    struct lexer lexer;
    struct token token; /* the next one */
    uint32_t end;       /* of the token before it */
    uint32_t depth;
    struct str vars[AST_MAX_VARS];
    uint32_t n_vars;
    struct arena *arena;
    struct err *err;
    uint32_t seen; /* where `pos` is; most places are looked for one after another */
    struct pos pos;
};

/* The children of a node while they are counted. */
struct kids {
    const struct ast **items;
    uint32_t n, room;
};

static bool parse_expr(struct parser *p, struct ast **out);

#define parse_fail(p, from, to, ...)                                                                                   \
    (err_set((p)->err, ERR_SYNTAX, __VA_ARGS__), text_mark((p)->err, (p)->lexer.text, (from), (to)))

static bool fail_token(struct parser *p, const char *wanted)
{
    const struct token *t = &p->token;
    struct str text = p->lexer.text;
    if (t->kind == TOKEN_NAME)
        return parse_fail(p, t->from, t->to, "expected %s, found '%.*s'", wanted, STR_ARG(t->text));
    return parse_fail(p, t->from, t->to, "expected %s, found %s", wanted,
                      t->kind == TOKEN_END && text.n == 0 ? "nothing" : token_name(t->kind));
}

static bool advance(struct parser *p)
{
    p->end = p->token.to;
    return lex_next(&p->lexer, &p->token, p->err);
}

/* Takes the token if it is of that kind. */
static bool accept(struct parser *p, enum token_kind kind, bool *taken)
{
    *taken = p->token.kind == kind;
    return !*taken || advance(p);
}

static bool expect(struct parser *p, enum token_kind kind)
{
    if (p->token.kind != kind) return fail_token(p, token_name(kind));
    return advance(p);
}

static bool enter(struct parser *p)
{
    if (++p->depth <= EXPR_MAX_DEPTH) return true;
    err_set(p->err, ERR_LIMIT, "the expression is nested more than %d deep", EXPR_MAX_DEPTH);
    return text_mark(p->err, p->lexer.text, p->token.from, p->token.to);
}

static void leave(struct parser *p)
{
    p->depth--;
}

static void push(struct parser *p, struct kids *k, const struct ast *kid)
{
    if (k->n == k->room) {
        uint32_t room = k->room ? k->room * 2 : 2;
        k->items = arena_grow(p->arena, k->items, k->n * sizeof(void *), room * sizeof(void *));
        k->room = room;
    }
    k->items[k->n++] = kid;
}

static struct ast *leaf(struct parser *p, enum ast_kind kind, uint32_t from)
{
    struct ast *n = arena_new(p->arena, struct ast);
    n->kind = kind;
    n->from = from;
    n->to = p->end;
    n->height = 1;
    return n;
}

static bool node(struct parser *p, enum ast_kind kind, uint32_t from, const struct kids *kids, struct ast **out)
{
    struct ast *n = leaf(p, kind, from);
    n->kids = kids->items;
    n->n = kids->n;
    for (uint32_t i = 0; i < kids->n; i++) {
        if (kids->items[i]->height >= n->height) n->height = kids->items[i]->height + 1;
    }
    *out = n;
    if (n->height <= AST_MAX_HEIGHT) return true;
    err_set(p->err, ERR_LIMIT, "the expression is a chain of more than %d parts", AST_MAX_HEIGHT);
    return text_mark(p->err, p->lexer.text, n->from, n->to);
}

static bool node_of(struct parser *p, enum ast_kind kind, uint32_t from, const struct ast *a, const struct ast *b,
                    struct ast **out)
{
    struct kids kids = {0};
    push(p, &kids, a);
    if (b) push(p, &kids, b);
    return node(p, kind, from, &kids, out);
}

/* ---- paths ---- */

static struct expr_span span_of(struct parser *p, uint32_t from, uint32_t to)
{
    struct str text = p->lexer.text;
    p->pos = from < p->seen ? text_pos(text, from) : text_pos_on(text, p->seen, p->pos, from);
    p->seen = from;
    return (struct expr_span){p->pos, text_len(text, from, to)};
}

static struct ast *path_start(struct parser *p, const struct token *name)
{
    struct ast *n = leaf(p, AST_PATH, name->from);
    struct expr_ref *ref = arena_new(p->arena, struct expr_ref);
    struct expr_span *spans = arena_array(p->arena, struct expr_span, PATH_ROOM + 1);
    spans[0] = span_of(p, name->from, name->to);
    *ref = (struct expr_ref){.root = name->text,
                             .fields = arena_array(p->arena, struct str, PATH_ROOM),
                             .at = spans[0].at,
                             .len = spans[0].len,
                             .spans = spans};
    n->u.path = ref;
    return n;
}

/* The path is still the parser's own: nobody else has seen it. Its arrays have room for PATH_ROOM, then 2, 4, … times
 * that. */
static void path_extend(struct parser *p, struct ast *n, const struct token *field)
{
    struct expr_ref *ref = (struct expr_ref *)n->u.path;
    size_t used = ref->n, full = used + 1;
    if (used >= PATH_ROOM && (used & (used - 1)) == 0) {
        ref->fields = arena_grow(p->arena, ref->fields, used * sizeof *ref->fields, 2 * used * sizeof *ref->fields);
        ref->spans = arena_grow(p->arena, ref->spans, full * sizeof *ref->spans, (2 * used + 1) * sizeof *ref->spans);
    }
    ((struct str *)ref->fields)[used] = field->text;
    ((struct expr_span *)ref->spans)[used + 1] = span_of(p, field->from, field->to);
    ref->n++;
    n->to = p->end;
    ref->len = text_len(p->lexer.text, n->from, n->to);
}

static bool can_extend(const struct ast *n)
{
    return n->kind == AST_PATH && n->u.path->n < AST_MAX_HEIGHT;
}

/* ---- calls ---- */

static bool fail_arity(struct parser *p, const struct function *fn, uint32_t from)
{
    parse_fail(p, from, p->end, "wrong number of arguments for %s", fn->name);
    err_hint(p->err, "it is written %s", fn->usage);
    return false;
}

static bool find_function(struct parser *p, const struct token *name, enum function_form form,
                          const struct function **out)
{
    const struct function *fn = function_find(name->text);
    if (!fn) {
        struct str near = function_suggest(name->text);
        parse_fail(p, name->from, name->to, "there is no function '%.*s'", STR_ARG(name->text));
        if (near.n)
            err_hint(p->err, "did you mean '%.*s'?", STR_ARG(near));
        else
            err_hint(p->err, "it is written name(…) or value.name(…)");
        return false;
    }
    if (!(fn->form & form)) {
        parse_fail(p, name->from, name->to,
                   form == FORM_GLOBAL ? "%s is called on a value" : "%s is not called on a value", fn->name);
        err_hint(p->err, "it is written %s", fn->usage);
        return false;
    }
    *out = fn;
    return true;
}

/* The arguments up to the closing parenthesis, appended to kids. */
static bool parse_list(struct parser *p, enum token_kind close, struct kids *kids)
{
    bool done;
    if (!accept(p, close, &done)) return false;
    while (!done) {
        struct ast *item;
        if (!parse_expr(p, &item)) return false;
        push(p, kids, item);
        bool comma;
        if (!accept(p, TOKEN_COMMA, &comma)) return false;
        if (!comma && p->token.kind != close) return fail_token(p, close == TOKEN_RPAREN ? "',' or ')'" : "',' or ']'");
        if (p->token.kind == close && (!comma || close == TOKEN_RBRACKET)) {
            if (!advance(p)) return false;
            done = true;
        }
    }
    return true;
}

/* list.filter(name, body) and its like: the name is bound while the body is parsed. */
static bool parse_loop(struct parser *p, const struct function *fn, const struct ast *list, struct ast **out)
{
    struct token var = p->token;
    if (var.kind != TOKEN_NAME) {
        fail_token(p, "a name for the item");
        err_hint(p->err, "it is written %s", fn->usage);
        return false;
    }
    if (p->n_vars == AST_MAX_VARS) return parse_fail(p, var.from, var.to, "too many names are bound");
    if (!advance(p)) return false;
    if (p->token.kind != TOKEN_COMMA) {
        fail_token(p, "','");
        err_hint(p->err, "it is written %s", fn->usage);
        return false;
    }
    if (!advance(p)) return false;
    uint32_t slot = p->n_vars++;
    p->vars[slot] = var.text;
    struct kids kids = {0}, args = {0};
    if (!parse_list(p, TOKEN_RPAREN, &args)) return false;
    p->n_vars--;
    if (args.n == 0 || args.n + 2 < fn->min || args.n + 2 > fn->max) return fail_arity(p, fn, var.from);
    push(p, &kids, list);
    push(p, &kids, args.items[args.n - 1]);
    if (args.n == 2) push(p, &kids, args.items[0]);
    if (!node(p, AST_LOOP, list->from, &kids, out)) return false;
    (*out)->u.fn = fn;
    (*out)->slot = slot;
    return true;
}

static bool parse_has(struct parser *p, const struct function *fn, uint32_t from, struct ast **out)
{
    struct kids args = {0};
    if (!parse_list(p, TOKEN_RPAREN, &args)) return false;
    if (args.n != 1) return fail_arity(p, fn, from);
    const struct ast *arg = args.items[0];
    if (arg->kind != AST_PATH && arg->kind != AST_FIELD && arg->kind != AST_INDEX) {
        parse_fail(p, arg->from, arg->to, "has() asks for a name or a field");
        err_hint(p->err, "it is written %s", fn->usage);
        return false;
    }
    return node(p, AST_HAS, from, &args, out);
}

/* Behind the opening parenthesis of name(…) or receiver.name(…). */
static bool parse_call(struct parser *p, const struct token *name, const struct ast *receiver, struct ast **out)
{
    const struct function *fn = NULL;
    uint32_t from = receiver ? receiver->from : name->from;
    if (!find_function(p, name, receiver ? FORM_METHOD : FORM_GLOBAL, &fn)) return false;
    if (fn->kind == KIND_HAS) return parse_has(p, fn, from, out);
    if (fn->kind != KIND_CALL && receiver) return parse_loop(p, fn, receiver, out);
    struct kids kids = {0};
    if (receiver) push(p, &kids, receiver);
    if (!parse_list(p, TOKEN_RPAREN, &kids)) return false;
    if (kids.n < fn->min || kids.n > fn->max) return fail_arity(p, fn, name->from);
    if (!node(p, AST_CALL, from, &kids, out)) return false;
    (*out)->u.fn = fn;
    return true;
}

/* ---- primaries ---- */

static struct ast *literal(struct parser *p, uint32_t from, struct value v)
{
    struct ast *n = leaf(p, AST_LITERAL, from);
    n->u.literal = v;
    return n;
}

static bool parse_name(struct parser *p, struct ast **out)
{
    struct token name = p->token;
    if (!advance(p)) return false;
    bool call;
    if (!accept(p, TOKEN_LPAREN, &call)) return false;
    if (call) return parse_call(p, &name, NULL, out);
    for (uint32_t i = p->n_vars; i > 0; i--) {
        if (!str_eq(p->vars[i - 1], name.text)) continue;
        *out = leaf(p, AST_VAR, name.from);
        (*out)->slot = i - 1;
        return true;
    }
    if (str_is(name.text, "null"))
        *out = literal(p, name.from, value_null());
    else if (str_is(name.text, "true") || str_is(name.text, "false"))
        *out = literal(p, name.from, value_bool(name.text.n == 4));
    else
        *out = path_start(p, &name);
    return true;
}

static bool parse_number(struct parser *p, bool negative, uint32_t from, struct ast **out)
{
    struct token t = p->token;
    uint64_t most = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (t.kind == TOKEN_INT && t.i > most) return parse_fail(p, t.from, t.to, "the number does not fit into 64 bits");
    if (!advance(p)) return false;
    struct value v;
    if (t.kind == TOKEN_INT)
        v = value_int(negative ? (int64_t)(0 - t.i) : (int64_t)t.i);
    else
        v = value_double(negative ? -t.d : t.d);
    *out = literal(p, from, v);
    return true;
}

static bool parse_map_entries(struct parser *p, struct kids *kids)
{
    bool done;
    if (!accept(p, TOKEN_RBRACE, &done)) return false;
    while (!done) {
        struct ast *key, *value;
        if (!parse_expr(p, &key)) return false;
        if (!expect(p, TOKEN_COLON) || !parse_expr(p, &value)) return false;
        push(p, kids, key);
        push(p, kids, value);
        bool comma;
        if (!accept(p, TOKEN_COMMA, &comma)) return false;
        if (!comma && p->token.kind != TOKEN_RBRACE) return fail_token(p, "',' or '}'");
        if (!accept(p, TOKEN_RBRACE, &done)) return false;
    }
    return true;
}

static bool parse_bracketed(struct parser *p, struct ast **out)
{
    struct token open = p->token;
    struct kids kids = {0};
    if (!advance(p)) return false;
    switch ((int)open.kind) {
    case TOKEN_LPAREN:
        if (!parse_expr(p, out) || !expect(p, TOKEN_RPAREN)) return false;
        if ((*out)->kind == AST_PATH) return true; /* (a.b).c is a path like any other */
        (*out)->from = open.from;
        (*out)->to = p->end;
        return true;
    case TOKEN_LBRACKET: return parse_list(p, TOKEN_RBRACKET, &kids) && node(p, AST_LIST, open.from, &kids, out);
    default: return parse_map_entries(p, &kids) && node(p, AST_MAP, open.from, &kids, out);
    }
}

static bool parse_primary(struct parser *p, struct ast **out)
{
    uint32_t from = p->token.from;
    switch ((int)p->token.kind) {
    case TOKEN_NAME: return parse_name(p, out);
    case TOKEN_INT:
    case TOKEN_DOUBLE: return parse_number(p, false, from, out);
    case TOKEN_STRING: {
        struct value v = value_string(p->token.text);
        if (!advance(p)) return false;
        *out = literal(p, from, v);
        return true;
    }
    case TOKEN_LPAREN:
    case TOKEN_LBRACKET:
    case TOKEN_LBRACE: return parse_bracketed(p, out);
    default: return fail_token(p, "a value");
    }
}

/* ---- postfix, unary, binary ---- */

static bool parse_dot(struct parser *p, struct ast **n)
{
    struct token name = p->token;
    if (name.kind == TOKEN_IN) { /* a keyword, but a fine field */
        name.kind = TOKEN_NAME;
    }
    if (name.kind != TOKEN_NAME) return fail_token(p, "a field name");
    if (!advance(p)) return false;
    bool call;
    if (!accept(p, TOKEN_LPAREN, &call)) return false;
    if (call) return parse_call(p, &name, *n, n);
    if (can_extend(*n)) {
        path_extend(p, *n, &name);
        return true;
    }
    if (!node_of(p, AST_FIELD, (*n)->from, *n, NULL, n)) return false;
    (*n)->u.name = name.text;
    return true;
}

static bool parse_index(struct parser *p, struct ast **n)
{
    struct token key = p->token;
    struct ast *index;
    if (!parse_expr(p, &index) || !expect(p, TOKEN_RBRACKET)) return false;
    if (can_extend(*n) && index->kind == AST_LITERAL && index->u.literal.type == VALUE_STRING) {
        key.text = index->u.literal.u.s;
        key.from = index->from;
        key.to = index->to;
        path_extend(p, *n, &key);
        return true;
    }
    return node_of(p, AST_INDEX, (*n)->from, *n, index, n);
}

static bool parse_postfix(struct parser *p, struct ast **n)
{
    for (;;) {
        bool dot, bracket = false;
        if (!accept(p, TOKEN_DOT, &dot) || (!dot && !accept(p, TOKEN_LBRACKET, &bracket))) return false;
        if (!dot && !bracket) return true;
        if (!(dot ? parse_dot(p, n) : parse_index(p, n))) return false;
    }
}

static bool parse_unary(struct parser *p, struct ast **out)
{
    struct token op = p->token;
    if (op.kind != TOKEN_NOT && op.kind != TOKEN_MINUS) return parse_primary(p, out) && parse_postfix(p, out);
    if (!enter(p) || !advance(p)) return false;
    struct ast *operand;
    if (op.kind == TOKEN_MINUS && (p->token.kind == TOKEN_INT || p->token.kind == TOKEN_DOUBLE)) {
        if (!parse_number(p, true, op.from, out) || !parse_postfix(p, out)) return false;
    } else if (!parse_unary(p, &operand) ||
               !node_of(p, op.kind == TOKEN_NOT ? AST_NOT : AST_NEG, op.from, operand, NULL, out)) {
        return false;
    }
    leave(p);
    return true;
}

static const struct {
    uint8_t level; /* binds tighter the higher; 0 = not a binary operator */
    enum ast_op op;
} binary[] = {
    [TOKEN_OR] = {1, OP_OR},     [TOKEN_AND] = {2, OP_AND},     [TOKEN_EQ] = {3, OP_EQ},     [TOKEN_NE] = {3, OP_NE},
    [TOKEN_LT] = {3, OP_LT},     [TOKEN_LE] = {3, OP_LE},       [TOKEN_GT] = {3, OP_GT},     [TOKEN_GE] = {3, OP_GE},
    [TOKEN_IN] = {3, OP_IN},     [TOKEN_PLUS] = {4, OP_ADD},    [TOKEN_MINUS] = {4, OP_SUB}, [TOKEN_STAR] = {5, OP_MUL},
    [TOKEN_SLASH] = {5, OP_DIV}, [TOKEN_PERCENT] = {5, OP_MOD}, [TOKEN_RBRACE] = {0, OP_OR},
};

static bool parse_binary(struct parser *p, uint8_t level, struct ast **out)
{
    struct ast *left, *right;
    if (!parse_unary(p, &left)) return false;
    while (binary[p->token.kind].level >= level) {
        enum token_kind kind = p->token.kind;
        if (!advance(p) || !parse_binary(p, (uint8_t)(binary[kind].level + 1), &right)) return false;
        if (!node_of(p, AST_BINARY, left->from, left, right, &left)) return false;
        left->op = binary[kind].op;
    }
    *out = left;
    return true;
}

static bool parse_ternary(struct parser *p, struct ast **n)
{
    struct kids kids = {0};
    struct ast *yes, *no;
    if (!parse_expr(p, &yes) || !expect(p, TOKEN_COLON) || !parse_expr(p, &no)) return false;
    push(p, &kids, *n);
    push(p, &kids, yes);
    push(p, &kids, no);
    return node(p, AST_TERNARY, (*n)->from, &kids, n);
}

static bool parse_expr(struct parser *p, struct ast **out)
{
    bool question;
    if (!enter(p) || !parse_binary(p, 1, out) || !accept(p, TOKEN_QUESTION, &question)) return false;
    if (question && !parse_ternary(p, out)) return false;
    leave(p);
    return true;
}

static bool parse_all(struct parser *p, struct ast **root)
{
    if (!advance(p)) return false;
    if (p->token.kind == TOKEN_END) {
        parse_fail(p, 0, 1, "the expression is empty");
        err_hint(p->err, "write a value between ${{ and }}, such as params.name");
        return false;
    }
    if (!parse_expr(p, root)) return false;
    if (p->token.kind == TOKEN_END) return true;
    fail_token(p, "an operator or the end");
    bool negated = (*root)->kind == AST_PATH && (*root)->to - (*root)->from == 3 && str_starts(p->lexer.text, "not");
    if (negated || str_is(p->token.text, "and") || str_is(p->token.text, "or") || str_is(p->token.text, "not"))
        err_hint(p->err, "and, or and not are written &&, || and !");
    return false;
}

bool expr_parse(struct arena *a, struct str text, const struct expr **out, struct err *err)
{
    size_t bad;
    if (text.n > EXPR_MAX_BYTES)
        return err_set(err, ERR_LIMIT, "the expression is longer than %d bytes", EXPR_MAX_BYTES);
    if (!utf8_valid(text, &bad)) {
        err_set(err, ERR_SYNTAX, "the expression is not valid UTF-8");
        return text_mark(err, text, bad, bad + 1);
    }
    const char *nul = text.n ? memchr(text.p, '\0', text.n) : NULL;
    if (nul) {
        err_set(err, ERR_SYNTAX, "a NUL byte stands in the expression");
        return text_mark(err, text, (size_t)(nul - text.p), (size_t)(nul - text.p) + 1);
    }
    struct str copy = arena_str(a, text);
    struct parser p = {.lexer = {.text = copy, .arena = a}, .arena = a, .err = err, .pos = {1, 1}};
    struct ast *root;
    if (!parse_all(&p, &root)) return false;
    struct expr *e = arena_new(a, struct expr);
    e->text = copy;
    e->root = root;
    *out = e;
    return true;
}
