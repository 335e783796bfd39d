/* Projects, pipelines, tokens, uploads, artifacts, bundles, stored answers: what the API builds on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "engine/store/artifacts.h"
#include "engine/store/bundles.h"
#include "engine/store/idempotency.h"
#include "engine/store/pipelines.h"
#include "engine/store/settings.h"
#include "engine/store/tokens.h"
#include "engine/store/uploads.h"
#include "tests/support/db.h"

static struct support_db t;
static struct conn *c;
static struct err err;
static const struct scope me = {1, {"ann", 3}};

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

static int setup(void **state)
{
    (void)state;
    return support_db_open(&t) == 0 && db_lease(t.db, &c, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    db_return(c);
    return support_db_close(&t);
}

static void refused(bool done, enum err_code code, int line)
{
    if (done || err.code != code) fail_msg("line %d: %s %s", line, done ? "done" : err_name(err.code), err.message);
    err_clear(&err);
}
#define refuse(done, code) refused((done), (code), __LINE__)

static void projects_are_found_by_name(void **state)
{
    (void)state;
    struct project p, *all;
    size_t n;
    ok(projects_get(c, STR("default"), &t.arena, &p, &err));
    assert_int_equal(p.id, 1);
    ok(projects_create(c, STR("vision"), STR("ann"), &t.arena, &p, &err));
    refuse(projects_create(c, STR("vision"), STR("ann"), &t.arena, &p, &err), ERR_CONFLICT);
    assert_false(projects_get(c, STR("vison"), &t.arena, &p, &err));
    assert_string_equal(err.hint, "did you mean 'vision'?");
    ok(projects_list(c, STR("default"), 10, &t.arena, &all, &n, &err));
    assert_true(n == 1 && str_is(all[0].name, "vision"));
    ok(projects_get_id(c, all[0].id, &t.arena, &p, &err));
    refuse(projects_get_id(c, 99, &t.arena, &p, &err), ERR_NOT_FOUND);
}

static void versions_are_made_only_by_change(void **state)
{
    (void)state;
    struct plan_text one = {STR("sha256:1"), STR("source one"), STR("{\"n\": 1}")};
    struct plan_text two = {STR("sha256:2"), STR("source two"), STR("{\"n\": 2}")};
    struct version_rec v, *all;
    bool changed;
    size_t n;
    ok(pipelines_apply(c, &me, STR("digits"), STR("d"), &one, str_of(""), &t.arena, &v, &changed, &err));
    assert_true(changed && v.version == 1);
    ok(pipelines_apply(c, &me, STR("digits"), STR("d"), &one, str_of(""), &t.arena, &v, &changed, &err));
    assert_true(!changed && v.version == 1 && str_is(v.digest, "sha256:1"));
    ok(pipelines_apply(c, &me, STR("digits"), STR("d"), &one, STR("sha256:b"), &t.arena, &v, &changed, &err));
    assert_true(changed && v.version == 2);
    ok(pipelines_apply(c, &me, STR("digits"), STR("e"), &two, STR("sha256:b"), &t.arena, &v, &changed, &err));
    assert_true(changed && v.version == 3);
    ok(pipelines_version(c, 1, STR("digits"), 0, &t.arena, &v, &err));
    assert_true(v.version == 3 && str_is(v.source, "source two") && str_is(v.plan, "{\"n\": 2}"));
    ok(pipelines_version(c, 1, STR("digits"), 1, &t.arena, &v, &err));
    assert_true(v.version == 1 && str_is(v.source, "source one") && v.bundle_digest.n == 0);
    refuse(pipelines_version(c, 1, STR("digits"), 9, &t.arena, &v, &err), ERR_NOT_FOUND);
    ok(pipelines_versions(c, 1, STR("digits"), 3, 10, &t.arena, &all, &n, &err));
    assert_true(n == 2 && all[0].version == 2 && all[1].version == 1);
    assert_int_equal(support_number(&t, "SELECT count(*) FROM plans"), 2);

    struct pipeline_rec p, *rows;
    ok(pipelines_get(c, 1, STR("digits"), &t.arena, &p, &err));
    assert_true(p.latest_version == 3 && str_is(p.description, "e"));
    assert_false(pipelines_get(c, 1, STR("digit"), &t.arena, &p, &err));
    assert_string_equal(err.hint, "did you mean 'digits'?");
    struct pipelines_search q = {.project_id = 1,
                                 .filter = STR("name ~ igi and version >= 3 and created > 2024-05-01")};
    struct str next;
    ok(pipelines_list(c, &q, &t.arena, &rows, &n, &next, &err));
    assert_true(n == 1 && str_is(rows[0].name, "digits") && rows[0].latest_version == 3);
    q.filter = STR("name = nothing");
    ok(pipelines_list(c, &q, &t.arena, &rows, &n, &next, &err));
    assert_int_equal(n, 0);
    q.filter = STR("state = failed");
    refuse(pipelines_list(c, &q, &t.arena, &rows, &n, &next, &err), ERR_INVALID);
    refuse(pipelines_get(c, 2, STR("digits"), &t.arena, &p, &err), ERR_NOT_FOUND);
    refuse(pipelines_delete(c, 1, STR("digits"), 2, &err), ERR_PRECONDITION); /* 3 came meanwhile */
    ok(pipelines_delete(c, 1, STR("digits"), 3, &err));
    refuse(pipelines_delete(c, 1, STR("digits"), 0, &err), ERR_NOT_FOUND);
    struct plan_text text;
    ok(plans_get(c, v.plan_id, &t.arena, &text, &err)); /* runs may still need it */
}

