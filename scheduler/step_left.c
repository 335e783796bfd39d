/* See step_left.h. */
#include "scheduler/step_left.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/blob/bundle.h"
#include "engine/os/fs.h"
#include "engine/store/artifacts.h"
#include "scheduler/step_env.h"
#include "scheduler/step_value.h"

#define PARAM_MAX ((size_t)64 << 10) /* read as ARTIFACT_METADATA_MAX, too */
#define METADATA ".metadata.json"    /* behind an artifact's path: where a step tells about it */
#define SECRETIVE "holds a secret, and outputs are recorded"

struct reading {
    const struct step_reader *r;
    struct arena *arena;
    struct step_left *left;
};

const struct step_output *step_outputs_of(struct arena *a, const struct launch_spec *spec)
{
    const struct node *n = spec->node;
    struct step_output *all = arena_array(a, struct step_output, n->n_outputs + 1);
    for (size_t i = 0; i < n->n_outputs; i++) {
        const struct output *o = &n->outputs[i];
        all[i] = (struct step_output){.name = arena_str(a, o->name),
                                      .type = arena_str(a, o->artifact_type),
                                      .path = step_beneath(a, spec, o->path),
                                      .kind = o->kind,
                                      .param = o->type,
                                      .optional = o->optional};
    }
    return all;
}

struct exec_output *step_artifacts_copy(struct arena *a, const struct exec_output *items, size_t n)
{
    struct exec_output *copy = arena_array(a, struct exec_output, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct exec_output *o = &items[i];
        copy[i] = (struct exec_output){arena_str(a, o->name), arena_str(a, o->type), arena_str(a, o->digest),
                                       arena_str(a, o->metadata), o->size};
    }
    return copy;
}

static void fail(struct reading *a, enum failure f, enum reason r, struct str message)
{
    a->left->result.ok = false;
    a->left->result.failure = f;
    a->left->result.reason = r;
    a->left->result.message = message;
}

static bool missing(struct reading *a, const struct step_output *w, const char *what)
{
    fail(a, FAILURE_ERROR, REASON_OUTPUT,
         arena_printf(a->arena, "exited with code 0, but its output '%.*s' (%.*s) %s", STR_ARG(w->name),
                      STR_ARG(w->path), what));
    return false;
}

static bool read_text(struct reading *a, int fd, const struct step_output *w, struct str *out)
{
    char *p = arena_alloc(a->arena, PARAM_MAX + 2);
    size_t n = 0, bad;
    for (ssize_t got; n <= PARAM_MAX && (got = read(fd, p + n, PARAM_MAX + 1 - n)) != 0; n += (size_t)got)
        if (got < 0) return missing(a, w, strerror(errno));
    if (n > PARAM_MAX)
        return missing(a, w,
                       w->kind == IO_PARAM ? "is longer than 64 KiB: make it an artifact" : "is longer than 64 KiB");
    *out = step_text((struct str){p, n});
    if (!utf8_valid(*out, &bad) || memchr(p, '\0', out->n) != NULL)
        return missing(a, w, w->kind == IO_PARAM ? "is not UTF-8 text: make it an artifact" : "is not UTF-8 text");
    return !mask_holds(a->r->mask, *out) || missing(a, w, SECRETIVE);
}

static bool typed(struct reading *a, const struct step_output *w, struct str text, struct value *out)
{
    const char *why;
    size_t depth = w->kind == IO_ARTIFACT ? ARTIFACT_METADATA_DEPTH : 0;
    return step_value(a->arena, w->param, text, depth, out, &why) || missing(a, w, why);
}

