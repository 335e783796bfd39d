/* Declarations of flavors and queues. See queues.h. */
#include "engine/store/queues.h"

#include "engine/base/buf.h"
#include "engine/text/json.h"

bool queues_list(struct conn *c, enum queue_kind kind, struct arena *a, struct queue_decl **out, size_t *n,
                 struct err *err)
{
    RESULT_AUTO res = NULL;
    if (!conn_query(c, kind == QUEUE_KIND_FLAVOR ? Q_FLAVOR_LIST : Q_QUEUE_LIST, NULL, &res, err)) return false;
    *n = (size_t)PQntuples(res);
    *out = arena_array(a, struct queue_decl, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        int row = (int)i;
        (*out)[i] = (struct queue_decl){.name = row_copy(res, row, 0, a),
                                        .spec = row_copy(res, row, 1, a),
                                        .created_us = row_time(res, row, 2),
                                        .created_by = row_copy(res, row, 3, a),
                                        .updated_us = row_time(res, row, 4)};
    }
    return true;
}

/* ---- applying ---- */

struct applying {
    const struct queue_docs *docs;
    struct str actor;
    bool dry;
    struct queue_applied *applied;
    struct err_list *errors;
    struct arena *arena;
};

static bool put(struct conn *c, const struct applying *x, enum queue_kind kind, struct str name,
                const struct value *doc, struct queue_applied *out, struct err *err)
{
    BUF_AUTO json;
    struct params p;
    RESULT_AUTO res = NULL;
    buf_init(&json, 0);
    value_json(&json, doc, false);
    params_init(&p, x->arena);
    params_str(&p, name);
    params_str(&p, buf_view(&json));
    params_str(&p, x->actor);
    if (!conn_query(c, kind == QUEUE_KIND_FLAVOR ? Q_FLAVOR_PUT : Q_QUEUE_PUT, &p, &res, err)) return false;
    *out = (struct queue_applied){.kind = kind, .name = name};
    if (PQntuples(res) > 0) out->change = row_bool(res, 0, 0) ? QUEUE_CREATED : QUEUE_UPDATED;
    return true;
}

/* The flavor that is there while none is declared ends with the first one, and a quota of it would be of nothing. */
static bool ends_any_flavor(struct conn *c, const struct applying *x, const struct str *known, size_t n,
                            struct err *err)
{
    RESULT_AUTO users = NULL;
    struct params p;
    bool named = n + x->docs->n_flavors == 0;
    for (size_t i = 0; i < n; i++)
        named |= str_is(known[i], QUEUE_ANY_FLAVOR);
    for (size_t i = 0; i < x->docs->n_flavors; i++)
        named |= str_is(x->docs->flavors[i].name, QUEUE_ANY_FLAVOR);
    if (named) return true;
    params_init(&p, x->arena);
    params_str(&p, STR(QUEUE_ANY_FLAVOR));
    if (!conn_query(c, Q_FLAVOR_USER, &p, &users, err)) return false;
    if (PQntuples(users) == 0) return true;
    const struct value *name = value_get(x->docs->flavor_values[0], "name");
    struct err *e = err_list_add(x->errors, ERR_INVALID, name->at,
                                 "queue '%.*s' has a quota of '" QUEUE_ANY_FLAVOR
                                 "', which is there only while no flavor is declared",
                                 STR_ARG(row_str(users, 0, 0)));
    err_path(e, "name");
    err_hint(e, "apply that queue with it, by a quota of this flavor, or declare a flavor '" QUEUE_ANY_FLAVOR "', too");
    *err = *e;
    return false;
}

