/* conn.c - threads work, epoll waits.
 *
 * All workers wait in epoll_wait() on one epoll instance and take one event at a time, because the
 * run() that follows may block for long; further events go to other workers. Descriptors are
 * registered EPOLLONESHOT: one event, then silence until the next park asks again (one epoll_ctl per
 * turn, none for runs that were caused by a wake-up or deadline). Edge-triggered registration would
 * save that call, but it wakes a second worker for nothing whenever bytes arrive during a run.
 *
 * Who may touch a session is decided by one atomic word per conn. It lives in a table of slots that
 * is never given back, with a generation, so that an event that a worker holds in its hand for a
 * conn which another worker closes in the same moment finds a slot of another generation instead of
 * freed memory:
 *
 *     PARKED -> QUEUED   whoever brings the first event; it now owns the conn and runs it, or puts it
 *                        into the ready list
 *     QUEUED -> RUNNING  a worker; takes all events that are noted
 *     RUNNING -> PARKED  the same worker, if no event was noted meanwhile; else -> QUEUED
 *     RUNNING -> FREE    the same worker, after CONN_CLOSE
 *
 * An event for a conn that is not PARKED is only noted in the word.
 *
 * Deadlines stand in a timing wheel behind a timerfd in the same epoll instance. A deadline that
 * moves later is left where it is and looked at again when the old time comes; so a session that
 * sets a new deadline at each run costs neither lock nor system call.
 *
 * Locks: timer_lock, ready_lock, table_lock, spawn_lock; none is ever taken inside another, and none
 * is held during run() or free().
 */
#include "run/conn.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"

/* Sanitizers need more stack than the code itself. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_SIZE = 2 * 1024 * 1024 };
#else
enum { STACK_SIZE = 256 * 1024 };
#endif

enum { CHUNK_SLOTS = 1024, CHUNKS_MAX = 4096 };
enum { READY_TURNS = 16 }; /* ready conns a worker runs in a row before it looks at epoll again */

/* The state word: phase, events that epoll is armed for, events noted, generation. */
enum { FREE, PARKED, QUEUED, RUNNING, PHASE_MASK = 3 };
enum { ARMED_SHIFT = 2, NOTED_SHIFT = 16, GENERATION_SHIFT = 32 };
#define ARMED_MASK ((uint64_t)(CONN_READABLE | CONN_WRITABLE) << ARMED_SHIFT)
#define NOTED_MASK ((uint64_t)0xffff << NOTED_SHIFT)

struct slot {
    _Atomic uint64_t state;
    struct conn *conn; /* for the owner only */
};

/* What epoll gives back: generation and slot number, or one of these two. */
#define EVENT_WAKE  UINT64_MAX
#define EVENT_TIMER (UINT64_MAX - 1)

static int epoll_fd = -1, wake_fd = -1, timer_fd = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t table_emptied;
static struct slot *_Atomic chunks[CHUNKS_MAX];
static uint32_t slots_made;
static VEC(uint32_t) slots_free = VEC_INIT;
static unsigned conn_count; /* under table_lock */
static atomic_bool stopping;

static pthread_mutex_t ready_lock = PTHREAD_MUTEX_INITIALIZER;
static struct conn *ready_first, *ready_last;
static unsigned ready_count;
static bool wake_sent; /* a write to wake_fd that no worker has seen yet; under ready_lock */

static pthread_mutex_t timer_lock = PTHREAD_MUTEX_INITIALIZER;
static struct wheel wheel;
static int64_t timer_fd_at; /* what timer_fd is set to; 0 = not set */

static pthread_mutex_t spawn_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned threads_max, threads_made;
static _Atomic int threads_idle; /* waiting in epoll, or just being made; raised under ready_lock */
static _Atomic unsigned threads_running;
static _Atomic uint64_t run_count;

static void *worker_main(void *unused);

