/* ipc_packet.h - one packet on a SOCK_SEQPACKET socket; between the files of run/ only.
 *
 * Calls between processes, and master's messages to its children, are the same kind of packet.
 */
#ifndef RUN_IPC_PACKET_H
#define RUN_IPC_PACKET_H

#include "run/ipc.h"

enum packet_kind {
    PACKET_CALL = 1,
    PACKET_TELL, /* no answer */
    PACKET_REPLY,
    PACKET_ERROR, /* an answer: class, text, cause */
};

struct packet_header {
    uint32_t magic;
    uint16_t kind; /* enum packet_kind */
    uint16_t method;
    uint32_t sequence; /* of a call, repeated in its answer */
    uint32_t reserved;
};

/* A pair of connected sockets, close-on-exec. 0 or -1 with errno. */
int packet_pair(int ends[static 2]);

/* Sends one packet; flags as for sendmsg (MSG_DONTWAIT). o keeps its contents. 0, or -1 with errno:
 * EMSGSIZE also for one that failed while it was filled. */
int packet_send(int fd, const struct packet_header *header, const struct ipc_out *o, int flags);

/* Receives one packet into *in (to be freed). 1; 0 at the end of the connection; -1 with errno: EBADMSG
 * for one that is malformed (nothing has to be freed then). */
int packet_receive(int fd, struct packet_header *header, struct ipc_in *in, int flags);

void packet_put_error(struct ipc_out *o, const struct error *e);
void packet_get_error(struct ipc_in *in, struct error *e);

/* What was put into o as if it had been received: for calls within one process. Empties o. */
void packet_turn(struct ipc_out *o, struct ipc_in *in);

#endif