static bool apply_tx(struct conn *c, void *ctx, struct err *err)
{
    const struct applying *x = ctx;
    struct queue_decl *flavors;
    size_t n, k = 0;
    RESULT_AUTO locked = NULL;
    RESULT_AUTO told = NULL;
    if (!conn_query(c, Q_QUEUE_LOCK, NULL, &locked, err)) return false;
    if (!queues_list(c, QUEUE_KIND_FLAVOR, x->arena, &flavors, &n, err)) return false;
    struct str *known = arena_array(x->arena, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        known[i] = flavors[i].name;
    if (!queue_docs_check(x->docs, known, n, x->errors)) {
        *err = x->errors->items[0];
        return false;
    }
    for (size_t i = 0; i < x->docs->n_flavors; i++)
        if (!put(c, x, QUEUE_KIND_FLAVOR, x->docs->flavors[i].name, x->docs->flavor_values[i], &x->applied[k++], err))
            return false;
    for (size_t i = 0; i < x->docs->n_queues; i++)
        if (!put(c, x, QUEUE_KIND_QUEUE, x->docs->queues[i].name, x->docs->queue_values[i], &x->applied[k++], err))
            return false;
    if (x->docs->n_flavors > 0 && !ends_any_flavor(c, x, known, n, err)) return false;
    if (x->dry) {
        conn_rollback(c);
        return conn_begin(c, err);
    }
    bool changed = false;
    for (size_t i = 0; i < k; i++)
        changed |= x->applied[i].change != QUEUE_UNCHANGED;
    return !changed || conn_query(c, Q_QUEUE_CHANGED, NULL, &told, err); /* placers begin anew with what is changed */
}

bool queues_apply(struct conn *c, const struct queue_docs *docs, struct str actor, bool dry,
                  struct queue_applied *applied, struct err_list *errors, struct err *err)
{
    struct applying x = {docs, actor, dry, applied, errors, errors->arena};
    return conn_tx(c, apply_tx, &x, err);
}

/* ---- deleting ---- */

struct deleting {
    enum queue_kind kind;
    struct str name;
    struct arena *arena;
};

static bool in_use(struct conn *c, const struct deleting *x, const struct params *p, struct err *err)
{
    RESULT_AUTO users = NULL;
    RESULT_AUTO work = NULL;
    bool flavor = x->kind == QUEUE_KIND_FLAVOR;
    if (flavor && !conn_query(c, Q_FLAVOR_USER, p, &users, err)) return false;
    if (flavor && PQntuples(users) > 0) {
        err_set(err, ERR_CONFLICT, "queue '%.*s' has a quota of flavor '%.*s'", STR_ARG(row_str(users, 0, 0)),
                STR_ARG(x->name));
        return err_hint(err, "apply the queue without it first");
    }
    if (!conn_query(c, flavor ? Q_FLAVOR_WORK : Q_QUEUE_WORK_COUNT, p, &work, err)) return false;
    int64_t n = row_int(work, 0, 0);
    if (n == 0) return true;
    err_set(err, ERR_CONFLICT, "%lld steps %s %s '%.*s'", (long long)n,
            flavor ? "run on, or wait for," : "wait or run in", flavor ? "flavor" : "queue", STR_ARG(x->name));
    return err_hint(err, "wait for their end, or cancel their runs");
}

static bool delete_tx(struct conn *c, void *ctx, struct err *err)
{
    const struct deleting *x = ctx;
    struct params p;
    int64_t n = 0;
    RESULT_AUTO locked = NULL;
    RESULT_AUTO told = NULL;
    params_init(&p, x->arena);
    params_str(&p, x->name);
    if (!conn_query(c, Q_QUEUE_LOCK, NULL, &locked, err) || !in_use(c, x, &p, err) ||
        !conn_exec(c, x->kind == QUEUE_KIND_FLAVOR ? Q_FLAVOR_DELETE : Q_QUEUE_DELETE, &p, &n, err))
        return false;
    if (n == 0 && x->kind == QUEUE_KIND_QUEUE && str_is(x->name, QUEUE_DEFAULT)) {
        err_set(err, ERR_CONFLICT, "the queue '" QUEUE_DEFAULT "' is there without being declared");
        return err_hint(err, "it cannot be deleted, only declared with a quota: kind: Queue, name: " QUEUE_DEFAULT);
    }
    if (n == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no %s '%.*s'", x->kind == QUEUE_KIND_FLAVOR ? "flavor" : "queue",
                       STR_ARG(str_sub(x->name, 0, 80)));
    return conn_query(c, Q_QUEUE_CHANGED, NULL, &told, err);
}

bool queues_delete(struct conn *c, enum queue_kind kind, struct str name, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    struct deleting x = {kind, name, &a};
    bool ok = conn_tx(c, delete_tx, &x, err);
    arena_free(&a);
    return ok;
}

/* ---- reading them ---- */

bool queues_docs(struct conn *c, struct arena *a, struct queue_docs *out, struct err *err)
{
    struct queue_decl *decls[2];
    size_t n[2], kept = 0;
    for (int kind = 0; kind < 2; kind++)
        if (!queues_list(c, (enum queue_kind)kind, a, &decls[kind], &n[kind], err)) return false;
    struct value *docs = arena_array(a, struct value, n[0] + n[1] + 1);
    for (int kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < n[kind]; i++) {
            struct err bad;
            if (json_decode(a, decls[kind][i].spec, &docs[kept], &bad)) kept++;
        }
    struct err_list errors;
    err_list_init(&errors, a);
    if (!queue_docs_read(a, docs, kept, out, &errors)) {
        *err = errors.items[0];
        err->code = ERR_INTERNAL;
        return false;
    }
    return true;
}

bool queues_generation(struct conn *c, struct arena *a, int64_t *out, struct err *err)
{
    RESULT_AUTO res = NULL;
    (void)a;
    if (!conn_query(c, Q_QUEUE_GENERATION, NULL, &res, err)) return false;
    *out = row_int(res, 0, 0);
    return true;
}
