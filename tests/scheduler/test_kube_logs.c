/* What of its pods' logs an attempt's has, and where a rank's begins. */
#include <sys/stat.h>

#include "engine/blob/logs.h"
#include "tests/scheduler/kube_ends_rig.h"

static void open_with(struct row first, struct row second)
{
    server_start((const struct row[]){first, second, {.match = "", .how = SILENT, .times = -1}, {.match = NULL}});
    assert_int_equal(begin(NULL), 0);
}

/* NULL = there is none. */
static void kept_before(const char *text)
{
    char path[FS_PATH_MAX];
    struct err err = {0};
    assert_true(step_log_path(str_of(folder), id.run, (int32_t)id.task, (int32_t)id.attempt, path, &err));
    if (text == NULL) {
        unlink(path);
        return;
    }
    const char *of_run = arena_printf(&arena, "%.*s", (int)(strrchr(path, '/') - path), path).p;
    assert_true(fs_mkdirs(of_run, 0755, &err));
    if (!fs_write(path, str_of(text), 0640, false, &err)) fail_msg("%s", err.message);
}

static void is_kept(const char *what, const char *text)
{
    int64_t total;
    struct err err = {0};
    BUF_AUTO log;
    buf_init(&log, 0);
    if (!step_log_read(str_of(folder), id.run, (int32_t)id.task, (int32_t)id.attempt, 0, 4096, &log, &total, &err))
        fail_msg("%s", err.message);
    if (!str_is(buf_view(&log), text)) fail_msg("%s: '%.*s'", what, STR_ARG(buf_view(&log)));
}

static void each_rank_begins_on_its_own_line(void **state)
{
    static const struct {
        const char *what, *before, *first; /* first NULL = rank 0's pod is gone */
        const char *kept;
    } rows[] = {
        {"whole lines", NULL, "a\nb\n", "a\nb\n[rank 1] c\n[rank 1] d\n"},
        {"it ends within a line", NULL, "a\nb", "a\nb\n[rank 1] c\n[rank 1] d\n"},
        {"nothing", NULL, "", "[rank 1] c\n[rank 1] d\n"},
        {"followed for a while", "a\n", "a\nb", "a\nb\n[rank 1] c\n[rank 1] d\n"},
        {"its rest is lost", "a\nb\n", NULL, "a\nb\n[rank 1] c\n[rank 1] d\n"},
        {"all of it is lost", NULL, NULL, "[rank 1] c\n[rank 1] d\n"},
        {"another server kept all", "a\nb\n[rank 1] c\n", "a\nb", "a\nb\n[rank 1] c\n[rank 1] d\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        open_with((struct row){"pod-p0/log", rows[i].first != NULL ? 200 : 404, .body = rows[i].first, .times = -1},
                  (struct row){"pod-p1/log", 200, .body = "c\nd\n", .times = -1});
        kept_before(rows[i].before);
        turn_until(k->client, &with_pods(2, DONE)->queued);
        is_kept(rows[i].what, rows[i].kept);
        assert_int_equal(end_with_server(NULL), 0);
    }
}

/* As of a pod that its node has evicted, or that ended with its node. */
static void who_ended_without_an_exit_code_has_a_log(void **state)
{
    (void)state;
    open_with((struct row){"pod-p0/log", 200, .body = "a\n", .times = -1},
              (struct row){"/jobs/", 200, .body = "{}", .times = -1});
    kept_before(NULL);
    struct kube_attempt *a = with_pods(1, RUNS);
    says(KUBE_PRESENT, 1, 0, "\"phase\":\"Failed\",\"reason\":\"Evicted\"");
    turn_until(k->client, &a->queued);
    assert_int_equal(a->result.exit_code, -1);
    is_kept("evicted", "a\n");
    assert_int_equal(end_with_server(NULL), 0);
}

static void who_writes_too_much_is_stopped(void **state)
{
    (void)state;
    open_with((struct row){"pod-p0/log", 200, .body = "0123456789abc", .how = HELD},
              (struct row){"/jobs/", 200, .body = "{}", .times = -1});
    kept_before(NULL);
    k->cfg.step_log_bytes = 10;
    struct kube_attempt *a = with_pods(1, RUNS);
    kube_log_follow(a);
    turn_until(k->client, &a->queued);
    assert_int_equal(a->result.reason, REASON_ERROR);
    if (!str_starts(a->result.message, "wrote more than 10")) fail_msg("%.*s", STR_ARG(a->result.message));
    is_kept("full", "0123456789");
    assert_int_equal(end_with_server(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_rank_begins_on_its_own_line),
                                       cmocka_unit_test(who_ended_without_an_exit_code_has_a_log),
                                       cmocka_unit_test(who_writes_too_much_is_stopped)};
    return cmocka_run_group_tests_name("logs of pods", tests, open_folder, drop_folder);
}
