/* text.c - the text of a message, for searching and previews. */
#include "message/charset.h"
#include "message/encoded_word.h"
#include "message/header.h"
#include "message/summary.h"
#include "message/transfer.h"

static const struct {
    struct str name;
    const char *text;
} entities[] = {
    {STR_INIT("amp"), "&"},
    {STR_INIT("lt"), "<"},
    {STR_INIT("gt"), ">"},
    {STR_INIT("quot"), "\""},
    {STR_INIT("apos"), "'"},
    {STR_INIT("nbsp"), " "},
    {STR_INIT("auml"), "\xC3\xA4"},
    {STR_INIT("ouml"), "\xC3\xB6"},
    {STR_INIT("uuml"), "\xC3\xBC"},
    {STR_INIT("Auml"), "\xC3\x84"},
    {STR_INIT("Ouml"), "\xC3\x96"},
    {STR_INIT("Uuml"), "\xC3\x9C"},
    {STR_INIT("szlig"), "\xC3\x9F"},
    {STR_INIT("eacute"), "\xC3\xA9"},
    {STR_INIT("egrave"), "\xC3\xA8"},
    {STR_INIT("agrave"), "\xC3\xA0"},
    {STR_INIT("ccedil"), "\xC3\xA7"},
    {STR_INIT("euro"), "\xE2\x82\xAC"},
    {STR_INIT("ndash"), "\xE2\x80\x93"},
    {STR_INIT("mdash"), "\xE2\x80\x94"},
    {STR_INIT("hellip"), "\xE2\x80\xA6"},
    {STR_INIT("copy"), "\xC2\xA9"},
};

static void utf8_add(struct buf *out, uint32_t code)
{
    if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        code = 0xFFFD;
    if (code < 0x80) {
        buf_add_char(out, (char)code);
    } else if (code < 0x800) {
        buf_add_char(out, (char)(0xC0 | code >> 6));
        buf_add_char(out, (char)(0x80 | (code & 63)));
    } else if (code < 0x10000) {
        buf_add_char(out, (char)(0xE0 | code >> 12));
        buf_add_char(out, (char)(0x80 | (code >> 6 & 63)));
        buf_add_char(out, (char)(0x80 | (code & 63)));
    } else {
        buf_add_char(out, (char)(0xF0 | code >> 18));
        buf_add_char(out, (char)(0x80 | (code >> 12 & 63)));
        buf_add_char(out, (char)(0x80 | (code >> 6 & 63)));
        buf_add_char(out, (char)(0x80 | (code & 63)));
    }
}

/* "&name;" or "&#123;" at the front: its length, 0 = none. */
static size_t entity_add(struct str text, struct buf *out)
{
    size_t end = str_find_char(str_slice(text, 0, 12), ';');
    if (end < 2 || end == MIN(text.len, (size_t)12))
        return 0;
    struct str name = str_slice(text, 1, end - 1);
    if (name.data[0] == '#') {
        uint32_t code = 0;
        bool hex = name.len > 1 && ascii_lower(name.data[1]) == 'x';
        for (size_t i = hex ? 2 : 1; i < name.len; i++) {
            int digit = ascii_hex_value(name.data[i]);
            if (digit < 0 || (!hex && digit > 9))
                return 0;
            code = code * (hex ? 16 : 10) + (uint32_t)digit;
        }
        utf8_add(out, code);
        return end + 1;
    }
    for (size_t i = 0; i < countof(entities); i++)
        if (str_equal(name, entities[i].name)) {
            buf_add(out, str_from(entities[i].text));
            return end + 1;
        }
    return 0;
}

/* The position behind "</name" ... ">", from at. */
static size_t element_end(struct str html, size_t at, struct str close)
{
    size_t end = at + str_find_nocase(str_from_pos(html, at), close);
    return MIN(end + str_find_char(str_from_pos(html, end), '>') + 1, html.len);
}

void html_text(struct str html, struct buf *out)
{
    size_t i = 0;
    while (i < html.len && !out->failed) {
        struct str rest = str_from_pos(html, i);
        if (rest.data[0] == '<') {
            size_t end = str_find_char(rest, '>');
            if (str_starts(rest, STR("<!--"))) {
                end = str_find(rest, STR("-->"));
                i = MIN(i + end + 3, html.len);
            } else if (str_starts_nocase(rest, STR("<script"))) {
                i = element_end(html, i, STR("</script"));
            } else if (str_starts_nocase(rest, STR("<style"))) {
                i = element_end(html, i, STR("</style"));
            } else {
                i = MIN(i + end + 1, html.len);
            }
            /* Elements separate words, except the ones that only change how letters look. */
            bool inline_element =
                rest.len > 2 && (rest.data[2] == '>' || rest.data[1] == '/') && end <= 4;
            if (!inline_element && !str_starts_nocase(rest, STR("<span")) &&
                !str_starts_nocase(rest, STR("</span")))
                buf_add_char(out, ' ');
            continue;
        }
        size_t entity = rest.data[0] == '&' ? entity_add(rest, out) : 0;
        if (entity) {
            i += entity;
            continue;
        }
        size_t run = 1;
        while (run < rest.len && rest.data[run] != '<' && rest.data[run] != '&')
            run++;
        buf_add(out, str_slice(rest, 0, run));
        i += run;
    }
}

/* The bytes of one part, decoded, as UTF-8 text. */
static void part_text(struct str message, const struct summary_part *part, struct buf *out)
{
    struct str body = str_slice(message, part->body_offset, part->body_size);
    struct buf raw = BUF_INIT(out->max), utf8 = BUF_INIT(out->max);
    struct str text = body;
    if (part->encoding == ENCODING_BASE64 || part->encoding == ENCODING_QUOTED_PRINTABLE) {
        transfer_decode(part->encoding, body, &raw);
        text = buf_str(&raw);
    }
    if (str_equal(part->subtype, STR("html"))) {
        charset_to_utf8(part->charset, text, &utf8);
        html_text(buf_str(&utf8), out);
    } else {
        charset_to_utf8(part->charset, text, out);
    }
    buf_free(&raw);
    buf_free(&utf8);
}

void message_text(struct str message, const struct summary *s, size_t max, struct buf *out)
{
    struct buf text = BUF_INIT(max);
    for (uint32_t i = 0; i < s->part_count && !text.failed; i++) {
        struct summary_part part;
        summary_part(s, i, &part);
        if (i > 0 && part.parent < i) {
            struct summary_part parent;
            summary_part(s, part.parent, &parent);
            if (parent.kind == PART_MESSAGE) {
                encoded_words_decode(str_slice(message, part.header_offset, part.header_size),
                                     &text);
                buf_add_char(&text, '\n');
            }
        }
        if (part.kind == PART_LEAF && str_equal(part.type, STR("text"))) {
            part_text(message, &part, &text);
            buf_add_char(&text, '\n');
        }
    }
    buf_add(out, buf_str(&text));
    buf_free(&text);
}
