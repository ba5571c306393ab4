/* networks.c - addresses and networks in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3). */
#include "base/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Every address is compared as 16 bytes, IPv4 in its mapped form (RFC 4291 §2.5.5.2). */
struct network {
    unsigned char address[16];
    unsigned prefix; /* of 128 */
};

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool list_next(struct str *rest, struct str *entry)
{
    struct str part;
    while (str_next_part(rest, ',', &part)) {
        part = str_trim(part);
        if (part.len) {
            *entry = part;
            return true;
        }
    }
    return false;
}

static int address_parse_text(struct str text, unsigned char out[static 16], unsigned *bits)
{
    char name[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof(name))
        return -1;
    memcpy(name, text.data, text.len);
    name[text.len] = '\0';
    if (inet_pton(AF_INET6, name, out) == 1) {
        *bits = 128;
        return 0;
    }
    if (inet_pton(AF_INET, name, out + 12) != 1)
        return -1;
    memcpy(out, mapped, sizeof(mapped));
    *bits = 32;
    return 0;
}

static bool bits_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    unsigned rest = bits % 8;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

/* Bits behind the prefix are zero in a well-written network. */
static bool host_bits_clear(const struct network *n)
{
    for (unsigned bit = n->prefix; bit < 128; bit++)
        if (n->address[bit / 8] & (0x80 >> bit % 8))
            return false;
    return true;
}

static int network_parse(struct str text, struct network *out, const char **why)
{
    size_t slash = str_find_char(text, '/');
    unsigned bits;
    if (address_parse_text(str_slice(text, 0, slash), out->address, &bits) < 0) {
        *why = "is neither an IPv4 nor an IPv6 address";
        return -1;
    }
    uint32_t prefix = bits;
    if (slash < text.len && str_to_u32(str_from_pos(text, slash + 1), bits, &prefix) < 0) {
        *why =
            bits == 32 ? "has no prefix length from 0 to 32" : "has no prefix length from 0 to 128";
        return -1;
    }
    out->prefix = prefix + (128 - bits);
    if (!host_bits_clear(out)) {
        *why = "has bits set behind its prefix length";
        return -1;
    }
    return 0;
}

int network_check(struct str network, const char **why)
{
    struct network ignored;
    return network_parse(network, &ignored, why);
}

static int address_from_socket(const void *address, size_t len, unsigned char out[static 16])
{
    sa_family_t family;
    if (len < sizeof(family))
        return -1;
    memcpy(&family, address, sizeof(family));
    if (family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        memcpy(out, mapped, sizeof(mapped));
        memcpy(out + 12, &v4.sin_addr, 4);
        return 0;
    }
    if (family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        memcpy(out, &v6.sin6_addr, 16);
        return 0;
    }
    return -1;
}

bool networks_contain(struct str networks, const void *sockaddr, size_t sockaddr_len)
{
    unsigned char address[16];
    struct str entry;
    const char *why;
    if (address_from_socket(sockaddr, sockaddr_len, address) < 0)
        return false;
    while (list_next(&networks, &entry)) {
        struct network n;
        if (network_parse(entry, &n, &why) == 0 && bits_equal(n.address, address, n.prefix))
            return true;
    }
    return false;
}
