/* Retention in the background. See upkeep.h. */
#include "cli/upkeep.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/blob/bundle.h"
#include "engine/blob/logs.h"
#include "engine/os/log.h"
#include "engine/store/retention.h"

#define FIRST_ROUND_S 60
#define ROUND_S 3600
#define STRAYS_EVERY 24 /* rounds: every file is looked at */
#define STRAYS_AT_ONCE 200
#define YOUNG_US (24LL * 3600 * 1000000) /* a file put again since is not the one that was swept */

struct upkeep {
    struct db *db;
    struct blob_store *blobs;
    struct str store_dir;
    int64_t keep_runs_us;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t end;
    bool stopping;
};

/* What was unpacked of it goes with it. */
static bool drop_blob(struct blob_store *blobs, struct str store_dir, struct str digest, int64_t older_us,
                      bool *deleted, struct err *err)
{
    return store_sweep(blobs, digest, older_us, deleted, err) && (!*deleted || bundle_remove(store_dir, digest, err));
}

static bool delete_blob(void *ctx, struct str digest, struct err *err)
{
    const struct upkeep *u = ctx;
    bool deleted; /* false: it was put again meanwhile, and stays */
    return drop_blob(u->blobs, u->store_dir, digest, YOUNG_US, &deleted, err);
}

static bool delete_upload(void *ctx, struct str id, struct err *err)
{
    return store_part_delete(((struct upkeep *)ctx)->blobs, id, err);
}

static bool delete_run(void *ctx, int64_t run_id, struct err *err)
{
    return run_files_delete(((struct upkeep *)ctx)->store_dir, run_id, err);
}

/* ---- files that no row knows ---- */

struct strays {
    struct db *db;
    struct blob_store *blobs;
    struct str store_dir;
    int64_t older_us;
    struct upkeep_swept *swept;
    struct arena arena; /* of one batch */
    struct str digests[STRAYS_AT_ONCE];
    int64_t runs[STRAYS_AT_ONCE];
    size_t n;
};

static bool sweep_blobs(struct strays *s, struct err *err)
{
    struct str *unknown = NULL;
    size_t n = 0;
    {
        CONN_AUTO c = NULL;
        if (!db_lease(s->db, &c, err) || !retention_unknown(c, s->digests, s->n, &s->arena, &unknown, &n, err))
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool deleted;
        if (!drop_blob(s->blobs, s->store_dir, unknown[i], s->older_us, &deleted, err)) return false;
        s->swept->blobs += deleted;
    }
    s->n = 0;
    arena_reset(&s->arena);
    return true;
}

static bool add_stray(void *ctx, struct str digest, int64_t size, struct err *err)
{
    struct strays *s = ctx;
    (void)size;
    s->digests[s->n++] = arena_str(&s->arena, digest);
    return s->n < STRAYS_AT_ONCE || sweep_blobs(s, err);
}

static bool sweep_runs(struct strays *s, struct err *err)
{
    int64_t *unknown = NULL;
    size_t n = 0;
    {
        CONN_AUTO c = NULL;
        if (!db_lease(s->db, &c, err) || !retention_unknown_runs(c, s->runs, s->n, &s->arena, &unknown, &n, err))
            return false;
    }
    for (size_t i = 0; i < n; i++)
        if (!run_files_delete(s->store_dir, unknown[i], err)) return false;
    s->swept->runs += (int64_t)n;
    s->n = 0;
    arena_reset(&s->arena);
    return true;
}

static bool add_run(void *ctx, int64_t run, struct err *err)
{
    struct strays *s = ctx;
    s->runs[s->n++] = run;
    return s->n < STRAYS_AT_ONCE || sweep_runs(s, err);
}

