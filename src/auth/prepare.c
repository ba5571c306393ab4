/* prepare.c - SASLprep. See prepare.h. */
#include "auth/prepare.h"

#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

struct range {
    ucs4_t first, last;
};

/* RFC 3454 C.1.2: become a space. U+200B is in B.1 too and is mapped to nothing, as there. */
static const struct range spaces[] = {
    {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
};
/* RFC 3454 B.1: become nothing. */
static const struct range nothing[] = {
    {0xAD, 0xAD},     {0x34F, 0x34F},   {0x1806, 0x1806}, {0x180B, 0x180D},
    {0x200B, 0x200D}, {0x2060, 0x2060}, {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF},
};
/* RFC 3454 C.2.2 (beyond category Cc), C.4, C.6, C.7, C.8, C.9. */
static const struct range prohibited[] = {
    {0x340, 0x341},   {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x180E, 0x180E},   {0x200E, 0x200F},
    {0x2028, 0x202E}, {0x2061, 0x2063},   {0x206A, 0x206F},   {0x2FF0, 0x2FFB},   {0xFDD0, 0xFDEF},
    {0xFFF9, 0xFFFF}, {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F},
};

static bool in_ranges(ucs4_t c, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

static bool character_prohibited(ucs4_t c)
{
    if (c < 32 || (c >= 127 && c < 160) || (c & 0xFFFE) == 0xFFFE)
        return true;
    return in_ranges(c, prohibited, countof(prohibited)) ||
           uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Cc | UC_CATEGORY_MASK_Cs |
                                                   UC_CATEGORY_MASK_Co);
}

static int ascii_prepare(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++)
        if (ascii_is_control(text.data[i]))
            return -1;
    return buf_add(out, text);
}

/* RFC 4013 §2.1: what becomes a space, or nothing. */
static void characters_map(struct str text, struct buf *out)
{
    const uint8_t *bytes = (const uint8_t *)text.data;
    for (size_t at = 0; at < text.len;) {
        ucs4_t c;
        int len = u8_mbtouc(&c, bytes + at, text.len - at);
        if (in_ranges(c, spaces, countof(spaces)))
            buf_add_char(out, ' ');
        else if (!in_ranges(c, nothing, countof(nothing)))
            buf_add_bytes(out, bytes + at, (size_t)len);
        at += (size_t)len;
    }
}

static bool text_allowed(const uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ucs4_t c;
        at += (size_t)u8_mbtouc(&c, bytes + at, len - at);
        if (character_prohibited(c))
            return false;
    }
    return true;
}

int sasl_prepare(struct str text, struct buf *out)
{
    if (!text.len)
        return -1;
    if (str_is_ascii(text))
        return ascii_prepare(text, out);
    if (!str_is_utf8(text))
        return -1;
    struct buf mapped = BUF_INIT(BUF_UNBOUNDED);
    characters_map(text, &mapped);
    size_t len = 0;
    uint8_t *normal =
        u8_normalize(UNINORM_NFKC, (const uint8_t *)mapped.data, mapped.len, NULL, &len);
    int result = -1;
    if (normal && len && text_allowed(normal, len))
        result = buf_add_bytes(out, normal, len);
    if (normal)
        wipe(normal, len);
    free(normal);
    wipe(mapped.data, mapped.len);
    buf_free(&mapped);
    return result;
}
