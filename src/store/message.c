/* message.c - messages and their placements in mailboxes. See account.h. */
#include <openssl/sha.h>

#include "base/clock.h"
#include "message/summary.h"
#include "store/tx.h"

enum {
    EXPUNGE_LOG_KEPT = 200000,
    EXPUNGE_PRUNE_EVERY = 8192,
    REFERENCES_MAX = 50,
    DELIVERED_DAYS = 8
};

/* ------------------------------------------------------------------ reading rows */

static const char *const cursor_sql[] = {
    [0] = "SELECT uid, flags, keywords, modseq, email, saved FROM placement"
          " WHERE mailbox=? AND uid>=? AND uid<=? AND modseq>? ORDER BY uid",
    [COLUMN_EMAIL] =
        "SELECT p.uid, p.flags, p.keywords, p.modseq, p.email, p.saved, e.received, e.size,"
        " e.thread FROM placement p CROSS JOIN email e ON e.id=p.email"
        " WHERE p.mailbox=? AND p.uid>=? AND p.uid<=? AND p.modseq>? ORDER BY p.uid",
    [COLUMN_EMAIL | COLUMN_SUMMARY] =
        "SELECT p.uid, p.flags, p.keywords, p.modseq, p.email, p.saved, e.received, e.size, e.thread,"
        " e.summary FROM placement p CROSS JOIN email e ON e.id=p.email"
        " WHERE p.mailbox=? AND p.uid>=? AND p.uid<=? AND p.modseq>? ORDER BY p.uid",
};

void message_cursor_open(struct message_cursor *c, struct account_tx *tx, uint64_t mailbox,
                         uint32_t first, uint32_t last, uint64_t modseq_after, unsigned columns)
{
    if (columns & COLUMN_SUMMARY)
        columns |= COLUMN_EMAIL;
    struct db_query *q = db_query(tx->db, cursor_sql[columns]);
    db_bind_i64(q, 1, (int64_t)mailbox);
    db_bind_i64(q, 2, first);
    db_bind_i64(q, 3, last);
    db_bind_i64(q, 4, (int64_t)modseq_after);
    *c = (struct message_cursor){.tx = tx, .query = q, .columns = columns};
}

int message_cursor_next(struct message_cursor *c, struct message *out, struct error *e)
{
    struct db_query *q = c->query;
    int found = db_step(q);
    if (found < 0)
        return db_error(c->tx->db, e);
    if (found == 0)
        return 0;
    out->uid = (uint32_t)db_column_i64(q, 0);
    out->flags = (uint8_t)db_column_i64(q, 1);
    out->keyword_set = (uint32_t)db_column_i64(q, 2);
    out->modseq = (uint64_t)db_column_i64(q, 3);
    out->email = (uint64_t)db_column_i64(q, 4);
    out->savedate = db_column_i64(q, 5);
    if (c->columns & COLUMN_EMAIL) {
        out->received = db_column_i64(q, 6);
        out->size = (uint64_t)db_column_i64(q, 7);
        out->thread = (uint64_t)db_column_i64(q, 8);
    }
    out->summary = c->columns & COLUMN_SUMMARY ? db_column_str(q, 9) : str_of(NULL, 0);
    return 1;
}

void message_cursor_close(struct message_cursor *c)
{
    db_done(c->query);
}

int message_find(struct account_tx *tx, uint64_t mailbox, uint32_t uid, unsigned columns,
                 struct arena *arena, struct message *out, struct error *e)
{
    struct message_cursor c;
    message_cursor_open(&c, tx, mailbox, uid, uid, 0, columns);
    int found = message_cursor_next(&c, out, e);
    if (found == 1 && out->summary.len)
        out->summary = arena_copy(arena, out->summary);
    message_cursor_close(&c);
    return found == 0 ? error_set(e, ERROR_NOT_FOUND, "No such message") : found == 1 ? 0 : -1;
}

/* ------------------------------------------------------------------ content */

