/* queue.c - queue.db: taking messages in, listing them. See queue.h; runner.c takes them out. */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "delivery/deliver.h"
#include "message/address.h"
#include "queue/queue_private.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/content.h"
#include "store/directory.h"
#include "store/trace.h"

enum { RECIPIENTS_MAX = 100000, SUMMARY_MAX = 2 * 1024 * 1024 };

struct queue_db queue_db = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const struct db_step schema[] = {
    {.sql = "CREATE TABLE message (id INTEGER PRIMARY KEY, queue_id TEXT NOT NULL UNIQUE,"
            " reverse_path TEXT NOT NULL, received INTEGER NOT NULL, flags INTEGER NOT NULL,"
            " origin TEXT NOT NULL, size INTEGER NOT NULL, summary BLOB NOT NULL);"
            "CREATE TABLE chunk (message INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,"
            " PRIMARY KEY (message, number));"
            "CREATE TABLE recipient (id INTEGER PRIMARY KEY, message INTEGER NOT NULL,"
            " recipient TEXT NOT NULL, account INTEGER NOT NULL, target TEXT NOT NULL,"
            " detail TEXT NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL,"
            " due INTEGER NOT NULL, reason TEXT NOT NULL);"
            "CREATE INDEX recipient_message ON recipient (message);"
            "CREATE INDEX recipient_due ON recipient (due) WHERE state = 0;"},
};

/* ------------------------------------------------------------------ accepting: mx's side */

int queue_accept(const struct queue_message *m, struct error *e)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    struct buf recipients = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < m->recipient_count; i++) {
        buf_add(&recipients, m->recipients[i].address);
        buf_add_char(&recipients, '\0');
    }
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
    buf_free(&recipients);
    return ipc_call(PROCESS_CORE, 0, IPC_QUEUE_ACCEPT, &request, 0, &reply, e);
}

/* ------------------------------------------------------------------ accepting: core's side */

/* One delivery to make. */
struct target {
    struct str recipient, address, detail;
    uint64_t account;
    enum queue_state state;
};

struct acceptance {
    struct queue_message message;
    struct str content;
    struct arena arena;
    struct target *targets;
    size_t target_count;
};

static bool target_known(const struct acceptance *a, const struct resolved_target *t)
{
    for (size_t i = 0; i < a->target_count; i++)
        if (t->account ? a->targets[i].account == t->account
                       : !a->targets[i].account && str_equal_nocase(a->targets[i].address, t->address))
            return true;
    return false;
}

/* Expands a recipient as the directory has it now. One who vanished since RCPT is kept, held, so that
 * the mail is not lost: the operator sees it. */
static int recipient_expand(struct acceptance *a, struct str text, struct error *e)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct address address = {.local = text};
    struct resolved resolved;
    struct buf domain = BUF_INIT(ADDRESS_DOMAIN_MAX + 1);
    if (str_has_char(text, '@') && address_parse(text, &a->arena, &address) < 0)
        return error_set(e, ERROR_INVALID, "A recipient was not understood");
    if (address.domain.len && domain_normalize(address.domain, &domain) < 0) {
        buf_free(&domain);
        return error_set(e, ERROR_INVALID, "A recipient's domain was not understood");
    }
    struct str name = arena_copy(&a->arena, buf_str(&domain));
    buf_free(&domain);
    if (directory_resolve(address.local, name, settings->smtp.recipient_delimiter, &a->arena, &resolved, e) < 0)
        return -1;
    for (size_t i = 0; i < resolved.target_count; i++) {
        const struct resolved_target *t = &resolved.targets[i];
        if (target_known(a, t))
            continue;
        *ARENA_PUSH(&a->arena, a->targets, a->target_count) =
            (struct target){.recipient = text,
                            .address = t->address,
                            .detail = t->detail,
                            .account = t->account,
                            .state = t->account ? QUEUE_WAITING : QUEUE_REMOTE};
    }
    if (resolved.target_count == 0)
        *ARENA_PUSH(&a->arena, a->targets, a->target_count) =
            (struct target){.recipient = text, .address = text, .state = QUEUE_HELD};
    return 0;
}

