/* What an evaluation carries along, for the files that evaluate: eval.c, operators.c, functions.c, match.c. Private to
 * engine/expr. */
#ifndef MILLRACE_EXPR_EVAL_H
#define MILLRACE_EXPR_EVAL_H

#include "engine/expr/ast.h"

#define EVAL_MAX_TEXT (4u << 20)  /* bytes of one string that an expression or template makes */
#define EVAL_MAX_DEPTH 60         /* of a value that an expression makes */
#define EVAL_MAX_NODES (1u << 18) /* of a result; items that share memory count each time */
#define EVAL_MAX_BYTES (4u << 20)
#define EVAL_MAX_MEMORY ((size_t)32 << 20) /* of one evaluation */

struct eval {
    const struct expr *expr;
    const struct expr_env *env;
    struct arena *arena;     /* of this evaluation alone: what it comes to depends on nothing that went before */
    const struct miss *miss; /* what the error is of, when a map lacks a field; NULL = of something else */
    struct err err;          /* own, since && and || look into it; goes to the caller at the end */
    uint64_t cost, max_cost;
    struct patterns *patterns; /* compiled in it; NULL = none yet */
    bool shared;               /* others have spent of the budget, too */
    struct value vars[AST_MAX_VARS];
};

/* Fails the evaluation at a node: `return eval_fail(ev, node, ERR_INVALID, "…")`. */
#define eval_fail(ev, node, code, ...)                                                                                 \
    (err_set(&(ev)->err, (code), __VA_ARGS__), (ev)->miss = NULL,                                                      \
     text_mark(&(ev)->err, (ev)->expr->text, (node)->from, (node)->to))

/* Takes steps from the budget; false once it is spent. */
bool eval_charge(struct eval *ev, const struct ast *at, uint64_t steps);
/* The same for what walks a whole value: a step an item and one per 64 bytes of text. */
bool eval_charge_value(struct eval *ev, const struct ast *at, const struct value *v);
/* To write it as text, in which doubles are dear. */
bool eval_charge_text(struct eval *ev, const struct ast *at, const struct value *v);
/* To look a key up in a map. */
bool eval_charge_find(struct eval *ev, const struct ast *at, const struct value *map, struct str key);

/* Is the value of a size that can be stored, sent and written as JSON? Fails with ERR_LIMIT, without a position. */
bool eval_fits(const struct value *v, struct err *err);

/* Evaluates a part of an expression that reads no names, at the price of a few steps: *known is false when that was not
 * enough. */
MUST_CHECK bool eval_constant(const struct expr *e, const struct ast *part, bool *known, struct err *err);

/* Evaluates an expression of a template (template.c). An error's place is that in the template; its message shows the
 * expression. */
MUST_CHECK bool eval_part(const struct expr_part *part, const struct expr_env *env, struct arena *a, struct value *out,
                          struct err *err);

/* An operator on two values; not && and ||. */
bool operator_apply(struct eval *ev, const struct ast *at, const struct value *a, const struct value *b,
                    struct value *out);
bool operator_negate(struct eval *ev, const struct ast *at, const struct value *a, struct value *out);

#endif
