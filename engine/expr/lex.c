/* The lexer: the one place that knows how numbers, names and quoted strings of the language are written. */
#include "engine/expr/lex.h"

#include <stdlib.h>
#include <string.h>

#include "engine/expr/ast.h"

static const struct {
    const char *text;
    enum token_kind kind;
} punctuation[] = {
    /* longer ones first */
    {"||", TOKEN_OR},      {"&&", TOKEN_AND},     {"==", TOKEN_EQ},     {"!=", TOKEN_NE},    {"<=", TOKEN_LE},
    {">=", TOKEN_GE},      {"<", TOKEN_LT},       {">", TOKEN_GT},      {"+", TOKEN_PLUS},   {"-", TOKEN_MINUS},
    {"*", TOKEN_STAR},     {"/", TOKEN_SLASH},    {"%", TOKEN_PERCENT}, {"!", TOKEN_NOT},    {"?", TOKEN_QUESTION},
    {":", TOKEN_COLON},    {",", TOKEN_COMMA},    {".", TOKEN_DOT},     {"(", TOKEN_LPAREN}, {")", TOKEN_RPAREN},
    {"[", TOKEN_LBRACKET}, {"]", TOKEN_RBRACKET}, {"{", TOKEN_LBRACE},  {"}", TOKEN_RBRACE},
};

const char *token_name(enum token_kind kind)
{
    static const char *const names[] = {
        [TOKEN_END] = "the end",     [TOKEN_NAME] = "a name", [TOKEN_INT] = "a number", [TOKEN_DOUBLE] = "a number",
        [TOKEN_STRING] = "a string", [TOKEN_OR] = "'||'",     [TOKEN_AND] = "'&&'",     [TOKEN_EQ] = "'=='",
        [TOKEN_NE] = "'!='",         [TOKEN_LE] = "'<='",     [TOKEN_GE] = "'>='",      [TOKEN_LT] = "'<'",
        [TOKEN_GT] = "'>'",          [TOKEN_IN] = "'in'",     [TOKEN_PLUS] = "'+'",     [TOKEN_MINUS] = "'-'",
        [TOKEN_STAR] = "'*'",        [TOKEN_SLASH] = "'/'",   [TOKEN_PERCENT] = "'%'",  [TOKEN_NOT] = "'!'",
        [TOKEN_QUESTION] = "'?'",    [TOKEN_COLON] = "':'",   [TOKEN_COMMA] = "','",    [TOKEN_DOT] = "'.'",
        [TOKEN_LPAREN] = "'('",      [TOKEN_RPAREN] = "')'",  [TOKEN_LBRACKET] = "'['", [TOKEN_RBRACKET] = "']'",
        [TOKEN_LBRACE] = "'{'",      [TOKEN_RBRACE] = "'}'",
    };
    return names[kind];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
    return is_name_start(c) || is_digit(c);
}

static char peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.n ? l->text.p[l->at + ahead] : '\0';
}

static bool fail(struct lexer *l, size_t from, size_t to, struct err *err)
{
    return text_mark(err, l->text, from, to);
}

/* ---- numbers ---- */

static bool lex_hex(struct lexer *l, struct token *out, struct err *err)
{
    size_t from = l->at;
    l->at += 2;
    size_t digits = l->at;
    uint64_t v = 0;
    for (; hex_digit(peek(l, 0)) >= 0; l->at++) {
        if (v >> 60) {
            err_set(err, ERR_SYNTAX, "the number does not fit into 64 bits");
            return fail(l, from, l->at + 1, err);
        }
        v = v << 4 | (uint64_t)hex_digit(peek(l, 0));
    }
    if (l->at == digits || is_name(peek(l, 0))) {
        err_set(err, ERR_SYNTAX, "not a hexadecimal number");
        return fail(l, from, l->at + 1, err);
    }
    out->kind = TOKEN_INT;
    out->i = v;
    return true;
}

