/* ipc_server.c - answering calls: parked connections in the worker pool, like any other session.
 *
 * A control socket brings the ends that a caller's threads made; each end becomes a connection of its
 * own and carries one request after the other. Who calls is known from the control socket, which
 * master made: nothing a caller says about itself is believed.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "run/conn.h"
#include "run/ipc_internal.h"

enum { METHODS_MAX = 256, ENDS_PER_CALLER = 8192, REQUESTS_PER_RUN = 32 };

static const struct ipc_service *_Atomic services[METHODS_MAX];

void ipc_serve(const struct ipc_service *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        panic_unless((unsigned)rows[i].method < METHODS_MAX);
        atomic_store(&services[rows[i].method], &rows[i]);
    }
}

int ipc_dispatch(uint16_t method, struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    const struct ipc_service *s = method < METHODS_MAX ? atomic_load(&services[method]) : NULL;
    *e = (struct error){.class = ERROR_NONE};
    if (!s || !(s->callers & 1u << request->caller)) {
        log_event(LOG_WARNING, "ipc-refused", "method=%u caller=%s reason=%s", method,
                  process_kind_name(request->caller), s ? "caller" : "method");
        error_set(e, ERROR_DENIED, "internal error");
        return error_cause(e, "method %u is not served to %s", method,
                           process_kind_name(request->caller));
    }
    if (s->serve(request, reply, e) < 0) {
        if (e->class == ERROR_NONE)
            error_set(e, ERROR_INTERNAL, "internal error");
        return -1;
    }
    if (reply->failed || reply->bytes.failed) {
        error_set(e, ERROR_INTERNAL, "internal error");
        return error_cause(e, "the answer to method %u does not fit a packet", method);
    }
    return 0;
}

/* ---------------------------------------------------------------------------------- ends */

struct caller {
    struct conn conn; /* the control socket */
    enum process_kind kind;
    unsigned index;
    _Atomic unsigned references; /* itself, and its ends */
};

struct served_end {
    struct conn conn;
    struct caller *caller;
};

static void caller_release(struct caller *c)
{
    if (--c->references == 0)
        mem_free(c);
}

static int request_serve(struct served_end *end, const struct packet_header *header,
                         struct ipc_in *in)
{
    struct ipc_out out = {.failed = false};
    struct error e;
    struct packet_header answer = {
        .kind = PACKET_REPLY, .method = header->method, .sequence = header->sequence};
    in->caller = end->caller->kind;
    in->caller_index = end->caller->index;
    int result = ipc_dispatch(header->method, in, &out, &e);
    if (result < 0) {
        answer.kind = PACKET_ERROR;
        packet_put_error(&out, &e);
    }
    log_clear_context();
    /* The caller waits for this one answer, so there is room for it; if not, it broke the rules. */
    result =
        header->kind == PACKET_CALL ? packet_send(end->conn.fd, &answer, &out, MSG_DONTWAIT) : 0;
    ipc_out_free(&out);
    return result;
}

/* Serves what is there; a caller has one call under way at most, but tells may have piled up. */
static enum conn_verdict end_run(struct conn *c, unsigned events)
{
    struct served_end *end = CONTAINER_OF(c, struct served_end, conn);
    bool stopping = events & CONN_STOPPING;
    c->want = CONN_READABLE;
    for (int served = 0; stopping || served < REQUESTS_PER_RUN; served++) {
        struct packet_header header;
        struct ipc_in in;
        int got = packet_receive(c->fd, &header, &in, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return stopping ? CONN_CLOSE : CONN_PARK;
        if (got <= 0)
            return CONN_CLOSE;
        bool call = header.kind == PACKET_CALL;
        int result = call || header.kind == PACKET_TELL ? request_serve(end, &header, &in) : -1;
        ipc_in_free(&in);
        if (result < 0)
            return CONN_CLOSE;
        if (call && !stopping)
            return CONN_PARK; /* the next one comes after the answer: epoll will tell */
    }
    return CONN_PARK;
}

static void end_free(struct conn *c)
{
    struct served_end *end = CONTAINER_OF(c, struct served_end, conn);
    fd_close(&c->fd);
    caller_release(end->caller);
    mem_free(end);
}

static const struct conn_class end_class = {"ipc", end_run, end_free};

/* ------------------------------------------------------------------------ control sockets */

static bool is_packet_socket(int fd)
{
    int domain, type;
    socklen_t len = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
        return false;
    len = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && domain == AF_UNIX &&
           type == SOCK_SEQPACKET;
}

static void end_accept(struct caller *caller, struct ipc_in *in)
{
    int fd = ipc_get_fd(in);
    if (ipc_get_end(in) < 0 || !is_packet_socket(fd) || caller->references > ENDS_PER_CALLER) {
        log_event(LOG_WARNING, "ipc-refused", "caller=%s reason=end",
                  process_kind_name(caller->kind));
        fd_close(&fd);
        return;
    }
    struct served_end *end = mem_alloc(sizeof(*end));
    end->conn.class = &end_class;
    end->conn.fd = fd;
    end->caller = caller;
    caller->references++;
    conn_start(&end->conn);
}

static enum conn_verdict caller_run(struct conn *c, unsigned events)
{
    struct caller *caller = CONTAINER_OF(c, struct caller, conn);
    c->want = CONN_READABLE;
    for (int taken = 0; taken < REQUESTS_PER_RUN; taken++) {
        struct packet_header header;
        struct ipc_in in;
        int got = packet_receive(c->fd, &header, &in, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return events & CONN_STOPPING ? CONN_CLOSE : CONN_PARK;
        if (got <= 0)
            return CONN_CLOSE;
        end_accept(caller, &in);
        ipc_in_free(&in);
    }
    return CONN_PARK;
}

static void caller_free(struct conn *c)
{
    fd_close(&c->fd);
    caller_release(CONTAINER_OF(c, struct caller, conn));
}

static const struct conn_class caller_class = {"ipc-control", caller_run, caller_free};

void ipc_caller_add(int control_fd, enum process_kind caller, unsigned index)
{
    struct caller *c = mem_alloc(sizeof(*c));
    c->conn.class = &caller_class;
    c->conn.fd = control_fd;
    c->kind = caller;
    c->index = index;
    c->references = 1;
    conn_start(&c->conn);
}
