/* Options: where they come from and which source wins, what is refused and how it is said, and help that names each of
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/os/config.h"
#include "engine/os/fs.h"

#define FLAGS_MAX 6
extern char **environ;

static char data[64];
static struct arena arena;

static int setup(void **state)
{
    (void)state;
    snprintf(data, sizeof data, "/tmp/millrace-config-XXXXXX");
    arena_init(&arena, 0);
    clearenv();
    return mkdtemp(data) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    struct err err;
    arena_free(&arena);
    return fs_remove_tree(data, &err) ? 0 : -1;
}

static int count(const char *const *flags)
{
    int n = 0;
    while (n < FLAGS_MAX && flags[n])
        n++;
    return n;
}

static bool load(const char *const *flags, struct config *c, struct err_list *errs)
{
    char *argv[FLAGS_MAX + 1] = {0};
    int n = count(flags);
    for (int i = 0; i < n; i++)
        argv[i] = (char *)(uintptr_t)flags[i];
    err_list_init(errs, &arena);
    return config_load(&arena, n, argv, c, errs);
}

static void write_file(const char *text)
{
    char path[FS_PATH_MAX];
    struct err err;
    snprintf(path, sizeof path, "%s/millrace.conf", data);
    assert_true(fs_write(path, str_of(text), 0600, false, &err));
}

static void defaults_fit_the_machine(void **state)
{
    (void)state;
    struct config c;
    struct err_list errs;
    const char *const none[] = {NULL};
    setenv("HOME", "/nowhere/x", 1);
    assert_true(load(none, &c, &errs));
    assert_true(str_is(c.data_dir, geteuid() == 0 ? "/var/lib/millrace" : "/nowhere/x/.local/share/millrace"));
    assert_true(str_is(c.listen_host, "127.0.0.1"));
    assert_int_equal(c.listen_port, 7070);
    assert_int_equal(c.threads, 50);
    assert_true(c.cpu_milli >= 1000 && c.cpu_milli % 1000 == 0);
    assert_true(c.memory_bytes > 64 << 20);
    assert_true(c.local_exec);
    assert_false(c.allow_local_exec || c.allow_private_egress);
    assert_int_equal(c.role, ROLE_ALL);
    assert_true(str_ends(c.secrets_dir, "/secrets"));
    assert_true(str_eq(c.store_dir, c.data_dir));
}

static void stronger_sources_win(void **state)
{
    (void)state;
    struct config c;
    struct err_list errs;
    const char *const flags[] = {"--data-dir", data, "--threads=7", NULL};
    write_file("# a comment\n\nthreads = 5\nconnections=5\nlisten = 0.0.0.0:5\n log-level = warn \n");
    setenv("MILLRACE_THREADS", "6", 1);
    setenv("MILLRACE_CONNECTIONS", "6", 1);
    setenv("DATABASE_URL", "postgres://x", 1);
    assert_true(load(flags, &c, &errs));
    assert_int_equal(c.threads, 7);     /* flag over environment over file */
    assert_int_equal(c.connections, 6); /* environment over file */
    assert_int_equal(c.listen_port, 5); /* file over default */
    assert_int_equal(c.log_level, LEVEL_WARN);
    assert_true(str_is(c.database_url, "postgres://x"));
    setenv("MILLRACE_DATABASE_URL", "postgres://y", 1);
    assert_true(load(flags, &c, &errs));
    assert_true(str_is(c.database_url, "postgres://y"));
}

static void misspelt_variables_are_found(void **state)
{
    (void)state;
    struct str name, near;
    size_t cursor = 0, n = 0;
    for (const char *const *set = (const char *const[]){"MILLRACE_THREADS", "MILLRACE_KUBE_IMAG", "MILLRACE_URL",
                                                        "MILLRACE_SERVICE_HOST", "THREDS", "MILLRACE_TOKEN", NULL};
         *set != NULL; set++)
        setenv(*set, "5", 1);
    for (; config_misspelt(&arena, &cursor, &name, &near); n++) {
        assert_true(str_is(name, "MILLRACE_KUBE_IMAG"));
        assert_true(str_is(near, "MILLRACE_KUBE_IMAGE"));
    }
    assert_int_equal(n, 1);
}

