/* codec.c - base64 and hexadecimal. */
#include "base/codec.h"

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(struct buf *out, struct str data)
{
    if (!buf_reserve(out, (data.len + 2) / 3 * 4))
        return -1;
    for (size_t i = 0; i < data.len; i += 3) {
        uint32_t group = 0;
        size_t n = MIN(data.len - i, (size_t)3);
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < n ? (unsigned char)data.data[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_add_char(out, k <= n ? base64_alphabet[group >> (18 - 6 * k) & 63] : '=');
    }
    return 0;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct buf *out, struct str text)
{
    size_t start = out->len;
    if (text.len % 4 || !buf_reserve(out, text.len / 4 * 3))
        return -1;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t padding = 0;
        if (i + 4 == text.len)
            padding = text.data[i + 3] != '=' ? 0 : text.data[i + 2] != '=' ? 1 : 2;
        uint32_t group = 0;
        for (size_t k = 0; k < 4; k++) {
            int value = k >= 4 - padding ? 0 : base64_value(text.data[i + k]);
            if (value < 0)
                goto bad;
            group = group << 6 | (uint32_t)value;
        }
        if ((padding == 1 && group & 0xFF) || (padding == 2 && group & 0xFFFF))
            goto bad;
        for (size_t k = 0; k < 3 - padding; k++)
            buf_add_char(out, (char)(group >> (16 - 8 * k) & 0xFF));
    }
    return 0;
bad:
    buf_truncate(out, start);
    return -1;
}

int hex_encode(struct buf *out, struct str data)
{
    static const char digits[] = "0123456789abcdef";
    if (!buf_reserve(out, data.len * 2))
        return -1;
    for (size_t i = 0; i < data.len; i++) {
        buf_add_char(out, digits[(unsigned char)data.data[i] >> 4]);
        buf_add_char(out, digits[(unsigned char)data.data[i] & 15]);
    }
    return 0;
}

int hex_decode(struct buf *out, struct str text)
{
    size_t start = out->len;
    if (text.len % 2 || !buf_reserve(out, text.len / 2))
        return -1;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = ascii_hex_value(text.data[i]);
        int low = ascii_hex_value(text.data[i + 1]);
        if (high < 0 || low < 0) {
            buf_truncate(out, start);
            return -1;
        }
        buf_add_char(out, (char)(high << 4 | low));
    }
    return 0;
}
