/* What steps wrote: one step's log, or those of all steps of a run, now or as they grow. */
#include <poll.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/show.h"
#include "cli/tree.h"
#include "engine/base/units.h"

/* A leaf whose log is shown. */
struct leaf {
    int64_t task, attempt, offset;
    struct str path, partial; /* partial: the beginning of a line whose end has not come */
};

struct logs {
    struct cli *cli;
    struct client *client;
    const char *run_path, *step; /* step NULL = all */
    const char *attempt;
    int64_t tail;
    bool follow;
    bool prefix; /* several leaves: each line says whose it is */
    struct leaf *leaves;
    size_t n_leaves, room;
    int64_t now_attempt; /* of the stream being followed */
    bool ended;
};

static bool to_stdout(void *ctx, const char *p, size_t n)
{
    (void)ctx;
    return fwrite(p, 1, n, stdout) == n;
}

static void put_line(struct logs *l, const struct leaf *leaf, struct str line)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    term_style(&out, l->cli->out.color, STYLE_CYAN);
    term_text(&out, leaf->path, 0);
    term_style_end(&out, l->cli->out.color, STYLE_CYAN);
    buf_c(&out, " | ");
    buf_str(&out, line);
    buf_char(&out, '\n');
    fwrite(out.p, 1, out.n, stdout);
}

static void put_text(struct logs *l, struct leaf *leaf, struct str text, bool last)
{
    struct arena *a = l->cli->arena;
    if (!l->prefix) {
        to_stdout(NULL, text.p, text.n);
        fflush(stdout);
        return;
    }
    struct str all = leaf->partial.n ? arena_printf(a, "%.*s%.*s", STR_ARG(leaf->partial), STR_ARG(text)) : text, line;
    size_t at = 0, end;
    while (str_find(str_sub(all, at, all.n), STR("\n"), &end)) {
        line = str_sub(all, at, end);
        put_line(l, leaf, line);
        at += end + 1;
    }
    struct str rest = str_sub(all, at, all.n);
    if (last && rest.n) put_line(l, leaf, rest);
    leaf->partial = last ? STR("") : arena_str(a, rest);
    fflush(stdout);
}

static const char *log_path(struct logs *l, int64_t task, bool follow)
{
    struct arena *a = l->cli->arena;
    const char *path = arena_printf(a, "%s/tasks/%lld/logs?follow=%d", l->run_path, (long long)task, follow).p;
    if (l->attempt) path = arena_printf(a, "%s&attempt=%s", path, client_path(a, "%s", l->attempt)).p;
    if (l->tail) path = arena_printf(a, "%s&tail=%lld", path, (long long)l->tail).p;
    return path;
}

/* What there is beyond leaf->offset. */
static bool fetch(struct logs *l, struct leaf *leaf, bool last, struct err *err)
{
    struct client_reply reply;
    struct client_request request = {
        .path = log_path(l, leaf->task, false), .accept = "text/plain", .range_from = leaf->offset};
    struct err why;
    bool whole = !l->prefix && !l->follow; /* streamed: it may be long */
    if (whole) request.sink = to_stdout;
    if (!client_send(l->client, l->cli->arena, &request, &reply, NULL, &why)) {
        bool nothing = why.code == ERR_RANGE || why.code == ERR_NOT_FOUND; /* no more, or none was written */
        if (!nothing || (l->step && why.code == ERR_NOT_FOUND && !l->follow)) {
            *err = why;
            return false;
        }
        reply.body = STR("");
    }
    if (whole) return true;
    leaf->offset += (int64_t)reply.body.n;
    put_text(l, leaf, reply.body, last);
    return true;
}

/* ---- which leaves ---- */

/* Is `path` the step asked for, or inside it? train covers train[2] and train.sub. */
static bool covers(const char *step, struct str path)
{
    size_t n = step ? strlen(step) : 0;
    return !step || (str_starts(path, step) && (path.n == n || path.p[n] == '[' || path.p[n] == '.'));
}

static struct leaf *leaf_of(struct logs *l, const struct tree_task *task)
{
    for (size_t i = 0; i < l->n_leaves; i++) {
        if (l->leaves[i].task == task->task) return &l->leaves[i];
    }
    if (l->n_leaves == l->room) {
        size_t size = sizeof *l->leaves, room = l->room ? l->room * 2 : 16;
        l->leaves = arena_grow(l->cli->arena, l->leaves, l->n_leaves * size, room * size);
        l->room = room;
    }
    struct leaf *leaf = &l->leaves[l->n_leaves++];
    *leaf = (struct leaf){.task = task->task, .attempt = task->attempt, .path = arena_str(l->cli->arena, task->path)};
    return leaf;
}

static bool look(struct logs *l, struct arena *a, struct tree *tree, struct err *err)
{
    struct value run;
    struct pages pages;
    if (!client_get(l->client, a, l->run_path, &run, err) ||
        !pages_fetch(l->cli, a, arena_printf(a, "%s/tasks", l->run_path).p, 0, &pages, err))
        return false;
    tree_load(a, &run, pages.items, pages.n, tree);
    return true;
}

