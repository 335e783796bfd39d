/* Completion from the command table: see completion.h. */
#include "cli/completion.h"

#include <locale.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/show.h"

static const char bash_script[] =
    "# bash completion for millrace: source <(millrace completion bash)\n"
    "_millrace() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} line IFS=$'\\n'\n"
    "    COMPREPLY=()\n"
    "    [[ $cur == '=' ]] && cur=''\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        :files) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
    "        :folders) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -d -- \"$cur\")) ;;\n"
    "        *) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
    "        esac\n"
    "    done < <(millrace __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _millrace millrace\n";

static const char zsh_script[] =
    "#compdef millrace\n"
    "# zsh completion for millrace: millrace completion zsh > \"${fpath[1]}/_millrace\"\n"
    "_millrace() {\n"
    "    local line name text\n"
    "    local -a found\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        :files) _files ;;\n"
    "        :folders) _files -/ ;;\n"
    "        *) name=${line%%$'\\t'*}; text=${line#*$'\\t'}; found+=(\"${name//:/\\\\:}:$text\") ;;\n"
    "        esac\n"
    "    done < <(millrace __complete \"${(@)words[2,$CURRENT]}\" 2>/dev/null)\n"
    "    (( ${#found} )) && _describe millrace found\n"
    "}\n"
    "if [ \"$funcstack[1]\" = _millrace ]; then _millrace \"$@\"; else compdef _millrace millrace; fi\n";

static const char fish_script[] = "# fish completion for millrace: millrace completion fish | source\n"
                                  "function __millrace_complete\n"
                                  "    set -l words (commandline -opc) (commandline -ct)\n"
                                  "    for line in (millrace __complete $words[2..-1] 2>/dev/null)\n"
                                  "        switch $line\n"
                                  "            case ':files'\n"
                                  "                __fish_complete_path (commandline -ct)\n"
                                  "            case ':folders'\n"
                                  "                __fish_complete_directories (commandline -ct)\n"
                                  "            case '*'\n"
                                  "                echo $line\n"
                                  "        end\n"
                                  "    end\n"
                                  "end\n"
                                  "complete -c millrace -f -a '(__millrace_complete)'\n";

const char *completion_script(const char *shell)
{
    static const struct {
        const char *shell, *script;
    } rows[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].shell, shell) == 0) return rows[i].script;
    }
    return NULL;
}

/* ---- candidates ---- */

struct asker {
    struct buf *out;
    const char *prefix; /* what is typed already */
    completion_source *source;
    void *ctx;
};

static void offer(struct asker *k, struct str name, const char *text)
{
    if (!str_starts(name, k->prefix)) return;
    buf_printf(k->out, "%.*s\t%s\n", STR_ARG(name), text ? text : "");
}

static void offer_choices(struct asker *k, const char *choices)
{
    struct str rest = str_of(choices), piece;
    while (str_split(&rest, '|', &piece))
        offer(k, piece, "");
}

static void offer_kind(struct asker *k, enum word_kind kind, const char *before)
{
    if (kind == WORD_FILE || kind == WORD_PIPELINE_OR_FILE) buf_c(k->out, ":files\n");
    if (kind == WORD_FOLDER) buf_c(k->out, ":folders\n");
    if (kind == WORD_ANY || kind == WORD_FILE || kind == WORD_FOLDER || kind == WORD_CHOICE || !k->source) return;
    BUF_AUTO found;
    buf_init(&found, 0);
    k->source(k->ctx, &found, kind == WORD_PIPELINE_OR_FILE ? WORD_PIPELINE : kind, before);
    struct str rest = buf_view(&found), line;
    while (str_split(&rest, '\n', &line)) {
        if (line.n && str_starts(line, k->prefix)) buf_printf(k->out, "%.*s\n", STR_ARG(line));
    }
}

/* Names of commands; of a two-word name the word that is next. */
static void offer_commands(struct asker *k, const char *first)
{
    struct str last = STR("");
    for (size_t i = 0; i < n_commands; i++) {
        struct str rest = str_of(commands[i].name), word;
        if (!commands[i].group) continue;
        str_split(&rest, ' ', &word);
        bool two = word.n < strlen(commands[i].name);
        if (first) {
            if (two && str_is(word, first)) offer(k, rest, commands[i].summary);
        } else if (!str_eq(word, last)) {
            offer(k, word, two ? commands[i].group : commands[i].summary);
            last = word;
        }
    }
}

static void offer_options(struct asker *k, const struct cli_command *c)
{
    const struct option *lists[] = {c ? c->options : NULL, global_options};
    for (size_t l = 0; l < 2; l++) {
        for (const struct option *o = lists[l]; o && o->name; o++) {
            char name[80];
            if (strcmp(o->name, "output") == 0 && c && !c->formats) continue;
            snprintf(name, sizeof name, "--%s", o->name);
            offer(k, str_of(name), o->summary);
        }
    }
}

