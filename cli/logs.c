/* What steps wrote: one step's log, or those of all steps of a run, now or as they grow. */
#include <poll.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/show.h"
#include "cli/tree.h"
#include "engine/os/clock.h"

#define TAIL_MOST INT32_MAX
#define PATIENCE_US 300000000 /* a server that is away for longer is given up */

/* A leaf whose log is shown. */
struct leaf {
    int64_t task, attempt, offset;
    struct str path;
    struct buf partial; /* the beginning of a line whose end has not come */
};

struct logs {
    struct cli *cli;
    struct client *client;
    const char *run_path, *step; /* step NULL = all */
    const char *attempt;
    int64_t tail; /* lines that are shown of what there is at first; 0 = all */
    bool follow;
    bool prefix; /* several leaves: each line says whose it is */
    struct leaf *leaves;
    size_t n_leaves, room;
    int64_t now_attempt, now_offset; /* of the stream being followed */
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

static void put_text(struct logs *l, struct leaf *leaf, struct str text)
{
    if (!l->prefix) {
        to_stdout(NULL, text.p, text.n);
        return;
    }
    for (size_t end; str_find(text, STR("\n"), &end); text = str_sub(text, end + 1, text.n)) {
        buf_str(&leaf->partial, str_sub(text, 0, end));
        put_line(l, leaf, buf_view(&leaf->partial));
        buf_reset(&leaf->partial);
    }
    buf_str(&leaf->partial, text);
}

static void put_end(struct logs *l, struct leaf *leaf)
{
    if (leaf->partial.n) put_line(l, leaf, buf_view(&leaf->partial));
    buf_reset(&leaf->partial);
}

static const char *log_path(struct logs *l, struct arena *a, const struct leaf *leaf, bool follow)
{
    const char *path = arena_printf(a, "%s/tasks/%lld/logs?follow=%d", l->run_path, (long long)leaf->task, follow).p;
    if (l->attempt) path = arena_printf(a, "%s&attempt=%s", path, client_path(a, "%s", l->attempt)).p;
    if (l->tail && !leaf->offset) path = arena_printf(a, "%s&tail=%lld", path, (long long)l->tail).p;
    return path;
}

struct to_leaf {
    struct logs *logs;
    struct leaf *leaf;
};

static bool on_piece(void *ctx, const char *p, size_t n)
{
    struct to_leaf *to = ctx;
    to->leaf->offset += (int64_t)n;
    put_text(to->logs, to->leaf, (struct str){p, n});
    return !ferror(stdout);
}

/* What there is beyond leaf->offset, however long. */
static bool fetch(struct logs *l, struct arena *a, struct leaf *leaf, bool last, struct err *err)
{
    struct to_leaf to = {l, leaf};
    struct client_reply reply;
    struct client_request request = {.path = log_path(l, a, leaf, false),
                                     .accept = "text/plain",
                                     .range_from = leaf->offset,
                                     .sink = on_piece,
                                     .sink_ctx = &to};
    struct err why;
    bool ok = client_send(l->client, a, &request, &reply, NULL, &why);
    if (!ok) {
        bool nothing = why.code == ERR_RANGE || why.code == ERR_NOT_FOUND; /* no more, or none was written */
        if (!nothing || (l->step && why.code == ERR_NOT_FOUND && !l->follow)) {
            *err = why;
            return false;
        }
    } else if (!request.range_from) {
        leaf->offset += reply.from;
    }
    if (last) put_end(l, leaf);
    fflush(stdout);
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
    buf_init(&leaf->partial, 1 << 20);
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
    struct str id = event->id, offset = STR(""); /* "<attempt>.<offset>" */
    while (str_split(&id, '.', &offset))
        ;
    if (!str_int(offset, &l->now_offset)) l->now_offset = 0;
    if (str_is(event->kind, "log")) {
        struct str text = field_str(&event->value, "text");
        to_stdout(NULL, text.p, text.n);
        fflush(stdout);
    }
    l->ended = str_is(event->kind, "end");
    return !l->ended;
}

static bool follow_one(struct logs *l, struct leaf *leaf, struct err *err)
{
    struct client_stream stream = {.path = log_path(l, l->cli->arena, leaf, true), .fn = on_log, .ctx = l};
    l->now_attempt = leaf->attempt > 1 ? leaf->attempt : 1;
    bool ok = client_follow(l->client, &stream, err);
    leaf->attempt = l->now_attempt; /* where somebody else may go on */
    leaf->offset = l->now_offset;
    return ok;
}

/* One look at all leaves. *over: there is nothing more to come. */
static bool round_once(struct logs *l, struct arena *a, bool *over, struct err *err)
{
    struct tree tree;
    bool all_ended = true;
    if (!look(l, a, &tree, err)) return false;
    for (size_t i = 0; i < tree.n_tasks; i++) {
        const struct tree_task *task = &tree.tasks[i];
        if (!is_leaf(l, task)) continue;
        bool ended = state_ended(task->state);
        all_ended = all_ended && ended;
        if (!task->attempt) continue;
        struct leaf *leaf = leaf_of(l, task);
        if (leaf->attempt != task->attempt) {
            put_end(l, leaf);
            cli_note(l->cli, "--- %.*s: attempt %lld", STR_ARG(leaf->path), (long long)task->attempt);
            leaf->attempt = task->attempt;
            leaf->offset = 0;
        }
        if (leaf->offset < 0) continue; /* told to its end */
        if (!fetch(l, a, leaf, ended, err)) return false;
        if (ended) leaf->offset = -1;
    }
    l->tail = 0; /* what comes from now on is new */
    *over = tree_ended(&tree) || (l->step && all_ended);
    return true;
}

/* Round after round: for several steps at once, and when the server has no stream left. A server that is away is waited
 * for. */
static bool follow_all(struct logs *l, struct err *err)
{
    int64_t seen_us = os_mono_us();
    for (bool over = false; !over && !cli_interrupted();) {
        struct arena a;
        arena_init(&a, 512u << 20);
        bool ok = round_once(l, &a, &over, err);
        arena_free(&a);
        if (ok) seen_us = os_mono_us();
        if (!ok && (err->code != ERR_UNAVAILABLE || os_mono_us() - seen_us > PATIENCE_US)) return cli_interrupted();
        if (!over) poll(NULL, 0, 700);
    }
    return true;
}

static size_t count_leaves(const struct logs *l, const struct tree *tree, const struct tree_task **last)
{
    size_t n = 0;
    for (size_t i = 0; i < tree->n_tasks; i++) {
        if (!is_leaf(l, &tree->tasks[i])) continue;
        *last = &tree->tasks[i];
        n++;
    }
    return n;
}

/* The run's tasks. A step that is to be followed and has not begun may turn out to be a loop: it is waited for. */
static bool look_when_begun(struct logs *l, struct arena *a, struct tree *tree, struct err *err)
{
    for (;;) {
        const struct tree_task *only = NULL;
        arena_reset(a);
        if (!look(l, a, tree, err)) return false;
        bool one = l->follow && l->step && count_leaves(l, tree, &only) == 1;
        bool waits = one && !tree_ended(tree) && (str_is(only->state, "pending") || str_is(only->state, "ready"));
        if (!waits || cli_interrupted()) return true;
        poll(NULL, 0, 300);
    }
}

static int shown(struct logs *l, struct tree *tree)
{
    struct err err;
    const struct tree_task *only = NULL;
    size_t n = count_leaves(l, tree, &only);
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
        if (!fetch(l, l->cli->arena, leaf_of(l, task), true, &err)) return cli_fail(l->cli, &err);
    }
    return CLI_OK;
}

int cmd_logs(struct cli *cli, const struct args *args)
{
    struct logs l = {.cli = cli, .step = args_word(args, 1), .follow = args_has(args, "follow")};
    struct tree tree;
    struct err err;
    int64_t attempt;
    int code = request_run_path(cli, args_word(args, 0), "", &l.run_path);
    if (code >= 0) return code;
    if (!args_int(args, "attempt", 1, 1000000, 0, &attempt, &err) ||
        !args_int(args, "tail", 1, TAIL_MOST, 0, &l.tail, &err))
        return cli_fail(cli, &err), CLI_USAGE;
    l.attempt = args_get(args, "attempt");
    l.client = cli_client(cli, &code);
    if (!l.client) return code;
    cli_catch_interrupts();
    struct arena looks;
    arena_init(&looks, 512u << 20);
    code = look_when_begun(&l, &looks, &tree, &err) ? shown(&l, &tree) : cli_fail(cli, &err);
    arena_free(&looks);
    for (size_t i = 0; i < l.n_leaves; i++)
        buf_free(&l.leaves[i].partial);
    return code;
}
