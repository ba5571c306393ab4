/* trace.c - trace.db: what happened to each message. See trace.h.
 *
 * Senders only append to a list in memory; one thread writes it, some times a second, in one
 * transaction without fsync. An event is found by its queue id through an index, and by its addresses
 * and message id through a table of hashes: one row per message and key, not per event, since all
 * events of a message are found through any of them.
 *
 * Locks: db_lock before lock.
 */
#include "store/trace.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/ipc.h"
#include "store/db.h"

enum {
    FIELDS = 8,
    FIELD_MAX = 600, /* longer ones are cut */
    PENDING_BYTES = 16 * 1024 * 1024,
    BATCH_MS = 300,
    PRUNE_EVERY_MS = 60 * 1000,
    PRUNE_AT_ONCE = 2000,
    RECENT = 8192, /* links that were just made */
    KEYS = 3,
};

static const struct db_step schema[] = {
    {.sql =
         "CREATE TABLE event (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, queue_id TEXT NOT NULL,"
         " event TEXT NOT NULL, peer TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,"
         " message_id TEXT NOT NULL, reply TEXT NOT NULL, detail TEXT NOT NULL);"
         "CREATE INDEX event_queue_id ON event (queue_id) WHERE queue_id <> '';"
         "CREATE TABLE link (hash INTEGER NOT NULL, number INTEGER NOT NULL," /* the event's id */
         " PRIMARY KEY (hash, number)) WITHOUT ROWID;"},
};

/* An event that waits to be written: the fields one behind the other. */
struct pending {
    struct pending *next;
    int64_t time_ms;
    uint16_t lengths[FIELDS];
    size_t size;
    char text[];
};

static struct {
    pthread_mutex_t lock; /* of the list */
    pthread_cond_t wake;
    struct pending *first, **end;
    size_t bytes;
    uint64_t dropped;
    bool running, stopping;

    pthread_mutex_t db_lock;
    struct db *db;
    uint64_t recent[RECENT]; /* (queue id, key) hashes */
    pthread_t writer;
    _Atomic uint64_t max_age_ms;
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .wake = PTHREAD_COND_INITIALIZER,
           .db_lock = PTHREAD_MUTEX_INITIALIZER};

static void fields_of(struct trace_event *event, struct str *out[static FIELDS])
{
    struct str *const fields[FIELDS] = {&event->queue_id, &event->event,     &event->peer,
                                        &event->sender,   &event->recipient, &event->message_id,
                                        &event->reply,    &event->detail};
    memcpy(out, fields, sizeof(fields));
}

/* FNV-1a over the text in lower case. */
static uint64_t key_hash(struct str key, uint64_t seed)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)ascii_lower(key.data[i])) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

/* ------------------------------------------------------------------ collecting */

static void trace_add(const struct trace_event *event)
{
    struct trace_event copy = *event;
    struct str *fields[FIELDS];
    size_t size = sizeof(struct pending), at = 0;
    fields_of(&copy, fields);
    for (size_t i = 0; i < FIELDS; i++) {
        *fields[i] = str_slice(*fields[i], 0, FIELD_MAX);
        size += fields[i]->len;
    }
    struct pending *p = mem_alloc(size);
    p->size = size;
    p->time_ms = event->time_ms ? event->time_ms : clock_real_milliseconds();
    for (size_t i = 0; i < FIELDS; i++) {
        p->lengths[i] = (uint16_t)fields[i]->len;
        if (fields[i]->len)
            memcpy(p->text + at, fields[i]->data, fields[i]->len);
        at += fields[i]->len;
    }
    pthread_mutex_lock(&trace.lock);
    bool take = trace.running && trace.bytes + size <= PENDING_BYTES;
    if (take) {
        if (!trace.first)
            pthread_cond_signal(&trace.wake);
        *trace.end = p;
        trace.end = &p->next;
        trace.bytes += size;
    } else {
        trace.dropped++;
    }
    pthread_mutex_unlock(&trace.lock);
    if (!take)
        mem_free(p);
}

static void pending_event(const struct pending *p, struct trace_event *out)
{
    struct str *fields[FIELDS];
    size_t at = 0;
    *out = (struct trace_event){.time_ms = p->time_ms};
    fields_of(out, fields);
    for (size_t i = 0; i < FIELDS; i++) {
        *fields[i] = str_of(p->text + at, p->lengths[i]);
        at += p->lengths[i];
    }
}

