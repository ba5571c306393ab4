/* test_account.c - mailboxes and messages of an account: counters, modification sequences, UIDs, what was
 * expunged. After every test account_verify() has to find nothing. */
#include "world.h"

#define MESSAGE STR("Message-ID: <1@x>\r\nSubject: s\r\n\r\nbody\r\n")

static int teardown(void **state)
{
    world_abandon();
    struct str findings = world_verify();
    if (findings.len)
        fail_msg("verify: " STR_FMT, STR_ARG(findings));
    return world_teardown(state);
}

static void counters(struct account_tx *tx, uint64_t id, uint64_t messages, uint64_t unseen,
                     uint64_t deleted, uint64_t size)
{
    struct mailbox m;
    world_ok(mailbox_get(tx, id, &world_arena, &m, e));
    assert_int_equal(m.messages, messages);
    assert_int_equal(m.unseen, unseen);
    assert_int_equal(m.deleted, deleted);
    assert_int_equal(m.size, size);
}

static struct str names(struct account_tx *tx)
{
    struct mailbox *list;
    size_t count;
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    world_ok(mailbox_list(tx, &world_arena, &list, &count, e));
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "%s" STR_FMT "%s", i ? " " : "", STR_ARG(list[i].name),
                   list[i].no_select ? "(no_select)" : "");
    struct str result = arena_copy(&world_arena, buf_str(&text));
    buf_free(&text);
    return result;
}

/* ------------------------------------------------------------------ mailboxes */

static void first_mailboxes(void **state UNUSED)
{
    static const enum special_use uses[] = {USE_INBOX, USE_ARCHIVE, USE_DRAFTS,
                                            USE_JUNK,  USE_SENT,    USE_TRASH};
    struct account_tx *tx = world_begin(ACCOUNT_READ);
    struct mailbox *list;
    size_t count;
    assert_str_literal(names(tx), "INBOX Archive Drafts Junk Sent Trash");
    world_ok(mailbox_list(tx, &world_arena, &list, &count, e));
    assert_int_equal(count, countof(uses));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(list[i].use, uses[i]);
        assert_true(list[i].subscribed && !list[i].no_select);
        assert_int_equal(list[i].uidnext, 1);
        assert_int_equal(list[i].messages, 0);
        assert_true(list[i].modseq > 0 && list[i].uidvalidity > 0);
        for (size_t k = 0; k < i; k++)
            assert_false(str_equal(list[i].object_id, list[k].object_id));
    }
    assert_int_equal(world_mailbox(tx, "inbox").id, world_mailbox(tx, "INBOX").id);
    world_rollback(tx);
    world_close(); /* and only once */
    world_open();
    tx = world_begin(ACCOUNT_READ);
    assert_str_literal(names(tx), "INBOX Archive Drafts Junk Sent Trash");
    world_rollback(tx);
}

static void names_are_checked(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct arena *a = &world_arena;
    struct mailbox m;
    char text[2 * MAILBOX_NAME_MAX];
    memset(text, 'x', sizeof(text));
    static const struct str bad[] = {
        STR_INIT(""),     STR_INIT("/"),     STR_INIT("a/"),   STR_INIT("/a"),   STR_INIT("a//b"),
        STR_INIT("a\nb"), STR_INIT("a\177"), STR_INIT("a\0b"), STR_INIT("\xff"), STR_INIT("\xc3")};
    for (size_t i = 0; i < countof(bad); i++) {
        assert_int_equal(world_error(mailbox_create(tx, bad[i], USE_NONE, a, &m, e)),
                         ERROR_INVALID);
        assert_int_equal(world_error(mailbox_rename(tx, STR("Sent"), bad[i], e)), ERROR_INVALID);
        assert_int_equal(world_error(mailbox_subscribe(tx, bad[i], true, e)), ERROR_INVALID);
    }
    assert_int_equal(
        world_error(mailbox_create(tx, str_of(text, MAILBOX_NAME_MAX + 1), USE_NONE, a, &m, e)),
        ERROR_INVALID);
    world_ok(mailbox_create(tx, str_of(text, MAILBOX_NAME_MAX), USE_NONE, a, &m, e));
    for (size_t i = 1; i < sizeof(text); i += 2)
        text[i] = '/';
    assert_int_equal(world_error(mailbox_create(tx, str_of(text, 2 * MAILBOX_DEPTH_MAX + 1),
                                                USE_NONE, a, &m, e)),
                     ERROR_LIMIT);
    world_ok(mailbox_create(tx, str_of(text, 2 * MAILBOX_DEPTH_MAX - 1), USE_NONE, a, &m, e));
    assert_int_equal(world_error(mailbox_create(tx, STR("Inbox"), USE_NONE, a, &m, e)),
                     ERROR_EXISTS);
    assert_int_equal(world_error(mailbox_create(tx, STR("Sent"), USE_NONE, a, &m, e)),
                     ERROR_EXISTS);
    assert_int_equal(world_error(mailbox_find(tx, STR("sent"), a, &m, e)), ERROR_NOT_FOUND);
    assert_int_equal(world_error(mailbox_get(tx, 4711, a, &m, e)), ERROR_NOT_FOUND);
    world_commit(tx);
}