/* Servers with data folders of their own share a store, and what they give to steps. */
static void secrets_are_in_the_store(void **state)
{
    (void)state;
    struct config c;
    struct err_list errs;
    const char *const apart[] = {"--data-dir", data, "--store-dir", "/srv/store", NULL};
    const char *const named[] = {"--data-dir", data, "--store-dir", "/srv/store", "--secrets-dir", "/srv/keys", NULL};
    assert_true(load(apart, &c, &errs));
    assert_true(str_is(c.secrets_dir, "/srv/store/secrets"));
    assert_true(load(named, &c, &errs));
    assert_true(str_is(c.secrets_dir, "/srv/keys"));
}

static void values_are_read(void **state)
{
    (void)state;
    struct config c;
    struct err_list errs;
    static const struct {
        const char *flag;
        size_t offset;
        int64_t value;
    } rows[] = {
        {"--cpus=1500m", offsetof(struct config, cpu_milli), 1500},
        {"--cpus=2", offsetof(struct config, cpu_milli), 2000},
        {"--memory=1Gi", offsetof(struct config, memory_bytes), 1 << 30},
        {"--retention=90d", offsetof(struct config, retention_ms), INT64_C(90) * 86400000},
        {"--grace=250ms", offsetof(struct config, grace_ms), 250},
        {"--grace=0s", offsetof(struct config, grace_ms), 0},
        {"--takeover=2m", offsetof(struct config, takeover_ms), 120000},
        {"--listen=127.0.0.2:0", offsetof(struct config, listen_port), 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const flags[] = {"--data-dir", data, rows[i].flag, NULL};
        if (!load(flags, &c, &errs)) fail_msg("%s: %s", rows[i].flag, errs.items[0].message);
        int64_t got;
        memcpy(&got, (char *)&c + rows[i].offset, sizeof got);
        if (got != rows[i].value) fail_msg("%s gave %lld", rows[i].flag, (long long)got);
    }
    assert_true(str_is(c.listen_host, "127.0.0.2"));
    assert_true(c.health_listen.n == 0 && c.hosts.n == 0);
    const char *const named[] = {"--data-dir", data, "--health-listen=0.0.0.0:7071", "--hosts=lab.example,lab", NULL};
    assert_true(load(named, &c, &errs));
    assert_true(str_is(c.health_listen, "0.0.0.0:7071") && str_is(c.hosts, "lab.example,lab"));
    assert_int_equal(c.listen_port, 7070);
    static const struct {
        const char *flag;
        bool value;
    } bools[] = {{"--local-exec", true},        {"--local-exec=true", true}, {"--local-exec=on", true},
                 {"--local-exec=false", false}, {"--local-exec=0", false},   {"--no-local-exec", false}};
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++) {
        const char *const flags[] = {"--data-dir", data, bools[i].flag, NULL};
        assert_true(load(flags, &c, &errs));
        if (c.local_exec != bools[i].value) fail_msg("%s", bools[i].flag);
    }
    const char *const relative[] = {"--data-dir", "here", "--store-dir=there", NULL};
    assert_true(load(relative, &c, &errs));
    assert_true(c.data_dir.p[0] == '/' && str_ends(c.data_dir, "/here"));
    assert_true(c.store_dir.p[0] == '/' && str_ends(c.store_dir, "/there"));
}

