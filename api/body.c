/* Bodies of requests: read within limits of size and time, as text that is UTF-8, as JSON with known members. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/request.h"
#include "api/routes.h"
#include "engine/base/units.h"
#include "engine/os/clock.h"
#include "engine/text/json.h"

#define JSON_DEPTH 64
#define DRAIN_BYTES (4 << 20)
#define DRAIN_US 2000000
#define DRAIN_PAUSE_US 200000 /* without a byte, and no more is waited for */

static bool is_upload(const struct request *rq)
{
    return rq->route && rq->route->body == ROUTE_BYTES;
}

static int64_t body_limit(const struct request *rq)
{
    return is_upload(rq) ? rq->api->cfg.max_upload : rq->api->cfg.max_body;
}

static bool too_large(const struct request *rq, struct err *err)
{
    char limit[32];
    err_set(err, ERR_TOO_LARGE, "the body is larger than %s", units_bytes_text(body_limit(rq), limit));
    return err_hint(err, "send data as an upload, and name its digest here");
}

/* The clock of a body starts with its first read; so does the permission to send it. */
static void begin(struct request *rq)
{
    if (rq->body_begun) return;
    rq->body_begun = true;
    rq->body_deadline_us = os_mono_us() + rq->api->cfg.body_timeout_ms * 1000;
    const char *expect = request_header(rq, "Expect");
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (expect && strcasecmp(expect, "100-continue") == 0) rq->wire.write(rq->wire.ctx, go_on, sizeof go_on - 1);
}

bool request_read(struct request *rq, void *buf, size_t room, size_t *n, struct err *err)
{
    *n = 0;
    if (rq->body_done) return true;
    if (rq->content_length > body_limit(rq)) return too_large(rq, err);
    begin(rq);
    int64_t now = os_mono_us();
    if (is_upload(rq)) rq->body_deadline_us = now + rq->api->cfg.body_timeout_ms * 1000;
    ssize_t got =
        now > rq->body_deadline_us ? TRANSPORT_LATE : rq->wire.read(rq->wire.ctx, buf, room, rq->body_deadline_us);
    if (got > 0) {
        *n = (size_t)got;
        rq->body_read += got;
        if (rq->body_read > body_limit(rq)) return too_large(rq, err);
        if (rq->content_length >= 0 && rq->body_read >= rq->content_length) rq->body_done = true;
        return true;
    }
    if (got == 0 && (rq->content_length < 0 || rq->body_read >= rq->content_length)) {
        rq->body_done = true;
        return true;
    }
    rq->res.close = true;
    if (got == TRANSPORT_LATE || (got < 0 && os_mono_us() > rq->body_deadline_us))
        return err_set(err, ERR_TIMEOUT, "the body did not arrive in time");
    if (rq->content_length < 0) {
        err_set(err, ERR_SYNTAX, "a chunk of the body cannot be read");
        return err_hint(err, "chunks are: size in hex, CR LF, bytes, CR LF; the last has size 0");
    }
    err_set(err, ERR_SYNTAX, "the body ended after %lld of %lld bytes", (long long)rq->body_read,
            (long long)rq->content_length);
    return err_hint(err, "the connection was cut while sending; send it again");
}

bool request_drain(struct request *rq)
{
    if (rq->body_done || rq->content_length == 0) return true;
    const char *expect = request_header(rq, "Expect");
    if (expect && !rq->body_begun) return false; /* it waits for a go that it will not get */
    if (rq->content_length > DRAIN_BYTES) return false;
    int64_t now = os_mono_us(), end = now + DRAIN_US;
    char scrap[4096];
    int64_t seen = 0;
    for (; seen < DRAIN_BYTES && now < end; now = os_mono_us()) {
        ssize_t got = rq->wire.read(rq->wire.ctx, scrap, sizeof scrap, now + DRAIN_PAUSE_US);
        if (got <= 0) return got == 0;
        seen += got;
        if (rq->content_length >= 0 && rq->body_read + seen >= rq->content_length) return true;
    }
    return false;
}

static bool read_all(struct request *rq, struct buf *out, struct err *err)
{
    size_t n = 0;
    if (rq->content_length > body_limit(rq)) return too_large(rq, err);
    /* What is announced is not reserved at once: it may never come. */
    do {
        buf_reserve(out, 16384);
        if (!request_read(rq, out->p + out->n, out->room - out->n - 1, &n, err)) return false;
        out->n += n;
    } while (n > 0);
    if (out->p) out->p[out->n] = '\0';
    return true;
}

bool request_text(struct request *rq, struct str *out, struct err *err)
{
    BUF_AUTO body;
    buf_init(&body, (size_t)body_limit(rq) + 65536);
    if (!read_all(rq, &body, err)) return false;
    size_t bad = 0;
    struct str text = buf_view(&body);
    if (!utf8_valid(text, &bad)) {
        struct pos at = {1, 1};
        for (size_t i = 0; i < bad; i++) {
            if (text.p[i] == '\n')
                at = (struct pos){at.line + 1, 1};
            else if (((unsigned char)text.p[i] & 0xc0) != 0x80)
                at.col++;
        }
        err_set(err, ERR_SYNTAX, "the body is not UTF-8: byte %zu is 0x%02x", bad, (unsigned char)text.p[bad]);
        err_at(err, at, 1);
        return err_hint(err, "save the file as UTF-8");
    }
    *out = arena_str(rq->arena, text);
    return true;
}

