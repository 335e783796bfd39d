/* Following a run: see watch.h. Events only tell that something changed; what is shown is always a snapshot, so that a
 * missed event cannot make a wrong picture. */
#include "cli/watch.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "engine/os/clock.h"

#define FASTEST_US 250000     /* between two snapshots; a big run's take longer and come less often */
#define SLOWEST_US 5000000    /* also without news: reasons for waiting change by themselves */
#define PATIENCE_US 300000000 /* a server that is away for longer is given up */

struct watcher {
    struct cli *cli;
    int64_t run;
    const struct tree *known; /* stands for the snapshot before the first; NULL = none */
    FILE *stream;
    struct term term;
    struct arena arenas[2]; /* this snapshot's and the one's before */
    unsigned current;
    struct tree trees[2];
    bool have[2];
    bool news, ended;
    int64_t fetched_us, cost_us, seen_us; /* last try, how long it took, last success */
    unsigned lines, frame;                /* drawn and still on the screen */
    bool away, gave_up;
    struct err why;
};

int watch_exit(struct str state)
{
    return str_is(state, "succeeded") ? CLI_OK : str_is(state, "cancelled") ? CLI_CANCELLED : CLI_RUN_FAILED;
}

static void write_out(struct watcher *w, const struct buf *b)
{
    if (b->n) fwrite(b->p, 1, b->n, w->stream);
    fflush(w->stream);
}

static struct tree_view view_of(struct watcher *w)
{
    return (struct tree_view){.term = w->term, .now_us = os_now_us(), .frame = w->frame++};
}

static void erase(struct watcher *w, struct buf *out)
{
    if (w->lines) buf_printf(out, "\033[%uA\r\033[J", w->lines);
    w->lines = 0;
}

static void draw(struct watcher *w)
{
    if (!w->have[w->current] || !w->term.tty) return;
    struct arena scratch;
    BUF_AUTO out;
    arena_init(&scratch, 0);
    buf_init(&out, 0);
    term_resize(&w->term, w->stream);
    struct tree_view view = view_of(w);
    erase(w, &out);
    size_t from = out.n;
    tree_render(&out, &scratch, &w->trees[w->current], &view);
    for (size_t i = from; i < out.n; i++)
        w->lines += out.p[i] == '\n';
    write_out(w, &out);
    arena_free(&scratch);
}

static bool fetch(struct cli *cli, struct arena *a, int64_t number, struct tree *out, struct err *err)
{
    struct value run;
    struct pages pages;
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return err_set(err, ERR_INTERNAL, "no client");
    if (!client_get(client, a, client_path(a, "/api/v1/runs/%lld", (long long)number), &run, err)) return false;
    if (!pages_fetch(cli, a, client_path(a, "/api/v1/runs/%lld/tasks", (long long)number), 0, &pages, err))
        return false;
    tree_load(a, &run, pages.items, pages.n, out);
    return true;
}

bool watch_look(struct cli *cli, int64_t run, struct tree *out, struct err *err)
{
    if (!fetch(cli, cli->arena, run, out, err)) return false;
    out->state = STR(""); /* what it comes to is always told, and why its steps wait */
    for (size_t i = 0; i < out->n_tasks; i++)
        out->tasks[i].waiting = STR("");
    return true;
}

static void show_changes(struct watcher *w, unsigned slot)
{
    struct arena scratch;
    BUF_AUTO out;
    arena_init(&scratch, 0);
    buf_init(&out, 0);
    struct tree_view view = view_of(w);
    tree_changes(&out, &scratch, w->have[w->current] ? &w->trees[w->current] : w->known, &w->trees[slot], &view);
    write_out(w, &out);
    arena_free(&scratch);
}

/* A new snapshot, shown. False when there is no point in going on. */
static bool refresh(struct watcher *w)
{
    unsigned slot = 1 - w->current;
    int64_t begun = os_mono_us();
    struct err err;
    w->news = false;
    arena_reset(&w->arenas[slot]);
    bool ok = fetch(w->cli, &w->arenas[slot], w->run, &w->trees[slot], &err);
    w->fetched_us = os_mono_us();
    w->cost_us = w->fetched_us - begun;
    if (!ok) {
        bool patient = err.code == ERR_UNAVAILABLE && w->seen_us && w->fetched_us - w->seen_us < PATIENCE_US;
        if (patient && !w->away && !cli_interrupted()) cli_note(w->cli, "%s; waiting for it", err.message);
        w->away = patient;
        w->lines = patient ? 0 : w->lines;
        w->gave_up = !patient;
        w->why = err;
        return patient;
    }
    w->away = false;
    w->seen_us = w->fetched_us;
    if (!w->term.tty) show_changes(w, slot);
    w->have[slot] = true;
    w->current = slot;
    w->ended = tree_ended(&w->trees[slot]);
    draw(w);
    return !w->ended;
}

