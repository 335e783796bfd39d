/* See step_moves.h. */
#include "scheduler/step_moves.h"

#include "engine/base/jsonw.h"
#include "engine/flow/params.h"

#define VERSION 1

/* ---- the plan ---- */

static void write_input(struct jsonw *w, const struct launch_input *in)
{
    jsonw_object(w);
    jsonw_kv_str(w, "name", in->name);
    jsonw_kv_str(w, "path", in->path);
    if (in->artifact) {
        jsonw_kv_str(w, "digest", in->digest);
        if (in->folder) jsonw_kv_bool(w, "folder", true);
    } else {
        jsonw_kv_str(w, "text", in->text);
    }
    jsonw_object_end(w);
}

static void write_output(struct jsonw *w, const struct step_output *o)
{
    jsonw_object(w);
    jsonw_kv_str(w, "name", o->name);
    jsonw_kv_str(w, "path", o->path);
    if (o->kind == IO_ARTIFACT)
        jsonw_kv_str(w, "artifact", o->type);
    else
        jsonw_kv_cstr(w, "param", param_type_names[o->param]);
    if (o->optional) jsonw_kv_bool(w, "optional", true);
    jsonw_object_end(w);
}

void step_moves_write(const struct step_moves *m, struct buf *out)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_kv_int(&w, "version", VERSION);
    if (m->bundle.n > 0) jsonw_kv_str(&w, "bundle", m->bundle);
    jsonw_key(&w, "inputs");
    jsonw_array(&w);
    for (size_t i = 0; i < m->n_inputs; i++)
        write_input(&w, &m->inputs[i]);
    jsonw_array_end(&w);
    jsonw_key(&w, "outputs");
    jsonw_array(&w);
    for (size_t i = 0; i < m->n_outputs; i++)
        write_output(&w, &m->outputs[i]);
    jsonw_array_end(&w);
    if (m->upload_ms > 0) jsonw_kv_int(&w, "uploadMs", m->upload_ms);
    jsonw_object_end(&w);
    (void)jsonw_end(&w);
}

static bool number_of(const struct value *map, const char *key, int64_t *out)
{
    const struct value *v = value_get(map, key);
    if (v == NULL || v->type != VALUE_INT || v->u.i < 0) return false;
    *out = v->u.i;
    return true;
}

static const struct value *list_of(const struct value *map, const char *key, size_t *n)
{
    const struct value *v = value_get(map, key);
    *n = v != NULL && v->type == VALUE_LIST ? v->u.list.n : 0;
    return *n > 0 ? v->u.list.items : NULL;
}

static bool wrong(struct err *err, const char *list, size_t i, const char *member)
{
    err_set(err, ERR_INVALID, "is missing, or not what it should be");
    return err_path(err, "%s[%zu].%s", list, i, member);
}

static bool read_input(const struct value *v, size_t i, struct launch_input *out, struct err *err)
{
    const struct value *text = value_get(v, "text");
    *out = (struct launch_input){.name = value_get_text(v, "name"),
                                 .path = value_get_text(v, "path"),
                                 .artifact = text == NULL,
                                 .folder = value_get_bool(v, "folder"),
                                 .digest = value_get_text(v, "digest"),
                                 .text = value_get_text(v, "text")};
    if (out->path.n == 0) return wrong(err, "inputs", i, "path");
    if (text != NULL && text->type != VALUE_STRING) return wrong(err, "inputs", i, "text");
    return !out->artifact || launch_is_digest(out->digest) || wrong(err, "inputs", i, "digest");
}

static bool read_output(const struct value *v, size_t i, struct step_output *out, struct err *err)
{
    struct str param = value_get_text(v, "param");
    *out = (struct step_output){.name = value_get_text(v, "name"),
                                .path = value_get_text(v, "path"),
                                .type = value_get_text(v, "artifact"),
                                .kind = value_get(v, "artifact") != NULL ? IO_ARTIFACT : IO_PARAM,
                                .optional = value_get_bool(v, "optional")};
    if (out->name.n == 0) return wrong(err, "outputs", i, "name");
    if (out->path.n == 0) return wrong(err, "outputs", i, "path");
    if (out->kind == IO_ARTIFACT) return out->type.n > 0 || wrong(err, "outputs", i, "artifact");
    for (int k = 0; k < PARAM_TYPES; k++)
        if (str_is(param, param_type_names[k])) {
            out->param = (enum param_type)k;
            return true;
        }
    return wrong(err, "outputs", i, "param");
}

bool step_moves_read(struct arena *a, const struct value *v, struct step_moves *out, struct err *err)
{
    struct step_moves m = {.bundle = value_get_text(v, "bundle")};
    int64_t version;
    if (!number_of(v, "version", &version) || version != VERSION) {
        err_set(err, ERR_INVALID, "this millrace moves data by plans of version %d only", VERSION);
        err_path(err, "version");
        return err_hint(err, "let the server and the image that it names be of the same version");
    }
    if (m.bundle.n > 0 && !launch_is_digest(m.bundle)) return err_set(err, ERR_INVALID, "bundle is no digest");
    const struct value *in = list_of(v, "inputs", &m.n_inputs), *outs = list_of(v, "outputs", &m.n_outputs);
    struct launch_input *inputs = arena_array(a, struct launch_input, m.n_inputs + 1);
    struct step_output *outputs = arena_array(a, struct step_output, m.n_outputs + 1);
    for (size_t i = 0; i < m.n_inputs; i++)
        if (!read_input(&in[i], i, &inputs[i], err)) return false;
    for (size_t i = 0; i < m.n_outputs; i++)
        if (!read_output(&outs[i], i, &outputs[i], err)) return false;
    (void)number_of(v, "uploadMs", &m.upload_ms);
    m.inputs = inputs;
    m.outputs = outputs;
    *out = m;
    return true;
}

