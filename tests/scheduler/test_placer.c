/* The placer on a real PostgreSQL: what it admits, whom it stops, what becomes of it when somebody fails. */
#include "tests/scheduler/placer_rig.h"

#define LOWER_GIVE_WAY                                                                                                 \
    "INSERT INTO queues (name, created_by, spec) VALUES ('q', 'me', '{\"apiVersion\": \"millrace/v1\","                \
    "\"kind\": \"Queue\", \"name\": \"q\", \"preemption\": {\"within\": \"lower\"}}')"

static void test_as_many_as_there_are(void **state)
{
    (void)state;
    world.gpus[0] = 2;
    for (int run = 1; run <= 4; run++)
        ask(run, 1, 1, 1, 0, "default");
    sql("UPDATE queue_work SET submitted_at = now() - interval '1h' WHERE run_id = 4");
    world.placer = placer_new("one");
    until(ADMITTED, 2);
    until("SELECT count(*) FROM queue_work WHERE state = 1 AND reason = 'WaitingForNodes' AND (why->>'need')::int = 1"
          " AND (why->>'free')::int = 0 AND waiting LIKE 'each pod needs 1 × gpu%'",
          2);
    assert_int_equal(support_number(&world.db, TOLD), 2);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM queue_work WHERE state = 2 AND got = 'gpu' AND"
                                               " pin->>'resource' = 'nvidia.com/gpu' AND nodes = '{n0}' AND"
                                               " pin->'nodes' = '[\"n0\"]'"),
                     2);
    over(4); /* the oldest two were admitted */
    until("SELECT count(*) FROM queue_work WHERE state = 2 AND run_id IN (1, 2)", 2);
    until("SELECT count(*) FROM queue_work", 3); /* what is over is gone */
    assert_int_equal(support_number(&world.db, TOLD), 3);
}

static void test_a_gang_starts_whole(void **state)
{
    (void)state;
    world.gpus[0] = 2;
    world.gpus[1] = 2;
    world.taken[1] = 1; /* by somebody else's pod */
    world.placer = placer_new("one");
    ask(1, 1, 4, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE reason = 'WaitingForGang' AND (why->>'podsFit')::int = 3"
          " AND waiting LIKE '%there is room for 3 of its 4 pods%'",
          1);
    assert_int_equal(support_number(&world.db, ADMITTED), 0);
    world.taken[1] = 0;
    world.generation++;
    until("SELECT count(*) FROM queue_work WHERE state = 2 AND cardinality(nodes) = 4", 1);
    assert_int_equal(support_number(&world.db, TOLD), 1);
}

static void test_only_on_nodes_that_it_names(void **state)
{
    (void)state;
    static const char *const where[] = {"{\"nodeSelector\": {\"host\": \"n1\"}}", "{\"tolerations\": []}",
                                        "{\"nodeSelector\": {\"host\": \"n9\"}}"};
    world.gpus[0] = 1;
    world.gpus[1] = 1;
    for (int i = 0; i < 3; i++) {
        ask(1 + i, 1, 1, 1, 0, "default");
        sql("UPDATE queue_work SET on_nodes = '%s' WHERE run_id = %d", where[i], 1 + i);
    }
    world.placer = placer_new("one");
    until(ADMITTED, 2);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM queue_work WHERE nodes = '{n1}' AND run_id = 1"),
                     1);
    until("SELECT count(*) FROM queue_work WHERE run_id = 3 AND reason = 'Unschedulable' AND waiting LIKE"
          " '%on a node with host=n9, and there is no such node%'",
          1);
}