static void epoll_add_own(int fd, uint64_t data)
{
    /* Edge-triggered: each write and each expiry is one event for one worker, and no read needed. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = data};
    if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fatal("cannot set up epoll: %m");
}

static void conn_setup(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        fatal("epoll_create1: %m");
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    epoll_add_own(wake_fd, EVENT_WAKE);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    epoll_add_own(timer_fd, EVENT_TIMER);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&table_emptied, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* --- slots ------------------------------------------------------------------------------------ */

static struct slot *slot_at(uint32_t number)
{
    return &atomic_load_explicit(&chunks[number / CHUNK_SLOTS],
                                 memory_order_acquire)[number % CHUNK_SLOTS];
}

static struct slot *conn_slot(struct conn *c)
{
    return slot_at(atomic_load_explicit(&c->slot, memory_order_relaxed) - 1);
}

static uint32_t state_generation(uint64_t state)
{
    return (uint32_t)(state >> GENERATION_SHIFT);
}

static uint64_t state_with_phase(uint64_t state, unsigned phase)
{
    return (state & ~(uint64_t)PHASE_MASK) | phase;
}

/* Notes events for the conn in s. True: it was parked, and now belongs to the caller, who must run or
 * queue it. from_epoll: only events that are armed count, and they are armed no longer. */
static bool slot_note(struct slot *s, uint32_t generation, unsigned events, bool from_epoll)
{
    uint64_t old = atomic_load(&s->state), new;
    unsigned noted;
    do {
        noted = events;
        new = old;
        if (from_epoll) {
            noted &= (unsigned)((old & ARMED_MASK) >> ARMED_SHIFT);
            new &= ~ARMED_MASK;
        }
        if (!noted || (old & PHASE_MASK) == FREE || state_generation(old) != generation)
            return false;
        new |= (uint64_t)noted << NOTED_SHIFT;
        if ((old & PHASE_MASK) == PARKED)
            new = state_with_phase(new, QUEUED);
    } while (!atomic_compare_exchange_weak(&s->state, &old, new));
    return (old & PHASE_MASK) == PARKED;
}

/* For callers who know that c lives. */
static bool conn_note(struct conn *c, unsigned events)
{
    struct slot *s = conn_slot(c);
    return slot_note(s, state_generation(atomic_load(&s->state)), events, false);
}

/* Gives c a slot, QUEUED with its first events noted. */
static void slot_take(struct conn *c)
{
    pthread_mutex_lock(&table_lock);
    uint32_t number;
    if (slots_free.len) {
        number = slots_free.items[--slots_free.len];
    } else {
        if (slots_made == (uint32_t)CHUNK_SLOTS * CHUNKS_MAX)
            fatal("too many connections in one process");
        number = slots_made++;
        if (number % CHUNK_SLOTS == 0)
            atomic_store_explicit(&chunks[number / CHUNK_SLOTS],
                                  mem_alloc_array(CHUNK_SLOTS, sizeof(struct slot)),
                                  memory_order_release);
    }
    struct slot *s = slot_at(number);
    s->conn = c;
    uint64_t state = atomic_load(&s->state);
    atomic_store(&s->state,
                 state_with_phase(state, QUEUED) | (uint64_t)CONN_STARTED << NOTED_SHIFT);
    conn_count++;
    pthread_mutex_unlock(&table_lock);
    /* conn_wake() does it the other way round, so one of both sees the other. */
    atomic_store(&c->slot, number + 1);
    if (atomic_load(&c->woken_early))
        conn_note(c, CONN_WOKEN);
}

static void slot_give(uint32_t number)
{
    struct slot *s = slot_at(number);
    pthread_mutex_lock(&table_lock);
    uint64_t generation = state_generation(atomic_load(&s->state)) + UINT64_C(1);
    s->conn = NULL;
    atomic_store(&s->state, generation << GENERATION_SHIFT | FREE);
    VEC_ADD(&slots_free, number);
    if (--conn_count == 0)
        pthread_cond_broadcast(&table_emptied);
    pthread_mutex_unlock(&table_lock);
}

/* --- the ready list --------------------------------------------------------------------------- */

/* Under ready_lock: one idle worker shall come and look at the list. */
static bool ready_needs_wake(void)
{
    if (!ready_first || wake_sent || atomic_load(&threads_idle) <= 0)
        return false;
    wake_sent = true;
    return true;
}

static void wake_send(void)
{
    uint64_t one = 1;
    if (write(wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        fatal("cannot wake a worker: %m");
}

/* Appends a chain linked by next_ready, all QUEUED and owned by the caller. comes: the caller is a worker
 * that will look at the list next, so nobody need be woken for one conn. */
static void ready_add(struct conn *first, bool comes)
{
    if (!first)
        return;
    unsigned count = 1;
    struct conn *last = first;
    while (last->next_ready) {
        last = last->next_ready;
        count++;
    }
    pthread_mutex_lock(&ready_lock);
    if (ready_last)
        ready_last->next_ready = first;
    else
        ready_first = first;
    ready_last = last;
    ready_count += count;
    bool wake = (!comes || ready_count > 1) && ready_needs_wake();
    pthread_mutex_unlock(&ready_lock);
    if (wake)
        wake_send();
}

static void ready_push(struct conn *first)
{
    ready_add(first, false);
}

/* The next ready conn, or NULL: then the calling worker already counts as idle, so that no push goes
 * unseen between this look and its epoll_wait(). */
static struct conn *ready_pop_or_idle(void)
{
    pthread_mutex_lock(&ready_lock);
    struct conn *c = ready_first;
    bool wake = false;
    if (c) {
        ready_first = c->next_ready;
        if (!ready_first)
            ready_last = NULL;
        c->next_ready = NULL;
        ready_count--;
        wake = ready_needs_wake(); /* there is more: somebody else shall not wait for our run */
    } else {
        atomic_fetch_add(&threads_idle, 1);
    }
    pthread_mutex_unlock(&ready_lock);
    if (wake)
        wake_send();
    return c;
}

/* --- deadlines -------------------------------------------------------------------------------- */

/* Under timer_lock: timer_fd fires at `at` or earlier. */
static void timer_fd_set(int64_t at)
{
    struct itimerspec spec = {.it_value = {at / 1000, at % 1000 * 1000000}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
        fatal("timerfd_settime: %m");
    timer_fd_at = at;
}

/* Under timer_lock: (re)places c's timer. */
static void timer_place(struct conn *c, int64_t now, int64_t due)
{
    if (atomic_load(&c->timer_at))
        wheel_remove(&wheel, &c->timer);
    int64_t at = wheel_add(&wheel, &c->timer, now, due);
    atomic_store(&c->timer_at, MAX(at, 1));
    if (timer_fd_at == 0 || at < timer_fd_at)
        timer_fd_set(MAX(at, 1));
}

/* At a park. The order (first timer_due, then timer_at; timers_fire() the other way round) makes sure
 * that one side sees what the other did. */
static void timer_update(struct conn *c)
{
    atomic_store(&c->timer_due, c->deadline);
    int64_t at = atomic_load(&c->timer_at);
    if (c->deadline == 0 || (at && at <= c->deadline + WHEEL_TICK))
        return;
    pthread_mutex_lock(&timer_lock);
    timer_place(c, clock_monotonic_ms(), c->deadline);
    pthread_mutex_unlock(&timer_lock);
}

static void timer_remove(struct conn *c)
{
    pthread_mutex_lock(&timer_lock); /* even if timer_at is 0: timers_fire() may hold c */
    if (atomic_load(&c->timer_at))
        wheel_remove(&wheel, &c->timer);
    pthread_mutex_unlock(&timer_lock);
}

static void timers_fire(void)
{
    struct conn *ready = NULL;
    pthread_mutex_lock(&timer_lock);
    int64_t now = clock_monotonic_ms();
    timer_fd_at = 0;
    struct wheel_node *next, *node = wheel_advance(&wheel, now);
    for (; node; node = next) {
        next = node->next;
        struct conn *c = CONTAINER_OF(node, struct conn, timer);
        atomic_store(&c->timer_at, 0);
        int64_t due = atomic_load(&c->timer_due);
        if (due > now) {
            timer_place(c, now, due);
        } else if (due && conn_note(c, CONN_TIMEOUT)) {
            c->next_ready = ready;
            ready = c;
        }
    }
    int64_t at = wheel_next(&wheel);
    if (at && at != timer_fd_at)
        timer_fd_set(at);
    pthread_mutex_unlock(&timer_lock);
    ready_add(ready, true);
}

/* --- runs ------------------------------------------------------------------------------------- */

/* Undoes the registration. */
static void epoll_forget(struct conn *c)
{
    if (c->registered_fd >= 0)
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->registered_fd, &(struct epoll_event){0});
    c->registered_fd = -1;
    atomic_fetch_and(&conn_slot(c)->state, ~ARMED_MASK);
}

/* Sets what epoll shall report, if that is not what it would report anyway. Before the conn is
 * parked, because then it may be gone at any moment. -1 when the kernel refuses. */
static int conn_arm(struct conn *c)
{
    struct slot *s = conn_slot(c);
    uint64_t want = c->fd < 0 ? 0 : c->want & (CONN_READABLE | CONN_WRITABLE);
    uint64_t old = atomic_load(&s->state);
    if (c->fd == c->registered_fd && (old & ARMED_MASK) == want << ARMED_SHIFT)
        return 0;
    if (c->fd != c->registered_fd) {
        epoll_forget(c);
        if (want == 0)
            return 0;
        old = atomic_load(&s->state);
    }
    while (
        !atomic_compare_exchange_weak(&s->state, &old, (old & ~ARMED_MASK) | want << ARMED_SHIFT)) {
    }
    struct epoll_event event = {
        .events = EPOLLONESHOT | (want & CONN_READABLE ? (uint32_t)EPOLLIN : 0) |
                  (want & CONN_WRITABLE ? (uint32_t)EPOLLOUT : 0),
        .data.u64 = (uint64_t)state_generation(old) << GENERATION_SHIFT | (c->slot - 1),
    };
    int operation = c->fd == c->registered_fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int result = epoll_ctl(epoll_fd, operation, c->fd, &event);
    if (result < 0 && errno == EEXIST)
        result = epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    else if (result < 0 && errno == ENOENT)
        result = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
    c->registered_fd = c->fd;
    return result;
}

void conn_detach(struct conn *c)
{
    if (c->registered_fd == c->fd)
        epoll_forget(c);
}

static void conn_close(struct conn *c)
{
    uint32_t number = atomic_load(&c->slot) - 1;
    timer_remove(c);
    /* Closing the descriptor is not enough if another process holds a copy. */
    epoll_forget(c);
    c->class->free(c);
    slot_give(number); /* last, so that a conn_wake() during free() finds its own slot */
}

static void conn_park(struct conn *c)
{
    struct slot *s = conn_slot(c);
    timer_update(c);
    uint64_t old = atomic_load(&s->state);
    if (!(old & NOTED_MASK) && conn_arm(c) < 0) {
        log_event(LOG_ERROR, "epoll", "class=%s fd=%d error=\"%m\"", c->class->name, c->fd);
        conn_close(c);
        return;
    }
    unsigned phase;
    old = atomic_load(&s->state);
    do {
        phase = old & NOTED_MASK ? QUEUED : PARKED;
    } while (!atomic_compare_exchange_weak(&s->state, &old, state_with_phase(old, phase)));
    if (phase == QUEUED)
        ready_add(c, true);
}

/* Runs a conn that is QUEUED and owned by the caller. */
static void conn_run(struct conn *c)
{
    struct slot *s = conn_slot(c);
    uint64_t old = atomic_load(&s->state);
    while (!atomic_compare_exchange_weak(&s->state, &old,
                                         state_with_phase(old & ~NOTED_MASK, RUNNING))) {
    }
    unsigned events = (unsigned)((old & NOTED_MASK) >> NOTED_SHIFT);
    atomic_store(&c->timer_due, 0);
    if (events & CONN_TIMEOUT) {
        /* It may have been noted just when an earlier run moved the deadline. */
        if (c->deadline && c->deadline <= clock_monotonic_ms())
            c->deadline = 0;
        else
            events &= ~(unsigned)CONN_TIMEOUT;
    }
    enum conn_verdict verdict = CONN_PARK;
    if (events) {
        if (atomic_load_explicit(&stopping, memory_order_relaxed))
            events |= CONN_STOPPING;
        atomic_fetch_add_explicit(&run_count, 1, memory_order_relaxed);
        verdict = c->class->run(c, events);
    }
    if (verdict == CONN_PARK)
        conn_park(c);
    else
        conn_close(c);
}

void conn_start(struct conn *c)
{
    pthread_once(&once, conn_setup);
    c->registered_fd = -1;
    slot_take(c);
    ready_push(c);
}

void conn_wake(struct conn *c)
{
    if (atomic_load(&c->slot) == 0) {
        atomic_store(&c->woken_early, true);
        if (atomic_load(&c->slot) == 0)
            return;
    }
    if (conn_note(c, CONN_WOKEN))
        ready_push(c);
}

/* --- workers ---------------------------------------------------------------------------------- */

/* Makes one more worker unless there are enough. It counts as idle from now on. */
static void worker_make(void)
{
    pthread_mutex_lock(&spawn_lock);
    if (atomic_load(&threads_made) < atomic_load(&threads_max)) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, STACK_SIZE);
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_t thread;
        atomic_fetch_add(&threads_idle, 1);
        int error = pthread_create(&thread, &attributes, worker_main, NULL);
        if (error) {
            atomic_fetch_sub(&threads_idle, 1);
            log_event(LOG_ERROR, "worker-start", "error=\"%s\"", strerrordesc_np(error));
            if (atomic_load(&threads_made) == 0)
                fatal("cannot start a single worker thread");
            atomic_store(&threads_max, atomic_load(&threads_made)); /* do not try at each event */
        } else {
            atomic_fetch_add(&threads_made, 1);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    pthread_mutex_unlock(&spawn_lock);
}

/* Runs c; sees to it that somebody is left who waits for the next event. */
static void worker_run(struct conn *c)
{
    if (atomic_load(&threads_idle) <= 0 && atomic_load(&threads_made) < atomic_load(&threads_max))
        worker_make();
    atomic_fetch_add_explicit(&threads_running, 1, memory_order_relaxed);
    conn_run(c);
    atomic_fetch_sub_explicit(&threads_running, 1, memory_order_relaxed);
}

static void worker_event(const struct epoll_event *event)
{
    if (event->data.u64 == EVENT_WAKE) {
        pthread_mutex_lock(&ready_lock);
        wake_sent = false;
        pthread_mutex_unlock(&ready_lock);
    } else if (event->data.u64 == EVENT_TIMER) {
        timers_fire();
    } else {
        unsigned events = 0;
        if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            events |= CONN_READABLE;
        if (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
            events |= CONN_WRITABLE;
        struct slot *s = slot_at((uint32_t)event->data.u64);
        if (slot_note(s, state_generation(event->data.u64), events, true))
            worker_run(s->conn);
    }
}

static void *worker_main(void *unused)
{
    (void)unused;
    atomic_fetch_sub(&threads_idle, 1); /* as which its maker counted it */
    for (unsigned turn = 0;; turn++) {
        struct conn *c = ready_pop_or_idle();
        if (c)
            worker_run(c);
        if (c && turn % READY_TURNS)
            continue;
        struct epoll_event event;
        int count = epoll_wait(epoll_fd, &event, 1, c ? 0 : -1);
        if (count < 0 && errno != EINTR)
            fatal("epoll_wait: %m");
        if (!c)
            atomic_fetch_sub(&threads_idle, 1);
        if (count > 0)
            worker_event(&event);
    }
    return NULL;
}

void workers_start(unsigned threads, bool early)
{
    pthread_once(&once, conn_setup);
    panic_unless(atomic_load(&threads_max) == 0);
    threads = MAX(threads, 2U);
    atomic_store(&threads_max, threads);
    for (unsigned i = 0; i < (early ? threads : 1); i++)
        worker_make();
    pthread_mutex_lock(&ready_lock); /* conns that were started before us */
    bool wake = ready_needs_wake();
    pthread_mutex_unlock(&ready_lock);
    if (wake)
        wake_send();
}

unsigned workers_stop(unsigned grace_ms)
{
    pthread_once(&once, conn_setup);
    int64_t end = clock_monotonic_ms() + grace_ms;
    pthread_mutex_lock(&table_lock);
    atomic_store(&stopping, true);
    uint32_t count = slots_made;
    pthread_mutex_unlock(&table_lock);
    /* Who starts later than this sees stopping at its first run. */
    for (uint32_t i = 0; i < count; i++) {
        struct slot *s = slot_at(i);
        if (slot_note(s, state_generation(atomic_load(&s->state)), CONN_STOPPING, false))
            ready_push(s->conn);
    }
    struct timespec until = {end / 1000, end % 1000 * 1000000};
    pthread_mutex_lock(&table_lock);
    while (conn_count && clock_monotonic_ms() < end)
        pthread_cond_timedwait(&table_emptied, &table_lock, &until);
    unsigned left = conn_count;
    pthread_mutex_unlock(&table_lock);
    return left;
}

void workers_stats(struct worker_stats *out)
{
    pthread_mutex_lock(&table_lock);
    out->conns = conn_count;
    pthread_mutex_unlock(&table_lock);
    pthread_mutex_lock(&ready_lock);
    unsigned queued = ready_count;
    pthread_mutex_unlock(&ready_lock);
    out->threads = atomic_load(&threads_made);
    out->threads_busy = atomic_load(&threads_running);
    out->conns_parked = out->conns - MIN(out->conns, queued + out->threads_busy);
    out->runs = atomic_load(&run_count);
}
