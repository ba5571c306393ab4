/* arrival.c - connections as they come in. See arrival.h. */
#include "run/arrival.h"

#include "base/clock.h"
#include "base/log.h"
#include "run/proxy.h"

enum { ACCEPT_AT_ONCE = 64, ACCEPT_PAUSE_MS = 100 };

struct acceptor {
    struct conn conn;
    const struct process_listener *listener;
    arrived_function *arrived;
};

static enum conn_verdict acceptor_run(struct conn *conn, unsigned events)
{
    struct acceptor *a = CONTAINER_OF(conn, struct acceptor, conn);
    if (events & CONN_STOPPING)
        return CONN_CLOSE;
    conn->want = CONN_READABLE;
    conn->deadline = 0;
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        struct sockaddr_storage source = {0};
        socklen_t len = sizeof(source);
        int fd = accept4(conn->fd, (struct sockaddr *)&source, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            a->arrived(a->listener, fd, &source);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_event(LOG_ERROR, "accept-failed", "listener=" STR_FMT " error=%s",
                      STR_ARG(a->listener->settings->name), log_quote(str_from(strerror(errno))));
            conn->want = 0;
            conn->deadline = clock_monotonic_ms() + ACCEPT_PAUSE_MS;
            break;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
    return CONN_PARK;
}

static void acceptor_free(struct conn *conn)
{
    fd_close(&conn->fd);
    mem_free(CONTAINER_OF(conn, struct acceptor, conn));
}

void arrivals_accept(const struct process_listener *listener, arrived_function *arrived)
{
    static const struct conn_class class = {"acceptor", acceptor_run, acceptor_free};
    struct acceptor *a = mem_alloc(sizeof(*a));
    a->conn.class = &class;
    a->conn.fd = listener->fd;
    a->listener = listener;
    a->arrived = arrived;
    conn_start(&a->conn);
}

static void source_set(struct arrival *a, const struct sockaddr_storage *source)
{
    a->source = *source;
    a->loopback = peer_is_loopback(source);
    peer_text(source, a->peer);
}

void arrival_init(struct arrival *a, const struct settings_listener *listener,
                  const struct sockaddr_storage *source)
{
    uint64_t id;
    *a = (struct arrival){.listener = listener};
    source_set(a, source);
    random_bytes(&id, sizeof(id));
    snprintf(a->session, sizeof(a->session), "%012llx", (unsigned long long)(id >> 16));
}

int arrival_proxy(struct arrival *a, struct stream *s)
{
    if (!networks_contain(a->listener->proxy_networks, &a->source, sizeof(a->source)))
        return 1;
    ssize_t n = stream_fill(s, PROXY_HEADER_MAX);
    struct proxy_header header;
    int parsed = proxy_parse(stream_input(s), &header);
    if (parsed < 0 || (parsed == 0 && n < 0)) {
        log_event(LOG_WARNING, "proxy-header-bad", "peer=%s listener=" STR_FMT, a->peer,
                  STR_ARG(a->listener->name));
        return -1;
    }
    if (parsed == 0)
        return 0;
    stream_consume(s, header.length);
    if (!header.local)
        source_set(a, &header.source);
    return 1;
}

int arrival_admit(struct arrival *a, const struct settings *settings, uint64_t sessions)
{
    a->trusted = networks_contain(a->listener->trusted_networks, &a->source, sizeof(a->source));
    uint64_t per_address = a->trusted ? 0 : settings->limits.sessions_per_address;
    uint64_t in_all = a->listener->sessions ? a->listener->sessions : settings->limits.sessions;
    a->entry = peer_enter(&a->source, per_address);
    if (a->entry && (!in_all || sessions <= in_all))
        return 0;
    log_event(LOG_WARNING, "too-many-sessions", "peer=%s listener=" STR_FMT " limit=%s", a->peer,
              STR_ARG(a->listener->name), a->entry ? "all" : "address");
    return -1;
}

void arrival_leave(struct arrival *a)
{
    peer_leave(&a->entry);
}
