/* verify.c - checking an account's file. See account.h. */
#include "store/verify.h"

#include "message/summary.h"
#include "store/tx.h"

enum { FINDINGS_MAX = 1000 };

struct verify {
    struct db *db;
    struct buf *findings;
    size_t count;
};

static void found(struct verify *v, const char *format, ...) PRINTF(2, 3);
static void found(struct verify *v, const char *format, ...)
{
    if (v->count++ >= FINDINGS_MAX)
        return;
    va_list args;
    va_start(args, format);
    buf_vprintf(v->findings, format, args);
    va_end(args);
    buf_add_char(v->findings, '\n');
}

/* Each row of a query is a finding: a text and two numbers. */
static void query_findings(struct verify *v, const char *sql)
{
    struct db_query *q = db_query(v->db, sql);
    while (db_step(q) == 1)
        found(v, STR_FMT " %lld: %lld", STR_ARG(db_column_str(q, 0)),
              (long long)db_column_i64(q, 1), (long long)db_column_i64(q, 2));
    db_done(q);
}

static const char *const checks[] = {
    "SELECT 'mailbox has a wrong number of messages', m.id, m.messages FROM mailbox m WHERE m.present=1 AND"
    " m.messages<>(SELECT count(*) FROM placement p WHERE p.mailbox=m.id)",
    "SELECT 'mailbox has a wrong number of unseen messages', m.id, m.unseen FROM mailbox m WHERE m.present=1 AND"
    " m.unseen<>(SELECT count(*) FROM placement p WHERE p.mailbox=m.id AND p.flags&1=0)",
    "SELECT 'mailbox has a wrong number of deleted messages', m.id, m.deleted FROM mailbox m WHERE m.present=1 AND"
    " m.deleted<>(SELECT count(*) FROM placement p WHERE p.mailbox=m.id AND p.flags&8)",
    "SELECT 'mailbox has a wrong size', m.id, m.size FROM mailbox m WHERE m.present=1 AND m.size<>(SELECT"
    " coalesce(sum(e.size), 0) FROM placement p JOIN email e ON e.id=p.email WHERE p.mailbox=m.id)",
    "SELECT 'mailbox has a UID at or above its next one', m.id, p.uid FROM mailbox m JOIN placement p ON p.mailbox=m.id"
    " WHERE p.uid>=m.uidnext",
    "SELECT 'placement in a mailbox that does not exist', p.mailbox, p.uid FROM placement p WHERE NOT EXISTS"
    " (SELECT 1 FROM mailbox m WHERE m.id=p.mailbox AND m.present=1)",
    "SELECT 'placement of a message that does not exist', p.mailbox, p.uid FROM placement p WHERE NOT EXISTS"
    " (SELECT 1 FROM email e WHERE e.id=p.email)",
    "SELECT 'placement with a keyword set that does not exist', p.mailbox, p.uid FROM placement p WHERE p.keywords<>0"
    " AND NOT EXISTS (SELECT 1 FROM keyword k WHERE k.id=p.keywords)",
    "SELECT 'placement changed after the account', p.mailbox, p.uid FROM placement p, account a WHERE p.modseq>a.modseq",
    "SELECT 'mailbox with a message changed after the mailbox', m.id, max(p.modseq) FROM mailbox m JOIN placement p ON"
    " p.mailbox=m.id WHERE m.present=1 GROUP BY m.id HAVING max(p.modseq)>m.modseq",
    "SELECT 'mailbox changed after the account', m.id, m.modseq FROM mailbox m, account a WHERE m.modseq>a.modseq",
    "SELECT 'account has no INBOX', 1, 0 WHERE NOT EXISTS (SELECT 1 FROM mailbox WHERE name='INBOX' AND present=1)",
    "SELECT 'account would give numbers again', 1, 0 FROM account WHERE " NUMBERS_LOW,
    "SELECT 'message with a wrong number of places', e.id, e.places FROM email e LEFT JOIN " PLACES
    " c ON c.email=e.id WHERE e.places<>coalesce(c.n, 0)",
    "SELECT 'message without a header', e.id, 0 FROM email e WHERE NOT EXISTS (SELECT 1 FROM header h WHERE h.email=e.id)",
    "SELECT 'message without a body', e.id, 0 FROM email e WHERE NOT EXISTS (SELECT 1 FROM body b WHERE b.id=e.body)",
    "SELECT 'header of another body', e.id, h.body FROM email e JOIN header h ON h.email=e.id WHERE h.body<>e.body",
    "SELECT 'header without a message', h.email, 0 FROM header h WHERE NOT EXISTS (SELECT 1 FROM email e WHERE e.id=h.email)",
    "SELECT 'body with a wrong number of uses', b.id, b.uses FROM body b LEFT JOIN " USES
    " c ON c.body=b.id WHERE b.uses<>coalesce(c.n, 0)",
    "SELECT 'piece of a body that does not exist', c.body, c.number FROM chunk c WHERE NOT EXISTS"
    " (SELECT 1 FROM body b WHERE b.id=c.body)",
    "SELECT 'account has a wrong number of messages', 1, a.messages FROM account a WHERE a.messages<>"
    "(SELECT count(*) FROM placement)",
    "SELECT 'account has a wrong size', 1, a.bytes FROM account a WHERE a.bytes<>(SELECT coalesce(sum(e.size), 0)"
    " FROM placement p JOIN email e ON e.id=p.email)",
};

