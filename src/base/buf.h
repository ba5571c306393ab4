/* buf.h - growing bytes with a maximum, for building text and for collecting input.
 *
 * A buf made with a maximum never grows past it: an append that would is not done at all, returns
 * -1 and sets `failed`, which stays until buf_reset. So a row of appends may be checked once, at
 * the end. BUF_UNBOUNDED is for what we make ourselves and is bounded by construction.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

struct buf {
    char *data; /* owned; NULL until the first append; not terminated */
    size_t len;
    size_t capacity;
    size_t max;
    bool failed; /* an append did not fit */
};

#define BUF_UNBOUNDED     SIZE_MAX
#define BUF_INIT(maximum) ((struct buf){.max = (maximum)})

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);  /* gives the memory back; the buf may be used again */
void buf_reset(struct buf *b); /* empty, memory kept, failed cleared */

int buf_add(struct buf *b, struct str s);
int buf_add_bytes(struct buf *b, const void *data, size_t len);
int buf_add_char(struct buf *b, char c);
int buf_add_u64(struct buf *b, uint64_t number); /* decimal */
int buf_printf(struct buf *b, const char *format, ...) PRINTF(2, 3);
int buf_vprintf(struct buf *b, const char *format, va_list args) PRINTF(2, 0);
#define buf_add_literal(b, literal) buf_add((b), STR(literal))

/* Room for at least len more bytes behind the end, to be filled by read(2) and then counted with
 * buf_added(). NULL when that would pass the maximum (and failed is set). */
char *buf_reserve(struct buf *b, size_t len);
void buf_added(struct buf *b, size_t len);

void buf_consume(struct buf *b, size_t len);  /* drops the first len bytes */
void buf_truncate(struct buf *b, size_t len); /* keeps the first len bytes */

static inline struct str buf_str(const struct buf *b) /* valid until the next change */
{
    return str_of(b->data, b->len);
}

/* A NUL behind the end that is not counted, for libc; the pointer lives until the next change. */
const char *buf_c_string(struct buf *b);

#endif
