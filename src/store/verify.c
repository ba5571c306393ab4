/* verify.c - checking an account's file, and mending what can be computed again. See account.h. */
#include <openssl/sha.h>

#include "base/log.h"
#include "message/summary.h"
#include "store/tx.h"

enum { FINDINGS_MAX = 1000, HEADER_MAX = 64 * 1024 * 1024 };

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

/* The account's counters of what has an id are behind one that was given. */
#define NUMBERS_LOW                                                                               \
    "emails<(SELECT coalesce(max(id), 0) FROM email) OR threads<(SELECT coalesce(max(thread), 0)" \
    " FROM email) OR mailboxes<(SELECT coalesce(max(abs(id)), 0) FROM mailbox) OR uidvalidity<"   \
    "(SELECT coalesce(max(uidvalidity), 0) FROM mailbox)"

/* Counted once for all: there is no index for it. */
#define PLACES "(SELECT email, count(*) AS n FROM placement GROUP BY email)"
#define USES   "(SELECT body, count(*) AS n FROM email GROUP BY body)"

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

static void structure_check(struct verify *v)
{
    struct db_query *q = db_query(v->db, "PRAGMA integrity_check(100)");
    while (db_step(q) == 1)
        if (!str_equal(db_column_str(q, 0), STR("ok")))
            found(v, "the file is damaged: " STR_FMT, STR_ARG(db_column_str(q, 0)));
    db_done(q);
}

/* The hash of a body as it can be read; false: it cannot, or has another size. */
static bool body_hash(struct db *db, int64_t id, int64_t size, struct str first,
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

#define BODIES "SELECT id, hash, size, data FROM body"

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
    structure_check(&v);
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
    if (!account_exists(id))
        return 0; /* nothing was delivered yet: the file is made at its first opening */
    struct account *a = account_hold_exclusive(id, e);
    int result = account_db_open(id, &db, e);
    if (result == 0)
        result = file_verify(db, findings, e);
    db_close(&db);
    account_release_exclusive(&a);
    return result;
}

/* ------------------------------------------------------------------ repair */

/* The highest modification sequence that was given. */
#define HIGHEST                                                                                  \
    "(SELECT coalesce(max(highest), 0) FROM (SELECT max(modseq) AS highest FROM placement UNION" \
    " ALL SELECT max(modseq) FROM mailbox UNION ALL SELECT max(modseq) FROM expunged))"

/* What follows from the rest is computed anew. A message whose content is lost stays where it is: its
 * mailbox shows that it was there, and reading it says what is wrong. */
