/* Waiting: until when a `wait` step waits, and why a task does not start, said in words. */
#include "engine/base/jsonw.h"
#include "engine/base/units.h"
#include "engine/flow/run_inner.h"

#define NAMES_MAX 3
#define SCAN_MAX 20000 /* tasks looked at for examples */

/* ---- RFC 3339 ---- */

static bool digits(struct str s, size_t at, size_t n, int *out)
{
    *out = 0;
    if (at + n > s.n) return false;
    for (size_t i = at; i < at + n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        *out = *out * 10 + (s.p[i] - '0');
    }
    return true;
}

/* Days since 1970-01-01 of a day of the Gregorian calendar: years of 400 years' eras that begin in March. */
static int64_t days_of(int y, int m, int d)
{
    y -= m <= 2;
    int era = (y >= 0 ? y : y - 399) / 400, year = y - era * 400;
    int day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return (int64_t)era * 146097 + year * 365 + year / 4 - year / 100 + day - 719468;
}

static bool zone_of(struct str s, size_t at, int64_t *seconds)
{
    int h, m;
    *seconds = 0;
    if (at + 1 == s.n && (s.p[at] == 'Z' || s.p[at] == 'z')) return true;
    if (at + 6 != s.n || (s.p[at] != '+' && s.p[at] != '-') || s.p[at + 3] != ':') return false;
    if (!digits(s, at + 1, 2, &h) || !digits(s, at + 4, 2, &m) || h > 23 || m > 59) return false;
    *seconds = (int64_t)(h * 60 + m) * 60 * (s.p[at] == '-' ? -1 : 1);
    return true;
}

static bool month_has(int y, int m, int d)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (m == 2 && leap);
}

