/* db.c - SQLite as this server uses it. See db.h. */
#include "store/db.h"

#include <sqlite3.h>

#include "base/log.h"

enum { QUERIES_MAX = 128, BUSY_TIMEOUT_MS = 10000 };

struct db_query {
    sqlite3_stmt *statement; /* NULL: could not be prepared */
    struct db *db;
    const char *sql;
};

struct db {
    sqlite3 *handle;
    struct db_query queries[QUERIES_MAX]; /* by the SQL text's address */
    size_t query_count;
    bool in_transaction; /* between db_begin and its end, as we see it */
    bool failed;         /* an error is pending */
    struct error pending;
    char path[256];
};

/* Turns what SQLite says into an error of ours. */
static int sqlite_error(sqlite3 *handle, int code, struct error *e)
{
    enum error_class class = ERROR_INTERNAL;
    const char *text = "The database failed";
    int extended = handle ? sqlite3_extended_errcode(handle) : code;
    switch (code & 0xFF) {
    case SQLITE_FULL:
        class = ERROR_FULL;
        text = "The disk is full";
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        class = ERROR_TEMPORARY;
        text = "The database is busy";
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        class = ERROR_CORRUPT;
        text = "The database is damaged";
        break;
    case SQLITE_IOERR:
        /* A write that fails for want of room, or past a file size limit, comes as an I/O error. */
        if (extended == SQLITE_IOERR_WRITE || extended == SQLITE_IOERR_TRUNCATE ||
            extended == SQLITE_IOERR_SHMSIZE || extended == SQLITE_IOERR_FSYNC) {
            class = ERROR_FULL;
            text = "The disk is full or failed";
        }
        break;
    default:
        break;
    }
    error_set(e, class, "%s", text);
    return error_cause(e, "sqlite=%d %s", extended, handle ? sqlite3_errmsg(handle) : "");
}

static void db_fail(struct db *db, int code)
{
    if (db->failed)
        return;
    db->failed = true;
    sqlite_error(db->handle, code, &db->pending);
}

int db_error(struct db *db, struct error *e)
{
    if (!db->failed)
        return 0;
    /* After some errors (full disk, I/O) SQLite has rolled back by itself: nothing more may run in what
     * would be a transaction for each statement. */
    db->failed = db->in_transaction && sqlite3_get_autocommit(db->handle);
    if (e)
        *e = db->pending;
    return -1;
}

int db_exec(struct db *db, const char *sql, struct error *e)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : sqlite_error(db->handle, code, e);
}

static int pragmas_set(struct db *db, const struct db_options *o, struct error *e)
{
    char text[512];
    unsigned cache = o->cache_kb ? o->cache_kb : 256;
    /* page_size and auto_vacuum take effect only before the first table is made. */
    snprintf(text, sizeof(text),
             "PRAGMA page_size=%u; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;",
             o->page_size ? o->page_size : 4096);
    if (!o->read_only && o->create && db_exec(db, text, e) < 0)
        return -1;
    snprintf(text, sizeof(text),
             "PRAGMA synchronous=%s; PRAGMA cache_size=-%u; PRAGMA temp_store=MEMORY;"
             "PRAGMA secure_delete=FAST; PRAGMA journal_size_limit=4194304;"
             "PRAGMA wal_autocheckpoint=%u; PRAGMA mmap_size=%llu; PRAGMA foreign_keys=OFF;",
             o->durable ? "FULL" : "NORMAL", cache, o->checkpoint_pages ? o->checkpoint_pages : 256,
             (unsigned long long)o->mmap_size);
    return db_exec(db, text, e);
}

int db_open(const struct db_options *options, struct db **out, struct error *e)
{
    struct db *db = mem_alloc(sizeof(*db));
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    flags |= options->read_only
                 ? SQLITE_OPEN_READONLY
                 : SQLITE_OPEN_READWRITE | (options->create ? SQLITE_OPEN_CREATE : 0);
    snprintf(db->path, sizeof(db->path), "%s", options->path);
    int code = sqlite3_open_v2(options->path, &db->handle, flags, NULL);
    if (code != SQLITE_OK) {
        sqlite_error(db->handle, code, e);
        if ((code & 0xFF) == SQLITE_CANTOPEN)
            error_set(e, ERROR_INTERNAL, "A database cannot be opened"),
                error_cause(e, "path=%s errno=%s", options->path,
                            strerror(db->handle ? sqlite3_system_errno(db->handle) : 0));
        db_close(&db);
        return -1;
    }
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, options->keep_log ? 1 : 0,
                      NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (pragmas_set(db, options, e) < 0) {
        db_close(&db);
        return -1;
    }
    *out = db;
    return 0;
}

void db_close(struct db **db)
{
    if (!*db)
        return;
    for (size_t i = 0; i < (*db)->query_count; i++)
        sqlite3_finalize((*db)->queries[i].statement);
    sqlite3_close_v2((*db)->handle);
    mem_free(*db);
    *db = NULL;
}

