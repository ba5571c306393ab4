/* ipc_internal.h - what the process around it tells the IPC: who may be called, who calls. Between
 * the files of run/, and for tests.
 */
#ifndef RUN_IPC_INTERNAL_H
#define RUN_IPC_INTERNAL_H

#include "run/ipc.h"
#include "run/ipc_packet.h"

/* Calling: control_fd (taken) leads to the peer as it is now; an earlier one is closed, and every
 * thread makes its connections anew at its next call. -1: no such kind or index. */
int ipc_peer_set(enum process_kind peer, unsigned index, int control_fd);
void ipc_peer_count_set(enum process_kind peer, unsigned count);

/* Serving: over control_fd (taken) the caller sends the ends of its threads. The workers run. */
void ipc_caller_add(int control_fd, enum process_kind caller, unsigned index);

/* Runs the method of one received request. 0, or -1 with *e. */
int ipc_dispatch(uint16_t method, struct ipc_in *request, struct ipc_out *reply, struct error *e);

#endif
