/* See collection.h. */
#include "engine/kube/collection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kube_known {
    uint32_t round; /* the last list it was on, or watch that told of it */
    size_t at;      /* in `known` */
    size_t namespace_n, name_n, uid_n;
    char text[]; /* "namespace/name" and the uid */
};

/* ---- what is known ---- */

static struct str name_of(const struct kube_known *o)
{
    return (struct str){o->text, o->namespace_n + 1 + o->name_n};
}

static struct str uid_of(const struct kube_known *o)
{
    return (struct str){o->text + name_of(o).n, o->uid_n};
}

static void forget(struct kube_collection *k, struct kube_known *o)
{
    struct kube_known *last = k->known[k->stats.known - 1];
    map_del(&k->by_name, name_of(o));
    k->known[o->at] = last;
    last->at = o->at;
    k->stats.known--;
    if (last != o) map_put(&k->by_name, name_of(last), last->at, NULL);
    free(o);
}

static struct kube_known *find(const struct kube_collection *k, struct str name)
{
    uint64_t at;
    return map_get(&k->by_name, name, &at) ? k->known[at] : NULL;
}

static void learn(struct kube_collection *k, struct str namespace, struct str name, struct str uid)
{
    size_t n = namespace.n + 1 + name.n + uid.n;
    struct kube_known *o = malloc(sizeof *o + n);
    if (k->stats.known == k->room) {
        k->room = k->room > 0 ? k->room * 2 : 64;
        k->known = realloc(k->known, k->room * sizeof(struct kube_known *));
    }
    if (o == NULL || k->known == NULL) abort();
    *o = (struct kube_known){k->round, k->stats.known, namespace.n, name.n, uid.n};
    if (namespace.n > 0) memcpy(o->text, namespace.p, namespace.n);
    o->text[namespace.n] = '/';
    if (name.n > 0) memcpy(o->text + namespace.n + 1, name.p, name.n);
    if (uid.n > 0) memcpy(o->text + namespace.n + 1 + name.n, uid.p, uid.n);
    k->known[k->stats.known++] = o;
    map_put(&k->by_name, name_of(o), o->at, NULL);
}

void kube_collection_init(struct kube_collection *k, uint64_t seed)
{
    *k = (struct kube_collection){0};
    map_init(&k->by_name, seed);
    buf_init(&k->line, KUBE_LINE_MAX);
}

void kube_collection_free(struct kube_collection *k)
{
    for (size_t i = 0; i < k->stats.known; i++)
        free(k->known[i]);
    free(k->known);
    free(k->version);
    free(k->next);
    map_free(&k->by_name);
    buf_free(&k->line);
}

/* ---- changes ---- */

static void set(char **at, struct str s)
{
    free(*at);
    *at = s.n > 0 ? strndup(s.p, s.n) : NULL;
    if (s.n > 0 && *at == NULL) abort();
}

/* Told by what is known alone; it is forgotten before, since the callback may end everything. */
static void tell_gone(struct kube_collection *k, struct kube_known *o)
{
    struct arena a;
    struct value_map_builder meta, object;
    arena_init(&a, 0);
    value_map_begin(&meta, &a);
    struct str name = name_of(o);
    value_map_put(&meta, STR("name"), value_string(arena_str(&a, str_sub(name, o->namespace_n + 1, o->name_n))));
    if (o->namespace_n > 0)
        value_map_put(&meta, STR("namespace"), value_string(arena_str(&a, str_sub(name, 0, o->namespace_n))));
    value_map_put(&meta, STR("uid"), value_string(arena_str(&a, uid_of(o))));
    value_map_begin(&object, &a);
    value_map_put(&object, STR("metadata"), value_map_end(&meta));
    struct value v = value_map_end(&object);
    forget(k, o);
    k->changed(k->ctx, KUBE_DELETED, &v);
    arena_free(&a);
}

/* False when it is no object. */
static bool apply(struct kube_collection *k, struct arena *a, enum kube_change change, const struct value *object)
{
    struct str namespace = kube_text(object, "metadata.namespace"), name = kube_text(object, "metadata.name");
    struct str uid = kube_text(object, "metadata.uid");
    if (name.n == 0) return false;
    struct str key = arena_printf(a, "%.*s/%.*s", STR_ARG(namespace), STR_ARG(name));
    struct kube_known *o = find(k, key);
    bool same = o != NULL && str_eq(uid_of(o), uid);
    if (change == KUBE_DELETED) {
        if (same) forget(k, o);
    } else if (same) {
        o->round = k->round;
    } else {
        if (o != NULL) tell_gone(k, o); /* the name is another's now */
        if (k->stopped) return true;
        learn(k, namespace, name, uid);
    }
    k->changed(k->ctx, change, object);
    return true;
}

/* ---- lists ---- */

void kube_collection_begin(struct kube_collection *k)
{
    k->round++;
    k->stats.lists++;
    set(&k->next, (struct str){"", 0});
}

static bool no_list(struct err *err, const char *what)
{
    err_set(err, ERR_INVALID, "the answer is no list: %s", what);
    return err_hint(err,
                    "see that the kubeconfig's server is a Kubernetes API server, and that the path is a collection's");
}

