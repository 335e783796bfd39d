/* See queue_work.h. */
#include "api/queue_work.h"

static void write_names(struct jsonw *w, const char *key, struct str list)
{
    struct str rest = list.n > 2 ? str_sub(list, 1, list.n - 2) : (struct str){"", 0}, name;
    if (rest.n == 0) return;
    jsonw_key(w, key);
    jsonw_array(w);
    while (str_split(&rest, ',', &name))
        if (!str_is(name, "\"\"")) jsonw_str(w, name); /* of a pod that no node has room for */
    jsonw_array_end(w);
}

void queue_number(const struct emit *e, const char *key, int64_t thousandths)
{
    if (thousandths % 1000 == 0)
        emit_int(e, key, thousandths / 1000);
    else
        jsonw_kv_double(e->w, key, (double)thousandths / 1000);
}

void queue_work_write(const struct emit *e, const struct queue_work *k)
{
    static const char *const states[] = {
        [QUEUE_WAITS] = "waits", [QUEUE_ADMITTED] = "admitted", [QUEUE_STOPS] = "stops"};
    jsonw_object(e->w);
    emit_int(e, "run", k->run_id);
    emit_int(e, "task", k->task);
    emit_str(e, "path", k->path);
    emit_int(e, "attempt", k->attempt);
    emit_str(e, "project", k->project);
    emit_str(e, "queue", k->queue);
    emit_cstr(e, "state", k->handed ? "handed" : states[k->state]);
    emit_int(e, "priority", k->priority);
    emit_int(e, "pods", k->pods);
    queue_number(e, "gpus", (int64_t)k->gpu * k->pods);
    emit_str(e, "flavor", k->got.n ? k->got : k->flavor);
    emit_id(e, "position", k->position);
    emit_id(e, "of", k->of);
    emit_str(e, "reason", k->reason);
    emit_json(e, "why", k->why);
    emit_str(e, "waitingFor", k->waiting);
    write_names(e->w, "nodes", k->nodes);
    emit_time(e, "submittedAt", k->submitted_us);
    emit_time(e, "admittedAt", k->admitted_us);
    jsonw_object_end(e->w);
}
