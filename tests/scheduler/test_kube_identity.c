/* Whose an object of the cluster is, whatever its labels say. */
#include "tests/scheduler/kube_rig.h"

static void a_pod_is_known_whatever_its_labels_become(void **state)
{
    (void)state;
    static const char *const edits[] = {"", "\"millrace.dev/instance\":\"i1\",\"millrace.dev/run\":\"7\"", OTHERS,
                                        LABELS RANK_0};
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        job_told(KUBE_PRESENT, job_name, "j1", LABELS);
        pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
        struct kube_attempt *a = asked(1);
        pod_told(KUBE_PRESENT, "p1", edits[i], job_name, "j1", RUNS);
        assert_int_equal(k->by_id.n, 1);
        assert_int_equal(a->stage, KUBE_STAGE_RUNNING);
        pod_told(KUBE_PRESENT, "p1", edits[i], job_name, "j1", DONE);
        assert_true(a->ended && a->result.ok);
        assert_null(k->strays);
        kube_drop(k, a);
    }
}

static void ranks_are_known_whatever_their_labels_become(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p0", LABELS RANK_0, job_name, "j1", RUNS);
    pod_told(KUBE_PRESENT, "p1", LABELS RANK_1, job_name, "j1", DONE);
    struct kube_attempt *a = asked(2);
    pod_told(KUBE_PRESENT, "p0", "", job_name, "j1", RUNS);
    assert_false(a->ended);
    pod_told(KUBE_PRESENT, "p0", "", job_name, "j1", DONE);
    assert_true(a->ended && a->result.ok);
}

static void a_new_pod_of_the_job_counts_with_others_labels(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    struct kube_attempt *a = asked(1);
    pod_told(KUBE_PRESENT, "p1", OTHERS, job_name, "j1", RUNS);
    assert_string_equal(a->ranks[0].uid, "p1");
    assert_int_equal(k->by_id.n, 1);
    job_told(KUBE_DELETED, job_name, "j1", LABELS);
    pod_told(KUBE_DELETED, "p1", OTHERS, job_name, "j1", RUNS);
    answered(a, "j1", NULL);
    answered(a, "p1", NULL);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.failure, FAILURE_INFRA);
}

/* A watch tells of what has lost its label as of what is gone. */
static void what_lost_its_label_is_not_gone(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    job_told(KUBE_DELETED, job_name, "j1", LABELS);
    pod_told(KUBE_DELETED, "p1", LABELS, job_name, "j1", RUNS);
    assert_int_equal(a->phase, KUBE_CREATED);
    answered(a, "j1", "[{\"metadata\":{\"name\":\"x\",\"uid\":\"j1\"}}]");
    answered(a, "p1", "[{\"metadata\":{\"name\":\"pod-p1\",\"uid\":\"p1\"},\"status\":{" RUNS "}}]");
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_non_null(a->untold);
    assert_true(a->job_there && !a->deleted && a->stage == KUBE_STAGE_RUNNING);
    answered(a, "p1", "[{\"metadata\":{\"name\":\"pod-p1\",\"uid\":\"p1\"},\"status\":{" DONE "}}]");
    assert_true(a->ended && a->result.ok);
    job_told(KUBE_DELETED, job_name, "j1", LABELS);        /* as it loses its own meanwhile */
    assert_true(a->phase == KUBE_DRAINING && !a->deleted); /* so its Job will be */
}

static void what_is_being_stopped_and_lost_its_label_is_not_gone(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    executor.kill(executor.self, id, STR("p"), 30000);
    pod_told(KUBE_DELETED, "p1", LABELS, job_name, "j1", RUNS);
    answered(a, "p1", "[{\"metadata\":{\"name\":\"pod-p1\",\"uid\":\"p1\"},\"status\":{" RUNS "}}]");
    assert_int_equal(a->phase, KUBE_CREATED);
    answered(a, "p1", NULL);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_int_equal(a->result.reason, REASON_CANCELLED);
}

