/* test_verify.c - account_verify() names each kind of damage; account_repair() mends what can be mended and
 * loses no message. */
#include "world.h"

#define FIRST  STR("Message-ID: <1@x>\r\nSubject: first\r\n\r\nthe body\r\n")
#define SECOND STR("Message-ID: <2@x>\r\nSubject: second\r\n\r\nanother body\r\n")

static struct {
    uint64_t inbox, other, large;
    struct buf text;
} made;

/* INBOX: FIRST (seen), SECOND (deleted, a keyword), a large one. "other": a copy of FIRST. */
static int setup(void **state)
{
    world_setup(state);
    const struct str keyword[] = {STR("k")};
    uint64_t email;
    uint32_t uid;
    made.text = BUF_INIT(BUF_UNBOUNDED);
    buf_add_literal(&made.text, "Subject: large\r\n\r\n");
    for (uint32_t x = 1; made.text.len < 600 * 1024;) {
        x = x * 1664525 + 1013904223;
        buf_printf(&made.text, "%08x%s", x, x % 8 ? "" : "\r\n");
    }
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    made.inbox = world_mailbox(tx, "INBOX").id;
    made.other = world_create(tx, "other").id;
    world_append(tx, made.inbox, FIRST, FLAG_SEEN);
    world_append_full(tx, made.inbox, SECOND, FLAG_DELETED, keyword, 1, &email);
    world_append_full(tx, made.inbox, buf_str(&made.text), 0, NULL, 0, &made.large);
    world_ok(message_copy(tx, made.inbox, 1, made.other, &uid, e));
    world_commit(tx);
    return 0;
}

static int teardown(void **state)
{
    buf_free(&made.text);
    return world_teardown(state);
}

/* Everything is there with its bytes. */
static void all_readable(struct account_tx *tx)
{
    assert_str(world_read(tx, world_message(tx, made.inbox, 1).email, 0, 1000), FIRST);
    assert_str(world_read(tx, world_message(tx, made.inbox, 2).email, 0, 1000), SECOND);
    assert_str(world_read(tx, world_message(tx, made.inbox, 3).email, 0, UINT64_MAX),
               buf_str(&made.text));
    assert_str(world_read(tx, world_message(tx, made.other, 1).email, 0, 1000), FIRST);
}

static void contains(struct str text, const char *part)
{
    if (str_find(text, str_from(part)) == text.len)
        fail_msg("\"%s\" is not in: " STR_FMT, part, STR_ARG(text));
}

static struct str repair(void)
{
    struct buf report = BUF_INIT(BUF_UNBOUNDED);
    world_ok(account_repair(WORLD_ID, &report, e));
    struct str text = arena_copy(&world_arena, buf_str(&report));
    buf_free(&report);
    return text;
}

/* What can be computed again: mended, and nothing is lost. */
static const struct {
    const char *sql, *finding;
} mendable[] = {
    {"UPDATE mailbox SET messages=messages+1 WHERE name='INBOX'", "wrong number of messages 1: 4"},
    {"UPDATE mailbox SET unseen=0 WHERE name='INBOX'", "wrong number of unseen messages 1: 0"},
    {"UPDATE mailbox SET deleted=7 WHERE name='INBOX'", "wrong number of deleted messages 1: 7"},
    {"UPDATE mailbox SET size=size-1 WHERE name='other'", "mailbox has a wrong size"},
    {"UPDATE mailbox SET uidnext=2 WHERE name='INBOX'", "UID at or above its next one 1: 3"},
    {"UPDATE mailbox SET modseq=2 WHERE name='INBOX'", "message changed after the mailbox"},
    {"UPDATE account SET messages=1", "account has a wrong number of messages 1: 1"},
    {"UPDATE account SET bytes=1", "account has a wrong size 1: 1"},
    {"UPDATE account SET modseq=2", "placement changed after the account"},
    {"UPDATE account SET emails=0", "account would give numbers again"},
    {"UPDATE account SET mailboxes=3", "account would give numbers again"},
    {"UPDATE account SET threads=0, uidvalidity=1", "account would give numbers again"},
    {"DELETE FROM mailbox WHERE name='INBOX'", "account has no INBOX"},
    {"UPDATE mailbox SET modseq=1000 WHERE name='other'",
     "mailbox changed after the account 7: 1000"},
    {"UPDATE body SET size=1099511627776 WHERE id=2", "message 2 is not as large as it should be"},
    {"UPDATE email SET header_size=5 WHERE id=2", "message 2 is not as large as it should be"},
    {"UPDATE email SET places=9 WHERE id=1", "wrong number of places 1: 9"},
    {"UPDATE body SET uses=9 WHERE id=1", "body with a wrong number of uses 1: 9"},
    {"UPDATE email SET size=size+1 WHERE id=2", "message 2 is not as large as it should be"},
    {"UPDATE email SET size=1099511627776 WHERE id=2", "message 2 is not as large as it should be"},
    {"UPDATE email SET summary=x'00' WHERE id=2", "message 2 has a damaged summary"},
    {"INSERT INTO header VALUES (99, 0, x'00')", "header without a message 99"},
    {"INSERT INTO chunk VALUES (99, 1, x'00')", "piece of a body that does not exist 99: 1"},
    {"INSERT INTO body VALUES (99, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, 0, x'00')",
     NULL},
    {"UPDATE body SET hash=x'0011223344556677' WHERE id=1", "body 1 does not have the bytes"},
    {"DELETE FROM keyword", "keyword set that does not exist 1: 2"},
    {"INSERT INTO placement VALUES (1, 17, 99, 0, 0, 1, 0)",
     "placement of a message that does not exist 1: 17"},
};

