/* The route table and api/openapi.yaml say the same: paths, methods, roles, query parameters, who else may call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/precondition.h"
#include "embedded.h"
#include "engine/text/yaml.h"

static struct arena arena;
static const struct value *doc;

static int load(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    struct err_list errors;
    err_list_init(&errors, &arena);
    struct value *docs;
    size_t n;
    for (const struct embedded *f = embedded_files; f->name; f++) {
        if (strcmp(f->name, "openapi.yaml") != 0) continue;
        if (!yaml_parse(&arena, (struct str){(const char *)f->bytes, f->n}, NULL, &docs, &n, &errors)) {
            fprintf(stderr, "line %u: %s\n", errors.items[0].at.line, errors.items[0].message);
            return -1;
        }
        doc = &docs[0];
        return 0;
    }
    return -1;
}

static int unload(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static const struct value *operation(const struct route *r)
{
    char method[10];
    size_t n = strlen(r->method);
    for (size_t i = 0; i <= n; i++)
        method[i] = (char)(r->method[i] >= 'A' && r->method[i] <= 'Z' ? r->method[i] + 32 : r->method[i]);
    const struct value *path = value_get(value_get(doc, "paths"), r->pattern);
    return path ? value_get(path, method) : NULL;
}

static bool is_method(struct str key)
{
    return str_is(key, "get") || str_is(key, "post") || str_is(key, "patch") || str_is(key, "put") ||
           str_is(key, "delete");
}

static void test_every_route_is_described(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < n_routes; i++) {
        const struct route *r = &routes[i];
        const struct value *op = operation(r);
        if (!op) {
            fprintf(stderr, "%s %s is not in openapi.yaml\n", r->method, r->pattern);
            failed++;
            continue;
        }
        const struct value *role = value_get(op, "x-role"), *step = value_get(op, "x-step");
        bool for_steps = step && step->type == VALUE_BOOL && step->u.b;
        if (!role || role->type != VALUE_STRING || !str_is(role->u.s, role_name(r->role)) || for_steps != r->step) {
            fprintf(stderr, "%s %s: role or x-step differs\n", r->method, r->pattern);
            failed++;
        }
        const struct value *id = value_get(op, "operationId"), *summary = value_get(op, "summary");
        if (!id || !summary || !value_get(op, "responses") || !value_get(op, "tags")) {
            fprintf(stderr, "%s %s: operationId, summary, tags or responses are missing\n", r->method, r->pattern);
            failed++;
        }
        bool body = value_get(op, "requestBody") != NULL;
        bool takes = r->body == ROUTE_JSON || r->body == ROUTE_SOURCE || r->body == ROUTE_BYTES;
        if (takes && !body) {
            fprintf(stderr, "%s %s: requestBody is missing\n", r->method, r->pattern);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void test_everything_described_is_a_route(void **state)
{
    (void)state;
    int failed = 0;
    const struct value *paths = value_get(doc, "paths");
    for (size_t i = 0; i < paths->u.map.n; i++) {
        const struct value_entry *path = &paths->u.map.entries[i];
        for (size_t k = 0; k < path->value.u.map.n; k++) {
            struct str method = path->value.u.map.entries[k].key;
            bool found = !is_method(method);
            for (size_t j = 0; j < n_routes && !found; j++)
                found = str_is(path->key, routes[j].pattern) && strlen(routes[j].method) == method.n &&
                        strncasecmp(routes[j].method, method.p, method.n) == 0;
            if (found) continue;
            fprintf(stderr, "%.*s %.*s is not a route\n", STR_ARG(method), STR_ARG(path->key));
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

/* ---- parameters ---- */

static const struct value *resolve(const struct value *v)
{
    const struct value *ref = value_get(v, "$ref");
    if (!ref) return v;
    struct str rest = str_sub(ref->u.s, 2, ref->u.s.n), part;
    const struct value *to = doc;
    while (to && rest.n && str_split(&rest, '/', &part))
        to = value_find(to, part);
    return to;
}

static bool has_parameter(const struct value *list, const char *where, struct str name)
{
    for (size_t i = 0; list && i < list->u.list.n; i++) {
        const struct value *p = resolve(&list->u.list.items[i]);
        const struct value *in = p ? value_get(p, "in") : NULL, *called = p ? value_get(p, "name") : NULL;
        if (in && called && str_is(in->u.s, where) && str_eq(called->u.s, name)) return true;
    }
    return false;
}

