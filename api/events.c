/* The history of a run: as pages (which may wait for news), or as a stream that ends with the run. */
#include <string.h>

#include "api/handlers.h"
#include "api/runs.h"
#include "api/sse.h"
#include "engine/os/clock.h"
#include "engine/store/events.h"

#define EVENTS_A_LOOK 500
#define WAIT_MAX 25
#define WAITING_EVERY_US 1000000 /* a stream tells waiting reasons at most that often */

static void write_event(struct jsonw *w, const struct event_rec *ev)
{
    struct emit e = {.w = w};
    jsonw_object(w);
    emit_int(&e, "seq", ev->seq);
    emit_time(&e, "at", ev->at_us);
    emit_cstr(&e, "kind", event_kind_name(ev->kind));
    if (ev->task >= 0) {
        emit_int(&e, "task", ev->task);
        emit_str(&e, "path", ev->path);
        emit_id(&e, "attempt", ev->attempt);
    }
    emit_json(&e, "detail", ev->detail);
    jsonw_object_end(w);
}

/* ---- pages ---- */

struct history {
    int64_t id, after;
    uint32_t size;
    struct run_rec run;
    struct event_rec *items;
    size_t n;
};

static bool read_page(struct request *rq, struct history *p, struct err *err)
{
    struct conn *c;
    return run_of(rq, &c, &p->run, err) &&
           events_list(c, p->id, (int32_t)p->after, p->size, rq->arena, &p->items, &p->n, err);
}

static bool await_page(struct request *rq, struct history *p, int64_t wait_s, struct err *err)
{
    uint64_t tick = 0;
    int64_t end = os_mono_us() + wait_s * 1000000, left;
    while (p->n == 0 && !run_state_terminal(p->run.state) && (left = (end - os_mono_us()) / 1000) > 0) {
        if (rq->wire.gone && rq->wire.gone(rq->wire.ctx)) break;
        request_release(rq);
        if (!api_wait_news(rq->api, &tick, left < 250 ? left : 250)) break;
        if (!read_page(rq, p, err)) return false;
    }
    return true;
}

static bool show_page(struct request *rq, struct history *p, int64_t wait_s, struct err *err)
{
    if (!read_page(rq, p, err)) return false;
    if (wait_s > 0 && p->n == 0 && sse_enter(rq->api)) {
        bool ok = await_page(rq, p, wait_s, err);
        sse_leave(rq->api);
        if (!ok) return false;
    }
    struct jsonw *w = response_json(rq, 200);
    jsonw_object(w);
    jsonw_key(w, "items");
    jsonw_array(w);
    for (size_t i = 0; i < p->n; i++)
        write_event(w, &p->items[i]);
    jsonw_array_end(w);
    jsonw_kv_cstr(w, "state", run_state_name(p->run.state));
    jsonw_kv_int(w, "last", p->n ? p->items[p->n - 1].seq : p->after);
    jsonw_object_end(w);
    return true;
}

/* ---- streams ---- */

struct follower {
    struct sse_stream sse;
    int64_t run_id, project_id; /* project_id 0 = any */
    int64_t after, seen_stamp;
    uint64_t told_waiting; /* hash of the waiting reasons last told */
    int64_t told_us;
    bool done;
};

static void stream_json(struct sse_stream *s, const char *kind, struct str id, struct buf *json)
{
    sse_event(s, kind, id, buf_view(json));
    buf_reset(json);
}

static void tell_events(struct follower *f, const struct event_rec *items, size_t n)
{
    BUF_AUTO json;
    buf_init(&json, 0);
    struct jsonw w;
    for (size_t i = 0; i < n; i++) {
        jsonw_to_buf(&w, &json);
        write_event(&w, &items[i]);
        if (!jsonw_end(&w)) continue;
        struct str id = arena_printf(f->sse.rq->arena, "%d", items[i].seq);
        stream_json(&f->sse, event_kind_name(items[i].kind), id, &json);
        f->after = items[i].seq;
    }
}

