/* Reading the verbs: what a step does. Each fills its part of the node. */
#include <string.h>

#include "engine/base/units.h"
#include "engine/flow/launch.h"
#include "engine/flow/run.h"
#include "engine/flow/spec_step.h"

static void argument(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                     size_t i)
{
    (void)key;
    spec_template(s, at, v, WHERE_COMMAND, &((struct expr_template *)out)[i]);
}

/* A list of arguments; a single string is a list of one. */
static struct expr_template *arguments(struct spec *s, const struct spec_at *at, const struct value *v, size_t *n)
{
    *n = v->type == VALUE_LIST ? v->u.list.n : 1;
    struct expr_template *list = arena_array(s->arena, struct expr_template, *n);
    if (v->type == VALUE_LIST)
        spec_each(s, at, v, argument, list);
    else
        argument(s, at, STR(""), v, list, 0);
    return list;
}

void spec_run(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    if (v->type == VALUE_LIST) {
        step->node.argv = arguments(s, at, v, &step->node.n_argv);
        step->node.n_command = step->node.n_argv;
        const struct value *first = v->u.list.n ? &v->u.list.items[0] : v;
        bool none = first == v || (first->type == VALUE_STRING && first->u.s.n == 0);
        if (none) spec_error(s, at, first, "the command is empty");
        return;
    }
    if (v->type != VALUE_STRING) {
        spec_expected(s, at, v, "a shell line or a list of arguments");
        return;
    }
    if (str_trim(v->u.s).n == 0) {
        spec_error(s, at, v, "the command is empty");
        return;
    }
    if (!spec_template(s, at, v, WHERE_LINE, &step->node.line)) return;
    size_t before = s->errors->n;
    if (expr_shell_check(&step->node.line, s->errors)) return;
    for (size_t i = before; i < s->errors->n; i++) {
        struct err *e = &s->errors->items[i];
        err_path(e, "%.*s", STR_ARG(spec_path(s->arena, at)));
        e->at = s->env->locate ? s->env->locate(s->env->ctx, v, e->at) : v->at;
    }
}

void spec_shebang(struct spec *s, struct spec_step *step)
{
    struct str rest = step->node.script, line, word;
    struct str words[8];
    size_t n = 0;
    if (!str_starts(rest, "#!")) return;
    str_split(&rest, '\n', &line);
    line = str_trim(str_sub(line, 2, line.n));
    while (n < SPEC_COUNT(words) && line.n && str_split(&line, ' ', &word)) {
        if (word.n) words[n++] = word;
    }
    step->interpreter.items = arena_array(s->arena, struct str, n);
    memcpy(step->interpreter.items, words, n * sizeof *words);
    step->interpreter.n = n;
}

void spec_script(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    size_t place;
    if (v->type != VALUE_STRING || str_trim(v->u.s).n == 0) {
        spec_expected(s, at, v, "the script's text");
        return;
    }
    step->node.script = v->u.s;
    if (str_find(v->u.s, STR("${{"), &place))
        err_hint(spec_error(s, at, v, "a script is never substituted"),
                 "give the value by env: or as a file by inputs:");
}

void spec_image(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct str image = {"", 0};
    spec_str(s, at, v, &image);
    if (v->type != VALUE_STRING) return;
    bool bad = image.n == 0 || image.n > 512;
    for (size_t i = 0; i < image.n; i++)
        bad |= (unsigned char)image.p[i] <= ' ' || (unsigned char)image.p[i] >= 0x7F;
    if (bad) spec_error(s, at, v, "this cannot be the name of an image");
    ((struct spec_step *)out)->node.image = image;
}

struct pipeline_ref {
    struct str name, file;
    int64_t version;
};

static void read_version(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    uint32_t version = 0;
    spec_positive(s, at, v, &version);
    *(int64_t *)out = version;
}

static const struct spec_field pipeline_fields[] = {
    {"name", spec_str, offsetof(struct pipeline_ref, name), 0, false},
    {"file", spec_str, offsetof(struct pipeline_ref, file), 0, false},
    {"version", read_version, offsetof(struct pipeline_ref, version), 0, false},
};

