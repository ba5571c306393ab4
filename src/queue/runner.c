/* runner.c - takes due recipients out of the queue and to their accounts.
 *
 * One scheduler and a few carriers, threads of their own (not workers: they call box). The scheduler
 * picks what is due by an index, in slices of one message, and writes what came of earlier slices, many
 * in one commit. A carrier takes a slice, reads the message once for all its slices under way, and
 * delivers to one recipient after the other.
 *
 * A recipient is "flying" from the pick until its outcome is durable; it is not picked again meanwhile.
 * If core dies in between, the row is still there and the delivery is repeated, and box does nothing the
 * second time: (queue id, target) is noted in the account's own commit.
 *
 * Lock: runner.lock alone, never held over disk or IPC.
 */
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "delivery/deliver.h"
#include "queue/queue_private.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/content.h"
#include "store/directory.h"
#include "store/trace.h"

enum {
    CARRIERS = 6,
    FLYING_MAX = 512, /* recipients in memory */
    SLICE_MAX = 16,   /* recipients of one message that one carrier takes */
    IDLE_MS = 60 * 1000,
    TROUBLE_MS = 1000, /* between attempts to write while the disk is full */
    BUCKETS = 1024,
};

/* Seconds until the next attempt, by the number of attempts made; then hourly. */
static const unsigned back_off[] = {1, 5, 30, 60, 300, 900, 1800, 3600};

enum outcome { OUTCOME_NONE, OUTCOME_DONE, OUTCOME_RETRY, OUTCOME_HELD };

struct flight { /* of one recipient */
    int64_t id, message;
    enum outcome outcome;
    uint32_t attempts;
    char reason[160];
    struct flight *next; /* in its slice, then among the outcomes */
    struct flight *next_bucket;
};

/* A message that slices under way share. */
struct letter {
    int64_t message;
    unsigned slices;
    enum { LETTER_NEW, LETTER_LOADING, LETTER_READY, LETTER_FAILED } state;
    struct error error;
    struct arena arena;
    struct str queue_id, reverse_path, summary;
    int64_t received;
    uint64_t size;
    int memfd;
    struct letter *next;
};

struct slice {
    struct letter *letter;
    struct flight *flights;
    size_t count;
    struct slice *next;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;    /* for carriers: a slice, or the stop */
    pthread_cond_t loaded;  /* for carriers: a letter is read */
    pthread_cond_t changed; /* for the scheduler: an outcome, a wake-up, the stop */
    pthread_t scheduler, carriers[CARRIERS];
    unsigned carrier_count;
    bool scheduler_runs;
    struct slice *slices, **slices_end;
    struct letter *letters;
    struct flight *outcomes;
    struct flight *buckets[BUCKETS]; /* all that is flying, by id; the scheduler's alone */
    size_t flying;
    _Atomic bool stopping;
    bool woken, carriers_gone;
} runner = {.lock = PTHREAD_MUTEX_INITIALIZER,
            .work = PTHREAD_COND_INITIALIZER,
            .loaded = PTHREAD_COND_INITIALIZER};

/* ------------------------------------------------------------------ what is flying */

static struct flight **flight_bucket(int64_t id)
{
    return &runner.buckets[(uint64_t)id % BUCKETS];
}

static bool is_flying(int64_t id)
{
    for (struct flight *f = *flight_bucket(id); f; f = f->next_bucket)
        if (f->id == id)
            return true;
    return false;
}

static struct flight *flight_start(int64_t id, int64_t message)
{
    struct flight *f = mem_alloc(sizeof(*f));
    f->id = id;
    f->message = message;
    f->next_bucket = *flight_bucket(id);
    *flight_bucket(id) = f;
    runner.flying++;
    return f;
}

static void flight_end(struct flight *f)
{
    struct flight **at = flight_bucket(f->id);
    while (*at != f)
        at = &(*at)->next_bucket;
    *at = f->next_bucket;
    runner.flying--;
    mem_free(f);
}

/* ------------------------------------------------------------------ the message */

