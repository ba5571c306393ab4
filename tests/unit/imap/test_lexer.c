/* test_lexer.c - IMAP's grammar: strings, names, numbers, sets, flags; what is well-formed and what is not. */
#include "imap/collect.h"
#include "imap/lexer.h"
#include "unit.h"

static struct arena arena;

static int teardown(void **state UNUSED)
{
    arena_free(&arena);
    return 0;
}

static struct imap_lexer lexer(struct str text)
{
    return (struct imap_lexer){.rest = text, .arena = &arena};
}

/* Each: the input, what is taken, what is left. out NULL: refused. */
struct row {
    struct str in;
    const char *out, *rest;
};

static void strings(void **state UNUSED)
{
    static const struct row rows[] = {
        {STR_INIT("\"\" x"), "", " x"},
        {STR_INIT("\"a b\""), "a b", ""},
        {STR_INIT("\"a\\\"b\\\\c\"d"), "a\"b\\c", "d"},
        {STR_INIT("\"gr\xC3\xBC\""), "gr\xC3\xBC", ""},
        {STR_INIT("\"a"), NULL, NULL},
        {STR_INIT("\""), NULL, NULL},
        {STR_INIT("\"a\\"), NULL, NULL},
        {STR_INIT("\"a\\\""), NULL, NULL},
        {STR_INIT("\"a\rb\""), NULL, NULL},
        {STR_INIT("\"a\nb\""), NULL, NULL},
        {STR_INIT("\"a\0b\""), NULL, NULL},
        {STR_INIT("\"a\\\nb\""), NULL, NULL},
        {STR_INIT("\"a\\\0b\""), NULL, NULL},
        {STR_INIT("{0}\r\nx"), "", "x"},
        {STR_INIT("{3}\r\na\"b c"), "a\"b", " c"},
        {STR_INIT("{3+}\r\nabc"), "abc", ""},
        {STR_INIT("~{2}\r\nab"), "ab", ""},
        {STR_INIT("{4}\r\n\r\n\r\n"), "\r\n\r\n", ""},
        {STR_INIT("{3}\r\nab"), NULL, NULL},
        {STR_INIT("{3}ab"), NULL, NULL},
        {STR_INIT("{3"), NULL, NULL},
        {STR_INIT("{}\r\n"), NULL, NULL},
        {STR_INIT("{-1}\r\n"), NULL, NULL},
        {STR_INIT("{+}\r\n"), NULL, NULL},
        {STR_INIT("{1 }\r\na"), NULL, NULL},
        {STR_INIT("{99999999999999999999}\r\na"), NULL, NULL},
        {STR_INIT("{4294967296}\r\na"), NULL, NULL},
        {STR_INIT("{3}\r\na\0b"), NULL, NULL}, /* only a literal8 holds NUL */
        {STR_INIT("a"), NULL, NULL},
        {STR_INIT(""), NULL, NULL},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct imap_lexer l = lexer(rows[i].in);
        struct str out;
        int result = imap_string(&l, &out);
        if ((result == 0) != (rows[i].out != NULL))
            fail_msg("row %zu (" STR_FMT "): %d", i, STR_ARG(rows[i].in), result);
        if (result == 0) {
            assert_str(out, str_from(rows[i].out));
            assert_str(l.rest, str_from(rows[i].rest));
        }
    }
    struct imap_lexer l = lexer(STR("~{3}\r\na\0b"));
    struct str out;
    assert_int_equal(imap_string(&l, &out), 0);
    assert_str(out, str_of("a\0b", 3));
}

