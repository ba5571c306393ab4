/* encoded_word.c - RFC 2047. See encoded_word.h. */
#include "message/encoded_word.h"

#include "base/codec.h"
#include "message/charset.h"
#include "message/transfer.h"

/* Of one encoded word: RFC 2047 §2 allows 75, but a whole long subject in one word is met, too. */
enum { WORD_MAX = 4096 };

struct word {
    struct str charset, text;
    char encoding; /* 'q' or 'b' */
    size_t length; /* in the source */
};

/* An encoded word at the front of text: =?charset*language?encoding?text?= (RFC 2047 §2, RFC 2231 §5). */
static bool word_read(struct str text, struct word *out)
{
    if (!str_starts(text, STR("=?")))
        return false;
    struct str rest = str_from_pos(str_slice(text, 0, WORD_MAX), 2);
    size_t charset_end = str_find_char(rest, '?');
    if (charset_end == 0 || charset_end + 2 >= rest.len || rest.data[charset_end + 2] != '?')
        return false;
    struct str body = str_from_pos(rest, charset_end + 3);
    size_t end = str_find(body, STR("?="));
    if (end == body.len)
        return false;
    out->charset = str_slice(rest, 0, MIN(charset_end, str_find_char(rest, '*')));
    out->encoding = ascii_lower(rest.data[charset_end + 1]);
    out->text = str_slice(body, 0, end);
    out->length = (size_t)(body.data + end + 2 - text.data);
    if (out->encoding != 'q' && out->encoding != 'b')
        return false;
    for (size_t i = 0; i < charset_end; i++)
        if (rest.data[i] <= ' ' || rest.data[i] == 127)
            return false;
    return !str_has_char(out->text, '\n');
}

static void word_bytes(const struct word *w, struct buf *out)
{
    if (w->encoding == 'b') {
        base64_decode_lenient(w->text, out);
        return;
    }
    for (size_t i = 0; i < w->text.len; i++) {
        char c = w->text.data[i];
        int high = c == '=' && i + 2 < w->text.len ? ascii_hex_value(w->text.data[i + 1]) : -1;
        int low = high >= 0 ? ascii_hex_value(w->text.data[i + 2]) : -1;
        if (low >= 0)
            i += 2;
        char plain = c == '_' ? ' ' : c;
        buf_add_char(out, low >= 0 ? (char)(high * 16 + low) : plain);
    }
}

/* Adds raw header text without its folds, as UTF-8. */
static void plain_add(struct str text, struct buf *out)
{
    while (text.len) {
        size_t fold = 0;
        while (fold < text.len && text.data[fold] != '\r' && text.data[fold] != '\n')
            fold++;
        charset_to_utf8(STR(""), str_slice(text, 0, fold), out);
        text = str_from_pos(text, fold + (fold < text.len));
    }
}

static size_t space_length(struct str text)
{
    size_t i = 0;
    while (i < text.len && ascii_is_space(text.data[i]))
        i++;
    return i;
}

/* A run of adjacent words; the number of source bytes it took. */
static size_t run_decode(struct str text, struct word first, struct buf *out)
{
    struct buf bytes = BUF_INIT(out->max);
    size_t used = first.length;
    word_bytes(&first, &bytes);
    for (;;) {
        struct word next;
        size_t space = space_length(str_from_pos(text, used));
        if (!word_read(str_from_pos(text, used + space), &next))
            break;
        used += space + next.length;
        if (!str_equal_nocase(next.charset, first.charset)) {
            charset_to_utf8(first.charset, buf_str(&bytes), out);
            buf_reset(&bytes);
            first = next;
        }
        word_bytes(&next, &bytes);
    }
    charset_to_utf8(first.charset, buf_str(&bytes), out);
    buf_free(&bytes);
    return used;
}

int encoded_words_decode(struct str value, struct buf *out)
{
    value = str_trim(value);
    while (value.len) {
        size_t at = str_find(value, STR("=?"));
        struct word word;
        plain_add(str_slice(value, 0, at), out);
        value = str_from_pos(value, at);
        if (value.len == 0)
            break;
        if (word_read(value, &word)) {
            value = str_from_pos(value, run_decode(value, word, out));
        } else {
            buf_add_literal(out, "=?");
            value = str_from_pos(value, 2);
        }
    }
    return out->failed ? -1 : 0;
}

int encoded_words_encode(struct str text, struct buf *out)
{
    enum { WORD_BYTES = 42 }; /* 56 characters of base64, 68 with =?utf-8?B? and ?= */
    if (str_is_ascii(text))
        return buf_add(out, text);
    for (bool first = true; text.len; first = false) {
        size_t len = MIN(text.len, (size_t)WORD_BYTES);
        while (len < text.len && len > 1 && ((unsigned char)text.data[len] & 0xC0) == 0x80)
            len--; /* not inside a character */
        buf_add(out, first ? STR("=?utf-8?B?") : STR("\r\n =?utf-8?B?"));
        base64_encode(out, str_slice(text, 0, len));
        buf_add_literal(out, "?=");
        text = str_from_pos(text, len);
    }
    return out->failed ? -1 : 0;
}
