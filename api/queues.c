/* The queue for GPUs: what is declared, who uses it, who waits and why. */
#include <string.h>

#include "api/emit.h"
#include "api/handlers.h"
#include "api/queue_work.h"
#include "api/source.h"
#include "engine/store/queue_setup.h"
#include "engine/store/queues.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"

#define WORKS_MAX 1000
#define FILE_MAX_DOCS 1000

/* ---- declaring ---- */

/* Declarations are everybody's. */
static bool of_all_projects(const struct request *rq, struct err *err)
{
    if (!rq->who.project) return true;
    return err_set(err, ERR_FORBIDDEN, "flavors and queues are declared with a token of all projects");
}

static bool read_docs(struct request *rq, struct queue_docs *out, struct err *err)
{
    struct source source;
    struct value *docs;
    size_t n;
    const struct yaml_limits limits = {.max_documents = FILE_MAX_DOCS};
    if (!source_read(rq, &source, err)) return false;
    if (!yaml_parse(rq->arena, source.text, &limits, &docs, &n, &rq->errors)) return source_problems(rq, err);
    if (n == 0) {
        err_set(err, ERR_INVALID, "there is no document");
        return err_hint(err, "write one with kind: Queue or kind: Flavor");
    }
    return queue_docs_read(rq->arena, docs, n, out, &rq->errors) || source_problems(rq, err);
}

bool queues_post(struct request *rq, struct err *err)
{
    static const char *const kinds[] = {"flavor", "queue"}, *const changes[] = {"unchanged", "created", "updated"};
    struct queue_docs docs = {0};
    struct conn *c;
    bool dry, changed = false;
    if (!of_all_projects(rq, err) || !request_arg_bool(rq, "dry_run", &dry, err) || !read_docs(rq, &docs, err) ||
        !request_db(rq, &c, err))
        return false;
    size_t n = docs.n_flavors + docs.n_queues;
    struct queue_applied *done = arena_array(rq->arena, struct queue_applied, n);
    if (!queues_apply(c, &docs, rq->who.name, dry, done, &rq->errors, err))
        return rq->errors.n > 0 ? source_problems(rq, err) : false;
    for (size_t i = 0; i < n; i++)
        changed |= done[i].change != QUEUE_UNCHANGED;
    struct jsonw *w = response_json(rq, changed && !dry ? 201 : 200);
    struct emit e = {.w = w};
    jsonw_object(w);
    jsonw_kv_bool(w, "dryRun", dry);
    jsonw_key(w, "items");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        emit_cstr(&e, "kind", kinds[done[i].kind]);
        emit_str(&e, "name", done[i].name);
        emit_cstr(&e, "action", changes[done[i].change]);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
    return true;
}

static bool removes(struct request *rq, enum queue_kind kind, struct err *err)
{
    struct conn *c;
    if (!of_all_projects(rq, err) || !request_db(rq, &c, err) || !queues_delete(c, kind, rq->segments[0], err))
        return false;
    response_begin(rq, 204, NULL);
    return true;
}

bool queues_remove(struct request *rq, struct err *err)
{
    return removes(rq, QUEUE_KIND_QUEUE, err);
}

bool flavors_remove(struct request *rq, struct err *err)
{
    return removes(rq, QUEUE_KIND_FLAVOR, err);
}

/* ---- what there is ---- */

bool flavors_index(struct request *rq, struct err *err)
{
    struct conn *c;
    struct queue_decl *items;
    size_t n;
    if (!request_db(rq, &c, err) || !queues_list(c, QUEUE_KIND_FLAVOR, rq->arena, &items, &n, err)) return false;
    struct jsonw *w = page_begin(rq);
    struct emit e = {.w = w};
    for (size_t i = 0; i < n; i++) {
        jsonw_object(w);
        emit_str(&e, "name", items[i].name);
        emit_json(&e, "spec", items[i].spec);
        emit_time(&e, "createdAt", items[i].created_us);
        emit_str(&e, "createdBy", items[i].created_by);
        emit_time(&e, "updatedAt", items[i].updated_us);
        jsonw_object_end(w);
    }
    page_end(rq, (struct str){NULL, 0});
    return true;
}

struct shown { /* all that queues are shown with */
    struct queue_docs docs;
    struct queue_decl *decls;
    struct queue_use *uses;
    size_t n_decls, n_uses;
};

static bool read_shown(struct request *rq, struct conn **c, struct shown *s, struct err *err)
{
    return request_db(rq, c, err) && queues_docs(*c, rq->arena, &s->docs, err) &&
           queues_list(*c, QUEUE_KIND_QUEUE, rq->arena, &s->decls, &s->n_decls, err) &&
           queues_usage(*c, rq->arena, &s->uses, &s->n_uses, err);
}

static const struct queue_doc *doc_of(const struct shown *s, struct str name)
{
    for (size_t i = 0; i < s->docs.n_queues; i++)
        if (str_eq(s->docs.queues[i].name, name)) return &s->docs.queues[i];
    return NULL;
}

/* GPUs and cores as numbers, memory in bytes; unlimited is left out. */
static void amount(const struct emit *e, const char *key, struct str of, int64_t v)
{
    if (v == QUEUE_UNLIMITED) return;
    if (str_is(of, "memory"))
        emit_int(e, key, v);
    else
        queue_number(e, key, v);
}

