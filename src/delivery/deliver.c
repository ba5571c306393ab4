/* deliver.c - one message into one account: the question and what box does. See deliver.h. */
#include "delivery/deliver.h"

#include <stdatomic.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "message/summary.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/account.h"
#include "store/trace.h"

enum { INBOX_ID = 1 };

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
    static _Atomic bool full;
    int64_t now = clock_monotonic_ms(), last = checked;
    if ((last && now - last < 1000) || !atomic_compare_exchange_strong(&checked, &last, now))
        return !full;
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct statvfs disk;
    if (statvfs(settings->server.data_directory.data, &disk) < 0)
        return !full;
    bool was = full;
    full = (uint64_t)disk.f_bavail * disk.f_frsize < settings->limits.free_space;
    if (full != was)
        log_event(LOG_WARNING, full ? "disk-full" : "disk-has-room", "free=%llu limit=%llu",
                  (unsigned long long)disk.f_bavail * disk.f_frsize,
                  (unsigned long long)settings->limits.free_space);
    return !full;
}

static _Atomic uint64_t delivered, repeated, failed;

void deliver_stats(struct deliver_stats *out)
{
    *out = (struct deliver_stats){delivered, repeated, failed};
}

struct delivery_job {
    const struct delivery *delivery;
    struct message_prepared *prepared;
    struct account_usage usage;
    uint64_t mailbox;
    uint32_t uid;
    bool to_detail, again;
};

/* The mailbox that a subaddress names (alice+lists -> "Lists"), else the Inbox. Not one with a special
 * use: no stranger puts a message into somebody's Sent or Drafts. */
static uint64_t target_mailbox(struct account_tx *tx, struct str detail)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox *list;
    size_t count;
    struct error ignored;
    if (detail.len == 0 || mailbox_list(tx, &arena, &list, &count, &ignored) < 0)
        return INBOX_ID;
    for (size_t i = 0; i < count; i++)
        if (!list[i].no_select && list[i].use == USE_NONE && str_equal_nocase(list[i].name, detail))
            return list[i].id;
    return INBOX_ID;
}

static int delivery_job(struct account_tx *tx, void *context, struct error *e)
{
    struct delivery_job *job = context;
    const struct delivery *d = job->delivery;
    uint64_t email;
    if (d->repeatable) {
        char key[2048];
        int len = snprintf(key, sizeof(key), STR_FMT "%c" STR_FMT, STR_ARG(d->recipient), '\n',
                           STR_ARG(d->detail));
        if (len < 0 || (size_t)len >= sizeof(key))
            return error_set(e, ERROR_INVALID, "The recipient is too long");
        if (delivery_note(tx, d->queue_id, str_of(key, (size_t)len), &job->again, e) < 0)
            return -1;
    }
    if (job->again)
        return 0;
    /* One accepted message may exceed the quota: what was promised at RCPT is kept. */
    account_usage(tx, &job->usage);
    if (d->quota && job->usage.bytes >= d->quota)
        return error_set(e, ERROR_QUOTA, "The mailbox is full");
    job->mailbox = job->to_detail ? target_mailbox(tx, d->detail) : INBOX_ID;
    if (message_append(tx, job->mailbox, job->prepared, &job->uid, &email, e) < 0)
        return -1;
    account_usage(tx, &job->usage);
    return 0;
}

static int job_commit(struct delivery_job *job, struct error *e)
{
    struct account *account CLEANUP(account_close) = NULL;
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    job->to_detail = settings->store.detail_to_mailbox;
    if (account_open(job->delivery->account, &account, e) < 0)
        return -1;
    return account_write(account, delivery_job, job, e);
}

/* From the mapped message to the durable commit. */
static int delivery_commit(const struct delivery *d, struct str message, struct error *e)
{
    struct delivery_job job = {.delivery = d};
    struct message_new new = {.data = message, .summary = d->summary, .received = d->received};
    if (!disk_has_room())
        return error_set(e, ERROR_FULL, "The server's disk is full");
    int result = message_prepare(&new, &job.prepared, e); /* opens the summary, too */
    if (result == 0)
        result = job_commit(&job, e);
    message_prepared_free(&job.prepared);
    if (result < 0) {
        failed++;
        log_event(e->class == ERROR_QUOTA ? LOG_INFO : LOG_WARNING, "deliver-failed",
                  "account=%llu class=%s error=%s cause=%s", (unsigned long long)d->account,
                  error_class_name(e->class), log_quote(str_from(e->text)),
                  log_quote(str_from(e->cause)));
        return -1;
    }
    (*(job.again ? &repeated : &delivered))++;
    if (job.again)
        log_event(LOG_INFO, "deliver-repeated", "account=%llu", (unsigned long long)d->account);
    else
        log_event(LOG_INFO, "deliver", "account=%llu mailbox=%llu uid=%u size=%zu",
                  (unsigned long long)d->account, (unsigned long long)job.mailbox, job.uid,
                  message.len);
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
    d.summary = ipc_get_blob(request, DELIVERY_SUMMARY_MAX);
    struct str message;
    if (ipc_get_end(request) < 0 || d.account == 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    if (memfd_map(fd, DELIVERY_MESSAGE_MAX, &message) < 0)
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
