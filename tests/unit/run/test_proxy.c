/* The PROXY header: a table of headers, each also cut short at every length. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/buf.h"
#include "run/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define IPV4      "\xc0\x00\x02\x01\xc0\x00\x02\x02"
#define IPV6_1    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define IPV6_2    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
#define PORTS     "\x30\x39\x00\x19"

/* addresses: "source destination" as text, "local", or NULL for an invalid header. */
static const struct {
    struct str input;
    const char *addresses;
} rows[] = {
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 12345 25\r\n"), "192.0.2.1:12345 192.0.2.2:25"},
    {STR_INIT("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
     "255.255.255.255:65535 255.255.255.255:65535"},
    {STR_INIT("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0:0 0.0.0.0:0"},
    {STR_INIT("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 12345 25\r\n"),
     "2001:db8::1:12345 2001:db8::2:25"},
    {STR_INIT("PROXY UNKNOWN\r\n"), "local"},
    {STR_INIT("PROXY UNKNOWN what ever this is 1 2 3 4\r\n"), "local"},
    {STR_INIT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "local"}, /* 107 bytes */
    {STR_INIT("PROXY UNKNOWN  ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     NULL},
    {STR_INIT("PROXY UNKNOWNX\r\n"), NULL},
    {STR_INIT("PROXY \r\n"), NULL},
    {STR_INIT("PROXY TCP4\r\n"), NULL},
    {STR_INIT("PROXY TCP5 192.0.2.1 192.0.2.2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 12345\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 12345 25 \r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 12345 25 9\r\n"), NULL},
    {STR_INIT("PROXY TCP4  192.0.2.1 192.0.2.2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.256 192.0.2.2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.02.1 192.0.2.2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 012345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 -1 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 2001:db8::1 2001:db8::2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP6 192.0.2.1 192.0.2.2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1\0x 192.0.2.2 12345 25\r\n"), NULL},
    {STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 12345 25\n"), NULL},
    {STR_INIT("proxy TCP4 192.0.2.1 192.0.2.2 12345 25\r\n"), NULL},
    {STR_INIT("EHLO example.org\r\n"), NULL},
    {STR_INIT("\r\nEHLO"), NULL},
    {STR_INIT("\x16\x03\x01\x02\x00"), NULL},
    {STR_INIT(SIGNATURE "\x21\x11\x00\x0c" IPV4 PORTS), "192.0.2.1:12345 192.0.2.2:25"},
    {STR_INIT(SIGNATURE "\x21\x21\x00\x24" IPV6_1 IPV6_2 PORTS),
     "2001:db8::1:12345 2001:db8::2:25"},
    {STR_INIT(SIGNATURE "\x21\x11\x00\x13" IPV4 PORTS "\x04\x00\x04"
                        "abcd"),
     "192.0.2.1:12345 192.0.2.2:25"}, /* an extension */
    {STR_INIT(SIGNATURE "\x20\x00\x00\x00"), "local"},
    {STR_INIT(SIGNATURE "\x20\x11\x00\x0c" IPV4 PORTS), "local"},
    {STR_INIT(SIGNATURE "\x20\xff\x00\x01?"), "local"},
    {STR_INIT(SIGNATURE "\x21\x00\x00\x00"), "local"},
    {STR_INIT(SIGNATURE "\x21\x12\x00\x0c" IPV4 PORTS), "local"}, /* UDP */
    {STR_INIT(SIGNATURE "\x21\x31\x00\x02xx"), "local"},          /* Unix socket */
    {STR_INIT(SIGNATURE "\x21\x11\x00\x0b" IPV4 "\x30\x39\x00"), NULL},
    {STR_INIT(SIGNATURE "\x21\x21\x00\x0c" IPV4 PORTS), NULL},
    {STR_INIT(SIGNATURE "\x21\x41\x00\x0c" IPV4 PORTS), NULL},
    {STR_INIT(SIGNATURE "\x21\x13\x00\x0c" IPV4 PORTS), NULL},
    {STR_INIT(SIGNATURE "\x22\x11\x00\x0c" IPV4 PORTS), NULL},
    {STR_INIT(SIGNATURE "\x11\x11\x00\x0c" IPV4 PORTS), NULL},
    {STR_INIT(SIGNATURE "\x21\x11\x0f\xf1"), NULL}, /* 4097 bytes */
};

static void address_print(struct buf *out, const struct sockaddr_storage *address)
{
    char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    if (address->ss_family == AF_INET)
        buf_printf(out, "%s:%u", inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)),
                   ntohs(v4->sin_port));
    else
        buf_printf(out, "%s:%u", inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text)),
                   ntohs(v6->sin6_port));
}

static void check(struct str input, size_t header, const char *addresses)
{
    struct buf text = BUF_INIT(200);
    struct proxy_header h = {0};
    assert_int_equal(proxy_parse(input, &h), 1);
    assert_int_equal(h.length, header);
    if (h.local) {
        buf_add_literal(&text, "local");
    } else {
        address_print(&text, &h.source);
        buf_add_char(&text, ' ');
        address_print(&text, &h.destination);
    }
    assert_str(buf_str(&text), str_from(addresses));
    buf_free(&text);
}

static void test_headers(void **state UNUSED)
{
    for (size_t i = 0; i < countof(rows); i++) {
        struct str input = rows[i].input;
        struct proxy_header h = {.length = 77};
        bool refused = false;
        for (size_t len = 0; len < input.len; len++) {
            /* A copy of exactly this size, so that a sanitizer sees reads past it. */
            char *copy = mem_alloc(len);
            if (len)
                memcpy(copy, input.data, len);
            int result = proxy_parse(str_of(copy, len), &h);
            mem_free(copy);
            if (rows[i].addresses)
                assert_int_equal(result, 0);
            else
                assert_true(result == -1 || (result == 0 && !refused));
            refused = result < 0;
            assert_int_equal(h.length, 77); /* untouched */
        }
        if (!rows[i].addresses) {
            if (proxy_parse(input, &h) != -1)
                fail_msg("row %zu is taken", i);
            continue;
        }
        check(input, input.len, rows[i].addresses);
        struct buf more = BUF_INIT(1000);
        buf_add(&more, input);
        buf_add_literal(&more, "EHLO example.org\r\n");
        check(buf_str(&more), input.len, rows[i].addresses);
        buf_free(&more);
    }
}

static void test_largest(void **state UNUSED)
{
    static char header[PROXY_HEADER_MAX] = SIGNATURE "\x21\x11\x0f\xf0" IPV4 PORTS;
    struct proxy_header h;
    assert_int_equal(proxy_parse(str_of(header, sizeof(header) - 1), &h), 0);
    check(str_of(header, sizeof(header)), sizeof(header), "192.0.2.1:12345 192.0.2.2:25");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
