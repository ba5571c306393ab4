/* schema.h - private to the room: the tables of an account.
 *
 *     account     one row: counters of the whole account
 *     mailbox     one row per mailbox, and per subscribed name that does not exist (exists = 0)
 *     placement   a message in a mailbox: narrow, and without an index on modseq (a scan is faster)
 *     email       one row per email: what FETCH, SORT and SEARCH ask for, with the summary
 *     header      the header block of an email; which body belongs to it, should the email's row be lost
 *     body        the first (usually only) chunk of a body, once per account by its hash
 *     chunk       the further chunks of large bodies
 *     keyword     interned keyword sets: names separated by spaces
 *     expunged    what was removed from a mailbox, for resynchronisation
 *     tombstone   what ceased to exist: email, thread, mailbox
 *     thread      message-id hashes -> thread
 *     delivered   (queue id, recipient) of deliveries, so that a repeat does nothing
 */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "store/db.h"

extern const struct db_step account_schema[];
extern const size_t account_schema_count;

#endif
