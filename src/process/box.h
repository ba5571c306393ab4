/* box.h - the process that keeps accounts: delivery, and sessions after their login.
 */
#ifndef PROCESS_BOX_H
#define PROCESS_BOX_H

#include "base/buf.h"
#include "base/error.h"

int box_start(struct error *e);
void box_stop(void);
void box_status(struct buf *json);

#endif
