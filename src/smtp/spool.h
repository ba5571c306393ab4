/* spool.h - a message on its way in: in memory while it is small, in a memfd when it grows, bounded in
 * all messages together.
 */
#ifndef SMTP_SPOOL_H
#define SMTP_SPOOL_H

#include "base/buf.h"
#include "base/error.h"

struct spool {
    struct buf memory;
    int fd;           /* -1 while everything is in memory */
    uint64_t size;    /* bytes in all */
    uint64_t counted; /* of the process's bytes in flight */
    bool failed;      /* no memory, or past the bound: nothing more is kept */
};

void spool_init(struct spool *s);
void spool_free(struct spool *s);
/* in_flight_max: bound for all spools of the process together. */
void spool_add(struct spool *s, struct str data, uint64_t in_flight_max);
/* A sealed memfd with all of it, which is the caller's. -1. */
int spool_seal(struct spool *s, struct error *e);

uint64_t spool_in_flight(void);

#endif
