/* The tree that parse.c builds and that check.c, eval.c and refs.c walk. Private to engine/expr.
 *
 * Nodes know their place as byte offsets into the source; lines and columns are worked out only for errors. */
#ifndef MILLRACE_EXPR_AST_H
#define MILLRACE_EXPR_AST_H

#include "engine/expr/expr.h"

#define AST_MAX_HEIGHT 256 /* of the tree: nesting, and chains such as a + b + c */
#define AST_MAX_VARS EXPR_MAX_DEPTH

enum ast_kind {
    AST_LITERAL, /* u.literal */
    AST_VAR,     /* slot: bound by a comprehension */
    AST_PATH,    /* u.path: a root name and constant fields */
    AST_FIELD,   /* kids[0].name */
    AST_INDEX,   /* kids[0][kids[1]] */
    AST_LIST,    /* kids */
    AST_MAP,     /* kids: key, value, key, value, … */
    AST_NOT,
    AST_NEG,
    AST_BINARY,  /* op */
    AST_TERNARY, /* kids[0] ? kids[1] : kids[2] */
    AST_CALL,    /* u.fn; a method's receiver is kids[0] */
    AST_LOOP,    /* u.fn over kids[0], variable `slot`; body kids[1], condition of a three-part map kids[2] */
    AST_HAS,     /* kids[0] */
};

enum ast_op { OP_OR, OP_AND, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_IN, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD };

struct function;

struct ast {
    enum ast_kind kind;
    enum ast_op op;
    uint32_t from, to;
    uint32_t slot;
    uint32_t height;
    uint32_t n;
    const struct ast **kids;
    union {
        struct value literal;
        const struct expr_ref *path;
        struct str name;
        const struct function *fn;
    } u;
};

struct expr {
    struct str text;
    const struct ast *root;
};

const char *ast_op_name(enum ast_op op);

/* Line and column of a byte offset; the span's length in code points. Both bear any bytes. */
struct pos text_pos(struct str text, size_t offset);
struct pos text_pos_on(struct str text, size_t from, struct pos at, size_t offset); /* from a place that is known */
uint32_t text_len(struct str text, size_t from, size_t to);

/* Points err at the span, unless it points somewhere already. Returns false. */
static inline bool text_mark(struct err *err, struct str text, size_t from, size_t to)
{
    if (err && !err->at.line) err_at(err, text_pos(text, from), text_len(text, from, to));
    return false;
}

#endif