static void tokens_expire(void **state)
{
    (void)state;
    unsigned char hash[DIGEST_BYTES];
    struct token_rec token = {.name = STR("ci"), .role = STR("operator"), .project_id = 1, .created_by = STR("ann")},
                     got, *all;
    int64_t id = 0;
    size_t n;
    digest_raw(STR("secret"), hash);
    refuse(tokens_find(c, hash, &t.arena, &got, &err), ERR_UNAUTHENTICATED);
    ok(tokens_create(c, hash, &token, &id, &err));
    refuse(tokens_create(c, hash, &token, &id, &err), ERR_CONFLICT);
    ok(tokens_find(c, hash, &t.arena, &got, &err));
    assert_true(got.id == id && str_is(got.role, "operator") && str_is(got.project, "default") && got.expires_us == 0);
    ok(tokens_list(c, 0, 10, &t.arena, &all, &n, &err));
    assert_int_equal(n, 1);
    assert_true(support_sql(&t, "UPDATE tokens SET expires_at = now() - interval '1 second'"));
    refuse(tokens_find(c, hash, &t.arena, &got, &err), ERR_UNAUTHENTICATED);
    ok(tokens_delete(c, id, &err));
    refuse(tokens_delete(c, id, &err), ERR_NOT_FOUND);
    token.role = STR("king");
    assert_false(tokens_create(c, hash, &token, &id, &err));
}