static void what_got_its_label_back_is_watched(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p0", LABELS RANK_0, job_name, "j1", RUNS);
    pod_told(KUBE_PRESENT, "p1", LABELS RANK_1, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(2);
    pod_told(KUBE_DELETED, "p1", LABELS RANK_1, job_name, "j1", RUNS);
    assert_non_null(a->untold);
    answered(a, "p1", "[{\"metadata\":{\"name\":\"pod-p1\",\"uid\":\"p1\",\"labels\":{" LABELS "}}}]");
    assert_null(a->untold);
    assert_int_equal(a->phase, KUBE_CREATED);
    pod_told(KUBE_DELETED, "p1", LABELS RANK_1, job_name, "j1", RUNS);
    answered(a, "p1", "[{\"metadata\":{\"name\":\"pod-p1\",\"uid\":\"another\"}}]");
    assert_null(a->untold);
    assert_int_equal(a->phase, KUBE_STOPPING);
    assert_non_null(strstr(a->result.message.p, "rank 1"));
}

/* Nor does what goes as it should cost a request. */
static void what_is_deleted_with_a_grace_or_by_us_is_gone(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    told(kube_hear_pod, KUBE_DELETED,
         STR("{\"metadata\":{\"name\":\"pod-p1\",\"uid\":\"p1\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}"));
    assert_int_equal(a->phase, KUBE_TOLD);
    job_told(KUBE_DELETED, job_name, "j1", LABELS);
    assert_false(a->deleted);
    a->phase = KUBE_CREATED;
    a->kill_wanted = true;
    job_told(KUBE_DELETED, job_name, "j1", LABELS);
    assert_true(a->deleted);
    assert_null(a->untold);
}

static void a_strangers_pod_counts_for_nothing(void **state)
{
    (void)state;
    char copy[KUBE_JOB_NAME + 8];
    snprintf(copy, sizeof copy, "%s-copy", job_name);
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    job_told(KUBE_PRESENT, copy, "j2", LABELS);
    pod_told(KUBE_PRESENT, "p2", LABELS, NULL, NULL, DONE);
    pod_told(KUBE_PRESENT, "p3", LABELS, copy, "j2", DONE);
    pod_told(KUBE_PRESENT, "p4", LABELS, job_name, "j9", DONE); /* it says whose it is, and is not */
    struct kube_attempt *a = asked(1);
    assert_int_equal(k->by_id.n, 1);
    assert_false(a->ended || kube_has_pod(a));
    assert_string_equal(a->job_uid, "j1");
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
    assert_string_equal(a->ranks[0].uid, "p1");
    job_told(KUBE_DELETED, copy, "j2", LABELS);
    assert_true(a->job_there);
}

/* Rank 0 is done, and what it left is kept: the others' time counts all the same. */
static void the_time_of_each_rank_counts(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p0", LABELS RANK_0, job_name, "j1", DONE);
    pod_told(KUBE_PRESENT, "p1", LABELS RANK_1, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(2);
    a->collects = true;
    a->timeout_ms = INT64_C(1) << 40;
    kube_tick(k);
    assert_false(a->kill_wanted);
    a->timeout_ms = 1;
    usleep(2000);
    kube_tick(k);
    assert_true(a->kill_wanted && a->expired);
    pod_told(KUBE_DELETED, "p1", LABELS RANK_1, job_name, "j1", RUNS);
    answered(a, "p1", NULL);
    assert_int_equal(a->result.failure, FAILURE_TIMEOUT);
}

/* The hash alone is not the name. */
static void a_copy_with_the_hash_in_its_name_is_found_out(void **state)
{
    (void)state;
    char copy[KUBE_JOB_NAME + 8];
    snprintf(copy, sizeof copy, "copy%s", strrchr(job_name, '-'));
    job_told(KUBE_PRESENT, copy, "j2", LABELS);
    pod_told(KUBE_PRESENT, "p2", LABELS, copy, "j2", DONE);
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    struct kube_attempt *a = asked(1);
    assert_string_equal(a->name, job_name);
    assert_string_equal(a->job_uid, "j1");
    assert_false(a->ended || kube_has_pod(a));
}

static void a_pod_is_held_until_its_job_is_told_of(void **state)
{
    (void)state;
    struct kube_attempt *a = asked(1);
    a->phase = KUBE_CREATING;
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", DONE);
    assert_false(a->ended || kube_has_pod(a));
    assert_non_null(k->strays);
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    assert_int_equal(a->phase, KUBE_CREATED);
    kube_tick(k);
    assert_non_null(a->question); /* the server is asked for its pods */
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", DONE);
    assert_true(a->ended && a->result.ok);
    assert_null(k->strays);
}

/* As after a kill -9 between the deletion of a Job and the end of its pod. */
static void the_last_of_a_job_that_is_gone_is_its_pod(void **state)
{
    (void)state;
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_string_equal(a->ranks[0].uid, "p1");
}

/* Nobody knew whose it was when it said so. */
static void a_job_that_is_found_is_asked_how_it_ended(void **state)
{
    (void)state;
    for (int watched = 0; watched <= 1; watched++) {
        job_told(KUBE_PRESENT, job_name, "j1", "\"millrace.dev/instance\":\"i1\"");
        struct kube_attempt *a = asked(1);
        assert_non_null(a->untold);
        answered(a, "j1",
                 arena_printf(&arena,
                              "[{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"labels\":{%s}},\"status\":{"
                              "\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]}}]",
                              job_name, watched ? "\"millrace.dev/instance\":\"i1\"" : "")
                     .p);
        assert_true(a->job_ended && a->job_completed);
        assert_int_equal(a->untold == NULL, watched);
        kube_drop(k, a);
    }
}

static void a_job_is_found_by_its_name(void **state)
{
    (void)state;
    job_told(KUBE_PRESENT, job_name, "j1", OTHERS);
    assert_int_equal(k->by_id.n, 0);
    struct kube_attempt *a = asked(1);
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_string_equal(a->job_uid, "j1");
    assert_null(k->strays);
    job_told(KUBE_DELETED, job_name, "j1", OTHERS);
    answered(a, "j1", NULL);
    no_pods(a);
    assert_int_equal(a->phase, KUBE_TOLD);
}

/* ---- who has the name of its Job ---- */

static const struct value *jobs_of(const char *uid, const char *labels)
{
    struct value *v = arena_new(&arena, struct value);
    struct err err = {0};
    struct str text = uid == NULL ? STR("[]")
                                  : arena_printf(&arena, "[{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",%s}}]",
                                                 job_name, uid, labels);
    if (!json_parse(&arena, text, 0, v, &err)) fail_msg("%s", err.message);
    return v;
}

