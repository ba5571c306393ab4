/* conn.h - threads work, epoll waits.
 *
 * A connection at rest is parked: one struct in epoll, no stack, no thread. When something happens
 * to it (bytes, room to write, its deadline, a wake-up from elsewhere in the process, the stop of
 * the process) one worker thread owns it and calls its class's run(), straight through, blocking
 * calls to libraries, disk and IPC allowed. run() ends by saying what to wait for next. Between two
 * runs nobody touches the session; during a run only that worker does. So a session's code needs no
 * locks for its own state.
 *
 * struct conn is the first member of the session struct that a protocol defines.
 */
#ifndef RUN_CONN_H
#define RUN_CONN_H

#include <stdatomic.h>

#include "base/base.h"

/* Why run() is called; several at once are possible. */
enum conn_event {
    CONN_STARTED = 1 << 0,  /* the first run, right after conn_start() */
    CONN_READABLE = 1 << 1, /* bytes, or end of file */
    CONN_WRITABLE = 1 << 2,
    CONN_TIMEOUT = 1 << 3,  /* the deadline passed */
    CONN_WOKEN = 1 << 4,    /* conn_wake() was called at least once since the last run */
    CONN_STOPPING = 1 << 5, /* the process stops: say goodbye and return CONN_CLOSE soon */
};

enum conn_verdict {
    CONN_PARK,  /* wait for conn->want or conn->deadline */
    CONN_CLOSE, /* free() is called; the fd belongs to free() */
};

struct conn;
struct conn_class {
    const char *name; /* for status and the log */
    enum conn_verdict (*run)(struct conn *c, unsigned events);
    void (*free)(struct conn *c); /* frees the session; called exactly once, by a worker */
};

struct conn {
    const struct conn_class *class;
    int fd;           /* what epoll watches; -1 for a session that only waits for time or wake-ups.
                         May change during run() (never between runs) */
    unsigned want;    /* set by run(): CONN_READABLE | CONN_WRITABLE, or 0 */
    int64_t deadline; /* set by run(): clock_monotonic_ms() when CONN_TIMEOUT is due; 0 = never */
    /* the rest is private to conn.c */
    _Atomic unsigned state;
    int registered_fd;
    uint32_t slot;
    uint32_t timer_slot;
    struct conn *next_ready;
    struct conn *timer_previous, *timer_next;
    int64_t timer_due;
    _Atomic int64_t deadline_now;
};

/* Starts the workers: at most `threads` of them, made when all that are there are busy (early: all
 * at once). Call once per process. */
void workers_start(unsigned threads, bool early);

/* Hands a session to the workers. class and fd are set, the rest zero. The caller must not touch it
 * afterwards. */
void conn_start(struct conn *c);

/* From any thread: run c soon, with CONN_WOKEN. Before conn_start() it only notes the event. The caller
 * guarantees that c is not freed during the call (a list from which free() takes the session, under
 * the same lock). */
void conn_wake(struct conn *c);

/* Graceful end: every conn is run with CONN_STOPPING; waits at most grace_ms for all to close, then
 * returns the number that are left. New conn_start()s are run with CONN_STOPPING too. */
unsigned workers_stop(unsigned grace_ms);

struct worker_stats {
    unsigned threads, threads_busy;
    unsigned conns, conns_parked;
    uint64_t runs;
};
void workers_stats(struct worker_stats *out);

#endif
