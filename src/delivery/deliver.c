/* deliver.c - one message into one account: the question and what box does. See deliver.h. */
#include "delivery/deliver.h"

#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "delivery/usage.h"
#include "message/summary.h"
#include "run/ipc.h"
#include "run/process.h"
#include "run/settings.h"
#include "store/account.h"
#include "store/trace.h"

enum { INBOX_ID = 1, SUMMARY_MAX = 2 * 1024 * 1024 };

int deliver(const struct delivery *d, struct error *e)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    ipc_put_u64(&request, d->account);
    ipc_put_u64(&request, d->quota);
    ipc_put_str(&request, d->queue_id);
    ipc_put_str(&request, d->recipient);
    ipc_put_str(&request, d->reverse_path);
    ipc_put_str(&request, d->detail);
    ipc_put_bool(&request, d->repeatable);
    ipc_put_i64(&request, d->received);
    ipc_put_u64(&request, d->message_size);
    ipc_put_fd(&request, d->message_fd, false);
    ipc_put_blob(&request, d->summary);
    unsigned index = (unsigned)(d->account % ipc_peer_count(PROCESS_BOX));
    if (ipc_call(PROCESS_BOX, index, IPC_DELIVER, &request, 0, &reply, e) < 0)
        return -1;
    return 0;
}

/* ------------------------------------------------------------------ box */

bool disk_has_room(void)
{
    static _Atomic int64_t checked;
    static _Atomic bool room = true;
    int64_t now = clock_monotonic_ms();
    if (checked && now - checked < 1000)
        return room;
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct statvfs disk;
    checked = now;
    if (statvfs(process_data_directory(), &disk) == 0)
        room = (uint64_t)disk.f_bavail * disk.f_frsize >= settings->limits.free_space;
    return room;
}

struct delivery_job {
    const struct delivery *delivery;
    struct message_prepared *prepared;
    struct account_usage usage;
    uint32_t uid;
    bool again;
};

/* The mailbox that a subaddress names (alice+lists -> "lists", in any case), else the Inbox. */
static uint64_t target_mailbox(struct account_tx *tx, struct str detail)
{
    uint64_t found = INBOX_ID;
    if (detail.len == 0)
        return found;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox *list;
    size_t count;
    if (mailbox_list(tx, &arena, &list, &count, NULL) < 0)
        return found;
    for (size_t i = 0; i < count; i++)
        if (!list[i].no_select && str_equal_nocase(list[i].name, detail))
            found = list[i].id;
    return found;
}

static int delivery_job(struct account_tx *tx, void *context, struct error *e)
{
    struct delivery_job *job = context;
    const struct delivery *d = job->delivery;
    uint64_t email;
    if (d->repeatable && delivery_note(tx, d->queue_id, d->recipient, &job->again, e) < 0)
        return -1;
    if (job->again)
        return 0;
    /* One accepted message may exceed the quota: what was promised at RCPT is kept. */
    account_usage(tx, &job->usage);
    if (d->quota && job->usage.bytes >= d->quota)
        return error_set(e, ERROR_QUOTA, "The mailbox is full");
    if (message_append(tx, target_mailbox(tx, d->detail), job->prepared, &job->uid, &email, e) < 0)
        return -1;
    account_usage(tx, &job->usage);
    return 0;
}

/* From the mapped message to the durable commit. */
static int delivery_commit(const struct delivery *d, struct str message, struct error *e)
{
    struct delivery_job job = {.delivery = d};
    struct account *account CLEANUP(account_close) = NULL;
    struct message_new new = {.data = message, .summary = d->summary, .received = d->received};
    if (!disk_has_room())
        return error_set(e, ERROR_FULL, "The server's disk is full");
    if (message_prepare(&new, &job.prepared, e) < 0)
        return -1;
    int result = account_open(d->account, &account, e);
    if (result == 0)
        result = account_write(account, delivery_job, &job, e);
    message_prepared_free(&job.prepared);
    if (result < 0) {
        log_event(e->class == ERROR_QUOTA ? LOG_INFO : LOG_WARNING, "deliver-failed",
                  "account=%llu class=%s error=%s cause=%s", (unsigned long long)d->account,
                  error_class_name(e->class), log_quote(str_from(e->text)), log_quote(str_from(e->cause)));
        return -1;
    }
    if (!job.again)
        usage_note(d->account, &job.usage);
    log_event(LOG_INFO, "deliver", "account=%llu uid=%u size=%zu%s", (unsigned long long)d->account,
              job.uid, message.len, job.again ? " repeat=yes" : "");
    return 0;
}

static int deliver_answer(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    struct delivery d = {.account = ipc_get_u64(request), .quota = ipc_get_u64(request)};
    d.queue_id = ipc_get_str(request, 64);
    d.recipient = ipc_get_str(request, 1024);
    d.reverse_path = ipc_get_str(request, 1024);
    d.detail = ipc_get_str(request, 256);
    d.repeatable = ipc_get_bool(request);
    d.received = ipc_get_i64(request);
    d.message_size = ipc_get_u64(request);
    int fd CLEANUP(fd_close) = ipc_get_fd(request);
    d.summary = ipc_get_blob(request, SUMMARY_MAX);
    struct str message;
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    if (memfd_map(fd, SIZE_MAX, &message) < 0)
        return error_set(e, ERROR_INVALID, "The message was not handed over properly");
    log_set_context("queue-id=" STR_FMT, STR_ARG(d.queue_id));
    int result = message.len == d.message_size
                     ? delivery_commit(&d, message, e)
                     : error_set(e, ERROR_INVALID, "The message was not handed over properly");
    log_clear_context();
    memfd_unmap(&message);
    return result;
}

void deliver_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_DELIVER, 1 << PROCESS_MX | 1 << PROCESS_CORE | 1 << PROCESS_COMMAND, deliver_answer},
    };
    ipc_serve(rows, countof(rows));
}
