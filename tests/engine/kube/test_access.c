/* Kubeconfigs: what is read, how several merge, and what is said of those that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/kube/access.h"
#include "engine/os/fs.h"

#define EACH(row, rows) for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
#define CERT "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
#define KEY "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"
#define CERT64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
#define KEY64 "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCkFBPT0KLS0tLS1FTkQgUFJJVkFURSBLRVktLS0tLQo="

static struct arena arena;
static char folder[] = "/tmp/millrace-kube-XXXXXX";

static const char *file_of(const char *name, const char *text)
{
    const char *path = arena_printf(&arena, "%s/%s", folder, name).p;
    if (!fs_write(path, str_of(text), 0600, false, NULL)) fail_msg("%s", path);
    return path;
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    if (mkdtemp(folder) == NULL) return -1;
    file_of("ca.crt", CERT);
    file_of("me.crt", CERT);
    file_of("me.key", KEY);
    file_of("bad.crt", "\x30\x82");
    file_of("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return fs_remove_tree(folder, NULL) ? 0 : -1;
}

static bool same(struct str s, const char *text)
{
    return str_eq(s, str_of(text));
}

/* A cluster and a user with these lines, indented by four. */
static struct str config(const char *cluster, const char *user)
{
    return arena_printf(&arena,
                        "apiVersion: v1\nkind: Config\ncurrent-context: c\n" /* 1 to 3 */
                        "contexts:\n- name: c\n  context: {cluster: k, user: u}\n"
                        "clusters:\n- name: k\n  cluster:\n%s" /* from line 10 */
                        "users:\n- name: u\n  user:\n%s",
                        cluster, user);
}

#define SERVER "    server: https://k:6443\n" /* line 10; users' fields then begin in line 14 */

static bool load(struct str text, struct kube_access *out, struct err *err)
{
    return kube_access_parse(&arena, text, arena_printf(&arena, "%s/kc", folder), (struct str){"", 0}, out, err);
}

static void what_is_read(void **state)
{
    struct kube_access a;
    struct err err;
    (void)state;
    struct str text = config("    server: https://[::1]:6443/k8s/\n    certificate-authority: ca.crt\n"
                             "    tls-server-name: kube\n    proxy-url: http://proxy:3128\n",
                             "    client-certificate-data: " CERT64 "\n    client-key: me.key\n    token: ' abc '\n"
                             "    tokenFile: token\n    as: me\n    as-groups: [g, h]\n    username: n\n");
    if (!load(text, &a, &err)) fail_msg("%s", err.message);
    assert_true(same(a.server, "https://[::1]:6443/k8s"));
    assert_true(same(a.ca_pem, CERT));
    assert_true(same(a.server_name, "kube"));
    assert_true(same(a.proxy_url, "http://proxy:3128"));
    assert_true(same(a.cert_pem, CERT));
    assert_true(same(a.key_pem, KEY));
    assert_true(same(a.token, "abc"));
    assert_true(str_eq(a.token_file, arena_printf(&arena, "%s/token", folder)));
    assert_true(same(a.as, "me"));
    assert_int_equal(a.n_as_groups, 2);
    assert_true(same(a.user, "n"));
    assert_true(same(a.namespace, "default"));
    assert_true(str_eq(a.origin, arena_printf(&arena, "%s/kc, context 'c'", folder)));
    assert_false(a.insecure || a.has_exec);
    if (!load(config("    server: http://k\n    insecure-skip-tls-verify: true\n", "    token: ''\n"), &a, &err))
        fail_msg("%s", err.message);
    assert_true(a.insecure && a.token.n == 0);
    if (!load(config(SERVER, "    {}\n"), &a, &err)) fail_msg("%s", err.message);
}

