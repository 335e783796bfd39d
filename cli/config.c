/* Contexts of the user's file, and which server and token a command uses: see config.h. */
#include "cli/config.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/value.h"
#include "engine/os/fs.h"
#include "engine/text/yaml.h"

#define CONFIG_MAX (256u << 10)
#define TOKEN_MAX 4096

static const char *home(void)
{
    const char *dir = getenv("HOME");
    if (dir && *dir) return dir;
    const struct passwd *user = getpwuid(getuid());
    return user && user->pw_dir ? user->pw_dir : "/";
}

static const char *not_empty(const char *text)
{
    return text && *text ? text : NULL;
}

const char *config_data_dir(struct arena *a)
{
    const char *given = not_empty(getenv("MILLRACE_DATA_DIR"));
    if (given) return given;
    if (geteuid() == 0) return "/var/lib/millrace";
    const char *base = not_empty(getenv("XDG_DATA_HOME"));
    return base ? arena_printf(a, "%s/millrace", base).p : arena_printf(a, "%s/.local/share/millrace", home()).p;
}

static const char *config_path(struct arena *a)
{
    const char *base = not_empty(getenv("XDG_CONFIG_HOME"));
    return base ? arena_printf(a, "%s/millrace/config.yaml", base).p
                : arena_printf(a, "%s/.config/millrace/config.yaml", home()).p;
}

/* ---- the file ---- */

static const struct {
    const char *key;
    size_t offset;
} context_fields[] = {
    {"server", offsetof(struct context, server)},
    {"token", offsetof(struct context, token)},
    {"tokenFile", offsetof(struct context, token_file)},
    {"project", offsetof(struct context, project)},
};
#define N_FIELDS (sizeof context_fields / sizeof *context_fields)

static const char **field_of(struct context *c, size_t i)
{
    return (const char **)(void *)((char *)c + context_fields[i].offset);
}

static bool read_context(struct arena *a, const struct value_entry *entry, struct context *out, struct err *err)
{
    struct str names[N_FIELDS];
    for (size_t i = 0; i < N_FIELDS; i++)
        names[i] = str_of(context_fields[i].key);
    if (entry->value.type != VALUE_MAP) {
        err_set(err, ERR_INVALID, "a context is a map");
        return err_at(err, entry->value.at, 1);
    }
    out->name = arena_cstr(a, entry->key);
    for (size_t i = 0; i < entry->value.u.map.n; i++) {
        const struct value_entry *e = &entry->value.u.map.entries[i];
        size_t f = 0;
        while (f < N_FIELDS && !str_eq(e->key, names[f]))
            f++;
        if (f == N_FIELDS || e->value.type != VALUE_STRING) {
            struct str near = suggest(e->key, names, N_FIELDS);
            if (f < N_FIELDS)
                err_set(err, ERR_INVALID, "%s must be a string", context_fields[f].key);
            else
                err_set(err, ERR_INVALID, "unknown key '%.*s'", STR_ARG(e->key));
            if (f == N_FIELDS && near.n) err_hint(err, "did you mean '%.*s'?", STR_ARG(near));
            return err_at(err, e->key_at, (uint32_t)utf8_count(e->key));
        }
        *field_of(out, f) = arena_cstr(a, e->value.u.s);
    }
    return true;
}

static bool read_contexts(struct arena *a, const struct value *doc, struct contexts *out, struct err *err)
{
    if (doc->type == VALUE_NULL) return true;
    const struct value *current = value_get(doc, "current"), *list = value_get(doc, "contexts");
    if (current && current->type == VALUE_STRING) out->current = arena_cstr(a, current->u.s);
    if (!list || list->type == VALUE_NULL) return true;
    if (list->type != VALUE_MAP) {
        err_set(err, ERR_INVALID, "contexts must be a map");
        return err_at(err, list->at, 1);
    }
    out->items = arena_array(a, struct context, list->u.map.n + 1);
    for (size_t i = 0; i < list->u.map.n; i++) {
        if (!read_context(a, &list->u.map.entries[i], &out->items[i], err)) return false;
        out->n++;
    }
    return true;
}

