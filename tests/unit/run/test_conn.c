/* Workers: sessions run one at a time, and no event is lost. One set of workers serves all tests,
 * since a process starts them once; the last test stops them. */
#include "unit.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "run/conn.h"

enum { WORKERS = 6 };

static _Atomic unsigned freed, overlaps;

/* Every session of these tests: what run() does, and what it saw. */
struct session {
    struct conn conn;
    atomic_bool running;
    _Atomic unsigned posted, seen, runs;
    _Atomic unsigned events; /* all that came so far */
    _Atomic int64_t due, ran_at;
    int other_fd;
    enum conn_verdict (*act)(struct session *s, unsigned events);
};

static enum conn_verdict session_run(struct conn *c, unsigned events)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    if (atomic_exchange(&s->running, true))
        overlaps++;
    s->ran_at = clock_monotonic_ms();
    s->events |= events;
    enum conn_verdict verdict = s->act(s, events);
    s->runs++;
    atomic_store(&s->running, false);
    return verdict;
}

/* The test owns the memory (so that it can look at it afterwards), the session its descriptor. */
static void session_free(struct conn *c)
{
    fd_close(&c->fd);
    freed++;
}

static const struct conn_class session_class = {"test", session_run, session_free};

static void session_start(struct session *s, int fd,
                          enum conn_verdict (*act)(struct session *s, unsigned events))
{
    s->conn.class = &session_class;
    s->conn.fd = fd;
    s->act = act;
    conn_start(&s->conn);
}

static void pair_make(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* Waits until condition, at most 20 s. */
#define WAIT_FOR(condition)                                 \
    do {                                                    \
        int64_t end_ = clock_monotonic_ms() + 20000;        \
        while (!(condition) && clock_monotonic_ms() < end_) \
            usleep(1000);                                   \
        assert_true(condition);                             \
    } while (0)

static void threads_run(pthread_t *threads, size_t count, void *(*entry)(void *), char *items,
                        size_t size)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, entry, items + i * size), 0);
}

/* --- echo ------------------------------------------------------------------------------------- */

static enum conn_verdict echo_act(struct session *s, unsigned events)
{
    char data[64];
    s->conn.want = CONN_READABLE;
    if (!(events & CONN_READABLE))
        return CONN_PARK;
    ssize_t n = recv(s->conn.fd, data, sizeof(data), MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN ? CONN_PARK : CONN_CLOSE;
    return n == 0 || fd_write_all(s->conn.fd, data, (size_t)n) < 0 ? CONN_CLOSE : CONN_PARK;
}

enum { ECHO_THREADS = 4, ECHO_CONNS = 50, ECHO_TURNS = 40 };

struct echo_client {
    int fds[ECHO_CONNS];
    unsigned wrong;
};

static void *echo_client(void *argument)
{
    struct echo_client *client = argument;
    for (int turn = 0; turn < ECHO_TURNS; turn++) {
        char data[8];
        for (int i = 0; i < ECHO_CONNS; i++) {
            snprintf(data, sizeof(data), "%03d%03d", turn, i);
            if (fd_write_all(client->fds[i], data, 6) < 0)
                client->wrong++;
        }
        for (int i = 0; i < ECHO_CONNS; i++) {
            char answer[8] = "";
            snprintf(data, sizeof(data), "%03d%03d", turn, i);
            if (recv(client->fds[i], answer, 6, MSG_WAITALL) != 6 || memcmp(answer, data, 6) != 0)
                client->wrong++;
        }
    }
    for (int i = 0; i < ECHO_CONNS; i++)
        close(client->fds[i]);
    return NULL;
}

static void test_echo(void **state UNUSED)
{
    enum { TOTAL = ECHO_THREADS * ECHO_CONNS };
    static struct session sessions[TOTAL];
    static struct echo_client clients[ECHO_THREADS];
    pthread_t threads[ECHO_THREADS];
    freed = 0;
    for (int i = 0; i < TOTAL; i++) {
        int fds[2];
        pair_make(fds);
        clients[i / ECHO_CONNS].fds[i % ECHO_CONNS] = fds[0];
        session_start(&sessions[i], fds[1], echo_act);
    }
    threads_run(threads, ECHO_THREADS, echo_client, (char *)clients, sizeof(clients[0]));
    for (int i = 0; i < ECHO_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].wrong, 0);
    }
    WAIT_FOR(freed == TOTAL);
    assert_int_equal(overlaps, 0);
    WAIT_FOR(({
        struct worker_stats stats;
        workers_stats(&stats);
        stats.conns == 0 && stats.threads_busy == 0 && stats.threads <= WORKERS;
    }));
}

/* --- wake-ups --------------------------------------------------------------------------------- */

