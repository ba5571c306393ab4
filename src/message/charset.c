/* charset.c - text in other charsets. See charset.h. */
#include "message/charset.h"

#include <iconv.h>
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>

/* What mail is written in, by the names that iconv knows. Aliases stand in the second table. */
static const char *const offered[] = {
    "WINDOWS-1252", "ISO-8859-1",   "ISO-8859-2",   "ISO-8859-3",    "ISO-8859-4",   "ISO-8859-5",
    "ISO-8859-6",   "ISO-8859-7",   "ISO-8859-8",   "ISO-8859-9",    "ISO-8859-10",  "ISO-8859-11",
    "ISO-8859-13",  "ISO-8859-14",  "ISO-8859-15",  "ISO-8859-16",   "WINDOWS-1250", "WINDOWS-1251",
    "WINDOWS-1253", "WINDOWS-1254", "WINDOWS-1255", "WINDOWS-1256",  "WINDOWS-1257", "WINDOWS-1258",
    "KOI8-R",       "KOI8-U",       "IBM437",       "IBM850",        "IBM852",       "IBM866",
    "MACINTOSH",    "TIS-620",      "ISO-2022-JP",  "ISO-2022-JP-2", "EUC-JP",       "SHIFT_JIS",
    "CP932",        "EUC-KR",       "CP949",        "ISO-2022-KR",   "GB2312",       "GBK",
    "GB18030",      "BIG5",         "BIG5-HKSCS",   "ISO-2022-CN",   "EUC-TW",       "UTF-16",
    "UTF-16BE",     "UTF-16LE",     "UTF-32",       "UTF-7",         "VISCII",       "ARMSCII-8",
};

static const struct {
    const char *alias, *name;
} aliases[] = {
    {"latin1", "ISO-8859-1"},
    {"latin2", "ISO-8859-2"},
    {"latin9", "ISO-8859-15"},
    {"iso8859-1", "ISO-8859-1"},
    {"iso_8859-1", "ISO-8859-1"},
    {"iso8859-15", "ISO-8859-15"},
    {"iso-8859-8-i", "ISO-8859-8"},
    {"iso-8859-8-e", "ISO-8859-8"},
    {"iso-8859-6-i", "ISO-8859-6"},
    {"cp1250", "WINDOWS-1250"},
    {"cp1251", "WINDOWS-1251"},
    {"cp1252", "WINDOWS-1252"},
    {"cp1253", "WINDOWS-1253"},
    {"cp1254", "WINDOWS-1254"},
    {"cp1255", "WINDOWS-1255"},
    {"cp1256", "WINDOWS-1256"},
    {"cp1257", "WINDOWS-1257"},
    {"cp1258", "WINDOWS-1258"},
    {"x-sjis", "CP932"},
    {"shift-jis", "CP932"},
    {"sjis", "CP932"},
    {"windows-31j", "CP932"},
    {"ks_c_5601-1987", "CP949"},
    {"ksc5601", "CP949"},
    {"windows-949", "CP949"},
    {"x-gbk", "GBK"},
    {"cp936", "GBK"},
    {"gb_2312-80", "GB2312"},
    {"x-big5", "BIG5"},
    {"cp950", "BIG5"},
    {"cp866", "IBM866"},
    {"cp437", "IBM437"},
    {"cp850", "IBM850"},
    {"x-mac-roman", "MACINTOSH"},
    {"iso-8859-1-windows-3.1-latin-1", "WINDOWS-1252"},
    {"x-unknown", "WINDOWS-1252"},
    {"unicode-1-1-utf-7", "UTF-7"},
    {"windows-874", "TIS-620"},
};

static const char *iconv_name(struct str charset)
{
    for (size_t i = 0; i < countof(offered); i++)
        if (str_equal_nocase(charset, str_from(offered[i])))
            return offered[i];
    for (size_t i = 0; i < countof(aliases); i++)
        if (str_equal_nocase(charset, str_from(aliases[i].alias)))
            return aliases[i].name;
    return NULL;
}

static bool is_utf8_name(struct str charset)
{
    return charset.len == 0 || str_equal_nocase(charset, STR("utf-8")) ||
           str_equal_nocase(charset, STR("utf8")) || str_equal_nocase(charset, STR("us-ascii")) ||
           str_equal_nocase(charset, STR("ascii")) ||
           str_equal_nocase(charset, STR("ansi_x3.4-1968"));
}

bool charset_known(struct str name)
{
    return (name.len && is_utf8_name(name)) || iconv_name(name) != NULL;
}

unsigned charset_open_all(void)
{
    static iconv_t kept[countof(offered)]; /* for the process's life, and with them the modules */
    unsigned opened = 0;
    for (size_t i = 0; i < countof(offered); i++)
        if ((kept[i] = iconv_open("UTF-8", offered[i])) != (iconv_t)-1)
            opened++;
    return opened;
}

