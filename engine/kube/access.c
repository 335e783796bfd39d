/* Finding the kubeconfig, and in it the context, the cluster and the user that count. See access.h. */
#include "engine/kube/access.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kube/access_inner.h"
#include "engine/os/fs.h"
#include "engine/text/yaml.h"

#define POD_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"
#define SOURCES_MAX 32

struct sources {
    struct arena *a;
    struct source all[SOURCES_MAX];
    size_t n;
};

/* ---- files ---- */

static struct str folder_of(struct arena *a, struct str file)
{
    size_t n = file.n;
    while (n > 0 && file.p[n - 1] != '/')
        n--;
    return n == 0 ? STR(".") : arena_str(a, str_sub(file, 0, n > 1 ? n - 1 : 1));
}

static bool parse(struct sources *s, struct str text, struct str file, struct err *err)
{
    struct err_list problems;
    struct value *docs = NULL;
    size_t n = 0;
    err_list_init(&problems, s->a);
    if (!yaml_parse(s->a, text, NULL, &docs, &n, &problems)) {
        const struct err *first = &problems.items[0];
        return err_set(err, ERR_SYNTAX, "%.*s:%u: %s", STR_ARG(file), first->at.line, first->message);
    }
    if (n == 0) {
        err_set(err, ERR_INVALID, "%.*s: the kubeconfig is empty", STR_ARG(file));
        return err_hint(err, "kubectl config set-cluster, set-credentials and set-context fill one");
    }
    if (docs[0].type != VALUE_MAP) {
        err_set(err, ERR_INVALID, "%.*s:%u: a kubeconfig is a map, not a %s", STR_ARG(file), docs[0].at.line,
                value_type_name(docs[0].type));
        return err_hint(err, "it begins with 'apiVersion: v1' and 'kind: Config'");
    }
    const struct value *kind = value_get(&docs[0], "kind");
    if (kind != NULL && !(kind->type == VALUE_STRING && (kind->u.s.n == 0 || str_is(kind->u.s, "Config")))) {
        err_set(err, ERR_INVALID, "%.*s:%u: this is no kubeconfig", STR_ARG(file), kind->at.line);
        return err_hint(err, "a kubeconfig says 'kind: Config'");
    }
    s->all[s->n++] = (struct source){arena_str(s->a, file), folder_of(s->a, file), docs[0]};
    return true;
}

static bool read_source(struct sources *s, struct str file, struct err *err)
{
    struct err why;
    BUF_AUTO text;
    buf_init(&text, KUBE_FILE_MAX);
    if (fs_read(arena_cstr(s->a, file), KUBE_FILE_MAX, &text, &why)) return parse(s, buf_view(&text), file, err);
    err_set(err, why.code, "the kubeconfig cannot be read: %s", why.message);
    return err_hint(err, "name one that is there, by --kubeconfig or KUBECONFIG");
}

/* Of several files those that are not there are left out, as kubectl does. */
static bool read_several(struct sources *s, struct str list, struct err *err)
{
    struct str rest = list, file;
    while (str_split(&rest, ':', &file)) {
        if (file.n == 0 || access(arena_cstr(s->a, file), F_OK) != 0) continue;
        if (s->n == SOURCES_MAX) return err_set(err, ERR_LIMIT, "KUBECONFIG names more than %d files", SOURCES_MAX);
        if (!read_source(s, file, err)) return false;
    }
    if (s->n > 0) return true;
    err_set(err, ERR_NOT_FOUND, "no file of KUBECONFIG is there: %.*s", STR_ARG(list));
    return err_hint(err, "set KUBECONFIG to a kubeconfig that exists, or unset it");
}

/* ---- entries ---- */

bool entry_fail(const struct entry *e, const char *field, const struct value *at, enum err_code code, struct err *err,
                const char *fmt, ...)
{
    char text[360];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    uint32_t line = at != NULL && at->at.line > 0 ? at->at.line : e->at.line;
    err_set(err, code, "%.*s:%u: %s", STR_ARG(e->source->file), line, text);
    return err_path(err, "%s.%.*s%s%s", e->list, STR_ARG(e->name), field != NULL ? "." : "", field ? field : "");
}

