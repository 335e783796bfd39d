/* A server of the API for a test: a database and a data folder of its own, a free port, an administrator's token. */
#ifndef MILLRACE_TESTS_API_FIXTURE_H
#define MILLRACE_TESTS_API_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/server.h"
#include "engine/os/fs.h"
#include "engine/os/log.h"
#include "tests/support/db.h"
#include "tests/support/http.h"

struct fixture {
    struct support_db db;
    char dir[256];
    struct api *api;
    int port;
    char token[80];
    struct api_config cfg;
};

static struct fixture fx;

__attribute__((unused)) static int fixture_start(void)
{
    struct err err;
    fx.cfg.db = fx.db.db;
    fx.cfg.data_dir = fx.cfg.store_dir = fx.dir;
    if (!fx.cfg.listen) fx.cfg.listen = "127.0.0.1:0";
    if (!fx.cfg.threads) fx.cfg.threads = 8;
    if (!api_start(&fx.cfg, &fx.api, &err)) {
        fprintf(stderr, "api_start: %s %s\n", err.message, err.hint);
        return -1;
    }
    fx.port = api_port(fx.api);
    char path[FS_PATH_MAX];
    BUF_AUTO text;
    buf_init(&text, 0);
    if (!fs_path(path, &err, "%s/token", fx.dir) || !fs_read(path, 200, &text, &err)) return -1;
    snprintf(fx.token, sizeof fx.token, "%.*s", STR_ARG(str_trim(buf_view(&text))));
    return 0;
}

__attribute__((unused)) static int fixture_open(void **state)
{
    (void)state;
    log_set_level(LEVEL_ERROR);
    if (support_db_open(&fx.db) != 0 || support_dir_make(fx.dir) != 0) return -1;
    return fixture_start();
}

__attribute__((unused)) static int fixture_close(void **state)
{
    (void)state;
    api_stop(fx.api);
    fx.api = NULL;
    int rc = support_dir_remove(fx.dir);
    return support_db_close(&fx.db) | rc;
}

/* One request with the administrator's token. The answer is to be freed. */
__attribute__((unused)) static struct http_answer ask(const char *method, const char *path, const char *type,
                                                      const char *body)
{
    struct http_answer a;
    struct http_ask q = {.port = fx.port, .method = method, .path = path, .token = fx.token, .type = type};
    if (body) q.body = str_of(body);
    assert_true(http_ask(&q, &a));
    return a;
}

#define JSON_TYPE "application/json"
#define YAML_TYPE "application/yaml"

#define HELLO                                                                                                          \
    "apiVersion: millrace/v1\nkind: Pipeline\nname: hello\nparams:\n  who: {type: string, default: world}\n"           \
    "  count: {type: int, default: 1, min: 1, max: 9}\nsteps:\n"                                                       \
    "  greet:\n    run: echo ${{ params.who }}\n"                                                                      \
    "  after:\n    needs: [greet]\n    expr: ${{ params.count + 1 }}\n"

#endif
