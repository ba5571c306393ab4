/* edge.c - the hooks of process edge. */
#include "process/edge.h"

#include "auth/front.h"
#include "imap/login.h"
#include "pop3/login.h"

int edge_start(struct error *e UNUSED)
{
    const struct process_listener *listeners;
    size_t count = process_listeners(&listeners);
    for (size_t i = 0; i < count; i++) {
        if (listeners[i].settings->protocol == LISTEN_IMAP)
            front_listen(&listeners[i], &imap_front);
        else if (listeners[i].settings->protocol == LISTEN_POP3)
            front_listen(&listeners[i], &pop3_front);
    }
    return 0;
}

void edge_status(struct buf *json)
{
    struct front_stats s;
    front_stats(&s);
    buf_printf(json,
               "\"sessions\": %llu, \"before-login\": %llu, \"pumped\": %llu, \"logins\": %llu, "
               "\"failed-logins\": %llu,",
               (unsigned long long)s.sessions, (unsigned long long)s.before_login,
               (unsigned long long)s.pumping, (unsigned long long)s.logins,
               (unsigned long long)s.logins_failed);
}
