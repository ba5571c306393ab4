/* address.h - mail addresses: the strict syntax of the envelope, the lenient one of headers.
 */
#ifndef MESSAGE_ADDRESS_H
#define MESSAGE_ADDRESS_H

#include "base/arena.h"
#include "base/buf.h"

/* An envelope address, RFC 5321 §4.1.2 "Mailbox". Views into the text that was parsed, except that
 * local is unquoted into the arena when it was quoted. */
struct address {
    struct str local;  /* semantic local part: "a b" was quoted as "\"a b\"" */
    struct str domain; /* as written; an address literal with its brackets */
    bool utf8;         /* a byte above 127 in either: needs SMTPUTF8 (RFC 6531) */
};

enum { ADDRESS_LOCAL_MAX = 64, ADDRESS_DOMAIN_MAX = 255, ADDRESS_MAX = 254 };

/* Strict: the whole of text is one Mailbox without <>, within the limits of RFC 5321 §4.5.3.1; UTF-8
 * as RFC 6531 §3.3 allows. 0 or -1. */
int address_parse(struct str text, struct arena *arena, struct address *out) MUST_CHECK;

/* Writes local (quoted when it has to be), "@" and domain. */
int address_format(struct buf *out, const struct address *a);

/* A domain as it is compared and stored: A-label (punycode) form, lower case, without a final dot;
 * IDNA2008 by libidn2, non-transitional. Address literals are lower-cased only. 0, or -1 when it is
 * no domain name. */
int domain_normalize(struct str domain, struct buf *out) MUST_CHECK;

/* Header address lists (RFC 5322 §3.4 with the obsolete syntax, and whatever is found in the wild):
 * never fails, takes what it can. Groups give their markers as in ENVELOPE: a start (name set, host
 * empty) and an end (all empty). */
struct header_address {
    struct str name;    /* display name, raw (not RFC 2047 decoded), unquoted; may be empty */
    struct str route;   /* obsolete source route; usually empty */
    struct str mailbox; /* local part, unquoted */
    struct str host;
    enum { HEADER_ADDRESS, HEADER_GROUP_START, HEADER_GROUP_END } kind;
};
/* At most max entries; the array is in the arena. value is the unfolded or folded field body. */
size_t header_addresses(struct str value, size_t max, struct arena *arena,
                        struct header_address **out);

#endif
