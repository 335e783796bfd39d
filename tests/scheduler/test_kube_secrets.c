/* Secrets of the server for steps on a cluster: who knows under which name they are there, and what is covered of them.
 */
#include "engine/blob/logs.h"
#include "tests/scheduler/kube_rig.h"

#define VALUE "sesame-4711"
#define STARS "***********"

static void put_secret(const char *name, const char *value)
{
    char path[FS_PATH_MAX];
    struct err err;
    assert_true(fs_path(path, &err, "%.*s/p", STR_ARG(k->cfg.secrets_dir)));
    assert_true(fs_mkdirs(path, 0700, &err));
    assert_true(fs_path(path, &err, "%.*s/p/%s", STR_ARG(k->cfg.secrets_dir), name));
    assert_true(fs_write(path, str_of(value), 0600, false, &err));
}

static void lose_secrets(void)
{
    char path[FS_PATH_MAX];
    struct err err;
    assert_true(fs_path(path, &err, "%.*s", STR_ARG(k->cfg.secrets_dir)));
    assert_true(fs_remove_tree(path, &err));
}

/* One that runs, and has been given the value. */
static struct kube_attempt *given(const char *token)
{
    const struct launch_env key = {.name = STR("KEY"), .secret = {.source = SECRET_FILE, .name = STR("KEY")}};
    const struct exec_request req = {.project = STR("p"), .token = str_of(token)};
    struct kube_variable out;
    struct err err = {0};
    put_secret("KEY", VALUE);
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p0", LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    if (!kube_secret_take(a, &req, &key, &out, &err)) fail_msg("%s", err.message);
    assert_true(str_eq(out.secret, a->secret_name));
    return a;
}

/* Every server makes the same one of a token. */
static void its_name_is_known_by_its_token(void **state)
{
    (void)state;
    static const char *const tokens[] = {"of one", "of one", "of another"};
    struct str names[3];
    EACH(i, tokens)
    {
        struct kube_attempt *a = given(tokens[i]);
        assert_true(str_starts(a->secret_name, job_name));
        names[i] = arena_str(&arena, a->secret_name);
        kube_drop(k, a);
    }
    assert_true(str_eq(names[0], names[1]));
    assert_false(str_eq(names[0], names[2]));
}

static void what_a_step_shows_is_covered(void **state)
{
    (void)state;
    static const struct {
        bool lost; /* are all files, with what was given before */
        const char *says, *shows;
    } rows[] = {{false, "a " VALUE, "a " STARS},
                {true, "a " VALUE, "a " STARS},
                {true, "in Base64 c2VzYW1lLTQ3MTE=", "in Base64 ***************="},
                {false, "changed-4712", "************"},
                {false, "another-4713", "************"}};
    EACH(i, rows)
    {
        struct kube_attempt *a = given("t");
        put_secret("KEY", "changed-4712");
        put_secret("OTHER", "another-4713");
        if (rows[i].lost) lose_secrets();
        a->result.message = str_of(rows[i].says);
        kube_secret_cover(a);
        if (!str_is(a->result.message, rows[i].shows)) fail_msg("%s: %.*s", rows[i].says, STR_ARG(a->result.message));
        kube_drop(k, a);
        lose_secrets();
    }
}

static void outputs_that_hold_one_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *outputs, *metadata;
        bool kept;
    } rows[] = {{"{\"n\":\"a\"}", "{\"m\":\"a\"}", true},
                {"{\"n\":\"" VALUE "\"}", "{\"m\":\"a\"}", false},
                {"{\"n\":\"a\"}", "{\"m\":\"" VALUE "\"}", false}};
    EACH(i, rows)
    {
        struct kube_attempt *a = given("t");
        struct exec_output artifact = {.metadata = str_of(rows[i].metadata)};
        a->result = (struct task_result){.ok = true, .outputs = str_of(rows[i].outputs)};
        a->artifacts = &artifact;
        a->n_artifacts = 1;
        kube_secret_cover(a);
        if (a->result.ok != rows[i].kept || a->n_artifacts != rows[i].kept || (a->result.outputs.n > 0) != rows[i].kept)
            fail_msg("%s %s", rows[i].outputs, rows[i].metadata);
        if (!rows[i].kept) assert_int_equal(a->result.reason, REASON_OUTPUT);
        kube_drop(k, a);
    }
}

static void its_log_is_covered(void **state)
{
    (void)state;
    BUF_AUTO log;
    struct err err = {0};
    int64_t size;
    buf_init(&log, 0);
    struct kube_attempt *a = given("t");
    pod_told(KUBE_PRESENT, "p0", LABELS, job_name, "j1", DONE);
    turn_until(k->client, &a->queued);
    assert_true(
        step_log_read(k->cfg.store_dir, id.run, (int32_t)id.task, (int32_t)id.attempt, 0, 1024, &log, &size, &err));
    assert_true(str_is(buf_view(&log), "it is " STARS "\n"));
}

static int begin_with_log(void **state)
{
    static const struct row script[] = {
        {.match = "/pods/pod-p0/log", .status = 200, .body = "it is " VALUE "\n", .times = -1}, {.match = NULL}};
    server_start(script);
    if (begin(state) != 0) return -1;
    k->cfg.secrets_dir = arena_printf(&k->arena, "%s/secrets", folder);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_with_log, end_with_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(its_name_is_known_by_its_token),
        TEST(what_a_step_shows_is_covered),
        TEST(outputs_that_hold_one_are_none),
        TEST(its_log_is_covered),
    };
    return cmocka_run_group_tests_name("secrets on a cluster", tests, open_folder, drop_folder);
}
