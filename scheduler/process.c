/* The process executor: the attempts it knows, and what the scheduler asks of them. See process.h and process_inner.h.
 */
#include "scheduler/process.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/link.h"
#include "engine/blob/bundle.h"
#include "engine/blob/logs.h"
#include "engine/os/clock.h"
#include "engine/os/fs.h"
#include "scheduler/process_inner.h"

#define WORKERS 3

/* ---- the table of attempts ---- */

static struct attempt *find(const struct process *p, const char *name)
{
    uint64_t found;
    return map_get(&p->by_name, str_of(name), &found) ? (struct attempt *)(uintptr_t)found : NULL;
}

bool process_knows(const struct process *p, const char *name)
{
    return find(p, name) != NULL;
}

static void name_of(struct attempt_id id, char out[ATTEMPT_NAME])
{
    int n = snprintf(out, ATTEMPT_NAME, "%lld-%u-%u", (long long)id.run, id.task, id.attempt);
    if (id.made_us != 0) snprintf(out + n, (size_t)(ATTEMPT_NAME - n), "-%lld", (long long)id.made_us);
}

/* Older servers launched without the last part: what runs so is nobody's now. */
static bool id_of(struct str name, struct attempt_id *out)
{
    struct str rest = name, part;
    int64_t n[4] = {0};
    for (size_t i = 0; i < 4 && (i < 3 || rest.n > 0); i++)
        if (!str_split(&rest, '-', &part) || !str_int(part, &n[i])) return false;
    *out = (struct attempt_id){n[0], (uint32_t)n[1], (uint32_t)n[2], n[3]};
    return true;
}

static struct attempt *add(struct process *p, struct attempt_id id)
{
    struct err err = {0};
    struct attempt *a = calloc(1, sizeof *a);
    if (a == NULL) abort();
    a->owner = p;
    a->id = id;
    arena_init(&a->arena, (size_t)256 << 20);
    name_of(id, a->name);
    snprintf(a->workdir, sizeof a->workdir, "%.*s/work/%s", STR_ARG(p->cfg.data_dir), a->name);
    if (!step_log_path(p->cfg.store_dir, id.run, (int32_t)id.task, (int32_t)id.attempt, a->log, &err)) a->log[0] = '\0';
    map_put(&p->by_name, str_of(a->name), (uint64_t)(uintptr_t)a, NULL);
    LINK(&p->first, a);
    return a;
}

static void free_attempt(struct attempt *a)
{
    arena_free(&a->arena);
    free(a);
}

static void drop(struct process *p, struct attempt *a)
{
    map_del(&p->by_name, str_of(a->name));
    UNLINK(a);
    free_attempt(a);
}

/* ---- phases ---- */

static void tell(struct process *p, struct attempt *a)
{
    a->phase = PHASE_TOLD;
    if (a->queued) return;
    a->queued = true;
    a->next_event = NULL;
    *p->events_end = a;
    p->events_end = &a->next_event;
}

static void end_locally(struct process *p, struct attempt *a, enum failure f, enum reason r, struct str message)
{
    gpus_give(p->gpus, a->id);
    a->ended = true;
    a->result = (struct task_result){.failure = f, .reason = r, .exit_code = -1, .message = message};
    tell(p, a);
}

static void launch_now(struct process *p, struct attempt *a)
{
    struct err err = {0};
    if (a->kill_wanted) {
        end_locally(p, a, FAILURE_ERROR, REASON_CANCELLED, STR("was stopped before it began"));
        return;
    }
    work_take(p, a);
    if (!launcher_launch(p->launcher, a->request, &err)) {
        end_locally(p, a, FAILURE_INVALID, REASON_INVALID, arena_printf(&a->arena, "%s", err.message));
        return;
    }
    a->phase = PHASE_RUNNING;
}

/* Ended as far as the launcher is concerned; now what it left. */
static void take_end(struct process *p, struct attempt *a)
{
    bool quotes = a->end.code != 0 || a->end.signal != 0;
    if (a->n_wanted == 0 && !quotes && !a->secretive) {
        process_result(a);
        tell(p, a);
        return;
    }
    a->phase = PHASE_COLLECTING;
    a->job.run = process_collect;
    workers_add(p->workers, &a->job);
}

