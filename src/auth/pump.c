/* pump.c - bytes between a TLS stream and box. See pump.h. */
#include "auth/pump.h"

#include <sys/epoll.h>
#include <sys/socket.h>

enum { PUMP_PIECE = 64 * 1024, PUMP_HIGH = 256 * 1024 };

int pump_start(struct pump *p, struct stream *outside, int inside_fd)
{
    *p = (struct pump){.outside = outside, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    stream_init(&p->inside, inside_fd, PUMP_PIECE, BUF_UNBOUNDED);
    struct epoll_event out = {.events = EPOLLIN, .data.u32 = 0};
    struct epoll_event in = {.events = EPOLLIN, .data.u32 = 1};
    if (p->epoll_fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, outside->fd, &out) < 0 ||
        epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, inside_fd, &in) < 0) {
        pump_close(p);
        return -1;
    }
    p->outside_wants = p->inside_wants = EPOLLIN;
    return 0;
}

void pump_close(struct pump *p)
{
    stream_close(&p->inside);
    fd_close(&p->epoll_fd);
}

/* One direction. True when something moved. */
static bool move(struct stream *from, struct stream *to)
{
    if (from->eof || from->failed || stream_unsent(to) >= PUMP_HIGH)
        return false;
    if (stream_input(from).len == 0 && stream_fill(from, PUMP_PIECE) <= 0)
        return false;
    struct str data = stream_input(from);
    stream_put(to, data);
    stream_consume(from, data.len);
    return data.len > 0;
}

static void interest(struct pump *p, struct stream *s, uint32_t *told, bool reading)
{
    unsigned want = stream_want(s, reading);
    uint32_t wants = (want & CONN_READABLE ? (uint32_t)EPOLLIN : 0) |
                     (want & CONN_WRITABLE ? (uint32_t)EPOLLOUT : 0);
    if (wants == *told)
        return;
    struct epoll_event event = {.events = wants};
    epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, s->fd, &event);
    *told = wants;
}

int pump_run(struct pump *p)
{
    struct stream *outside = p->outside, *inside = &p->inside;
    bool moved;
    do {
        moved = move(outside, inside);
        moved |= move(inside, outside);
        if (stream_flush(inside) < 0 || stream_flush(outside) < 0)
            return -1;
    } while (moved);
    /* Box is done and everything it said is sent: the connection is over. */
    if ((inside->eof || inside->failed) && stream_unsent(outside) == 0)
        return -1;
    if (outside->failed)
        return -1;
    /* The client's end of file is passed on once what it said before is there. */
    if (outside->eof && stream_unsent(inside) == 0)
        shutdown(inside->fd, SHUT_WR);
    interest(p, outside, &p->outside_wants, !outside->eof && stream_unsent(inside) < PUMP_HIGH);
    interest(p, inside, &p->inside_wants, !inside->eof && stream_unsent(outside) < PUMP_HIGH);
    return 0;
}