struct message_prepared {
    unsigned char hash[SHA256_DIGEST_LENGTH];
    struct buf header;
    VEC(struct buf) chunks; /* at least one */
    struct str summary;     /* the caller's */
    uint64_t size, header_size, body_size;
    int64_t received;
    uint8_t flags;
    const struct str *keywords;
    size_t keyword_count;
};

int message_prepare(const struct message_new *message, struct message_prepared **out,
                    struct error *e)
{
    struct summary s;
    if (summary_open(&s, message->summary) < 0 || s.message_size != message->data.len)
        return error_set(e, ERROR_CORRUPT, "The message's summary does not belong to it");
    struct message_prepared *p = mem_alloc(sizeof(*p));
    struct str body = str_from_pos(message->data, s.header_size);
    p->summary = message->summary;
    p->size = message->data.len;
    p->header_size = s.header_size;
    p->body_size = body.len;
    p->received = message->received;
    p->flags = message->flags & FLAG_ALL;
    p->keywords = message->keywords;
    p->keyword_count = message->keyword_count;
    SHA256((const unsigned char *)(body.data ? body.data : ""), body.len, p->hash);
    p->header = BUF_INIT(BUF_UNBOUNDED);
    content_pack(str_slice(message->data, 0, s.header_size), true, &p->header);
    do {
        struct buf chunk = BUF_INIT(BUF_UNBOUNDED);
        content_pack(str_slice(body, 0, CHUNK_SIZE), false, &chunk);
        VEC_ADD(&p->chunks, chunk);
        body = str_from_pos(body, CHUNK_SIZE);
    } while (body.len);
    *out = p;
    return 0;
}

void message_prepared_free(struct message_prepared **p)
{
    if (!*p)
        return;
    buf_free(&(*p)->header);
    for (size_t i = 0; i < (*p)->chunks.len; i++)
        buf_free(&(*p)->chunks.items[i]);
    VEC_FREE(&(*p)->chunks);
    mem_free(*p);
    *p = NULL;
}

/* The body's row, shared with an equal one. 0 after an error. */
static uint64_t body_store(struct account_tx *tx, const struct message_prepared *p)
{
    struct str hash = str_of(p->hash, sizeof(p->hash));
    struct db_query *q =
        db_query(tx->db, "SELECT id FROM body WHERE substr(hash, 1, 8)=? AND hash=?");
    db_bind_blob(q, 1, str_slice(hash, 0, 8));
    db_bind_blob(q, 2, hash);
    uint64_t id = db_step(q) == 1 ? (uint64_t)db_column_i64(q, 0) : 0;
    db_done(q);
    if (id) {
        q = db_query(tx->db, "UPDATE body SET uses=uses+1 WHERE id=?");
        db_bind_i64(q, 1, (int64_t)id);
        db_run(q);
        return id;
    }
    q = db_query(tx->db, "INSERT INTO body (hash, size, uses, data) VALUES (?, ?, 1, ?)");
    db_bind_blob(q, 1, hash);
    db_bind_i64(q, 2, (int64_t)p->body_size);
    db_bind_blob(q, 3, buf_str(&p->chunks.items[0]));
    if (db_run(q) < 0)
        return 0;
    id = (uint64_t)db_last_rowid(tx->db);
    for (size_t i = 1; i < p->chunks.len; i++) {
        q = db_query(tx->db, "INSERT INTO chunk (body, number, data) VALUES (?, ?, ?)");
        db_bind_i64(q, 1, (int64_t)id);
        db_bind_i64(q, 2, (int64_t)i);
        db_bind_blob(q, 3, buf_str(&p->chunks.items[i]));
        db_run(q);
    }
    return id;
}

static int64_t id_hash(struct str id)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    int64_t value;
    SHA256((const unsigned char *)id.data, id.len, hash);
    memcpy(&value, hash, sizeof(value));
    return value;
}

/* The thread of a message: that of the nearest ancestor that is known, else a new one. Its own id and
 * the ancestors' lead to it from now on. Threads are never merged. */
