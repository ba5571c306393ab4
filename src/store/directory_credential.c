/* directory_credential.c - passwords and SCRAM keys of accounts. See directory.h. */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/directory_private.h"

enum { SCRAM_SALT_LEN = 16, SCRAM_ITERATIONS_MIN = 4096, SCRAM_KEY_MAX = 64 };

static _Atomic uint32_t scram_iterations = SCRAM_ITERATIONS_MIN;

void directory_scram_default(uint32_t iterations)
{
    scram_iterations = MAX(iterations, (uint32_t)SCRAM_ITERATIONS_MIN);
}

uint32_t directory_scram_default_get(void)
{
    return scram_iterations;
}

/* ------------------------------------------------------------------ passwords */

static int credential_check(struct db *db, uint64_t account, struct str name, struct str hash,
                            bool *replaces, struct error *e)
{
    if (name.len > CREDENTIAL_NAME_MAX || !str_is_utf8(name))
        return error_set(e, ERROR_INVALID, "The name of a password has at most %d bytes of UTF-8",
                         CREDENTIAL_NAME_MAX);
    for (size_t i = 0; i < name.len; i++)
        if (ascii_is_control(name.data[i]))
            return error_set(e, ERROR_INVALID,
                             "The name of a password cannot have control characters");
    if (!hash.len || hash.len > CREDENTIAL_HASH_MAX)
        return error_set(e, ERROR_INVALID, "A password hash has 1 to %d bytes",
                         CREDENTIAL_HASH_MAX);
    struct db_query *q = db_query(db, "SELECT 1 FROM account WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)account);
    bool known = db_step(q) > 0;
    db_done(q);
    if (!known)
        return error_set(e, ERROR_NOT_FOUND, "There is no account number %llu",
                         (unsigned long long)account);
    q = db_query(db, "SELECT count(*), total(name = ?2) FROM credential WHERE account = ?1");
    db_bind_i64(q, 1, (int64_t)account);
    db_bind_text(q, 2, name);
    int64_t count = db_step(q) > 0 ? db_column_i64(q, 0) : 0;
    *replaces = count && db_column_i64(q, 1) != 0;
    db_done(q);
    if (!*replaces && count >= CREDENTIALS_MAX)
        return error_set(e, ERROR_LIMIT, "An account has at most %d passwords: remove one first",
                         CREDENTIALS_MAX);
    return 0;
}

static void pair_bind(struct db_query *q, int index, const struct scram_pair *pair)
{
    if (!pair)
        return;
    db_bind_blob(q, index, pair->stored_key);
    db_bind_blob(q, index + 1, pair->server_key);
}

int directory_credential_set_keyed(uint64_t account, struct str name, struct str hash,
                                   const struct scram_pair *sha1, const struct scram_pair *sha256,
                                   struct error *e)
{
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    bool replaces = false;
    if (credential_check(db, account, name, hash, &replaces, e) < 0)
        return directory_write_end(db, -1, e);
    /* Deleted and inserted: the new password gets a new id. */
    struct db_query *q = db_query(db, "DELETE FROM credential WHERE account = ?1 AND name = ?2");
    db_bind_i64(q, 1, (int64_t)account);
    db_bind_text(q, 2, name);
    db_run(q);
    q = db_query(db, "INSERT INTO credential (account, name, hash, created, sha1_stored,"
                     " sha1_server, sha256_stored, sha256_server, keyed)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    db_bind_i64(q, 1, (int64_t)account);
    db_bind_text(q, 2, name);
    db_bind_text(q, 3, hash);
    db_bind_i64(q, 4, clock_real_seconds());
    pair_bind(q, 5, sha1);
    pair_bind(q, 7, sha256);
    db_bind_i64(q, 9, sha1 && sha256);
    db_run(q);
    if (directory_write_end(db, 0, e) < 0)
        return -1;
    if (replaces || name.len == 0)
        directory_changed(account, DIRECTORY_PASSWORD);
    return 0;
}

int directory_credential_set(uint64_t account, struct str name, struct str hash, struct error *e)
{
    return directory_credential_set_keyed(account, name, hash, NULL, NULL, e);
}

int directory_credential_rehash(uint64_t credential, struct str hash, struct error *e)
{
    if (!hash.len || hash.len > CREDENTIAL_HASH_MAX)
        return error_set(e, ERROR_INVALID, "A password hash has 1 to %d bytes",
                         CREDENTIAL_HASH_MAX);
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct db_query *q = db_query(db, "UPDATE credential SET hash = ?2 WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)credential);
    db_bind_text(q, 2, hash);
    int result = 0;
    if (db_run(q) == 0 && db_changes(db) == 0)
        result = error_set(e, ERROR_NOT_FOUND, "The password was changed meanwhile");
    return directory_write_end(db, result, e);
}

int directory_credential_remove(uint64_t account, struct str name, struct error *e)
{
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct db_query *q = db_query(db, "DELETE FROM credential WHERE account = ?1 AND name = ?2");
    db_bind_i64(q, 1, (int64_t)account);
    db_bind_text(q, 2, name);
    int result = 0;
    if (db_run(q) == 0 && db_changes(db) == 0)
        result = error_set(e, ERROR_NOT_FOUND, "There is no password %s", log_quote(name));
    if (directory_write_end(db, result, e) < 0)
        return -1;
    directory_changed(account, DIRECTORY_PASSWORD);
    return 0;
}

int directory_credential_list(uint64_t account, struct arena *arena, struct credential **out,
                              size_t *count, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    struct credential *list = NULL;
    size_t len = 0;
    struct db_query *q = db_query(db, "SELECT id, name, hash, created, last_used, last_from"
                                      " FROM credential WHERE account = ?1 ORDER BY name");
    db_bind_i64(q, 1, (int64_t)account);
    while (db_step(q) > 0) {
        struct credential *c = ARENA_PUSH(arena, list, len);
        *c = (struct credential){
            .id = (uint64_t)db_column_i64(q, 0),
            .name = arena_copy(arena, db_column_str(q, 1)),
            .hash = arena_copy(arena, db_column_str(q, 2)),
            .created = db_column_i64(q, 3),
            .last_used = db_column_i64(q, 4),
            .last_from = arena_copy(arena, db_column_str(q, 5)),
        };
        batch_overlay_credential(c, arena);
    }
    db_done(q);
    if (directory_read_end(db, 0, e) < 0)
        return -1;
    *out = list;
    *count = len;
    return 0;
}

/* ------------------------------------------------------------------ SCRAM */

/* 1 found, 0 the account has none yet, -1 no such account. */
static int parameters_read(struct db *db, uint64_t account, struct arena *arena, struct str *salt,
                           uint32_t *iterations)
{
    struct db_query *q = db_query(db, "SELECT salt, iterations FROM account WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)account);
    int found = db_step(q) > 0 ? 0 : -1;
    if (found == 0 && !db_column_is_null(q, 0)) {
        *salt = arena_copy(arena, db_column_str(q, 0));
        *iterations = (uint32_t)db_column_i64(q, 1);
        found = 1;
    }
    db_done(q);
    return found;
}

int directory_scram_find(uint64_t account, struct arena *arena, struct str *salt,
                         uint32_t *iterations, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    int result = 0;
    if (parameters_read(db, account, arena, salt, iterations) <= 0)
        result = error_set(e, ERROR_NOT_FOUND, "The account has no SCRAM parameters");
    return directory_read_end(db, result, e);
}

int directory_scram_parameters(uint64_t account, struct arena *arena, struct str *salt,
                               uint32_t *iterations, struct error *e)
{
    if (directory_scram_find(account, arena, salt, iterations, NULL) == 0)
        return 0;
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    int found = parameters_read(db, account, arena, salt, iterations);
    int result = 0;
    if (found < 0) {
        result = error_set(e, ERROR_NOT_FOUND, "There is no account number %llu",
                           (unsigned long long)account);
    } else if (found == 0) {
        char random[SCRAM_SALT_LEN];
        random_bytes(random, sizeof(random));
        *salt = arena_copy(arena, str_of(random, sizeof(random)));
        *iterations = scram_iterations;
        struct db_query *q =
            db_query(db, "UPDATE account SET salt = ?2, iterations = ?3 WHERE id = ?1");
        db_bind_i64(q, 1, (int64_t)account);
        db_bind_blob(q, 2, *salt);
        db_bind_i64(q, 3, *iterations);
        db_run(q);
    }
    return directory_write_end(db, result, e);
}

int directory_scram_set(uint64_t credential, struct str hash, struct str stored_key,
                        struct str server_key, struct error *e)
{
    bool sha1 = str_equal(hash, STR("SHA-1"));
    if ((!sha1 && !str_equal(hash, STR("SHA-256"))) || !stored_key.len || !server_key.len ||
        stored_key.len > SCRAM_KEY_MAX || server_key.len > SCRAM_KEY_MAX)
        return error_set(e, ERROR_INVALID, "Not SCRAM keys of SHA-1 or SHA-256");
    struct db *db = directory_write(e);
    if (!db)
        return -1;
    struct db_query *q =
        sha1 ? db_query(db, "UPDATE credential SET sha1_stored = ?2, sha1_server = ?3,"
                            " keyed = sha256_stored IS NOT NULL WHERE id = ?1")
             : db_query(db, "UPDATE credential SET sha256_stored = ?2, sha256_server = ?3,"
                            " keyed = sha1_stored IS NOT NULL WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)credential);
    db_bind_blob(q, 2, stored_key);
    db_bind_blob(q, 3, server_key);
    int result = 0;
    if (db_run(q) == 0 && db_changes(db) == 0)
        result = error_set(e, ERROR_NOT_FOUND, "The password was changed meanwhile");
    return directory_write_end(db, result, e);
}

int directory_scram_list(uint64_t account, struct str hash, struct arena *arena,
                         struct scram_keys **out, size_t *count, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    struct scram_keys *list = NULL;
    size_t len = 0;
    struct db_query *q =
        str_equal(hash, STR("SHA-1"))
            ? db_query(db, "SELECT id, sha1_stored, sha1_server FROM credential"
                           " WHERE account = ?1 AND sha1_stored IS NOT NULL")
            : db_query(db, "SELECT id, sha256_stored, sha256_server FROM credential"
                           " WHERE account = ?1 AND sha256_stored IS NOT NULL");
    db_bind_i64(q, 1, (int64_t)account);
    while (db_step(q) > 0) {
        struct scram_keys *keys = ARENA_PUSH(arena, list, len);
        keys->credential = (uint64_t)db_column_i64(q, 0);
        keys->stored_key = arena_copy(arena, db_column_str(q, 1));
        keys->server_key = arena_copy(arena, db_column_str(q, 2));
    }
    db_done(q);
    if (directory_read_end(db, 0, e) < 0)
        return -1;
    *out = list;
    *count = len;
    return 0;
}
