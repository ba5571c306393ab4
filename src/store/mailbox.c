/* mailbox.c - the mailboxes of an account: names, hierarchy, counters. See account.h. */
#include "base/clock.h"
#include "store/tx.h"

#define MAILBOX_COLUMNS                                                                               \
    "id, name, uidvalidity, uidnext, modseq, messages, unseen, deleted, size, first_recent, special," \
    " subscribed, no_select, created"

/* A row of MAILBOX_COLUMNS. */
static void mailbox_read(struct db_query *q, struct arena *arena, struct mailbox *out)
{
    *out = (struct mailbox){.id = (uint64_t)db_column_i64(q, 0),
                            .name = arena_copy(arena, db_column_str(q, 1)),
                            .uidvalidity = (uint32_t)db_column_i64(q, 2),
                            .uidnext = (uint32_t)db_column_i64(q, 3),
                            .modseq = (uint64_t)db_column_i64(q, 4),
                            .messages = (uint64_t)db_column_i64(q, 5),
                            .unseen = (uint64_t)db_column_i64(q, 6),
                            .deleted = (uint64_t)db_column_i64(q, 7),
                            .size = (uint64_t)db_column_i64(q, 8),
                            .first_recent = (uint32_t)db_column_i64(q, 9),
                            .use = (enum special_use)db_column_i64(q, 10),
                            .subscribed = db_column_i64(q, 11) != 0,
                            .no_select = db_column_i64(q, 12) != 0};
    /* The id is never reused in an account; the time of creation tells it from other accounts'. */
    out->object_id = arena_printf(arena, "F%llx-%llx", (unsigned long long)db_column_i64(q, 13),
                                  (unsigned long long)out->id);
}

static int name_order(const void *a, const void *b)
{
    const struct mailbox *x = a, *y = b;
    bool x_inbox = x->use == USE_INBOX, y_inbox = y->use == USE_INBOX;
    if (x_inbox != y_inbox)
        return x_inbox ? -1 : 1;
    return str_compare(x->name, y->name);
}

int mailbox_list(struct account_tx *tx, struct arena *arena, struct mailbox **out, size_t *count,
                 struct error *e)
{
    struct mailbox *list = NULL;
    size_t n = 0;
    tx_flush(tx);
    struct db_query *q =
        db_query(tx->db, "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE present=1");
    while (db_step(q) == 1)
        mailbox_read(q, arena, ARENA_PUSH(arena, list, n));
    db_done(q);
    if (n)
        qsort(list, n, sizeof(*list), name_order);
    *out = list;
    *count = n;
    return db_error(tx->db, e);
}

/* INBOX is one name in any case (RFC 9051 §5.1), also as the parent of others. */
static struct str name_canonical(struct str name, struct arena *arena)
{
    if (!str_starts_nocase(name, STR("INBOX")) || (name.len > 5 && name.data[5] != '/'))
        return name;
    return arena_printf(arena, "INBOX" STR_FMT, STR_ARG(str_from_pos(name, 5)));
}

static int one_mailbox(struct account_tx *tx, struct db_query *q, struct arena *arena,
                       struct mailbox *out, struct error *e)
{
    int found = db_step(q);
    if (found == 1)
        mailbox_read(q, arena, out);
    db_done(q);
    if (db_error(tx->db, e) < 0)
        return -1;
    return found == 1 ? 0 : error_set(e, ERROR_NOT_FOUND, "No such mailbox");
}

int mailbox_find(struct account_tx *tx, struct str name, struct arena *arena, struct mailbox *out,
                 struct error *e)
{
    tx_flush(tx);
    struct db_query *q =
        db_query(tx->db, "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE name=? AND present=1");
    db_bind_text(q, 1, name_canonical(name, arena));
    return one_mailbox(tx, q, arena, out, e);
}

int mailbox_get(struct account_tx *tx, uint64_t id, struct arena *arena, struct mailbox *out,
                struct error *e)
{
    tx_flush(tx);
    struct db_query *q =
        db_query(tx->db, "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE id=? AND present=1");
    db_bind_i64(q, 1, (int64_t)id);
    return one_mailbox(tx, q, arena, out, e);
}

