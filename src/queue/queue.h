/* queue.h - queue.db: messages on their way. Core's, or a command's that owns DATA.
 *
 * A message is one row with its body once, and one row per recipient that is not finished. mx hands
 * in what cannot be delivered directly; the runner in core takes each due recipient to its account
 * (or, when sending exists, to relay). A recipient's row goes only when its delivery is durable.
 *
 * A recipient is waiting (tried until setting store retry-max), held (given up: the operator's to
 * decide, never dropped) or remote (not ours; stays until sending exists).
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/arena.h"
#include "base/error.h"

enum { QUEUE_ID_LEN = 16, QUEUE_TARGETS_MAX = 100000 };
/* A new queue id: 16 characters, sorts by time, unique over processes and restarts (time in
 * microseconds, process, random), no look-alike letters. Any process may make one. */
void queue_id_make(char out[static QUEUE_ID_LEN + 1]);

struct queue_recipient {
    struct str address;  /* as given in RCPT */
    struct str original; /* ORCPT, empty = none (for DSN, later) */
    uint32_t notify;     /* NOTIFY bits, 0 = default (later) */
};
struct queue_message {
    struct str id;
    struct str reverse_path;
    bool smtp_utf8, eight_bit;
    int64_t received;
    struct str origin; /* "smtp", "lmtp", ...; the peer's address: for the trace */
    const struct queue_recipient *recipients;
    size_t recipient_count;
    int message_fd; /* begins with Return-Path and Received */
    uint64_t message_size;
    struct str summary;
};
/* mx asks core: durable when it returns 0. Expands each recipient (directory_resolve) at acceptance
 * into targets, deduplicated over the message. A repeat of the same id gives 0 while the message is in
 * the queue. ERROR_FULL, ERROR_LIMIT, ERROR_TEMPORARY, ... */
int queue_accept(const struct queue_message *m, struct error *e);

/* In core: opens queue.db, registers IPC_QUEUE_ACCEPT, starts the runner. directory_open() was called,
 * and box can be reached soon (until then deliveries are tried again). */
int queue_start(const char *data_directory, struct error *e);
void queue_stop(void);

/* A command that owns DATA: the queue for listing and changes by hand; nothing is delivered. */
int queue_open(const char *data_directory, struct error *e);
void queue_close(void);

/* For admin verbs. One entry per recipient that is not finished. */
struct queue_entry {
    uint64_t number; /* where a list goes on */
    struct str id, reverse_path, recipient, target, state,
        reason; /* state: waiting, held, remote */
    uint64_t size;
    int64_t received, next_attempt; /* seconds */
    uint32_t attempts;
};
/* In the order in which they came, those behind number `after`; id not empty: of that message. */
int queue_list(struct str id, uint64_t after, size_t limit, struct arena *arena,
               struct queue_entry **out, size_t *count, struct error *e);
int queue_counts(uint64_t *messages, uint64_t *recipients, uint64_t *bytes, struct error *e);
/* Waiting and held recipients are due now; id empty: of all messages. *count: how many. */
int queue_retry(struct str id, uint64_t *count, struct error *e);
/* Drops a message with all its recipients: the mail is lost. ERROR_NOT_FOUND. */
int queue_remove(struct str id, struct error *e);

#endif
