/* repair.c - mending an account's file. See account.h.
 *
 * What follows from the rest is computed anew, in place. When SQLite cannot read the file any more, what can
 * be read of it (salvage.h) is taken into a new one, which then takes its place.
 */
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "message/scan.h"
#include "message/summary.h"
#include "run/ipc.h"
#include "run/process.h"
#include "store/salvage.h"
#include "store/schema.h"
#include "store/tx.h"
#include "store/verify.h"

enum { HEADER_MAX = 64 * 1024 * 1024 };

/* ------------------------------------------------------------------ mending */

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
    /* The next body would get the number of a lost one. */
    {"UPDATE email SET body=-body WHERE body>0 AND body NOT IN (SELECT id FROM body)",
     "messages whose bodies are lost"},
    {"UPDATE header SET body=-body WHERE body>0 AND body NOT IN (SELECT id FROM body)", NULL},
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

/* A message from its stored pieces, whatever the rows say of their sizes. */
static int content_read(struct db *db, int64_t email, struct buf *message, size_t *header_size)
{
    struct error e;
    int result = -1;
    struct db_query *q = db_query(
        db, "SELECT h.data, b.data FROM header h JOIN body b ON b.id=h.body WHERE h.email=?");
    db_bind_i64(q, 1, email);
    if (db_step(q) == 1 && content_unpack(db_column_str(q, 0), HEADER_MAX, message, &e) == 0) {
        *header_size = message->len;
        result = content_unpack(db_column_str(q, 1), CHUNK_SIZE, message, &e);
    }
    db_done(q);
    q = db_query(db, "SELECT c.data FROM header h JOIN chunk c ON c.body=h.body WHERE h.email=?"
                     " ORDER BY c.number");
    db_bind_i64(q, 1, email);
    while (result == 0 && db_step(q) == 1)
        result = content_unpack(db_column_str(q, 0), CHUNK_SIZE, message, &e);
    db_done(q);
    return result;
}

typedef VEC(int64_t) id_list;

/* The numbers that a query gives: what is changed on the way does not disturb it. */
static id_list ids_of(struct db *db, const char *sql)
{
    id_list list = VEC_INIT;
    struct db_query *q = db_query(db, sql);
    while (db_step(q) == 1)
        VEC_ADD(&list, db_column_i64(q, 0));
    db_done(q);
    return list;
}

/* The summary of a message. Without a running server there is no scan, and bytes of strangers are not
 * parsed here: then it is plain, and a later repair makes a better one. */
static void summary_make(struct str message, struct buf *out)
{
    int fd CLEANUP(fd_close) =
        process_self() == PROCESS_COMMAND ? -1 : memfd_from(message, "repair");
    if (fd >= 0)
        scan_summarize(fd, message.len, out);
    else
        summary_build_plain(message, out);
}

/* An email's row is lost, and its header and body are there: it follows from them. */
static void email_rebuild(struct db *db, int64_t email, struct buf *report)
{
    struct buf message = BUF_INIT(BUF_UNBOUNDED), block = BUF_INIT(BUF_UNBOUNDED);
    size_t header_size;
    if (content_read(db, email, &message, &header_size) == 0) {
        summary_make(buf_str(&message), &block);
        struct db_query *q = db_query(
            db, "INSERT INTO email SELECT ?1, (SELECT threads FROM account)+?1, h.body, ?2, ?3,"
                " coalesce((SELECT min(saved) FROM placement WHERE email=?1), ?4), 0, ?5"
                " FROM header h WHERE h.email=?1");
        db_bind_i64(q, 1, email);
        db_bind_i64(q, 2, (int64_t)message.len);
        db_bind_i64(q, 3, (int64_t)header_size);
        db_bind_i64(q, 4, clock_real_seconds());
        db_bind_blob(q, 5, buf_str(&block));
        db_run(q);
        buf_printf(report, "message %lld was put together again from its header and its body\n",
                   (long long)email);
    }
    buf_free(&message);
    buf_free(&block);
}

static void emails_rebuild(struct db *db, struct buf *report)
{
    id_list lost = ids_of(db, "SELECT email FROM header WHERE email NOT IN (SELECT id FROM email)");
    for (size_t i = 0; i < lost.len; i++)
        email_rebuild(db, lost.items[i], report);
    VEC_FREE(&lost);
}