static uint64_t thread_assign(struct account_tx *tx, const struct summary *s)
{
    int64_t hashes[REFERENCES_MAX + 1];
    size_t count = 0;
    struct str own = summary_string(s, SUMMARY_MESSAGE_ID),
               rest = summary_string(s, SUMMARY_REFERENCES), id;
    if (own.len)
        hashes[count++] = id_hash(own);
    size_t references = 0;
    while (rest.len && references++ < REFERENCES_MAX) { /* the last ones are nearest */
        size_t at = str_find_last_char(rest, ' ');
        id = at < rest.len ? str_from_pos(rest, at + 1) : rest;
        rest = at < rest.len ? str_slice(rest, 0, at) : STR("");
        if (id.len)
            hashes[count++] = id_hash(id);
    }
    uint64_t thread = 0;
    for (size_t i = 0; i < count && !thread; i++) {
        struct db_query *q = db_query(tx->db, "SELECT thread FROM thread WHERE hash=?");
        db_bind_i64(q, 1, hashes[i]);
        if (db_step(q) == 1)
            thread = (uint64_t)db_column_i64(q, 0);
        db_done(q);
    }
    if (!thread)
        thread = ++tx->row.threads;
    for (size_t i = 0; i < count; i++) {
        struct db_query *q = db_query(tx->db, "INSERT OR IGNORE INTO thread VALUES (?, ?)");
        db_bind_i64(q, 1, hashes[i]);
        db_bind_i64(q, 2, (int64_t)thread);
        db_run(q);
    }
    return thread;
}

static int placement_add(struct account_tx *tx, struct mailbox_row *m, uint64_t email,
                         uint8_t flags, uint32_t keywords, uint64_t size, uint32_t *uid,
                         struct error *e)
{
    if (m->uidnext == UINT32_MAX)
        return error_set(e, ERROR_LIMIT, "The mailbox has used up its UIDs");
    *uid = m->uidnext++;
    uint64_t modseq = tx_modseq(tx, m);
    struct db_query *q = db_query(tx->db, "INSERT INTO placement VALUES (?, ?, ?, ?, ?, ?, ?)");
    db_bind_i64(q, 1, (int64_t)m->id);
    db_bind_i64(q, 2, *uid);
    db_bind_i64(q, 3, (int64_t)email);
    db_bind_i64(q, 4, flags);
    db_bind_i64(q, 5, keywords);
    db_bind_i64(q, 6, (int64_t)modseq);
    db_bind_i64(q, 7, clock_real_seconds());
    db_run(q);
    m->messages++;
    m->unseen += !(flags & FLAG_SEEN);
    m->deleted += (flags & FLAG_DELETED) != 0;
    m->size += size;
    tx->row.messages++;
    tx->row.bytes += size;
    return db_error(tx->db, e);
}

int message_append(struct account_tx *tx, uint64_t mailbox, const struct message_prepared *p,
                   uint32_t *uid, uint64_t *email, struct error *e)
{
    struct summary s;
    uint32_t keywords;
    struct mailbox_row *m = tx_mailbox(tx, mailbox, e);
    if (!m || keyword_set_find(tx, p->keywords, p->keyword_count, &keywords, e) < 0)
        return -1;
    if (summary_open(&s, p->summary) < 0)
        return error_set(e, ERROR_CORRUPT, "The message's summary is damaged");
    uint64_t body = body_store(tx, p);
    uint64_t id = ++tx->row.emails;
    struct db_query *q = db_query(tx->db, "INSERT INTO email VALUES (?, ?, ?, ?, ?, ?, 1, ?)");
    db_bind_i64(q, 1, (int64_t)id);
    db_bind_i64(q, 2, (int64_t)thread_assign(tx, &s));
    db_bind_i64(q, 3, (int64_t)body);
    db_bind_i64(q, 4, (int64_t)p->size);
    db_bind_i64(q, 5, (int64_t)p->header_size);
    db_bind_i64(q, 6, p->received);
    db_bind_blob(q, 7, p->summary);
    db_run(q);
    q = db_query(tx->db, "INSERT INTO header VALUES (?, ?, ?)");
    db_bind_i64(q, 1, (int64_t)id);
    db_bind_i64(q, 2, (int64_t)body);
    db_bind_blob(q, 3, buf_str(&p->header));
    db_run(q);
    *email = id;
    return placement_add(tx, m, id, p->flags, keywords, p->size, uid, e);
}

