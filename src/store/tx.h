/* tx.h - private to the room: what an account and a transaction are made of.
 */
#ifndef STORE_TX_H
#define STORE_TX_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/vec.h"
#include "store/account.h"
#include "store/content.h"
#include "store/db.h"

/* An open database of an account. Idle ones wait in the account's list and in the global LRU. */
struct handle {
    struct db *db;
    struct account *account;
    size_t memory;
    int64_t used_ms;
    struct handle *idle_next; /* of the account */
    struct handle *lru_previous, *lru_next;
};

struct write_job;

struct account {
    uint64_t id;
    unsigned references; /* under the table's lock, as the next four */
    struct handle *idle;
    unsigned handles;
    bool doomed;          /* being deleted: nothing opens it any more */
    bool shut;            /* its file is being replaced: nothing opens it meanwhile */
    bool prepared;        /* the file is there, with its schema and first mailboxes */
    struct account *next; /* in its bucket */

    pthread_mutex_t turn_lock; /* the write turn, in order of arrival */
    pthread_cond_t turn_free;
    uint64_t turn_next, turn_served;

    pthread_mutex_t jobs_lock; /* group commit */
    pthread_cond_t jobs_done;
    struct write_job *jobs_first, **jobs_end;
    bool leading;

    pthread_mutex_t listeners_lock;
    struct account_listener *listeners;

    _Atomic unsigned commits; /* since the last checkpoint */
    _Atomic int64_t last_commit_ms;

    _Atomic int64_t index_since_ms; /* emails wait for the search index since; 0 none */
    _Atomic int64_t index_retry_ms; /* after a failure: not before */
    _Atomic bool index_suspect;     /* the search index is to be made anew */
};

/* The account's one row. */
struct account_row {
    uint64_t modseq, uidvalidity, bytes, messages, threads, emails, mailboxes;
};

/* A mailbox's counters, kept in the transaction and written back at its end. */
struct mailbox_row {
    uint64_t id, modseq, messages, unseen, deleted, size, expunge_floor;
    uint32_t uidnext, first_recent;
    bool dirty;
};

enum { TX_MAILBOXES = 64 };

struct account_tx {
    struct account *account;
    struct handle *handle;
    struct db *db;
    bool write;
    bool changed; /* listeners must be told */
    bool row_dirty;
    struct account_row row;
    uint64_t emails_before; /* row.emails when the transaction began */
    struct mailbox_row mailboxes[TX_MAILBOXES];
    size_t mailbox_count;
};

/* The counters of a mailbox in a write transaction; NULL with *e set (ERROR_NOT_FOUND). Valid until
 * the next call for another mailbox. */
struct mailbox_row *tx_mailbox(struct account_tx *tx, uint64_t id, struct error *e);
/* Writes back what is only in memory, so that SQL sees it. */
void tx_flush(struct account_tx *tx);
/* A new modification sequence; the account and the mailbox have it as their highest. */
uint64_t tx_modseq(struct account_tx *tx, struct mailbox_row *m);

/* Removes one placement that is known; counters are the caller's business. */
void email_release(struct account_tx *tx, uint64_t email);

/* DATA/accounts/ab/123.db; make: its folder is made. */
void account_path(uint64_t id, const char *suffix, bool make, char out[static 512]);

/* Removes files of an account that can be made anew, or that nobody needs any more. */
void account_files_remove(uint64_t id, const char *const *suffixes, size_t count);
/* Makes the names in an account's folder durable. -1 with errno. */
int account_folder_sync(uint64_t id);
/* Ends a repair that was interrupted when its new file was to take the place of the damaged one. */
int account_swap_finish(uint64_t id, struct error *e);

/* Opens an account's database outside of the table: for verify and repair, which hold the turn. */
int account_db_open(uint64_t id, struct db **out, struct error *e);
struct account *
account_hold_exclusive(uint64_t id,
                       struct error *e); /* the write turn is taken, idle handles closed */
void account_release_exclusive(struct account **a);
/* Ends its sessions, and waits until nothing has the file open. ERROR_TEMPORARY. The account is held
 * exclusively. */
int account_shut(struct account *a, struct error *e);
void account_reopen(struct account *a);

/* For search.c: there is something to be indexed; the next account that has and is at rest, or has waited
 * long enough, with a reference. *bucket begins at 0. */
void account_want_index(struct account *a);
struct account *account_next_unindexed(size_t *bucket);
/* Removes an account's search index. */
void search_remove(uint64_t id);

/* keyword.c */
int keyword_set_find(struct account_tx *tx, const struct str *names, size_t count, uint32_t *set,
                     struct error *e);
int keyword_set_change(struct account_tx *tx, uint32_t set, enum flags_operation op,
                       const struct str *names, size_t count, uint32_t *out, struct error *e);

#endif
