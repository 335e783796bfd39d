/* See kube_log_words.h. */
#include "scheduler/kube_log_words.h"

#include <string.h>

static const struct {
    const char *text;
    bool follows; /* only where a log is followed */
} words[] = {
    {"unable to retrieve container logs for ", false}, /* as those of an evicted pod */
    {"container status is nil", false},
    {"failed to try resolving symlinks in path ", false},
    {"failed to open log file ", false},
    {"failed to get parse function: ", false},
    {"failed to read log file ", true},
    {"failed to reset seek in log file ", true},
    {"failed to create fsnotify watcher: ", true}, /* too many open files: no inotify instance is left there */
    {"failed to watch directory ", true},
    {"fsnotify: queue or buffer overflow", true},
    {"rpc error: code = ", true}, /* the runtime, asked whether the container still runs */
};

/* Of one of them; the text may be too short to tell. */
static bool may_begin(struct str text, bool follows, bool whole)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].text);
        if (words[i].follows && !follows) continue;
        if (text.n < n && whole) continue;
        if (memcmp(text.p, words[i].text, text.n < n ? text.n : n) == 0) return true;
    }
    return false;
}

size_t kube_log_sure(struct str text, bool follows)
{
    const char *line = text.n > 0 ? memrchr(text.p, '\n', text.n) : NULL;
    size_t at = line != NULL ? (size_t)(line - text.p) + 1 : 0;
    if (!follows && (at > 0 || !may_begin(text, follows, false))) return text.n;
    while (at < text.n && !may_begin(str_sub(text, at, text.n), follows, false))
        at++;
    return text.n - at > KUBE_LOG_WORDS_MOST ? text.n : at;
}

bool kube_log_words(struct str left, bool follows)
{
    return left.n > 0 && may_begin(left, follows, true);
}
