/* The table of commands: see commands.h. */
#include "cli/commands.h"

#include "cli/companion.h"
#include "engine/os/launcher.h"

#define END                                                                                                            \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }
#define FORMATS "table|json|yaml"

const struct option global_options[] = {
    {"server", 0, "URL", "the server, e.g. http://127.0.0.1:7070 (MILLRACE_URL)", NULL, WORD_ANY, false},
    {"token-file", 0, "FILE", "a file with the bearer token (MILLRACE_TOKEN holds a token itself)", NULL, WORD_FILE,
     false},
    {"project", 0, "NAME", "the project (MILLRACE_PROJECT; default: default)", NULL, WORD_ANY, false},
    {"context", 0, "NAME", "a context of the configuration file", NULL, WORD_CONTEXT, false},
    {"output", 'o', "FORMAT", "how to show the result", NULL, WORD_CHOICE, false},
    {"no-color", 0, NULL, "no colours, even on a terminal (NO_COLOR)", NULL, WORD_ANY, false},
    {"quiet", 'q', NULL, "only results, no notes", NULL, WORD_ANY, false},
    {"help", 'h', NULL, "help for the command", NULL, WORD_ANY, false},
    END,
};

#define PARAM_OPTIONS                                                                                                  \
    {"param", 'p', "KEY=VALUE", "a parameter; a list or map as JSON", NULL, WORD_ANY, true},                           \
        {"params-file", 0, "FILE", "parameters from a YAML or JSON file", NULL, WORD_FILE, false},                     \
        {"name", 0, "NAME", "a name for the run", NULL, WORD_ANY, false},                                              \
        {"label", 'l', "KEY=VALUE", "a label of the run", NULL, WORD_ANY, true},                                       \
    {                                                                                                                  \
        "ignore-resources", 0, "LIST", "resources that this machine need not have, e.g. gpu", NULL, WORD_ANY, true     \
    }
#define CODE_OPTIONS                                                                                                   \
    {"bundle", 0, "DIR", "the folder to pack as code (default: the file's)", NULL, WORD_FOLDER, false},                \
    {                                                                                                                  \
        "no-bundle", 0, NULL, "send no code", NULL, WORD_ANY, false                                                    \
    }
#define RUN_OPTIONS                                                                                                    \
    PARAM_OPTIONS, CODE_OPTIONS,                                                                                       \
        {"version", 0, "N", "a version of an applied pipeline (default: the newest)", NULL, WORD_ANY, false},          \
    {                                                                                                                  \
        "idempotency-key", 0, "KEY", "the same key submits only once", NULL, WORD_ANY, false                           \
    }
#define DETACH_OPTIONS                                                                                                 \
    {"watch", 'w', NULL, "follow the run to its end", NULL, WORD_ANY, false},                                          \
    {                                                                                                                  \
        "detach", 'd', NULL, "do not follow the run", NULL, WORD_ANY, false                                            \
    }