static void answer_unknown(struct process *p, struct attempt *a)
{
    if (a->kill_wanted)
        end_locally(p, a, FAILURE_ERROR, REASON_CANCELLED, STR("was stopped"));
    else
        tell(p, a);
}

/* Asked for after a restart, and the launcher, which has told all it knows, does not know it. It may have run under
 * another one, and nobody will come back to its log. */
static void answer_held(struct process *p, struct attempt *a)
{
    if (!a->secretive || a->never) {
        answer_unknown(p, a);
        return;
    }
    a->phase = PHASE_COLLECTING;
    a->job.run = process_cover;
    workers_add(p->workers, &a->job);
}

/* ---- what the launcher and the workers say ---- */

static void hear_started(struct process *p, struct attempt *a, struct str note)
{
    a->known = true;
    gpus_found(p->gpus, a->id, note);
    a->heard = p->link;
    if (a->phase != PHASE_HELD) return;
    a->phase = PHASE_RUNNING;
    if (a->kill_wanted) launcher_kill(p->launcher, str_of(a->name), a->kill_grace_ms);
}

static void hear_end(struct process *p, struct attempt *a, const struct launcher_event *e)
{
    gpus_give(p->gpus, a->id);
    if (a->ended || a->phase == PHASE_COLLECTING) return;
    a->known = a->ended = true;
    a->end = *e;
    a->end.name = str_of(a->name);
    a->end.error = arena_str(&a->arena, e->error);
    if (a->asked) take_end(p, a);
}

/* A launcher that knows nothing of what a former one had started: its journal is gone, and with it the attempt. What it
 * wrote is there, and is looked after as at any other end. */
static void lose(struct process *p, struct attempt *a)
{
    const struct launcher_event lost = {.kind = LAUNCHER_LOST, .code = -1, .killed = a->kill_wanted, .error = STR("")};
    hear_end(p, a, &lost);
}

static void hear_synced(struct process *p)
{
    if (p->synced_us == 0) work_sweep(p);
    p->synced = true;
    gpus_ready(p->gpus);
    p->synced_us = os_mono_us();
    for (struct attempt *a = p->first, *next; a != NULL; a = next) {
        next = a->next;
        if (a->phase == PHASE_HELD)
            answer_held(p, a);
        else if (a->known && !a->ended && a->heard != p->link)
            lose(p, a);
    }
}

static void hear_launcher(struct process *p, const struct launcher_event *e)
{
    struct attempt_id id;
    char name[ATTEMPT_NAME];
    if (e->kind == LAUNCHER_SYNCED) {
        hear_synced(p);
        return;
    }
    if (e->kind == LAUNCHER_DISCONNECTED) {
        p->synced = false;
        p->link++;
        return;
    }
    if (!id_of(e->name, &id)) return;
    name_of(id, name);
    struct attempt *a = find(p, name);
    if (a == NULL) a = add(p, id);
    if (e->kind == LAUNCHER_STARTED)
        hear_started(p, a, e->note);
    else
        hear_end(p, a, e);
}

static void hear_prepared(struct process *p, struct attempt *a)
{
    if (a->prepare_error.code == ERR_NONE) {
        launch_now(p, a);
        return;
    }
    bool ours = err_retryable(a->prepare_error.code) || a->prepare_error.code == ERR_SPACE;
    end_locally(p, a, ours ? FAILURE_INFRA : FAILURE_INVALID, ours ? REASON_INFRA : REASON_INVALID,
                arena_printf(&a->arena, "its code or an input could not be unpacked: %s", a->prepare_error.message));
}

static void hear_workers(struct process *p)
{
    for (struct job *job; (job = workers_take(p->workers)) != NULL;) {
        struct attempt *a = (struct attempt *)(void *)job;
        if (work_drop_job(job) || process_gpus_looked(p, job)) continue;
        if (a->phase != PHASE_COLLECTING)
            hear_prepared(p, a);
        else if (a->ended)
            tell(p, a);
        else
            answer_unknown(p, a);
    }
}

static void hear(struct process *p)
{
    struct launcher_event e;
    while (launcher_next(p->launcher, &e))
        hear_launcher(p, &e);
    hear_workers(p);
    process_gpus_look(p);
}

/* ---- what the scheduler asks ---- */

