/* Names are found whole, wherever they stand, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/store/names.h"

#define A16 "aaaaaaaaaaaaaaaa"
#define A63 A16 A16 A16 "aaaaaaaaaaaaaaa"
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void names_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *found;
    } rows[] = {
        {"nothing", "", ""},
        {"no name", "{\"uri\": \"s3://b/sha256:\", \"artifact\": \"model\"}", ""},
        {"a digest", "{\"a\":\"sha256:" HEX "\"}", "sha256:" HEX " "},
        {"alone", "sha256:" HEX, "sha256:" HEX " "},
        {"too short", "sha256:" A63, ""},
        {"in capitals", "sha256:" A63 "A", ""},
        {"more digits", "sha256:" HEX "0", "sha256:" HEX " "},
        {"an artifact", "[\"artifact:12\", \"artifact:x\"]", "artifact:12 "},
        {"a number too long", "artifact:1234567890123456789", "artifact:123456789012345678 "},
        {"several", "artifact:7,sha256:" HEX ",sha256:sha256:" HEX "artifact:7artifact:8",
         "artifact:7 sha256:" HEX " sha256:" HEX " artifact:7 artifact:8 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        struct str *all;
        char found[1000] = "";
        arena_init(&a, 0);
        size_t n = names_all(str_of(rows[i].text), &a, &all);
        for (size_t k = 0; k < n; k++)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s ", STR_ARG(all[k]));
        arena_free(&a);
        if (strcmp(found, rows[i].found) != 0) fail_msg("%s: '%s'", rows[i].name, found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_are_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