/* Who is over, by its timeout, before those who run make room for the first that waits, takes nothing of it. */
static void test_the_short_one_passes(void **state)
{
    (void)state;
    static const int gpus[] = {1, 2, 1, 1}, timeout_s[] = {3600, 0, 0, 60};
    world.gpus[0] = 2;
    world.placer = placer_new("one");
    for (int i = 0; i < 4; i++) {
        world.timeout_ms = timeout_s[i] * 1000;
        ask(1 + i, 1, 1, gpus[i], 0, "default");
        if (i == 0) until(ADMITTED, 1);
    }
    world.timeout_ms = 0;
    until("SELECT count(*) FROM queue_work WHERE state = 2 AND run_id IN (1, 4)", 2);
    until("SELECT count(*) FROM queue_work WHERE run_id = 3 AND waiting LIKE '%kept for run 2 train%'", 1);
    assert_int_equal(support_number(&world.db, ADMITTED), 2);
}

static void test_the_less_important_gives_way(void **state)
{
    (void)state;
    sql(LOWER_GIVE_WAY);
    world.gpus[0] = 1;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    until(ADMITTED, 1);
    ask(2, 1, 1, 1, 9, "q");
    until("SELECT count(*) FROM queue_work WHERE run_id = 1 AND state = 3 AND by = 'run 2 train'", 1);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM inbox WHERE kind = 8 AND run_id = 1"), 1);
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND state = 1 AND reason = 'WaitingForVictims'", 1);
    ask(1, 2, 1, 1, 0, "q"); /* its attempt has ended, it is to run again */
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND state = 2", 1);
    until("SELECT count(*) FROM queue_work WHERE run_id = 1 AND state = 1 AND attempt = 2 AND reason IS NOT NULL", 1);
    over(2);
    until("SELECT count(*) FROM queue_work WHERE run_id = 1 AND state = 2", 1);
}

/* A victim's end is heard before its pod is gone: nobody else gives way meanwhile. */
static void test_a_victims_pods_may_linger(void **state)
{
    bool cancelled = *state != NULL;
    sql(LOWER_GIVE_WAY);
    world.gpus[0] = world.gpus[1] = 1;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    ask(2, 1, 1, 1, 0, "q");
    until(ADMITTED, 2);
    pthread_mutex_lock(&world.lock);
    for (int run = 1; run <= 2; run++) {
        size_t on = (size_t)support_number(&world.db,
                                           run == 1 ? "SELECT (nodes = '{n1}')::int FROM queue_work WHERE run_id = 1"
                                                    : "SELECT (nodes = '{n1}')::int FROM queue_work WHERE run_id = 2");
        world.on[run - 1] = on;
        world.pods[run - 1] = (struct placer_pod){{run, 0, 1, 0}, 0, on == 1 ? STR("n1") : STR("n0")};
    }
    world.n_pods = 2;
    pthread_mutex_unlock(&world.lock);
    world.generation++;
    ask(9, 1, 1, 1, 9, "q");
    until("SELECT count(*) FROM queue_work WHERE state = 3", 1);
    int victim = (int)support_number(&world.db, "SELECT run_id FROM queue_work WHERE state = 3");
    if (cancelled)
        over(victim);
    else
        ask(victim, 2, 1, 1, 0, "q");
    until("SELECT count(*) FROM queue_work WHERE run_id < 9 AND NOT news", cancelled ? 1 : 2);
    world.generation++;
    ask(8, 1, 1, 1, 0, "default"); /* a further turn, at least */
    until("SELECT count(*) FROM queue_work WHERE run_id = 8 AND reason IS NOT NULL", 1);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM inbox WHERE kind = 8"), 1);
    assert_int_equal(support_number(&world.db, "SELECT state FROM queue_work WHERE run_id = 9"), 1);
    pthread_mutex_lock(&world.lock);
    world.pods[0] = world.pods[victim == 1 ? 1 : 0];
    world.on[0] = world.on[victim == 1 ? 1 : 0];
    world.n_pods = 1;
    pthread_mutex_unlock(&world.lock);
    world.generation++;
    until("SELECT count(*) FROM queue_work WHERE run_id = 9 AND state = 2", 1);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM inbox WHERE kind = 8"), 1);
}

