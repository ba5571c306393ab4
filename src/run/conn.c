/* conn.c - threads work, epoll waits. See conn.h.
 *
 * All workers wait in one epoll instance; every registration is EPOLLONESHOT, so an event reaches one
 * worker. A conn is in one of three states, in the low bits of its atomic state word; the events that
 * wait for it are in the bits above:
 *
 *     PARKED   nobody has it; whoever signals an event moves it to QUEUED
 *     QUEUED   it is in the ready list
 *     RUNNING  a worker has it; signalled events wait until the run ends, which then runs it again
 *
 * A worker that gets an event from epoll holds a slot number, not a pointer: the conn may be freed by
 * another worker meanwhile. The slot's lock (one of a few) is held while the event is signalled, and
 * free takes the conn out of its slot under the same lock. Timers signal under the wheel's lock, and
 * free takes the conn off the wheel under it.
 *
 * Deadlines hang in a wheel of slots, TICK_MS each. A deadline that moves later (what sessions do at
 * each run) leaves the conn where it hangs; the tick that finds it there hangs it on again.
 *
 * Lock order: slot lock, wheel lock, ready lock.
 */
#include "run/conn.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    STACK_SIZE = 256 * 1024,
    TICK_MS = 50,
    WHEEL_SLOTS = 8192,
    SLOT_CHUNK = 1024,
    SLOT_CHUNKS = 4096,
    SLOT_LOCKS = 64,
};

enum { STATE_PARKED = 0, STATE_QUEUED = 1, STATE_RUNNING = 2, STATE_MASK = 3, EVENT_SHIFT = 2 };

#define WAKE_SLOT UINT32_MAX

struct slot {
    struct conn *conn;
    uint32_t generation;
    uint32_t next_free;
    uint32_t armed; /* what epoll watches for now */
};

static struct {
    int epoll_fd, wake_fd;
    unsigned threads_max;
    _Atomic unsigned threads, busy, conns, parked;
    _Atomic uint64_t runs;
    _Atomic bool stopping;

    pthread_mutex_t ready_lock;
    struct conn *ready_first, **ready_end;

    pthread_mutex_t slot_table_lock;
    struct slot *chunks[SLOT_CHUNKS];
    uint32_t slot_count, free_slot;
    pthread_mutex_t slot_locks[SLOT_LOCKS];

    pthread_mutex_t wheel_lock;
    struct conn *wheel[WHEEL_SLOTS];
    int64_t wheel_tick;
} workers = {.epoll_fd = -1, .wake_fd = -1, .free_slot = UINT32_MAX};

/* ------------------------------------------------------------------ slots */

static struct slot *slot_at(uint32_t index)
{
    return &workers.chunks[index / SLOT_CHUNK][index % SLOT_CHUNK];
}

static pthread_mutex_t *slot_lock(uint32_t index)
{
    return &workers.slot_locks[index % SLOT_LOCKS];
}

static void slot_take(struct conn *c)
{
    pthread_mutex_lock(&workers.slot_table_lock);
    if (workers.free_slot == UINT32_MAX) {
        uint32_t chunk = workers.slot_count / SLOT_CHUNK;
        if (chunk == SLOT_CHUNKS)
            fatal("too many connections in one process");
        workers.chunks[chunk] = mem_alloc_array(SLOT_CHUNK, sizeof(struct slot));
        for (uint32_t i = SLOT_CHUNK; i-- > 0;) {
            workers.chunks[chunk][i].next_free = workers.free_slot;
            workers.free_slot = workers.slot_count + i;
        }
        workers.slot_count += SLOT_CHUNK;
    }
    c->slot = workers.free_slot;
    struct slot *slot = slot_at(c->slot);
    workers.free_slot = slot->next_free;
    pthread_mutex_lock(slot_lock(c->slot));
    slot->conn = c;
    slot->armed = 0;
    pthread_mutex_unlock(slot_lock(c->slot));
    pthread_mutex_unlock(&workers.slot_table_lock);
}

