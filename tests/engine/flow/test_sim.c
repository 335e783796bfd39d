/* The simulator: random plans under random events, with crashes at random moments. After each step the run's invariants
 * hold (run_verify), and the rig has checked what a store would: fences, one success a task, terminal states that stay.
 * Whatever happened before, left alone every run ends.
 *
 * MILLRACE_SIM_TRANSITIONS scales it, MILLRACE_SIM_SEED repeats a failure: each plan and its runs have a seed, printed
 * when it fails. */
#include <inttypes.h>

#include "tests/engine/flow/rig.h"

#if defined(__SANITIZE_ADDRESS__)
#define DEFAULT_TRANSITIONS 60000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DEFAULT_TRANSITIONS 60000
#endif
#endif
#ifndef DEFAULT_TRANSITIONS
#ifdef __OPTIMIZE__
#define DEFAULT_TRANSITIONS 1000000
#else
#define DEFAULT_TRANSITIONS 200000
#endif
#endif
#define RUNS_A_PLAN 4
#define GRAPHS 3

static uint64_t failing_seed;
static uint64_t events[64]; /* by kind, over all runs: that each was reached */

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static bool chance(struct rig *g, uint32_t percent)
{
    return rig_below(g, 100) < percent;
}

/* ---- plans ---- */

static const enum verb leaf_verbs[] = {VERB_RUN,  VERB_RUN,  VERB_RUN,      VERB_RUN,  VERB_SCRIPT,
                                       VERB_NOOP, VERB_EXPR, VERB_APPROVAL, VERB_WAIT, VERB_HTTP};

static void random_needs(struct rig *g, const struct graph *graph, uint32_t from, char *out, size_t room)
{
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = from; i < graph->n_nodes; i++) {
        if (!chance(g, graph->n_nodes - from > 4 ? 25 : 45)) continue;
        int more = snprintf(out + n, room - n, "%sn%u", n > 0 ? "," : "", i);
        if (more < 0 || (size_t)more >= room - n) {
            out[n] = '\0';
            return;
        }
        n += (size_t)more;
    }
}

static void random_retry(struct rig *g, struct node *n)
{
    if (!chance(g, 40)) return;
    n->retry = (struct retry){.limit = rig_below(g, 3),
                              .base_ms = rig_below(g, 200),
                              .factor = 2,
                              .jitter = 0.3,
                              .max_ms = 1000,
                              .on = FAILURE_ERROR | (chance(g, 50) ? FAILURE_OOM | FAILURE_TIMEOUT : 0)};
}

static void random_when(struct rig *g, struct build *b, struct node *n, const struct graph *graph)
{
    if (!chance(g, 25)) return;
    char text[128];
    if (n->n_deps > 0 && chance(g, 60))
        snprintf(text, sizeof text, "steps.%.*s.status == 'succeeded'", STR_ARG(graph->nodes[n->deps[0]].name));
    else if (n->loop && chance(g, 60))
        snprintf(text, sizeof text, "item != 1");
    else
        snprintf(text, sizeof text, "%s", chance(g, 70) ? "true" : "false");
    n->when = build_expr(b, text);
}

static void random_value(struct rig *g, struct build *b, struct node *n, const struct graph *graph)
{
    char text[128] = "7";
    const struct node *up = n->n_deps > 0 ? &graph->nodes[n->deps[rig_below(g, n->n_deps)]] : NULL;
    if (up && (up->verb == VERB_EXPR || up->loop) && chance(g, 70))
        snprintf(text, sizeof text, "${{ steps.%.*s.%s }}", STR_ARG(up->name), up->loop ? "outputs" : "value");
    else if (n->loop)
        snprintf(text, sizeof text, "${{ item + index }}");
    n->value = build_template(b, text);
}

static void random_node(struct rig *g, struct build *b, uint32_t graph, uint32_t exits_from, enum after after)
{
    struct graph *gr = &b->graphs[graph];
    char name[16], needs[128];
    snprintf(name, sizeof name, "n%u", gr->n_nodes);
    random_needs(g, gr, after == AFTER_NONE ? 0 : exits_from, needs, sizeof needs);
    bool call = graph + 1 < GRAPHS && chance(g, 15);
    enum verb verb = call ? VERB_PIPELINE : leaf_verbs[rig_below(g, sizeof leaf_verbs / sizeof leaf_verbs[0])];
    struct node *n = build_node(b, graph, name, verb, needs);
    n->after = after;
    if (call) n->graph = graph + 1 + rig_below(g, GRAPHS - graph - 1);
    if (call && chance(g, 20)) n->timeout_ms = 1 + rig_below(g, 3000);
    if (chance(g, 20)) {
        char list[48];
        static const char *const lists[] = {"[]", "[1]", "[1, 2]", "[1, 2, 3]", "5"};
        snprintf(list, sizeof list, "${{ %s }}", lists[chance(g, 4) ? 4 : rig_below(g, 4)]);
        build_foreach(b, n, list, chance(g, 50) ? 1 + rig_below(g, 2) : 0);
    }
    if (n->n_deps > 0 && chance(g, 30)) n->rule = (enum rule)rig_below(g, 4);
    n->cache.on = chance(g, 10);
    n->priority = (int32_t)rig_below(g, 3) - 1;
    random_retry(g, n);
    random_when(g, b, n, gr);
    if (verb == VERB_EXPR) random_value(g, b, n, gr);
    if (verb == VERB_WAIT) n->wait_for = build_template(b, chance(g, 50) ? "0" : "300ms");
    if (verb == VERB_APPROVAL && chance(g, 50)) n->timeout_ms = 1 + rig_below(g, 2000);
}