static bool on_event(void *ctx, const struct client_event *event)
{
    struct watcher *w = ctx;
    if (event) {
        w->news = true;
        return true; /* the next tick looks; `end` ends there too */
    }
    int64_t since = os_mono_us() - w->fetched_us, pause = w->cost_us * 5;
    if (pause < FASTEST_US) pause = FASTEST_US;
    if (pause > SLOWEST_US) pause = SLOWEST_US;
    if ((w->news && since >= pause) || since >= SLOWEST_US) return refresh(w);
    if (!w->away) draw(w);
    return true;
}

/* Streams are few: a server that has none left is asked again and again instead. */
static void poll_run(struct watcher *w)
{
    while (!cli_interrupted()) {
        poll(NULL, 0, 100);
        w->news = os_mono_us() - w->fetched_us >= 1000000;
        if (!on_event(w, NULL)) return;
    }
}

static void follow(struct watcher *w)
{
    struct client_stream stream = {.fn = on_event, .ctx = w};
    struct err err = {0};
    int code;
    struct client *client = cli_client(w->cli, &code);
    stream.path = client_path(w->cli->arena, "/api/v1/runs/%lld/events", (long long)w->run);
    if (!client || client_follow(client, &stream, &err) || w->ended || w->gave_up) return;
    if (err.code == ERR_UNAVAILABLE || err.code == ERR_TOO_MANY) {
        poll_run(w);
        return;
    }
    w->gave_up = true;
    w->why = err;
}

static int say_end(struct watcher *w)
{
    struct cli *cli = w->cli;
    const struct tree *t = &w->trees[w->current];
    struct err err;
    struct value run;
    int code = watch_exit(t->state);
    if (code == CLI_RUN_FAILED) {
        for (size_t i = 0; i < t->n_tasks; i++) {
            if (!str_is(t->tasks[i].state, "failed") || t->tasks[i].inner || !t->tasks[i].wrote) continue;
            cli_note(cli, "what it wrote: millrace logs %lld %.*s", (long long)w->run, STR_ARG(t->tasks[i].path));
            break;
        }
    }
    int unused;
    struct client *client = cli_client(cli, &unused);
    if (!client_get(client, cli->arena, client_path(cli->arena, "/api/v1/runs/%lld", (long long)w->run), &run, &err))
        return cli_fail(cli, &err);
    const struct value *outputs = value_get(&run, "outputs");
    if (cli->format != OUT_TABLE) {
        int shown = show_value(cli, &run);
        return shown ? shown : code;
    }
    BUF_AUTO out;
    buf_init(&out, 0);
    for (size_t i = 0; outputs && outputs->type == VALUE_MAP && i < outputs->u.map.n; i++) {
        const struct value_entry *e = &outputs->u.map.entries[i];
        term_text(&out, e->key, 0);
        buf_c(&out, " = ");
        term_text(&out, value_text(cli->arena, &e->value), 0);
        buf_char(&out, '\n');
    }
    return cli_print(&out, &err) ? code : cli_fail(cli, &err);
}

static int watch(struct watcher *w)
{
    struct cli *cli = w->cli;
    bool to_stderr = cli->format != OUT_TABLE;
    int code;
    w->stream = to_stderr ? stderr : stdout;
    w->term = to_stderr ? cli->err : cli->out;
    arena_init(&w->arenas[0], 512u << 20);
    arena_init(&w->arenas[1], 512u << 20);
    cli_catch_interrupts();
    if (refresh(w)) follow(w);
    if (w->ended) {
        code = say_end(w);
    } else if (cli_interrupted()) {
        long long run = (long long)w->run;
        code = CLI_INTERRUPTED;
        fprintf(stderr, "\nrun %lld goes on\n  follow it: millrace watch %lld\n  cancel it: millrace cancel %lld\n",
                run, run, run);
    } else {
        code = w->gave_up ? cli_fail(cli, &w->why) : CLI_RUN_FAILED;
    }
    arena_free(&w->arenas[0]);
    arena_free(&w->arenas[1]);
    return code;
}

int watch_run(struct cli *cli, int64_t run, const struct tree *known)
{
    struct watcher w = {.cli = cli, .run = run, .known = known};
    return watch(&w);
}

int cmd_watch(struct cli *cli, const struct args *args)
{
    int64_t run;
    if (!str_int(str_of(args_word(args, 0)), &run) || run < 1)
        return cli_usage(cli, "'%s' is not a run's number", args_word(args, 0));
    return watch_run(cli, run, NULL);
}
