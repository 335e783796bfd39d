/* Texts of steps as values. See step_value.h. */
#include "scheduler/step_value.h"

#include "engine/text/json.h"

struct str step_text(struct str written)
{
    if (str_ends(written, "\n")) written.n--;
    if (str_ends(written, "\r")) written.n--;
    return written;
}

static bool json_of(struct arena *a, enum param_type type, struct str text, size_t depth, struct value *out,
                    const char **why)
{
    struct err err = {0};
    bool list = type == PARAM_LIST;
    if (json_parse(a, text, depth, out, &err) && out->type == (list ? VALUE_LIST : VALUE_MAP)) return true;
    *why = err.code == ERR_LIMIT ? "is nested too deeply"
           : list                ? "does not hold a JSON list"
                                 : "does not hold a JSON object";
    return false;
}

bool step_value(struct arena *a, enum param_type type, struct str text, size_t depth, struct value *out,
                const char **why)
{
    double d;
    int64_t i;
    struct str bare = str_trim(text);
    switch (type) {
    case PARAM_INT:
        *why = "does not hold a whole number";
        if (!str_int(bare, &i)) return false;
        *out = value_int(i);
        return true;
    case PARAM_FLOAT:
        *why = "does not hold a number";
        if (!str_double(bare, &d)) return false;
        *out = value_double(d);
        return true;
    case PARAM_BOOL:
        *why = "does not hold true or false";
        if (!str_is(bare, "true") && !str_is(bare, "false")) return false;
        *out = value_bool(str_is(bare, "true"));
        return true;
    case PARAM_LIST:
    case PARAM_MAP: return json_of(a, type, bare, depth, out, why);
    case PARAM_STRING:
    case PARAM_ENUM:
    case PARAM_SECRET: break;
    }
    *out = value_string(text);
    return true;
}