static bool tell_run(struct follower *f, struct conn *c, const char *kind, struct err *err)
{
    struct run_rec run;
    struct str project;
    struct jsonw w;
    BUF_AUTO json;
    buf_init(&json, 0);
    if (!runs_get(c, f->project_id, f->run_id, f->sse.rq->arena, &run, err)) return false;
    bool end = strcmp(kind, "end") == 0;
    if (!end) {
        uint64_t hash = str_hash(run.waiting);
        if (hash == f->told_waiting || run.waiting.n == 0) return true;
        f->told_waiting = hash;
        sse_event(&f->sse, kind, (struct str){"", 0}, run.waiting);
        return true;
    }
    if (!run_project(f->sse.rq, &run, &project, err)) return false;
    jsonw_to_buf(&w, &json);
    struct emit e = {.w = &w};
    run_write(&e, &run, project);
    if (!jsonw_end(&w)) return err_set(err, ERR_INTERNAL, "the run could not be written");
    stream_json(&f->sse, kind, (struct str){"", 0}, &json);
    return true;
}

/* One look at the database. */
static bool look(struct follower *f, struct err *err)
{
    struct conn *c;
    enum run_state state;
    int64_t last, now = os_mono_us();
    struct event_rec *items;
    size_t n = 0;
    if (!request_db(f->sse.rq, &c, err) || !runs_stamp(c, f->project_id, f->run_id, &state, &last, err)) return false;
    if (last > f->after) {
        if (!events_list(c, f->run_id, (int32_t)f->after, EVENTS_A_LOOK, f->sse.rq->arena, &items, &n, err))
            return false;
        tell_events(f, items, n);
        if (n == 0) f->after = last;         /* a stamp ahead of what there is to see must not keep the stream open */
        if (n == EVENTS_A_LOOK) return true; /* more at once: the stream does not wait while it has something to send */
    }
    if (run_state_terminal(state) && last <= f->after) {
        if (!tell_run(f, c, "end", err)) return false;
        f->done = true;
        return true;
    }
    if (now - f->told_us < WAITING_EVERY_US) return true;
    f->told_us = now;
    return tell_run(f, c, "waiting", err);
}

static void follow(struct follower *f)
{
    struct err err;
    while (!f->done) {
        if (!look(f, &err)) {
            /* The database may be away for a while: the stream stays. A deleted run ends it. */
            if (err.code == ERR_NOT_FOUND || !err_retryable(err.code)) break;
        }
        if (f->done || !sse_turn(&f->sse)) break;
    }
}

static bool stream(struct request *rq, int64_t id, int64_t after, struct err *err)
{
    struct follower f = {.run_id = id, .project_id = rq->who.project, .after = after};
    if (!sse_open(&f.sse, rq, err)) return false;
    follow(&f);
    sse_close(&f.sse);
    return true;
}

bool events_index(struct request *rq, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    int64_t after, wait_s, size;
    if (!request_arg_int(rq, "after", -1, INT32_MAX, -1, &after, err) ||
        !request_arg_int(rq, "wait", 0, WAIT_MAX, 0, &wait_s, err) ||
        !request_arg_int(rq, "page_size", 1, 1000, 200, &size, err))
        return false;
    struct str resume = sse_last_id(rq);
    if (resume.n && (!str_int(resume, &after) || after < -1 || after > INT32_MAX)) {
        err_set(err, ERR_INVALID, "the last event id is not one of ours");
        err_path(err, "Last-Event-ID");
        return err_hint(err, "it is the number of an event of the run, such as 12");
    }
    if (!run_of(rq, &c, &run, err)) return false;
    if (request_accepts(rq, "text/event-stream")) return stream(rq, run.id, after, err);
    struct history h = {.id = run.id, .after = after, .size = (uint32_t)size};
    return show_page(rq, &h, wait_s, err);
}
