/* arena.c - memory that is freed all at once. */
#include "base/arena.h"

#include "base/buf.h"

enum { BLOCK_FIRST = 2048 - 32, BLOCK_LARGEST = 256 * 1024 };

struct arena_block {
    struct arena_block *previous;
    size_t used;
    size_t size;
    _Alignas(max_align_t) char data[];
};

void arena_free(struct arena *a)
{
    while (a->block) {
        struct arena_block *previous = a->block->previous;
        mem_free(a->block);
        a->block = previous;
    }
}

void arena_reset(struct arena *a)
{
    struct arena_block *newest = a->block;
    if (!newest)
        return;
    a->block = newest->previous;
    arena_free(a);
    if (newest->size > BLOCK_LARGEST) {
        mem_free(newest);
        return;
    }
    memset(newest->data, 0, newest->used);
    newest->used = 0;
    newest->previous = NULL;
    a->block = newest;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t align = _Alignof(max_align_t);
    size_t total;
    if (__builtin_add_overflow(size, align - 1, &total))
        fatal("out of memory (%zu bytes)", size);
    total &= ~(align - 1);
    if (!a->block || a->block->size - a->block->used < total) {
        size_t next = a->block ? MIN(a->block->size * 2, (size_t)BLOCK_LARGEST) : BLOCK_FIRST;
        next = MAX(next, total);
        struct arena_block *block = mem_alloc(sizeof(*block) + next);
        block->size = next;
        block->previous = a->block;
        a->block = block;
    }
    void *memory = a->block->data + a->block->used;
    a->block->used += total;
    return memory;
}

void *arena_alloc_array(struct arena *a, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        fatal("out of memory (%zu times %zu bytes)", count, size);
    return arena_alloc(a, total);
}

struct str arena_copy(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.len + 1);
    if (s.len)
        memcpy(copy, s.data, s.len);
    return str_of(copy, s.len);
}

char *arena_c_string(struct arena *a, struct str s)
{
    return (char *)(uintptr_t)arena_copy(a, s).data;
}

struct str arena_printf(struct arena *a, const char *format, ...)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    struct str copy = arena_copy(a, buf_str(&text));
    buf_free(&text);
    return copy;
}

struct str arena_lower(struct arena *a, struct str s)
{
    char *copy = arena_c_string(a, s);
    for (size_t i = 0; i < s.len; i++)
        copy[i] = ascii_lower(copy[i]);
    return str_of(copy, s.len);
}

void *arena_grow(struct arena *a, void **array, size_t *count, size_t size)
{
    /* The capacity is not kept: it is the next power of two from 8 up. */
    bool full = *count == 0 || (*count >= 8 && (*count & (*count - 1)) == 0);
    if (full) {
        void *larger = arena_alloc_array(a, *count ? *count * 2 : 8, size);
        if (*count)
            memcpy(larger, *array, *count * size);
        *array = larger;
    }
    return (char *)*array + (*count)++ * size;
}
