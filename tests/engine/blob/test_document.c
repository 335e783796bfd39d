/* Which files are Millrace documents and nothing else, however their bytes come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "engine/blob/document.h"

#define V "apiVersion: millrace/v1\n"
#define K "kind: Pipeline\n"

static void documents_are_told_from_others(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {V K "name: x\n", true},
        {V "name: x\n" K, true},
        {V "kind: Pipeline", true},
        {"# mine\n\n%YAML 1.2\n---\n" V K, true},
        {"  # mine\r\n--- # one\r\napiVersion: millrace/v1\r\nkind: Pipeline # of mine\r\n", true},
        {V K "steps: {}\n---\n" V K "...\n", true},
        {"---\n---\n" V K, true},
        {"", false},
        {"# nothing\n", false},
        {V, false},
        {K V, false},
        {V "lr: 1\n", false},
        {V "kind: Pipelines\n", false},
        {V "kind: Pipeline#\n", false},
        {V "  kind: Pipeline\n", false},
        {" apiVersion: millrace/v1\n" K, false},
        {"apiVersion: v1\n" K, false},
        {"lr: 1\ndoc: |2\n" V K, false},
        {"echo 1; exit\n" V K, false},
        {V K "---\nlr: 1\n", false},
        {"lr: 1\n---\n" V K, false},
        {V "lr: 1\n---\n" K, false},
        {V "---\n" V K, false},
        {V K "--- {lr: 1}\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        for (size_t piece = 1; piece <= n + 1; piece++) {
            struct document d = {0};
            for (size_t at = 0; at < n; at += piece)
                document_add(&d, rows[i].text + at, piece < n - at ? piece : n - at);
            if (document_end(&d) != rows[i].want) fail_msg("in pieces of %zu:\n%s", piece, rows[i].text);
        }
    }
    assert_true(document_named(STR("a/b.yaml")) && document_named(STR("b.yml")));
    assert_false(document_named(STR("b.py")) || document_named(STR("b.yaml.py")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(documents_are_told_from_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
