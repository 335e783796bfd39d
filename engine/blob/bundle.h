/* Code bundles: a pipeline's folder packed into one deterministic tar.gz, and unpacked again without trusting it.
 *
 * The same files (names, bytes, executable bits, links) give the same bytes and so the same digest, whatever their
 * times and owners.
 * `.millraceignore` in the folder's root takes lines as .gitignore does: # comments, ! to take back, / to anchor or for
 * folders only, *, ?, [ ], **. Left out unless a line takes it back: .git, __pycache__, *.pyc, .venv, .DS_Store,
 * .ipynb_checkpoints, .millraceignore. Left out always: sockets, devices, links out of the folder. */
#ifndef MILLRACE_BLOB_BUNDLE_H
#define MILLRACE_BLOB_BUNDLE_H

#include "engine/blob/store.h"

struct bundle_limits { /* 0 = the default */
    int64_t entries;   /* 20,000 */
    int64_t bytes;     /* unpacked: 1 GiB */
    int64_t ratio;     /* unpacked to packed, above 1 MiB: 200 */
    bool whole;        /* a folder, not code. Packing: nothing is left out; what cannot be packed is ERR_INVALID */
};
extern const struct bundle_limits bundle_of_artifact; /* a folder as an artifact: whole, and as big as it is */

struct bundle_stats {
    int64_t entries, bytes; /* unpacked */
    int64_t size;           /* packed */
    char digest[DIGEST_TEXT];
    /* Checking and unpacking: of the names, executable bits and bytes of all entries but Millrace documents, i.e.
     * *.yaml and *.yml with nothing else in them: see document.h. Steps do not read these. */
    char code[DIGEST_TEXT];
    /* Packing: links out of the folder, and what is neither file nor folder. */
    int64_t left_out;
    char left_names[200]; /* with commas between, as many as fit */
};

/* Packs the folder into out_fd, a file open for reading and writing, from its start; limits NULL = defaults.
 * ERR_TOO_LARGE names the biggest file and .millraceignore. */
MUST_CHECK bool bundle_pack(const char *folder, int out_fd, const struct bundle_limits *limits,
                            struct bundle_stats *stats, struct err *err);
/* The same into an unnamed temporary file; *fd is to be closed by the caller, at offset 0. */
MUST_CHECK bool bundle_pack_temp(const char *folder, const struct bundle_limits *limits, int *fd,
                                 struct bundle_stats *stats, struct err *err);

/* Reads it through without unpacking: is every entry allowed, and is it a whole tar.gz and nothing else? For what was
 * uploaded, before it becomes visible. */
MUST_CHECK bool bundle_check(int fd, const struct bundle_limits *limits, struct bundle_stats *stats, struct err *err);
/* Unpacks into the existing empty folder. Regular files, folders and links that stay inside only; modes 0755 or 0644.
 */
MUST_CHECK bool bundle_unpack(int fd, const char *folder, const struct bundle_limits *limits,
                              struct bundle_stats *stats, struct err *err);

/* <store>/bundles/<hex of the digest>/tree: there once bundle_install has returned true. */
MUST_CHECK bool bundle_tree_path(struct str store_dir, struct str digest, char out[FS_PATH_MAX], struct err *err);
/* Unpacks the blob of the digest to there, unless it is there: all or nothing, whoever else does the same at the same
 * time. */
MUST_CHECK bool bundle_install(struct blob_store *s, struct str store_dir, struct str digest,
                               const struct bundle_limits *limits, struct err *err);
MUST_CHECK bool bundle_remove(struct str store_dir, struct str digest, struct err *err); /* none there is fine */
/* What was half unpacked, or half removed, by somebody who died over it more than older_us ago. */
MUST_CHECK bool bundle_clear(struct str store_dir, int64_t older_us, struct err *err);

#endif
