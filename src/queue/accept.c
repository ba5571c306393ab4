/* accept.c - taking a message into the queue: mx's question, and what core does. See queue.h. */
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "delivery/deliver.h"
#include "message/address.h"
#include "message/summary.h"
#include "queue/queue_private.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/content.h"
#include "store/directory.h"
#include "store/trace.h"

enum { TRACED_TARGETS = 200, TEXT_MAX = 1024, RECIPIENTS_BYTES = 64 * 1024 * 1024 };

/* ------------------------------------------------------------------ mx's side */

/* Recipients travel as one blob of fields: address, original, notify, one after the other. */
static void recipients_put(struct buf *out, const struct queue_message *m)
{
    for (size_t i = 0; i < m->recipient_count; i++) {
        const struct queue_recipient *r = &m->recipients[i];
        buf_add(out, r->address);
        buf_add_char(out, '\0');
        buf_add(out, r->original);
        buf_add_char(out, '\0');
        buf_add_u64(out, r->notify);
        buf_add_char(out, '\0');
    }
}

int queue_accept(const struct queue_message *m, struct error *e)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    struct buf recipients CLEANUP(buf_free) = BUF_INIT(RECIPIENTS_BYTES);
    recipients_put(&recipients, m);
    if (recipients.failed)
        return error_set(e, ERROR_LIMIT, "Too many recipients");
    ipc_put_str(&request, m->id);
    ipc_put_str(&request, m->reverse_path);
    ipc_put_bool(&request, m->smtp_utf8);
    ipc_put_bool(&request, m->eight_bit);
    ipc_put_i64(&request, m->received);
    ipc_put_str(&request, m->origin);
    ipc_put_u64(&request, m->message_size);
    ipc_put_fd(&request, m->message_fd, false);
    ipc_put_blob(&request, m->summary);
    ipc_put_blob(&request, buf_str(&recipients));
    return ipc_call(PROCESS_CORE, 0, IPC_QUEUE_ACCEPT, &request, 0, &reply, e);
}

/* ------------------------------------------------------------------ core's side */

/* One delivery to make. */
struct target {
    struct queue_recipient recipient;
    struct str address, detail;
    uint64_t account;
    enum queue_state state;
};

struct acceptance {
    struct queue_message message;
    const struct settings *settings;
    struct str content;
    struct str recipients; /* as they came */
    bool may_relay;        /* the caller has checked that the client may send to others */
    struct arena arena;
    struct target *targets;
    size_t target_count;
    size_t *buckets; /* 1 + index of a target; 0 = free; a power of two, at most half full */
    size_t bucket_count;
    VEC(struct buf) chunks;
};

static uint64_t target_hash(const struct target *t)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ t->account * UINT64_C(0x9E3779B97F4A7C15);
    struct str text = t->account ? t->detail : t->address;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)ascii_lower(text.data[i])) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

static bool target_same(const struct target *a, const struct target *b)
{
    if (a->account != b->account)
        return false;
    return a->account ? str_equal_nocase(a->detail, b->detail)
                      : str_equal_nocase(a->address, b->address);
}

static size_t *bucket_find(const struct acceptance *a, const struct target *t)
{
    size_t at = (size_t)target_hash(t) & (a->bucket_count - 1);
    while (a->buckets[at] && !target_same(&a->targets[a->buckets[at] - 1], t))
        at = (at + 1) & (a->bucket_count - 1);
    return &a->buckets[at];
}

static void buckets_grow(struct acceptance *a)
{
    a->bucket_count = MAX(a->bucket_count * 4, (size_t)64);
    a->buckets = arena_alloc_array(&a->arena, a->bucket_count, sizeof(*a->buckets));
    for (size_t i = 0; i < a->target_count; i++)
        *bucket_find(a, &a->targets[i]) = i + 1;
}

/* Adds a target unless an earlier recipient led to the same. */
static int target_add(struct acceptance *a, const struct target *t, struct error *e)
{
    if (2 * (a->target_count + 1) > a->bucket_count)
        buckets_grow(a);
    size_t *bucket = bucket_find(a, t);
    if (*bucket)
        return 0;
    if (a->target_count >= QUEUE_TARGETS_MAX)
        return error_set(e, ERROR_LIMIT, "The recipients stand for too many addresses");
    *ARENA_PUSH(&a->arena, a->targets, a->target_count) = *t;
    *bucket = a->target_count;
    return 0;
}

