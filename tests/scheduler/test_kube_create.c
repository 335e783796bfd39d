/* What the API server may answer to the creation of an attempt's Job, and what follows: it is there once, or it is not
 * there and that is sure, whatever was lost and whoever stops it meanwhile. */
#include "tests/scheduler/kube_rig.h"

#define POST "POST /apis/batch/v1/namespaces/n/jobs?fieldValidation=Strict"
#define LIST "GET /apis/batch/v1/namespaces/n/jobs?fieldSelector="
#define DELETE "DELETE /apis/batch/v1/namespaces/n/jobs/"
#define CREATED                                                                                                        \
    {                                                                                                                  \
        .match = POST, .status = 201, .body = "{\"metadata\":{\"uid\":\"j1\"}}"                                        \
    }
#define EXISTS                                                                                                         \
    {                                                                                                                  \
        .match = POST, .status = 409, .body = "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}"                     \
    }
#define REFUSED(status, text)                                                                                          \
    {                                                                                                                  \
        POST, status, NULL, "{\"kind\":\"Status\",\"reason\":\"Any\",\"message\":\"" text "\"}", WHOLE, 0, 0           \
    }
#define LOST                                                                                                           \
    {                                                                                                                  \
        .match = POST, .how = DROPPED                                                                                  \
    }
#define LISTED(items)                                                                                                  \
    {                                                                                                                  \
        .match = LIST, .status = 200, .body = "{\"items\":[" items "]}"                                                \
    }
#define OURS "{\"metadata\":{\"uid\":\"j2\",\"labels\":{\"millrace.dev/instance\":\"i1\"}}}"
#define NOT_OURS "{\"metadata\":{\"uid\":\"j3\",\"labels\":{\"millrace.dev/instance\":\"i2\"}}}"
#define DELETED                                                                                                        \
    {                                                                                                                  \
        .match = DELETE, .status = 200, .body = "{}"                                                                   \
    }

enum meanwhile { NOTHING, IS_KILLED = 1, IS_FORGOTTEN = 2, IS_WATCHED = 4 };

/* One that nobody has created yet, of a cluster that answers by the script. */
static struct kube_attempt *creating(const struct row *script)
{
    server_start(script);
    if (begin(NULL) != 0) fail();
    struct kube_attempt *a = asked(1);
    a->phase = KUBE_CREATING;
    a->manifest = STR("{\"metadata\":{}," KUBE_JOB_SPEC "\"backoffLimit\":0}}");
    kube_create(a);
    kube_create(a); /* which is under way */
    return a;
}

static void happens(enum meanwhile what)
{
    if (what & IS_WATCHED) job_told(KUBE_PRESENT, job_name, "j4", LABELS);
    if (what & IS_KILLED) executor.kill(executor.self, id, STR("p"), 1000);
    if (what & IS_FORGOTTEN) executor.forget(executor.self, id);
}

/* Until nothing of it is under way. False: it is not known any more. */
static bool settles(void)
{
    for (int64_t until = os_mono_us() + 10000000; os_mono_us() < until; usleep(1000)) {
        kube_client_turn(k->client);
        const struct kube_attempt *a = kube_find(k, id);
        if (a == NULL) return false;
        if (a->call == NULL && a->question == NULL) return true;
    }
    fail_msg("it does not settle");
    return true;
}

static void over(void)
{
    (void)end_with_server(NULL);
}