static int name_check(struct str name, struct error *e)
{
    struct str rest = name, part;
    size_t depth = 0;
    if (name.len == 0 || name.len > MAILBOX_NAME_MAX)
        return error_set(e, ERROR_INVALID, "A mailbox name has 1 to %d bytes", MAILBOX_NAME_MAX);
    if (!str_is_utf8(name))
        return error_set(e, ERROR_INVALID, "The mailbox name is not UTF-8");
    for (size_t i = 0; i < name.len; i++)
        if (ascii_is_control(name.data[i]))
            return error_set(e, ERROR_INVALID, "A mailbox name has no control characters");
    while (str_next_part(&rest, '/', &part)) {
        if (part.len == 0)
            return error_set(e, ERROR_INVALID, "A mailbox name has no empty part");
        if (++depth > MAILBOX_DEPTH_MAX)
            return error_set(e, ERROR_LIMIT, "The mailbox name has too many levels");
    }
    return 0;
}

/* UIDVALIDITY grows with each mailbox that is made or renamed into place, and is never lower than the
 * time: a name that is used again never has a lower one. */
static uint32_t uidvalidity_next(struct account_tx *tx)
{
    uint64_t now = (uint64_t)clock_real_seconds();
    tx->row.uidvalidity = MAX(tx->row.uidvalidity + 1, now);
    tx->row_dirty = true;
    return (uint32_t)tx->row.uidvalidity;
}

/* Makes one row, or brings back the one of a deleted or only subscribed name. */
static int row_make(struct account_tx *tx, struct str name, enum special_use use, bool no_select,
                    struct error *e)
{
    struct db_query *q =
        db_query(tx->db, "SELECT subscribed FROM mailbox WHERE name=? AND present=0");
    db_bind_text(q, 1, name);
    bool subscribed = db_step(q) == 1 && db_column_i64(q, 0) != 0;
    db_done(q);
    q = db_query(tx->db, "DELETE FROM mailbox WHERE name=? AND present=0");
    db_bind_text(q, 1, name);
    db_run(q);
    uint64_t modseq = tx_modseq(tx, NULL);
    q = db_query(tx->db,
                 "INSERT INTO mailbox VALUES (?, ?, 1, ?, ?, ?, ?, 1, ?, 0, 0, 0, 0, 1, 0, ?)");
    db_bind_i64(q, 1, (int64_t)++tx->row.mailboxes);
    db_bind_text(q, 2, name);
    db_bind_i64(q, 3, no_select);
    db_bind_i64(q, 4, subscribed);
    db_bind_i64(q, 5, use);
    db_bind_i64(q, 6, uidvalidity_next(tx));
    db_bind_i64(q, 7, (int64_t)modseq);
    db_bind_i64(q, 8, clock_real_seconds());
    db_run(q);
    return db_error(tx->db, e);
}

static int parents_make(struct account_tx *tx, struct str name, struct arena *arena,
                        struct error *e)
{
    struct mailbox parent;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] == '/') {
            struct str above = name_canonical(str_slice(name, 0, i), arena);
            if (mailbox_find(tx, above, arena, &parent, e) == 0)
                continue;
            if (e->class != ERROR_NOT_FOUND || row_make(tx, above, USE_NONE, false, e) < 0)
                return -1;
        }
    return 0;
}

static int count_check(struct account_tx *tx, struct error *e)
{
    struct db_query *q = db_query(tx->db, "SELECT count(*) FROM mailbox");
    int64_t count = db_step(q) == 1 ? db_column_i64(q, 0) : 0;
    db_done(q);
    return count < MAILBOXES_MAX
               ? 0
               : error_set(e, ERROR_LIMIT, "The account has as many mailboxes as are allowed (%d)",
                           MAILBOXES_MAX);
}

int mailbox_create(struct account_tx *tx, struct str name, enum special_use use,
                   struct arena *arena, struct mailbox *out, struct error *e)
{
    struct mailbox known;
    struct error own = {0};
    e = e ? e : &own;
    if (name_check(name, e) < 0 || count_check(tx, e) < 0)
        return -1;
    if (mailbox_find(tx, name, arena, &known, e) == 0) {
        if (!known.no_select)
            return error_set(e, ERROR_EXISTS, "There is such a mailbox already");
        struct db_query *q =
            db_query(tx->db, "UPDATE mailbox SET no_select=0, uidvalidity=? WHERE id=?");
        db_bind_i64(q, 1, uidvalidity_next(tx));
        db_bind_i64(q, 2, (int64_t)known.id);
        db_run(q);
        tx_modseq(tx, NULL);
        return mailbox_find(tx, name, arena, out, e);
    }
    if (e->class != ERROR_NOT_FOUND || parents_make(tx, name, arena, e) < 0 ||
        row_make(tx, name_canonical(name, arena), use, false, e) < 0)
        return -1;
    return mailbox_find(tx, name, arena, out, e);
}