static int content_load(struct db *db, struct letter *l, struct error *e)
{
    struct buf plain CLEANUP(buf_free) = BUF_INIT(CHUNK_SIZE);
    struct db_query *q =
        db_query(db, "SELECT number, data FROM content WHERE message = ? ORDER BY number");
    int result = 0;
    db_bind_i64(q, 1, l->message);
    while (result == 0 && db_step(q) == 1) {
        if (db_column_i64(q, 0) == 0) {
            l->summary = arena_copy(&l->arena, db_column_str(q, 1));
            continue;
        }
        buf_reset(&plain);
        result = content_unpack(db_column_str(q, 1), CHUNK_SIZE, &plain, e);
        if (result == 0 && fd_write_all(l->memfd, plain.data, plain.len) < 0)
            result = error_set(e, ERROR_TEMPORARY, "No memory for a message");
    }
    db_done(q);
    return result;
}

static int letter_load(struct db *db, struct letter *l, struct error *e)
{
    struct db_query *q =
        db_query(db, "SELECT queue_id, reverse_path, received, size FROM message WHERE id = ?");
    db_bind_i64(q, 1, l->message);
    bool found = db_step(q) == 1;
    if (found) {
        l->queue_id = arena_copy(&l->arena, db_column_str(q, 0));
        l->reverse_path = arena_copy(&l->arena, db_column_str(q, 1));
        l->received = db_column_i64(q, 2);
        l->size = (uint64_t)db_column_i64(q, 3);
    }
    db_done(q);
    if (db_error(db, e) < 0)
        return -1;
    if (!found) /* removed by hand */
        return error_set(e, ERROR_NOT_FOUND, "The message is no longer in the queue");
    l->memfd = memfd_make("queued-message");
    if (l->memfd < 0)
        return error_set(e, ERROR_TEMPORARY, "No memory for a message");
    int result = content_load(db, l, e);
    if (db_error(db, result < 0 ? NULL : e) < 0 || result < 0)
        return -1;
    return memfd_seal(l->memfd) < 0 ? error_set(e, ERROR_INTERNAL, "A message could not be sealed")
                                    : 0;
}

/* Reads the message, or waits until another carrier has. */
static void letter_need(struct letter *l, struct db *db)
{
    pthread_mutex_lock(&runner.lock);
    if (l->state == LETTER_NEW) {
        l->state = LETTER_LOADING;
        pthread_mutex_unlock(&runner.lock);
        int result = letter_load(db, l, &l->error);
        pthread_mutex_lock(&runner.lock);
        l->state = result < 0 ? LETTER_FAILED : LETTER_READY;
        pthread_cond_broadcast(&runner.loaded);
    }
    while (l->state == LETTER_LOADING)
        pthread_cond_wait(&runner.loaded, &runner.lock);
    pthread_mutex_unlock(&runner.lock);
}

static struct letter *letter_take(int64_t message) /* the lock is held */
{
    struct letter *l = runner.letters;
    while (l && l->message != message)
        l = l->next;
    if (!l) {
        l = mem_alloc(sizeof(*l));
        l->message = message;
        l->memfd = -1;
        l->next = runner.letters;
        runner.letters = l;
    }
    l->slices++;
    return l;
}

static void letter_release(struct letter *l) /* the lock is held */
{
    if (--l->slices)
        return;
    struct letter **at = &runner.letters;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    fd_close(&l->memfd);
    arena_free(&l->arena);
    mem_free(l);
}

/* ------------------------------------------------------------------ carriers */

struct addressee {
    struct str recipient, target, detail;
    uint64_t account;
};

static int addressee_read(struct db *db, struct flight *f, struct arena *arena,
                          struct addressee *out, struct error *e)
{
    struct db_query *q =
        db_query(db, "SELECT recipient, target, detail, account, attempts FROM recipient"
                     " WHERE id = ? AND state = 0");
    db_bind_i64(q, 1, f->id);
    bool found = db_step(q) == 1;
    if (found) {
        *out = (struct addressee){.recipient = arena_copy(arena, db_column_str(q, 0)),
                                  .target = arena_copy(arena, db_column_str(q, 1)),
                                  .detail = arena_copy(arena, db_column_str(q, 2)),
                                  .account = (uint64_t)db_column_i64(q, 3)};
        f->attempts = (uint32_t)db_column_i64(q, 4);
    }
    db_done(q);
    if (db_error(db, e) < 0)
        return -1;
    return found ? 0 : error_set(e, ERROR_NOT_FOUND, "The recipient is no longer in the queue");
}

