/* Flavors and queues in the database: all of a file or none, what uses them, and what people are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/store/placing.h"
#include "engine/store/queue_setup.h"
#include "engine/store/queues.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"
#include "tests/support/db.h"

static struct support_db db;
static struct err_list errors;

static int setup(void **state)
{
    (void)state;
    return support_db_open(&db);
}

static int teardown(void **state)
{
    (void)state;
    return support_db_close(&db);
}

#define HEAD "apiVersion: millrace/v1\n"
#define H100 HEAD "kind: Flavor\nname: h100\nresource: nvidia.com/gpu\nnodes: {product: h100}\n"

/* One letter a document: c created, u updated, - unchanged; ! refused. */
static void apply(const char *text, bool dry, const char *want)
{
    struct queue_docs docs;
    struct value *values;
    size_t n;
    struct err err = {0};
    char got[16] = "!";
    err_list_init(&errors, &db.arena);
    CONN_AUTO c = NULL;
    assert_true(db_lease(db.db, &c, &err));
    assert_true(yaml_parse(&db.arena, str_of(text), NULL, &values, &n, &errors));
    if (!queue_docs_read(&db.arena, values, n, &docs, &errors)) fail_msg("%s", errors.items[0].message);
    struct queue_applied *done = arena_array(&db.arena, struct queue_applied, n);
    if (queues_apply(c, &docs, STR("me"), dry, done, &errors, &err))
        for (size_t i = 0; i < n; i++) {
            got[i] = "-cu"[done[i].change];
            got[i + 1] = '\0';
        }
    if (strcmp(got, want) != 0) fail_msg("%s, not %s: %s", got, want, err.message);
}

static void test_apply(void **state)
{
    (void)state;
    apply(H100 "---\n" HEAD "kind: Queue\nname: q\nquota: {h100: 1}\n", true, "cc");
    assert_int_equal(support_number(&db, "SELECT count(*) FROM flavors"), 0);
    int64_t before = support_number(&db, "SELECT n FROM queue_changes");
    apply(HEAD "kind: Queue\nname: q\nquota: {h100: 1}\n", false, "!");
    assert_int_equal(errors.n, 1);
    assert_string_equal(errors.items[0].path, "quota.h100");
    assert_int_equal(support_number(&db, "SELECT count(*) FROM queues"), 0);
    assert_int_equal(support_number(&db, "SELECT n FROM queue_changes"), before);
    apply(HEAD "kind: Queue\nname: q\nquota: {h100: 1}\n---\n" H100, false, "cc"); /* in any order */
    assert_true(support_number(&db, "SELECT n FROM queue_changes") > before);
    before = support_number(&db, "SELECT n FROM queue_changes");
    apply(H100, false, "-");
    assert_int_equal(support_number(&db, "SELECT n FROM queue_changes"), before);
    apply(H100 "---\n" HEAD "kind: Queue\nname: q\nquota: {h100: 2}\n", false, "-u");
    assert_int_equal(support_number(&db, "SELECT n FROM queue_changes"), before + 1);
    apply(HEAD "kind: Queue\nname: r\nquota: {h100: 2, cpu: 4}\n", false, "c"); /* of what is there already */
}

static void test_the_flavor_of_those_who_declare_none(void **state)
{
    (void)state;
    const char *gpu = HEAD "kind: Queue\nname: q\nquota: {gpu: 3}\n";
    apply(gpu, false, "c");
    apply(H100, false, "!"); /* then q would have a quota of nothing */
    assert_int_equal(errors.n, 1);
    assert_non_null(strstr(errors.items[0].message, "queue 'q' has a quota of 'gpu'"));
    assert_int_equal(errors.items[0].at.line, 3);
    apply(H100, true, "!");
    apply(H100 "---\n" HEAD "kind: Queue\nname: q\nquota: {gpu: 3}\n", false, "!");
    assert_string_equal(errors.items[0].path, "quota.gpu");
    apply(H100 "---\n" HEAD "kind: Flavor\nname: gpu\nresource: nvidia.com/gpu\n", true, "cc");
    apply(H100 "---\n" HEAD "kind: Queue\nname: q\nquota: {h100: 3}\n", false, "cu");
    apply(gpu, false, "!");
    assert_string_equal(errors.items[0].path, "quota.gpu");
    assert_true(support_sql(&db, "DELETE FROM queues") && support_sql(&db, "DELETE FROM flavors"));
}

