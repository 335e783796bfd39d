/* The tools of reading: errors with paths, maps by table, lists. */
#include "engine/flow/spec.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"

static void path_text(struct buf *out, const struct spec_at *at)
{
    if (!at) return;
    path_text(out, at->up);
    if (at->index != SIZE_MAX)
        buf_printf(out, "[%zu]", at->index);
    else
        buf_printf(out, "%s%.*s", out->n ? "." : "", STR_ARG(at->key));
}

struct str spec_path(struct arena *a, const struct spec_at *at)
{
    BUF_AUTO out;
    buf_init(&out, 4096);
    path_text(&out, at);
    return arena_str(a, buf_view(&out));
}

struct err *spec_error(struct spec *s, const struct spec_at *at, const struct value *v, const char *fmt, ...)
{
    struct err *e = err_list_next(s->errors);
    char text[sizeof e->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(e, ERR_INVALID, "%s", text);
    err_path(e, "%.*s", STR_ARG(spec_path(s->arena, at)));
    if (v)
        err_at(e, v->at, 0);
    else if (at && at->index == SIZE_MAX)
        err_at(e, at->key_at, (uint32_t)utf8_count(at->key));
    if (v && v->style == STYLE_PLAIN && v->type == VALUE_STRING) e->len = (uint32_t)utf8_count(v->u.s);
    return e;
}

struct example {
    const char *field, *text;
};

static const struct example of_steps[] = {
    {"command", "[python, train.py]"},
    {"args", "[--epochs, \"3\"]"},
    {"env", "{NAME: value}"},
    {"inputs", "{data: '${{ steps.prepare.outputs.data }}'}"},
    {"outputs", "{model: {path: model.pt}}"},
    {"resources", "{cpu: 2, memory: 4Gi, gpu: 1}"},
    {"volumes", "[{path: /data, claim: NAME}]"},
    {"tolerations", "[{key: nvidia.com/gpu, operator: Exists}]"},
    {"nodeSelector", "{disktype: ssd}"},
    {"labels", "{team: vision}"},
    {"annotations", "{example.org/owner: me}"},
    {"envFrom", "[{secret: NAME}]"},
    {"imagePullSecrets", "[NAME]"},
    {"securityContext", "{runAsUser: 1000}"},
};

static const struct example of_documents[] = {
    {"params", "{epochs: 3}"},
    {"labels", "{team: vision}"},
    {"outputs", "{model: '${{ steps.train.outputs.model }}'}"},
    {"nodes", "{kubernetes.io/hostname: gpu-1}"},
    {"tolerations", "[{key: nvidia.com/gpu}]"},
    {"shared", "4, into how many parts each GPU is divided"},
    {"quota", "{h100: 4, cpu: 64}"},
    {"borrow", "{h100: 2}"},
    {"lend", "{h100: 2}"},
    {"preemption", "{within: lower, reclaim: any}"},
};

/* Of a step's field, or a document's; within them other things may have the same names. NULL = none. */
static const char *example_of(const struct spec_at *at)
{
    const struct spec_at *up = at ? at->up : NULL, *steps = up ? up->up : NULL;
    bool step = steps && !steps->up && (str_is(steps->key, "steps") || str_is(steps->key, "onExit"));
    step |= up && !steps && str_is(up->key, "defaults");
    if (!at || (up && !step)) return NULL;
    const struct example *all = step ? of_steps : of_documents;
    for (size_t i = 0; i < (step ? SPEC_COUNT(of_steps) : SPEC_COUNT(of_documents)); i++)
        if (str_is(at->key, all[i].field)) return all[i].text;
    return NULL;
}

struct err *spec_expected(struct spec *s, const struct spec_at *at, const struct value *v, const char *what)
{
    static const char *const articles[] = {"nothing", "a bool", "an int", "a double", "a string", "a list", "a map"};
    struct err *e = spec_error(s, at, v, "expected %s, found %s", what, articles[v->type]);
    const char *example = example_of(at);
    if (example) err_hint(e, "for example %.*s: %s", STR_ARG(at->key), example);
    return e;
}

void spec_adopt(struct spec *s, const struct spec_at *at, const struct value *v, const struct err *e)
{
    struct err *slot = err_list_next(s->errors);
    *slot = *e;
    char within[sizeof slot->path];
    memcpy(within, slot->path, sizeof within); /* of a part of the value: [2] */
    err_path(slot, "%.*s%.100s", STR_ARG(spec_path(s->arena, at)), within);
    if (v && slot->at.line == 0) slot->at = v->at;
    bool whole = v && slot->at.line == v->at.line && slot->at.col == v->at.col && v->style == STYLE_PLAIN;
    if (whole && slot->len == 0 && v->type == VALUE_STRING) slot->len = (uint32_t)utf8_count(v->u.s);
}

void spec_suggest(struct err *e, struct str word, const struct str *names, size_t n)
{
    struct str near = suggest(word, names, n);
    if (near.n) {
        err_hint(e, "did you mean '%.*s'?", STR_ARG(near));
        return;
    }
    BUF_AUTO all;
    buf_init(&all, 0);
    size_t told = 0;
    for (; told < n && told < 16 && all.n + names[told].n < 160; told++)
        buf_printf(&all, "%s%.*s", told ? ", " : "", STR_ARG(names[told]));
    if (told) err_hint(e, "known here: %s%s", all.p, told < n ? ", …" : "");
}

static bool allowed(const struct spec_field *f, unsigned variant)
{
    return f->mask == 0 || variant == 0 || (f->mask & variant) != 0;
}

static const struct spec_field *field_named(const struct spec_field *fields, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (fields[i].name[0] == (key.n ? key.p[0] : '\0') && str_is(key, fields[i].name)) return &fields[i];
    }
    return NULL;
}