/* Owners wait for the rows that a turn writes: they are not all of a long queue, and not for a number alone. */
static void test_a_long_queue_is_told_bit_by_bit(void **state)
{
    (void)state;
    world.gpus[0] = 4;
    world.taken[0] = 4;
    world.placer = placer_new("one");
    ask_many(1, 2000, 3);
    until("SELECT count(*) FROM queue_work WHERE (why->>'free')::int = 0", 2000);
    assert_true(support_number(&world.db,
                               "SELECT max(n) FROM (SELECT count(*) AS n FROM queue_work GROUP BY xmin) AS t") < 1000);
    world.taken[0] = 2;
    world.generation++;
    until("SELECT count(*) FROM queue_work WHERE (why->>'free')::int = 2", 50);
    assert_int_equal(support_number(&world.db, "SELECT max(task) FROM queue_work WHERE (why->>'free')::int = 2"), 50);
    /* What changes more is told to all. */
    sql("INSERT INTO queues (name, created_by, spec) VALUES ('default', 'me', '{\"apiVersion\": \"millrace/v1\","
        "\"kind\": \"Queue\", \"name\": \"default\", \"quota\": {\"gpu\": 2}}');"
        "UPDATE queue_changes SET n = n + 1; NOTIFY millrace_queue");
    until("SELECT count(*) FROM queue_work WHERE reason = 'ExceedsQuota'", 2000);
}

/* Where there was room is a thought; kube-scheduler may have another one. */
static void test_pods_go_elsewhere(void **state)
{
    (void)state;
    world.gpus[0] = world.gpus[1] = 2;
    world.placer = placer_new("one");
    ask(1, 1, 2, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE state = 2 AND nodes IN ('{n0,n0}', '{n1,n1}')", 1);
    bool first = support_number(&world.db, "SELECT (nodes = '{n0,n0}')::int FROM queue_work") == 1;
    pthread_mutex_lock(&world.lock);
    world.pods[0] = (struct placer_pod){{1, 0, 1, 0}, 1, first ? STR("n1") : STR("n0")};
    world.on[0] = first ? 1 : 0;
    world.n_pods = 1;
    pthread_mutex_unlock(&world.lock);
    world.generation++;
    until(first ? "SELECT count(*) FROM queue_work WHERE nodes = '{n0,n1}'"
                : "SELECT count(*) FROM queue_work WHERE nodes = '{n1,n0}'",
          1);
    ask(2, 1, 1, 2, 0, "default"); /* each node has one left */
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND (why->>'free')::int = 1", 1);
    placer_stop(world.placer);
    pthread_mutex_lock(&world.lock);
    world.pods[1] = (struct placer_pod){{1, 0, 1, 0}, 0, first ? STR("n1") : STR("n0")};
    world.on[1] = first ? 1 : 0;
    world.n_pods = 2;
    pthread_mutex_unlock(&world.lock);
    world.placer = placer_new("two"); /* which knows of them what the database says */
    until(first ? "SELECT count(*) FROM queue_work WHERE nodes = '{n1,n1}'"
                : "SELECT count(*) FROM queue_work WHERE nodes = '{n0,n0}'",
          1);
    until("SELECT state FROM queue_work WHERE run_id = 2", 2);
}

/* What runs on a node that is gone takes nothing of others, and nobody else goes to such a node. */
static void test_its_node_is_gone(void **state)
{
    (void)state;
    world.gpus[2] = 1;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "default");
    until(ADMITTED, 1);
    pthread_mutex_lock(&world.lock);
    world.pods[0] = (struct placer_pod){{1, 0, 1, 0}, 0, STR("n2")};
    world.on[0] = 2;
    world.n_pods = 1;
    pthread_mutex_unlock(&world.lock);
    placer_stop(world.placer);
    world.gpus[2] = 0;
    world.gpus[0] = 1;
    world.placer = placer_new("two"); /* which knows of that node what the database says */
    ask(2, 1, 1, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND nodes = '{n0}'", 1);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM queue_work WHERE nodes = '{n2}'"), 1);
    world.gpus[0] = 0;
    world.generation++;
    over(2);
    ask(3, 1, 1, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE run_id = 3 AND reason IS NOT NULL", 1);
}