static void skip_digits(struct lexer *l)
{
    while (is_digit(peek(l, 0)))
        l->at++;
}

static bool lex_number(struct lexer *l, struct token *out, struct err *err)
{
    if (peek(l, 0) == '0' && (peek(l, 1) == 'x' || peek(l, 1) == 'X')) return lex_hex(l, out, err);
    size_t from = l->at;
    bool real = false;
    skip_digits(l);
    if (peek(l, 0) == '.' && is_digit(peek(l, 1))) {
        real = true;
        l->at++;
        skip_digits(l);
    }
    if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
        size_t sign = peek(l, 1) == '+' || peek(l, 1) == '-' ? 1 : 0;
        if (is_digit(peek(l, 1 + sign))) {
            real = true;
            l->at += 1 + sign;
            skip_digits(l);
        }
    }
    if (is_name(peek(l, 0))) {
        err_set(err, ERR_SYNTAX, "a number is directly followed by '%c'", peek(l, 0));
        err_hint(err, "units such as 10m or 1Gi are strings: write them in quotes");
        return fail(l, from, l->at + 1, err);
    }
    struct str digits = str_sub(l->text, from, l->at - from);
    if (real) {
        out->kind = TOKEN_DOUBLE;
        if (str_double(digits, &out->d)) return true;
        err_set(err, ERR_SYNTAX, "the number is too big");
        return fail(l, from, l->at, err);
    }
    out->kind = TOKEN_INT;
    for (size_t i = 0; i < digits.n; i++) {
        if (__builtin_mul_overflow(out->i, (uint64_t)10, &out->i) ||
            __builtin_add_overflow(out->i, (uint64_t)(digits.p[i] - '0'), &out->i)) {
            err_set(err, ERR_SYNTAX, "the number does not fit into 64 bits");
            return fail(l, from, l->at, err);
        }
    }
    return true;
}

/* ---- strings ---- */

/* A code point of `digits` digits to `base`, l->at before the first of them. */
static bool lex_code_point(struct lexer *l, int digits, uint32_t base, uint32_t *out)
{
    uint32_t c = 0;
    for (int i = 0; i < digits; i++, l->at++) {
        int v = hex_digit(peek(l, 0));
        if (v < 0 || (uint32_t)v >= base || c > 0x10ffff) return false;
        c = c * base + (uint32_t)v;
    }
    *out = c;
    return c > 0 && c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
}

/* One escape, l->at behind the backslash. No escape is longer than what it stands for, so `p` has room. */
static bool lex_escape(struct lexer *l, char *p, size_t *n, struct err *err)
{
    static const char plain[][2] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'\\', '\\'}, {'\'', '\''}, {'"', '"'},
                                    {'`', '`'},  {'?', '?'},  {'a', '\a'}, {'b', '\b'},  {'f', '\f'},  {'v', '\v'}};
    size_t from = l->at - 1;
    char c = peek(l, 0);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (c == plain[i][0] && l->at < l->text.n) {
            p[(*n)++] = plain[i][1];
            l->at++;
            return true;
        }
    }
    int digits = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '3' ? 3 : 0;
    uint32_t base = is_digit(c) ? 8 : 16;
    uint32_t point;
    if (digits == 0) {
        err_set(err, ERR_SYNTAX, "unknown escape in a string");
        err_hint(err, "write \\\\ for a backslash, or r'…' for a string without escapes");
        return fail(l, from, l->at + 1, err);
    }
    l->at += base == 16 ? 1 : 0;
    if (!lex_code_point(l, digits, base, &point)) {
        err_set(err, ERR_SYNTAX, "the escape is not a character that a string may hold");
        return fail(l, from, l->at, err);
    }
    *n += utf8_put(p + *n, point);
    return true;
}

