/* See gpu_pin.h. */
#include "scheduler/gpu_pin.h"

#include "engine/text/json.h"

static struct str lines_of(struct arena *a, const struct value *list)
{
    BUF_AUTO out;
    buf_init(&out, 0);
    for (size_t i = 0; list != NULL && list->type == VALUE_LIST && i < list->u.list.n; i++) {
        const struct value *one = &list->u.list.items[i];
        if (one->type != VALUE_STRING) continue;
        if (out.n > 0) buf_char(&out, '\n');
        buf_str(&out, one->u.s);
    }
    return arena_str(a, buf_view(&out));
}

struct gpu_want gpu_pinned(struct arena *a, const struct resources *r, struct str pin)
{
    struct gpu_want w = gpu_wanted(r);
    struct value v;
    struct err ignored;
    if (w.count == 0 || pin.n == 0 || !json_parse(a, pin, 16, &v, &ignored)) return w;
    const struct value *flavor = value_get(&v, "flavor");
    w.products = lines_of(a, value_get(&v, "products"));
    if (w.products.n > 0 && flavor != NULL && flavor->type == VALUE_STRING) w.flavor = flavor->u.s;
    return w;
}
