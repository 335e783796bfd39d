/* Templates of claims: made once before the Jobs that name them, made sure of, and taken away when nobody does. */
#include "tests/scheduler/kube_rig.h"

#define OF_TEMPLATES "/apis/resource.k8s.io/v1/namespaces/n/resourceclaimtemplates"
#define MAKE "POST " OF_TEMPLATES "?fieldValidation=Strict"
#define TAKE "DELETE " OF_TEMPLATES "/"
#define SEEK "GET " OF_TEMPLATES "?limit=500"
#define JOB "POST /apis/batch/v1/namespaces/n/jobs"
#define SECOND ((int64_t)1000000)

#define MADE                                                                                                           \
    {                                                                                                                  \
        .match = MAKE, .status = 201, .body = "{}"                                                                     \
    }
#define THERE                                                                                                          \
    {                                                                                                                  \
        .match = MAKE, .status = 409, .body = "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}"                     \
    }
#define REFUSED(status, text)                                                                                          \
    {                                                                                                                  \
        MAKE, status, NULL, "{\"kind\":\"Status\",\"reason\":\"Any\",\"message\":\"" text "\"}", WHOLE, 0, 0           \
    }
#define NONE_LEFT                                                                                                      \
    {                                                                                                                  \
        .match = SEEK, .status = 200, .body = "{\"items\":[]}"                                                         \
    }
#define JOBS                                                                                                           \
    {                                                                                                                  \
        .match = JOB, .status = 201, .body = "{\"metadata\":{\"uid\":\"j1\"}}", .times = -1                            \
    }
#define TAKEN                                                                                                          \
    {                                                                                                                  \
        .match = TAKE, .status = 200, .body = "{}"                                                                     \
    }
#define OURS "millrace-gpu-0123456789abcdef01234567"

static const struct kube_claim claim = {.device_class = STR_INIT("gpu.example.com"), .count = 1};

/* Until so many such requests have been answered, and nothing more comes of it for a moment. */
static void comes(const char *part, size_t n)
{
    int64_t until = os_mono_us() + 10 * SECOND, quiet;
    for (; received_of(part) < n && os_mono_us() < until; usleep(1000))
        kube_client_turn(k->client);
    for (quiet = os_mono_us() + SECOND / 20; os_mono_us() < quiet; usleep(1000))
        kube_client_turn(k->client);
    if (received_of(part) != n) fail_msg("%zu times %s, and not %zu", received_of(part), part, n);
}

static void start(const struct row *script)
{
    server_start(script);
    if (begin(NULL) != 0) fail();
}

static struct kube_attempt *creating(uint32_t task)
{
    struct node node = {.workers = 1};
    struct err err = {0};
    const struct exec_request req = {.id = {7, task, 1, 0}, .step = STR("train"), .spec = {.node = &node}};
    assert_true(executor.launch(executor.self, &req, true, STR("another"), &err));
    struct kube_attempt *a = kube_find(k, req.id);
    a->phase = KUBE_CREATING;
    a->manifest = STR("{\"metadata\":{}," KUBE_JOB_SPEC "\"backoffLimit\":0}}");
    kube_template_want(a, &claim);
    kube_create(a);
    return a;
}

static void gone(void)
{
    (void)end_with_server(NULL);
}

static void one_is_made_for_all_before_their_jobs(void **state)
{
    static const struct row scripts[][4] = {{MADE, JOBS, NONE_LEFT, {0}}, {THERE, JOBS, NONE_LEFT, {0}}};
    (void)state;
    EACH(i, scripts)
    {
        start(scripts[i]);
        for (uint32_t task = 2; task < 5; task++)
            assert_null(creating(task)->call);
        comes(JOB, 3);
        (void)creating(5);
        comes(JOB, 4);
        assert_int_equal(received_of(MAKE), 1);
        assert_non_null(strstr(received_last(MAKE)->body, "gpu.example.com"));
        gone();
    }
}

/* Another server may have taken it away, that has heard of no Job with it for longer. */
static void it_is_made_sure_of_when_no_job_named_it_for_a_while(void **state)
{
    static const struct row script[] = {MADE, JOBS, NONE_LEFT, THERE, {0}};
    (void)state;
    start(script);
    struct kube_attempt *a = creating(2);
    comes(JOB, 1);
    int64_t now = os_mono_us();
    assert_true(kube_template_ready(a, now + 7 * SECOND));
    assert_true(kube_template_ready(a, now + 14 * SECOND));
    comes(MAKE, 1);
    assert_false(kube_template_ready(a, now + 23 * SECOND));
    comes(MAKE, 2);
    gone();
}