/* What other tools call it. */
static struct str translated(struct str key)
{
    static const struct {
        const char *words[6], *field;
    } rows[] = {
        {{"cmd", "exec", "execute", "shell", "bash", "sh"}, "run"},
        {{"if", "condition", "only_if", "onlyIf"}, "when"},
        {{"depends", "depends_on", "dependsOn", "dependencies", "requires", "upstream"}, "needs"},
        {{"for", "loop", "matrix", "with_items", "withItems", "each"}, "foreach"},
        {{"environment", "variables", "vars"}, "env"},
        {{"working_directory", "working-directory", "workingDir", "cwd", "dir"}, "workdir"},
        {{"parameters", "arguments", "inputs"}, "params"},
        {{"tasks", "jobs", "stages"}, "steps"},
        {{"json", "data", "payload"}, "body"},
        {{"attempts", "max_attempts", "maxAttempts", "count", "times"}, "limit"},
        {{"mountPath", "mount_path", "mount", "target", "destination"}, "path"},
        {{"persistentVolumeClaim", "claimName", "pvc"}, "claim"},
        {{"emptyDir"}, "scratch"},
        {{"delay", "interval", "base", "factor", "jitter"}, "backoff"},
    };
    for (size_t i = 0; i < SPEC_COUNT(rows); i++)
        for (size_t k = 0; k < SPEC_COUNT(rows[i].words) && rows[i].words[k]; k++)
            if (str_is(key, rows[i].words[k])) return str_of(rows[i].field);
    return STR("");
}

/* What a key that cannot stand there is likely to mean: a field that can, and is not there; NULL = no idea. */
static const struct spec_field *likely(const struct value *map, struct str key, const struct spec_field *fields,
                                       size_t n, unsigned variant)
{
    struct str names[64], near = translated(key);
    size_t n_names = 0;
    for (size_t i = 0; i < n && n_names < SPEC_COUNT(names); i++)
        if (allowed(&fields[i], variant)) names[n_names++] = str_of(fields[i].name);
    const struct spec_field *field = near.n ? field_named(fields, n, near) : NULL;
    if (!field || !allowed(field, variant)) near = suggest(key, names, n_names);
    return near.n && !value_find(map, near) ? field_named(fields, n, near) : NULL;
}

#define LOOKED_AT 64 /* keys of one map: who has more of them has other troubles than their spelling */

