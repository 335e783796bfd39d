/* The small parts of engine/os: log lines, frames, worker threads, secrets, tokens of steps. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "engine/os/log.h"
#include "engine/os/secret.h"
#include "engine/os/step_token.h"
#include "engine/os/wire.h"
#include "engine/os/worker.h"

/* ---- log ---- */

static char logged[8192];

static void begin_log(int *saved, int fds[2])
{
    assert_int_equal(pipe(fds), 0);
    *saved = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
}

static void end_log(int saved, int fds[2])
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(fds[0], logged, sizeof logged - 1);
    logged[n > 0 ? n : 0] = '\0';
    close(fds[0]);
}

static void lines_cannot_be_forged(void **state)
{
    (void)state;
    int saved, fds[2];
    begin_log(&saved, fds);
    log_debug("not shown");
    log_info("run started", LOG_CSTR("run", "plain-1"), LOG_INT("n", -5), LOG_STR("empty", STR("")));
    log_warn("odd", LOG_CSTR("value", "a b=c\n\"level=error\"\\\x01"));
    struct err err;
    err_set(&err, ERR_IO, "it broke");
    err_path(&err, "steps.x");
    log_err(LEVEL_ERROR, "failed", &err);
    end_log(saved, fds);
    static const char *const lines[] = {"level=info msg=\"run started\" run=plain-1 n=-5 empty=\"\"",
                                        "level=warn msg=odd value=\"a b=c\\n\\\"level=error\\\"\\\\\\x01\"",
                                        "level=error msg=failed code=io error=\"it broke\" path=steps.x"};
    struct str rest = str_of(logged), line;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_true(str_split(&rest, '\n', &line));
        assert_true(str_starts(line, "time=2"));
        struct str from = str_sub(line, strlen("time=2024-05-01T12:00:00.123456Z "), line.n);
        if (!str_is(from, lines[i])) fail_msg("%.*s", STR_ARG(line));
    }
    assert_true(str_split(&rest, '\n', &line) && line.n == 0);
}

static void long_values_are_cut(void **state)
{
    (void)state;
    int saved, fds[2];
    static char huge[20000];
    memset(huge, 'x', sizeof huge - 1);
    begin_log(&saved, fds);
    log_info("long", LOG_CSTR("value", huge));
    end_log(saved, fds);
    assert_int_equal(strlen(logged), 4096);
    assert_int_equal(logged[4095], '\n');
}

static void time_and_chance(void **state)
{
    (void)state;
    int64_t a = os_mono_us(), b = os_mono_us();
    assert_true(b >= a);
    assert_true(os_now_us() > INT64_C(1700000000000000));
    assert_true(os_random_u64() != os_random_u64());
}

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t us; /* -1 = no time */
    } rows[] = {{"1970-01-01T00:00:01Z", 1000000},
                {"1970-01-01T01:00:01.123456+01:00", 1123456},
                {"1970-01-01T00:00:01.123456789Z", 1123456},
                {"1969-12-31T23:30:00-00:30", 0},
                {"1970-01-01T00:00:01", -1},
                {"1970-01-01", -1},
                {"", -1},
                {"1970-01-01T00:00:01ZZ", -1},
                {"1970-01-01T00:00:01*01:00", -1},
                {"1970-01-01T00:00:01+01:00x", -1}};
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        int64_t us = -1;
        if (os_time_parse(str_of(rows[r].text), &us) != (rows[r].us >= 0) || us != rows[r].us)
            fail_msg("%s", rows[r].text);
    }
}

/* ---- frames ---- */

static void frames_survive_the_way(void **state)
{
    (void)state;
    BUF_AUTO b;
    buf_init(&b, 0);
    for (uint32_t i = 0; i < 3; i++) {
        size_t begin = wire_begin(&b, (uint8_t)(i + 1));
        wire_u32(&b, i);
        wire_i64(&b, -(int64_t)i);
        wire_str(&b, STR("text"));
        wire_end(&b, begin);
    }
    size_t at = 0;
    uint8_t kind;
    struct wire_reader r;
    bool broken;
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(wire_next(buf_view(&b), &at, &kind, &r, &broken));
        assert_int_equal(kind, i + 1);
        assert_int_equal(wire_get_u32(&r), i);
        assert_int_equal(wire_get_i64(&r), -(int64_t)i);
        assert_true(str_is(wire_get_str(&r), "text"));
        assert_false(r.bad);
        assert_int_equal(wire_get_u32(&r), 0);
        assert_true(r.bad);
    }
    assert_false(wire_next(buf_view(&b), &at, &kind, &r, &broken) || broken);
    for (size_t cut = 0; cut < b.n / 3; cut++) { /* every part of the first frame */
        at = 0;
        assert_false(wire_next((struct str){b.p, cut}, &at, &kind, &r, &broken) || broken);
        assert_int_equal(at, 0);
    }
}