static void slot_give_back(struct conn *c)
{
    pthread_mutex_lock(&workers.slot_table_lock);
    struct slot *slot = slot_at(c->slot);
    pthread_mutex_lock(slot_lock(c->slot));
    slot->conn = NULL;
    slot->generation++;
    pthread_mutex_unlock(slot_lock(c->slot));
    slot->next_free = workers.free_slot;
    workers.free_slot = c->slot;
    pthread_mutex_unlock(&workers.slot_table_lock);
}

/* ------------------------------------------------------------------ the ready list */

static void workers_poke(void)
{
    uint64_t one = 1;
    ssize_t ignored = write(workers.wake_fd, &one, sizeof(one));
    (void)ignored; /* a full counter means that a wake-up is pending anyway */
}

static void ready_push(struct conn *c)
{
    c->next_ready = NULL;
    pthread_mutex_lock(&workers.ready_lock);
    *workers.ready_end = c;
    workers.ready_end = &c->next_ready;
    pthread_mutex_unlock(&workers.ready_lock);
    workers_poke();
}

static struct conn *ready_pop(void)
{
    pthread_mutex_lock(&workers.ready_lock);
    struct conn *c = workers.ready_first;
    if (c) {
        workers.ready_first = c->next_ready;
        if (!workers.ready_first)
            workers.ready_end = &workers.ready_first;
    }
    bool more = workers.ready_first != NULL;
    pthread_mutex_unlock(&workers.ready_lock);
    if (c && more) /* wake-ups that came close together are seen as one: pass it on */
        workers_poke();
    return c;
}

/* Adds events; a parked conn is queued. */
static void conn_signal(struct conn *c, unsigned events)
{
    unsigned old = atomic_load(&c->state), new;
    do {
        new = old | events << EVENT_SHIFT;
        if ((old & STATE_MASK) == STATE_PARKED)
            new = (new & ~(unsigned)STATE_MASK) | STATE_QUEUED;
    } while (!atomic_compare_exchange_weak(&c->state, &old, new));
    if ((old & STATE_MASK) == STATE_PARKED) {
        workers.parked--;
        ready_push(c);
    }
}

void conn_wake(struct conn *c)
{
    conn_signal(c, CONN_WOKEN);
}

/* ------------------------------------------------------------------ deadlines */

static void wheel_remove(struct conn *c) /* wheel_lock is held */
{
    if (c->timer_slot == 0)
        return;
    if (c->timer_previous)
        c->timer_previous->timer_next = c->timer_next;
    else
        workers.wheel[c->timer_slot - 1] = c->timer_next;
    if (c->timer_next)
        c->timer_next->timer_previous = c->timer_previous;
    c->timer_slot = 0;
}

static void wheel_hang(struct conn *c, int64_t deadline) /* wheel_lock is held */
{
    int64_t tick = MAX(deadline / TICK_MS + 1, workers.wheel_tick + 1);
    uint32_t slot = (uint32_t)(tick % WHEEL_SLOTS);
    c->timer_slot = slot + 1;
    c->timer_due = deadline;
    c->timer_previous = NULL;
    c->timer_next = workers.wheel[slot];
    if (c->timer_next)
        c->timer_next->timer_previous = c;
    workers.wheel[slot] = c;
}

/* Before parking. Nothing to do when the conn hangs at an earlier time already. */
static void deadline_register(struct conn *c)
{
    if (c->deadline == 0 || (c->timer_slot && c->timer_due <= c->deadline))
        return;
    pthread_mutex_lock(&workers.wheel_lock);
    wheel_remove(c);
    wheel_hang(c, c->deadline);
    pthread_mutex_unlock(&workers.wheel_lock);
}

/* One slot of the wheel. The deadline of a conn that is running now may be changing: what is read
 * here is only a hint then, since the run that follows looks at the clock itself. */
static void wheel_turn(int64_t now)
{
    struct conn *next;
    for (struct conn *c = workers.wheel[workers.wheel_tick % WHEEL_SLOTS]; c; c = next) {
        next = c->timer_next;
        if (c->timer_due > now)
            continue; /* of a later turn */
        int64_t deadline = atomic_load(&c->deadline_now);
        wheel_remove(c);
        if (deadline == 0)
            continue;
        if (deadline > now)
            wheel_hang(c, deadline);
        else
            conn_signal(c, CONN_TIMEOUT);
    }
}

