/* box.c - the hooks of process box.
 *
 * Everything is opened after the sandbox has closed: Landlock binds the threads that are made later, and
 * the store has some of its own.
 */
#include "process/box.h"

#include "auth/attach.h"
#include "delivery/control.h"
#include "delivery/deliver.h"
#include "delivery/usage.h"
#include "imap/session.h"
#include "pop3/session.h"
#include "run/process.h"
#include "run/settings.h"
#include "store/account.h"
#include "store/search.h"

int box_start(struct error *e)
{
    static attach_handler *handlers[ATTACH_PROTOCOL_COUNT] = {
        [ATTACH_IMAP] = imap_session_start, [ATTACH_POP3] = pop3_session_start};
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    if (usage_start(e) < 0 ||
        accounts_init(process_data_directory(), settings->store.open_bytes, e) < 0 ||
        search_start(disk_has_room, e) < 0)
        return -1;
    deliver_serve();
    account_control_serve();
    session_attach_serve(handlers);
    return 0;
}

void box_stop(void)
{
    usage_stop();
    search_stop();
    accounts_shutdown();
}

void box_status(struct buf *json)
{
    struct deliver_stats s;
    deliver_stats(&s);
    buf_printf(json, "\"delivered\": %llu, \"repeated\": %llu, \"failed\": %llu,",
               (unsigned long long)s.delivered, (unsigned long long)s.repeated,
               (unsigned long long)s.failed);
}
