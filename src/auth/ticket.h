/* ticket.h - what core gives edge after a login, and edge shows box: which account it was.
 *
 * Signed (HMAC-SHA-256) with the key that master gives to core and box only, and valid for a short time,
 * so a compromised edge cannot make one for an account that nobody logged in to.
 */
#ifndef AUTH_TICKET_H
#define AUTH_TICKET_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum { TICKET_SECONDS = 60, TICKET_MAX = 1024 };

struct ticket {
    uint64_t account;
    uint64_t quota;     /* bytes, 0 = none */
    struct str address; /* canonical */
};

/* core: appends the ticket for a login that succeeded now. */
void ticket_make(const struct ticket *t, struct buf *out);

/* box: 0, or -1 with ERROR_DENIED: not ours, or too old. address is in the arena. */
int ticket_check(struct str text, struct arena *arena, struct ticket *out, struct error *e);

/* edge: which account it is for, unchecked: to choose the box. */
int ticket_account(struct str text, uint64_t *account) MUST_CHECK;

#endif
