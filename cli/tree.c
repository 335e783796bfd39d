/* Snapshots of a run to trees and lines: see tree.h. */
#include "cli/tree.h"

#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

#define NAME_WIDEST 36
#define NAME_NARROWEST 8

/* How each state looks; `loud` ones stay visible when the tree is too high for the terminal. */
static const struct look {
    const char *state, *symbol, *ascii;
    bool loud, ended;
} looks[] = {
    {"pending", "·", ".", false, false},   {"ready", "○", "o", false, false},  {"waiting", "◷", "w", true, false},
    {"backoff", "↻", "r", true, false},    {"running", "●", "*", true, false}, {"stopping", "◼", "s", true, false},
    {"succeeded", "✓", "+", false, true},  {"failed", "✗", "x", true, true},   {"skipped", "-", "-", false, true},
    {"cancelled", "⊘", "c", false, true},  {"queued", "○", "o", false, false}, {"paused", "‖", "p", true, false},
    {"cancelling", "◼", "s", true, false},
};
#define N_LOOKS (sizeof looks / sizeof *looks)

static const struct look *look_of(struct str state)
{
    static const struct look other = {"", "?", "?", true, false};
    for (size_t i = 0; i < N_LOOKS; i++) {
        if (str_is(state, looks[i].state)) return &looks[i];
    }
    return &other;
}

bool state_ended(struct str state)
{
    return look_of(state)->ended;
}

bool tree_ended(const struct tree *t)
{
    return state_ended(t->state);
}

/* ---- from answers ---- */

static int by_number(const void *x, const void *y)
{
    const struct tree_task *a = x, *b = y;
    return a->task < b->task ? -1 : a->task > b->task;
}

static struct tree_task *find(const struct tree *t, int64_t number)
{
    struct tree_task key = {.task = number};
    return t->n_tasks ? bsearch(&key, t->tasks, t->n_tasks, sizeof *t->tasks, by_number) : NULL;
}

static void read_task(const struct value *v, struct tree_task *out)
{
    *out = (struct tree_task){
        .task = field_int(v, "task", 0),
        .parent = field_int(v, "parent", -1),
        .path = field_str(v, "path"),
        .state = field_str(v, "state"),
        .reason = field_str(v, "reason"),
        .message = field_str(v, "message"),
        .waiting = field_str(v, "waitingFor"),
        .wrote = field_int(v, "logBytes", 0) > 0,
        .attempt = field_int(v, "attempt", 0),
        .started_us = time_parse(field_str(v, "startedAt")),
        .ended_us = time_parse(field_str(v, "endedAt")),
        .due_us = time_parse(field_str(v, "dueAt")),
        .needs = value_get(v, "needs"),
    };
    if (!out->message.n) out->message = field_str(v, "reasonText");
}

static void link_tasks(struct tree *t)
{
    for (size_t i = 0; i < t->n_tasks; i++) {
        struct tree_task *task = &t->tasks[i], *parent = task->parent < 0 ? NULL : find(t, task->parent);
        if (parent == task) parent = NULL;
        uint32_t *first = parent ? &parent->first_child : &t->first, *last = parent ? &parent->last_child : &t->last;
        if (*last)
            t->tasks[*last - 1].next = (uint32_t)i + 1;
        else
            *first = (uint32_t)i + 1;
        *last = (uint32_t)i + 1;
        if (parent) parent->inner = true;
    }
}

void tree_load(struct arena *a, const struct value *run, const struct value *pages, size_t n_pages, struct tree *out)
{
    struct tree t = {
        .run = field_int(run, "id", 0),
        .pipeline = field_str(run, "pipeline"),
        .name = field_str(run, "name"),
        .state = field_str(run, "state"),
        .message = field_str(run, "message"),
        .created_us = time_parse(field_str(run, "createdAt")),
        .started_us = time_parse(field_str(run, "startedAt")),
        .ended_us = time_parse(field_str(run, "endedAt")),
    };
    size_t total = 0, n;
    for (size_t p = 0; p < n_pages; p++) {
        field_list(&pages[p], "items", &n);
        total += n;
    }
    t.tasks = arena_array(a, struct tree_task, total + 1);
    for (size_t p = 0; p < n_pages; p++) {
        const struct value *items = field_list(&pages[p], "items", &n);
        for (size_t i = 0; i < n; i++)
            read_task(&items[i], &t.tasks[t.n_tasks++]);
    }
    if (t.n_tasks) qsort(t.tasks, t.n_tasks, sizeof *t.tasks, by_number);
    link_tasks(&t);
    *out = t;
}

