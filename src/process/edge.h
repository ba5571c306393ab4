/* edge.h - the process that talks to mail programs until they are logged in, and holds their TLS after.
 */
#ifndef PROCESS_EDGE_H
#define PROCESS_EDGE_H

#include "base/buf.h"
#include "base/error.h"

int edge_start(struct error *e);
void edge_status(struct buf *json);

#endif
