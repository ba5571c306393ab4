/* changes.h - what follows a change in the directory: sessions that have to end, files that have to go.
 *
 * Both are box's to do, so core asks it, from a thread of its own. An account's files are deleted even
 * when box cannot be asked now, or core dies first: what is still to be deleted stands in the directory
 * until it is done.
 */
#ifndef DELIVERY_CHANGES_H
#define DELIVERY_CHANGES_H

#include "base/error.h"

/* core: directory_open() was called. Registers with directory_on_change(), takes up what was left. */
int changes_start(struct error *e);
void changes_stop(void);

/* A command that owns DATA while no server runs: removed accounts are only noted; the next server
 * deletes their files. */
void changes_note_only(void);

#endif