static void refuses(enum queue_kind kind, const char *name, enum err_code want)
{
    struct err err = {0};
    CONN_AUTO c = NULL;
    assert_true(db_lease(db.db, &c, &err));
    bool ok = queues_delete(c, kind, str_of(name), &err);
    if (ok != (want == ERR_NONE) || err.code != want) fail_msg("%s: %s %s", name, err_name(err.code), err.message);
}

static void work(int run, const char *queue, const char *got, int state, int priority)
{
    char text[1000];
    snprintf(
        text, sizeof text,
        "INSERT INTO queue_work (run_id, task, attempt, project_id, created_by, shard, domain, path, queue, flavor,"
        " gpu, pods, cpu, memory, priority, submitted_at, state, got, waiting)"
        " VALUES (%d, 0, 1, 1, 'me', 3, 'd', 'train', '%s', '', 2000, 2, 500, 1024, %d, now(), %d, nullif('%s', ''),"
        " 'why')",
        run, queue, priority, state, got);
    assert_true(support_sql(&db, text));
}

static void test_delete(void **state)
{
    (void)state;
    apply(H100 "---\n" HEAD "kind: Queue\nname: q\nquota: {h100: 1}\n", false, "cc");
    refuses(QUEUE_KIND_FLAVOR, "h100", ERR_CONFLICT); /* q has a quota of it */
    refuses(QUEUE_KIND_QUEUE, "r", ERR_NOT_FOUND);
    work(1, "q", "h100", QUEUE_ADMITTED, 0);
    refuses(QUEUE_KIND_QUEUE, "q", ERR_CONFLICT);
    assert_true(support_sql(&db, "UPDATE queue_work SET queue = 'other'"));
    refuses(QUEUE_KIND_QUEUE, "q", ERR_NONE);
    refuses(QUEUE_KIND_FLAVOR, "h100", ERR_CONFLICT); /* somebody runs on it */
    assert_true(support_sql(&db, "UPDATE queue_work SET state = 1, got = NULL, flavor = 'h100'"));
    refuses(QUEUE_KIND_FLAVOR, "h100", ERR_CONFLICT); /* somebody waits for it */
    assert_true(support_sql(&db, "UPDATE queue_work SET state = 4"));
    refuses(QUEUE_KIND_FLAVOR, "h100", ERR_NONE);
}

enum word { HEARD, ADMIT, PREEMPT, MOVED, WHY, OVER, WORDS };

/* Says it of the only row, and looks whether that has changed anything. */
static bool changes(struct conn *c, const struct placing_lease *lease, enum word word, int32_t attempt, int32_t state)
{
    struct err err = {0};
    int64_t id = support_number(&db, "SELECT id FROM queue_work"), run = 1, task = 0, of = attempt;
    struct placing_heard heard = {id, attempt, state};
    struct placing_admit admit = {id, attempt, STR("h100"), STR("{}"), STR("{n}"), false};
    struct placing_victim victim = {id, 9, attempt, STR("another"), false};
    struct placing_moved moved = {id, attempt, STR("{n}"), false};
    struct placing_why why = {id, attempt, STR("WaitingForNodes"), STR("{}"), STR("why"), false};
    const struct placing_answers answers = {&heard,        &admit,        &victim,         &why,        &moved,
                                            word == HEARD, word == ADMIT, word == PREEMPT, word == WHY, word == MOVED};
    struct params p;
    params_init(&p, &db.arena);
    params_ints(&p, &run, 1);
    params_ints(&p, &task, 1);
    params_ints(&p, &of, 1);
    bool said = word == OVER ? conn_exec(c, Q_HOT_QUEUE_OVER, &p, NULL, &err)
                             : placing_write(c, lease, &answers, &db.arena, &err);
    if (!said) fail_msg("%s", err.message);
    if (word == HEARD) return support_number(&db, "SELECT count(*) FROM queue_work WHERE news") == 0;
    if (word == OVER) return support_number(&db, "SELECT count(*) FROM queue_work WHERE state = 4") == 1;
    return admit.won || victim.won || moved.won || why.won;
}

