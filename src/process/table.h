/* table.h - the table of processes.
 */
#ifndef PROCESS_TABLE_H
#define PROCESS_TABLE_H

#include "run/process.h"

extern const struct process processes[];
extern const size_t process_count;

#endif
