/* Answers: gathering, ETags, compression, chunks, problems. See respond.h. */
#include "api/respond.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/gzip.h"
#include "api/request.h"
#include "engine/os/log.h"

#define GZIP_LEAST 1024 /* bytes below which compression is not worth its time */
#define BODY_CAP ((size_t)256 << 20)

static const struct status {
    int status;
    const char *text;
} statuses[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {507, "Insufficient Storage"},
};

static const char *status_text(int status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].status == status) return statuses[i].text;
    return "Unknown";
}

void response_init(struct request *rq)
{
    struct response *r = &rq->res;
    memset(r, 0, offsetof(struct response, json));
    r->gzip = NULL;
    r->begun = r->chunked = r->no_body = r->gzip_ok = r->etag = r->raw = r->close = r->json_open = r->failed = false;
    r->whole = false;
    buf_init(&r->headers, 64u << 10);
    buf_init(&r->body, BODY_CAP);
    r->no_body = str_is(rq->method, "HEAD");
}

void response_free(struct request *rq)
{
    buf_free(&rq->res.headers);
    buf_free(&rq->res.body);
    gzip_free(rq->res.gzip);
    rq->res.gzip = NULL;
}

void response_header(struct request *rq, const char *name, const char *fmt, ...)
{
    char value[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    for (char *c = value; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) *c = ' '; /* no header out of a value */
    buf_printf(&rq->res.headers, "%s: %s\r\n", name, value);
}

static bool send_bytes(struct request *rq, const void *p, size_t n)
{
    struct response *r = &rq->res;
    if (r->failed) return false;
    if (n && !rq->wire.write(rq->wire.ctx, p, n)) r->failed = true;
    return !r->failed;
}

/* Does the client keep the connection by the rules civetweb goes by? Ours must be the same. */
static bool keeps_connection(const struct request *rq)
{
    if (rq->res.close || rq->res.status == 401 || !rq->api->keep_alive) return false;
    const char *c = request_header(rq, "Connection");
    if (!c) return rq->http11;
    return strcasestr(c, "keep-alive") != NULL;
}

/* The head, followed by `body` in the same write. length -1 = chunks (or until the end of the connection for HTTP/1.0).
 */
static bool send_head(struct request *rq, int64_t length, struct str body)
{
    struct response *r = &rq->res;
    if (length < 0 && !rq->http11) r->close = true;
    r->chunked = length < 0 && rq->http11 && !r->no_body;
    BUF_AUTO out;
    buf_init(&out, 0);
    char date[40];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    buf_printf(&out, "HTTP/1.1 %d %s\r\nDate: %s\r\nX-Request-Id: %s\r\n", r->status, status_text(r->status), date,
               rq->id);
    if (r->type) buf_printf(&out, "Content-Type: %s\r\n", r->type);
    if (r->chunked)
        buf_c(&out, "Transfer-Encoding: chunked\r\n");
    else if (length >= 0 && r->status != 304 && r->status != 204)
        buf_printf(&out, "Content-Length: %lld\r\n", (long long)length);
    buf_c(&out, "X-Content-Type-Options: nosniff\r\n");
    if (!strstr(r->headers.p ? r->headers.p : "", "Cache-Control:")) buf_c(&out, "Cache-Control: no-store\r\n");
    buf_printf(&out, "Connection: %s\r\n", keeps_connection(rq) ? "keep-alive" : "close");
    buf_str(&out, buf_view(&r->headers));
    buf_c(&out, "\r\n");
    if (!r->no_body) buf_str(&out, body);
    r->begun = true;
    return send_bytes(rq, out.p, out.n);
}

static bool send_chunk(struct request *rq, struct str s)
{
    if (s.n == 0 || rq->res.no_body) return !rq->res.failed;
    if (!rq->res.chunked) return send_bytes(rq, s.p, s.n);
    char head[20];
    int n = snprintf(head, sizeof head, "%zx\r\n", s.n);
    return send_bytes(rq, head, (size_t)n) && send_bytes(rq, s.p, s.n) && send_bytes(rq, "\r\n", 2);
}

/* ---- gathered answers ---- */

static bool takes_gzip(const struct request *rq)
{
    const char *accept = request_header(rq, "Accept-Encoding");
    if (!accept) return false;
    struct str rest = str_of(accept), piece;
    while (str_split(&rest, ',', &piece)) {
        struct str coding;
        str_split(&piece, ';', &coding);
        coding = str_trim(coding);
        if (!str_is(coding, "gzip") && !str_is(coding, "*")) continue;
        size_t at;
        if (!str_find(piece, STR("q="), &at)) return true;
        double q;
        return !str_double(str_trim(str_sub(piece, at + 2, piece.n)), &q) || q > 0;
    }
    return false;
}

static bool json_sink(void *ctx, const char *p, size_t n)
{
    return response_add(ctx, p, n);
}

void response_begin(struct request *rq, int status, const char *type)
{
    struct response *r = &rq->res;
    r->status = status;
    r->type = type;
    r->gzip_ok = takes_gzip(rq);
    buf_reset(&r->body);
}

struct jsonw *response_json(struct request *rq, int status)
{
    response_begin(rq, status, "application/json");
    jsonw_to_sink(&rq->res.json, json_sink, rq);
    rq->res.json_open = true;
    rq->res.etag = status == 200;
    return &rq->res.json;
}

/* The gathered part goes out and the rest follows in chunks. */
static bool spill(struct request *rq, bool last)
{
    struct response *r = &rq->res;
    if (!r->begun) {
        if (r->gzip_ok) r->gzip = gzip_new();
        buf_c(&r->headers, "Vary: Accept-Encoding\r\n");
        if (r->gzip) buf_c(&r->headers, "Content-Encoding: gzip\r\n");
        if (!send_head(rq, -1, (struct str){NULL, 0})) return false;
    }
    bool ok;
    if (r->gzip) {
        BUF_AUTO packed;
        buf_init(&packed, 0);
        ok = gzip_add(r->gzip, r->body.p, r->body.n, last, &packed) && send_chunk(rq, buf_view(&packed));
    } else {
        ok = send_chunk(rq, buf_view(&r->body));
    }
    buf_reset(&r->body);
    if (!ok) r->failed = true;
    return ok;
}

bool response_add(struct request *rq, const void *bytes, size_t n)
{
    struct response *r = &rq->res;
    if (r->failed) return false;
    if (!buf_add(&r->body, bytes, n)) r->failed = true;
    if (r->body.n >= RESPONSE_SPOOL && !r->whole) return spill(rq, false);
    return !r->failed;
}

bool response_add_str(struct request *rq, struct str s)
{
    return response_add(rq, s.p, s.n);
}

void response_tag(const struct request *rq, char tag[RESPONSE_TAG])
{
    snprintf(tag, RESPONSE_TAG, "W/\"%016llx\"", (unsigned long long)str_hash(buf_view(&rq->res.body)));
}

/* True when the client has it already. */
static bool set_etag(struct request *rq)
{
    char tag[RESPONSE_TAG];
    response_tag(rq, tag);
    response_header(rq, "ETag", "%s", tag);
    const char *have = request_header(rq, "If-None-Match");
    return have && (strcmp(have, "*") == 0 || strstr(have, tag + 2));
}

static void finish_gathered(struct request *rq)
{
    struct response *r = &rq->res;
    if (r->etag && r->status == 200 && (str_is(rq->method, "GET") || str_is(rq->method, "HEAD")) && set_etag(rq)) {
        r->status = 304;
        r->type = NULL;
        r->no_body = true;
        send_head(rq, 0, (struct str){NULL, 0});
        return;
    }
    BUF_AUTO packed;
    buf_init(&packed, 0);
    struct str body = buf_view(&r->body);
    if (r->type) buf_c(&r->headers, "Vary: Accept-Encoding\r\n");
    if (r->gzip_ok && body.n >= GZIP_LEAST && (r->gzip = gzip_new()) != NULL &&
        gzip_add(r->gzip, body.p, body.n, true, &packed)) {
        body = buf_view(&packed);
        buf_c(&r->headers, "Content-Encoding: gzip\r\n");
    }
    send_head(rq, (int64_t)body.n, body);
}

bool response_settle(struct request *rq, struct err *err)
{
    struct response *r = &rq->res;
    if (r->json_open) {
        r->json_open = false;
        if (!jsonw_end(&r->json)) r->failed = true;
    }
    return !r->failed || err_set(err, ERR_INTERNAL, "the answer could not be written");
}

void response_finish(struct request *rq)
{
    struct response *r = &rq->res;
    struct err err;
    if (!response_settle(rq, &err)) {
        response_problem(rq, &err);
        return;
    }
    if (!r->begun)
        finish_gathered(rq);
    else if (!r->raw)
        spill(rq, true);
    if (r->chunked && !r->failed) send_bytes(rq, "0\r\n\r\n", 5);
}

/* ---- streams ---- */

bool response_stream(struct request *rq, int status, const char *type, int64_t length)
{
    struct response *r = &rq->res;
    r->status = status;
    r->type = type;
    r->raw = true;
    return send_head(rq, length, (struct str){NULL, 0});
}

bool response_write(struct request *rq, const void *bytes, size_t n)
{
    return send_chunk(rq, (struct str){bytes, n});
}

/* ---- problems ---- */

static void write_place(struct jsonw *w, const struct err *e)
{
    if (e->file) jsonw_kv_str(w, "file", e->file->name);
    if (e->file) jsonw_kv_str(w, "usedBy", e->file->used_by);
    if (e->path[0]) jsonw_kv_cstr(w, "path", e->path);
    if (e->at.line) jsonw_kv_int(w, "line", e->at.line);
    if (e->at.line && e->at.col) jsonw_kv_int(w, "column", e->at.col);
    if (e->len) jsonw_kv_int(w, "length", e->len);
    if (e->hint[0]) jsonw_kv_cstr(w, "hint", e->hint);
}

void response_problem_item(struct jsonw *w, const struct err *e)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "code", err_name(e->code));
    jsonw_kv_cstr(w, "message", e->message);
    write_place(w, e);
    jsonw_object_end(w);
}

