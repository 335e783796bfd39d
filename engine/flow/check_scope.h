/* The names and types an expression of a pipeline may read. */
#ifndef MILLRACE_FLOW_CHECK_SCOPE_H
#define MILLRACE_FLOW_CHECK_SCOPE_H

#include "engine/flow/compile_inner.h"

struct check_scope {
    struct compile *c;
    const struct spec_use *use;
    bool secrets; /* a secret param may stand here */
};

/* For struct expr_scope. */
bool check_type_of(void *ctx, const struct expr_ref *ref, enum expr_type *out, struct err *err);

const struct str *check_words_of(void *ctx, const struct expr_ref *ref, size_t *n);

#endif
