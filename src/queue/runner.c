/* runner.c - takes due recipients out of the queue and to their accounts.
 *
 * A few threads of their own (not workers: they call box). Each picks a message that has due recipients
 * and that no other thread is at, delivers to each of them, and then writes what came of it in one
 * commit. If core dies in between, the deliveries are repeated, and box does nothing the second time:
 * (queue id, target) is noted in the account's own commit.
 */
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "delivery/deliver.h"
#include "queue/queue_private.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/content.h"
#include "store/directory.h"
#include "store/trace.h"

enum { THREADS = 4, IDLE_MS = 1000, DUE_LOOKED_AT = 64 };

/* Seconds until the next attempt, by the number of attempts made; then hourly. */
static const unsigned back_off[] = {1, 5, 30, 60, 300, 900, 1800, 3600};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t threads[THREADS];
    unsigned thread_count;
    int64_t busy[THREADS]; /* the message that each is at; 0 none */
    bool stopping;
    uint64_t wakes;
} runner = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

struct due {
    int64_t id;
    struct str recipient, target, detail, reason;
    uint64_t account;
    uint32_t attempts;
    enum { OUTCOME_DONE, OUTCOME_RETRY, OUTCOME_HELD } outcome;
};

struct work {
    struct arena arena;
    int64_t message, received;
    struct str queue_id, reverse_path, summary;
    uint64_t size;
    struct due *due;
    size_t due_count;
    int memfd;
};

static bool is_busy(int64_t message)
{
    for (size_t i = 0; i < THREADS; i++)
        if (runner.busy[i] == message)
            return true;
    return false;
}

/* Chooses a message with due recipients and marks it as this thread's. 0: nothing is due. */
static int64_t message_pick(unsigned thread)
{
    int64_t picked = 0;
    pthread_mutex_lock(&queue_db.lock);
    pthread_mutex_lock(&runner.lock);
    struct db_query *q = db_query(queue_db.db, "SELECT message FROM recipient WHERE state=0 AND due<=? ORDER BY due LIMIT ?");
    db_bind_i64(q, 1, clock_real_milliseconds());
    db_bind_i64(q, 2, DUE_LOOKED_AT * THREADS);
    while (!picked && db_step(q) == 1)
        if (!is_busy(db_column_i64(q, 0)))
            picked = db_column_i64(q, 0);
    db_done(q);
    db_error(queue_db.db, NULL);
    runner.busy[thread] = picked;
    pthread_mutex_unlock(&runner.lock);
    pthread_mutex_unlock(&queue_db.lock);
    return picked;
}

static int content_load(struct db *db, int64_t message, int fd, struct error *e)
{
    struct buf plain = BUF_INIT(CHUNK_SIZE);
    struct db_query *q = db_query(db, "SELECT data FROM chunk WHERE message=? ORDER BY number");
    int result = 0;
    db_bind_i64(q, 1, message);
    while (result == 0 && db_step(q) == 1) {
        buf_reset(&plain);
        result = content_unpack(db_column_str(q, 0), CHUNK_SIZE, &plain, e);
        if (result == 0 && fd_write_all(fd, plain.data, plain.len) < 0)
            result = error_set(e, ERROR_TEMPORARY, "No memory for a message");
    }
    db_done(q);
    buf_free(&plain);
    return result;
}