static void who_cannot_have_one_is_told(void **state)
{
    static const struct {
        struct row answer;
        enum kube_phase phase;
        enum reason reason;
        const char *waits;
    } rows[] = {
        {REFUSED(422, "bad selector"), KUBE_TOLD, REASON_INVALID, ""},
        {REFUSED(403, "no right"), KUBE_TOLD, REASON_INFRA, ""},
        {REFUSED(403, "exceeded quota: q"), KUBE_CREATING, REASON_NONE, "quota: q"},
        {{.match = MAKE, .how = DROPPED}, KUBE_CREATING, REASON_NONE, "waits for the API server"},
    };
    (void)state;
    EACH(i, rows)
    {
        const struct row script[] = {rows[i].answer, MADE, JOBS, NONE_LEFT, {0}};
        start(script);
        struct kube_attempt *other = asked(1);
        const struct kube_attempt *a = creating(3);
        other->template = a->template;
        comes(MAKE, 1);
        assert_int_equal(other->phase, KUBE_HELD);
        assert_int_equal(a->phase, rows[i].phase);
        assert_int_equal(a->result.reason, rows[i].reason);
        assert_non_null(strstr(kube_waits_why(a), rows[i].waits));
        kube_templates_tick(k, os_mono_us() + SECOND); /* not at once */
        comes(MAKE, 1);
        kube_templates_tick(k, os_mono_us() + 3 * SECOND);
        comes(JOB, a->phase == KUBE_TOLD ? 0 : 1);
        gone();
    }
}

/* Its Job may be there, which is found by its name: it needs none. */
static void who_is_unsure_does_not_wait_for_one(void **state)
{
    static const struct row script[] = {{.match = MAKE, .how = SILENT}, JOBS, NONE_LEFT, {0}};
    (void)state;
    start(script);
    struct kube_attempt *a = creating(2);
    comes(MAKE, 1);
    assert_null(a->call);
    a->unsure = true;
    kube_create(a);
    comes(JOB, 1);
    gone();
}

static void it_goes_when_nobody_names_it(void **state)
{
    static const struct row script[] = {MADE, JOBS, NONE_LEFT, {.match = TAKE, .status = 500}, TAKEN, {0}};
    (void)state;
    start(script);
    struct kube_attempt *a = creating(2);
    comes(JOB, 1);
    kube_templates_tick(k, os_mono_us() + 60 * SECOND);
    comes(TAKE, 0);
    kube_drop(k, a);
    kube_templates_tick(k, os_mono_us() + 60 * SECOND + 19 * SECOND);
    comes(TAKE, 0);
    kube_templates_tick(k, os_mono_us() + 60 * SECOND + 21 * SECOND);
    comes(TAKE, 2); /* the client tries once more */
    assert_null(k->templates);
    gone();
}

static void what_may_not_be_taken_away_is_tried_again_later(void **state)
{
    static const struct row script[] = {MADE, JOBS, NONE_LEFT, {.match = TAKE, .status = 403}, TAKEN, {0}};
    (void)state;
    start(script);
    kube_drop(k, creating(2));
    comes(MAKE, 1);
    kube_templates_tick(k, os_mono_us() + 21 * SECOND);
    comes(TAKE, 1);
    assert_non_null(k->templates);
    kube_templates_tick(k, os_mono_us() + 10 * SECOND);
    comes(TAKE, 1);
    kube_templates_tick(k, os_mono_us() + 21 * SECOND);
    comes(TAKE, 2);
    assert_null(k->templates);
    gone();
}

/* Who comes while it is being taken away waits, and has it made again. */
static void who_comes_while_it_goes_has_it_again(void **state)
{
    static const struct row script[] = {
        MADE, JOBS, NONE_LEFT, {.match = TAKE, .status = 200, .body = "{}", .delay_ms = 100}, MADE, {0}};
    (void)state;
    start(script);
    kube_drop(k, creating(2));
    comes(MAKE, 1);
    kube_templates_tick(k, os_mono_us() + 21 * SECOND);
    assert_null(creating(3)->call);
    comes(JOB, 1);
    assert_int_equal(received_of(TAKE), 1);
    assert_int_equal(received_of(MAKE), 2);
    gone();
}

static void placed(const struct kube_attempt *a, const char *node)
{
    told(kube_hear_pod, KUBE_PRESENT,
         arena_printf(&arena,
                      "{\"metadata\":{\"name\":\"pod-p0\",\"uid\":\"p0\",\"labels\":{" LABELS
                      "},\"ownerReferences\":[{\"kind\":\"Job\",\"controller\":true,\"name\":\"%s\",\"uid\":\"j1\"}]},"
                      "\"spec\":{%s},\"status\":{\"phase\":\"Pending\"}}",
                      a->name, node));
}

