/* arrival.h - connections as they come in: accepting, the PROXY header, who it is, and whether there is
 * room for one more. What mx and edge share before a protocol says its first word.
 */
#ifndef RUN_ARRIVAL_H
#define RUN_ARRIVAL_H

#include "run/peers.h"
#include "run/process.h"
#include "run/stream.h"

/* Accepts on a listener's socket for the process's life; arrived() takes the descriptor over. */
typedef void arrived_function(const struct process_listener *listener, int fd,
                              const struct sockaddr_storage *source);
void arrivals_accept(const struct process_listener *listener, arrived_function *arrived);

struct arrival {
    const struct settings_listener *listener;
    struct sockaddr_storage source;
    char peer[64];    /* the client's address as text */
    char session[16]; /* id in log lines */
    bool loopback;
    bool trusted;             /* in the listener's trusted networks */
    struct peer_entry *entry; /* counts it while it is here */
};

void arrival_init(struct arrival *a, const struct settings_listener *listener,
                  const struct sockaddr_storage *source);
/* Reads the PROXY header where one must come. 1: done (or none is due), 0: wait for more, -1: close. */
int arrival_proxy(struct arrival *a, struct stream *s);
/* Counts the session; sessions is how many there are now, this one included. -1: one too many. */
int arrival_admit(struct arrival *a, const struct settings *settings, uint64_t sessions);
void arrival_leave(struct arrival *a);

#endif
