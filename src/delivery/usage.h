/* usage.h - how full accounts are: box tells core, for the quota at RCPT and the domain's sum.
 */
#ifndef DELIVERY_USAGE_H
#define DELIVERY_USAGE_H

#include "store/account.h"

/* box: this account has this usage now; told to core in the background, the newest figure only. */
void usage_note(uint64_t account, const struct account_usage *usage);
void usage_start(void); /* box: starts the background session that tells */
void usage_serve(void); /* core: takes the figures into the directory */

#endif
