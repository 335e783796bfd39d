/* The S3 client: signatures against the examples of AWS's documentation, and what it makes of a server that fails,
 * cuts connections, forgets ranges, lies about sizes, and says things that nobody should read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/os/fs.h"
#include "engine/os/s3.h"
#include "engine/os/sigv4.h"

#define ID "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define MAY_2013 INT64_C(1369353600000000) /* 20130524T000000Z */

static struct arena arena;
static struct err err;

static void ok_at(bool good, int line)
{
    if (!good) fail_msg("line %d: %s (%s) %s", line, err.message, err_name(err.code), err.hint);
}
#define ok(good) ok_at((good), __LINE__)

/* ---- signatures ---- */

static const struct sigv4_key example = {STR_INIT(ID), STR_INIT(SECRET), STR_INIT("")};
#define HOST                                                                                                           \
    {                                                                                                                  \
        STR_INIT("host"), STR_INIT("examplebucket.s3.amazonaws.com")                                                   \
    }
#define DATE                                                                                                           \
    {                                                                                                                  \
        STR_INIT("x-amz-date"), STR_INIT("20130524T000000Z")                                                           \
    }
#define NOTHING                                                                                                        \
    {                                                                                                                  \
        STR_INIT("x-amz-content-sha256"), STR_INIT(EMPTY)                                                              \
    }