static const struct option run_options[] = {RUN_OPTIONS, DETACH_OPTIONS, END};
static const struct option submit_options[] = {RUN_OPTIONS, END};
static const struct option clone_options[] = {PARAM_OPTIONS, DETACH_OPTIONS, END};
static const struct option logs_options[] = {
    {"follow", 'f', NULL, "wait for more until the step ends", NULL, WORD_ANY, false},
    {"attempt", 0, "N", "an earlier attempt (default: the last)", NULL, WORD_ANY, false},
    {"tail", 'n', "LINES", "only so many lines from the end of each log", NULL, WORD_ANY, false},
    END,
};
static const struct option cancel_options[] = {
    {"grace", 0, "DURATION", "time between SIGTERM and SIGKILL, e.g. 10s", NULL, WORD_ANY, false},
    END,
};
static const struct option retry_options[] = {
    {"from", 0, "STEP", "run this step and all behind it again", NULL, WORD_STEP, false},
    {"bundle", 0, "DIR", "with the code in this folder", NULL, WORD_FOLDER, false},
    DETACH_OPTIONS,
    END,
};
static const struct option decide_options[] = {
    {"comment", 'm', "TEXT", "why", NULL, WORD_ANY, false},
    END,
};
static const struct option apply_options[] = {
    {"filename", 'f', "FILE|DIR", "a file, or a folder of .yaml files; - reads standard input", NULL, WORD_FILE, true},
    CODE_OPTIONS,
    END,
};
static const struct option validate_options[] = {
    {"filename", 'f', "FILE|DIR", "a file, or a folder of .yaml files; - reads standard input", NULL, WORD_FILE, true},
    END,
};
static const struct option plan_options[] = {
    {"version", 0, "N", "a version of an applied pipeline (default: the newest)", NULL, WORD_ANY, false},
    END,
};
static const struct option list_options[] = {
    {"state", 's', "STATE", "only runs in this state", "queued|running|paused|cancelling|succeeded|failed|cancelled",
     WORD_CHOICE, true},
    {"pipeline", 0, "NAME", "only runs of this pipeline", NULL, WORD_PIPELINE, false},
    {"label", 'l', "KEY=VALUE", "only runs with this label", NULL, WORD_ANY, true},
    {"filter", 0, "TEXT", "a filter as the REST API takes it", NULL, WORD_ANY, false},
    {"order-by", 0, "FIELD", "by this field, e.g. 'ended desc': created, ended, started, name, pipeline, …", NULL,
     WORD_ANY, false},
    {"limit", 'n', "N", "at most so many (default 20)", NULL, WORD_ANY, false},
    {"all", 'a', NULL, "all of them", NULL, WORD_ANY, false},
    {"archived", 0, NULL, "archived ones too", NULL, WORD_ANY, false},
    END,
};
static const struct option force_options[] = {
    {"yes", 'y', NULL, "do not ask", NULL, WORD_ANY, false},
    END,
};
static const struct option artifacts_ls_options[] = {
    {"type", 't', "TYPE", "only this type, e.g. model", NULL, WORD_ANY, false},
    {"filter", 0, "TEXT", "a filter as the REST API takes it, e.g. 'metadata.rows > 9'", NULL, WORD_ANY, false},
    {"limit", 'n', "N", "at most so many (default 100)", NULL, WORD_ANY, false},
    END,
};
static const struct option artifacts_get_options[] = {
    {"to", 'O', "PATH", "a file or folder to write to, - is stdout; a folder comes as .tar.gz", NULL, WORD_FILE, false},
    END,
};
static const struct option artifacts_put_options[] = {
    {"name", 0, "NAME", "its name", NULL, WORD_ANY, false},
    {"type", 't', "TYPE", "what it is, e.g. dataset", NULL, WORD_ANY, false},
    {"metadata", 0, "JSON", "an object with what else is to be known of it", NULL, WORD_ANY, false},
    END,
};
static const struct option backup_options[] = {
    {"secrets-dir", 0, "DIR", "the server's secrets (default: the folder that it uses)", NULL, WORD_FOLDER, false},
#define RESTORE_OPTIONS (backup_options + 1) /* which covers nothing */
    {"data-dir", 0, "DIR", "the server's data folder", NULL, WORD_FOLDER, false},
    {"store-dir", 0, "DIR", "its store, where it is not in the data folder", NULL, WORD_FOLDER, false},
    {"database-url", 0, "URL", "its database (DATABASE_URL; default: the embedded one)", NULL, WORD_ANY, false},
    {"artifact-store", 0, "PLACE", "where its artifacts are, as the server says it", NULL, WORD_ANY, false},
    END,
};
static const struct option context_options[] = {
    {"url", 0, "URL", "the server of the context", NULL, WORD_ANY, false},
    {"token-from", 0, "FILE", "the file that holds its token", NULL, WORD_FILE, false},
    {"default-project", 0, "NAME", "its project", NULL, WORD_ANY, false},
    END,
};
static const struct option token_options[] = {
    {"role", 0, "ROLE", "what it may do (default: viewer)", "viewer|operator|editor|admin", WORD_CHOICE, false},
    {"expires", 0, "DURATION", "how long it is good for, e.g. 30d (default: for ever)", NULL, WORD_ANY, false},
    END,
};
static const struct option queue_apply_options[] = {
    {"dry-run", 0, NULL, "only say what would change", NULL, WORD_ANY, false},
    END,
};
static const struct option help_options[] = {
    {"markdown", 0, NULL, "the whole reference as Markdown", NULL, WORD_ANY, false},
    END,
};

