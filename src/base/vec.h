/* vec.h - growing arrays on the heap, typed by macro.
 *
 *     VEC(uint32_t) uids = VEC_INIT;
 *     VEC_ADD(&uids, 7);
 *     for (size_t i = 0; i < uids.len; i++) use(uids.items[i]);
 *     VEC_FREE(&uids);
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "base/base.h"

#define VEC(type)        \
    struct {             \
        type *items;     \
        size_t len;      \
        size_t capacity; \
    }
#define VEC_INIT   \
    {              \
        NULL, 0, 0 \
    }

#define VEC_RESERVE(v, more)                                                           \
    do {                                                                               \
        if ((v)->len + (more) > (v)->capacity) {                                       \
            (v)->capacity = MAX((v)->capacity * 2, MAX((v)->len + (more), (size_t)8)); \
            (v)->items = mem_resize((v)->items, (v)->capacity, sizeof(*(v)->items));   \
        }                                                                              \
    } while (0)
#define VEC_ADD(v, ...)                         \
    do {                                        \
        VEC_RESERVE(v, 1);                      \
        (v)->items[(v)->len++] = (__VA_ARGS__); \
    } while (0)
#define VEC_REMOVE(v, at)                                                                        \
    do {                                                                                         \
        size_t at_ = (at);                                                                       \
        (v)->len--;                                                                              \
        memmove((v)->items + at_, (v)->items + at_ + 1, ((v)->len - at_) * sizeof(*(v)->items)); \
    } while (0)
#define VEC_FREE(v)                   \
    do {                              \
        mem_free((v)->items);         \
        (v)->items = NULL;            \
        (v)->len = (v)->capacity = 0; \
    } while (0)

#endif
