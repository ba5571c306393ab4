/* directory.c - directory.db: its schema, its handles, names, and the domains. See directory.h. */
#include "store/directory_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>

#include "base/log.h"
#include "message/address.h"

enum { READERS_KEPT = 16, HOOKS_MAX = 4 };

/* Sums and counts of a domain are kept by triggers, so that no verb can forget them. key is the local
 * part as it is compared (directory_local_key). A credential is keyed when it has both pairs of SCRAM
 * keys; the partial index answers directory_scram_complete(). */
static const struct db_step steps[] = {
    {"CREATE TABLE domain ("
     " id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
     " quota INTEGER NOT NULL DEFAULT 0, usage INTEGER NOT NULL DEFAULT 0,"
     " catch_all TEXT NOT NULL DEFAULT '', accounts INTEGER NOT NULL DEFAULT 0,"
     " aliases INTEGER NOT NULL DEFAULT 0);"
     "CREATE TABLE account ("
     " id INTEGER PRIMARY KEY AUTOINCREMENT, domain INTEGER NOT NULL REFERENCES domain(id),"
     " local TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL DEFAULT '',"
     " state INTEGER NOT NULL DEFAULT 0, quota INTEGER NOT NULL DEFAULT 0,"
     " usage INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0,"
     " created INTEGER NOT NULL, last_login INTEGER NOT NULL DEFAULT 0,"
     " administrator INTEGER NOT NULL DEFAULT 0, salt BLOB, iterations INTEGER,"
     " UNIQUE (domain, key));"
     "CREATE INDEX account_administrator ON account(id) WHERE administrator;"
     "CREATE TABLE alias ("
     " id INTEGER PRIMARY KEY AUTOINCREMENT, domain INTEGER NOT NULL REFERENCES domain(id),"
     " local TEXT NOT NULL, key TEXT NOT NULL, UNIQUE (domain, key));"
     "CREATE TABLE alias_target ("
     " alias INTEGER NOT NULL REFERENCES alias(id), address TEXT NOT NULL,"
     " PRIMARY KEY (alias, address)) WITHOUT ROWID;"
     "CREATE TABLE credential ("
     " id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES account(id),"
     " name TEXT NOT NULL, hash TEXT NOT NULL, created INTEGER NOT NULL,"
     " last_used INTEGER NOT NULL DEFAULT 0, last_from TEXT NOT NULL DEFAULT '',"
     " sha1_stored BLOB, sha1_server BLOB, sha256_stored BLOB, sha256_server BLOB,"
     " keyed INTEGER NOT NULL DEFAULT 0, UNIQUE (account, name));"
     "CREATE INDEX credential_unkeyed ON credential(account) WHERE keyed = 0;"
     "CREATE TABLE value (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;"
     "CREATE TRIGGER account_inserted AFTER INSERT ON account BEGIN"
     " UPDATE domain SET accounts = accounts + 1, usage = usage + new.usage"
     " WHERE id = new.domain; END;"
     "CREATE TRIGGER account_deleted AFTER DELETE ON account BEGIN"
     " UPDATE domain SET accounts = accounts - 1, usage = usage - old.usage"
     " WHERE id = old.domain; END;"
     "CREATE TRIGGER account_used AFTER UPDATE OF usage ON account BEGIN"
     " UPDATE domain SET usage = usage + new.usage - old.usage WHERE id = new.domain; END;"
     "CREATE TRIGGER alias_inserted AFTER INSERT ON alias BEGIN"
     " UPDATE domain SET aliases = aliases + 1 WHERE id = new.domain; END;"
     "CREATE TRIGGER alias_deleted AFTER DELETE ON alias BEGIN"
     " UPDATE domain SET aliases = aliases - 1 WHERE id = old.domain; END;",
     0},
};

static struct {
    char *path;
    struct db *writer;
    pthread_mutex_t write_lock;
    pthread_mutex_t pool_lock;
    struct db *readers[READERS_KEPT]; /* at rest */
    size_t reader_count;
    void (*hooks[HOOKS_MAX])(uint64_t, enum directory_change);
    size_t hook_count;
} directory = {.write_lock = PTHREAD_MUTEX_INITIALIZER, .pool_lock = PTHREAD_MUTEX_INITIALIZER};

/* Bumped by every write: what was computed from older contents is stale. */
static _Atomic uint64_t generation;
/* Is SCRAM complete? generation << 1 | answer, as it was found last. */
static _Atomic uint64_t scram_known;

