/* deliver.h - one message into one account. Box does it; mx (directly) and core (queue) ask.
 *
 * The message is a sealed memfd that begins with its Return-Path and our Received line; the summary
 * is of exactly these bytes. Box opens the summary with summary_open() and refuses what does not fit.
 */
#ifndef DELIVERY_DELIVER_H
#define DELIVERY_DELIVER_H

#include "base/error.h"
#include "base/str.h"

/* Bounds of what box takes. */
#define DELIVERY_MESSAGE_MAX ((size_t)1 << 32)
#define DELIVERY_SUMMARY_MAX ((size_t)16 * 1024 * 1024)

struct delivery {
    uint64_t account;
    uint64_t quota; /* of the account now; 0 = none */
    struct str queue_id;
    bool repeatable;         /* the caller repeats after an unknown end (the queue): (queue id,
                                  recipient, detail) is noted, so that a repeat does nothing. mx never
                                  repeats */
    struct str recipient;    /* the envelope recipient, as it came */
    struct str reverse_path; /* without <>; empty = null */
    struct str detail;       /* subaddress: names a mailbox (setting detail-to-mailbox) */
    int message_fd;          /* stays the caller's */
    uint64_t message_size;
    struct str summary;
    int64_t received; /* seconds; becomes INTERNALDATE */
};

/* Durable when it returns 0. ERROR_QUOTA, ERROR_FULL, ERROR_TEMPORARY, ERROR_CORRUPT, ... else; a
 * repeat of a repeatable one gives 0. */
int deliver(const struct delivery *d, struct error *e);

/* box and core: is there more room on DATA's disk than limits.free-space? Looked up at most once a
 * second. */
bool disk_has_room(void);

void deliver_serve(void); /* box: registers IPC_DELIVER */

struct deliver_stats {
    uint64_t delivered, repeated, failed;
};
void deliver_stats(struct deliver_stats *out); /* box: since its start */

#endif
