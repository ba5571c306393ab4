/* queue.h - queue.db: messages on their way. Core's, or a command's that owns DATA.
 *
 * A message is one row with its body once, and one row per recipient that is not finished. mx hands
 * in what cannot be delivered directly; the runner in core takes each due recipient to its account
 * (or, when sending exists, to relay). A recipient's row goes only when its delivery is durable.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/arena.h"
#include "base/error.h"

enum { QUEUE_ID_LEN = 16 };
/* A new queue id: 16 characters, sorts by time, unique over processes and restarts (time in
 * microseconds, process, random), no look-alike letters. Any process may make one. */
void queue_id_make(char out[static QUEUE_ID_LEN + 1]);

struct queue_recipient {
    struct str address;     /* as given in RCPT */
    struct str original;    /* ORCPT, empty = none (for DSN, later) */
    uint32_t notify;        /* NOTIFY bits, 0 = default (later) */
};
struct queue_message {
    struct str id;
    struct str reverse_path;
    bool smtp_utf8, eight_bit;
    int64_t received;
    struct str origin;      /* "smtp", "lmtp", ...; the peer's address: for the trace */
    const struct queue_recipient *recipients;
    size_t recipient_count;
    int message_fd;         /* begins with Return-Path and Received */
    uint64_t message_size;
    struct str summary;
};
/* mx asks core: durable when it returns 0. Expands each recipient (directory_resolve) at acceptance
 * into targets, deduplicated over the message. A repeat of the same id gives 0. */
int queue_accept(const struct queue_message *m, struct error *e);

/* In core: opens queue.db, registers IPC_QUEUE_ACCEPT, starts the runner. */
int queue_start(const char *data_directory, struct error *e);
void queue_stop(void);

/* For admin verbs. */
struct queue_entry {
    struct str id, reverse_path, recipient, target, state, reason; /* state: waiting, held, remote */
    uint64_t size;
    int64_t received, next_attempt;
    uint32_t attempts;
};
int queue_list(struct str after, size_t limit, struct arena *arena, struct queue_entry **out,
               size_t *count, struct error *e);
int queue_counts(uint64_t *messages, uint64_t *recipients, uint64_t *bytes, struct error *e);

#endif