void db_close_log(struct db *db)
{
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

size_t db_memory(const struct db *db)
{
    static const int kinds[] = {SQLITE_DBSTATUS_CACHE_USED, SQLITE_DBSTATUS_SCHEMA_USED,
                                SQLITE_DBSTATUS_STMT_USED, SQLITE_DBSTATUS_LOOKASIDE_USED};
    size_t sum = sizeof(*db);
    for (size_t i = 0; i < countof(kinds); i++) {
        int now = 0, most = 0;
        sqlite3_db_status(db->handle, kinds[i], &now, &most, 0);
        sum += (size_t)MAX(now, 0);
    }
    return sum;
}

/* ------------------------------------------------------------------ transactions */

int db_begin(struct db *db, bool write, struct error *e)
{
    panic_unless(!db->failed);
    struct db_query *q = db_query(db, write ? "BEGIN IMMEDIATE" : "BEGIN");
    db_run(q);
    if (db_error(db, e) < 0)
        return -1;
    db->in_transaction = true;
    return 0;
}

int db_commit(struct db *db, struct error *e)
{
    if (!db->failed)
        db_run(db_query(db, "COMMIT"));
    if (db->failed) {
        if (e)
            *e = db->pending;
        db_rollback(db);
        return -1;
    }
    db->in_transaction = false;
    return 0;
}

void db_rollback(struct db *db)
{
    db->failed = db->in_transaction = false;
    if (!sqlite3_get_autocommit(db->handle))
        db_run(db_query(db, "ROLLBACK"));
    db->failed = false;
}

int db_migrate(struct db *db, const struct db_step *steps, size_t count, struct error *e)
{
    struct db_query *q = db_query(db, "PRAGMA user_version");
    unsigned stored = db_step(q) == 1 ? (unsigned)db_column_i64(q, 0) : 0;
    db_done(q);
    if (db_error(db, e) < 0)
        return -1;
    unsigned version = stored & 0xFFFF, minimum = stored >> 16;
    if (minimum > count) {
        error_set(e, ERROR_INVALID, "The data were written by a newer version of Posthouse");
        return error_cause(e, "path=%s needs-schema=%u this-program=%zu", db->path, minimum, count);
    }
    if (version >= count)
        return 0;
    if (db_begin(db, true, e) < 0)
        return -1;
    /* Another thread or process may have been first. */
    q = db_query(db, "PRAGMA user_version");
    stored = db_step(q) == 1 ? (unsigned)db_column_i64(q, 0) : 0;
    db_done(q);
    version = stored & 0xFFFF;
    minimum = stored >> 16;
    for (size_t i = version; i < count; i++) {
        if (db_exec(db, steps[i].sql, e) < 0) {
            db_rollback(db);
            return -1;
        }
        minimum = MAX(minimum, steps[i].minimum_reader);
    }
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA user_version=%u", (unsigned)(minimum << 16 | count));
    if (version < count && db_exec(db, text, e) < 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, e);
}

/* ------------------------------------------------------------------ statements */

struct db_query *db_query(struct db *db, const char *sql)
{
    for (size_t i = 0; i < db->query_count;
         i++) /* one that stands on a row is in use: another is made */
        if (db->queries[i].sql == sql && !sqlite3_stmt_busy(db->queries[i].statement))
            return &db->queries[i];
    panic_unless(db->query_count < QUERIES_MAX);
    struct db_query *q = &db->queries[db->query_count++];
    *q = (struct db_query){.db = db, .sql = sql};
    int code =
        sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->statement, NULL);
    if (code != SQLITE_OK) {
        db_fail(db, code);
        db->query_count--;
        q->statement = NULL;
    }
    return q;
}

static void bind_checked(struct db_query *q, int code)
{
    if (code != SQLITE_OK)
        db_fail(q->db, code);
}

void db_bind_i64(struct db_query *q, int index, int64_t value)
{
    if (q->statement)
        bind_checked(q, sqlite3_bind_int64(q->statement, index, value));
}

void db_bind_text(struct db_query *q, int index, struct str value)
{
    if (q->statement)
        bind_checked(q, sqlite3_bind_text64(q->statement, index, value.data ? value.data : "",
                                            value.len, SQLITE_STATIC, SQLITE_UTF8));
}

void db_bind_blob(struct db_query *q, int index, struct str value)
{
    if (q->statement)
        bind_checked(q, sqlite3_bind_blob64(q->statement, index, value.data ? value.data : "",
                                            value.len, SQLITE_STATIC));
}

void db_bind_null(struct db_query *q, int index)
{
    if (q->statement)
        bind_checked(q, sqlite3_bind_null(q->statement, index));
}

int db_step(struct db_query *q)
{
    if (q->db->failed || !q->statement) {
        if (!q->db->failed)
            db_fail(q->db, SQLITE_ERROR);
        return -1;
    }
    int code = sqlite3_step(q->statement);
    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    db_fail(q->db, code);
    return -1;
}

int64_t db_column_i64(struct db_query *q, int column)
{
    return sqlite3_column_int64(q->statement, column);
}

struct str db_column_str(struct db_query *q, int column)
{
    const void *data = sqlite3_column_blob(q->statement, column);
    return str_of(data, (size_t)sqlite3_column_bytes(q->statement, column));
}

bool db_column_is_null(struct db_query *q, int column)
{
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL;
}

void db_done(struct db_query *q)
{
    if (q->statement) {
        sqlite3_reset(q->statement);
        sqlite3_clear_bindings(q->statement);
    }
}

int db_run(struct db_query *q)
{
    int result;
    while ((result = db_step(q)) == 1)
        ;
    db_done(q);
    return result;
}

int64_t db_last_rowid(struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->handle);
}

int db_checkpoint(struct db *db)
{
    return sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) ==
                   SQLITE_OK
               ? 0
               : -1;
}

int64_t db_vacuum(struct db *db, unsigned pages)
{
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%u)", pages);
    sqlite3_exec(db->handle, text, NULL, NULL, NULL);
    struct db_query *q = db_query(db, "PRAGMA freelist_count");
    int64_t left = db_step(q) == 1 ? db_column_i64(q, 0) : 0;
    db_done(q);
    db->failed = false;
    return left;
}

void db_wal_empty(struct db *db)
{
    sqlite3_busy_timeout(db->handle, 0);
    sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
}
