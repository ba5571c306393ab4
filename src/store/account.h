/* account.h - one account: its mailboxes, messages, flags, and what changed.
 *
 * An account is a partition: every write is one transaction inside one account. These verbs are the
 * seam behind which another engine can stand; nothing outside store/ sees SQL.
 *
 * Only box (or a command that owns DATA) opens accounts. A file is made, with its special-use
 * mailboxes, at the first opening, and migrated at the first opening by a newer program. Handles are
 * kept in an LRU bounded in bytes (setting store open-bytes); a parked session holds none.
 *
 * Threads: any number of read transactions (snapshots) run beside one write transaction per account.
 * A write transaction waits for its turn (fairly, in order). Never keep a transaction open over a
 * socket write. Lock order: account write turn, then the account table's lock, then the listeners' lock.
 */
#ifndef STORE_ACCOUNT_H
#define STORE_ACCOUNT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct db_query;

/* ------------------------------------------------------------------ opening and transactions */

struct account;    /* an open account, counted */
struct account_tx; /* a transaction in it */

/* Where DATA is and how much memory open handles may take. Starts the background checkpointer. */
int accounts_init(const char *data_directory, uint64_t open_bytes, struct error *e);
void accounts_shutdown(void);

int account_open(uint64_t id, struct account **out, struct error *e); /* makes it when missing */
void account_close(struct account **a); /* gives the reference back. Fits CLEANUP() */
uint64_t account_id(const struct account *a);
bool account_exists(uint64_t id);
int account_delete(uint64_t id, struct error *e); /* ends listeners' sessions, removes the files */

enum account_access { ACCOUNT_READ, ACCOUNT_WRITE };
int account_begin(struct account *a, enum account_access access, struct account_tx **out,
                  struct error *e);
/* Durable when it returns 0 (fsync done). Listeners are told after that. The tx is gone either way. */
int account_commit(struct account_tx **tx, struct error *e);
void account_rollback(struct account_tx **tx); /* also ends a read. Fits CLEANUP(); NULL is fine */

/* Group commit: runs job(tx, context) inside a write transaction that it may share with the jobs of
 * other threads waiting for the same account, each in its own savepoint; returns when the shared
 * commit is durable. job returns 0 to keep its changes, -1 (with *e set) to undo only its own. */
int account_write(struct account *a,
                  int (*job)(struct account_tx *tx, void *context, struct error *e), void *context,
                  struct error *e);
/* The same for what makes room or must be possible without any (flags, expunge, delete): on a full disk
 * the room kept back is given up and the job run once more, so it must start anew each time. */
int account_write_reserved(struct account *a,
                           int (*job)(struct account_tx *tx, void *context, struct error *e),
                           void *context, struct error *e);

/* Told after each commit that changed the account, in the committing thread: keep it short
 * (conn_wake). The listener must be removed before it is freed. */
struct account_listener {
    void (*changed)(struct account_listener *l, uint64_t modseq);
    void (*ended)(struct account_listener *l); /* the account was deleted, disabled or its password
                                                  changed: end the session */
    struct account_listener *next, *previous;  /* private */
};
void account_listen(struct account *a, struct account_listener *l);
void account_unlisten(struct account *a, struct account_listener *l);
void account_end_sessions(uint64_t id);       /* calls every listener's ended() */
unsigned account_sessions(struct account *a); /* listeners now */

uint64_t account_modseq(struct account_tx *tx); /* the account's highest */

struct account_usage {
    uint64_t bytes, messages;
};
void account_usage(struct account_tx *tx, struct account_usage *out);
/* Told after each commit that changed an account, in the committing thread: keep it short. One for the
 * process, set before accounts are opened. */
void accounts_on_change(void (*changed)(uint64_t id, const struct account_usage *usage));

/* ------------------------------------------------------------------ mailboxes */

/* Names are UTF-8 (NFC), hierarchy separator '/', "INBOX" in capitals. */
enum special_use { USE_NONE, USE_INBOX, USE_DRAFTS, USE_SENT, USE_ARCHIVE, USE_JUNK, USE_TRASH };