bool contexts_load(struct arena *a, struct contexts *out, struct err *err)
{
    struct contexts found = {.path = config_path(a)};
    BUF_AUTO text;
    buf_init(&text, CONFIG_MAX);
    struct err why;
    if (!fs_read(found.path, CONFIG_MAX, &text, &why)) {
        if (why.code != ERR_NOT_FOUND) {
            if (err) *err = why;
            return false;
        }
        *out = found;
        return true;
    }
    struct err_list errors;
    struct value *docs = NULL;
    size_t n = 0;
    err_list_init(&errors, a);
    why = (struct err){0};
    if (!yaml_parse(a, arena_str(a, buf_view(&text)), NULL, &docs, &n, &errors))
        why = errors.items[0];
    else if (n)
        read_contexts(a, &docs[0], &found, &why);
    if (why.code != ERR_NONE) {
        if (err) *err = why;
        return err_path(err, "%s:%u", found.path, why.at.line);
    }
    *out = found;
    return true;
}

static void put_field(struct buf *out, const char *key, const char *text)
{
    if (!text) return;
    struct value v = value_string(str_of(text));
    buf_printf(out, "    %s: ", key);
    value_json(out, &v, false); /* a JSON string is a YAML string */
    buf_char(out, '\n');
}

bool contexts_save(struct arena *a, const struct contexts *c, struct err *err)
{
    BUF_AUTO text;
    buf_init(&text, CONFIG_MAX);
    buf_c(&text, "# Written by `millrace config`.\n");
    struct value name = value_string(str_of(c->current));
    if (c->current) {
        buf_c(&text, "current: ");
        value_json(&text, &name, false);
        buf_char(&text, '\n');
    }
    buf_c(&text, c->n ? "contexts:\n" : "contexts: {}\n");
    for (size_t i = 0; i < c->n; i++) {
        struct context *item = &c->items[i];
        name = value_string(str_of(item->name));
        bool any = false;
        for (size_t f = 0; f < N_FIELDS; f++)
            any = any || *field_of(item, f);
        buf_c(&text, "  ");
        value_json(&text, &name, false);
        buf_c(&text, any ? ":\n" : ": {}\n");
        for (size_t f = 0; f < N_FIELDS; f++)
            put_field(&text, context_fields[f].key, *field_of(item, f));
    }
    const char *slash = strrchr(c->path, '/');
    const char *folder = arena_cstr(a, (struct str){c->path, (size_t)(slash - c->path)});
    return fs_mkdirs(folder, 0700, err) && fs_write(c->path, buf_view(&text), 0600, false, err);
}

struct context *contexts_find(const struct contexts *c, const char *name)
{
    for (size_t i = 0; name && i < c->n; i++) {
        if (strcmp(c->items[i].name, name) == 0) return &c->items[i];
    }
    return NULL;
}

struct context *contexts_add(struct arena *a, struct contexts *c, const char *name)
{
    struct context *old = contexts_find(c, name);
    if (old) return old;
    c->items = arena_grow(a, c->items, c->n * sizeof *c->items, (c->n + 1) * sizeof *c->items);
    c->items[c->n] = (struct context){.name = name};
    return &c->items[c->n++];
}

bool contexts_remove(struct contexts *c, const char *name)
{
    struct context *old = contexts_find(c, name);
    if (!old) return false;
    size_t at = (size_t)(old - c->items);
    memmove(old, old + 1, (c->n - at - 1) * sizeof *old);
    c->n--;
    if (c->current && strcmp(c->current, name) == 0) c->current = NULL;
    return true;
}

/* ---- what a command uses ---- */

