/* The value tree: building, looking up, comparing, copying. */
#include "engine/base/value.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_MAP 16 /* up to here a linear search beats an index */

const char *value_type_name(enum value_type t)
{
    static const char *const names[] = {"null", "bool", "int", "double", "string", "list", "map"};
    return (unsigned)t < sizeof names / sizeof *names ? names[t] : "unknown";
}

struct value value_null(void)
{
    return (struct value){.type = VALUE_NULL};
}

struct value value_bool(bool b)
{
    return (struct value){.type = VALUE_BOOL, .u.b = b};
}

struct value value_int(int64_t i)
{
    return (struct value){.type = VALUE_INT, .u.i = i};
}

struct value value_double(double d)
{
    return (struct value){.type = VALUE_DOUBLE, .u.d = d};
}

struct value value_string(struct str s)
{
    return (struct value){.type = VALUE_STRING, .u.s = s};
}

const struct value *value_get(const struct value *map, const char *key)
{
    return value_find(map, str_of(key));
}

struct str value_get_text(const struct value *map, const char *key)
{
    const struct value *v = value_get(map, key);
    return v != NULL && v->type == VALUE_STRING ? v->u.s : STR("");
}

int64_t value_get_int(const struct value *map, const char *key)
{
    const struct value *v = value_get(map, key);
    return v != NULL && v->type == VALUE_INT ? v->u.i : 0;
}

bool value_get_bool(const struct value *map, const char *key)
{
    const struct value *v = value_get(map, key);
    return v != NULL && v->type == VALUE_BOOL && v->u.b;
}

const struct value *value_item(const struct value *list, size_t i)
{
    return list != NULL && list->type == VALUE_LIST && i < list->u.list.n ? &list->u.list.items[i] : NULL;
}