/* INBOX in any case is one name, also above others. */
static void below_inbox(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox m = world_create(tx, "inbox/lists");
    assert_str_literal(m.name, "INBOX/lists");
    assert_int_equal(world_mailbox(tx, "Inbox/lists").id, m.id);
    assert_int_equal(
        world_error(mailbox_create(tx, STR("INBOX/lists"), USE_NONE, &world_arena, &m, e)),
        ERROR_EXISTS);
    world_ok(mailbox_subscribe(tx, STR("iNBOX/lists"), true, e));
    assert_true(world_mailbox(tx, "INBOX/lists").subscribed);
    world_ok(mailbox_rename(tx, STR("INbox/lists"), STR("inbox/other"), e));
    assert_str_literal(names(tx), "INBOX Archive Drafts INBOX/other Junk Sent Trash");
    world_ok(mailbox_delete(tx, STR("inBOX/other"), e));
    world_create(tx, "inboxes"); /* not INBOX */
    assert_str_literal(names(tx), "INBOX Archive Drafts Junk Sent Trash inboxes");
    world_commit(tx);
}

static void parents_are_made(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    world_create(tx, "a/b/c");
    assert_str_literal(names(tx), "INBOX Archive Drafts Junk Sent Trash a a/b a/b/c");
    assert_int_equal(world_error(mailbox_delete(tx, STR("INBOX"), e)), ERROR_DENIED);
    /* With children the name stays, without its messages. */
    struct mailbox b = world_mailbox(tx, "a/b");
    world_append(tx, b.id, MESSAGE, 0);
    world_ok(mailbox_delete(tx, STR("a/b"), e));
    assert_str_literal(names(tx), "INBOX Archive Drafts Junk Sent Trash a a/b(no_select) a/b/c");
    counters(tx, b.id, 0, 0, 0, 0);
    assert_int_equal(world_error(mailbox_delete(tx, STR("a/b"), e)), ERROR_DENIED);
    /* Made again: its UIDs mean other messages. */
    assert_true(world_create(tx, "a/b").uidvalidity > b.uidvalidity);
    assert_false(world_mailbox(tx, "a/b").no_select);
    world_ok(mailbox_delete(tx, STR("a/b/c"), e));
    world_ok(mailbox_delete(tx, STR("a/b"), e));
    assert_int_equal(world_error(mailbox_delete(tx, STR("a/b"), e)), ERROR_NOT_FOUND);
    assert_str_literal(names(tx), "INBOX Archive Drafts Junk Sent Trash a");
    world_commit(tx);
}

static void uidvalidity_never_falls(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct str object_id = STR("");
    uint32_t last = 0;
    for (int i = 0; i < 5; i++) {
        struct mailbox m = world_create(tx, "again");
        assert_true(m.uidvalidity > last);
        assert_false(str_equal(m.object_id, object_id));
        last = m.uidvalidity;
        object_id = m.object_id;
        world_ok(mailbox_delete(tx, STR("again"), e));
    }
    struct mailbox m = world_create(tx, "other");
    world_ok(mailbox_rename(tx, STR("other"), STR("again"), e));
    assert_true(world_mailbox(tx, "again").uidvalidity > last);
    assert_int_equal(world_mailbox(tx, "again").id, m.id);
    assert_str(world_mailbox(tx, "again").object_id, m.object_id);
    world_commit(tx);
}

static void renames_trees(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    world_create(tx, "a/b/c");
    world_create(tx, "a.b"); /* sorts between a and a/ */
    world_create(tx, "a0");  /* just behind a/... */
    struct mailbox c = world_mailbox(tx, "a/b/c");
    uint32_t uid = world_append(tx, c.id, MESSAGE, 0);
    world_ok(mailbox_rename(tx, STR("a"), STR("new/x"), e));
    assert_str_literal(names(tx),
                       "INBOX Archive Drafts Junk Sent Trash a.b a0 new new/x new/x/b new/x/b/c");
    assert_int_equal(world_mailbox(tx, "new/x/b/c").id, c.id);
    world_message(tx, c.id, uid);
    assert_int_equal(world_error(mailbox_rename(tx, STR("new/x"), STR("new/x/b/d"), e)),
                     ERROR_INVALID);
    assert_int_equal(world_error(mailbox_rename(tx, STR("new/x"), STR("a0"), e)), ERROR_EXISTS);
    assert_int_equal(world_error(mailbox_rename(tx, STR("new/x"), STR("new/x"), e)), ERROR_EXISTS);
    assert_int_equal(world_error(mailbox_rename(tx, STR("nothing"), STR("x"), e)), ERROR_NOT_FOUND);
    /* Special uses stay with the mailbox. */
    world_ok(mailbox_rename(tx, STR("Sent"), STR("Sent Items"), e));
    assert_int_equal(world_mailbox(tx, "Sent Items").use, USE_SENT);
    world_commit(tx);
}

/* Children's names have the same bound as others. */
static void renames_within_bounds(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    char text[MAILBOX_NAME_MAX];
    memset(text, 'x', sizeof(text));
    world_create(tx, "a/long-child");
    assert_int_equal(world_error(mailbox_rename(tx, STR("a"), str_of(text, sizeof(text)), e)),
                     ERROR_LIMIT);
    world_rollback(tx);
    tx = world_begin(ACCOUNT_WRITE);
    world_create(tx, "a/b/c/d/e");
    for (size_t i = 1; i < sizeof(text); i += 2)
        text[i] = '/';
    assert_int_equal(
        world_error(mailbox_rename(tx, STR("a"), str_of(text, 2 * MAILBOX_DEPTH_MAX - 1), e)),
        ERROR_LIMIT);
    world_rollback(tx);
}

