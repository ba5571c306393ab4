/* test_charset.c - ordinary long text that is not ASCII, as mailers write it: subjects in many words, bodies
 * longer than what a preview looks at. Whatever is cut, no character comes out as another one. */
#include <iconv.h>

#include "base/codec.h"
#include "message/charset.h"
#include "message/encoded_word.h"
#include "message/summary.h"
#include "message/transfer.h"
#include "unit.h"

/* One sentence each, without ASCII letters in its middle. */
#define RUSSIAN                                                                                 \
    "\xD0\xA1\xD1\x8A\xD0\xB5\xD1\x88\xD1\x8C \xD0\xB6\xD0\xB5 \xD0\xB5\xD1\x89\xD1\x91 "       \
    "\xD1\x8D\xD1\x82\xD0\xB8\xD1\x85 \xD0\xBC\xD1\x8F\xD0\xB3\xD0\xBA\xD0\xB8\xD1\x85 "        \
    "\xD1\x84\xD1\x80\xD0\xB0\xD0\xBD\xD1\x86\xD1\x83\xD0\xB7\xD1\x81\xD0\xBA\xD0\xB8\xD1\x85 " \
    "\xD0\xB1\xD1\x83\xD0\xBB\xD0\xBE\xD0\xBA "
#define JAPANESE                                                                           \
    "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE\xE7\xA4\xBE\xE4\xBC\x9A\xE3\x83\xA1" \
    "\xE3\x83\xBC\xE3\x83\xAB\xCE\xB1\xCE\xB2 abc "

static const struct {
    const char *charset, *sentence;
} rows[] = {
    {"utf-8", RUSSIAN},      {"koi8-r", RUSSIAN},  {"windows-1251", RUSSIAN},
    {"iso-8859-5", RUSSIAN}, {"utf-8", JAPANESE},  {"iso-2022-jp", JAPANESE},
    {"shift_jis", JAPANESE}, {"euc-jp", JAPANESE}, {"utf-16be", RUSSIAN},
};

static void sentences(struct buf *out, const char *sentence, size_t len)
{
    buf_reset(out);
    while (out->len < len)
        buf_add(out, str_from(sentence));
    buf_truncate(out, out->len - 1); /* the last space */
}

/* The test's own way there. */
static void from_utf8(const char *charset, struct str text, struct buf *out)
{
    iconv_t conversion = iconv_open(charset, "UTF-8");
    assert_true(conversion != (iconv_t)-1);
    char *in = (char *)(uintptr_t)text.data, *to;
    size_t left = text.len, room;
    buf_reset(out);
    room = 4 * text.len + 16;
    char *start = to = buf_reserve(out, room);
    assert_int_equal(iconv(conversion, &in, &left, &to, &room), 0);
    assert_int_equal(iconv(conversion, NULL, NULL, &to, &room), 0); /* back to ASCII */
    buf_added(out, (size_t)(to - start));
    iconv_close(conversion);
}

/* Encoded words of so many bytes each, wherever that cuts. */
static void words_make(const char *charset, struct str bytes, size_t each, char encoding,
                       struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < bytes.len; i += each) {
        struct str part = str_slice(bytes, i, each);
        buf_printf(out, "%s=?%s?%c?", i ? "\r\n " : "", charset, encoding);
        if (encoding == 'B')
            base64_encode(out, part);
        else
            for (size_t k = 0; k < part.len; k++)
                buf_printf(out, part.data[k] == ' ' ? "_" : "=%02X", (unsigned char)part.data[k]);
        buf_add_literal(out, "?=");
    }
}

/* Many mailers cut the bytes, not the characters (against RFC 2047 §5). */
static void split_words(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), bytes = BUF_INIT(BUF_UNBOUNDED),
               words = BUF_INIT(BUF_UNBOUNDED), back = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < countof(rows); i++) {
        sentences(&text, rows[i].sentence, 300);
        from_utf8(rows[i].charset, buf_str(&text), &bytes);
        for (size_t each = 1; each <= 45; each++)
            for (int q = 0; q < 2; q++) {
                words_make(rows[i].charset, buf_str(&bytes), each, q ? 'Q' : 'B', &words);
                buf_reset(&back);
                assert_int_equal(encoded_words_decode(buf_str(&words), &back), 0);
                assert_str(buf_str(&back), buf_str(&text));
            }
    }
    buf_free(&text);
    buf_free(&bytes);
    buf_free(&words);
    buf_free(&back);
}

