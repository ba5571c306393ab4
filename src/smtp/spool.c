/* spool.c - a message on its way in. See spool.h. */
#include "smtp/spool.h"

#include <stdatomic.h>

#include "run/ipc.h"

enum { MEMORY_MAX = 256 * 1024, COUNT_STEP = 64 * 1024 };

static _Atomic uint64_t in_flight;

uint64_t spool_in_flight(void)
{
    return in_flight;
}

void spool_init(struct spool *s)
{
    *s = (struct spool){.memory = BUF_INIT(BUF_UNBOUNDED), .fd = -1};
}

void spool_free(struct spool *s)
{
    in_flight -= s->counted;
    buf_free(&s->memory);
    fd_close(&s->fd);
    spool_init(s);
}

static int spool_spill(struct spool *s)
{
    if (s->fd < 0)
        s->fd = memfd_make("message");
    if (s->fd < 0 || fd_write_all(s->fd, s->memory.data, s->memory.len) < 0)
        return -1;
    buf_reset(&s->memory);
    return 0;
}

void spool_add(struct spool *s, struct str data, uint64_t in_flight_max)
{
    if (s->failed)
        return;
    s->size += data.len;
    while (s->size > s->counted) {
        uint64_t before = atomic_fetch_add(&in_flight, COUNT_STEP);
        if (before + COUNT_STEP > in_flight_max)
            s->failed = true;
        s->counted += COUNT_STEP;
    }
    buf_add(&s->memory, data);
    if (s->memory.len > MEMORY_MAX && !s->failed && spool_spill(s) < 0)
        s->failed = true;
    if (s->failed)
        buf_free(&s->memory);
}

int spool_seal(struct spool *s, struct error *e)
{
    if (s->failed || spool_spill(s) < 0 || memfd_seal(s->fd) < 0)
        return error_set(e, ERROR_TEMPORARY, "Too much mail is on its way just now");
    int fd = s->fd;
    s->fd = -1;
    return fd;
}
