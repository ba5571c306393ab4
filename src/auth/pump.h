/* pump.h - after the login of a TLS connection: bytes between the client's stream and the socketpair to
 * box, both ways, with a bound on what waits in each direction.
 */
#ifndef AUTH_PUMP_H
#define AUTH_PUMP_H

#include "run/stream.h"

struct pump {
    struct stream *outside; /* TLS, to the client */
    struct stream inside;   /* the socketpair, to box; owned */
    int epoll_fd;           /* both descriptors in one that a conn can wait for; owned */
    uint32_t outside_wants, inside_wants; /* what epoll_fd was told */
};

/* inside_fd is taken. 0, or -1 with errno (nothing is owned then but inside_fd is closed). */
int pump_start(struct pump *p, struct stream *outside, int inside_fd);

/* Moves what can be moved now. 0: go on waiting on epoll_fd; -1: both directions are done, or one
 * failed: close. */
int pump_run(struct pump *p);

void pump_close(struct pump *p); /* not the outside stream */

#endif