/* Names below name: "name/..." as a range of the index, since '0' follows '/'. */
static struct db_query *children_query(struct account_tx *tx, const char *sql, struct str name,
                                       struct arena *arena)
{
    struct db_query *q = db_query(tx->db, sql);
    db_bind_text(q, 1, arena_printf(arena, STR_FMT "/", STR_ARG(name)));
    db_bind_text(q, 2, arena_printf(arena, STR_FMT "0", STR_ARG(name)));
    return q;
}

static bool has_children(struct account_tx *tx, struct str name, struct arena *arena)
{
    struct db_query *q = children_query(
        tx, "SELECT 1 FROM mailbox WHERE name>=? AND name<? AND present=1 LIMIT 1", name, arena);
    bool any = db_step(q) == 1;
    db_done(q);
    return any;
}

static void tombstone_add(struct account_tx *tx, uint64_t modseq, int kind, uint64_t object)
{
    struct db_query *q = db_query(tx->db, "INSERT OR IGNORE INTO tombstone VALUES (?, ?, ?)");
    db_bind_i64(q, 1, (int64_t)modseq);
    db_bind_i64(q, 2, kind);
    db_bind_i64(q, 3, (int64_t)object);
    db_run(q);
}

/* Takes every message out of a mailbox, without an expunge log: the mailbox itself goes. */
static int messages_clear(struct account_tx *tx, const struct mailbox *m)
{
    struct db_query *q = db_query(tx->db, "SELECT email FROM placement WHERE mailbox=?");
    VEC(uint64_t) emails = VEC_INIT;
    db_bind_i64(q, 1, (int64_t)m->id);
    while (db_step(q) == 1)
        VEC_ADD(&emails, (uint64_t)db_column_i64(q, 0));
    db_done(q);
    static const char *const sql[] = {"DELETE FROM placement WHERE mailbox=?",
                                      "DELETE FROM expunged WHERE mailbox=?"};
    for (size_t i = 0; i < countof(sql); i++) {
        q = db_query(tx->db, sql[i]);
        db_bind_i64(q, 1, (int64_t)m->id);
        db_run(q);
    }
    for (size_t i = 0; i < emails.len; i++)
        email_release(tx, emails.items[i]);
    VEC_FREE(&emails);
    tx->row.bytes -= MIN(m->size, tx->row.bytes);
    tx->row.messages -= MIN(m->messages, tx->row.messages);
    tx->row_dirty = true;
    return 0;
}

int mailbox_delete(struct account_tx *tx, struct str name, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox m;
    if (mailbox_find(tx, name, &arena, &m, e) < 0)
        return -1;
    if (m.use == USE_INBOX)
        return error_set(e, ERROR_DENIED, "INBOX cannot be deleted");
    bool children = has_children(tx, m.name, &arena);
    if (m.no_select && children)
        return error_set(e, ERROR_DENIED, "The mailbox has children: delete them first");
    messages_clear(tx, &m);
    tx->mailbox_count = 0;
    tombstone_add(tx, tx_modseq(tx, NULL), 3, m.id);
    struct db_query *q;
    if (children)
        q = db_query(
            tx->db,
            "UPDATE mailbox SET no_select=1, special=0, messages=0, unseen=0, deleted=0, size=0,"
            " uidnext=1, first_recent=1, expunge_floor=0 WHERE id=?");
    else if (m.subscribed) /* the name stays subscribed, RFC 9051 §6.3.5 */
        q = db_query(tx->db, "UPDATE mailbox SET present=0, special=0, id=-id WHERE id=?");
    else
        q = db_query(tx->db, "DELETE FROM mailbox WHERE id=?");
    db_bind_i64(q, 1, (int64_t)m.id);
    db_run(q);
    return db_error(tx->db, e);
}