static void nonsense_is_told(void **state)
{
    (void)state;
    uint8_t kind;
    struct wire_reader r;
    bool broken;
    size_t at = 0;
    assert_false(wire_next((struct str){"\xff\xff\xff\xff\x01", 5}, &at, &kind, &r, &broken));
    assert_true(broken);
    assert_false(wire_next((struct str){"\0\0\0\0\x01", 5}, &at, &kind, &r, &broken));
    assert_true(broken);
    static const char text[] = "\x09\0\0\0\x07\xff\xff\xff\x7fxxxx"; /* a string longer than its frame */
    assert_true(wire_next((struct str){text, 13}, &at, &kind, &r, &broken));
    struct wire_reader again = r;
    assert_int_equal(wire_get_str(&r).n, 0);
    assert_true(r.bad);
    assert_int_equal(wire_get_count(&again, 4), 0);
    assert_true(again.bad);
}

/* ---- workers ---- */

struct sum_job {
    struct job job; /* first */
    int in, out;
};

static void square(struct job *job)
{
    struct sum_job *s = (struct sum_job *)(void *)job;
    s->out = s->in * s->in;
}

static void jobs_come_back(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct sum_job jobs[N];
    struct workers *w;
    struct err err;
    assert_true(workers_new(3, &w, &err));
    for (int i = 0; i < N; i++) {
        jobs[i] = (struct sum_job){.job.run = square, .in = i};
        workers_add(w, &jobs[i].job);
    }
    for (int back = 0; back < N;) {
        struct pollfd p = {.fd = workers_fd(w), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 60000), 1);
        for (struct job *job; (job = workers_take(w));) {
            struct sum_job *s = (struct sum_job *)(void *)job;
            assert_int_equal(s->out, s->in * s->in);
            back++;
        }
    }
    struct pollfd p = {.fd = workers_fd(w), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    workers_free(w, NULL);
}

static int dropped;
static void count_drop(struct job *job)
{
    (void)job;
    dropped++;
}

static void a_closed_pool_hands_back_all(void **state)
{
    (void)state;
    enum { N = 200 };
    static struct sum_job jobs[N];
    struct workers *w;
    struct err err;
    assert_true(workers_new(2, &w, &err));
    for (int i = 0; i < N; i++) {
        jobs[i] = (struct sum_job){.job.run = square, .in = i};
        workers_add(w, &jobs[i].job);
    }
    dropped = 0;
    workers_free(w, count_drop);
    assert_int_equal(dropped, N);
    workers_free(NULL, NULL);
}

/* ---- secrets ---- */

static void secrets_stay_in_their_folder(void **state)
{
    (void)state;
    char root[] = "/tmp/millrace-secrets-XXXXXX", path[128];
    struct err err;
    struct arena a;
    struct str out;
    arena_init(&a, 0);
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/one/sub", root);
    assert_true(fs_mkdirs(path, 0700, &err));
    snprintf(path, sizeof path, "%s/two", root);
    assert_true(fs_mkdirs(path, 0700, &err));
    static const struct {
        const char *file, *text;
    } files[] = {{"one/KEY", "value\n"}, {"one/sub/KEY", "deep"}, {"two/KEY", "other"}, {"outside", "top"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i].file);
        assert_true(fs_write(path, str_of(files[i].text), 0600, false, &err));
    }
    snprintf(path, sizeof path, "%s/one/LINK", root);
    assert_int_equal(symlink("../outside", path), 0);
    static const struct {
        const char *project, *name, *value; /* NULL = refused */
    } rows[] = {
        {"one", "KEY", "value"},      {"one", "sub/KEY", "deep"},  {"two", "KEY", "other"}, {"one", "NONE", NULL},
        {"three", "KEY", NULL},       {"one", "../two/KEY", NULL}, {"one", "LINK", NULL},   {"..", "passwd", NULL},
        {"one", "/etc/passwd", NULL}, {"", "KEY", NULL},           {"one", "", NULL},       {"one/../two", "KEY", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool ok = secret_fetch(str_of(root), str_of(rows[i].project), str_of(rows[i].name), &a, &out, &err);
        if (ok != (rows[i].value != NULL) || (ok && !str_is(out, rows[i].value)))
            fail_msg("%s %s", rows[i].project, rows[i].name);
    }
    arena_free(&a);
    assert_true(fs_remove_tree(root, &err));
}

