/* directory_batch.c - values that change at every login and delivery: usage, last login, last use.
 *
 * They are kept in two small tables and written by a thread of their own in one transaction, at most
 * two seconds later. Every read lays them over what it found, so nobody sees the delay. A crash loses
 * up to two seconds of them: usage is told again by box, which has the exact numbers; the rest is
 * information for people.
 */
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/directory_private.h"

enum { SLOTS = 1024, FILL_MAX = 512, DELAY_SECONDS = 2, FROM_MAX = 95 };

struct account_values {
    uint64_t id; /* 0: free */
    bool login, usage;
    int64_t last_login;
    uint64_t bytes, messages;
};
struct credential_values {
    uint64_t id;
    int64_t last_used;
    uint8_t from_len;
    char from[FROM_MAX];
};
struct batch {
    struct account_values accounts[SLOTS];
    struct credential_values credentials[SLOTS];
    size_t account_count, credential_count;
};

/* collecting takes new values; writing is what the thread has in hand: both are laid over reads. */
static struct {
    pthread_mutex_t lock;
    pthread_mutex_t write_turn; /* one flush at a time; taken before lock */
    pthread_cond_t changed;
    pthread_t thread;
    struct batch *collecting, *writing;
    bool stop;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .write_turn = PTHREAD_MUTEX_INITIALIZER};

/* The slot of id, or the free one where it would go. The tables are never more than half full. */
#define SLOT_FIND(table, wanted)                                   \
    ({                                                             \
        size_t at_ = (size_t)((wanted)*0x9E3779B97F4A7C15u >> 54); \
        while ((table)[at_].id && (table)[at_].id != (wanted))     \
            at_ = (at_ + 1) % SLOTS;                               \
        &(table)[at_];                                             \
    })

static void write_account(struct db *db, const struct account_values *v)
{
    struct db_query *q;
    if (v->usage) {
        q = db_query(db, "UPDATE account SET usage = ?2, messages = ?3 WHERE id = ?1");
        db_bind_i64(q, 1, (int64_t)v->id);
        db_bind_i64(q, 2, (int64_t)v->bytes);
        db_bind_i64(q, 3, (int64_t)v->messages);
        db_run(q);
    }
    if (v->login) {
        q = db_query(db, "UPDATE account SET last_login = ?2 WHERE id = ?1");
        db_bind_i64(q, 1, (int64_t)v->id);
        db_bind_i64(q, 2, v->last_login);
        db_run(q);
    }
}

static int batch_write(const struct batch *batch, struct error *e)
{
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    for (size_t i = 0; i < SLOTS; i++)
        if (batch->accounts[i].id)
            write_account(db, &batch->accounts[i]);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct credential_values *v = &batch->credentials[i];
        if (!v->id)
            continue;
        struct db_query *q =
            db_query(db, "UPDATE credential SET last_used = ?2, last_from = ?3 WHERE id = ?1");
        db_bind_i64(q, 1, (int64_t)v->id);
        db_bind_i64(q, 2, v->last_used);
        db_bind_text(q, 3, str_of(v->from, v->from_len));
        db_run(q);
    }
    return directory_write_end(db, 0, e);
}

/* Writes what was collected. What cannot be written (a full disk) is dropped and logged: it is asked
 * for again, or of no importance. */
static void batch_flush(void)
{
    pthread_mutex_lock(&state.write_turn);
    pthread_mutex_lock(&state.lock);
    struct batch *full = state.collecting;
    bool empty = !full->account_count && !full->credential_count;
    if (!empty) {
        state.collecting = state.writing;
        state.writing = full;
    }
    pthread_mutex_unlock(&state.lock);
    struct error e;
    if (!empty && batch_write(full, &e) < 0)
        log_event(LOG_WARNING, "directory-batch-lost", "error=%s cause=%s",
                  log_quote(str_from(e.text)), log_quote(str_from(e.cause)));
    if (!empty) {
        pthread_mutex_lock(&state.lock);
        memset(full, 0, sizeof(*full));
        pthread_mutex_unlock(&state.lock);
    }
    pthread_mutex_unlock(&state.write_turn);
}