/* Sizes that contradict each other follow from the content, when it can be read. */
static void size_mend(struct db *db, int64_t email, struct buf *report)
{
    struct buf message = BUF_INIT(BUF_UNBOUNDED);
    size_t header_size;
    if (content_read(db, email, &message, &header_size) == 0) {
        struct db_query *q =
            db_query(db, "UPDATE body SET size=?1 WHERE id=(SELECT body FROM email WHERE id=?2)");
        db_bind_i64(q, 1, (int64_t)(message.len - header_size));
        db_bind_i64(q, 2, email);
        db_run(q);
        q = db_query(db, "UPDATE email SET header_size=?1, size=?2 WHERE id=?3");
        db_bind_i64(q, 1, (int64_t)header_size);
        db_bind_i64(q, 2, (int64_t)message.len);
        db_bind_i64(q, 3, email);
        db_run(q);
        buf_printf(report, "message %lld has its size again\n", (long long)email);
    }
    buf_free(&message);
}

static void sizes_mend(struct db *db, struct buf *report)
{
    id_list bad = ids_of(db, "SELECT e.id FROM email e JOIN body b ON b.id=e.body"
                             " WHERE e.header_size+b.size<>e.size");
    for (size_t i = 0; i < bad.len; i++)
        size_mend(db, bad.items[i], report);
    VEC_FREE(&bad);
}

/* What is wrong with a stored summary? */
enum fault { SUMMARY_FINE, SUMMARY_POOR, SUMMARY_UNUSABLE }; /* ever worse */
static enum fault summary_fault(struct str block, uint64_t size)
{
    struct summary s;
    if (summary_open(&s, block) < 0 || s.message_size != size)
        return SUMMARY_UNUSABLE;
    return s.flags & SUMMARY_PLAIN ? SUMMARY_POOR : SUMMARY_FINE;
}

/* A message that cannot be read keeps what it has, and a poor summary is only replaced by a better one. */
static void summary_mend(struct db *db, int64_t email, enum fault fault, struct buf *report)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED), message = BUF_INIT(BUF_UNBOUNDED);
    size_t header_size;
    if (content_read(db, email, &message, &header_size) == 0) {
        summary_make(buf_str(&message), &block);
        if (summary_fault(buf_str(&block), message.len) < fault) {
            struct db_query *q = db_query(db, "UPDATE email SET summary=?1 WHERE id=?2");
            db_bind_blob(q, 1, buf_str(&block));
            db_bind_i64(q, 2, email);
            db_run(q);
            buf_printf(report, "message %lld has a new summary\n", (long long)email);
        }
    }
    buf_free(&block);
    buf_free(&message);
}

static void summaries_mend(struct db *db, struct buf *report)
{
    VEC(struct {
        int64_t email;
        enum fault fault;
    })
    bad = VEC_INIT;
    struct db_query *q = db_query(db, "SELECT id, size, summary FROM email");
    while (db_step(q) == 1) {
        enum fault fault = summary_fault(db_column_str(q, 2), (uint64_t)db_column_i64(q, 1));
        if (fault != SUMMARY_FINE) {
            VEC_RESERVE(&bad, 1);
            bad.items[bad.len].email = db_column_i64(q, 0);
            bad.items[bad.len++].fault = fault;
        }
    }
    db_done(q);
    for (size_t i = 0; i < bad.len; i++)
        summary_mend(db, bad.items[i].email, bad.items[i].fault, report);
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

/* Which body belongs to an email stands in two places. Where they differ, the one is right with which the
 * sizes are. */
static void links_mend(struct db *db)
{
    db_run(db_query(db,
                    "UPDATE email SET body=h.body FROM header h JOIN body b ON b.id=h.body WHERE"
                    " h.email=email.id AND h.body<>email.body AND"
                    " email.header_size+b.size=email.size"));
    db_run(db_query(db, "UPDATE header SET body=e.body FROM email e WHERE e.id=header.email AND"
                        " header.body<>e.body"));
}

/* All that can be computed again, in one transaction. */
static int mend(struct db *db, struct buf *report, struct error *e)
{
    if (db_begin(db, true, e) < 0)
        return -1;
    int result = 0;
    links_mend(db);
    emails_rebuild(db, report);
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
        return db_commit(db, e);
    }
    db_rollback(db);
    return -1;
}

/* ------------------------------------------------------------------ a new file for a damaged one */

/* DATA/accounts/ab/123.damaged-1: the first that is not there, or the last that is. */
static void damaged_path(uint64_t id, bool unused, char suffix[static 40], char out[static 512])
{
    for (unsigned n = 1;; n++) {
        snprintf(suffix, 40, ".damaged-%u", n);
        account_path(id, suffix, false, out);
        if (access(out, F_OK) == 0)
            continue;
        if (!unused && n > 1) {
            snprintf(suffix, 40, ".damaged-%u", n - 1);
            account_path(id, suffix, false, out);
        }
        return;
    }
}

static int swap_failed(const char *path, struct error *e)
{
    int code = errno;
    error_set(e, ERROR_INTERNAL, "The repaired file cannot take the place of the damaged one");
    return error_cause(e, "path=%s %s", path, strerror(code));
}