static struct str executor_instance(void *self)
{
    struct process *p = self;
    snprintf(p->instance, sizeof p->instance, "process:%.*s", STR_ARG(launcher_id(p->launcher)));
    return str_of(p->instance);
}

static void prepare(struct process *p, struct attempt *a)
{
    if (a->bundle.n == 0 && a->n_fetched == 0) {
        launch_now(p, a);
        return;
    }
    a->phase = PHASE_PREPARING;
    a->job.run = process_prepare;
    workers_add(p->workers, &a->job);
}

static void resume(struct process *p, struct attempt *a, struct str by)
{
    a->never = str_eq(by, executor_instance(p));
    if (a->ended) {
        take_end(p, a);
    } else if (a->known) {
        a->phase = PHASE_RUNNING;
    } else {
        a->phase = PHASE_HELD;
        if (p->synced) answer_held(p, a);
    }
}

static bool executor_launch(void *self, const struct exec_request *req, bool restored, struct str by, struct err *err)
{
    struct process *p = self;
    char name[ATTEMPT_NAME];
    name_of(req->id, name);
    struct attempt *a = find(p, name);
    if (a != NULL && a->asked) { /* asked again, after the scheduler lost its memory: its end is told again */
        a->disowned = false;
        if (a->phase == PHASE_TOLD) tell(p, a);
        return true;
    }
    if (a != NULL || restored) {
        if (a == NULL) a = add(p, req->id);
        process_expect(p, a, req);
        a->asked = true;
        resume(p, a, by);
        return true;
    }
    a = add(p, req->id);
    if (!process_request(p, a, req, err)) {
        gpus_give(p->gpus, a->id);
        drop(p, a);
        return false;
    }
    a->asked = true;
    prepare(p, a);
    return true;
}

static void executor_kill(void *self, struct attempt_id id, struct str project, int64_t grace_ms)
{
    struct process *p = self;
    char name[ATTEMPT_NAME];
    name_of(id, name);
    struct attempt *a = find(p, name);
    if (a == NULL) a = add(p, id);
    a->kill_wanted = true;
    a->kill_grace_ms = grace_ms;
    if (a->asked) {
        if (a->phase == PHASE_RUNNING) launcher_kill(p->launcher, str_of(a->name), grace_ms);
        if (a->phase == PHASE_TOLD) tell(p, a);
        return;
    }
    a->asked = a->secretive = true; /* for all that is known */
    a->secrets_of = arena_str(&a->arena, project);
    resume(p, a, STR(""));
    if (a->phase == PHASE_RUNNING) launcher_kill(p->launcher, str_of(a->name), grace_ms);
}

static void forget(struct process *p, struct attempt *a)
{
    launcher_ack(p->launcher, str_of(a->name));
    work_give_back(p, a);
    drop(p, a);
}

static void executor_forget(void *self, struct attempt_id id)
{
    struct process *p = self;
    char name[ATTEMPT_NAME];
    name_of(id, name);
    struct attempt *a = find(p, name);
    if (a != NULL && !a->queued) forget(p, a);
}

static void executor_disown(void *self, struct attempt_id id, struct str project, int64_t grace_ms)
{
    struct process *p = self;
    char name[ATTEMPT_NAME];
    name_of(id, name);
    struct attempt *a = find(p, name);
    if (a == NULL) return;
    a->disowned = true;
    executor_kill(p, id, project, grace_ms);
}

static size_t executor_known(void *self, struct arena *m, struct exec_known **out)
{
    struct process *p = self;
    size_t n = 0;
    *out = arena_array(m, struct exec_known, p->by_name.n + 1);
    for (struct attempt *a = p->first; a != NULL; a = a->next) {
        bool still = a->ended && (a->phase == PHASE_SEEN || (a->phase == PHASE_TOLD && !a->queued));
        bool runs = !a->ended && !a->kill_wanted && (a->phase == PHASE_SEEN || a->phase == PHASE_RUNNING);
        if (still || runs) (*out)[n++] = (struct exec_known){a->id, still};
    }
    return n;
}

static size_t executor_fds(void *self, int *fds, size_t max)
{
    struct process *p = self;
    const int all[] = {launcher_fd(p->launcher), workers_fd(p->workers), p->gpu_timer};
    size_t n = 0;
    for (; n < max && n < sizeof all / sizeof *all; n++)
        fds[n] = all[n];
    return n;
}

