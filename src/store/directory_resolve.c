/* directory_resolve.c - from a recipient to the accounts and addresses it stands for.
 *
 * One read transaction of a few indexed lookups. Expansion goes depth first; every alias is expanded
 * at most once per recipient, which ends loops, and depth and number of targets are bounded.
 */
#include "store/directory_private.h"

enum { DEPTH_MAX = 16, SPLITS_MAX = 8, WORK_MAX = 4 * ALIAS_TARGETS_MAX };

struct resolving {
    struct db *db;
    struct arena *arena;
    struct str delimiter;
    struct resolved *out;
    uint64_t *aliases; /* already expanded */
    size_t alias_count;
    size_t work;  /* names looked at so far */
    bool refused; /* a target exists but takes no mail */
    bool too_many;
};

static void expand(struct resolving *r, const struct directory_name *name, struct str detail,
                   unsigned depth);

static void target_push(struct resolving *r, uint64_t account, struct str address,
                        struct str detail)
{
    struct resolved *out = r->out;
    for (size_t i = 0; i < out->target_count; i++) {
        const struct resolved_target *t = &out->targets[i];
        if (account ? t->account == account : !t->account && str_equal(t->address, address))
            return;
    }
    if (out->target_count >= ALIAS_TARGETS_MAX) {
        r->too_many = true;
        return;
    }
    *ARENA_PUSH(r->arena, out->targets, out->target_count) =
        (struct resolved_target){.account = account, .address = address, .detail = detail};
}

static bool state_takes_mail(int64_t state)
{
    return state == ACCOUNT_ENABLED || state == ACCOUNT_RECEIVE_ONLY;
}

/* True when there is an account of this name, whether it takes mail or not. */
static bool account_try(struct resolving *r, const struct directory_name *name, struct str detail)
{
    struct db_query *q =
        db_query(r->db, "SELECT id, state, local FROM account WHERE domain = ?1 AND key = ?2");
    db_bind_i64(q, 1, (int64_t)name->domain_id);
    db_bind_text(q, 2, name->key);
    bool found = db_step(q) > 0;
    if (found && state_takes_mail(db_column_i64(q, 1)))
        target_push(r, (uint64_t)db_column_i64(q, 0),
                    directory_address(db_column_str(q, 2), name->domain, r->arena), detail);
    else if (found)
        r->refused = true;
    db_done(q);
    return found;
}

static bool alias_seen(struct resolving *r, uint64_t id)
{
    for (size_t i = 0; i < r->alias_count; i++)
        if (r->aliases[i] == id)
            return true;
    *ARENA_PUSH(r->arena, r->aliases, r->alias_count) = id;
    return false;
}

/* One address that something stands for. */
static void address_expand(struct resolving *r, struct str address, struct str detail,
                           unsigned depth)
{
    struct directory_name name;
    if (directory_name_parse(r->db, address, r->arena, &name, NULL) < 0)
        return;
    if (name.domain_id)
        expand(r, &name, detail, depth + 1);
    else
        target_push(r, 0, address, STR(""));
}

static bool alias_try(struct resolving *r, const struct directory_name *name, struct str detail,
                      unsigned depth)
{
    uint64_t id = directory_alias_id(r->db, name);
    if (!id)
        return false;
    if (depth >= DEPTH_MAX || alias_seen(r, id))
        return true;
    /* The statement is shared by the recursion: all targets are read first. */
    struct str *targets = NULL;
    size_t count = 0;
    struct db_query *q =
        db_query(r->db, "SELECT address FROM alias_target WHERE alias = ?1 ORDER BY address");
    db_bind_i64(q, 1, (int64_t)id);
    while (db_step(q) > 0)
        *ARENA_PUSH(r->arena, targets, count) = arena_copy(r->arena, db_column_str(q, 0));
    db_done(q);
    for (size_t i = 0; i < count && !r->too_many; i++)
        address_expand(r, targets[i], detail, depth);
    return true;
}

/* alice+x, and with "-" in the delimiters also anne-marie-x: the longest name that exists. */
static bool detail_try(struct resolving *r, const struct directory_name *name, unsigned depth)
{
    unsigned splits = 0;
    for (size_t at = name->local.len; at-- > 1 && splits < SPLITS_MAX;) {
        if (!str_has_char(r->delimiter, name->local.data[at]))
            continue;
        splits++;
        struct directory_name base = *name;
        base.local = str_slice(name->local, 0, at);
        base.key = directory_local_key(base.local, r->arena);
        struct str detail = arena_copy(r->arena, str_from_pos(name->local, at + 1));
        if (account_try(r, &base, detail) || alias_try(r, &base, detail, depth))
            return true;
    }
    return false;
}