static void problems_are_told_all_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *flags[FLAGS_MAX];
        const char *message, *hint;
    } rows[] = {
        {{"--treads=4"}, "unknown option 'treads'", "threads"},
        {{"--threads=3"}, "3 is out of range (from 4 to 1000)", NULL},
        {{"--kube-companion-memory=8Mi"}, "8Mi is out of range (from 32Mi to 4Ti)", NULL},
        {{"--kube-companion-cpu=0"}, "0 is out of range (from 0.01 to 4096)", NULL},
        {{"--kube-silence=1ms"}, "1ms is out of range (from 1s to ", NULL},
        {{"--threads=x"}, "'x' is not a whole number", NULL},
        {{"--threads"}, "--threads needs a value: --threads N", NULL},
        {{"--role=boss"}, "boss is none of all, api, scheduler", NULL},
        {{"--role=api"}, "role api needs database-url", "DATABASE_URL"},
        {{"--local-exec=maybe"}, "'maybe' is neither true nor false", NULL},
        {{"--memory=12"}, "", "Mi"},
        {{"--listen=7070"}, "'7070' is not HOST:PORT", "127.0.0.1:7070"},
        {{"--listen=::1:70"}, "is an IPv6 address", "proxy"},
        {{"--listen=[::1]:70"}, "'[::1]:70' is an IPv6 address", "proxy"},
        {{"--listen=a:70000"}, "is not HOST:PORT", NULL},
        {{"--listen=:70"}, "is not HOST:PORT", NULL},
        {{"--health-listen=7071"}, "'7071' is not HOST:PORT", "127.0.0.1:7070"},
        {{"--kube-cache=rel/dir"},
         "'rel/dir' is not an absolute path without '..'",
         "write --kube-cache=/var/cache/millrace"},
        {{"--kube-cache=/var/../x"}, "'/var/../x' is not an absolute path without '..'", "/var/cache/millrace"},
        {{"--no-threads"}, "unknown option 'no-threads'", NULL},
        {{"serve"}, "unexpected argument 'serve'", NULL},
        {{"--s3-path-style", "true"}, "unexpected argument 'true'", "write --s3-path-style=true"},
    };
    struct config c = {.threads = -1};
    struct err_list errs;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *flags[FLAGS_MAX] = {"--data-dir", data, rows[i].flags[0], rows[i].flags[1], NULL};
        bool ok = load(flags, &c, &errs);
        if (ok || errs.total != 1) fail_msg("%s: %zu problems", rows[i].flags[0], errs.total);
        const struct err *e = &errs.items[0];
        bool twice = e->path[0] != '\0' && str_starts(str_of(e->message), e->path); /* which stands before it */
        if (twice || !strstr(e->message, rows[i].message)) fail_msg("%s: %s", rows[i].flags[0], e->message);
        if (rows[i].hint && !strstr(e->hint, rows[i].hint) && !strstr(e->message, rows[i].hint))
            fail_msg("%s: hint '%s'", rows[i].flags[0], e->hint);
    }
    assert_int_equal(c.threads, -1); /* untouched by failures */
    write_file("threads = 1\nnonsense\ndata-dir = /x\nshard = 3\n");
    const char *const flags[] = {"--data-dir", data, "--role=x", NULL};
    assert_false(load(flags, &c, &errs));
    assert_int_equal(errs.total, 5);
}

static void help_names_every_option(void **state)
{
    (void)state;
    BUF_AUTO help, table;
    buf_init(&help, 0);
    buf_init(&table, 0);
    config_help(&help);
    config_markdown(&table);
    static const char *const names[] = {"data-dir", "listen",  "database-url", "role",       "cpus",
                                        "memory",   "threads", "step-user",    "secrets-dir"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_non_null(strstr(help.p, names[i]));
        assert_non_null(strstr(table.p, names[i]));
    }
    assert_non_null(strstr(table.p, "MILLRACE_ALLOW_PRIVATE_EGRESS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_fit_the_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(stronger_sources_win, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_are_in_the_store, setup, teardown),
        cmocka_unit_test_setup_teardown(values_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(misspelt_variables_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(problems_are_told_all_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(help_names_every_option, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