static bool is_leaf(const struct logs *l, const struct tree_task *task)
{
    int64_t number;
    bool by_number = l->step && str_int(str_of(l->step), &number);
    return !task->inner && (by_number ? task->task == number : covers(l->step, task->path));
}

/* ---- following ---- */

static bool on_log(void *ctx, const struct client_event *event)
{
    struct logs *l = ctx;
    if (!event) return true;
    int64_t attempt = field_int(&event->value, "attempt", l->now_attempt);
    if (attempt > 1 && attempt != l->now_attempt) cli_note(l->cli, "--- attempt %lld", (long long)attempt);
    l->now_attempt = attempt;
    if (str_is(event->kind, "log")) {
        struct str text = field_str(&event->value, "text");
        to_stdout(NULL, text.p, text.n);
        fflush(stdout);
    }
    l->ended = str_is(event->kind, "end");
    return !l->ended;
}

static bool follow_one(struct logs *l, const struct leaf *leaf, struct err *err)
{
    struct client_stream stream = {.path = log_path(l, leaf->task, true), .fn = on_log, .ctx = l};
    l->now_attempt = leaf->attempt > 1 ? leaf->attempt : 1;
    return client_follow(l->client, &stream, err);
}

/* Round after round over all leaves: for several steps at once, and when the server has no stream left. */
static bool follow_all(struct logs *l, struct err *err)
{
    for (bool more = true; more && !cli_interrupted();) {
        struct arena a;
        struct tree tree;
        arena_init(&a, 512u << 20);
        bool ok = look(l, &a, &tree, err), all_ended = true;
        for (size_t i = 0; ok && i < tree.n_tasks; i++) {
            const struct tree_task *task = &tree.tasks[i];
            if (!is_leaf(l, task)) continue;
            bool over = state_ended(task->state);
            all_ended = all_ended && over;
            if (!task->attempt) continue;
            struct leaf *leaf = leaf_of(l, task);
            if (leaf->attempt != task->attempt) {
                put_text(l, leaf, STR(""), true);
                cli_note(l->cli, "--- %.*s: attempt %lld", STR_ARG(leaf->path), (long long)task->attempt);
                leaf->attempt = task->attempt;
                leaf->offset = 0;
            }
            if (leaf->offset < 0) continue; /* told to its end */
            ok = fetch(l, leaf, over, err);
            if (over) leaf->offset = -1;
        }
        more = ok && !(tree_ended(&tree) || (l->step && all_ended));
        arena_free(&a);
        if (!ok) return false;
        if (more) poll(NULL, 0, 700);
    }
    return true;
}

static int shown(struct logs *l, struct tree *tree)
{
    struct err err;
    size_t n = 0;
    const struct tree_task *only = NULL;
    for (size_t i = 0; i < tree->n_tasks; i++) {
        if (!is_leaf(l, &tree->tasks[i])) continue;
        only = &tree->tasks[i];
        n++;
    }
    if (l->step && !n) {
        err_set(&err, ERR_NOT_FOUND, "run %lld has no step '%s'", (long long)tree->run, l->step);
        err_hint(&err, "millrace get %lld lists them", (long long)tree->run);
        return cli_fail(l->cli, &err);
    }
    bool one = l->step && n == 1;
    l->prefix = !one;
    if (l->follow) {
        if (one) {
            if (follow_one(l, leaf_of(l, only), &err)) return cli_interrupted() ? CLI_INTERRUPTED : CLI_OK;
            if (err.code != ERR_UNAVAILABLE && err.code != ERR_TOO_MANY) return cli_fail(l->cli, &err);
        }
        return follow_all(l, &err) ? (cli_interrupted() ? CLI_INTERRUPTED : CLI_OK) : cli_fail(l->cli, &err);
    }
    for (size_t i = 0; i < tree->n_tasks; i++) {
        const struct tree_task *task = &tree->tasks[i];
        if (!is_leaf(l, task) || (!task->attempt && !one)) continue;
        if (!fetch(l, leaf_of(l, task), true, &err)) return cli_fail(l->cli, &err);
    }
    return CLI_OK;
}

int cmd_logs(struct cli *cli, const struct args *args)
{
    struct logs l = {.cli = cli, .step = args_word(args, 1), .follow = args_has(args, "follow")};
    struct tree tree;
    struct err err;
    int64_t attempt;
    const char *tail = args_get(args, "tail");
    int code = request_run_path(cli, args_word(args, 0), "", &l.run_path);
    if (code >= 0) return code;
    if (!args_int(args, "attempt", 1, 1000000, 0, &attempt, &err)) return cli_fail(cli, &err), CLI_USAGE;
    l.attempt = args_get(args, "attempt");
    if (tail && !str_int(str_of(tail), &l.tail)) {
        struct value v = value_string(str_of(tail));
        if (!units_bytes(&v, &l.tail, &err)) return cli_fail(cli, &err), CLI_USAGE;
    }
    l.client = cli_client(cli, &code);
    if (!l.client) return code;
    cli_catch_interrupts();
    if (!look(&l, cli->arena, &tree, &err)) return cli_fail(cli, &err);
    return shown(&l, &tree);
}
