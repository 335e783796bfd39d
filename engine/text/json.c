/* JSON by jansson, copied into an arena: see json.h. */
#include "engine/text/json.h"

#include <jansson.h>
#include <stdlib.h>

#define PIECES_LEAST ((size_t)32 << 20)   /* bytes that values may take while they are read, */
#define PIECES_EACH 16                    /* and for each byte of the text; */
#define RELOAD_DEPTH (2 * JSON_MAX_DEPTH) /* a plan has what was let in some levels further down */
#define PIECES_ANY 96                     /* for each byte of any text at all: of "[{},{},{}]" it takes 80 */

/* jansson makes many small pieces, all of which go once they are copied: they come from an arena of the one parse. */
static _Thread_local struct arena *pieces;

static void *piece(size_t n)
{
    return pieces->over ? NULL : arena_alloc(pieces, n);
}

static void keep(void *p)
{
    (void)p; /* until its arena goes */
}

/* Before there are threads: it is for the whole process. */
__attribute__((constructor)) static void use_pieces(void)
{
    json_set_alloc_funcs(piece, keep);
}

/* jansson stands behind the key's closing quote, and its message leaves long keys out. */
static bool fail_twice(const json_error_t *why, struct str text, struct pos end, struct err *err)
{
    size_t to = (size_t)why->position - 1, from = to - 1;
    while (from > 0 && (text.p[from] != '"' || text.p[from - 1] == '\\'))
        from--;
    struct str key = str_sub(text, from + 1, to - from - 1);
    uint32_t width = (uint32_t)utf8_count(key) + 2;
    err_set(err, ERR_INVALID, "the key '%.*s' stands twice", STR_ARG(str_sub(key, 0, 100)));
    err_hint(err, "leave one of them out");
    return err_at(err, (struct pos){end.line, end.col >= width ? end.col - width + 1 : 1}, width);
}

static bool fail(const json_error_t *why, struct str text, struct err *err)
{
    struct pos at = {(uint32_t)why->line, why->column > 0 ? (uint32_t)why->column : 1}; /* the last character read */
    enum json_error_code code = json_error_code(why);
    if (pieces->over) {
        err_set(err, ERR_LIMIT, "holds too many values for its length");
        return err_hint(err, "write it without empty lists and maps, or in parts");
    }
    if (code == json_error_out_of_memory || why->line < 1) abort(); /* as everywhere */
    if (code == json_error_duplicate_key) return fail_twice(why, text, at, err);
    if (code == json_error_numeric_overflow) {
        err_set(err, ERR_INVALID, "%s", why->text);
        err_hint(err, "whole numbers have 64 bits, others are doubles; write it as a string");
    } else if (code == json_error_null_character || code == json_error_null_byte_in_key) {
        err_set(err, ERR_INVALID, "a string may not contain the character U+0000");
        err_hint(err, "leave it out, or encode the bytes, for example as Base64");
    } else {
        err_set(err, code == json_error_stack_overflow ? ERR_LIMIT : ERR_SYNTAX, "not JSON: %s", why->text);
    }
    return err_at(err, at, 0);
}

static bool convert(struct arena *a, json_t *in, size_t depth, struct value *out);

static bool convert_list(struct arena *a, json_t *in, size_t depth, struct value *out)
{
    size_t n = json_array_size(in);
    struct value *items = arena_array(a, struct value, n);
    for (size_t i = 0; i < n; i++)
        if (!convert(a, json_array_get(in, i), depth, &items[i])) return false;
    *out = (struct value){.type = VALUE_LIST, .u.list = {.items = items, .n = n}};
    return true;
}

static bool convert_map(struct arena *a, json_t *in, size_t depth, struct value *out)
{
    struct value_map_builder map;
    value_map_begin(&map, a);
    map.room = json_object_size(in);
    map.entries = arena_array(a, struct value_entry, map.room);
    for (void *i = json_object_iter(in); i; i = json_object_iter_next(in, i)) {
        struct str key = {json_object_iter_key(i), json_object_iter_key_len(i)};
        struct value value;
        if (!convert(a, json_object_iter_value(i), depth, &value)) return false;
        value_map_put(&map, arena_str(a, key), value);
    }
    *out = value_map_end(&map);
    return true;
}

static bool convert(struct arena *a, json_t *in, size_t depth, struct value *out)
{
    switch (json_typeof(in)) {
    case JSON_ARRAY: return depth > 0 && convert_list(a, in, depth - 1, out);
    case JSON_OBJECT: return depth > 0 && convert_map(a, in, depth - 1, out);
    case JSON_STRING:
        *out = value_string(arena_str(a, (struct str){json_string_value(in), json_string_length(in)}));
        break;
    case JSON_INTEGER: *out = value_int(json_integer_value(in)); break;
    case JSON_REAL: *out = value_double(json_real_value(in)); break;
    case JSON_TRUE: *out = value_bool(true); break;
    case JSON_FALSE: *out = value_bool(false); break;
    case JSON_NULL: *out = value_null(); break;
    }
    return true;
}

static bool parse(struct arena *a, struct str text, size_t max_depth, struct value *out, struct err *err)
{
    json_error_t why;
    struct value value;
    json_t *read = json_loadb(text.n > 0 ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!read) return fail(&why, text, err);
    if (!convert(a, read, max_depth, &value)) {
        err_set(err, ERR_LIMIT, "the text is nested too deeply");
        return err_hint(err, "at most %zu lists and maps may stand in each other", max_depth);
    }
    *out = value;
    return true;
}

static bool parse_within(struct arena *a, struct str text, size_t room, size_t max_depth, struct value *out,
                         struct err *err)
{
    struct arena own;
    arena_init(&own, room);
    pieces = &own;
    bool ok = parse(a, text, max_depth > 0 ? max_depth : JSON_MAX_DEPTH, out, err);
    pieces = NULL;
    arena_free(&own);
    return ok;
}

bool json_parse(struct arena *a, struct str text, size_t max_depth, struct value *out, struct err *err)
{
    if (text.n > 0 && str_starts(text, "\xEF\xBB\xBF")) text = str_sub(text, 3, text.n);
    return parse_within(a, text, PIECES_LEAST + PIECES_EACH * text.n, max_depth, out, err);
}

bool json_decode(struct arena *a, struct str text, struct value *out, struct err *err)
{
    return json_parse(a, text, 0, out, err);
}

bool json_reload(struct arena *a, struct str text, struct value *out, struct err *err)
{
    return parse_within(a, text, PIECES_LEAST + PIECES_ANY * text.n, RELOAD_DEPTH, out, err);
}

bool json_may_come(struct str text, struct err *err)
{
    struct arena a;
    struct value ignored;
    if (PIECES_ANY * text.n <= PIECES_LEAST) return true;
    arena_init(&a, 0);
    bool ok = parse_within(&a, text, PIECES_LEAST + PIECES_EACH * text.n, RELOAD_DEPTH, &ignored, err);
    arena_free(&a);
    return ok;
}
