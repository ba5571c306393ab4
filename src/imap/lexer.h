/* lexer.h - IMAP's grammar (RFC 9051 §9): a complete command, read from left to right.
 *
 * A command is one view of bytes: its line, with the bytes of its literals in place behind their {n}
 * CRLF. Every function takes something off the front; on a syntax error it returns -1 (or false), and
 * the command is answered with BAD. Strings live in the command or in the arena.
 */
#ifndef IMAP_LEXER_H
#define IMAP_LEXER_H

#include "base/arena.h"
#include "base/buf.h"

struct imap_lexer {
    struct str rest;
    struct arena *arena;
    bool utf8; /* mailbox names and quoted strings are UTF-8 (after ENABLE IMAP4rev2) */
};

bool imap_at_end(const struct imap_lexer *l);
bool imap_take(struct imap_lexer *l, char c); /* takes c if it comes next */
int imap_space(struct imap_lexer *l);         /* exactly one SP */
int imap_atom(struct imap_lexer *l,
              struct str *out); /* ATOM-CHARs, also "]" and "\" as flags need */
int imap_tag(struct imap_lexer *l, struct str *out);     /* of a command; no literal, no "+" */
int imap_astring(struct imap_lexer *l, struct str *out); /* atom, quoted, literal */
int imap_string(struct imap_lexer *l, struct str *out);  /* quoted, literal */
int imap_nstring(struct imap_lexer *l, struct str *out, bool *nil);
int imap_number(struct imap_lexer *l, uint32_t *out);
int imap_number64(struct imap_lexer *l, uint64_t *out);
/* A mailbox name as UTF-8, "INBOX" in capitals; modified UTF-7 is decoded. list: a pattern. */
int imap_mailbox(struct imap_lexer *l, struct str *out);
int imap_pattern(struct imap_lexer *l, struct str *out);

/* Flags: "(\Seen $Word)" or, without parentheses where bare is true, "\Seen $Word". system: bits of enum
 * message_flag by imap_system_flag(). \Recent is taken and ignored. */
struct imap_flags {
    uint8_t system;
    struct str *keywords;
    size_t keyword_count;
};
int imap_flags(struct imap_lexer *l, bool bare, struct imap_flags *out);
uint8_t imap_system_flag(struct str name); /* 0: not a system flag */

/* A sequence set: ranges in the order given; "*" is UINT32_MAX (a number that large is brought down by
 * one: no message has it); low <= high unless one is "*". */
struct imap_range {
    uint32_t low, high;
};
enum { IMAP_RANGES_MAX = 100000 };
struct imap_set {
    struct imap_range *ranges;
    size_t count;
    bool saved; /* "$", RFC 5182 */
};
int imap_set(struct imap_lexer *l, struct imap_set *out);

/* Modified UTF-7 (RFC 3501 §5.1.3). decode: -1 when it is not well-formed. */
int utf7_decode(struct str name, struct buf *out);
int utf7_encode(struct str name, struct buf *out);

#endif
