/* Arenas: one a request or a scheduler tick; callers pass them, results live in them, nobody frees pieces.
 *
 * The cap is soft: an allocation always succeeds (memory exhaustion aborts the process), but going over the cap raises
 * a sticky flag which loops over untrusted input test, and which is checked once at the end. Not thread-safe. */
#ifndef MILLRACE_BASE_ARENA_H
#define MILLRACE_BASE_ARENA_H

#include "engine/base/str.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t cap;  /* bytes; 0 = 64 MiB */
    size_t used; /* bytes handed out since init or reset */
    bool over;   /* sticky: used > cap */
};

void arena_init(struct arena *a, size_t cap);
void arena_reset(struct arena *a); /* forgets everything, keeps one block for reuse */
void arena_free(struct arena *a);

void *arena_alloc(struct arena *a, size_t n); /* zeroed, aligned to 16 */
#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_calloc((a), (n), sizeof(type)))
void *arena_calloc(struct arena *a, size_t n, size_t size);
/* A copy with room for more; the old one stays. For vectors that grow by doubling. */
void *arena_grow(struct arena *a, const void *old, size_t old_bytes, size_t new_bytes);

struct str arena_str(struct arena *a, struct str s); /* a copy, NUL-terminated behind its end */
char *arena_cstr(struct arena *a, struct str s);
__attribute__((format(printf, 2, 3))) struct str arena_printf(struct arena *a, const char *fmt, ...);

#endif
