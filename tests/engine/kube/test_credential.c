/* Tokens that change and plugins that give them: what is sent, and what is told when there is nothing to send. */
#include <sys/stat.h>

#include <sys/epoll.h>

#include "engine/kube/client_inner.h"
#include "engine/kube/credential.h"
#include "engine/kube/plugin.h"
#include "engine/os/fs.h"
#include "tests/engine/kube/rig.h"

#define V1 "client.authentication.k8s.io/v1"
#define CREDENTIAL(status) "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"status\":" status "}"

static char folder[] = "/tmp/millrace-kube-XXXXXX";

static const char *path_of(const char *name)
{
    return arena_printf(&arena, "%s/%s", folder, name).p;
}

static void put(const char *name, const char *text)
{
    if (!fs_write(path_of(name), str_of(text), 0700, false, NULL)) fail_msg("%s", name);
}

static int make(void **state)
{
    return setup(state) != 0 || mkdtemp(folder) == NULL ? -1 : 0;
}

static int unmake(void **state)
{
    return teardown(state) != 0 || !fs_remove_tree(folder, NULL) ? -1 : 0;
}

static struct told get(struct kube_client *c, uint32_t tries)
{
    struct told t = {0};
    kube_request(
        c, &(struct kube_request){.method = "GET", .path = STR("/x"), .tries = tries, .done = on_told, .ctx = &t});
    turn_until(c, &t.done);
    return t;
}

static void each_kind_has_its_header(void **state)
{
    static const struct row script[] = {{"/x", 200, NULL, .body = "", .times = -1}, {0}};
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        server_start(script);
        struct kube_access access = access_of_server();
        if (kind == 1) access.token = STR("secret");
        if (kind == 2) access.user = STR("me"), access.password = STR("p:w");
        access.as = STR("other");
        access.as_groups = &STR("g");
        access.n_as_groups = 1;
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &access, .user_agent = "tester/1"});
        assert_int_equal(get(c, 1).outcome, KUBE_DONE);
        kube_client_close(c);
        server_stop();
        assert_string_equal(server.got[0].auth, kind == 0 ? "" : kind == 1 ? "Bearer secret" : "Basic bWU6cDp3");
        assert_non_null(strstr(server.got[0].head, "\r\nImpersonate-User: other\r\n"));
        assert_non_null(strstr(server.got[0].head, "\r\nImpersonate-Group: g\r\n"));
        assert_non_null(strstr(server.got[0].head, "\r\nUser-Agent: tester/1\r\n"));
        assert_non_null(strstr(server.got[0].head, "\r\nAccept: application/json\r\n"));
    }
}