static bool rfc3339(struct str s, int64_t *us)
{
    int y, mo, d, h, mi, sec;
    if (s.n < 20 || s.p[4] != '-' || s.p[7] != '-' || (s.p[10] != 'T' && s.p[10] != 't' && s.p[10] != ' ') ||
        s.p[13] != ':' || s.p[16] != ':')
        return false;
    if (!digits(s, 0, 4, &y) || !digits(s, 5, 2, &mo) || !digits(s, 8, 2, &d) || !digits(s, 11, 2, &h) ||
        !digits(s, 14, 2, &mi) || !digits(s, 17, 2, &sec) || !month_has(y, mo, d) || h > 23 || mi > 59 || sec > 60)
        return false;
    size_t at = 19;
    int64_t micros = 0, scale = 100000, zone;
    if (s.p[at] == '.') {
        size_t from = ++at;
        for (; at < s.n && s.p[at] >= '0' && s.p[at] <= '9'; at++, scale /= 10)
            micros += (s.p[at] - '0') * scale;
        if (at == from) return false;
    }
    if (at >= s.n || !zone_of(s, at, &zone)) return false;
    *us = ((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60 + sec - zone;
    *us = *us * 1000000 + micros;
    return true;
}

bool wait_due(const struct value *v, bool until, int64_t now_us, int64_t *due_us, struct err *err)
{
    if (until) {
        if (v->type == VALUE_STRING && rfc3339(v->u.s, due_us)) return true;
        if (v->type == VALUE_STRING)
            err_set(err, ERR_INVALID, "'%.*s' is no time", STR_ARG(str_sub(v->u.s, 0, 60)));
        else
            err_set(err, ERR_INVALID, "a time is text, this is of type %s", value_type_name(v->type));
        return err_hint(err, "write it as 2026-01-31T08:00:00Z");
    }
    int64_t ms;
    if (!units_duration(v, &ms, err)) return false;
    *due_us = now_us + ms * 1000;
    return true;
}

/* ---- why it waits ---- */

static void upstream_text(const struct run *r, uint32_t task, struct buf *text)
{
    const struct frame *f = &r->frames[r->tasks[task].frame];
    if (f->kind != FRAME_GRAPH) return;
    const struct node *n = run_task_node(r, task);
    uint32_t open = 0;
    for (uint32_t i = 0; i < n->n_deps; i++) {
        uint32_t other = f->first + n->deps[i];
        if (task_state_terminal((enum task_state)r->tasks[other].state)) continue;
        if (open < NAMES_MAX) {
            struct str name = run_task_node(r, other)->name;
            buf_printf(text, "%s%.*s", open == 0 ? "waits for " : ", ", STR_ARG(name));
        }
        open++;
    }
    if (open > NAMES_MAX) buf_printf(text, " and %u more", open - NAMES_MAX);
    if (open == 0)
        buf_c(text, task_is_exit(r, task) ? "waits for the end of all other steps" : "waits for its pipeline to go on");
}

static bool ready_text(const struct run *r, uint32_t task, struct buf *text)
{
    uint32_t at = gate_waiting_at(r, task);
    if (at != NONE) {
        const struct frame *f = &r->frames[at];
        return buf_printf(text, "parallelism of %s: %u of %u run", f->kind == FRAME_ITEMS ? "its loop" : "its pipeline",
                          f->gate.active, f->gate.limit);
    }
    if (r->tasks[task].flags & TASK_ASKED) return buf_c(text, "looks for an earlier result in the cache");
    if (r->tasks[task].flags & TASK_FRESH) return buf_c(text, "is about to be looked at");
    return false;
}

bool run_task_waits(const struct run *r, uint32_t task, struct buf *text)
{
    enum task_state state = run_task_state(r, task);
    if (task_state_terminal(state) || state == TASK_RUNNING || state == TASK_STOPPING) return false;
    if (r->state == RUN_QUEUED) return buf_c(text, "the run waits for another run of its pipeline");
    if (state == TASK_PENDING) {
        upstream_text(r, task, text);
        return true;
    }
    if (state == TASK_WAITING) return buf_c(text, reason_text((enum reason)r->tasks[task].reason));
    if (state == TASK_BACKOFF)
        return buf_c(text, r->tasks[task].reason == REASON_PREEMPTED ? "gave way to other work, and waits again"
                                                                     : "failed, and starts again after its back-off");
    if (r->state == RUN_PAUSED) return buf_c(text, "the run is paused");
    return ready_text(r, task, text);
}

static const enum task_state waiting_states[] = {TASK_READY, TASK_WAITING, TASK_BACKOFF, TASK_PENDING};
#define WAITING_STATES (sizeof waiting_states / sizeof waiting_states[0])

bool run_waits(const struct run *r)
{
    for (size_t i = 0; i < WAITING_STATES; i++)
        if (r->count[waiting_states[i]] > 0) return true;
    return false;
}

struct examples {
    const struct run *r;
    const struct run_waiting *how;
    struct arena arena;
    struct jsonw w;
    size_t left;
};

static void told(struct examples *x, uint32_t task, struct str why)
{
    jsonw_object(&x->w);
    jsonw_kv_int(&x->w, "task", task);
    jsonw_kv_str(&x->w, "path", run_task_path(x->r, task, &x->arena));
    jsonw_kv_cstr(&x->w, "state", task_state_name(x->r->tasks[task].state)); /* in another one it has no reason */
    jsonw_kv_str(&x->w, "reason", why);
    jsonw_object_end(&x->w);
    x->left--;
}

static void example(struct examples *x, uint32_t task)
{
    BUF_AUTO why;
    buf_init(&why, 400);
    if (!run_task_waits(x->r, task, &why)) x->how->room(x->how->ctx, task, &why);
    told(x, task, buf_view(&why));
}

static void starting_examples(struct examples *x)
{
    const void *cursor = NULL;
    uint32_t task;
    struct str why;
    while (x->how->next != NULL && x->left > 0 && x->how->next(x->how->ctx, &cursor, &task, &why))
        told(x, task, why);
}

static void examples_of(struct examples *x, enum task_state state)
{
    const struct run *r = x->r;
    uint32_t left = r->count[state];
    for (uint32_t task = 0; task < r->n_tasks && task < SCAN_MAX && x->left > 0 && left > 0; task++) {
        if (r->tasks[task].state != state || r->frames[r->tasks[task].frame].dead) continue;
        example(x, task);
        left--;
    }
}

void run_waiting_json(const struct run *r, const struct run_waiting *how, struct buf *out)
{
    struct examples x = {.r = r, .how = how, .left = how->max};
    arena_init(&x.arena, 0);
    jsonw_to_buf(&x.w, out);
    jsonw_object(&x.w);
    for (size_t i = 0; i < WAITING_STATES; i++)
        if (r->count[waiting_states[i]] > 0)
            jsonw_kv_int(&x.w, task_state_name(waiting_states[i]), r->count[waiting_states[i]]);
    jsonw_key(&x.w, "examples");
    jsonw_array(&x.w);
    starting_examples(&x);
    for (size_t i = 0; i < WAITING_STATES; i++)
        examples_of(&x, waiting_states[i]);
    jsonw_array_end(&x.w);
    jsonw_object_end(&x.w);
    (void)jsonw_end(&x.w);
    arena_free(&x.arena);
}