static void uploads_end_as_blobs(void **state)
{
    (void)state;
    struct upload_rec one, two;
    int64_t size = 0;
    ok(uploads_create(c, &me, STR("sha256:u"), 10, &t.arena, &one, &err));
    ok(uploads_create(c, &me, STR("sha256:u"), 10, &t.arena, &two, &err));
    assert_true(str_eq(one.id, two.id)); /* taken up again */
    ok(uploads_create(c, &me, STR("sha256:v"), 10, &t.arena, &two, &err));
    assert_false(str_eq(one.id, two.id));
    ok(uploads_touch(c, one.id, &err) && uploads_get(c, 1, one.id, &t.arena, &two, &err));
    refuse(uploads_get(c, 2, one.id, &t.arena, &two, &err), ERR_NOT_FOUND);
    ok(uploads_finish(c, &me, one.id, STR("sha256:u"), 10, &err));
    ok(blobs_get(c, 1, STR("sha256:u"), &size, &err));
    assert_int_equal(size, 10);
    ok(uploads_get(c, 1, one.id, &t.arena, &two, &err)); /* others may still ask */
    ok(uploads_delete(c, 1, one.id, &err));
    refuse(blobs_get(c, 2, STR("sha256:u"), &size, &err), ERR_NOT_FOUND);
    refuse(uploads_finish(c, &me, one.id, STR("sha256:x"), 10, &err), ERR_NOT_FOUND);
    refuse(blobs_get(c, 1, STR("sha256:x"), &size, &err), ERR_NOT_FOUND); /* nothing in half */
    const struct bundle_made made = {STR("sha256:u"), STR("sha256:c"), 10, 3};
    ok(bundles_put(c, &me, &made, &err) && bundles_put(c, &me, &made, &err));
    struct bundle_rec b;
    ok(bundles_get(c, 1, STR("sha256:u"), &t.arena, &b, &err));
    assert_int_equal(b.entries, 3);
    refuse(bundles_get(c, 1, STR("sha256:x"), &t.arena, &b, &err), ERR_NOT_FOUND);
}

static void artifacts_have_lineage(void **state)
{
    (void)state;
    struct artifact_new made = {.run_id = 5,
                                .task = 2,
                                .attempt = 1,
                                .name = STR("model"),
                                .type = STR("model"),
                                .digest = STR("sha256:m"),
                                .size = 9};
    struct artifact_new uploaded = {
        .name = STR("data"), .type = STR("dataset"), .digest = STR("sha256:d"), .metadata = STR("{\"rows\": 3}")};
    struct artifact_rec got, *all;
    struct artifact_use *uses;
    int64_t a = 0, b = 0;
    size_t n;
    struct str next;
    ok(artifacts_create(c, &me, &made, &a, &err) && artifacts_create(c, &me, &uploaded, &b, &err));
    ok(artifacts_get(c, 1, b, &t.arena, &got, &err));
    assert_true(got.run_id == 0 && got.task == -1 && str_is(got.metadata, "{\"rows\": 3}"));
    refuse(artifacts_get(c, 2, b, &t.arena, &got, &err), ERR_NOT_FOUND);
    ok(artifacts_of_run(c, 5, -1, 0, 10, &t.arena, &all, &n, &err));
    assert_true(n == 1 && all[0].task == 2 && str_is(all[0].metadata, "{}"));
    assert_true(support_sql(&t, "INSERT INTO artifact_uses VALUES (6, 1, 1, 'data', 1, 'x', 'sha256:m')"));
    ok(artifacts_used_by(c, 1, STR("sha256:m"), 10, &t.arena, &uses, &n, &err));
    assert_true(n == 1 && uses[0].run_id == 6 && str_is(uses[0].input, "data") && str_is(uses[0].digest, "sha256:m"));
    struct artifacts_search q = {.project_id = 1, .filter = STR("type = model and run = 5")};
    ok(artifacts_list(c, &q, &t.arena, &all, &n, &next, &err));
    assert_true(n == 1 && all[0].id == a && next.n == 0);
    q.filter = STR("kind = model");
    refuse(artifacts_list(c, &q, &t.arena, &all, &n, &next, &err), ERR_INVALID);
}