static void atoms_and_astrings(void **state UNUSED)
{
    static const struct {
        struct str in;
        const char *atom, *astring, *tag; /* NULL: refused */
    } rows[] = {
        {STR_INIT("abc def"), "abc", "abc", "abc"},
        {STR_INIT("a]b"), "a]b", "a]b", "a]b"},
        {STR_INIT("a+b"), "a+b", "a+b", NULL},
        {STR_INIT("\\Seen)"), "\\Seen", NULL, NULL},
        {STR_INIT("\\"), NULL, NULL, NULL},
        {STR_INIT("a(b"), "a", "a", "a"},
        {STR_INIT("a{b"), "a", "a", "a"},
        {STR_INIT("a%b"), "a", "a", "a"},
        {STR_INIT("a\"b"), "a", "a", "a"},
        {STR_INIT("\"q\""), NULL, "q", NULL},
        {STR_INIT("{1}\r\nq"), NULL, "q", NULL},
        {STR_INIT("gr\xC3\xBC"), "gr", "gr\xC3\xBC", NULL},
        {STR_INIT("a\x7f"), "a", "a", "a"},
        {STR_INIT("*"), NULL, NULL, NULL},
        {STR_INIT("("), NULL, NULL, NULL},
        {STR_INIT(" a"), NULL, NULL, NULL},
        {STR_INIT("\0"), NULL, NULL, NULL},
        {STR_INIT(""), NULL, NULL, NULL},
    };
    static int (*const functions[])(struct imap_lexer *, struct str *) = {imap_atom, imap_astring,
                                                                          imap_tag};
    for (size_t i = 0; i < countof(rows); i++)
        for (size_t k = 0; k < 3; k++) {
            struct imap_lexer l = lexer(rows[i].in);
            const char *expected = k == 0 ? rows[i].atom : k == 1 ? rows[i].astring : rows[i].tag;
            struct str out = STR("");
            int result = functions[k](&l, &out);
            if ((result == 0) != (expected != NULL) ||
                (expected && !str_equal(out, str_from(expected))))
                fail_msg("row %zu function %zu: %d \"" STR_FMT "\"", i, k, result, STR_ARG(out));
        }
    struct str out;
    bool nil;
    struct imap_lexer l = lexer(STR("NIL \"NIL\" NILL"));
    assert_int_equal(imap_nstring(&l, &out, &nil), 0);
    assert_true(nil);
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_nstring(&l, &out, &nil), 0);
    assert_false(nil);
    assert_str_literal(out, "NIL");
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_nstring(&l, &out, &nil), -1);
}

