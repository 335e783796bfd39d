/* See plugin.h. */
#include "engine/kube/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/base64.h"
#include "engine/base/jsonw.h"
#include "engine/kube/client.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"

extern char **environ;

#define PATIENCE_US 60000000 /* then it is killed: nobody is there to answer what it may ask */
#define LOOK_US 50000        /* how often it is looked for whether it has ended */
#define LINGER_US 500000     /* that a child of the ended plugin may hold its output open */
#define OUTPUT_MAX ((size_t)1 << 20)
#define SAID_MAX 4096
#define LAST_WORDS 160 /* of it, in a message */
#define READS 64       /* of a pipe in a turn: a program that never stops printing must not hold up the loop */
#define INFO "KUBERNETES_EXEC_INFO"

/* ---- starting ---- */

static void write_cluster(struct jsonw *w, struct arena *a, const struct kube_access *access)
{
    jsonw_key(w, "cluster");
    jsonw_object(w);
    jsonw_kv_str(w, "server", access->server);
    if (access->server_name.n > 0) jsonw_kv_str(w, "tls-server-name", access->server_name);
    if (access->insecure) jsonw_kv_bool(w, "insecure-skip-tls-verify", true);
    if (access->ca_pem.n > 0) jsonw_kv_str(w, "certificate-authority-data", base64_encode(a, access->ca_pem));
    if (access->proxy_url.n > 0) jsonw_kv_str(w, "proxy-url", access->proxy_url);
    if (access->exec.config_json.n > 0) {
        jsonw_key(w, "config");
        jsonw_raw(w, access->exec.config_json);
    }
    jsonw_object_end(w);
}

static const char *exec_info(struct arena *a, const struct kube_access *access)
{
    struct jsonw w;
    BUF_AUTO out;
    buf_init(&out, 0);
    buf_c(&out, INFO "=");
    jsonw_to_buf(&w, &out);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "kind", "ExecCredential");
    jsonw_kv_str(&w, "apiVersion", access->exec.api_version);
    jsonw_key(&w, "spec");
    jsonw_object(&w);
    if (access->exec.cluster_info) write_cluster(&w, a, access);
    jsonw_kv_bool(&w, "interactive", false);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    return jsonw_end(&w) ? arena_cstr(a, buf_view(&out)) : INFO "=";
}

/* Ours, with what the kubeconfig sets in place of it. */
static char **environment(struct arena *a, const struct kube_access *access)
{
    const struct kube_exec *exec = &access->exec;
    size_t n = 0, room = exec->n_env + 2;
    for (char **e = environ; *e != NULL; e++)
        room++;
    char **made = arena_array(a, char *, room);
    for (char **e = environ; *e != NULL; e++) {
        bool replaced = strncmp(*e, INFO "=", sizeof INFO) == 0;
        for (size_t i = 0; i < exec->n_env; i++) {
            struct str name = exec->env[i].name;
            replaced |= strncmp(*e, name.p, name.n) == 0 && (*e)[name.n] == '=';
        }
        if (!replaced) made[n++] = *e;
    }
    for (size_t i = 0; i < exec->n_env; i++) {
        const struct kube_exec_env *e = &exec->env[i];
        made[n++] = (char *)(uintptr_t)arena_printf(a, "%.*s=%.*s", STR_ARG(e->name), STR_ARG(e->value)).p;
    }
    made[n] = (char *)(uintptr_t)exec_info(a, access);
    return made;
}

static char **arguments(struct arena *a, const struct kube_exec *exec)
{
    char **made = arena_array(a, char *, exec->n_args + 2);
    made[0] = arena_cstr(a, exec->command);
    for (size_t i = 0; i < exec->n_args; i++)
        made[i + 1] = arena_cstr(a, exec->args[i]);
    return made;
}

static int spawn(struct arena *a, const struct kube_access *access, int out, int err, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    char **argv = arguments(a, &access->exec);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawn_file_actions_adddup2(&files, err, 2);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0); /* its own, so that all of it can be killed */
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int failed = posix_spawnp(pid, argv[0], &files, &attr, argv, environment(a, access));
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return failed;
}

static bool hint_install(const struct kube_exec *exec, const char *otherwise, struct err *err)
{
    struct str hint = str_trim(exec->install_hint);
    return hint.n > 0 ? err_hint(err, "%.*s", STR_ARG(hint)) : err_hint(err, "%s", otherwise);
}

