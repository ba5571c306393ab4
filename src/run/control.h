/* control.h - private to run/: what master and a child say to each other over the control socket.
 */
#ifndef RUN_CONTROL_H
#define RUN_CONTROL_H

#include "run/ipc_packet.h"

enum { CONTROL_FD = 3 };

enum control {
    /* master to child */
    CONTROL_CONFIG = 1,   /* path, memfd with the text */
    CONTROL_LISTENER,     /* listener's number in the settings, socket */
    CONTROL_CERTIFICATES, /* count, then chain and key, PEM */
    CONTROL_TICKET_KEY,   /* 32 bytes */
    CONTROL_PEER_COUNT,   /* kind, count */
    CONTROL_PEER,         /* kind, index, socket: that process may be called over it */
    CONTROL_CALLER,       /* kind, index, socket: that process calls over it */
    CONTROL_STATUS,       /* JSON: master's table of processes */
    CONTROL_GO,           /* all is there: close the sandbox and start */
    CONTROL_STOP,
    /* child to master */
    CONTROL_READY,
};

#endif