/* ---- words ---- */

struct counts {
    size_t of[N_LOOKS], total, ended;
};

static void count(struct counts *c, struct str state)
{
    const struct look *look = look_of(state);
    c->total++;
    if (look->ended) c->ended++;
    if (look >= looks && look < looks + N_LOOKS) c->of[look - looks]++;
}

/* "3 succeeded, 1 running" */
static struct str counts_text(struct arena *a, const struct counts *c)
{
    static const char *const order[] = {"failed",    "running", "backoff",   "waiting", "stopping",
                                        "succeeded", "skipped", "cancelled", "ready",   "pending"};
    struct str text = STR("");
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        size_t n = c->of[look_of(str_of(order[i])) - looks];
        if (n) text = arena_printf(a, "%.*s%s%zu %s", STR_ARG(text), text.n ? ", " : "", n, order[i]);
    }
    return text;
}

static struct str took(struct arena *a, const struct tree_task *task, int64_t now)
{
    if (!task->started_us) return STR("");
    return span_text(a, (task->ended_us ? task->ended_us : now) - task->started_us);
}

static struct counts count_children(const struct tree *t, const struct tree_task *task)
{
    struct counts c = {0};
    for (uint32_t i = task->first_child; i; i = t->tasks[i - 1].next)
        count(&c, t->tasks[i - 1].state);
    return c;
}

static void add(struct arena *a, struct str *text, struct str piece)
{
    if (piece.n) *text = arena_printf(a, "%.*s%s%.*s", STR_ARG(*text), text->n ? "  " : "", STR_ARG(piece));
}

/* What stands behind a task's name. */
static struct str detail(struct arena *a, const struct tree *t, const struct tree_task *task, int64_t now)
{
    struct str text = STR("");
    bool ended = state_ended(task->state);
    if (task->attempt > 1) add(a, &text, arena_printf(a, "attempt %lld", (long long)task->attempt));
    if (task->inner) {
        struct counts c = count_children(t, task);
        add(a, &text, arena_printf(a, "%zu of %zu", c.ended, c.total));
        if (!ended) add(a, &text, counts_text(a, &c));
    }
    if (str_is(task->state, "backoff") && task->due_us > now) {
        add(a, &text, arena_printf(a, "again in %.*s", STR_ARG(span_text(a, task->due_us - now))));
        add(a, &text, task->message);
        return text;
    }
    if (ended || str_is(task->state, "running") || str_is(task->state, "stopping")) add(a, &text, took(a, task, now));
    if (str_is(task->state, "succeeded"))
        add(a, &text, str_is(task->reason, "Cached") ? STR("cached") : STR(""));
    else if (ended)
        add(a, &text, task->message);
    else
        add(a, &text, task->waiting.n ? task->waiting : str_is(task->state, "waiting") ? task->message : STR(""));
    return text;
}

/* ---- the tree ---- */

static const struct tree_task *parent_of(const struct tree *t, const struct tree_task *task)
{
    return task->parent < 0 || task->parent == task->task ? NULL : find(t, task->parent);
}

/* Below its parent a step needs no more than its own name: sub.step is "step" there; an item, train[2], stays as it is.
 */
static struct str label(const struct tree *t, const struct tree_task *task)
{
    const struct tree_task *parent = parent_of(t, task);
    size_t n = parent ? parent->path.n : 0;
    bool below = n && task->path.n > n + 1 && task->path.p[n] == '.' && str_eq(str_sub(task->path, 0, n), parent->path);
    return below ? str_sub(task->path, n + 1, task->path.n) : task->path;
}