static void what_was_answered_settles_it(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct row script[5];
        enum meanwhile meanwhile;
        enum kube_phase phase; /* KUBE_FORGOTTEN = it is not known any more */
        const char *uid, *waits;
        bool again, unsure;
        size_t deletions;
    } rows[] = {
        {"created", {CREATED, {0}}, NOTHING, KUBE_CREATED, "j1", "", false, false, 0},
        {"ours already", {EXISTS, LISTED(OURS), {0}}, NOTHING, KUBE_CREATED, "j2", "", false, false, 0},
        {"another's", {EXISTS, LISTED(NOT_OURS), {0}}, NOTHING, KUBE_CREATING, "", "not Millrace's", true, 0, 0},
        {"gone since", {EXISTS, LISTED(""), {0}}, NOTHING, KUBE_CREATING, "", "", true, false, 0},
        {"seen before", {EXISTS, {0}}, IS_WATCHED, KUBE_CREATED, "j4", "", false, false, 0},
        {"broken", {REFUSED(503, "later"), {0}}, NOTHING, KUBE_CREATING, "", "later", true, true, 0},
        {"busy", {REFUSED(429, "later"), {0}}, NOTHING, KUBE_CREATING, "", "later", true, false, 0},
        {"quota", {REFUSED(403, "exceeded quota: q"), {0}}, NOTHING, KUBE_CREATING, "", "quota: q", true, 0, 0},
        {"invalid", {REFUSED(422, "bad spec"), {0}}, NOTHING, KUBE_TOLD, "", "", false, false, 0},
        {"lost", {LOST, {0}}, NOTHING, KUBE_CREATING, "", "waits for the API server", true, true, 0},
        {"lost and seen", {LOST, {0}}, IS_WATCHED, KUBE_CREATED, "j4", "", false, true, 0},
        {"created and killed", {CREATED, DELETED, NO_PODS, {0}}, IS_KILLED, KUBE_TOLD, "j1", "", false, false, 1},
        {"ours and killed", {EXISTS, LISTED(OURS), DELETED, NO_PODS, {0}}, IS_KILLED, KUBE_TOLD, "j2", "", 0, 0, 1},
        {"another's, killed", {EXISTS, LISTED(NOT_OURS), {0}}, IS_KILLED, KUBE_TOLD, "", "", false, false, 0},
        {"quota and killed", {REFUSED(403, "exceeded quota: q"), {0}}, IS_KILLED, KUBE_TOLD, "", "", 0, 0, 0},
        {"lost and killed", {LOST, {0}}, IS_KILLED, KUBE_CREATING, "", "", true, true, 0},
        {"created, forgotten", {CREATED, DELETED, {0}}, IS_FORGOTTEN, KUBE_FORGOTTEN, "", "", false, false, 1},
        {"seen, forgotten", {EXISTS, DELETED, {0}}, IS_WATCHED | IS_FORGOTTEN, KUBE_FORGOTTEN, "", "", 0, 0, 1},
        {"ours, forgotten", {EXISTS, LISTED(OURS), DELETED, {0}}, IS_FORGOTTEN, KUBE_FORGOTTEN, "", "", 0, 0, 1},
    };
    EACH(i, rows)
    {
        struct kube_attempt *a = creating(rows[i].script);
        happens(rows[i].meanwhile);
        bool known = settles();
        if (known == (rows[i].phase == KUBE_FORGOTTEN)) fail_msg("%s: known %d", rows[i].name, known);
        if (known &&
            (a->phase != rows[i].phase || strcmp(a->job_uid, rows[i].uid) != 0 || (a->retry_us != 0) != rows[i].again ||
             a->unsure != rows[i].unsure || (a->phase == KUBE_CREATED && !a->job_there)))
            fail_msg("%s: phase %d, uid '%s', again %d, unsure %d", rows[i].name, a->phase, a->job_uid,
                     a->retry_us != 0, a->unsure);
        if (known && strstr(kube_waits_why(a), rows[i].waits) == NULL)
            fail_msg("%s: waits '%s'", rows[i].name, kube_waits_why(a));
        if (received_of(POST) != 1 || received_of(DELETE) != rows[i].deletions)
            fail_msg("%s: %zu created, %zu deleted", rows[i].name, received_of(POST), received_of(DELETE));
        over();
    }
}

static void who_was_refused_is_told_why(void **state)
{
    static const struct row script[] = {REFUSED(422, "bad spec"), {0}};
    (void)state;
    const struct kube_attempt *a = creating(script);
    settles();
    assert_int_equal(a->result.failure, FAILURE_INVALID);
    size_t at;
    assert_true(str_find(a->result.message, STR("bad spec"), &at));
    over();
}

/* The one that may be there is found by its name: what is created to be sure of that must not begin. */
static void who_is_stopped_while_nobody_knows_is_made_sure_of(void **state)
{
    static const struct {
        bool waits; /* for another try, when it is stopped */
        struct row second[2];
        size_t lists;
    } rows[] = {{false, {CREATED}, 0},
                {true, {CREATED}, 0},
                {true, {EXISTS, LISTED(OURS)}, 1},
                {true, {REFUSED(403, "exceeded quota: q"), LISTED(OURS)}, 1}};
    (void)state;
    EACH(i, rows)
    {
        const struct row script[] = {LOST, rows[i].second[0], DELETED, NO_PODS, rows[i].second[1], {0}};
        struct kube_attempt *a = creating(script);
        if (rows[i].waits) settles();
        happens(IS_KILLED);
        settles();
        if (a->retry_us != 0) {
            a->retry_us = 1;
            kube_tick(k);
            settles();
        }
        turn_until(k->client, &a->queued);
        assert_int_equal(a->result.reason, REASON_CANCELLED);
        assert_int_equal(received_of(POST), 2);
        assert_int_equal(received_of(LIST), rows[i].lists);
        assert_int_equal(received_of(DELETE), 1);
        for (size_t n = 0, posts = 0; n < received(); n++)
            if (strstr(server.got[n].line, POST) != NULL &&
                (strstr(server.got[n].body, "\"spec\":{\"suspend\":true,\"backoffLimit\"") != NULL) != (posts++ > 0))
                fail_msg("%s", server.got[n].body);
        over();
    }
}

