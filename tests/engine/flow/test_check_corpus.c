/* The files of tests/corpus: good ones compile and survive the trip through JSON; what is said of the bad ones is what
 * stands in the .txt beside them, word for word, as a user sees it. MILLRACE_GOLDEN=write writes the .txt files anew,
 * to be read before they are committed. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/caret.h"
#include "engine/flow/compile.h"
#include "engine/flow/draw.h"
#include "engine/text/json.h"
#include "engine/text/yaml.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct str read_file(const char *path)
{
    static char text[1 << 16];
    FILE *f = fopen(path, "r");
    if (!f) return (struct str){NULL, 0};
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    return arena_str(&arena, (struct str){text, n});
}

struct document { /* of a file; the others are there for it to name */
    struct str source;
    const struct value *all;
    size_t n;
};

static struct pos locate(void *ctx, const struct value *scalar, struct pos inner)
{
    return yaml_locate(((const struct document *)ctx)->source, scalar, inner);
}

static bool resolve(void *ctx, struct arena *a, const struct compile_ref *ref, const struct compile_chain *chain,
                    const struct plan **out, struct err_list *to)
{
    struct document *d = ctx;
    struct compile_env env = {.ctx = d, .pipeline = resolve, .locate = locate, .chain = chain, .seed = 99};
    for (size_t i = 0; i < d->n; i++) {
        const struct value *name = value_get(&d->all[i], "name");
        if (name && name->type == VALUE_STRING && str_eq(name->u.s, ref->text))
            return compile_pipeline(a, &d->all[i], &env, out, to);
    }
    err_list_add(to, ERR_NOT_FOUND, ref->at, "there is no pipeline '%.*s'", STR_ARG(ref->text));
    return false;
}

/* The first document of a file as a plan, or what is wrong as text. */
static const struct plan *compile_text(struct str source, const char *name, struct buf *wrong)
{
    struct err_list errors;
    struct value *docs;
    size_t n;
    const struct plan *plan = NULL;
    struct document document = {.source = source};
    struct compile_env env = {.ctx = &document, .locate = locate, .seed = 99};
    err_list_init(&errors, &arena);
    bool ok = yaml_read(&arena, source, NULL, &docs, &n, &errors) && n > 0;
    if (ok) document = (struct document){source, docs, n};
    if (ok && n > 1) env.pipeline = resolve;
    ok = ok && compile_pipeline(&arena, &docs[0], &env, &plan, &errors);
    for (size_t i = 0; i < errors.n; i++)
        caret_render(wrong, &errors.items[i], name, source);
    return ok && errors.total == 0 ? plan : NULL;
}

static void round_trip(const struct plan *plan, const char *name)
{
    struct value json;
    struct err err;
    const struct plan *again;
    BUF_AUTO first;
    BUF_AUTO second;
    BUF_AUTO picture;
    buf_init(&first, 0);
    buf_init(&second, 0);
    buf_init(&picture, 0);
    plan_json(&first, plan);
    if (!json_parse(&arena, buf_view(&first), 0, &json, &err) || !plan_load(&arena, &json, &again, &err))
        fail_msg("%s: %s: %s", name, err.path, err.message);
    plan_json(&second, again);
    if (strcmp(first.p, second.p) != 0) fail_msg("%s:\n%s\n%s", name, first.p, second.p);
    draw_dot(&picture, plan);
    draw_mermaid(&picture, again);
    assert_false(picture.over);
}

static void one_good(const char *path)
{
    BUF_AUTO wrong;
    buf_init(&wrong, 0);
    const struct plan *plan = compile_text(read_file(path), path, &wrong);
    if (!plan) fail_msg("%s is good, but:\n%s", path, wrong.p);
    round_trip(plan, path);
}

static void one_bad(const char *path)
{
    char golden[300];
    BUF_AUTO wrong;
    buf_init(&wrong, 0);
    snprintf(golden, sizeof golden, "%.*s.txt", (int)(strlen(path) - 5), path);
    if (compile_text(read_file(path), strrchr(path, '/') + 1, &wrong)) fail_msg("%s is bad, and compiles", path);
    const char *mode = getenv("MILLRACE_GOLDEN");
    if (mode && strcmp(mode, "write") == 0) {
        FILE *f = fopen(golden, "w");
        assert_non_null(f);
        fputs(wrong.p, f);
        fclose(f);
    }
    struct str expected = read_file(golden);
    if (!expected.p || !str_eq(expected, buf_view(&wrong)))
        fail_msg("%s: not what stands in %s:\n%s", path, golden, wrong.p);
}

static size_t each(const char *folder, void (*one)(const char *path))
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[300];
        if (!str_ends(str_of(entry->d_name), ".yaml")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        one(path);
        n++;
    }
    closedir(dir);
    return n;
}

static void good_files_compile(void **state)
{
    (void)state;
    assert_true(each("tests/corpus/good", one_good) >= 10);
}

static void bad_files_are_explained(void **state)
{
    (void)state;
    assert_true(each("tests/corpus/bad", one_bad) >= 30);
}

static void bad_meanings_are_explained(void **state)
{
    (void)state;
    assert_true(each("tests/corpus/bad-meaning", one_bad) >= 10);
}

/* Every file cut off at every place: errors, never a crash, and every error in the file. */
static void one_cut(const char *path)
{
    struct str whole = read_file(path);
    for (size_t n = 0; n < whole.n; n += 1 + whole.n / 150) {
        struct arena keep = arena;
        arena_init(&arena, 0);
        BUF_AUTO wrong;
        buf_init(&wrong, 0);
        compile_text(str_sub(whole, 0, n), path, &wrong);
        arena_free(&arena);
        arena = keep;
    }
}

static void cut_off_files_do_no_harm(void **state)
{
    (void)state;
    assert_true(each("tests/corpus/good", one_cut) >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_files_compile, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_files_are_explained, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_meanings_are_explained, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_off_files_do_no_harm, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