/* *hopeless: there is no such account any more, so trying again makes no sense. */
static int addressee_deliver(const struct letter *l, const struct addressee *to,
                             struct arena *arena, bool *hopeless, struct error *e)
{
    struct account_entry account;
    if (directory_account_get(to->account, arena, &account, e) < 0) {
        *hopeless = e->class == ERROR_NOT_FOUND;
        return -1;
    }
    struct delivery delivery = {.account = to->account,
                                .quota = account.quota,
                                .queue_id = l->queue_id,
                                .repeatable = true,
                                .recipient = to->target,
                                .reverse_path = l->reverse_path,
                                .detail = to->detail,
                                .message_fd = l->memfd,
                                .message_size = l->size,
                                .summary = l->summary,
                                .received = l->received};
    return deliver(&delivery, e);
}

static void outcome_tell(const struct letter *l, const struct addressee *to, const struct flight *f,
                         const struct error *e, struct arena *arena)
{
    static const char *const events[] = {"", "deliver", "defer", "hold"};
    struct trace_event t = {.queue_id = l->queue_id, .event = str_from(events[f->outcome])};
    t.recipient = arena_lower(arena, to->recipient);
    t.reply = str_from(f->reason);
    t.detail =
        arena_printf(arena, "target=" STR_FMT " attempt=%u", STR_ARG(to->target), f->attempts + 1);
    trace_send(&t);
    if (f->outcome == OUTCOME_DONE)
        return;
    bool held = f->outcome == OUTCOME_HELD;
    log_event(held ? LOG_ERROR : LOG_WARNING, held ? "queue-held" : "queue-deferred",
              "queue-id=" STR_FMT " target=%s attempts=%u class=%s error=%s cause=%s",
              STR_ARG(l->queue_id), log_quote(to->target), f->attempts + 1,
              error_class_name(e->class), log_quote(str_from(e->text)),
              log_quote(str_from(e->cause)));
}

/* One recipient: delivered, to be tried again, or held for the operator; never dropped. What can mend
 * itself, or be mended (a damaged account, a full one), is tried again for as long as the setting says. */
static void flight_carry(struct flight *f, const struct letter *l, struct db *db)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct addressee to = {.account = 0};
    struct error e = {.class = ERROR_NONE};
    bool hopeless = false;
    int result = addressee_read(db, f, &arena, &to, &e);
    if (result < 0 && e.class == ERROR_NOT_FOUND) { /* removed or changed by hand: leave it alone */
        f->outcome = OUTCOME_NONE;
        return;
    }
    if (result == 0 && l->state == LETTER_FAILED) {
        e = l->error;
        result = -1;
    }
    if (result == 0)
        result = addressee_deliver(l, &to, &arena, &hopeless, &e);
    if (result == 0) {
        f->outcome = OUTCOME_DONE;
        outcome_tell(l, &to, f, &e, &arena);
        return;
    }
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    int64_t age = clock_real_milliseconds() - l->received * 1000;
    f->outcome =
        hopeless || age >= (int64_t)settings->store.retry_max ? OUTCOME_HELD : OUTCOME_RETRY;
    snprintf(f->reason, sizeof(f->reason), "%s", e.text);
    outcome_tell(l, &to, f, &e, &arena);
}

static void slice_carry(struct slice *s, struct db *db)
{
    letter_need(s->letter, db);
    for (struct flight *f = s->flights, *next; f; f = next) {
        next = f->next;
        if (!runner.stopping)
            flight_carry(f, s->letter, db);
        pthread_mutex_lock(&runner.lock);
        f->next = runner.outcomes;
        runner.outcomes = f;
        pthread_cond_signal(&runner.changed);
        pthread_mutex_unlock(&runner.lock);
    }
}

static void *carrier_main(void *unused UNUSED)
{
    struct db *db = NULL;
    struct error e;
    pthread_mutex_lock(&runner.lock);
    while (!runner.stopping) {
        struct slice *s = runner.slices;
        if (!s) {
            pthread_cond_wait(&runner.work, &runner.lock);
            continue;
        }
        runner.slices = s->next;
        if (!runner.slices)
            runner.slices_end = &runner.slices;
        pthread_mutex_unlock(&runner.lock);
        while (!db && !runner.stopping && queue_db_open(&db, &e) < 0) {
            log_event(LOG_ERROR, "queue-failed", "error=%s cause=%s", log_quote(str_from(e.text)),
                      log_quote(str_from(e.cause)));
            usleep(TROUBLE_MS * 1000);
        }
        if (db)
            slice_carry(s, db);
        pthread_mutex_lock(&runner.lock);
        letter_release(s->letter);
        mem_free(s);
    }
    pthread_mutex_unlock(&runner.lock);
    db_close(&db);
    return NULL;
}

