/* proxy.c - the PROXY protocol header. Sections cited are those of HAProxy's doc/proxy-protocol.txt. */
#include "run/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { V1_MAX = 107, V2_FIXED = 16 };
enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_ADDRESSES4 = 12, V2_ADDRESSES6 = 36 };

static const struct str v1_signature = STR_INIT("PROXY ");
static const struct str v2_signature = STR_INIT("\r\n\r\n\0\r\nQUIT\n");

static void address_set(struct sockaddr_storage *out, int family, const void *address,
                        const void *port /* both in network byte order */)
{
    memset(out, 0, sizeof(*out));
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (void *)out;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, address, 4);
        memcpy(&v4->sin_port, port, 2);
    } else {
        struct sockaddr_in6 *v6 = (void *)out;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, address, 16);
        memcpy(&v6->sin6_port, port, 2);
    }
}

static int v1_address(struct str text, struct str port, int family, struct sockaddr_storage *out)
{
    char c_string[INET6_ADDRSTRLEN];
    unsigned char address[16];
    uint32_t number;
    if (text.len >= sizeof(c_string) || str_has_char(text, '\0'))
        return -1;
    memcpy(c_string, text.data, text.len);
    c_string[text.len] = '\0';
    if (inet_pton(family, c_string, address) != 1)
        return -1;
    if (str_to_u32(port, 65535, &number) < 0 || (port.len > 1 && port.data[0] == '0'))
        return -1;
    uint16_t network = htons((uint16_t)number);
    address_set(out, family, address, &network);
    return 0;
}

/* §2.1: "PROXY TCP4 source destination source-port destination-port", or "PROXY UNKNOWN" and anything. */
static int v1_line(struct str line, struct proxy_header *out)
{
    struct str words[6];
    size_t count = 0;
    while (count < countof(words) && str_next_part(&line, ' ', &words[count]))
        count++;
    if (str_equal(words[1], STR("UNKNOWN"))) {
        out->local = true;
        return 1;
    }
    int family = str_equal(words[1], STR("TCP4")) ? AF_INET : AF_INET6;
    if (count != 6 || line.data || (family == AF_INET6 && !str_equal(words[1], STR("TCP6"))))
        return -1;
    if (v1_address(words[2], words[4], family, &out->source) < 0 ||
        v1_address(words[3], words[5], family, &out->destination) < 0)
        return -1;
    return 1;
}

static int v1_parse(struct str input, struct proxy_header *out)
{
    struct str line = str_slice(input, 0, V1_MAX);
    size_t end = str_find_char(line, '\n');
    if (end == line.len)
        return input.len >= V1_MAX ? -1 : 0;
    if (line.data[end - 1] != '\r')
        return -1;
    out->length = end + 1;
    return v1_line(str_slice(line, 0, end - 1), out);
}

/* §2.2 */
static int v2_parse(struct str input, struct proxy_header *out)
{
    const unsigned char *bytes = (const unsigned char *)input.data;
    if (input.len > 12 && bytes[12] != V2_LOCAL && bytes[12] != V2_PROXY)
        return -1;
    if (input.len < V2_FIXED)
        return 0;
    size_t length = V2_FIXED + ((size_t)bytes[14] << 8 | bytes[15]);
    unsigned kind = bytes[13];
    if (length > PROXY_HEADER_MAX)
        return -1;
    if (input.len < length)
        return 0;
    out->length = length;
    bytes += V2_FIXED;
    length -= V2_FIXED;
    if (input.data[12] == V2_LOCAL) {
        out->local = true; /* whatever else it says */
    } else if (kind == V2_TCP4 && length >= V2_ADDRESSES4) {
        address_set(&out->source, AF_INET, bytes, bytes + 8);
        address_set(&out->destination, AF_INET, bytes + 4, bytes + 10);
    } else if (kind == V2_TCP6 && length >= V2_ADDRESSES6) {
        address_set(&out->source, AF_INET6, bytes, bytes + 32);
        address_set(&out->destination, AF_INET6, bytes + 16, bytes + 34);
    } else if (kind == V2_TCP4 || kind == V2_TCP6 || kind >> 4 > 3 || (kind & 15) > 2) {
        return -1;
    } else {
        out->local = true; /* UDP, Unix sockets, unspecified: nothing that we could use */
    }
    return 1;
}

int proxy_parse(struct str input, struct proxy_header *out)
{
    struct proxy_header header = {0};
    int result = -1;
    size_t v1 = MIN(input.len, v1_signature.len), v2 = MIN(input.len, v2_signature.len);
    if (str_starts(v2_signature, str_slice(input, 0, v2)))
        result = v2 < v2_signature.len ? 0 : v2_parse(input, &header);
    else if (str_starts(v1_signature, str_slice(input, 0, v1)))
        result = v1 < v1_signature.len ? 0 : v1_parse(input, &header);
    if (result > 0)
        *out = header;
    return result;
}
