/* verify.h - private to the room: what checking and mending have in common.
 */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include <openssl/sha.h>

#include "store/db.h"

/* The account's counters of what has an id are behind one that was given. */
#define NUMBERS_LOW                                                                               \
    "emails<(SELECT coalesce(max(id), 0) FROM email) OR threads<(SELECT coalesce(max(thread), 0)" \
    " FROM email) OR mailboxes<(SELECT coalesce(max(abs(id)), 0) FROM mailbox) OR uidvalidity<"   \
    "(SELECT coalesce(max(uidvalidity), 0) FROM mailbox)"

/* Counted once for all: there is no index for it. */
#define PLACES "(SELECT email, count(*) AS n FROM placement GROUP BY email)"
#define USES   "(SELECT body, count(*) AS n FROM email GROUP BY body)"
#define BODIES "SELECT id, hash, size, data FROM body"
/* The hash of a body as it can be read; false: it cannot, or has another size. */
bool body_hash(struct db *db, int64_t id, int64_t size, struct str first,
               unsigned char made[static SHA256_DIGEST_LENGTH]);

/* What PRAGMA integrity_check says. */
enum structure { STRUCTURE_SOUND, STRUCTURE_INDEXES, STRUCTURE_DAMAGED };
/* Each line of it that is not "ok" is given to found(), which may be NULL. */
enum structure structure_check(struct db *db, void (*found)(void *context, struct str line),
                               void *context);

#endif