static void watch_pipe(struct kube_plugin *p, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint32_t)fd};
    epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &e);
}

bool kube_plugin_start(struct kube_plugin *p, const struct kube_access *access, int epoll, int64_t now_us,
                       struct err *err)
{
    const struct kube_exec *exec = &access->exec;
    int out[2] = {-1, -1}, said[2] = {-1, -1};
    struct arena a;
    pid_t pid = 0;
    arena_init(&a, 0);
    int failed = pipe2(out, O_CLOEXEC) != 0 || pipe2(said, O_CLOEXEC) != 0 ? errno : 0;
    if (failed == 0) failed = spawn(&a, access, out[1], said[1], &pid);
    arena_free(&a);
    fs_close(&out[1]);
    fs_close(&said[1]);
    if (failed != 0) {
        fs_close(&out[0]);
        fs_close(&said[0]);
        err_set(err, ERR_UNAUTHENTICATED, "the exec plugin '%.*s' of %.*s cannot be started: %s",
                STR_ARG(exec->command), STR_ARG(access->origin), strerror(failed));
        return hint_install(exec, "install it where PATH of Millrace finds it", err);
    }
    *p = (struct kube_plugin){.pid = pid, .epoll = epoll, .out = out[0], .err = said[0]};
    p->deadline_us = now_us + PATIENCE_US;
    p->look_us = now_us + LOOK_US;
    buf_init(&p->text, OUTPUT_MAX);
    buf_init(&p->said, SAID_MAX);
    fcntl(p->out, F_SETFL, O_NONBLOCK);
    fcntl(p->err, F_SETFL, O_NONBLOCK);
    watch_pipe(p, p->out);
    watch_pipe(p, p->err);
    return true;
}

/* ---- running ---- */

/* What is there to read, or some of it; a pipe at its end is closed. What goes beyond the buffer is read and dropped.
 */
static void drain(struct kube_plugin *p, int *fd, struct buf *into)
{
    char bytes[4096];
    for (int i = 0; i < READS && *fd >= 0; i++) {
        ssize_t n = read(*fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n > 0) {
            size_t fits = into->cap - into->n;
            buf_add(into, bytes, (size_t)n < fits ? (size_t)n : fits);
            into->over |= (size_t)n > fits;
            continue;
        }
        epoll_ctl(p->epoll, EPOLL_CTL_DEL, *fd, NULL);
        fs_close(fd);
    }
}

static void finish(struct kube_plugin *p)
{
    if (p->out >= 0) epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->out, NULL);
    if (p->err >= 0) epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->err, NULL);
    fs_close(&p->out);
    fs_close(&p->err);
    buf_free(&p->text);
    buf_free(&p->said);
    p->pid = 0;
}

void kube_plugin_kill(struct kube_plugin *p)
{
    if (p->pid == 0) return;
    kill(-p->pid, SIGKILL);
    if (!p->ended) waitpid(p->pid, NULL, 0);
    finish(p);
}

static bool fail(struct kube_plugin *p, const struct kube_access *access, struct err *err, const char *how, int number)
{
    struct str said = utf8_sub(str_trim(buf_view(&p->said)), LAST_WORDS);
    err_set(err, ERR_UNAUTHENTICATED, "the exec plugin '%.*s' of %.*s %s%d%s%.*s", STR_ARG(access->exec.command),
            STR_ARG(access->origin), how, number, said.n > 0 ? ": " : "", STR_ARG(said));
    return hint_install(&access->exec, "run it by hand, as the user that runs Millrace", err);
}

static bool judge(struct kube_plugin *p, const struct kube_access *access, struct arena *a,
                  struct kube_exec_credential *out, struct err *err)
{
    struct err why;
    if (p->status != -1 && WIFSIGNALED(p->status))
        return fail(p, access, err, "was killed by signal ", WTERMSIG(p->status));
    if (p->status > 0) return fail(p, access, err, "ended with status ", WEXITSTATUS(p->status));
    if (kube_exec_credential_read(a, buf_view(&p->text), &access->exec, os_now_us() / 1000000, out, &why)) return true;
    err_set(err, ERR_UNAUTHENTICATED, "the exec plugin '%.*s' of %.*s %s", STR_ARG(access->exec.command),
            STR_ARG(access->origin), why.message);
    return err_hint(err, "%s", why.hint);
}