static int recipient_parse(struct acceptance *a, struct str text, struct address *out,
                           struct error *e)
{
    *out = (struct address){.local = text}; /* "postmaster" alone, RFC 5321 §4.1.1.3 */
    if (str_has_char(text, '@') && address_parse(text, &a->arena, out) < 0)
        return error_set(e, ERROR_INVALID, "A recipient was not understood");
    if (!out->domain.len)
        return 0;
    struct buf domain CLEANUP(buf_free) = BUF_INIT(ADDRESS_DOMAIN_MAX + 1);
    if (domain_normalize(out->domain, &domain) < 0)
        return error_set(e, ERROR_INVALID, "A recipient's domain was not understood");
    out->domain = arena_copy(&a->arena, buf_str(&domain));
    return 0;
}

/* Expands a recipient as the directory has it now. One who has vanished since RCPT is kept, held, so
 * that the mail is not lost: the operator sees it. */
static int recipient_expand(struct acceptance *a, const struct queue_recipient *r, struct error *e)
{
    struct address address;
    struct resolved resolved;
    struct target t = {.recipient = *r, .address = r->address, .state = QUEUE_HELD};
    if (recipient_parse(a, r->address, &address, e) < 0 ||
        directory_resolve(address.local, address.domain, a->settings->smtp.recipient_delimiter,
                          &a->arena, &resolved, e) < 0)
        return -1;
    if (resolved.kind == RESOLVE_REMOTE)
        t.state = a->may_relay ? QUEUE_REMOTE : QUEUE_HELD;
    if (resolved.target_count == 0)
        return target_add(a, &t, e);
    for (size_t i = 0; i < resolved.target_count; i++) {
        const struct resolved_target *to = &resolved.targets[i];
        t.account = to->account;
        t.address = to->address;
        t.detail = to->detail;
        t.state = to->account ? QUEUE_WAITING : QUEUE_REMOTE;
        if (target_add(a, &t, e) < 0)
            return -1;
    }
    return 0;
}

static int recipients_expand(struct acceptance *a, struct error *e)
{
    struct str rest = a->recipients, notify;
    while (rest.len) {
        struct queue_recipient r;
        if (!str_next_part(&rest, '\0', &r.address) || !str_next_part(&rest, '\0', &r.original) ||
            !str_next_part(&rest, '\0', &notify) || str_to_u32(notify, UINT32_MAX, &r.notify) < 0 ||
            r.address.len == 0 || r.address.len > TEXT_MAX || r.original.len > TEXT_MAX)
            return error_set(e, ERROR_INVALID, "The request was not understood");
        if (recipient_expand(a, &r, e) < 0)
            return -1;
    }
    return a->target_count ? 0 : error_set(e, ERROR_INVALID, "The message has no recipient");
}

static void targets_insert(struct db *db, int64_t message, const struct acceptance *a)
{
    int64_t now = clock_real_milliseconds();
    for (size_t i = 0; i < a->target_count; i++) {
        const struct target *t = &a->targets[i];
        struct db_query *q =
            db_query(db, "INSERT INTO recipient (message, recipient, original, notify,"
                         " account, target, detail, state, attempts, due, reason)"
                         " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)");
        db_bind_i64(q, 1, message);
        db_bind_text(q, 2, t->recipient.address);
        db_bind_text(q, 3, t->recipient.original);
        db_bind_i64(q, 4, t->recipient.notify);
        db_bind_i64(q, 5, (int64_t)t->account);
        db_bind_text(q, 6, t->address);
        db_bind_text(q, 7, t->detail);
        db_bind_i64(q, 8, t->state);
        db_bind_i64(q, 9, now);
        db_bind_text(q, 10,
                     t->state == QUEUE_HELD ? STR("Nobody has this address any more") : STR(""));
        db_run(q);
    }
}

static int acceptance_write(struct db *db, void *context, struct error *e)
{
    const struct acceptance *a = context;
    const struct queue_message *m = &a->message;
    struct db_query *q =
        db_query(db, "INSERT OR IGNORE INTO message (queue_id, reverse_path, received,"
                     " flags, origin, size) VALUES (?, ?, ?, ?, ?, ?)");
    db_bind_text(q, 1, m->id);
    db_bind_text(q, 2, m->reverse_path);
    db_bind_i64(q, 3, m->received);
    db_bind_i64(q, 4, (m->smtp_utf8 ? 1 : 0) | (m->eight_bit ? 2 : 0));
    db_bind_text(q, 5, m->origin);
    db_bind_i64(q, 6, (int64_t)m->message_size);
    db_run(q);
    if (db_changes(db) == 0) /* a repeat does nothing */
        return db_error(db, e);
    int64_t id = db_last_rowid(db);
    for (size_t i = 0; i <= a->chunks.len; i++) {
        q = db_query(db, "INSERT INTO content VALUES (?, ?, ?)");
        db_bind_i64(q, 1, id);
        db_bind_i64(q, 2, (int64_t)i);
        db_bind_blob(q, 3, i == 0 ? m->summary : buf_str(&a->chunks.items[i - 1]));
        db_run(q);
    }
    targets_insert(db, id, a);
    return db_error(db, e);
}

