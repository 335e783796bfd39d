/* The canonical bytes whose digest is a step's cache key: two attempts with equal bytes would do the same work, so the
 * second may take the first one's outputs. Everything a step can see is in them, and nothing else; what is a set to the
 * step (environment, inputs, outputs) is sorted, so that moving lines about in a file does not miss. */
#include <stdlib.h>

#include "engine/base/jsonw.h"
#include "engine/flow/launch.h"
#include "engine/flow/params.h"

#define FORMAT 3 /* raised whenever the bytes change their meaning: old entries then miss */

static int by_name(const void *a, const void *b)
{
    const struct launch_env *const *x = a, *const *y = b;
    return str_cmp((*x)->name, (*y)->name);
}

static int by_path(const void *a, const void *b)
{
    const struct launch_input *const *x = a, *const *y = b;
    return str_cmp((*x)->path, (*y)->path);
}

static int by_output(const void *a, const void *b)
{
    const struct output *const *x = a, *const *y = b;
    return str_cmp((*x)->name, (*y)->name);
}

/* Pointers to the n items of an array, sorted. NULL when there are none. */
static const void **sorted(const void *items, size_t n, size_t size, int (*order)(const void *, const void *))
{
    const void **refs = n ? calloc(n, sizeof *refs) : NULL;
    if (n && !refs) abort();
    for (size_t i = 0; i < n; i++)
        refs[i] = (const char *)items + i * size;
    if (n) qsort(refs, n, sizeof *refs, order);
    return refs;
}

static void write_env(struct jsonw *w, const struct launch_spec *spec)
{
    static const char *const sources[] = {
        [SECRET_NONE] = "", [SECRET_ENV] = "env", [SECRET_FILE] = "file", [SECRET_KUBERNETES] = "kubernetes"};
    const void **refs = sorted(spec->env, spec->n_env, sizeof *spec->env, by_name);
    jsonw_key(w, "env");
    jsonw_array(w);
    for (size_t i = 0; i < spec->n_env; i++) {
        const struct launch_env *e = refs[i];
        jsonw_object(w);
        jsonw_kv_str(w, "name", e->name);
        if (e->secret.source == SECRET_NONE) {
            jsonw_kv_str(w, "value", e->value);
        } else {
            jsonw_kv_cstr(w, "secret", sources[e->secret.source]);
            jsonw_kv_str(w, "entry", e->secret.name);
        }
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    free(refs);
}

static void write_inputs(struct jsonw *w, const struct launch_spec *spec)
{
    const void **refs = sorted(spec->inputs, spec->n_inputs, sizeof *spec->inputs, by_path);
    jsonw_key(w, "inputs");
    jsonw_array(w);
    for (size_t i = 0; i < spec->n_inputs; i++) {
        const struct launch_input *in = refs[i];
        jsonw_object(w);
        jsonw_kv_str(w, "path", in->path);
        jsonw_kv_str(w, in->artifact ? "digest" : "text", in->artifact ? in->digest : in->text);
        if (in->artifact) jsonw_kv_bool(w, "folder", in->folder);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    free(refs);
}

static void write_outputs(struct jsonw *w, const struct node *n)
{
    const void **refs = sorted(n->outputs, n->n_outputs, sizeof *n->outputs, by_output);
    jsonw_key(w, "outputs");
    jsonw_array(w);
    for (size_t i = 0; i < n->n_outputs; i++) {
        const struct output *o = refs[i];
        jsonw_object(w);
        jsonw_kv_str(w, "name", o->name);
        jsonw_kv_str(w, "path", o->path);
        if (o->kind == IO_ARTIFACT)
            jsonw_kv_str(w, "artifact", o->artifact_type);
        else
            jsonw_kv_cstr(w, "type", param_type_names[o->type]);
        jsonw_kv_bool(w, "optional", o->optional);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    free(refs);
}

/* Variables of a cluster's objects: by the objects' names, as secrets are. */
static void write_env_from(struct jsonw *w, const struct launch_spec *spec)
{
    const struct value *sources = value_get(spec->node->cluster, "envFrom");
    BUF_AUTO text;
    buf_init(&text, 0);
    if (!sources) return;
    value_json(&text, sources, true);
    jsonw_key(w, "envFrom");
    jsonw_raw(w, buf_view(&text));
}

void launch_cache_text(struct buf *out, const struct launch_spec *spec, const struct cache_facts *facts)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_kv_int(&w, "format", FORMAT);
    jsonw_kv_str(&w, "executor", facts->executor);
    jsonw_kv_str(&w, "image", facts->image);
    jsonw_kv_str(&w, "extra", facts->extra);
    jsonw_kv_str(&w, "workdir", spec->workdir);
    jsonw_kv_int(&w, "workers", spec->node->workers > 1 ? spec->node->workers : 1);
    jsonw_key(&w, "argv");
    jsonw_array(&w);
    for (size_t i = 0; i < spec->n_argv; i++)
        jsonw_str(&w, spec->argv[i]);
    jsonw_array_end(&w);
    jsonw_kv_int(&w, "command", (int64_t)spec->n_command);
    jsonw_kv_str(&w, "script", spec->script);
    write_env(&w, spec);
    write_env_from(&w, spec);
    write_inputs(&w, spec);
    write_outputs(&w, spec->node);
    jsonw_object_end(&w);
    if (!jsonw_end(&w)) out->over = true;
}