static bool lex_string(struct lexer *l, bool raw, struct token *out, struct err *err)
{
    size_t from = l->at;
    l->at += raw ? 1 : 0;
    char quote = l->text.p[l->at++];
    size_t start = l->at;
    while (l->at < l->text.n && peek(l, 0) != quote && peek(l, 0) != '\n' && (raw || peek(l, 0) != '\\'))
        l->at++;
    out->kind = TOKEN_STRING;
    if (peek(l, 0) == quote) { /* nothing to resolve: a slice of the source */
        out->text = str_sub(l->text, start, l->at++ - start);
        return true;
    }
    char *p = arena_alloc(l->arena, l->text.n - start + 4);
    size_t n = l->at - start;
    memcpy(p, l->text.p + start, n);
    while (l->at < l->text.n && peek(l, 0) != '\n') {
        char c = l->text.p[l->at++];
        if (c == quote) {
            out->text = (struct str){p, n};
            return true;
        }
        if (c != '\\')
            p[n++] = c;
        else if (!lex_escape(l, p, &n, err))
            return false;
    }
    err_set(err, ERR_SYNTAX, "the string is not closed: %c is missing", quote);
    return fail(l, from, from + (raw ? 2 : 1), err);
}

/* ---- the rest ---- */

static bool lex_unknown(struct lexer *l, struct err *err)
{
    static const struct {
        char c;
        const char *hint;
    } hints[] = {
        {'=', "equality is =="},
        {'&', "and is &&"},
        {'|', "or is ||"},
        {'$', "inside ${{ }} names stand bare: params.x"},
        {';', "an expression is one value: no ';'"},
        {'`', "strings stand in '…' or \"…\""},
    };
    char c = l->text.p[l->at];
    size_t to = l->at + 1;
    while (to < l->text.n && ((unsigned char)l->text.p[to] & 0xc0) == 0x80)
        to++;
    if ((unsigned char)c < 0x20 || c == 0x7f)
        err_set(err, ERR_SYNTAX, "a control character (0x%02x) stands in the expression", (unsigned)(unsigned char)c);
    else
        err_set(err, ERR_SYNTAX, "unexpected '%.*s'", (int)(to - l->at), l->text.p + l->at);
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        if (hints[i].c == c) err_hint(err, "%s", hints[i].hint);
    }
    return fail(l, l->at, to, err);
}

static bool lex_token(struct lexer *l, struct token *out, struct err *err)
{
    char c = peek(l, 0);
    if (is_digit(c) || (c == '.' && is_digit(peek(l, 1)))) return lex_number(l, out, err);
    if (c == '"' || c == '\'') return lex_string(l, false, out, err);
    if ((c == 'r' || c == 'R') && (peek(l, 1) == '"' || peek(l, 1) == '\'')) return lex_string(l, true, out, err);
    if (is_name_start(c)) {
        size_t from = l->at;
        while (is_name(peek(l, 0)))
            l->at++;
        out->text = str_sub(l->text, from, l->at - from);
        out->kind = str_is(out->text, "in") ? TOKEN_IN : TOKEN_NAME;
        return true;
    }
    struct str rest = str_sub(l->text, l->at, l->text.n);
    for (size_t i = 0; i < sizeof punctuation / sizeof *punctuation; i++) {
        if (str_starts(rest, punctuation[i].text)) {
            out->kind = punctuation[i].kind;
            l->at += strlen(punctuation[i].text);
            return true;
        }
    }
    return lex_unknown(l, err);
}

bool lex_next(struct lexer *l, struct token *out, struct err *err)
{
    while (l->at < l->text.n && strchr(" \t\r\n", l->text.p[l->at]) && l->text.p[l->at])
        l->at++;
    struct token t = {.kind = TOKEN_END, .from = (uint32_t)l->at, .to = (uint32_t)l->at};
    if (l->at < l->text.n) {
        if (!lex_token(l, &t, err)) return false;
        t.to = (uint32_t)l->at;
    }
    *out = t;
    return true;
}
