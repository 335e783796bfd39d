/* The parts of the client that need no server: event streams in pieces, problems, paths; and completion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/completion.h"

/* ---- event streams ---- */

struct heard {
    struct buf text;
    int stop_after; /* < 0 = never */
};

static bool hear(void *ctx, const struct client_event *event)
{
    struct heard *h = ctx;
    const struct value *n = value_get(&event->value, "n");
    buf_printf(&h->text, "[%.*s|%.*s|%.*s%s]", STR_ARG(event->id), STR_ARG(event->kind), STR_ARG(event->data),
               n ? "|json" : "");
    return h->stop_after < 0 || h->stop_after-- > 0;
}

static const struct {
    const char *name, *stream, *heard;
} streams[] = {
    {"one event", "data: a\n\n", "[|message|a]"},
    {"id and kind", "id: 7\nevent: task.started\ndata: {\"n\":1}\n\n", "[7|task.started|{\"n\":1}|json]"},
    {"the id stays, the kind does not", "id:7\nevent:x\ndata:1\n\ndata:2\n\n", "[7|x|1][7|message|2]"},
    {"several lines of data", "data: a\ndata:\ndata: b\n\n", "[|message|a\n\nb]"},
    {"carriage returns", "data: a\r\n\r\ndata: b\r\rdata: c\n\n", "[|message|a][|message|b][|message|c]"},
    {"heartbeats and unknown fields", ": beat\n\nretry: 3\nfoo\ndata: x\n: y\n\n", "[|message|x]"},
    {"no data, no event", "event: x\n\nid: 1\n\ndata: 2\n\n", "[1|message|2]"},
    {"byte order mark",
     "\xEF\xBB\xBF"
     "data: a\n\n",
     "[|message|a]"},
    {"only one space goes", "data:  a\n\n", "[|message| a]"},
    {"cut off at the end", "data: a\n\ndata: b", "[|message|a]"},
    {"broken json is text", "data: {\"n\"\n\n", "[|message|{\"n\"]"},
};

/* However the bytes are cut into pieces, the same events come out. */
static void streams_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        size_t n = strlen(streams[i].stream);
        for (size_t size = 1; size <= n; size++) {
            struct heard h = {.stop_after = -1};
            struct sse sse;
            buf_init(&h.text, 0);
            sse_init(&sse, hear, &h);
            for (size_t at = 0; at < n; at += size)
                assert_true(sse_feed(&sse, streams[i].stream + at, at + size > n ? n - at : size));
            bool same = h.text.p && strcmp(h.text.p, streams[i].heard) == 0;
            if (!same) print_error("%s in pieces of %zu: %s\n", streams[i].name, size, h.text.p);
            sse_free(&sse);
            buf_free(&h.text);
            assert_true(same);
        }
    }
}

static void a_stream_is_stopped_and_resumed(void **state)
{
    static const char first[] = "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n";
    struct heard h = {.stop_after = 1};
    struct sse sse;
    (void)state;
    buf_init(&h.text, 0);
    sse_init(&sse, hear, &h);
    assert_false(sse_feed(&sse, first, strlen(first)));
    assert_string_equal(h.text.p, "[1|message|a][2|message|b]");
    assert_true(sse_feed(&sse, "id: 9\ndata: half", 16));
    sse_reset(&sse); /* what was cut off is forgotten, where we were is not */
    assert_string_equal(sse.id.p, "2");
    h.stop_after = -1;
    assert_true(sse_feed(&sse, "data: d\n\n", 9));
    assert_string_equal(h.text.p, "[1|message|a][2|message|b][2|message|d]");
    sse_free(&sse);
    buf_free(&h.text);
}

/* ---- problems ---- */