/* ---- the manifest ---- */

/* Why there is none; the first row that fits. */
static const struct {
    enum failure failure;
    enum reason reason;
    const char *word;
} failures[] = {{FAILURE_INFRA, REASON_INFRA, "infra"},
                {FAILURE_TIMEOUT, REASON_TIMEOUT, "timeout"},
                {FAILURE_ERROR, REASON_OUTPUT, "output"}};
#define FAILURES (sizeof failures / sizeof *failures)

void step_left_write(const struct step_left *l, struct buf *out)
{
    struct jsonw w;
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    if (!l->result.ok) {
        size_t i = 0;
        while (i + 1 < FAILURES && failures[i].failure != l->result.failure)
            i++;
        jsonw_kv_cstr(&w, "failed", failures[i].word);
        jsonw_kv_str(&w, "message", l->result.message);
    } else {
        jsonw_key(&w, "outputs");
        jsonw_raw(&w, l->result.outputs);
        jsonw_key(&w, "artifacts");
        jsonw_array(&w);
        for (size_t i = 0; i < l->n_artifacts; i++) {
            const struct exec_output *o = &l->artifacts[i];
            jsonw_object(&w);
            jsonw_kv_str(&w, "name", o->name);
            jsonw_kv_str(&w, "type", o->type);
            jsonw_kv_str(&w, "digest", o->digest);
            jsonw_kv_int(&w, "size", o->size);
            jsonw_key(&w, "metadata");
            jsonw_raw(&w, o->metadata);
            jsonw_object_end(&w);
        }
        jsonw_array_end(&w);
    }
    jsonw_object_end(&w);
    (void)jsonw_end(&w);
}

static const struct step_output *output_named(const struct step_output *outputs, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(outputs[i].name, name)) return &outputs[i];
    return NULL;
}

static bool read_artifact(struct arena *a, const struct value *v, size_t i, struct exec_output *out, struct err *err)
{
    const struct value *metadata = value_get(v, "metadata");
    BUF_AUTO text;
    buf_init(&text, 0);
    *out = (struct exec_output){
        .name = value_get_text(v, "name"), .type = value_get_text(v, "type"), .digest = value_get_text(v, "digest")};
    if (!launch_is_digest(out->digest)) return wrong(err, "artifacts", i, "digest");
    if (!number_of(v, "size", &out->size)) return wrong(err, "artifacts", i, "size");
    if (metadata == NULL || metadata->type != VALUE_MAP) return wrong(err, "artifacts", i, "metadata");
    value_json(&text, metadata, false);
    out->metadata = arena_str(a, buf_view(&text));
    return true;
}

/* What a step's own program may have written is no reason to believe it: it is held against the plan. */
static bool as_planned(const struct value *values, const struct step_output *outputs, size_t n_outputs,
                       const struct step_left *l, struct err *err)
{
    size_t n_artifacts = 0;
    for (size_t i = 0; i < n_outputs; i++) {
        const struct step_output *o = &outputs[i];
        const struct value *v = value_find(values, o->name);
        if (v == NULL && o->optional) continue;
        if (v == NULL || (o->kind == IO_ARTIFACT && !value_is_artifact(v))) {
            err_set(err, ERR_INVALID, "is missing, or not what was declared");
            return err_path(err, "outputs.%.*s", STR_ARG(o->name));
        }
        n_artifacts += o->kind == IO_ARTIFACT;
    }
    for (size_t i = 0; i < values->u.map.n; i++)
        if (output_named(outputs, n_outputs, values->u.map.entries[i].key) == NULL) return wrong(err, "outputs", i, "");
    if (n_artifacts != l->n_artifacts) return err_set(err, ERR_INVALID, "artifacts are missing");
    for (size_t i = 0; i < l->n_artifacts; i++) {
        const struct exec_output *x = &l->artifacts[i];
        const struct step_output *o = output_named(outputs, n_outputs, x->name);
        const struct value *v = value_find(values, x->name);
        int64_t size;
        if (o == NULL || v == NULL || !str_eq(o->type, x->type) || !str_eq(value_get_text(v, "digest"), x->digest) ||
            !number_of(v, "size", &size) || size != x->size)
            return wrong(err, "artifacts", i, "name");
    }
    return true;
}

bool step_left_parse(struct arena *a, const struct value *v, const struct step_output *outputs, size_t n_outputs,
                     struct step_left *out, struct err *err)
{
    struct str failed = value_get_text(v, "failed");
    struct step_left l = {0};
    if (failed.n > 0) {
        size_t i = 0;
        while (i + 1 < FAILURES && !str_is(failed, failures[i].word))
            i++;
        l.result = (struct task_result){
            .failure = failures[i].failure, .reason = failures[i].reason, .message = value_get_text(v, "message")};
        *out = l;
        return true;
    }
    const struct value *values = value_get(v, "outputs");
    const struct value *items = list_of(v, "artifacts", &l.n_artifacts);
    if (values == NULL || values->type != VALUE_MAP) return err_set(err, ERR_INVALID, "it names no outputs");
    l.artifacts = arena_array(a, struct exec_output, l.n_artifacts + 1);
    for (size_t i = 0; i < l.n_artifacts; i++)
        if (!read_artifact(a, &items[i], i, &l.artifacts[i], err)) return false;
    if (!as_planned(values, outputs, n_outputs, &l, err)) return false;
    BUF_AUTO text;
    buf_init(&text, 0);
    value_json(&text, values, false);
    l.result.ok = true;
    l.result.outputs = arena_str(a, buf_view(&text));
    *out = l;
    return true;
}
