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

#include "run/wheel.h"

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

/* Waiting is for the socket only: input that run() has read but not used, or left in TLS
 * (stream_has_input), wakes nobody. A run() that parks with such input must be waiting for
 * something else (room to write, a wake-up, time); else it goes on until the input is used up. */
struct conn {
    const struct conn_class *class;
    int fd;        /* what epoll watches; -1 for a session that only waits for time or wake-ups.
                         May change during run() (never between runs), see conn_detach() */
    unsigned want; /* set by run(): CONN_READABLE | CONN_WRITABLE, or 0 */
    int64_t
        deadline; /* set by run(): clock_monotonic_ms() when CONN_TIMEOUT is due; 0 = never. Stays
                         until changed; is 0 again when CONN_TIMEOUT is given */
    /* the rest is private to conn.c */
    _Atomic uint32_t slot;   /* number + 1; 0 before conn_start() */
    atomic_bool woken_early; /* conn_wake() before conn_start() */
    int registered_fd;
    struct conn *next_ready;
    struct wheel_node timer;
    _Atomic int64_t timer_at;  /* when the wheel gives the timer back; 0: not in the wheel */
    _Atomic int64_t timer_due; /* deadline, as the timers see it; 0 during a run */
};

/* Starts the workers: at most `threads` of them, created as they are needed, or all at once when
 * early is true (then they are there before the sandbox closes). Signals are blocked in them. Call
 * once per process. */
void workers_start(unsigned threads, bool early);

/* Hands a session to the workers. class and fd are set, the rest zero. The caller must not touch it
 * afterwards. */
void conn_start(struct conn *c);

/* From any thread: run c soon, with CONN_WOKEN. Before conn_start() it only notes the event. The caller
 * guarantees that c is not freed during the call (a list from which free() takes the session, under
 * the same lock). */
void conn_wake(struct conn *c);

/* During run() only: epoll forgets conn->fd. To be called before that descriptor is closed while conn
 * goes on with another one (or none). Not needed before CONN_CLOSE, nor when it stays open. */
void conn_detach(struct conn *c);

/* Graceful end: every conn is run with CONN_STOPPING, now and at each further run; waits at most grace_ms for all to close, then
 * returns the number that are left. New conn_start()s are run with CONN_STOPPING too. */
unsigned workers_stop(unsigned grace_ms);

struct worker_stats {
    unsigned threads, threads_busy;
    unsigned conns, conns_parked;
    uint64_t runs;
};
void workers_stats(struct worker_stats *out);

#endif
