/* usage.h - how full accounts are: box tells core, for the quota at RCPT and the domain's sum.
 */
#ifndef DELIVERY_USAGE_H
#define DELIVERY_USAGE_H

#include "store/account.h"

/* box: from now on every change of an account's usage is told to core, the newest figure only, about
 * once a second, by a thread of its own. accounts_init() comes later. */
int usage_start(struct error *e);
void usage_note(uint64_t account,
                const struct account_usage *usage); /* what the thread will tell */
void usage_stop(void);                              /* tells the last */

void usage_serve(void); /* core: takes the figures into the directory */

#endif