bool upkeep_sweep_strays(struct db *db, struct blob_store *blobs, struct str store_dir, int64_t older_us,
                         struct upkeep_swept *swept, struct err *err)
{
    struct strays *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    *s = (struct strays){.db = db, .blobs = blobs, .store_dir = store_dir, .older_us = older_us, .swept = swept};
    *swept = (struct upkeep_swept){0};
    arena_init(&s->arena, 0);
    struct err why = {0}; /* store_each ends without a word when a batch fails */
    bool ok = store_each(blobs, add_stray, s, &why) && why.code == ERR_NONE && sweep_blobs(s, &why) &&
              run_files_each(store_dir, older_us, add_run, s, &why) && sweep_runs(s, &why) &&
              bundle_clear(store_dir, older_us, &why) && store_clear(blobs, &why);
    arena_free(&s->arena);
    free(s);
    if (!ok && err != NULL) *err = why;
    return ok;
}

static void strays_once(struct upkeep *u)
{
    struct err err = {0};
    struct upkeep_swept swept;
    if (!upkeep_sweep_strays(u->db, u->blobs, u->store_dir, YOUNG_US, &swept, &err))
        log_err(LEVEL_WARN, "looking for files that no record knows ended early", &err);
    else if (swept.blobs + swept.runs > 0)
        log_info("removed files that no record knew", LOG_INT("blobs", swept.blobs), LOG_INT("runs", swept.runs));
}

static void round_once(struct upkeep *u)
{
    struct err err = {0};
    struct retention_result done = {0};
    const struct retention r = {.runs_us = u->keep_runs_us,
                                .delete_blob = delete_blob,
                                .delete_upload = delete_upload,
                                .delete_run = delete_run,
                                .ctx = u};
    if (!retention_round(u->db, &r, &done, &err))
        log_err(LEVEL_WARN, "a retention round ended early", &err);
    else if (done.runs + done.blobs + done.uploads > 0)
        log_info("retention", LOG_INT("runs", done.runs), LOG_INT("blobs", done.blobs),
                 LOG_INT("bytes", done.blob_bytes));
}

static bool wait_seconds(struct upkeep *u, int seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&u->lock);
    while (!u->stopping && pthread_cond_timedwait(&u->end, &u->lock, &until) != ETIMEDOUT) {
    }
    bool go_on = !u->stopping;
    pthread_mutex_unlock(&u->lock);
    return go_on;
}

static void *thread_main(void *arg)
{
    struct upkeep *u = arg;
    struct err err = {0};
    int wait = FIRST_ROUND_S;
    if (!store_clear(u->blobs, &err)) log_err(LEVEL_WARN, "what dead writers left in the artifact store stays", &err);
    for (unsigned n = 0; wait_seconds(u, wait); n++, wait = ROUND_S) {
        round_once(u);
        if (n % STRAYS_EVERY == 0) strays_once(u);
    }
    return NULL;
}

static void destroy(struct upkeep *u)
{
    store_close(u->blobs);
    pthread_mutex_destroy(&u->lock);
    pthread_cond_destroy(&u->end);
    free(u);
}

bool upkeep_start(struct db *db, const struct config *cfg, struct upkeep **out, struct err *err)
{
    struct upkeep *u = calloc(1, sizeof *u);
    if (u == NULL) abort();
    u->db = db;
    u->store_dir = cfg->store_dir;
    u->keep_runs_us = cfg->retention_ms * 1000;
    pthread_mutex_init(&u->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&u->end, &attr);
    pthread_condattr_destroy(&attr);
    const struct store_config blobs = store_config_of(cfg);
    if (!store_open(&blobs, &u->blobs, err)) {
        destroy(u);
        return false;
    }
    int failed = pthread_create(&u->thread, NULL, thread_main, u);
    if (failed != 0) {
        destroy(u);
        return err_set(err, ERR_IO, "cannot start the upkeep thread: %s", strerror(failed));
    }
    *out = u;
    return true;
}

void upkeep_stop(struct upkeep *u)
{
    if (u == NULL) return;
    pthread_mutex_lock(&u->lock);
    u->stopping = true;
    pthread_cond_signal(&u->end);
    pthread_mutex_unlock(&u->lock);
    store_stop(u->blobs);
    pthread_join(u->thread, NULL);
    destroy(u);
}
