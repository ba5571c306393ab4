/* encoded_word.h - RFC 2047: words of other charsets in headers, decoded to UTF-8.
 */
#ifndef MESSAGE_ENCODED_WORD_H
#define MESSAGE_ENCODED_WORD_H

#include "base/buf.h"

/* Appends value decoded and unfolded. White space between adjacent encoded words goes; words of one
 * charset and encoding are joined before conversion, so that a character split between them (against
 * the rules, but common) comes out whole. Bytes above 127 outside of words are UTF-8 or guessed. */
int encoded_words_decode(struct str value, struct buf *out);

/* Appends UTF-8 text as it may stand in an unstructured field or a display name: as it is when it is
 * ASCII, else as encoded words (B) of at most 75 characters, separated by CRLF SP. */
int encoded_words_encode(struct str text, struct buf *out);

#endif
