/* transfer.c - content transfer encodings. See transfer.h. */
#include "message/transfer.h"

int quoted_printable_decode(struct str data, struct buf *out)
{
    size_t i = 0;
    while (i < data.len) {
        struct str rest = str_from_pos(data, i);
        size_t line_end = str_find_char(rest, '\n');
        bool has_end = line_end < rest.len;
        struct str line = str_of(rest.data, line_end);
        i += line_end + has_end;
        bool crlf = line.len && line.data[line.len - 1] == '\r';
        while (line.len && ascii_is_space(line.data[line.len - 1])) /* §6.7 rule 3 */
            line.len--;
        bool soft = line.len && line.data[line.len - 1] == '=';
        if (soft)
            line.len--;
        for (size_t k = 0; k < line.len; k++) {
            int high =
                k + 2 < line.len && line.data[k] == '=' ? ascii_hex_value(line.data[k + 1]) : -1;
            int low = high >= 0 ? ascii_hex_value(line.data[k + 2]) : -1;
            if (buf_add_char(out, (char)(low >= 0 ? high * 16 + low : line.data[k])) < 0)
                return -1;
            if (low >= 0)
                k += 2;
        }
        if (!soft && has_end && (crlf ? buf_add_literal(out, "\r\n") : buf_add_char(out, '\n')) < 0)
            return -1;
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

int base64_decode_lenient(struct str data, struct buf *out)
{
    uint32_t group = 0;
    unsigned have = 0;
    for (size_t i = 0; i < data.len; i++) {
        if (data.data[i] == '=') { /* the end of one encoded piece; more may follow */
            if (have == 2 && buf_add_char(out, (char)(group >> 4)) < 0)
                return -1;
            if (have == 3 && (buf_add_char(out, (char)(group >> 10)) < 0 ||
                              buf_add_char(out, (char)(group >> 2)) < 0))
                return -1;
            have = 0;
            group = 0;
            continue;
        }
        int value = base64_value(data.data[i]);
        if (value < 0)
            continue;
        group = group << 6 | (uint32_t)value;
        if (++have == 4) {
            char bytes[3] = {(char)(group >> 16), (char)(group >> 8), (char)group};
            if (buf_add_bytes(out, bytes, 3) < 0)
                return -1;
            have = 0;
            group = 0;
        }
    }
    if (have == 3)
        return buf_add_char(out, (char)(group >> 10)) < 0 ||
                       buf_add_char(out, (char)(group >> 2)) < 0
                   ? -1
                   : 0;
    return have == 2 ? buf_add_char(out, (char)(group >> 4)) : 0;
}

int transfer_decode(enum part_encoding encoding, struct str data, struct buf *out)
{
    if (encoding == ENCODING_BASE64)
        return base64_decode_lenient(data, out);
    if (encoding == ENCODING_QUOTED_PRINTABLE)
        return quoted_printable_decode(data, out);
    if (data.len > out->max - out->len) {
        buf_add(out, str_slice(data, 0, out->max - out->len));
        return -1;
    }
    return buf_add(out, data);
}

int quoted_printable_encode(struct str text, struct buf *out)
{
    size_t column = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '\r' && i + 1 < text.len && text.data[i + 1] == '\n')
            continue;
        if (c == '\n') {
            buf_add_literal(out, "\r\n");
            column = 0;
            continue;
        }
        bool line_ends = i + 1 == text.len || text.data[i + 1] == '\n' || text.data[i + 1] == '\r';
        bool plain = (c > 32 && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !line_ends);
        if (column + (plain ? 1 : 3) > 75) {
            buf_add_literal(out, "=\r\n");
            column = 0;
        }
        if (plain)
            buf_add_char(out, c);
        else
            buf_printf(out, "=%02X", (unsigned char)c);
        column += plain ? 1 : 3;
    }
    return out->failed ? -1 : 0;
}
