/* Members that are left out when empty or unasked for, and pages. See emit.h. */
#include "api/emit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct emit emit_of(struct request *rq, struct jsonw *w)
{
    struct emit e = {.w = w};
    request_arg(rq, "fields", &e.fields);
    return e;
}

bool emit_wants(const struct emit *e, const char *key)
{
    if (e->fields.n == 0) return true;
    struct str rest = e->fields, name;
    while (str_split(&rest, ',', &name))
        if (str_is(str_trim(name), key)) return true;
    return false;
}

void emit_str(const struct emit *e, const char *key, struct str s)
{
    if (s.n && emit_wants(e, key)) jsonw_kv_str(e->w, key, s);
}

void emit_cstr(const struct emit *e, const char *key, const char *c)
{
    if (c && *c && emit_wants(e, key)) jsonw_kv_cstr(e->w, key, c);
}

void emit_int(const struct emit *e, const char *key, int64_t i)
{
    if (emit_wants(e, key)) jsonw_kv_int(e->w, key, i);
}

void emit_id(const struct emit *e, const char *key, int64_t i)
{
    if (i) emit_int(e, key, i);
}

void emit_bool(const struct emit *e, const char *key, bool b)
{
    if (emit_wants(e, key)) jsonw_kv_bool(e->w, key, b);
}

void emit_time(const struct emit *e, const char *key, int64_t us)
{
    if (!us || !emit_wants(e, key)) return;
    char text[32];
    time_text(us, text);
    jsonw_kv_cstr(e->w, key, text);
}

void emit_json(const struct emit *e, const char *key, struct str json)
{
    if (!json.n || !emit_wants(e, key)) return;
    jsonw_key(e->w, key);
    jsonw_raw(e->w, json);
}

void time_text(int64_t us, char out[32])
{
    time_t s = (time_t)(us / 1000000);
    long part = (long)(us % 1000000);
    if (part < 0) {
        part += 1000000;
        s--;
    }
    struct tm tm;
    gmtime_r(&s, &tm);
    char day[24];
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 32, "%s.%06ldZ", day, part);
}

static uint32_t list_of(const struct request *rq)
{
    return (uint32_t)str_hash(rq->path);
}

bool page_of(struct request *rq, struct page *out, struct err *err)
{
    int64_t size;
    if (!request_arg_int(rq, "page_size", 1, PAGE_MAX, PAGE_DEFAULT, &size, err)) return false;
    out->size = (uint32_t)size;
    out->list = list_of(rq);
    out->token = (struct str){"", 0};
    request_arg(rq, "page_token", &out->token);
    return true;
}

bool page_number(const struct page *page, int64_t first, int64_t *out, struct err *err)
{
    char list[12];
    struct str rest = page->token, head;
    *out = first;
    if (rest.n == 0) return true;
    snprintf(list, sizeof list, "%08x", page->list);
    if (str_split(&rest, '.', &head) && str_is(head, list) && str_int(rest, out) && *out >= 0 && *out <= INT32_MAX)
        return true;
    err_set(err, ERR_INVALID, "the page token is not one of this list's");
    err_path(err, "query.page_token");
    return err_hint(err, "give next_page_token of the page before, unchanged");
}

struct jsonw *page_begin(struct request *rq)
{
    struct jsonw *w = response_json(rq, 200);
    jsonw_object(w);
    jsonw_key(w, "items");
    jsonw_array(w);
    return w;
}

void page_end(struct request *rq, struct str next)
{
    struct jsonw *w = &rq->res.json;
    jsonw_array_end(w);
    if (next.n) jsonw_kv_str(w, "next_page_token", next);
    jsonw_object_end(w);
}

void page_end_number(struct request *rq, bool more, int64_t last)
{
    struct str next = {NULL, 0};
    if (more) next = arena_printf(rq->arena, "%08x.%lld", list_of(rq), (long long)last);
    page_end(rq, next);
}
