/* trace.c - trace.db: what happened to each message. See trace.h. */
#include "store/trace.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "run/ipc.h"
#include "run/process.h"
#include "store/db.h"

enum { PENDING_MAX = 20000, BATCH_MS = 500, PRUNE_EVERY_MS = 600 * 1000, FIELDS = 8, FIELD_MAX = 1000 };

static const struct db_step schema[] = {
    {.sql = "CREATE TABLE event (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, queue_id TEXT NOT NULL,"
            " event TEXT NOT NULL, peer TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,"
            " message_id TEXT NOT NULL, reply TEXT NOT NULL, detail TEXT NOT NULL);"
            "CREATE INDEX event_queue_id ON event (queue_id);"
            "CREATE INDEX event_sender ON event (sender) WHERE sender <> '';"
            "CREATE INDEX event_recipient ON event (recipient) WHERE recipient <> '';"
            "CREATE INDEX event_message_id ON event (message_id) WHERE message_id <> '';"
            "CREATE INDEX event_time ON event (time);"},
};

/* An event that waits to be written: time and the fields, one behind the other with their lengths. */
struct pending {
    int64_t time_ms;
    struct buf text;
    uint16_t lengths[FIELDS];
};

static struct {
    pthread_mutex_t lock; /* of the list */
    pthread_cond_t wake;
    pthread_mutex_t db_lock;
    pthread_t writer;
    struct db *db;
    VEC(struct pending) list;
    uint64_t dropped;
    uint64_t max_age_ms;
    bool running, stopping;
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
           .db_lock = PTHREAD_MUTEX_INITIALIZER};

static void fields_of(const struct trace_event *event, struct str out[static FIELDS])
{
    const struct str fields[FIELDS] = {event->queue_id, event->event,  event->peer,  event->sender,
                                       event->recipient, event->message_id, event->reply, event->detail};
    memcpy(out, fields, sizeof(fields));
}

/* ------------------------------------------------------------------ core */

static void trace_add(const struct trace_event *event)
{
    struct str fields[FIELDS];
    struct pending p = {.time_ms = event->time_ms ? event->time_ms : clock_real_milliseconds(),
                        .text = BUF_INIT(FIELDS * FIELD_MAX)};
    fields_of(event, fields);
    for (size_t i = 0; i < FIELDS; i++) {
        struct str field = str_slice(fields[i], 0, FIELD_MAX);
        buf_add(&p.text, field);
        p.lengths[i] = (uint16_t)field.len;
    }
    pthread_mutex_lock(&trace.lock);
    if (!trace.running || trace.list.len >= PENDING_MAX) {
        trace.dropped++;
        buf_free(&p.text);
    } else {
        VEC_ADD(&trace.list, p);
    }
    pthread_mutex_unlock(&trace.lock);
}

static void pending_write(const struct pending *p)
{
    struct db_query *q = db_query(trace.db, "INSERT INTO event (time, queue_id, event, peer, sender, recipient,"
                                            " message_id, reply, detail) VALUES (?,?,?,?,?,?,?,?,?)");
    size_t at = 0;
    db_bind_i64(q, 1, p->time_ms);
    for (int i = 0; i < FIELDS; i++) {
        db_bind_text(q, i + 2, str_slice(buf_str(&p->text), at, p->lengths[i]));
        at += p->lengths[i];
    }
    db_run(q);
}

static void trace_flush(void)
{
    pthread_mutex_lock(&trace.lock);
    __typeof__(trace.list) list = trace.list;
    trace.list.items = NULL;
    trace.list.len = trace.list.capacity = 0;
    uint64_t dropped = trace.dropped;
    trace.dropped = 0;
    pthread_mutex_unlock(&trace.lock);
    struct error e;
    pthread_mutex_lock(&trace.db_lock);
    if (list.len && db_begin(trace.db, true, &e) == 0) {
        for (size_t i = 0; i < list.len; i++)
            pending_write(&list.items[i]);
        if (db_commit(trace.db, &e) < 0)
            dropped += list.len;
    }
    pthread_mutex_unlock(&trace.db_lock);
    for (size_t i = 0; i < list.len; i++)
        buf_free(&list.items[i].text);
    VEC_FREE(&list);
    if (dropped)
        log_event(LOG_WARNING, "trace-dropped", "events=%llu", (unsigned long long)dropped);
}

static void trace_prune(void)
{
    pthread_mutex_lock(&trace.db_lock);
    struct db_query *q = db_query(trace.db, "DELETE FROM event WHERE time<?");
    db_bind_i64(q, 1, clock_real_milliseconds() - (int64_t)trace.max_age_ms);
    db_run(q);
    db_error(trace.db, NULL);
    pthread_mutex_unlock(&trace.db_lock);
}