static void requests_are_signed_as_aws_says(void **state)
{
    (void)state;
    static const struct sigv4_pair plain[] = {HOST, NOTHING, DATE},
                                   get[] = {HOST, {STR_INIT("range"), STR_INIT("bytes=0-9")}, NOTHING, DATE},
                                   put[] = {
                                       {STR_INIT("x-amz-storage-class"), STR_INIT("REDUCED_REDUNDANCY")},
                                       {STR_INIT("x-amz-content-sha256"),
                                        STR_INIT("44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072")},
                                       DATE,
                                       {STR_INIT("date"), STR_INIT("Fri, 24 May 2013 00:00:00 GMT")},
                                       HOST};
    static const struct sigv4_pair lifecycle[] = {{STR_INIT("lifecycle"), STR_INIT("")}},
                                   list[] = {{STR_INIT("prefix"), STR_INIT("J")},
                                             {STR_INIT("max-keys"), STR_INIT("2")}};
    static const struct {
        const char *method, *path;
        const struct sigv4_pair *query;
        size_t n_query;
        const struct sigv4_pair *headers;
        size_t n_headers;
        const char *signature;
    } rows[] = {
        {"GET", "/test.txt", NULL, 0, get, 4, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT", "test$file.text", NULL, 0, put, 5, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET", "/", lifecycle, 1, plain, 3, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET", "/", list, 2, plain, 3, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str path = str_of(rows[i].path);
        if (path.p[0] != '/') path = arena_printf(&arena, "/%s", sigv4_encode(&arena, path, true).p);
        const struct sigv4_request r = {.method = rows[i].method,
                                        .path = path,
                                        .query = rows[i].query,
                                        .n_query = rows[i].n_query,
                                        .headers = rows[i].headers,
                                        .n_headers = rows[i].n_headers,
                                        .payload = rows[i].headers == put ? put[1].value : STR(EMPTY),
                                        .region = STR("us-east-1"),
                                        .service = STR("s3"),
                                        .now_us = MAY_2013};
        struct str got = sigv4_authorization(&arena, &r, &example);
        if (!strstr(got.p, rows[i].signature)) fail_msg("row %zu: %s", i, got.p);
    }
}

static void links_are_signed_as_aws_says(void **state)
{
    (void)state;
    static const struct sigv4_pair host[] = {HOST};
    const struct sigv4_request r = {.method = "GET",
                                    .path = STR("/test.txt"),
                                    .headers = host,
                                    .n_headers = 1,
                                    .payload = SIGV4_UNSIGNED,
                                    .region = STR("us-east-1"),
                                    .service = STR("s3"),
                                    .now_us = MAY_2013};
    struct str link = sigv4_link(&arena, &r, &example, 86400);
    assert_non_null(strstr(link.p, "X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
                                   "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"));
    assert_non_null(strstr(link.p, "X-Amz-Credential=" ID "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&"));
    assert_null(strstr(link.p, "X-Amz-Security-Token"));
    const struct sigv4_key of_a_session = {STR(ID), STR(SECRET), STR("a+b/c=")};
    link = sigv4_link(&arena, &r, &of_a_session, 86400);
    assert_non_null(strstr(link.p, "&X-Amz-Security-Token=a%2Bb%2Fc%3D&X-Amz-SignedHeaders="));
}

/* ---- a server with a script: an answer a connection; what is asked beyond it gets the last one ---- */

#define ASKED 40

static struct {
    int listening, port;
    pthread_t thread;
    const char *const *answers;
    char asked[ASKED][4096];
    int n;
} server;

static const char *next_answer(void)
{
    const char *const *a = server.answers;
    for (int i = 1; i < server.n && a[1] != NULL; i++)
        a++;
    return *a;
}

static void hear(int fd)
{
    char *in = server.asked[server.n++];
    size_t n = 0, head = 0, body = 0;
    while (n < sizeof server.asked[0] - 1 && (head == 0 || n < head + body)) {
        ssize_t got = read(fd, in + n, sizeof server.asked[0] - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
        in[n] = '\0';
        const char *end = strstr(in, "\r\n\r\n"), *length = strstr(in, "Content-Length: ");
        if (end != NULL) head = (size_t)(end + 4 - in);
        if (end != NULL && length != NULL && length < end) body = (size_t)atol(length + 16);
    }
    const char *out = next_answer();
    if (write(fd, out, strlen(out)) < 0) return;
    shutdown(fd, SHUT_WR);
    while (read(fd, (char[256]){0}, 256) > 0) {
    }
}

static void *serve(void *unused)
{
    (void)unused;
    for (int fd; (fd = accept(server.listening, NULL, NULL)) >= 0; close(fd))
        if (server.n < ASKED) hear(fd);
    return NULL;
}

static struct s3 *begin(const char *const *answers, const char *credentials)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    struct s3 *s = NULL;
    memset(&server, 0, sizeof server);
    server.answers = answers;
    server.listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(bind(server.listening, (struct sockaddr *)&at, n) == 0 && listen(server.listening, 16) == 0 &&
                getsockname(server.listening, (struct sockaddr *)&at, &n) == 0);
    server.port = ntohs(at.sin_port);
    const struct s3_config cfg = {.bucket = STR("bucket"),
                                  .prefix = STR("a/b"),
                                  .endpoint = arena_printf(&arena, "http://127.0.0.1:%d", server.port),
                                  .path_style = true,
                                  .credentials = str_of(credentials),
                                  .tries = 4,
                                  .wait_ms = 1};
    setenv("AWS_ACCESS_KEY_ID", ID, 1);
    setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1);
    setenv("AWS_SESSION_TOKEN", "the-session's-token", 1);
    err_clear(&err);
    ok(s3_open(&cfg, &s, &err));
    pthread_create(&server.thread, NULL, serve, NULL);
    return s;
}

static void end(struct s3 *s)
{
    s3_close(s);
    shutdown(server.listening, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listening);
}

#define OK_(more, body) "HTTP/1.1 200 OK\r\nConnection: close\r\n" more "\r\n" body
#define ERROR_(status, code, message)                                                                                  \
    "HTTP/1.1 " status "\r\nConnection: close\r\nContent-Type: application/xml\r\n\r\n<?xml?><Error><Code>" code       \
    "</Code><Message>" message "</Message></Error>"

