/* stream.c - buffered bytes over a socket. See stream.h. */
#include "run/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one read: for commands at first, and for bulk once a read has filled that. */
enum { READ_FIRST = 16 * 1024, READ_MOST = 64 * 1024 };

void stream_init(struct stream *s, int fd, size_t in_max, size_t out_max)
{
    *s = (struct stream){.fd = fd};
    buf_init(&s->in, in_max);
    buf_init(&s->out, out_max);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    /* Replies leave when they are complete; fails on sockets that are not TCP, and that is fine. */
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void stream_close(struct stream *s)
{
    tls_session_free(&s->tls);
    fd_close(&s->fd);
    buf_free(&s->in);
    buf_free(&s->out);
}

struct str stream_input(const struct stream *s)
{
    return str_from_pos(buf_str(&s->in), s->in_taken);
}

void stream_consume(struct stream *s, size_t len)
{
    s->in_taken += len;
    panic_unless(s->in_taken <= s->in.len);
    if (s->in_taken == s->in.len)
        s->in.len = s->in_taken = 0;
}

bool stream_has_input(const struct stream *s)
{
    return s->in_taken < s->in.len || (s->tls && !s->handshaking && tls_session_pending(s->tls));
}

/* Moves the unread bytes to the front. */
static void input_compact(struct stream *s)
{
    if (s->in_taken) {
        buf_consume(&s->in, s->in_taken);
        s->in_taken = 0;
    }
}

/* Nothing more now. */
static ssize_t fill_nothing(struct stream *s)
{
    if (s->in_taken == s->in.len) {
        buf_free(&s->in);
        s->in_taken = 0;
    }
    return 0;
}

static ssize_t fill_ended(struct stream *s, bool failed)
{
    if (failed)
        s->failed = true;
    else
        s->eof = true;
    return -1;
}

static ssize_t fill_tls(struct stream *s, char *room, size_t space)
{
    size_t got = 0;
    s->tls_wants_write = false;
    switch (tls_session_read(s->tls, room, space, &got)) {
    case TLS_DONE:
        s->drained = got < space && !tls_session_pending(s->tls);
        return (ssize_t)got;
    case TLS_WANT_READ:
        return fill_nothing(s);
    case TLS_WANT_WRITE:
        s->tls_wants_write = true;
        return fill_nothing(s);
    case TLS_CLOSED:
        return fill_ended(s, false);
    default:
        return fill_ended(s, true);
    }
}

static ssize_t fill_plain(struct stream *s, char *room, size_t space)
{
    ssize_t n;
    do
        n = read(s->fd, room, space);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return fill_nothing(s);
    if (n <= 0)
        return fill_ended(s, n < 0);
    s->drained = (size_t)n < space;
    return n;
}

ssize_t stream_fill(struct stream *s, size_t max)
{
    if (s->eof || s->failed)
        return -1;
    if (s->drained || s->handshaking) {
        s->drained = false;
        return fill_nothing(s);
    }
    input_compact(s);
    size_t space = MIN(MIN(s->in.max - s->in.len, max), (size_t)READ_MOST);
    if (space == 0)
        return 0;
    if (s->in.len <= READ_FIRST / 2 && s->in.capacity <= READ_FIRST)
        space = MIN(space, READ_FIRST - s->in.len);
    char *room = buf_reserve(&s->in, space);
    ssize_t n = s->tls ? fill_tls(s, room, space) : fill_plain(s, room, space);
    if (n > 0) {
        buf_added(&s->in, (size_t)n);
        s->bytes_in += (size_t)n;
    }
    return n;
}

int stream_line(struct stream *s, size_t max, struct str *line, bool *bare_lf)
{
    struct str input = stream_input(s);
    size_t end = str_find_char(str_slice(input, 0, max + 2), '\n');
    if (end == MIN(input.len, max + 2))
        return input.len > max + 1 || input.len >= s->in.max ? -1 : 0;
    *bare_lf = end == 0 || input.data[end - 1] != '\r';
    *line = str_of(input.data, *bare_lf ? end : end - 1);
    if (line->len > max)
        return -1;
    /* Consumed, but the bytes stay where they are until the next fill. */
    s->in_taken += end + 1;
    return 1;
}

/* Forgets what was sent: when the buffer would not hold len more otherwise, or that is most of it (so
 * each byte is moved about once, however slowly the peer takes it). */
static void output_compact(struct stream *s, size_t len)
{
    if (s->out_sent && (s->out_sent > s->out.len / 2 || len > s->out.max - s->out.len)) {
        buf_consume(&s->out, s->out_sent);
        s->out_sent = 0;
    }
}

void stream_put(struct stream *s, struct str data)
{
    if (s->failed)
        return;
    output_compact(s, data.len);
    if (buf_add(&s->out, data) < 0)
        s->failed = true;
}

void stream_put_literal(struct stream *s, const char *text)
{
    stream_put(s, str_from(text));
}

void stream_printf(struct stream *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    output_compact(s, SIZE_MAX);
    if (!s->failed && buf_vprintf(&s->out, format, args) < 0)
        s->failed = true;
    va_end(args);
}

size_t stream_unsent(const struct stream *s)
{
    return s->out.len - s->out_sent;
}

/* >0 bytes sent, 0 the peer takes no more now, -1 failed. */
static ssize_t send_plain(struct stream *s, const char *data, size_t len)
{
    ssize_t n;
    do
        n = send(s->fd, data, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return n;
}

static ssize_t send_tls(struct stream *s, const char *data, size_t len)
{
    size_t put = 0;
    enum tls_result result = tls_session_write(s->tls, data, len, &put);
    s->tls_wants_read = result == TLS_WANT_READ;
    if (result == TLS_WANT_READ || result == TLS_WANT_WRITE)
        return 0;
    return result == TLS_DONE ? (ssize_t)put : -1;
}

/* Sends up to `len` unsent bytes; 0: all of them, 1: the peer does not take more now, -1: failed. */
static int output_send(struct stream *s, size_t len, bool tls)
{
    while (len && !s->failed) {
        const char *data = s->out.data + s->out_sent;
        ssize_t n = tls ? send_tls(s, data, len) : send_plain(s, data, len);
        if (n < 0)
            s->failed = true;
        if (n == 0)
            break;
        if (n > 0) {
            s->out_sent += (size_t)n;
            s->bytes_out += (size_t)n;
            len -= (size_t)n;
        }
    }
    if (s->out_sent == s->out.len) {
        buf_free(&s->out);
        s->out_sent = 0;
    }
    return s->failed ? -1 : len > 0;
}

int stream_flush(struct stream *s)
{
    if (s->handshaking)
        return s->failed ? -1 : 0; /* stream_handshake() sends */
    return output_send(s, stream_unsent(s), s->tls != NULL);
}

unsigned stream_want(const struct stream *s, bool reading)
{
    unsigned want = 0;
    bool unsent = stream_unsent(s) > 0;
    if (s->handshaking)
        return s->tls_wants_write ? CONN_WRITABLE : CONN_READABLE;
    if ((reading && !s->tls_wants_write && !s->eof) || (unsent && s->tls_wants_read))
        want |= CONN_READABLE;
    if ((unsent && !s->tls_wants_read) || (reading && s->tls_wants_write))
        want |= CONN_WRITABLE;
    return want;
}

void stream_implicit_tls(struct stream *s, struct tls_context *context)
{
    panic_unless(!s->tls);
    s->tls = tls_session_create(context, s->fd);
    tls_session_feed(s->tls, stream_input(s));
    buf_free(&s->in);
    s->in_taken = 0;
    s->drained = false;
    s->out_plain = stream_unsent(s);
    s->handshaking = true;
}

void stream_start_tls(struct stream *s, struct tls_context *context)
{
    stream_consume(s, stream_input(s).len);
    stream_implicit_tls(s, context);
}

int stream_handshake(struct stream *s, const char **why)
{
    *why = "connection-lost";
    if (s->failed)
        return -1;
    if (s->out_plain) {
        size_t before = stream_unsent(s);
        int result = output_send(s, s->out_plain, false);
        s->out_plain -= before - stream_unsent(s);
        s->tls_wants_write = result > 0;
        if (result != 0)
            return result;
    }
    s->tls_wants_write = false;
    switch (tls_session_handshake(s->tls, why)) {
    case TLS_DONE:
        s->handshaking = false;
        return 0;
    case TLS_WANT_READ:
        return 1;
    case TLS_WANT_WRITE:
        s->tls_wants_write = true;
        return 1;
    default:
        s->failed = true;
        return -1;
    }
}

void stream_rest(struct stream *s)
{
    s->drained = false;
    fill_nothing(s);
    size_t unread = s->in.len - s->in_taken;
    if (unread && s->in.capacity > 2 * unread + 64) { /* half a command keeps no more than itself */
        buf_consume(&s->in, s->in_taken);
        s->in_taken = 0;
        s->in.data = mem_resize(s->in.data, unread, 1);
        s->in.capacity = unread;
    }
    if (stream_unsent(s) == 0) {
        buf_free(&s->out);
        s->out_sent = 0;
    }
}