/* ------------------------------------------------------------------ opening, handles */

static int handle_open(bool create, struct db **out, struct error *e)
{
    struct db_options options = {.path = directory.path, .create = create, .durable = true};
    return db_open(&options, out, e);
}

int directory_open(const char *data_directory, struct error *e)
{
    panic_unless(!directory.writer);
    struct buf path = BUF_INIT(4096);
    buf_printf(&path, "%s/directory.db", data_directory);
    if (path.failed) {
        buf_free(&path);
        return error_set(e, ERROR_INVALID, "The data directory's name is too long");
    }
    size_t size = path.len + 1;
    directory.path = mem_alloc(size);
    memcpy(directory.path, buf_c_string(&path), size);
    buf_free(&path);
    if (handle_open(true, &directory.writer, e) == 0) {
        if (db_migrate(directory.writer, steps, countof(steps), e) == 0) {
            generation++;
            batch_start();
            return 0;
        }
        db_close(&directory.writer);
    }
    mem_free(directory.path);
    directory.path = NULL;
    return -1;
}

void directory_close(void)
{
    if (!directory.writer)
        return;
    batch_stop();
    for (size_t i = 0; i < directory.reader_count; i++)
        db_close(&directory.readers[i]);
    directory.reader_count = 0;
    db_close(&directory.writer);
    mem_free(directory.path);
    directory.path = NULL;
    directory.hook_count = 0;
}

struct db *directory_read(struct error *e)
{
    struct db *db = NULL;
    pthread_mutex_lock(&directory.pool_lock);
    if (directory.reader_count)
        db = directory.readers[--directory.reader_count];
    pthread_mutex_unlock(&directory.pool_lock);
    if (!db && handle_open(false, &db, e) < 0)
        return NULL;
    return db;
}

int directory_read_end(struct db *db, int result, struct error *e)
{
    struct error pending;
    if (db_error(db, &pending) < 0) {
        if (e)
            *e = pending;
        db_close(&db);
        return -1;
    }
    pthread_mutex_lock(&directory.pool_lock);
    if (directory.reader_count < READERS_KEPT) {
        directory.readers[directory.reader_count++] = db;
        db = NULL;
    }
    pthread_mutex_unlock(&directory.pool_lock);
    if (db)
        db_close(&db);
    return result;
}

struct db *directory_write(struct error *e)
{
    pthread_mutex_lock(&directory.write_lock);
    if (db_begin(directory.writer, true, e) == 0)
        return directory.writer;
    pthread_mutex_unlock(&directory.write_lock);
    return NULL;
}

int directory_write_end(struct db *db, int result, struct error *e)
{
    if (result < 0) {
        struct error pending;
        if (db_error(db, &pending) < 0 && e)
            *e = pending;
        db_rollback(db);
    } else if (db_commit(db, e) < 0) {
        result = -1;
    }
    generation++;
    pthread_mutex_unlock(&directory.write_lock);
    return result;
}

void directory_on_change(void (*changed)(uint64_t account, enum directory_change what))
{
    panic_unless(directory.hook_count < HOOKS_MAX);
    directory.hooks[directory.hook_count++] = changed;
}

void directory_changed(uint64_t account, enum directory_change what)
{
    for (size_t i = 0; i < directory.hook_count; i++)
        directory.hooks[i](account, what);
}

/* ------------------------------------------------------------------ names */

struct str directory_local_key(struct str local, struct arena *arena)
{
    if (str_is_ascii(local))
        return arena_lower(arena, local);
    if (!str_is_utf8(local))
        return arena_copy(arena, local);
    size_t len = 0;
    uint8_t *normal = u8_normalize(UNINORM_NFC, (const uint8_t *)local.data, local.len, NULL, &len);
    if (!normal)
        fatal("out of memory");
    /* Simple folding: one character for one, so that no two names that look different become one. */
    struct buf key = BUF_INIT(BUF_UNBOUNDED);
    for (size_t at = 0; at < len;) {
        ucs4_t character;
        int used = u8_mbtouc(&character, normal + at, len - at);
        uint8_t bytes[6];
        int written = u8_uctomb(bytes, uc_tolower(character), sizeof(bytes));
        buf_add_bytes(&key, bytes, (size_t)MAX(written, 0));
        at += (size_t)used;
    }
    free(normal);
    struct str result = arena_copy(arena, buf_str(&key));
    buf_free(&key);
    return result;
}

