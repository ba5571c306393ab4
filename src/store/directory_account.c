/* directory_account.c - the directory's accounts. See directory.h. */
#include "base/clock.h"
#include "base/log.h"
#include "store/directory_private.h"

enum { PERSON_NAME_MAX = 200, LIST_MAX = 10000 };

#define ACCOUNT_COLUMNS                                                                       \
    "SELECT a.id, a.local, d.name, a.name, a.state, a.quota, a.usage, a.messages, a.created," \
    " a.last_login, a.administrator FROM "

static void account_row(struct db_query *q, struct arena *arena, struct account_entry *out)
{
    *out = (struct account_entry){
        .id = (uint64_t)db_column_i64(q, 0),
        .address = directory_address(db_column_str(q, 1), db_column_str(q, 2), arena),
        .name = arena_copy(arena, db_column_str(q, 3)),
        .state = (enum account_state)db_column_i64(q, 4),
        .quota = (uint64_t)db_column_i64(q, 5),
        .usage = (uint64_t)db_column_i64(q, 6),
        .messages = (uint64_t)db_column_i64(q, 7),
        .created = db_column_i64(q, 8),
        .last_login = db_column_i64(q, 9),
        .administrator = db_column_i64(q, 10) != 0,
    };
    batch_overlay_account(out);
}

static int account_unknown(struct str address, struct error *e)
{
    return error_set(e, ERROR_NOT_FOUND, "There is no account %s", log_quote(address));
}

uint64_t directory_account_id(struct db *db, const struct directory_name *name)
{
    struct db_query *q = db_query(db, "SELECT id FROM account WHERE domain = ?1 AND key = ?2");
    db_bind_i64(q, 1, (int64_t)name->domain_id);
    db_bind_text(q, 2, name->key);
    uint64_t id = db_step(q) > 0 ? (uint64_t)db_column_i64(q, 0) : 0;
    db_done(q);
    return id;
}

/* Parses and finds; -1 with *e set. */
static int account_lookup(struct db *db, struct str address, struct arena *arena, uint64_t *id,
                          struct error *e)
{
    struct directory_name name;
    if (directory_name_parse(db, address, arena, &name, e) < 0)
        return -1;
    *id = directory_account_id(db, &name);
    return *id ? 0 : account_unknown(address, e);
}

static int person_name_check(struct str name, struct error *e)
{
    if (name.len > PERSON_NAME_MAX || !str_is_utf8(name))
        return error_set(e, ERROR_INVALID, "A name has at most %d bytes of UTF-8", PERSON_NAME_MAX);
    for (size_t i = 0; i < name.len; i++)
        if (ascii_is_control(name.data[i]))
            return error_set(e, ERROR_INVALID, "A name cannot have control characters");
    return 0;
}

/* May a new account have this name? */
static int account_name_check(struct db *db, const struct directory_name *name, struct str address,
                              struct error *e)
{
    if (!str_has_char(address, '@'))
        return error_set(e, ERROR_INVALID, "%s is not a whole address: say name@domain",
                         log_quote(address));
    if (!name->domain_id && name->domain.len)
        return error_set(e, ERROR_NOT_FOUND, "There is no domain " STR_FMT " here: add it first",
                         STR_ARG(name->domain));
    if (!name->domain_id)
        return error_set(e, ERROR_NOT_FOUND, "There is no domain yet: add one first");
    if (directory_account_id(db, name))
        return error_set(e, ERROR_EXISTS, "The account %s is there already", log_quote(address));
    if (directory_alias_id(db, name))
        return error_set(e, ERROR_EXISTS, "%s is an alias: remove it first", log_quote(address));
    return 0;
}

int directory_account_add(struct str address, struct str name, uint64_t quota, uint64_t *id,
                          struct error *e)
{
    if (person_name_check(name, e) < 0)
        return -1;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct directory_name parsed;
    if (directory_name_parse(db, address, &arena, &parsed, e) < 0 ||
        account_name_check(db, &parsed, address, e) < 0)
        return directory_write_end(db, -1, e);
    struct db_query *q =
        db_query(db, "INSERT INTO account (domain, local, key, name, quota, created, administrator)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
                     " NOT EXISTS (SELECT 1 FROM account WHERE administrator))");
    db_bind_i64(q, 1, (int64_t)parsed.domain_id);
    db_bind_text(q, 2, parsed.local);
    db_bind_text(q, 3, parsed.key);
    db_bind_text(q, 4, name);
    db_bind_i64(q, 5, (int64_t)quota);
    db_bind_i64(q, 6, clock_real_seconds());
    db_run(q);
    uint64_t made = (uint64_t)db_last_rowid(db);
    if (directory_write_end(db, 0, e) < 0)
        return -1;
    *id = made;
    return 0;
}

static void column_set_i64(struct db *db, const char *sql, uint64_t id, int64_t value)
{
    struct db_query *q = db_query(db, sql);
    db_bind_i64(q, 1, (int64_t)id);
    db_bind_i64(q, 2, value);
    db_run(q);
}

