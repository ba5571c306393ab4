/* buf.c - growing bytes with a maximum. */
#include "base/buf.h"

void buf_init(struct buf *b, size_t max)
{
    *b = BUF_INIT(max);
}

void buf_free(struct buf *b)
{
    mem_free(b->data);
    *b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

char *buf_reserve(struct buf *b, size_t len)
{
    size_t need;
    if (__builtin_add_overflow(b->len, len, &need) || need > b->max) {
        b->failed = true;
        return NULL;
    }
    if (need > b->capacity || !b->data) {
        size_t capacity = MAX(b->capacity + b->capacity / 2, MAX(need, 64));
        capacity = MAX(MIN(capacity, b->max), need);
        b->data = mem_resize(b->data, capacity, 1);
        b->capacity = capacity;
    }
    return b->data + b->len;
}

void buf_added(struct buf *b, size_t len)
{
    panic_unless(len <= b->capacity - b->len);
    b->len += len;
}

int buf_add_bytes(struct buf *b, const void *data, size_t len)
{
    char *room = buf_reserve(b, len);
    if (!room)
        return -1;
    if (len)
        memcpy(room, data, len);
    b->len += len;
    return 0;
}

int buf_add(struct buf *b, struct str s)
{
    return buf_add_bytes(b, s.data, s.len);
}

int buf_add_char(struct buf *b, char c)
{
    return buf_add_bytes(b, &c, 1);
}

int buf_add_u64(struct buf *b, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return buf_add_bytes(b, digits + at, sizeof(digits) - at);
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
    char small[256];
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(small, sizeof(small), format, args);
    int result = -1;
    if (len >= 0 && (size_t)len < sizeof(small)) {
        result = buf_add_bytes(b, small, (size_t)len);
    } else if (len >= 0) {
        char *large = mem_alloc((size_t)len + 1);
        vsnprintf(large, (size_t)len + 1, format, again);
        result = buf_add_bytes(b, large, (size_t)len);
        mem_free(large);
    }
    va_end(again);
    return result;
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int result = buf_vprintf(b, format, args);
    va_end(args);
    return result;
}

void buf_consume(struct buf *b, size_t len)
{
    panic_unless(len <= b->len);
    b->len -= len;
    if (b->len && len)
        memmove(b->data, b->data + len, b->len);
}

void buf_truncate(struct buf *b, size_t len)
{
    panic_unless(len <= b->len);
    b->len = len;
}

const char *buf_c_string(struct buf *b)
{
    if (b->len == b->capacity || !b->data) {
        size_t capacity = b->len + 1;
        b->data = mem_resize(b->data, capacity, 1);
        b->capacity = capacity;
    }
    b->data[b->len] = '\0';
    return b->data;
}
