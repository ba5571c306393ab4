/* control.h - what core (and a command that owns DATA) asks of box about whole accounts.
 */
#ifndef DELIVERY_CONTROL_H
#define DELIVERY_CONTROL_H

#include "base/buf.h"
#include "base/error.h"

enum account_control {
    CONTROL_END_SESSIONS, /* the password was changed, or the account disabled */
    CONTROL_DELETE,       /* the account is gone from the directory: its files too */
    CONTROL_VERIFY,       /* report: a line per finding */
    CONTROL_REPAIR,       /* report: a line per thing done */
};

/* Asks the account's box and waits (verify and repair: up to an hour). found: verify found something.
 * Not from a worker thread of core. */
int account_control(uint64_t account, enum account_control what, struct buf *report, bool *found,
                    struct error *e);
void account_control_serve(void); /* box */

#endif
