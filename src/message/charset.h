/* charset.h - text in other charsets, to UTF-8.
 */
#ifndef MESSAGE_CHARSET_H
#define MESSAGE_CHARSET_H

#include "base/buf.h"

/* Opens every charset that is offered once, so that its tables stay loaded: a sandboxed process cannot
 * open them later. The number that could be opened. */
unsigned charset_open_all(void);

bool charset_known(struct str name);

/* Appends text in UTF-8. An empty or unknown charset, and ASCII or UTF-8 that is not, is taken as UTF-8
 * when it is well-formed or more of it is UTF-8's characters than is broken, and as windows-1252
 * otherwise. Bytes that mean nothing become U+FFFD. Stops at out's maximum: -1 then, with what fitted
 * appended, in whole characters. */
int charset_to_utf8(struct str charset, struct str text, struct buf *out);

/* The length of UTF-8 text without what is past max bytes, and without a character cut there. */
size_t utf8_cut(struct str text, size_t max);

/* Case folded for comparing and searching: full case folding and NFKC-like compatibility by
 * libunistring, so that "STRASSE" finds "Straße". text is UTF-8; what is not is taken bytewise. */
int text_fold(struct str text, struct buf *out);

#endif