/* ------------------------------------------------------------------ through the summary */

static struct buf block = BUF_INIT(BUF_UNBOUNDED);

static struct str string_of(struct str message, enum summary_string which)
{
    struct summary s;
    buf_reset(&block);
    summary_build(message, &summary_limits_default, &block);
    assert_int_equal(summary_open(&s, buf_str(&block)), 0);
    return summary_string(&s, which);
}

/* The beginning of text, of that length at least, and nothing else. */
static void assert_beginning(struct str got, struct str text, size_t least)
{
    if (got.len < least || !str_is_utf8(got) || !str_starts(text, got))
        fail_msg("got %zu bytes: \"" STR_FMT "\"", got.len, STR_ARG(got));
}

static void long_subjects(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), bytes = BUF_INIT(BUF_UNBOUNDED),
               words = BUF_INIT(BUF_UNBOUNDED), message = BUF_INIT(BUF_UNBOUNDED);
    static const size_t lengths[] = {200, 1000, 1990, 2500, 4000};
    for (size_t i = 0; i < countof(rows); i++)
        for (size_t k = 0; k < countof(lengths); k++)
            for (int q = 0; q < 2; q++) {
                sentences(&text, rows[i].sentence, lengths[k]);
                from_utf8(rows[i].charset, buf_str(&text), &bytes);
                words_make(rows[i].charset, buf_str(&bytes), 41, q ? 'Q' : 'B', &words);
                buf_reset(&message);
                buf_printf(&message, "Subject: " STR_FMT "\r\n\r\n", STR_ARG(words));
                assert_beginning(string_of(buf_str(&message), SUMMARY_SUBJECT), buf_str(&text),
                                 MIN(text.len, (size_t)2045));
            }
    for (size_t len = 2040; len < 2060; len++) { /* as it is (RFC 6532), and in one word */
        sentences(&text, RUSSIAN, len);
        buf_reset(&message);
        buf_printf(&message, "Subject: %s" STR_FMT "\r\n\r\n", len % 2 ? "a" : "", STR_ARG(text));
        struct str got = string_of(buf_str(&message), SUMMARY_SUBJECT);
        assert_beginning(str_from_pos(got, len % 2), buf_str(&text), MIN(text.len, (size_t)2045));
        words_make("utf-8", str_slice(buf_str(&text), 0, 2050), 4000, 'B', &words);
        buf_reset(&message);
        buf_printf(&message, "Subject: " STR_FMT "\r\n\r\n", STR_ARG(words));
        assert_beginning(string_of(buf_str(&message), SUMMARY_SUBJECT), buf_str(&text), 2020);
    }
    buf_free(&text);
    buf_free(&bytes);
    buf_free(&words);
    buf_free(&message);
}

enum { EIGHT_BIT, BASE64, QUOTED };

static void message_make(const char *charset, const char *subtype, int encoding, struct str bytes,
                         struct buf *out)
{
    static const char *const names[] = {"8bit", "base64", "quoted-printable"};
    struct buf encoded = BUF_INIT(BUF_UNBOUNDED);
    buf_reset(out);
    buf_printf(out, "Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
               subtype, charset, names[encoding]);
    if (encoding == EIGHT_BIT) {
        buf_add(out, bytes);
    } else if (encoding == BASE64) {
        base64_encode(&encoded, bytes);
        for (size_t i = 0; i < encoded.len; i += 76)
            buf_printf(out, STR_FMT "\r\n", STR_ARG(str_slice(buf_str(&encoded), i, 76)));
    } else {
        quoted_printable_encode(bytes, out);
    }
    buf_free(&encoded);
}

static size_t characters(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return count;
}