static void renames_inbox(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    world_create(tx, "INBOX/child");
    world_append(tx, inbox.id, MESSAGE, 0);
    uint32_t uid = world_append(tx, inbox.id, MESSAGE, FLAG_SEEN);
    world_append(tx, inbox.id, MESSAGE, FLAG_DELETED);
    world_ok(message_expunge(tx, inbox.id, uid, e));
    uint64_t email = world_message(tx, inbox.id, 3).email;
    world_ok(mailbox_rename(tx, STR("inbox"), STR("old"), e));
    struct mailbox old = world_mailbox(tx, "old"), now = world_mailbox(tx, "INBOX");
    assert_int_equal(now.id, inbox.id);
    assert_int_equal(now.use, USE_INBOX);
    assert_int_equal(now.uidvalidity, inbox.uidvalidity);
    assert_int_equal(now.uidnext, 4);
    counters(tx, inbox.id, 0, 0, 0, 0);
    counters(tx, old.id, 2, 2, 1, 2 * MESSAGE.len);
    assert_str_literal(world_uids(tx, old.id), "1-2");
    assert_int_equal(world_message(tx, old.id, 2).email, email);
    assert_str_literal(world_expunged(tx, inbox.id, 0), "1-3");
    assert_str_literal(names(tx), "INBOX Archive Drafts INBOX/child Junk Sent Trash old");
    world_commit(tx);
}