int directory_account_set(struct str address, const enum account_state *state,
                          const uint64_t *quota, const struct str *name, struct error *e)
{
    if (name && person_name_check(*name, e) < 0)
        return -1;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    uint64_t id = 0;
    if (account_lookup(db, address, &arena, &id, e) < 0)
        return directory_write_end(db, -1, e);
    if (state)
        column_set_i64(db, "UPDATE account SET state = ?2 WHERE id = ?1", id, (int64_t)*state);
    if (quota)
        column_set_i64(db, "UPDATE account SET quota = ?2 WHERE id = ?1", id, (int64_t)*quota);
    if (name) {
        struct db_query *q = db_query(db, "UPDATE account SET name = ?2 WHERE id = ?1");
        db_bind_i64(q, 1, (int64_t)id);
        db_bind_text(q, 2, *name);
        db_run(q);
    }
    if (directory_write_end(db, 0, e) < 0)
        return -1;
    if (state && *state != ACCOUNT_ENABLED)
        directory_changed(id, DIRECTORY_STATE);
    return 0;
}

int directory_account_administrator(struct str address, bool administrator, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    uint64_t id = 0;
    int result = account_lookup(db, address, &arena, &id, e);
    if (result == 0)
        column_set_i64(db, "UPDATE account SET administrator = ?2 WHERE id = ?1", id,
                       administrator);
    return directory_write_end(db, result, e);
}

int directory_account_remove(struct str address, uint64_t *id, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    uint64_t found = 0;
    if (account_lookup(db, address, &arena, &found, e) < 0)
        return directory_write_end(db, -1, e);
    struct db_query *q = db_query(db, "DELETE FROM credential WHERE account = ?1");
    db_bind_i64(q, 1, (int64_t)found);
    db_run(q);
    q = db_query(db, "DELETE FROM account WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)found);
    db_run(q);
    if (directory_write_end(db, 0, e) < 0)
        return -1;
    directory_changed(found, DIRECTORY_REMOVED);
    *id = found;
    return 0;
}

static int account_read(struct db *db, uint64_t id, struct arena *arena, struct account_entry *out)
{
    struct db_query *q =
        db_query(db, ACCOUNT_COLUMNS "account a JOIN domain d ON d.id = a.domain WHERE a.id = ?1");
    db_bind_i64(q, 1, (int64_t)id);
    int found = db_step(q);
    if (found > 0)
        account_row(q, arena, out);
    db_done(q);
    return found > 0 ? 0 : -1;
}

int directory_account_find(struct str address, struct arena *arena, struct account_entry *out,
                           struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    uint64_t id = 0;
    int result = account_lookup(db, address, arena, &id, e);
    if (result == 0 && account_read(db, id, arena, out) < 0)
        result = account_unknown(address, e);
    return directory_read_end(db, result, e);
}

int directory_account_get(uint64_t id, struct arena *arena, struct account_entry *out,
                          struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    int result = account_read(db, id, arena, out);
    if (result < 0)
        error_set(e, ERROR_NOT_FOUND, "There is no account number %llu", (unsigned long long)id);
    return directory_read_end(db, result, e);
}

/* Where a page begins: behind after, or at the beginning. */
static int list_start(struct db *db, struct str after, struct arena *arena,
                      struct directory_name *out, struct error *e)
{
    *out = (struct directory_name){.key = STR(""), .domain = STR("")};
    return after.len ? directory_name_parse(db, after, arena, out, e) : 0;
}

static struct db_query *list_query(struct db *db, uint64_t domain,
                                   const struct directory_name *start, size_t limit)
{
    struct db_query *q;
    if (domain) {
        q = db_query(db, ACCOUNT_COLUMNS "account a JOIN domain d ON d.id = a.domain"
                                         " WHERE a.domain = ?4 AND a.key > ?2 AND ?1 = ?1"
                                         " ORDER BY a.key LIMIT ?3");
        db_bind_i64(q, 4, (int64_t)domain);
    } else {
        q = db_query(db, ACCOUNT_COLUMNS "domain d CROSS JOIN account a ON a.domain = d.id"
                                         " WHERE d.name >= ?1 AND (d.name > ?1 OR a.key > ?2)"
                                         " ORDER BY d.name, a.key LIMIT ?3");
    }
    db_bind_text(q, 1, start->domain);
    db_bind_text(q, 2, start->key);
    db_bind_i64(q, 3, (int64_t)MIN(limit, (size_t)LIST_MAX));
    return q;
}

int directory_account_list(struct str domain, struct str after, size_t limit, struct arena *arena,
                           struct account_entry **out, size_t *count, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    struct directory_name start;
    struct str normalised;
    uint64_t domain_id = domain.len ? directory_domain_id(db, domain, arena, &normalised) : 0;
    if (domain.len && !domain_id) {
        error_set(e, ERROR_NOT_FOUND, "There is no domain %s here", log_quote(domain));
        return directory_read_end(db, -1, e);
    }
    if (list_start(db, after, arena, &start, e) < 0)
        return directory_read_end(db, -1, e);
    struct account_entry *list = NULL;
    size_t len = 0;
    struct db_query *q = list_query(db, domain_id, &start, limit);
    while (db_step(q) > 0)
        account_row(q, arena, ARENA_PUSH(arena, list, len));
    db_done(q);
    if (directory_read_end(db, 0, e) < 0)
        return -1;
    *out = list;
    *count = len;
    return 0;
}
