/* The placer: what it has handed over to Kueue, and whose queue is another one's since. */
#include "tests/scheduler/placer_rig.h"

#define HANDED(run, to)                                                                                                \
    "SELECT count(*) FROM queue_work WHERE run_id = " #run " AND state = 2 AND pin->>'kueue' = '" to "'"
#define RETAKEN                                                                                                        \
    "SELECT run_id FROM queue_work WHERE state = 3 AND by = 'what its queue, q, is declared as now' AND by_id = 0"

static void declare(const char *how)
{
    sql("INSERT INTO queues (name, created_by, spec) VALUES ('q', 'me', '{\"apiVersion\": \"millrace/v1\","
        "\"kind\": \"Queue\", \"name\": \"q\", %s}') ON CONFLICT (name) DO UPDATE SET spec = excluded.spec;"
        "UPDATE queue_changes SET n = n + 1; NOTIFY millrace_queue",
        how);
}

static void begin_first(uint32_t attempt)
{
    pthread_mutex_lock(&world.lock);
    world.pods[0] = (struct placer_pod){{1, 0, attempt, 0}, 0, STR("n0")};
    world.n_pods = 1;
    pthread_mutex_unlock(&world.lock);
    world.generation++;
}

/* What runs stays; the other goes where its queue is now: to another LocalQueue, and to what it may have itself. */
static void test_what_has_not_begun_follows_its_queue(void **state)
{
    (void)state;
    world.gpus[0] = 1;
    declare("\"kueue\": \"nowhere\"");
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    ask(2, 1, 1, 1, 0, "q");
    until(HANDED(1, "nowhere"), 1);
    until(HANDED(2, "nowhere"), 1);
    begin_first(1);
    declare("\"kueue\": \"team\"");
    until(RETAKEN, 2);
    until(HANDED(1, "nowhere"), 1);
    ask(2, 2, 1, 1, 0, "q");
    until(HANDED(2, "team"), 1);
    declare("\"quota\": {\"gpu\": 0}");
    until(RETAKEN, 2);
    ask(2, 3, 1, 1, 0, "q");
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND state = 1 AND reason = 'ExceedsQuota'", 1);
    until(HANDED(1, "nowhere"), 1);
}

/* It is over before it hears of it, or its owner holds its row at that moment. */
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
    conn_rollback(c);
    until(RETAKEN, 1);
    over(1);
    until("SELECT count(*) FROM queue_work", 1);
    declare("\"kueue\": \"team\", \"description\": \"the same\"");
    ask(3, 1, 1, 1, 0, "q");
    until(HANDED(3, "team"), 1);
    until(HANDED(2, "team"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(what_has_not_begun_follows_its_queue), TEST(its_owner_may_be_faster)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
