/* base.h - what every file may use without asking: small macros, and the two ways to end a process.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define countof(a)                    (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                     ((a) < (b) ? (a) : (b))
#define MAX(a, b)                     ((a) > (b) ? (a) : (b))
#define PRINTF(f, a)                  __attribute__((format(printf, f, a)))
#define NORETURN                      __attribute__((noreturn))
#define MUST_CHECK                    __attribute__((warn_unused_result))
#define UNUSED                        __attribute__((unused))
#define CLEANUP(fn)                   __attribute__((cleanup(fn)))
#define FALLTHROUGH                   __attribute__((fallthrough))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* The world broke (no memory, no disk, no key): logs, then ends this process; master restarts it. */
void fatal(const char *format, ...) PRINTF(1, 2) NORETURN;

/* We broke: an invariant of our own does not hold. Logs, then aborts (leaves a core). */
#define panic_unless(condition)                                 \
    do {                                                        \
        if (!(condition))                                       \
            panic_at(__FILE__, __LINE__, __func__, #condition); \
    } while (0)
void panic_at(const char *file, int line, const char *function, const char *what) NORETURN;

/* Memory that cannot be NULL: out of memory is fatal(). Anything whose size a stranger decides is
 * bounded before it comes here. The product and sums are checked for overflow. */
void *mem_alloc(size_t size);                              /* zeroed */
void *mem_alloc_array(size_t count, size_t size);          /* zeroed */
void *mem_resize(void *memory, size_t count, size_t size); /* new bytes are not zeroed */
void mem_free(void *memory);

/* Closes *fd when it is open and leaves -1; errno is kept. Fits CLEANUP(fd_close). */
void fd_close(int *fd);

/* Writes all of data to fd (blocking), through short writes and EINTR. 0 or -1 with errno. */
int fd_write_all(int fd, const void *data, size_t len);

/* Fills data with random bytes from the kernel; cannot fail. */
void random_bytes(void *data, size_t len);

/* Overwrites secrets in a way that the compiler keeps. */
void wipe(void *data, size_t len);

#endif