/* What is there but is no secret is the pipeline's mistake, and no trouble that passes. */
static void only_files_are_secrets(void **state)
{
    (void)state;
    char root[] = "/tmp/millrace-secrets-XXXXXX", path[128];
    struct err err;
    struct arena a;
    struct str out;
    arena_init(&a, 0);
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/one/db", root);
    assert_true(fs_mkdirs(path, 0700, &err) && secret_given(str_of(root), STR("one"), STR("kept"), &err));
    snprintf(path, sizeof path, "%s/one/pipe", root);
    assert_int_equal(mkfifo(path, 0600), 0);
    static const struct {
        const char *name, *message;
    } rows[] = {{"db", "'db' is a folder"},
                {"pipe", "is no file"},
                {".given", "'.given' is not the name of a secret"},
                {".given/x", "'.given/x' is not the name of a secret"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err_clear(&err);
        bool ok = secret_fetch(str_of(root), STR("one"), str_of(rows[i].name), &a, &out, &err);
        if (ok || err.code != ERR_INVALID || strstr(err.message, rows[i].message) == NULL)
            fail_msg("%s: %s (%s)", rows[i].name, err.message, err_name(err.code));
    }
    arena_free(&a);
    assert_true(fs_remove_tree(root, &err));
}

/* Root reads all: it is somebody else for a moment. */
static void what_may_not_be_read_is_not_missing(void **state)
{
    (void)state;
    char root[] = "/tmp/millrace-secrets-XXXXXX", path[128];
    struct err err;
    struct arena a;
    struct str out;
    uid_t self = geteuid();
    arena_init(&a, 0);
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/one", root);
    assert_true(chmod(root, 0755) == 0 && fs_mkdirs(path, 0755, &err));
    snprintf(path, sizeof path, "%s/one/KEY", root);
    assert_true(fs_write(path, STR("value"), 0600, false, &err) && chmod(path, 0) == 0);
    if (self == 0) assert_int_equal(seteuid(65534), 0);
    err_clear(&err);
    bool ok = secret_fetch(str_of(root), STR("one"), STR("KEY"), &a, &out, &err);
    assert_int_equal(seteuid(self), 0);
    assert_false(ok);
    assert_string_equal(err.message, "the server may not read the secret 'KEY' of project 'one'");
    arena_free(&a);
    assert_true(fs_remove_tree(root, &err));
}

static void all_projects_are_covered_or_none(void **state)
{
    (void)state;
    char root[] = "/tmp/millrace-secrets-XXXXXX", path[128];
    struct err err;
    struct arena a;
    struct mask m = {0};
    arena_init(&a, 0);
    assert_non_null(mkdtemp(root));
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/p%d/sub", root, i);
        assert_true(fs_mkdirs(path, 0700, &err));
        snprintf(path, sizeof path, "%s/p%d/sub/KEY", root, i);
        assert_true(fs_write(path, i == 0 ? STR("first\n") : STR("second"), 0600, false, &err));
    }
    assert_true(secret_mask_all(str_of(root), &a, &m, &err));
    assert_true(mask_holds(&m, STR("first")) && mask_holds(&m, STR("second")));
    if (geteuid() != 0) { /* who may read everything */
        assert_int_equal(chmod(path, 0), 0);
        assert_false(secret_mask_all(str_of(root), &a, &m, &err));
        assert_non_null(strstr(err.message, "KEY in the folder of secrets cannot be read"));
        assert_int_equal(chmod(path, 0600), 0);
    }
    assert_false(secret_mask_all(str_of(path), &a, &m, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_true(fs_remove_tree(root, &err));
    assert_false(secret_mask_all(str_of(root), &a, &m, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    arena_free(&a);
}

/* ---- tokens of steps ---- */

static void tokens_cannot_be_made_up(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    const struct step_claim claim = {1234567890123, 7, 2, 1764313562000001};
    struct step_claim got;
    struct str token = step_token_make(&a, STR("key"), claim);
    assert_true(step_token_read(token, STR("key"), &got));
    assert_true(got.run == claim.run && got.task == claim.task && got.attempt == claim.attempt &&
                got.made_us == claim.made_us);
    assert_false(step_token_read(token, STR("kez"), &got));
    for (size_t i = 0; i < token.n; i++) { /* whatever is changed, it does not fit */
        char *copy = arena_cstr(&a, token);
        copy[i] = copy[i] == '1' ? '2' : '1';
        if (step_token_read((struct str){copy, token.n}, STR("key"), &got)) fail_msg("%s", copy);
        assert_false(step_token_read(str_sub(token, 0, i), STR("key"), &got));
    }
    assert_false(step_token_read(arena_printf(&a, "%.*sx", STR_ARG(token)), STR("key"), &got));
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_cannot_be_forged),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(time_and_chance),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(frames_survive_the_way),
        cmocka_unit_test(nonsense_is_told),
        cmocka_unit_test(jobs_come_back),
        cmocka_unit_test(a_closed_pool_hands_back_all),
        cmocka_unit_test(secrets_stay_in_their_folder),
        cmocka_unit_test(only_files_are_secrets),
        cmocka_unit_test(what_may_not_be_read_is_not_missing),
        cmocka_unit_test(all_projects_are_covered_or_none),
        cmocka_unit_test(tokens_cannot_be_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
