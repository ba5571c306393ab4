/* account.c - opening accounts, transactions, group commit, listeners. See account.h.
 *
 * Lock order: write turn, jobs_lock, the table's lock, listeners_lock.
 */
#include "store/account.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/reserve.h"
#include "store/schema.h"
#include "store/tx.h"

enum {
    BUCKETS = 4096,
    HANDLE_ESTIMATE = 128 * 1024, /* of an open account beyond what SQLite counts */
    SHUTDOWN_MS = 3000,           /* the most that emptying WALs may take at the end */
    GROUP_MAX = 128,
    CHECKPOINT_SECONDS = 1,
    VACUUM_PAGES = 256,       /* at a time: writers wait for so long */
    CHECKPOINT_COMMITS = 100, /* commits after which the WAL is copied though the account is busy */
    TRUNCATE_IDLE_MS = 1500,  /* an account at rest gets its WAL emptied */
    HANDLE_UNUSED_MS = 5000,  /* handles that were not used for so long are closed */
    TRIM_HANDLES = 16,        /* so many closed at once: their memory is given back to the system */
    INDEX_REST_MS = 3000,     /* a pause in which new emails go into the search index ... */
    INDEX_WAIT_MS = 60000,    /* ... which they do without one after so long */
};

static struct {
    char directory[400]; /* DATA */
    size_t open_bytes;
    pthread_mutex_t lock;
    struct account *buckets[BUCKETS];
    struct handle *lru_first, *lru_last;
    size_t bytes;
    bool stopping;
    pthread_t checkpointer;
    pthread_cond_t wake;
    bool running;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* ------------------------------------------------------------------ files */

void account_path(uint64_t id, const char *suffix, bool make, char out[static 512])
{
    /* 256 folders by a mixed hash, so that consecutive ids spread. */
    unsigned folder = (unsigned)((id * UINT64_C(0x9E3779B97F4A7C15)) >> 56);
    if (make) {
        snprintf(out, 512, "%s/accounts/%02x", table.directory, folder);
        if (mkdir(out, 0700) == 0) { /* the new folder's name is durable before anything is in it */
            snprintf(out, 512, "%s/accounts", table.directory);
            int fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd >= 0)
                fsync(fd);
            fd_close(&fd);
        }
    }
    snprintf(out, 512, "%s/accounts/%02x/%llu%s", table.directory, folder, (unsigned long long)id,
             suffix);
}