static void numbers(void **state UNUSED)
{
    struct imap_lexer l = lexer(STR("4294967295 0 00012x"));
    uint32_t n;
    uint64_t n64;
    assert_int_equal(imap_number(&l, &n), 0);
    assert_int_equal(n, UINT32_MAX);
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_number(&l, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(imap_space(&l), 0);
    assert_int_equal(imap_number(&l, &n), 0);
    assert_int_equal(n, 12);
    assert_str_literal(l.rest, "x");
    assert_int_equal(imap_number(&l, &n), -1);
    l = lexer(STR("4294967296"));
    assert_int_equal(imap_number(&l, &n), -1);
    l = lexer(STR("9223372036854775807"));
    assert_int_equal(imap_number64(&l, &n64), 0);
    assert_int_equal(n64, INT64_MAX);
    l = lexer(STR("9223372036854775808"));
    assert_int_equal(imap_number64(&l, &n64), -1);
    l = lexer(STR("-1"));
    assert_int_equal(imap_number(&l, &n), -1);
    l = lexer(STR("  x"));
    assert_int_equal(imap_space(&l), 0);
    assert_false(imap_take(&l, 'x'));
}

/* "1-3,*,5-*" */
static struct str set_text(const struct imap_set *set)
{
    struct buf text = BUF_INIT(10000);
    for (size_t i = 0; i < set->count; i++) {
        const uint32_t ends[] = {set->ranges[i].low, set->ranges[i].high};
        for (size_t k = 0; k < 2; k++) {
            buf_add(&text, k ? STR("-") : i ? STR(",") : STR(""));
            if (ends[k] == UINT32_MAX)
                buf_add_char(&text, '*');
            else
                buf_add_u64(&text, ends[k]);
        }
    }
    struct str result = arena_copy(&arena, buf_str(&text));
    buf_free(&text);
    return result;
}

static void sets(void **state UNUSED)
{
    static const struct row rows[] = {
        {STR_INIT("1"), "1-1", ""},
        {STR_INIT("1:3,7 x"), "1-3,7-7", " x"},
        {STR_INIT("5:2"), "2-5", ""},
        {STR_INIT("*"), "*-*", ""},
        {STR_INIT("5:*"), "5-*", ""},
        {STR_INIT("*:5"), "*-5", ""},
        {STR_INIT("3,1,3"), "3-3,1-1,3-3", ""},
        {STR_INIT("4294967294"), "4294967294-4294967294", ""},
        {STR_INIT("4294967295"), "4294967294-4294967294", ""}, /* not "*": nothing has that UID */
        {STR_INIT("7:4294967295"), "7-4294967294", ""},
        {STR_INIT("1)"), "1-1", ")"},
        {STR_INIT(""), NULL, NULL},
        {STR_INIT("0"), NULL, NULL},
        {STR_INIT("0:1"), NULL, NULL},
        {STR_INIT("1:"), NULL, NULL},
        {STR_INIT(":1"), NULL, NULL},
        {STR_INIT("1,"), NULL, NULL},
        {STR_INIT(",1"), NULL, NULL},
        {STR_INIT("1,,2"), NULL, NULL},
        {STR_INIT("a"), NULL, NULL},
        {STR_INIT("4294967296"), NULL, NULL},
        {STR_INIT("1:-2"), NULL, NULL},
    };
    struct imap_set set;
    for (size_t i = 0; i < countof(rows); i++) {
        struct imap_lexer l = lexer(rows[i].in);
        int result = imap_set(&l, &set);
        if ((result == 0) != (rows[i].out != NULL))
            fail_msg("\"" STR_FMT "\": %d", STR_ARG(rows[i].in), result);
        if (result == 0) {
            assert_str(set_text(&set), str_from(rows[i].out));
            assert_str(l.rest, str_from(rows[i].rest));
        }
    }
    struct imap_lexer l = lexer(STR("$ x"));
    assert_int_equal(imap_set(&l, &set), 0);
    assert_true(set.saved && set.count == 0);
    struct buf many = BUF_INIT(BUF_UNBOUNDED);
    for (int i = 0; i < IMAP_RANGES_MAX; i++)
        buf_add_literal(&many, "1,");
    l = lexer(str_slice(buf_str(&many), 0, many.len - 1));
    assert_int_equal(imap_set(&l, &set), 0);
    buf_add_char(&many, '1');
    l = lexer(buf_str(&many));
    assert_int_equal(imap_set(&l, &set), -1);
    buf_free(&many);
}

/* RFC 3501 §5.1.3 */
static const struct {
    const char *encoded, *plain;
} names[] = {
    {"Sent", "Sent"},
    {"A&-B", "A&B"},
    {"&-", "&"},
    {"Entw&APw-rfe", "Entw\xC3\xBC"
                     "rfe"},
    {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
     "~peter/mail/\xE5\x8F\xB0\xE5\x8C\x97/\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"},
    {"&2D3eAA-", "\xF0\x9F\x98\x80"}, /* a pair of surrogates */
    {"x&IKw-y", "x\xE2\x82\xACy"},
    {"&BB8EPg-", "\xD0\x9F\xD0\xBE"},
};

static void modified_utf7(void **state UNUSED)
{
    static const char *const bad[] = {
        "&",      "a&",     "&AP",      "&APw",       "&A-",      "&AA-",
        "&APx-",  "&APwA-",                           /* too short, no end, stray bits */
        "&AP w-", "&AP/w-", "&=-",      "&\xC3\xBC-", /* not of its alphabet */
        "&2D0-",  "&3gA-",  "&2D0AYQ-", "&2D3YPQ-",   "&3gDYPQ-", /* surrogates without the other half */
        "&APw&-", "&&-",
    };
    for (size_t i = 0; i < countof(names); i++) {
        struct buf out = BUF_INIT(1000);
        assert_int_equal(utf7_decode(str_from(names[i].encoded), &out), 0);
        assert_str(buf_str(&out), str_from(names[i].plain));
        buf_reset(&out);
        assert_int_equal(utf7_encode(str_from(names[i].plain), &out), 0);
        assert_str(buf_str(&out), str_from(names[i].encoded));
        buf_free(&out);
    }
    for (size_t i = 0; i < countof(bad); i++) {
        struct buf out = BUF_INIT(1000);
        if (utf7_decode(str_from(bad[i]), &out) == 0)
            fail_msg("taken: %s", bad[i]);
        buf_free(&out);
    }
    struct buf out = BUF_INIT(1000);
    assert_int_equal(utf7_encode(STR("\xC3"), &out), -1);
    /* Every character there is comes back. */
    for (uint32_t c = 1; c < 0x110000; c += c < 0x3000 ? 1 : 97) {
        char utf8[4];
        size_t len = 0;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        if (c < 0x80) {
            utf8[len++] = (char)c;
        } else {
            int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
            utf8[len++] = (char)((0xFF00 >> (more + 1) & 0xFF) | c >> (6 * more));
            while (more--)
                utf8[len++] = (char)(0x80 | (c >> (6 * more) & 63));
        }
        struct buf encoded = BUF_INIT(100), decoded = BUF_INIT(100);
        assert_int_equal(utf7_encode(str_of(utf8, len), &encoded), 0);
        assert_true(str_is_ascii(buf_str(&encoded)));
        assert_int_equal(utf7_decode(buf_str(&encoded), &decoded), 0);
        assert_str(buf_str(&decoded), str_of(utf8, len));
        buf_free(&encoded);
        buf_free(&decoded);
    }
    buf_free(&out);
}

static void mailbox_names(void **state UNUSED)
{
    static const struct {
        struct str in;
        bool utf8;
        const char *out;
    } rows[] = {
        {STR_INIT("inBox"), false, "INBOX"},
        {STR_INIT("\"InBoX\""), true, "INBOX"},
        {STR_INIT("inboxes"), false, "inboxes"},
        {STR_INIT("Entw&APw-rfe"), false,
         "Entw\xC3\xBC"
         "rfe"},
        {STR_INIT("Entw&APw-rfe"), true,
         "Entw&APw-rfe"}, /* after ENABLE IMAP4rev2 it is what it is */
        {STR_INIT("\"Tom & Jerry\""), false, "Tom & Jerry"},
        {STR_INIT("\"gr\xC3\xBC\""), false, "gr\xC3\xBC"},
        {STR_INIT("\"gr\xC3\xBC\""), true, "gr\xC3\xBC"},
        {STR_INIT("{3}\r\na b"), false, "a b"},
        {STR_INIT("\"\xFF\""), false, NULL},
        {STR_INIT("\"\xFF\""), true, NULL},
        {STR_INIT("\"\xC3\""), true, NULL},
        {STR_INIT("~{3}\r\na\0b"), false, NULL},
        {STR_INIT(""), false, NULL},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct imap_lexer l = lexer(rows[i].in);
        struct str out;
        l.utf8 = rows[i].utf8;
        int result = imap_mailbox(&l, &out);
        if ((result == 0) != (rows[i].out != NULL))
            fail_msg("row %zu: %d", i, result);
        if (result == 0)
            assert_str(out, str_from(rows[i].out));
    }
    struct imap_lexer l = lexer(STR("a/%*b ) "));
    struct str out;
    assert_int_equal(imap_pattern(&l, &out), 0);
    assert_str_literal(out, "a/%*b");
    l = lexer(STR("\"\""));
    assert_int_equal(imap_pattern(&l, &out), 0);
    assert_int_equal(out.len, 0);
    l = lexer(STR(")"));
    assert_int_equal(imap_pattern(&l, &out), -1);
}

static void flags(void **state UNUSED)
{
    static const struct {
        const char *in;
        bool bare, fails;
        uint8_t system;
        size_t keywords;
    } rows[] = {
        {"()", false, false, 0, 0},
        {"(\\Seen \\DELETED $Junk)", false, false, 1 | 8, 1},
        {"(\\Recent)", false, false, 0, 0},
        {"\\Answered word \\Draft \\Flagged", true, false, 2 | 16 | 4, 1},
        {"\\Seen", false, true, 0, 0},
        {"(\\Seen", false, true, 0, 0},
        {"(\\Other)", false, true, 0, 0},
        {"(\\)", false, true, 0, 0},
        {"( \\Seen)", false, true, 0, 0},
        {"(\\Seen )", false, true, 0, 0},
        {"(\"Seen\")", false, true, 0, 0},
        {"", true, true, 0, 0},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct imap_lexer l = lexer(str_from(rows[i].in));
        struct imap_flags out;
        int result = imap_flags(&l, rows[i].bare, &out);
        if ((result < 0) != rows[i].fails)
            fail_msg("%s: %d", rows[i].in, result);
        if (result < 0)
            continue;
        assert_int_equal(out.system, rows[i].system);
        assert_int_equal(out.keyword_count, rows[i].keywords);
    }
}

/* ------------------------------------------------------------------ when is a command complete? */

static bool no_message(struct str so_far UNUSED)
{
    return false;
}

/* The same answer whatever pieces the bytes come in. */
static void collects(void **state UNUSED)
{
    static const struct {
        struct str in;
        enum imap_collected last;
        size_t length, command;
        unsigned continuations;
    } rows[] = {
        {STR_INIT("a NOOP\r\n"), COLLECT_COMMAND, 8, 6, 0},
        {STR_INIT("a NOOP\nb"), COLLECT_COMMAND, 7, 6, 0},
        {STR_INIT("a NOOP \t\r\n"), COLLECT_COMMAND, 10, 6, 0},
        {STR_INIT("a LOGIN {5}\r\nalice {5}\r\nab\r\nc\r\n"), COLLECT_COMMAND, 31, 29, 2},
        {STR_INIT("a LOGIN {5+}\r\nalice x\r\n"), COLLECT_COMMAND, 23, 21, 0},
        {STR_INIT("a LOGIN {0}\r\n x\r\n"), COLLECT_COMMAND, 17, 15, 1},
        {STR_INIT("a X {3+}\r\na  \r\n"), COLLECT_COMMAND, 15, 13, 0}, /* the literal's own */
        {STR_INIT("a X {3+}\r\na\r\n \r\n"), COLLECT_COMMAND, 16, 13, 0},
        {STR_INIT("a LOGIN {5}x\r\n"), COLLECT_COMMAND, 14, 12, 0}, /* not at the end of the line */
        {STR_INIT("a LOGIN {5}\r\nalice"), COLLECT_MORE, 0, 0, 1},
        {STR_INIT("a LOGIN {101}\r\n"), COLLECT_LITERAL, 15, 0, 0},
        {STR_INIT("a NOOP"), COLLECT_MORE, 0, 0, 0},
    };
    for (size_t i = 0; i < countof(rows); i++)
        for (size_t piece = 1; piece <= rows[i].in.len; piece++) {
            struct imap_collector c = {0};
            struct imap_literal literal;
            enum imap_collected got = COLLECT_MORE;
            unsigned continuations = 0;
            size_t length = 0;
            for (size_t have = piece; got == COLLECT_MORE; have += piece) {
                struct str input = str_slice(rows[i].in, 0, have);
                got = imap_collect(&c, input, 1000, 100, no_message, &length, &literal);
                while (got == COLLECT_CONTINUE) {
                    continuations++;
                    got = imap_collect(&c, input, 1000, 100, no_message, &length, &literal);
                }
                if (have >= rows[i].in.len)
                    break;
            }
            if (got != rows[i].last || (got != COLLECT_MORE && length != rows[i].length) ||
                (got == COLLECT_COMMAND && c.command != rows[i].command) ||
                continuations != rows[i].continuations)
                fail_msg("row %zu in pieces of %zu: %d length %zu continuations %u", i, piece,
                         (int)got, length, continuations);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),       cmocka_unit_test(atoms_and_astrings),
        cmocka_unit_test(numbers),       cmocka_unit_test(sets),
        cmocka_unit_test(modified_utf7), cmocka_unit_test(mailbox_names),
        cmocka_unit_test(flags),         cmocka_unit_test(collects),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