/* A database was set back, and gave the number again: its end is not ours, and it is known as one that counts no more.
 */
static void a_run_of_that_number_was_another(void **state)
{
    (void)state;
    const struct attempt_id then = {7, 2, 1, 1000001}, now = {7, 2, 1, 1000002};
    struct node node = {.workers = 1};
    struct err err = {0};
    char name[KUBE_JOB_NAME];
    kube_job_name(STR("i1"), STR("train"), then, name);
    job_told(KUBE_PRESENT, name, "j1", LABELS ",\"millrace.dev/run-made\":\"1000001\"");
    const struct exec_request req = {.id = now, .step = STR("train"), .spec = {.node = &node}};
    assert_true(executor.launch(executor.self, &req, true, STR("another"), &err));
    assert_false(kube_find(k, now)->job_there);
    assert_true(kube_find(k, then)->job_there);
    pod_told(KUBE_PRESENT, "p1", LABELS ",\"millrace.dev/run-made\":\"1000001\"", name, "j1", DONE);
    assert_false(kube_find(k, now)->ended);
    assert_true(kube_find(k, then)->ended);
    struct exec_known *known;
    assert_int_equal(executor.known(executor.self, &arena, &known), 1);
    assert_int_equal(known[0].id.made_us, 1000001);
}

static void whoever_has_the_name_is_looked_at(void **state)
{
    (void)state;
    static const struct {
        const char *name, *uid, *labels, *pods_job;
        enum kube_holder want;
    } rows[] = {
        {"nobody", NULL, "", "", KUBE_NOBODY},
        {"ours", "j1", "\"labels\":{" LABELS "}", "", KUBE_OURS},
        {"ours, edited", "j1", "\"labels\":{" OTHERS "}", "", KUBE_OURS},
        {"no labels", "j1", "\"a\":1", "", KUBE_STRANGER},
        {"another's", "j1", "\"labels\":{\"millrace.dev/instance\":\"i2\",\"millrace.dev/run\":\"7\"}", "",
         KUBE_STRANGER},
        {"its pod is ours", "j1", "\"a\":1", "j1", KUBE_OURS},
        {"another's pod is ours", "j1", "\"a\":1", "j2", KUBE_STRANGER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (kube_holder_of(jobs_of(rows[i].uid, rows[i].labels), STR("i1"), rows[i].pods_job) != rows[i].want)
            fail_msg("%s", rows[i].name);
}

/* Being created, when somebody has its name. */
static struct kube_attempt *creating(void)
{
    struct kube_attempt *a = asked(1);
    a->phase = KUBE_CREATING;
    return a;
}

static void a_strangers_job_is_waited_for(void **state)
{
    (void)state;
    struct kube_attempt *a = creating();
    kube_holder_hear(a, jobs_of("j9", "\"a\":1"));
    assert_int_equal(a->phase, KUBE_CREATING);
    assert_true(a->retry_us != 0 && a->tries == 1 && a->job_uid[0] == '\0');
    assert_non_null(strstr(a->waits, job_name));
    assert_non_null(strstr(a->waits, "lacks the label millrace.dev/instance=i1"));
    kube_holder_hear(a, jobs_of(NULL, "")); /* somebody has deleted it */
    assert_int_equal(a->phase, KUBE_CREATING);
    kube_holder_hear(a, jobs_of("j1", "\"labels\":{" LABELS "}"));
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_string_equal(a->job_uid, "j1");
    assert_string_equal(a->waits, "");
    assert_true(a->job_there && a->retry_us == 0);
}

static void a_strangers_job_is_never_deleted(void **state)
{
    (void)state;
    struct kube_attempt *a = creating();
    a->kill_wanted = true;
    kube_holder_hear(a, jobs_of("j9", "\"a\":1"));
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_string_equal(a->result.message.p, NEVER_BEGAN);
    a->queued = false;
    k->events = NULL;
    k->events_end = &k->events;
    executor.forget(executor.self, id);
    assert_non_null(a->call); /* which asks: its uid is not known */
    kube_holder_hear(a, jobs_of("j9", "\"a\":1"));
    assert_null(kube_find(k, id));
}

/* ---- what is not there ---- */

/* Its Job may not have been made yet, or others have deleted it while nobody looked. */
static void who_was_launched_just_now_by_us_may_not_have_been(void **state)
{
    (void)state;
    static const struct {
        bool ours, killed;
        int64_t ago_s;
        bool never;
    } rows[] = {{true, false, 0, true}, {true, false, 31, false}, {false, false, 0, false}, {true, true, 0, false}};
    struct node node = {.workers = 1};
    EACH(i, rows)
    {
        struct err err = {0};
        struct exec_event e;
        const struct exec_request req = {.id = id,
                                         .step = STR("train"),
                                         .spec = {.node = &node},
                                         .started_us = os_now_us() - rows[i].ago_s * 1000000};
        struct str by = rows[i].ours ? executor.instance(executor.self) : STR("another");
        if (rows[i].killed)
            executor.kill(executor.self, id, STR("p"), 1000);
        else
            assert_true(executor.launch(executor.self, &req, true, by, &err));
        turn_until(k->client, &kube_find(k, id)->queued);
        assert_true(executor.next(executor.self, &arena, &e));
        assert_int_equal(e.kind, EXEC_UNKNOWN);
        if (e.never != rows[i].never) fail_msg("row %zu", i);
    }
}

/* The watches have told all there was, and have been cut off since. */
static void what_no_watch_knows_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *items;
        bool there;
    } rows[] = {
        {200, "{\"items\":[{\"metadata\":{\"uid\":\"j2\",\"labels\":{\"millrace.dev/instance\":\"i1\"}}}]}", true},
        {200, "{\"items\":[{\"metadata\":{\"uid\":\"j2\",\"labels\":{}}}]}", false},
        {200, "{\"items\":[]}", false}};
    struct node node = {.workers = 1};
    const struct exec_request req = {.id = id, .step = STR("train"), .spec = {.node = &node}};
    EACH(i, rows)
    {
        const struct row script[] = {
            {.match = "watch=1", .how = DROPPED, .times = -1},
            {.match = "limit=500",
             .status = 200,
             .body = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}",
             .times = -1},
            {.match = "fieldSelector=metadata.name", .status = 403, .body = "{\"message\":\"not now\"}"},
            {.match = "fieldSelector=metadata.name", .status = 200, .body = rows[i].items},
            {0}};
        struct err err = {0};
        struct exec_event e;
        server_start(script);
        if (begin(NULL) != 0) fail();
        while (!kube_synced(k)) {
            usleep(1000);
            kube_client_turn(k->client);
        }
        assert_true(executor.launch(executor.self, &req, true, STR("another"), &err));
        struct kube_attempt *a = kube_find(k, id);
        assert_int_equal(a->phase, KUBE_HELD);
        while (a->retry_us == 0)
            kube_client_turn(k->client);
        assert_false(a->queued);
        a->retry_us = 1;
        kube_tick(k);
        while (a->call != NULL)
            kube_client_turn(k->client);
        assert_int_equal(a->phase, rows[i].there ? KUBE_CREATED : KUBE_HELD);
        while (executor.next(executor.self, &arena, &e) && e.kind == EXEC_WAITS) {
        }
        assert_int_equal(e.kind == EXEC_UNKNOWN, !rows[i].there);
        (void)end_with_server(NULL);
    }
}

