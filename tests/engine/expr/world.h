/* A small world for expressions to read: values, one absent step, and a lookup that answers roots only or whole paths.
 */
#ifndef MILLRACE_TESTS_ENGINE_EXPR_WORLD_H
#define MILLRACE_TESTS_ENGINE_EXPR_WORLD_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/expr/expr.h"

/* The language describes its own environment. `steps.skipped` is absent; `broken` cannot be read at all. */
static const char world_source[] =
    "{'params': {'n': 3, 'share': 0.25, 'name': 'svm', 'flag': true, 'none': null, 'models': ['a', 'b', 'c'], "
    "            'odd-name': 7, 'evil': \"it's; $(touch /tmp/x) `id` \\\"q\\\" \\\\ \\n#end\", 'nested': {'deep': [1, "
    "2]}},"
    " 'steps': {'train': {'status': 'Succeeded', 'outputs': ["
    "     {'name': 'a', 'accuracy': 0.9, 'index': 0}, {'name': 'b', 'accuracy': 0.97, 'index': 1},"
    "     {'name': 'c', 'accuracy': 0.97, 'index': 2}, {'name': 'd', 'accuracy': 0.5}]},"
    "     'data': {'outputs': {'rows': 100}}},"
    " 'item': 'x', 'text': 'héllo wörld', 'big': 9223372036854775807}";

struct world {
    struct arena arena;
    struct value root;
    bool whole_paths; /* lookup resolves as much of the path as it can, else the root only */
};

static inline bool world_lookup(void *ctx, struct arena *a, const struct expr_ref *ref, struct value *out, size_t *used,
                                bool *absent, struct err *err)
{
    (void)a;
    struct world *w = ctx;
    if (str_is(ref->root, "broken")) return err_set(err, ERR_UNAVAILABLE, "the database is away");
    if (str_is(ref->root, "steps") && ref->n && str_is(ref->fields[0], "skipped")) {
        *absent = true;
        return true;
    }
    const struct value *v = value_find(&w->root, ref->root);
    if (!v) return err_set(err, ERR_INVALID, "unknown name %.*s", STR_ARG(ref->root));
    *used = 0;
    while (w->whole_paths && *used < ref->n && value_find(v, ref->fields[*used]))
        v = value_find(v, ref->fields[(*used)++]);
    *out = *v;
    return true;
}

static inline bool world_json(struct arena *a, struct str text, struct value *out, struct err *err)
{
    (void)a;
    if (str_is(text, "[1]")) {
        struct value_list_builder list;
        value_list_begin(&list, a);
        value_list_push(&list, value_int(1));
        *out = value_list_end(&list);
        return true;
    }
    return err_set(err, ERR_SYNTAX, "expected a value");
}

static inline struct expr_env world_env(struct world *w)
{
    return (struct expr_env){.ctx = w, .lookup = world_lookup, .json = world_json};
}

static inline int world_setup(void **state)
{
    static struct world w;
    const struct expr *e;
    struct err err = {0};
    arena_init(&w.arena, 0);
    if (!expr_parse(&w.arena, str_of(world_source), &e, &err) || !expr_eval(e, NULL, &w.arena, &w.root, &err)) {
        fprintf(stderr, "world: %s at %u\n", err.message, err.at.col);
        return -1;
    }
    *state = &w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    arena_free(&w->arena);
    return 0;
}

#endif