/* RFC 9051 §6.3.6: renaming INBOX moves its messages to a new mailbox. */
static int inbox_rename(struct account_tx *tx, const struct mailbox *inbox, struct str to,
                        struct arena *arena, struct error *e)
{
    struct mailbox made;
    if (mailbox_create(tx, to, USE_NONE, arena, &made, e) < 0)
        return -1;
    struct uid_run *runs;
    size_t count;
    if (mailbox_uids(tx, inbox->id, &runs, &count, e) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        for (uint32_t k = 0; k < runs[i].count && result == 0; k++) {
            uint32_t uid;
            result = message_move(tx, inbox->id, runs[i].first + k, made.id, &uid, e);
        }
    mem_free(runs);
    return result;
}

static int name_change(struct account_tx *tx, uint64_t id, struct str to, struct error *e)
{
    struct db_query *q = db_query(tx->db, "DELETE FROM mailbox WHERE name=? AND present=0");
    db_bind_text(q, 1, to);
    db_run(q);
    /* The UIDs of a mailbox that had this name before mean other messages. */
    q = db_query(tx->db, "UPDATE mailbox SET name=?, uidvalidity=? WHERE id=?");
    db_bind_text(q, 1, to);
    db_bind_i64(q, 2, uidvalidity_next(tx));
    db_bind_i64(q, 3, (int64_t)id);
    db_run(q);
    return db_error(tx->db, e);
}

int mailbox_rename(struct account_tx *tx, struct str from, struct str to, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox m, other;
    struct error own = {0};
    e = e ? e : &own;
    if (mailbox_find(tx, from, &arena, &m, e) < 0 || name_check(to, e) < 0)
        return -1;
    if (mailbox_find(tx, to, &arena, &other, e) == 0)
        return error_set(e, ERROR_EXISTS, "There is such a mailbox already");
    if (m.use == USE_INBOX)
        return inbox_rename(tx, &m, to, &arena, e);
    to = name_canonical(to, &arena);
    if (str_starts(to, arena_printf(&arena, STR_FMT "/", STR_ARG(m.name))))
        return error_set(e, ERROR_INVALID, "A mailbox cannot be moved below itself");
    if (parents_make(tx, to, &arena, e) < 0)
        return -1;
    struct mailbox *list = NULL;
    size_t count = 0;
    struct db_query *q = children_query(
        tx, "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE name>=? AND name<? AND present=1",
        m.name, &arena);
    while (db_step(q) == 1)
        mailbox_read(q, &arena, ARENA_PUSH(&arena, list, count));
    db_done(q);
    tx_modseq(tx, NULL);
    if (name_change(tx, m.id, to, e) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct str name = arena_printf(&arena, STR_FMT STR_FMT, STR_ARG(to),
                                       STR_ARG(str_from_pos(list[i].name, m.name.len)));
        if (name_check(name, e) < 0)
            return error_set(e, ERROR_LIMIT, "A name below it would be too long");
        if (name_change(tx, list[i].id, name, e) < 0)
            return -1;
    }
    return db_error(tx->db, e);
}

int mailbox_subscribe(struct account_tx *tx, struct str name, bool subscribed, struct error *e)
{
    if (name_check(name, e) < 0)
        return -1;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    name = name_canonical(name, &arena);
    struct db_query *q = db_query(tx->db, "UPDATE mailbox SET subscribed=? WHERE name=?");
    db_bind_i64(q, 1, subscribed);
    db_bind_text(q, 2, name);
    db_run(q);
    if (db_changes(tx->db) == 0 && subscribed) {
        if (count_check(tx, e) < 0)
            return -1;
        q = db_query(tx->db,
                     "INSERT INTO mailbox VALUES (?, ?, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)");
        db_bind_i64(q, 1, -(int64_t)++tx->row.mailboxes);
        db_bind_text(q, 2, name);
        db_run(q);
        tx->row_dirty = true;
    } else if (!subscribed) {
        q = db_query(tx->db, "DELETE FROM mailbox WHERE name=? AND present=0");
        db_bind_text(q, 1, name);
        db_run(q);
    }
    return db_error(tx->db, e);
}

int mailbox_subscribed_missing(struct account_tx *tx, struct arena *arena, struct str **names,
                               size_t *count, struct error *e)
{
    *names = NULL;
    *count = 0;
    struct db_query *q =
        db_query(tx->db, "SELECT name FROM mailbox WHERE present=0 AND subscribed=1 ORDER BY name");
    while (db_step(q) == 1)
        *ARENA_PUSH(arena, *names, *count) = arena_copy(arena, db_column_str(q, 0));
    db_done(q);
    return db_error(tx->db, e);
}

int mailbox_claim_recent(struct account_tx *tx, uint64_t id, uint32_t *first_recent,
                         struct error *e)
{
    struct mailbox_row *m = tx_mailbox(tx, id, e);
    if (!m)
        return -1;
    *first_recent = m->first_recent;
    if (m->first_recent != m->uidnext) {
        m->first_recent = m->uidnext;
        m->dirty = true;
    }
    return 0;
}

/* ------------------------------------------------------------------ UIDs as runs */

/* Collects ascending UIDs of the first column into runs. */
static int runs_collect(struct account_tx *tx, struct db_query *q, struct uid_run **runs,
                        size_t *run_count, struct error *e)
{
    VEC(struct uid_run) list = VEC_INIT;
    while (db_step(q) == 1) {
        uint32_t uid = (uint32_t)db_column_i64(q, 0);
        struct uid_run *last = list.len ? &list.items[list.len - 1] : NULL;
        if (last && last->first + last->count == uid)
            last->count++;
        else if (!last || uid >= last->first + last->count)
            VEC_ADD(&list, (struct uid_run){uid, 1});
    }
    db_done(q);
    if (db_error(tx->db, e) < 0) {
        VEC_FREE(&list);
        return -1;
    }
    *runs = list.items;
    *run_count = list.len;
    return 0;
}

/* With as many messages as there are numbers between the first and the last, nothing was removed between
 * them: the usual case needs no walk over all. */
static bool uids_without_gap(struct account_tx *tx, uint64_t mailbox, struct uid_run *out)
{
    tx_flush(tx);
    struct db_query *q =
        db_query(tx->db, "SELECT (SELECT min(uid) FROM placement WHERE mailbox=?1),"
                         " (SELECT max(uid) FROM placement WHERE mailbox=?1),"
                         " (SELECT messages FROM mailbox WHERE id=?1)");
    db_bind_i64(q, 1, (int64_t)mailbox);
    bool found = db_step(q) == 1 && !db_column_is_null(q, 0) &&
                 db_column_i64(q, 1) - db_column_i64(q, 0) + 1 == db_column_i64(q, 2);
    if (found)
        *out = (struct uid_run){(uint32_t)db_column_i64(q, 0), (uint32_t)db_column_i64(q, 2)};
    db_done(q);
    return found;
}

int mailbox_uids(struct account_tx *tx, uint64_t mailbox, struct uid_run **runs, size_t *run_count,
                 struct error *e)
{
    struct uid_run only;
    if (uids_without_gap(tx, mailbox, &only)) {
        *runs = mem_alloc(sizeof(**runs));
        **runs = only;
        *run_count = 1;
        return 0;
    }
    struct db_query *q = db_query(tx->db, "SELECT uid FROM placement WHERE mailbox=? ORDER BY uid");
    db_bind_i64(q, 1, (int64_t)mailbox);
    return runs_collect(tx, q, runs, run_count, e);
}

int mailbox_expunged(struct account_tx *tx, uint64_t mailbox, uint64_t modseq_after,
                     struct uid_run **runs, size_t *run_count, struct error *e)
{
    tx_flush(tx);
    struct db_query *q = db_query(tx->db, "SELECT expunge_floor FROM mailbox WHERE id=?");
    db_bind_i64(q, 1, (int64_t)mailbox);
    uint64_t floor = db_step(q) == 1 ? (uint64_t)db_column_i64(q, 0) : 0;
    db_done(q);
    if (modseq_after < floor)
        return error_set(e, ERROR_NOT_FOUND,
                         "The log of expunged messages does not reach back that far");
    q = db_query(tx->db,
                 "SELECT DISTINCT uid FROM expunged WHERE mailbox=? AND modseq>? ORDER BY uid");
    db_bind_i64(q, 1, (int64_t)mailbox);
    db_bind_i64(q, 2, (int64_t)modseq_after);
    return runs_collect(tx, q, runs, run_count, e);
}
