/* test_words.c - encoded words, charsets, transfer encodings, parameters, subjects. */
#include "unit.h"

#include "message/charset.h"
#include "message/encoded_word.h"
#include "message/header.h"
#include "message/subject.h"
#include "message/transfer.h"

static void decoding(void **state UNUSED)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"plain", "plain"},
        {"=?iso-8859-1?Q?J=F6rg?= <a@b>", "J\xC3\xB6rg <a@b>"},
        {"=?utf-8?B?R3LDvMOfZQ==?=", "Gr\xC3\xBC\xC3\x9F"
                                     "e"},
        {"=?utf-8?q?a_b?= =?utf-8?q?c?=", "a bc"},
        {"=?utf-8?q?a?=\r\n =?utf-8?q?b?= c", "ab c"},
        {"=?utf-8?B?w7w=?= x =?utf-8?B?w7w=?=", "\xC3\xBC x \xC3\xBC"},
        {"=?utf-8?B?4oI=?= =?utf-8?B?rA==?=", "\xE2\x82\xAC"}, /* a character split in two words */
        {"=?us-ascii*en?Q?x?=", "x"},
        {"=?nonsense?Q?x=FC?=", "x\xC3\xBC"},
        {"=?utf-8?X?abc?=", "=?utf-8?X?abc?="},
        {"=?utf-8?Q?abc", "=?utf-8?Q?abc"},
        {"=?", "=?"},
        {"caf\xE9", "caf\xC3\xA9"},
        {"folded\r\n text", "folded text"},
        {"=?koi8-r?B?8NLJ18XU?=", "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82"},
        {"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xE6\x97\xA5\xE6\x9C\xAC"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf b = BUF_INIT(1000);
        encoded_words_decode(str_from(rows[i].from), &b);
        assert_str(buf_str(&b), str_from(rows[i].to));
        buf_free(&b);
    }
}

static void encoding(void **state UNUSED)
{
    struct str text = STR("Gr\xC3\xBC\xC3\x9F"
                          "e aus M\xC3\xBCnchen, sehr lange Zeile mit vielen W\xC3\xB6rtern "
                          "\xF0\x9F\x93\xAE\xF0\x9F\x93\xAE\xF0\x9F\x93\xAE\xF0\x9F\x93\xAE");
    struct buf b = BUF_INIT(1000), again = BUF_INIT(1000);
    assert_int_equal(encoded_words_encode(text, &b), 0);
    assert_true(str_is_ascii(buf_str(&b)));
    encoded_words_decode(buf_str(&b), &again);
    assert_str(buf_str(&again), text);
    buf_free(&b);
    buf_free(&again);
}

static void transfer(void **state UNUSED)
{
    static const struct {
        enum part_encoding encoding;
        const char *from, *to;
    } rows[] = {
        {ENCODING_QUOTED_PRINTABLE, "a=3Db=\r\nc  \r\nd", "a=bc\r\nd"},
        {ENCODING_QUOTED_PRINTABLE, "a=ZZ=", "a=ZZ"},
        {ENCODING_QUOTED_PRINTABLE, "=", ""},
        {ENCODING_BASE64, "aGVs\r\nbG8=", "hello"},
        {ENCODING_BASE64, "aGVs!bG8", "hello"},
        {ENCODING_BASE64, "aGk=aGk=", "hihi"},
        {ENCODING_7BIT, "as it is", "as it is"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf b = BUF_INIT(1000);
        assert_int_equal(transfer_decode(rows[i].encoding, str_from(rows[i].from), &b), 0);
        assert_str(buf_str(&b), str_from(rows[i].to));
        buf_free(&b);
    }
    struct str text = STR("Gr\xC3\xBC\xC3\x9F"
                          "e = x \r\nline that is so long that it has to be broken by a soft line "
                          "break somewhere in here\r\n");
    struct buf b = BUF_INIT(1000), again = BUF_INIT(1000);
    quoted_printable_encode(text, &b);
    quoted_printable_decode(buf_str(&b), &again);
    assert_str(buf_str(&again), text);
    buf_free(&b);
    buf_free(&again);
}

static void parameters(void **state UNUSED)
{
    static const struct {
        const char *from, *value, *name, *parameter;
    } rows[] = {
        {"text/plain; charset=UTF-8", "text/plain", "charset", "UTF-8"},
        {"Text/PLAIN ; Charset=\"a b\" (comment)", "text/plain", "charset", "a b"},
        {"a/b; x=1; x=2", "a/b", "x", "1"},
        {"attachment; filename*=utf-8''gr%C3%BCn.txt", "attachment", "filename", "gr\xC3\xBCn.txt"},
        {"attachment; filename*0*=iso-8859-1''a%FC; filename*1=b.txt", "attachment", "filename",
         "a\xC3\xBC"
         "b.txt"},
        {"attachment; filename=\"a;b\\\"c\"", "attachment", "filename", "a;b\"c"},
        {"multipart/mixed; boundary=abc=def", "multipart/mixed", "boundary", "abc=def"},
        {"multipart/mixed;boundary=\"unterminated", "multipart/mixed", "boundary", "unterminated"},
        {"text/plain;;;  ; charset = x", "text/plain", "charset", "x"},
        {"", "", "a", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct arena arena = ARENA_INIT;
        struct parameterized p;
        parameters_parse(str_from(rows[i].from), &arena, &p);
        assert_str(p.value, str_from(rows[i].value));
        assert_str(parameter_find(&p, str_from(rows[i].name)), str_from(rows[i].parameter));
        arena_free(&arena);
    }
}

static void subjects(void **state UNUSED)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"Hello", "hello"},
        {"Re: Hello", "hello"},
        {"RE:  Fwd: re : Hello", "hello"},
        {"[list] Re: Hello", "hello"},
        {"Re: [list] Hello", "hello"},
        {"[list]", "[list]"},
        {"[Fwd: Re: Hello]", "hello"},
        {"Hello (fwd)  (fwd)", "hello"},
        {"Re[2]: Hello", "hello"},
        {"Regarding this", "regarding this"},
        {"a\t b   c", "a b c"},
        {"", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf b = BUF_INIT(1000);
        base_subject(str_from(rows[i].from), &b);
        assert_str(buf_str(&b), str_from(rows[i].to));
        buf_free(&b);
    }
}

static void folding(void **state UNUSED)
{
    struct buf a = BUF_INIT(100), b = BUF_INIT(100);
    text_fold(STR("Stra\xC3\x9F"
                  "e"),
              &a);
    text_fold(STR("STRASSE"), &b);
    assert_str(buf_str(&a), buf_str(&b));
    buf_reset(&a);
    /* Lines each by themselves: ASCII, composed, decomposed, not UTF-8, and one without an end. */
    text_fold(STR("One\nZW\xC3\x96LF\nZwo\xCC\x88lf\nB\xFF\nEnd"), &a);
    assert_str_literal(buf_str(&a), "one\nzw\xC3\xB6lf\nzw\xC3\xB6lf\nB\xFF\nend");
    buf_free(&a);
    buf_free(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding),   cmocka_unit_test(encoding), cmocka_unit_test(transfer),
        cmocka_unit_test(parameters), cmocka_unit_test(subjects), cmocka_unit_test(folding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
