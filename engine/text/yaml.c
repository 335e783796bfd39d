/* Events to values: see yaml.h. libyaml cannot go on after a syntax error, so that one ends the reading; duplicate
 * keys, tags and the like are collected. */
#include "engine/text/yaml.h"

#include <string.h>
#include <yaml.h>

#include "engine/base/map.h"
#include "engine/text/scalar.h"

/* An anchored node: aliases share its memory, and count what it holds once more. */
struct anchor {
    struct value value;
    size_t nodes, height;
    bool open; /* still being read: an alias to it would be endless */
};

struct reader {
    struct arena *arena;
    struct str text;
    struct yaml_limits limits;
    struct err_list *errors;
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event, fatal;
    size_t depth, nodes, duplicates;
    struct map names; /* anchor → index */
    struct anchor *anchors;
    size_t n_anchors, room_anchors;
};

static struct pos at_mark(yaml_mark_t mark)
{
    return (struct pos){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

static struct pos at_offset(struct str text, size_t offset)
{
    struct pos at = {1, 1};
    size_t start = 0;
    if (offset > text.n) offset = text.n;
    for (size_t i = 0; i < offset; i++) {
        if (text.p[i] != '\n') continue;
        at.line++;
        start = i + 1;
    }
    at.col = (uint32_t)utf8_count(str_sub(text, start, offset - start)) + 1;
    return at;
}

static struct str line_at(struct str text, uint32_t line)
{
    struct str piece = {"", 0};
    for (uint32_t i = 1; str_split(&text, '\n', &piece); i++) {
        if (i == line) return piece;
    }
    return (struct str){"", 0};
}

/* The commonest mistake of the format has a hint of its own: YAML reads the braces of an unquoted expression. */
static void explain(struct reader *r, struct err *e, struct pos where)
{
    size_t at;
    struct str line = line_at(r->text, where.line);
    if (str_find(line, STR("${{"), &at))
        err_hint(e, "put the expression into quotes: \"${{ … }}\" (in { } and [ ], and where it holds ': ' or ' #')");
    else if (str_find(line, STR("\t"), &at) && str_trim(str_sub(line, 0, at)).n == 0)
        err_hint(e, "indent with spaces, not with tabs");
    else if (strstr(e->message, "mapping values are not allowed"))
        err_hint(e, "is the line indented as those around it? a text with ': ' in it is put into quotes");
}

static bool syntax_error(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    r->fatal = true;
    if (p->error == YAML_READER_ERROR) {
        struct err *e = err_list_add(r->errors, ERR_SYNTAX, at_offset(r->text, p->problem_offset), "%s",
                                     p->problem ? p->problem : "unreadable text");
        if (p->problem_value >= 0) err_hint(e, "the character is U+%04X", (unsigned)p->problem_value);
        return false;
    }
    struct pos at = at_mark(p->problem_mark);
    struct err *e = err_list_add(r->errors, ERR_SYNTAX, at, "%s%s%s", p->problem ? p->problem : "unreadable YAML",
                                 p->context ? ", " : "", p->context ? p->context : "");
    explain(r, e, at);
    if (!e->hint[0] && p->context && p->context_mark.line + 1 != at.line) {
        explain(r, e, at_mark(p->context_mark));
        if (!e->hint[0]) err_hint(e, "it began in line %zu", p->context_mark.line + 1);
    }
    return false;
}

static bool next(struct reader *r)
{
    if (r->has_event) yaml_event_delete(&r->event);
    r->has_event = false;
    if (!yaml_parser_parse(&r->parser, &r->event)) return syntax_error(r);
    r->has_event = true;
    return true;
}

static bool fatal(struct reader *r, struct pos at, enum err_code code, const char *message, const char *hint)
{
    struct err *e = err_list_add(r->errors, code, at, "%s", message);
    if (hint) err_hint(e, "%s", hint);
    r->fatal = true;
    return false;
}

static bool count_nodes(struct reader *r, size_t n, size_t height, struct pos at)
{
    r->nodes += n;
    if (r->nodes > r->limits.max_nodes)
        return fatal(r, at, ERR_LIMIT, "the document has too many nodes", "aliases count each time they are used");
    if (r->depth + height > r->limits.max_depth)
        return fatal(r, at, ERR_LIMIT, "the document is nested too deeply", NULL);
    return true;
}

/* ---- anchors ---- */

static size_t anchor_open(struct reader *r, const yaml_char_t *name)
{
    if (!name) return SIZE_MAX;
    if (r->n_anchors == r->room_anchors) {
        size_t room = r->room_anchors ? r->room_anchors * 2 : 8;
        r->anchors = arena_grow(r->arena, r->anchors, r->room_anchors * sizeof *r->anchors, room * sizeof *r->anchors);
        r->room_anchors = room;
    }
    r->anchors[r->n_anchors] = (struct anchor){.open = true};
    map_put(&r->names, arena_str(r->arena, str_of((const char *)name)), r->n_anchors, NULL);
    return r->n_anchors++;
}

static void anchor_close(struct reader *r, size_t i, const struct value *v, size_t nodes, size_t height)
{
    if (i == SIZE_MAX) return;
    r->anchors[i] = (struct anchor){.value = *v, .nodes = nodes, .height = height};
}

static bool read_alias(struct reader *r, struct value *out, size_t *height)
{
    struct pos at = at_mark(r->event.start_mark);
    uint64_t i;
    if (!map_get(&r->names, str_of((const char *)r->event.data.alias.anchor), &i)) {
        err_list_add(r->errors, ERR_INVALID, at, "the alias *%.100s has no anchor before it",
                     r->event.data.alias.anchor);
        *out = value_null();
        return true;
    }
    const struct anchor *anchor = &r->anchors[i];
    if (anchor->open) return fatal(r, at, ERR_INVALID, "the alias stands inside what it stands for", NULL);
    *out = anchor->value;
    *height = anchor->height;
    return count_nodes(r, anchor->nodes, anchor->height, at);
}

/* ---- scalars ---- */

static const char *core_tag(const yaml_char_t *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    const char *t = (const char *)tag;
    if (!t || strncmp(t, prefix, sizeof prefix - 1) != 0) return NULL;
    return t + sizeof prefix - 1;
}

static void refuse_tag(struct reader *r, const yaml_char_t *tag)
{
    struct err *e =
        err_list_add(r->errors, ERR_INVALID, at_mark(r->event.start_mark), "the tag '%.100s' is not known here", tag);
    err_hint(e, "leave it away");
}

static enum value_style style_of(yaml_scalar_style_t style)
{
    switch (style) {
    case YAML_SINGLE_QUOTED_SCALAR_STYLE: return STYLE_SINGLE;
    case YAML_DOUBLE_QUOTED_SCALAR_STYLE: return STYLE_DOUBLE;
    case YAML_LITERAL_SCALAR_STYLE: return STYLE_LITERAL;
    case YAML_FOLDED_SCALAR_STYLE: return STYLE_FOLDED;
    case YAML_ANY_SCALAR_STYLE:
    case YAML_PLAIN_SCALAR_STYLE: break;
    }
    return STYLE_PLAIN;
}

static void resolve(struct reader *r, struct str text, struct value *out)
{
    struct err err;
    if (scalar_resolve(text, out, &err)) return;
    err.at = at_mark(r->event.start_mark);
    err.len = (uint32_t)utf8_count(text);
    *err_list_next(r->errors) = err;
    *out = value_null();
}

static void read_tagged(struct reader *r, const yaml_char_t *tag, struct str text, struct value *out)
{
    static const struct {
        const char *name;
        enum value_type type;
    } tags[] = {
        {"null", VALUE_NULL}, {"bool", VALUE_BOOL}, {"int", VALUE_INT}, {"float", VALUE_DOUBLE}, {"str", VALUE_STRING}};
    const char *name = core_tag(tag);
    *out = value_string(text);
    if (strcmp((const char *)tag, "!") == 0) return;
    for (size_t i = 0; name && i < sizeof tags / sizeof *tags; i++) {
        if (strcmp(name, tags[i].name) != 0) continue;
        if (tags[i].type == VALUE_STRING) return;
        resolve(r, text, out);
        if (tags[i].type == VALUE_DOUBLE && out->type == VALUE_INT) *out = value_double((double)out->u.i);
        if (out->type != tags[i].type)
            err_list_add(r->errors, ERR_INVALID, at_mark(r->event.start_mark), "this is no !!%s", name);
        return;
    }
    refuse_tag(r, tag);
}

static void read_scalar(struct reader *r, struct value *out)
{
    struct str text = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
    struct pos at = at_mark(r->event.start_mark);
    const yaml_char_t *tag = r->event.data.scalar.tag;
    if (text.n && memchr(text.p, 0, text.n)) {
        err_list_add(r->errors, ERR_INVALID, at, "a string may not contain the character U+0000");
        text.n = 0;
    }
    if (tag)
        read_tagged(r, tag, text, out);
    else if (r->event.data.scalar.plain_implicit)
        resolve(r, text, out);
    else
        *out = value_string(text);
    if (out->type == VALUE_STRING) out->u.s = arena_str(r->arena, text);
    out->at = at;
    out->style = style_of(r->event.data.scalar.style);
}

/* ---- collections ---- */

static bool read_node(struct reader *r, struct value *out, size_t *height);

static void check_collection_tag(struct reader *r, const yaml_char_t *tag, const char *name)
{
    if (!tag || strcmp((const char *)tag, "!") == 0) return;
    const char *core = core_tag(tag);
    if (!core || strcmp(core, name) != 0) refuse_tag(r, tag);
}

static bool read_list(struct reader *r, struct value *out, size_t *height)
{
    struct value_list_builder list;
    check_collection_tag(r, r->event.data.sequence_start.tag, "seq");
    value_list_begin(&list, r->arena);
    if (!next(r)) return false;
    while (r->event.type != YAML_SEQUENCE_END_EVENT) {
        struct value item;
        size_t below = 0;
        if (!read_node(r, &item, &below)) return false;
        if (below > *height) *height = below;
        value_list_push(&list, item);
        if (!next(r)) return false;
    }
    *out = value_list_end(&list);
    return true;
}

/* Any scalar may be a key and is its text. */
static bool read_key(struct reader *r, struct str *key, struct pos *at)
{
    *at = at_mark(r->event.start_mark);
    if (r->event.type != YAML_SCALAR_EVENT)
        return fatal(r, *at, ERR_INVALID, "a key must be plain text",
                     "a ${{ … }} as a whole value in { } or [ ] needs quotes");
    struct str text = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (r->event.data.scalar.tag && !core_tag(r->event.data.scalar.tag)) refuse_tag(r, r->event.data.scalar.tag);
    if (plain && str_is(text, "<<"))
        err_hint(err_list_add(r->errors, ERR_INVALID, *at, "merge keys (<<) are not supported"), "write the keys out");
    if (text.n == 0 && plain) err_list_add(r->errors, ERR_INVALID, *at, "a key is empty");
    if (text.n && memchr(text.p, 0, text.n)) {
        err_list_add(r->errors, ERR_INVALID, *at, "a key may not contain the character U+0000");
        text.n = 0;
    }
    *key = arena_str(r->arena, text);
    return count_nodes(r, 1, 0, *at);
}

static void duplicate(struct reader *r, const struct value_entry *first, const struct value_entry *second)
{
    r->duplicates++;
    struct err *e =
        err_list_add(r->errors, ERR_INVALID, second->key_at, "the key '%.*s' stands twice, first in line %u",
                     (int)(second->key.n > 100 ? 100 : second->key.n), second->key.p, first->key_at.line);
    e->len = (uint32_t)utf8_count(second->key);
}

/* Tells of each key that stood before, and notes it in `again`. */
static void find_again(struct reader *r, const struct value *map, bool *again)
{
    const struct value_entry *entries = map->u.map.entries;
    const uint32_t *order = map->u.map.index;
    for (size_t i = 1; i < map->u.map.n; i++) {
        if (order) {
            if (!str_eq(entries[order[i - 1]].key, entries[order[i]].key)) continue;
            duplicate(r, &entries[order[i - 1]], &entries[order[i]]);
            again[order[i]] = true;
            continue;
        }
        for (size_t j = 0; j < i; j++) {
            if (!str_eq(entries[j].key, entries[i].key)) continue;
            duplicate(r, &entries[j], &entries[i]);
            again[i] = true;
            break;
        }
    }
}

/* The first of several equal keys counts. */
static void make_unique(struct reader *r, struct value *map)
{
    struct value_map_builder kept;
    size_t before = r->duplicates;
    bool *again = arena_array(r->arena, bool, map->u.map.n + 1);
    find_again(r, map, again);
    if (r->duplicates == before) return;
    value_map_begin(&kept, r->arena);
    for (size_t i = 0; i < map->u.map.n; i++) {
        const struct value_entry *e = &map->u.map.entries[i];
        if (again[i]) continue;
        value_map_put(&kept, e->key, e->value);
        kept.entries[kept.n - 1].key_at = e->key_at;
    }
    *map = value_map_end(&kept);
}

static bool read_map(struct reader *r, struct value *out, size_t *height)
{
    struct value_map_builder map;
    check_collection_tag(r, r->event.data.mapping_start.tag, "map");
    value_map_begin(&map, r->arena);
    if (!next(r)) return false;
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        struct str key = STR("");
        struct pos at;
        struct value value = value_null();
        size_t below = 0;
        if (!read_key(r, &key, &at) || !next(r) || !read_node(r, &value, &below)) return false;
        if (below > *height) *height = below;
        value_map_put(&map, key, value);
        map.entries[map.n - 1].key_at = at;
        if (!next(r)) return false;
    }
    *out = value_map_end(&map);
    make_unique(r, out);
    return true;
}

static bool read_collection(struct reader *r, struct value *out, size_t *height)
{
    bool map = r->event.type == YAML_MAPPING_START_EVENT;
    struct pos at = at_mark(r->event.start_mark);
    size_t anchor = anchor_open(r, map ? r->event.data.mapping_start.anchor : r->event.data.sequence_start.anchor);
    size_t before = r->nodes - 1;
    r->depth++;
    if (!count_nodes(r, 0, 0, at) || !(map ? read_map : read_list)(r, out, height)) return false;
    r->depth--;
    ++*height;
    out->at = at;
    anchor_close(r, anchor, out, r->nodes - before, *height);
    return true;
}

/* The node whose first event is the current one; leaves the reader on its last event. */
static bool read_node(struct reader *r, struct value *out, size_t *height)
{
    *height = 0;
    if (r->event.type == YAML_ALIAS_EVENT) return read_alias(r, out, height);
    if (!count_nodes(r, 1, 0, at_mark(r->event.start_mark))) return false;
    if (r->event.type != YAML_SCALAR_EVENT) return read_collection(r, out, height);
    size_t anchor = anchor_open(r, r->event.data.scalar.anchor);
    read_scalar(r, out);
    anchor_close(r, anchor, out, 1, 0);
    return true;
}

/* ---- documents ---- */

static bool read_stream(struct reader *r, struct value_list_builder *docs)
{
    size_t seen = 0;
    if (!next(r)) return false;
    while (r->event.type != YAML_STREAM_END_EVENT) {
        if (r->event.type == YAML_DOCUMENT_START_EVENT) {
            struct value doc = value_null();
            size_t height;
            if (++seen > r->limits.max_documents)
                return fatal(r, at_mark(r->event.start_mark), ERR_LIMIT, "the text has too many documents", NULL);
            if (!next(r) || !read_node(r, &doc, &height)) return false;
            map_free(&r->names); /* anchors end with their document */
            if (doc.type != VALUE_NULL) value_list_push(docs, doc);
        }
        if (!next(r)) return false;
    }
    return true;
}

static bool check_text(struct reader *r)
{
    size_t bad;
    if (r->text.n > r->limits.max_bytes)
        return fatal(r, (struct pos){0, 0}, ERR_TOO_LARGE, "the text is too long", NULL);
    if (str_starts(r->text, "\xFF\xFE") || str_starts(r->text, "\xFE\xFF"))
        return fatal(r, (struct pos){1, 1}, ERR_SYNTAX, "the text is UTF-16", "save it as UTF-8");
    if (!utf8_valid(r->text, &bad))
        return fatal(r, at_offset(r->text, bad), ERR_SYNTAX, "the text is not UTF-8 here", "save it as UTF-8");
    if (str_starts(r->text, "\xEF\xBB\xBF")) r->text = str_sub(r->text, 3, r->text.n);
    return true;
}

static struct yaml_limits with_defaults(const struct yaml_limits *limits)
{
    struct yaml_limits l = limits ? *limits : (struct yaml_limits){0};
    if (!l.max_bytes) l.max_bytes = (size_t)8 << 20;
    if (!l.max_depth) l.max_depth = 64;
    if (!l.max_nodes) l.max_nodes = 2000000;
    if (!l.max_documents) l.max_documents = 1000;
    return l;
}

bool yaml_read(struct arena *a, struct str text, const struct yaml_limits *limits, struct value **docs, size_t *n,
               struct err_list *errors)
{
    struct reader r = {.arena = a, .text = text, .limits = with_defaults(limits), .errors = errors};
    struct value_list_builder list;
    size_t before = errors->total;
    if (!check_text(&r)) return false;
    if (!yaml_parser_initialize(&r.parser))
        return fatal(&r, (struct pos){0, 0}, ERR_INTERNAL, "no memory for the parser", NULL);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(r.text.n ? r.text.p : ""), r.text.n);
    map_init(&r.names, 0);
    value_list_begin(&list, a);
    bool read = read_stream(&r, &list);
    if (r.has_event) yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    map_free(&r.names);
    if (!read || errors->total - before != r.duplicates) return false;
    *docs = list.items;
    *n = list.n;
    return true;
}

bool yaml_parse(struct arena *a, struct str text, const struct yaml_limits *limits, struct value **docs, size_t *n,
                struct err_list *errors)
{
    struct value *read;
    size_t before = errors->total, n_read;
    if (!yaml_read(a, text, limits, &read, &n_read, errors) || errors->total != before) return false;
    *docs = read;
    *n = n_read;
    return true;
}