/* A text much longer than what is looked at, cut at each place of its characters. */
static void long_bodies(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), all = BUF_INIT(BUF_UNBOUNDED),
               bytes = BUF_INIT(BUF_UNBOUNDED), message = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < countof(rows); i++)
        for (int encoding = EIGHT_BIT; encoding <= QUOTED; encoding++)
            for (size_t shift = 0; shift < 8; shift++) {
                sentences(&text, rows[i].sentence, 20000);
                buf_reset(&all);
                buf_printf(&all, "%.*s" STR_FMT, (int)shift, "aaaaaaaa", STR_ARG(text));
                from_utf8(rows[i].charset, buf_str(&all), &bytes);
                message_make(rows[i].charset, "plain", encoding, buf_str(&bytes), &message);
                struct str got = string_of(buf_str(&message), SUMMARY_PREVIEW);
                assert_beginning(got, buf_str(&all), 200);
                assert_in_range(characters(got), 199,
                                200); /* one may have been a space at the end */
            }
    buf_free(&text);
    buf_free(&all);
    buf_free(&bytes);
    buf_free(&message);
}

/* The text begins late, so the end of what is looked at is seen in the preview. */
static void late_bodies(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), all = BUF_INIT(BUF_UNBOUNDED),
               bytes = BUF_INIT(BUF_UNBOUNDED), message = BUF_INIT(BUF_UNBOUNDED);
    static const size_t shares[] = {8050, 5880, 7500}; /* bytes of blanks: by encoding */
    for (size_t i = 0; i < countof(rows); i++)
        for (int encoding = EIGHT_BIT; encoding <= QUOTED; encoding++)
            for (size_t shift = 0; shift < 12; shift++) {
                if (str_equal(str_from(rows[i].charset), STR("utf-16be")))
                    continue; /* no text for 8bit, and longer */
                sentences(&text, rows[i].sentence, 20000);
                buf_reset(&all);
                while (all.len < shares[encoding] + shift)
                    buf_add_char(&all, ' ');
                buf_add(&all, buf_str(&text));
                from_utf8(rows[i].charset, buf_str(&all), &bytes);
                message_make(rows[i].charset, "plain", encoding, buf_str(&bytes), &message);
                assert_beginning(string_of(buf_str(&message), SUMMARY_PREVIEW), buf_str(&text), 20);
            }
    buf_free(&text);
    buf_free(&all);
    buf_free(&bytes);
    buf_free(&message);
}

/* Tags and entities are looked for in the text, not in the bytes of its charset. */
static void html(void **state UNUSED)
{
    /* in ISO-2022-JP the first of these characters is "<R", and the last are "&A&B" */
    static const char japanese[] = "\xE7\xA4\xBE\xE4\xBC\x9A\xCE\xB1\xCE\xB2;";
    static const char russian[] = "\xD0\xB1\xD1\x83\xD0\xBB\xD0\xBA\xD0\xB8";
    struct buf bytes = BUF_INIT(BUF_UNBOUNDED), message = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < countof(rows); i++)
        for (int encoding = EIGHT_BIT; encoding <= QUOTED; encoding++) {
            const char *word =
                str_equal(str_from(rows[i].sentence), STR(JAPANESE)) ? japanese : russian;
            char text[200], expected[200];
            snprintf(text, sizeof(text), "<p>%s &lt;&euro;&mdash;<b>%s</b>", word, word);
            snprintf(expected, sizeof(expected), "%s <\xE2\x82\xAC\xE2\x80\x94%s", word, word);
            from_utf8(rows[i].charset, str_from(text), &bytes);
            message_make(rows[i].charset, "html", encoding, buf_str(&bytes), &message);
            assert_str(string_of(buf_str(&message), SUMMARY_PREVIEW), str_from(expected));
        }
    buf_free(&bytes);
    buf_free(&message);
}

/* ------------------------------------------------------------------ broken text */

