/* The PROXY header parser: bounded, deterministic, and never satisfied with less than it asked for. */
#include "run/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_of(data, size);
    struct proxy_header header = {0}, shorter = {0};
    int result = proxy_parse(input, &header);
    panic_unless(result != 0 || size < PROXY_HEADER_MAX);
    if (result <= 0)
        return 0;
    panic_unless(header.length > 0 && header.length <= size && header.length <= PROXY_HEADER_MAX);
    panic_unless(header.local == (header.source.ss_family == AF_UNSPEC));
    panic_unless(proxy_parse(str_slice(input, 0, header.length - 1), &shorter) == 0);
    panic_unless(proxy_parse(str_slice(input, 0, header.length), &shorter) == 1);
    panic_unless(shorter.length == header.length);
    return 0;
}
