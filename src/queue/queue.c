/* queue.c - start and stop, and what an operator asks of the queue. See queue.h. */
#include "queue/queue.h"

#include "base/clock.h"
#include "queue/queue_private.h"

int queue_start(const char *data_directory, struct error *e)
{
    if (queue_db_start(data_directory, e) < 0)
        return -1;
    if (runner_start(e) < 0) {
        queue_db_stop();
        return -1;
    }
    accept_serve();
    return 0;
}

void queue_stop(void)
{
    runner_stop();
    queue_db_stop();
}

int queue_open(const char *data_directory, struct error *e)
{
    return queue_db_start(data_directory, e);
}

void queue_close(void)
{
    queue_db_stop();
}

static void entry_read(struct db_query *q, struct arena *arena, struct queue_entry *out)
{
    *out = (struct queue_entry){.number = (uint64_t)db_column_i64(q, 0),
                                .id = arena_copy(arena, db_column_str(q, 1)),
                                .reverse_path = arena_copy(arena, db_column_str(q, 2)),
                                .recipient = arena_copy(arena, db_column_str(q, 3)),
                                .target = arena_copy(arena, db_column_str(q, 4)),
                                .state = queue_state_name((enum queue_state)db_column_i64(q, 5)),
                                .reason = arena_copy(arena, db_column_str(q, 6)),
                                .size = (uint64_t)db_column_i64(q, 7),
                                .received = db_column_i64(q, 8),
                                .next_attempt = db_column_i64(q, 9) / 1000,
                                .attempts = (uint32_t)db_column_i64(q, 10)};
}

int queue_list(struct str id, uint64_t after, size_t limit, struct arena *arena,
               struct queue_entry **out, size_t *count, struct error *e)
{
#define ENTRY_SELECT                                                                             \
    "SELECT r.id, m.queue_id, m.reverse_path, r.recipient, r.target, r.state, r.reason, m.size," \
    " m.received, r.due, r.attempts FROM "
    struct db *db CLEANUP(db_close) = NULL;
    struct queue_entry *list = NULL;
    size_t len = 0;
    if (queue_db_open(&db, e) < 0)
        return -1;
    struct db_query *q =
        id.len ? db_query(db, ENTRY_SELECT
                          "message m CROSS JOIN recipient r ON r.message = m.id"
                          " WHERE r.id > ?1 AND m.queue_id = ?3 ORDER BY r.id LIMIT ?2")
               : db_query(db, ENTRY_SELECT "recipient r CROSS JOIN message m ON m.id = r.message"
                                           " WHERE r.id > ?1 ORDER BY r.id LIMIT ?2");
    db_bind_i64(q, 1, (int64_t)MIN(after, (uint64_t)INT64_MAX));
    db_bind_i64(q, 2, (int64_t)MIN(limit, (size_t)INT64_MAX));
    if (id.len)
        db_bind_text(q, 3, id);
    while (db_step(q) == 1)
        entry_read(q, arena, ARENA_PUSH(arena, list, len));
    db_done(q);
    if (db_error(db, e) < 0)
        return -1;
    *out = list;
    *count = len;
    return 0;
}

int queue_counts(uint64_t *messages, uint64_t *recipients, uint64_t *bytes, struct error *e)
{
    struct db *db CLEANUP(db_close) = NULL;
    if (queue_db_open(&db, e) < 0)
        return -1;
    struct db_query *q = db_query(db, "SELECT count(*), coalesce(sum(size), 0),"
                                      " (SELECT count(*) FROM recipient) FROM message");
    if (db_step(q) == 1) {
        *messages = (uint64_t)db_column_i64(q, 0);
        *bytes = (uint64_t)db_column_i64(q, 1);
        *recipients = (uint64_t)db_column_i64(q, 2);
    }
    db_done(q);
    return db_error(db, e);
}

/* ------------------------------------------------------------------ changes by hand */

struct change {
    struct str id;
    int64_t count;
};

static int retry_write(struct db *db, void *context, struct error *e)
{
    struct change *c = context;
    struct db_query *q =
        c->id.len
            ? db_query(db, "UPDATE recipient SET state = 0, due = ?1 WHERE state < 2 AND account"
                           " AND message = (SELECT id FROM message WHERE queue_id = ?2)")
            : db_query(db, "UPDATE recipient SET state = 0, due = ?1 WHERE state < 2 AND account");
    db_bind_i64(q, 1, clock_real_milliseconds());
    if (c->id.len)
        db_bind_text(q, 2, c->id);
    db_run(q);
    c->count = db_changes(db);
    return db_error(db, e);
}
_Static_assert(QUEUE_WAITING == 0 && QUEUE_HELD == 1 && QUEUE_REMOTE == 2, "as the statements say");

int queue_retry(struct str id, uint64_t *count, struct error *e)
{
    struct change c = {.id = id};
    if (queue_write(retry_write, &c, e) < 0)
        return -1;
    runner_wake();
    *count = (uint64_t)c.count;
    return 0;
}

static int remove_write(struct db *db, void *context, struct error *e)
{
    static const char *const steps[] = {
        "DELETE FROM recipient WHERE message = (SELECT id FROM message WHERE queue_id = ?1)",
        "DELETE FROM content WHERE message = (SELECT id FROM message WHERE queue_id = ?1)",
        "DELETE FROM message WHERE queue_id = ?1"};
    struct change *c = context;
    for (size_t i = 0; i < countof(steps); i++) {
        struct db_query *q = db_query(db, steps[i]);
        db_bind_text(q, 1, c->id);
        db_run(q);
    }
    c->count = db_changes(db);
    return db_error(db, e);
}

int queue_remove(struct str id, struct error *e)
{
    struct change c = {.id = id};
    if (queue_write(remove_write, &c, e) < 0)
        return -1;
    return c.count ? 0 : error_set(e, ERROR_NOT_FOUND, "No such message is in the queue");
}
