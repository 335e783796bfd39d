/* Small things about trees and places that every file of this folder needs. */
#include "engine/expr/ast.h"

const char *ast_op_name(enum ast_op op)
{
    static const char *const names[] = {
        [OP_OR] = "||", [OP_AND] = "&&", [OP_EQ] = "==", [OP_NE] = "!=", [OP_LT] = "<",  [OP_LE] = "<=", [OP_GT] = ">",
        [OP_GE] = ">=", [OP_IN] = "in",  [OP_ADD] = "+", [OP_SUB] = "-", [OP_MUL] = "*", [OP_DIV] = "/", [OP_MOD] = "%",
    };
    return names[op];
}

static bool starts_code_point(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

struct pos text_pos_on(struct str text, size_t from, struct pos at, size_t offset)
{
    for (size_t i = from; i < offset && i < text.n; i++) {
        if (text.p[i] == '\n') {
            at.line++;
            at.col = 1;
        } else if (i + 1 >= text.n || starts_code_point(text.p[i + 1])) {
            at.col++;
        }
    }
    return at;
}

struct pos text_pos(struct str text, size_t offset)
{
    return text_pos_on(text, 0, (struct pos){1, 1}, offset);
}

uint32_t text_len(struct str text, size_t from, size_t to)
{
    uint32_t n = 0;
    for (size_t i = from; i < to && i < text.n && text.p[i] != '\n'; i++)
        n += starts_code_point(text.p[i]);
    return n ? n : 1;
}

struct pos expr_pos_shift(struct pos base, struct pos inner)
{
    if (base.line == 0 || inner.line == 0) return base;
    if (inner.line > 1) return (struct pos){base.line + inner.line - 1, inner.col};
    return (struct pos){base.line, base.col + inner.col - 1};
}
