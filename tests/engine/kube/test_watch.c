/* Lists and watches against a scripted server: what is told, and what is asked for, in order. */
#include "engine/kube/watch.h"
#include "tests/engine/kube/rig.h"

#define META(name, uid, version)                                                                                       \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"x\",\"uid\":\"" uid "\",\"resourceVersion\":\"" version "\"" \
    "}}"
#define EVENT(type, name, uid, version) "{\"type\":\"" type "\",\"object\":" META(name, uid, version) "}\n"
#define BOOKMARK(version)                                                                                              \
    "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"
#define ERROR(code, reason)                                                                                            \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":" #code ",\"reason\":\"" reason                      \
    "\",\"message\":\"so it is\"}}\n"
#define LIST(version, more, items)                                                                                     \
    "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"" version "\"" more "},\"items\":[" items "]}"
#define MORE(token) ",\"continue\":\"" token "\""
#define NONE LIST("7", "", "")
#define EXPIRED "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}"

/* What was told, as a line: +a present, -a deleted, | synced, !403 trouble, . well again. */
struct log {
    char text[512];
    struct kube_watch *watch;
    char close_at; /* closed by the callback that tells this */
};

static void note(struct log *l, const char *text)
{
    snprintf(l->text + strlen(l->text), sizeof l->text - strlen(l->text), "%s", text);
    if (text[0] != l->close_at || l->watch == NULL) return;
    kube_watch_close(l->watch);
    l->watch = NULL;
}

static void on_changed(void *ctx, enum kube_change change, const struct value *object)
{
    struct str name = kube_text(object, "metadata.name"), uid = kube_text(object, "metadata.uid");
    char text[128];
    snprintf(text, sizeof text, "%c%.*s%.*s ", change == KUBE_DELETED ? '-' : '+', STR_ARG(name), STR_ARG(uid));
    note(ctx, text);
}

static void on_synced(void *ctx)
{
    note(ctx, "| ");
}

static void on_trouble(void *ctx, const struct kube_answer *a)
{
    char text[32];
    const struct log *l = ctx;
    const char *said = kube_watch_trouble(l->watch);
    assert_true(a != NULL ? said != NULL && str_eq(str_of(said), a->message) : said == NULL);
    snprintf(text, sizeof text, a != NULL ? "!%ld " : ". ", a != NULL ? a->status : 0);
    note(ctx, text);
}

static struct kube_watch_config config_of(struct log *l)
{
    return (struct kube_watch_config){.path = STR("/pods"),
                                      .changed = on_changed,
                                      .synced = on_synced,
                                      .trouble = on_trouble,
                                      .ctx = l,
                                      .timeout_s = 300,
                                      .idle_ms = 300,
                                      .delay_ms = 10,
                                      .delay_max_ms = 20};
}

static void turn_until_text(struct kube_client *c, struct log *l, const char *name, const char *text)
{
    int64_t end = os_mono_us() + 10000000;
    while (strcmp(l->text, text) != 0) {
        struct pollfd p = {.fd = kube_client_fd(c), .events = POLLIN};
        poll(&p, 1, 100);
        kube_client_turn(c);
        if (os_mono_us() > end) fail_msg("%s: told %s\nand not    %s", name, l->text, text);
    }
}

#define W "GET /pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion="
#define L "GET /pods?limit=500"