#define NEEDS_EDITOR "Code is sent with a FILE, a DIR or --bundle: that needs the role editor.\n"
static const char run_details[] =
    "A FILE is compiled, its folder is packed and uploaded once, and a run of it starts; a DIR means its\n"
    "pipeline.yaml, or its only YAML file; a NAME is an applied pipeline. Code that the file names by code.git is\n"
    "fetched here and goes instead of the folder. The run is followed to its end, and its outcome is the exit code.\n"
    "Ctrl-C stops following, not the run.\n" NEEDS_EDITOR "\n"
    "  millrace run pipelines/digits -p test_share=0.3\n"
    "  millrace run digits --detach";
static const char submit_details[] = "As `millrace run` does, but without following the run.\n" NEEDS_EDITOR "\n"
                                     "  run=$(millrace submit pipelines/digits)";
static const char apply_details[] =
    "Creates or updates what the files describe, and says what changed; nothing changes when nothing did.\n"
    "\n"
    "  millrace apply -f pipelines/digits\n"
    "  cat pipeline.yaml | millrace apply -f - --no-bundle";
static const char diff_details[] = "Stores nothing: of a folder only its digest is sent, and the files of "
                                   "sub-pipelines in it. Ends with 0 when apply\n"
                                   "would change nothing, with 9 when it would.\n"
                                   "\n"
                                   "  millrace diff pipelines/digits; test $? = 9 && millrace apply pipelines/digits";
static const char validate_details[] = "Needs no server. Every problem of a file is shown with its place.\n"
                                       "\n"
                                       "  millrace validate pipelines/digits/pipeline.yaml";
static const char plan_details[] = "Needs no server for a FILE or a DIR with a pipeline.yaml.\n"
                                   "\n"
                                   "  millrace plan pipeline.yaml -o dot | dot -Tsvg > plan.svg";
static const char get_details[] = "  millrace get 17\n"
                                  "  millrace get pipeline/digits -o yaml";
static const char logs_details[] = "Without a STEP: the logs of all steps, one behind the other.\n"
                                   "\n"
                                   "  millrace logs 17 train[0] -f";
static const char queue_apply_details[] =
    "All of a file or none; what is not in it stays as it is. pipelines/QUEUES.md describes the documents.\n"
    "\n"
    "  millrace queue apply queues.yaml";
static const char artifacts_details[] = "An interrupted download goes on where it stopped; the digest is verified.\n"
                                        "\n"
                                        "  millrace artifacts get 42\n"
                                        "  millrace artifacts get 17/report/confusion -O confusion.svg";
static const char put_details[] =
    "An interrupted upload goes on where it stopped. Pipelines take it by import: artifact:ID.\n"
    "\n"
    "  millrace artifacts put digits.csv --name digits --type dataset --metadata '{\"rows\": 1797}'";
static const char backup_details[] =
    "Runs on the server's machine, whether it runs or not. Database, artifacts, also those in S3, and logs fit each\n"
    "other. Not in it: millrace.conf and the secrets, checkpoints and working directories of steps, and the file with\n"
    "the first token, which the server writes anew; tokens stay good.";
