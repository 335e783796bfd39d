/* The HTTP client of the tests: see http.h. Blocking, one answer at a time, nothing clever. */
#include "tests/support/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/text/json.h"

int http_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
    close(fd);
    return -1;
}

bool http_send(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* What was received and not used yet. */
struct reader {
    int fd;
    struct buf in;
    size_t at;
};

static bool more(struct reader *r)
{
    char piece[16384];
    ssize_t got = recv(r->fd, piece, sizeof piece, 0);
    return got > 0 && buf_add(&r->in, piece, (size_t)got);
}

static bool read_line(struct reader *r, struct str *line)
{
    for (;;) {
        struct str rest = str_sub(buf_view(&r->in), r->at, r->in.n);
        size_t end;
        if (str_find(rest, STR("\r\n"), &end)) {
            *line = str_sub(rest, 0, end);
            r->at += end + 2;
            return true;
        }
        if (!more(r)) return false;
    }
}

static bool read_bytes(struct reader *r, size_t n, struct buf *out)
{
    while (r->in.n - r->at < n)
        if (!more(r)) {
            buf_add(out, r->in.p + r->at, r->in.n - r->at);
            return false;
        }
    buf_add(out, r->in.p + r->at, n);
    r->at += n;
    return true;
}

static bool read_chunks(struct reader *r, struct buf *out)
{
    struct str line;
    while (read_line(r, &line)) {
        size_t n = strtoul(line.p, NULL, 16);
        if (n == 0) return read_line(r, &line);
        if (!read_bytes(r, n, out) || !read_line(r, &line)) return false;
    }
    return false;
}

static bool read_head(struct reader *r, struct http_answer *out)
{
    struct str line;
    if (!read_line(r, &line) || !str_starts(line, "HTTP/1.1 ")) return false;
    out->status = atoi(line.p + 9);
    buf_reset(&out->head);
    do {
        buf_str(&out->head, line);
        buf_c(&out->head, "\r\n");
        if (line.n == 0) return true;
    } while (read_line(r, &line));
    return false;
}

bool http_receive(int fd, bool no_body, struct http_answer *out)
{
    memset(out, 0, sizeof *out);
    buf_init(&out->head, 0);
    buf_init(&out->body, 0);
    arena_init(&out->arena, 0);
    struct reader r = {.fd = fd};
    buf_init(&r.in, 0);
    bool ok;
    do
        ok = read_head(&r, out);
    while (ok && out->status == 100);
    const char *length = ok ? http_header(out, "Content-Length") : NULL;
    const char *coding = ok ? http_header(out, "Transfer-Encoding") : NULL;
    if (!ok || no_body || out->status == 204 || out->status == 304)
        out->whole = ok;
    else if (coding && strcasecmp(coding, "chunked") == 0)
        out->whole = read_chunks(&r, &out->body);
    else
        out->whole = read_bytes(&r, length ? strtoul(length, NULL, 10) : SIZE_MAX / 2, &out->body) || !length;
    buf_free(&r.in);
    const char *type = ok ? http_header(out, "Content-Type") : NULL;
    if (type && strstr(type, "json") && !http_header(out, "Content-Encoding") &&
        !json_parse(&out->arena, buf_view(&out->body), 0, &out->json, NULL))
        out->json = value_null();
    return ok;
}

void http_answer_free(struct http_answer *a)
{
    buf_free(&a->head);
    buf_free(&a->body);
    arena_free(&a->arena);
}

const char *http_header(struct http_answer *a, const char *name)
{
    struct str rest = buf_view(&a->head), line;
    size_t n = strlen(name);
    while (str_split(&rest, '\n', &line)) {
        if (line.n <= n || line.p[n] != ':' || strncasecmp(line.p, name, n) != 0) continue;
        return arena_cstr(&a->arena, str_trim(str_sub(line, n + 1, line.n)));
    }
    return NULL;
}

bool http_ask(const struct http_ask *ask, struct http_answer *out)
{
    memset(out, 0, sizeof *out);
    int fd = http_connect(ask->port);
    if (fd < 0) return false;
    BUF_AUTO text;
    buf_init(&text, 0);
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", ask->method, ask->path, ask->port);
    if (ask->token) buf_printf(&text, "Authorization: Bearer %s\r\n", ask->token);
    if (ask->type) buf_printf(&text, "Content-Type: %s\r\n", ask->type);
    if (ask->body.p) buf_printf(&text, "Content-Length: %zu\r\n", ask->body.n);
    if (ask->headers) buf_c(&text, ask->headers);
    buf_c(&text, "\r\n");
    buf_str(&text, ask->body);
    bool ok = http_send(fd, text.p, text.n);
    ok = http_receive(fd, strcmp(ask->method, "HEAD") == 0, out) && ok;
    close(fd);
    return ok;
}

const struct value *http_member(const struct http_answer *a, const char *path)
{
    const struct value *v = &a->json;
    struct str rest = str_of(path), part;
    while (v && rest.n && str_split(&rest, '.', &part)) {
        int64_t i;
        if (v->type == VALUE_LIST)
            v = str_int(part, &i) && i >= 0 && (size_t)i < v->u.list.n ? &v->u.list.items[i] : NULL;
        else
            v = value_find(v, part);
        if (rest.p == NULL) break;
    }
    return v;
}

const char *http_text(struct http_answer *a, const char *path)
{
    const struct value *v = http_member(a, path);
    return v && v->type == VALUE_STRING ? arena_cstr(&a->arena, v->u.s) : "";
}

int64_t http_number(const struct http_answer *a, const char *path)
{
    const struct value *v = http_member(a, path);
    return v && v->type == VALUE_INT ? v->u.i : -1;
}
