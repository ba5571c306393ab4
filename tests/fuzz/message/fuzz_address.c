/* Any bytes as an envelope address, a domain, and a header's address list: what is understood is written and
 * understood again as the same. */
#include "message/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf once = BUF_INIT(BUF_UNBOUNDED), twice = BUF_INIT(BUF_UNBOUNDED);
    struct str text = str_of(data, size);
    struct address a, b;
    struct header_address *list;
    if (address_parse(text, &arena, &a) == 0) {
        panic_unless(address_format(&once, &a) == 0);
        panic_unless(address_parse(buf_str(&once), &arena, &b) == 0);
        panic_unless(str_equal(a.local, b.local) && str_equal(a.domain, b.domain) &&
                     a.utf8 == b.utf8);
    }
    buf_reset(&once);
    if (domain_normalize(text, &once) == 0) {
        panic_unless(domain_normalize(buf_str(&once), &twice) == 0);
        panic_unless(str_equal(buf_str(&once), buf_str(&twice)));
    }
    panic_unless(header_addresses(text, 50, &arena, &list) <= 50);
    buf_free(&once);
    buf_free(&twice);
    arena_free(&arena);
    return 0;
}