/* ------------------------------------------------------------------ writing */

static void event_keys(const struct trace_event *event, struct str out[static KEYS])
{
    out[0] = event->sender;
    out[1] = event->recipient;
    out[2] = event->message_id;
}

static void event_write(struct trace_event *event)
{
    struct db_query *q =
        db_query(trace.db, "INSERT INTO event (time, queue_id, event, peer, sender, recipient,"
                           " message_id, reply, detail) VALUES (?,?,?,?,?,?,?,?,?)");
    struct str *fields[FIELDS], keys[KEYS];
    fields_of(event, fields);
    db_bind_i64(q, 1, event->time_ms);
    for (int i = 0; i < FIELDS; i++)
        db_bind_text(q, i + 2, *fields[i]);
    db_run(q);
    int64_t id = db_last_rowid(trace.db);
    event_keys(event, keys);
    for (size_t i = 0; i < KEYS; i++) {
        if (!keys[i].len)
            continue;
        uint64_t hash = key_hash(keys[i], 0), pair = key_hash(event->queue_id, hash);
        if (event->queue_id.len && trace.recent[pair % RECENT] == pair)
            continue;
        trace.recent[pair % RECENT] = pair;
        q = db_query(trace.db, "INSERT OR IGNORE INTO link VALUES (?, ?)");
        db_bind_i64(q, 1, (int64_t)hash);
        db_bind_i64(q, 2, id);
        db_run(q);
    }
}

/* Writes what is collected. */
static void trace_flush(void)
{
    struct error e = {0};
    pthread_mutex_lock(&trace.db_lock);
    pthread_mutex_lock(&trace.lock);
    struct pending *first = trace.first;
    trace.first = NULL;
    trace.end = &trace.first;
    trace.bytes = 0;
    uint64_t dropped = trace.dropped;
    trace.dropped = 0;
    pthread_mutex_unlock(&trace.lock);
    bool failed = first && db_begin(trace.db, true, &e) < 0;
    uint64_t count = 0;
    for (struct pending *p = first, *next; p; p = next) {
        struct trace_event event;
        next = p->next;
        pending_event(p, &event);
        if (!failed)
            event_write(&event);
        count++;
        mem_free(p);
    }
    if (first && !failed && db_commit(trace.db, &e) < 0)
        failed = true;
    if (failed) {
        memset(trace.recent, 0, sizeof(trace.recent)); /* their links were not made */
        dropped += count;
    }
    pthread_mutex_unlock(&trace.db_lock);
    if (dropped)
        log_event(LOG_WARNING, "trace-dropped", "events=%llu error=%s cause=%s",
                  (unsigned long long)dropped, log_quote(str_from(e.text)),
                  log_quote(str_from(e.cause)));
}

struct old_event {
    int64_t id;
    uint64_t hashes[KEYS];
};

/* The oldest events that are too old, at most PRUNE_AT_ONCE. */
static size_t old_events(int64_t before, struct old_event *out)
{
    size_t count = 0;
    struct db_query *q =
        db_query(trace.db, "SELECT id, time, sender, recipient, message_id FROM event"
                           " ORDER BY id LIMIT ?");
    db_bind_i64(q, 1, PRUNE_AT_ONCE);
    while (db_step(q) == 1 && db_column_i64(q, 1) < before) {
        out[count].id = db_column_i64(q, 0);
        for (int i = 0; i < KEYS; i++)
            out[count].hashes[i] = key_hash(db_column_str(q, 2 + i), 0);
        count++;
    }
    db_done(q);
    return count;
}

/* True when there may be more. */
static bool trace_prune(void)
{
    struct old_event *old = mem_alloc_array(PRUNE_AT_ONCE, sizeof(*old));
    size_t count = 0;
    pthread_mutex_lock(&trace.db_lock);
    if (db_begin(trace.db, true, NULL) == 0) {
        count = old_events(clock_real_milliseconds() - (int64_t)trace.max_age_ms, old);
        for (size_t i = 0; i < count; i++) {
            struct db_query *q;
            for (size_t k = 0; k < KEYS; k++) {
                q = db_query(trace.db, "DELETE FROM link WHERE hash = ? AND number = ?");
                db_bind_i64(q, 1, (int64_t)old[i].hashes[k]);
                db_bind_i64(q, 2, old[i].id);
                db_run(q);
            }
            q = db_query(trace.db, "DELETE FROM event WHERE id = ?");
            db_bind_i64(q, 1, old[i].id);
            db_run(q);
        }
        if (db_commit(trace.db, NULL) < 0)
            count = 0;
    }
    if (count < PRUNE_AT_ONCE)
        db_wal_empty(trace.db);
    pthread_mutex_unlock(&trace.db_lock);
    mem_free(old);
    return count == PRUNE_AT_ONCE;
}