static const struct value *find_indexed(const struct value *map, struct str key)
{
    size_t low = 0, high = map->u.map.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct value_entry *entry = &map->u.map.entries[map->u.map.index[middle]];
        int order = str_cmp(key, entry->key);
        if (order == 0) return &entry->value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct value *value_find(const struct value *map, struct str key)
{
    if (!map || map->type != VALUE_MAP) return NULL;
    if (map->u.map.index) return find_indexed(map, key);
    for (size_t i = 0; i < map->u.map.n; i++) {
        if (str_eq(map->u.map.entries[i].key, key)) return &map->u.map.entries[i].value;
    }
    return NULL;
}

static int order_doubles(double a, double b)
{
    return (a > b) - (a < b);
}

/* Exact, also beyond 2^53 where the integer has no double of its own. d is not NaN. */
static int order_int_double(int64_t i, double d)
{
    if (d >= 9223372036854775808.0) return -1;
    if (d < -9223372036854775808.0) return 1;
    int64_t whole = (int64_t)d;
    if (i != whole) return i < whole ? -1 : 1;
    return order_doubles(0.0, d - (double)whole);
}

static bool is_number(const struct value *v)
{
    return v->type == VALUE_INT || v->type == VALUE_DOUBLE;
}

static bool is_nan(const struct value *v)
{
    return v->type == VALUE_DOUBLE && v->u.d != v->u.d;
}

/* Both are numbers and neither is NaN. */
static int order_numbers(const struct value *a, const struct value *b)
{
    if (a->type == VALUE_INT && b->type == VALUE_INT) return (a->u.i > b->u.i) - (a->u.i < b->u.i);
    if (a->type == VALUE_INT) return order_int_double(a->u.i, b->u.d);
    if (b->type == VALUE_INT) return -order_int_double(b->u.i, a->u.d);
    return order_doubles(a->u.d, b->u.d);
}

static bool lists_eq(const struct value *a, const struct value *b)
{
    if (a->u.list.n != b->u.list.n) return false;
    for (size_t i = 0; i < a->u.list.n; i++) {
        if (!value_eq(&a->u.list.items[i], &b->u.list.items[i])) return false;
    }
    return true;
}

static bool maps_eq(const struct value *a, const struct value *b)
{
    if (a->u.map.n != b->u.map.n) return false;
    for (size_t i = 0; i < a->u.map.n; i++) {
        const struct value *other = value_find(b, a->u.map.entries[i].key);
        if (!other || !value_eq(&a->u.map.entries[i].value, other)) return false;
    }
    return true;
}

bool value_eq(const struct value *a, const struct value *b)
{
    if (is_number(a) && is_number(b)) return !is_nan(a) && !is_nan(b) && order_numbers(a, b) == 0;
    if (a->type != b->type) return false;
    switch (a->type) {
    case VALUE_NULL: return true;
    case VALUE_BOOL: return a->u.b == b->u.b;
    case VALUE_STRING: return str_eq(a->u.s, b->u.s);
    case VALUE_LIST: return lists_eq(a, b);
    case VALUE_MAP: return maps_eq(a, b);
    case VALUE_INT:
    case VALUE_DOUBLE: break; /* dealt with above */
    }
    return false;
}

static bool cmp_lists(const struct value *a, const struct value *b, int *order)
{
    size_t n = a->u.list.n < b->u.list.n ? a->u.list.n : b->u.list.n;
    for (size_t i = 0; i < n; i++) {
        int here;
        if (!value_cmp(&a->u.list.items[i], &b->u.list.items[i], &here)) return false;
        if (here == 0) continue;
        *order = here;
        return true;
    }
    *order = (a->u.list.n > b->u.list.n) - (a->u.list.n < b->u.list.n);
    return true;
}

bool value_cmp(const struct value *a, const struct value *b, int *order)
{
    if (is_number(a) && is_number(b)) {
        if (is_nan(a) || is_nan(b)) return false;
        *order = order_numbers(a, b);
        return true;
    }
    if (a->type != b->type) return false;
    if (a->type == VALUE_LIST) return cmp_lists(a, b, order);
    if (a->type == VALUE_BOOL) {
        *order = a->u.b - b->u.b;
        return true;
    }
    if (a->type != VALUE_STRING) return false;
    int bytes = str_cmp(a->u.s, b->u.s);
    *order = (bytes > 0) - (bytes < 0);
    return true;
}

struct value value_copy(struct arena *a, const struct value *v)
{
    struct value copy = *v;
    if (v->type == VALUE_STRING) copy.u.s = arena_str(a, v->u.s);
    if (v->type == VALUE_LIST) {
        copy.u.list.items = arena_array(a, struct value, v->u.list.n);
        for (size_t i = 0; i < v->u.list.n; i++)
            copy.u.list.items[i] = value_copy(a, &v->u.list.items[i]);
    }
    if (v->type == VALUE_MAP) {
        struct value_map_builder map;
        value_map_begin(&map, a);
        for (size_t i = 0; i < v->u.map.n; i++) {
            const struct value_entry *entry = &v->u.map.entries[i];
            value_map_put(&map, arena_str(a, entry->key), value_copy(a, &entry->value));
            map.entries[i].key_at = entry->key_at;
        }
        copy = value_map_end(&map);
        copy.at = v->at;
        copy.style = v->style;
    }
    return copy;
}

/* Room for one more item of `size` bytes, doubling. */
static void *room_for_one(struct arena *a, void *items, size_t n, size_t *room, size_t size)
{
    if (n < *room) return items;
    size_t bigger = *room ? *room * 2 : 4;
    items = arena_grow(a, items, *room * size, bigger * size);
    *room = bigger;
    return items;
}

void value_list_begin(struct value_list_builder *b, struct arena *a)
{
    *b = (struct value_list_builder){.arena = a};
}

void value_list_push(struct value_list_builder *b, struct value v)
{
    b->items = room_for_one(b->arena, b->items, b->n, &b->room, sizeof *b->items);
    b->items[b->n++] = v;
}

struct value value_list_end(struct value_list_builder *b)
{
    return (struct value){.type = VALUE_LIST, .u.list = {.items = b->items, .n = b->n}};
}

void value_map_begin(struct value_map_builder *b, struct arena *a)
{
    *b = (struct value_map_builder){.arena = a};
}

void value_map_put(struct value_map_builder *b, struct str key, struct value v)
{
    b->entries = room_for_one(b->arena, b->entries, b->n, &b->room, sizeof *b->entries);
    b->entries[b->n++] = (struct value_entry){.key = key, .value = v};
}

static int by_key(const void *a, const void *b, void *entries)
{
    const struct value_entry *all = entries;
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    int order = str_cmp(all[i].key, all[k].key);
    return order != 0 ? order : (i > k) - (i < k);
}

const uint32_t *value_order(struct arena *a, const struct value *map)
{
    if (map->u.map.index) return map->u.map.index;
    if (map->u.map.n > UINT32_MAX) abort();
    uint32_t *order = arena_array(a, uint32_t, map->u.map.n);
    for (uint32_t i = 0; i < map->u.map.n; i++)
        order[i] = i;
    if (map->u.map.n > 1) qsort_r(order, map->u.map.n, sizeof *order, by_key, map->u.map.entries);
    return order;
}

struct value value_map_end(struct value_map_builder *b)
{
    struct value map = {.type = VALUE_MAP, .u.map = {.entries = b->entries, .n = b->n}};
    if (b->n > SMALL_MAP) map.u.map.index = value_order(b->arena, &map);
    return map;
}