static void *writer_main(void *unused UNUSED)
{
    int64_t pruned = 0;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += BATCH_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&trace.lock);
        if (!trace.stopping)
            pthread_cond_timedwait(&trace.wake, &trace.lock, &until);
        bool stop = trace.stopping;
        pthread_mutex_unlock(&trace.lock);
        trace_flush();
        if (stop)
            return NULL;
        int64_t now = clock_monotonic_ms();
        if (!pruned || now - pruned > PRUNE_EVERY_MS) {
            trace_prune();
            pruned = now;
        }
    }
}

int trace_start(const char *data_directory, uint64_t max_age_ms, struct error *e)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/trace.db", data_directory);
    struct db_options options = {.path = path, .create = true, .durable = false};
    trace.max_age_ms = max_age_ms;
    if (db_open(&options, &trace.db, e) < 0 || db_migrate(trace.db, schema, countof(schema), e) < 0)
        return -1;
    trace.stopping = false;
    trace.running = true;
    if (pthread_create(&trace.writer, NULL, writer_main, NULL))
        return error_set(e, ERROR_INTERNAL, "The trace's thread cannot be started");
    return 0;
}

void trace_stop(void)
{
    if (!trace.running)
        return;
    pthread_mutex_lock(&trace.lock);
    trace.stopping = true;
    pthread_cond_signal(&trace.wake);
    pthread_mutex_unlock(&trace.lock);
    pthread_join(trace.writer, NULL);
    trace.running = false;
    db_close(&trace.db);
}

int trace_find(struct str key, size_t limit, struct arena *arena, struct trace_event **out, size_t *count,
               struct error *e)
{
    *out = NULL;
    *count = 0;
    if (key.len > 2 && key.data[0] == '<' && key.data[key.len - 1] == '>')
        key = str_slice(key, 1, key.len - 2);
    key = arena_lower(arena, key);
    trace_flush(); /* what has just happened belongs to the answer */
    pthread_mutex_lock(&trace.db_lock);
    struct db_query *q = db_query(
        trace.db, "SELECT time, queue_id, event, peer, sender, recipient, message_id, reply, detail FROM event"
                  " WHERE queue_id<>'' AND queue_id IN (SELECT DISTINCT queue_id FROM (SELECT queue_id, id FROM event"
                  " WHERE queue_id=?1 OR sender=?1 OR recipient=?1 OR message_id=?1 ORDER BY id DESC LIMIT ?2))"
                  " OR (queue_id='' AND (sender=?1 OR recipient=?1)) ORDER BY time, id LIMIT ?2");
    db_bind_text(q, 1, key);
    db_bind_i64(q, 2, (int64_t)limit);
    while (db_step(q) == 1) {
        struct trace_event *event = ARENA_PUSH(arena, *out, *count);
        struct str *fields[] = {&event->queue_id,  &event->event, &event->peer,  &event->sender, &event->recipient,
                                &event->message_id, &event->reply, &event->detail};
        event->time_ms = db_column_i64(q, 0);
        for (int i = 0; i < (int)countof(fields); i++)
            *fields[i] = arena_copy(arena, db_column_str(q, i + 1));
    }
    db_done(q);
    int result = db_error(trace.db, e);
    pthread_mutex_unlock(&trace.db_lock);
    return result;
}

/* ------------------------------------------------------------------ sending */

void trace_send(const struct trace_event *event)
{
    if (process_self() == PROCESS_CORE || process_self() == PROCESS_COMMAND) {
        trace_add(event);
        return;
    }
    struct str fields[FIELDS];
    struct ipc_out message = {0};
    fields_of(event, fields);
    ipc_put_i64(&message, event->time_ms ? event->time_ms : clock_real_milliseconds());
    for (size_t i = 0; i < FIELDS; i++)
        ipc_put_str(&message, str_slice(fields[i], 0, FIELD_MAX));
    ipc_tell(PROCESS_CORE, 0, IPC_TRACE, &message);
}

static int trace_take(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    struct trace_event event = {.time_ms = ipc_get_i64(request)};
    struct str *fields[FIELDS] = {&event.queue_id,  &event.event,      &event.peer,  &event.sender,
                                      &event.recipient, &event.message_id, &event.reply, &event.detail};
    for (size_t i = 0; i < FIELDS; i++)
        *fields[i] = ipc_get_str(request, FIELD_MAX);
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    trace_add(&event);
    return 0;
}

void trace_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_TRACE, 1 << PROCESS_MX | 1 << PROCESS_EDGE | 1 << PROCESS_BOX, trace_take},
    };
    ipc_serve(rows, countof(rows));
}
