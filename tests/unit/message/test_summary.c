/* test_summary.c - the MIME tree, ENVELOPE and BODYSTRUCTURE of odd messages, hostile blocks. */
#include "unit.h"

#include "../../parts.h"
#include "base/clock.h"
#include "message/summary.h"

#define MULTI                                                                     \
    "From: a@b\r\nContent-Type: multipart/mixed; boundary=ab\r\n\r\npreamble\r\n" \
    "--ab\r\n\r\none\r\n"                                                         \
    "--ab\r\nContent-Type: multipart/alternative; boundary=abc\r\n\r\n"           \
    "--abc\r\nContent-Type: text/html\r\n\r\n<b>two</b>\r\n--abc--\r\n"           \
    "--ab\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nthree\r\n" \
    "--ab--\r\nepilogue\r\n"

static const struct {
    struct str message;
    const char *envelope, *structure;
} rows[] = {
    {STR_INIT(""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)"},
    {STR_INIT("Subject: x\r\n\r\nbody\r\n"), "(NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL)",
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 1 NIL NIL NIL NIL)"},
    {STR_INIT("From: A \"q\" <a@b>\r\nTo: c@d\r\nSubject: say \"hi\"\r\n\r\n"),
     "(NIL \"say \\\"hi\\\"\" ((\"A q\" NIL \"a\" \"b\")) ((\"A q\" NIL \"a\" \"b\")) "
     "((\"A q\" NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)",
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)"},
    {STR_INIT("Subject: 8\xFC"
              "bit\r\n\r\n"),
     "(NIL {5}\r\n8\xFC"
     "bit NIL NIL NIL NIL NIL NIL NIL NIL)",
     NULL},
    {STR_INIT(MULTI),
     "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)",
     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0 NIL NIL NIL NIL)"
     "((\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 0 NIL NIL NIL NIL)"
     " \"alternative\" (\"boundary\" \"abc\") NIL NIL NIL)"
     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 23 "
     "(NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0 NIL NIL NIL NIL)"
     " 2 NIL NIL NIL NIL)"
     " \"mixed\" (\"boundary\" \"ab\") NIL NIL NIL)"},
    {STR_INIT("Content-Type: multipart/mixed; boundary=x\r\n\r\nno parts at all\r\n"), NULL,
     "(\"text\" \"plain\" (\"boundary\" \"x\") NIL NIL \"7bit\" 17 1 NIL NIL NIL NIL)"},
    {STR_INIT("Content-Type: multipart/mixed\r\n\r\nno boundary\r\n"), NULL,
     "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 13 NIL NIL NIL NIL)"},
    {STR_INIT("Content-Type: nonsense\r\n\r\nx"), NULL,
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)"},
    {STR_INIT("no header here\r\n\r\nx"), NULL,
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)"},
    {STR_INIT(
         "Content-Type: text/plain; name=\"a\\\"b\"\r\nContent-Disposition: attachment; filename=x\r\n"
         "Content-Language: de, en\r\nContent-Location: here\r\nContent-MD5: Q\r\n"
         "Content-Transfer-Encoding: BASE64\r\nContent-ID: <i@d>\r\nContent-Description: d\r\n\r\naGk="),
     NULL,
     "(\"text\" \"plain\" (\"name\" \"a\\\"b\") \"<i@d>\" \"d\" \"BASE64\" 4 0 \"Q\" "
     "(\"attachment\" (\"filename\" \"x\")) (\"de\" \"en\") \"here\")"},
    {STR_INIT(
         "Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: d\r\n\r\nin digest\r\n--x--"),
     NULL,
     "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 23 (NIL \"d\" NIL NIL NIL NIL NIL NIL NIL NIL) "
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 9 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)"
     " \"digest\" (\"boundary\" \"x\") NIL NIL NIL)"},
};

static void build(struct str message, struct buf *block, struct summary *s)
{
    buf_reset(block);
    summary_build(message, &summary_limits_default, block);
    assert_int_equal(summary_open(s, buf_str(block)), 0);
}

static void renders(void **state UNUSED)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    for (size_t i = 0; i < countof(rows); i++) {
        build(rows[i].message, &block, &s);
        if (rows[i].envelope)
            assert_str(summary_string(&s, SUMMARY_ENVELOPE), str_from(rows[i].envelope));
        if (rows[i].structure)
            assert_str(summary_string(&s, SUMMARY_BODYSTRUCTURE), str_from(rows[i].structure));
        assert_int_equal(s.message_size, rows[i].message.len);
    }
    buf_free(&block);
}

