/* Which attempt has which GPU: what fits, who waits and why, and that nothing is given twice – whatever the order of
 * starts, ends, lost databases and restarts is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/gpus.h"

static const struct gpu machine[] = {
    {.uuid = STR_INIT("GPU-0"), .product = STR_INIT("NVIDIA-A100-SXM4-40GB"), .index = 0},
    {.uuid = STR_INIT("GPU-1"), .product = STR_INIT("NVIDIA-A100-SXM4-40GB"), .index = 1},
    {.uuid = STR_INIT("GPU-2"), .product = STR_INIT("Tesla-T4"), .index = 2},
    {.uuid = STR_INIT("MIG-GPU-3/1/0"),
     .product = STR_INIT("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"),
     .index = 3,
     .part = true},
};
#define DEVICES (sizeof machine / sizeof *machine)

static const struct gpu_want one = {1, GPU_WHOLE, {"", 0}, {"", 0}}, two = {2, GPU_WHOLE, {"", 0}, {"", 0}},
                             half = {1, 500, {"", 0}, {"", 0}};

static struct attempt_id id_of(int64_t run)
{
    return (struct attempt_id){run, 3, 1, 0};
}

static const char *note(const struct gpus *g, int64_t run)
{
    static char out[200];
    BUF_AUTO text;
    buf_init(&text, 0);
    gpus_note(g, id_of(run), &text);
    snprintf(out, sizeof out, "%.*s", STR_ARG(buf_view(&text)));
    return out;
}

static void sound(const struct gpus *g)
{
    struct err err = {0};
    if (!gpus_verify(g, &err)) fail_msg("%s", err.message);
}

static bool start(struct gpus *g, int64_t run, const struct gpu_want *w)
{
    struct err err = {0};
    if (!gpus_fit(g, w)) return false;
    gpus_take(g, id_of(run), w);
    if (!gpus_own(g, id_of(run), w, &err)) fail_msg("%s", err.message);
    sound(g);
    return true;
}

static struct gpus *fresh(void)
{
    struct gpus *g = gpus_new(machine, DEVICES);
    gpus_ready(g);
    return g;
}

/* ---- what is given, and why not ---- */

