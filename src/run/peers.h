/* peers.h - who is connected: addresses as text, and how many sessions each address has.
 */
#ifndef RUN_PEERS_H
#define RUN_PEERS_H

#include <sys/socket.h>

#include "base/str.h"

/* "192.0.2.1", "2001:db8::1" (IPv4-mapped as IPv4), or "local" for a Unix socket. */
void peer_text(const struct sockaddr_storage *address, char out[static 64]);
bool peer_is_loopback(const struct sockaddr_storage *address); /* a Unix socket is, too */

/* Sessions per address (IPv6: per /64), process-wide. */
struct peer_entry;
/* Counts a session of address; NULL when it has max of them already (0 = no maximum). */
struct peer_entry *peer_enter(const struct sockaddr_storage *address, uint64_t max);
void peer_leave(struct peer_entry **entry); /* NULL is fine */

#endif
