/* Contexts in the user's file, and which server and token a command ends up with: above all, that a token never goes to
 * a server it was not given for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "engine/os/fs.h"

static struct arena arena;
static char folder[] = "/tmp/millrace-config-XXXXXX";

static const char *in_folder(const char *name)
{
    return arena_printf(&arena, "%s/%s", folder, name).p;
}

static void write_file(const char *name, const char *text)
{
    struct err err;
    assert_true(fs_write(in_folder(name), str_of(text), 0600, false, &err));
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    arena_init(&arena, 0);
    if (!mkdtemp(folder)) return -1;
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("MILLRACE_DATA_DIR", in_folder("data"), 1);
    unsetenv("MILLRACE_URL");
    unsetenv("MILLRACE_TOKEN");
    unsetenv("MILLRACE_PROJECT");
    return fs_mkdirs(in_folder("millrace"), 0700, &err) && fs_mkdirs(in_folder("data"), 0700, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    bool ok = fs_remove_tree(folder, NULL);
    arena_free(&arena);
    return ok ? 0 : -1;
}

static void round_trip(void **state)
{
    struct contexts c, again;
    struct err err;
    struct stat st;
    (void)state;
    assert_true(contexts_load(&arena, &c, &err));
    assert_int_equal(c.n, 0);
    contexts_add(&arena, &c, "lab")->server = "https://lab:7070";
    contexts_find(&c, "lab")->token_file = "/etc/it's \"quoted\": yes";
    contexts_add(&arena, &c, "other #1")->project = "on";
    contexts_add(&arena, &c, "empty");
    c.current = "lab";
    assert_true(contexts_save(&arena, &c, &err));
    assert_int_equal(stat(c.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(contexts_load(&arena, &again, &err));
    assert_int_equal(again.n, 3);
    assert_string_equal(again.current, "lab");
    assert_string_equal(contexts_find(&again, "lab")->token_file, "/etc/it's \"quoted\": yes");
    assert_string_equal(contexts_find(&again, "other #1")->project, "on");
    assert_null(contexts_find(&again, "empty")->server);
    assert_true(contexts_remove(&again, "lab"));
    assert_null(again.current);
    assert_false(contexts_remove(&again, "lab"));
    assert_int_equal(again.n, 2);
}

static void bad_files(void **state)
{
    static const struct {
        const char *text, *message, *hint;
    } rows[] = {
        {"contexts: [1]", "contexts must be a map", ""},
        {"contexts: {a: 3}", "a context is a map", ""},
        {"contexts: {a: {sever: x}}", "unknown key 'sever'", "did you mean 'server'?"},
        {"contexts: {a: {server: 3}}", "server must be a string", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct contexts c;
        struct err err;
        write_file("millrace/config.yaml", rows[i].text);
        assert_false(contexts_load(&arena, &c, &err));
        assert_string_equal(err.message, rows[i].message);
        assert_string_equal(err.hint, rows[i].hint);
        assert_true(str_starts(str_of(err.path), folder));
    }
}

static void what_is_used(void **state)
{
    static const struct {
        const char *name, *argv[8], *url, *token_env;
        const char *server, *token, *project; /* NULL: none */
    } rows[] = {
        {"the current context", {"list"}, NULL, NULL, "https://lab:7070", "lab-token", "ml"},
        {"another context", {"list", "--context", "plain"}, NULL, NULL, "http://10.0.0.1", "inline-token", NULL},
        {"a server named otherwise gets no token",
         {"list", "--server", "https://evil"},
         NULL,
         NULL,
         "https://evil",
         NULL,
         NULL},
        {"nor one named by the environment", {"list"}, "https://evil/", NULL, "https://evil", NULL, NULL},
        {"the context's own server, named again",
         {"list", "--server", "https://lab:7070/"},
         NULL,
         NULL,
         "https://lab:7070",
         "lab-token",
         "ml"},
        {"a context named beats the environment's server",
         {"list", "--context", "lab"},
         "https://evil",
         NULL,
         "https://lab:7070",
         "lab-token",
         "ml"},
        {"the environment's token", {"list"}, "https://evil", "mine", "https://evil", "mine", NULL},
        {"the local server has its own token",
         {"list", "--server", "http://127.0.0.1:7070"},
         NULL,
         NULL,
         "http://127.0.0.1:7070",
         "local-token",
         NULL},
        {"a project named", {"list", "--project", "p"}, NULL, NULL, "https://lab:7070", "lab-token", "p"},
    };
    (void)state;
    write_file("lab-token", "lab-token\n");
    write_file("data/token", "local-token\n");
    write_file(
        "millrace/config.yaml",
        arena_printf(&arena,
                     "current: lab\ncontexts:\n  lab: {server: 'https://lab:7070/', tokenFile: '%s', project: ml}\n"
                     "  plain: {server: 'http://10.0.0.1', token: inline-token}\n",
                     in_folder("lab-token"))
            .p);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct args args;
        struct settings s;
        struct err err;
        char *argv[8];
        int n = 0;
        for (; n < 8 && rows[i].argv[n]; n++)
            argv[n] = arena_cstr(&arena, str_of(rows[i].argv[n]));
        rows[i].url ? setenv("MILLRACE_URL", rows[i].url, 1) : unsetenv("MILLRACE_URL");
        rows[i].token_env ? setenv("MILLRACE_TOKEN", rows[i].token_env, 1) : unsetenv("MILLRACE_TOKEN");
        assert_true(args_parse(&arena, n, argv, &args, &err));
        bool ok = settings_resolve(&arena, &args, &s, &err) && settings_token(&arena, &s, &err);
        if (!ok || strcmp(s.server, rows[i].server) != 0)
            print_error("%s: %s\n", rows[i].name, ok ? s.server : err.message);
        assert_true(ok);
        assert_string_equal(s.server, rows[i].server);
        assert_string_equal(s.token ? s.token : "(none)", rows[i].token ? rows[i].token : "(none)");
        assert_string_equal(s.project ? s.project : "(none)", rows[i].project ? rows[i].project : "(none)");
    }
    unsetenv("MILLRACE_URL");
    unsetenv("MILLRACE_TOKEN");
}

