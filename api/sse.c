/* Writing, pacing and ending event streams. See sse.h. */
#include "api/sse.h"

#include <string.h>

#include "engine/os/clock.h"

#define LEAST_MS 20 /* between two looks, whatever the news */
#define FIRST_MS 50
#define MOST_MS 500
#define HEARTBEAT_US 10000000

bool sse_enter(struct api *api)
{
    if (atomic_fetch_add(&api->streams, 1) < api->max_streams) return true;
    atomic_fetch_sub(&api->streams, 1);
    return false;
}

void sse_leave(struct api *api)
{
    atomic_fetch_sub(&api->streams, 1);
}

bool sse_open(struct sse_stream *s, struct request *rq, struct err *err)
{
    struct api *api = rq->api;
    if (!sse_enter(api)) {
        err_set(err, ERR_UNAVAILABLE, "%u followers of events or logs are here, which is as many as may be",
                api->max_streams);
        response_header(rq, "Retry-After", "2");
        return err_hint(err, "poll instead, or start the server with more --threads");
    }
    memset(s, 0, sizeof *s);
    s->rq = rq;
    s->sent_us = os_mono_us();
    s->pause_ms = FIRST_MS;
    buf_init(&s->out, 16u << 20);
    request_release(rq);
    arena_init(&s->arena, 0);
    s->outer = rq->arena;
    rq->arena = &s->arena;
    response_header(rq, "X-Accel-Buffering", "no"); /* proxies that gather would hold events back */
    if (!response_stream(rq, 200, "text/event-stream", -1)) rq->res.failed = true;
    return true;
}

void sse_close(struct sse_stream *s)
{
    if (s->out.n && !response_write(s->rq, s->out.p, s->out.n)) s->rq->res.failed = true;
    buf_free(&s->out);
    request_release(s->rq);
    s->rq->arena = s->outer;
    arena_free(&s->arena);
    sse_leave(s->rq->api);
}

void sse_event(struct sse_stream *s, const char *kind, struct str id, struct str data)
{
    if (id.n) buf_printf(&s->out, "id: %.*s\n", STR_ARG(id));
    buf_printf(&s->out, "event: %s\ndata: ", kind);
    for (size_t i = 0; i < data.n; i++) /* a line break would end the data */
        buf_char(&s->out, data.p[i] == '\n' || data.p[i] == '\r' ? ' ' : data.p[i]);
    buf_c(&s->out, "\n\n");
}

bool sse_turn(struct sse_stream *s)
{
    int64_t now = os_mono_us();
    bool news = s->out.n > 0;
    if (s->rq->wire.gone && s->rq->wire.gone(s->rq->wire.ctx)) return false;
    if (!news && now - s->sent_us > HEARTBEAT_US) buf_c(&s->out, ":\n\n");
    if (s->out.n) {
        if (!response_write(s->rq, s->out.p, s->out.n)) return false;
        buf_reset(&s->out);
        s->sent_us = now;
    }
    s->pause_ms = news ? FIRST_MS : s->pause_ms * 3 / 2;
    if (s->pause_ms > MOST_MS) s->pause_ms = MOST_MS;
    request_release(s->rq);
    arena_reset(&s->arena);
    if (!api_wait_news(s->rq->api, &s->tick, s->pause_ms)) return false;
    /* A busy server has news all the time: gather a little. */
    int64_t left = LEAST_MS - (os_mono_us() - now) / 1000;
    return left <= 0 || api_wait_stop(s->rq->api, left);
}

struct str sse_last_id(struct request *rq)
{
    return str_of(request_header(rq, "Last-Event-ID"));
}
