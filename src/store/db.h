/* db.h - SQLite as this server uses it: WAL, prepared statements kept by their text, errors as
 * struct error.
 *
 * A handle is used by one thread at a time. Statements are prepared at first use and kept until the
 * handle closes; a statement's SQL is a static string, whose address is the key. An error sets the
 * handle's error, which stays until db_error() takes it; further steps of the same transaction fail
 * at once, so a row of writes may be checked at the commit. When SQLite has rolled the transaction back
 * by itself, the error stays until db_commit() or db_rollback() has ended it.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include "base/buf.h"
#include "base/error.h"

struct db;
struct db_query; /* a prepared statement of a handle */

struct db_options {
    const char *path;
    bool create;
    bool read_only;
    bool durable;              /* synchronous=FULL: a commit is on the disk; else NORMAL */
    unsigned page_size;        /* at creation; 0 = 4096 */
    unsigned cache_kb;         /* page cache; 0 = 256 */
    unsigned checkpoint_pages; /* wal_autocheckpoint; 0 = 256 */
    uint64_t mmap_size;
    bool
        keep_log; /* whoever closes it last leaves the write-ahead log as it is, for another to copy */
};

int db_open(const struct db_options *options, struct db **out, struct error *e);
void db_close(struct db **db);
/* Whoever closes it last copies the log and removes it, though it was opened with keep_log. */
void db_close_log(struct db *db);
size_t db_memory(const struct db *db); /* bytes that this handle holds now */

/* Runs statements without results (may be several, with ;). */
int db_exec(struct db *db, const char *sql, struct error *e);

/* Brings a database to the newest schema: steps[i] leads from version i to i + 1, all in one
 * transaction. The version and the lowest program version that can still read it stand in PRAGMA
 * user_version (version in the low 16 bits, minimum reader in the high 16). A database whose minimum
 * reader is above count is refused with a message that names both. */
struct db_step {
    const char *sql;
    unsigned minimum_reader; /* 0 = older programs can still read and write it */
};
int db_migrate(struct db *db, const struct db_step *steps, size_t count, struct error *e);

/* Transactions. write: BEGIN IMMEDIATE. */
int db_begin(struct db *db, bool write, struct error *e);
int db_commit(struct db *db,
              struct error *e); /* rolled back when it fails, or an error is pending */
void db_rollback(struct db *db);

/* The statement for this SQL text (another one while a cursor stands on a row of the first), reset and with bindings cleared. On an error the result is a
 * query whose steps fail. Give it back with db_done(). */
struct db_query *db_query(struct db *db, const char *sql);
void db_bind_i64(struct db_query *q, int index, int64_t value);
void db_bind_text(struct db_query *q, int index,
                  struct str value); /* not copied: valid until done */
void db_bind_blob(struct db_query *q, int index, struct str value); /* not copied */
void db_bind_null(struct db_query *q, int index);
int db_step(struct db_query *q); /* 1 a row, 0 done, -1 error (pending in the handle) */
int64_t db_column_i64(struct db_query *q, int column);
struct str db_column_str(struct db_query *q, int column); /* text or blob; until the next step */
bool db_column_is_null(struct db_query *q, int column);
void db_done(struct db_query *q); /* reset; views of columns end */

/* Step once and done: for INSERT, UPDATE, DELETE. */
int db_run(struct db_query *q);
int64_t db_last_rowid(struct db *db);
int64_t db_changes(struct db *db);

/* Copies what the WAL has into the database file, as far as readers allow. */
int db_checkpoint(struct db *db);
/* Gives up to that many free pages back to the file system; how many are left. */
int64_t db_vacuum(struct db *db, unsigned pages);
/* Copies and empties the WAL, unless a reader is in the way: it waits for nobody. */
void db_wal_empty(struct db *db);

/* Takes the pending error: sets *e (ERROR_FULL for a full disk, ERROR_CORRUPT, ERROR_TEMPORARY for
 * busy, else ERROR_INTERNAL; cause has SQLite's message) and returns -1; 0 when there is none. */
int db_error(struct db *db, struct error *e);

#endif