static void mends(void **state UNUSED)
{
    assert_str_literal(world_verify(), "");
    for (size_t i = 0; i < countof(mendable); i++) {
        world_damage(mendable[i].sql);
        struct str findings = world_verify();
        if (mendable[i].finding)
            contains(findings, mendable[i].finding);
        assert_str(world_verify(), findings); /* looking changes nothing */
        if (!repair().len && mendable[i].finding)
            fail_msg("%s: the report is empty", mendable[i].sql);
        findings = world_verify();
        if (findings.len)
            fail_msg("%s: after repair " STR_FMT, mendable[i].sql, STR_ARG(findings));
        struct account_tx *tx = world_begin(ACCOUNT_READ);
        all_readable(tx);
        assert_str_literal(world_uids(tx, made.inbox), "1-3");
        struct mailbox inbox = world_mailbox(tx, "INBOX");
        assert_int_equal(inbox.messages, 3);
        assert_int_equal(inbox.unseen, 2);
        assert_int_equal(inbox.deleted, 1);
        assert_int_equal(inbox.size, FIRST.len + SECOND.len + made.text.len);
        assert_true(inbox.modseq >= world_message(tx, made.inbox, 3).modseq);
        assert_true(inbox.uidnext > 3);
        world_rollback(tx);
    }
    assert_str_literal(repair(), ""); /* nothing to do */
}

/* The account goes on after a repair: new UIDs and modification sequences are above all old ones. */
static void goes_on(void **state UNUSED)
{
    world_damage("UPDATE account SET modseq=2");
    world_damage("UPDATE mailbox SET uidnext=1, modseq=1");
    repair();
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    uint64_t highest = world_message(tx, made.inbox, 3).modseq;
    uint32_t uid = world_append(tx, made.inbox, FIRST, 0);
    assert_int_equal(uid, 4);
    assert_true(world_message(tx, made.inbox, uid).modseq > highest);
    world_commit(tx);
    assert_str_literal(world_verify(), "");
}

static void orphans_come_to_inbox(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_READ);
    uint64_t before = account_modseq(tx);
    world_rollback(tx);
    world_damage("DELETE FROM placement WHERE email=1");
    contains(world_verify(), "message with a wrong number of places 1: 2");
    contains(repair(), "messages that were in no mailbox are in INBOX: 1");
    assert_str_literal(world_verify(), "");
    tx = world_begin(ACCOUNT_READ);
    assert_str_literal(world_uids(tx, made.inbox), "2-3,5");
    struct message row = world_message(tx, made.inbox, 5);
    assert_int_equal(row.email, 1);
    assert_true(row.modseq > before); /* sessions hear of it */
    assert_true(world_mailbox(tx, "INBOX").modseq >= row.modseq);
    assert_str(world_read(tx, 1, 0, 1000), FIRST);
    assert_int_equal(world_mailbox(tx, "other").messages, 0);
    world_rollback(tx);
}

static void lost_mailboxes_come_back(void **state UNUSED)
{
    world_damage("DELETE FROM mailbox WHERE name='other'");
    contains(world_verify(), "placement in a mailbox that does not exist");
    contains(repair(), "mailboxes for messages that had none: 1");
    assert_str_literal(world_verify(), "");
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct str name = arena_printf(&world_arena, "Recovered-%llu", (unsigned long long)made.other);
    struct mailbox m;
    world_ok(mailbox_find(tx, name, &world_arena, &m, e));
    assert_int_equal(m.messages, 1);
    assert_int_equal(m.uidnext, 2);
    assert_str(world_read(tx, world_message(tx, m.id, 1).email, 0, 1000), FIRST);
    world_create(tx, "afterwards");
    world_commit(tx);
    assert_str_literal(world_verify(), "");
}