/* Others are really where it is booked: it is booked where there is room, and where there is none what it asks for is
 * not free. */
static void test_others_are_in_its_place(void **state)
{
    (void)state;
    world.gpus[0] = world.gpus[1] = 2;
    world.placer = placer_new("one");
    ask(1, 1, 1, 2, 0, "default");
    until(ADMITTED, 1);
    bool first = support_number(&world.db, "SELECT (nodes = '{n0}')::int FROM queue_work") == 1;
    const char *there = first ? "SELECT count(*) FROM queue_work WHERE run_id = 1 AND nodes = '{n1}'"
                              : "SELECT count(*) FROM queue_work WHERE run_id = 1 AND nodes = '{n0}'";
    world.taken[first ? 0 : 1] = 1;
    world.generation++;
    until(there, 1);
    world.taken[first ? 1 : 0] = 1;
    world.generation++;
    until("SELECT count(*) FROM queue_work WHERE run_id = 1 AND nodes = '{}'", 1);
    ask(2, 1, 1, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND reason = 'WaitingForNodes' AND (why->>'free')::int = 0",
          1);
    placer_stop(world.placer);
    world.placer = placer_new("two");
    usleep(300000);
    assert_int_equal(support_number(&world.db, ADMITTED), 1);
    world.taken[first ? 1 : 0] = 0;
    world.generation++;
    until(there, 1);
    until(ADMITTED, 2);
}

/* The nodes of a large cluster are much to look at and to write: only what changes is. */
static void test_what_does_not_change_is_not_looked_at(void **state)
{
    (void)state;
    world.gpus[0] = 1;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "default");
    until(ADMITTED, 1);
    usleep(1100000);
    uint64_t asked = world.asked;
    int64_t shown = support_number(&world.db, "SELECT (extract(epoch FROM nodes_at) * 1000000)::bigint FROM placers");
    usleep(2200000);
    assert_int_equal(world.asked, asked);
    world.gpus[1] = 3;
    world.generation++;
    until("SELECT count(*) FROM placers WHERE nodes->1->'devices'->0->>'n' = '3'", 1);
    assert_true(shown > 0 && world.asked > asked);
}

/* It learns of nodes only after it has begun, and what was admitted has no pods yet. */
static void test_what_was_admitted_has_its_room(void **state)
{
    (void)state;
    world.gpus[0] = 1;
    world.generation = 0;
    ask(1, 1, 1, 1, 0, "default");
    sql("UPDATE queue_work SET state = 2, news = false, got = 'gpu', nodes = '{n0}', admitted_at = now(),"
        " pin = '{\"resource\": \"nvidia.com/gpu\", \"count\": 1}'");
    world.placer = placer_new("one");
    ask(2, 1, 1, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND NOT news", 1);
    world.generation = 1;
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND reason = 'WaitingForNodes'", 1);
    assert_int_equal(support_number(&world.db, ADMITTED), 1);
}

static void test_another_takes_over(void **state)
{
    (void)state;
    world.gpus[0] = 2;
    world.placer = placer_new("one");
    for (int run = 1; run <= 3; run++)
        ask(run, 1, 1, 1, 0, "default");
    until(ADMITTED, 2);
    struct placer *second = placer_new("two"), *first = world.placer;
    until("SELECT count(*) FROM placers WHERE owner = 'one'", 1);
    placer_stop(first);
    world.placer = second;
    until("SELECT count(*) FROM placers WHERE owner = 'two' AND epoch = 2", 1);
    ask(4, 1, 1, 1, 5, "default"); /* nothing is free: it knows who runs */
    until("SELECT count(*) FROM queue_work WHERE run_id = 4 AND reason = 'WaitingForNodes'", 1);
    assert_int_equal(support_number(&world.db, ADMITTED), 2);
    over(2);
    until("SELECT count(*) FROM queue_work WHERE run_id = 4 AND state = 2", 1);
    assert_int_equal(support_number(&world.db, TOLD), 3);
}

/* Who was told to stop by the one before is: nobody else gives way, though he would be the one to choose now. */
static void test_a_victim_of_the_one_before(void **state)
{
    (void)state;
    sql(LOWER_GIVE_WAY);
    world.gpus[0] = 2;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    ask(2, 1, 1, 1, 0, "q");
    until(ADMITTED, 2);
    ask(9, 1, 1, 1, 9, "q");
    until("SELECT count(*) FROM queue_work WHERE state = 3", 1);
    placer_stop(world.placer);
    sql("UPDATE queue_work SET admitted_at = now() - interval '1h' WHERE state = 3");
    world.placer = placer_new("two");
    ask(8, 1, 1, 1, 0, "q");
    until("SELECT count(*) FROM queue_work WHERE run_id = 8 AND reason IS NOT NULL", 1);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM inbox WHERE kind = 8"), 1);
    over((int)support_number(&world.db, "SELECT run_id FROM queue_work WHERE state = 3"));
    until("SELECT state FROM queue_work WHERE run_id = 9", 2);
}

/* It believes to be the one, and is not any more. */
static void test_a_late_one_writes_nothing(void **state)
{
    (void)state;
    world.gpus[0] = 4;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "default");
    until(ADMITTED, 1);
    sql("UPDATE placers SET epoch = 7");
    ask(2, 1, 1, 1, 0, "default");
    until("SELECT epoch FROM placers", 8); /* it began anew */
    until(ADMITTED, 2);
    assert_int_equal(support_number(&world.db, TOLD), 2);
}

