/* `.millraceignore`: which names of a folder do not belong to its bundle. Lines as in .gitignore. Pure. */
#ifndef MILLRACE_BLOB_IGNORE_H
#define MILLRACE_BLOB_IGNORE_H

#include "engine/base/err.h"

#define IGNORE_MAX 500 /* lines of .millraceignore */
#define IGNORE_BUILTIN 7

struct ignore_rule {
    struct str pattern; /* without leading and trailing slash */
    bool take_back, folders_only, anchored;
};

struct ignore {
    struct ignore_rule rules[IGNORE_BUILTIN + IGNORE_MAX];
    size_t n;
};

/* The text must live as long as the rules. ERR_LIMIT beyond IGNORE_MAX lines. The built-in rules (.git, __pycache__, …)
 * go first, so that a line `!…` may take them back. */
MUST_CHECK bool ignore_parse(struct str text, struct ignore *out, struct err *err);
/* path: relative to the root, without a leading slash. The last rule that matches decides. */
bool ignore_matches(const struct ignore *ig, struct str path, bool folder);
/* One pattern: *, ?, [a-z], [!a], \x, ** for any number of folders. A `*` or `?` never matches a slash. */
bool ignore_glob(struct str pattern, struct str text);

#endif