static const struct plan *random_plan(struct rig *g, struct build *b, struct arena *a)
{
    build_init(b, a, GRAPHS, 24);
    for (uint32_t k = 0; k < GRAPHS; k++) {
        static const uint32_t most[GRAPHS] = {14, 5, 4};
        uint32_t ordinary = rig_below(g, most[k] + 1), exits = chance(g, 35) ? 1 + rig_below(g, 3) : 0;
        for (uint32_t i = 0; i < ordinary; i++)
            random_node(g, b, k, 0, AFTER_NONE);
        for (uint32_t i = 0; i < exits; i++)
            random_node(g, b, k, ordinary, (enum after)(1 + rig_below(g, 3)));
        if (chance(g, 25)) b->graphs[k].parallelism = 1 + rig_below(g, 3);
        if (chance(g, k == 0 ? 5 : 10)) b->graphs[k].deadline_ms = 1 + rig_below(g, 5000);
    }
    return build_end(b);
}

/* ---- events ---- */

static struct task_result random_result(struct rig *g, bool killed)
{
    static const enum failure kinds[] = {FAILURE_ERROR,   FAILURE_ERROR, FAILURE_OOM,
                                         FAILURE_TIMEOUT, FAILURE_INFRA, FAILURE_INVALID};
    if (!killed && chance(g, 75))
        return (struct task_result){.ok = true, .outputs = STR("{\"value\":3}"), .exit_code = 0};
    return (struct task_result){
        .failure = kinds[rig_below(g, 6)], .exit_code = 1, .message = STR("it went wrong"), .log_bytes = 9};
}

static void end_one(struct rig *g)
{
    if (g->n_world == 0) return;
    struct rig_attempt at = g->world[rig_below(g, g->n_world)];
    bool older = at.attempt > 1 && rig_end_with(g, at.task, at.attempt - 1, random_result(g, false));
    rig_end_with(g, at.task, at.attempt, random_result(g, at.killed));
    bool twice = rig_end_with(g, at.task, at.attempt, random_result(g, false));
    if (older || twice) fail_msg("task %u: an end was accepted %s", at.task, older ? "of an older attempt" : "twice");
}

static void answer_cache(struct rig *g)
{
    while (g->n_asked > 0) {
        struct rig_attempt at = g->asked[--g->n_asked];
        run_cache_answer(g->run, at.task, chance(g, 30) ? STR("{\"value\":4}") : STR(""), g->now_us, &g->out);
    }
}

static void approve_some(struct rig *g)
{
    for (uint32_t task = 0; task < run_task_count(g->run); task++) {
        if (run_task_state(g->run, task) != TASK_WAITING || run_task_node(g->run, task)->verb != VERB_APPROVAL)
            continue;
        char json[96];
        snprintf(json, sizeof json, "{\"task\":%u,\"approved\":%s,\"by\":\"me\"}", task,
                 chance(g, 80) ? "true" : "false");
        rig_do(g, COMMAND_APPROVE, json);
    }
}

static void command_some(struct rig *g, bool calm)
{
    struct err err = {0};
    uint32_t dice = rig_below(g, 1000);
    if (dice < 10)
        (void)!rig_command(g, COMMAND_PAUSE, NULL, &err);
    else if (dice < 200 || calm)
        (void)!rig_command(g, COMMAND_RESUME, NULL, &err);
    else if (dice < 205)
        (void)!rig_command(g, COMMAND_CANCEL, "{\"graceMs\":100}", &err);
}

/* The task to retry from: any that a path leads to. */
static void retry_somehow(struct rig *g)
{
    struct err err = {0};
    char json[160] = "{}";
    if (run_task_count(g->run) > 0 && chance(g, 50)) {
        uint32_t task = rig_below(g, run_task_count(g->run));
        struct str path = run_task_path(g->run, task, &g->arena);
        if (run_task_find(g->run, path) != NONE) snprintf(json, sizeof json, "{\"from\":\"%.*s\"}", STR_ARG(path));
    }
    if (!rig_command(g, COMMAND_RETRY, json, &err)) return;
    g->finished = false;
    if (chance(g, 30)) run_hold(g->run);
}