static const struct {
    const char *sql, *what;
} mendings[] = {
    {"INSERT OR IGNORE INTO keyword (id, names) SELECT DISTINCT keywords, '$Lost'||keywords FROM placement WHERE"
     " keywords<>0 AND keywords NOT IN (SELECT id FROM keyword)",
     "keyword sets that were lost have names again"},
    {"UPDATE account SET modseq=" HIGHEST " WHERE modseq<" HIGHEST,
     "the account's modification sequence"},
    {"UPDATE account SET modseq=modseq+1", NULL}, /* that of what is changed below */
    {"INSERT OR IGNORE INTO mailbox SELECT 1, 'INBOX', 1, 0, 1, 1, uidvalidity+1, 1, 1, 0, 0, 0, 0, 1, 0, 0 FROM account"
     " WHERE NOT EXISTS (SELECT 1 FROM mailbox WHERE name='INBOX' AND present=1)",
     "INBOX is there again"},
    {"INSERT OR IGNORE INTO mailbox SELECT DISTINCT p.mailbox, 'Recovered-'||p.mailbox, 1, 0, 1, 0,"
     " (SELECT uidvalidity+p.mailbox FROM account), 1, 1, 0, 0, 0, 0, 1, 0, 0 FROM placement p WHERE p.mailbox NOT IN"
     " (SELECT id FROM mailbox WHERE present=1)",
     "mailboxes for messages that had none"},
    {"INSERT INTO placement SELECT 1, (SELECT max(uidnext, coalesce((SELECT max(uid) FROM placement WHERE mailbox=1), 0)+1)"
     " FROM mailbox WHERE id=1)+row_number() OVER (ORDER BY e.id), e.id, 0, 0, (SELECT modseq FROM account), 0 FROM email e"
     " WHERE e.id NOT IN (SELECT email FROM placement)",
     "messages that were in no mailbox are in INBOX"},
    {"DELETE FROM placement WHERE email NOT IN (SELECT id FROM email)",
     "places of messages that are lost"},
    {"DELETE FROM header WHERE email NOT IN (SELECT id FROM email)", "headers without messages"},
    {"UPDATE email SET places=c.n FROM " PLACES " AS c WHERE c.email=email.id AND places<>c.n",
     "numbers of places"},
    {"UPDATE body SET uses=c.n FROM " USES " AS c WHERE c.body=body.id AND uses<>c.n",
     "numbers of uses"},
    {"DELETE FROM body WHERE id NOT IN (SELECT body FROM email)", "bodies that nobody uses"},
    {"DELETE FROM chunk WHERE body NOT IN (SELECT id FROM body)", "pieces that belong to nothing"},
    {"UPDATE mailbox SET uidnext=max(uidnext, (SELECT coalesce(max(uid), 0)+1 FROM placement p WHERE p.mailbox=mailbox.id))"
     " WHERE present=1 AND uidnext<=(SELECT coalesce(max(uid), 0) FROM placement p WHERE p.mailbox=mailbox.id)",
     "next UIDs"},
    {"UPDATE mailbox SET modseq=(SELECT modseq FROM account) WHERE present=1 AND modseq<(SELECT coalesce(max(modseq), 0)"
     " FROM placement p WHERE p.mailbox=mailbox.id)",
     "modification sequences of mailboxes"},
    {"UPDATE mailbox SET messages=c.messages, unseen=c.unseen, deleted=c.deleted, size=c.size FROM (SELECT m.id AS id,"
     " count(p.uid) AS messages, coalesce(sum(p.flags&1=0), 0) AS unseen, coalesce(sum(p.flags&8<>0), 0) AS deleted,"
     " coalesce(sum(e.size), 0) AS size FROM mailbox m LEFT JOIN placement p ON p.mailbox=m.id LEFT JOIN email e ON"
     " e.id=p.email GROUP BY m.id) AS c WHERE c.id=mailbox.id AND (mailbox.messages<>c.messages OR"
     " mailbox.unseen<>c.unseen OR mailbox.deleted<>c.deleted OR mailbox.size<>c.size)",
     "counters of mailboxes"},
    {"UPDATE account SET messages=c.messages, bytes=c.bytes FROM (SELECT count(*) AS messages, coalesce(sum(e.size), 0)"
     " AS bytes FROM placement p LEFT JOIN email e ON e.id=p.email) AS c WHERE account.messages<>c.messages OR"
     " account.bytes<>c.bytes",
     "counters of the account"},
    {"UPDATE account SET emails=max(emails, (SELECT coalesce(max(id), 0) FROM email)),"
     " threads=max(threads, (SELECT coalesce(max(thread), 0) FROM email)),"
     " mailboxes=max(mailboxes, (SELECT coalesce(max(abs(id)), 0) FROM mailbox)),"
     " uidvalidity=max(uidvalidity, (SELECT coalesce(max(uidvalidity), 0) FROM mailbox)) WHERE " NUMBERS_LOW,
     "numbers that would have been given again"},
};

/* A message's header and body from their stored pieces, whatever the rows say of their sizes. */
static int content_read(struct db *db, int64_t email, struct buf *header, struct buf *body)
{
    struct error e;
    int result = -1;
    struct db_query *q =
        db_query(db, "SELECT h.data, b.data FROM email e JOIN header h ON h.email=e.id"
                     " JOIN body b ON b.id=e.body WHERE e.id=?");
    db_bind_i64(q, 1, email);
    if (db_step(q) == 1 && content_unpack(db_column_str(q, 0), HEADER_MAX, header, &e) == 0)
        result = content_unpack(db_column_str(q, 1), CHUNK_SIZE, body, &e);
    db_done(q);
    q = db_query(
        db,
        "SELECT c.data FROM email e JOIN chunk c ON c.body=e.body WHERE e.id=? ORDER BY c.number");
    db_bind_i64(q, 1, email);
    while (result == 0 && db_step(q) == 1)
        result = content_unpack(db_column_str(q, 0), CHUNK_SIZE, body, &e);
    db_done(q);
    return result;
}

/* Sizes that contradict each other follow from the content, when it can be read. */
static void size_mend(struct db *db, int64_t email, struct buf *report)
{
    struct buf header = BUF_INIT(BUF_UNBOUNDED), body = BUF_INIT(BUF_UNBOUNDED);
    if (content_read(db, email, &header, &body) == 0) {
        struct db_query *q =
            db_query(db, "UPDATE body SET size=?1 WHERE id=(SELECT body FROM email WHERE id=?2)");
        db_bind_i64(q, 1, (int64_t)body.len);
        db_bind_i64(q, 2, email);
        db_run(q);
        q = db_query(db, "UPDATE email SET header_size=?1, size=?2 WHERE id=?3");
        db_bind_i64(q, 1, (int64_t)header.len);
        db_bind_i64(q, 2, (int64_t)(header.len + body.len));
        db_bind_i64(q, 3, email);
        db_run(q);
        buf_printf(report, "message %lld has its size again\n", (long long)email);
    }
    buf_free(&header);
    buf_free(&body);
}