/* The two write the same rows, in whatever order: the placer does not wait, and hears what became of it. */
static void test_an_owner_may_take_its_time(void **state)
{
    (void)state;
    struct err err = {0};
    world.gpus[0] = 4;
    ask(1, 1, 1, 1, 0, "default");
    CONN_AUTO c = NULL;
    assert_true(db_lease(world.db.db, &c, &err));
    assert_true(conn_begin(c, &err));
    assert_true(conn_do(c, "UPDATE queue_work SET state = 4, news = true WHERE run_id = 1", &err));
    world.placer = placer_new("one");
    ask(2, 1, 1, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND state = 2", 1);
    assert_true(conn_commit(c, &err));
    until("SELECT count(*) FROM queue_work", 1);
    assert_int_equal(support_number(&world.db, TOLD), 1);
    ask(3, 1, 1, 3, 0, "default"); /* what the first one was given is free again */
    until("SELECT count(*) FROM queue_work WHERE run_id = 3 AND state = 2", 1);
}

/* What it answers to a row that an owner has is not written, and must not be lost: the owner may fail. */
static void test_an_owner_may_fail(void **state)
{
    (void)state;
    struct err err = {0};
    sql(LOWER_GIVE_WAY);
    world.gpus[0] = 1;
    world.taken[0] = 1;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "q");
    until("SELECT count(*) FROM queue_work WHERE NOT news AND reason IS NOT NULL", 1);
    CONN_AUTO c = NULL;
    assert_true(db_lease(world.db.db, &c, &err));
    for (int state_of_1 = 2; state_of_1 <= 3; state_of_1++) {
        assert_true(conn_begin(c, &err));
        assert_true(conn_do(c, "UPDATE queue_work SET state = 4, news = true WHERE run_id = 1", &err));
        if (state_of_1 == 2)
            world.taken[0] = 0;
        else
            ask(2, 1, 1, 1, 9, "q");
        world.generation++;
        ask(3, 1, 1, 1, -1, "q"); /* a turn in which it has been decided */
        until("SELECT count(*) FROM queue_work WHERE run_id = 3 AND NOT news AND reason IS NOT NULL", 1);
        conn_rollback(c);
        until(state_of_1 == 2 ? "SELECT state FROM queue_work WHERE run_id = 1 AND NOT news AND nodes = '{n0}'"
                              : "SELECT state FROM queue_work WHERE run_id = 1 AND NOT news AND by = 'run 2 train'",
              state_of_1);
        over(3);
        until("SELECT count(*) FROM queue_work WHERE run_id = 3", 0);
    }
    ask(1, 2, 1, 1, 0, "q");
    until("SELECT state FROM queue_work WHERE run_id = 2", 2);
}