static void copy_end(struct arena *m, const struct attempt *a, struct exec_event *out)
{
    out->result = a->result;
    out->result.message = arena_str(m, a->result.message);
    out->result.outputs = arena_str(m, a->result.outputs);
    out->artifacts = step_artifacts_copy(m, a->artifacts, a->n_artifacts);
    out->n_artifacts = a->n_artifacts;
}

static struct attempt *next_told(struct process *p)
{
    struct attempt *a;
    while ((a = p->events) != NULL) {
        p->events = a->next_event;
        if (p->events == NULL) p->events_end = &p->events;
        a->queued = false;
        if (!a->disowned) break;
        forget(p, a);
    }
    return a;
}

static bool executor_next(void *self, struct arena *m, struct exec_event *out)
{
    struct process *p = self;
    if (p->events == NULL) hear(p);
    struct attempt *a = next_told(p);
    if (a == NULL) return false;
    *out = (struct exec_event){.kind = EXEC_ENDED, .id = a->id};
    if (a->ended) {
        copy_end(m, a, out);
    } else {
        out->kind = EXEC_UNKNOWN;
        out->never = a->never;
        drop(p, a);
    }
    return true;
}

/* ---- start and stop ---- */

static void drop_job(struct job *job)
{
    if (!work_drop_job(job)) return; /* an attempt is dropped with the others */
}

static void executor_stop(void *self)
{
    struct process *p = self;
    store_stop(p->blobs);
    workers_free(p->workers, drop_job);
    launcher_close(p->launcher);
    store_close(p->blobs);
    for (struct attempt *a = p->first, *next; a != NULL; a = next) {
        next = a->next;
        free_attempt(a);
    }
    process_gpus_close(p);
    map_free(&p->by_name);
    arena_free(&p->arena);
    free(p);
}

/* Steps of a server that is root run as somebody who may do nothing else. */
static bool find_user(struct process *p, struct err *err)
{
    p->uid = p->gid = -1;
    if (geteuid() != 0) return true;
    const char *name = p->cfg.step_user.n > 0 ? p->cfg.step_user.p : "nobody";
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL) {
        err_set(err, ERR_INVALID, "there is no user '%s' to run steps as", name);
        return err_hint(err, "name one with --step-user");
    }
    if (pw->pw_uid == 0)
        return err_set(err, ERR_INVALID, "steps do not run as root: name another user with --step-user");
    p->uid = pw->pw_uid;
    p->gid = pw->pw_gid;
    return true;
}

bool process_open(const struct process_config *cfg, struct executor *out, struct err *err)
{
    struct process *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    arena_init(&p->arena, 0);
    p->cfg = *cfg;
    p->cfg.data_dir = arena_str(&p->arena, cfg->data_dir);
    p->cfg.store_dir = arena_str(&p->arena, cfg->store_dir);
    p->cfg.secrets_dir = arena_str(&p->arena, cfg->secrets_dir);
    p->cfg.step_user = arena_str(&p->arena, cfg->step_user);
    p->cfg.step_path = arena_str(&p->arena, cfg->step_path);
    p->events_end = &p->events;
    map_init(&p->by_name, 0);
    if (!process_gpus_open(p, err) || !find_user(p, err) || !work_make_folders(p, err) ||
        !launcher_open(&p->launcher, p->cfg.data_dir.p, err)) {
        executor_stop(p);
        return false;
    }
    *out = (struct executor){.name = "process",
                             .self = p,
                             .gpus = p->gpus,
                             .instance = executor_instance,
                             .launch = executor_launch,
                             .kill = executor_kill,
                             .forget = executor_forget,
                             .disown = executor_disown,
                             .known = executor_known,
                             .fds = executor_fds,
                             .next = executor_next,
                             .stop = executor_stop};
    return true;
}

bool process_start(struct executor *x, struct err *err)
{
    struct process *p = x->self;
    const struct store_config alone = {.store_dir = p->cfg.store_dir};
    return store_open(p->cfg.blobs != NULL ? p->cfg.blobs : &alone, &p->blobs, err) &&
           workers_new(WORKERS, &p->workers, err);
}