static void errors_are_told_with_what_s3_says(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int asked;
        enum err_code code;
        const char *says, *hint;
    } rows[] = {
        {ERROR_("404 Not Found", "NoSuchKey", "not there"), 1, ERR_NOT_FOUND, "there is no s3://bucket/a/b/k", ""},
        {ERROR_("404 Not Found", "NoSuchBucket", "no bucket"), 1, ERR_UNAVAILABLE,
         "s3://bucket/a/b/k: GET NoSuchBucket: no bucket (HTTP 404)", "--artifact-store"},
        {ERROR_("403 Forbidden", "AccessDenied", "it &lt;is&gt; closed"), 1, ERR_UNAVAILABLE,
         "AccessDenied: it <is> closed (HTTP 403)", "--s3-credentials"},
        {"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n", 1, ERR_UNAVAILABLE, "s3://bucket/a/b/k: GET (HTTP 403)",
         "--s3-credentials"},
        {ERROR_("403 Forbidden", "Odd", ID " and " SECRET " and the-session's-token"), 1, ERR_UNAVAILABLE, "Odd: ****",
         ""},
        {ERROR_("301 Moved", "PermanentRedirect", "elsewhere"), 1, ERR_UNAVAILABLE, "PermanentRedirect", "--s3-region"},
        {ERROR_("503 Slow Down", "SlowDown", "too much"), 4, ERR_UNAVAILABLE, "SlowDown: too much (HTTP 503)", ""},
        {ERROR_("400 Bad Request", "RequestTimeout", "slow"), 4, ERR_UNAVAILABLE, "RequestTimeout", ""},
        {OK_("", "<Error><Code>InternalError</Code><Message>late</Message></Error>"), 4, ERR_UNAVAILABLE,
         "InternalError: late", ""},
        {"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nDate: Fri, 24 May 2013 00:00:00 GMT\r\n\r\n"
         "<Error><Code>RequestTimeTooSkewed</Code></Error>",
         1, ERR_UNAVAILABLE, "this machine's clock and that of 127.0.0.1", "ahead"},
        {"", 4, ERR_UNAVAILABLE, "does not answer as it should", ""},
        {"garbage\r\n\r\n", 4, ERR_UNAVAILABLE, "does not answer as it should", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct s3 *s = begin((const char *const[]){rows[i].answer, NULL}, NULL);
        struct str text;
        bool got = s3_get_text(s, STR("k"), &arena, &text, &err);
        if (got || err.code != rows[i].code || !strstr(err.message, rows[i].says) || !strstr(err.hint, rows[i].hint) ||
            server.n != rows[i].asked || strstr(err.message, SECRET) || strstr(err.message, ID) ||
            strstr(err.message, "session's"))
            fail_msg("row %zu: asked %d times: %s (%s) %s", i, server.n, err.message, err_name(err.code), err.hint);
        end(s);
    }
}

