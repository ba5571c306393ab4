/* proxy.h - the header that a load balancer puts in front of a connection, to say whose it is: the PROXY
 * protocol, versions 1 (a text line) and 2 (binary), as HAProxy's doc/proxy-protocol.txt defines it.
 *
 * Only for peers that are trusted to send it; from them it must come.
 */
#ifndef RUN_PROXY_H
#define RUN_PROXY_H

#include <sys/socket.h>

#include "base/str.h"

enum { PROXY_HEADER_MAX = 4096 }; /* of a version 2 header with its extensions, which are skipped */

struct proxy_header {
    size_t length; /* bytes of the header */
    bool local; /* the proxy's own connection (a health check), or an unknown family: the addresses
                      of the socket count */
    struct sockaddr_storage source, destination; /* AF_INET or AF_INET6; AF_UNSPEC when local */
};

/* input begins with the connection's first byte. 1: *out is a complete header; 0: more bytes are needed;
 * -1: not a header, which shows as early as possible. */
int proxy_parse(struct str input, struct proxy_header *out);

#endif