static void targets_insert(struct db *db, int64_t message, const struct acceptance *a)
{
    for (size_t i = 0; i < a->target_count; i++) {
        const struct target *t = &a->targets[i];
        struct db_query *q = db_query(db, "INSERT INTO recipient (message, recipient, account, target, detail, state,"
                                          " attempts, due, reason) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)");
        db_bind_i64(q, 1, message);
        db_bind_text(q, 2, t->recipient);
        db_bind_i64(q, 3, (int64_t)t->account);
        db_bind_text(q, 4, t->address);
        db_bind_text(q, 5, t->detail);
        db_bind_i64(q, 6, t->state);
        db_bind_i64(q, 7, clock_real_milliseconds());
        db_bind_text(q, 8, t->state == QUEUE_HELD ? STR("nobody has this address any more") : STR(""));
        db_run(q);
    }
}

static int acceptance_commit(struct acceptance *a, struct error *e)
{
    const struct queue_message *m = &a->message;
    VEC(struct buf) chunks = VEC_INIT;
    struct str rest = a->content;
    do { /* compressed before the lock is taken */
        struct buf chunk = BUF_INIT(BUF_UNBOUNDED);
        content_pack(str_slice(rest, 0, CHUNK_SIZE), false, &chunk);
        VEC_ADD(&chunks, chunk);
        rest = str_from_pos(rest, CHUNK_SIZE);
    } while (rest.len);
    pthread_mutex_lock(&queue_db.lock);
    struct db *db = queue_db.db;
    int result = db_begin(db, true, e);
    if (result == 0) {
        struct db_query *q = db_query(db, "INSERT OR IGNORE INTO message (queue_id, reverse_path, received, flags,"
                                          " origin, size, summary) VALUES (?, ?, ?, ?, ?, ?, ?)");
        db_bind_text(q, 1, m->id);
        db_bind_text(q, 2, m->reverse_path);
        db_bind_i64(q, 3, m->received);
        db_bind_i64(q, 4, m->smtp_utf8 | m->eight_bit << 1);
        db_bind_text(q, 5, m->origin);
        db_bind_i64(q, 6, (int64_t)m->message_size);
        db_bind_blob(q, 7, m->summary);
        db_run(q);
        bool new = db_changes(db) > 0; /* a repeat does nothing */
        int64_t id = db_last_rowid(db);
        for (size_t i = 0; new && i < chunks.len; i++) {
            q = db_query(db, "INSERT INTO chunk VALUES (?, ?, ?)");
            db_bind_i64(q, 1, id);
            db_bind_i64(q, 2, (int64_t)i);
            db_bind_blob(q, 3, buf_str(&chunks.items[i]));
            db_run(q);
        }
        if (new)
            targets_insert(db, id, a);
        result = db_commit(db, e);
    }
    pthread_mutex_unlock(&queue_db.lock);
    for (size_t i = 0; i < chunks.len; i++)
        buf_free(&chunks.items[i]);
    VEC_FREE(&chunks);
    return result;
}

