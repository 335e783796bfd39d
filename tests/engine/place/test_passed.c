/* Nobody is passed for ever by younger ones of other queues, and age alone is no right against them. */
#include "tests/engine/place/rig.h"

#define NEVER PLACE_PREEMPT_NEVER
#define LOWER PLACE_PREEMPT_LOWER

enum { LONG = 1, WIDE, FIRST = 10 };

static const struct rig_quota four = {4, -1, -1}, many = {100, -1, -1}, any = {-1, -1, -1};

/* Ends the oldest small one that runs, and has another come. */
static void stream(struct rig *r, const uint32_t *queues, uint32_t n, uint64_t *oldest, uint64_t *next, int second)
{
    while (!rig_runs(r, *oldest))
        ++*oldest;
    place_ended(r->p, (*oldest)++);
    rig_add(r, (struct rig_ask){*next, queues[*next % n], 0, 1, 1000, A100, second, 0});
    ++*next;
}

/* Four GPUs, one of them in use for long by the queue of a wide one, that asks for two; the others end one after
 * another, while small ones come without end to queues that use a smaller part of what they have. */
static void test_no_starving(void **state)
{
    (void)state;
    static const struct {
        const char *name, *cohort;
        const struct rig_quota *others;
        uint32_t n; /* of other queues; 0 = they come to its own */
        int priority;
        uint64_t most; /* small ones that start while it waits */
    } rows[] = {{"others without limits", NULL, &any, 1, 0, 20},
                {"others with a large quota", NULL, &many, 1, 0, 20},
                {"of one cohort", "c", &many, 1, 0, 20},
                {"whatever its priority", NULL, &any, 1, 100, 20},
                {"as often by each of two queues", NULL, &any, 2, 0, 40},
                {"its own queue", NULL, &any, 0, 0, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        rig_open(&r);
        uint32_t lab = rig_queue(&r, "lab", rows[i].cohort, four, 1, NEVER, NEVER);
        uint32_t others[2] = {lab, lab}, n = rows[i].n > 1 ? 2 : 1;
        for (uint32_t k = 0; k < rows[i].n; k++)
            others[k] = rig_queue(&r, k == 0 ? "o0" : "o1", rows[i].cohort, *rows[i].others, 1, NEVER, NEVER);
        rig_node(&r, "n0", A100, 4);
        rig_add(&r, (struct rig_ask){LONG, lab, 0, 1, 1000, A100, 0, 0});
        uint64_t oldest = FIRST, next = FIRST;
        for (; next < FIRST + 3; next++)
            rig_add(&r, (struct rig_ask){next, others[0], 0, 1, 1000, A100, 0, 0});
        rig_cycle(&r, 0);
        rig_add(&r, (struct rig_ask){WIDE, lab, rows[i].priority, 1, 2000, A100, 1, 0});
        for (; next < FIRST + 6; next++)
            rig_add(&r, (struct rig_ask){next, others[next % n], 0, 1, 1000, A100, 2, 0});
        int second = 2;
        for (; !rig_runs(&r, WIDE) && second < 100; second++) {
            stream(&r, others, n, &oldest, &next, second);
            rig_cycle(&r, second);
        }
        if (!rig_runs(&r, WIDE) || oldest - FIRST > rows[i].most)
            fail_msg("%s: after %d", rows[i].name, (int)(oldest - FIRST));
        stream(&r, others, n, &oldest, &next, second); /* those who waited for it go on */
        rig_cycle(&r, second);
        assert_true(r.out.n_admitted > 0);
        rig_close(&r);
    }
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
        rig_node(&r, "n0", A100, 4);
        rig_add(&r, (struct rig_ask){LONG, lab, 0, 1, 1000, A100, 0, 0});
        uint64_t oldest = FIRST, next = FIRST;
        for (; next < FIRST + 3; next++)
            rig_add(&r, (struct rig_ask){next, other, 0, 1, 1000, A100, 0, 0});
        rig_cycle(&r, 0);
        rig_add(&r, (struct rig_ask){WIDE, lab, priority, 1, 2000, A100, 500, 0});
        for (; next < FIRST + 100; next++)
            rig_add(&r, (struct rig_ask){next, other, 0, 1, 1000, A100, 100, 0});
        for (int second = 501; second < 590; second++) {
            stream(&r, &other, 1, &oldest, &next, 100);
            rig_cycle(&r, second);
            rig_expect(&r, WIDE, PLACE_WAITING);
        }
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
        rig_node(&r, "n0", A100, 4);
        rig_add(&r, (struct rig_ask){LONG, lab, 0, 1, 1000, A100, 0, 0});
        uint64_t oldest = FIRST, next = FIRST;
        for (; next < FIRST + 3; next++)
            rig_add(&r, (struct rig_ask){next, other, 0, 1, 1000, A100, 0, 0});
        rig_cycle(&r, 0);
        rig_add(&r, (struct rig_ask){WIDE, lab, 0, 1, 3000, A100, 1, 0});
        for (size_t started = 1; started > 0;) {
            stream(&r, &other, 1, &oldest, &next, 2);
            rig_cycle(&r, 2);
            started = r.out.n_admitted;
            assert_true(next < FIRST + 100);
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
        cmocka_unit_test(test_no_starving),       cmocka_unit_test(test_older_ones),
        cmocka_unit_test(test_turns_stay),        cmocka_unit_test(test_higher_ones),
        cmocka_unit_test(test_after_higher_ones), cmocka_unit_test(test_not_kept_from_higher_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
