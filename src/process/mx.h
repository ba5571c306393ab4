/* mx.h - the process that takes mail in.
 */
#ifndef PROCESS_MX_H
#define PROCESS_MX_H

#include "base/buf.h"
#include "base/error.h"

int mx_start(struct error *e);
void mx_status(struct buf *json);

#endif