static void each_gets_its_own(void **state)
{
    (void)state;
    static const struct {
        struct gpu_want wants[6];
        const char *notes[6]; /* NULL = it waits */
        const char *reason;   /* of the last one that waits */
    } rows[] = {
        {{{1, GPU_WHOLE, {"", 0}, {"", 0}},
          {1, GPU_WHOLE, {"", 0}, {"", 0}},
          {1, GPU_WHOLE, {"", 0}, {"", 0}},
          {1, GPU_WHOLE, {"", 0}, {"", 0}}},
         {"GPU-0", "GPU-1", "GPU-2"},
         "needs 1 GPU, 0 of 3 are free"},
        {{{2, GPU_WHOLE, {"", 0}, {"", 0}}, {2, GPU_WHOLE, {"", 0}, {"", 0}}},
         {"GPU-0,GPU-1"},
         "needs 2 GPUs, 1 of 3 is free"},
        {{{3, GPU_WHOLE, STR_INIT("a100"), {"", 0}}}, {NULL}, "needs 3 × a100, this machine has 2"},
        {{{1, GPU_WHOLE, STR_INIT("t4"), {"", 0}}, {1, GPU_WHOLE, STR_INIT("t4"), {"", 0}}},
         {"GPU-2"},
         "needs 1 × t4, 0 of 1 are free"},
        {{{1, GPU_WHOLE, STR_INIT("h100"), {"", 0}}}, {NULL}, "needs 1 × h100, this machine has 0"},
        {{{1, GPU_WHOLE, STR_INIT("1g-5gb"), {"", 0}}, {1, GPU_WHOLE, STR_INIT("a100-1g-5gb"), {"", 0}}},
         {"MIG-GPU-3/1/0"},
         "needs 1 × a100-1g-5gb, 0 of 1 are free"},
        /* shares are put together; whole ones stay whole */
        {{{1, 500, {"", 0}, {"", 0}},
          {1, 300, {"", 0}, {"", 0}},
          {1, GPU_WHOLE, {"", 0}, {"", 0}},
          {1, 300, {"", 0}, {"", 0}},
          {1, 200, {"", 0}, {"", 0}}},
         {"GPU-0@500", "GPU-0@300", "GPU-1", "GPU-2@300", "GPU-0@200"},
         NULL},
        {{{1, 600, STR_INIT("t4"), {"", 0}}, {1, 600, STR_INIT("t4"), {"", 0}}},
         {"GPU-2@600"},
         "needs 60% of one t4, at most 40% of one is free"},
        {{{1, 1, {"", 0}, {"", 0}}, {3, GPU_WHOLE, {"", 0}, {"", 0}}}, {"GPU-0@1"}, "needs 3 GPUs, 2 of 3 are free"},
        {{{0, GPU_WHOLE, {"", 0}, {"", 0}}}, {""}, NULL},
        /* of a declared flavor only the products that count for it, whatever it is called */
        {{{1, GPU_WHOLE, STR_INIT("small"), STR_INIT("Tesla-T4")},
          {1, GPU_WHOLE, STR_INIT("small"), STR_INIT("Tesla-T4")}},
         {"GPU-2"},
         "needs 1 × small, 0 of 1 are free"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gpus *g = fresh();
        for (int64_t k = 0; k < 6 && (rows[i].wants[k].milli > 0); k++) {
            const struct gpu_want *w = &rows[i].wants[k];
            bool started = start(g, k, w);
            const char *expected = rows[i].notes[k];
            if (started != (expected != NULL) || (started && strcmp(note(g, k), expected) != 0))
                fail_msg("row %zu, %lld: %s", i, (long long)k, started ? note(g, k) : "waits");
            if (started) continue;
            BUF_AUTO text;
            buf_init(&text, 0);
            gpus_reason(g, w, &text);
            if (!str_is(buf_view(&text), rows[i].reason)) fail_msg("row %zu: %.*s", i, STR_ARG(buf_view(&text)));
        }
        gpus_free(g);
    }
}

static void what_is_broken_is_not_given(void **state)
{
    (void)state;
    struct gpus *g = fresh();
    assert_true(start(g, 1, &one));
    assert_true(gpus_fault(g, 0, STR("is lost")));
    assert_false(gpus_fault(g, 0, STR("is lost"))); /* no news */
    assert_true(gpus_fault(g, 1, STR("has had XID 79")));
    assert_string_equal(note(g, 1), "GPU-0"); /* who has it keeps it */
    gpus_give(g, id_of(1));
    assert_true(start(g, 2, &one));
    assert_string_equal(note(g, 2), "GPU-2");
    BUF_AUTO text;
    buf_init(&text, 0);
    gpus_reason(g, &two, &text);
    assert_string_equal(text.p, "needs 2 GPUs, this machine has 3; 2 of them are not in order: GPU 1 has had XID 79");
    gpus_fault(g, 1, STR(""));
    buf_reset(&text);
    gpus_reason(g, &two, &text);
    assert_string_equal(text.p, "needs 2 GPUs, 1 of 3 is free; 1 of them is not in order: GPU 0 is lost");
    gpus_fault(g, 0, STR(""));
    assert_true(start(g, 3, &two));
    gpus_free(g);
}

/* ---- hands ---- */

static void who_took_lets_go_and_who_owns_keeps(void **state)
{
    (void)state;
    struct gpus *g = fresh();
    assert_true(start(g, 1, &one));
    gpus_take(g, id_of(2), &one);
    gpus_take(g, id_of(3), &one);
    assert_false(gpus_fit(g, &one));
    gpus_release(g, (struct attempt_id){2, 3, 1, 7}); /* of a run that has the number again */
    assert_false(gpus_fit(g, &one));
    gpus_release(g, id_of(2));
    gpus_release(g, id_of(1)); /* its process may live */
    assert_true(gpus_fit(g, &one));
    assert_false(gpus_fit(g, &two));
    gpus_release_all(g); /* the database is gone, and with it what was not committed */
    assert_true(gpus_fit(g, &two));
    assert_string_equal(note(g, 1), "GPU-0");
    gpus_give(g, id_of(1));
    gpus_give(g, id_of(1));
    gpus_give(g, id_of(9));
    sound(g);
    assert_string_equal(note(g, 1), "");
    gpus_free(g);
}

static void a_restart_finds_what_is_held(void **state)
{
    (void)state;
    struct err err = {0};
    struct gpus *g = gpus_new(machine, DEVICES);
    gpus_expect(g, id_of(1), &one); /* runs */
    gpus_expect(g, id_of(2), &one); /* was committed, and never launched */
    gpus_expect(g, id_of(3), &half);
    gpus_found(g, id_of(1), STR("GPU-1"));
    gpus_found(g, id_of(4), STR("GPU-0@500")); /* a stray: no record counts it, and it has it all the same */
    gpus_found(g, id_of(5), STR("GPU-gone"));
    gpus_found(g, id_of(6), STR(""));
    gpus_ready(g);
    sound(g);
    assert_false(gpus_fit(g, &half)); /* until all that is expected is settled */
    BUF_AUTO text;
    buf_init(&text, 0);
    gpus_reason(g, &one, &text);
    assert_string_equal(text.p, "needs 1 GPU, and waits to hear which ones running steps have");
    assert_true(gpus_own(g, id_of(2), &one, &err));
    assert_string_equal(note(g, 2), "GPU-2");
    assert_true(gpus_own(g, id_of(3), &half, &err));
    assert_string_equal(note(g, 3), "GPU-0@500");
    assert_false(gpus_fit(g, &half));
    gpus_give(g, id_of(4));
    assert_true(gpus_fit(g, &half));
    sound(g);
    gpus_free(g);
}

/* Its launcher kept no note, being of an older version: nobody gets a GPU until it has ended. */
static void what_nobody_knows_is_waited_for(void **state)
{
    (void)state;
    struct err err = {0};
    struct gpus *g = gpus_new(machine, DEVICES);
    gpus_expect(g, id_of(1), &one);
    gpus_expect(g, id_of(2), &one);
    assert_false(gpus_own(g, id_of(2), &one, &err)); /* nothing is known yet */
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    gpus_found(g, id_of(1), STR(""));
    gpus_ready(g);
    assert_false(gpus_fit(g, &one));
    gpus_release(g, id_of(1));
    gpus_release_all(g);
    assert_false(gpus_fit(g, &one)); /* it still runs */
    assert_false(gpus_own(g, id_of(3), &one, &err));
    gpus_give(g, id_of(1));
    assert_true(gpus_fit(g, &one));
    assert_true(gpus_own(g, id_of(3), &one, &err));
    sound(g);
    gpus_free(g);
}

static void others_may_have_them_by_then(void **state)
{
    (void)state;
    struct err err = {0};
    const struct gpu_want three = {3, GPU_WHOLE, {"", 0}, {"", 0}};
    struct gpus *g = gpus_new(machine, DEVICES);
    gpus_found(g, id_of(1), STR("GPU-0,GPU-1"));
    gpus_expect(g, id_of(2), &three);
    gpus_ready(g);
    assert_false(gpus_own(g, id_of(2), &three, &err));
    assert_non_null(strstr(err.message, "others have the GPUs"));
    assert_true(gpus_fit(g, &one)); /* and it is expected no more */
    sound(g);
    gpus_free(g);
}

static void notes_name_what_is_visible(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    static const char *const rows[][2] = {
        {"", ""}, {"GPU-0", "GPU-0"}, {"GPU-0@500", "GPU-0"}, {"GPU-0,MIG-GPU-3/1/0", "GPU-0,MIG-GPU-3/1/0"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(str_is(gpus_visible(&a, str_of(rows[i][0])), rows[i][1]));
    arena_free(&a);
}

/* ---- any order ---- */

#define ROUNDS 20000
#define LIVES 24

enum life { NONE, TAKEN, COMMITTED, RUNS };

struct world {
    struct gpus *g;
    uint64_t seed;
    enum life life[LIVES]; /* as database and launcher know it */
    struct gpu_want want[LIVES];
    char note[LIVES][64]; /* the launcher's */
};

static uint32_t rnd(struct world *w, uint32_t below)
{
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->seed >> 33) % below;
}

static struct gpu_want any_want(struct world *w)
{
    static const struct gpu_want wants[] = {
        {1, GPU_WHOLE, {"", 0}, {"", 0}}, {2, GPU_WHOLE, {"", 0}, {"", 0}},  {1, GPU_WHOLE, STR_INIT("a100"), {"", 0}},
        {1, 500, {"", 0}, {"", 0}},       {1, 250, STR_INIT("t4"), {"", 0}}, {1, 340, STR_INIT("1g-5gb"), {"", 0}}};
    return wants[rnd(w, sizeof wants / sizeof *wants)];
}

static void launch(struct world *w, int64_t i)
{
    struct err err = {0};
    if (gpus_own(w->g, id_of(i), &w->want[i], &err)) {
        snprintf(w->note[i], sizeof w->note[i], "%s", note(w->g, i));
        w->life[i] = RUNS;
    } else { /* ends as a failure of the machine's, and is retried */
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        gpus_release(w->g, id_of(i));
        w->life[i] = NONE;
    }
}

/* Server or database were away: what was committed and is not running is launched once all is known. */
static void come_back(struct world *w, bool killed)
{
    if (killed) {
        gpus_free(w->g);
        w->g = gpus_new(machine, DEVICES);
    } else {
        gpus_release_all(w->g);
    }
    for (int64_t i = 0; i < LIVES; i++) {
        if (w->life[i] == TAKEN) w->life[i] = rnd(w, 2) ? NONE : COMMITTED; /* nobody had heard of the commit */
        bool heard = killed && w->life[i] == RUNS, first = rnd(w, 2);
        if (heard && first) gpus_found(w->g, id_of(i), str_of(w->note[i]));
        if (w->life[i] != NONE) gpus_expect(w->g, id_of(i), &w->want[i]);
        if (heard && !first) gpus_found(w->g, id_of(i), str_of(w->note[i]));
    }
    gpus_ready(w->g);
    for (int64_t i = 0; i < LIVES; i++)
        if (w->life[i] == COMMITTED) launch(w, i);
}

static void nothing_is_given_twice(void **state)
{
    (void)state;
    struct world w = {.g = fresh(), .seed = 42};
    uint32_t started = 0, refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t i = rnd(&w, LIVES);
        uint32_t what = rnd(&w, 100);
        if (what < 2) {
            come_back(&w, what == 0);
        } else if (w.life[i] == NONE) {
            w.want[i] = any_want(&w);
            if (gpus_fit(w.g, &w.want[i])) {
                gpus_take(w.g, id_of(i), &w.want[i]);
                w.life[i] = TAKEN;
                started++;
            } else {
                refused++;
            }
        } else if (w.life[i] == TAKEN) {
            launch(&w, i);
        } else {
            gpus_give(w.g, id_of(i));
            w.life[i] = NONE;
        }
        for (int64_t k = 0; k < LIVES; k++)
            if (w.life[k] == RUNS) assert_string_equal(note(w.g, k), w.note[k]);
        sound(w.g);
    }
    assert_true(started > 1000 && refused > 1000);
    for (int64_t i = 0; i < LIVES; i++)
        if (w.life[i] == RUNS) gpus_give(w.g, id_of(i));
    gpus_release_all(w.g);
    assert_true(gpus_fit(w.g, &(struct gpu_want){3, GPU_WHOLE, {"", 0}, {"", 0}}));
    gpus_free(w.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_gets_its_own),
        cmocka_unit_test(what_is_broken_is_not_given),
        cmocka_unit_test(who_took_lets_go_and_who_owns_keeps),
        cmocka_unit_test(a_restart_finds_what_is_held),
        cmocka_unit_test(what_nobody_knows_is_waited_for),
        cmocka_unit_test(others_may_have_them_by_then),
        cmocka_unit_test(notes_name_what_is_visible),
        cmocka_unit_test(nothing_is_given_twice),
    };
    return cmocka_run_group_tests_name("scheduler/gpus", tests, NULL, NULL);
}