/* Waits for an event, then a little for more. True: stop. */
static bool writer_wait(int64_t prune_at)
{
    struct timespec until;
    pthread_mutex_lock(&trace.lock);
    while (!trace.stopping && !trace.first && clock_monotonic_ms() < prune_at) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PRUNE_EVERY_MS / 1000;
        if (pthread_cond_timedwait(&trace.wake, &trace.lock, &until) != 0)
            break;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += BATCH_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!trace.stopping && pthread_cond_timedwait(&trace.wake, &trace.lock, &until) == 0) {
    }
    bool stop = trace.stopping;
    pthread_mutex_unlock(&trace.lock);
    return stop;
}

static void *writer_main(void *unused UNUSED)
{
    int64_t prune_at = clock_monotonic_ms();
    bool stop = false;
    while (!stop) {
        stop = writer_wait(prune_at);
        trace_flush();
        if (!stop && clock_monotonic_ms() >= prune_at)
            prune_at = clock_monotonic_ms() + (trace_prune() ? BATCH_MS : PRUNE_EVERY_MS);
    }
    return NULL;
}

/* ------------------------------------------------------------------ start and stop */

int trace_start(const char *data_directory, uint64_t max_age_ms, struct error *e)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/trace.db", data_directory);
    struct db_options options = {
        .path = path, .create = true, .cache_kb = 1024, .checkpoint_pages = 1000};
    trace.max_age_ms = max_age_ms;
    if (db_open(&options, &trace.db, e) < 0)
        return -1;
    trace.end = &trace.first;
    trace.stopping = false;
    if (db_migrate(trace.db, schema, countof(schema), e) < 0 ||
        db_exec(trace.db, "PRAGMA synchronous=OFF", e) < 0) {
        db_close(&trace.db);
        return -1;
    }
    if (pthread_create(&trace.writer, NULL, writer_main, NULL) != 0) {
        db_close(&trace.db);
        return error_set(e, ERROR_INTERNAL, "The trace's thread cannot be started");
    }
    pthread_mutex_lock(&trace.lock);
    trace.running = true;
    pthread_mutex_unlock(&trace.lock);
    return 0;
}

void trace_max_age(uint64_t max_age_ms)
{
    trace.max_age_ms = max_age_ms;
}

void trace_stop(void)
{
    pthread_mutex_lock(&trace.lock);
    bool running = trace.running;
    trace.stopping = true;
    trace.running = false;
    pthread_cond_signal(&trace.wake);
    pthread_mutex_unlock(&trace.lock);
    if (!running)
        return;
    pthread_join(trace.writer, NULL);
    db_close(&trace.db);
    memset(trace.recent, 0, sizeof(trace.recent));
}

/* ------------------------------------------------------------------ finding */

struct found {
    struct trace_event *events;
    size_t count, limit;
    struct arena *arena;
};

static void event_read(struct db_query *q, struct found *f)
{
    struct trace_event *event = ARENA_PUSH(f->arena, f->events, f->count);
    struct str *fields[FIELDS];
    fields_of(event, fields);
    event->time_ms = db_column_i64(q, 0);
    for (int i = 0; i < FIELDS; i++)
        *fields[i] = arena_copy(f->arena, db_column_str(q, i + 1));
}

#define EVENT_COLUMNS "time, queue_id, event, peer, sender, recipient, message_id, reply, detail"

static void events_of_queue_id(struct str id, struct found *f)
{
    struct db_query *q =
        db_query(trace.db, "SELECT " EVENT_COLUMNS " FROM event"
                           " WHERE queue_id = ?1 AND queue_id <> '' ORDER BY id LIMIT ?2");
    db_bind_text(q, 1, id);
    db_bind_i64(q, 2, (int64_t)(f->limit - MIN(f->count, f->limit)));
    while (db_step(q) == 1)
        event_read(q, f);
    db_done(q);
}