static void metadata_is_searched(void **state)
{
    (void)state;
    static const char *const metadata[] = {"{\"score\": 0.9, \"kind\": \"svm\", \"a.b\": true}",
                                           "{\"score\": 10, \"kind\": \"tree\"}", "{\"score\": \"9\", \"kind\": null}",
                                           "{}"};
    static const struct {
        const char *filter, *found;
    } rows[] = {
        {"metadata.kind = svm", "0"},    {"metadata.kind ~ VM", "0"},     {"metadata.kind in (svm, tree)", "10"},
        {"metadata.kind != svm", "321"}, {"metadata.score > 0.5", "10"}, /* "9" is no number */
        {"metadata.score >= 10", "1"},   {"metadata.score = 0.90", "0"},  {"metadata.score = 10.0", "1"},
        {"metadata.score = 9", "2"},     {"metadata.score != 10", "320"}, {"metadata.a.b = true and type = t", "0"},
        {"metadata.none < 3", ""},       {"metadata. = 1", NULL},
    };
    int64_t first = 0, id;
    for (size_t i = 0; i < sizeof metadata / sizeof *metadata; i++) {
        const struct artifact_new made = {
            .name = STR("a"), .type = STR("t"), .digest = STR("sha256:f"), .metadata = str_of(metadata[i])};
        ok(artifacts_create(c, &me, &made, &id, &err));
        if (i == 0) first = id;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct artifacts_search q = {.project_id = 1, .filter = str_of(rows[i].filter)};
        struct artifact_rec *all;
        struct str next;
        char found[8] = "";
        size_t n;
        if (!artifacts_list(c, &q, &t.arena, &all, &n, &next, &err)) {
            if (rows[i].found || err.code != ERR_INVALID) fail_msg("%s: %s", rows[i].filter, err.message);
            continue;
        }
        for (size_t k = 0; k < n && k < 7; k++)
            found[k] = (char)('0' + (all[k].id - first));
        if (!rows[i].found || strcmp(found, rows[i].found) != 0) fail_msg("%s: %s", rows[i].filter, found);
    }
}

static void bytes_of_a_folder_are_known(void **state)
{
    (void)state;
    struct artifact_new plain = {.name = STR("a"), .type = STR("t"), .digest = STR("sha256:f")}, packed = plain;
    packed.metadata = STR("{\"rows\": 3, \"folder\": true}");
    bool folder = true;
    int64_t id;
    ok(artifacts_create(c, &me, &plain, &id, &err) && artifacts_folder(c, 1, plain.digest, &folder, &err));
    assert_false(folder);
    ok(artifacts_create(c, &me, &packed, &id, &err) && artifacts_folder(c, 1, plain.digest, &folder, &err));
    assert_true(folder);
    ok(artifacts_folder(c, 2, plain.digest, &folder, &err));
    assert_false(folder); /* another project's word is not ours */
}

static void answers_are_given_again(void **state)
{
    (void)state;
    struct stored_answer answer = {201, STR("/api/v1/runs/1"), STR("{\"id\": 1}")}, got;
    bool found = true;
    ok(conn_begin(c, &err) && idempotency_begin(c, &me, STR("k"), STR("h"), &t.arena, &found, &got, &err));
    assert_false(found);
    ok(idempotency_store(c, &me, STR("k"), STR("h"), &answer, &err) && conn_commit(c, &err));
    ok(idempotency_begin(c, &me, STR("k"), STR("h"), &t.arena, &found, &got, &err));
    assert_true(found && got.status == 201 && str_is(got.location, "/api/v1/runs/1") &&
                str_is(got.body, "{\"id\": 1}"));
    refuse(idempotency_begin(c, &me, STR("k"), STR("other"), &t.arena, &found, &got, &err), ERR_CONFLICT);
    struct str value;
    ok(settings_get_or_make(c, STR("id"), STR("first"), &t.arena, &value, &err));
    ok(settings_get_or_make(c, STR("id"), STR("second"), &t.arena, &value, &err));
    assert_true(str_is(value, "first"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(projects_are_found_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(versions_are_made_only_by_change, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_expire, setup, teardown),
        cmocka_unit_test_setup_teardown(uploads_end_as_blobs, setup, teardown),
        cmocka_unit_test_setup_teardown(artifacts_have_lineage, setup, teardown),
        cmocka_unit_test_setup_teardown(metadata_is_searched, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_of_a_folder_are_known, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_are_given_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
