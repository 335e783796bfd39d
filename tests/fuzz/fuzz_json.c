/* JSON from any bytes: read, written, read again; and whatever it is, offered as a plan and as params. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/base/jsonw.h"
#include "engine/flow/params.h"
#include "engine/text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void offer_as_params(struct arena *a, const struct value *v)
{
    static const struct param params[] = {
        {.name = STR_INIT("a"), .type = PARAM_INT, .has_min = true, .min = 1},
        {.name = STR_INIT("b"), .type = PARAM_LIST, .items = PARAM_FLOAT, .optional = true},
        {.name = STR_INIT("c"), .type = PARAM_STRING, .pattern = STR_INIT("[a-z]+"), .optional = true},
        {.name = STR_INIT("d"), .type = PARAM_SECRET, .optional = true},
        {.name = STR_INIT("e"), .type = PARAM_BOOL, .optional = true},
    };
    struct err_list errors;
    struct value bound;
    err_list_init(&errors, a);
    if (params_bind(a, params, 5, v, &bound, &errors) ? bound.u.map.n != 5 : errors.total == 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err err;
    struct value v, again;
    BUF_AUTO out;
    const struct plan *plan;
    arena_init(&a, 0);
    buf_init(&out, 0);
    if (!json_parse(&a, (struct str){(const char *)data, size}, 0, &v, &err)) {
        bool placed = err.at.line > 0 && err.at.line <= size + 1 && err.at.col <= size + 2;
        if (err.code == ERR_NONE || (!placed && err.code != ERR_LIMIT)) abort();
        arena_free(&a);
        return 0;
    }
    value_json(&out, &v, false);
    if (!json_parse(&a, buf_view(&out), 0, &again, &err) || !value_eq(&v, &again)) abort();
    if (plan_load(&a, &v, &plan, &err)) plan_json(&out, plan);
    offer_as_params(&a, &v);
    arena_free(&a);
    return 0;
}
