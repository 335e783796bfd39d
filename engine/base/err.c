/* Errors and lists of them: see err.h. */
#define MILLRACE_ERR_C
#include "engine/base/err.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
    bool retryable;
} codes[ERR_CODE_COUNT] = {
#define X(code, name, status, retry) [code] = {name, status, retry},
    ERR_CODES(X)
#undef X
};

static bool known(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT;
}

const char *err_name(enum err_code code)
{
    return known(code) ? codes[code].name : "internal";
}

int err_status(enum err_code code)
{
    return known(code) ? codes[code].status : 500;
}

bool err_retryable(enum err_code code)
{
    return known(code) && codes[code].retryable;
}

/* Formats into a fixed field; text that does not fit ends in "…" instead of in half a character. */
static void fill(char *field, size_t room, const char *fmt, va_list args)
{
    static const char dots[] = "…";
    int n = vsnprintf(field, room, fmt, args);
    if (n < 0) field[0] = '\0';
    if (n < 0 || (size_t)n < room) return;
    size_t end = room - sizeof dots;
    while (end && ((unsigned char)field[end] & 0xC0) == 0x80)
        end--;
    memcpy(field + end, dots, sizeof dots);
}

void err_clear(struct err *err)
{
    if (!err) return;
    err->code = ERR_NONE;
    err->file = NULL;
    err->at = (struct pos){0, 0};
    err->len = 0;
    err->message[0] = err->path[0] = err->hint[0] = '\0';
}

static void set(struct err *err, enum err_code code, const char *fmt, va_list args)
{
    char message[sizeof err->message]; /* the old message may be among the arguments */
    fill(message, sizeof message, fmt, args);
    err_clear(err);
    err->code = code;
    memcpy(err->message, message, sizeof message);
}

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (!err) return false;
    va_list args;
    va_start(args, fmt);
    set(err, code, fmt, args);
    va_end(args);
    return false;
}

bool err_hint(struct err *err, const char *fmt, ...)
{
    if (!err) return false;
    va_list args;
    va_start(args, fmt);
    fill(err->hint, sizeof err->hint, fmt, args);
    va_end(args);
    return false;
}

bool err_path(struct err *err, const char *fmt, ...)
{
    if (!err) return false;
    va_list args;
    va_start(args, fmt);
    fill(err->path, sizeof err->path, fmt, args);
    va_end(args);
    return false;
}

bool err_at(struct err *err, struct pos at, uint32_t len)
{
    if (!err) return false;
    err->at = at;
    err->len = len;
    return false;
}

void err_list_init(struct err_list *list, struct arena *a)
{
    *list = (struct err_list){.arena = a};
}

struct err *err_list_next(struct err_list *list)
{
    if (!list->items)
        list->items = arena_array(list->arena, struct err, ERR_LIST_MAX + 1); /* the last is the scratch slot */
    struct err *slot = &list->items[list->n];
    if (list->n < ERR_LIST_MAX) list->n++;
    list->total++;
    err_clear(slot);
    return slot;
}

struct err *err_list_add(struct err_list *list, enum err_code code, struct pos at, const char *fmt, ...)
{
    struct err *slot = err_list_next(list);
    va_list args;
    va_start(args, fmt);
    set(slot, code, fmt, args);
    va_end(args);
    slot->at = at;
    return slot;
}

static bool after(const struct err *a, const struct err *b)
{
    if ((a->file != NULL) != (b->file != NULL)) return a->file != NULL;
    int order = a->file ? str_cmp(a->file->name, b->file->name) : 0;
    if (order) return order > 0;
    return a->at.line != b->at.line ? a->at.line > b->at.line : a->at.col > b->at.col;
}

void err_list_sort(struct err_list *list)
{
    for (size_t i = 1; i < list->n; i++) { /* insertion: stable, and the list is short */
        struct err moving = list->items[i];
        size_t j = i;
        for (; j > 0 && after(&list->items[j - 1], &moving); j--)
            list->items[j] = list->items[j - 1];
        list->items[j] = moving;
    }
}