static enum conn_verdict wake_act(struct session *s, unsigned events)
{
    (void)events;
    unsigned posted = s->posted;
    s->seen = posted;
    return posted == UINT32_MAX ? CONN_CLOSE : CONN_PARK;
}

enum { WAKE_CONNS = 64, WAKE_THREADS = 4, WAKES = 5000 };
static struct session woken[WAKE_CONNS];

static void *waker(void *argument)
{
    unsigned *random = argument;
    for (int i = 0; i < WAKES; i++) {
        *random = *random * 1103515245 + 12345;
        struct session *s = &woken[*random >> 16 & (WAKE_CONNS - 1)];
        s->posted++;
        conn_wake(&s->conn);
    }
    return NULL;
}

static void test_wake_storm(void **state UNUSED)
{
    pthread_t threads[WAKE_THREADS];
    unsigned seeds[WAKE_THREADS] = {1, 2, 3, 4};
    freed = 0;
    conn_wake(&woken[0].conn); /* before the start: noted */
    for (int i = 0; i < WAKE_CONNS; i++)
        session_start(&woken[i], -1, wake_act);
    WAIT_FOR(woken[0].events == (CONN_STARTED | CONN_WOKEN));
    WAIT_FOR(woken[1].events == CONN_STARTED);
    threads_run(threads, WAKE_THREADS, waker, (char *)seeds, sizeof(seeds[0]));
    for (int i = 0; i < WAKE_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < WAKE_CONNS; i++)
        WAIT_FOR(woken[i].seen == woken[i].posted);
    for (int i = 0; i < WAKE_CONNS; i++) {
        woken[i].posted = UINT32_MAX;
        conn_wake(&woken[i].conn);
    }
    WAIT_FOR(freed == WAKE_CONNS);
    assert_int_equal(overlaps, 0);
}

/* --- deadlines -------------------------------------------------------------------------------- */

static enum conn_verdict deadline_act(struct session *s, unsigned events)
{
    if (events & CONN_TIMEOUT)
        return CONN_CLOSE;
    s->conn.deadline = s->due;
    return CONN_PARK;
}

static void test_deadlines(void **state UNUSED)
{
    enum { COUNT = 200 };
    static struct session sessions[COUNT];
    freed = 0;
    int64_t now = clock_monotonic_ms();
    for (int i = 0; i < COUNT; i++) {
        sessions[i].due = now + 50 + i * 7;
        session_start(&sessions[i], -1, deadline_act);
    }
    for (int i = 0; i < COUNT; i += 2) { /* every second one is moved, sooner or later */
        sessions[i].due = now + 100 + (COUNT - i) * 7;
        conn_wake(&sessions[i].conn);
    }
    WAIT_FOR(freed == COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_true(sessions[i].ran_at >= sessions[i].due);
        assert_true(sessions[i].ran_at <= sessions[i].due + 500); /* slack for a loaded machine */
    }
    assert_int_equal(overlaps, 0);
}

/* A run that lasts past the deadline it began with, and then sets a later one, gets no CONN_TIMEOUT
 * for the old one. */
static enum conn_verdict slow_act(struct session *s, unsigned events)
{
    if (events & CONN_TIMEOUT)
        s->seen += s->ran_at < s->due;
    if (events & CONN_TIMEOUT)
        return CONN_CLOSE;
    if (events & CONN_WOKEN)
        usleep(60000);
    s->due = clock_monotonic_ms() + (events & CONN_WOKEN ? 100 : 30);
    s->conn.deadline = s->due;
    return CONN_PARK;
}

