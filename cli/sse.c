/* The event stream format, read in pieces: see client.h. */
#include <string.h>

#include "cli/client.h"
#include "engine/text/json.h"

#define LINE_MAX_BYTES (4u << 20)

void sse_init(struct sse *s, client_event_fn *fn, void *ctx)
{
    memset(s, 0, sizeof *s);
    arena_init(&s->arena, 0);
    buf_init(&s->line, LINE_MAX_BYTES);
    buf_init(&s->data, LINE_MAX_BYTES);
    buf_init(&s->id, 1024);
    buf_init(&s->next_id, 1024);
    buf_init(&s->kind, 256);
    s->fn = fn;
    s->ctx = ctx;
}

void sse_reset(struct sse *s)
{
    buf_reset(&s->line);
    buf_reset(&s->data);
    buf_reset(&s->kind);
    buf_reset(&s->next_id);
    buf_str(&s->next_id, buf_view(&s->id));
    s->started = s->after_cr = false;
}

void sse_free(struct sse *s)
{
    arena_free(&s->arena);
    buf_free(&s->line);
    buf_free(&s->data);
    buf_free(&s->id);
    buf_free(&s->next_id);
    buf_free(&s->kind);
}

static bool dispatch(struct sse *s)
{
    bool go_on = true;
    buf_reset(&s->id);
    buf_str(&s->id, buf_view(&s->next_id));
    if (s->data.n && !s->data.over) {
        struct str data = buf_view(&s->data);
        if (str_ends(data, "\n")) data.n--;
        struct client_event event = {.id = buf_view(&s->id), .kind = buf_view(&s->kind), .data = data};
        if (!event.kind.n) event.kind = STR("message");
        event.value = value_null();
        arena_reset(&s->arena);
        struct value v;
        if (str_starts(data, "{") && json_parse(&s->arena, data, 0, &v, NULL)) event.value = v;
        go_on = s->fn(s->ctx, &event);
    }
    buf_reset(&s->data);
    buf_reset(&s->kind);
    return go_on;
}

static void field(struct sse *s, struct str line)
{
    struct str rest = line, name;
    str_split(&rest, ':', &name);
    struct str value = name.n < line.n ? str_sub(line, name.n + 1, line.n) : STR("");
    if (str_starts(value, " ")) value = str_sub(value, 1, value.n);
    if (str_is(name, "data")) {
        buf_str(&s->data, value);
        buf_char(&s->data, '\n');
    } else if (str_is(name, "event")) {
        buf_reset(&s->kind);
        buf_str(&s->kind, value);
    } else if (str_is(name, "id")) {
        buf_reset(&s->next_id);
        buf_str(&s->next_id, value);
    } /* a comment begins with a colon: its name is empty */
}

static bool line_done(struct sse *s)
{
    struct str line = buf_view(&s->line);
    if (!s->started && str_starts(line, "\xEF\xBB\xBF")) line = str_sub(line, 3, line.n);
    s->started = true;
    bool go_on = true;
    if (!line.n)
        go_on = dispatch(s);
    else
        field(s, line);
    buf_reset(&s->line);
    return go_on;
}

bool sse_feed(struct sse *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool second = p[i] == '\n' && s->after_cr;
        s->after_cr = p[i] == '\r';
        if (second) continue;
        if (p[i] != '\n' && p[i] != '\r') {
            size_t end = i;
            while (end < n && p[end] != '\n' && p[end] != '\r')
                end++;
            buf_add(&s->line, p + i, end - i);
            i = end - 1;
            continue;
        }
        if (!line_done(s)) return false;
    }
    return true;
}