static void sizes_mend(struct db *db, struct buf *report)
{
    VEC(int64_t) bad = VEC_INIT;
    struct db_query *q = db_query(db, "SELECT e.id FROM email e JOIN body b ON b.id=e.body"
                                      " WHERE e.header_size+b.size<>e.size");
    while (db_step(q) == 1)
        VEC_ADD(&bad, db_column_i64(q, 0));
    db_done(q);
    for (size_t i = 0; i < bad.len; i++)
        size_mend(db, bad.items[i], report);
    VEC_FREE(&bad);
}

/* A summary without any parsing. A message that cannot be read keeps what it has. */
static void summary_mend(struct db *db, int64_t email, struct buf *report)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED), text = BUF_INIT(BUF_UNBOUNDED),
               body = BUF_INIT(BUF_UNBOUNDED);
    if (content_read(db, email, &text, &body) == 0) {
        buf_add(&text, buf_str(&body));
        summary_build_plain(buf_str(&text), &block);
        struct db_query *q = db_query(db, "UPDATE email SET summary=?1 WHERE id=?2");
        db_bind_blob(q, 1, buf_str(&block));
        db_bind_i64(q, 2, email);
        db_run(q);
        buf_printf(report, "message %lld has a plain summary now\n", (long long)email);
    }
    buf_free(&block);
    buf_free(&text);
    buf_free(&body);
}

/* Summaries that cannot be used are replaced by plain ones; the mail itself is untouched. */
static void summaries_mend(struct db *db, struct buf *report)
{
    struct db_query *q = db_query(db, "SELECT id, size, summary FROM email");
    VEC(int64_t) bad = VEC_INIT;
    while (db_step(q) == 1) {
        struct summary s;
        if (summary_open(&s, db_column_str(q, 2)) < 0 ||
            s.message_size != (uint64_t)db_column_i64(q, 1))
            VEC_ADD(&bad, db_column_i64(q, 0));
    }
    db_done(q);
    for (size_t i = 0; i < bad.len; i++)
        summary_mend(db, bad.items[i], report);
    VEC_FREE(&bad);
}

struct rehash {
    int64_t body;
    unsigned char hash[SHA256_DIGEST_LENGTH];
};

/* A body that can be read but has another hash is kept as it is, and said: a damaged hash and damaged
 * bytes cannot be told apart. */
static void hashes_mend(struct db *db, struct buf *report)
{
    VEC(struct rehash) bad = VEC_INIT;
    struct db_query *q = db_query(db, BODIES);
    while (db_step(q) == 1) {
        struct rehash r = {.body = db_column_i64(q, 0)};
        if (body_hash(db, r.body, db_column_i64(q, 2), db_column_str(q, 3), r.hash) &&
            !str_equal(db_column_str(q, 1), str_of(r.hash, sizeof(r.hash))))
            VEC_ADD(&bad, r);
    }
    db_done(q);
    for (size_t i = 0; i < bad.len; i++) {
        q = db_query(db, "UPDATE body SET hash=? WHERE id=?");
        db_bind_blob(q, 1, str_of(bad.items[i].hash, sizeof(bad.items[i].hash)));
        db_bind_i64(q, 2, bad.items[i].body);
        db_run(q);
        buf_printf(
            report,
            "body %lld is not what was stored, or its hash is not; it is kept as it can be read\n",
            (long long)bad.items[i].body);
    }
    VEC_FREE(&bad);
}

int account_repair(uint64_t id, struct buf *report, struct error *e)
{
    struct db *db = NULL;
    if (!account_exists(id))
        return 0;
    struct account *a = account_hold_exclusive(id, e);
    int result = account_db_open(id, &db, e);
    if (result == 0)
        result = db_exec(db, "REINDEX", e); /* indexes follow from the tables */
    if (result == 0)
        result = db_begin(db, true, e);
    if (result == 0)
        sizes_mend(db, report);
    for (size_t i = 0; result == 0 && i < countof(mendings); i++) {
        struct db_query *q = db_query(db, mendings[i].sql);
        db_run(q);
        result = db_error(db, e);
        if (result == 0 && db_changes(db) > 0 && mendings[i].what)
            buf_printf(report, "%s: %lld\n", mendings[i].what, (long long)db_changes(db));
    }
    if (result == 0) {
        summaries_mend(db, report);
        hashes_mend(db, report);
    }
    if (db && result == 0)
        result = db_commit(db, e);
    db_close(&db);
    search_remove(id); /* made anew from what there is now */
    account_release_exclusive(&a);
    return result < 0 ? -1 : 0;
}
