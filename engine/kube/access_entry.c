/* The fields of a kubeconfig's clusters and users, with the certificates and keys that they name. See access.h. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/base64.h"
#include "engine/base/buf.h"
#include "engine/kube/access_inner.h"
#include "engine/os/fs.h"

/* ---- fields ---- */

static bool entry_bool(const struct entry *e, const char *field, bool *out, struct err *err)
{
    const struct value *v = e->body != NULL ? value_get(e->body, field) : NULL;
    if (v == NULL || v->type == VALUE_NULL) return true;
    if (v->type != VALUE_BOOL) {
        entry_fail(e, field, v, ERR_INVALID, err, "'%s' must be true or false, not %s", field,
                   value_type_name(v->type));
        return err_hint(err, "without quotes: %s: true", field);
    }
    *out = v->u.b;
    return true;
}

static bool entry_path(const struct entry *e, const char *field, struct str *out, struct err *err)
{
    if (!entry_text(e, field, out, err)) return false;
    if (out->n > 0 && out->p[0] != '/')
        *out = arena_printf(e->a, "%.*s/%.*s", STR_ARG(e->source->folder), STR_ARG(*out));
    return true;
}

/* Text that goes into a line of HTTP: nothing may end the line. */
static bool entry_line(const struct entry *e, const char *field, struct str *out, struct err *err)
{
    if (!entry_text(e, field, out, err)) return false;
    *out = str_trim(*out);
    for (size_t i = 0; i < out->n; i++)
        if ((unsigned char)out->p[i] < ' ' || out->p[i] == 127) {
            entry_fail(e, field, value_get(e->body, field), ERR_INVALID, err,
                       "'%s' has a line break or another control character in it", field);
            return err_hint(err, "write it in one line");
        }
    return true;
}

/* ---- certificates and keys ---- */

static bool check_pem(const struct entry *e, const char *field, const char *mark, struct str pem, struct err *err)
{
    size_t at;
    const struct value *v = value_get(e->body, field);
    if (!str_find(pem, str_of(mark), &at)) {
        entry_fail(e, field, v, ERR_INVALID, err, "'%s' holds no PEM block '%s…'", field, mark);
        return err_hint(err, "DER must be turned into PEM: openssl x509 -inform der, or openssl pkey -inform der");
    }
    /* OpenSSL would ask at the terminal, and the server would stand still. */
    if (str_find(pem, STR("ENCRYPTED"), &at)) {
        entry_fail(e, field, v, ERR_INVALID, err, "the key of '%s' is protected by a passphrase", field);
        return err_hint(err, "remove it with: openssl pkey -in KEY -out KEY.plain");
    }
    return true;
}

/* `field` is a file, `field`-data Base64 of the same, which wins. */
static bool entry_pem(const struct entry *e, const char *field, const char *mark, struct str *out, struct err *err)
{
    const char *data_field = arena_printf(e->a, "%s-data", field).p;
    struct str data, file;
    struct err why;
    if (!entry_text(e, data_field, &data, err) || !entry_path(e, field, &file, err)) return false;
    if (data.n > 0) {
        if (base64_decode(e->a, data, out)) return check_pem(e, data_field, mark, *out, err);
        entry_fail(e, data_field, value_get(e->body, data_field), ERR_INVALID, err, "'%s' is not Base64", data_field);
        return err_hint(err, "base64 -w0 FILE gives it; the name of a file goes into '%s'", field);
    }
    if (file.n == 0) return true;
    BUF_AUTO text;
    buf_init(&text, KUBE_FILE_MAX);
    if (!fs_read(arena_cstr(e->a, file), KUBE_FILE_MAX, &text, &why)) {
        entry_fail(e, field, value_get(e->body, field), why.code, err, "'%s' cannot be read: %s", field, why.message);
        return err_hint(err, "paths begin at the kubeconfig's folder; who runs Millrace must be able to read the file");
    }
    *out = arena_str(e->a, buf_view(&text));
    return check_pem(e, field, mark, *out, err);
}

/* ---- clusters ---- */

bool access_server(struct arena *a, struct str text, struct str *out)
{
    size_t scheme = str_starts(text, "https://") ? 8 : str_starts(text, "http://") ? 7 : 0, n = text.n;
    while (n > scheme && text.p[n - 1] == '/')
        n--;
    if (scheme == 0 || n == scheme || text.p[scheme] == '/' || text.p[scheme] == ':') return false;
    for (size_t i = 0; i < n; i++) {
        char c = text.p[i];
        bool host = i >= scheme && memchr(text.p + scheme, '/', i - scheme) == NULL;
        if (c <= ' ' || c == 127 || c == '?' || c == '#' || c == '\\' || (host && c == '@')) return false;
    }
    *out = arena_str(a, str_sub(text, 0, n));
    return true;
}

