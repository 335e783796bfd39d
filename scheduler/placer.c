/* The placer's thread: lease, declarations, news, nodes, a cycle, answers. See placer.h.
 *
 * All it knows is a copy of the database and of what the source tells. After any failure it forgets everything, gives
 * its session up, and with it the lease, and begins anew. */
#include "scheduler/placer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "scheduler/placer_inner.h"

#define SECOND_US 1000000
#define POLL_MS 1000
#define STUCK_MS 10000
#define LOOK_MS 50 /* a row that an owner had is looked at again after so long */
#define WHYS_EVERY_US 300000
#define SHOW_EVERY_US SECOND_US
#define SHOW_BYTES_PER_S 1000000 /* of JSON: that of a large cluster is written more rarely */
#define SWEEP_MS 30000

/* ---- session and lease ---- */

static void give_up(struct placer *p)
{
    placer_forget(p);
    p->lease.epoch = 0;
    if (p->conn == NULL) return;
    conn_drop(p->conn);
    db_return(p->conn);
    p->conn = NULL;
}

static bool connected(struct placer *p, struct err *err)
{
    if (p->conn != NULL) return true;
    return db_lease(p->db, &p->conn, err) && conn_do(p->conn, "LISTEN " QUEUE_CHANNEL, err);
}

static bool leased(struct placer *p, int64_t now, struct err *err)
{
    if (p->lease.epoch != 0 || now - p->leased_us < SECOND_US) return true;
    p->leased_us = now;
    if (!placing_lease(p->conn, &p->lease, str_of(p->owner), p->cfg.stuck_ms * 1000, err)) return false;
    if (p->lease.epoch == 0) return true;
    log_info("the placer begins", LOG_STR("domain", p->lease.domain), LOG_INT("epoch", p->lease.epoch));
    placer_forget(p);
    p->shown = 0;
    return true;
}

static void hear_database(struct placer *p)
{
    PGconn *pg = conn_pg(p->conn);
    if (pg == NULL || PQconsumeInput(pg) != 1) return; /* the next statement tells */
    for (PGnotify *n; (n = PQnotifies(pg)) != NULL; PQfreemem(n))
        p->news = true;
}

/* ---- what is known ---- */

static bool load(struct placer *p, struct err *err)
{
    struct queue_docs docs;
    struct placing_row *rows;
    size_t n;
    int64_t generation;
    if (!queues_generation(p->conn, &p->turn, &generation, err)) return false;
    if (generation == p->generation) return true;
    placer_forget(p);
    if (!queues_docs(p->conn, &p->declared, &docs, err) || !queue_setup_open(&p->setup, &p->declared, &docs, err) ||
        !placing_read(p->conn, &p->lease, true, &p->turn, &rows, &n, err))
        return false;
    if (p->cfg.source.declared != NULL) p->cfg.source.declared(p->cfg.source.self, docs.n_flavors + docs.n_queues > 0);
    if (p->cfg.source.flavors != NULL) p->cfg.source.flavors(p->cfg.source.self, p->setup.flavors, p->setup.n_flavors);
    if (docs.n_flavors + docs.n_queues + n > 0) p->cfg.source.wanted(p->cfg.source.self);
    if (p->cfg.source.generation(p->cfg.source.self) != 0) placer_nodes(p); /* what was admitted has its nodes */
    for (size_t i = 0; i < n; i++)
        placer_restore(p, &rows[i]);
    p->generation = generation;
    p->source_seen = 0;
    p->news = p->dirty = true;
    return true;
}

static bool read_news(struct placer *p, int64_t now, struct err *err)
{
    struct placing_row *rows;
    size_t n;
    if (!p->news && now - p->read_us < p->cfg.poll_ms * 1000) return true;
    p->read_us = now;
    p->news = false;
    if (!placing_read(p->conn, &p->lease, false, &p->turn, &rows, &n, err)) return false;
    if (n > 0) p->cfg.source.wanted(p->cfg.source.self);
    for (size_t i = 0; i < n; i++)
        placer_hear(p, &rows[i]);
    return true;
}

static bool look(struct placer *p, int64_t now, struct err *err)
{
    struct placing_row *rows;
    size_t n;
    if (p->n_unsure == 0 || now - p->looked_us < LOOK_MS * 1000) return true;
    p->looked_us = now;
    if (!placing_look(p->conn, &p->lease, p->unsure, p->n_unsure, &p->turn, &rows, &n, err)) return false;
    placer_look(p, rows, n);
    return true;
}

static void see_nodes(struct placer *p)
{
    uint64_t generation = p->cfg.source.generation(p->cfg.source.self);
    if (generation == 0 || generation == p->source_seen) return;
    placer_nodes(p);
    p->source_seen = generation;
}

/* ---- what is told ---- */

static bool show(struct placer *p, int64_t now, struct err *err)
{
    const struct placer_source *s = &p->cfg.source;
    int64_t pause = p->shown_bytes * SECOND_US / SHOW_BYTES_PER_S;
    if (now - p->shown_us < (pause > SHOW_EVERY_US ? pause : SHOW_EVERY_US)) return true;
    uint64_t version = s->version != NULL ? s->version(s->self) : p->shown_version + 1;
    if (p->shown != 0 && version == p->shown_version && p->uses == p->shown_uses) return true;
    BUF_AUTO nodes;
    buf_init(&nodes, 0);
    struct str trouble = s->trouble(s->self);
    if (s->known(s->self)) placer_shown(p, &nodes);
    uint64_t hash = (str_hash(buf_view(&nodes)) * 31 + str_hash(trouble)) | 1;
    p->shown_us = now;
    p->shown_version = version;
    p->shown_uses = p->uses;
    p->shown_bytes = (int64_t)nodes.n;
    if (hash == p->shown) return true;
    p->shown = hash;
    return placing_show(p->conn, &p->lease, buf_view(&nodes), trouble, &p->turn, err);
}

