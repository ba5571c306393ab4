/* route.c - where a recipient's mail goes: the question and its answer. See route.h. */
#include "delivery/route.h"

#include "delivery/deliver.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/directory.h"

int route_recipient(const struct address *recipient, uint64_t size, struct arena *arena,
                    struct route *out, struct error *e)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    ipc_put_str(&request, recipient->local);
    ipc_put_str(&request, recipient->domain);
    ipc_put_u64(&request, size);
    if (ipc_call(PROCESS_CORE, 0, IPC_ROUTE_RECIPIENT, &request, 0, &reply, e) < 0)
        return -1;
    *out = (struct route){.verdict = (enum route_verdict)ipc_get_u32(&reply),
                          .account = ipc_get_u64(&reply),
                          .quota = ipc_get_u64(&reply)};
    out->address = arena_copy(arena, ipc_get_str(&reply, 1024));
    out->detail = arena_copy(arena, ipc_get_str(&reply, 256));
    out->reason = arena_copy(arena, ipc_get_str(&reply, 512));
    if (ipc_get_end(&reply) < 0 || out->verdict > ROUTE_OVER_QUOTA)
        return error_set(e, ERROR_INTERNAL, "The directory's answer was not understood");
    return 0;
}

/* An account's own quota, and its domain's (soft: as far as box has told). */
static bool over_quota(const struct account_entry *account, uint64_t size, struct arena *arena)
{
    if (account->quota &&
        (account->usage >= account->quota || size > account->quota - account->usage))
        return true;
    struct domain domain;
    size_t at = str_find_last_char(account->address, '@');
    if (directory_domain_find(str_from_pos(account->address, at + 1), arena, &domain, NULL) < 0)
        return false;
    return domain.quota && domain.usage >= domain.quota;
}

static int account_verdict(const struct resolved_target *target, uint64_t size, struct arena *arena,
                           struct route *route, struct error *e)
{
    struct account_entry account;
    if (directory_account_get(target->account, arena, &account, e) < 0)
        return -1;
    route->verdict = ROUTE_LOCAL;
    route->account = target->account;
    route->quota = account.quota;
    route->address = target->address;
    route->detail = target->detail;
    if (over_quota(&account, size, arena)) {
        route->verdict = ROUTE_OVER_QUOTA;
        route->reason = STR("The mailbox is full");
    }
    return 0;
}

static int resolve(struct str local, struct str domain, uint64_t size, struct arena *arena,
                   struct route *route, struct error *e)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct resolved resolved;
    struct buf name = BUF_INIT(ADDRESS_DOMAIN_MAX + 1);
    *route = (struct route){.verdict = ROUTE_UNKNOWN, .reason = STR("No such domain here")};
    int valid = domain.len ? domain_normalize(domain, &name) : 0;
    int result = valid < 0
                     ? 0
                     : directory_resolve(local, buf_str(&name), settings->smtp.recipient_delimiter,
                                         arena, &resolved, e);
    buf_free(&name);
    if (result < 0 || valid < 0)
        return result;
    route->reason = resolved.reason;
    switch (resolved.kind) {
    case RESOLVE_ACCOUNT:
        return account_verdict(&resolved.targets[0], size, arena, route, e);
    case RESOLVE_LIST:
        route->verdict = ROUTE_QUEUE;
        return 0;
    case RESOLVE_REMOTE:
        route->verdict = ROUTE_NOT_OURS;
        return 0;
    case RESOLVE_REFUSED:
        route->verdict = ROUTE_DISABLED;
        return 0;
    default:
        return 0;
    }
}

static int route_answer(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct route route;
    struct str local = ipc_get_str(request, 1024), domain = ipc_get_str(request, 1024);
    uint64_t size = ipc_get_u64(request);
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    if (!disk_has_room())
        return error_set(e, ERROR_FULL, "The server's disk is full");
    if (resolve(local, domain, size, &arena, &route, e) < 0)
        return -1;
    ipc_put_u32(reply, route.verdict);
    ipc_put_u64(reply, route.account);
    ipc_put_u64(reply, route.quota);
    ipc_put_str(reply, route.address);
    ipc_put_str(reply, route.detail);
    ipc_put_str(reply, route.reason);
    return 0;
}

void route_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_ROUTE_RECIPIENT, 1 << PROCESS_MX | 1 << PROCESS_COMMAND, route_answer},
    };
    ipc_serve(rows, countof(rows));
}
