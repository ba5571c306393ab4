/* arena.h - memory that is freed all at once: one per command, session or delivery.
 *
 * Not for two threads at a time. What must outlive the arena is copied out by its owner.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena {
    struct arena_block *block; /* the newest */
};

#define ARENA_INIT ((struct arena){NULL})

void arena_free(struct arena *a);  /* everything; the arena may be used again. Fits CLEANUP() */
void arena_reset(struct arena *a); /* everything but the newest block, which is reused */

void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for any type */
void *arena_alloc_array(struct arena *a, size_t count, size_t size);
struct str arena_copy(struct arena *a, struct str s); /* with a NUL behind it */
char *arena_c_string(struct arena *a, struct str s);  /* terminated */
struct str arena_printf(struct arena *a, const char *format, ...) PRINTF(2, 3);
struct str arena_lower(struct arena *a, struct str s); /* copy, ASCII lower case */

/* Makes room for one more element in an array that grows by doubling: returns the address of
 * element *count (zeroed) and adds one to *count. *array and *count start as NULL and 0. */
void *arena_grow(struct arena *a, void **array, size_t *count, size_t size);
#define ARENA_PUSH(a, array, count) \
    ((__typeof__(array))arena_grow((a), (void **)&(array), &(count), sizeof(*(array))))

#endif