/* Content that is gone: verify goes on naming it, the message keeps its place, reading it says so, and all
 * others are untouched. */
static const struct {
    const char *sql, *finding;
} losses[] = {
    {"UPDATE body SET data=x'00616263' WHERE id=(SELECT body FROM email WHERE id=1)",
     "body 1 does not have the bytes"},
    {"DELETE FROM body WHERE id=(SELECT body FROM email WHERE id=1)", "message without a body 1"},
    {"DELETE FROM header WHERE email=1", "message without a header 1"},
    {"UPDATE header SET data=x'01ff' WHERE email=1", "message 1 has a damaged header"},
    {"UPDATE header SET data=x'' WHERE email=1", "message 1 has a damaged header"},
    {"UPDATE body SET data=x'' WHERE id=(SELECT body FROM email WHERE id=1)",
     "body 1 does not have the bytes"},
};

static void loss(const char *sql, const char *finding)
{
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    world_damage(sql);
    contains(world_verify(), finding);
    repair();
    struct str findings = world_verify();
    contains(findings, finding);
    if (str_find_char(findings, '\n') + 1 != findings.len)
        fail_msg("%s: more than one finding after repair: " STR_FMT, sql, STR_ARG(findings));
    struct account_tx *tx = world_begin(ACCOUNT_READ);
    assert_str_literal(world_uids(tx, made.inbox), "1-3");
    assert_str_literal(world_uids(tx, made.other), "1");
    assert_str(world_read(tx, world_message(tx, made.inbox, 2).email, 0, 1000), SECOND);
    assert_str(world_read(tx, made.large, 0, UINT64_MAX), buf_str(&made.text));
    struct error e = {0};
    if (message_read(tx, 1, 0, UINT64_MAX, &out, &e) < 0)
        assert_int_equal(e.class, ERROR_CORRUPT);
    world_rollback(tx);
    buf_free(&out);
}

static void losses_are_named(void **state UNUSED)
{
    for (size_t i = 0; i < countof(losses); i++) {
        loss(losses[i].sql, losses[i].finding);
        teardown(NULL);
        setup(NULL);
    }
}

static void chunks_are_checked(void **state UNUSED)
{
    static const char *const sql[] = {"DELETE FROM chunk WHERE number=1",
                                      "UPDATE chunk SET number=3 WHERE number=1",
                                      "UPDATE chunk SET data=x'00' WHERE number=2"};
    for (size_t i = 0; i < countof(sql); i++) {
        struct buf out = BUF_INIT(BUF_UNBOUNDED);
        world_damage(sql[i]);
        contains(world_verify(), "body 3 does not have the bytes");
        repair();
        struct account_tx *tx = world_begin(ACCOUNT_READ);
        assert_str_literal(world_uids(tx, made.inbox), "1-3");
        assert_int_equal(world_error(message_read(tx, made.large, 0, UINT64_MAX, &out, e)),
                         ERROR_CORRUPT);
        assert_str(world_read(tx, made.large, 0, 1000), str_slice(buf_str(&made.text), 0, 1000));
        world_rollback(tx);
        buf_free(&out);
        teardown(NULL);
        setup(NULL);
    }
}

/* A file whose pages were overwritten: verify says so or cannot check; neither it nor repair crashes. */
static void damaged_pages(void **state UNUSED)
{
    unsigned damaged = 0;
    for (unsigned page = 1; page < 40; page += 3) {
        char path[512];
        account_path(WORLD_ID, ".db", false, path);
        account_close(&world);
        accounts_shutdown();
        sqlite3 *db;
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
        sqlite3_close(db);
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        fseek(f, (long)page * 4096 + 8, SEEK_SET);
        for (int i = 0; i < 200; i++)
            fputc("\377\0\001x"[i % 4], f);
        fclose(f);
        struct error problem;
        struct buf findings = BUF_INIT(BUF_UNBOUNDED), report = BUF_INIT(BUF_UNBOUNDED);
        assert_int_equal(accounts_init(world_directory, 8 << 20, &problem), 0);
        int result = account_verify(WORLD_ID, &findings, &problem);
        damaged += result != 0;
        if (result == 0) { /* hit what no row uses */
            world_ok(account_open(WORLD_ID, &world, e));
            struct account_tx *tx = world_begin(ACCOUNT_READ);
            all_readable(tx);
            world_rollback(tx);
            account_close(&world);
        }
        account_repair(WORLD_ID, &report, &problem);
        buf_free(&findings);
        buf_free(&report);
        accounts_shutdown();
        arena_free(&world_arena);
        buf_free(&made.text);
        world_remove();
        setup(NULL);
    }
    assert_true(damaged >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mends, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(orphans_come_to_inbox, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_mailboxes_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(losses_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(chunks_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_pages, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