bool entry_text(const struct entry *e, const char *field, struct str *out, struct err *err)
{
    const struct value *v = e->body != NULL ? value_get(e->body, field) : NULL;
    *out = (struct str){"", 0};
    if (v == NULL || v->type == VALUE_NULL) return true;
    if (v->type != VALUE_STRING) {
        entry_fail(e, field, v, ERR_INVALID, err, "'%s' must be text, not %s", field, value_type_name(v->type));
        return err_hint(err, "put it between quotes");
    }
    *out = arena_str(e->a, v->u.s);
    return true;
}

/* The first file with an entry of that name counts, whole. False when no file has it. */
static bool find_entry(const struct sources *s, const char *list, const char *body, struct str name, struct entry *out)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct value *all = value_get(&s->all[i].root, list);
        if (all == NULL || all->type != VALUE_LIST) continue;
        for (size_t k = 0; k < all->u.list.n; k++) {
            const struct value *item = &all->u.list.items[k], *called = value_get(item, "name");
            if (called == NULL || called->type != VALUE_STRING || !str_eq(called->u.s, name)) continue;
            *out = (struct entry){s->a, &s->all[i], list, called->u.s, value_get(item, body), item->at};
            return true;
        }
    }
    return false;
}

static size_t names_of(const struct sources *s, const char *list, struct str *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct value *all = value_get(&s->all[i].root, list);
        for (size_t k = 0; all != NULL && all->type == VALUE_LIST && k < all->u.list.n && n < max; k++) {
            const struct value *called = value_get(&all->u.list.items[k], "name");
            if (called != NULL && called->type == VALUE_STRING) out[n++] = called->u.s;
        }
    }
    return n;
}

/* What there is instead of what was asked for. */
static bool hint_names(const struct sources *s, const char *list, struct str wanted, struct err *err)
{
    struct str names[64];
    size_t n = names_of(s, list, names, 64);
    BUF_AUTO text;
    buf_init(&text, 0);
    struct str near = suggest(wanted, names, n);
    if (near.n > 0) return err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s'%.*s'", i > 0 ? ", " : "", STR_ARG(names[i]));
    if (n == 0) return err_hint(err, "it has no %s at all", list);
    return err_hint(err, "there are: %s", text.p);
}

static bool current_context(const struct sources *s, struct str *out, struct err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct value *v = value_get(&s->all[i].root, "current-context");
        if (v == NULL || v->type != VALUE_STRING || v->u.s.n == 0) continue;
        *out = v->u.s;
        return true;
    }
    err_set(err, ERR_INVALID, "%.*s: no context is chosen", STR_ARG(s->all[0].file));
    err_path(err, "current-context");
    return hint_names(s, "contexts", (struct str){"", 0}, err);
}

static bool find_context(const struct sources *s, struct str name, struct entry *out, struct err *err)
{
    if (name.n == 0 && !current_context(s, &name, err)) return false;
    if (find_entry(s, "contexts", "context", name, out)) {
        if (out->body != NULL && out->body->type == VALUE_MAP) return true;
        return entry_fail(out, NULL, out->body, ERR_INVALID, err, "the context '%.*s' is empty", STR_ARG(name));
    }
    err_set(err, ERR_NOT_FOUND, "%.*s: there is no context '%.*s'", STR_ARG(s->all[0].file), STR_ARG(name));
    err_path(err, "contexts");
    return hint_names(s, "contexts", name, err);
}

/* The cluster or user that the context names. */
static bool follow(const struct sources *s, const struct entry *context, const char *list, const char *word,
                   struct entry *out, struct err *err)
{
    struct str name;
    if (!entry_text(context, word, &name, err)) return false;
    if (name.n == 0 && strcmp(word, "user") == 0) { /* nobody in particular */
        *out = (struct entry){s->a, context->source, list, name, NULL, context->at};
        return true;
    }
    if (name.n == 0) {
        entry_fail(context, word, NULL, ERR_INVALID, err, "the context names no %s", word);
        return hint_names(s, list, name, err);
    }
    if (find_entry(s, list, word, name, out)) {
        if (out->body != NULL && out->body->type == VALUE_MAP) return true;
        if (out->body != NULL && out->body->type != VALUE_NULL)
            return entry_fail(out, NULL, out->body, ERR_INVALID, err, "the %s is no map", word);
        out->body = NULL;
        return true;
    }
    entry_fail(context, word, value_get(context->body, word), ERR_NOT_FOUND, err, "there is no %s '%.*s'", word,
               STR_ARG(name));
    return hint_names(s, list, name, err);
}

