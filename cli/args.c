/* Reading a command line by the table's rows: see args.h. */
#include "cli/args.h"

#include <string.h>

#include "cli/commands.h"

struct reader {
    struct arena *arena;
    int argc;
    char *const *argv;
    int at;
    struct args args;
    const struct cli_command *command;
};

static void keep(struct reader *r, const struct option *option, const char *value)
{
    r->args.values[r->args.n_values++] = (struct arg_value){option, value};
}

static bool choice_ok(const char *choices, const char *value)
{
    struct str rest = str_of(choices), piece;
    while (str_split(&rest, '|', &piece)) {
        if (str_is(piece, value)) return true;
    }
    return false;
}

/* `option` was found; its value stands behind `=`, right behind its letter, or in the next word. */
static bool take(struct reader *r, const struct option *option, const char *attached, struct err *err)
{
    if (!option->value) {
        if (attached) return err_set(err, ERR_INVALID, "--%s takes no value", option->name);
        keep(r, option, NULL);
        return true;
    }
    const char *value = attached;
    if (!value) {
        if (r->at + 1 >= r->argc) {
            err_set(err, ERR_INVALID, "--%s needs a value", option->name);
            return err_hint(err, "--%s %s", option->name, option->value);
        }
        value = r->argv[++r->at];
    }
    /* A command that draws gives -o more choices than the global row has; that is checked where formats are known. */
    if (option->choices && !choice_ok(option->choices, value)) {
        err_set(err, ERR_INVALID, "--%s cannot be '%s'", option->name, value);
        return err_hint(err, "one of: %s", option->choices);
    }
    keep(r, option, value);
    return true;
}

static bool take_long(struct reader *r, const char *word, struct err *err)
{
    const char *equals = strchr(word, '=');
    struct str name = equals ? (struct str){word, (size_t)(equals - word)} : str_of(word);
    const struct option *option = option_find(r->command, name, 0);
    if (!option) {
        struct str near = option_suggest(r->arena, r->command, name);
        err_set(err, ERR_INVALID, "unknown option --%.*s", STR_ARG(name));
        return near.n ? err_hint(err, "did you mean --%.*s?", STR_ARG(near)) : false;
    }
    return take(r, option, equals ? equals + 1 : NULL, err);
}

static bool take_short(struct reader *r, const char *letters, struct err *err)
{
    for (; *letters; letters++) {
        const struct option *option = option_find(r->command, STR(""), *letters);
        if (!option) return err_set(err, ERR_INVALID, "unknown option -%c", *letters);
        if (!option->value) {
            keep(r, option, NULL);
            continue;
        }
        const char *attached = letters[1] ? letters + 1 + (letters[1] == '=') : NULL;
        return take(r, option, attached, err);
    }
    return true;
}

static bool check_words(const struct args *args, struct err *err)
{
    const struct cli_command *c = args->command;
    if (args->n_words < c->min_words) {
        err_set(err, ERR_INVALID, "%s needs %s", c->name, c->words);
        return err_hint(err, "millrace help %s", c->name);
    }
    if (c->max_words != COMMAND_MANY && args->n_words > c->max_words) {
        err_set(err, ERR_INVALID, "%s does not take '%s'", c->name, args->words[c->max_words]);
        return err_hint(err, "millrace help %s", c->name);
    }
    return true;
}

/* Global options may stand before the command's name; the name is the first word that is neither an option nor the
 * value of one. */
static const struct cli_command *find_command(int argc, char *const *argv, int *at, int *used)
{
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || !word[1]) {
            *at = i;
            return command_find(argc - i, argv + i, used);
        }
        if (strchr(word, '=')) continue;
        const struct option *option =
            word[1] == '-' ? option_find(NULL, str_of(word + 2), 0) : option_find(NULL, STR(""), word[1]);
        if (option && option->value && (word[1] == '-' || !word[2])) i++;
    }
    *at = argc;
    return NULL;
}

static bool read_words(struct reader *r, int name_at, int name_words, struct err *err)
{
    bool options = true;
    for (r->at = 0; r->at < r->argc; r->at++) {
        const char *word = r->argv[r->at];
        if (r->at >= name_at && r->at < name_at + name_words) continue;
        if (!options || word[0] != '-' || !word[1])
            r->args.words[r->args.n_words++] = word;
        else if (strcmp(word, "--") == 0)
            options = false;
        else if (word[1] == '-' ? !take_long(r, word + 2, err) : !take_short(r, word + 1, err))
            return false;
    }
    return true;
}

static bool unknown_command(struct arena *a, const char *word, const char *next, struct err *err)
{
    struct str near = command_suggest(a, word, next);
    err_set(err, ERR_INVALID, "unknown command '%s'", word);
    return near.n ? err_hint(err, "did you mean '%.*s'?", STR_ARG(near)) : err_hint(err, "millrace help lists them");
}

bool args_parse(struct arena *a, int argc, char *const *argv, struct args *out, struct err *err)
{
    int name_at = 0, name_words = 0;
    const struct cli_command *command = find_command(argc, argv, &name_at, &name_words);
    if (!command && name_at < argc)
        return unknown_command(a, argv[name_at], name_at + 1 < argc ? argv[name_at + 1] : NULL, err);
    size_t room = 0; /* a word of many letters may hold as many options */
    for (int i = 0; i < argc; i++)
        room += strlen(argv[i]) + 1;
    struct reader r = {.arena = a, .argc = argc, .argv = argv, .command = command};
    r.args.command = command;
    r.args.words = arena_array(a, const char *, (size_t)argc + 1);
    r.args.values = arena_array(a, struct arg_value, room + 1);
    if (!read_words(&r, name_at, name_words, err)) return false;
    if (command && !args_has(&r.args, "help") && !check_words(&r.args, err)) return false;
    *out = r.args;
    return true;
}

const char *args_get(const struct args *args, const char *name)
{
    for (size_t i = args->n_values; i-- > 0;) {
        if (strcmp(args->values[i].option->name, name) == 0) return args->values[i].value;
    }
    return NULL;
}

bool args_has(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->n_values; i++) {
        if (strcmp(args->values[i].option->name, name) == 0) return true;
    }
    return false;
}

const char *args_next(const struct args *args, const char *name, size_t *at)
{
    while (*at < args->n_values) {
        const struct arg_value *v = &args->values[(*at)++];
        if (strcmp(v->option->name, name) == 0) return v->value;
    }
    return NULL;
}

const char *args_word(const struct args *args, size_t i)
{
    return i < args->n_words ? args->words[i] : NULL;
}

bool args_int(const struct args *args, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *out,
              struct err *err)
{
    const char *text = args_get(args, name);
    int64_t n = fallback;
    if (text && (!str_int(str_of(text), &n) || n < min || n > max)) {
        err_set(err, ERR_INVALID, "--%s cannot be '%s'", name, text);
        return err_hint(err, "a whole number from %lld to %lld", (long long)min, (long long)max);
    }
    *out = n;
    return true;
}
