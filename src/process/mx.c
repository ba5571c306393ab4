/* mx.c - the hooks of process mx. */
#include "process/mx.h"

#include "smtp/server.h"

int mx_start(struct error *e UNUSED)
{
    const struct process_listener *listeners;
    size_t count = process_listeners(&listeners);
    for (size_t i = 0; i < count; i++)
        if (listeners[i].settings->protocol == LISTEN_SMTP ||
            listeners[i].settings->protocol == LISTEN_LMTP)
            smtp_listen(&listeners[i]);
    return 0;
}

void mx_status(struct buf *json)
{
    struct smtp_stats s;
    smtp_stats(&s);
    buf_printf(
        json,
        "\"sessions\": %llu, \"accepted\": %llu, \"refused\": %llu, \"bytes-in-flight\": %llu,",
        (unsigned long long)s.sessions, (unsigned long long)s.accepted,
        (unsigned long long)s.refused, (unsigned long long)s.bytes_in_flight);
}