static int64_t used_of(const struct shown *s, struct str queue, struct str of)
{
    int64_t sum = 0;
    for (size_t i = 0; i < s->n_uses; i++) {
        const struct queue_use *u = &s->uses[i];
        if (!str_eq(u->queue, queue)) continue;
        if (str_is(of, "cpu"))
            sum += u->cpu;
        else if (str_is(of, "memory"))
            sum += u->memory;
        else if (str_eq(u->flavor, of))
            sum += u->gpu;
    }
    return sum;
}

static void write_use(const struct emit *e, const struct shown *s, struct str queue, const struct queue_amount *a)
{
    jsonw_object(e->w);
    emit_str(e, "of", a->of);
    amount(e, "used", a->of, used_of(s, queue, a->of));
    amount(e, "nominal", a->of, a->nominal);
    amount(e, "borrow", a->of, a->borrow);
    amount(e, "lend", a->of, a->lend);
    jsonw_object_end(e->w);
}

static bool has_amount(const struct queue_doc *q, struct str of)
{
    for (size_t i = 0; q && i < q->n_amounts; i++)
        if (str_eq(q->amounts[i].of, of)) return true;
    return false;
}

/* What it has a quota of, and what is used without one: of what it offers no more. */
static void write_uses(const struct emit *e, const struct shown *s, const struct queue_doc *q, struct str name)
{
    jsonw_key(e->w, "use");
    jsonw_array(e->w);
    for (size_t i = 0; q && i < q->n_amounts; i++)
        write_use(e, s, name, &q->amounts[i]);
    for (size_t i = 0; i < s->n_uses; i++) {
        const struct queue_use *u = &s->uses[i];
        if (!str_eq(u->queue, name) || u->flavor.n == 0 || has_amount(q, u->flavor)) continue;
        int64_t most = q && q->n_amounts > 0 ? 0 : QUEUE_UNLIMITED;
        write_use(e, s, name, &(struct queue_amount){u->flavor, most, most, most, {0, 0}});
    }
    jsonw_array_end(e->w);
}

static void write_queue(const struct emit *e, const struct shown *s, struct str name, const struct queue_decl *d)
{
    const struct queue_doc *q = doc_of(s, name);
    int64_t waiting = 0, running = 0, handed = 0;
    for (size_t i = 0; i < s->n_uses; i++) {
        if (!str_eq(s->uses[i].queue, name)) continue;
        waiting += s->uses[i].waiting;
        running += s->uses[i].running;
        handed += s->uses[i].handed;
    }
    emit_str(e, "name", name);
    emit_bool(e, "declared", d != NULL);
    if (q) {
        emit_str(e, "description", q->description);
        emit_str(e, "cohort", q->cohort);
        emit_str(e, "kueue", q->kueue);
        jsonw_kv_double(e->w, "weight", q->weight > 0 ? q->weight : 1);
    }
    emit_int(e, "waiting", waiting);
    emit_int(e, "running", running);
    emit_id(e, "handed", handed);
    write_uses(e, s, q, name);
    if (!d) return;
    emit_json(e, "spec", d->spec);
    emit_time(e, "createdAt", d->created_us);
    emit_str(e, "createdBy", d->created_by);
    emit_time(e, "updatedAt", d->updated_us);
}

bool queues_index(struct request *rq, struct err *err)
{
    struct conn *c;
    struct shown s;
    bool has_default = false;
    if (!read_shown(rq, &c, &s, err)) return false;
    struct jsonw *w = page_begin(rq);
    struct emit e = {.w = w};
    for (size_t i = 0; i < s.n_decls; i++) {
        has_default |= str_is(s.decls[i].name, QUEUE_DEFAULT);
        jsonw_object(w);
        write_queue(&e, &s, s.decls[i].name, &s.decls[i]);
        jsonw_object_end(w);
    }
    if (!has_default) {
        jsonw_object(w);
        write_queue(&e, &s, STR(QUEUE_DEFAULT), NULL);
        jsonw_object_end(w);
    }
    page_end(rq, (struct str){NULL, 0});
    return true;
}

bool queues_show(struct request *rq, struct err *err)
{
    struct conn *c;
    struct shown s;
    struct queue_work *works;
    size_t n;
    struct str name = rq->segments[0];
    if (!read_shown(rq, &c, &s, err)) return false;
    const struct queue_decl *d = NULL;
    for (size_t i = 0; i < s.n_decls; i++)
        if (str_eq(s.decls[i].name, name)) d = &s.decls[i];
    if (!d && !str_is(name, QUEUE_DEFAULT))
        return err_set(err, ERR_NOT_FOUND, "there is no queue '%.*s'", STR_ARG(str_sub(name, 0, 80)));
    if (!queues_works(c, name, rq->who.project, WORKS_MAX, rq->arena, &works, &n, err)) return false;
    struct jsonw *w = response_json(rq, 200);
    struct emit e = {.w = w};
    jsonw_object(w);
    write_queue(&e, &s, name, d);
    jsonw_key(w, "works");
    jsonw_array(w);
    for (size_t i = 0; i < n; i++)
        queue_work_write(&e, &works[i]);
    jsonw_array_end(w);
    jsonw_object_end(w);
    return true;
}
