/* Nobody is passed for ever by younger ones of other queues, and age alone is no right against them. */
#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER
#define LOWER PLACE_PREEMPT_LOWER

enum { LONG = 1, WIDE, FIRST = 10 };

static const struct rig_quota four = {4, -1, -1}, many = {100, -1, -1}, any = {-1, -1, -1};

/* Small ones, to one of these queues after another. */
struct stream {
    const uint32_t *queues;
    uint32_t n, gpu;
    uint64_t oldest, next; /* that runs; that comes */
};

static void comes(struct rig *r, struct stream *s, int second)
{
    rig_add_in(r, (struct rig_ask){s->next, s->queues[s->next % s->n], 0, 1, s->gpu, A100, second, 0}, IN_A);
    s->next++;
}

/* The oldest that runs ends, and another comes. */
static void flows(struct rig *r, struct stream *s, int second)
{
    while (!rig_runs(r, s->oldest))
        assert_true(++s->oldest < s->next);
    place_ended(r->p, s->oldest++);
    comes(r, s, second);
}

/* Four GPUs, one of them in use for long by the queue of a wide one, which comes now; the others by small ones. */
static struct stream scene(struct rig *r, const uint32_t *others, uint32_t n, uint32_t gpu, struct rig_ask wide)
{
    struct stream s = {.queues = others, .n = n, .gpu = gpu, .oldest = FIRST, .next = FIRST};
    rig_node(r, "n0", A100, 4);
    rig_add_in(r, (struct rig_ask){LONG, wide.queue, 0, 1, 1000, A100, 0, 0}, IN_A);
    while (s.next < FIRST + 3000 / gpu)
        comes(r, &s, 0);
    rig_cycle(r, 0);
    rig_add_in(r, wide, IN_A);
    return s;
}

/* The small ones end one after another, while others come without end to queues that use a smaller part of what they
 * have: so many start before nodes are kept for the wide one, which asks for two GPUs. */
