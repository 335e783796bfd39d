/* Names of states, reasons, events and commands, all made from states.def. */
#include "engine/flow/run.h"

struct state_text {
    const char *name;
    bool terminal;
};

static const struct state_text task_states[TASK_STATE_COUNT] = {
#define TASK_STATE(id, number, name, terminal, text) [id] = {(name), (terminal)},
#include "engine/flow/states.def"
};

static const struct state_text run_states[RUN_STATE_COUNT] = {
#define RUN_STATE(id, number, name, terminal, text) [id] = {(name), (terminal)},
#include "engine/flow/states.def"
};

static const struct {
    const char *name, *text;
} reasons[REASON_COUNT] = {
#define REASON(id, number, name, text) [id] = {(name), (text)},
#include "engine/flow/states.def"
};

static const char *const commands[COMMAND_COUNT] = {
#define COMMAND(id, number, name) [id] = (name),
#include "engine/flow/states.def"
};

static const struct {
    int kind;
    const char *name;
} events[] = {
#define EVENT_KIND(id, number, name) {(number), (name)},
#include "engine/flow/states.def"
};

const char *task_state_name(enum task_state s)
{
    return (unsigned)s < TASK_STATE_COUNT ? task_states[s].name : task_states[TASK_REFUSED].name;
}

bool task_state_terminal(enum task_state s)
{
    return (unsigned)s < TASK_STATE_COUNT ? task_states[s].terminal : true;
}

bool task_state_writes(enum task_state s)
{
    return s == TASK_READY || s == TASK_RUNNING || s == TASK_STOPPING;
}

const char *run_state_name(enum run_state s)
{
    return (unsigned)s < RUN_STATE_COUNT ? run_states[s].name : run_states[RUN_REFUSED].name;
}

bool run_state_terminal(enum run_state s)
{
    return (unsigned)s < RUN_STATE_COUNT ? run_states[s].terminal : true;
}

const char *reason_name(enum reason r)
{
    return (unsigned)r < REASON_COUNT ? reasons[r].name : reasons[REASON_NONE].name;
}

const char *reason_text(enum reason r)
{
    return (unsigned)r < REASON_COUNT ? reasons[r].text : reasons[REASON_NONE].text;
}

const char *event_kind_name(int kind)
{
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        if (events[i].kind == kind) return events[i].name;
    return "none";
}

const char *command_name(enum command c)
{
    return (unsigned)c < COMMAND_COUNT ? commands[c] : commands[COMMAND_NONE];
}