static int header_read(struct account_tx *tx, uint64_t email, uint64_t header_size, struct buf *out,
                       struct error *e)
{
    struct db_query *q = db_query(tx->db, "SELECT data FROM header WHERE email=?");
    db_bind_i64(q, 1, (int64_t)email);
    int found = db_step(q), result = -1;
    if (found == 1)
        result = content_unpack(db_column_str(q, 0), (size_t)header_size, out, e);
    else if (db_error(tx->db, e) == 0)
        error_set(e, ERROR_CORRUPT, "A stored message is damaged");
    db_done(q);
    return result;
}

static int chunk_read(struct account_tx *tx, uint64_t body, uint64_t number, struct buf *out,
                      struct error *e)
{
    struct db_query *q = number == 0
                             ? db_query(tx->db, "SELECT data FROM body WHERE id=?")
                             : db_query(tx->db, "SELECT data FROM chunk WHERE body=? AND number=?");
    db_bind_i64(q, 1, (int64_t)body);
    if (number)
        db_bind_i64(q, 2, (int64_t)number);
    int found = db_step(q), result = -1;
    if (found == 1)
        result = content_unpack(db_column_str(q, 0), CHUNK_SIZE, out, e);
    else if (db_error(tx->db, e) == 0)
        error_set(e, ERROR_CORRUPT, "A stored message is damaged");
    db_done(q);
    return result;
}

int message_read(struct account_tx *tx, uint64_t email, uint64_t offset, uint64_t len,
                 struct buf *out, struct error *e)
{
    struct db_query *q = db_query(tx->db, "SELECT size, header_size, body FROM email WHERE id=?");
    db_bind_i64(q, 1, (int64_t)email);
    int found = db_step(q);
    uint64_t size = 0, header_size = 0, body = 0;
    if (found == 1) {
        size = (uint64_t)db_column_i64(q, 0);
        header_size = (uint64_t)db_column_i64(q, 1);
        body = (uint64_t)db_column_i64(q, 2);
    }
    db_done(q);
    if (db_error(tx->db, e) < 0)
        return -1;
    if (found != 1)
        return error_set(e, ERROR_NOT_FOUND, "No such message");
    if (offset >= size)
        return 0;
    len = MIN(len, size - offset);
    struct buf piece = BUF_INIT(BUF_UNBOUNDED);
    int result = 0;
    while (len > 0 && result == 0) {
        uint64_t skip;
        buf_reset(&piece);
        if (offset < header_size) {
            result = header_read(tx, email, header_size, &piece, e);
            skip = offset;
        } else {
            result = chunk_read(tx, body, (offset - header_size) / CHUNK_SIZE, &piece, e);
            skip = (offset - header_size) % CHUNK_SIZE;
        }
        struct str part = str_slice(buf_str(&piece), (size_t)skip, (size_t)len);
        if (result == 0 && part.len == 0)
            result = error_set(e, ERROR_CORRUPT, "A stored message is damaged");
        if (result == 0 && buf_add(out, part) < 0)
            result = error_set(e, ERROR_LIMIT, "The message is too large");
        offset += part.len;
        len -= part.len;
    }
    buf_free(&piece);
    return result;
}

/* ------------------------------------------------------------------ changing and removing */

