/* What a server says went wrong (RFC 9457) as errors with place and hint: see client.h. */
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"
#include "engine/text/json.h"

static enum err_code code_of(struct str name, int status)
{
    static const struct {
        int status;
        enum err_code code;
    } rows[] = {
        {400, ERR_SYNTAX},      {401, ERR_UNAUTHENTICATED}, {403, ERR_FORBIDDEN},   {404, ERR_NOT_FOUND},
        {408, ERR_TIMEOUT},     {409, ERR_CONFLICT},        {410, ERR_GONE},        {412, ERR_PRECONDITION},
        {413, ERR_TOO_LARGE},   {416, ERR_RANGE},           {422, ERR_INVALID},     {429, ERR_TOO_MANY},
        {502, ERR_UNAVAILABLE}, {503, ERR_UNAVAILABLE},     {504, ERR_UNAVAILABLE}, {507, ERR_SPACE},
    };
    for (int c = ERR_INVALID; c < ERR_CODE_COUNT; c++) {
        if (str_is(name, err_name((enum err_code)c))) return (enum err_code)c;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].status == status) return rows[i].code;
    }
    return status < 500 ? ERR_INVALID : ERR_INTERNAL;
}

static void read_item(struct arena *a, const struct value *v, int status, const char *message_key, struct err *out)
{
    struct str message = field_str(v, message_key), hint = field_str(v, "hint"), path = field_str(v, "path");
    if (!message.n) message = field_str(v, "title");
    enum err_code code = code_of(field_str(v, "code"), status);
    if (message.n)
        err_set(out, code, "%.*s", STR_ARG(message));
    else
        err_set(out, code, "the server answered %d", status);
    if (hint.n) err_hint(out, "%.*s", STR_ARG(hint));
    if (path.n) err_path(out, "%.*s", STR_ARG(path));
    struct pos at = {(uint32_t)field_int(v, "line", 0), (uint32_t)field_int(v, "column", 0)};
    err_at(out, at, (uint32_t)field_int(v, "length", 0));
    struct err_file file = {.name = field_str(v, "file"), .text = STR(""), .used_by = field_str(v, "usedBy")};
    if (!file.name.n) return;
    struct err_file *kept = arena_new(a, struct err_file);
    *kept = file;
    out->file = kept;
}

void problem_read(struct arena *a, int status, struct str body, struct err_list *errors, struct err *err)
{
    struct value v;
    struct err first = {0};
    if (!json_parse(a, body, 0, &v, NULL) || v.type != VALUE_MAP) {
        err_set(&first, code_of(STR(""), status), "the server answered %d", status);
        err_hint(&first, "is this the address of a Millrace server?");
        if (errors) *err_list_next(errors) = first;
        if (err) *err = first;
        return;
    }
    read_item(a, &v, status, "detail", &first);
    if (err) *err = first;
    if (!errors) return;
    size_t n, before = errors->total;
    const struct value *items = field_list(&v, "errors", &n);
    for (size_t i = 0; i < n; i++)
        read_item(a, &items[i], status, "message", err_list_next(errors));
    if (!n) *err_list_next(errors) = first;
    int64_t total = field_int(&v, "total", 0);
    if (total > 0 && (size_t)total > errors->total - before) errors->total = before + (size_t)total;
}