/* Whoever looks while a declaration is being made sees all of it later. */
static void test_a_declaration_takes_its_time(void **state)
{
    (void)state;
    struct err err = {0};
    world.gpus[0] = 1;
    CONN_AUTO c = NULL;
    assert_true(db_lease(world.db.db, &c, &err));
    assert_true(conn_begin(c, &err));
    assert_true(conn_do(c,
                        "UPDATE queue_changes SET n = n + 1;"
                        "INSERT INTO queues (name, created_by, spec) VALUES ('slow', 'me', '{\"apiVersion\":"
                        "\"millrace/v1\", \"kind\": \"Queue\", \"name\": \"slow\"}')",
                        &err));
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "slow");
    until("SELECT count(*) FROM queue_work WHERE reason = 'NoSuchQueue'", 1);
    assert_true(conn_commit(c, &err));
    until(ADMITTED, 1);
}

static void test_what_is_gone_is_swept(void **state)
{
    (void)state;
    world.gpus[0] = 1;
    ask(1, 1, 1, 1, 0, "default");
    sql("UPDATE queue_work SET state = 2, news = false, got = 'gpu', nodes = '{n0}', admitted_at = now();"
        "DELETE FROM active_runs");
    ask(2, 1, 1, 1, 0, "default");
    world.placer = placer_new("one");
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND state = 2", 1);
    until("SELECT count(*) FROM queue_work WHERE run_id = 1", 0);
}

static void test_what_moves_to_another_cluster(void **state)
{
    (void)state;
    world.gpus[0] = 1;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 5, "default");
    until(ADMITTED, 1);
    ask(2, 1, 1, 1, 1, "default");
    ask(3, 1, 1, 1, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE reason IS NOT NULL", 2);
    sql("UPDATE queue_work SET domain = 'other', state = 1, news = true WHERE run_id < 3");
    until("SELECT state FROM queue_work WHERE run_id = 3", 2);
    assert_int_equal(support_number(&world.db, "SELECT count(*) FROM queue_work WHERE state = 1 AND news"), 2);
    assert_int_equal(support_number(&world.db, TOLD " AND payload->>'domain' = '" DOMAIN "'"), 2);
}

static void test_what_is_not_declared_waits(void **state)
{
    (void)state;
    world.gpus[0] = 1;
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "later");
    until("SELECT count(*) FROM queue_work WHERE reason = 'NoSuchQueue' AND waiting LIKE '%''later''%'", 1);
    sql("INSERT INTO queues (name, created_by, spec) VALUES ('later', 'me', '{\"apiVersion\": \"millrace/v1\","
        "\"kind\": \"Queue\", \"name\": \"later\"}'); UPDATE queue_changes SET n = n + 1; NOTIFY millrace_queue");
    until(ADMITTED, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_many_as_there_are),
        TEST(a_gang_starts_whole),
        TEST(the_less_important_gives_way),
        TEST(only_on_nodes_that_it_names),
        TEST(the_short_one_passes),
        TEST(a_victims_pods_may_linger),
        cmocka_unit_test_prestate_setup_teardown(test_a_victims_pods_may_linger, setup, teardown, &world),
        TEST(what_was_admitted_has_its_room),
        TEST(another_takes_over),
        TEST(a_victim_of_the_one_before),
        TEST(a_late_one_writes_nothing),
        TEST(what_is_gone_is_swept),
        TEST(what_is_not_declared_waits),
        TEST(an_owner_may_take_its_time),
        TEST(a_declaration_takes_its_time),
        TEST(an_owner_may_fail),
        TEST(a_long_queue_is_told_bit_by_bit),
        TEST(what_moves_to_another_cluster),
        TEST(pods_go_elsewhere),
        TEST(its_node_is_gone),
        TEST(others_are_in_its_place),
        TEST(what_does_not_change_is_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