bool access_read_cluster(const struct entry *e, struct kube_access *out, struct err *err)
{
    struct str server;
    if (!entry_text(e, "server", &server, err) || !entry_line(e, "tls-server-name", &out->server_name, err) ||
        !entry_line(e, "proxy-url", &out->proxy_url, err) ||
        !entry_bool(e, "insecure-skip-tls-verify", &out->insecure, err) ||
        !entry_pem(e, "certificate-authority", "-----BEGIN CERTIFICATE-----", &out->ca_pem, err))
        return false;
    if (server.n == 0) {
        entry_fail(e, "server", NULL, ERR_INVALID, err, "the cluster has no server");
        return err_hint(err, "server: https://HOST:6443");
    }
    if (!access_server(e->a, server, &out->server)) {
        entry_fail(e, "server", value_get(e->body, "server"), ERR_INVALID, err, "'%.*s' is no address of a server",
                   STR_ARG(str_sub(server, 0, 200)));
        return err_hint(err, "https://HOST:PORT, perhaps with a path, without a user, '?' and '#'");
    }
    if (out->insecure && out->ca_pem.n > 0) {
        entry_fail(e, "insecure-skip-tls-verify", value_get(e->body, "insecure-skip-tls-verify"), ERR_INVALID, err,
                   "the server's certificate is to be checked by an authority, and not to be checked");
        return err_hint(err, "leave out insecure-skip-tls-verify");
    }
    return true;
}

void access_read_extension(const struct entry *cluster, struct kube_access *out)
{
    const struct value *all = cluster->body != NULL ? value_get(cluster->body, "extensions") : NULL;
    for (size_t i = 0; out->has_exec && all != NULL && all->type == VALUE_LIST && i < all->u.list.n; i++) {
        const struct value *item = &all->u.list.items[i], *name = value_get(item, "name");
        const struct value *what = value_get(item, "extension");
        if (name == NULL || name->type != VALUE_STRING || what == NULL) continue;
        if (!str_is(name->u.s, "client.authentication.k8s.io/exec")) continue;
        BUF_AUTO json;
        buf_init(&json, KUBE_FILE_MAX);
        value_json(&json, what, false);
        if (!json.over) out->exec.config_json = arena_str(cluster->a, buf_view(&json));
    }
}

/* ---- users ---- */

static bool text_of(const struct entry *e, const char *field, const struct value *v, struct str *out, struct err *err)
{
    if (v == NULL || v->type != VALUE_STRING) {
        entry_fail(e, field, v, ERR_INVALID, err, "every entry of '%s' must be text", field);
        return err_hint(err, "put it between quotes");
    }
    *out = arena_str(e->a, v->u.s);
    return true;
}

static bool texts(const struct entry *e, const char *field, const struct value *list, const struct str **out, size_t *n,
                  struct err *err)
{
    if (list == NULL || list->type == VALUE_NULL) return true;
    if (list->type != VALUE_LIST) return entry_fail(e, field, list, ERR_INVALID, err, "'%s' must be a list", field);
    struct str *made = arena_array(e->a, struct str, list->u.list.n);
    for (size_t i = 0; i < list->u.list.n; i++)
        if (!text_of(e, field, &list->u.list.items[i], &made[i], err)) return false;
    *out = made;
    *n = list->u.list.n;
    return true;
}

static bool read_exec_env(const struct entry *e, const struct value *list, struct kube_exec *out, struct err *err)
{
    if (list == NULL || list->type == VALUE_NULL) return true;
    if (list->type != VALUE_LIST) return entry_fail(e, "exec.env", list, ERR_INVALID, err, "'exec.env' must be a list");
    struct kube_exec_env *env = arena_array(e->a, struct kube_exec_env, list->u.list.n);
    for (size_t i = 0; i < list->u.list.n; i++) {
        const struct value *item = &list->u.list.items[i];
        if (!text_of(e, "exec.env", value_get(item, "name"), &env[i].name, err) ||
            !text_of(e, "exec.env", value_get(item, "value"), &env[i].value, err))
            return false;
        if (env[i].name.n == 0 || memchr(env[i].name.p, '=', env[i].name.n) != NULL)
            return entry_fail(e, "exec.env", item, ERR_INVALID, err, "'%.*s' is no name of a variable",
                              STR_ARG(env[i].name));
    }
    out->env = env;
    out->n_env = list->u.list.n;
    return true;
}

