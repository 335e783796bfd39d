/* What kubelets say in the place of a log, or behind some of it, in rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/kube_log_words.h"

#define GONE "unable to retrieve container logs for containerd://0a1b2c"
#define FULL "failed to create fsnotify watcher: too many open files"
#define RPC "rpc error: code = NotFound desc = an error occurred when try to find container \"0a1b2c\": not found"
#define SURE -1 /* all of it */

static const struct {
    const char *text;
    int followed, asked;            /* bytes that are the log's for sure */
    bool left_followed, left_asked; /* is all behind them the kubelet's, once the answer has ended? */
} cases[] = {
    {"", SURE, SURE, false, false},
    {"one\ntwo\n", SURE, SURE, false, false},
    {GONE, 0, 0, true, true},
    {"unable to retrieve container logs for cri-o://0a1b2c", 0, 0, true, true},
    {"unable to retrieve container logs", 0, 0, false, false},
    {GONE "\n", SURE, SURE, false, false},
    {"\n" GONE, 1, SURE, true, false},
    {"a step: " GONE, 8, SURE, true, false},
    {FULL, 0, SURE, true, false},
    {FULL "\n", SURE, SURE, false, false},
    {"one\n" FULL, 4, SURE, true, false},
    {"one\ntw" FULL, 6, SURE, true, false},
    {FULL "\none\n" FULL, 59, SURE, true, false},
    {"one\nfailed to cr", 4, SURE, false, false},
    {"one\nfa failed to x", SURE, SURE, false, false},
    {"of", 1, SURE, false, false},
    {"u", 0, 0, false, false},
    {"u\n", SURE, SURE, false, false},
    {RPC, 0, SURE, true, false},
    {"7" RPC, 1, SURE, true, false},
    {"failed to open log file \"/var/log/pods/x/step/0.log\": permission denied", 0, 0, true, true},
};

static void one(size_t i, bool follows, int expected, bool words)
{
    struct str text = str_of(cases[i].text);
    size_t sure = expected == SURE ? text.n : (size_t)expected;
    if (kube_log_sure(text, follows) != sure)
        fail_msg("'%s', %d: %zu are sure", cases[i].text, follows, kube_log_sure(text, follows));
    if (kube_log_words(str_sub(text, sure, text.n), follows) != words)
        fail_msg("'%s', %d: the rest", cases[i].text, follows);
}

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        one(i, true, cases[i].followed, cases[i].left_followed);
        one(i, false, cases[i].asked, cases[i].left_asked);
    }
}

/* In pieces of any length the same is told, and held back is no more than the words. */
static void pieces(void **state)
{
    static const char whole[] = "one\nu of failed to c\ntwo" FULL;
    const size_t log = strlen(whole) - strlen(FULL);
    (void)state;
    for (size_t step = 1; step <= strlen(whole); step++) {
        size_t told = 0;
        for (size_t n = step; told < log || n < strlen(whole) + step; n += step) {
            size_t end = n < strlen(whole) ? n : strlen(whole);
            told += kube_log_sure((struct str){whole + told, end - told}, true);
            if (told > log || (end == strlen(whole) && told != log)) fail_msg("by %zu: %zu told", step, told);
        }
    }
}

static void a_long_line(void **state)
{
    char line[KUBE_LOG_WORDS_MOST + 2];
    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, GONE, strlen(GONE));
    assert_int_equal(kube_log_sure((struct str){line, sizeof line - 2}, false), 0);
    assert_int_equal(kube_log_sure((struct str){line, sizeof line}, false), sizeof line);
    assert_int_equal(kube_log_sure((struct str){line, sizeof line}, true), sizeof line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers), cmocka_unit_test(pieces),
                                       cmocka_unit_test(a_long_line)};
    return cmocka_run_group_tests_name("words of nodes in logs", tests, NULL, NULL);
}
