/* Expressions and templates from any bytes: parse, list references, check, evaluate, fill into text and into a shell
 * line. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/expr/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lookup(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                   bool *absent, struct err *err)
{
    (void)ctx;
    (void)a;
    *used = 0;
    switch (ref->root.n % 5) {
    case 0: *absent = true; return true;
    case 1: *out = value_string(ref->root); return true;
    case 2: *out = value_int((int64_t)ref->n); return true;
    case 3: *out = value_null(); return true;
    default: return err_set(err, ERR_INVALID, "no such name");
    }
}

static bool json(struct arena *a, struct str text, struct value *out, struct err *err)
{
    (void)a;
    (void)err;
    *out = value_string(text);
    return true;
}

static bool count(void *ctx, const struct expr_ref *ref)
{
    *(size_t *)ctx += ref->n;
    return true;
}

/* What must hold of every error: a code and a place within the text. */
static void judge(const struct err *err, size_t size)
{
    if (err->code == ERR_NONE || err->at.col > size + 1 || err->at.line > size + 1) abort();
}

static void one_expression(struct arena *a, struct str text, const struct expr_env *env)
{
    const struct expr *e;
    struct err err = {0};
    if (!expr_parse(a, text, &e, &err)) {
        judge(&err, text.n);
        return;
    }
    size_t fields = 0;
    enum expr_type type;
    struct err_list errors;
    struct value v;
    expr_refs(e, count, &fields);
    err_list_init(&errors, a);
    if (!expr_check(e, NULL, &type, &errors) && errors.total == 0) abort();
    if (!expr_eval(e, env, a, &v, &err)) judge(&err, text.n);
}

static void one_template(struct arena *a, struct str text, const struct expr_env *env)
{
    struct expr_template t;
    struct value v;
    struct str line;
    struct err err = {0};
    if (!expr_template_parse(a, text, &t, &err)) {
        judge(&err, text.n);
        return;
    }
    if (!expr_template_eval(&t, env, a, &v, &err)) judge(&err, text.n);
    if (!expr_shell_eval(&t, env, a, &line, &err)) judge(&err, text.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str text = {(const char *)data, size};
    const struct expr_env env = {.lookup = lookup, .json = json, .max_cost = 20000};
    arena_init(&a, 0);
    one_expression(&a, text, &env);
    one_template(&a, text, &env);
    arena_free(&a);
    return 0;
}