int account_folder_sync(uint64_t id)
{
    char path[512];
    account_path(id, "", false, path);
    *strrchr(path, '/') = '\0';
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

bool account_exists(uint64_t id)
{
    char path[512];
    account_path(id, ".db", false, path);
    return access(path, F_OK) == 0;
}

int account_db_open(uint64_t id, struct db **out, struct error *e)
{
    char path[512];
    account_path(id, ".db", true, path);
    struct db_options options = {.path = path,
                                 .create = true,
                                 .durable = true,
                                 .page_size = 4096,
                                 .cache_kb = 512,
                                 .checkpoint_pages = 8192, /* a bound; the thread is earlier */
                                 .keep_log = true};
    return db_open(&options, out, e);
}

/* ------------------------------------------------------------------ handles */

static void lru_remove(struct handle *h) /* the table's lock is held */
{
    if (h->lru_previous)
        h->lru_previous->lru_next = h->lru_next;
    else
        table.lru_first = h->lru_next;
    if (h->lru_next)
        h->lru_next->lru_previous = h->lru_previous;
    else
        table.lru_last = h->lru_previous;
    h->lru_previous = h->lru_next = NULL;
}

static void idle_remove(struct handle *h) /* the table's lock is held */
{
    struct handle **at = &h->account->idle;
    while (*at != h)
        at = &(*at)->idle_next;
    *at = h->idle_next;
    lru_remove(h);
    table.bytes -= h->memory;
}

static struct account **bucket_of(uint64_t id)
{
    return &table.buckets[(id * UINT64_C(0x9E3779B97F4A7C15)) >> 52];
}

/* Frees an account that nobody uses. The table's lock is held. */
static void account_drop(struct account *a)
{
    if (a->references || a->handles || a->listeners)
        return;
    struct account **at = bucket_of(a->id);
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    pthread_mutex_destroy(&a->turn_lock);
    pthread_mutex_destroy(&a->jobs_lock);
    pthread_mutex_destroy(&a->listeners_lock);
    pthread_cond_destroy(&a->turn_free);
    pthread_cond_destroy(&a->jobs_done);
    mem_free(a);
}

/* Closes idle handles, the longest unused first: those not used since a moment, and further ones until at
 * most max bytes are held. How many. */
static size_t handles_shrink(size_t max, int64_t unused_since_ms)
{
    for (size_t count = 0;; count++) {
        pthread_mutex_lock(&table.lock);
        struct handle *h = table.lru_first;
        if (h && table.bytes <= max && h->used_ms > unused_since_ms)
            h = NULL;
        struct account *a = h ? h->account : NULL;
        if (h)
            idle_remove(h);
        pthread_mutex_unlock(&table.lock);
        if (!h)
            return count;
        if (a->commits == 0) /* the log is empty: only its files are left */
            db_close_log(h->db);
        db_close(&h->db);
        mem_free(h);
        pthread_mutex_lock(&table.lock);
        a->handles--;
        account_drop(a);
        pthread_mutex_unlock(&table.lock);
    }
}

static int handle_take(struct account *a, struct handle **out, struct error *e)
{
    pthread_mutex_lock(&table.lock);
    struct handle *h = a->idle;
    bool doomed = a->doomed, shut = a->shut;
    if (h)
        idle_remove(h);
    else if (!doomed && !shut)
        a->handles++;
    pthread_mutex_unlock(&table.lock);
    if (!h && doomed)
        return error_set(e, ERROR_NOT_FOUND, "The account was deleted");
    if (!h && shut)
        return error_set(e, ERROR_TEMPORARY, "The account is being repaired, try again later");
    if (!h) {
        h = mem_alloc(sizeof(*h));
        h->account = a;
        if (account_db_open(a->id, &h->db, e) < 0) {
            mem_free(h);
            pthread_mutex_lock(&table.lock);
            a->handles--;
            pthread_mutex_unlock(&table.lock);
            return -1;
        }
    }
    *out = h;
    return 0;
}

static void handle_give_back(struct handle *h)
{
    h->memory = db_memory(h->db) + HANDLE_ESTIMATE;
    h->used_ms = clock_monotonic_ms();
    pthread_mutex_lock(&table.lock);
    struct account *a = h->account;
    h->idle_next = a->idle;
    a->idle = h;
    h->lru_previous = table.lru_last;
    h->lru_next = NULL;
    if (table.lru_last)
        table.lru_last->lru_next = h;
    else
        table.lru_first = h;
    table.lru_last = h;
    table.bytes += h->memory;
    bool too_many = table.bytes > table.open_bytes;
    pthread_mutex_unlock(&table.lock);
    if (too_many)
        handles_shrink(table.open_bytes, INT64_MIN);
}

/* ------------------------------------------------------------------ accounts */

static struct account *account_find(uint64_t id) /* the table's lock is held */
{
    struct account *a = *bucket_of(id);
    while (a && a->id != id)
        a = a->next;
    return a;
}

static struct account *account_make(uint64_t id) /* the table's lock is held */
{
    struct account *a = mem_alloc(sizeof(*a));
    a->id = id;
    pthread_mutex_init(&a->turn_lock, NULL);
    pthread_mutex_init(&a->jobs_lock, NULL);
    pthread_mutex_init(&a->listeners_lock, NULL);
    pthread_cond_init(&a->turn_free, NULL);
    pthread_cond_init(&a->jobs_done, NULL);
    a->jobs_end = &a->jobs_first;
    a->next = *bucket_of(id);
    *bucket_of(id) = a;
    return a;
}

static void turn_take(struct account *a)
{
    pthread_mutex_lock(&a->turn_lock);
    uint64_t mine = a->turn_next++;
    while (a->turn_served != mine)
        pthread_cond_wait(&a->turn_free, &a->turn_lock);
    pthread_mutex_unlock(&a->turn_lock);
}

static void turn_give_back(struct account *a)
{
    pthread_mutex_lock(&a->turn_lock);
    a->turn_served++;
    pthread_cond_broadcast(&a->turn_free);
    pthread_mutex_unlock(&a->turn_lock);
}

/* What every account has from the beginning. */
static int mailboxes_make(struct account *a, struct error *e)
{
    static const struct {
        struct str name;
        enum special_use use;
    } first[] = {{STR_INIT("INBOX"), USE_INBOX}, {STR_INIT("Drafts"), USE_DRAFTS},
                 {STR_INIT("Sent"), USE_SENT},   {STR_INIT("Archive"), USE_ARCHIVE},
                 {STR_INIT("Junk"), USE_JUNK},   {STR_INIT("Trash"), USE_TRASH}};
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    if (account_begin(a, ACCOUNT_WRITE, &tx, e) < 0)
        return -1;
    if (tx->row.mailboxes > 0)
        return 0;
    for (size_t i = 0; i < countof(first); i++) {
        struct mailbox m;
        if (mailbox_create(tx, first[i].name, first[i].use, &arena, &m, e) < 0 ||
            mailbox_subscribe(tx, first[i].name, true, e) < 0)
            return -1;
    }
    return account_commit(&tx, e);
}

/* Brings the file to the present schema, and makes it when it is not there. The write turn is taken so
 * that two threads do not make it at once. */
static int account_prepare(struct account *a, struct error *e)
{
    struct handle *h;
    turn_take(a);
    bool made = !account_exists(a->id);
    int result = made ? account_swap_finish(a->id, e) : 0;
    if (result == 0)
        result = handle_take(a, &h, e);
    if (result == 0) {
        result = db_migrate(h->db, account_schema, account_schema_count, e);
        handle_give_back(h);
    }
    turn_give_back(a);
    if (result == 0)
        result = mailboxes_make(a, e);
    /* The file's name is durable before any mail in it is acknowledged. */
    if (result == 0 && made && account_folder_sync(a->id) < 0)
        result = error_set(e, ERROR_INTERNAL, "The account's file cannot be made durable");
    return result;
}

int account_open(uint64_t id, struct account **out, struct error *e)
{
    pthread_mutex_lock(&table.lock);
    struct account *a = account_find(id);
    bool ready = a && a->prepared;
    if (a && a->doomed) {
        pthread_mutex_unlock(&table.lock);
        return error_set(e, ERROR_NOT_FOUND, "The account is being deleted");
    }
    if (!a)
        a = account_make(id);
    a->references++;
    pthread_mutex_unlock(&table.lock);
    if (!ready && account_prepare(a, e) < 0) {
        account_close(&a);
        return -1;
    }
    if (!ready) {
        pthread_mutex_lock(&table.lock);
        a->prepared = true;
        pthread_mutex_unlock(&table.lock);
        account_want_index(a); /* an earlier run may have left something */
    }
    *out = a;
    return 0;
}

void account_close(struct account **a)
{
    if (!*a)
        return;
    pthread_mutex_lock(&table.lock);
    (*a)->references--;
    account_drop(*a);
    pthread_mutex_unlock(&table.lock);
    *a = NULL;
}

uint64_t account_id(const struct account *a)
{
    return a->id;
}

static void idle_close_all(struct account *a)
{
    for (;;) {
        pthread_mutex_lock(&table.lock);
        struct handle *h = a->idle;
        if (h)
            idle_remove(h);
        pthread_mutex_unlock(&table.lock);
        if (!h)
            return;
        db_close(&h->db);
        mem_free(h);
        pthread_mutex_lock(&table.lock);
        a->handles--;
        pthread_mutex_unlock(&table.lock);
    }
}

struct account *account_hold_exclusive(uint64_t id, struct error *e UNUSED)
{
    pthread_mutex_lock(&table.lock);
    struct account *a = account_find(id);
    if (!a)
        a = account_make(id);
    a->references++;
    pthread_mutex_unlock(&table.lock);
    turn_take(a);
    idle_close_all(a);
    return a;
}

void account_release_exclusive(struct account **a)
{
    turn_give_back(*a);
    account_close(a);
}

/* Waits until no handle is open: read transactions end soon. No new one can be made. */
static bool handles_end(struct account *a)
{
    for (int i = 0; i < 500; i++) {
        idle_close_all(a);
        pthread_mutex_lock(&table.lock);
        unsigned left = a->handles;
        pthread_mutex_unlock(&table.lock);
        if (left == 0)
            return true;
        usleep(10000);
    }
    return false;
}

static void shut_set(struct account *a, bool shut)
{
    pthread_mutex_lock(&table.lock);
    a->shut = shut;
    pthread_mutex_unlock(&table.lock);
}

int account_shut(struct account *a, struct error *e)
{
    account_end_sessions(a->id);
    shut_set(a, true);
    if (handles_end(a))
        return 0;
    shut_set(a, false);
    return error_set(e, ERROR_TEMPORARY, "The account is in use, try again later");
}

void account_reopen(struct account *a)
{
    shut_set(a, false);
}

void account_files_remove(uint64_t id, const char *const *suffixes, size_t count)
{
    char path[512];
    for (size_t i = 0; i < count; i++) {
        account_path(id, suffixes[i], false, path);
        unlink(path);
    }
}

/* What repairs have left. */
static void damaged_remove(uint64_t id)
{
    static const char *const suffixes[] = {".salvaged", ".new", ".new-wal", ".new-shm"};
    char path[512], suffix[40];
    account_files_remove(id, suffixes, countof(suffixes));
    for (unsigned n = 1;; n++) {
        snprintf(suffix, sizeof(suffix), ".damaged-%u-wal", n);
        account_path(id, suffix, false, path);
        unlink(path);
        snprintf(suffix, sizeof(suffix), ".damaged-%u", n);
        account_path(id, suffix, false, path);
        if (unlink(path) < 0)
            return;
    }
}

int account_delete(uint64_t id, struct error *e)
{
    static const char *const suffixes[] = {".db", ".db-wal", ".db-shm"};
    account_end_sessions(id);
    struct account *a = account_hold_exclusive(id, e);
    pthread_mutex_lock(&table.lock);
    a->doomed = true;
    pthread_mutex_unlock(&table.lock);
    handles_end(a);
    int result = 0;
    search_remove(id);
    damaged_remove(id);
    for (size_t i = 0; i < countof(suffixes); i++) {
        char path[512];
        account_path(id, suffixes[i], false, path);
        if (unlink(path) < 0 && errno != ENOENT) {
            error_set(e, ERROR_INTERNAL, "The account's files cannot be removed");
            result = error_cause(e, "path=%s %s", path, strerror(errno));
        }
    }
    account_release_exclusive(&a);
    return result;
}

/* ------------------------------------------------------------------ transactions */

static void (*on_change)(uint64_t id, const struct account_usage *usage);

void accounts_on_change(void (*changed)(uint64_t id, const struct account_usage *usage))
{
    on_change = changed;
}

static int row_load(struct account_tx *tx)
{
    struct db_query *q =
        db_query(tx->db, "SELECT modseq, uidvalidity, bytes, messages, threads, emails,"
                         " mailboxes FROM account");
    int found = db_step(q);
    if (found == 1)
        tx->row = (struct account_row){(uint64_t)db_column_i64(q, 0), (uint64_t)db_column_i64(q, 1),
                                       (uint64_t)db_column_i64(q, 2), (uint64_t)db_column_i64(q, 3),
                                       (uint64_t)db_column_i64(q, 4), (uint64_t)db_column_i64(q, 5),
                                       (uint64_t)db_column_i64(q, 6)};
    db_done(q);
    return found == 1 ? 0 : -1;
}

void tx_flush(struct account_tx *tx)
{
    for (size_t i = 0; i < tx->mailbox_count; i++) {
        struct mailbox_row *m = &tx->mailboxes[i];
        if (!m->dirty)
            continue;
        struct db_query *q =
            db_query(tx->db, "UPDATE mailbox SET uidnext=?, modseq=?, messages=?, unseen=?,"
                             " deleted=?, size=?, first_recent=?, expunge_floor=? WHERE id=?");
        db_bind_i64(q, 1, m->uidnext);
        db_bind_i64(q, 2, (int64_t)m->modseq);
        db_bind_i64(q, 3, (int64_t)m->messages);
        db_bind_i64(q, 4, (int64_t)m->unseen);
        db_bind_i64(q, 5, (int64_t)m->deleted);
        db_bind_i64(q, 6, (int64_t)m->size);
        db_bind_i64(q, 7, m->first_recent);
        db_bind_i64(q, 8, (int64_t)m->expunge_floor);
        db_bind_i64(q, 9, (int64_t)m->id);
        db_run(q);
        m->dirty = false;
    }
    if (!tx->row_dirty)
        return;
    struct db_query *q =
        db_query(tx->db, "UPDATE account SET modseq=?, uidvalidity=?, bytes=?, messages=?,"
                         " threads=?, emails=?, mailboxes=?");
    const struct account_row *r = &tx->row;
    const uint64_t values[] = {r->modseq,  r->uidvalidity, r->bytes,    r->messages,
                               r->threads, r->emails,      r->mailboxes};
    for (int i = 0; i < (int)countof(values); i++)
        db_bind_i64(q, i + 1, (int64_t)values[i]);
    db_run(q);
    tx->row_dirty = false;
}

struct mailbox_row *tx_mailbox(struct account_tx *tx, uint64_t id, struct error *e)
{
    for (size_t i = 0; i < tx->mailbox_count; i++)
        if (tx->mailboxes[i].id == id)
            return &tx->mailboxes[i];
    if (tx->mailbox_count == TX_MAILBOXES) {
        tx_flush(tx);
        tx->mailbox_count = 0;
    }
    struct mailbox_row *m = &tx->mailboxes[tx->mailbox_count];
    struct db_query *q =
        db_query(tx->db, "SELECT uidnext, modseq, messages, unseen, deleted, size, first_recent,"
                         " expunge_floor FROM mailbox WHERE id=? AND present=1");
    db_bind_i64(q, 1, (int64_t)id);
    int found = db_step(q);
    if (found == 1)
        *m = (struct mailbox_row){.id = id,
                                  .uidnext = (uint32_t)db_column_i64(q, 0),
                                  .modseq = (uint64_t)db_column_i64(q, 1),
                                  .messages = (uint64_t)db_column_i64(q, 2),
                                  .unseen = (uint64_t)db_column_i64(q, 3),
                                  .deleted = (uint64_t)db_column_i64(q, 4),
                                  .size = (uint64_t)db_column_i64(q, 5),
                                  .first_recent = (uint32_t)db_column_i64(q, 6),
                                  .expunge_floor = (uint64_t)db_column_i64(q, 7)};
    db_done(q);
    if (found == 1) {
        tx->mailbox_count++;
        return m;
    }
    if (found == 0)
        error_set(e, ERROR_NOT_FOUND, "No such mailbox");
    else
        db_error(tx->db, e);
    return NULL;
}

uint64_t tx_modseq(struct account_tx *tx, struct mailbox_row *m)
{
    tx->row.modseq++;
    tx->row_dirty = tx->changed = true;
    if (m) {
        m->modseq = tx->row.modseq;
        m->dirty = true;
    }
    return tx->row.modseq;
}

static int tx_begin(struct account *a, bool write, struct account_tx **out, struct error *e)
{
    struct handle *h;
    if (handle_take(a, &h, e) < 0)
        return -1;
    struct account_tx *tx = mem_alloc(sizeof(*tx));
    tx->account = a;
    tx->handle = h;
    tx->db = h->db;
    tx->write = write;
    if (db_begin(h->db, write, e) < 0) {
        handle_give_back(h);
        mem_free(tx);
        return -1;
    }
    if (row_load(tx) < 0) {
        if (db_error(tx->db, e) == 0)
            error_set(e, ERROR_CORRUPT, "The account's file is damaged");
        db_rollback(tx->db);
        handle_give_back(h);
        mem_free(tx);
        return -1;
    }
    tx->emails_before = tx->row.emails;
    *out = tx;
    return 0;
}

int account_begin(struct account *a, enum account_access access, struct account_tx **out,
                  struct error *e)
{
    bool write = access == ACCOUNT_WRITE;
    if (write)
        turn_take(a);
    int result = tx_begin(a, write, out, e);
    if (result < 0 && write)
        turn_give_back(a);
    return result;
}

static void listeners_tell(struct account *a, uint64_t modseq)
{
    pthread_mutex_lock(&a->listeners_lock);
    for (struct account_listener *l = a->listeners; l; l = l->next)
        l->changed(l, modseq);
    pthread_mutex_unlock(&a->listeners_lock);
}

/* Ends the SQL transaction; the turn is still held. */
static int tx_finish(struct account_tx *tx, bool commit, struct error *e)
{
    int result = 0;
    if (commit) {
        tx_flush(tx);
        result = db_commit(tx->db, e);
        if (result < 0)
            error_cause(e, "account=%llu %s", (unsigned long long)tx->account->id,
                        e ? e->cause : "");
    } else {
        db_rollback(tx->db);
    }
    return result;
}

static void tx_free(struct account_tx *tx)
{
    handle_give_back(tx->handle);
    mem_free(tx);
}

int account_commit(struct account_tx **out, struct error *e)
{
    struct account_tx *tx = *out;
    struct account *a = tx->account;
    bool write = tx->write, changed = tx->changed;
    uint64_t modseq = tx->row.modseq;
    bool emails = tx->row.emails > tx->emails_before;
    struct account_usage usage = {tx->row.bytes, tx->row.messages};
    *out = NULL;
    struct error own = {0};
    int result = tx_finish(tx, true, e ? e : &own);
    tx_free(tx);
    if (write) {
        a->last_commit_ms = clock_monotonic_ms();
        a->commits++;
        turn_give_back(a);
    }
    if (result == 0 && emails)
        account_want_index(a);
    if (result == 0 && changed) {
        listeners_tell(a, modseq);
        if (on_change)
            on_change(a->id, &usage);
    }
    return result;
}

void account_rollback(struct account_tx **out)
{
    struct account_tx *tx = *out;
    if (!tx)
        return;
    *out = NULL;
    struct account *a = tx->account;
    bool write = tx->write;
    tx_finish(tx, false, NULL);
    tx_free(tx);
    if (write)
        turn_give_back(a);
}

uint64_t account_modseq(struct account_tx *tx)
{
    return tx->row.modseq;
}

void account_usage(struct account_tx *tx, struct account_usage *out)
{
    *out = (struct account_usage){tx->row.bytes, tx->row.messages};
}

/* ------------------------------------------------------------------ group commit */

enum job_state { JOB_WAITS, JOB_LEADS, JOB_DONE };

struct write_job {
    int (*run)(struct account_tx *tx, void *context, struct error *e);
    void *context;
    struct error error;
    int result;
    enum job_state state;
    struct write_job *next;
};

/* What a job may have changed in memory, to be undone with its savepoint. */
struct tx_memory {
    struct account_row row;
    bool row_dirty, changed;
    size_t mailbox_count;
    struct mailbox_row mailboxes[TX_MAILBOXES];
};

static void job_run(struct account_tx *tx, struct write_job *job, bool alone,
                    struct tx_memory *before)
{
    if (alone) {
        job->result = job->run(tx, job->context, &job->error);
        return;
    }
    *before = (struct tx_memory){.row = tx->row,
                                 .row_dirty = tx->row_dirty,
                                 .changed = tx->changed,
                                 .mailbox_count = tx->mailbox_count};
    memcpy(before->mailboxes, tx->mailboxes, sizeof(tx->mailboxes));
    db_run(db_query(tx->db, "SAVEPOINT job"));
    job->result = job->run(tx, job->context, &job->error);
    struct error pending;
    if (db_error(tx->db, &pending) < 0 && job->result == 0) {
        job->error = pending;
        job->result = -1;
    }
    if (job->result < 0) {
        db_run(db_query(tx->db, "ROLLBACK TO job"));
        tx->row = before->row;
        tx->row_dirty = before->row_dirty;
        tx->changed = before->changed;
        tx->mailbox_count = before->mailbox_count;
        memcpy(tx->mailboxes, before->mailboxes, sizeof(tx->mailboxes));
    }
    db_run(db_query(tx->db, "RELEASE job"));
}

/* One shared transaction for the jobs of a list. */
static void jobs_run(struct account *a, struct write_job *first)
{
    struct account_tx *tx = NULL;
    struct error e = {0};
    struct tx_memory *before = NULL;
    bool alone = first->next == NULL, any = false;
    if (account_begin(a, ACCOUNT_WRITE, &tx, &e) == 0) {
        if (!alone)
            before = mem_alloc(sizeof(*before));
        for (struct write_job *job = first; job; job = job->next) {
            job_run(tx, job, alone, before);
            any |= job->result == 0;
        }
        mem_free(before);
        if (any && account_commit(&tx, &e) == 0)
            return;
        if (!any) {
            account_rollback(&tx);
            return;
        }
    }
    for (struct write_job *job = first; job; job = job->next)
        if (job->result == 0) {
            job->result = -1;
            job->error = e;
        }
}

int account_write(struct account *a,
                  int (*run)(struct account_tx *tx, void *context, struct error *e), void *context,
                  struct error *e)
{
    struct write_job job = {.run = run, .context = context};
    pthread_mutex_lock(&a->jobs_lock);
    *a->jobs_end = &job;
    a->jobs_end = &job.next;
    if (!a->leading) {
        a->leading = true;
        job.state = JOB_LEADS;
    }
    while (job.state == JOB_WAITS)
        pthread_cond_wait(&a->jobs_done, &a->jobs_lock);
    if (job.state == JOB_LEADS) {
        /* All that have come so far, this one first. */
        struct write_job *first = a->jobs_first, *last = first;
        for (size_t n = 1; last->next && n < GROUP_MAX; n++)
            last = last->next;
        a->jobs_first = last->next;
        last->next = NULL;
        if (!a->jobs_first)
            a->jobs_end = &a->jobs_first;
        pthread_mutex_unlock(&a->jobs_lock);
        jobs_run(a, first);
        pthread_mutex_lock(&a->jobs_lock);
        for (struct write_job *done = first; done; done = done->next)
            done->state = JOB_DONE;
        if (a->jobs_first)
            a->jobs_first->state = JOB_LEADS;
        else
            a->leading = false;
        pthread_cond_broadcast(&a->jobs_done);
    }
    pthread_mutex_unlock(&a->jobs_lock);
    if (job.result < 0 && e)
        *e = job.error;
    return job.result;
}

int account_write_reserved(struct account *a,
                           int (*run)(struct account_tx *tx, void *context, struct error *e),
                           void *context, struct error *e)
{
    int result = account_write(a, run, context, e);
    return result < 0 && e->class == ERROR_FULL && reserve_release()
               ? account_write(a, run, context, e)
               : result;
}

/* ------------------------------------------------------------------ listeners */

void account_listen(struct account *a, struct account_listener *l)
{
    pthread_mutex_lock(&a->listeners_lock);
    l->previous = NULL;
    l->next = a->listeners;
    if (l->next)
        l->next->previous = l;
    a->listeners = l;
    pthread_mutex_unlock(&a->listeners_lock);
}

void account_unlisten(struct account *a, struct account_listener *l)
{
    pthread_mutex_lock(&a->listeners_lock);
    if (l->previous)
        l->previous->next = l->next;
    else if (a->listeners == l)
        a->listeners = l->next;
    if (l->next)
        l->next->previous = l->previous;
    l->next = l->previous = NULL;
    pthread_mutex_unlock(&a->listeners_lock);
}

void account_end_sessions(uint64_t id)
{
    pthread_mutex_lock(&table.lock);
    struct account *a = account_find(id);
    if (a)
        a->references++;
    pthread_mutex_unlock(&table.lock);
    if (!a)
        return;
    pthread_mutex_lock(&a->listeners_lock);
    for (struct account_listener *l = a->listeners; l; l = l->next)
        l->ended(l);
    pthread_mutex_unlock(&a->listeners_lock);
    account_close(&a);
}

unsigned account_sessions(struct account *a)
{
    unsigned count = 0;
    pthread_mutex_lock(&a->listeners_lock);
    for (struct account_listener *l = a->listeners; l; l = l->next)
        count++;
    pthread_mutex_unlock(&a->listeners_lock);
    return count;
}

/* ------------------------------------------------------------------ the background checkpointer */

/* Copies the WAL of one account. One at rest gets its WAL emptied, under the write turn. */
static void account_checkpoint(struct account *a, bool ending)
{
    struct handle *h;
    struct error e;
    bool at_rest = ending || clock_monotonic_ms() - a->last_commit_ms > TRUNCATE_IDLE_MS;
    if (handle_take(a, &h, &e) < 0)
        return;
    bool done = db_checkpoint(h->db) == 0;
    if (done && at_rest) {
        int64_t last_commit_ms = a->last_commit_ms, left = INT64_MAX, before;
        do {
            before = left;
            turn_take(a);
            left = db_vacuum(h->db, VACUUM_PAGES);
            db_wal_empty(h->db);
            turn_give_back(a);
        } while (left > 0 && left < before && a->last_commit_ms == last_commit_ms && !a->doomed);
        a->commits = left > 0;
    } else if (done) {
        a->commits = 1; /* comes round again when it is at rest */
    }
    handle_give_back(h);
}

/* The next account of which that is true, with a reference. *bucket begins at 0. */
static struct account *
account_next(size_t *bucket, bool (*wanted)(const struct account *a, int64_t now_ms, bool ending),
             bool ending)
{
    struct account *found = NULL;
    int64_t now = clock_monotonic_ms();
    pthread_mutex_lock(&table.lock);
    for (; *bucket < BUCKETS && !found; ++*bucket)
        for (struct account *a = table.buckets[*bucket]; a && !found; a = a->next)
            if (!a->doomed && wanted(a, now, ending)) {
                found = a;
                a->references++;
            }
    pthread_mutex_unlock(&table.lock);
    return found;
}

/* Something is to be copied. */
static bool checkpoint_wanted(const struct account *a, int64_t now_ms, bool ending)
{
    return a->commits > 0 && (ending || a->commits >= CHECKPOINT_COMMITS ||
                              now_ms - a->last_commit_ms > TRUNCATE_IDLE_MS);
}

void account_want_index(struct account *a)
{
    int64_t none = 0;
    atomic_compare_exchange_strong(&a->index_since_ms, &none, clock_monotonic_ms());
}

static bool index_wanted(const struct account *a, int64_t now_ms, bool ending UNUSED)
{
    return a->index_since_ms && now_ms >= a->index_retry_ms &&
           (now_ms - a->last_commit_ms > INDEX_REST_MS ||
            now_ms - a->index_since_ms > INDEX_WAIT_MS);
}

struct account *account_next_unindexed(size_t *bucket)
{
    struct account *a = account_next(bucket, index_wanted, false);
    if (a)
        a->index_since_ms = 0;
    return a;
}

static void *checkpointer_main(void *unused UNUSED)
{
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += CHECKPOINT_SECONDS;
        pthread_mutex_lock(&table.lock);
        if (!table.stopping)
            pthread_cond_timedwait(&table.wake, &table.lock, &until);
        bool stop = table.stopping;
        pthread_mutex_unlock(&table.lock);
        size_t bucket = 0;
        struct account *a;
        int64_t until_ms = clock_monotonic_ms() + (stop ? SHUTDOWN_MS : INT32_MAX);
        while (clock_monotonic_ms() < until_ms &&
               (a = account_next(&bucket, checkpoint_wanted, stop))) {
            account_checkpoint(a, stop);
            account_close(&a);
        }
        if (stop)
            return NULL;
        if (handles_shrink(table.open_bytes, clock_monotonic_ms() - HANDLE_UNUSED_MS) >=
            TRIM_HANDLES)
            malloc_trim(0);
        reserve_keep();
    }
}

int accounts_init(const char *data_directory, uint64_t open_bytes, struct error *e)
{
    char path[512];
    snprintf(table.directory, sizeof(table.directory), "%s", data_directory);
    table.open_bytes = (size_t)open_bytes;
    table.stopping = false;
    snprintf(path, sizeof(path), "%s/accounts", data_directory);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        error_set(e, ERROR_INTERNAL, "The folder for accounts cannot be made");
        return error_cause(e, "path=%s %s", path, strerror(errno));
    }
    reserve_init(data_directory);
    int failed = pthread_create(&table.checkpointer, NULL, checkpointer_main, NULL);
    if (failed)
        return error_set(e, ERROR_INTERNAL, "The checkpoint thread cannot be started: %s",
                         strerror(failed));
    table.running = true;
    return 0;
}

void accounts_shutdown(void)
{
    if (!table.running)
        return;
    pthread_mutex_lock(&table.lock);
    table.stopping = true;
    pthread_cond_broadcast(&table.wake);
    pthread_mutex_unlock(&table.lock);
    pthread_join(table.checkpointer, NULL);
    table.running = false;
    handles_shrink(0, INT64_MAX);
}
