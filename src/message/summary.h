/* summary.h - the central data structure: what is known of one message, in one flat block.
 *
 * Made by scan from the raw message at delivery, stored beside the message, and used by FETCH,
 * SEARCH, SORT, THREAD and Sieve so that MIME is parsed once. The block is versioned and checked
 * when opened: a block from a spoiled scan process, a damaged disk or an older version can give
 * wrong answers about its own message but never an access outside its bytes.
 *
 * All integers are little-endian; offsets are relative to the block. The layout is private to
 * summary.c.
 */
#ifndef MESSAGE_SUMMARY_H
#define MESSAGE_SUMMARY_H

#include "base/arena.h"
#include "base/buf.h"

enum { SUMMARY_VERSION = 1 };

/* Bounds while parsing (settings mime-max-depth, mime-max-parts, ...). What lies beyond them stays
 * reachable as the undivided body of the innermost part that was still parsed. */
struct summary_limits {
    uint32_t max_depth;     /* nesting of multipart and message/rfc822 */
    uint32_t max_parts;     /* in all */
    uint32_t max_fields;    /* header fields looked at per header block */
    uint32_t max_block;     /* bytes of the summary block */
    uint32_t max_addresses; /* addresses per field in ENVELOPE */
};
extern const struct summary_limits summary_limits_default; /* 32, 2000, 2000, 1 MiB, 1000 */

/* Builds the block for a message (header, blank line, body; CRLF line ends expected, bare LF
 * understood; any bytes accepted). Never fails: beyond the limits it says less, and sets
 * SUMMARY_TRUNCATED. Appends to out. */
void summary_build(struct str message, const struct summary_limits *limits, struct buf *out);

/* The least that is true of any message: no parts but one text/plain (or application/octet-stream)
 * leaf, ENVELOPE of NILs, SUMMARY_PLAIN set. For messages that scan dies on. */
void summary_build_plain(struct str message, struct buf *out);

enum summary_flag {
    SUMMARY_TRUNCATED = 1 << 0, /* a limit was reached */
    SUMMARY_PLAIN = 1 << 1,     /* made without parsing */
    SUMMARY_HAS_ATTACHMENT = 1 << 2,
    SUMMARY_EIGHT_BIT_HEADER =
        1 << 3, /* bytes above 127 in some header block (RFC 6532 or broken) */
    SUMMARY_EIGHT_BIT_BODY = 1 << 4,
    SUMMARY_BINARY_BODY = 1 << 5, /* NUL, or lines over 998 bytes */
};

/* An opened block: a view, valid as long as the block's bytes. */
struct summary {
    struct str block;
    uint32_t flags;
    uint64_t message_size;
    uint64_t header_size; /* through the blank line that ends the header */
    int64_t date;         /* of the Date field, seconds since 1970 UTC; 0 with has_date false */
    int32_t date_zone;    /* its zone in minutes east */
    bool has_date;
    uint32_t part_count; /* at least 1; part 0 is the message itself */
    const void *parts;   /* private */
};

/* Checks every offset and length. 0, or -1: not a block, another version, or inconsistent. */
int summary_open(struct summary *out, struct str block) MUST_CHECK;

/* Strings in the block; empty when absent. IMAP data (ENVELOPE and BODYSTRUCTURE) are complete
 * parenthesized lists in rev1 syntax, ready to be sent: quoted strings and non-sync-free literals
 * ({n} CRLF bytes), NIL, numbers. 8-bit bytes of headers are inside literals, never in quoted
 * strings. */
enum summary_string {
    SUMMARY_ENVELOPE,      /* RFC 9051 §7.5.2 */
    SUMMARY_BODYSTRUCTURE, /* with extension data */
    SUMMARY_BODY,          /* the form without, and without its last ")", which the sender adds */
    SUMMARY_SUBJECT,       /* decoded (RFC 2047), UTF-8, unfolded */
    SUMMARY_BASE_SUBJECT,  /* RFC 5256 §2.1, case folded */
    SUMMARY_FROM,          /* decoded, UTF-8: "Name <addr>, Name <addr>" */
    SUMMARY_TO,
    SUMMARY_CC,
    SUMMARY_BCC,
    SUMMARY_REPLY_TO,
    SUMMARY_SENDER,
    SUMMARY_FROM_MAILBOX, /* for SORT (RFC 5256 §3): local part of the first address, folded */
    SUMMARY_TO_MAILBOX,
    SUMMARY_CC_MAILBOX,
    SUMMARY_FROM_DISPLAY, /* for SORT=DISPLAY (RFC 5957) */
    SUMMARY_TO_DISPLAY,
    SUMMARY_MESSAGE_ID, /* normalised, without <>, empty if invalid */
    SUMMARY_REFERENCES, /* normalised ids without <>, separated by one space; falls back on
                              In-Reply-To as RFC 5256 §3 says */
    SUMMARY_PREVIEW,    /* at most 256 characters of text, RFC 8970 */
    SUMMARY_LIST_ID,
    SUMMARY_STRING_COUNT
};
struct str summary_string(const struct summary *s, enum summary_string which);

/* One MIME part. Part 0 is the message; the children of a multipart, and the inner message of a
 * message/rfc822, come after their parent. */
enum part_kind { PART_LEAF, PART_MULTIPART, PART_MESSAGE };
enum part_encoding {
    ENCODING_7BIT,
    ENCODING_8BIT,
    ENCODING_BINARY,
    ENCODING_QUOTED_PRINTABLE,
    ENCODING_BASE64,
    ENCODING_UNKNOWN,
};
struct summary_part {
    enum part_kind kind;
    enum part_encoding encoding;
    uint32_t parent;        /* index; part 0 is its own parent */
    uint32_t number;        /* 1, 2, ... among its siblings */
    uint64_t header_offset; /* in the message: the part's own header through its blank line. For the
                               inner message of a PART_MESSAGE: that message's header */
    uint64_t header_size;
    uint64_t body_offset;
    uint64_t body_size; /* without the CRLF that belongs to the next boundary */
    uint32_t body_lines;
    struct str type; /* lower case: "text", and "plain" */
    struct str subtype;
    struct str charset;     /* lower case, may be empty */
    struct str name;        /* decoded file name (RFC 2231, and 2047 in the wild), UTF-8 */
    struct str disposition; /* lower case */
    struct str content_id;  /* without <> */
};
/* For a PART_MESSAGE at index i the parts of the inner message follow with parent i: exactly one
 * child, which stands for the inner message (its header is the inner header). */
void summary_part(const struct summary *s, uint32_t index, struct summary_part *out);

/* Finds a part by its IMAP section number ("1.2.3" as {1,2,3}), by the rules of RFC 9051 §6.4.5.1:
 * a non-multipart message has part 1; numbers go through message/rfc822. count 0 is the message.
 * The index, or -1 when there is no such part. */
int summary_find_part(const struct summary *s, const uint32_t *numbers, size_t count);

/* Text for SEARCH TEXT/BODY, the search index and the spam classifier: every text part (and HTML
 * with its tags removed), decoded from transfer encoding and charset into UTF-8, parts separated
 * by a newline; inner messages' headers decoded as well. At most max bytes are appended to out. */
void message_text(struct str message, const struct summary *s, size_t max, struct buf *out);

/* The text between the tags of HTML, entities decoded, scripts and styles left out. */
void html_text(struct str html, struct buf *out);

#endif
