/* server.h - SMTP and LMTP receiving, in process mx.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include "run/arrival.h"

/* Starts accepting; in mx's start hook, once per listener of either protocol. */
void smtp_listen(const struct process_listener *listener);

struct smtp_stats {
    uint64_t sessions, accepted, refused, bytes_in_flight;
};
void smtp_stats(struct smtp_stats *out);

#endif