static void sequences_are_told_and_asked_for(void **state)
{
    static const struct {
        const char *name;
        struct row script[8];
        const char *told, *asked[8];
    } rows[] = {
        {"list and events",
         {{"limit", 200, NULL, .body = LIST("7", "", META("a", "1", "3") "," META("b", "2", "5"))},
          {"watch", 200, NULL,
           .body = EVENT("ADDED", "c", "3", "8") EVENT("MODIFIED", "a", "1", "9") EVENT("DELETED", "b", "2", "10"),
           HELD}},
         "+a1 +b2 | +c3 +a1 -b2 ",
         {L, W "7"}},
        {"goes on from the last version",
         {{"limit", 200, NULL, .body = NONE},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "a", "1", "8") EVENT("DELETED", "a", "1", "9"), CHUNKS},
          {"Version=9", 200, NULL, .body = EVENT("ADDED", "b", "2", "10"), TORN},
          {"Version=10", 200, NULL, .body = EVENT("ADDED", "c", "3", "11"), HELD}},
         "| +a1 -a1 +b2 +c3 ",
         {L, W "7", W "9", W "10"}},
        {"goes on when nothing comes any more",
         {{"limit", 200, NULL, .body = NONE},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "a", "1", "8") "{\"type\":\"ADD", HELD},
          {"Version=8", .how = SILENT},
          {"Version=8", 200, NULL, .body = EVENT("ADDED", "b", "2", "9"), HELD}},
         "| +a1 +b2 ",
         {L, W "7", W "8", W "8"}},
        {"bookmarks move the version",
         {{"limit", 200, NULL, .body = NONE},
          {"Version=7", 200, NULL, .body = BOOKMARK("70"), CHUNKS},
          {"Version=70", 200, NULL, .body = EVENT("ADDED", "a", "1", "71"), HELD}},
         "| +a1 ",
         {L, W "7", W "70"}},
        {"pages",
         {{"limit=500&continue=t%2Fo%2B1", 200, NULL, .body = LIST("7", MORE("t2"), META("b", "2", "2"))},
          {"continue=t2", 200, NULL, .body = LIST("8", "", META("c", "3", "3"))},
          {"limit=500", 200, NULL, .body = LIST("7", MORE("t/o+1"), META("a", "1", "1"))},
          {"watch", 200, NULL, .body = EVENT("ADDED", "d", "4", "9"), HELD}},
         "+a1 +b2 +c3 | +d4 ",
         {L, L "&continue=t%2Fo%2B1", L "&continue=t2", W "8"}},
        {"pages that expire",
         {{"continue=t", 410, NULL, .body = EXPIRED},
          {"limit=500", 200, NULL, .body = LIST("7", MORE("t"), META("a", "1", "1"))},
          {"limit=0", 200, NULL, .body = LIST("9", "", META("b", "2", "2"))},
          {"Version=9", 200, NULL, .body = EVENT("ADDED", "d", "4", "10") ERROR(410, "Gone"), CHUNKS},
          {"limit=500", 200, NULL, .body = LIST("11", "", META("d", "4", "10"))},
          {"Version=11", 200, NULL, .body = EVENT("ADDED", "e", "5", "12"), HELD}},
         "+a1 +b2 -a1 | +d4 +d4 -b2 | +e5 ",
         {L, L "&continue=t", "GET /pods?limit=0", W "9", L, W "11"}}, /* in pages again */
        {"410 as a status",
         {{"limit", 200, NULL, .body = LIST("7", "", META("a", "1", "1") "," META("b", "2", "2"))},
          {"Version=7", 410, NULL, .body = EXPIRED},
          {"limit", 200, NULL, .body = LIST("9", "", META("b", "2", "2") "," META("c", "3", "3"))},
          {"Version=9", 200, NULL, .body = EVENT("ADDED", "d", "4", "10"), HELD}},
         "+a1 +b2 | +b2 +c3 -a1 | +d4 ",
         {L, W "7", L, W "9"}},
        {"410 within the stream",
         {{"limit", 200, NULL, .body = LIST("7", "", META("a", "1", "1"))},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "b", "2", "8") ERROR(410, "Gone"), CHUNKS},
          {"limit", 200, NULL, .body = LIST("9", "", META("c", "3", "3"))},
          {"Version=9", 200, NULL, .body = EVENT("ADDED", "d", "4", "10"), HELD}},
         "+a1 | +b2 +c3 -a1 -b2 | +d4 ",
         {L, W "7", L, W "9"}},
        {"another error within the stream",
         {{"limit", 200, NULL, .body = NONE},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "a", "1", "8") ERROR(500, "InternalError"), HELD},
          {"Version=8", 200, NULL, .body = EVENT("ADDED", "b", "2", "9"), HELD}},
         "| +a1 +b2 ",
         {L, W "7", W "8"}},
        {"the same name by another uid",
         {{"limit", 200, NULL, .body = LIST("7", "", META("a", "1", "1"))},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "a", "2", "8") EVENT("DELETED", "a", "1", "8"), CHUNKS},
          {"Version=8", 200, NULL, .body = EVENT("DELETED", "a", "2", "9"), HELD}},
         "+a1 | -a1 +a2 -a1 -a2 ",
         {L, W "7", W "8"}},
        {"who is deleted is forgotten, and not who has the name since",
         {{"limit", 200, NULL, .body = LIST("7", "", META("a", "1", "1"))},
          {"Version=7", 200, NULL,
           .body = EVENT("ADDED", "a", "2", "8") EVENT("DELETED", "a", "1", "9") EVENT("ADDED", "b", "3", "10")
               EVENT("DELETED", "b", "3", "11") ERROR(410, "Gone"),
           CHUNKS},
          {"limit", 200, NULL, .body = LIST("12", "", "")},
          {"Version=12", 200, NULL, .body = EVENT("ADDED", "d", "4", "13"), HELD}},
         "+a1 | -a1 +a2 -a1 +b3 -b3 -a2 | +d4 ",
         {L, W "7", L, W "12"}},
        {"an event twice",
         {{"limit", 200, NULL, .body = NONE},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), TORN},
          {"Version=8", 200, NULL, .body = EVENT("ADDED", "a", "1", "8") EVENT("DELETED", "a", "1", "9"), HELD}},
         "| +a1 +a1 -a1 ",
         {L, W "7", W "8"}},
        {"broken JSON, and unknown kinds of events",
         {{"limit", 200, NULL, .body = NONE},
          {"Version=7", 200, NULL, .body = EVENT("SURPRISE", "a", "1", "8") "{\"type\": what\n", HELD},
          {"limit", 200, NULL, .body = LIST("9", "", META("b", "2", "2"))},
          {"Version=9", 200, NULL, .body = EVENT("ADDED", "c", "3", "10"), HELD}},
         "| !200 +b2 | . +c3 ",
         {L, W "7", L, W "9"}},
        {"a NUL in what a step said",
         {{"limit", 200, NULL, .body = NONE},
          {"watch", 200, NULL,
           .body = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"uid\":\"1\","
                   "\"resourceVersion\":\"8\"},\"status\":\"x\\u0000y\\\\u0000\"}}\n",
           HELD}},
         "| +a1 ",
         {L, W "7"}},
        {"forbidden is told once, and its end",
         {{"limit", 403, NULL, .body = "", .times = 3},
          {"limit", 200, NULL, .body = NONE},
          {"watch", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), HELD}},
         "!403 . | +a1 ",
         {L, L, L, L, W "7"}},
        {"watching forbidden, listing not",
         {{"watch", 403, NULL, .body = "", .times = 2},
          {"limit", 200, NULL, .body = NONE, .times = -1},
          {"watch", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), HELD}},
         "| !403 | | . +a1 ",
         {L, W "7", L, W "7", L, W "7"}},
        {"however long it is told to wait",
         {{"limit", 403, "Retry-After: 86400\r\n", .body = ""},
          {"limit", 200, NULL, .body = NONE},
          {"watch", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), HELD}},
         "!403 . | +a1 ",
         {L, L, W "7"}},
        {"an event without a version",
         {{"limit", 200, NULL, .body = NONE},
          {"Version=7", 200, NULL,
           .body = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"uid\":\"1\"}}}\n", CHUNKS},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "b", "2", "8"), HELD}},
         "| +a1 +b2 ",
         {L, W "7", W "7"}},
        {"what passes is told when it stays",
         {{"limit", 500, NULL, .body = "", .times = 2},
          {"limit", 200, NULL, .body = NONE},
          {"watch", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), HELD}},
         "!500 . | +a1 ",
         {L, L, L, W "7"}},
        {"once is not told",
         {{"limit", 500, NULL, .body = ""},
          {"limit", 200, NULL, .body = NONE},
          {"Version=7", .how = DROPPED},
          {"Version=7", 429, NULL, .body = ""},
          {"Version=7", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), HELD}},
         "| !429 . +a1 ",
         {L, L, W "7", W "7", W "7"}},
        {"no list",
         {{"limit", 200, NULL, .body = "<html>"},
          {"limit", 200, NULL, .body = "{\"items\":[]}"},
          {"limit", 200, NULL, .body = LIST("7", "", META("b", "2", "5") "," META("", "3", "6"))},
          {"limit", 200, NULL, .body = NONE},
          {"watch", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), HELD}},
         "!200 . | +a1 ",
         {L, L, L, L, W "7"}},
    };
    (void)state;
    EACH(r, rows)
    {
        struct row script[9] = {{0}};
        memcpy(script, rows[r].script, sizeof rows[r].script);
        server_start(script);
        struct kube_access access = access_of_server();
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
        struct log l = {0};
        struct kube_watch_config config = config_of(&l);
        struct err err;
        if (!kube_watch_open(c, &config, &l.watch, &err)) fail_msg("%s", err.message);
        assert_false(kube_watch_synced(l.watch));
        turn_until_text(c, &l, rows[r].name, rows[r].told);
        assert_true(kube_watch_synced(l.watch));
        kube_watch_close(l.watch);
        kube_client_close(c);
        server_stop();
        for (size_t i = 0; i < 8 && rows[r].asked[i]; i++)
            if (strcmp(rows[r].asked[i], server.got[i].line) != 0)
                fail_msg("%s: asked for %s\nand not   %s", rows[r].name, server.got[i].line, rows[r].asked[i]);
    }
}