static void write_problem(struct request *rq, const struct err *e)
{
    struct response *r = &rq->res;
    const struct err_list *list = &rq->errors;
    struct jsonw *w = &r->json;
    jsonw_to_buf(w, &r->body);
    jsonw_object(w);
    jsonw_key(w, "type");
    jsonw_str(w, arena_printf(rq->arena, "urn:millrace:problem:%s", err_name(e->code)));
    jsonw_kv_cstr(w, "title", status_text(r->status));
    jsonw_kv_int(w, "status", r->status);
    jsonw_kv_cstr(w, "detail", e->message);
    jsonw_kv_cstr(w, "code", err_name(e->code));
    write_place(w, e);
    jsonw_kv_cstr(w, "requestId", rq->id);
    if (list->n > 0) {
        jsonw_key(w, "errors");
        jsonw_array(w);
        for (size_t i = 0; i < list->n; i++)
            response_problem_item(w, &list->items[i]);
        jsonw_array_end(w);
        jsonw_kv_int(w, "total", (int64_t)list->total);
    }
    jsonw_object_end(w);
    if (!jsonw_end(w)) r->failed = true;
}

void response_problem(struct request *rq, const struct err *err)
{
    struct response *r = &rq->res;
    if (r->begun) { /* too late for a status: a missing last chunk tells the client that it is not whole */
        log_err(LEVEL_WARN, "answer broken off", err);
        r->failed = r->close = true;
        return;
    }
    const struct err *e = err->code == ERR_NONE && rq->errors.n ? &rq->errors.items[0] : err;
    r->status = err_status(e->code);
    if (r->status < 400) r->status = 500;
    r->type = "application/problem+json";
    r->etag = r->gzip_ok = r->json_open = r->failed = false;
    buf_reset(&r->body);
    if (r->status == 401) buf_c(&r->headers, "WWW-Authenticate: Bearer realm=\"millrace\"\r\n");
    if ((r->status == 503 || r->status == 429) && !strstr(r->headers.p ? r->headers.p : "", "Retry-After:"))
        buf_c(&r->headers, "Retry-After: 1\r\n");
    write_problem(rq, e);
    finish_gathered(rq);
}