static struct kube_stray *orphan(const char *uid)
{
    pod_told(KUBE_PRESENT, uid, LABELS, NULL, NULL, RUNS);
    struct kube_stray *s = k->strays;
    while (strcmp(s->uid, uid) != 0)
        s = s->next;
    return s;
}

static void all_is_told(void)
{
    while (!kube_synced(k)) {
        usleep(1000);
        kube_client_turn(k->client);
    }
}

/* Its attempt may still be asked for. */
static void an_orphan_is_not_deleted_at_once(void **state)
{
    (void)state;
    struct kube_stray *old = orphan("p1"), *new;
    old->since_us -= INT64_C(16) * 1000000;
    kube_strays_tick(k);
    assert_null(old->call); /* nor before all was told */
    all_is_told();
    new = orphan("p2");
    new->since_us -= INT64_C(10) * 1000000;
    kube_strays_tick(k);
    assert_non_null(old->call);
    assert_null(new->call);
}

/* Somebody has deleted its Job without it. */
static void a_pod_that_lost_its_job_is_left_to_its_attempt(void **state)
{
    (void)state;
    all_is_told();
    job_told(KUBE_PRESENT, job_name, "j1", LABELS);
    pod_told(KUBE_PRESENT, "p1", LABELS, job_name, "j1", RUNS);
    struct kube_attempt *a = asked(1);
    struct kube_stray *s = orphan("p1");
    for (int forgotten = 0; forgotten <= 1; forgotten++) {
        if (forgotten) a->phase = KUBE_FORGOTTEN;
        s->since_us = os_mono_us() - INT64_C(16) * 1000000;
        kube_strays_tick(k);
        assert_int_equal(s->call != NULL, forgotten);
    }
}