size_t utf8_cut(struct str text, size_t max)
{
    size_t len = MIN(text.len, max);
    for (size_t back = 0; len < text.len && back <= 3 && back <= len; back++)
        if (((unsigned char)text.data[len - back] & 0xC0) != 0x80)
            return len - back;
    return len;
}

/* Appends UTF-8, or as much of it as fits. */
static int fitting_add(struct str text, struct buf *out)
{
    size_t len = utf8_cut(text, out->max - out->len);
    if (buf_add(out, str_slice(text, 0, len)) < 0 || len == text.len)
        return out->failed ? -1 : 0;
    out->failed = true;
    return -1;
}

static int convert(iconv_t conversion, struct str text, struct buf *out)
{
    char piece[4096];
    char *in = (char *)(uintptr_t)text.data;
    size_t left = text.len;
    int result = 0;
    while (left > 0 && result == 0) {
        char *to = piece;
        size_t room = sizeof(piece);
        size_t done = iconv(conversion, &in, &left, &to, &room);
        int why = errno;
        result = fitting_add(str_of(piece, sizeof(piece) - room), out);
        if (result == 0 && done == (size_t)-1 && why != E2BIG) {
            result = buf_add_literal(out, "\xEF\xBF\xBD");
            if (why == EINVAL) /* an incomplete character at the end */
                break;
            in++;
            left--;
        }
    }
    return result;
}

/* The bytes at the front that are one character, or 0: the first byte begins none. */
static size_t utf8_length(struct str text)
{
    ucs4_t code;
    int len = u8_mbtoucr(&code, (const uint8_t *)text.data, text.len);
    return len > 0 ? (size_t)len : 0;
}

/* Text that was cut, or spoiled at one place, is still UTF-8: in other charsets hardly two bytes in a
 * row look like it. */
static bool is_mostly_utf8(struct str text)
{
    size_t good = 0, bad = 0;
    for (size_t i = 0; i < text.len;) {
        size_t len = utf8_length(str_from_pos(text, i));
        good += len > 1;
        bad += len == 0;
        i += MAX(len, (size_t)1);
    }
    return good > bad;
}

static int broken_utf8_add(struct str text, struct buf *out)
{
    int result = 0;
    bool broken = false; /* one sign for all that is left of a character */
    for (size_t i = 0; i < text.len && result == 0;) {
        size_t run = 0, len;
        while (i + run < text.len && (len = utf8_length(str_from_pos(text, i + run))) > 0)
            run += len;
        if (run)
            result = fitting_add(str_slice(text, i, run), out);
        broken = broken && run == 0 && ((unsigned char)text.data[i] & 0xC0) == 0x80;
        i += run;
        if (i < text.len && !broken && result == 0)
            result = buf_add_literal(out, "\xEF\xBF\xBD");
        broken = true;
        i++;
    }
    return result;
}

/* Not any charset by its name: UTF-8 when it is that, else what Western Windows wrote. */
static int guess_to_utf8(struct str text, struct buf *out)
{
    if (str_is_utf8(text))
        return fitting_add(text, out);
    if (is_mostly_utf8(text))
        return broken_utf8_add(text, out);
    iconv_t conversion = iconv_open("UTF-8", "WINDOWS-1252");
    if (conversion == (iconv_t)-1) {
        for (size_t i = 0; i < text.len; i++)
            if (buf_add_char(out, (unsigned char)text.data[i] < 128 ? text.data[i] : '?') < 0)
                return -1;
        return 0;
    }
    int result = convert(conversion, text, out);
    iconv_close(conversion);
    return result;
}

int charset_to_utf8(struct str charset, struct str text, struct buf *out)
{
    const char *name = is_utf8_name(charset) ? NULL : iconv_name(charset);
    iconv_t conversion = name ? iconv_open("UTF-8", name) : (iconv_t)-1;
    if (conversion == (iconv_t)-1)
        return guess_to_utf8(text, out);
    int result = convert(conversion, text, out);
    iconv_close(conversion);
    return result;
}

static int ascii_fold(struct str text, struct buf *out)
{
    char *room = buf_reserve(out, text.len);
    for (size_t i = 0; room && i < text.len; i++)
        room[i] = ascii_lower(text.data[i]);
    if (room)
        buf_added(out, text.len);
    return room ? 0 : -1;
}

/* Line by line: nothing composes with a line's end, and most lines are ASCII, which is quick. */
int text_fold(struct str text, struct buf *out)
{
    int result = 0;
    while (text.len && result == 0) {
        size_t end = str_find_char(text, '\n');
        struct str line = str_slice(text, 0, MIN(end + 1, text.len));
        text = str_from_pos(text, line.len);
        if (str_is_ascii(line)) {
            result = ascii_fold(line, out);
            continue;
        }
        size_t len = 0;
        uint8_t *folded = str_is_utf8(line) ? u8_casefold((const uint8_t *)line.data, line.len,
                                                          NULL, UNINORM_NFKC, NULL, &len)
                                            : NULL;
        result = folded ? buf_add_bytes(out, folded, len) : buf_add(out, line);
        free(folded);
    }
    return result;
}
