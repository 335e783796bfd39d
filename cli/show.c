/* Results on standard output, and lists fetched page by page: see show.h. */
#include "cli/show.h"

#include <string.h>

#include "cli/client.h"
#include "engine/text/yaml.h"

#define PAGE 1000

int show_value(struct cli *cli, const struct value *v)
{
    struct err err;
    BUF_AUTO out;
    buf_init(&out, 1u << 30);
    if (cli->format == OUT_JSON) output_json(&out, v);
    if (cli->format == OUT_YAML) yaml_emit(&out, v);
    return cli_print(&out, &err) ? CLI_OK : cli_fail(cli, &err);
}

int show(struct cli *cli, const struct table *table, const struct value *v)
{
    if (cli->format != OUT_TABLE) return show_value(cli, v);
    struct err err;
    BUF_AUTO out;
    buf_init(&out, 1u << 30);
    table_print(&out, table, &cli->out);
    return cli_print(&out, &err) ? CLI_OK : cli_fail(cli, &err);
}

bool pages_fetch(struct cli *cli, struct arena *a, const char *path, size_t limit, struct pages *out, struct err *err)
{
    struct pages p = {0};
    int code;
    struct client *client = cli_client(cli, &code);
    if (!client) return err_set(err, ERR_INTERNAL, "no client");
    struct str token = STR("");
    do {
        size_t left = limit ? limit - p.total : PAGE, n;
        const char *page = client_with(a, path, arena_printf(a, "page_size=%zu", left < PAGE ? left : PAGE).p);
        if (token.n) page = client_with(a, page, client_path(a, "page_token=%s", arena_cstr(a, token)));
        p.items = arena_grow(a, p.items, p.n * sizeof *p.items, (p.n + 1) * sizeof *p.items);
        if (!client_get(client, a, page, &p.items[p.n], err)) return false;
        field_list(&p.items[p.n], "items", &n);
        token = field_str(&p.items[p.n++], "next_page_token");
        p.total += n;
        if (!n) break;
    } while (token.n && (!limit || p.total < limit));
    *out = p;
    return true;
}

struct value pages_join(struct arena *a, const struct pages *pages, size_t limit)
{
    struct value_list_builder list;
    value_list_begin(&list, a);
    size_t taken = 0;
    for (size_t p = 0; p < pages->n; p++) {
        size_t n;
        const struct value *items = field_list(&pages->items[p], "items", &n);
        for (size_t i = 0; i < n && (!limit || taken < limit); i++, taken++)
            value_list_push(&list, items[i]);
    }
    return value_list_end(&list);
}
