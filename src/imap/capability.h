/* capability.h - what IMAP can do: each capability stands in a row beside what implements it.
 */
#ifndef IMAP_CAPABILITY_H
#define IMAP_CAPABILITY_H

#include "base/buf.h"

/* Appends the list (without "CAPABILITY "). mechanisms: SASL names for AUTH=, before the login; tls_offered:
 * STARTTLS; plaintext: LOGIN may be used. */
void imap_capabilities(struct buf *out, bool logged_in, bool tls_offered, bool plaintext,
                       struct str mechanisms);

#endif