void spec_pipeline(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    struct pipeline_ref ref = {.name = STR(""), .file = STR("")};
    size_t slash;
    if (v->type == VALUE_STRING) {
        size_t before = s->errors->total;
        spec_str(s, at, v, &ref.name);
        if (s->errors->total != before) return;
        bool file = str_ends(ref.name, ".yaml") || str_ends(ref.name, ".yml") || str_find(ref.name, STR("/"), &slash);
        if (file) {
            ref.file = ref.name;
            ref.name.n = 0;
        }
    } else if (v->type == VALUE_MAP) {
        spec_fields(s, at, v, pipeline_fields, SPEC_COUNT(pipeline_fields), 0, "pipeline", &ref);
    } else {
        err_hint(spec_expected(s, at, v, "a pipeline"), "its name, its file, or {name: …, version: …}");
        return;
    }
    if ((ref.name.n > 0) == (ref.file.n > 0)) {
        spec_error(s, at, v, "a sub-pipeline is given by its name or by its file");
        return;
    }
    if (str_starts(ref.file, "/")) {
        spec_error(s, at, v, "the file is given relative to this one");
        return;
    }
    if (ref.file.n) ref.file = spec_plain_path(s->arena, ref.file);
    if (ref.file.n && ref.version) spec_error(s, at, v, "a file has no version");
    step->pipeline =
        (struct compile_ref){.text = ref.file.n ? ref.file : ref.name, .file = ref.file.n > 0, .version = ref.version};
    step->node.pipeline = step->pipeline.text;
}

void spec_value(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    if (v->type == VALUE_NULL)
        step->node.verb = VERB_NOOP;
    else
        spec_typed(s, at, v, WHERE_FIELD, &step->node.value);
}

/* ---- http ---- */

struct http_draft {
    struct http_call call;
    struct spec_env_list headers;
};

static void read_text(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    spec_template(s, at, v, WHERE_FIELD, out);
}

static void read_body(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    if (v->type == VALUE_MAP || v->type == VALUE_LIST)
        spec_typed(s, at, v, WHERE_FIELD, out); /* sent as JSON */
    else
        spec_template(s, at, v, WHERE_FIELD, out);
}

