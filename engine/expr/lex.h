/* Expression source to tokens. Private to engine/expr. */
#ifndef MILLRACE_EXPR_LEX_H
#define MILLRACE_EXPR_LEX_H

#include "engine/base/err.h"

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_INT,
    TOKEN_DOUBLE,
    TOKEN_STRING,
    TOKEN_OR,
    TOKEN_AND,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LE,
    TOKEN_GE,
    TOKEN_LT,
    TOKEN_GT,
    TOKEN_IN,
    TOKEN_PLUS,
    TOKEN_MINUS,
    TOKEN_STAR,
    TOKEN_SLASH,
    TOKEN_PERCENT,
    TOKEN_NOT,
    TOKEN_QUESTION,
    TOKEN_COLON,
    TOKEN_COMMA,
    TOKEN_DOT,
    TOKEN_LPAREN,
    TOKEN_RPAREN,
    TOKEN_LBRACKET,
    TOKEN_RBRACKET,
    TOKEN_LBRACE,
    TOKEN_RBRACE,
};

struct token {
    enum token_kind kind;
    uint32_t from, to; /* bytes */
    struct str text;   /* of a name; of a string: what it means, escapes resolved */
    uint64_t i;        /* of an int, before its sign */
    double d;
};

struct lexer {
    struct str text;
    struct arena *arena; /* for strings with escapes */
    size_t at;
};

/* The next token; TOKEN_END for ever once there is nothing left. */
MUST_CHECK bool lex_next(struct lexer *l, struct token *out, struct err *err);

/* How a token reads in a message: "'&&'", "a number", "the end". */
const char *token_name(enum token_kind kind);

#endif