static void problems(void **state)
{
    static const struct {
        const char *name;
        int status;
        const char *body;
        enum err_code code;
        const char *message, *path, *hint;
        uint32_t line;
        size_t n, total;
    } rows[] = {
        {"all of it", 422,
         "{\"code\":\"invalid\",\"detail\":\"no such "
         "step\",\"path\":\"steps.a\",\"line\":3,\"column\":5,\"hint\":\"did you mean 'b'?\"}",
         ERR_INVALID, "no such step", "steps.a", "did you mean 'b'?", 3, 1, 1},
        {"several", 422,
         "{\"code\":\"invalid\",\"detail\":\"a\",\"errors\":[{\"code\":\"invalid\",\"message\":\"a\"},{\"message\":"
         "\"b\"}],\"total\":70}",
         ERR_INVALID, "a", "", "", 0, 2, 70},
        {"title only", 409, "{\"title\":\"Conflict\"}", ERR_CONFLICT, "Conflict", "", "", 0, 1, 1},
        {"code wins over status", 422, "{\"code\":\"limit-exceeded\",\"detail\":\"x\"}", ERR_LIMIT, "x", "", "", 0, 1,
         1},
        {"a proxy's page", 502, "<html>Bad gateway</html>", ERR_UNAVAILABLE, "the server answered 502", "",
         "is this the address of a Millrace server?", 0, 1, 1},
        {"nothing", 404, "", ERR_NOT_FOUND, "the server answered 404", "", "is this the address of a Millrace server?",
         0, 1, 1},
        {"unknown", 418, "[]", ERR_INVALID, "the server answered 418", "", "is this the address of a Millrace server?",
         0, 1, 1},
        {"empty object", 500, "{}", ERR_INTERNAL, "the server answered 500", "", "", 0, 1, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        struct err_list list;
        struct err err;
        arena_init(&a, 0);
        err_list_init(&list, &a);
        problem_read(&a, rows[i].status, str_of(rows[i].body), &list, &err);
        if (err.code != rows[i].code || list.n != rows[i].n) print_error("%s\n", rows[i].name);
        assert_int_equal(err.code, rows[i].code);
        assert_string_equal(err.message, rows[i].message);
        assert_string_equal(err.path, rows[i].path);
        assert_string_equal(err.hint, rows[i].hint);
        assert_int_equal(err.at.line, rows[i].line);
        assert_int_equal(list.n, rows[i].n);
        assert_int_equal(list.total, rows[i].total);
        arena_free(&a);
    }
}

static void paths(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    assert_string_equal(client_path(&a, "/runs/%lld/tasks/%s?x=%s", 7LL, "train[0]/a b", "ü&=#"),
                        "/runs/7/tasks/train%5B0%5D%2Fa%20b?x=%C3%BC%26%3D%23");
    assert_string_equal(client_path(&a, "/a/%s", "../../b"), "/a/..%2F..%2Fb");
    arena_free(&a);
}

/* ---- completion ---- */

static void names(void *ctx, struct buf *out, enum word_kind kind, const char *before)
{
    (void)ctx;
    if (kind == WORD_RUN) buf_c(out, "17\tdigits\n18\thello\n");
    if (kind == WORD_PIPELINE) buf_c(out, "digits\t\n");
    if (kind == WORD_STEP) buf_printf(out, "train-of-%s\t\n", before);
    if (kind == WORD_CONTEXT) buf_c(out, "lab\t\n");
}

static void candidates(void **state)
{
    static const struct {
        const char *words[6], *out;
    } rows[] = {
        {{"val"}, "validate\tcheck files\n"},
        {{"art"}, "artifacts\tArtifacts\n"},
        {{"artifacts", ""},
         "ls\tlist artifacts, of a run or the newest\nget\tdownload an artifact\n"
         "put\tupload an artifact and print its id\n"},
        {{"config", "u"}, "use\tuse a context from now on\n"},
        {{"run", ""}, ":files\ndigits\t\n"},
        {{"run", "--wa"}, "--watch\tfollow the run to its end\n"},
        {{"list", "--state", "ca"}, "cancelling\t\ncancelled\t\n"},
        {{"list", "-o", ""}, "table\t\njson\t\nyaml\t\n"},
        {{"plan", "x.yaml", "-o", "m"}, "mermaid\t\n"},
        {{"cancel", "1"}, "17\tdigits\n18\thello\n"},
        {{"cancel", "17", "18"}, "18\thello\n"},
        {{"logs", "17", ""}, "train-of-17\t\n"},
        {{"logs", "-f", "17", "train"}, "train-of-17\t\n"},
        {{"retry", "17", "--from", ""}, "train-of-17\t\n"},
        {{"logs", "17", "train", ""}, ""},
        {{"--context", ""}, "lab\t\n"},
        {{"--context", "lab", "vers"}, "version\tshow this program's version and the server's\n"},
        {{"completion", "f"}, "fish\t\n"},
        {{"help", "artifacts", "g"}, "get\tdownload an artifact\n"},
        {{"backup", ""}, ":folders\n"},
        {{"run", "-p", "k"}, ""},
        {{"nonsense", ""}, ""},
        {{"artifacts", "ls", "--t"},
         "--type\tonly this type, e.g. model\n--token-file\ta file with the bearer token (MILLRACE_TOKEN holds a token "
         "itself)\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        char *argv[6];
        int n = 0;
        BUF_AUTO out;
        arena_init(&a, 0);
        buf_init(&out, 0);
        for (; n < 6 && rows[i].words[n]; n++)
            argv[n] = arena_cstr(&a, str_of(rows[i].words[n]));
        completion_candidates(&out, n, argv, names, NULL);
        assert_string_equal(out.p ? out.p : "", rows[i].out);
        arena_free(&a);
    }
}

static void scripts(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_non_null(strstr(completion_script(shells[i]), "millrace __complete"));
    assert_null(completion_script("tcsh"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_in_pieces), cmocka_unit_test(a_stream_is_stopped_and_resumed),
        cmocka_unit_test(problems),          cmocka_unit_test(paths),
        cmocka_unit_test(candidates),        cmocka_unit_test(scripts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
