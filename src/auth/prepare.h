/* prepare.h - user names and passwords as they are compared.
 *
 * SASLprep (RFC 4013), because PLAIN and SCRAM demand it (RFC 4616 §2, RFC 5802 §5.1) and clients do it
 * before they compute a proof. Unassigned code points are allowed even when storing: the tables are
 * those of Unicode 3.2, and a password with a newer character is no reason to refuse a user (RFC 8265
 * §4.2 allows them too). The check of bidirectional text is left out for the same reason (RFC 8265
 * §4.2.2, rule 5).
 */
#ifndef AUTH_PREPARE_H
#define AUTH_PREPARE_H

#include "base/buf.h"

/* -1: empty, no UTF-8, or characters that cannot be in a name or password. */
int sasl_prepare(struct str text, struct buf *out) MUST_CHECK;

#endif
