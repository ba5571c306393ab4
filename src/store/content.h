/* content.h - stored forms of headers and bodies: compressed, with a byte in front that says how.
 */
#ifndef STORE_CONTENT_H
#define STORE_CONTENT_H

#include "base/buf.h"
#include "base/error.h"

enum { CHUNK_SIZE = 256 * 1024 }; /* plain bytes that are packed together */

int content_pack(struct str plain, bool header, struct buf *out);
int content_unpack(struct str packed, size_t max, struct buf *out, struct error *e);

#endif
