/* Finding and reading pipeline files: see files.h. */
#include "cli/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "engine/os/fs.h"

#define FILES_MOST 2000
#define DEPTH_MOST 16

static void keep(struct cli *cli, struct files *out, const char *path, bool found)
{
    if ((out->n & (out->n - 1)) == 0) {
        size_t size = sizeof *out->items, room = out->n ? out->n * 2 : 1;
        out->items = arena_grow(cli->arena, out->items, out->n * size, room * size);
    }
    out->items[out->n++] = (struct file){.path = path, .found = found};
}

static int by_name(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static bool is_yaml(const char *name)
{
    return str_ends(str_of(name), ".yaml") || str_ends(str_of(name), ".yml");
}

static bool search(struct cli *cli, struct files *out, const char *folder, unsigned depth, struct err *err)
{
    DIR *dir = opendir(folder);
    if (!dir) return err_set(err, ERR_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    const char **names = NULL;
    size_t n = 0, room = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        if (n == room) {
            room = room ? room * 2 : 64;
            names = arena_grow(cli->arena, names, n * sizeof *names, room * sizeof *names);
        }
        names[n++] = arena_printf(cli->arena, "%s/%s", folder, e->d_name).p;
    }
    closedir(dir);
    if (n) qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        if (lstat(names[i], &st) != 0) continue;
        if (S_ISREG(st.st_mode) && is_yaml(names[i])) keep(cli, out, names[i], true);
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MOST && !search(cli, out, names[i], depth + 1, err)) return false;
        if (out->n > FILES_MOST) return err_set(err, ERR_LIMIT, "more than %d files in %s", FILES_MOST, folder);
    }
    return true;
}

static bool collect_one(struct cli *cli, struct files *out, const char *path, struct err *err)
{
    struct stat st;
    if (strcmp(path, "-") == 0 || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        keep(cli, out, path, false); /* a missing one is said when it is read */
        return true;
    }
    size_t before = out->n, length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    const char *folder = arena_cstr(cli->arena, (struct str){path, length});
    if (!search(cli, out, folder, 0, err)) return false;
    return out->n > before || err_set(err, ERR_NOT_FOUND, "no .yaml file in %s", path);
}

static bool is_ours(struct str source)
{
    struct str line;
    while (str_split(&source, '\n', &line)) {
        struct str rest = line, key;
        if (str_split(&rest, ':', &key) && str_is(str_trim(key), "apiVersion") &&
            str_starts(str_trim(rest), "millrace/"))
            return true;
    }
    return false;
}

bool file_read(struct cli *cli, const char *path, struct file *out, struct err *err)
{
    out->path = path;
    return cli_read_file(cli->arena, path, PLAN_MAX_SOURCE, &out->source, err);
}

bool files_collect(struct cli *cli, const struct args *args, struct files *out, struct err *err)
{
    struct files all = {0};
    size_t at = 0;
    for (const char *path; (path = args_next(args, "filename", &at));) {
        if (!collect_one(cli, &all, path, err)) return false;
    }
    for (size_t i = 0; i < args->n_words; i++) {
        if (!collect_one(cli, &all, args->words[i], err)) return false;
    }
    if (!all.n) {
        err_set(err, ERR_NOT_FOUND, "no file was named");
        return err_hint(err, "millrace %s -f FILE|DIR", args->command->name);
    }
    size_t kept = 0;
    for (size_t i = 0; i < all.n; i++) {
        if (!file_read(cli, all.items[i].path, &all.items[i], err)) return false;
        if (!all.items[i].found || is_ours(all.items[i].source)) all.items[kept++] = all.items[i];
    }
    all.n = kept;
    if (!kept) return err_set(err, ERR_NOT_FOUND, "no Millrace file (apiVersion: millrace/v1) in the folder");
    *out = all;
    return true;
}

