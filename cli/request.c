/* Parameters, labels and paths of requests: see request.h. */
#include "cli/request.h"

#include <string.h>

#include "cli/client.h"
#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"

#define PARAMS_MAX (4u << 20)

/* KEY=VALUE; the first `=` divides. */
static bool pair(const char *text, const char *option, struct str *key, struct str *value, struct err *err)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        err_set(err, ERR_INVALID, "--%s wants KEY=VALUE, not '%s'", option, text);
        return false;
    }
    *key = (struct str){text, (size_t)(equals - text)};
    *value = str_of(equals + 1);
    return true;
}

static bool put(struct value_map_builder *map, struct str key, struct value v)
{
    for (size_t i = 0; i < map->n; i++) {
        if (!str_eq(map->entries[i].key, key)) continue;
        map->entries[i].value = v; /* the later one wins */
        return true;
    }
    value_map_put(map, key, v);
    return true;
}

static bool params_file(struct cli *cli, const char *path, struct value_map_builder *map, struct err *err)
{
    struct str source;
    struct value *docs = NULL;
    size_t n = 0;
    struct err_list errors;
    err_list_init(&errors, cli->arena);
    if (!cli_read_file(cli->arena, path, PARAMS_MAX, &source, err)) return false;
    if (!yaml_parse(cli->arena, source, NULL, &docs, &n, &errors)) { /* JSON is YAML */
        *err = errors.items[0];
        return err_path(err, "%s:%u:%u", path, err->at.line, err->at.col);
    }
    if (n > 1 || (n && docs[0].type != VALUE_MAP)) {
        err_set(err, ERR_INVALID, "a file of parameters is one map");
        return err_path(err, "%s", path);
    }
    for (size_t i = 0; n && i < docs[0].u.map.n; i++)
        put(map, docs[0].u.map.entries[i].key, docs[0].u.map.entries[i].value);
    return true;
}

bool request_params(struct cli *cli, const struct args *args, struct value *out, struct err *err)
{
    struct value_map_builder map;
    const char *file = args_get(args, "params-file"), *text;
    value_map_begin(&map, cli->arena);
    if (file && !params_file(cli, file, &map, err)) return false;
    for (size_t at = 0; (text = args_next(args, "param", &at));) {
        struct str key, raw;
        struct value v;
        if (!pair(text, "param", &key, &raw, err)) return false;
        bool json = str_starts(raw, "[") || str_starts(raw, "{");
        if (!json || !json_parse(cli->arena, raw, 0, &v, NULL)) v = value_string(raw);
        if (!utf8_valid(raw, NULL)) return err_set(err, ERR_INVALID, "parameter %.*s is not valid UTF-8", STR_ARG(key));
        put(&map, key, v);
    }
    *out = value_map_end(&map);
    return true;
}

bool request_labels(struct cli *cli, const struct args *args, struct value *out, struct err *err)
{
    struct value_map_builder map;
    const char *text;
    value_map_begin(&map, cli->arena);
    for (size_t at = 0; (text = args_next(args, "label", &at));) {
        struct str key, raw;
        if (!pair(text, "label", &key, &raw, err)) return false;
        put(&map, key, value_string(raw));
    }
    *out = value_map_end(&map);
    return true;
}

const char *request_key(struct arena *a)
{
    unsigned char bytes[16];
    char text[33];
    os_random(bytes, sizeof bytes);
    digest_hex(bytes, sizeof bytes, text);
    return arena_cstr(a, str_of(text));
}

int request_run_path(struct cli *cli, const char *word, const char *behind, const char **out)
{
    int64_t run;
    if (!str_int(str_of(word), &run) || run < 1) {
        cli_usage(cli, "'%s' is not a run's number", word);
        return CLI_USAGE;
    }
    *out = arena_printf(cli->arena, "/api/v1/runs/%lld%s", (long long)run, behind).p;
    return -1;
}