static bool read_page(struct kube_collection *k, struct arena *a, struct str body, struct err *err)
{
    struct value v;
    struct err why;
    if (!kube_json(a, body, &v, &why)) return no_list(err, why.message);
    const struct value *items = value_get(&v, "items");
    struct str version = kube_text(&v, "metadata.resourceVersion"), next = kube_text(&v, "metadata.continue");
    if (items == NULL || (items->type != VALUE_LIST && items->type != VALUE_NULL))
        return no_list(err, "it has no items");
    if (version.n == 0) return no_list(err, "it has no resourceVersion");
    /* Of an empty or cut page the pages before still count: nothing was told of it. */
    size_t n = items->type == VALUE_LIST ? items->u.list.n : 0;
    for (size_t i = 0; i < n; i++)
        if (kube_text(&items->u.list.items[i], "metadata.name").n == 0) return no_list(err, "an item has no name");
    set(&k->next, next);
    set(&k->version, version);
    k->stats.pages++;
    for (size_t i = 0; i < n && !k->stopped; i++)
        if (!apply(k, a, KUBE_PRESENT, &items->u.list.items[i])) abort(); /* it has a name */
    return true;
}

bool kube_collection_page(struct kube_collection *k, struct str body, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    bool ok = read_page(k, &a, body, err);
    arena_free(&a);
    return ok;
}

void kube_collection_end(struct kube_collection *k)
{
    for (size_t i = 0; i < k->stats.known && !k->stopped;)
        if (k->known[i]->round != k->round)
            tell_gone(k, k->known[i]); /* the last one takes its place */
        else
            i++;
}

/* ---- watches ---- */

static bool broken(struct kube_fault *fault, const char *what)
{
    fault->kind = KUBE_FAULT_BROKEN;
    snprintf(fault->message, sizeof fault->message, "the watch cannot be read: %s", what);
    return false;
}

/* A Status instead of an event. */
static bool read_error(struct kube_collection *k, const struct value *status, struct kube_fault *fault)
{
    const struct value *code = status != NULL ? value_get(status, "code") : NULL;
    struct str reason = kube_text(status, "reason"), message = kube_text(status, "message");
    fault->code = code != NULL && code->type == VALUE_INT && code->u.i >= 0 && code->u.i < 1000 ? (long)code->u.i : 0;
    bool expired = fault->code == 410 || str_is(reason, "Expired") || str_is(reason, "Gone");
    fault->kind = expired ? KUBE_FAULT_EXPIRED : KUBE_FAULT_SERVER;
    k->stats.expired += expired;
    snprintf(fault->reason, sizeof fault->reason, "%.*s", STR_ARG(utf8_sub(reason, sizeof fault->reason - 1)));
    snprintf(fault->message, sizeof fault->message, "%.*s", STR_ARG(utf8_sub(message, sizeof fault->message - 1)));
    return false;
}

static bool read_event(struct kube_collection *k, struct arena *a, struct str line, struct kube_fault *fault)
{
    struct value v;
    struct err why;
    if (!kube_json(a, line, &v, &why)) return broken(fault, why.message);
    struct str type = kube_text(&v, "type");
    const struct value *object = value_get(&v, "object");
    if (str_is(type, "ERROR")) return read_error(k, object, fault);
    struct str version = kube_text(object, "metadata.resourceVersion");
    if (str_is(type, "BOOKMARK")) {
        k->stats.bookmarks++;
    } else if (str_is(type, "ADDED") || str_is(type, "MODIFIED") || str_is(type, "DELETED")) {
        k->stats.events++;
        if (!apply(k, a, str_is(type, "DELETED") ? KUBE_DELETED : KUBE_PRESENT, object))
            return broken(fault, "an event's object has no name");
    } /* else a kind of event that is not known yet: its version counts */
    if (version.n > 0) set(&k->version, version);
    return true;
}

void kube_collection_watch(struct kube_collection *k)
{
    buf_reset(&k->line);
    k->stats.watches++;
}

static bool read_line(struct kube_collection *k, struct str line, struct kube_fault *fault)
{
    struct arena a;
    if (str_trim(line).n == 0) return true;
    arena_init(&a, 0);
    bool ok = read_event(k, &a, line, fault);
    arena_free(&a);
    return ok && !k->stopped;
}

bool kube_collection_bytes(struct kube_collection *k, struct str bytes, struct kube_fault *fault)
{
    while (bytes.n > 0) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        size_t n = end != NULL ? (size_t)(end - bytes.p) : bytes.n;
        struct str line = {bytes.p, n};
        if (end == NULL || k->line.n > 0) {
            if (!buf_add(&k->line, bytes.p, n)) return broken(fault, "an event is longer than 8 MiB");
            line = buf_view(&k->line);
        }
        if (end == NULL) return true;
        if (!read_line(k, line, fault)) return false;
        buf_reset(&k->line);
        bytes = str_sub(bytes, n + 1, bytes.n);
    }
    return true;
}