static int work_load(struct work *w, struct error *e)
{
    struct db *db = queue_db.db;
    pthread_mutex_lock(&queue_db.lock);
    struct db_query *q = db_query(db, "SELECT queue_id, reverse_path, received, size, summary FROM message WHERE id=?");
    db_bind_i64(q, 1, w->message);
    if (db_step(q) == 1) {
        w->queue_id = arena_copy(&w->arena, db_column_str(q, 0));
        w->reverse_path = arena_copy(&w->arena, db_column_str(q, 1));
        w->received = db_column_i64(q, 2);
        w->size = (uint64_t)db_column_i64(q, 3);
        w->summary = arena_copy(&w->arena, db_column_str(q, 4));
    }
    db_done(q);
    q = db_query(db, "SELECT id, recipient, account, target, detail, attempts FROM recipient"
                     " WHERE message=? AND state=0 AND due<=?");
    db_bind_i64(q, 1, w->message);
    db_bind_i64(q, 2, clock_real_milliseconds());
    while (db_step(q) == 1)
        *ARENA_PUSH(&w->arena, w->due, w->due_count) =
            (struct due){.id = db_column_i64(q, 0),
                         .recipient = arena_copy(&w->arena, db_column_str(q, 1)),
                         .account = (uint64_t)db_column_i64(q, 2),
                         .target = arena_copy(&w->arena, db_column_str(q, 3)),
                         .detail = arena_copy(&w->arena, db_column_str(q, 4)),
                         .attempts = (uint32_t)db_column_i64(q, 5)};
    db_done(q);
    w->memfd = memfd_make("queued-message");
    int result = w->memfd < 0 ? error_set(e, ERROR_TEMPORARY, "No memory for a message")
                              : content_load(db, w->message, w->memfd, e);
    if (db_error(db, e) < 0)
        result = -1;
    pthread_mutex_unlock(&queue_db.lock);
    if (result == 0 && memfd_seal(w->memfd) < 0)
        result = error_set(e, ERROR_INTERNAL, "A message could not be sealed");
    return result;
}

static void trace_outcome(struct work *w, const struct due *d, const char *event)
{
    struct trace_event t = {.queue_id = w->queue_id,
                            .event = str_from(event),
                            .recipient = arena_lower(&w->arena, d->recipient),
                            .detail = arena_printf(&w->arena, "target=" STR_FMT " %s" STR_FMT, STR_ARG(d->target),
                                                   d->reason.len ? "reason=" : "", STR_ARG(d->reason))};
    trace_send(&t);
}

/* One recipient: delivered, to be tried again, or held for the operator (never dropped). */
static void due_deliver(struct work *w, struct due *d)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct account_entry account;
    struct error e = {0};
    int result = directory_account_get(d->account, &w->arena, &account, &e);
    if (result == 0) {
        struct delivery delivery = {.account = d->account,
                                    .quota = account.quota,
                                    .queue_id = w->queue_id,
                                    .repeatable = true,
                                    .recipient = d->target,
                                    .reverse_path = w->reverse_path,
                                    .detail = d->detail,
                                    .message_fd = w->memfd,
                                    .message_size = w->size,
                                    .summary = w->summary,
                                    .received = w->received};
        result = deliver(&delivery, &e);
    }
    if (result == 0) {
        trace_outcome(w, d, "deliver");
        return;
    }
    int64_t age = clock_real_milliseconds() - w->received * 1000;
    bool hopeless = e.class == ERROR_NOT_FOUND || e.class == ERROR_INVALID || e.class == ERROR_CORRUPT ||
                    age > (int64_t)settings->store.retry_max;
    d->reason = arena_copy(&w->arena, str_from(e.text));
    d->outcome = hopeless ? OUTCOME_HELD : OUTCOME_RETRY;
    trace_outcome(w, d, hopeless ? "hold" : "defer");
    log_event(hopeless ? LOG_ERROR : LOG_WARNING, hopeless ? "queue-held" : "queue-deferred",
              "queue-id=" STR_FMT " target=%s attempts=%u class=%s error=%s", STR_ARG(w->queue_id),
              log_quote(d->target), d->attempts + 1, error_class_name(e.class), log_quote(str_from(e.text)));
}

static int64_t next_due(uint32_t attempts)
{
    unsigned seconds = back_off[MIN((size_t)attempts, countof(back_off) - 1)];
    uint32_t noise;
    random_bytes(&noise, sizeof(noise));
    return clock_real_milliseconds() + seconds * 1000 + noise % (seconds * 200 + 1); /* up to 20% later */
}