static const char restore_details[] = "Into a new data folder. Digests are verified, and what ran then is run again.";
static const char completion_details[] = "  bash:  source <(millrace completion bash)\n"
                                         "  zsh:   millrace completion zsh > \"${fpath[1]}/_millrace\"\n"
                                         "  fish:  millrace completion fish | source";
static const char retry_details[] =
    "What failed runs again; with --from, so do that step and all that depend on it. A --bundle is mended code, not a\n"
    "mended pipeline, and needs the role editor.";

#define RUNS "Runs"
#define PIPELINES "Pipelines"
#define ARTIFACTS "Artifacts"
#define QUEUES "GPUs"
#define SERVER "Server"
#define SETUP "Set-up"
#define MANY COMMAND_MANY
#define FILES                                                                                                          \
    {                                                                                                                  \
        WORD_FILE, WORD_FILE                                                                                           \
    }
#define RUN_WORD                                                                                                       \
    {                                                                                                                  \
        WORD_RUN, WORD_RUN                                                                                             \
    }

const struct cli_command commands[] = {
    {"run",
     "FILE|DIR|NAME",
     1,
     1,
     {WORD_PIPELINE_OR_FILE},
     run_options,
     RUNS,
     "start a run and follow it",
     "operator",
     run_details,
     FORMATS,
     cmd_run,
     NULL},
    {"submit",
     "FILE|DIR|NAME",
     1,
     1,
     {WORD_PIPELINE_OR_FILE},
     submit_options,
     RUNS,
     "start a run and print its id",
     "operator",
     submit_details,
     FORMATS,
     cmd_submit,
     NULL},
    {"watch", "RUN", 1, 1, RUN_WORD, NULL, RUNS, "follow a run to its end", "viewer", NULL, FORMATS, cmd_watch, NULL},
    {"list",
     "",
     0,
     0,
     {WORD_ANY},
     list_options,
     RUNS,
     "list runs, newest first",
     "viewer",
     NULL,
     FORMATS,
     cmd_list,
     NULL},
    {"get", "RUN|pipeline/NAME", 1, 1, RUN_WORD, NULL, RUNS, "show a run with its tasks, or a pipeline", "viewer",
     get_details, FORMATS, cmd_get, NULL},
    {"events", "RUN", 1, 1, RUN_WORD, NULL, RUNS, "show a run's history", "viewer", NULL, FORMATS, cmd_events, NULL},
    {"logs",
     "RUN [STEP]",
     1,
     2,
     {WORD_RUN, WORD_STEP},
     logs_options,
     RUNS,
     "show what steps wrote",
     "viewer",
     logs_details,
     NULL,
     cmd_logs,
     NULL},
    {"cancel", "RUN…", 1, MANY, RUN_WORD, cancel_options, RUNS, "stop runs", "operator", NULL, NULL, cmd_cancel, NULL},
    {"pause", "RUN…", 1, MANY, RUN_WORD, NULL, RUNS, "start nothing new in runs", "operator", NULL, NULL, cmd_pause,
     NULL},
    {"resume", "RUN…", 1, MANY, RUN_WORD, NULL, RUNS, "let paused runs go on", "operator", NULL, NULL, cmd_resume,
     NULL},
    {"retry", "RUN", 1, 1, RUN_WORD, retry_options, RUNS, "run again what failed", "operator", retry_details, FORMATS,
     cmd_retry, NULL},
    {"clone", "RUN", 1, 1, RUN_WORD, clone_options, RUNS, "start a run like another, with other parameters", "operator",
     NULL, FORMATS, cmd_clone, NULL},
    {"approve",
     "RUN STEP",
     2,
     2,
     {WORD_RUN, WORD_STEP},
     decide_options,
     RUNS,
     "let an approval step succeed",
     "operator",
     NULL,
     NULL,
     cmd_approve,
     NULL},
    {"reject",
     "RUN STEP",
     2,
     2,
     {WORD_RUN, WORD_STEP},
     decide_options,
     RUNS,
     "let an approval step fail",
     "operator",
     NULL,
     NULL,
     cmd_reject,
     NULL},
    {"archive", "RUN…", 1, MANY, RUN_WORD, NULL, RUNS, "hide ended runs from lists", "operator", NULL, NULL,
     cmd_archive, NULL},
    {"unarchive", "RUN…", 1, MANY, RUN_WORD, NULL, RUNS, "show archived runs again", "operator", NULL, NULL,
     cmd_unarchive, NULL},
    {"delete", "RUN|pipeline/NAME…", 1, MANY, RUN_WORD, force_options, RUNS, "delete ended runs or a pipeline",
     "editor", NULL, NULL, cmd_delete, NULL},

    {"apply", "[FILE|DIR…]", 0, MANY, FILES, apply_options, PIPELINES, "create or update from files", "editor",
     apply_details, FORMATS, cmd_apply, NULL},
    {"diff", "[FILE|DIR…]", 0, MANY, FILES, apply_options, PIPELINES, "show what apply would change", "viewer",
     diff_details, FORMATS, cmd_diff, NULL},
    {"validate", "[FILE|DIR…]", 0, MANY, FILES, validate_options, PIPELINES, "check files", NULL, validate_details,
     FORMATS, cmd_validate, NULL},
    {"plan",
     "FILE|DIR|NAME",
     1,
     1,
     {WORD_PIPELINE_OR_FILE},
     plan_options,
     PIPELINES,
     "show the steps and their order",
     "viewer",
     plan_details,
     "table|json|yaml|dot|mermaid",
     cmd_plan,
     NULL},
    {"pipelines",
     "[NAME]",
     0,
     1,
     {WORD_PIPELINE},
     NULL,
     PIPELINES,
     "list pipelines, or the versions of one",
     "viewer",
     NULL,
     FORMATS,
     cmd_pipelines,
     NULL},

    {"artifacts ls", "[RUN]", 0, 1, RUN_WORD, artifacts_ls_options, ARTIFACTS, "list artifacts, of a run or the newest",
     "viewer", NULL, FORMATS, cmd_artifacts_ls, NULL},
    {"artifacts get",
     "ID|RUN/STEP/OUTPUT",
     1,
     1,
     {WORD_ANY},
     artifacts_get_options,
     ARTIFACTS,
     "download an artifact",
     "viewer",
     artifacts_details,
     NULL,
     cmd_artifacts_get,
     NULL},
    {"artifacts put", "FILE|DIR", 1, 1, FILES, artifacts_put_options, ARTIFACTS, "upload an artifact and print its id",
     "editor", put_details, FORMATS, cmd_artifacts_put, NULL},

    {"queue",
     "[QUEUE]",
     0,
     1,
     {WORD_ANY},
     NULL,
     QUEUES,
     "show queues and their use, or who is in one, and why",
     "viewer",
     NULL,
     FORMATS,
     cmd_queue,
     NULL},
    {"queue apply", "FILE…", 1, MANY, FILES, queue_apply_options, QUEUES, "declare flavors of GPUs, and queues",
     "admin", queue_apply_details, FORMATS, cmd_queue_apply, NULL},
    {"queue delete",
     "QUEUE|flavor/NAME…",
     1,
     MANY,
     {WORD_ANY, WORD_ANY},
     NULL,
     QUEUES,
     "delete queues or flavors",
     "admin",
     NULL,
     NULL,
     cmd_queue_delete,
     NULL},
    {"gpus",
     "",
     0,
     0,
     {WORD_ANY},
     NULL,
     QUEUES,
     "show nodes, their GPUs, and who has them",
     "viewer",
     NULL,
     FORMATS,
     cmd_gpus,
     NULL},

    {"serve", "[OPTIONS]", 0, 0, {WORD_ANY}, NULL, SERVER, "run the server", NULL, NULL, NULL, NULL, cmd_serve},
    {LAUNCHER_COMMAND,
     "",
     0,
     0,
     {WORD_ANY},
     NULL,
     NULL,
     "watch local steps for the server",
     NULL,
     NULL,
     NULL,
     NULL,
     cmd_launcher},
    {COMPANION_COMMAND,
     "fetch|collect PLAN WORKDIR MESSAGE",
     0,
     MANY,
     {WORD_ANY},
     NULL,
     NULL,
     "move the data of a step in a pod",
     NULL,
     NULL,
     NULL,
     NULL,
     cmd_companion},
    {"backup",
     "DIR",
     1,
     1,
     {WORD_FOLDER},
     backup_options,
     SERVER,
     "save the database, the artifacts and the logs",
     NULL,
     backup_details,
     NULL,
     cmd_backup,
     NULL},
    {"restore",
     "DIR",
     1,
     1,
     {WORD_FOLDER},
     RESTORE_OPTIONS,
     SERVER,
     "bring a backup back",
     NULL,
     restore_details,
     NULL,
     cmd_restore,
     NULL},
    {"token list", "", 0, 0, {WORD_ANY}, NULL, SERVER, "list tokens", "admin", NULL, FORMATS, cmd_token_list, NULL},
    {"token create",
     "NAME",
     1,
     1,
     {WORD_ANY},
     token_options,
     SERVER,
     "make a token and print it, once",
     "admin",
     NULL,
     FORMATS,
     cmd_token_create,
     NULL},
    {"token delete",
     "ID…",
     1,
     MANY,
     {WORD_ANY},
     NULL,
     SERVER,
     "delete tokens",
     "admin",
     NULL,
     NULL,
     cmd_token_delete,
     NULL},
    {"projects", "", 0, 0, {WORD_ANY}, NULL, SERVER, "list projects", "viewer", NULL, FORMATS, cmd_projects, NULL},

    {"config list", "", 0, 0, {WORD_ANY}, NULL, SETUP, "list contexts", NULL, NULL, FORMATS, cmd_config_list, NULL},
    {"config show",
     "",
     0,
     0,
     {WORD_ANY},
     NULL,
     SETUP,
     "show which server and project are used, and why",
     NULL,
     NULL,
     FORMATS,
     cmd_config_show,
     NULL},
    {"config set",
     "NAME",
     1,
     1,
     {WORD_CONTEXT},
     context_options,
     SETUP,
     "create or change a context",
     NULL,
     NULL,
     NULL,
     cmd_config_set,
     NULL},
    {"config use",
     "NAME",
     1,
     1,
     {WORD_CONTEXT},
     NULL,
     SETUP,
     "use a context from now on",
     NULL,
     NULL,
     NULL,
     cmd_config_use,
     NULL},
    {"config delete",
     "NAME",
     1,
     1,
     {WORD_CONTEXT},
     NULL,
     SETUP,
     "delete a context",
     NULL,
     NULL,
     NULL,
     cmd_config_delete,
     NULL},
    {"completion",
     "bash|zsh|fish",
     1,
     1,
     {WORD_ANY},
     NULL,
     SETUP,
     "print a shell's completion script",
     NULL,
     completion_details,
     NULL,
     cmd_completion,
     NULL},
    {"version",
     "",
     0,
     0,
     {WORD_ANY},
     NULL,
     SETUP,
     "show this program's version and the server's",
     NULL,
     NULL,
     FORMATS,
     cmd_version,
     NULL},
    {"help",
     "[COMMAND]",
     0,
     2,
     {WORD_COMMAND, WORD_COMMAND},
     help_options,
     SETUP,
     "show help",
     NULL,
     NULL,
     NULL,
     cmd_help,
     NULL},
    {"__complete",
     "",
     0,
     MANY,
     {WORD_ANY},
     NULL,
     NULL,
     "candidates for a shell's completion",
     NULL,
     NULL,
     NULL,
     NULL,
     cmd_complete},
};
const size_t n_commands = sizeof commands / sizeof *commands;