static void test_query_parameters(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < n_routes; i++) {
        const struct route *r = &routes[i];
        const struct value *path = value_get(value_get(doc, "paths"), r->pattern), *op = operation(r);
        if (!op) continue;
        const struct value *own = value_get(op, "parameters"), *shared = value_get(path, "parameters");
        struct str rest = str_of(r->query), name;
        while (rest.n && str_split(&rest, ' ', &name)) {
            struct str choices = name;
            str_split(&choices, '=', &name);
            if (!name.n || has_parameter(own, "query", name) || has_parameter(shared, "query", name)) continue;
            fprintf(stderr, "%s %s: the parameter %.*s is not described\n", r->method, r->pattern, STR_ARG(name));
            failed++;
        }
        const struct value *lists[] = {own, shared};
        for (size_t l = 0; l < 2; l++)
            for (size_t k = 0; lists[l] && k < lists[l]->u.list.n; k++) {
                const struct value *p = resolve(&lists[l]->u.list.items[k]);
                assert_non_null(p);
                if (!str_is(value_get(p, "in")->u.s, "query")) continue;
                struct str wanted = value_get(p, "name")->u.s, known = str_of(r->query), word;
                bool found = false;
                while (!found && str_split(&known, ' ', &word))
                    found = str_split(&word, '=', &name) && str_eq(name, wanted);
                if (found) continue;
                fprintf(stderr, "%s %s: the parameter %.*s is described but refused\n", r->method, r->pattern,
                        STR_ARG(wanted));
                failed++;
            }
    }
    assert_int_equal(failed, 0);
}

/* What changes one thing that has an ETag takes If-Match, and says so. */
static void test_conditions(void **state)
{
    (void)state;
    int failed = 0, seen = 0;
    for (size_t i = 0; i < n_routes; i++) {
        const struct route *r = &routes[i];
        const struct value *path = value_get(value_get(doc, "paths"), r->pattern), *op = operation(r);
        if (!precondition_shown(r)) continue;
        seen++;
        bool told = has_parameter(value_get(op, "parameters"), "header", STR("If-Match")) ||
                    has_parameter(value_get(path, "parameters"), "header", STR("If-Match"));
        if (told && value_get(value_get(op, "responses"), "412")) continue;
        fprintf(stderr, "%s %s: If-Match or 412 is not described\n", r->method, r->pattern);
        failed++;
    }
    assert_true(seen >= 12);
    assert_int_equal(failed, 0);
}

/* What `fields` may name is what the described answer has, in any order. */
static const struct value *answer_of(const struct value *op)
{
    const struct value *ok = value_get(value_get(op, "responses"), "200");
    const struct value *schema = value_get(value_get(value_get(resolve(ok), "content"), "application/json"), "schema");
    const struct value *parts = schema ? value_get(schema, "allOf") : NULL; /* a page and its items */
    if (parts) schema = &parts->u.list.items[1];
    const struct value *members = schema ? value_get(resolve(schema), "properties") : NULL;
    const struct value *items = members ? value_get(members, "items") : NULL;
    return items ? value_get(resolve(value_get(items, "items")), "properties") : members;
}

static void test_fields_are_those_of_the_answer(void **state)
{
    (void)state;
    int failed = 0, seen = 0;
    for (size_t i = 0; i < n_routes; i++) {
        const struct route *r = &routes[i];
        const char *from = strstr(r->query, "fields=");
        if (!from) continue;
        seen++;
        struct str rest = str_of(from + strlen("fields=")), list, name;
        const struct value *members = answer_of(operation(r));
        size_t n = 0;
        assert_non_null(members);
        str_split(&rest, ' ', &list);
        for (; str_split(&list, ',', &name); n++) {
            if (value_find(members, name)) continue;
            fprintf(stderr, "%s %s: the answer's member %.*s is not described\n", r->method, r->pattern, STR_ARG(name));
            failed++;
        }
        if (n == members->u.map.n) continue;
        fprintf(stderr, "%s %s: `fields` takes %zu names of %zu\n", r->method, r->pattern, n, members->u.map.n);
        failed++;
    }
    assert_true(seen >= 9);
    assert_int_equal(failed, 0);
}

/* Every {name} of a path is a described path parameter, and there are no dangling references. */
static void walk(const struct value *v, int *failed)
{
    if (v->type == VALUE_LIST)
        for (size_t i = 0; i < v->u.list.n; i++)
            walk(&v->u.list.items[i], failed);
    if (v->type != VALUE_MAP) return;
    const struct value *ref = value_get(v, "$ref");
    if (ref && ref->type == VALUE_STRING && !resolve(v)) {
        fprintf(stderr, "dangling %.*s\n", STR_ARG(ref->u.s));
        ++*failed;
    }
    for (size_t i = 0; i < v->u.map.n; i++)
        walk(&v->u.map.entries[i].value, failed);
}

static void test_references_and_path_parameters(void **state)
{
    (void)state;
    int failed = 0;
    walk(doc, &failed);
    const struct value *paths = value_get(doc, "paths");
    for (size_t i = 0; i < paths->u.map.n; i++) {
        const struct value_entry *path = &paths->u.map.entries[i];
        struct str rest = path->key, before, name;
        while (str_split(&rest, '{', &before) && rest.n) {
            str_split(&rest, '}', &name);
            if (has_parameter(value_get(&path->value, "parameters"), "path", name)) continue;
            fprintf(stderr, "%.*s: {%.*s} is not described\n", STR_ARG(path->key), STR_ARG(name));
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_is_described),
        cmocka_unit_test(test_everything_described_is_a_route),
        cmocka_unit_test(test_query_parameters),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_fields_are_those_of_the_answer),
        cmocka_unit_test(test_references_and_path_parameters),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