/* Before the transaction, so that it is short. */
static void content_prepare(struct acceptance *a)
{
    struct str rest = a->content;
    do {
        struct buf chunk = BUF_INIT(BUF_UNBOUNDED);
        content_pack(str_slice(rest, 0, CHUNK_SIZE), false, &chunk);
        VEC_ADD(&a->chunks, chunk);
        rest = str_from_pos(rest, CHUNK_SIZE);
    } while (rest.len);
}

static int acceptance_commit(struct acceptance *a, struct error *e)
{
    struct summary summary;
    if (a->content.len != a->message.message_size ||
        summary_open(&summary, a->message.summary) < 0 || summary.message_size != a->content.len)
        return error_set(e, ERROR_INVALID, "The message was not handed over properly");
    if (!disk_has_room())
        return error_set(e, ERROR_FULL, "The server's disk is full");
    if (recipients_expand(a, e) < 0)
        return -1;
    content_prepare(a);
    int result = queue_write(acceptance_write, a, e);
    for (size_t i = 0; i < a->chunks.len; i++)
        buf_free(&a->chunks.items[i]);
    VEC_FREE(&a->chunks);
    return result;
}

static void acceptance_tell(struct acceptance *a)
{
    const struct queue_message *m = &a->message;
    log_event(LOG_INFO, "queue-accept", "queue-id=" STR_FMT " size=%zu targets=%zu", STR_ARG(m->id),
              a->content.len, a->target_count);
    for (size_t i = 0; i < MIN(a->target_count, (size_t)TRACED_TARGETS); i++) {
        const struct target *t = &a->targets[i];
        struct str state = queue_state_name(t->state);
        struct trace_event event = {.queue_id = m->id, .event = STR("queue")};
        event.recipient = arena_lower(&a->arena, t->recipient.address);
        event.detail = arena_printf(&a->arena, "state=" STR_FMT " target=" STR_FMT, STR_ARG(state),
                                    STR_ARG(t->address));
        trace_send(&event);
        if (!str_equal_nocase(t->address, t->recipient.address)) { /* found by where it goes, too */
            event.event = STR("expand");
            event.recipient = arena_lower(&a->arena, t->address);
            event.detail = arena_printf(&a->arena, "from=" STR_FMT, STR_ARG(t->recipient.address));
            trace_send(&event);
        }
    }
}

static int accept_answer(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    struct acceptance a = {.arena = ARENA_INIT};
    struct queue_message *m = &a.message;
    m->id = ipc_get_str(request, 64);
    m->reverse_path = ipc_get_str(request, TEXT_MAX);
    m->smtp_utf8 = ipc_get_bool(request);
    m->eight_bit = ipc_get_bool(request);
    m->received = ipc_get_i64(request);
    m->origin = ipc_get_str(request, TEXT_MAX);
    m->message_size = ipc_get_u64(request);
    int fd CLEANUP(fd_close) = ipc_get_fd(request);
    m->summary = ipc_get_blob(request, DELIVERY_SUMMARY_MAX);
    a.recipients = ipc_get_blob(request, RECIPIENTS_BYTES);
    if (ipc_get_end(request) < 0 || m->id.len == 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    if (memfd_map(fd, DELIVERY_MESSAGE_MAX, &a.content) < 0)
        return error_set(e, ERROR_INVALID, "The message was not handed over properly");
    a.settings = settings_ref();
    /* Who has not logged in (mx's clients) sends to our own only; an alias may lead elsewhere. */
    a.may_relay = request->caller != PROCESS_MX;
    int result = acceptance_commit(&a, e);
    if (result == 0) {
        acceptance_tell(&a);
        runner_wake();
    }
    settings_unref(&a.settings);
    memfd_unmap(&a.content);
    arena_free(&a.arena);
    return result;
}

void accept_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_QUEUE_ACCEPT, 1 << PROCESS_MX | 1 << PROCESS_COMMAND, accept_answer},
    };
    ipc_serve(rows, countof(rows));
}
