/* Whether a file is a Millrace document and nothing else, seen while its bytes go by. What steps may read as data, or
 * run, must not pass for one: such files are left out of what a cached result depends on. */
#ifndef MILLRACE_BLOB_DOCUMENT_H
#define MILLRACE_BLOB_DOCUMENT_H

#include "engine/base/str.h"

/* Each of a file's documents begins with the key apiVersion, "millrace/…", and has the line "kind: Pipeline"; both
 * unquoted and without indentation. Before that only comments, blank lines, directives and "---". */
struct document {
    bool other;       /* something in the file is no Millrace document */
    bool any;         /* there was one */
    bool begun, kind; /* the one that is being read: its first key was seen, its kind, too */
    char line[64];    /* begin of the current line */
    size_t n;
};

bool document_named(struct str name); /* *.yaml, *.yml */
void document_add(struct document *d, const char *p, size_t n);
bool document_end(struct document *d);

#endif