struct mailbox {
    uint64_t id;
    struct str name; /* in the arena given */
    uint32_t uidvalidity, uidnext;
    uint64_t modseq; /* highest of this mailbox; 0 only before anything happened: never for IMAP */
    uint64_t messages, unseen, deleted, size;
    uint32_t first_recent; /* UIDs from here on were not yet shown to any read-write session */
    enum special_use use;
    bool subscribed;
    bool no_select;       /* a deleted mailbox that has children, or a parent made for a child */
    struct str object_id; /* MAILBOXID, RFC 8474 */
};

enum { MAILBOX_NAME_MAX = 512, MAILBOX_DEPTH_MAX = 32, MAILBOXES_MAX = 20000 };

/* All, in name order (bytewise, INBOX first, a parent before its children). */
int mailbox_list(struct account_tx *tx, struct arena *arena, struct mailbox **out, size_t *count,
                 struct error *e);
int mailbox_find(struct account_tx *tx, struct str name, struct arena *arena, struct mailbox *out,
                 struct error *e); /* ERROR_NOT_FOUND */
int mailbox_get(struct account_tx *tx, uint64_t id, struct arena *arena, struct mailbox *out,
                struct error *e);
/* Makes missing parents too (RFC 9051 §6.3.4). */
int mailbox_create(struct account_tx *tx, struct str name, enum special_use use,
                   struct arena *arena, struct mailbox *out, struct error *e);
/* Renames with all children. INBOX: its messages move to the new mailbox, INBOX stays (§6.3.6). */
int mailbox_rename(struct account_tx *tx, struct str from, struct str to, struct error *e);
/* Removes the mailbox and its messages; with children it becomes no_select; INBOX is ERROR_DENIED. */
int mailbox_delete(struct account_tx *tx, struct str name, struct error *e);
/* Also for names that do not exist (RFC 9051 §6.3.7). */
int mailbox_subscribe(struct account_tx *tx, struct str name, bool subscribed, struct error *e);
/* Names that are subscribed but do not exist, besides those of mailbox_list. */
int mailbox_subscribed_missing(struct account_tx *tx, struct arena *arena, struct str **names,
                               size_t *count, struct error *e);
/* Takes the recent messages for one session: returns the old first_recent, sets it to uidnext. */
int mailbox_claim_recent(struct account_tx *tx, uint64_t id, uint32_t *first_recent,
                         struct error *e);

/* ------------------------------------------------------------------ messages */

enum message_flag {
    FLAG_SEEN = 1,
    FLAG_ANSWERED = 2,
    FLAG_FLAGGED = 4,
    FLAG_DELETED = 8,
    FLAG_DRAFT = 16,
    FLAG_ALL = 31
};
enum { KEYWORD_MAX = 100, KEYWORDS_PER_MESSAGE_MAX = 200, KEYWORDS_PER_ACCOUNT_MAX = 5000 };

/* A keyword set is interned: messages with the same keywords have the same set number; 0 = none. */
int keyword_set_names(struct account_tx *tx, uint32_t set, struct arena *arena, struct str **names,
                      size_t *count, struct error *e);
/* All keywords that occur in a mailbox (for FLAGS at SELECT). */
int mailbox_keywords(struct account_tx *tx, uint64_t mailbox, struct arena *arena,
                     struct str **names, size_t *count, struct error *e);

/* What a row shall contain: fewer columns, less reading. The first group comes with every row. */
enum message_column {
    COLUMN_EMAIL = 1 << 0,   /* received, size, thread, header_size */
    COLUMN_SUMMARY = 1 << 1, /* the summary block */
};
struct message {
    uint32_t uid;
    uint8_t flags;
    uint32_t keyword_set;
    uint64_t modseq;
    uint64_t email;   /* EMAILID's number */
    int64_t savedate; /* seconds, RFC 8514 */
    int64_t received; /* INTERNALDATE, seconds */
    uint64_t size;    /* RFC822.SIZE */
    uint64_t thread;
    struct str summary; /* until the next step of the cursor */
};