struct str directory_address(struct str local, struct str domain, struct arena *arena)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    struct address address = {.local = local, .domain = domain};
    address_format(&text, &address);
    struct str result = arena_copy(arena, buf_str(&text));
    buf_free(&text);
    return result;
}

uint64_t directory_domain_id(struct db *db, struct str domain, struct arena *arena,
                             struct str *normalised)
{
    uint64_t id = 0;
    struct db_query *q;
    if (domain.len == 0) {
        q = db_query(db, "SELECT id, name FROM domain ORDER BY id LIMIT 1");
    } else {
        struct buf name = BUF_INIT(1024);
        if (domain_normalize(domain, &name) < 0) {
            *normalised = arena_lower(arena, domain);
            buf_free(&name);
            return 0;
        }
        *normalised = arena_copy(arena, buf_str(&name));
        buf_free(&name);
        q = db_query(db, "SELECT id, name FROM domain WHERE name = ?1");
        db_bind_text(q, 1, *normalised);
    }
    if (db_step(q) > 0) {
        id = (uint64_t)db_column_i64(q, 0);
        *normalised = arena_copy(arena, db_column_str(q, 1));
    }
    db_done(q);
    return id;
}

int directory_name_parse(struct db *db, struct str address, struct arena *arena,
                         struct directory_name *out, struct error *e)
{
    struct address parsed;
    struct str text = address;
    if (!str_has_char(text, '@')) /* borrow a domain for the syntax check */
        text = arena_printf(arena, STR_FMT "@localhost", STR_ARG(address));
    if (address_parse(text, arena, &parsed) < 0)
        return error_set(e, ERROR_INVALID, "%s is not a mail address", log_quote(address));
    if (text.data != address.data)
        parsed.domain = STR("");
    struct directory_name name = {.local = parsed.local,
                                  .key = directory_local_key(parsed.local, arena)};
    name.domain_id = directory_domain_id(db, parsed.domain, arena, &name.domain);
    *out = name;
    return 0;
}

/* ------------------------------------------------------------------ domains */

static int domain_unknown(struct str name, struct error *e)
{
    return error_set(e, ERROR_NOT_FOUND, "There is no domain %s here", log_quote(name));
}

int directory_domain_add(struct str name, uint64_t quota, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct buf check = BUF_INIT(1024);
    int valid = name.len && name.data[0] != '[' ? domain_normalize(name, &check) : -1;
    buf_free(&check);
    if (valid < 0)
        return error_set(e, ERROR_INVALID, "%s is not a domain name", log_quote(name));
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct str normalised;
    int result = 0;
    if (directory_domain_id(db, name, &arena, &normalised)) {
        result = error_set(e, ERROR_EXISTS, "The domain " STR_FMT " is there already",
                           STR_ARG(normalised));
    } else {
        struct db_query *q = db_query(db, "INSERT INTO domain (name, quota) VALUES (?1, ?2)");
        db_bind_text(q, 1, normalised);
        db_bind_i64(q, 2, (int64_t)quota);
        db_run(q);
    }
    return directory_write_end(db, result, e);
}

int directory_domain_set(struct str name, const uint64_t *quota, const struct str *catch_all,
                         struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct str normalised;
    uint64_t id = name.len ? directory_domain_id(db, name, &arena, &normalised) : 0;
    if (!id)
        return directory_write_end(db, domain_unknown(name, e), e);
    if (quota) {
        struct db_query *q = db_query(db, "UPDATE domain SET quota = ?1 WHERE id = ?2");
        db_bind_i64(q, 1, (int64_t)*quota);
        db_bind_i64(q, 2, (int64_t)id);
        db_run(q);
    }
    if (catch_all) {
        struct str target = STR("");
        struct directory_name parsed;
        if (catch_all->len) {
            if (directory_name_parse(db, *catch_all, &arena, &parsed, e) < 0)
                return directory_write_end(db, -1, e);
            target = directory_address(parsed.local, parsed.domain, &arena);
        }
        struct db_query *q = db_query(db, "UPDATE domain SET catch_all = ?1 WHERE id = ?2");
        db_bind_text(q, 1, target);
        db_bind_i64(q, 2, (int64_t)id);
        db_run(q);
    }
    return directory_write_end(db, 0, e);
}

