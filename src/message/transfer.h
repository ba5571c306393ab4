/* transfer.h - content transfer encodings (RFC 2045 §6), decoded as leniently as mail needs.
 */
#ifndef MESSAGE_TRANSFER_H
#define MESSAGE_TRANSFER_H

#include "base/buf.h"
#include "message/summary.h"

/* Appends the decoded bytes; 7bit, 8bit, binary and unknown encodings are copied. -1 when out's maximum
 * was reached (with what fitted). */
int transfer_decode(enum part_encoding encoding, struct str data, struct buf *out);

int quoted_printable_decode(struct str data, struct buf *out);
int base64_decode_lenient(struct str data, struct buf *out); /* skips what is not of the alphabet */

/* RFC 2045 §6.7, CRLF line ends; for messages that we write. */
int quoted_printable_encode(struct str text, struct buf *out);

#endif