static void read_method(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const char *const words[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    if (spec_word(s, at, v, words, SPEC_COUNT(words)) != SIZE_MAX) spec_template(s, at, v, WHERE_FIELD, out);
}

/* Whether a text, known as far as its first expression, can begin so. */
static bool may_begin(const struct expr_template *t, struct str begin)
{
    if (!t->literal && (t->n == 0 || t->parts[0].expr)) return true;
    struct str head = t->n ? t->parts[0].text : t->source;
    if (!t->literal && head.n < begin.n) begin.n = head.n;
    return str_eq(str_sub(head, 0, begin.n), begin);
}

/* What no URL can have in it, nor a header: where an expression puts in something of the kind, the run will tell. */
static bool has_any(const struct expr_template *t, bool blanks)
{
    for (size_t i = 0; i < t->n; i++) {
        for (size_t k = 0; !t->parts[i].expr && k < t->parts[i].text.n; k++) {
            char c = t->parts[i].text.p[k];
            if (c == '\n' || c == '\r' || (blanks && (c == ' ' || c == '\t'))) return true;
        }
    }
    return false;
}

static void read_url(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct expr_template *url = out;
    if (!spec_template(s, at, v, WHERE_TEXT, url)) return;
    struct str rest = url->n && !url->parts[0].expr ? url->parts[0].text : STR("");
    size_t colon;
    if (!may_begin(url, STR("http://")) && !may_begin(url, STR("https://")))
        spec_error(s, at, v, "the URL begins with http:// or https://");
    else if (has_any(url, true))
        err_hint(spec_error(s, at, v, "a URL has no blanks and line breaks in it"), "a blank is written %%20");
    else if (url->literal && str_find(rest, STR("://"), &colon) && (colon + 3 == rest.n || rest.p[colon + 3] == '/'))
        spec_error(s, at, v, "the URL names no host");
}

static void one_status(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                       size_t i)
{
    (void)key;
    int32_t *codes = out;
    codes[i] = 200;
    spec_int32(s, at, v, &codes[i]);
    if (codes[i] < 100 || codes[i] > 599) spec_error(s, at, v, "an HTTP status lies between 100 and 599");
}

static void read_expect(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct http_draft *draft = out;
    size_t n = v->type == VALUE_LIST ? v->u.list.n : 1;
    int32_t *codes = arena_array(s->arena, int32_t, n);
    if (v->type == VALUE_LIST)
        spec_each(s, at, v, one_status, codes);
    else
        one_status(s, at, STR(""), v, codes, 0);
    draft->call.expect = codes;
    draft->call.n_expect = n;
}

static const struct spec_field http_fields[] = {
    {"method", read_method, offsetof(struct http_draft, call.method), 0, false},
    {"url", read_url, offsetof(struct http_draft, call.url), 0, true},
    {"body", read_body, offsetof(struct http_draft, call.body), 0, false},
    {"headers", spec_headers, offsetof(struct http_draft, headers), 0, false},
    {"expect", read_expect, 0, 0, false},
    {"timeout", spec_duration, offsetof(struct http_draft, call.timeout_ms), 0, false},
};

void spec_http(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    struct http_draft draft = {.call = {.timeout_ms = 30000}};
    struct err err;
    if (v->type == VALUE_STRING) {
        err_hint(spec_expected(s, at, v, "a map"), "{url: \"%.*s\"}", STR_ARG(str_sub(v->u.s, 0, 100)));
        return;
    }
    if (!spec_fields(s, at, v, http_fields, SPEC_COUNT(http_fields), 0, "http", &draft)) return;
    struct str method = draft.call.body.n ? STR("POST") : STR("GET");
    if (!draft.call.method.n && !expr_template_parse(s->arena, method, &draft.call.method, &err))
        spec_adopt(s, at, v, &err);
    for (size_t i = 0; i < draft.headers.n; i++) {
        struct str name = draft.headers.items[i].name;
        struct spec_at headers = {at, STR("headers"), SIZE_MAX, {0, 0}}, here = {&headers, name, SIZE_MAX, {0, 0}};
        if (has_any(&draft.headers.items[i].value, false))
            spec_error(s, &here, value_find(value_get(v, "headers"), name), "a header has no line breaks in it");
    }
    draft.call.headers = draft.headers.items;
    draft.call.n_headers = draft.headers.n;
    struct http_call *call = arena_new(s->arena, struct http_call);
    *call = draft.call;
    step->node.http = call;
}

/* ---- wait, approval, import ---- */

static void read_wait(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct expr_template *text = out;
    int64_t ms;
    struct err err;
    if (v->type == VALUE_STRING) {
        if (!spec_template(s, at, v, WHERE_DURATION, text) || !text->literal || units_duration(v, &ms, &err)) return;
        if (wait_due(v, true, 0, &ms, NULL)) err_hint(&err, "a wait for a time is {until: …}");
        spec_adopt(s, at, v, &err);
        return;
    }
    if (v->type == VALUE_NULL || v->type == VALUE_LIST)
        err_hint(spec_expected(s, at, v, "a duration"), "10m, or {until: 2026-01-31T08:00:00Z}");
    else if (!units_duration(v, &ms, &err))
        spec_adopt(s, at, v, &err); /* a bare number */
    else
        spec_typed(s, at, v, WHERE_DURATION, text); /* as text 0 would lack its unit */
}

static void read_until(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct expr_template *text = out;
    struct err err;
    int64_t us;
    if (!spec_template(s, at, v, WHERE_TEXT, text) || !text->literal || wait_due(v, true, 0, &us, &err)) return;
    spec_adopt(s, at, v, &err);
}

static const struct spec_field wait_fields[] = {
    {"for", read_wait, offsetof(struct spec_step, node.wait_for), 0, false},
    {"until", read_until, offsetof(struct spec_step, node.wait_until), 0, false},
};

void spec_wait(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    if (v->type != VALUE_MAP) {
        read_wait(s, at, v, &step->node.wait_for);
        return;
    }
    spec_fields(s, at, v, wait_fields, SPEC_COUNT(wait_fields), 0, "wait", step);
    if (v->u.map.n != 1) spec_error(s, at, v, "a wait is for a duration or until a time");
}

/* A role that no token has could never answer. */
static void one_role(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                     size_t i)
{
    (void)key;
    size_t word = spec_word(s, at, v, plan_roles, PLAN_ROLES);
    ((struct str *)out)[i] = str_of(word == SIZE_MAX ? "" : plan_roles[word]);
}

static void read_roles(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    size_t n = v->type == VALUE_LIST ? v->u.list.n : 1;
    struct str *roles = arena_array(s->arena, struct str, n);
    if (v->type == VALUE_LIST)
        spec_each(s, at, v, one_role, roles);
    else
        one_role(s, at, STR(""), v, roles, 0);
    step->node.roles = roles;
    step->node.n_roles = n;
}

static const struct spec_field approval_fields[] = {
    {"message", read_text, offsetof(struct spec_step, node.message), 0, false},
    {"roles", read_roles, 0, 0, false},
    {"timeout", spec_duration, offsetof(struct spec_step, node.timeout_ms), 0, false},
};

void spec_approval(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    step->node.timeout_ms = 0;
    if (v->type == VALUE_STRING)
        read_text(s, at, v, &step->node.message);
    else if (v->type == VALUE_MAP)
        spec_fields(s, at, v, approval_fields, SPEC_COUNT(approval_fields), 0, "approval", step);
    else
        spec_expected(s, at, v, "a message, or a map");
}

/* "sha256:…" or "artifact:NUMBER". */
static void read_uri(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct expr_template *uri = out;
    int64_t number;
    if (!spec_template(s, at, v, WHERE_TEXT, uri)) return;
    bool record = may_begin(uri, STR("artifact:")), good = record || may_begin(uri, STR("sha256:"));
    if (uri->literal && record)
        good = str_int(str_sub(uri->source, 9, uri->source.n), &number) && number > 0;
    else if (uri->literal)
        good = launch_is_digest(uri->source);
    if (!good)
        err_hint(spec_error(s, at, v, "'%.*s' cannot be imported", STR_ARG(str_sub(uri->source, 0, 100))),
                 "sha256:<64 hex digits> of something uploaded to this project, or artifact:NUMBER");
}

static const struct spec_field import_fields[] = {
    {"uri", read_uri, offsetof(struct spec_step, node.import_uri), 0, true},
    {"type", spec_name, offsetof(struct spec_step, node.import_type), 0, false},
};

void spec_import(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    struct spec_step *step = out;
    step->node.import_type = STR("artifact");
    if (v->type == VALUE_STRING)
        read_uri(s, at, v, &step->node.import_uri);
    else
        spec_fields(s, at, v, import_fields, SPEC_COUNT(import_fields), 0, "import", step);
}

void spec_later(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    (void)out;
    const char *what = str_is(at->key, "build") ? "an image builder" : "a model registry";
    err_hint(spec_error(s, at, v, "'%.*s' needs %s, and this server has none", STR_ARG(at->key), what),
             "use run: with an image or a tool of your own");
}

const struct output *spec_verb_outputs(enum verb verb, size_t *n)
{
    static const struct output http[] = {{.name = STR_INIT("status"), .type = PARAM_INT},
                                         {.name = STR_INIT("body"), .type = PARAM_STRING}};
    static const struct output approval[] = {{.name = STR_INIT("approved"), .type = PARAM_BOOL},
                                             {.name = STR_INIT("by"), .type = PARAM_STRING},
                                             {.name = STR_INIT("comment"), .type = PARAM_STRING}};
    static const struct output import[] = {
        {.name = STR_INIT("artifact"), .kind = IO_ARTIFACT, .artifact_type = STR_INIT("artifact")}};
    *n = verb == VERB_HTTP ? SPEC_COUNT(http) : verb == VERB_APPROVAL ? SPEC_COUNT(approval) : verb == VERB_IMPORT;
    return verb == VERB_HTTP ? http : verb == VERB_APPROVAL ? approval : verb == VERB_IMPORT ? import : NULL;
}
