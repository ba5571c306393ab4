/* reserve.h - room kept back on the disk, so that deleting works when it is full.
 */
#ifndef STORE_RESERVE_H
#define STORE_RESERVE_H

#include "base/base.h"

enum { RESERVE_SIZE = 8 * 1024 * 1024 };

void reserve_init(const char *data_directory); /* makes DATA/reserve-PROCESS when there is room */
/* Gives the room back to the disk: true when there was some, and trying again makes sense. */
bool reserve_release(void);
/* Makes it again when it was released and the disk has room. Called now and then. */
void reserve_keep(void);

#endif