int message_flags(struct account_tx *tx, uint64_t mailbox, uint32_t uid, enum flags_operation op,
                  uint8_t flags, const struct str *keywords, size_t keyword_count,
                  uint64_t unchanged_since, struct message *out, bool *changed, struct error *e)
{
    struct mailbox_row *m = tx_mailbox(tx, mailbox, e);
    struct message row;
    uint32_t set;
    if (!m || message_find(tx, mailbox, uid, 0, NULL, &row, e) < 0)
        return -1;
    *out = row;
    *changed = false;
    if (row.modseq > unchanged_since)
        return error_set(e, ERROR_EXISTS, "The message was changed since");
    uint8_t after = op == FLAGS_SET   ? flags
                    : op == FLAGS_ADD ? row.flags | flags
                                      : row.flags & ~flags;
    after &= FLAG_ALL;
    if (keyword_set_change(tx, row.keyword_set, op, keywords, keyword_count, &set, e) < 0)
        return -1;
    if (after == row.flags && set == row.keyword_set)
        return 0;
    *changed = true;
    out->flags = after;
    out->keyword_set = set;
    out->modseq = tx_modseq(tx, m);
    m->unseen += (uint64_t) !(after & FLAG_SEEN) - (uint64_t) !(row.flags & FLAG_SEEN);
    m->deleted +=
        (uint64_t)((after & FLAG_DELETED) != 0) - (uint64_t)((row.flags & FLAG_DELETED) != 0);
    struct db_query *q = db_query(
        tx->db, "UPDATE placement SET flags=?, keywords=?, modseq=? WHERE mailbox=? AND uid=?");
    db_bind_i64(q, 1, after);
    db_bind_i64(q, 2, set);
    db_bind_i64(q, 3, (int64_t)out->modseq);
    db_bind_i64(q, 4, (int64_t)mailbox);
    db_bind_i64(q, 5, uid);
    db_run(q);
    return db_error(tx->db, e);
}

static void delete_by_id(struct account_tx *tx, const char *sql, uint64_t id)
{
    struct db_query *q = db_query(tx->db, sql);
    db_bind_i64(q, 1, (int64_t)id);
    db_run(q);
}

void email_release(struct account_tx *tx, uint64_t email)
{
    struct db_query *q =
        db_query(tx->db, "UPDATE email SET places=places-1 WHERE id=? RETURNING places, body");
    db_bind_i64(q, 1, (int64_t)email);
    bool last = false;
    uint64_t body = 0;
    if (db_step(q) == 1) {
        last = db_column_i64(q, 0) <= 0;
        body = (uint64_t)db_column_i64(q, 1);
    }
    db_done(q);
    if (!last)
        return;
    delete_by_id(tx, "DELETE FROM email WHERE id=?", email);
    delete_by_id(tx, "DELETE FROM header WHERE email=?", email);
    q = db_query(tx->db, "INSERT OR IGNORE INTO tombstone VALUES (?, 1, ?)");
    db_bind_i64(q, 1, (int64_t)tx->row.modseq);
    db_bind_i64(q, 2, (int64_t)email);
    db_run(q);
    q = db_query(tx->db, "UPDATE body SET uses=uses-1 WHERE id=? RETURNING uses");
    db_bind_i64(q, 1, (int64_t)body);
    last = db_step(q) == 1 && db_column_i64(q, 0) <= 0;
    db_done(q);
    if (last) {
        delete_by_id(tx, "DELETE FROM body WHERE id=?", body);
        delete_by_id(tx, "DELETE FROM chunk WHERE body=?", body);
    }
}

/* Keeps the log bounded: what is older than the newest EXPUNGE_LOG_KEPT changes goes. */
static void expunge_log_prune(struct account_tx *tx, struct mailbox_row *m)
{
    if (tx->row.modseq < EXPUNGE_LOG_KEPT)
        return;
    uint64_t floor = tx->row.modseq - EXPUNGE_LOG_KEPT;
    struct db_query *q = db_query(tx->db, "DELETE FROM expunged WHERE mailbox=? AND modseq<=?");
    db_bind_i64(q, 1, (int64_t)m->id);
    db_bind_i64(q, 2, (int64_t)floor);
    db_run(q);
    if (db_changes(tx->db) > 0)
        m->expunge_floor = floor;
    delete_by_id(tx, "DELETE FROM tombstone WHERE modseq<=?", floor);
}