/* What is said of an attempt that is past, or as it was before it went on, changes nothing. */
static void test_late_words(void **state)
{
    (void)state;
    struct placing_lease lease = {.domain = STR("d")};
    struct err err = {0};
    CONN_AUTO c = NULL;
    assert_true(db_lease(db.db, &c, &err) && placing_lease(c, &lease, STR("me"), 0, &err));
    for (int is = QUEUE_WAITS; is <= QUEUE_OVER; is++)
        for (int32_t i = 0; i < WORDS * 2 * QUEUE_OVER; i++) {
            enum word word = (enum word)(i % WORDS);
            int32_t attempt = 1 + i / WORDS % 2, was = 1 + i / WORDS / 2;
            const bool right[WORDS] = {[HEARD] = was == is,
                                       [ADMIT] = is == QUEUE_WAITS,
                                       [PREEMPT] = is == QUEUE_ADMITTED,
                                       [MOVED] = is == QUEUE_ADMITTED || is == QUEUE_STOPS,
                                       [WHY] = is == QUEUE_WAITS,
                                       [OVER] = true};
            if (word == OVER && is == QUEUE_OVER) continue;
            assert_true(support_sql(&db, "DELETE FROM queue_work"));
            work(1, "q", "", is, 0);
            assert_true(support_sql(&db, "UPDATE queue_work SET attempt = 2"));
            if (changes(c, &lease, word, attempt, was) != (attempt == 2 && right[word]))
                fail_msg("word %d of attempt %d, as in state %d, in state %d", word, attempt, was, is);
            int64_t left = word == HEARD && attempt == 2 && was == is && is == QUEUE_OVER ? 0 : 1;
            assert_int_equal(support_number(&db, "SELECT count(*) FROM queue_work"), left);
        }
}

/* Who sees only their own project's steps still hears their true places. */
static void test_places_among_all(void **state)
{
    (void)state;
    struct err err = {0};
    struct queue_work *works;
    struct queue_wait *waits;
    size_t n;
    assert_true(support_sql(&db, "INSERT INTO projects (name, created_by) VALUES ('side', 'me')"));
    for (int run = 1; run <= 6; run++)
        work(run, run == 6 ? "r" : "q", "", QUEUE_WAITS, run == 5 ? 9 : -run);
    work(7, "q", "h100", QUEUE_ADMITTED, 0);
    assert_true(support_sql(&db, "UPDATE queue_work SET project_id = (SELECT id FROM projects WHERE name = 'side')"
                                 " WHERE run_id IN (3, 7);"
                                 "UPDATE queue_work SET run_id = 10, task = run_id WHERE run_id IN (2, 4, 5, 6)"));
    int64_t side = support_number(&db, "SELECT id FROM projects WHERE name = 'side'");
    CONN_AUTO c = NULL;
    assert_true(db_lease(db.db, &c, &err));
    assert_true(queues_works(c, STR("q"), side, 10, &db.arena, &works, &n, &err));
    assert_int_equal(n, 2);
    assert_true(works[1].run_id == 3 && works[1].position == 4 && works[1].of == 5); /* after 5, 1, 2 */
    assert_true(queues_holders(c, &db.arena, &works, &n, &err));
    assert_true(n == 1 && works[0].run_id == 7 && works[0].project_id == side);
    assert_true(queues_waiting_of_run(c, 10, 10, &db.arena, &waits, &n, &err));
    assert_int_equal(n, 4);
    static const char *const places[] = {"3 of 5", "5 of 5", "1 of 5", "1 of 1"};
    for (size_t i = 0; i < n; i++) {
        char want[40];
        snprintf(want, sizeof want, "why; position %s", places[i]);
        if (!str_is(waits[i].text, want)) fail_msg("%d: %.*s", waits[i].task, STR_ARG(waits[i].text));
    }
}

