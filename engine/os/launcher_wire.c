/* See launcher_wire.h. */
#include "engine/os/launcher_wire.h"

static void put_strs(struct buf *out, const struct str *items, size_t n)
{
    wire_u32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        wire_str(out, items[i]);
}

static const struct str *get_strs(struct wire_reader *r, struct arena *a, size_t *n)
{
    *n = wire_get_count(r, sizeof(uint32_t));
    struct str *items = arena_array(a, struct str, *n + 1);
    for (size_t i = 0; i < *n; i++)
        items[i] = arena_str(a, wire_get_str(r));
    return items;
}

void launcher_put_request(struct buf *out, const struct launcher_request *req)
{
    size_t begin = wire_begin(out, FRAME_LAUNCH);
    wire_str(out, req->name);
    put_strs(out, req->argv, req->n_argv);
    put_strs(out, req->env, req->n_env);
    put_strs(out, req->folders, req->n_folders);
    wire_u32(out, (uint32_t)req->n_files);
    for (size_t i = 0; i < req->n_files; i++) {
        const struct launcher_file *f = &req->files[i];
        wire_str(out, f->to);
        wire_str(out, f->from);
        wire_str(out, f->text);
        wire_u32(out, f->mode);
    }
    wire_str(out, req->workdir);
    wire_str(out, req->tree);
    wire_str(out, req->cwd);
    wire_str(out, req->log);
    const int64_t numbers[] = {req->uid,        req->gid,      req->memory_bytes,
                               req->timeout_ms, req->grace_ms, req->workdir_made};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        wire_i64(out, numbers[i]);
    wire_i64(out, req->log_max_bytes);
    if (req->note.n > 0) wire_str(out, req->note);
    wire_end(out, begin);
}

bool launcher_get_request(struct wire_reader *r, struct arena *a, struct launcher_request *out)
{
    struct launcher_request req = {0};
    req.name = arena_str(a, wire_get_str(r));
    req.argv = get_strs(r, a, &req.n_argv);
    req.env = get_strs(r, a, &req.n_env);
    req.folders = get_strs(r, a, &req.n_folders);
    req.n_files = wire_get_count(r, 4 * sizeof(uint32_t));
    struct launcher_file *files = arena_array(a, struct launcher_file, req.n_files + 1);
    for (size_t i = 0; i < req.n_files; i++) {
        files[i].to = arena_str(a, wire_get_str(r));
        files[i].from = arena_str(a, wire_get_str(r));
        files[i].text = arena_str(a, wire_get_str(r));
        files[i].mode = wire_get_u32(r);
    }
    req.files = files;
    req.workdir = arena_str(a, wire_get_str(r));
    req.tree = arena_str(a, wire_get_str(r));
    req.cwd = arena_str(a, wire_get_str(r));
    req.log = arena_str(a, wire_get_str(r));
    int64_t made = 0;
    int64_t *const numbers[] = {&req.uid, &req.gid, &req.memory_bytes, &req.timeout_ms, &req.grace_ms, &made};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        *numbers[i] = wire_get_i64(r);
    req.workdir_made = made != 0;
    if (r->p < r->end) req.log_max_bytes = wire_get_i64(r); /* an older server has no limit for it */
    if (r->p < r->end) req.note = arena_str(a, wire_get_str(r));
    if (r->bad || !launcher_name_fine(req.name) || req.n_argv == 0) return false;
    *out = req;
    return true;
}

enum { FLAG_OOM = 1, FLAG_TIMED_OUT = 2, FLAG_KILLED = 4, FLAG_NOT_STARTED = 8, FLAG_INFRA = 16, FLAG_LOG_FULL = 32 };

void launcher_put_event(struct buf *out, enum launcher_frame kind, const struct launcher_event *e, int64_t ticks)
{
    size_t begin = wire_begin(out, (uint8_t)kind);
    wire_str(out, e->name);
    wire_str(out, e->error);
    wire_u32(out, (e->oom ? FLAG_OOM : 0u) | (e->timed_out ? FLAG_TIMED_OUT : 0u) | (e->killed ? FLAG_KILLED : 0u) |
                      (e->not_started ? FLAG_NOT_STARTED : 0u) | (e->infra ? FLAG_INFRA : 0u) |
                      (e->log_full ? FLAG_LOG_FULL : 0u));
    const int64_t numbers[] = {e->pid,    ticks,      e->started_us, e->ended_us,      e->code,
                               e->signal, e->user_us, e->system_us,  e->max_rss_bytes, e->memory_peak_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        wire_i64(out, numbers[i]);
    if (e->note.n > 0) wire_str(out, e->note);
    wire_end(out, begin);
}

bool launcher_get_event(struct wire_reader *r, struct launcher_event *out, int64_t *ticks)
{
    struct launcher_event e = {.name = wire_get_str(r), .error = wire_get_str(r)};
    uint32_t flags = wire_get_u32(r);
    int64_t code = 0, sig = 0;
    int64_t *const numbers[] = {&e.pid, ticks,      &e.started_us, &e.ended_us,      &code,
                                &sig,   &e.user_us, &e.system_us,  &e.max_rss_bytes, &e.memory_peak_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        *numbers[i] = wire_get_i64(r);
    e.oom = flags & FLAG_OOM;
    e.timed_out = flags & FLAG_TIMED_OUT;
    e.killed = flags & FLAG_KILLED;
    e.not_started = flags & FLAG_NOT_STARTED;
    e.infra = flags & FLAG_INFRA;
    e.log_full = flags & FLAG_LOG_FULL;
    e.code = (int32_t)code;
    e.signal = (int32_t)sig;
    if (r->p < r->end) e.note = wire_get_str(r);
    if (r->bad || !launcher_name_fine(e.name)) return false;
    *out = e;
    return true;
}

void launcher_put_name(struct buf *out, enum launcher_frame kind, struct str name)
{
    size_t begin = wire_begin(out, (uint8_t)kind);
    wire_str(out, name);
    wire_end(out, begin);
}

bool launcher_name_fine(struct str name)
{
    if (name.n == 0 || name.n > LAUNCHER_NAME_MAX || name.p[0] == '.') return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                    c == '_' || c == '-';
        if (!fine) return false;
    }
    return true;
}
