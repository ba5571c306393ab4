/* core.h - the process that knows who is who: directory, logins, routing, queue, trace, admin socket.
 */
#ifndef PROCESS_CORE_H
#define PROCESS_CORE_H

#include "base/buf.h"
#include "base/error.h"

int core_prepare(struct error *e);
int core_start(struct error *e);
void core_reload(void);
void core_stop(void);
void core_status(struct buf *json);

/* The verbs of the admin socket stand in a room below this one, so main() says how it is prepared (before
 * the sandbox), started (when everything else stands) and stopped. */
struct core_admin {
    int (*prepare)(struct error *e);
    int (*start)(struct error *e);
    void (*stop)(void);
};
void core_admin(const struct core_admin *functions);

#endif
