/* control.c - whole accounts. See control.h. */
#include "delivery/control.h"

#include "run/ipc.h"
#include "store/account.h"

enum { REPORT_MAX = 1024 * 1024, LONG_MS = 3600 * 1000 };

int account_control(uint64_t account, enum account_control what, struct buf *report, bool *found,
                    struct error *e)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    ipc_put_u64(&request, account);
    ipc_put_u32(&request, what);
    unsigned index = (unsigned)(account % ipc_peer_count(PROCESS_BOX));
    unsigned timeout = what == CONTROL_VERIFY || what == CONTROL_REPAIR ? LONG_MS : 0;
    if (ipc_call(PROCESS_BOX, index, IPC_ACCOUNT_CONTROL, &request, timeout, &reply, e) < 0)
        return -1;
    bool any = ipc_get_bool(&reply);
    struct str text = ipc_get_blob(&reply, REPORT_MAX);
    if (ipc_get_end(&reply) < 0)
        return error_set(e, ERROR_INTERNAL, "The answer was not understood");
    if (found)
        *found = any;
    if (report)
        buf_add(report, text);
    return 0;
}

static int control_answer(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    uint64_t account = ipc_get_u64(request);
    uint32_t what = ipc_get_u32(request);
    struct buf report = BUF_INIT(REPORT_MAX);
    int result = 0;
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    switch (what) {
    case CONTROL_END_SESSIONS:
        account_end_sessions(account);
        break;
    case CONTROL_DELETE:
        result = account_delete(account, e);
        break;
    case CONTROL_VERIFY:
        result = account_verify(account, &report, e);
        break;
    case CONTROL_REPAIR:
        result = account_repair(account, &report, e);
        break;
    default:
        result = error_set(e, ERROR_INVALID, "The request was not understood");
    }
    ipc_put_bool(reply, result > 0);
    ipc_put_blob(reply, buf_str(&report));
    buf_free(&report);
    return result < 0 ? -1 : 0;
}

void account_control_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_ACCOUNT_CONTROL, 1 << PROCESS_CORE | 1 << PROCESS_COMMAND, control_answer},
    };
    ipc_serve(rows, countof(rows));
}