static void deletes(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX"), m = world_create(tx, "m");
    struct account_usage usage;
    uint32_t copied;
    uint32_t kept = world_append(tx, m.id, MESSAGE, 0);
    world_append(tx, m.id, STR("Subject: gone\r\n\r\ngone\r\n"), 0);
    world_ok(message_copy(tx, m.id, kept, inbox.id, &copied, e));
    uint64_t email = world_message(tx, inbox.id, copied).email;
    world_ok(mailbox_delete(tx, STR("m"), e));
    account_usage(tx, &usage);
    assert_int_equal(usage.messages, 1);
    assert_int_equal(usage.bytes, MESSAGE.len);
    assert_str(world_read(tx, email, 0, 1000), MESSAGE);
    struct message row;
    bool changed;
    assert_int_equal(world_error(message_copy(tx, m.id, kept, inbox.id, &copied, e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(world_error(message_copy(tx, inbox.id, 1, m.id, &copied, e)), ERROR_NOT_FOUND);
    assert_int_equal(world_error(message_flags(tx, m.id, kept, FLAGS_ADD, FLAG_SEEN, NULL, 0,
                                               UINT64_MAX, &row, &changed, e)),
                     ERROR_NOT_FOUND);
    world_commit(tx);
}

static void subscriptions(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct str *missing;
    size_t count;
    world_create(tx, "kept");
    world_ok(mailbox_subscribe(tx, STR("kept"), true, e));
    world_ok(mailbox_subscribe(tx, STR("never/there"), true, e));
    world_ok(mailbox_subscribe(tx, STR("never/there"), true, e));
    world_ok(mailbox_subscribe(tx, STR("unknown"), false, e));
    /* A subscription outlives its mailbox (RFC 9051 §6.3.5) and comes back with it. */
    world_ok(mailbox_delete(tx, STR("kept"), e));
    world_ok(mailbox_subscribed_missing(tx, &world_arena, &missing, &count, e));
    assert_int_equal(count, 2);
    assert_str_literal(missing[0], "kept");
    assert_str_literal(missing[1], "never/there");
    struct mailbox m;
    assert_int_equal(world_error(mailbox_find(tx, STR("kept"), &world_arena, &m, e)),
                     ERROR_NOT_FOUND);
    assert_true(world_create(tx, "kept").subscribed);
    world_ok(mailbox_rename(tx, STR("kept"), STR("never/there"), e));
    world_ok(mailbox_subscribed_missing(tx, &world_arena, &missing, &count, e));
    assert_int_equal(count, 0);
    world_ok(mailbox_subscribe(tx, STR("never/there"), false, e));
    assert_false(world_mailbox(tx, "never/there").subscribed);
    world_ok(mailbox_subscribe(tx, STR("gone"), true, e));
    world_ok(mailbox_subscribe(tx, STR("gone"), false, e));
    world_ok(mailbox_subscribed_missing(tx, &world_arena, &missing, &count, e));
    assert_int_equal(count, 0);
    world_commit(tx);
}

/* ------------------------------------------------------------------ messages */

static void appends_count(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    uint64_t before = account_modseq(tx);
    static const uint8_t flags[] = {0, FLAG_SEEN, FLAG_DELETED, FLAG_SEEN | FLAG_DELETED};
    for (uint32_t i = 0; i < countof(flags); i++)
        assert_int_equal(world_append(tx, inbox.id, MESSAGE, flags[i]), i + 1);
    counters(tx, inbox.id, 4, 2, 2, 4 * MESSAGE.len);
    assert_int_equal(account_modseq(tx), before + 4);
    world_commit(tx);
    tx = world_begin(ACCOUNT_READ);
    counters(tx, inbox.id, 4, 2, 2, 4 * MESSAGE.len);
    struct mailbox now = world_mailbox(tx, "INBOX");
    assert_int_equal(now.uidnext, 5);
    assert_int_equal(now.modseq, before + 4);
    struct message_cursor cursor;
    struct message row;
    struct error e;
    uint32_t expected = 2;
    message_cursor_open(&cursor, tx, inbox.id, 2, 3, 0, COLUMN_SUMMARY);
    while (message_cursor_next(&cursor, &row, &e) == 1) {
        assert_int_equal(row.uid, expected);
        assert_int_equal(row.flags, flags[expected - 1]);
        assert_int_equal(row.size, MESSAGE.len);
        assert_int_equal(row.received, 1000000000);
        assert_int_equal(row.modseq, before + expected);
        struct summary s;
        assert_int_equal(summary_open(&s, row.summary), 0);
        assert_str_literal(summary_string(&s, SUMMARY_SUBJECT), "s");
        expected++;
    }
    message_cursor_close(&cursor);
    assert_int_equal(expected, 4);
    message_cursor_open(&cursor, tx, inbox.id, 1, UINT32_MAX, before + 3, 0); /* changed since */
    assert_int_equal(message_cursor_next(&cursor, &row, &e), 1);
    assert_int_equal(row.uid, 4);
    assert_int_equal(message_cursor_next(&cursor, &row, &e), 0);
    message_cursor_close(&cursor);
    world_rollback(tx);
}

static void rollback_undoes(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    uint64_t before = account_modseq(tx);
    world_append(tx, inbox.id, MESSAGE, 0);
    world_create(tx, "undone");
    world_rollback(tx);
    tx = world_begin(ACCOUNT_READ);
    struct mailbox m;
    assert_int_equal(account_modseq(tx), before);
    counters(tx, inbox.id, 0, 0, 0, 0);
    assert_int_equal(world_error(mailbox_find(tx, STR("undone"), &world_arena, &m, e)),
                     ERROR_NOT_FOUND);
    world_rollback(tx);
}

static void snapshots(void **state UNUSED)
{
    struct account_tx *before = world_begin(ACCOUNT_READ);
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    world_append(tx, inbox.id, MESSAGE, 0);
    world_commit(tx);
    counters(before, inbox.id, 0, 0, 0, 0);
    assert_str_literal(world_uids(before, inbox.id), "");
    world_rollback(before);
    tx = world_begin(ACCOUNT_READ);
    counters(tx, inbox.id, 1, 1, 0, MESSAGE.len);
    world_rollback(tx);
}

static void flags_change(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    uint32_t uid = world_append(tx, inbox.id, MESSAGE, 0);
    struct message row;
    bool changed;
    static const struct {
        enum flags_operation op;
        uint8_t flags, after;
        bool changed;
        uint64_t unseen, deleted;
    } steps[] = {
        {FLAGS_ADD, FLAG_SEEN, FLAG_SEEN, true, 0, 0},
        {FLAGS_ADD, FLAG_SEEN, FLAG_SEEN, false, 0, 0},
        {FLAGS_ADD, FLAG_DELETED | FLAG_FLAGGED, FLAG_SEEN | FLAG_DELETED | FLAG_FLAGGED, true, 0,
         1},
        {FLAGS_REMOVE, FLAG_SEEN | FLAG_DRAFT, FLAG_DELETED | FLAG_FLAGGED, true, 1, 1},
        {FLAGS_REMOVE, FLAG_SEEN, FLAG_DELETED | FLAG_FLAGGED, false, 1, 1},
        {FLAGS_SET, FLAG_ANSWERED, FLAG_ANSWERED, true, 1, 0},
        {FLAGS_SET, 0xff, FLAG_ALL, true, 0, 1},
        {FLAGS_SET, 0, 0, true, 1, 0},
    };
    for (size_t i = 0; i < countof(steps); i++) {
        uint64_t before = account_modseq(tx);
        world_ok(message_flags(tx, inbox.id, uid, steps[i].op, steps[i].flags, NULL, 0, UINT64_MAX,
                               &row, &changed, e));
        assert_int_equal(changed, steps[i].changed);
        assert_int_equal(row.flags, steps[i].after);
        assert_int_equal(world_message(tx, inbox.id, uid).flags, steps[i].after);
        assert_int_equal(account_modseq(tx), before + steps[i].changed);
        assert_int_equal(world_message(tx, inbox.id, uid).modseq, row.modseq);
        if (changed) {
            assert_int_equal(row.modseq, before + 1);
            assert_int_equal(world_mailbox(tx, "INBOX").modseq, row.modseq);
        }
        counters(tx, inbox.id, 1, steps[i].unseen, steps[i].deleted, MESSAGE.len);
    }
    assert_int_equal(world_error(message_flags(tx, inbox.id, 99, FLAGS_SET, 0, NULL, 0, UINT64_MAX,
                                               &row, &changed, e)),
                     ERROR_NOT_FOUND);
    world_commit(tx);
}

/* RFC 7162 §3.1.3 */
static void unchanged_since(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    uint32_t uid = world_append(tx, inbox.id, MESSAGE, 0);
    uint64_t modseq = account_modseq(tx);
    struct message row;
    bool changed;
    assert_int_equal(world_error(message_flags(tx, inbox.id, uid, FLAGS_ADD, FLAG_SEEN, NULL, 0,
                                               modseq - 1, &row, &changed, e)),
                     ERROR_EXISTS);
    assert_int_equal(row.flags, 0);
    assert_int_equal(row.modseq, modseq);
    world_ok(
        message_flags(tx, inbox.id, uid, FLAGS_ADD, FLAG_SEEN, NULL, 0, modseq, &row, &changed, e));
    assert_true(changed);
    assert_int_equal(world_error(message_flags(tx, inbox.id, uid, FLAGS_ADD, FLAG_DRAFT, NULL, 0,
                                               modseq, &row, &changed, e)),
                     ERROR_EXISTS);
    assert_int_equal(row.flags, FLAG_SEEN);
    world_commit(tx);
}

static struct str keywords_of(struct account_tx *tx, uint64_t mailbox, uint32_t uid)
{
    struct str *list;
    size_t count;
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    world_ok(keyword_set_names(tx, world_message(tx, mailbox, uid).keyword_set, &world_arena, &list,
                               &count, e));
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "%s" STR_FMT, i ? " " : "", STR_ARG(list[i]));
    struct str result = arena_copy(&world_arena, buf_str(&text));
    buf_free(&text);
    return result;
}

static void keywords(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    const struct str ab[] = {STR("beta"), STR("Alpha"), STR("BETA")},
                     ba[] = {STR("Alpha"), STR("beta")}, c[] = {STR("$Forwarded")},
                     a[] = {STR("ALPHA")}, empty[] = {STR("")};
    struct message row;
    struct str *list;
    size_t count;
    uint64_t email;
    bool changed;
    uint32_t one = world_append_full(tx, inbox.id, MESSAGE, 0, ab, 3, &email);
    uint32_t two = world_append_full(tx, inbox.id, MESSAGE, 0, ba, 2, &email);
    assert_str_literal(keywords_of(tx, inbox.id, one), "Alpha beta");
    assert_int_equal(world_message(tx, inbox.id, one).keyword_set,
                     world_message(tx, inbox.id, two).keyword_set);
    world_ok(message_flags(tx, inbox.id, one, FLAGS_ADD, 0, c, 1, UINT64_MAX, &row, &changed, e));
    assert_true(changed);
    assert_str_literal(keywords_of(tx, inbox.id, one), "$Forwarded Alpha beta");
    world_ok(message_flags(tx, inbox.id, one, FLAGS_ADD, 0, a, 1, UINT64_MAX, &row, &changed, e));
    assert_false(changed); /* case does not tell keywords apart */
    world_ok(
        message_flags(tx, inbox.id, one, FLAGS_REMOVE, 0, a, 1, UINT64_MAX, &row, &changed, e));
    assert_str_literal(keywords_of(tx, inbox.id, one), "$Forwarded beta");
    world_ok(message_flags(tx, inbox.id, one, FLAGS_SET, 0, c, 1, UINT64_MAX, &row, &changed, e));
    assert_str_literal(keywords_of(tx, inbox.id, one), "$Forwarded");
    world_ok(
        message_flags(tx, inbox.id, one, FLAGS_REMOVE, 0, c, 1, UINT64_MAX, &row, &changed, e));
    assert_int_equal(row.keyword_set, 0);
    world_ok(mailbox_keywords(tx, inbox.id, &world_arena, &list, &count, e));
    assert_int_equal(count, 3);
    assert_int_equal(world_error(message_flags(tx, inbox.id, one, FLAGS_SET, 0, empty, 1,
                                               UINT64_MAX, &row, &changed, e)),
                     ERROR_LIMIT);
    world_commit(tx);
}

static void keywords_are_bounded(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    static char text[KEYWORD_MAX + 1];
    struct str many[KEYWORDS_PER_MESSAGE_MAX + 1];
    struct message row;
    bool changed;
    uint32_t uid = world_append(tx, inbox.id, MESSAGE, 0);
    memset(text, 'x', sizeof(text));
    struct str longest = str_of(text, KEYWORD_MAX), longer = str_of(text, KEYWORD_MAX + 1);
    world_ok(
        message_flags(tx, inbox.id, uid, FLAGS_SET, 0, &longest, 1, UINT64_MAX, &row, &changed, e));
    assert_int_equal(world_error(message_flags(tx, inbox.id, uid, FLAGS_SET, 0, &longer, 1,
                                               UINT64_MAX, &row, &changed, e)),
                     ERROR_LIMIT);
    for (size_t i = 0; i < countof(many); i++)
        many[i] = arena_printf(&world_arena, "k%zu", i);
    assert_int_equal(world_error(message_flags(tx, inbox.id, uid, FLAGS_SET, 0, many, countof(many),
                                               UINT64_MAX, &row, &changed, e)),
                     ERROR_LIMIT);
    world_ok(message_flags(tx, inbox.id, uid, FLAGS_SET, 0, many, countof(many) - 1, UINT64_MAX,
                           &row, &changed, e));
    assert_int_equal(
        world_error(message_flags(tx, inbox.id, uid, FLAGS_ADD, 0, &many[countof(many) - 1], 1,
                                  UINT64_MAX, &row, &changed, e)),
        ERROR_LIMIT);
    world_commit(tx);
    /* All of the account: what is there already may be used at the bound, nothing new. */
    tx = world_begin(ACCOUNT_WRITE);
    for (size_t k = 1; k < KEYWORDS_PER_ACCOUNT_MAX / KEYWORDS_PER_MESSAGE_MAX; k++) {
        for (size_t i = 0; i < KEYWORDS_PER_MESSAGE_MAX; i++)
            many[i] = arena_printf(&world_arena, "k%zu-%zu", k, i);
        world_ok(message_flags(tx, inbox.id, uid, FLAGS_SET, 0, many, KEYWORDS_PER_MESSAGE_MAX - 1,
                               UINT64_MAX, &row, &changed, e));
    }
    struct str *list;
    size_t count;
    struct error refused = {0};
    int result = 0;
    world_ok(mailbox_keywords(tx, inbox.id, &world_arena, &list, &count, e));
    for (size_t i = 0; i < KEYWORDS_PER_MESSAGE_MAX && result == 0; i++) {
        struct str one = arena_printf(&world_arena, "last%zu", i);
        result = message_flags(tx, inbox.id, uid, FLAGS_SET, 0, &one, 1, UINT64_MAX, &row, &changed,
                               &refused);
    }
    assert_int_equal(refused.class, ERROR_LIMIT);
    world_ok(mailbox_keywords(tx, inbox.id, &world_arena, &list, &count, e));
    assert_int_equal(count, KEYWORDS_PER_ACCOUNT_MAX);
    world_ok(message_flags(tx, inbox.id, uid, FLAGS_SET, 0, &list[17], 1, UINT64_MAX, &row,
                           &changed, e));
    world_commit(tx);
}

static void expunges(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    for (int i = 0; i < 10; i++)
        world_append(tx, inbox.id, MESSAGE, i % 2 ? FLAG_DELETED : FLAG_SEEN);
    uint64_t start = account_modseq(tx);
    world_ok(message_expunge(tx, inbox.id, 10, e)); /* the last one: its UID must not come again */
    uint64_t middle = account_modseq(tx);
    world_ok(message_expunge(tx, inbox.id, 3, e));
    world_ok(message_expunge(tx, inbox.id, 2, e));
    assert_int_equal(account_modseq(tx), start + 3);
    assert_int_equal(world_mailbox(tx, "INBOX").modseq, start + 3);
    assert_str_literal(world_uids(tx, inbox.id), "1,4-9");
    assert_str_literal(world_expunged(tx, inbox.id, 0), "2-3,10");
    assert_str_literal(world_expunged(tx, inbox.id, start), "2-3,10");
    assert_str_literal(world_expunged(tx, inbox.id, middle), "2-3");
    assert_str_literal(world_expunged(tx, inbox.id, start + 3), "");
    assert_int_equal(world_error(message_expunge(tx, inbox.id, 3, e)), ERROR_NOT_FOUND);
    counters(tx, inbox.id, 7, 3, 3, 7 * MESSAGE.len);
    assert_int_equal(world_append(tx, inbox.id, MESSAGE, 0), 11);
    struct account_usage usage;
    account_usage(tx, &usage);
    assert_int_equal(usage.messages, 8);
    assert_int_equal(usage.bytes, 8 * MESSAGE.len);
    world_commit(tx);
}

/* The log is bounded; who asks for more than it has is told so. */
static void expunge_log_is_bounded(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    struct uid_run *runs;
    size_t count;
    world_append(tx, inbox.id, MESSAGE, 0);
    world_append(tx, inbox.id, MESSAGE, 0);
    world_ok(message_expunge(tx, inbox.id, 1, e));
    uint64_t then = account_modseq(tx);
    tx->row.modseq = 8192 * 100 - 1; /* after very many changes */
    world_ok(message_expunge(tx, inbox.id, 2, e));
    assert_int_equal(world_error(mailbox_expunged(tx, inbox.id, then, &runs, &count, e)),
                     ERROR_NOT_FOUND);
    assert_str_literal(world_expunged(tx, inbox.id, 8192 * 100 - 1), "2");
    world_commit(tx);
}

static void copies_and_moves(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX"), other = world_create(tx, "other");
    const struct str keyword[] = {STR("k")};
    struct account_usage usage;
    uint64_t email;
    uint32_t uid, copied, moved, again;
    world_append(tx, other.id, STR("Subject: first\r\n\r\n"), 0);
    uid = world_append_full(tx, inbox.id, MESSAGE, FLAG_SEEN | FLAG_DELETED, keyword, 1, &email);
    world_ok(message_copy(tx, inbox.id, uid, other.id, &copied, e));
    assert_int_equal(copied, 2);
    struct message source = world_message(tx, inbox.id, uid),
                   copy = world_message(tx, other.id, copied);
    assert_int_equal(copy.email, email); /* EMAILID survives */
    assert_int_equal(copy.thread, source.thread);
    assert_int_equal(copy.flags, source.flags);
    assert_int_equal(copy.keyword_set, source.keyword_set);
    assert_int_equal(copy.received, source.received);
    assert_true(copy.modseq > source.modseq);
    account_usage(tx, &usage);
    assert_int_equal(usage.messages, 3);
    assert_int_equal(usage.bytes, 2 * MESSAGE.len + 18);
    world_ok(message_move(tx, inbox.id, uid, other.id, &moved, e));
    assert_int_equal(moved, 3);
    assert_int_equal(world_message(tx, other.id, moved).email, email);
    counters(tx, inbox.id, 0, 0, 0, 0);
    counters(tx, other.id, 3, 1, 2, 2 * MESSAGE.len + 18);
    assert_str_literal(world_expunged(tx, inbox.id, 0), "1");
    world_ok(message_move(tx, other.id, moved, other.id, &again, e)); /* within one mailbox */
    assert_int_equal(again, 4);
    assert_str_literal(world_uids(tx, other.id), "1-2,4");
    world_ok(message_expunge(tx, other.id, copied, e));
    assert_str(world_read(tx, email, 0, 1000), MESSAGE);
    world_ok(message_expunge(tx, other.id, again, e));
    struct buf out = BUF_INIT(100);
    assert_int_equal(world_error(message_read(tx, email, 0, 10, &out, e)), ERROR_NOT_FOUND);
    assert_int_equal(world_error(message_copy(tx, inbox.id, 99, other.id, &uid, e)),
                     ERROR_NOT_FOUND);
    assert_int_equal(world_error(message_move(tx, inbox.id, 99, other.id, &uid, e)),
                     ERROR_NOT_FOUND);
    buf_free(&out);
    world_commit(tx);
}

/* More mailboxes in one transaction than it keeps counters of. */
static void many_mailboxes_at_once(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    uint64_t ids[TX_MAILBOXES + 10];
    uint32_t uid;
    for (size_t i = 0; i < countof(ids); i++) {
        char name[32];
        snprintf(name, sizeof(name), "m%03zu", i);
        ids[i] = world_create(tx, name).id;
    }
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < countof(ids); i++)
            world_append(tx, ids[i], MESSAGE, 0);
    for (size_t i = 1; i < countof(ids); i++)
        world_ok(message_move(tx, ids[i], 1, ids[i - 1], &uid, e));
    world_commit(tx);
    tx = world_begin(ACCOUNT_READ);
    counters(tx, ids[0], 3, 3, 0, 3 * MESSAGE.len);
    counters(tx, ids[5], 2, 2, 0, 2 * MESSAGE.len);
    counters(tx, ids[countof(ids) - 1], 1, 1, 0, MESSAGE.len);
    world_rollback(tx);
}

/* A move whose target is the 65th mailbox, when the source's counters are already held. */
static void moves_at_the_bound(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    uint64_t ids[TX_MAILBOXES + 1];
    uint32_t uid;
    for (size_t i = 0; i < countof(ids); i++) {
        char name[32];
        snprintf(name, sizeof(name), "m%03zu", i);
        ids[i] = world_create(tx, name).id;
    }
    world_append(tx, ids[0], MESSAGE, 0);
    world_commit(tx);
    tx = world_begin(ACCOUNT_WRITE);
    for (size_t i = 1; i < TX_MAILBOXES; i++)
        world_append(tx, ids[i], MESSAGE, 0);
    world_ok(message_move(tx, ids[0], 1, ids[TX_MAILBOXES], &uid, e));
    world_commit(tx);
    tx = world_begin(ACCOUNT_READ);
    counters(tx, ids[0], 0, 0, 0, 0);
    counters(tx, ids[TX_MAILBOXES], 1, 1, 0, MESSAGE.len);
    world_rollback(tx);
}

static void recent(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    uint32_t first;
    world_append(tx, inbox.id, MESSAGE, 0);
    world_append(tx, inbox.id, MESSAGE, 0);
    world_ok(mailbox_claim_recent(tx, inbox.id, &first, e));
    assert_int_equal(first, 1);
    world_ok(mailbox_claim_recent(tx, inbox.id, &first, e));
    assert_int_equal(first, 3);
    world_append(tx, inbox.id, MESSAGE, 0);
    world_commit(tx);
    tx = world_begin(ACCOUNT_WRITE);
    assert_int_equal(world_mailbox(tx, "INBOX").first_recent, 3);
    world_ok(mailbox_claim_recent(tx, inbox.id, &first, e));
    assert_int_equal(first, 3);
    world_commit(tx);
}

/* Every border of header and chunks, with ranges that begin and end on each side of it. */
static void reads_ranges(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    buf_add_literal(&text, "Subject: large\r\n\r\n");
    size_t header = text.len;
    uint32_t x = 1;
    while (text.len < header + 2 * CHUNK_SIZE + 1000) { /* not compressible, no line too long */
        x = x * 1664525 + 1013904223;
        buf_printf(&text, "%08x%s", x, x % 8 ? "" : "\r\n");
    }
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    uint64_t email;
    world_append_full(tx, inbox.id, buf_str(&text), 0, NULL, 0, &email);
    const uint64_t borders[] = {0, header, header + CHUNK_SIZE, header + 2 * CHUNK_SIZE, text.len};
    for (size_t i = 0; i < countof(borders); i++)
        for (size_t k = 0; k < countof(borders); k++)
            for (int at = -1; at <= 1; at++) {
                uint64_t from = borders[i] + (uint64_t)(at < 0 && !borders[i] ? 0 : at);
                uint64_t len = borders[k] > from ? borders[k] - from : 1;
                assert_str(world_read(tx, email, from, len),
                           str_slice(str_from_pos(buf_str(&text), (size_t)from), 0, (size_t)len));
            }
    assert_str(world_read(tx, email, 5, UINT64_MAX), str_from_pos(buf_str(&text), 5));
    assert_int_equal(world_read(tx, email, UINT64_MAX, UINT64_MAX).len, 0);
    assert_int_equal(world_read(tx, email, 5, 0).len, 0);
    struct buf small = BUF_INIT(10); /* the reader's bound */
    assert_int_equal(world_error(message_read(tx, email, 0, 11, &small, e)), ERROR_LIMIT);
    buf_free(&small);
    buf_free(&text);
    world_commit(tx);
}

static void odd_messages(void **state UNUSED)
{
    static const struct str texts[] = {STR_INIT(""),
                                       STR_INIT("\r\n"),
                                       STR_INIT("\r\n\r\n"),
                                       STR_INIT("no header"),
                                       STR_INIT("Subject: x\r\n"),
                                       STR_INIT("Subject: x\r\n\r\n"),
                                       STR_INIT("Subject: x\r\n\r\nno end")};
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    for (size_t i = 0; i < countof(texts); i++) {
        uint64_t email;
        world_append_full(tx, inbox.id, texts[i], 0, NULL, 0, &email);
        assert_str(world_read(tx, email, 0, 1000), texts[i]);
    }
    world_commit(tx);
    struct message_prepared *p = NULL;
    struct message_new new = {.data = STR("x"), .summary = STR("not a summary")};
    assert_int_equal(world_error(message_prepare(&new, &p, e)), ERROR_CORRUPT);
    struct buf summary = BUF_INIT(BUF_UNBOUNDED);
    summary_build(STR("xy"), &summary_limits_default, &summary); /* another message's */
    new.summary = buf_str(&summary);
    assert_int_equal(world_error(message_prepare(&new, &p, e)), ERROR_CORRUPT);
    buf_free(&summary);
}

static void threads(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
#define THREAD_OF(text) world_message(tx, inbox.id, world_append(tx, inbox.id, STR(text), 0)).thread
    uint64_t first = THREAD_OF("Message-ID: <a@x>\r\n\r\n");
    uint64_t other = THREAD_OF("Message-ID: <b@x>\r\n\r\n");
    assert_int_not_equal(first, other);
    assert_int_equal(THREAD_OF("Message-ID: <c@x>\r\nIn-Reply-To: <a@x>\r\n\r\n"), first);
    assert_int_equal(THREAD_OF("Message-ID: <d@x>\r\nReferences: <b@x> <c@x>\r\n\r\n"),
                     first); /* the nearest */
    assert_int_equal(THREAD_OF("Message-ID: <e@x>\r\nReferences: <a@x> <unknown@x>\r\n\r\n"),
                     first);
    assert_int_equal(THREAD_OF("Message-ID: <f@x>\r\nReferences: <unknown@x>\r\n\r\n"), first);
    /* An answer that comes before what it answers. */
    uint64_t early = THREAD_OF("Message-ID: <h@x>\r\nIn-Reply-To: <g@x>\r\n\r\n");
    assert_int_not_equal(early, first);
    assert_int_equal(THREAD_OF("Message-ID: <g@x>\r\n\r\n"), early);
    assert_int_not_equal(THREAD_OF("Subject: none\r\n\r\n"), THREAD_OF("Subject: none\r\n\r\n"));
    world_commit(tx);
}

static void deliveries_are_noted_once(void **state UNUSED)
{
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    bool again = true;
    world_ok(delivery_note(tx, STR("Q1"), STR("a@x"), &again, e));
    assert_false(again);
    world_ok(delivery_note(tx, STR("Q1"), STR("a@x"), &again, e));
    assert_true(again);
    world_ok(delivery_note(tx, STR("Q1"), STR("b@x"), &again, e));
    assert_false(again);
    world_ok(delivery_note(tx, STR("Q2"), STR("a@x"), &again, e));
    assert_false(again);
    world_ok(delivery_note(tx, STR("Q"), STR("1a@x"), &again, e)); /* not "Q1" + "a@x" */
    assert_false(again);
    world_commit(tx);
    tx = world_begin(ACCOUNT_WRITE);
    world_ok(delivery_note(tx, STR("Q3"), STR("a@x"), &again, e));
    world_rollback(tx);
    world_close();
    world_open();
    tx = world_begin(ACCOUNT_WRITE);
    world_ok(delivery_note(tx, STR("Q2"), STR("a@x"), &again, e));
    assert_true(again);
    world_ok(delivery_note(tx, STR("Q3"), STR("a@x"), &again, e)); /* was undone */
    assert_false(again);
    world_commit(tx);
}

/* ------------------------------------------------------------------ listeners, deleting */

static struct {
    unsigned changed, ended;
    uint64_t modseq;
} told;

static void on_changed(struct account_listener *l UNUSED, uint64_t modseq)
{
    told.changed++;
    told.modseq = modseq;
}

static void on_ended(struct account_listener *l UNUSED)
{
    told.ended++;
}

static void listeners(void **state UNUSED)
{
    struct account_listener one = {.changed = on_changed, .ended = on_ended}, two = one;
    told.changed = told.ended = 0;
    account_listen(world, &one);
    account_listen(world, &two);
    assert_int_equal(account_sessions(world), 2);
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    world_append(tx, world_mailbox(tx, "INBOX").id, MESSAGE, 0);
    uint64_t modseq = account_modseq(tx);
    assert_int_equal(told.changed, 0);
    world_commit(tx);
    assert_int_equal(told.changed, 2);
    assert_int_equal(told.modseq, modseq);
    world_commit(world_begin(ACCOUNT_WRITE)); /* nothing changed */
    assert_int_equal(told.changed, 2);
    account_unlisten(world, &one);
    account_unlisten(world, &one); /* harmless */
    account_end_sessions(WORLD_ID);
    account_end_sessions(4711);
    assert_int_equal(told.ended, 1);
    account_unlisten(world, &two);
    assert_int_equal(account_sessions(world), 0);
}

static void account_is_deleted(void **state UNUSED)
{
    struct account *other = NULL;
    char path[512];
    world_ok(account_open(8, &other, e));
    account_close(&other);
    assert_true(account_exists(8));
    world_ok(account_delete(8, e));
    assert_false(account_exists(8));
    account_path(8, ".db-wal", false, path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_true(account_exists(WORLD_ID));
    world_ok(account_delete(8, e)); /* again */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(first_mailboxes),
        TEST(names_are_checked),
        TEST(below_inbox),
        TEST(parents_are_made),
        TEST(uidvalidity_never_falls),
        TEST(renames_trees),
        TEST(renames_within_bounds),
        TEST(renames_inbox),
        TEST(deletes),
        TEST(subscriptions),
        TEST(appends_count),
        TEST(rollback_undoes),
        TEST(snapshots),
        TEST(flags_change),
        TEST(unchanged_since),
        TEST(keywords),
        TEST(keywords_are_bounded),
        TEST(expunges),
        TEST(expunge_log_is_bounded),
        TEST(copies_and_moves),
        TEST(many_mailboxes_at_once),
        TEST(moves_at_the_bound),
        TEST(recent),
        TEST(reads_ranges),
        TEST(odd_messages),
        TEST(threads),
        TEST(deliveries_are_noted_once),
        TEST(listeners),
        TEST(account_is_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