static void a_selector_is_escaped(void **state)
{
    static const struct row script[] = {
        {"limit", 200, NULL, .body = NONE}, {"watch", 200, NULL, .body = EVENT("ADDED", "a", "1", "8"), HELD}, {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct log l = {0};
    struct kube_watch_config config = config_of(&l);
    struct err err;
    config.path = STR("/pods?fieldSelector=a%3Db");
    config.selector = STR("millrace.dev/run in (1,2)");
    assert_true(kube_watch_open(c, &config, &l.watch, &err));
    turn_until_text(c, &l, "selector", "| +a1 ");
    assert_string_equal(server.got[0].line,
                        "GET /pods?fieldSelector=a%3Db&labelSelector=millrace.dev%2Frun%20in%20%281%2C2%29&limit=500");
    kube_watch_close(l.watch);
    config.path = STR("pods");
    assert_false(kube_watch_open(c, &config, &l.watch, &err));
    assert_string_equal(err.message, "'pods' is no path to watch");
    kube_client_close(c);
    server_stop();
}

static void it_may_be_closed_by_its_callbacks(void **state)
{
    static const struct row script[] = {{"limit=500&", 200, NULL, .body = LIST("7", "", META("b", "2", "2"))},
                                        {"limit=500", 200, NULL, .body = LIST("7", MORE("t"), META("a", "1", "1"))},
                                        {"Version=7", 410, NULL, .body = EXPIRED},
                                        {"limit=500", 200, NULL, .body = LIST("9", "", META("b", "2", "2"))},
                                        {"Version=9", 403, NULL, .body = ""},
                                        {0}};
    static const struct {
        char at;
        const char *text;
    } rows[] = {{'+', "+a1 "}, {'|', "+a1 +b2 | "}, {'-', "+a1 +b2 | +b2 -a1 "}, {'!', "+a1 +b2 | +b2 -a1 | !403 "}};
    (void)state;
    EACH(r, rows)
    {
        server_start(script);
        struct kube_access access = access_of_server();
        struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
        struct log l = {.close_at = rows[r].at};
        struct kube_watch_config config = config_of(&l);
        struct err err;
        assert_true(kube_watch_open(c, &config, &l.watch, &err));
        turn_until_text(c, &l, "closing", rows[r].text);
        assert_null(l.watch);
        assert_int_equal(kube_client_statistics(c)->streaming, 0);
        assert_int_equal(kube_client_statistics(c)->running + kube_client_statistics(c)->waiting, 0);
        kube_client_close(c);
        server_stop();
    }
}

/* In the middle of a stream's events, too. */
static void it_may_be_closed_between_events(void **state)
{
    static const struct row script[] = {
        {"limit", 200, NULL, .body = NONE},
        {"watch", 200, NULL,
         .body = EVENT("DELETED", "a", "1", "8") EVENT("ADDED", "b", "2", "9") EVENT("ADDED", "c", "3", "10"), HELD},
        {0}};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct log l = {.close_at = '+'};
    struct kube_watch_config config = config_of(&l);
    struct err err;
    assert_true(kube_watch_open(c, &config, &l.watch, &err));
    turn_until_text(c, &l, "closing", "| -a1 +b2 ");
    for (int i = 0; i < 10; i++)
        kube_client_turn(c);
    assert_string_equal(l.text, "| -a1 +b2 ");
    assert_int_equal(kube_client_statistics(c)->streaming, 0);
    kube_client_close(c);
    server_stop();
}

/* A proxy may end each at once. */
static void empty_watches_do_not_spin(void **state)
{
    static const struct row script[] = {{"limit", 200, NULL, .body = NONE},
                                        {"watch", 200, NULL, .body = "", .times = -1},
                                        {"/x", 200, NULL, .body = "", .times = -1},
                                        {0}};
    struct told t = {0};
    (void)state;
    server_start(script);
    struct kube_access access = access_of_server();
    struct kube_client *c = open_client(&(struct kube_client_config){.access = &access});
    struct log l = {0};
    struct kube_watch_config config = config_of(&l);
    struct err err;
    config.delay_ms = config.delay_max_ms = 60000;
    assert_true(kube_watch_open(c, &config, &l.watch, &err));
    const struct kube_client_stats *stats = kube_client_statistics(c);
    for (; stats->streams == 0 || (stats->streams == 1 && stats->streaming > 0); usleep(1000))
        kube_client_turn(c);
    kube_request(c, &(struct kube_request){.method = "GET", .path = STR("/x"), .done = on_told, .ctx = &t});
    turn_until(c, &t.done); /* by when another watch would be there */
    assert_int_equal(stats->streams, 1);
    kube_watch_close(l.watch);
    kube_client_close(c);
    server_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_are_told_and_asked_for), cmocka_unit_test(a_selector_is_escaped),
        cmocka_unit_test(empty_watches_do_not_spin),        cmocka_unit_test(it_may_be_closed_by_its_callbacks),
        cmocka_unit_test(it_may_be_closed_between_events),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