/* ---- who has suspended it ---- */

static void job_specified(const char *labels, const char *spec)
{
    told(kube_hear_job, KUBE_PRESENT,
         arena_printf(&arena, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"j1\",\"labels\":{%s}},\"spec\":{%s}}", job_name,
                      labels, spec));
}

static void a_job_that_anybody_suspends_says_so_until_it_is_resumed(void **state)
{
    (void)state;
    job_specified(LABELS, "\"suspend\":true");
    struct kube_attempt *a = asked(1);
    kube_hangs(a, true);
    kube_tick(k);
    assert_non_null(strstr(a->waits, "suspended, and not by Millrace"));
    assert_non_null(strstr(a->waits, job_name));
    assert_int_equal(a->hangs_us, 0); /* it is not given up */
    job_specified(LABELS, "\"suspend\":false");
    assert_string_equal(a->waits, "");
    job_specified(LABELS ",\"kueue.x-k8s.io/queue-name\":\"q\"", "\"suspend\":true");
    kube_tick(k);
    assert_true(a->held_by_kueue && a->waits[0] == '\0'); /* Kueue is asked */
}

/* ---- whose a template is ---- */

/* A step may name one of its user's in its pod: it is not ours to delete. */
static void a_template_that_a_step_names_is_its_users(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool ours;
    } rows[] = {{"mine", false},
                {KUBE_CLAIM "-mine", false},
                {KUBE_CLAIM "-0123456789abcdef0123456x", false},
                {KUBE_CLAIM "-0123456789abcdef01234567", true}};
    struct kube_attempt *a = asked(1);
    EACH(i, rows)
    {
        job_specified(LABELS, arena_printf(&arena,
                                           "\"template\":{\"spec\":{\"resourceClaims\":[{\"name\":\"c\","
                                           "\"resourceClaimTemplateName\":\"%s\"}]}}",
                                           rows[i].name)
                                  .p);
        if ((a->template != NULL) != rows[i].ours) fail_msg("%s", rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pod_is_known_whatever_its_labels_become, begin, end),
        cmocka_unit_test_setup_teardown(ranks_are_known_whatever_their_labels_become, begin, end),
        cmocka_unit_test_setup_teardown(a_new_pod_of_the_job_counts_with_others_labels, begin, end),
        cmocka_unit_test_setup_teardown(a_strangers_pod_counts_for_nothing, begin, end),
        cmocka_unit_test_setup_teardown(the_time_of_each_rank_counts, begin, end),
        cmocka_unit_test_setup_teardown(a_copy_with_the_hash_in_its_name_is_found_out, begin, end),
        cmocka_unit_test_setup_teardown(a_pod_is_held_until_its_job_is_told_of, begin, end),
        cmocka_unit_test_setup_teardown(the_last_of_a_job_that_is_gone_is_its_pod, begin, end),
        cmocka_unit_test_setup_teardown(a_job_that_is_found_is_asked_how_it_ended, begin, end),
        cmocka_unit_test_setup_teardown(a_job_is_found_by_its_name, begin, end),
        cmocka_unit_test_setup_teardown(what_lost_its_label_is_not_gone, begin, end),
        cmocka_unit_test_setup_teardown(what_is_being_stopped_and_lost_its_label_is_not_gone, begin, end),
        cmocka_unit_test_setup_teardown(what_got_its_label_back_is_watched, begin, end),
        cmocka_unit_test_setup_teardown(what_is_deleted_with_a_grace_or_by_us_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(a_job_that_anybody_suspends_says_so_until_it_is_resumed, begin, end),
        cmocka_unit_test_setup_teardown(who_was_launched_just_now_by_us_may_not_have_been, begin_with_nothing,
                                        end_with_server),
        cmocka_unit_test(what_no_watch_knows_is_asked_for),
        cmocka_unit_test_setup_teardown(an_orphan_is_not_deleted_at_once, begin_with_nothing, end_with_server),
        cmocka_unit_test_setup_teardown(a_pod_that_lost_its_job_is_left_to_its_attempt, begin_with_nothing,
                                        end_with_server),
        cmocka_unit_test_setup_teardown(a_template_that_a_step_names_is_its_users, begin, end),
        cmocka_unit_test_setup_teardown(a_run_of_that_number_was_another, begin, end),
        cmocka_unit_test_setup_teardown(whoever_has_the_name_is_looked_at, begin, end),
        cmocka_unit_test_setup_teardown(a_strangers_job_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(a_strangers_job_is_never_deleted, begin, end),
    };
    return cmocka_run_group_tests_name("kube identity", tests, open_folder, drop_folder);
}
