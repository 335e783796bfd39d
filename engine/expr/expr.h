/* The expression language of `${{ … }}`: a subset of CEL
 * (https://github.com/google/cel-spec/blob/master/doc/langdef.md).
 *
 * Pure: parse, check and evaluate have no I/O, clock or randomness. A compiled expression is immutable, lives in the
 * arena it was parsed into, and may be evaluated by many threads at once, each with an arena of its own. */
#ifndef MILLRACE_EXPR_EXPR_H
#define MILLRACE_EXPR_EXPR_H

#include "engine/base/err.h"
#include "engine/base/value.h"

#define EXPR_MAX_BYTES 4096  /* of source text */
#define EXPR_MAX_DEPTH 64    /* of nesting */
#define EXPR_MAX_COST 400000 /* steps of evaluation: a filter over the items of the longest foreach fits */

/* Static types. ANY is a value whose type is known only at run time; OPTIONAL-ness is expressed by has(). */
enum expr_type { EXPR_ANY, EXPR_NULL, EXPR_BOOL, EXPR_INT, EXPR_DOUBLE, EXPR_STRING, EXPR_LIST, EXPR_MAP };

struct expr;

/* Errors carry the column within `text` in err->at (line from 1, col from 1) and err->len; see expr_pos_shift(). */
MUST_CHECK bool expr_parse(struct arena *a, struct str text, const struct expr **out, struct err *err);

/* A path the expression reads from a root name: steps.train.outputs.model → root "steps", fields
 * {"train","outputs","model"}. An index by a constant string counts as a field; the path ends where it becomes dynamic.
 * Names bound by a comprehension are not reported. `guarded` is true where the path stands inside has(), or is read
 * only where a has() of it (or of a part it begins with) held: has(p) ? p : x, has(p) && p > 1, !has(p) || p > 1. */
struct expr_span {
    struct pos at; /* within the expression text */
    uint32_t len;  /* code points */
};
struct expr_ref {
    struct str root;
    const struct str *fields;
    size_t n;
    bool guarded;
    struct pos at;                 /* within the expression text */
    uint32_t len;                  /* code points of the whole path */
    const struct expr_span *spans; /* n + 1: of the root, then of each field; to point at the one that is wrong */
};
typedef bool expr_ref_fn(void *ctx, const struct expr_ref *ref); /* false stops */
void expr_refs(const struct expr *e, expr_ref_fn *fn, void *ctx);

/* Static check. `type_of` is asked for the whole path and tells its type (EXPR_ANY if that is known only at run time).
 * False with err set when the path cannot exist; err->at may be one of ref->spans, else the whole path is pointed at.
 * False with err untouched when it knows nothing of a path this long: it is then asked with n one less, and the rest
 * are fields of what it finds. All errors go to the list. The result's type goes to *out. A scope or type_of of NULL
 * takes every path as EXPR_ANY. */
struct expr_scope {
    void *ctx;
    bool (*type_of)(void *ctx, const struct expr_ref *ref, enum expr_type *out, struct err *err);
    /* The words of which a path is always one; NULL when it may be any text. What is compared with another word is
     * wrong. May be NULL itself. */
    const struct str *(*words)(void *ctx, const struct expr_ref *ref, size_t *n);
    uint64_t *spent, max_cost; /* to compile patterns, as in expr_env; NULL = no limit */
};
MUST_CHECK bool expr_check(const struct expr *e, const struct expr_scope *scope, enum expr_type *out,
                           struct err_list *errors);

/* Evaluation. `lookup` gives the value of a root name ("params", "steps", "item", …), lazily; it may be called with the
 * whole path so that it need not build the whole root: it fills *out with the value at the first *used fields of the
 * path (0 = the root itself). false = error set. When something on the way is absent it returns true with *absent =
 * true: has() is then false, any other use an error of ERR_NOT_FOUND. has() is also false for null. Other failures of
 * an expression are ERR_INVALID, or ERR_LIMIT for its cost and sizes; errors of lookup and json pass through. The arena
 * that both get is the evaluation's own, which is bounded; only the result goes to the caller's. Results may point into
 * the expression and the environment's values. */
struct expr_env {
    void *ctx;
    bool (*lookup)(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                   bool *absent, struct err *err);
    /* json(text): decoding is not pure here, so the caller gives it; NULL makes json() an error. */
    bool (*json)(struct arena *a, struct str text, struct value *out, struct err *err);
    uint64_t max_cost; /* 0 = EXPR_MAX_COST */
    uint64_t *spent; /* of max_cost, by all that is evaluated with it; NULL = each evaluation has a budget of its own */
};
MUST_CHECK bool expr_eval(const struct expr *e, const struct expr_env *env, struct arena *a, struct value *out,
                          struct err *err);

/* ---- templates: text with `${{ … }}` in it ---- */

struct expr_part {
    struct str text; /* literal text when expr is NULL, else the expression's source */
    const struct expr *expr;
    struct pos at; /* of the expression's first character within the template */
};

struct expr_template {
    const struct expr_part *parts;
    size_t n;
    bool single;  /* the text is one expression and nothing else: the value keeps its type */
    bool literal; /* no expression in it */
    struct str source;
};

/* `$${{` stands for a literal `${{`. Errors have their position within `text`. */
MUST_CHECK bool expr_template_parse(struct arena *a, struct str text, struct expr_template *out, struct err *err);
/* The same with all errors. When there are some, *out is what is good of it: to check that, not to evaluate it. */
MUST_CHECK bool expr_template_parse_all(struct arena *a, struct str text, struct expr_template *out,
                                        struct err_list *errors);
/* single: the value itself; else a string, lists and maps inside text as JSON. */
MUST_CHECK bool expr_template_eval(const struct expr_template *t, const struct expr_env *env, struct arena *a,
                                   struct value *out, struct err *err);
void expr_template_refs(const struct expr_template *t, expr_ref_fn *fn, void *ctx);

/* A value as it stands in text: strings bare, null as nothing, lists and maps as JSON. Errors (too long) have no
 * position. */
MUST_CHECK bool expr_text(struct arena *a, const struct value *v, struct str *out, struct err *err);

/* A template whose expressions each become exactly one shell word, quoted ('…'): what stands in a `run:` line. A list
 * becomes one word per item. It is an error, at parse time, for an expression to stand inside the user's own quotes
 * (hint: env: or the list form); the check tells all of them. */
MUST_CHECK bool expr_shell_check(const struct expr_template *t, struct err_list *errors);
/* Does part i stand alone, with blanks or other separators around it? Only then can it be a list. */
bool expr_shell_alone(const struct expr_template *t, size_t i);
MUST_CHECK bool expr_shell_eval(const struct expr_template *t, const struct expr_env *env, struct arena *a,
                                struct str *out, struct err *err);

/* Moves a position within an embedded text (expression in template, template in document scalar) to the outer text:
 * `base` is where the embedded text's first character stands. */
struct pos expr_pos_shift(struct pos base, struct pos inner);

#endif