static bool sweep(struct placer *p, int64_t now, struct err *err)
{
    if (now - p->swept_us < p->cfg.sweep_ms * 1000) return true;
    p->swept_us = now;
    int64_t *ids;
    size_t n;
    if (!placing_sweep(p->conn, &p->lease, &p->turn, err) || !placing_ids(p->conn, &p->lease, &p->turn, &ids, &n, err))
        return false;
    placer_keep(p, ids, n);
    return true;
}

static bool answer(struct placer *p, int64_t now, struct err *err)
{
    if (now - p->whys_us >= WHYS_EVERY_US) {
        p->whys_us = now;
        placer_whys(p);
        placer_moves(p);
    }
    const struct placing_answers *x = &p->answers;
    if (x->n_heard + x->n_admits + x->n_victims + x->n_whys + x->n_moved == 0) return true;
    if (!placing_write(p->conn, &p->lease, x, &p->turn, err)) return false;
    placer_written(p);
    return true;
}

static bool turn(struct placer *p, struct err *err)
{
    int64_t now = os_mono_us();
    arena_reset(&p->turn);
    p->answers = (struct placing_answers){0};
    p->room_heard = p->room_admits = p->room_victims = p->room_whys = p->room_moved = 0;
    p->cfg.source.turn(p->cfg.source.self);
    if (!connected(p, err) || !leased(p, now, err)) return false;
    hear_database(p);
    if (p->lease.epoch == 0) return true;
    if (!load(p, err) || !read_news(p, now, err) || !look(p, now, err)) return false;
    see_nodes(p);
    if (p->dirty && p->source_seen != 0) placer_decide(p, os_now_us());
    return answer(p, now, err) && show(p, now, err) && sweep(p, now, err);
}

/* ---- the thread ---- */

static int wait_ms(const struct placer *p)
{
    if (p->conn == NULL || p->lease.epoch == 0) return POLL_MS;
    if (p->dirty && p->source_seen != 0) return 0;
    if (p->n_unsure > 0) return LOOK_MS;
    return p->works != NULL && p->cfg.poll_ms > WHYS_EVERY_US / 1000 ? WHYS_EVERY_US / 1000 : (int)p->cfg.poll_ms;
}

static void wait_for_news(struct placer *p)
{
    PGconn *pg = p->conn != NULL ? conn_pg(p->conn) : NULL;
    struct pollfd fds[] = {{.fd = p->wake, .events = POLLIN},
                           {.fd = p->cfg.source.fd(p->cfg.source.self), .events = POLLIN},
                           {.fd = pg != NULL ? PQsocket(pg) : -1, .events = POLLIN}};
    poll(fds, 3, wait_ms(p));
}

static void *thread_main(void *arg)
{
    struct placer *p = arg;
    while (!p->stopping) {
        struct err err = {0};
        if (!turn(p, &err)) {
            log_err(LEVEL_WARN, "the placer begins anew", &err);
            give_up(p);
        }
        if (!p->stopping) wait_for_news(p);
    }
    give_up(p);
    return NULL;
}

static void destroy(struct placer *p)
{
    p->cfg.source.close(p->cfg.source.self);
    if (p->db != NULL) db_close(p->db);
    if (p->wake >= 0) close(p->wake);
    map_free(&p->by_id);
    map_free(&p->by_task);
    map_free(&p->by_node);
    free(p->unsure);
    arena_free(&p->declared);
    arena_free(&p->turn);
    free(p->dsn);
    free(p->owner);
    free(p->domain);
    free(p);
}

static char *copied(const char *text, size_t n)
{
    char *copy = strndup(text, n);
    if (copy == NULL) abort();
    return copy;
}

bool placer_start(const struct placer_config *cfg, struct placer **out, struct err *err)
{
    struct placer *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    p->cfg = *cfg;
    if (p->cfg.poll_ms == 0) p->cfg.poll_ms = POLL_MS;
    if (p->cfg.stuck_ms == 0) p->cfg.stuck_ms = STUCK_MS;
    if (p->cfg.sweep_ms == 0) p->cfg.sweep_ms = SWEEP_MS;
    p->dsn = copied(cfg->dsn.p, cfg->dsn.n);
    p->owner = copied(cfg->owner, strlen(cfg->owner));
    p->domain = copied(cfg->source.domain, strlen(cfg->source.domain));
    p->lease.domain = str_of(p->domain);
    p->generation = -1;
    p->leased_us = -SECOND_US;
    arena_init(&p->declared, 0);
    arena_init(&p->turn, 0);
    map_init(&p->by_id, 0);
    map_init(&p->by_task, 0);
    map_init(&p->by_node, 0);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const struct db_config db = {.dsn = str_of(p->dsn), .size = 1};
    if (p->wake < 0) {
        err_set(err, ERR_IO, "cannot make an event descriptor: %s", strerror(errno));
    } else if (db_open(&db, &p->db, err)) {
        int failed = pthread_create(&p->thread, NULL, thread_main, p);
        if (failed == 0) {
            *out = p;
            return true;
        }
        err_set(err, ERR_IO, "cannot start the placer's thread: %s", strerror(failed));
    }
    destroy(p);
    return false;
}

void placer_stop(struct placer *p)
{
    const uint64_t one = 1;
    if (p == NULL) return;
    p->stopping = true;
    if (write(p->wake, &one, sizeof one) < 0) log_warn("the placer is woken already");
    pthread_join(p->thread, NULL);
    destroy(p);
}