static void *timer_main(void *unused UNUSED)
{
    for (;;) {
        usleep(TICK_MS * 1000);
        int64_t now = clock_monotonic_ms();
        pthread_mutex_lock(&workers.wheel_lock);
        while (workers.wheel_tick < now / TICK_MS) {
            workers.wheel_tick++;
            wheel_turn(now);
        }
        pthread_mutex_unlock(&workers.wheel_lock);
    }
    return NULL;
}

/* ------------------------------------------------------------------ running */

static void conn_finish(struct conn *c)
{
    pthread_mutex_lock(&workers.wheel_lock);
    wheel_remove(c);
    pthread_mutex_unlock(&workers.wheel_lock);
    /* Explicitly: the socket may live on in another process, and its registration with it. */
    if (c->registered_fd >= 0)
        epoll_ctl(workers.epoll_fd, EPOLL_CTL_DEL, c->registered_fd, NULL);
    slot_give_back(c);
    c->class->free(c);
    workers.conns--;
}

/* Tells epoll what the conn waits for, with as few system calls as possible. */
static void conn_arm(struct conn *c)
{
    uint32_t wanted = (c->want & CONN_READABLE ? (uint32_t)(EPOLLIN | EPOLLRDHUP) : 0) |
                      (c->want & CONN_WRITABLE ? (uint32_t)EPOLLOUT : 0);
    struct slot *slot = slot_at(c->slot);
    if (c->registered_fd != c->fd) {
        if (c->registered_fd >= 0)
            epoll_ctl(workers.epoll_fd, EPOLL_CTL_DEL, c->registered_fd, NULL);
        pthread_mutex_lock(slot_lock(c->slot));
        slot->armed = 0;
        slot->generation++; /* what was harvested of the old descriptor is void */
        pthread_mutex_unlock(slot_lock(c->slot));
        c->registered_fd = -1;
    }
    if (c->fd < 0)
        return;
    pthread_mutex_lock(slot_lock(c->slot));
    bool same = slot->armed == wanted;
    slot->armed = wanted;
    uint64_t data = (uint64_t)slot->generation << 32 | c->slot;
    pthread_mutex_unlock(slot_lock(c->slot));
    if (same)
        return;
    struct epoll_event event = {.events = wanted | (uint32_t)EPOLLONESHOT, .data.u64 = data};
    int operation = c->registered_fd < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    c->registered_fd = c->fd;
    if (epoll_ctl(workers.epoll_fd, operation, c->fd, &event) < 0)
        fatal("epoll_ctl: %m");
}

/* Runs a queued conn until it parks with nothing waiting for it, or closes. */
static void conn_run(struct conn *c)
{
    unsigned state = atomic_load(&c->state), new;
    while (!atomic_compare_exchange_weak(&c->state, &state, STATE_RUNNING))
        ;
    unsigned events = state >> EVENT_SHIFT;
    for (;;) {
        workers.runs++;
        if (workers.stopping)
            events |= CONN_STOPPING;
        if (c->class->run(c, events) == CONN_CLOSE) {
            conn_finish(c);
            return;
        }
        atomic_store(&c->deadline_now, c->deadline);
        deadline_register(c);
        conn_arm(c);
        workers.parked++;
        state = STATE_RUNNING;
        if (atomic_compare_exchange_strong(&c->state, &state, STATE_PARKED))
            return;
        workers.parked--;
        new = STATE_RUNNING;
        while (!atomic_compare_exchange_weak(&c->state, &state, new))
            ;
        events = state >> EVENT_SHIFT;
    }
}

