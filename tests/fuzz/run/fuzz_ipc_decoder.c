/* Any bytes as the fields of a packet: each get stays inside, and after the first that does not fit all give
 * nothing and ipc_get_end() says so. The first bytes choose what is asked for. */
#include "run/ipc_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    struct ipc_in in = {.packet = mem_alloc(size), .fd_count = data[7] % 2};
    memcpy(in.packet, data, size);
    in.rest = str_of(in.packet + 8, size - 8);
    if (in.fd_count)
        in.fds[0] = memfd_from(STR("from a descriptor"), "fuzz");
    for (int i = 0; i < 7; i++) {
        bool failed = in.failed;
        struct str s = STR("");
        int fd;
        switch (data[i] % 7) {
        case 0:
            panic_unless(!ipc_get_bool(&in) || !failed);
            break;
        case 1:
            panic_unless(ipc_get_u32(&in) == 0 || !failed);
            break;
        case 2:
            panic_unless(ipc_get_u64(&in) == 0 || !failed);
            break;
        case 3:
            panic_unless(ipc_get_i64(&in) == 0 || !failed);
            break;
        case 4:
            s = ipc_get_str(&in, 100);
            break;
        case 5:
            s = ipc_get_blob(&in, 1000);
            break;
        default:
            fd = ipc_get_fd(&in);
            fd_close(&fd);
        }
        panic_unless(s.len <= 1000 && (s.len == 0 || !failed));
    }
    bool failed = in.failed;
    panic_unless(ipc_get_end(&in) < 0 || !failed);
    ipc_in_free(&in);
    return 0;
}
