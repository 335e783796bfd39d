/* Pipeline files on this machine: found, read and compiled without a server. Sub-pipelines are looked for beside the
 * file and, by name, among the files given and then on the server if it can be reached. */
#ifndef MILLRACE_CLI_FILES_H
#define MILLRACE_CLI_FILES_H

#include "cli/cli.h"
#include "engine/flow/plan.h"

struct file_doc {
    struct str name, project;
    const struct plan *plan;
};

/* A sub-pipeline's file. */
struct file_part {
    const char *name; /* in the folder of the file that uses it; as written, so it may hold `..` */
    struct str text;
};

struct file {
    const char *path; /* as shown: "-" reads standard input */
    struct str source;
    struct file_doc *docs; /* once compiled: those that could be without a server */
    size_t n_docs, n_all;
    struct str names;        /* of all, with commas between */
    struct file_part *parts; /* once compiled */
    size_t n_parts;
    bool found; /* in a folder: without a Millrace document it is passed over */
};

struct files {
    struct file *items;
    size_t n;
};

/* The files of -f and of the words; folders are searched for *.yaml and *.yml at any depth but in hidden folders. */
MUST_CHECK bool files_collect(struct cli *cli, const struct args *args, struct files *out, struct err *err);
MUST_CHECK bool file_read(struct cli *cli, const char *path, struct file *out, struct err *err);

/* Compiles all documents of the file. False with all errors; notes say what could not be checked here. `beside` (may be
 * NULL) are further files that sub-pipelines by name are looked for in. */
MUST_CHECK bool file_compile(struct cli *cli, struct file *f, const struct files *beside, struct err_list *errors);
/* Says its errors; the exit code. */
int file_fail(struct cli *cli, const struct file *f, const struct err_list *errors);

/* The pipeline that a compiled file stands for: its first document, which has to use all others. */
MUST_CHECK bool file_single(const struct file *f, struct err *err);

/* The file that a word of FILE|DIR|NAME means: itself, or its folder's pipeline.yaml or only YAML file. *path is NULL
 * for the name of an applied pipeline: what is no such file or folder and does not look like a path. */
MUST_CHECK bool file_meant(struct cli *cli, const char *word, const char **path, struct err *err);
/* The folder to pack: --bundle, else the file's own; NULL = none is needed or wanted. */
const char *file_folder(struct cli *cli, const struct args *args, const struct file *f);

/* The code that goes with the file: --bundle, what its `code.git` names, or its folder; *digest is NULL when none is
 * needed or wanted. It is sent, or only looked at: then the texts of the parts are read from it, where they are there.
 */
MUST_CHECK bool file_send_code(struct cli *cli, const struct args *args, const struct file *f, const char **digest,
                               struct err *err);
MUST_CHECK bool file_look_at_code(struct cli *cli, const struct args *args, struct file *f, const char **digest,
                                  struct err *err);
/* Sends what an open file holds, unless the project has it. */
MUST_CHECK bool blob_send(struct cli *cli, int fd, const char *digest, int64_t size, const char *what, struct err *err);
/* The bytes that the path answers with into an open file, from where it ends on. What came before a failure stays.
 * `direct`: see struct client_request; then it is tried once, since the server itself is the other way. */
MUST_CHECK bool blob_fetch(struct client *client, struct arena *a, const char *path, bool direct, int fd, int64_t size,
                           struct err *err);
/* Whether the file holds what the digest names, from its start; an empty one fits all. ERR_IO. */
MUST_CHECK bool blob_verify(int fd, struct str digest, struct err *err);
bool blob_to_file(void *ctx, const char *p, size_t n); /* a client_sink: ctx is an int *, the descriptor */
/* Packs a folder, sends it unless the server has it, and gives its digest. */
MUST_CHECK bool bundle_send(struct cli *cli, const char *folder, const char **digest, struct err *err);
MUST_CHECK bool bundle_look(struct cli *cli, const char *folder, const char **digest, struct err *err); /* not sent */

#endif
