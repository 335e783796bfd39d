/* Where the server is and who we are: from options, the environment, a context of the user's file, or the local
 * server's defaults – in this order.
 *
 * The file is $XDG_CONFIG_HOME/millrace/config.yaml (default ~/.config): `current: NAME` and `contexts: {NAME: {server,
 * token, tokenFile, project}}`. A token is only ever sent to the server it was given for: one from a context does not
 * go to a server named by --server or MILLRACE_URL. */
#ifndef MILLRACE_CLI_CONFIG_H
#define MILLRACE_CLI_CONFIG_H

#include "cli/args.h"

#define CONFIG_LOCAL_SERVER "http://127.0.0.1:7070"

struct settings {
    const char *server;      /* without a slash at its end */
    const char *token;       /* NULL: none is known yet */
    const char *token_place; /* where it is from, or is to be looked for; for messages, never the token itself */
    const char *token_file;  /* holds it, until settings_token() has read it; NULL: none does */
    bool token_of_context;   /* the file is the context's */
    bool token_optional;     /* the file need not be there */
    const char *project;     /* NULL: not said; then a file's header may, or the server decides */
    const char *context;     /* NULL: none used */
};

struct context {
    const char *name, *server, *token, *token_file, *project; /* NULL where not said */
};

struct contexts {
    const char *path;    /* of the file */
    const char *current; /* NULL: none */
    struct context *items;
    size_t n;
};

/* A missing file is an empty list. */
MUST_CHECK bool contexts_load(struct arena *a, struct contexts *out, struct err *err);
MUST_CHECK bool contexts_save(struct arena *a, const struct contexts *c, struct err *err); /* 0600, by rename */
struct context *contexts_find(const struct contexts *c, const char *name);
struct context *contexts_add(struct arena *a, struct contexts *c, const char *name); /* the old one if there is one */
bool contexts_remove(struct contexts *c, const char *name);

MUST_CHECK bool settings_resolve(struct arena *a, const struct args *args, struct settings *out, struct err *err);
/* Before a request: reads the token. What needs none works without its file, too. */
MUST_CHECK bool settings_token(struct arena *a, struct settings *s, struct err *err);

/* The folder that a server without options uses: MILLRACE_DATA_DIR, /var/lib/millrace for root, else
 * ~/.local/share/millrace. */
const char *config_data_dir(struct arena *a);

#endif
