/* The placer: what runs on nodes whose flavors change. */
#include "tests/scheduler/placer_rig.h"

#define SHOWN "SELECT (nodes->0->'devices'->0->>'taken')::int FROM placers"

static void declare_queues(void)
{
    for (char q = 'a'; q <= 'b'; q++)
        sql("INSERT INTO queues (name, created_by, spec) VALUES ('%c', 'me', '{\"apiVersion\": \"millrace/v1\","
            "\"kind\": \"Queue\", \"name\": \"%c\", \"quota\": {\"f%c\": 1}}')",
            q, q, q);
}

static void bind_pod(void)
{
    pthread_mutex_lock(&world.lock);
    world.pods[0] = (struct placer_pod){{1, 0, 1, 0}, 0, STR("n0")};
    world.on[0] = 0;
    world.n_pods = 1;
    pthread_mutex_unlock(&world.lock);
    world.generation++;
}

static void declare_pools(const char *fa, const char *fb)
{
    sql("INSERT INTO flavors (name, created_by, spec) SELECT name, 'me', jsonb_build_object('apiVersion', "
        "'millrace/v1',"
        "'kind', 'Flavor', 'name', name, 'resource', 'nvidia.com/gpu', 'nodes', jsonb_build_object('pool', pool))"
        " FROM (VALUES ('fa', '%s'), ('fb', '%s')) AS v(name, pool)"
        " ON CONFLICT (name) DO UPDATE SET spec = excluded.spec;"
        "UPDATE queue_changes SET n = n + 1; NOTIFY millrace_queue",
        fa, fb);
}

/* Its node comes to be of another flavor: by its labels, or by what is declared. It has its GPU all the same. */
static void test_the_node_is_of_another_flavor(void **state)
{
    (void)state;
    static const char waits[] = "SELECT count(*) FROM queue_work WHERE run_id = 2 AND reason = 'WaitingForNodes' AND"
                                " (why->>'free')::int = 0";
    static const char no_node[] = "SELECT count(*) FROM queue_work WHERE run_id = 2 AND reason = 'Unschedulable'";
    world.gpus[0] = 1;
    declare_pools("a", "b");
    declare_queues();
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "a");
    until(ADMITTED, 1);
    world.other_pool = true;
    bind_pod();
    ask(2, 1, 1, 1, 0, "b");
    until(waits, 1);
    until(SHOWN, 1);
    placer_stop(world.placer);
    sql("UPDATE queue_work SET reason = NULL WHERE run_id = 2");
    world.placer = placer_new("two");
    until(waits, 1);
    world.other_pool = false; /* back again */
    world.generation++;
    until(no_node, 1);
    until(SHOWN, 0);
    declare_pools("b", "a");
    until(waits, 1);
    until(SHOWN, 1);
    declare_pools("a", "b");
    until(no_node, 1);
    until(SHOWN, 0);
    world.other_pool = true;
    world.generation++;
    until(waits, 1);
    pthread_mutex_lock(&world.lock);
    world.n_pods = 0;
    pthread_mutex_unlock(&world.lock);
    world.generation++;
    over(1);
    until("SELECT count(*) FROM queue_work WHERE run_id = 2 AND state = 2 AND got = 'fb' AND nodes = '{n0}'", 1);
}

/* It is still of the node, and stands for other devices: those that run have what they were given, once. */
static void test_the_flavor_is_of_other_devices(void **state)
{
    (void)state;
    world.gpus[0] = 4;
    declare_pools("a", "b");
    declare_queues();
    world.placer = placer_new("one");
    ask(1, 1, 1, 1, 0, "a");
    until(ADMITTED, 1);
    bind_pod();
    until(SHOWN, 0);
    for (int other = 1; other >= 0; other--) {
        sql("UPDATE flavors SET spec = CASE %d WHEN 1 THEN spec || '{\"shared\": 2}' ELSE spec - 'shared' END;"
            "UPDATE queue_changes SET n = n + 1; NOTIFY millrace_queue",
            other);
        until(SHOWN, other);
        ask(3 - other, 1, 1, 1, 0, "a");
        until("SELECT count(*) FROM queue_work WHERE NOT news AND reason = 'WaitingForQuota'", 2 - other);
        ask(5 - other, 1, 1, other ? 1 : 3, 0, "default"); /* all that is left */
        until(ADMITTED, 2);
        over(5 - other);
        until(ADMITTED, 1);
    }
}

static void test_some_are_not_in_order(void **state)
{
    (void)state;
    world.gpus[0] = 4;
    world.taken[0] = world.broken = 2; /* who tells of the node takes them for others' */
    world.placer = placer_new("one");
    ask(1, 1, 1, 3, 0, "default");
    until("SELECT count(*) FROM queue_work WHERE waiting = 'each pod needs 3 × gpu, the most that a node has free is 2;"
          " 2 GPUs of that flavor are not in order'",
          1);
    world.broken = 1; /* somebody has the other one */
    world.generation++;
    until("SELECT count(*) FROM queue_work WHERE waiting LIKE '% is 2; 1 GPU of that flavor is not in order'", 1);
    world.taken[0] = world.broken = 0;
    world.generation++;
    until(ADMITTED, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_node_is_of_another_flavor), TEST(some_are_not_in_order),
                                       TEST(the_flavor_is_of_other_devices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