static struct str section(struct str message, const struct summary *s, const uint32_t *numbers,
                          size_t count)
{
    struct summary_part part;
    int index = summary_find_part(s, numbers, count);
    if (index < 0)
        return STR("(none)");
    summary_part(s, (uint32_t)index, &part);
    return str_slice(message, part.body_offset, part.body_size);
}
#define SECTION(...)                                         \
    section(STR(MULTI), &s, (const uint32_t[]){__VA_ARGS__}, \
            countof(((const uint32_t[]){__VA_ARGS__})))

static void sections(void **state UNUSED)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    build(STR(MULTI), &block, &s);
    assert_str_literal(SECTION(1), "one");
    assert_str_literal(SECTION(2, 1), "<b>two</b>");
    assert_str_literal(SECTION(3), "Subject: inner\r\n\r\nthree");
    assert_str_literal(SECTION(3, 1), "three");
    assert_str_literal(SECTION(1, 1), "(none)");
    assert_str_literal(SECTION(4), "(none)");
    assert_str_literal(SECTION(2, 2), "(none)");
    assert_str_literal(SECTION(3, 2), "(none)");
    assert_str_literal(SECTION(3, 1, 1), "(none)");
    struct buf text = BUF_INIT(10000);
    message_text(STR(MULTI), &s, 10000, &text);
    assert_true(str_find(buf_str(&text), STR("two")) < text.len);
    assert_true(str_find(buf_str(&text), STR("three")) < text.len);
    assert_true(str_find(buf_str(&text), STR("inner")) < text.len);
    assert_true(str_find(buf_str(&text), STR("<b>")) == text.len);
    buf_free(&text);
    buf_free(&block);
}

static void strings(void **state UNUSED)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    build(
        STR("From: =?utf-8?q?J=C3=BCrgen?= <J@Example.Test>\r\nTo: x@y, z@w\r\nSubject: Re: =?utf-8?q?gr=C3=BCn?=\r\n"
            "Message-ID: <1@a>\r\nIn-Reply-To: <0@a>\r\nReferences: <a@a> junk <0@a>\r\n"
            "Date: Mon, 23 Nov 2026 18:00:00 +0200\r\n\r\nThe   first\r\nwords."),
        &block, &s);
    assert_str_literal(summary_string(&s, SUMMARY_FROM), "J\xC3\xBCrgen <J@Example.Test>");
    assert_str_literal(summary_string(&s, SUMMARY_FROM_MAILBOX), "j");
    assert_str_literal(summary_string(&s, SUMMARY_FROM_DISPLAY), "J\xC3\xBCrgen");
    assert_str_literal(summary_string(&s, SUMMARY_TO), "<x@y>, <z@w>");
    assert_str_literal(summary_string(&s, SUMMARY_SUBJECT), "Re: gr\xC3\xBCn");
    assert_str_literal(summary_string(&s, SUMMARY_BASE_SUBJECT), "gr\xC3\xBCn");
    assert_str_literal(summary_string(&s, SUMMARY_MESSAGE_ID), "1@a");
    assert_str_literal(summary_string(&s, SUMMARY_REFERENCES), "a@a 0@a");
    assert_str_literal(summary_string(&s, SUMMARY_PREVIEW), "The first words.");
    assert_true(s.has_date);
    assert_int_equal(s.date, 1795449600);
    assert_int_equal(s.date_zone, 120);
    buf_free(&block);
}

/* Where a delimiter follows a delimiter, or a header, at once, one line end serves both: the part in
 * between is empty, and lies inside its parent all the same. */
static void nesting(void **state UNUSED)
{
#define MIXED(b)  "Content-Type: multipart/mixed; boundary=" b "\r\n\r\n"
#define DIGEST(b) "Content-Type: multipart/digest; boundary=" b "\r\n\r\n"
    static const struct {
        struct str message;
        uint32_t parts;
        struct str last; /* the body of part 1 of the outermost multipart */
    } messages[] = {
        {STR_INIT(MIXED("a") "--a\r\n--a\r\n--a--\r\n"), 3, STR_INIT("")},
        {STR_INIT(MIXED("a") "--a\r\n" MIXED("b") "--b\r\n--a--\r\n"), 3, STR_INIT("--b\r\n")},
        {STR_INIT(MIXED("a") "--a\r\n" MIXED("b") "--b\r\n--b\r\n--a\r\n\r\nx\r\n--a--\r\n"), 5,
         STR_INIT("--b\r\n--b\r\n")},
        {STR_INIT(MIXED("a") "--a\r\n" MIXED("b") "--b\r\n" MIXED("c") "--c\r\n--a--"), 4,
         STR_INIT("--b\r\n" MIXED("c") "--c\r\n")},
        {STR_INIT(DIGEST("a") "--a\r\n\r\nSubject: x\r\n\r\n--a--\r\n"), 3,
         STR_INIT("Subject: x\r\n\r\n")},
        {STR_INIT(DIGEST("a") "--a\n\n--a--\n"), 3, STR_INIT("")},
        {STR_INIT(DIGEST("a") "--a\r\n--a--\r\n"), 3, STR_INIT("")},
        {STR_INIT(
             MIXED("a") "--a\r\nContent-Type: message/rfc822\r\n\r\n" MIXED("b") "--b\r\n--a--"),
         4, STR_INIT(MIXED("b") "--b\r\n")},
    };
    struct buf block = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    for (size_t i = 0; i < countof(messages); i++) {
        build(messages[i].message, &block, &s);
        parts_check(&s, messages[i].message.len);
        assert_int_equal(s.part_count, messages[i].parts);
        assert_str(section(messages[i].message, &s, (const uint32_t[]){1}, 1), messages[i].last);
    }
    buf_free(&block);
}

