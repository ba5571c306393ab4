/* base.c - ending, memory, descriptors, randomness. */
#include "base/base.h"

#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"

void fatal(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_event(LOG_ERROR, "fatal", "error=%s", log_quote(str_from(text)));
    _exit(70);
}

void panic_at(const char *file, int line, const char *function, const char *what)
{
    log_event(LOG_ERROR, "panic", "at=%s:%d function=%s failed=%s", file, line, function,
              log_quote(str_from(what)));
    abort();
}

void *mem_alloc(size_t size)
{
    return mem_alloc_array(1, size);
}

void *mem_alloc_array(size_t count, size_t size)
{
    void *memory = calloc(MAX(count, 1), MAX(size, 1));
    if (!memory)
        fatal("out of memory (%zu times %zu bytes)", count, size);
    return memory;
}

void *mem_resize(void *memory, size_t count, size_t size)
{
    void *result = reallocarray(memory, MAX(count, 1), MAX(size, 1));
    if (!result)
        fatal("out of memory (%zu times %zu bytes)", count, size);
    return result;
}

void mem_free(void *memory)
{
    free(memory);
}

void fd_close(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

int fd_write_all(int fd, const void *data, size_t len)
{
    const char *next = data;
    while (len > 0) {
        ssize_t n = write(fd, next, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        next += n;
        len -= (size_t)n;
    }
    return 0;
}

void random_bytes(void *data, size_t len)
{
    char *next = data;
    while (len > 0) {
        ssize_t n = getrandom(next, MIN(len, 256), 0);
        if (n < 0 && errno != EINTR)
            fatal("getrandom: %m");
        if (n > 0) {
            next += n;
            len -= (size_t)n;
        }
    }
}

void wipe(void *data, size_t len)
{
    if (len)
        explicit_bzero(data, len);
}