static const struct option *option_of(const struct cli_command *c, const char *word)
{
    if (word[0] != '-' || !word[1] || strchr(word, '=')) return NULL;
    const struct option *o = word[1] == '-' ? option_find(c, str_of(word + 2), 0)
                             : !word[2]     ? option_find(c, STR(""), word[1])
                                            : NULL;
    return o && o->value ? o : NULL;
}

void completion_candidates(struct buf *out, int n, char *const *words, completion_source *source, void *ctx)
{
    if (n < 1) return;
    struct asker k = {out, words[n - 1], source, ctx};
    const struct cli_command *c = NULL;
    const char *before = "", *first = NULL; /* the last word in front; the first word, while no command is known */
    int used = 0, place = 0;
    for (int i = 0; i < n - 1; i++) {
        if (option_of(c, words[i]) && ++i) {
            if (i < n - 1) continue;
            const struct option *o = option_of(c, words[i - 1]);
            const char *choices = strcmp(o->name, "output") == 0 ? (c ? c->formats : NULL) : o->choices;
            if (choices) offer_choices(&k, choices);
            offer_kind(&k, o->kind, before);
            return;
        }
        if (words[i][0] == '-') continue;
        if (!c && (c = command_find(n - 1 - i, words + i, &used))) {
            i += used - 1;
            continue;
        }
        if (c) place++;
        if (!c) first = words[i];
        before = words[i];
    }
    if (k.prefix[0] == '-') {
        offer_options(&k, c);
    } else if (!c) {
        offer_commands(&k, first);
    } else if (strcmp(c->name, "help") == 0) {
        offer_commands(&k, place ? before : NULL);
    } else if (strcmp(c->name, "completion") == 0) {
        offer_choices(&k, c->words);
    } else if (c->max_words == COMMAND_MANY || place < c->max_words) {
        offer_kind(&k, c->kinds[place ? 1 : 0], before);
    }
}

/* ---- what only the server knows ---- */

static void names_of(struct cli *cli, struct buf *out, const char *path, const char *key, const char *text)
{
    struct client_reply reply;
    struct client_request request = {.path = path, .timeout_ms = 1500, .once = true};
    int code;
    struct client *client = cli_client(cli, &code);
    size_t n;
    if (!client || !client_send(client, cli->arena, &request, &reply, NULL, NULL)) return;
    const struct value *items = field_list(&reply.value, "items", &n);
    for (size_t i = 0; i < n; i++) {
        struct str name = value_text(cli->arena, value_get(&items[i], key));
        struct str about = value_text(cli->arena, value_get(&items[i], text));
        buf_str(out, name);
        buf_char(out, '\t');
        term_text(out, about, 60);
        buf_char(out, '\n');
    }
}

static void from_server(void *ctx, struct buf *out, enum word_kind kind, const char *before)
{
    struct cli *cli = ctx;
    struct contexts contexts;
    if (kind == WORD_CONTEXT) {
        if (!contexts_load(cli->arena, &contexts, NULL)) return;
        for (size_t i = 0; i < contexts.n; i++)
            buf_printf(out, "%s\t%s\n", contexts.items[i].name,
                       contexts.items[i].server ? contexts.items[i].server : "");
        return;
    }
    static const struct args none;
    struct err ignored;
    cli->args = &none;
    if (!cli_connect(cli, &ignored)) return;
    struct client *client = cli->client;
    struct arena *a = cli->arena;
    if (kind == WORD_RUN) names_of(cli, out, client_project(client, a, "/api/v1/runs?page_size=30"), "id", "name");
    if (kind == WORD_PIPELINE)
        names_of(cli, out, client_project(client, a, "/api/v1/pipelines"), "name", "description");
    if (kind == WORD_STEP && *before)
        names_of(cli, out, client_path(a, "/api/v1/runs/%s/tasks", before), "path", "state");
}

int cmd_complete(int argc, char **argv)
{
    struct arena arena;
    BUF_AUTO out;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    struct cli cli = {.arena = &arena, .quiet = true};
    setlocale(LC_CTYPE, "C.UTF-8"); /* as main() does for all other commands */
    completion_candidates(&out, argc - 1, argv + 1, from_server, &cli);
    if (out.n) fwrite(out.p, 1, out.n, stdout);
    client_close(cli.client);
    arena_free(&arena);
    return CLI_OK;
}

int cmd_completion(struct cli *cli, const struct args *args)
{
    const char *script = completion_script(args_word(args, 0));
    if (!script) return cli_usage(cli, "completion knows %s, not '%s'", args->command->words, args_word(args, 0));
    fputs(script, stdout);
    return CLI_OK;
}
