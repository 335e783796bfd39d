/* The placer: what it has handed over to Kueue, and whose queue is another one's since. */
#include "tests/scheduler/placer_rig.h"

#define HANDED(run, to)                                                                                                \
    "SELECT count(*) FROM queue_work WHERE run_id = " #run " AND state = 2 AND pin->>'kueue' = '" to "'"
#define TOLD_BACK                                                                                                      \
    "SELECT count(*) FROM inbox, jsonb_array_elements(payload->'tasks') t WHERE kind = 8 AND t->'unbegun' = 'true'"    \
    " AND t->>'by' = 'what its queue, q, is declared as now' AND run_id = "

static void declare(const char *how)
{
    sql("INSERT INTO queues (name, created_by, spec) VALUES ('q', 'me', '{\"apiVersion\": \"millrace/v1\","
        "\"kind\": \"Queue\", \"name\": \"q\", %s}') ON CONFLICT (name) DO UPDATE SET spec = excluded.spec;"
        "UPDATE queue_changes SET n = n + 1; NOTIFY millrace_queue",
        how);
}

/* Whether it has begun is its owner's to know, who is told of it once, whoever is the placer. */
static void test_what_was_handed_over_follows_its_queue(void **state)
{
    (void)state;
    declare("\"kueue\": \"nowhere\"");
    world.generation = 0; /* nobody needs nodes for that */
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    until(HANDED(1, "nowhere"), 1);
    declare("\"kueue\": \"team\"");
    until(TOLD_BACK "1", 1);
    until(HANDED(1, "nowhere"), 1);
    placer_stop(world.placer);
    world.placer = placer_new("two");
    declare("\"kueue\": \"team\", \"description\": \"the same\"");
    ask(2, 1, 1, 1, 0, "q");
    until(HANDED(2, "team"), 1);
    assert_int_equal(support_number(&world.db, TOLD_BACK "1"), 1);
    ask(1, 2, 1, 1, 0, "q");
    until(HANDED(1, "team"), 1);
    world.gpus[0] = 1;
    world.generation = 1;
    declare("\"quota\": {\"gpu\": 0}");
    until(TOLD_BACK "1", 2);
    until(TOLD_BACK "2", 1);
    ask(1, 3, 1, 1, 0, "q");
    until("SELECT count(*) FROM queue_work WHERE run_id = 1 AND state = 1 AND reason = 'ExceedsQuota'", 1);
}

/* What was admitted by a quota of the queue stays. */
static void test_what_was_not_handed_over_stays(void **state)
{
    (void)state;
    world.gpus[0] = 1;
    declare("\"quota\": {\"gpu\": 1}");
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    until("SELECT count(*) FROM queue_work WHERE run_id = 1 AND state = 2 AND pin->>'flavor' = 'gpu'", 1);
    declare("\"kueue\": \"team\"");
    ask(2, 1, 1, 1, 0, "q");
    until(HANDED(2, "team"), 1);
    assert_int_equal(support_number(&world.db, TOLD_BACK "1"), 0);
}

/* Its owner holds its row at that moment. */
static void test_its_owner_may_be_faster(void **state)
{
    (void)state;
    struct err err = {0};
    declare("\"kueue\": \"nowhere\"");
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    until(HANDED(1, "nowhere"), 1);
    CONN_AUTO c = NULL;
    assert_true(db_lease(world.db.db, &c, &err));
    assert_true(conn_begin(c, &err));
    assert_true(conn_do(c, "UPDATE queue_work SET state = 4, news = true WHERE run_id = 1", &err));
    declare("\"kueue\": \"team\"");
    ask(2, 1, 1, 1, 0, "q");
    until(HANDED(2, "team"), 1); /* a turn in which it has been decided */
    assert_int_equal(support_number(&world.db, TOLD_BACK "1"), 0);
    conn_rollback(c);
    until(TOLD_BACK "1", 1);
    over(1);
    until("SELECT count(*) FROM queue_work", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(what_was_handed_over_follows_its_queue),
                                       TEST(what_was_not_handed_over_stays), TEST(its_owner_may_be_faster)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
