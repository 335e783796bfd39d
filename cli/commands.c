/* Searches in the table of commands: see commands.h. */
#include "cli/commands.h"

#include <string.h>

/* The table's name against one or two words of argv. */
static int match(const char *name, int argc, char *const *argv)
{
    const char *space = strchr(name, ' ');
    if (argc < 1) return 0;
    if (!space) return strcmp(name, argv[0]) == 0 ? 1 : 0;
    size_t first = (size_t)(space - name);
    bool same =
        argc >= 2 && strlen(argv[0]) == first && memcmp(argv[0], name, first) == 0 && strcmp(argv[1], space + 1) == 0;
    return same ? 2 : 0;
}

const struct cli_command *command_find(int argc, char *const *argv, int *used)
{
    const struct cli_command *best = NULL;
    *used = 0;
    for (size_t i = 0; i < n_commands; i++) {
        int n = match(commands[i].name, argc, argv);
        if (n > *used) best = &commands[i], *used = n;
    }
    return best;
}

struct str command_suggest(struct arena *a, const char *word, const char *next)
{
    struct str *names = arena_array(a, struct str, n_commands);
    size_t n = 0;
    struct str wanted = str_of(word);
    for (size_t i = 0; i < n_commands; i++) {
        struct str name = str_of(commands[i].name), first = name, rest = name;
        if (!commands[i].group) continue;
        str_split(&rest, ' ', &first);
        if (first.n < name.n && str_eq(first, wanted) && !next) return name; /* "artifacts" alone */
        names[n++] = name;
    }
    struct str both = next ? arena_printf(a, "%s %s", word, next) : wanted;
    struct str near = suggest(both, names, n);
    return near.n || !next ? near : suggest(wanted, names, n);
}

const struct option *option_find(const struct cli_command *c, struct str name, char letter)
{
    const struct option *lists[] = {c ? c->options : NULL, global_options};
    for (size_t i = 0; i < 2; i++) {
        for (const struct option *o = lists[i]; o && o->name; o++) {
            if (letter ? o->letter == letter : str_is(name, o->name)) return o;
        }
    }
    return NULL;
}

struct str option_suggest(struct arena *a, const struct cli_command *c, struct str name)
{
    struct str *names = arena_array(a, struct str, 64);
    const struct option *lists[] = {c ? c->options : NULL, global_options};
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        for (const struct option *o = lists[i]; o && o->name && n < 64; o++)
            names[n++] = str_of(o->name);
    }
    return suggest(name, names, n);
}