static void test_no_starving(void **state)
{
    (void)state;
    static const struct {
        const char *name, *cohort;
        const struct rig_quota *others;
        uint32_t n; /* of other queues; 0 = they come to its own */
        int priority;
        uint32_t pods, gpu; /* pods: the wide one's; gpu: of a small one */
        bool shapes;        /* there is a further one to the first of the others, of another kind */
        uint64_t starts;
    } rows[] = {{"others without limits", NULL, &any, 1, 0, 1, 1000, false, 16},
                {"others with a large quota", NULL, &many, 1, 0, 1, 1000, false, 16},
                {"of one cohort", "c", &many, 1, 0, 1, 1000, false, 16},
                {"whatever its priority", NULL, &any, 1, 100, 1, 1000, false, 16},
                {"whatever else is asked for there", NULL, &any, 1, 0, 1, 1000, true, 16},
                {"a gang", NULL, &any, 1, 0, 2, 1000, false, 16},
                {"as often by each of two queues", NULL, &any, 2, 0, 1, 1000, false, 32},
                {"once by each that starts, however large", NULL, &any, 1, 0, 1, 3000, false, 8},
                {"its own queue", NULL, &any, 0, 0, 1, 1000, false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", rows[i].cohort, four, 1, NEVER, NEVER);
        uint32_t others[2] = {lab, lab}, n = rows[i].n > 1 ? 2 : 1;
        for (uint32_t k = 0; k < rows[i].n; k++)
            others[k] = rig_queue(&r, k == 0 ? "o0" : "o1", rows[i].cohort, *rows[i].others, 1, NEVER, NEVER);
        uint32_t gpu = 2000 / rows[i].pods;
        struct stream s = scene(&r, others, n, rows[i].gpu,
                                (struct rig_ask){WIDE, lab, rows[i].priority, rows[i].pods, gpu, A100, 1, 0});
        if (rows[i].shapes) rig_add(&r, (struct rig_ask){3, others[0], -1, 1, 1000, A100, 2, 0});
        for (int k = 0; k < 3; k++)
            comes(&r, &s, 2);
        uint64_t starts = 0;
        int second = 2;
        for (; !rig_runs(&r, WIDE) && second < 100; second++) {
            flows(&r, &s, second);
            rig_cycle(&r, second);
            starts += r.out.n_admitted;
        }
        starts -= rig_runs(&r, WIDE);
        if (!rig_runs(&r, WIDE) || starts != rows[i].starts) fail_msg("%s: after %d", rows[i].name, (int)starts);
        place_ended(r.p, WIDE); /* those who waited for it go on */
        rig_cycle(&r, second);
        assert_true(r.out.n_admitted > 0);
        rig_close(&r);
    }
}

/* It has been passed since it last waited: what passed it before it ran, and gave way, is past. */
static void test_each_wait_is_counted_anew(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    uint32_t lab = rig_queue(&r, "lab", NULL, four, 1, LOWER, NEVER);
    uint32_t other = rig_queue(&r, "other", NULL, any, 1, NEVER, NEVER);
    struct stream s = scene(&r, &other, 1, 1000, (struct rig_ask){WIDE, lab, 0, 1, 2000, A100, 1, 0});
    for (int k = 0; k < 3; k++)
        comes(&r, &s, 2);
    for (int again = 0, second = 2; again < 2; again++) {
        uint64_t starts = 0;
        for (; !rig_runs(&r, WIDE); second++) {
            flows(&r, &s, second);
            rig_cycle(&r, second);
            starts += r.out.n_admitted;
        }
        assert_int_equal(starts, 17); /* with its own */
        rig_add(&r, (struct rig_ask){3, lab, 5, 1, 2000, A100, second, 0});
        rig_cycle(&r, second);
        assert_true(place_stopped(r.p, WIDE));
        rig_cycle(&r, second);
        place_ended(r.p, 3);
    }
    rig_close(&r);
}

/* Older ones of another queue do not pass it, whatever its own priority. */
static void test_older_ones(void **state)
{
    (void)state;
    for (int priority = 0; priority < 2; priority++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", NULL, four, 1, NEVER, NEVER);
        uint32_t other = rig_queue(&r, "other", NULL, many, 1, NEVER, NEVER);
        struct stream s = scene(&r, &other, 1, 1000, (struct rig_ask){WIDE, lab, priority, 1, 2000, A100, 500, 0});
        while (s.next < FIRST + 100)
            comes(&r, &s, 100);
        for (int second = 501; second < 590; second++) {
            flows(&r, &s, 100);
            rig_cycle(&r, second);
            rig_expect(&r, WIDE, PLACE_WAITING);
        }
        rig_close(&r);
    }
}

/* Of who comes: a pod, and where it may go. */
struct what {
    uint32_t gpu, flavor;
    int64_t cpu;
    enum zone zone;
    int priority;
};

static void add_what(struct rig *r, uint64_t id, uint32_t queue, const struct what *x, int second)
{
    const struct rig_ask asked = {id, queue, x->priority, 1, x->gpu, x->flavor, second, 0};
    struct place_ask ask = rig_of_in(&asked, x->zone);
    struct err err = {0};
    ask.cpu = x->cpu;
    assert_true(place_add(r->p, &ask, &err));
}

/* Who takes nothing of what it lacks, where it may go, has not passed it, however often. In its zone are n0, with four
 * GPUs and another, of which three and most of the cores are in use for long, and n2, with cores alone. In the end one
 * comes that takes of n0 what both lack: is that kept? */
static void test_what_passes(void **state)
{
    (void)state;
    static const struct what gpus = {2000, A100, 1000, IN_A, 0}, cores = {1000, A100, 40000, IN_A, 0},
                             cores_alone = {0, 0, 40000, IN_A, 0}, last = {1000, A100, 20000, IN_A, 0};
    static const struct place_offer of_n0[] = {{.flavor = A100, .gpus = 4}, {.flavor = T4, .gpus = 1}},
                                    of_n1[] = {{.flavor = A100, .gpus = 1}};
    static const struct {
        const char *name;
        const struct what *wide, passing;
        bool kept;
    } rows[] = {{"its GPUs", &gpus, {1000, A100, 1000, IN_A, 0}, true},
                {"its GPUs, and is more important", &gpus, {1000, A100, 1000, IN_A, 1}, false},
                {"such GPUs of a node that it does not want", &gpus, {1000, A100, 1000, IN_B, 0}, false},
                {"other GPUs of its node", &gpus, {1000, T4, 1000, IN_A, 0}, false},
                {"cores of its node, when it lacks GPUs", &gpus, {0, 0, 1000, IN_A, 0}, false},
                {"cores of its node", &cores, {1000, T4, 20000, IN_A, 0}, true},
                {"cores of a node without such GPUs", &cores, {0, 0, 30000, IN_A, 0}, false},
                {"cores, of who wants no GPUs", &cores_alone, {0, 0, 20000, IN_A, 0}, true},
                {"cores, of who wants no GPUs, of another zone", &cores_alone, {0, 0, 20000, IN_B, 0}, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", NULL, many, 1, NEVER, NEVER);
        uint32_t other = rig_queue(&r, "other", NULL, any, 1, NEVER, NEVER);
        rig_node_of(&r, "n0", 64000, of_n0, 2);
        rig_node_of(&r, "n1", 64000, of_n1, 1);
        rig_node_of(&r, "n2", 34000, NULL, 0);
        add_what(&r, LONG, lab, &(struct what){3000, A100, 40000, IN_A, 0}, 0);
        rig_cycle(&r, 0);
        add_what(&r, WIDE, lab, rows[i].wide, 1);
        for (uint64_t id = FIRST; id < FIRST + 30; id++) {
            add_what(&r, id, other, &rows[i].passing, 2);
            rig_cycle(&r, 2);
            if (id < FIRST + 8) rig_expect(&r, id, PLACE_RUNNING);
            place_ended(r.p, id);
        }
        add_what(&r, 3, other, &last, 3);
        rig_cycle(&r, 3);
        if (rig_runs(&r, 3) == rows[i].kept) fail_msg("%s", rows[i].name);
        rig_close(&r);
    }
}

/* Before the turns nodes are kept for who was passed too often, and nothing of what its cohort has: another queue of
 * that, whose turn is later, starts on other nodes. If it lacks quota, too, be it by what is promised or by victims
 * that have not stopped, it has its turn, and the cohort's is kept. */
static void test_nothing_of_the_cohort(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int lent, later;            /* the cohort's quota, and when it has been passed */
        uint32_t running, preempts; /* of the other queue; the latter in place of the former */
        bool starts;
    } rows[] = {{"has quota", 5, 5, 2000, 0, true},
                {"has none", 5, 4, 2000, 0, false},
                {"has none beside what is promised", 5, 5, 2000, 3000, false},
                {"has none until a victim has stopped", 6, 5, 3000, 2000, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", "c", (struct rig_quota){0, -1, -1}, 1, NEVER, NEVER);
        uint32_t later = rig_queue(&r, "later", "c", (struct rig_quota){0, -1, -1}, 1, LOWER, NEVER);
        uint32_t other = rig_queue(&r, "other", NULL, any, 1, NEVER, NEVER);
        rig_queue(&r, "lender", "c", (struct rig_quota){rows[i].lent, -1, -1}, 1, NEVER, NEVER);
        struct stream s = scene(&r, &other, 1, 1000, (struct rig_ask){WIDE, lab, 0, 1, 2000, A100, 1, 0});
        rig_node(&r, "n1", A100, 3);
        rig_add_in(&r, (struct rig_ask){3, later, 0, 1, rows[i].running, A100, 1, 0}, IN_B);
        for (size_t started = 1; started > 0;) {
            flows(&r, &s, 2);
            rig_cycle(&r, 2);
            started = r.out.n_admitted;
        }
        rig_expect(&r, 3, PLACE_RUNNING);
        if (rows[i].preempts > 0) {
            rig_add_in(&r, (struct rig_ask){4, later, 1, 1, rows[i].preempts, A100, 3, 0}, IN_B);
            rig_cycle(&r, 3);
            rig_expect(&r, 3, PLACE_STOPPING);
        }
        rig_queue(&r, "lender", "c", (struct rig_quota){rows[i].later, -1, -1}, 1, NEVER, NEVER);
        rig_node(&r, "n3", A100, 1);
        rig_add_in(&r, (struct rig_ask){5, later, 0, 1, 1000, A100, 4, 0}, IN_B);
        rig_cycle(&r, 4);
        rig_expect(&r, WIDE, PLACE_WAITING);
        if (rig_runs(&r, 5) != rows[i].starts) fail_msg("%s", rows[i].name);
        rig_close(&r);
    }
}

static int64_t used(struct rig *r, uint32_t queue)
{
    struct place_usage u;
    place_usage(r->p, queue, A100, &u);
    return u.used / PLACE_GPU;
}

/* One queue has a thousand older ones, the other comes with few, or many: turns are by weight. */
static void test_turns_stay(void **state)
{
    (void)state;
    static const struct {
        double weight;
        uint64_t n;    /* younger ones */
        int64_t of_8;  /* what they have in the end */
        uint64_t most; /* starts until the first eight of them have run */
    } rows[] = {{1, 10, 0, 16}, {1, 1000, 4, 16}, {3, 1000, 6, 11}, {7, 1000, 7, 10}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t x = rig_queue(&r, "x", NULL, (struct rig_quota){100, 0, 0}, 1, NEVER, NEVER);
        uint32_t y = rig_queue(&r, "y", NULL, (struct rig_quota){100, 0, 0}, rows[i].weight, NEVER, NEVER);
        rig_node(&r, "n0", A100, 8);
        for (uint64_t id = 1; id <= 1000; id++)
            rig_add(&r, (struct rig_ask){id, x, 0, 1, 1000, A100, 0, 0});
        rig_cycle(&r, 0);
        for (uint64_t id = 1001; id <= 1000 + rows[i].n; id++)
            rig_add(&r, (struct rig_ask){id, y, 0, 1, 1000, A100, 1, 0});
        uint64_t line[400], at = 0, n = 0, starts = 0, first = 0; /* who has run longest ends */
        for (uint64_t id = 1; id <= 8; id++)
            line[n++] = id;
        for (; starts < 300 && at < n; at++) {
            place_ended(r.p, line[at]);
            rig_cycle(&r, 2 + (int)at);
            assert_int_equal(r.out.n_admitted, 1);
            line[n++] = r.out.admitted[0].id;
            starts++;
            if (r.out.admitted[0].id == 1008) first = starts;
        }
        if (first == 0 || first > rows[i].most || used(&r, y) != rows[i].of_8)
            fail_msg("weight %d: %d starts until the eighth, %d in the end", (int)rows[i].weight, (int)first,
                     (int)used(&r, y));
        rig_close(&r);
    }
}

/* What is kept for one that was passed too often is not kept from who may preempt and is of higher priority. */
static void test_higher_ones(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum place_preempt within;
        int priority;
        uint32_t gpus;
        size_t victims;
        bool starts;
    } rows[] = {{"may preempt", LOWER, 5, 1000, 0, true},
                {"may preempt, and has to", LOWER, 5, 2000, 1, false},
                {"its equal", LOWER, 0, 1000, 0, false},
                {"may not", NEVER, 5, 1000, 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", NULL, four, 1, NEVER, NEVER);
        uint32_t other = rig_queue(&r, "other", NULL, any, 1, rows[i].within, NEVER);
        struct stream s = scene(&r, &other, 1, 1000, (struct rig_ask){WIDE, lab, 0, 1, 3000, A100, 1, 0});
        for (size_t started = 1; started > 0;) {
            flows(&r, &s, 2);
            rig_cycle(&r, 2);
            started = r.out.n_admitted;
            assert_true(s.next < FIRST + 100);
        }
        rig_add(&r, (struct rig_ask){3, other, rows[i].priority, 1, rows[i].gpus, A100, 3, 0});
        rig_cycle(&r, 3);
        if (r.out.n_victims != rows[i].victims || rig_runs(&r, 3) != rows[i].starts) fail_msg("%s", rows[i].name);
        rig_close(&r);
    }
}

/* What such a one takes of what is kept has gone: others who come in the same cycle do not find it there. Of eight GPUs
 * five are used, three of them until 100; four are kept for then, and a higher one takes two. */
static void test_after_higher_ones(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int higher_s, other_s; /* how long they run; 0 = unknown */
        bool apart, starts;
    } rows[] = {{"in a cycle of its own", 0, 0, true, false},
                {"in the same cycle", 0, 0, false, false},
                {"until then", 0, 90, false, true},
                {"after who ends before", 50, 0, false, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", NULL, many, 1, NEVER, NEVER);
        uint32_t high = rig_queue(&r, "high", NULL, many, 1, LOWER, NEVER);
        uint32_t other = rig_queue(&r, "other", NULL, many, 1, NEVER, NEVER);
        rig_node(&r, "n0", A100, 8);
        rig_add(&r, (struct rig_ask){LONG, high, 10, 1, 2000, A100, 0, 0});
        rig_add(&r, (struct rig_ask){FIRST, other, 0, 1, 3000, A100, 0, 100});
        rig_cycle(&r, 0);
        rig_add(&r, (struct rig_ask){WIDE, lab, 0, 1, 4000, A100, 1, 0});
        rig_cycle(&r, 1);
        rig_add(&r, (struct rig_ask){20, high, 10, 1, 2000, A100, 2, rows[i].higher_s});
        if (rows[i].apart) rig_cycle(&r, 2);
        rig_add(&r, (struct rig_ask){21, other, 0, 1, 1000, A100, 3, rows[i].other_s});
        rig_cycle(&r, 3);
        if (!rig_runs(&r, 20) || rig_runs(&r, 21) != rows[i].starts) fail_msg("%s", rows[i].name);
        place_ended(r.p, FIRST);
        rig_cycle(&r, 100);
        if (!rows[i].starts) rig_expect(&r, WIDE, PLACE_RUNNING);
        rig_close(&r);
    }
}

/* Who is not kept away by a reservation is not told of it. */
static void test_not_kept_from_higher_ones(void **state)
{
    (void)state;
    for (int higher = 0; higher < 2; higher++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", NULL, many, 1, NEVER, NEVER);
        uint32_t high = rig_queue(&r, "high", NULL, many, 1, LOWER, NEVER);
        rig_node(&r, "n0", A100, 4);
        rig_add(&r, (struct rig_ask){LONG, high, 10, 1, 1000, A100, 0, 0});
        rig_cycle(&r, 0);
        rig_add(&r, (struct rig_ask){WIDE, lab, 0, 1, 4000, A100, 1, 0});
        rig_cycle(&r, 1);
        rig_add(&r, (struct rig_ask){FIRST, high, higher ? 10 : 0, 1, 4000, A100, 2, 0});
        rig_cycle(&r, 2);
        rig_why(&r, FIRST,
                higher ? "each pod needs 4 × a100, the most that a node has free is 3"
                       : "each pod needs 4 × a100, the most that a node has free is 3, kept for workload 2");
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_wait_is_counted_anew),
        cmocka_unit_test(test_no_starving),
        cmocka_unit_test(test_older_ones),
        cmocka_unit_test(test_what_passes),
        cmocka_unit_test(test_nothing_of_the_cohort),
        cmocka_unit_test(test_turns_stay),
        cmocka_unit_test(test_higher_ones),
        cmocka_unit_test(test_after_higher_ones),
        cmocka_unit_test(test_not_kept_from_higher_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
