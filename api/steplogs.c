/* What an attempt wrote: its log as text, by range, or followed as it grows. */
#include <string.h>
#include <unistd.h>

#include "api/files.h"
#include "api/handlers.h"
#include "api/runs.h"
#include "api/runtree.h"
#include "api/sse.h"
#include "engine/blob/logs.h"
#include "engine/os/secret.h"
#include "engine/store/tasks.h"

#define PIECE 32768

struct log_ref {
    int64_t run_id, project_id;
    int32_t task, attempt; /* attempt 0 = none has begun */
    bool pinned;           /* the client named the attempt: no other is followed */
    struct task_rec row;   /* task -1: none yet */
    struct mask secrets;   /* of the project */
};

static bool find_task(struct request *rq, struct conn *c, const struct run_rec *run, struct log_ref *ref,
                      struct err *err)
{
    struct str name = rq->segments[1];
    int64_t number;
    struct runtree tree;
    ref->row.task = -1;
    bool by_number = str_int(name, &number) && number >= 0 && number <= INT32_MAX;
    if (by_number ? tasks_get(c, run->id, (int32_t)number, rq->arena, &ref->row, err)
                  : tasks_find(c, run->id, name, rq->arena, &ref->row, err)) {
        ref->task = ref->row.task;
        if (by_number || ref->row.reason != REASON_SUPERSEDED) return true;
    } else if (err->code != ERR_NOT_FOUND) {
        return false;
    }
    if (!runtree_load(c, run, rq->arena, &tree, err)) return false;
    uint32_t task = by_number ? (uint32_t)number : runtree_find(&tree, name);
    if (runtree_node(&tree, task)) {
        ref->task = (int32_t)task;
        if (ref->row.task != ref->task) ref->row.task = -1; /* a retry replaced it by one that has no row yet */
        return true;
    }
    err_set(err, ERR_NOT_FOUND, "the run has no task '%.*s'", STR_ARG(str_sub(name, 0, 80)));
    return err_hint(err, "tasks are named by number or by path, such as train[2]");
}

static bool find_log(struct request *rq, struct log_ref *ref, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    struct str project;
    int64_t attempt;
    if (!request_arg_int(rq, "attempt", 1, INT32_MAX, 0, &attempt, err) || !run_of(rq, &c, &run, err) ||
        !find_task(rq, c, &run, ref, err) || !run_project(rq, &run, &project, err))
        return false;
    secret_mask(rq->api->cfg.secrets_dir, project, rq->arena, &ref->secrets);
    ref->run_id = run.id;
    ref->project_id = run.project_id;
    ref->pinned = attempt > 0;
    ref->attempt = ref->row.task < 0 ? 0 : ref->row.attempt;
    if (attempt > ref->attempt) {
        err_set(err, ERR_NOT_FOUND, "attempt %lld has not begun", (long long)attempt);
        return err_path(err, "query.attempt");
    }
    if (attempt) ref->attempt = (int32_t)attempt;
    return true;
}

/* May more come behind what is in the log? */
static bool grows(const struct log_ref *ref, const struct task_rec *row)
{
    return row->task >= 0 && row->attempt == ref->attempt && task_state_writes(row->state);
}

/* ---- text ---- */

static bool send_text(struct request *rq, const struct log_ref *ref, int64_t tail, struct err *err)
{
    char path[FS_PATH_MAX];
    int64_t size = 0; /* what is written later is neither covered nor sent */
    struct str dir = str_of(rq->api->cfg.store_dir);
    if (!step_log_path(dir, ref->run_id, ref->task, ref->attempt, path, err)) return false;
    FD_AUTO fd = ref->attempt ? step_log_open(dir, ref->run_id, ref->task, ref->attempt, &size, err) : -1;
    if (fd == -2) return false;
    if (fd >= 0 && grows(ref, &ref->row)) size = step_log_sure(fd, size, &ref->secrets);
    if (!step_log_cover(path, 0, &ref->secrets, err)) return false;
    response_header(rq, "X-Attempt", "%d", ref->attempt);
    struct file_answer f = {.fd = fd, .size = size, .type = "text/plain; charset=utf-8"};
    if (tail <= 0 || f.size == 0) return files_send(rq, &f, err);
    int64_t from;
    if (!step_log_tail(dir, ref->run_id, ref->task, ref->attempt, tail, &from, err)) return false;
    if (from > f.size) from = f.size;
    response_header(rq, "X-Offset", "%lld", (long long)from);
    response_begin(rq, 200, f.type);
    char *piece = arena_alloc(rq->arena, PIECE);
    while (from < f.size) {
        ssize_t got = pread(fd, piece, PIECE, from);
        if (got <= 0 || !response_add(rq, piece, (size_t)got)) break;
        from += got;
    }
    return true;
}