struct painter {
    struct buf *out;
    struct arena *arena;
    const struct tree *tree;
    const struct tree_view *view;
    size_t name_width;
    size_t lines_left;
    bool only_loud;
};

static void line_end(struct painter *p)
{
    buf_char(p->out, '\n');
    if (p->lines_left) p->lines_left--;
}

/* Is it worth a line in a tree that is too high? */
static bool loud(const struct tree_task *task)
{
    return look_of(task->state)->loud;
}

static const char *symbol(const struct painter *p, struct str state)
{
    static const char *const spinner[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    if (!p->view->term.utf8) return look_of(state)->ascii;
    if (p->view->term.tty && str_is(state, "running")) return spinner[p->view->frame % 10];
    return look_of(state)->symbol;
}

static void task_line(struct painter *p, const struct tree_task *task, const char *indent, const char *branch)
{
    const struct term *term = &p->view->term;
    size_t width = term->width ? term->width - 1 : 0,
           used = term_columns(str_of(indent)) + term_columns(str_of(branch));
    term_style(p->out, term->color, STYLE_DIM);
    buf_printf(p->out, "%s%s", indent, branch);
    term_style_end(p->out, term->color, STYLE_DIM);
    enum style style = style_of_state(task->state);
    term_style(p->out, term->color, style);
    buf_c(p->out, symbol(p, task->state));
    term_style_end(p->out, term->color, style);
    buf_char(p->out, ' ');
    used += 2;
    size_t room = p->name_width > used + NAME_NARROWEST ? p->name_width - used : NAME_NARROWEST;
    if (width && room > width - used) room = width > used ? width - used : 1;
    size_t name = term_text(p->out, label(p->tree, task), room);
    struct str text = detail(p->arena, p->tree, task, p->view->now_us);
    if (text.n) {
        if (room > name) term_pad(p->out, room - name);
        term_pad(p->out, 2);
        used += (room > name ? room : name) + 2;
        enum style quiet = str_is(task->state, "failed") ? STYLE_RED : STYLE_DIM;
        term_style(p->out, term->color, quiet);
        if (!width)
            term_text(p->out, text, 0);
        else if (width > used)
            term_text(p->out, text, width - used);
        term_style_end(p->out, term->color, quiet);
    }
    line_end(p);
}

static void children(struct painter *p, uint32_t first, const char *indent, unsigned depth);

static void rest_line(struct painter *p, const struct counts *c, const char *indent, const char *branch)
{
    struct str text = counts_text(p->arena, c);
    const struct term *term = &p->view->term;
    term_style(p->out, term->color, STYLE_DIM);
    struct str line = arena_printf(p->arena, "%s%s%s %zu more: %.*s", indent, branch, term->utf8 ? "…" : "...",
                                   c->total, STR_ARG(text));
    term_text(p->out, line, term->width ? term->width - 1 : 0);
    term_style_end(p->out, term->color, STYLE_DIM);
    line_end(p);
}

static void one(struct painter *p, const struct tree_task *task, const char *indent, bool last, unsigned depth)
{
    bool utf8 = p->view->term.utf8;
    const char *branch = last ? (utf8 ? "└─ " : "`- ") : (utf8 ? "├─ " : "|- ");
    task_line(p, task, indent, branch);
    bool open = task->first_child && depth < 16 && !(p->only_loud && p->lines_left < depth + 2);
    if (!open) return;
    const char *further = last ? "   " : (utf8 ? "│  " : "|  ");
    children(p, task->first_child, arena_printf(p->arena, "%s%s", indent, further).p, depth + 1);
}

static void children(struct painter *p, uint32_t first, const char *indent, unsigned depth)
{
    const struct tree *t = p->tree;
    struct counts hidden = {0};
    for (uint32_t i = first; i; i = t->tasks[i - 1].next) {
        const struct tree_task *task = &t->tasks[i - 1];
        /* This level and those above may each need a line for what they leave out. */
        bool room = p->lines_left > depth + 1;
        if (p->only_loud && !(loud(task) && room))
            count(&hidden, task->state);
        else
            one(p, task, indent, task->next == 0 && hidden.total == 0, depth);
    }
    bool utf8 = p->view->term.utf8;
    if (hidden.total) rest_line(p, &hidden, indent, utf8 ? "└─ " : "`- ");
}

/* The column behind the names: where the longest ends, but it leaves the details two fifths of the line. */
static size_t widest_name(const struct tree *t, const struct term *term)
{
    size_t widest = NAME_NARROWEST, most = term->width && term->width < 60 ? term->width * 3 / 5 : NAME_WIDEST;
    for (size_t i = 0; i < t->n_tasks && widest < most; i++) {
        size_t columns = term_columns(label(t, &t->tasks[i])) + 5; /* branch and symbol */
        const struct tree_task *above = parent_of(t, &t->tasks[i]);
        for (unsigned depth = 0; above && depth < 16; depth++, above = parent_of(t, above))
            columns += 3;
        if (columns > widest) widest = columns;
    }
    return widest > most ? most : widest;
}

/* A piece of the head, as far as there is room. */
static void piece(struct painter *p, size_t *used, struct str text, enum style style)
{
    const struct term *term = &p->view->term;
    size_t width = term->width ? term->width - 1 : SIZE_MAX;
    if (*used + 1 >= width) return;
    term_style(p->out, term->color, style);
    *used += term_text(p->out, text, term->width ? width - *used : 0);
    term_style_end(p->out, term->color, style);
}

static void head(struct painter *p)
{
    const struct tree *t = p->tree;
    struct counts c = {0};
    size_t used = 0;
    for (size_t i = 0; i < t->n_tasks; i++)
        count(&c, t->tasks[i].state);
    int64_t from = t->started_us ? t->started_us : t->created_us;
    struct str span = from ? span_text(p->arena, (t->ended_us ? t->ended_us : p->view->now_us) - from) : STR("");
    struct str name = t->name.n ? t->name : t->pipeline;
    piece(p, &used, arena_printf(p->arena, "run %lld %.*s", (long long)t->run, STR_ARG(name)), STYLE_BOLD);
    piece(p, &used, STR("  "), STYLE_PLAIN_TEXT);
    piece(p, &used, t->state, style_of_state(t->state));
    struct str rest = arena_printf(p->arena, "  %.*s  %zu of %zu tasks", STR_ARG(span), c.ended, c.total);
    piece(p, &used, rest, STYLE_PLAIN_TEXT);
    line_end(p);
}

void tree_render(struct buf *out, struct arena *a, const struct tree *t, const struct tree_view *view)
{
    size_t height = view->term.height;
    struct painter p = {out, a, t, view, widest_name(t, &view->term), height > 4 ? height - 1 : 4, false};
    bool says = tree_ended(t) && t->message.n;
    p.lines_left -= says;
    p.only_loud = height && t->n_tasks + 1 > p.lines_left;
    head(&p);
    children(&p, t->first, "", 0);
    if (says) {
        enum style style = style_of_state(t->state);
        term_style(out, view->term.color, style);
        term_text(out, t->message, view->term.tty && view->term.width ? view->term.width - 1 : 0);
        term_style_end(out, view->term.color, style);
        line_end(&p);
    }
}

/* ---- lines ---- */

static void change_line(struct buf *out, struct arena *a, const struct tree *t, const struct tree_task *task,
                        const struct tree_view *view)
{
    struct painter p = {.view = view};
    struct str text = detail(a, t, task, view->now_us);
    enum style style = style_of_state(task->state);
    term_style(out, view->term.color, style);
    buf_printf(out, "%s ", symbol(&p, task->state));
    term_text(out, task->path, 0);
    buf_c(out, ": ");
    term_text(out, task->state, 0);
    term_style_end(out, view->term.color, style);
    if (text.n) {
        buf_c(out, "  ");
        term_text(out, text, 0);
    }
    buf_char(out, '\n');
}

static void run_line(struct buf *out, const struct tree *t, const struct tree_view *view)
{
    enum style style = style_of_state(t->state);
    buf_printf(out, "run %lld: ", (long long)t->run);
    term_style(out, view->term.color, style);
    term_text(out, t->state, 0);
    term_style_end(out, view->term.color, style);
    if (t->message.n) {
        buf_c(out, "  ");
        term_text(out, t->message, 0);
    }
    buf_char(out, '\n');
}

struct change {
    const struct tree_task *task;
    int64_t at_us; /* INT64_MAX: not known, which is told last */
    enum { LEAF_END, INNER_END, BEGIN } what;
};

static struct change change_of(const struct tree_task *t)
{
    bool ended = state_ended(t->state);
    int64_t at = ended ? t->ended_us : str_is(t->state, "running") ? t->started_us : 0;
    return (struct change){t, at ? at : INT64_MAX, !ended ? BEGIN : t->inner ? INNER_END : LEAF_END};
}

/* As it happened; of what happened at once, a task ends behind those inside it and begins before them. */
static int by_time(const void *x, const void *y)
{
    const struct change *a = x, *b = y;
    if (a->at_us != b->at_us) return a->at_us < b->at_us ? -1 : 1;
    if (a->what != b->what) return a->what < b->what ? -1 : 1;
    int order = a->task->task < b->task->task ? -1 : a->task->task > b->task->task;
    return a->what == INNER_END ? -order : order;
}

/* What comes before the numbers, which change all the time. */
static struct str wording(struct str why)
{
    size_t n = 0;
    while (n < why.n && (why.p[n] < '0' || why.p[n] > '9'))
        n++;
    return str_sub(why, 0, n);
}

/* Nothing before it is left: it is no wait of its own that it is not its turn. */
static bool could_begin(const struct tree *t, const struct tree_task *task)
{
    const struct value *need;
    if (!str_is(task->state, "ready") && !str_is(task->state, "pending")) return false;
    for (size_t i = 0; (need = value_item(task->needs, i)) != NULL; i++) {
        const struct tree_task *other = need->type == VALUE_INT ? find(t, need->u.i) : NULL;
        if (other && !state_ended(other->state)) return false;
    }
    return true;
}

static bool same_wait(const struct tree_task *x, const struct tree_task *y)
{
    return x->waiting.n > 0 && y->waiting.n > 0 && str_eq(wording(x->waiting), wording(y->waiting));
}

/* Of a loop's items that wait for the same, the first says it. */
static bool same_item_wait(const struct tree_task *x, const struct tree_task *y)
{
    return x->parent == y->parent && str_ends(x->path, "]") && str_ends(y->path, "]") && same_wait(x, y);
}

void tree_changes(struct buf *out, struct arena *a, const struct tree *before, const struct tree *after,
                  const struct tree_view *view)
{
    bool run_changed = !before || !str_eq(before->state, after->state);
    struct change *changes = arena_array(a, struct change, after->n_tasks + 1);
    const struct tree_task *waiting = NULL; /* the last before this one */
    size_t n = 0;
    if (run_changed && !tree_ended(after)) run_line(out, after, view);
    for (size_t i = 0; i < after->n_tasks; i++) {
        const struct tree_task *now = &after->tasks[i], *was = before ? find(before, now->task) : NULL;
        bool begun = !str_is(now->state, "pending") && !str_is(now->state, "ready");
        bool changed = was ? !str_eq(was->state, now->state) || was->attempt != now->attempt : begun;
        bool waits = now->waiting.n > 0 && could_begin(after, now);
        bool tells = waits && !(was && same_wait(was, now)) && !(waiting && same_item_wait(waiting, now));
        if ((changed && begun) || tells) changes[n++] = change_of(now);
        if (waits) waiting = now;
    }
    if (n) qsort(changes, n, sizeof *changes, by_time);
    for (size_t i = 0; i < n; i++)
        change_line(out, a, after, changes[i].task, view);
    if (run_changed && tree_ended(after)) run_line(out, after, view); /* its end comes last */
}
