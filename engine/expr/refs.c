/* What an expression reads: its paths in source order, each with the answer to "may it be absent?".
 *
 * A reader of a skipped step is skipped too unless it asks has() first. So a path counts as guarded inside has(), and
 * wherever a has() of it is known to hold: in the branches and operands that are reached only then. */
#include "engine/expr/functions.h"

#define MAX_HELD 32

struct walk {
    expr_ref_fn *fn;
    void *ctx;
    const struct expr_ref *held[MAX_HELD]; /* known to be there at the place of the walk */
    size_t n_held;
};

static bool holds(const struct expr_ref *held, const struct expr_ref *ref)
{
    if (!str_eq(held->root, ref->root) || held->n > ref->n) return false;
    for (size_t i = 0; i < held->n; i++) {
        if (!str_eq(held->fields[i], ref->fields[i])) return false;
    }
    return true;
}

static bool report(struct walk *w, const struct expr_ref *path, bool guarded)
{
    struct expr_ref ref = *path;
    ref.guarded = guarded;
    for (size_t i = 0; i < w->n_held && !ref.guarded; i++)
        ref.guarded = holds(w->held[i], path);
    return w->fn(w->ctx, &ref);
}

/* Notes what is there once the condition came out as `truth`. */
static void assume(struct walk *w, const struct ast *n, bool truth)
{
    if (n->kind == AST_NOT) {
        assume(w, n->kids[0], !truth);
    } else if (n->kind == AST_BINARY && n->op == (truth ? OP_AND : OP_OR)) {
        assume(w, n->kids[0], truth);
        assume(w, n->kids[1], truth);
    } else if (n->kind == AST_HAS && truth) {
        const struct ast *base = n->kids[0];
        while (base->kind == AST_FIELD || base->kind == AST_INDEX)
            base = base->kids[0];
        if (base->kind == AST_PATH && w->n_held < MAX_HELD) w->held[w->n_held++] = base->u.path;
    }
}

static bool visit(struct walk *w, const struct ast *n, bool guarded);

/* A part that is reached only if the condition came out as `truth`. */
static bool visit_if(struct walk *w, const struct ast *condition, bool truth, const struct ast *part)
{
    size_t before = w->n_held;
    assume(w, condition, truth);
    bool go_on = visit(w, part, false);
    w->n_held = before;
    return go_on;
}

static bool visit(struct walk *w, const struct ast *n, bool guarded)
{
    if (n->kind == AST_PATH) return report(w, n->u.path, guarded);
    if (n->kind == AST_HAS) return visit(w, n->kids[0], true);
    if (n->kind == AST_BINARY && (n->op == OP_AND || n->op == OP_OR))
        return visit(w, n->kids[0], false) && visit_if(w, n->kids[0], n->op == OP_AND, n->kids[1]);
    if (n->kind == AST_TERNARY)
        return visit(w, n->kids[0], false) && visit_if(w, n->kids[0], true, n->kids[1]) &&
               visit_if(w, n->kids[0], false, n->kids[2]);
    bool selects = n->kind == AST_FIELD || n->kind == AST_INDEX;
    for (uint32_t i = 0; i < n->n; i++) {
        if (!visit(w, n->kids[i], guarded && selects && i == 0)) return false;
    }
    return true;
}

void expr_refs(const struct expr *e, expr_ref_fn *fn, void *ctx)
{
    struct walk w = {.fn = fn, .ctx = ctx};
    (void)visit(&w, e->root, false);
}