static void turn(struct rig *g)
{
    g->now_us += 1 + rig_below(g, 20000);
    (void)run_advance(g->run, &(uint32_t){1 + rig_below(g, 12)}, g->now_us, &g->out);
    uint32_t start = rig_below(g, 6), after = NONE;
    for (uint32_t task; start > 0 && (task = run_ready_next(g->run, after)) != NONE; start--) {
        after = task;
        if (chance(g, 80)) run_start_task(g->run, task, STR("process:1"), g->now_us, &g->out);
    }
}

/* A crash before the commit loses the turn; one right behind it loses its effects; a quiet one loses neither. */
static void close_turn(struct rig *g, bool calm)
{
    uint32_t dice = calm ? 100 : rig_below(g, 100);
    if (dice < 4) {
        rig_crash(g);
        return;
    }
    if (dice < 8) {
        g->out.n_effects = 0;
        rig_commit(g);
        rig_crash(g);
    }
    rig_commit(g);
}

/* What a finished run leaves: every task that counts has ended. */
static void check_finished(struct rig *g)
{
    struct run_summary s;
    run_summary(g->run, &g->arena, &s);
    if (s.started_us != 0 && s.tasks_done != s.tasks_total)
        fail_msg("%u of %u tasks have not ended", s.tasks_total - s.tasks_done, s.tasks_total);
    rig_check_attempts(g);
    bool bad = s.tasks_failed > 0;
    if (s.state == RUN_SUCCEEDED && bad) fail_msg("a task failed and the run succeeded");
    for (uint32_t i = 0; i < g->room; i++) {
        const struct task_row *row = &g->rows[i].row;
        if (g->rows[i].stored && !task_state_terminal(row->state) && row->reason != REASON_SUPERSEDED)
            fail_msg("task %u is stored as %s", i, task_state_name(row->state));
    }
}

static void one_run(const struct plan *plan, uint64_t seed, uint64_t *transitions)
{
    struct rig g;
    rig_init(&g, plan, value_null());
    g.seed = seed * 0x9e3779b97f4a7c15u | 1;
    for (int i = 0; i < 8; i++)
        rig_random(&g);
    rig_begin(&g);
    close_turn(&g, false);
    if (run_state_of(g.run) == RUN_QUEUED) rig_begin(&g);
    uint32_t retries = rig_below(&g, 3), wild = rig_below(&g, 200);
    for (uint32_t i = 0;; i++) {
        if (i > 20000) fail_msg("the run does not end");
        bool calm = i > wild;
        if (run_state_of(g.run) == RUN_QUEUED) rig_begin(&g);
        turn(&g);
        for (uint32_t k = rig_below(&g, 4); k > 0; k--)
            end_one(&g);
        if (chance(&g, 60)) rig_time(&g, rig_below(&g, calm ? 60000 : 400));
        if (chance(&g, 50)) answer_cache(&g);
        if (chance(&g, 30)) approve_some(&g);
        command_some(&g, calm);
        if (chance(&g, 20)) rig_verify(&g);
        close_turn(&g, calm);
        if (!run_state_terminal(run_state_of(g.run))) continue;
        rig_commit(&g);
        check_finished(&g);
        if (retries-- == 0) break;
        if (chance(&g, 50)) rig_crash(&g);
        retry_somehow(&g);
        rig_commit(&g);
        if (chance(&g, 20)) rig_crash(&g);
        rig_verify(&g);
        if (run_state_terminal(run_state_of(g.run))) break;
    }
    *transitions += g.transitions;
    for (int i = 0; i < 64; i++)
        events[i] += g.events_of[i];
    rig_free(&g);
}

static void simulate(void **state)
{
    (void)state;
    uint64_t goal = from_env("MILLRACE_SIM_TRANSITIONS", DEFAULT_TRANSITIONS);
    uint64_t seed = from_env("MILLRACE_SIM_SEED", 20240229), first = seed, transitions = 0;
    printf("seeds from %" PRIu64 " on, %" PRIu64 " transitions\n", first, goal);
    for (; transitions < goal; seed++) {
        struct arena a;
        arena_init(&a, 0);
        struct build b;
        struct rig g = {.seed = (seed * 0x9e3779b97f4a7c15u) | 1};
        for (int i = 0; i < 8; i++)
            rig_random(&g);
        failing_seed = seed;
        const struct plan *plan = random_plan(&g, &b, &a);
        for (uint64_t i = 0; i < RUNS_A_PLAN; i++)
            one_run(plan, seed + i * 1000003, &transitions);
        arena_free(&a);
    }
    printf("%" PRIu64 " transitions of %" PRIu64 " plans\n", transitions, seed - first);
    failing_seed = 0;
    for (int i = 1; i < 64; i++) {
        if (strcmp(event_kind_name(i), "none") == 0) continue;
        printf("%10" PRIu64 " %s\n", events[i], event_kind_name(i));
        if (events[i] == 0) fail_msg("no run came to %s", event_kind_name(i));
    }
}

static int say_seed(void **state)
{
    (void)state;
    if (failing_seed != 0) printf("failed: repeat it with MILLRACE_SIM_SEED=%" PRIu64 "\n", failing_seed);
    return 0;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(simulate, say_seed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
