/* sandbox.h - private to run/: what a process gives up.
 */
#ifndef RUN_SANDBOX_H
#define RUN_SANDBOX_H

#include "base/buf.h"
#include "run/process.h"

/* Capabilities, dumps, new privileges: at once after the start. */
void sandbox_early(void);
/* Files: for this thread and those it makes. read-write below the folders of the list. */
void sandbox_files(const struct sandbox *s, const char *data_directory, const char *run_directory);
/* System calls: for all threads. */
void sandbox_calls(const struct sandbox *s);
/* "landlock=abi7 seccomp=on", for status. */
const char *sandbox_state(void);

#endif