bool spec_misspelled(const struct value *map, const struct spec_field *fields, size_t n, const char *name)
{
    for (size_t i = 0; map->type == VALUE_MAP && i < map->u.map.n && i < LOOKED_AT; i++) {
        struct str key = map->u.map.entries[i].key;
        const struct spec_field *meant = field_named(fields, n, key) ? NULL : likely(map, key, fields, n, 0);
        if (meant && strcmp(meant->name, name) == 0) return true;
    }
    return false;
}

static void unknown_key(struct spec *s, const struct spec_at *here, const struct spec_field *fields, size_t n,
                        unsigned variant, const struct spec_field *meant)
{
    struct str names[64], key = here->key;
    size_t n_names = 0;
    for (size_t i = 0; i < n && n_names < SPEC_COUNT(names); i++)
        if (allowed(&fields[i], variant)) names[n_names++] = str_of(fields[i].name);
    struct err *e = spec_error(s, here, NULL, "unknown key '%.*s'", (int)(key.n > 80 ? 80 : key.n), key.p);
    if (meant)
        err_hint(e, "did you mean '%s'?", meant->name);
    else
        spec_suggest(e, key, names, n_names);
}

/* Whatever is wrong with it may be so for the guess only. */
static void read_as(struct spec *s, const struct spec_at *here, const struct value *v, const struct spec_field *meant,
                    void *target)
{
    size_t kept = s->errors->n, total = s->errors->total;
    if (meant->read) meant->read(s, here, v, (char *)target + meant->offset);
    s->errors->n = kept;
    s->errors->total = total;
}

static void one_field(struct spec *s, const struct spec_at *at, const struct value *map,
                      const struct value_entry *entry, const struct spec_field *fields, size_t n, unsigned variant,
                      const char *what, void *target)
{
    const struct spec_field *field = field_named(fields, n, entry->key);
    struct spec_at here = {at, entry->key, SIZE_MAX, entry->key_at};
    if (field && allowed(field, variant)) {
        if (field->read) field->read(s, &here, &entry->value, (char *)target + field->offset);
        return;
    }
    const struct spec_field *meant = likely(map, entry->key, fields, n, variant);
    if (!field) {
        unknown_key(s, &here, fields, n, variant, meant);
        if (meant) read_as(s, &here, &entry->value, meant, target);
        return;
    }
    struct err *e = spec_error(s, &here, NULL, "'%s' means nothing in %s", field->name, what);
    if (meant) err_hint(e, "did you mean '%s'?", meant->name);
}

bool spec_fields(struct spec *s, const struct spec_at *at, const struct value *v, const struct spec_field *fields,
                 size_t n, unsigned variant, const char *what, void *target)
{
    if (v->type != VALUE_MAP) {
        spec_expected(s, at, v, "a map");
        return false;
    }
    for (size_t i = 0; i < v->u.map.n && !err_list_full(s->errors); i++)
        one_field(s, at, v, &v->u.map.entries[i], fields, n, variant, what, target);
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].required || !allowed(&fields[i], variant) || value_get(v, fields[i].name)) continue;
        if (spec_misspelled(v, fields, n, fields[i].name)) continue;
        spec_error(s, at, v, "'%s' is missing", fields[i].name);
    }
    return true;
}

bool spec_each(struct spec *s, const struct spec_at *at, const struct value *v, spec_each_fn *fn, void *out)
{
    if (v->type == VALUE_MAP) {
        for (size_t i = 0; i < v->u.map.n && !err_list_full(s->errors); i++) {
            struct spec_at here = {at, v->u.map.entries[i].key, SIZE_MAX, v->u.map.entries[i].key_at};
            fn(s, &here, here.key, &v->u.map.entries[i].value, out, i);
        }
        return true;
    }
    if (v->type == VALUE_LIST) {
        for (size_t i = 0; i < v->u.list.n && !err_list_full(s->errors); i++) {
            struct spec_at here = {at, {"", 0}, i, {0, 0}};
            fn(s, &here, here.key, &v->u.list.items[i], out, i);
        }
        return true;
    }
    return false;
}