/* Takes a placement out of its mailbox, with its log entry; the email stays. */
static int placement_remove(struct account_tx *tx, struct mailbox_row *m, const struct message *row,
                            struct error *e)
{
    uint64_t modseq = tx_modseq(tx, m);
    struct db_query *q = db_query(tx->db, "DELETE FROM placement WHERE mailbox=? AND uid=?");
    db_bind_i64(q, 1, (int64_t)m->id);
    db_bind_i64(q, 2, row->uid);
    db_run(q);
    q = db_query(tx->db, "INSERT INTO expunged VALUES (?, ?, ?)");
    db_bind_i64(q, 1, (int64_t)m->id);
    db_bind_i64(q, 2, (int64_t)modseq);
    db_bind_i64(q, 3, row->uid);
    db_run(q);
    m->messages -= m->messages > 0;
    m->unseen -= !(row->flags & FLAG_SEEN) && m->unseen > 0;
    m->deleted -= (row->flags & FLAG_DELETED) && m->deleted > 0;
    m->size -= MIN(row->size, m->size);
    tx->row.messages -= tx->row.messages > 0;
    tx->row.bytes -= MIN(row->size, tx->row.bytes);
    if (modseq % EXPUNGE_PRUNE_EVERY == 0)
        expunge_log_prune(tx, m);
    return db_error(tx->db, e);
}

int message_expunge(struct account_tx *tx, uint64_t mailbox, uint32_t uid, struct error *e)
{
    struct mailbox_row *m = tx_mailbox(tx, mailbox, e);
    struct message row;
    if (!m || message_find(tx, mailbox, uid, COLUMN_EMAIL, NULL, &row, e) < 0 ||
        placement_remove(tx, m, &row, e) < 0)
        return -1;
    email_release(tx, row.email);
    return db_error(tx->db, e);
}

int message_copy(struct account_tx *tx, uint64_t mailbox, uint32_t uid, uint64_t to,
                 uint32_t *new_uid, struct error *e)
{
    struct message row;
    if (message_find(tx, mailbox, uid, COLUMN_EMAIL, NULL, &row, e) < 0)
        return -1;
    struct mailbox_row *m = tx_mailbox(tx, to, e);
    if (!m || placement_add(tx, m, row.email, row.flags, row.keyword_set, row.size, new_uid, e) < 0)
        return -1;
    delete_by_id(tx, "UPDATE email SET places=places+1 WHERE id=?", row.email);
    return db_error(tx->db, e);
}

int message_move(struct account_tx *tx, uint64_t mailbox, uint32_t uid, uint64_t to,
                 uint32_t *new_uid, struct error *e)
{
    struct message row;
    if (message_find(tx, mailbox, uid, COLUMN_EMAIL, NULL, &row, e) < 0)
        return -1;
    struct mailbox_row *m = tx_mailbox(tx, mailbox, e);
    if (!m || placement_remove(tx, m, &row, e) < 0)
        return -1;
    m = tx_mailbox(tx, to, e);
    return m ? placement_add(tx, m, row.email, row.flags, row.keyword_set, row.size, new_uid, e)
             : -1;
}

/* ------------------------------------------------------------------ deliveries */

int delivery_note(struct account_tx *tx, struct str queue_id, struct str recipient, bool *again,
                  struct error *e)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    struct buf key = BUF_INIT(4096);
    buf_add(&key, queue_id);
    buf_add_char(&key, '\0');
    buf_add(&key, recipient);
    SHA256((const unsigned char *)key.data, key.len, hash);
    buf_free(&key);
    struct db_query *q = db_query(tx->db, "INSERT OR IGNORE INTO delivered VALUES (?, ?)");
    db_bind_blob(q, 1, str_of(hash, 16));
    db_bind_i64(q, 2, clock_real_seconds());
    db_run(q);
    *again = db_changes(tx->db) == 0;
    if (hash[0] == 0) { /* now and then: forget what no retry can ask for any more */
        q = db_query(tx->db, "DELETE FROM delivered WHERE at<?");
        db_bind_i64(q, 1, clock_real_seconds() - DELIVERED_DAYS * 86400);
        db_run(q);
    }
    return db_error(tx->db, e);
}