/* Renamed in this order, so that at every instant the account is either the old file with its log or, when
 * there is none of that name, the new one, whose name says that it is whole. */
int account_swap_finish(uint64_t id, struct error *e)
{
    char made[512], present[512], kept[512], log[512], kept_log[512], suffix[40];
    account_path(id, ".salvaged", false, made);
    if (access(made, F_OK) < 0)
        return 0;
    account_path(id, ".db", false, present);
    bool there = access(present, F_OK) == 0;
    damaged_path(id, there, suffix, kept);
    if (there && rename(present, kept) < 0)
        return swap_failed(present, e);
    account_path(id, ".db-wal", false, log);
    snprintf(kept_log, sizeof(kept_log), "%.500s-wal", kept);
    if (rename(log, kept_log) < 0 && errno != ENOENT)
        return swap_failed(log, e);
    account_path(id, ".db-shm", false, log);
    unlink(log);
    if (rename(made, present) < 0 || account_folder_sync(id) < 0)
        return swap_failed(made, e);
    return 0;
}

static int file_sync(const char *path)
{
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

static void new_remove(uint64_t id)
{
    static const char *const suffixes[] = {".new", ".new-wal", ".new-shm"};
    account_files_remove(id, suffixes, countof(suffixes));
}

/* Fills the new file. It is closed, and on the disk, when this returns 0. */
static int new_make(uint64_t id, const char *path, struct buf *report, struct error *e)
{
    struct db *db CLEANUP(db_close) = NULL;
    char database[512], log[512];
    account_path(id, ".db", false, database);
    account_path(id, ".db-wal", false, log);
    struct db_options options = {
        .path = path, .create = true, .cache_kb = 4096, .checkpoint_pages = 1000};
    if (db_open(&options, &db, e) < 0 ||
        db_migrate(db, account_schema, account_schema_count, e) < 0 ||
        salvage_rows(database, log, db, report, e) < 0 || mend(db, report, e) < 0)
        return -1;
    db_close(&db);
    return file_sync(path) < 0 ? swap_failed(path, e) : 0;
}

static int salvage_shut(uint64_t id, struct buf *report, struct error *e)
{
    char path[512], whole[512], kept[512], suffix[40];
    account_path(id, ".new", false, path);
    account_path(id, ".salvaged", false, whole);
    damaged_path(id, true, suffix, kept);
    new_remove(id);
    buf_printf(report, "the file is damaged: what can be read of it is taken into a new one\n");
    if (new_make(id, path, report, e) < 0) {
        new_remove(id);
        return -1;
    }
    if (rename(path, whole) < 0 || account_folder_sync(id) < 0)
        return swap_failed(path, e);
    if (account_swap_finish(id, e) < 0)
        return -1;
    buf_printf(report, "the damaged file is kept as %s; remove it when nothing is missing\n",
               strrchr(kept, '/') + 1);
    return 0;
}

static int salvage(struct account *a, struct buf *report, struct error *e)
{
    if (account_shut(a, e) < 0)
        return -1;
    int result = salvage_shut(a->id, report, e);
    account_reopen(a);
    return result;
}

/* ------------------------------------------------------------------ repair */

static int in_place(uint64_t id, bool *damaged, struct buf *report, struct error *e)
{
    struct db *db CLEANUP(db_close) = NULL;
    *damaged = true;
    int result = account_db_open(id, &db, e);
    enum structure structure = result == 0 ? structure_check(db, NULL, NULL) : STRUCTURE_DAMAGED;
    if (result == 0 && structure == STRUCTURE_DAMAGED)
        return error_set(e, ERROR_CORRUPT, "The account's file is damaged");
    if (structure == STRUCTURE_INDEXES)
        result = db_exec(db, "REINDEX", e);
    if (result == 0)
        result = mend(db, report, e);
    *damaged = result < 0 && e->class != ERROR_FULL && e->class != ERROR_TEMPORARY;
    return result;
}

int account_repair(uint64_t id, struct buf *report, struct error *e)
{
    struct account *a = account_hold_exclusive(id, e);
    bool damaged;
    int result = account_swap_finish(id, e);
    if (result == 0 && account_exists(id)) {
        struct buf done = BUF_INIT(BUF_UNBOUNDED);
        result = in_place(id, &damaged, &done, e);
        if (result < 0 && damaged) {
            buf_reset(&done);
            result = salvage(a, &done, e);
        }
        buf_add(report, str_slice(buf_str(&done), 0, report->max - report->len));
        buf_free(&done);
        search_remove(id); /* made anew from what there is now */
    }
    account_release_exclusive(&a);
    return result;
}