static void test_shown(void **state)
{
    (void)state;
    struct err err = {0};
    struct queue_use *uses;
    struct queue_work *works;
    struct queue_wait *waits;
    size_t n;
    work(1, "q", "h100", QUEUE_ADMITTED, 0);
    work(2, "q", "h100", QUEUE_STOPS, 0);
    work(3, "q", "", QUEUE_WAITS, 1);
    work(4, "q", "", QUEUE_WAITS, 9);
    work(5, "q", "", QUEUE_OVER, 9);
    work(6, "r", "", QUEUE_WAITS, 0);
    CONN_AUTO c = NULL;
    assert_true(db_lease(db.db, &c, &err));
    assert_true(queues_usage(c, &db.arena, &uses, &n, &err));
    assert_int_equal(n, 3); /* q without a flavor, q on h100, r */
    assert_int_equal(uses[0].waiting, 2);
    assert_int_equal(uses[1].running, 2);
    assert_int_equal(uses[1].gpu, 8000);
    assert_int_equal(uses[1].cpu, 2000);
    assert_int_equal(uses[1].memory, 4096);
    assert_true(queues_works(c, STR("q"), 0, 10, &db.arena, &works, &n, &err));
    assert_int_equal(n, 4);
    assert_true(works[2].run_id == 4 && works[2].position == 1 && works[2].of == 2); /* the more important first */
    assert_true(works[3].run_id == 3 && works[3].position == 2);
    assert_true(queues_works(c, STR("q"), 77, 10, &db.arena, &works, &n, &err));
    assert_int_equal(n, 0); /* of another project */
    assert_true(support_sql(&db, "UPDATE queue_work SET pin = '{\"kueue\": \"team-a\"}' WHERE run_id IN (1, 2)"));
    assert_true(queues_usage(c, &db.arena, &uses, &n, &err));
    assert_true(uses[1].handed == 1 && uses[1].running == 1); /* who is told to stop has been there */
    assert_true(queues_works(c, STR("q"), 0, 10, &db.arena, &works, &n, &err));
    assert_true(works[1].run_id == 1 && works[1].handed && works[0].run_id == 2 && !works[0].handed);
    assert_true(queues_waiting_of_run(c, 3, 10, &db.arena, &waits, &n, &err));
    assert_int_equal(n, 1);
    assert_true(str_is(waits[0].text, "why; position 2 of 2"));
}

