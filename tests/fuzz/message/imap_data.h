/* imap_data.h - is this one well-formed parenthesized list in IMAP's syntax? */
#ifndef FUZZ_IMAP_DATA_H
#define FUZZ_IMAP_DATA_H

#include "base/str.h"

/* The depth that is left open at the end; aborts on anything a client could not parse. */
static inline int imap_data_depth(struct str s)
{
    int depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        panic_unless((unsigned char)c >= 0x20 && (unsigned char)c < 0x7F);
        if (c == '(') {
            depth++;
        } else if (c == ')') {
            panic_unless(--depth >= 0);
        } else if (c == '"') {
            for (i++; i < s.len && s.data[i] != '"'; i++) {
                panic_unless(s.data[i] > 0 && s.data[i] != '\r' &&
                             s.data[i] != '\n'); /* TEXT-CHAR */
                i += s.data[i] == '\\';
            }
            panic_unless(i < s.len);
        } else if (c == '{') {
            size_t len = 0;
            for (i++; i < s.len && s.data[i] != '}'; i++) {
                panic_unless(s.data[i] >= '0' && s.data[i] <= '9' && len < 1u << 28);
                len = len * 10 + (size_t)(s.data[i] - '0');
            }
            panic_unless(i + 2 < s.len && s.data[i + 1] == '\r' && s.data[i + 2] == '\n' &&
                         len < s.len - i - 2);
            i += 2 + len;
        }
    }
    return depth;
}

#endif