static int accept_parse(struct ipc_in *request, struct acceptance *a, int *fd, struct error *e)
{
    struct queue_message *m = &a->message;
    m->id = ipc_get_str(request, 64);
    m->reverse_path = ipc_get_str(request, 1024);
    m->smtp_utf8 = ipc_get_bool(request);
    m->eight_bit = ipc_get_bool(request);
    m->received = ipc_get_i64(request);
    m->origin = ipc_get_str(request, 256);
    m->message_size = ipc_get_u64(request);
    *fd = ipc_get_fd(request);
    m->summary = ipc_get_blob(request, SUMMARY_MAX);
    struct str recipients = ipc_get_blob(request, RECIPIENTS_MAX * 400), one;
    if (ipc_get_end(request) < 0 || memfd_map(*fd, SIZE_MAX, &a->content) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    if (a->content.len != m->message_size)
        return error_set(e, ERROR_INVALID, "The message was not handed over properly");
    if (!disk_has_room())
        return error_set(e, ERROR_FULL, "The server's disk is full");
    for (size_t n = 0; recipients.len && str_next_part(&recipients, '\0', &one) && n < RECIPIENTS_MAX; n++)
        if (one.len && recipient_expand(a, one, e) < 0)
            return -1;
    return a->target_count ? 0 : error_set(e, ERROR_INVALID, "The message has no recipient");
}

static int accept_answer(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    struct acceptance a = {.arena = ARENA_INIT};
    int fd CLEANUP(fd_close) = -1;
    int result = accept_parse(request, &a, &fd, e);
    if (result == 0)
        result = acceptance_commit(&a, e);
    if (result == 0) {
        for (size_t i = 0; i < a.target_count; i++) {
            static const char *const states[] = {"state=waiting", "state=held", "state=remote"};
            struct trace_event event = {.queue_id = a.message.id,
                                        .event = STR("queue"),
                                        .recipient = arena_lower(&a.arena, a.targets[i].recipient),
                                        .detail = arena_printf(&a.arena, "%s target=" STR_FMT, states[a.targets[i].state],
                                                               STR_ARG(a.targets[i].address))};
            trace_send(&event);
        }
        runner_wake();
    }
    memfd_unmap(&a.content);
    arena_free(&a.arena);
    return result;
}

/* ------------------------------------------------------------------ start, stop, lists */

int queue_start(const char *data_directory, struct error *e)
{
    static const struct ipc_service rows[] = {
        {IPC_QUEUE_ACCEPT, 1 << PROCESS_MX | 1 << PROCESS_COMMAND, accept_answer},
    };
    char path[512];
    snprintf(path, sizeof(path), "%s/queue.db", data_directory);
    struct db_options options = {.path = path, .create = true, .durable = true, .cache_kb = 2048,
                                 .checkpoint_pages = 1000};
    if (db_open(&options, &queue_db.db, e) < 0 || db_migrate(queue_db.db, schema, countof(schema), e) < 0)
        return -1;
    ipc_serve(rows, countof(rows));
    return runner_start(e);
}

void queue_stop(void)
{
    runner_stop();
    pthread_mutex_lock(&queue_db.lock);
    db_close(&queue_db.db);
    pthread_mutex_unlock(&queue_db.lock);
}

int queue_list(struct str after, size_t limit, struct arena *arena, struct queue_entry **out, size_t *count,
               struct error *e)
{
    static const char *const states[] = {"waiting", "held", "remote"};
    *out = NULL;
    *count = 0;
    pthread_mutex_lock(&queue_db.lock);
    struct db_query *q = db_query(queue_db.db, "SELECT m.queue_id, m.reverse_path, r.recipient, r.target, r.state,"
                                               " r.reason, m.size, m.received, r.due, r.attempts FROM message m"
                                               " JOIN recipient r ON r.message=m.id WHERE m.queue_id>?"
                                               " ORDER BY m.queue_id, r.id LIMIT ?");
    db_bind_text(q, 1, after);
    db_bind_i64(q, 2, (int64_t)limit);
    while (db_step(q) == 1) {
        struct queue_entry *entry = ARENA_PUSH(arena, *out, *count);
        *entry = (struct queue_entry){.id = arena_copy(arena, db_column_str(q, 0)),
                                      .reverse_path = arena_copy(arena, db_column_str(q, 1)),
                                      .recipient = arena_copy(arena, db_column_str(q, 2)),
                                      .target = arena_copy(arena, db_column_str(q, 3)),
                                      .state = str_from(states[MIN((size_t)db_column_i64(q, 4), countof(states) - 1)]),
                                      .reason = arena_copy(arena, db_column_str(q, 5)),
                                      .size = (uint64_t)db_column_i64(q, 6),
                                      .received = db_column_i64(q, 7),
                                      .next_attempt = db_column_i64(q, 8) / 1000,
                                      .attempts = (uint32_t)db_column_i64(q, 9)};
    }
    db_done(q);
    int result = db_error(queue_db.db, e);
    pthread_mutex_unlock(&queue_db.lock);
    return result;
}

int queue_counts(uint64_t *messages, uint64_t *recipients, uint64_t *bytes, struct error *e)
{
    pthread_mutex_lock(&queue_db.lock);
    struct db_query *q = db_query(queue_db.db, "SELECT count(*), coalesce(sum(size), 0),"
                                               " (SELECT count(*) FROM recipient) FROM message");
    if (db_step(q) == 1) {
        *messages = (uint64_t)db_column_i64(q, 0);
        *bytes = (uint64_t)db_column_i64(q, 1);
        *recipients = (uint64_t)db_column_i64(q, 2);
    }
    db_done(q);
    int result = db_error(queue_db.db, e);
    pthread_mutex_unlock(&queue_db.lock);
    return result;
}
