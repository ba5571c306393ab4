/* fuzz_calls.c - what core and box do with calls from processes that may be compromised: any bytes as the
 * packet of each method. The first byte chooses the method, the second how many descriptors come along.
 */
#include <stdlib.h>
#include <unistd.h>

#include "auth/attach.h"
#include "base/log.h"
#include "delivery/control.h"
#include "delivery/deliver.h"
#include "delivery/route.h"
#include "delivery/usage.h"
#include "message/summary.h"
#include "queue/queue.h"
#include "run/ipc_internal.h"
#include "run/settings.h"
#include "store/account.h"
#include "store/directory.h"
#include "store/trace.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum ipc_method methods[] = {
    IPC_ROUTE_RECIPIENT, IPC_QUEUE_ACCEPT,    IPC_DELIVER,       IPC_TRACE,
    IPC_ACCOUNT_USAGE,   IPC_ACCOUNT_CONTROL, IPC_SESSION_ATTACH};
/* As the seeds have it. */
static const struct str message = STR_INIT("Return-Path: <a@b.test>\r\nSubject: x\r\n\r\nbody\r\n");

static int connection_close(const struct attach *a UNUSED, int fd, struct error *e UNUSED)
{
    fd_close(&fd);
    return 0;
}

static void must(int result)
{
    if (result < 0)
        abort();
}

int LLVMFuzzerInitialize(int *argc UNUSED, char ***argv UNUSED)
{
    static char directory[] = "/tmp/posthouse-fuzz-XXXXXX";
    static attach_handler *handlers[ATTACH_PROTOCOL_COUNT] = {connection_close, connection_close};
    struct buf text = BUF_INIT(BUF_UNBOUNDED), errors = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    uint64_t id;
    if (!mkdtemp(directory))
        abort();
    log_set_level(LOG_ERROR);
    buf_printf(
        &text,
        "[server]\nhost-name = mail.example.test\ndata-directory = %s\n[limits]\nfree-space = 1M\n",
        directory);
    must(settings_load("fuzz", buf_str(&text), &errors));
    ipc_loopback(PROCESS_CORE, PROCESS_COMMAND);
    ipc_loopback(PROCESS_BOX, PROCESS_COMMAND);
    must(directory_open(directory, &e));
    must(directory_domain_add(STR("example.test"), 0, &e));
    must(directory_account_add(STR("alice@example.test"), STR(""), 1000000, &id, &e));
    must(accounts_init(directory, 1 << 20, &e));
    must(trace_start(directory, 60000, &e));
    deliver_serve();
    must(queue_start(directory, &e));
    route_serve();
    trace_serve();
    usage_serve();
    account_control_serve();
    session_attach_serve(handlers);
    buf_free(&text);
    buf_free(&errors);
    return 0;
}

static void call(enum ipc_method method, enum process_kind caller, unsigned fds, struct str packet)
{
    struct ipc_in in = {.packet = mem_alloc(packet.len + 1), .caller = caller};
    struct ipc_out out = {0};
    struct error e;
    if (packet.len)
        memcpy(in.packet, packet.data, packet.len);
    in.rest = str_of(in.packet, packet.len);
    for (; in.fd_count < fds; in.fd_count++)
        in.fds[in.fd_count] = memfd_from(message, "fuzz");
    ipc_dispatch((uint16_t)method, &in, &out, &e);
    ipc_out_free(&out);
    ipc_in_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum process_kind callers[] = {PROCESS_MX, PROCESS_EDGE, PROCESS_BOX,
                                                PROCESS_CORE};
    if (size < 2)
        return 0;
    for (size_t i = 0; i < countof(callers); i++)
        call(methods[data[0] % countof(methods)], callers[i], data[1] % 4,
             str_of(data + 2, size - 2));
    return 0;
}