static void what_failed_for_a_moment_is_tried_again(void **state)
{
    (void)state;
    static const char *const answers[] = {ERROR_("503 Slow Down", "SlowDown", "x"), "",
                                          ERROR_("500 Oh", "InternalError", "x"), OK_("", "here"), NULL};
    struct s3 *s = begin(answers, NULL);
    struct str text;
    ok(s3_get_text(s, STR("k with ü"), &arena, &text, &err));
    assert_string_equal(text.p, "here");
    assert_int_equal(server.n, 4);
    assert_non_null(strstr(server.asked[3], "GET /bucket/a/b/k%20with%20%C3%BC HTTP/1.1\r\n"));
    assert_non_null(strstr(server.asked[3], "x-amz-security-token: the-session's-token\r\n"));
    assert_non_null(strstr(server.asked[3], "x-amz-content-sha256: " EMPTY "\r\n"));
    assert_non_null(
        strstr(server.asked[3], "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
    end(s);
}

/* With as many tries as this would take for days, if it did not say soon that nobody listens. */
static void a_refused_connection_is_told_soon(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    struct s3 *s = NULL;
    FD_AUTO deaf = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(bind(deaf, (struct sockaddr *)&at, n) == 0 && getsockname(deaf, (struct sockaddr *)&at, &n) == 0);
    const struct s3_config cfg = {.bucket = STR("bucket"),
                                  .endpoint = arena_printf(&arena, "http://127.0.0.1:%d", ntohs(at.sin_port)),
                                  .path_style = true,
                                  .tries = 100000,
                                  .wait_ms = 1};
    ok(s3_open(&cfg, &s, &err));
    assert_false(s3_head_soon(s, STR("k"), NULL, NULL, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    s3_close(s);
}

static bool gather(void *ctx, const char *p, size_t n)
{
    return buf_add(ctx, p, n);
}

static void cut_connections_go_on(void **state)
{
    (void)state;
    static const char *const answers[] = {"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n\r\nhell",
                                          "HTTP/1.1 206 Partial\r\nContent-Length: 6\r\n\r\no wo",
                                          "HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nrl", NULL};
    struct s3 *s = begin(answers, NULL);
    BUF_AUTO got;
    buf_init(&got, 0);
    ok(s3_read(s, STR("k"), 100, 10, gather, &got, &err));
    assert_string_equal(got.p, "hello worl");
    assert_non_null(strstr(server.asked[0], "Range: bytes=100-109\r\n"));
    assert_non_null(strstr(server.asked[1], "Range: bytes=104-109\r\n"));
    assert_non_null(strstr(server.asked[2], "Range: bytes=108-109\r\n"));
    end(s);
}

static bool refuse(void *ctx, const char *p, size_t n)
{
    (void)ctx, (void)p, (void)n;
    return false;
}

static void other_bytes_than_asked_for_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfrom",   /* the begin */
                                       "HTTP/1.1 206 OK\r\nContent-Length: 5\r\n\r\nfrom "}; /* too much */
    BUF_AUTO got;
    buf_init(&got, 0);
    for (size_t i = 0; i < 2; i++) {
        struct s3 *s = begin((const char *const[]){rows[i], NULL}, NULL);
        assert_false(s3_read(s, STR("k"), 1, 4, gather, &got, &err));
        assert_non_null(strstr(err.message, "more than was asked for"));
        assert_true(server.n == 1 && got.n == 0);
        end(s);
    }
    struct s3 *s = begin((const char *const[]){"HTTP/1.1 206 OK\r\nContent-Length: 4\r\n\r\nfrom", NULL}, NULL);
    assert_false(s3_read(s, STR("k"), 1, 4, refuse, NULL, &err));
    assert_true(server.n == 1 && err.code == ERR_IO);
    end(s);
}

static int file_of(size_t n)
{
    char path[] = "/tmp/millrace-s3-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && unlink(path) == 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(write(fd, (char[]){(char)('a' + i % 26)}, 1), 1);
    return fd;
}

static void big_files_go_in_parts(void **state)
{
    (void)state;
    static const char *const answers[] = {OK_("", "<R><UploadId>x&amp;y=</UploadId></R>"),
                                          OK_("ETag: \"one\"\r\n", ""),
                                          ERROR_("503 S", "SlowDown", "x"),
                                          OK_("ETag: \"two\"\r\n", ""),
                                          OK_("", "<R></R>"),
                                          NULL};
    struct s3 *s = begin(answers, NULL);
    struct s3_parts parts;
    struct s3_upload u;
    char digest[DIGEST_TEXT], part[DIGEST_TEXT];
    FD_AUTO fd = file_of(150);
    ok(s3_parts_of(fd, 100, &arena, &parts, digest, &err));
    assert_true(parts.n == 2 && parts.size == 150);
    ok(s3_upload_begin(s, STR("k"), &arena, &u, &err) && s3_upload_send(s, &u, fd, &parts, &arena, &err) &&
       s3_upload_complete(s, &u, &err));
    assert_non_null(strstr(server.asked[0], "POST /bucket/a/b/k?uploads= HTTP"));
    assert_non_null(strstr(server.asked[1], "PUT /bucket/a/b/k?partNumber=1&uploadId=x%26y%3D HTTP"));
    const char *sent = strstr(server.asked[3], "\r\n\r\n") + 4;
    assert_int_equal(strlen(sent), 50);
    digest_of(str_of(sent), part);
    assert_non_null(strstr(server.asked[3], arena_printf(&arena, "x-amz-content-sha256: %s\r\n", part + 7).p));
    assert_non_null(
        strstr(server.asked[4], "<Part><PartNumber>2</PartNumber><ETag>&quot;two&quot;</ETag></Part></Comp"));
    end(s);
}

static void parts_grow_with_the_file(void **state)
{
    (void)state;
    static const struct {
        int64_t size;
        size_t n;
        int64_t part_size;
    } rows[] = {{159999, 10000, 16}, {160001, 5001, 32}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct s3_parts parts;
        char digest[DIGEST_TEXT];
        FD_AUTO fd = file_of(0);
        assert_int_equal(ftruncate(fd, rows[i].size), 0);
        ok(s3_parts_of(fd, 16, &arena, &parts, digest, &err));
        assert_int_equal(parts.n, rows[i].n);
        assert_int_equal(parts.part_size, rows[i].part_size);
    }
}

static void an_upload_that_is_gone_is_aborted(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        bool aborted;
    } rows[] = {{"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", true},
                {ERROR_("404 Not Found", "NoSuchUpload", "gone"), true},
                {ERROR_("403 Forbidden", "AccessDenied", "closed"), false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct s3 *s = begin((const char *const[]){rows[i].answer, NULL}, NULL);
        if (s3_upload_abort(s, STR("k"), STR("u"), &err) != rows[i].aborted) fail_msg("row %zu: %s", i, err.message);
        end(s);
    }
}

static void a_file_that_shrinks_is_an_error(void **state)
{
    (void)state;
    struct s3 *s = begin((const char *const[]){OK_("", ""), NULL}, NULL);
    struct s3_parts parts;
    char digest[DIGEST_TEXT];
    FD_AUTO fd = file_of(150);
    ok(s3_parts_of(fd, 0, &arena, &parts, digest, &err));
    assert_int_equal(ftruncate(fd, 10), 0);
    assert_false(s3_put_file(s, STR("k"), fd, &parts, &err));
    assert_non_null(strstr(err.message, "got shorter"));
    end(s);
}

static bool count(void *ctx, struct str key, int64_t size, struct err *e)
{
    (void)e;
    *(int64_t *)ctx += size * (str_is(key, "x/<1>") || str_is(key, "x/2"));
    return true;
}

static void lists_go_on_page_by_page(void **state)
{
    (void)state;
    static const char *const answers[] = {
        OK_("",
            "<L><Contents><Key>a/b/x/&lt;1&gt;</Key><Size>5</Size></Contents><Contents><Key>a/bb</Key><Size>90</Size>"
            "</Contents><NextContinuationToken>t/1=</NextContinuationToken></L>"),
        OK_("", "<L><Contents><Size>7</Size><Key>a/b/x/2</Key></Contents></L>"), NULL};
    struct s3 *s = begin(answers, NULL);
    int64_t total = 0;
    ok(s3_each(s, STR("x/"), count, &total, &err));
    assert_int_equal(total, 12);
    assert_non_null(strstr(server.asked[0], "GET /bucket/?list-type=2&prefix=a%2Fb%2Fx%2F HTTP"));
    assert_non_null(strstr(server.asked[1], "?continuation-token=t%2F1%3D&list-type=2&prefix="));
    end(s);
}

static void keys_are_read_again_when_their_file_changes(void **state)
{
    (void)state;
    char path[] = "/tmp/millrace-keys-XXXXXX";
    FD_AUTO fd = mkstemp(path);
    assert_true(fd >= 0);
    struct str text;
    ok(fs_write(path,
                STR("# mine\n[default]\naws_access_key_id = first\naws_secret_access_key=one\n[other]\n"
                    "aws_access_key_id = none\n"),
                0600, false, &err));
    struct s3 *s = begin((const char *const[]){OK_("", "x"), NULL}, path);
    ok(s3_get_text(s, STR("k"), &arena, &text, &err));
    ok(fs_write(path, STR("half written"), 0600, false, &err));
    ok(s3_get_text(s, STR("k"), &arena, &text, &err));
    ok(fs_write(path, STR("aws_access_key_id=second\naws_secret_access_key=two\naws_session_token=t\n"), 0600, false,
                &err));
    ok(s3_get_text(s, STR("k"), &arena, &text, &err));
    assert_non_null(strstr(server.asked[0], "Credential=first/"));
    assert_non_null(strstr(server.asked[1], "Credential=first/"));
    assert_non_null(strstr(server.asked[2], "Credential=second/"));
    assert_non_null(strstr(server.asked[2], "x-amz-security-token: t\r\n"));
    end(s);
    unlink(path);
}

/* Steps may run as somebody else on this machine. */
static void keys_that_everybody_may_read_are_refused(void **state)
{
    (void)state;
    static const struct {
        mode_t mode;
        bool fine;
    } rows[] = {{0600, true}, {0640, true}, {0604, false}, {0602, false}};
    char path[] = "/tmp/millrace-keys-XXXXXX";
    FD_AUTO fd = mkstemp(path);
    assert_true(fd >= 0);
    ok(fs_write(path, STR("aws_access_key_id = a\naws_secret_access_key = b\n"), 0600, false, &err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct s3 *s = NULL;
        const struct s3_config cfg = {.bucket = STR("bucket"), .region = STR("r"), .credentials = str_of(path)};
        assert_int_equal(chmod(path, rows[i].mode), 0);
        bool opened = s3_open(&cfg, &s, &err);
        s3_close(s);
        if (opened != rows[i].fine) fail_msg("%o", rows[i].mode);
        if (!opened) assert_non_null(strstr(err.message, "is open to everybody"));
    }
    unlink(path);
}

static void places_and_addresses_are_checked(void **state)
{
    (void)state;
    static const char *const wrong[] = {"s3:/b",          "s3://ab",       "s3://UPPER/x", "s3://bucket/../x",
                                        "s3://bucket//x", "http://bucket", "disk"};
    struct str bucket, prefix;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (s3_location(str_of(wrong[i]), &bucket, &prefix, &err)) fail_msg("%s", wrong[i]);
    ok(s3_location(STR("s3://my.bucket-1/a/b/"), &bucket, &prefix, &err));
    assert_true(str_is(bucket, "my.bucket-1") && str_is(prefix, "a/b"));
    ok(s3_location(STR("s3://bucket"), &bucket, &prefix, &err) && prefix.n == 0);
    static const char *const endpoints[] = {"ftp://x", "http://", "http://u:p@host", "https://host/path", "host"};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        struct s3 *s = NULL;
        const struct s3_config cfg = {.bucket = bucket, .endpoint = str_of(endpoints[i])};
        if (s3_open(&cfg, &s, &err)) fail_msg("%s", endpoints[i]);
    }
    struct s3 *s = NULL;
    struct str link = {"", 0}, header = {"", 0};
    const struct s3_config aws = {.bucket = bucket, .region = STR("eu-west-1")};
    ok(s3_open(&aws, &s, &err) &&
       s3_link(s, "PUT", STR("k"), (const unsigned char[32]){1}, 60, &arena, &link, &header, &err));
    assert_true(str_starts(link, "https://bucket.s3.eu-west-1.amazonaws.com/k?X-Amz-Algorithm="));
    assert_non_null(strstr(link.p, "&X-Amz-SignedHeaders=host%3Bx-amz-checksum-sha256&"));
    assert_true(str_is(header, "x-amz-checksum-sha256: AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    assert_false(s3_link(s, "GET", STR("k"), NULL, 8 * 86400, &arena, &link, &header, &err));
    s3_close(s);
}

static void one_that_is_stopped_asks_no_more(void **state)
{
    (void)state;
    struct s3 *s = begin((const char *const[]){ERROR_("503 S", "SlowDown", "x"), NULL}, NULL);
    struct str text;
    s3_stop(s);
    assert_false(s3_get_text(s, STR("k"), &arena, &text, &err));
    assert_non_null(strstr(err.message, "is being stopped"));
    assert_true(server.n <= 1);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_signed_as_aws_says),
        cmocka_unit_test(links_are_signed_as_aws_says),
        cmocka_unit_test(errors_are_told_with_what_s3_says),
        cmocka_unit_test(what_failed_for_a_moment_is_tried_again),
        cmocka_unit_test(a_refused_connection_is_told_soon),
        cmocka_unit_test(cut_connections_go_on),
        cmocka_unit_test(other_bytes_than_asked_for_are_refused),
        cmocka_unit_test(big_files_go_in_parts),
        cmocka_unit_test(parts_grow_with_the_file),
        cmocka_unit_test(an_upload_that_is_gone_is_aborted),
        cmocka_unit_test(a_file_that_shrinks_is_an_error),
        cmocka_unit_test(lists_go_on_page_by_page),
        cmocka_unit_test(keys_are_read_again_when_their_file_changes),
        cmocka_unit_test(keys_that_everybody_may_read_are_refused),
        cmocka_unit_test(places_and_addresses_are_checked),
        cmocka_unit_test(one_that_is_stopped_asks_no_more),
    };
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&arena);
    return failed;
}