static void refused(void **state)
{
    static const struct {
        const char *argv[4], *message;
    } rows[] = {
        {{"list", "--context", "nope"}, "no context named 'nope'"},
        {{"list", "--server", "localhost:7070"}, "the server must be an http:// or https:// URL"},
        {{"list", "--server", "file:///etc/passwd"}, "the server must be an http:// or https:// URL"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct args args;
        struct settings s;
        struct err err;
        char *argv[4];
        int n = 0;
        for (; n < 4 && rows[i].argv[n]; n++)
            argv[n] = arena_cstr(&arena, str_of(rows[i].argv[n]));
        assert_true(args_parse(&arena, n, argv, &args, &err));
        assert_false(settings_resolve(&arena, &args, &s, &err));
        assert_true(str_starts(str_of(err.message), rows[i].message));
    }
}

/* Without its file a token is missed only when a request is made; nor may a header be smuggled in by a token. */
static void tokens_that_cannot_be_read(void **state)
{
    static const struct {
        const char *argv[4], *message, *hint;
    } rows[] = {
        {{"list", "--token-file", "/nonexistent/token"},
         "no token: cannot read /nonexistent/token",
         "--token-file names"},
        {{"list", "--token-file", "two-lines"}, "no token: two-lines does not hold a token", ""},
        {{"list", "--context", "gone"},
         "no token for the context gone: cannot read ",
         "millrace config set gone --token"},
        {{"list", "--server", "http://127.0.0.1:7070"}, NULL, NULL},
    };
    (void)state;
    write_file("two-lines", "a\nb\n");
    write_file("millrace/config.yaml", "contexts:\n  gone: {server: 'https://lab', tokenFile: not-here/token}\n");
    assert_int_equal(unlink(in_folder("data/token")), 0);
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct args args;
        struct settings s;
        struct err err;
        char *argv[4];
        int n = 0;
        for (; n < 4 && rows[i].argv[n]; n++)
            argv[n] = arena_cstr(&arena, str_of(rows[i].argv[n]));
        assert_true(args_parse(&arena, n, argv, &args, &err));
        assert_true(settings_resolve(&arena, &args, &s, &err));
        assert_int_equal(settings_token(&arena, &s, &err), rows[i].message == NULL);
        assert_null(s.token);
        if (!rows[i].message) continue;
        if (!str_starts(str_of(err.message), rows[i].message)) print_error("%s\n", err.message);
        assert_true(str_starts(str_of(err.message), rows[i].message));
        assert_true(str_starts(str_of(err.hint), rows[i].hint));
        assert_int_equal(err.code, ERR_UNAUTHENTICATED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(what_is_used),
        cmocka_unit_test(refused),
        cmocka_unit_test(tokens_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
