/* test_lexer.c - IMAP's grammar piece by piece, commands in pieces, names in modified UTF-7. */
#include "imap/collect.h"
#include "imap/lexer.h"
#include "unit.h"

static struct arena arena = ARENA_INIT;

static struct imap_lexer on(const char *text)
{
    return (struct imap_lexer){.rest = str_from(text), .arena = &arena};
}

static void strings(void **state UNUSED)
{
    struct imap_lexer l =
        on("atom \"a \\\"b\\\\\" {3}\r\nx\r\n {2+}\r\nyz NIL \"NIL\" 42 18446744073709551615\r\n");
    struct str s;
    bool nil;
    uint32_t n;
    uint64_t n64;
    assert_int_equal(imap_astring(&l, &s), 0);
    assert_str_literal(s, "atom");
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_string(&l, &s), 0);
    assert_str_literal(s, "a \"b\\");
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_astring(&l, &s), 0);
    assert_str_literal(s, "x\r\n");
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_string(&l, &s), 0);
    assert_str_literal(s, "yz");
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_nstring(&l, &s, &nil), 0);
    assert_true(nil);
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_nstring(&l, &s, &nil), 0);
    assert_false(nil);
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_number(&l, &n), 0);
    assert_int_equal(n, 42);
    assert_int_equal(imap_space(&l), 0);
    int huge = imap_number64(
        &l, &n64); /* number64 is 63 bits (RFC 9051 §9): either is refused or read in full */
    assert_true(huge < 0 || n64 == UINT64_MAX);
}

static void wrong_strings(void **state UNUSED)
{
    static const char *const wrong[] = {
        "\"open\r\n",   "{3}\r\nab", "{x}\r\n", "{3}ab",
        "\"a\rb\"\r\n", "",          "\r\n",    "{99999999999999999999}\r\nx"};
    struct str s;
    for (size_t i = 0; i < countof(wrong); i++) {
        struct imap_lexer l = on(wrong[i]);
        if (imap_string(&l, &s) == 0)
            fail_msg("%zu was taken", i);
    }
    struct imap_lexer l = on("4294967296\r\n");
    uint32_t n;
    assert_int_equal(imap_number(&l, &n), -1);
    l = on("  x");
    assert_int_equal(imap_space(&l), 0);
    struct str atom;
    assert_int_equal(imap_atom(&l, &atom), -1);
}

static void sets(void **state UNUSED)
{
    struct imap_lexer l = on("1,5:3,*,7:*\r\n");
    struct imap_set set;
    assert_int_equal(imap_set(&l, &set), 0);
    assert_int_equal(set.count, 4);
    assert_int_equal(set.ranges[1].low, 3);
    assert_int_equal(set.ranges[1].high, 5);
    assert_int_equal(set.ranges[2].low, UINT32_MAX);
    assert_int_equal(set.ranges[3].low, 7);
    assert_int_equal(set.ranges[3].high, UINT32_MAX);
    l = on("$ x");
    assert_int_equal(imap_set(&l, &set), 0);
    assert_true(set.saved);
    static const char *const wrong[] = {"0", "1:0",   "1,",         ",1", "1:", ":1",
                                        "a", "1:2:3", "4294967296", "-1", ""};
    for (size_t i = 0; i < countof(wrong); i++) {
        l = on(wrong[i]);
        if (imap_set(&l, &set) == 0 && imap_at_end(&l))
            fail_msg("'%s' was taken", wrong[i]);
    }
}

static void flags(void **state UNUSED)
{
    struct imap_lexer l = on("(\\Seen $Forwarded \\deleted \\Recent work)\r\n");
    struct imap_flags f = {0};
    assert_int_equal(imap_flags(&l, false, &f), 0);
    assert_int_equal(f.keyword_count, 2);
    assert_int_equal(f.system,
                     imap_system_flag(STR("\\Seen")) | imap_system_flag(STR("\\Deleted")));
    l = on("\\Nonsense\r\n");
    f = (struct imap_flags){0};
    assert_int_equal(imap_flags(&l, true, &f), -1);
    l = on("(\\Seen\r\n");
    assert_int_equal(imap_flags(&l, false, &f), -1);
}