/* ------------------------------------------------------------------ the scheduler: outcomes */

static int64_t next_due(uint32_t attempts)
{
    unsigned seconds = back_off[MIN((size_t)attempts, countof(back_off) - 1)];
    uint32_t noise;
    random_bytes(&noise, sizeof(noise));
    return clock_real_milliseconds() + seconds * 1000 +
           noise % (seconds * 200 + 1); /* up to 20% later */
}

static void outcome_write(struct db *db, const struct flight *f)
{
    struct db_query *q;
    if (f->outcome == OUTCOME_DONE) {
        q = db_query(db, "DELETE FROM recipient WHERE id = ?");
        db_bind_i64(q, 1, f->id);
        db_run(q);
        static const char *const empty[] = {"DELETE FROM content WHERE message = ?1 AND NOT EXISTS"
                                            " (SELECT 1 FROM recipient WHERE message = ?1)",
                                            "DELETE FROM message WHERE id = ?1 AND NOT EXISTS"
                                            " (SELECT 1 FROM recipient WHERE message = ?1)"};
        for (size_t i = 0; i < countof(empty); i++) {
            q = db_query(db, empty[i]);
            db_bind_i64(q, 1, f->message);
            db_run(q);
        }
    } else if (f->outcome != OUTCOME_NONE) {
        q = db_query(db,
                     "UPDATE recipient SET state = ?, attempts = attempts + 1, due = ?, reason = ?"
                     " WHERE id = ?");
        db_bind_i64(q, 1, f->outcome == OUTCOME_HELD ? QUEUE_HELD : QUEUE_WAITING);
        db_bind_i64(q, 2, next_due(f->attempts));
        db_bind_text(q, 3, str_from(f->reason));
        db_bind_i64(q, 4, f->id);
        db_run(q);
    }
}

static int outcomes_write(struct db *db, void *context, struct error *e)
{
    for (const struct flight *f = context; f; f = f->next)
        outcome_write(db, f);
    return db_error(db, e);
}

/* Makes outcomes durable and ends their flights. False: it did not work now (the disk is full, say);
 * they are kept and written later. */
static bool outcomes_record(struct flight *first)
{
    struct error e;
    if (first && queue_write(outcomes_write, first, &e) < 0) {
        log_event(LOG_ERROR, "queue-failed", "class=%s error=%s cause=%s",
                  error_class_name(e.class), log_quote(str_from(e.text)),
                  log_quote(str_from(e.cause)));
        pthread_mutex_lock(&runner.lock);
        struct flight **end = &runner.outcomes;
        while (*end)
            end = &(*end)->next;
        *end = first;
        pthread_mutex_unlock(&runner.lock);
        return false;
    }
    for (struct flight *f = first, *next; f; f = next) {
        next = f->next;
        flight_end(f);
    }
    return true;
}

/* ------------------------------------------------------------------ the scheduler: picking */

static void slice_queue(struct slice *s, int64_t message)
{
    pthread_mutex_lock(&runner.lock);
    s->letter = letter_take(message);
    *runner.slices_end = s;
    runner.slices_end = &s->next;
    pthread_cond_signal(&runner.work);
    pthread_mutex_unlock(&runner.lock);
}

/* Starts what is due, as far as there is room. Rows come in order of due time, so those of one message,
 * accepted together, stand together. Returns ms until the next one is due. */
