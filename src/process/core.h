/* core.h - the process that knows who is who: directory, logins, routing, queue, trace, admin socket.
 */
#ifndef PROCESS_CORE_H
#define PROCESS_CORE_H

#include "base/buf.h"
#include "base/error.h"

int core_start(struct error *e);
void core_reload(void);
void core_stop(void);
void core_status(struct buf *json);

/* The verbs of the admin socket stand in a room below this one, so main() says how it is started (and
 * stopped); called when everything else stands. */
void core_admin(int (*start)(struct error *e), void (*stop)(void));

#endif