static bool resolve(const struct sources *s, struct str context, struct kube_access *out, struct err *err)
{
    struct kube_access made = {0};
    struct entry chosen, cluster, user;
    if (!find_context(s, context, &chosen, err) || !follow(s, &chosen, "clusters", "cluster", &cluster, err) ||
        !follow(s, &chosen, "users", "user", &user, err) || !access_read_cluster(&cluster, &made, err) ||
        !access_read_user(&user, &made, err) || !entry_text(&chosen, "namespace", &made.namespace, err))
        return false;
    access_read_extension(&cluster, &made);
    if (made.namespace.n == 0) made.namespace = STR("default");
    made.origin = arena_printf(s->a, "%.*s, context '%.*s'", STR_ARG(chosen.source->file), STR_ARG(chosen.name));
    *out = made;
    return true;
}

bool kube_access_parse(struct arena *a, struct str text, struct str file, struct str context, struct kube_access *out,
                       struct err *err)
{
    struct sources *s = arena_new(a, struct sources);
    s->a = a;
    return parse(s, text, file, err) && resolve(s, context, out, err);
}

/* ---- within a pod ---- */

bool kube_access_pod(struct arena *a, struct str folder, struct str host, struct str port, struct kube_access *out,
                     struct err *err)
{
    struct kube_access made = {.origin = STR("in-cluster"), .namespace = STR("default")};
    struct err why;
    BUF_AUTO ca, ns;
    buf_init(&ca, KUBE_FILE_MAX);
    buf_init(&ns, 1024);
    const char *ca_file = arena_printf(a, "%.*s/ca.crt", STR_ARG(folder)).p;
    bool six = memchr(host.p, ':', host.n) != NULL;
    struct str server =
        arena_printf(a, six ? "https://[%.*s]:%.*s" : "https://%.*s:%.*s", STR_ARG(host), STR_ARG(port));
    if (!access_server(a, server, &made.server)) {
        err_set(err, ERR_INVALID, "in-cluster: KUBERNETES_SERVICE_HOST and _PORT make no address: %.*s",
                STR_ARG(server));
        return err_hint(err, "leave them as Kubernetes sets them");
    }
    if (!fs_read(ca_file, KUBE_FILE_MAX, &ca, &why)) {
        err_set(err, why.code, "in-cluster: the cluster's certificate cannot be read: %s", why.message);
        return err_hint(err, "mount a service account's token: automountServiceAccountToken: true");
    }
    made.ca_pem = arena_str(a, buf_view(&ca));
    made.token_file = arena_printf(a, "%.*s/token", STR_ARG(folder));
    if (fs_read(arena_printf(a, "%.*s/namespace", STR_ARG(folder)).p, 1024, &ns, NULL) && ns.n > 0)
        made.namespace = arena_str(a, str_trim(buf_view(&ns)));
    *out = made;
    return true;
}

/* ---- where to look ---- */

static struct str home_config(struct arena *a)
{
    const char *home = getenv("HOME");
    const struct passwd *me = home != NULL && *home ? NULL : getpwuid(getuid());
    if (home == NULL || !*home) home = me != NULL ? me->pw_dir : "";
    return arena_printf(a, "%s/.kube/config", home);
}

bool kube_access_load(struct arena *a, struct str file, struct str context, struct kube_access *out, struct err *err)
{
    struct sources *s = arena_new(a, struct sources);
    const char *list = getenv("KUBECONFIG"), *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    s->a = a;
    if (file.n > 0) return read_source(s, file, err) && resolve(s, context, out, err);
    if (list != NULL && *list) return read_several(s, str_of(list), err) && resolve(s, context, out, err);
    if (host != NULL && *host && port != NULL && *port && access(POD_FOLDER "/token", F_OK) == 0)
        return kube_access_pod(a, STR(POD_FOLDER), str_of(host), str_of(port), out, err);
    struct str own = home_config(a);
    if (access(own.p, F_OK) == 0) return read_source(s, own, err) && resolve(s, context, out, err);
    err_set(err, ERR_NOT_FOUND,
            "nothing says how to reach a Kubernetes cluster: neither KUBECONFIG, nor a service "
            "account of a pod, nor %.*s",
            STR_ARG(own));
    return err_hint(err, "name a kubeconfig, by --kubeconfig or KUBECONFIG");
}