static void test_deadline_moves_during_run(void **state UNUSED)
{
    enum { COUNT = 3 };
    static struct session sessions[COUNT];
    freed = 0;
    for (int i = 0; i < COUNT; i++)
        session_start(&sessions[i], -1, slow_act);
    for (int i = 0; i < COUNT; i++) {
        usleep(5000);
        conn_wake(&sessions[i].conn);
    }
    WAIT_FOR(freed == COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(sessions[i].seen, 0);
}

/* --- everything at once, with closing --------------------------------------------------------- */

/* Closes when its deadline comes, while the peer writes all the time. */
static enum conn_verdict closing_act(struct session *s, unsigned events)
{
    char data[64];
    if (events & CONN_TIMEOUT)
        return CONN_CLOSE;
    if (recv(s->conn.fd, data, sizeof(data), MSG_DONTWAIT) == 0)
        return CONN_CLOSE;
    s->conn.want = s->runs % 3 ? CONN_READABLE : CONN_READABLE | CONN_WRITABLE;
    s->conn.deadline = s->due;
    return CONN_PARK;
}

static void test_close_storm(void **state UNUSED)
{
    enum { ROUNDS = 10, COUNT = 64 };
    for (int round = 0; round < ROUNDS; round++) {
        static struct session sessions[COUNT];
        int peers[COUNT];
        memset(sessions, 0, sizeof(sessions));
        freed = 0;
        int64_t now = clock_monotonic_ms();
        for (int i = 0; i < COUNT; i++) {
            int fds[2];
            pair_make(fds);
            peers[i] = fds[0];
            sessions[i].due = now + 5 + i % 32;
            session_start(&sessions[i], fds[1], closing_act);
        }
        while (freed < COUNT && clock_monotonic_ms() < now + 20000)
            for (int i = 0; i < COUNT; i++)
                (void)send(peers[i], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        assert_int_equal(freed, COUNT);
        for (int i = 0; i < COUNT; i++)
            close(peers[i]);
    }
    assert_int_equal(overlaps, 0);
}

/* --- blocked workers, another descriptor ------------------------------------------------------ */

static atomic_bool gate;
static enum conn_verdict blocking_act(struct session *s, unsigned events)
{
    (void)s, (void)events;
    while (!gate)
        usleep(1000);
    return CONN_CLOSE;
}

static void test_blocked_workers(void **state UNUSED)
{
    static struct session blocked[WORKERS - 1], echo;
    freed = 0;
    for (int i = 0; i < WORKERS - 1; i++)
        session_start(&blocked[i], -1, blocking_act);
    int fds[2];
    pair_make(fds);
    session_start(&echo, fds[1], echo_act);
    for (int i = 0; i < 20; i++) {
        char answer[3];
        assert_int_equal(fd_write_all(fds[0], "abc", 3), 0);
        assert_int_equal(recv(fds[0], answer, 3, MSG_WAITALL), 3);
    }
    struct worker_stats stats;
    workers_stats(&stats);
    assert_int_equal(stats.threads, WORKERS);
    assert_int_equal(stats.conns, WORKERS);
    gate = true;
    close(fds[0]);
    WAIT_FOR(freed == WORKERS);
}

static enum conn_verdict changing_act(struct session *s, unsigned events)
{
    char data[8];
    s->conn.want = CONN_READABLE;
    if (!(events & CONN_READABLE))
        return CONN_PARK;
    if (recv(s->conn.fd, data, sizeof(data), MSG_DONTWAIT) <= 0)
        return CONN_CLOSE;
    s->seen++;
    if (s->other_fd >= 0) {
        conn_detach(&s->conn);
        close(s->conn.fd);
        s->conn.fd = s->other_fd;
        s->other_fd = -1;
    }
    return CONN_PARK;
}

static void test_other_descriptor(void **state UNUSED)
{
    static struct session s;
    int first[2], second[2];
    pair_make(first);
    pair_make(second);
    freed = 0;
    s.other_fd = second[1];
    session_start(&s, first[1], changing_act);
    assert_int_equal(fd_write_all(second[0], "b", 1), 0);
    assert_int_equal(fd_write_all(first[0], "a", 1), 0);
    WAIT_FOR(s.seen == 2);
    close(first[0]);
    close(second[0]);
    WAIT_FOR(freed == 1);
}

/* --- the end ---------------------------------------------------------------------------------- */

static enum conn_verdict stop_act(struct session *s, unsigned events)
{
    if (events & CONN_STOPPING && !s->due)
        return CONN_CLOSE;
    s->conn.want = CONN_READABLE;
    return CONN_PARK;
}

static void test_stop(void **state UNUSED)
{
    static struct session sessions[10], late;
    int fds[10][2];
    freed = 0;
    for (int i = 0; i < 10; i++) {
        pair_make(fds[i]);
        sessions[i].due = i == 0; /* this one does not want to go */
        session_start(&sessions[i], fds[i][1], stop_act);
    }
    WAIT_FOR(sessions[9].runs == 1);
    int64_t before = clock_monotonic_ms();
    assert_int_equal(workers_stop(200), 1);
    assert_true(clock_monotonic_ms() >= before + 200);
    assert_int_equal(freed, 9);
    session_start(&late, -1, stop_act);
    WAIT_FOR(freed == 10);
    assert_int_equal(late.events, CONN_STARTED | CONN_STOPPING);
    sessions[0].due = 0;
    conn_wake(&sessions[0].conn);
    assert_int_equal(workers_stop(10000), 0);
    assert_true(clock_monotonic_ms() < before + 9000);
    for (int i = 0; i < 10; i++)
        close(fds[i][0]);
    assert_int_equal(overlaps, 0);
}

static int start(void **state UNUSED)
{
    workers_start(WORKERS, false);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_wake_storm),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_deadline_moves_during_run),
        cmocka_unit_test(test_close_storm),
        cmocka_unit_test(test_blocked_workers),
        cmocka_unit_test(test_other_descriptor),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
