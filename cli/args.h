/* From argv to the options and arguments of one command, by the command's own row of the table. Nothing is copied:
 * values point into argv. */
#ifndef MILLRACE_CLI_ARGS_H
#define MILLRACE_CLI_ARGS_H

#include "engine/base/err.h"

struct cli_command;
struct option;

struct arg_value {
    const struct option *option;
    const char *value; /* NULL for a flag */
};

struct args {
    const struct cli_command *command; /* NULL: none was named */
    const char **words;                /* positional arguments */
    size_t n_words;
    struct arg_value *values;
    size_t n_values;
};

/* argv without the program's name. Options may stand before, between and behind the words; `--` ends them; `-p=x`,
 * `-px`, `--name=x` and
 * `--name x` are the same. */
MUST_CHECK bool args_parse(struct arena *a, int argc, char *const *argv, struct args *out, struct err *err);

const char *args_get(const struct args *args, const char *name); /* the last one given, or NULL */
bool args_has(const struct args *args, const char *name);
/* The next value of a repeatable option: start with *at = 0; NULL at the end. */
const char *args_next(const struct args *args, const char *name, size_t *at);
const char *args_word(const struct args *args, size_t i); /* NULL when absent */
/* A whole number from an option; `fallback` when it was not given. */
MUST_CHECK bool args_int(const struct args *args, const char *name, int64_t min, int64_t max, int64_t fallback,
                         int64_t *out, struct err *err);

#endif
