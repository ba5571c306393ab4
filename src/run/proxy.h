/* proxy.h - the PROXY protocol header, versions 1 and 2, that a load balancer puts before a connection.
 */
#ifndef RUN_PROXY_H
#define RUN_PROXY_H

#include <sys/socket.h>

#include "base/str.h"

enum { PROXY_HEADER_MAX = 4096 };

struct proxy_header {
    size_t length; /* bytes of the header */
    bool local;    /* the proxy's own connection (a health check), or an unknown family: the address of
                      the socket counts */
    struct sockaddr_storage source;
};

/* 1: a complete header, 0: more bytes are needed, -1: not a header. */
int proxy_parse(struct str input, struct proxy_header *out);

#endif