/* Takes the account that q finds. */
static bool postmaster_take(struct resolving *r, struct db_query *q)
{
    bool found = db_step(q) > 0;
    if (found)
        target_push(r, (uint64_t)db_column_i64(q, 0),
                    directory_address(db_column_str(q, 1), db_column_str(q, 2), r->arena), STR(""));
    db_done(q);
    return found;
}

#define POSTMASTER_FIND                                                            \
    "SELECT a.id, a.local, d.name FROM account a JOIN domain d ON d.id = a.domain" \
    " WHERE a.state IN (0, 2) AND "
_Static_assert(ACCOUNT_ENABLED == 0 && ACCOUNT_RECEIVE_ONLY == 2, "the states that take mail");

/* RFC 5321 §4.5.1: postmaster is always there; RFC 2142 §4 wants abuse. Each question is answered by
 * an index, since any stranger may ask it. */
static bool postmaster_try(struct resolving *r, const struct directory_name *name)
{
    if (!str_equal(name->key, STR("postmaster")) && !str_equal(name->key, STR("abuse")))
        return false;
    struct db_query *q = db_query(r->db, POSTMASTER_FIND
                                  "a.administrator ORDER BY a.domain = ?1 DESC, a.id LIMIT 1");
    db_bind_i64(q, 1, (int64_t)name->domain_id);
    if (postmaster_take(r, q))
        return true;
    q = db_query(r->db, POSTMASTER_FIND "a.domain = ?1 ORDER BY a.key LIMIT 1");
    db_bind_i64(q, 1, (int64_t)name->domain_id);
    if (postmaster_take(r, q))
        return true;
    return postmaster_take(r, db_query(r->db, POSTMASTER_FIND "1 ORDER BY a.id LIMIT 1"));
}

static bool catch_all_try(struct resolving *r, const struct directory_name *name, unsigned depth)
{
    struct str address = STR("");
    struct db_query *q = db_query(r->db, "SELECT catch_all FROM domain WHERE id = ?1");
    db_bind_i64(q, 1, (int64_t)name->domain_id);
    if (db_step(q) > 0)
        address = arena_copy(r->arena, db_column_str(q, 0));
    db_done(q);
    if (!address.len || depth >= DEPTH_MAX)
        return false;
    address_expand(r, address, STR(""), depth);
    return true;
}

static void expand(struct resolving *r, const struct directory_name *name, struct str detail,
                   unsigned depth)
{
    if (++r->work > WORK_MAX) {
        r->too_many = true;
        return;
    }
    if (account_try(r, name, detail) || alias_try(r, name, detail, depth) ||
        detail_try(r, name, depth) || postmaster_try(r, name))
        return;
    catch_all_try(r, name, depth);
}

static void verdict(struct resolving *r)
{
    struct resolved *out = r->out;
    if (out->target_count > 1 || (out->target_count == 1 && !out->targets[0].account)) {
        out->kind = RESOLVE_LIST;
    } else if (out->target_count == 1) {
        out->kind = RESOLVE_ACCOUNT;
    } else if (r->refused) {
        out->kind = RESOLVE_REFUSED;
        out->reason = STR("This mailbox takes no mail");
    } else {
        out->kind = RESOLVE_UNKNOWN;
        out->reason = STR("There is no such mailbox here");
    }
}

int directory_resolve(struct str local, struct str domain, struct str delimiter,
                      struct arena *arena, struct resolved *out, struct error *e)
{
    struct db *db = directory_read(e);
    if (!db)
        return -1;
    if (db_begin(db, false, e) < 0)
        return directory_read_end(db, -1, e);
    struct resolved answer = {.kind = RESOLVE_REMOTE};
    struct resolving r = {.db = db, .arena = arena, .delimiter = delimiter, .out = &answer};
    struct directory_name name = {.local = local, .key = directory_local_key(local, arena)};
    name.domain_id = directory_domain_id(db, domain, arena, &name.domain);
    if (name.domain_id) {
        expand(&r, &name, STR(""), 0);
        verdict(&r);
    }
    db_rollback(db);
    int result = 0;
    if (r.too_many)
        result = error_set(e, ERROR_LIMIT, "This address stands for more than %d others",
                           ALIAS_TARGETS_MAX);
    if (directory_read_end(db, result, e) < 0)
        return -1;
    *out = answer;
    return 0;
}