static int work_record(struct work *w, struct error *e)
{
    struct db *db = queue_db.db;
    pthread_mutex_lock(&queue_db.lock);
    int result = db_begin(db, true, e);
    for (size_t i = 0; result == 0 && i < w->due_count; i++) {
        struct due *d = &w->due[i];
        struct db_query *q;
        if (d->outcome == OUTCOME_DONE) {
            q = db_query(db, "DELETE FROM recipient WHERE id=?");
            db_bind_i64(q, 1, d->id);
        } else {
            q = db_query(db, "UPDATE recipient SET state=?, attempts=attempts+1, due=?, reason=? WHERE id=?");
            db_bind_i64(q, 1, d->outcome == OUTCOME_HELD ? QUEUE_HELD : QUEUE_WAITING);
            db_bind_i64(q, 2, next_due(d->attempts));
            db_bind_text(q, 3, d->reason);
            db_bind_i64(q, 4, d->id);
        }
        db_run(q);
    }
    static const char *const empty[] = {
        "DELETE FROM chunk WHERE message=?1 AND NOT EXISTS (SELECT 1 FROM recipient WHERE message=?1)",
        "DELETE FROM message WHERE id=?1 AND NOT EXISTS (SELECT 1 FROM recipient WHERE message=?1)"};
    for (size_t i = 0; result == 0 && i < countof(empty); i++) {
        struct db_query *q = db_query(db, empty[i]);
        db_bind_i64(q, 1, w->message);
        db_run(q);
    }
    if (result == 0)
        result = db_commit(db, e);
    pthread_mutex_unlock(&queue_db.lock);
    return result;
}

/* False: nothing was due. */
static bool run_once(unsigned thread)
{
    struct work w = {.arena = ARENA_INIT, .memfd = -1};
    struct error e = {0};
    w.message = message_pick(thread);
    if (!w.message)
        return false;
    int result = work_load(&w, &e);
    if (result == 0) {
        for (size_t i = 0; i < w.due_count; i++)
            due_deliver(&w, &w.due[i]);
        result = work_record(&w, &e);
    }
    if (result < 0) {
        log_event(LOG_ERROR, "queue-failed", "message=%lld class=%s error=%s cause=%s", (long long)w.message,
                  error_class_name(e.class), log_quote(str_from(e.text)), log_quote(str_from(e.cause)));
        usleep(IDLE_MS * 1000); /* a full disk, say: not in a tight loop */
    }
    fd_close(&w.memfd);
    arena_free(&w.arena);
    pthread_mutex_lock(&runner.lock);
    runner.busy[thread] = 0;
    pthread_mutex_unlock(&runner.lock);
    return true;
}

static void *runner_main(void *number)
{
    unsigned thread = (unsigned)(uintptr_t)number;
    for (;;) {
        pthread_mutex_lock(&runner.lock);
        uint64_t seen = runner.wakes;
        bool stop = runner.stopping;
        pthread_mutex_unlock(&runner.lock);
        if (stop)
            return NULL;
        if (run_once(thread))
            continue;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += IDLE_MS / 1000;
        pthread_mutex_lock(&runner.lock);
        while (!runner.stopping && runner.wakes == seen &&
               pthread_cond_timedwait(&runner.wake, &runner.lock, &until) == 0)
            ;
        pthread_mutex_unlock(&runner.lock);
    }
}

void runner_wake(void)
{
    pthread_mutex_lock(&runner.lock);
    runner.wakes++;
    pthread_cond_signal(&runner.wake);
    pthread_mutex_unlock(&runner.lock);
}

int runner_start(struct error *e)
{
    runner.stopping = false;
    for (runner.thread_count = 0; runner.thread_count < THREADS; runner.thread_count++)
        if (pthread_create(&runner.threads[runner.thread_count], NULL, runner_main,
                           (void *)(uintptr_t)runner.thread_count))
            return error_set(e, ERROR_INTERNAL, "The queue's threads cannot be started");
    return 0;
}

void runner_stop(void)
{
    pthread_mutex_lock(&runner.lock);
    runner.stopping = true;
    pthread_cond_broadcast(&runner.wake);
    pthread_mutex_unlock(&runner.lock);
    for (unsigned i = 0; i < runner.thread_count; i++)
        pthread_join(runner.threads[i], NULL);
    runner.thread_count = 0;
}
