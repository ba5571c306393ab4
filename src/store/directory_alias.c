/* directory_alias.c - addresses that stand for others. See directory.h. */
#include "base/log.h"
#include "store/directory_private.h"

static int alias_unknown(struct str address, struct error *e)
{
    return error_set(e, ERROR_NOT_FOUND, "There is no alias %s", log_quote(address));
}

uint64_t directory_alias_id(struct db *db, const struct directory_name *name)
{
    struct db_query *q = db_query(db, "SELECT id FROM alias WHERE domain = ?1 AND key = ?2");
    db_bind_i64(q, 1, (int64_t)name->domain_id);
    db_bind_text(q, 2, name->key);
    uint64_t id = db_step(q) > 0 ? (uint64_t)db_column_i64(q, 0) : 0;
    db_done(q);
    return id;
}

static int alias_make(struct db *db, const struct directory_name *name, struct str address,
                      uint64_t *id, struct error *e)
{
    if (!name->domain_id)
        return error_set(e, ERROR_NOT_FOUND, "There is no domain " STR_FMT " here: add it first",
                         STR_ARG(name->domain));
    if (directory_account_id(db, name))
        return error_set(e, ERROR_EXISTS, "%s is an account: an alias needs another name",
                         log_quote(address));
    *id = directory_alias_id(db, name);
    if (*id)
        return 0;
    struct db_query *q = db_query(db, "INSERT INTO alias (domain, local, key) VALUES (?1, ?2, ?3)");
    db_bind_i64(q, 1, (int64_t)name->domain_id);
    db_bind_text(q, 2, name->local);
    db_bind_text(q, 3, name->key);
    db_run(q);
    *id = (uint64_t)db_last_rowid(db);
    return 0;
}

/* Adds a target unless it is there; one of ours is compared as accounts are. */
static int target_add(struct db *db, uint64_t alias, struct str target, struct arena *arena,
                      struct error *e)
{
    struct directory_name name;
    if (directory_name_parse(db, target, arena, &name, e) < 0)
        return -1;
    struct str local = name.domain_id ? name.key : name.local;
    struct db_query *q =
        db_query(db, "INSERT OR IGNORE INTO alias_target (alias, address) VALUES (?1, ?2)");
    db_bind_i64(q, 1, (int64_t)alias);
    db_bind_text(q, 2, directory_address(local, name.domain, arena));
    db_run(q);
    return 0;
}

static uint64_t target_count(struct db *db, uint64_t alias)
{
    struct db_query *q = db_query(db, "SELECT count(*) FROM alias_target WHERE alias = ?1");
    db_bind_i64(q, 1, (int64_t)alias);
    uint64_t count = db_step(q) > 0 ? (uint64_t)db_column_i64(q, 0) : 0;
    db_done(q);
    return count;
}

int directory_alias_add(struct str address, const struct str *targets, size_t count,
                        struct error *e)
{
    if (!count)
        return error_set(e, ERROR_INVALID, "An alias needs at least one address to stand for");
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct directory_name name;
    uint64_t id = 0;
    int result = directory_name_parse(db, address, &arena, &name, e);
    if (result == 0)
        result = alias_make(db, &name, address, &id, e);
    for (size_t i = 0; result == 0 && i < count; i++) {
        struct directory_name target;
        if (directory_name_parse(db, targets[i], &arena, &target, NULL) == 0 && name.domain_id &&
            target.domain_id == name.domain_id && str_equal(target.key, name.key))
            result =
                error_set(e, ERROR_INVALID, "An alias cannot stand for itself: that is a loop");
        else
            result = target_add(db, id, targets[i], &arena, e);
    }
    if (result == 0 && target_count(db, id) > ALIAS_TARGETS_MAX)
        result = error_set(e, ERROR_LIMIT, "An alias stands for at most %d addresses",
                           ALIAS_TARGETS_MAX);
    return directory_write_end(db, result, e);
}