static void who_is_stopped_and_surely_not_there_never_began(void **state)
{
    static const struct row script[] = {LOST, REFUSED(403, "exceeded quota: q"), LISTED(""), {0}};
    (void)state;
    struct kube_attempt *a = creating(script);
    settles();
    happens(IS_KILLED);
    turn_until(k->client, &a->queued);
    assert_true(str_is(a->result.message, NEVER_BEGAN));
    assert_int_equal(received_of(POST), 2);
    over();
}

static void what_kueue_is_to_admit_is_suspended_once(void **state)
{
    static const struct row script[] = {LOST, CREATED, DELETED, {0}};
    (void)state;
    struct kube_attempt *a = creating(script);
    settles();
    a->manifest = STR("{\"metadata\":{}," KUBE_JOB_SPEC "\"suspend\":true}}");
    happens(IS_KILLED);
    settles();
    assert_non_null(strstr(received_last(POST)->body, "\"spec\":{\"suspend\":true}"));
    over();
}

/* So that it can be disowned when its run has ended, or is another server's now. */
static void what_waits_to_be_created_is_known(void **state)
{
    static const struct row script[] = {REFUSED(403, "exceeded quota: q"), LISTED(""), {0}};
    (void)state;
    struct exec_known *known;
    (void)creating(script);
    settles();
    assert_int_equal(executor.known(executor.self, &arena, &known), 1);
    assert_false(known[0].ended);
    executor.disown(executor.self, id, STR("p"), 1000);
    assert_false(settles());
    assert_int_equal(received_of(POST), 1);
    over();
}

static void who_is_refused_while_it_waits_is_stopped_at_once(void **state)
{
    static const struct row script[] = {REFUSED(403, "exceeded quota: q"), {0}};
    (void)state;
    const struct kube_attempt *a = creating(script);
    settles();
    happens(IS_KILLED);
    assert_int_equal(a->phase, KUBE_TOLD);
    assert_true(str_is(a->result.message, NEVER_BEGAN));
    assert_int_equal(received_of(POST), 1);
    over();
}

/* The next try would be of its deletion. */
static void what_was_created_is_not_tried_again(void **state)
{
    static const struct row script[] = {REFUSED(500, "etcd"), CREATED, {0}};
    (void)state;
    struct kube_attempt *a = creating(script);
    settles();
    assert_int_equal(a->tries, 1);
    a->retry_us = 1;
    kube_tick(k);
    settles();
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_int_equal(a->tries, 0);
    assert_string_equal(kube_waits_why(a), "");
    kube_tick(k);
    assert_null(a->call);
    over();
}

static void what_is_seen_is_not_tried_again(void **state)
{
    static const struct row script[] = {LOST, {0}};
    (void)state;
    struct kube_attempt *a = creating(script);
    settles();
    happens(IS_WATCHED);
    assert_int_equal(a->phase, KUBE_CREATED);
    assert_int_equal(a->retry_us, 0);
    over();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_answered_settles_it),
        cmocka_unit_test(who_was_refused_is_told_why),
        cmocka_unit_test(who_is_stopped_while_nobody_knows_is_made_sure_of),
        cmocka_unit_test(who_is_stopped_and_surely_not_there_never_began),
        cmocka_unit_test(what_kueue_is_to_admit_is_suspended_once),
        cmocka_unit_test(what_waits_to_be_created_is_known),
        cmocka_unit_test(who_is_refused_while_it_waits_is_stopped_at_once),
        cmocka_unit_test(what_was_created_is_not_tried_again),
        cmocka_unit_test(what_is_seen_is_not_tried_again),
    };
    return cmocka_run_group_tests_name("creations on a cluster", tests, open_folder, drop_folder);
}