/* Rows of a mailbox with first <= uid <= last and modseq > modseq_after, in UID order. */
struct message_cursor {
    struct account_tx *tx;
    struct db_query *query; /* private */
    unsigned columns;
};
void message_cursor_open(struct message_cursor *c, struct account_tx *tx, uint64_t mailbox,
                         uint32_t first, uint32_t last, uint64_t modseq_after, unsigned columns);
int message_cursor_next(struct message_cursor *c, struct message *out,
                        struct error *e); /* 1, 0, -1 */
void message_cursor_close(struct message_cursor *c);
int message_find(struct account_tx *tx, uint64_t mailbox, uint32_t uid, unsigned columns,
                 struct arena *arena, struct message *out, struct error *e);

/* UIDs of a mailbox as runs of consecutive ones: what a session keeps of its mailbox. */
struct uid_run {
    uint32_t first, count;
};
int mailbox_uids(struct account_tx *tx, uint64_t mailbox, struct uid_run **runs, size_t *run_count,
                 struct error *e); /* heap array, mem_free() */

/* UIDs expunged with a modseq above modseq_after, ascending, duplicates removed; heap array. When the
 * log does not reach back that far (expunge floor), ERROR_NOT_FOUND: compare UIDs instead. */
int mailbox_expunged(struct account_tx *tx, uint64_t mailbox, uint64_t modseq_after,
                     struct uid_run **runs, size_t *run_count, struct error *e);

/* Bytes [offset, offset + len) of the message (header and body), clipped to its size. */
int message_read(struct account_tx *tx, uint64_t email, uint64_t offset, uint64_t len,
                 struct buf *out, struct error *e);

struct message_new {
    struct str data;    /* the whole message, CRLF line ends */
    struct str summary; /* a block that summary_open() accepted */
    int64_t received;   /* INTERNALDATE */
    uint8_t flags;
    const struct str *keywords;
    size_t keyword_count;
};
/* Compression and hashing, done before the transaction so that the write turn is short. */
struct message_prepared;
int message_prepare(const struct message_new *message, struct message_prepared **out,
                    struct error *e);
void message_prepared_free(struct message_prepared **p);
int message_append(struct account_tx *tx, uint64_t mailbox, const struct message_prepared *p,
                   uint32_t *uid, uint64_t *email, struct error *e);

enum flags_operation { FLAGS_SET, FLAGS_ADD, FLAGS_REMOVE };
/* Changes one message's flags; *out is the row afterwards, *changed tells whether anything did (then
 * its modseq is new). ERROR_NOT_FOUND; with unchanged_since < its modseq: ERROR_EXISTS and *out is
 * the present row (RFC 7162 §3.1.3). UINT64_MAX: no condition. */
int message_flags(struct account_tx *tx, uint64_t mailbox, uint32_t uid, enum flags_operation op,
                  uint8_t flags, const struct str *keywords, size_t keyword_count,
                  uint64_t unchanged_since, struct message *out, bool *changed, struct error *e);
int message_expunge(struct account_tx *tx, uint64_t mailbox, uint32_t uid, struct error *e);
int message_copy(struct account_tx *tx, uint64_t mailbox, uint32_t uid, uint64_t to,
                 uint32_t *new_uid, struct error *e);
int message_move(struct account_tx *tx, uint64_t mailbox, uint32_t uid, uint64_t to,
                 uint32_t *new_uid, struct error *e);

/* ------------------------------------------------------------------ delivery */

/* Notes that (queue_id, recipient) was delivered here. *again: it already was, do nothing. Rows are
 * kept for 8 days (older ones go in the background). */
int delivery_note(struct account_tx *tx, struct str queue_id, struct str recipient, bool *again,
                  struct error *e);

/* ------------------------------------------------------------------ checking */

/* Structure (PRAGMA integrity_check), body hashes, sizes, counters, UID order, references, summaries.
 * One line per finding is appended to findings. 0 nothing found, 1 something, -1 could not check. */
int account_verify(uint64_t id, struct buf *findings, struct error *e);
/* Mends what verify finds; rebuilds from what can be read when the file is damaged; loses no message
 * that can still be read. What was done, a line each, is appended to report. */
int account_repair(uint64_t id, struct buf *report, struct error *e);

#endif