static int target_remove(struct db *db, uint64_t alias, struct str target, struct arena *arena,
                         struct error *e)
{
    struct directory_name name;
    if (directory_name_parse(db, target, arena, &name, e) < 0)
        return -1;
    struct str local = name.domain_id ? name.key : name.local;
    struct db_query *q =
        db_query(db, "DELETE FROM alias_target WHERE alias = ?1 AND address IN (?2, ?3)");
    db_bind_i64(q, 1, (int64_t)alias);
    db_bind_text(q, 2, directory_address(local, name.domain, arena));
    db_bind_text(q, 3, target);
    if (db_run(q) == 0 && db_changes(db) == 0)
        return error_set(e, ERROR_NOT_FOUND, "The alias does not stand for %s", log_quote(target));
    return 0;
}

int directory_alias_remove(struct str address, const struct str *targets, size_t count,
                           struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct directory_name name;
    if (directory_name_parse(db, address, &arena, &name, e) < 0)
        return directory_write_end(db, -1, e);
    uint64_t id = directory_alias_id(db, &name);
    if (!id)
        return directory_write_end(db, alias_unknown(address, e), e);
    int result = 0;
    for (size_t i = 0; result == 0 && i < count; i++)
        result = target_remove(db, id, targets[i], &arena, e);
    if (result == 0 && (!count || target_count(db, id) == 0)) {
        struct db_query *q = db_query(db, "DELETE FROM alias_target WHERE alias = ?1");
        db_bind_i64(q, 1, (int64_t)id);
        db_run(q);
        q = db_query(db, "DELETE FROM alias WHERE id = ?1");
        db_bind_i64(q, 1, (int64_t)id);
        db_run(q);
    }
    return directory_write_end(db, result, e);
}

static void targets_read(struct db *db, uint64_t id, struct arena *arena, struct alias *out)
{
    struct db_query *q =
        db_query(db, "SELECT address FROM alias_target WHERE alias = ?1 ORDER BY address");
    db_bind_i64(q, 1, (int64_t)id);
    while (db_step(q) > 0)
        *ARENA_PUSH(arena, out->targets, out->target_count) =
            arena_copy(arena, db_column_str(q, 0));
    db_done(q);
}

int directory_alias_find(struct str address, struct arena *arena, struct alias *out,
                         struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    if (db_begin(db, false, e) < 0)
        return directory_read_end(db, -1, e);
    struct directory_name name;
    int result = directory_name_parse(db, address, arena, &name, e);
    uint64_t id = result == 0 ? directory_alias_id(db, &name) : 0;
    if (id) {
        *out = (struct alias){.address = directory_address(name.local, name.domain, arena)};
        targets_read(db, id, arena, out);
    } else if (result == 0) {
        result = alias_unknown(address, e);
    }
    db_rollback(db);
    return directory_read_end(db, result, e);
}

int directory_alias_list(struct str domain, struct arena *arena, struct alias **out, size_t *count,
                         struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    struct str normalised;
    uint64_t domain_id = domain.len ? directory_domain_id(db, domain, arena, &normalised) : 0;
    if (domain.len && !domain_id) {
        error_set(e, ERROR_NOT_FOUND, "There is no domain %s here", log_quote(domain));
        return directory_read_end(db, -1, e);
    }
    struct alias *list = NULL;
    size_t len = 0;
    uint64_t last = 0;
    struct db_query *q =
        db_query(db, "SELECT a.id, a.local, d.name, t.address FROM domain d"
                     " JOIN alias a ON a.domain = d.id JOIN alias_target t ON t.alias = a.id"
                     " WHERE ?1 = 0 OR d.id = ?1 ORDER BY d.name, a.key, t.address");
    db_bind_i64(q, 1, (int64_t)domain_id);
    while (db_step(q) > 0) {
        uint64_t id = (uint64_t)db_column_i64(q, 0);
        if (id != last)
            ARENA_PUSH(arena, list, len)->address =
                directory_address(db_column_str(q, 1), db_column_str(q, 2), arena);
        last = id;
        struct alias *a = &list[len - 1];
        *ARENA_PUSH(arena, a->targets, a->target_count) = arena_copy(arena, db_column_str(q, 3));
    }
    db_done(q);
    if (directory_read_end(db, 0, e) < 0)
        return -1;
    *out = list;
    *count = len;
    return 0;
}