/* Wishes against what is declared. */
static void test_wishes(void **state)
{
    (void)state;
    static const struct {
        const char *queue, *flavor, *said; /* said NULL = the flavors that will do */
        uint32_t gpu;
        size_t n;
        const char *first;
    } rows[] = {
        {"q", "", NULL, 1000, 2, "t4"}, /* the least dear first */
        {"q", "h100", NULL, 1000, 1, "h100"},
        {"q", "", NULL, 500, 1, "t4"}, /* of the shared ones */
        {"r", "", NULL, 1000, 1, "h100"},
        {"r", "", "queue 'r' offers no shared GPUs", 500, 0, NULL},
        {"default", "", NULL, 1000, 2, "t4"},
        {"defualt", "", "there is no queue 'defualt'", 1000, 0, NULL},
        {"q", "a100", "there is no flavor 'a100'", 1000, 0, NULL},
        {"cores", "", "queue 'cores' offers no GPUs", 1000, 0, NULL},
        {"cores", "", NULL, 0, 0, NULL},
        {"q", "h100", "flavor 'h100' is not shared, a step cannot have a part of such a GPU", 500, 0, NULL},
        {"q", "t4", NULL, 500, 1, "t4"},
    };
    struct err err = {0};
    struct queue_docs docs;
    struct queue_setup s;
    apply(H100 "weight: 4\n---\n" HEAD "kind: Flavor\nname: t4\nresource: nvidia.com/gpu.shared\nshared: 4\n---\n" HEAD
               "kind: Queue\nname: q\nquota: {h100: 1, t4: 9}\n---\n" HEAD
               "kind: Queue\nname: r\nquota: {h100: 1}\n---\n" HEAD "kind: Queue\nname: cores\nquota: {cpu: 4}\n",
          false, "ccccc");
    CONN_AUTO c = NULL;
    assert_true(db_lease(db.db, &c, &err));
    assert_true(queues_docs(c, &db.arena, &docs, &err));
    assert_true(queue_setup_open(&s, &db.arena, &docs, &err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct queue_ask ask = {
            .queue = str_of(rows[i].queue), .flavor = str_of(rows[i].flavor), .gpu = rows[i].gpu, .pods = 1};
        struct place_ask out = {0};
        bool ok = queue_setup_ask(&s, &ask, &db.arena, &out, &err);
        if (ok != (rows[i].said == NULL)) fail_msg("row %zu: %s", i, err.message);
        if (!ok) assert_string_equal(err.message, rows[i].said);
        if (!ok && strstr(rows[i].said, "no flavor"))
            assert_string_equal(err.hint, "did you mean 'h100'? There are: h100, t4");
        if (!ok) continue;
        assert_int_equal(out.n_flavors, rows[i].n);
        if (rows[i].first) assert_true(str_is(s.flavors[out.flavors[0]].name, rows[i].first));
    }
    static const uint32_t parts[][2] = {{1, 250}, {200, 250}, {250, 250}, {400, 500}, {751, 1000}, {2000, 2000}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) { /* quarters, where those are counted */
        struct queue_ask ask = {.queue = STR("q"), .flavor = STR("t4"), .gpu = parts[i][0], .pods = 1};
        struct place_ask out = {0};
        assert_true(queue_setup_ask(&s, &ask, &db.arena, &out, &err));
        assert_int_equal(out.gpu, parts[i][0]);
        ask.whole_parts = true;
        assert_true(queue_setup_ask(&s, &ask, &db.arena, &out, &err));
        assert_int_equal(out.gpu, parts[i][1]);
    }
    struct value selector, tolerations;
    assert_true(json_decode(&db.arena, STR("{\"disk\": \"ssd\", \"zone\": \"b\"}"), &selector, &err));
    assert_true(json_decode(&db.arena,
                            STR("[{\"key\": \"k\", \"value\": \"v\", \"effect\": \"NoSchedule\"},"
                                " {\"operator\": \"Exists\"}]"),
                            &tolerations, &err));
    const struct queue_ask with = {
        .queue = STR("cores"), .pods = 1, .selector = &selector, .tolerations = &tolerations};
    struct place_ask asked = {0};
    assert_true(queue_setup_ask(&s, &with, &db.arena, &asked, &err));
    assert_int_equal(asked.n_selector, 2);
    assert_true(str_is(asked.selector[1].key, "zone") && str_is(asked.selector[1].value, "b"));
    assert_int_equal(asked.n_tolerates, 2);
    assert_true(str_is(asked.tolerates[0].key, "k") && str_is(asked.tolerates[0].value, "=v"));
    assert_true(asked.tolerates[1].key.n == 0 && asked.tolerates[1].value.n == 0);
    /* GPUs that are offered as several are whole ones again. */
    const struct place_devices shared = {.name = STR("nvidia.com/gpu.shared"), .n = 8, .taken = 3};
    const struct queue_node node = {.name = STR("n"), .devices = &shared, .n_devices = 1};
    struct place_offer offers[2];
    assert_int_equal(queue_setup_offers(&s, &node, offers), 1);
    assert_true(offers[0].gpus == 2 && offers[0].taken == 1);
    queue_setup_close(&s);
}

/* Neither a step nor a node has more flavors than the rules can take, and nobody is left out in silence. */
static void test_many_flavors(void **state)
{
    (void)state;
    struct err err = {0};
    struct queue_docs docs;
    struct queue_setup s;
    struct place_ask out = {0};
    uint32_t number;
    for (int i = 0; i <= PLACE_CHOICES; i++) {
        struct str text = arena_printf(&db.arena, HEAD "kind: Flavor\nname: f%d\nresource: vendor.com/gpu%d\n", i, i);
        apply(text.p, false, "c");
    }
    CONN_AUTO c = NULL;
    assert_true(db_lease(db.db, &c, &err));
    assert_true(queues_docs(c, &db.arena, &docs, &err));
    assert_true(queue_setup_open(&s, &db.arena, &docs, &err));
    struct queue_ask ask = {.queue = STR("default"), .gpu = 1000, .pods = 1};
    assert_false(queue_setup_ask(&s, &ask, &db.arena, &out, &err));
    assert_string_equal(err.message, "queue 'default' offers 17 flavors, a step can choose from 16");
    ask.flavor = STR("f16");
    assert_true(queue_setup_ask(&s, &ask, &db.arena, &out, &err));
    struct place_devices devices[PLACE_CHOICES + 1];
    for (int i = 0; i <= PLACE_CHOICES; i++)
        devices[i] = (struct place_devices){.name = arena_printf(&db.arena, "vendor.com/gpu%d", i), .n = 1};
    struct queue_node node = {.name = STR("n"), .devices = devices, .n_devices = PLACE_CHOICES + 1};
    assert_false(queue_setup_node(&s, &node, &db.arena, &number, &err));
    assert_string_equal(err.message, "node n has GPUs of 17 flavors, more than 16");
    node.n_devices--;
    assert_true(queue_setup_node(&s, &node, &db.arena, &number, &err));
    queue_setup_close(&s);
}

/* A machine's GPUs may be of several kinds, each with labels of its own; and one counts once. */
static void test_a_machine_is_a_node(void **state)
{
    (void)state;
    static const struct {
        const char *flavors, *offers; /* name×GPUs-taken, special flavors first */
    } rows[] = {
        {"kind: Queue\nname: q\n", "gpu×4-2"}, /* what there is where no flavor is declared */
        {"kind: Flavor\nname: a\nresource: nvidia.com/gpu\nnodes: {product: A100}\n", "a×3-1"},
        {"kind: Flavor\nname: a\nresource: nvidia.com/gpu\nnodes: {product: A100}\n---\n" HEAD
         "kind: Flavor\nname: rest\nresource: nvidia.com/gpu\n",
         "a×3-1 rest×1-1"},
        {"kind: Flavor\nname: part\nresource: nvidia.com/mig-1g.5gb\n", "part×7-0"},
        {"kind: Flavor\nname: s\nresource: nvidia.com/gpu.shared\nshared: 4\nnodes: {product: T4}\n", "s×1-1"},
        {"kind: Flavor\nname: s\nresource: nvidia.com/gpu\nshared: 4\n", "s×4-2"}, /* each is one */
        {"kind: Flavor\nname: s\nresource: nvidia.com/gpu.shared\n", ""},
        {"kind: Flavor\nname: here\nresource: nvidia.com/gpu\nnodes: {product: T4, host: there}\n", ""},
    };
    static const char json[] =
        "{\"name\": \"m\", \"schedulable\": true, \"groups\": ["
        "{\"resource\": \"nvidia.com/gpu\", \"n\": 3, \"taken\": 1, \"labels\": [[\"product\", \"A100\"]]},"
        "{\"resource\": \"nvidia.com/gpu\", \"n\": 1, \"taken\": 1, \"labels\": [[\"product\", \"T4\"]]},"
        "{\"resource\": \"nvidia.com/mig-1g.5gb\", \"n\": 7, \"taken\": 0, \"labels\": []}]}";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct value *values, v;
        struct queue_docs docs;
        struct queue_setup s;
        struct queue_node node;
        struct place_offer offers[4];
        size_t n;
        BUF_AUTO got;
        buf_init(&got, 0);
        err_list_init(&errors, &db.arena);
        assert_true(
            yaml_parse(&db.arena, arena_printf(&db.arena, HEAD "%s", rows[i].flavors), NULL, &values, &n, &errors));
        if (!queue_docs_read(&db.arena, values, n, &docs, &errors)) fail_msg("%s", errors.items[0].message);
        assert_true(json_parse(&db.arena, str_of(json), 0, &v, &err) && queue_node_read(&db.arena, &v, &node));
        assert_true(queue_setup_open(&s, &db.arena, &docs, &err));
        n = queue_setup_offers(&s, &node, offers);
        for (size_t k = 0; k < n; k++)
            buf_printf(&got, "%s%.*s×%u-%u", k > 0 ? " " : "", STR_ARG(s.flavors[offers[k].flavor].name),
                       offers[k].gpus, offers[k].taken);
        if (!str_is(buf_view(&got), rows[i].offers)) fail_msg("row %zu: %.*s", i, STR_ARG(buf_view(&got)));
        queue_setup_close(&s);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(apply),
                                       TEST(the_flavor_of_those_who_declare_none),
                                       TEST(delete),
                                       TEST(late_words),
                                       TEST(shown),
                                       TEST(places_among_all),
                                       TEST(wishes),
                                       TEST(many_flavors),
                                       TEST(a_machine_is_a_node)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