/* ---- following ---- */

/* JSON takes only UTF-8: what is not becomes U+FFFD. */
static struct str clean_text(struct arena *a, struct str s)
{
    if (utf8_valid(s, NULL)) return s;
    char *p = arena_alloc(a, 3 * s.n + 1);
    size_t n = 0, bad;
    while (!utf8_valid(s, &bad)) {
        memcpy(p + n, s.p, bad);
        memcpy(p + n + bad, "\xEF\xBF\xBD", 3);
        n += bad + 3;
        s = str_sub(s, bad + 1, s.n);
    }
    memcpy(p + n, s.p, s.n);
    return (struct str){p, n + s.n};
}

/* Bytes of a last character that is not whole yet. */
static size_t unfinished(struct str s)
{
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        unsigned char c = (unsigned char)s.p[s.n - back];
        if ((c & 0xc0) == 0x80) continue;
        size_t want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return want > back ? back : 0;
    }
    return 0;
}

static void tell_text(struct sse_stream *s, const struct log_ref *ref, struct str text, int64_t end)
{
    struct arena *a = s->rq->arena;
    BUF_AUTO json;
    buf_init(&json, 0);
    struct jsonw w;
    jsonw_to_buf(&w, &json);
    jsonw_object(&w);
    jsonw_kv_str(&w, "text", clean_text(a, text));
    jsonw_kv_int(&w, "offset", end);
    jsonw_kv_int(&w, "attempt", ref->attempt);
    jsonw_object_end(&w);
    if (jsonw_end(&w)) sse_event(s, "log", arena_printf(a, "%d.%lld", ref->attempt, (long long)end), buf_view(&json));
}

static void tell_end(struct sse_stream *s, const struct log_ref *ref, const char *state, int64_t offset)
{
    BUF_AUTO json;
    buf_init(&json, 0);
    struct jsonw w;
    jsonw_to_buf(&w, &json);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "state", state);
    jsonw_kv_int(&w, "attempt", ref->attempt);
    jsonw_kv_int(&w, "offset", offset);
    jsonw_object_end(&w);
    if (jsonw_end(&w)) sse_event(s, "end", (struct str){"", 0}, buf_view(&json));
}

/* The next piece of the log, secrets covered: what may be the beginning of one, or of a character, waits for what
 * follows. `ended`: nothing more comes, so what is torn is told as it is. */
static bool read_piece(struct request *rq, const struct log_ref *ref, bool ended, int64_t offset, struct buf *piece,
                       struct str *text, struct err *err)
{
    int64_t total, longest = (int64_t)mask_longest(&ref->secrets);
    int64_t before = offset < longest ? offset : longest; /* a secret may reach from there to here */
    struct str dir = str_of(rq->api->cfg.store_dir);
    buf_reset(piece);
    if (!step_log_read(dir, ref->run_id, ref->task, ref->attempt, offset - before, PIECE + (size_t)(2 * longest), piece,
                       &total, err))
        return false;
    struct str all = buf_view(piece);
    size_t unsure = mask_unsure(&ref->secrets, all);
    if (piece->n > 0) mask_cover(&ref->secrets, piece->p, piece->n);
    *text = str_sub(all, (size_t)before, all.n);
    if (ended && offset + (int64_t)text->n >= total) return true;
    text->n -= unsure < text->n ? unsure : text->n;
    text->n -= unfinished(*text);
    return true;
}

