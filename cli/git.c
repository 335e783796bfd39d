/* Code that a pipeline names in a git repository: fetched here, where its user's own access works, and then sent like
 * any folder, so that a run has exactly the commit that was found now. */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/cli.h"
#include "cli/files.h"
#include "engine/base/buf.h"
#include "engine/os/fs.h"

extern char **environ;

/* What git says goes to standard error, where its user looks. */
static bool git_run(char *const argv[], struct err *err)
{
    pid_t pid;
    int status = 0, failed = posix_spawnp(&pid, "git", NULL, NULL, argv, environ);
    if (failed) {
        err_set(err, ERR_UNAVAILABLE, "cannot start git: %s", strerror(failed));
        return err_hint(err, "install git, or give the code's folder with --bundle");
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    return err_set(err, ERR_UNAVAILABLE, "git %s failed", argv[3]);
}

static bool fetch(struct cli *cli, const struct value *git, char *folder, struct err *err)
{
    const struct value *url = value_get(git, "url"), *ref = value_get(git, "ref");
    char program[] = "git", at[] = "-C", init[] = "init", quiet[] = "-q", get[] = "fetch", depth[] = "--depth=1",
         end[] = "--", checkout[] = "checkout", detach[] = "--detach", found[] = "FETCH_HEAD", head[] = "HEAD";
    char *from = arena_cstr(cli->arena, url->u.s), *what = ref ? arena_cstr(cli->arena, ref->u.s) : head;
    char *make[] = {program, at, folder, init, quiet, NULL};
    char *bring[] = {program, at, folder, get, quiet, depth, end, from, what, NULL};
    char *show[] = {program, at, folder, checkout, quiet, detach, found, NULL};
    setenv("GIT_TERMINAL_PROMPT", "0", 0);
    if (!git_run(make, err)) return false;
    if (!git_run(bring, err) || !git_run(show, err)) {
        err_set(err, ERR_NOT_FOUND, "the code %s at %s cannot be fetched; git says why", from, what);
        err_path(err, "code.git");
        return err_hint(err,
                        "mend the url or the ref (a branch, a tag or a whole commit), or give a folder by --bundle");
    }
    BUF_AUTO commit;
    buf_init(&commit, 200);
    if (!fs_read(arena_printf(cli->arena, "%s/.git/HEAD", folder).p, 100, &commit, err)) return false;
    cli_note(cli, "the code is commit %.*s of %s", STR_ARG(str_trim(buf_view(&commit))), from);
    return true;
}

/* What is done with the folder of the code. `looked_at`: the file whose parts are read from it; NULL = it is sent. */
static bool use_folder(struct cli *cli, const char *folder, struct file *looked_at, const char **digest,
                       struct err *err)
{
    if (!looked_at) return bundle_send(cli, folder, digest, err);
    for (size_t i = 0; i < looked_at->n_parts; i++) {
        struct file_part *part = &looked_at->parts[i];
        struct err ignored; /* the server says that it is missing, as when the file is applied */
        const char *path = arena_printf(cli->arena, "%s/%s", folder, part->name).p;
        if (!cli_read_file(cli->arena, path, PLAN_MAX_SOURCE, &part->text, &ignored)) part->text = (struct str){0};
    }
    return bundle_look(cli, folder, digest, err);
}

static bool use_git(struct cli *cli, const struct value *git, struct file *looked_at, const char **digest,
                    struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    char *folder = arena_cstr(cli->arena, arena_printf(cli->arena, "%s/millrace-code-XXXXXX", tmp ? tmp : "/tmp"));
    struct err ignored;
    if (!mkdtemp(folder)) return err_set(err, ERR_IO, "cannot make %s: %s", folder, strerror(errno));
    bool ok = fetch(cli, git, folder, err) && use_folder(cli, folder, looked_at, digest, err);
    if (!fs_remove_tree(folder, &ignored)) cli_note(cli, "%s is left: %s", folder, ignored.message);
    return ok;
}

static bool use_code(struct cli *cli, const struct args *args, const struct file *f, struct file *looked_at,
                     const char **digest, struct err *err)
{
    const struct value *git = NULL;
    *digest = NULL;
    for (size_t i = 0; i < f->n_docs; i++) {
        const struct value *here = &f->docs[i].plan->git;
        if (i > 0 && here->type != VALUE_NULL && (!git || !value_eq(git, here))) {
            err_set(err, ERR_INVALID, "the documents of %s name different code", f->path);
            err_path(err, "code.git");
            return err_hint(err, "give each a file of its own");
        }
        if (here->type != VALUE_NULL) git = here;
    }
    if (git && !args_has(args, "bundle") && !args_has(args, "no-bundle"))
        return use_git(cli, git, looked_at, digest, err);
    const char *folder = file_folder(cli, args, f);
    return !folder || use_folder(cli, folder, looked_at, digest, err);
}

bool file_send_code(struct cli *cli, const struct args *args, const struct file *f, const char **digest,
                    struct err *err)
{
    return use_code(cli, args, f, NULL, digest, err);
}

bool file_look_at_code(struct cli *cli, const struct args *args, struct file *f, const char **digest, struct err *err)
{
    return use_code(cli, args, f, f, digest, err);
}
