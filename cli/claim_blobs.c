/* See claim_blobs.h. */
#include "cli/claim_blobs.h"

#include "cli/claim.h"
#include "engine/store/artifacts.h"
#include "engine/store/settings.h"

#define ASKED_AGAIN 2 /* tries of a request */
#define LOOKED_UP 16  /* blobs of the database, of which the place must have one */

static void close_store(struct blob_store **s)
{
    store_close(*s);
}

#define STORE_AUTO __attribute__((cleanup(close_store))) struct blob_store

static struct str named(const struct store_config *cfg)
{
    return cfg->place.n > 0 ? cfg->place : STR(STORE_ON_DISK);
}

/* Empty when there is none. */
static bool note_of(struct blob_store *s, const char *name, struct arena *a, struct str *out, struct err *err)
{
    struct err why = {0};
    *out = STR("");
    if (!store_is_remote(s) || store_note(s, name, a, out, &why) || why.code == ERR_NOT_FOUND) return true;
    *err = why;
    return false;
}

/* Has the place one of the youngest blobs of the database? n: how many were looked for. */
static bool has_blobs(struct conn *c, struct blob_store *s, struct arena *a, size_t *n, bool *has, struct err *err)
{
    struct str *digests;
    if (!blobs_newest(c, LOOKED_UP, a, &digests, n, err)) return false;
    *has = *n == 0;
    for (size_t i = 0; !*has && i < *n; i++) {
        struct err missing = {0};
        *has = store_size(s, digests[i], NULL, &missing);
        if (*has || missing.code == ERR_NOT_FOUND) continue;
        *err = missing;
        return false;
    }
    return true;
}

struct claim_place {
    const struct store_config *cfg;
    struct blob_store *store;
    struct arena *arena;
    struct str id, remembered, note; /* of the database's store, where it was, whose the place says to be */
};

/* The place is nobody's, or the disk: may the database have it? */
static bool may_move(const struct claim_place *p, struct conn *c, struct err *err)
{
    struct str place = named(p->cfg), restoring;
    bool has = false, moved = p->remembered.n > 0 && !str_eq(p->remembered, place);
    size_t n = 0;
    if (!note_of(p->store, CLAIM_RESTORING, p->arena, &restoring, err) ||
        !has_blobs(c, p->store, p->arena, &n, &has, err))
        return false;
    if (restoring.n > 0 && (n == 0 || !has)) {
        err_set(err, ERR_CONFLICT, "a restore into %.*s has not ended", STR_ARG(place));
        return err_hint(err, "repeat it, or give --artifact-store another place");
    }
    if (has) return true;
    err_set(err, ERR_CONFLICT, "this database has artifacts which are not in %s%.*s",
            store_is_remote(p->store) ? "" : "the store on ", STR_ARG(place));
    if (moved)
        return err_hint(err, "they were in %.*s: name that with --artifact-store; a backup of it can be restored here",
                        STR_ARG(p->remembered));
    return err_hint(err, "a backup taken with their --artifact-store can be restored into this one");
}

static bool decide(struct claim_place *p, struct conn *c, struct err *err)
{
    struct str place = named(p->cfg);
    bool remote = store_is_remote(p->store);
    if (!settings_get(c, STR(CLAIM_SETTING), p->arena, &p->id, err) ||
        !settings_get(c, STR(CLAIM_PLACE_SETTING), p->arena, &p->remembered, err) ||
        !note_of(p->store, CLAIM_FILE, p->arena, &p->note, err))
        return false;
    if (remote && p->note.n > 0 && !str_eq(str_trim(p->note), p->id)) {
        err_set(err, ERR_CONFLICT, "%.*s is the artifact store of another database", STR_ARG(place));
        return err_hint(err, "give --artifact-store a prefix of its own");
    }
    bool known = remote ? p->note.n > 0 : p->remembered.n == 0 || str_eq(p->remembered, place);
    if (!known && !may_move(p, c, err)) return false;
    if (remote && p->note.n == 0 &&
        (!store_note_put(p->store, CLAIM_FILE, p->id, err) || !store_note_delete(p->store, CLAIM_RESTORING, err)))
        return false;
    /* A database that never left the disk remembers nothing. */
    if (str_eq(p->remembered, place) || (!remote && p->remembered.n == 0)) return true;
    return settings_put(c, STR(CLAIM_PLACE_SETTING), place, err);
}

bool claim_blobs(struct db *db, const struct store_config *cfg, enum claim_lack *lack, struct err *err)
{
    STORE_AUTO *s = NULL;
    CONN_AUTO c = NULL;
    struct arena a;
    struct store_config asked = *cfg;
    if (lack != NULL) *lack = CLAIM_REFUSED;
    if (lack != NULL) asked.tries = ASKED_AGAIN;
    if (!store_open(&asked, &s, err) || !db_lease(db, &c, err)) return false;
    arena_init(&a, 0);
    struct claim_place p = {.cfg = cfg, .store = s, .arena = &a};
    bool ok = decide(&p, c, err);
    if (lack != NULL && store_is_away(s)) *lack = str_eq(p.remembered, named(cfg)) ? CLAIM_KNOWN_AWAY : CLAIM_AWAY;
    arena_free(&a);
    return ok;
}

static bool found_one(void *ctx, struct str digest, int64_t size, struct err *err)
{
    (void)digest, (void)size, (void)err;
    *(bool *)ctx = true;
    return false;
}

static bool begin_restore(struct blob_store *s, struct str place, struct str backup, struct arena *a, struct err *err)
{
    struct str id, restoring;
    bool used = false;
    if (!note_of(s, CLAIM_FILE, a, &id, err) || !note_of(s, CLAIM_RESTORING, a, &restoring, err)) return false;
    if (id.n == 0 && restoring.n > 0 && str_eq(restoring, backup)) return true;
    if (id.n == 0 && restoring.n == 0 && !store_each(s, found_one, &used, err)) return false;
    if (id.n == 0 && restoring.n == 0 && !used) return store_note_put(s, CLAIM_RESTORING, backup, err);
    if (restoring.n > 0)
        err_set(err, ERR_CONFLICT, "another backup is half restored in %.*s", STR_ARG(place));
    else
        err_set(err, ERR_CONFLICT, "%.*s is in use by another database", STR_ARG(place));
    return err_hint(err, "restore into a new prefix: --artifact-store");
}

bool claim_blobs_restoring(const struct store_config *cfg, struct str backup, struct err *err)
{
    STORE_AUTO *s = NULL;
    struct arena a;
    if (!store_open(cfg, &s, err)) return false;
    if (!store_is_remote(s)) return true;
    arena_init(&a, 0);
    bool ok = begin_restore(s, named(cfg), backup, &a, err);
    arena_free(&a);
    return ok;
}

bool claim_blobs_restored(struct db *db, const struct store_config *cfg, struct err *err)
{
    STORE_AUTO *s = NULL;
    CONN_AUTO c = NULL;
    struct arena a;
    struct str id = STR("");
    if (!store_open(cfg, &s, err) || !db_lease(db, &c, err)) return false;
    arena_init(&a, 0);
    bool ok =
        settings_put(c, STR(CLAIM_PLACE_SETTING), named(cfg), err) &&
        settings_get(c, STR(CLAIM_SETTING), &a, &id, err) &&
        (!store_is_remote(s) || (store_note_put(s, CLAIM_FILE, id, err) && store_note_delete(s, CLAIM_RESTORING, err)));
    arena_free(&a);
    return ok;
}
