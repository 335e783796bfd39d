/* The one table of commands: parsing, help, usage errors, completion and the reference in the documentation all come
 * from it. */
#ifndef MILLRACE_CLI_COMMANDS_H
#define MILLRACE_CLI_COMMANDS_H

#include "cli/args.h"

struct cli;

/* What a word or an option's value is: for completion. */
enum word_kind {
    WORD_ANY,
    WORD_FILE,
    WORD_FOLDER,
    WORD_RUN,
    WORD_PIPELINE,
    WORD_PIPELINE_OR_FILE,
    WORD_STEP, /* of the run in the word before */
    WORD_CONTEXT,
    WORD_CHOICE, /* one of option.choices */
    WORD_COMMAND,
};

struct option {
    const char *name;    /* without the dashes; NULL ends a list */
    char letter;         /* 0 = none */
    const char *value;   /* its value's name in help; NULL = a flag */
    const char *summary; /* no full stop */
    const char *choices; /* "table|json|yaml", or NULL */
    enum word_kind kind;
    bool many; /* may be given again and again */
};

#define COMMAND_MANY 255 /* of max_words: any number */

struct cli_command {
    const char *name;  /* one or two words: "run", "artifacts get" */
    const char *words; /* as in help: "FILE|DIR|NAME" */
    uint8_t min_words, max_words;
    enum word_kind kinds[2];      /* of the first and of all further words */
    const struct option *options; /* beside the global ones; may be NULL */
    const char *group;            /* its heading in help; NULL = hidden */
    const char *summary;          /* one line, no full stop */
    const char *role;             /* what the server asks for; NULL = needs no server */
    const char *details;          /* further help and examples; may be NULL */
    const char *formats;          /* of -o; NULL = takes none */
    int (*exec)(struct cli *cli, const struct args *args);
    int (*exec_raw)(int argc, char **argv); /* reads its own options: argv[0] is the command's name */
};

extern const struct cli_command commands[];
extern const size_t n_commands;
extern const struct option global_options[];

/* The command that argv begins with, and how many words its name took; NULL when none. `a b` wins over `a`. */
const struct cli_command *command_find(int argc, char *const *argv, int *used);
/* The nearest name to a wrong one, for "did you mean"; empty when none is near. */
struct str command_suggest(struct arena *a, const char *word, const char *next);
/* An option by long name (letter 0) or letter (name empty), the command's own first. */
const struct option *option_find(const struct cli_command *c, struct str name, char letter);
struct str option_suggest(struct arena *a, const struct cli_command *c, struct str name);

/* ---- the commands, one file per group ---- */
int cmd_run(struct cli *cli, const struct args *args);
int cmd_submit(struct cli *cli, const struct args *args);
int cmd_watch(struct cli *cli, const struct args *args);
int cmd_logs(struct cli *cli, const struct args *args);
int cmd_cancel(struct cli *cli, const struct args *args);
int cmd_pause(struct cli *cli, const struct args *args);
int cmd_resume(struct cli *cli, const struct args *args);
int cmd_retry(struct cli *cli, const struct args *args);
int cmd_clone(struct cli *cli, const struct args *args);
int cmd_approve(struct cli *cli, const struct args *args);
int cmd_reject(struct cli *cli, const struct args *args);
int cmd_apply(struct cli *cli, const struct args *args);
int cmd_diff(struct cli *cli, const struct args *args);
int cmd_validate(struct cli *cli, const struct args *args);
int cmd_plan(struct cli *cli, const struct args *args);
int cmd_list(struct cli *cli, const struct args *args);
int cmd_get(struct cli *cli, const struct args *args);
int cmd_events(struct cli *cli, const struct args *args);
int cmd_pipelines(struct cli *cli, const struct args *args);
int cmd_delete(struct cli *cli, const struct args *args);
int cmd_archive(struct cli *cli, const struct args *args);
int cmd_unarchive(struct cli *cli, const struct args *args);
int cmd_artifacts_ls(struct cli *cli, const struct args *args);
int cmd_artifacts_get(struct cli *cli, const struct args *args);
int cmd_artifacts_put(struct cli *cli, const struct args *args);
int cmd_backup(struct cli *cli, const struct args *args);
int cmd_restore(struct cli *cli, const struct args *args);
int cmd_config_list(struct cli *cli, const struct args *args);
int cmd_config_show(struct cli *cli, const struct args *args);
int cmd_config_set(struct cli *cli, const struct args *args);
int cmd_config_use(struct cli *cli, const struct args *args);
int cmd_config_delete(struct cli *cli, const struct args *args);
int cmd_queue(struct cli *cli, const struct args *args);
int cmd_queue_apply(struct cli *cli, const struct args *args);
int cmd_queue_delete(struct cli *cli, const struct args *args);
int cmd_gpus(struct cli *cli, const struct args *args);
int cmd_token_list(struct cli *cli, const struct args *args);
int cmd_token_create(struct cli *cli, const struct args *args);
int cmd_token_delete(struct cli *cli, const struct args *args);
int cmd_projects(struct cli *cli, const struct args *args);
int cmd_completion(struct cli *cli, const struct args *args);
int cmd_complete(int argc, char **argv); /* hidden: what the shells' completion asks */
int cmd_version(struct cli *cli, const struct args *args);
int cmd_help(struct cli *cli, const struct args *args);
int cmd_launcher(int argc, char **argv);
int cmd_serve(int argc, char **argv); /* serve.c */

#endif