/* *path stays NULL when the folder does not say which file it means; the hint then names what there is. */
static bool main_file(struct cli *cli, const char *folder, const char **path, struct err *err)
{
    static const char *const usual[] = {"pipeline.yaml", "pipeline.yml"};
    struct stat st;
    for (size_t i = 0; i < 2; i++) {
        const char *file = arena_printf(cli->arena, "%s/%s", folder, usual[i]).p;
        if (stat(file, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        *path = file;
        return true;
    }
    DIR *dir = opendir(folder);
    if (!dir) return err_set(err, ERR_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    struct str names = STR("");
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir)) && n < 9;) {
        const char *file = arena_printf(cli->arena, "%s/%s", folder, e->d_name).p;
        if (e->d_name[0] == '.' || !is_yaml(e->d_name) || stat(file, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        if (n++ == 0) *path = file;
        names = arena_printf(cli->arena, "%.*s%s%s", STR_ARG(names), n > 1 ? ", " : "", e->d_name);
    }
    closedir(dir);
    if (n == 1) return true;
    *path = NULL;
    err_set(err, ERR_NOT_FOUND, n ? "%s has no pipeline.yaml but several YAML files" : "no .yaml file in %s", folder);
    return n ? err_hint(err, "name one of them: %.*s", STR_ARG(names)) : err_hint(err, "name a pipeline's file");
}

bool file_meant(struct cli *cli, const char *word, const char **path, struct err *err)
{
    struct stat st;
    bool is_path = strcmp(word, "-") == 0 || strcmp(word, ".") == 0 || strcmp(word, "..") == 0 || strchr(word, '/');
    bool exists = strcmp(word, "-") != 0 && stat(word, &st) == 0;
    *path = NULL;
    if (exists && S_ISDIR(st.st_mode)) {
        size_t n = strlen(word);
        while (n > 1 && word[n - 1] == '/')
            n--;
        /* A folder without a pipeline may have an applied pipeline's name. */
        return main_file(cli, arena_cstr(cli->arena, (struct str){word, n}), path, err) || !is_path;
    }
    if (is_path || is_yaml(word) || (exists && S_ISREG(st.st_mode)))
        *path = word; /* a missing one is said on reading */
    return true;
}

static const char *shown(const struct file *f)
{
    return strcmp(f->path, "-") == 0 ? "standard input" : f->path;
}

static bool uses(const struct plan *p, struct str name)
{
    for (uint32_t g = 1; g < p->n_graphs; g++)
        if (str_eq(p->graphs[g].name, name)) return true;
    return false;
}

bool file_single(const struct file *f, struct err *err)
{
    bool single = f->n_all < 2 || f->n_docs == f->n_all;
    for (size_t i = 1; single && i < f->n_docs; i++)
        single = uses(f->docs[0].plan, f->docs[i].name);
    if (single) return true;
    err_set(err, ERR_INVALID, "%s holds several pipelines: %.*s", shown(f), STR_ARG(f->names));
    return err_hint(err, "apply the file and name one of them, or give each a file of its own");
}

int file_fail(struct cli *cli, const struct file *f, const struct err_list *errors)
{
    return cli_fail_in(cli, errors, shown(f), f->source);
}

static bool needs_code(const struct plan *p)
{
    for (uint32_t g = 0; g < p->n_graphs; g++) {
        for (uint32_t i = 0; i < p->graphs[g].n_nodes; i++) {
            enum verb verb = p->graphs[g].nodes[i].verb;
            if (verb == VERB_RUN || verb == VERB_SCRIPT || verb == VERB_IMAGE || verb == VERB_PIPELINE) return true;
        }
    }
    return false;
}

const char *file_folder(struct cli *cli, const struct args *args, const struct file *f)
{
    const char *given = args_get(args, "bundle");
    if (given) return given;
    bool wanted = f->n_docs == 0; /* could not be compiled here */
    for (size_t i = 0; i < f->n_docs; i++)
        wanted = wanted || needs_code(f->docs[i].plan);
    if (!wanted || args_has(args, "no-bundle") || strcmp(f->path, "-") == 0) return NULL;
    const char *slash = strrchr(f->path, '/');
    if (!slash) return ".";
    return slash == f->path ? "/" : arena_cstr(cli->arena, (struct str){f->path, (size_t)(slash - f->path)});
}