/* Turns an event of epoll into a signal, if its conn is still there. */
static void event_deliver(const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64, generation = (uint32_t)(event->data.u64 >> 32);
    unsigned events = 0;
    if (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        events |= CONN_READABLE;
    if (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        events |= CONN_WRITABLE;
    struct conn *run = NULL;
    pthread_mutex_lock(slot_lock(index));
    struct slot *slot = slot_at(index);
    if (slot->conn && slot->generation == generation) {
        slot->armed = 0;
        /* The common case: take it right here, without the ready list. */
        unsigned parked = STATE_PARKED;
        if (atomic_compare_exchange_strong(&slot->conn->state, &parked,
                                           STATE_QUEUED | events << EVENT_SHIFT)) {
            workers.parked--;
            run = slot->conn;
        } else {
            conn_signal(slot->conn, events);
        }
    }
    pthread_mutex_unlock(slot_lock(index));
    if (run)
        conn_run(run);
}

static void thread_add(void);

static void *worker_main(void *unused UNUSED)
{
    for (;;) {
        struct conn *c;
        struct epoll_event event;
        while ((c = ready_pop())) {
            if (++workers.busy >= workers.threads)
                thread_add();
            conn_run(c);
            workers.busy--;
        }
        int n = epoll_wait(workers.epoll_fd, &event, 1, -1);
        if (n < 0 && errno != EINTR)
            fatal("epoll_wait: %m");
        if (n <= 0 || (uint32_t)event.data.u64 == WAKE_SLOT)
            continue;
        if (++workers.busy >= workers.threads)
            thread_add();
        event_deliver(&event);
        workers.busy--;
    }
    return NULL;
}

static void thread_make(void *(*entry)(void *))
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attributes, entry, NULL);
    pthread_attr_destroy(&attributes);
    if (failed)
        fatal("cannot make a thread: %s", strerror(failed));
}

/* One more worker, unless there are enough. */
static void thread_add(void)
{
    unsigned now = atomic_load(&workers.threads);
    do {
        if (now >= workers.threads_max)
            return;
    } while (!atomic_compare_exchange_weak(&workers.threads, &now, now + 1));
    thread_make(worker_main);
}

/* ------------------------------------------------------------------ public */

void workers_start(unsigned threads, bool early)
{
    workers.threads_max = MAX(threads, 2U);
    workers.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    workers.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    workers.ready_end = &workers.ready_first;
    workers.wheel_tick = clock_monotonic_ms() / TICK_MS;
    pthread_mutex_init(&workers.ready_lock, NULL);
    pthread_mutex_init(&workers.slot_table_lock, NULL);
    pthread_mutex_init(&workers.wheel_lock, NULL);
    for (size_t i = 0; i < SLOT_LOCKS; i++)
        pthread_mutex_init(&workers.slot_locks[i], NULL);
    /* Edge-triggered: each wake-up reaches one waiting worker, and nobody has to read the counter. */
    struct epoll_event event = {.events = EPOLLIN | (uint32_t)EPOLLET, .data.u64 = WAKE_SLOT};
    if (workers.epoll_fd < 0 || workers.wake_fd < 0 ||
        epoll_ctl(workers.epoll_fd, EPOLL_CTL_ADD, workers.wake_fd, &event) < 0)
        fatal("cannot set up epoll: %m");
    thread_make(timer_main);
    thread_add();
    while (early && workers.threads < workers.threads_max)
        thread_add();
}

void conn_start(struct conn *c)
{
    workers.conns++;
    c->registered_fd = -1;
    slot_take(c);
    /* Wake-ups that came before are kept; from here on the conn is the workers'. */
    atomic_fetch_or(&c->state, STATE_QUEUED | CONN_STARTED << EVENT_SHIFT);
    ready_push(c);
}

unsigned workers_stop(unsigned grace_ms)
{
    workers.stopping = true;
    for (uint32_t i = 0; i < workers.slot_count; i++) {
        pthread_mutex_lock(slot_lock(i));
        if (slot_at(i)->conn)
            conn_signal(slot_at(i)->conn, CONN_STOPPING);
        pthread_mutex_unlock(slot_lock(i));
    }
    int64_t end = clock_monotonic_ms() + grace_ms;
    while (workers.conns > 0 && clock_monotonic_ms() < end)
        usleep(5000);
    return workers.conns;
}

void workers_stats(struct worker_stats *out)
{
    *out = (struct worker_stats){.threads = workers.threads,
                                 .threads_busy = workers.busy,
                                 .conns = workers.conns,
                                 .conns_parked = workers.parked,
                                 .runs = workers.runs};
}