bool kube_plugin_turn(struct kube_plugin *p, const struct kube_access *access, int64_t now_us, struct arena *a,
                      struct kube_exec_credential *out, bool *ok, struct err *err)
{
    drain(p, &p->out, &p->text);
    drain(p, &p->err, &p->said);
    if (!p->ended) {
        pid_t reaped = waitpid(p->pid, &p->status, WNOHANG);
        if (reaped < 0) p->status = -1; /* children are not waited for in this process: only its output counts */
        p->ended = reaped != 0;
        p->ended_us = now_us;
    }
    p->look_us = now_us + LOOK_US;
    if (p->ended && !p->text.over && (p->out < 0 || now_us - p->ended_us > LINGER_US)) {
        drain(p, &p->err, &p->said);
        *ok = judge(p, access, a, out, err);
        finish(p);
        return true;
    }
    if (now_us < p->deadline_us && !p->text.over) return false;
    *ok = p->text.over ? fail(p, access, err, "printed more bytes than ", (int)OUTPUT_MAX)
                       : fail(p, access, err, "was killed: it did not end in seconds: ", PATIENCE_US / 1000000);
    kube_plugin_kill(p);
    return true;
}

/* ---- what it printed ---- */

static bool is_pem(struct str s, const char *mark)
{
    size_t at;
    return s.n == 0 || (str_find(s, str_of(mark), &at) && !str_find(s, STR("ENCRYPTED"), &at));
}

static bool check(const struct kube_exec_credential *c, struct err *err)
{
    for (size_t i = 0; i < c->token.n; i++)
        if ((unsigned char)c->token.p[i] <= ' ')
            return err_set(err, ERR_INVALID, "printed a token with white space in it");
    if (c->token.n == 0 && c->cert_pem.n == 0) {
        err_set(err, ERR_INVALID, "printed neither a token nor a certificate");
        return err_hint(err, "status.token, or status.clientCertificateData and clientKeyData");
    }
    if ((c->cert_pem.n > 0) != (c->key_pem.n > 0))
        return err_set(err, ERR_INVALID, "printed a certificate without its key, or a key without its certificate");
    if (!is_pem(c->cert_pem, "-----BEGIN CERTIFICATE-----") || !is_pem(c->key_pem, "PRIVATE KEY-----"))
        return err_set(err, ERR_INVALID, "printed a certificate or key that is no plain PEM");
    return true;
}

bool kube_exec_credential_read(struct arena *a, struct str text, const struct kube_exec *exec, int64_t now_s,
                               struct kube_exec_credential *out, struct err *err)
{
    struct value v;
    struct kube_exec_credential made = {0};
    if (!kube_json(a, text, &v, NULL) || !str_is(kube_text(&v, "kind"), "ExecCredential")) {
        err_set(err, ERR_INVALID, "did not print an ExecCredential");
        return err_hint(err, "run it by hand: it must print JSON with kind ExecCredential, and nothing else");
    }
    if (!str_eq(kube_text(&v, "apiVersion"), exec->api_version)) {
        err_set(err, ERR_INVALID, "printed apiVersion '%.*s' where the kubeconfig says '%.*s'",
                STR_ARG(str_sub(kube_text(&v, "apiVersion"), 0, 80)), STR_ARG(exec->api_version));
        return err_hint(err, "set exec.apiVersion in the kubeconfig to what the plugin speaks");
    }
    struct str expires = kube_text(&v, "status.expirationTimestamp");
    made.token = str_trim(kube_text(&v, "status.token"));
    made.cert_pem = kube_text(&v, "status.clientCertificateData");
    made.key_pem = kube_text(&v, "status.clientKeyData");
    if (!check(&made, err)) return false;
    int64_t expires_us = 0;
    if (expires.n > 0 && !os_time_parse(expires, &expires_us))
        return err_set(err, ERR_INVALID, "printed the expirationTimestamp '%.*s', which is no time",
                       STR_ARG(str_sub(expires, 0, 60)));
    made.expires_s = expires_us / 1000000;
    if (expires.n > 0 && made.expires_s <= now_s) {
        err_set(err, ERR_INVALID, "printed a credential that expired at %.*s", STR_ARG(expires));
        return err_hint(err, "log in again, and see that this machine's clock is right");
    }
    *out = made;
    return true;
}
