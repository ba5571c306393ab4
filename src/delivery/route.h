/* route.h - where a recipient's mail goes. Core answers, from the directory; mx asks at RCPT.
 */
#ifndef DELIVERY_ROUTE_H
#define DELIVERY_ROUTE_H

#include "base/arena.h"
#include "base/error.h"
#include "message/address.h"

enum route_verdict {
    ROUTE_LOCAL,      /* one account of ours and nothing else: may be delivered directly */
    ROUTE_QUEUE,      /* several targets, or targets elsewhere: through the queue */
    ROUTE_UNKNOWN,    /* our domain, nobody there: 550 5.1.1 */
    ROUTE_DISABLED,   /* takes no mail: 550 5.2.1 */
    ROUTE_NOT_OURS,   /* relaying denied: 550 5.7.1 */
    ROUTE_OVER_QUOTA, /* 452 4.2.2, also when SIZE would not fit (552 5.2.3 when it never can) */
};
struct route {
    enum route_verdict verdict;
    uint64_t account;   /* ROUTE_LOCAL */
    uint64_t quota;     /* of that account, bytes; 0 = none */
    struct str address; /* canonical address of the account */
    struct str detail;  /* what followed the recipient delimiter */
    struct str reason;  /* for refusals: one sentence for the reply */
};

/* Asks core. size: the SIZE parameter of MAIL, 0 = not said. -1: core cannot be reached (4xx), or
 * ERROR_FULL: the disk has no room for mail now (452 4.3.1). */
int route_recipient(const struct address *recipient, uint64_t size, struct arena *arena,
                    struct route *out, struct error *e);

void route_serve(void); /* core: registers IPC_ROUTE_RECIPIENT; directory_open() was called */

#endif