/* Read again after a 401, which costs no try; the last one stays when the file cannot be read. */
static void a_token_file_is_read_again(void **state)
{
    static const struct row script[] = {
        {"/x", 200, NULL, .body = ""}, {"/x", 401, NULL, .body = ""}, {"/x", 200, NULL, .body = "", .times = -1}, {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    access.token_file = str_of(path_of("token"));
    put("token", "one\n");
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    assert_int_equal(get(c, 1).outcome, KUBE_DONE);
    put("token", "two\n");
    struct told t = get(c, 1);
    assert_int_equal(t.outcome, KUBE_DONE);
    assert_int_equal(t.tries, 1);
    unlink(path_of("token"));
    assert_int_equal(get(c, 1).outcome, KUBE_DONE);
    kube_client_close(c);
    server_stop();
    static const char *const sent[] = {"Bearer one", "Bearer one", "Bearer two", "Bearer two"};
    EACH(i, sent) assert_string_equal(server.got[i].auth, sent[i]);
    assert_int_equal(received(), 4);
}

#define S_US INT64_C(1000000)

static void shows(struct kube_credential *cr, int64_t now_s, const char *token)
{
    struct kube_pass pass;
    assert_int_equal(kube_credential_get(cr, now_s * S_US, &pass, NULL), KUBE_PASS_READY);
    if (!str_ends(pass.authorization, token)) fail_msg("%s after %d s", pass.authorization.p, (int)now_s);
}

/* Without any 401: a server may take the old one for longer than it is good elsewhere. */
static void a_token_file_is_read_again_every_minute(void **state)
{
    (void)state;
    const struct kube_access access = {.token_file = str_of(path_of("token")), .origin = STR("test")};
    struct kube_credential *cr = kube_credential_open(&access, -1);
    put("token", "one\n");
    shows(cr, 1, "one");
    put("token", "two\n");
    shows(cr, 60, "one");
    shows(cr, 61, "two");
    kube_credential_close(cr);
}

/* A server that likes none is no reason to spin. */
static void a_401_renews_once_in_five_seconds(void **state)
{
    (void)state;
    const struct kube_access access = {.token_file = str_of(path_of("token")), .origin = STR("test")};
    struct kube_credential *cr = kube_credential_open(&access, -1);
    struct kube_pass pass;
    put("token", "one\n");
    assert_int_equal(kube_credential_get(cr, S_US, &pass, NULL), KUBE_PASS_READY);
    put("token", "two\n");
    assert_true(kube_credential_rejected(cr, pass.number, 2 * S_US));
    assert_int_equal(kube_credential_get(cr, 2 * S_US, &pass, NULL), KUBE_PASS_READY);
    put("token", "three\n");
    assert_false(kube_credential_rejected(cr, pass.number, 6 * S_US));
    shows(cr, 6, "two");
    assert_true(kube_credential_rejected(cr, pass.number, 7 * S_US));
    shows(cr, 7, "three");
    kube_credential_close(cr);
}

static void an_unreadable_token_file_is_read_again_in_five_seconds(void **state)
{
    (void)state;
    const struct kube_access access = {.token_file = str_of(path_of("late")), .origin = STR("test")};
    struct kube_credential *cr = kube_credential_open(&access, -1);
    struct kube_pass pass;
    assert_int_equal(kube_credential_get(cr, S_US, &pass, NULL), KUBE_PASS_MISSING);
    put("late", "one\n");
    assert_int_equal(kube_credential_get(cr, 5 * S_US, &pass, NULL), KUBE_PASS_MISSING);
    shows(cr, 6, "one");
    unlink(path_of("late"));
    shows(cr, 66, "one");
    put("late", "two\n");
    shows(cr, 70, "one");
    shows(cr, 71, "two");
    kube_credential_close(cr);
}

/* While a request is under way that the server has: it answers nothing before this is done. */
static void renew_under_way(struct kube_client *c, const struct kube_call *call, size_t request, const char *token)
{
    struct kube_pass pass;
    pthread_mutex_lock(&server.lock);
    while (kube_client_statistics(c)->requests < request || !call->sent)
        kube_client_turn(c);
    put("token", token);
    int64_t now = os_mono_us() + (int64_t)request * 10 * S_US;
    assert_int_equal(kube_credential_get(c->credential, now, &pass, NULL), KUBE_PASS_READY);
    assert_true(kube_credential_rejected(c->credential, pass.number, now));
    pthread_mutex_unlock(&server.lock);
}

/* Else a server that likes none is asked without end, if others renew the token as fast as it answers. */
static void a_second_401_is_final(void **state)
{
    static const struct row script[] = {{"/x", 401, NULL, .body = "", .times = -1}, {0}};
    struct told t = {0};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    access.token_file = str_of(path_of("token"));
    put("token", "one\n");
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    const struct kube_call *call =
        kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/x"), .done = on_told, .ctx = &t});
    renew_under_way(c, call, 1, "two\n");
    while (received() < 1)
        usleep(1000);
    renew_under_way(c, call, 2, "three\n");
    turn_until(c, &t.done);
    assert_int_equal(t.outcome, KUBE_REFUSED);
    kube_client_close(c);
    server_stop();
    assert_int_equal(received(), 2);
}

/* The same token again is no other credential. */
static void a_401_with_nothing_new_is_final(void **state)
{
    static const struct row script[] = {{"/x", 401, NULL, .body = "", .times = -1}, {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    access.token_file = str_of(path_of("token"));
    put("token", "one\n");
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct told t = get(c, 5);
    assert_int_equal(t.outcome, KUBE_REFUSED);
    assert_int_equal(t.status, 401);
    kube_client_close(c);
    server_stop();
    assert_int_equal(received(), 1);
}

static void without_a_token_nothing_is_sent(void **state)
{
    static const struct {
        const char *text, *message; /* text NULL = no file */
    } rows[] = {{NULL, "the token file of test cannot be read: "},
                {"\n", " of test holds no token; it must hold one line, the token"},
                {"a\nb\n", " of test holds no token; it must hold one line, the token"}};
    static const struct row script[] = {{0}};
    (void)state;
    EACH(r, rows)
    {
        server_start(script);
        struct kube_access access = access_of_server();
        access.token_file = str_of(path_of("other"));
        if (rows[r].text) put("other", rows[r].text);
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
        struct told t = get(c, 1);
        assert_int_equal(t.outcome, KUBE_AGAIN);
        if (strstr(t.message, rows[r].message) == NULL) fail_msg("%s", t.message);
        kube_client_close(c);
        server_stop();
        assert_int_equal(received(), 0);
    }
}

/* ---- plugins ---- */

static struct kube_access plugin_access(const char *name)
{
    static const struct kube_exec_env env[] = {{STR_INIT("GREETING"), STR_INIT("hello")}};
    static const struct str args[] = {STR_INIT("one"), STR_INIT("t wo")};
    struct kube_access access = access_of_server();
    access.has_exec = true;
    access.exec = (struct kube_exec){.api_version = STR(V1),
                                     .command = str_of(path_of(name)),
                                     .args = args,
                                     .n_args = 2,
                                     .env = env,
                                     .n_env = 1,
                                     .cluster_info = true,
                                     .config_json = STR("{\"a\":1}")};
    return access;
}

static void a_plugin_gives_the_token(void **state)
{
    static const struct row script[] = {{"/x", 200, NULL, .body = "", .times = 2},
                                        {"/x", 401, NULL, .body = ""},
                                        {"/x", 200, NULL, .body = "", .times = -1},
                                        {0}};
    (void)state;
    server_start(script);
    struct kube_access access = plugin_access("good");
    put("good", arena_printf(&arena,
                             "#!/bin/sh\ncd %s\necho \"$KUBERNETES_EXEC_INFO|$GREETING|$1|$2\" >asked\necho >>count\n"
                             "echo noise >&2\n"
                             "echo '" CREDENTIAL("{\"token\":\"tNUMBER\"}") "' | sed \"s/NUMBER/$(wc -l <count)/\"\n",
                             folder)
                    .p);
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct told a = {0}, b = {0}; /* both wait for one plugin */
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/x"), .done = on_told, .ctx = &a});
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/x"), .done = on_told, .ctx = &b});
    turn_until(c, &a.done);
    turn_until(c, &b.done);
    struct told t = get(c, 1); /* 401: run again */
    assert_int_equal(t.outcome, KUBE_DONE);
    kube_client_close(c);
    server_stop();
    static const char *const sent[] = {"Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"};
    EACH(i, sent) assert_string_equal(server.got[i].auth, sent[i]);
    BUF_AUTO asked;
    buf_init(&asked, 0);
    assert_true(fs_read(path_of("asked"), 4096, &asked, NULL));
    assert_string_equal(asked.p, arena_printf(&arena,
                                              "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"spec\":{"
                                              "\"cluster\":{\"server\":\"%.*s\",\"config\":{\"a\":1}},"
                                              "\"interactive\":false}}|hello|one|t wo\n",
                                              STR_ARG(access.server))
                                     .p);
}

/* A short life: run again by itself, while the old one still serves. */
static void a_plugin_is_run_again_before_it_expires(void **state)
{
    static const struct row script[] = {{"/x", 200, NULL, .body = "", .times = -1}, {0}};
    (void)state;
    server_start(script);
    struct kube_access access = plugin_access("short");
    put("short",
        arena_printf(
            &arena,
            "#!/bin/sh\ncd %s\necho >>times\n"
            "at=$(date -u -d '+3 seconds' +%%Y-%%m-%%dT%%H:%%M:%%SZ)\n"
            "echo '" CREDENTIAL("{\"token\":\"sNUMBER\",\"expirationTimestamp\":\"WHEN\"}") "' |"
                                                                                            " sed \"s/NUMBER/$(wc -l "
                                                                                            "<times)/;s/WHEN/$at/\"\n",
            folder)
            .p);
    struct kube_client *c =
        open_client(&(struct kube_client_config){.access = &access, .requests_per_s = 20, .burst = 1});
    bool renewed = false;
    for (int i = 0; i < 200 && !renewed; i++) {
        assert_int_equal(get(c, 1).outcome, KUBE_DONE);
        renewed = strcmp(server.got[received() - 1].auth, "Bearer s2") == 0;
    }
    assert_true(renewed);
    kube_client_close(c);
    server_stop();
}

static void what_has_expired_is_not_shown(void **state)
{
    (void)state;
    struct kube_access access = plugin_access("hour");
    put("hour", "#!/bin/sh\nat=$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)\n"
                "echo '" CREDENTIAL("{\"token\":\"t\",\"expirationTimestamp\":\"WHEN\"}") "' | sed s/WHEN/$at/\n");
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct kube_credential *cr = kube_credential_open(&access, epoll);
    struct kube_pass pass;
    while (kube_credential_get(cr, os_mono_us(), &pass, NULL) == KUBE_PASS_WAIT) {
        usleep(1000);
        kube_credential_turn(cr, os_mono_us());
    }
    int64_t now = os_mono_us() / S_US;
    shows(cr, now, " t");
    shows(cr, now + 3570, " t"); /* while the plugin is run again */
    assert_int_equal(kube_credential_get(cr, (now + 3602) * S_US, &pass, NULL), KUBE_PASS_WAIT);
    kube_credential_close(cr);
    close(epoll);
}

static void a_bad_plugin_is_told(void **state)
{
    static const struct {
        const char *name, *text, *hint, *message; /* text NULL = no such program */
    } rows[] = {
        {"none", NULL, "", "cannot be started: No such file or directory; install it where PATH of Millrace finds it"},
        {"none", NULL, "get it there", "cannot be started: No such file or directory; get it there"},
        {"status", "#!/bin/sh\necho please log in >&2\nexit 3\n", "",
         "ended with status 3: please log in; run it by hand, as the user that runs Millrace"},
        {"killed", "#!/bin/sh\nkill -9 $$\n", "", "was killed by signal 9; run it by hand"},
        {"silent", "#!/bin/sh\n", "", "did not print an ExecCredential; run it by hand: it must print JSON"},
        {"flood", "#!/bin/sh\nhead -c 3000000 /dev/zero\n", "", "printed more bytes than 1048576"},
        {"endless", "#!/bin/sh\nexec cat /dev/zero\n", "", "printed more bytes than 1048576"},
        {"child", "#!/bin/sh\nsleep 5 &\necho '" CREDENTIAL("{\"token\":\"\"}") "'\n", "",
         "printed neither a token nor a certificate; status.token"},
    };
    static const struct row script[] = {{0}};
    (void)state;
    EACH(r, rows)
    {
        server_start(script);
        struct kube_access access = plugin_access(rows[r].name);
        access.exec.install_hint = str_of(rows[r].hint);
        if (rows[r].text) put(rows[r].name, rows[r].text);
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
        struct told t = get(c, 1);
        assert_int_equal(t.outcome, KUBE_AGAIN);
        const char *named = arena_printf(&arena, "the exec plugin '%s' of test ", path_of(rows[r].name)).p;
        if (strstr(t.message, named) == NULL) fail_msg("%s", t.message);
        if (strstr(t.message, rows[r].message) == NULL) fail_msg("%s: %s", rows[r].name, t.message);
        kube_client_close(c);
        server_stop();
        assert_int_equal(received(), 0);
    }
}

/* While it takes its time the loop goes on, and closing ends it with all it started. */
static void a_slow_plugin_blocks_nothing(void **state)
{
    static const struct row script[] = {{0}};
    struct told t = {0};
    (void)state;
    server_start(script);
    struct kube_access access = plugin_access("slow");
    put("slow", arena_printf(&arena, "#!/bin/sh\necho $$ >%s/pid.new\nmv %s/pid.new %s/pid\nsleep 1000\n", folder,
                             folder, folder)
                    .p);
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/x"), .done = on_told, .ctx = &t});
    BUF_AUTO pid;
    buf_init(&pid, 0);
    while (!fs_read(path_of("pid"), 64, &pid, NULL)) {
        struct pollfd p = {.fd = kube_client_fd(c), .events = POLLIN};
        poll(&p, 1, 10);
        kube_client_turn(c);
    }
    assert_false(t.done);
    assert_int_equal(kill(-atoi(pid.p), 0), 0);
    kube_client_close(c);
    assert_int_not_equal(kill(atoi(pid.p), 0), 0);
    server_stop();
}

static void what_a_plugin_prints_is_judged(void **state)
{
    static const struct {
        const char *text, *message; /* message NULL = fine */
    } rows[] = {
        {CREDENTIAL("{\"token\":\"a\"}"), NULL},
        {CREDENTIAL("{\"token\":\"a\",\"expirationTimestamp\":\"2030-01-01T00:00:00Z\"}"), NULL},
        {CREDENTIAL("{\"token\":\"a\",\"expirationTimestamp\":null}"), NULL},
        {CREDENTIAL("{\"clientCertificateData\":\"-----BEGIN CERTIFICATE-----\",\"clientKeyData\":\"-----BEGIN "
                    "PRIVATE KEY-----\"}"),
         NULL},
        {CREDENTIAL("{\"clientCertificateData\":\"-----BEGIN CERTIFICATE-----\"}"),
         "printed a certificate without its key, or a key without its certificate"},
        {CREDENTIAL("{\"clientCertificateData\":\"a\",\"clientKeyData\":\"b\"}"),
         "printed a certificate or key that is no plain PEM"},
        {CREDENTIAL("{\"token\":\"a b\"}"), "printed a token with white space in it"},
        {CREDENTIAL("{}"), "printed neither a token nor a certificate"},
        {CREDENTIAL("{\"token\":\"a\",\"expirationTimestamp\":\"tomorrow\"}"),
         "printed the expirationTimestamp 'tomorrow', which is no time"},
        {CREDENTIAL("{\"token\":\"a\",\"expirationTimestamp\":\"2001-01-01T00:00:00+01:00\"}"),
         "printed a credential that expired at 2001-01-01T00:00:00+01:00"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}",
         "printed apiVersion 'client.authentication.k8s.io/v1beta1' where the kubeconfig says '" V1 "'"},
        {"{\"kind\":\"Pod\"}", "did not print an ExecCredential"},
        {"token", "did not print an ExecCredential"},
    };
    static const struct kube_exec exec = {.api_version = STR_INIT(V1)};
    (void)state;
    EACH(r, rows)
    {
        struct kube_exec_credential c;
        struct err err = {0};
        bool ok = kube_exec_credential_read(&arena, str_of(rows[r].text), &exec, 1700000000, &c, &err);
        if (ok != (rows[r].message == NULL)) fail_msg("%s: %s", rows[r].text, err.message);
        if (!ok && strcmp(err.message, rows[r].message) != 0) fail_msg("%s", err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_header),
        cmocka_unit_test(a_token_file_is_read_again),
        cmocka_unit_test(a_token_file_is_read_again_every_minute),
        cmocka_unit_test(a_401_renews_once_in_five_seconds),
        cmocka_unit_test(an_unreadable_token_file_is_read_again_in_five_seconds),
        cmocka_unit_test(a_401_with_nothing_new_is_final),
        cmocka_unit_test(a_second_401_is_final),
        cmocka_unit_test(without_a_token_nothing_is_sent),
        cmocka_unit_test(a_plugin_gives_the_token),
        cmocka_unit_test(a_plugin_is_run_again_before_it_expires),
        cmocka_unit_test(what_has_expired_is_not_shown),
        cmocka_unit_test(a_bad_plugin_is_told),
        cmocka_unit_test(a_slow_plugin_blocks_nothing),
        cmocka_unit_test(what_a_plugin_prints_is_judged),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