static bool check_exec(const struct entry *e, const struct value *v, struct str mode, const struct kube_exec *out,
                       struct err *err)
{
    if (out->command.n == 0) {
        entry_fail(e, "exec.command", v, ERR_INVALID, err, "the exec plugin has no command");
        return err_hint(err, "command: the program that prints the credential");
    }
    if (!str_is(out->api_version, "client.authentication.k8s.io/v1") &&
        !str_is(out->api_version, "client.authentication.k8s.io/v1beta1")) {
        entry_fail(e, "exec.apiVersion", v, ERR_INVALID, err, "the exec plugin speaks '%.*s'",
                   STR_ARG(str_sub(out->api_version, 0, 100)));
        return err_hint(err, "client.authentication.k8s.io/v1 is known, and v1beta1; a newer plugin speaks them");
    }
    if (str_is(mode, "Always")) {
        entry_fail(e, "exec.interactiveMode", v, ERR_INVALID, err, "the exec plugin wants a terminal to ask at");
        return err_hint(err, "a server has none: use a token, a certificate, or a plugin with interactiveMode: Never");
    }
    return true;
}

static bool read_exec(const struct entry *user, const struct value *v, struct kube_access *out, struct err *err)
{
    struct kube_exec *exec = &out->exec;
    struct entry e = *user; /* the same place, one step deeper */
    struct str mode;
    if (v->type != VALUE_MAP) return entry_fail(user, "exec", v, ERR_INVALID, err, "'exec' must be a map");
    e.body = v;
    e.name = arena_printf(e.a, "%.*s.exec", STR_ARG(user->name));
    if (!entry_text(&e, "apiVersion", &exec->api_version, err) || !entry_text(&e, "command", &exec->command, err) ||
        !entry_text(&e, "installHint", &exec->install_hint, err) || !entry_text(&e, "interactiveMode", &mode, err) ||
        !entry_bool(&e, "provideClusterInfo", &exec->cluster_info, err) ||
        !texts(&e, "args", value_get(v, "args"), &exec->args, &exec->n_args, err) ||
        !read_exec_env(user, value_get(v, "env"), exec, err) || !check_exec(user, v, mode, exec, err))
        return false;
    /* With a slash in it a command is a path, which begins where the kubeconfig lies; else PATH is searched. */
    if (exec->command.p[0] != '/' && memchr(exec->command.p, '/', exec->command.n) != NULL)
        exec->command = arena_printf(e.a, "%.*s/%.*s", STR_ARG(e.source->folder), STR_ARG(exec->command));
    out->has_exec = true;
    return true;
}

static bool read_impersonation(const struct entry *e, struct kube_access *out, struct err *err)
{
    const struct value *extra = value_get(e->body, "as-user-extra");
    if (!entry_line(e, "as", &out->as, err) || !entry_line(e, "as-uid", &out->as_uid, err) ||
        !texts(e, "as-groups", value_get(e->body, "as-groups"), &out->as_groups, &out->n_as_groups, err))
        return false;
    for (size_t i = 0; i < out->n_as_groups; i++)
        for (size_t k = 0; k < out->as_groups[i].n; k++)
            if ((unsigned char)out->as_groups[i].p[k] < ' ')
                return entry_fail(e, "as-groups", NULL, ERR_INVALID, err, "a group's name has a line break in it");
    if (extra == NULL || extra->type == VALUE_NULL) return true;
    entry_fail(e, "as-user-extra", extra, ERR_INVALID, err, "'as-user-extra' is not known here");
    return err_hint(err, "as, as-uid and as-groups are");
}

bool access_read_user(const struct entry *e, struct kube_access *out, struct err *err)
{
    if (e->body == NULL) return true;
    const struct value *exec = value_get(e->body, "exec"), *provider = value_get(e->body, "auth-provider");
    if (!entry_pem(e, "client-certificate", "-----BEGIN CERTIFICATE-----", &out->cert_pem, err) ||
        !entry_pem(e, "client-key", "PRIVATE KEY-----", &out->key_pem, err) ||
        !entry_line(e, "token", &out->token, err) || !entry_path(e, "tokenFile", &out->token_file, err) ||
        !entry_line(e, "username", &out->user, err) || !entry_line(e, "password", &out->password, err) ||
        !read_impersonation(e, out, err))
        return false;
    if ((out->cert_pem.n > 0) != (out->key_pem.n > 0)) {
        bool cert = out->cert_pem.n > 0;
        entry_fail(e, cert ? "client-key" : "client-certificate", NULL, ERR_INVALID, err, "a client's %s without a %s",
                   cert ? "certificate" : "key", cert ? "key" : "certificate");
        return err_hint(err, "client-certificate and client-key go together, each as a file or as -data");
    }
    if (provider != NULL && provider->type != VALUE_NULL) {
        entry_fail(e, "auth-provider", provider, ERR_INVALID, err, "auth-provider is gone from Kubernetes since 1.26");
        return err_hint(err, "use the cloud's exec plugin, for example gke-gcloud-auth-plugin or kubelogin");
    }
    return exec == NULL || exec->type == VALUE_NULL || read_exec(e, exec, out, err);
}