static void *batch_thread(void *context UNUSED)
{
    pthread_mutex_lock(&state.lock);
    while (!state.stop) {
        if (!state.collecting->account_count && !state.collecting->credential_count) {
            pthread_cond_wait(&state.changed, &state.lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += DELAY_SECONDS;
        while (!state.stop && pthread_cond_timedwait(&state.changed, &state.lock, &until) == 0) {
        }
        pthread_mutex_unlock(&state.lock);
        batch_flush();
        pthread_mutex_lock(&state.lock);
    }
    pthread_mutex_unlock(&state.lock);
    return NULL;
}

void batch_start(void)
{
    state.collecting = mem_alloc(sizeof(*state.collecting));
    state.writing = mem_alloc(sizeof(*state.writing));
    state.stop = false;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&state.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&state.thread, NULL, batch_thread, NULL) != 0)
        fatal("cannot start the directory's thread");
}

void batch_stop(void)
{
    pthread_mutex_lock(&state.lock);
    state.stop = true;
    pthread_cond_signal(&state.changed);
    pthread_mutex_unlock(&state.lock);
    pthread_join(state.thread, NULL);
    batch_flush();
    pthread_cond_destroy(&state.changed);
    mem_free(state.collecting);
    mem_free(state.writing);
    state.collecting = state.writing = NULL;
}

/* ------------------------------------------------------------------ collecting */

/* Locks; makes room first. */
static struct batch *batch_take(void)
{
    for (;;) {
        pthread_mutex_lock(&state.lock);
        struct batch *b = state.collecting;
        if (b->account_count < FILL_MAX && b->credential_count < FILL_MAX)
            return b;
        pthread_mutex_unlock(&state.lock);
        batch_flush();
    }
}

static void batch_give(bool first)
{
    if (first)
        pthread_cond_signal(&state.changed);
    pthread_mutex_unlock(&state.lock);
}

static struct account_values *account_slot(struct batch *b, uint64_t id, bool *first)
{
    struct account_values *v = SLOT_FIND(b->accounts, id);
    *first = !b->account_count && !b->credential_count;
    if (!v->id) {
        v->id = id;
        b->account_count++;
    }
    return v;
}

int directory_account_usage(uint64_t id, uint64_t bytes, uint64_t messages, struct error *e)
{
    if (!id)
        return error_set(e, ERROR_INVALID, "No account");
    bool first;
    struct account_values *v = account_slot(batch_take(), id, &first);
    v->usage = true;
    v->bytes = MIN(bytes, (uint64_t)INT64_MAX);
    v->messages = MIN(messages, (uint64_t)INT64_MAX);
    batch_give(first);
    return 0;
}

int directory_account_login(uint64_t id, struct error *e)
{
    if (!id)
        return error_set(e, ERROR_INVALID, "No account");
    bool first;
    struct account_values *v = account_slot(batch_take(), id, &first);
    v->login = true;
    v->last_login = clock_real_seconds();
    batch_give(first);
    return 0;
}

int directory_credential_used(uint64_t credential, struct str from, struct error *e)
{
    if (!credential)
        return error_set(e, ERROR_INVALID, "No credential");
    struct batch *b = batch_take();
    struct credential_values *v = SLOT_FIND(b->credentials, credential);
    bool first = !b->account_count && !b->credential_count;
    if (!v->id) {
        v->id = credential;
        b->credential_count++;
    }
    v->last_used = clock_real_seconds();
    v->from_len = (uint8_t)MIN(from.len, (size_t)FROM_MAX);
    if (v->from_len)
        memcpy(v->from, from.data, v->from_len);
    batch_give(first);
    return 0;
}

/* ------------------------------------------------------------------ reading */

void batch_overlay_account(struct account_entry *entry)
{
    pthread_mutex_lock(&state.lock);
    struct batch *in_order[] = {state.writing, state.collecting};
    for (size_t i = 0; i < countof(in_order); i++) {
        const struct account_values *v = SLOT_FIND(in_order[i]->accounts, entry->id);
        if (!v->id)
            continue;
        if (v->login)
            entry->last_login = v->last_login;
        if (v->usage) {
            entry->usage = v->bytes;
            entry->messages = v->messages;
        }
    }
    pthread_mutex_unlock(&state.lock);
}

void batch_overlay_credential(struct credential *credential, struct arena *arena)
{
    pthread_mutex_lock(&state.lock);
    struct batch *in_order[] = {state.writing, state.collecting};
    for (size_t i = 0; i < countof(in_order); i++) {
        const struct credential_values *v = SLOT_FIND(in_order[i]->credentials, credential->id);
        if (!v->id)
            continue;
        credential->last_used = v->last_used;
        credential->last_from = arena_copy(arena, str_of(v->from, v->from_len));
    }
    pthread_mutex_unlock(&state.lock);
}