/* Indexes follow from their tables, so what only differs between them is no damage. */
static bool is_of_index(struct str line)
{
    return str_starts(line, STR("row ")) || str_starts(line, STR("wrong # of entries in index ")) ||
           str_starts(line, STR("non-unique entry in index "));
}

enum structure structure_check(struct db *db, void (*said)(void *context, struct str line),
                               void *context)
{
    enum structure result = STRUCTURE_SOUND;
    struct db_query *q = db_query(db, "PRAGMA integrity_check");
    int more;
    while ((more = db_step(q)) == 1) {
        struct str line = db_column_str(q, 0);
        if (str_equal(line, STR("ok")))
            continue;
        if (said)
            said(context, line);
        if (!is_of_index(line))
            result = STRUCTURE_DAMAGED;
        else if (result == STRUCTURE_SOUND)
            result = STRUCTURE_INDEXES;
    }
    db_done(q);
    return more < 0 ? STRUCTURE_DAMAGED : result;
}

static void structure_found(void *v, struct str line)
{
    found(v, "the file is damaged: " STR_FMT, STR_ARG(line));
}

bool body_hash(struct db *db, int64_t id, int64_t size, struct str first,
               unsigned char made[static SHA256_DIGEST_LENGTH])
{
    struct buf plain = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    int result = content_unpack(first, CHUNK_SIZE, &plain, &e);
    struct db_query *q = db_query(db, "SELECT data FROM chunk WHERE body=? ORDER BY number");
    db_bind_i64(q, 1, id);
    while (result == 0 && db_step(q) == 1)
        result = content_unpack(db_column_str(q, 0), CHUNK_SIZE, &plain, &e);
    db_done(q);
    SHA256((const unsigned char *)(plain.data ? plain.data : ""), plain.len, made);
    bool readable = result == 0 && plain.len == (size_t)size;
    buf_free(&plain);
    return readable;
}

static void bodies_check(struct verify *v)
{
    struct db_query *q = db_query(v->db, BODIES);
    while (db_step(q) == 1) {
        unsigned char made[SHA256_DIGEST_LENGTH];
        int64_t id = db_column_i64(q, 0);
        if (!body_hash(v->db, id, db_column_i64(q, 2), db_column_str(q, 3), made) ||
            !str_equal(db_column_str(q, 1), str_of(made, sizeof(made))))
            found(v, "body %lld does not have the bytes that were stored", (long long)id);
    }
    db_done(q);
}

static void emails_check(struct verify *v)
{
    struct db_query *q =
        db_query(v->db, "SELECT e.id, e.size, e.header_size, e.summary, h.data, b.size FROM email e"
                        " JOIN header h ON h.email=e.id JOIN body b ON b.id=e.body");
    while (db_step(q) == 1) {
        struct summary s;
        struct buf header = BUF_INIT(BUF_UNBOUNDED);
        struct error e;
        long long id = db_column_i64(q, 0), size = db_column_i64(q, 1),
                  header_size = db_column_i64(q, 2);
        if (summary_open(&s, db_column_str(q, 3)) < 0 || s.message_size != (uint64_t)size)
            found(v, "message %lld has a damaged summary", id);
        if (content_unpack(db_column_str(q, 4), (size_t)header_size, &header, &e) < 0 ||
            header.len != (size_t)header_size)
            found(v, "message %lld has a damaged header", id);
        if (header_size + db_column_i64(q, 5) != size)
            found(v, "message %lld is not as large as it should be", id);
        buf_free(&header);
    }
    db_done(q);
}

static int file_verify(struct db *db, struct buf *findings, struct error *e)
{
    struct verify v = {.db = db, .findings = findings};
    structure_check(db, structure_found, &v);
    for (size_t i = 0; i < countof(checks); i++)
        query_findings(&v, checks[i]);
    bodies_check(&v);
    emails_check(&v);
    struct error pending;
    if (db_error(db, &pending) < 0) {
        if (pending.class != ERROR_CORRUPT) {
            *e = pending;
            return -1;
        }
        found(&v, "the file is damaged: %s", pending.cause);
    }
    return v.count > 0;
}

int account_verify(uint64_t id, struct buf *findings, struct error *e)
{
    struct db *db = NULL;
    struct account *a = account_hold_exclusive(id, e);
    int result = account_swap_finish(id, e);
    if (result == 0 && account_exists(id)) { /* it is made when it is first needed */
        result = account_db_open(id, &db, e);
        if (result == 0) {
            result = file_verify(db, findings, e);
        } else if (e->class == ERROR_CORRUPT) {
            buf_printf(findings, "the file is damaged: %s\n", e->cause);
            result = 1;
        }
    }
    db_close(&db);
    account_release_exclusive(&a);
    return result;
}
