/* Values: the one tree type for YAML, JSON, parameters and expression results. Immutable once built, living in an
 * arena.
 *
 * A value that came from a document knows its position; one that was computed has position 0. */
#ifndef MILLRACE_BASE_VALUE_H
#define MILLRACE_BASE_VALUE_H

#include "engine/base/arena.h"
#include "engine/base/err.h"

enum value_type { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_DOUBLE, VALUE_STRING, VALUE_LIST, VALUE_MAP };

/* How a scalar was written: tells where inside it a position can be found. */
enum value_style { STYLE_NONE, STYLE_PLAIN, STYLE_SINGLE, STYLE_DOUBLE, STYLE_LITERAL, STYLE_FOLDED };

struct value {
    enum value_type type;
    enum value_style style;
    struct pos at;
    union {
        bool b;
        int64_t i;
        double d;
        struct str s; /* valid UTF-8, no NUL inside */
        struct {
            struct value *items;
            size_t n;
        } list;
        struct {
            struct value_entry *entries; /* in document order, keys unique */
            size_t n;
            const uint32_t *index; /* entries ordered by key; made by the builder for big maps, else NULL */
        } map;
    } u;
};

struct value_entry {
    struct str key;
    struct pos key_at;
    struct value value;
};

const char *value_type_name(enum value_type t); /* "null", "bool", "int", "double", "string", "list", "map" */

struct value value_null(void);
struct value value_bool(bool b);
struct value value_int(int64_t i);
struct value value_double(double d);
struct value value_string(struct str s); /* keeps the pointer */

/* Field of a map, NULL when absent or not a map. Linear in small maps, by the index in big ones. */
const struct value *value_get(const struct value *map, const char *key);
const struct value *value_find(const struct value *map, struct str key);
/* Such a field when it is of that type; else empty, 0, false. Text keeps the value's pointer. */
struct str value_get_text(const struct value *map, const char *key);
int64_t value_get_int(const struct value *map, const char *key);
bool value_get_bool(const struct value *map, const char *key);
/* Of a list, NULL beyond its end or when it is none. */
const struct value *value_item(const struct value *list, size_t i);

/* Deep equality; 1 == 1.0; maps compare regardless of order. */
bool value_eq(const struct value *a, const struct value *b);
/* Order of numbers, strings, bools, lists; false when the two cannot be ordered. */
bool value_cmp(const struct value *a, const struct value *b, int *order);
struct value value_copy(struct arena *a, const struct value *v); /* deep: strings too */

/* Builders. */
struct value_list_builder {
    struct arena *arena;
    struct value *items;
    size_t n, room;
};
void value_list_begin(struct value_list_builder *b, struct arena *a);
void value_list_push(struct value_list_builder *b, struct value v);
struct value value_list_end(struct value_list_builder *b);

struct value_map_builder {
    struct arena *arena;
    struct value_entry *entries;
    size_t n, room;
};
void value_map_begin(struct value_map_builder *b, struct arena *a);
void value_map_put(struct value_map_builder *b, struct str key, struct value v); /* the caller keeps keys unique */
struct value value_map_end(struct value_map_builder *b);

struct buf;
/* JSON text of a value: compact, keys in order; `canonical` sorts keys, so that equal values give equal bytes. */
void value_json(struct buf *out, const struct value *v, bool canonical);
/* The order in which canonical text lists a map's entries; in the arena, or the map's own index. */
const uint32_t *value_order(struct arena *a, const struct value *map);

#endif