/* Everything that is in the file now. */
static bool tell_new(struct sse_stream *s, const struct log_ref *ref, bool ended, int64_t *offset, struct err *err)
{
    BUF_AUTO piece;
    struct str text;
    buf_init(&piece, 0);
    while (s->out.n < (1u << 20)) {
        if (!read_piece(s->rq, ref, ended, *offset, &piece, &text, err)) return false;
        if (text.n == 0) break;
        *offset += (int64_t)text.n;
        tell_text(s, ref, text, *offset);
    }
    return true;
}

/* One look. *done once all is told. */
static bool look(struct sse_stream *s, struct log_ref *ref, int64_t *offset, bool *done, struct err *err)
{
    struct conn *c;
    struct run_rec run;
    if (!request_db(s->rq, &c, err)) return false;
    struct task_rec row;
    bool there = tasks_get(c, ref->run_id, ref->task, s->rq->arena, &row, err);
    if (!there && err->code != ERR_NOT_FOUND) return false;
    if (!there) {
        if (!runs_get(c, ref->project_id, ref->run_id, s->rq->arena, &run, err)) return false;
        *done = run_state_terminal(run.state); /* it never began */
        if (*done) tell_end(s, ref, task_state_name(TASK_SKIPPED), 0);
        return true;
    }
    request_release(s->rq);
    if (ref->attempt == 0) ref->attempt = row.attempt;
    bool current = row.attempt == ref->attempt;
    bool ended = !grows(ref, &row);
    if (ref->attempt > 0 && !tell_new(s, ref, ended, offset, err)) return false;
    if (s->out.n >= (1u << 20)) return true; /* more at once */
    if (!ended) return true;
    if (current && (ref->pinned || task_state_terminal(row.state))) {
        tell_end(s, ref, task_state_name(row.state), *offset);
        *done = true;
    } else if (!current && ref->pinned) {
        tell_end(s, ref, task_state_name(TASK_FAILED), *offset);
        *done = true;
    } else if (!current) { /* on to the next attempt */
        ref->attempt++;
        *offset = 0;
    }
    return true;
}

/* "<attempt>.<offset>", as the ids of our events are. */
static bool resume(struct request *rq, struct log_ref *ref, int64_t *offset, struct err *err)
{
    struct str rest = sse_last_id(rq), first;
    int64_t attempt;
    if (rest.n == 0) return true;
    if (str_split(&rest, '.', &first) && str_int(first, &attempt) && attempt >= 1 && attempt <= ref->attempt &&
        str_int(rest, offset) && *offset >= 0) {
        ref->attempt = (int32_t)attempt;
        return true;
    }
    err_set(err, ERR_INVALID, "the last event id is not one of this log's");
    err_path(err, "Last-Event-ID");
    return err_hint(err, "it is ATTEMPT.OFFSET, such as 1.2048; attempts go up to %d", ref->attempt);
}

static bool stream(struct request *rq, struct log_ref *ref, int64_t tail, struct err *err)
{
    int64_t offset = 0;
    struct str dir = str_of(rq->api->cfg.store_dir);
    int64_t size;
    FD_AUTO fd = ref->attempt ? step_log_open(dir, ref->run_id, ref->task, ref->attempt, &size, err) : -1;
    if (fd == -2) return false; /* while that can still be told */
    if (tail > 0 && ref->attempt && !step_log_tail(dir, ref->run_id, ref->task, ref->attempt, tail, &offset, err))
        return false;
    struct sse_stream s;
    if (!resume(rq, ref, &offset, err) || !sse_open(&s, rq, err)) return false;
    bool done = false;
    struct err trouble;
    while (!done) {
        if (!look(&s, ref, &offset, &done, &trouble) && !err_retryable(trouble.code)) break;
        if (done || !sse_turn(&s)) break;
    }
    sse_close(&s);
    return true;
}

bool logs_show(struct request *rq, struct err *err)
{
    struct log_ref ref;
    bool follow;
    int64_t tail;
    if (!request_arg_bool(rq, "follow", &follow, err) || !request_arg_int(rq, "tail", 0, INT32_MAX, 0, &tail, err) ||
        !find_log(rq, &ref, err))
        return false;
    if (!rq->api->cfg.store_dir) return err_set(err, ERR_UNAVAILABLE, "this server has no store with logs");
    if (follow || request_accepts(rq, "text/event-stream")) return stream(rq, &ref, tail, err);
    return send_text(rq, &ref, tail, err);
}