static int64_t due_pick(struct db *db)
{
    struct slice *s = NULL;
    int64_t now = clock_real_milliseconds(), wait = IDLE_MS, slice_message = 0;
    struct flight **end = NULL;
    struct db_query *q = db_query(db, "SELECT id, message, due FROM recipient WHERE state = 0"
                                      " ORDER BY due LIMIT ?");
    db_bind_i64(q, 1, FLYING_MAX + 1);
    while (db_step(q) == 1) {
        int64_t id = db_column_i64(q, 0), message = db_column_i64(q, 1), due = db_column_i64(q, 2);
        if (due > now) {
            wait = due - now;
            break;
        }
        if (is_flying(id))
            continue;
        if (runner.flying >= FLYING_MAX)
            break;
        if (s && (slice_message != message || s->count == SLICE_MAX)) {
            slice_queue(s, slice_message);
            s = NULL;
        }
        if (!s) {
            s = mem_alloc(sizeof(*s));
            end = &s->flights;
            slice_message = message;
        }
        *end = flight_start(id, message);
        end = &(*end)->next;
        s->count++;
    }
    db_done(q);
    if (s)
        slice_queue(s, slice_message);
    struct error e;
    if (db_error(db, &e) < 0) {
        log_event(LOG_ERROR, "queue-failed", "class=%s error=%s cause=%s",
                  error_class_name(e.class), log_quote(str_from(e.text)),
                  log_quote(str_from(e.cause)));
        return TROUBLE_MS;
    }
    return MIN(wait, (int64_t)IDLE_MS);
}

/* Waits at most ms, or until there is something to do; takes the outcomes. */
static struct flight *scheduler_wait(int64_t ms, bool for_outcomes, bool *stop)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&runner.lock);
    while (!runner.woken && !runner.carriers_gone && !(for_outcomes && runner.outcomes))
        if (pthread_cond_timedwait(&runner.changed, &runner.lock, &until) != 0)
            break;
    struct flight *outcomes = runner.outcomes;
    runner.outcomes = NULL;
    runner.woken = false;
    *stop = runner.carriers_gone;
    pthread_mutex_unlock(&runner.lock);
    return outcomes;
}

static void *scheduler_main(void *context)
{
    struct db *db = context;
    bool stop = false, recorded = true;
    int64_t wait = 0;
    while (!stop) {
        struct flight *outcomes = scheduler_wait(wait, recorded, &stop);
        bool some = outcomes != NULL;
        recorded = outcomes_record(outcomes);
        if (!recorded) {
            wait = TROUBLE_MS;
            continue;
        }
        /* With much under way, outcomes alone are no reason to look: their places are filled later. */
        if (!some || runner.flying <= FLYING_MAX / 2)
            wait = stop ? 0 : due_pick(db);
    }
    db_close(&db);
    return NULL;
}

/* ------------------------------------------------------------------ start and stop */

void runner_wake(void)
{
    pthread_mutex_lock(&runner.lock);
    runner.woken = true;
    pthread_cond_signal(&runner.changed);
    pthread_mutex_unlock(&runner.lock);
}

int runner_start(struct error *e)
{
    struct db *db;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&runner.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    runner.slices_end = &runner.slices;
    runner.stopping = runner.carriers_gone = false;
    if (queue_db_open(&db, e) < 0)
        return -1;
    if (pthread_create(&runner.scheduler, NULL, scheduler_main, db) != 0) {
        db_close(&db);
        return error_set(e, ERROR_INTERNAL, "The queue's threads cannot be started");
    }
    runner.scheduler_runs = true;
    for (runner.carrier_count = 0; runner.carrier_count < CARRIERS; runner.carrier_count++)
        if (pthread_create(&runner.carriers[runner.carrier_count], NULL, carrier_main, NULL) != 0) {
            runner_stop();
            return error_set(e, ERROR_INTERNAL, "The queue's threads cannot be started");
        }
    return 0;
}

/* The carriers end after the recipient that they are at; then the scheduler, when all is recorded. What
 * flies on without an outcome is due again at the next start. */
void runner_stop(void)
{
    if (!runner.scheduler_runs)
        return;
    pthread_mutex_lock(&runner.lock);
    runner.stopping = true;
    pthread_cond_broadcast(&runner.work);
    pthread_mutex_unlock(&runner.lock);
    for (unsigned i = 0; i < runner.carrier_count; i++)
        pthread_join(runner.carriers[i], NULL);
    pthread_mutex_lock(&runner.lock);
    runner.carriers_gone = true;
    pthread_cond_signal(&runner.changed);
    pthread_mutex_unlock(&runner.lock);
    pthread_join(runner.scheduler, NULL);
    runner.scheduler_runs = false;
    for (struct slice *s = runner.slices, *next; s; s = next) {
        next = s->next;
        letter_release(s->letter);
        mem_free(s);
    }
    runner.slices = NULL;
    runner.outcomes = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        while (runner.buckets[i])
            flight_end(runner.buckets[i]);
    pthread_cond_destroy(&runner.changed);
}