static bool has_queue_id(const struct found *f, struct str id)
{
    for (size_t i = f->count; i > 0; i--)
        if (str_equal(f->events[i - 1].queue_id, id))
            return true;
    return false;
}

static bool event_matches(const struct trace_event *event, struct str key)
{
    struct str keys[KEYS];
    event_keys(event, keys);
    for (size_t i = 0; i < KEYS; i++)
        if (str_equal_nocase(keys[i], key))
            return true;
    return false;
}

/* The newest first, until there are enough. */
static void events_of_key(struct str key, struct found *f)
{
    struct found matches = {.limit = f->limit, .arena = f->arena};
    struct db_query *q = db_query(trace.db, "SELECT " EVENT_COLUMNS " FROM link CROSS JOIN event"
                                            " ON event.id = link.number WHERE link.hash = ?1"
                                            " ORDER BY link.number DESC LIMIT ?2");
    db_bind_i64(q, 1, (int64_t)key_hash(key, 0));
    db_bind_i64(q, 2, (int64_t)f->limit);
    while (db_step(q) == 1)
        event_read(q, &matches);
    db_done(q);
    for (size_t i = 0; i < matches.count && f->count < f->limit; i++) {
        const struct trace_event *event = &matches.events[i];
        if (!event_matches(event, key)) /* another text with the same hash */
            continue;
        if (!event->queue_id.len)
            *ARENA_PUSH(f->arena, f->events, f->count) = *event;
        else if (!has_queue_id(f, event->queue_id))
            events_of_queue_id(event->queue_id, f);
    }
}

static int time_order(const void *a, const void *b)
{
    const struct trace_event *const *x = a, *const *y = b;
    if ((*x)->time_ms != (*y)->time_ms)
        return (*x)->time_ms < (*y)->time_ms ? -1 : 1;
    return *x < *y ? -1 : 1; /* as they were written */
}

int trace_find(struct str key, size_t limit, struct arena *arena, struct trace_event **out,
               size_t *count, struct error *e)
{
    struct found f = {.limit = limit, .arena = arena};
    key = str_trim(key);
    if (key.len > 2 && key.data[0] == '<' && key.data[key.len - 1] == '>')
        key = str_slice(key, 1, key.len - 2);
    char id[32];
    size_t len = MIN(key.len, sizeof(id));
    for (size_t i = 0; i < len; i++)
        id[i] = ascii_upper(key.data[i]);
    trace_flush(); /* what has just happened belongs to the answer */
    pthread_mutex_lock(&trace.db_lock);
    events_of_queue_id(str_of(id, len), &f);
    if (f.count == 0 && key.len)
        events_of_key(key, &f);
    int result = db_error(trace.db, e);
    pthread_mutex_unlock(&trace.db_lock);
    if (result < 0)
        return -1;
    const struct trace_event **order = arena_alloc_array(arena, f.count + 1, sizeof(*order));
    struct trace_event *sorted = arena_alloc_array(arena, f.count + 1, sizeof(*sorted));
    for (size_t i = 0; i < f.count; i++)
        order[i] = &f.events[i];
    qsort(order, f.count, sizeof(*order), time_order);
    for (size_t i = 0; i < f.count; i++)
        sorted[i] = *order[i];
    *out = sorted;
    *count = f.count;
    return 0;
}

/* ------------------------------------------------------------------ sending */

void trace_send(const struct trace_event *event)
{
    pthread_mutex_lock(&trace.lock);
    bool here = trace.running;
    pthread_mutex_unlock(&trace.lock);
    if (here) {
        trace_add(event);
        return;
    }
    struct trace_event copy = *event;
    struct str *fields[FIELDS];
    struct ipc_out message = {0};
    fields_of(&copy, fields);
    ipc_put_i64(&message, event->time_ms ? event->time_ms : clock_real_milliseconds());
    for (size_t i = 0; i < FIELDS; i++)
        ipc_put_str(&message, str_slice(*fields[i], 0, FIELD_MAX));
    ipc_tell(PROCESS_CORE, 0, IPC_TRACE, &message);
}

static int trace_take(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    struct trace_event event = {.time_ms = ipc_get_i64(request)};
    struct str *fields[FIELDS];
    fields_of(&event, fields);
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
        {IPC_TRACE, 1 << PROCESS_MX | 1 << PROCESS_EDGE | 1 << PROCESS_BOX | 1 << PROCESS_COMMAND,
         trace_take},
    };
    ipc_serve(rows, countof(rows));
}