static void broken(void **state UNUSED)
{
#define SIGN "\xEF\xBF\xBD"
    static const struct {
        const char *charset;
        struct str from, to;
    } texts[] = {
        /* UTF-8 with a flaw is still UTF-8 */
        {"utf-8", STR_INIT(RUSSIAN "\xD0"), STR_INIT(RUSSIAN SIGN)},
        {"", STR_INIT(RUSSIAN "\xD0"), STR_INIT(RUSSIAN SIGN)},
        {"us-ascii", STR_INIT("\x9F" RUSSIAN), STR_INIT(SIGN RUSSIAN)},
        {"nonsense", STR_INIT(RUSSIAN "\xE2\x82" RUSSIAN), STR_INIT(RUSSIAN SIGN RUSSIAN)},
        {"utf-8", STR_INIT(RUSSIAN "\xF0\x9F\x93"), STR_INIT(RUSSIAN SIGN)},
        {"utf-8", STR_INIT(RUSSIAN "\xD0\xD0\x9F"), STR_INIT(RUSSIAN SIGN "\xD0\x9F")},
        {"utf-8", STR_INIT(RUSSIAN "\xFF\xFE"), STR_INIT(RUSSIAN SIGN SIGN)},
        /* what is not, is not */
        {"utf-8", STR_INIT("caf\xE9"), STR_INIT("caf\xC3\xA9")},
        {"", STR_INIT("\xE4\xF6\xFC \x80"), STR_INIT("\xC3\xA4\xC3\xB6\xC3\xBC \xE2\x82\xAC")},
        {"",
         STR_INIT("Gr\xFC\xDF"
                  "e"),
         STR_INIT("Gr\xC3\xBC\xC3\x9F"
                  "e")},
        /* other charsets: the sign, and on with what follows */
        {"iso-2022-jp", STR_INIT("\x1B$BF|\x1B(B x"), STR_INIT("\xE6\x97\xA5 x")},
        {"iso-2022-jp", STR_INIT("\x1B$BF"), STR_INIT(SIGN)},
        {"euc-jp", STR_INIT("\xC6\xFC\xC6"), STR_INIT("\xE6\x97\xA5" SIGN)},
    };
    struct buf out = BUF_INIT(1000);
    for (size_t i = 0; i < countof(texts); i++) {
        buf_reset(&out);
        assert_int_equal(charset_to_utf8(str_from(texts[i].charset), texts[i].from, &out), 0);
        assert_str(buf_str(&out), texts[i].to);
    }
    buf_free(&out);
}

/* What fits is given, in whole characters, from every charset. */
static void bounds(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), bytes = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < countof(rows); i++) {
        sentences(&text, rows[i].sentence, 12000);
        from_utf8(rows[i].charset, buf_str(&text), &bytes);
        static const size_t maxima[] = {0, 1, 2, 3, 100, 101, 102, 103, 5000, 5001, 5002};
        for (size_t k = 0; k < countof(maxima); k++) {
            struct buf out = BUF_INIT(maxima[k]);
            assert_int_equal(charset_to_utf8(str_from(rows[i].charset), buf_str(&bytes), &out), -1);
            assert_beginning(buf_str(&out), buf_str(&text), maxima[k] - MIN(maxima[k], (size_t)2));
            buf_free(&out);
        }
        struct buf exact = BUF_INIT(text.len);
        assert_int_equal(charset_to_utf8(str_from(rows[i].charset), buf_str(&bytes), &exact), 0);
        assert_str(buf_str(&exact), buf_str(&text));
        buf_free(&exact);
    }
    /* so a part that is longer than what is searched is searched as far as that */
    struct buf message = BUF_INIT(BUF_UNBOUNDED), found = BUF_INIT(5000);
    struct summary s;
    sentences(&text, RUSSIAN, 12000);
    message_make("utf-8", "plain", EIGHT_BIT, buf_str(&text), &message);
    string_of(buf_str(&message), SUMMARY_SUBJECT);
    assert_int_equal(summary_open(&s, buf_str(&block)), 0);
    message_text(buf_str(&message), &s, 5000, &found);
    assert_beginning(buf_str(&found), buf_str(&text), 4999);
    buf_free(&message);
    buf_free(&found);
    buf_free(&text);
    buf_free(&bytes);
}

static void cut(void **state UNUSED)
{
    struct str text = STR("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x93\xAE"); /* 1, 2, 3 and 4 bytes */
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10, 10};
    for (size_t max = 0; max < countof(expected); max++)
        assert_int_equal(utf8_cut(text, max), expected[max]);
    assert_int_equal(utf8_cut(STR(""), 0), 0);
    assert_int_equal(utf8_cut(STR("\x80\x80\x80\x80\x80\x80"), 5), 5); /* no character at all */
}

static int teardown(void **state UNUSED)
{
    buf_free(&block);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_words), cmocka_unit_test(long_subjects),
        cmocka_unit_test(long_bodies), cmocka_unit_test(late_bodies),
        cmocka_unit_test(html),        cmocka_unit_test(broken),
        cmocka_unit_test(bounds),      cmocka_unit_test(cut),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