/* RFC 3501 §5.1.3's example, and what is not well-formed. */
static void utf7(void **state UNUSED)
{
    static const char *const pairs[][2] = {
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
         "~peter/mail/\xE5\x8F\xB0\xE5\x8C\x97/\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"},
        {"a&-b", "a&b"},
        {"&2D3eAA-", "\xF0\x9F\x98\x80"},
        {"Entw&APw-rfe", "Entw\xC3\xBCrfe"},
        {"", ""},
    };
    for (size_t i = 0; i < countof(pairs); i++) {
        struct buf out = BUF_INIT(1000);
        assert_int_equal(utf7_decode(str_from(pairs[i][0]), &out), 0);
        assert_str(buf_str(&out), str_from(pairs[i][1]));
        buf_reset(&out);
        assert_int_equal(utf7_encode(str_from(pairs[i][1]), &out), 0);
        assert_str(buf_str(&out), str_from(pairs[i][0]));
        buf_free(&out);
    }
    static const char *const wrong[] = {"&", "&AGE", "&A-", "&!!-", "&2D0-", "&3gA-", "a&U,BTFw"};
    for (size_t i = 0; i < countof(wrong); i++) {
        struct buf out = BUF_INIT(1000);
        if (utf7_decode(str_from(wrong[i]), &out) == 0)
            fail_msg("'%s' was taken", wrong[i]);
        buf_free(&out);
    }
}

static void mailboxes(void **state UNUSED)
{
    struct imap_lexer l = on("inBox \"Entw&APw-rfe\"\r\n");
    struct str s;
    assert_int_equal(imap_mailbox(&l, &s), 0);
    assert_str_literal(s, "INBOX");
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_mailbox(&l, &s), 0);
    assert_str_literal(s, "Entw\xC3\xBCrfe");
    l = on("%/*x\r\n");
    assert_int_equal(imap_pattern(&l, &s), 0);
    assert_str_literal(s, "%/*x");
}

static bool never(struct str so_far UNUSED)
{
    return false;
}

/* Bytes come one at a time: the same command is found, and the continuation asked for once. */
static void collecting(void **state UNUSED)
{
    struct str whole = STR("a LOGIN {5}\r\nalice {3+}\r\npwd\r\nb NOOP\r\n");
    struct imap_collector c = {0};
    struct imap_literal literal;
    size_t length = 0;
    unsigned continuations = 0;
    for (size_t n = 0; n <= whole.len; n++) {
        enum imap_collected got =
            imap_collect(&c, str_slice(whole, 0, n), 1000, 100, never, &length, &literal);
        if (got == COLLECT_CONTINUE) {
            continuations++;
            assert_int_equal(n, 13);
        } else if (got == COLLECT_COMMAND) {
            assert_int_equal(n, 30);
            assert_int_equal(length, 30);
            break;
        } else {
            assert_int_equal(got, COLLECT_MORE);
        }
        assert_true(n < 30);
    }
    assert_int_equal(continuations, 1);
    c = (struct imap_collector){0};
    assert_int_equal(imap_collect(&c, STR("a X {101}\r\n"), 1000, 100, never, &length, &literal),
                     COLLECT_LITERAL);
    assert_int_equal(literal.size, 101);
    assert_true(literal.sync);
    c = (struct imap_collector){0};
    assert_int_equal(imap_collect(&c, STR("0123456789abcdef"), 10, 100, never, &length, &literal),
                     COLLECT_TOO_LONG);
}

static int done(void **state UNUSED)
{
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strings),   cmocka_unit_test(wrong_strings),
                                       cmocka_unit_test(sets),      cmocka_unit_test(flags),
                                       cmocka_unit_test(utf7),      cmocka_unit_test(mailboxes),
                                       cmocka_unit_test(collecting)};
    return cmocka_run_group_tests(tests, NULL, done);
}