static void exec_plugins_are_read(void **state)
{
    struct kube_access a;
    struct err err;
    (void)state;
    struct str text =
        config(SERVER "    extensions:\n    - name: other\n      extension: 1\n"
                      "    - name: client.authentication.k8s.io/exec\n      extension: {audience: 06}\n",
               "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: bin/login\n"
               "      args: [--for, '1']\n      env:\n      - {name: A, value: b}\n      provideClusterInfo: true\n"
               "      interactiveMode: IfAvailable\n      installHint: get it\n");
    if (!load(text, &a, &err)) fail_msg("%s", err.message);
    assert_true(a.has_exec && a.exec.cluster_info);
    assert_true(str_eq(a.exec.command, arena_printf(&arena, "%s/bin/login", folder)));
    assert_int_equal(a.exec.n_args, 2);
    assert_true(same(a.exec.args[1], "1"));
    assert_true(same(a.exec.env[0].value, "b"));
    assert_true(same(a.exec.install_hint, "get it"));
    assert_true(same(a.exec.config_json, "{\"audience\":6}"));
}

#define EXEC "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n"

static void what_is_wrong_is_told_with_its_place(void **state)
{
    static const struct {
        const char *cluster, *user;        /* cluster NULL: `user` is the whole text */
        const char *message, *path, *hint; /* message: behind the file's name */
    } rows[] = {
        {NULL, "", ": the kubeconfig is empty", "",
         "kubectl config set-cluster, set-credentials and set-context fill one"},
        {NULL, "- 1\n", ":1: a kubeconfig is a map, not a list", "",
         "it begins with 'apiVersion: v1' and 'kind: Config'"},
        {NULL, "kind: Pod\n", ":1: this is no kubeconfig", "", "a kubeconfig says 'kind: Config'"},
        {NULL, "a: [\n", NULL, "", ""},
        {NULL, "kind: Config\n", ": no context is chosen", "current-context", "it has no contexts at all"},
        {NULL, "contexts: [{name: a}, {name: b}]\n", ": no context is chosen", "current-context",
         "there are: 'a', 'b'"},
        {NULL, "current-context: prod\ncontexts: [{name: prud}]\n", ": there is no context 'prod'", "contexts",
         "did you mean 'prud'?"},
        {NULL, "current-context: a\ncontexts:\n- name: a\n", ":3: the context 'a' is empty", "contexts.a", ""},
        {NULL, "current-context: a\ncontexts:\n- name: a\n  context: {user: u}\n", ":3: the context names no cluster",
         "contexts.a.cluster", "it has no clusters at all"},
        {NULL, "current-context: a\ncontexts:\n- name: a\n  context:\n    cluster: k\nclusters: [{name: kk}]\n",
         ":5: there is no cluster 'k'", "contexts.a.cluster", "did you mean 'kk'?"},
        {"    server: ''\n", "    {}\n", ":8: the cluster has no server", "clusters.k.server",
         "server: https://HOST:6443"},
        {"    server: k:6443\n", "    {}\n", ":10: 'k:6443' is no address of a server", "clusters.k.server",
         "https://HOST:PORT, perhaps with a path, without a user, '?' and '#'"},
        {"    server: https://me@k\n", "    {}\n", ":10: 'https://me@k' is no address of a server", "clusters.k.server",
         NULL},
        {"    server: 5\n", "    {}\n", ":10: 'server' must be text, not int", "clusters.k.server",
         "put it between quotes"},
        {SERVER "    insecure-skip-tls-verify: 'yes'\n", "    {}\n",
         ":11: 'insecure-skip-tls-verify' must be true or false, not string", "clusters.k.insecure-skip-tls-verify",
         "without quotes: insecure-skip-tls-verify: true"},
        {SERVER "    insecure-skip-tls-verify: true\n    certificate-authority: ca.crt\n", "    {}\n",
         ":11: the server's certificate is to be checked by an authority, and not to be checked",
         "clusters.k.insecure-skip-tls-verify", "leave out insecure-skip-tls-verify"},
        {SERVER "    certificate-authority-data: ca.crt\n", "    {}\n",
         ":11: 'certificate-authority-data' is not Base64", "clusters.k.certificate-authority-data",
         "base64 -w0 FILE gives it; the name of a file goes into 'certificate-authority'"},
        {SERVER "    certificate-authority-data: AAAA\n", "    {}\n",
         ":11: 'certificate-authority-data' holds no PEM block '-----BEGIN CERTIFICATE-----…'",
         "clusters.k.certificate-authority-data",
         "DER must be turned into PEM: openssl x509 -inform der, or openssl pkey -inform der"},
        {SERVER "    certificate-authority: none.crt\n", "    {}\n", NULL, "clusters.k.certificate-authority",
         "paths begin at the kubeconfig's folder; who runs Millrace must be able to read the file"},
        {SERVER, "    client-certificate: me.crt\n", ":12: a client's certificate without a key", "users.u.client-key",
         "client-certificate and client-key go together, each as a file or as -data"},
        {SERVER, "    client-key: me.key\n", ":12: a client's key without a certificate", "users.u.client-certificate",
         NULL},
        {SERVER, "    client-certificate: me.crt\n    client-key: locked.key\n",
         ":15: the key of 'client-key' is protected by a passphrase", "users.u.client-key",
         "remove it with: openssl pkey -in KEY -out KEY.plain"},
        {SERVER, "    token: 123\n", ":14: 'token' must be text, not int", "users.u.token", "put it between quotes"},
        {SERVER, "    token: \"a\\nb: c\"\n", ":14: 'token' has a line break or another control character in it",
         "users.u.token", "write it in one line"},
        {SERVER, "    auth-provider: {name: gcp}\n", ":14: auth-provider is gone from Kubernetes since 1.26",
         "users.u.auth-provider", "use the cloud's exec plugin, for example gke-gcloud-auth-plugin or kubelogin"},
        {SERVER, "    as-user-extra: {a: [b]}\n", ":14: 'as-user-extra' is not known here", "users.u.as-user-extra",
         "as, as-uid and as-groups are"},
        {SERVER, EXEC, ":15: the exec plugin has no command", "users.u.exec.command",
         "command: the program that prints the credential"},
        {SERVER, "    exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}\n",
         ":14: the exec plugin speaks 'client.authentication.k8s.io/v1alpha1'", "users.u.exec.apiVersion",
         "client.authentication.k8s.io/v1 is known, and v1beta1; a newer plugin speaks them"},
        {SERVER, EXEC "      command: x\n      interactiveMode: Always\n",
         ":15: the exec plugin wants a terminal to ask at", "users.u.exec.interactiveMode",
         "a server has none: use a token, a certificate, or a plugin with interactiveMode: Never"},
        {SERVER, EXEC "      command: x\n      args: [1]\n", ":17: every entry of 'args' must be text",
         "users.u.exec.args", "put it between quotes"},
        {SERVER, EXEC "      command: x\n      env: [{name: A=B, value: c}]\n", ":17: 'A=B' is no name of a variable",
         "users.u.exec.env", ""},
    };
    (void)state;
    const char *name = arena_printf(&arena, "%s/kc", folder).p;
    EACH(r, rows)
    {
        struct kube_access a = {.insecure = true};
        struct err err = {0};
        struct str text = rows[r].cluster ? config(rows[r].cluster, rows[r].user) : str_of(rows[r].user);
        if (load(text, &a, &err)) fail_msg("row %zu is taken: %s", r, rows[r].user);
        if (strncmp(err.message, name, strlen(name)) != 0) fail_msg("row %zu names no file: %s", r, err.message);
        const char *rest = err.message + strlen(name);
        if (rows[r].message && strcmp(rest, rows[r].message) != 0) fail_msg("row %zu: %s", r, rest);
        if (strcmp(err.path, rows[r].path) != 0) fail_msg("row %zu: path %s", r, err.path);
        if (rows[r].hint && strcmp(err.hint, rows[r].hint) != 0) fail_msg("row %zu: hint %s", r, err.hint);
        assert_true(a.insecure); /* untouched */
    }
    char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    struct kube_access a;
    struct err err;
    assert_false(load(arena_printf(&arena, "contexts:\n- name: %s\n", long_name), &a, &err));
    assert_non_null(strstr(err.hint, "there are: 'nnn"));
}

