/* test_account.c - an account's verbs: counters, sequences and references stay right whatever is done, a
 * failed job takes nothing along, and verify finds what is damaged by hand. */
#include "store/account.h"

#include <ftw.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "message/summary.h"
#include "store/db.h"
#include "unit.h"

enum { ID = 7 };
static char directory[64];
static struct account *account;

static int entry_remove(const char *path, const struct stat *st UNUSED, int type UNUSED,
                        struct FTW *walk UNUSED)
{
    return remove(path);
}

static int open_all(void **state UNUSED)
{
    struct error e;
    snprintf(directory, sizeof(directory), "/tmp/posthouse-test-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(accounts_init(directory, 1 << 20, &e), 0);
    assert_int_equal(account_open(ID, &account, &e), 0);
    return 0;
}

static int close_all(void **state UNUSED)
{
    account_close(&account);
    accounts_shutdown();
    nftw(directory, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static struct account_tx *begin(enum account_access access)
{
    struct account_tx *tx = NULL;
    struct error e = {0};
    if (account_begin(account, access, &tx, &e) < 0)
        fail_msg("begin: %s (%s)", e.text, e.cause);
    return tx;
}

static void commit(struct account_tx **tx)
{
    struct error e = {0};
    if (account_commit(tx, &e) < 0)
        fail_msg("commit: %s (%s)", e.text, e.cause);
}

static struct mailbox named(struct account_tx *tx, struct arena *arena, const char *name)
{
    struct mailbox m = {0};
    struct error e = {0};
    if (mailbox_find(tx, str_from(name), arena, &m, &e) < 0)
        fail_msg("%s: %s", name, e.text);
    return m;
}

/* A prepared message and the summary that it looks at. */
struct made {
    struct message_prepared *p;
    struct buf summary;
};

static struct made made(const char *text, uint8_t flags)
{
    struct made m = {.summary = BUF_INIT(BUF_UNBOUNDED)};
    struct error e = {0};
    summary_build(str_from(text), &summary_limits_default, &m.summary);
    struct message_new new = {.data = str_from(text),
                              .summary = buf_str(&m.summary),
                              .received = 1700000000,
                              .flags = flags};
    if (message_prepare(&new, &m.p, &e) < 0)
        fail_msg("prepare: %s (%s)", e.text, e.cause);
    return m;
}

static void made_free(struct made *m)
{
    message_prepared_free(&m->p);
    buf_free(&m->summary);
}

static uint32_t append(struct account_tx *tx, uint64_t mailbox, const char *text, uint8_t flags)
{
    struct made m = made(text, flags);
    struct error e = {0};
    uint32_t uid = 0;
    uint64_t email;
    if (message_append(tx, mailbox, m.p, &uid, &email, &e) < 0)
        fail_msg("append: %s (%s)", e.text, e.cause);
    made_free(&m);
    return uid;
}

/* Nothing may be wrong, and when something is said, it is shown. */
static void nothing_wrong(void)
{
    struct buf findings = BUF_INIT(BUF_UNBOUNDED);
    struct error e = {0};
    if (account_verify(ID, &findings, &e) != 0)
        fail_msg("verify: " STR_FMT "%s", STR_ARG(buf_str(&findings)), e.text);
    buf_free(&findings);
}

#define TEXT(subject) \
    "Subject: " subject "\r\nMessage-ID: <" subject "@b.test>\r\n\r\nbody of " subject "\r\n"

static void first_mailboxes(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct account_tx *tx = begin(ACCOUNT_READ);
    struct mailbox *list;
    size_t count;
    struct error e;
    assert_int_equal(mailbox_list(tx, &arena, &list, &count, &e), 0);
    assert_int_equal(count, 6);
    assert_str_literal(list[0].name, "INBOX");
    for (size_t i = 0; i < count; i++) {
        assert_true(list[i].subscribed && list[i].uidnext == 1 && list[i].messages == 0 &&
                    list[i].modseq > 0);
        assert_true(i == 0 || list[i].use != USE_NONE);
    }
    account_rollback(&tx);
    arena_free(&arena);
    nothing_wrong();
}

static void messages_and_counters(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct error e = {0};
    struct message row;
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    bool changed;
    uint32_t uid;
    struct account_tx *tx = begin(ACCOUNT_WRITE);
    uint64_t inbox = named(tx, &arena, "INBOX").id, trash = named(tx, &arena, "Trash").id;
    uint64_t before = account_modseq(tx);
    assert_int_equal(append(tx, inbox, TEXT("one"), 0), 1);
    assert_int_equal(append(tx, inbox, TEXT("two"), FLAG_SEEN), 2);
    assert_int_equal(append(tx, inbox, TEXT("three"), 0), 3);
    assert_int_equal(append(tx, inbox, TEXT("one"), 0), 4); /* the same body once more */
    commit(&tx);

    tx = begin(ACCOUNT_WRITE);
    struct mailbox m = named(tx, &arena, "INBOX");
    assert_int_equal(m.messages, 4);
    assert_int_equal(m.unseen, 3);
    assert_int_equal(m.uidnext, 5);
    assert_int_equal(m.size, 2 * strlen(TEXT("one")) + strlen(TEXT("two")) + strlen(TEXT("three")));
    assert_true(m.modseq > before && account_modseq(tx) >= m.modseq);

    /* Reading, whole and in parts. */
    assert_int_equal(message_find(tx, inbox, 3, COLUMN_EMAIL, &arena, &row, &e), 0);
    assert_int_equal(row.size, strlen(TEXT("three")));
    assert_int_equal(row.received, 1700000000);
    assert_int_equal(message_read(tx, row.email, 0, UINT64_MAX, &out, &e), 0);
    assert_str(buf_str(&out), STR(TEXT("three")));
    for (uint64_t at = 0; at <= row.size + 1; at += 7) {
        buf_reset(&out);
        assert_int_equal(message_read(tx, row.email, at, 5, &out, &e), 0);
        assert_str(
            buf_str(&out),
            str_slice(str_from_pos(STR(TEXT("three")), MIN((size_t)at, (size_t)row.size)), 0, 5));
    }
    assert_int_equal(message_find(tx, inbox, 99, 0, &arena, &row, &e), -1);
    assert_int_equal(e.class, ERROR_NOT_FOUND);

    /* Flags and keywords; a condition that does not hold. */
    const struct str words[] = {STR("Work"), STR("$Forwarded")};
    assert_int_equal(
        message_flags(tx, inbox, 1, FLAGS_ADD, FLAG_SEEN, words, 2, UINT64_MAX, &row, &changed, &e),
        0);
    assert_true(changed && row.flags == FLAG_SEEN && row.keyword_set != 0);
    uint64_t modseq = row.modseq;
    assert_int_equal(
        message_flags(tx, inbox, 1, FLAGS_ADD, FLAG_SEEN, words, 1, UINT64_MAX, &row, &changed, &e),
        0);
    assert_true(!changed && row.modseq == modseq);
    assert_int_equal(
        message_flags(tx, inbox, 1, FLAGS_SET, 0, NULL, 0, modseq - 1, &row, &changed, &e), -1);
    assert_int_equal(e.class, ERROR_EXISTS);
    struct str *names;
    size_t count;
    assert_int_equal(keyword_set_names(tx, row.keyword_set, &arena, &names, &count, &e), 0);
    assert_int_equal(count, 2);

    /* Copy, move, expunge. */
    assert_int_equal(message_copy(tx, inbox, 1, trash, &uid, &e), 0);
    assert_int_equal(uid, 1);
    assert_int_equal(message_move(tx, inbox, 2, trash, &uid, &e), 0);
    assert_int_equal(uid, 2);
    assert_int_equal(message_expunge(tx, inbox, 4, &e), 0);
    assert_int_equal(message_expunge(tx, inbox, 4, &e), -1);
    assert_int_equal(e.class, ERROR_NOT_FOUND);
    commit(&tx);
    nothing_wrong();

    tx = begin(ACCOUNT_READ);
    m = named(tx, &arena, "INBOX");
    assert_int_equal(m.messages, 2);
    assert_int_equal(m.unseen, 1);
    m = named(tx, &arena, "Trash");
    assert_int_equal(m.messages, 2);
    assert_int_equal(m.unseen, 0);
    struct uid_run *runs;
    assert_int_equal(mailbox_expunged(tx, inbox, before, &runs, &count, &e), 0);
    assert_int_equal(count, 2); /* 2 and 4 */
    assert_int_equal(runs[0].first, 2);
    assert_int_equal(runs[1].first, 4);
    mem_free(runs);
    struct account_usage usage;
    account_usage(tx, &usage);
    assert_int_equal(usage.messages, 4);
    account_rollback(&tx);
    buf_free(&out);
    arena_free(&arena);
}

/* Looking one message up while a cursor stands on another leaves the cursor where it is. */
static void a_look_beside_a_cursor(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct error e = {0};
    struct account_tx *tx = begin(ACCOUNT_WRITE);
    uint64_t drafts = named(tx, &arena, "Drafts").id;
    for (int i = 0; i < 5; i++)
        append(tx, drafts, TEXT("draft"), FLAG_DRAFT);
    struct message_cursor cursor;
    struct message row, other;
    uint32_t seen = 0;
    message_cursor_open(&cursor, tx, drafts, 1, UINT32_MAX, 0, COLUMN_EMAIL);
    while (message_cursor_next(&cursor, &row, &e) > 0) {
        assert_int_equal(row.uid, ++seen);
        assert_int_equal(message_find(tx, drafts, 5, COLUMN_EMAIL, &arena, &other, &e), 0);
        assert_int_equal(other.uid, 5);
    }
    message_cursor_close(&cursor);
    assert_int_equal(seen, 5);
    commit(&tx);
    nothing_wrong();
    arena_free(&arena);
}

static void mailboxes(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct error e = {0};
    struct mailbox m;
    struct account_tx *tx = begin(ACCOUNT_WRITE);
    assert_int_equal(mailbox_create(tx, STR("a/b/c"), USE_NONE, &arena, &m, &e), 0);
    assert_int_equal(mailbox_create(tx, STR("a/b/c"), USE_NONE, &arena, &m, &e), -1);
    assert_int_equal(e.class, ERROR_EXISTS);
    uint32_t validity = named(tx, &arena, "a/b/c").uidvalidity;
    append(tx, named(tx, &arena, "a/b/c").id, TEXT("deep"), 0);
    assert_int_equal(mailbox_rename(tx, STR("a"), STR("z"), &e), 0);
    assert_int_equal(mailbox_find(tx, STR("a/b/c"), &arena, &m, &e), -1);
    assert_int_equal(named(tx, &arena, "z/b/c").messages, 1);
    assert_int_equal(mailbox_rename(tx, STR("z"), STR("z/inside"), &e), -1);
    assert_int_equal(mailbox_rename(tx, STR("nowhere"), STR("y"), &e), -1);
    /* A deleted parent stays as a name; a name that is used again has a higher UIDVALIDITY. */
    assert_int_equal(mailbox_delete(tx, STR("z/b"), &e), 0);
    assert_true(named(tx, &arena, "z/b").no_select);
    assert_int_equal(mailbox_delete(tx, STR("z/b/c"), &e), 0);
    assert_int_equal(mailbox_create(tx, STR("z/b/c"), USE_NONE, &arena, &m, &e), 0);
    assert_true(named(tx, &arena, "z/b/c").uidvalidity > validity &&
                named(tx, &arena, "z/b/c").messages == 0);
    assert_int_equal(mailbox_delete(tx, STR("INBOX"), &e), -1);
    assert_int_equal(e.class, ERROR_DENIED);
    /* RFC 9051 §6.3.6: INBOX's messages move, INBOX stays. */
    uint64_t messages = named(tx, &arena, "INBOX").messages;
    assert_int_equal(mailbox_rename(tx, STR("INBOX"), STR("old mail"), &e), 0);
    assert_int_equal(named(tx, &arena, "INBOX").messages, 0);
    assert_int_equal(named(tx, &arena, "old mail").messages, messages);
    commit(&tx);
    nothing_wrong();
    arena_free(&arena);
}

struct job {
    bool fails;
    uint64_t inbox;
    const struct message_prepared *message;
    uint32_t uid;
};

static int job_run(struct account_tx *tx, void *context, struct error *e)
{
    struct job *job = context;
    uint64_t email;
    if (message_append(tx, job->inbox, job->message, &job->uid, &email, e) < 0)
        return -1;
    return job->fails ? error_set(e, ERROR_QUOTA, "as it was told to") : 0;
}

static void *jobs_thread(void *context)
{
    uint64_t inbox = *(uint64_t *)context;
    size_t kept = 0;
    for (int i = 0; i < 50; i++) {
        struct error e = {0};
        struct made m = made(TEXT("job"), 0);
        struct job job = {.fails = i % 5 == 4, .inbox = inbox, .message = m.p};
        int result = account_write(account, job_run, &job, &e);
        panic_unless((result < 0) == job.fails && (result == 0 || e.class == ERROR_QUOTA));
        kept += result == 0;
        made_free(&m);
    }
    return (void *)kept;
}

/* Jobs of several threads share commits; those that fail leave nothing. */
static void group_commit(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct account_tx *tx = begin(ACCOUNT_READ);
    uint64_t inbox = named(tx, &arena, "Junk").id;
    account_rollback(&tx);
    pthread_t threads[4];
    size_t kept = 0;
    for (size_t i = 0; i < countof(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, jobs_thread, &inbox), 0);
    for (size_t i = 0; i < countof(threads); i++) {
        void *count;
        pthread_join(threads[i], &count);
        kept += (size_t)count;
    }
    assert_int_equal(kept, 160);
    tx = begin(ACCOUNT_READ);
    assert_int_equal(named(tx, &arena, "Junk").messages, 160);
    assert_int_equal(named(tx, &arena, "Junk").uidnext, 161);
    account_rollback(&tx);
    nothing_wrong();
    arena_free(&arena);
}

static void deliveries_once(void **state UNUSED)
{
    struct error e = {0};
    bool again;
    struct account_tx *tx = begin(ACCOUNT_WRITE);
    assert_int_equal(delivery_note(tx, STR("Q1"), STR("a@b.test"), &again, &e), 0);
    assert_false(again);
    assert_int_equal(delivery_note(tx, STR("Q1"), STR("c@b.test"), &again, &e), 0);
    assert_false(again);
    commit(&tx);
    tx = begin(ACCOUNT_WRITE);
    assert_int_equal(delivery_note(tx, STR("Q1"), STR("a@b.test"), &again, &e), 0);
    assert_true(again);
    account_rollback(&tx);
}

static void damage(const char *sql)
{
    char pattern[128], path[256] = "";
    snprintf(pattern, sizeof(pattern), "ls %s/accounts/*/%d.db", directory, ID);
    FILE *list = popen(pattern, "r");
    assert_non_null(fgets(path, sizeof(path), list));
    pclose(list);
    path[strcspn(path, "\n")] = '\0';
    sqlite3 *db;
    char *why = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    if (sqlite3_changes(db) == 0)
        fail_msg("%s: changes nothing", sql);
    sqlite3_close(db);
}

/* Each kind of damage is found and said; repair mends it so that nothing is found; messages stay. */
static void verify_and_repair(void **state UNUSED)
{
    static const struct {
        const char *sql;
        bool mendable;
    } damages[] = {
        {"UPDATE mailbox SET messages = messages + 1 WHERE name = 'Junk'", true},
        {"UPDATE mailbox SET unseen = 0 WHERE name = 'Junk'", true},
        {"UPDATE mailbox SET uidnext = 5 WHERE name = 'Junk'", true},
        {"UPDATE mailbox SET size = size + 10 WHERE name = 'Junk'", true},
        {"UPDATE account SET bytes = bytes + 1", true},
        {"UPDATE email SET places = places + 1 WHERE id = (SELECT min(email) FROM placement)",
         true},
        {"UPDATE body SET uses = uses + 3 WHERE id = (SELECT min(id) FROM body)", true},
        {"UPDATE body SET hash = zeroblob(32) WHERE id = (SELECT max(id) FROM body)", true},
    };
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < countof(damages); i++) {
        struct buf findings = BUF_INIT(BUF_UNBOUNDED), report = BUF_INIT(BUF_UNBOUNDED);
        struct error e = {0};
        account_close(&account);
        accounts_shutdown();
        damage(damages[i].sql);
        assert_int_equal(accounts_init(directory, 1 << 20, &e), 0);
        assert_int_equal(account_open(ID, &account, &e), 0);
        if (account_verify(ID, &findings, &e) != 1 || findings.len == 0)
            fail_msg("%s: is not found", damages[i].sql);
        if (account_repair(ID, &report, &e) < 0 || report.len == 0)
            fail_msg("%s: repair says %s", damages[i].sql, e.text);
        nothing_wrong();
        struct account_tx *tx = begin(ACCOUNT_READ);
        assert_int_equal(named(tx, &arena, "Junk").messages, 160);
        assert_int_equal(named(tx, &arena, "Junk").uidnext, 161);
        account_rollback(&tx);
        buf_free(&findings);
        buf_free(&report);
    }
    arena_free(&arena);
}

static void deleted(void **state UNUSED)
{
    struct error e = {0};
    account_close(&account);
    assert_int_equal(account_delete(ID, &e), 0);
    assert_false(account_exists(ID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_mailboxes),        cmocka_unit_test(messages_and_counters),
        cmocka_unit_test(a_look_beside_a_cursor), cmocka_unit_test(mailboxes),
        cmocka_unit_test(group_commit),           cmocka_unit_test(deliveries_once),
        cmocka_unit_test(verify_and_repair),      cmocka_unit_test(deleted)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