static bool token_from(struct arena *a, const char *path, const char **out, struct err *err)
{
    BUF_AUTO text;
    buf_init(&text, TOKEN_MAX);
    if (!fs_read(path, TOKEN_MAX, &text, err)) return false;
    struct str token = str_trim(buf_view(&text));
    for (size_t i = 0; i < token.n; i++) {
        if (token.p[i] <= ' ' || token.p[i] >= 0x7F)
            return err_set(err, ERR_INVALID, "%s does not hold a token: one line of printable characters", path);
    }
    *out = arena_cstr(a, token);
    return true;
}

static const char *without_slash(struct arena *a, const char *url)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    return arena_cstr(a, (struct str){url, n});
}

/* The token that goes with the server found, or its file; see the header for who may get which. */
static void find_token(struct arena *a, const struct args *args, const struct context *context, bool local,
                       struct settings *s)
{
    s->token_place = s->token_file = args_get(args, "token-file");
    if (s->token_file) return;
    s->token = not_empty(getenv("MILLRACE_TOKEN"));
    if (s->token) {
        s->token_place = "MILLRACE_TOKEN";
    } else if (context && context->token) {
        s->token = context->token;
        s->token_place = arena_printf(a, "context %s", context->name).p;
    } else if (context && context->token_file) {
        s->token_place = s->token_file = context->token_file;
        s->token_of_context = true;
    } else if (local) {
        s->token_place = s->token_file = arena_printf(a, "%s/token", config_data_dir(a)).p;
        s->token_optional = true;
    }
}

bool settings_token(struct arena *a, struct settings *s, struct err *err)
{
    struct err why;
    if (s->token || !s->token_file || token_from(a, s->token_file, &s->token, &why)) return true;
    if (s->token_optional) return true; /* said when the server asks for one */
    if (!s->token_of_context) {
        err_set(err, ERR_UNAUTHENTICATED, "no token: %s", why.message);
        return err_hint(err, "--token-file names a file that holds it");
    }
    err_set(err, ERR_UNAUTHENTICATED, "no token for the context %s: %s", s->context, why.message);
    return err_hint(err, "millrace config set %s --token-from FILE names another file", s->context);
}

static bool find_context(const struct args *args, const struct contexts *contexts, const struct context **out,
                         struct err *err)
{
    const char *asked = args_get(args, "context");
    const char *name = asked ? asked : contexts->current;
    *out = contexts_find(contexts, name);
    if (!name || *out) return true;
    err_set(err, asked ? ERR_INVALID : ERR_NOT_FOUND, "no context named '%s' in %s", name, contexts->path);
    return err_hint(err, "millrace config list");
}

bool settings_resolve(struct arena *a, const struct args *args, struct settings *out, struct err *err)
{
    struct contexts contexts;
    const struct context *context;
    if (!contexts_load(a, &contexts, err) || !find_context(args, &contexts, &context, err)) return false;

    struct settings s = {0};
    const char *named = args_get(args, "server");
    if (!named && !args_has(args, "context")) named = not_empty(getenv("MILLRACE_URL"));
    const char *of_context = context ? context->server : NULL;
    s.server = without_slash(a, named ? named : of_context ? of_context : CONFIG_LOCAL_SERVER);
    /* Named otherwise than in the context: then the context, its token above all, is not meant. */
    if (context && named && (!of_context || strcmp(without_slash(a, of_context), s.server) != 0)) context = NULL;
    s.context = context ? context->name : NULL;
    if (!str_starts(str_of(s.server), "http://") && !str_starts(str_of(s.server), "https://")) {
        err_set(err, ERR_INVALID, "the server must be an http:// or https:// URL, not '%s'", s.server);
        return err_hint(err, "%s", CONFIG_LOCAL_SERVER);
    }
    s.project = args_get(args, "project");
    if (!s.project) s.project = not_empty(getenv("MILLRACE_PROJECT"));
    if (!s.project && context) s.project = context->project;
    struct str host = str_of(strstr(s.server, "//") + 2);
    bool local = str_starts(host, "127.0.0.1") || str_starts(host, "localhost") || str_starts(host, "[::1]");
    find_token(a, args, context, local, &s);
    *out = s;
    return true;
}