static void many_parts(void **state UNUSED)
{
    struct buf message = BUF_INIT(BUF_UNBOUNDED), block = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    buf_add_literal(&message, "Content-Type: multipart/mixed; boundary=x\r\n\r\n");
    for (int i = 0; i < 1000; i++)
        buf_printf(&message, "--x\r\nContent-Type: text/plain\r\n\r\npart %d\r\n", i);
    buf_add_literal(&message, "--x--\r\n");
    build(buf_str(&message), &block, &s);
    assert_int_equal(s.part_count, 1001);
    assert_int_equal(summary_find_part(&s, (const uint32_t[]){1000}, 1), 1000);
    for (int i = 0; i < 5000; i++)
        buf_printf(&message, "--x\r\n\r\npart %d\r\n", i);
    build(buf_str(&message), &block, &s);
    /* Depth: a thousand multiparts inside each other. */
    buf_reset(&message);
    for (int i = 0; i < 1000; i++)
        buf_printf(&message, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    build(buf_str(&message), &block, &s);
    assert_true(s.flags & SUMMARY_TRUNCATED);
    buf_free(&message);
    buf_free(&block);
}

static void plain(void **state UNUSED)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    summary_build_plain(STR("a: b\r\n\r\nbody"), &block);
    assert_int_equal(summary_open(&s, buf_str(&block)), 0);
    assert_true(s.flags & SUMMARY_PLAIN);
    assert_int_equal(s.header_size, 8);
    buf_free(&block);
}

/* Whatever the bytes: no access outside of them (the sanitizers look on). */
static void hostile_blocks(void **state UNUSED)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED), spoiled = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    uint64_t seed = 12345;
    build(STR(MULTI), &block, &s);
    for (int round = 0; round < 20000; round++) {
        buf_reset(&spoiled);
        buf_add(&spoiled, buf_str(&block));
        for (int k = 0; k < 1 + round % 4; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            spoiled.data[(seed >> 33) % spoiled.len] = (char)(seed >> 20);
        }
        if (round % 5 == 0)
            buf_truncate(&spoiled, (seed >> 33) % spoiled.len);
        if (summary_open(&s, buf_str(&spoiled)) < 0)
            continue;
        volatile size_t sum = 0;
        for (int i = 0; i < SUMMARY_STRING_COUNT; i++) {
            struct str string = summary_string(&s, (enum summary_string)i);
            for (size_t at = 0; at < string.len; at++)
                sum += (unsigned char)string.data[at];
        }
        for (uint32_t i = 0; i < s.part_count; i++) {
            struct summary_part part;
            summary_part(&s, i, &part);
            sum += part.type.len;
        }
        summary_find_part(&s, (const uint32_t[]){3, 1, 1}, 3);
    }
    buf_free(&block);
    buf_free(&spoiled);
}

static void mutated_messages(void **state UNUSED)
{
    struct buf block = BUF_INIT(BUF_UNBOUNDED), message = BUF_INIT(BUF_UNBOUNDED),
               text = BUF_INIT(100000);
    uint64_t seed = 99;
    for (int round = 0; round < 5000; round++) {
        buf_reset(&message);
        buf_add_literal(&message, MULTI);
        for (int k = 0; k < 1 + round % 8; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            message.data[(seed >> 33) % message.len] = "-\r\n:;ab \"<(=\0\xFF"[(seed >> 20) % 14];
        }
        struct summary s;
        build(buf_str(&message), &block, &s);
        parts_check(&s, message.len);
        buf_reset(&text);
        message_text(buf_str(&message), &s, 100000, &text);
    }
    buf_free(&block);
    buf_free(&message);
    buf_free(&text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders),        cmocka_unit_test(sections),
        cmocka_unit_test(strings),        cmocka_unit_test(nesting),
        cmocka_unit_test(many_parts),     cmocka_unit_test(plain),
        cmocka_unit_test(hostile_blocks), cmocka_unit_test(mutated_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
