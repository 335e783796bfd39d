/* The functions of the language: one table that the parser (names, arity), the checker (types), the evaluator (calls)
 * and the documentation share. Private to engine/expr. */
#ifndef MILLRACE_EXPR_FUNCTIONS_H
#define MILLRACE_EXPR_FUNCTIONS_H

#include "engine/expr/ast.h"

#define TYPE_BIT(t) (1u << (t))
#define TYPES_NUMBER (TYPE_BIT(EXPR_INT) | TYPE_BIT(EXPR_DOUBLE))
#define TYPES_ALL 0xffu

enum function_form {
    FORM_GLOBAL = 1, /* f(x) */
    FORM_METHOD = 2, /* x.f() */
};

/* Comprehensions, which bind a name, and has(), whose argument may be absent, are known to parser and evaluator by
 * kind. */
enum function_kind { KIND_CALL, KIND_HAS, KIND_FILTER, KIND_MAP, KIND_ALL, KIND_EXISTS, KIND_MAX_BY, KIND_MIN_BY };

struct eval;
typedef bool function_call(struct eval *ev, const struct ast *at, const struct value *args, struct value *out);

struct function {
    const char *name;
    const char *usage;
    const char *doc;
    function_call *call; /* of KIND_CALL; its arguments have the types of the row */
    enum function_kind kind;
    uint8_t form;     /* of enum function_form, or-ed */
    uint8_t min, max; /* arguments, a method's receiver included */
    uint8_t types[2]; /* TYPE_BITs each argument may have; the second is for all that follow the first */
    enum expr_type result;
};

extern const struct function functions[];
extern const size_t n_functions;

const struct function *function_find(struct str name);
struct str function_suggest(struct str name);

enum expr_type type_of_value(const struct value *v);
const char *type_name(enum expr_type t);
/* "int or double" for a message; out holds at least 64 bytes. */
const char *types_text(unsigned types, char *out);
static inline unsigned function_types(const struct function *fn, size_t arg)
{
    return fn->types[arg ? 1 : 0];
}

/* ---- regular expressions (match.c) ---- */

/* Is the pattern one that matches() takes? err gets no position. What it takes to find out is added to *cost. */
MUST_CHECK bool match_check(struct str pattern, uint64_t *cost, struct err *err);
function_call match_call;
void match_end(struct eval *ev); /* gives back what it holds */

#endif
