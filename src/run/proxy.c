/* proxy.c - the PROXY protocol header. See proxy.h. */
#include "run/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { V1_MAX = 107, V2_FIXED = 16, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_LENGTH4 = 12, V2_LENGTH6 = 36 };

static const struct str v2_signature = STR_INIT("\r\n\r\n\0\r\nQUIT\n");

static int v1_address(struct str text, struct str port, int family, struct sockaddr_storage *out)
{
    char address[64];
    uint32_t number;
    if (text.len >= sizeof(address) || str_to_u32(port, 65535, &number) < 0)
        return -1;
    memcpy(address, text.data, text.len);
    address[text.len] = '\0';
    memset(out, 0, sizeof(*out));
    out->ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (void *)out;
        v4->sin_port = htons((uint16_t)number);
        return inet_pton(AF_INET, address, &v4->sin_addr) == 1 ? 0 : -1;
    }
    struct sockaddr_in6 *v6 = (void *)out;
    v6->sin6_port = htons((uint16_t)number);
    return inet_pton(AF_INET6, address, &v6->sin6_addr) == 1 ? 0 : -1;
}

/* "PROXY TCP4 source destination source-port destination-port\r\n", or "PROXY UNKNOWN ...\r\n". */
static int v1_parse(struct str input, struct proxy_header *out)
{
    size_t end = str_find(str_slice(input, 0, V1_MAX), STR("\r\n"));
    if (end == MIN(input.len, (size_t)V1_MAX))
        return input.len >= V1_MAX ? -1 : 0;
    struct str rest = str_of(input.data, end), words[6];
    size_t count = 0;
    while (count < countof(words) && str_next_part(&rest, ' ', &words[count]))
        count++;
    out->length = end + 2;
    out->local = count >= 2 && str_equal(words[1], STR("UNKNOWN"));
    if (out->local)
        return 1;
    struct sockaddr_storage destination;
    if (count != 6 || rest.data)
        return -1;
    int family = str_equal(words[1], STR("TCP4"))   ? AF_INET
                 : str_equal(words[1], STR("TCP6")) ? AF_INET6
                                                    : -1;
    if (family < 0 || v1_address(words[3], words[5], family, &destination) < 0)
        return -1;
    return v1_address(words[2], words[4], family, &out->source) < 0 ? -1 : 1;
}

static int v2_parse(struct str input, struct proxy_header *out)
{
    if (input.len < V2_FIXED)
        return 0;
    const unsigned char *bytes = (const unsigned char *)input.data;
    size_t length = (size_t)bytes[14] << 8 | bytes[15];
    unsigned command = bytes[12] & 15;
    if (bytes[12] >> 4 != 2 || command > 1 || V2_FIXED + length > PROXY_HEADER_MAX)
        return -1;
    if (input.len < V2_FIXED + length)
        return 0;
    out->length = V2_FIXED + length;
    out->local = command == 0;
    memset(&out->source, 0, sizeof(out->source));
    if (out->local)
        return 1;
    if (bytes[13] == V2_TCP4 && length >= V2_LENGTH4) {
        struct sockaddr_in *v4 = (void *)&out->source;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, bytes + 16, 4);
        memcpy(&v4->sin_port, bytes + 24, 2);
    } else if (bytes[13] == V2_TCP6 && length >= V2_LENGTH6) {
        struct sockaddr_in6 *v6 = (void *)&out->source;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, bytes + 16, 16);
        memcpy(&v6->sin6_port, bytes + 48, 2);
    } else if (bytes[13] == V2_TCP4 || bytes[13] == V2_TCP6) {
        return -1;
    } else {
        out->local = true; /* UDP, Unix sockets, unspecified: nothing to use */
    }
    return 1;
}

int proxy_parse(struct str input, struct proxy_header *out)
{
    size_t known = MIN(input.len, v2_signature.len);
    if (str_starts(v2_signature, str_slice(input, 0, known)))
        return known < v2_signature.len ? 0 : v2_parse(input, out);
    struct str v1 = STR("PROXY ");
    known = MIN(input.len, v1.len);
    if (!str_starts(v1, str_slice(input, 0, known)))
        return -1;
    return known < v1.len ? 0 : v1_parse(input, out);
}