/* The first file to have an entry counts; relative paths begin where their file lies; files that are away are left out.
 */
static void several_files_merge(void **state)
{
    struct kube_access a;
    struct err err;
    (void)state;
    assert_true(fs_mkdirs(arena_printf(&arena, "%s/sub", folder).p, 0700, NULL));
    file_of("sub/ca.crt", CERT "two\n");
    const char *one = file_of("one", "clusters:\n- name: k\n  cluster: {server: 'https://one', "
                                     "certificate-authority: ca.crt}\n");
    const char *two =
        file_of("sub/two", "current-context: c\ncontexts:\n- name: c\n  context: {cluster: k, user: u, namespace: n}\n"
                           "- name: d\n  context: {cluster: l}\n"
                           "clusters:\n- name: k\n  cluster: {server: 'https://two'}\n"
                           "- name: l\n  cluster: {server: 'https://l', certificate-authority: ca.crt}\n"
                           "users:\n- name: u\n  user: {token: t}\n");
    setenv("KUBECONFIG", arena_printf(&arena, "%s/none:%s::%s", folder, one, two).p, 1);
    if (!kube_access_load(&arena, (struct str){"", 0}, (struct str){"", 0}, &a, &err)) fail_msg("%s", err.message);
    assert_true(same(a.server, "https://one") && same(a.token, "t") && same(a.namespace, "n") && same(a.ca_pem, CERT));
    if (!kube_access_load(&arena, (struct str){"", 0}, STR("d"), &a, &err)) fail_msg("%s", err.message);
    assert_true(same(a.server, "https://l") && a.token.n == 0 && same(a.ca_pem, CERT "two\n"));
    setenv("KUBECONFIG", "/nowhere/a:/nowhere/b", 1);
    assert_false(kube_access_load(&arena, (struct str){"", 0}, (struct str){"", 0}, &a, &err));
    assert_string_equal(err.message, "no file of KUBECONFIG is there: /nowhere/a:/nowhere/b");
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    setenv("HOME", folder, 1);
    assert_false(kube_access_load(&arena, (struct str){"", 0}, (struct str){"", 0}, &a, &err));
    assert_non_null(strstr(err.message, "nothing says how to reach a Kubernetes cluster"));
    assert_false(kube_access_load(&arena, STR("/nowhere/a"), (struct str){"", 0}, &a, &err));
    assert_non_null(strstr(err.message, "/nowhere/a"));
    assert_true(fs_mkdirs(arena_printf(&arena, "%s/.kube", folder).p, 0700, NULL));
    file_of(".kube/config", config(SERVER, "    token: home\n").p);
    assert_true(kube_access_load(&arena, (struct str){"", 0}, (struct str){"", 0}, &a, &err));
    assert_true(same(a.token, "home"));
}

static void a_pod_has_what_it_needs(void **state)
{
    struct kube_access a;
    struct err err;
    (void)state;
    file_of("token", "t\n");
    file_of("namespace", "mine\n");
    assert_true(kube_access_pod(&arena, str_of(folder), STR("fd00::1"), STR("443"), &a, &err));
    assert_true(same(a.server, "https://[fd00::1]:443") && same(a.namespace, "mine") && same(a.ca_pem, CERT));
    assert_true(same(a.origin, "in-cluster"));
    assert_false(kube_access_pod(&arena, STR("/nowhere"), STR("10.0.0.1"), STR("443"), &a, &err));
    assert_non_null(strstr(err.message, "in-cluster: the cluster's certificate cannot be read"));
    assert_string_equal(err.hint, "mount a service account's token: automountServiceAccountToken: true");
    assert_false(kube_access_pod(&arena, str_of(folder), STR("a b"), STR("443"), &a, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(exec_plugins_are_read),
        cmocka_unit_test(what_is_wrong_is_told_with_its_place),
        cmocka_unit_test(several_files_merge),
        cmocka_unit_test(a_pod_has_what_it_needs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
