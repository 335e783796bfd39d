/* Requests from any bytes, through the dispatcher and the handlers, without sockets and without a database: "METHOD
 * PATH?QUERY", header lines, an empty line, the body. Every answer must be one HTTP message with a known status, and
 * every problem must be JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/dispatch.h"
#include "engine/os/log.h"
#include "engine/text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    struct str body;
    struct buf out;
};

static ssize_t memory_read(void *ctx, void *buf, size_t n, int64_t until_us)
{
    (void)until_us;
    struct memory *m = ctx;
    struct str piece = str_sub(m->body, 0, n < 700 ? n : 700);
    memcpy(buf, piece.p ? piece.p : "", piece.n);
    m->body = str_sub(m->body, piece.n, m->body.n);
    return (ssize_t)piece.n;
}

static bool memory_write(void *ctx, const void *bytes, size_t n)
{
    return buf_add(&((struct memory *)ctx)->out, bytes, n);
}

static void memory_abort(void *ctx)
{
    (void)ctx;
}

static void judge(struct arena *a, struct memory *m, int status)
{
    struct str out = buf_view(&m->out);
    size_t end;
    if (str_starts(out, "HTTP/1.1 100 ")) out = str_sub(out, 25, out.n);
    if (!str_starts(out, "HTTP/1.1 ") || status < 200 || status > 599 || !str_find(out, STR("\r\n\r\n"), &end)) abort();
    struct str head = str_sub(out, 0, end), body = str_sub(out, end + 4, out.n);
    size_t at;
    if (str_find(head, STR("Transfer-Encoding"), &at) || str_find(head, STR("gzip"), &at)) return;
    struct value v;
    if (str_find(head, STR("json"), &at) && body.n && !json_parse(a, body, 0, &v, NULL)) abort();
}

/* One line off the front; false when there is none. */
static bool line_of(struct str *rest, struct str *line)
{
    if (rest->n == 0) return false;
    str_split(rest, '\n', line);
    return true;
}

static void read_headers(struct arena *a, struct str *rest, struct header *headers, size_t *n)
{
    struct str line, name;
    while (*n < 64 && line_of(rest, &line) && line.n) {
        struct str value = line;
        str_split(&value, ':', &name);
        if (name.n == 0 || name.n == line.n) continue;
        headers[*n].name = arena_cstr(a, str_trim(name));
        headers[(*n)++].value = arena_cstr(a, str_trim(value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct api api;
    static bool begun;
    if (!begun) {
        begun = true;
        log_set_level(LEVEL_NONE);
        api_init(&api, &(struct api_config){.max_body = 1 << 20, .local_only = true});
    }
    struct arena a;
    arena_init(&a, 64 << 20);
    struct str rest = {(const char *)data, size}, line, method, path = {"", 0};
    struct header headers[64];
    size_t n = 0;
    if (line_of(&rest, &line) && str_split(&line, ' ', &method)) {
        str_split(&line, '?', &path);
        read_headers(&a, &rest, headers, &n);
        struct memory m = {.body = rest};
        buf_init(&m.out, 0);
        /* As civetweb gives them: C strings. */
        struct request rq = {.api = &api,
                             .arena = &a,
                             .wire = {&m, memory_read, memory_write, NULL, memory_abort},
                             .method = str_of(arena_cstr(&a, method)),
                             .path = str_of(arena_cstr(&a, path)),
                             .query = str_of(arena_cstr(&a, line)),
                             .headers = headers,
                             .n_headers = n,
                             .content_length = size % 2 ? (int64_t)rest.n : -1,
                             .http11 = true,
                             .vouched = true,
                             .who = {.name = STR("fuzzer"), .role = ROLE_ADMIN}};
        int status = dispatch(&rq);
        judge(&a, &m, status);
        buf_free(&m.out);
    }
    arena_free(&a);
    return 0;
}
