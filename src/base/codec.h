/* codec.h - base64 (RFC 4648 §4) and hexadecimal.
 */
#ifndef BASE_CODEC_H
#define BASE_CODEC_H

#include "base/buf.h"

int base64_encode(struct buf *out, struct str data); /* padded, one line */

/* Strict, as SASL demands (RFC 4648 §3.3, §3.5): no white space, right padding, no stray bits. 0, or
 * -1 with out as it was. */
int base64_decode(struct buf *out, struct str text) MUST_CHECK;

int hex_encode(struct buf *out, struct str data); /* lower case */
int hex_decode(struct buf *out, struct str text) MUST_CHECK;

#endif