static int open_output(struct reading *a, int dir, const struct step_output *w)
{
    return fs_open_beneath(dir, arena_cstr(a->arena, w->path), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
}

/* By errno. */
static bool cannot_open(struct reading *a, const struct step_output *w)
{
    return missing(a, w,
                   errno == ENOENT  ? "was not written"
                   : errno == EXDEV ? "is a link that leads out of the working directory"
                                    : strerror(errno));
}

static bool collect_value(struct reading *a, int fd, const struct step_output *w, struct value *out)
{
    struct str text;
    return read_text(a, fd, w, &text) && typed(a, w, text, out);
}

static bool collect_param(struct reading *a, int fd, const struct step_output *w, struct jsonw *out)
{
    struct value v;
    if (!collect_value(a, fd, w, &v)) return false;
    jsonw_key_str(out, w->name);
    jsonw_value(out, &v);
    return true;
}

/* A folder becomes a packed one. */
static bool store_folder(struct reading *a, int fd, char digest[DIGEST_TEXT], int64_t *size, struct err *err)
{
    char path[64];
    int packed = open(a->r->workdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct bundle_stats stats;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (packed < 0) return err_set(err, ERR_IO, "cannot pack a folder: %s", strerror(errno));
    bool ok = bundle_pack(path, packed, &bundle_of_artifact, &stats, err) && lseek(packed, 0, SEEK_SET) == 0 &&
              a->r->keep(a->r->ctx, packed, digest, size, err);
    close(packed);
    return ok;
}

/* The object that the step wrote about the artifact, if it did, and whether it is a packed folder. */
static bool collect_metadata(struct reading *a, int dir, bool folder, const struct step_output *of, struct str *out)
{
    const struct step_output w = {.name = of->name,
                                  .path = arena_printf(a->arena, "%.*s" METADATA, STR_ARG(of->path)),
                                  .kind = IO_ARTIFACT,
                                  .param = PARAM_MAP};
    struct value v = {.type = VALUE_MAP};
    struct value_map_builder map;
    struct stat st;
    FD_AUTO fd = open_output(a, dir, &w);
    if (fd < 0 && errno != ENOENT && errno != ENAMETOOLONG) return cannot_open(a, &w);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) return missing(a, &w, "is not a file");
    if (fd >= 0 && !collect_value(a, fd, &w, &v)) return false;
    if (value_get(&v, "folder")) return missing(a, &w, "may not have a member 'folder': that is said for it");
    value_map_begin(&map, a->arena);
    for (size_t i = 0; i < v.u.map.n; i++)
        value_map_put(&map, v.u.map.entries[i].key, v.u.map.entries[i].value);
    if (folder) value_map_put(&map, STR("folder"), value_bool(true));
    v = value_map_end(&map);
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, &v, false);
    *out = arena_str(a->arena, buf_view(&text));
    return true;
}

static bool collect_artifact(struct reading *a, int fd, bool folder, struct str metadata, const struct step_output *w,
                             struct jsonw *out)
{
    struct err err = {0};
    char digest[DIGEST_TEXT];
    int64_t size = 0;
    bool ok = folder ? store_folder(a, fd, digest, &size, &err) : a->r->keep(a->r->ctx, fd, digest, &size, &err);
    if (!ok && (err.code == ERR_INVALID || err.code == ERR_TOO_LARGE || err.code == ERR_CONFLICT))
        return missing(a, w, arena_printf(a->arena, "cannot be kept: %s", err.message).p);
    if (!ok) {
        fail(a, FAILURE_INFRA, REASON_INFRA,
             arena_printf(a->arena, "its output '%.*s' could not be stored: %s", STR_ARG(w->name), err.message));
        return false;
    }
    struct exec_output *o = &a->left->artifacts[a->left->n_artifacts++];
    *o = (struct exec_output){.name = w->name,
                              .type = w->type,
                              .digest = arena_str(a->arena, str_of(digest)),
                              .metadata = metadata,
                              .size = size};
    jsonw_key_str(out, w->name);
    jsonw_object(out);
    jsonw_kv_str(out, "artifact", o->type);
    jsonw_kv_str(out, "digest", o->digest);
    jsonw_kv_int(out, "size", size);
    jsonw_kv_str(out, "name", w->name);
    if (folder) jsonw_kv_bool(out, "folder", true);
    jsonw_object_end(out);
    return true;
}

static bool collect_one(struct reading *a, int dir, const struct step_output *w, struct jsonw *out)
{
    struct stat st;
    struct str metadata;
    FD_AUTO fd = open_output(a, dir, w);
    if (fd < 0) return (errno == ENOENT && w->optional) || cannot_open(a, w);
    if (fstat(fd, &st) != 0) return missing(a, w, strerror(errno));
    bool file = S_ISREG(st.st_mode), folder = S_ISDIR(st.st_mode);
    if (w->kind == IO_PARAM) return file ? collect_param(a, fd, w, out) : missing(a, w, "is not a file");
    if (!file && !folder) return missing(a, w, "is neither a file nor a folder");
    return collect_metadata(a, dir, folder, w, &metadata) && collect_artifact(a, fd, folder, metadata, w, out);
}

void step_left_read(const struct step_reader *r, struct step_left *out)
{
    struct reading a = {.r = r, .arena = r->arena, .left = out};
    BUF_AUTO text;
    struct jsonw w;
    *out = (struct step_left){.artifacts = arena_array(r->arena, struct exec_output, r->n_outputs + 1)};
    buf_init(&text, 0);
    jsonw_to_buf(&w, &text);
    int dir = open(r->workdir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        fail(&a, FAILURE_INFRA, REASON_INFRA,
             arena_printf(r->arena, "its working directory is gone: %s", strerror(errno)));
        return;
    }
    jsonw_object(&w);
    bool ok = true;
    for (size_t i = 0; i < r->n_outputs && ok; i++)
        ok = collect_one(&a, dir, &r->outputs[i], &w);
    close(dir);
    jsonw_object_end(&w);
    if (!ok) return;
    out->result.ok = jsonw_end(&w);
    out->result.outputs = arena_str(r->arena, buf_view(&text));
}