static void what_is_missing_is_made_again_for_who_stays_without_a_node(void **state)
{
    static const struct row script[] = {MADE, JOBS, NONE_LEFT, MADE, {0}};
    static const struct {
        int64_t since_s, at_s;
        const char *node;
        size_t made;
    } rows[] = {{9, 31, "", 1}, {31, 29, "", 1}, {31, 31, "\"nodeName\":\"n1\"", 1}, {31, 31, "", 2}};
    (void)state;
    EACH(i, rows)
    {
        start(script);
        struct kube_attempt *a = creating(2);
        comes(JOB, 1);
        placed(a, rows[i].node);
        int64_t at = os_mono_us() + rows[i].at_s * SECOND;
        a->created_us = at - rows[i].since_s * SECOND;
        kube_templates_tick(k, at);
        comes(MAKE, rows[i].made);
        gone();
    }
}

#define LEFT                                                                                                           \
    {                                                                                                                  \
        .match = SEEK, .status = 200,                                                                                  \
        .body = "{\"items\":[{\"metadata\":{\"name\":\"" OURS "\"}},{\"metadata\":{\"name\":\"" OURS "0\"}},"          \
                "{\"metadata\":{\"name\":\"millrace-gpu-0123456789abcdef0123456x\"}},"                                 \
                "{\"metadata\":{\"name\":\"another-gpu-0123456789abcdef01234567\"}}]}"                                 \
    }

/* By a server that was killed: of what a step names itself nothing is taken away. */
static void what_others_made_goes_unless_it_is_named(void **state)
{
    static const struct row script[] = {LEFT, {.match = TAKE, .status = 404, .times = -1}, {0}};
    (void)state;
    for (int named = 0; named <= 1; named++) {
        struct value job;
        struct err err;
        start(script);
        struct kube_attempt *a = asked(1);
        struct str text = STR("{\"spec\":{\"template\":{\"spec\":{\"resourceClaims\":[{\"name\":\"own\"},"
                              "{\"resourceClaimTemplateName\":\"" OURS "\"}]}}}}");
        assert_true(json_parse(&arena, text, 0, &job, &err));
        if (named) kube_template_hear(a, &job);
        comes(SEEK, 1);
        kube_templates_tick(k, os_mono_us() + 21 * SECOND);
        comes(TAKE, named ? 0 : 1);
        if (!named) assert_non_null(strstr(received_last(TAKE)->line, OURS));
        assert_int_equal(k->templates != NULL, named);
        gone();
    }
}

static void who_could_not_look_does_so_again_soon(void **state)
{
    static const struct {
        int status;
        size_t tries, soon, later;
    } rows[] = {{500, 5, 1, 1}, {403, 1, 0, 1}};
    (void)state;
    EACH(i, rows)
    {
        const struct row script[] = {{SEEK, rows[i].status, NULL, "{}", WHOLE, (int)rows[i].tries, 0}, LEFT, {0}};
        start(script);
        comes(SEEK, rows[i].tries);
        kube_templates_tick(k, os_mono_us() + 61 * SECOND);
        comes(SEEK, rows[i].tries + rows[i].soon);
        kube_templates_tick(k, os_mono_us() + 599 * SECOND);
        comes(SEEK, rows[i].tries + rows[i].soon);
        kube_templates_tick(k, os_mono_us() + 601 * SECOND);
        comes(SEEK, rows[i].tries + rows[i].soon + rows[i].later);
        gone();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_made_for_all_before_their_jobs),
        cmocka_unit_test(it_is_made_sure_of_when_no_job_named_it_for_a_while),
        cmocka_unit_test(who_cannot_have_one_is_told),
        cmocka_unit_test(who_is_unsure_does_not_wait_for_one),
        cmocka_unit_test(it_goes_when_nobody_names_it),
        cmocka_unit_test(what_may_not_be_taken_away_is_tried_again_later),
        cmocka_unit_test(who_comes_while_it_goes_has_it_again),
        cmocka_unit_test(what_is_missing_is_made_again_for_who_stays_without_a_node),
        cmocka_unit_test(what_others_made_goes_unless_it_is_named),
        cmocka_unit_test(who_could_not_look_does_so_again_soon),
    };
    return cmocka_run_group_tests_name("templates of claims", tests, open_folder, drop_folder);
}