#define DOMAIN_COLUMNS "SELECT id, name, quota, usage, catch_all, accounts, aliases FROM domain"

static void domain_row(struct db_query *q, struct arena *arena, struct domain *out)
{
    *out = (struct domain){
        .id = (uint64_t)db_column_i64(q, 0),
        .name = arena_copy(arena, db_column_str(q, 1)),
        .quota = (uint64_t)db_column_i64(q, 2),
        .usage = (uint64_t)MAX(db_column_i64(q, 3), (int64_t)0),
        .catch_all = arena_copy(arena, db_column_str(q, 4)),
        .accounts = (uint64_t)db_column_i64(q, 5),
        .aliases = (uint64_t)db_column_i64(q, 6),
    };
}

int directory_domain_remove(struct str name, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct str normalised;
    struct domain domain = {0};
    uint64_t id = name.len ? directory_domain_id(db, name, &arena, &normalised) : 0;
    struct db_query *q = db_query(db, DOMAIN_COLUMNS " WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)id);
    if (db_step(q) > 0)
        domain_row(q, &arena, &domain);
    db_done(q);
    int result = 0;
    if (!domain.id) {
        result = domain_unknown(name, e);
    } else if (domain.accounts || domain.aliases) {
        result = error_set(e, ERROR_DENIED,
                           STR_FMT " still has %llu accounts and %llu aliases: remove them first",
                           STR_ARG(domain.name), (unsigned long long)domain.accounts,
                           (unsigned long long)domain.aliases);
    } else {
        q = db_query(db, "DELETE FROM domain WHERE id = ?1");
        db_bind_i64(q, 1, (int64_t)id);
        db_run(q);
    }
    return directory_write_end(db, result, e);
}

int directory_domain_find(struct str name, struct arena *arena, struct domain *out, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    int result = 0;
    struct str normalised;
    uint64_t id = directory_domain_id(db, name, arena, &normalised);
    struct db_query *q = db_query(db, DOMAIN_COLUMNS " WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)id);
    if (db_step(q) > 0)
        domain_row(q, arena, out);
    else
        result = domain_unknown(name, e);
    db_done(q);
    return directory_read_end(db, result, e);
}

int directory_domain_list(struct arena *arena, struct domain **out, size_t *count, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    struct domain *list = NULL;
    size_t len = 0;
    struct db_query *q = db_query(db, DOMAIN_COLUMNS " ORDER BY name");
    while (db_step(q) > 0)
        domain_row(q, arena, ARENA_PUSH(arena, list, len));
    db_done(q);
    if (directory_read_end(db, 0, e) < 0)
        return -1;
    *out = list;
    *count = len;
    return 0;
}

/* ------------------------------------------------------------------ values, and is SCRAM complete */

int directory_value_get(struct str name, struct arena *arena, struct str *out, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    int result = 0;
    struct db_query *q = db_query(db, "SELECT data FROM value WHERE name = ?1");
    db_bind_text(q, 1, name);
    if (db_step(q) > 0)
        *out = arena_copy(arena, db_column_str(q, 0));
    else
        result = error_set(e, ERROR_NOT_FOUND, "No value %s", log_quote(name));
    db_done(q);
    return directory_read_end(db, result, e);
}

int directory_value_set(struct str name, struct str value, struct error *e)
{
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct db_query *q = db_query(db, "INSERT INTO value (name, data) VALUES (?1, ?2)"
                                      " ON CONFLICT (name) DO UPDATE SET data = ?2");
    db_bind_text(q, 1, name);
    db_bind_blob(q, 2, value);
    db_run(q);
    return directory_write_end(db, 0, e);
}

bool directory_scram_complete(void)
{
    uint64_t now = generation, known = scram_known;
    if (known >> 1 == now)
        return known & 1;
    struct db *db = directory_read(NULL);
    if (!db)
        return false;
    struct db_query *q = db_query(
        db, "SELECT 1 FROM credential c INDEXED BY credential_unkeyed"
            " JOIN account a ON a.id = c.account WHERE c.keyed = 0 AND a.state <> ?1 LIMIT 1");
    db_bind_i64(q, 1, ACCOUNT_DISABLED);
    int found = db_step(q);
    db_done(q);
    if (directory_read_end(db, 0, NULL) < 0 || found < 0)
        return false;
    scram_known = now << 1 | (found == 0);
    return found == 0;
}