static const struct {
    const char *type;
    enum body_kind kind;
} body_types[] = {
    {"application/json", BODY_JSON},
    {"application/yaml", BODY_YAML},
    {"application/x-yaml", BODY_YAML},
    {"text/yaml", BODY_YAML},
    {"text/x-yaml", BODY_YAML},
    {"text/plain", BODY_YAML},
    {"application/octet-stream", BODY_BYTES},
    {"application/offset+octet-stream", BODY_BYTES},
};

bool request_body_kind(const struct request *rq, enum body_kind *out, struct err *err)
{
    const char *header = request_header(rq, "Content-Type");
    if (!header || !*header) {
        *out = BODY_NONE;
        return true;
    }
    struct str rest = str_of(header), type;
    str_split(&rest, ';', &type);
    type = str_trim(type);
    for (size_t i = 0; i < sizeof body_types / sizeof *body_types; i++)
        if (type.n == strlen(body_types[i].type) && strncasecmp(type.p, body_types[i].type, type.n) == 0) {
            *out = body_types[i].kind;
            return true;
        }
    err_set(err, ERR_MEDIA_TYPE, "content type '%.*s' is not understood here", STR_ARG(str_sub(type, 0, 80)));
    return err_path(err, "Content-Type");
}

bool request_json(struct request *rq, struct value *out, struct err *err)
{
    if (str_trim(rq->body).n == 0) {
        *out = value_null();
        if (rq->route->body == ROUTE_OPTIONAL) return true;
        err_set(err, ERR_SYNTAX, "the request needs a body");
        return err_hint(err, "send a JSON object");
    }
    if (!json_parse(rq->arena, rq->body, JSON_DEPTH, out, err)) {
        if (err->code == ERR_INVALID) err->code = ERR_SYNTAX;
        return false;
    }
    if (out->type == VALUE_MAP) return true;
    return err_set(err, ERR_INVALID, "the body must be a JSON object, not a %s", value_type_name(out->type));
}

static bool member_fits(const struct value *v, enum member_type type)
{
    switch (type) {
    case MEMBER_STRING: return v->type == VALUE_STRING;
    case MEMBER_INT: return v->type == VALUE_INT;
    case MEMBER_BOOL: return v->type == VALUE_BOOL;
    case MEMBER_MAP: return v->type == VALUE_MAP;
    case MEMBER_LIST: return v->type == VALUE_LIST;
    case MEMBER_ANY: return true;
    }
    return false;
}

static const char *member_type_name(enum member_type type)
{
    static const char *const names[] = {"a string",  "a whole number", "true or false",
                                        "an object", "a list",         "anything"};
    return names[type];
}

static bool unknown_member(const struct value_entry *e, const struct member *members, size_t n, struct err *err)
{
    struct str names[32];
    for (size_t i = 0; i < n && i < 32; i++)
        names[i] = str_of(members[i].name);
    err_set(err, ERR_INVALID, "unknown member '%.*s'", STR_ARG(str_sub(e->key, 0, 60)));
    err_path(err, "%.*s", STR_ARG(str_sub(e->key, 0, 60)));
    struct str near = suggest(e->key, names, n < 32 ? n : 32);
    if (near.n) return err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
    return false;
}

bool request_members(const struct value *body, const struct member *members, size_t n, struct err *err)
{
    for (size_t i = 0; body->type == VALUE_MAP && i < body->u.map.n; i++) {
        const struct value_entry *e = &body->u.map.entries[i];
        const struct member *m = NULL;
        for (size_t k = 0; k < n && !m; k++)
            if (str_is(e->key, members[k].name)) m = &members[k];
        if (!m) return unknown_member(e, members, n, err);
        if (e->value.type == VALUE_NULL || member_fits(&e->value, m->type)) continue;
        err_set(err, ERR_INVALID, "%s must be %s, not a %s", m->name, member_type_name(m->type),
                value_type_name(e->value.type));
        return err_path(err, "%s", m->name);
    }
    for (size_t k = 0; k < n; k++) {
        const struct value *v = members[k].required ? value_get(body, members[k].name) : NULL;
        if (!members[k].required || (v && v->type != VALUE_NULL)) continue;
        err_set(err, ERR_INVALID, "%s is missing", members[k].name);
        err_path(err, "%s", members[k].name);
        return err_hint(err, "it must be %s", member_type_name(members[k].type));
    }
    return true;
}

struct str member_str(const struct value *body, const char *name)
{
    const struct value *v = value_get(body, name);
    return v && v->type == VALUE_STRING ? v->u.s : (struct str){"", 0};
}
