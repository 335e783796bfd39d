/* YAML from any bytes: read, written and read again, compiled, and every plan through JSON and back. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/caret.h"
#include "engine/flow/compile.h"
#include "engine/flow/draw.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pos locate(void *ctx, const struct value *scalar, struct pos inner)
{
    return yaml_locate(*(const struct str *)ctx, scalar, inner);
}

static void judge(const struct err_list *errors, struct str text)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    if (errors->total == 0) abort(); /* refused without a reason */
    for (size_t i = 0; i < errors->n; i++) {
        const struct err *e = &errors->items[i];
        if (e->code == ERR_NONE || !e->message[0] || e->at.line > text.n + 1 || e->at.col > text.n + 2) abort();
        caret_render(&out, e, "f", text);
    }
}

static void written_is_read(struct arena *a, const struct value *doc)
{
    BUF_AUTO out;
    struct value *again;
    size_t n = 0;
    struct err_list errors;
    buf_init(&out, 1 << 20);
    err_list_init(&errors, a);
    yaml_emit(&out, doc);
    if (out.over) return;
    if (!yaml_parse(a, buf_view(&out), NULL, &again, &n, &errors) || n != 1 || !value_eq(again, doc)) abort();
}

static void plan_survives(struct arena *a, const struct plan *plan)
{
    BUF_AUTO json;
    BUF_AUTO again;
    struct value v;
    struct err err;
    const struct plan *loaded;
    buf_init(&json, 0);
    buf_init(&again, 0);
    plan_json(&json, plan);
    if (!json_parse(a, buf_view(&json), 0, &v, &err) || !plan_load(a, &v, &loaded, &err)) abort();
    plan_json(&again, loaded);
    if (!str_eq(buf_view(&json), buf_view(&again))) abort();
    draw_dot(&again, loaded);
    draw_mermaid(&again, plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err_list errors;
    struct value *docs;
    size_t n = 0;
    struct str text = {(const char *)data, size};
    struct yaml_limits limits = {.max_bytes = 1 << 16, .max_nodes = 5000, .max_documents = 20};
    struct compile_env env = {.ctx = &text, .locate = locate};
    arena_init(&a, 0);
    err_list_init(&errors, &a);
    if (!yaml_parse(&a, text, &limits, &docs, &n, &errors)) {
        judge(&errors, text);
        arena_free(&a);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        const struct plan *plan;
        written_is_read(&a, &docs[i]);
        err_list_init(&errors, &a);
        if (compile_pipeline(&a, &docs[i], &env, &plan, &errors))
            plan_survives(&a, plan);
        else
            judge(&errors, text);
    }
    arena_free(&a);
    return 0;
}
