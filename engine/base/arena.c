/* Arenas as a chain of blocks. Under ASan everything that was not handed out is poisoned, so that running past the end
 * of a piece is found although no malloc() stands behind it. */
#include "engine/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define RED_ZONE 16
#else
#define POISON(p, n) ((void)(p))
#define UNPOISON(p, n) ((void)(p))
#define RED_ZONE 0
#endif

#define ALIGN ((size_t)16)
#define FIRST_BLOCK ((size_t)4096)
#define BIGGEST_BLOCK ((size_t)1 << 20)
#define DEFAULT_CAP ((size_t)64 << 20)

struct arena_block {
    struct arena_block *next;
    size_t room, used;
    _Alignas(16) char bytes[];
};

void arena_init(struct arena *a, size_t cap)
{
    *a = (struct arena){.cap = cap ? cap : DEFAULT_CAP};
}

static void blocks_free(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        UNPOISON(block->bytes, block->room);
        free(block);
        block = next;
    }
}

void arena_reset(struct arena *a)
{
    if (a->head) {
        blocks_free(a->head->next);
        a->head->next = NULL;
        a->head->used = 0;
        POISON(a->head->bytes, a->head->room);
    }
    a->used = 0;
    a->over = false;
}

void arena_free(struct arena *a)
{
    blocks_free(a->head);
    a->head = NULL;
    a->used = 0;
}

static size_t rounded(size_t n)
{
    if (n > SIZE_MAX / 2) abort();
    return (n + RED_ZONE + ALIGN - 1) & ~(ALIGN - 1);
}

static struct arena_block *block_new(size_t room)
{
    struct arena_block *block = malloc(sizeof *block + room);
    if (!block) abort();
    *block = (struct arena_block){.room = room};
    POISON(block->bytes, room);
    return block;
}

/* A block with room for `need`. A big piece gets a block of its own behind the head, so that the head's rest stays in
 * use. */
static struct arena_block *block_for(struct arena *a, size_t need)
{
    struct arena_block *head = a->head;
    if (head && head->room - head->used >= need) return head;
    size_t size = head ? head->room * 2 : FIRST_BLOCK;
    if (size > BIGGEST_BLOCK) size = BIGGEST_BLOCK;
    if (head && need > size / 4) {
        struct arena_block *own = block_new(need);
        own->next = head->next;
        head->next = own;
        return own;
    }
    struct arena_block *block = block_new(need > size ? need : size);
    block->next = head;
    a->head = block;
    return block;
}

static void count(struct arena *a, size_t n)
{
    a->used += n;
    if (a->used > (a->cap ? a->cap : DEFAULT_CAP)) a->over = true;
}

static void *alloc_raw(struct arena *a, size_t n)
{
    size_t need = rounded(n ? n : 1);
    struct arena_block *block = block_for(a, need);
    char *p = block->bytes + block->used;
    block->used += need;
    UNPOISON(p, n);
    count(a, n);
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = alloc_raw(a, n);
    memset(p, 0, n);
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) abort();
    return arena_alloc(a, bytes);
}

/* The newest piece of the head grows where it is: the common case of a vector that is being filled. */
static bool grown_in_place(struct arena *a, const void *old, size_t old_bytes, size_t new_bytes)
{
    struct arena_block *head = a->head;
    size_t old_need = rounded(old_bytes ? old_bytes : 1), need = rounded(new_bytes);
    if (!head || head->used < old_need || (const char *)old != head->bytes + head->used - old_need) return false;
    if (head->room - head->used < need - old_need) return false;
    char *tail = head->bytes + head->used - old_need + old_bytes;
    head->used += need - old_need;
    UNPOISON(tail, new_bytes - old_bytes);
    memset(tail, 0, new_bytes - old_bytes);
    count(a, new_bytes - old_bytes);
    return true;
}

void *arena_grow(struct arena *a, const void *old, size_t old_bytes, size_t new_bytes)
{
    if (new_bytes < old_bytes) abort();
    if (old && grown_in_place(a, old, old_bytes, new_bytes)) return (void *)(uintptr_t)old;
    char *p = alloc_raw(a, new_bytes);
    if (old && old_bytes) memcpy(p, old, old_bytes);
    memset(p + old_bytes, 0, new_bytes - old_bytes);
    return p;
}

char *arena_cstr(struct arena *a, struct str s)
{
    char *p = alloc_raw(a, s.n + 1);
    if (s.n) memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    return (struct str){arena_cstr(a, s), s.n};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0) return arena_str(a, STR(""));
    if ((size_t)n < sizeof small) return arena_str(a, (struct str){small, (size_t)n});
    char *p = alloc_raw(a, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return (struct str){p, (size_t)n};
}
