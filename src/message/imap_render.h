/* imap_render.h - ENVELOPE, BODYSTRUCTURE and BODY in IMAP's syntax (RFC 9051 §7.5.2, RFC 3501 §7.4.2).
 */
#ifndef MESSAGE_IMAP_RENDER_H
#define MESSAGE_IMAP_RENDER_H

#include "message/mime.h"

/* A string as "quoted" or {n} literal, whatever its bytes; NULs are left out. */
void imap_put_string(struct buf *out, struct str s);
void imap_put_nstring(struct buf *out, struct str s); /* NIL when empty */

void imap_envelope(struct buf *out, struct str header, const struct summary_limits *limits,
                   struct arena *arena);
/* extended: BODYSTRUCTURE, else BODY. */
void imap_bodystructure(struct buf *out, struct str message, const struct mime_tree *tree,
                        bool extended, const struct summary_limits *limits, struct arena *arena);

#endif
